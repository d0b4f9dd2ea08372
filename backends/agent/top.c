#include "backends/agent/top.h"

#include "backends/agent/answer.h"
#include "backends/agent/json.h"
#include "backends/agent/proc.h"
#include "backends/agent/user.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define TOP_MAX     (8u << 20)  /* all lines together */
#define CMDLINE_MAX (64u << 10) /* of one process; more is cut off */

struct process {
    pid_t pid, parent;
    uid_t uid;
    char state;
    char comm[64];
    int tty;
    unsigned long long cpu_ticks, start_ticks, vsz;
    long rss_pages;
};

/* ---- /proc ---- */

/* "pid (comm) state ppid pgrp session tty tpgid flags 4 faults utime stime 2 children's prio nice threads 0 start vsize
 * rss": the name may hold anything, so the last parenthesis counts. */
static bool read_stat(pid_t pid, struct process *ret)
{
    char text[1024], *open_at, *close_at;
    unsigned long long utime, stime;
    ssize_t n = proc_read(pid, "stat", text, sizeof(text) - 1);
    size_t len;

    if (n <= 0)
        return false;
    text[n] = '\0';
    open_at = strchr(text, '(');
    close_at = strrchr(text, ')');
    if (!open_at || !close_at ||
        sscanf(close_at + 1,
               " %c %*d %*d %*d %d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu %llu %ld",
               &ret->state, &ret->tty, &utime, &stime, &ret->start_ticks, &ret->vsz, &ret->rss_pages) != 7)
        return false;
    ret->cpu_ticks = utime + stime;
    len = (size_t)(close_at - open_at - 1);
    if (len >= sizeof(ret->comm))
        len = sizeof(ret->comm) - 1;
    memcpy(ret->comm, open_at + 1, len);
    ret->comm[len] = '\0';
    return true;
}

static uid_t owner_of(pid_t pid)
{
    char text[4096];
    ssize_t n = proc_read(pid, "status", text, sizeof(text) - 1);
    const char *at;

    if (n <= 0)
        return 0;
    text[n] = '\0';
    at = strstr(text, "\nUid:");
    return at ? (uid_t)strtoul(at + 5, NULL, 10) : 0;
}

/* When the machine came up, in ms of the epoch, as far as the container can tell. */
static int64_t boot_ms(void)
{
    struct timespec now, up;

    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    return ((int64_t)now.tv_sec - up.tv_sec) * 1000 + (now.tv_nsec - up.tv_nsec) / 1000000;
}

/* ---- lines ---- */

struct list {
    struct process *items;
    size_t len, cap;
    pid_t init;
};

static void add_process(void *arg, pid_t pid, pid_t parent)
{
    struct list *l = arg;

    if (l->len == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 32;
        l->items = xreallocarray(l->items, l->cap, sizeof(*l->items));
    }
    l->items[l->len] = (struct process){.pid = pid, .parent = parent == l->init ? 0 : parent};
    if (!read_stat(pid, &l->items[l->len]))
        return;
    l->items[l->len].uid = owner_of(pid);
    l->len++;
}

static int by_pid(const void *a, const void *b)
{
    const struct process *x = a, *y = b;

    return (x->pid > y->pid) - (x->pid < y->pid);
}

static void add_argv(struct buf *b, pid_t pid)
{
    cleanup_free char *text = xmalloc(CMDLINE_MAX);
    ssize_t n = proc_read(pid, "cmdline", text, CMDLINE_MAX);

    buf_adds(b, ",\"argv\":[");
    for (ssize_t at = 0; at < n;) {
        size_t len = strnlen(text + at, (size_t)(n - at));

        if (at)
            buf_addc(b, ',');
        json_string(b, text + at, len);
        at += (ssize_t)len + 1;
    }
    buf_adds(b, "]}\n");
}

static void add_line(struct buf *b, const struct process *p, int64_t boot)
{
    cleanup_free char *user = user_name(p->uid);
    long hz = sysconf(_SC_CLK_TCK);

    buf_addf(b, "{\"pid\":%d,\"ppid\":%d,\"uid\":%u,\"user\":", (int)p->pid, (int)p->parent, (unsigned)p->uid);
    json_string(b, user, strlen(user));
    buf_addf(b, ",\"start_ms\":%lld,\"tty\":\"", (long long)boot + (long long)p->start_ticks * 1000 / hz);
    if (p->tty)
        buf_addf(b, major((dev_t)p->tty) == 136 ? "pts/%u" : "tty%u", minor((dev_t)p->tty));
    buf_addf(b, "\",\"cpu_ms\":%llu,\"rss\":%lld,\"vsz\":%llu,\"memory\":%lld,\"state\":\"%c\",\"comm\":",
             p->cpu_ticks * 1000 / (unsigned)hz, (long long)p->rss_pages * sysconf(_SC_PAGESIZE), p->vsz,
             (long long)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE), p->state);
    json_string(b, p->comm, strlen(p->comm));
    add_argv(b, p->pid);
}

int top_list(pid_t init, struct buf *ret_lines, struct err *err)
{
    struct list l = {.init = init};
    int64_t boot = boot_ms();

    if (!proc_each(init, add_process, &l))
        return err_set(err, 1, "the container's processes cannot be listed: it has no /proc");
    qsort(l.items, l.len, sizeof(*l.items), by_pid);
    for (size_t i = 0; i < l.len; i++)
        add_line(ret_lines, &l.items[i], boot);
    free(l.items);
    return ret_lines->overflowed ? err_set(err, 1, "the container's processes are too many to list") : 0;
}

/* ---- the answer ---- */

struct top_state {
    struct buf lines;
    size_t sent;
};

static void send_top(struct answer *a)
{
    struct top_state *t = a->state;

    answer_pour(a, t->lines.data, t->lines.len, &t->sent);
}

static int start_top(struct answer *a, struct err *err)
{
    struct top_state *t;

    if (a->main_state != WIRE_MAIN_RUNNING)
        return err_set(err, 1, "the container is not running");
    a->state = t = xcalloc(1, sizeof(*t));
    buf_init(&t->lines, TOP_MAX);
    if (top_list(a->init_pid, &t->lines, err) < 0)
        return -1;
    send_top(a);
    return 0;
}

static void clear_top(struct answer *a)
{
    struct top_state *t = a->state;

    if (t)
        buf_clear(&t->lines);
    free(t);
}

const struct answer_kind answer_top = {.start = start_top, .go_on = send_top, .clear = clear_top};
