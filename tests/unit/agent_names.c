/* link: atp_session atp_bsync atp_tsync atp_wire atp_sys atp_base */
#include "tests/unit/agent_rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* Names of a pod: real hubs and members, each with an /etc of its own, asked over DNS as a C library would. */

#define DNS_AT  "127.0.0.11"
#define OUTSIDE "127.77.0.1" /* the server that /etc/resolv.conf had: port 53 is the only one it can name */
#define SILENT  "127.77.0.2"

enum { A = 1, PTR = 12, MX = 15, TXT = 16, AAAA = 28 };

static uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    getsockname(fd, (struct sockaddr *)&at, &len);
    close(fd);
    return ntohs(at.sin_port);
}

/* ---- agents ---- */

struct pod {
    struct rig hub;
    char port[16];
};

struct box {
    struct rig rig;
    struct run run;
    char etc[64];
    uint16_t dns;
    struct wire_names names;
};

static void pod_start(struct pod *p)
{
    snprintf(p->port, sizeof(p->port), "%u", free_port());
    rig_start(&p->hub, "--hub", "--hub-token", "secret", "--hub-port", p->port, "--speak-every", "200",
              "--orphaned-after", "10000", "--orphan-grace", "600000", NULL);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    cleanup_free char *path = xasprintf("%s/%s", dir, name);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static char *read_file(const char *dir, const char *name)
{
    cleanup_free char *path = xasprintf("%s/%s", dir, name);
    static char text[4096];
    FILE *f = fopen(path, "r");

    assert_non_null(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    return text;
}

static void write_hosts(struct box *b, const char *lines)
{
    cleanup_free char *text = xasprintf("127.0.0.1 localhost main\n%s", lines);

    write_file(b->etc, "hosts", text);
}

/* A container that is told its names; run_main() starts its process. */
static void box_start(struct box *b, const struct pod *p, const char *self, const char *hosts)
{
    char dns[16];

    *b = (struct box){.dns = free_port()};
    snprintf(b->etc, sizeof(b->etc), "/tmp/atp-names-XXXXXX");
    assert_non_null(mkdtemp(b->etc));
    write_hosts(b, hosts);
    write_file(b->etc, "resolv.conf",
               "# comment\nsearch corp.example\nnameserver " OUTSIDE "\noptions edns0 trust-ad\n");
    snprintf(dns, sizeof(dns), "%u", b->dns);
    rig_start(&b->rig, "--etc", b->etc, "--dns-address", DNS_AT, "--dns-port", dns, "--hub-port", p->port,
              "--speak-every", "200", "--orphaned-after", "10000", NULL);
    b->names = (struct wire_names){.token = xstrdup("secret"), .hub = xstrdup("main"), .self = xstrdup(self)};
}

static void box_main(struct box *b)
{
    run_init(&b->run, &b->rig, "sleep 100");
    b->run.start.main = b->run.start.keep = true;
    b->run.start.names = &b->names;
    run_begin(&b->run, NULL, 0);
    assert_true(run_turn(&b->run, RIG_DEADLINE, is_started));
    session_detach(b->run.session);
    run_finish(&b->run);
    run_clear(&b->run);
}

static void box_ask(struct box *b, const struct wire_ask *ask)
{
    struct run r;

    run_init(&r, &b->rig, NULL);
    r.ask = ask;
    run_all(&r, NULL, 0);
    assert_int_equal(r.result.end, SESSION_EXITED);
    run_clear(&r);
}

static void box_stop(struct box *b)
{
    rig_stop(&b->rig);
    rig_remove(b->etc);
    wire_names_clear(&b->names);
}

/* ---- questions ---- */

static size_t make_query(uint8_t *to, uint16_t id, const char *name, uint16_t type, bool edns)
{
    const uint8_t head[12] = {(uint8_t)(id >> 8), (uint8_t)id, 1, 0, 0, 1, 0, 0, 0, 0, 0, edns};
    size_t at = sizeof(head);

    memcpy(to, head, sizeof(head));
    while (*name) {
        size_t len = strcspn(name, ".");

        to[at++] = (uint8_t)len;
        memcpy(to + at, name, len);
        at += len;
        name += len + (name[len] == '.');
    }
    memcpy(to + at, "\0\0\0\0\1", 5);
    to[at + 1] = (uint8_t)(type >> 8);
    to[at + 2] = (uint8_t)type;
    at += 5;
    if (edns) {
        memcpy(to + at, "\0\0\x29\x10\0\0\0\0\0\0\0", 11);
        at += 11;
    }
    return at;
}

static size_t skip_name(const uint8_t *m, size_t at)
{
    while (m[at] && (m[at] & 0xc0) != 0xc0)
        at += 1u + m[at];
    return at + (m[at] ? 2 : 1);
}

/* What an answer says, as a line: "10.0.0.1 10.0.0.2", "NODATA", "NXDOMAIN"... */
static char *read_answer(const uint8_t *m, size_t len, uint16_t id)
{
    static const char *const codes[16] = {"NODATA", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};
    struct buf line = BUF_INIT(1 << 16);
    size_t at = 12;

    assert_true(len >= 12 && m[0] == id >> 8 && m[1] == (id & 0xff) && (m[2] & 0x80));
    if (m[5])
        at = skip_name(m, at) + 4;
    if (m[2] & 2)
        buf_adds(&line, "CUT ");
    for (unsigned n = (unsigned)(m[6] << 8 | m[7]); n; n--) {
        size_t data, type;
        char text[64];

        at = skip_name(m, at);
        type = (size_t)m[at] << 8 | m[at + 1];
        data = (size_t)m[at + 8] << 8 | m[at + 9];
        at += 10;
        if (line.len)
            buf_addc(&line, ' ');
        if (type == PTR)
            for (size_t l = at; m[l]; l += 1u + m[l])
                buf_addf(&line, "%.*s.", m[l], (const char *)m + l + 1);
        else
            buf_adds(&line, inet_ntop(type == A ? AF_INET : AF_INET6, m + at, text, sizeof(text)));
        at += data;
    }
    if (!line.len)
        buf_adds(&line, codes[m[3] & 15]);
    return buf_detach(&line);
}

static int connect_dns(const struct box *b, int type)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(b->dns)};
    const struct timeval wait = {.tv_sec = 10};
    int fd = socket(AF_INET, type, 0);

    inet_pton(AF_INET, DNS_AT, &at.sin_addr);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    return fd;
}

