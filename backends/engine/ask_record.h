/*
 * What clients ask for, on request (--record FILE, or $ATP_ENGINE_RECORD): each call that makes something (its name has
 * "Create" in it) is a line of FILE before it is looked at, also when it is refused then: the method's name, a blank,
 * the message as JSON with the protocol's own names of fields. It holds secrets and environments: FILE is made 0600,
 * and without the option nothing is written.
 */
#ifndef ATP_ENGINE_ASK_RECORD_H
#define ATP_ENGINE_ASK_RECORD_H

#include <protobuf-c/protobuf-c.h>

struct err;

/* Lines go to path from now on (appended to). */
int ask_record_open(const char *path, struct err *err);
void ask_record(const char *method, const ProtobufCMessage *message);

#endif
