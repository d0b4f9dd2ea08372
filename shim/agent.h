/*
 * The agent as a layer of an image (design 5): its file and the image's own configuration below /.atp/<version>, laid
 * onto the image by one COPY.
 */
#ifndef ATP_SHIM_AGENT_H
#define ATP_SHIM_AGENT_H

struct err;
struct modal_client;

#define AGENT_APP         "atp-docker"                  /* images of ours belong to this app */
#define AGENT_PATH        "/.atp/" ATP_VERSION "/agent" /* in the container */
#define AGENT_CONFIG_PATH "/.atp/" ATP_VERSION "/image.json"

/* Uploads what the server lacks and makes the build context. config: the image's configuration, JSON; NULL: the agent
 * alone. Owned by caller. */
int agent_mount(struct modal_client *client, const char *app_id, const char *config, char **ret_mount_id,
                struct err *err);

/* The build context of a published image: /.atp/<version>/image.json alone, the configuration's exact text. */
int agent_mount_config(struct modal_client *client, const char *app_id, const char *config, char **ret_mount_id,
                       struct err *err);

#endif