static char *ask(const struct box *b, const char *name, uint16_t type)
{
    static uint8_t m[65536];
    static uint16_t id;
    int fd = connect_dns(b, SOCK_DGRAM);
    size_t len = make_query(m, ++id, name, type, false);
    ssize_t n;

    assert_int_equal(send(fd, m, len, 0), len);
    n = recv(fd, m, sizeof(m), 0);
    close(fd);
    if (n < 0)
        fail_msg("%s: no answer", name);
    return read_answer(m, (size_t)n, id);
}

static size_t read_all(int fd, uint8_t *to, size_t len)
{
    size_t have = 0;
    ssize_t n;

    while (have < len && (n = recv(fd, to + have, len - have, 0)) > 0)
        have += (size_t)n;
    return have;
}

static char *ask_tcp(const struct box *b, const char *name, uint16_t type)
{
    static uint8_t m[65537];
    int fd = connect_dns(b, SOCK_STREAM);
    size_t len = make_query(m + 2, 7, name, type, false);

    m[0] = (uint8_t)(len >> 8);
    m[1] = (uint8_t)len;
    for (size_t i = 0; i < len + 2; i++) /* byte by byte */
        assert_int_equal(send(fd, m + i, 1, 0), 1);
    assert_int_equal(read_all(fd, m, 2), 2);
    len = (size_t)m[0] << 8 | m[1];
    assert_int_equal(read_all(fd, m, len), len);
    close(fd);
    return read_answer(m, len, 7);
}

