/* link: atp_session atp_bsync atp_tsync atp_wire atp_sys atp_base */
#include "tests/unit/agent_rig.h"

/* The health check of the container's process, and its pause. */

#define MS INT64_C(1000000)

/* A main process with a check, or with none; the words of the test end with NULL. */
static void begin_checked(struct run *r, struct rig *rig, const char *script, struct wire_health *check, ...)
{
    va_list ap;
    const char *word;

    va_start(ap, check);
    while ((word = va_arg(ap, const char *)))
        strlist_add(&check->test, word);
    va_end(ap);
    run_init(r, rig, script);
    r->start.main = true;
    r->start.keep = true;
    r->start.health = check;
    run_begin(r, NULL, 0);
    assert_true(run_turn(r, RIG_DEADLINE, is_started));
    wire_health_clear(check);
}

static void end_run(struct run *r)
{
    session_detach(r->session);
    run_finish(r);
    run_clear(r);
}

static void ask_kind(struct run *r, struct rig *rig, const struct wire_ask *ask)
{
    run_init(r, rig, NULL);
    r->ask = ask;
    run_begin(r, NULL, 0);
}

/* One answer, owned by the caller; NULL if it was refused, and then why. */
static char *ask_once(struct rig *rig, uint8_t kind, char **ret_why)
{
    const struct wire_ask ask = {.kind = kind, .signo = kind == WIRE_ASK_STOP ? SIGKILL : 0};
    struct run r;
    char *out;

    ask_kind(&r, rig, &ask);
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_true(r.done);
    run_finish(&r);
    if (ret_why)
        *ret_why = xstrdup(r.error);
    out = r.result.end == SESSION_EXITED ? xstrdup(r.got[1].data) : NULL;
    run_clear(&r);
    return out;
}

/* Asks until the answer holds this text. */
static char *health_until(struct rig *rig, const char *text)
{
    int64_t until = loop_now() + RIG_DEADLINE;

    for (;;) {
        char *line = ask_once(rig, WIRE_ASK_HEALTH, NULL);

        assert_non_null(line);
        if (strstr(line, text))
            return line;
        if (loop_now() > until)
            fail_msg("no %s in: %s", text, line);
        free(line);
        usleep(20000);
    }
}

static void assert_has(const char *line, const char *text)
{
    if (!strstr(line, text))
        fail_msg("no %s in: %s", text, line);
}

static void test_healthy(void **state)
{
    struct wire_health check = {.interval_ns = 50 * MS};
    cleanup_free char *line = NULL;
    struct rig rig;
    struct run r;

    (void)state;
    rig_start(&rig, NULL);
    begin_checked(&r, &rig, "sleep 60", &check, "CMD-SHELL", "printf 'a\"b\\\\\\n\\377'; echo err >&2; pwd; id -u",
                  NULL);
    line = health_until(&rig, "\"healthy\"");
    assert_has(line, "\"FailingStreak\":0");
    assert_has(line, "\"ExitCode\":0,\"Output\":\"");
    assert_has(line, "a\\\"b\\\\\\u000a\\ufffd"); /* which of the two streams comes first is not said */
    assert_has(line, "/\\u000a0\\u000a");
    assert_has(line, "err\\u000a");
    assert_has(line, "{\"Start\":\"20");
    end_run(&r);
    rig_stop(&rig);
}

static long streak_of(const char *line)
{
    const char *at = strstr(line, "\"FailingStreak\":");

    assert_non_null(at);
    return strtol(at + strlen("\"FailingStreak\":"), NULL, 10);
}

