/*
 * libarchive, loaded by lib_archive(). After it the functions are called by their own names, as with <archive.h>.
 */
#ifndef ATP_LIB_ARCHIVE_H
#define ATP_LIB_ARCHIVE_H

#include "compat/lib/lazy.h"

#include <archive.h>
#include <archive_entry.h>

struct err;

#define ARCHIVE_CALLS(X)                                                                                               \
    X(archive_entry_clear)                                                                                             \
    X(archive_entry_filetype)                                                                                          \
    X(archive_entry_free)                                                                                              \
    X(archive_entry_gid)                                                                                               \
    X(archive_entry_hardlink)                                                                                          \
    X(archive_entry_mtime)                                                                                             \
    X(archive_entry_mtime_nsec)                                                                                        \
    X(archive_entry_new)                                                                                               \
    X(archive_entry_pathname)                                                                                          \
    X(archive_entry_perm)                                                                                              \
    X(archive_entry_rdevmajor)                                                                                         \
    X(archive_entry_rdevminor)                                                                                         \
    X(archive_entry_set_filetype)                                                                                      \
    X(archive_entry_set_gid)                                                                                           \
    X(archive_entry_set_hardlink)                                                                                      \
    X(archive_entry_set_mtime)                                                                                         \
    X(archive_entry_set_pathname)                                                                                      \
    X(archive_entry_set_perm)                                                                                          \
    X(archive_entry_set_rdevmajor)                                                                                     \
    X(archive_entry_set_rdevminor)                                                                                     \
    X(archive_entry_set_size)                                                                                          \
    X(archive_entry_set_symlink)                                                                                       \
    X(archive_entry_set_uid)                                                                                           \
    X(archive_entry_size)                                                                                              \
    X(archive_entry_sparse_clear)                                                                                      \
    X(archive_entry_symlink)                                                                                           \
    X(archive_entry_uid)                                                                                               \
    X(archive_entry_xattr_add_entry)                                                                                   \
    X(archive_error_string)                                                                                            \
    X(archive_read_data_block)                                                                                         \
    X(archive_read_free)                                                                                               \
    X(archive_read_new)                                                                                                \
    X(archive_read_next_header)                                                                                        \
    X(archive_read_open2)                                                                                              \
    X(archive_read_open_fd)                                                                                            \
    X(archive_read_support_filter_bzip2)                                                                               \
    X(archive_read_support_filter_gzip)                                                                                \
    X(archive_read_support_filter_xz)                                                                                  \
    X(archive_read_support_filter_zstd)                                                                                \
    X(archive_read_support_format_empty)                                                                               \
    X(archive_read_support_format_raw)                                                                                 \
    X(archive_read_support_format_tar)                                                                                 \
    X(archive_set_error)                                                                                               \
    X(archive_write_add_filter_gzip)                                                                                   \
    X(archive_write_close)                                                                                             \
    X(archive_write_data)                                                                                              \
    X(archive_write_fail)                                                                                              \
    X(archive_write_free)                                                                                              \
    X(archive_write_header)                                                                                            \
    X(archive_write_new)                                                                                               \
    X(archive_write_open)                                                                                              \
    X(archive_write_open_fd)                                                                                           \
    X(archive_write_set_bytes_in_last_block)                                                                           \
    X(archive_write_set_bytes_per_block)                                                                               \
    X(archive_write_set_format_pax_restricted)                                                                         \
    X(archive_write_set_format_raw)                                                                                    \
    X(archive_write_set_options)

struct archive_calls {
    ARCHIVE_CALLS(LAZY_MEMBER)
};

extern struct archive_calls archive_calls;

/* Before the first of the calls below. */
int lib_archive(struct err *err);

