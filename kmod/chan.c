// SPDX-License-Identifier: GPL-2.0
/*
 * Channels.
 *
 * Overview
 *
 * A channel is one FIFO of messages with a queue of waiting senders behind it
 * and a queue of waiting receivers in front:
 *
 *	senders -> ring or boxes -> messages that came back -> receivers
 *
 * Messages of a fixed small size live in the slots of a ring; others each have a
 * box (struct chanfd_message) that changes hands by pointer. A message can come back
 * to the front, in a box: from a receiver that had been given it while it slept, and
 * then could not take it, or from a lease.
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
 * faulted in, and everything starts again. But a message with files, or to be leased,
 * is taken out first (see taken.c).
 *
 * A channel has three ends that are told apart: closed by a sender, orphaned
 * when the last handle of the other side is gone, and open.
 *
 * Locking: everything below is under obj.lock but what is said to be immutable.
 */

#include <linux/kernel.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "chan.h"

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

/* Whoever paid so far does not any more. @payer is charged already; or NULL. */
void chanfd_message_pay(struct chanfd_message *msg, struct chanfd_user *payer)
{
	if (msg->payer)
		chanfd_user_uncharge(msg->payer, 0, chanfd_message_bytes(msg));
	msg->payer = payer;
}

void chanfd_message_free(struct chanfd_message *msg)
{
	chanfd_message_pay(msg, NULL);
	if (msg->parcel)
		chanfd_parcel_free(msg->parcel);
	kvfree(msg);
}

/* They may be many. Context: no locks held. */
void chanfd_messages_free(struct list_head *msgs)
{
	struct chanfd_message *msg, *next;

	list_for_each_entry_safe(msg, next, msgs, node) {
		chanfd_message_free(msg);
		cond_resched();
	}
}

/* A sender's next message in a box of its own. */
static struct chanfd_message *unload_box(struct channel *ch, struct chanfd_waiter *s)
{
	struct chanfd_message *msg;

	msg = list_first_entry(&s->send.msgs, struct chanfd_message, node);
	list_del(&msg->node);
	msg->seq = ch->sent;
	msg->redelivered = 0;
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
		struct chanfd_message *msg = unload_box(ch, s);

		list_add_tail(&msg->node, &ch->boxes);
		ch->nr_boxes++;
		ch->files += chanfd_files(msg);
	} else {
		n = min3(s->count - s->moved, room(ch), ch->capacity - tail(ch));
		memcpy(slot(ch, tail(ch)), s->send.data, (size_t)n * ch->elem_size);
		ch->used += n;
	}
	accepted(ch, s, n);
}

/* The receiver @r gets messages from @seq on. */
static void consumed(struct channel *ch, struct chanfd_waiter *r, u64 seq, u32 n)
{
	if (!r->moved)
		r->number = seq;
	r->moved += n;
	if (r->recv.taken)
		ch->leased += n;
	else
		ch->received += n;
}

static void give_box(struct channel *ch, struct chanfd_waiter *r, struct chanfd_message *msg)
{
	consumed(ch, r, msg->seq, 1);
	if (r->recv.taken) {
		list_add_tail(&msg->node, &r->recv.taken->msgs);
		r->recv.bytes += msg->size;
	} else {
		r->call->msg = msg;
	}
}

static void give_slot(struct channel *ch, struct chanfd_waiter *r, const void *data, u64 seq)
{
	struct chanfd_message *msg;

	if (r->recv.taken) {
		msg = list_first_entry(&r->recv.taken->spare, struct chanfd_message, node);
		list_del(&msg->node);
		memcpy(msg->data, data, ch->elem_size);
		msg->seq = seq;
		give_box(ch, r, msg);
	} else {
		memcpy(r->call->slot, data, ch->elem_size);
		r->call->filled = true;
		consumed(ch, r, seq, 1);
	}
}

