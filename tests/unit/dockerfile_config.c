/* link: atp_dockerfile atp_base */
#include "tests/unit/dockerfile_rig.h"

#include <errno.h>

static json_t *loaded(const char *text)
{
    json_t *j = df_config_load(text, strlen(text), NULL);

    assert_non_null(j);
    return j;
}

static void test_load(void **state)
{
    static const char *const cases[][2] = {
        {"{", "invalid image configuration: string or '}' expected near end of file"},
        {"[]", "invalid image configuration: top has the wrong type"},
        {"{\"config\":[]}", "invalid image configuration: config has the wrong type"},
        {"{\"config\":{\"User\":1}}", "invalid image configuration: User has the wrong type"},
        {"{\"config\":{\"Env\":{}}}", "invalid image configuration: Env has the wrong type"},
        {"{\"config\":{\"Env\":[\"a\",1]}}", "invalid image configuration: Env has the wrong type"},
        {"{\"config\":{\"OnBuild\":\"x\"}}", "invalid image configuration: OnBuild has the wrong type"},
        {"{\"config\":{\"Volumes\":[]}}", "invalid image configuration: Volumes has the wrong type"},
        {"{\"config\":{\"Labels\":{\"a\":1}}}", "invalid image configuration: Labels has the wrong type"},
        {"{\"rootfs\":{\"diff_ids\":[\"sha256:1\"]}}", "invalid image configuration: diff_ids has the wrong type"},
        {"{\"rootfs\":{\"diff_ids\":{}}}", "invalid image configuration: diff_ids has the wrong type"},
        {"{\"rootfs\":[]}", "invalid image configuration: rootfs has the wrong type"},
        {"{\"history\":{}}", "invalid image configuration: history has the wrong type"},
        {"{\"history\":[1]}", "invalid image configuration: history has the wrong type"},
    };
    struct err err = ERR_INIT;
    char deep[1000];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_null(df_config_load(cases[i][0], strlen(cases[i][0]), &err));
        assert_string_equal(err.msg, cases[i][1]);
        assert_int_equal(err.code, EBADMSG);
    }
    memset(deep, '[', sizeof(deep));
    assert_null(df_config_load(deep, sizeof(deep), &err));
    assert_string_equal(err.msg, "invalid image configuration: it is nested too deeply");
    json_decref(loaded("{\"config\":{\"User\":null,\"Cmd\":null,\"Volumes\":null},\"history\":null}"));
    err_clear(&err);
}

/* Members of "config" are put in, replaced and taken out; what nobody knows stays. */
static void test_members(void **state)
{
    json_t *j = loaded("{\"x\":1,\"config\":{\"Y\":[2]}}");
    cleanup_strlist struct strlist l = STRLIST_INIT, got = STRLIST_INIT;
    char *text;

    (void)state;
    strlist_add(&l, "a");
    strlist_add(&l, "b \xff");
    df_config_set(j, "User", "me");
    df_config_set(j, "User", "you");
    df_config_set(j, "WorkingDir", "/");
    df_config_set(j, "WorkingDir", NULL);
    df_config_set_list(j, "Cmd", &l);
    df_config_set_list(j, "Entrypoint", &l);
    df_config_set_list(j, "Entrypoint", NULL);
    df_config_put(j, "Volumes", "/b", NULL);
    df_config_put(j, "Volumes", "/a", NULL);
    df_config_put(j, "Labels", "k", "v");
    df_config_put(j, "Labels", "k", "w");
    df_config_add_history(j, "RUN x", "2020-01-01T00:00:00Z", false);
    df_config_add_history(j, "ENV y", NULL, true);
    assert_string_equal(df_config_get(j, "User"), "you");
    assert_null(df_config_get(j, "WorkingDir"));
    df_config_list(j, "Cmd", &got);
    assert_int_equal(got.len, 2);
    text = df_config_text(j);
    assert_string_equal(text, "{\"config\":{\"User\":\"you\",\"Cmd\":[\"a\",\"b \xef\xbf\xbd\"],"
                              "\"Volumes\":{\"/a\":{},\"/b\":{}},\"Labels\":{\"k\":\"w\"},\"Y\":[2]},"
                              "\"history\":[{\"created\":\"2020-01-01T00:00:00Z\",\"created_by\":\"RUN x\","
                              "\"comment\":\"buildkit.dockerfile.v0\"},{\"created_by\":\"ENV y\","
                              "\"comment\":\"buildkit.dockerfile.v0\",\"empty_layer\":true}],\"x\":1}");
    free(text);
    df_config_freep(&j);
    assert_null(j);
}

