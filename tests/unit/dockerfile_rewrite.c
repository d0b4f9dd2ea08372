/* link: atp_dockerfile atp_base */
#include "tests/unit/dockerfile_rig.h"

/* The rewritten file's lines, joined with newlines, or "error: ...". lists are separated by newlines. */
static char *rewritten(const char *text, const char *target, const char *names, const char *extra)
{
    cleanup_strlist struct strlist lines = STRLIST_INIT, to = STRLIST_INIT, more = STRLIST_INIT, out = STRLIST_INIT;
    struct buf joined cleanup_buf = BUF_INIT(16u << 20);
    cleanup_err struct err err = ERR_INIT;
    struct df_build b;
    size_t at;

    if (names)
        strlist_split(&to, names, '\n');
    if (extra)
        strlist_split(&more, extra, '\n');
    if (df_lines(text, strlen(text), &lines, &err) < 0 || df_build_open(&lines, NULL, &b, &err) < 0)
        return xasprintf("error: %s", err.msg);
    if (df_build_target(&b, target, &at, &err) == 0)
        df_build_rewrite(&b, at, &to, &more, &out, &err);
    df_build_clear(&b);
    for (size_t i = 0; i < out.len; i++)
        buf_addf(&joined, "%s%s", i ? "\n" : "", out.items[i]);
    return err.msg ? xasprintf("error: %s", err.msg) : buf_detach(&joined);
}

