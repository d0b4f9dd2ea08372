#include "backends/agent/share_mate.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/sys/fs.h"
#include "translate/wire/volume.h"
#include "translate/wire/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROLE_MAX 64

bool mate_wanted(const struct wire_names *names, const struct wire_volume *v)
{
    return names->self && *names->self && names->hub && *names->hub && names->token && *names->token && !v->scratch;
}

char *mate_path(const char *run_dir, size_t index, const char *suffix)
{
    return xasprintf("%s/volume.%zu.%s", run_dir, index, suffix);
}

static char *role_path(const char *run_dir, const char *key)
{
    return xasprintf("%s/volumes/%s.role", run_dir, key);
}

void mate_role_read(const char *run_dir, const char *key, struct mate_role *ret)
{
    cleanup_free char *path = role_path(run_dir, key);
    cleanup_buf struct buf b = BUF_INIT(ROLE_MAX);
    char *end;

    *ret = (struct mate_role){0};
    if (!fs_exists(path) || fs_read_file(path, &b, NULL) < 0 || b.len < 2)
        return;
    ret->known = true;
    ret->saves = b.data[0] == '1';
    ret->floor = strtoull(b.data + 1, &end, 10);
}

void mate_role_write(const char *run_dir, const char *key, const struct mate_role *role)
{
    cleanup_free char *path = role_path(run_dir, key), *dir = xasprintf("%s/volumes", run_dir);
    cleanup_free char *text = NULL;

    if (!role) {
        unlink(path);
        return;
    }
    text = xasprintf("%d %llu\n", role->saves, (unsigned long long)role->floor);
    if (fs_mkdirs(dir, 0700, NULL) == 0)
        fs_write_file(path, text, strlen(text), 0600, NULL);
}
