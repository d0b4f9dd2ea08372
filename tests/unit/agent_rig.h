/*
 * What the agent's tests share: a real `atp-agent init` with a run directory of its own, and real `atp-agent session`
 * children driven through backends/session over pipes, as an exec would carry them. Everything is `static inline`, so
 * that each test program takes what it needs.
 */
#ifndef ATP_TEST_AGENT_RIG_H
#define ATP_TEST_AGENT_RIG_H

#include "backends/session/session.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define RIG_DEADLINE 30000 /* ms; the machine may be busy */
#define RIG_PATH     "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* The agent beside this test: the real one, or with the sanitizers the one they were built into. */
static inline const char *rig_agent(void)
{
    static char path[4096];
    const char *given = getenv("ATP_AGENT");
    ssize_t n;

    if (given)
        return given;
    if (path[0])
        return path;
    n = readlink("/proc/self/exe", path, sizeof(path) - 64);
    assert_true(n > 0);
    path[n] = '\0';
    *strrchr(path, '/') = '\0';
#ifdef __SANITIZE_ADDRESS__
    strncat(path, "/atp-agent-native", 40);
#else
    *strrchr(path, '/') = '\0';
    strncat(path, "/bin/atp-agent", 40);
#endif
    return path;
}

struct rig {
    char dir[64];
    char run_dir[80];
    pid_t init;
    struct strlist options; /* given to init and to every session */
    struct strlist exec;    /* in a container: the words before the agent's path inside it; empty otherwise */
};

#define RIG_INSIDE "/.atp/test/agent" /* the agent's path in a container */

static inline pid_t rig_spawn(const struct rig *rig, const char *verb, int in, int out)
{
    struct strlist argv = STRLIST_INIT;
    pid_t pid;

    strlist_copy(&argv, &rig->exec);
    strlist_add(&argv, rig->exec.len ? RIG_INSIDE : rig_agent());
    strlist_add(&argv, verb);
    strlist_add(&argv, "--run-dir");
    strlist_add(&argv, rig->run_dir);
    strlist_copy(&argv, &rig->options);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGPIPE, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves no init, which would hold its output open */
        if (in >= 0)
            dup2(in, 0);
        if (out >= 0)
            dup2(out, 1);
        execvp(argv.items[0], strlist_argv(&argv));
        _exit(99);
    }
    strlist_clear(&argv);
    return pid;
}

