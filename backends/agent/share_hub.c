#include "backends/agent/share_hub.h"

#include "backends/agent/link.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "translate/wire/share.h"

#include <stdlib.h>
#include <string.h>

#define JUMP 1000000000u /* between the generations of two savers: more than anybody saves */

enum state {
    WAITING,   /* for its turn to be let in */
    RESTORING, /* it was told ALONE */
    JOINING,   /* gets all there is */
    READY,
};

struct group;

struct share_guest {
    struct share_guest *next;
    struct group *group;
    struct link *link;
    uint32_t id;
    enum state state;
    bool ro, again;
    bool resync;               /* WAITING once more: it was there before who writes */
    bool active;               /* tells its changes */
    bool held;                 /* flushed for who joins: what it says next waits */
    bool in_file;              /* between ENTRY and END of a file */
    bool bringing;             /* between BEGIN and COMPLETE */
    bool leaving, left, saves; /* saves: LEFT told it to, and it has not said SAVED */
    bool dead;
    uint64_t newest;
    uint64_t changes; /* passed on */
};

/* Who is to be flushed yet. */
struct flush {
    struct flush *next;
    uint64_t id;
    struct share_guest *asker; /* NULL: it is for who joins, or the asker is gone */
    uint64_t asked;            /* the asker's own number */
    struct share_guest **owing;
    size_t n;
    bool joins;
};

struct group {
    struct group *next;
    char *key;
    struct share_guest *guests; /* in the order that they came in */
    struct flush *flushes;
    struct share_guest *joiner, *source; /* of the join that goes on; both NULL: none does */
    struct share_guest *saver;
    bool has_saved;      /* somebody was the saver, and did not end by SAVED */
    uint64_t floor, top; /* top: highest generation that anybody said */
    uint64_t need;       /* what the last one saved when it went */
    uint64_t flush_id;
    uint32_t last_id;
    bool settling, again;
};

struct share_hub {
    struct group *groups;
};

/* ---- saying ---- */

static void say(struct share_guest *g, const struct share *s)
{
    if (g->dead || g->left)
        return;
    share_put(&g->link->queue, s);
    link_send(g->link);
}

static bool listens(const struct share_guest *g)
{
    return g->state == READY && !g->dead && !g->left;
}

static bool writes(const struct share_guest *g)
{
    return listens(g) && !g->ro && !g->leaving;
}

static void say_others(const struct share_guest *from, const struct share *s)
{
    for (struct share_guest *g = from->group->guests; g; g = g->next)
        if (g != from && listens(g))
            say(g, s);
}

/* ---- flushes ---- */

static void drop_flush(struct group *gr, struct flush *f)
{
    struct flush **p = &gr->flushes;

    while (*p != f)
        p = &(*p)->next;
    *p = f->next;
    free(f->owing);
    free(f);
}

static struct flush *add_flush(struct group *gr, struct share_guest *asker, uint64_t asked, bool joins)
{
    struct flush *f = xcalloc(1, sizeof(*f));
    size_t n = 0;

    for (struct share_guest *g = gr->guests; g; g = g->next)
        n++;
    *f = (struct flush){.next = gr->flushes, .id = ++gr->flush_id, .asker = asker, .asked = asked, .joins = joins};
    f->owing = xcalloc(n + 1, sizeof(struct share_guest *));
    gr->flushes = f;
    for (struct share_guest *g = gr->guests; g; g = g->next)
        if (g != asker && listens(g)) {
            f->owing[f->n++] = g;
            say(g, &(struct share){.op = SHARE_FLUSH, .number = f->id});
        }
    return f;
}

static void flushed(struct group *gr, struct share_guest *g, uint64_t id)
{
    for (struct flush *f = gr->flushes; f; f = f->next) {
        if (id && f->id != id)
            continue;
        for (size_t i = 0; i < f->n; i++)
            if (f->owing[i] == g) {
                f->owing[i] = f->owing[--f->n];
                g->held |= f->joins;
                break;
            }
    }
}

