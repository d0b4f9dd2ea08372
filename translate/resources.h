/*
 * Units: Docker's --cpus, -m and network words to what Modal's protocol carries (modal-protocol.md 5.4, 5.5).
 *
 * Rounding. Modal counts thousandths of a core and MiB. CPU is rounded down, never below 1 milli-core: a container
 * never gets more processor than asked. Memory is rounded up to a MiB: a limit that is cut below what a program was
 * measured to need would kill it, and the surplus is below one MiB. Docker's limits are hard: they fill both the
 * request and the maximum of the protocol's Resources.
 */
#ifndef ATP_TRANSLATE_RESOURCES_H
#define ATP_TRANSLATE_RESOURCES_H

#include <stdbool.h>
#include <stdint.h>

struct err;

enum network_mode {
    NETWORK_DEFAULT, /* no word was given */
    NETWORK_BRIDGE,  /* "bridge", "default": NetworkAccess OPEN */
    NETWORK_HOST,    /* "host": NetworkAccess OPEN; there is no host to share, the container sees its own interfaces */
    NETWORK_NONE,    /* "none": NetworkAccess BLOCKED */
    NETWORK_OWN,     /* networks of one's own: container_spec.networks (translate/networks.h) */
    NETWORK_MODE_MAX
};

/* Checks Docker's range (0.01 to host_cpus; 0 = upper end not known) and converts; 0 stays 0 = not limited. */
int cpus_to_milli(int64_t nano, unsigned host_cpus, uint32_t *ret_milli, struct err *err);

/* Checks the 6 MB minimum and converts; 0 stays 0. */
int memory_to_mib(int64_t bytes, uint32_t *ret_mib, struct err *err);

/* "bridge" for the default too, as inspect prints it; a network of one's own has its own name. */
const char *network_mode_name(enum network_mode mode);

#endif
