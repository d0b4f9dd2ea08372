/* atp-engine: see options.c for the words, engine.h for what they make. */
#include "backends/engine/ask_record.h"
#include "backends/engine/detach.h"
#include "backends/engine/engine.h"
#include "backends/engine/lock.h"
#include "backends/engine/log.h"
#include "backends/engine/options.h"
#include "backends/engine/rootless.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"

#include <stdio.h>

/* Serves until it is told to stop. ready (-1 = none) is told as soon as the engine can be reached. 0, or -1 and err. */
static int serve(const struct engine_config *config, int *ready, struct err *err)
{
    cleanup_close int lock = -1;
    struct engine *engine;
    uv_loop_t loop;

    if (fs_mkdirs(config->state_dir, 0700, err) < 0 || (config->log_file && log_open(config->log_file, err) < 0) ||
        (config->record_file && ask_record_open(config->record_file, err) < 0))
        return -1;
    lock = lock_state(config->state_dir, config->detach ? config->socket_path : NULL, err);
    if (lock == -2) {
        detach_ready(steal_fd(ready));
        return 0;
    }
    if (lock < 0)
        return -1;
    uv_loop_init(&loop);
    engine = engine_new(&loop, config, err);
    if (engine && *ready >= 0)
        detach_ready(steal_fd(ready));
    if (engine) {
        engine->lock = lock;
        engine_run(engine);
    }
    engine_free(engine);
    uv_loop_close(&loop);
    return engine ? 0 : -1;
}

int main(int argc, char **argv)
{
    cleanup_err struct err err = ERR_INIT;
    struct engine_config config;
    int ready = -1, rc;

    switch (options_parse(argc, argv, &config, &err)) {
    case OPTIONS_HELP:
        fputs(options_help, stdout);
        return 0;
    case OPTIONS_VERSION:
        printf("atp-engine %s\n", ATP_VERSION);
        return 0;
    case OPTIONS_BAD:
        fprintf(stderr, "atp-engine: %s\nSee 'atp-engine --help'.\n", err.msg);
        return 125;
    case OPTIONS_RUN:
        break;
    }
    rc = rootless_enter(&err);
    if (rc == 0 && config.detach)
        ready = detach_start(&err);
    rc = rc < 0 ? -1 : ready == -2 ? 0 : config.detach && ready < 0 ? -1 : serve(&config, &ready, &err);
    if (rc < 0 && ready >= 0)
        detach_failed(ready, err.msg);
    else if (rc < 0)
        fprintf(stderr, "atp-engine: %s\n", err.msg);
    options_clear(&config);
    return rc < 0 ? 125 : 0;
}
