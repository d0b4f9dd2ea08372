/*
 * RUN --mount=type=secret on a server that knows nothing of it: the command gets the files by way of variables that
 * such servers show to RUN, and takes them away again when it ends.
 */
#ifndef ATP_SHIM_BUILD_SECRET_RUN_H
#define ATP_SHIM_BUILD_SECRET_RUN_H

struct df_file;
struct err;
struct strlist;

/* Changes the lines of such RUNs; file is what they were parsed to, ids the secrets that were given. */
int build_secret_lines(struct strlist *lines, const struct df_file *file, const struct strlist *ids, struct err *err);

#endif
