#include "shim/compose/compose.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/docker/opt.h"
#include "compat/docker/quote.h"
#include "compat/sys/fs.h"
#include "compat/sys/tty.h"
#include "shim/app.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char *read_file(void *arg, const char *path, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_CONFIG_FILE);
    struct err why = ERR_INIT;
    int code;

    (void)arg;
    if (fs_read_file(path, &text, &why) == 0) {
        if (!memchr(text.data, '\0', text.len))
            return buf_detach(&text);
        err_set(&why, 1, "%s has a NUL byte in it", path);
        why.code = EINVAL;
    }
    code = why.code;
    err_move(err, &why);
    errno = code ? code : EIO;
    return NULL;
}

static bool file_exists(void *arg, const char *path, bool *ret_is_dir)
{
    struct stat st;

    (void)arg;
    if (stat(path, &st) < 0)
        return false;
    if (ret_is_dir)
        *ret_is_dir = S_ISDIR(st.st_mode);
    return true;
}

/* `-f -`: the file comes on stdin. Owned by caller. */
static int read_stdin(char **ret, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_CONFIG_FILE);
    char bytes[8192];
    ssize_t n;

    while ((n = read(STDIN_FILENO, bytes, sizeof(bytes))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 1, errno, "reading the compose file from stdin");
        if (buf_add(&text, bytes, (size_t)n) < 0)
            return err_set(err, 1, "the compose file on stdin is larger than %u bytes", LIMIT_CONFIG_FILE);
    }
    *ret = buf_detach(&text);
    return 0;
}

/* A global option; NULL when it was not given. */
static const char *global_str(const struct app *app, const char *name)
{
    return app->group && opt_given(app->group, name) ? opt_str(app->group, name) : NULL;
}

static const struct strlist *global_list(const struct app *app, const char *name)
{
    static const struct strlist none = STRLIST_INIT;

    return app->group ? opt_list(app->group, name) : &none;
}

static bool env_true(const char *name)
{
    const char *value = getenv(name);

    return value && (!strcmp(value, "1") || !strcasecmp(value, "t") || !strcasecmp(value, "true"));
}

const char *compose_separator(struct app *app)
{
    bool asked = app->group && opt_bool(app->group, "compatibility");

    return asked || env_true("COMPOSE_COMPATIBILITY") ? "_" : "-";
}

void compose_warn(const char *text)
{
    cleanup_free char *quoted = quote_go_str(text);
    char stamp[64] = "";
    time_t now = time(NULL);
    struct tm tm;

    if (tty_is(STDERR_FILENO)) {
        fprintf(stderr, "\033[33mWARN\033[0m[0000] %s\n", text);
        return;
    }
    if (localtime_r(&now, &tm))
        strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S%z", &tm);
    if (strlen(stamp) > 5 && strcmp(stamp + strlen(stamp) - 4, "0000") == 0)
        snprintf(stamp + strlen(stamp) - 5, 6, "Z");
    else if (strlen(stamp) > 5) { /* RFC 3339 has a colon in the zone */
        size_t len = strlen(stamp);

        memmove(stamp + len - 1, stamp + len - 2, 3);
        stamp[len - 2] = ':';
    }
    fprintf(stderr, "time=\"%s\" level=warning msg=%s\n", stamp, quoted);
}

/* What every command of this process sees: the environment, with the folder that a shell would name. */
static void fill_environ(struct strlist *ret, const char *cwd)
{
    for (char **e = environ; *e; e++)
        if (strchr(*e, '='))
            strlist_add(ret, *e);
    if (!strlist_env_get(ret, "PWD"))
        strlist_env_set(ret, "PWD", cwd);
}

/* Files as they were typed; an --env-file is made absolute here, as compose does before anything else. */
static void fill_lists(const struct app *app, const char *cwd, struct compose_input *in)
{
    const struct strlist *env_files = global_list(app, "env-file");

    strlist_copy(&in->files, global_list(app, "file"));
    strlist_copy(&in->profiles, global_list(app, "profile"));
    for (size_t i = 0; i < env_files->len; i++) {
        const char *file = env_files->items[i];

        if (*file == '/')
            strlist_add(&in->env_files, file);
        else
            strlist_addf(&in->env_files, "%s/%s", cwd, file);
    }
}

