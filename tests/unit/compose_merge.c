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

static void show(const struct cnode *n, struct buf *out)
{
    if (n->kind != CNODE_LIST && n->kind != CNODE_MAP) {
        buf_adds(out, n->text ? n->text : "~");
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

static struct cnode *parse(const char *text, struct strlist *cuts)
{
    struct yaml_docs docs = YAML_DOCS_INIT;
    cleanup_err struct err err = ERR_INIT;
    size_t nodes = 10000;
    struct cnode *root;

    if (yaml_parse("t", text, strlen(text), &nodes, &docs, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    root = steal(&docs.items[0].root);
    if (cuts)
        strlist_copy(cuts, &docs.items[0].cuts);
    yaml_docs_clear(&docs);
    return root;
}

/* Both are what stands below services.web.<key>, or below the path when it has a dot. */
static const struct {
    const char *path, *base, *over, *want;
} table[] = {
    {"image", "a", "b", "b"},
    {"image", "a", "~", "a"},
    {"deploy", "{replicas: 1, mode: x}", "{replicas: 2}", "{replicas=2 mode=x}"},
    {"ports", "['1:1']", "['2:2']", "[1:1 2:2]"},
    {"ports", "['1:1']", "~", "[1:1]"},
    {"ports", "['1:1']", "{a: b}", "!cannot override services.web.ports"},
    {"deploy", "{a: b}", "[x]", "!cannot override services.web.deploy"},
    {"command", "[a, b]", "c", "c"},
    {"command", "[a, b]", "[c]", "[c]"},
    {"command", "a", "~", "~"},
    {"entrypoint", "[a]", "[]", "[]"},
    {"healthcheck.test", "[CMD, a]", "[CMD, b]", "[CMD b]"},
    {"environment", "{B: 1, A: ~}", "[C=3]", "[A B=1 C=3]"},
    {"environment", "[A=1]", "{A: 2}", "[A=1 A=2]"},
    {"labels", "{l: 1}", "~", "[l=1]"},
    {"annotations", "{a: 1}", "{a: 2}", "[a=1 a=2]"},
    {"dns", "1.1.1.1", "[2.2.2.2]", "[1.1.1.1 2.2.2.2]"},
    {"tmpfs", "/a", "/b", "[/a /b]"},
    {"env_file", "a.env", "[{path: b.env}]", "[a.env {path=b.env}]"},
    {"sysctls", "{a.b: 1}", "[a.b=2]", "[a.b=1 a.b=2]"},
    {"extra_hosts", "['h:1']", "['h:1', 'i:2']", "[h:1 i:2]"},
    {"extra_hosts", "['h:1']", "{h: 1}", "[h:1 h=1]"},
    {"extra_hosts", "{h: [1, 2]}", "{h: 2, i: ~}", "[h=1 h=2 i]"},
    {"build", ".", "{target: t}", "{context=. target=t}"},
    {"build", "{context: a, args: {X: 1}}", "{args: [Y=2]}", "{context=a args=[X=1 Y=2]}"},
    {"build", "{context: a, target: t}", "b", "{context=b target=t}"},
    {"depends_on", "[a]", "{b: {condition: service_healthy}}",
     "{a={condition=service_started required=true} b={condition=service_healthy}}"},
    {"depends_on", "[a]", "{a: {condition: service_healthy}}", "{a={condition=service_healthy required=true}}"},
    {"networks", "[a]", "{a: {aliases: [x]}, b: ~}", "{a={aliases=[x]} b=~}"},
    {"models", "[m]", "[n]", "{m=~ n=~}"},
    {"logging", "{driver: a, options: {x: 1}}", "{driver: b, options: {y: 2}}", "{driver=b options={y=2}}"},
    {"logging", "{driver: a, options: {x: 1}}", "{options: {y: 2}}", "{driver=a options={x=1 y=2}}"},
    {"ulimits", "{n: {soft: 1, hard: 2}, p: 3}", "{n: 5, p: {soft: 1}}", "{n=5 p={soft=1}}"},
    {"ulimits", "{n: {soft: 1, hard: 2}}", "{n: {soft: 3}}", "{n={soft=3}}"},
    {"networks.n.ipam.config", "[{subnet: a}]", "[{subnet: b}, {subnet: a, gateway: g}]",
     "[{subnet=b} {subnet=a gateway=g}]"},
    {"networks.n.ipam.config", "[{subnet: a, gateway: f}]", "[{subnet: a, gateway: g}]", "[{subnet=a gateway=g}]"},
    {"networks.n.labels", "{a: 1}", "[b]", "[a=1 b]"},
    {"volumes.v.labels", "[a]", "{b: 2}", "[a b=2]"},
    {"volumes.v.driver_opts", "{a: 1}", "{a: 2, b: 3}", "{a=2 b=3}"},
};

static char *merged(const char *path, const char *base, const char *over)
{
    cleanup_free char *whole =
        strchr(path, '.') && strncmp(path, "healthcheck", 11) != 0 ? xstrdup(path) : xasprintf("services.web.%s", path);
    cleanup_err struct err err = ERR_INIT;
    struct buf out = BUF_INIT(10000);
    struct cnode *ret;

    if (merge_trees(parse(base, NULL), parse(over, NULL), whole, &ret, &err) < 0)
        return xasprintf("!%s", err.msg);
    show(ret, &out);
    cnode_free(ret);
    return buf_detach(&out);
}

static void test_merge(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cleanup_free char *got = merged(table[i].path, table[i].base, table[i].over);

        if (strcmp(got, table[i].want) != 0)
            fail_msg("%s: %s + %s\n  want %s\n  got  %s", table[i].path, table[i].base, table[i].over, table[i].want,
                     got);
    }
}

/* What services.web.<key> comes to when it is a set. */
static const struct {
    const char *key, *list, *want;
} sets[] = {
    {"environment", "[A=1, B, A=2, B=]", "[A=2 B=]"},
    {"environment", "[1]", "!services.web.environment.[0]: unexpected type int"},
    {"cap_add", "[A, ~]", "!services.web.cap_add.[1]: unexpected type <nil>"},
    {"ports", "['80:80', '81:81', '80:80', 80, '80']", "[80:80 81:81 80]"},
    {"ports", "[{target: 80, published: '8'}, {target: 80, published: '8', protocol: tcp}, {target: 80, published: 8}]",
     "[{target=80 published=8 protocol=tcp} {target=80 published=8}]"},
    {"ports", "[{published: 8}]", "!service ports services.web.ports.[0] is missing a target port"},
    {"volumes", "['src:/foo', 'xx:/bar', 'dst:/foo:ro', /bar]", "[dst:/foo:ro /bar]"},
    {"volumes", "['a:/b', 'c:/b']", "[a:/b c:/b]"}, /* a letter is a drive */
    {"volumes", "[{type: bind, source: x, target: /t}, 'vol:/t']", "[vol:/t]"},
    {"volumes", "[{type: bind}]", "!service volume services.web.volumes.[0] is missing a mount target"},
    {"devices", "['/dev/a:/dev/x', '/dev/b:/dev/x:r', /dev/c]", "[/dev/b:/dev/x:r /dev/c]"},
    {"secrets", "[a, {source: a, target: /run/secrets/a}, {source: b}]",
     "[{source=a target=/run/secrets/a} {source=b}]"},
    {"configs", "[a, {source: b, target: /a}]", "[{source=b target=/a}]"},
    {"expose", "[80, '80', 81]", "[80 81]"},
    {"env_file", "[a, {path: a, required: false}, b]", "[{path=a required=false} b]"},
    {"env_file", "[{required: true}]", "!environment path attribute services.web.env_file.[0] is missing"},
    {"command", "[a, a]", "[a a]"},
    {"dns", "[1.1.1.1, 8.8.8.8, 1.1.1.1]", "[1.1.1.1 8.8.8.8]"},
};

static void test_sets(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        cleanup_free char *text = xasprintf("services: {web: {%s: %s}}", sets[i].key, sets[i].list);
        cleanup_free char *path = xasprintf("services.web.%s", sets[i].key);
        cleanup_err struct err err = ERR_INIT;
        struct cnode *tree = parse(text, NULL);
        struct buf got = BUF_INIT(10000);

        if (unicity_enforce(tree, &err) < 0)
            buf_addf(&got, "!%s", err.msg);
        else
            show(cnode_path(tree, path), &got);
        if (strcmp(got.data, sets[i].want) != 0)
            fail_msg("%s\n  want %s\n  got  %s", text, sets[i].want, got.data);
        buf_clear(&got);
        cnode_free(tree);
    }
}

static const struct {
    const char *over, *want;
} cuts[] = {
    {"{s: {w: {p: !reset []}}}", "{s={w={e={A=1 x.y=2}} v={p=3}} *={a=1}}"},
    {"{s: {w: {e: !override {B: 2}}}}", "{s={w={p=[1 2]} v={p=3}} *={a=1}}"},
    {"{s: {w: {e: {x.y: !reset 1}}}}", "{s={w={p=[1 2] e={A=1}} v={p=3}} *={a=1}}"},
    {"{s: {w: {p: [!reset 1]}}}", "{s={w={p=[1 2] e={A=1 x.y=2}} v={p=3}} *={a=1}}"}, /* items are not taken out */
    {"{s: {'*': {p: !reset}}}", "{s={w={e={A=1 x.y=2}} v={}} *={a=1}}"},
    {"{s: {'*': !reset}}", "{s={} *={a=1}}"},
    {"{none: {w: !reset}}", "{s={w={p=[1 2] e={A=1 x.y=2}} v={p=3}} *={a=1}}"},
    {"{s: {w: {p: {q: !reset}}}}", "{s={w={p=[1 2] e={A=1 x.y=2}} v={p=3}} *={a=1}}"},
};

static void test_cuts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        cleanup_strlist struct strlist list = STRLIST_INIT;
        struct cnode *tree = parse("{s: {w: {p: [1, 2], e: {A: 1, x.y: 2}}, v: {p: 3}}, '*': {a: 1}}", NULL);
        struct cnode *over = parse(cuts[i].over, &list);
        struct buf got = BUF_INIT(10000);

        cuts_apply(&list, tree);
        show(tree, &got);
        if (strcmp(got.data, cuts[i].want) != 0)
            fail_msg("%s\n  want %s\n  got  %s", cuts[i].over, cuts[i].want, got.data);
        buf_clear(&got);
        cnode_free(tree);
        cnode_free(over);
    }
}

