// SPDX-License-Identifier: GPL-2.0
/*
 * Channels.
 *
 * Overview
 *
 * A channel is one FIFO of messages with a queue of waiting senders behind it
 * and a queue of waiting receivers in front:
 *
 *	senders -> ring -> boxes -> receivers
 *
 * Messages of a fixed small size live in the slots of a ring; others each have a
 * box (struct chanfd_message) that changes hands by pointer. The list of boxes
 * holds those, and the messages that came back: a receiver that had been given
 * one while it slept, and then could not take it, returns it to the front.
 *
 * Invariants, whenever the lock is free (waiters whose call has fired do not
 * count, nor does a call that would meet itself):
 *  - a receiver waits only if there is no message and no sender waits;
 *  - a sender waits only if there is no room, and no receiver waits;
 *  - so nobody who comes later can overtake.
 *
 * A message is copied in before anything is visible, and a receiver that finds
 * one copies it out, under the lock and with page faults off, before it is
 * consumed. Where the memory is not present the lock is dropped, the page is
 * faulted in, and everything starts again.
 *
 * A channel has three ends that are told apart: closed by a sender, orphaned
 * when the last handle of the other side is gone, and open.
 *
 * Locking: everything below is under obj.lock but what is said to be immutable.
 */

#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "compat.h"
#include "object.h"
#include "wait.h"

/* A batch of more bytes is cut short: copies are made under the lock. */
#define BATCH_BYTES	SZ_256K

#define CHANNEL_FLAGS	(CHANFD_PAIR | CHANFD_NONBLOCK | CHANFD_INHERIT | CHANFD_VARIABLE)

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

static struct channel *to_channel(struct chanfd_object *obj)
{
	return container_of(obj, struct channel, obj);
}

static u32 length(const struct channel *ch)
{
	return ch->used + ch->nr_boxes;
}

/* Room for how many more? Less than none where some came back. */
static u32 room(const struct channel *ch)
{
	u32 len = length(ch);

	return len < ch->capacity ? ch->capacity - len : 0;
}

/* What a send fails with, or 0. */
static int send_error(const struct channel *ch)
{
	if (ch->closed)
		return -EPIPE;
	return ch->obj.readers ? 0 : -ECONNRESET;
}

/* Is a channel without messages at its end? */
static bool at_end(const struct channel *ch)
{
	return ch->closed || !ch->obj.writers;
}

/* What a receive fails with then; 0 is the orderly end. */
static int end_error(const struct channel *ch)
{
	return ch->closed ? -ch->cause : -ECONNRESET;
}

static u8 *slot(const struct channel *ch, u32 n)
{
	return ch->ring + (size_t)n * ch->elem_size;
}

/* The slot behind those in use. */
static u32 tail(const struct channel *ch)
{
	u32 n = ch->head + ch->used;

	return n < ch->capacity ? n : n - ch->capacity;
}

/* The first @n slots are free. */
static void advance(struct channel *ch, u32 n)
{
	ch->head += n;
	if (ch->head == ch->capacity)
		ch->head = 0;
	ch->used -= n;
}

/* A sender's next message in a box of its own. */
static struct chanfd_message *unload_box(struct channel *ch, struct chanfd_waiter *s)
{
	struct chanfd_message *msg;

	msg = list_first_entry(&s->send.msgs, struct chanfd_message, node);
	list_del(&msg->node);
	msg->seq = ch->sent;
	return msg;
}

/* A sender's next @n messages have been accepted. */
static void accepted(struct channel *ch, struct chanfd_waiter *s, u32 n)
{
	if (!s->moved)
		s->number = ch->sent;
	s->moved += n;
	ch->sent += n;
	if (!ch->boxed)
		s->send.data += (size_t)n * ch->elem_size;
}

/* A sender's next messages go to the end of the FIFO: as many as one copy can move. */
static void store(struct channel *ch, struct chanfd_waiter *s)
{
	u32 n = 1;

	if (ch->boxed) {
		list_add_tail(&unload_box(ch, s)->node, &ch->boxes);
		ch->nr_boxes++;
	} else {
		n = min3(s->count - s->moved, room(ch), ch->capacity - tail(ch));
		memcpy(slot(ch, tail(ch)), s->send.data, (size_t)n * ch->elem_size);
		ch->used += n;
	}
	accepted(ch, s, n);
}

/* The parked receiver @r gets message @seq. */
static void given(struct channel *ch, struct chanfd_waiter *r, u64 seq)
{
	r->moved = 1;
	r->number = seq;
	ch->received++;
}

static void give_box(struct channel *ch, struct chanfd_waiter *r, struct chanfd_message *msg)
{
	r->call->msg = msg;
	given(ch, r, msg->seq);
}

static void give_slot(struct channel *ch, struct chanfd_waiter *r, const void *data, u64 seq)
{
	memcpy(r->call->slot, data, ch->elem_size);
	r->call->filled = true;
	given(ch, r, seq);
}

/* A sender's next message goes to the parked receiver @r. */
static void hand_over(struct channel *ch, struct chanfd_waiter *s, struct chanfd_waiter *r)
{
	if (ch->boxed)
		give_box(ch, r, unload_box(ch, s));
	else
		give_slot(ch, r, s->send.data, ch->sent);
	accepted(ch, s, 1);
}

static struct chanfd_message *take_box(struct channel *ch)
{
	struct chanfd_message *msg;

	msg = list_first_entry(&ch->boxes, struct chanfd_message, node);
	list_del(&msg->node);
	ch->nr_boxes--;
	return msg;
}

