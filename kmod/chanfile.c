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

#define CHANNEL_FLAGS	(CHANFD_PAIR | CHANFD_NONBLOCK | CHANFD_INHERIT | CHANFD_VARIABLE | \
			 CHANFD_FDS)

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

/* A read from a channel whose messages may have files: only those that have none. */
static noinline int recv_taken(struct chanfd_waiter *w, const struct how *how)
{
	struct taken t = {};
	int ret;

	w->recv.taken = &t;
	ret = chanfd_taken_prepare(&t, w, 0, 0) ?: chanfd_recv_some(w, how);
	if (ret > 0)
		chanfd_taken_settle(w, true);
	chanfd_taken_put(&t);
	return ret;
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
	ret = ch->fds ? recv_taken(&w, &how) : chanfd_recv_some(&w, &how);
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

/**
 * struct transfer - an ioctl that sends or receives
 * @arg:	the caller's
 * @sizes:	of the messages of a batch, where they vary; or NULL
 * @how:	may it wait
 * @limit:	the context's case
 */
struct transfer {
	struct chanfd_transfer arg;
	u32 *sizes;
	struct how how;
	struct chanfd_waiter limit;
};

/* Where there are none, @x->sizes is NULL. */
static int get_sizes(const struct channel *ch, struct transfer *x)
{
	x->sizes = NULL;
	if (!x->arg.sizes)
		return ch->variable && x->arg.count > 1 ? -EINVAL : 0;
	if (!ch->variable)
		return -EINVAL;
	x->sizes = kcalloc(x->arg.count, sizeof(u32), GFP_KERNEL_ACCOUNT);
	return x->sizes ? 0 : -ENOMEM;
}

/* Undone by transfer_end(), if it succeeds. */
static int transfer_begin(struct transfer *x, u32 flags, struct file *file,
			  unsigned int cmd, void __user *uarg)
{
	const struct channel *ch = file->private_data;
	struct chanfd_transfer *t = &x->arg;
	int err = CHANFD_GET_ARG(t, seq, cmd, uarg);

	if (err)
		return err;
	if (t->flags & ~flags || t->reserved || !t->count || t->count > CHANFD_MAX_BATCH ||
	    (t->nr_fds && (!ch->fds || t->count > 1)) ||
	    (t->lease && !(t->flags & CHANFD_LEASED)))
		return -EINVAL;
	x->how.nonblock = t->flags & CHANFD_NONBLOCK || file->f_flags & O_NONBLOCK;
	x->how.deadline = chanfd_deadline(t->deadline);
	x->how.context = NULL;
	return get_sizes(ch, x);
}

/* The last look before anything is tried: a context that is done wins. */
static int transfer_limit(struct transfer *x)
{
	struct chanfd_waiter *limit = chanfd_limit_get(&x->limit, x->arg.context);

	if (IS_ERR(limit))
		return PTR_ERR(limit);
	x->how.context = limit;
	return 0;
}

static void transfer_end(struct transfer *x)
{
	chanfd_limit_put(x->how.context);
	kfree(x->sizes);
}

static int check_sizes(const struct channel *ch, const struct transfer *x)
{
	const struct chanfd_transfer *t = &x->arg;
	u64 total = 0;
	u32 i;

	if (!ch->variable)
		return t->size == (u64)t->count * ch->elem_size ? 0 : -EMSGSIZE;
	if (!x->sizes)
		return size_fits(ch, t->size) ? 0 : -EMSGSIZE;
	if (copy_from_user(x->sizes, u64_to_user_ptr(t->sizes), t->count * sizeof(u32)))
		return -EFAULT;
	for (i = 0; i < t->count; i++) {
		if (!size_fits(ch, x->sizes[i]))
			return -EMSGSIZE;
		total += x->sizes[i];
	}
	return total == t->size ? 0 : -EMSGSIZE;
}

static int send_messages(struct channel *ch, struct transfer *x)
{
	struct chanfd_waiter w = { .obj = &ch->obj, .ops = &chanfd_send_ops };
	struct chanfd_transfer *t = &x->arg;
	struct iovec iov = { u64_to_user_ptr(t->buf), t->size };
	struct iov_iter from;
	int ret;

	if (t->nr_fds) {
		w.send.parcel = chanfd_parcel_load(ch, u64_to_user_ptr(t->fds), t->nr_fds);
		if (IS_ERR(w.send.parcel))
			return PTR_ERR(w.send.parcel);
	}
	w.count = t->count;
	iov_iter_init(&from, ITER_SOURCE, &iov, 1, t->size);
	ret = chanfd_send_from(&w, &from, x->sizes ?: ch->variable ? &t->size : NULL, &x->how);
	t->seq = w.number;
	return ret;
}

static int channel_send(struct file *file, unsigned int cmd, void __user *arg)
{
	struct channel *ch = file->private_data;
	struct transfer x __uninitialized;
	int ret;

	ret = transfer_begin(&x, CHANFD_NONBLOCK, file, cmd, arg);
	if (ret)
		return ret;
	ret = check_sizes(ch, &x) ?: transfer_limit(&x) ?: send_messages(ch, &x);
	if (ret > 0)	/* sent is sent: a bad pointer takes nothing back */
		CHANFD_PUT_ARG(&x.arg, cmd, arg);
	transfer_end(&x);
	return ret;
}

/* Results that have nowhere to go are found before a message is taken. */
static int check_results(const struct transfer *x, unsigned int cmd, void __user *arg)
{
	const struct chanfd_transfer *t = &x->arg;

	if (CHANFD_PUT_ARG(t, cmd, arg))
		return -EFAULT;
	if (x->sizes && fault_in_safe_writeable(u64_to_user_ptr(t->sizes),
						t->count * sizeof(u32)))
		return -EFAULT;
	return 0;
}

/* What @w received, @n messages, is told; %-EFAULT if not. */
static int tell_received(const struct chanfd_waiter *w, u32 n, struct transfer *x,
			 unsigned int cmd, void __user *arg)
{
	struct chanfd_transfer *t = &x->arg;

	t->size = w->recv.bytes;
	t->seq = w->number;
	t->redelivered = w->redelivered;
	if (x->sizes && copy_to_user(u64_to_user_ptr(t->sizes), x->sizes, n * sizeof(u32)))
		return -EFAULT;
	return CHANFD_PUT_ARG(t, cmd, arg);
}

/* Receives messages that may have files, or that are leased. */
static noinline int recv_whole(struct chanfd_waiter *w, struct transfer *x,
			       unsigned int cmd, void __user *arg)
{
	struct chanfd_transfer *t = &x->arg;
	struct taken taken = {
		.fds = u64_to_user_ptr(t->fds),
		.room = t->nr_fds,
	};
	int ret;

	w->recv.taken = &taken;
	ret = chanfd_taken_prepare(&taken, w, t->flags & CHANFD_LEASED, t->lease) ?:
	      chanfd_recv_some(w, &x->how);
	if (ret > 0) {
		t->nr_fds = taken.nr_fds;
		if (taken.leased)
			t->lease = taken.lease_fd;
		ret = chanfd_taken_settle(w, !tell_received(w, ret, x, cmd, arg)) ?: ret;
	} else if (!ret) {
		tell_received(w, 0, x, cmd, arg);
	}
	chanfd_taken_put(&taken);
	return ret;
}

static int recv_messages(struct channel *ch, struct transfer *x, unsigned int cmd,
			 void __user *arg)
{
	struct chanfd_waiter w = { .obj = &ch->obj, .ops = &chanfd_recv_ops };
	struct chanfd_transfer *t = &x->arg;
	int ret;

	w.count = t->count;
	w.recv.buf = u64_to_user_ptr(t->buf);
	w.recv.room = t->size;
	w.recv.sizes = x->sizes;
	if (t->buf && !ch->variable && ch->elem_size)
		w.count = min(w.count, t->size / ch->elem_size);
	if (ch->fds || t->flags & CHANFD_LEASED)
		return recv_whole(&w, x, cmd, arg);
	ret = chanfd_recv_some(&w, &x->how);
	if (ret >= 0)	/* received is received, likewise */
		tell_received(&w, ret, x, cmd, arg);
	return ret;
}

static int channel_recv(struct file *file, unsigned int cmd, void __user *arg)
{
	struct channel *ch = file->private_data;
	struct transfer x __uninitialized;
	int ret;

	ret = transfer_begin(&x, CHANFD_NONBLOCK | CHANFD_LEASED, file, cmd, arg);
	if (ret)
		return ret;
	if (x.arg.buf && !ch->variable && x.arg.size < ch->elem_size)
		ret = -EMSGSIZE;
	ret = ret ?: check_results(&x, cmd, arg) ?: transfer_limit(&x) ?:
	      recv_messages(ch, &x, cmd, arg);
	transfer_end(&x);
	return ret;
}

/* The end of a side */

static void end_outcome(struct chanfd_waiter *w, const void *arg)
{
	const struct end *end = arg;

	w->error = w->ops == &chanfd_send_ops ? end->send_error : end->recv_error;
}

/* From here on nobody else can claim them. Context: lock held. */
static void end_senders(struct channel *ch, struct end *end)
{
	end->ended = true;
	list_splice_tail_init(&ch->senders.list, &end->waiters);
}

/* Likewise, if no message will come any more. */
void chanfd_end_receivers(struct channel *ch, struct end *end)
{
	if (length(ch) || !at_end(ch))
		return;
	end->ended = true;
	end->recv_error = end_error(ch);
	list_splice_tail_init(&ch->receivers.list, &end->waiters);
}

/* Context: no locks held. */
void chanfd_let_go(struct channel *ch, struct end *end)
{
	if (!end->ended)
		return;
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
	spin_lock(&ch->obj.lock);
	won = !ch->closed;
	if (won) {
		ch->closed = true;
		ch->cause = c.cause;
		end_senders(ch, &end);
		chanfd_end_receivers(ch, &end);
	}
	spin_unlock(&ch->obj.lock);
	if (!won)
		return -EPIPE;
	chanfd_let_go(ch, &end);
	return 0;
}

/* No receiver will come again: the messages have nowhere to go. */
static void purge(struct channel *ch)
{
	struct rb_root_cached back;
	struct rb_node *node;
	LIST_HEAD(boxes);

	spin_lock(&ch->obj.lock);
	back = ch->back;
	ch->back = RB_ROOT_CACHED;
	list_splice_init(&ch->boxes, &boxes);
	ch->dropped += length(ch);
	ch->nr_boxes = 0;
	ch->files = 0;
	ch->used = 0;
	spin_unlock(&ch->obj.lock);
	while ((node = rb_first_cached(&back))) {
		rb_erase_cached(node, &back);
		chanfd_message_free(rb_entry(node, struct chanfd_message, back));
		cond_resched();
	}
	chanfd_messages_free(&boxes);
}

static void channel_abandoned(struct chanfd_object *obj, u32 rights)
{
	struct channel *ch = to_channel(obj);
	struct end end = END_INIT(end);

	end.send_error = -ECONNRESET;
	spin_lock(&ch->obj.lock);
	if (rights & CHANFD_READ)
		end_senders(ch, &end);
	if (rights & CHANFD_WRITE)
		chanfd_end_receivers(ch, &end);
	spin_unlock(&ch->obj.lock);
	chanfd_let_go(ch, &end);
	if (rights & CHANFD_READ)
		purge(ch);
}

static int channel_get_info(struct channel *ch, unsigned int cmd, void __user *arg)
{
	struct chanfd_channel_info info = {
		.flags = (ch->variable ? CHANFD_VARIABLE : 0) | (ch->fds ? CHANFD_FDS : 0),
		.elem_size = ch->elem_size,
		.capacity = ch->capacity,
	};

	if (_IOC_SIZE(cmd) < offsetofend(typeof(info), dropped))
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
	info.leased = ch->leased;
	info.files = ch->files;
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
	u32 len, files, leased, senders, receivers;
	const char *state = "open";

	spin_lock(&ch->obj.lock);
	len = length(ch);
	files = ch->files;
	leased = ch->leased;
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
	seq_printf(m, "chanfd-leased:\t%u\n", leased);
	seq_printf(m, "chanfd-files:\t%u\n", files);
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
	bool fds = c->flags & CHANFD_FDS;
	bool boxed = variable || fds || c->elem_size > CHANFD_SLOT_MAX;
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
	ch->fds = fds;
	ch->boxed = boxed;
	ch->back = RB_ROOT_CACHED;
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