/* Starting, while it fails less often than retries; then unhealthy; the last five are kept; then healthy again. */
static void test_streak(void **state)
{
    struct wire_health patient = {.interval_ns = 40 * MS, .retries = 1000};
    struct wire_health check = {.interval_ns = 40 * MS, .retries = 3};
    cleanup_free char *first = NULL, *later = NULL, *well = NULL, *script = NULL;
    struct rig rig;
    struct run r;
    size_t n = 0;

    (void)state;
    rig_start(&rig, NULL);
    begin_checked(&r, &rig, "sleep 60", &patient, "CMD", "sh", "-c", "echo no; exit 7", NULL);
    first = health_until(&rig, "},{");
    assert_has(first, "\"Status\":\"starting\"");
    assert_true(streak_of(first) >= 2);
    end_run(&r);
    rig_stop(&rig);

    rig_start(&rig, NULL);
    script = xasprintf("test -e %s/ok || { echo no; exit 7; }", rig.dir);
    begin_checked(&r, &rig, "sleep 60", &check, "CMD", "sh", "-c", script, NULL);
    free(first);
    first = health_until(&rig, "\"unhealthy\"");
    assert_true(streak_of(first) >= 3);
    assert_has(first, "\"ExitCode\":7,\"Output\":\"no\\u000a\"");
    later = health_until(&rig, "\"Status\"");
    for (int64_t until = loop_now() + RIG_DEADLINE; streak_of(later) < 7 && loop_now() < until;) {
        free(later);
        later = ask_once(&rig, WIRE_ASK_HEALTH, NULL);
    }
    for (const char *at = later; (at = strstr(at, "\"Start\"")); at++)
        n++;
    assert_int_equal(n, 5);
    sh("touch %s/ok", rig.dir);
    well = health_until(&rig, "\"healthy\"");
    assert_has(well, "\"FailingStreak\":0");
    end_run(&r);
    rig_stop(&rig);
}

/* In the start period failures do not count, and start_interval holds. A success ends it. */
static void test_start_period(void **state)
{
    struct wire_health check = {.interval_ns = 3600 * 1000 * MS,
                                .start_period_ns = 3600 * 1000 * MS,
                                .start_interval_ns = 30 * MS,
                                .retries = 1};
    cleanup_free char *line = NULL, *well = NULL, *script = NULL;
    struct rig rig;
    struct run r;

    (void)state;
    rig_start(&rig, NULL);
    script = xasprintf("test -e %s/ok", rig.dir);
    begin_checked(&r, &rig, "sleep 60", &check, "CMD-SHELL", script, NULL);
    line = health_until(&rig, "\"ExitCode\":1,\"Output\":\"\"},{");
    assert_has(line, "\"Status\":\"starting\",\"FailingStreak\":0");
    sh("touch %s/ok", rig.dir);
    well = health_until(&rig, "\"healthy\"");
    sh("rm %s/ok", rig.dir);
    usleep(200000); /* the interval is an hour from now on */
    free(line);
    line = ask_once(&rig, WIRE_ASK_HEALTH, NULL);
    assert_string_equal(line, well);
    end_run(&r);
    rig_stop(&rig);
}

/* What takes too long is killed with all that it started; what cannot be started is a failure as well. */
static void test_timeout(void **state)
{
    struct wire_health check = {.interval_ns = 30 * MS, .timeout_ns = 1500 * MS, .retries = 1};
    struct wire_health missing = {.interval_ns = 30 * MS, .retries = 1};
    cleanup_free char *line = NULL, *script = NULL, *late = NULL;
    struct rig rig;
    struct run r;

    (void)state;
    rig_start(&rig, NULL);
    late = xasprintf("%s/late", rig.dir);
    script = xasprintf("echo began; sh -c 'sleep 3; echo x > %s/late'; echo after", rig.dir);
    begin_checked(&r, &rig, "sleep 60", &check, "CMD-SHELL", script, NULL);
    line = health_until(&rig, "\"unhealthy\"");
    assert_has(line, "\"ExitCode\":-1,\"Output\":\"Health check exceeded timeout (1.5s): began\\u000a\"");
    end_run(&r);
    free(ask_once(&rig, WIRE_ASK_STOP, NULL));
    usleep(2000000);
    assert_false(file_there(late));
    rig_stop(&rig);

    rig_start(&rig, NULL);
    begin_checked(&r, &rig, "sleep 60", &missing, "CMD", "/nosuch", "x", NULL);
    free(line);
    line = health_until(&rig, "\"unhealthy\"");
    assert_has(line, "\"ExitCode\":-1,\"Output\":\"OCI runtime exec failed: exec failed: unable to start container "
                     "process: exec: \\\"/nosuch\\\": ");
    end_run(&r);
    rig_stop(&rig);
}