/* The first message of the FIFO goes to the parked receiver @r. */
static void take(struct channel *ch, struct chanfd_waiter *r)
{
	if (ch->nr_boxes) {
		give_box(ch, r, take_box(ch));
	} else {
		give_slot(ch, r, slot(ch, ch->head), ch->sent - ch->used);
		advance(ch, 1);
	}
}

/* There is room: those who wait longest move in. */
static void refill(struct channel *ch, struct list_head *claimed)
{
	struct chanfd_waiter *s;

	while (ch->senders.len && room(ch)) {
		s = chanfd_claim_first(&ch->senders, NULL);
		if (!s)
			break;
		do {
			store(ch, s);
		} while (s->moved < s->count && room(ch));
		chanfd_claim_end(s, NULL, claimed);
	}
}

/* Readiness (C35) */

/* Context: lock held. */
static __poll_t read_events(const struct channel *ch)
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

/* Context: lock held. */
static __poll_t write_events(const struct channel *ch)
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

/*
 * io_uring believes what a wakeup says and does not ask again: it must say what
 * is so. Context: no locks held.
 */
static void wake_readable(struct channel *ch, int nr)
{
	__poll_t events;

	if (!wq_has_sleeper(&ch->readable))
		return;
	spin_lock(&ch->obj.lock);
	events = read_events(ch);
	spin_unlock(&ch->obj.lock);
	if (events)
		chanfd_wake_pollers(&ch->readable, nr, events);
}

static void wake_writable(struct channel *ch, int nr)
{
	__poll_t events;

	if (!wq_has_sleeper(&ch->writable))
		return;
	spin_lock(&ch->obj.lock);
	events = write_events(ch);
	spin_unlock(&ch->obj.lock);
	if (events)
		chanfd_wake_pollers(&ch->writable, nr, events);
}

/* @nr messages were taken; the last one of a closed channel is its hangup. */
static void wake_after_receive(struct channel *ch, int nr)
{
	wake_writable(ch, nr);
	if (data_race(ch->closed) && !data_race(length(ch)))
		wake_readable(ch, 0);
}

/* Sending */

static bool send_ready(struct chanfd_waiter *w)
{
	struct channel *ch = to_channel(w->obj);

	/* A hint: a wrong answer costs one attempt. */
	return data_race(room(ch) || ch->receivers.len || send_error(ch));
}

static int send_attempt(struct chanfd_waiter *w, bool park)
{
	struct channel *ch = to_channel(w->obj);
	struct chanfd_waiter *r;
	LIST_HEAD(claimed);
	u32 news = 0;
	int err;

	spin_lock(&ch->obj.lock);
	err = send_error(ch);
	if (err) {
		if (chanfd_commit(w))
			w->error = err;
		goto out;
	}
	while (ch->receivers.len && w->moved < w->count) {
		r = chanfd_claim_first(&ch->receivers, w);
		if (!r)
			break;
		hand_over(ch, w, r);
		chanfd_claim_end(r, w, &claimed);
	}
	news = w->moved;
	while (w->moved < w->count && room(ch) && chanfd_commit(w))
		store(ch, w);
	news = w->moved - news;
	if (park && !w->moved) {
		chanfd_park(&ch->senders, w);
		news = 1;	/* pollers see a committed sender (C35) */
	}
out:
	spin_unlock(&ch->obj.lock);
	chanfd_wake(&claimed);
	if (news)
		wake_readable(ch, news);
	return 0;
}

static const struct chanfd_waiter_ops send_ops = {
	.ready = send_ready,
	.attempt = send_attempt,
};

/* Receiving */

static bool recv_ready(struct chanfd_waiter *w)
{
	struct channel *ch = to_channel(w->obj);

	/* A hint, likewise: an end with messages left is looked at under the lock (C20). */
	return data_race(ch->used | ch->nr_boxes | ch->senders.len || at_end(ch));
}

/* Copies the next message out, without consuming it. */
static int copy_out(struct chanfd_waiter *w, const void *data, u32 size)
{
	if (w->recv.iter) {
		size_t done;

		if (size > iov_iter_count(w->recv.iter))
			return -EMSGSIZE;
		done = copy_to_iter(data, size, w->recv.iter);
		if (done < size) {
			iov_iter_revert(w->recv.iter, done);
			return -EFAULT;
		}
	} else if (w->recv.buf) {
		if (size > w->recv.room - w->recv.bytes)
			return -EMSGSIZE;
		if (copy_to_user(w->recv.buf + w->recv.bytes, data, size))
			return -EFAULT;
	}
	if (w->recv.sizes)
		w->recv.sizes[w->moved] = size;
	return 0;
}

/* The same under a lock: memory that is not present is an error. */
static int copy_out_atomic(struct chanfd_waiter *w, const void *data, u32 size)
{
	int err;

	pagefault_disable();
	err = copy_out(w, data, size);
	pagefault_enable();
	w->recv.wanted = size;
	return err;
}

static void consumed(struct channel *ch, struct chanfd_waiter *w, u64 seq, u32 n, u32 bytes)
{
	if (!w->moved)
		w->number = seq;
	w->moved += n;
	w->recv.bytes += bytes;
	ch->received += n;
}

/* The first messages of the FIFO go straight to where the caller wants them: as many
 * as one copy can move.
 */
