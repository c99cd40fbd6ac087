/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The wait engine: one call waits for one of many things. See wait.c.
 */
#ifndef _CHANFD_WAIT_H
#define _CHANFD_WAIT_H

#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/uio.h>

#include "compat.h"
#include "object.h"

struct chanfd_call;
struct chanfd_message;
struct chanfd_waiter;
struct parcel;
struct taken;

/* The largest message that has a slot in a ring, and copies on stacks. */
#define CHANFD_SLOT_MAX	256

/**
 * struct chanfd_queue - waiters at one object, first come first
 * @list:	under the object's lock
 * @len:	likewise
 */
struct chanfd_queue {
	struct list_head list;
	u32 len;
};

/**
 * struct chanfd_waiter_ops - what an object does for those who wait at it
 * @ready:	a hint, without locks: may attempt() succeed?
 * @attempt:	under the object's lock: if it can be done, commit and do it, else
 *		if @park put the waiter on the object's queue. More than 0 asks for
 *		@fault_in and another attempt; only without @park.
 * @fault_in:	make as many bytes present as attempt() says are missing
 * @poked:	the call was poked, and @ready() says yes: if it can be done from where
 *		the waiter is parked, commit and do it; NULL for what is never poked
 * @undo:	the case went ahead while the call slept, but its task is being killed and
 *		will never know; no locks are held; may be NULL
 * @left:	the waiter is not on the object's queue any more, whether it has gone ahead
 *		or not; no locks are held; may be NULL
 */
struct chanfd_waiter_ops {
	bool (*ready)(struct chanfd_waiter *w);
	int (*attempt)(struct chanfd_waiter *w, bool park);
	int (*fault_in)(struct chanfd_waiter *w, size_t bytes);
	void (*poked)(struct chanfd_waiter *w);
	void (*undo)(struct chanfd_waiter *w);
	void (*left)(struct chanfd_waiter *w);
};

/**
 * struct chanfd_waiter - one case of a call
 * @node:	in @queue, under the lock of @obj; after a claim, on the list of
 *		those whom the claimer wakes
 * @queue:	that holds @node, else NULL; under the lock of @obj
 * @call:	the call that it is a case of; immutable, like @ops and @obj. NULL
 *		while a single operation is first attempted: there is no call yet
 * @obj:	where it waits; NULL for a foreign file
 * @committed:	it went ahead, and there was no call
 * @error:	outcome: what the operation alone would have failed with, or 0
 * @status:	outcome: a waitgroup's first error, a context's cause
 * @redelivered: outcome: how often the first message received came back from a lease
 * @moved:	outcome: messages moved; of a waitgroup, broken members
 * @count:	messages to move at the most
 * @number:	outcome: a message's, or a round's
 *
 * Outcomes are written by whoever makes the call fire, before it is done.
 */
struct chanfd_waiter {
	struct list_head node;
	struct chanfd_queue *queue;
	struct chanfd_call *call;
	const struct chanfd_waiter_ops *ops;
	struct chanfd_object *obj;
	struct fd fd;		/* a select's: holds @obj or the foreign file */
	u64 number;
	int error;
	union {
		int status;
		u32 redelivered;
	};
	u32 moved;
	u16 count;
	u8 op;			/* a select's: CHANFD_CASE_* */
	bool committed;
	union {
		struct {	/* a sender; under the lock of @obj while parked */
			const void *data;	/* next message, if they fit a ring's slot */
			struct list_head msgs;	/* messages not sent, in boxes */
			struct parcel *parcel;	/* files for the first box, or NULL */
			u32 bytes;		/* held for them in all */
		} send;
		struct {	/* a receiver */
			struct iov_iter *iter;	/* where to; or else: */
			void __user *buf;	/* NULL: nowhere */
			u32 room;		/* there */
			u32 bytes;		/* outcome: used of it */
			u32 *sizes;		/* outcome, of each message; may be NULL */
			struct taken *taken;	/* messages go there first; or NULL */
		} recv;
		struct {	/* somebody at a waitgroup */
			bool or_broken;		/* CHANFD_CASE_BROKEN, and not @known */
			u32 known;
		} wait;
		struct {	/* somebody who wants a lock */
			struct chanfd_holder *holder;
			bool shared;
			ktime_t since;		/* when it parked */
		} lock;
		struct {	/* somebody at a condition */
			struct chanfd_object *lock;
			u64 ticket;
			bool released;		/* the lock */
			bool alone;		/* outcome: the signal was for this one */
		} condition;
		struct {	/* somebody at a cell */
			u64 known;
		} cell;
		struct {	/* a foreign file */
			struct chanfd_poll_entry *entries;
			__poll_t events;
			__poll_t revents;	/* outcome */
			int error;
		} poll;
	};
};

/**
 * struct chanfd_call - one system call that waits
 * @waiters:	its cases, @nr of them
 * @context:	a case that ends the call with an error; or NULL
 * @nonblock:	answer %-EAGAIN rather than sleep
 * @ordered:	the first ready case wins, not a random one
 * @killable:	only a fatal signal ends it
 * @bytes:	of the messages that its cases would send
 * @kept:	bytes that its cases need besides
 * @ready:	cases that looked ready
 * @choice:	the one of them to try
 * @deadline:	CLOCK_MONOTONIC of the host, KTIME_MAX for none
 * @slot:	room for CHANFD_SLOT_MAX bytes: where a message is received that came
 *		from a ring's slot while the call was parked
 * @filled:	it was
 * @msg:	or the box that was received then
 * @lock:	protects @fired once @parked. Innermost of chanfd's locks; two are
 *		taken in the order of their addresses.
 * @fired:	the case that goes ahead; set once
 * @last:	of @waiters
 * @parked:	others may see this call; the caller's own
 * @done:	whoever set @fired has let go of the call (CALL_DONE in wait.c)
 * @poked:	a case that is poked may be ready
 * @task:	who sleeps
 */
