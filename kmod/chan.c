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
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "compat.h"
#include "object.h"
#include "wait.h"

/* The largest message that has a slot in the ring, and a copy on the stack. */
#define SLOT_MAX	256

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

static const struct file_operations channel_fops;

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
	n += ch->head;
	return ch->ring + (size_t)(n < ch->capacity ? n : n - ch->capacity) * ch->elem_size;
}

/* The next message of a sender in a box of its own. */
static struct chanfd_message *unload_box(struct chanfd_waiter *s)
{
	struct chanfd_message *msg;

	msg = list_first_entry(&s->send.msgs, struct chanfd_message, node);
	list_del(&msg->node);
	return msg;
}

/* A sender's next message has been accepted. */
static void accept_message(struct channel *ch, struct chanfd_waiter *s)
{
	if (!s->moved++)
		s->number = ch->sent;
	ch->sent++;
	if (!ch->boxed)
		s->send.data += ch->elem_size;
}

/* A sender's next message goes to the end of the FIFO, where there is room. */
static void store(struct channel *ch, struct chanfd_waiter *s)
{
	if (ch->boxed) {
		struct chanfd_message *msg = unload_box(s);

		msg->seq = ch->sent;
		list_add_tail(&msg->node, &ch->boxes);
		ch->nr_boxes++;
	} else {
		memcpy(slot(ch, ch->used), s->send.data, ch->elem_size);
		ch->used++;
	}
	accept_message(ch, s);
}

/* @msg is what the parked receiver @r gets. */
static void give(struct channel *ch, struct chanfd_waiter *r, struct chanfd_message *msg)
{
	r->call->msg = msg;
	r->moved = 1;
	r->number = msg->seq;
	ch->received++;
}

/* The empty box that a parked call carries, filled with a slot's worth. */
static struct chanfd_message *fill(struct channel *ch, struct chanfd_call *call,
				   const void *data, u64 seq)
{
	struct chanfd_message *msg = call->empty;

	call->empty = NULL;
	memcpy(msg->data, data, ch->elem_size);
	msg->size = ch->elem_size;
	msg->seq = seq;
	return msg;
}

/* A sender's next message goes to the parked receiver @r. */
static void hand_over(struct channel *ch, struct chanfd_waiter *s, struct chanfd_waiter *r)
{
	struct chanfd_message *msg;

	if (ch->boxed) {
		msg = unload_box(s);
		msg->seq = ch->sent;
	} else {
		msg = fill(ch, r->call, s->send.data, ch->sent);
	}
	accept_message(ch, s);
	give(ch, r, msg);
}

/* The first message of the FIFO goes to the parked receiver @r. */
static void take(struct channel *ch, struct chanfd_waiter *r)
{
	struct chanfd_message *msg;

	if (ch->nr_boxes) {
		msg = list_first_entry(&ch->boxes, struct chanfd_message, node);
		list_del(&msg->node);
		ch->nr_boxes--;
	} else {
		msg = fill(ch, r->call, slot(ch, 0), ch->sent - ch->used);
		ch->head = ch->head + 1 < ch->capacity ? ch->head + 1 : 0;
		ch->used--;
	}
	give(ch, r, msg);
}

/* There is room: those who wait longest move in. */
static void refill(struct channel *ch, struct list_head *claimed)
{
	struct chanfd_waiter *s;

	while (room(ch) && (s = chanfd_claim_first(&ch->senders, NULL))) {
		do {
			store(ch, s);
		} while (s->moved < s->count && room(ch));
		chanfd_claim_end(s, NULL, claimed);
	}
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
	int stored = 0;
	int err;

	spin_lock(&ch->obj.lock);
	err = send_error(ch);
	if (err) {
		if (chanfd_commit(w))
			w->error = err;
		goto out;
	}
	while (w->moved < w->count && (r = chanfd_claim_first(&ch->receivers, w))) {
		hand_over(ch, w, r);
		chanfd_claim_end(r, w, &claimed);
	}
	while (w->moved < w->count && room(ch) && chanfd_commit(w)) {
		store(ch, w);
		stored++;
	}
	if (park && !w->moved) {
		chanfd_park(&ch->senders, w);
		stored = 1;	/* pollers see a committed sender (C35) */
	}
out:
	spin_unlock(&ch->obj.lock);
	chanfd_wake(&claimed);
	if (stored)
		chanfd_wake_pollers(&ch->readable, stored, EPOLLIN | EPOLLRDNORM);
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
	return data_race(length(ch) || ch->senders.len || at_end(ch));
}

