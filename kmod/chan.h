/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A channel: what it is made of, in chan.c; and its handles, in chanfile.c.
 */
#ifndef _CHANFD_CHAN_H
#define _CHANFD_CHAN_H

#include <linux/poll.h>
#include <linux/uio.h>

#include "compat.h"
#include "object.h"
#include "wait.h"

/**
 * struct channel
 * @obj:	head
 * @elem_size:	immutable; the most, if @variable
 * @capacity:	immutable
 * @variable:	immutable
 * @boxed:	immutable: messages have boxes, there is no ring
 * @closed:	by CHANFD_IOC_CLOSE
 * @cause:	given then
 * @head:	slot of the first message in the ring
 * @used:	slots that hold one
 * @boxes:	of messages that come before those in the ring, by number
 * @nr_boxes:	how many
 * @senders:	that wait for room
 * @receivers:	that wait for a message
 * @sent:	messages accepted so far; also the number of the next
 * @received:	consumed, for good so far as anybody knows
 * @returned:	came back
 * @dropped:	because no receiver was left
 * @readable:	pollers of receiving handles
 * @writable:	pollers of sending handles
 * @ring:	immutable: capacity * elem_size bytes
 */
struct channel {
	struct chanfd_object obj;
	u32 elem_size;
	u32 capacity;
	bool variable;
	bool boxed;
	bool closed;
	s32 cause;
	u32 head;
	u32 used;
	struct list_head boxes;
	u32 nr_boxes;
	struct chanfd_queue senders;
	struct chanfd_queue receivers;
	u64 sent;
	u64 received;
	u64 returned;
	u64 dropped;
	wait_queue_head_t readable;
	wait_queue_head_t writable;
	u8 *ring;
};

static inline struct channel *to_channel(struct chanfd_object *obj)
{
	return container_of(obj, struct channel, obj);
}

static inline u32 length(const struct channel *ch)
{
	return ch->used + ch->nr_boxes;
}

/* Room for how many more? Less than none where some came back. */
static inline u32 room(const struct channel *ch)
{
	u32 len = length(ch);

	return len < ch->capacity ? ch->capacity - len : 0;
}

/* What a send fails with, or 0. */
static inline int send_error(const struct channel *ch)
{
	if (ch->closed)
		return -EPIPE;
	return ch->obj.readers ? 0 : -ECONNRESET;
}

/* Is a channel without messages at its end? */
static inline bool at_end(const struct channel *ch)
{
	return ch->closed || !ch->obj.writers;
}

/* What a receive fails with at the end; 0 is the orderly one. */
static inline int end_error(const struct channel *ch)
{
	return ch->closed ? -ch->cause : -ECONNRESET;
}

/* May a message have this size? */
static inline bool size_fits(const struct channel *ch, size_t size)
{
	return ch->variable ? size && size <= ch->elem_size : size == ch->elem_size;
}

/* Readiness (C35). Context: lock held. */
static inline __poll_t channel_read_events(const struct channel *ch)
{
	__poll_t events = 0;

	if (length(ch) || ch->senders.len || at_end(ch))
		events |= EPOLLIN | EPOLLRDNORM;
	if (!ch->obj.writers && !ch->closed)
		events |= EPOLLERR;
	if (ch->closed && !length(ch))
		events |= EPOLLHUP;
	return events;
}

static inline __poll_t channel_write_events(const struct channel *ch)
{
	__poll_t events = 0;

	if (room(ch) || ch->receivers.len || send_error(ch))
		events |= EPOLLOUT | EPOLLWRNORM;
	if (!ch->obj.readers)
		events |= EPOLLERR;
	if (ch->closed && !length(ch))
		events |= EPOLLHUP;
	return events;
}

/* How an operation of one case may wait. */
struct how {
	bool nonblock;
	ktime_t deadline;
	struct chanfd_waiter *context;
};

extern const struct chanfd_waiter_ops chanfd_send_ops;
extern const struct chanfd_waiter_ops chanfd_recv_ops;

bool chanfd_send_at_once(struct channel *ch, const void *data);
bool chanfd_recv_at_once(struct channel *ch, void __user *buf);
int chanfd_send_some(struct chanfd_waiter *w, const struct how *how);
int chanfd_send_from(struct chanfd_waiter *w, struct iov_iter *from, const u32 *sizes,
		     const struct how *how);
int chanfd_recv_some(struct chanfd_waiter *w, const struct how *how);
void chanfd_tell_readable(struct channel *ch, int nr);
void chanfd_tell_writable(struct channel *ch, int nr);

/* Pollers come in ways that the lock does not order: the barrier in wq_has_sleeper()
 * pairs with the one in poll_wait(). Context: no locks held.
 */
static inline void chanfd_wake_readable(struct channel *ch, int nr)
{
	if (wq_has_sleeper(&ch->readable))
		chanfd_tell_readable(ch, nr);
}

static inline void chanfd_wake_writable(struct channel *ch, int nr)
{
	if (wq_has_sleeper(&ch->writable))
		chanfd_tell_writable(ch, nr);
}

#endif /* _CHANFD_CHAN_H */
