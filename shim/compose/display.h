/*
 * What compose shows while it works, on stderr: a line for each thing that it does something to, drawn anew on a
 * terminal; else a plain line per change, a JSON object per change, or nothing (--progress, --ansi).
 *
 *     struct display *d = display_open(app, "Running", err);
 *     display_event(d, DISPLAY_WORKING, "Container p-web-1", "", "Creating");
 *     display_event(d, DISPLAY_DONE, "Container p-web-1", "", "Created");
 *     display_free(d);
 */
#ifndef ATP_SHIM_COMPOSE_DISPLAY_H
#define ATP_SHIM_COMPOSE_DISPLAY_H

#include <stdbool.h>

struct app;
struct display;
struct err;

enum display_kind { DISPLAY_WORKING, DISPLAY_DONE, DISPLAY_WARNING, DISPLAY_ERROR };

enum display_look { DISPLAY_AUTO, DISPLAY_TTY, DISPLAY_PLAIN, DISPLAY_JSON, DISPLAY_QUIET };

/* By the global options and the environment. -1: they contradict each other. */
int display_look(struct app *app, enum display_look *ret, struct err *err);
/* Whether lines on stdout may be coloured (--ansi, NO_COLOR). */
bool display_colours(struct app *app);

/* NULL and err. */
struct display *display_open(struct app *app, const char *title, struct err *err);
/* Beside log lines (the end of an attached `up`): never drawn anew. */
struct display *display_open_plain(struct app *app, struct err *err);
void display_free(struct display *d); /* draws the last state; NULL is fine */

/* id: "Container p-web-1"; text: between id and status, mostly ""; status: "Creating". Texts are made tame. d may be
 * NULL. */
void display_event(struct display *d, enum display_kind kind, const char *id, const char *text, const char *status);
/* Time goes on; cheap: ten times a second is enough. */
void display_tick(struct display *d);
bool display_draws(const struct display *d); /* lines are drawn over one another */
bool display_is_quiet(const struct display *d);

#endif
