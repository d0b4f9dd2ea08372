#include "translate/container_row.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/strlist.h"
#include "compat/docker/quote.h"
#include "compat/docker/units.h"
#include "translate/names.h"
#include "translate/ports.h"
#include "translate/reference.h"

#include <string.h>

#define COMMAND_MAX 20
#define MOUNT_MAX   15
#define TEXT_MAX    (64u << 20) /* a command line with all its arguments, escaped */

/* "none" without a check */
static const char *health_of(const json_t *inspect)
{
    const json_t *health = json_object_get(json_object_get(inspect, "State"), "Health");
    const char *word = json_string_value(json_object_get(health, "Status"));

    return word && (!strcmp(word, "healthy") || !strcmp(word, "unhealthy") || !strcmp(word, "starting")) ? word
                                                                                                         : "none";
}

char *container_row_status(const struct container_row *row, int64_t now_ns)
{
    bool paused = strcmp(row->status, "paused") == 0, running = paused || strcmp(row->status, "running") == 0;
    const char *health = health_of(row->inspect);
    int64_t then = running ? row->started_ns : row->finished_ns;
    cleanup_free char *age = units_age(now_ns > then ? now_ns - then : 0);

    if (paused)
        return xasprintf("Up %s (Paused)", age);
    if (running && strcmp(health, "none") != 0)
        return xasprintf("Up %s (%s%s)", age, strcmp(health, "starting") == 0 ? "health: " : "", health);
    if (running)
        return xasprintf("Up %s", age);
    if (strcmp(row->status, "restarting") == 0)
        return xasprintf("Restarting (%d) %s ago", row->exit_code, age);
    if (strcmp(row->status, "removing") == 0)
        return xstrdup("Removal In Progress");
    if (strcmp(row->status, "created") == 0 || !row->started_ns)
        return xstrdup("Created");
    return row->finished_ns ? xasprintf("Exited (%d) %s ago", row->exit_code, age) : xstrdup("");
}

char *container_row_cut(const char *text, size_t max)
{
    struct buf out = BUF_INIT(TEXT_MAX);
    size_t len = strlen(text), taken = 0, used;
    uint32_t rune;

    if (rune_count(text, len) <= max)
        return xstrdup(text);
    for (size_t i = 0; i + 1 < max; i++, taken += used)
        used = rune_decode(text + taken, len - taken, &rune);
    buf_add(&out, text, taken);
    buf_adds(&out, "…");
    return buf_detach(&out);
}

char *container_row_command(const json_t *inspect)
{
    const char *path = json_string_value(json_object_get(inspect, "Path"));
    struct buf out = BUF_INIT(TEXT_MAX);
    const json_t *arg;
    size_t i;

    buf_adds(&out, path ? path : "");
    json_array_foreach(json_object_get(inspect, "Args"), i, arg)
    {
        const char *text = json_string_value(arg);

        buf_addf(&out, text && strchr(text, ' ') ? " '%s'" : " %s", text ? text : "");
    }
    return buf_detach(&out);
}

/* The command as the list shows it: cut, and in quotes. */
static char *shown_command(const json_t *inspect, bool no_trunc)
{
    cleanup_free char *whole = container_row_command(inspect);
    cleanup_free char *cut = no_trunc ? NULL : container_row_cut(whole, COMMAND_MAX);

    return quote_go_str(cut ? cut : whole);
}

/* The image by the name that was used, without its digest; by its id when the name means another one by now. */
static char *shown_image(const struct container_row *row, bool no_trunc)
{
    struct reference ref = {0};
    const char *id = row->image_id ? row->image_id : "";
    char *shown;

    if (!row->image_name_stands && *id)
        return no_trunc ? xstrdup(id) : xasprintf("%.*s", CONTAINER_SHORT_ID_LEN, id + strlen("sha256:"));
    if (no_trunc || !strchr(row->image, '@') || reference_parse(row->image, &ref, NULL) < 0)
        return xstrdup(row->image);
    free(ref.digest);
    ref.digest = NULL;
    shown = reference_familiar(&ref);
    reference_clear(&ref);
    return shown;
}

