#include "backends/agent/resolv.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (64u << 10)
#define DNS_PORT 53
#define BLANK    " \t\r"

static void add_server(struct resolv *r, const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(DNS_PORT)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(DNS_PORT)};

    if (r->n_servers == RESOLV_SERVERS)
        return;
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        memcpy(&r->servers[r->n_servers++], &v4, sizeof(v4));
    else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
        memcpy(&r->servers[r->n_servers++], &v6, sizeof(v6));
}

static void take_line(struct resolv *r, const char *ours, char *line)
{
    char *word, *rest;

    line[strcspn(line, "#;\n")] = '\0';
    word = line + strspn(line, BLANK);
    rest = word + strcspn(word, BLANK);
    if (*rest)
        *rest++ = '\0';
    rest += strspn(rest, BLANK);
    for (size_t len = strlen(rest); len && strchr(BLANK, rest[len - 1]); len--)
        rest[len - 1] = '\0';
    if (!*rest)
        return;
    if (!strcmp(word, "nameserver")) {
        if (strcmp(rest, ours) != 0)
            add_server(r, rest);
    } else if (!strcmp(word, "search") || !strcmp(word, "domain")) {
        free(r->search);
        r->search = xstrdup(rest);
    } else if (!strcmp(word, "options")) {
        char *all = r->options ? xasprintf("%s %s", r->options, rest) : xstrdup(rest);

        free(r->options);
        r->options = all;
    }
}

void resolv_read(const char *path, const char *ours, struct resolv *ret)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    cleanup_buf struct buf text = BUF_INIT(FILE_MAX);
    struct stat st;
    char bytes[4096];
    ssize_t n;

    *ret = (struct resolv){0};
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    while ((n = read(fd, bytes, sizeof(bytes))) > 0 && buf_add(&text, bytes, (size_t)n) == 0)
        ;
    for (char *line = text.data, *next; text.len && line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        take_line(ret, ours, line);
    }
}

void resolv_clear(struct resolv *r)
{
    free(r->search);
    free(r->options);
    *r = (struct resolv){0};
}

int resolv_write(const char *path, const char *ours, const struct resolv *r, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(2 * FILE_MAX);
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_errno(err, 125, errno, "writing %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, 125, "writing %s: it is no file", path);
    if (r->search)
        buf_addf(&text, "search %s\n", r->search);
    buf_addf(&text, "nameserver %s\n", ours);
    buf_addf(&text, "options %s%s%s\n", r->options ? r->options : "", r->options ? " " : "",
             r->options && strstr(r->options, "ndots:") ? "" : "ndots:0");
    if (write(fd, text.data, text.len) != (ssize_t)text.len)
        return err_set_errno(err, 125, errno, "writing %s", path);
    return 0;
}
