/*
 * A layer's directory as the tar that registries know (OCI image layer): the same directory gives the same bytes
 * always, so that its SHA-256 is the layer's diff id. How the bytes are laid out is a format with a number that is kept
 * beside each digest: another layout gets another number, and the old one stays here.
 *
 * Format 1: a directory before what is in it, names of one directory by their bytes, folders with a trailing "/", no
 * leading "./"; the root only where it has attributes of its own. ustar heads, and a PAX head before them for what does
 * not fit: long names that are UTF-8 (others in GNU's long name entries, which hold any bytes), large numbers,
 * fractions of seconds, extended attributes (user.* and security.capability). Owners are numbers. Hard links point to
 * the first name. A device 0:0 becomes ".wh.<name>", an opaque directory holds ".wh..wh..opq". Sparse files (16 MiB of
 * zeros and more) are GNU's sparse format 1.0, whose map is made from the contents: how a file system keeps them does
 * not matter. Sockets are left out, and files whose own name begins with ".wh.", since no layer can hold those.
 */
#ifndef ATP_ENGINE_IMG_TAR_H
#define ATP_ENGINE_IMG_TAR_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define IMG_TAR_FORMAT 1u

/* What is written goes here, in order; -1 (with err) ends it. */
typedef int img_tar_sink_fn(const void *bytes, size_t len, void *arg, struct err *err);

struct img_tar {                  /* all borrowed */
    const char *dir;              /* the layer's directory; nothing in it changes meanwhile */
    unsigned format;              /* of the bytes; an unknown one is an error */
    int64_t from;                 /* bytes before are not given to the sink, and mostly not read either */
    const atomic_bool *cancelled; /* NULL = never */
    img_tar_sink_fn *sink;
    void *arg;
    int64_t *ret_content; /* NULL, or where the sum of the files' sizes goes */
};

/* *ret_size (may be NULL): the length of the whole tar, whatever from is. */
int img_tar_write(const struct img_tar *tar, int64_t *ret_size, struct err *err);

#endif
