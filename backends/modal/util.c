/* Small things that several services need. */
#include "backends/modal/internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JWT_MAX (16u << 10)

int64_t modal_jwt_expiry(const char *jwt)
{
    cleanup_buf struct buf text = BUF_INIT(JWT_MAX);
    const char *payload = strchr(jwt, '.'), *end = payload ? strchr(payload + 1, '.') : NULL;
    json_t *json, *exp;
    int64_t at = 0;

    if (!end || grpc_base64_decode(&text, payload + 1, (size_t)(end - payload - 1)) < 0)
        return 0;
    json = json_loadb(text.data, text.len, 0, NULL);
    exp = json_object_get(json, "exp");
    if (json_is_number(exp))
        at = (int64_t)json_number_value(exp);
    json_decref(json);
    return at > 0 ? at : 0;
}

void modal_uuid(char out[MODAL_UUID_LEN + 1])
{
    unsigned char b[16];

    if (getentropy(b, sizeof(b)) != 0)
        abort(); /* never on a system that has booted */
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    snprintf(out, MODAL_UUID_LEN + 1, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

void modal_entries_make(struct modal_entries *e, const struct strlist *list)
{
    *e = (struct modal_entries){.len = list->len};
    e->entries = xcalloc(list->len + 1, sizeof(*e->entries));
    e->pointers = xcalloc(list->len + 1, sizeof(*e->pointers));
    e->keys = xcalloc(list->len + 1, sizeof(*e->keys));
    for (size_t i = 0; i < list->len; i++) {
        char *item = list->items[i], *equals = strchr(item, '=');

        modal__client__string_entry__init(&e->entries[i]);
        e->keys[i] = equals ? xstrndup(item, (size_t)(equals - item)) : xstrdup(item);
        e->entries[i].key = e->keys[i];
        e->entries[i].value = equals ? equals + 1 : (char *)"";
        e->pointers[i] = &e->entries[i];
    }
}

void modal_entries_clear(struct modal_entries *e)
{
    for (size_t i = 0; i < e->len; i++)
        free(e->keys[i]);
    free(e->keys);
    free(e->entries);
    free(e->pointers);
    *e = (struct modal_entries){0};
}

void modal_waiters_add(struct modal_waiter **list, struct modal_waiter *waiter)
{
    while (*list)
        list = &(*list)->next;
    waiter->next = NULL;
    waiter->queued = true;
    *list = waiter;
}

void modal_waiters_remove(struct modal_waiter **list, struct modal_waiter *waiter)
{
    if (!waiter->queued)
        return;
    for (; *list; list = &(*list)->next)
        if (*list == waiter) {
            *list = waiter->next;
            break;
        }
    waiter->queued = false;
}

/* One that queues again meanwhile must wait for the next time, so a mark is put behind the last of now. */
void modal_waiters_wake(struct modal_waiter **list, const struct err *err)
{
    struct modal_waiter mark = {0}, *waiter;

    if (!*list)
        return;
    modal_waiters_add(list, &mark);
    while ((waiter = *list) != &mark) {
        modal_waiters_remove(list, waiter);
        waiter->fn(waiter, err);
    }
    modal_waiters_remove(list, &mark);
}
