/* The parts of config.c: each prints one thing of a project. The exit code, or -1 with err. */
#ifndef ATP_SHIM_COMPOSE_CONFIG_H
#define ATP_SHIM_COMPOSE_CONFIG_H

struct app;
struct compose_project;
struct err;
struct opt_parsed;

/* --x-modal-report: what becomes of each key. */
int config_report(struct app *app, struct compose_project *p, const struct opt_parsed *opts, struct err *err);
/* --variables */
int config_variables(struct app *app, struct compose_project *p, const struct opt_parsed *opts, struct err *err);

/* The services' images by the digests that they have in their registries now. */
int config_pin_images(struct app *app, struct compose_project *p, struct err *err);
/* Nothing is left of the model but services and their images. */
void config_images_only(struct compose_project *p);

#endif
