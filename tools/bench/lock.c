// SPDX-License-Identifier: GPL-2.0
/* Locks: what one costs that nobody else wants, and what several get of one. */
#include <chanfd.h>
#include <errno.h>
#include <sys/ioctl.h>

#include "bench.h"

#define ROUNDS	20000

/* The least that a system call on a handle can do: nothing. */
static void null_pair(int lock)
{
	check(ioctl(lock, CHANFD_IOC_DONE, NULL) < 0 && errno == ENOTTY, "null ioctl");
	check(ioctl(lock, CHANFD_IOC_DONE, NULL) < 0 && errno == ENOTTY, "null ioctl");
}

static void lock_pair(int lock)
{
	check(!chanfd_lock(lock, NULL), "chanfd_lock");
	check(!chanfd_unlock(lock), "chanfd_unlock");
}

static void rlock_pair(int lock)
{
	check(!chanfd_rlock(lock, NULL), "chanfd_rlock");
	check(!chanfd_runlock(lock), "chanfd_runlock");
}

struct pair {
	const char *name;
	void (*run)(int lock);
};

static void uncontended(const void *arg)
{
	const struct pair *pair = arg;
	int lock = chanfd_rwmutex(0, NULL);

	check(lock >= 0, "chanfd_rwmutex");
	for (unsigned int i = 0; i < ROUNDS / 10; i++)
		pair->run(lock);
	clock_start();
	for (unsigned int i = 0; i < ROUNDS; i++)
		pair->run(lock);
	clock_stop();
	result(ROUNDS);
}

void measure_locks(void)
{
	static const struct pair pairs[] = {
		{ "two-null-ioctls", null_pair },
		{ "chanfd-lock", lock_pair },
		{ "chanfd-rlock", rlock_pair },
	};

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		measure(uncontended, &pairs[i], "lock", pairs[i].name, 0);
}
