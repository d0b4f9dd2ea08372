#include "shim/compose/watch_build.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/compose/build.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_MAX_BYTES (1u << 20)
#define ERROR_MAX      4096

void watch_say(const char *prefix, const char *text)
{
    cleanup_strlist struct strlist lines = STRLIST_INIT;

    strlist_split(&lines, text, '\n');
    for (size_t i = 0; i < lines.len; i++)
        printf("%s%s\n", prefix, lines.items[i]);
    fflush(stdout);
}

static int wait_for(pid_t pid)
{
    int status = 0;

    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int watch_call(struct app *app, const char *path, const struct strlist *words)
{
    pid_t pid;

    jobs_rest(app);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        struct err err = ERR_INIT;
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC), code;

        dup2(null, STDIN_FILENO);
        signal(SIGINT, SIG_IGN); /* who watches is asked to end, not what it has begun */
        code = command_call(app, path, words, &err);
        if (code < 0 && err.msg)
            fprintf(stderr, "%s\n", err.msg);
        app_clear(app);
        fflush(NULL);
        _exit(code < 0 ? 1 : code);
    }
    return wait_for(pid);
}

/* ---- the build ---- */

/* In a process of its own, whose words become lines of ours; why it failed is written to `said`. */
static pid_t begin_build(struct team *w, const struct strlist *names, int out, int said)
{
    pid_t pid;

    jobs_rest(w->app);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        struct err err = ERR_INIT;
        int ret;

        signal(SIGINT, SIG_IGN);
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
        ret = build_services(w, names, &(struct build_how){0}, &err);
        if (ret < 0 && err.msg)
            dprintf(said, "%s", err.msg);
        fflush(NULL);
        _exit(ret < 0 ? 1 : 0);
    }
    return pid;
}

static void show_lines(int fd, const struct watching_how *how)
{
    cleanup_buf struct buf line = BUF_INIT(LINE_MAX_BYTES);
    char bytes[4096];
    ssize_t n;

    while ((n = read(fd, bytes, sizeof(bytes))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] != '\n' && line.len < LINE_MAX_BYTES - 1) {
                buf_addc(&line, bytes[i]);
                continue;
            }
            if (!how->quiet)
                watch_say(how->prefix, line.data ? line.data : "");
            buf_reset(&line);
        }
    }
    if (line.len && !how->quiet)
        watch_say(how->prefix, line.data);
}

static int build(struct team *w, const struct strlist *names, const struct watching_how *how, struct err *err)
{
    cleanup_close int said = memfd_create("why", MFD_CLOEXEC);
    char text[ERROR_MAX] = "";
    int fds[2] = {-1, -1};
    ssize_t len;
    pid_t pid;

    if (w->app->dry_run)
        return 0;
    if (said < 0 || pipe2(fds, O_CLOEXEC) < 0)
        return err_set_errno(err, 1, errno, "building");
    pid = begin_build(w, names, fds[1], said);
    close(fds[1]);
    show_lines(fds[0], how);
    close(fds[0]);
    if (wait_for(pid) == 0)
        return 0;
    len = pread(said, text, sizeof(text) - 1, 0);
    text[len > 0 ? len : 0] = '\0';
    return err_set(err, 1, "%s", *text ? text : "the build was ended");
}

/* ---- the containers ---- */

static bool follows(const struct service *s, const struct strlist *names)
{
    for (size_t i = 0; i < s->depends_len; i++)
        if (s->depends[i].restart && strlist_has(names, s->depends[i].name))
            return true;
    return false;
}

/* Only these, and who wants to be restarted with them; the others are left as they are, stopped ones too. */
static void choose(struct team *w, const struct strlist *names)
{
    for (size_t i = 0; i < w->services.len; i++) {
        struct service *s = &w->services.items[i];

        s->asked = strlist_has(names, s->name);
        s->oneoff = !s->asked && !follows(s, names);
    }
    w->recreate = RECREATE_FORCE;
    w->recreate_depends = RECREATE_DIVERGED;
}

static int recreate(struct team *w, const struct strlist *names, struct err *err)
{
    int ret;

    choose(w, names);
    if (team_images_look(w, err) < 0 || team_lock(w, err) < 0)
        return -1;
    ret = team_look(w, NULL, MEMBERS_ONEOFF, err);
    if (ret == 0)
        ret = team_create(w, err);
    team_unlock(w, /* gone= */ false);
    return ret;
}

/* Images without a name that these services were made from before. Those that are in use stay. */
static void prune(struct team *w, const struct strlist *old)
{
    cleanup_strlist struct strlist words = STRLIST_INIT, nameless = STRLIST_INIT;
    cleanup_free char *text = NULL;

    strlist_add(&words, "-q");
    strlist_add(&words, "--no-trunc");
    strlist_add(&words, "--filter=dangling=true");
    if (!old->len || jobs_command_quiet(w->app, "images", &words, &text, NULL) < 0)
        return;
    strlist_split(&nameless, text, '\n');
    for (size_t i = 0; i < old->len; i++) {
        cleanup_strlist struct strlist one = STRLIST_INIT;
        cleanup_free char *said = NULL;

        strlist_add(&one, old->items[i]);
        if (strlist_has(&nameless, old->items[i]))
            jobs_command_quiet(w->app, "rmi", &one, &said, NULL);
    }
}

int watch_rebuild(struct team *w, const struct strlist *names, const char *shown, const struct watching_how *how,
                  struct err *err)
{
    cleanup_strlist struct strlist old = STRLIST_INIT;
    cleanup_free char *begin = xasprintf("Rebuilding service(s) %s after changes were detected...", shown);
    cleanup_free char *built = xasprintf("service(s) %s successfully built", shown), *failed = NULL;
    const char *what = "Build failed";
    int ret;

    watch_say(how->prefix, begin);
    for (size_t i = 0; i < w->services.len; i++)
        if (strlist_has(names, w->services.items[i].name) && w->services.items[i].image_id)
            strlist_add(&old, w->services.items[i].image_id);
    ret = build(w, names, how, err);
    if (ret == 0) {
        watch_say(how->prefix, built);
        what = "Failed to recreate services after update";
        ret = recreate(w, names, err);
    }
    if (ret == 0) {
        what = "Application failed to start after update";
        ret = team_start(w, /* wait= */ false, 0, err);
    }
    if (ret == 0 && how->prune)
        prune(w, &old);
    if (ret < 0) {
        failed = xasprintf("%s. Error: %s", what, err->msg);
        watch_say(how->prefix, failed);
    }
    return ret;
}
