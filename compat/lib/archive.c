#include "compat/lib/archive.h"

struct archive_calls archive_calls;

int lib_archive(struct err *err)
{
    static const char *const names[] = {ARCHIVE_CALLS(LAZY_NAME)};
    static struct lazy_library lib = {
        .files = {"libarchive.so.13", "libarchive.13.dylib"},
        .package = "libarchive13",
        .names = names,
        .count = sizeof(names) / sizeof(names[0]),
        .table = &archive_calls,
    };

    return lazy_load(&lib, err);
}
