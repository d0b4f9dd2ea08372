/* What is called by another digest than its blob's. */
#include "backends/blobs/blobs.h"
#include "backends/blobs/blobs_impl.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NOTE_MAX 512

int blobs_note(struct blobs *b, const char *key, const struct blob_note *note, struct err *err)
{
    cleanup_free char *to = blobs_path(b, "notes", key), *text = NULL;

    if (!to || !blobs_hex(note->digest) || note->size < 0 || strpbrk(note->media_type, " \n"))
        return err_set(err, 125, "no note can be made of %.80s", key);
    text = xasprintf("%s %" PRId64 " %s\n", note->digest, note->size, note->media_type);
    return blobs_write_text(b, to, text, err);
}

/* One line, as blobs_note() writes it. */
static bool parse(const char *text, struct blob_note *ret)
{
    struct blob_note note = {.size = -1};
    int end = 0;

    if (sscanf(text, "%71s %" SCNd64 " %103s%n", note.digest, &note.size, note.media_type, &end) != 3 ||
        strcmp(text + end, "\n") != 0 || !blobs_hex(note.digest) || note.size < 0)
        return false;
    *ret = note;
    return true;
}

bool blobs_find(const struct blobs *b, const char *key, struct blob_note *ret)
{
    cleanup_free char *path = blobs_path(b, "notes", key);
    cleanup_buf struct buf text = BUF_INIT(NOTE_MAX);
    cleanup_err struct err why = ERR_INIT;
    struct blob_note note;

    if (!path || fs_read_file(path, &text, &why) < 0 || !parse(text.data, &note) ||
        blobs_size(b, note.digest) != note.size)
        return false;
    *ret = note;
    return true;
}
