/* link: atp_compose */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/compose/load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Flow style; a letter in front of a scalar says its kind, strings have none. */
static void show(const struct cnode *n, struct buf *out)
{
    static const char *const kinds[] = {"~", "b:", "i:", "f:", ""};

    if (n->kind != CNODE_LIST && n->kind != CNODE_MAP) {
        buf_addf(out, "%s%s", kinds[n->kind], n->text ? n->text : "");
        return;
    }
    buf_addc(out, n->kind == CNODE_LIST ? '[' : '{');
    for (size_t i = 0; i < n->len; i++) {
        if (i)
            buf_addc(out, ' ');
        if (n->kind == CNODE_MAP)
            buf_addf(out, "%s=", n->keys[i]);
        show(n->items[i], out);
    }
    buf_addc(out, n->kind == CNODE_LIST ? ']' : '}');
}

/* All documents, and what is cut. An error is its message. */
static char *read_text(const char *text, size_t len, size_t nodes)
{
    struct yaml_docs docs = YAML_DOCS_INIT;
    cleanup_err struct err err = ERR_INIT;
    struct buf out = BUF_INIT(LIMIT_CONFIG_FILE);

    if (yaml_parse("f.yaml", text, len, &nodes, &docs, &err) < 0)
        return xstrdup(err.msg);
    for (size_t i = 0; i < docs.len; i++) {
        buf_adds(&out, i ? " --- " : "");
        if (docs.items[i].root)
            show(docs.items[i].root, &out);
        for (size_t j = 0; j < docs.items[i].cuts.len; j++)
            buf_addf(&out, " -%s", docs.items[i].cuts.items[j]);
    }
    yaml_docs_clear(&docs);
    return buf_detach(&out);
}