#define archive_entry_clear                     (archive_calls.archive_entry_clear)
#define archive_entry_filetype                  (archive_calls.archive_entry_filetype)
#define archive_entry_free                      (archive_calls.archive_entry_free)
#define archive_entry_gid                       (archive_calls.archive_entry_gid)
#define archive_entry_hardlink                  (archive_calls.archive_entry_hardlink)
#define archive_entry_mtime                     (archive_calls.archive_entry_mtime)
#define archive_entry_mtime_nsec                (archive_calls.archive_entry_mtime_nsec)
#define archive_entry_new                       (archive_calls.archive_entry_new)
#define archive_entry_pathname                  (archive_calls.archive_entry_pathname)
#define archive_entry_perm                      (archive_calls.archive_entry_perm)
#define archive_entry_rdevmajor                 (archive_calls.archive_entry_rdevmajor)
#define archive_entry_rdevminor                 (archive_calls.archive_entry_rdevminor)
#define archive_entry_set_filetype              (archive_calls.archive_entry_set_filetype)
#define archive_entry_set_gid                   (archive_calls.archive_entry_set_gid)
#define archive_entry_set_hardlink              (archive_calls.archive_entry_set_hardlink)
#define archive_entry_set_mtime                 (archive_calls.archive_entry_set_mtime)
#define archive_entry_set_pathname              (archive_calls.archive_entry_set_pathname)
#define archive_entry_set_perm                  (archive_calls.archive_entry_set_perm)
#define archive_entry_set_rdevmajor             (archive_calls.archive_entry_set_rdevmajor)
#define archive_entry_set_rdevminor             (archive_calls.archive_entry_set_rdevminor)
#define archive_entry_set_size                  (archive_calls.archive_entry_set_size)
#define archive_entry_set_symlink               (archive_calls.archive_entry_set_symlink)
#define archive_entry_set_uid                   (archive_calls.archive_entry_set_uid)
#define archive_entry_size                      (archive_calls.archive_entry_size)
#define archive_entry_sparse_clear              (archive_calls.archive_entry_sparse_clear)
#define archive_entry_symlink                   (archive_calls.archive_entry_symlink)
#define archive_entry_uid                       (archive_calls.archive_entry_uid)
#define archive_entry_xattr_add_entry           (archive_calls.archive_entry_xattr_add_entry)
#define archive_error_string                    (archive_calls.archive_error_string)
#define archive_read_data_block                 (archive_calls.archive_read_data_block)
#define archive_read_free                       (archive_calls.archive_read_free)
#define archive_read_new                        (archive_calls.archive_read_new)
#define archive_read_next_header                (archive_calls.archive_read_next_header)
#define archive_read_open2                      (archive_calls.archive_read_open2)
#define archive_read_open_fd                    (archive_calls.archive_read_open_fd)
#define archive_read_support_filter_bzip2       (archive_calls.archive_read_support_filter_bzip2)
#define archive_read_support_filter_gzip        (archive_calls.archive_read_support_filter_gzip)
#define archive_read_support_filter_xz          (archive_calls.archive_read_support_filter_xz)
#define archive_read_support_filter_zstd        (archive_calls.archive_read_support_filter_zstd)
#define archive_read_support_format_empty       (archive_calls.archive_read_support_format_empty)
#define archive_read_support_format_raw         (archive_calls.archive_read_support_format_raw)
#define archive_read_support_format_tar         (archive_calls.archive_read_support_format_tar)
#define archive_set_error                       (archive_calls.archive_set_error)
#define archive_write_add_filter_gzip           (archive_calls.archive_write_add_filter_gzip)
#define archive_write_close                     (archive_calls.archive_write_close)
#define archive_write_data                      (archive_calls.archive_write_data)
#define archive_write_fail                      (archive_calls.archive_write_fail)
#define archive_write_free                      (archive_calls.archive_write_free)
#define archive_write_header                    (archive_calls.archive_write_header)
#define archive_write_new                       (archive_calls.archive_write_new)
#define archive_write_open                      (archive_calls.archive_write_open)
#define archive_write_open_fd                   (archive_calls.archive_write_open_fd)
#define archive_write_set_bytes_in_last_block   (archive_calls.archive_write_set_bytes_in_last_block)
#define archive_write_set_bytes_per_block       (archive_calls.archive_write_set_bytes_per_block)
#define archive_write_set_format_pax_restricted (archive_calls.archive_write_set_format_pax_restricted)
#define archive_write_set_format_raw            (archive_calls.archive_write_set_format_raw)
#define archive_write_set_options               (archive_calls.archive_write_set_options)

#endif
