/* link: atp_compose */
#include "tests/fuzz/compose.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* compose.yaml, o.yaml and .env with NUL bytes between them */
static const char *const seeds[] = {
    "services:\n  web:\n    image: b\n    ports: [\"80:80\", 81, {target: 82, published: \"1-3\"}]\n    volumes: "
    "[./a:/b:ro, "
    "\"v:/c\"]\nvolumes: {v: {}}\n",
    "x: &x {a: 1, b: [1, 2]}\nservices: {w: {<<: *x, image: \"${A:-${B-c}}$$\", build: {context: ., args: {C: 1}}}}\n",
    "include: [o.yaml, {path: [o.yaml], env_file: .env}]\nservices: {a: {extends: {file: o.yaml, service: b}}}\n\1"
    "services: {b: {image: \"$A\", environment: [B, C=1], depends_on: {c: {condition: service_healthy}}}, c: {image: "
    "c}}\n\1"
    "A=1\nexport B=\"x$A\\n\" # c\nC='q'\n",
    "services:\n  a: {extends: b, ports: !reset [], labels: !override {x: y}}\n  b: {extends: a}\n---\nservices: {c: "
    "{deploy: "
    "{replicas: 3, resources: {limits: {cpus: '0.5', memory: 1g}}}, image: i, healthcheck: {test: x, retries: 3}}}\n",
    "name: p-${A}\nversion: '3'\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/8}]}}}\nservices: {s: {networks: {n: "
    "{aliases: [q]}}, image: i, secrets: [t], configs: [{source: u, mode: 0440}], ulimits: {nofile: 5}, command: "
    "\"sh -c 'a b' \\\"c\\\"\", profiles: [z], env_file: .env}}\nsecrets: {t: {file: ./t}}\nconfigs: {u: {content: "
    "\"$A\"}}\n",
};

/* Words that mean something: bytes alone seldom make one. */
static const char *const words[] = {
    "${A:-",      "}",    "$",  "<<: *x", "&x ", "*x",    "!reset ",    "!override ",
    "- ",         "? ",   ": ", "[",      "]",   "{",     ",",          "\n",
    "\n  ",       "\"",   "'",  "0x",     "~",   "---\n", "extends: a", "include: [o.yaml]",
    "services: ", "null", "\1", "=",      "#",   "\\",    "1e999",      "-"};

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

/* A seed with some bytes changed, cut out, or put in. */
static size_t mutate(uint32_t *state, char *out, size_t max)
{
    const char *seed = seeds[next(state) % (sizeof(seeds) / sizeof(seeds[0]))];
    size_t len = strlen(seed);

    memcpy(out, seed, len);
    for (uint32_t n = 1 + next(state) % 6; n; n--) {
        const char *word = words[next(state) % (sizeof(words) / sizeof(words[0]))];
        size_t at = len ? next(state) % len : 0, word_len = strlen(word), cut = next(state) % 12;

        switch (next(state) % 4) {
        case 0:
            out[at] = (char)next(state);
            break;
        case 1:
            cut = cut < len - at ? cut : len - at;
            memmove(out + at, out + at + cut, len - at - cut);
            len -= cut;
            break;
        default:
            if (len + word_len >= max)
                break;
            memmove(out + at + word_len, out + at, len - at);
            memcpy(out + at, word, word_len);
            len += word_len;
        }
    }
    for (size_t i = 0; i < len; i++)
        out[i] = out[i] == '\1' ? '\0' : out[i];
    return len;
}

static void test_mutated(void **state)
{
    const char *rounds = getenv("ATP_FUZZ_ROUNDS");
    uint32_t random = 20261121;
    char text[4096];

    (void)state;
    for (long i = rounds ? strtol(rounds, NULL, 10) : 3000; i > 0; i--)
        LLVMFuzzerTestOneInput((const uint8_t *)text, mutate(&random, text, sizeof(text)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutated)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
