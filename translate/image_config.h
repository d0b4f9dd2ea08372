/*
 * An image's own configuration: what ENTRYPOINT, CMD, ENV and the rest said when it was built. Read from the
 * configuration blob of a registry (OCI or Docker: the fields below "config") and from image.json, which holds the same
 * fields at the top; printed as image.json.
 */
#ifndef ATP_TRANSLATE_IMAGE_CONFIG_H
#define ATP_TRANSLATE_IMAGE_CONFIG_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>

struct err;

struct oci_config { /* strings are NULL, lists empty, when the image does not say */
    struct strlist entrypoint;
    struct strlist cmd;
    struct strlist env;           /* K=V */
    struct strlist shell;         /* who reads a health check that is one line */
    struct strlist labels;        /* K=V, in the order of the file */
    struct strlist volumes;       /* paths */
    struct strlist exposed_ports; /* "80/tcp" */
    char *workdir;
    char *user;
    char *stop_signal;
    char *healthcheck;  /* the raw JSON object, compact */
    char *os;           /* from the blob's top: "linux" */
    char *architecture; /* "amd64" */
    char *variant;
};

void oci_config_clear(struct oci_config *c);

/* Parses a blob or an image.json. Anything of a wrong type is an error that names the field; unknown fields are
 * skipped. */
int oci_config_parse(const char *json, size_t len, struct oci_config *ret, struct err *err);

/* image.json, compact, with a newline at the end; owned by caller. parse(print(c)) equals c. */
char *oci_config_print(const struct oci_config *c);

#endif
