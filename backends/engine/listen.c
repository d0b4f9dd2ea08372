#include "backends/engine/listen.h"

#include "backends/engine/conn.h"
#include "backends/engine/engine.h"
#include "backends/engine/keys.h"
#include "backends/engine/log.h"
#include "backends/engine/runtime.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128

struct listeners {
    struct engine *engine;
    uv_pipe_t pipe;
    uv_tcp_t tcp;
    bool has_pipe, has_tcp;
    char *socket_path, *socket_env, *env_file; /* made by us: taken away at the end */
    dev_t socket_dev;                          /* which file the socket is */
    ino_t socket_ino;
    int closing; /* handles on their way */
};

static void on_connection(uv_stream_t *server, int status)
{
    struct listeners *l = server->data;

    if (status < 0)
        log_line("accepting a connection: %s", uv_strerror(status));
    else
        conn_accept(l->engine, server, server == (uv_stream_t *)&l->pipe);
}

/* ---- Unix socket ---- */

bool listen_is_served(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || strlen(path) >= sizeof(addr.sun_path))
        return false;
    memcpy(addr.sun_path, path, strlen(path));
    return connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0;
}

/* The folder of the socket, private if we have to make it. */
static int make_parent(const char *path, struct err *err)
{
    cleanup_free char *dir = xstrdup(path);
    char *slash = strrchr(dir, '/');

    if (!slash || slash == dir)
        return 0;
    *slash = '\0';
    return fs_mkdirs(dir, 0700, err);
}

/* A bound socket that only we may use. What an engine that was killed left there is replaced; a served one is not. */
static int bind_unix(const char *path, struct err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    cleanup_close int fd = -1;
    mode_t before;
    int rc;

    if (strlen(path) >= sizeof(addr.sun_path))
        return err_set(err, 125, "the socket path %s is longer than %zu bytes", path, sizeof(addr.sun_path) - 1);
    memcpy(addr.sun_path, path, strlen(path));
    if (make_parent(path, err) < 0)
        return -1;
    if (listen_is_served(path))
        return err_set(err, 125, "another program serves %s", path);
    if (unlink(path) < 0 && errno != ENOENT)
        return err_set_errno(err, 125, errno, "removing the old socket %s", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set_errno(err, 125, errno, "socket");
    before = umask(0177);
    rc = bind(fd, (const struct sockaddr *)&addr, sizeof(addr));
    umask(before);
    if (rc < 0)
        return err_set_errno(err, 125, errno, "bind %s", path);
    return steal_fd(&fd);
}

static int open_unix(struct listeners *l, const char *path, struct err *err)
{
    int fd = bind_unix(path, err), rc;
    struct stat st;

    if (fd < 0)
        return -1;
    l->socket_path = xstrdup(path);
    if (stat(path, &st) == 0) {
        l->socket_dev = st.st_dev;
        l->socket_ino = st.st_ino;
    }
    uv_pipe_init(l->engine->loop, &l->pipe, /* ipc= */ 0);
    l->has_pipe = true;
    l->pipe.data = l;
    rc = uv_pipe_open(&l->pipe, fd);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&l->pipe, BACKLOG, on_connection);
    return rc < 0 ? err_set(err, 125, "listen %s: %s", path, uv_strerror(rc)) : 0;
}

/* ---- TCP ---- */

/* Splits "HOST:PORT" or "[V6]:PORT". */
static int split_address(const char *text, char **ret_host, char **ret_port, struct err *err)
{
    const char *colon = strrchr(text, ':');
    char *end;
    unsigned long port;

    if (!colon || colon == text || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return err_set(err, 125, "\"%s\" is not HOST:PORT", text);
    port = strtoul(colon + 1, &end, 10);
    if (port > 65535)
        return err_set(err, 125, "\"%s\" is not HOST:PORT", text);
    if (text[0] == '[' && colon[-1] == ']')
        *ret_host = xstrndup(text + 1, (size_t)(colon - text) - 2);
    else
        *ret_host = xstrndup(text, (size_t)(colon - text));
    *ret_port = xstrdup(colon + 1);
    return 0;
}

static int open_tcp(struct listeners *l, const char *address, struct err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    cleanup_free char *host = NULL, *port = NULL;
    int rc;

    if (split_address(address, &host, &port, err) < 0)
        return -1;
    rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0)
        return err_set(err, 125, "resolving %s: %s", host, gai_strerror(rc));
    uv_tcp_init(l->engine->loop, &l->tcp);
    l->has_tcp = true;
    l->tcp.data = l;
    rc = uv_tcp_bind(&l->tcp, found->ai_addr, 0);
    freeaddrinfo(found);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
    return rc < 0 ? err_set(err, 125, "listen %s: %s", address, uv_strerror(rc)) : 0;
}

