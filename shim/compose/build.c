#include "shim/compose/build.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SERVICE_PREFIX "service:"

/* One service's build, on its way to words of `docker build`. */
struct one {
    struct team *w;
    const struct service *s;
    const struct cnode *build;
    const struct build_how *how;
    struct strlist words;
    int inline_fd; /* the Dockerfile that stands in the compose file; -1 */
};

static void add2(struct one *o, const char *option, const char *value)
{
    strlist_add(&o->words, option);
    strlist_add(&o->words, value);
}

/* A map or a list, as an option each: K=V, and K for what has no value. */
static void add_pairs(struct one *o, const char *key, const char *option, const char *between)
{
    const struct cnode *pairs = cnode_get(o->build, key);

    for (size_t i = 0; pairs && i < pairs->len; i++) {
        const char *value = cnode_text(pairs->items[i]);

        if (pairs->kind != CNODE_MAP && !value)
            continue;
        strlist_add(&o->words, option);
        if (pairs->kind != CNODE_MAP)
            strlist_add(&o->words, value);
        else if (value)
            strlist_addf(&o->words, "%s%s%s", pairs->keys[i], between, value);
        else
            strlist_add(&o->words, pairs->keys[i]);
    }
}

static void add_text(struct one *o, const char *key, const char *option)
{
    const char *value = cnode_str(o->build, key);

    if (value && *value)
        add2(o, option, value);
}

/* Contexts that are other services' images are these images. */
static int add_contexts(struct one *o, struct err *err)
{
    const struct cnode *contexts = cnode_get(o->build, "additional_contexts");

    for (size_t i = 0; cnode_is(contexts, CNODE_MAP) && i < contexts->len; i++) {
        const char *value = cnode_text(contexts->items[i]);
        const struct service *of;

        if (!value)
            continue;
        strlist_add(&o->words, "--build-context");
        if (strncmp(value, SERVICE_PREFIX, strlen(SERVICE_PREFIX)) != 0) {
            strlist_addf(&o->words, "%s=%s", contexts->keys[i], value);
            continue;
        }
        of = services_find(&o->w->services, value + strlen(SERVICE_PREFIX));
        if (!of)
            return err_set(err, 1, "no such service: %s", value + strlen(SERVICE_PREFIX));
        strlist_addf(&o->words, "%s=docker-image://%s", contexts->keys[i], of->image);
    }
    return 0;
}

/* A secret of the project: a file, or a variable of the project's environment. */
static int add_secret(struct one *o, const struct cnode *use, struct err *err)
{
    const char *source = cnode_text(use) ? cnode_text(use) : cnode_str(use, "source");
    const char *target = cnode_str(use, "target") ? cnode_str(use, "target") : source, *value;
    const struct cnode *secret = source ? cnode_get(cnode_get(o->w->project.model, "secrets"), source) : NULL;

    if (!secret)
        return err_set(err, 1, "build secret \"%s\" is not defined", source ? source : "");
    strlist_add(&o->words, "--secret");
    if (cnode_str(secret, "file")) {
        strlist_addf(&o->words, "id=%s,src=%s", target, cnode_str(secret, "file"));
        return 0;
    }
    if (!cnode_str(secret, "environment"))
        return err_set(err, 1, "build secret \"%s\" has neither a file nor a variable", source);
    value = strlist_env_get(&o->w->project.environment, cnode_str(secret, "environment"));
    if (value)
        setenv(cnode_str(secret, "environment"), value, 1);
    strlist_addf(&o->words, "id=%s,env=%s", target, cnode_str(secret, "environment"));
    return 0;
}

static int add_secrets(struct one *o, struct err *err)
{
    const struct cnode *secrets = cnode_get(o->build, "secrets");

    for (size_t i = 0; cnode_is(secrets, CNODE_LIST) && i < secrets->len; i++)
        if (add_secret(o, secrets->items[i], err) < 0)
            return -1;
    return 0;
}

/* The Dockerfile: beside the context, or the text itself, in a file without a name. */
static int add_file(struct one *o, struct err *err)
{
    const char *context = cnode_str(o->build, "context"), *file = cnode_str(o->build, "dockerfile");
    const char *text = cnode_str(o->build, "dockerfile_inline");

    if (text) {
        o->inline_fd = memfd_create("Dockerfile", 0);
        if (o->inline_fd < 0 || write(o->inline_fd, text, strlen(text)) != (ssize_t)strlen(text))
            return err_set_errno(err, 1, errno, "the Dockerfile of %s", o->s->name);
        strlist_add(&o->words, "-f");
        strlist_addf(&o->words, "/proc/self/fd/%d", o->inline_fd);
    } else if (file && *file) {
        bool local = *file != '/' && context && *context == '/';

        strlist_add(&o->words, "-f");
        strlist_addf(&o->words, "%s%s%s", local ? context : "", local ? "/" : "", file);
    }
    return 0;
}

