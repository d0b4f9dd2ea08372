#include "shim/compose/attached.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "compat/docker/units.h"
#include "compat/sys/loop.h"
#include "compat/sys/parent.h"
#include "shim/app.h"
#include "shim/compose/streams.h"
#include "shim/compose/watching.h"
#include "shim/container.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TURN_MS     200
#define LOOK_MS     1000 /* containers that others make or start are looked for so often */
#define LATE_TURNS  10   /* for the last lines of what was stopped */
#define INTERRUPTED 130

/* Compose writes these also where there is no terminal. */
#define CLEAR_LINE "\r\033[K"
#define RED_BOLD   "\033[31m\033[1m"
#define RESET      "\033[0m"
#define WATCH_NAME "#watch" /* what compose's own lines about files are counted as */

static volatile sig_atomic_t interrupts; /* how often we were asked to end */

static void on_interrupt(int signo)
{
    (void)signo;
    interrupts++;
}

/* A container whose output is shown, or was. */
struct followed {
    struct member m; /* as it was when its output began */
    bool streaming;
};

struct attached {
    struct team *w;
    const struct opt_parsed *opts;
    struct streams *streams;
    struct followed **followed;
    size_t followed_len;
    int64_t looked_at;
    pid_t starter, stopper, watcher; /* processes that start, stop and follow files; 0: none */
    int start_fd;                    /* where the starter tells its error */
    int seen;                        /* interrupts that were acted on */
    bool start_failed, ending;
    int code;        /* the command's */
    bool code_final; /* it is told by one container and by no other */
};

/* ---- work beside the output ---- */

typedef int beside_fn(struct team *w, struct err *err);

/* A process that does it; Ctrl-C is for us, not for it. said: where its error goes, NULL: to stderr. */
static pid_t beside(struct attached *a, beside_fn *fn, int *ret_said)
{
    int fds[2] = {-1, -1};
    pid_t pid;

    if (ret_said && pipe(fds) < 0)
        return -1;
    jobs_rest(a->w->app);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        struct err err = ERR_INIT;
        int ret;

        signal(SIGINT, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
        ret = fn(a->w, &err);
        if (ret < 0 && err.msg)
            dprintf(ret_said ? fds[1] : STDERR_FILENO, "%s\n", err.msg);
        display_free(a->w->display);
        fflush(NULL);
        _exit(ret < 0 ? 1 : 0);
    }
    if (ret_said) {
        close(fds[1]);
        *ret_said = fds[0];
    }
    return pid;
}

static int start_them(struct team *w, struct err *err)
{
    return team_start(w, /* wait= */ false, 0, err);
}

/* The project's containers of the services that were chosen; under no lock, as compose does it. */
static struct member **chosen(struct team *w, size_t *ret_len, struct err *err)
{
    struct member **list;

    *ret_len = 0;
    if (team_look(w, NULL, 0, err) < 0)
        return NULL;
    list = xcalloc(w->members.len + 1, sizeof(*list));
    for (size_t i = 0; i < w->members.len; i++)
        if (services_find(&w->services, w->members.items[i].service))
            list[(*ret_len)++] = &w->members.items[i];
    return list;
}

static int stop_them(struct team *w, struct err *err)
{
    size_t len = 0;
    cleanup_free struct member **list = chosen(w, &len, err);

    w->display = display_open_plain(w->app, err);
    return list && w->display ? team_stop(w, list, len, false, false, err) : -1;
}

static int kill_them(struct team *w, struct err *err)
{
    size_t len = 0;
    cleanup_free struct member **list = chosen(w, &len, err);
    cleanup_with(acts_clear) struct acts acts = ACTS_INIT;

    w->display = display_open_plain(w->app, err);
    if (!list || !w->display)
        return -1;
    for (size_t i = 0; i < len; i++) {
        cleanup_free char *title = member_title(list[i]);

        if (member_runs(list[i]))
            acts_call(&acts, acts_add(&acts, title), "Killing", "Killed", "kill", list[i]->row.id, NULL)->flags =
                STEP_FORGIVE;
    }
    return team_run(w, &acts, err);
}

