/*
 * Docker's command lines as data, and the one parser that reads them (rules and texts: docker-cli.md sections 1
 * and 1.1).
 *
 * compat/docker/opt_<command>.c defines `const struct cmd_def cmd_def_<command>`; compat/docker/commands.c lists all of
 * them by path. The table yields parsing, --help, completion and man pages; an option that is not carried out is an
 * entry with a verdict and a reason, never a missing line.
 */
#ifndef ATP_DOCKER_OPT_H
#define ATP_DOCKER_OPT_H

#include "compat/base/cleanup.h"
#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct buf;
struct err;

enum opt_kind { /* decides how a value is checked; the text is kept as typed unless said */
                OPT_BOOL,
                OPT_STRING,
                OPT_LIST,        /* repeatable, kept as typed */
                OPT_STRINGS,     /* repeatable, each value a CSV record ("stringSlice"); opt_list() gives the fields */
                OPT_STRINGARRAY, /* repeatable, kept as typed; help says stringArray */
                OPT_MAP,         /* repeatable k=v */
                OPT_FILTER,      /* repeatable name=value */
                OPT_INT,
                OPT_INT64,
                OPT_UINT16,
                OPT_UINT64,
                OPT_BYTES,    /* 1.5g; docker-cli.md 4.6 */
                OPT_DECIMAL,  /* --cpus */
                OPT_DURATION, /* Go form */
                OPT_IP,
                OPT_IPSLICE,
                OPT_IPNET,
                OPT_MOUNT,
                OPT_NETWORK,
                OPT_ULIMIT,
                OPT_GPUS,
};

enum verdict {
    VERDICT_OURS,         /* carried out */
    VERDICT_APPROXIMATED, /* carried out as something less or equal; reason says what (design.md 8) */
    VERDICT_DELEGATED,    /* the whole command goes to the real docker; refused without one */
    VERDICT_REFUSED,      /* exit 125 (or the command's) with the reason */
    VERDICT_UNLESS_ALL, /* refused likewise, but with ATP_DOCKER_APPROXIMATE=all the rest is carried out without it: it
                           would give more than was asked for, or leave out what cannot be missed */
    VERDICT_IGNORED_SAFE, /* has no effect by nature here and may be dropped without a difference (-q where nothing is
                             printed) */
};

#define OPT_HIDDEN     (1u << 0) /* parsed, not shown in help */
#define OPT_CONFIG_DIR (1u << 1) /* def is a name below docker's configuration folder ("" = the folder itself) */
#define OPT_MINUS_ONE  (1u << 2) /* kind BYTES: -1 is a value too (--memory-swap) */

/* Checks one value of an option beyond its kind. Returns 0, or -1 with docker's text in err. */
typedef int opt_check_fn(const char *value, struct err *err);

struct opt_def {
    const char *name; /* long, without dashes */
    char shorthand;   /* 0 = none */
    enum opt_kind kind;
    const char *arg;  /* type word as docker's --help prints it ("string", "list", "bytes"...), NULL for a boolean */
    const char *def;  /* default as text, NULL = the kind's zero value */
    const char *help; /* docker's own words are facts of its interface: same sentence as docker's --help */
    enum verdict verdict;
    const char *reason;   /* why, for every verdict but OURS */
    const char *alias_of; /* hidden alias: the option that it stands for */
    unsigned flags;
    opt_check_fn *check; /* what else docker checks while parsing, or NULL; its text follows "invalid argument ...: " */
    const char *deprecated; /* opt_notes() says "Flag --x has been deprecated, <this>" */
};

enum cmd_section { SECTION_COMMANDS, SECTION_COMMON, SECTION_MANAGEMENT, SECTION_SWARM, SECTION_HIDDEN };

struct cmd_def {
    const char *path; /* words after `docker`: "run", "images", "volume rm"; "" = docker itself */
    const char *
        aliases; /* other spellings, comma separated as help prints them: "docker container run, docker run", or NULL */
    const char *usage;             /* after the path: "[OPTIONS] IMAGE [COMMAND] [ARG...]" */
    const char *summary;           /* the sentence of --help */
    const struct opt_def *options; /* ends with a NULL name; sorted by name */
    int min_args, max_args;        /* positionals; max -1 = any number */
    bool interspersed;             /* flags may follow positionals */
    enum verdict verdict;          /* of the command itself */
    const char *reason;
    const char *description;  /* --help's longer text where it differs from summary, or NULL */
    bool group;               /* has commands below it ("container"); by itself it only prints help */
    enum cmd_section section; /* where `docker --help` lists it */
};

