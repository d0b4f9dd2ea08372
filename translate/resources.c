#include "translate/resources.h"

#include "compat/base/buf.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"
#include "compat/docker/csv.h"

#include <ctype.h>
#include <string.h>

#define NANO       1000000000ll
#define MIN_NANO   (NANO / 100) /* the kernel's smallest quota is 1 ms in a period of 100 ms */
#define MIN_MEMORY (6ll << 20)  /* the daemon's */
#define MIB        (1ll << 20)

int cpus_to_milli(int64_t nano, unsigned host_cpus, uint32_t *ret_milli, struct err *err)
{
    if (nano == 0) {
        *ret_milli = 0;
        return 0;
    }
    if (host_cpus && (nano < MIN_NANO || nano > (int64_t)host_cpus * NANO))
        return err_set(err, 125,
                       "Error response from daemon: Range of CPUs is from 0.01 to %u.00, as there are only %u CPUs "
                       "available",
                       host_cpus, host_cpus);
    if (nano < MIN_NANO || nano / (NANO / 1000) > UINT32_MAX)
        return err_set(err, 125, "Error response from daemon: Range of CPUs is from 0.01 to %u.00",
                       (unsigned)(UINT32_MAX / 1000));
    *ret_milli = (uint32_t)(nano / (NANO / 1000));
    return 0;
}

int memory_to_mib(int64_t bytes, uint32_t *ret_mib, struct err *err)
{
    int64_t mib = bytes / MIB + (bytes % MIB != 0);

    if (bytes != 0 && bytes < MIN_MEMORY)
        return err_set(err, 125, "Error response from daemon: Minimum memory limit allowed is 6MB");
    if (mib > UINT32_MAX)
        return err_set(err, 125, "Error response from daemon: the memory limit is larger than %u MiB", UINT32_MAX);
    *ret_mib = (uint32_t)mib;
    return 0;
}

/* The mode of one of Docker's own words, or NETWORK_MODE_MAX. */
static enum network_mode mode_of(const char *word)
{
    if (strcmp(word, "bridge") == 0 || strcmp(word, "default") == 0)
        return NETWORK_BRIDGE;
    if (strcmp(word, "host") == 0)
        return NETWORK_HOST;
    return strcmp(word, "none") == 0 ? NETWORK_NONE : NETWORK_MODE_MAX;
}

/*
 * The network's name in one value: the word itself, or name= of the long form, appended to names. The rest of the long
 * form (aliases, addresses) has no meaning for the modes that are carried out, and is refused.
 */
static int name_of(const char *word, struct strlist *names, struct err *err)
{
    cleanup_strlist struct strlist fields = STRLIST_INIT;

    if (!strchr(word, '=')) {
        strlist_add(names, word);
        return 0;
    }
    if (csv_fields(word, &fields, err) < 0)
        return -1;
    for (size_t i = 0; i < fields.len; i++) {
        if (strncasecmp(fields.items[i], "name=", 5) != 0)
            return err_set(err, 125,
                           "--network %s is not carried out by atp-docker: aliases and addresses belong to networks of "
                           "one's own, which are not carried out yet",
                           word);
        strlist_add(names, fields.items[i] + 5);
    }
    return 0;
}

/* Several networks: Docker tells mixtures apart from lists of its own words. */
static int several(const struct strlist *names, struct err *err)
{
    cleanup_buf struct buf all = BUF_INIT(LIMIT_PATH);
    size_t own_words = 0;

    for (size_t i = 0; i < names->len; i++) {
        own_words += mode_of(names->items[i]) != NETWORK_MODE_MAX;
        buf_addf(&all, "%s%s", i ? ", " : "", names->items[i]);
    }
    if (own_words > 0 && own_words < names->len)
        return err_set(err, 125,
                       "conflicting options: cannot attach both user-defined and non-user-defined network-modes");
    if (own_words > 0)
        return err_set(err, 125, "Error response from daemon: Container cannot be connected to network endpoints: %s",
                       all.data);
    return err_set(
        err, 125,
        "--network is not carried out by atp-docker for networks of one's own yet (%s); none, host, bridge are",
        all.data);
}

int network_parse(const struct strlist *words, enum network_mode *ret, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;
    enum network_mode mode;

    for (size_t i = 0; i < words->len; i++)
        if (name_of(words->items[i], &names, err) < 0)
            return -1;
    if (names.len == 0) {
        *ret = NETWORK_DEFAULT;
        return 0;
    }
    if (names.len > 1)
        return several(&names, err);
    if (names.items[0][0] == '\0')
        return err_set(err, 125, "no name set for network");
    if (strncmp(names.items[0], "container:", 10) == 0)
        return err_set(err, 125,
                       "--network %s is not carried out by atp-docker: sandboxes cannot share a network namespace",
                       names.items[0]);
    mode = mode_of(names.items[0]);
    if (mode == NETWORK_MODE_MAX)
        return several(&names, err);
    *ret = mode;
    return 0;
}

const char *network_mode_name(enum network_mode mode)
{
    if (mode == NETWORK_HOST)
        return "host";
    return mode == NETWORK_NONE ? "none" : "bridge";
}
