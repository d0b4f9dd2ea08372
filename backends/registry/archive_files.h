/*
 * The files of an archive, spooled to numbered files in a private folder; names of the archive are only ever compared.
 */
#ifndef ATP_REGISTRY_ARCHIVE_FILES_H
#define ATP_REGISTRY_ARCHIVE_FILES_H

#include <stdbool.h>
#include <stdint.h>

struct archive_files;
struct buf;
struct err;

struct archive_files *archive_files_spool(int fd, const char *tmpdir, struct err *err);
void archive_files_free(struct archive_files *f); /* removes the folder */

/* Links within the archive are followed. A name that is not there: "open NAME: no such file or directory". */
bool archive_files_has(const struct archive_files *f, const char *name);
int archive_files_read(struct archive_files *f, const char *name, struct buf *out, struct err *err);
/* Digest (65 bytes) and length (may be NULL) of the uncompressed contents; remembered. */
int archive_files_diff_id(struct archive_files *f, const char *name, char *ret_hex, int64_t *ret_size, struct err *err);
/* Path of the contents as plain tar or gzip; owned by caller, good until free. */
int archive_files_plain(struct archive_files *f, const char *name, char **ret_path, struct err *err);
/*
 * Path (borrowed until free), digest and length of the contents in their own form, and which form that is; those with a
 * form that no registry knows are unpacked.
 */
enum archive_form { ARCHIVE_PLAIN, ARCHIVE_GZIP, ARCHIVE_ZSTD };
int archive_files_own(struct archive_files *f, const char *name, const char **ret_path, char *ret_hex,
                      int64_t *ret_size, enum archive_form *ret_form, struct err *err);
/* A path in the folder that nothing uses yet; owned by caller. */
char *archive_files_new(struct archive_files *f);

#endif
