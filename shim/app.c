#include "shim/app.h"

#include "backends/blobs/blobs.h"
#include "backends/docker/handover.h"
#include "backends/local/local.h"
#include "backends/modal/client.h"
#include "backends/state/state.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/docker/opt.h"
#include "compat/sys/fs.h"
#include "compat/sys/loop.h"
#include "compat/sys/random.h"
#include "shim/sandbox.h"
#include "translate/modal_options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define ENGINE_IDLE_SECS 300  /* long enough to bridge the pauses of a person at work */
#define ENGINE_FRESH_MS  5000 /* a connection taken within this may have been the last of an engine that ends */

void app_init(struct app *app, int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *trace = getenv("ATP_DOCKER_TRACE");

    *app = (struct app){.argc = argc, .argv = argv};
    app->program = xstrdup(argc > 0 ? (slash ? slash + 1 : argv[0]) : "docker");
    app->trace_route = trace && !strcmp(trace, "route");
}

void app_clear(struct app *app)
{
    app_disconnect(app);
    sandbox_forget_endings(app);
    if (app->config)
        config_clear(app->config);
    if (app->credentials)
        credentials_clear(app->credentials);
    if (app->route)
        route_clear(app->route);
    blobs_free(app->blobs);
    state_free(app->state);
    loop_free(app->loop);
    opt_parsed_free(app->group);
    strlist_clear(&app->profile);
    free(app->config);
    free(app->credentials);
    free(app->route);
    free(app->program);
    free(app->real_host);
    free(app->cwd);
    free(app->server_key);
}

