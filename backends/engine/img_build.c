#include "backends/engine/img_build.h"

#include "backends/engine/img_config.h"
#include "backends/engine/img_layer.h"
#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* The lines being carried out. */
struct builder {
    struct img_job *job;
    struct df_file file;
    struct strlist global_args; /* K=V or K: ARG lines before FROM */
    struct strlist args;        /* K=V or K: those declared since */
    struct strlist used_args;   /* build arguments that some ARG declared */
    bool cmd_set;               /* CMD was said in this build: ENTRYPOINT keeps it */
};

/* What every build knows, for ARG lines that name it. */
static const char *const platform_args[] = {
    "TARGETPLATFORM=linux/amd64", "TARGETOS=linux", "TARGETARCH=amd64", "TARGETVARIANT=",
    "BUILDPLATFORM=linux/amd64",  "BUILDOS=linux",  "BUILDARCH=amd64",  "BUILDVARIANT=",
};

static const char *platform_arg(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < sizeof(platform_args) / sizeof(*platform_args); i++) {
        if (strncmp(platform_args[i], name, len) == 0 && platform_args[i][len] == '=')
            return platform_args[i] + len + 1;
    }
    return NULL;
}

/* ---- variables ---- */

/* Within the image: ENV wins over ARG. */
static const char *look_up(const char *name, void *arg)
{
    const struct builder *b = arg;
    const json_t *env = json_object_get(json_object_get(b->job->config, "config"), "Env"), *item;
    size_t len = strlen(name), i;

    json_array_foreach(env, i, item)
    {
        const char *s = json_string_value(item);

        if (s && strncmp(s, name, len) == 0 && s[len] == '=')
            return s + len + 1;
    }
    return strlist_env_get(&b->args, name);
}

/* In FROM: only what ARG lines before it declared. */
static const char *look_up_global(const char *name, void *arg)
{
    const struct builder *b = arg;
    const char *value = strlist_env_get(&b->global_args, name);

    return value ? value : platform_arg(name);
}

static int expand(struct builder *b, const char *word, char **ret, struct err *err)
{
    return df_expand(word, b->file.escape, look_up, b, ret, err);
}

/* Words of a line that may be JSON: expanded either way. */
static int expand_words(struct builder *b, const char *rest, struct strlist *ret, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    if (!df_json(rest, &words))
        df_words(rest, b->file.escape, &words);
    for (size_t i = 0; i < words.len; i++) {
        char *value;

        if (expand(b, words.items[i], &value, err) < 0)
            return -1;
        strlist_add_owned(ret, value);
    }
    return 0;
}

/* The whole rest as one word. */
static int expand_one(struct builder *b, const struct df_instruction *in, char **ret, struct err *err)
{
    if (!*in->rest)
        return err_set(err, 1, "%s requires exactly one argument", in->word);
    return expand(b, in->rest, ret, err);
}

static int need_args(const struct df_instruction *in, struct err *err)
{
    return *in->rest ? 0 : err_set(err, 1, "%s requires at least one argument", in->word);
}

/* ---- instructions ---- */

/* ARG name[=default]...: the build's own value wins. */
static int do_arg(struct builder *b, const struct df_instruction *in, struct strlist *to, df_lookup_fn *lookup,
                  struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    if (need_args(in, err) < 0)
        return -1;
    df_words(in->rest, b->file.escape, &words);
    for (size_t i = 0; i < words.len; i++) {
        const char *equal = strchr(words.items[i], '='), *given;
        cleanup_free char *name = NULL;
        cleanup_free char *value = NULL;

        if (equal == words.items[i])
            return err_set(err, 1, "ARG names can not be blank");
        name = xstrndup(words.items[i], equal ? (size_t)(equal - words.items[i]) : strlen(words.items[i]));
        if (equal && df_expand(equal + 1, b->file.escape, lookup, b, &value, err) < 0)
            return -1;
        given = strlist_env_get(&b->job->build_args, name);
        if (given)
            strlist_add(&b->used_args, name);
        /* Without a default it takes what an ARG before FROM, or the platform, says. */
        if (!given && !value && to != &b->global_args)
            given = look_up_global(name, b);
        if (given || value)
            strlist_env_set(to, name, given ? given : value);
    }
    return 0;
}