/* A sender's next message goes whole to the receiver @r: to its call, or taken out. */
static void hand_over(struct channel *ch, struct chanfd_waiter *s, struct chanfd_waiter *r)
{
	if (ch->boxed)
		give_box(ch, r, unload_box(ch, s));
	else
		give_slot(ch, r, s->send.data, ch->sent);
	accepted(ch, s, 1);
}

/* The first message of the FIFO if it has a box. */
static struct chanfd_message *first_box(const struct channel *ch)
{
	struct rb_node *back = rb_first_cached(&ch->back);

	if (back)
		return rb_entry(back, struct chanfd_message, back);
	return list_first_entry(&ch->boxes, struct chanfd_message, node);
}

static struct chanfd_message *take_box(struct channel *ch)
{
	struct chanfd_message *msg = first_box(ch);

	if (RB_EMPTY_ROOT(&ch->back.rb_root))
		list_del(&msg->node);
	else
		rb_erase_cached(&msg->back, &ch->back);
	ch->nr_boxes--;
	ch->files -= chanfd_files(msg);
	return msg;
}

/* The first message of the FIFO, likewise. */
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
	return recv_looks_ready(to_channel(w->obj));
}

/**
 * chanfd_copy_out() - copy the next message out, without consuming it
 * @w: who receives it
 * @data: the message
 * @size: its bytes
 *
 * Return: 0, %-EMSGSIZE, %-EFAULT; then nothing was written, or who cares.
 */
int chanfd_copy_out(struct chanfd_waiter *w, const void *data, u32 size)
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

/* The same under a lock: where memory is not present, the bytes to be made so. */
static int copy_out_atomic(struct chanfd_waiter *w, const void *data, u32 size)
{
	int err;

	pagefault_disable();
	err = chanfd_copy_out(w, data, size);
	pagefault_enable();
	return err == -EFAULT ? size : err;
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
		msg = first_box(ch);
		err = copy_out_atomic(w, msg->data, msg->size);
		if (err)
			return err;
		if (!w->moved)
			w->redelivered = msg->redelivered;
		consumed(ch, w, msg->seq, 1);
		w->recv.bytes += msg->size;
		list_add_tail(&take_box(ch)->node, emptied);
		return 0;
	}
	n = min3(w->count - w->moved, ch->used, ch->capacity - ch->head);
	bytes = n * ch->elem_size;
	err = copy_out_atomic(w, slot(ch, ch->head), bytes);
	if (err)
		return err;
	consumed(ch, w, ch->sent - ch->used, n);
	w->recv.bytes += bytes;
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
	consumed(ch, w, seq, 1);
	w->recv.bytes += size;
	return 0;
}

/* Is there a place for a message that is to be taken out? */
static int check_room(const struct chanfd_waiter *w, const struct chanfd_message *msg, u32 size)
{
	size_t room = w->recv.iter ? iov_iter_count(w->recv.iter) : w->recv.room;

	if ((w->recv.iter || w->recv.buf) && size > room - w->recv.bytes)
		return -EMSGSIZE;
	return !msg || chanfd_files_fit(w, msg) ? 0 : -EMSGSIZE;
}

/* The first message of the FIFO is taken out. */
static int take_first(struct channel *ch, struct chanfd_waiter *w)
{
	const struct chanfd_message *msg = ch->nr_boxes ? first_box(ch) : NULL;
	int err = check_room(w, msg, msg ? msg->size : ch->elem_size);

	if (!err)
		take(ch, w);
	return err;
}

/* The same for the next message of the sender @s, whose call is claimed. */
static int take_from(struct channel *ch, struct chanfd_waiter *w, struct chanfd_waiter *s)
{
	const struct chanfd_message *msg = NULL;
	int err;

	if (ch->boxed)
		msg = list_first_entry(&s->send.msgs, struct chanfd_message, node);
	err = check_room(w, msg, msg ? msg->size : ch->elem_size);
	if (!err)
		hand_over(ch, s, w);
	return err;
}