/* options: "--name", "value", ..., NULL */
static inline void rig_start(struct rig *rig, ...)
{
    va_list ap;
    const char *word;

    *rig = (struct rig){.options = STRLIST_INIT};
    snprintf(rig->dir, sizeof(rig->dir), "/tmp/atp-agent-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    snprintf(rig->run_dir, sizeof(rig->run_dir), "%s/run", rig->dir);
    va_start(ap, rig);
    while ((word = va_arg(ap, const char *)))
        strlist_add(&rig->options, word);
    va_end(ap);
    rig->init = rig_spawn(rig, "init", -1, -1);
}

/* Waits for a child; 128 + n for a signal. -1 at the deadline. */
static inline int rig_wait(pid_t pid, int64_t ms)
{
    int64_t until = loop_now() + ms;
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (loop_now() > until)
            return -1;
        usleep(2000);
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static inline void rig_remove(const char *dir)
{
    pid_t pid = fork();

    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--", dir, (char *)NULL);
        _exit(99);
    }
    rig_wait(pid, RIG_DEADLINE);
}

static inline void rig_stop(struct rig *rig)
{
    if (rig->init > 0) {
        kill(rig->init, SIGTERM);
        if (rig_wait(rig->init, RIG_DEADLINE) < 0)
            fail_msg("init does not end");
    }
    rig_remove(rig->dir);
    strlist_clear(&rig->options);
    strlist_clear(&rig->exec);
}

/* One command, from the user's side. */
struct run {
    struct rig *rig;
    struct loop *loop;
    struct session *session;
    pid_t agent;
    int to, from;
    struct loop_io *to_io, *from_io;
    struct buf queue;  /* for the agent */
    struct buf got[3]; /* [1] and [2]: what the process wrote */
    struct buf notes;
    size_t wire_in;                /* bytes that came from the agent */
    size_t wire_out, wire_out_max; /* bytes that went to it; with a maximum, no more than that ever does */
    /* the user's behaviour */
    size_t take_at_once; /* per call of output; 0 = everything */
    bool take_nothing, keep_nothing;
    const char *input;
    size_t input_len, input_sent;
    bool hold_input; /* no end of file after the input */
    bool mute;       /* nothing reaches the agent any more, and we keep silent: a client that vanished */
    /* what happened */
    bool started, done;
    struct session_result result;
    char *error;
    unsigned agreed;
    struct manifest last_agreed;
    uint8_t nonce[SYNC_NONCE_LEN];
    uint64_t generation;
    /* words */
    struct strlist argv, env;
    struct session_start start;
    const struct wire_ask *ask;                /* instead of start */
    const struct session_callbacks *callbacks; /* instead of run_callbacks */
    void (*writable)(struct run *r);
};

static inline void run_on_writable(struct loop *loop, int fd, short revents, void *arg)
{
    struct run *r = arg;
    size_t len = r->queue.len < 65536 ? r->queue.len : 65536;
    ssize_t n;

    (void)loop;
    (void)revents;
    if (r->wire_out_max && len > r->wire_out_max - r->wire_out)
        len = r->wire_out_max - r->wire_out;
    if (r->wire_out_max && len == 0) {
        loop_io_set(r->to_io, 0);
        return;
    }
    n = write(fd, r->queue.data, len);
    if (n > 0) {
        buf_consume(&r->queue, (size_t)n);
        r->wire_out += (size_t)n;
    } else if (errno != EAGAIN)
        buf_reset(&r->queue);
    loop_io_set(r->to_io, r->queue.len ? POLLOUT : 0);
    session_writable(r->session);
    if (r->writable)
        r->writable(r);
}

static inline void run_out(void *arg, const void *bytes, size_t len)
{
    struct run *r = arg;

    if (r->mute)
        return;
    assert_int_equal(buf_add(&r->queue, bytes, len), 0);
    loop_io_set(r->to_io, POLLOUT);
}

static inline size_t run_out_pending(void *arg)
{
    return ((struct run *)arg)->queue.len;
}

static inline size_t run_output(void *arg, int stream, const void *bytes, size_t len)
{
    struct run *r = arg;

    if (r->take_nothing)
        return 0;
    if (r->take_at_once && len > r->take_at_once)
        len = r->take_at_once;
    if (!r->keep_nothing)
        assert_int_equal(buf_add(&r->got[stream], bytes, len), 0);
    return len;
}

static inline void run_log(void *arg, int64_t time_ns, int stream, const void *bytes, size_t len)
{
    struct run *r = arg;

    (void)time_ns;
    assert_int_equal(buf_add(&r->got[stream], bytes, len), 0);
    session_log_taken(r->session, len);
}

static inline void run_stdin_ready(void *arg)
{
    struct run *r = arg;
    size_t left = r->input_len - r->input_sent;

    r->input_sent += session_stdin(r->session, r->input + r->input_sent, left);
    if (r->input_sent == r->input_len && !r->hold_input)
        session_stdin_eof(r->session);
}

static inline void run_started(void *arg)
{
    ((struct run *)arg)->started = true;
}

static inline void run_note(void *arg, const char *line)
{
    struct run *r = arg;

    buf_addf(&r->notes, "%s\n", line);
}

static inline void run_agreed(void *arg, size_t index, const uint8_t nonce[SYNC_NONCE_LEN], uint64_t generation,
                              const struct manifest *manifest)
{
    struct run *r = arg;
    struct buf code = BUF_INIT(1 << 26);

    (void)index;
    r->agreed++;
    r->generation = generation;
    memcpy(r->nonce, nonce, SYNC_NONCE_LEN);
    manifest_encode(manifest, &code);
    assert_int_equal(manifest_decode(code.data, code.len, &r->last_agreed, NULL), 0);
    buf_clear(&code);
}

static inline void run_done(void *arg, const struct session_result *result)
{
    struct run *r = arg;

    assert_false(r->done);
    r->done = true;
    r->result = *result;
    r->error = xstrdup(result->err.msg);
}

static const struct session_callbacks run_callbacks = {
    .out = run_out,
    .out_pending = run_out_pending,
    .output = run_output,
    .log = run_log,
    .stdin_ready = run_stdin_ready,
    .started = run_started,
    .note = run_note,
    .agreed = run_agreed,
    .done = run_done,
};

static inline void run_on_readable(struct loop *loop, int fd, short revents, void *arg)
{
    struct run *r = arg;
    static char bytes[65536];
    ssize_t n = read(fd, bytes, sizeof(bytes));

    (void)loop;
    (void)revents;
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        loop_io_set(r->from_io, 0);
        session_lost(r->session, "the agent's session has ended");
        return;
    }
    r->wire_in += (size_t)n;
    session_feed(r->session, bytes, (size_t)n);
}

