#include "translate/names.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <string.h>

/* Plain words, so that a generated name reads well aloud. */
static const char *const adjectives[] = {
    "agile",    "amber",  "ample", "bold",     "brave",  "bright",  "brisk",  "calm",     "careful", "cheerful",
    "clear",    "clever", "crisp", "curious",  "daring", "deft",    "eager",  "early",    "earnest", "fair",
    "fearless", "fine",   "fresh", "frosty",   "gentle", "glad",    "golden", "graceful", "hardy",   "hearty",
    "honest",   "humble", "jolly", "keen",     "kind",   "lively",  "loyal",  "lucid",    "mellow",  "merry",
    "mighty",   "modest", "neat",  "nimble",   "noble",  "patient", "placid", "plucky",   "polite",  "proud",
    "quick",    "quiet",  "rapid", "ready",    "robust", "serene",  "sharp",  "silent",   "steady",  "sturdy",
    "sunny",    "swift",  "tidy",  "tranquil", "upbeat", "vivid",   "warm",   "wise",     "witty",   "zesty",
};

static const char *const surnames[] = {
    "abel",     "ampere",    "babbage",      "bernoulli",  "bohr",     "boole",     "boyle",   "cantor",   "carnot",
    "cauchy",   "cavendish", "church",       "copernicus", "coulomb",  "crick",     "curie",   "dalton",   "darwin",
    "davy",     "descartes", "dijkstra",     "dirac",      "einstein", "euclid",    "euler",   "faraday",  "fermat",
    "fermi",    "fourier",   "franklin",     "galileo",    "galois",   "gauss",     "germain", "goedel",   "haber",
    "hamilton", "hertz",     "hilbert",      "hooke",      "hopper",   "hubble",    "huygens", "joule",    "kelvin",
    "kepler",   "knuth",     "kovalevskaya", "lagrange",   "laplace",  "lavoisier", "leibniz", "linnaeus", "lovelace",
    "maxwell",  "mendel",    "mendeleev",    "mercator",   "napier",   "newton",    "noether", "ohm",      "pascal",
    "pasteur",  "planck",    "ramanujan",    "riemann",    "shannon",  "tesla",     "turing",  "volta",    "watt",
    "wing",     "young",
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* The name without the one slash that Docker allows in front. */
static const char *bare(const char *name)
{
    return name[0] == '/' ? name + 1 : name;
}

bool name_valid(const char *name)
{
    const char *s = bare(name);

    if (!is_alnum(s[0]) || s[1] == '\0')
        return false;
    for (s++; *s; s++)
        if (!is_alnum(*s) && !strchr("_.-", *s))
            return false;
    return true;
}

bool modal_name_valid(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > MODAL_NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(name[i]) && !strchr("_.-", name[i]))
            return false;
    return true;
}

int name_parse(const char *name, char **ret, struct err *err)
{
    if (!name_valid(name))
        return err_set(err, 125,
                       "Error response from daemon: Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are "
                       "allowed",
                       name);
    *ret = xstrdup(bare(name));
    return 0;
}

char *name_generate(uint64_t random, unsigned attempt)
{
    const char *adjective = adjectives[random % COUNT(adjectives)];
    const char *surname = surnames[random / COUNT(adjectives) % COUNT(surnames)];

    if (attempt == 0)
        return xasprintf("%s_%s", adjective, surname);
    return xasprintf("%s_%s%u", adjective, surname, attempt);
}

void container_id_make(const uint8_t random[32], char ret[CONTAINER_ID_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < 32; i++) {
        ret[2 * i] = digits[random[i] >> 4];
        ret[2 * i + 1] = digits[random[i] & 15];
    }
    ret[CONTAINER_ID_LEN] = '\0';
    if (strspn(ret, "0123456789") >= CONTAINER_SHORT_ID_LEN)
        ret[0] = (char)('a' + (ret[0] - '0') % 6);
}

int name_match(const char *word, const char *id, const char *name)
{
    size_t len = strlen(word);

    if (len == CONTAINER_ID_LEN && strcmp(word, id) == 0)
        return 3;
    if (name && strcmp(bare(word), name) == 0)
        return 2;
    return len > 0 && strncmp(word, id, len) == 0;
}
