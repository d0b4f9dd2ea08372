/*
 * Strings in a record. A command line may hold any bytes, JSON holds UTF-8 only: a string (or list) with other bytes is
 * shown with U+FFFD in their place, as Docker does, and its bytes are kept below "Atp": {"Bytes": {...}} under its path
 * ("Config.Env"), with %XX for what is not plain ASCII. Whoever reads takes the bytes where there are some.
 */
#ifndef ATP_TRANSLATE_RECORD_TEXT_H
#define ATP_TRANSLATE_RECORD_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct err;
struct strlist;

/* For show only: invalid bytes become U+FFFD. NULL is null. */
json_t *record_shown(const char *s);
json_t *record_shown_list(const struct strlist *list); /* null when empty */
json_t *record_map(const struct strlist *list);        /* K=V as the map that Docker shows; K alone has "" */

/* Sets object[key], and bytes["section.key"] when it must. */
void record_put(json_t *bytes, json_t *object, const char *section, const char *key, const char *value);
void record_put_list(json_t *bytes, json_t *object, const char *section, const char *key, const struct strlist *list);

/*
 * Reads object[key]. What is missing or null leaves *ret as it is; a wrong type is an error that names the field. Lists
 * are appended to, strings are owned by caller.
 */
int record_get(const json_t *bytes, const json_t *object, const char *section, const char *key, char **ret,
               struct err *err);
int record_get_list(const json_t *bytes, const json_t *object, const char *section, const char *key,
                    struct strlist *ret, struct err *err);
int record_get_bool(const json_t *object, const char *key, bool *ret, struct err *err);
int record_get_int(const json_t *object, const char *key, int64_t min, int64_t max, int64_t *ret, struct err *err);
int record_get_object(const json_t *object, const char *key, json_t **ret,
                      struct err *err); /* borrowed; must be there */

#endif
