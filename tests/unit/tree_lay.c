/* link: atp_btree atp_tree atp_sys atp_base */
/* cp's two ends on real files: a tree arrives as it left, and a hostile stream harms nothing outside. */
#include "backends/tree/reader.h"
#include "backends/tree/writer.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/beneath.h"
#include "translate/tree/place.h"
#include "translate/tree/tree.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char base[64];

/* A shell line in the test's folder; its output, owned by caller. */
static char *sh(const char *line)
{
    cleanup_free char *all = xasprintf("cd %s && { %s; } 2>&1", base, line);
    cleanup_buf struct buf out = BUF_INIT(1 << 20);
    FILE *f = popen(all, "r");
    char bytes[4096];
    size_t n;

    assert_non_null(f);
    while ((n = fread(bytes, 1, sizeof(bytes), f)) > 0)
        buf_add(&out, bytes, n);
    pclose(f);
    return buf_detach(&out);
}

static void expect(const char *line, const char *want)
{
    cleanup_free char *got = sh(line);

    if (strcmp(got, want))
        fail_msg("%s\n gives %s\n not   %s", line, got, want);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(base, sizeof(base), "/tmp/atp-tree-XXXXXX");
    return mkdtemp(base) ? 0 : -1;
}

static int tear_down(void **state)
{
    cleanup_free char *line = xasprintf("rm -rf --one-file-system %s", base), *out = NULL;

    (void)state;
    out = sh("chmod -R u+rwx . && cd / && true");
    free(out);
    out = NULL;
    FILE *f = popen(line, "r");
    return f ? pclose(f) : -1;
}

/* ---- both ends ---- */

struct goal {
    const char *dir, *name;
    bool set_ids, in_place, fifos, one_owner;
};

static int place(void *arg, const struct tree_head *head, const struct tree_entry *root, struct tree_dest *ret,
                 struct err *err)
{
    const struct goal *g = arg;

    (void)head;
    (void)root;
    ret->shown = strcmp(g->dir, ".") ? xasprintf("%s/%s", base, g->dir) : xstrdup(base);
    ret->dir = open(ret->shown, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ret->dir < 0)
        return err_set(err, 1, "no %s", g->dir);
    ret->name = xstrdup(g->name);
    ret->set_ids = g->set_ids;
    ret->in_place = g->in_place;
    ret->fifos = g->fifos;
    ret->one_owner = g->one_owner;
    ret->uid = ret->gid = 4321;
    ret->owners = geteuid() == 0;
    return 0;
}

/* Lays out the bytes; the error's text, "" if there is none; owned by caller. */
static char *lay(const struct buf *b, const struct goal *g)
{
    struct tree_writer *w = tree_writer_new(place, (void *)g);
    cleanup_err struct err err = ERR_INIT;
    int status = tree_writer_feed(w, b->data, b->len, &err);

    if (status == 0)
        status = tree_writer_finish(w, &err);
    tree_writer_free(w);
    return xstrdup(status < 0 ? err.msg : "");
}

/* Reads dir/name below the folder to its end. */
static char *take(const char *dir, const char *name, bool dense, struct buf *b)
{
    cleanup_free char *path = xasprintf("%s/%s", base, dir);
    cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct tree_source source = {.dir = fd, .name = name, .shown = path, .dense = dense};
    struct tree_head head = {.base = *name ? name : "x"};
    cleanup_err struct err err = ERR_INIT;
    struct tree_reader *r = tree_reader_new(&source, &head, &err);
    int more = r ? 1 : -1;

    while (more > 0)
        more = tree_reader_next(r, b, &err);
    tree_reader_free(r);
    return xstrdup(more < 0 ? err.msg : "");
}

static void copy(const char *dir, const char *name, const struct goal *g, const char *error)
{
    cleanup_buf struct buf b = BUF_INIT(64u << 20);
    cleanup_free char *read = take(dir, name, false, &b), *laid = NULL;

    assert_string_equal(read, "");
    laid = lay(&b, g);
    if (strcmp(laid, error))
        fail_msg("\"%s\" is not \"%s\"", laid, error);
}

