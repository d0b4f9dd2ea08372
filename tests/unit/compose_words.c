/* link: atp_compose */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/compose/bind.h"
#include "translate/compose/settle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *read_file(void *arg, const char *path, struct err *err)
{
    (void)path, (void)err;
    return xstrdup(arg);
}

static bool exists(void *arg, const char *path, bool *ret_is_dir)
{
    (void)arg;
    *ret_is_dir = false;
    return strcmp(path, "/w/p/compose.yaml") == 0;
}

static int load(const char *text, struct compose_project *p, struct err *err)
{
    struct strlist environ = STRLIST_INIT;
    struct compose_input in = {
        .cwd = "/w/p", .home = "/root", .environ = &environ, .read = read_file, .exists = exists};

    in.arg = xstrdup(text);
    int r = compose_load(&in, p, err);

    free(in.arg);
    return r;
}

/* Words of service `web` without name, network, and compose's own labels, with "|" between them; or "!error". */
static char *words_of(const char *body)
{
    cleanup_free char *text = xasprintf("services: {web: %s, other: {image: o}}\nx-modal: {timeout: 9}\n"
                                        "volumes: {vol: }\nsecrets: {s: {file: f}, e: {external: true, name: E}}\n",
                                        body);
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    struct compose_project p;
    struct buf out = BUF_INIT(65536);

    if (load(text, &p, &err) == 0 && compose_service_words(&p, "web", 2, &words, &err) == 0) {
        for (size_t i = 0; i < words.len; i++) {
            const char *next = i + 1 < words.len ? words.items[i + 1] : "";

            if (strcmp(words.items[i], "--name") == 0 || strncmp(next, "com.docker.compose.", 19) == 0 ||
                strncmp(next, "name=", 5) == 0 || strcmp(words.items[i], "--x-modal-top") == 0)
                i++;
            else
                buf_addf(&out, "%s%s", out.len ? "|" : "", words.items[i]);
        }
    } else {
        buf_addf(&out, "!%s", err.msg);
    }
    compose_project_clear(&p);
    return buf_detach(&out);
}

