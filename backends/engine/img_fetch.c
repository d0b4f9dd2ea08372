/*
 * ADD of a URL: fetched each time, since what a server has may change; the layer is found again by the contents. The
 * file goes to the disk as it comes and is as large as the disk allows.
 */
#include "backends/engine/img_copy.h"

#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/lib/curl.h"
#include "compat/sys/fs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECT_MS   30000L        /* to reach the server */
#define STALLED_SEC  60L           /* a server that sends nothing for so long is gone */
#define REDIRECTS    10L           /* as Go's client follows */
#define NAME_UNKNOWN "__unnamed__" /* of a file whose URL has no name, as BuildKit calls it */

static bool is_http(const char *word)
{
    return strncmp(word, "http://", 7) == 0 || strncmp(word, "https://", 8) == 0;
}

bool copy_is_git(const char *word)
{
    size_t len = strcspn(word, "#?");

    if (strncmp(word, "git@", 4) == 0 || strncmp(word, "git://", 6) == 0 || strncmp(word, "ssh://", 6) == 0)
        return true;
    return is_http(word) && len > 4 && strncmp(word + len - 4, ".git", 4) == 0;
}

bool copy_is_url(const char *word)
{
    return is_http(word) && !copy_is_git(word);
}

static int hex_value(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? (c | 0x20) - 'a' + 10 : -1;
}

/* The last component of a URL's path, %xx decoded; owned by caller. */
static char *name_of(const char *url)
{
    const char *path = strchr(strstr(url, "://") + 3, '/'), *end, *start;
    char *name, *to;

    if (!path)
        return xstrdup(NAME_UNKNOWN);
    end = path + strcspn(path, "?#");
    while (end > path && end[-1] == '/')
        end--;
    for (start = end; start > path && start[-1] != '/';)
        start--;
    name = to = xstrndup(start, (size_t)(end - start));
    for (const char *p = name; *p; p++, to++) {
        if (*p == '%' && hex_value(p[1]) >= 0 && hex_value(p[2]) >= 0) {
            *to = (char)(hex_value(p[1]) * 16 + hex_value(p[2]));
            p += 2;
        } else {
            *to = *p;
        }
    }
    *to = '\0';
    if (*name && strlen(name) <= NAME_MAX && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
        return name;
    free(name);
    return xstrdup(NAME_UNKNOWN);
}

struct fetch {
    const struct img_job *job;
    CURL *curl;
    int fd;
    int errnum; /* of writing */
    struct digest *digest;
};

static size_t on_bytes(char *bytes, size_t one, size_t len, void *arg)
{
    struct fetch *f = arg;

    (void)one;
    for (size_t done = 0; done < len;) {
        ssize_t n = write(f->fd, bytes + done, len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            f->errnum = errno;
            return 0;
        }
        done += (size_t)n;
    }
    digest_add(f->digest, bytes, len);
    return len;
}

static int on_progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up)
{
    const struct fetch *f = arg;

    (void)total, (void)now, (void)up_total, (void)up;
    return atomic_load(&f->job->cancelled);
}

static int transfer(struct fetch *f, const char *url, struct timespec *ret_time, struct err *err)
{
    curl_off_t changed = -1;
    CURLcode code;
    long status = 0;

    curl_easy_setopt(f->curl, CURLOPT_URL, url);
    curl_easy_setopt(f->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(f->curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(f->curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(f->curl, CURLOPT_MAXREDIRS, REDIRECTS);
    curl_easy_setopt(f->curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(f->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(f->curl, CURLOPT_LOW_SPEED_TIME, STALLED_SEC);
    curl_easy_setopt(f->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(f->curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(f->curl, CURLOPT_FILETIME, 1L);
    curl_easy_setopt(f->curl, CURLOPT_USERAGENT, "atp-engine");
    curl_easy_setopt(f->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(f->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(f->curl, CURLOPT_XFERINFODATA, f);
    curl_easy_setopt(f->curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(f->curl, CURLOPT_WRITEDATA, f);
    code = curl_easy_perform(f->curl);
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    if (img_cancelled(f->job, err) < 0)
        return -1;
    if (f->errnum)
        return err_set_errno(err, 1, f->errnum, "keeping %s", url);
    if (code == CURLE_HTTP_RETURNED_ERROR)
        return err_set(err, 1, "failed to load cache key: invalid response status %ld: %s", status, url);
    if (code != CURLE_OK)
        return err_set(err, 1, "failed to load cache key: Get \"%s\": %s", url, curl_easy_strerror(code));
    curl_easy_getinfo(f->curl, CURLINFO_FILETIME_T, &changed);
    *ret_time = (struct timespec){.tv_sec = changed > 0 ? changed : 0};
    return 0;
}

/* --checksum=sha256:... */
static int check(const struct copying *c, const char *hex, struct err *err)
{
    const char *want = c->step->checksum;

    if (!want)
        return 0;
    if (!digest_strip(want))
        return err_set(err, 1, "invalid checksum digest format: %s", want);
    if (strcmp(digest_strip(want), hex) != 0)
        return err_set(err, 1, "digest mismatch " DIGEST_PREFIX "%s: %s", hex, want);
    return 0;
}

int copy_fetch(struct copying *c, const char *url, char **ret_folder, char **ret_name, struct err *err)
{
    cleanup_free char *dir = img_store_tmp(c->b->job->dir, err), *name = name_of(url);
    cleanup_free char *path = dir ? xasprintf("%s/%s", dir, name) : NULL;
    struct timespec times[2] = {0};
    struct fetch f = {.job = c->b->job, .fd = -1};
    char hex[DIGEST_HEX + 1];
    int ret = -1;

    if (!dir || lib_curl(err) < 0)
        return -1;
    strlist_add(&c->tmp, dir);
    if (fs_mkdirs(dir, 0700, err) < 0)
        return -1;
    f.fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (f.fd < 0)
        return err_set_errno(err, 0, errno, "creating %s", path);
    f.digest = digest_new();
    f.curl = curl_easy_init();
    ret = f.curl ? transfer(&f, url, &times[0], err) : err_set(err, 0, "no memory for a download");
    digest_hex(f.digest, hex);
    digest_free(f.digest);
    if (f.curl)
        curl_easy_cleanup(f.curl);
    times[1] = times[0];
    if (ret == 0 && (fchmod(f.fd, 0600) < 0 || futimens(f.fd, times) < 0))
        ret = err_set_errno(err, 0, errno, "keeping %s", path);
    close(f.fd);
    if (ret < 0 || check(c, hex, err) < 0)
        return -1;
    *ret_folder = steal(&dir);
    *ret_name = steal(&name);
    return 0;
}
