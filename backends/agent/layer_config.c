/* The configuration that an image brought along, below /.atp: that of the newest version that is there. */
#include "backends/agent/agent.h"
#include "backends/agent/answer.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_MAX  (4u << 20) /* a registry's configuration is not longer either */
#define CONFIG_NAME "image.json"

struct config_state {
    struct buf text;
    size_t sent;
    int dir;      /* /.atp */
    char *newest; /* owned: the version's folder; NULL = none yet */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "0.10.1" against "0.9": numbers as numbers. */
static int compare_versions(const char *a, const char *b)
{
    while (*a && *b) {
        if (is_digit(*a) && is_digit(*b)) {
            char *after_a, *after_b;
            unsigned long long x = strtoull(a, &after_a, 10), y = strtoull(b, &after_b, 10);

            if (x != y)
                return x < y ? -1 : 1;
            a = after_a;
            b = after_b;
        } else if (*a != *b) {
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        } else {
            a++;
            b++;
        }
    }
    return *a ? 1 : *b ? -1 : 0;
}

/* One name in /.atp: a version with a configuration, and newer than what was found before? */
static int consider(void *arg, const char *name, uint8_t type)
{
    struct config_state *c = arg;
    cleanup_close int dir = beneath_child_dir(c->dir, name);
    struct stat st;

    (void)type;
    if (dir < 0 || beneath_stat(dir, CONFIG_NAME, &st) < 0 || !S_ISREG(st.st_mode) ||
        (c->newest && compare_versions(name, c->newest) <= 0))
        return 0;
    free(c->newest);
    c->newest = xstrdup(name);
    return 0;
}

static int read_config(struct config_state *c, struct err *err)
{
    cleanup_close int dir = beneath_child_dir(c->dir, c->newest);
    struct stat st;
    cleanup_close int fd = dir < 0 ? -1 : beneath_read_open(dir, CONFIG_NAME, &st);
    ssize_t n = fd < 0 ? -1 : 1;

    while (n > 0) {
        char *room = buf_reserve(&c->text, 64u << 10);

        if (!room)
            return err_set(err, 1, "/.atp/%s/" CONFIG_NAME " is too long", c->newest);
        n = read(fd, room, 64u << 10);
        if (n > 0)
            buf_advance(&c->text, (size_t)n);
    }
    return n < 0 ? err_set_errno(err, 1, errno, "reading /.atp/%s/" CONFIG_NAME, c->newest) : 0;
}

static void send_config(struct answer *a)
{
    struct config_state *c = a->state;

    answer_pour(a, c->text.data, c->text.len, &c->sent);
}

/* An image without one: what the platform makes of its words for a process in it. */
static void tell_surroundings(struct config_state *c)
{
    char *cwd = getcwd(NULL, 0);

    buf_adds(&c->text, cwd ? cwd : "/");
    buf_addc(&c->text, '\0');
    for (char *const *e = environ; e && *e; e++) {
        buf_adds(&c->text, *e);
        buf_addc(&c->text, '\0');
    }
    free(cwd);
}

static int start_config(struct answer *a, struct err *err)
{
    struct config_state *c = xcalloc(1, sizeof(*c));
    cleanup_close int list = -1;

    a->state = c;
    buf_init(&c->text, CONFIG_MAX);
    c->dir = open(AGENT_HIDDEN_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    list = c->dir < 0 ? -1 : beneath_list_open(c->dir);
    if (list < 0 || beneath_names(list, consider, c) < 0)
        return err_set_errno(err, 1, errno, "reading " AGENT_HIDDEN_DIR);
    if (!c->newest)
        tell_surroundings(c);
    else if (read_config(c, err) < 0)
        return -1;
    send_config(a);
    return 0;
}

static void clear_config(struct answer *a)
{
    struct config_state *c = a->state;

    if (!c)
        return;
    buf_clear(&c->text);
    free(c->newest);
    if (c->dir >= 0)
        close(c->dir);
    free(c);
}

const struct answer_kind answer_config = {.start = start_config, .go_on = send_config, .clear = clear_config};