static int do_local_arg(struct builder *b, const struct df_instruction *in, struct err *err)
{
    return do_arg(b, in, &b->args, look_up, err);
}

/* ENV and LABEL: pairs; a line's values are all taken from before the line. */
static int expand_pairs(struct builder *b, const struct df_instruction *in, struct strlist *ret, struct err *err)
{
    cleanup_strlist struct strlist raw = STRLIST_INIT;

    if (df_pairs(in->word, in->rest, b->file.escape, &raw, err) < 0)
        return -1;
    for (size_t i = 0; i < raw.len; i++) {
        char *value;

        if (expand(b, raw.items[i], &value, err) < 0)
            return -1;
        strlist_add_owned(ret, value);
    }
    return 0;
}

static int do_env(struct builder *b, const struct df_instruction *in, struct err *err)
{
    cleanup_strlist struct strlist pairs = STRLIST_INIT;
    cleanup_strlist struct strlist env = STRLIST_INIT;

    if (expand_pairs(b, in, &pairs, err) < 0)
        return -1;
    img_config_list(b->job->config, "Env", &env);
    for (size_t i = 0; i + 1 < pairs.len; i += 2)
        strlist_env_set(&env, pairs.items[i], pairs.items[i + 1]);
    img_config_set_list(b->job->config, "Env", &env);
    return 0;
}

static int do_label(struct builder *b, const struct df_instruction *in, struct err *err)
{
    cleanup_strlist struct strlist pairs = STRLIST_INIT;

    if (expand_pairs(b, in, &pairs, err) < 0)
        return -1;
    for (size_t i = 0; i + 1 < pairs.len; i += 2)
        img_config_put(b->job->config, "Labels", pairs.items[i], pairs.items[i + 1]);
    return 0;
}

static int do_workdir(struct builder *b, const struct df_instruction *in, struct err *err)
{
    cleanup_free char *value = NULL;
    cleanup_free char *path = NULL;

    if (expand_one(b, in, &value, err) < 0)
        return -1;
    path = img_absolute(img_config_get(b->job->config, "WorkingDir"), value);
    img_config_set(b->job->config, "WorkingDir", path);
    return img_make_dir(b->job, path, err);
}

static int do_user(struct builder *b, const struct df_instruction *in, struct err *err)
{
    cleanup_free char *value = NULL;

    if (expand_one(b, in, &value, err) < 0)
        return -1;
    img_config_set(b->job->config, "User", value);
    return 0;
}

/* A command: JSON as it is, anything else for the shell. */
static void command_words(struct builder *b, const struct df_instruction *in, struct strlist *ret)
{
    if (df_json(in->rest, ret))
        return;
    img_config_list(b->job->config, "Shell", ret);
    if (!ret->len) {
        strlist_add(ret, "/bin/sh");
        strlist_add(ret, "-c");
    }
    strlist_add(ret, in->rest);
}

static int do_cmd(struct builder *b, const struct df_instruction *in, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    if (need_args(in, err) < 0)
        return -1;
    command_words(b, in, &words);
    img_config_set_list(b->job->config, "Cmd", &words);
    b->cmd_set = true;
    return 0;
}

/* A new ENTRYPOINT does not go with the base image's CMD. */
static int do_entrypoint(struct builder *b, const struct df_instruction *in, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    if (need_args(in, err) < 0)
        return -1;
    command_words(b, in, &words);
    img_config_set_list(b->job->config, "Entrypoint", words.len ? &words : NULL);
    if (!b->cmd_set)
        img_config_set_list(b->job->config, "Cmd", NULL);
    return 0;
}

static int do_shell(struct builder *b, const struct df_instruction *in, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    if (!df_json(in->rest, &words))
        return err_set(err, 1, "SHELL requires the arguments to be in JSON form");
    if (!words.len)
        return err_set(err, 1, "SHELL requires at least one argument");
    img_config_set_list(b->job->config, "Shell", &words);
    return 0;
}

