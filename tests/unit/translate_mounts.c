/* link: atp_translate */
/*
 * -v and --mount. The client's texts were compared with docker 28.2.2; the daemon's are those of
 * docker-cli.md 4.1, 4.2.
 */
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/input.h"
#include "translate/mounts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct input in = {.cwd = "/w/d", .home = "/home/me"};

/* Adds words ("-v x" and "--mount x" in turn) and finishes; returns the error's text in err. */
static int build(struct mounts *m, const char *const *words, struct err *err)
{
    for (; words[0]; words += 2) {
        int rc =
            words[0][1] == 'v' ? mounts_add_volume(m, words[1], &in, err) : mounts_add_mount(m, words[1], &in, err);

        if (rc < 0)
            return -1;
    }
    return mounts_finish(m, &in, err);
}

/* One line for each mount. */
static void show(const struct mounts *m, struct buf *out)
{
    for (size_t i = 0; i < m->len; i++) {
        const struct mount *x = &m->items[i];

        buf_addf(out, "%s%s %s>%s%s%s%s", i ? "; " : "", mount_type_name(x->type), x->source ? x->source : "-",
                 x->target, x->readonly ? " ro" : "", x->create_source ? " create" : "", x->whole_home ? " home" : "");
    }
}

#define D "Error response from daemon: "
#define NAME_TAIL                                                                                                      \
    " includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you "    \
    "intended to pass a host directory, use absolute path"
#define OURS " is not carried out by atp-docker: "

