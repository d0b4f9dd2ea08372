/* link: atp_compose */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/compose/compose.h"
#include "translate/compose/load.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* A disk: names and texts in turn, ends with NULL. A text of NULL is a folder, one of "!" cannot be read. */
struct disk {
    const char *files[16];
};

static const char *const *find(const struct disk *d, const char *path)
{
    for (const char *const *f = d->files; *f; f += 2)
        if (!strcmp(*f, path))
            return f;
    return NULL;
}

static char *read_file(void *arg, const char *path, struct err *err)
{
    const char *const *f = find(arg, path);
    int errnum = !f ? ENOENT : !f[1] ? EISDIR : !strcmp(f[1], "!") ? EACCES : !strcmp(f[1], "!!") ? EFBIG : 0;

    if (!errnum)
        return xstrdup(f[1]);
    err_set_errno(err, 1, errnum, "%s", path);
    return NULL;
}

static bool exists(void *arg, const char *path, bool *ret_is_dir)
{
    const char *const *f = find(arg, path);

    *ret_is_dir = f && !f[1];
    return f;
}

#define WEB "services: {web: {image: b}}\n"

/*
 * What is asked: words as of the command line (-f, -p, -d for --project-directory, -e for --env-file, K=V for the
 * environment; the folder is /w/My.App). What is wanted: "<name> <folder>: <command of web, or of all>", or "!<error>",
 * then "|" and the first warning.
 */