/* "a=b,c=d", sorted as a whole */
static char *joined_labels(const json_t *inspect)
{
    json_t *labels = json_object_get(json_object_get(inspect, "Config"), "Labels"), *value;
    cleanup_strlist struct strlist list = STRLIST_INIT;
    struct buf out = BUF_INIT(TEXT_MAX);
    const char *key;

    json_object_foreach(labels, key, value)
        strlist_addf(&list, "%s=%s", key, json_is_string(value) ? json_string_value(value) : "");
    strlist_sort(&list);
    for (size_t i = 0; i < list.len; i++)
        buf_addf(&out, "%s%s", i ? "," : "", list.items[i]);
    return buf_detach(&out);
}

/* Names of volumes and sources of binds, as Docker counts and lists them. */
static char *joined_mounts(const json_t *inspect, bool no_trunc, int *ret_volumes)
{
    const json_t *mounts = json_object_get(inspect, "Mounts"), *mount;
    struct buf out = BUF_INIT(TEXT_MAX);
    size_t i;

    *ret_volumes = 0;
    json_array_foreach(mounts, i, mount)
    {
        const char *name = json_string_value(json_object_get(mount, "Name"));
        const char *source = json_string_value(json_object_get(mount, "Source"));
        cleanup_free char *cut = NULL;

        *ret_volumes += name != NULL;
        name = name ? name : source ? source : "";
        cut = no_trunc ? xstrdup(name) : container_row_cut(name, MOUNT_MAX);
        buf_addf(&out, "%s%s", i ? "," : "", cut);
    }
    return buf_detach(&out);
}

static char *joined_networks(const json_t *inspect)
{
    json_t *networks = json_object_get(json_object_get(inspect, "NetworkSettings"), "Networks");
    struct buf out = BUF_INIT(TEXT_MAX);

    for (void *at = json_object_iter(networks); at; at = json_object_iter_next(networks, at))
        buf_addf(&out, "%s%s", out.len ? "," : "", json_object_iter_key(at));
    return buf_detach(&out);
}

/* "0B (virtual 1.98MB)" */
static char *shown_size(int64_t image_size)
{
    cleanup_free char *whole = units_size_digits((double)image_size, 3);

    return image_size > 0 ? xasprintf("0B (virtual %s)", whole) : xstrdup("0B");
}

json_t *container_row_json(const struct container_row *row, bool no_trunc, int64_t now_ns)
{
    const json_t *inspect = row->inspect;
    int volumes;
    cleanup_free char *command = shown_command(inspect, no_trunc), *image = shown_image(row, no_trunc);
    cleanup_free char *labels = joined_labels(inspect);
    cleanup_free char *mounts = joined_mounts(inspect, no_trunc, &volumes), *count = xasprintf("%d", volumes);
    cleanup_free char *networks = joined_networks(inspect), *size = shown_size(row->image_size);
    cleanup_free char *ports = ports_column(json_object_get(json_object_get(inspect, "NetworkSettings"), "Ports"));
    cleanup_free char *age = units_age(now_ns > row->created_ns ? now_ns - row->created_ns : 0);
    cleanup_free char *running_for = xasprintf("%s ago", age), *status = container_row_status(row, now_ns);
    cleanup_free char *id = no_trunc ? xstrdup(row->id) : xstrndup(row->id, CONTAINER_SHORT_ID_LEN);

    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:n, s:s, s:s, s:s, s:s, s:s}", "Command", command,
                     "CreatedAt", row->created_at, "ID", id, "Image", image, "Labels", labels, "LocalVolumes", count,
                     "Mounts", mounts, "Names", row->name, "Networks", networks, "Platform", "Ports", ports,
                     "RunningFor", running_for, "Size", size, "State", row->status, "Status", status);
}

json_t *container_row_label(const char *name, const json_t *args, void *arg)
{
    const json_t *inspect = *(const json_t *const *)arg;
    const char *key = json_string_value(json_array_get(args, 0));
    const char *value;

    if (strcmp(name, "Label") != 0 || !key)
        return NULL;
    value = json_string_value(json_object_get(json_object_get(json_object_get(inspect, "Config"), "Labels"), key));
    return json_string(value ? value : "");
}
