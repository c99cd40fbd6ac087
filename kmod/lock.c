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
 * Invariant: a lock that is handed over, always or for now, is not free while a live
 * writer waits; so newcomers need not look at the mode.
 *
 * Holders
 *
 * A lock is held by a process (by its struct pid), whichever of its threads and
 * handles acquired it, until somebody releases it or the process is dead: all its
 * threads are. Every process that ever tried has a struct chanfd_holder, made before
 * the attempt, when failing is harmless; it stays until the process dies or the lock
 * goes. A process can't be dead while a thread of it waits here, so waiters refer to
 * holders without references.
 *
 * The kernel tells of a death through pid->wait_pidfd, with interrupts off and under
 * tasklist_lock. The callback only puts the holder on @dead, which needs no lock, and
 * queues its work. Who uses the lock next, or else the work, buries the dead: takes
 * from them what they held, and lets others in. As wait(2) sees a death under
 * tasklist_lock too, who has waited for a process finds it in @dead. The work frees
 * the holder.
 *
 * Locking: everything is under obj.lock, but for what says otherwise.
 */

#include <linux/ktime.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/poll.h>
#include <linux/rbtree.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "context.h"
#include "lock.h"
#include "object.h"
#include "wait.h"

#define MODES		(CHANFD_HANDOFF | CHANFD_BARGING)
#define STARVING_NS	NSEC_PER_MSEC
#define MAX_READERS	(1U << 30)

/**
 * struct lock
 * @obj:	head
 * @flags:	immutable: CHANFD_RW, CHANFD_HANDOFF, CHANFD_BARGING
 * @owner_dead:	a writer has died, and no other has released the lock since
 * @lost:	what it protects is beyond repair; for good
 * @starving:	adaptive: it is handed over for now
 * @dead_holders: that held it when they died
 * @readers:	that hold it, some maybe more than once
 * @writer:	who holds it, or NULL
 * @woken:	the writer that was poked and has not tried since; or NULL
 * @waiting_writers: in the order of arrival
 * @waiting_readers: those too who are in @admitted
 * @admitted:	readers that are let in right now: as good as in, to writers
 * @holders:	all, by @pid
 * @last:	the one that was looked up last, or NULL
 * @reading:	those who hold it as readers
 * @dead:	not buried yet; added to without the lock
 * @page:	struct chanfd_lock_page
 * @pollers:	of all handles
 */
struct lock {
	struct chanfd_object obj;
	u32 flags;
	bool owner_dead;
	bool lost;
	bool starving;
	u32 dead_holders;
	u32 readers;
	struct chanfd_holder *writer;
	struct chanfd_waiter *woken;
	struct chanfd_queue waiting_writers;
	struct chanfd_queue waiting_readers;
	struct list_head admitted;
	struct rb_root holders;
	struct chanfd_holder *last;
	struct list_head reading;
	struct llist_head dead;
	struct chanfd_page page;
	wait_queue_head_t pollers;
};

/**
 * struct chanfd_holder - a process that holds a lock, did, or tried to
 * @lock:	immutable; valid as long as @wait is hooked up, the work has a reference
 * @pid:	immutable, holds a reference
 * @payer:	immutable
 * @node:	in lock->holders
 * @reads:	times that it holds the lock as a reader
 * @reading:	in lock->reading while @reads is not 0
 * @wait:	in pid->wait_pidfd
 * @died:	in lock->dead, or was; set once, by the callback
 * @dead:	in lock->dead
 * @work:	buries and frees
 */
struct chanfd_holder {
	struct lock *lock;
	struct pid *pid;
	struct chanfd_user *payer;
	struct rb_node node;
	u32 reads;
	struct list_head reading;
	struct wait_queue_entry wait;
	bool died;
	struct llist_node dead;
	struct work_struct work;
};

/* What is to be done when the lock's spinlock is dropped. */
struct wakeups {
	struct list_head claimed;
	struct task_struct *poked;
	bool admit;
	__poll_t events;
};

#define WAKEUPS_INIT(name)	{ .claimed = LIST_HEAD_INIT((name).claimed) }

static struct lock *to_lock(struct chanfd_object *obj)
{
	return container_of(obj, struct lock, obj);
}

