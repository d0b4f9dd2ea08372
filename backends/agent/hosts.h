/*
 * /etc/hosts as it is now: read again whenever it has changed, as the platform rewrites it when a container comes or
 * goes. Only IPv4 addresses count.
 */
#ifndef ATP_AGENT_HOSTS_H
#define ATP_AGENT_HOSTS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

struct hosts;

#define HOSTS_MAX (1u << 20) /* bytes; more is not looked at */

struct hosts *hosts_new(const char *path); /* the file need not be there */
void hosts_free(struct hosts *h);          /* NULL is fine */

/* The first address of a name, in whatever case. */
bool hosts_find(struct hosts *h, const char *name, struct in_addr *ret);
/* The i-th name of an address, borrowed until the next call; NULL if there are fewer. */
const char *hosts_name_of(struct hosts *h, struct in_addr address, size_t i);

#endif