static void test_omit_empty(void **state)
{
    struct cnode *tree = parse("services: {w: {dns: [a, '', ~], dns_search: ['']}}", NULL);
    struct buf got = BUF_INIT(1000);

    (void)state;
    omit_empty(tree);
    show(tree, &got);
    assert_string_equal(got.data, "{services={w={dns=[a] dns_search=[]}}}");
    buf_clear(&got);
    cnode_free(tree);
}

static void test_paths(void **state)
{
    static const char *const relative[][3] = {
        {"/a/b", "/a/b", "."},     {"/a/b", "/a/c", "../c"},  {"/a/b", "/a/b/c/d", "c/d"},
        {"/a/b", "/", "../.."},    {"/a/bc", "/a/b", "../b"}, {"/", "/a", "a"},
        {"/a/b/c", "/a", "../.."}, {".", "x/y", "x/y"},       {"/a/./b/", "/a//c", "../c"},
    };
    static const char *const join[][3] = {
        {"a", "b", "a/b"}, {"a", "../b", "b"}, {"", "b", "b"}, {"a", "", "a"}, {"/a", "/b", "/a/b"}, {"", "", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(relative) / sizeof(relative[0]); i++) {
        cleanup_free char *got = path_relative(relative[i][0], relative[i][1]);

        assert_string_equal(got, relative[i][2]);
    }
    for (size_t i = 0; i < sizeof(join) / sizeof(join[0]); i++) {
        cleanup_free char *got = path_join(join[i][0], join[i][1]);

        assert_string_equal(got, join[i][2]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),      cmocka_unit_test(test_sets),  cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_omit_empty), cmocka_unit_test(test_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