/* State. Context: lock held, or it is a hint. */

static bool is_free(const struct lock *lock)
{
	return !lock->writer && !lock->readers && list_empty(&lock->admitted);
}

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

static __poll_t events_now(const struct lock *lock)
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

/* What acquiring it would come to; %-EAGAIN: nothing now. Context: lock held. */
static int verdict(struct lock *lock, bool shared)
{
	if (lock->lost)
		return -ENOTRECOVERABLE;
	if (!shared && !is_free(lock))
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
static void settle(struct lock *lock, bool readers_first, struct wakeups *wake)
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
	} else if (is_free(lock) && (lock->flags & CHANFD_HANDOFF || lock->starving)) {
		hand_over(lock, w, wake);
	} else {
		if (is_free(lock) && !lock->woken) {
			lock->woken = w;
			wake->poked = chanfd_poke(w);
		}
		chanfd_claim_abort(w, NULL);
	}
	wake->events = events_now(lock);
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

/* Context: no locks held. */
static void wake_up_those(struct lock *lock, struct wakeups *wake)
{
	chanfd_wake(&wake->claimed);
	chanfd_wake_poked(wake->poked);
	/* Should they all have gone, each of them settles when it leaves. */
	if (wake->admit)
		chanfd_release_all(&lock->obj, &lock->admitted, admitted_outcome, NULL);
	if (wake->events)
		chanfd_wake_pollers(&lock->pollers, 0, wake->events);
}

/* Holders */

/* Context: lock held. */
static struct chanfd_holder *find_holder(struct lock *lock, const struct pid *pid)
{
	struct rb_node *node = lock->holders.rb_node;

	if (lock->last && lock->last->pid == pid)
		return lock->last;
	while (node) {
		struct chanfd_holder *h = rb_entry(node, struct chanfd_holder, node);

		if (h->pid == pid) {
			lock->last = h;
			return h;
		}
		node = pid < h->pid ? node->rb_left : node->rb_right;
	}
	return NULL;
}

/* The holder that is in the tree then: @h, or one that was there. Context: lock held. */
static struct chanfd_holder *insert_holder(struct lock *lock, struct chanfd_holder *h)
{
	struct rb_node **link = &lock->holders.rb_node, *parent = NULL;

	while (*link) {
		struct chanfd_holder *other = rb_entry(*link, struct chanfd_holder, node);

		if (other->pid == h->pid)
			return other;
		parent = *link;
		link = h->pid < other->pid ? &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&h->node, parent, link);
	rb_insert_color(&h->node, &lock->holders);
	return h;
}

/* Takes from the dead what they held, and lets others in. Context: lock held. */
static void bury_dead(struct lock *lock, struct wakeups *wake)
{
	struct chanfd_holder *h, *next;
	bool readers_first = false;

	llist_for_each_entry_safe(h, next, llist_del_all(&lock->dead), dead) {
		bool was_writer = lock->writer == h;

		rb_erase(&h->node, &lock->holders);
		if (lock->last == h)
			lock->last = NULL;
		if (was_writer || h->reads)
			lock->dead_holders++;
		if (was_writer) {
			lock->writer = NULL;
			lock->owner_dead = true;
			readers_first = true;
		}
		if (h->reads) {
			lock->readers -= h->reads;
			list_del(&h->reading);
		}
	}
	settle(lock, readers_first, wake);
}

/* Context: no locks held. */
static void bury_all(struct lock *lock)
{
	struct wakeups wake = WAKEUPS_INIT(wake);

	spin_lock(&lock->obj.lock);
	bury_dead(lock, &wake);
	spin_unlock(&lock->obj.lock);
	wake_up_those(lock, &wake);
}

/* Context: no locks held. */
static void look_for_dead(struct lock *lock)
{
	if (unlikely(!llist_empty(&lock->dead)))
		bury_all(lock);
}

/* Context: no locks held. */
static void holder_free(struct chanfd_holder *h)
{
	remove_wait_queue(&h->pid->wait_pidfd, &h->wait);
	put_pid(h->pid);
	chanfd_user_uncharge(h->payer, 0, sizeof(*h));
	kfree(h);
}

