/* Images, their tags, and what they are called on each server. */
#include "backends/state/db.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <string.h>

#define COLUMNS "id, config, source, pull, size, created, added, layers, parent"

void state_image_clear(struct state_image *im)
{
    free(im->id);
    free(im->config);
    free(im->source);
    free(im->pull);
    free(im->layers);
    free(im->parent);
    memset(im, 0, sizeof(*im));
}

/* Reads a row of COLUMNS. */
static void read_image(sqlite3_stmt *st, void *ret)
{
    *(struct state_image *)ret = (struct state_image){
        .id = db_text(st, 0),
        .config = db_text(st, 1),
        .source = db_text(st, 2),
        .pull = db_text(st, 3),
        .size = sqlite3_column_int64(st, 4),
        .created = sqlite3_column_int64(st, 5),
        .added = sqlite3_column_int64(st, 6),
        .layers = db_text(st, 7),
        .parent = db_text(st, 8),
    };
}

int state_image_put(struct state *s, const struct state_image *im, const char *ref, const char *digest, struct err *err)
{
    if (db_run(s, err,
               "INSERT INTO images (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
               " config = excluded.config, source = excluded.source, pull = excluded.pull, size = excluded.size,"
               " layers = excluded.layers, parent = excluded.parent, removed = 0",
               "ssssiiiss", im->id, im->config, im->source, im->pull, im->size, im->created, im->added, im->layers,
               im->parent) < 0)
        return -1;
    if (!ref)
        return 0;
    return db_run(s, err, "INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", "sss", ref, im->id, digest ? digest : "");
}

/* "docker.io/library/x:1@sha256:..." -> "docker.io/library/x:", the start of all names of the repository. */
static char *names_of_repository(const char *ref)
{
    const char *at = strchr(ref, '@'), *slash = strrchr(ref, '/'), *colon;
    size_t len = at ? (size_t)(at - ref) : strlen(ref);

    colon = memchr(slash ? slash : ref, ':', len - (slash ? (size_t)(slash - ref) : 0));
    return xasprintf("%.*s:", (int)(colon ? (size_t)(colon - ref) : len), ref);
}

int state_image_by_ref(struct state *s, const char *ref, struct state_image *ret, struct err *err)
{
    const char *at = strchr(ref, '@');
    cleanup_free char *names = names_of_repository(ref);
    cleanup_stmt sqlite3_stmt *st =
        db_prepare(s, err,
                   "SELECT " COLUMNS " FROM images JOIN tags ON tags.image = images.id WHERE removed = 0 AND (tags.ref"
                   " = ? OR (tags.digest = ? AND substr(tags.ref, 1, length(?)) = ?)) LIMIT 1",
                   "ssss", ref, at ? at + 1 : "-", names, names);

    return db_one(s, st, read_image, ret, NULL, err);
}

int state_image_by_id(struct state *s, const char *id, struct state_image *ret, struct err *err)
{
    const char *hex = !strncmp(id, "sha256:", 7) ? id + 7 : id;
    cleanup_free char *pattern = NULL;
    cleanup_stmt sqlite3_stmt *st = NULL;
    bool more = false;
    int got;

    if (!*hex || strspn(hex, "0123456789abcdef") != strlen(hex))
        return 0;
    pattern = xasprintf("sha256:%s*", hex);
    st = db_prepare(s, err, "SELECT " COLUMNS " FROM images WHERE removed = 0 AND id GLOB ? LIMIT 2", "s", pattern);
    got = db_one(s, st, read_image, ret, &more, err);
    if (got > 0 && more) {
        state_image_clear(ret);
        return 0;
    }
    return got;
}

/* Several statements as one: all of them or none. */
static int begin(struct state *s, struct err *err)
{
    return db_run(s, err, "BEGIN IMMEDIATE", "");
}

/* Its end; ret is what the statements came to. */
static int finish(struct state *s, int ret, struct err *err)
{
    if (ret >= 0 && db_run(s, err, "COMMIT", "") == 0)
        return ret;
    db_run(s, NULL, "ROLLBACK", "");
    return -1;
}

int state_image_tag(struct state *s, const char *id, const char *ref, struct err *err)
{
    cleanup_free char *names = names_of_repository(ref);

    return db_run(s, err,
                  "INSERT OR REPLACE INTO tags VALUES (?, ?, coalesce((SELECT digest FROM tags WHERE image = ? AND"
                  " digest != '' AND replace(substr(ref, 1, length(?)), '@', ':') = ? ORDER BY ref LIMIT 1), ''))",
                  "sssss", ref, id, id, names, names);
}

int state_image_untag(struct state *s, const char *ref, struct err *err)
{
    cleanup_free char *names = names_of_repository(ref);
    int ret = -1;

    if (begin(s, err) < 0)
        return -1;
    if (db_run(s, err,
               "UPDATE tags SET digest = (SELECT digest FROM tags WHERE ref = ?) WHERE digest = '' AND ref != ? AND"
               " substr(ref, 1, length(?)) = ? AND image = (SELECT image FROM tags WHERE ref = ?)",
               "sssss", ref, ref, names, names, ref) == 0 &&
        db_run(s, err, "DELETE FROM tags WHERE ref = ?", "s", ref) == 0)
        ret = sqlite3_changes(s->db) > 0;
    return finish(s, ret, err);
}

int state_image_drop_digest(struct state *s, const char *id, const char *repository, const char *digest,
                            struct err *err)
{
    cleanup_free char *alone = xasprintf("%s@%s", repository, digest), *names = xasprintf("%s:", repository);
    const char *end = strchr(alone, '@');
    int ret = -1;