/* "80", "80/udp", "8000-8010/tcp". */
static int expose_one(struct builder *b, const char *port, struct err *err)
{
    const char *slash = strchr(port, '/'), *proto = slash ? slash + 1 : "tcp";
    char *end;
    long first = strtol(port, &end, 10), last = first;

    if (*port >= '0' && *port <= '9' && *end == '-' && end[1] >= '0' && end[1] <= '9')
        last = strtol(end + 1, &end, 10);
    if (*port < '0' || *port > '9' || (*end && *end != '/') || first < 1 || last > 65535 || last < first)
        return err_set(err, 1, "invalid containerPort: %s", port);
    if (strcasecmp(proto, "tcp") != 0 && strcasecmp(proto, "udp") != 0 && strcasecmp(proto, "sctp") != 0)
        return err_set(err, 1, "invalid proto: %s", proto);
    for (long p = first; p <= last; p++) {
        cleanup_free char *key = xasprintf("%ld/%s", p, proto);

        for (char *c = key; *c; c++)
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
        img_config_put(b->job->config, "ExposedPorts", key, NULL);
    }
    return 0;
}

static int do_expose(struct builder *b, const struct df_instruction *in, struct err *err)
{
    cleanup_free char *value = NULL;
    cleanup_strlist struct strlist ports = STRLIST_INIT;

    if (need_args(in, err) < 0 || expand(b, in->rest, &value, err) < 0)
        return -1;
    df_fields(value, &ports);
    for (size_t i = 0; i < ports.len; i++) {
        if (expose_one(b, ports.items[i], err) < 0)
            return -1;
    }
    return 0;
}

static int do_volume(struct builder *b, const struct df_instruction *in, struct err *err)
{
    cleanup_strlist struct strlist paths = STRLIST_INIT;

    if (need_args(in, err) < 0 || expand_words(b, in->rest, &paths, err) < 0)
        return -1;
    for (size_t i = 0; i < paths.len; i++) {
        if (!*paths.items[i])
            return err_set(err, 1, "VOLUME specified can not be an empty string");
        img_config_put(b->job->config, "Volumes", paths.items[i], NULL);
    }
    return 0;
}

/* "9", "KILL", "SIGKILL", "SIGRTMIN+3". */
static bool is_signal(const char *s)
{
    char *end;
    long n = strtol(s, &end, 10);

    if (*s && !*end)
        return n > 0 && n <= SIGRTMAX;
    if (strncasecmp(s, "SIG", 3) == 0)
        s += 3;
    if (strncasecmp(s, "RTMIN", 5) == 0 || strncasecmp(s, "RTMAX", 5) == 0) {
        n = strtol(s + 5, &end, 10);
        return !*end && labs(n) <= SIGRTMAX - SIGRTMIN;
    }
    for (int i = 1; i < SIGRTMIN; i++) {
        if (sigabbrev_np(i) && strcasecmp(sigabbrev_np(i), s) == 0)
            return true;
    }
    return false;
}

static int do_stopsignal(struct builder *b, const struct df_instruction *in, struct err *err)
{
    cleanup_free char *value = NULL;

    if (expand_one(b, in, &value, err) < 0)
        return -1;
    if (!is_signal(value))
        return err_set(err, 1, "Invalid signal: %s", value);
    img_config_set(b->job->config, "StopSignal", value);
    return 0;
}

static int do_maintainer(struct builder *b, const struct df_instruction *in, struct err *err)
{
    if (!*in->rest)
        return err_set(err, 1, "MAINTAINER requires exactly one argument");
    json_object_set_new(b->job->config, "author", json_string(in->rest));
    return 0;
}

static int do_copy(struct builder *b, const struct df_instruction *in, struct err *err)
{
    static const char *const flags[] = {"chown", "chmod", "from", "link", NULL};
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_free char *chown = NULL;
    cleanup_free char *chmod = NULL;
    const char *link = df_flag(in, "link");
    struct img_copy copy = {.add = *in->word == 'A', .workdir = img_config_get(b->job->config, "WorkingDir")};

    if (df_check_flags(in, flags, err) < 0)
        return -1;
    if (df_flag(in, "from"))
        return err_set(err, 1, "%s --from is not supported yet", in->word);
    if (link && *link && strcmp(link, "true") != 0 && strcmp(link, "false") != 0)
        return err_set(err, 1, "invalid boolean value for flag --link: %s", link);
    copy.link = link && strcmp(link, "false") != 0;
    if (df_flag(in, "chown") && expand(b, df_flag(in, "chown"), &chown, err) < 0)
        return -1;
    if (df_flag(in, "chmod") && expand(b, df_flag(in, "chmod"), &chmod, err) < 0)
        return -1;
    if (expand_words(b, in->rest, &words, err) < 0)
        return -1;
    copy.chown = chown;
    copy.chmod = chmod;
    copy.words = &words;
    return img_copy(b->job, &copy, err);
}

