/*
 * A registry (OCI distribution, Docker registry v2): one handle per image reference, which keeps its connections and
 * its token for as long as it lives. Here is the pulling side; push.h has the other.
 *
 *     struct registry *r = registry_open("alpine:3.20", &options, &err);
 *     registry_image(r, NULL, &image, &err);                            manifest, configuration, list of layers
 *     registry_blob(r, image.layers[i].digest, image.layers[i].size, fd, &err);   each layer, from any thread
 *     registry_free(r);
 *
 * Everything that arrives is bounded, checked against its digest and size, and nothing waits for ever: a connection
 * gets 10 s, a transfer that stands still for 30 s is cut and resumed where it stopped, 429 and 5xx are asked again
 * with growing pauses (or what Retry-After says). Authorization never follows a redirect to another host; http is
 * spoken to localhost, 127.0.0.0/8, [::1] and the hosts named as insecure, https to all others.
 *
 * Errors are Docker's sentences without its "Error response from daemon: ". err->code is one of enum registry_error.
 * Credentials are in no message.
 */
#ifndef ATP_REGISTRY_CLIENT_H
#define ATP_REGISTRY_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct registry;
struct strlist;

enum registry_error {
    REGISTRY_BAD_REFERENCE = 10001, /* "invalid reference format" and the like */
    REGISTRY_NOT_FOUND,             /* no such manifest, blob or repository */
    REGISTRY_DENIED,                /* credentials are missing or wrong */
    REGISTRY_UNREACHABLE,           /* no connection, no answer, TLS trouble */
    REGISTRY_CORRUPT,               /* digest or size differs, or the answer is not what it should be */
    REGISTRY_PLATFORM,              /* the image has nothing for the platform asked for */
    REGISTRY_SERVER,                /* any other answer */
    REGISTRY_CANCELLED,
};

/* Looks up what to log in with; host is the reference's own, or the mirror's. Sets both to NULL for anonymous access.
 */
typedef int registry_credentials_fn(const char *host, char **ret_user, char **ret_password, void *arg, struct err *err);

struct registry_options {                 /* borrowed until registry_free(); all zero is fine */
    const struct strlist *mirrors;        /* "docker.io=localhost:5000": what is asked of the left goes to the right */
    const struct strlist *insecure;       /* further hosts ("host" or "host:port") that are spoken to over http */
    const char *user, *password;          /* for the reference's own host; never sent to a mirror */
    registry_credentials_fn *credentials; /* asked when user is NULL; NULL = anonymous */
    void *credentials_arg;
    bool push;                        /* a token is asked for that may write; errors are those of a push */
    const struct strlist *mount_from; /* push: repositories of this registry ("library/x") that blobs are taken from */
    const atomic_bool *cancelled;     /* set to true elsewhere: transfers end with REGISTRY_CANCELLED */
};

struct registry_platform { /* NULL fields: linux, amd64 (or this machine's for a NULL pointer: still linux/amd64), any
                            */
    const char *os, *architecture, *variant;
};

struct registry_layer {
    char *digest; /* "sha256:..." of the blob, as it travels */
    char *media_type;
    int64_t size;
};

struct registry_image {
    char *name;            /* familiar name with tag or digest: "alpine:3.20" */
    char *digest;          /* what the reference names: the manifest, or the index it was chosen from (RepoDigests) */
    char *manifest_digest; /* the manifest for the platform; equal to digest when there is no index */
    char *manifest;        /* its text */
    char *config_digest;   /* "sha256:...": the image id */
    char *config;          /* JSON text */
    struct registry_layer *layers; /* bottom first */
    size_t layers_len;
    int64_t size;        /* sum of the layers as they travel */
    char *manifest_type; /* the manifest's media type */
};

#define REGISTRY_IMAGE_INIT                                                                                            \
    {                                                                                                                  \
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL                                                           \
    }

struct registry *registry_open(const char *reference, const struct registry_options *options, struct err *err);
void registry_free(struct registry *r);

/* Manifest by the reference's digest or tag (index: by platform), then the configuration. */
int registry_image(struct registry *r, const struct registry_platform *platform, struct registry_image *ret,
                   struct err *err);
void registry_image_clear(struct registry_image *image);

/* What registry_blob_read() gives its bytes to, in order; -1 (with err) ends the transfer. */
typedef int registry_sink_fn(const void *bytes, size_t len, void *arg, struct err *err);

/* Fetches a blob. The digest is checked at the end: what the sink was given is good only when this returned 0. */
int registry_blob_read(struct registry *r, const char *digest, int64_t size, registry_sink_fn *sink, void *arg,
                       struct err *err);
/* The same into a descriptor, from its current position on. */
int registry_blob(struct registry *r, const char *digest, int64_t size, int fd, struct err *err);

/* A blob of at most LIMIT_MANIFEST bytes as text, checked; owned by caller, NULL and err. */
char *registry_small_blob(struct registry *r, const char *digest, int64_t size, struct err *err);

/* All of it for one image's configuration: what `pull` and `images` need. */
int registry_image_config(const char *reference, const struct registry_platform *platform,
                          const struct registry_options *options, struct registry_image *ret, struct err *err);

#endif
