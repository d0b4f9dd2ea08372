#include "backends/agent/hosts.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLANK " \t\r\n"

struct entry {
    struct in_addr address;
    const char *name; /* in the text */
};

struct hosts {
    char *path;
    struct stat seen; /* what the text was read from; st_ino 0: nothing */
    struct buf text;
    struct entry *entries;
    size_t len, cap;
};

struct hosts *hosts_new(const char *path)
{
    struct hosts *h = xcalloc(1, sizeof(*h));

    h->path = xstrdup(path);
    buf_init(&h->text, HOSTS_MAX + 1);
    return h;
}

void hosts_free(struct hosts *h)
{
    if (!h)
        return;
    buf_clear(&h->text);
    free(h->entries);
    free(h->path);
    free(h);
}

static void add(struct hosts *h, struct in_addr address, const char *name)
{
    if (h->len == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 64;
        h->entries = xreallocarray(h->entries, h->cap, sizeof(*h->entries));
    }
    h->entries[h->len++] = (struct entry){address, name};
}

/* "ADDRESS NAME NAME... # comment" */
static void parse_line(struct hosts *h, char *line)
{
    char *at, *save = NULL;
    struct in_addr address;

    line[strcspn(line, "#")] = '\0';
    at = strtok_r(line, BLANK, &save);
    if (!at || inet_pton(AF_INET, at, &address) != 1)
        return;
    while ((at = strtok_r(NULL, BLANK, &save)))
        add(h, address, at);
}

static void parse(struct hosts *h)
{
    char *line = h->text.data, *next;

    h->len = 0;
    if (!h->text.len)
        return;
    for (; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        parse_line(h, line);
    }
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void refresh(struct hosts *h)
{
    cleanup_close int fd = open(h->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat now;

    if (fd < 0 || fstat(fd, &now) < 0 || !S_ISREG(now.st_mode)) {
        h->len = 0;
        h->seen = (struct stat){0};
        return;
    }
    if (is_same(&now, &h->seen))
        return;
    buf_reset(&h->text);
    while (h->text.len < HOSTS_MAX) {
        char bytes[4096];
        ssize_t n = read(fd, bytes, sizeof(bytes));

        if (n <= 0 || buf_add(&h->text, bytes, (size_t)n) < 0)
            break;
    }
    parse(h);
    h->seen = now;
}

bool hosts_find(struct hosts *h, const char *name, struct in_addr *ret)
{
    refresh(h);
    for (size_t i = 0; i < h->len; i++)
        if (!strcasecmp(h->entries[i].name, name)) {
            *ret = h->entries[i].address;
            return true;
        }
    return false;
}

const char *hosts_name_of(struct hosts *h, struct in_addr address, size_t i)
{
    refresh(h);
    for (size_t k = 0; k < h->len; k++)
        if (h->entries[k].address.s_addr == address.s_addr && i-- == 0)
            return h->entries[k].name;
    return NULL;
}