static void holder_work(struct work_struct *work)
{
	struct chanfd_holder *h = container_of(work, struct chanfd_holder, work);
	struct lock *lock = h->lock;

	/* Also if @dead is empty: who took it from there may be about to bury it. */
	bury_all(lock);
	holder_free(h);
	chanfd_object_put(&lock->obj);
}

/* Newer kernels call for single threads, too. */
static bool is_dead(struct pid *pid)
{
	struct task_struct *leader;
	bool dead;

	rcu_read_lock();
	leader = pid_task(pid, PIDTYPE_PID);
	dead = !leader || (READ_ONCE(leader->exit_state) && thread_group_empty(leader));
	rcu_read_unlock();
	return dead;
}

/* Context: of the dying; interrupts off, tasklist_lock held. */
static int process_changes(struct wait_queue_entry *wait, unsigned int mode, int sync,
			   void *key)
{
	struct chanfd_holder *h = container_of(wait, struct chanfd_holder, wait);

	if (h->died || !is_dead(h->pid))
		return 0;
	/* Not if the lock itself is on its way out. */
	if (refcount_inc_not_zero(&h->lock->obj.ref)) {
		h->died = true;
		llist_add(&h->dead, &h->lock->dead);
		queue_work(chanfd_workqueue, &h->work);
	}
	return 0;
}

static struct chanfd_holder *holder_new(struct lock *lock, struct pid *pid)
{
	struct chanfd_holder *h = kzalloc(sizeof(*h), GFP_KERNEL_ACCOUNT);
	int err;

	if (!h)
		return ERR_PTR(-ENOMEM);
	h->payer = chanfd_user_charge(0, sizeof(*h));
	if (IS_ERR(h->payer)) {
		err = PTR_ERR(h->payer);
		kfree(h);
		return ERR_PTR(err);
	}
	h->lock = lock;
	h->pid = get_pid(pid);
	INIT_WORK(&h->work, holder_work);
	init_waitqueue_func_entry(&h->wait, process_changes);
	add_wait_queue(&pid->wait_pidfd, &h->wait);
	return h;
}

/**
 * chanfd_lock_holder() - the calling process as a holder of a lock
 * @obj: the lock
 *
 * Return: the holder, valid as long as the process lives and @obj is referenced; or an
 * ERR_PTR(): %-ENOMEM or %-EDQUOT.
 */
struct chanfd_holder *chanfd_lock_holder(struct chanfd_object *obj)
{
	struct pid *pid = task_tgid(current);
	struct lock *lock = to_lock(obj);
	struct chanfd_holder *h, *fresh;

	look_for_dead(lock);
	spin_lock(&lock->obj.lock);
	h = find_holder(lock, pid);
	spin_unlock(&lock->obj.lock);
	if (h)
		return h;
	fresh = holder_new(lock, pid);
	if (IS_ERR(fresh))
		return fresh;
	spin_lock(&lock->obj.lock);
	h = insert_holder(lock, fresh);
	spin_unlock(&lock->obj.lock);
	if (h != fresh)
		holder_free(fresh);
	return h;
}

/* Acquiring */

static bool lock_ready(struct chanfd_waiter *w)
{
	struct lock *lock = to_lock(w->obj);

	/* Parked, it tries when it is poked; and then once, or it would spin. */
	if (w->call->parked)
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
		} else if (!(lock->flags & MODES) && has_starved(w)) {
			lock->starving = true;
		}
	}
	spin_unlock(&lock->obj.lock);
}

static void lock_left(struct chanfd_waiter *w)
{
	struct lock *lock = to_lock(w->obj);
	struct wakeups wake = WAKEUPS_INIT(wake);

	spin_lock(&lock->obj.lock);
	if (lock->woken == w)
		lock->woken = NULL;
	settle(lock, false, &wake);
	spin_unlock(&lock->obj.lock);
	wake_up_those(lock, &wake);
}

