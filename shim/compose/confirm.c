/* Questions to who runs a verb. */
#include "shim/compose/team.h"
#include "shim/compose/up.h"

#include "compat/sys/tty.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A line of stdin says yes; a program is not told how to answer. */
bool team_confirmed(const char *question)
{
    char line[64] = "";

    printf(tty_is(STDIN_FILENO) ? "? %s (y/N) " : "%s", question);
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin))
        return false;
    line[strcspn(line, "\r\n")] = '\0';
    return up_env_true(line);
}