#define LIST "find . -printf '%p|%y|%m|%s|%T@|%l\\n' | sed 's/|d|\\([0-9]*\\)|[0-9]*|/|d|\\1||/' | sort"

static void test_arrives_as_it_left(void **state)
{
    const struct goal g = {.dir = ".", .name = "out", .set_ids = true, .fifos = true};

    (void)state;
    free(sh(
        "mkdir -p in/d/empty in/closed && echo hi >in/a && ln in/a in/d/hard && ln -s ../a in/d/l && ln -s /no in/abs"
        " && printf '' >in/none && truncate -s 100M in/sparse && echo x | dd of=in/sparse bs=1 seek=5000000"
        " conv=notrunc status=none && mkfifo in/p && chmod 4711 in/none && chmod 0555 in/closed &&"
        " echo 'n l' >\"$(printf 'in/n\\nl')\" && touch -d '2001-02-03 04:05:06.789012345' in/d/empty in/a in/d in &&"
        " touch -h -d '2002-01-01 00:00:00.5' in/abs"));
    copy(".", "in", &g, "");
    expect("(cd in && " LIST ") >1; (cd out && " LIST ") >2; diff 1 2 && cmp in/sparse out/sparse && diff -r --no-deref"
           "erence --exclude=p in out && [ $(stat -c %i out/a) = $(stat -c %i out/d/hard) ] &&"
           " [ $(du -k out/sparse | cut -f1) -lt 2000 ] && wc -l <1",
           "13\n");
}

static void test_dense_has_no_holes(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(64u << 20);
    cleanup_free char *error = NULL;

    (void)state;
    free(sh("truncate -s 3M hole"));
    error = take(".", "hole", true, &b);
    assert_string_equal(error, "");
    assert_true(b.len > 3u << 20);
}

static void test_in_place_keeps_the_file(void **state)
{
    const struct goal place_it = {.dir = ".", .name = "there", .in_place = true},
                      replace = {.dir = ".", .name = "there"};

    (void)state;
    free(sh("echo longer than that >there; ln there other; echo new >from; stat -c %i there >ino"));
    copy(".", "from", &place_it, "");
    expect("cat there other; stat -c %i there | cmp - ino", "new\nnew\n");
    free(sh("echo newer >from"));
    copy(".", "from", &replace, "");
    expect("cat there other; stat -c %i there | cmp -s - ino || echo another", "newer\nnew\nanother\n");
}

static void test_what_stands_in_the_way(void **state)
{
    const struct goal g = {.dir = "to"};
    const char *shown = base;
    cleanup_free char *dir_error = NULL, *file_error = NULL;

    (void)state;
    free(sh("mkdir -p to/x/keep from/x2 && ln -s keep to/x/link && echo f >to/y; mkdir from/y; echo x >from/x"));
    dir_error = xasprintf("cannot overwrite directory \"%s/to/x\" with non-directory \"%s/to\"", shown, shown);
    file_error = xasprintf("cannot overwrite non-directory \"%s/to/y\" with directory \"%s/to\"", shown, shown);
    copy("from", "", &g, dir_error);
    free(sh("rm from/x"));
    copy("from", "", &g, file_error);
    expect("find to | sort; cat to/y; find . -name '.atp-tmp*'", "to\nto/x\nto/x/keep\nto/x/link\nto/x2\nto/y\nf\n");
}

/* A killed copy's unfinished files go with the next one, those of one that runs and of somebody else stay; none of ours
 * is ever copied. */
static void test_unfinished_files(void **state)
{
    const struct goal g = {.dir = "to"};
    char name[BENEATH_TEMP_MAX];
    cleanup_close int dir = -1, alive = -1;
    cleanup_free char *want = NULL, *path = xasprintf("%s/to/d", base);

    (void)state;
    free(sh("mkdir -p from/d to/d/e; echo x >from/d/f; echo own >from/.atp-tmp-notes; echo n "
            ">from/.atp-tmp-0123456789abcdef; "
            "echo n >to/.atp-tmp-0000000000000000; echo n >to/d/.atp-tmp-00000000000000ff; "
            "echo own >to/d/.atp-tmp-00000000000000fg; echo n >to/d/e/.atp-tmp-0000000000000001"));
    dir = open(path, O_RDONLY | O_DIRECTORY);
    alive = beneath_temp_open(dir, name);
    assert_true(alive >= 0);
    copy("from", "", &g, "");
    want = xasprintf("to\nto/.atp-tmp-notes\nto/d\nto/d/.atp-tmp-00000000000000fg\nto/d/%s\nto/d/e\n"
                     "to/d/e/.atp-tmp-0000000000000001\nto/d/f\n",
                     name);
    expect("find to | LC_ALL=C sort", want);
}

