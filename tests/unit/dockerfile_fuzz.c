/* link: atp_dockerfile atp_base */
/* Files that somebody has damaged: each is read or refused, and none ends the program. The numbers are always the same.
 */
#include "tests/unit/dockerfile_rig.h"

#include "translate/dockerfile/ignore.h"

#define ROUNDS 6000

static uint32_t seed = 1;

static uint32_t next(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % below;
}

static const char *const files[] = {
    "# syntax=x\n# escape=\\\nARG V=1\nFROM --platform=$BUILDPLATFORM a:${V:-x} AS b\nARG V\nENV A=1 B=\"x y\" "
    "C=${V##*/}\n"
    "RUN --mount=type=cache,target=/c,id=q --mount=type=secret,id=s <<E cat <<-'F' && \\\n  # c\n\n echo\nx "
    "$V\nE\n\ty\n\tF\n"
    "ONBUILD COPY --from=b a /\nFROM b\nCOPY --from=0 --chown=1:2 --chmod=0755 a b/\nCOPY <<x <<\"y\" "
    "/z/\n$A\nx\nb\ny\n",
    "from a\nenv A b c\nlabel x=y \"z\"='w'\nexpose 80 90-95/udp\nvolume [\"/a\", \"/b\"]\nuser ${A/b/c}\nworkdir "
    "x/../y\n"
    "healthcheck --interval=1m --retries=3 cmd [\"x\"]\nstopsignal SIGRTMIN+3\nshell [\"/bin/bash\", \"-c\"]\ncmd "
    "x\nentrypoint y\n"
    "add --checksum=sha256:0 --keep-git-dir=true http://x/y z\nmaintainer me\nrun --network=none --security=sandbox "
    "x\n",
};

static const char *const pieces[] = {
    "\n",
    "\\\n",
    "<<",
    "<<E",
    "<<-",
    "\"",
    "'",
    "${",
    "}",
    "$",
    "[",
    "]",
    "--",
    "--from=",
    "=",
    ",",
    "/",
    "..",
    "#",
    "ONBUILD ",
    "FROM ",
    "RUN ",
    "COPY ",
    "AS ",
    "\xc3\xa9",
    "\xff",
    "\r",
    "\t",
    "*",
    "?",
    "\\",
    "`",
    "0",
    "99999999999",
    "--mount=",
    "type=",
    "${A:-",
    "${A#",
    "${A//",
    "E\n",
    "[\"",
    "{\"a\":1}",
    "# escape=`\n",
    "scratch",
};

/* Some pieces of the text go, come twice, or make place for others. */
static char *damaged(const char *text)
{
    struct buf out cleanup_buf = BUF_INIT(1u << 20);
    size_t len = strlen(text);
    uint32_t changes = 1 + next(6);

    buf_add(&out, text, len);
    for (uint32_t i = 0; i < changes; i++) {
        cleanup_free char *was = xstrdup(out.data);
        size_t at = next((uint32_t)out.len + 1), cut = next(4) ? 0 : next((uint32_t)(out.len - at) + 1) % 40;
        const char *piece =
            next(5) ? pieces[next(sizeof(pieces) / sizeof(*pieces))] : was + next((uint32_t)out.len + 1);

        buf_truncate(&out, at);
        buf_add(&out, piece, strnlen(piece, 60));
        buf_adds(&out, was + at + cut);
    }
    return buf_detach(&out);
}

/* The steps of a text of the rig: what stands before the configuration, names of stages left out. */
static char *steps_of(const char *text)
{
    const char *end = strstr(text, "config: {");
    struct buf out cleanup_buf = BUF_INIT(1u << 20);

    for (const char *p = text; p < end;) {
        const char *from = strncmp(p, " from=\"", 7) == 0 ? strchr(p + 7, '"') : NULL;

        if (from) {
            p = from + 1;
        } else if (strncmp(p, "  shown: ", 9) == 0 || strncmp(p, " stage=", 7) == 0) {
            p += strcspn(p, " \n") + 1;
            p += p[-1] == ' ' ? strcspn(p, " \n") : 0;
            p += *p == ' ' ? strcspn(p, "\n") : 0;
        } else {
            buf_addc(&out, *p++);
        }
    }
    return buf_detach(&out);
}

