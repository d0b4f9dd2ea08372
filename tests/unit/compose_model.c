/* link: atp_compose */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
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
    char *copy = xstrdup(text);
    int r;

    in.arg = copy;
    r = compose_load(&in, p, err);
    free(copy);
    return r;
}

/* Texts as docker compose 2.40.3 prints them. */
static const struct {
    const char *file, *want;
} faults[] = {
    {"services: {w: {image: x, labels: {a: [1]}}}",
     "validating /w/p/compose.yaml: services.w.labels.a must be a boolean, null, number or string"},
    {"services: {w: {image: x, ports: [true]}}", "validating /w/p/compose.yaml: services.w.ports.0 must be a number"},
    {"services: {\"a b\": {image: x}}",
     "validating /w/p/compose.yaml: services additional properties 'a b' not allowed"},
    {"services: {w: {image: x, volumes: [{source: a}]}}",
     "service volume services.w.volumes.[0] is missing a mount target"},
    {"services: {w: {image: x, cpu_percent: 101}}",
     "validating /w/p/compose.yaml: services.w.cpu_percent must be a string"},
    {"services: {w: {image: x, pull_policy: sometimes}}",
     "validating /w/p/compose.yaml: services.w.pull_policy 'sometimes' does not match pattern "
     "'always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+'"},
    {"services: {w: {image: x, gpus: some}}", "validating /w/p/compose.yaml: services.w.gpus value must be 'all'"},
    {"services: {w: {image: x, healthcheck: []}}",
     "validating /w/p/compose.yaml: services.w.healthcheck must be a mapping"},
    {"services: {w: }", "validating /w/p/compose.yaml: services.w must be a mapping"},
    {"services: {w: {image: x, deploy: {resources: {limits: {cpu: 1}}}}}",
     "validating /w/p/compose.yaml: services.w.deploy.resources.limits additional properties 'cpu' not allowed"},
    {"services: {w: {image: x, command: {a: b}}}", "validating /w/p/compose.yaml: services.w.command must be a null"},
    {"services: {w: {image: x, ulimits: {nofile: {soft: 1}}}}",
     "validating /w/p/compose.yaml: services.w.ulimits.nofile must be a integer or string"},
    {"services: {w: {image: x, develop: {watch: [{path: a, action: nap}]}}}",
     "validating /w/p/compose.yaml: services.w.develop.watch.0.action value must be one of 'rebuild', 'sync', "
     "'restart', 'sync+restart', 'sync+exec'"},
    {"services: {w: {image: x, ports: [\"a\"]}}", "invalid containerPort: a"},
    {"services: {w: {image: x, ports: [\"80-90:80-81\"]}}",
     "invalid ranges specified for container and host Ports: 80-81 and 80-90"},
    {"services: {w: {image: x, ports: [\"1.2.3:80:80\"]}}", "invalid IP address: 1.2.3"},
    {"services: {w: {image: x, ports: [\"\"]}}", "invalid proto: "},
    {"services: {w: {image: x, devices: [\"a:b:c:d\"]}}", "confusing device mapping, please use long syntax: a:b:c:d"},
    {"services: {w: {image: x, stop_grace_period: soon}}",
     "decoding failed due to the following error(s):\n\n'services[w].stop_grace_period' time: invalid duration "
     "\"soon\""},
    {"services: {w: {image: x, mem_limit: lots}}",
     "decoding failed due to the following error(s):\n\n'services[w].mem_limit' invalid size: 'lots'"},
    {"services: {w: {image: x, extra_hosts: [a]}}",
     "decoding failed due to the following error(s):\n\n'services[w].extra_hosts' invalid additional host, missing IP: "
     "a"},
    {"services: {w: {image: x, environment: [\"A =1\"]}}",
     "decoding failed due to the following error(s):\n\n'services[w].environment' environment variable A  is declared "
     "with a trailing space"},
    {"services: {w: {image: x, command: \"a (\"}}",
     "decoding failed due to the following error(s):\n\n'services[w].command' invalid command line string"},
    {"services: {w: {image: x, volumes: [\"data:/d\"]}}",
     "service \"w\" refers to undefined volume data: invalid compose project"},
    {"services: {w: {image: x, networks: [net]}}",
     "service \"w\" refers to undefined network net: invalid compose project"},
    {"services: {w: {image: x, depends_on: [nobody]}}",
     "service \"w\" depends on undefined service \"nobody\": invalid compose project"},
    {"services: {w: {image: x, secrets: [s]}}", "service \"w\" refers to undefined secret s: invalid compose project"},
    {"services: {w: {command: a}}",
     "service \"w\" has neither an image nor a build context specified: invalid compose project"},
    {"services: {w: {image: x, scale: 2, container_name: one}}",
     "services.scale: can't set container_name and w as container name must be unique: invalid compose project"},
    {"services: {w: {image: x, healthcheck: {test: [a]}}}",
     "healthcheck.test must start either by \"CMD\", \"CMD-SHELL\" or \"NONE\""},
    {"services: {w: {image: x, tmpfs: [/a], volumes: [/a]}}",
     "services.w.volumes[0]: target /a already mounted as services.w.tmpfs[0]"},
    {"services: {w: {image: x, cpus: 1, deploy: {resources: {limits: {cpus: \"2\"}}}}}",
     "services.w: can't set distinct values on 'cpus' and 'deploy.resources.limits.cpus': invalid compose project"},
    {"services: {a: {image: x, depends_on: [b]}, b: {image: x, links: [a]}}", "dependency cycle detected: a -> b -> a"},
    {"services: {a: {image: x, network_mode: \"service:b\"}}",
     "service \"a\" depends on undefined service \"b\": invalid compose project"},
    {"{services: {w: {image: x}}, secrets: {s: {file: a, environment: B}}}",
     "secrets.s: file|environment attributes are mutually exclusive"},
    {"{services: {w: {image: x}}, volumes: {v: {external: true, driver: d}}}",
     "volumes.v: conflicting parameters \"external\" and \"driver\" specified"},
};

