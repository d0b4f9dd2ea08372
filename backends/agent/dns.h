/*
 * DNS messages: a query is read, an answer to it is written. Pure; whatever the bytes are, nothing beyond them is read.
 */
#ifndef ATP_AGENT_DNS_H
#define ATP_AGENT_DNS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

#define DNS_HEADER   12u
#define DNS_NAME_MAX 255u
#define DNS_UDP_MAX  512u   /* without EDNS */
#define DNS_OUR_UDP  4096u  /* what we say that we take */
#define DNS_MAX      65535u /* over TCP, and the most that EDNS can name */

enum dns_type { DNS_A = 1, DNS_PTR = 12, DNS_AAAA = 28, DNS_OPT = 41 };
enum dns_code { DNS_OK = 0, DNS_FORMAT = 1, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3, DNS_NOT_IMPLEMENTED = 4 };

struct dns_query {
    uint16_t id;
    uint16_t flags;
    char name[DNS_NAME_MAX + 1]; /* in lower case, without the last dot; "" where it has what no host's name has */
    uint16_t type, class;
    size_t question_len; /* of the name, type and class behind the header */
    bool edns;
    uint16_t udp_max; /* what the asker takes by UDP */
};

/* 1: a query that can be answered. 0: it is none, or so broken that nothing is said. -1: *ret_code is what to answer;
 * only id, flags and perhaps the question are known. */
int dns_read(const uint8_t *bytes, size_t len, struct dns_query *ret, enum dns_code *ret_code);

/* One address or, for PTR, a name. */
struct dns_record {
    uint16_t type;
    union {
        struct in_addr v4;
        struct in6_addr v6;
        const char *name;
    };
};

/*
 * Appends the answer: the query's own question, then the records, in order, as far as they fit into max bytes; cut ones
 * are told (TC).
 */
void dns_write(struct buf *b, const uint8_t *query, const struct dns_query *q, enum dns_code code,
               const struct dns_record *records, size_t n, size_t max);

/* Is this message the answer to that query: its number, and the same question? */
bool dns_answers(const uint8_t *bytes, size_t len, const uint8_t *query, size_t query_len);

/* The address that a name below in-addr.arpa stands for. */
bool dns_reverse(const char *name, struct in_addr *ret);

#endif
