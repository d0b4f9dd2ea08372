#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "shim/compose/compose.h"
#include "shim/compose/members.h"
#include "shim/listing.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (64u << 10)

/* The port as Go reads it, into "80/tcp". Owned by caller. */
static char *port_key(const char *word, const char *protocol, struct err *err)
{
    char *key;

    if (!*word || strspn(word, "0123456789") != strlen(word)) {
        err_set(err, 1, "strconv.ParseUint: parsing \"%s\": invalid syntax", word);
        return NULL;
    }
    if (strlen(word) > 9 || strtol(word, NULL, 10) > 65535) {
        err_set(err, 1, "strconv.ParseUint: parsing \"%s\": value out of range", word);
        return NULL;
    }
    key = xasprintf("%ld/%s", strtol(word, NULL, 10), protocol);
    for (char *p = key; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return key;
}

/* What there is instead: the ports on this machine, as compose names them. */
static int no_port(const json_t *ports, const char *key, const char *container, struct err *err)
{
    struct buf all = BUF_INIT(TEXT_MAX);
    const char *name;
    json_t *bound, *address;
    size_t i;

    json_object_foreach((json_t *)ports, name, bound)
    {
        if (!json_array_size(bound))
            buf_addf(&all, "%s0%s", all.len ? ", " : "", strchr(name, '/'));
        json_array_foreach(bound, i, address)
        {
            const char *port = json_string_value(json_object_get(address, "HostPort"));

            buf_addf(&all, "%s%s%s", all.len ? ", " : "", port ? port : "0", strchr(name, '/'));
        }
    }
    err_set(err, 1, "no port %s for container %s: %s", key, container, all.data);
    buf_clear(&all);
    return -1;
}

static int print(struct app *app, const struct member *m, const char *key, struct err *err)
{
    json_auto_t *inspect = listing_container(app, &m->row, false);
    const json_t *ports = json_object_get(json_object_get(inspect, "NetworkSettings"), "Ports");
    const json_t *bound = json_object_get(ports, key), *first = json_array_get(bound, 0);
    const char *ip = json_string_value(json_object_get(first, "HostIp"));
    const char *port = json_string_value(json_object_get(first, "HostPort"));

    if (!bound)
        return no_port(ports, key, m->row.name, err);
    printf("%s:%s\n", ip ? ip : "", port ? port : "0");
    return 0;
}

static int port_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *args = opt_args(opts);
    cleanup_free char *key = port_key(args->items[1], opt_str(opts, "protocol"), err), *project = NULL;
    cleanup_with(member_clear) struct member m = {0};

    project = key ? compose_name(app, err) : NULL;
    if (!project || members_one(app, project, args->items[0], opt_int(opts, "index"), MEMBERS_ONEOFF | MEMBERS_RUNNING,
                                &m, err) < 0)
        return -1;
    return print(app, &m, key, err);
}

extern const struct cmd_def cmd_def_compose_port;

const struct command cmd_compose_port = {.def = &cmd_def_compose_port, .errors = ERROR_PLAIN, .run = port_run};
