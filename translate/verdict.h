/*
 * What becomes of an option that is not simply carried out (design.md 8).
 */
#ifndef ATP_TRANSLATE_VERDICT_H
#define ATP_TRANSLATE_VERDICT_H

#include "compat/docker/opt.h"

struct err;
struct input;
struct strlist;

/*
 * The verdict on an option as it was given: the table's or, where the value decides, that of the value that is furthest
 * from being carried out. IGNORED_SAFE if it asks for nothing (--privileged=false). *ret_value: which one, borrowed;
 * NULL where the value does not matter.
 */
enum verdict verdict_of(const struct opt_parsed *p, const struct opt_def *def, const char **ret_reason,
                        const char **ret_value);

/*
 * Walks the options that were given. The first refused or delegated one is the error ("--x is not carried out by
 * atp-docker: <reason>", exit code 125), and so is one that is refused unless everything is to be approximated and it
 * is not (in->approximate_all); an approximated one adds a sentence to notes, or is the error when in->strict. carried:
 * NULL-terminated names that the caller builds into its plan; an option marked as ours that is not among them is
 * refused as well, so that none is dropped by an omission.
 */
int verdict_check(const struct opt_parsed *p, const struct input *in, const char *const *carried, struct strlist *notes,
                  struct err *err);

#endif
