/* Private to the catalogue's files: shim/catalog*.c. */
#ifndef ATP_SHIM_CATALOG_PRIVATE_H
#define ATP_SHIM_CATALOG_PRIVATE_H

#include "shim/catalog.h"

struct registry_image;

#define DAEMON_SAYS "Error response from daemon"
#define DAEMON      DAEMON_SAYS ": "

/* Where a word is looked up: its kind may leave places out. The configuration is loaded. */
struct lookup_order catalog_places(const struct app *app, const struct image_ref *ref);

/* One place alone; LOOKUP_LOCAL is none. */
int catalog_pull_from(struct app *app, const struct pull_request *req, enum lookup_place place, struct state_image *ret,
                      char **ret_digest, bool *ret_news, struct err *err);

/* The registry's answer as the state remembers it: pulled by digest from where the mirror says. Nothing is put into the
 * state. */
int catalog_fetch(struct app *app, const struct pull_request *req, struct registry_image *found,
                  struct state_image *ret, struct err *err);

/* The error says that there is no such image there: another place may have it. */
bool catalog_is_missing(const struct err *err);
int catalog_no_such_image(const struct image_ref *ref, struct err *err); /* -1 */

/* The server's image is this one: noted when it has triggers (ONBUILD), so that looking into it sets none off. */
void catalog_triggers_note(struct app *app, const char *modal_id, const struct state_image *image);

/* Looks for the server's image under the bare agent: what a short-lived sandbox is made of to look into it. */
int catalog_probe_image(struct app *app, const char *modal_id, bool anew, char **ret_modal_id, struct err *err);

#endif
