/*
 * What the engine and a sandbox's starter say to one another, over one SOCK_SEQPACKET socket. One message is one
 * request or one report, in this machine's own byte order: both ends run on it.
 *
 * A request is the struct below, then its words, each with its NUL: the folder, the arguments, the environment. With it
 * come descriptors: three (standard input, output, error), or one that is a terminal. The starter makes a process that
 * is a child of its own parent, the engine, and that process reports STARTED itself: so the kernel tells the engine who
 * it is, and how it ends. When it cannot become the program it reports why, and ends.
 */
#ifndef ATP_ENGINE_STARTER_REQUEST_H
#define ATP_ENGINE_STARTER_REQUEST_H

#include <stdint.h>

#define STARTER_NAME      "atp-starter" /* what `ps` shows in the container */
#define STARTER_BYTES_MAX (96u << 10)   /* of a request; what is longer goes to the runtime */
#define STARTER_WORDS_MAX 4096u         /* arguments and variables, together */

struct starter_request {
    uint64_t number; /* names the exec in reports */
    uint32_t args, env;
    uint32_t terminal; /* the one descriptor is a terminal, to be the session's */
    uint32_t unused;
};

enum starter_said {
    STARTER_STARTED,    /* by the process, before anything that can fail */
    STARTER_NO_FOLDER,  /* by the process: it cannot enter its folder */
    STARTER_NO_PROGRAM, /* by the process: it cannot become the program */
    STARTER_NO_PROCESS, /* by the starter: no process, for want of memory or by a limit */
};

struct starter_report {
    uint64_t number;
    uint32_t said; /* enum starter_said */
    int32_t error; /* errno */
};

#endif
