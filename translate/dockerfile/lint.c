#include "translate/dockerfile/internal.h"

void df_lint(struct df_build *b)
{
    strlist_copy(&b->warnings, &b->file.warnings);
}
