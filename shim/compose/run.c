#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "compat/sys/random.h"
#include "compat/sys/tty.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/compose/up.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLUG_BYTES 32
#define SLUG_SHORT 12

struct one_off {
    struct team w;
    const struct opt_parsed *opts;
    struct service *service;
    char slug[2 * SLUG_BYTES + 1];
    char *name; /* of the container */
};

static int make_slug(struct one_off *o, struct err *err)
{
    unsigned char bytes[SLUG_BYTES];

    if (random_bytes(bytes, sizeof(bytes), err) < 0)
        return -1;
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(o->slug + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

static bool wants_tty(const struct opt_parsed *opts)
{
    return opt_given(opts, "no-tty") ? !opt_bool(opts, "no-tty") : tty_is(STDOUT_FILENO);
}

static void name_it(struct one_off *o)
{
    const char *sep = compose_separator(o->w.app);

    o->name = opt_given(o->opts, "name") ? xstrdup(opt_str(o->opts, "name"))
                                         : xasprintf("%s%s%s%srun%s%.*s", o->w.project.name, sep, o->service->name, sep,
                                                     sep, SLUG_SHORT, o->slug);
}

/* The service as the line has it: what the words of `docker create` are made from. The project is ours. */
static void change_service(struct one_off *o)
{
    struct cnode *node = cnode_get(cnode_get(o->w.project.model, "services"), o->service->name);
    const struct strlist *args = opt_args(o->opts);
    struct cnode *deploy = cnode_get(node, "deploy");

    if (args->len > 1 || opt_given(o->opts, "entrypoint")) {
        struct cnode *command = cnode_new(CNODE_LIST);

        for (size_t i = 1; i < args->len; i++)
            cnode_add(command, cnode_string(args->items[i]));
        cnode_set(node, "command", command);
    }
    if (opt_given(o->opts, "entrypoint")) {
        struct cnode *entry = cnode_new(CNODE_LIST);
        cleanup_strlist struct strlist words = STRLIST_INIT;

        strlist_split(&words, opt_str(o->opts, "entrypoint"), ' ');
        for (size_t i = 0; i < words.len; i++)
            if (*words.items[i])
                cnode_add(entry, cnode_string(words.items[i]));
        cnode_set(node, "entrypoint", entry);
    }
    if (!opt_bool(o->opts, "service-ports"))
        cnode_remove(node, "ports");
    cnode_remove(node, "restart");
    cnode_set(node, "container_name", cnode_string(o->name));
    if (deploy)
        cnode_remove(deploy, "restart_policy");
    cnode_set(node, "tty", cnode_bool(wants_tty(o->opts)));
    cnode_set(node, "stdin_open", cnode_bool(opt_bool(o->opts, "interactive")));
}

static void add_list(const struct opt_parsed *opts, const char *name, const char *option, struct strlist *ret)
{
    const struct strlist *list = opt_list(opts, name);

    for (size_t i = 0; i < list->len; i++) {
        strlist_add(ret, option);
        strlist_add(ret, list->items[i]);
    }
}

static void add_str(const struct opt_parsed *opts, const char *name, const char *option, struct strlist *ret)
{
    if (!opt_given(opts, name) || !*opt_str(opts, name))
        return;
    strlist_add(ret, option);
    strlist_add(ret, opt_str(opts, name));
}

/* What the line says is laid over the words of the service; later ones win. */
static void fill_more(const struct one_off *o, struct strlist *ret)
{
    const struct opt_parsed *opts = o->opts;

    strlist_add(ret, "--name");
    strlist_add(ret, o->name);
    strlist_add(ret, "--label");
    strlist_addf(ret, "%s=True", LABEL_ONEOFF);
    strlist_add(ret, "--label");
    strlist_addf(ret, "com.docker.compose.slug=%s", o->slug);
    add_list(opts, "label", "--label", ret);
    add_list(opts, "env-from-file", "--env-file", ret);
    add_list(opts, "env", "-e", ret);
    add_list(opts, "publish", "-p", ret);
    add_list(opts, "volume", "-v", ret);
    add_list(opts, "cap-add", "--cap-add", ret);
    add_list(opts, "cap-drop", "--cap-drop", ret);
    add_str(opts, "user", "-u", ret);
    add_str(opts, "workdir", "-w", ret);
    if (opt_bool(opts, "rm"))
        strlist_add(ret, "--rm");
    if (opt_bool(opts, "detach"))
        strlist_add(ret, "-d");
    else if (opt_bool(opts, "interactive"))
        strlist_add(ret, "-i");
}

/* Takes all aliases but the first, which is the container's own name, out of "name=N,alias=A,...". */
static void cut_aliases(char *word)
{
    static const char key[] = ",alias=";
    char *at = strstr(word, key), *next;

    while (at && (next = strstr(at + 1, key))) {
        char *end = next + strlen(key) + strcspn(next + strlen(key), ",");

        memmove(next, end, strlen(end) + 1);
    }
}

/* By the service's names the others find its own containers; a one-off answers to them with --use-aliases only. */
static void drop_aliases(struct strlist *words)
{
    for (size_t i = 0; i + 1 < words->len && strcmp(words->items[i], "--"); i++)
        if (!strcmp(words->items[i], "--network"))
            cut_aliases(words->items[i + 1]);
}

/* A one-off has no number. */
static void drop_number(struct strlist *words)
{
    for (size_t i = 0; i + 1 < words->len && strcmp(words->items[i], "--"); i++)
        if (!strcmp(words->items[i], "--label") &&
            !strncmp(words->items[i + 1], LABEL_NUMBER "=", strlen(LABEL_NUMBER) + 1)) {
            strlist_remove(words, i + 1);
            strlist_remove(words, i);
            return;
        }
}

/* Those that it depends on run, and are as far as it wants them; networks and volumes are there. */
static int begin_others(struct one_off *o, struct err *err)
{
    if (up_make(&o->w, err) < 0)
        return -1;
    return o->w.services.len > 1 ? team_start(&o->w, false, 0, err) : 0;
}

static int carry_out(struct one_off *o, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT, more = STRLIST_INIT;
    int code;

    fill_more(o, &more);
    if (team_words(&o->w, o->service, 1, &more, &words, err) < 0)
        return -1;
    drop_number(&words);
    if (!opt_bool(o->opts, "use-aliases"))
        drop_aliases(&words);
    display_free(o->w.display);
    o->w.display = NULL;
    jobs_rest(o->w.app);
    if (o->w.app->dry_run && !opt_bool(o->opts, "detach"))
        return err_set(err, 1, "interactive run is not supported in dry-run mode");
    if (o->w.app->dry_run) {
        puts(more.items[1]);
        return 0;
    }
    code = command_call(o->w.app, "run", &words, err);
    if (code < 0)
        err->exit_code = 1; /* also where docker says 126 or 127 */
    if (code > 0)
        fputc('\n', stderr); /* the error without words that compose prints */
    return code;
}

static int check(const struct opt_parsed *opts, struct err *err)
{
    if (opt_bool(opts, "service-ports") && opt_list(opts, "publish")->len)
        return err_set(err, 1, "--service-ports and --publish are incompatible");
    if (!opt_bool(opts, "detach") && wants_tty(opts) && opt_bool(opts, "interactive") && !tty_is(STDIN_FILENO))
        return err_set(err, 1, "the input device is not a TTY");
    return 0;
}

static int run_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_strlist struct strlist services = STRLIST_INIT;
    struct one_off o = {.opts = opts};
    int ret = -1;

    team_init(&o.w, app);
    strlist_add(&services, opt_args(opts)->items[0]);
    if (check(opts, err) < 0 || make_slug(&o, err) < 0 ||
        team_load(&o.w, &services, !opt_bool(opts, "no-deps"), err) < 0 || up_options(&o.w, opts, err) < 0)
        goto out;
    o.service = services_find(&o.w.services, services.items[0]);
    o.service->oneoff = true;
    if (opt_bool(opts, "quiet"))
        o.w.quiet_pull = true;
    name_it(&o);
    change_service(&o);
    if ((!opt_bool(opts, "quiet") && team_show(&o.w, "Running", err) < 0) || begin_others(&o, err) < 0)
        goto out;
    ret = carry_out(&o, err);
out:
    free(o.name);
    team_clear(&o.w);
    return ret;
}

extern const struct cmd_def cmd_def_compose_run;

const struct command cmd_compose_run = {.def = &cmd_def_compose_run, .errors = ERROR_PLAIN, .run = run_run};