static int recv_first(struct channel *ch, struct chanfd_waiter *w, struct list_head *emptied)
{
	struct chanfd_message *msg;
	u32 n, bytes;
	int err;

	if (ch->nr_boxes) {
		msg = list_first_entry(&ch->boxes, struct chanfd_message, node);
		err = copy_out_atomic(w, msg->data, msg->size);
		if (err)
			return err;
		consumed(ch, w, msg->seq, 1, msg->size);
		list_add_tail(&take_box(ch)->node, emptied);
		return 0;
	}
	n = min3(w->count - w->moved, ch->used, ch->capacity - ch->head);
	bytes = n * ch->elem_size;
	err = copy_out_atomic(w, slot(ch, ch->head), bytes);
	if (err)
		return err;
	consumed(ch, w, ch->sent - ch->used, n, bytes);
	advance(ch, n);
	return 0;
}

/* The same for the next message of the sender @s, whose call is claimed. */
static int recv_from(struct channel *ch, struct chanfd_waiter *w, struct chanfd_waiter *s,
		     struct list_head *emptied)
{
	struct chanfd_message *msg;
	u64 seq = ch->sent;
	u32 size = ch->elem_size;
	int err;

	if (ch->boxed) {
		msg = list_first_entry(&s->send.msgs, struct chanfd_message, node);
		size = msg->size;
		err = copy_out_atomic(w, msg->data, size);
		if (!err)
			list_move_tail(&msg->node, emptied);
	} else {
		err = copy_out_atomic(w, s->send.data, size);
	}
	if (err)
		return err;
	accepted(ch, s, 1);
	consumed(ch, w, seq, 1, size);
	return 0;
}

/* All that can be had at once, for a call that nobody else can fire. */
static int recv_private(struct channel *ch, struct chanfd_waiter *w,
			struct list_head *claimed, struct list_head *emptied)
{
	struct chanfd_waiter *s;
	int err = 0;

	while (w->moved < w->count && w->recv.bytes < BATCH_BYTES) {
		if (length(ch)) {
			err = recv_first(ch, w, emptied);
			if (err)
				break;
			refill(ch, claimed);
			continue;
		}
		s = ch->senders.len ? chanfd_claim_first(&ch->senders, w) : NULL;
		if (!s)
			break;
		err = recv_from(ch, w, s, emptied);
		if (err) {
			chanfd_claim_abort(s, w);
			break;
		}
		chanfd_claim_end(s, w, claimed);
	}
	if (w->moved)
		err = 0;
	if (w->moved || err == -EMSGSIZE) {
		chanfd_commit(w);
		w->error = err;
		err = 0;
	}
	return err;
}

/*
 * The same for a call that may be parked elsewhere, and fire there: one message, into
 * what the call carries. Context: lock held, and dropped.
 */
static noinline void recv_parked(struct channel *ch, struct chanfd_waiter *w)
	__releases(&ch->obj.lock)
{
	struct chanfd_waiter *s;
	LIST_HEAD(claimed);

	s = length(ch) ? NULL : chanfd_claim_first(&ch->senders, w);
	if (s) {
		hand_over(ch, s, w);
		chanfd_claim_end(s, w, &claimed);
	} else if (length(ch)) {
		if (chanfd_commit(w)) {
			take(ch, w);
			refill(ch, &claimed);
		}
	} else if (at_end(ch)) {
		if (chanfd_commit(w))
			w->error = end_error(ch);
	} else {
		chanfd_park(&ch->receivers, w);
	}
	spin_unlock(&ch->obj.lock);
	chanfd_wake(&claimed);
}

static noinline int recv_now(struct channel *ch, struct chanfd_waiter *w)
{
	struct chanfd_message *msg, *next;
	LIST_HEAD(claimed);
	LIST_HEAD(emptied);
	int err;

	spin_lock(&ch->obj.lock);
	err = recv_private(ch, w, &claimed, &emptied);
	if (!err && !w->moved && !w->error && at_end(ch) && chanfd_commit(w))
		w->error = end_error(ch);
	spin_unlock(&ch->obj.lock);
	chanfd_wake(&claimed);
	if (w->moved)
		wake_after_receive(ch, w->moved);
	list_for_each_entry_safe(msg, next, &emptied, node)
		kvfree(msg);
	return err;
}

static int recv_attempt(struct chanfd_waiter *w, bool park)
{
	struct channel *ch = to_channel(w->obj);

	if (!park)
		return recv_now(ch, w);
	spin_lock(&ch->obj.lock);
	if (recv_ready(w)) {
		recv_parked(ch, w);
	} else {
		chanfd_park(&ch->receivers, w);
		spin_unlock(&ch->obj.lock);
	}
	/* Pollers see room, or a committed receiver (C35). */
	wake_after_receive(ch, 1);
	return 0;
}

/* Makes present what copy_out_atomic() did not find, if it exists. */
static int recv_fault_in(struct chanfd_waiter *w)
{
	size_t missing;

	if (w->recv.iter)
		missing = fault_in_iov_iter_writeable(w->recv.iter, w->recv.wanted);
	else
		missing = fault_in_safe_writeable(w->recv.buf + w->recv.bytes,
						  w->recv.wanted);
	return missing ? -EFAULT : 0;
}

static const struct chanfd_waiter_ops recv_ops = {
	.ready = recv_ready,
	.attempt = recv_attempt,
	.fault_in = recv_fault_in,
};

