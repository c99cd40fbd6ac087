// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Request metadata: keys and values that a context and all derived from it have.
 *
 * All of a context's metadata is one value of it, under one key. A change makes a new
 * value from the parent's, and a context that has it: those who have the parent see
 * nothing of it.
 */
#include <errno.h>
#include <string.h>

#include "call.h"
#include "entries.h"

/* Where a context has it. */
#define KEY	"chanfd.metadata"

static int read_all(int ctx, struct entries *all)
{
	ssize_t size = chanfd_value(ctx, KEY, all->data, all->room);

	if (size < 0 && errno != ENOENT)
		return -1;
	all->size = size < 0 ? 0 : size;
	return 0;
}

/* Those of @from that are not changed. */
static int keep(struct entries *to, const struct entries *from,
		const struct chanfd_metadata *changes, unsigned int n)
{
	struct entry e = { 0 };
	unsigned int i;
	int more;

	while ((more = chanfd_next_entry(from, &e)) > 0) {
		for (i = 0; i < n && !chanfd_is_key(&e, changes[i].key); i++)
			;
		if (i == n && chanfd_add_entry(to, e.key, e.key_size, e.value, e.value_size))
			return -1;
	}
	return more;
}

/* Every key once, and not empty? */
static int are_valid(const struct chanfd_metadata *changes, unsigned int n)
{
	unsigned int i, j;

	for (i = 0; i < n; i++) {
		if (!changes[i].key || !*changes[i].key)
			return 0;
		for (j = 0; j < i; j++)
			if (!strcmp(changes[i].key, changes[j].key))
				return 0;
	}
	return 1;
}

int chanfd_context_metadata(int parent, const struct chanfd_metadata *changes,
			    unsigned int n)
{
	unsigned char before[CHANFD_MAX_VALUE], after[CHANFD_MAX_VALUE];
	struct entries from = { .data = before, .room = sizeof(before) };
	struct entries to = { .data = after, .room = sizeof(after) };
	unsigned int i;

	if (!are_valid(changes, n)) {
		errno = EINVAL;
		return -1;
	}
	if (parent != -1 && read_all(parent, &from))
		return -1;
	if (keep(&to, &from, changes, n))
		return -1;
	for (i = 0; i < n; i++) {
		const struct chanfd_metadata *c = &changes[i];

		if (c->value && chanfd_add_entry(&to, c->key, strlen(c->key), c->value, c->size))
			return -1;
	}
	return chanfd_context_value(parent, KEY, to.data, to.size);
}

ssize_t chanfd_metadata(int ctx, const char *key, void *buf, size_t size)
{
	unsigned char data[CHANFD_MAX_VALUE];
	struct entries all = { .data = data, .room = sizeof(data) };
	struct entry e;
	int found;

	if (read_all(ctx, &all))
		return -1;
	found = chanfd_find_entry(&all, key, &e);
	if (found < 0)
		return -1;
	if (!found) {
		errno = ENOENT;
		return -1;
	}
	if (e.value_size > size) {
		errno = EMSGSIZE;
		return -1;
	}
	if (e.value_size)
		memcpy(buf, e.value, e.value_size);
	return e.value_size;
}

int chanfd_metadata_each(int ctx, int (*visit)(const struct chanfd_metadata *m, void *arg),
			 void *arg)
{
	unsigned char data[CHANFD_MAX_VALUE];
	struct entries all = { .data = data, .room = sizeof(data) };
	struct entry e = { 0 };
	int more, ret;

	if (read_all(ctx, &all))
		return -1;
	while ((more = chanfd_next_entry(&all, &e)) > 0) {
		char key[CHANFD_MAX_VALUE];
		struct chanfd_metadata m = { key, e.value, e.value_size };

		memcpy(key, e.key, e.key_size);
		key[e.key_size] = '\0';
		ret = visit(&m, arg);
		if (ret)
			return ret;
	}
	return more;
}
