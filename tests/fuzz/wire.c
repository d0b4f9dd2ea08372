/*
 * Fuzz target: the session protocol's decoders, fed as a stream. With clang: -fsanitize=fuzzer,address. The unit test
 * wire_fuzz drives the same function with mutated seeds, so that it runs in every check.
 */
#include "compat/base/err.h"
#include "translate/wire/wire.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void decode_mount_family(const struct wire_frame *f, struct err *err)
{
    struct wire_mount mount;
    struct wire_delta_end end;
    struct wire_pushed pushed;
    struct wire_offer offer;
    struct wire_pull pull;
    bool known;
    const uint8_t *bytes;
    uint16_t index;
    uint64_t generation;
    size_t len;
    char *text;

    if (wire_get_mount(f, &mount, err) == 0)
        wire_mount_clear(&mount);
    if (wire_get_delta(f, &index, &bytes, &len, err) == 0 && bytes + len != f->data + f->len)
        abort();
    wire_get_delta_end(f, &end, err);
    wire_get_pushed(f, &pushed, err);
    wire_get_stale(f, &index, &known, err);
    if (wire_get_offer(f, &offer, err) == 0 && offer.generation <= offer.base)
        abort();
    wire_get_pull(f, &pull, err);
    wire_get_pulled(f, &index, &generation, err);
    if (wire_get_pull_failed(f, &index, &text, err) == 0)
        free(text);
}

static void decode_port_family(const struct wire_frame *f, struct err *err)
{
    const uint8_t *bytes;
    uint32_t id, n;
    uint16_t port;
    size_t len;

    if (wire_get_port_open(f, &id, &port, err) == 0 && !port)
        abort();
    if (wire_get_port_data(f, &id, &bytes, &len, err) == 0 && (bytes + len != f->data + f->len || !len))
        abort();
    wire_get_port_closed(f, &id, &n, err);
    if (wire_get_port_credit(f, &id, &n, err) == 0 && n > WIRE_PORT_WINDOW)
        abort();
    wire_get_port_id(f, &id, err);
}

static void decode_names_family(const struct wire_frame *f, struct err *err)
{
    struct wire_names names;
    struct wire_table table;

    if (wire_get_join(f, &names, err) == 0)
        wire_names_clear(&names);
    if (wire_get_table(f, &table, err) == 0)
        wire_table_clear(&table);
}

static void decode_process_family(const struct wire_frame *f, struct err *err)
{
    struct wire_ask ask;
    struct wire_stat stat;
    struct wire_exit e;
    const uint8_t *bytes;
    int64_t at;
    size_t len;
    uint8_t a, b;
    uint16_t rows, cols;
    uint32_t n;
    int32_t pid;
    char *text;

    if (wire_get_ask(f, &ask, err) == 0)
        wire_ask_clear(&ask);
    if (wire_get_log(f, &at, &a, &bytes, &len, err) == 0 && bytes + len != f->data + f->len)
        abort();
    if (wire_get_stat(f, &stat, err) == 0)
        wire_stat_clear(&stat);
    if (wire_get_exit(f, &e, err) == 0)
        wire_exit_clear(&e);
    if (wire_get_error(f, &a, &text, err) == 0)
        free(text);
    if (wire_get_signal(f, &a, &b, err) == 0 && (!a || a > 64))
        abort();
    if (wire_get_credit(f, &a, &n, err) == 0 && n > WIRE_WINDOW)
        abort();
    wire_get_close(f, &a, err);
    wire_get_resize(f, &rows, &cols, err);
    wire_get_started(f, &pid, err);
}

/* Every decoder sees every frame, whatever its type: they may trust nothing but the bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct wire_start_reader reader = {0};
    struct wire_parser parser;
    struct wire_frame f;
    struct wire_hello hello;
    struct err err = ERR_INIT;

    wire_parser_init(&parser);
    for (size_t at = 0; at < len; at += 4096) {
        if (wire_parser_feed(&parser, bytes + at, len - at < 4096 ? len - at : 4096, &err) < 0)
            break;
        while (wire_parser_next(&parser, &f, &err) > 0) {
            if (wire_get_hello(&f, &hello, &err) == 0)
                wire_hello_clear(&hello);
            decode_mount_family(&f, &err);
            decode_port_family(&f, &err);
            decode_names_family(&f, &err);
            decode_process_family(&f, &err);
            wire_start_read(&reader, &f, &err);
        }
    }
    wire_start_reader_clear(&reader);
    wire_parser_clear(&parser);
    err_clear(&err);
    return 0;
}
