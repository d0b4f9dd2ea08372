#include "backends/engine/img_build.h"

#include "backends/engine/img_config.h"
#include "backends/engine/img_layer.h"
#include "backends/engine/img_view.h"
#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_AGAIN_MS 200 /* how late a waiting build notices that it was cancelled */

void img_locks_init(struct img_locks *l)
{
    *l = (struct img_locks){.busy = STRLIST_INIT};
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->freed, NULL);
}

void img_locks_clear(struct img_locks *l)
{
    pthread_mutex_destroy(&l->mutex);
    pthread_cond_destroy(&l->freed);
    strlist_clear(&l->busy);
}

int img_lock(struct img_locks *l, const char *name, const atomic_bool *cancelled, struct err *err)
{
    int ret = 0;

    pthread_mutex_lock(&l->mutex);
    while (strlist_has(&l->busy, name)) {
        struct timespec until;

        if (atomic_load(cancelled)) {
            ret = err_set(err, 0, "context canceled");
            break;
        }
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_AGAIN_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&l->freed, &l->mutex, &until);
    }
    if (ret == 0)
        strlist_add(&l->busy, name);
    pthread_mutex_unlock(&l->mutex);
    return ret;
}

void img_unlock(struct img_locks *l, const char *name)
{
    pthread_mutex_lock(&l->mutex);
    for (size_t i = 0; i < l->busy.len; i++) {
        if (strcmp(l->busy.items[i], name) == 0) {
            strlist_remove(&l->busy, i);
            break;
        }
    }
    pthread_cond_broadcast(&l->freed);
    pthread_mutex_unlock(&l->mutex);
}

void img_job_clear(struct img_job *job)
{
    free(job->dir);
    strlist_clear(&job->lines);
    strlist_clear(&job->build_args);
    strlist_clear(&job->base_layers);
    free(job->base_config);
    free(job->context_mount);
    free(job->user);
    free(job->password);
    free(job->upper);
    strlist_clear(&job->layers);
    json_decref(job->config);
    job->dir = job->base_config = job->context_mount = job->user = job->password = NULL;
    job->config = NULL;
}

void img_log(struct img_job *job, const char *fmt, ...)
{
    cleanup_free char *line = NULL;
    va_list ap;

    va_start(ap, fmt);
    line = xvasprintf(fmt, ap);
    va_end(ap);
    job->log(line, job->log_arg);
}

void img_chain_key(const struct strlist *below, const char *kind, const char *what, char ret[65])
{
    cleanup_free char *text = xasprintf("%s\n%s\n%s\n", below->len ? below->items[below->len - 1] : "", kind, what);

    digest_of(text, strlen(text), ret);
}

struct img_view *img_job_view(const struct img_job *job, struct err *err)
{
    cleanup_strlist struct strlist dirs = STRLIST_INIT;

    for (size_t i = job->layers.len; i-- > 0;)
        strlist_add_owned(&dirs, img_layer_dir(job->dir, job->layers.items[i]));
    return img_view_open(&dirs, err);
}

char *img_absolute(const char *workdir, const char *s)
{
    cleanup_strlist struct strlist parts = STRLIST_INIT;
    struct buf out = BUF_INIT(LIMIT_CONFIG_FILE);

    if (*s != '/' && workdir)
        strlist_split(&parts, workdir, '/');
    strlist_split(&parts, s, '/');
    for (size_t i = 0; i < parts.len; i++) {
        const char *p = parts.items[i];

        if (strcmp(p, "..") == 0) {
            char *slash = strrchr(out.data, '/');

            buf_truncate(&out, slash ? (size_t)(slash - out.data) : 0);
        } else if (*p && strcmp(p, ".") != 0) {
            buf_addf(&out, "/%s", p);
        }
    }
    if (!out.len)
        buf_addc(&out, '/');
    return buf_detach(&out);
}

/* Parses all of s as an id. */
static bool number(const char *s, unsigned long *ret)
{
    char *end;

    errno = 0;
    if (*s < '0' || *s > '9')
        return false;
    *ret = strtoul(s, &end, 10);
    return !*end && !errno && *ret < UINT32_MAX;
}

/* The id of a name in a file like /etc/passwd or /etc/group: its third field. 1 found, 0 not. */
static int look_up(struct img_view *view, const char *file, const char *name, unsigned long *ret, struct err *err)
{
    struct buf text cleanup_buf = BUF_INIT(LIMIT_CONFIG_FILE);
    size_t len = strlen(name);
    int r = img_view_read(view, file, &text, err);

    if (r <= 0)
        return r;
    for (char *line = text.data; line; line = strchr(line, '\n')) {
        const char *field;
        char digits[16];
        size_t n;

        line += *line == '\n';
        if (strncmp(line, name, len) != 0 || line[len] != ':')
            continue;
        field = strchr(line + len + 1, ':');
        n = field ? strspn(field + 1, "0123456789") : 0;
        if (!n || n >= sizeof(digits))
            continue;
        memcpy(digits, field + 1, n);
        digits[n] = '\0';
        if (number(digits, ret))
            return 1;
    }
    return 0;
}

int img_owner(struct img_view *view, const char *text, uid_t *ret_uid, gid_t *ret_gid, struct err *err)
{
    const char *colon = strchr(text, ':');
    cleanup_free char *user = xstrndup(text, colon ? (size_t)(colon - text) : strlen(text));
    const char *group = colon ? colon + 1 : NULL;
    unsigned long uid, gid;

    if (!number(user, &uid)) {
        int r = look_up(view, "etc/passwd", user, &uid, err);

        if (r <= 0)
            return r < 0 ? -1
                         : err_set(err, 1,
                                   "unable to convert uid/gid chown string to host mapping: can't find uid for user "
                                   "%s: no such user: %s",
                                   user, user);
    }
    gid = uid;
    if (group && !number(group, &gid)) {
        int r = look_up(view, "etc/group", group, &gid, err);

        if (r <= 0)
            return r < 0 ? -1
                         : err_set(err, 1,
                                   "unable to convert uid/gid chown string to host mapping: can't find gid for group "
                                   "%s: no such group: %s",
                                   group, group);
    }
    *ret_uid = (uid_t)uid;
    *ret_gid = (gid_t)gid;
    return 0;
}
