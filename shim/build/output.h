/* What a build leaves besides the image: ids in files and on stdout, an archive, the files alone, a pushed name. */
#ifndef ATP_SHIM_BUILD_OUTPUT_H
#define ATP_SHIM_BUILD_OUTPUT_H

struct app;
struct build_request;
struct build_result;
struct err;

int build_output(struct app *app, const struct build_request *r, struct build_result *result, struct err *err);

#endif
