/* An image that gets another id. */
#include "backends/state/db.h"
#include "compat/base/err.h"

#include <string.h>

/* The statements of the replacement, each of which takes the new id and the old one. */
static const char *const moves[] = {
    "UPDATE tags SET image = ? WHERE image = ?",
    "UPDATE OR REPLACE server_images SET image = ? WHERE image = ?",
    "UPDATE containers SET image_id = ? WHERE image_id = ?",
    "UPDATE images SET parent = ? WHERE parent = ?",
};

static int replace(struct state *s, const char *old_id, const struct state_image *im, struct err *err)
{
    if (state_image_put(s, im, NULL, NULL, err) < 0)
        return -1;
    for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
        if (db_run(s, err, moves[i], "ss", im->id, old_id) < 0)
            return -1;
    }
    return db_run(s, err, "DELETE FROM images WHERE id = ?", "s", old_id);
}

int state_image_replace(struct state *s, const char *old_id, const struct state_image *im, struct err *err)
{
    if (strcmp(old_id, im->id) == 0)
        return state_image_put(s, im, NULL, NULL, err);
    if (db_run(s, err, "BEGIN IMMEDIATE", "") < 0)
        return -1;
    if (replace(s, old_id, im, err) == 0 && db_run(s, err, "COMMIT", "") == 0)
        return 0;
    db_run(s, NULL, "ROLLBACK", "");
    return -1;
}
