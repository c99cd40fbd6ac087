// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Functions that run when a context is done (Go's AfterFunc).
 *
 * Each has a thread that waits for a context of its own, derived from the one that it
 * is about: so that who stops it can wake the thread. Whether it runs or is stopped is
 * decided once, by who changes @state first.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "call.h"

enum { WAITING, STOPPED, RUN };

struct chanfd_after {
	pid_t owner;
	int context;
	int state;
	void (*fn)(void *arg);
	void *arg;
	pthread_t thread;
};

static int decide(struct chanfd_after *a, int state)
{
	int waiting = WAITING;

	return __atomic_compare_exchange_n(&a->state, &waiting, state, 0, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

static void *run(void *arg)
{
	struct chanfd_after *a = arg;

	while (chanfd_context_wait(a->context, NULL)) {
		if (errno != EINTR && errno != ENOMEM)
			return NULL;	/* somebody has closed it */
	}
	if (decide(a, RUN))
		a->fn(a->arg);
	return NULL;
}

struct chanfd_after *chanfd_after(int context, void (*fn)(void *arg), void *arg)
{
	struct chanfd_after *a;
	int err = EBADF;

	if (context < 0)
		goto fail;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->owner = getpid();
	a->fn = fn;
	a->arg = arg;
	a->context = chanfd_context(context);
	err = a->context < 0 ? errno : chanfd_thread(&a->thread, run, a);
	if (!err)
		return a;
	if (a->context >= 0)
		close(a->context);
	free(a);
fail:
	errno = err;
	return NULL;
}

int chanfd_after_stop(struct chanfd_after *a)
{
	/* In a child the context is the parent's still, whose thread would take it for done. */
	if (a->owner != getpid() || !decide(a, STOPPED))
		return 0;
	chanfd_cancel(a->context, 0, NULL);
	return 1;
}

int chanfd_after_join(struct chanfd_after *a)
{
	int err = 0, ran, cancel;

	if (a->owner == getpid()) {
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
		err = pthread_join(a->thread, NULL);
		pthread_setcancelstate(cancel, NULL);
	}
	if (err) {
		errno = err;	/* EDEADLK: from its own function */
		return -1;
	}
	ran = a->state == RUN;
	close(a->context);
	free(a);
	return ran;
}
