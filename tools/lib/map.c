// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Maps: a cell that holds keys and what they stand for.
 *
 * Each change makes a new value of the cell from the one that it has found, and stores it
 * if that is still there. So all operations are at one instant each, a process that dies
 * in one has changed nothing, and of those who try at the same time one always succeeds.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "entries.h"

static int load_all(int cell, struct entries *all, uint64_t *version)
{
	ssize_t size = chanfd_load(cell, all->data, all->room, version);

	if (size < 0 && errno != ENODATA)
		return -1;
	all->size = size < 0 ? 0 : size;
	if (size < 0 && version)
		*version = 0;
	return 0;
}

static void free_quietly(void *data)
{
	int err = errno;

	free(data);
	errno = err;
}

ssize_t chanfd_map_load(int map, const char *key, void *buf, size_t size)
{
	struct entries all = { .data = malloc(CHANFD_MAX_CELL), .room = CHANFD_MAX_CELL };
	ssize_t ret = -1;
	struct entry e;

	if (!all.data || load_all(map, &all, NULL))
		goto out;
	switch (chanfd_find_entry(&all, key, &e)) {
	case 0:
		errno = ENOENT;
		break;
	case 1:
		if (e.value_size > size) {
			errno = EMSGSIZE;
			break;
		}
		if (e.value_size)
			memcpy(buf, e.value, e.value_size);
		ret = e.value_size;
	}
out:
	free_quietly(all.data);
	return ret;
}

/* @to is @from, but for @key. */
static int replace(struct entries *to, const struct entries *from, const char *key,
		   const struct chanfd_map_value *value)
{
	struct entry e = { 0 };
	int more;

	to->size = 0;
	while ((more = chanfd_next_entry(from, &e)) > 0)
		if (!chanfd_is_key(&e, key) &&
		    chanfd_add_entry(to, e.key, e.key_size, e.value, e.value_size))
			return -1;
	if (more || !value->data)
		return more;
	return chanfd_add_entry(to, key, strlen(key), value->data, value->size);
}

/* 1: somebody else was faster. */
static int try_update(int cell, const char *key, struct entries *from, struct entries *to,
		      int (*change)(struct chanfd_map_value *value, void *arg), void *arg,
		      int *left)
{
	struct chanfd_map_value value = { NULL, 0 };
	uint64_t version;
	struct entry e;
	int found;

	if (load_all(cell, from, &version))
		return -1;
	found = chanfd_find_entry(from, key, &e);
	if (found < 0)
		return -1;
	if (found)
		value = (struct chanfd_map_value){ e.value, e.value_size };
	*left = change(&value, arg);
	if (*left)
		return *left < 0 ? -1 : 0;
	if (replace(to, from, key, &value))
		return -1;
	if (!chanfd_compare_and_store(cell, version, to->data, to->size, NULL))
		return 0;
	if (errno == EMSGSIZE)
		errno = E2BIG;
	return errno == ESTALE ? 1 : -1;
}

int chanfd_map_update(int map, const char *key,
		      int (*change)(struct chanfd_map_value *value, void *arg), void *arg)
{
	struct entries from = { .room = CHANFD_MAX_CELL }, to = { .room = CHANFD_MAX_CELL };
	int ret, left = 0;

	if (!*key) {
		errno = EINVAL;
		return -1;
	}
	from.data = malloc(from.room + to.room);
	if (!from.data)
		return -1;
	to.data = from.data + from.room;
	do
		ret = try_update(map, key, &from, &to, change, arg, &left);
	while (ret > 0);
	free_quietly(from.data);
	return ret ? ret : !!left;
}

static int set(struct chanfd_map_value *value, void *arg)
{
	*value = *(const struct chanfd_map_value *)arg;
	return 0;
}

int chanfd_map_store(int map, const char *key, const void *value, size_t size)
{
	struct chanfd_map_value wanted = { value, size };

	return chanfd_map_update(map, key, set, &wanted);
}

int chanfd_map_each(int map,
		    int (*visit)(const char *key, const struct chanfd_map_value *value,
				 void *arg), void *arg)
{
	struct entries all = { .room = CHANFD_MAX_CELL };
	struct entry e = { 0 };
	char *key;
	int ret = -1;

	/* Keys are shown with a NUL behind them. */
	all.data = malloc(2 * all.room);
	if (!all.data || load_all(map, &all, NULL))
		goto out;
	key = (char *)all.data + all.room;
	while ((ret = chanfd_next_entry(&all, &e)) > 0) {
		memcpy(key, e.key, e.key_size);
		key[e.key_size] = '\0';
		ret = visit(key, &(struct chanfd_map_value){ e.value, e.value_size }, arg);
		if (ret)
			break;
	}
out:
	free_quietly(all.data);
	return ret;
}
