/*
 * Patterns of paths as Docker's .dockerignore has them: Go's filepath.Match, and "**" for any number of directories.
 * Private to this folder.
 */
#ifndef ATP_TRANSLATE_DOCKERFILE_PATTERN_H
#define ATP_TRANSLATE_DOCKERFILE_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pattern_kind { PATTERN_EXACT, PATTERN_PREFIX, PATTERN_SUFFIX, PATTERN_GENERAL };

struct pattern_item;

struct pattern {
    enum pattern_kind kind;
    char *text; /* EXACT, PREFIX, SUFFIX: what to compare with */
    struct pattern_item *items;
    size_t len;
};

#define PATTERN_INIT                                                                                                   \
    {                                                                                                                  \
        PATTERN_EXACT, NULL, NULL, 0                                                                                   \
    }

/* Whether Go's filepath.Match finds no fault with it. */
bool pattern_valid(const char *text);
/* Of a valid text. deep: "**" means any number of directories, else it is "*". */
void pattern_make(struct pattern *ret, const char *text, bool deep);
void pattern_clear(struct pattern *p);
/* path: len bytes, no NUL needed. */
bool pattern_match(const struct pattern *p, const char *path, size_t len);

#endif
