#include "backends/agent/view.h"

#include "backends/agent/link.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <string.h>

#define CREDIT_STEP                                                                                                    \
    (256u << 10)            /* stdin taken before the client is told: few frames, no stall in a window of 4 MiB        \
                             */
#define LATE_MAX (4u << 20) /* what pipes can hold (1 MiB at most), with room */

void view_init(struct view *v, struct link *link, bool listens, bool feeds)
{
    *v = (struct view){.link = link, .credit = WIRE_WINDOW, .listens = listens, .feeds = feeds};
    for (int i = 0; i < 2; i++)
        buf_init(&v->late[i], LATE_MAX);
}

void view_clear(struct view *v)
{
    for (int i = 0; i < 2; i++)
        buf_clear(&v->late[i]);
    wire_exit_clear(&v->exit);
}

void views_join(struct views *l, struct view *v)
{
    v->next = l->first;
    l->first = v;
}

void views_leave(struct views *l, struct view *v)
{
    for (struct view **p = &l->first; *p; p = &(*p)->next)
        if (*p == v) {
            *p = v->next;
            v->next = NULL;
            return;
        }
}

static bool hears(const struct view *v, int stream)
{
    return v->listens && !v->exit_known && !v->closed[stream];
}

static bool is_late(const struct view *v)
{
    return v->late[0].len || v->late[1].len;
}

size_t views_room(const struct views *l, int stream, size_t want)
{
    for (const struct view *v = l->first; v; v = v->next) {
        size_t room = is_late(v) ? 0 : v->credit;

        if (hears(v, stream) && room < want)
            want = room;
    }
    return want;
}

bool views_listen(const struct views *l)
{
    for (const struct view *v = l->first; v; v = v->next)
        if (hears(v, 0) || hears(v, 1))
            return true;
    return false;
}

/* Sends what the credit allows and returns how much that was. */
static size_t send_output(struct view *v, int stream, const char *bytes, size_t len)
{
    size_t sent = 0;

    while (sent < len && v->credit) {
        size_t n = len - sent < WIRE_CHUNK ? len - sent : WIRE_CHUNK;

        if (n > v->credit)
            n = v->credit;
        wire_put(&v->link->queue, stream ? WIRE_STDERR : WIRE_STDOUT, bytes + sent, n);
        v->credit -= n;
        sent += n;
    }
    link_send(v->link);
    return sent;
}

void view_write(struct view *v, int stream, const void *bytes, size_t len)
{
    size_t sent;

    if (!hears(v, stream))
        return;
    sent = is_late(v) ? 0 : send_output(v, stream, bytes, len);
    buf_add(&v->late[stream], (const char *)bytes + sent, len - sent);
}

void views_write(struct views *l, int stream, const void *bytes, size_t len)
{
    for (struct view *v = l->first; v; v = v->next)
        view_write(v, stream, bytes, len);
}

void view_started(struct view *v, int32_t pid)
{
    wire_put_started(&v->link->queue, pid);
    link_send(v->link);
}

void views_started(struct views *l, int32_t pid)
{
    for (struct view *v = l->first; v; v = v->next)
        if (!v->exit_known)
            view_started(v, pid);
}

static void send_exit(struct view *v)
{
    if (!v->exit_known || v->exit_sent || is_late(v))
        return;
    v->exit_sent = true;
    wire_put_exit(&v->link->queue, &v->exit);
    link_send(v->link);
}

void view_exit(struct view *v, const struct wire_exit *e)
{
    if (v->exit_known)
        return;
    v->exit_known = true;
    v->exit = *e;
    v->exit.text = xstrdup(e->text);
    send_exit(v);
}

void views_exit(struct views *l, const struct wire_exit *e)
{
    for (struct view *v = l->first; v; v = v->next)
        view_exit(v, e);
}

static void send_late(struct view *v)
{
    for (int i = 0; i < 2 && v->credit; i++)
        buf_consume(&v->late[i], send_output(v, i, v->late[i].data, v->late[i].len));
    send_exit(v);
}

int view_take_credit(struct view *v, const struct wire_frame *f, struct err *err)
{
    uint8_t stream;
    uint32_t bytes;

    if (wire_get_credit(f, &stream, &bytes, err) < 0)
        return -1;
    if (stream != WIRE_STREAM_OUTPUT || v->credit + bytes > WIRE_WINDOW)
        return err_set(err, 125, "more CREDIT than was used");
    v->credit += bytes;
    send_late(v);
    return 0;
}

void view_credit_stdin(struct view *v, size_t taken, bool all)
{
    v->uncredited += taken;
    if (!v->uncredited || (v->uncredited < CREDIT_STEP && !all))
        return;
    wire_put_credit(&v->link->queue, WIRE_STREAM_STDIN, (uint32_t)v->uncredited);
    v->uncredited = 0;
    link_send(v->link);
}