/* Four KiB are kept; a background child does not hold the probe. */
static void test_output_is_cut(void **state)
{
    struct wire_health check = {.interval_ns = 30 * MS};
    cleanup_free char *line = NULL;
    const char *at;
    struct rig rig;
    struct run r;

    (void)state;
    rig_start(&rig, NULL);
    begin_checked(&r, &rig, "sleep 60", &check, "CMD-SHELL", "sleep 30 & yes | head -c 100000 | tr -d '\\n'; exit 0",
                  NULL);
    line = health_until(&rig, "\"healthy\"");
    at = strstr(line, "\"Output\":\"");
    assert_non_null(at);
    assert_int_equal(strspn(at + 10, "y"), 4096);
    assert_has(at, "y...\"");
    end_run(&r);
    rig_stop(&rig);
}

static void test_none(void **state)
{
    struct wire_health none = {0}, off = {0};
    cleanup_free char *line = NULL, *why = NULL, *out = NULL;
    struct rig rig;
    struct run r;

    (void)state;
    rig_start(&rig, NULL);
    out = ask_once(&rig, WIRE_ASK_HEALTH, &why);
    assert_null(out);
    assert_string_equal(why, "container is not running");
    begin_checked(&r, &rig, "sleep 60", &none, NULL);
    line = ask_once(&rig, WIRE_ASK_HEALTH, NULL);
    assert_string_equal(line, "{\"Status\":\"none\",\"FailingStreak\":0,\"Log\":[]}\n");
    end_run(&r);
    rig_stop(&rig);

    rig_start(&rig, NULL);
    begin_checked(&r, &rig, "sleep 60", &off, "NONE", NULL);
    free(line);
    line = ask_once(&rig, WIRE_ASK_HEALTH, NULL);
    assert_has(line, "\"none\"");
    end_run(&r);
    rig_stop(&rig);
}

static bool says_healthy(struct run *r)
{
    return strstr(r->got[1].data, "\"healthy\"");
}

static bool says_starting_again(struct run *r)
{
    const char *at = strstr(r->got[1].data, "\"healthy\"");

    return at && strstr(at, "\"starting\"");
}

/* Who follows is told each change: healthy, starting after a restart, and the end. */
static void test_follow(void **state)
{
    const struct wire_ask follow = {.kind = WIRE_ASK_HEALTH, .flags = WIRE_ASK_FOLLOW};
    const struct wire_ask again = {.kind = WIRE_ASK_RESTART, .signo = SIGKILL};
    struct wire_health check = {.interval_ns = 50 * MS};
    cleanup_free char *line = NULL;
    struct rig rig;
    struct run r, f, restart;

    (void)state;
    rig_start(&rig, NULL);
    begin_checked(&r, &rig, "sleep 60", &check, "CMD", "true", NULL);
    ask_kind(&f, &rig, &follow);
    assert_true(run_turn(&f, RIG_DEADLINE, says_healthy));
    assert_true(strncmp(f.got[1].data, "{\"Status\":\"", 11) == 0);
    ask_kind(&restart, &rig, &again);
    run_turn(&restart, RIG_DEADLINE, NULL);
    assert_int_equal(restart.result.end, SESSION_EXITED);
    run_finish(&restart);
    run_clear(&restart);
    assert_true(run_turn(&f, RIG_DEADLINE, says_starting_again));
    line = ask_once(&rig, WIRE_ASK_STOP, NULL);
    run_turn(&f, RIG_DEADLINE, NULL);
    assert_int_equal(f.result.end, SESSION_EXITED);
    assert_int_equal(f.result.code, 0);
    run_finish(&f);
    run_clear(&f);
    free(line);
    line = ask_once(&rig, WIRE_ASK_HEALTH, NULL); /* as docker inspect has it of what has ended */
    assert_has(line, "\"unhealthy\"");
    end_run(&r);
    rig_stop(&rig);
}

