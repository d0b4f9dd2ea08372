#include "translate/mounts.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/paths.h"
#include "compat/docker/quote.h"
#include "compat/docker/units.h"
#include "translate/input.h"
#include "translate/mounts_private.h"
#include "translate/names.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define DAEMON "Error response from daemon: "

static const char *const type_names[MOUNT_TYPE_MAX] = {"bind", "volume", "tmpfs", "npipe", "image", "cluster"};

const char *mount_type_name(enum mount_type type)
{
    return type < MOUNT_TYPE_MAX ? type_names[type] : "unknown";
}

void mount_clear(struct mount *m)
{
    free(m->spec);
    free(m->type_word);
    free(m->source);
    free(m->target);
    free(m->mode);
    free(m->propagation);
    free(m->consistency);
    free(m->driver);
    free(m->subpath);
    strlist_clear(&m->labels);
    strlist_clear(&m->driver_opts);
    *m = (struct mount){0};
}

void mounts_clear(struct mounts *m)
{
    for (size_t i = 0; i < m->len; i++)
        mount_clear(&m->items[i]);
    free(m->items);
    *m = (struct mounts){0};
}

void mounts_take(struct mounts *m, struct mount *mount)
{
    m->items = xreallocarray(m->items, m->len + 1, sizeof(*m->items));
    m->items[m->len++] = *mount;
    *mount = (struct mount){0};
}

/* --- the client's look at -v --- */

/*
 * Checks the sections between colons. A single letter before a colon is taken for a Windows drive, as the client does,
 * so that "c:/x" is one section. *ret_sections is 1 for a target alone.
 */
static int client_sections(const char *spec, unsigned *ret_sections, struct err *err)
{
    unsigned sections = 0;
    size_t len = 0;

    for (const char *p = spec;; p++) {
        if (*p == ':' && len == 1 && isalpha((unsigned char)p[-1])) {
            len++;
            continue;
        }
        if (*p != ':' && *p != '\0') {
            len++;
            continue;
        }
        if (len == 0)
            return err_set(err, 125, "invalid spec: %s: empty section between colons", spec);
        if (sections == 2 && *p == ':')
            return err_set(err, 125, "invalid spec: %s: too many colons", spec);
        sections++;
        len = 0;
        if (*p == '\0')
            break;
    }
    *ret_sections = sections;
    return 0;
}

static bool already_there(const struct mounts *m, const char *spec)
{
    for (size_t i = 0; i < m->len; i++)
        if (!m->items[i].from_mount && strcmp(m->items[i].spec, spec) == 0)
            return true;
    return false;
}

int mounts_add_volume(struct mounts *m, const char *spec, const struct input *in, struct err *err)
{
    struct mount mount = {.type = MOUNT_VOLUME, .create_source = true};
    size_t len = strlen(spec);
    unsigned sections = 1;

    if (len == 0)
        return err_set(err, 125, "invalid empty volume spec");
    if (len > 2 && client_sections(spec, &sections, err) < 0)
        return -1;
    if (sections > 1 && spec[0] == '.') {
        cleanup_free char *host = xstrndup(spec, strcspn(spec, ":"));
        cleanup_free char *absolute = NULL;

        if (input_check_path(in, host, err) < 0)
            return -1;
        absolute = path_absolute(in->cwd, host);
        mount.spec = xasprintf("%s%s", absolute, spec + strlen(host));
    } else {
        mount.spec = xstrdup(spec);
    }
    if (sections == 1)
        mount.target = xstrdup(spec);
    if (already_there(m, mount.spec))
        mount_clear(&mount);
    else
        mounts_take(m, &mount);
    return 0;
}

/* One option of --tmpfs. False: the daemon does not know it. What is no matter of size and mode makes no difference to
 * a directory that is the container's own. */
