/*
 * One CSV record, as --mount, --network, --gpus and "strings" options take it (Go's encoding/csv reads them for
 * docker).
 */
#ifndef ATP_DOCKER_CSV_H
#define ATP_DOCKER_CSV_H

struct err;
struct strlist;

/*
 * Appends the fields of the first record of s. Quotes enclose a whole field and are doubled within; anything else is an
 * error in Go's words. An empty text has no record: "EOF".
 */
int csv_fields(const char *s, struct strlist *ret_fields, struct err *err);

#endif
