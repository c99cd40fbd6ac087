// SPDX-License-Identifier: GPL-2.0
/*
 * Calls that send and receive: messages are copied in before anything is tried, and
 * copied out where that was not done under the lock. In between is the FIFO, in chan.c.
 */

#include <linux/kernel.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "chan.h"

/* A box for what is in a call's slot: small, and it must not be lost. */
static struct chanfd_message *box_slot(const struct channel *ch, const struct chanfd_waiter *w)
{
	struct chanfd_message *msg;

	msg = kzalloc(struct_size(msg, data, ch->elem_size),
		      GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
	memcpy(msg->data, w->call->slot, ch->elem_size);
	msg->size = ch->elem_size;
	msg->seq = w->number;
	return msg;
}

static void return_message(struct channel *ch, struct chanfd_message *msg)
{
	LIST_HEAD(msgs);

	list_add(&msg->node, &msgs);
	chanfd_return(ch, &msgs, 1, &ch->received);
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

	if (w->recv.taken)
		return chanfd_taken_finish(w);
	if (!msg && !w->call->filled)
		return w->error;
	size = msg ? msg->size : ch->elem_size;
	w->moved = 0;
	if (fatal_signal_pending(current))
		err = -EINTR;	/* nobody would ever see it */
	else
		err = chanfd_copy_out(w, data, size);
	if (err) {
		return_message(ch, msg ?: box_slot(ch, w));
		return err;
	}
	w->moved = 1;
	w->recv.bytes = size;
	if (msg) {
		w->redelivered = msg->redelivered;
		chanfd_message_free(msg);
	}
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
	msg->payer = NULL;
	msg->parcel = w->send.parcel;
	w->send.parcel = NULL;
	list_add_tail(&msg->node, &w->send.msgs);
	w->send.bytes += struct_size(msg, data, size);
	return copy_from_iter_full(msg->data, size, from) ? 0 : -EFAULT;
}

/**
 * chanfd_send_case() - a select's case that sends
 * @w: the case
 * @p: what; it is copied in
 *
 * Return: 0, %-EMSGSIZE, %-E2BIG (all cases together), %-EFAULT, %-ENOMEM, or what
 * chanfd_parcel_load() returns. Undone by chanfd_send_unload().
 */
int chanfd_send_case(struct chanfd_waiter *w, const struct chanfd_parcel *p)
{
	struct iovec iov = { u64_to_user_ptr(p->buf), p->size };
	struct channel *ch = to_channel(w->obj);
	struct iov_iter from;
	int err;

	w->ops = &chanfd_send_ops;
	INIT_LIST_HEAD(&w->send.msgs);
	if (p->flags || p->lease)
		return -EINVAL;
	if (!size_fits(ch, p->size))
		return -EMSGSIZE;
	w->call->bytes += p->size;
	w->call->kept += sizeof(struct chanfd_message);
	if (w->call->bytes > CHANFD_MAX_BYTES)
		return -E2BIG;
	w->send.parcel = chanfd_parcel_load(ch, u64_to_user_ptr(p->fds), p->nr_fds);
	err = PTR_ERR_OR_ZERO(w->send.parcel);
	if (err) {
		w->send.parcel = NULL;
		return err;
	}
	iov_iter_init(&from, ITER_SOURCE, &iov, 1, p->size);
	err = load_box(w, &from, p->size);
	if (err)
		return err;
	w->send.data = list_first_entry(&w->send.msgs, struct chanfd_message, node)->data;
	chanfd_consider(w, w->ops->ready(w));
	return 0;
}

static int recv_case(struct chanfd_waiter *w, void __user *buf, u32 room)
{
	struct channel *ch = to_channel(w->obj);

	w->ops = &chanfd_recv_ops;
	w->recv.buf = buf;
	w->recv.room = room;
	if (buf && !ch->variable && room < ch->elem_size)
		return -EMSGSIZE;
	return 0;
}

/**
 * chanfd_recv_parcel_case() - a select's case that receives more than bytes
 * @w: the case
 * @p: where the message goes
 * @told: where the rest goes; NULL if nobody asks
 *
 * Return: 0, %-EMSGSIZE, or what chanfd_taken_prepare() returns. Undone by
 * chanfd_recv_unload().
 */
int chanfd_recv_parcel_case(struct chanfd_waiter *w, const struct chanfd_parcel *p,
			    struct chanfd_parcel __user *told)
{
	struct taken *t;
	int err;

	err = recv_case(w, u64_to_user_ptr(p->buf), p->size);
	if (err)
		return err;
	t = kzalloc(sizeof(*t), GFP_KERNEL_ACCOUNT);
	if (!t)
		return -ENOMEM;
	t->fds = u64_to_user_ptr(p->fds);
	t->room = p->nr_fds;
	t->parcel = told;
	w->call->kept += sizeof(*t) + sizeof(struct chanfd_message) + CHANFD_SLOT_MAX;
	w->recv.taken = t;
	err = chanfd_taken_prepare(t, w, p->flags, p->lease);
	if (err)
		return err;
	chanfd_consider(w, recv_looks_ready(to_channel(w->obj)));
	return 0;
}

static noinline int recv_case_whole(struct chanfd_waiter *w, void __user *buf, u32 room)
{
	struct chanfd_parcel p = { .buf = (uintptr_t)buf, .size = room };

	return chanfd_recv_parcel_case(w, &p, NULL);
}

/* The same for a message of bytes only. */
int chanfd_recv_case(struct chanfd_waiter *w, void __user *buf, u32 room)
{
	struct channel *ch = to_channel(w->obj);
	int err;

	if (unlikely(ch->fds))
		return recv_case_whole(w, buf, room);
	err = recv_case(w, buf, room);
	if (err)
		return err;
	chanfd_consider(w, recv_looks_ready(ch));
	return 0;
}

/* Of a case that has some to unload: w->recv.taken. */
void chanfd_recv_unload(struct chanfd_waiter *w)
{
	chanfd_taken_put(w->recv.taken);
	kfree(w->recv.taken);
}

/* Tells whether the caller could be told of what its case received. */
int chanfd_recv_settle(struct chanfd_waiter *w, bool told)
{
	return w->recv.taken ? chanfd_taken_settle(w, told) : 0;
}

/* Frees what was not sent. */
void chanfd_send_unload(struct chanfd_waiter *w)
{
	chanfd_messages_free(&w->send.msgs);
	if (w->send.parcel)
		chanfd_parcel_free(w->send.parcel);
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

	chanfd_attempt(w);
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
		err = w->recv.taken ? chanfd_taken_finish(w) : w->error;
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
	for (i = 0; !ret && i < w->count && bytes < CHANFD_MAX_BYTES; i++) {
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

/* Sends what @from holds: @w->count messages, of @sizes if they vary. */
int chanfd_send_from(struct chanfd_waiter *w, struct iov_iter *from, const u32 *sizes,
		     const struct how *how)
{
	if (to_channel(w->obj)->boxed)
		return send_boxes(w, from, sizes, how);
	return send_slots(w, from, how);
}
