#include "backends/registry/auth.h"
#include "backends/registry/push.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/tty.h"
#include "shim/app.h"
#include "shim/command.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HUB_KEY      "https://index.docker.io/v1/"
#define MAX_PASSWORD (64u << 10) /* tokens of some KiB exist */

struct wanted {
    char *server; /* Docker's key */
    char *user, *password;
};

static void wanted_clear(struct wanted *w)
{
    free(w->server);
    free(w->user);
    free(w->password);
}

/* All of stdin, without the end of its last line. */
static char *read_password(struct err *err)
{
    struct buf text cleanup_buf = BUF_INIT(MAX_PASSWORD);
    ssize_t n = 1;

    while (n > 0) {
        char *room = buf_reserve(&text, 4096);

        if (!room) {
            err_set(err, 1, "the password on stdin is longer than %u bytes", MAX_PASSWORD);
            return NULL;
        }
        n = read(STDIN_FILENO, room, 4096);
        if (n > 0)
            buf_advance(&text, (size_t)n);
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    if (text.len && text.data[text.len - 1] == '\n')
        buf_truncate(&text, text.len - 1);
    if (text.len && text.data[text.len - 1] == '\r')
        buf_truncate(&text, text.len - 1);
    return buf_detach(&text);
}

/* One line that somebody types; NULL and err at its end. */
static char *ask(const char *prompt, bool hidden, struct err *err)
{
    cleanup_free char *line = NULL;
    size_t size = 0;
    ssize_t n;

    fputs(prompt, stdout);
    fflush(stdout);
    if (hidden && tty_hide(STDIN_FILENO, err) < 0)
        return NULL;
    n = getline(&line, &size, stdin);
    if (hidden) {
        tty_restore();
        putchar('\n');
    }
    if (n < 0) {
        err_set(err, 1, "EOF");
        return NULL;
    }
    line[strcspn(line, "\r\n")] = '\0';
    return steal(&line);
}

/* What the line and stdin say of user and password. */
static int read_options(const struct opt_parsed *opts, struct wanted *w, struct err *err)
{
    bool from_stdin = opt_bool(opts, "password-stdin");
    const char *user = opt_str(opts, "username"), *password = opt_str(opts, "password");

    if (opt_given(opts, "password"))
        fputs("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n", stderr);
    if (from_stdin && opt_given(opts, "password"))
        return err_set(err, 1, "--password and --password-stdin are mutually exclusive");
    if (from_stdin && !*user)
        return err_set(err, 1, "the --password-stdin option requires --username to be set");
    while (isspace((unsigned char)*user))
        user++;
    w->user = *user ? xstrdup(user) : NULL;
    w->password = from_stdin ? read_password(err) : *password ? xstrdup(password) : NULL;
    return from_stdin && !w->password ? -1 : 0;
}

/* Asks for what is missing, at a terminal only. */
static int prompt(struct wanted *w, const char *known_user, struct err *err)
{
    cleanup_free char *question = known_user ? xasprintf("Username (%s): ", known_user) : xstrdup("Username: ");

    if ((w->user && w->password) && *w->password)
        return 0;
    if (!tty_is(STDIN_FILENO))
        return err_set(err, 1, "Error: Cannot perform an interactive login from a non TTY device");
    if (!w->user) {
        w->user = ask(question, false, err);
        if (!w->user)
            return -1;
        if (!*w->user && known_user) {
            free(w->user);
            w->user = xstrdup(known_user);
        }
        if (!*w->user)
            return err_set(err, 1, "error: username is required");
    }
    if (!w->password || !*w->password) {
        free(w->password);
        w->password = ask("Password: ", true, err);
        if (w->password && !*w->password)
            err_set(err, 1, "error: password is required");
    }
    return w->password && *w->password ? 0 : -1;
}

/* Whether the registry takes them. */
static int try_login(const char *server, const char *user, const char *password, struct err *err)
{
    const char *host = strcmp(server, HUB_KEY) == 0 ? "docker.io" : server;

    return registry_login(host, user, password, err) == 0 ? 0 : err_wrap(err, "Error response from daemon");
}

static void warn_plain(const char *path)
{
    fprintf(stderr,
            "\nWARNING! Your credentials are stored unencrypted in '%s'.\n"
            "Configure a credential helper to remove this warning. See\n"
            "https://docs.docker.com/go/credential-store/\n\n",
            path);
}

static int keep(const char *server, const char *user, const char *password, struct err *err)
{
    cleanup_free char *plain = NULL;

    if (auth_keep(server, user, password, &plain, err) < 0)
        return -1;
    if (plain)
        warn_plain(plain);
    puts("Login Succeeded");
    return 0;
}

/* With what is kept already: 1 it did, 0 something is to be asked for; *ret_user is the name that was kept. */
static int login_again(const char *server, char **ret_user, struct err *err)
{
    const char *host = strcmp(server, HUB_KEY) == 0 ? "docker.io" : server;
    struct err why cleanup_err = ERR_INIT;
    cleanup_free char *user = NULL, *password = NULL;

    if (auth_find(host, &user, &password, NULL, err) < 0)
        return -1;
    if (!user || !*password)
        return 0;
    fprintf(stderr,
            "Authenticating with existing credentials... [Username: %s]\n\n"
            " Info -> To login with a different account, run 'docker logout' followed by 'docker login'\n\n\n",
            user);
    if (try_login(server, user, password, &why) == 0) {
        puts("Login Succeeded");
        return 1;
    }
    fputs("Stored credentials invalid or expired\n", stderr);
    *ret_user = steal(&user);
    return 0;
}

static int login_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *args = opt_args(opts);
    struct wanted w = {.server = auth_key(args->len ? args->items[0] : "")};
    cleanup_free char *known = NULL;
    int ret = read_options(opts, &w, err);

    (void)app;
    if (ret == 0 && !w.user && !w.password)
        ret = login_again(w.server, &known, err);
    if (ret == 0) {
        ret = prompt(&w, known, err);
        if (ret == 0)
            ret = try_login(w.server, w.user, w.password, err);
        if (ret == 0)
            ret = keep(w.server, w.user, w.password, err);
    }
    wanted_clear(&w);
    return ret < 0 ? -1 : 0;
}

extern const struct cmd_def cmd_def_login;

const struct command cmd_login = {.def = &cmd_def_login, .errors = ERROR_PLAIN, .run = login_run};