static struct session_peer peer;

static void on_greeted(void *arg, const struct session_peer *p)
{
    (void)arg;
    peer = *p;
}

/* What HELLO says of the container. */
static void greet(struct rig *rig)
{
    const struct wire_ask ask = {.kind = WIRE_ASK_BARRIER};
    struct session_callbacks callbacks = run_callbacks;
    struct run r;

    callbacks.greeted = on_greeted;
    run_init(&r, rig, NULL);
    r.ask = &ask;
    r.callbacks = &callbacks;
    run_all(&r, NULL, 0);
    run_clear(&r);
}

/* Paused: nothing of it runs, nothing is probed, no exec; a stop wakes it. */
static void test_pause(void **state)
{
    struct wire_health check = {.interval_ns = 50 * MS};
    cleanup_free char *line = NULL, *why = NULL, *count = NULL, *script = NULL, *out = NULL;
    struct stat before, after;
    struct rig rig;
    struct run r, e;

    (void)state;
    rig_start(&rig, NULL);
    count = xasprintf("%s/count", rig.dir);
    script = xasprintf("(while :; do echo x >> %s; sleep 0.01; done) & wait", count);
    begin_checked(&r, &rig, script, &check, "CMD", "true", NULL);
    free(health_until(&rig, "\"healthy\""));
    assert_true(wait_for_file(count));
    out = ask_once(&rig, WIRE_ASK_PAUSE, NULL);
    assert_non_null(out);
    usleep(100000);
    stat(count, &before);
    usleep(200000);
    stat(count, &after);
    assert_true(before.st_size == after.st_size);
    line = ask_once(&rig, WIRE_ASK_HEALTH, NULL);
    assert_has(line, "\"unhealthy\"");
    greet(&rig);
    assert_true(peer.paused && peer.health == WIRE_HEALTH_UNHEALTHY && peer.main_state == WIRE_MAIN_RUNNING);
    assert_true(peer.capabilities & WIRE_CAP_HEALTH && peer.capabilities & WIRE_CAP_FORWARD);
    assert_null(ask_once(&rig, WIRE_ASK_PAUSE, &why));
    assert_string_equal(why, "container is already paused");

    run_init(&e, &rig, "echo no");
    run_all(&e, NULL, 0);
    assert_int_equal(e.result.end, SESSION_REFUSED);
    assert_string_equal(e.error, "container is paused, unpause the container before exec");
    run_clear(&e);

    free(out);
    out = ask_once(&rig, WIRE_ASK_UNPAUSE, NULL);
    assert_non_null(out);
    free(why);
    assert_null(ask_once(&rig, WIRE_ASK_UNPAUSE, &why));
    assert_string_equal(why, "container is not paused");
    free(line);
    line = health_until(&rig, "\"healthy\"");
    stat(count, &after);
    assert_true(before.st_size < after.st_size);
    greet(&rig);
    assert_true(!peer.paused && peer.health == WIRE_HEALTH_HEALTHY);
    rig_expect(&rig, "echo yes", 0, "yes\n", "");

    free(out);
    out = ask_once(&rig, WIRE_ASK_PAUSE, NULL);
    free(line);
    line = ask_once(&rig, WIRE_ASK_STOP, NULL);
    end_run(&r);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_healthy), cmocka_unit_test(test_streak), cmocka_unit_test(test_start_period),
        cmocka_unit_test(test_timeout), cmocka_unit_test(test_none),   cmocka_unit_test(test_output_is_cut),
        cmocka_unit_test(test_follow),  cmocka_unit_test(test_pause),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
