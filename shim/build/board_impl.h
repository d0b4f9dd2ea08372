/* Private to board*.c: the model, and what a look is. */
#ifndef ATP_SHIM_BUILD_BOARD_IMPL_H
#define ATP_SHIM_BUILD_BOARD_IMPL_H

#include "compat/base/buf.h"
#include "compat/base/strlist.h"
#include "shim/build/board.h"

#define BOARD_LINE_MAX 16384u /* a line of output that does not end is broken here */
#define BOARD_TAIL     20u    /* lines that are said again when a vertex fails */

struct vertex {
    char *name;
    int64_t begun_ms, ended_ms; /* of the monotonic clock; 0 = not yet */
    bool cached;
    char *error;
    char *status; /* what it does right now */
    bool status_done;
    struct strlist tail; /* its last lines, "0.213 text" */
    struct buf partial;  /* a line whose end is still to come */
    int fd;              /* of that line */
    size_t number;       /* plain: its "#5"; 0 = none yet */
};

struct board_drawer {
    void (*began)(struct board *b, struct vertex *v);
    void (*said)(struct board *b, struct vertex *v);                           /* its status is another */
    void (*line)(struct board *b, struct vertex *v, int fd, const char *text); /* without a newline, tame */
    void (*ended)(struct board *b, struct vertex *v);
    void (*note)(struct board *b, const char *text);
    void (*tick)(struct board *b);
    void (*finish)(struct board *b);
};

struct board {
    FILE *to;
    const struct board_drawer *drawer;
    struct vertex *items;
    size_t len;
    int64_t begun_ms;
    /* plain */
    size_t numbered;
    const struct vertex *shown; /* the one whose lines stand last */
    size_t shown_index;
    /* tty */
    unsigned drawn; /* lines that the last drawing took, each of them one column less than */
    unsigned drawn_width;
    int64_t drawn_ms;
    bool finished;
};

extern const struct board_drawer board_plain, board_tty, board_quiet, board_rawjson, board_classic;

bool board_canceled(const struct vertex *v);      /* it has not failed: nobody wants it any more */
int64_t board_elapsed_ms(const struct vertex *v); /* until now, or until its end */
/* "------", the failed vertexes and their last lines. */
void board_print_errors(struct board *b);

#endif