/* Instructions that are known and not carried out yet. */
static int do_refuse(struct builder *b, const struct df_instruction *in, struct err *err)
{
    (void)b;
    return err_set(err, 1, "%s is not supported by this engine yet: %.200s", in->word, in->text);
}

/* Alphabetical; flags says whether the instruction takes any. */
static const struct instruction {
    const char *word;
    bool flags;
    int (*run)(struct builder *b, const struct df_instruction *in, struct err *err);
} instructions[] = {
    {"ADD", true, do_copy},
    {"ARG", false, do_local_arg},
    {"CMD", false, do_cmd},
    {"COPY", true, do_copy},
    {"ENTRYPOINT", false, do_entrypoint},
    {"ENV", false, do_env},
    {"EXPOSE", false, do_expose},
    {"HEALTHCHECK", true, do_refuse},
    {"LABEL", false, do_label},
    {"MAINTAINER", false, do_maintainer},
    {"ONBUILD", true, do_refuse},
    {"RUN", true, do_refuse},
    {"SHELL", false, do_shell},
    {"STOPSIGNAL", false, do_stopsignal},
    {"USER", false, do_user},
    {"VOLUME", false, do_volume},
    {"WORKDIR", false, do_workdir},
};

static const struct instruction *find_instruction(const char *word)
{
    for (size_t i = 0; i < sizeof(instructions) / sizeof(*instructions); i++) {
        if (strcmp(instructions[i].word, word) == 0)
            return &instructions[i];
    }
    return NULL;
}

/* ---- FROM ---- */

/* The base that an earlier build left. */
static int from_base(struct builder *b, struct err *err)
{
    struct img_job *job = b->job;

    job->config = img_config_load(job->base_config, strlen(job->base_config), err);
    if (!job->config)
        return -1;
    strlist_copy(&job->layers, &job->base_layers);
    return 0;
}

/* ONBUILD lines of a base would be instructions of this build; they are not carried out yet, which the log says. */
static void note_onbuild(const struct builder *b)
{
    cleanup_strlist struct strlist triggers = STRLIST_INIT;

    img_config_list(b->job->config, "OnBuild", &triggers);
    if (triggers.len)
        img_log(b->job, "note: %zu ONBUILD instructions of the base image are not run", triggers.len);
}

static int do_from(struct builder *b, const struct df_instruction *in, struct err *err)
{
    static const char *const flags[] = {"platform", NULL};
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_free char *name = NULL;
    cleanup_free char *platform = NULL;
    int ret;

    if (df_check_flags(in, flags, err) < 0)
        return -1;
    df_words(in->rest, b->file.escape, &words);
    if (words.len != 1 && !(words.len == 3 && strcasecmp(words.items[1], "AS") == 0))
        return err_set(err, 1, "FROM requires either one or three arguments");
    if (df_flag(in, "platform")) {
        if (df_expand(df_flag(in, "platform"), b->file.escape, look_up_global, b, &platform, err) < 0)
            return -1;
        if (strcmp(platform, "linux/amd64") != 0)
            return err_set(err, 1, "platform %s is not supported: images are linux/amd64", platform);
    }
    if (df_expand(words.items[0], b->file.escape, look_up_global, b, &name, err) < 0)
        return -1;
    if (!*name)
        return err_set(err, 1, "base name (%s) should not be blank", words.items[0]);
    if (strcmp(name, "scratch") == 0) {
        b->job->config = img_config_new();
        return 0;
    }
    ret = b->job->has_base && strcmp(name, "base") == 0 ? from_base(b, err) : img_pull(b->job, name, err);
    if (ret == 0)
        note_onbuild(b);
    return ret;
}

