// SPDX-License-Identifier: GPL-2.0
/*
 * Leases.
 *
 * Overview
 *
 * A lease holds messages that were received, but not for good. Commit makes them so;
 * without it they go back to the front of their channel when the last copy of the lease is
 * closed, as when its process dies: each is received at least once by somebody who lives
 * on.
 *
 * It refers to the channel but to none of its handles. So it does not keep the channel from
 * being orphaned: where no receiver is left the messages that come back are dropped.
 *
 * Whoever adds to a lease, its maker pays for the messages: their places in the channel are
 * others' then. That remains so where they come back, until they are received: the channel
 * may hold more than it has places.
 *
 * Locking: everything is under the channel's obj.lock, so that a message is never seen in
 * two places or in none.
 */

#include <linux/file.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "chan.h"

/**
 * struct lease
 * @obj:	head, with the channel's id and name
 * @ch:		immutable, holds a reference
 * @msgs:	the messages, in the order in which they were received
 * @nr:		how many, those included that are about to be added
 * @committed:	for good; never holds messages again
 */
struct lease {
	struct chanfd_object obj;
	struct channel *ch;
	struct list_head msgs;
	u32 nr;
	bool committed;
};

static struct lease *to_lease(struct chanfd_object *obj)
{
	return container_of(obj, struct lease, obj);
}

/**
 * chanfd_received() - messages that were taken out are received for good
 * @ch: the channel
 * @msgs: the messages; freed
 * @n: how many
 *
 * Context: no locks held.
 */
void chanfd_received(struct channel *ch, struct list_head *msgs, u32 n)
{
	struct end end = END_INIT(end);

	spin_lock(&ch->obj.lock);
	ch->leased -= n;
	ch->received += n;
	chanfd_end_receivers(ch, &end);
	spin_unlock(&ch->obj.lock);
	chanfd_let_go(ch, &end);
	chanfd_messages_free(msgs);
}

/* Makes a place for @t->nr messages. %-EDQUOT, %-EOVERFLOW, %-ERANGE (committed). */
int chanfd_lease_reserve(struct file *file, struct taken *t)
{
	struct lease *lease = file->private_data;
	struct channel *ch = lease->ch;
	struct chanfd_message *msg;
	int err;

	t->bytes = 0;
	list_for_each_entry(msg, &t->msgs, node)
		if (msg->payer != lease->obj.user)
			t->bytes += chanfd_message_bytes(msg);
	err = chanfd_user_charge_more(lease->obj.user, t->bytes);
	if (err)
		return err;
	spin_lock(&ch->obj.lock);
	if (lease->committed)
		err = -ERANGE;
	else if (t->nr > CHANFD_MAX_BATCH - lease->nr)
		err = -EOVERFLOW;	/* they come back under one hold of the lock */
	else
		lease->nr += t->nr;
	spin_unlock(&ch->obj.lock);
	if (err)
		chanfd_user_uncharge(lease->obj.user, 0, t->bytes);
	t->reserved = !err;
	return err;
}

/* Gives that place up. */
void chanfd_lease_unreserve(struct file *file, struct taken *t)
{
	struct lease *lease = file->private_data;

	spin_lock(&lease->ch->obj.lock);
	lease->nr -= t->nr;
	spin_unlock(&lease->ch->obj.lock);
	chanfd_user_uncharge(lease->obj.user, 0, t->bytes);
	t->reserved = false;
}

/* Adds the messages for which there is a place. */
void chanfd_lease_add(struct file *file, struct taken *t)
{
	struct lease *lease = file->private_data;
	struct chanfd_message *msg;
	bool committed;

	list_for_each_entry(msg, &t->msgs, node)
		if (msg->payer != lease->obj.user)
			chanfd_message_pay(msg, lease->obj.user);
	spin_lock(&lease->ch->obj.lock);
	committed = lease->committed;
	if (!committed)
		list_splice_tail_init(&t->msgs, &lease->msgs);
	spin_unlock(&lease->ch->obj.lock);
	if (committed)	/* just now, and nobody can tell: as if after this */
		chanfd_received(lease->ch, &t->msgs, t->nr);
}

