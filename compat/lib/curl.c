#include "compat/lib/curl.h"

struct curl_calls curl_calls;

int lib_curl(struct err *err)
{
    static const char *const names[] = {CURL_CALLS(LAZY_NAME)};
    static struct lazy_library lib = {
        .files = {"libcurl.so.4", "libcurl.4.dylib"},
        .package = "libcurl4",
        .names = names,
        .count = sizeof(names) / sizeof(names[0]),
        .table = &curl_calls,
    };

    return lazy_load(&lib, err);
}