static const struct chanfd_waiter_ops lock_ops = {
	.ready = lock_ready,
	.attempt = lock_attempt,
	.poked = lock_poked,
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

	w->ops = &lock_ops;
	w->lock.shared = shared;
	if (shared && !(lock->flags & CHANFD_RW))
		return -EINVAL;
	w->lock.holder = chanfd_lock_holder(w->obj);
	if (IS_ERR(w->lock.holder))
		return PTR_ERR(w->lock.holder);
	chanfd_consider(w, lock_ready(w));
	return 0;
}

/* Acquires it, waiting as @call says. */
static int acquire(struct lock *lock, struct chanfd_holder *holder, bool shared,
		   struct chanfd_call *call)
{
	struct chanfd_waiter w = { .obj = &lock->obj, .ops = &lock_ops };

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

/**
 * chanfd_lock_again() - acquire a lock as a writer, whatever happens but a fatal signal
 * @obj: the lock
 * @holder: the calling process
 *
 * Return: 0 or %-EOWNERDEAD, it is held; %-ENOTRECOVERABLE; or %-ERESTARTSYS.
 */
int chanfd_lock_again(struct chanfd_object *obj, struct chanfd_holder *holder)
{
	struct chanfd_call call = { .killable = true, .deadline = KTIME_MAX };

	return acquire(to_lock(obj), holder, false, &call);
}

static noinline int acquire_limited(struct lock *lock, const struct chanfd_acquire *a)
{
	struct chanfd_waiter limit __uninitialized;
	struct chanfd_call call = {
		.nonblock = a->flags & CHANFD_NONBLOCK,
		.deadline = chanfd_deadline(a->deadline),
	};
	struct chanfd_holder *holder;
	int err;

	call.context = chanfd_limit_get(&limit, a->context);
	if (IS_ERR(call.context))
		return PTR_ERR(call.context);
	holder = chanfd_lock_holder(&lock->obj);
	if (IS_ERR(holder))
		err = PTR_ERR(holder);
	else
		err = acquire(lock, holder, a->flags & CHANFD_SHARED, &call);
	chanfd_limit_put(call.context);
	return err;
}

/* What acquiring comes to most of the time. %-EAGAIN if it is not so. */
static int acquire_at_once(struct lock *lock, bool shared)
{
	struct chanfd_holder *holder;
	int err = -EAGAIN;

	spin_lock(&lock->obj.lock);
	holder = find_holder(lock, task_tgid(current));
	if (holder)
		err = try_take(lock, holder, shared);
	spin_unlock(&lock->obj.lock);
	return err;
}

static int acquire_ioctl(struct file *file, unsigned int cmd, void __user *arg)
{
	struct lock *lock = file->private_data;
	struct chanfd_acquire a;
	bool shared;
	int err;

	err = CHANFD_GET_ARG(&a, deadline, cmd, arg);
	if (err)
		return err;
	shared = a.flags & CHANFD_SHARED;
	if (a.flags & ~(CHANFD_NONBLOCK | CHANFD_SHARED) ||
	    (shared && !(lock->flags & CHANFD_RW)))
		return -EINVAL;
	if (!(file->f_mode & (shared ? FMODE_READ : FMODE_WRITE)))
		return -EPERM;
	if (a.context < 0) {
		err = acquire_at_once(lock, shared);
		if (err != -EAGAIN)
			return err;
	}
	return acquire_limited(lock, &a);
}

/* Releasing */

/*
 * One reader fewer: one of the calling process's, if it has any. Context: lock held,
 * and there is one.
 */
static void drop_reader(struct lock *lock)
{
	struct chanfd_holder *h = find_holder(lock, task_tgid(current));

	if (!h || !h->reads)
		h = list_first_entry(&lock->reading, struct chanfd_holder, reading);
	if (!--h->reads)
		list_del(&h->reading);
	lock->readers--;
}

static int release_read(struct lock *lock)
{
	struct wakeups wake = WAKEUPS_INIT(wake);
	bool held;

	spin_lock(&lock->obj.lock);
	held = lock->readers;
	if (held) {
		drop_reader(lock);
		settle(lock, false, &wake);
	}
	spin_unlock(&lock->obj.lock);
	wake_up_those(lock, &wake);
	return held ? 0 : -EPERM;
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
		settle(lock, true, &wake);
	}
	spin_unlock(&lock->obj.lock);
	wake_up_those(lock, &wake);
	return held ? 0 : -EPERM;
}

