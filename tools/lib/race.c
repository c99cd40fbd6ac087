// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What a race detector is told.
 *
 * ThreadSanitizer (gcc and clang, -fsanitize=thread) sees a program's own accesses to
 * memory, and what pthread functions order. What the kernel orders it has to be told,
 * or every message would look like a data race: before a call that others can notice,
 * that what the thread did so far is released; after a call that noticed something,
 * that it is acquired. The functions that say so are weak references: in a program
 * without the detector they are not there, and the library does not call them.
 *
 * Each object has a few addresses that stand for its edges. Which message a send is
 * going to be, and which case of a select is going to be done, is not known before the
 * call. So an edge is told to exist from every send that has begun to every receive
 * that has ended, and so on: races may be missed for that, but none is reported that
 * is not there. See Documentation/race-detector.rst.
 *
 * Addresses follow from the object's id, which all handles have in common and which is
 * never used again, and it is asked for each time: descriptors may have been
 * closed and used again, and who looks for races does not count microseconds.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "call.h"
#include "race.h"

/* What can be noticed of an object. */
enum edge {
	SENT,		/* H1 */
	RECEIVED,	/* H2, H3 */
	ENDED,		/* H4, H9, H14 */
	EDGES
};

/* The detector wants addresses of memory, and leaves what is there alone. Objects whose
 * ids are this far apart share theirs.
 */
#define OBJECTS	4096
static __u64 edges[OBJECTS][EDGES];

/*
 * All contexts are one: what ends a context ends all below it, and which these are only
 * the kernel knows.
 */
static __u64 contexts;

/* The address of an edge; NULL if @fd is no handle. errno is preserved. */
static void *address_of(int fd, enum edge edge)
{
	struct chanfd_info info;
	int err = errno;
	int ret = chanfd_info(fd, &info);

	errno = err;
	if (ret)
		return NULL;
	if (info.type == CHANFD_TYPE_CONTEXT)
		return &contexts;
	return &edges[info.id % OBJECTS][edge];
}

static void release(int fd, enum edge edge)
{
	void *address = address_of(fd, edge);

	if (address)
		__tsan_release(address);
}

static void acquire(int fd, enum edge edge)
{
	void *address = address_of(fd, edge);

	if (address)
		__tsan_acquire(address);
}

/* What a bad pointer leads to, the kernel is to say. errno is preserved. */
static int is_mapped(const void *start, size_t size)
{
	size_t before = (uintptr_t)start % sysconf(_SC_PAGESIZE);
	int err = errno;
	int ret = msync((char *)start - before, size + before, MS_ASYNC);

	errno = err;
	return !ret;
}

void chanfd_race_before(const struct chanfd_case *cases, unsigned int n, const void *caller)
{
	const struct chanfd_case *c;

	for (c = cases; c < cases + n; c++) {
		const void *message = (const void *)(uintptr_t)c->buf;

		if (c->op == CHANFD_CASE_SEND) {
			if (c->size && is_mapped(message, c->size))
				__tsan_read_range_pc(message, c->size, caller);
			release(c->fd, SENT);
		} else if (c->op == CHANFD_CASE_RECV) {
			release(c->fd, RECEIVED);
		}
	}
}

/* A send has needed the receive of another message only if the buffer had been full. */
static void sent(int fd, __u64 number)
{
	struct chanfd_channel_info info;

	if (!chanfd_channel_info(fd, &info) && number >= info.capacity)
		acquire(fd, RECEIVED);
}

static void received(const struct chanfd_case *c, const struct chanfd_outcome *out,
		     const void *caller)
{
	acquire(c->fd, SENT);
	if (c->buf && out->size)
		__tsan_write_range_pc((void *)(uintptr_t)c->buf, out->size, caller);
}

void chanfd_race_after(const struct chanfd_case *c, const struct chanfd_outcome *out,
		       const void *caller)
{
	if (c->op == CHANFD_CASE_SEND && !out->error)
		sent(c->fd, out->number);
	else if (c->op == CHANFD_CASE_RECV && out->ok)
		received(c, out, caller);
	else if (c->op != CHANFD_CASE_POLL)
		acquire(c->fd, ENDED);
}

void chanfd_race_ending(int fd)
{
	release(fd, ENDED);
}

void chanfd_race_ended(int fd)
{
	if (fd >= 0)
		acquire(fd, ENDED);
}
