/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A channel: its FIFO, in chan.c; calls that send and receive, in chancall.c; its handles,
 * in chanfile.c; messages that are taken out whole, in taken.c; leases of them, in lease.c;
 * and their files, in parcel.c.
 */
#ifndef _CHANFD_CHAN_H
#define _CHANFD_CHAN_H

#include <linux/poll.h>
#include <linux/rbtree.h>
#include <linux/uio.h>

#include "compat.h"
#include "object.h"
#include "wait.h"

/**
 * struct chanfd_message - a message outside of any ring
 * @node:	in a sender's hands, in the FIFO, or taken out
 * @back:	in its place while it has come back
 * @seq:	its number, once it is accepted
 * @size:	immutable
 * @redelivered: how often it came back from a lease
 * @payer:	for it, whoever leased it last; NULL while its place in the channel pays
 * @parcel:	its files, or NULL; immutable
 * @data:	immutable
 *
 * In one place at a time, and whoever has it there may write to it.
 */
struct chanfd_message {
	union {
		struct list_head node;
		struct rb_node back;
	};
	u64 seq;
	u32 size;
	u32 redelivered;
	struct chanfd_user *payer;
	struct parcel *parcel;
	u8 data[];
};

/**
 * struct parcel - the files of a message; immutable (parcel.c)
 * @user:	who pays
 * @nr:		how many
 * @files:	each a reference
 */
struct parcel {
	struct chanfd_user *user;
	u32 nr;
	struct file *files[];
};

static inline u32 chanfd_files(const struct chanfd_message *msg)
{
	return msg->parcel ? msg->parcel->nr : 0;
}

/* What its payer is charged. */
static inline size_t chanfd_message_bytes(const struct chanfd_message *msg)
{
	return struct_size(msg, data, msg->size);
}

/**
 * struct channel
 * @obj:	head
 * @elem_size:	immutable; the most, if @variable
 * @capacity:	immutable
 * @variable:	immutable
 * @fds:	immutable: messages may have files
 * @boxed:	immutable: messages have boxes, there is no ring
 * @closed:	by CHANFD_IOC_CLOSE
 * @cause:	given then
 * @head:	slot of the first message in the ring
 * @used:	slots that hold one
 * @back:	messages that came back, by number; they were sent before all others
 * @boxes:	messages with boxes, in their order
 * @nr_boxes:	how many, those that came back too
 * @files:	of all these
 * @senders:	that wait for room
 * @receivers:	that wait for a message
 * @sent:	messages accepted so far; also the number of the next
 * @received:	consumed, for good so far as anybody knows
 * @leased:	taken out, and may come back (see taken.c)
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
	bool fds;
	bool boxed;
	bool closed;
	s32 cause;
	u32 head;
	u32 used;
	struct rb_root_cached back;
	struct list_head boxes;
	u32 nr_boxes;
	u32 files;
	struct chanfd_queue senders;
	struct chanfd_queue receivers;
	u64 sent;
	u64 received;
	u64 leased;
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

/* Is a channel without messages at its end? Not while one may come back. */
static inline bool at_end(const struct channel *ch)
{
	return (ch->closed || !ch->obj.writers) && !ch->leased;
}

/* May a receive go ahead? */
static inline bool recv_looks_ready(const struct channel *ch)
{
	/*
	 * A hint: a wrong answer costs one attempt, and an end with messages left is
	 * looked at under the lock (C20).
	 */
	return data_race(ch->used | ch->nr_boxes | ch->senders.len || at_end(ch));
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
	if (!ch->obj.writers && !ch->closed && !ch->leased)
		events |= EPOLLERR;
	if (ch->closed && !length(ch) && !ch->leased)
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
	if (ch->closed && !length(ch) && !ch->leased)
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

/* Who waited for what will not come, and what to tell them. */
struct end {
	struct list_head waiters;
	bool ended;
	int send_error;
	int recv_error;
};

#define END_INIT(name)	{ .waiters = LIST_HEAD_INIT((name).waiters) }

bool chanfd_send_at_once(struct channel *ch, const void *data);
bool chanfd_recv_at_once(struct channel *ch, void __user *buf);
int chanfd_send_some(struct chanfd_waiter *w, const struct how *how);
int chanfd_send_from(struct chanfd_waiter *w, struct iov_iter *from, const u32 *sizes,
		     const struct how *how);
int chanfd_recv_some(struct chanfd_waiter *w, const struct how *how);
int chanfd_copy_out(struct chanfd_waiter *w, const void *data, u32 size);
void chanfd_message_free(struct chanfd_message *msg);
void chanfd_message_pay(struct chanfd_message *msg, struct chanfd_user *payer);
void chanfd_messages_free(struct list_head *msgs);
void chanfd_return(struct channel *ch, struct list_head *msgs, u32 n, u64 *count);
void chanfd_end_receivers(struct channel *ch, struct end *end);
void chanfd_let_go(struct channel *ch, struct end *end);
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

/* taken.c */

/**
 * struct taken - a receive that takes messages out first, and then copies them
 * @msgs:	in their order; written by whoever makes the call fire, like its outcome
 * @spare:	boxes for messages from slots; likewise
 * @leased:	immutable: keep them in a lease
 * @added:	immutable: it is not a new one
 * @lease:	an open file: as given, or made for the messages; or NULL
 * @lease_fd:	its number, or -1
 * @room:	immutable: for how many files
 * @fds:	immutable: where their numbers go
 * @parcel:	immutable: of a select's case, where it wants to be told; or NULL
 * @nr:		messages in @msgs, once the call has fired
 * @reserved:	there is a place for them in the lease
 * @bytes:	that the lease's maker pays for it
 * @nr_fds:	outcome: files that the message had
 * @numbers:	of @nr_numbers files that are in the caller's table
 */
struct taken {
	struct list_head msgs;
	struct list_head spare;
	bool leased;
	bool added;
	struct file *lease;
	s32 lease_fd;
	u32 room;
	s32 __user *fds;
	struct chanfd_parcel __user *parcel;
	u32 nr;
	bool reserved;
	size_t bytes;
	u32 nr_fds;
	u32 nr_numbers;
	s32 numbers[CHANFD_MAX_FDS];
};

int chanfd_taken_prepare(struct taken *t, struct chanfd_waiter *w, u32 flags, s32 lease);
void chanfd_taken_put(struct taken *t);
int chanfd_taken_finish(struct chanfd_waiter *w);
int chanfd_taken_settle(struct chanfd_waiter *w, bool told);

/* Is there a place for a message's files, or does nobody want them? */
static inline bool chanfd_files_fit(const struct chanfd_waiter *w,
				    const struct chanfd_message *msg)
{
	u32 room = w->recv.taken->room;

	return chanfd_files(msg) <= room || (!room && !w->recv.iter && !w->recv.buf);
}

/* lease.c */
int chanfd_lease_open(struct channel *ch, struct file **file);
struct file *chanfd_lease_get(struct channel *ch, s32 fd);
int chanfd_lease_reserve(struct file *file, struct taken *t);
void chanfd_lease_unreserve(struct file *file, struct taken *t);
void chanfd_lease_add(struct file *file, struct taken *t);
void chanfd_received(struct channel *ch, struct list_head *msgs, u32 n);

/* parcel.c */

struct parcel *chanfd_parcel_load(const struct channel *ch, const s32 __user *fds, u32 nr);
void chanfd_parcel_free(struct parcel *parcel);

#endif /* _CHANFD_CHAN_H */
