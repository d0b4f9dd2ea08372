/* link: atp_translate */
/*
 * Records: what a command line asked for comes back, whatever its bytes; and nothing that a record says is believed
 * before it was looked at.
 */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "translate/record.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define WORDS    40
#define IMAGE_ID "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define CREATED  INT64_C(1700000000123456000)

static const uint8_t random_bytes[INPUT_RANDOM_LEN] = {0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, [31] = 0x7f, [32] = 1};

static const char image_json[] =
    "{\"config\":{\"Entrypoint\":[\"/entry\"],\"Cmd\":[\"cmd\",\"of image\"],\"Env\":[\"PATH=/image/bin\",\"A=image\"],"
    "\"WorkingDir\":\"/srv//x/"
    "\",\"User\":\"65534:65534\",\"StopSignal\":\"SIGINT\",\"Labels\":{\"z\":\"1\",\"a-b\":\"2\","
    "\"a\":\"3\"},\"Volumes\":{\"/data\":{}},\"ExposedPorts\":{\"80/tcp\":{}},\"Healthcheck\":{\"Test\":[\"NONE\"]},"
    "\"Shell\":[\"/bin/bash\",\"-c\"]}}";

static int read_file(const char *path, struct buf *out, struct err *err, void *arg)
{
    (void)arg;
    if (strcmp(path, "labels") == 0)
        return buf_adds(out, "modal.timeout=60\nl=file\n");
    return err_set_errno(err, 0, ENOENT, "reading");
}

/* What `docker create` with these words makes, on an image that says much or nothing. */
static void make(const char *const *words, const char *image, struct container_spec *s, struct process_spec *p)
{
    char *const client[] = {(char[]){"ATP_DOCKER_MODAL_ORPHAN_GRACE=7"}, NULL};
    const struct input in = {
        .cwd = "/w", .home = "/home/me", .environ = client, .read_file = read_file, .random = random_bytes};
    cleanup_with(opt_parsed_freep) struct opt_parsed *opts = NULL;
    cleanup_err struct err err = ERR_INIT;
    struct oci_config config = {0};
    char *argv[WORDS + 1] = {NULL};
    int argc = 0;

    for (; words[argc]; argc++)
        argv[argc] = xstrdup(words[argc]);
    opts = opt_parse(cmd_by_path("run"), argc, argv, &err);
    if (!opts || spec_from_opts(opts, &in, s, &err) < 0 || oci_config_parse(image, strlen(image), &config, &err) < 0 ||
        process_from_spec(s, &config, p, &err) < 0)
        fail_msg("%s", err.msg);
    oci_config_clear(&config);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
}

static void assert_same_list(const struct strlist *a, const struct strlist *b)
{
    assert_int_equal(a->len, b->len);
    for (size_t i = 0; i < a->len; i++)
        assert_string_equal(a->items[i], b->items[i]);
}

static void assert_same_process(const struct process_spec *a, const struct process_spec *b)
{
    assert_same_list(&a->argv, &b->argv);
    assert_same_list(&a->env, &b->env);
    assert_same_list(&a->config.env, &b->config.env);
    assert_same_list(&a->config.labels, &b->config.labels);
    assert_same_list(&a->config.entrypoint, &b->config.entrypoint);
    assert_string_equal(a->workdir, b->workdir);
    assert_string_equal(a->user, b->user);
    assert_string_equal(a->hostname, b->hostname);
    assert_string_equal(a->stop_signal, b->stop_signal);
    assert_int_equal(a->stop_timeout, b->stop_timeout);
    assert_int_equal(a->config.stop_timeout, b->config.stop_timeout);
    assert_int_equal(a->tty, b->tty);
    assert_int_equal(a->open_stdin, b->open_stdin);
}

static void assert_same_mounts(const struct mounts *a, const struct mounts *b)
{
    assert_int_equal(a->len, b->len);
    for (size_t i = 0; i < a->len; i++) {
        assert_string_equal(a->items[i].source, b->items[i].source);
        assert_string_equal(a->items[i].target, b->items[i].target);
        assert_int_equal(a->items[i].type, b->items[i].type);
        assert_int_equal(a->items[i].readonly, b->items[i].readonly);
        assert_int_equal(a->items[i].create_source, b->items[i].create_source);
        assert_int_equal(a->items[i].from_mount, b->items[i].from_mount);
    }
}

