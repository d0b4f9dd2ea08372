#include "backends/agent/cp.h"

#include "backends/agent/answer.h"
#include "backends/agent/link.h"
#include "backends/agent/user.h"
#include "backends/tree/reader.h"
#include "backends/tree/writer.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/paths.h"
#include "compat/sys/beneath.h"
#include "translate/tree/place.h"
#include "translate/tree/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CREDIT_STEP (WIRE_WINDOW / 8) /* bytes laid out before the client is told */

/* Paths below "/" where cp neither looks nor writes. */
static const char *const root_left_out[] = {".atp", NULL};
static const char *const root_closed[] = {"proc", "sys", "dev", NULL};
static const char *const root_unwritten[] = {"proc", "sys", "dev", ".atp", NULL};
static const char *const itself_closed[] = {"", NULL};

/* ---- what a path is ---- */

static void send_stat(struct answer *a, const struct wire_stat *s)
{
    if (wire_put_stat(&a->client->queue, s) == 0)
        link_send(a->client);
}

/* Says that path is missing, which ends the answer. */
static int say_missing(struct answer *a, const char *path)
{
    struct wire_stat s = {.path = (char *)path, .link = (char *)""};

    send_stat(a, &s);
    answer_done(a);
    return 0;
}

/* A path as the user gave it, looked at: the last link is followed if asked, or if the path says so by its end. */
struct found {
    char *path;  /* owned: absolute, without links on the way */
    char *asked; /* owned: absolute and clean, ends as given */
    char *leads; /* owned: where a link leads; NULL if it is none */
    bool exists;
    bool through_file; /* it is missing because a part of its path is no directory */
    struct stat st;
};

static void found_clear(struct found *f)
{
    free(f->path);
    free(f->asked);
    free(f->leads);
}

/* -1 with err only for what is neither there nor missing. */
static int find(const char *given, bool follow, struct found *ret, struct err *err)
{
    cleanup_free char *clean = path_absolute("/", given);
    bool dir = place_asserts_dir(given);

    *ret = (struct found){.asked = place_keep_end(clean, given)};
    ret->path = cp_resolve(clean, follow || dir, err);
    if (!ret->path)
        return -1;
    ret->exists = cp_stat(ret->path, &ret->st) == 0;
    ret->through_file = !ret->exists && errno == ENOTDIR;
    if (!ret->exists)
        return errno == ENOENT || errno == ENOTDIR ? 0 : err_set_errno(err, 1, errno, "lstat %s", ret->asked);
    if (S_ISLNK(ret->st.st_mode) && !(ret->leads = cp_resolve(ret->path, /* last= */ true, err)))
        return -1;
    return 0;
}

static void tell_found(struct answer *a, const struct found *f, const char *given)
{
    cleanup_free char *unfollowed = cp_resolve(given, /* last= */ false, NULL);
    struct wire_stat s = {.exists = true,
                          .followed = unfollowed && strcmp(unfollowed, f->path) != 0,
                          .type = tree_type_of(f->st.st_mode),
                          .mode = f->st.st_mode & 07777,
                          .size = S_ISREG(f->st.st_mode) ? (uint64_t)f->st.st_size : 0,
                          .mtime_ns = beneath_mtime(&f->st),
                          .path = f->path,
                          .link = f->leads ? f->leads : (char *)""};

    send_stat(a, &s);
}

/* Docker's text for "file/", "file/x" and the like: -1. */
static int check_dirs(const struct found *f, const char *given, struct err *err)
{
    bool no_dir = f->exists && place_asserts_dir(given) && !S_ISDIR(f->st.st_mode);
    cleanup_free char *shown = NULL;

    if (!no_dir && !f->through_file)
        return 0;
    shown = place_keep_end(f->path, given);
    return err_set(err, 1, "Error response from daemon: lstat %s: not a directory", shown);
}

static int stat_start(struct answer *a, struct err *err)
{
    cleanup_with(found_clear) struct found f = {NULL};

    if (find(a->ask.text, a->ask.flags & WIRE_ASK_FOLLOW, &f, err) < 0)
        return -1;
    if (!f.exists)
        return say_missing(a, f.path);
    tell_found(a, &f, a->ask.text);
    answer_done(a);
    return 0;
}

const struct answer_kind answer_stat = {.start = stat_start};

/* ---- reading ---- */

struct reading {
    struct tree_reader *reader;
    struct buf out;
    size_t sent; /* bytes at its start */
    bool read;   /* all of the tree is in `out` */
    int dir;
    char *name, *shown, *base; /* owned */
};

