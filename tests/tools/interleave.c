/* link: atp_base */
/*
 * Times whole processes, one after the other in turn (A B A B ...), so that whatever else the machine does falls on all
 * of them alike; their stdin is empty, their stdout is thrown away, and what they say on stderr is shown.
 *
 *     interleave ROUNDS -- COMMAND [ARG...] [-- COMMAND [ARG...]]...
 *
 * One line per command: median, 10th and 90th percentile in microseconds, the largest resident memory in KiB, and how
 * many rounds did not end with 0. The memory of a process is at least this program's own, which is small.
 */
#include "compat/base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct command {
    char **argv;
    long *took_us;
    long max_rss, failures;
};

static long now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Runs it once, from before the process is made until it has been collected. */
static long run(struct command *c, posix_spawn_file_actions_t *files)
{
    long start = now_us(), end;
    struct rusage usage;
    int status, code;
    pid_t pid;

    code = posix_spawnp(&pid, c->argv[0], files, NULL, c->argv, environ);
    if (code) {
        fprintf(stderr, "interleave: %s: %s\n", c->argv[0], strerror(code));
        exit(1);
    }
    while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR)
        ;
    end = now_us();
    c->failures += status != 0;
    if (usage.ru_maxrss > c->max_rss)
        c->max_rss = usage.ru_maxrss;
    return end - start;
}

static int compare(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;

    return (x > y) - (x < y);
}

/* The commands behind each "--". */
static size_t split(char **words, int count, struct command *ret, size_t room)
{
    size_t len = 0;

    for (int i = 0; i < count; i++) {
        if (strcmp(words[i], "--") != 0)
            continue;
        words[i] = NULL;
        if (i + 1 >= count || len == room)
            return 0;
        ret[len++].argv = &words[i + 1];
    }
    return len;
}

int main(int argc, char **argv)
{
    struct command commands[16] = {0};
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
    size_t count = argc > 2 ? split(argv + 2, argc - 2, commands, 16) : 0;
    posix_spawn_file_actions_t files;

    if (rounds < 1 || rounds > 1000000 || !count) {
        fprintf(stderr, "usage: interleave ROUNDS -- COMMAND [ARG...] [-- COMMAND [ARG...]]...\n");
        return 2;
    }
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    for (size_t i = 0; i < count; i++)
        commands[i].took_us = xcalloc((size_t)rounds, sizeof(long));
    for (long round = 0; round < rounds; round++)
        for (size_t i = 0; i < count; i++)
            commands[i].took_us[round] = run(&commands[i], &files);
    for (size_t i = 0; i < count; i++) {
        struct command *c = &commands[i];

        qsort(c->took_us, (size_t)rounds, sizeof(long), compare);
        printf("%ld %ld %ld %ld %ld\n", c->took_us[rounds / 2], c->took_us[rounds / 10], c->took_us[rounds * 9 / 10],
               c->max_rss, c->failures);
        free(c->took_us);
    }
    return 0;
}
