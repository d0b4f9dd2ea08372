/* Keeping credentials as Docker does, for login and logout. */
#include "backends/registry/auth.h"
#include "backends/registry/auth_private.h"
#include "backends/registry/base64.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_ANSWER (64u << 10)
#define HUB_KEY    "https://index.docker.io/v1/"

char *auth_key(const char *server)
{
    const char *host = strstr(server, "://");

    if (!*server || strcmp(server, "docker.io") == 0 || strcmp(server, HUB_KEY) == 0)
        return xstrdup(HUB_KEY);
    host = host ? host + 3 : server;
    return xstrndup(host, strcspn(host, "/"));
}

/* config.json while it is changed: two logins at once come one after the other. */
struct edit {
    char *path; /* the file itself, behind links */
    json_t *config;
    int lock;
};

static void edit_end(struct edit *e)
{
    json_decref(e->config);
    free(e->path);
    if (e->lock >= 0)
        close(e->lock);
}

static int edit_begin(struct edit *e, struct err *err)
{
    cleanup_free char *folder = NULL;
    char *real;

    *e = (struct edit){.path = auth_config_path(NULL), .lock = -1};
    if (!e->path)
        return err_set(err, 0, "there is no place for config.json: HOME is not set");
    folder = xstrndup(e->path, (size_t)(strrchr(e->path, '/') - e->path));
    if (fs_mkdirs(folder, 0700, err) < 0)
        return -1;
    e->lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (e->lock >= 0)
        while (flock(e->lock, LOCK_EX) < 0 && errno == EINTR)
            ;
    real = realpath(e->path, NULL);
    if (real) {
        free(e->path);
        e->path = real;
    }
    if (auth_config_load(e->path, &e->config, err) < 0)
        return -1;
    if (!e->config)
        e->config = json_object();
    return json_is_object(e->config) ? 0 : err_set(err, 0, "loading config file: %s: it is not an object", e->path);
}

/* Tabs, as Docker indents the file. */
static void with_tabs(const char *text, struct buf *out)
{
    for (bool start = true; *text; text++) {
        if (start && strncmp(text, "    ", 4) == 0) {
            buf_addc(out, '\t');
            text += 3;
            continue;
        }
        start = *text == '\n';
        buf_addc(out, *text);
    }
}

/* Replaces the file; who may read it stays as it was. */
static int edit_save(const struct edit *e, struct err *err)
{
    cleanup_free char *text = json_dumps(e->config, JSON_INDENT(4) | JSON_PRESERVE_ORDER);
    struct buf out cleanup_buf = BUF_INIT(LIMIT_CONFIG_FILE);
    struct stat st;

    if (!text)
        return err_set(err, 0, "%s: not text", e->path);
    with_tabs(text, &out);
    if (out.overflowed)
        return err_set(err, 0, "%s would be larger than %u bytes", e->path, LIMIT_CONFIG_FILE);
    return fs_write_file(e->path, out.data, out.len, stat(e->path, &st) == 0 ? st.st_mode & 0777 : 0600, err);
}

/* The helper that keeps a server's credentials; NULL: the file does. Borrowed. */
static const char *helper_of(const json_t *config, const char *server)
{
    const char *one = json_string_value(json_object_get(json_object_get(config, "credHelpers"), server));
    const char *all = json_string_value(json_object_get(config, "credsStore"));

    return one ? one : all && *all ? all : NULL;
}

static json_t *auths_of(json_t *config)
{
    json_t *auths = json_object_get(config, "auths");

    if (!json_is_object(auths)) {
        auths = json_object();
        json_object_set_new(config, "auths", auths);
    }
    return auths;
}

static int store(const char *helper, const char *server, const char *user, const char *password, struct err *err)
{
    json_t *j = json_pack("{s:s, s:s, s:s}", "ServerURL", server, "Username", user, "Secret", password);
    cleanup_free char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    struct buf out cleanup_buf = BUF_INIT(MAX_ANSWER);
    int got = -1;

    json_decref(j);
    if (!text)
        return err_set(err, 0, "Error saving credentials: they are not valid UTF-8");
    got = helper_run(helper, "store", text, &out, err);
    if (got > 0)
        return 0;
    if (got == 0)
        err_set(err, 0, "docker-credential-%s: %.200s", helper, out.data);
    return err_wrap(err, "Error saving credentials: error storing credentials - err");
}

int auth_keep(const char *server, const char *user, const char *password, char **ret_plain, struct err *err)
{
    cleanup_free char *pair = xasprintf("%s:%s", user, password), *coded = base64_encode(pair, strlen(pair));
    const char *helper;
    struct edit e;
    json_t *entry;
    int ret = edit_begin(&e, err);

    if (ret == 0) {
        helper = helper_of(e.config, server);
        entry = json_object();
        if (helper)
            ret = store(helper, server, user, password, err);
        else
            json_object_set_new(entry, "auth", json_string(coded));
        json_object_set_new(auths_of(e.config), server, entry);
        if (ret == 0)
            ret = edit_save(&e, err);
        if (ret == 0 && ret_plain)
            *ret_plain = helper ? NULL : xstrdup(e.path);
    }
    edit_end(&e);
    return ret;
}

/* The helper has them no more; that it had none is fine. */
static int erase(const char *helper, const char *server, struct err *err)
{
    struct buf out cleanup_buf = BUF_INIT(MAX_ANSWER);

    return helper_run(helper, "erase", server, &out, err) < 0 ? err_wrap(err, "error erasing credentials - err") : 0;
}

int auth_erase(const char *server, struct err *err)
{
    cleanup_free char *path = auth_config_path(NULL);
    const char *helper;
    struct edit e;
    int ret;

    if (!path || !fs_exists(path))
        return 0;
    ret = edit_begin(&e, err);
    if (ret == 0) {
        helper = helper_of(e.config, server);
        if (helper)
            ret = erase(helper, server, err);
        if (ret == 0 && json_object_del(json_object_get(e.config, "auths"), server) == 0)
            ret = edit_save(&e, err);
    }
    edit_end(&e);
    return ret;
}
