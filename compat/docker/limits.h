/*
 * Ceilings of this room.
 */
#ifndef ATP_DOCKER_LIMITS_H
#define ATP_DOCKER_LIMITS_H

#define LIMIT_TEMPLATE        (1u << 20)   /* one argument of the command line is at most 128 KiB */
#define LIMIT_TEMPLATE_OUTPUT (256u << 20) /* what one --format may print: lists of very many rows stay below */
#define LIMIT_TEMPLATE_DEPTH  100          /* nested blocks, parentheses, templates: bounds the stack */
#define LIMIT_TEMPLATE_STEPS  4000000      /* nodes carried out: {{range 1000000000}} ends in a second */

#endif
