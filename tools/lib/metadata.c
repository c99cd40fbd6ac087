// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Request metadata: keys and values that a context and all derived from it have.
 *
 * All of a context's metadata is one value of it, under one key. A change makes a new
 * value from the parent's, and a context that has it: those who have the parent see
 * nothing of it.
 *
 * The value is a sequence of entries: struct lengths, the bytes of the key, those of the
 * value. Somebody else may have written it, so nothing that it says is believed.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "call.h"

/* Where a context has it. */
#define KEY	"chanfd.metadata"

/* A context's metadata. */
struct all {
	size_t size;
	unsigned char data[CHANFD_MAX_VALUE];
};

/* Ahead of each entry; as the machine orders bytes. */
struct lengths {
	uint16_t key;
	uint16_t value;
};

/* One entry, and where the next one is. */
struct entry {
	struct lengths len;
	const char *key;
	const void *value;
	size_t next;
};

/* 1: there is one more; 0: there is not. */
static int next_entry(const struct all *all, struct entry *e)
{
	size_t left = all->size - e->next;

	if (!left)
		return 0;
	if (left < sizeof(e->len))
		goto damaged;
	memcpy(&e->len, all->data + e->next, sizeof(e->len));
	left -= sizeof(e->len);
	if (!e->len.key || left < (size_t)e->len.key + e->len.value)
		goto damaged;
	e->key = (const char *)all->data + e->next + sizeof(e->len);
	e->value = e->key + e->len.key;
	e->next += sizeof(e->len) + e->len.key + e->len.value;
	return 1;

damaged:
	errno = EBADMSG;
	return -1;
}

static int is_key(const struct entry *e, const char *key)
{
	return strlen(key) == e->len.key && !memcmp(key, e->key, e->len.key);
}

static int read_all(int ctx, struct all *all)
{
	ssize_t size = chanfd_value(ctx, KEY, all->data, sizeof(all->data));

	if (size < 0 && errno != ENOENT)
		return -1;
	all->size = size < 0 ? 0 : size;
	return 0;
}

static int append(struct all *all, const char *key, size_t key_size, const void *value,
		  size_t size)
{
	struct lengths len = { key_size, size };
	size_t room = sizeof(all->data) - all->size;

	if (key_size > room || size > room || sizeof(len) + key_size + size > room) {
		errno = E2BIG;
		return -1;
	}
	memcpy(all->data + all->size, &len, sizeof(len));
	all->size += sizeof(len);
	memcpy(all->data + all->size, key, key_size);
	all->size += key_size;
	if (size)
		memcpy(all->data + all->size, value, size);
	all->size += size;
	return 0;
}

/* Those of @from that are not changed. */
static int keep(struct all *to, const struct all *from, const struct chanfd_metadata *changes,
		unsigned int n)
{
	struct entry e = { 0 };
	unsigned int i;
	int more;

	while ((more = next_entry(from, &e)) > 0) {
		for (i = 0; i < n && !is_key(&e, changes[i].key); i++)
			;
		if (i == n && append(to, e.key, e.len.key, e.value, e.len.value))
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
	struct all from = { 0 }, to = { 0 };
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

		if (c->value && append(&to, c->key, strlen(c->key), c->value, c->size))
			return -1;
	}
	return chanfd_context_value(parent, KEY, to.data, to.size);
}

ssize_t chanfd_metadata(int ctx, const char *key, void *buf, size_t size)
{
	struct entry e = { 0 };
	struct all all;
	int more;

	if (read_all(ctx, &all))
		return -1;
	while ((more = next_entry(&all, &e)) > 0 && !is_key(&e, key))
		;
	if (more < 0)
		return -1;
	if (!more) {
		errno = ENOENT;
		return -1;
	}
	if (e.len.value > size) {
		errno = EMSGSIZE;
		return -1;
	}
	if (e.len.value)
		memcpy(buf, e.value, e.len.value);
	return e.len.value;
}

int chanfd_metadata_each(int ctx, int (*visit)(const struct chanfd_metadata *m, void *arg),
			 void *arg)
{
	struct entry e = { 0 };
	struct all all;
	int more, ret;

	if (read_all(ctx, &all))
		return -1;
	while ((more = next_entry(&all, &e)) > 0) {
		char key[CHANFD_MAX_VALUE];
		struct chanfd_metadata m = { key, e.value, e.len.value };

		memcpy(key, e.key, e.len.key);
		key[e.len.key] = '\0';
		ret = visit(&m, arg);
		if (ret)
			return ret;
	}
	return more;
}
