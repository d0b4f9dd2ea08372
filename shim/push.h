/*
 * Sends one image of this machine to a registry under one name: what `docker push` does for each tag.
 *
 * What a layer's compressed bytes are called, and which repositories have them, is remembered (state cache,
 * "layer/<diff id>"): the next push asks the registry before it compresses anything.
 */
#ifndef ATP_SHIM_PUSH_H
#define ATP_SHIM_PUSH_H

struct app;
struct err;
struct progress;
struct reference;
struct state_image;

struct pushed {
    char *digest;    /* of the manifest */
    char *was_index; /* the index of several platforms that the image was pulled from; NULL = none */
    long long size;  /* of the manifest */
};
void pushed_clear(struct pushed *p);

/* ref: with a tag, no digest. *image may get another id (shim/image_layers.h). The name remembers the digest. */
int push_image(struct app *app, struct state_image *image, const struct reference *ref, struct progress *progress,
               struct pushed *ret, struct err *err);

#endif
