/* Parsing one command line by its table. The rules are docker's (pflag's): see docker-cli.md 1. */
#include "compat/docker/opt.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/csv.h"
#include "compat/docker/opt_private.h"
#include "compat/docker/opt_value.h"
#include "compat/docker/quote.h"
#include "compat/docker/units.h"

#include <stdlib.h>
#include <string.h>

#define EXIT_USAGE 125

struct value {
    bool given;
    char *text; /* last value as typed, NULL = none */
    int64_t number;
    struct strlist list;
};

struct opt_parsed {
    const struct cmd_def *cmd;
    int words; /* how many words named the command: chooses its name in texts */
    bool help;
    size_t count;
    struct value *values; /* one per option of the table */
    struct strlist args;
    struct strlist notes;
};

/* Words not read yet. */
struct words {
    char *const *argv;
    int argc, next;
};

static const struct strlist no_strings = STRLIST_INIT;

size_t opt_count(const struct cmd_def *cmd)
{
    size_t count = 0;

    while (cmd->options && cmd->options[count].name)
        count++;
    return count;
}

/* Every command has --help; where it is no entry of the table this one stands in. */
static const struct opt_def help_option = {
    .name = "help", .kind = OPT_BOOL, .help = "Print usage", .flags = OPT_HIDDEN};

const struct opt_def *opt_find(const struct cmd_def *cmd, const char *name)
{
    for (const struct opt_def *def = cmd->options; def && def->name; def++)
        if (!strcmp(def->name, name))
            return def;
    return NULL;
}

static const struct opt_def *find_shorthand(const struct cmd_def *cmd, char c)
{
    for (const struct opt_def *def = cmd->options; def && def->name; def++)
        if (def->shorthand == c)
            return def;
    return NULL;
}

/* The value of an option, by way of its alias. NULL for the --help that stands in no table, and unknown names. */
static struct value *value_of(const struct opt_parsed *p, const char *name)
{
    const struct opt_def *def = opt_find(p->cmd, name);

    if (def && def->alias_of)
        def = opt_find(p->cmd, def->alias_of);
    return def ? &p->values[def - p->cmd->options] : NULL;
}

/* Turns docker's one-line text in err into what it prints: with usage and the pointer to --help. */
static int usage_error(const struct opt_parsed *p, int exit_code, const char *pointer, struct err *err)
{
    cleanup_free char *name = cmd_name(p->cmd, p->words), *text = xstrdup(err && err->msg ? err->msg : "");
    cleanup_free char *usage = cmd_usage(p->cmd, p->words);

    return err_set(err, exit_code, "%s\n\nUsage:  %s\n\n%s '%s --help' for more information", text, usage, pointer,
                   name);
}

/* Compose, which is a plugin of docker's, says only what is wrong. */
static bool is_compose(const struct cmd_def *cmd)
{
    return !strncmp(cmd->path, "compose", 7) && (!cmd->path[7] || cmd->path[7] == ' ');
}

static int flag_error(const struct opt_parsed *p, struct err *err)
{
    if (is_compose(p->cmd)) {
        if (err)
            err->exit_code = 1;
        return -1;
    }
    return usage_error(p, EXIT_USAGE, "Run", err);
}

/* Stores one value of an option, after docker's checks. */
static int set_value(struct opt_parsed *p, const struct opt_def *def, const char *text, struct err *err)
{
    cleanup_err struct err bad = ERR_INIT;
    struct value *value = value_of(p, def->name);
    int64_t number = 0;

    if (opt_value_check(def, text, &number, &bad) < 0) {
        cleanup_free char *quoted = quote_go_str(text);
        cleanup_free char *flag =
            def->shorthand ? xasprintf("-%c, --%s", def->shorthand, def->name) : xasprintf("--%s", def->name);

        err_set(err, 0, "invalid argument %s for \"%s\" flag: %s", quoted, flag, bad.msg);
        return flag_error(p, err);
    }
    if (def->deprecated)
        strlist_addf(&p->notes, "Flag --%s has been deprecated, %s", def->name, def->deprecated);
    if (!strcmp(def->name, "help"))
        p->help = number;
    if (!value)
        return 0;
    value->given = true;
    free(value->text);
    value->text = xstrdup(text);
    value->number = number;
    if (def->kind == OPT_STRINGS) {
        if (*text)
            csv_fields(text, &value->list, NULL);
    } else if (opt_kind_repeats(def->kind)) {
        strlist_add(&value->list, text);
    }
    return 0;
}