static void expect(const struct box *b, const char *name, uint16_t type, const char *want)
{
    cleanup_free char *got = ask(b, name, type), *by_tcp = NULL;

    if (strcmp(got, want) != 0)
        fail_msg("%s: %s, not %s", name, got, want);
    by_tcp = ask_tcp(b, name, type);
    if (strcmp(by_tcp, want) != 0)
        fail_msg("%s by TCP: %s, not %s", name, by_tcp, want);
}

/* As above, as soon as those who come and go have been seen. */
static void expect_soon(const struct box *b, const char *name, uint16_t type, const char *want)
{
    int64_t until = loop_now() + 20000;

    for (;;) {
        cleanup_free char *got = ask(b, name, type);

        if (!strcmp(got, want))
            return;
        if (loop_now() > until)
            fail_msg("%s: still %s, not %s", name, got, want);
        usleep(20000);
    }
}

/* ---- the outside ---- */

static pid_t outside;

/* Knows out.example, cuts big.example by UDP, answers wrongly before it is right for spoof.example, and has no other.
 */
static size_t answer_outside(uint8_t *m, size_t len, bool by_tcp)
{
    bool out = !memcmp(m + 12, "\3out\7example", 12), big = !memcmp(m + 12, "\3big\7example", 12);
    bool spoof = !memcmp(m + 12, "\5spoof\7example", 14);
    size_t end = skip_name(m, 12) + 4, n = big && by_tcp ? 3000 : 1;

    (void)len;
    m[2] |= 0x80;
    m[11] = 0;
    if (big && !by_tcp) {
        m[2] |= 2;
        return end;
    }
    if (!out && !big && !spoof) {
        m[3] = 3;
        return end;
    }
    m[6] = (uint8_t)(n >> 8);
    m[7] = (uint8_t)n;
    for (size_t i = 0; i < n; i++, end += 16)
        memcpy(m + end, "\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x05\x06\x07\x08", 16);
    return end;
}

static void serve_udp(int fd)
{
    static uint8_t m[65536];
    struct sockaddr_in from;
    socklen_t size = sizeof(from);
    ssize_t n = recvfrom(fd, m, sizeof(m), 0, (struct sockaddr *)&from, &size);
    size_t len;

    if (n < 12)
        return;
    len = answer_outside(m, (size_t)n, false);
    if (!memcmp(m + 12, "\5spoof", 6)) { /* a wrong number, then a wrong question, with another address */
        m[0] ^= 1;
        m[len - 1] = 66;
        sendto(fd, m, len, 0, (struct sockaddr *)&from, size);
        m[0] ^= 1;
        m[13] ^= 1;
        sendto(fd, m, len, 0, (struct sockaddr *)&from, size);
        m[13] ^= 1;
        m[len - 1] = 8;
    }
    sendto(fd, m, len, 0, (struct sockaddr *)&from, size);
}

static void serve_tcp(int listener)
{
    static uint8_t m[65538];
    int fd = accept(listener, NULL, NULL);
    size_t len;

    if (fd < 0)
        return;
    if (read_all(fd, m, 2) == 2 && read_all(fd, m + 2, (size_t)m[0] << 8 | m[1]) > 12) {
        len = answer_outside(m + 2, 0, true);
        m[0] = (uint8_t)(len >> 8);
        m[1] = (uint8_t)len;
        (void)!write(fd, m, len + 2);
    }
    close(fd);
}

static int bind_outside(const char *address, int type)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(53)};
    int fd = socket(AF_INET, type, 0), on = 1;

    inet_pton(AF_INET, address, &at.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        return -1;
    if (type == SOCK_STREAM)
        listen(fd, 16);
    return fd;
}