/* A message that its receiver could not take is the next again. */
static void return_message(struct channel *ch, struct chanfd_message *msg)
{
	struct chanfd_waiter *r;
	struct list_head *pos;
	LIST_HEAD(claimed);
	bool kept;

	spin_lock(&ch->obj.lock);
	kept = ch->obj.readers;
	ch->received--;
	ch->returned++;
	if (kept) {
		list_for_each(pos, &ch->boxes)
			if (list_entry(pos, struct chanfd_message, node)->seq > msg->seq)
				break;
		list_add_tail(&msg->node, pos);
		ch->nr_boxes++;
		while (length(ch) && (r = chanfd_claim_first(&ch->receivers, NULL))) {
			take(ch, r);
			chanfd_claim_end(r, NULL, &claimed);
		}
	} else {
		ch->dropped++;
	}
	spin_unlock(&ch->obj.lock);
	chanfd_wake(&claimed);
	wake_readable(ch, 1);
	if (!kept)
		kvfree(msg);
}

/* A box for what is in a call's slot: small, and it must not be lost. */
static struct chanfd_message *box_slot(const struct channel *ch, const struct chanfd_waiter *w)
{
	struct chanfd_message *msg;

	msg = kmalloc(struct_size(msg, data, ch->elem_size),
		      GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
	memcpy(msg->data, w->call->slot, ch->elem_size);
	msg->size = ch->elem_size;
	msg->seq = w->number;
	return msg;
}

/**
 * chanfd_recv_finish() - give the caller what its parked call received
 * @w: that has fired
 *
 * Return: 0, or what went wrong; then the message is the channel's again.
 */
int chanfd_recv_finish(struct chanfd_waiter *w)
{
	struct channel *ch = to_channel(w->obj);
	struct chanfd_message *msg = w->call->msg;
	const void *data = msg ? msg->data : w->call->slot;
	u32 size;
	int err;

	if (!msg && !w->call->filled)
		return w->error;
	size = msg ? msg->size : ch->elem_size;
	w->moved = 0;
	if (fatal_signal_pending(current))
		err = -EINTR;	/* nobody would ever see it */
	else
		err = copy_out(w, data, size);
	if (err) {
		return_message(ch, msg ?: box_slot(ch, w));
		return err;
	}
	w->moved = 1;
	w->recv.bytes = size;
	kvfree(msg);
	return 0;
}

/* May a message have this size? */
static bool size_fits(const struct channel *ch, size_t size)
{
	return ch->variable ? size && size <= ch->elem_size : size == ch->elem_size;
}

/* Fills one box from where the caller has its messages. */
static int load_box(struct chanfd_waiter *w, struct iov_iter *from, u32 size)
{
	struct chanfd_message *msg;

	msg = kvmalloc(struct_size(msg, data, size), GFP_KERNEL_ACCOUNT);
	if (!msg)
		return -ENOMEM;
	msg->size = size;
	list_add_tail(&msg->node, &w->send.msgs);
	return copy_from_iter_full(msg->data, size, from) ? 0 : -EFAULT;
}

/**
 * chanfd_send_case() - a select's case that sends
 * @w: the case
 * @buf: where the caller has the message; it is copied in
 * @size: its bytes
 *
 * Return: 0, %-EMSGSIZE, %-EFAULT or %-ENOMEM. Undone by chanfd_send_unload().
 */
int chanfd_send_case(struct chanfd_waiter *w, const void __user *buf, u32 size)
{
	struct iovec iov = { (void __user *)buf, size };
	struct iov_iter from;
	int err;

	w->ops = &send_ops;
	INIT_LIST_HEAD(&w->send.msgs);
	if (!size_fits(to_channel(w->obj), size))
		return -EMSGSIZE;
	iov_iter_init(&from, ITER_SOURCE, &iov, 1, size);
	err = load_box(w, &from, size);
	if (err)
		return err;
	w->send.data = list_first_entry(&w->send.msgs, struct chanfd_message, node)->data;
	chanfd_consider(w, send_ready(w));
	return 0;
}

/**
 * chanfd_recv_case() - a select's case that receives
 * @w: the case
 * @buf: where the message goes; NULL for nowhere
 * @room: bytes at @buf
 *
 * Return: 0 or %-EMSGSIZE.
 */
int chanfd_recv_case(struct chanfd_waiter *w, void __user *buf, u32 room)
{
	struct channel *ch = to_channel(w->obj);

	w->ops = &recv_ops;
	w->recv.buf = buf;
	w->recv.room = room;
	if (buf && !ch->variable && room < ch->elem_size)
		return -EMSGSIZE;
	chanfd_consider(w, recv_ready(w));
	return 0;
}

/* Frees the boxes of messages that were not sent. */
void chanfd_send_unload(struct chanfd_waiter *w)
{
	struct chanfd_message *msg, *next;

	list_for_each_entry_safe(msg, next, &w->send.msgs, node)
		kvfree(msg);
}

/* How an operation of one case may wait. */
struct how {
	bool nonblock;
	ktime_t deadline;
	struct chanfd_waiter *context;
};

static noinline int wait_to_send(struct chanfd_waiter *w, const struct how *how)
{
	struct chanfd_call call = {
		.waiters = w,
		.nr = 1,
		.deadline = how->deadline,
		.context = how->context,
	};

	w->call = &call;
	return chanfd_call_wait(&call) ?: w->error;
}

/* Sends up to @w->count messages; how many it were. */
static int send_some(struct chanfd_waiter *w, const struct how *how)
{
	int err;

	send_attempt(w, false);
	if (w->committed)
		err = w->error;
	else if (how->nonblock)
		err = -EAGAIN;
	else
		err = wait_to_send(w, how);
	return err ?: w->moved;
}

static noinline int wait_to_receive(struct chanfd_waiter *w, const struct how *how)
{
	u8 slot[CHANFD_SLOT_MAX] __uninitialized;
	struct chanfd_call call = {
		.waiters = w,
		.nr = 1,
		.deadline = how->deadline,
		.context = how->context,
		.slot = slot,
	};

	w->call = &call;
	return chanfd_call_wait(&call) ?: chanfd_recv_finish(w);
}

/* Receives up to @w->count messages; how many it were, none at the orderly end. */
static int recv_some(struct chanfd_waiter *w, const struct how *how)
{
	int err = chanfd_attempt(w);

	if (w->committed)
		err = w->error;
	else if (!err && how->nonblock)
		err = -EAGAIN;
	else if (!err)
		err = wait_to_receive(w, how);
	return err ?: w->moved;
}

/* Sends messages in boxes. */
static int send_boxes(struct chanfd_waiter *w, struct iov_iter *from, const u32 *sizes,
		      const struct how *how)
{
	u32 elem_size = to_channel(w->obj)->elem_size;
	u32 i, bytes = 0;
	int ret = 0;

	INIT_LIST_HEAD(&w->send.msgs);
	for (i = 0; !ret && i < w->count && bytes < BATCH_BYTES; i++) {
		u32 size = sizes ? sizes[i] : elem_size;

		ret = load_box(w, from, size);
		bytes += size;
	}
	w->count = i;
	if (!ret)
		ret = send_some(w, how);
	chanfd_send_unload(w);
	return ret;
}

/* Sends messages that go to slots. */
static int send_slots(struct chanfd_waiter *w, struct iov_iter *from, const struct how *how)
{
	size_t size = iov_iter_count(from);
	u8 small[CHANFD_SLOT_MAX] __uninitialized, *copy = small;
	int ret = -EFAULT;

	if (size > sizeof(small)) {
		copy = kvmalloc(size, GFP_KERNEL_ACCOUNT);
		if (!copy)
			return -ENOMEM;
	}
	w->send.data = copy;
	if (copy_from_iter_full(copy, size, from))
		ret = send_some(w, how);
	if (copy != small)
		kvfree(copy);
	return ret;
}

/*
 * What a send comes to most of the time: one slot is filled, and nobody waits.
 * False if it is not so.
 */
static bool send_at_once(struct channel *ch, const void *data)
{
	bool sent;

	spin_lock(&ch->obj.lock);
	sent = room(ch) && !ch->receivers.len && !send_error(ch);
	if (sent) {
		memcpy(slot(ch, tail(ch)), data, ch->elem_size);
		ch->used++;
		ch->sent++;
	}
	spin_unlock(&ch->obj.lock);
	if (sent)
		wake_readable(ch, 1);
	return sent;
}

/* And a receive: one slot is emptied, and nobody waits. */
static bool recv_at_once(struct channel *ch, void __user *buf)
{
	bool received = false;

	spin_lock(&ch->obj.lock);
	if (ch->used && !ch->nr_boxes && !ch->senders.len) {
		pagefault_disable();
		received = !copy_to_user(buf, slot(ch, ch->head), ch->elem_size);
		pagefault_enable();
	}
	if (received) {
		advance(ch, 1);
		ch->received++;
	}
	spin_unlock(&ch->obj.lock);
	if (received)
		wake_after_receive(ch, 1);
	return received;
}

/* Sends what @from holds: @w->count messages, of @sizes if they vary. */
static int send_from(struct chanfd_waiter *w, struct iov_iter *from, const u32 *sizes,
		     const struct how *how)
{
	if (to_channel(w->obj)->boxed)
		return send_boxes(w, from, sizes, how);
	return send_slots(w, from, how);
}

/* Is a message of @size bytes all that a slot holds? */
static bool is_slot(const struct channel *ch, size_t size)
{
	return size == ch->elem_size && !ch->boxed && size;
}

/* read(2) and write(2), and what readv(2) and io_uring make of them */

/* How many messages a write of @size bytes sends, or why it can't. */
static int write_count(const struct channel *ch, size_t size)
{
	if (!ch->elem_size)
		return -EMSGSIZE;
	if (ch->variable)
		return size <= ch->elem_size ? !!size : -EMSGSIZE;
	if (size % ch->elem_size)
		return -EMSGSIZE;
	return min_t(size_t, size / ch->elem_size, CHANFD_MAX_BATCH);
}

/* How many a read of @size bytes may receive. */
static int read_count(const struct channel *ch, size_t size)
{
	if (!ch->elem_size)
		return -EMSGSIZE;
	if (ch->variable)
		return !!size;
	if (size && size < ch->elem_size)
		return -EMSGSIZE;
	return min_t(size_t, size / ch->elem_size, CHANFD_MAX_BATCH);
}

static ssize_t read_messages(struct channel *ch, struct iov_iter *to, bool nonblock)
{
	struct how how = { nonblock, KTIME_MAX };
	struct chanfd_waiter w = { .obj = &ch->obj, .ops = &recv_ops };
	int ret = read_count(ch, iov_iter_count(to));

	if (ret <= 0)
		return ret;
	w.count = ret;
	w.recv.iter = to;
	ret = recv_some(&w, &how);
	return ret < 0 ? ret : (ssize_t)w.recv.bytes;
}

static ssize_t write_messages(struct channel *ch, struct iov_iter *from, bool nonblock)
{
	struct how how = { nonblock, KTIME_MAX };
	struct chanfd_waiter w = { .obj = &ch->obj, .ops = &send_ops };
	u32 size = iov_iter_count(from);
	int ret = write_count(ch, iov_iter_count(from));

	if (ret <= 0)
		return ret;
	w.count = ret;
	if (!ch->variable)
		iov_iter_truncate(from, (u64)ret * ch->elem_size);
	ret = send_from(&w, from, ch->variable ? &size : NULL, &how);
	if (ret < 0)
		return ret;
	return ch->variable ? size : (ssize_t)ret * ch->elem_size;
}

/* One message for one slot, which could not be sent at once. */
static noinline ssize_t write_slot(struct channel *ch, const void *data, bool nonblock)
{
	struct how how = { nonblock, KTIME_MAX };
	struct chanfd_waiter w = { .obj = &ch->obj, .ops = &send_ops, .count = 1 };
	int ret;

	w.send.data = data;
	ret = send_some(&w, &how);
	return ret < 0 ? ret : (ssize_t)ch->elem_size;
}

static ssize_t channel_write(struct file *file, const char __user *buf, size_t size,
			     loff_t *pos)
{
	struct channel *ch = file->private_data;
	struct iovec iov = { (void __user *)buf, size };
	struct iov_iter from;
	u8 copy[CHANFD_SLOT_MAX] __uninitialized;

	if (is_slot(ch, size)) {
		if (copy_from_user(copy, buf, size))
			return -EFAULT;
		if (send_at_once(ch, copy))
			return size;
		return write_slot(ch, copy, file->f_flags & O_NONBLOCK);
	}
	iov_iter_init(&from, ITER_SOURCE, &iov, 1, size);
	return write_messages(ch, &from, file->f_flags & O_NONBLOCK);
}

static ssize_t channel_read(struct file *file, char __user *buf, size_t size, loff_t *pos)
{
	struct channel *ch = file->private_data;
	struct iovec iov = { buf, size };
	struct iov_iter to;

	if (is_slot(ch, size) && recv_at_once(ch, buf))
		return size;
	iov_iter_init(&to, ITER_DEST, &iov, 1, size);
	return read_messages(ch, &to, file->f_flags & O_NONBLOCK);
}

static bool iocb_nonblock(struct kiocb *iocb)
{
	return iocb->ki_flags & IOCB_NOWAIT || iocb->ki_filp->f_flags & O_NONBLOCK;
}

static ssize_t channel_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	return write_messages(iocb->ki_filp->private_data, from, iocb_nonblock(iocb));
}