static bool tmpfs_option(struct mount *m, const char *word)
{
    static const char *const known[] = {"rw",         "ro",          "exec",         "noexec",   "suid",
                                        "nosuid",     "dev",         "nodev",        "sync",     "async",
                                        "atime",      "noatime",     "relatime",     "diratime", "nodiratime",
                                        "norelatime", "strictatime", "nostrictatime"};
    static const char *const valued[] = {"uid=", "gid=", "nr_inodes=", "nr_blocks=", "mpol="};

    if (strncmp(word, "size=", 5) == 0)
        return units_parse_bytes(word + 5, &m->tmpfs_size, NULL) == 0;
    if (strncmp(word, "mode=", 5) == 0) {
        char *end;

        m->tmpfs_mode = (uint32_t)strtoul(word + 5, &end, 8);
        return word[5] && !*end && m->tmpfs_mode <= 07777;
    }
    for (size_t i = 0; i < sizeof(valued) / sizeof(valued[0]); i++)
        if (strncmp(word, valued[i], strlen(valued[i])) == 0)
            return false; /* it would make a difference */
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(word, known[i]) == 0)
            return true;
    return false;
}

int mounts_add_tmpfs(struct mounts *m, const char *spec, struct err *err)
{
    const char *colon = strchr(spec, ':');
    cleanup_strlist struct strlist words = STRLIST_INIT;
    struct mount mount = {.type = MOUNT_TMPFS, .spec = xstrdup(spec)};

    mount.target = xstrndup(spec, colon ? (size_t)(colon - spec) : strlen(spec));
    if (colon)
        mount.mode = xstrdup(colon + 1);
    if (colon && colon[1])
        strlist_split(&words, colon + 1, ',');
    for (size_t i = 0; i < words.len; i++)
        if (!tmpfs_option(&mount, words.items[i])) {
            mount_clear(&mount);
            return err_set(err, 125, DAEMON "Invalid tmpfs option [\"%s\"]", words.items[i]);
        }
    mounts_take(m, &mount);
    return 0;
}

/* --- the daemon's look at -v --- */

enum mode_group { GROUP_ACCESS, GROUP_LABEL, GROUP_PROPAGATION, GROUP_CONSISTENCY, GROUP_COPY, GROUP_MAX };

static const struct {
    const char *word;
    enum mode_group group;
} mode_words[] = {
    {"ro", GROUP_ACCESS},
    {"rw", GROUP_ACCESS},
    {"rro", GROUP_ACCESS},
    {"z", GROUP_LABEL},
    {"Z", GROUP_LABEL},
    {"private", GROUP_PROPAGATION},
    {"rprivate", GROUP_PROPAGATION},
    {"slave", GROUP_PROPAGATION},
    {"rslave", GROUP_PROPAGATION},
    {"shared", GROUP_PROPAGATION},
    {"rshared", GROUP_PROPAGATION},
    {"consistent", GROUP_CONSISTENCY},
    {"cached", GROUP_CONSISTENCY},
    {"delegated", GROUP_CONSISTENCY},
    {"nocopy", GROUP_COPY},
};

#define MODE_WORDS (sizeof(mode_words) / sizeof(mode_words[0]))

/* Index into mode_words, or MODE_WORDS. */
static size_t mode_word(const char *word)
{
    size_t i = 0;

    while (i < MODE_WORDS && strcmp(mode_words[i].word, word) != 0)
        i++;
    return i;
}

/* Takes the option words of -v apart, one of each group; false when the daemon would not know them. */
static bool read_mode(struct mount *m, const char *mode)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    bool seen[GROUP_MAX] = {false};

    if (mode[0] == '\0')
        return true;
    strlist_split(&words, mode, ',');
    for (size_t i = 0; i < words.len; i++) {
        size_t at = mode_word(words.items[i]);

        if (at == MODE_WORDS || seen[mode_words[at].group])
            return false;
        seen[mode_words[at].group] = true;
        if (mode_words[at].group == GROUP_ACCESS)
            m->readonly = strcmp(words.items[i], "rw") != 0;
        if (mode_words[at].group == GROUP_COPY)
            m->nocopy = true;
        if (mode_words[at].group == GROUP_PROPAGATION)
            m->propagation = xstrdup(words.items[i]);
    }
    return true;
}

static int invalid_spec(const char *spec, struct err *err)
{
    return err_set(err, 125, DAEMON "invalid volume specification: '%s'", spec);
}

