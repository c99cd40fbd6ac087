// SPDX-License-Identifier: GPL-2.0
/*
 * The wait engine.
 *
 * Overview
 *
 * Whatever can block is a call with one or more cases, and exactly one case of
 * a call goes ahead. A plain send is a call with one case. Objects know nothing
 * about select, and this file knows nothing about objects but that a case can
 * be attempted:
 *
 *  1. Try a ready case, chosen at random (or the first, if so asked), under its
 *     own object's lock. The call is still private: nobody can fire it.
 *  2. Visit each case's object again; under its lock try once more, and if it
 *     still can't go ahead leave a waiter on the object's queue. From here on
 *     the call is parked: others may fire it.
 *  3. Sleep until fired, or until a deadline or a signal withdraws the call;
 *     then take its waiters off the other queues.
 *
 * No operation ever holds two objects' locks. To match two waiting calls (a
 * send meets a receive, and each may be a select) the one that finds the other
 * holds the lock of the object where they meet, plus the locks of both calls,
 * and fires both only if neither has fired: the pair claim. So a claim never
 * has to be taken back, nothing retries, and the number of cases is not bounded
 * by the nesting of locks.
 *
 * A call that must not sleep goes through 2 as well, and withdraws at once: at
 * the instant when its last waiter is queued either none of its cases can go
 * ahead, or it has fired. That is the view of a single instant that a select
 * with a default case promises. (A lone case is
 * always attempted in 1, and that is such an instant.)
 *
 * Locking
 *
 *	object->lock > call->lock > call->lock (a second one, at a higher address)
 *
 * Whoever fires somebody else's call collects its waiter on a list of their own
 * and wakes it after dropping the object's lock: a waker that is descheduled
 * must not hold up the object.
 *
 * CALL_DONE: a call lives on its task's stack. After it has fired, the claimer
 * still writes to it (the message, the outcome), so its task must not return
 * before it is told: the claimer's store-release of call->done pairs with the
 * load-acquire in call_done(). This pair is also the happens-before edge from
 * everything that the claimer did (a send, a close, a cancellation) to the
 * return of the call that it completed. The claimer reads call->task before the
 * release, and RCU keeps the task's memory until it has been woken.
 *
 * CALL_POKED: where nobody can do a call's case on its behalf (a foreign file is
 * ready, a lock is free for whoever comes first) the call is poked, and its own
 * task looks again. Who pokes sets call->poked, then wakes; the sleeper sets its
 * state, then reads call->poked. Both sides have a full barrier in between (in
 * try_to_wake_up() and set_current_state()), so one sees the other. Both change
 * call->poked by xchg(): who takes the poke looks at the cases after it, and sees
 * what the poke was about. A file's callback takes no lock of ours: it may run in
 * interrupt context.
 */

#include <linux/list.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sizes.h>

#include "compat.h"
#include "wait.h"

/* Choices that are tried before the call parks, and need not trust hints any more. */
#define CHOICES		3

/* Calls, and cases, that are gone through before somebody else gets a turn. */
#define CHUNK		64

/*
 * Bytes that a waiting call may hold without being counted: less than the stack that
 * its task has anyway. Beyond it somebody with many tasks would hold much memory, and
 * many stale waiters, which others take off under one hold of an object's lock.
 */
#define FREE_BYTES	SZ_4K

/* call->fired of a call that gave up. */
static struct chanfd_waiter withdrawn;

/* A deadline as users give it; past ones stay past. */
ktime_t chanfd_deadline(u64 deadline)
{
	if (!deadline)
		return KTIME_MAX;
	return chanfd_ktime_to_host(min_t(u64, deadline, KTIME_MAX - 1));
}

/* Is @w's call out of others' reach, because it is private or @w's already? */
static bool call_is_mine(const struct chanfd_waiter *w)
{
	return !w->call || !w->call->parked || READ_ONCE(w->call->fired) == w;
}

bool chanfd_commit_call(struct chanfd_waiter *w)
{
	struct chanfd_call *call = w->call;
	bool mine;

	if (call_is_mine(w)) {
		/* A batch's first message; by the next one others may look at it. */
		if (!call->parked)
			call->fired = w;
		return true;
	}
	spin_lock(&call->lock);
	mine = !call->fired;
	if (mine) {
		WRITE_ONCE(call->fired, w);
		call->done = true;
	}
	spin_unlock(&call->lock);
	return mine;
}

/*
 * Holds the call of @peer, and that of @w unless it is out of others' reach. Who
 * holds them then is a matter of values, which sparse can't follow: it is told
 * that nobody does.
 */