/*
 * Copies the next message out, without consuming it. Context: page faults are
 * off if obj.lock is held, or a claim.
 */
static int copy_out(struct chanfd_waiter *w, const void *data, u32 size)
{
	struct iovec iov = { w->recv.buf, w->recv.room };
	struct iov_iter *to = w->recv.iter, once;
	size_t done;

	if (!to) {
		if (size > w->recv.room && w->recv.buf)
			return -EMSGSIZE;
		if (!w->recv.buf)
			goto out;
		to = &once;
		iov_iter_init(to, ITER_DEST, &iov, 1, w->recv.room);
	} else if (size > iov_iter_count(to)) {
		return -EMSGSIZE;
	}
	done = copy_to_iter(data, size, to);
	if (done < size) {
		iov_iter_revert(to, done);
		return -EFAULT;
	}
out:
	if (w->recv.sizes)
		w->recv.sizes[w->moved] = size;
	return 0;
}

static int copy_out_atomic(struct chanfd_waiter *w, const void *data, u32 size)
{
	int err;

	pagefault_disable();
	err = copy_out(w, data, size);
	pagefault_enable();
	return err;
}

static void consumed(struct channel *ch, struct chanfd_waiter *w, u64 seq, u32 size)
{
	if (!w->moved++)
		w->number = seq;
	w->recv.bytes += size;
	ch->received++;
}

