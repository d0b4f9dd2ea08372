#include "backends/agent/answer.h"

#include "backends/agent/agent.h"
#include "backends/agent/link.h"
#include "backends/agent/record.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <string.h>

/* ---- for the kinds ---- */

size_t answer_room(const struct answer *a)
{
    size_t pending = link_pending(a->client), room = pending < LINK_HIGH ? LINK_HIGH - pending : 0;

    return room < a->credit ? room : a->credit;
}

static bool is_metered(uint8_t type)
{
    return type == WIRE_STDOUT || type == WIRE_STDERR || type == WIRE_LOG || type == WIRE_TREE;
}

void answer_send(struct answer *a, uint8_t type, const void *payload, size_t len)
{
    wire_put(&a->client->queue, type, payload, len);
    if (is_metered(type))
        a->credit -= len < a->credit ? len : a->credit;
    link_send(a->client);
}

void answer_done(struct answer *a)
{
    if (a->over)
        return;
    a->over = true;
    a->exit = (struct wire_exit){.kind = WIRE_EXIT_CODE};
    a->ended(a->arg);
}

void answer_pour(struct answer *a, const char *text, size_t len, size_t *sent)
{
    while (*sent < len) {
        size_t room = answer_room(a), n = len - *sent;

        if (!room)
            return;
        if (n > room)
            n = room;
        if (n > WIRE_CHUNK)
            n = WIRE_CHUNK;
        answer_send(a, WIRE_STDOUT, text + *sent, n);
        *sent += n;
    }
    answer_done(a);
}

void answer_refuse(struct answer *a, const struct err *err)
{
    if (a->over)
        return;
    a->over = true;
    a->exit = (struct wire_exit){.kind = WIRE_EXIT_REFUSED,
                                 .refusal = WIRE_REFUSAL_OTHER,
                                 .value = err->exit_code ? err->exit_code : 1,
                                 .text = xstrdup(err->msg)};
    a->ended(a->arg);
}

/* ---- what needs no file of its own ---- */

static int start_barrier(struct answer *a, struct err *err)
{
    (void)err;
    answer_done(a);
    return 0;
}

/* The record, as much at a time as there is room for. */
struct record_state {
    char *text;
    size_t len, sent;
};

static void send_record(struct answer *a)
{
    struct record_state *r = a->state;

    answer_pour(a, r->text, r->len, &r->sent);
}

static int start_record(struct answer *a, struct err *err)
{
    struct record_state *r;
    char *text = record_load(a->options->run_dir);

    if (!text)
        return err_set(err, 1, "the container has no record: its process was not started yet");
    a->state = r = xcalloc(1, sizeof(*r));
    r->text = text;
    r->len = strlen(text);
    send_record(a);
    return 0;
}

static void clear_record(struct answer *a)
{
    struct record_state *r = a->state;

    if (r)
        free(r->text);
    free(r);
}

static int start_set_record(struct answer *a, struct err *err)
{
    if (record_save(a->options->run_dir, a->ask.text, err) < 0)
        return -1;
    answer_done(a);
    return 0;
}

static const struct answer_kind answer_barrier = {.start = start_barrier};
static const struct answer_kind answer_record = {.start = start_record, .go_on = send_record, .clear = clear_record};
static const struct answer_kind answer_set_record = {.start = start_set_record};

static const struct answer_kind *const kinds[WIRE_ASK_MAX] = {
    [WIRE_ASK_BARRIER] = &answer_barrier,
    [WIRE_ASK_LOGS] = &answer_logs,
    [WIRE_ASK_TOP] = &answer_top,
    [WIRE_ASK_RECORD] = &answer_record,
    [WIRE_ASK_SET_RECORD] = &answer_set_record,
    [WIRE_ASK_STAT] = &answer_stat,
    [WIRE_ASK_READ] = &answer_read,
    [WIRE_ASK_WRITE] = &answer_write,
    [WIRE_ASK_LIST] = &answer_list,
    [WIRE_ASK_LAYER] = &answer_layer,
    [WIRE_ASK_CONFIG] = &answer_config,
    [WIRE_ASK_VOLUME_SAVE] = &answer_volume_save,
    [WIRE_ASK_FORWARD] = &answer_forward,
    [WIRE_ASK_STATS] = &answer_stats,
};

const struct answer_kind *answer_find(uint8_t kind)
{
    return kind < WIRE_ASK_MAX ? kinds[kind] : NULL;
}

/* ---- the session's side ---- */

void answer_start(struct answer *a)
{
    cleanup_err struct err err = ERR_INIT;

    a->credit = WIRE_WINDOW;
    if (a->kind->start(a, &err) < 0)
        answer_refuse(a, &err);
}

void answer_go_on(struct answer *a)
{
    if (!a->over && a->kind->go_on)
        a->kind->go_on(a);
}

static int take_credit(struct answer *a, const struct wire_frame *f, struct err *err)
{
    uint8_t stream;
    uint32_t bytes;

    if (wire_get_credit(f, &stream, &bytes, err) < 0)
        return -1;
    if (stream != WIRE_STREAM_OUTPUT || a->credit + bytes > WIRE_WINDOW)
        return err_set(err, 125, "more CREDIT than was used");
    a->credit += bytes;
    answer_go_on(a);
    return 0;
}

static bool is_tree(uint8_t type)
{
    return type == WIRE_TREE || type == WIRE_TREE_END;
}

static bool is_port(uint8_t type)
{
    return type >= WIRE_PORT_OPEN && type <= WIRE_PORT_CREDIT;
}

int answer_frame(struct answer *a, const struct wire_frame *f, struct err *err)
{
    if (a->over)
        return 0; /* late, not wrong */
    if (f->type == WIRE_CREDIT)
        return take_credit(a, f, err);
    if (a->kind->frame && (a->kind->lasts ? is_port(f->type) : is_tree(f->type)))
        return a->kind->frame(a, f, err);
    return err_set(err, 125, "%s frame out of place", wire_type_name(f->type));
}

void answer_clear(struct answer *a)
{
    if (a->kind && a->kind->clear)
        a->kind->clear(a);
    a->state = NULL;
    wire_ask_clear(&a->ask);
    wire_exit_clear(&a->exit);
}