static void end_barriers(struct group *gr)
{
    for (struct flush *f = gr->flushes, *next; f; f = next) {
        next = f->next;
        if (f->n || f->joins)
            continue;
        if (f->asker)
            say(f->asker, &(struct share){.op = SHARE_DONE, .number = f->asked});
        drop_flush(gr, f);
    }
}

static struct flush *join_flush(const struct group *gr)
{
    struct flush *f = gr->flushes;

    while (f && !f->joins)
        f = f->next;
    return f;
}

/* ---- who saves ---- */

static void appoint(struct group *gr, struct share_guest *g)
{
    if (gr->has_saved)
        gr->floor = (gr->floor > gr->top ? gr->floor : gr->top) + JUMP;
    gr->saver = g;
    gr->has_saved = true;
    say(g, &(struct share){.op = SHARE_ROLE, .flags = SHARE_SAVE, .number = gr->floor});
}

static void choose_saver(struct group *gr)
{
    if (gr->saver && writes(gr->saver))
        return;
    for (struct share_guest *g = gr->guests; g; g = g->next)
        if (writes(g)) {
            appoint(gr, g);
            return;
        }
}

/* ---- joining ---- */

static struct share_guest *pick_source(const struct group *gr, const struct share_guest *joiner)
{
    struct share_guest *found = NULL;

    for (struct share_guest *g = gr->guests; g; g = g->next)
        if (g != joiner && listens(g) && (!found || (found->ro && !g->ro)))
            found = g;
    return found;
}

static void end_join(struct group *gr)
{
    struct flush *f = join_flush(gr);

    if (f)
        drop_flush(gr, f);
    if (gr->source)
        gr->source->bringing = false;
    gr->joiner = gr->source = NULL;
    for (struct share_guest *g = gr->guests; g; g = g->next)
        g->held = false;
}

static bool busy(const struct group *gr)
{
    for (const struct share_guest *g = gr->guests; g; g = g->next)
        if (!g->dead && (g->state == RESTORING || g->saves))
            return true;
    return false;
}

/* Lets the next one in, or goes on with who is being let in. */
static void go_on_joining(struct group *gr)
{
    struct share_guest *j = gr->joiner, *source;
    struct flush *f = join_flush(gr);

    if (j && gr->source && (gr->source->dead || (gr->source->left && !gr->source->bringing))) {
        /* half of it came, or nothing will: once more, from another */
        j->state = WAITING;
        end_join(gr);
        j = NULL;
    }
    if (j && j->dead && f) {
        end_join(gr);
        j = NULL;
    }
    if (j && f && !f->n) {
        drop_flush(gr, f);
        gr->source = pick_source(gr, j);
        if (!gr->source) {
            end_join(gr);
            j->state = WAITING;
            j = NULL;
        } else {
            gr->source->active = true;
            gr->source->held = false;
            say(gr->source, &(struct share){.op = SHARE_SNAPSHOT});
        }
    }
    if (j || busy(gr))
        return;
    for (j = gr->guests; j && (j->dead || j->state != WAITING); j = j->next)
        ;
    if (!j)
        return;
    source = pick_source(gr, j);
    if (!source || (source->ro && !j->ro && !j->again && j->newest)) {
        j->state = RESTORING;
        say(j, &(struct share){.op = SHARE_ALONE, .number = gr->need});
        return;
    }
    gr->joiner = j;
    j->state = JOINING;
    add_flush(gr, NULL, 0, /* joins= */ true);
    gr->again = true;
}

/* Who is alone need not tell what changes. */
static void quiet_down(struct group *gr)
{
    struct share_guest *only = NULL;
    size_t n = 0;

    for (struct share_guest *g = gr->guests; g; g = g->next)
        if (!g->dead && !g->left) {
            only = g;
            n++;
        }
    if (n != 1 || only->state != READY || !only->active)
        return;
    only->active = false;
    say(only, &(struct share){.op = SHARE_OFF});
}