/* The first message of the FIFO goes straight to where the caller wants it. */
static int recv_first(struct channel *ch, struct chanfd_waiter *w, struct list_head *emptied)
{
	struct chanfd_message *msg;
	int err;

	if (ch->nr_boxes) {
		msg = list_first_entry(&ch->boxes, struct chanfd_message, node);
		err = copy_out_atomic(w, msg->data, msg->size);
		if (err)
			return err;
		consumed(ch, w, msg->seq, msg->size);
		list_move_tail(&msg->node, emptied);
		ch->nr_boxes--;
		return 0;
	}
	err = copy_out_atomic(w, slot(ch, 0), ch->elem_size);
	if (err)
		return err;
	consumed(ch, w, ch->sent - ch->used, ch->elem_size);
	ch->head = ch->head + 1 < ch->capacity ? ch->head + 1 : 0;
	ch->used--;
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
	accept_message(ch, s);
	consumed(ch, w, seq, size);
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
		s = chanfd_claim_first(&ch->senders, w);
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

/* One message, into the box that the call carries: it may have fired meanwhile. */
static void recv_parked(struct channel *ch, struct chanfd_waiter *w, struct list_head *claimed)
{
	struct chanfd_waiter *s;

	if (length(ch)) {
		if (chanfd_commit(w)) {
			take(ch, w);
			refill(ch, claimed);
		}
		return;
	}
	s = chanfd_claim_first(&ch->senders, w);
	if (s) {
		hand_over(ch, s, w);
		chanfd_claim_end(s, w, claimed);
	}
}

static int recv_attempt(struct chanfd_waiter *w, bool park)
{
	struct channel *ch = to_channel(w->obj);
	LIST_HEAD(claimed);
	LIST_HEAD(emptied);
	struct chanfd_message *msg, *next;
	int freed, err = 0;

	spin_lock(&ch->obj.lock);
	if (park)
		recv_parked(ch, w, &claimed);
	else
		err = recv_private(ch, w, &claimed, &emptied);
	freed = w->moved;
	if (!err && !w->moved && !w->error && !length(ch)) {
		if (at_end(ch)) {
			if (chanfd_commit(w))
				w->error = end_error(ch);
		} else if (park) {
			chanfd_park(&ch->receivers, w);
			freed = 1;	/* pollers see a committed receiver (C35) */
		}
	}
	spin_unlock(&ch->obj.lock);
	chanfd_wake(&claimed);
	if (freed)
		chanfd_wake_pollers(&ch->writable, freed, EPOLLOUT | EPOLLWRNORM);
	list_for_each_entry_safe(msg, next, &emptied, node)
		chanfd_message_free(msg);
	return err;
}

static int recv_fault_in(struct chanfd_waiter *w)
{
	struct channel *ch = to_channel(w->obj);
	size_t size = ch->elem_size;
	struct iov_iter once, *to = w->recv.iter;
	struct iovec iov = { w->recv.buf, w->recv.room };

	if (!to) {
		to = &once;
		iov_iter_init(to, ITER_DEST, &iov, 1, w->recv.room);
	}
	size = min(size, iov_iter_count(to));
	return fault_in_iov_iter_writeable(to, size) == size ? -EFAULT : 0;
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
	chanfd_wake_pollers(&ch->readable, 1, EPOLLIN | EPOLLRDNORM);
	if (!kept)
		chanfd_message_free(msg);
}

/**
 * chanfd_recv_finish() - give the caller what its parked call received
 * @w: that has fired
 *
 * Return: 0, or what went wrong; then the message is the channel's again.
 */
int chanfd_recv_finish(struct chanfd_waiter *w)
{
	struct chanfd_message *msg = w->call->msg;
	int err;

	if (!msg)
		return w->error;
	w->moved = 0;
	if (fatal_signal_pending(current))
		err = -EINTR;	/* nobody would ever see it */
	else
		err = copy_out(w, msg->data, msg->size);
	if (err) {
		return_message(to_channel(w->obj), msg);
		return err;
	}
	w->moved = 1;
	w->recv.bytes = msg->size;
	chanfd_message_free(msg);
	return 0;
}

void chanfd_send_case(struct chanfd_waiter *w, struct chanfd_call *call)
{
	w->call = call;
	w->ops = &send_ops;
	w->count = 1;
	INIT_LIST_HEAD(&w->send.msgs);
}

void chanfd_recv_case(struct chanfd_waiter *w, struct chanfd_call *call)
{
	struct channel *ch = to_channel(w->obj);

	w->call = call;
	w->ops = &recv_ops;
	w->count = 1;
	if (!ch->boxed)
		call->empty_size = max(call->empty_size, max(ch->elem_size, 1U));
}

/**
 * chanfd_recv_into() - where a select's case wants its message
 * @w: the case
 * @buf: there; NULL for nowhere
 * @room: bytes at @buf
 *
 * Return: 0 or %-EMSGSIZE.
 */
int chanfd_recv_into(struct chanfd_waiter *w, void __user *buf, u32 room)
{
	struct channel *ch = to_channel(w->obj);

	w->recv.buf = buf;
	w->recv.room = room;
	return buf && !ch->variable && room < ch->elem_size ? -EMSGSIZE : 0;
}

/* May a message have this size? */
static bool size_fits(const struct channel *ch, size_t size)
{
	return ch->variable ? size && size <= ch->elem_size : size == ch->elem_size;
}

/* Fills one box from where the caller has its messages. */
static int load_box(struct chanfd_waiter *w, struct iov_iter *from, u32 size)
{
	struct chanfd_message *msg = chanfd_message_new(size);

	if (!msg)
		return -ENOMEM;
	list_add_tail(&msg->node, &w->send.msgs);
	return copy_from_iter_full(msg->data, size, from) ? 0 : -EFAULT;
}

/**
 * chanfd_send_load() - copy the message of a select's case in
 * @w: the case
 * @buf: where the caller has it
 * @size: its bytes
 *
 * Return: 0, %-EMSGSIZE, %-EFAULT or %-ENOMEM. Undone by chanfd_send_unload().
 */
int chanfd_send_load(struct chanfd_waiter *w, const void __user *buf, u32 size)
{
	struct iovec iov = { (void __user *)buf, size };
	struct iov_iter from;
	int err;

	if (!size_fits(to_channel(w->obj), size))
		return -EMSGSIZE;
	iov_iter_init(&from, ITER_SOURCE, &iov, 1, size);
	err = load_box(w, &from, size);
	if (err)
		return err;
	w->send.data = list_first_entry(&w->send.msgs, struct chanfd_message, node)->data;
	return 0;
}

/* Frees the boxes of messages that were not sent. */
void chanfd_send_unload(struct chanfd_waiter *w)
{
	struct chanfd_message *msg, *next;

	list_for_each_entry_safe(msg, next, &w->send.msgs, node)
		chanfd_message_free(msg);
}

/* Sends what @from holds: @w->count messages, with @sizes if they vary. */
static int send_all(struct channel *ch, struct chanfd_call *call, struct chanfd_waiter *w,
		    struct iov_iter *from, const u32 *sizes)
{
	u8 stack[SLOT_MAX], *copy = stack;
	size_t total = (size_t)w->count * ch->elem_size;
	struct chanfd_waiter *fired;
	u32 i, bytes = 0;
	int err = 0;

	if (!ch->boxed) {
		if (total > sizeof(stack)) {
			copy = kvmalloc(total, GFP_KERNEL_ACCOUNT);
			if (!copy)
				return -ENOMEM;
		}
		w->send.data = copy;
		if (!copy_from_iter_full(copy, total, from))
			err = -EFAULT;
	} else {
		for (i = 0; !err && i < w->count && bytes < BATCH_BYTES; i++) {
			u32 size = sizes ? sizes[i] : ch->elem_size;

			err = load_box(w, from, size);
			bytes += size;
		}
		w->count = i;
	}
	if (!err) {
		fired = chanfd_call_run(call);
		err = IS_ERR(fired) ? PTR_ERR(fired) : w->error;
	}
	if (ch->boxed)
		chanfd_send_unload(w);
	else if (copy != stack)
		kvfree(copy);
	return err ?: w->moved;
}

/* Receives up to @w->count messages. */
static int recv_some(struct chanfd_call *call, struct chanfd_waiter *w)
{
	struct chanfd_waiter *fired = chanfd_call_run(call);
	int err;

	if (IS_ERR(fired))
		return PTR_ERR(fired);
	err = chanfd_recv_finish(w);
	return err ?: w->moved;
}

/* read(2) and write(2), and what io_uring makes of them */

static bool iocb_nonblock(struct kiocb *iocb)
{
	return iocb->ki_flags & IOCB_NOWAIT || iocb->ki_filp->f_flags & O_NONBLOCK;
}

static ssize_t channel_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct channel *ch = iocb->ki_filp->private_data;
	size_t size = iov_iter_count(from);
	struct chanfd_waiter w = { .obj = &ch->obj };
	struct chanfd_call call = {
		.waiters = &w,
		.nr = 1,
		.nonblock = iocb_nonblock(iocb),
		.deadline = KTIME_MAX,
	};
	u32 varying = size;
	int moved;

	if (!ch->elem_size)
		return -EMSGSIZE;
	if (!size)
		return 0;
	chanfd_send_case(&w, &call);
	if (ch->variable) {
		if (size > ch->elem_size)
			return -EMSGSIZE;
		moved = send_all(ch, &call, &w, from, &varying);
		return moved < 0 ? moved : size;
	}
	if (size % ch->elem_size)
		return -EMSGSIZE;
	w.count = min_t(size_t, size / ch->elem_size, CHANFD_MAX_BATCH);
	moved = send_all(ch, &call, &w, from, NULL);
	return moved < 0 ? moved : (ssize_t)moved * ch->elem_size;
}

