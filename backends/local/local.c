#include "backends/local/local.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

void local_engine_clear(struct local_engine *e)
{
    free(e->server_url);
    free(e->token_id);
    free(e->token_secret);
    free(e->no_network);
    free(e->no_limits);
    memset(e, 0, sizeof(*e));
}

/* A connected descriptor, or -1 with errno. */
static int connect_socket(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    cleanup_close int fd = -1;

    if (strlen(path) >= sizeof(addr.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(addr.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
        return -1;
    return steal_fd(&fd);
}

/* The value of `NAME=value` or `NAME='value'` in the engine's file; owned by caller, NULL when missing. */
static char *assignment(const char *text, const char *name)
{
    size_t len = strlen(name);

    for (const char *line = text; line; line = strchr(line, '\n')) {
        const char *value, *end;

        line += *line == '\n';
        if (!strncmp(line, "export ", 7))
            line += 7;
        if (strncmp(line, name, len) || line[len] != '=')
            continue;
        value = line + len + 1;
        if (*value == '\'' || *value == '"') {
            end = strchr(value + 1, *value);
            return end ? xstrndup(value + 1, (size_t)(end - value - 1)) : NULL;
        }
        return xstrndup(value, strcspn(value, "\n"));
    }
    return NULL;
}

static int read_env_file(const struct local_config *config, struct local_engine *ret, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/engine.env", config->runtime_dir);
    cleanup_buf struct buf text = BUF_INIT(65536);

    if (fs_read_file(path, &text, err) < 0)
        return err_wrap(err, "an engine answers, but its credentials cannot be read");
    ret->server_url = assignment(text.data, "MODAL_SERVER_URL");
    ret->token_id = assignment(text.data, "MODAL_TOKEN_ID");
    ret->token_secret = assignment(text.data, "MODAL_TOKEN_SECRET");
    ret->no_network = assignment(text.data, "ATP_ENGINE_NO_NETWORK");
    ret->no_limits = assignment(text.data, "ATP_ENGINE_NO_LIMITS");
    if (ret->server_url && ret->token_id && ret->token_secret)
        return 0;
    local_engine_clear(ret);
    return err_set(err, 125,
                   "%s does not hold the engine's address and credentials: end the engine (its pid is in %s/lock), and "
                   "the next command starts one",
                   path, config->state_dir);
}

bool local_engine_runs(const struct local_config *config, struct local_engine *ret)
{
    cleanup_free char *path = xasprintf("%s/engine.sock", config->runtime_dir);
    cleanup_close int fd = connect_socket(path);

    return fd >= 0 && read_env_file(config, ret, NULL) == 0;
}

/* Where atp-engine is. */
static char *find_program(const struct local_config *config, struct err *err)
{
    static const char *const places[] = {"", "/../libexec/atp-docker"};
    cleanup_free char *self = fs_program_dir();
    cleanup_strlist struct strlist dirs = STRLIST_INIT;
    const char *path = getenv("PATH");

    if (config->program)
        return xstrdup(config->program);
    for (size_t i = 0; self && i < 2; i++)
        strlist_addf(&dirs, "%s%s", self, places[i]);
    strlist_split(&dirs, path ? path : "/usr/local/bin:/usr/bin:/bin", ':');
    for (size_t i = 0; i < dirs.len; i++) {
        cleanup_free char *candidate = xasprintf("%s/atp-engine", dirs.items[i]);

        if (access(candidate, X_OK) == 0)
            return steal(&candidate);
    }
    err_set(err, 125, "atp-engine was found neither beside atp-docker nor on PATH");
    return NULL;
}

/* In the child: stdin from nowhere, stdout and stderr to the log, then the engine. */
static _Noreturn void exec_engine(char **argv, int log_fd)
{
    int null_fd = open("/dev/null", O_RDWR);

    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(log_fd, STDOUT_FILENO) < 0 ||
        dup2(log_fd, STDERR_FILENO) < 0)
        _exit(126);
    execv(argv[0], argv);
    _exit(127);
}

/* The first line that the engine wrote on its way to a failure. */
static int start_failed(const char *log_path, int status, struct err *err)
{
    cleanup_buf struct buf log = BUF_INIT(LIMIT_CONFIG_FILE);

    if (fs_read_file(log_path, &log, NULL) == 0 && log.len)
        return err_set(err, 125, "the embedded engine did not start: %.*s", (int)strcspn(log.data, "\n"), log.data);
    return err_set(err, 125, "the embedded engine did not start (wait status %d, see %s)", status, log_path);
}

/* Starts atp-engine, which detaches itself when it is ready: its starter process then exits with 0. */
static int start(const struct local_config *config, struct err *err)
{
    cleanup_free char *program = find_program(config, err);
    cleanup_free char *log_path = xasprintf("%s/engine.log", config->state_dir);
    cleanup_strlist struct strlist argv = STRLIST_INIT;
    cleanup_close int log_fd = -1;
    int status = 0;
    pid_t pid;

    if (!program || fs_mkdirs(config->state_dir, 0700, err) < 0)
        return -1;
    log_fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return err_set_errno(err, 125, errno, "open %s", log_path);
    strlist_add(&argv, program);
    strlist_add(&argv, "--detach");
    strlist_addf(&argv, "--socket=%s/engine.sock", config->runtime_dir);
    strlist_addf(&argv, "--env-file=%s/engine.env", config->runtime_dir);
    strlist_addf(&argv, "--state-dir=%s", config->state_dir);
    strlist_addf(&argv, "--idle-exit=%d", config->idle_exit_secs);
    for (size_t i = 0; config->mirrors && i < config->mirrors->len; i++)
        strlist_addf(&argv, "--mirror=%s", config->mirrors->items[i]);
    pid = fork();
    if (pid < 0)
        return err_set_errno(err, 125, errno, "starting %s", program);
    if (pid == 0)
        exec_engine(strlist_argv(&argv), log_fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status == 0 ? 0 : start_failed(log_path, status, err);
}

int local_engine_get(const struct local_config *config, struct local_engine *ret, struct err *err)
{
    cleanup_free char *socket_path = xasprintf("%s/engine.sock", config->runtime_dir);
    cleanup_free char *lock_path = xasprintf("%s/engine.start", config->runtime_dir);
    cleanup_close int fd = connect_socket(socket_path), lock_fd = -1;

    if (fd >= 0)
        return read_env_file(config, ret, err);
    if (errno == ENAMETOOLONG)
        return err_set(err, 125, "the socket path %s is too long: set XDG_RUNTIME_DIR to a shorter one", socket_path);
    if (fs_mkdirs(config->runtime_dir, 0700, err) < 0)
        return err_wrap(err, "the folder of the engine's socket (XDG_RUNTIME_DIR names another)");
    lock_fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock_fd < 0 || flock(lock_fd, LOCK_EX) < 0)
        return err_set_errno(err, 125, errno,
                             "the folder of the engine's socket (XDG_RUNTIME_DIR names another): lock %s", lock_path);
    fd = connect_socket(socket_path);
    if (fd < 0 && start(config, err) < 0)
        return -1;
    return read_env_file(config, ret, err);
}