static int begin_outside(void **state)
{
    int udp = bind_outside(OUTSIDE, SOCK_DGRAM), tcp = bind_outside(OUTSIDE, SOCK_STREAM);

    (void)state;
    if (udp < 0 || tcp < 0)
        return -1;
    (void)bind_outside(SILENT, SOCK_DGRAM); /* takes questions and never answers */
    outside = fork();
    if (outside == 0) {
        struct pollfd fds[2] = {{.fd = udp, .events = POLLIN}, {.fd = tcp, .events = POLLIN}};

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (poll(fds, 2, -1) > 0) {
            if (fds[0].revents)
                serve_udp(udp);
            if (fds[1].revents)
                serve_tcp(tcp);
        }
        _exit(0);
    }
    close(udp);
    close(tcp);
    return 0;
}

static int end_outside(void **state)
{
    (void)state;
    kill(outside, SIGKILL);
    waitpid(outside, NULL, 0);
    return 0;
}

/* ---- tests ---- */

static const char *const three = "10.9.0.1 aaaaaaaaaaaa\n10.9.0.2 bbbbbbbbbbbb\n10.9.0.3 cccccccccccc # last\n";

/* Three containers: two replicas of web, and db, which shares only one network with one of them. */
static void test_names(void **state)
{
    cleanup_free char *first = NULL, *second = NULL;
    struct pod pod;
    struct box a, b, c;

    (void)state;
    pod_start(&pod);
    box_start(&a, &pod, "aaaaaaaaaaaa", three);
    box_start(&b, &pod, "bbbbbbbbbbbb", three);
    box_start(&c, &pod, "cccccccccccc", three);
    strlist_add(&a.names.members, "front/web-1");
    strlist_add(&a.names.members, "front/web");
    strlist_add(&b.names.members, "front/web-2");
    strlist_add(&b.names.members, "front/web");
    strlist_add(&b.names.members, "back_end/web");
    strlist_add(&c.names.members, "back_end/db.main");
    strlist_add(&c.names.members, "other/shy");
    strlist_add(&a.names.hosts, "extra:192.0.2.7");
    strlist_add(&a.names.hosts, "extra:192.0.2.8");
    strlist_add(&a.names.hosts, "six:2001:db8::1");
    box_main(&a);
    box_main(&b);
    box_main(&c);

    expect_soon(&b, "db.main", A, "10.9.0.3");
    expect(&b, "DB.Main", A, "10.9.0.3");
    expect(&b, "db.main.back_end", A, "10.9.0.3");
    expect(&b, "db.main.front", A, "NXDOMAIN");
    expect(&b, "cccccccccccc", A, "10.9.0.3");
    expect(&b, "db.main", AAAA, "NODATA");
    expect(&b, "db.main", MX, "NODATA");
    expect(&b, "db.main", TXT, "NODATA");
    expect(&b, "shy", A, "NXDOMAIN");
    expect(&a, "db.main", A, "NXDOMAIN"); /* they share no network */
    expect(&a, "cccccccccccc", A, "NXDOMAIN");
    expect_soon(&a, "web-2", A, "10.9.0.2");
    expect(&a, "web-1", A, "10.9.0.1");
    expect(&a, "aaaaaaaaaaaa", A, "10.9.0.1");
    first = ask(&a, "web", A);
    second = ask(&a, "web", A);
    assert_int_equal(strlen(first), strlen("10.9.0.1 10.9.0.2"));
    assert_true(strcmp(first, second) != 0); /* they come in turns */

    expect(&a, "six", AAAA, "2001:db8::1");
    expect(&a, "six", A, "NODATA");
    expect(&b, "extra", A, "NXDOMAIN");
    expect(&a, "2.0.9.10.in-addr.arpa", PTR, "web-2.front.");
    expect(&b, "3.0.9.10.in-addr.arpa", PTR, "db.main.back_end.");
    expect(&a, "3.0.9.10.in-addr.arpa", PTR, "NXDOMAIN");
    expect(&a, "out.example", A, "5.6.7.8");
    assert_string_equal(read_file(a.etc, "resolv.conf"),
                        "search corp.example\nnameserver " DNS_AT "\noptions edns0 trust-ad ndots:0\n");

    /* another address for db; then db is gone, and comes back */
    write_hosts(&b, "10.9.0.2 bbbbbbbbbbbb\n10.9.0.33 cccccccccccc\n");
    expect(&b, "db.main", A, "10.9.0.33");
    rig_stop(&c.rig);
    expect_soon(&b, "db.main", A, "NXDOMAIN");
    /* what has ended is not known any more, though its agent lives; started again, it is */
    box_ask(&a, &(struct wire_ask){.kind = WIRE_ASK_STOP, .signo = SIGKILL});
    expect_soon(&b, "web-1", A, "NXDOMAIN");
    box_ask(&a, &(struct wire_ask){.kind = WIRE_ASK_RESTART, .signo = SIGKILL});
    expect_soon(&b, "web-1", A, "SERVFAIL");
    rig_remove(c.etc);
    wire_names_clear(&c.names);
    box_start(&c, &pod, "dddddddddddd", three);
    strlist_add(&c.names.members, "back_end/db.main");
    box_main(&c);
    expect_soon(&b, "dddddddddddd", A, "SERVFAIL"); /* nobody knows its address yet */
    write_hosts(&b, "10.9.0.4 dddddddddddd\n");
    expect(&b, "db.main", A, "10.9.0.4");
    box_stop(&a);
    box_stop(&b);
    box_stop(&c);
    rig_stop(&pod.hub);
}

