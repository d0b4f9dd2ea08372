/* The command line of atp-engine. */
#ifndef ATP_ENGINE_OPTIONS_H
#define ATP_ENGINE_OPTIONS_H

#include "backends/engine/engine.h"

enum options_result { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_BAD };

/* Fills config (paths made absolute, defaults in place). BAD: err says why. */
enum options_result options_parse(int argc, char **argv, struct engine_config *config, struct err *err);
void options_clear(struct engine_config *config);

extern const char options_help[];

#endif