static const struct {
    struct disk disk;
    const char *words, *want;
} table[] = {
    /* files */
    {{{"/w/My.App/compose.yaml", WEB}}, "", "myapp /w/My.App: web=b"},
    {{{"/w/My.App/docker-compose.yaml", WEB}}, "", "myapp /w/My.App: web=b"},
    {{{"/w/compose.yml", WEB}}, "", "w /w: web=b"},
    {{{"/w/My.App/compose.yaml", WEB, "/w/My.App/compose.override.yml", "services: {web: {image: c}}"}},
     "",
     "myapp /w/My.App: web=c"},
    {{{"/w/compose.yaml", WEB, "/w/My.App/compose.override.yml", "services: {web: {image: c}}"}}, "", "w /w: web=b"},
    {{{"/w/compose.yaml", WEB, "/w/docker-compose.yml", "x"}},
     "",
     "w /w: web=b|Found multiple config files with supported names: /w/compose.yaml, /w/docker-compose.yml"},
    {{{"/x", ""}}, "", "!no configuration file provided: not found"},
    {{{"/w/a.yml", WEB, "/w/My.App/b.yml", "services: {web: {image: c}}"}}, "-f ../a.yml -f b.yml", "w /w: web=c"},
    {{{"/w/a.yml", WEB}}, "-f b.yml", "!open /w/My.App/b.yml: no such file or directory"},
    {{{"/w/a.yml", NULL}}, "-f /w/a.yml", "!read /w/a.yml: is a directory"},
    {{{"/w/a.yml", "!"}}, "-f /w/a.yml", "!open /w/a.yml: permission denied"},
    {{{"/w/a.yml", "!!"}}, "-f /w/a.yml", "!read /w/a.yml: file is larger than 4 MiB"},
    {{{"/w/a.yml", WEB}}, "COMPOSE_FILE=../a.yml", "w /w: web=b"},
    {{{"/w/a.yml", WEB, "/w/b.yml", "services: {web: {image: c}}"}},
     "COMPOSE_FILE=/w/a.yml;../b.yml COMPOSE_PATH_SEPARATOR=;",
     "w /w: web=c"},
    {{{"/w/a.yml", WEB}}, "COMPOSE_FILE=/w/a.yml:/w/b.yml", "!stat /w/b.yml: no such file or directory"},
    {{{"/w/a.yml", WEB}}, "-f /w/a.yml -d /q/Other", "other /q/Other: web=b"},
    {{{"-", ""}}, "-f -", "myapp /w/My.App: web=in"},
    {{{"/w/a.yml", ""}}, "-f /w/a.yml", "!empty compose file"},
    {{{"/x", ""}},
     "-f https://github.com/a/b.git",
     "!https://github.com/a/b.git: compose files are read from this machine only, not from a registry or from git"},
    {{{"/w/compose.yaml", "include: ['oci://r/x']"}},
     "",
     "!oci://r/x: compose files are read from this machine only, not from a registry or from git"},
    {{{"/w/compose.yaml", "services: {a: {extends: {file: 'git@h:a', service: b}}}"}},
     "",
     "!git@h:a: compose files are read from this machine only, not from a registry or from git"},
    /* env files */
    {{{"/w/compose.yaml", "services: {web: {image: \"$A\"}}", "/w/.env", "A=1"}}, "", "w /w: web=1"},
    {{{"/w/compose.yaml", "services: {web: {image: \"$A\"}}", "/w/.env", "A=1"}}, "A=2", "w /w: web=2"},
    {{{"/w/compose.yaml", "services: {web: {image: \"x$A\"}}", "/w/.env", "A=1"}},
     "COMPOSE_DISABLE_ENV_FILE=1",
     "w /w: web=x|The \"A\" variable is not set. Defaulting to a blank string."},
    {{{"/w/compose.yaml", WEB}}, "COMPOSE_DISABLE_ENV_FILE=no", "!strconv.ParseBool: parsing \"no\": invalid syntax"},
    {{{"/w/compose.yaml", "services: {web: {image: \"$A\"}}", "/w/.env", "A=1", "/w/My.App/x.env", "A=3"}},
     "-e x.env",
     "w /w: web=3"},
    {{{"/w/compose.yaml", "services: {web: {image: \"$A$B\"}}", "/e1", "A=3", "/e2", "A=4\nB=$A"}},
     "COMPOSE_ENV_FILES=/e1,/e2",
     "w /w: web=44"},
    {{{"/w/compose.yaml", WEB}}, "-e no.env", "!couldn't find env file: /w/My.App/no.env"},
    {{{"/w/compose.yaml", WEB, "/d", NULL}}, "-e /d", "!/d is a directory"},
    {{{"/w/compose.yaml", WEB, "/e", "A=\""}}, "-e /e", "!failed to read /e: line 1: unterminated quoted value \""},
    {{{"/w/My.App/.env", "COMPOSE_FILE=/w/a.yml\nCOMPOSE_PROJECT_NAME=p", "/w/a.yml", WEB}}, "", "p /w: web=b"},
    /* names */
    {{{"/w/compose.yaml", WEB}}, "-p x-1_y", "x-1_y /w: web=b"},
    {{{"/w/compose.yaml", WEB}},
     "-p X",
     "!invalid project name \"X\": must consist only of lowercase alphanumeric characters, hyphens, and underscores as "
     "well as start with a letter or number"},
    {{{"/w/compose.yaml", "name: My_${A}\n" WEB}}, "A=Q", "my_q /w: web=b"},
    {{{"/w/compose.yaml", "name: a\n" WEB}}, "COMPOSE_PROJECT_NAME=e", "e /w: web=b"},
    {{{"/w/compose.yaml", "name: a\n" WEB}}, "COMPOSE_PROJECT_NAME=e -p p", "p /w: web=b"},
    {{{"/w/compose.yaml", WEB}},
     "COMPOSE_PROJECT_NAME=E",
     "!invalid project name \"E\": must consist only of lowercase alphanumeric characters, hyphens, and underscores as "
     "well as start with a letter or number"},
    {{{"/w/compose.yaml", "name: \"${N:-}\"\n" WEB}}, "", "!project name must not be empty"},
    {{{"/compose.yaml", WEB}}, "", "!project name must not be empty"},
    {{{"/w/compose.yaml", "services: {web: {image: \"$COMPOSE_PROJECT_NAME\"}}"}}, "", "w /w: web=w"},
    /* faults of files */
    {{{"/w/compose.yaml", "- a"}}, "", "!yaml: unmarshal errors:\n  line 1: cannot unmarshal !!seq into cli.named"},
    {{{"/w/compose.yaml", "- a"}}, "-p x", "!top-level object must be a mapping"},
    {{{"/w/compose.yaml", "a: b: c"}},
     "-p x",
     "!failed to parse /w/compose.yaml: yaml: mapping values are not allowed in this context"},
    {{{"/w/compose.yaml", "services: {}\nservices: {}"}},
     "",
     "!yaml: unmarshal errors:\n  line 2: mapping key \"services\" already defined at line 1"},
    {{{"/w/compose.yaml", "services: {web: {image: b, image: c}}"}},
     "",
     "!failed to parse /w/compose.yaml: line 1: mapping key \"image\" already defined at line 1"},
    {{{"/w/compose.yaml", "services: {web: {1: b}}"}}, "", "!non-string key in services.web: 1"},
    {{{"/w/compose.yaml", "services: {web: {image: \"${N?gone}\"}}"}},
     "",
     "!error while interpolating services.web.image: required variable N is missing a value: gone"},
    {{{"/w/compose.yaml", "version: '3'\n" WEB}},
     "",
     "w /w: web=b|/w/compose.yaml: the attribute `version` is obsolete, it will be ignored, please remove it to avoid "
     "potential confusion"},
    {{{"/w/compose.yaml", WEB "---\nservices: {two: {image: c}}\n"}}, "", "w /w: two=c web=b"},
    /* extends */
    {{{"/w/compose.yaml", "services: {b: {extends: a}, a: {image: i}}"}}, "", "w /w: a=i b=i"},
    {{{"/w/compose.yaml", "services: {a: {image: i, extends: a}}"}},
     "",
     "!Circular reference:\n  a in /w/compose.yaml\n  extends a in /w/compose.yaml"},
    {{{"/w/compose.yaml", "services: {a: {extends: b}, b: {extends: c}, c: {extends: a}}"}},
     "",
     "!Circular reference:\n  a in /w/compose.yaml\n  extends b in /w/compose.yaml\n  extends c in /w/compose.yaml\n"
     "  extends a in /w/compose.yaml"},
    {{{"/w/compose.yaml", "services: {a: {extends: {file: o.yml, service: b}}}", "/w/o.yml",
       "services: {b: {extends: {file: compose.yaml, service: a}}}"}},
     "",
     "!Circular reference:\n  a in o.yml\n  extends b in compose.yaml\n  extends a in o.yml"},
    {{{"/w/compose.yaml", "services: {a: {extends: no}}"}},
     "",
     "!cannot extend service \"a\" in /w/compose.yaml: service \"no\" not found"},
    {{{"/w/compose.yaml", "services: {a: {extends: {file: o.yml, service: no}}}", "/w/o.yml", WEB}},
     "",
     "!cannot extend service \"a\" in /w/compose.yaml: service \"no\" not found in o.yml"},
    {{{"/w/compose.yaml", "services: {a: {extends: {file: o.yml, service: no}}}", "/w/o.yml", "x-a: 1"}},
     "",
     "!cannot extend service \"a\" in /w/o.yml: no services section"},
    {{{"/w/compose.yaml", "services: {a: {extends: {file: o.yml, service: no}}}"}},
     "",
     "!open /w/o.yml: no such file or directory"},
    {{{"/w/compose.yaml", "services: {a: {extends: {file: s/o.yml, service: b}}}", "/w/s/o.yml",
       "services: {b: {extends: {file: ../t/p.yml, service: c}}}", "/w/t/p.yml", "services: {c: {image: \"i$A\"}}"}},
     "A=1",
     "w /w: a=i1"},
    {{{"/w/compose.yaml", "services: {a: {extends: {file: o.yml}}}"}}, "", "!extends.a.service is required"},
    {{{"/w/compose.yaml", "services: {a: 5}"}}, "", "!services.a must be a mapping"},
    /* include */
    {{{"/w/compose.yaml", "include: [s/o.yml]\n" WEB, "/w/s/o.yml", "services: {x: {image: \"$A$B\"}}", "/w/s/.env",
       "A=1\nB=2"}},
     "A=9",
     "w /w: web=b x=92"},
    {{{"/w/compose.yaml", "include: [{path: [s/o.yml, t.yml], env_file: e}]\n" WEB, "/w/s/o.yml",
       "services: {x: {image: i}}", "/w/t.yml", "services: {x: {image: \"$A\"}}", "/w/e", "A=1"}},
     "",
     "w /w: web=b x=1"},
    {{{"/w/compose.yaml", "include: [o.yml]\n" WEB, "/w/o.yml", "services: {web: {image: c}}"}},
     "",
     "!services.web conflicts with imported resource"},
    {{{"/w/compose.yaml", "include: [o.yml, p.yml]\n" WEB, "/w/o.yml", "services: {x: {image: c}}", "/w/p.yml",
       "services: {x: {image: c}}"}},
     "",
     "w /w: web=b x=c"},
    {{{"/w/compose.yaml", "include: [s/o.yml]", "/w/s/o.yml", "include: [../compose.yaml]"}},
     "",
     "!include cycle detected:\n/w/compose.yaml\n include /w/s/o.yml\n include /w/compose.yaml"},
    {{{"/w/compose.yaml", "include: [o.yml]"}}, "", "!open /w/o.yml: no such file or directory"},
    {{{"/w/compose.yaml", "include: [{path: o.yml, env_file: e}]", "/w/o.yml", WEB}},
     "",
     "!stat /w/e: no such file or directory"},
    {{{"/w/compose.yaml", "include: [{path: o.yml, env_file: e}]", "/w/o.yml", WEB, "/w/e", NULL}},
     "",
     "!/w/e is not a file"},
    {{{"/w/compose.yaml", "include: o.yml"}}, "", "!`include` must be a list, got o.yml"},
};

