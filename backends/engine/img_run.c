/*
 * RUN: the command in a container on the layers so far; what it changed becomes a layer. The key of that layer is all
 * that the command could know: words, variables, user, contents of mounts; secrets only by their names.
 */
#include "backends/engine/img_run.h"

#include "backends/engine/img_layer.h"
#include "backends/engine/img_user.h"
#include "backends/engine/utf8.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define HOSTNAME     "buildkitsandbox" /* as in BuildKit's containers */
#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define OUTPUT_STEP  4096u

/* ---- output ---- */

struct output {
    struct img_job *job;
    struct buf rest[2]; /* a character that is not complete yet, of each descriptor */
    size_t said;
};

static void say(struct output *o, int fd, const char *bytes, size_t len, bool last)
{
    struct buf *rest = &o->rest[fd == 2], text cleanup_buf = BUF_INIT(4 * OUTPUT_STEP);
    cleanup_free char *piece = NULL;

    buf_add(rest, bytes, len);
    buf_consume(rest, utf8_clean(&text, rest->data, rest->len, last));
    if (!text.len)
        return;
    piece = xasprintf("%d%s", fd, text.data);
    o->job->log(piece, o->job->log_arg);
}

static void on_output(int fd, const char *bytes, size_t len, void *arg)
{
    struct output *o = arg;

    while (len && o->said < LIMIT_BUILD_OUTPUT) {
        size_t n = len < OUTPUT_STEP ? len : OUTPUT_STEP;

        if (n > LIMIT_BUILD_OUTPUT - o->said)
            n = LIMIT_BUILD_OUTPUT - o->said;
        say(o, fd, bytes, n, false);
        o->said += n;
        bytes += n;
        len -= n;
        if (o->said == LIMIT_BUILD_OUTPUT)
            o->job->log("2\n[output clipped, log limit 2MiB reached]\n", o->job->log_arg);
    }
}

/* ---- what it is run with ---- */

/* "host:ip" (or "host=ip") lines for /etc/hosts; owned by caller. */
static char *make_hosts(const struct img_job *job, struct err *err)
{
    struct buf out = BUF_INIT(LIMIT_CONFIG_FILE);

    buf_adds(&out, "127.0.0.1\tlocalhost " HOSTNAME "\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (size_t i = 0; i < job->add_hosts.len; i++) {
        const char *entry = job->add_hosts.items[i];
        size_t n = strcspn(entry, ":=");
        cleanup_free char *ip = xstrdup(entry[n] ? entry + n + 1 : "");
        size_t len = strlen(ip);
        unsigned char address[16];

        if (len > 1 && *ip == '[' && ip[len - 1] == ']') {
            memmove(ip, ip + 1, len - 2);
            ip[len - 2] = '\0';
        }
        if (!n || strcspn(entry, " \t\r\n") < n ||
            (inet_pton(AF_INET, ip, address) != 1 && inet_pton(AF_INET6, ip, address) != 1)) {
            err_set(err, 1, "invalid host to add: %s", entry);
            buf_clear(&out);
            return NULL;
        }
        buf_addf(&out, "%s\t%.*s\n", ip, (int)n, entry);
    }
    return buf_detach(&out);
}

/* Variables: the step's own, then those of secrets. */
static void make_env(struct img_running *r)
{
    const struct strlist *secrets = &r->b->job->secrets;

    strlist_copy(&r->env, &r->step->env);
    if (!strlist_env_get(&r->env, "PATH"))
        strlist_env_set(&r->env, "PATH", PATH_DEFAULT);
    for (size_t i = 0; i < r->env.len; i++)
        img_run_key(r, "env", r->env.items[i]);
    for (size_t i = 0; i < secrets->len; i++) {
        const char *equal = strchr(secrets->items[i], '=');
        cleanup_free char *name = equal ? xstrndup(secrets->items[i], (size_t)(equal - secrets->items[i])) : NULL;

        if (!name || strncmp(name, "ATP_SECRET_", 11) == 0)
            continue;
        strlist_env_set(&r->env, name, equal + 1);
        img_run_key(r, "secret variable", name);
    }
}

static int find_network(const struct df_step *s, enum images_run_network *ret, struct err *err)
{
    const char *name = s->network ? s->network : "default";

    if (s->security && strcmp(s->security, "sandbox") != 0)
        return err_set(err, 1, "RUN --security=%s is not allowed by this builder", s->security);
    if (strcmp(name, "default") == 0)
        *ret = IMAGES_RUN_OPEN;
    else if (strcmp(name, "none") == 0)
        *ret = IMAGES_RUN_NONE;
    else if (strcmp(name, "host") == 0)
        *ret = IMAGES_RUN_HOST;
    else
        return err_set(err, 1, "unsupported network mode \"%s\"", name);
    return 0;
}

/* ---- the layer ---- */

struct running {
    struct img_running r;
    struct images_run run;
    struct img_user user;
};