static ssize_t channel_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct channel *ch = iocb->ki_filp->private_data;
	size_t size = iov_iter_count(to);
	struct chanfd_waiter w = { .obj = &ch->obj };
	struct chanfd_call call = {
		.waiters = &w,
		.nr = 1,
		.nonblock = iocb_nonblock(iocb),
		.deadline = KTIME_MAX,
	};
	int moved;

	if (!ch->elem_size)
		return -EMSGSIZE;
	if (!size)
		return 0;
	if (!ch->variable && size < ch->elem_size)
		return -EMSGSIZE;
	chanfd_recv_case(&w, &call);
	w.recv.iter = to;
	if (!ch->variable)
		w.count = min_t(size_t, size / ch->elem_size, CHANFD_MAX_BATCH);
	moved = recv_some(&call, &w);
	return moved < 0 ? moved : (ssize_t)w.recv.bytes;
}

/* ioctls */

static int transfer_get(struct chanfd_transfer *t, struct chanfd_call *call,
			struct file *file, unsigned int cmd, void __user *arg)
{
	int err = CHANFD_GET_ARG(t, seq, cmd, arg);

	if (err)
		return err;
	if (t->flags & ~CHANFD_NONBLOCK || !t->count || t->count > CHANFD_MAX_BATCH)
		return -EINVAL;
	call->nonblock = t->flags & CHANFD_NONBLOCK || file->f_flags & O_NONBLOCK;
	call->deadline = chanfd_deadline(t->deadline);
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
	struct chanfd_waiter w = { .obj = &ch->obj };
	struct chanfd_call call = { .waiters = &w, .nr = 1 };
	struct chanfd_waiter limit;
	struct chanfd_transfer t;
	struct iov_iter from;
	struct iovec iov;
	u32 *sizes;
	int ret;

