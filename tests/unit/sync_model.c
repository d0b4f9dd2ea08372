/* link: atp_bsync atp_tsync atp_sys atp_base */
/*
 * Random edits on two sides, exchanged in both directions, cut and killed at random, held against a model in memory
 * that knows nothing of manifests or streams: it reads both trees in full before an exchange, works out path by path
 * what three-way means, and compares. ATP_MODEL_SECONDS sets how long (5), ATP_MODEL_SEED repeats a run.
 */
#include "tests/unit/sync_rig.h"

#include <signal.h>

#define NAMES 7
#define BLOBS 64
#define PATHS 512
#define LONG  (300 << 10)

/* ---- a tree in memory ---- */

struct node {
    char path[64];
    char type;     /* 'f', 'd', 'l'; 0 = absent */
    char text[40]; /* a file's first bytes (they are unique to a version) or a link's text */
    long size;
    bool linked; /* has other names */
};

struct image {
    struct node nodes[PATHS];
    size_t len;
};

static unsigned long long seed, seed_start;

static unsigned rnd(unsigned n)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(seed >> 33) % n;
}

static void read_image_at(struct image *im, int fd, const char *prefix)
{
    DIR *d = fdopendir(fd);
    struct dirent *e;

    assert_non_null(d);
    while ((e = readdir(d))) {
        struct node *n = &im->nodes[im->len];
        struct stat st;
        int child;

        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        assert_true(im->len < PATHS);
        memset(n, 0, sizeof(*n));
        assert_true(snprintf(n->path, sizeof(n->path), "%s%s%s", prefix, *prefix ? "/" : "", e->d_name) < 64);
        assert_int_equal(fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW), 0);
        im->len++;
        if (S_ISDIR(st.st_mode)) {
            char path[64];

            n->type = 'd';
            memcpy(path, n->path, sizeof(path));
            child = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY);
            assert_true(child >= 0);
            read_image_at(im, child, path);
        } else if (S_ISLNK(st.st_mode)) {
            n->type = 'l';
            assert_true(readlinkat(dirfd(d), e->d_name, n->text, sizeof(n->text) - 1) > 0);
        } else {
            n->type = 'f';
            n->size = st.st_size;
            n->linked = st.st_nlink > 1;
            child = openat(dirfd(d), e->d_name, O_RDONLY);
            assert_true(child >= 0);
            assert_true(read(child, n->text, sizeof(n->text) - 1) >= 0);
            close(child);
        }
    }
    closedir(d);
}

static void read_image(struct image *im, int dirfd)
{
    im->len = 0;
    read_image_at(im, openat(dirfd, ".", O_RDONLY | O_DIRECTORY), "");
}

static struct node *find(struct image *im, const char *path)
{
    for (size_t i = 0; i < im->len; i++)
        if (!strcmp(im->nodes[i].path, path))
            return &im->nodes[i];
    return NULL;
}

static bool same(const struct node *a, const struct node *b)
{
    if (!a || !b)
        return a == b;
    return a->type == b->type && a->size == b->size && !strcmp(a->text, b->text);
}

static void put(struct image *im, const struct node *n)
{
    struct node *old = find(im, n->path);

    assert_true(im->len < PATHS);
    if (old)
        *old = *n;
    else
        im->nodes[im->len++] = *n;
}

static void drop(struct image *im, const char *path)
{
    struct node *n = find(im, path);

    if (n)
        *n = im->nodes[--im->len];
}

/* ---- random edits ---- */

static unsigned version;

/* Unique to this version; some are long enough to be several pieces of data. */
static void write_version(int dirfd, const char *path, const char *who, bool in_place)
{
    static char bytes[LONG];
    size_t len = rnd(12) ? 40 + rnd(3000) : LONG - rnd(100);
    int fd;

    snprintf(bytes, sizeof(bytes), "%s %u of %llu                              ", who, version++, seed_start);
    for (size_t i = 40; i < len; i++)
        bytes[i] = (char)(rnd(2) ? 'x' : (char)rnd(256));
    if (!in_place)
        unlinkat(dirfd, path, 0);
    fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600 | (rnd(2) ? 0055 : 0));
    if (fd < 0)
        return;
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

static const char *random_path(char *path)
{
    static const char names[NAMES][5] = {"a", "b", "a-b", "c d", "\xe9\n", "e", "f"};
    unsigned depth = 1 + rnd(3);

    *path = '\0';
    for (unsigned i = 0; i < depth; i++) {
        if (i)
            memcpy(path + strlen(path), "/", 2);
        memcpy(path + strlen(path), names[rnd(i ? 4 : NAMES)], 5);
    }
    return path;
}

