/* What the prune commands have in common: their question, and the filters until, label and label!. */
#ifndef ATP_SHIM_PRUNE_H
#define ATP_SHIM_PRUNE_H

#include "compat/base/strlist.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct app;
struct err;
struct opt_parsed;

struct prune_filter {
    int64_t until_ns;                      /* 0: any age */
    struct strlist labels, without_labels; /* K or K=V */
    struct strlist dangling;               /* the values of dangling=, which only images know */
};

/* The line's --filter. images: dangling= is known. */
int prune_filter_parse(const struct opt_parsed *opts, bool images, struct prune_filter *ret, struct err *err);
void prune_filter_clear(struct prune_filter *f);

/* Whether something made then, with these labels ("K=V"), is to go. */
bool prune_filter_takes(const struct prune_filter *f, int64_t created_ns, const struct strlist *labels);

/* Docker's question after the warning, unless the line has --force; anything but y or Y is no. */
bool prune_confirmed(const struct opt_parsed *opts, const char *warning);

/* What has been said so far. */
struct pruned {
    bool headed; /* this kind has its heading */
    bool any;
    int64_t bytes;
};

/* The line above the first of a kind, with a blank line behind what came before. */
void prune_heading(struct pruned *pruned, const char *heading);
/* "Total reclaimed space: 0B" */
void prune_total(const struct pruned *pruned);

/*
 * Removes all of a kind that nothing uses and the filter takes, and prints what went. dangling: images without a name
 * only; all: volumes with a name too.
 */
int prune_containers(struct app *app, const struct prune_filter *f, struct pruned *pruned, struct err *err);
int prune_networks(struct app *app, const struct prune_filter *f, struct pruned *pruned, struct err *err);
int prune_volumes(struct app *app, const struct prune_filter *f, bool all, struct pruned *pruned, struct err *err);
int prune_images(struct app *app, const struct prune_filter *f, bool dangling, struct pruned *pruned, struct err *err);

#endif