/* All that can be had at once, for a call that nobody else can fire. */
static int recv_private(struct channel *ch, struct chanfd_waiter *w,
			struct list_head *claimed, struct list_head *emptied)
{
	struct chanfd_waiter *s;
	int err = 0;

	/* A batch of more bytes is cut short: copies are made under the lock. */
	while (w->moved < w->count && w->recv.bytes < CHANFD_MAX_BYTES) {
		if (length(ch)) {
			err = w->recv.taken ? take_first(ch, w) : recv_first(ch, w, emptied);
			if (err)
				break;
			refill(ch, claimed);
			continue;
		}
		s = ch->senders.len ? chanfd_claim_first(&ch->senders, w) : NULL;
		if (!s)
			break;
		err = w->recv.taken ? take_from(ch, w, s) : recv_from(ch, w, s, emptied);
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
	chanfd_messages_free(&emptied);
	return err;
}

static int recv_attempt(struct chanfd_waiter *w, bool park)
{
	struct channel *ch = to_channel(w->obj);

	if (!park)
		return recv_now(ch, w);
	spin_lock(&ch->obj.lock);
	if (recv_looks_ready(ch)) {
		recv_parked(ch, w);
	} else {
		chanfd_park(&ch->receivers, w);
		spin_unlock(&ch->obj.lock);
		chanfd_wake_writable(ch, 1);	/* a committed receiver (C35) */
	}
	return 0;
}

/* Makes present what copy_out_atomic() did not find, if it exists. */
static int recv_fault_in(struct chanfd_waiter *w, size_t bytes)
{
	size_t missing;

	if (w->recv.iter)
		missing = fault_in_iov_iter_writeable(w->recv.iter, bytes);
	else
		missing = fault_in_safe_writeable(w->recv.buf + w->recv.bytes, bytes);
	return missing ? -EFAULT : 0;
}

const struct chanfd_waiter_ops chanfd_recv_ops = {
	.ready = recv_ready,
	.attempt = recv_attempt,
	.fault_in = recv_fault_in,
};

static bool is_earlier(struct rb_node *a, const struct rb_node *b)
{
	return rb_entry(a, struct chanfd_message, back)->seq <
	       rb_entry(b, struct chanfd_message, back)->seq;
}

/* Messages of @msgs are the next again. Context: lock held. */
static void put_back(struct channel *ch, struct list_head *msgs)
{
	struct chanfd_message *msg;

	while (!list_empty(msgs)) {
		msg = list_first_entry(msgs, struct chanfd_message, node);
		list_del(&msg->node);
		rb_add_cached(&msg->back, &ch->back, is_earlier);
		ch->nr_boxes++;
		ch->files += chanfd_files(msg);
	}
}

/**
 * chanfd_return() - messages that their receiver did not take, or keep, come back
 * @ch: the channel
 * @msgs: the messages; empty afterwards
 * @n: how many, not more than CHANFD_MAX_BATCH
 * @count: as what they were counted: received or leased
 *
 * Those who wait get them at once. Without a receiver they are dropped.
 *
 * Context: no locks held.
 */
void chanfd_return(struct channel *ch, struct list_head *msgs, u32 n, u64 *count)
{
	struct end end = END_INIT(end);
	struct chanfd_waiter *r;
	LIST_HEAD(claimed);

	spin_lock(&ch->obj.lock);
	*count -= n;
	ch->returned += n;
	if (ch->obj.readers)
		put_back(ch, msgs);
	else
		ch->dropped += n;
	while (length(ch) && (r = chanfd_claim_first(&ch->receivers, NULL))) {
		take(ch, r);
		chanfd_claim_end(r, NULL, &claimed);
	}
	chanfd_end_receivers(ch, &end);
	spin_unlock(&ch->obj.lock);
	chanfd_wake(&claimed);
	chanfd_wake_readable(ch, n);
	chanfd_let_go(ch, &end);
	chanfd_messages_free(msgs);
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