/* The next word as an option's value; NULL when there is none. */
static const char *take_word(struct words *w)
{
    return w->next < w->argc ? w->argv[w->next++] : NULL;
}

/* --name, --name=value, --name value */
static int parse_long(struct opt_parsed *p, const char *word, struct words *w, struct err *err)
{
    const char *equals = strchr(word, '='), *text;
    cleanup_free char *name = xstrndup(word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2));
    const struct opt_def *def;

    if (word[2] == '-' || word[2] == '=') {
        err_set(err, 0, "bad flag syntax: %s", word);
        return flag_error(p, err);
    }
    def = opt_find(p->cmd, name);
    if (!def && !strcmp(name, "help"))
        def = &help_option;
    if (!def) {
        err_set(err, 0, "unknown flag: --%s", name);
        return flag_error(p, err);
    }
    text = equals ? equals + 1 : def->kind == OPT_BOOL ? "true" : take_word(w);
    if (!text) {
        err_set(err, 0, "flag needs an argument: --%s", name);
        return flag_error(p, err);
    }
    return set_value(p, def, text, err);
}

/* Fills err for a shorthand at letters[0]; the rest of the group is shown as docker shows it. */
static int shorthand_error(struct opt_parsed *p, const char *what, const char *letters, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_OPT_TEXT);

    buf_addf(&text, "%s: ", what);
    quote_go_rune(&text, (unsigned char)letters[0]);
    buf_addf(&text, " in -%s", letters);
    err_set(err, 0, "%s", text.data);
    return flag_error(p, err);
}

/* -h where no option has that letter: help, in a spelling that docker deprecates. */
static int short_help(struct opt_parsed *p)
{
    strlist_add(&p->notes, "Flag shorthand -h has been deprecated, use --help");
    p->help = true;
    return 0;
}

/* -abc, -nvalue, -n=value, -n value: letters one after the other, the last may take a value. */
static int parse_short(struct opt_parsed *p, const char *letters, struct words *w, struct err *err)
{
    for (; *letters; letters++) {
        const struct opt_def *def = find_shorthand(p->cmd, *letters);
        const char *text;

        if (!def && *letters == 'h') {
            if (letters[1] == '=' && letters[2])
                return set_value(p, &help_option, letters + 2, err);
            short_help(p);
            continue;
        }
        if (!def)
            return shorthand_error(p, "unknown shorthand flag", letters, err);
        if (letters[1] == '=' && letters[2])
            return set_value(p, def, letters + 2, err);
        if (def->kind == OPT_BOOL) {
            if (set_value(p, def, "true", err) < 0)
                return -1;
            continue;
        }
        text = letters[1] ? letters + 1 : take_word(w);
        if (!text)
            return shorthand_error(p, "flag needs an argument", letters, err);
        return set_value(p, def, text, err);
    }
    return 0;
}

/* Everything that is left belongs to the positionals. */
static void take_rest(struct opt_parsed *p, struct words *w)
{
    while (w->next < w->argc)
        strlist_add(&p->args, w->argv[w->next++]);
}

static int parse_words(struct opt_parsed *p, struct words *w, struct err *err)
{
    while (w->next < w->argc) {
        const char *word = w->argv[w->next++];

        if (word[0] != '-' || !word[1]) {
            strlist_add(&p->args, word);
            if (!p->cmd->interspersed)
                take_rest(p, w);
        } else if (word[1] != '-') {
            if (parse_short(p, word + 1, w, err) < 0)
                return -1;
        } else if (word[2]) {
            if (parse_long(p, word, w, err) < 0)
                return -1;
        } else {
            take_rest(p, w);
        }
    }
    return 0;
}

/* "1 argument", "2 arguments" as docker counts. */
static const char *plural(int count)
{
    return count == 1 ? "argument" : "arguments";
}

/* A group's first positional names one of its commands. Compose, which is a plugin of docker's, has its own text. */
static int check_below(struct opt_parsed *p, const char *name, struct err *err)
{
    char *words[] = {xstrdup(p->cmd->path), p->args.items[0]};
    int found = 0;
    const struct cmd_def *cmd = cmd_find(2, words, &found);

    free(words[0]);
    if (cmd && found == 2)
        return 0;
    if (!strcmp(p->cmd->path, "compose")) {
        err_set(err, 1, "unknown docker command: \"compose %s\"", p->args.items[0]);
        if (err)
            err->code = OPT_NO_SUCH_COMMAND;
        return -1;
    }
    err_set(err, 0, "docker: unknown command: %s %s", name, p->args.items[0]);
    return usage_error(p, 1, "Run", err);
}