/* Rewritten, it asks for the same steps, unless it was refused before. */
static void rewrite(const char *text, const char *before)
{
    cleanup_strlist struct strlist lines = STRLIST_INIT, names = STRLIST_INIT, extra = STRLIST_INIT, out = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    struct df_build b;
    char *again;

    strlist_add(&lines, text);
    strlist_add(&extra, "LABEL q=r");
    if (df_build_open(&lines, NULL, &b, &err) < 0)
        return;
    if (df_build_rewrite(&b, b.len - 1, &names, &extra, &out, &err) == 0) {
        again = rig_build(&out, NULL);
        if (strncmp(before, "error: ", 7) != 0) {
            cleanup_free char *was = steps_of(before);
            cleanup_free char *is = steps_of(again);

            if (strcmp(was, is) != 0 || !strstr(again, "\"q\":\"r\""))
                fail_msg("%s\n--- became ---\n%s", text, again);
        }
        free(again);
    }
    df_build_clear(&b);
}

static void test_damaged(void **state)
{
    size_t good = 0;

    (void)state;
    for (size_t i = 0; i < ROUNDS; i++) {
        cleanup_free char *text = damaged(files[i % (sizeof(files) / sizeof(*files))]);
        cleanup_free char *got = rig_text(text, NULL);
        cleanup_free char *other = rig_text(text, "V=2\nA=\"");

        assert_non_null(other);
        good += strncmp(got, "error: ", 7) != 0;
        rewrite(text, got);
    }
    /* Not all of them may be refused, else nothing but the errors was tried. */
    assert_true(good > ROUNDS / 50);
}

static void test_damaged_ignore(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROUNDS; i++) {
        cleanup_free char *text = damaged("*\n!src/**/*.[ch]\n# c\n/a/b/\n**/x?y\nz\\*\n");
        struct df_ignore *ig = df_ignore_new(text, strlen(text), "x", NULL);
        static const char *const paths[] = {"src/a/b.c", "a", "a/b", "q/xzy", "\xff/\xc3", "z*"};

        for (size_t k = 0; ig && k < sizeof(paths) / sizeof(*paths); k++) {
            /* What is pruned is left out, with all that is below it. */
            if (df_ignore_prunes(ig, "src"))
                assert_true(df_ignore_match(ig, "src/a/b.c"));
            df_ignore_match(ig, paths[k]);
        }
        df_ignore_free(ig);
    }
}

static void test_damaged_config(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROUNDS; i++) {
        cleanup_free char *text = damaged(RIG_BASE);
        json_t *config = df_config_load(text, strlen(text), NULL);

        if (config)
            free(df_config_text(config));
        json_decref(config);
    }
}

/* Few lines that would come to very much: they are refused before they do. */
static void test_growth(void **state)
{
    static const char *const heads[] = {"ARG A=0123456789\n", "FROM a\nENV A=0123456789\n",
                                        "FROM a\nARG A=0123456789\n"};
    static const char *const lines[] = {"ARG A=$A$A B%d=$A\n", "ENV A=$A$A B%d=$A\n", "ARG A=$A$A B%d=$A\nRUN x\n"};
    static const char *const more[] = {"ARG C%d=$A\n", "ENV C%d=$A\n", "RUN %d\n"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct buf text cleanup_buf = BUF_INIT(4u << 20);
        cleanup_free char *got = NULL;

        buf_adds(&text, heads[i]);
        for (int n = 0; n < 18; n++)
            buf_addf(&text, lines[i], n);
        for (int n = 0; n < 500; n++)
            buf_addf(&text, more[i], n);
        buf_adds(&text, i ? "" : "FROM a\n");
        got = rig_text(text.data, NULL);
        assert_non_null(strstr(got, "too long once"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_damaged_ignore),
        cmocka_unit_test(test_damaged_config),
        cmocka_unit_test(test_growth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
