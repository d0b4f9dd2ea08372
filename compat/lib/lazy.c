#include "compat/lib/lazy.h"

#include "compat/base/err.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Looks every function up; function pointers are copied as bytes, the one way that C leaves from dlsym()'s answer. */
static int fill(struct lazy_library *lib, void *handle, struct err *err)
{
    for (size_t i = 0; i < lib->count; i++) {
        void *found = dlsym(handle, lib->names[i]);

        if (!found)
            return err_set(err, 125, "the installed %s has no %s: install the package %s of this system's release",
                           lib->files[0], lib->names[i], lib->package);
        memcpy((char *)lib->table + i * sizeof(found), &found, sizeof(found));
    }
    return 0;
}

/* Under the lock. */
static int load(struct lazy_library *lib, struct err *err)
{
    void *handle = NULL;
    const char *why;

    for (size_t i = 0; i < LAZY_FILES_MAX && lib->files[i] && !handle; i++)
        handle = dlopen(lib->files[i], RTLD_LAZY | RTLD_LOCAL);
    if (!handle) {
        why = dlerror();
        return err_set(err, 125, "%s is needed and cannot be loaded: install the package %s (%s)", lib->files[0],
                       lib->package, why ? why : "unknown reason");
    }
    if (fill(lib, handle, err) == 0)
        return 0;
    dlclose(handle);
    return -1;
}

int lazy_load(struct lazy_library *lib, struct err *err)
{
    int ret = 0;

    if (atomic_load_explicit(&lib->ready, memory_order_acquire))
        return 0;
    pthread_mutex_lock(&lock);
    if (!atomic_load_explicit(&lib->ready, memory_order_relaxed)) {
        ret = load(lib, err);
        if (ret == 0)
            atomic_store_explicit(&lib->ready, true, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    return ret;
}
