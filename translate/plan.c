#include "translate/plan.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[BACKEND_MAX] = {"auto", "modal", "local", "docker"};

const char *backend_name(enum backend b)
{
    return b < BACKEND_MAX ? names[b] : "unknown";
}

int backend_parse(const char *word, const char *from, enum backend *ret, struct err *err)
{
    for (enum backend b = 0; b < BACKEND_MAX; b++) {
        if (strcmp(names[b], word) == 0) {
            *ret = b;
            return 0;
        }
    }
    return err_set(err, 125, "%s: '%s' is not a back end; it is one of modal, local, docker, auto", from, word);
}

void route_clear(struct route *r)
{
    free(r->why);
    *r = (struct route){0};
}

/*
 * A daemon that somebody named takes the command: on the line over every setting, in the environment over all but an
 * explicit back end.
 */
static bool daemon_named(const struct route_facts *f)
{
    bool on_the_line = f->docker_host_from && f->docker_host_from[0] == '-';

    return f->docker_host && (on_the_line || f->setting == BACKEND_AUTO || f->setting == BACKEND_DOCKER);
}

bool route_needs_docker(const struct route_facts *f)
{
    return f->setting == BACKEND_AUTO && !daemon_named(f) && !f->credentials_from && f->docker_program;
}

static int decide(struct route *r, enum backend backend, char *why)
{
    r->backend = backend;
    r->why = why;
    return 0;
}

/* An explicit wish: it is fulfilled or it is an error. */
static int decide_asked(const struct route_facts *f, struct route *ret, struct err *err)
{
    const char *from = f->setting_from ? f->setting_from : "the setting";

    if (f->setting == BACKEND_MODAL && !f->credentials_from)
        return err_set(err, 125, "%s asks for Modal, but there are no credentials: %s", from,
                       f->credentials_missing ? f->credentials_missing : "none were found");
    if (f->setting == BACKEND_DOCKER && !f->docker_program)
        return err_set(err, 125,
                       "%s asks for docker, but there is no other docker on the PATH; ATP_DOCKER_REAL names one", from);
    if (f->setting == BACKEND_MODAL)
        return decide(ret, BACKEND_MODAL,
                      xasprintf("%s asks for Modal; credentials from %s", from, f->credentials_from));
    if (f->setting == BACKEND_LOCAL)
        return decide(ret, BACKEND_LOCAL, xasprintf("%s asks for the engine on this machine", from));
    return decide(ret, BACKEND_DOCKER, xasprintf("%s asks for the real docker", from));
}

int route_decide(const struct route_facts *f, struct route *ret, struct err *err)
{
    const char *from = f->docker_host_from ? f->docker_host_from : "DOCKER_HOST";
    const char *missing = f->credentials_missing;
    cleanup_free char *without =
        xasprintf("no Modal credentials%s%s%s", missing ? " (" : "", missing ? missing : "", missing ? ")" : "");

    if (daemon_named(f)) {
        if (!f->docker_program)
            return err_set(err, 125,
                           "%s names the daemon %s, but there is no other docker on the PATH to hand the command to; "
                           "ATP_DOCKER_REAL names one",
                           from, f->docker_host);
        return decide(ret, BACKEND_DOCKER, xasprintf("%s names the daemon %s", from, f->docker_host));
    }
    if (f->setting != BACKEND_AUTO)
        return decide_asked(f, ret, err);
    if (f->credentials_from)
        return decide(ret, BACKEND_MODAL, xasprintf("Modal credentials were found: %s", f->credentials_from));
    if (f->docker_program && f->docker_answers)
        return decide(ret, BACKEND_DOCKER, xasprintf("%s, and a docker daemon answers", without));
    return decide(
        ret, BACKEND_LOCAL,
        xasprintf("%s, and %s", without,
                  f->docker_program ? "no docker daemon answers" : "there is no other docker on this machine"));
}
