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

bool img_try_lock(struct img_locks *l, const char *name)
{
    bool free_now;

    pthread_mutex_lock(&l->mutex);
    free_now = !strlist_has(&l->busy, name);
    if (free_now)
        strlist_add(&l->busy, name);
    pthread_mutex_unlock(&l->mutex);
    return free_now;
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

void img_tree_clear(struct img_tree *t)
{
    strlist_clear(&t->layers);
    json_decref(t->config);
    free(t->text);
    *t = (struct img_tree){0};
}

/* Secrets do not stay in freed memory. */
static void forget_secrets(struct strlist *secrets)
{
    for (size_t i = 0; i < secrets->len; i++)
        explicit_bzero(secrets->items[i], strlen(secrets->items[i]));
    strlist_clear(secrets);
}

void img_job_clear(struct img_job *job)
{
    free(job->dir);
    strlist_clear(&job->lines);
    strlist_clear(&job->build_args);
    strlist_clear(&job->add_hosts);
    strlist_clear(&job->labels);
    forget_secrets(&job->secrets);
    for (size_t i = 0; i < job->bases_len; i++) {
        free(job->bases[i].name);
        strlist_clear(&job->bases[i].layers);
        free(job->bases[i].config);
    }
    free(job->bases);
    free(job->config_text);
    strlist_clear(&job->base_layers);
    free(job->base_config);
    free(job->context_mount);
    free(job->user);
    free(job->password);
    free(job->upper);
    strlist_clear(&job->layers);
    json_decref(job->config);
    job->dir = job->base_config = job->context_mount = job->user = job->password = job->config_text = NULL;
    job->bases = NULL;
    job->bases_len = 0;
    job->config = NULL;
}

void img_log(struct img_job *job, const char *fmt, ...)
{
    cleanup_free char *line = NULL;
    cleanup_free char *piece = NULL;
    va_list ap;

    va_start(ap, fmt);
    line = xvasprintf(fmt, ap);
    va_end(ap);
    for (char *p = line; *p; p++)
        *p = *p == '\n' || *p == '\r' ? ' ' : *p;
    piece = xasprintf("3%s\n", line);
    job->log(piece, job->log_arg);
}

void img_log_progress(struct img_job *job, const char *what, int64_t done, int64_t total)
{
    cleanup_free char *piece = xasprintf("4%s %lld/%lld", what, (long long)done, (long long)total);

    job->log(piece, job->log_arg);
}

int img_cancelled(const struct img_job *job, struct err *err)
{
    return atomic_load(&job->cancelled) ? err_set(err, 0, "context canceled") : 0;
}

void img_chain_key(const struct strlist *below, const char *kind, const char *what, char ret[65])
{
    cleanup_free char *text = xasprintf("%s\n%s\n%s\n", below->len ? below->items[below->len - 1] : "", kind, what);

    digest_of(text, strlen(text), ret);
}

struct img_view *img_job_view(const struct img_job *job, struct err *err)
{
    cleanup_strlist struct strlist dirs = STRLIST_INIT;

    img_layer_dirs(job, &job->layers, &dirs);
    return img_view_open(&dirs, err);
}

void img_layer_dirs(const struct img_job *job, const struct strlist *layers, struct strlist *ret)
{
    for (size_t i = layers->len; i-- > 0;)
        strlist_add_owned(ret, img_layer_dir(job->dir, layers->items[i]));
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
