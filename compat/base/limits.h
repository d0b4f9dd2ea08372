/*
 * Every ceiling and every deadline, with its reason beside the number. A room adds its own here rather than inline.
 */
#ifndef ATP_BASE_LIMITS_H
#define ATP_BASE_LIMITS_H

/* --- sizes, bytes --- */
#define LIMIT_GRPC_MESSAGE  (100u << 20) /* Modal's own maximum, both directions (protocol 1.7) */
#define LIMIT_GRPC_WINDOW   (64u << 20)  /* HTTP/2 window of a stream and of a connection (protocol 1.7) */
#define LIMIT_GRPC_METADATA (64u << 10)  /* header fields of one answer: nghttp2 refuses more as well */
#define LIMIT_EXEC_ARGS                                                                                                \
    65536u /* sum of argument lengths that Modal accepts (protocol 9.2); longer ones travel in START */
#define LIMIT_STDIN_CHUNK   (4u << 20)  /* one TaskExecStdinWrite: few round trips, little memory */
#define LIMIT_FRAME         (1u << 20)  /* one session frame: bounds what an opponent makes us hold */
#define LIMIT_CREDIT        (4u << 20)  /* output the agent may send before the reader grants more (design.md 5) */
#define LIMIT_CONFIG_FILE   (4u << 20)  /* a configuration, env or label file that a person wrote */
#define LIMIT_MANIFEST      (4u << 20)  /* a registry's manifest or config: distribution-spec asks for at least 4 MiB */
#define LIMIT_DOCKERFILE    (4u << 20)  /* a Dockerfile with its here-documents, and each text that comes out of it */
#define LIMIT_BUILD_TEXT    (64u << 20) /* what all texts of a build come to once variables are put in */
#define LIMIT_STAGES        1000u       /* of one Dockerfile: each may be looked at for each other one */
#define LIMIT_INSTRUCTIONS  10000u      /* of one Dockerfile: each costs a step, and a line of history */
#define LIMIT_PATH          4096u       /* PATH_MAX: a longer name cannot exist on either side */
#define LIMIT_COMPOSE_NODES 1000000u    /* values of a compose project with its aliases carried out: 100 MB */
#define LIMIT_COMPOSE_TEXT  (64u << 20) /* what variables put into all files of a compose project */
#define LIMIT_COMPOSE_FILES 1000u       /* files of one compose project: `include` and `extends` may repeat them */
#define LIMIT_COMPOSE_DEPTH 100u        /* lists and maps in one another; compose's own files have ten */
#define LIMIT_COMPOSE_CUTS  1000u       /* !reset and !override of one document */
#define LIMIT_DEPTH         256u        /* directory nesting (sync-rules 4) */
#define LIMIT_ENTRIES       1000000u    /* entries of one mount (sync-rules 4) */
#define LIMIT_NAME          255u        /* one component of a path: what every file system we meet can hold */
#define LIMIT_SYNC_NAMES    (256u << 20) /* paths and link texts of one manifest: 1 M entries of 256 bytes each */
#define LIMIT_SYNC_MANIFEST (512u << 20) /* an encoded manifest: the names and 100 bytes an entry, with room */
#define LIMIT_SYNC_BLOCK                                                                                               \
    (256u << 10) /* one block of a sync stream before compression: zstd's gain is flat beyond it                       \
                  */
#define LIMIT_SYNC_RECORD                                                                                              \
    (64u << 10)                        /* one control record of a sync stream: several operations of the longest names \
                                        */
#define LIMIT_SYNC_TRASH  (256u << 20) /* bytes that the trash of a mount keeps; older batches go first */
#define LIMIT_SYNC_NOTES  100u         /* lines told to the user after one exchange; the rest is counted */
#define LIMIT_BUILD_PIECE (32u << 10)  /* one piece of a build's log: a message of 500 of them is well below gRPC's */
#define LIMIT_BUILD_OUTPUT                                                                                             \
    (2u << 20)               /* what one RUN may say, as BuildKit has it; the rest is dropped with a word about it */
#define LIMIT_SYNC_BULK 100u /* deletions on the host above which the bulk guard looks (sync-rules 3) */

/* --- times, milliseconds --- */
#define DEADLINE_LOST_PEER 15000 /* a peer silent for this long is lost (sync-rules G17) */
#define DEADLINE_CONNECT   10000 /* one attempt to connect (protocol 1.3) */
#define DEADLINE_CALL                                                                                                  \
    120000 /* one attempt of a control-plane call: what waits longer on the server says so in a field */
#define DEADLINE_ROUTER_CALL 330000 /* the same at a worker, whose container may still be starting (protocol 6.2) */
#define LIMIT_BUILD_LONELY   10000  /* a build without anybody who waits: clients come back within a second or two */
#define LEASE_CLIENT_SPEAKS  5000   /* the client's heartbeat (design.md 5) */
#define LEASE_ORPHANED       15000  /* silence after which a session is orphaned (design.md 5) */

#endif
