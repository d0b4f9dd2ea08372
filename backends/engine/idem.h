/*
 * Answers kept by x-idempotency-key (protocol 1.7): a client that lost an answer asks again with the same key and gets
 * the first answer, so that nothing is created twice. Only good answers are kept, a bounded number of them.
 */
#ifndef ATP_ENGINE_IDEM_H
#define ATP_ENGINE_IDEM_H

#include <stddef.h>

struct idem;

struct idem *idem_new(void);
void idem_free(struct idem *i);
/* The kept answer (borrowed until the next idem_put) or NULL. */
const void *idem_get(const struct idem *i, const char *method, const char *key, size_t *ret_len);
void idem_put(struct idem *i, const char *method, const char *key, const void *answer, size_t len);

#endif
