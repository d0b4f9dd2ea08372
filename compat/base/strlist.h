/*
 * A list of owned strings. items[len] is always NULL once something was added or strlist_argv() was called, so a list
 * serves as argv and envp.
 */
#ifndef ATP_BASE_STRLIST_H
#define ATP_BASE_STRLIST_H

#include <stdbool.h>
#include <stddef.h>

struct strlist {
    char **items;
    size_t len;
    size_t cap;
};

#define STRLIST_INIT                                                                                                   \
    {                                                                                                                  \
        NULL, 0, 0                                                                                                     \
    }

void strlist_clear(struct strlist *l);
void strlist_add(struct strlist *l, const char *s); /* copies */
void strlist_add_owned(struct strlist *l, char *s); /* takes s */
void strlist_addf(struct strlist *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strlist_copy(struct strlist *to, const struct strlist *from); /* appends copies */
void strlist_insert(struct strlist *l, size_t at, const char *s);
void strlist_remove(struct strlist *l, size_t at);
bool strlist_has(const struct strlist *l, const char *s);
void strlist_sort(struct strlist *l);   /* by bytes */
char **strlist_argv(struct strlist *l); /* never NULL; borrowed, NULL-terminated */

/* Splits s at each sep; empty fields are kept; "" gives one empty field. Appends. */
void strlist_split(struct strlist *l, const char *s, char sep);

/* "K=V" lists. get returns V (borrowed) or NULL; set replaces every entry of K or appends. */
const char *strlist_env_get(const struct strlist *l, const char *key);
void strlist_env_set(struct strlist *l, const char *key, const char *value);

#define cleanup_strlist __attribute__((cleanup(strlist_clear)))

#endif
