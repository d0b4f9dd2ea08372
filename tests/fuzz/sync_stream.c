/*
 * Fuzz target: the parsers of sync that read bytes of the other side. The first byte chooses: a stream, a stream whose
 * records are wrapped into blocks here (so that the fuzzer reaches the records without knowing of blocks), or a
 * manifest. With libFuzzer: clang -fsanitize=fuzzer,address,undefined -I. on this file and those of translate/sync and
 * compat/base, with -lzstd. The unit test sync_stream runs the same target over mutated seeds.
 */
#include "compat/base/err.h"
#include "translate/sync/manifest.h"
#include "translate/sync/stream.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(struct stream_parser *p, const void *bytes, size_t len)
{
    struct err err = ERR_INIT;
    struct stream_event event;

    do {
        if (stream_parse(p, &bytes, &len, &event, &err) < 0)
            break;
        /* What was announced is a valid list whatever came in. */
        for (size_t i = 0; event.type == STREAM_ANNOUNCED && i < stream_ops(p)->entries.len; i++)
            if (!manifest_path_valid(stream_ops(p)->entries.entries[i].path))
                abort();
    } while (event.type != STREAM_MORE);
    err_clear(&err);
}

static void parse_records(const uint8_t *data, size_t size)
{
    static const uint8_t magic[] = {'A', 'T', 'P', 'S', 'Y', 'N', 'C', '1'};
    struct stream_parser *p = stream_parser_new();

    parse(p, magic, sizeof(magic));
    while (size) {
        size_t n = size < 1000 ? size : 1000;
        uint8_t head[8] = {(uint8_t)n, (uint8_t)(n >> 8), 0, 0, (uint8_t)n, (uint8_t)(n >> 8), 0, 0};

        parse(p, head, sizeof(head));
        parse(p, data, n);
        data += n;
        size -= n;
    }
    stream_parser_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manifest m = MANIFEST_INIT;
    struct err err = ERR_INIT;

    if (!size)
        return 0;
    if (data[0] % 3 == 0) {
        struct stream_parser *p = stream_parser_new();

        parse(p, data + 1, size - 1);
        stream_parser_free(p);
    } else if (data[0] % 3 == 1) {
        parse_records(data + 1, size - 1);
    } else {
        if (manifest_decode(data + 1, size - 1, &m, &err) == 0)
            for (size_t i = 0; i < m.len; i++)
                if (!manifest_path_valid(m.entries[i].path) || m.entries[i].group > m.len)
                    abort();
        err_clear(&err);
        manifest_clear(&m);
    }
    return 0;
}
