// SPDX-License-Identifier: GPL-2.0
/*
 * Locks: many readers or one writer. A mutex is a lock that has no readers.
 *
 * Overview
 *
 * Who wants a lock that is not free waits in one of two queues. Readers are let in
 * while no writer holds the lock or waits for it (rule R2), and all that wait are let
 * in when a writer releases it, before any other writer (R4). So readers and writers
 * take turns, and neither waits for more than one turn of the others.
 *
 * A writer gets a released lock in one of two ways. It is handed over: the first in
 * the queue holds it when the release returns. Or it is left to whoever comes first
 * (barging): the first in the queue is poked, and competes from where it is parked
 * with those who just come. That is faster, as the lock is in use while the poked one
 * wakes up, but somebody may lose over and over. So an adaptive lock is handed over
 * for a while once a poked writer has lost and has waited for STARVING_NS (M3 to M5).
 *
 * While a lock is handed over, always or for now, nobody is poked, and newcomers queue
 * up behind a live writer even if the lock is free just now.
 *
 * Locking: everything is under obj.lock, but for what says otherwise.
 */

#include <linux/ktime.h>
#include <linux/pid.h>
#include <linux/sched.h>

#include "compat.h"
#include "lock.h"

#define STARVING_NS	NSEC_PER_MSEC
#define MAX_READERS	BIT(30)

/* State. Context: lock held, or it is a hint. */

static bool has_live_writer(struct lock *lock)
{
	struct chanfd_waiter *w = chanfd_claim_first(&lock->waiting_writers, NULL);

	/* Should it leave, it lets others in. */
	if (w)
		chanfd_claim_abort(w, NULL);
	return w;
}

static bool admits_readers(const struct lock *lock)
{
	return lock->flags & CHANFD_RW && !lock->writer &&
	       list_empty(&lock->waiting_writers.list);
}

/* What is so, for pollers with all rights. */
__poll_t chanfd_lock_events(const struct lock *lock)
{
	__poll_t events = 0;

	if (lock->owner_dead || lock->lost)
		events |= EPOLLERR;
	if (lock->lost)
		return events;
	if (is_free(lock))
		events |= EPOLLOUT | EPOLLWRNORM;
	if (admits_readers(lock))
		events |= EPOLLIN | EPOLLRDNORM;
	return events;
}

/* Tells those who have the page mapped. Context: lock held. */
static void publish(struct lock *lock)
{
	struct chanfd_lock_page *page = lock->page.data;

	if (page)
		WRITE_ONCE(page->busy, !is_free(lock));
}

static bool is_handed_over(const struct lock *lock)
{
	return lock->flags & CHANFD_HANDOFF || lock->starving;
}

/* What acquiring it would come to; %-EAGAIN: nothing now. Context: lock held. */
static int verdict(struct lock *lock, bool shared)
{
	if (lock->lost)
		return -ENOTRECOVERABLE;
	if (!shared && !is_free(lock))
		return -EAGAIN;
	/* All readers that were being admitted have gone: one of them will hand it over. */
	if (!shared && is_handed_over(lock) && has_live_writer(lock))
		return -EAGAIN;
	if (shared && (lock->writer || has_live_writer(lock)))
		return -EAGAIN;
	if (shared && lock->readers >= MAX_READERS)
		return -EOVERFLOW;
	return lock->owner_dead ? -EOWNERDEAD : 0;
}

static void take(struct lock *lock, struct chanfd_holder *holder, bool shared)
{
	if (!shared) {
		lock->writer = holder;
		return;
	}
	if (!holder->reads++)
		list_add_tail(&holder->reading, &lock->reading);
	lock->readers++;
}

static void drop_reader(struct lock *lock, struct chanfd_holder *holder)
{
	if (!--holder->reads)
		list_del(&holder->reading);
	lock->readers--;
}

/* Acquires it if that comes to something. Context: lock held. */
static int try_take(struct lock *lock, struct chanfd_holder *holder, bool shared)
{
	int err = verdict(lock, shared);

	if (!err || err == -EOWNERDEAD) {
		take(lock, holder, shared);
		publish(lock);
	}
	return err;
}

static bool has_starved(const struct chanfd_waiter *w)
{
	return ktime_to_ns(ktime_sub(ktime_get(), w->lock.since)) > STARVING_NS;
}

/* Gives it to @w, claimed. Context: lock held, and @w's call; drops the call's. */
static void hand_over(struct lock *lock, struct chanfd_waiter *w, struct wakeups *wake)
{
	take(lock, w->lock.holder, false);
	w->error = lock->owner_dead ? -EOWNERDEAD : 0;
	if (lock->woken == w)
		lock->woken = NULL;
	chanfd_claim_end(w, NULL, &wake->claimed);
	/* Rule M5. */
	if (lock->starving)
		lock->starving = !list_empty(&lock->waiting_writers.list) && has_starved(w);
}

/*
 * Lets in who may come in after something has changed: first the readers if a writer
 * has gone. Context: lock held.
 */
