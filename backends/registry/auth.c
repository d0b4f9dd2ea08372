#include "backends/registry/auth.h"

#include "backends/registry/base64.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HELPER_DEADLINE_MS 30000        /* a helper may ask a key ring, which may ask its owner */
#define MAX_ANSWER         (256u << 10) /* tokens of a few KiB exist */
#define HUB                "docker.io"
#define HUB_KEY            "https://index.docker.io/v1/" /* the name under which Docker keeps its own registry's login */

extern char **environ;

struct pair {
    char *user, *password;
};

/* The folder of config.json; owned by caller, NULL when there is no home. */
static char *config_folder(const char *given)
{
    const char *env = getenv("DOCKER_CONFIG"), *home = getenv("HOME");

    if (given)
        return xstrdup(given);
    if (env && *env)
        return xstrdup(env);
    return home && *home ? xasprintf("%s/.docker", home) : NULL;
}

/* The host that a key of "auths" is about: scheme and path do not count ("https://host/v1/" is "host"). */
static bool same_host(const char *key, const char *host)
{
    const char *p = strstr(key, "://");
    size_t len;

    p = p ? p + 3 : key;
    len = strcspn(p, "/");
    if (strlen(host) == len && strncmp(p, host, len) == 0)
        return true;
    if (strcmp(host, HUB) != 0)
        return false;
    return (len == 15 && strncmp(p, "index.docker.io", len) == 0) ||
           (len == 20 && strncmp(p, "registry-1.docker.io", len) == 0);
}

/* The entry of an object for a host, or NULL. Docker's exact key comes first. */
static const json_t *find_entry(const json_t *object, const char *host)
{
    const json_t *exact = json_object_get(object, strcmp(host, HUB) == 0 ? HUB_KEY : host);
    const char *key;
    json_t *value;

    if (exact)
        return exact;
    json_object_foreach((json_t *)object, key, value)
    {
        if (same_host(key, host))
            return value;
    }
    return NULL;
}

/* "auth" is base64 of user:password; an identity token takes the place of the password. */
static int read_entry(const json_t *entry, struct pair *ret, struct err *err)
{
    const char *auth = json_string_value(json_object_get(entry, "auth"));
    const char *token = json_string_value(json_object_get(entry, "identitytoken"));
    const char *user = json_string_value(json_object_get(entry, "username"));
    const char *password = json_string_value(json_object_get(entry, "password"));
    cleanup_free char *text = NULL;
    char *colon;
    size_t len;

    if (token && *token) {
        *ret = (struct pair){xstrdup("<token>"), xstrdup(token)};
        return 0;
    }
    if (auth && *auth) {
        text = base64_decode(auth, &len);
        colon = text ? strchr(text, ':') : NULL;
        if (!colon || strlen(text) != len)
            return err_set(err, 0, "invalid auth configuration file");
        *colon = '\0';
        *ret = (struct pair){xstrdup(text), xstrdup(colon + 1)};
        return 0;
    }
    if (user && *user && password)
        *ret = (struct pair){xstrdup(user), xstrdup(password)};
    return 0;
}

