/* link: atp_compose */
/* develop.watch: which rule takes which path, and what it is in the container. */
#include "translate/compose/watch.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/compose/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct cnode *map_of(const char *key, const char *value)
{
    struct cnode *m = cnode_new(CNODE_MAP);

    cnode_set(m, key, cnode_string(value));
    return m;
}

/* A service with one rule, which is owned by the service. */
static struct cnode *service_of(const char *action, const char *path, const char *target, struct cnode **ret_rule)
{
    struct cnode *service = cnode_new(CNODE_MAP), *develop = cnode_new(CNODE_MAP), *list = cnode_new(CNODE_LIST);

    *ret_rule = map_of("action", action);
    cnode_set(*ret_rule, "path", cnode_string(path));
    if (target)
        cnode_set(*ret_rule, "target", cnode_string(target));
    cnode_add(list, *ret_rule);
    cnode_set(develop, "watch", list);
    cnode_set(service, "develop", develop);
    return service;
}

static void add_pattern(struct cnode *rule, const char *key, const char *pattern)
{
    if (!cnode_get(rule, key))
        cnode_set(rule, key, cnode_new(CNODE_LIST));
    cnode_add(cnode_get(rule, key), cnode_string(pattern));
}

/* The files that there are: pairs of path and text. */
static char *read_file(void *arg, const char *path, struct err *err)
{
    const char *const *files = arg;

    (void)err;
    for (; files && *files; files += 2)
        if (!strcmp(files[0], path))
            return xstrdup(files[1]);
    return NULL;
}

static struct watch_rules read_rules(struct cnode *service, const char *const *files)
{
    struct watch_rules rules = WATCH_RULES_INIT;
    cleanup_err struct err err = ERR_INIT;

    if (watch_rules_read("web", service, read_file, (void *)(uintptr_t)files, &rules, &err) < 0)
        fail_msg("%s", err.msg);
    return rules;
}

/* wanted NULL: the rule does not take it. */
static void takes(const struct watch_rules *rules, const char *path, const char *wanted)
{
    cleanup_free char *target = NULL;
    bool got = watch_rule_takes(&rules->items[0], path, &target);

    if (got != (wanted != NULL) || (wanted && *wanted && strcmp(target ? target : "", wanted) != 0))
        fail_msg("%s: %s", path, got ? target ? target : "taken" : "not taken");
}

static void test_targets(void **state)
{
    struct cnode *rule, *service = service_of("sync", "/src", "/app/", &rule);
    struct watch_rules rules = read_rules(service, NULL);

    (void)state;
    assert_int_equal(rules.len, 1);
    assert_true(watch_rule_syncs(&rules.items[0]));
    takes(&rules, "/src", "/app");
    takes(&rules, "/src/a", "/app/a");
    takes(&rules, "/src/a/b c", "/app/a/b c");
    takes(&rules, "/srcs/a", NULL);
    takes(&rules, "/sr", NULL);
    takes(&rules, "/other", NULL);
    watch_rules_clear(&rules);
    cnode_free(service);
}

static void test_patterns(void **state)
{
    struct cnode *rule, *service = service_of("sync", "/s[1]*", "/app", &rule);
    struct watch_rules rules;

    (void)state;
    add_pattern(rule, "ignore", "node_modules/");
    add_pattern(rule, "ignore", "*.tmp");
    add_pattern(rule, "ignore", " deep/*/x ");
    add_pattern(rule, "ignore", "!keep.tmp");
    add_pattern(rule, "ignore", "!.git");
    rules = read_rules(service, NULL);
    takes(&rules, "/s[1]*/a", "/app/a"); /* a folder's name is no pattern */
    takes(&rules, "/s1x/a", NULL);
    takes(&rules, "/s[1]*/a.tmp", NULL);
    takes(&rules, "/s[1]*/keep.tmp", "/app/keep.tmp");
    takes(&rules, "/s[1]*/below/a.tmp", "/app/below/a.tmp");
    takes(&rules, "/s[1]*/node_modules", NULL);
    takes(&rules, "/s[1]*/node_modules/left/pad.js", NULL);
    takes(&rules, "/s[1]*/deep/er/x", NULL);
    takes(&rules, "/s[1]*/deep/er/y", "/app/deep/er/y");
    takes(&rules, "/s[1]*/.git/HEAD", NULL); /* whatever the exceptions say */
    takes(&rules, "/s[1]*/sub/.git/index.lock", NULL);
    takes(&rules, "/s[1]*/.a.swp", NULL);
    takes(&rules, "/s[1]*/a~", NULL);
    takes(&rules, "/s[1]*/4913", NULL);
    takes(&rules, "/s[1]*/.gitignore", "/app/.gitignore");
    watch_rules_clear(&rules);
    cnode_free(service);
}

