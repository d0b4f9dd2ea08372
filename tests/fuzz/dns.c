/*
 * Fuzz target: what the agent's resolver reads from a client, and the answer that it makes of it. With clang:
 * -fsanitize=fuzzer,address. The unit test agent_dns drives the same function with mutated seeds.
 */
#include "backends/agent/dns.h"
#include "compat/base/buf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct dns_record records[3] = {
        {.type = DNS_A}, {.type = DNS_AAAA}, {.type = DNS_PTR, .name = "a.long-name.example"}};
    cleanup_buf struct buf b = BUF_INIT(DNS_MAX);
    enum dns_code code = DNS_OK;
    struct dns_query q;
    struct in_addr address;
    int got;

    if (len > DNS_MAX)
        return 0;
    dns_answers(bytes, len, bytes, len);
    got = dns_read(bytes, len, &q, &code);
    if (!got)
        return 0;
    if (strlen(q.name) > DNS_NAME_MAX || q.udp_max < DNS_UDP_MAX || (got > 0 && q.question_len > len - DNS_HEADER))
        abort();
    dns_reverse(q.name, &address);
    dns_write(&b, bytes, &q, got < 0 ? code : DNS_OK, records, got < 0 ? 0 : 3, q.udp_max);
    if (b.len < DNS_HEADER || b.len > q.udp_max)
        abort();
    if (got > 0 && !dns_answers((const uint8_t *)b.data, b.len, bytes, len))
        abort();
    return 0;
}
