/*
 * The file that `-o` names for save and export, as Docker's client has it: nothing that is no regular file is written
 * to, and the name is there only when all of it is.
 */
#ifndef ATP_SHIM_OUTPUT_FILE_H
#define ATP_SHIM_OUTPUT_FILE_H

struct err;

struct output_file {
    int fd;            /* where to write */
    char *temp, *path; /* NULL: stdout */
};

#define OUTPUT_FILE_INIT                                                                                               \
    {                                                                                                                  \
        -1, NULL, NULL                                                                                                 \
    }

/* path "": stdout, which must not be a terminal. what: "save image", for messages. */
int output_file_open(const char *path, const char *what, struct output_file *ret, struct err *err);
/* All is written: it gets its name. */
int output_file_commit(struct output_file *f, struct err *err);
void output_file_clear(struct output_file *f); /* without a commit nothing stays */

#endif
