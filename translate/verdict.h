/*
 * What becomes of an option that is not simply carried out (design.md 8).
 */
#ifndef ATP_TRANSLATE_VERDICT_H
#define ATP_TRANSLATE_VERDICT_H

struct err;
struct input;
struct opt_parsed;
struct strlist;

/*
 * Walks the options that were given. The first refused or delegated one is the error ("--x is not carried out by
 * atp-docker: <reason>", exit code 125); an approximated one adds a sentence to notes, or is the error when in->strict.
 * carried: NULL-terminated names that the caller builds into its plan; an option marked as ours that is not among them
 * is refused as well, so that none is dropped by an omission.
 */
int verdict_check(const struct opt_parsed *p, const struct input *in, const char *const *carried, struct strlist *notes,
                  struct err *err);

#endif
