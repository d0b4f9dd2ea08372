/* --chmod in words, as chmod(1) takes them: "u=rwX,go=rX", "+x". */
#ifndef ATP_ENGINE_IMG_MODE_H
#define ATP_ENGINE_IMG_MODE_H

#include <stdbool.h>
#include <sys/stat.h>

bool img_mode_valid(const char *words);
/* The mode (with its kind) after the words; they are valid. */
mode_t img_mode_apply(const char *words, mode_t mode);

#endif