static const struct {
    const char *body, *want;
} table[] = {
    {"{image: b}", "--|b"},
    {"{image: b, command: 'a \"b c\"; d'}", "--|b|a|b c"},
    {"{image: b, entrypoint: [x, '-y'], command: [z]}", "--entrypoint|x|--|b|-y|z"},
    {"{image: b, entrypoint: []}", "--entrypoint||--|b"},
    {"{build: .}", "--|p-web"},
    {"{image: b, environment: {A: '', B: , C: 1.50}}", "--env|A=|--env|C=1.5|--|b"},
    {"{image: b, init: false, tty: true, stdin_open: false}", "--init=false|--tty|--|b"},
    {"{image: b, ports: ['80', '[::1]:8080:80/udp', '1.2.3.4::9']}",
     "--publish|80/tcp|--publish|[::1]:8080:80/udp|--publish|1.2.3.4::9/tcp|--|b"},
    {"{image: b, volumes: ['./a:/a:ro', 'vol:/v', '/anon', {type: tmpfs, target: /t, tmpfs: {mode: 511}}]}",
     "--volume|/w/p/a:/a:ro|--volume|p_vol:/v|--volume|/anon|--mount|type=tmpfs,target=/t,tmpfs-mode=777|--|b"},
    {"{image: b, volumes: [{type: bind, source: './a,b', target: /a, read_only: true}]}",
     "--mount|type=bind,\"source=/w/p/a,b\",target=/a,readonly|--|b"},
    {"{image: b, volumes: [{type: volume, source: vol, target: /v, volume: {nocopy: true, subpath: x}}]}",
     "--mount|type=volume,source=p_vol,target=/v,volume-nocopy,volume-subpath=x|--|b"},
    {"{image: b, healthcheck: {test: 'a | b', interval: 1m, retries: 3}}",
     "--health-cmd|a | b|--health-interval|1m0s|--health-retries|3|--|b"},
    {"{image: b, healthcheck: {test: [CMD, a, \"b'c\"]}}", "--health-cmd|exec 'a' 'b'\\''c'|--|b"},
    {"{image: b, healthcheck: {test: [NONE]}}", "--no-healthcheck|--|b"},
    {"{image: b, restart: 'on-failure:3'}", "--restart|on-failure:3|--|b"},
    {"{image: b, restart: always, deploy: {restart_policy: {condition: none}}}", "--restart|no|--|b"},
    {"{image: b, deploy: {resources: {limits: {cpus: '0.5', memory: 1g}}}, cpus: 0.5}",
     "--cpus|0.5|--memory|1073741824|--|b"},
    {"{image: b, stop_grace_period: 1m30s, stop_signal: SIGINT}", "--stop-signal|SIGINT|--stop-timeout|90|--|b"},
    {"{image: b, labels: {modal.gpu: T4}, x-modal: {cpu: 2, sync: {exclude: [a, b]}}}",
     "--label|modal.gpu=T4|--x-modal|cpu=2|--x-modal|sync.exclude=a\nb\n|--|b"},
    {"{image: b, secrets: [s, e], x-modal: {secrets: [own]}}",
     "--mount|type=bind,source=/w/p/f,target=/run/secrets/s,readonly|--x-modal|secrets=E\nown\n|--|b"},
    {"{image: b, gpus: all}", "--gpus|all|--|b"},
    {"{image: b, gpus: all, x-modal: {gpu: H100}}", "--x-modal|gpu=H100|--|b"},
    {"{image: b, network_mode: none}", "--network|none|--|b"},
    {"{image: b, volumes_from: [other:ro]}", "--volumes-from|p-other-1:ro|--|b"},
    {"{image: b, ulimits: {core: 0, nofile: {soft: 1, hard: 2}}}", "--ulimit|core=0:0|--ulimit|nofile=1:2|--|b"},
    {"{image: b, cap_add: [A], privileged: true}", "--cap-add|A|--privileged|--|b"}, /* refused by the options */
    {"{image: b, blkio_config: {weight: 3, device_read_bps: [{path: /dev/a, rate: 12mb}]}}",
     "--blkio-weight|3|--device-read-bps|/dev/a:12582912|--|b"},
    {"{image: b, devices: ['/dev/null', '/dev/a:/dev/b:r']}",
     "--device|/dev/null:/dev/null:rwm|--device|/dev/a:/dev/b:r|--|b"},
    {"{image: b, logging: {driver: local, options: {max-size: 1m}}}", "--log-driver|local|--log-opt|max-size=1m|--|b"},
    {"{image: b, volumes: [{type: image, source: i, target: /i}]}",
     "!service \"web\": a volume of type image is not carried out by atp-docker"},
};

static void words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        cleanup_free char *got = words_of(table[i].body);

        if (strcmp(got, table[i].want) != 0)
            fail_msg("%s:\n%s\nwanted\n%s", table[i].body, got, table[i].want);
    }
}

/* The labels by which containers of a project are found, and the names that others call them by. */
static void identity(void **state)
{
    cleanup_strlist struct strlist list = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    struct compose_project p;

    (void)state;
    assert_int_equal(
        load("services:\n  web: {image: b, depends_on: [db], links: ['db:sql']}\n  db: {image: d}\n", &p, &err), 0);
    assert_int_equal(compose_service_words(&p, "db", 3, &list, &err), 0);
    assert_true(strlist_has(&list, "p-db-3"));
    assert_true(strlist_has(&list, "com.docker.compose.project=p"));
    assert_true(strlist_has(&list, "com.docker.compose.service=db"));
    assert_true(strlist_has(&list, "com.docker.compose.container-number=3"));
    assert_true(strlist_has(&list, "com.docker.compose.project.config_files=/w/p/compose.yaml"));
    assert_true(strlist_has(&list, "name=p_default,alias=p-db-3,alias=db,alias=sql"));
    strlist_clear(&list);
    assert_int_equal(compose_service_words(&p, "web", 1, &list, &err), 0);
    assert_true(strlist_has(&list, "com.docker.compose.depends_on=db:service_started:false"));
    assert_int_equal(compose_service_words(&p, "gone", 1, &list, &err), -1);
    compose_project_clear(&p);
}