/* Prepares a command of shell text; change r->start, r->argv and the rest before run_begin(). */
static inline void run_init(struct run *r, struct rig *rig, const char *script)
{
    *r = (struct run){.rig = rig};
    for (int i = 0; i < 3; i++)
        buf_init(&r->got[i], 256u << 20);
    buf_init(&r->queue, 64u << 20);
    buf_init(&r->notes, 1u << 20);
    manifest_init(&r->last_agreed);
    if (script) {
        strlist_add(&r->argv, "sh");
        strlist_add(&r->argv, "-c");
        strlist_add(&r->argv, script);
    }
    strlist_add(&r->env, RIG_PATH);
    r->start = (struct session_start){.argv = &r->argv, .env = &r->env};
}

static inline void run_begin(struct run *r, const struct session_mount *mounts, size_t n_mounts)
{
    int in[2], out[2];

    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    r->agent = rig_spawn(r->rig, "session", in[0], out[1]);
    close(in[0]);
    close(out[1]);
    r->to = in[1];
    r->from = out[0];
    fcntl(r->to, F_SETFL, O_NONBLOCK);
    fcntl(r->from, F_SETFL, O_NONBLOCK);
    r->loop = loop_new();
    r->to_io = loop_io_add(r->loop, r->to, 0, run_on_writable, r);
    r->from_io = loop_io_add(r->loop, r->from, POLLIN, run_on_readable, r);
    if (!r->callbacks)
        r->callbacks = &run_callbacks;
    r->session = r->ask ? session_ask(r->loop, r->ask, mounts, n_mounts, r->callbacks, r)
                        : session_new(r->loop, &r->start, mounts, n_mounts, r->callbacks, r);
}

/* Turns the loop for at most ms, or until the condition (may be NULL) holds, or the end. */
static inline bool run_turn(struct run *r, int64_t ms, bool (*until)(struct run *r))
{
    int64_t end = loop_now() + ms;

    while (loop_now() < end) {
        if (until && until(r))
            return true;
        if (r->done)
            return false;
        loop_step(r->loop, 20);
    }
    return until && until(r);
}

static inline void run_finish(struct run *r)
{
    int64_t until = loop_now() + 2000;

    while (r->queue.len && loop_now() < until)
        loop_step(r->loop, 20);
    session_free(r->session);
    loop_free(r->loop);
    close(r->to);
    close(r->from);
    if (rig_wait(r->agent, RIG_DEADLINE) < 0)
        fail_msg("the session does not end");
}

/* All of it. */
static inline void run_all(struct run *r, const struct session_mount *mounts, size_t n_mounts)
{
    run_begin(r, mounts, n_mounts);
    run_turn(r, RIG_DEADLINE, NULL);
    if (!r->done)
        fail_msg("the command does not end");
    run_finish(r);
}

static inline void run_clear(struct run *r)
{
    for (int i = 0; i < 3; i++)
        buf_clear(&r->got[i]);
    buf_clear(&r->queue);
    buf_clear(&r->notes);
    manifest_clear(&r->last_agreed);
    strlist_clear(&r->argv);
    strlist_clear(&r->env);
    free(r->error);
}

static inline bool file_there(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && st.st_size > 0;
}

static inline bool wait_for_file(const char *path)
{
    int64_t until = loop_now() + RIG_DEADLINE;

    while (!file_there(path) && loop_now() < until)
        usleep(5000);
    return file_there(path);
}

static inline bool is_started(struct run *r)
{
    return r->started;
}

static inline bool has_output(struct run *r)
{
    return r->got[1].len > 0;
}

/* Runs script as one more process and expects this much of it. */
static inline void rig_expect(struct rig *rig, const char *script, int code, const char *out, const char *err)
{
    struct run r;

    run_init(&r, rig, script);
    run_all(&r, NULL, 0);
    if (r.error)
        fail_msg("%s: %s", script, r.error);
    assert_string_equal(r.got[1].data, out);
    assert_string_equal(r.got[2].data, err);
    assert_int_equal(r.result.code, code);
    run_clear(&r);
}

/* A line of shell, which must succeed. */
static inline void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static inline void sh(const char *fmt, ...)
{
    cleanup_free char *script = NULL;
    va_list ap;
    pid_t pid;

    va_start(ap, fmt);
    script = xvasprintf(fmt, ap);
    va_end(ap);
    pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-ec", script, (char *)NULL);
        _exit(99);
    }
    if (rig_wait(pid, 4 * RIG_DEADLINE) != 0) /* a thousand programs may be in it */
        fail_msg("failed: %s", script);
}

#endif