/* ---- whose output is shown ---- */

static bool is_shown(const struct attached *a, const struct member *m)
{
    const struct strlist *only = opt_list(a->opts, "attach"), *not = opt_list(a->opts, "no-attach");
    const struct service *s = services_find(&a->w->services, m->service);

    if (!s || m->oneoff || strlist_has(not, m->service))
        return false;
    if (only->len)
        return strlist_has(only, m->service);
    if (cnode_get(s->node, "attach") && !cnode_true(s->node, "attach"))
        return false;
    return s->asked || opt_bool(a->opts, "attach-dependencies");
}

static int check_attach(const struct attached *a, struct err *err)
{
    const struct strlist *only = opt_list(a->opts, "attach");
    const char *from = opt_str(a->opts, "exit-code-from");

    for (size_t i = 0; i < only->len; i++)
        if (!services_find(&a->w->services, only->items[i]))
            return err_set(err, 1, "cannot attach to services not included in up: %s", only->items[i]);
    if (*from && !services_find(&a->w->services, from))
        return err_set(err, 1, "no such service: %s: not found", from);
    return 0;
}

static struct followed *find_followed(const struct attached *a, const char *id)
{
    for (size_t i = 0; i < a->followed_len; i++)
        if (!strcmp(a->followed[i]->m.row.id, id))
            return a->followed[i];
    return NULL;
}

/* The member is taken out of its list. */
static struct followed *add_followed(struct attached *a, struct member *m)
{
    struct followed *f = xcalloc(1, sizeof(*f));

    a->followed = xreallocarray(a->followed, a->followed_len + 1, sizeof(struct followed *));
    a->followed[a->followed_len++] = f;
    f->m = *m;
    *m = (struct member){0};
    return f;
}

/* again: what it said in an earlier life was shown. */
static void begin_stream(struct attached *a, struct followed *f, bool again)
{
    cleanup_strlist struct strlist options = STRLIST_INIT;
    cleanup_free char *name = member_short_name(a->w->app, &f->m);
    cleanup_free char *since = units_stamp(f->m.row.started_ns);

    strlist_add(&options, "-f");
    if (again)
        strlist_addf(&options, "--since=%s", since);
    f->streaming = true;
    streams_add(a->streams, &(struct stream_request){.name = name,
                                                     .id = f->m.row.id,
                                                     .options = &options,
                                                     .stamps = opt_bool(a->opts, "timestamps"),
                                                     .after_ns = member_is(&f->m, "running") ? -1 : f->m.row.started_ns,
                                                     .token = f});
}

static int follow_them(struct attached *a, struct err *err)
{
    cleanup_with(members_clear) struct members list = MEMBERS_INIT;
    bool first = true;

    if (members_list(a->w->app, a->w->name, NULL, 0, &list, err) < 0)
        return -1;
    members_sort(&list);
    for (size_t i = 0; i < list.len; i++) {
        cleanup_free char *name = member_short_name(a->w->app, &list.items[i]);

        if (!is_shown(a, &list.items[i]))
            continue;
        printf("%s%s", first ? "Attaching to " : ", ", name);
        first = false;
        begin_stream(a, add_followed(a, &list.items[i]), /* again= */ false);
    }
    if (!first)
        putchar('\n');
    fflush(stdout);
    return 0;
}

/* One that was made meanwhile, in another's place or beside it. True: it is on its way. */
static bool take_new(struct attached *a, struct member *m)
{
    const char *of = member_label(m, LABEL_REPLACE);
    cleanup_free char *name = member_short_name(a->w->app, m);

    if (of && strcmp(of, name) != 0)
        return true; /* it has not got its name yet */
    if (of) {
        printf(CLEAR_LINE "%s has been recreated\n", of);
        fflush(stdout);
    }
    begin_stream(a, add_followed(a, m), /* again= */ false);
    return true;
}

