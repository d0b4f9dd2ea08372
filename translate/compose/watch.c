#include "translate/compose/watch.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/paths.h"
#include "compat/base/strlist.h"
#include "translate/compose/node.h"
#include "translate/dockerfile/ignore.h"

#include <stdlib.h>
#include <string.h>

#define PATTERN_MAX 65536

void watch_rules_clear(struct watch_rules *rules)
{
    for (size_t i = 0; i < rules->len; i++) {
        df_ignore_free(rules->items[i].ignore);
        df_ignore_free(rules->items[i].build_ignore);
        df_ignore_free(rules->items[i].include);
    }
    free(rules->items);
    *rules = (struct watch_rules)WATCH_RULES_INIT;
}

bool watch_rule_syncs(const struct watch_rule *rule)
{
    return rule->action == WATCH_SYNC || rule->action == WATCH_SYNC_RESTART || rule->action == WATCH_SYNC_EXEC;
}

/* ---- patterns ---- */

/* A folder's own name is no pattern. */
static void add_escaped(struct buf *out, const char *path)
{
    for (; *path; path++) {
        if (strchr("*?[]\\", *path))
            buf_addc(out, '\\');
        buf_addc(out, *path);
    }
}

/* A pattern counts from its folder, "/x" from the root; what is matched are absolute paths without the first slash. */
static void add_pattern(struct strlist *ret, const char *root, const char *text)
{
    cleanup_buf struct buf out = BUF_INIT(PATTERN_MAX);
    cleanup_free char *clean = NULL;
    bool except = *text == '!';

    text += except;
    clean = path_clean(text);
    if (except)
        buf_addc(&out, '!');
    if (*clean != '/') {
        add_escaped(&out, root + 1);
        if (root[1])
            buf_addc(&out, '/');
    }
    buf_adds(&out, clean + strspn(clean, "/"));
    if (!out.overflowed)
        strlist_add(ret, out.data);
}

static void trim(char *text)
{
    size_t skip = strspn(text, " \t\r"), len;

    memmove(text, text + skip, strlen(text + skip) + 1);
    for (len = strlen(text); len && strchr(" \t\r", text[len - 1]); len--)
        text[len - 1] = '\0';
}

/* What editors leave behind while they write, and git's own. */
static void add_usual(struct strlist *ret)
{
    static const char *const usual[] = {
        "**/*___jb_old___",
        "**/*___jb_tmp___",
        "**/.idea/**",
        "**/.#*",
        "**/#*#",
        "**/4913",
        "**/*~",
        "**/.*.swp",
        "**/.*.swx",
        "**/.*.swo",
        "**/.*.swn",
        "**/.*.kate-swp",
        "**/*-go-tmp-umask",
        "**/.git",
    };

    for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
        strlist_add(ret, usual[i]);
}

/* compose leaves out what is no exception where "*" is one of them. usual: and what nobody wants; it comes last, so
 * that no exception brings it back. */
static struct df_ignore *patterns_of(const struct strlist *texts, const char *root, bool usual, struct err *err)
{
    cleanup_strlist struct strlist patterns = STRLIST_INIT;
    bool all = strlist_has(texts, "*");

    for (size_t i = 0; i < texts->len; i++) {
        cleanup_free char *text = xstrdup(texts->items[i]);

        trim(text);
        if (*text && (!all || *text == '!'))
            add_pattern(&patterns, root, text);
    }
    if (usual)
        add_usual(&patterns);
    return df_ignore_of(&patterns, err);
}

/* The lines of an ignore file; "#" begins a comment. */
static void add_lines(struct strlist *ret, const char *text)
{
    cleanup_strlist struct strlist lines = STRLIST_INIT;

    if (!strncmp(text, "\xef\xbb\xbf", 3))
        text += 3;
    strlist_split(&lines, text, '\n');
    for (size_t i = 0; i < lines.len; i++)
        if (*lines.items[i] != '#') {
            const char *line = lines.items[i];

            /* in such a file a slash in front means the context, not the machine's root */
            if (*line == '/')
                line++;
            strlist_add(ret, line);
        }
}

/* .dockerignore of the build's context, by the Dockerfile's own name first. */
static int read_build_ignore(const struct cnode *build, watch_read_fn *read, void *arg, struct df_ignore **ret,
                             struct err *err)
{
    const char *context = cnode_str(build, "context"), *file = cnode_str(build, "dockerfile");
    cleanup_strlist struct strlist patterns = STRLIST_INIT;
    cleanup_free char *text = NULL, *path = NULL, *root = NULL;
    struct err why = ERR_INIT;

