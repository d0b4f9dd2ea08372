#include "translate/caps.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/strlist.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* By their numbers; "*" before a name: Docker gives it to every container. */
static const char *const names[] = {
    "*CHOWN",
    "*DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "*FOWNER",
    "*FSETID",
    "*KILL",
    "*SETGID",
    "*SETUID",
    "*SETPCAP",
    "LINUX_IMMUTABLE",
    "*NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "*NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "*SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "*MKNOD",
    "LEASE",
    "*AUDIT_WRITE",
    "AUDIT_CONTROL",
    "*SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
};
#define NAMES (sizeof(names) / sizeof(names[0]))

char *caps_name(const char *text)
{
    char *name = strncasecmp(text, "CAP_", 4) == 0 || strcasecmp(text, CAPS_ALL) == 0 ? xstrdup(text)
                                                                                      : xasprintf("CAP_%s", text);

    for (char *c = name; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    return name;
}

int caps_bit(const char *name)
{
    for (size_t i = 0; i < NAMES; i++)
        if (strncmp(name, "CAP_", 4) == 0 && strcmp(names[i] + (names[i][0] == '*'), name + 4) == 0)
            return (int)i;
    return -1;
}

bool caps_usual(const char *text)
{
    cleanup_free char *name = caps_name(text);
    int bit = caps_bit(name);

    return bit >= 0 && names[bit][0] == '*';
}

/* The mask of a list; *ret_all: ALL is in it. */
static uint64_t mask_of(const struct strlist *list, bool *ret_all)
{
    uint64_t mask = 0;

    *ret_all = false;
    for (size_t i = 0; i < list->len; i++) {
        cleanup_free char *name = caps_name(list->items[i]);
        int bit = caps_bit(name);

        *ret_all |= strcmp(name, CAPS_ALL) == 0;
        if (bit >= 0)
            mask |= UINT64_C(1) << bit;
    }
    return mask;
}

uint64_t caps_kept(const struct strlist *add, const struct strlist *drop)
{
    bool all_added, all_dropped;
    uint64_t added = mask_of(add, &all_added), dropped = mask_of(drop, &all_dropped), usual = 0;

    for (size_t i = 0; i < NAMES; i++)
        usual |= names[i][0] == '*' ? UINT64_C(1) << i : 0;
    if (all_added)
        return ~dropped;
    if (all_dropped)
        return added;
    return (usual & ~dropped) | added;
}