struct chanfd_call {
	struct chanfd_waiter *waiters;
	u32 nr;
	struct chanfd_waiter *context;
	bool nonblock;
	bool ordered;
	bool killable;
	u32 bytes;
	u32 kept;
	u32 ready;
	struct chanfd_waiter *choice;
	ktime_t deadline;
	void *slot;
	bool filled;
	struct chanfd_message *msg;

	spinlock_t lock;		/* @fired */
	struct chanfd_waiter *fired;
	struct chanfd_waiter *last;
	bool parked;
	bool done;
	bool poked;
	struct task_struct *task;
};

void chanfd_choose(struct chanfd_waiter *w);
int chanfd_attempt(struct chanfd_waiter *w);
struct chanfd_waiter *chanfd_call_run(struct chanfd_call *call);
int chanfd_call_wait(struct chanfd_call *call);

/* For objects, under their lock. */
bool chanfd_commit_call(struct chanfd_waiter *w);
struct chanfd_waiter *chanfd_claim_first(struct chanfd_queue *q, struct chanfd_waiter *w);
void chanfd_claim_end(struct chanfd_waiter *peer, struct chanfd_waiter *w,
		      struct list_head *claimed);
void chanfd_claim_abort(struct chanfd_waiter *peer, struct chanfd_waiter *w);

struct task_struct *chanfd_poke(struct chanfd_waiter *w);

/* Afterwards, without it. */
void chanfd_wake_poked(struct task_struct *task);
void chanfd_wake_claimed(struct list_head *claimed);
void chanfd_release_all(struct chanfd_object *obj, struct list_head *list,
			void (*outcome)(struct chanfd_waiter *w, const void *arg),
			const void *arg);

/* Lets a case be chosen that looks ready: all that do have the same chance. */
static inline void chanfd_consider(struct chanfd_waiter *w, bool ready)
{
	if (ready)
		chanfd_choose(w);
}

/**
 * chanfd_commit() - let @w go ahead without a partner
 * @w: the caller's own case
 *
 * Context: w->obj->lock held, unless what @w waits for can't be undone or taken away.
 * Return: false if another case of its call has fired.
 */
static inline bool chanfd_commit(struct chanfd_waiter *w)
{
	if (w->call)
		return chanfd_commit_call(w);
	w->committed = true;
	return true;
}

/* Waits at the end of @q. Context: the object's lock held. */
static inline void chanfd_park(struct chanfd_queue *q, struct chanfd_waiter *w)
{
	list_add_tail(&w->node, &q->list);
	q->len++;
	w->queue = q;
}

/* Wakes the calls on @claimed. Context: no object's lock held. */
static inline void chanfd_wake(struct list_head *claimed)
{
	if (!list_empty(claimed))
		chanfd_wake_claimed(claimed);
}

static inline void chanfd_queue_init(struct chanfd_queue *q)
{
	INIT_LIST_HEAD(&q->list);
	q->len = 0;
}

/* Pollers come in ways that the object's lock does not order: the barrier in
 * wq_has_sleeper() pairs with the one in poll_wait().
 */
static inline void chanfd_wake_pollers(wait_queue_head_t *head, int nr, __poll_t events)
{
	if (wq_has_sleeper(head))
		__wake_up(head, TASK_NORMAL, nr, poll_to_key(events));
}

ktime_t chanfd_deadline(u64 deadline);

/* Cases of a select, by what they wait for; what is common to all is set, the rest of
 * @w is zero. The case is considered for the first choice.
 */
int chanfd_send_case(struct chanfd_waiter *w, const struct chanfd_parcel *p);
void chanfd_send_unload(struct chanfd_waiter *w);
int chanfd_recv_case(struct chanfd_waiter *w, void __user *buf, u32 room);
int chanfd_recv_parcel_case(struct chanfd_waiter *w, const struct chanfd_parcel *p,
			    struct chanfd_parcel __user *told);
void chanfd_recv_unload(struct chanfd_waiter *w);
int chanfd_recv_finish(struct chanfd_waiter *w);
int chanfd_recv_settle(struct chanfd_waiter *w, bool told);
void chanfd_wait_case(struct chanfd_waiter *w, bool or_broken, u32 known);
void chanfd_context_case(struct chanfd_waiter *w, bool drained);
int chanfd_lock_case(struct chanfd_waiter *w, bool shared);
void chanfd_change_case(struct chanfd_waiter *w, u64 known);
void chanfd_poll_case(struct chanfd_waiter *w, __poll_t events);

/* A context that limits a call: one more case, which holds its file. */
struct chanfd_waiter *chanfd_limit_get(struct chanfd_waiter *limit, s32 context);
void chanfd_limit_put(struct chanfd_waiter *limit);

long chanfd_select_ioctl(unsigned int cmd, void __user *arg);

#endif /* _CHANFD_WAIT_H */