void app_trace(const struct app *app, const char *fmt, ...)
{
    va_list ap;

    if (!app->trace_route)
        return;
    fputs("atp-docker: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

int app_config(struct app *app, struct err *err)
{
    cleanup_free char *dir = fs_config_dir(), *path = xasprintf("%s/config.yaml", dir);
    cleanup_buf struct buf text = BUF_INIT(LIMIT_CONFIG_FILE);
    struct err why = ERR_INIT;
    struct config *config;

    if (app->config)
        return 0;
    if (fs_read_file(path, &text, &why) < 0 && why.code != ENOENT && why.code != ENOTDIR)
        return err_move(err, &why);
    err_clear(&why);
    config = xcalloc(1, sizeof(*config));
    config_init(config);
    if ((text.len && config_parse(path, text.data, text.len, config, err) < 0) ||
        config_environment(config, environ, err) < 0) {
        config_clear(config);
        free(config);
        return -1;
    }
    app->config = config;
    return 0;
}

/* Modal credentials from the environment and ~/.modal.toml. */
static int load_credentials(struct app *app, struct err *err)
{
    cleanup_free char *path = credentials_path(environ, getenv("HOME"));
    cleanup_buf struct buf text = BUF_INIT(LIMIT_CONFIG_FILE);
    struct credentials_input in = {.environ = environ,
                                   .profile = app->config->modal_profile,
                                   .server_url = app->config->modal_server,
                                   .toml_path = path};
    struct err why = ERR_INIT;
    struct credentials *credentials;

    if (path && fs_read_file(path, &text, &why) == 0) {
        in.toml = text.data;
        in.toml_len = text.len;
    } else if (path && why.code != ENOENT && why.code != ENOTDIR) {
        return err_move(err, &why);
    }
    err_clear(&why);
    credentials = xcalloc(1, sizeof(*credentials));
    if (credentials_resolve(&in, credentials, err) < 0) {
        free(credentials);
        return -1;
    }
    app->credentials = credentials;
    return 0;
}

/* What the user asked for: the environment wins over the configuration file. */
static int read_setting(struct app *app, struct route_facts *facts, char **ret_from, struct err *err)
{
    const char *word = getenv("ATP_DOCKER_BACKEND");

    if (word && *word) {
        *ret_from = xstrdup("ATP_DOCKER_BACKEND");
        return backend_parse(word, *ret_from, &facts->setting, err);
    }
    facts->setting = app->config->backend;
    if (app->config->backend_line)
        *ret_from = xasprintf("config.yaml:%d", app->config->backend_line);
    return 0;
}

/* Whether a real docker could take over; its daemon is asked only when the decision hangs on it. */
static void look_for_docker(struct route_facts *facts)
{
    cleanup_free char *real = NULL;

    if (facts->setting == BACKEND_MODAL || facts->setting == BACKEND_LOCAL) {
        if (!facts->docker_host)
            return;
    } else if (facts->credentials_from && !facts->docker_host) {
        return;
    }
    real = handover_find("docker", NULL);
    facts->docker_program = real != NULL;
    facts->docker_answers = route_needs_docker(facts) && handover_daemon_answers();
}

int app_route(struct app *app, struct err *err)
{
    struct route_facts facts = {.docker_host = app->real_host, .docker_host_from = app->real_host_from};
    cleanup_free char *setting_from = NULL;
    struct route *route;

    if (app->route)
        return 0;
    if (app_config(app, err) < 0 || read_setting(app, &facts, &setting_from, err) < 0)
        return -1;
    facts.setting_from = setting_from;
    if (facts.setting == BACKEND_MODAL || (facts.setting == BACKEND_AUTO && !app->real_host)) {
        if (load_credentials(app, err) < 0)
            return -1;
        facts.credentials_from = app->credentials->found ? app->credentials->source : NULL;
        facts.credentials_missing = app->credentials->missing;
    }
    look_for_docker(&facts);
    route = xcalloc(1, sizeof(*route));
    if (route_decide(&facts, route, err) < 0) {
        free(route);
        return -1;
    }
    app->route = route;
    app_trace(app, "back end %s: %s", backend_name(route->backend), route->why);
    return 0;
}

int app_state(struct app *app, struct err *err)
{
    if (!app->state) {
        cleanup_free char *dir = fs_state_dir(), *config = fs_config_dir(), *scope = xasprintf("%s/scope", config);

        app->state = state_open(dir, scope, err);
        if (!app->state && access(dir, R_OK | W_OK | X_OK) < 0)
            return err_wrap(err, "the state folder (XDG_STATE_HOME or HOME names another)");
    }
    return app->state ? 0 : -1;
}

struct blobs *app_blobs(struct app *app, struct err *err)
{
    if (!app->blobs) {
        cleanup_free char *dir = fs_state_dir(), *blobs = xasprintf("%s/blobs", dir);

        app->blobs = blobs_open(blobs, err);
    }
    return app->blobs;
}

const char *app_scope(struct app *app)
{
    const char *scope = getenv("ATP_DOCKER_SCOPE");

    return scope && *scope ? scope : state_scope(app->state);
}

/* ---- the client's cache, kept in the state; a cache that fails only costs round trips ---- */

static char *cache_get(void *arg, const char *key)
{
    struct app *app = arg;
    char *value = NULL;

    return state_cache_get(app->state, key, &value, time(NULL), NULL) > 0 ? value : NULL;
}

static void cache_put(void *arg, const char *key, const char *value, int64_t ttl_s)
{
    struct app *app = arg;

    state_cache_put(app->state, key, value, time(NULL) + ttl_s, NULL);
}

static void cache_drop(void *arg, const char *key)
{
    struct app *app = arg;

    state_cache_drop(app->state, key, NULL);
}

/* ATP_DOCKER_TRACE=calls: one line per call to the server. */
static void trace_call(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "atp-docker: %s\n", line);
}

/* Finds or starts the embedded engine. */
static int find_engine(struct app *app, struct local_engine *ret, struct err *err)
{
    cleanup_free char *runtime_dir = fs_runtime_dir(), *state_dir = fs_state_dir();
    cleanup_free char *engine_dir = xasprintf("%s/engine", state_dir);
    struct local_config config = {.program = getenv("ATP_DOCKER_ENGINE"),
                                  .runtime_dir = runtime_dir,
                                  .state_dir = engine_dir,
                                  .mirrors = &app->config->mirrors,
                                  .idle_exit_secs = ENGINE_IDLE_SECS};

    return local_engine_get(&config, ret, err);
}

/*
 * An engine that was just killed, or that ends because it is idle, may still have taken the connection that was to show
 * whether it runs. Only a moment after that is it worth another look: one that ends later was ended by somebody. The
 * next engine has the address and the credentials of the last; if it does not start, the call's own error says so.
 */
static void revive_engine(void *arg)
{
    struct app *app = arg;
    struct local_engine engine = {0};

    if (loop_now() - app->engine_found_at > ENGINE_FRESH_MS)
        return;
    find_engine(app, &engine, NULL);
    local_engine_clear(&engine);
}

/* modal.environment, which a whole command has: of the environment, else of the profile; NULL: nobody said. */
static char *said_environment(struct app *app)
{
    cleanup_strlist struct strlist profile = STRLIST_INIT;
    cleanup_with(modal_options_clear) struct modal_options o;
    const char *said;

    modal_options_init(&o);
    if (app->config && config_profile(app->config, environ, &profile, NULL) == 0)
        modal_options_from_profile(&o, &profile, NULL);
    said = getenv("ATP_DOCKER_MODAL_ENVIRONMENT");
    if (!said || !*said)
        said = modal_str(&o, MODAL_KEY_ENVIRONMENT);
    return said ? xstrdup(said) : NULL;
}

/* Makes the client for a server and its credentials. */
static int connect_to(struct app *app, const char *url, const char *id, const char *secret, struct err *err)
{
    const char *trace = getenv("ATP_DOCKER_TRACE");
    bool local = app->route->backend == BACKEND_LOCAL;
    cleanup_free char *environment = said_environment(app);
    struct modal_client_options options = {
        .server_url = url,
        .token_id = id,
        .token_secret = secret,
        .environment = environment        ? environment
                       : app->credentials ? app->credentials->environment
                                          : NULL,
        .builder_version = app->credentials ? app->credentials->image_builder_version : NULL,
        .cache = &app->cache,
        .trace = trace && !strcmp(trace, "calls") ? trace_call : NULL,
        .revive = local ? revive_engine : NULL,
        .revive_arg = app,
    };

    app->cache = (struct modal_cache){.get = cache_get, .put = cache_put, .drop = cache_drop, .arg = app};
    app->server_key = xasprintf("%s %s", url, id);
    app->modal = modal_client_new(app->loop, &options, err);
    return app->modal ? 0 : -1; /* the first call connects: an exec with warm caches makes none to this address */
}

/* Finds or starts the embedded engine and connects to it. */
static int connect_local(struct app *app, struct err *err)
{
    struct local_engine engine = {0};
    int ret;

    if (find_engine(app, &engine, err) < 0)
        return -1;
    app->engine_found_at = loop_now();
    ret = connect_to(app, engine.server_url, engine.token_id, engine.token_secret, err);
    local_engine_clear(&engine);
    return ret;
}

/* Once on this machine, and only for a person: where the containers now run. */
static void announce_modal(struct app *app)
{
    char *said = NULL;

    if (!isatty(STDERR_FILENO) || state_cache_get(app->state, "announced modal", &said, 0, NULL) > 0) {
        free(said);
        return;
    }
    fprintf(stderr, "docker: containers now run in Modal sandboxes (credentials: %s); `docker info` says more\n",
            app->credentials->source);
    state_cache_put(app->state, "announced modal", "yes", INT64_MAX, NULL);
}

int app_modal(struct app *app, struct err *err)
{
    if (app->modal)
        return 0;
    if (app_route(app, err) < 0 || app_state(app, err) < 0)
        return -1;
    app->loop = loop_new();
    if (app->route->backend == BACKEND_LOCAL)
        return connect_local(app, err);
    announce_modal(app);
    return connect_to(app, app->credentials->server_url, app->credentials->token_id, app->credentials->token_secret,
                      err);
}

void app_disconnect(struct app *app)
{
    modal_client_free(app->modal);
    app->modal = NULL;
}

/* input_read_fn over the real file system. */
static int read_file(const char *path, struct buf *out, struct err *err, void *arg)
{
    (void)arg;
    return fs_read_file(path, out, err);
}

/* CPUs that an engine on this machine has; 0 = a cloud, no upper limit. */
static unsigned host_cpus(const struct app *app)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    return app->route && app->route->backend == BACKEND_LOCAL && cpus > 0 ? (unsigned)cpus : 0;
}