/* One edit; many do nothing because the path does not lend itself, which is as well. */
static void edit(int dirfd, const char *who)
{
    char path[64] = "", other[64] = "", text[40];

    random_path(path);
    switch (rnd(12)) {
    case 0:
    case 1:
    case 2:
        write_version(dirfd, path, who, true);
        break;
    case 3:
        write_version(dirfd, path, who, false);
        break;
    case 4:
    case 5:
        mkdirat(dirfd, path, 0755);
        break;
    case 6:
        snprintf(text, sizeof(text), "to %s %u", who, version++);
        unlinkat(dirfd, path, 0);
        if (symlinkat(text, dirfd, path) < 0)
            return;
        break;
    case 7: {
        const char *name;
        int dir = beneath_open_parent(dirfd, path, &name);

        if (dir >= 0) {
            beneath_remove_tree(dir, name);
            close(dir);
        }
        break;
    }
    case 8:
        renameat(dirfd, path, dirfd, random_path(other));
        break;
    case 9:
        linkat(dirfd, path, dirfd, random_path(other), 0);
        break;
    case 10:
        fchmodat(dirfd, path, rnd(2) ? 0640 : 0755, 0);
        break;
    default: {
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                    {.tv_sec = 1600000000 + rnd(1000), .tv_nsec = rnd(1000000000)}};

        utimensat(dirfd, path, times, AT_SYMLINK_NOFOLLOW);
    }
    }
}

/* ---- what three-way means ---- */

static struct image agreed, host_image, box_image, expected, result, contested_set;

/* True if something in the image stands below path. */
static bool has_below(struct image *im, const char *path)
{
    size_t len = strlen(path);

    for (size_t i = 0; i < im->len; i++)
        if (!strncmp(im->nodes[i].path, path, len) && im->nodes[i].path[len] == '/')
            return true;
    return false;
}

/* The three-way rule for one path; *conflict if both changed it. */
static const struct node *merge_one(const struct node *a, const struct node *local, const struct node *incoming,
                                    bool *conflict)
{
    *conflict = false;
    if (same(local, incoming) || same(a, incoming))
        return local;
    if (same(a, local))
        return incoming;
    if (!incoming)
        return local;
    if (!local)
        return incoming;
    *conflict = true;
    return local;
}

/* Fills `expected` and, with the paths that stay against the peer's version, `conflicts`. */
static void merge_images(struct image *local, struct image *incoming, struct image *contested, struct image *conflicts)
{
    static struct image all;

    all.len = expected.len = conflicts->len = 0;
    for (int k = 0; k < 3; k++) {
        struct image *im = k == 0 ? &agreed : k == 1 ? local : incoming;

        for (size_t i = 0; i < im->len; i++)
            if (!find(&all, im->nodes[i].path))
                put(&all, &im->nodes[i]);
    }
    for (size_t i = 0; i < all.len; i++) {
        const char *path = all.nodes[i].path;
        const struct node *l = find(local, path), *in = find(incoming, path), *n;
        bool conflict;

        n = merge_one(find(contested, path) ? NULL : find(&agreed, path), l, in, &conflict);
        if (n)
            put(&expected, n);
        if (conflict)
            put(conflicts, in);
    }
    /* A file or link that comes where a directory of ours keeps something: the directory stays. */
    for (size_t i = 0; i < expected.len; i++) {
        struct node *n = &expected.nodes[i], *l = find(local, n->path);

        if (n->type != 'd' && l && l->type == 'd' && has_below(&expected, n->path)) {
            put(conflicts, n);
            *n = *l;
        }
    }
    /* What is below something that is no directory cannot be; what is below nothing gets its directories. */
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < expected.len && !again; i++) {
            struct node parent = {.type = 'd'}, *up;

            /* From the top down: what stands highest decides. */
            for (char *slash = strchr(expected.nodes[i].path, '/'); slash && !again; slash = strchr(slash + 1, '/')) {
                memset(parent.path, 0, sizeof(parent.path));
                memcpy(parent.path, expected.nodes[i].path, (size_t)(slash - expected.nodes[i].path));
                up = find(&expected, parent.path);
                again = !up || up->type != 'd';
                if (!up) {
                    put(&expected, &parent);
                } else if (up->type != 'd') {
                    put(conflicts, &expected.nodes[i]);
                    drop(&expected, expected.nodes[i].path);
                }
            }
        }
    }
}

