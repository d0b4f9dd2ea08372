/* link: atp_session atp_btree atp_bsync atp_tsync atp_tree atp_wire atp_sys atp_base */
/* The agent's half of cp: a real session against a client that asks what it likes. */
#include "backends/tree/reader.h"
#include "backends/tree/writer.h"
#include "tests/unit/agent_rig.h"
#include "translate/tree/tree.h"

/* One ask, and what came of it. */
struct ask {
    struct run run;
    struct wire_stat stat;
    bool stat_seen, tree_ended;
    struct buf tree; /* READ: what came; WRITE: what goes */
    size_t sent;
    bool no_credit; /* READ: nothing is ever granted */
};

static void on_tree(void *arg, const void *bytes, size_t len)
{
    struct ask *a = arg;

    assert_int_equal(buf_add(&a->tree, bytes, len), 0);
    if (!a->no_credit)
        session_tree_taken(a->run.session, len);
}

static void on_tree_end(void *arg)
{
    ((struct ask *)arg)->tree_ended = true;
}

static void on_stat(void *arg, const struct wire_frame *f)
{
    struct ask *a = arg;

    a->stat_seen = true;
    assert_int_equal(wire_get_stat(f, &a->stat, NULL), 0);
}

static void on_ready(void *arg)
{
    struct ask *a = arg;

    a->sent += session_tree(a->run.session, a->tree.data + a->sent, a->tree.len - a->sent);
    if (a->sent == a->tree.len)
        session_tree_end(a->run.session);
}

static const struct session_callbacks callbacks = {.out = run_out,
                                                   .out_pending = run_out_pending,
                                                   .output = run_output,
                                                   .tree = on_tree,
                                                   .tree_end = on_tree_end,
                                                   .stat = on_stat,
                                                   .stdin_ready = on_ready,
                                                   .done = run_done};

static struct rig rig;

static void ask_init(struct ask *a)
{
    *a = (struct ask){.tree = BUF_INIT(256u << 20)};
    run_init(&a->run, &rig, NULL);
}

static void ask_clear(struct ask *a)
{
    buf_clear(&a->tree);
    wire_stat_clear(&a->stat);
    run_clear(&a->run);
}

static void ask_begin(struct ask *a, uint8_t kind, uint8_t flags, const char *path)
{
    struct wire_ask ask = {.kind = kind, .flags = flags, .text = (char *)path};
    struct run *r = &a->run;
    int in[2], out[2];

    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    r->agent = rig_spawn(&rig, "session", in[0], out[1]);
    close(in[0]);
    close(out[1]);
    r->to = in[1];
    r->from = out[0];
    fcntl(r->to, F_SETFL, O_NONBLOCK);
    fcntl(r->from, F_SETFL, O_NONBLOCK);
    r->loop = loop_new();
    r->to_io = loop_io_add(r->loop, r->to, 0, run_on_writable, r);
    r->from_io = loop_io_add(r->loop, r->from, POLLIN, run_on_readable, r);
    r->session = session_ask(r->loop, &ask, NULL, 0, &callbacks, a);
}

static void ask_all(struct ask *a, uint8_t kind, uint8_t flags, const char *path)
{
    ask_begin(a, kind, flags, path);
    run_turn(&a->run, RIG_DEADLINE, NULL);
    if (!a->run.done)
        fail_msg("the ask does not end");
    run_finish(&a->run);
}

