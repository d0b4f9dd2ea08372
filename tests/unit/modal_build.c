/* link: atp_modal atp_grpc atp_proto atp_sys atp_base PkgConfig::JANSSON */
#include "tests/unit/modal_rig.h"

#include "backends/modal/engine_images.h"

#include <jansson.h>

/*
 * Dockerfiles carried out by the engine: what RUN is given, what of it stays in layers and what does not, and what is
 * found again. Needs root and a static busybox; without them, or without the engine's binary beside it, it is skipped.
 */

#define SHELL "SHELL [\"/bin/busybox\", \"sh\", \"-c\"]"

/* One build: what it is given, what it said. */
static struct {
    struct modal_image image;
    struct buf log; /* "1 text", one line each */
    struct err err;
    int result;
} last = {.image = MODAL_IMAGE_INIT, .log = BUF_INIT(8 << 20), .err = ERR_INIT};

static void on_log(void *arg, int fd, const char *text)
{
    (void)arg;
    buf_addf(&last.log, "%d %s%s", fd, text, strchr(text, '\n') ? "" : "\n");
}

struct given {
    const struct modal_mount_file *files;
    size_t files_len;
    const char *const *secrets; /* K=V */
    bool force;
};

static void build_with(const struct given *given, const char *lines)
{
    struct modal_image_spec spec = {.app_id = world.app_id, .base_image_id = world.image.id};
    cleanup_strlist struct strlist env = STRLIST_INIT;
    cleanup_free char *mount = NULL, *secret = NULL;

    modal_image_clear(&last.image);
    buf_reset(&last.log);
    err_clear(&last.err);
    strlist_add(&spec.commands, "FROM base");
    strlist_add(&spec.commands, SHELL);
    strlist_split(&spec.commands, lines, '\n');
    spec.force_build = given && given->force;
    if (given && given->files) {
        assert_int_equal(modal_mount_create(world.c, world.app_id, given->files, given->files_len, &mount, NULL), 0);
        spec.context_mount_id = mount;
    }
    for (size_t i = 0; given && given->secrets && given->secrets[i]; i++)
        strlist_add(&env, given->secrets[i]);
    if (env.len) {
        assert_int_equal(modal_secret_create(world.c, world.app_id, &env, &secret, NULL), 0);
        strlist_add(&spec.secret_ids, secret);
    }
    modal_image_forget(world.c, &spec);
    last.result = modal_image_build(world.c, &spec, on_log, NULL, &last.image, &last.err);
    modal_image_spec_clear(&spec);
}

static void build(const char *lines)
{
    build_with(NULL, lines);
    if (last.result < 0)
        fail_msg("%s: %s\n%s", lines, last.err.msg, last.log.data);
}

static void fails(const char *lines, const char *message)
{
    build_with(NULL, lines);
    assert_int_equal(last.result, -1);
    assert_string_equal(last.err.msg, message);
}

static void said(const char *text)
{
    if (!strstr(last.log.data, text))
        fail_msg("not said: %s\n%s", text, last.log.data);
}

static void not_said(const char *text)
{
    if (strstr(last.log.data, text))
        fail_msg("said: %s\n%s", text, last.log.data);
}

/* How often a text stands in a file below the engine's state. */
static int on_the_disk(const char *text)
{
    cleanup_free char *command = xasprintf("grep -rslF -- '%s' %s/state | wc -l", text, world.dir);
    FILE *p = popen(command, "r");
    int n = -1;

    assert_int_equal(fscanf(p, "%d", &n), 1);
    pclose(p);
    return n;
}

/* ---- RUN ---- */

static void runs_as_asked(void **state)
{
    (void)state;
    need_engine();
    build("ARG WHO=me\nENV A=b\nWORKDIR /deep/down\nUSER 7:8\n"
          "RUN busybox=/bin/busybox; $busybox id; $busybox pwd; echo $A $WHO; echo wrong >&2; $busybox hostname\n"
          "RUN [\"/bin/busybox\", \"echo\", \"no $A shell\"]\nUSER 0\nRUN <<EOF\n"
          "echo here $A\nEOF\nRUN <<EOF\n#!/bin/busybox sh\necho script $0\nEOF");
    said("uid=7 gid=8 groups=8");
    said("/deep/down");
    said("b me");
    said("2 wrong");
    said("buildkitsandbox");
    said("1 no $A shell");
    said("1 here b");
    said("1 script /dev/pipes/EOF");
    said("3 => Step 6: RUN");
    said("3  => [1/6] FROM base\n");
    said("3  => DONE ");
}

