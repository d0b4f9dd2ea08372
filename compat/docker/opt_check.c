/* The checks that docker makes on values of plain lists while it parses. Each text is docker's. */
#include "compat/docker/opt_value.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/quote.h"
#include "compat/docker/units.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#define MAX_DOMAIN 255
#define BLANKS     " \t\r\n\v\f"

static bool is_address(const char *s)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, s, address) == 1 || inet_pton(AF_INET6, s, address) == 1;
}

/* A copy without blanks at both ends; owned by caller. */
static char *trimmed(const char *s)
{
    size_t len;

    s += strspn(s, BLANKS);
    for (len = strlen(s); len && isspace((unsigned char)s[len - 1]); len--)
        ;
    return xstrndup(s, len);
}

/* "host:address" or "host=address"; the address may be host-gateway, or IPv6 in brackets. */
int opt_check_add_host(const char *value, struct err *err)
{
    const char *at = strchr(value, '=') ? strchr(value, '=') : strchr(value, ':');
    cleanup_free char *address = NULL, *quoted = NULL;
    size_t len;

    if (!at || at == value || memchr(value, ':', (size_t)(at - value))) {
        quoted = quote_go_str(value);
        return err_set(err, 0, "bad format for add-host: %s", quoted);
    }
    at++;
    len = strlen(at);
    if (len > 2 && at[0] == '[' && at[len - 1] == ']')
        address = xstrndup(at + 1, len - 2);
    else
        address = xstrdup(at);
    if (!strcmp(address, "host-gateway") || is_address(address))
        return 0;
    quoted = quote_go_str(address);
    return err_set(err, 0, "invalid IP address in add-host: %s", quoted);
}

int opt_check_attach(const char *value, struct err *err)
{
    if (!strcasecmp(value, "stdin") || !strcasecmp(value, "stdout") || !strcasecmp(value, "stderr"))
        return 0;
    return err_set(err, 0, "valid streams are STDIN, STDOUT and STDERR");
}

int opt_check_dns(const char *value, struct err *err)
{
    cleanup_free char *address = trimmed(value);

    return is_address(address) ? 0 : err_set(err, 0, "IP address is not correctly formatted: %s", value);
}

/* Labels of letters, digits and inner dashes, with a letter somewhere; one dot may stand at the end. */
static bool is_domain(const char *s)
{
    size_t len = strlen(s);
    bool letter = false;

    if (len && s[len - 1] == '.')
        len--;
    if (!len || len >= MAX_DOMAIN)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool starts = !i || s[i - 1] == '.', ends = i + 1 == len || s[i + 1] == '.';

        if (s[i] == '.' ? starts : s[i] == '-' ? starts || ends : !isalnum((unsigned char)s[i]))
            return false;
        letter = letter || isalpha((unsigned char)s[i]);
    }
    return letter && s[len - 1] != '.';
}

int opt_check_dns_search(const char *value, struct err *err)
{
    cleanup_free char *domain = trimmed(value);

    return !strcmp(domain, ".") || is_domain(domain) ? 0 : err_set(err, 0, "%s is not a valid domain", domain);
}

int opt_check_env(const char *value, struct err *err)
{
    return *value && *value != '=' ? 0 : err_set(err, 0, "invalid environment variable: %s", value);
}

int opt_check_label(const char *value, struct err *err)
{
    const char *start = value + strspn(value, BLANKS);
    cleanup_free char *key = xstrndup(start, strcspn(start, "="));

    if (!*key)
        return err_set(err, 0, "invalid label '%s': empty name", value);
    if (key[strcspn(key, BLANKS)])
        return err_set(err, 0, "label '%s' contains whitespaces", key);
    return 0;
}

int opt_check_link(const char *value, struct err *err)
{
    const char *colon = strchr(value, ':');

    if (!*value)
        return err_set(err, 0, "empty string specified for links");
    if (colon && strchr(colon + 1, ':'))
        return err_set(err, 0, "bad format for links: %s", value);
    return 0;
}

/* Kernel settings that belong to a container's own namespaces. */
int opt_check_sysctl(const char *value, struct err *err)
{
    static const char *const exact[] = {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
                                        "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"};
    const char *equals = strchr(value, '=');

    if (equals) {
        if (!strncmp(value, "net.", 4) || !strncmp(value, "fs.mqueue.", 10))
            return 0;
        for (size_t i = 0; i < sizeof(exact) / sizeof(*exact); i++)
            if (strlen(exact[i]) == (size_t)(equals - value) && !strncmp(exact[i], value, strlen(exact[i])))
                return 0;
    }
    return err_set(err, 0, "sysctl '%s' is not allowed", value);
}

/* The part after "/dev/x:", or NULL with err filled. */
static const char *after_device(const char *value, struct err *err)
{
    const char *colon = strchr(value, ':');

    if (!colon || colon == value) {
        err_set(err, 0, "bad format: %s", value);
        return NULL;
    }
    if (strncmp(value, "/dev/", 5)) {
        err_set(err, 0, "bad format for device path: %s", value);
        return NULL;
    }
    return colon + 1;
}

int opt_check_weight_device(const char *value, struct err *err)
{
    const char *text = after_device(value, err);
    int64_t weight = 0;

    if (!text)
        return -1;
    if (!isdigit((unsigned char)*text) || units_parse_int10(text, 32, &weight, NULL) < 0 || weight > 1000 ||
        (weight && weight < 10))
        return err_set(err, 0, "invalid weight for device: %s", value);
    return 0;
}

int opt_check_bps_device(const char *value, struct err *err)
{
    const char *text = after_device(value, err);
    int64_t rate;

    if (!text)
        return -1;
    if (units_parse_bytes(text, &rate, NULL) < 0)
        return err_set(err, 0,
                       "invalid rate for device: %s. The correct format is <device-path>:<number>[<unit>]. "
                       "Number must be a positive integer. Unit is optional and can be kb, mb, or gb",
                       value);
    return 0;
}

int opt_check_iops_device(const char *value, struct err *err)
{
    const char *text = after_device(value, err);
    int64_t rate;

    if (!text)
        return -1;
    if (!isdigit((unsigned char)*text) || units_parse_int10(text, 64, &rate, NULL) < 0)
        return err_set(err, 0,
                       "invalid rate for device: %s. The correct format is <device-path>:<number>. "
                       "Number must be a positive integer",
                       value);
    return 0;
}

/* "*" or digits at *p, ended by the given character. */
static bool take_device_number(const char **p, char end)
{
    const char *s = *p;

    if (*s == '*')
        s++;
    else
        while (isdigit((unsigned char)*s))
            s++;
    if (s == *p || *s != end)
        return false;
    *p = s + 1;
    return true;
}

/* "c 1:3 rwm" */
int opt_check_device_cgroup_rule(const char *value, struct err *err)
{
    const char *p = value + 2;

    if (*value && strchr("abc", *value) && value[1] == ' ' && take_device_number(&p, ':') &&
        take_device_number(&p, ' ')) {
        size_t len = strspn(p, "rwm");

        if (len >= 1 && len <= 3 && !p[len])
            return 0;
    }
    return err_set(err, 0, "invalid device cgroup format '%s'", value);
}
