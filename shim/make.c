#include "shim/make.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "compat/sys/fs.h"
#include "compat/sys/tty.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/events.h"
#include "shim/network.h"
#include "shim/sandbox.h"
#include "shim/volume.h"
#include "translate/record_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define NAMES_MAX 1000 /* tries to find a name that is free */

void making_init(struct making *m, struct app *app)
{
    *m = (struct making){.binds = BINDS_INIT};
    container_init(&m->c, app);
    spec_init(&m->c.spec);
    m->c.loaded = true;
}

void making_clear(struct making *m)
{
    binds_clear(&m->binds);
    state_image_clear(&m->image);
    container_clear(&m->c);
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
static int write_cidfile(struct making *m, struct err *err)
{
    const struct container_spec *spec = &m->c.spec;
    cleanup_close int fd = -1;

    if (!spec->cidfile)
        return 0;
    fd = open(spec->cidfile, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    m->cidfile_made = fd >= 0;
    /* docker takes the code of `run` from the words of the error */
    if (fd < 0 || write(fd, spec->id, CONTAINER_ID_LEN) != CONTAINER_ID_LEN)
        return err_set_errno(err,
                             errno == ENOENT   ? 127
                             : errno == EACCES ? 126
                                               : 125,
                             errno, "failed to create the container ID file: open %s", spec->cidfile);
    return 0;
}

char *making_json(const struct strlist *list)
{
    json_t *array = json_array();
    char *text;

    for (size_t i = 0; i < list->len; i++)
        json_array_append_new(array, record_shown(list->items[i]));
    text = json_dumps(array, JSON_COMPACT);
    json_decref(array);
    return text;
}

int making_prepare(struct making *m, const struct opt_parsed *opts, bool to_run, struct err *err)
{
    struct container_spec *spec = &m->c.spec;
    struct app *app = m->c.app;
    struct oci_config config = {0};
    int ret;

    if (app_input(app, err) < 0 || spec_from_opts(opts, &app->input, spec, err) < 0 ||
        (to_run && check_terminal(spec, err) < 0) || check_cidfile(spec, err) < 0)
        return -1;
    for (size_t i = 0; i < spec->notes.len; i++)
        app_trace(app, "%s", spec->notes.items[i]);
    if (app_modal(app, err) < 0 || catalog_resolve(app, spec, &m->image, err) < 0 ||
        oci_config_parse(m->image.config, strlen(m->image.config), &config, err) < 0)
        return -1;
    ret = process_from_spec(spec, &config, &m->c.process, err);
    if (ret == 0)
        ret = volumes_from(app, opt_list(opts, "volumes-from"), spec, err);
    if (ret == 0)
        ret = volumes_prepare(app, spec, &m->c.process, err);
    oci_config_clear(&config);
    if (ret == 0)
        ret = network_resolve(app, spec, /* must= */ false, err);
    if (ret < 0)
        return -1;
    for (size_t i = 0; i < spec->mounts.len; i++)
        if (spec->mounts.items[i].whole_home)
            fprintf(stderr, "docker: the whole home directory %s goes into the sandbox\n",
                    spec->mounts.items[i].source);
    sandbox_reconcile(app);
    return 0;
}

/* The row; the record says all of it again. */
static void fill_row(struct making *m)
{
    struct container *c = &m->c;

    c->row = (struct state_container){
        .id = xstrdup(c->spec.id),
        .name = xstrdup(c->spec.name),
        .image = xstrdup(c->spec.image.text),
        .image_id = xstrdup(m->image.id),
        .command = making_json(&c->process.argv),
        .labels = making_json(&c->process.config.labels),
        .status = xstrdup("created"),
        .networks = network_ids(&c->spec.networks),
        .auto_remove = c->spec.rm,
        .created_ns = container_now_ns(),
    };
    c->row.record = record_encode(&c->spec, &c->process, m->image.id, c->row.created_ns);
}

/* Another generated name. */
static void rename_row(struct making *m, unsigned attempt)
{
    struct container *c = &m->c;

    free(c->spec.name);
    free(c->row.name);
    free(c->row.record);
    c->spec.name = name_generate(c->spec.name_random, attempt);
    c->row.name = xstrdup(c->spec.name);
    c->row.record = record_encode(&c->spec, &c->process, m->image.id, c->row.created_ns);
}

int making_register(struct making *m, bool to_run, struct err *err)
{
    struct container *c = &m->c;
    struct err why = ERR_INIT;

    if (to_run && sandbox_intend(c->app, &c->spec, &c->intent, err) < 0)
        return -1;
    fill_row(m);
    for (unsigned attempt = 1; state_container_add(c->app->state, &c->row, &why) < 0; attempt++) {
        if (!c->spec.name_generated || attempt > NAMES_MAX) {
            err_move(err, &why);
            return err_wrap(err, "Error response from daemon");
        }
        err_clear(&why);
        rename_row(m, attempt);
    }
    m->registered = true;
    event_container(c, "create", NULL);
    if (volumes_register(c->app, &c->spec, err) < 0 || container_lock(c, err) < 0 ||
        binds_open(&c->spec, c->spec.id, &m->binds, err) < 0)
        return -1;
    return write_cidfile(m, err);
}

void making_undo(struct making *m)
{
    struct app *app = m->c.app;

    if (m->registered) {
        container_dir_remove(m->c.row.id);
        event_container_once(&m->c, "destroy", NULL);
        state_container_remove(app->state, m->c.row.id, NULL);
        volumes_remove_anonymous(app, &m->c.spec);
    }
    if (m->cidfile_made)
        unlink(m->c.spec.cidfile);
    if (m->c.intent)
        state_intent_drop(app->state, m->c.intent, NULL);
}