static void test_lines(void **state)
{
    static const struct {
        const char *file, *target, *names, *extra, *expect;
    } cases[] = {
        /* nothing to do: as it is */
        {"# escape=`\n# syntax=x\n\nARG A=1\nfrom  a:$A\n# c\nRUN x `\n  y\n", NULL, NULL, NULL,
         "# escape=`\n# syntax=x\n\nARG A=1\nfrom  a:$A\n# c\nRUN x `\n  y"},
        {"FROM a\nRUN x", NULL, NULL, "LABEL a=b\nLABEL c=d", "FROM a\nRUN x\nLABEL a=b\nLABEL c=d"},
        /* the file's end must not take the new line */
        {"FROM a\nRUN x \\", NULL, NULL, "LABEL a=b", "FROM a\nRUN x\nLABEL a=b"},
        {"FROM a\nRUN x \\\n y \\\n# c\n\n", NULL, NULL, "LABEL a=b", "FROM a\nRUN x  y\n\n\n\nLABEL a=b"},
        {"FROM a \\\n", NULL, NULL, "LABEL a=b", "FROM a\nLABEL a=b"},
        /* the linter has had its say */
        {"# syntax=x\n#check=error=true\nfrom a\n# check=x\nrun y\n", NULL, "a=b", NULL,
         "# syntax=x\n# check=skip=all\nFROM b\n# check=x\nrun y"},
        /* images */
        {"FROM --platform=linux/amd64 a:1 AS x\nRUN y\n", NULL, "a:1=b@sha256:0", NULL,
         "FROM --platform=linux/amd64 b@sha256:0 AS x\nRUN y"},
        {"ARG V=1\nFROM a:$V\nFROM a:2 \\\n AS q\nRUN z\n", NULL, "a:1=one\na:2=base", NULL,
         "ARG V=1\n\nFROM base AS q\n\nRUN z"},
        {"FROM a\nCOPY --chown=\"1 2\" --from=b \\\n  x y\nRUN q\n", NULL, "b=c:1", NULL,
         "FROM a\nCOPY --chown=1\\ 2 --from=c:1 x y\n\nRUN q"},
        {"FROM a\nRUN --mount=from=b,target=/x --mount=\"type=bind,\\\"source=a,b\\\",from=b\" x <<E && y\nq\nE\nRUN q",
         NULL, "b=c", NULL,
         "FROM a\nRUN --mount=from=c,target=/x --mount=type=bind,\\\"source=a,b\\\",from=c x <<E && y\nq\nE\nRUN q"},
        {"FROM a\nCOPY --from=b -- --x y\n", NULL, "b=c", NULL, "FROM a\nCOPY --from=c -- --x y"},
        /* stages: pruned with their lines kept empty, numbers become names */
        {"FROM a AS one\nRUN 1\nFROM b AS two\nRUN 2\nFROM c\nCOPY --from=two x y\n", NULL, NULL, NULL,
         "\n\nFROM b AS two\nRUN 2\nFROM c\nCOPY --from=two x y"},
        {"FROM a AS one\nRUN 1\nFROM b\nRUN 2\nFROM c\nCOPY --from=1 x y\n", NULL, NULL, NULL,
         "\n\nFROM b AS stage-1\nRUN 2\nFROM c\nCOPY --from=stage-1 x y"},
        {"FROM a AS one\nRUN 1\nFROM one\nRUN 2\n# of three\nFROM c AS three\nRUN 3\n", "1", NULL, "LABEL x=y",
         "FROM a AS one\nRUN 1\nFROM one\nRUN 2\nLABEL x=y"},
        /* one name for two stages, and one that an image has by now */
        {"FROM a AS x\nFROM x AS x\nRUN 1\nFROM c\nCOPY --from=X y z\n", NULL, NULL, NULL,
         "FROM a AS stage-0\nFROM stage-0 AS stage-1\nRUN 1\nFROM c\nCOPY --from=stage-1 y z"},
        {"FROM a AS base\nFROM b\nCOPY --from=base y z\n", NULL, "b=base", NULL,
         "FROM a AS stage-0\nFROM base\nCOPY --from=stage-0 y z"},
        {"FROM stage-1 AS q\nFROM b AS stage-0\nFROM c\nCOPY --from=0 y z\nCOPY --from=1 y z\n", NULL, NULL, NULL,
         "FROM stage-1 AS q\nFROM b AS stage-0\nFROM c\nCOPY --from=q y z\nCOPY --from=stage-0 y z"},
        {"FROM a\nFROM stage-0\nCOPY --from=0 y z\n", NULL, NULL, NULL,
         "FROM a AS stage-0-1\nFROM stage-0\nCOPY --from=stage-0-1 y z"},
        /* here-documents that look like instructions, and carriage returns */
        {"FROM a\r\nRUN <<E\r\nFROM x\r\nE\r\nCOPY <<E --from=0 /y\r\nCOPY\r\nE\r\n", NULL, "x=q", NULL,
         "FROM a\r\nRUN <<E\r\nFROM x\r\nE\r\nCOPY <<E --from=0 /y\r\nCOPY\r\nE\r"},
        {"FROM a AS q\nONBUILD COPY --from=0 x y\nFROM q\n", NULL, NULL, NULL,
         "error: dockerfile parse error on line 2: ONBUILD COPY --from=0 of a stage of the same file is not supported: "
         "name the stage"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *got = rewritten(cases[i].file, cases[i].target, cases[i].names, cases[i].extra);

        assert_string_equal(got, cases[i].expect);
        free(got);
    }
}

/* A file that was rewritten with nothing to replace means what it meant; only lines of FROM and COPY may differ. */
static void test_same(void **state)
{
    static const char *const files[] = {
        "FROM a AS b\nARG X=1\nRUN echo $X\nONBUILD RUN q\nFROM b\nWORKDIR /x\nCOPY --from=b a b\nRUN y\n",
        "# escape=`\nFROM a\nRUN a `\n  # c\n\n  b\nENV A=\"x\" `\n\tB=y\n",
        "FROM a\nRUN --mount=type=cache,target=/c --mount=type=secret,id=\"q r\" <<A cat <<B\n1\nA\n2\nB\nCMD "
        "[\"x\"]\n",
        "FROM a AS x\nFROM b AS unused\nRUN no\nFROM x\nCOPY <<\"E\" <<-F /d/\n$x\nE\n\ty\n\tF\nCMD a \\\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        char *text = rewritten(files[i], NULL, NULL, NULL), *before = rig_text(files[i], NULL);
        char *after = rig_text(text, NULL);

        assert_string_equal(after, before);
        assert_null(strstr(after, "error: "));
        free(text);
        free(before);
        free(after);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_same)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