/* Takes all out, to commit them or not; counts them. */
static u32 lease_empty(struct lease *lease, bool commit, struct list_head *msgs)
{
	struct channel *ch = lease->ch;
	struct chanfd_message *msg;
	u32 n = 0;

	spin_lock(&ch->obj.lock);
	list_splice_init(&lease->msgs, msgs);
	lease->committed |= commit;
	spin_unlock(&ch->obj.lock);
	list_for_each_entry(msg, msgs, node) {
		msg->redelivered += !commit;
		n++;
	}
	return n;
}

static int lease_commit(struct lease *lease)
{
	LIST_HEAD(msgs);
	u32 n;

	n = lease_empty(lease, true, &msgs);
	if (!n)
		return -ERANGE;
	chanfd_received(lease->ch, &msgs, n);
	return 0;
}

/* The last copy is closed. */
static void lease_abandoned(struct chanfd_object *obj, u32 rights)
{
	struct lease *lease = to_lease(obj);
	LIST_HEAD(msgs);
	u32 n;

	n = lease_empty(lease, false, &msgs);
	if (n)
		chanfd_return(lease->ch, &msgs, n, &lease->ch->leased);
}

static void lease_free(struct chanfd_object *obj)
{
	struct lease *lease = to_lease(obj);

	chanfd_object_put(&lease->ch->obj);
	kfree(lease);
}

static long lease_ioctl(struct file *file, unsigned int cmd, unsigned long uarg)
{
	if (cmd == CHANFD_IOC_COMMIT)
		return lease_commit(file->private_data);
	return chanfd_handle_ioctl(file, cmd, (void __user *)uarg);
}

static void lease_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct lease *lease = file->private_data;
	bool committed;
	u32 nr;

	spin_lock(&lease->ch->obj.lock);
	committed = lease->committed;
	nr = committed ? 0 : lease->nr;
	spin_unlock(&lease->ch->obj.lock);
	chanfd_show_object(m, file, &lease->obj);
	seq_printf(m, "chanfd-messages:\t%u\n", nr);
	seq_printf(m, "chanfd-state:\t%s\n", committed ? "committed" : "pending");
}

const struct file_operations chanfd_lease_fops = {
	CHANFD_HANDLE_FOPS,
	.unlocked_ioctl	= lease_ioctl,
	.show_fdinfo	= lease_show_fdinfo,
};

const struct chanfd_type chanfd_lease_type = {
	.number		= CHANFD_TYPE_LEASE,
	.name		= "lease",
	.file_name	= "[chanfd-lease]",
	.fops		= &chanfd_lease_fops,
	.abandoned	= lease_abandoned,
	.free		= lease_free,
};

/**
 * chanfd_lease_open() - make a lease
 * @ch: the channel whose messages it is for
 * @file: the open file, for fd_install(); or put_unused_fd() and fput()
 *
 * Return: its file descriptor, or an error.
 */
int chanfd_lease_open(struct channel *ch, struct file **file)
{
	struct lease *lease;
	int fd;

	lease = kzalloc(sizeof(*lease), GFP_KERNEL_ACCOUNT);
	if (!lease)
		return -ENOMEM;
	fd = chanfd_object_init(&lease->obj, &chanfd_lease_type, ch->obj.name, 0);
	if (fd) {
		kfree(lease);
		return fd;
	}
	/* People know a lease by its channel. */
	lease->obj.id = ch->obj.id;
	INIT_LIST_HEAD(&lease->msgs);
	lease->ch = ch;
	chanfd_object_get(&ch->obj);
	fd = chanfd_handle_prepare(&lease->obj, CHANFD_WRITE, 0, file);
	chanfd_object_put(&lease->obj);
	return fd;
}

/* An open lease of the channel's, to add to. */
struct file *chanfd_lease_get(struct channel *ch, s32 fd)
{
	struct file *file = fget(fd);
	const struct lease *lease;

	if (!file)
		return ERR_PTR(-EBADF);
	lease = file->private_data;
	if (file->f_op == &chanfd_lease_fops && lease->ch == ch)
		return file;
	fput(file);
	return ERR_PTR(-EINVAL);
}
