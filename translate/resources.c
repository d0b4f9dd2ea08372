#include "translate/resources.h"

#include "compat/base/err.h"

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

const char *network_mode_name(enum network_mode mode)
{
    if (mode == NETWORK_HOST)
        return "host";
    return mode == NETWORK_NONE ? "none" : "bridge";
}