static void test_diff_ids(void **state)
{
    json_t *j = loaded("{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":["
                       "\"sha256:0000000000000000000000000000000000000000000000000000000000000000\"]}}");
    cleanup_strlist struct strlist l = STRLIST_INIT;

    (void)state;
    df_config_diff_ids(j, &l);
    assert_int_equal(l.len, 1);
    assert_int_equal(strlen(l.items[0]), 71);
    json_decref(j);
}

/* --change: lines, and the "config" that comes out or the error. */
static void test_changes(void **state)
{
    static const char *const cases[][2] = {
        {"CMD x y", "{\"Cmd\":[\"/bin/sh\",\"-c\",\"x y\"],\"Env\":[\"A=1\"]}"},
        {"cmd [\"x\"]\nENTRYPOINT [\"e\"]", "{\"Cmd\":[\"x\"],\"Entrypoint\":[\"e\"],\"Env\":[\"A=1\"]}"},
        {"ENTRYPOINT [\"e\"]", "{\"Entrypoint\":[\"e\"],\"Env\":[\"A=1\"]}"},
        {"ENV B=$A A=2\nENV C=$A", "{\"Cmd\":[\"old\"],\"Env\":[\"A=2\",\"B=1\",\"C=2\"]}"},
        {"EXPOSE 80 53/udp", "{\"Cmd\":[\"old\"],\"Env\":[\"A=1\"],\"ExposedPorts\":{\"53/udp\":{},\"80/tcp\":{}}}"},
        {"LABEL a=b c=\"d e\"\nUSER u\nWORKDIR /w\nVOLUME /v",
         "{\"Cmd\":[\"old\"],\"Env\":[\"A=1\"],\"Labels\":{\"a\":\"b\",\"c\":\"d e\"},\"User\":\"u\","
         "\"Volumes\":{\"/v\":{}},\"WorkingDir\":\"/w\"}"},
        {"HEALTHCHECK --interval=1s CMD x\nSTOPSIGNAL 9\nONBUILD RUN y",
         "{\"Cmd\":[\"old\"],\"Env\":[\"A=1\"],\"Healthcheck\":{\"Interval\":1000000000,\"Test\":[\"CMD-SHELL\",\"x\"]}"
         ","
         "\"OnBuild\":[\"RUN y\"],\"StopSignal\":\"9\"}"},
        {"RUN x", "error: RUN is not a valid change command"},
        {"SHELL [\"x\"]", "error: SHELL is not a valid change command"},
        {"foo x", "error: foo is not a valid change command"},
        {"USER x\nENV a", "error: ENV must have two arguments"},
        {"EXPOSE x", "error: invalid containerPort: x"},
        {"# x", "error: file with no instructions"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        json_t *j = loaded("{\"config\":{\"Env\":[\"A=1\"],\"Cmd\":[\"old\"]}}"), *before = json_deep_copy(j);
        cleanup_strlist struct strlist lines = STRLIST_INIT;
        cleanup_err struct err err = ERR_INIT;
        char *text;

        strlist_split(&lines, cases[i][0], '\n');
        if (df_config_changes(j, &lines, &err) < 0) {
            text = xasprintf("error: %s", err.msg);
            assert_true(json_equal(j, before));
        } else {
            text = json_dumps(json_object_get(j, "config"), JSON_COMPACT | JSON_SORT_KEYS);
        }
        assert_string_equal(text, cases[i][1]);
        free(text);
        json_decref(j);
        json_decref(before);
    }
}

/* What a build knows besides: labels, numbers of steps, images, arguments that nobody asked for. */
static void test_build(void **state)
{
    static const char file[] =
        "# syntax=docker/dockerfile:1\nARG T=3\nFROM a:$T AS one\nFROM --platform=$BUILDPLATFORM b\n"
        "COPY --from=c:1 x y\nRUN --mount=from=d,target=/x q\nWORKDIR /z\nENV q=r\n"
        "COPY --from=one x y\nCOPY --from=c:1 x y\nFROM scratch\nARG Q\n";
    cleanup_strlist struct strlist lines = STRLIST_INIT, args = STRLIST_INIT, images = STRLIST_INIT;
    bool needed[3];
    struct df_build b;
    char *label;
    size_t at;

    (void)state;
    strlist_split(&args, "T=4 Q=1 FOO=x HTTP_PROXY=y TARGETARCH=z BAR", ' ');
    strlist_add(&lines, file);
    assert_int_equal(df_build_open(&lines, &args, &b, NULL), 0);
    assert_int_equal(b.len, 3);
    assert_string_equal(b.file.syntax, "docker/dockerfile:1");
    assert_string_equal(b.stages[0].base, "a:4");
    assert_string_equal(b.stages[1].platform, "linux/amd64");
    assert_int_equal(b.stages[1].line, 4);
    assert_int_equal(b.unused_args.len, 1);
    assert_string_equal(b.unused_args.items[0], "FOO");
    assert_int_equal(df_stage_steps(&b, 0), 1);
    assert_int_equal(df_stage_steps(&b, 1), 6);
    assert_int_equal(df_stage_steps(&b, 2), 0);
    label = df_stage_label(&b, 1);
    assert_string_equal(label, "stage-1");
    free(label);
    label = df_stage_label(&b, 0);
    assert_string_equal(label, "one");
    free(label);
    assert_int_equal(df_build_target(&b, "1", &at, NULL), 0);
    assert_int_equal(at, 1);
    assert_int_equal(df_build_needed(&b, at, needed, NULL), 0);
    assert_true(needed[0] && needed[1] && !needed[2]);
    assert_int_equal(df_build_images(&b, needed, &images, NULL), 0);
    assert_int_equal(images.len, 4);
    assert_string_equal(images.items[0], "a:4");
    assert_string_equal(images.items[1], "b");
    assert_string_equal(images.items[2], "c:1");
    assert_string_equal(images.items[3], "d");
    df_build_clear(&b);
}

/* An error that belongs to a line has its number for callers. */
static void test_line(void **state)
{
    cleanup_strlist struct strlist lines = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    struct df_build b;

    (void)state;
    strlist_add(&lines, "FROM a\n\nFOO");
    assert_int_equal(df_build_open(&lines, NULL, &b, &err), -1);
    assert_int_equal(err.code, 3);
    assert_int_equal(df_lines("a\nb\0", 4, &lines, &err), -1);
    assert_string_equal(err.msg, "dockerfile parse error on line 2: a NUL byte cannot stand in a Dockerfile");
}

/* More than anybody writes. */
static void test_many(void **state)
{
    static const char *const cases[][3] = {
        {"", "FROM a\n", "dockerfile parse error on line 1001: there are too many stages"},
        {"FROM a\n", "RUN x\n", "dockerfile parse error on line 10001: there are too many instructions"},
    };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct buf text cleanup_buf = BUF_INIT(1u << 20);
        cleanup_strlist struct strlist lines = STRLIST_INIT;
        cleanup_err struct err err = ERR_INIT;
        struct df_build b;

        buf_adds(&text, cases[i][0]);
        for (int n = 0; n < 10000; n++)
            buf_adds(&text, cases[i][1]);
        strlist_add(&lines, text.data);
        assert_int_equal(df_build_open(&lines, NULL, &b, &err), -1);
        assert_string_equal(err.msg, cases[i][2]);
    }
}

/* A line and a file that are too long, here-documents included. */
static void test_long(void **state)
{
    cleanup_strlist struct strlist lines = STRLIST_INIT;
    cleanup_free char *line = xcalloc(1, 65537 + 16), *file = xcalloc(1, (5u << 20) + 1);
    cleanup_err struct err err = ERR_INIT;
    struct df_build b;

    (void)state;
    memset(line, 'x', 65536);
    memset(file, '\n', 5u << 20);
    strlist_add(&lines, "FROM a\nRUN <<E");
    strlist_add(&lines, line);
    strlist_add(&lines, "E");
    assert_int_equal(df_build_open(&lines, NULL, &b, &err), -1);
    assert_string_equal(err.msg, "dockerfile line greater than max allowed size of 65535");
    assert_int_equal(err.code, 3);
    assert_int_equal(df_lines(file, 5u << 20, &lines, &err), -1);
    assert_string_equal(err.msg, "the Dockerfile is larger than 4194304 bytes");
    memcpy(file, "FROM a", 6);
    strlist_add(&lines, file);
    assert_int_equal(df_build_open(&lines, NULL, &b, &err), -1);
}

/* The configuration that ONBUILD comes from; it may be hostile. */
static void test_triggers(void **state)
{
    static const char *const cases[][2] = {
        {"RUN x", ""},
        {"FROM x", "dockerfile parse error on line 1: FROM isn't allowed as an ONBUILD trigger"},
        {"ONBUILD RUN x", "dockerfile parse error on line 1: ONBUILD isn't allowed as an ONBUILD trigger"},
        {"RUN x\\nRUN y", "dockerfile parse error on line 1: onbuild trigger should be a single expression"},
        {"RUN <<E\\nx\\nE", ""},
        {"RUN <<E", "dockerfile parse error on line 1: dockerfile parse error on line 1: unterminated heredoc"},
        {"FOO", "dockerfile parse error on line 1: unknown instruction: FOO (did you mean FROM?)"},
        {"", "dockerfile parse error on line 1: file with no instructions"},
    };
    cleanup_strlist struct strlist lines = STRLIST_INIT;

    (void)state;
    strlist_add(&lines, "FROM a");
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *text = xasprintf("{\"config\":{\"OnBuild\":[\"%s\"]}}", cases[i][0]);
        cleanup_err struct err err = ERR_INIT;
        json_t *config = loaded(text);
        struct df_build b;
        struct df_walk *w;

        assert_int_equal(df_build_open(&lines, NULL, &b, NULL), 0);
        w = df_walk_new(&b, 0, config, &err);
        assert_string_equal(err.msg ? err.msg : "", cases[i][1]);
        assert_int_equal(w != NULL, !*cases[i][1]);
        df_walk_free(w);
        df_build_clear(&b);
        json_decref(config);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),     cmocka_unit_test(test_members), cmocka_unit_test(test_diff_ids),
        cmocka_unit_test(test_changes),  cmocka_unit_test(test_build),   cmocka_unit_test(test_line),
        cmocka_unit_test(test_triggers), cmocka_unit_test(test_many),    cmocka_unit_test(test_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
