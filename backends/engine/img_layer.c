#include "backends/engine/img_layer.h"

#include "backends/engine/img_store.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY_SHOWN 20 /* 80 bits of the key: enough to tell layers apart, short enough for mount options */

/* The folder of a layer: its directory f and the file size. */
static char *folder(const char *dir, const char *key)
{
    return xasprintf("%s/l/%.*s", dir, KEY_SHOWN, key);
}

char *img_layer_dir(const char *dir, const char *key)
{
    return xasprintf("%s/l/%.*s/f", dir, KEY_SHOWN, key);
}

bool img_layer_exists(const char *dir, const char *key)
{
    cleanup_free char *path = img_layer_dir(dir, key);

    return fs_exists(path);
}

int64_t img_layer_size(const char *dir, const char *key)
{
    cleanup_free char *path = xasprintf("%s/l/%.*s/size", dir, KEY_SHOWN, key);
    struct buf text cleanup_buf = BUF_INIT(64);

    if (fs_read_file(path, &text, NULL) < 0)
        return -1;
    return strtoll(text.data, NULL, 10);
}

int img_layer_keep(const char *dir, const char *tmp, const char *key, int64_t size, struct err *err)
{
    cleanup_free char *size_path = xasprintf("%s/size", tmp), *path = folder(dir, key);
    char text[32];
    int len = snprintf(text, sizeof(text), "%lld\n", (long long)size);

    if (fs_write_file(size_path, text, (size_t)len, 0600, err) < 0)
        return -1;
    if (rename(tmp, path) < 0 && errno != EEXIST && errno != ENOTEMPTY)
        return err_set_errno(err, 0, errno, "keeping layer %s", path);
    return 0;
}

void img_layer_remove(const char *dir, const char *key)
{
    cleanup_free char *path = folder(dir, key);
    cleanup_free char *tmp = img_store_tmp(dir, NULL);

    /* Out of sight first: half a layer is never seen. */
    if (tmp && rename(path, tmp) == 0)
        img_store_remove(tmp);
}
