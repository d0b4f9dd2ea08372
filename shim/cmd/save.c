#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/events.h"
#include "shim/output_file.h"
#include "shim/save.h"

static int save_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(output_file_clear) struct output_file out = OUTPUT_FILE_INIT;
    cleanup_with(save_list_clear) struct save_list list = SAVE_LIST_INIT;
    const struct strlist *words = opt_args(opts);

    if (catalog_check_platform(opt_str(opts, "platform"), err) < 0 ||
        output_file_open(opt_str(opts, "output"), "save image", &out, err) < 0)
        return -1;
    for (size_t i = 0; i < words->len; i++)
        if (save_list_add(app, &list, words->items[i], err) < 0)
            return -1;
    if (save_write(app, &list, out.fd, err) < 0)
        return err_wrap(err, "Error response from daemon");
    for (size_t i = 0; i < list.len; i++)
        event_image(app, "save", list.items[i].image.id, NULL);
    return output_file_commit(&out, err);
}

extern const struct cmd_def cmd_def_save;

const struct command cmd_save = {.def = &cmd_def_save, .errors = ERROR_PLAIN, .run = save_run};
