/* Images, their tags, and what they are called on each server. */
#include "backends/state/db.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <string.h>

#define COLUMNS "id, config, source, pull, size, created, added"

void state_image_clear(struct state_image *im)
{
    free(im->id);
    free(im->config);
    free(im->source);
    free(im->pull);
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
    };
}

int state_image_put(struct state *s, const struct state_image *im, const char *ref, const char *digest, struct err *err)
{
    if (db_run(s, err,
               "INSERT INTO images (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
               " config = excluded.config, source = excluded.source, pull = excluded.pull, size = excluded.size",
               "ssssiii", im->id, im->config, im->source, im->pull, im->size, im->created, im->added) < 0)
        return -1;
    if (!ref)
        return 0;
    return db_run(s, err, "INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", "sss", ref, im->id, digest ? digest : "");
}

int state_image_by_ref(struct state *s, const char *ref, struct state_image *ret, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(
        s, err, "SELECT " COLUMNS " FROM images JOIN tags ON tags.image = images.id WHERE tags.ref = ?", "s", ref);

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
    st = db_prepare(s, err, "SELECT " COLUMNS " FROM images WHERE id GLOB ? LIMIT 2", "s", pattern);
    got = db_one(s, st, read_image, ret, &more, err);
    if (got > 0 && more) {
        state_image_clear(ret);
        return err_set(err, 125, "ambiguous image id prefix: %s", id);
    }
    return got;
}

int state_image_untag(struct state *s, const char *ref, struct err *err)
{
    if (db_run(s, err, "DELETE FROM tags WHERE ref = ?", "s", ref) < 0)
        return -1;
    return sqlite3_changes(s->db) > 0;
}

int state_image_delete(struct state *s, const char *id, struct err *err)
{
    return db_run(s, err, "DELETE FROM images WHERE id = ?", "s", id);
}

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

int state_image_list(struct state *s, struct state_image **ret, size_t *ret_len, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(s, err, "SELECT " COLUMNS " FROM images ORDER BY created DESC, id", "");
    void *list = NULL;

    if (db_list(s, st, sizeof(**ret), read_image, clear_image, &list, ret_len, err) < 0)
        return -1;
    *ret = list;
    return 0;
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

int state_server_image_drop(struct state *s, const char *server, const char *id, struct err *err)
{
    return db_run(s, err, "DELETE FROM server_images WHERE server = ? AND image = ?", "ss", server, id);
}
