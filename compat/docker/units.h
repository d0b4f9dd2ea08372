/*
 * Docker's and Go's units: sizes, durations, decimals, numbers and booleans, with the error texts that docker shows.
 * A text that is not understood gives -1 and err (exit code 0); *ret_x is set on success only. Everything is bounded by
 * 64 bits; a value that does not fit is an error, never a wrapped number.
 */
#ifndef ATP_DOCKER_UNITS_H
#define ATP_DOCKER_UNITS_H

#include <stdbool.h>
#include <stdint.h>

struct err;

int units_parse_bool(const char *s, bool *ret_value, struct err *err);               /* strconv.ParseBool */
int units_parse_int(const char *s, int bits, int64_t *ret_value, struct err *err);   /* strconv.ParseInt, base 0 */
int units_parse_int10(const char *s, int bits, int64_t *ret_value, struct err *err); /* the same, base 10 */
int units_parse_uint(const char *s, int bits, uint64_t *ret_value, struct err *err); /* strconv.ParseUint, base 0 */
int units_parse_float(const char *s, double *ret_value, struct err *err); /* strconv.ParseFloat, decimal form */

/* "1.5g", "512MB", "1GiB", "10 kb": powers of 1024, never negative. */
int units_parse_bytes(const char *s, int64_t *ret_bytes, struct err *err);

/* --cpus: "1.5", "1/2", "1e-3" -> billionths of a CPU. */
int units_parse_cpus(const char *s, int64_t *ret_nano, struct err *err);

/* Go's durations: "1m30s", "-1.5h", "500ms" -> nanoseconds. */
int units_parse_duration(const char *s, int64_t *ret_ns, struct err *err);
char *units_duration(int64_t ns); /* "1m30s", "500ms", "0s"; owned by caller */

/*
 * Points in time: Unix nanoseconds, 0 = never. "2006-01-02T15:04:05.999999999Z" in UTC, zeros at the end of the
 * fraction dropped; never is Go's zero time, the year 1. Reading takes any zone and any number of decimals.
 */
char *units_stamp(int64_t ns); /* owned by caller */
int units_parse_stamp(const char *text, int64_t *ret_ns, struct err *err);

/* Ages as docker writes them: "Less than a second", "About a minute", "3 weeks"; owned by caller. */
char *units_age(int64_t ns);

/* Sizes as docker writes them; owned by caller. */
char *units_size(double bytes);                    /* "13.26kB", powers of 1000, 4 digits (system df) */
char *units_size_digits(double bytes, int digits); /* "4.26MB" with 3 (images, ps -s) */
char *units_size_binary(double bytes);             /* "15.6GiB", powers of 1024 (info, stats) */

#endif
