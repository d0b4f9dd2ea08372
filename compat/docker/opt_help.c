/* What `docker CMD --help` prints, out of the tables. The lay-out rules are docker's: see docker-cli.md 1 and pflag. */
#include "compat/docker/opt.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/docker/opt_private.h"
#include "compat/docker/quote.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEFAULT_WIDTH  80
#define SLOP           5  /* a last line may be this much longer, so that no short word stands alone */
#define MIN_TEXT_WIDTH 24 /* narrower than this a sentence starts on a line of its own */
#define NARROW_INDENT  16

char *opt_config_path(const char *name)
{
    const char *folder = getenv("DOCKER_CONFIG"), *home = getenv("HOME"), *certs = getenv("DOCKER_CERT_PATH");

    if (*name && certs && *certs)
        return xasprintf("%s/%s", certs, name);
    if (folder && *folder)
        return *name ? xasprintf("%s/%s", folder, name) : xstrdup(folder);
    return xasprintf("%s/.docker%s%s", home ? home : "", *name ? "/" : "", name);
}

/* The terminal that docker measures is the one on standard input. */
static int terminal_width(void)
{
    struct winsize size;

    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
        return size.ws_col;
    return DEFAULT_WIDTH;
}

/* How many bytes of s go on a line that has room for width of them; the blank or newline after them is dropped. */
static size_t line_length(const char *s, size_t width)
{
    size_t len = strlen(s), cut = width;
    const char *newline;

    if (width + SLOP > len)
        return len;
    while (cut && !strchr(" \t\n", s[cut - 1]))
        cut--;
    if (cut < 2)
        return len;
    cut--;
    newline = memrchr(s, '\n', width);
    return newline && newline > s && newline < s + cut ? (size_t)(newline - s) : cut;
}

/* Prints text with its own newlines, continued lines indented. */
static void print_indented(FILE *out, const char *s, size_t len, int indent)
{
    for (size_t i = 0; i < len; i++) {
        fputc(s[i], out);
        if (s[i] == '\n')
            fprintf(out, "%*s", indent, "");
    }
}

/* Prints a sentence wrapped at width columns; the first line starts at column indent. */
static void print_wrapped(FILE *out, const char *s, int indent, int width)
{
    size_t room;

    if (width - indent < MIN_TEXT_WIDTH) {
        indent = NARROW_INDENT;
        if (width - indent >= MIN_TEXT_WIDTH)
            fprintf(out, "\n%*s", indent, "");
    }
    if (width - indent < MIN_TEXT_WIDTH) {
        print_indented(out, s, strlen(s), indent);
        return;
    }
    room = (size_t)(width - indent - SLOP);
    for (;;) {
        size_t len = line_length(s, room);

        print_indented(out, s, len, indent);
        if (!s[len] || !s[len + 1])
            return;
        s += len + 1;
        fprintf(out, "\n%*s", indent, "");
    }
}

/* "-n, --name string" */
static char *left_column(const struct opt_def *def)
{
    const char *space = def->arg ? " " : "", *arg = def->arg ? def->arg : "";

    if (def->shorthand)
        return xasprintf("  -%c, --%s%s%s", def->shorthand, def->name, space, arg);
    return xasprintf("      --%s%s%s", def->name, space, arg);
}

/* The sentence and what docker appends to it: the default unless it is the kind's zero value. */
static char *right_column(const struct opt_def *def)
{
    cleanup_free char *path = NULL, *quoted = NULL;

    if (!def->def)
        return xstrdup(def->help ? def->help : "");
    if (def->flags & OPT_CONFIG_DIR)
        path = opt_config_path(def->def);
    quoted = quote_go_str(path ? path : def->def);
    return xasprintf("%s (default %s)", def->help, def->kind == OPT_STRING ? quoted : def->def);
}

static bool is_shown(const struct opt_def *def)
{
    return !(def->flags & OPT_HIDDEN) && !def->alias_of;
}

static void print_options(const struct cmd_def *cmd, FILE *out)
{
    int width = terminal_width() - 1;
    size_t widest = 0;

    for (const struct opt_def *def = cmd->options; def->name; def++) {
        cleanup_free char *left = left_column(def);

        if (is_shown(def) && strlen(left) > widest)
            widest = strlen(left);
    }
    for (const struct opt_def *def = cmd->options; def->name; def++) {
        cleanup_free char *left = left_column(def), *right = right_column(def);

        if (!is_shown(def))
            continue;
        fprintf(out, "%-*s", (int)widest + 3, left);
        print_wrapped(out, right, (int)widest + 3, width);
        fputc('\n', out);
    }
}

static bool has_shown_options(const struct cmd_def *cmd)
{
    for (const struct opt_def *def = cmd->options; def && def->name; def++)
        if (is_shown(def))
            return true;
    return false;
}