/* Sends while there is room. A file that cannot be read ends it. */
static void read_on(struct answer *a)
{
    cleanup_err struct err err = ERR_INIT;
    struct reading *r = a->state;

    while (!a->over) {
        size_t room = answer_room(a), n = r->out.len - r->sent;
        int more;

        if (n > WIRE_CHUNK)
            n = WIRE_CHUNK;
        if (n > room)
            n = room;
        if (n) {
            answer_send(a, WIRE_TREE, r->out.data + r->sent, n);
            r->sent += n;
            continue;
        }
        if (r->out.len > r->sent)
            return; /* no room now */
        if (r->read) {
            answer_send(a, WIRE_TREE_END, NULL, 0);
            answer_done(a);
            return;
        }
        buf_reset(&r->out);
        r->sent = 0;
        more = tree_reader_next(r->reader, &r->out, &err);
        if (more < 0) {
            err_wrap(&err, "Error response from daemon");
            answer_refuse(a, &err);
            return;
        }
        r->read = !more;
    }
}

/* The source of a path that is there. -1 and errno. */
static int open_source(struct reading *r, const struct found *f, bool dense, struct tree_source *ret)
{
    bool dir = S_ISDIR(f->st.st_mode);
    cleanup_free char *parent = dir ? xstrdup(f->path) : place_parent(f->path);

    r->dir = cp_open_dir(parent);
    r->name = dir ? xstrdup("") : place_base(f->path);
    r->shown = xstrdup(f->path);
    *ret = (struct tree_source){.dir = r->dir, .name = r->name, .shown = r->shown, .dense = dense};
    if (strcmp(f->path, "/") == 0) {
        ret->left_out = root_left_out;
        ret->closed = root_closed;
    } else if (cp_closed(f->path)) {
        ret->closed = itself_closed;
    }
    return r->dir < 0 ? -1 : 0;
}

/* With FOLLOW what is missing may be the target. */
static bool is_link(const char *given)
{
    cleanup_free char *path = cp_resolve(given, /* last= */ false, NULL);
    struct stat st;

    return path && cp_stat(path, &st) == 0;
}

static int read_start(struct answer *a, struct err *err)
{
    cleanup_with(found_clear) struct found f = {NULL};
    struct reading *r = xcalloc(1, sizeof(*r));
    struct tree_head head = {0};
    struct tree_source source;

    buf_init(&r->out, 2 * TREE_READER_ROOM);
    r->dir = -1;
    a->state = r;
    if (!*a->ask.text)
        return err_set(err, 1, "Error response from daemon: bad parameter: pathcannot be empty"); /* as Docker has it */
    if (find(a->ask.text, a->ask.flags & WIRE_ASK_FOLLOW, &f, err) < 0)
        return -1;
    if (check_dirs(&f, a->ask.text, err) < 0)
        return -1;
    if (!f.exists)
        return say_missing(a, is_link(a->ask.text) ? f.path : a->ask.text);
    if (open_source(r, &f, a->ask.flags & WIRE_ASK_DENSE, &source) < 0)
        return err_set_errno(err, 1, errno, "Error response from daemon: open %s", f.path);
    r->base = place_base(f.asked);
    head = (struct tree_head){.flags = strcmp(r->base, ".") ? 0 : TREE_CONTENTS, .base = r->base};
    r->reader = tree_reader_new(&source, &head, err);
    if (!r->reader)
        return err_wrap(err, "Error response from daemon");
    tell_found(a, &f, a->ask.text);
    read_on(a);
    return 0;
}

static void read_clear(struct answer *a)
{
    struct reading *r = a->state;

    if (!r)
        return;
    tree_reader_free(r->reader);
    buf_clear(&r->out);
    if (r->dir >= 0)
        close(r->dir);
    free(r->name);
    free(r->shown);
    free(r->base);
    free(r);
}

const struct answer_kind answer_read = {.start = read_start, .go_on = read_on, .clear = read_clear};

/* ---- writing ---- */

struct writing {
    struct answer *answer;
    struct tree_writer *writer;
    const char *path; /* in ask.text */
    bool one_owner;
    struct user user;
    size_t uncredited;
    bool placed, ended;
};

/* The destination as place_choose() wants it: a link that stands there is followed. */
static int look_at_dest(const char *given, char **ret_path, struct place_dest *ret, struct err *err)
{
    cleanup_with(found_clear) struct found f = {NULL}, led = {NULL};
    const struct found *is = &f;

    *ret_path = xstrdup(given);
    if (find(given, /* follow= */ false, &f, err) < 0)
        return -1;
    if (f.leads) {
        free(*ret_path);
        *ret_path = xstrdup(f.leads);
        if (find(f.leads, /* follow= */ false, &led, err) < 0)
            return -1;
        is = &led;
    }
    *ret = (struct place_dest){.path = *ret_path, .exists = is->exists && *given};
    if (!ret->exists)
        return 0;
    if (S_ISCHR(is->st.st_mode) || S_ISBLK(is->st.st_mode))
        return err_set(err, 1, "must be a directory or a regular file: got a device");
    ret->is_dir = S_ISDIR(is->st.st_mode);
    ret->exists = ret->is_dir || !place_asserts_dir(*ret_path); /* "file/" is nothing */
    return 0;
}

