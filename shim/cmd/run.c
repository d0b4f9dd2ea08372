#include "backends/grpc/frame.h"
#include "backends/modal/task.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "compat/sys/tty.h"
#include "shim/agent.h"
#include "shim/app.h"
#include "shim/attach.h"
#include "shim/binds.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Everything that one `run` holds. */
struct run {
    struct app *app;
    struct container_spec spec;
    struct process_spec process;
    struct state_image image;
    struct state_container container;
    struct binds binds;
    struct modal_task *task;
    bool registered;   /* the container is in the state */
    bool cidfile_made; /* the file of --cidfile is ours */
};

static void run_clear(struct run *r)
{
    modal_task_free(r->task);
    binds_clear(&r->binds);
    state_container_clear(&r->container);
    state_image_clear(&r->image);
    process_clear(&r->process);
    spec_clear(&r->spec);
}

static int64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* What Docker's client checks before it asks for anything. */
static int check_terminal(const struct container_spec *spec, struct err *err)
{
    if (!spec->tty || !spec->attach_stdin || tty_is(STDIN_FILENO))
        return 0;
    err_set(err, 1, "the input device is not a TTY");
    if (err)
        err->code = SPEC_ERR_COMPLETE;
    return -1;
}

/* --cidfile: an existing file is refused before anything is made. */
static int check_cidfile(const struct container_spec *spec, struct err *err)
{
    if (spec->cidfile && fs_exists(spec->cidfile))
        return err_set(err, 125, "container ID file found, make sure the other container isn't running or delete %s",
                       spec->cidfile);
    return 0;
}

