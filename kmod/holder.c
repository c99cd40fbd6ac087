// SPDX-License-Identifier: GPL-2.0
/*
 * The processes that hold locks.
 *
 * A lock is held by a process (by its struct pid), whichever of its threads and
 * handles acquired it, until somebody releases it or the process is dead: all its
 * threads are. Every process that ever tried has a struct chanfd_holder, made before
 * the attempt, when failing is harmless; it stays until the process dies or the lock
 * goes. A process can't be dead while a thread of it waits here, so waiters refer to
 * holders without references.
 *
 * The kernel tells of a death through pid->wait_pidfd, with interrupts off and under
 * tasklist_lock, once for each lock that the process has used. So the callback only puts
 * the holder on two lists, which needs no lock: lock->dead, and the undertaker's. Who uses
 * the lock next, or else the undertaker, buries the dead: takes from them what they held,
 * and lets others in. As wait(2) sees a death under tasklist_lock too, who has waited for
 * a process finds it in lock->dead. The undertaker frees the holder.
 */

#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "compat.h"
#include "context.h"
#include "lock.h"

/* Holders */

/* A process as a holder, or NULL if it never was one. Context: lock held. */
struct chanfd_holder *chanfd_find_holder(struct lock *lock, const struct pid *pid)
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
	chanfd_lock_settle(lock, readers_first, wake);
}

/* Context: no locks held. */
void chanfd_bury_dead(struct lock *lock)
{
	struct wakeups wake = WAKEUPS_INIT(wake);

	spin_lock(&lock->obj.lock);
	bury_dead(lock, &wake);
	spin_unlock(&lock->obj.lock);
	chanfd_lock_wake(lock, &wake);
}

/* Context: no locks held. */
static void holder_free(struct chanfd_holder *h)
{
	remove_wait_queue(&h->pid->wait_pidfd, &h->wait);
	put_pid(h->pid);
	chanfd_user_uncharge(h->payer, 0, sizeof(*h));
	kfree(h);
}

static void undertake(struct work_struct *work);

/* All that died since the work began last. */
static LLIST_HEAD(all_dead);
static DECLARE_WORK(undertaker, undertake);

static void undertake(struct work_struct *work)
{
	struct chanfd_holder *h, *next;

	llist_for_each_entry_safe(h, next, llist_del_all(&all_dead), undertaken) {
		struct lock *lock = h->lock;

		/* Not just a look: who took it off the list may be about to bury it. */
		chanfd_bury_dead(lock);
		holder_free(h);
		chanfd_object_put(&lock->obj);
		cond_resched();
	}
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
		if (llist_add(&h->undertaken, &all_dead))
			queue_work(chanfd_workqueue, &undertaker);
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

	chanfd_look_for_dead(lock);
	spin_lock(&lock->obj.lock);
	h = chanfd_find_holder(lock, pid);
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

/* For a lock that goes. */
void chanfd_free_holders(struct lock *lock)
{
	struct chanfd_holder *h, *next;

	rbtree_postorder_for_each_entry_safe(h, next, &lock->holders, node)
		holder_free(h);
}
