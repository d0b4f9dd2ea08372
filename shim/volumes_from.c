/* `docker run --volumes-from`. */
#include "shim/volume.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/container.h"
#include "translate/spec.h"

#include <string.h>

#define DAEMON "Error response from daemon: "

static int add_from(struct app *app, const char *word, struct container_spec *spec, struct err *err)
{
    const char *colon = strchr(word, ':'), *mode = colon ? colon + 1 : "rw";
    cleanup_free char *name = xstrndup(word, strcspn(word, ":"));
    cleanup_with(container_clear) struct container other;

    container_init(&other, app);
    if (!*name)
        return err_set(err, 125, DAEMON "malformed volumes-from specification: %s", word);
    if (strcmp(mode, "ro") != 0 && strcmp(mode, "rw") != 0 && strcmp(mode, "z") != 0 && strcmp(mode, "Z") != 0)
        return err_set(err, 125, DAEMON "invalid mode: %s", mode);
    if (container_find(&other, name, err) < 0 || container_load(&other, err) < 0) {
        if (err)
            err->exit_code = 125;
        return -1;
    }
    return mounts_add_from(&spec->mounts, &other.spec.mounts, word, strcmp(mode, "ro") == 0, err);
}

int volumes_from(struct app *app, const struct strlist *words, struct container_spec *spec, struct err *err)
{
    for (size_t i = 0; words && i < words->len; i++)
        if (add_from(app, words->items[i], spec, err) < 0)
            return -1;
    return 0;
}
