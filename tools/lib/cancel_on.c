// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Contexts that something else ends: a signal, a process, a client, a share of the time
 * that is left.
 *
 * Signals. A handler cancels the contexts that watch its signal, directly: that is a
 * system call and needs no lock. A watch is a slot of a fixed table; whoever takes it out
 * waits for handlers that are just using it, and only then closes its handle. A forked
 * child has no watches, and the dispositions that were before.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call.h"
#include "race.h"

#define MAX_SIGNAL	64

/**
 * struct watch - a context that signals end
 * @signals:	bit N - 1: signal N ends it; 0: not in use. Atomic
 * @id:		of the context
 * @handlers:	that use it now
 * @cancel:	its handle, constant while @signals is not 0 or @handlers is not
 */
struct watch {
	uint64_t signals;
	uint64_t id;
	unsigned int handlers;
	int cancel;
};

/**
 * struct caught - a signal
 * @watches:	that want it; if any, the handler is installed
 * @before:	its disposition otherwise
 * @name:	what the context is told
 */
struct caught {
	unsigned int watches;
	struct sigaction before;
	char name[32];
};

/* All but what handlers use is protected by the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct watch watches[CHANFD_MAX_WATCHES];
static struct caught caught[MAX_SIGNAL + 1];
static sigset_t before_fork;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint64_t bit(int sig)
{
	return 1ULL << (sig - 1);
}

static void on_signal(int sig)
{
	int err = errno;
	int i;

	for (i = 0; i < CHANFD_MAX_WATCHES; i++) {
		struct watch *w = &watches[i];

		/* Counted, then look: pairs with take_out(). */
		__atomic_add_fetch(&w->handlers, 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&w->signals, __ATOMIC_SEQ_CST) & bit(sig))
			chanfd_cancel(w->cancel, EINTR, caught[sig].name);
		__atomic_sub_fetch(&w->handlers, 1, __ATOMIC_SEQ_CST);
	}
	errno = err;
}

static int catch_signal(int sig)
{
	/*
	 * The race detector puts a handler off until the call returns that it
	 * interrupts, which with SA_RESTART may be never.
	 */
	struct sigaction sa = {
		.sa_handler = on_signal,
		.sa_flags = SA_ONSTACK | (race_detector() ? 0 : SA_RESTART),
	};
	struct caught *c = &caught[sig];
	const char *name = sigabbrev_np(sig);

	if (c->watches++)
		return 0;
	if (name)
		snprintf(c->name, sizeof(c->name), "SIG%s", name);
	else
		snprintf(c->name, sizeof(c->name), "signal %d", sig);
	sigfillset(&sa.sa_mask);
	return sigaction(sig, &sa, &c->before);
}

static void let_go(int sig)
{
	struct caught *c = &caught[sig];
	struct sigaction now;

	if (--c->watches)
		return;
	/* If somebody else has put a handler there meanwhile, it is theirs. */
	if (!sigaction(sig, NULL, &now) && now.sa_handler == on_signal)
		sigaction(sig, &c->before, NULL);
}

/* With the lock held. */
static void take_out(struct watch *w, uint64_t caught_signals)
{
	int sig;

	for (sig = 1; sig <= MAX_SIGNAL; sig++) {
		if (caught_signals & bit(sig))
			let_go(sig);
	}
	/* Taken out, then look: pairs with on_signal(). */
	__atomic_store_n(&w->signals, 0, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&w->handlers, __ATOMIC_SEQ_CST))
		sched_yield();
}

static void before_a_fork(void)
{
	sigset_t all;

	pthread_mutex_lock(&lock);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before_fork);
}

