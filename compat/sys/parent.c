/* Linux. */
#include "compat/sys/parent.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

void parent_tie(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent)
        _exit(1);
}
