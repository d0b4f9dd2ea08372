/*
 * Linux's capabilities as Docker's --cap-add and --cap-drop name them.
 */
#ifndef ATP_TRANSLATE_CAPS_H
#define ATP_TRANSLATE_CAPS_H

#include <stdbool.h>
#include <stdint.h>

struct strlist;

#define CAPS_ALL "ALL"

/* CAP_NET_ADMIN for "net_admin" and the like; ALL stays ALL. Owned by caller. */
char *caps_name(const char *text);
/* The number of a name of caps_name()'s; -1: there is none. */
int caps_bit(const char *name);
/* Whether a container has it without asking, under Docker. */
bool caps_usual(const char *text);
/* The mask of what a container keeps that asked for these to be added and those to be dropped, as the daemon has it. */
uint64_t caps_kept(const struct strlist *add, const struct strlist *drop);

#endif
