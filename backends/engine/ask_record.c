#include "backends/engine/ask_record.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int record_fd = -1; /* as the log: there is one engine in a process */

int ask_record_open(const char *path, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_set_errno(err, 125, errno, "--record %s", path);
    if (record_fd >= 0)
        close(record_fd);
    record_fd = fd;
    return 0;
}

static json_t *message_json(const ProtobufCMessage *message);

static json_t *enum_json(const ProtobufCFieldDescriptor *field, int value)
{
    const ProtobufCEnumValue *named = protobuf_c_enum_descriptor_get_value(field->descriptor, value);

    return named ? json_string(named->name) : json_integer(value);
}

/* One value; at: where it is in the message. */
static json_t *value_json(const ProtobufCFieldDescriptor *field, const void *at)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)at;
        json_t *string = json_string(text ? text : "");

        return string ? string : json_string("(bytes that are no UTF-8)");
    }
    case PROTOBUF_C_TYPE_BYTES:
        return json_pack("{s:I}", "bytes", (json_int_t)((const ProtobufCBinaryData *)at)->len);
    case PROTOBUF_C_TYPE_MESSAGE:
        return message_json(*(const ProtobufCMessage *const *)at);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)at);
    case PROTOBUF_C_TYPE_ENUM:
        return enum_json(field, *(const int *)at);
    case PROTOBUF_C_TYPE_FLOAT:
        return json_real((double)*(const float *)at);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_real(*(const double *)at);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return json_integer(*(const int32_t *)at);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_integer(*(const uint32_t *)at);
    default:
        return json_integer((json_int_t) * (const int64_t *)at);
    }
}

static size_t value_size(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return sizeof(char *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(ProtobufCMessage *);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return sizeof(uint32_t);
    default:
        return sizeof(uint64_t);
    }
}

/* The values of a repeated field; at points to where the array's address is. */
static json_t *list_json(const ProtobufCFieldDescriptor *field, size_t len, const void *at)
{
    const char *items = *(const char *const *)at;
    json_t *list = json_array();

    for (size_t i = 0; i < len; i++)
        json_array_append_new(list, value_json(field, items + i * value_size(field)));
    return list;
}

/* Whether the peer has said it. */
static bool is_there(const ProtobufCFieldDescriptor *field, const char *message)
{
    const void *at = message + field->offset;

    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)(const void *)(message + field->quantifier_offset) == field->id;
    if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(void *const *)at != field->default_value && *(void *const *)at;
    return field->label == PROTOBUF_C_LABEL_REQUIRED ||
           *(const protobuf_c_boolean *)(message + field->quantifier_offset);
}

static json_t *message_json(const ProtobufCMessage *message)
{
    const char *bytes = (const char *)message;
    json_t *object = json_object();

    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];

        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t len = *(const size_t *)(const void *)(bytes + field->quantifier_offset);

            if (len)
                json_object_set_new(object, field->name, list_json(field, len, bytes + field->offset));
        } else if (is_there(field, bytes)) {
            json_object_set_new(object, field->name, value_json(field, bytes + field->offset));
        }
    }
    return object;
}

void ask_record(const char *method, const ProtobufCMessage *message)
{
    cleanup_free char *text = NULL, *line = NULL;
    json_t *object;

    if (record_fd < 0 || !strstr(method, "Create"))
        return;
    object = message_json(message);
    text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    line = xasprintf("%s %s\n", method, text ? text : "{}");
    (void)!write(record_fd, line, strlen(line)); /* one write: whole lines */
}
