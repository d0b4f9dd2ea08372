#include "translate/compose/find.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/paths.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(struct cnode *, cnode_free)

void project_files_clear(struct project_files *p)
{
    for (size_t i = 0; p->texts && i < p->files.len; i++)
        free(p->texts[i]);
    free(p->texts);
    strlist_clear(&p->files);
    strlist_clear(&p->env_files);
    free(p->dir);
    cnode_free(p->env);
    *p = (struct project_files){0};
}

static bool exists(const struct loader *l, const char *path, bool *ret_dir)
{
    *ret_dir = false;
    return l->in->exists(l->in->arg, path, ret_dir);
}

/* The process's variables; the first of several with one name counts. */
static void take_environment(const struct loader *l, struct cnode *env)
{
    for (size_t i = 0; l->in->environ && i < l->in->environ->len; i++) {
        const char *entry = l->in->environ->items[i], *value = strchr(entry, '=');
        cleanup_free char *key = value ? xstrndup(entry, (size_t)(value - entry)) : NULL;

        if (key && *key && !cnode_get(env, key))
            cnode_set(env, key, cnode_string(value + 1));
    }
    if (!cnode_get(env, "PWD"))
        cnode_set(env, "PWD", cnode_string(l->in->cwd));
}

/* --project-directory, the folder of the first file, or the current one. Owned by caller. */
static char *folder(const struct loader *l, const struct project_files *p)
{
    if (l->in->project_dir && *l->in->project_dir)
        return path_absolute(l->in->cwd, l->in->project_dir);
    for (size_t i = 0; i < p->files.len; i++)
        if (strcmp(p->files.items[i], "-") != 0)
            return path_dir(p->files.items[i]);
    return xstrdup(l->in->cwd);
}

/* As Go's strconv.ParseBool. */
static int parse_bool(const char *text, bool *ret, struct err *err)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};

    for (size_t i = 0; i < 6; i++) {
        if (!strcmp(text, yes[i]) || !strcmp(text, no[i])) {
            *ret = !strcmp(text, yes[i]);
            return 0;
        }
    }
    return err_set(err, 1, "strconv.ParseBool: parsing \"%s\": invalid syntax", text);
}

/* --env-file, COMPOSE_ENV_FILES, or .env of the folder. */
static int choose_env_files(const struct loader *l, struct project_files *p, struct err *err)
{
    const char *named = l->in->environ ? strlist_env_get(l->in->environ, "COMPOSE_ENV_FILES") : NULL;
    const char *disabled = l->in->environ ? strlist_env_get(l->in->environ, "COMPOSE_DISABLE_ENV_FILE") : NULL;
    cleanup_free char *dir = NULL, *usual = NULL;
    bool off = false, is_dir;

    strlist_clear(&p->env_files);
    p->env_named = true;
    if (l->in->env_files.len) {
        strlist_copy(&p->env_files, &l->in->env_files);
        return 0;
    }
    for (const char *s = named; s && *s; s += strcspn(s, ","), s += *s == ',') {
        if (*s != ',')
            strlist_addf(&p->env_files, "%.*s", (int)strcspn(s, ","), s);
    }
    if (p->env_files.len)
        return 0;
    p->env_named = false;
    if (disabled && parse_bool(disabled, &off, err) < 0)
        return -1;
    dir = folder(l, p);
    usual = path_join(dir, ".env");
    if (!off && exists(l, usual, &is_dir) && !is_dir)
        strlist_add(&p->env_files, usual);
    return 0;
}

static int read_env_files(struct loader *l, struct project_files *p, struct err *err)
{
    cleanup_with(cnode_freep) struct cnode *vars = cnode_new(CNODE_MAP);

    if (choose_env_files(l, p, err) < 0 || dotenv_files(l, p->env, &p->env_files, vars, err) < 0)
        return -1;
    for (size_t i = 0; i < vars->len; i++)
        if (!cnode_get(p->env, vars->keys[i]))
            cnode_set(p->env, vars->keys[i], cnode_copy(vars->items[i]));
    return 0;
}

static void add_file(const struct loader *l, struct project_files *p, const char *name)
{
    if (!strcmp(name, "-"))
        strlist_add(&p->files, name);
    else
        strlist_add_owned(&p->files, path_absolute(l->in->cwd, name));
}