static void test_include(void **state)
{
    struct cnode *rule, *service = service_of("sync+restart", "/src", "/app", &rule);
    struct watch_rules rules;

    (void)state;
    add_pattern(rule, "include", "*.c");
    add_pattern(rule, "include", "lib");
    add_pattern(rule, "ignore", "no.c");
    rules = read_rules(service, NULL);
    takes(&rules, "/src/a.c", "/app/a.c");
    takes(&rules, "/src/no.c", NULL);
    takes(&rules, "/src/a.h", NULL);
    takes(&rules, "/src/lib/any/thing", "/app/lib/any/thing");
    watch_rules_clear(&rules);
    cnode_free(service);
}

static void test_build_ignore(void **state)
{
    static const char *const plain[] = {"/ctx/.dockerignore", "\xef\xbb\xbf# words\n/top\r\n*.log\n!kept.log\n", NULL};
    static const char *const own[] = {"/ctx/.dockerignore", "a\n", "/ctx/File.dockerignore", "b\n", NULL};
    struct cnode *rule, *service = service_of("rebuild", "/ctx", NULL, &rule);
    struct cnode *build = map_of("context", "/ctx");
    struct watch_rules rules;

    (void)state;
    cnode_set(service, "build", build);
    rules = read_rules(service, plain);
    assert_false(watch_rule_syncs(&rules.items[0]));
    takes(&rules, "/ctx/top", NULL);
    takes(&rules, "/ctx/sub/top", "");
    takes(&rules, "/ctx/a.log", NULL);
    takes(&rules, "/ctx/kept.log", "");
    watch_rules_clear(&rules);
    cnode_set(build, "dockerfile", cnode_string("File"));
    rules = read_rules(service, own);
    takes(&rules, "/ctx/a", "");
    takes(&rules, "/ctx/b", NULL);
    watch_rules_clear(&rules);
    cnode_free(service);
}

static void test_bound(void **state)
{
    struct cnode *rule, *service = service_of("sync", "/src/sub", "/app", &rule);
    struct cnode *mounts = cnode_new(CNODE_LIST), *mount = map_of("type", "bind");
    struct watch_rules rules;

    (void)state;
    cnode_set(mount, "source", cnode_string("/src"));
    cnode_add(mounts, mount);
    cnode_set(service, "volumes", mounts);
    rules = read_rules(service, NULL);
    assert_true(rules.items[0].bound);
    watch_rules_clear(&rules);
    cnode_set(mount, "source", cnode_string("/src/sub/below"));
    rules = read_rules(service, NULL);
    assert_false(rules.items[0].bound);
    watch_rules_clear(&rules);
    cnode_free(service);
}

static void refused(struct cnode *service, const char *text)
{
    struct watch_rules rules = WATCH_RULES_INIT;
    cleanup_err struct err err = ERR_INIT;

    assert_int_equal(watch_rules_read("web", service, read_file, NULL, &rules, &err), -1);
    assert_string_equal(err.msg, text);
    watch_rules_clear(&rules);
    cnode_free(service);
}

static void test_faults(void **state)
{
    struct cnode *rule, *service;

    (void)state;
    refused(service_of("rebuild", "/ctx", NULL, &rule),
            "can't watch service \"web\" with action rebuild without a build context");
    refused(service_of("dance", "/src", NULL, &rule), "services.web.develop.watch: unknown action \"dance\"");
    refused(service_of("sync", "", "/x", &rule), "watch rules MUST define a path");
    service = service_of("sync", "/src", "/x", &rule);
    add_pattern(rule, "ignore", "[");
    refused(service, "failed to parse pattern: syntax error in pattern: src/[");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),      cmocka_unit_test(test_patterns), cmocka_unit_test(test_include),
        cmocka_unit_test(test_build_ignore), cmocka_unit_test(test_bound),    cmocka_unit_test(test_faults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
