// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Once, between processes: Go's sync.Once and sync.OnceValue.
 *
 * A cell holds the result, from when it is done on and for good; its tag is the error, or
 * 0. A lock is held by who is at work, the leader. When it dies the lock says so, and the
 * next who gets it is the leader.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE	/* gettid(2) */
#endif
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

#include "call.h"

int chanfd_once(struct chanfd_once *once, size_t size, unsigned int flags, const char *name)
{
	unsigned int inherit = flags & CHANFD_INHERIT;
	int lock, cell;

	if (flags & ~(CHANFD_INHERIT | CHANFD_STICKY)) {
		errno = EINVAL;
		return -1;
	}
	lock = chanfd_mutex(inherit, name);
	if (lock < 0)
		return -1;
	cell = chanfd_cell(size, inherit, name);
	if (cell < 0 || chanfd_once_open(once, lock, cell, flags & CHANFD_STICKY)) {
		if (cell >= 0)
			chanfd_close_quietly(cell);
		chanfd_close_quietly(lock);
		return -1;
	}
	return 0;
}

int chanfd_once_open(struct chanfd_once *once, int lock, int cell, unsigned int flags)
{
	const struct chanfd_cell_page *page;

	if (flags & ~CHANFD_STICKY) {
		errno = EINVAL;
		return -1;
	}
	page = chanfd_cell_map(cell);
	if (!page)
		return -1;
	*once = (struct chanfd_once){
		.lock = lock, .cell = cell, .flags = flags, .page = page,
	};
	return 0;
}

void chanfd_once_close(struct chanfd_once *once)
{
	chanfd_cell_unmap(once->page);
	chanfd_cleanup_fd(&once->lock);
	chanfd_cleanup_fd(&once->cell);
}

/* Is there a result, or something that keeps it from being had? Then it is @n and errno. */
static bool is_done(const struct chanfd_once *once, void *buf, size_t size, ssize_t *n)
{
	struct chanfd_load l = { .buf = (uintptr_t)buf, .size = size };

	if (size > CHANFD_MAX_CELL)
		l.size = CHANFD_MAX_CELL;
	*n = chanfd_cell_read(once->page, buf, size, NULL);
	if (*n >= 0)
		l.tag = once->page->tag;
	else if (errno == EAGAIN && !chanfd_cell_load(once->cell, &l))
		*n = l.size;
	if (*n < 0)
		return errno != ENODATA;
	if (l.tag) {
		errno = l.tag;
		*n = -1;
	}
	return true;
}

/* Nobody can be faster, but who has the handles may do what it wants with them. */
static int finish(const struct chanfd_once *once, const void *buf, size_t size, int error)
{
	struct chanfd_store s = {
		.flags = CHANFD_IF_VERSION,
		.tag = error,
		.buf = (uintptr_t)buf,
		.size = size,
	};

	return chanfd_cell_store(once->cell, &s);
}

static ssize_t fail(struct chanfd_once *once, int error)
{
	if (once->flags & CHANFD_STICKY)
		finish(once, NULL, 0, error);
	errno = error;
	return -1;
}

/* The leader's thread has come to its end instead of its function. */
static void abandon(void *arg)
{
	struct chanfd_once *once = arg;

	fail(once, ECANCELED);
	__atomic_store_n(&once->leader, 0, __ATOMIC_RELAXED);
	chanfd_unlock(once->lock);
}

static ssize_t lead(struct chanfd_once *once, bool died,
		    ssize_t (*f)(void *arg, void *buf, size_t size), void *arg,
		    void *buf, size_t size)
{
	ssize_t n;

	if (died && once->flags & CHANFD_STICKY)
		return fail(once, EOWNERDEAD);
	__atomic_store_n(&once->leader, gettid(), __ATOMIC_RELAXED);
	pthread_cleanup_push(abandon, once);
	errno = died ? EOWNERDEAD : 0;
	n = f(arg, buf, size);
	pthread_cleanup_pop(0);
	__atomic_store_n(&once->leader, 0, __ATOMIC_RELAXED);
	if (n < 0)
		return fail(once, errno ? errno : ECANCELED);
	if ((size_t)n > size)
		return fail(once, EMSGSIZE);
	return finish(once, buf, n, 0) ? -1 : n;
}

ssize_t chanfd_once_do(struct chanfd_once *once,
		       ssize_t (*f)(void *arg, void *buf, size_t size), void *arg,
		       void *buf, size_t size, const struct chanfd_opt *opt)
{
	bool died;
	ssize_t n;
	int err;

	if (is_done(once, buf, size, &n))
		return n;
	if (__atomic_load_n(&once->leader, __ATOMIC_RELAXED) == gettid()) {
		errno = EDEADLK;
		return -1;
	}
	died = chanfd_lock(once->lock, opt);
	if (died && errno != EOWNERDEAD)
		return -1;
	if (!is_done(once, buf, size, &n))
		n = lead(once, died, f, arg, buf, size);
	err = errno;
	chanfd_unlock(once->lock);
	errno = err;
	return n;
}
