/* link: atp_docker atp_base */
/*
 * Docker's tables on their own, for tests that compare them with a real docker:
 *     docker_words list                 every command's names, one per line
 *     docker_words help WORD...         what `docker WORD... --help` prints
 *     docker_words template MODE TEXT   carries a template out over the JSON document on standard input; MODE is
 *                                       "value", "error", or the Go type that stands for a document with fields
 *     docker_words parse WORD...        parses `docker WORD...`: docker's errors and exit codes; "parsed" when all is
 * well
 */
#include "compat/base/buf.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "compat/docker/tmpl.h"

#include <stdio.h>
#include <string.h>

static int list(void)
{
    for (size_t i = 0; i < cmd_defs_len; i++)
        if (*cmd_defs[i]->path && strncmp(cmd_defs[i]->path, "atp", 3) != 0) /* not docker's */
            printf("%s\t%s\n", cmd_defs[i]->path, cmd_defs[i]->aliases ? cmd_defs[i]->aliases : "");
    return 0;
}

static int help(int argc, char **argv)
{
    int words = 0;
    const struct cmd_def *cmd = argc ? cmd_find(argc, argv, &words) : cmd_by_path("");

    if (!cmd)
        return 2;
    opt_print_help_as(cmd, words, stdout);
    return 0;
}

static int fail(struct err *err)
{
    int code = err->exit_code ? err->exit_code : 1;

    fprintf(stderr, "%s\n", err->msg);
    err_clear(err);
    return code;
}

static int parse(int argc, char **argv)
{
    cleanup_with(opt_parsed_freep) struct opt_parsed *root = NULL, *parsed = NULL;
    struct err err = ERR_INIT;
    const struct cmd_def *cmd;
    const struct strlist *args;
    int words = 0;

    root = opt_parse(cmd_by_path(""), argc, argv, &err);
    if (!root)
        return fail(&err);
    args = opt_args(root);
    if (!args->len)
        return 0;
    cmd = cmd_find((int)args->len, args->items, &words);
    if (!cmd) {
        cmd_unknown(args->items[0], &err);
        return fail(&err);
    }
    parsed = opt_parse_as(cmd, words, (int)args->len - words, args->items + words, &err);
    if (!parsed)
        return fail(&err);
    for (size_t i = 0; i < opt_notes(parsed)->len; i++)
        puts(opt_notes(parsed)->items[i]);
    if (opt_help_asked(parsed))
        opt_print_help_as(cmd, words, stdout);
    else
        fprintf(stderr, "parsed\n");
    return 0;
}

static int template(const char *mode, const char *text)
{
    struct tmpl_options options = {.missing = TMPL_MISSING_FIELD, .type = mode};
    cleanup_buf struct buf out = BUF_INIT(64u << 20);
    json_t *data = json_loadf(stdin, JSON_DECODE_ANY, NULL);
    struct err err = ERR_INIT;
    struct tmpl *t = tmpl_parse("", text, &err);
    int rc;

    if (!t) {
        json_decref(data);
        err_wrap(&err, "template parsing error");
        err.exit_code = 64;
        return fail(&err);
    }
    if (!strcmp(mode, "value") || !strcmp(mode, "error"))
        options.missing = *mode == 'v' ? TMPL_MISSING_NO_VALUE : TMPL_MISSING_ERROR;
    rc = tmpl_exec(t, data, &options, &out, &err);
    tmpl_free(t);
    json_decref(data);
    if (rc < 0) {
        err_wrap(&err, "template parsing error");
        return fail(&err);
    }
    fwrite(out.data, 1, out.len, stdout);
    putchar('\n');
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "list"))
        return list();
    if (argc > 1 && !strcmp(argv[1], "help"))
        return help(argc - 2, argv + 2);
    if (argc > 1 && !strcmp(argv[1], "parse"))
        return parse(argc - 2, argv + 2);
    if (argc == 4 && !strcmp(argv[1], "template"))
        return template(argv[2], argv[3]);
    fprintf(stderr, "usage: docker_words list | help WORD... | parse WORD... | template MODE TEXT\n");
    return 2;
}
