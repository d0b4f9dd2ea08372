/* link: atp_tsync atp_base */
/* The three-way table in full: every triple of (ancestor, here, peer) over absent, two files, two links and a
 * directory. */
#include "compat/base/buf.h"
#include "translate/sync/diff.h"
#include "translate/sync/merge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NOTHING, FILE_X, FILE_Y, FILE_Z, LINK_X, LINK_Y, DIR_X, STATES, SPECIAL = STATES };

static const struct manifest_entry *state_of(int s)
{
    static struct manifest_entry e[STATES];

    for (int i = 0; i < STATES; i++)
        e[i] = (struct manifest_entry){.path = "p", .type = MANIFEST_FILE, .mode = 0644, .size = 1};
    e[FILE_X].digest[0] = 1;
    e[FILE_Y].digest[0] = 2;
    e[FILE_Z].digest[0] = 3;
    e[LINK_X].type = e[LINK_Y].type = MANIFEST_SYMLINK;
    e[LINK_X].link = "x";
    e[LINK_Y].link = "y";
    e[DIR_X].type = MANIFEST_DIR;
    e[LINK_X].size = e[LINK_Y].size = e[DIR_X].size = 0;
    return s == NOTHING || s == SPECIAL ? NULL : &e[s];
}

static bool is_file(int s)
{
    return s >= FILE_X && s <= FILE_Z;
}

/* The rules, said once more and otherwise: by states, not by entries. */
static enum merge_verdict rule(int a, int l, int i, bool contested, bool replace)
{
    if (contested)
        a = NOTHING;
    if (l == i)
        return i == NOTHING ? MERGE_SAME : MERGE_META;
    if (replace)
        return MERGE_TAKE;
    if (l == a)
        return i == NOTHING && a == NOTHING ? MERGE_SAME : MERGE_TAKE;
    if (i == a) {
        bool same_type = (is_file(l) && is_file(i)) || (l >= LINK_X && l <= LINK_Y && i >= LINK_X && i <= LINK_Y);

        return same_type ? MERGE_META : MERGE_KEEP;
    }
    if (i == NOTHING)
        return MERGE_KEEP;
    return l == NOTHING ? MERGE_TAKE : MERGE_CONFLICT;
}

static void whole_table(void **state)
{
    int n = 0;

    (void)state;
    for (int a = 0; a < STATES; a++)
        for (int l = 0; l <= SPECIAL; l++)
            for (int i = 0; i < STATES; i++)
                for (int flags = 0; flags < 4; flags++) {
                    struct merge_input in = {
                        .ancestor = state_of(a),
                        .local = state_of(l),
                        .incoming = state_of(i),
                        .local_special = l == SPECIAL,
                        .contested = flags & 1,
                        .replace = flags & 2,
                    };
                    enum merge_verdict got = merge_decide(&in), want = rule(a, l, i, flags & 1, flags & 2);

                    if (got != want)
                        fail_msg("ancestor %d, here %d, peer %d, flags %d: %d, not %d", a, l, i, flags, got, want);
                    /* Whatever else: what only we have is never taken away, and what differs is never called the same.
                     */
                    if (!(flags & 2) && got == MERGE_TAKE && l != NOTHING)
                        assert_int_equal(l, a);
                    n++;
                }
    assert_int_equal(n, STATES * (STATES + 1) * STATES * 4);
}