static int files_of_variable(const struct loader *l, struct project_files *p, struct err *err)
{
    const char *names = cnode_str(p->env, "COMPOSE_FILE"), *separator = cnode_str(p->env, "COMPOSE_PATH_SEPARATOR");
    bool dir;

    if (!names)
        return 0;
    if (!separator || !*separator)
        separator = ":";
    for (;;) {
        const char *next = strstr(names, separator);
        cleanup_free char *name = next ? xstrndup(names, (size_t)(next - names)) : xstrdup(names);

        if (file_check_local(name, err) < 0)
            return -1;
        add_file(l, p, name);
        if (strcmp(name, "-") != 0 && !exists(l, p->files.items[p->files.len - 1], &dir))
            return err_set(err, 1, "stat %s: no such file or directory", p->files.items[p->files.len - 1]);
        if (!next)
            return 0;
        names = next + strlen(separator);
    }
}

/* Adds the first of the names that the folder has; a warning when it has several. */
static bool find_in(const struct loader *l, struct project_files *p, const char *dir, const char *const *names,
                    const char *what)
{
    cleanup_strlist struct strlist found = STRLIST_INIT;
    cleanup_buf struct buf all = BUF_INIT(LIMIT_CONFIG_FILE);
    bool is_dir;

    for (; *names; names++) {
        cleanup_free char *path = path_join(dir, *names);

        if (exists(l, path, &is_dir))
            strlist_add(&found, path);
    }
    if (found.len == 0)
        return false;
    for (size_t i = 0; i < found.len; i++)
        buf_addf(&all, "%s%s", i ? ", " : "", found.items[i]);
    if (found.len > 1) {
        strlist_addf(l->warnings, "Found multiple %s files with supported names: %s", what, all.data);
        strlist_addf(l->warnings, "Using %s", found.items[0]);
    }
    strlist_add(&p->files, found.items[0]);
    return true;
}

/* From the project's folder upwards. */
static void search(const struct loader *l, struct project_files *p)
{
    static const char *const names[] = {"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml",
                                        NULL};
    static const char *const overrides[] = {"compose.override.yml", "compose.override.yaml",
                                            "docker-compose.override.yml", "docker-compose.override.yaml", NULL};
    cleanup_free char *dir = folder(l, p);

    for (;;) {
        char *parent;

        if (find_in(l, p, dir, names, "config")) {
            find_in(l, p, dir, overrides, "override");
            return;
        }
        parent = path_dir(dir);
        if (!strcmp(parent, dir)) {
            free(parent);
            return;
        }
        free(dir);
        dir = parent;
    }
}

static int read_texts(struct loader *l, struct project_files *p, struct err *err)
{
    if (p->files.len == 0)
        return err_set(err, 1, "no configuration file provided: not found");
    p->texts = xcalloc(p->files.len, sizeof(*p->texts));
    for (size_t i = 0; i < p->files.len; i++) {
        const char *in = l->in->stdin_text ? l->in->stdin_text : "";

        p->texts[i] = !strcmp(p->files.items[i], "-") ? xstrdup(in) : file_read(l, p->files.items[i], err);
        if (!p->texts[i])
            return -1;
    }
    return 0;
}

int project_find(struct loader *l, struct project_files *ret, struct err *err)
{
    struct project_files p = {.files = STRLIST_INIT, .env = cnode_new(CNODE_MAP)};
    int rc = 0;

    take_environment(l, p.env);
    for (size_t i = 0; rc == 0 && i < l->in->files.len; i++) {
        rc = file_check_local(l->in->files.items[i], err);
        add_file(l, &p, l->in->files.items[i]);
    }
    if (rc == 0)
        rc = read_env_files(l, &p, err);
    if (rc == 0 && p.files.len == 0)
        rc = files_of_variable(l, &p, err);
    if (rc == 0 && p.files.len == 0)
        search(l, &p);
    if (rc == 0)
        rc = read_env_files(l, &p, err);
    p.dir = folder(l, &p);
    if (rc == 0 && l->in->project_name && *l->in->project_name)
        rc = project_name_check(l->in->project_name, err);
    if (rc == 0)
        rc = read_texts(l, &p, err);
    if (rc < 0)
        project_files_clear(&p);
    else
        *ret = p;
    return rc;
}