void chanfd_lock_settle(struct lock *lock, bool readers_first, struct wakeups *wake)
{
	struct chanfd_waiter *w;

	if (lock->lost || lock->writer)
		return;
	w = chanfd_claim_first(&lock->waiting_writers, NULL);
	if ((readers_first || !w) && !list_empty(&lock->waiting_readers.list)) {
		list_splice_tail_init(&lock->waiting_readers.list, &lock->admitted);
		wake->admit = true;
	}
	if (!w) {
		lock->starving = false;
	} else if (is_free(lock) && is_handed_over(lock)) {
		hand_over(lock, w, wake);
	} else {
		if (is_free(lock) && !lock->woken) {
			lock->woken = w;
			wake->poked = chanfd_poke(w);
		}
		chanfd_claim_abort(w, NULL);
	}
	wake->events = chanfd_lock_events(lock);
	publish(lock);
}

static void admitted_outcome(struct chanfd_waiter *w, const void *arg)
{
	struct lock *lock = to_lock(w->obj);

	take(lock, w->lock.holder, true);
	w->error = lock->owner_dead ? -EOWNERDEAD : 0;
}

static void lost_outcome(struct chanfd_waiter *w, const void *arg)
{
	struct lock *lock = to_lock(w->obj);

	if (lock->woken == w)
		lock->woken = NULL;
	w->error = -ENOTRECOVERABLE;
}

/* Does what is left to do after changes under the lock. Context: no locks held. */
void chanfd_lock_wake(struct lock *lock, struct wakeups *wake)
{
	chanfd_wake(&wake->claimed);
	chanfd_wake_poked(wake->poked);
	/* Should they all have gone, each of them settles when it leaves. */
	if (wake->admit)
		chanfd_release_all(&lock->obj, &lock->admitted, admitted_outcome, NULL);
	if (wake->events)
		chanfd_wake_pollers(&lock->pollers, 0, wake->events);
}

/* Acquiring */

static bool lock_ready(struct chanfd_waiter *w)
{
	struct lock *lock = to_lock(w->obj);

	if (w->call->parked)
		/* It was poked; and tries once for that, or it would spin. */
		return data_race(lock->woken == w);
	/* A hint: attempt() looks again under the lock. */
	return data_race(lock->lost || (w->lock.shared ? admits_readers(lock) : is_free(lock)));
}

static int lock_attempt(struct chanfd_waiter *w, bool park)
{
	struct lock *lock = to_lock(w->obj);
	bool shared = w->lock.shared;
	int err;

	spin_lock(&lock->obj.lock);
	err = verdict(lock, shared);
	if (err != -EAGAIN) {
		if (chanfd_commit(w))
			w->error = try_take(lock, w->lock.holder, shared);
	} else if (park) {
		w->lock.since = ktime_get();
		chanfd_park(shared ? &lock->waiting_readers : &lock->waiting_writers, w);
	}
	spin_unlock(&lock->obj.lock);
	return 0;
}

static void lock_poked(struct chanfd_waiter *w)
{
	struct lock *lock = to_lock(w->obj);

	spin_lock(&lock->obj.lock);
	if (lock->woken == w)
		lock->woken = NULL;
	/* Off the queue, it was given the lock; or its call has fired elsewhere, and it is
	 * about to leave, as it is if it can't commit.
	 */
	if (w->queue) {
		if (is_free(lock)) {
			if (chanfd_commit(w))
				w->error = try_take(lock, w->lock.holder, false);
		} else if (!(lock->flags & LOCK_MODES) && has_starved(w)) {
			lock->starving = true;
		}
	}
	spin_unlock(&lock->obj.lock);
}

/* Its task may be killed by another thread's exec: then the process would hold the lock,
 * and not know.
 */
static void lock_undo(struct chanfd_waiter *w)
{
	struct lock *lock = to_lock(w->obj);
	struct chanfd_holder *h = w->lock.holder;
	struct wakeups wake = WAKEUPS_INIT(wake);

	if (w->error && w->error != -EOWNERDEAD)
		return;
	spin_lock(&lock->obj.lock);
	/* Unless somebody has unlocked it by now. */
	if (w->lock.shared && h->reads)
		drop_reader(lock, h);
	else if (!w->lock.shared && lock->writer == h)
		lock->writer = NULL;
	chanfd_lock_settle(lock, !w->lock.shared, &wake);
	spin_unlock(&lock->obj.lock);
	chanfd_lock_wake(lock, &wake);
}

/* Unless it got it, the lock may be for somebody else now. */
static void lock_left(struct chanfd_waiter *w)
{
	struct lock *lock = to_lock(w->obj);
	struct wakeups wake = WAKEUPS_INIT(wake);

	if (w == w->call->fired)
		return;
	spin_lock(&lock->obj.lock);
	if (lock->woken == w)
		lock->woken = NULL;
	chanfd_lock_settle(lock, false, &wake);
	spin_unlock(&lock->obj.lock);
	chanfd_lock_wake(lock, &wake);
}

const struct chanfd_waiter_ops chanfd_lock_ops = {
	.ready = lock_ready,
	.attempt = lock_attempt,
	.poked = lock_poked,
	.undo = lock_undo,
	.left = lock_left,
};

