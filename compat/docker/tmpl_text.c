/* A node's text as Go writes it into errors. */
#include "compat/docker/tmpl_node.h"

#include "compat/base/buf.h"
#include "compat/docker/quote.h"

#include <string.h>

static void add_kids(const struct node *node, const char *between, struct buf *out)
{
    for (size_t i = 0; i < node->count; i++) {
        const struct node *kid = node->kids[i];

        if (i)
            buf_adds(out, between);
        if (kid->type == NODE_PIPE)
            buf_addc(out, '(');
        node_text(kid, out);
        if (kid->type == NODE_PIPE)
            buf_addc(out, ')');
    }
}

static void add_pipe(const struct node *node, struct buf *out)
{
    for (size_t i = 0; i < node->declared.len; i++)
        buf_addf(out, "%s%s", i ? ", " : "", node->declared.items[i]);
    if (node->declared.len)
        buf_adds(out, node->assigns ? " = " : " := ");
    add_kids(node, " | ", out);
}

static void add_names(const struct node *node, size_t first, struct buf *out)
{
    for (size_t i = first; i < node->names.len; i++)
        buf_addf(out, ".%s", node->names.items[i]);
}

void node_text(const struct node *node, struct buf *out)
{
    cleanup_buf struct buf quoted = BUF_INIT(LIMIT_TEMPLATE);

    switch (node->type) {
    case NODE_PIPE:
        add_pipe(node, out);
        break;
    case NODE_COMMAND:
        add_kids(node, " ", out);
        break;
    case NODE_FIELD:
        add_names(node, 0, out);
        break;
    case NODE_VARIABLE:
        buf_adds(out, node->names.items[0]);
        add_names(node, 1, out);
        break;
    case NODE_CHAIN:
        add_kids(node, " ", out);
        add_names(node, 0, out);
        break;
    case NODE_DOT:
        buf_addc(out, '.');
        break;
    case NODE_NIL:
        buf_adds(out, "nil");
        break;
    case NODE_TEMPLATE:
        quote_go(&quoted, node->text, strlen(node->text));
        buf_addf(out, "{{template %s%s", quoted.data, node->count ? " " : "");
        if (node->count)
            add_pipe(node->kids[0], out);
        buf_adds(out, "}}");
        break;
    case NODE_ACTION:
        buf_adds(out, "{{");
        add_kids(node, "", out);
        buf_adds(out, "}}");
        break;
    default:
        buf_adds(out, node->text ? node->text : "");
        break;
    }
}