    if (begin(s, err) < 0)
        return -1;
    if (db_run(s, err,
               "DELETE FROM tags WHERE image = ? AND (ref = ? OR (substr(ref, 1, length(?)) = ? AND"
               " substr(ref, -length(?)) = ?))",
               "ssssss", id, alone, names, names, end, end) == 0)
        ret = db_run(s, err,
                     "UPDATE tags SET digest = '' WHERE image = ? AND digest = ? AND substr(ref, 1, length(?)) = ?",
                     "ssss", id, digest, names, names);
    return finish(s, ret, err);
}

/* ---- the end of an image ---- */

int state_image_hide(struct state *s, const char *id, struct err *err)
{
    int ret = -1;

    if (begin(s, err) < 0)
        return -1;
    if (db_run(s, err, "UPDATE images SET removed = 1 WHERE id = ?", "s", id) == 0)
        ret = db_run(s, err, "DELETE FROM tags WHERE image = ?", "s", id);
    return finish(s, ret, err);
}

int state_image_kept(struct state *s, const char *id, struct state_image *ret, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(s, err, "SELECT " COLUMNS " FROM images WHERE id = ?", "s", id);

    return db_one(s, st, read_image, ret, NULL, err);
}

/* Adds the first column of every row. */
static int add_texts(struct state *s, sqlite3_stmt *st, struct strlist *ret, struct err *err)
{
    int got = -1;

    while (st && (got = db_step(s, st, err)) > 0)
        strlist_add_owned(ret, db_text(st, 0));
    return got;
}

int state_image_to_sweep(struct state *s, const char *server, struct strlist *ret_ids, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st =
        db_prepare(s, err,
                   "SELECT id FROM images WHERE removed = 1 AND id NOT IN (SELECT image_id FROM containers WHERE"
                   " image_id IS NOT NULL) AND id NOT IN (SELECT parent FROM images WHERE parent IS NOT NULL) AND (id "
                   "NOT IN (SELECT image FROM server_images) OR id IN"
                   " (SELECT image FROM server_images WHERE server = coalesce(?, server)))",
                   "s", server);

    return add_texts(s, st, ret_ids, err);
}

int state_image_forget(struct state *s, const char *id, struct err *err)
{
    return db_run(s, err,
                  "DELETE FROM images WHERE id = ? AND removed = 1 AND id NOT IN (SELECT image FROM server_images)",
                  "s", id);
}

int state_image_has_children(struct state *s, const char *id, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(
        s, err, "SELECT 1 FROM images WHERE parent = ? AND source = 'commit' AND removed = 0 LIMIT 1", "s", id);

    return st ? db_step(s, st, err) : -1;
}

/* ---- lists ---- */

int state_image_tags(struct state *s, const char *id, struct strlist *ret_refs, struct strlist *ret_digests,
                     struct err *err)
{
    cleanup_stmt sqlite3_stmt *st =
        db_prepare(s, err, "SELECT ref, digest FROM tags WHERE image = ? ORDER BY ref", "s", id);
    int got;

    if (!st)
        return -1;
    while ((got = db_step(s, st, err)) > 0) {
        strlist_add_owned(ret_refs, db_text(st, 0));
        strlist_add_owned(ret_digests, db_text(st, 1));
    }
    return got;
}

static void clear_image(void *im)
{
    state_image_clear(im);
}

/* Those of which `removed` is at most max. */
static int list_images(struct state *s, int64_t max, struct state_image **ret, size_t *ret_len, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st =
        db_prepare(s, err, "SELECT " COLUMNS " FROM images WHERE removed <= ? ORDER BY created DESC, id", "i", max);
    void *list = NULL;

    if (db_list(s, st, sizeof(**ret), read_image, clear_image, &list, ret_len, err) < 0)
        return -1;
    *ret = list;
    return 0;
}

int state_image_list(struct state *s, struct state_image **ret, size_t *ret_len, struct err *err)
{
    return list_images(s, 0, ret, ret_len, err);
}

int state_image_list_all(struct state *s, struct state_image **ret, size_t *ret_len, struct err *err)
{
    return list_images(s, 1, ret, ret_len, err);
}

int state_server_image_get(struct state *s, const char *server, const char *id, const char *layer, char **ret,
                           struct err *err)
{
    cleanup_stmt sqlite3_stmt *st =
        db_prepare(s, err, "SELECT modal_id FROM server_images WHERE server = ? AND image = ? AND layer = ?", "sss",
                   server, id, layer);
    int got = st ? db_step(s, st, err) : -1;

    if (got > 0)
        *ret = db_text(st, 0);
    return got;
}

int state_server_image_put(struct state *s, const char *server, const char *id, const char *layer, const char *modal_id,
                           struct err *err)
{
    return db_run(s, err, "INSERT OR REPLACE INTO server_images VALUES (?, ?, ?, ?)", "ssss", server, id, layer,
                  modal_id);
}

int state_server_image_own(struct state *s, const char *server, const char *id, struct strlist *ret_modal_ids,
                           struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(
        s, err,
        "SELECT DISTINCT modal_id FROM server_images WHERE server = ? AND image = ? AND modal_id NOT IN"
        " (SELECT modal_id FROM server_images WHERE server = ? AND (image != ? OR layer = '" STATE_LAYER_KEPT "'))",
        "ssss", server, id, server, id);

    return add_texts(s, st, ret_modal_ids, err);
}

int state_server_image_drop(struct state *s, const char *server, const char *id, struct err *err)
{
    return db_run(s, err, "DELETE FROM server_images WHERE server = ? AND image = ?", "ss", server, id);
}