static void assert_same_spec(const struct container_spec *a, const struct container_spec *b)
{
    assert_string_equal(a->id, b->id);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->image.text, b->image.text);
    assert_int_equal(a->rm, b->rm);
    assert_int_equal(a->restart, b->restart);
    assert_int_equal(a->restart_max, b->restart_max);
    assert_int_equal(a->milli_cpu, b->milli_cpu);
    assert_int_equal(a->memory_mib, b->memory_mib);
    assert_int_equal(a->nano_cpus, b->nano_cpus);
    assert_int_equal(a->memory_bytes, b->memory_bytes);
    assert_int_equal(a->network == NETWORK_NONE, b->network == NETWORK_NONE);
    assert_same_list(&a->hosts, &b->hosts);
    assert_int_equal(a->networks.len, b->networks.len);
    for (size_t i = 0; i < a->networks.len; i++) {
        assert_string_equal(a->networks.items[i].name, b->networks.items[i].name);
        assert_same_list(&a->networks.items[i].aliases, &b->networks.items[i].aliases);
    }
    assert_int_equal(a->attach_stdin, b->attach_stdin);
    assert_int_equal(a->attach_stderr, b->attach_stderr);
    assert_same_mounts(&a->mounts, &b->mounts);
    for (enum modal_key key = 0; key < MODAL_KEY_MAX; key++) {
        assert_int_equal(a->modal.values[key].source, b->modal.values[key].source);
        assert_int_equal(a->modal.values[key].number, b->modal.values[key].number);
        assert_same_list(&a->modal.values[key].list, &b->modal.values[key].list);
    }
}

/* Encodes, decodes, encodes; returns the text. Owned by caller. */
static char *round_trip(const char *const *words, const char *image)
{
    cleanup_with(spec_clear) struct container_spec s = {0}, s2 = {0};
    cleanup_with(process_clear) struct process_spec p = {0}, p2 = {0};
    cleanup_free char *again = NULL, *image_id = NULL;
    cleanup_err struct err err = ERR_INIT;
    int64_t created = 0;
    char *text;

    make(words, image, &s, &p);
    text = record_encode(&s, &p, IMAGE_ID, CREATED);
    if (record_decode(text, &s2, &p2, &image_id, &created, &err) < 0)
        fail_msg("%s: %s", words[0], err.msg);
    assert_string_equal(image_id, IMAGE_ID);
    assert_true(created == CREATED);
    assert_same_process(&p, &p2);
    assert_same_spec(&s, &s2);
    again = record_encode(&s2, &p2, image_id, created);
    assert_string_equal(text, again);
    return text;
}

static const char *const lines[][WORDS] = {
    {"busybox", "true"},
    {"-d", "--name", "c1", "busybox", "sleep", "infinity"},
    {"-it", "-a", "stdin", "x/y:tag", "sh"},
    {"--rm", "-d", "-v", "/src:/dst", "-v", "./rel:/dst/below:ro,z", "--mount", "type=bind,src=/m,dst=/n,readonly",
     "-w", "/dst/..", "x", "bash", "-lc", "echo 'a b' \"c\""},
    {"--entrypoint", "", "x", "cmd"},
    {"--entrypoint", "/e", "x"},
    {"-e", "A=1", "-e", "A=2", "-e", "EMPTY=", "-e", "PATH=/own", "-e", "HOSTNAME=mine", "-t", "x", "env"},
    {"-e", "B=\xff\xfe\x80", "-e", "NL=a\nb", "-l", "k\xff=v\xff", "-l", "b=",  "-l", "modal.sync.exclude=x,y%",
     "-w", "/dir\xe9",       "-u", "us\xe9r", "x",  "a\xffz",      "",   "%41", "%",  "ok"},
    {"-v", "/s\xe9:/t\xe9", "--mount", "type=bind,src=/\xff,dst=/b,ro", "x", "true"},
    {"-m", "100m", "--cpus", "0.5", "--network", "none", "--platform", "linux/amd64", "x", "true"},
    {"--network", "host", "--restart", "on-failure:3", "--stop-signal", "USR1", "--stop-timeout", "-1", "x", "true"},
    {"--restart", "unless-stopped", "--stop-timeout", "0", "--cidfile", "/tmp/cid", "x", "true"},
    {"--network", "n1", "--network-alias", "web", "--network", "name=n2,alias=b,alias=c", "--add-host", "h:1.2.3.4",
     "--add-host", "six=[::1]", "x", "true"},
    {"-l", "modal.timeout=99", "-l", "modal.region=a,b", "-l", "modal.block_network=yes", "-l", "modal.app=other", "-l",
     "modal.sync.conflict=container", "x", "true"},
    {"--label-file", "labels", "x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "true"},
};

static void test_round_trips(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char *text = round_trip(lines[i], image_json);

        free(text);
        text = round_trip(lines[i], "{}");
        free(text);
    }
}

