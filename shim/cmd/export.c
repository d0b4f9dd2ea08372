#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/copy.h"
#include "shim/output_file.h"

static int export_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(output_file_clear) struct output_file out = OUTPUT_FILE_INIT;
    int status;

    if (output_file_open(opt_str(opts, "output"), "export container", &out, err) < 0)
        return -1;
    status = copy_export(app, opt_args(opts)->items[0], out.fd, err);
    return status == 0 ? output_file_commit(&out, err) : status;
}

extern const struct cmd_def cmd_def_export;

const struct command cmd_export = {.def = &cmd_def_export, .errors = ERROR_PLAIN, .run = export_run};
