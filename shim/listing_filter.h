/*
 * `docker ps --filter`: which containers are listed. Several values of one key: one of them must hold, of label all of
 * them; several keys: all of them. Keys and texts are Docker's; what a container here cannot have (published ports, a
 * health check that is carried out, a swarm's task) is known and holds for none.
 */
#ifndef ATP_SHIM_LISTING_FILTER_H
#define ATP_SHIM_LISTING_FILTER_H

#include <jansson.h>
#include <stdbool.h>

struct app;
struct err;
struct listing_filter;
struct state_container;
struct strlist;

/* words: "key=value" each. NULL and err for a bad one. */
struct listing_filter *listing_filter_new(struct app *app, const struct strlist *words, struct err *err);
void listing_filter_free(struct listing_filter *f); /* NULL is fine */

bool listing_filter_has(const struct listing_filter *f, const char *key);

/* inspect: listing_container() of the row. */
bool listing_filter_takes(const struct listing_filter *f, const struct state_container *row, const json_t *inspect);

#endif
