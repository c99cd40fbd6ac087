// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Single flight, between processes: Go's singleflight.Group.
 *
 * There are a few slots, each a lock and a cell. Who starts an execution, the leader,
 * has the lock of a slot as a writer until it is over, and leaves the result in its cell.
 * Followers come for it as readers of the lock, and so wait until it is there, and are
 * told when the leader dies.
 *
 * A directory says which keys are being executed in which slots, and which version the
 * result will have in the slot's cell. It is a cell, too: whoever changes it stores a whole
 * new one on condition that nobody else has meanwhile. So it needs no lock, is never half
 * written, and what others may have stored there is looked at in a copy of one's own.
 *
 * The slot that an entry names may have been used again when a follower gets there; then the
 * cell has another version, and the follower starts over, as if it had come later.
 *
 *	leader				follower
 *	lock a free slot		load the directory: the key's slot, version
 *	store the directory with it	lock that slot as a reader
 *	...				load the cell: is it that version?
 *	store the directory without	unlock
 *	store the result
 *	unlock
 *
 * So no result is ever left in a slot that an entry still names: that would be given to
 * all who come later.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"

#define SLOTS	CHANFD_FLIGHT_SLOTS

/**
 * struct entry - what is being executed in a slot
 * @version:	that the result will have in the slot's cell; 0: nothing is
 * @key:	of it, padded with zeroes
 */
struct entry {
	uint64_t version;
	char key[CHANFD_FLIGHT_KEY];
};

struct directory {
	struct entry slot[SLOTS];
};

/* In a slot's cell, before the bytes that the function had to say. */
struct result {
	int32_t error;
	unsigned char bytes[];
};

/**
 * struct call - a call of chanfd_flight_do()
 * @flight:	all slots
 * @slot:	the one that it is about
 * @version:	of the result there
 * @result:	room for what goes to a cell or comes from it
 * @room:	bytes there
 */
struct call {
	const struct chanfd_flight *flight;
	int slot;
	uint64_t version;
	struct result *result;
	size_t room;
};

int chanfd_flight(struct chanfd_flight *flight, size_t size, unsigned int flags,
		  const char *name)
{
	int slot;

	if (size > CHANFD_MAX_CELL - sizeof(struct result) || flags & ~CHANFD_INHERIT) {
		errno = EINVAL;
		return -1;
	}
	memset(flight, -1, sizeof(*flight));
	flight->directory = chanfd_cell(sizeof(struct directory), flags, name);
	if (flight->directory < 0)
		goto failed;
	for (slot = 0; slot < SLOTS; slot++) {
		flight->lock[slot] = chanfd_rwmutex(flags, name);
		if (flight->lock[slot] < 0)
			goto failed;
		flight->cell[slot] = chanfd_cell(sizeof(struct result) + size, flags, name);
		if (flight->cell[slot] < 0)
			goto failed;
	}
	return 0;

failed:
	chanfd_flight_close(flight);
	return -1;
}

void chanfd_flight_close(struct chanfd_flight *flight)
{
	int slot;

	for (slot = 0; slot < SLOTS; slot++) {
		chanfd_cleanup_fd(&flight->lock[slot]);
		chanfd_cleanup_fd(&flight->cell[slot]);
	}
	chanfd_cleanup_fd(&flight->directory);
}

static int check_key(const char *key)
{
	if (key && strnlen(key, CHANFD_FLIGHT_KEY) < CHANFD_FLIGHT_KEY)
		return 0;
	errno = EINVAL;
	return -1;
}

/* What is not a directory has no entries. */
static int load(const struct chanfd_flight *flight, struct directory *d, uint64_t *version)
{
	ssize_t n;

	*version = 0;
	n = chanfd_load(flight->directory, d, sizeof(*d), version);
	if (n != sizeof(*d))
		memset(d, 0, sizeof(*d));
	return n < 0 && errno != ENODATA ? -1 : 0;
}

static int find(const struct directory *d, const char *key)
{
	int slot;

	for (slot = 0; slot < SLOTS; slot++)
		if (d->slot[slot].version && !strncmp(d->slot[slot].key, key, CHANFD_FLIGHT_KEY))
			return slot;
	return -1;
}

/* Take out a slot's entry with that version; somebody else may have done it. */
static int take_out(const struct chanfd_flight *flight, int slot, uint64_t version)
{
	struct directory d;
	uint64_t loaded;

	do {
		if (load(flight, &d, &loaded))
			return -1;
		if (d.slot[slot].version != version)
			return 0;
		memset(&d.slot[slot], 0, sizeof(d.slot[slot]));
		if (!chanfd_compare_and_store(flight->directory, loaded, &d, sizeof(d), NULL))
			return 0;
	} while (errno == ESTALE);
	return -1;
}

int chanfd_flight_forget(const struct chanfd_flight *flight, const char *key)
{
	struct directory d;
	uint64_t loaded;
	int slot;

	if (check_key(key) || load(flight, &d, &loaded))
		return -1;
	slot = find(&d, key);
	return slot < 0 ? 0 : take_out(flight, slot, d.slot[slot].version);
}

/* A result, as the function had told it. */
static ssize_t deliver(const struct result *result, size_t size, void *buf, size_t room)
{
	if (result->error) {
		errno = result->error;
		return -1;
	}
	if (size > room) {
		errno = EMSGSIZE;
		return -1;
	}
	if (size)
		memcpy(buf, result->bytes, size);
	return size;
}

