/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lists and hash tables, with the kernel's names. Accesses are marked where its are:
 * list_empty() may be asked without a lock.
 */
#ifndef _SHIM_LIST_H
#define _SHIM_LIST_H

struct list_head {
	struct list_head *next, *prev;
};

#define LIST_HEAD_INIT(name)	{ &(name), &(name) }
#define LIST_HEAD(name)		struct list_head name = LIST_HEAD_INIT(name)

static inline void INIT_LIST_HEAD(struct list_head *list)
{
	WRITE_ONCE(list->next, list);
	WRITE_ONCE(list->prev, list);
}

static inline bool list_empty(const struct list_head *head)
{
	return READ_ONCE(head->next) == head;
}

static inline void __list_link(struct list_head *prev, struct list_head *next)
{
	next->prev = prev;
	WRITE_ONCE(prev->next, next);
}

/* Between two that should be neighbours. */
static inline void __list_add(struct list_head *node, struct list_head *prev,
			      struct list_head *next)
{
	if (next->prev != prev || prev->next != next || node == prev || node == next)
		host_bug("a list is corrupt");
	node->next = next;
	node->prev = prev;
	next->prev = node;
	WRITE_ONCE(prev->next, node);
}

static inline void list_add(struct list_head *node, struct list_head *head)
{
	__list_add(node, head, head->next);
}

static inline void list_add_tail(struct list_head *node, struct list_head *head)
{
	__list_add(node, head->prev, head);
}

static inline void __list_del(struct list_head *node)
{
	if (node->next->prev != node || node->prev->next != node)
		host_bug("a list is corrupt");
	__list_link(node->prev, node->next);
}

static inline void list_del(struct list_head *node)
{
	__list_del(node);
	node->next = (void *)0x100;
	node->prev = (void *)0x122;
}

static inline void list_del_init(struct list_head *node)
{
	__list_del(node);
	INIT_LIST_HEAD(node);
}

static inline void list_move_tail(struct list_head *node, struct list_head *head)
{
	__list_del(node);
	list_add_tail(node, head);
}

/* All of @list comes between two neighbours. */
static inline void __list_splice_init(struct list_head *list, struct list_head *prev,
				      struct list_head *next)
{
	struct list_head *first = list->next, *last = list->prev;

	if (list_empty(list))
		return;
	__list_link(prev, first);
	__list_link(last, next);
	INIT_LIST_HEAD(list);
}

static inline void list_splice_init(struct list_head *list, struct list_head *head)
{
	__list_splice_init(list, head, head->next);
}

static inline void list_splice_tail_init(struct list_head *list, struct list_head *head)
{
	__list_splice_init(list, head->prev, head);
}

#define list_entry(ptr, type, m)	container_of(ptr, type, m)
#define list_first_entry(ptr, type, m)	list_entry((ptr)->next, type, m)

#define list_first_entry_or_null(head, type, m) \
	(list_empty(head) ? NULL : list_first_entry(head, type, m))

#define list_for_each(pos, head) \
	for (pos = (head)->next; pos != (head); pos = pos->next)

#define list_for_each_entry(pos, head, m)				\
	for (pos = list_first_entry(head, typeof(*pos), m);		\
	     &pos->m != (head);						\
	     pos = list_entry(pos->m.next, typeof(*pos), m))

#define list_for_each_entry_safe(pos, n, head, m)			\
	for (pos = list_first_entry(head, typeof(*pos), m),		\
	     n = list_entry(pos->m.next, typeof(*pos), m);		\
	     &pos->m != (head);						\
	     pos = n, n = list_entry(n->m.next, typeof(*n), m))

/* Hash tables: arrays of lists that end */

struct hlist_node {
	struct hlist_node *next, **pprev;
};

struct hlist_head {
	struct hlist_node *first;
};

#define DEFINE_HASHTABLE(name, bits)	struct hlist_head name[1 << (bits)]
#define __hash_list(table, key)		(&(table)[(key) % ARRAY_SIZE(table)])

static inline void hlist_add_head(struct hlist_node *node, struct hlist_head *head)
{
	node->next = head->first;
	if (node->next)
		node->next->pprev = &node->next;
	head->first = node;
	node->pprev = &head->first;
}

static inline void hash_del(struct hlist_node *node)
{
	*node->pprev = node->next;
	if (node->next)
		node->next->pprev = node->pprev;
}

#define __hlist_entry(ptr, type, m) ({				\
	struct hlist_node *__node = (ptr);			\
								\
	__node ? container_of(__node, type, m) : NULL;		\
})

#define hash_add(table, node, key)	hlist_add_head(node, __hash_list(table, key))
#define hash_for_each_possible(table, pos, m, key)				\
	for (pos = __hlist_entry(__hash_list(table, key)->first, typeof(*pos), m);	\
	     pos; pos = __hlist_entry(pos->m.next, typeof(*pos), m))

#endif /* _SHIM_LIST_H */