/* Senders wait while somebody is behind, and while one is let in. */
static void hold_back(struct group *gr)
{
    bool behind = false;

    for (const struct share_guest *g = gr->guests; g; g = g->next)
        behind |= !g->dead && !g->left && link_pending(g->link) >= LINK_HIGH;
    for (struct share_guest *g = gr->guests; g; g = g->next)
        if (!g->dead)
            link_pause(g->link, behind || g->held);
}

static void settle(struct group *gr)
{
    gr->again = true;
    if (gr->settling)
        return;
    gr->settling = true;
    while (gr->again) {
        gr->again = false;
        choose_saver(gr);
        end_barriers(gr);
        go_on_joining(gr);
        quiet_down(gr);
        hold_back(gr);
    }
    gr->settling = false;
}

/* ---- frames ---- */

static int take_change(struct share_guest *g, struct share *s, struct err *err)
{
    struct group *gr = g->group;
    bool file = s->op == SHARE_ENTRY && s->kind == SHARE_FILE, whole;

    if (g->state != READY || g->left || (g->ro && !g->bringing))
        return err_set(err, 125, "a change of a volume by who may not");
    if (g->in_file != (s->op == SHARE_DATA || s->op == SHARE_END))
        return err_set(err, 125, "a change of a volume in the midst of another");
    g->in_file = file || s->op == SHARE_DATA;
    s->from = g->id;
    if (g->bringing) {
        if (!gr->joiner->dead)
            say(gr->joiner, s);
        return 0;
    }
    say_others(g, s);
    whole =
        s->op == SHARE_GONE || (s->op == SHARE_ENTRY && !file) || (s->op == SHARE_END && !(s->flags & SHARE_CANCEL));
    if (whole)
        say(g, &(struct share){.op = SHARE_ECHO, .number = ++g->changes});
    return 0;
}

static int take_begin(struct share_guest *g, struct share *s, struct err *err)
{
    if (g->group->source != g || g->bringing || g->in_file)
        return err_set(err, 125, "a volume's files for nobody");
    g->bringing = true;
    s->from = g->id;
    if (!g->group->joiner->dead)
        say(g->group->joiner, s);
    return 0;
}

static int take_complete(struct share_guest *g, struct share *s, struct err *err)
{
    struct group *gr = g->group;

    if (!g->bringing || g->in_file)
        return err_set(err, 125, "the end of a volume's files for nobody");
    s->from = g->id;
    if (!gr->joiner->dead) {
        say(gr->joiner, s);
        gr->joiner->state = READY;
        gr->joiner->active = true;
        gr->joiner->resync = false;
    }
    end_join(gr);
    return 0;
}

static int take_ready(struct share_guest *g, struct err *err)
{
    if (g->state != RESTORING)
        return err_set(err, 125, "READY out of place");
    g->state = READY;
    for (struct share_guest *o = g->ro ? NULL : g->group->guests; o; o = o->next)
        if (o != g && o->ro && listens(o)) {
            o->state = WAITING;
            o->resync = true;
        }
    choose_saver(g->group);
    if (g->group->saver != g) /* it waits for the word */
        say(g, &(struct share){.op = SHARE_ROLE});
    return 0;
}

static int take_leave(struct share_guest *g)
{
    struct group *gr = g->group;
    bool saves;

    g->leaving = true;
    choose_saver(gr);
    saves = !g->ro && g->state == READY && (!gr->saver || gr->saver == g || !writes(gr->saver));
    if (saves && gr->saver != g)
        appoint(gr, g);
    say(g, &(struct share){.op = SHARE_LEFT, .flags = saves ? SHARE_SAVE : 0});
    g->saves = saves;
    g->left = true;
    flushed(gr, g, 0);
    return 0;
}

static int take_saved(struct share_guest *g, const struct share *s)
{
    struct group *gr = g->group;

    if (s->number > gr->top)
        gr->top = s->number;
    if (!g->saves)
        return 0;
    g->saves = false;
    gr->need = s->number > gr->need ? s->number : gr->need;
    if (gr->saver == g)
        gr->has_saved = false;
    return 0;
}