/* The id, without a newline, into a file that nobody else made meanwhile. */
static int write_cidfile(struct run *r, struct err *err)
{
    const struct container_spec *spec = &r->spec;
    cleanup_close int fd = -1;

    if (!spec->cidfile)
        return 0;
    fd = open(spec->cidfile, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    r->cidfile_made = fd >= 0;
    /* docker takes the code of `run` from the words of the error */
    if (fd < 0 || write(fd, spec->id, CONTAINER_ID_LEN) != CONTAINER_ID_LEN)
        return err_set_errno(err,
                             errno == ENOENT   ? 127
                             : errno == EACCES ? 126
                                               : 125,
                             errno, "failed to create the container ID file: open %s", spec->cidfile);
    return 0;
}

/* A list as a JSON array. */
static char *list_json(const struct strlist *list)
{
    json_t *array = json_array();
    char *text;

    for (size_t i = 0; i < list->len; i++) {
        json_t *word = json_string(list->items[i]);

        json_array_append_new(array, word ? word : json_string_nocheck("?")); /* a word that is not UTF-8 */
    }
    text = json_dumps(array, JSON_COMPACT);
    json_decref(array);
    return text;
}

/* Enters the container into the state; a generated name is made anew until it is free. */
static int register_container(struct run *r, struct err *err)
{
    struct err why = ERR_INIT;

    r->container = (struct state_container){
        .id = xstrdup(r->spec.id),
        .name = xstrdup(r->spec.name),
        .image = xstrdup(r->spec.image.text),
        .image_id = xstrdup(r->image.id),
        .command = list_json(&r->process.argv),
        .labels = list_json(&r->spec.labels),
        .status = xstrdup("created"),
        .auto_remove = r->spec.rm,
        .created_ns = now_ns(),
    };
    for (unsigned attempt = 1;; attempt++) {
        if (state_container_add(r->app->state, &r->container, &why) == 0)
            break;
        if (!r->spec.name_generated || attempt > 1000) {
            err_move(err, &why);
            return err_wrap(err, "Error response from daemon");
        }
        err_clear(&why);
        free(r->container.name);
        r->container.name = name_generate(r->spec.name_random, attempt);
    }
    r->registered = true;
    return write_cidfile(r, err);
}

/* The words of the line, the image that they name, and the process that results. */
static int prepare(struct run *r, const struct opt_parsed *opts, struct err *err)
{
    struct oci_config config = {0};
    int ret;

    if (app_input(r->app, err) < 0 || spec_from_opts(opts, &r->app->input, &r->spec, err) < 0 ||
        check_terminal(&r->spec, err) < 0 || check_cidfile(&r->spec, err) < 0)
        return -1;
    for (size_t i = 0; i < r->spec.notes.len; i++)
        app_trace(r->app, "%s", r->spec.notes.items[i]);
    if (app_modal(r->app, err) < 0 || catalog_resolve(r->app, &r->spec, &r->image, err) < 0 ||
        oci_config_parse(r->image.config, strlen(r->image.config), &config, err) < 0)
        return -1;
    ret = process_from_spec(&r->spec, &config, &r->process, err);
    oci_config_clear(&config);
    if (ret < 0 || binds_open(&r->spec, &r->binds, err) < 0)
        return -1;
    for (size_t i = 0; i < r->spec.mounts.len; i++)
        if (r->spec.mounts.items[i].whole_home)
            fprintf(stderr, "docker: the whole home directory %s goes into the sandbox\n",
                    r->spec.mounts.items[i].source);
    sandbox_reconcile(r->app);
    return 0;
}

/* Asks for the sandbox; an image that the server has forgotten is built once more. */
static int create(struct run *r, struct err *err)
{
    cleanup_free char *modal_image = NULL;
    struct err why = ERR_INIT;

    if (catalog_on_server(r->app, &r->image, NULL, &modal_image, err) < 0)
        return -1;
    if (sandbox_create(r->app, &r->spec, modal_image, &r->container, &r->task, &why) == 0)
        return 0;
    if (why.code != GRPC_NOT_FOUND) {
        err_move(err, &why);
        return err_wrap(err, "Error response from daemon");
    }
    err_clear(&why);
    free(steal(&modal_image));
    if (catalog_on_server_anew(r->app, &r->image, NULL, &modal_image, err) < 0)
        return -1;
    if (sandbox_create(r->app, &r->spec, modal_image, &r->container, &r->task, err) < 0)
        return err_wrap(err, "Error response from daemon");
    return 0;
}

/* The state while it runs: what other commands see. */
static void record_start(struct run *r)
{
    free(r->container.status);
    r->container.status = xstrdup("running");
    r->container.started_ns = now_ns();
    state_container_update(r->app->state, &r->container, STATE_PART_STATUS | STATE_PART_SANDBOX, NULL);
}

/* What the attached process is given. */
static void fill_request(const struct run *r, struct attach_request *req)
{
    *req = (struct attach_request){
        .agent = AGENT_PATH,
        .sandbox_id = r->container.sandbox_id,
        .start =
            {
                .main = true,
                .argv = &r->process.argv,
                .env = &r->process.env,
                .cwd = r->process.workdir,
                .user = r->process.user,
                .tty = r->process.tty,
                .attach_stdin = r->spec.attach_stdin && r->process.open_stdin,
            },
        .mounts = r->binds.mounts,
        .mounts_len = r->binds.len,
        .stdin_attached = r->spec.attach_stdin,
        .stdout_attached = r->spec.attach_stdout,
        .stderr_attached = r->spec.attach_stderr,
        .raw_terminal = r->spec.tty && r->spec.attach_stdin && tty_is(STDIN_FILENO),
        .sig_proxy = r->spec.sig_proxy,
        .lifetime_ms = sandbox_lifetime_ms(&r->spec),
    };
    if (r->process.tty && !tty_size(STDIN_FILENO, &req->start.rows, &req->start.cols))
        tty_size(STDOUT_FILENO, &req->start.rows, &req->start.cols);
}

/* The state after the end: gone with --rm, otherwise exited with its code. */
static void record_end(struct run *r, int code)
{
    if (!r->registered)
        return;
    if (r->spec.rm) {
        state_container_remove(r->app->state, r->container.id, NULL);
        return;
    }
    free(r->container.status);
    r->container.status = xstrdup("exited");
    r->container.exit_code = code;
    r->container.finished_ns = now_ns();
    state_container_update(r->app->state, &r->container, STATE_PART_STATUS | STATE_PART_SANDBOX, NULL);
}

/*
 * The command has ended, one way or another. A pull that failed keeps the sandbox, so that what it holds can still be
 * had; a lost connection does too, unless the sandbox turns out to be gone.
 */
static int finish(struct run *r, struct attach_result *result, struct err *err)
{
    int code = result->code;

    modal_task_free(steal(&r->task));
    if (result->end == SESSION_LOST) {
        int after = sandbox_autopsy(r->app, &r->container, &result->err);

        if (r->binds.len)
            err_wrap(&result->err, "what the container changed in its mounts was not brought back");
        if (after < 0) {
            err_move(err, &result->err);
            return err_wrap(err, "the connection to the container is lost");
        }
        code = after;
    }
    if (!result->pull_failed) {
        record_end(r, code);
        sandbox_end(r->app, &r->container);
    }
    if (!result->err.msg)
        return code;
    if (result->end != SESSION_EXITED && result->end != SESSION_LOST) {
        err_move(err, &result->err);
        err->exit_code = code;
        return result->end == SESSION_REFUSED ? err_wrap(err, "Error response from daemon") : -1;
    }
    fprintf(stderr, "docker: %s\n", result->err.msg);
    err_clear(&result->err);
    return code;
}

/* A container that never came to be leaves nothing: no name, no cidfile. */
static void undo(struct run *r)
{
    if (!r->registered)
        return;
    state_container_remove(r->app->state, r->container.id, NULL);
    if (r->cidfile_made)
        unlink(r->spec.cidfile);
}

static int run_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct run r = {.app = app, .binds = BINDS_INIT};
    struct attach_request req;
    struct attach_result result;
    int code = -1;

    spec_init(&r.spec);
    if (prepare(&r, opts, err) == 0) {
        if (register_container(&r, err) < 0 || create(&r, err) < 0) {
            undo(&r);
        } else {
            record_start(&r);
            fill_request(&r, &req);
            attach_run(app, r.task, &req, &result);
            code = finish(&r, &result, err);
        }
    }
    run_clear(&r);
    return code;
}

extern const struct cmd_def cmd_def_run;

const struct command cmd_run = {.def = &cmd_def_run, .errors = ERROR_RUN, .run = run_run};