static const struct {
    const char *text, *want;
} table[] = {
    /* scalars: what compose's library takes them for */
    {"[~, null, Null, NULL, '', '~']", "[~ ~ ~ ~  ~]"},
    {"a:", "{a=~}"},
    {"[true, True, TRUE, tRue, yes, On, y]", "[b:true b:true b:true tRue yes On y]"},
    {"[0644, 0o17, 0O17, 0x1F, 0b11, 1_000, +5, -3, -0]", "[i:420 i:15 i:15 i:31 i:3 i:1000 i:5 i:-3 i:0]"},
    {"[08, 1.50, .5, -0.0, 1e3, 1e21, 123456789.0, 0.00001]", "[f:8 f:1.5 f:0.5 f:-0 f:1000 f:1e+21 "
                                                              "f:1.23456789e+08 f:1e-05]"},
    {"[.inf, -.INF, .nan, 0o8, 0x, 1e, 0x0x1, '5', \"5\", 1.2.3]", "[f:+Inf f:-Inf f:NaN 0o8 0x 1e 0x0x1 5 5 1.2.3]"},
    {"[18446744073709551615, -9223372036854775808, 18446744073709551616]",
     "[i:18446744073709551615 i:-9223372036854775808 f:1.8446744073709552e+19]"},
    {"[2024-01-01, !!str 5, !!int '7', !!float 3, !foo 5]", "[2024-01-01 5 i:7 f:3 5]"},
    {"- a #b\n- a#b\n- |\n  x\n  y\n- >-\n  x\n  y\n", "[a a#b x\ny\n x y]"},
    /* anchors, aliases, merge keys */
    {"a: &x {b: 1}\nc: *x\n", "{a={b=i:1} c={b=i:1}}"},
    {"a: &x 1\nb: *x\nc: &x 2\nd: *x\n", "{a=i:1 b=i:1 c=i:2 d=i:2}"},
    {"a: &x {p: 1, q: 2}\nb:\n  q: 3\n  <<: *x\n", "{a={p=i:1 q=i:2} b={q=i:3 p=i:1}}"},
    {"b: {<<: [{p: 1}, {p: 2, q: 3}]}", "{b={p=i:1 q=i:3}}"},
    {"a: &x {p: &y {r: 1}}\nb: {<<: *x, s: *y}", "{a={p={r=i:1}} b={s={r=i:1} p={r=i:1}}}"},
    {"b: {<<: 5}", "yaml: map merge requires map or sequence of maps as the value"},
    {"a: *x", "yaml: unknown anchor 'x' referenced"},
    {"a: &a [*a]", "yaml: anchor 'a' value contains itself"},
    /* what takes away */
    {"a: !reset x\nb: {c: !override [1], d: 2}", "{b={c=[i:1] d=i:2}} -a -b.c"},
    {"b: [1, !reset 2, 3]", "{b=[i:1 i:3]} -b.1"},
    {"x: &x {p: !reset}\ns: {<<: *x, q: 1}", "{x={} s={q=i:1}} -x.p -s.p"},
    {"s: {a.b: !reset 1}", "{s={}} -s.a\1b"},
    {"s: !override {a: !reset 1}", "{s={a=1}} -s"},
    /* documents */
    {"", ""},
    {"# only\n", ""},
    {"\xef\xbb\xbf"
     "a: b\n",
     "{a=b}"},
    {"a: 1\n---\nb: 2\n", "{a=i:1} --- {b=i:2}"},
    {"---\n", "~"},
    /* keys */
    {"a: 1\nb: 2\na: 3\n", "line 3: mapping key \"a\" already defined at line 1"},
    {"s: {w: {a: 1, \"a\": 2}}", "line 1: mapping key \"a\" already defined at line 1"},
    {"s:\n  1: x", "non-string key in s: 1"},
    {"s: [{w: {true: x}}]", "non-string key in s[0].w: true"},
    {"null: x", "non-string key at top level: <nil>"},
    {"? [a]\n: b", "yaml: line 1: a key must be a word, not a list or a map"},
    /* faults */
    {"a: b: c\n", "yaml: mapping values are not allowed in this context"},
    {"s:\n\tw: 1\n", "yaml: line 2: found character that cannot start any token"},
    {"s:\n  w:\n    i: @x\n", "yaml: line 3: found character that cannot start any token"},
    {"s:\n  w:\n    i: a\n   c: x\n", "yaml: line 1: did not find expected key"},
    {"s: [\n", "yaml: line 1: did not find expected node content"},
    {"s: [a\n", "yaml: line 1: did not find expected ',' or ']'"},
    {"s: {a: 1\n", "yaml: line 1: did not find expected ',' or '}'"},
    {"s: \"a\n", "yaml: found unexpected end of stream"},
    {"a: \"\xff\"", "yaml: invalid leading UTF-8 octet"},
    {"a: \"\xed\xa0\x80\"", "yaml: invalid leading UTF-8 octet"},
    {"a: \x01", "yaml: control characters are not allowed"},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cleanup_free char *got = read_text(table[i].text, strlen(table[i].text), LIMIT_COMPOSE_NODES);

        if (strcmp(got, table[i].want) != 0)
            fail_msg("%s\n  want %s\n  got  %s", table[i].text, table[i].want, got);
    }
}

static void test_nul(void **state)
{
    cleanup_free char *got = read_text("a: b\0c\n", 7, LIMIT_COMPOSE_NODES);

    (void)state;
    assert_string_equal(got, "yaml: control characters are not allowed");
}

static void test_places(void **state)
{
    static const char text[] = "services:\n  web:\n    image: b\n    ports:\n      - 80\n";
    struct yaml_docs docs = YAML_DOCS_INIT;
    cleanup_err struct err err = ERR_INIT;
    size_t nodes = 100;
    const struct cnode *port;

    (void)state;
    assert_int_equal(yaml_parse("f.yaml", text, strlen(text), &nodes, &docs, &err), 0);
    port = cnode_path(docs.items[0].root, "services.web.ports")->items[0];
    assert_string_equal(port->file, "f.yaml");
    assert_int_equal(port->line, 5);
    assert_int_equal(port->column, 9);
    assert_int_equal(nodes, 100 - 10); /* keys are values too */
    yaml_docs_clear(&docs);
}

