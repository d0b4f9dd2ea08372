/* The variables that the texts of a tree name: {NAME: {Name, DefaultValue, PresenceValue, Required}}, by name. */
#ifndef ATP_COMPOSE_VARIABLES_H
#define ATP_COMPOSE_VARIABLES_H

#include "translate/compose/node.h"

struct cnode *compose_variables(const struct cnode *tree); /* owned by caller */

#endif
