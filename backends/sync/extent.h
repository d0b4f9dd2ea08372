/*
 * Reading a file in pieces, holes (and pieces of zeros) as holes. Nothing here grows with the file's size.
 */
#ifndef ATP_SYNC_EXTENT_H
#define ATP_SYNC_EXTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define EXTENT_BUFFER (128u << 10) /* large enough that system calls do not show */

struct extent_reader {
    int fd; /* borrowed */
    uint64_t size, at;
    uint64_t data_end; /* the data that `at` lies in reaches to here */
    bool sparse;
};

void extent_init(struct extent_reader *r, int fd, const struct stat *st);
/*
 * The next piece: > 0 bytes of data in `bytes`; or 0 with *ret_hole > 0 zeros; or 0 and *ret_hole 0 at the end (r->at
 * is then less than the size if the file shrank meanwhile); or -1 and errno.
 */
ssize_t extent_read(struct extent_reader *r, void *bytes, size_t cap, uint64_t *ret_hole);

/* True if two looks at one file show that nothing happened to it in between. */
bool extent_unchanged(const struct stat *a, const struct stat *b);

/*
 * Digest of a regular file, read in one state. 0; 1 if it kept changing (at most three tries); -1 and errno.
 * *ret_st is the state that was read.
 */
int extent_digest(int dir, const char *name, struct stat *ret_st, uint8_t ret_digest[32]);

#endif
