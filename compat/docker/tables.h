/*
 * How the tables of the opt_*.c files are written: one line per option, one block per command. Names, type words,
 * defaults and sentences are those of docker 28.2.2's --help; tests/conformance/help.sh holds the tables to it.
 */
#ifndef ATP_DOCKER_TABLES_H
#define ATP_DOCKER_TABLES_H

#include "compat/docker/opt_value.h"

#define OPT(long_, letter, kind_, word, sentence, ...)                                                                 \
    {                                                                                                                  \
        .name = long_, .shorthand = letter, .kind = kind_, .arg = word, .help = sentence, __VA_ARGS__                  \
    }
#define FLAG(long_, letter, sentence, ...)                                                                             \
    {                                                                                                                  \
        .name = long_, .shorthand = letter, .kind = OPT_BOOL, .help = sentence, __VA_ARGS__                            \
    }
/* every verb of docker compose takes it, as compose itself does */
#define DRY_RUN FLAG("dry-run", 0, "Show what would be done without doing it", OURS)
#define END_OF_OPTIONS                                                                                                 \
    {                                                                                                                  \
        .name = NULL                                                                                                   \
    }

/* Verdicts, of options and of commands. */
#define OURS            .verdict = VERDICT_OURS
#define REFUSED(why)    .verdict = VERDICT_REFUSED, .reason = why
#define LESS(why)       .verdict = VERDICT_APPROXIMATED, .reason = why
#define UNLESS_ALL(why) .verdict = VERDICT_UNLESS_ALL, .reason = why
#define DELEGATED(why)  .verdict = VERDICT_DELEGATED, .reason = why
#define LATER           REFUSED(NOT_YET)
#define REAL_DOCKER     DELEGATED(REAL_DOCKER_ONLY)

/* Reasons that several have in common. */
#define NOT_YET              "not carried out yet"
#define REAL_DOCKER_ONLY     "only a real docker does this"
#define SWARM_ONLY           "a swarm is made of real Docker daemons"
#define NAMED_DAEMON         "names a real daemon, which the real docker speaks to"
#define WINDOWS_ONLY         "for Windows only"
#define FIXED_POWERS         "a sandbox's powers are the platform's and cannot be changed"
#define NO_BUILD_LIMITS      "limits of a build cannot be chosen"
#define NO_ADDRESSES         "addresses are given by the platform"
#define NO_BLOCK_IO          "a sandbox has no control over block IO"
#define NO_CGROUPS           "a sandbox has no cgroups of its own"
#define NO_DEVICES           "devices of a host cannot be passed on"
#define NO_OOM               "what happens when memory runs out is the platform's to decide"
#define NO_SCHEDULER         "a sandbox cannot choose its processors or their scheduling"
#define NO_SHARED_NAMESPACES "namespaces are a sandbox's own and cannot be shared or chosen"
#define NO_SWAP              "a sandbox has no swap"

/* The sentence of --format, for lists and for inspect. */
#define FORMAT_HELP                                                                                                    \
    "Format output using a custom template:\n"                                                                         \
    "'table':            Print output in table format with column headers (default)\n"                                 \
    "'table TEMPLATE':   Print output in table format using the given Go template\n"                                   \
    "'json':             Print in JSON format\n"                                                                       \
    "'TEMPLATE':         Print output using the given Go template.\n"                                                  \
    "Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"
#define INSPECT_FORMAT_HELP                                                                                            \
    "Format output using a custom template:\n"                                                                         \
    "'json':             Print in JSON format\n"                                                                       \
    "'TEMPLATE':         Print output using the given Go template.\n"                                                  \
    "Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"

#endif