/* Releases it for good. */
static int give_up(struct lock *lock)
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

static int release_ioctl(struct file *file, void __user *arg)
{
	struct lock *lock = file->private_data;
	u32 flags;

	if (get_user(flags, (u32 __user *)arg))
		return -EFAULT;
	switch (flags) {
	case 0:
		return file->f_mode & FMODE_WRITE ? chanfd_lock_release(&lock->obj) : -EPERM;
	case CHANFD_GIVE_UP:
		return file->f_mode & FMODE_WRITE ? give_up(lock) : -EPERM;
	case CHANFD_SHARED:
		return file->f_mode & FMODE_READ ? release_read(lock) : -EPERM;
	}
	return -EINVAL;
}

/* From a writer to a reader; the readers that wait come in as well. */
static int downgrade_ioctl(struct file *file)
{
	struct lock *lock = file->private_data;
	struct wakeups wake = WAKEUPS_INIT(wake);
	int err = -EPERM;

	if (!(lock->flags & CHANFD_RW))
		return -EINVAL;
	if (!(file->f_mode & FMODE_READ) || !(file->f_mode & FMODE_WRITE))
		return -EPERM;
	spin_lock(&lock->obj.lock);
	if (lock->writer) {
		take(lock, lock->writer, true);
		lock->writer = NULL;
		lock->owner_dead = false;
		settle(lock, true, &wake);
		err = 0;
	}
	spin_unlock(&lock->obj.lock);
	wake_up_those(lock, &wake);
	return err;
}

/* Handles */

static void get_info(struct lock *lock, struct chanfd_lock_info *info)
{
	look_for_dead(lock);
	spin_lock(&lock->obj.lock);
	info->flags = lock->flags;
	info->state = (lock->writer ? CHANFD_LOCKED : 0) |
		      (lock->owner_dead ? CHANFD_OWNER_DEAD : 0) |
		      (lock->lost ? CHANFD_NOT_RECOVERABLE : 0) |
		      (lock->starving ? CHANFD_STARVING : 0);
	info->holder = lock->writer ? pid_vnr(lock->writer->pid) : 0;
	info->readers = lock->readers;
	info->waiting_writers = lock->waiting_writers.len;
	info->waiting_readers = lock->waiting_readers.len;
	info->dead = lock->dead_holders;
	spin_unlock(&lock->obj.lock);
}

static int lock_get_info(struct lock *lock, unsigned int cmd, void __user *arg)
{
	struct chanfd_lock_info info = {};

	if (_IOC_SIZE(cmd) < sizeof(info))
		return -ENOTTY;
	get_info(lock, &info);
	return CHANFD_PUT_ARG(&info, cmd, arg);
}

static long lock_ioctl(struct file *file, unsigned int cmd, unsigned long uarg)
{
	struct lock *lock = file->private_data;
	void __user *arg = (void __user *)uarg;

	/* A holder that has died is none, to whoever knows of it. */
	look_for_dead(lock);
	switch (CHANFD_CMD(cmd)) {
	case CHANFD_CMD(CHANFD_IOC_LOCK):
		return acquire_ioctl(file, cmd, arg);
	case CHANFD_CMD(CHANFD_IOC_UNLOCK):
		return cmd == CHANFD_IOC_UNLOCK ? release_ioctl(file, arg) : -ENOTTY;
	case CHANFD_CMD(CHANFD_IOC_DOWNGRADE):
		return cmd == CHANFD_IOC_DOWNGRADE ? downgrade_ioctl(file) : -ENOTTY;
	case CHANFD_CMD(CHANFD_IOC_LOCK_INFO):
		return lock_get_info(lock, cmd, arg);
	}
	return chanfd_handle_ioctl(file, cmd, arg);
}

static __poll_t lock_poll(struct file *file, poll_table *table)
{
	struct lock *lock = file->private_data;
	__poll_t events;

	poll_wait(file, &lock->pollers, table);
	look_for_dead(lock);
	spin_lock(&lock->obj.lock);
	events = events_now(lock);
	spin_unlock(&lock->obj.lock);
	if (!(file->f_mode & FMODE_READ))
		events &= ~(EPOLLIN | EPOLLRDNORM);
	if (!(file->f_mode & FMODE_WRITE))
		events &= ~(EPOLLOUT | EPOLLWRNORM);
	return events;
}

