#include "shim/binds.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "translate/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void binds_clear(struct binds *b)
{
    for (size_t i = 0; i < b->len; i++) {
        if (b->mounts[i].host.dirfd >= 0)
            close(b->mounts[i].host.dirfd);
        free(b->files[i]);
        free(b->states[i]);
    }
    if (b->keep_fd >= 0)
        close(b->keep_fd);
    if (b->state_fd >= 0)
        close(b->state_fd);
    free(b->mounts);
    free(b->files);
    free(b->states);
    *b = (struct binds)BINDS_INIT;
}

/* -v makes a missing folder, --mount refuses it; one that this container had is not replaced by an empty one. */
static int make_source(const struct mount *m, bool known, struct err *err)
{
    if (known) {
        err_set(err, 125,
                "Error response from daemon: the mount source %s is gone, which was exchanged with this container "
                "before; nothing was deleted in "
                "the container",
                m->source);
        if (err)
            err->code = BINDS_SOURCE_GONE;
        return -1;
    }
    if (!m->create_source)
        return err_set(
            err, 125,
            "Error response from daemon: invalid mount config for type \"bind\": bind source path does not exist: %s",
            m->source);
    if (fs_mkdirs(m->source, 0755, err) < 0)
        return err_wrap(err, "Error response from daemon: error while creating mount source path '%s'", m->source);
    return 0;
}

/* Opens the folder itself, or the folder that holds a single file. The source's own links are followed, as a bind mount
 * does. */
static int open_source(const struct mount *m, bool known, int *ret_fd, char **ret_file, struct err *err)
{
    char real[PATH_MAX];
    struct stat st;
    char *slash;

    if (stat(m->source, &st) < 0) {
        if (errno != ENOENT)
            return err_set_errno(err, 125, errno, "Error response from daemon: the mount source %s", m->source);
        if (make_source(m, known, err) < 0 || stat(m->source, &st) < 0)
            return err->msg ? -1 : err_set_errno(err, 125, errno, "the mount source %s", m->source);
    }
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        return err_set(err, 125, "%s is neither a folder nor a regular file: it cannot be mounted into a sandbox",
                       m->source);
    if (!realpath(m->source, real))
        return err_set_errno(err, 125, errno, "Error response from daemon: the mount source %s", m->source);
    if (S_ISREG(st.st_mode)) {
        slash = strrchr(real, '/');
        *ret_file = xstrdup(slash + 1);
        slash[slash == real] = '\0';
    }
    *ret_fd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*ret_fd < 0)
        return err_set_errno(err, 125, errno, "Error response from daemon: open %s", real);
    return 0;
}

/* Where conflict copies and deleted files of this container go. */
static int open_keep(struct err *err)
{
    cleanup_free char *state = fs_state_dir(), *dir = xasprintf("%s/kept", state);
    int fd;

    if (fs_mkdirs(dir, 0700, err) < 0)
        return -1;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : err_set_errno(err, 125, errno, "open %s", dir);
}

/* The container's own folder, for what is agreed with it. */
static int open_state(const char *id, struct err *err)
{
    cleanup_free char *state = fs_state_dir(), *dir = xasprintf("%s/containers/%s", state, id);
    int fd;

    if (fs_mkdirs(dir, 0700, err) < 0)
        return -1;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : err_set_errno(err, 125, errno, "open %s", dir);
}

static enum sync_conflict conflict_policy(const struct container_spec *spec)
{
    const char *word = modal_str(&spec->modal, MODAL_KEY_SYNC_CONFLICT);

    if (word && !strcmp(word, "container"))
        return SYNC_CONFLICT_CONTAINER;
    if (word && !strcmp(word, "fail"))
        return SYNC_CONFLICT_FAIL;
    return SYNC_CONFLICT_HOST;
}

/* One mount: its source is opened and the rest filled in. */
static int open_bind(const struct container_spec *spec, size_t i, size_t slot, struct binds *b, struct err *err)
{
    const struct mount *m = &spec->mounts.items[i];
    struct session_mount *to = &b->mounts[slot];
    bool known;

    b->states[slot] = xasprintf("mount-%zu", i);
    known = b->state_fd >= 0 && faccessat(b->state_fd, b->states[slot], F_OK, 0) == 0;
    *to = (struct session_mount){
        .host.dirfd = -1,
        .label = m->source,
        .target = m->target,
        .read_only = m->readonly,
        .exclude = modal_list(&spec->modal, MODAL_KEY_SYNC_EXCLUDE),
        .conflict = conflict_policy(spec),
        .keep_dirfd = b->keep_fd,
        .state_dirfd = b->state_fd,
        .state_name = b->states[slot],
    };
    if (open_source(m, known, &to->host.dirfd, &b->files[slot], err) < 0)
        return -1;
    to->host.file = b->files[slot];
    return 0;
}

static int open_all(const struct container_spec *spec, const char *container_id, bool rest, struct binds *ret,
                    struct err *err)
{
    size_t len = spec->mounts.len, wanted = 0;

    *ret = (struct binds)BINDS_INIT;
    for (size_t i = 0; i < len; i++)
        wanted += spec->mounts.items[i].type == MOUNT_BIND;
    if (!wanted)
        return 0;
    ret->mounts = xcalloc(len, sizeof(*ret->mounts));
    ret->files = xcalloc(len, sizeof(*ret->files));
    ret->states = xcalloc(len, sizeof(*ret->states));
    ret->keep_fd = open_keep(err);
    if (ret->keep_fd >= 0 && container_id)
        ret->state_fd = open_state(container_id, err);
    if (ret->keep_fd < 0 || (container_id && ret->state_fd < 0)) {
        binds_clear(ret);
        return -1;
    }
    for (size_t i = 0; i < len; i++) {
        cleanup_err struct err why = ERR_INIT;

        if (spec->mounts.items[i].type != MOUNT_BIND)
            continue;
        ret->len++; /* counted first, so that what was opened for it is released */
        if (open_bind(spec, i, ret->len - 1, ret, &why) == 0)
            continue;
        if (!rest || why.code != BINDS_SOURCE_GONE) {
            binds_clear(ret);
            return err_move(err, &why);
        }
        fprintf(stderr, "docker: %s is gone: what the container changed there stays with the container\n",
                spec->mounts.items[i].source);
        ret->mounts[ret->len - 1].absent = true;
    }
    return 0;
}

int binds_open(const struct container_spec *spec, const char *container_id, struct binds *ret, struct err *err)
{
    return open_all(spec, container_id, /* rest= */ false, ret, err);
}

int binds_open_rest(const struct container_spec *spec, const char *container_id, struct binds *ret, struct err *err)
{
    return open_all(spec, container_id, /* rest= */ true, ret, err);
}