/* A name whose owner or whose address comes a moment later is waited for. */
static void test_waits_a_moment(void **state)
{
    struct pod pod;
    struct box a, b;
    pid_t late;

    (void)state;
    pod_start(&pod);
    box_start(&a, &pod, "aaaaaaaaaaaa", "");
    box_start(&b, &pod, "bbbbbbbbbbbb", "");
    strlist_add(&a.names.members, "n/a");
    strlist_add(&b.names.members, "n/b");
    box_main(&b);
    late = fork();
    if (late == 0) {
        usleep(300000);
        write_hosts(&a, "10.9.0.2 bbbbbbbbbbbb\n");
        _exit(0);
    }
    box_main(&a);
    expect(&a, "b", A, "10.9.0.2");
    waitpid(late, NULL, 0);
    box_stop(&a);
    box_stop(&b);
    rig_stop(&pod.hub);
}

/* The hub dies; another one takes its place, and everybody is back. Meanwhile names stay what they were. */
static void test_hub_comes_back(void **state)
{
    struct pod pod;
    struct box a, b;

    (void)state;
    pod_start(&pod);
    box_start(&a, &pod, "aaaaaaaaaaaa", three);
    box_start(&b, &pod, "bbbbbbbbbbbb", three);
    strlist_add(&a.names.members, "n/a");
    strlist_add(&b.names.members, "n/b");
    box_main(&a);
    box_main(&b);
    expect_soon(&a, "b", A, "10.9.0.2");
    rig_stop(&pod.hub);
    expect(&a, "b", A, "10.9.0.2");
    rig_stop(&b.rig);
    rig_start(&pod.hub, "--hub", "--hub-token", "secret", "--hub-port", pod.port, NULL);
    expect_soon(&a, "b", A, "NXDOMAIN");
    expect(&a, "a", A, "10.9.0.1");
    box_stop(&a);
    rig_remove(b.etc);
    wire_names_clear(&b.names);
    rig_stop(&pod.hub);
}

