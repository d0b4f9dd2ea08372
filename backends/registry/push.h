/*
 * The pushing side of a registry, and what is said about a repository without pulling from it. The handle is one of
 * registry_open() with options.push; several threads may send blobs of one handle at once.
 *
 *     registry_ping(r, &err)                        0: it is there
 *     registry_has_blob(r, digest, &err)            1: nothing to do
 *     registry_mount_blob(r, digest, "library/y")   1: taken from another repository of the registry
 *     registry_upload_blob(r, &blob, &err)          else it is sent
 *     registry_put_manifest(r, "latest", text, type, &digest, &err)     last: it must find all its blobs
 *
 * A transfer that breaks off is taken up where the registry says that it stands, or begun anew; 429 and 5xx are asked
 * again as everywhere. Errors are Docker's sentences; codes are those of client.h.
 */
#ifndef ATP_REGISTRY_PUSH_H
#define ATP_REGISTRY_PUSH_H

#include "backends/registry/client.h"

/* Whether there is a registry at all, before anything else is asked of it. */
int registry_ping(struct registry *r, struct err *err);

/* 1, 0, -1. */
int registry_has_blob(struct registry *r, const char *digest, struct err *err);
/* 1 = the repository has it now, 0 = the registry would not do it. */
int registry_mount_blob(struct registry *r, const char *digest, const char *from, struct err *err);

struct registry_upload {
    const char *digest; /* "sha256:...", checked by the registry */
    int64_t size;
    const char *bytes; /* NULL: fd, from its start; its own position does not matter */
    int fd;
    void (*sent)(int64_t total, void *arg); /* progress; may be NULL; may go back when something is sent again */
    void *sent_arg;
};

int registry_upload_blob(struct registry *r, const struct registry_upload *blob, struct err *err);

/* what: a tag, or a digest. *ret_digest (may be NULL) is owned by caller. */
int registry_put_manifest(struct registry *r, const char *what, const char *text, const char *type, char **ret_digest,
                          struct err *err);

struct registry_document {
    char *text, *media_type, *digest;
};
void registry_document_clear(struct registry_document *d);

/* A manifest or an index as it is; what: a tag or a digest, NULL: what the handle's reference says. */
int registry_manifest(struct registry *r, const char *what, struct registry_document *ret, struct err *err);

/* All tags of the repository, as the registry sorts them. */
int registry_tags(struct registry *r, struct strlist *ret, struct err *err);

/* Whether the registry lets user and password in (a GET of /v2/, as a login asks it); host: "docker.io", "x:5000". */
int registry_login(const char *host, const char *user, const char *password, struct err *err);

#endif
