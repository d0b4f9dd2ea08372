#include "backends/agent/dns.h"

#include "compat/base/buf.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define FLAG_RESPONSE  0x8000u
#define FLAG_OPCODE    0x7800u
#define FLAG_CUT       0x0200u
#define FLAG_RECURSION 0x0100u /* desired: copied from the query */
#define FLAG_AVAILABLE 0x0080u
#define CLASS_IN       1u
#define LABEL_MAX      63u
#define TTL            1u /* a restart may give a name another address */
#define OPT_LEN        11u
#define EXTRAS_MAX     16u /* records of a query behind its question: a few at most make sense */

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(struct buf *b, unsigned v)
{
    const uint8_t bytes[2] = {(uint8_t)(v >> 8), (uint8_t)v};

    buf_add(b, bytes, sizeof(bytes));
}

static void put32(struct buf *b, uint32_t v)
{
    put16(b, v >> 16);
    put16(b, v & 0xffff);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* What a host's name may hold; others are not ours and are only passed on. */
static bool is_plain(uint8_t c)
{
    return c > ' ' && c < 0x7f && c != '.' && c != '\\' && c != '/';
}

/* A name without pointers, as a question has it. Returns its length on the wire, 0 if it is none. */
static size_t read_name(const uint8_t *at, size_t left, char ret[DNS_NAME_MAX + 1])
{
    size_t pos = 0, len = 0;
    bool plain = true;

    for (;;) {
        size_t label;

        if (pos >= left || at[pos] > LABEL_MAX)
            return 0;
        label = at[pos++];
        if (!label)
            break;
        if (label >= left - pos || pos + label >= DNS_NAME_MAX)
            return 0;
        if (len)
            ret[len++] = '.';
        for (size_t i = 0; i < label; i++) {
            plain &= is_plain(at[pos + i]);
            ret[len++] = lower((char)at[pos + i]);
        }
        pos += label;
    }
    ret[plain ? len : 0] = '\0';
    return pos;
}

/* Steps over a name anywhere in a message, pointers and all. 0: it is broken. */
static size_t skip_name(const uint8_t *at, size_t left)
{
    size_t pos = 0;

    while (pos < left) {
        if ((at[pos] & 0xc0) == 0xc0)
            return pos + 2 <= left ? pos + 2 : 0;
        if (at[pos] > LABEL_MAX)
            return 0;
        if (!at[pos])
            return pos + 1;
        pos += 1u + at[pos];
    }
    return 0;
}

/* Looks for OPT behind the question. False: the message is broken. */
static bool read_extras(const uint8_t *bytes, size_t len, size_t at, struct dns_query *q)
{
    unsigned n = (unsigned)get16(bytes + 6) + get16(bytes + 8) + get16(bytes + 10);

    if (n > EXTRAS_MAX)
        return false;
    for (; n; n--) {
        size_t name = skip_name(bytes + at, len - at), data;

        if (!name || len - at - name < 10)
            return false;
        at += name;
        data = get16(bytes + at + 8);
        if (get16(bytes + at) == DNS_OPT) {
            q->edns = true;
            q->udp_max = get16(bytes + at + 2);
            if (q->udp_max < DNS_UDP_MAX)
                q->udp_max = DNS_UDP_MAX;
        }
        if (len - at - 10 < data)
            return false;
        at += 10 + data;
    }
    return true;
}

int dns_read(const uint8_t *bytes, size_t len, struct dns_query *ret, enum dns_code *ret_code)
{
    size_t name;

    if (len < DNS_HEADER || (get16(bytes + 2) & FLAG_RESPONSE))
        return 0;
    *ret = (struct dns_query){.id = get16(bytes), .flags = get16(bytes + 2), .udp_max = DNS_UDP_MAX};
    *ret_code = DNS_NOT_IMPLEMENTED;
    if (ret->flags & FLAG_OPCODE)
        return -1;
    *ret_code = DNS_FORMAT;
    if (get16(bytes + 4) != 1)
        return -1;
    name = read_name(bytes + DNS_HEADER, len - DNS_HEADER, ret->name);
    if (!name || len - DNS_HEADER - name < 4)
        return -1;
    ret->type = get16(bytes + DNS_HEADER + name);
    ret->class = get16(bytes + DNS_HEADER + name + 2);
    if (ret->class != CLASS_IN)
        ret->name[0] = '\0';
    if (!read_extras(bytes, len, DNS_HEADER + name + 4, ret))
        return -1;
    ret->question_len = name + 4;
    return 1;
}

/* A name as labels; false if it cannot be one. */
static bool put_name(struct buf *b, const char *name)
{
    while (*name) {
        size_t len = strcspn(name, ".");

        if (!len || len > LABEL_MAX)
            return false;
        buf_addc(b, (char)len);
        buf_add(b, name, len);
        name += len;
        if (*name)
            name++;
    }
    buf_addc(b, '\0');
    return true;
}

/* One record that answers the question, whose name stands at DNS_HEADER. */
static bool put_record(struct buf *b, const struct dns_record *r)
{
    struct buf data = BUF_INIT(DNS_NAME_MAX + 1);
    bool good = true;

    if (r->type == DNS_A)
        buf_add(&data, &r->v4, sizeof(r->v4));
    else if (r->type == DNS_AAAA)
        buf_add(&data, &r->v6, sizeof(r->v6));
    else
        good = put_name(&data, r->name);
    if (good && !data.overflowed) {
        put16(b, 0xc000u | DNS_HEADER);
        put16(b, r->type);
        put16(b, CLASS_IN);
        put32(b, TTL);
        put16(b, (unsigned)data.len);
        buf_add(b, data.data, data.len);
    }
    good &= !data.overflowed;
    buf_clear(&data);
    return good;
}

void dns_write(struct buf *b, const uint8_t *query, const struct dns_query *q, enum dns_code code,
               const struct dns_record *records, size_t n, size_t max)
{
    size_t start = b->len, count = 0, extra = q->edns ? OPT_LEN : 0;
    unsigned flags = FLAG_RESPONSE | FLAG_AVAILABLE | (q->flags & (FLAG_RECURSION | FLAG_OPCODE)) | code;

    put16(b, q->id);
    put16(b, 0); /* flags and the number of answers: known at the end */
    put16(b, q->question_len != 0);
    put16(b, 0);
    put16(b, 0);
    put16(b, q->edns);
    buf_add(b, query + DNS_HEADER, q->question_len);
    for (size_t i = 0; i < n; i++) {
        size_t before = b->len;

        if (!put_record(b, &records[i]))
            continue;
        if (b->len - start + extra > max) {
            buf_truncate(b, before);
            flags |= FLAG_CUT;
            break;
        }
        count++;
    }
    if (q->edns) {
        buf_addc(b, '\0');
        put16(b, DNS_OPT);
        put16(b, DNS_OUR_UDP);
        put32(b, 0);
        put16(b, 0);
    }
    if (b->overflowed)
        return;
    b->data[start + 2] = (char)(flags >> 8);
    b->data[start + 3] = (char)flags;
    b->data[start + 6] = (char)(count >> 8);
    b->data[start + 7] = (char)count;
}

bool dns_answers(const uint8_t *bytes, size_t len, const uint8_t *query, size_t query_len)
{
    size_t name = query_len > DNS_HEADER ? skip_name(query + DNS_HEADER, query_len - DNS_HEADER) : 0;

    if (len < DNS_HEADER || !(get16(bytes + 2) & FLAG_RESPONSE) || get16(bytes) != get16(query))
        return false;
    if (get16(bytes + 4) == 0) /* some servers leave the question out when they refuse */
        return (bytes[3] & 0xf) != DNS_OK;
    if (!name || len < DNS_HEADER + name + 4)
        return false;
    for (size_t i = DNS_HEADER; i < DNS_HEADER + name + 4; i++)
        if (lower((char)bytes[i]) != lower((char)query[i]))
            return false;
    return true;
}

bool dns_reverse(const char *name, struct in_addr *ret)
{
    unsigned a, b, c, d;
    int end = 0;

    if (sscanf(name, "%3u.%3u.%3u.%3u.in-addr.arpa%n", &a, &b, &c, &d, &end) != 4 || !end || name[end])
        return false;
    if (a > 255 || b > 255 || c > 255 || d > 255)
        return false;
    ret->s_addr = htonl(d << 24 | c << 16 | b << 8 | a);
    return true;
}
