/*
 * Fuzz target: a compose project from hostile files. The input is cut at each NUL byte: the compose file, a file that
 * it may include or extend, and .env. With libFuzzer: clang -fsanitize=fuzzer,address,undefined -I. on this file, those
 * of translate/compose and compat/base and what they need of translate and compat/docker, with -lfyaml -ljansson -lm.
 */
#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "translate/compose/compose.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct disk {
    char *texts[3];
};

static int find(const char *path)
{
    static const char *const names[] = {"/w/compose.yaml", "/w/o.yaml", "/w/.env"};

    for (int i = 0; i < 3; i++)
        if (!strcmp(names[i], path))
            return i;
    return -1;
}

static char *read_file(void *arg, const char *path, struct err *err)
{
    const struct disk *d = arg;
    int i = find(path);

    if (i >= 0 && d->texts[i])
        return xstrdup(d->texts[i]);
    err_set_errno(err, 1, ENOENT, "%s", path);
    return NULL;
}

static bool exists(void *arg, const char *path, bool *ret_is_dir)
{
    const struct disk *d = arg;
    int i = find(path);

    *ret_is_dir = false;
    return i >= 0 && d->texts[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct strlist environment = STRLIST_INIT;
    struct disk disk = {{NULL}};
    struct compose_input in = {
        .cwd = "/w", .home = "/h", .environ = &environment, .read = read_file, .exists = exists, .arg = &disk};
    struct compose_project p = {.files = STRLIST_INIT};
    struct err err = ERR_INIT;

    for (int i = 0; i < 3 && size; i++) {
        size_t len = strnlen((const char *)data, size);

        disk.texts[i] = xstrndup((const char *)data, len);
        data += len + (len < size);
        size -= len + (len < size);
    }
    strlist_add(&environment, "A=1");
    if (compose_load(&in, &p, &err) < 0 && !err.msg)
        abort();
    compose_project_clear(&p);
    strlist_clear(&environment);
    err_clear(&err);
    for (int i = 0; i < 3; i++)
        free(disk.texts[i]);
    return 0;
}