/* "http://127.0.0.1:1234": where TCP clients find us, with the real port. */
static char *tcp_url(struct listeners *l)
{
    struct sockaddr_storage addr;
    int len = sizeof(addr);
    char name[64] = "";

    uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&addr, &len);
    if (addr.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&addr;

        uv_ip6_name(in6, name, sizeof(name));
        return xasprintf("http://[%s]:%u", strcmp(name, "::") == 0 ? "::1" : name, ntohs(in6->sin6_port));
    }
    uv_ip4_name((const struct sockaddr_in *)&addr, name, sizeof(name));
    return xasprintf("http://%s:%u", strcmp(name, "0.0.0.0") == 0 ? "127.0.0.1" : name,
                     ntohs(((const struct sockaddr_in *)&addr)->sin_port));
}

/* ---- files ---- */

/* Appends NAME=VALUE for a shell, quoted if it must be. */
static void add_assignment(struct buf *out, const char *name, const char *value)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./:[]";

    if (value[strspn(value, plain)] == '\0') {
        buf_addf(out, "%s=%s\n", name, value);
        return;
    }
    buf_addf(out, "%s='", name);
    for (const char *p = value; *p; p++)
        if (*p == '\'')
            buf_adds(out, "'\\''");
        else
            buf_addc(out, *p);
    buf_adds(out, "'\n");
}

static int write_env(struct engine *e, const char *path, const char *url, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(16384);

    add_assignment(&text, "MODAL_SERVER_URL", url);
    add_assignment(&text, "MODAL_TOKEN_ID", keys_token_id(e->keys));
    add_assignment(&text, "MODAL_TOKEN_SECRET", keys_token_secret(e->keys));
    if (rt_network_reason(e->rt))
        add_assignment(&text, "ATP_ENGINE_NO_NETWORK", rt_network_reason(e->rt));
    if (rt_limits_reason(e->rt))
        add_assignment(&text, "ATP_ENGINE_NO_LIMITS", rt_limits_reason(e->rt));
    return fs_write_file(path, text.data, text.len, 0600, err);
}

/* SOCKET.env names the socket; the --env-file names the port if there is one, else the socket. */
static int write_files(struct listeners *l, struct err *err)
{
    const struct engine_config *config = l->engine->config;
    cleanup_free char *tcp = l->has_tcp ? tcp_url(l) : NULL;
    cleanup_free char *unix_url = l->has_pipe ? xasprintf("unix://%s", l->socket_path) : NULL;

    if (tcp)
        log_line("listening at %s", tcp);
    if (unix_url) {
        l->socket_env = xasprintf("%s.env", l->socket_path);
        log_line("listening at %s", unix_url);
        if (write_env(l->engine, l->socket_env, unix_url, err) < 0)
            return -1;
    }
    if (!config->env_file)
        return 0;
    l->env_file = xstrdup(config->env_file);
    return write_env(l->engine, l->env_file, tcp ? tcp : unix_url, err);
}

struct listeners *listeners_open(struct engine *e, struct err *err)
{
    struct listeners *l = xcalloc(1, sizeof(*l));

    l->engine = e;
    if ((e->config->socket_path && open_unix(l, e->config->socket_path, err) < 0) ||
        (e->config->listen && open_tcp(l, e->config->listen, err) < 0) || write_files(l, err) < 0) {
        listeners_close(l);
        return NULL;
    }
    return l;
}

static void release(struct listeners *l)
{
    free(l->socket_path);
    free(l->socket_env);
    free(l->env_file);
    free(l);
}

static void on_closed(uv_handle_t *handle)
{
    struct listeners *l = handle->data;

    if (--l->closing == 0)
        release(l);
}

/* Whether the socket at our path is still the one that we made: another engine may have come when it was removed. */
static bool socket_is_ours(const struct listeners *l)
{
    struct stat st;

    return l->socket_path && stat(l->socket_path, &st) == 0 && st.st_dev == l->socket_dev && st.st_ino == l->socket_ino;
}

void listeners_close(struct listeners *l)
{
    bool ours;

    if (!l)
        return;
    if (l->env_file)
        unlink(l->env_file);
    ours = socket_is_ours(l);
    if (ours && l->socket_env)
        unlink(l->socket_env);
    if (ours)
        unlink(l->socket_path);
    l->closing = l->has_pipe + l->has_tcp;
    if (l->has_pipe)
        uv_close((uv_handle_t *)&l->pipe, on_closed);
    if (l->has_tcp)
        uv_close((uv_handle_t *)&l->tcp, on_closed);
    if (!l->closing)
        release(l);
}
