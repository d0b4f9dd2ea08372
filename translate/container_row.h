/*
 * One line of `docker ps`: what is known of a container as the fields of Docker's templates, all of them texts.
 */
#ifndef ATP_TRANSLATE_CONTAINER_ROW_H
#define ATP_TRANSLATE_CONTAINER_ROW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct container_row { /* borrowed */
    const char *id, *name;
    const char *image, *image_id; /* the reference as given; sha256:... or "" */
    const char *status;           /* created, running, restarting, exited, removing */
    int exit_code;
    int64_t created_ns, started_ns, finished_ns; /* 0 = never */
    const char *created_at;                      /* created_ns as Go prints it, in local time */
    const json_t *inspect;                       /* what inspect prints of it */
    int64_t image_size;
    bool image_name_stands; /* the name that the container was made from still means its image */
};

json_t *container_row_json(const struct container_row *row, bool no_trunc, int64_t now_ns); /* owned by caller */

/* "Up 2 minutes", "Exited (0) 3 seconds ago"; owned by caller. */
char *container_row_status(const struct container_row *row, int64_t now_ns);

/* Path and Args as one line, arguments with blanks in single quotes; owned by caller. */
char *container_row_command(const json_t *inspect);

/* The text cut to max characters, the last of them '…' then; owned by caller. */
char *container_row_cut(const char *text, size_t max);

/* {{.Label "key"}}: a tmpl_method_fn whose arg is a `const json_t **` to the inspect object in hand. */
json_t *container_row_label(const char *name, const json_t *args, void *arg);

#endif
