/* Paths of a context whose symbolic links are followed as if the context's root were the system's. */
#ifndef ATP_SHIM_BUILD_RESOLVE_H
#define ATP_SHIM_BUILD_RESOLVE_H

struct strlist;

/*
 * path below root with every link followed, also the last; nothing leads out. "" is root itself. ret_links (may be
 * NULL) gets the paths of the links on the way. NULL and errno: ENOENT with the links so far, ELOOP. Owned by caller.
 */
char *build_resolve(int root, const char *path, struct strlist *ret_links);

#endif
