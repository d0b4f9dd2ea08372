/*
 * Environment and labels: -e, --env-file, -l, --label-file (docker-cli.md 4.3).
 *
 * The result lists hold "K=V" in Docker's order: files first, then the words of the command line. An entry of a
 * variable that the client does not have is absent, and removes nothing.
 */
#ifndef ATP_TRANSLATE_ENV_H
#define ATP_TRANSLATE_ENV_H

#include "compat/base/strlist.h"

struct err;
struct input;

/*
 * Reads the contents of an env-file (name is for messages), appending to out. lookup: variables without "=" take the
 * client's value; NULL keeps them as they are (label files).
 */
int env_parse_file(const char *name, const char *text, size_t len, const struct input *lookup, struct strlist *out,
                   struct err *err);

/* All files through in->read_file, then all words. */
int env_collect(const struct strlist *files, const struct strlist *words, const struct input *in, struct strlist *out,
                struct err *err);

/* The same for labels; "k" alone is "k=". A later value of a label replaces the earlier one. */
int labels_collect(const struct strlist *files, const struct strlist *words, const struct input *in,
                   struct strlist *out, struct err *err);

/*
 * Lays `over` on `base` as the daemon does: an entry of a known key replaces it in place, others are appended; a word
 * without "=" in `over` removes the key.
 */
void env_merge(struct strlist *base, const struct strlist *over);

#endif
