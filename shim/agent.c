#include "shim/agent.h"

#include "agent_digest.h"
#include "backends/modal/image.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/sys/fs.h"
#include "translate/image_config.h"

#include <stdio.h>
#include <string.h>

#define AGENT_MAX (8u << 20) /* the file is below 1 MiB; a debug build may be larger */

/* Reads atp-agent from beside our own program, or from where it is installed, and makes sure that it is the one we were
 * built with. */
static int read_agent(struct buf *out, struct err *err)
{
    static const char *const places[] = {"%s/atp-agent", "%s/../libexec/atp-docker/atp-agent"};
    cleanup_free char *dir = fs_program_dir();
    uint8_t digest[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];

    for (size_t i = 0; dir && i < 2; i++) {
        cleanup_free char *path = xasprintf(places[i], dir);

        if (!fs_exists(path))
            continue;
        if (fs_read_file(path, out, err) < 0)
            return -1;
        sha256(out->data, out->len, digest);
        sha256_hex(digest, hex);
        if (!strcmp(hex, ATP_AGENT_SHA256))
            return 0;
        return err_set(err, 125, "%s is not the agent that this atp-docker was built with: install both from one build",
                       path);
    }
    return err_set(err, 125, "atp-agent was not found beside atp-docker");
}

int agent_mount(struct modal_client *client, const char *app_id, const char *config, char **ret_mount_id,
                struct err *err)
{
    struct oci_config image = {0};
    cleanup_buf struct buf agent = BUF_INIT(AGENT_MAX);
    cleanup_free char *json = NULL;

    if (read_agent(&agent, err) < 0 || (config && oci_config_parse(config, strlen(config), &image, err) < 0))
        return -1;
    json = oci_config_print(&image);
    oci_config_clear(&image);
    const struct modal_mount_file files[] = {
        {.remote = AGENT_PATH, .data = agent.data, .size = agent.len, .mode = 0755},
        {.remote = AGENT_CONFIG_PATH, .data = json, .size = strlen(json), .mode = 0644},
    };

    return modal_mount_create(client, app_id, files, config ? 2 : 1, ret_mount_id, err);
}

int agent_mount_config(struct modal_client *client, const char *app_id, const char *config, char **ret_mount_id,
                       struct err *err)
{
    const struct modal_mount_file file = {
        .remote = AGENT_CONFIG_PATH, .data = config, .size = strlen(config), .mode = 0644};

    return modal_mount_create(client, app_id, &file, 1, ret_mount_id, err);
}
