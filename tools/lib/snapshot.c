// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Snapshots: copies of what a cell holds, for those who read it all the time.
 *
 * A process has one copy of each version that somebody in it uses. The newest is current;
 * whoever finds by the mapped page that the cell is ahead loads what it holds and makes
 * that current. Nobody waits: of several who do so at the same time one wins, the others
 * throw away what they have loaded.
 *
 * A copy's node is never freed before the snapshot, only its data, so that a reader may
 * look at the node that was current a moment ago, and try to get a reference: the
 * algorithm is that of the cell itself, see kmod/cell.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "call.h"
#include "race.h"

/* References of a node that nobody uses, and of one that is being filled or emptied. */
enum { UNUSED = -1, MINE = 0 };

/**
 * struct node - a copy and who uses it
 * @copy:	written while the node is somebody's own
 * @refs:	users, and one while it is current; or UNUSED, MINE
 * @next:	immutable
 */
struct node {
	struct chanfd_copy copy;
	int refs;
	struct node *next;
};

/**
 * struct chanfd_snapshot
 * @cell:	a handle of its own, so that loads by it are nobody's news
 * @max:	bytes of a value
 * @page:	tells which version there is
 * @current:	the newest that anybody here has loaded; NULL before the first
 * @nodes:	all that were ever made; they only become more
 */
struct chanfd_snapshot {
	int cell;
	size_t max;
	const struct chanfd_cell_page *page;
	struct node *current;
	struct node *nodes;
};

static struct node *node_of(const struct chanfd_copy *copy)
{
	return (struct node *)copy;
}

/* For nobody: what was somebody's own. */
static void empty(struct node *n)
{
	free((void *)n->copy.data);
	n->copy.data = NULL;
	__atomic_store_n(&n->refs, UNUSED, __ATOMIC_RELEASE);
}

static void put(struct node *n)
{
	if (race_detector())
		__tsan_release(n);
	/* The last one comes after all the others, and leaves MINE. */
	if (__atomic_fetch_sub(&n->refs, 1, __ATOMIC_ACQ_REL) > 1)
		return;
	if (race_detector())
		__tsan_acquire(n);
	empty(n);
}

/* The current node with a reference, or NULL. */
static struct node *get_current(struct chanfd_snapshot *s)
{
	for (;;) {
		struct node *n = __atomic_load_n(&s->current, __ATOMIC_ACQUIRE);
		int refs;

		if (!n)
			return NULL;
		refs = __atomic_load_n(&n->refs, __ATOMIC_RELAXED);
		while (refs > 0 && !__atomic_compare_exchange_n(&n->refs, &refs, refs + 1, 1,
								__ATOMIC_ACQUIRE,
								__ATOMIC_RELAXED))
			;
		if (refs <= 0)
			continue;
		/* It may have been used again for another copy: is that current? */
		if (n == __atomic_load_n(&s->current, __ATOMIC_ACQUIRE))
			return n;
		put(n);
	}
}

/* A node that is the caller's own. */
static struct node *node_new(struct chanfd_snapshot *s)
{
	struct node *n;

	for (n = __atomic_load_n(&s->nodes, __ATOMIC_ACQUIRE); n; n = n->next) {
		int refs = UNUSED;

		if (__atomic_compare_exchange_n(&n->refs, &refs, MINE, 0, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return n;
	}
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->next = __atomic_load_n(&s->nodes, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&s->nodes, &n->next, n, 1, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		;
	return n;
}

/* What the cell holds, with two references: one to be current, and the caller's. */
static struct node *load(struct chanfd_snapshot *s)
{
	struct node *n = node_new(s);
	void *shrunk, *data;
	ssize_t size;

	if (!n)
		return NULL;
	data = malloc(s->max + !s->max);
	n->copy.data = data;
	size = data ? chanfd_load(s->cell, data, s->max, &n->copy.version) : -1;
	if (size < 0) {
		int err = errno;

		empty(n);
		errno = err;
		return NULL;
	}
	shrunk = realloc(data, size + !size);
	if (shrunk)
		n->copy.data = shrunk;
	n->copy.size = size;
	__atomic_store_n(&n->refs, 2, __ATOMIC_RELEASE);
	return n;
}

static int is_newest(const struct chanfd_snapshot *s, const struct chanfd_copy *copy)
{
	return copy->version >= __atomic_load_n(&s->page->version, __ATOMIC_SEQ_CST);
}

struct chanfd_snapshot *chanfd_snapshot_open(int cell)
{
	struct chanfd_snapshot *s;
	struct chanfd_cell_info info;
	int err;

	if (chanfd_cell_info(cell, &info))
		return NULL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->max = info.max;
	s->cell = chanfd_reduce(cell, CHANFD_READ);
	if (s->cell < 0)
		goto failed;
	s->page = chanfd_cell_map(s->cell);
	if (s->page)
		return s;
failed:
	err = errno;
	if (s->cell >= 0)
		close(s->cell);
	free(s);
	errno = err;
	return NULL;
}

void chanfd_snapshot_close(struct chanfd_snapshot *s)
{
	struct node *n, *next;

	if (!s)
		return;
	if (s->current)
		put(s->current);
	for (n = s->nodes; n; n = next) {
		next = n->next;
		free(n);
	}
	chanfd_cell_unmap(s->page);
	chanfd_close_quietly(s->cell);
	free(s);
}

const struct chanfd_copy *chanfd_snapshot_get(struct chanfd_snapshot *s)
{
	for (;;) {
		struct node *old = get_current(s);
		struct node *expected = old, *n;

		if (old && is_newest(s, &old->copy))
			return &old->copy;
		n = load(s);
		if (!n)
			return old ? &old->copy : NULL;
		if (__atomic_compare_exchange_n(&s->current, &expected, n, 0,
						__ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
			if (old) {
				put(old);	/* it is not current any more */
				put(old);
			}
			return &n->copy;
		}
		/* Somebody was faster, perhaps with a newer one. */
		put(n);
		put(n);
		if (old)
			put(old);
	}
}

const struct chanfd_copy *chanfd_snapshot_renew(struct chanfd_snapshot *s,
						const struct chanfd_copy *copy)
{
	const struct chanfd_copy *newest;

	if (is_newest(s, copy))
		return copy;
	newest = chanfd_snapshot_get(s);
	put(node_of(copy));
	return newest;
}

void chanfd_snapshot_put(const struct chanfd_copy *copy)
{
	put(node_of(copy));
}
