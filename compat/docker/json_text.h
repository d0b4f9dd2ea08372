/*
 * JSON values as Go prints them: docker's output is full of both forms.
 */
#ifndef ATP_DOCKER_JSON_TEXT_H
#define ATP_DOCKER_JSON_TEXT_H

#include <jansson.h>
#include <stdbool.h>

struct buf;

#define JSON_TEXT_HTML   (1u << 0) /* <, > and & as \u003c ...: inspect without a template */
#define JSON_TEXT_INDENT (1u << 1) /* four blanks per level, one member per line */

/*
 * Go's nil slice and nil map: without elements, [] and map[] with %v, but null as JSON. Borrowed, one of each; nothing
 * may be added to them.
 */
json_t *json_nil_list(void);
json_t *json_nil_map(void);

/* As Go's encoding/json writes it; members keep their order. NULL is null. */
void json_text(struct buf *out, const json_t *value, unsigned flags);

/* As Go's fmt prints it with %v: "[a b]", "map[k:v]" (sorted), "<nil>". */
void json_plain(struct buf *out, const json_t *value);

/* A float as %v shows it: the shortest digits that give it back. */
void json_plain_real(struct buf *out, double value);

/* The keys of an object in byte order, with their values; *ret_len of them. Owned by caller; keys and values borrowed.
 */
struct json_member {
    const char *key;
    json_t *value;
};
struct json_member *json_sorted(const json_t *object, size_t *ret_len);

#endif
