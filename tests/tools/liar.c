/* link: atp_wire atp_base */
/*
 * Frames that an agent might say, for containers whose agent was replaced: `liar WORD...` writes them to stdout, and a
 * shell script in the agent's place says them.
 *
 *     hello | hello=STATE,CODE        STATE: 0 never started, 1 runs, 2 has ended
 *     stdout=TEXT stderr=TEXT         \e and \n in TEXT are escape and newline, here and below
 *     log=NS,TEXT                     a piece of the log on stdout, at this time
 *     exit=CODE | refused=KIND,TEXT | error=KIND,TEXT | beat | started | treeend
 *     big=TYPE,LEN                    a header that promises LEN bytes
 */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "translate/wire/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUT_MAX (8u << 20)

/* \e and \n as the bytes that they stand for; owned by caller. */
static char *bytes_of(const char *text)
{
    char *bytes = xstrdup(text), *to = bytes;

    for (const char *p = text; *p; p++) {
        bool escaped = *p == '\\' && (p[1] == 'e' || p[1] == 'n');

        *to++ = !escaped ? *p : p[1] == 'e' ? '\033' : '\n';
        p += escaped;
    }
    *to = '\0';
    return bytes;
}

static void put_hello(struct buf *b, const char *value)
{
    struct wire_hello h = {.oldest = WIRE_VERSION,
                           .newest = WIRE_VERSION,
                           .main_state = WIRE_MAIN_RUNNING,
                           .program = (char *)"liar",
                           .machine = (char *)""};
    char *end = NULL;

    if (*value) {
        h.main_state = (uint8_t)strtol(value, &end, 10);
        h.main_code = *end ? (int32_t)strtoll(end + 1, NULL, 10) : 0;
    }
    wire_put_hello(b, &h);
}

static void put_ending(struct buf *b, bool refused, long number, const char *text)
{
    cleanup_free char *bytes = bytes_of(text);
    struct wire_exit e = {.kind = refused ? WIRE_EXIT_REFUSED : WIRE_EXIT_CODE,
                          .refusal = refused ? (uint8_t)number : 0,
                          .value = refused ? 126 : (int32_t)number,
                          .text = bytes};

    wire_put_exit(b, &e);
}

/* One word of the command line; -1: it is none of those above. */
static int say(struct buf *b, const char *word)
{
    cleanup_free char *key = xstrndup(word, strcspn(word, "="));
    const char *value = word[strlen(key)] ? word + strlen(key) + 1 : "", *comma = strchr(value, ',');
    cleanup_free char *whole = bytes_of(value), *rest = bytes_of(comma ? comma + 1 : "");
    long long number = strtoll(value, NULL, 10);

    if (!strcmp(key, "hello"))
        put_hello(b, value);
    else if (!strcmp(key, "stdout") || !strcmp(key, "stderr"))
        wire_put(b, !strcmp(key, "stdout") ? WIRE_STDOUT : WIRE_STDERR, whole, strlen(whole));
    else if (!strcmp(key, "log"))
        wire_put_log(b, number, WIRE_STREAM_STDOUT, rest, strlen(rest));
    else if (!strcmp(key, "exit") || !strcmp(key, "refused"))
        put_ending(b, *key == 'r', (long)number, comma ? comma + 1 : "");
    else if (!strcmp(key, "error"))
        wire_put_error(b, (uint8_t)number, rest);
    else if (!strcmp(key, "beat"))
        wire_put(b, WIRE_HEARTBEAT, NULL, 0);
    else if (!strcmp(key, "started"))
        wire_put_started(b, 1);
    else if (!strcmp(key, "treeend"))
        wire_put(b, WIRE_TREE_END, NULL, 0);
    else if (!strcmp(key, "big")) {
        uint32_t len = (uint32_t)strtoul(comma ? comma + 1 : "0", NULL, 10);

        buf_addc(b, (char)number);
        for (int i = 0; i < 4; i++)
            buf_addc(b, (char)(len >> (8 * i)));
    } else
        return -1;
    return 0;
}

int main(int argc, char **argv)
{
    cleanup_buf struct buf b = BUF_INIT(OUT_MAX);

    for (int i = 1; i < argc; i++)
        if (say(&b, argv[i]) < 0) {
            fprintf(stderr, "liar: no such frame: %s\n", argv[i]);
            return 2;
        }
    return fwrite(b.data ? b.data : "", 1, b.len, stdout) == b.len ? 0 : 1;
}