static void test_one_owner(void **state)
{
    const struct goal g = {.dir = ".", .name = "mine", .one_owner = true};

    (void)state;
    if (geteuid() != 0)
        skip();
    free(sh("mkdir from; touch from/f; ln -s f from/l; chown 77:77 from/f"));
    copy(".", "from", &g, "");
    expect("stat -c %u:%g mine mine/f mine/l", "4321:4321\n4321:4321\n4321:4321\n");
}

/* ---- hostile ---- */

static void start(struct buf *b, uint8_t flags)
{
    struct tree_head h = {.flags = flags ? flags : TREE_CONTENTS, .base = "."};

    tree_put_head(b, &h);
    if (!(flags & TREE_LOOSE)) {
        struct tree_entry e = {.type = TREE_DIR, .mode = 0755, .path = "", .link = ""};

        tree_put_entry(b, &e);
    }
}

static void add(struct buf *b, uint8_t type, const char *path, const char *link, uint16_t mode, const char *text)
{
    struct tree_entry e = {.type = type,
                           .mode = mode,
                           .path = path,
                           .link = link,
                           .size = text ? strlen(text) : 0,
                           .uid = geteuid(),
                           .gid = getegid()};

    assert_int_equal(tree_put_entry(b, &e), 0);
    if (text && *text)
        tree_put_data(b, text, strlen(text));
}

/* The stream into to/; nothing else may change. */
static char *attack(struct buf *b)
{
    const struct goal g = {.dir = "to"};
    char *error;

    tree_put_end(b);
    free(sh("mkdir -p to out && echo precious >out/f && ln -sfn ../out to/exit; ls -liR out >before"));
    error = lay(b, &g);
    expect("ls -liR out | diff - before; find . -name '.atp-tmp*'", "");
    return error;
}

static void test_nothing_goes_through_links(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    cleanup_free char *error = NULL, *own = NULL, *hard = NULL, *dir = NULL;

    (void)state;
    start(&b, TREE_LOOSE);
    add(&b, TREE_FILE, "exit/f", "", 0666, "gotcha"); /* a link that was there */
    error = attack(&b);
    assert_true(strstr(error, "writing "));

    buf_reset(&b);
    start(&b, TREE_LOOSE);
    add(&b, TREE_SYMLINK, "l", "sub/../exit", 0777, NULL); /* one of the stream itself: made last */
    add(&b, TREE_FILE, "l/f", "", 0666, "gotcha");
    own = attack(&b);
    assert_true(strstr(own, "cannot overwrite directory"));
    expect("stat -c %F to/l", "directory\n"); /* the file's parent was made; the link could not replace it */
}

static void test_no_hard_links_through_links(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    cleanup_free char *error = NULL;

    (void)state;
    start(&b, TREE_LOOSE);
    add(&b, TREE_HARDLINK, "h", "exit/f", 0644, NULL);
    error = attack(&b);
    assert_true(*error);
}

static void test_links_replace_nothing_else(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    cleanup_free char *error = NULL;

    (void)state;
    start(&b, 0);
    add(&b, TREE_FILE, "exit", "", 0644, "now a file"); /* the link itself is replaced, not what it leads to */
    error = attack(&b);
    assert_string_equal(error, "");
    expect("cat to/exit; stat -c %F to/exit", "now a fileregular file\n");
}

static void test_escaping_symlink(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    cleanup_free char *error = NULL;

    (void)state;
    start(&b, 0);
    add(&b, TREE_SYMLINK, "l", "../../etc", 0777, NULL);
    error = attack(&b);
    assert_true(strstr(error, "invalid symlink"));
}

