/* What yaml.c needs besides: the text before it is parsed, the document once it is whole, the words of a fault. */
#ifndef ATP_COMPOSE_YAML_H
#define ATP_COMPOSE_YAML_H

#include "translate/compose/load.h"

struct fy_diag;

/* Carries out the merge keys of a document and notes its !reset and !override (yaml_finish.c). */
int yaml_finish(struct yaml_doc *doc, struct err *err);
/* UTF-8 without characters that YAML forbids (yaml_text.c). */
int yaml_check_text(const char *text, size_t len, struct err *err);
/* The first fault that libfyaml found, in the words of compose's YAML library; open: the lists and maps that have
 * begun, the outermost first (yaml_text.c). */
int yaml_syntax_error(struct fy_diag *diag, const struct cnode *const *open, size_t depth, struct err *err);

#endif
