// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Locks.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE	/* sched_getaffinity(2) */
#endif
#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "call.h"
#include "race.h"

/* Looks at a mapped lock before a spinner gives up: Go's four rounds of thirty. */
#define SPINS	120

static int make(struct chanfd_lock *l, unsigned int flags, const char *name)
{
	l->flags = flags;
	chanfd_copy_name(l->name, sizeof(l->name), name);
	return chanfd_call_device(CHANFD_IOC_LOCK_NEW, l);
}

static int make_one(unsigned int flags, const char *name)
{
	struct chanfd_lock l = { 0 };

	if (flags & CHANFD_PAIR) {
		errno = EINVAL;
		return -1;
	}
	return make(&l, flags, name) ? -1 : l.fd[0];
}

int chanfd_mutex(unsigned int flags, const char *name)
{
	if (flags & CHANFD_RW) {
		errno = EINVAL;
		return -1;
	}
	return make_one(flags, name);
}

int chanfd_rwmutex(unsigned int flags, const char *name)
{
	return make_one(flags | CHANFD_RW, name);
}

int chanfd_rwmutex_pair(int fd[2], unsigned int flags, const char *name)
{
	struct chanfd_lock l = { 0 };

	if (make(&l, flags | CHANFD_RW | CHANFD_PAIR, name))
		return -1;
	fd[0] = l.fd[0];
	fd[1] = l.fd[1];
	return 0;
}

static int acquire(int lock, const struct chanfd_opt *opt, unsigned int flags)
{
	struct chanfd_acquire a = { .flags = flags, .context = -1 };
	int ret;

	if (opt) {
		a.flags |= opt->flags;
		a.context = opt->context;
		a.deadline = opt->deadline;
	}
	ret = chanfd_call(lock, CHANFD_IOC_LOCK, &a);
	if (!ret || errno == EOWNERDEAD) {
		if (flags & CHANFD_SHARED)
			race_noticed(lock);
		else
			race_locked(lock);
	}
	return ret;
}

int chanfd_lock(int lock, const struct chanfd_opt *opt)
{
	return acquire(lock, opt, 0);
}

int chanfd_trylock(int lock)
{
	return acquire(lock, NULL, CHANFD_NONBLOCK);
}

int chanfd_rlock(int lock, const struct chanfd_opt *opt)
{
	return acquire(lock, opt, CHANFD_SHARED);
}

int chanfd_tryrlock(int lock)
{
	return acquire(lock, NULL, CHANFD_SHARED | CHANFD_NONBLOCK);
}

static int release(int lock, unsigned int flags)
{
	__u32 arg = flags;

	if (flags & CHANFD_SHARED)
		race_reader_leaves(lock);
	else
		race_ending(lock);
	return chanfd_call(lock, CHANFD_IOC_UNLOCK, &arg);
}

int chanfd_unlock(int lock)
{
	return release(lock, 0);
}

int chanfd_runlock(int lock)
{
	return release(lock, CHANFD_SHARED);
}

int chanfd_unlock_lost(int lock)
{
	return release(lock, CHANFD_GIVE_UP);
}

int chanfd_downgrade(int lock)
{
	race_ending(lock);
	return chanfd_call(lock, CHANFD_IOC_DOWNGRADE, NULL);
}

int chanfd_lock_info(int lock, struct chanfd_lock_info *info)
{
	return chanfd_call(lock, CHANFD_IOC_LOCK_INFO, info);
}

const struct chanfd_lock_page *chanfd_lock_map(int lock)
{
	void *page = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ, MAP_SHARED, lock, 0);

	return page == MAP_FAILED ? NULL : page;
}

void chanfd_lock_unmap(const struct chanfd_lock_page *page)
{
	int err = errno;

	if (page)
		munmap((void *)page, sysconf(_SC_PAGESIZE));
	errno = err;
}

/* Says to the CPU that it spins, where the compiler knows how. */
static void relax(void)
{
#ifdef __has_builtin
#if __has_builtin(__builtin_ia32_pause)
	__builtin_ia32_pause();
#elif __has_builtin(__builtin_arm_yield)
	__builtin_arm_yield();
#endif
#endif
}

static int is_busy(const struct chanfd_lock_page *page)
{
	return __atomic_load_n(&page->busy, __ATOMIC_RELAXED) != 0;
}

/* On one CPU the holder does not run while somebody spins. */
static int may_spin(void)
{
	cpu_set_t cpus;

	/* More CPUs than there is room for are more than one. */
	return sched_getaffinity(0, sizeof(cpus), &cpus) || CPU_COUNT(&cpus) > 1;
}

int chanfd_lock_spin(int lock, const struct chanfd_lock_page *page,
		     const struct chanfd_opt *opt)
{
	int i;

	if (is_busy(page) && may_spin())
		for (i = 0; i < SPINS && is_busy(page); i++)
			relax();
	return chanfd_lock(lock, opt);
}
