// SPDX-License-Identifier: GPL-2.0
/*
 * The handles of channels: read(2) and write(2), ioctl(2), poll(2), and how a channel
 * comes and ends. What they move is moved by chan.c.
 */

#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "chan.h"

#define CHANNEL_FLAGS	(CHANFD_PAIR | CHANFD_NONBLOCK | CHANFD_INHERIT | CHANFD_VARIABLE)

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
	struct chanfd_waiter w = { .obj = &ch->obj, .ops = &chanfd_recv_ops };
	int ret = read_count(ch, iov_iter_count(to));

	if (ret <= 0)
		return ret;
	w.count = ret;
	w.recv.iter = to;
	ret = chanfd_recv_some(&w, &how);
	return ret < 0 ? ret : (ssize_t)w.recv.bytes;
}

static ssize_t write_messages(struct channel *ch, struct iov_iter *from, bool nonblock)
{
	struct how how = { nonblock, KTIME_MAX };
	struct chanfd_waiter w = { .obj = &ch->obj, .ops = &chanfd_send_ops };
	u32 size = iov_iter_count(from);
	int ret = write_count(ch, iov_iter_count(from));

	if (ret <= 0)
		return ret;
	w.count = ret;
	if (!ch->variable)
		iov_iter_truncate(from, (u64)ret * ch->elem_size);
	ret = chanfd_send_from(&w, from, ch->variable ? &size : NULL, &how);
	if (ret < 0)
		return ret;
	return ch->variable ? size : (ssize_t)ret * ch->elem_size;
}

/* One message for one slot, which could not be sent at once. */
static noinline ssize_t write_slot(struct channel *ch, const void *data, bool nonblock)
{
	struct how how = { nonblock, KTIME_MAX };
	struct chanfd_waiter w = { .obj = &ch->obj, .ops = &chanfd_send_ops, .count = 1 };
	int ret;

	w.send.data = data;
	ret = chanfd_send_some(&w, &how);
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
		if (chanfd_send_at_once(ch, copy))
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

	if (is_slot(ch, size) && chanfd_recv_at_once(ch, buf))
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
	struct chanfd_waiter w = { .obj = &ch->obj, .ops = &chanfd_send_ops };
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
	ret = chanfd_send_from(&w, &from, sizes ?: ch->variable ? &t.size : NULL, &how);
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
	struct chanfd_waiter w = { .obj = &ch->obj, .ops = &chanfd_recv_ops };
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
	if (sizes && fault_in_safe_writeable(u64_to_user_ptr(t.sizes), t.count * sizeof(u32))) {
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
	ret = chanfd_recv_some(&w, &how);
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

/* Who waited for what will not come, and what to tell them. */
struct end {
	struct list_head waiters;
	int send_error;
	int recv_error;
};

#define END_INIT(name)	{ .waiters = LIST_HEAD_INIT((name).waiters) }

static void end_outcome(struct chanfd_waiter *w, const void *arg)
{
	const struct end *end = arg;

	w->error = w->ops == &chanfd_send_ops ? end->send_error : end->recv_error;
}

/* From here on nobody else can claim them. Context: lock held. */
static void end_senders(struct channel *ch, struct end *end)
{
	list_splice_tail_init(&ch->senders.list, &end->waiters);
}

static void end_receivers(struct channel *ch, struct end *end)
{
	list_splice_tail_init(&ch->receivers.list, &end->waiters);
}

/* Context: no locks held. */
static void let_go(struct channel *ch, struct end *end)
{
	chanfd_release_all(&ch->obj, &end->waiters, end_outcome, end);
	chanfd_wake_readable(ch, 0);
	chanfd_wake_writable(ch, 0);
}

static int channel_close(struct channel *ch, unsigned int cmd, void __user *arg)
{
	struct end end = END_INIT(end);
	struct chanfd_close c;
	bool won;
	int err;

	err = CHANFD_GET_ARG(&c, reserved, cmd, arg);
	if (err)
		return err;
	/* Errors from ERESTARTSYS on mean something to those who call read_iter(). */
	if (c.reserved || c.cause < 0 || c.cause >= ERESTARTSYS)
		return -EINVAL;
	end.send_error = -EPIPE;
	end.recv_error = -c.cause;
	spin_lock(&ch->obj.lock);
	won = !ch->closed;
	if (won) {
		ch->closed = true;
		ch->cause = c.cause;
		end_senders(ch, &end);
		end_receivers(ch, &end);
	}
	spin_unlock(&ch->obj.lock);
	if (!won)
		return -EPIPE;
	let_go(ch, &end);
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
	struct channel *ch = to_channel(obj);
	struct end end = END_INIT(end);

	end.send_error = -ECONNRESET;
	end.recv_error = -ECONNRESET;
	spin_lock(&ch->obj.lock);
	if (rights & CHANFD_READ)
		end_senders(ch, &end);
	if (rights & CHANFD_WRITE)
		end_receivers(ch, &end);
	spin_unlock(&ch->obj.lock);
	let_go(ch, &end);
	if (rights & CHANFD_READ)
		purge(ch);
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
		events |= channel_read_events(ch);
	if (file->f_mode & FMODE_WRITE)
		events |= channel_write_events(ch);
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
	size_t boxes = boxed ? (size_t)c->capacity * sizeof(struct chanfd_message) : 0;
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
	err = chanfd_object_init(&ch->obj, &chanfd_channel_type, c->name, bytes + boxes);
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
	if ((u64)c.capacity * c.elem_size > SIZE_MAX / 2)
		return -EDQUOT;
	ch = channel_new(&c);
	if (IS_ERR(ch))
		return PTR_ERR(ch);
	return CHANFD_PUBLISH(&ch->obj, CHANFD_READ | CHANFD_WRITE, &c, cmd, arg);
}