static void take_words(struct compose_input *in, struct strlist *environment, const struct strlist *words)
{
    for (size_t i = 0; i < words->len; i++) {
        const char *word = words->items[i];

        if (!strcmp(word, "-f"))
            strlist_add(&in->files, words->items[++i]);
        else if (!strcmp(word, "-e"))
            strlist_add(&in->env_files, words->items[++i]);
        else if (!strcmp(word, "-p"))
            in->project_name = words->items[++i];
        else if (!strcmp(word, "-d"))
            in->project_dir = words->items[++i];
        else if (*word)
            strlist_add(environment, word);
    }
}

static void tell(const struct compose_project *p, struct buf *out)
{
    struct cnode *services = cnode_get(p->model, "services");

    buf_addf(out, "%s %s:", p->name, p->working_dir);
    cnode_sort(services);
    for (size_t i = 0; i < services->len; i++)
        buf_addf(out, " %s=%s", services->keys[i], cnode_str(services->items[i], "image"));
}

static char *load(const struct disk *disk, const char *command_line)
{
    cleanup_strlist struct strlist words = STRLIST_INIT, environment = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    struct compose_project p;
    struct compose_input in = {.cwd = "/w/My.App",
                               .home = "/h",
                               .environ = &environment,
                               .stdin_text = "services: {web: {image: in}}",
                               .read = read_file,
                               .exists = exists,
                               .arg = (void *)(uintptr_t)disk};
    struct buf got = BUF_INIT(LIMIT_CONFIG_FILE);

    strlist_split(&words, command_line, ' ');
    take_words(&in, &environment, &words);
    if (compose_load(&in, &p, &err) < 0)
        buf_addf(&got, "!%s", err.msg);
    else
        tell(&p, &got);
    if (p.warnings.len)
        buf_addf(&got, "|%s", p.warnings.items[0]);
    compose_project_clear(&p);
    strlist_clear(&in.files);
    strlist_clear(&in.env_files);
    return buf_detach(&got);
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cleanup_free char *got = load(&table[i].disk, table[i].words);

        if (strcmp(got, table[i].want) != 0)
            fail_msg("row %zu: %s\n%s\n  want %s\n  got  %s", i, table[i].words, table[i].disk.files[1], table[i].want,
                     got);
    }
}

