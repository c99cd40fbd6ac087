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

#include "object.h"

struct chanfd_call;
struct chanfd_waiter;

/* A message outside of any ring: on its way, too large for one, or come back. */
struct chanfd_message {
	struct list_head node;
	u64 seq;
	u32 size;
	u8 data[];
};

struct chanfd_message *chanfd_message_new(size_t size);
void chanfd_message_free(struct chanfd_message *msg);

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
 *		if @park put the waiter on the object's queue. %-EFAULT asks for
 *		@fault_in and another attempt; only without @park.
 * @fault_in:	make the memory that attempt() stumbled over present
 */
struct chanfd_waiter_ops {
	bool (*ready)(struct chanfd_waiter *w);
	int (*attempt)(struct chanfd_waiter *w, bool park);
	int (*fault_in)(struct chanfd_waiter *w);
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
	bool committed;
	int error;
	int status;
	u32 moved;
	u32 count;
	u64 number;
	struct fd fd;		/* a select's: holds @obj or the foreign file */
	u16 op;			/* a select's: CHANFD_CASE_* */
	union {
		struct {	/* a sender; under the lock of @obj while parked */
			const void *data;	/* next message, if they fit a ring's slot */
			struct list_head msgs;	/* messages not sent, in boxes */
		} send;
		struct {	/* a receiver */
			struct iov_iter *iter;	/* where to; or else: */
			void __user *buf;	/* NULL: nowhere */
			u32 room;		/* there */
			u32 bytes;		/* outcome: used of it */
			u32 wanted;		/* for the message that did not get in */
			u32 *sizes;		/* outcome, of each message; may be NULL */
		} recv;
		struct {	/* somebody at a waitgroup */
			bool or_broken;		/* CHANFD_CASE_BROKEN, and not @known */
			u32 known;
		} wait;
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
 * @foreign:	some case is a foreign file
 * @deadline:	CLOCK_MONOTONIC of the host, KTIME_MAX for none
 * @empty_size:	room that @empty must have, 0: none is needed
 * @empty:	message for a sender to fill once this call is parked
 * @msg:	message that was received while the call was parked
 * @lock:	protects @fired once @parked. Innermost of chanfd's locks; two are
 *		taken in the order of their addresses.
 * @fired:	the case that goes ahead; set once
 * @parked:	others may see this call; the caller's own
 * @done:	whoever set @fired has let go of the call (CALL_DONE in wait.c)
 * @poked:	a foreign file may be ready
 * @task:	who sleeps
 */
struct chanfd_call {
	struct chanfd_waiter *waiters;
	u32 nr;
	struct chanfd_waiter *context;
	bool nonblock;
	bool ordered;
	bool foreign;
	ktime_t deadline;
	u32 empty_size;
	struct chanfd_message *empty;
	struct chanfd_message *msg;

	spinlock_t lock;		/* @fired */
	struct chanfd_waiter *fired;
	bool parked;
	bool done;
	bool poked;
	struct task_struct *task;
};

int chanfd_attempt(struct chanfd_waiter *w);
struct chanfd_waiter *chanfd_call_run(struct chanfd_call *call);
int chanfd_call_wait(struct chanfd_call *call);

/* For objects, under their lock. */
bool chanfd_commit_call(struct chanfd_waiter *w);
struct chanfd_waiter *chanfd_claim_first(struct chanfd_queue *q, struct chanfd_waiter *w);
void chanfd_claim_end(struct chanfd_waiter *peer, struct chanfd_waiter *w,
		      struct list_head *claimed);
void chanfd_claim_abort(struct chanfd_waiter *peer, struct chanfd_waiter *w);
void chanfd_park(struct chanfd_queue *q, struct chanfd_waiter *w);

/* Afterwards, without it. */
void chanfd_wake(struct list_head *claimed);
void chanfd_release_all(struct chanfd_object *obj, struct list_head *list,
			void (*outcome)(struct chanfd_waiter *w, const void *arg),
			const void *arg);

/**
 * chanfd_commit() - let @w go ahead without a partner
 * @w: the caller's own case
 *
 * Context: w->obj->lock held, or none if @w waits for a foreign file.
 * Return: false if another case of its call has fired.
 */
static inline bool chanfd_commit(struct chanfd_waiter *w)
{
	if (w->call)
		return chanfd_commit_call(w);
	w->committed = true;
	return true;
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

/* Cases, by what they wait for; @w->obj is set, the rest of @w is zero. */
void chanfd_send_case(struct chanfd_waiter *w, struct chanfd_call *call);
int chanfd_send_load(struct chanfd_waiter *w, const void __user *buf, u32 size);
void chanfd_send_unload(struct chanfd_waiter *w);
void chanfd_recv_case(struct chanfd_waiter *w, struct chanfd_call *call);
int chanfd_recv_into(struct chanfd_waiter *w, void __user *buf, u32 room);
int chanfd_recv_finish(struct chanfd_waiter *w);
void chanfd_wait_case(struct chanfd_waiter *w, struct chanfd_call *call,
		      bool or_broken, u32 known);
void chanfd_done_case(struct chanfd_waiter *w, struct chanfd_call *call);
void chanfd_drained_case(struct chanfd_waiter *w, struct chanfd_call *call);
void chanfd_poll_case(struct chanfd_waiter *w, struct chanfd_call *call, __poll_t events);
void chanfd_poll_leave(struct chanfd_waiter *w);

/* A context that limits a call: one more case, which holds its file. */
struct chanfd_waiter *chanfd_limit_get(struct chanfd_waiter *limit, s32 context);
void chanfd_limit_put(struct chanfd_waiter *limit);

long chanfd_select_ioctl(unsigned int cmd, void __user *arg);

#endif /* _CHANFD_WAIT_H */
