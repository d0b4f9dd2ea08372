/* link: atp_dockerfile atp_base */
#include "tests/unit/dockerfile_rig.h"

/* What is wrong with these files, in BuildKit's words. */
static const struct {
    const char *file, *args, *expect;
} cases[] = {
    {"FROM alpine\n"
     "RUN <<EOF\n"
     "echo\n",
     NULL, "@2: unterminated heredoc"},
    {"FROM alpine\n"
     "CMD [\"a\",1]\n",
     NULL, "@2: when using JSON array syntax, arrays must be comprised of strings only"},
    {"FROM alpine\n"
     "ENV P=90\n"
     "EXPOSE 80 443/TCP 53/udp $P 8000-8003\n"
     "EXPOSE \"100 101\" ${Q:-7}/sctp\n"
     "EXPOSE 127.0.0.1:80:81 1:2\n",
     NULL,
     "@4: failed to process \"\\\"100\": unexpected end of statement while looking for matching doubl"
     "e-quote"},
    {"FROM alpine\n"
     "EXPOSE abc\n",
     NULL, "@2: invalid containerPort: abc"},
    {"FROM alpine\n"
     "EXPOSE 80/foo\n",
     NULL, "@2: invalid port: \"80/foo\": invalid proto: foo"},
    {"FROM alpine\n"
     "EXPOSE 70000\n",
     NULL, "@2: invalid containerPort: 70000"},
    {"FROM alpine\n"
     "HEALTHCHECK --interval=1us CMD x\n",
     NULL, "@2: Interval \"interval\" cannot be less than 1ms"},
    {"FROM alpine\n"
     "HEALTHCHECK FOO x\n",
     NULL, "@2: Unknown type \"FOO\" in HEALTHCHECK (try CMD)"},
    {"FROM alpine\n"
     "HEALTHCHECK --retries=-1 CMD x\n",
     NULL, "@2: --retries cannot be negative (-1)"},
    {"FROM alpine\n"
     "HEALTHCHECK --interval=zz CMD x\n",
     NULL, "@2: time: invalid duration \"zz\""},
    {"FROM alpine\n"
     "HEALTHCHECK CMD\n",
     NULL, "@2: Missing command after HEALTHCHECK CMD"},
    {"FROM alpine\n"
     "STOPSIGNAL FOO\n",
     NULL, "@2: invalid signal: FOO"},
    {"FROM alpine\n"
     "RUN --mount=type=foo,target=/a x\n",
     NULL, "@2: unsupported mount type \"foo\""},
    {"FROM alpine\n"
     "RUN --mount=type=cach,target=/a x\n",
     NULL, "@2: unsupported mount type \"cach\" (did you mean cache?)"},
    {"FROM alpine\n"
     "RUN --mount=tgt=/a x\n",
     NULL, "@2: unexpected key 'tgt' in 'tgt=/a' (did you mean dst?)"},
    {"FROM alpine\n"
     "RUN --mount=type=bind,target=/a,required x\n",
     NULL, "@2: unexpected key 'required' for mount type 'bind'"},
    {"FROM alpine\n"
     "RUN --mount=type=bind,target=/a,size=1 x\n",
     NULL, "@2: unexpected key 'size' for mount type 'bind'"},
    {"FROM alpine\n"
     "RUN --mount=type=bind,target=/a,mode=1 x\n",
     NULL, "@2: mode not allowed for \"bind\" type mounts"},
    {"FROM alpine\n"
     "RUN --mount=type=secret x\n",
     NULL, "@2: invalid secret mount. one of source, target required"},
    {"FROM alpine\n"
     "RUN --mount=type=secret,from=x,id=a x\n",
     NULL, "@2: secret mount should not have a from"},
    {"FROM alpine\n"
     "RUN --mount=from=$X,target=/a x\n",
     NULL, "@2: 'from' doesn't support variable expansion, define alias stage instead"},
    {"FROM alpine\n"
     "RUN --mount=target=/ x\n",
     NULL, "@2: invalid mount target \"/\""},
    {"FROM alpine\n"
     "RUN --mount=type=cache,target=/a,sharing=sharedd x\n",
     NULL, "@2: unsupported sharing value \"sharedd\" (did you mean shared?)"},
    {"FROM alpine\n"
     "RUN --mount=type=cache,target=/a,foo x\n",
     NULL, "@2: invalid field 'foo' must be a key=value pair"},
    {"FROM alpine\n"
     "RUN --network=foo x\n",
     NULL, "@2: invalid network mode \"foo\""},
    {"FROM alpine\n"
     "RUN --security=x x\n",
     NULL, "@2: security \"x\" is not valid"},
    {"FROM alpine\n"
     "RUN --mont=x x\n",
     NULL, "@2: unknown flag: --mont (did you mean mount?)"},
    {"FROM alpine\n"
     "RUN --mount=type=ssh,source=a x\n",
     NULL, "@2: ssh does not support source"},
    {"FROM alpine\n"
     "RUN --mount=type=tmpfs,target=/a,sharing=shared x\n",
     NULL, "@2: invalid cache sharing set for tmpfs mount"},
    {"FROM alpine\n"
     "RUN --mount=type=cache,target=/a,uid=x x\n",
     NULL, "@2: invalid value x for uid"},
    {"FROM alpine\n"
     "RUN --mount=type=cache,target=/a,mode=9 x\n",
     NULL, "@2: invalid value 9 for mode"},
    {"FROM alpine\n"
     "RUN --mount=\"a x\n",
     NULL, "@2: invalid field 'a x' must be a key=value pair"},
    {"FROM alpine\n"
     "COPY a\n",
     NULL,
     "@2: COPY requires at least two arguments, but only one was provided. Destination could not be d"
     "etermined"},
    {"FROM alpine\n"
     "COPY\n",
     NULL,
     "@2: COPY requires at least two arguments, but only one was provided. Destination could not be d"
     "etermined"},
    {"FROM alpine\n"
     "ADD a\n",
     NULL,
     "@2: ADD requires at least two arguments, but only one was provided. Destination could not be de"
     "termined"},
    {"FROM alpine\n"
     "COPY <<EOF\n",
     NULL, "@2: unterminated heredoc"},
    {"FROM alpine\n"
     "COPY --from=1 a b\n",
     NULL, "@2: invalid stage index 1"},
    {"FROM alpine\n"
     "COPY --from=2 a b\n",
     NULL, "@2: invalid stage index 2"},
    {"FROM alpine\n"
     "COPY --from=-1 a b\n",
     NULL, "@2: invalid stage index -1"},
    {"FROM alpine\n"
     "COPY --from=$X a b\n",
     NULL,
     "@2: variable expansion is not supported for --from, define a new stage with FROM using ARG from"
     " global scope as a workaround"},
    {"FROM alpine\n"
     "COPY http://x/y b\n",
     NULL, "@2: source can't be a URL for COPY"},
    {"FROM alpine\n"
     "COPY https://a/b.git c\n",
     NULL, "@2: source can't be a git ref for COPY"},
    {"FROM alpine\n"
     "COPY git@x.y:z/w b\n",
     NULL, "@2: source can't be a git ref for COPY"},
    {"FROM alpine\n"
     "ADD --checksum=sha256:x a b\n",
     NULL, "@2: checksum requires HTTP(S) or Git sources"},
    {"FROM alpine\n"
     "ADD --checksum=sha256:x http://a http://b c\n",
     NULL, "@2: checksum can't be specified for multiple sources"},
    {"FROM alpine\n"
     "COPY --chmod=99 a b\n",
     NULL, "@2: invalid chmod parameter: '99'. it should be octal string and between 0 and 07777"},
    {"FROM alpine\n"
     "COPY --chmod=10000 a b\n",
     NULL, "@2: invalid chmod parameter: '10000'. it should be octal string and between 0 and 07777"},
    {"FROM alpine\n"
     "COPY --chmod=u+q a b\n",
     NULL, "@2: invalid chmod parameter: 'u+q'. it should be octal string and between 0 and 07777"},
    {"FROM alpine\n"
     "COPY --chmod=abc a b\n",
     NULL, "@2: invalid chmod parameter: 'abc'. it should be octal string and between 0 and 07777"},
    {"FROM alpine\n"
     "COPY --foo a b\n",
     NULL, "@2: unknown flag: --foo (did you mean from?)"},
    {"FROM alpine\n"
     "COPY --chown a b\n",
     NULL, "@2: missing a value on flag: --chown"},
    {"FROM alpine\n"
     "COPY --link=x a b\n",
     NULL, "@2: expecting boolean value for flag --link, not: x"},
    {"FROM alpine\n"
     "COPY --link= a b\n",
     NULL, "@2: missing a value on flag: --link"},
    {"FROM alpine\n"
     "COPY --link --link a b\n",
     NULL, "@2: duplicate flag specified: --link"},
    {"FROM alpine\n"
     "COPY --checksum=x a b\n",
     NULL, "@2: unknown flag: --checksum"},
    {"FROM alpine\n"
     "COPY a <<E\n",
     NULL, "@2: unterminated heredoc"},
    {"FROM alpine\n"
     "ADD --from=x a b\n",
     NULL, "@2: unknown flag: --from"},
    {"FROM alpine\n"
     "COPY --from=A a b\n",
     NULL,
     "@2: failed to parse stage name \"A\": invalid reference format: repository name (library/A) mus"
     "t be lowercase"},
    {"FROM alpine\n"
     "RUN --mount=from=a:b:c,target=/x y\n",
     NULL, "@2: failed to parse stage name \"a:b:c\": invalid reference format"},
    {"FROM alpine\n"
     "ADD --checksum=x:y http://a b\n",
     NULL, "@2: unsupported digest algorithm"},
    {"FROM alpine\n"
     "ADD --checksum=sha256:0123 http://a b\n",
     NULL, "@2: invalid checksum digest length"},
    {"FROM alpine\n"
     "ADD --checksum=foo http://a b\n",
     NULL, "@2: invalid checksum digest format"},
    {"FROM alpine\n"
     "FOO x\n",
     NULL, "@2: unknown instruction: FOO (did you mean FROM?)"},
    {"FROM alpine\n"
     "RNU x\n",
     NULL, "@2: unknown instruction: RNU (did you mean RUN?)"},
    {"FROM alpine\n"
     "ENV\n",
     NULL, "@2: ENV requires at least one argument"},
    {"FROM alpine\n"
     "ENV A\n",
     NULL, "@2: ENV must have two arguments"},
    {"FROM alpine\n"
     "ENV =b\n",
     NULL, "@2: ENV names can not be blank"},
    {"FROM alpine\n"
     "ENV A=b c\n",
     NULL, "@2: Syntax error - can't find = in \"c\". Must be of the form: name=value"},
    {"FROM alpine\n"
     "LABEL\n",
     NULL, "@2: LABEL requires at least one argument"},
    {"FROM alpine\n"
     "LABEL a\n",
     NULL, "@2: LABEL must have two arguments"},
    {"FROM alpine\n"
     "ARG\n",
     NULL, "@2: ARG requires at least one argument"},
    {"FROM alpine\n"
     "ARG =x\n",
     NULL, "@2: ARG names can not be blank"},
    {"FROM alpine\n"
     "USER\n",
     NULL, "@2: USER requires exactly one argument"},
    {"FROM alpine\n"
     "WORKDIR\n",
     NULL, "@2: WORKDIR requires exactly one argument"},
    {"FROM alpine\n"
     "EXPOSE\n",
     NULL, "@2: EXPOSE requires at least one argument"},
    {"FROM alpine\n"
     "VOLUME\n",
     NULL, "@2: VOLUME requires at least one argument"},
    {"FROM alpine\n"
     "VOLUME [\"\"]\n",
     NULL, "@2: VOLUME specified can not be an empty string"},
    {"FROM alpine\n"
     "VOLUME [\"a\",2]\n",
     NULL, "@2: when using JSON array syntax, arrays must be comprised of strings only"},
    {"FROM alpine\n"
     "SHELL\n",
     NULL, "@2: SHELL requires at least one argument"},
    {"FROM alpine\n"
     "SHELL []\n",
     NULL, "@2: SHELL requires at least one argument"},
    {"FROM alpine\n"
     "SHELL a\n",
     NULL, "@2: SHELL requires the arguments to be in JSON form"},
    {"FROM alpine\n"
     "STOPSIGNAL\n",
     NULL, "@2: STOPSIGNAL requires exactly one argument"},
    {"FROM alpine\n"
     "MAINTAINER\n",
     NULL, "@2: MAINTAINER requires exactly one argument"},
    {"FROM alpine\n"
     "ONBUILD\n",
     NULL, "@2: ONBUILD requires at least one argument"},
    {"FROM alpine\n"
     "ONBUILD ONBUILD RUN x\n",
     NULL, "@2: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"},
    {"FROM alpine\n"
     "ONBUILD FROM x\n",
     NULL, "@2: FROM isn't allowed as an ONBUILD trigger"},
    {"FROM alpine\n"
     "onbuild maintainer x\n",
     NULL, "@2: MAINTAINER isn't allowed as an ONBUILD trigger"},
    {"FROM alpine\n"
     "FROM\n",
     NULL, "@2: FROM requires either one or three arguments"},
    {"FROM alpine\n"
     "FROM a b\n",
     NULL, "@2: FROM requires either one or three arguments"},
    {"FROM alpine\n"
     "FROM a AS\n",
     NULL, "@2: FROM requires either one or three arguments"},
    {"FROM alpine\n"
     "FROM a AS 1b\n",
     NULL, "@2: invalid name for build stage: \"1b\", name can't start with a number or contain symbols"},
    {"FROM alpine\n"
     "FROM a AS b$\n",
     NULL, "@2: invalid name for build stage: \"b$\", name can't start with a number or contain symbols"},
    {"FROM alpine\n"
     "FROM A\n",
     NULL,
     "@2: failed to parse stage name \"A\": invalid reference format: repository name (library/A) mus"
     "t be lowercase"},
    {"FROM alpine\n"
     "FROM a:b:c\n",
     NULL, "@2: failed to parse stage name \"a:b:c\": invalid reference format"},
    {"FROM alpine\n"
     "FROM $X\n",
     NULL, "@2: base name ($X) should not be blank"},
    {"FROM alpine\n"
     "FROM --platform=foo a\n",
     NULL,
     "@2: failed to parse platform foo: \"foo\": unknown operating system or architecture: invalid ar"
     "gument"},
    {"FROM alpine\n"
     "FROM --platform=$X a\n",
     NULL, "@2: empty platform value from expression $X"},
    {"FROM alpine\n"
     "FROM --platform=a/b/c/d x\n",
     NULL,
     "@2: failed to parse platform a/b/c/d: \"a/b/c/d\": cannot parse platform specifier: invalid arg"
     "ument"},
    {"FROM alpine\n"
     "FROM --foo=b x\n",
     NULL, "@2: unknown flag: --foo"},
    {"FROM alpine\n"
     "ENV A=${B:?need it}\n",
     NULL, "@2: Syntax error - can't find = in \"it}\". Must be of the form: name=value"},
    {"FROM alpine\n"
     "ENV A=\"x\n",
     NULL,
     "@2: failed to process \"\\\"x\": unexpected end of statement while looking for matching double-"
     "quote"},
    {"FROM alpine\n"
     "LABEL a=${\n",
     NULL, "@2: failed to process \"${\": syntax error: missing '}'"},
    {"FROM alpine\n"
     "CMD --foo x\n",
     NULL, "@2: unknown flag: --foo"},
    {"FROM alpine\n"
     "ENV --x=y A=b\n",
     NULL, "@2: unknown flag: --x"},
    {"FROM alpine\n"
     "STOPSIGNAL $X\n",
     NULL, "@2: invalid signal: "},
    {"FROM alpine\n"
     "EXPOSE 80:\n",
     NULL, "@2: invalid port: \"80:\": no port specified"},
    {"FROM alpine\n"
     "ONBUILD --x RUN y\n",
     NULL, "@2: unknown flag: --x"},
    {"FROM alpine\n"
     "RUN []\n",
     NULL, "@2: RUN [] has no command"},
    {"FROM alpine\n"
     "VOLUME []\n",
     NULL, "@2: VOLUME requires at least one argument"},
    {"FROM alpine\n"
     "SHELL [\"a\",1]\n",
     NULL, "@2: when using JSON array syntax, arrays must be comprised of strings only"},
    {"FROM alpine\n"
     "HEALTHCHECK\n",
     NULL, "@2: HEALTHCHECK requires at least one argument"},
    {"FROM alpine\n"
     "HEALTHCHECK NONE x\n",
     NULL, "@2: HEALTHCHECK NONE takes no arguments"},
    {"FROM alpine\n"
     "FROM a/B:c\n",
     NULL,
     "@2: failed to parse stage name \"a/B:c\": invalid reference format: repository name (a/B) must "
     "be lowercase"},
    {"FROM alpine\n"
     "FROM a@sha256:zz\n",
     NULL, "@2: failed to parse stage name \"a@sha256:zz\": invalid reference format"},
    {"FROM alpine\n"
     "FROM -a\n",
     NULL, "@2: failed to parse stage name \"-a\": invalid reference format"},
    {"RUN x\n", NULL, "@1: no build stage in current context"},
    {"ARG X=1\n", NULL, "dockerfile contains no stages to build"},
    {"ARG X=${Y:?z}\n"
     "FROM alpine\n",
     NULL, "@1: failed to process \"${Y:?z}\": Y: z"},
    {"\n"
     "# x\n",
     NULL, "file with no instructions"},
    {"# escape=`\n"
     "# escape=\\\n"
     "FROM a\n",
     NULL, "@2: only one escape parser directive can be used"},
    {"# escape=x\n"
     "FROM a\n",
     NULL, "@1: invalid escape token 'x' does not match ` or \\"},
    {"FROM alpine AS a\n"
     "COPY --from=a x y\n",
     NULL, "circular dependency detected on stage: a"},
    {"FROM alpine AS a\n"
     "COPY --from=b x y\n"
     "FROM alpine AS b\n"
     "COPY --from=a x y\n",
     NULL, "circular dependency detected on stage: a"},
    {"FROM alpine AS a\n"
     "COPY --from=b x y\n"
     "FROM alpine AS b\n"
     "RUN z\n"
     "FROM a\n",
     NULL, "@2: cannot copy from stage \"b\", it needs to be defined before current stage \"a\""},
    {"FROM alpine AS a\n"
     "RUN --mount=from=b,target=/x y\n"
     "FROM alpine AS b\n"
     "RUN z\n"
     "FROM a\n",
     NULL, "@2: cannot mount from stage \"b\" to \"/x\", stage needs to be defined before current command"},
    {"FROM alpine AS abc\n"
     "RUN 1\n"
     "FROM alpine AS b\n"
     "RUN 2\n",
     "@target=abd", "target stage \"abd\" could not be found (did you mean abc?)"},
    {"FROM alpine\n"
     "ENV A=${B/x}\n",
     NULL, "@2: failed to process \"${B/x}\": syntax error: missing '/' in ${}"},
    {"FROM alpine\n"
     "ENV A=a\\qb B=${A#\\q}\n",
     NULL,
     "@2: failed to process \"${A#\\\\q}\": invalid pattern (\\q) in substitution: invalid escape '\\"
     "q'"},
    {"FROM alpine\n"
     "ENV A=${B:#x}\n",
     NULL, "@2: failed to process \"${B:#x}\": unsupported modifier (:#) in substitution"},
    {"FROM alpine\n"
     "ENV A=${B:%x}\n",
     NULL, "@2: failed to process \"${B:%x}\": unsupported modifier (:%) in substitution"},
    {"FROM alpine\n"
     "ENV A=abc B=${A/b/${A}} C=${X:-${Y:-\"q}\"}} D=${X:-a b} E=${A:+\"x y\"} G=${#A}\n",
     NULL, "@2: Syntax error - can't find = in \"b}\". Must be of the form: name=value"},
    {"FROM alpine\n"
     "ENV A=\"a\n"
     "RUN x\n",
     NULL,
     "@2: failed to process \"\\\"a\": unexpected end of statement while looking for matching double-"
     "quote"},
    {"FROM alpine\n"
     "ENV V=val\n"
     "COPY <<EOF1 <<\"EOF2\" $V/\n"
     "${V} \\${V} `x`\n"
     "EOF1\n"
     "$V\n"
     "EOF2\n"
     "COPY <<\"a b\" /x\n"
     "q\n"
     "a b\n",
     NULL,
     "@8: failed to process \"<<\\\"a\": unexpected end of statement while looking for matching doubl"
     "e-quote"},
};

static void test_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *got = rig_text(cases[i].file, cases[i].args), *expect;

        /* "@" stands for what nearly all of them begin with. */
        if (*cases[i].expect == '@')
            expect = xasprintf("error: dockerfile parse error on line %s", cases[i].expect + 1);
        else
            expect = xasprintf("error: %s", cases[i].expect);
        assert_string_equal(got, expect);
        free(expect);
        free(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_errors)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
