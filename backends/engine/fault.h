/*
 * Faults on purpose: what a network, a busy service or a dying machine does to a client, made here at will so that
 * tests can show what the client does about it. An engine has them only when it was started with --fault (which may be
 * empty); then `PUT /engine/fault` (HTTP/1.1 on the engine's socket or port, token headers required, body = SPEC)
 * replaces them at run time, and SIGHUP re-reads the file of `--fault @FILE`.
 *
 *     SPEC = item { "," item }      white space around items is ignored; empty = no fault
 *
 *     latency=MS                    every byte takes so long, in each direction
 *     bandwidth=BYTES               per second, for each connection and direction
 *     drop=BYTES[xCOUNT]            the next COUNT connections (without x: all) are cut once so many bytes went out on
 * them drop-in=BYTES[xCOUNT]         the same for bytes that came in fail=METHOD:K[-L][:CODE[:SECS]]  the K-th (to
 * L-th) call of METHOD is answered CODE (unavailable, the default; resource_exhausted, internal, deadline_exceeded,
 * cancelled, unknown, aborted) and not carried out; with SECS an RPCRetryPolicy asks for a pause lost=METHOD:K[-L] the
 * call is carried out, its answer is replaced by UNAVAILABLE token-ttl=SECS                life of tokens given out
 * from now on (auth tokens and router tokens) expire-tokens                 tokens given out before now are refused as
 * expired slow-start=MS                 sandboxes start so much later die-after=MS                  sandboxes started
 * from now on are lost so long after their start
 *
 * METHOD is a bare name ("SandboxCreateV2") or "*"; calls are counted from 1 since the spec was set.
 */
#ifndef ATP_ENGINE_FAULT_H
#define ATP_ENGINE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct fault;

struct fault *fault_new(void); /* none */
void fault_free(struct fault *f);
/* Replaces everything; on a bad SPEC nothing changes. */
int fault_set(struct fault *f, const char *spec, struct err *err);

enum fault_call { FAULT_NONE, FAULT_FAIL, FAULT_LOST };

/* Counts one call of method. FAIL: answer *ret_code, with a retry policy when *ret_retry_secs > 0. */
enum fault_call fault_next_call(struct fault *f, const char *method, int *ret_code, double *ret_retry_secs);

uint64_t fault_latency(const struct fault *f);   /* milliseconds */
uint64_t fault_bandwidth(const struct fault *f); /* bytes per second, 0 = as fast as it goes */
/* For a new connection: after how many bytes it is cut, 0 = never. Uses up one of COUNT. */
uint64_t fault_take_drop(struct fault *f, bool incoming);
unsigned fault_token_ttl(const struct fault *f);   /* 0 = the configured one */
unsigned fault_token_epoch(const struct fault *f); /* grows with each expire-tokens */
uint64_t fault_slow_start(const struct fault *f);
uint64_t fault_die_after(const struct fault *f); /* 0 = never */

#endif
