/* What this container lets us do, found out by trying; sent in HELLO. */
#ifndef ATP_AGENT_FACTS_H
#define ATP_AGENT_FACTS_H

struct wire_hello;

/* Fills all but the main process's state, which only init knows. */
void facts_hello(struct wire_hello *ret);

#endif