static void failures_have_words(void **state)
{
    (void)state;
    need_engine();
    fails("RUN echo before; exit 3",
          "process \"/bin/busybox sh -c echo before; exit 3\" did not complete successfully: exit code: 3");
    said("1 before");
    said("3  => ERROR process ");
    fails("RUN /bin/busybox sh -c 'kill -9 $$'; exit $?",
          "process \"/bin/busybox sh -c /bin/busybox sh -c 'kill -9 $$'; exit $?\" did not complete successfully: exit "
          "code: 137");
    fails("USER nobody\nRUN true", "unable to find user nobody: no matching entries in passwd file");
    fails("RUN --security=insecure true", "RUN --security=insecure is not allowed by this builder");
    fails("RUN --mount=type=secret,id=x,required=true true", "secret x: not found");
    fails("RUN --mount=type=ssh true", "RUN --mount=type=ssh is not supported: this builder reaches no SSH agent");
    fails("COPY --from=base /nothing /x",
          "failed to compute cache key: failed to calculate checksum of the stage or image: \"/nothing\": not found");
}

/* Nothing of what a command is lent stays in its layer. */
static void borrowed_things_go(void **state)
{
    const char *const secrets[] = {"ATP_SECRET_"
                                   "746f6b656e"
                                   "="
                                   "aHVzaC1odXNoLTE5",
                                   "PLAIN=open-sesame-19", NULL};
    const struct given given = {.secrets = secrets};

    (void)state;
    need_engine();
    build_with(&given, "RUN --mount=type=secret,id=token /bin/busybox cat /run/secrets/token; echo $PLAIN | "
                       "/bin/busybox md5sum; /bin/busybox env | /bin/busybox grep -c ATP_SECRET\n"
                       "RUN --mount=type=secret,id=token,env=T --mount=type=tmpfs,target=/some/where "
                       "echo ${#T}; echo x >/some/where/x\n"
                       "RUN /bin/busybox ls / /etc /run /some; echo $T");
    assert_int_equal(last.result, -1); /* grep found none */
    said("1 hush-hush-19");
    build_with(&given, "RUN --mount=type=secret,id=token,env=T --mount=type=tmpfs,target=/some/where "
                       "echo ${#T} >/kept; echo x >/some/where/x\n"
                       "RUN /bin/busybox cat /kept; /bin/busybox ls / /etc; echo \"T=$T\"");
    assert_int_equal(last.result, 0);
    said("1 12");
    said("T=\n");
    not_said("\nsome\n");
    build("RUN --mount=type=tmpfs,target=/etc/x/y true\nFROM base\n" SHELL
          "\nCOPY --from=0 /etc /e\nRUN /bin/busybox ls /e");
    said("small");
    not_said("hosts"); /* of the image there was none, nor resolv.conf */
    not_said("resolv.conf");
    not_said("\nx\n");
    assert_int_equal(on_the_disk("hush-hush-19"), 0);
    assert_int_equal(on_the_disk("aHVzaC1odXNoLTE5"), 0);
    assert_int_equal(on_the_disk("open-sesame-19"), 0);
}

static void caches_stay(void **state)
{
    (void)state;
    need_engine();
    build("RUN --mount=type=cache,target=/c,id=one,uid=3,mode=0700 echo first >/c/f; /bin/busybox stat -c %u:%a /c");
    said("1 3:700");
    build("RUN --mount=type=cache,target=/d,id=one,uid=3,mode=0700 /bin/busybox cat /d/f\n"
          "RUN --mount=type=cache,target=/d,id=two,sharing=locked /bin/busybox ls /d; echo end\n"
          "RUN /bin/busybox ls /");
    said("1 first");
    said("1 end");
    not_said("\nd\n");
}

/* ---- what is found again ---- */

static void steps_are_found_again(void **state)
{
    const struct given force = {.force = true};

    (void)state;
    need_engine();
    build("RUN /bin/busybox date +%s >/when\nRUN echo one");
    not_said("CACHED");
    build("RUN /bin/busybox date +%s >/when\nRUN echo two");
    said("3  => CACHED");
    said("1 two");
    not_said("1 one");
    build_with(&force, "RUN /bin/busybox date +%s >/when\nRUN echo two");
    assert_int_equal(last.result, 0);
    not_said("CACHED");
    build("RUN /bin/busybox date +%s >/when\nRUN echo three"); /* on what was made last */
    said("CACHED");
}

