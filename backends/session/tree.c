/* cp: bytes of a tree stream, either way. What they mean is not looked at here. */
#include "backends/session/internal.h"

#include "compat/base/err.h"

int tree_take(struct session *s, const struct wire_frame *f, struct err *err)
{
    if (f->type == WIRE_TREE && s->cb->tree) {
        if (output_spend(s, f->len, err) < 0)
            return -1;
        s->cb->tree(s->arg, f->data, f->len);
    } else if (f->type == WIRE_TREE_END && s->cb->tree_end) {
        s->cb->tree_end(s->arg);
    } else if (f->type == WIRE_STAT && s->cb->stat) {
        s->cb->stat(s->arg, f);
    } else {
        return err_set(err, 125, "%s frame out of place", wire_type_name(f->type));
    }
    return 0;
}

size_t session_tree(struct session *s, const void *bytes, size_t len)
{
    return session_put_bytes(s, WIRE_TREE, bytes, len);
}

void session_tree_end(struct session *s)
{
    if (s->over || s->exit_came || s->stdin_eof)
        return;
    s->stdin_eof = true;
    if (!s->start_sent) /* session_put_request() says it */
        return;
    s->stdin_eof_sent = true;
    wire_put(&s->frame, WIRE_TREE_END, NULL, 0);
    session_send(s);
}

void session_tree_taken(struct session *s, size_t bytes)
{
    output_credit(s, bytes);
}
