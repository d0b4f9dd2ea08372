/* Contexts from elsewhere: an archive or a Dockerfile by URL, and git repositories through the git program. */
#include "backends/registry/http.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/paths.h"
#include "compat/base/strlist.h"
#include "compat/base/tame.h"
#include "compat/sys/beneath.h"
#include "shim/build/resolve.h"
#include "shim/build/source.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define GIT_SAYS 4096u /* of its messages, the end */

bool build_source_is_url(const char *word)
{
    return !strncmp(word, "http://", 7) || !strncmp(word, "https://", 8);
}

/* What docker takes for a repository: other schemes, "user@host:path", github.com/, and URLs whose path ends in .git.
 */
bool build_source_is_git(const char *word)
{
    const char *hash = strchr(word, '#'), *at = strchr(word, '@'), *colon = strchr(word, ':');
    size_t len = hash ? (size_t)(hash - word) : strlen(word);

    if (!strncmp(word, "git://", 6) || !strncmp(word, "ssh://", 6) || !strncmp(word, "github.com/", 11))
        return true;
    if (build_source_is_url(word))
        return len > 4 && !strncmp(word + len - 4, ".git", 4);
    return at && colon && at < colon && at > word && !strpbrk(word, " \t") &&
           strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == (size_t)(at - word);
}

/* ---- by URL ---- */