static const struct {
    const char *words[9];
    const char *want, *message; /* message may end with * */
} table[] = {
    /* the client's faults */
    {{"-v", ""}, NULL, "invalid empty volume spec"},
    {{"-v", ":/x"}, NULL, "invalid spec: :/x: empty section between colons"},
    {{"-v", "/x::ro"}, NULL, "invalid spec: /x::ro: empty section between colons"},
    {{"-v", "/x:/y:"}, NULL, "invalid spec: /x:/y:: empty section between colons"},
    {{"-v", "aa:/b:cc:dd"}, NULL, "invalid spec: aa:/b:cc:dd: too many colons"},
    {{"--mount", ""}, NULL, "EOF"},
    {{"--mount", "foo"}, NULL, "invalid field 'foo' must be a key=value pair"},
    {{"--mount", "\"\""}, NULL, "invalid field '' must be a key=value pair"},
    {{"--mount", "type=bind,src=/a,dst=/b,"}, NULL, "invalid field '' must be a key=value pair"},
    {{"--mount", "volume-opt"}, NULL, "invalid field 'volume-opt' must be a key=value pair"},
    {{"--mount", "type=bind,foo=bar"}, NULL, "unexpected key 'foo' in 'foo=bar'"},
    {{"--mount", "=a,dst=/x"}, NULL, "unexpected key '' in '=a'"},
    {{"--mount", "type=bind, src=/a"}, NULL, "unexpected key ' src' in ' src=/a'"},
    {{"--mount", "type=bind"}, NULL, "target is required"},
    {{"--mount", "type=bind,volume-label=a"}, NULL, "target is required"},
    {{"--mount", "type=,dst=/b"}, NULL, "type is required"},
    {{"--mount", "type=bind,\"src=/a"},
     NULL,
     "parse error on line 1, column 18: extraneous or missing \" in quoted-field"},
    {{"--mount", "a\"b=c,dst=/x"}, NULL, "parse error on line 1, column 2: bare \" in non-quoted-field"},
    {{"--mount", "type=bind,src=/a,dst=/b,ro=maybe"}, NULL, "invalid value for ro: maybe"},
    {{"--mount", "type=bind,src=/a,dst=/b,bind-recursive=foo"},
     NULL,
     "invalid value for bind-recursive: foo (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"},
    {{"--mount", "type=bind,src=/a,dst=/b,bind-recursive=readonly"},
     NULL,
     "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction"},
    {{"--mount", "type=bind,src=/a,dst=/b,bind-recursive=writable"},
     NULL,
     "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction"},
    {{"--mount", "type=bind,src=/a,dst=/b,bind-recursive=readonly,ro"},
     NULL,
     "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"},
    {{"--mount", "type=tmpfs,dst=/b,tmpfs-size=zz"}, NULL, "invalid value for tmpfs-size: zz"},
    {{"--mount", "type=tmpfs,dst=/b,tmpfs-mode=9"}, NULL, "invalid value for tmpfs-mode: 9"},
    {{"--mount", "type=tmpfs,dst=/b,tmpfs-mode=77777777777"}, NULL, "invalid value for tmpfs-mode: 77777777777"},
    {{"--mount", "src=/a,dst=/b,volume-nocopy=x"}, NULL, "invalid value for volume-nocopy: x"},
    {{"--mount", "type=volume,bind-propagation=shared,dst=/x"},
     NULL,
     "cannot mix 'bind-*' options with mount type 'volume'"},
    {{"--mount", "bind-propagation=shared,dst=/x"}, NULL, "cannot mix 'bind-*' options with mount type 'volume'"},
    {{"--mount", "type=tmpfs,volume-label=a,dst=/x,bind-propagation=x"},
     NULL,
     "cannot mix 'volume-*' options with mount type 'tmpfs'"},
    {{"--mount", "type=image,src=/a,dst=/b,volume-nocopy"},
     NULL,
     "cannot mix 'volume-*' options with mount type 'image'"},

    /* the daemon's */
    {{"-v", "a:/b:c:d"}, NULL, D "invalid volume specification: 'a:/b:c:d'"},
    {{"-v", "a:/b:/c"}, NULL, D "invalid mode: /c"},
    {{"-v", "a:/b"}, NULL, "*'a:/b' mount path must be absolute"},
    {{"-v", "/src:ro"}, NULL, D "invalid volume specification: '/src:ro'"},
    {{"-v", "/src:z,ro"}, NULL, D "invalid volume specification: '/src:z,ro'"},
    {{"-v", "/a:/b:bogus"}, NULL, D "invalid mode: bogus"},
    {{"-v", "/a:/b:RO"}, NULL, D "invalid mode: RO"},
    {{"-v", "/a:/b:ro,rw"}, NULL, D "invalid mode: ro,rw"},
    {{"-v", "/a:/b:z,Z"}, NULL, D "invalid mode: z,Z"},
    {{"-v", "/a:/b:ro,"}, NULL, D "invalid mode: ro,"},
    {{"-v", "/a:/b:ro ,z"}, NULL, D "invalid mode: ro ,z"},
    {{"-v", "/a:rel"},
     NULL,
     D
     "invalid volume specification: '/a:rel': invalid mount config for type \"bind\": invalid mount path: 'rel' mount "
     "path must be absolute"},
    {{"-v", "aa:rel"},
     NULL,
     D "invalid volume specification: 'aa:rel': invalid mount config for type \"volume\": invalid mount path: 'rel' "
       "mount "
       "path must be absolute"},
    {{"-v", "/a:/"},
     NULL,
     D
     "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: destination "
     "can't be '/'"},
    {{"-v", "/a:/x/../."}, NULL, "*destination can't be '/'"},
    {{"-v", "./a:/"}, NULL, D "invalid volume specification: '/w/d/a:/': *"},
    {{"-v", "/a:/b:nocopy"}, NULL, "*field VolumeOptions must not be specified"},
    {{"-v", "~/x:/dst"}, NULL, D "create ~/x: \"~/x\"" NAME_TAIL},
    {{"-v", "a b:/dst"}, NULL, D "create a b: \"a b\"" NAME_TAIL},
    {{"-v", "src/x:/dst"}, NULL, D "create src/x: \"src/x\"" NAME_TAIL},
    {{"--mount", "type=bind,dst=/b"}, NULL, D "invalid mount config for type \"bind\": field Source must not be empty"},
    {{"--mount", "type=bind,src=,dst=/b"},
     NULL,
     D "invalid mount config for type \"bind\": field Source must not be empty"},
    {{"--mount", "type=bind,src=a,dst=/b"},
     NULL,
     D "invalid mount config for type \"bind\": invalid mount path: 'a' mount path must be absolute"},
    {{"--mount", "type=bind,src=/a,dst=b"},
     NULL,
     D "invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute"},
    {{"--mount", "type=bind,src=/a,dst=/b,bind-propagation=foo"},
     NULL,
     D "invalid mount config for type \"bind\": invalid propagation mode: foo"},
    {{"--mount", "type=bind,src=/a,dst=/b,consistency=foo"}, NULL, D "invalid mount config for type \"bind\": *"},
    {{"--mount", "type=bogus,dst=/x"}, NULL, D "invalid mount config for type \"bogus\": mount type unknown"},
    {{"--mount", "type=tmpfs,src=/a,dst=/x"},
     NULL,
     D "invalid mount config for type \"tmpfs\": field Source must not be specified"},
    {{"--mount", "dst=/x,ro"}, NULL, "*must not set ReadOnly mode when using anonymous volumes"},
    {{"--mount", "src=/abs,dst=/x"}, NULL, D "create /abs: \"/abs\"" NAME_TAIL},
    {{"-v", "/a:/x", "-v", "/b:/x"}, NULL, D "Duplicate mount point: /x"},
    {{"-v", "/a:/x", "-v", "/a:/x:ro"}, NULL, D "Duplicate mount point: /x"},
    {{"-v", "/a:/x", "-v", "/b:/y/../x/"}, NULL, D "Duplicate mount point: /x"},
    {{"-v", "/a:/x", "--mount", "type=bind,src=/a,dst=/x"}, NULL, D "Duplicate mount point: /x"},

    /* ours */
    {{"-v", "/:/host"}, NULL, "-v /:/host" OURS "*"},
    {{"-v", "/..:/host:ro"}, NULL, "-v /..:/host:ro" OURS "*"},
    {{"-v", "../../..:/host"}, NULL, "-v /:/host" OURS "*"},
    {{"-v", "/proc:/p"}, NULL, "-v /proc:/p" OURS "*"},
    {{"-v", "/proc/self/fd:/p"}, NULL, "-v /proc/self/fd:/p" OURS "*"},
    {{"-v", "/tmp/../sys/fs:/p:ro"}, NULL, "-v /tmp/../sys/fs:/p:ro" OURS "*"},
    {{"-v", "/dev/null:/etc/x:ro"}, NULL, "-v /dev/null:/etc/x:ro" OURS "*"},
    {{"-v", "/var/run/docker.sock:/var/run/docker.sock", "-v", "/a:/b"}, "bind /a>/b create", NULL},
    {{"--mount", "type=bind,src=/dev,dst=/d"}, NULL, "--mount type=bind,src=/dev,dst=/d" OURS "*"},
    {{"-v", "/a:/proc"}, NULL, "-v /a:/proc" OURS "*"},
    {{"-v", "/a:/sys/x"}, NULL, "-v /a:/sys/x" OURS "*"},
    {{"-v", "/a:/dev"}, NULL, "-v /a:/dev" OURS "*"},
    {{"-v", "/a:/.atp/x"}, NULL, "-v /a:/.atp/x" OURS "*"},
    {{"-v", "/dst"}, "volume ->/dst create", NULL},
    {{"-v", "/"}, NULL, "*destination can't be '/'"},
    {{"-v", "name:/dst:ro"}, "volume name>/dst ro create", NULL},
    {{"-v", "name:/dst:nocopy"}, "volume name>/dst create", NULL},
    {{"-v", "src:/dst"}, "volume src>/dst create", NULL},
    {{"--mount", "dst=/x"}, "volume ->/x", NULL},
    {{"--mount", "type=volume,src=data,dst=/x,volume-label=a=b,volume-driver=local"}, "volume data>/x", NULL},
    {{"--mount", "src=data,dst=/x,volume-driver=nfs"}, NULL, "*no volume driver but \"local\""},
    {{"--mount", "src=data,dst=/x,volume-opt=o=x"}, NULL, "*mean nothing to a volume of Modal's"},
    {{"--mount", "src=data,dst=/x,volume-subpath=y"},
     NULL,
     "*a part of a volume (volume-subpath) is not carried out yet"},
    {{"-v", "same:/x", "-v", "same:/y"}, NULL, "-v same:/y" OURS "one volume in two places of a container"},
    {{"-v", "name:/proc/x"}, NULL, "-v name:/proc/x" OURS "*"},
    {{"-v", "name:/.atp/x"}, NULL, "-v name:/.atp/x" OURS "*"},
    {{"--mount", "type=tmpfs,dst=/x,tmpfs-size=1m,tmpfs-mode=1777"}, "tmpfs ->/x", NULL},
    {{"--mount", "type=image,src=x,dst=/x,image-subpath=y"}, NULL, "*image mounts are not carried out yet"},
    {{"--mount", "type=npipe,src=x,dst=/x"}, NULL, "*Windows only"},
    {{"--mount", "type=cluster,src=x,dst=/x"}, NULL, "*swarm*"},

    /* carried out */
    {{NULL}, "", NULL},
    {{"-v", "/a:/b"}, "bind /a>/b create", NULL},
    {{"-v", "/a//b/./c/..:/d//e/"}, "bind /a/b>/d/e create", NULL},
    {{"-v", "/a:/b:ro"}, "bind /a>/b ro create", NULL},
    {{"-v", "/a:/b:rro"}, "bind /a>/b ro create", NULL},
    {{"-v", "/a:/b:rw"}, "bind /a>/b create", NULL},
    {{"-v", "/a:/b:z,ro,rslave,cached"}, "bind /a>/b ro create", NULL},
    {{"-v", "/a:/b:delegated"}, "bind /a>/b create", NULL},
    {{"-v", ".:/b"}, "bind /w/d>/b create", NULL},
    {{"-v", "./x:/b:ro"}, "bind /w/d/x>/b ro create", NULL},
    {{"-v", "../x:/b"}, "bind /w/x>/b create", NULL},
    {{"-v", "..:/b"}, "bind /w>/b create", NULL},
    {{"-v", ".hidden:/b"}, "bind /w/d/.hidden>/b create", NULL},
    {{"-v", "/a,b c:/b"}, "bind /a,b c>/b create", NULL},
    {{"-v", "/a\nb:/b"}, "bind /a\nb>/b create", NULL},
    {{"-v", "/a:ro/x"}, NULL, "*mount path must be absolute"},
    {{"-v", "/home/me:/b"}, "bind /home/me>/b create home", NULL},
    {{"-v", "/home/me/x:/b"}, "bind /home/me/x>/b create", NULL},
    {{"-v", "/dev/shm/x:/b"}, "bind /dev/shm/x>/b create", NULL},
    {{"-v", "/process:/b"}, "bind /process>/b create", NULL},
    {{"-v", "/a:/device"}, "bind /a>/device create", NULL},
    {{"-v", "/etc/passwd:/etc/passwd:ro"}, "bind /etc/passwd>/etc/passwd ro create", NULL},
    {{"--mount", "type=bind,src=/a,dst=/b"}, "bind /a>/b", NULL},
    {{"--mount", "TYPE=BIND,SRC=/a,DST=/b,Readonly"}, "bind /a>/b ro", NULL},
    {{"--mount", "type=bind,source=./x,target=/b,ro=1"}, "bind /w/d/x>/b ro", NULL},
    {{"--mount", "type=bind,src=/a,destination=/b,readonly=false"}, "bind /a>/b", NULL},
    {{"--mount", "type=bind,\"src=/a,b\",dst=/b"}, "bind /a,b>/b", NULL},
    {{"--mount", "type=bind,\"src=/a\"\"b\",dst=/b"}, "bind /a\"b>/b", NULL},
    {{"--mount", "type=bind,src=/a,dst=/b,dst=/c"}, "bind /a>/c", NULL},
    {{"--mount", "type=bind,src=/a=b,dst=/b"}, "bind /a=b>/b", NULL},
    {{"--mount", "type=bind,src=/a,dst=/b,consistency=Cached,bind-propagation=RPrivate,bind-recursive=disabled"},
     "bind /a>/b",
     NULL},
    {{"--mount", "type=bind,src=/a,dst=/b,ro,bind-recursive=readonly,bind-propagation=rprivate"},
     "bind /a>/b ro",
     NULL},
    {{"-v", "/a:/x", "-v", "/a:/x"}, "bind /a>/x create", NULL},
    {{"-v", "./a:/x", "-v", "/w/d/a:/x"}, "bind /w/d/a>/x create", NULL},
    {{"-v", "/x", "-v", "/a:/x"}, "bind /a>/x create", NULL},
    {{"-v", "/a:/x", "-v", "/x/"}, "bind /a>/x create", NULL},
    {{"-v", "/a:/x/y/z", "-v", "/b:/w", "-v", "/c:/x", "-v", "/d:/v"},
     "bind /b>/w create; bind /c>/x create; bind /d>/v create; bind /a>/x/y/z create",
     NULL},
};

