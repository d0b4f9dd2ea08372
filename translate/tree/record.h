/* Private to this room: the numbers of the records. */
#ifndef ATP_TREE_RECORD_H
#define ATP_TREE_RECORD_H

#include "translate/tree/tree.h"

#define TREE_FORMAT 1 /* first byte of HEAD */

enum { RECORD_HEAD = 1, RECORD_ENTRY = 2, RECORD_DATA = 3, RECORD_HOLE = 4, RECORD_END = 5, RECORD_XATTR = 6 };

#endif
