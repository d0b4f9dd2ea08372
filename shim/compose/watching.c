#include "shim/compose/watching.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/docker/quote.h"
#include "compat/sys/fs.h"
#include "compat/sys/loop.h"
#include "compat/sys/watch.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/compose/watch_build.h"
#include "shim/compose/watch_sync.h"
#include "translate/compose/watch.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define QUIET_MS  500         /* so long nothing may happen before it is looked at */
#define LATE_MS   5000        /* or so long something may go on happening */
#define EVENTS    (64u << 10) /* paths that are kept before the same ones are made one */
#define DEPTH_MAX 256

static volatile sig_atomic_t signalled;

static void on_signal(int signo)
{
    signalled = signo;
}

struct watching {
    struct team *w;
    const struct watching_how *how;
    struct watch_rules rules;
};

/* What is to be done for one service. */
struct todo {
    const char *service;
    struct strlist from, to; /* pairs */
    bool restart, rebuild;
    bool *exec; /* by rule */
};

bool watching_wanted(const struct team *w)
{
    for (size_t i = 0; i < w->services.len; i++)
        if (cnode_is(cnode_path(w->services.items[i].node, "develop.watch"), CNODE_LIST))
            return true;
    return false;
}

static void say(const struct watching *g, const char *text)
{
    watch_say(g->how->prefix, text);
}

/* `["a" "b"]` */
static char *quoted(const struct strlist *names)
{
    cleanup_buf struct buf out = BUF_INIT(1u << 20);

    buf_addc(&out, '[');
    for (size_t i = 0; i < names->len; i++) {
        cleanup_free char *name = quote_go_str(names->items[i]);

        buf_addf(&out, "%s%s", i ? " " : "", name);
    }
    buf_addc(&out, ']');
    return buf_detach(&out);
}

/* ---- the rules ---- */

static char *read_ignore(void *arg, const char *path, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_CONFIG_FILE);
    struct stat st;

    (void)arg;
    if (stat(path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR))
        return NULL;
    if (fs_read_file(path, &text, err) < 0) {
        err_wrap(err, "error reading .dockerignore");
        return NULL;
    }
    return buf_detach(&text);
}

