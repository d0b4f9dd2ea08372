/* compose events: what `docker events` says of a project's containers, in compose's words. A process of its own follows
 * them; its lines are read here. */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "compat/sys/parent.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/compose/compose.h"
#include "shim/compose/jobs.h"
#include "shim/compose/members.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE_LIMIT (4u << 20)
#define OWN_LABELS "com.docker.compose."

struct follow {
    const struct strlist *services;
    bool json;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The attributes without compose's own, by name, as a new object. */
static json_t *attributes_of(const json_t *all)
{
    size_t len = json_object_size(all), i = 0;
    const char **keys = xcalloc(len + 1, sizeof(*keys)), *key;
    json_t *ret = json_object(), *value;

    json_object_foreach((json_t *)all, key, value) keys[i++] = key;
    qsort(keys, len, sizeof(*keys), by_text);
    for (i = 0; i < len; i++)
        if (strncmp(keys[i], OWN_LABELS, strlen(OWN_LABELS)) != 0)
            json_object_set(ret, keys[i], json_object_get(all, keys[i]));
    free(keys);
    return ret;
}

/* "2006-01-02 15:04:05.000000", or with T and a zone for JSON. Owned by caller. */
static char *stamp(int64_t ns, bool json)
{
    time_t seconds = (time_t)(ns / 1000000000);
    char text[64] = "", zone[16] = "";
    struct tm tm;

    localtime_r(&seconds, &tm);
    strftime(text, sizeof(text), json ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &tm);
    strftime(zone, sizeof(zone), "%z", &tm);
    if (!json)
        return xasprintf("%s.%06d", text, (int)(ns % 1000000000 / 1000));
    if (tm.tm_gmtoff == 0)
        return xasprintf("%s.%09dZ", text, (int)(ns % 1000000000));
    return xasprintf("%s.%09d%.3s:%s", text, (int)(ns % 1000000000), zone, zone + 3);
}

static void print_json(const json_t *event, const char *service, const char *when, json_t *attributes)
{
    json_auto_t *line = json_pack(
        "{s:O?, s:O, s:O?, s:s, s:s, s:s}", "action", json_object_get(event, "Action"), "attributes", attributes, "id",
        json_object_get(json_object_get(event, "Actor"), "ID"), "service", service, "time", when, "type", "container");
    cleanup_free char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;

    puts(text ? text : "{}");
}

static void print_line(const json_t *event, const char *when, json_t *attributes)
{
    const char *action = json_string_value(json_object_get(event, "Action"));
    const char *id = json_string_value(json_object_get(json_object_get(event, "Actor"), "ID"));
    const char *key, *sep = "";
    json_t *value;

    printf("%s container %s %s (", when, action ? action : "", id ? id : "");
    json_object_foreach(attributes, key, value)
    {
        printf("%s%s=%s", sep, key, json_string_value(value) ? json_string_value(value) : "");
        sep = ", ";
    }
    puts(")\n");
}

static void take_line(const struct follow *f, const char *line)
{
    json_auto_t *event = json_loads(line, 0, NULL), *attributes = NULL;
    const json_t *all = json_object_get(json_object_get(event, "Actor"), "Attributes");
    const char *service = json_string_value(json_object_get(all, LABEL_SERVICE));
    const char *oneoff = json_string_value(json_object_get(all, LABEL_ONEOFF));
    cleanup_free char *when = stamp(json_integer_value(json_object_get(event, "timeNano")), f->json);

    if (!event || (oneoff && !strcmp(oneoff, "True")))
        return;
    if (f->services->len && (!service || !strlist_has(f->services, service)))
        return;
    attributes = attributes_of(all);
    if (f->json)
        print_json(event, service ? service : "", when, attributes);
    else
        print_line(event, when, attributes);
    fflush(stdout);
}

/* The process that follows: what `docker events` prints goes into the pipe. */
static void begin(struct app *app, const struct opt_parsed *opts, const char *project, int to)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    int code;

    dup2(to, STDOUT_FILENO);
    strlist_add(&words, "--filter");
    strlist_add(&words, "type=container");
    strlist_add(&words, "--filter");
    strlist_addf(&words, "label=" LABEL_PROJECT "=%s", project);
    strlist_add(&words, "--format");
    strlist_add(&words, "json");
    for (const char *const *name = (const char *const[]){"since", "until", NULL}; *name; name++) {
        if (opt_given(opts, *name) && *opt_str(opts, *name)) {
            strlist_addf(&words, "--%s", *name);
            strlist_add(&words, opt_str(opts, *name));
        }
    }
    code = command_call(app, "events", &words, &err);
    if (code < 0)
        fprintf(stderr, "%s\n", err.msg);
    fflush(NULL);
    _exit(code < 0 ? 1 : code);
}

static int read_lines(const struct follow *f, int fd, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LINE_LIMIT);

    for (;;) {
        char *room = buf_reserve(&text, 4096), *end;
        ssize_t n = room ? read(fd, room, 4096) : -1;

        if (!room)
            return err_set(err, 1, "an event is too long");
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        buf_advance(&text, (size_t)n);
        while ((end = memchr(text.data, '\n', text.len))) {
            *end = '\0';
            take_line(f, text.data);
            buf_consume(&text, (size_t)(end - text.data) + 1);
        }
    }
}

static int events_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct follow f = {opt_args(opts), opt_bool(opts, "json")};
    cleanup_free char *project = compose_name(app, err);
    cleanup_close int from = -1;
    int ends[2], status = 0, ret;
    pid_t self, pid;

    if (!project)
        return -1;
    jobs_rest(app);
    fflush(NULL);
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set_errno(err, 1, errno, "following events");
    self = getpid();
    pid = fork();
    if (pid == 0) {
        parent_tie(self);
        begin(app, opts, project, ends[1]);
    }
    close(ends[1]);
    from = ends[0];
    ret = pid > 0 ? read_lines(&f, from, err) : err_set_errno(err, 1, errno, "following events");
    if (ret < 0 && pid > 0)
        kill(pid, SIGTERM);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return ret < 0 ? -1 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

extern const struct cmd_def cmd_def_compose_events;

const struct command cmd_compose_events = {.def = &cmd_def_compose_events, .errors = ERROR_PLAIN, .run = events_run};