/**
 * chanfd_lock_case() - a select's case that acquires a lock
 * @w: the case
 * @shared: as a reader
 *
 * Return: 0, %-EINVAL, %-ENOMEM or %-EDQUOT.
 */
int chanfd_lock_case(struct chanfd_waiter *w, bool shared)
{
	struct lock *lock = to_lock(w->obj);

	w->ops = &chanfd_lock_ops;
	w->lock.shared = shared;
	if (shared && !(lock->flags & CHANFD_RW))
		return -EINVAL;
	w->lock.holder = chanfd_lock_holder(w->obj);
	if (IS_ERR(w->lock.holder))
		return PTR_ERR(w->lock.holder);
	chanfd_consider(w, lock_ready(w));
	return 0;
}

/**
 * chanfd_lock_wait() - acquire a lock
 * @obj: the lock
 * @holder: the calling process
 * @shared: as a reader
 * @call: how to wait
 *
 * Return: 0, or %-EOWNERDEAD: it is held; %-ENOTRECOVERABLE, %-EOVERFLOW, or what
 * chanfd_call_wait() returns.
 */
int chanfd_lock_wait(struct chanfd_object *obj, struct chanfd_holder *holder, bool shared,
		     struct chanfd_call *call)
{
	struct chanfd_waiter w = { .obj = obj, .ops = &chanfd_lock_ops };

	w.lock.holder = holder;
	w.lock.shared = shared;
	lock_attempt(&w, false);
	if (w.committed)
		return w.error;
	w.call = call;
	call->waiters = &w;
	call->nr = 1;
	return chanfd_call_wait(call) ?: w.error;
}

/* What acquiring comes to most of the time. %-EAGAIN if it is not so. */
int chanfd_lock_at_once(struct lock *lock, bool shared)
{
	struct chanfd_holder *holder;
	int err = -EAGAIN;

	spin_lock(&lock->obj.lock);
	holder = chanfd_find_holder(lock, task_tgid(current));
	if (holder)
		err = try_take(lock, holder, shared);
	spin_unlock(&lock->obj.lock);
	return err;
}

/* Releasing */

/* Whose reader goes: the calling process's, if it has one. Context: lock held. */
static struct chanfd_holder *some_reader(struct lock *lock)
{
	struct chanfd_holder *h = chanfd_find_holder(lock, task_tgid(current));

	if (h && h->reads)
		return h;
	return list_first_entry_or_null(&lock->reading, struct chanfd_holder, reading);
}

/* As a reader. */
int chanfd_lock_release_read(struct lock *lock)
{
	struct wakeups wake = WAKEUPS_INIT(wake);
	struct chanfd_holder *h;

	spin_lock(&lock->obj.lock);
	h = some_reader(lock);
	if (h) {
		drop_reader(lock, h);
		chanfd_lock_settle(lock, false, &wake);
	}
	spin_unlock(&lock->obj.lock);
	chanfd_lock_wake(lock, &wake);
	return h ? 0 : -EPERM;
}

/**
 * chanfd_lock_release() - release a lock as a writer
 * @obj: the lock
 *
 * Return: 0, or %-EPERM if no writer holds it.
 */
int chanfd_lock_release(struct chanfd_object *obj)
{
	struct lock *lock = to_lock(obj);
	struct wakeups wake = WAKEUPS_INIT(wake);
	bool held;

	spin_lock(&lock->obj.lock);
	held = lock->writer;
	if (held) {
		lock->writer = NULL;
		lock->owner_dead = false;
		chanfd_lock_settle(lock, true, &wake);
	}
	spin_unlock(&lock->obj.lock);
	chanfd_lock_wake(lock, &wake);
	return held ? 0 : -EPERM;
}

/* Releases it for good. */
int chanfd_lock_give_up(struct lock *lock)
{
	bool held;

	spin_lock(&lock->obj.lock);
	held = lock->writer;
	if (held) {
		lock->writer = NULL;
		lock->owner_dead = false;
		lock->lost = true;
		publish(lock);
	}
	spin_unlock(&lock->obj.lock);
	if (!held)
		return -EPERM;
	/* Nobody joins them any more. */
	chanfd_release_all(&lock->obj, &lock->waiting_writers.list, lost_outcome, NULL);
	chanfd_release_all(&lock->obj, &lock->waiting_readers.list, lost_outcome, NULL);
	chanfd_wake_pollers(&lock->pollers, 0, EPOLLERR);
	return 0;
}

/* From a writer to a reader; the readers that wait come in as well. */
int chanfd_lock_downgrade(struct lock *lock)
{
	struct wakeups wake = WAKEUPS_INIT(wake);
	bool held;

	spin_lock(&lock->obj.lock);
	held = lock->writer;
	if (held) {
		take(lock, lock->writer, true);
		lock->writer = NULL;
		lock->owner_dead = false;
		chanfd_lock_settle(lock, true, &wake);
	}
	spin_unlock(&lock->obj.lock);
	chanfd_lock_wake(lock, &wake);
	return held ? 0 : -EPERM;
}
