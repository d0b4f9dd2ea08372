/* ASK_VOLUME_SAVE: the session saves, in a thread; the answer is a line for each volume (volume.h). */
#include "backends/agent/answer.h"

#include "backends/agent/agent.h"
#include "backends/agent/volume.h"
#include "backends/agent/volume_keeper.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/err.h"
#include "compat/sys/work.h"

#include <stdlib.h>
#include <string.h>

struct saving {
    struct answer *answer;
    struct wire_volumes list;
    struct volume_dirs dirs;
    char *only;
    struct work *work;
    struct buf out;
    size_t sent;
    bool done;
    struct err err;
};

static void save(void *arg)
{
    struct saving *s = arg;

    volumes_save(&s->dirs, &s->list, s->only, &s->out, &s->err);
}

static void send_more(struct answer *a)
{
    struct saving *s = a->state;

    if (s->done && !s->err.msg)
        answer_pour(a, s->out.data, s->out.len, &s->sent);
}

static void on_saved(void *arg)
{
    struct saving *s = arg;

    s->work = NULL;
    s->done = true;
    if (s->err.msg)
        answer_refuse(s->answer, &s->err);
    else
        send_more(s->answer);
}

static int start_save(struct answer *a, struct err *err)
{
    struct wire_volumes list;
    struct saving *s;

    if (keeper_list(a->options->run_dir, &list, err) < 0)
        return -1;
    if (!list.len) {
        answer_done(a);
        return 0;
    }
    a->state = s = xcalloc(1, sizeof(*s));
    s->answer = a;
    s->list = list;
    s->dirs = (struct volume_dirs){a->options->volumes_dir, a->options->run_dir};
    s->only = xstrdup(a->ask.text ? a->ask.text : "");
    buf_init(&s->out, WIRE_VOLUMES_MAX);
    s->work = work_start(a->loop, save, on_saved, s);
    return 0;
}

static void clear_save(struct answer *a)
{
    struct saving *s = a->state;

    if (!s)
        return;
    work_cancel(s->work);
    wire_volumes_clear(&s->list);
    buf_clear(&s->out);
    err_clear(&s->err);
    free(s->only);
    free(s);
}

const struct answer_kind answer_volume_save = {.start = start_save, .go_on = send_more, .clear = clear_save};
