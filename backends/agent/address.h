/*
 * The container's addresses. By ioctl(2), as that works everywhere, also where there is no netlink.
 */
#ifndef ATP_AGENT_ADDRESS_H
#define ATP_AGENT_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>

/* The first IPv4 address that is not the loopback's; false if there is none. */
bool address_own(struct in_addr *ret);

#endif