static _Noreturn void give_up(const char *what, const char *path)
{
    fprintf(stderr, "seed %llu: %s: %s\n", seed_start, what, path);
    abort();
}

static void show(const char *title, struct image *im)
{
    fprintf(stderr, "--- %s\n", title);
    for (size_t i = 0; i < im->len; i++)
        fprintf(stderr, "%c %s: %.20s%s\n", im->nodes[i].type, im->nodes[i].path, im->nodes[i].text,
                im->nodes[i].linked ? " (linked)" : "");
}

/* True if some file anywhere below keep begins with the text. */
static bool kept_aside(int keep, const char *text)
{
    static struct image im;

    for (int k = 0; k < 2; k++) {
        int fd = openat(keep, k ? "trash" : "conflicts", O_RDONLY | O_DIRECTORY);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *e;

        while (d && (e = readdir(d))) {
            if (e->d_name[0] == '.')
                continue;
            im.len = 0;
            read_image_at(&im, openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY), "");
            for (size_t i = 0; i < im.len; i++)
                if (!strcmp(im.nodes[i].text, text)) {
                    closedir(d);
                    return true;
                }
        }
        if (d)
            closedir(d);
    }
    return false;
}

static bool anywhere(struct image *im, const char *text)
{
    for (size_t i = 0; i < im->len; i++)
        if (!strcmp(im->nodes[i].text, text))
            return true;
    return false;
}

/* The result is what the model says, path by path. Names of a file with several are judged by survival only. */
static void compare(struct image *incoming, struct image *local)
{
    static struct image all;

    all.len = 0;
    for (int k = 0; k < 2; k++) {
        struct image *im = k ? &result : &expected;

        for (size_t i = 0; i < im->len; i++)
            if (!find(&all, im->nodes[i].path))
                put(&all, &im->nodes[i]);
    }
    for (size_t i = 0; i < all.len; i++) {
        const char *path = all.nodes[i].path;
        struct node *in = find(incoming, path), *l = find(local, path);

        if ((in && in->linked) || (l && l->linked) || same(find(&expected, path), find(&result, path)))
            continue;
        show("agreed", &agreed);
        show("local", local);
        show("incoming", incoming);
        show("contested", &contested_set);
        show("expected", &expected);
        show("result", &result);
        give_up("not what three-way means", path);
    }
}

/* ---- exchanges ---- */

static struct side host, box;
static int keep;

static int run(bool to_host, struct exchange *x)
{
    struct sync_policy policy = to_host ? PULL(keep) : PUSH;

    policy.bulk_delete = true;
    return to_host ? exchange_run(&box, &host, policy, x) : exchange_run(&host, &box, policy, x);
}

/* After a cut or a kill: every file is the one from before or the peer's, whole; no name of ours is left after a scan.
 */
static void check_interrupted(struct image *local, struct image *incoming, int dirfd)
{
    struct sync_tree tree = {.dirfd = dirfd};
    struct manifest m = MANIFEST_INIT;
    struct err err = ERR_INIT;

    assert_int_equal(sync_scan(&tree, NULL, NULL, &m, NULL, &err), 0);
    manifest_clear(&m);
    read_image(&result, dirfd);
    for (size_t i = 0; i < result.len; i++) {
        const struct node *n = &result.nodes[i];

        if (strstr(n->path, BENEATH_TEMP_PREFIX))
            give_up("a temporary file is left", n->path);
        /* Only a file whose inode must be kept is written in place, which a kill can meet half way. */
        if (n->type == 'f' && !n->linked && !same(n, find(local, n->path)) && !same(n, find(incoming, n->path)))
            give_up("a half-written file", n->path);
    }
}

/*
 * An exchange that does not end: cut by the transport, or by SIGKILL in a process of its own. False if the stream was
 * shorter than the cut, so that it was an exchange like any other.
 */
static bool interrupted(bool to_host)
{
    struct exchange x = {.chunk = 1 + rnd(5000), .stop_after = 1 + rnd(20000)};
    struct side *to = to_host ? &host : &box;
    int status;
    pid_t pid;

    if (rnd(3)) {
        status = run(to_host, &x);
        exchange_clear(&x);
        if (status == 0)
            return false;
    } else {
        pid = fork();
        if (pid == 0) {
            x.stop_after = 0;
            run(to_host, &x);
            /* Like a program that is killed before it can save what was agreed. */
            _exit(0);
        }
        usleep(rnd(4000));
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    }
    check_interrupted(to_host ? &host_image : &box_image, to_host ? &box_image : &host_image, to->dirfd);
    return true;
}