/* Who does not know the token is not in the table; nor does nonsense harm the hub. */
static void test_strangers(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct pod pod;
    struct box a, b;

    (void)state;
    pod_start(&pod);
    box_start(&a, &pod, "aaaaaaaaaaaa", three);
    box_start(&b, &pod, "bbbbbbbbbbbb", three);
    strlist_add(&a.names.members, "n/a");
    strlist_add(&b.names.members, "n/b");
    free(b.names.token);
    b.names.token = xstrdup("secreT");
    box_main(&a);
    box_main(&b);
    at.sin_port = htons((uint16_t)strtol(pod.port, NULL, 10));
    for (int i = 0; i < 100; i++) {
        static const char *const nonsense[] = {"GET / HTTP/1.0\r\n\r\n", "\x25\xff\xff\xff\x7f",
                                               "\x13\x00\x00\x00\x00"};
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
            (void)!send(fd, nonsense[i % 3], 5, MSG_NOSIGNAL);
        close(fd);
    }
    usleep(300000);
    expect(&a, "b", A, "NXDOMAIN");
    expect(&a, "a", A, "10.9.0.1");
    box_stop(&a);
    box_stop(&b);
    rig_stop(&pod.hub);
}

/* A hub ends when nobody has been there for its grace, and not while somebody is. */
static void test_hub_orphaned(void **state)
{
    struct pod pod;
    struct box a;

    (void)state;
    snprintf(pod.port, sizeof(pod.port), "%u", free_port());
    box_start(&a, &pod, "aaaaaaaaaaaa", three);
    box_main(&a);
    rig_start(&pod.hub, "--hub", "--hub-token", "secret", "--hub-port", pod.port, "--orphan-grace", "3000", NULL);
    assert_int_equal(rig_wait(pod.hub.init, 3800), -1);
    box_stop(&a);
    assert_int_equal(rig_wait(pod.hub.init, RIG_DEADLINE), 0);
    pod.hub.init = 0;
    rig_stop(&pod.hub);
}

/* ---- the outside ---- */

static void test_forward(void **state)
{
    uint8_t m[512];
    struct pod pod;
    struct box a;
    size_t len;
    ssize_t n;
    int fd;
    char *got;

    (void)state;
    pod_start(&pod);
    box_start(&a, &pod, "aaaaaaaaaaaa", three);
    write_file(a.etc, "resolv.conf", "nameserver " SILENT "\nnameserver " DNS_AT "\nnameserver " OUTSIDE "\n");
    box_main(&a);
    expect_soon(&a, "out.example", A, "5.6.7.8"); /* by the second server */
    got = ask(&a, "big.example", A);
    assert_string_equal(got, "CUT ");
    free(got);
    got = ask_tcp(&a, "big.example", A);
    assert_int_equal(strlen(got), 3000 * 8 - 1);
    free(got);
    got = ask(&a, "spoof.example", A);
    assert_string_equal(got, "5.6.7.8");
    free(got);
    got = ask(&a, "nowhere.example", A);
    assert_string_equal(got, "NXDOMAIN");
    free(got);
    assert_string_equal(read_file(a.etc, "resolv.conf"), "nameserver " DNS_AT "\noptions ndots:0\n");

    /* EDNS is answered with EDNS */
    len = make_query(m, 77, "aaaaaaaaaaaa", A, true);
    fd = connect_dns(&a, SOCK_DGRAM);
    assert_int_equal(send(fd, m, len, 0), len);
    n = recv(fd, m, sizeof(m), 0);
    assert_true(n == (ssize_t)len + 16 && m[11] == 1 && m[7] == 1);
    close(fd);
    box_stop(&a);
    rig_stop(&pod.hub);
}

/* internal: the neighbours, and nothing else. */
static void test_internal(void **state)
{
    struct pod pod;
    struct box a;

    (void)state;
    pod_start(&pod);
    box_start(&a, &pod, "aaaaaaaaaaaa", three);
    strlist_add(&a.names.members, "n/a");
    a.names.internal = true;
    box_main(&a);
    expect(&a, "a", A, "10.9.0.1");
    expect(&a, "out.example", A, "SERVFAIL");
    box_stop(&a);
    rig_stop(&pod.hub);
}

