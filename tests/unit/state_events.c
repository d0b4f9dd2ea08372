/* link: atp_state atp_translate atp_docker atp_sys atp_base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/state/events.h"
#include "backends/state/state.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "translate/event_filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[] = "/tmp/atp-events-XXXXXX";
static struct state *s;

static int make(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    s = state_open(dir, NULL, NULL);
    return s ? 0 : -1;
}

static int drop(void **state)
{
    static const char *const names[] = {"state.db", "state.db-wal", "state.db-shm"};

    (void)state;
    state_free(s);
    for (size_t i = 0; i < 3; i++) {
        cleanup_free char *path = xasprintf("%s/%s", dir, names[i]);

        unlink(path);
    }
    return rmdir(dir);
}

static int add(const char *action, int64_t time_ns, const char *once)
{
    const struct state_event e = {.time_ns = time_ns,
                                  .type = (char *)"container",
                                  .action = (char *)action,
                                  .actor = (char *)"abc",
                                  .attributes = (char *)"{}"};

    return state_event_add(s, &e, once, NULL);
}

static size_t listed(int64_t after, int64_t since, char **ret_first)
{
    struct state_event *list = NULL;
    size_t len = 0;

    assert_int_equal(state_event_list(s, after, since, 100000, &list, &len, NULL), 0);
    if (ret_first)
        *ret_first = len ? xstrdup(list[0].action) : NULL;
    for (size_t i = 0; i < len; i++)
        state_event_clear(&list[i]);
    free(list);
    return len;
}

static void once_is_once(void **state)
{
    cleanup_free char *first = NULL;
    int64_t last = 0;

    (void)state;
    assert_int_equal(add("start", 10, "start abc"), 1);
    assert_int_equal(add("start", 11, "start abc"), 0);
    assert_int_equal(add("kill", 12, NULL), 1);
    assert_int_equal(add("kill", 13, NULL), 1);
    assert_int_equal(state_event_has(s, "start abc", NULL), 1);
    assert_int_equal(state_event_has(s, "die abc", NULL), 0);
    assert_int_equal(listed(0, 0, NULL), 3);
    assert_int_equal(listed(0, 12, &first), 2);
    assert_string_equal(first, "kill");
    assert_int_equal(state_event_last(s, &last, NULL), 0);
    assert_int_equal(listed(last, 0, NULL), 0);
}

static void the_oldest_go(void **state)
{
    (void)state;
    for (int i = 0; i < STATE_EVENTS_MAX + 200; i++)
        assert_int_equal(add("tick", 100 + i, NULL), 1);
    assert_in_range(listed(0, 0, NULL), STATE_EVENTS_MAX, STATE_EVENTS_MAX + 64);
}

/* ---- what a filter lets pass ---- */

static const struct {
    const char *words[3];
    bool takes;
} filters[] = {
    {{NULL}, true},
    {{"event=start"}, false},
    {{"event=die", "event=start"}, false},
    {{"event=health_status"}, true},
    {{"event=health_status: healthy"}, true},
    {{"container=web"}, true},
    {{"container=we"}, true},
    {{"container=0123"}, true},
    {{"container=other"}, false},
    {{"container=other", "container=web"}, true},
    {{"container=web", "type=image"}, false},
    {{"label=a"}, true},
    {{"label=a=b"}, true},
    {{"label=a=c"}, false},
    {{"label=a", "label=missing"}, false},
    {{"image=busybox:1"}, true},
    {{"image=busybox"}, true},
    {{"image=busy"}, false},
    {{"scope=local"}, true},
    {{"scope=swarm"}, false},
    {{" Event = health_status"}, true},
};

static void filter_rows(void **state)
{
    json_auto_t *map = json_pack("{s:s, s:s, s:s}", "a", "b", "image", "busybox:1", "name", "web");
    const struct event_shown e = {.time_ns = 1795289682965583980,
                                  .type = "container",
                                  .action = "health_status: healthy",
                                  .actor = "0123456789",
                                  .attributes = map};
    cleanup_buf struct buf line = BUF_INIT(4096);

    (void)state;
    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        cleanup_strlist struct strlist words = STRLIST_INIT;
        struct event_filter *f;

        for (size_t w = 0; w < 3 && filters[i].words[w]; w++)
            strlist_add(&words, filters[i].words[w]);
        f = event_filter_new(&words, NULL);
        assert_non_null(f);
        if (event_filter_takes(f, &e) != filters[i].takes)
            fail_msg("filter %s", filters[i].words[0]);
        event_filter_free(f);
    }
    setenv("TZ", "UTC", 1);
    event_line(&e, &line);
    assert_string_equal(line.data, "2026-11-21T19:34:42.965583980Z container health_status: healthy 0123456789 (a=b, "
                                   "image=busybox:1, name=web)\n");
}

static void unknown_key(void **state)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;

    (void)state;
    strlist_add(&words, "nosuch=1");
    assert_null(event_filter_new(&words, &err));
    assert_string_equal(err.msg, "Error response from daemon: invalid filter 'nosuch'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(once_is_once),
        cmocka_unit_test(the_oldest_go),
        cmocka_unit_test(filter_rows),
        cmocka_unit_test(unknown_key),
    };

    return cmocka_run_group_tests(tests, make, drop);
}
