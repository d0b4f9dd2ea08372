/* link: atp_session atp_bsync atp_tsync atp_wire atp_sys atp_base */
/* Several commands on one mount, in an order that a seed chooses, with kills: see agent_shared.h. */
#include "tests/unit/agent_shared.h"

static unsigned long long seed;

static unsigned rnd(unsigned n)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(seed >> 33) % n;
}

/*
 * A push that a kill cut short may make a conflict of a file that the host goes on changing (session.h): both versions
 * are kept then. It is the one thing that may be said, and only after a kill.
 */
static void assert_notes(const struct cmd *c, unsigned killed)
{
    const char *at = c->notes.data;

    while (at && *at) {
        const char *end = strchr(at, '\n'), *name = strstr(at, "d/host");

        if (!killed || !name || (end && name > end))
            fail_msg("said: %s", at);
        at = end ? end + 1 : NULL;
    }
}

/* What was put aside is the host's own, older: it has no line that the host has not. */
static void assert_nothing_aside(struct place *p)
{
    sh("cd %s; for f in $(find . -path '*conflicts*' -type f); do test ${f##*/} = host; "
       "while read line; do grep -qx \"$line\" %s/d/host; done <$f; done",
       p->keep, p->host);
}

/* Any frame of any command, or the end of one, or a kill. */
static void random_step(struct place *p, unsigned *killed, bool *finished)
{
    struct cmd *c = p->cmds[rnd((unsigned)p->n_cmds)];

    if (c->done && !c->out.len) {
        if (c->error && strstr(c->error, "ended") == NULL)
            fail_msg("%s", c->error);
        assert_notes(c, *killed);
        finished[c->number] |= !c->error;
        cmd_free(c);
    } else if (c->gone && !c->in.len && !c->done) {
        session_lost(c->session, "the agent's session has ended");
        buf_reset(&c->out);
    } else if (rnd(400) == 0) {
        ++*killed;
        if (rnd(2))
            kill(c->agent, SIGKILL);
        else
            cmd_free(c); /* its state may still be stored: as if it had died just after that */
    } else if (rnd(2)) {
        deliver_out(c);
    } else if (!c->done) {
        deliver_in(c);
    }
    loop_step(p->loop, rnd(8) ? 0 : 1);
}

/*
 * Up to six commands on two containers at once; each writes files that nobody else writes, and removes some of them.
 * So there is never a conflict, and when all is quiet the three trees are the same and hold what commands that came to
 * their end have written.
 */
static void walk(struct place *p, unsigned steps)
{
    unsigned n = 0, killed = 0, whole = 0;
    cleanup_free bool *finished = xcalloc(steps + 1, sizeof(*finished));

    sh("cd %s; mkdir d; for i in $(seq 10); do echo $i > d/f$i; done", p->host);
    run(p, 0, "true");
    run(p, 1, "true");
    for (unsigned i = 0; i < steps; i++) {
        unsigned box = rnd(2);

        if (p->n_cmds < 6 && rnd(6) == 0) {
            cleanup_free char *script = xasprintf(
                "echo %u > c%u; echo %u >> d/log%u; rm -f c%u; mkdir -p e%u; mv d/log%u e%u/ 2>/dev/null; true", n, n,
                n, n, n > 3 ? n - 3 : 9999, n % 3, n, n % 3);

            cmd_begin(p, (int)box, script)->held = true;
            p->cmds[p->n_cmds - 1]->number = n++;
        }
        if (rnd(40) == 0)
            sh("cd %s; echo %u > h%u; rm -f h%u; echo %u >> d/host", p->host, i, i, i > 80 ? i - 80 : 9999, i);
        for (unsigned k = 0; k < 12 && p->n_cmds; k++)
            random_step(p, &killed, finished);
    }
    for (size_t i = 0; i < p->n_cmds; i++) /* each may wait for a lock that another one has */
        p->cmds[i]->held = false;
    while (p->n_cmds) {
        struct cmd *c = p->cmds[0];

        UNTIL(p, (c->done || c->gone) && !c->out.len);
        assert_notes(c, killed);
        cmd_free(c);
    }
    for (int i = 0; i < 6; i++)
        run(p, i % 2, "sleep 0.02");
    assert_agree(p, 0);
    assert_agree(p, 1);
    assert_nothing_aside(p);
    sh("cd %s; test $(ls d/f* | wc -l) = 10; for f in e*/log*; do test $(wc -l < $f) = 1; done", p->host);
    for (unsigned i = 0; i < n; i++) {
        cleanup_free char *path = xasprintf("%s/e%u/log%u", p->host, i % 3, i);

        whole += finished[i];
        if (finished[i] && access(path, F_OK) < 0)
            fail_msg("command %u ended well and %s is not there", i, path);
    }
    print_message("%u commands, %u of them to the end, %u killed\n", n, whole, killed);
}

static void test_walk(void **state)
{
    const char *given = getenv("ATP_MODEL_SEED"), *steps = getenv("ATP_MODEL_STEPS");

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct place p;

        seed = (given ? strtoull(given, NULL, 10) : 20261121) + i;
        place_init(&p);
        walk(&p, steps ? (unsigned)strtoul(steps, NULL, 10) : 300);
        place_clear(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk),
    };

    if (geteuid() != 0) {
        print_message("needs root\n");
        return 77;
    }
    signal(SIGPIPE, SIG_IGN);
    cmocka_set_test_filter(getenv("ATP_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
