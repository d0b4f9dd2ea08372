#include "shim/volume.h"

#include "backends/grpc/frame.h"
#include "backends/modal/client.h"
#include "backends/modal/volume.h"
#include "backends/state/state.h"
#include "backends/state/volumes.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/sys/fs.h"
#include "compat/sys/random.h"
#include "shim/app.h"
#include "shim/container.h"
#include "shim/events.h"
#include "shim/make.h"
#include "shim/pod.h"
#include "shim/pod_private.h"
#include "shim/sandbox.h"
#include "translate/spec.h"
#include "translate/wire/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define DAEMON          "Error response from daemon: "
#define FOLDER          "/.atp/volumes" /* the agent's (backends/agent/agent.h) */
#define ANONYMOUS       "com.docker.volume.anonymous"
#define COMPOSE_REPLACE "com.docker.compose.replace"
#define SERVER_NAME     64    /* what Modal takes (protocol 9.3) */
#define SCRATCH_MODE    01777 /* Docker's */
#define COMMIT_TRIES    5
#define COMMIT_WAIT_NS  200000000

/* ---- names ---- */

/*
 * "atp-<scope>-<name>". What would be too long is cut, and the digest of the whole put behind it.
 */
static char *server_name(struct app *app, const char *name)
{
    cleanup_free char *whole = xasprintf("atp-%.24s-%s", app_scope(app), name);
    char hex[2 * SHA256_LEN + 1];
    uint8_t digest[SHA256_LEN];

    if (strlen(whole) <= SERVER_NAME)
        return steal(&whole);
    sha256(whole, strlen(whole), digest);
    sha256_hex(digest, hex);
    return xasprintf("%.*s-%.32s", SERVER_NAME - 33, whole, hex);
}

int volume_name_random(char ret[65], struct err *err)
{
    return random_hex(ret, 64, err);
}

char *volume_mountpoint(const char *name)
{
    return xasprintf("/var/lib/docker/volumes/%s/_data", name);
}

static bool is_volume(const struct mount *m)
{
    return m->type == MOUNT_VOLUME && m->source;
}

static bool is_native(const struct container_spec *spec)
{
    const char *word = modal_str(&spec->modal, MODAL_KEY_VOLUMES);

    return word && strcmp(word, "native") == 0;
}

/* ---- making ---- */

bool volumes_any(const struct container_spec *spec)
{
    for (size_t i = 0; i < spec->mounts.len; i++)
        if (is_volume(&spec->mounts.items[i]))
            return true;
    return false;
}

bool volumes_writable(const struct container_spec *spec)
{
    for (size_t i = 0; i < spec->mounts.len; i++)
        if (is_volume(&spec->mounts.items[i]) && !spec->mounts.items[i].readonly)
            return true;
    return false;
}

/* One that compose hands on from the container that this one replaces: nobody else knows its name. */
static bool is_handed_on(struct app *app, const struct container_spec *spec, const struct mount *m)
{
    struct state_volume v = {0};
    bool ret;

    if (!strlist_env_get(&spec->labels, COMPOSE_REPLACE) || state_volume_get(app->state, m->source, &v, NULL) <= 0)
        return false;
    ret = v.anonymous;
    state_volume_clear(&v);
    return ret;
}

int volumes_prepare(struct app *app, struct container_spec *spec, const struct process_spec *process, struct err *err)
{
    for (size_t i = 0; i < process->config.volumes.len; i++)
        mounts_add_declared(&spec->mounts, process->config.volumes.items[i]);
    for (size_t i = 0; i < spec->mounts.len; i++) {
        struct mount *m = &spec->mounts.items[i];
        char name[65];

        if (m->type == MOUNT_VOLUME && m->source)
            m->anonymous = is_handed_on(app, spec, m);
        if (m->type != MOUNT_VOLUME || m->source)
            continue;
        if (volume_name_random(name, err) < 0)
            return -1;
        m->source = xstrdup(name);
        m->anonymous = true;
    }
    return 0;
}

int volume_add(struct app *app, const char *name, const struct strlist *labels, const struct strlist *options,
               bool anonymous, struct err *err)
{
    static const struct strlist none = STRLIST_INIT;
    cleanup_free char *labels_json = making_json(labels ? labels : &none),
                      *options_json = making_json(options ? options : &none);
    const struct state_volume v = {(char *)name, labels_json, options_json, container_now_ns(), anonymous};
    int got = state_volume_add(app->state, &v, err);

    if (got > 0)
        event_volume(app, "create", name, NULL, NULL, 0);
    return got;
}

