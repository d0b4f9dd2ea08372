/*
 * /etc/resolv.conf: what it says before we change it, and how it is pointed at the resolver. Written in place, as it
 * may be a mount of its own.
 */
#ifndef ATP_AGENT_RESOLV_H
#define ATP_AGENT_RESOLV_H

#include "compat/base/buf.h"
#include "compat/base/strlist.h"

#include <sys/socket.h>

struct err;

#define RESOLV_SERVERS 3 /* as many as the C libraries take */

struct resolv {
    struct sockaddr_storage servers[RESOLV_SERVERS];
    size_t n_servers;
    char *search;  /* the last "search" or "domain" line's words, NULL: none */
    char *options; /* all options, NULL: none */
};

/* A file that is not there says nothing. Servers that are `ours` (an address) are left out. */
void resolv_read(const char *path, const char *ours, struct resolv *ret);
void resolv_clear(struct resolv *r);
/* nameserver ours, search and options as they were, and ndots:0 unless they have one. */
int resolv_write(const char *path, const char *ours, const struct resolv *r, struct err *err);
/* What a person has chosen instead (--dns, --dns-search, --dns-option): lists that are empty leave what is there. */
int resolv_choose(const char *path, const struct strlist *servers, const struct strlist *search,
                  const struct strlist *options, struct err *err);

#endif