static void errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
        cleanup_err struct err err = ERR_INIT;
        struct compose_project p;

        if (load(faults[i].file, &p, &err) == 0)
            fail_msg("%s: no error", faults[i].file);
        if (strcmp(err.msg, faults[i].want) != 0)
            fail_msg("%s:\n%s\nwanted\n%s", faults[i].file, err.msg, faults[i].want);
        compose_project_clear(&p);
    }
}

/* A machine wrote the file: the message has an end, and says how many it leaves out. */
static void many_unknown(void **state)
{
    cleanup_buf struct buf text = BUF_INIT(1 << 20);
    cleanup_free char *name = xasprintf("%0100000d", 7);
    struct compose_project p = {0};
    cleanup_err struct err err = ERR_INIT;

    (void)state;
    buf_addf(&text, "services:\n  w:\n    image: x\n    ? k%s\n    : 1\n", name);
    for (int i = 0; i < 15000; i++)
        buf_addf(&text, "    key%d: 1\n", i);
    assert_int_equal(load(text.data, &p, &err), -1);
    assert_non_null(strstr(err.msg, "services.w additional properties 'k0000"));
    assert_non_null(strstr(err.msg, "'key0', 'key1', "));
    assert_non_null(strstr(err.msg, " more not allowed"));
    assert_in_range(strlen(err.msg), 1000, 20000);
    compose_project_clear(&p);
}

/* One model in both forms: the order of keys, what is left out, and what only JSON has. */
static void forms(void **state)
{
    static const char file[] = "services:\n"
                               "  b10: {image: x, ulimits: {core: 0}, labels: [z=1, a]}\n"
                               "  b9: {build: ., deploy: {replicas: 0}, command: '', x-own: 1.0}\n";
    static const char yaml[] = "name: p\n"
                               "services:\n"
                               "  b9:\n"
                               "    build:\n"
                               "      context: /w/p\n"
                               "      dockerfile: Dockerfile\n"
                               "    command: []\n"
                               "    deploy:\n"
                               "      replicas: 0\n"
                               "    networks:\n"
                               "      default: null\n"
                               "    x-own: 1\n"
                               "  b10:\n"
                               "    image: x\n"
                               "    labels:\n"
                               "      a: \"\"\n"
                               "      z: \"1\"\n"
                               "    networks:\n"
                               "      default: null\n"
                               "    ulimits:\n"
                               "      core:\n"
                               "        soft: 0\n"
                               "        hard: 0\n"
                               "networks:\n"
                               "  default:\n"
                               "    name: p_default\n";
    cleanup_buf struct buf out = BUF_INIT(65536), json = BUF_INIT(65536);
    cleanup_err struct err err = ERR_INIT;
    struct compose_project p;

    (void)state;
    assert_int_equal(load(file, &p, &err), 0);
    assert_int_equal(compose_render_yaml(p.model, &out, &err), 0);
    assert_string_equal(out.data, yaml);
    assert_int_equal(compose_render_json(p.model, &json, &err), 0);
    assert_non_null(strstr(json.data, "\"b10\": {\n      \"command\": null,\n      \"entrypoint\": null,"));
    assert_non_null(strstr(json.data, "\"resources\": {},\n        \"placement\": {}"));
    assert_non_null(strstr(json.data, "\"core\": {}"));
    assert_null(strstr(json.data, "x-own"));
    compose_project_clear(&p);
}

/* What a person is told before anything runs. */
static void report(void **state)
{
    cleanup_err struct err err = ERR_INIT;
    struct compose_finding *list;
    struct compose_project p;
    size_t len, seen = 0;

    (void)state;
    assert_int_equal(
        load("services: {w: {image: x, privileged: true, logging: {driver: local, options: {a: b}}, x-modal: {nope: 1, "
             "timeout: 5}}}",
             &p, &err),
        0);
    assert_int_equal(compose_report(&p, &list, &len, &err), 0);
    for (size_t i = 0; i < len; i++) {
        assert_true(list[i].reason || list[i].verdict == COMPOSE_CARRIED);
        if (!strcmp(list[i].key, "privileged") || !strcmp(list[i].key, "x-modal.nope"))
            seen += list[i].verdict == COMPOSE_REFUSED;
        else if (!strcmp(list[i].key, "logging.options"))
            seen += list[i].verdict == COMPOSE_APPROXIMATED;
        else if (!strcmp(list[i].key, "image") || !strcmp(list[i].key, "logging.driver") ||
                 !strcmp(list[i].key, "x-modal.timeout"))
            seen += list[i].verdict == COMPOSE_CARRIED;
    }
    assert_int_equal(seen, 6);
    compose_findings_free(list, len);
    compose_project_clear(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(errors), cmocka_unit_test(many_unknown),
                                       cmocka_unit_test(forms), cmocka_unit_test(report)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
