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
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "chan.h"

/* A batch of more bytes is cut short: copies are made under the lock. Nor does a select
 * hold more than that.
 */
#define BATCH_BYTES	CHANFD_MAX_BYTES

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

/*
 * io_uring believes what a wakeup says and does not ask again: it must say what
 * is so. Context: no locks held.
 */
void chanfd_tell_readable(struct channel *ch, int nr)
{
	__poll_t events;

	spin_lock(&ch->obj.lock);
	events = channel_read_events(ch);
	spin_unlock(&ch->obj.lock);
	if (events)
		chanfd_wake_pollers(&ch->readable, nr, events);
}

void chanfd_tell_writable(struct channel *ch, int nr)
{
	__poll_t events;

	spin_lock(&ch->obj.lock);
	events = channel_write_events(ch);
	spin_unlock(&ch->obj.lock);
	if (events)
		chanfd_wake_pollers(&ch->writable, nr, events);
}

/* @nr messages were taken; the last one of a closed channel is its hangup. */
static void wake_after_receive(struct channel *ch, int nr)
{
	chanfd_wake_writable(ch, nr);
	/* A hint: whoever takes the last message sees both. */
	if (data_race(ch->closed && !length(ch)))
		chanfd_wake_readable(ch, 0);
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
		chanfd_wake_readable(ch, news);
	return 0;
}

const struct chanfd_waiter_ops chanfd_send_ops = {
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
	wake_after_receive(ch, 1);
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
		chanfd_wake_writable(ch, 1);	/* a committed receiver (C35) */
	}
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

const struct chanfd_waiter_ops chanfd_recv_ops = {
	.ready = recv_ready,
	.attempt = recv_attempt,
	.fault_in = recv_fault_in,
};

/* A message that its receiver could not take is the next again: the receiver has its
 * handle open, so the channel has a reader.
 */
static void return_message(struct channel *ch, struct chanfd_message *msg)
{
	struct chanfd_waiter *r;
	struct list_head *pos;
	LIST_HEAD(claimed);

	spin_lock(&ch->obj.lock);
	ch->received--;
	ch->returned++;
	list_for_each(pos, &ch->boxes)
		if (list_entry(pos, struct chanfd_message, node)->seq > msg->seq)
			break;
	list_add_tail(&msg->node, pos);
	ch->nr_boxes++;
	while (length(ch) && (r = chanfd_claim_first(&ch->receivers, NULL))) {
		take(ch, r);
		chanfd_claim_end(r, NULL, &claimed);
	}
	spin_unlock(&ch->obj.lock);
	chanfd_wake(&claimed);
	chanfd_wake_readable(ch, 1);
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

/* Fills one box from where the caller has its messages. */
static int load_box(struct chanfd_waiter *w, struct iov_iter *from, u32 size)
{
	struct chanfd_message *msg;

	msg = kvmalloc(struct_size(msg, data, size), GFP_KERNEL_ACCOUNT);
	if (!msg)
		return -ENOMEM;
	msg->size = size;
	list_add_tail(&msg->node, &w->send.msgs);
	w->send.bytes += struct_size(msg, data, size);
	return copy_from_iter_full(msg->data, size, from) ? 0 : -EFAULT;
}

/**
 * chanfd_send_case() - a select's case that sends
 * @w: the case
 * @buf: where the caller has the message; it is copied in
 * @size: its bytes
 *
 * Return: 0, %-EMSGSIZE, %-E2BIG (all cases together), %-EFAULT or %-ENOMEM. Undone
 * by chanfd_send_unload().
 */
int chanfd_send_case(struct chanfd_waiter *w, const void __user *buf, u32 size)
{
	struct iovec iov = { (void __user *)buf, size };
	struct iov_iter from;
	int err;

	w->ops = &chanfd_send_ops;
	INIT_LIST_HEAD(&w->send.msgs);
	if (!size_fits(to_channel(w->obj), size))
		return -EMSGSIZE;
	w->call->bytes += size;
	if (w->call->bytes > BATCH_BYTES)
		return -E2BIG;
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

	w->ops = &chanfd_recv_ops;
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

static noinline int wait_to_send(struct chanfd_waiter *w, const struct how *how)
{
	struct chanfd_call call = {
		.waiters = w,
		.nr = 1,
		.bytes = w->send.bytes,
		.deadline = how->deadline,
		.context = how->context,
	};

	w->call = &call;
	return chanfd_call_wait(&call) ?: w->error;
}

/* Sends up to @w->count messages; how many it were. */
int chanfd_send_some(struct chanfd_waiter *w, const struct how *how)
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
int chanfd_recv_some(struct chanfd_waiter *w, const struct how *how)
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
		ret = chanfd_send_some(w, how);
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
	w->send.bytes = size;
	if (copy_from_iter_full(copy, size, from))
		ret = chanfd_send_some(w, how);
	if (copy != small)
		kvfree(copy);
	return ret;
}

/*
 * What a send comes to most of the time: one slot is filled, and nobody waits.
 * False if it is not so.
 */
bool chanfd_send_at_once(struct channel *ch, const void *data)
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
		chanfd_wake_readable(ch, 1);
	return sent;
}

/* And a receive: one slot is emptied, and nobody waits. */
bool chanfd_recv_at_once(struct channel *ch, void __user *buf)
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
int chanfd_send_from(struct chanfd_waiter *w, struct iov_iter *from, const u32 *sizes,
		     const struct how *how)
{
	if (to_channel(w->obj)->boxed)
		return send_boxes(w, from, sizes, how);
	return send_slots(w, from, how);
}
