/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A sequence of keys and values in some bytes: struct lengths, the bytes of the key, those
 * of the value, and so on. Somebody else may have written it, so nothing that it says is
 * believed.
 */
#ifndef _CHANFD_ENTRIES_H
#define _CHANFD_ENTRIES_H

#include <stddef.h>
#include <stdint.h>

/* The sequence, and the room that there is for it. */
struct entries {
	unsigned char *data;
	size_t size;
	size_t room;
};

/* One entry, and where the next one is. */
struct entry {
	const char *key;
	const void *value;	/* not NULL */
	uint16_t key_size;
	uint16_t value_size;
	size_t next;
};

int chanfd_next_entry(const struct entries *all, struct entry *e);
int chanfd_find_entry(const struct entries *all, const char *key, struct entry *e);
int chanfd_is_key(const struct entry *e, const char *key);
int chanfd_add_entry(struct entries *all, const char *key, size_t key_size,
		     const void *value, size_t size);

#endif /* _CHANFD_ENTRIES_H */