static void claim_lock(struct chanfd_waiter *peer, struct chanfd_waiter *w)
{
	struct chanfd_call *a = peer->call, *b = w ? w->call : NULL;

	if (b && !call_is_mine(w)) {
		if (a > b)
			swap(a, b);
		spin_lock(&a->lock);
		spin_lock_nested(&b->lock, SINGLE_DEPTH_NESTING);
		__release(&b->lock);
	} else {
		spin_lock(&a->lock);
	}
	__release(&a->lock);
}

static void claim_unlock(struct chanfd_call *call)
{
	__acquire(&call->lock);
	spin_unlock(&call->lock);
}

/**
 * chanfd_claim_abort() - undo chanfd_claim_first(); nothing has happened
 * @peer: that it returned
 * @w: as it was given
 */
void chanfd_claim_abort(struct chanfd_waiter *peer, struct chanfd_waiter *w)
{
	if (w && !call_is_mine(w))
		claim_unlock(w->call);
	claim_unlock(peer->call);
}

static void queue_remove(struct chanfd_waiter *w)
{
	list_del(&w->node);
	w->queue->len--;
	w->queue = NULL;
}

/**
 * chanfd_claim_first() - find the first waiter that can go ahead together with @w
 * @q: where to look
 * @w: the caller's own case, or NULL if it has gone ahead, or there is none
 *
 * Waiters whose call has fired elsewhere are taken off the queue on the way.
 *
 * Context: the object's lock held. If a waiter is returned its call and the call
 * of @w are held too, so that neither can fire or withdraw, until
 * chanfd_claim_end() or chanfd_claim_abort().
 * Return: the waiter, or NULL if there is none or another case of @w's call has
 * fired.
 */
struct chanfd_waiter *chanfd_claim_first(struct chanfd_queue *q, struct chanfd_waiter *w)
{
	struct chanfd_waiter *peer, *next;

	list_for_each_entry_safe(peer, next, &q->list, node) {
		bool lost;

		if (w && w->call == peer->call)
			continue;
		claim_lock(peer, w);
		lost = w && !call_is_mine(w) && w->call->fired;
		if (!lost && !peer->call->fired)
			return peer;
		chanfd_claim_abort(peer, w);
		if (lost)
			return NULL;
		queue_remove(peer);
	}
	return NULL;
}

/**
 * chanfd_claim_end() - fire both calls
 * @peer: that chanfd_claim_first() returned, outcome filled in
 * @w: as it was given
 * @claimed: where @peer waits for chanfd_wake()
 *
 * Context: as chanfd_claim_first() left it; the calls' locks are dropped.
 */
void chanfd_claim_end(struct chanfd_waiter *peer, struct chanfd_waiter *w,
		      struct list_head *claimed)
{
	WRITE_ONCE(peer->call->fired, peer);
	if (w && !call_is_mine(w)) {
		WRITE_ONCE(w->call->fired, w);
		w->call->done = true;
		claim_unlock(w->call);
	} else if (w) {
		chanfd_commit(w);
	}
	claim_unlock(peer->call);
	queue_remove(peer);
	list_add_tail(&peer->node, claimed);
}

void chanfd_wake_claimed(struct list_head *claimed)
{
	struct chanfd_waiter *w, *next;

	rcu_read_lock();
	list_for_each_entry_safe(w, next, claimed, node) {
		struct task_struct *task = w->call->task;

		/* CALL_DONE: pairs with call_done(); @w is gone from here on */
		smp_store_release(&w->call->done, true);
		wake_up_process(task);
	}
	rcu_read_unlock();
}

/**
 * chanfd_poke() - have a waiter look whether it can go ahead
 * @w: on a queue of the object's
 *
 * Context: the object's lock held: while @w is on its queue, its call is there.
 * Return: for chanfd_wake_poked().
 */
struct task_struct *chanfd_poke(struct chanfd_waiter *w)
{
	xchg(&w->call->poked, true);	/* CALL_POKED */
	return get_task_struct(w->call->task);
}

/* Wakes whose call was poked; NULL for nobody. Context: no object's lock held. */
void chanfd_wake_poked(struct task_struct *task)
{
	if (task) {
		wake_up_process(task);
		put_task_struct(task);
	}
}

/**
 * chanfd_release_all() - let everybody go ahead who is on a list
 * @obj: the object that they wait at; in a state that lets nobody else join
 * @list: of waiters: a queue's, or what was spliced from one
 * @outcome: fills in the outcome of one
 * @arg: for @outcome
 *
 * Context: no locks held; takes @obj->lock, a bounded time at once.
 */