/* Mode, owner and time: who changed it wins; if both did, ours stays and the newer time wins. */
static void meta_fields(void **state)
{
    struct manifest_entry a = *state_of(FILE_X), l = a, i = a;
    struct merge_input in = {.ancestor = &a, .local = &l, .incoming = &i};
    struct merge_meta wanted, m;

    (void)state;
    for (int k = 0; k < 81; k++) {
        int mode = k % 3, owner = k / 3 % 3, time_l = k / 9 % 3, time_i = k / 27;

        a.mode = l.mode = i.mode = 0644;
        a.uid = l.uid = i.uid = 0;
        a.mtime = 100;
        l.mtime = 100 + time_l * 10;
        i.mtime = 100 + time_i * 10;
        if (mode)
            i.mode = 0755;
        if (mode == 2)
            l.mode = 0600;
        if (owner)
            i.uid = 7;
        if (owner == 2)
            l.uid = 8;
        wanted = (struct merge_meta){.mode = i.mode, .uid = i.uid, .gid = i.gid, .mtime = i.mtime};
        m = merge_meta(&in, &wanted);
        assert_int_equal(m.mode, mode == 0 ? 0644 : mode == 1 ? 0755 : 0600);
        assert_int_equal(m.uid, owner == 0 ? 0 : owner == 1 ? 7 : 8);
        assert_int_equal(m.mtime, l.mtime > i.mtime ? l.mtime : i.mtime);
    }
    /* Without an ancestor ours stays. */
    in.ancestor = NULL;
    m = merge_meta(&in, &wanted);
    assert_int_equal(m.mode, l.mode);
    assert_int_equal(m.mtime, l.mtime);
    in.replace = true;
    m = merge_meta(&in, &wanted);
    assert_int_equal(m.mode, i.mode);
}

static void bulk(void **state)
{
    (void)state;
    assert_false(merge_bulk_deletion(1, 1, 0));
    assert_true(merge_bulk_deletion(2, 2, 0));
    assert_false(merge_bulk_deletion(2, 2, 1));
    assert_false(merge_bulk_deletion(150, 100, 50));
    assert_true(merge_bulk_deletion(150, 101, 49));
    assert_false(merge_bulk_deletion(1000, 500, 500));
    assert_true(merge_bulk_deletion(1000, 501, 499));
    assert_false(merge_bulk_deletion(0, 0, 0));
}

static void add(struct manifest *m, const char *path, int s, const char *leader, uint32_t mode)
{
    struct manifest_entry e = *state_of(s);

    e.path = path;
    e.mode = mode;
    assert_non_null(manifest_add(m, &e, leader));
}

/* The difference of two manifests, printed: the plan that people see. */
static void differences(void **state)
{
    struct manifest base = MANIFEST_INIT, now = MANIFEST_INIT;
    struct sync_diff d = SYNC_DIFF_INIT;
    struct buf out = BUF_INIT(4096);

    (void)state;
    add(&base, "", DIR_X, NULL, 0755);
    add(&base, "a", FILE_X, NULL, 0644);
    add(&base, "b", DIR_X, NULL, 0755);
    add(&base, "b/c", FILE_Y, NULL, 0644);
    add(&base, "b-c", FILE_Y, NULL, 0644);
    add(&base, "d", FILE_Z, NULL, 0644);
    add(&base, "e", FILE_Z, "d", 0644);
    add(&base, "f", FILE_Z, "d", 0644);
    add(&now, "", DIR_X, NULL, 0755);
    add(&now, "a", FILE_X, NULL, 0755);
    add(&now, "b", FILE_X, NULL, 0644);
    add(&now, "b-c", LINK_X, NULL, 0777);
    add(&now, "d", FILE_Y, NULL, 0644);
    add(&now, "e", FILE_Y, "d", 0644);
    add(&now, "f", FILE_Z, NULL, 0644);
    add(&now, "new\n'line", DIR_X, NULL, 0755);
    sync_diff_make(&d, &base, &now);
    sync_diff_print(&d, &out);
    assert_string_equal(out.data, "meta a\n"
                                  "file b 1\n"
                                  "delete b/c\n"
                                  "symlink b-c -> x\n"
                                  "file d 1\n"
                                  "link e -> d\n"
                                  "file f 1\n"
                                  "dir $'new\\n\\'line'\n");
    sync_diff_make(&d, &now, &now);
    assert_int_equal(d.len, 0);
    sync_diff_make(&d, NULL, &now);
    assert_int_equal(d.len, now.len);
    sync_diff_clear(&d);
    buf_clear(&out);
    manifest_clear(&base);
    manifest_clear(&now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_table), cmocka_unit_test(meta_fields),
                                       cmocka_unit_test(bulk), cmocka_unit_test(differences)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
