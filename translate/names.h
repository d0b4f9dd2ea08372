/*
 * Container names and ids (docker-cli.md 3.9).
 */
#ifndef ATP_TRANSLATE_NAMES_H
#define ATP_TRANSLATE_NAMES_H

#include <stdbool.h>
#include <stdint.h>

struct err;

#define CONTAINER_ID_LEN       64
#define CONTAINER_SHORT_ID_LEN 12

/* Two characters or more of [a-zA-Z0-9_.-], the first alphanumeric. One leading slash is ignored. */
bool name_valid(const char *name);

/* The same with Docker's error; *ret is the name without the slash, owned by caller. */
int name_parse(const char *name, char **ret, struct err *err);

/*
 * "adjective_surname" for this random number. attempt 0 is the plain pair; a collision asks again with 1, 2, ...:
 * Docker appends one digit, here the number itself, so that a free name is always found. Owned by caller.
 */
char *name_generate(uint64_t random, unsigned attempt);

/* Modal's rule for names of Apps, images and tags: up to 64 of [a-zA-Z0-9_.-]. */
#define MODAL_NAME_MAX_LEN 64u
bool modal_name_valid(const char *name);

/* 64 hex digits from 32 random bytes, never all decimal (Docker's rule: a short id must not look like a number). */
void container_id_make(const uint8_t random[32], char ret[CONTAINER_ID_LEN + 1]);

/*
 * Which of two containers a person means: 0 no match, 1 the word is a prefix of the id, 2 it is the name, 3 the full
 * id. The highest wins (docker-cli.md 3.9, resolution order).
 */
int name_match(const char *word, const char *id, const char *name);

#endif