int volumes_register(struct app *app, const struct container_spec *spec, struct err *err)
{
    for (size_t i = 0; i < spec->mounts.len; i++) {
        const struct mount *m = &spec->mounts.items[i];

        if (is_volume(m) && volume_add(app, m->source, &m->labels, &m->driver_opts, m->anonymous, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- what the server is told ---- */

/* The server's id, from the state or by name. */
static int id_of(struct app *app, const char *name, char **ret, struct err *err)
{
    cleanup_free char *on_server = NULL;
    int got = state_volume_id_get(app->state, app->server_key, name, ret, err);

    if (got != 0)
        return got < 0 ? -1 : 0;
    on_server = server_name(app, name);
    if (modal_volume_get(app->modal, on_server, /* create= */ true, ret, err) < 0)
        return err_wrap(err, "the volume %s", name);
    /* the row may be gone, by somebody's `volume rm`: then there is nothing to remember it for */
    state_volume_id_put(app->state, app->server_key, name, *ret, NULL);
    return 0;
}

int volume_mounts_make(struct app *app, const struct container_spec *spec, struct volume_mounts *ret, struct err *err)
{
    bool native = is_native(spec);

    *ret = (struct volume_mounts){0};
    ret->items = xcalloc(spec->mounts.len + 1, sizeof(*ret->items));
    for (size_t i = 0; i < spec->mounts.len; i++) {
        const struct mount *m = &spec->mounts.items[i];
        char *id = NULL;

        if (!is_volume(m))
            continue;
        if (id_of(app, m->source, &id, err) < 0) {
            volume_mounts_clear(ret);
            return -1;
        }
        strlist_add_owned(&ret->ids, id);
        if (native)
            strlist_add(&ret->paths, m->target);
        else
            strlist_addf(&ret->paths, FOLDER "/%s", m->source);
        ret->items[ret->len++] = (struct modal_volume){
            .sub_path = native ? m->subpath : NULL,
            .read_only = m->readonly,
        };
    }
    for (size_t i = 0; i < ret->len; i++) {
        ret->items[i].volume_id = ret->ids.items[i];
        ret->items[i].path = ret->paths.items[i];
    }
    return 0;
}

void volume_mounts_clear(struct volume_mounts *m)
{
    free(m->items);
    strlist_clear(&m->ids);
    strlist_clear(&m->paths);
    *m = (struct volume_mounts){0};
}

void volumes_forget(struct app *app, const struct container_spec *spec)
{
    for (size_t i = 0; i < spec->mounts.len; i++)
        if (is_volume(&spec->mounts.items[i]))
            state_volume_id_drop(app->state, app->server_key, spec->mounts.items[i].source, NULL);
}

/* What else is mounted below a volume's target. */
static void add_closed(const struct container_spec *spec, const struct mount *m, struct strlist *closed)
{
    size_t len = strlen(m->target);

    for (size_t i = 0; i < spec->mounts.len; i++) {
        const char *other = spec->mounts.items[i].target;

        if (strncmp(other, m->target, len) == 0 && other[len] == '/')
            strlist_add(closed, other + len + 1);
    }
}

char *volumes_start_text(const struct container_spec *spec)
{
    cleanup_with(wire_volumes_clear) struct wire_volumes list = {.save_s =
                                                                     modal_int(&spec->modal, MODAL_KEY_VOLUME_SAVE)};

    for (size_t i = 0; i < spec->mounts.len; i++) {
        const struct mount *m = &spec->mounts.items[i];
        struct wire_volume *v;

        if (m->type == MOUNT_TMPFS) {
            v = wire_volumes_add(&list, "tmpfs", m->target);
            v->scratch = true;
            v->mode = m->tmpfs_mode ? m->tmpfs_mode : SCRATCH_MODE;
            add_closed(spec, m, &v->closed);
            continue;
        }
        if (!is_volume(m) || is_native(spec))
            continue;
        v = wire_volumes_add(&list, m->source, m->target);
        v->read_only = m->readonly;
        v->nocopy = m->nocopy;
        add_closed(spec, m, &v->closed);
    }
    return wire_volumes_text(&list);
}

int volumes_commit(struct container *c, struct err *err)
{
    struct err why = ERR_INIT;
    int rc = 0;

    if (!c->loaded || !volumes_writable(&c->spec) || !c->task)
        return 0;
    for (int i = 0; i < COMMIT_TRIES; i++) {
        err_clear(&why);
        rc = modal_task_reload_volumes(c->task, &why);
        if (rc == 0 || why.code != GRPC_FAILED_PRECONDITION)
            break;
        nanosleep(&(struct timespec){.tv_nsec = COMMIT_WAIT_NS}, NULL);
    }
    if (rc == 0)
        return 0;
    app_trace(c->app, "%s", why.msg);
    return err_move(err, &why);
}

/* ---- one writer ---- */

static int lock_name(const char *name, struct err *err)
{
    cleanup_free char *state = fs_state_dir(), *dir = xasprintf("%s/volumes", state),
                      *path = xasprintf("%s/%s", dir, name);
    int fd;

    if (fs_mkdirs(dir, 0700, err) < 0)
        return -1;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    while (fd >= 0 && flock(fd, LOCK_EX) < 0)
        if (errno != EINTR) {
            close(steal_fd(&fd));
            break;
        }
    return fd >= 0 ? fd : err_set_errno(err, 125, errno, "locking the volume %s", name);
}

/* Of a volume that is gone, and whose name nobody will think of again. */
static void forget_lock(const char *name)
{
    cleanup_free char *state = fs_state_dir(), *path = xasprintf("%s/volumes/%s", state, name);

    unlink(path);
}

static bool writes_to(const struct container_spec *spec, const char *name)
{
    for (size_t i = 0; i < spec->mounts.len; i++) {
        const struct mount *m = &spec->mounts.items[i];

        if (is_volume(m) && !m->readonly && strcmp(m->source, name) == 0)
            return true;
    }
    return false;
}

/* They will be in one pod, where volumes are kept in step (backends/agent/share_mate.h): they share a network. */
static bool is_together(const struct container *c, const struct container *other)
{
    cleanup_strlist struct strlist ours = STRLIST_INIT, theirs = STRLIST_INIT;

    if (!pod_wanted(c) || !pod_wanted(other) || !other->row.pod)
        return false;
    pod_ids_read(c->row.networks, &ours);
    pod_ids_read(other->row.networks, &theirs);
    for (size_t i = 0; i < theirs.len; i++)
        if (strlist_has(&ours, theirs.items[i]))
            return true;
    return false;
}

/* What another container that writes to one of our volumes is about. */
static int settle_other(struct container *c, struct state_container *row, struct err *err)
{
    cleanup_with(container_clear) struct container other;
    const struct container_spec *ours = &c->spec;
    struct app *app = c->app;
    const char *shared = NULL;
    int rc = 0, code = 0;

    container_init(&other, app);
    other.row = *row;
    *row = (struct state_container){0};
    if (container_load(&other, NULL) < 0)
        return 0;
    for (size_t i = 0; i < ours->mounts.len && !shared; i++)
        if (is_volume(&ours->mounts.items[i]) && writes_to(&other.spec, ours->mounts.items[i].source))
            shared = ours->mounts.items[i].source;
    if (!shared)
        return 0;
    if (container_may_run(&other) && !container_watched(&other) && container_refresh(&other, NULL) < 0)
        return 0;
    if (!container_may_run(&other)) { /* it has ended: its last save is to be there before we start */
        if (container_lock(&other, NULL) == 0 && !container_may_run(&other) && other.row.sandbox_id)
            rc = container_settle(&other, err);
        container_unlock(&other);
        return rc < 0 ? -1 : 0;
    }
    if (!writes_to(ours, shared) || (is_together(c, &other) && !is_native(ours) && !is_native(&other.spec)))
        return 0;
    if (sandbox_ended(app, other.row.sandbox_id, &code, NULL) > 0)
        return 0; /* who watches it has not noticed yet that it is gone */
    return err_set(err, 125,
                   DAEMON
                   "volume %s is in use by the running container %.12s (%s): containers that share no network are "
                   "sandboxes of their own, and atp-docker lets one of them at a time write to a volume; put both "
                   "into one network, stop that one, or mount it read-only (%s:/path:ro)",
                   shared, other.row.id, other.row.name, shared);
}

static int check_others(struct container *c, struct err *err)
{
    struct state_container *rows = NULL;
    size_t len = 0;
    int rc = 0;

    if (state_container_list(c->app->state, &rows, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (rc == 0 && rows[i].sandbox_id && strcmp(rows[i].id, c->row.id) != 0)
            rc = settle_other(c, &rows[i], err);
        state_container_clear(&rows[i]);
    }
    free(rows);
    return rc;
}

int volumes_claim(struct container *c, struct volume_claim *ret, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;

    *ret = (struct volume_claim){0};
    for (size_t i = 0; i < c->spec.mounts.len; i++)
        if (is_volume(&c->spec.mounts.items[i]))
            strlist_add(&names, c->spec.mounts.items[i].source);
    if (!names.len)
        return 0;
    strlist_sort(&names); /* everybody takes them in one order */
    ret->fds = xcalloc(names.len, sizeof(*ret->fds));
    for (size_t i = 0; i < names.len; i++) {
        int fd = lock_name(names.items[i], err);

        if (fd < 0) {
            volumes_unclaim(ret);
            return -1;
        }
        ret->fds[ret->len++] = fd;
    }
    if (check_others(c, err) == 0)
        return 0;
    volumes_unclaim(ret);
    return -1;
}

void volumes_unclaim(struct volume_claim *claim)
{
    for (size_t i = 0; i < claim->len; i++)
        close(claim->fds[i]);
    free(claim->fds);
    *claim = (struct volume_claim){0};
}

/* ---- `docker volume` ---- */

int volume_users(struct app *app, const char *name, struct strlist *ret_ids, struct err *err)
{
    struct state_container *rows = NULL;
    size_t len = 0;

    if (state_container_list(app->state, &rows, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        cleanup_with(container_clear) struct container c;

        container_init(&c, app);
        c.row = rows[i];
        if (!strstr(c.row.record ? c.row.record : "", name) || container_load(&c, NULL) < 0)
            continue;
        for (size_t n = 0; n < c.spec.mounts.len; n++)
            if (is_volume(&c.spec.mounts.items[n]) && strcmp(c.spec.mounts.items[n].source, name) == 0) {
                strlist_add(ret_ids, c.row.id);
                break;
            }
    }
    free(rows);
    return 0;
}

int volume_find(struct app *app, const char *name, struct state_volume *ret, struct err *err)
{
    cleanup_free char *id = NULL, *on_server = NULL;
    struct err why = ERR_INIT;
    int got = state_volume_get(app->state, name, ret, err);

    if (got != 0 || !name_valid(name))
        return got;
    if (app_modal(app, &why) < 0) {
        err_clear(&why); /* nobody to ask */
        return 0;
    }
    on_server = server_name(app, name);
    if (modal_volume_get(app->modal, on_server, /* create= */ false, &id, &why) < 0) {
        if (why.code != GRPC_NOT_FOUND)
            return err_move(err, &why);
        err_clear(&why);
        return 0;
    }
    if (volume_add(app, name, NULL, NULL, /* anonymous= */ false, err) < 0 ||
        state_volume_id_put(app->state, app->server_key, name, id, err) < 0)
        return -1;
    return state_volume_get(app->state, name, ret, err);
}

/* The server's goes first: a kill in between leaves a row, by which it is tried again. */
static int delete_on_server(struct app *app, const char *name, struct err *err)
{
    cleanup_free char *id = NULL, *on_server = server_name(app, name);
    struct err why = ERR_INIT;

    if (app_modal(app, err) < 0)
        return -1;
    if (state_volume_id_get(app->state, app->server_key, name, &id, err) < 0)
        return -1;
    if (!id && modal_volume_get(app->modal, on_server, /* create= */ false, &id, &why) < 0) {
        if (why.code != GRPC_NOT_FOUND)
            return err_move(err, &why);
        err_clear(&why);
        return 0;
    }
    if (modal_volume_delete(app->modal, id, &why) == 0)
        return 0;
    if (why.code != GRPC_NOT_FOUND)
        return err_move(err, &why);
    err_clear(&why);
    return 0;
}

int volume_remove(struct app *app, const char *name, bool force, struct err *err)
{
    cleanup_with(state_volume_clear) struct state_volume v = {0};
    cleanup_strlist struct strlist users = STRLIST_INIT;
    cleanup_close int lock = -1;
    int got = volume_find(app, name, &v, err);

    if (got < 0)
        return -1;
    if (got == 0)
        return force ? 0 : err_set(err, 1, DAEMON "get %s: no such volume", name);
    lock = lock_name(name, err);
    if (lock < 0 || volume_users(app, name, &users, err) < 0)
        return -1;
    if (users.len) {
        cleanup_free char *list = xstrdup(users.items[0]);

        for (size_t i = 1; i < users.len; i++) {
            char *longer = xasprintf("%s, %s", list, users.items[i]);

            free(list);
            list = longer;
        }
        return err_set(err, 1, DAEMON "remove %s: volume is in use - [%s]", name, list);
    }
    if (delete_on_server(app, name, err) < 0)
        return err_wrap(err, DAEMON "remove %s", name);
    if (state_volume_remove(app->state, name, err) < 0)
        return -1;
    if (v.anonymous)
        forget_lock(name);
    event_volume(app, "destroy", name, NULL, NULL, 0);
    return 0;
}

void volume_labels(const struct state_volume *v, struct strlist *ret)
{
    json_auto_t *list = json_loads(v->labels, 0, NULL);
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        if (json_is_string(item))
            strlist_add(ret, json_string_value(item));
    }
}

json_t *volume_inspect(const struct state_volume *v)
{
    cleanup_free char *mountpoint = volume_mountpoint(v->name);
    cleanup_strlist struct strlist labels = STRLIST_INIT, sorted = STRLIST_INIT;
    time_t seconds = (time_t)(v->created_ns / 1000000000);
    json_t *map = NULL;
    char created[32];
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", &tm);
    volume_labels(v, &labels);
    if (v->anonymous && !strlist_env_get(&labels, ANONYMOUS))
        strlist_add(&labels, ANONYMOUS "=");
    if (labels.len)
        map = json_object();
    strlist_copy(&sorted, &labels);
    strlist_sort(&sorted);
    for (size_t i = 0; i < sorted.len; i++) {
        cleanup_free char *key = xstrndup(sorted.items[i], strcspn(sorted.items[i], "="));
        const char *value = strlist_env_get(&labels, key);

        json_object_set_new(map, key, json_string(value ? value : ""));
    }
    return json_pack("{s:s, s:s, s:o, s:s, s:s, s:n, s:s}", "CreatedAt", created, "Driver", "local", "Labels",
                     map ? map : json_null(), "Mountpoint", mountpoint, "Name", v->name, "Options", "Scope", "local");
}

/* Of names that were cut only the server's volume is known, not what Docker called it: `-v name:` finds it all the
 * same. */
int volumes_recover(struct app *app, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT, ids = STRLIST_INIT;
    cleanup_free char *prefix = NULL;
    struct err why = ERR_INIT;

    if (!container_may_recover(app))
        return 0;
    if (app_modal(app, &why) < 0 || modal_volume_list(app->modal, &names, &ids, &why) < 0) {
        app_trace(app, "volumes: %s", why.msg);
        err_clear(&why);
        return 0;
    }
    prefix = xasprintf("atp-%.24s-", app_scope(app));
    for (size_t i = 0; i < names.len; i++) {
        const char *name = names.items[i] + strlen(prefix);

        if (strncmp(names.items[i], prefix, strlen(prefix)) != 0 || !name_valid(name) ||
            strlen(names.items[i]) == SERVER_NAME)
            continue;
        if (volume_add(app, name, NULL, NULL, /* anonymous= */ false, err) < 0 ||
            state_volume_id_put(app->state, app->server_key, name, ids.items[i], err) < 0)
            return -1;
    }
    return 0;
}

void volumes_remove_anonymous(struct app *app, const struct container_spec *spec)
{
    for (size_t i = 0; i < spec->mounts.len; i++) {
        const struct mount *m = &spec->mounts.items[i];
        cleanup_err struct err err = ERR_INIT;

        if (is_volume(m) && m->anonymous && volume_remove(app, m->source, /* force= */ true, &err) < 0)
            app_trace(app, "the volume %s stays: %s", m->source, err.msg);
    }
}