/* More addresses than one datagram holds are cut, and told by TCP. */
static void test_many_addresses(void **state)
{
    struct pod pod;
    struct box a;
    char *got;

    (void)state;
    pod_start(&pod);
    box_start(&a, &pod, "aaaaaaaaaaaa", three);
    for (int i = 0; i < 300; i++)
        strlist_addf(&a.names.hosts, "many:10.1.%d.%d", 100 + i / 100, 100 + i % 100);
    box_main(&a);
    got = ask(&a, "many", A);
    assert_true(!strncmp(got, "CUT ", 4) && strlen(got) < 500 && strlen(got) > 300);
    free(got);
    got = ask_tcp(&a, "many", A);
    assert_int_equal(strlen(got), 300 * 13 - 1);
    free(got);
    box_stop(&a);
    rig_stop(&pod.hub);
}

static void test_malformed(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        int code; /* -1: no answer */
    } t[] = {
        {"", 0, -1},
        {"\0\7\1\0\0\1\0\0\0\0\0", 11, -1},                  /* half a header */
        {"\0\7\x81\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1", 19, -1}, /* an answer */
        {"\0\7\1\0\0\0\0\0\0\0\0\0", 12, 1},                 /* no question */
        {"\0\7\1\0\0\2\0\0\0\0\0\0\1a\0\0\1\0\1", 19, 1},    /* two */
        {"\0\7\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0", 18, 1},      /* cut off */
        {"\0\7\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", 18, 1}, /* a pointer to itself */
        {"\0\7\1\0\0\1\0\0\0\0\0\0\x7f"
         "a\0\0\1\0\1",
         19, 1},                                              /* a label that is too long */
        {"\0\7\1\0\0\1\0\0\0\0\xff\xff\1a\0\0\1\0\1", 19, 1}, /* records that are not there */
        {"\0\7\1\0\0\1\0\0\0\0\0\1\1a\0\0\1\0\1\0\0\x29\0\0\0\0\0\0\xff\xff", 30, 1},
        {"\0\7\x29\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1", 19, 4}, /* not a query */
    };
    unsigned seed = 1;
    uint8_t m[512], good[64];
    struct pod pod;
    struct box a;
    ssize_t n;
    size_t len;
    int fd;

    (void)state;
    pod_start(&pod);
    box_start(&a, &pod, "aaaaaaaaaaaa", three);
    strlist_add(&a.names.members, "n/a");
    box_main(&a);
    expect(&a, "a", A, "10.9.0.1");
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct timeval wait = {.tv_usec = t[i].code < 0 ? 100000 : 0, .tv_sec = t[i].code < 0 ? 0 : 10};

        fd = connect_dns(&a, SOCK_DGRAM);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
        send(fd, t[i].bytes, t[i].len, 0);
        n = recv(fd, m, sizeof(m), 0);
        close(fd);
        if (t[i].code < 0 ? n >= 0 : n < 12 || (m[3] & 15) != t[i].code || m[1] != 7)
            fail_msg("case %zu: %zd bytes", i, n);
    }
    len = make_query(good, 9, "a", A, true);
    fd = connect_dns(&a, SOCK_DGRAM);
    for (int i = 0; i < 3000; i++) {
        memcpy(m, good, len);
        for (int k = 0; k < 3; k++) {
            seed = seed * 1103515245 + 12345;
            m[(seed >> 8) % len] = (uint8_t)(seed >> 20);
        }
        send(fd, m, 1 + (seed >> 9) % len, MSG_DONTWAIT);
    }
    close(fd);
    for (int i = 0; i < 100; i++) { /* connections that say half a message, or a length of nothing */
        fd = connect_dns(&a, SOCK_STREAM);
        (void)!send(fd, i % 2 ? "\0\x20half" : "\0\0\0\0\0\1", 6, MSG_NOSIGNAL);
        close(fd);
    }
    expect(&a, "a", A, "10.9.0.1");
    box_stop(&a);
    rig_stop(&pod.hub);
}

