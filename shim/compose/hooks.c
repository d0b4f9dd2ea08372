/* Commands that a service wants to be run in its containers after their start and before their stop. */
#include "shim/compose/team.h"

#include <string.h>

static void add_str(const struct cnode *hook, const char *key, const char *option, struct strlist *words)
{
    const char *value = cnode_str(hook, key);

    if (!value || !*value)
        return;
    strlist_add(words, option);
    strlist_add(words, value);
}

static void add_environment(const struct cnode *hook, struct strlist *words)
{
    const struct cnode *env = cnode_get(hook, "environment");

    for (size_t i = 0; env && i < env->len; i++) {
        const char *value = cnode_text(env->items[i]);

        strlist_add(words, "-e");
        if (env->kind == CNODE_MAP && value)
            strlist_addf(words, "%s=%s", env->keys[i], value);
        else
            strlist_add(words, env->kind == CNODE_MAP ? env->keys[i] : value ? value : "");
    }
}

void team_hook_words(const struct cnode *hook, const char *id, struct strlist *ret)
{
    const struct cnode *command = cnode_get(hook, "command");

    add_str(hook, "user", "-u", ret);
    add_str(hook, "working_dir", "-w", ret);
    add_environment(hook, ret);
    if (cnode_true(hook, "privileged"))
        strlist_add(ret, "--privileged");
    strlist_add(ret, id);
    for (size_t c = 0; cnode_is(command, CNODE_LIST) && c < command->len; c++)
        strlist_add(ret, cnode_text(command->items[c]) ? cnode_text(command->items[c]) : "");
    if (cnode_text(command))
        strlist_add(ret, cnode_text(command));
}

void team_hooks(const struct service *s, const char *kind, const char *id, struct acts *acts, size_t act)
{
    const struct cnode *hooks = s ? cnode_get(s->node, kind) : NULL;

    for (size_t i = 0; cnode_is(hooks, CNODE_LIST) && i < hooks->len; i++) {
        struct step *step = acts_call(acts, act, NULL, NULL, "exec", NULL);

        team_hook_words(hooks->items[i], id, &step->words);
        if (!strcmp(kind, "pre_stop"))
            step->flags = STEP_FORGIVE; /* it is stopped all the same */
    }
}
