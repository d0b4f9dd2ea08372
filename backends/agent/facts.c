#include "backends/agent/facts.h"

#include "backends/agent/proc.h"
#include "compat/base/alloc.h"
#include "translate/wire/wire.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static bool has_capability(int cap)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};

    if (syscall(SYS_capget, &head, data) < 0)
        return false;
    return data[cap / 32].effective & (1u << (cap % 32));
}

/* The call is there if it finds fault with its arguments. */
static bool has_openat2(void)
{
#ifdef SYS_openat2
    return syscall(SYS_openat2, -1, "", NULL, (size_t)0) < 0 && errno != ENOSYS && errno != EPERM;
#else
    return false;
#endif
}

static bool is_subreaper(void)
{
    int on = 0;

    return getpid() == 1 || (prctl(PR_GET_CHILD_SUBREAPER, &on, 0, 0, 0) == 0 && on);
}

static uint64_t capabilities(void)
{
    uint64_t caps = WIRE_CAP_SYNC | WIRE_CAP_HEALTH | WIRE_CAP_VOLUMES | WIRE_CAP_FORWARD;

    if (access("/dev/ptmx", R_OK | W_OK) == 0 || access("/dev/pts/ptmx", R_OK | W_OK) == 0)
        caps |= WIRE_CAP_TTY;
    if (has_capability(CAP_SETUID) && has_capability(CAP_SETGID))
        caps |= WIRE_CAP_USERS;
    if (is_subreaper())
        caps |= WIRE_CAP_SUBREAPER;
    if (has_openat2())
        caps |= WIRE_CAP_OPENAT2;
    if (has_capability(CAP_SYS_ADMIN))
        caps |= WIRE_CAP_MOUNT;
    if (proc_available())
        caps |= WIRE_CAP_PROC;
    return caps;
}

void facts_hello(struct wire_hello *ret)
{
    struct utsname u = {0};
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    uname(&u);
    *ret = (struct wire_hello){
        .oldest = WIRE_VERSION,
        .newest = WIRE_VERSION,
        .capabilities = capabilities(),
        .clock_ns = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec,
        .init_pid = getpid(),
        .program = xstrdup("atp-agent " ATP_VERSION),
        .machine = xasprintf("%.60s %.80s %.60s", u.sysname, u.release, u.machine),
    };
}