    *ret = NULL;
    if (!context || *context != '/')
        return 0;
    root = path_clean(context);
    path = xasprintf("%s/%s.dockerignore", root, file ? file : "Dockerfile");
    text = read(arg, path, &why);
    if (!text && !why.msg) {
        free(path);
        path = xasprintf("%s/.dockerignore", root);
        text = read(arg, path, &why);
    }
    if (why.msg)
        return err_move(err, &why);
    if (!text)
        return 0;
    add_lines(&patterns, text);
    *ret = patterns_of(&patterns, root, false, err);
    return *ret ? 0 : -1;
}

/* ---- rules ---- */

static int read_action(const char *name, const struct cnode *rule, enum watch_action *ret, struct err *err)
{
    static const char *const actions[] = {"sync", "sync+restart", "sync+exec", "rebuild", "restart"};
    const char *text = cnode_str(rule, "action");

    for (size_t i = 0; text && i < sizeof(actions) / sizeof(actions[0]); i++)
        if (!strcmp(text, actions[i])) {
            *ret = (enum watch_action)i;
            return 0;
        }
    return err_set(err, 1, "services.%s.develop.watch: unknown action \"%s\"", name, text ? text : "");
}

static void add_texts(const struct cnode *list, struct strlist *ret)
{
    if (cnode_text(list))
        strlist_add(ret, cnode_text(list));
    for (size_t i = 0; cnode_is(list, CNODE_LIST) && i < list->len; i++)
        if (cnode_text(list->items[i]))
            strlist_add(ret, cnode_text(list->items[i]));
}

static bool is_bound(const struct cnode *service, const char *path)
{
    const struct cnode *mounts = cnode_get(service, "volumes");

    for (size_t i = 0; cnode_is(mounts, CNODE_LIST) && i < mounts->len; i++) {
        const char *type = cnode_str(mounts->items[i], "type"), *source = cnode_str(mounts->items[i], "source");

        if (type && source && !strcmp(type, "bind") && *source == '/' && path_within(path, source))
            return true;
    }
    return false;
}

static int read_rule(const char *name, const struct cnode *service, const struct cnode *node, struct watch_rule *rule,
                     struct err *err)
{
    cleanup_strlist struct strlist ignore = STRLIST_INIT, include = STRLIST_INIT;

    rule->service = name;
    rule->path = cnode_str(node, "path");
    rule->target = cnode_str(node, "target");
    rule->exec = cnode_get(node, "exec");
    rule->initial_sync = cnode_true(node, "initial_sync") || cnode_true(node, "x-initialSync");
    if (!rule->path || *rule->path != '/')
        return err_set(err, 1, "watch rules MUST define a path");
    if (read_action(name, node, &rule->action, err) < 0)
        return -1;
    if (rule->action == WATCH_REBUILD && !cnode_get(service, "build"))
        return err_set(err, 1, "can't watch service \"%s\" with action rebuild without a build context", name);
    rule->bound = is_bound(service, rule->path);
    add_texts(cnode_get(node, "ignore"), &ignore);
    add_texts(cnode_get(node, "include"), &include);
    rule->ignore = patterns_of(&ignore, rule->path, true, err);
    if (!rule->ignore)
        return -1;
    if (include.len && !(rule->include = patterns_of(&include, rule->path, false, err)))
        return -1;
    return 0;
}

int watch_rules_read(const char *name, const struct cnode *service, watch_read_fn *read, void *arg,
                     struct watch_rules *ret, struct err *err)
{
    const struct cnode *list = cnode_path(service, "develop.watch");

    for (size_t i = 0; cnode_is(list, CNODE_LIST) && i < list->len; i++) {
        struct watch_rule *rule;

        ret->items = xreallocarray(ret->items, ret->len + 1, sizeof(*ret->items));
        rule = &ret->items[ret->len++];
        *rule = (struct watch_rule){0};
        if (read_rule(name, service, list->items[i], rule, err) < 0 ||
            read_build_ignore(cnode_get(service, "build"), read, arg, &rule->build_ignore, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- matching ---- */

bool watch_rule_takes(const struct watch_rule *rule, const char *path, char **ret_target)
{
    const char *below = path + strlen(rule->path);
    cleanup_free char *joined = NULL;

    *ret_target = NULL;
    if (!path_within(path, rule->path))
        return false;
    if (rule->include && !df_ignore_match(rule->include, path + 1))
        return false;
    if (df_ignore_match(rule->ignore, path + 1) ||
        (rule->build_ignore && df_ignore_match(rule->build_ignore, path + 1)))
        return false;
    if (!rule->target)
        return true;
    joined = xasprintf("%s%s%s", rule->target, *below ? "/" : "", below);
    *ret_target = path_clean(joined);
    return true;
}