void chanfd_release_all(struct chanfd_object *obj, struct list_head *list,
			void (*outcome)(struct chanfd_waiter *w, const void *arg),
			const void *arg)
{
	bool more;

	do {
		LIST_HEAD(claimed);
		int n = CHUNK;

		spin_lock(&obj->lock);
		while (n-- && !list_empty(list)) {
			struct chanfd_waiter *w;

			w = list_first_entry(list, struct chanfd_waiter, node);
			claim_lock(w, NULL);
			if (w->call->fired) {
				chanfd_claim_abort(w, NULL);
				queue_remove(w);
				continue;
			}
			outcome(w, arg);
			chanfd_claim_end(w, NULL, &claimed);
		}
		more = !list_empty(list);
		spin_unlock(&obj->lock);
		chanfd_wake(&claimed);
		cond_resched();
	} while (more);
}

/**
 * chanfd_attempt() - attempt a case that nobody else can fire
 * @w: the case
 *
 * Return: 0, and whether it went ahead is known from @w or its call; %-EFAULT or
 * %-ERESTARTSYS.
 */
int chanfd_attempt(struct chanfd_waiter *w)
{
	int err;

	while ((err = w->ops->attempt(w, false)) > 0) {
		err = w->ops->fault_in(w, err);
		if (err)
			break;
		if (signal_pending(current))
			return -ERESTARTSYS;
		cond_resched();
	}
	return err;
}

/* Of the cases that look ready the nth replaces the choice with a chance of 1/n. */
void chanfd_choose(struct chanfd_waiter *w)
{
	struct chanfd_call *call = w->call;

	if (!call->ready++ || (!call->ordered && !get_random_u32_below(call->ready)))
		call->choice = w;
}

static void choose_again(struct chanfd_call *call)
{
	struct chanfd_waiter *w;

	call->ready = 0;
	call->choice = NULL;
	for (w = call->waiters; w < call->waiters + call->nr; w++)
		chanfd_consider(w, w->ops->ready(w));
}

/* 1: the call is private. */
static int try_choices(struct chanfd_call *call)
{
	int err, i;

	/* A hint is no instant: a case that is alone is looked at in any case. */
	if (call->nr == 1)
		call->choice = call->waiters;
	for (i = 0; i < CHOICES && call->choice; i++) {
		err = chanfd_attempt(call->choice);
		if (err || call->fired)
			return err;
		choose_again(call);
	}
	return 0;
}

static bool call_done(struct chanfd_call *call)
{
	/* CALL_DONE: pairs with chanfd_wake() */
	return smp_load_acquire(&call->done);
}

/* The case after @w, and around. */
static struct chanfd_waiter *after(struct chanfd_call *call, struct chanfd_waiter *w)
{
	return w == call->last ? call->waiters : w + 1;
}

/* 2. Counts in @visited the cases from @w on that may be on a queue. */
static int park_all(struct chanfd_call *call, struct chanfd_waiter *w, u32 *visited)
{
	u32 n = 0;
	int err = 0;

	spin_lock_init(&call->lock);
	call->task = current;
	call->parked = true;
	call->last = call->waiters + call->nr - 1;
	if (call->context) {
		call->context->call = call;
		call->context->ops->attempt(call->context, true);
	}
	for (; n < call->nr && !err && !READ_ONCE(call->fired); w = after(call, w)) {
		err = w->ops->attempt(w, true);
		if (!(++n % CHUNK))
			cond_resched();
	}
	*visited = n;
	return err;
}

/* False if the call has fired, and its outcome counts. */
static bool withdraw(struct chanfd_call *call)
{
	bool mine;

	spin_lock(&call->lock);
	mine = !call->fired;
	if (mine)
		WRITE_ONCE(call->fired, &withdrawn);
	spin_unlock(&call->lock);
	return mine;
}

/* Poked: by whom, and is it true? */
static void look_again(struct chanfd_call *call)
{
	struct chanfd_waiter *w;

	do {
		call->ready = 0;
		call->choice = NULL;
		for (w = call->waiters; w < call->waiters + call->nr; w++)
			if (w->ops->poked)
				chanfd_consider(w, w->ops->ready(w));
		if (call->choice)
			call->choice->ops->poked(call->choice);
		/* What looked ready was taken by others: the next may be for us. */
	} while (call->choice && !READ_ONCE(call->fired));
}

static bool must_stop(const struct chanfd_call *call)
{
	return call->killable ? fatal_signal_pending(current) : signal_pending(current);
}

/*
 * Instead of 3, of a call that must not sleep. At the instant when the last waiter was
 * queued a case may have been poked, which is to be looked at; at the instant when no
 * new poke is found none of them can go ahead.
 */
