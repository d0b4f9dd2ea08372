/*
 * Manifests and configurations of pulled images, so that one whose layers are all here is had again by its digest
 * without a registry:
 *
 *     known/0123...             named by the SHA-256 of "docker.io/library/x@sha256:..."
 *
 * A file goes with the image's top layer. Whatever is wrong with one, the registry is asked as if there were none.
 */
#ifndef ATP_ENGINE_IMG_KNOWN_H
#define ATP_ENGINE_IMG_KNOWN_H

struct registry_image;

/* What is known of a reference by digest; of one by tag nothing ever is. 1 and *ret, 0. */
int img_known_find(const char *dir, const char *reference, struct registry_image *ret);

/* Remembers an image that was pulled under the reference's name; top is its top layer's key. A failure is none: the
 * registry is asked again. */
void img_known_keep(const char *dir, const char *reference, const struct registry_image *image, const char *top);

/* Removes what is known of images whose top layer has gone. */
void img_known_sweep(const char *dir);

#endif