static void after_a_fork(void)
{
	sigset_t mask = before_fork;

	pthread_mutex_unlock(&lock);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

static void in_a_child(void)
{
	int i;

	for (i = 0; i < CHANFD_MAX_WATCHES; i++) {
		/* The threads that ran handlers are not here. */
		watches[i].handlers = 0;
		if (!watches[i].signals)
			continue;
		take_out(&watches[i], watches[i].signals);
		close(watches[i].cancel);
	}
	after_a_fork();
}

static void follow_forks(void)
{
	pthread_atfork(before_a_fork, after_a_fork, in_a_child);
}

static struct watch *unused(void)
{
	int i;

	for (i = 0; i < CHANFD_MAX_WATCHES; i++) {
		if (!watches[i].signals)
			return &watches[i];
	}
	errno = ENOSPC;
	return NULL;
}

/* The slot first: a signal that is caught must find it. */
static int put_in(int cancel, uint64_t id, uint64_t signals)
{
	struct watch *w = unused();
	uint64_t done = 0;
	int sig;

	if (!w)
		return -1;
	w->cancel = cancel;
	w->id = id;
	__atomic_store_n(&w->signals, signals, __ATOMIC_SEQ_CST);
	for (sig = 1; sig <= MAX_SIGNAL; sig++) {
		if (!(signals & bit(sig)))
			continue;
		done |= bit(sig);
		if (catch_signal(sig)) {
			take_out(w, done);
			return -1;
		}
	}
	return 0;
}

/* The watch has a handle of its own, that nobody else closes. */
static int watch(int context, uint64_t signals)
{
	int cancel = chanfd_reduce(context, CHANFD_WRITE);
	struct chanfd_info info;
	int ret;

	if (cancel < 0)
		return -1;
	ret = chanfd_info(cancel, &info);
	if (!ret) {
		pthread_once(&once, follow_forks);
		pthread_mutex_lock(&lock);
		ret = put_in(cancel, info.id, signals);
		pthread_mutex_unlock(&lock);
	}
	if (ret)
		chanfd_close_quietly(cancel);
	return ret;
}

/* @context if all is well with it; else it was in vain. */
static int made(int context, int ret)
{
	if (!ret)
		return context;
	chanfd_close_quietly(context);
	return -1;
}

static int fail(int err)
{
	errno = err;
	return -1;
}

int chanfd_context_signals(int parent, const int *signals, unsigned int n)
{
	uint64_t set = 0;
	unsigned int i;
	int context;

	for (i = 0; i < n; i++) {
		if (signals[i] < 1 || signals[i] > MAX_SIGNAL)
			return fail(EINVAL);
		set |= bit(signals[i]);
	}
	if (!set)
		return fail(EINVAL);
	context = chanfd_context(parent);
	return context < 0 ? -1 : made(context, watch(context, set));
}

int chanfd_context_signals_stop(int context)
{
	struct chanfd_info info;
	int i, ret = fail(ENOENT);

	if (chanfd_info(context, &info))
		return -1;
	pthread_mutex_lock(&lock);
	for (i = 0; i < CHANFD_MAX_WATCHES; i++) {
		if (!watches[i].signals || watches[i].id != info.id)
			continue;
		take_out(&watches[i], watches[i].signals);
		close(watches[i].cancel);
		ret = 0;
	}
	pthread_mutex_unlock(&lock);
	return ret;
}

int chanfd_end_with_process(int cancel, int pid)
{
	int process = (int)syscall(SYS_pidfd_open, pid, 0);
	int ret;

	if (process < 0)
		return errno == ESRCH ? chanfd_cancel(cancel, EOWNERDEAD, NULL) : -1;
	ret = chanfd_context_bind(cancel, process, POLLIN, EOWNERDEAD);
	chanfd_close_quietly(process);
	return ret;
}

int chanfd_context_process(int parent, pid_t pid)
{
	int context = chanfd_context(parent);

	return context < 0 ? -1 : made(context, chanfd_end_with_process(context, pid));
}

int chanfd_context_parent_process(int parent, pid_t pid)
{
	int context = chanfd_context_process(parent, pid);

	/* While it is the parent its number is not another's. */
	if (context >= 0 && getppid() != pid)
		chanfd_cancel(context, EOWNERDEAD, NULL);
	return context;
}

int chanfd_context_hangup(int parent, int fd)
{
	int context = chanfd_context(parent);

	return context < 0 ? -1 :
		made(context, chanfd_context_bind(context, fd, POLLRDHUP, ECONNRESET));
}

int chanfd_context_budget(int parent, int64_t ns, unsigned int percent)
{
	uint64_t start = chanfd_deadline(0), end = chanfd_deadline(ns), share;
	struct chanfd_context_info info = { 0 };

	if (!percent || percent > 100)
		return fail(EINVAL);
	if (parent >= 0 && chanfd_context_info(parent, &info))
		return -1;
	if (info.deadline > start) {
		share = start + (info.deadline - start) / 100 * percent;
		end = share < end ? share : end;
	}
	return chanfd_context_deadline(parent, end);
}