/* ---- helper programs ---- */

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Starts "program get" with its stdin and stdout on the two descriptors. */
static int start(const char *program, int in, int out, pid_t *ret, struct err *err)
{
    char name[] = "docker-credential", word[] = "get";
    char *const argv[] = {name, word, NULL};
    posix_spawn_file_actions_t actions;
    int r;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    r = posix_spawnp(ret, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (r == ENOENT)
        return err_set(err, 0, "error getting credentials - err: exec: \"%s\": executable file not found in $PATH",
                       program);
    return r ? err_set_errno(err, 0, r, "error getting credentials - err: %s", program) : 0;
}

/* Reads until the end, or until the deadline. */
static int read_answer(int fd, struct buf *out, struct err *err)
{
    int64_t end = now_ms() + HELPER_DEADLINE_MS;
    ssize_t n = 1;

    while (n > 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = end - now_ms();
        char *room = buf_reserve(out, 4096);

        if (!room)
            return err_set(err, 0, "error getting credentials - err: the answer is too long");
        if (left <= 0 || poll(&p, 1, (int)left) == 0)
            return err_set(err, 0, "error getting credentials - err: the helper gave no answer in time");
        n = read(fd, room, 4096);
        if (n > 0)
            buf_advance(out, (size_t)n);
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    return 0;
}

/* Runs the helper; its whole output goes to out. *ret_status is what waitpid tells. */
static int run_helper(const char *program, const char *server, struct buf *out, int *ret_status, struct err *err)
{
    int in[2] = {-1, -1}, answer[2] = {-1, -1}, ret;
    size_t len = strlen(server);
    pid_t pid;

    if (pipe2(in, O_CLOEXEC) < 0)
        return err_set_errno(err, 0, errno, "pipe");
    if (pipe2(answer, O_CLOEXEC) < 0) {
        close(in[0]);
        close(in[1]);
        return err_set_errno(err, 0, errno, "pipe");
    }
    /* A name is shorter than a pipe, so this waits for nobody, and the reading end is still open here. */
    ret = write(in[1], server, len) == (ssize_t)len ? 0 : err_set_errno(err, 0, errno, "writing to %s", program);
    close(in[1]);
    if (ret == 0)
        ret = start(program, in[0], answer[1], &pid, err);
    close(in[0]);
    close(answer[1]);
    if (ret == 0) {
        ret = read_answer(answer[0], out, err);
        if (ret < 0)
            kill(pid, SIGKILL);
        while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
            ;
    }
    close(answer[0]);
    return ret;
}

/* The helper's own words about what went wrong, as far as they are printable. */
static int helper_failed(const char *program, struct buf *out, struct err *err)
{
    for (size_t i = 0; i < out->len; i++)
        out->data[i] = isprint((unsigned char)out->data[i]) ? out->data[i] : ' ';
    return err_set(err, 0, "error getting credentials - err: %s: %.200s", program, out->data);
}

static int ask_helper(const char *name, const char *host, struct pair *ret, struct err *err)
{
    const char *server = strcmp(host, HUB) == 0 ? HUB_KEY : host;
    cleanup_free char *program = xasprintf("docker-credential-%s", name);
    struct buf out cleanup_buf = BUF_INIT(MAX_ANSWER);
    const char *user, *secret;
    int status = 0;
    json_t *j;

    if (strchr(name, '/') || !*name)
        return err_set(err, 0, "invalid credential helper name \"%s\"", name);
    if (run_helper(program, server, &out, &status, err) < 0)
        return -1;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        /* The protocol's way to say that there is nothing for this registry. */
        if (strncmp(out.data, "credentials not found", 21) == 0)
            return 0;
        return helper_failed(program, &out, err);
    }
    j = json_loadb(out.data, out.len, 0, NULL);
    user = json_string_value(json_object_get(j, "Username"));
    secret = json_string_value(json_object_get(j, "Secret"));
    if (user && secret && *user)
        *ret = (struct pair){xstrdup(user), xstrdup(secret)};
    json_decref(j);
    return user && secret
               ? 0
               : err_set(err, 0, "error getting credentials - err: %s: no credentials in its answer", program);
}

/* ---- config.json ---- */

static int search(const json_t *config, const char *host, struct pair *ret, struct err *err)
{
    const json_t *helper = find_entry(json_object_get(config, "credHelpers"), host);
    const json_t *entry = find_entry(json_object_get(config, "auths"), host);
    const char *store = json_string_value(json_object_get(config, "credsStore"));

    if (json_is_string(helper))
        return ask_helper(json_string_value(helper), host, ret, err);
    if (store && *store) {
        if (ask_helper(store, host, ret, err) < 0)
            return -1;
        if (ret->user)
            return 0;
    }
    return entry ? read_entry(entry, ret, err) : 0;
}

int auth_find(const char *host, char **ret_user, char **ret_password, void *arg, struct err *err)
{
    cleanup_free char *folder = config_folder(arg);
    cleanup_free char *path = folder ? xasprintf("%s/config.json", folder) : NULL;
    struct buf text cleanup_buf = BUF_INIT(LIMIT_CONFIG_FILE);
    struct err why cleanup_err = ERR_INIT;
    struct pair pair = {NULL, NULL};
    json_error_t json_why;
    json_t *j;
    int ret;

    if (path && fs_read_file(path, &text, &why) < 0 && why.code != ENOENT && why.code != ENOTDIR)
        return err_move(err, &why);
    if (text.len) {
        j = json_loadb(text.data, text.len, 0, &json_why);
        if (!j)
            return err_set(err, 0, "loading config file: %s: %s", path, json_why.text);
        ret = search(j, host, &pair, err);
        json_decref(j);
        if (ret < 0)
            return -1;
    }
    *ret_user = pair.user;
    *ret_password = pair.password;
    return 0;
}
