/* What kind of file an entry is, in the stream's words and in the system's. */
#include "translate/tree/tree.h"

#include <sys/stat.h>

uint8_t tree_type_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return TREE_DIR;
    case S_IFREG:
        return TREE_FILE;
    case S_IFLNK:
        return TREE_SYMLINK;
    case S_IFIFO:
        return TREE_FIFO;
    case S_IFCHR:
    case S_IFBLK:
        return TREE_DEVICE;
    default:
        return 0;
    }
}

mode_t tree_file_type(const struct tree_entry *e)
{
    switch (e->type) {
    case TREE_DIR:
        return S_IFDIR;
    case TREE_SYMLINK:
        return S_IFLNK;
    case TREE_FIFO:
        return S_IFIFO;
    case TREE_DEVICE:
        return e->block ? S_IFBLK : S_IFCHR;
    default:
        return S_IFREG;
    }
}