/* Containers that were made, or started again, by somebody else, or by who watches the files. True: some are on their
 * way. */
static bool look_again(struct attached *a)
{
    cleanup_with(members_clear) struct members list = MEMBERS_INIT;
    bool some = false;

    a->looked_at = loop_now();
    if (a->ending || members_list(a->w->app, a->w->name, NULL, MEMBERS_AS_IT_IS, &list, NULL) < 0)
        return false;
    for (size_t i = 0; i < list.len; i++) {
        struct member *m = &list.items[i];
        struct followed *f = find_followed(a, m->row.id);

        if (!is_shown(a, m))
            continue;
        if (!f) {
            some |= take_new(a, m);
        } else if (!f->streaming && member_is(m, "running") && m->row.started_ns > f->m.row.started_ns) {
            member_clear(&f->m);
            f->m = *m;
            *m = (struct member){0};
            begin_stream(a, f, /* again= */ true);
            some = true;
        }
    }
    jobs_rest(a->w->app);
    return some;
}

/* ---- --watch ---- */

/* A process of its own, which ends with this one; what it says stands between the lines of containers. */
static pid_t begin_watch(struct attached *a)
{
    size_t width = streams_width(a->streams, strlen(WATCH_NAME)) + 1;
    bool colours = !opt_bool(a->opts, "no-color") && display_colours(a->w->app);
    const pid_t self = getpid();
    pid_t pid;

    jobs_rest(a->w->app);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        cleanup_free char *prefix =
            xasprintf("%s%*s ⦿ %s", colours ? "\033[92m" : "", (int)width, "", colours ? RESET : "");
        const struct watching_how how = {.prefix = opt_bool(a->opts, "no-log-prefix") ? "" : prefix};
        struct err err = ERR_INIT;
        int ret;

        parent_tie(self);
        setpgid(0, 0); /* Ctrl-C is for who started it */
        ret = watching_run(a->w, &how, &err);
        if (ret < 0 && err.msg)
            fprintf(stderr, "%s\n", err.msg);
        fflush(NULL);
        _exit(ret < 0 ? 1 : 0);
    }
    return pid;
}

static void end_watch(struct attached *a)
{
    if (a->watcher <= 0)
        return;
    kill(a->watcher, SIGKILL); /* what it has begun is seen through by processes of their own */
    while (waitpid(a->watcher, NULL, 0) < 0 && errno == EINTR)
        ;
    a->watcher = 0;
}

/* ---- the end ---- */

static void stop_all(struct attached *a)
{
    a->ending = true;
    end_watch(a);
    if (!a->stopper)
        a->stopper = beside(a, stop_them, NULL);
}

/* Whether it has been started since we began. */
static bool has_run(struct app *app, const struct member *m)
{
    struct container c;
    bool ret;

    container_init(&c, app);
    ret = container_find(&c, m->row.id, NULL) < 0 || member_is(m, "running") || c.row.started_ns != m->row.started_ns;
    container_clear(&c);
    jobs_rest(app);
    return ret;
}

/* A container's output has ended: so has it, or somebody took it away. */
static void container_ended(struct attached *a, const struct member *m)
{
    const char *from = opt_str(a->opts, "exit-code-from");
    bool on_fail = opt_bool(a->opts, "abort-on-container-failure");
    bool on_exit = opt_bool(a->opts, "abort-on-container-exit") || (*from && !on_fail);
    cleanup_free char *name = member_short_name(a->w->app, m);
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_free char *text = NULL;
    const char *no_color;
    int code = 0;

    strlist_add(&words, m->row.id); /* its output has ended, the rest of it is about to */
    if (jobs_command(a->w->app, "wait", &words, &text, NULL) == 0)
        code = (int)strtol(text, NULL, 10);
    jobs_rest(a->w->app);
    if (!has_run(a->w->app, m))
        return; /* it could not be started: the starter says why */
    printf(CLEAR_LINE "%s exited with code %d\n", name, code);
    fflush(stdout);
    if (*from && !a->code_final && !strcmp(from, m->service)) {
        a->code = code;
        a->code_final = true;
    }
    if (a->ending || !(on_exit || (on_fail && code)))
        return;
    if (!*from)
        a->code = code;
    no_color = getenv("NO_COLOR");
    fprintf(stderr, no_color && *no_color ? "%s\n" : RED_BOLD "%s" RESET "\n", "Aborting on container exit...");
    stop_all(a);
}

