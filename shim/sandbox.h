/*
 * A container's sandbox: asked for after an intent was written down, ended after the pull, and never leaked. Whatever a
 * killed client left is found again by its intent, its name and its tags.
 */
#ifndef ATP_SHIM_SANDBOX_H
#define ATP_SHIM_SANDBOX_H

#include "backends/state/state.h"

#include <stdbool.h>
#include <stdint.h>

struct app;
struct container_spec;
struct err;
struct modal_task;
struct modal_volume;
struct process_spec;

/*
 * The command's lifetime in milliseconds (modal.timeout). The sandbox is asked for with a margin on top, so that what
 * the command left can still be pulled; Modal's longest lifetime has room for no margin, so there the command's is
 * shorter.
 */
int64_t sandbox_lifetime_ms(const struct container_spec *spec);

/*
 * Writes down that a sandbox is about to be asked for, before the container's row or anything else is made: what a kill
 * leaves then is found by it. *ret_name is the sandbox's name, owned by caller.
 */
int sandbox_intend(struct app *app, const struct container_spec *spec, char **ret_name, struct err *err);

/*
 * Creates the sandbox of a container (its row in the state exists) from the image's id on the server, and opens the way
 * to its task: with warm caches one round trip and a connection that is still being made when this returns. intent
 * is sandbox_intend()'s and taken, or NULL. volumes: what is mounted (shim/volume.h). container's server and sandbox_id
 * are filled in, in the value and not in the state. err->code GRPC_NOT_FOUND: the server does not know the image or the
 * app any more.
 */
int sandbox_create(struct app *app, const struct container_spec *spec, const char *modal_image, char *intent,
                   const struct modal_volume *volumes, size_t volume_count, struct state_container *container,
                   struct modal_task **ret_task, struct err *err);

/* Whether a call that failed may have been carried out, its answer lost. Its intent stays then. */
bool sandbox_may_have_arrived(const struct err *err);

/* A container whose client was killed before it had a sandbox: it stays as `create` would have left it, but one that
 * `run --rm` was making (its intent is older than its row) goes. */
void sandbox_never_came(struct app *app, const struct state_intent *in);

/*
 * Sends the terminate; its answer is waited for only a moment. The intent stays until an answer came, now or at a later
 * command.
 */
void sandbox_end(struct app *app, const struct state_container *container);

/*
 * How a sandbox that ended under our hands did so: exit code as Docker would give it and one line. -1 = it still runs,
 * or the server does not say.
 */
int sandbox_autopsy(struct app *app, const char *sandbox_id, struct err *ret_why);

/* It is known to be gone: intent and row say so from now on; with --rm the container is gone too. */
void sandbox_gone(struct app *app, const char *container_id, const char *sandbox_id, int code);

/* Whether it has ended, and then its own exit code. 1 = ended, or nobody knows it; 0 = it lives; -1 = no answer. */
int sandbox_ended(struct app *app, const char *sandbox_id, int *ret_code, struct err *err);

/*
 * Takes up what earlier commands left: ends what was to be ended, settles what has ended, forgets what is gone. Only
 * for a client that was killed does it wait for an answer, and at most once a minute for each.
 */
void sandbox_reconcile(struct app *app);

/* The same for all, however short ago they were looked at, with a line on stdout for each: `docker atp recover`. */
void sandbox_recover(struct app *app);

/* Frees what waits for the answers to reconciled terminates; after app_disconnect(). */
void sandbox_forget_endings(struct app *app);

#endif
