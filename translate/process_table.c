#include "translate/process_table.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/table.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TABLE_MAX (32u << 20) /* several times what an agent may send */

/* One process, while its line is printed. */
struct process {
    const json_t *json;
    int64_t now_ms;
};

struct process_column {
    const char *key, *header;
    void (*print)(const struct process *p, struct buf *out);
};

static int64_t number(const struct process *p, const char *key)
{
    return json_integer_value(json_object_get(p->json, key));
}

static const char *text(const struct process *p, const char *key)
{
    const char *value = json_string_value(json_object_get(p->json, key));

    return value ? value : "";
}

/* What the container wrote there cannot break the table: control characters become '?', as ps does. */
static void add_tame(struct buf *out, const char *s)
{
    for (; *s; s++)
        buf_addc(out, (unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s);
}

static void print_pid(const struct process *p, struct buf *out)
{
    buf_addf(out, "%lld", (long long)number(p, "pid"));
}

static void print_ppid(const struct process *p, struct buf *out)
{
    buf_addf(out, "%lld", (long long)number(p, "ppid"));
}

static void print_uid(const struct process *p, struct buf *out)
{
    buf_addf(out, "%lld", (long long)number(p, "uid"));
}

static void print_user(const struct process *p, struct buf *out)
{
    add_tame(out, text(p, "user"));
}

static void print_comm(const struct process *p, struct buf *out)
{
    add_tame(out, text(p, "comm"));
}

/* The words of the command; what has none (a zombie) shows its name in brackets. */
static void print_args(const struct process *p, struct buf *out)
{
    const json_t *argv = json_object_get(p->json, "argv"), *word;
    size_t i;

    json_array_foreach(argv, i, word)
    {
        if (i)
            buf_addc(out, ' ');
        add_tame(out, json_is_string(word) ? json_string_value(word) : "");
    }
    if (json_array_size(argv))
        return;
    buf_addc(out, '[');
    print_comm(p, out);
    buf_addc(out, ']');
}

static void print_rss(const struct process *p, struct buf *out)
{
    buf_addf(out, "%lld", (long long)number(p, "rss") / 1024);
}

static void print_vsz(const struct process *p, struct buf *out)
{
    buf_addf(out, "%lld", (long long)number(p, "vsz") / 1024);
}

/* How long it has lived; 0 for a start that lies in the future or before all time: clocks jump. */
static int64_t age_ms(const struct process *p)
{
    int64_t start = number(p, "start_ms");

    return start < 0 || start > p->now_ms ? 0 : p->now_ms - start;
}

/* Tenths of a percent of one processor, over the whole life. */
static int64_t cpu_permille(const struct process *p)
{
    int64_t ms = age_ms(p), cpu = number(p, "cpu_ms");

    return ms > 0 && cpu > 0 && cpu < INT64_MAX / 1000 ? cpu * 1000 / ms : 0;
}

static void print_pcpu(const struct process *p, struct buf *out)
{
    buf_addf(out, "%lld.%lld", (long long)cpu_permille(p) / 10, (long long)cpu_permille(p) % 10);
}

static void print_c(const struct process *p, struct buf *out)
{
    int64_t percent = cpu_permille(p) / 10;

    buf_addf(out, "%lld", (long long)(percent > 99 ? 99 : percent));
}

static void print_pmem(const struct process *p, struct buf *out)
{
    int64_t total = number(p, "memory"), permille = total > 0 ? number(p, "rss") / (total / 1000 + 1) : 0;

    buf_addf(out, "%lld.%lld", (long long)permille / 10, (long long)permille % 10);
}

/* [DD-]HH:MM:SS */
static void print_time(const struct process *p, struct buf *out)
{
    int64_t s = number(p, "cpu_ms") / 1000;

    if (s >= 86400)
        buf_addf(out, "%lld-", (long long)s / 86400);
    buf_addf(out, "%02d:%02d:%02d", (int)(s / 3600 % 24), (int)(s / 60 % 60), (int)(s % 60));
}

/* M:SS, as `ps aux` has it */
static void print_bsd_time(const struct process *p, struct buf *out)
{
    int64_t s = number(p, "cpu_ms") / 1000;

    buf_addf(out, "%lld:%02d", (long long)s / 60, (int)(s % 60));
}

/* [[DD-]HH:]MM:SS */
static void print_etime(const struct process *p, struct buf *out)
{
    int64_t s = age_ms(p) / 1000;

    if (s >= 86400)
        buf_addf(out, "%lld-", (long long)s / 86400);
    if (s >= 3600)
        buf_addf(out, "%02d:", (int)(s / 3600 % 24));
    buf_addf(out, "%02d:%02d", (int)(s / 60 % 60), (int)(s % 60));
}

static void print_etimes(const struct process *p, struct buf *out)
{
    buf_addf(out, "%lld", (long long)age_ms(p) / 1000);
}

/* The start by a format of strftime, in local time. */
static void print_start_as(const struct process *p, const char *format, struct buf *out)
{
    time_t at = (time_t)(number(p, "start_ms") / 1000);
    char shown[64];
    struct tm tm;

    shown[0] = '\0';
    if (localtime_r(&at, &tm))
        strftime(shown, sizeof(shown), format, &tm);
    buf_adds(out, shown);
}

/* The time of a start today, the day of one this year, else the year. */
static void print_stime(const struct process *p, struct buf *out)
{
    time_t at = (time_t)(number(p, "start_ms") / 1000), now = (time_t)(p->now_ms / 1000);
    struct tm then, today;

    if (!localtime_r(&at, &then) || !localtime_r(&now, &today))
        return;
    print_start_as(p, then.tm_year != today.tm_year ? "%Y" : then.tm_yday != today.tm_yday ? "%b%d" : "%H:%M", out);
}

static void print_start(const struct process *p, struct buf *out)
{
    print_start_as(p, age_ms(p) < INT64_C(86400000) ? "%H:%M:%S" : "%b %d", out);
}

static void print_lstart(const struct process *p, struct buf *out)
{
    print_start_as(p, "%a %b %e %H:%M:%S %Y", out);
}

static void print_tty(const struct process *p, struct buf *out)
{
    add_tame(out, *text(p, "tty") ? text(p, "tty") : "?");
}

static void print_state(const struct process *p, struct buf *out)
{
    add_tame(out, text(p, "state"));
}

/* The keys of ps, and under which header; several spell the same. */
static const struct process_column columns[] = {
    {"%cpu", "%CPU", print_pcpu},
    {"%mem", "%MEM", print_pmem},
    {"args", "COMMAND", print_args},
    {"bsdtime", "TIME", print_bsd_time},
    {"c", "C", print_c},
    {"cmd", "CMD", print_args},
    {"comm", "COMMAND", print_comm},
    {"command", "COMMAND", print_args},
    {"cputime", "TIME", print_time},
    {"etime", "ELAPSED", print_etime},
    {"etimes", "ELAPSED", print_etimes},
    {"euid", "EUID", print_uid},
    {"euser", "EUSER", print_user},
    {"lstart", "STARTED", print_lstart},
    {"pcpu", "%CPU", print_pcpu},
    {"pid", "PID", print_pid},
    {"pmem", "%MEM", print_pmem},
    {"ppid", "PPID", print_ppid},
    {"rss", "RSS", print_rss},
    {"rssize", "RSS", print_rss},
    {"rsz", "RSZ", print_rss},
    {"s", "S", print_state},
    {"start", "STARTED", print_start},
    {"start_time", "START", print_stime},
    {"stat", "STAT", print_state},
    {"state", "S", print_state},
    {"stime", "STIME", print_stime},
    {"time", "TIME", print_time},
    {"tname", "TTY", print_tty},
    {"tt", "TT", print_tty},
    {"tty", "TT", print_tty},
    {"ucmd", "CMD", print_comm},
    {"ucomm", "COMMAND", print_comm},
    {"uid", "UID", print_uid},
    {"uname", "USER", print_user},
    {"user", "USER", print_user},
    {"vsize", "VSZ", print_vsz},
    {"vsz", "VSZ", print_vsz},
};

/* The lists that options without keys stand for; the full one begins with the user under the header UID. */
#define LIST_FULL  "pid,ppid,c,stime,tname,time,cmd"
#define LIST_SHORT "pid,tname,time,ucmd"
#define LIST_BSD   "pid,tname,stat,bsdtime,command"
#define LIST_USER  "user,pid,%cpu,%mem,vsz,rss,tname,stat,start_time,bsdtime,command"

static const struct process_column *find_column(const char *key)
{
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        if (strcmp(columns[i].key, key) == 0)
            return &columns[i];
    return NULL;
}

static int add_column(struct process_table *t, const char *key, const char *header, struct err *err)
{
    const struct process_column *column = find_column(key);

    if (!column)
        return err_set(err, 1, "Error response from daemon: ps: error: unknown user-defined format specifier \"%s\"",
                       key);
    if (t->len == PROCESS_COLUMNS_MAX)
        return err_set(err, 1, "Error response from daemon: ps: error: too many columns");
    t->columns[t->len] = column;
    t->headers[t->len++] = xstrdup(header ? header : column->header);
    return 0;
}

/* "pid,ppid args=WHAT": commas or blanks between keys; all that follows a '=' is the header of that column. */
static int add_keys(struct process_table *t, const char *list, struct err *err)
{
    while (*list) {
        size_t len = strcspn(list, ", =");
        cleanup_free char *key = xstrndup(list, len);
        const char *header = list[len] == '=' ? list + len + 1 : NULL;

        if ((*key || header) && add_column(t, key, header, err) < 0)
            return -1;
        if (header)
            return 0;
        list += len;
        list += *list != '\0';
    }
    return 0;
}

/* What the words said so far. */
struct choice {
    bool full, bsd, user, keys;
};

static int refuse(const char *word, struct err *err)
{
    return err_set(err, 1,
                   "docker top: the ps option '%s' is not carried out by atp-docker: there are -e, -f, -o KEYS, aux",
                   word);
}

/* One group of letters, "-eo" or "aux". Returns 1 when the next word (or *ret_rest) has the keys. */
static int read_letters(struct choice *c, const char *word, bool bsd, const char **ret_rest, struct err *err)
{
    for (const char *p = word + !bsd; *p; p++) {
        if (*p == 'o') {
            c->keys = true;
            *ret_rest = p + 1;
            return 1;
        }
        if (bsd && *p == 'u')
            c->user = true;
        else if (!bsd && *p == 'f')
            c->full = true;
        else if (!strchr(bsd ? "axw" : "eAaxw", *p))
            return refuse(word, err);
    }
    c->bsd |= bsd || strchr(word, 'x') != NULL;
    return 0;
}

static int read_words(const struct strlist *words, struct choice *c, struct process_table *t, struct err *err)
{
    for (size_t i = 0; i < words->len; i++) {
        const char *word = words->items[i], *rest = NULL;
        int ret;

        if (strncmp(word, "--", 2) == 0 || strcmp(word, "-") == 0 || *word == '\0')
            return refuse(word, err);
        ret = read_letters(c, word, *word != '-', &rest, err);
        if (ret < 0)
            return -1;
        if (ret == 0)
            continue;
        if (!*rest && i + 1 == words->len)
            return err_set(err, 1, "Error response from daemon: ps: error: format specification must follow -o");
        if (add_keys(t, *rest ? rest : words->items[++i], err) < 0)
            return -1;
    }
    return 0;
}

/* The columns of options without keys. */
static int add_usual(struct process_table *t, const struct choice *c, struct err *err)
{
    if (c->user)
        return add_keys(t, LIST_USER, err);
    if (!c->full)
        return add_keys(t, c->bsd ? LIST_BSD : LIST_SHORT, err);
    return add_column(t, "user", "UID", err) < 0 ? -1 : add_keys(t, LIST_FULL, err);
}

/* Docker finds its processes by the column that is called PID. */
static int check_pid(const struct process_table *t, struct err *err)
{
    for (size_t i = 0; i < t->len; i++)
        if (strcmp(t->headers[i], "PID") == 0)
            return 0;
    return err_set(err, 1, "Error response from daemon: Couldn't find PID field in ps output");
}

int process_table_parse(const struct strlist *words, struct process_table *ret, struct err *err)
{
    struct process_table t = {.len = 0};
    struct choice c = {.full = words->len == 0};
    int rc = read_words(words, &c, &t, err);

    if (rc == 0 && c.keys && (c.full || c.user))
        rc = err_set(err, 1, "Error response from daemon: ps: error: conflicting format options");
    if (rc == 0 && !c.keys)
        rc = add_usual(&t, &c, err);
    if (rc < 0 || check_pid(&t, err) < 0) {
        process_table_clear(&t);
        return -1;
    }
    *ret = t;
    return 0;
}

void process_table_clear(struct process_table *t)
{
    for (size_t i = 0; i < t->len; i++)
        free(t->headers[i]);
    *t = (struct process_table){.len = 0};
}

/* One line of the table, from one of the agent. */
static int add_process(const struct process_table *t, const char *line, size_t len, int64_t now_ms, struct buf *out,
                       struct err *err)
{
    json_auto_t *json = json_loadb(line, len, 0, NULL);
    const struct process p = {json, now_ms};

    if (!json_is_object(json))
        return err_set(err, 1, "the agent's list of processes is not understood");
    for (size_t i = 0; i < t->len; i++) {
        if (i)
            buf_addc(out, '\t');
        t->columns[i]->print(&p, out);
    }
    buf_addc(out, '\n');
    return 0;
}

int process_table_print(const struct process_table *t, const char *lines, int64_t now_ms, struct buf *out,
                        struct err *err)
{
    cleanup_buf struct buf whole = BUF_INIT(TABLE_MAX);

    for (size_t i = 0; i < t->len; i++)
        buf_addf(&whole, "%s%s", i ? "\t" : "", t->headers[i]);
    buf_addc(&whole, '\n');
    while (*lines) {
        size_t len = strcspn(lines, "\n");

        if (len && add_process(t, lines, len, now_ms, &whole, err) < 0)
            return -1;
        lines += len;
        lines += *lines == '\n';
    }
    table_align(whole.data, whole.len, TABLE_MIN_WIDE, TABLE_PADDING, out);
    return whole.overflowed || out->overflowed ? err_set(err, 1, "the list of processes is too long") : 0;
}