static void contents_count(void **state)
{
    struct modal_mount_file files[] = {
        {.remote = "/a", .data = "A\n", .size = 2, .mode = 0644, .mtime_ns = 1000000000},
        {.remote = "/b", .data = "B\n", .size = 2, .mode = 0644},
    };
    const struct given given = {.files = files, .files_len = 2}, fewer = {.files = files, .files_len = 1};
    const char *lines =
        "COPY a /x/\nRUN --mount=type=bind,source=a,target=/m echo ran; echo time $(/bin/busybox stat -c %Y /x/a).";

    (void)state;
    need_engine();
    build_with(&given, lines);
    assert_int_equal(last.result, 0);
    said("1 ran");
    said("time 1.");
    files[1].data = "C\n"; /* nobody looks at it */
    files[0].mtime_ns = 2000000000;
    build_with(&given, lines);
    said("CACHED");
    not_said("1 ran");
    build_with(&fewer, lines);
    not_said("1 ran");
    files[0].mode = 0600;
    build_with(&given, lines);
    said("1 ran");
    files[0].data = "D\n";
    build_with(&given, lines);
    assert_int_equal(last.result, 0);
    said("1 ran");
}

/* ---- what comes out ---- */

/* Links of an image lead about in the image only. */
static void stays_inside(void **state)
{
    const struct modal_mount_file files[] = {{.remote = "/f", .data = "x\n", .size = 2, .mode = 0644}};
    const struct given given = {.files = files, .files_len = 1};
    cleanup_free char *out = xasprintf("%s/out", world.dir);
    cleanup_free char *lines =
        xasprintf("RUN /bin/busybox ln -s ../../../../../../../..%s /up; /bin/busybox ln -s %s /abs\n"
                  "COPY f /up/1\nCOPY f /abs/2\nCOPY --from=base /etc /up/3/\nWORKDIR /abs/4\n"
                  "RUN /bin/busybox find %s | /bin/busybox sort",
                  out, out, out);

    (void)state;
    need_engine();
    build_with(&given, lines);
    assert_int_equal(last.result, 0);
    said("/out/1\n");
    said("/out/2\n");
    said("/out/3/small\n");
    said("/out/4\n");
    assert_int_equal(access(out, F_OK), -1);
}

/* As many lines of history that made a layer as there are layers, and as many digests. */
static void history_fits(void **state)
{
    struct engine_image described = {0};
    json_t *config, *line;
    size_t layers = 0, i;

    (void)state;
    need_engine();
    build("WORKDIR /w\nWORKDIR /w\nENV A=b\nRUN true\nCOPY --from=base /etc/small /s\nLABEL x=y\nWORKDIR /");
    assert_int_equal(engine_image_describe(world.c, last.image.id, &described, NULL), 1);
    config = json_loads(described.config, 0, NULL);
    json_array_foreach(json_object_get(config, "history"), i, line)
    {
        layers += !json_is_true(json_object_get(line, "empty_layer"));
        assert_non_null(json_string_value(json_object_get(line, "created")));
    }
    assert_int_equal(layers, described.len);
    assert_int_equal(json_array_size(json_object_get(json_object_get(config, "rootfs"), "diff_ids")), layers);
    json_decref(config);
    engine_image_clear(&described);
}

/* A stage that nobody needs is not built; one that is, once. */
static void only_what_is_needed(void **state)
{
    (void)state;
    need_engine();
    build("RUN echo made >/made\nFROM base AS idle\nRUN echo never\nFROM scratch AS two\nCOPY --from=0 /made /two\n"
          "FROM base\n" SHELL "\nCOPY --from=two / /all/\nCOPY --from=0 /made /again\n"
          "RUN /bin/busybox cat /all/two /again | /bin/busybox tr '\\n' +");
    not_said("never");
    said("1 made+made+");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builds_an_image),     cmocka_unit_test(runs_as_asked), cmocka_unit_test(failures_have_words),
        cmocka_unit_test(borrowed_things_go),  cmocka_unit_test(caches_stay),   cmocka_unit_test(steps_are_found_again),
        cmocka_unit_test(contents_count),      cmocka_unit_test(stays_inside),  cmocka_unit_test(history_fits),
        cmocka_unit_test(only_what_is_needed),
    };
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);

    modal_image_clear(&last.image);
    buf_clear(&last.log);
    err_clear(&last.err);
    return failed;
}