/* Nine levels of nine references, which would be 387 million values. */
static void test_bomb(void **state)
{
    struct buf text = BUF_INIT(LIMIT_CONFIG_FILE);
    cleanup_free char *got = NULL;

    (void)state;
    buf_adds(&text, "a: &a [x,x,x,x,x,x,x,x,x]\n");
    for (char c = 'b'; c <= 'i'; c++) {
        buf_addf(&text, "%c: &%c [", c, c);
        for (int i = 0; i < 9; i++)
            buf_addf(&text, "%s*%c", i ? "," : "", c - 1);
        buf_adds(&text, "]\n");
    }
    got = read_text(text.data, text.len, LIMIT_COMPOSE_NODES);
    assert_string_equal(got, "yaml: document contains excessive aliasing");
    buf_clear(&text);
}

static void test_depth(void **state)
{
    char text[2 * LIMIT_COMPOSE_DEPTH + 50] = "";
    cleanup_free char *fits = NULL, *deep = NULL, *merged = NULL;

    (void)state;
    memset(text, '[', LIMIT_COMPOSE_DEPTH);
    memset(text + LIMIT_COMPOSE_DEPTH, ']', LIMIT_COMPOSE_DEPTH);
    fits = read_text(text, strlen(text), 1000);
    assert_int_equal(strlen(fits), 2 * LIMIT_COMPOSE_DEPTH);
    memset(text, '[', sizeof(text) - 1);
    deep = read_text(text, strlen(text), 1000);
    assert_string_equal(deep, "yaml: exceeded max depth of 100");
    /* an alias makes a tree deeper than the file is */
    memset(text, '\0', sizeof(text));
    memcpy(text, "[&a ", 4);
    memset(text + 4, '[', 60);
    memset(text + 64, ']', 60);
    text[124] = ',';
    memset(text + 125, '[', 40);
    memcpy(text + 165, "*a", 2);
    memset(text + 167, ']', 41);
    merged = read_text(text, strlen(text), 1000);
    assert_string_equal(merged, "yaml: exceeded max depth of 100");
}

static void test_nodes(void **state)
{
    cleanup_free char *fits = read_text("[a, b, c]", 9, 4), *more = read_text("[a, b, c]", 9, 3);
    cleanup_free char *alias = read_text("[&a [b, c], *a]", 15, 6);

    (void)state;
    assert_string_equal(fits, "[a b c]");
    assert_string_equal(more, "yaml: more than 1000000 values");
    assert_string_equal(alias, "yaml: more than 1000000 values");
}

/* Many keys, many anchors, one of them twice: no squares. */
static void test_large(void **state)
{
    struct buf text = BUF_INIT(LIMIT_CONFIG_FILE);
    cleanup_free char *twice = NULL, *fine = NULL;

    (void)state;
    for (int i = 0; i < 50000; i++)
        buf_addf(&text, "k%d: &a%d x\n", i, i);
    fine = read_text(text.data, text.len, LIMIT_COMPOSE_NODES);
    assert_memory_equal(fine, "{k0=x k1=x ", 11);
    buf_adds(&text, "k7: x\n");
    twice = read_text(text.data, text.len, LIMIT_COMPOSE_NODES);
    assert_string_equal(twice, "line 50001: mapping key \"k7\" already defined at line 8");
    buf_clear(&text);
}

/* The functions of node.h on a map that has an index. */
static void test_node(void **state)
{
    struct cnode *map = cnode_new(CNODE_MAP), *copy;

    (void)state;
    for (int i = 0; i < 100; i++) {
        cleanup_free char *key = xasprintf("k%02d", 99 - i);

        cnode_set(map, key, cnode_int(i));
    }
    assert_int_equal(cnode_number(map, "k42", -1), 57);
    cnode_remove(map, "k42");
    assert_null(cnode_get(map, "k42"));
    assert_int_equal(cnode_number(map, "k41", -1), 58);
    cnode_set(map, "k42", cnode_bool(true));
    assert_true(cnode_true(map, "k42"));
    copy = cnode_copy(map);
    cnode_sort(map);
    assert_string_equal(map->keys[0], "k00");
    assert_int_equal(cnode_number(map, "k00", -1), 99);
    assert_true(cnode_same(map, copy));
    cnode_set(copy, "k00", cnode_string("99"));
    assert_false(cnode_same(map, copy));
    cnode_free(map);
    cnode_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_nul),   cmocka_unit_test(test_places),
        cmocka_unit_test(test_bomb),  cmocka_unit_test(test_depth), cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_large), cmocka_unit_test(test_node),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