/* Splits source:target[:mode] at its colons, whatever the client took them for. */
static int split_volume(struct mount *m, struct err *err)
{
    cleanup_strlist struct strlist parts = STRLIST_INIT;
    struct mount probe = {0};
    bool target_is_mode;

    strlist_split(&parts, m->spec, ':');
    if (parts.len > 3 || parts.items[0][0] == '\0')
        return invalid_spec(m->spec, err);
    target_is_mode = parts.len == 2 && read_mode(&probe, parts.items[1]);
    mount_clear(&probe);
    if (target_is_mode)
        return invalid_spec(m->spec, err);
    m->source = xstrdup(parts.items[0]);
    m->target = xstrdup(parts.items[1]);
    m->mode = parts.len == 3 ? xstrdup(parts.items[2]) : NULL;
    if (m->mode && !read_mode(m, m->mode))
        return err_set(err, 125, DAEMON "invalid mode: %s", m->mode);
    m->type = m->source[0] == '/' ? MOUNT_BIND : MOUNT_VOLUME;
    return 0;
}

/* --- the daemon's rules for one mount --- */

/* "invalid mount config for type ...", with the whole specification of a -v in front. */
static int bad_mount(const struct mount *m, struct err *err, const char *what)
{
    cleanup_free char *config = xasprintf("invalid mount config for type \"%s\": %s",
                                          m->type_word ? m->type_word : mount_type_name(m->type), what);

    if (m->from_mount)
        return err_set(err, 125, DAEMON "%s", config);
    return err_set(err, 125, DAEMON "invalid volume specification: '%s': %s", m->spec, config);
}

static int not_absolute(const struct mount *m, const char *path, struct err *err)
{
    cleanup_free char *what = xasprintf("invalid mount path: '%s' mount path must be absolute", path);

    return bad_mount(m, err, what);
}

static int check_bind(const struct mount *m, struct err *err)
{
    if (!m->source || m->source[0] == '\0')
        return bad_mount(m, err, "field Source must not be empty");
    if (m->nocopy)
        return bad_mount(m, err, "field VolumeOptions must not be specified");
    if (m->propagation &&
        (mode_word(m->propagation) == MODE_WORDS || mode_words[mode_word(m->propagation)].group != GROUP_PROPAGATION)) {
        cleanup_free char *what = xasprintf("invalid propagation mode: %s", m->propagation);

        return bad_mount(m, err, what);
    }
    if (m->source[0] != '/')
        return not_absolute(m, m->source, err);
    return 0;
}

/* A volume's name: as a container's, but one letter is enough for the client and not for the daemon. */
static int check_volume(const struct mount *m, struct err *err)
{
    if (m->propagation)
        return bad_mount(m, err, "field BindOptions must not be specified");
    if (!m->source && m->readonly)
        return bad_mount(m, err, "must not set ReadOnly mode when using anonymous volumes");
    if (m->source && (m->source[0] == '/' || !name_valid(m->source))) {
        cleanup_free char *quoted = quote_go_str(m->source);

        if (strlen(m->source) == 1 && isalnum((unsigned char)m->source[0]))
            return err_set(err, 125,
                           DAEMON "create %s: volume name is too short, names should be at least two alphanumeric "
                                  "characters",
                           m->source);
        return err_set(err, 125,
                       DAEMON
                       "create %s: %s includes invalid characters for a local volume name, only "
                       "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use "
                       "absolute path",
                       m->source, quoted);
    }
    return 0;
}

/* What holds for every kind of mount, then what holds for its own. */
static int check_daemon(const struct mount *m, struct err *err)
{
    cleanup_free char *clean = NULL;

    if (m->type == MOUNT_TYPE_MAX)
        return bad_mount(m, err, "mount type unknown");
    if (m->target[0] == '\0')
        return bad_mount(m, err, "field Target must not be empty");
    clean = path_clean(m->target);
    if (strcmp(clean, "/") == 0)
        return bad_mount(m, err, "invalid specification: destination can't be '/'");
    if (clean[0] != '/')
        return not_absolute(m, m->target, err);
    if (m->consistency &&
        (mode_word(m->consistency) == MODE_WORDS || mode_words[mode_word(m->consistency)].group != GROUP_CONSISTENCY))
        return bad_mount(m, err, "the consistency is one of consistent, cached, delegated");
    if (m->type == MOUNT_BIND)
        return check_bind(m, err);
    if (m->type == MOUNT_VOLUME)
        return check_volume(m, err);
    if (m->type == MOUNT_TMPFS && m->source)
        return bad_mount(m, err, "field Source must not be specified");
    return 0;
}

/* --- what cannot be kept in step with a container --- */

struct taboo {
    const char *path;
    bool below; /* what lies below it too */
    const char *reason;
};