static ssize_t channel_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	return read_messages(iocb->ki_filp->private_data, to, iocb_nonblock(iocb));
}

/* ioctls */

static int transfer_get(struct chanfd_transfer *t, struct how *how,
			struct file *file, unsigned int cmd, void __user *arg)
{
	int err = CHANFD_GET_ARG(t, seq, cmd, arg);

	if (err)
		return err;
	if (t->flags & ~CHANFD_NONBLOCK || !t->count || t->count > CHANFD_MAX_BATCH)
		return -EINVAL;
	how->nonblock = t->flags & CHANFD_NONBLOCK || file->f_flags & O_NONBLOCK;
	how->deadline = chanfd_deadline(t->deadline);
	return 0;
}

/* The sizes of the messages of a batch, where they vary. */
static u32 *transfer_sizes(const struct channel *ch, const struct chanfd_transfer *t)
{
	u32 *sizes;

	if (!t->sizes) {
		if (ch->variable && t->count > 1)
			return ERR_PTR(-EINVAL);
		return NULL;
	}
	if (!ch->variable)
		return ERR_PTR(-EINVAL);
	sizes = kcalloc(t->count, sizeof(u32), GFP_KERNEL_ACCOUNT);
	return sizes ?: ERR_PTR(-ENOMEM);
}

