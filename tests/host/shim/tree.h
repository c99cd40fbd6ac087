/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Search trees and lists that need no lock, with the kernel's names. Trees are small here,
 * and never balanced.
 */
#ifndef _SHIM_TREE_H
#define _SHIM_TREE_H

struct rb_node {
	struct rb_node *parent, *rb_left, *rb_right;
};

struct rb_root {
	struct rb_node *rb_node;
};

#define RB_ROOT			((struct rb_root){ NULL })
#define rb_entry(ptr, type, m)	container_of(ptr, type, m)

static inline void rb_link_node(struct rb_node *node, struct rb_node *parent,
				struct rb_node **link)
{
	*node = (struct rb_node){ .parent = parent };
	*link = node;
}

static inline void rb_insert_color(struct rb_node *node, struct rb_root *root)
{
}

/* What is below @node's parent in its place from now on. */
static inline void __rb_replace(struct rb_node *node, struct rb_node *by, struct rb_root *root)
{
	struct rb_node *parent = node->parent;

	if (!parent)
		root->rb_node = by;
	else if (parent->rb_left == node)
		parent->rb_left = by;
	else
		parent->rb_right = by;
	if (by)
		by->parent = parent;
}

static inline void rb_erase(struct rb_node *node, struct rb_root *root)
{
	struct rb_node *left = node->rb_left, *right = node->rb_right, *leaf = right;

	__rb_replace(node, right ? right : left, root);
	if (!right || !left)
		return;
	/* All that was to the left comes to the left of all that was to the right. */
	while (leaf->rb_left)
		leaf = leaf->rb_left;
	leaf->rb_left = left;
	left->parent = leaf;
}

#define RB_EMPTY_ROOT(root)	(!(root)->rb_node)

struct rb_root_cached {
	struct rb_root rb_root;
};

#define RB_ROOT_CACHED		((struct rb_root_cached){ { NULL } })

static inline struct rb_node *rb_first_cached(const struct rb_root_cached *tree)
{
	struct rb_node *node = tree->rb_root.rb_node;

	while (node && node->rb_left)
		node = node->rb_left;
	return node;
}

static inline void rb_add_cached(struct rb_node *node, struct rb_root_cached *tree,
				 bool (*less)(struct rb_node *a, const struct rb_node *b))
{
	struct rb_node **link = &tree->rb_root.rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = less(node, parent) ? &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(node, parent, link);
}

#define rb_erase_cached(node, tree)	rb_erase(node, &(tree)->rb_root)

static inline struct rb_node *__rb_first_leaf(struct rb_node *node)
{
	while (node && (node->rb_left || node->rb_right))
		node = node->rb_left ? node->rb_left : node->rb_right;
	return node;
}

static inline struct rb_node *__rb_next_postorder(const struct rb_node *node)
{
	struct rb_node *parent = node->parent;

	if (parent && parent->rb_left == node && parent->rb_right)
		return __rb_first_leaf(parent->rb_right);
	return parent;
}

#define __rb_entry(ptr, type, m) ({				\
	struct rb_node *__node = (ptr);				\
								\
	__node ? container_of(__node, type, m) : NULL;		\
})

#define rbtree_postorder_for_each_entry_safe(pos, n, root, m)			\
	for (pos = __rb_entry(__rb_first_leaf((root)->rb_node), typeof(*pos), m);	\
	     pos && (n = __rb_entry(__rb_next_postorder(&pos->m), typeof(*pos), m), true); \
	     pos = n)

struct llist_node {
	struct llist_node *next;
};

struct llist_head {
	struct llist_node *first;
};

static inline void init_llist_head(struct llist_head *list)
{
	WRITE_ONCE(list->first, NULL);
}

static inline bool llist_empty(const struct llist_head *list)
{
	return !READ_ONCE(list->first);
}

#define LLIST_HEAD(name)	struct llist_head name = { NULL }

static inline bool llist_add(struct llist_node *node, struct llist_head *list)
{
	struct llist_node *first = READ_ONCE(list->first);

	do {
		node->next = first;
	} while (!__atomic_compare_exchange_n(&list->first, &first, node, false,
					      __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	return !first;
}

#define llist_del_all(list)	xchg(&(list)->first, NULL)

#define __llist_entry(ptr, type, m) ({				\
	struct llist_node *__node = (ptr);			\
								\
	__node ? container_of(__node, type, m) : NULL;		\
})

#define llist_for_each_entry_safe(pos, n, node, m)				\
	for (pos = __llist_entry(node, typeof(*pos), m);			\
	     pos && (n = __llist_entry(pos->m.next, typeof(*pos), m), true);	\
	     pos = n)

#endif /* _SHIM_TREE_H */