static const struct taboo taboo_sources[] = {
    {"/", false, "a whole file system cannot be kept in step with a container; mount the directories that are needed"},
    {"/proc", true, "its files are views into this machine's kernel, which the container does not run on"},
    {"/sys", true, "its files are views into this machine's kernel, which the container does not run on"},
    {"/dev", true, "devices of this machine cannot be reached from the container"},
};

static const struct taboo taboo_targets[] = {
    {"/proc", true, "the container's own kernel files are there"},
    {"/sys", true, "the container's own kernel files are there"},
    {"/dev", true, "the container's own devices are there"},
    {"/.atp", true, "atp-docker keeps its helper there"},
};

/* Shared memory is a plain directory that happens to lie below /dev. */
static bool is_shared_memory(const char *path)
{
    return path_within(path, "/dev/shm");
}

static const char *taboo_reason(const struct taboo *list, size_t len, const char *path)
{
    for (size_t i = 0; i < len; i++) {
        bool hit = list[i].below ? path_within(path, list[i].path) : strcmp(path, list[i].path) == 0;

        if (hit && !is_shared_memory(path))
            return list[i].reason;
    }
    return NULL;
}

static bool is_docker_socket(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && strcmp(slash, "/docker.sock") == 0;
}

static int refused(const struct mount *m, const char *reason, struct err *err)
{
    return err_set(err, 125, "%s %s is not carried out by atp-docker: %s", m->from_mount ? "--mount" : "-v", m->spec,
                   reason);
}

/* What a volume cannot be here. */
static const char *volume_reason(const struct mount *m)
{
    if (m->driver && *m->driver && strcmp(m->driver, "local") != 0)
        return "there is no volume driver but \"local\"";
    if (m->driver_opts.len)
        return "options of a volume's driver mean nothing to a volume of Modal's";
    if (m->subpath && *m->subpath)
        return "a part of a volume (volume-subpath) is not carried out yet";
    return NULL;
}

/* Ours: refuses what Docker would do and we cannot. */
static int check_ours(const struct mount *m, bool strict, struct err *err)
{
    static const char *const later[MOUNT_TYPE_MAX] = {
        [MOUNT_NPIPE] = "named pipes exist on Windows only",
        [MOUNT_IMAGE] = "image mounts are not carried out yet",
        [MOUNT_CLUSTER] = "cluster volumes belong to swarm mode, which is not carried out",
    };
    const char *reason = later[m->type];

    if (m->type == MOUNT_VOLUME)
        reason = volume_reason(m);
    if (m->type == MOUNT_TMPFS && m->tmpfs_size && strict)
        reason = "a tmpfs is a folder of the container's own file system, whose size nobody holds down";
    if (m->type == MOUNT_BIND && is_docker_socket(m->source)) /* left out before unless strict */
        reason = "programs that speak Docker's API socket are not served";
    if (m->type == MOUNT_BIND && !reason)
        reason = taboo_reason(taboo_sources, sizeof(taboo_sources) / sizeof(taboo_sources[0]), m->source);
    if (!reason)
        reason = taboo_reason(taboo_targets, sizeof(taboo_targets) / sizeof(taboo_targets[0]), m->target);
    return reason ? refused(m, reason, err) : 0;
}

/* Makes a path of m clean in place. */
static void clean_path(char **path)
{
    char *clean = path_clean(*path);

    free(*path);
    *path = clean;
}

/* One mount, from the client's words to its final form. */
static int finish_one(struct mount *m, const struct input *in, struct err *err)
{
    if (!m->from_mount && !m->target && split_volume(m, err) < 0)
        return -1;
    if (check_daemon(m, err) < 0)
        return -1;
    clean_path(&m->target);
    if (m->type == MOUNT_BIND) {
        clean_path(&m->source);
        m->whole_home = in->home && in->home[0] == '/' && strcmp(m->source, in->home) == 0;
    }
    return 0;
}

static bool is_anonymous(const struct mount *m)
{
    return m->type == MOUNT_VOLUME && !m->source;
}

static void remove_at(struct mounts *m, size_t at)
{
    mount_clear(&m->items[at]);
    memmove(&m->items[at], &m->items[at + 1], (m->len - at - 1) * sizeof(*m->items));
    m->len--;
}