/*
 * Wait for the result of a leader. If it is not there the leader has died, or failed to
 * leave one, or was done long ago: then nobody else is to look for it either.
 */
static int follow(struct call *call, const struct chanfd_opt *opt, ssize_t *n)
{
	int lock = call->flight->lock[call->slot];
	uint64_t version = 0;
	bool died;
	int err;

	died = chanfd_rlock(lock, opt);
	if (died && errno != EOWNERDEAD)
		return -1;
	*n = chanfd_load(call->flight->cell[call->slot], call->result, call->room, &version);
	err = errno;
	chanfd_runlock(lock);
	if (*n < 0 && err != ENODATA) {
		errno = err;
		return -1;
	}
	if (!died && version == call->version && *n >= (ssize_t)sizeof(*call->result))
		return 1;
	return take_out(call->flight, call->slot, call->version);
}

/* Have any slot that is free. */
static int board(struct call *call, const struct chanfd_opt *opt)
{
	struct chanfd_case cases[SLOTS];
	struct chanfd_outcome out;
	int slot;

	for (slot = 0; slot < SLOTS; slot++)
		cases[slot] = CHANFD_LOCK(call->flight->lock[slot]);
	call->slot = chanfd_select(cases, SLOTS, opt, &out);
	if (call->slot >= 0 && out.error && out.error != EOWNERDEAD) {
		errno = out.error;
		return -1;
	}
	return call->slot < 0 ? -1 : 0;
}

/* Tell that the key is executed in the slot, unless the directory is no longer @loaded. */
static int publish(struct call *call, struct directory *d, uint64_t loaded, const char *key)
{
	struct entry *entry = &d->slot[call->slot];
	struct chanfd_cell_info info;

	if (chanfd_cell_info(call->flight->cell[call->slot], &info))
		return -1;
	call->version = info.version + 1;
	memset(entry, 0, sizeof(*entry));
	entry->version = call->version;
	strncpy(entry->key, key, sizeof(entry->key));
	return chanfd_compare_and_store(call->flight->directory, loaded, d, sizeof(*d), NULL);
}

/* Those who have come so far may go on. Were there any? */
static bool land(struct call *call)
{
	int lock = call->flight->lock[call->slot], err = errno;
	struct chanfd_lock_info info = { 0 };

	chanfd_lock_info(lock, &info);
	chanfd_unlock(lock);
	errno = err;
	return info.waiting_readers;
}

/* The leader's thread has come to its end instead of its function. */
static void abandon(void *arg)
{
	struct call *call = arg;

	take_out(call->flight, call->slot, call->version);
	land(call);
	free(call->result);
}

/*
 * What can't be left in the cell, for lack of memory or because it is too long, is the
 * leader's alone: its followers start over.
 */
static ssize_t lead(struct call *call, ssize_t (*f)(void *arg, void *buf, size_t size),
		    void *arg, void *buf, size_t size, bool *shared)
{
	ssize_t n;

	pthread_cleanup_push(abandon, call);
	n = f(arg, call->result->bytes, size);
	pthread_cleanup_pop(0);
	call->result->error = n < 0 ? errno : 0;
	if (n < 0 && !errno)
		call->result->error = ECANCELED;
	if (n > (ssize_t)size)
		call->result->error = EMSGSIZE;
	if (call->result->error)
		n = 0;
	if (!take_out(call->flight, call->slot, call->version))
		chanfd_store(call->flight->cell[call->slot], call->result,
			     sizeof(*call->result) + n, NULL);
	*shared = land(call);
	return deliver(call->result, n, buf, size);
}

static ssize_t run(struct call *call, const char *key,
		   ssize_t (*f)(void *arg, void *buf, size_t size), void *arg,
		   void *buf, size_t size, bool *shared, const struct chanfd_opt *opt)
{
	struct directory d;
	uint64_t loaded;
	ssize_t n;
	int ret;

	for (;;) {
		if (load(call->flight, &d, &loaded))
			return -1;
		call->slot = find(&d, key);
		if (call->slot >= 0) {
			call->version = d.slot[call->slot].version;
			ret = follow(call, opt, &n);
			if (ret < 0)
				return -1;
			*shared = true;
			if (ret)
				return deliver(call->result, n - sizeof(*call->result), buf, size);
			continue;
		}
		if (board(call, opt))
			return -1;
		if (!publish(call, &d, loaded, key))
			return lead(call, f, arg, buf, size, shared);
		ret = errno;
		chanfd_unlock(call->flight->lock[call->slot]);
		errno = ret;
		if (ret != ESTALE)
			return -1;
	}
}

ssize_t chanfd_flight_do(const struct chanfd_flight *flight, const char *key,
			 ssize_t (*f)(void *arg, void *buf, size_t size), void *arg,
			 void *buf, size_t size, bool *shared, const struct chanfd_opt *opt)
{
	struct call call = { .flight = flight };
	bool ignored;
	ssize_t n;

	if (check_key(key))
		return -1;
	if (size > CHANFD_MAX_CELL - sizeof(*call.result))
		size = CHANFD_MAX_CELL - sizeof(*call.result);
	call.room = sizeof(*call.result) + size;
	call.result = malloc(call.room);
	if (!call.result)
		return -1;
	n = run(&call, key, f, arg, buf, size, shared ? shared : &ignored, opt);
	free(call.result);
	return n;
}