/* As BuildKit quotes a command: Go's %q of the words with blanks between. */
static char *quoted(const struct strlist *argv)
{
    struct buf out = BUF_INIT(LIMIT_CONFIG_FILE);

    buf_addc(&out, '"');
    for (size_t i = 0; i < argv->len; i++) {
        buf_adds(&out, i ? " " : "");
        for (const char *p = argv->items[i]; *p; p++) {
            if (*p == '"' || *p == '\\')
                buf_addf(&out, "\\%c", *p);
            else if (*p == '\n')
                buf_adds(&out, "\\n");
            else if (*p == '\t')
                buf_adds(&out, "\\t");
            else if (*p == '\r')
                buf_adds(&out, "\\r");
            else if ((unsigned char)*p < 0x20 || *p == 0x7f)
                buf_addf(&out, "\\x%02x", (unsigned)*p);
            else
                buf_addc(&out, *p);
        }
    }
    buf_addc(&out, '"');
    return buf_detach(&out);
}

/* Runs it; what it changed is then at upper. */
static int carry_out(struct running *x, const char *upper, struct err *err)
{
    struct img_job *job = x->r.b->job;
    struct output o = {.job = job, .rest = {BUF_INIT(2 * OUTPUT_STEP), BUF_INIT(2 * OUTPUT_STEP)}};
    cleanup_free char *words = quoted(x->run.args);
    int code = 0, ret;

    x->run.upper = upper;
    x->run.output = on_output;
    x->run.arg = &o;
    x->run.cancelled = &job->cancelled;
    ret = job->run(&x->run, &code, job->run_arg, err);
    say(&o, 1, "", 0, true);
    say(&o, 2, "", 0, true);
    buf_clear(&o.rest[0]);
    buf_clear(&o.rest[1]);
    if (img_cancelled(job, ret < 0 ? NULL : err) < 0)
        return -1;
    if (ret < 0)
        return err_wrap(err, "process %s did not complete successfully", words);
    if (code != 0)
        return err_set(err, 1, "process %s did not complete successfully: exit code: %d", words, code);
    return 0;
}

static int make_layer(void *arg, const char *key, struct err *err)
{
    struct running *x = arg;
    struct img_job *job = x->r.b->job;
    cleanup_free char *tmp = img_store_tmp(job->dir, err), *upper = tmp ? xasprintf("%s/f", tmp) : NULL;
    struct img_layer_meta meta = img_step_meta(job);
    int64_t size = 0;
    int ret = -1;

    if (!tmp || fs_mkdirs(tmp, 0700, err) < 0)
        return -1;
    if (img_run_caches(&x->r, err) == 0 && carry_out(x, upper, err) == 0 &&
        img_settle(upper, x->r.view, &x->r.stubs, &size, err) == 0)
        ret = img_layer_keep_as(job->dir, tmp, key, size, &meta, err);
    if (ret < 0)
        img_store_remove(tmp);
    return ret;
}

/* The layers that the container stands on: at least one. */
static int find_lowers(struct img_running *r, struct err *err)
{
    struct img_job *job = r->b->job;
    char empty[65];

    img_layer_dirs(job, &job->layers, &r->lowers);
    if (r->lowers.len)
        return 0;
    if (img_empty_layer(job, empty, err) < 0)
        return -1;
    strlist_add_owned(&r->lowers, img_layer_dir(job->dir, empty));
    return 0;
}

static void describe(struct running *x)
{
    struct img_running *r = &x->r;

    for (size_t i = 0; i < r->step->argv.len; i++)
        img_run_key(r, "arg", r->step->argv.items[i]);
    img_run_key(r, "user", r->step->user);
    img_run_key(r, "workdir", r->step->workdir);
    buf_addf(&r->what, "network %d\n", (int)x->run.network);
    for (size_t i = 0; i < r->b->job->add_hosts.len; i++)
        img_run_key(r, "host", r->b->job->add_hosts.items[i]);
}

int img_run(struct img_build *b, const struct df_step *step, bool *ret_cached, struct err *err)
{
    struct running x = {.r = {.b = b, .step = step, .what = BUF_INIT(LIMIT_CONFIG_FILE)}};
    struct img_running *r = &x.r;
    cleanup_free char *hosts = make_hosts(b->job, err);
    int ret = -1;

    if (!b->job->run)
        err_set(err, 1, "RUN cannot be carried out here: there is no container runtime");
    else if (hosts && find_network(step, &x.run.network, err) == 0 && (r->view = img_job_view(b->job, err)) &&
             find_lowers(r, err) == 0 && img_user(r->view, step->user, &x.user, err) == 0) {
        describe(&x);
        make_env(r);
        ret = img_run_mounts(r, err);
    }
    if (ret == 0 && r->what.overflowed)
        ret = err_set(err, 1, "RUN: words and variables are too long");
    if (ret == 0) {
        x.run.lowers = &r->lowers;
        x.run.args = &step->argv;
        x.run.env = &r->env;
        x.run.workdir = step->workdir;
        x.run.hostname = HOSTNAME;
        x.run.hosts = hosts;
        x.run.uid = x.user.uid;
        x.run.gid = x.user.gid;
        x.run.groups = x.user.groups;
        x.run.groups_len = x.user.groups_len;
        x.run.mounts = r->mounts;
        x.run.mounts_len = r->mounts_len;
        ret = img_step_layer(b->job, "run", r->what.data, make_layer, &x, ret_cached, err);
    }
    img_user_clear(&x.user);
    img_run_release(r);
    return ret;
}
