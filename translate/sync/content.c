#include "translate/sync/content.h"

#include <string.h>

static const uint8_t zeros[4096];

void content_init(struct content *c)
{
    sha256_init(&c->piece);
    c->size = 0;
}

/* Adds a piece's digest to that of the whole, which begins with its label once there is more than one piece. */
static void add_piece(struct content *c, const uint8_t digest[SHA256_LEN])
{
    static const char label[] = "atp-sync pieces";

    if (c->size == CONTENT_PIECE) {
        sha256_init(&c->whole);
        sha256_update(&c->whole, label, sizeof(label));
    }
    sha256_update(&c->whole, digest, SHA256_LEN);
}

/* A full piece is closed when the next byte comes, so that a file of exactly one piece stays a plain SHA-256. */
static void close_full_piece(struct content *c)
{
    uint8_t digest[SHA256_LEN];

    if (!c->size || c->size % CONTENT_PIECE)
        return;
    sha256_final(&c->piece, digest);
    add_piece(c, digest);
    sha256_init(&c->piece);
}

void content_update(struct content *c, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;

    while (len) {
        size_t part;

        /* A piece of zeros added by content_zeros() was never hashed: piece.total tells. */
        if (c->piece.total == CONTENT_PIECE)
            close_full_piece(c);
        part = CONTENT_PIECE - (size_t)c->piece.total;
        if (part > len)
            part = len;
        sha256_update(&c->piece, p, part);
        c->size += part;
        p += part;
        len -= part;
    }
}

/* The digest of a whole piece of zeros, worked out once. */
static const uint8_t *zero_piece(void)
{
    static uint8_t digest[SHA256_LEN];
    static int known;
    struct sha256 s;

    if (!known) {
        sha256_init(&s);
        for (size_t i = 0; i < CONTENT_PIECE / sizeof(zeros); i++)
            sha256_update(&s, zeros, sizeof(zeros));
        sha256_final(&s, digest);
        known = 1;
    }
    return digest;
}

void content_zeros(struct content *c, uint64_t len)
{
    while (len) {
        size_t part = len < sizeof(zeros) ? (size_t)len : sizeof(zeros);

        if (c->piece.total == CONTENT_PIECE)
            close_full_piece(c);
        /* A whole piece that is not the file's last needs no hashing. */
        if (c->piece.total == 0 && len > CONTENT_PIECE) {
            c->size += CONTENT_PIECE;
            add_piece(c, zero_piece());
            len -= CONTENT_PIECE;
            continue;
        }
        if (part > CONTENT_PIECE - c->piece.total)
            part = (size_t)(CONTENT_PIECE - c->piece.total);
        content_update(c, zeros, part);
        len -= part;
    }
}

void content_final(struct content *c, uint8_t ret[SHA256_LEN])
{
    uint8_t digest[SHA256_LEN];

    sha256_final(&c->piece, digest);
    if (c->size <= CONTENT_PIECE) {
        memcpy(ret, digest, SHA256_LEN);
        return;
    }
    sha256_update(&c->whole, digest, SHA256_LEN);
    sha256_final(&c->whole, ret);
}