static void splits(void **state)
{
    static const struct {
        const char *text, *want; /* "|" between words; NULL: an error */
    } lines[] = {{"", ""},
                 {"a  b", "a|b"},
                 {"a 'b c' \"d e\"", "a|b c|d e"},
                 {"a\\ b", "a b"},
                 {"''", ""},
                 {"a ; b", "a"},
                 {"a $(b c)", "a|$(b c)"},
                 {"a '", NULL},
                 {"a \\", NULL},
                 {"(a)", NULL},
                 {"a'b'c", "abc"},
                 {"'a\\b'", "a\\b"},
                 {"a 2>b", "a"},
                 {"`a b` c", "`a b`|c"}};

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        cleanup_strlist struct strlist list = STRLIST_INIT;
        cleanup_buf struct buf out = BUF_INIT(4096);
        cleanup_err struct err err = ERR_INIT;
        int r = shell_words(lines[i].text, &list, &err);

        assert_int_equal(r, lines[i].want ? 0 : -1);
        for (size_t k = 0; r == 0 && k < list.len; k++)
            buf_addf(&out, "%s%s", k ? "|" : "", list.items[k]);
        if (r == 0)
            assert_string_equal(out.data, lines[i].want);
    }
}

/* What YAML is made of a string, and that a reader gets it back. */
static void yaml_strings(void **state)
{
    static const struct {
        const char *text, *want;
    } strings[] = {{"a", "a\n"},
                   {"", "\"\"\n"},
                   {"a: b", "'a: b'\n"},
                   {"it's", "it's\n"},
                   {"'a'", "'''a'''\n"},
                   {"12", "\"12\"\n"},
                   {"1.5", "\"1.5\"\n"},
                   {"yes", "\"yes\"\n"},
                   {"null", "\"null\"\n"},
                   {"1:30", "\"1:30\"\n"},
                   {"2020-01-02", "\"2020-01-02\"\n"},
                   {"a\nb", "|-\na\nb\n"},
                   {"a\n", "|\na\n"},
                   {"a\n\n", "|+\na\n\n"},
                   {" a\nb", "|2-\n a\nb\n"},
                   {"a \nb", "\"a \\nb\"\n"},
                   {"a\tb", "\"a\\tb\"\n"},
                   {"- a", "'- a'\n"},
                   {"-a", "-a\n"},
                   {"\x01", "\"\\x01\"\n"},
                   {"a #b", "'a #b'\n"},
                   {"\xc3\xa9", "\xc3\xa9\n"}};

    (void)state;
    for (size_t i = 0; i < sizeof(strings) / sizeof(*strings); i++) {
        struct cnode *n = cnode_string(strings[i].text);
        cleanup_buf struct buf out = BUF_INIT(4096);
        cleanup_err struct err err = ERR_INIT;

        assert_int_equal(compose_render_yaml(n, &out, &err), 0);
        assert_string_equal(out.data, strings[i].want);
        cnode_free(n);
    }
}

static void durations(void **state)
{
    static const struct {
        const char *text;
        int64_t ns; /* -1: an error */
    } times[] = {{"0", 0},
                 {"1s", 1000000000},
                 {"1m30s", 90000000000},
                 {"1d", 86400000000000},
                 {"1w", 604800000000000},
                 {"1.5s", 1500000000},
                 {"", -1},
                 {"1", -1},
                 {"s", -1},
                 {".s", -1},
                 {"1x", -1},
                 {"99999999999999999h", -1},
                 {"-", -1}};

    (void)state;
    for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
        cleanup_err struct err err = ERR_INIT;
        int64_t ns = -1;
        int r = compose_duration(times[i].text, &ns, &err);

        if (r != (times[i].ns < 0 ? -1 : 0) || ns != times[i].ns)
            fail_msg("%s: %d %lld", times[i].text, r, (long long)ns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(words), cmocka_unit_test(identity), cmocka_unit_test(splits),
                                       cmocka_unit_test(yaml_strings), cmocka_unit_test(durations)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
