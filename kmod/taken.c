// SPDX-License-Identifier: GPL-2.0
/*
 * Messages that are taken out of a channel whole, before they are copied.
 *
 * A message with files can't be copied under the channel's lock: descriptors are made for
 * its receiver. And one that is leased stays in its box anyway. So such a receive takes
 * messages out, and then tries all that can fail: copies, descriptors, the lease. In the
 * end it either keeps them, or they go back to the front of the channel as they were.
 *
 * Until then they count as leased, so a closed channel is not at its end meanwhile.
 */

#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "chan.h"

/* Boxes for what may come out of slots: one, or as many as there seem to be. */
static int prepare_spare(struct taken *t, struct chanfd_waiter *w)
{
	struct channel *ch = to_channel(w->obj);
	/* A guess: with fewer boxes than messages it is a smaller batch. */
	u32 n = clamp_t(u32, data_race(length(ch)), 1, w->count);
	struct chanfd_message *msg;
	u32 i;

	for (i = 0; i < n; i++) {
		msg = kzalloc(struct_size(msg, data, ch->elem_size), GFP_KERNEL_ACCOUNT);
		if (!msg)
			return -ENOMEM;
		msg->size = ch->elem_size;
		list_add(&msg->node, &t->spare);
	}
	w->count = n;
	return 0;
}

/**
 * chanfd_taken_prepare() - before a receive that takes messages out whole
 * @t: filled in as to where files go
 * @w: the receive, filled in
 * @flags: CHANFD_LEASED or 0
 * @lease: with it, a lease to add to, or -1; else 0
 *
 * Return: 0, %-EINVAL, %-EBADF, %-EFAULT, %-ENOMEM. In any case undone by
 * chanfd_taken_put().
 */
int chanfd_taken_prepare(struct taken *t, struct chanfd_waiter *w, u32 flags, s32 lease)
{
	struct channel *ch = to_channel(w->obj);

	INIT_LIST_HEAD(&t->msgs);
	INIT_LIST_HEAD(&t->spare);
	t->leased = flags & CHANFD_LEASED;
	t->lease_fd = -1;
	if (flags & ~CHANFD_LEASED || (lease && !t->leased) || (t->room && !ch->fds))
		return -EINVAL;
	t->room = min(t->room, CHANFD_MAX_FDS);
	if (t->room && fault_in_safe_writeable((void __user *)t->fds, t->room * sizeof(s32)))
		return -EFAULT;
	if (t->leased && lease != -1) {
		struct file *file = chanfd_lease_get(ch, lease);

		if (IS_ERR(file))
			return PTR_ERR(file);
		t->lease = file;
		t->lease_fd = lease;
		t->added = true;
	}
	return ch->boxed ? 0 : prepare_spare(t, w);
}

/* Releases what is left of @t. */
void chanfd_taken_put(struct taken *t)
{
	chanfd_messages_free(&t->spare);
	if (t->lease)
		fput(t->lease);
}

static struct chanfd_message *first_message(const struct taken *t)
{
	return list_first_entry(&t->msgs, struct chanfd_message, node);
}

static int open_lease(struct taken *t, struct chanfd_waiter *w)
{
	struct file *file;
	int fd;

	if (!t->leased)
		return 0;
	if (!t->added) {
		fd = chanfd_lease_open(to_channel(w->obj), &file);
		if (fd < 0)
			return fd;
		t->lease = file;
		t->lease_fd = fd;
	}
	return chanfd_lease_reserve(t->lease, t);
}

/* Gives the receiver descriptors for the files of its message. */
static int receive_files(struct taken *t, const struct chanfd_waiter *w)
{
	const struct chanfd_message *msg = first_message(t);
	s32 fd;
	u32 i;

	/* A receiver that was asleep was given it whatever its room. */
	if (!chanfd_files_fit(w, msg))
		return -EMSGSIZE;
	t->nr_fds = chanfd_files(msg);
	for (i = 0; t->room && i < t->nr_fds; i++) {
		fd = receive_fd(msg->parcel->files[i], NULL, O_CLOEXEC);
		if (fd < 0)
			return fd;
		t->numbers[t->nr_numbers++] = fd;
	}
	return 0;
}

static int copy_all(const struct taken *t, struct chanfd_waiter *w)
{
	struct chanfd_message *msg;
	int err;

	w->moved = 0;
	w->recv.bytes = 0;
	list_for_each_entry(msg, &t->msgs, node) {
		err = chanfd_copy_out(w, msg->data, msg->size);
		if (err)
			return err;
		w->moved++;
		w->recv.bytes += msg->size;
	}
	return copy_to_user(t->fds, t->numbers, t->nr_numbers * sizeof(s32)) ? -EFAULT : 0;
}

/* Tells a select's case what select itself does not tell. */
static int tell_parcel(const struct taken *t, const struct chanfd_waiter *w)
{
	struct chanfd_parcel __user *p = t->parcel;

	if (!p)
		return 0;
	if (put_user(t->nr_fds, &p->nr_fds) ||
	    put_user(w->redelivered, &p->redelivered))
		return -EFAULT;
	return t->leased && put_user(t->lease_fd, &p->lease) ? -EFAULT : 0;
}

/* Nothing was received. What another thread of the caller's has done meanwhile with
 * descriptors that nobody had told it of is its own affair.
 */
static void give_back(struct taken *t, struct chanfd_waiter *w)
{
	struct channel *ch = to_channel(w->obj);

	while (t->nr_numbers)
		close_fd(t->numbers[--t->nr_numbers]);
	if (t->reserved)
		chanfd_lease_unreserve(t->lease, t);
	if (t->lease && !t->added)
		put_unused_fd(t->lease_fd);
	chanfd_return(ch, &t->msgs, t->nr, &ch->leased);
}

/**
 * chanfd_taken_finish() - give the caller what its call took out
 * @w: the receive, that has gone ahead
 *
 * Return: 0, and chanfd_taken_settle() is next; or what the receive failed with, then
 * what was taken out is the channel's again.
 */
int chanfd_taken_finish(struct chanfd_waiter *w)
{
	struct taken *t = w->recv.taken;
	int err;

	if (list_empty(&t->msgs))
		return w->error;
	t->nr = w->moved;
	w->redelivered = first_message(t)->redelivered;
	if (fatal_signal_pending(current))
		err = -EINTR;	/* nobody would ever see it */
	else	/* what writes to the caller's memory comes last */
		err = open_lease(t, w) ?: receive_files(t, w) ?: copy_all(t, w) ?:
		      tell_parcel(t, w);
	if (err)
		give_back(t, w);
	return err;
}

/**
 * chanfd_taken_settle() - the end of a receive that went well
 * @w: the receive
 * @told: whether the caller could be told of it
 *
 * Return: 0 or %-EFAULT; then what was taken out is the channel's again.
 */
int chanfd_taken_settle(struct chanfd_waiter *w, bool told)
{
	struct taken *t = w->recv.taken;

	if (list_empty(&t->msgs))
		return 0;
	if (!told) {
		give_back(t, w);
		return -EFAULT;
	}
	if (!t->leased) {
		chanfd_received(to_channel(w->obj), &t->msgs, t->nr);
		return 0;
	}
	chanfd_lease_add(t->lease, t);
	if (!t->added) {
		fd_install(t->lease_fd, t->lease);
		t->lease = NULL;
	}
	return 0;
}