static void fill_page(struct chanfd_object *obj, void *data)
{
	struct chanfd_lock_page *page = data;

	page->busy = !is_free(to_lock(obj));
}

static int lock_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct lock *lock = file->private_data;

	return chanfd_page_map(&lock->obj, &lock->page, vma, fill_page);
}

static const char *mode_name(const struct lock *lock)
{
	if (lock->flags & CHANFD_HANDOFF)
		return "handoff";
	return lock->flags & CHANFD_BARGING ? "barging" : "adaptive";
}

static const char *state_name(const struct chanfd_lock_info *info)
{
	if (info->state & CHANFD_NOT_RECOVERABLE)
		return "not recoverable";
	if (info->state & CHANFD_LOCKED)
		return "locked";
	return info->readers ? "read-locked" : "unlocked";
}

static void lock_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct lock *lock = file->private_data;
	struct chanfd_lock_info info;

	get_info(lock, &info);
	chanfd_show_object(m, file, &lock->obj);
	seq_printf(m, "chanfd-mode:\t%s%s\n", info.flags & CHANFD_RW ? "rw " : "",
		   mode_name(lock));
	seq_printf(m, "chanfd-state:\t%s%s%s\n", state_name(&info),
		   info.state & CHANFD_OWNER_DEAD ? ", owner dead" : "",
		   info.state & CHANFD_STARVING ? ", starving" : "");
	seq_printf(m, "chanfd-holder:\t%d\n", info.holder);
	seq_printf(m, "chanfd-readers:\t%u\n", info.readers);
	seq_printf(m, "chanfd-waiting:\t%u writers, %u readers\n", info.waiting_writers,
		   info.waiting_readers);
	seq_printf(m, "chanfd-dead:\t%u\n", info.dead);
}

const struct file_operations chanfd_lock_fops = {
	CHANFD_HANDLE_FOPS,
	.poll		= lock_poll,
	.unlocked_ioctl	= lock_ioctl,
	.mmap		= lock_mmap,
	.show_fdinfo	= lock_show_fdinfo,
};

static void lock_free(struct chanfd_object *obj)
{
	struct lock *lock = to_lock(obj);
	struct chanfd_holder *h, *next;

	rbtree_postorder_for_each_entry_safe(h, next, &lock->holders, node)
		holder_free(h);
	chanfd_page_free(&lock->page);
	kfree(lock);
}

static const struct chanfd_type lock_type = {
	.number		= CHANFD_TYPE_LOCK,
	.name		= "lock",
	.file_name	= "[chanfd-lock]",
	.fops		= &chanfd_lock_fops,
	.free		= lock_free,
};

long chanfd_lock_create(unsigned int cmd, void __user *arg)
{
	struct chanfd_lock c;
	struct lock *lock;
	int err;

	err = CHANFD_GET_ARG(&c, id, cmd, arg);
	if (err)
		return err;
	if (c.flags & ~(CHANFD_PAIR | CHANFD_INHERIT | CHANFD_RW | MODES) ||
	    (c.flags & MODES) == MODES || c.reserved)
		return -EINVAL;
	lock = kzalloc(sizeof(*lock), GFP_KERNEL_ACCOUNT);
	if (!lock)
		return -ENOMEM;
	lock->flags = c.flags & (CHANFD_RW | MODES);
	chanfd_queue_init(&lock->waiting_writers);
	chanfd_queue_init(&lock->waiting_readers);
	INIT_LIST_HEAD(&lock->admitted);
	INIT_LIST_HEAD(&lock->reading);
	init_llist_head(&lock->dead);
	lock->holders = RB_ROOT;
	init_waitqueue_head(&lock->pollers);
	err = chanfd_object_init(&lock->obj, &lock_type, c.name, 0);
	if (err) {
		kfree(lock);
		return err;
	}
	return CHANFD_PUBLISH(&lock->obj, CHANFD_READ | CHANFD_WRITE, &c, cmd, arg);
}