static int check_sizes(const struct channel *ch, const struct chanfd_transfer *t,
		       u32 *sizes)
{
	u64 total = 0;
	u32 i;

	if (!ch->variable)
		return t->size == (u64)t->count * ch->elem_size ? 0 : -EMSGSIZE;
	if (!sizes)
		return size_fits(ch, t->size) ? 0 : -EMSGSIZE;
	if (copy_from_user(sizes, u64_to_user_ptr(t->sizes), t->count * sizeof(u32)))
		return -EFAULT;
	for (i = 0; i < t->count; i++) {
		if (!size_fits(ch, sizes[i]))
			return -EMSGSIZE;
		total += sizes[i];
	}
	return total == t->size ? 0 : -EMSGSIZE;
}

static int channel_send(struct file *file, unsigned int cmd, void __user *arg)
{
	struct channel *ch = file->private_data;
	struct chanfd_waiter w = { .obj = &ch->obj, .ops = &send_ops };
	struct chanfd_waiter limit __uninitialized;
	struct chanfd_transfer t;
	struct iov_iter from;
	struct iovec iov;
	struct how how;
	u32 *sizes;
	int ret;

	ret = transfer_get(&t, &how, file, cmd, arg);
	if (ret)
		return ret;
	sizes = transfer_sizes(ch, &t);
	if (IS_ERR(sizes))
		return PTR_ERR(sizes);
	ret = check_sizes(ch, &t, sizes);
	if (ret)
		goto out_free;
	how.context = chanfd_limit_get(&limit, t.context);
	if (IS_ERR(how.context)) {
		ret = PTR_ERR(how.context);
		goto out_free;
	}
	w.count = t.count;
	iov = (struct iovec){ u64_to_user_ptr(t.buf), t.size };
	iov_iter_init(&from, ITER_SOURCE, &iov, 1, t.size);
	ret = send_from(&w, &from, sizes ?: ch->variable ? &t.size : NULL, &how);
	chanfd_limit_put(how.context);
	if (ret > 0) {
		/* Sent is sent: a bad pointer takes nothing back. */
		t.seq = w.number;
		CHANFD_PUT_ARG(&t, cmd, arg);
	}
out_free:
	kfree(sizes);
	return ret;
}

