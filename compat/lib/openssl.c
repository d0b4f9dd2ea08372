#include "compat/lib/openssl.h"

struct openssl_calls openssl_calls;

int lib_openssl(struct err *err)
{
    static const char *const names[] = {OPENSSL_CALLS(LAZY_NAME)};
    static struct lazy_library lib = {
        .files = {"libssl.so.3", "libssl.3.dylib"},
        .package = "libssl3",
        .names = names,
        .count = sizeof(names) / sizeof(names[0]),
        .table = &openssl_calls,
    };

    return lazy_load(&lib, err);
}
