/* Takes a stream: hands its events to the plan, to the placing of files, and to the end. */
#include "backends/sync/receiver_impl.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <unistd.h>

struct sync_receiver *sync_receiver_new(const struct sync_tree *tree, const struct sync_policy *policy)
{
    struct sync_receiver *r = xcalloc(1, sizeof(*r));

    r->tree = *tree;
    r->policy = *policy;
    r->parser = stream_parser_new();
    r->dirs = dirs_new(tree->dirfd);
    r->keep = keep_new(policy->keep_dirfd);
    r->as_root = geteuid() == 0;
    r->fd = r->dir = -1;
    return r;
}

void sync_receiver_free(struct sync_receiver *r)
{
    if (!r)
        return;
    receiver_drop_file(r);
    for (size_t i = 0; i < r->waiting_count; i++) {
        struct waiting *w = &r->waiting[i];

        if (w->name[0])
            beneath_unlink(w->dir, w->name);
        close(w->dir);
        close(w->fd);
    }
    for (size_t i = 0; i < r->row_count; i++)
        free(r->rows[i].peer_instead);
    free(r->waiting);
    free(r->rows);
    free(r->row_of_op);
    free(r->risky_path);
    dirs_free(r->dirs);
    keep_free(r->keep);
    sync_report_clear(&r->report);
    stream_parser_free(r->parser);
    free(r);
}

bool sync_receiver_done(const struct sync_receiver *r)
{
    return r->ended;
}

static int on_event(struct sync_receiver *r, const struct stream_event *event, struct err *err)
{
    switch (event->type) {
    case STREAM_ANNOUNCED:
        return receiver_plan(r, err) < 0 ? -1 : receiver_make_dirs(r, err);
    case STREAM_FILE:
        return receiver_begin_file(r, r->row_of_op[event->op], err);
    case STREAM_DATA:
        return receiver_data(r, event->bytes, event->len, err);
    case STREAM_HOLE:
        return receiver_hole(r, event->len, err);
    case STREAM_AGAIN:
        return receiver_again(r, err);
    case STREAM_GONE:
        receiver_left_out(r);
        return 0;
    case STREAM_DONE:
        return receiver_done(r, event->done, err);
    case STREAM_END:
        r->ended = true;
        return 0;
    default:
        return 0;
    }
}

int sync_receiver_write(struct sync_receiver *r, const void *bytes, size_t len, struct err *err)
{
    struct stream_event event;

    if (r->failed)
        return err_set(err, 125, "sync: the stream was refused before");
    do {
        if (stream_parse(r->parser, &bytes, &len, &event, err) < 0 || on_event(r, &event, err) < 0) {
            r->failed = true;
            receiver_drop_file(r);
            return -1;
        }
    } while (event.type != STREAM_MORE);
    return 0;
}

int sync_receiver_finish(struct sync_receiver *r, struct manifest *ret_agreed, struct sync_report *ret_report,
                         struct err *err)
{
    if (r->failed || !r->ended)
        return err_set(err, 125, "sync: the stream ended before it was whole");
    r->failed = true; /* whatever comes now, nothing more may be written */
    if (receiver_finish_all(r, err) < 0)
        return -1;
    receiver_close_report(r);
    if (ret_agreed)
        receiver_agreed(r, ret_agreed);
    if (ret_report) {
        *ret_report = r->report;
        r->report = (struct sync_report){0};
    }
    return 0;
}
