/* A container that is made anew keeps the anonymous volumes of the one that it replaces. */
#include "shim/compose/team.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/container.h"

#include <stdlib.h>
#include <string.h>

/* The field of that name in the value of --mount; *ret_len its length. NULL: there is none. */
static const char *field(const char *value, const char *name, size_t *ret_len)
{
    size_t len = strlen(name);

    while (value && *value) {
        size_t whole = strcspn(value, ",");

        if (whole > len && value[len] == '=' && strncmp(value, name, len) == 0) {
            *ret_len = whole - len - 1;
            return value + len + 1;
        }
        value += whole + (value[whole] == ',');
    }
    return NULL;
}

static bool is_text(const char *text, size_t len, const char *wanted)
{
    return strlen(wanted) == len && strncmp(text, wanted, len) == 0;
}

/* What mounts something at target: the value with the volume put in where it names none. NULL: it is about something
 * else. *ret_kept: it is the volume's now; otherwise the file names what is to be there. */
static char *with_volume(const char *option, const char *value, const char *name, const char *target, bool *ret_kept)
{
    size_t len = 0;

    *ret_kept = false;
    if (strcmp(option, "--volume") == 0) {
        const char *colon = strchr(value, ':');

        *ret_kept = !colon && strcmp(value, target) == 0;
        if (*ret_kept)
            return xasprintf("%s:%s", name, target);
        len = colon ? strcspn(colon + 1, ":") : 0;
        return colon && is_text(colon + 1, len, target) ? xstrdup(value) : NULL;
    }
    if (strcmp(option, "--mount") == 0) {
        const char *there = field(value, "target", &len), *type;

        if (!there || !is_text(there, len, target))
            return NULL;
        type = field(value, "type", &len);
        *ret_kept = type && is_text(type, len, "volume") && !field(value, "source", &len);
        return *ret_kept ? xasprintf("%s,source=%s", value, name) : xstrdup(value);
    }
    return NULL;
}

static void keep_one(struct strlist *words, const char *name, const char *target)
{
    cleanup_free char *plain = xasprintf("%s:%s", name, target);
    size_t at = 0;
    bool kept;

    for (; at + 1 < words->len && strcmp(words->items[at], "--"); at++) {
        char *value = with_volume(words->items[at], words->items[at + 1], name, target, &kept);

        if (!value)
            continue;
        free(words->items[at + 1]);
        words->items[at + 1] = value;
        return;
    }
    strlist_insert(words, 0, plain); /* the image declares it */
    strlist_insert(words, 0, "--volume");
}

void team_keep_volumes(const struct team *w, const struct state_container *old, struct strlist *words)
{
    struct container c;

    if (w->renew_volumes)
        return;
    container_init(&c, w->app);
    c.row = *old; /* borrowed */
    if (container_load(&c, NULL) == 0)
        for (size_t i = 0; i < c.spec.mounts.len; i++) {
            const struct mount *m = &c.spec.mounts.items[i];

            if (m->type == MOUNT_VOLUME && m->anonymous && m->source)
                keep_one(words, m->source, m->target);
        }
    c.row = (struct state_container){0};
    container_clear(&c);
}