/* Ctrl-C: once to stop, twice to kill. */
static void look_at_interrupts(struct attached *a)
{
    if (a->seen == interrupts)
        return;
    if (!a->seen++) {
        puts("Gracefully Stopping... press Ctrl+C again to force");
        fflush(stdout);
        stop_all(a);
        return;
    }
    a->seen = interrupts;
    if (a->stopper > 0)
        kill(a->stopper, SIGKILL);
    a->stopper = beside(a, kill_them, NULL);
}

static bool has_ended(pid_t *pid, int *ret_status)
{
    if (*pid > 0 && waitpid(*pid, ret_status, WNOHANG) != *pid)
        return false;
    *pid = 0;
    return true;
}

/* The start failed: what was started stays, as compose leaves it. Its error; owned by caller. */
static char *starter_error(struct attached *a)
{
    char text[8192];
    ssize_t n = read(a->start_fd, text, sizeof(text) - 1);

    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return xstrdup(*text ? text : "the start was ended");
}

static int stay(struct attached *a, struct err *err)
{
    bool started = false;
    int late = 0;

    while (streams_busy(a->streams) || !started || look_again(a)) {
        void *token = NULL;
        int status = 0;

        if (streams_turn(a->streams, TURN_MS, &token)) {
            struct followed *f = token;

            f->streaming = false;
            container_ended(a, &f->m);
        }
        look_at_interrupts(a);
        if (!started && a->starter && has_ended(&a->starter, &status)) {
            started = true;
            if (status && !a->ending) {
                cleanup_free char *why = starter_error(a);

                return err_set(err, 1, "%s", why);
            }
            if (opt_bool(a->opts, "watch") && !a->ending)
                a->watcher = begin_watch(a);
        }
        if (started && loop_now() - a->looked_at >= LOOK_MS)
            look_again(a);
        if (a->ending && has_ended(&a->stopper, &status) && late++ == LATE_TURNS)
            break; /* one that never started has no output to wait for */
    }
    while (a->stopper > 0 && waitpid(a->stopper, NULL, 0) < 0 && errno == EINTR)
        look_at_interrupts(a);
    if (!a->seen && a->code)
        fputc('\n', stderr); /* the error without words that compose prints */
    return a->seen ? INTERRUPTED : a->code;
}

int attached_run(struct team *w, const struct opt_parsed *opts, struct err *err)
{
    struct attached a = {.w = w, .opts = opts, .start_fd = -1};
    const struct sigaction act = {.sa_handler = on_interrupt};
    int ret;

    if (check_attach(&a, err) < 0)
        return -1;
    if (opt_bool(opts, "watch") && !watching_wanted(w))
        return err_set(err, 1,
                       "none of the selected services is configured for watch, see "
                       "https://docs.docker.com/compose/how-tos/file-watch/");
    display_free(w->display);
    w->display = NULL;
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    a.streams =
        streams_new(w->app, !opt_bool(opts, "no-log-prefix"), !opt_bool(opts, "no-color") && display_colours(w->app));
    if (opt_bool(opts, "watch"))
        streams_width(a.streams, strlen(WATCH_NAME));
    ret = follow_them(&a, err);
    if (ret == 0) {
        a.starter = beside(&a, start_them, &a.start_fd);
        ret = stay(&a, err);
    }
    end_watch(&a);
    streams_free(a.streams);
    for (size_t i = 0; i < a.followed_len; i++) {
        member_clear(&a.followed[i]->m);
        free(a.followed[i]);
    }
    free(a.followed);
    if (a.start_fd >= 0)
        close(a.start_fd);
    return ret;
}