/* A message with one '*' at its beginning or end leaves that end open. */
static void assert_message(const char *got, const char *want)
{
    size_t len = strlen(want), got_len = strlen(got);

    if (want[0] == '*' && want[len - 1] == '*') {
        cleanup_free char *middle = strndup(want + 1, len - 2);

        if (!strstr(got, middle))
            fail_msg("'%s' does not hold '%s'", got, middle);
    } else if (want[0] == '*') {
        if (got_len < len - 1 || strcmp(got + got_len - (len - 1), want + 1) != 0)
            fail_msg("'%s' does not end as '%s'", got, want);
    } else if (want[len - 1] == '*') {
        if (strncmp(got, want, len - 1) != 0 || got_len == len - 1)
            fail_msg("'%s' does not begin as '%s'", got, want);
    } else {
        assert_string_equal(got, want);
    }
    assert_null(strchr(got, '\n'));
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cleanup_with(mounts_clear) struct mounts m = {0};
        cleanup_err struct err err = ERR_INIT;
        cleanup_buf struct buf shown = BUF_INIT(LIMIT_CONFIG_FILE);
        int rc = build(&m, table[i].words, &err);

        if (table[i].message) {
            if (rc == 0)
                fail_msg("'%s' was accepted", table[i].words[1]);
            assert_message(err.msg, table[i].message);
            assert_int_equal(err.exit_code, 125);
            continue;
        }
        if (rc < 0)
            fail_msg("'%s': %s", table[i].words[1], err.msg);
        show(&m, &shown);
        assert_string_equal(shown.data, table[i].want);
    }
}