static void add_flags(struct one *o)
{
    const struct build_how *how = o->how;

    if (how->no_cache || cnode_true(o->build, "no_cache"))
        strlist_add(&o->words, "--no-cache");
    if (how->pull || cnode_true(o->build, "pull"))
        strlist_add(&o->words, "--pull");
    if (how->push)
        strlist_add(&o->words, "--push");
    if (how->quiet)
        strlist_add(&o->words, "-q");
    for (size_t i = 0; how->args && i < how->args->len; i++)
        add2(o, "--build-arg", how->args->items[i]);
    if (how->more)
        strlist_copy(&o->words, how->more);
}

/* By these `down --rmi local` knows the image again. */
static void add_our_label(struct one *o, const char *label, const char *value)
{
    strlist_add(&o->words, "--label");
    strlist_addf(&o->words, "%s=%s", label, value);
}

/* What changes nothing in a sandbox is nothing; what would change something is refused by `docker build` itself. */
static int fill_words(struct one *o, struct err *err)
{
    const char *context = cnode_str(o->build, "context"), *platform = cnode_str(o->s->node, "platform");

    add_our_label(o, LABEL_PROJECT, o->w->name);
    add_our_label(o, LABEL_SERVICE, o->s->name);
    add_our_label(o, LABEL_VERSION, COMPOSE_VERSION);
    add2(o, "-t", o->s->image);
    add_pairs(o, "tags", "-t", "");
    add_pairs(o, "args", "--build-arg", "=");
    add_pairs(o, "labels", "--label", "=");
    add_pairs(o, "cache_from", "--cache-from", "");
    add_pairs(o, "cache_to", "--cache-to", "");
    add_pairs(o, "extra_hosts", "--add-host", "=");
    add_pairs(o, "ssh", "--ssh", "=");
    add_pairs(o, "entitlements", "--allow", "");
    add_pairs(o, "ulimits", "--ulimit", "=");
    add_text(o, "target", "--target");
    add_text(o, "network", "--network");
    add_text(o, "shm_size", "--shm-size");
    add_text(o, "isolation", "--isolation");
    add_text(o, "provenance", "--provenance");
    add_text(o, "sbom", "--sbom");
    if (cnode_true(o->build, "privileged"))
        return err_set(err, 1, "services.%s.build.privileged is refused by atp-docker: a build has no such powers",
                       o->s->name);
    if (cnode_get(o->build, "platforms"))
        add_pairs(o, "platforms", "--platform", "");
    else if (platform && *platform)
        add2(o, "--platform", platform);
    add_flags(o);
    if (add_contexts(o, err) < 0 || add_secrets(o, err) < 0 || add_file(o, err) < 0)
        return -1;
    add2(o, "--", context ? context : ".");
    return 0;
}