static int project_dir(const struct app *app, const char **ret, struct err *err)
{
    const char *workdir = global_str(app, "workdir");

    *ret = global_str(app, "project-directory");
    if (!workdir)
        return 0;
    if (*ret)
        return err_set(err, 1,
                       "cannot specify DEPRECATED \"--workdir\" and \"--project-directory\". Please use only "
                       "\"--project-directory\" instead");
    fputs("option '--workdir' is DEPRECATED at root level! Please use '--project-directory' instead.\n", stderr);
    *ret = workdir;
    return 0;
}

static void clear_input(struct compose_input *in)
{
    strlist_clear(&in->files);
    strlist_clear(&in->env_files);
    strlist_clear(&in->profiles);
    strlist_clear(&in->services);
}

static int load(struct app *app, const struct compose_how *how, struct compose_project *ret, struct err *err)
{
    cleanup_free char *cwd = getcwd(NULL, 0), *text = NULL;
    cleanup_strlist struct strlist environment = STRLIST_INIT;
    cleanup_with(clear_input) struct compose_input in = {
        .project_name = global_str(app, "project-name"),
        .cwd = cwd,
        .home = getenv("HOME"),
        .environ = &environment,
        .no_interpolate = how->no_interpolate,
        .no_normalize = how->no_normalize,
        .no_consistency = how->no_consistency,
        .no_path_resolution = how->no_path_resolution,
        .no_env_resolution = how->no_env_resolution,
        .all_resources = how->all_resources || (app->group && opt_bool(app->group, "all-resources")),
        .read = read_file,
        .exists = file_exists,
    };

    if (!cwd)
        return err_set_errno(err, 1, errno, "the current folder");
    if (project_dir(app, &in.project_dir, err) < 0)
        return -1;
    fill_environ(&environment, cwd);
    fill_lists(app, cwd, &in);
    if (how->services)
        strlist_copy(&in.services, how->services);
    if (strlist_has(&in.files, "-") && read_stdin(&text, err) < 0)
        return -1;
    in.stdin_text = text;
    return compose_load(&in, ret, err);
}

int compose_open(struct app *app, const struct compose_how *how, struct compose_project *ret, struct err *err)
{
    int got;

    *ret = (struct compose_project){0};
    got = load(app, how, ret, err);
    /* compose says 1 for most of what is wrong with a file; a loader that knows better has set its own code */
    if (got < 0 && err && !err->exit_code)
        err->exit_code = 1;
    for (size_t i = 0; !how->quiet && i < ret->warnings.len; i++)
        compose_warn(ret->warnings.items[i]);
    if (got < 0)
        compose_project_clear(ret);
    return got;
}

char *compose_name(struct app *app, struct err *err)
{
    const char *given = global_str(app, "project-name"), *env = getenv("COMPOSE_PROJECT_NAME");
    struct compose_project project = {0};
    char *name;

    if (given && *given)
        return xstrdup(given);
    if (env && *env)
        return xstrdup(env);
    if (compose_open(app, &(struct compose_how){.quiet = true}, &project, err) < 0)
        return NULL;
    name = xstrdup(project.name);
    compose_project_clear(&project);
    return name;
}

int compose_open_or_name(struct app *app, const struct compose_how *how, struct compose_project *ret, bool *ret_loaded,
                         char **ret_name, struct err *err)
{
    const char *given = global_str(app, "project-name"), *env = getenv("COMPOSE_PROJECT_NAME");
    struct err why = ERR_INIT;

    *ret_loaded = false;
    if (given && *given && !global_list(app, "file")->len) {
        *ret_name = xstrdup(given);
        return 0;
    }
    if (compose_open(app, how, ret, &why) == 0) {
        *ret_loaded = true;
        *ret_name = xstrdup(ret->name);
        return 0;
    }
    if (!env || !*env)
        return err_move(err, &why);
    err_clear(&why);
    *ret_name = xstrdup(env);
    return 0;
}
