// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Weighted semaphores, between processes: golang.org/x/sync/semaphore.
 *
 * A channel holds as many messages, of no bytes, as there are tokens. A permit is a lease
 * of some of them: they go back to the channel when the permit is closed, or its holder
 * dies. A lock that is handed from each who waits to the next makes the order: who holds
 * it collects tokens one by one, as they come, and nobody overtakes (rule A1). Whoever
 * gives up closes what it has collected and unlocks, which lets the next one try (A3).
 */
#include <errno.h>

#include "call.h"
#include "race.h"

static int fill(int tokens, unsigned int size)
{
	const struct chanfd_opt at_once = { -1, CHANFD_NONBLOCK, 0 };
	unsigned int n;
	int sent;

	for (; size; size -= sent) {
		n = size < CHANFD_MAX_BATCH ? size : CHANFD_MAX_BATCH;
		sent = chanfd_send_batch(tokens, NULL, 0, NULL, n, &at_once, NULL);
		if (sent < 0)
			return -1;
	}
	return 0;
}

int chanfd_semaphore(struct chanfd_semaphore *sem, unsigned int size, unsigned int flags,
		     const char *name)
{
	struct chanfd_semaphore s = { -1, -1, size };

	if (!size || size > CHANFD_MAX_CAPACITY || flags & ~CHANFD_INHERIT) {
		errno = EINVAL;
		return -1;
	}
	s.lock = chanfd_mutex(flags | CHANFD_HANDOFF, name);
	if (s.lock < 0)
		return -1;
	s.tokens = chanfd_channel(0, size, flags, name);
	if (s.tokens < 0 || fill(s.tokens, size)) {
		chanfd_semaphore_close(&s);
		return -1;
	}
	*sem = s;
	return 0;
}

void chanfd_semaphore_close(struct chanfd_semaphore *sem)
{
	chanfd_cleanup_fd(&sem->lock);
	chanfd_cleanup_fd(&sem->tokens);
}

/* A permit for @n tokens, of which it takes what is there until it has all. */
static int collect(const struct chanfd_semaphore *sem, unsigned int n,
		   const struct chanfd_opt *opt, const void *caller)
{
	int permit = -1, got;

	for (; n; n -= got) {
		struct chanfd_transfer t = {
			.flags = CHANFD_LEASED, .count = n, .lease = permit,
		};

		got = chanfd_call_transfer(sem->tokens, CHANFD_IOC_RECV, &t, 0, opt, caller);
		if (got <= 0) {
			if (!got)
				errno = EPIPE;
			chanfd_cleanup_fd(&permit);
			return -1;
		}
		permit = t.lease;
	}
	return permit;
}

int chanfd_semaphore_acquire(const struct chanfd_semaphore *sem, unsigned int n,
			     const struct chanfd_opt *opt)
{
	int permit, err;

	if (!n || n > sem->size || n > CHANFD_MAX_BATCH) {
		errno = EINVAL;
		return -1;
	}
	/* Whoever died with the lock has left nothing: its tokens are back already. */
	if (chanfd_lock(sem->lock, opt) && errno != EOWNERDEAD)
		return -1;
	permit = collect(sem, n, opt, RACE_CALLER);
	err = errno;
	chanfd_unlock(sem->lock);
	errno = err;
	race_noticed(sem->tokens);
	return permit;
}