static void test_special_bits_and_files(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    cleanup_free char *error = NULL;

    (void)state;
    start(&b, 0);
    add(&b, TREE_FILE, "su", "", 06755, "x");
    add(&b, TREE_DIR, "d", "", 07777, NULL);
    add(&b, TREE_DEVICE, "null", "", 0666, NULL);
    add(&b, TREE_FIFO, "p", "", 0666, NULL);
    error = attack(&b);
    assert_string_equal(error, "");
    expect("cd to; stat -c '%n %a' *", "d 777\nexit 777\nsu 755\n");
}

static void test_cut_leaves_nothing(void **state)
{
    const struct goal g = {.dir = "to"};
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    cleanup_free char *error = NULL;
    struct tree_entry e = {.type = TREE_FILE, .mode = 0644, .path = "f", .link = "", .size = 100};

    (void)state;
    free(sh("mkdir to; echo old >to/f"));
    start(&b, 0);
    tree_put_entry(&b, &e);
    tree_put_data(&b, "half", 4);
    error = lay(&b, &g);
    assert_true(strstr(error, "too early"));
    expect("ls -A to; cat to/f", "f\nold\n");
}

/* A process that swaps a directory for a link all the time. */
static void test_racer(void **state)
{
    cleanup_free char *line =
        xasprintf("exec sh -c 'cd %s/to && while :; do mv d e; ln -s ../out d; rm d; mv e d; done'", base);
    const struct goal g = {.dir = "to"};
    unsigned laid = 0;
    pid_t pid;

    (void)state;
    free(sh("mkdir -p to/d out && echo precious >out/f && ls -liR out >before"));
    pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(99);
    }
    for (int i = 0; i < 300; i++) {
        cleanup_buf struct buf b = BUF_INIT(1 << 20);
        char *error;

        beneath_force_walk(i % 2);
        start(&b, 0);
        add(&b, TREE_DIR, "d", "", 0755, NULL);
        add(&b, TREE_FILE, "d/f", "", 0644, "gotcha");
        add(&b, TREE_FILE, "d/g", "", 0644, "gotcha");
        tree_put_end(&b);
        error = lay(&b, &g);
        laid += !*error;
        free(error);
    }
    beneath_force_walk(false);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    expect("ls -liR out | diff - before", "");
    assert_true(laid > 0);
}

static void test_moving_file(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(256u << 20);
    cleanup_free char *path = xasprintf("%s/in", base), *error = NULL;
    cleanup_close int fd = -1;
    struct tree_source source = {.name = "f", .shown = "in"};
    struct tree_head head = {.base = "f"};
    cleanup_err struct err err = ERR_INIT;
    const struct goal g = {.dir = "to", .name = "f"};
    struct tree_reader *r;
    int more, turn = 0;

    (void)state;
    free(sh("mkdir in to; head -c 1000000 /dev/zero | tr '\\0' x >in/f"));
    source.dir = fd = open(path, O_RDONLY | O_DIRECTORY);
    r = tree_reader_new(&source, &head, &err);
    assert_non_null(r);
    while ((more = tree_reader_next(r, &b, &err)) > 0)
        if (turn++ == 0)
            free(sh("truncate -s 200000 in/f"));
    assert_int_equal(more, 0);
    tree_reader_free(r);
    error = lay(&b, &g);
    assert_string_equal(error, "");
    expect("stat -c %s to/f; tr -d '\\0' <to/f | wc -c", "1000000\n200000\n");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_arrives_as_it_left),
        TEST(test_dense_has_no_holes),
        TEST(test_in_place_keeps_the_file),
        TEST(test_what_stands_in_the_way),
        TEST(test_unfinished_files),
        TEST(test_one_owner),
        TEST(test_nothing_goes_through_links),
        TEST(test_no_hard_links_through_links),
        TEST(test_links_replace_nothing_else),
        TEST(test_escaping_symlink),
        TEST(test_special_bits_and_files),
        TEST(test_cut_leaves_nothing),
        TEST(test_racer),
        TEST(test_moving_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