static int look_at_once(struct chanfd_call *call)
{
	while (xchg(&call->poked, false)) {
		look_again(call);
		if (READ_ONCE(call->fired))
			return 0;
		if (must_stop(call))
			return -ERESTARTSYS;
	}
	return -EAGAIN;
}

/* 3: the first half. */
static int sleep_until_fired(struct chanfd_call *call)
{
	u64 slack = chanfd_task_is_realtime(current) ? 0 : current->timer_slack_ns;
	int err = 0;

	for (;;) {
		set_current_state(call->killable ? TASK_KILLABLE :
				  TASK_INTERRUPTIBLE | TASK_FREEZABLE);
		if (call_done(call))
			break;
		if (READ_ONCE(call->poked)) { /* CALL_POKED */
			__set_current_state(TASK_RUNNING);
			xchg(&call->poked, false);
			look_again(call);
			continue;
		}
		if (must_stop(call)) {
			err = -ERESTARTSYS;
			break;
		}
		if (call->deadline == KTIME_MAX) {
			schedule();
		} else if (!schedule_hrtimeout_range_clock(&call->deadline, slack,
							   HRTIMER_MODE_ABS,
							   CLOCK_MONOTONIC)) {
			err = -ETIMEDOUT;
			break;
		}
	}
	__set_current_state(TASK_RUNNING);
	return err;
}

/* It has fired, and whoever did it is about to say so. */
static void wait_until_done(struct chanfd_call *call)
{
	for (;;) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		if (call_done(call))
			break;
		schedule();
	}
	__set_current_state(TASK_RUNNING);
}

static inline void leave(struct chanfd_waiter *w)
{
	struct chanfd_object *obj = w->obj;

	if (obj) {
		spin_lock(&obj->lock);
		if (w->queue)
			queue_remove(w);
		spin_unlock(&obj->lock);
	}
	if (w->ops->left)
		w->ops->left(w);
}

/* 3: the second half. */
static void leave_all(struct chanfd_call *call, struct chanfd_waiter *w, u32 visited)
{
	if (call->context)
		leave(call->context);
	for (; visited; visited--, w = after(call, w))
		leave(w);
}

/* 2 and 3. */
static int park_and_sleep(struct chanfd_call *call)
{
	struct chanfd_waiter *first = call->waiters;
	u32 visited;
	int err;

	/* A case that becomes ready meanwhile is not to be preferred for its place. */
	if (call->nr > 1 && !call->ordered)
		first += get_random_u32_below(call->nr);
	err = park_all(call, first, &visited);
	if (!err && !READ_ONCE(call->fired))
		err = call->nonblock ? look_at_once(call) : sleep_until_fired(call);
	if (!err || !withdraw(call)) {
		err = 0;
		wait_until_done(call);
	}
	leave_all(call, first, visited);
	if (err)
		return err;
	if (call->fired == call->context)
		return call->context->error;
	if (call->fired->ops->undo && fatal_signal_pending(current)) {
		call->fired->ops->undo(call->fired);
		return -ERESTARTSYS;
	}
	return 0;
}

/**
 * chanfd_call_wait() - wait until one case is done: 2 and 3
 * @call: with its waiters filled in; none of them could go ahead just now
 *
 * A message that came while the call was parked is in call->msg or call->slot.
 *
 * Context: Process context, no locks held. May sleep.
 * Return: 0, and call->fired is the case that was done, its outcome filled in; or
 * %-EAGAIN, %-ETIMEDOUT, %-ERESTARTSYS, %-ENOMEM, %-EDQUOT, or what the call's
 * context says: then nothing was done.
 */
int chanfd_call_wait(struct chanfd_call *call)
{
	size_t bytes = (size_t)call->nr * sizeof(*call->waiters) + call->bytes + call->kept;
	struct chanfd_user *user;
	int err;

	if (call->nonblock && call->nr <= 1)
		return -EAGAIN;
	if (bytes <= FREE_BYTES)
		return park_and_sleep(call);
	user = chanfd_user_charge(0, bytes);
	if (IS_ERR(user))
		return PTR_ERR(user);
	err = park_and_sleep(call);
	chanfd_user_uncharge(user, 0, bytes);
	return err;
}

/**
 * chanfd_call_run() - do exactly one case, waiting for it if need be
 * @call: with its waiters filled in, and considered
 *
 * Return: the case that was done, or an ERR_PTR(): %-EFAULT, or what
 * chanfd_call_wait() returns.
 */
struct chanfd_waiter *chanfd_call_run(struct chanfd_call *call)
{
	int err = try_choices(call);

	if (!err && !call->fired)
		err = chanfd_call_wait(call);
	return err ? ERR_PTR(err) : call->fired;
}