/* The text at a path of keys, "Config.User"; owned by the root. */
static json_t *at(json_t *root, const char *path)
{
    cleanup_strlist struct strlist keys = STRLIST_INIT;

    strlist_split(&keys, path, '.');
    for (size_t i = 0; i < keys.len; i++)
        root = json_object_get(root, keys.items[i]);
    return root;
}

static void assert_json(json_t *root, const char *path, const char *want)
{
    cleanup_free char *text = json_dumps(at(root, path), JSON_COMPACT | JSON_ENCODE_ANY);

    assert_non_null(text);
    assert_string_equal(text, want);
}

/* The image's words under those of the line, in Docker's shape. */
static void test_shape(void **state)
{
    cleanup_free char *text =
        round_trip((const char *const[]){"-d", "--name", "c1", "-e", "A=line", "-l", "a=line", "-v", "/s:/d:ro",
                                         "--mount", "type=bind,src=/m,dst=/n", "-m", "8m", "x", "run", "it", NULL},
                   image_json);
    json_auto_t *root = json_loads(text, 0, NULL);

    (void)state;
    assert_json(root, "Path", "\"/entry\"");
    assert_json(root, "Args", "[\"run\",\"it\"]");
    assert_json(root, "Name", "\"/c1\"");
    assert_json(root, "Created", "\"2023-11-14T22:13:20.123456Z\"");
    assert_json(root, "State", "null");
    assert_json(root, "Config.Env", "[\"A=line\",\"PATH=/image/bin\"]");
    assert_json(root, "Config.Cmd", "[\"run\",\"it\"]");
    assert_json(root, "Config.Entrypoint", "[\"/entry\"]");
    assert_json(root, "Config.Labels", "{\"a\":\"line\",\"a-b\":\"2\",\"z\":\"1\"}");
    assert_json(root, "Config.Volumes", "{\"/data\":{}}");
    assert_json(root, "Config.WorkingDir", "\"/srv//x/\"");
    assert_json(root, "Config.User", "\"65534:65534\"");
    assert_json(root, "Config.StopSignal", "\"SIGINT\"");
    assert_json(root, "Config.AttachStdout", "false");
    assert_null(at(root, "Config.StopTimeout"));
    assert_json(root, "HostConfig.Binds", "[\"/s:/d:ro\"]");
    assert_json(root, "HostConfig.Mounts", "[{\"Type\":\"bind\",\"Source\":\"/m\",\"Target\":\"/n\"}]");
    assert_json(root, "HostConfig.RestartPolicy", "{\"Name\":\"no\",\"MaximumRetryCount\":0}");
    assert_json(root, "HostConfig.NetworkMode", "\"bridge\"");
    assert_json(root, "HostConfig.Memory", "8388608");
    assert_json(root, "NetworkSettings.Ports", "{}");
    assert_json(json_array_get(at(root, "Mounts"), 0), "Destination", "\"/d\"");
    assert_json(json_array_get(at(root, "Mounts"), 0), "RW", "false");
    assert_json(root, "Atp.Lifetime", "86400");
    assert_json(root, "Atp.Modal.orphan_grace.Source", "\"env\"");
    assert_null(at(root, "Atp.Bytes"));
}