static int channel_recv(struct file *file, unsigned int cmd, void __user *arg)
{
	struct channel *ch = file->private_data;
	struct chanfd_waiter w = { .obj = &ch->obj, .ops = &recv_ops };
	struct chanfd_waiter limit __uninitialized;
	struct chanfd_transfer t;
	struct how how;
	u32 *sizes;
	int ret;

	ret = transfer_get(&t, &how, file, cmd, arg);
	if (ret)
		return ret;
	if (t.buf && !ch->variable && t.size < ch->elem_size)
		return -EMSGSIZE;
	/* Results that have nowhere to go are found before a message is taken. */
	if (CHANFD_PUT_ARG(&t, cmd, arg))
		return -EFAULT;
	sizes = transfer_sizes(ch, &t);
	if (IS_ERR(sizes))
		return PTR_ERR(sizes);
	if (sizes && clear_user(u64_to_user_ptr(t.sizes), t.count * sizeof(u32))) {
		ret = -EFAULT;
		goto out_free;
	}
	how.context = chanfd_limit_get(&limit, t.context);
	if (IS_ERR(how.context)) {
		ret = PTR_ERR(how.context);
		goto out_free;
	}
	w.count = t.count;
	w.recv.buf = u64_to_user_ptr(t.buf);
	w.recv.room = t.size;
	w.recv.sizes = sizes;
	if (t.buf && !ch->variable && ch->elem_size)
		w.count = min(w.count, t.size / ch->elem_size);
	ret = recv_some(&w, &how);
	chanfd_limit_put(how.context);
	if (ret >= 0) {
		t.size = w.recv.bytes;
		t.seq = w.number;
		if (sizes && copy_to_user(u64_to_user_ptr(t.sizes), sizes, ret * sizeof(u32)))
			goto out_free;	/* unmapped meanwhile; received is received */
		CHANFD_PUT_ARG(&t, cmd, arg);
	}
out_free:
	kfree(sizes);
	return ret;
}

struct end {
	int send_error;
	int recv_error;
};

static void end_outcome(struct chanfd_waiter *w, const void *arg)
{
	const struct end *end = arg;

	w->error = w->ops == &send_ops ? end->send_error : end->recv_error;
}

/* The channel has ended one way or another: nobody waits any longer. */
static void end_waits(struct channel *ch, struct chanfd_queue *q, const struct end *end)
{
	chanfd_release_all(&ch->obj, &q->list, end_outcome, end);
}

static void wake_all_pollers(struct channel *ch)
{
	wake_readable(ch, 0);
	wake_writable(ch, 0);
}

static int channel_close(struct channel *ch, unsigned int cmd, void __user *arg)
{
	struct chanfd_close c;
	struct end end;
	bool won;
	int err;

	err = CHANFD_GET_ARG(&c, reserved, cmd, arg);
	if (err)
		return err;
	if (c.reserved || c.cause < 0 || c.cause > MAX_ERRNO)
		return -EINVAL;
	spin_lock(&ch->obj.lock);
	won = !ch->closed;
	if (won) {
		ch->closed = true;
		ch->cause = c.cause;
	}
	spin_unlock(&ch->obj.lock);
	if (!won)
		return -EPIPE;
	end.send_error = -EPIPE;
	end.recv_error = -c.cause;
	end_waits(ch, &ch->receivers, &end);
	end_waits(ch, &ch->senders, &end);
	wake_all_pollers(ch);
	return 0;
}

/* No receiver will come again: the messages have nowhere to go. */
static void purge(struct channel *ch)
{
	struct chanfd_message *msg, *next;
	LIST_HEAD(dropped);

	spin_lock(&ch->obj.lock);
	list_splice_init(&ch->boxes, &dropped);
	ch->dropped += length(ch);
	ch->nr_boxes = 0;
	ch->used = 0;
	spin_unlock(&ch->obj.lock);
	list_for_each_entry_safe(msg, next, &dropped, node) {
		kvfree(msg);
		cond_resched();
	}
}

static void channel_abandoned(struct chanfd_object *obj, u32 rights)
{
	static const struct end end = { -ECONNRESET, -ECONNRESET };
	struct channel *ch = to_channel(obj);

	if (rights & CHANFD_READ) {
		end_waits(ch, &ch->senders, &end);
		purge(ch);
	}
	if (rights & CHANFD_WRITE)
		end_waits(ch, &ch->receivers, &end);
	wake_all_pollers(ch);
}

static int channel_get_info(struct channel *ch, unsigned int cmd, void __user *arg)
{
	struct chanfd_channel_info info = {
		.flags = ch->variable ? CHANFD_VARIABLE : 0,
		.elem_size = ch->elem_size,
		.capacity = ch->capacity,
	};

	if (_IOC_SIZE(cmd) < sizeof(info))
		return -ENOTTY;
	spin_lock(&ch->obj.lock);
	info.len = length(ch);
	info.cause = ch->cause;
	info.senders = ch->obj.writers;
	info.receivers = ch->obj.readers;
	info.waiting_senders = ch->senders.len;
	info.waiting_receivers = ch->receivers.len;
	info.sent = ch->sent;
	info.received = ch->received;
	info.returned = ch->returned;
	info.dropped = ch->dropped;
	if (ch->closed)
		info.state |= CHANFD_CLOSED;
	spin_unlock(&ch->obj.lock);
	if (!info.senders)
		info.state |= CHANFD_NO_SENDERS;
	if (!info.receivers)
		info.state |= CHANFD_NO_RECEIVERS;
	return CHANFD_PUT_ARG(&info, cmd, arg);
}