static struct image conflicts;

/* What the model says before an exchange. */
static void predict(bool to_host)
{
    static struct image none;

    read_image(&host_image, host.dirfd);
    read_image(&box_image, box.dirfd);
    if (to_host)
        merge_images(&host_image, &box_image, &contested_set, &conflicts);
    else
        merge_images(&box_image, &host_image, &none, &conflicts);
}

/* What an exchange that succeeded did, against what the model said. */
static void judge(bool to_host)
{
    struct image *local = to_host ? &host_image : &box_image, *incoming = to_host ? &box_image : &host_image;

    read_image(&result, to_host ? host.dirfd : box.dirfd);
    compare(incoming, local);
    for (size_t i = 0; to_host && i < conflicts.len; i++)
        if (conflicts.nodes[i].type == 'f' && !anywhere(&result, conflicts.nodes[i].text) &&
            !kept_aside(keep, conflicts.nodes[i].text))
            give_up("a version is lost", conflicts.nodes[i].path);
    for (size_t i = 0; i < local->len; i++) {
        const struct node *n = &local->nodes[i];

        /* What this side made and the peer never saw is still here. */
        if (n->type == 'f' && !anywhere(&agreed, n->text) && !anywhere(incoming, n->text) &&
            !anywhere(&result, n->text))
            give_up("a change of this side is lost", n->path);
    }
    /* What was contested before stays so until the peer heard of it or changed its own version again. */
    for (size_t i = 0; !to_host && i < contested_set.len; i++) {
        const char *path = contested_set.nodes[i].path;

        if (same(find(&agreed, path), find(incoming, path)) && !same(find(local, path), find(incoming, path)))
            put(&conflicts, &contested_set.nodes[i]);
    }
    /*
     * Names of one file go with the first of them, so what was not taken is read off; a name that the peer left as it
     * was asked for nothing.
     */
    for (size_t i = 0; !to_host && i < incoming->len; i++) {
        const struct node *in = &incoming->nodes[i];

        if (in->linked && find(local, in->path) && !same(find(&result, in->path), in) &&
            !same(find(&agreed, in->path), in))
            put(&conflicts, in);
    }
    agreed = *incoming;
    contested_set.len = 0;
    if (!to_host)
        contested_set = conflicts;
}

/* A whole exchange, checked against the model. */
static void exchange(bool to_host)
{
    struct exchange x = {.chunk = rnd(2) ? 0 : 1 + rnd(3000), .full = !rnd(6)};

    predict(to_host);
    /* A full listing cannot say of what is not there that it was contested. */
    for (size_t i = 0; to_host && i < contested_set.len; i++)
        x.full &= find(&box_image, contested_set.nodes[i].path) != NULL;
    if (run(to_host, &x) != 0)
        give_up("the exchange failed", x.err.msg);
    judge(to_host);
    exchange_clear(&x);
}

static void model(void **state)
{
    const char *seconds = getenv("ATP_MODEL_SECONDS"), *given = getenv("ATP_MODEL_SEED");
    time_t end = time(NULL) + (seconds ? strtol(seconds, NULL, 10) : 5);
    unsigned rounds = 0;

    (void)state;
    seed_start = given ? strtoull(given, NULL, 10) : (unsigned long long)time(NULL) * 1000 + (unsigned)getpid() % 1000;
    printf("seed %llu\n", seed_start);
    while (time(NULL) < end) {
        seed = seed_start;
        version = 0;
        host = side_new();
        box = side_new();
        keep = rig_dir();
        agreed.len = contested_set.len = 0;
        for (unsigned i = rnd(30); i; i--)
            edit(host.dirfd, "host");
        push_first(&host, &box);
        read_image(&agreed, host.dirfd);
        for (unsigned i = 0; i < 12; i++, rounds++) {
            for (unsigned k = rnd(8); k; k--)
                edit(host.dirfd, "host");
            for (unsigned k = rnd(8); k; k--)
                edit(box.dirfd, "box");
            if (!rnd(4)) {
                bool to_host = rnd(2);

                predict(to_host);
                if (!interrupted(to_host))
                    judge(to_host);
            }
            exchange(rnd(2));
            if (rnd(2))
                continue;
            exchange(true);
            exchange(false);
            assert_same_tree(&host, &box);
        }
        side_free(&host);
        side_free(&box);
        rig_remove(keep);
        seed_start++;
    }
    printf("%u rounds\n", rounds);
    assert_true(rounds > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(model)};

    umask(022);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
