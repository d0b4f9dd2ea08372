/* What the agent sends within the credit that it was given, and what the user has not taken of it yet. */
#include "backends/session/internal.h"

#include "compat/base/err.h"

#define CREDIT_STEP (WIRE_WINDOW / 8) /* output taken before the agent is told */

bool output_waits(const struct session *s)
{
    for (int i = 0; i < 2; i++)
        if (s->streams[i].waiting.len > s->streams[i].sent)
            return true;
    return false;
}

void output_credit(struct session *s, size_t taken)
{
    s->uncredited += taken;
    if (s->over || s->exit_came || s->uncredited < CREDIT_STEP)
        return;
    wire_put_credit(&s->frame, WIRE_STREAM_OUTPUT, (uint32_t)s->uncredited);
    s->granted += s->uncredited;
    s->uncredited = 0;
    session_send(s);
}

/* Gives the user what waits, as far as it is taken. */
static void flush_stream(struct session *s, int i)
{
    struct outstream *o = &s->streams[i];
    size_t taken = 0;

    if (o->flushing)
        return;
    o->flushing = true;
    while (!s->over && o->waiting.len > o->sent) {
        size_t left = o->waiting.len - o->sent;
        size_t n = o->closed ? left : s->cb->output(s->arg, i + 1, o->waiting.data + o->sent, left);

        if (!n)
            break;
        o->sent += n;
        taken += n;
    }
    o->flushing = false;
    if (o->sent == o->waiting.len) {
        buf_reset(&o->waiting);
        o->sent = 0;
    } else if (o->sent > WIRE_WINDOW / 2) {
        buf_consume(&o->waiting, o->sent);
        o->sent = 0;
    }
    output_credit(s, taken);
}

int output_spend(struct session *s, size_t len, struct err *err)
{
    if (len > s->granted)
        return err_set(err, 125, "more output came than was asked for");
    s->granted -= len;
    return 0;
}

int output_take(struct session *s, const struct wire_frame *f, struct err *err)
{
    int i = f->type == WIRE_STDERR;
    struct outstream *o = &s->streams[i];
    size_t n = 0;

    if (output_spend(s, f->len, err) < 0)
        return -1;
    if (o->waiting.len == o->sent)
        n = o->closed ? f->len : s->cb->output(s->arg, i + 1, f->data, f->len);
    if (s->over)
        return 0;
    if (n < f->len)
        buf_add(&o->waiting, f->data + n, f->len - n);
    output_credit(s, n);
    return 0;
}

void session_output_ready(struct session *s)
{
    for (int i = 0; i < 2 && !s->over; i++)
        flush_stream(s, i);
    session_maybe_end(s);
}

void session_output_closed(struct session *s, int stream)
{
    struct outstream *o = &s->streams[stream == 2];

    if (s->over || o->closed)
        return;
    o->closed = true;
    if (!s->exit_came && (!s->asks || s->ask.kind == WIRE_ASK_ATTACH)) {
        wire_put_close(&s->frame, stream == 2 ? WIRE_STREAM_STDERR : WIRE_STREAM_STDOUT);
        if (s->start_sent)
            session_send(s);
        else
            buf_reset(&s->frame); /* there is no output before the start */
    }
    session_output_ready(s);
}

int output_take_log(struct session *s, const struct wire_frame *f, struct err *err)
{
    const uint8_t *bytes;
    int64_t time_ns;
    uint8_t stream;
    size_t len;

    if (!s->cb->log || wire_get_log(f, &time_ns, &stream, &bytes, &len, err) < 0)
        return s->cb->log ? -1 : err_set(err, 125, "LOG frame out of place");
    if (output_spend(s, f->len, err) < 0)
        return -1;
    s->cb->log(s->arg, time_ns, stream, bytes, len);
    output_credit(s, f->len - len); /* its own head; the bytes when they are written */
    return 0;
}

void session_log_taken(struct session *s, size_t bytes)
{
    output_credit(s, bytes);
}