/* True for what Go's strconv.ParseBool takes as true; unset is false. */
static bool env_true(const char *name)
{
    const char *value = getenv(name);

    return value && (!strcmp(value, "1") || !strcasecmp(value, "true"));
}

int app_input(struct app *app, struct err *err)
{
    const char *approximate = getenv("ATP_DOCKER_APPROXIMATE");

    if (app->input.environ)
        return 0;
    if (app_config(app, err) < 0 || config_profile(app->config, environ, &app->profile, err) < 0 ||
        random_bytes(app->random, sizeof(app->random), err) < 0)
        return -1;
    app->cwd = getcwd(NULL, 0); /* NULL when it has been deleted: only a relative path needs it */
    app->input = (struct input){
        .cwd = app->cwd,
        .home = getenv("HOME"),
        .environ = environ,
        .read_file = read_file,
        .random = app->random,
        .host_cpus = host_cpus(app),
        .strict = env_true("ATP_DOCKER_STRICT"),
        .approximate_all = approximate && !strcmp(approximate, "all"),
        .profile = &app->profile,
        .default_platform = getenv("DOCKER_DEFAULT_PLATFORM"),
    };
    return 0;
}

int app_hand_over(struct app *app, struct err *err)
{
    const char *name = !strcmp(app->program, "docker-compose") ? "docker-compose" : "docker";

    fflush(NULL);
    return handover_exec(name, app->argv, err);
}
