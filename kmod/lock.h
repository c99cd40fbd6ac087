/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A lock: who holds it and who comes next, in lock.c; the processes that hold locks, and
 * their deaths, in holder.c; its handles, in lockfile.c.
 */
#ifndef _CHANFD_LOCK_H
#define _CHANFD_LOCK_H

#include <linux/list.h>
#include <linux/llist.h>
#include <linux/rbtree.h>

#include "object.h"
#include "wait.h"

#define LOCK_MODES	(CHANFD_HANDOFF | CHANFD_BARGING)

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
 * @lock:	immutable; valid as long as @wait is hooked up, and while @died with a
 *		reference
 * @pid:	immutable, holds a reference
 * @payer:	immutable
 * @node:	in lock->holders
 * @reads:	times that it holds the lock as a reader
 * @reading:	in lock->reading while @reads is not 0
 * @wait:	in pid->wait_pidfd
 * @died:	in lock->dead, or was; set once, by the callback
 * @dead:	in lock->dead
 * @undertaken:	in the list of all who are to be buried and freed
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
	struct llist_node undertaken;
};

/* What is to be done when the lock's spinlock is dropped. */
struct wakeups {
	struct list_head claimed;
	struct task_struct *poked;
	bool admit;
	__poll_t events;
};

#define WAKEUPS_INIT(name)	{ .claimed = LIST_HEAD_INIT((name).claimed) }

static inline struct lock *to_lock(struct chanfd_object *obj)
{
	return container_of(obj, struct lock, obj);
}

/* Can a writer acquire it? Context: lock held, or it is a hint. */
static inline bool is_free(const struct lock *lock)
{
	return !lock->writer && !lock->readers && list_empty(&lock->admitted);
}

/* lock.c */
extern const struct chanfd_waiter_ops chanfd_lock_ops;

__poll_t chanfd_lock_events(const struct lock *lock);
void chanfd_lock_settle(struct lock *lock, bool readers_first, struct wakeups *wake);
void chanfd_lock_wake(struct lock *lock, struct wakeups *wake);
int chanfd_lock_at_once(struct lock *lock, bool shared);
int chanfd_lock_wait(struct chanfd_object *obj, struct chanfd_holder *holder, bool shared,
		     struct chanfd_call *call);
int chanfd_lock_release(struct chanfd_object *obj);
int chanfd_lock_release_read(struct lock *lock);
int chanfd_lock_give_up(struct lock *lock);
int chanfd_lock_downgrade(struct lock *lock);

/* holder.c */
struct chanfd_holder *chanfd_find_holder(struct lock *lock, const struct pid *pid);
struct chanfd_holder *chanfd_lock_holder(struct chanfd_object *obj);
void chanfd_bury_dead(struct lock *lock);
void chanfd_free_holders(struct lock *lock);

/* A holder that has died is none, to whoever may know of it. Context: no locks held. */
static inline void chanfd_look_for_dead(struct lock *lock)
{
	if (unlikely(!llist_empty(&lock->dead)))
		chanfd_bury_dead(lock);
}

#endif /* _CHANFD_LOCK_H */
