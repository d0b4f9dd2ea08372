/* A command that was written as one string, taken apart as docker compose does: no shell runs, nothing is expanded. */
#include "compat/base/buf.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/compose/bind.h"

#include <string.h>

enum quotes { QUOTE_DOUBLE = 1, QUOTE_SINGLE = 2, QUOTE_BACK = 4, QUOTE_DOLLAR = 8 };

struct splitter {
    struct buf word;
    bool have; /* a word has begun: it may be empty */
    bool escaped;
    unsigned open; /* quotes that are */
};

static void end_word(struct splitter *s, struct strlist *ret)
{
    if (!s->have)
        return;
    strlist_add(ret, s->word.data);
    buf_reset(&s->word);
    s->have = false;
}

/* Flips one kind of quotes unless a stronger kind is open. True: the character is taken. */
static bool quote(struct splitter *s, char c)
{
    unsigned which = c == '"' ? QUOTE_DOUBLE : QUOTE_SINGLE;
    unsigned stronger = QUOTE_DOLLAR | (c == '"' ? QUOTE_SINGLE : QUOTE_DOUBLE);

    if (s->open & stronger)
        return false;
    if (s->open & which)
        s->have = true;
    s->open ^= which;
    return true;
}

/* ` ( and ) hold a piece together; they stay in the word. -1: a bare "(". */
static int bracket(struct splitter *s, char c)
{
    unsigned kind = c == '`' ? QUOTE_BACK : QUOTE_DOLLAR;

    if (s->open & (QUOTE_SINGLE | QUOTE_DOUBLE) || s->open & (kind == QUOTE_BACK ? QUOTE_DOLLAR : QUOTE_BACK))
        return 0;
    if (c == '(' && (s->open & QUOTE_DOLLAR || s->word.len == 0 || s->word.data[s->word.len - 1] != '$'))
        return -1;
    s->open ^= kind;
    return 0;
}

/* 1: the command line ends here. */
static int step(struct splitter *s, char c, struct strlist *ret)
{
    if (s->escaped) {
        s->escaped = false;
    } else if (c == '\\' && !(s->open & QUOTE_SINGLE)) {
        s->escaped = true;
        return 0;
    } else if (strchr(" \t\r\n", c)) {
        if (s->open)
            buf_addc(&s->word, c);
        else
            end_word(s, ret);
        return 0;
    } else if ((c == '"' || c == '\'') && quote(s, c)) {
        return 0;
    } else if (strchr("`()", c)) {
        if (bracket(s, c) < 0)
            return -1;
    } else if (strchr(";&|<>", c) && !s->open) {
        if (c == '>' && s->word.len && strchr("0123456789", s->word.data[0]))
            s->have = false;
        return 1;
    }
    s->have = true;
    buf_addc(&s->word, c);
    return 0;
}

int shell_words(const char *text, struct strlist *ret, struct err *err)
{
    struct splitter s = {BUF_INIT(LIMIT_CONFIG_FILE), false, false, 0};
    int r = 0;

    for (const char *p = text; *p && r == 0; p++)
        r = step(&s, *p, ret);
    end_word(&s, ret);
    if (s.escaped || s.open || s.word.overflowed)
        r = -1;
    buf_clear(&s.word);
    if (r >= 0)
        return 0;
    return err_set(err, 0, "invalid command line string");
}