/* The address is taken: the process starts all the same, and nobody is pointed at a resolver that is not there. */
static void test_no_resolver(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    struct pod pod;
    struct box a;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    (void)state;
    pod_start(&pod);
    box_start(&a, &pod, "aaaaaaaaaaaa", three);
    inet_pton(AF_INET, DNS_AT, &at.sin_addr);
    at.sin_port = htons(a.dns);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    box_main(&a);
    assert_non_null(strstr(read_file(a.etc, "resolv.conf"), "nameserver " OUTSIDE));
    close(fd);
    box_stop(&a);
    rig_stop(&pod.hub);
}

/* Says who a box is from now on; what its agent answers, owned by caller. NULL: it refused. */
static char *change_names(struct box *b, const char *text)
{
    const struct wire_ask asked = {.kind = WIRE_ASK_NAMES, .text = (char *)text};
    struct run r;
    char *answer = NULL;

    run_init(&r, &b->rig, NULL);
    r.ask = &asked;
    run_all(&r, NULL, 0);
    if (r.result.end == SESSION_EXITED)
        answer = xstrndup(r.got[1].data ? r.got[1].data : "", r.got[1].len);
    run_clear(&r);
    return answer;
}

/* While it runs a member gets other names: the others know when the answer is there, and never know half of it. */
static void test_changed(void **state)
{
    struct wire_names names = {0};
    cleanup_free char *text = NULL, *address = NULL, *asked = NULL;
    struct pod pod;
    struct box a, b;

    (void)state;
    pod_start(&pod);
    box_start(&a, &pod, "aaaaaaaaaaaa", three);
    box_start(&b, &pod, "bbbbbbbbbbbb", three);
    strlist_add(&a.names.members, "front/web");
    strlist_add(&b.names.members, "front/db");
    box_main(&a);
    box_main(&b);
    expect_soon(&b, "web", A, "10.9.0.1");
    expect(&b, "api", A, "NXDOMAIN");

    strlist_add(&names.members, "front/api");
    strlist_add(&names.members, "back/api");
    strlist_add(&names.hosts, "extra:192.0.2.7");
    text = wire_names_text(&names);
    address = change_names(&a, text);
    assert_string_equal(address, "10.9.0.1\n");
    expect_soon(&b, "api", A, "10.9.0.1");
    expect(&b, "web", A, "NXDOMAIN");
    expect(&b, "api.back", A, "NXDOMAIN");
    expect(&a, "extra", A, "192.0.2.7");
    asked = change_names(&a, ""); /* nothing is changed by a question */
    assert_string_equal(asked, "10.9.0.1\n");
    expect(&b, "api", A, "10.9.0.1");
    for (int i = 0; i < 50; i++) {
        cleanup_free char *same = change_names(&a, i % 2 ? "m front/api\n" : "m front/api\nm front/web\n");
        cleanup_free char *got = ask(&b, "api", A);

        assert_non_null(same);
        assert_string_equal(got, "10.9.0.1");
    }
    expect_soon(&b, "web", A, "NXDOMAIN");
    free(steal(&asked));
    asked = change_names(&a, "\n"); /* in no network any more */
    assert_non_null(asked);
    expect_soon(&b, "api", A, "NXDOMAIN");
    expect(&a, "db", A, "NXDOMAIN");
    assert_null(change_names(&a, "x front/api\n"));
    assert_null(change_names(&a, "m"));
    wire_names_clear(&names);
    box_stop(&a);
    box_stop(&b);
    rig_stop(&pod.hub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),          cmocka_unit_test(test_waits_a_moment),
        cmocka_unit_test(test_hub_comes_back), cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_hub_orphaned),   cmocka_unit_test(test_forward),
        cmocka_unit_test(test_internal),       cmocka_unit_test(test_many_addresses),
        cmocka_unit_test(test_malformed),      cmocka_unit_test(test_no_resolver),
        cmocka_unit_test(test_changed),
    };

    return cmocka_run_group_tests(tests, begin_outside, end_outside);
}