/* ---- the whole ---- */

/* Everything that can be known to be wrong before anything is fetched. */
static int check(const struct builder *b, struct err *err)
{
    size_t froms = 0;

    for (size_t i = 0; i < b->file.len; i++) {
        const struct df_instruction *in = &b->file.items[i];
        const struct instruction *known = find_instruction(in->word);
        json_t *utf8 = json_string(in->text);

        json_decref(utf8);
        if (!utf8)
            return err_set(err, 1, "dockerfile parse error on line %d: not UTF-8", in->line);
        if (strcmp(in->word, "FROM") == 0) {
            if (++froms > 1)
                return err_set(err, 1,
                               "dockerfile parse error on line %d: multi-stage builds are not supported yet: %s",
                               in->line, in->text);
            continue;
        }
        if (!known)
            return err_set(err, 1, "dockerfile parse error on line %d: unknown instruction: %.100s", in->line,
                           in->word);
        if (!froms && known->run != do_local_arg)
            return err_set(err, 1, "dockerfile parse error on line %d: no build stage in current context", in->line);
        if (known->run == do_refuse) {
            known->run(NULL, in, err);
            return df_wrap(in, err);
        }
        if (!known->flags && in->flags.len) {
            err_set(err, 1, "unknown flag: %s", in->flags.items[0]);
            return df_wrap(in, err);
        }
    }
    return froms ? 0 : err_set(err, 1, "no build stage in current context");
}

static int run_lines(struct builder *b, struct err *err)
{
    bool from = false;

    for (size_t i = 0; i < b->file.len; i++) {
        const struct df_instruction *in = &b->file.items[i];
        int ret;

        if (atomic_load(&b->job->cancelled))
            return err_set(err, 0, "context canceled");
        img_log(b->job, "=> Step %zu: %s", i, in->text);
        if (strcmp(in->word, "FROM") == 0) {
            ret = do_from(b, in, err);
            from = true;
            if (ret < 0)
                return -1;
            continue;
        }
        ret = from ? find_instruction(in->word)->run(b, in, err) : do_arg(b, in, &b->global_args, look_up_global, err);
        if (ret < 0)
            return df_wrap(in, err);
    }
    return 0;
}

static void warn_unused(struct builder *b)
{
    for (size_t i = 0; i < b->job->build_args.len; i++) {
        const char *arg = b->job->build_args.items[i];
        cleanup_free char *name = xstrndup(arg, strcspn(arg, "="));

        if (!strlist_has(&b->used_args, name))
            img_log(b->job, "[Warning] One or more build-args [%s] were not consumed", name);
    }
}

/* Overlay wants at least one lower directory: an image without layers stands on an empty one. */
static int add_empty_layer(struct img_job *job, struct err *err)
{
    struct img_writer_options options = {0};
    struct img_writer *w;
    char key[DIGEST_HEX + 1];
    int ret = 0;

    img_chain_key(&job->layers, "empty", "", key);
    if (!img_layer_exists(job->dir, key)) {
        w = img_writer_new(job->dir, &options, err);
        ret = w ? img_writer_commit(w, key, err) : -1;
        img_writer_free(w);
    }
    if (ret == 0)
        strlist_add(&job->layers, key);
    return ret;
}

static void stamp(json_t *config)
{
    time_t now = time(NULL);
    struct tm tm;
    char text[64];

    gmtime_r(&now, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    json_object_set_new(config, "created", json_string(text));
}

int img_build_run(struct img_job *job, struct err *err)
{
    struct builder b = {.job = job};
    int ret;

    if (df_parse(&job->lines, &b.file, err) < 0)
        return -1;
    ret = check(&b, err);
    if (ret == 0)
        ret = run_lines(&b, err);
    if (ret == 0 && !job->layers.len)
        ret = add_empty_layer(job, err);
    if (ret == 0) {
        warn_unused(&b);
        if (b.file.len > 1)
            stamp(job->config);
    }
    df_file_clear(&b.file);
    strlist_clear(&b.global_args);
    strlist_clear(&b.args);
    strlist_clear(&b.used_args);
    return ret;
}