/* Files that each include the next one five times: no circle, but many reads. */
static char *load_tower(int height)
{
    char names[6][32], texts[6][128];
    struct disk disk = {{"/w/compose.yaml", "include: [f0.yml]\n" WEB}};

    for (int i = 0; i < height; i++) {
        snprintf(names[i], sizeof(names[i]), "/w/f%d.yml", i);
        snprintf(texts[i], sizeof(texts[i]), "include: [f%d.yml, f%d.yml, f%d.yml, f%d.yml, f%d.yml]\n", i + 1, i + 1,
                 i + 1, i + 1, i + 1);
        if (i == height - 1)
            snprintf(texts[i], sizeof(texts[i]), "services: {x: {image: y}}");
        disk.files[2 + 2 * i] = names[i];
        disk.files[3 + 2 * i] = texts[i];
    }
    return load(&disk, "");
}

static void test_files(void **state)
{
    cleanup_free char *low = load_tower(4), *high = load_tower(6);

    (void)state;
    assert_string_equal(low, "w /w: web=b x=y");
    assert_string_equal(high, "!/w/f5.yml: more than 1000 files are read for one project");
}

/* Services that extend one another in a row, the last one first. */
static void test_chain(void **state)
{
    struct buf text = BUF_INIT(LIMIT_CONFIG_FILE);
    struct disk disk = {{"/w/compose.yaml", NULL}};
    cleanup_free char *got = NULL;

    (void)state;
    buf_adds(&text, "services:\n");
    for (int i = 5000; i > 0; i--)
        buf_addf(&text, "  s%d: {extends: s%d}\n", i, i - 1);
    buf_adds(&text, "  s0: {image: b}\n");
    disk.files[1] = text.data;
    got = load(&disk, "");
    assert_string_equal(got, "!services.s4900: more than 100 services extend one another");
    buf_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_chain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