/* A command as a line of its group's list. */
struct entry {
    const char *name;
    size_t len;
    const struct cmd_def *cmd;
};

struct listing {
    const struct cmd_def *group;
    const struct cmd_def *cmd; /* being looked at */
    struct entry entries[128];
    size_t count;
};

/* Takes a name into the listing when it is one word below the group; only the first such name of a command counts. */
static bool list_name(const char *name, size_t len, void *arg)
{
    struct listing *l = arg;
    size_t prefix = strlen(l->group->path);

    if (prefix) {
        if (len < prefix + 2 || strncmp(name, l->group->path, prefix) || name[prefix] != ' ')
            return false;
        name += prefix + 1;
        len -= prefix + 1;
    }
    if (!len || memchr(name, ' ', len) || l->count == sizeof(l->entries) / sizeof(*l->entries))
        return false;
    for (size_t i = 0; i < l->count; i++)
        if (l->entries[i].len == len && !strncmp(l->entries[i].name, name, len))
            return false;
    l->entries[l->count++] = (struct entry){name, len, l->cmd};
    return true;
}

static int by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = strncmp(x->name, y->name, x->len < y->len ? x->len : y->len);

    return order ? order : x->len < y->len ? -1 : x->len > y->len;
}

/* Docker lists its common commands in an order of its own. */
static int common_rank(const struct entry *e)
{
    static const char *const order[] = {"run",    "exec",  "ps",     "build",  "pull",    "push",
                                        "images", "login", "logout", "search", "version", "info"};

    for (int i = 0; i < (int)(sizeof(order) / sizeof(*order)); i++)
        if (strlen(order[i]) == e->len && !strncmp(order[i], e->name, e->len))
            return i;
    return 99;
}

static int by_rank(const void *a, const void *b)
{
    return common_rank(a) - common_rank(b);
}

/* Prints one section of a group's commands, with its title, when it has any. */
static void print_section(const struct listing *all, enum cmd_section section, const char *title, FILE *out)
{
    struct entry some[sizeof(all->entries) / sizeof(*all->entries)];
    size_t count = 0, widest = 11; /* docker pads to at least so many */

    for (size_t i = 0; i < all->count; i++) {
        if (*all->group->path == '\0' && all->entries[i].cmd->section != section)
            continue;
        if (all->entries[i].cmd->section == SECTION_HIDDEN)
            continue;
        some[count++] = all->entries[i];
        if (all->entries[i].len > widest)
            widest = all->entries[i].len;
    }
    if (!count)
        return;
    if (section == SECTION_COMMON)
        qsort(some, count, sizeof(*some), by_rank);
    fprintf(out, "\n%s:\n", title);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "  %-*.*s %s\n", (int)widest, (int)some[i].len, some[i].name, some[i].cmd->summary);
}

static void print_commands(const struct cmd_def *group, FILE *out)
{
    struct listing all = {.group = group};

    for (size_t i = 0; i < cmd_defs_len; i++) {
        all.cmd = cmd_defs[i];
        cmd_each_name(cmd_defs[i], list_name, &all);
    }
    qsort(all.entries, all.count, sizeof(*all.entries), by_name);
    if (!*group->path) {
        print_section(&all, SECTION_COMMON, "Common Commands", out);
        print_section(&all, SECTION_MANAGEMENT, "Management Commands", out);
        print_section(&all, SECTION_SWARM, "Swarm Commands", out);
    }
    print_section(&all, SECTION_COMMANDS, "Commands", out);
}

void opt_print_help_as(const struct cmd_def *cmd, int words, FILE *out)
{
    cleanup_free char *name = cmd_name(cmd, words), *usage = cmd_usage(cmd, words);
    bool options = has_shown_options(cmd), root = !*cmd->path;

    if (cmd->group)
        fprintf(out, "Usage:  %s%s COMMAND\n", name, options ? " [OPTIONS]" : "");
    else
        fprintf(out, "Usage:  %s\n", usage);
    fprintf(out, "\n%s\n", cmd->description ? cmd->description : cmd->summary);
    if (cmd->aliases)
        fprintf(out, "\nAliases:\n  %s\n", cmd->aliases);
    if (options && !root) {
        fprintf(out, "\nOptions:\n");
        print_options(cmd, out);
    }
    if (cmd->group)
        print_commands(cmd, out);
    if (options && root) {
        fprintf(out, "\nGlobal Options:\n");
        print_options(cmd, out);
    }
    if (cmd->group)
        fprintf(out, "\nRun '%s COMMAND --help' for more information on a command.\n", name);
    if (root)
        fprintf(out, "\nFor more help on how to use Docker, head to https://docs.docker.com/go/guides/\n");
}

void opt_print_help(const struct cmd_def *cmd, FILE *out)
{
    opt_print_help_as(cmd, cmd_path_words(cmd), out);
}