/* Opens where it goes. Missing: *ret_missing, and -1 with err for the writer. */
static int open_dest(const struct place *place, struct tree_dest *ret, bool *ret_missing, struct err *err)
{
    cleanup_free char *dir = cp_resolve(place->dir, /* last= */ true, err);
    cleanup_free char *inside = NULL;
    struct stat st;

    if (!dir)
        return -1;
    inside = place->name ? xasprintf("%s/%s", strcmp(dir, "/") ? dir : "", place->name) : xstrdup(dir);
    if (cp_closed(dir) || cp_hidden(inside) || cp_stat(dir, &st) < 0) {
        *ret_missing = true;
        return err_set(err, 1, "missing");
    }
    if (!S_ISDIR(st.st_mode))
        return err_set(err, 1, "Error response from daemon: extraction point is not a directory");
    ret->dir = cp_open_dir(dir);
    if (ret->dir < 0)
        return err_set_errno(err, 1, errno, "Error response from daemon: open %s", dir);
    ret->closed = strcmp(dir, "/") ? NULL : root_unwritten;
    ret->shown = steal(&dir);
    return 0;
}

/* Docker's choice, once it is known what comes. */
static int place_it(void *arg, const struct tree_head *head, const struct tree_entry *root, struct tree_dest *ret,
                    struct err *err)
{
    struct writing *w = arg;
    cleanup_free char *path = NULL;
    cleanup_with(place_clear) struct place place = {NULL, NULL};
    struct place_dest dest = {NULL};
    bool missing = false;

    if (look_at_dest(w->path, &path, &dest, err) < 0)
        return -1;
    if (head->flags & TREE_LOOSE && !dest.is_dir)
        return err_set(err, 1, "must be a directory");
    if (place_choose(head, root ? root->type : TREE_DIR, &dest, &place, err) < 0)
        return -1;
    if (open_dest(&place, ret, &missing, err) < 0) {
        if (missing)
            say_missing(w->answer, place.dir);
        return -1;
    }
    ret->name = steal(&place.name);
    ret->owners = ret->set_ids = ret->fifos = true;
    ret->one_owner = w->one_owner;
    ret->uid = w->user.uid;
    ret->gid = w->user.gid;
    w->placed = true;
    return 0;
}

/* The user in front of the path, with ARCHIVE. */
static int take_user(struct writing *w, const struct wire_ask *ask, struct err *err)
{
    const char *slash = strchr(ask->text, '/');
    cleanup_free char *name = NULL;

    w->path = ask->text;
    if (!(ask->flags & WIRE_ASK_ARCHIVE))
        return 0;
    if (!slash)
        return err_set(err, 1, "a path without its user");
    w->path = slash + 1;
    name = xstrndup(ask->text, (size_t)(slash - ask->text));
    if (!*name)
        return 0;
    w->one_owner = true;
    if (user_lookup(name, &w->user, err) == 0)
        return 0;
    return err_wrap(err, "Error response from daemon");
}

static int write_start(struct answer *a, struct err *err)
{
    struct writing *w = xcalloc(1, sizeof(*w));

    a->state = w;
    w->answer = a;
    w->writer = tree_writer_new(place_it, w);
    return take_user(w, &a->ask, err);
}

/* What was laid out may come again. */
static void credit(struct answer *a, struct writing *w, size_t len)
{
    w->uncredited += len;
    if (w->uncredited < CREDIT_STEP)
        return;
    wire_put_credit(&a->client->queue, WIRE_STREAM_STDIN, (uint32_t)w->uncredited);
    link_send(a->client);
    w->uncredited = 0;
}

static int write_frame(struct answer *a, const struct wire_frame *f, struct err *err)
{
    cleanup_err struct err why = ERR_INIT;
    struct writing *w = a->state;

    if (w->ended)
        return err_set(err, 125, "%s frame after the end of the tree", wire_type_name(f->type));
    w->ended = f->type == WIRE_TREE_END;
    if (w->ended) {
        if (tree_writer_finish(w->writer, &why) == 0) {
            answer_done(a);
            return 0;
        }
    } else if (tree_writer_feed(w->writer, f->data, f->len, &why) == 0) {
        credit(a, w, f->len);
        return 0;
    }
    w->ended = true;
    if (w->placed)
        err_wrap(&why, "Error response from daemon");
    if (!a->over)
        answer_refuse(a, &why);
    return 0;
}

static void write_clear(struct answer *a)
{
    struct writing *w = a->state;

    if (!w)
        return;
    tree_writer_free(w->writer);
    user_clear(&w->user);
    free(w);
}

const struct answer_kind answer_write = {.start = write_start, .frame = write_frame, .clear = write_clear};