/* One target, one mount; an anonymous -v gives way to any other, as in the daemon. */
static int check_targets(struct mounts *m, struct err *err)
{
    for (size_t i = 0; i < m->len; i++) {
        for (size_t j = i + 1; j < m->len;) {
            if (strcmp(m->items[i].target, m->items[j].target) != 0) {
                j++;
            } else if (is_anonymous(&m->items[j]) && !m->items[j].from_mount) {
                remove_at(m, j);
            } else if (is_anonymous(&m->items[i]) && !m->items[i].from_mount) {
                struct mount kept = m->items[j];

                m->items[j] = m->items[i];
                m->items[i] = kept;
                remove_at(m, j);
            } else {
                return err_set(err, 125, DAEMON "Duplicate mount point: %s", m->items[j].target);
            }
        }
    }
    return 0;
}

/* A volume is in one place of a container: its files are there, not shown there. */
static int check_volumes(const struct mounts *m, struct err *err)
{
    for (size_t i = 0; i < m->len; i++)
        for (size_t j = i + 1; j < m->len; j++)
            if (m->items[i].type == MOUNT_VOLUME && m->items[j].type == MOUNT_VOLUME && m->items[i].source &&
                m->items[j].source && strcmp(m->items[i].source, m->items[j].source) == 0)
                return refused(&m->items[j], "one volume in two places of a container", err);
    return 0;
}

/* Parents first; among equals the order of the command line stays. */
static void sort_by_depth(struct mounts *m)
{
    for (size_t i = 1; i < m->len; i++) {
        struct mount moving = m->items[i];
        size_t at = i;

        for (; at > 0 && path_depth(m->items[at - 1].target) > path_depth(moving.target); at--)
            m->items[at] = m->items[at - 1];
        m->items[at] = moving;
    }
}

/* Docker's socket, which CI runners give to every job: the container gets less than was asked for, a path where nothing
 * is. */
static void leave_sockets_out(struct mounts *m)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->len; i++) {
        if (m->items[i].type == MOUNT_BIND && is_docker_socket(m->items[i].source))
            mount_clear(&m->items[i]);
        else
            m->items[kept++] = m->items[i];
    }
    m->len = kept;
}

int mounts_finish(struct mounts *m, const struct input *in, struct err *err)
{
    for (size_t i = 0; i < m->len; i++)
        if (finish_one(&m->items[i], in, err) < 0)
            return -1;
    if (!in->strict)
        leave_sockets_out(m);
    if (check_targets(m, err) < 0 || check_volumes(m, err) < 0)
        return -1;
    for (size_t i = 0; i < m->len; i++)
        if (check_ours(&m->items[i], in->strict, err) < 0)
            return -1;
    sort_by_depth(m);
    return 0;
}

void mounts_add_declared(struct mounts *m, const char *path)
{
    struct mount mount = {.type = MOUNT_VOLUME, .create_source = true, .target = path_clean(path)};

    mount.spec = xstrdup(mount.target);
    for (size_t i = 0; mount.target && i < m->len; i++)
        if (strcmp(m->items[i].target, mount.target) == 0)
            mount.target[0] = '\0';
    if (mount.target[0] != '/' || !mount.target[1] ||
        taboo_reason(taboo_targets, sizeof(taboo_targets) / sizeof(taboo_targets[0]), mount.target)) {
        mount_clear(&mount);
        return;
    }
    mounts_take(m, &mount);
    sort_by_depth(m);
}

static char *copied(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

static bool has_target(const struct mounts *m, const char *target)
{
    for (size_t i = 0; i < m->len; i++)
        if (strcmp(m->items[i].target, target) == 0)
            return true;
    return false;
}

int mounts_add_from(struct mounts *m, const struct mounts *from, const char *word, bool readonly, struct err *err)
{
    for (size_t i = 0; i < from->len; i++) {
        const struct mount *other = &from->items[i];
        struct mount mount = {
            .type = other->type,
            .spec = xasprintf("--volumes-from %s", word),
            .source = copied(other->source),
            .target = xstrdup(other->target),
            .readonly = other->readonly || readonly,
            .create_source = other->create_source,
            .from_other = true,
            .nocopy = true,
            .anonymous = other->anonymous,
            .driver = copied(other->driver),
            .subpath = copied(other->subpath),
        };

        if (other->type == MOUNT_TMPFS || has_target(m, other->target))
            mount_clear(&mount);
        else
            mounts_take(m, &mount);
    }
    sort_by_depth(m);
    return check_volumes(m, err);
}