static int take(struct share_guest *g, struct share *s, struct err *err)
{
    switch (s->op) {
    case SHARE_ENTRY:
    case SHARE_DATA:
    case SHARE_END:
    case SHARE_GONE:
        return take_change(g, s, err);
    case SHARE_BEGIN:
        return take_begin(g, s, err);
    case SHARE_COMPLETE:
        return take_complete(g, s, err);
    case SHARE_READY:
        return take_ready(g, err);
    case SHARE_FLUSHED:
        flushed(g->group, g, s->number);
        return 0;
    case SHARE_BARRIER:
        add_flush(g->group, g, s->number, /* joins= */ false);
        return 0;
    case SHARE_LEAVE:
        return take_leave(g);
    case SHARE_SAVED:
        return take_saved(g, s);
    default:
        return err_set(err, 125, "a SHARE frame that only the hub says");
    }
}

int share_guest_frame(struct share_guest *g, const struct wire_frame *f, struct err *err)
{
    struct share s;
    int rc;

    if (g->dead)
        return 0;
    if (share_get(f, &s, err) < 0)
        return -1;
    rc = take(g, &s, err);
    share_clear(&s);
    settle(g->group);
    return rc;
}

void share_guest_drained(struct share_guest *g)
{
    if (!g->dead)
        settle(g->group);
}

/* ---- coming and going ---- */

static struct group *group_of(struct share_hub *h, const char *key)
{
    struct group *gr = h->groups;

    while (gr && strcmp(gr->key, key) != 0)
        gr = gr->next;
    if (gr)
        return gr;
    gr = xcalloc(1, sizeof(*gr));
    *gr = (struct group){.next = h->groups, .key = xstrdup(key)};
    h->groups = gr;
    return gr;
}

struct share_guest *share_guest_join(struct share_hub *h, struct link *link, const struct share *join)
{
    struct group *gr = group_of(h, join->path);
    struct share_guest *g = xcalloc(1, sizeof(*g)), **last = &gr->guests;

    *g = (struct share_guest){.group = gr,
                              .link = link,
                              .id = ++gr->last_id,
                              .ro = join->flags & SHARE_RO,
                              .again = join->flags & SHARE_AGAIN,
                              .newest = join->number};
    if (join->number > gr->top && join->number < UINT64_MAX - JUMP)
        gr->top = join->number;
    while (*last)
        last = &(*last)->next;
    *last = g;
    settle(gr);
    return g;
}

void share_guest_gone(struct share_guest *g)
{
    struct group *gr = g ? g->group : NULL;

    if (!g || g->dead)
        return;
    g->dead = true;
    if (g->in_file && !g->bringing)
        say_others(g, &(struct share){.op = SHARE_DROP, .from = g->id});
    flushed(gr, g, 0);
    for (struct flush *f = gr->flushes; f; f = f->next)
        if (f->asker == g)
            f->asker = NULL;
    if (gr->joiner == g && !gr->source)
        end_join(gr);
    settle(gr);
}

void share_hub_sweep(struct share_hub *h)
{
    for (struct group *gr = h->groups; gr; gr = gr->next)
        for (struct share_guest **p = &gr->guests; *p;) {
            struct share_guest *g = *p;

            if (!g->dead || gr->joiner == g) { /* what is meant for it is still under way */
                p = &g->next;
                continue;
            }
            *p = g->next;
            if (gr->saver == g)
                gr->saver = NULL;
            free(g);
        }
}

struct share_hub *share_hub_new(void)
{
    return xcalloc(1, sizeof(struct share_hub));
}

void share_hub_free(struct share_hub *h)
{
    while (h && h->groups) {
        struct group *gr = h->groups;

        h->groups = gr->next;
        while (gr->flushes)
            drop_flush(gr, gr->flushes);
        while (gr->guests) {
            struct share_guest *g = gr->guests;

            gr->guests = g->next;
            free(g);
        }
        free(gr->key);
        free(gr);
    }
    free(h);
}
