/* Names of commands: from the words of a command line to the table, and back to what docker calls them in its texts. */
#include "compat/docker/opt.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "compat/docker/opt_private.h"

#include <stdlib.h>
#include <string.h>

#define PREFIX    "docker "
#define MAX_WORDS 2 /* "container run" */

bool cmd_each_name(const struct cmd_def *cmd, bool (*fn)(const char *name, size_t len, void *arg), void *arg)
{
    const char *p = cmd->aliases;

    if (!p)
        return fn(cmd->path, strlen(cmd->path), arg);
    while (*p) {
        size_t len;

        p += strspn(p, ", ");
        len = strcspn(p, ",");
        if (len > strlen(PREFIX) && fn(p + strlen(PREFIX), len - strlen(PREFIX), arg))
            return true;
        p += len;
    }
    return false;
}

static int count_words(const char *s, size_t len)
{
    int words = len > 0;

    for (size_t i = 0; i < len; i++)
        words += s[i] == ' ';
    return words;
}

int cmd_path_words(const struct cmd_def *cmd)
{
    return count_words(cmd->path, strlen(cmd->path));
}

/* A name looked for by its number of words. */
struct wanted_name {
    int words;
    const char *name;
    size_t len;
};

static bool has_words(const char *name, size_t len, void *arg)
{
    struct wanted_name *wanted = arg;

    if (count_words(name, len) != wanted->words)
        return false;
    wanted->name = name;
    wanted->len = len;
    return true;
}

char *cmd_name(const struct cmd_def *cmd, int words)
{
    struct wanted_name wanted = {words, cmd->path, strlen(cmd->path)};

    if (words != cmd_path_words(cmd))
        cmd_each_name(cmd, has_words, &wanted);
    return wanted.len ? xasprintf(PREFIX "%.*s", (int)wanted.len, wanted.name) : xstrdup("docker");
}

char *cmd_usage(const struct cmd_def *cmd, int words)
{
    char *name = cmd_name(cmd, words), *usage = cmd->usage && *cmd->usage ? xasprintf("%s %s", name, cmd->usage) : NULL;

    if (!usage)
        return name;
    free(name);
    return usage;
}

/* The words of a command line against one name. */
struct typed {
    char *const *argv;
    int words; /* how many of them the name must have */
};

static bool is_typed(const char *name, size_t len, void *arg)
{
    const struct typed *typed = arg;
    const char *p = name, *end = name + len;

    for (int i = 0; i < typed->words; i++) {
        size_t word = strlen(typed->argv[i]);

        if (i && (p == end || *p++ != ' '))
            return false;
        if (!word || strchr(typed->argv[i], ' ') || (size_t)(end - p) < word || strncmp(p, typed->argv[i], word))
            return false;
        p += word;
    }
    return p == end;
}

/* The command with a name of exactly the typed words; one whose own path that is comes first. */
static const struct cmd_def *find_typed(struct typed *typed)
{
    for (size_t i = 0; i < cmd_defs_len; i++)
        if (is_typed(cmd_defs[i]->path, strlen(cmd_defs[i]->path), typed))
            return cmd_defs[i];
    for (size_t i = 0; i < cmd_defs_len; i++)
        if (*cmd_defs[i]->path && cmd_each_name(cmd_defs[i], is_typed, typed))
            return cmd_defs[i];
    return NULL;
}

const struct cmd_def *cmd_find(int argc, char *const *argv, int *ret_words)
{
    struct typed typed = {argv, argc < MAX_WORDS ? argc : MAX_WORDS};

    for (; typed.words > 0; typed.words--) {
        const struct cmd_def *cmd = find_typed(&typed);

        if (cmd) {
            *ret_words = typed.words;
            return cmd;
        }
    }
    return NULL;
}

const struct cmd_def *cmd_by_path(const char *path)
{
    for (size_t i = 0; i < cmd_defs_len; i++)
        if (!strcmp(cmd_defs[i]->path, path))
            return cmd_defs[i];
    return NULL;
}

int cmd_unknown(const char *word, struct err *err)
{
    return err_set(err, 1, "docker: unknown command: docker %s\n\nRun 'docker --help' for more information", word);
}