/* Without anything said by anybody. */
static void test_bare_shape(void **state)
{
    cleanup_free char *text = round_trip((const char *const[]){"x", "true", NULL}, "{}");
    json_auto_t *root = json_loads(text, 0, NULL);

    (void)state;
    assert_json(root, "Config.Env", "[]");
    assert_json(root, "Config.Entrypoint", "null");
    assert_json(root, "Config.Volumes", "null");
    assert_json(root, "Config.WorkingDir", "\"\"");
    assert_json(root, "Config.Labels", "{}");
    assert_json(root, "Config.Hostname", "\"abcdef012345\"");
    assert_json(root, "HostConfig.Binds", "null");
    assert_json(root, "NetworkSettings.Ports", "{}");
    assert_json(root, "Mounts", "[]");
    assert_null(at(root, "HostConfig.Mounts"));
    assert_null(at(root, "Config.StopSignal"));
}

/* Shown as Docker shows such bytes, kept beside. */
static void test_bytes(void **state)
{
    cleanup_free char *text = round_trip((const char *const[]){"x", "a\xff%", "\xe2\x82z", NULL}, "{}");
    json_auto_t *root = json_loads(text, 0, NULL);

    (void)state;
    assert_string_equal(json_string_value(json_array_get(at(root, "Config.Cmd"), 0)), "a\xef\xbf\xbd%");
    assert_string_equal(json_string_value(json_array_get(at(root, "Config.Cmd"), 1)), "\xef\xbf\xbd\xef\xbf\xbdz");
    assert_string_equal(json_string_value(json_array_get(json_object_get(at(root, "Atp.Bytes"), "Config.Cmd"), 0)),
                        "a%FF%25");
}

static void test_renamed(void **state)
{
    cleanup_free char *text = round_trip(lines[7], image_json);
    cleanup_free char *renamed = record_renamed(text, "other", NULL), *back = NULL;
    cleanup_err struct err err = ERR_INIT;

    (void)state;
    assert_non_null(strstr(renamed, "\"Name\":\"/other\""));
    assert_string_not_equal(renamed, text);
    back = record_renamed(renamed, "xx", &err);
    assert_int_equal(strlen(back), strlen(renamed) - strlen("other") + strlen("xx"));
    assert_null(record_renamed("{", "x", &err));
    assert_non_null(err.msg);
}

/* A record that is not what record_encode() writes: a line of its own, and nothing in the outputs. */
static const struct {
    const char *path, *value, *message;
} forged[] = {
    {"Id", "\"../../../etc\"", "container record: Id is not 64 hexadecimal digits"},
    {"Id", "3", "container record: Id is not a string"},
    {"Name", "\"/../x\"", "container record: Name is not a name"},
    {"Name", "\"x1\"", "container record: Name is not a name"},
    {"Image", "\"sha256:12\"", "container record: Image is not the id of an image"},
    {"Created", "\"yesterday\"", "container record: Created is not a time"},
    {"Created", "\"2023-02-29T00:00:00Z\"", "container record: Created is not a time"},
    {"Config", "[]", "container record: Config is not an object"},
    {"HostConfig", "null", "container record: HostConfig is not an object"},
    {"Config.Env", "{}", "container record: Config.Env is not a list"},
    {"Config.Env", "[1]", "container record: Config.Env is not a list of strings"},
    {"Config.Labels", "{\"a\":1}", "container record: Labels is not an object of strings"},
    {"Config.Healthcheck", "1", "container record: Healthcheck is not an object"},
    {"Config.Tty", "1", "container record: Tty is not true or false"},
    {"Config.StopTimeout", "99999999999", "container record: StopTimeout is not within its range"},
    {"Config.Entrypoint", "[]", NULL},
    {"HostConfig.NetworkMode", "\"container:x\"", "container record: there is no network mode of this name"},
    {"HostConfig.RestartPolicy", "{\"Name\":\"often\"}", "container record: there is no restart policy of this name"},
    {"HostConfig.Memory", "-1", "container record: Memory is not within its range"},
    {"Atp", "{}", "container record: it is of version 0, this atp-docker reads version 1"},
    {"Atp.Version", "2", "container record: it is of version 2, this atp-docker reads version 1"},
    {"Atp.Bytes", "{\"Config.User\":\"%4\"}", "container record: Config.User is not well escaped"},
    {"Atp.Bytes", "{\"Config.User\":\"a%00\"}", "container record: Config.User is not well escaped"},
    {"Atp.Bytes", "7", NULL},
    {"Atp.Mounts", "{}", "container record: Mounts is not a list"},
    {"Atp.Mounts", "[7]", "container record: there is no mount of this type"},
    {"Atp.Mounts", "[{\"Type\":\"bind\",\"Source\":\"/a/../b\",\"Target\":\"/t\"}]",
     "container record: the source of a mount is not a clean absolute path"},
    {"Atp.Mounts", "[{\"Type\":\"bind\",\"Source\":\"/a\",\"Target\":\"/\"}]",
     "container record: the target of a mount is not a clean absolute path"},
    {"Atp.Mounts", "[{\"Type\":\"bind\",\"Target\":\"/t\"}]",
     "container record: the source of a mount is not a clean absolute path"},
    {"Atp.Modal", "{\"app\":{\"Value\":\"x\"}}", "container record: Atp.Modal.app is not complete"},
    {"Atp.Modal", "{\"timeout\":{\"Value\":\"0\",\"Source\":\"label\",\"Origin\":\"o\"}}",
     "container record: o: '0' is not whole seconds from 1 to 86400"},
    {"Atp.Resources", "7", "container record: Resources is not an object"},
};

