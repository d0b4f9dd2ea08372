/* link: atp_engine atp_registry atp_sys atp_base */
#include "backends/engine/img_tar.h"

#include "backends/engine/img_layer.h"
#include "backends/engine/img_store.h"
#include "backends/engine/img_view.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/base/strlist.h"
#include "compat/sys/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <cmocka.h>

/*
 * Layers as tars: what our own unpacking makes of the tar is the layer again, other programs see the same tree in it,
 * and the bytes are the same every time and from any offset on. Needs root: owners, devices, overlay's marks.
 */

#define NOTE "user.note"

static char folder[] = "/tmp/atp-tar-XXXXXX";
static bool usable;

static void shell(const char *format, ...)
{
    cleanup_free char *command = NULL;
    int status = -1;
    va_list ap;
    pid_t child;

    va_start(ap, format);
    command = xvasprintf(format, ap);
    va_end(ap);
    child = fork();
    if (child == 0) {
        execl("/bin/bash", "bash", "-ec", command, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0)
        fail_msg("%s: status %d", command, status);
}

static int make_folder(void **state)
{
    (void)state;
    usable = geteuid() == 0;
    return mkdtemp(folder) && img_store_open(folder, NULL) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    img_store_remove(folder);
    return 0;
}

static void need_root(void)
{
    if (!usable)
        skip();
}

/* ---- what a tree is ---- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void describe_contents(int dir, const char *name, const struct stat *st, struct buf *out)
{
    cleanup_close int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    char value[64], chunk[65536], hex[65];
    struct sha256 sha;
    uint8_t digest[32];
    ssize_t n;

    sha256_init(&sha);
    while (S_ISREG(st->st_mode) && (n = read(fd, chunk, sizeof(chunk))) > 0)
        sha256_update(&sha, chunk, (size_t)n);
    sha256_final(&sha, digest);
    sha256_hex(digest, hex);
    n = fgetxattr(fd, NOTE, value, sizeof(value) - 1);
    value[n > 0 ? n : 0] = '\0';
    buf_addf(out, " %.16s note \"%s\" cap %zd opaque %d", hex, value, fgetxattr(fd, "security.capability", chunk, 64),
             img_is_opaque(fd));
}

static void describe(int dir, const char *path, struct buf *out)
{
    struct dirent **list = NULL;
    int n = scandirat(dir, path, &list, NULL, by_name);

    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        cleanup_free struct dirent *e = list[i];
        cleanup_free char *at = xasprintf("%s/%s", path, e->d_name);
        char target[4096];
        struct stat st;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        assert_int_equal(fstatat(dir, at, &st, AT_SYMLINK_NOFOLLOW), 0);
        buf_addf(out, "%s %o", at, (unsigned)st.st_mode & S_IFMT);
        if (!img_is_whiteout(&st))
            buf_addf(out, " %o links %d %u:%u %lld.%09ld", (unsigned)st.st_mode & 07777,
                     S_ISDIR(st.st_mode) ? 0 : (int)st.st_nlink, st.st_uid, st.st_gid, (long long)st.st_mtim.tv_sec,
                     st.st_mtim.tv_nsec);
        if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
            describe_contents(dir, at, &st, out);
        if (S_ISREG(st.st_mode))
            buf_addf(out, " size %lld", (long long)st.st_size);
        if (S_ISLNK(st.st_mode))
            buf_addf(out, " -> %.*s", (int)readlinkat(dir, at, target, sizeof(target) - 1), target);
        if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
            buf_addf(out, " %u,%u", major(st.st_rdev), minor(st.st_rdev));
        buf_adds(out, "\n");
        if (S_ISDIR(st.st_mode))
            describe(dir, at, out);
    }
    free(list);
}

static char *picture(const char *dir)
{
    struct buf out = BUF_INIT(64 << 20);
    cleanup_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(fd >= 0);
    describe(fd, ".", &out);
    return buf_detach(&out);
}

/* Fails with the lines that differ. */
static void assert_same(const char *one, const char *two)
{
    cleanup_free char *a = picture(one), *b = picture(two), *to_a = xasprintf("%s/a", folder);
    cleanup_free char *to_b = xasprintf("%s/b", folder);

    assert_int_equal(fs_write_file(to_a, a, strlen(a), 0600, NULL), 0);
    assert_int_equal(fs_write_file(to_b, b, strlen(b), 0600, NULL), 0);
    shell("diff %s %s >&2", to_a, to_b);
}

/* ---- a tree with everything ---- */

/* Sets an attribute; without a value it is removed. */
static void set_note(const char *root, const char *path, const char *name, const char *value)
{
    cleanup_free char *at = xasprintf("%s/%s", root, path);

    assert_int_equal(value ? setxattr(at, name, value, strlen(value), 0) : removexattr(at, name), 0);
}

static char *make_tree(const char *name)
{
    char *root = xasprintf("%s/%s", folder, name);
    cleanup_free char *sock = xasprintf("%s/socket", root);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    shell(
        "mkdir -p %s && cd %s && umask 022\n"
        "mkdir -p a/b/c empty sticky opaque long && chmod 1777 sticky && chmod 2750 a/b && chown 12:34 a/b\n"
        "echo one > a/one; ln a/one a/b/again; ln a/one z-last; printf '' > zero\n"
        "head -c 100000 /dev/urandom > a/random; chmod 4755 a/random; chown 3000000:4000000000 a/random\n"
        "head -c 512 /dev/zero > block; head -c 513 /dev/zero > block1\n"
        "ln -s ../../../etc/passwd out; ln -s '' x 2>/dev/null || ln -s . x\n"
        "ln -s $(printf 'y%%.0s' {1..150})/end longlink; ln longlink longlink2\n"
        "mknod null c 1 3; mknod disk b 259 1048575; mkfifo pipe; ln pipe pipe2\n"
        "mknod gone c 0 0; mknod a/away c 0 0; ln gone gone-too\n"
        "touch $'new\\nline' 'sp ace' $'t\\tab' -- -dash $'\\xff\\xfe' $'caf\\xc3\\xa9' $'cafe\\xcc\\x81'\n"
        "touch long/$(printf 'n%%.0s' {1..100}) long/$(printf 'm%%.0s' {1..255}) long/$(printf '\\xff%%.0s' {1..255})\n"
        "mkdir -p long/$(printf 'd%%.0s' {1..155}) && cd long/$(printf 'd%%.0s' {1..155})\n"
        "touch $(printf 'f%%.0s' {1..95}) $(printf 'g%%.0s' {1..101}) && mkdir -p e/$(printf '\\xe9%%.0s' {1..200}) "
        "&& ln -s $(printf '\\xe8%%.0s' {1..200}) binary && cd ../..\n"
        "ln long/$(printf 'm%%.0s' {1..255}) hard-to-long\n"
        "touch .wh; mkdir .whatever; touch .w\n"
        "touch -d '1969-12-31 23:59:58 UTC' before; touch -d '2001-02-03 04:05:06.5 UTC' half\n"
        "touch -d '2299-01-01 00:00:00.000000001 UTC' late; touch -h -d '1980-01-01 UTC' out\n"
        "truncate -s 40M sparse && printf begin | dd of=sparse conv=notrunc status=none && "
        "printf middle | dd of=sparse bs=1 seek=20000000 conv=notrunc status=none\n"
        "truncate -s 20M hole; truncate -s 15M small-hole; head -c 20000000 /dev/zero > written-zeros\n"
        "(head -c 65536 /dev/zero; head -c 18000000 /dev/zero; echo end) > end-only\n"
        "cp /bin/true cap && setcap cap_net_raw+ep cap 2>/dev/null || true\n"
        "touch opaque/new; touch -d '2020-01-01 00:00:00.123456789 UTC' a a/b empty",
        root, root);
    set_note(root, "a/one", NOTE, "hello");
    set_note(root, "a", NOTE, "of a folder");
    set_note(root, "empty", "user.zz", "\001\n=");
    set_note(root, "empty", "user.a=b", "cannot be told");
    set_note(root, "empty", "trusted.secret", "not kept");
    set_note(root, "opaque", img_opaque_name(), "y");
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", sock);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    return root;
}

/* ---- writing ---- */

struct sum {
    struct sha256 sha;
    int fd; /* -1 = none */
    int64_t len;
};

static int take(const void *bytes, size_t len, void *arg, struct err *err)
{
    struct sum *s = arg;

    (void)err;
    sha256_update(&s->sha, bytes, len);
    s->len += (int64_t)len;
    if (s->fd >= 0)
        assert_int_equal(write(s->fd, bytes, len), (ssize_t)len);
    return 0;
}

static int64_t write_tar(const char *root, const char *file, char hex[65])
{
    struct sum s = {.fd = file ? open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1};
    struct img_tar tar = {.dir = root, .format = IMG_TAR_FORMAT, .sink = take, .arg = &s};
    struct err err = ERR_INIT;
    uint8_t digest[32];
    int64_t size = 0;

    sha256_init(&s.sha);
    if (img_tar_write(&tar, &size, &err) < 0)
        fail_msg("%s", err.msg);
    sha256_final(&s.sha, digest);
    sha256_hex(digest, hex);
    assert_int_equal(size, s.len);
    if (s.fd >= 0)
        close(s.fd);
    return size;
}

/* Unpacks the tar as a layer of the store. */
static char *unpack(const char *file, const char *key, char diff[65])
{
    struct img_writer_options options = {0};
    struct img_unpack how = {.whiteouts = true};
    cleanup_close int fd = open(file, O_RDONLY | O_CLOEXEC);
    struct img_writer *w = img_writer_new(folder, &options, NULL);
    struct err err = ERR_INIT;

    assert_non_null(w);
    if (img_unpack(w, fd, &how, diff, &err) < 0 || img_writer_commit(w, key, &err) < 0)
        fail_msg("%s", err.msg);
    img_writer_free(w);
    return img_layer_dir(folder, key);
}

static const char KEY[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/* Layer, tar, layer: the same tree, and the same tar of it. */
static void comes_back(void **state)
{
    cleanup_free char *root = NULL, *back = NULL, *file = xasprintf("%s/1.tar", folder);
    cleanup_free char *diff_id = NULL;
    char hex[65], again[65], diff[65];
    struct timespec made;

    (void)state;
    need_root();
    root = make_tree("tree");
    write_tar(root, file, hex);
    write_tar(root, NULL, again);
    assert_string_equal(hex, again);
    back = unpack(file, KEY, diff);
    assert_string_equal(diff, hex);
    /* What no layer can hold. */
    shell("cd %s; rm socket", root);
    assert_same(root, back);
    assert_int_equal(img_layer_diff_id(folder, KEY, NULL, &diff_id, NULL), 0);
    assert_string_equal(diff_id + 7, hex);
    assert_int_equal(img_layer_created(folder, KEY, &made), 0);
    assert_true(made.tv_sec > 1600000000);
}

/* A file's holes are its contents' and no file system's: a copy without holes gives the same tar. */
static void holes_are_contents(void **state)
{
    cleanup_free char *root = xasprintf("%s/tree", folder), *copy = xasprintf("%s/copy", folder);
    char hex[65], again[65];
    int64_t size;

    (void)state;
    need_root();
    shell("rm -f %s/written-zeros; cp -a --sparse=never %s %s; cd %s; find . -depth -type d | while read -r d; do "
          "touch -r \"%s/$d\" \"$d\"; done",
          root, root, copy, copy, root);
    size = write_tar(root, NULL, hex);
    assert_true(size < 25 << 20); /* of 95 MB */
    write_tar(copy, NULL, again);
    assert_string_equal(hex, again);
}

/* What other programs read out of it. */
static void others_read_it(void **state)
{
    cleanup_free char *root = xasprintf("%s/tree", folder), *file = xasprintf("%s/2.tar", folder), *gnu = NULL;
    char hex[65];

    (void)state;
    need_root();
    shell("cd %s && rm -f gone gone-too a/away", root);
    set_note(root, "opaque", img_opaque_name(), NULL);
    write_tar(root, file, hex);
    /* GNU tar: the whole tree with attributes. */
    shell("mkdir -p %s/gnu && tar --numeric-owner --xattrs --xattrs-include='*' -C %s/gnu -xpf %s", folder, folder,
          file);
    gnu = xasprintf("%s/gnu", folder);
    assert_same(root, gnu);
    /* bsdtar and Python: names, sizes, times, links. */
    shell(
        "command -v bsdtar >/dev/null || exit 0; mkdir -p %s/bsd && LC_ALL=C bsdtar -C %s/bsd --numeric-owner -xpf %s "
        "&& LC_ALL=C diff -r --no-dereference %s/tree %s/bsd --exclude=null --exclude=disk --exclude='pipe*'",
        folder, folder, file, folder, folder);
    shell("python3 - %s %s <<'END'\n"
          "import os, sys, tarfile\n"
          "t = tarfile.open(sys.argv[1], errors='surrogateescape')\n"
          "seen = 0\n"
          "for m in t:\n"
          "    st = os.lstat(os.path.join(sys.argv[2], m.name))\n"
          "    assert m.uid == st.st_uid and m.gid == st.st_gid, m.name\n"
          "    assert abs(float(m.mtime) - st.st_mtime) < 1.001, (m.name, m.mtime, st.st_mtime)\n"
          "    if m.isreg():\n"
          "        assert m.size == st.st_size, (m.name, m.size, st.st_size)\n"
          "        with open(os.path.join(sys.argv[2], m.name), 'rb') as f:\n"
          "            assert t.extractfile(m).read() == f.read(), m.name\n"
          "    if m.issym():\n"
          "        assert os.readlink(os.path.join(sys.argv[2], m.name)) == m.linkname, m.name\n"
          "    seen += 1\n"
          "assert seen > 40, seen\n"
          "END",
          file, root);
}

/* From any byte on the tar is the rest of the tar. */
static void goes_on_from_anywhere(void **state)
{
    cleanup_free char *root = xasprintf("%s/tree", folder), *file = xasprintf("%s/3.tar", folder);
    cleanup_close int fd = -1;
    char hex[65];
    int64_t size;

    (void)state;
    need_root();
    size = write_tar(root, file, hex);
    fd = open(file, O_RDONLY | O_CLOEXEC);
    for (int64_t from = 0; from <= size; from += size / 37 + 1) {
        struct sum s = {.fd = -1}, whole = {.fd = -1};
        struct img_tar tar = {.dir = root, .format = IMG_TAR_FORMAT, .from = from, .sink = take, .arg = &s};
        char chunk[65536];
        uint8_t one[32], two[32];
        int64_t told = 0;
        ssize_t n;

        sha256_init(&s.sha);
        sha256_init(&whole.sha);
        assert_int_equal(img_tar_write(&tar, &told, NULL), 0);
        assert_int_equal(told, size);
        assert_int_equal(s.len, size - from);
        for (off_t at = from; (n = pread(fd, chunk, sizeof(chunk), at)) > 0; at += n)
            sha256_update(&whole.sha, chunk, (size_t)n);
        sha256_final(&s.sha, one);
        sha256_final(&whole.sha, two);
        assert_memory_equal(one, two, 32);
    }
}

/* The format is a promise: these bytes are what every later engine must write. */
static void the_format_stays(void **state)
{
    cleanup_free char *root = xasprintf("%s/fixed", folder);
    char hex[65];

    (void)state;
    need_root();
    shell("umask 022; mkdir -p %s/d/e && cd %s && echo hello > d/f && ln d/f d/g && ln -s f d/e/l && mknod d/gone c 0 "
          "0 && "
          "chown 5000000:7 d/f && chmod 4711 d/f && "
          "touch -h -d '2001-02-03 04:05:06.25 UTC' d/f d/e/l && "
          "touch $(printf 'm%%.0s' {1..180}) && touch -d '2001-02-03 UTC' m* && truncate -s 17M s && "
          "printf x | dd of=s bs=1 seek=9000000 conv=notrunc status=none && touch -d '2001-02-03 UTC' s d/e d",
          root, root);
    set_note(root, "d/f", "user.b", "2");
    set_note(root, "d/f", "user.a", "1");
    set_note(root, "d", img_opaque_name(), "y");
    write_tar(root, NULL, hex);
    assert_string_equal(hex, "a553d73710c2cbfb0b3ff9e995abac3af89e351eacaeb66ef28ef84f2fe9ff1b");
}

static int stop_early(const void *bytes, size_t len, void *arg, struct err *err)
{
    (void)bytes, (void)len;
    return ++*(int *)arg == 3 ? err_set(err, 0, "enough") : 0;
}

/* Ends: the sink's, a cancelled one, a format from the future, no such layer. */
static void ends(void **state)
{
    cleanup_free char *root = xasprintf("%s/tree", folder);
    atomic_bool cancelled = true;
    int calls = 0;
    struct img_tar tar = {.dir = root, .format = IMG_TAR_FORMAT, .sink = stop_early, .arg = &calls};
    struct err err = ERR_INIT;
    char *diff;

    (void)state;
    need_root();
    assert_int_equal(img_tar_write(&tar, NULL, &err), -1);
    assert_string_equal(err.msg, "enough");
    tar.cancelled = &cancelled;
    assert_int_equal(img_tar_write(&tar, NULL, &err), -1);
    assert_string_equal(err.msg, "context canceled");
    tar.format = 99;
    assert_int_equal(img_tar_write(&tar, NULL, &err), -1);
    assert_non_null(strstr(err.msg, "format 99"));
    assert_int_equal(img_layer_diff_id(folder, "ffff", NULL, &diff, &err), -1);
    err_clear(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),       cmocka_unit_test(holes_are_contents),
        cmocka_unit_test(others_read_it),   cmocka_unit_test(goes_on_from_anywhere),
        cmocka_unit_test(the_format_stays), cmocka_unit_test(ends),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
