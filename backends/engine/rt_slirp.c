/*
 * Network of sandboxes whose engine is not root: slirp4netns, one process for each, carries packets between a device
 * in the sandbox's namespace and ordinary sockets of the user. It ends when a pipe is closed that the engine holds, so
 * it cannot outlive the engine either.
 */
#include "backends/engine/rt_internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define READY_MS 15000 /* a busy machine; it takes some tens */

/* The addresses of its network, 10.0.2.0/24, which it has in every sandbox. */
#define ADDRESS     "10.0.2.100"
#define NAME_SERVER "10.0.2.3"

void rt_slirp_resolv(struct buf *text)
{
    cleanup_strlist struct strlist lines = STRLIST_INIT;

    strlist_split(&lines, text->data, '\n');
    buf_reset(text);
    for (size_t i = 0; i < lines.len; i++)
        if (*lines.items[i] && strncmp(lines.items[i], "nameserver", 10) != 0)
            buf_addf(text, "%s\n", lines.items[i]);
    buf_adds(text, "nameserver " NAME_SERVER "\n");
}

/* Waits until it says that the device is up. */
static int await_ready(int fd, struct err *err)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char byte;
    int n;

    do {
        n = poll(&p, 1, READY_MS);
    } while (n < 0 && errno == EINTR);
    if (n > 0 && read(fd, &byte, 1) == 1)
        return 0;
    return err_set(err, 125, n == 0 ? "slirp4netns does not get ready" : "slirp4netns could not make the network");
}

int rt_slirp_start(const char *program, struct rt_net_slot *slot, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_close int end = -1, keeper = -1, ready = -1, said = -1;
    struct rt_spawn spawn = {.fds = {-1, -1, -1}, .mount_ns = -1};
    int life[2], news[2];

    if (pipe2(life, O_CLOEXEC) < 0)
        return err_set_errno(err, 125, errno, "pipe");
    end = life[0];
    keeper = life[1];
    if (pipe2(news, O_CLOEXEC) < 0)
        return err_set_errno(err, 125, errno, "pipe");
    ready = news[0];
    said = news[1];
    strlist_add(&words, program);
    strlist_split(&words,
                  "--configure --mtu=65520 --disable-host-loopback --enable-sandbox --enable-seccomp "
                  "--exit-fd=0 --ready-fd=3 --netns-type=path",
                  ' ');
    strlist_addf(&words, "/proc/%d/fd/%d", (int)getpid(), slot->ns);
    strlist_add(&words, "eth0");
    spawn.argv = strlist_argv(&words);
    spawn.fds[0] = end;
    spawn.third = said;
    if (rt_spawn(&spawn, err) < 0)
        return -1;
    close(steal_fd(&said));
    if (await_ready(ready, err) < 0)
        return -1;
    slot->keeper = steal_fd(&keeper);
    snprintf(slot->address, sizeof(slot->address), "%s", ADDRESS);
    return 0;
}
