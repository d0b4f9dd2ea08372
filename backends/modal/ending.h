/* From the protocol's result to a modal_ending (modal/sandbox.h). Private to this room. */
#ifndef ATP_MODAL_ENDING_H
#define ATP_MODAL_ENDING_H

#include "backends/proto/api.pb-c.h"

struct modal_ending;

/* Fills it anew; cleared by the caller. */
void modal_ending_take(struct modal_ending *ending, const Modal__Client__GenericResult *result);

#endif