static int set_up(void **state)
{
    (void)state;
    rig_start(&rig, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

static void shell(const char *line)
{
    cleanup_free char *all = xasprintf("cd %s && { %s; }", rig.dir, line);
    FILE *f = popen(all, "r");

    assert_non_null(f);
    if (pclose(f) != 0)
        fail_msg("not so: %s", line);
}

static char *below(const char *path)
{
    return xasprintf("%s/%s", rig.dir, path);
}

/* STAT of a path below the folder: "type link" or "missing path". */
static void expect_stat(const char *path, uint8_t flags, bool exists, uint8_t type, const char *link)
{
    cleanup_free char *full = path[0] == '/' ? xstrdup(path) : below(path), *want = *link == '/' ? xstrdup(link) : NULL;
    struct ask a;

    ask_init(&a);
    if (*link && !want)
        want = below(link);
    ask_all(&a, WIRE_ASK_STAT, flags, full);
    assert_int_equal(a.run.result.end, SESSION_EXITED);
    assert_true(a.stat_seen);
    if (a.stat.exists != exists || a.stat.type != type || strcmp(a.stat.link, want ? want : ""))
        fail_msg("%s: exists %d, type %d, link %s", path, a.stat.exists, a.stat.type, a.stat.link);
    ask_clear(&a);
}

static void test_stat(void **state)
{
    (void)state;
    shell("mkdir d && echo x >d/f && ln -s d/f l && ln -s d dl && ln -s loop loop && ln -s no/where dang");
    expect_stat("d", 0, true, TREE_DIR, "");
    expect_stat("d/f", 0, true, TREE_FILE, "");
    expect_stat("l", 0, true, TREE_SYMLINK, "d/f");
    expect_stat("l", WIRE_ASK_FOLLOW, true, TREE_FILE, "");
    expect_stat("dl", 0, true, TREE_SYMLINK, "d");
    expect_stat("dl/", 0, true, TREE_DIR, "");
    expect_stat("dl/f", 0, true, TREE_FILE, "");
    expect_stat("dang", 0, true, TREE_SYMLINK, "no/where");
    expect_stat("dang", WIRE_ASK_FOLLOW, false, 0, "");
    expect_stat("d/no", 0, false, 0, "");
    expect_stat("/dev/null", 0, false, 0, "");
    expect_stat("/proc/self/exe", 0, false, 0, "");
    expect_stat("/.atp/run", 0, false, 0, "");
    expect_stat("/", 0, true, TREE_DIR, "");
}

static void test_links_without_end(void **state)
{
    struct ask a;
    cleanup_free char *path = below("loop/x");

    (void)state;
    shell("ln -s loop loop");
    ask_init(&a);
    ask_all(&a, WIRE_ASK_READ, 0, path);
    assert_int_equal(a.run.result.end, SESSION_REFUSED);
    assert_non_null(strstr(a.run.error, "too many links"));
    ask_clear(&a);
}

static void test_there_and_back(void **state)
{
    cleanup_free char *from = below("in"), *to = below("out");
    struct ask out, in;

    (void)state;
    shell("mkdir -p in/sub && head -c 9000000 /dev/urandom >in/big && truncate -s 1G in/sparse && ln -s big in/l"
          " && ln in/big in/sub/hard && chmod 2711 in/sub");
    ask_init(&out);
    ask_init(&in);
    ask_all(&out, WIRE_ASK_READ, 0, from);
    assert_true(out.tree_ended);
    assert_true(out.tree.len < 10u << 20); /* the hole is one */
    buf_add(&in.tree, out.tree.data, out.tree.len);
    ask_all(&in, WIRE_ASK_WRITE, 0, to);
    if (in.run.error)
        fail_msg("%s", in.run.error);
    shell("diff -r --no-dereference in out && [ $(stat -c %a out/sub) = 2711 ] && [ out/big -ef out/sub/hard ]");
    ask_clear(&out);
    ask_clear(&in);
}

/* A reader that takes nothing holds the agent at the window, and is not a lost one. */
static void test_credit_holds(void **state)
{
    cleanup_free char *path = below("big");
    struct ask a;

    (void)state;
    shell("head -c 20000000 /dev/zero | tr '\\0' z >big");
    ask_init(&a);
    a.no_credit = true;
    ask_begin(&a, WIRE_ASK_READ, 0, path);
    run_turn(&a.run, 700, NULL);
    assert_false(a.run.done);
    assert_int_equal(a.tree.len, WIRE_WINDOW);
    run_finish(&a.run);
    ask_clear(&a);
}

/* What the client sends as a tree, to a folder; the text of the refusal. */
static void expect_refused(const char *path, uint8_t flags, void (*make)(struct buf *b), const char *why)
{
    cleanup_free char *full = *path == '/' || flags ? xstrdup(path) : below(path);
    struct ask a;

    ask_init(&a);
    make(&a.tree);
    ask_all(&a, WIRE_ASK_WRITE, flags, full);
    assert_int_equal(a.run.result.end, SESSION_REFUSED);
    if (!strstr(a.run.error, why))
        fail_msg("\"%s\" is not in \"%s\"", why, a.run.error);
    ask_clear(&a);
}

static void head(struct buf *b, uint8_t flags, const char *base)
{
    struct tree_head h = {.flags = flags, .base = base};

    tree_put_head(b, &h);
}

static void put(struct buf *b, uint8_t type, const char *path, const char *link)
{
    struct tree_entry e = {.type = type, .mode = 0755, .path = path, .link = link};

    tree_put_entry(b, &e);
}

static void make_file(struct buf *b)
{
    head(b, 0, "f");
    put(b, TREE_FILE, "", "");
    tree_put_end(b);
}

static void make_dir(struct buf *b)
{
    head(b, 0, "d");
    put(b, TREE_DIR, "", "");
    tree_put_end(b);
}

static void make_loose(struct buf *b)
{
    head(b, TREE_LOOSE, ".");
    tree_put_end(b);
}

static void make_climber(struct buf *b)
{
    head(b, TREE_LOOSE, ".");
    put(b, TREE_FILE, "a/../../x", "");
    tree_put_end(b);
}

static void make_through(struct buf *b)
{
    head(b, TREE_LOOSE, ".");
    put(b, TREE_FILE, "exit/x", "");
    tree_put_end(b);
}

static void make_cut(struct buf *b)
{
    head(b, 0, "f");
    put(b, TREE_DIR, "", "");
}

static void make_garbage(struct buf *b)
{
    for (int i = 0; i < 3000000; i++)
        buf_addc(b, (char)(i * 7));
}

static void test_refused(void **state)
{
    (void)state;
    shell("mkdir to out && ln -s ../out to/exit && echo x >file");
    expect_refused("to", 0, make_climber, "impossible path");
    expect_refused("to", 0, make_through, "writing ");
    expect_refused("to", 0, make_cut, "too early");
    expect_refused("to", 0, make_garbage, "malformed");
    expect_refused("file", 0, make_dir, "cannot copy directory");
    expect_refused("file", 0, make_loose, "must be a directory");
    expect_refused("none/", 0, make_file, "no such directory");
    expect_refused("nosuchuser//tmp", WIRE_ASK_ARCHIVE, make_file, "nosuchuser");
    expect_refused("nouser", WIRE_ASK_ARCHIVE, make_file, "without its user");
    shell("[ -z \"$(ls -A out)\" ] && [ \"$(find . -name '.atp-tmp*')\" = '' ] && [ \"$(cat file)\" = x ]");
}

/* What is not there is said by STAT, and nothing is made. */
static void expect_missing(const char *path, const char *missing)
{
    struct ask a;

    ask_init(&a);
    make_file(&a.tree);
    ask_all(&a, WIRE_ASK_WRITE, 0, path);
    assert_int_equal(a.run.result.end, SESSION_EXITED);
    assert_true(a.stat_seen);
    assert_false(a.stat.exists);
    assert_string_equal(a.stat.path, missing);
    ask_clear(&a);
}

static void test_missing(void **state)
{
    cleanup_free char *no = below("no/such"), *parent = below("no");

    (void)state;
    expect_missing(no, parent);
    expect_missing("/proc/x", "/proc");
    expect_missing("/dev/x", "/dev");
    expect_missing("/.atp/x", "/.atp");
    expect_missing("/.atp", "/");
}

static void test_one_owner(void **state)
{
    cleanup_free char *text = xasprintf("4321:8765/%s/mine", rig.dir);
    struct ask a;

    (void)state;
    if (geteuid() != 0)
        skip();
    ask_init(&a);
    make_dir(&a.tree);
    ask_all(&a, WIRE_ASK_WRITE, WIRE_ASK_ARCHIVE, text);
    if (a.run.error)
        fail_msg("%s", a.run.error);
    shell("[ $(stat -c %u:%g mine) = 4321:8765 ]");
    ask_clear(&a);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_stat),    TEST(test_links_without_end), TEST(test_there_and_back), TEST(test_credit_holds),
        TEST(test_refused), TEST(test_missing),           TEST(test_one_owner),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