/* The record with another value at one path; owned by caller. */
static char *forge(const char *record, const char *path, const char *value)
{
    json_auto_t *root = json_loads(record, 0, NULL);
    const char *dot = strrchr(path, '.');
    cleanup_free char *parent = xstrndup(path, dot ? (size_t)(dot - path) : 0);

    json_object_set_new(dot ? at(root, parent) : root, dot ? dot + 1 : path, json_loads(value, JSON_DECODE_ANY, NULL));
    return json_dumps(root, JSON_COMPACT);
}

static void test_forged(void **state)
{
    cleanup_free char *text = round_trip(lines[3], image_json);

    (void)state;
    for (size_t i = 0; i < sizeof(forged) / sizeof(forged[0]); i++) {
        cleanup_free char *changed = forge(text, forged[i].path, forged[i].value), *image_id = NULL;
        cleanup_with(spec_clear) struct container_spec s = {0};
        cleanup_with(process_clear) struct process_spec p = {0};
        cleanup_err struct err err = ERR_INIT;
        int64_t created = 0;
        int rc = record_decode(changed, &s, &p, &image_id, &created, &err);

        if (!forged[i].message) {
            assert_int_equal(rc, 0);
            continue;
        }
        if (rc == 0)
            fail_msg("%s = %s was taken", forged[i].path, forged[i].value);
        assert_string_equal(err.msg, forged[i].message);
        assert_null(image_id);
        assert_null(s.name);
    }
}

/* Cut anywhere, and any byte changed: an answer, never a crash (for sanitizers). */
static void test_damaged(void **state)
{
    cleanup_free char *text = round_trip(lines[7], image_json);
    size_t len = strlen(text);

    (void)state;
    for (size_t i = 0; i < len; i++) {
        cleanup_free char *cut = xstrndup(text, i), *changed = xstrdup(text);
        static const char *const bytes = "\"{[0\xff,\\";

        changed[i] = bytes[i % strlen(bytes)];
        for (int round = 0; round < 2; round++) {
            cleanup_with(spec_clear) struct container_spec s = {0};
            cleanup_with(process_clear) struct process_spec p = {0};
            cleanup_free char *image_id = NULL;
            int64_t created = 0;
            int rc = record_decode(round ? changed : cut, &s, &p, &image_id, &created, NULL);

            assert_true(rc == 0 || (rc == -1 && !image_id));
            assert_false(rc == 0 && !round);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_shape),   cmocka_unit_test(test_bare_shape),
        cmocka_unit_test(test_bytes),       cmocka_unit_test(test_renamed), cmocka_unit_test(test_forged),
        cmocka_unit_test(test_damaged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