/* Holds the number of positionals to the table. "SRun" is what docker 28 prints there, and is kept. */
static int check_args(struct opt_parsed *p, struct err *err)
{
    int min = p->cmd->min_args, max = p->cmd->max_args, len = (int)p->args.len;
    cleanup_free char *name = cmd_name(p->cmd, p->words);

    if (p->cmd->group && *p->cmd->path)
        return len ? check_below(p, name, err) : 0;
    if (len >= min && (max < 0 || len <= max))
        return 0;
    if (is_compose(p->cmd) && max < 0 && strcmp(p->cmd->path, "compose wait") != 0)
        return err_set(err, 1, "requires at least %d arg(s), only received %d", min, len);
    if (!max)
        err_set(err, 0, "docker: '%s' accepts no arguments", name);
    else if (max < 0)
        err_set(err, 0, "docker: '%s' requires at least %d %s", name, min, plural(min));
    else if (min == max)
        err_set(err, 0, "docker: '%s' requires %d %s", name, min, plural(min));
    else if (!min)
        err_set(err, 0, "docker: '%s' requires at most %d %s", name, max, plural(max));
    else
        err_set(err, 0, "docker: '%s' requires at least %d and at most %d %s", name, min, max, plural(max));
    return usage_error(p, 1, max < 0 ? "See" : max && !min ? "SRun" : "Run", err);
}

/* Gives options that were not on the line the number of their default. */
static void fill_defaults(struct opt_parsed *p)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct opt_def *def = &p->cmd->options[i];

        if (!p->values[i].given && def->def && !(def->flags & OPT_CONFIG_DIR))
            opt_value_check(def, def->def, &p->values[i].number, NULL);
        if (def->flags & OPT_CONFIG_DIR && !p->values[i].given)
            p->values[i].text = opt_config_path(def->def);
    }
}

struct opt_parsed *opt_parse_as(const struct cmd_def *cmd, int words, int argc, char *const *argv, struct err *err)
{
    struct words w = {argv, argc, 0};
    struct opt_parsed *p = xcalloc(1, sizeof(*p));

    p->cmd = cmd;
    p->words = words;
    p->count = opt_count(cmd);
    p->values = xcalloc(p->count + 1, sizeof(*p->values));
    if (parse_words(p, &w, err) < 0 || (!p->help && check_args(p, err) < 0)) {
        opt_parsed_free(p);
        return NULL;
    }
    fill_defaults(p);
    return p;
}

struct opt_parsed *opt_parse(const struct cmd_def *cmd, int argc, char *const *argv, struct err *err)
{
    return opt_parse_as(cmd, cmd_path_words(cmd), argc, argv, err);
}

void opt_parsed_free(struct opt_parsed *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->count; i++) {
        free(p->values[i].text);
        strlist_clear(&p->values[i].list);
    }
    free(p->values);
    strlist_clear(&p->args);
    strlist_clear(&p->notes);
    free(p);
}

bool opt_help_asked(const struct opt_parsed *p)
{
    return p->help;
}

bool opt_given(const struct opt_parsed *p, const char *name)
{
    const struct value *value = value_of(p, name);

    return value && value->given;
}

bool opt_bool(const struct opt_parsed *p, const char *name)
{
    const struct value *value = value_of(p, name);

    return value && value->number;
}

const char *opt_str(const struct opt_parsed *p, const char *name)
{
    const struct value *value = value_of(p, name);
    const struct opt_def *def = opt_find(p->cmd, name);

    if (def && def->alias_of)
        def = opt_find(p->cmd, def->alias_of);
    if (value && value->text)
        return value->text;
    return def && def->def ? def->def : "";
}

int64_t opt_int(const struct opt_parsed *p, const char *name)
{
    const struct value *value = value_of(p, name);

    return value ? value->number : 0;
}

const struct strlist *opt_list(const struct opt_parsed *p, const char *name)
{
    const struct value *value = value_of(p, name);

    return value ? &value->list : &no_strings;
}

const struct strlist *opt_args(const struct opt_parsed *p)
{
    return &p->args;
}

const struct strlist *opt_notes(const struct opt_parsed *p)
{
    return &p->notes;
}

const struct cmd_def *opt_command(const struct opt_parsed *p)
{
    return p->cmd;
}

void opt_each_given(const struct opt_parsed *p, void (*fn)(const struct opt_def *def, void *arg), void *arg)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->values[i].given)
            fn(&p->cmd->options[i], arg);
}