/* What compose will need of the kinds that are refused today is understood all the same. */
/* What is approximated quietly, Docker's socket and the size of a tmpfs: who wants none of that is told. */
static void test_strict(void **state)
{
    static const struct input strict = {.cwd = "/w/d", .home = "/home/me", .strict = true};
    cleanup_with(mounts_clear) struct mounts socket = {0}, sized = {0}, plain = {0};
    cleanup_err struct err err = ERR_INIT, sized_err = ERR_INIT;

    (void)state;
    assert_int_equal(mounts_add_volume(&socket, "/var/run/docker.sock:/var/run/docker.sock", &strict, NULL), 0);
    assert_int_equal(mounts_finish(&socket, &strict, &err), -1);
    assert_message(err.msg, "*programs that speak Docker's API socket are not served");
    assert_int_equal(mounts_add_mount(&sized, "type=tmpfs,dst=/t,tmpfs-size=1m", &strict, NULL), 0);
    assert_int_equal(mounts_finish(&sized, &strict, &sized_err), -1);
    assert_message(sized_err.msg, "*whose size nobody holds down");
    assert_int_equal(mounts_add_mount(&plain, "type=tmpfs,dst=/t", &strict, NULL), 0);
    assert_int_equal(mounts_finish(&plain, &strict, NULL), 0);
}

