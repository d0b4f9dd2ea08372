/*
 * Memory. Allocation never fails visibly: when the system refuses, the program ends in one place with one line and
 * exit code 125. Sizes that an outsider chooses are bounded by the caller first (see limits.h), so a refusal here is a
 * machine out of memory and nothing that the code above could mend.
 */
#ifndef ATP_BASE_ALLOC_H
#define ATP_BASE_ALLOC_H

#include <stdarg.h>
#include <stddef.h>

void *xmalloc(size_t size);                              /* owned by caller */
void *xcalloc(size_t count, size_t size);                /* zeroed; owned by caller */
void *xrealloc(void *p, size_t size);                    /* owned by caller */
void *xreallocarray(void *p, size_t count, size_t size); /* checked multiplication; owned by caller */
char *xstrdup(const char *s);                            /* owned by caller; s may be NULL, then NULL */
char *xstrndup(const char *s, size_t len);               /* at most len bytes; owned by caller */
void *xmemdup(const void *p, size_t len);                /* owned by caller; a NUL byte follows the copy */
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *xvasprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

#endif
