// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Keys and values in some bytes.
 */
#include <errno.h>
#include <string.h>

#include "entries.h"

/* Ahead of each entry; as the machine orders bytes. */
struct lengths {
	uint16_t key;
	uint16_t value;
};

/* 1: there is one more, in @e, which is zero in the beginning; 0: there is not. */
int chanfd_next_entry(const struct entries *all, struct entry *e)
{
	size_t left = all->size - e->next;
	struct lengths len;

	if (!left)
		return 0;
	if (left < sizeof(len))
		goto damaged;
	memcpy(&len, all->data + e->next, sizeof(len));
	left -= sizeof(len);
	if (!len.key || left < (size_t)len.key + len.value)
		goto damaged;
	e->key = (const char *)all->data + e->next + sizeof(len);
	e->value = e->key + len.key;
	e->key_size = len.key;
	e->value_size = len.value;
	e->next += sizeof(len) + len.key + len.value;
	return 1;

damaged:
	errno = EBADMSG;
	return -1;
}

int chanfd_is_key(const struct entry *e, const char *key)
{
	return strlen(key) == e->key_size && !memcmp(key, e->key, e->key_size);
}

/* 1: it is in @e; 0: there is none. */
int chanfd_find_entry(const struct entries *all, const char *key, struct entry *e)
{
	int more;

	*e = (struct entry){ 0 };
	while ((more = chanfd_next_entry(all, e)) > 0 && !chanfd_is_key(e, key))
		;
	return more;
}

int chanfd_add_entry(struct entries *all, const char *key, size_t key_size,
		     const void *value, size_t size)
{
	size_t room = all->room - all->size;
	struct lengths len;

	if (key_size > room || size > room || sizeof(len) + key_size + size > room) {
		errno = E2BIG;
		return -1;
	}
	len = (struct lengths){ (uint16_t)key_size, (uint16_t)size };
	memcpy(all->data + all->size, &len, sizeof(len));
	all->size += sizeof(len);
	memcpy(all->data + all->size, key, key_size);
	all->size += key_size;
	if (size)
		memcpy(all->data + all->size, value, size);
	all->size += size;
	return 0;
}
