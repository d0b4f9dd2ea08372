#include "compat/base/err.h"
#include "compat/docker/quote.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/volume.h"
#include "translate/names.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define DAEMON "Error response from daemon: "

/* A driver that is not there, and options that would mean nothing. */
static int check_words(const struct opt_parsed *opts, const char *name, struct err *err)
{
    const char *driver = opt_str(opts, "driver");

    if (*driver && strcmp(driver, "local") != 0)
        return err_set(err, 1, DAEMON "create %s: error looking up volume plugin %s: plugin \"%s\" not found", name,
                       driver, driver);
    if (opt_list(opts, "opt")->len)
        return err_set(err, 125,
                       "--opt %s is not carried out by atp-docker: options of a volume's driver mean nothing to a "
                       "volume of Modal's",
                       opt_list(opts, "opt")->items[0]);
    return 0;
}

static int check_name(const char *name, struct err *err)
{
    cleanup_free char *quoted = quote_go_str(name);

    if (name_valid(name))
        return 0;
    if (strlen(name) == 1 && isalnum((unsigned char)*name))
        return err_set(err, 1,
                       DAEMON "create %s: volume name is too short, names should be at least two alphanumeric "
                              "characters",
                       name);
    return err_set(err, 1,
                   DAEMON "create %s: %s includes invalid characters for a local volume name, only "
                          "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use "
                          "absolute path",
                   name, quoted);
}

static int create_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *words = opt_args(opts), *labels = opt_list(opts, "label");
    const char *name = words->len ? words->items[0] : opt_str(opts, "name");
    cleanup_strlist struct strlist given = STRLIST_INIT;
    char made[65];

    if (words->len && opt_given(opts, "name"))
        return err_set(err, 1,
                       "conflicting options: cannot specify a volume name through both --name and as a "
                       "positional arg");
    if (!*name) {
        if (volume_name_random(made, err) < 0)
            return -1;
        name = made;
    }
    strlist_copy(&given, labels);
    if (name == made)
        strlist_add(&given, "com.docker.volume.anonymous=");
    if (check_words(opts, name, err) < 0 || check_name(name, err) < 0 || app_state(app, err) < 0 ||
        volume_add(app, name, &given, NULL, /* anonymous= */ name == made, err) < 0)
        return -1;
    puts(name);
    return 0;
}

extern const struct cmd_def cmd_def_volume_create;

const struct command cmd_volume_create = {.def = &cmd_def_volume_create, .errors = ERROR_PLAIN, .run = create_run};