static void test_fields_of_other_kinds(void **state)
{
    cleanup_with(mounts_clear) struct mounts m = {0};

    (void)state;
    assert_int_equal(mounts_add_mount(&m,
                                      "src=data,dst=/x,volume-label=a=b,volume-label=c,volume-driver=nfs,"
                                      "volume-opt=o=addr=1,volume-nocopy,volume-subpath=s",
                                      &in, NULL),
                     0);
    assert_int_equal(mounts_add_mount(&m, "type=tmpfs,dst=/t,tmpfs-size=1.5m,tmpfs-mode=1777", &in, NULL), 0);
    assert_int_equal(m.items[0].type, MOUNT_VOLUME);
    assert_string_equal(m.items[0].labels.items[0], "a=b");
    assert_string_equal(m.items[0].labels.items[1], "c=");
    assert_string_equal(m.items[0].driver_opts.items[0], "o=addr=1");
    assert_string_equal(m.items[0].driver, "nfs");
    assert_string_equal(m.items[0].subpath, "s");
    assert_true(m.items[0].nocopy);
    assert_int_equal(m.items[1].tmpfs_size, 1572864);
    assert_int_equal(m.items[1].tmpfs_mode, 01777);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_strict),
                                       cmocka_unit_test(test_fields_of_other_kinds)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