/* ---- the name ---- */

char *project_name_normalize(const char *name)
{
    char *out = xstrdup(name), *to = out, *kept;

    for (const char *from = name; *from; from++) {
        char c = (char)tolower((unsigned char)*from);

        if (isalnum((unsigned char)c) || c == '_' || c == '-')
            *to++ = c;
    }
    *to = '\0';
    kept = xstrdup(out + strspn(out, "_-"));
    free(out);
    return kept;
}

int project_name_check(const char *name, struct err *err)
{
    cleanup_free char *normal = project_name_normalize(name);

    if (!strcmp(normal, name))
        return 0;
    return err_set(err, 1,
                   "invalid project name \"%s\": must consist only of lowercase alphanumeric characters, hyphens, and "
                   "underscores as well as start with a letter or number",
                   name);
}

/* What a file that is no map is told, unless it is empty. */
static int check_root(const struct cnode *root, struct err *err)
{
    static const char *const tags[] = {"null", "bool", "int", "float", "str", "seq", "map"};
    cleanup_free char *value = NULL;

    if (!root || root->kind == CNODE_MAP || root->kind == CNODE_NULL)
        return 0;
    if (root->kind != CNODE_LIST)
        value = strlen(root->text) > 10 ? xasprintf(" `%.7s...`", root->text) : xasprintf(" `%s`", root->text);
    return err_set(err, 1, "yaml: unmarshal errors:\n  line %d: cannot unmarshal !!%s%s into cli.named", root->line,
                   tags[root->kind], value ? value : "");
}

/* compose reads the files for their names first, and has other words for the faults that it meets then. */
static int name_fault(const char *file, struct err *err)
{
    cleanup_err struct err why = ERR_INIT;

    if (!err || err->code == YAML_SYNTAX || err->code == YAML_KEY)
        return -1;
    if (err->code != YAML_TOP_KEY)
        return err_wrap(err, "failed to parse %s", file);
    err_move(&why, err);
    return err_set(err, 1, "yaml: unmarshal errors:\n  %s", why.msg);
}

/* The last `name` that the files have, as it is written. *ret stays NULL when there is none. */
static int name_of_files(const struct loader *l, const struct project_files *p, char **ret, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < p->files.len; i++) {
        struct yaml_docs docs = YAML_DOCS_INIT;
        size_t nodes = l->nodes_left;

        if (yaml_parse(p->files.items[i], p->texts[i], strlen(p->texts[i]), &nodes, &docs, err) < 0)
            return name_fault(p->files.items[i], err);
        if (docs.len)
            rc = check_root(docs.items[0].root, err);
        for (size_t j = 0; j < docs.len; j++) {
            const char *name = cnode_str(docs.items[j].root, "name");

            if (name && *name) {
                free(*ret);
                *ret = xstrdup(name);
            }
        }
        yaml_docs_clear(&docs);
    }
    return rc;
}

/* `name` with variables put in. */
static int name_value(struct loader *l, const struct project_files *p, const char *written, char **ret, struct err *err)
{
    cleanup_with(cnode_freep) struct cnode *tree = cnode_new(CNODE_MAP);

    cnode_set(tree, "name", cnode_string(written));
    if (!l->in->no_interpolate && interpolate(l, tree, p->env, err) < 0)
        return -1;
    *ret = l->in->no_normalize ? xstrdup(cnode_str(tree, "name")) : project_name_normalize(cnode_str(tree, "name"));
    return 0;
}

int project_name(struct loader *l, const struct project_files *p, char **ret, struct err *err)
{
    const char *asked = l->in->project_name, *variable = cnode_str(p->env, "COMPOSE_PROJECT_NAME");
    cleanup_free char *written = NULL;

    if (!asked || !*asked) {
        asked = variable;
        if (name_of_files(l, p, &written, err) < 0)
            return -1;
    }
    if (asked && *asked) {
        if (project_name_check(asked, err) < 0)
            return -1;
        *ret = xstrdup(asked);
        return 0;
    }
    if (written)
        return name_value(l, p, written, ret, err);
    *ret = project_name_normalize(path_base(p->dir));
    return 0;
}