static long channel_ioctl(struct file *file, unsigned int cmd, unsigned long uarg)
{
	struct channel *ch = file->private_data;
	void __user *arg = (void __user *)uarg;

	switch (CHANFD_CMD(cmd)) {
	case CHANFD_CMD(CHANFD_IOC_SEND):
		return file->f_mode & FMODE_WRITE ? channel_send(file, cmd, arg) : -EPERM;
	case CHANFD_CMD(CHANFD_IOC_RECV):
		return file->f_mode & FMODE_READ ? channel_recv(file, cmd, arg) : -EPERM;
	case CHANFD_CMD(CHANFD_IOC_CLOSE):
		return file->f_mode & FMODE_WRITE ? channel_close(ch, cmd, arg) : -EPERM;
	case CHANFD_CMD(CHANFD_IOC_CHANNEL_INFO):
		return channel_get_info(ch, cmd, arg);
	}
	return chanfd_handle_ioctl(file, cmd, arg);
}

static __poll_t channel_poll(struct file *file, poll_table *table)
{
	struct channel *ch = file->private_data;
	__poll_t events = 0;

	if (file->f_mode & FMODE_READ)
		poll_wait(file, &ch->readable, table);
	if (file->f_mode & FMODE_WRITE)
		poll_wait(file, &ch->writable, table);
	spin_lock(&ch->obj.lock);
	if (file->f_mode & FMODE_READ)
		events |= read_events(ch);
	if (file->f_mode & FMODE_WRITE)
		events |= write_events(ch);
	spin_unlock(&ch->obj.lock);
	return events;
}

static void channel_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct channel *ch = file->private_data;
	u32 len, senders, receivers;
	const char *state = "open";

	spin_lock(&ch->obj.lock);
	len = length(ch);
	senders = ch->senders.len;
	receivers = ch->receivers.len;
	if (ch->closed)
		state = "closed";
	else if (!ch->obj.writers || !ch->obj.readers)
		state = "orphaned";
	spin_unlock(&ch->obj.lock);
	chanfd_show_object(m, file, &ch->obj);
	seq_printf(m, "chanfd-elem-size:\t%u%s\n", ch->elem_size,
		   ch->variable ? " variable" : "");
	seq_printf(m, "chanfd-capacity:\t%u\n", ch->capacity);
	seq_printf(m, "chanfd-len:\t%u\n", len);
	seq_printf(m, "chanfd-state:\t%s\n", state);
	seq_printf(m, "chanfd-waiting:\t%u senders %u receivers\n", senders, receivers);
}

const struct file_operations chanfd_channel_fops = {
	CHANFD_HANDLE_FOPS,
	.read		= channel_read,
	.write		= channel_write,
	.read_iter	= channel_read_iter,
	.write_iter	= channel_write_iter,
	.poll		= channel_poll,
	.unlocked_ioctl	= channel_ioctl,
	.show_fdinfo	= channel_show_fdinfo,
};

static void channel_free(struct chanfd_object *obj)
{
	struct channel *ch = to_channel(obj);

	purge(ch);
	kvfree(ch->ring);
	kfree(ch);
}

const struct chanfd_type chanfd_channel_type = {
	.number		= CHANFD_TYPE_CHANNEL,
	.name		= "channel",
	.file_name	= "[chanfd-channel]",
	.fops		= &chanfd_channel_fops,
	.abandoned	= channel_abandoned,
	.free		= channel_free,
};

static struct channel *channel_new(const struct chanfd_channel *c)
{
	bool variable = c->flags & CHANFD_VARIABLE;
	bool boxed = variable || c->elem_size > CHANFD_SLOT_MAX;
	size_t bytes = (size_t)c->capacity * c->elem_size;
	struct channel *ch;
	int err;

	ch = kzalloc(sizeof(*ch), GFP_KERNEL_ACCOUNT);
	if (!ch)
		return ERR_PTR(-ENOMEM);
	ch->elem_size = c->elem_size;
	ch->capacity = c->capacity;
	ch->variable = variable;
	ch->boxed = boxed;
	INIT_LIST_HEAD(&ch->boxes);
	chanfd_queue_init(&ch->senders);
	chanfd_queue_init(&ch->receivers);
	init_waitqueue_head(&ch->readable);
	init_waitqueue_head(&ch->writable);
	err = chanfd_object_init(&ch->obj, &chanfd_channel_type, c->name, bytes);
	if (err)
		goto out_free;
	if (!boxed && bytes) {
		ch->ring = kvmalloc(bytes, GFP_KERNEL_ACCOUNT);
		if (!ch->ring) {
			chanfd_object_release(&ch->obj);
			err = -ENOMEM;
			goto out_free;
		}
	}
	return ch;

out_free:
	kfree(ch);
	return ERR_PTR(err);
}

long chanfd_channel_create(unsigned int cmd, void __user *arg)
{
	struct chanfd_channel c;
	struct channel *ch;
	int err;

	err = CHANFD_GET_ARG(&c, id, cmd, arg);
	if (err)
		return err;
	if (c.flags & ~CHANNEL_FLAGS || c.reserved ||
	    c.elem_size > CHANFD_MAX_MESSAGE || c.capacity > CHANFD_MAX_CAPACITY ||
	    (c.flags & CHANFD_VARIABLE && !c.elem_size))
		return -EINVAL;
	ch = channel_new(&c);
	if (IS_ERR(ch))
		return PTR_ERR(ch);
	return CHANFD_PUBLISH(&ch->obj, CHANFD_READ | CHANFD_WRITE, &c, cmd, arg);
}
