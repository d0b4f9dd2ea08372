#include "backends/agent/proc.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct proc {
    pid_t pid, parent;
    bool zombie;
    bool ours; /* below init */
};

struct procs {
    struct proc *items;
    size_t len, cap;
};

bool proc_available(void)
{
    return access("/proc/self/stat", R_OK) == 0;
}

/* Reads "pid (name) state parent": the name may hold anything, so the last parenthesis counts. */
static bool read_stat(const char *pid, struct proc *ret)
{
    char path[64], text[512];
    cleanup_close int fd = -1;
    const char *at;
    ssize_t n;
    char state;
    int parent;

    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    at = strrchr(text, ')');
    if (!at || sscanf(at + 1, " %c %d", &state, &parent) != 2)
        return false;
    *ret = (struct proc){.pid = (pid_t)strtol(pid, NULL, 10), .parent = parent, .zombie = state == 'Z' || state == 'X'};
    return true;
}

/* Is this process another one of the agent's own (a session)? */
static bool is_agent(pid_t pid)
{
    static struct stat self;
    struct stat st;
    char path[64];

    if (!self.st_ino && stat("/proc/self/exe", &self) < 0)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    return stat(path, &st) == 0 && st.st_ino == self.st_ino && st.st_dev == self.st_dev;
}

static void list_all(DIR *dir, struct procs *l)
{
    struct dirent *e;

    while ((e = readdir(dir))) {
        struct proc p;

        if (e->d_name[0] < '0' || e->d_name[0] > '9' || !read_stat(e->d_name, &p))
            continue;
        if (l->len == l->cap) {
            l->cap = l->cap ? l->cap * 2 : 64;
            l->items = xreallocarray(l->items, l->cap, sizeof(*l->items));
        }
        l->items[l->len++] = p;
    }
}

/* Marks what descends from init, generation by generation; a session of ours and what is below it are left out. */
static void mark_ours(struct procs *l, pid_t init)
{
    bool changed = true;

    while (changed) {
        changed = false;
        for (size_t i = 0; i < l->len; i++) {
            struct proc *p = &l->items[i];
            bool ours = p->parent == init && p->pid != init;

            for (size_t j = 0; !p->ours && !ours && j < l->len; j++)
                ours = l->items[j].ours && l->items[j].pid == p->parent;
            if (p->ours || !ours || is_agent(p->pid))
                continue;
            p->ours = changed = true;
        }
    }
}

/* All processes below init, marked. */
static int find_ours(struct procs *l, pid_t init)
{
    cleanup_dir DIR *dir = opendir("/proc");

    if (!dir)
        return -1;
    list_all(dir, l);
    mark_ours(l, init);
    return 0;
}

bool proc_each(pid_t init, void (*fn)(void *arg, pid_t pid, pid_t parent), void *arg)
{
    struct procs l = {0};

    if (find_ours(&l, init) < 0)
        return false;
    for (size_t i = 0; i < l.len; i++)
        if (l.items[i].ours && !l.items[i].zombie)
            fn(arg, l.items[i].pid, l.items[i].parent);
    free(l.items);
    return true;
}

int proc_signal_all(int signo, pid_t spare)
{
    struct procs l = {0};
    int n = 0;

    if (find_ours(&l, getpid()) < 0)
        return -1;
    for (size_t i = 0; i < l.len; i++) {
        if (!l.items[i].ours || l.items[i].zombie)
            continue;
        n++;
        if (signo && l.items[i].pid != spare)
            kill(l.items[i].pid, signo);
    }
    free(l.items);
    return n;
}

int proc_open(pid_t pid, const char *name)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

ssize_t proc_read(pid_t pid, const char *name, char *to, size_t size)
{
    cleanup_close int fd = proc_open(pid, name);
    size_t have = 0;
    ssize_t n = fd < 0 ? -1 : 1;

    while (n > 0 && have < size) {
        n = read(fd, to + have, size - have);
        if (n > 0)
            have += (size_t)n;
    }
    return n < 0 ? -1 : (ssize_t)have;
}
