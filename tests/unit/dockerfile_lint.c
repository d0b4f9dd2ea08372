/* link: atp_dockerfile atp_base */
#include "tests/unit/dockerfile_rig.h"

/* What BuildKit's linter says of these files, sorted. */
static const struct {
    const char *file, *expect;
} cases[] = {
    {"FROM alpine\n"
     "RUN echo hi\n"
     "RUN [\"a\",\"b c\"]\n"
     "COPY a b /dst/\n"
     "ADD x.tar /y\n"
     "WORKDIR /app\n"
     "WORKDIR sub\n"
     "WORKDIR /\n"
     "CMD echo hi\n",
     "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related "
     "to OS signals (line 9)"},
    {"FROM alpine\n"
     "ENV A=1 B=\"x y\" C=a\\ b\n"
     "ENV D the rest of it\n"
     "ENV E $A-${B}\n"
     "ENV F=${NOPE:-def} G=${A:+yes} H='$A'\n"
     "LABEL x=$A y=\"z w\" \"q r\"=s\n"
     "RUN echo $A ${B} \"$C\" '$D' $UNSET ${UNSET}\n",
     "LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" form"
     "at (line 3)\n"
     "LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" form"
     "at (line 4)"},
    {"FROM alpine AS Foo\n"
     "from alpine as context\n"
     "Run x\n"
     "MAINTAINER x\n"
     "ENV A b\n"
     "ENV API_KEY=1 public_key=2 x_TOKEN=3\n"
     "ARG PASSWORD FOO_secret_BAR\n"
     "LABEL a b\n"
     "CMD x\n"
     "CMD y\n"
     "ENTRYPOINT z\n"
     "HEALTHCHECK CMD x\n"
     "healthcheck NONE\n"
     "WORKDIR a\n"
     "WORKDIR b\n",
     "ConsistentInstructionCasing: Command 'Run' should match the case of the command majority (upper"
     "case) (line 3)\n"
     "ConsistentInstructionCasing: Command 'from' should match the case of the command majority (uppe"
     "rcase) (line 2)\n"
     "ConsistentInstructionCasing: Command 'healthcheck' should match the case of the command majorit"
     "y (uppercase) (line 13)\n"
     "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related "
     "to OS signals (line 10)\n"
     "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related "
     "to OS signals (line 9)\n"
     "JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior r"
     "elated to OS signals (line 11)\n"
     "LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" form"
     "at (line 5)\n"
     "LegacyKeyValueFormat: \"LABEL key=value\" should be used instead of legacy \"LABEL key value\" "
     "format (line 8)\n"
     "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 4)\n"
     "MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage "
     "because only the last one will be used (line 9)\n"
     "MultipleInstructionsDisallowed: Multiple healthcheck instructions should not be used in the sam"
     "e stage because only the last one will be used (line 12)\n"
     "ReservedStageName: Stage name should not use the same name as reserved stage \"context\" (line "
     "2)\n"
     "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"FOO_secret_"
     "BAR\") (line 7)\n"
     "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"PASSWORD\")"
     " (line 7)\n"
     "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"API_KEY\") "
     "(line 6)\n"
     "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"x_TOKEN\") "
     "(line 6)\n"
     "StageNameCasing: Stage name 'Foo' should be lowercase (line 1)\n"
     "WorkdirRelativePath: Relative workdir \"a\" can have unexpected results if the base image chang"
     "es (line 14)"},
    {"# check=skip=JSONArgsRecommended,LegacyKeyValueFormat\n"
     "FROM --platform=$TARGETPLATFORM alpine\n"
     "CMD x\n"
     "ENV A b\n"
     "WORKDIR q\n",
     "RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as"
     " this is the default behavior (line 2)\n"
     "WorkdirRelativePath: Relative workdir \"q\" can have unexpected results if the base image chang"
     "es (line 5)"},
    {"# check=skip=all\n"
     "FROM alpine\n"
     "CMD x\n",
     ""},
    {"# check=error=true\n"
     "FROM alpine\n"
     "CMD x\n",
     "error: lint violation found for rules: JSONArgsRecommended"},
    {"# check=foo=true\n"
     "FROM alpine\n"
     "CMD x\n",
     "error: failed to parse check options: invalid check option \"foo\""},
    {"# check=error=maybe\n"
     "FROM alpine\n"
     "CMD x\n",
     "error: failed to parse check options: failed to parse check option \"error=maybe\": strconv.Par"
     "seBool: parsing \"maybe\": invalid syntax"},
    {"FROM alpine\n"
     "# check=skip=JSONArgsRecommended\n"
     "CMD x\n"
     "# c\n"
     "CMD y\n"
     "#check=skip=all\n"
     "\n"
     "ENTRYPOINT x\n",
     "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related "
     "to OS signals (line 5)\n"
     "MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage "
     "because only the last one will be used (line 3)"},
    {"FROM --platform=linux/amd64 alpine AS b\n"
     "SHELL [\"x\"]\n"
     "CMD x\n"
     "FROM b AS b\n"
     "WORKDIR a\n"
     "ENTRYPOINT y\n"
     "FROM --platform=linux/amd64 alpine AS linux-x\n"
     "CMD x\n"
     "FROM b\n"
     "CMD x\n",
     "DuplicateStageName: Duplicate stage name \"b\", stage names should be unique (line 4)\n"
     "FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/amd"
     "64\" (line 1)\n"
     "WorkdirRelativePath: Relative workdir \"a\" can have unexpected results if the base image chang"
     "es (line 5)"},
    {"FROM alpine\n"
     "RUN a \\\n"
     "\n"
     " b\n"
     "From alpine As x\n"
     "run x\n",
     "ConsistentInstructionCasing: Command 'From' should match the case of the command majority (uppe"
     "rcase) (line 5)\n"
     "ConsistentInstructionCasing: Command 'run' should match the case of the command majority (upper"
     "case) (line 6)\n"
     "NoEmptyContinuation: Empty continuation line (line 4)"},
    {"FROM alpine AS a\n"
     "RUN 1\n"
     "FROM alpine AS b\n"
     "ARG TARGETSTAGE\n"
     "RUN 2 $TARGETSTAGE\n"
     "FROM alpine AS c\n"
     "RUN 3\n",
     ""},
};

static void test_warnings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        cleanup_strlist struct strlist lines = STRLIST_INIT, warnings = STRLIST_INIT;
        struct buf out cleanup_buf = BUF_INIT(1u << 20);
        cleanup_err struct err err = ERR_INIT;
        struct df_build b;

        strlist_add(&lines, cases[i].file);
        if (df_build_open_for(&lines, NULL, strstr(cases[i].file, "AS b\nARG") ? "b" : NULL, &b, &err) < 0) {
            buf_addf(&out, "error: %s", err.msg);
        } else {
            strlist_copy(&warnings, &b.warnings);
            strlist_sort(&warnings);
            for (size_t k = 0; k < warnings.len; k++)
                buf_addf(&out, "%s%s", k ? "\n" : "", warnings.items[k]);
            df_build_clear(&b);
        }
        assert_string_equal(out.data, cases[i].expect);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_warnings)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