static int on_bytes(const void *bytes, size_t len, void *arg, struct err *err)
{
    int fd = *(const int *)arg;
    const char *from = bytes;

    if (build_source_room(fd) < BUILD_SOURCE_MARGIN)
        return err_set(err, 1, "there is no more room on the disk for what is downloaded");
    while (len) {
        ssize_t n = write(fd, from, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 1, errno, "writing what was downloaded");
        from += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Downloads into a file without a name. */
static int download(const char *url, int fd, struct err *err)
{
    struct http *h = http_new(&build_cancelled);
    struct http_request request = {.url = url, .sink = on_bytes, .sink_arg = &fd};
    struct http_reply reply;
    bool again;
    int ret;

    http_reply_init(&reply);
    ret = http_do(h, &request, &reply, &again, err);
    if (ret < 0)
        ret = build_cancelled ? build_signalled(err)
                              : err_wrap(err, "unable to prepare context: unable to download remote context %s", url);
    else if (reply.status != 200)
        ret = err_set(err, 1,
                      "unable to prepare context: unable to download remote context %s: failed to GET %s with "
                      "status %ld",
                      url, url, reply.status);
    http_reply_clear(&reply);
    http_free(h);
    return ret;
}

int build_source_fetch(const char *url, struct build_source *s, struct err *err)
{
    struct build_temp temp = BUILD_TEMP_INIT;
    cleanup_buf struct buf head = BUF_INIT(BUILD_SOURCE_HEAD), text = BUF_INIT(BUILD_DOCKERFILE_MAX);
    const struct buf nothing = BUF_INIT(0);
    cleanup_close int fd = -1;
    ssize_t n;
    int ret = -1;

    if (build_temp_new(&temp, err) < 0)
        return -1;
    fd = beneath_unnamed_open(temp.dir);
    if (fd < 0)
        ret = err_set_errno(err, 1, errno, "unable to prepare context: %s", temp.path);
    else if ((ret = download(url, fd, err)) == 0) {
        n = pread(fd, buf_reserve(&head, BUILD_SOURCE_HEAD), BUILD_SOURCE_HEAD, 0);
        buf_advance(&head, n > 0 ? (size_t)n : 0);
        lseek(fd, 0, SEEK_SET);
        if (build_source_is_archive(head.data, head.len)) {
            ret = build_source_unpack(fd, &nothing, s, err);
        } else {
            while ((n = read(fd, buf_reserve(&text, 1), 1)) > 0 && !text.overflowed)
                buf_advance(&text, 1);
            ret = n == 0 ? 0
                         : err_set(err, 1,
                                   "unable to prepare context: %s is no archive, and larger than a Dockerfile "
                                   "may be",
                                   url);
            s->dockerfile_len = text.len;
            s->dockerfile = ret == 0 ? buf_detach(&text) : NULL;
            s->dockerfile_name = xstrdup("Dockerfile");
        }
    }
    build_temp_clear(&temp);
    return ret;
}

/* ---- git ---- */

/* What would have git work on another repository than the one in its directory: a hook of git's, for one, runs with
 * these set. */
static void forget_repository(void)
{
    static const char *const names[] = {
        "GIT_DIR",        "GIT_WORK_TREE",        "GIT_INDEX_FILE",
        "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_NAMESPACE",  "GIT_PREFIX",           "GIT_SHALLOW_FILE",
        "GIT_GRAFT_FILE", "GIT_CONFIG",           "GIT_QUARANTINE_PATH",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unsetenv(names[i]);
}

/* Runs git in dir without a prompt; what it says on stderr is the error. A line of its stdout is not needed. */
static int run_git(const char *dir, const char *const *args, struct err *err)
{
    cleanup_strlist struct strlist argv = STRLIST_INIT;
    cleanup_buf struct buf said = BUF_INIT(GIT_SAYS);
    int tube[2], status = 0;
    pid_t pid;

    strlist_add(&argv, "git");
    for (size_t i = 0; args[i]; i++)
        strlist_add(&argv, args[i]);
    if (pipe2(tube, O_CLOEXEC) < 0)
        return err_set_errno(err, 1, errno, "unable to prepare context: pipe");
    pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);

        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(tube[1], STDERR_FILENO);
        close(tube[0]);
        forget_repository();
        setenv("GIT_TERMINAL_PROMPT", "0", 1);
        setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
        setenv("GIT_PROTOCOL_FROM_USER", "0", 1); /* no local or external transports by way of a submodule */
        setenv("GIT_ALLOW_PROTOCOL", "http:https:git:ssh", 1); /* nor where the configuration would have them */
        if (chdir(dir) == 0)
            execvp("git", strlist_argv(&argv));
        _exit(127);
    }
    close(tube[1]);
    if (pid < 0) {
        close(tube[0]);
        return err_set_errno(err, 1, errno, "unable to prepare context: fork");
    }
    for (;;) {
        char piece[1024];
        ssize_t n = read(tube[0], piece, sizeof(piece));

        if (build_cancelled)
            kill(pid, SIGTERM);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        if (said.len + (size_t)n > GIT_SAYS)
            buf_consume(&said, said.len + (size_t)n - GIT_SAYS);
        buf_add(&said, piece, (size_t)n);
    }
    close(tube[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (build_cancelled)
        return build_signalled(err);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && !said.len)
        return err_set(err, 1,
                       "unable to prepare context: unable to find 'git': install it to build from a repository");
    while (said.len && isspace((unsigned char)said.data[said.len - 1]))
        buf_truncate(&said, said.len - 1);
    if (said.len)
        tame(said.data, /* keep_lines= */ true);
    return err_set(err, 1, "unable to prepare context: git %s: %s", args[0], said.len ? said.data : "it failed");
}

/* url#ref:subdir -> its parts, owned by caller; NULL = not said. */
static void split_word(const char *word, char **ret_url, char **ret_ref, char **ret_subdir)
{
    const char *hash = strchr(word, '#'), *colon = hash ? strchr(hash, ':') : NULL;
    cleanup_free char *url = xstrndup(word, hash ? (size_t)(hash - word) : strlen(word));

    *ret_url = !strncmp(url, "github.com/", 11) ? xasprintf("https://%s", url) : steal(&url);
    *ret_ref = hash ? xstrndup(hash + 1, colon ? (size_t)(colon - hash - 1) : strlen(hash + 1)) : NULL;
    *ret_subdir = colon && colon[1] ? xstrdup(colon + 1) : NULL;
    if (*ret_ref && !**ret_ref)
        free(steal(ret_ref));
}

/* The subdirectory becomes the root, wherever links within the repository lead. */
static int enter(struct build_source *s, const char *subdir, struct err *err)
{
    cleanup_free char *real = build_resolve(s->dir, subdir, NULL);
    int dir = -1, list = -1;

    if (real)
        dir = *real ? beneath_open_dir(s->dir, real) : beneath_list_open(s->dir);
    if (dir >= 0)
        list = beneath_list_open(dir);
    if (dir >= 0)
        close(dir);
    if (list < 0)
        return err_set(err, 1, "unable to prepare context: the repository has no directory %s", subdir);
    close(s->dir);
    s->dir = list;
    if (*real) {
        char *path = xasprintf("%s/%s", s->path, real);

        free(s->path);
        s->path = path;
    }
    return 0;
}

int build_source_clone(const char *word, struct build_source *s, struct err *err)
{
    cleanup_free char *url = NULL, *ref = NULL, *subdir = NULL;

    split_word(word, &url, &ref, &subdir);
    if (*url == '-' || (ref && *ref == '-'))
        return err_set(err, 1, "unable to prepare context: invalid git address: %s", word);
    if (build_temp_new(&s->temp, err) < 0)
        return -1;
    if (beneath_mkdir(s->temp.dir, "context", 0700) < 0)
        return err_set_errno(err, 1, errno, "unable to prepare context: mkdir %s", s->temp.path);
    s->path = xasprintf("%s/context", s->temp.path);
    s->dir = beneath_child_list(s->temp.dir, "context");
    s->own = true;
    {
        const char *const init[] = {"init", "--quiet", ".", NULL};
        const char *const remote[] = {"remote", "add", "origin", url, NULL};
        const char *const shallow[] = {"fetch", "--quiet", "--depth", "1", "origin", ref ? ref : "HEAD", NULL};
        const char *const whole[] = {"fetch", "--quiet", "origin", "+refs/*:refs/remotes/origin/*", NULL};
        const char *const fetched[] = {"checkout", "--quiet", "FETCH_HEAD", NULL};
        const char *const named[] = {"checkout", "--quiet", ref ? ref : "HEAD", NULL};
        const char *const parts[] = {"submodule", "--quiet", "update", "--init", "--recursive", "--depth=1", NULL};
        struct err why = ERR_INIT;
        bool all = false;

        if (run_git(s->path, init, err) < 0 || run_git(s->path, remote, err) < 0)
            return -1;
        if (run_git(s->path, shallow, &why) < 0) {
            /* a commit's short name, or a server that gives no depth: all of it */
            if (!ref || build_cancelled || run_git(s->path, whole, NULL) < 0)
                return err_move(err, &why);
            all = true;
        }
        err_clear(&why);
        if (run_git(s->path, all ? named : fetched, err) < 0 || run_git(s->path, parts, err) < 0)
            return -1;
    }
    if (beneath_remove_tree(s->dir, ".git") < 0)
        return err_set_errno(err, 1, errno, "unable to prepare context: removing .git");
    return subdir ? enter(s, subdir, err) : 0;
}