enum { OPT_NO_SUCH_COMMAND = 0x1101 }; /* err->code: compose, whose help is printed too, has no such command */

/* What one command line said. Values live as long as it; argv is borrowed and must outlive it. */
struct opt_parsed;

/*
 * Parses argv[0..argc) = the words after the command's own path. On a bad line fills err with docker's text, complete
 * with usage and "Run 'docker run --help' for more information" lines as docker prints them, and its exit code.
 * --help is not an error: opt_help_asked() is true then, and nothing else was checked.
 */
struct opt_parsed *opt_parse(const struct cmd_def *cmd, int argc, char *const *argv,
                             struct err *err); /* NULL on error */

/*
 * The same for a command typed under its other name: docker's texts carry the name with as many words as were typed
 * ("docker container run" for 2). words is cmd_find()'s; opt_parse() takes the number of words of cmd->path.
 *
 * A group ("container") and the root ("") are commands too. A group that is given a word which is none of its commands
 * is an error ("docker: unknown command: docker container foo"); without one there is nothing to do but print its help
 * on stderr. The root's positionals are the command that follows docker's global options.
 */
struct opt_parsed *opt_parse_as(const struct cmd_def *cmd, int words, int argc, char *const *argv, struct err *err);
void opt_parsed_free(struct opt_parsed *p);

DEFINE_CLEANUP(struct opt_parsed *, opt_parsed_free)

bool opt_help_asked(const struct opt_parsed *p);
bool opt_given(const struct opt_parsed *p, const char *name); /* appeared on the line (an alias counts) */
bool opt_bool(const struct opt_parsed *p, const char *name);
const char *opt_str(const struct opt_parsed *p, const char *name); /* last value, else the default, else "" */
int64_t opt_int(const struct opt_parsed *p,
                const char *name); /* kinds INT, INT64, UINT16, UINT64, BYTES, DURATION (ns); checked while parsing */
const struct strlist *opt_list(const struct opt_parsed *p, const char *name); /* in the order given; never NULL */
const struct strlist *opt_args(const struct opt_parsed *p);                   /* positionals; never NULL */
const struct cmd_def *opt_command(const struct opt_parsed *p);
const struct strlist *opt_notes(
    const struct opt_parsed *p); /* lines that docker prints on stdout first (deprecated flags) */

/* Calls fn for every option that appeared on the line, once each, in table order: for verdicts and plans. */
void opt_each_given(const struct opt_parsed *p, void (*fn)(const struct opt_def *def, void *arg), void *arg);

void opt_print_help(const struct cmd_def *cmd, FILE *out); /* what `docker CMD --help` prints */
void opt_print_help_as(const struct cmd_def *cmd, int words, FILE *out);

/* The option called name, or NULL. */
const struct opt_def *opt_find(const struct cmd_def *cmd, const char *name);

/* The table of all commands, sorted by path. */
extern const struct cmd_def *const cmd_defs[];
extern const size_t cmd_defs_len;

/*
 * Finds the command that argv[0..argc) starts with ("image ls -q" -> the command whose path is "images", 2 words; every
 * alias counts). Returns NULL when there is none. *ret_words is the number of words that named it. A group is found
 * where its next word names no command of it; the root never is.
 */
const struct cmd_def *cmd_find(int argc, char *const *argv, int *ret_words);

const struct cmd_def *cmd_by_path(const char *path); /* exact; "" = the root; NULL = none */

/* The command's name as docker shows it when it was typed with so many words: "docker container run"; owned by caller.
 */
char *cmd_name(const struct cmd_def *cmd, int words);

/* Fills err for a first word that is no command: "docker: unknown command: docker foo" and the line after. Returns -1.
 */
int cmd_unknown(const char *word, struct err *err);

#endif