	ret = transfer_get(&t, &call, file, cmd, arg);
	if (ret)
		return ret;
	sizes = transfer_sizes(ch, &t);
	if (IS_ERR(sizes))
		return PTR_ERR(sizes);
	ret = check_sizes(ch, &t, sizes);
	if (ret)
		goto out_free;
	ret = chanfd_limit_get(&limit, &call, t.context);
	if (ret)
		goto out_free;
	chanfd_send_case(&w, &call);
	w.count = t.count;
	iov = (struct iovec){ u64_to_user_ptr(t.buf), t.size };
	iov_iter_init(&from, ITER_SOURCE, &iov, 1, t.size);
	ret = send_all(ch, &call, &w, &from, sizes ?: ch->variable ? &t.size : NULL);
	chanfd_limit_put(&limit);
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
	struct chanfd_waiter w = { .obj = &ch->obj };
	struct chanfd_call call = { .waiters = &w, .nr = 1 };
	struct chanfd_waiter limit;
	struct chanfd_transfer t;
	struct iov_iter to;
	struct iovec iov;
	u32 *sizes;
	int ret;

	ret = transfer_get(&t, &call, file, cmd, arg);
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
	ret = chanfd_limit_get(&limit, &call, t.context);
	if (ret)
		goto out_free;
	chanfd_recv_case(&w, &call);
	w.count = t.count;
	w.recv.sizes = sizes;
	if (t.buf) {
		iov = (struct iovec){ u64_to_user_ptr(t.buf), t.size };
		iov_iter_init(&to, ITER_DEST, &iov, 1, t.size);
		w.recv.iter = &to;
		if (!ch->variable && ch->elem_size)
			w.count = min(w.count, t.size / ch->elem_size);
	}
	ret = recv_some(&call, &w);
	chanfd_limit_put(&limit);
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
	chanfd_wake_pollers(&ch->readable, 0, EPOLLIN | EPOLLRDNORM | EPOLLHUP | EPOLLERR);
	chanfd_wake_pollers(&ch->writable, 0, EPOLLOUT | EPOLLWRNORM | EPOLLERR);
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
		chanfd_message_free(msg);
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
	if (file->f_mode & FMODE_READ) {
		if (length(ch) || ch->senders.len || at_end(ch))
			events |= EPOLLIN | EPOLLRDNORM;
		if (!ch->obj.writers && !ch->closed)
			events |= EPOLLERR;
	}
	if (file->f_mode & FMODE_WRITE) {
		if (room(ch) || ch->receivers.len || send_error(ch))
			events |= EPOLLOUT | EPOLLWRNORM;
		if (!ch->obj.readers)
			events |= EPOLLERR;
	}
	if (ch->closed && !length(ch))
		events |= EPOLLHUP;
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

static const struct file_operations channel_fops = {
	CHANFD_HANDLE_FOPS,
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
	.fops		= &channel_fops,
	.abandoned	= channel_abandoned,
	.free		= channel_free,
};

static struct channel *channel_new(const struct chanfd_channel *c)
{
	bool variable = c->flags & CHANFD_VARIABLE;
	bool boxed = variable || c->elem_size > SLOT_MAX;
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