/* In a process of its own, which may write progress as it likes; its stdout is our stderr, where progress belongs. */
static int carry_out(struct one *o, struct err *err)
{
    bool quiet = strlist_has(&o->words, "-q"); /* it would print the id */
    int status = 0;
    pid_t pid;

    jobs_rest(o->w->app);
    fflush(NULL);
    pid = fork();
    if (pid < 0)
        return err_set_errno(err, 1, errno, "building %s", o->s->name);
    if (pid == 0) {
        struct err why = ERR_INIT;
        int code, null;

        null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(quiet && null >= 0 ? null : STDERR_FILENO, STDOUT_FILENO);
        code = command_call(o->w->app, "build", &o->words, &why);
        if (code < 0) {
            fprintf(stderr, "%s\n", strncmp(why.msg, "ERROR: ", 7) == 0 ? why.msg + 7 : why.msg);
            code = why.exit_code ? why.exit_code : 1;
        }
        app_clear(o->w->app);
        fflush(NULL);
        _exit(code);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    err_set(err, WIFEXITED(status) ? WEXITSTATUS(status) : 130, "target %s: failed to solve: see above", o->s->name);
    return -1;
}

/* As compose has it, with an id that no image has. */
static void tell_dry(struct team *w, const struct service *s)
{
    unsigned char digest[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];
    cleanup_free char *title = xasprintf("%s ==>", s->name), *name = xasprintf("==> naming to %s", s->image);
    cleanup_free char *id = NULL;

    if (!w->display)
        return;
    sha256(s->name, strlen(s->name), digest);
    sha256_hex(digest, hex);
    id = xasprintf("==> writing image dryRun-%.40s", hex);
    display_event(w->display, DISPLAY_DONE, title, id, "");
    display_event(w->display, DISPLAY_DONE, title, name, "");
}

static int build_one(struct team *w, const struct service *s, const struct build_how *how, struct err *err)
{
    struct one o = {.w = w, .s = s, .build = cnode_get(s->node, "build"), .how = how, .inline_fd = -1};
    enum display_look look;
    int ret;

    if (display_look(w->app, &look, err) < 0)
        return -1;
    if (look == DISPLAY_QUIET && !how->quiet)
        strlist_add(&o.words, "-q");
    else if (how->quiet)
        ; /* which says it all */
    else if (look == DISPLAY_PLAIN || look == DISPLAY_TTY)
        strlist_add(&o.words, look == DISPLAY_PLAIN ? "--progress=plain" : "--progress=tty");
    else if (look == DISPLAY_JSON)
        strlist_add(&o.words, "--progress=rawjson");
    ret = fill_words(&o, err);
    if (ret == 0 && w->app->dry_run)
        tell_dry(w, s);
    else if (ret == 0)
        ret = carry_out(&o, err);
    if (ret == 0 && w->display)
        display_event(w->display, DISPLAY_DONE, s->name, "", "Built");
    if (o.inline_fd >= 0)
        close(o.inline_fd);
    strlist_clear(&o.words);
    return ret;
}

/* Whose image is a context of this one is built first. */
static int build_with_contexts(struct team *w, const struct service *s, const struct build_how *how,
                               struct strlist *built, size_t depth, struct err *err)
{
    const struct cnode *contexts = cnode_path(s->node, "build.additional_contexts");

    if (!cnode_get(s->node, "build") || strlist_has(built, s->name))
        return 0;
    if (depth > w->services.len)
        return err_set(err, 1, "the builds of services are contexts of one another in a circle");
    for (size_t i = 0; cnode_is(contexts, CNODE_MAP) && i < contexts->len; i++) {
        const char *value = cnode_text(contexts->items[i]);
        const struct service *of = NULL;

        if (value && !strncmp(value, SERVICE_PREFIX, strlen(SERVICE_PREFIX)))
            of = services_find(&w->services, value + strlen(SERVICE_PREFIX));
        if (of && build_with_contexts(w, of, how, built, depth + 1, err) < 0)
            return -1;
    }
    strlist_add(built, s->name);
    return build_one(w, s, how, err);
}

int build_services(struct team *w, const struct strlist *names, const struct build_how *how, struct err *err)
{
    cleanup_strlist struct strlist built = STRLIST_INIT;

    for (size_t i = 0; i < names->len; i++) {
        const struct service *s = services_find(&w->services, names->items[i]);

        if (s && build_with_contexts(w, s, how, &built, 0, err) < 0)
            return -1;
    }
    return 0;
}

/* What `docker build` answers for itself, or refuses. */
static void add_more(const struct opt_parsed *opts, struct strlist *ret)
{
    static const char *const valued[] = {"builder", "provenance", "sbom", "ssh"};

    for (size_t i = 0; i < sizeof(valued) / sizeof(*valued); i++)
        if (opt_given(opts, valued[i]))
            strlist_addf(ret, "--%s=%s", valued[i], opt_str(opts, valued[i]));
    if (opt_bool(opts, "check"))
        strlist_add(ret, "--check");
}

static int build_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(team_clear) struct team w;
    cleanup_strlist struct strlist names = STRLIST_INIT, more = STRLIST_INIT;
    struct build_how how = {
        .quiet = opt_bool(opts, "quiet"),
        .no_cache = opt_bool(opts, "no-cache"),
        .pull = opt_bool(opts, "pull"),
        .push = opt_bool(opts, "push"),
        .args = opt_list(opts, "build-arg"),
        .more = &more,
    };

    add_more(opts, &more);
    team_init(&w, app);
    if (team_load(&w, NULL, true, err) < 0 || team_show(&w, "Building", err) < 0)
        return -1;
    for (size_t i = 0; i < opt_args(opts)->len; i++)
        if (!services_find(&w.services, opt_args(opts)->items[i]))
            return err_set(err, 1, "no such service: %s", opt_args(opts)->items[i]);
    for (size_t i = 0; i < w.services.len; i++) {
        const struct service *s = &w.services.items[i];

        if (!opt_args(opts)->len || strlist_has(opt_args(opts), s->name))
            strlist_add(&names, s->name);
        for (size_t d = 0; opt_bool(opts, "with-dependencies") && strlist_has(&names, s->name) && d < s->depends_len;
             d++)
            strlist_add(&names, s->depends[d].name);
    }
    return build_services(&w, &names, &how, err) < 0 ? -1 : 0;
}

extern const struct cmd_def cmd_def_compose_build;

const struct command cmd_compose_build = {.def = &cmd_def_compose_build, .errors = ERROR_PLAIN, .run = build_run};
