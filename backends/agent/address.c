#include "backends/agent/address.h"

#include "compat/base/cleanup.h"

#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define INTERFACES_MAX 64

bool address_own(struct in_addr *ret)
{
    struct ifreq all[INTERFACES_MAX];
    struct ifconf list = {.ifc_len = sizeof(all), .ifc_req = all};
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || ioctl(fd, SIOCGIFCONF, &list) < 0)
        return false;
    for (size_t i = 0; i < (size_t)list.ifc_len / sizeof(all[0]); i++) {
        struct sockaddr_in at;

        memcpy(&at, &all[i].ifr_addr, sizeof(at));
        if (at.sin_family != AF_INET || (ntohl(at.sin_addr.s_addr) >> 24) == 127)
            continue;
        *ret = at.sin_addr;
        return true;
    }
    return false;
}
