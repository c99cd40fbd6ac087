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
 * Addresses follow from the object's id, which all its handles have in common and which
 * is never used again. It is asked for each time: descriptors may have been closed and
 * used again, and who looks for races does not count microseconds.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "call.h"
#include "race.h"

/* What can be noticed of an object. */
enum edge {
	SENT,		/* H1 */
	RECEIVED,	/* H2, H3; of a lock, a reader has left: H6 */
	ENDED,		/* H4, H5, H9, H10, H12, H14 */
	EDGES
};

/* The detector wants addresses of memory, and leaves what is there alone. Objects whose
 * ids are a multiple of this apart share theirs.
 */
#define OBJECTS	4096
static __u64 objects[OBJECTS][EDGES];

/*
 * All contexts are one: what ends a context ends all below it, and which these are only
 * the kernel knows.
 */
static __u64 contexts[EDGES];

/* All cells are one: a mapped page does not tell whose it is. */
static __u64 cells[EDGES];

static __u64 *edges_of(int fd)
{
	struct chanfd_info info;
	int err = errno;
	int ret = chanfd_info(fd, &info);

	errno = err;
	if (ret)
		return NULL;
	if (info.type == CHANFD_TYPE_CONTEXT)
		return contexts;
	if (info.type == CHANFD_TYPE_CELL)
		return cells;
	return objects[info.id % OBJECTS];
}

static void release(__u64 *edges, enum edge edge)
{
	if (edges)
		__tsan_release(&edges[edge]);
}

static void acquire(__u64 *edges, enum edge edge)
{
	if (edges)
		__tsan_acquire(&edges[edge]);
}

/*
 * What is to be remembered of a case until it was done: the edges of its object, and the
 * capacity of a channel to send to. The handle may be closed when the call returns, by
 * somebody else whom it let go.
 */
struct race {
	__u64 *edges;
	__u32 capacity;
};

/* What a bad pointer leads to, the kernel is to say. */
static int is_mapped(const void *start, size_t size)
{
	size_t before = (uintptr_t)start % sysconf(_SC_PAGESIZE);
	int err = errno;
	int ret = msync((char *)start - before, size + before, MS_ASYNC);

	errno = err;
	return !ret;
}

static void before_send(struct race *race, const struct chanfd_case *c, const void *caller)
{
	const void *message = (const void *)(uintptr_t)c->buf;
	struct chanfd_channel_info info;
	int err = errno;

	race->capacity = chanfd_channel_info(c->fd, &info) ? 0 : info.capacity;
	errno = err;
	if (c->size && is_mapped(message, c->size))
		__tsan_read_range_pc(message, c->size, caller);
	release(race->edges, SENT);
}

/* A call about @cases begins: all of them, since any may be the one. */
static void before(struct race *races, const struct chanfd_case *cases, unsigned int n,
		   const void *caller)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (cases[i].op == CHANFD_CASE_POLL)
			continue;
		races[i].edges = edges_of(cases[i].fd);
		if (cases[i].op == CHANFD_CASE_SEND)
			before_send(&races[i], &cases[i], caller);
		else if (cases[i].op == CHANFD_CASE_RECV)
			release(races[i].edges, RECEIVED);
	}
}

/* The case @c was done, with the outcome @out. */
static void after(const struct race *race, const struct chanfd_case *c,
		  const struct chanfd_outcome *out, const void *caller)
{
	if (c->op == CHANFD_CASE_POLL)
		return;
	if (c->op == CHANFD_CASE_SEND && !out->error) {
		/* The first that fill the buffer need no receive. */
		if (out->number >= race->capacity)
			acquire(race->edges, RECEIVED);
	} else if (c->op == CHANFD_CASE_RECV && out->ok) {
		const struct chanfd_parcel *p = (const void *)(uintptr_t)c->buf;
		__u64 buf = c->flags & CHANFD_CASE_PARCEL ? p->buf : c->buf;

		acquire(race->edges, SENT);
		if (buf && out->size)
			__tsan_write_range_pc((void *)(uintptr_t)buf, out->size, caller);
	} else {
		acquire(race->edges, ENDED);
		if (c->op == CHANFD_CASE_LOCK)
			acquire(race->edges, RECEIVED);
	}
}

/* A call has failed; because its context is done? */
static void failed(int context)
{
	if (context >= 0 && (errno == ECANCELED || errno == ETIMEDOUT))
		chanfd_race_context_done();
}

/* chanfd_call() of a send or a receive, which is a select of one case in this respect. */
int chanfd_race_transfer(int ch, unsigned long request, struct chanfd_transfer *t,
			 const void *caller)
{
	const struct chanfd_case c = {
		.fd = ch,
		.op = request == CHANFD_IOC_SEND ? CHANFD_CASE_SEND : CHANFD_CASE_RECV,
		.buf = t->buf,
		.size = t->size,
	};
	struct chanfd_outcome out = { 0 };
	struct race race = { 0 };
	int ret;

	before(&race, &c, 1, caller);
	ret = chanfd_call(ch, request, t);
	if (ret < 0) {
		out.error = errno;
		failed(t->context);
	} else {
		out.ok = ret > 0;
		out.size = t->size;
		out.number = t->seq + ret - 1;
	}
	after(&race, &c, &out, caller);
	return ret;
}

/* chanfd_call_select() */
int chanfd_race_select(struct chanfd_select *s, const void *caller)
{
	const struct chanfd_case *cases = (const struct chanfd_case *)(uintptr_t)s->cases;
	unsigned int n = s->count <= CHANFD_MAX_CASES ? s->count : 0;
	struct race races[n + 1];
	struct chanfd_outcome out = { 0 };
	int ret;

	before(races, cases, n, caller);
	ret = chanfd_call_select(s);
	if (ret < 0) {
		failed(s->context);
		return ret;
	}
	out.error = s->error;
	out.ok = (int)s->ok;
	out.size = s->size;
	out.number = s->number;
	after(&races[s->index], &cases[s->index], &out, caller);
	return ret;
}

void chanfd_race_ending(int fd)
{
	release(edges_of(fd), ENDED);
}

void chanfd_race_noticed(int fd)
{
	acquire(edges_of(fd), ENDED);
}

void chanfd_race_reader_leaves(int lock)
{
	release(edges_of(lock), RECEIVED);
}

void chanfd_race_locked(int lock)
{
	__u64 *edges = edges_of(lock);

	acquire(edges, ENDED);
	acquire(edges, RECEIVED);
}

void chanfd_race_context_done(void)
{
	acquire(contexts, ENDED);
}

void chanfd_race_cell_seen(void)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	acquire(cells, ENDED);
}
