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

/* In place, and only where it is a file. */
static int put_file(const char *path, const struct buf *text, struct err *err)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_errno(err, 125, errno, "writing %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, 125, "writing %s: it is no file", path);
    if (text->overflowed)
        return err_set(err, 125, "writing %s: it would be too long", path);
    if (write(fd, text->data, text->len) != (ssize_t)text->len)
        return err_set_errno(err, 125, errno, "writing %s", path);
    return 0;
}

int resolv_write(const char *path, const char *ours, const struct resolv *r, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(2 * FILE_MAX);

    if (r->search)
        buf_addf(&text, "search %s\n", r->search);
    buf_addf(&text, "nameserver %s\n", ours);
    buf_addf(&text, "options %s%s%s\n", r->options ? r->options : "", r->options ? " " : "",
             r->options && strstr(r->options, "ndots:") ? "" : "ndots:0");
    return put_file(path, &text, err);
}

static void add_words(struct buf *text, const char *name, const struct strlist *words, const char *otherwise)
{
    if (words->len)
        buf_addf(text, "%s", name);
    for (size_t i = 0; i < words->len; i++)
        buf_addf(text, " %s", words->items[i]);
    if (words->len)
        buf_addf(text, "\n");
    else if (otherwise)
        buf_addf(text, "%s %s\n", name, otherwise);
}

int resolv_choose(const char *path, const struct strlist *servers, const struct strlist *search,
                  const struct strlist *options, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(2 * FILE_MAX);
    cleanup_with(resolv_clear) struct resolv old = {0};

    resolv_read(path, "", &old);
    for (size_t i = 0; i < servers->len; i++)
        buf_addf(&text, "nameserver %s\n", servers->items[i]);
    for (size_t i = 0; !servers->len && i < old.n_servers; i++) {
        char address[INET6_ADDRSTRLEN] = "";
        const struct sockaddr_storage *s = &old.servers[i];

        if (s->ss_family == AF_INET)
            inet_ntop(AF_INET, &((const struct sockaddr_in *)s)->sin_addr, address, sizeof(address));
        else
            inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)s)->sin6_addr, address, sizeof(address));
        buf_addf(&text, "nameserver %s\n", address);
    }
    if (!(search->len == 1 && !strcmp(search->items[0], "."))) /* "." asks for none */
        add_words(&text, "search", search, old.search);
    add_words(&text, "options", options, old.options);
    return put_file(path, &text, err);
}
