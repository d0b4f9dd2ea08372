/* The definition of a sandbox as the protocol's message (protocol 5.2 to 5.5). Private to this room. */
#ifndef ATP_MODAL_SANDBOX_SPEC_H
#define ATP_MODAL_SANDBOX_SPEC_H

#include "backends/modal/internal.h"

struct modal_sandbox_spec;
struct modal_pty;
struct modal_volume;

/* Volumes as the protocol's list; the strings are borrowed. */
struct volume_messages {
    Modal__Client__VolumeMount *items, **pointers;
    size_t len;
};
void volume_messages_make(struct volume_messages *m, const struct modal_volume *volumes, size_t count);
void volume_messages_clear(struct volume_messages *m);

/* The message and everything it points to; strings are the spec's. */
struct sandbox_message {
    Modal__Client__Sandbox sandbox;
    Modal__Client__Resources resources;
    Modal__Client__GPUConfig gpu;
    Modal__Client__NetworkAccess network;
    Modal__Client__SchedulerPlacement placement;
    Modal__Client__PTYInfo pty;
    Modal__Client__PortSpecs ports;
    Modal__Client__PortSpec *port_items, **port_pointers;
    struct volume_messages volumes;
    struct modal_entries options;
    char *gpu_type;
};

/* Checks and fills; clear in any case. */
int sandbox_message_make(struct sandbox_message *m, const struct modal_sandbox_spec *spec, struct err *err);
void sandbox_message_clear(struct sandbox_message *m);

void modal_pty_message(Modal__Client__PTYInfo *info, const struct modal_pty *pty);

/* Tags as the protocol's list; the strings are borrowed from tags. */
struct tag_messages {
    Modal__Client__SandboxTag *items, **pointers;
    struct modal_entries entries;
    size_t len;
};
void tag_messages_make(struct tag_messages *m, const struct strlist *tags);
void tag_messages_clear(struct tag_messages *m);

#endif