static int read_rules(struct watching *g, struct strlist *ret_paths, struct err *err)
{
    for (size_t i = 0; i < g->w->services.len; i++) {
        const struct service *s = &g->w->services.items[i];

        if (watch_rules_read(s->name, s->node, read_ignore, NULL, &g->rules, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < g->rules.len; i++) {
        const struct watch_rule *r = &g->rules.items[i];

        if (r->action == WATCH_REBUILD && g->how->no_build)
            return err_set(err, 1, "--no-build is incompatible with watch action rebuild in service %s", r->service);
        if (watch_rule_syncs(r) && r->bound) {
            cleanup_free char *line =
                xasprintf("path '%s' also declared by a bind mount volume, this path won't be monitored!\n", r->path);

            compose_warn(line);
        } else if (!strlist_has(ret_paths, r->path)) {
            strlist_add(ret_paths, r->path);
        }
    }
    if (!ret_paths->len)
        return err_set(err, 1,
                       "none of the selected services is configured for watch, consider setting a 'develop' section");
    return 0;
}

/* ---- what was there before: initial_sync ---- */

/* Files that are newer than the service's image. */
static void collect(const struct watch_rule *r, const char *path, int64_t since, unsigned depth, struct strlist *from,
                    struct strlist *to)
{
    cleanup_dir DIR *dir = NULL;
    struct dirent *entry;
    struct stat st;

    if (lstat(path, &st) < 0)
        return;
    if (!S_ISDIR(st.st_mode)) {
        cleanup_free char *target = NULL;

        if (st.st_mtime >= since && watch_rule_takes(r, path, &target) && target) {
            strlist_add(from, path);
            strlist_add(to, target);
        }
        return;
    }
    dir = depth < DEPTH_MAX ? opendir(path) : NULL;
    while (dir && (entry = readdir(dir))) {
        cleanup_free char *below = NULL;

        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        below = xasprintf("%s/%s", path, entry->d_name);
        collect(r, below, since, depth + 1, from, to);
    }
}

/* When the image of the service's containers was made. */
static int image_created(struct team *w, const char *service, int64_t *ret, struct err *err)
{
    cleanup_strlist struct strlist one = STRLIST_INIT;
    struct state_image image = {0};

    strlist_add(&one, service);
    if (team_look(w, &one, MEMBERS_AS_IT_IS, err) < 0)
        return -1;
    if (!w->members.len)
        return err_set(err, 1, "could not get created time for service's image");
    if (app_state(w->app, err) < 0 ||
        catalog_find_word(
            w->app, w->members.items[0].row.image_id ? w->members.items[0].row.image_id : w->members.items[0].row.image,
            &image, err) < 0)
        return -1;
    *ret = image.created;
    state_image_clear(&image);
    return 0;
}

static int sync_first(struct watching *g, struct err *err)
{
    for (size_t i = 0; i < g->rules.len; i++) {
        const struct watch_rule *r = &g->rules.items[i];
        cleanup_strlist struct strlist from = STRLIST_INIT, to = STRLIST_INIT;
        int64_t since = 0;

        if (!r->initial_sync || r->bound || !r->target || !watch_rule_syncs(r))
            continue;
        if (image_created(g->w, r->service, &since, err) < 0)
            return -1;
        collect(r, r->path, since, 0, &from, &to);
        if (from.len && watch_sync(g->w, r->service, &from, &to, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- a batch of changes ---- */

static struct todo *todo_of(const struct watching *g, struct todo *list, size_t *len, const char *service)
{
    for (size_t i = 0; i < *len; i++)
        if (!strcmp(list[i].service, service))
            return &list[i];
    list[*len] = (struct todo){.service = service, .exec = xcalloc(g->rules.len, sizeof(bool))};
    return &list[(*len)++];
}

static void note(const struct watching *g, size_t rule, const char *path, struct todo *list, size_t *len)
{
    const struct watch_rule *r = &g->rules.items[rule];
    cleanup_free char *target = NULL;
    struct todo *t;

    if ((watch_rule_syncs(r) && r->bound) || !watch_rule_takes(r, path, &target))
        return;
    t = todo_of(g, list, len, r->service);
    t->rebuild |= r->action == WATCH_REBUILD;
    t->restart |= r->action == WATCH_RESTART || r->action == WATCH_SYNC_RESTART;
    t->exec[rule] |= r->action == WATCH_SYNC_EXEC;
    if (watch_rule_syncs(r) && target) {
        strlist_add(&t->from, path);
        strlist_add(&t->to, target);
    }
}

/* The command of a rule, in each container that runs; what it prints is printed. */
static int run_exec(struct watching *g, const struct watch_rule *r, struct err *err)
{
    cleanup_strlist struct strlist one = STRLIST_INIT;
    int failed = 0;

    strlist_add(&one, r->service);
    if (team_look(g->w, &one, MEMBERS_RUNNING, err) < 0)
        return -1;
    for (size_t i = 0; i < g->w->members.len && !g->w->app->dry_run; i++) {
        cleanup_strlist struct strlist words = STRLIST_INIT;
        int code;

        team_hook_words(r->exec, g->w->members.items[i].row.id, &words);
        code = watch_call(g->w->app, "exec", &words);
        failed = failed ? failed : code;
    }
    return failed ? err_set(err, 1, "exit status %d", failed) : 0;
}

static int sync_all(struct watching *g, const struct todo *list, size_t len, struct err *err)
{
    for (size_t i = 0; i < len; i++) {
        cleanup_free char *line = NULL;

        if (!list[i].from.len)
            continue;
        line = xasprintf("Syncing service \"%s\" after %zu changes were detected", list[i].service, list[i].from.len);
        say(g, line);
        if (watch_sync(g->w, list[i].service, &list[i].from, &list[i].to, err) < 0)
            return -1;
    }
    return 0;
}

static int restart_all(struct watching *g, const struct todo *list, size_t len, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;
    cleanup_free char *all = NULL, *line = NULL;

    for (size_t i = 0; i < len; i++)
        if (list[i].restart)
            strlist_add(&names, list[i].service);
    if (!names.len)
        return 0;
    if (team_restart(g->w, &names, /* deps= */ true, err) < 0)
        return -1;
    all = quoted(&names);
    line = xasprintf("service(s) %s restarted", all);
    say(g, line);
    return 0;
}

static int rebuild_all(struct watching *g, const struct todo *list, size_t len, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;
    cleanup_free char *all = NULL;

    for (size_t i = 0; i < len; i++)
        if (list[i].rebuild)
            strlist_add(&names, list[i].service);
    if (!names.len)
        return 0;
    all = quoted(&names);
    return watch_rebuild(g->w, &names, all, g->how, err);
}

static int carry_out(struct watching *g, const struct todo *list, size_t len, struct err *err)
{
    if (rebuild_all(g, list, len, err) < 0 || sync_all(g, list, len, err) < 0 || restart_all(g, list, len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++)
        for (size_t r = 0; r < g->rules.len; r++)
            if (list[i].exec[r] && run_exec(g, &g->rules.items[r], err) < 0)
                return -1;
    return 0;
}

/* The same path once, in order. */
static void make_unique(struct strlist *list)
{
    cleanup_strlist struct strlist once = STRLIST_INIT;

    strlist_sort(list);
    for (size_t i = 0; i < list->len; i++)
        if (!i || strcmp(list->items[i], list->items[i - 1]) != 0)
            strlist_add(&once, list->items[i]);
    strlist_clear(list);
    *list = once;
    once = (struct strlist)STRLIST_INIT;
}

static void handle(struct watching *g, struct strlist *paths)
{
    cleanup_free struct todo *list = xcalloc(g->w->services.len + 1, sizeof(*list));
    cleanup_err struct err err = ERR_INIT;
    size_t len = 0;

    make_unique(paths);
    for (size_t i = 0; i < paths->len; i++)
        for (size_t r = 0; r < g->rules.len; r++)
            note(g, r, paths->items[i], list, &len);
    if (carry_out(g, list, len, &err) < 0) {
        cleanup_free char *line = xasprintf("Error handling changed files: %s", err.msg);

        compose_warn(line);
    }
    for (size_t i = 0; i < len; i++) {
        strlist_clear(&list[i].from);
        strlist_clear(&list[i].to);
        free(list[i].exec);
    }
    strlist_clear(paths);
    jobs_rest(g->w->app); /* nothing is held while nothing is done */
}

/* ---- the loop ---- */

static int follow(struct watching *g, struct watch *watch, struct err *err)
{
    cleanup_strlist struct strlist paths = STRLIST_INIT;
    int64_t first = 0;

    while (!signalled) {
        struct pollfd fd = {.fd = watch_fd(watch), .events = POLLIN};
        bool late = paths.len && loop_now() - first >= LATE_MS;
        int ready = late ? 0 : poll(&fd, 1, paths.len ? QUIET_MS : -1), got;

        if (ready < 0 && errno != EINTR)
            return err_set_errno(err, 1, errno, "watching files");
        if (ready == 0)
            handle(g, &paths);
        if (ready <= 0)
            continue;
        if (!paths.len)
            first = loop_now();
        got = watch_read(watch, &paths, err);
        if (got < 0)
            return -1;
        if (got > 0)
            compose_warn("more files changed at once than could be told: all that are there are taken to have changed");
        if (paths.len > EVENTS)
            make_unique(&paths);
    }
    return signalled;
}

int watching_run(struct team *w, const struct watching_how *how, struct err *err)
{
    const struct sigaction act = {.sa_handler = on_signal};
    struct watching g = {.w = w, .how = how};
    cleanup_strlist struct strlist paths = STRLIST_INIT;
    struct watch *watch = NULL;
    int ret = -1;

    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    if (read_rules(&g, &paths, err) == 0 && sync_first(&g, err) == 0 && (watch = watch_new(&paths, err))) {
        jobs_rest(w->app);
        say(&g, "Watch enabled");
        ret = follow(&g, watch, err);
    }
    watch_free(watch);
    watch_rules_clear(&g.rules);
    return ret;
}
