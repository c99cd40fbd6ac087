// SPDX-License-Identifier: GPL-2.0
/*
 * The handles of locks: ioctl(2), poll(2), mmap(2), and how a lock comes and goes.
 */

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "lock.h"

static noinline int acquire_limited(struct lock *lock, const struct chanfd_acquire *a)
{
	struct chanfd_waiter limit __uninitialized;
	struct chanfd_call call = {
		.nonblock = a->flags & CHANFD_NONBLOCK,
		.deadline = chanfd_deadline(a->deadline),
	};
	struct chanfd_holder *holder;
	int err;

	call.context = chanfd_limit_get(&limit, a->context);
	if (IS_ERR(call.context))
		return PTR_ERR(call.context);
	holder = chanfd_lock_holder(&lock->obj);
	if (IS_ERR(holder))
		err = PTR_ERR(holder);
	else
		err = chanfd_lock_wait(&lock->obj, holder, a->flags & CHANFD_SHARED, &call);
	chanfd_limit_put(call.context);
	return err;
}

static int acquire_ioctl(struct file *file, unsigned int cmd, void __user *arg)
{
	struct lock *lock = file->private_data;
	struct chanfd_acquire a;
	bool shared;
	int err;

	err = CHANFD_GET_ARG(&a, deadline, cmd, arg);
	if (err)
		return err;
	shared = a.flags & CHANFD_SHARED;
	if (a.flags & ~(CHANFD_NONBLOCK | CHANFD_SHARED) ||
	    (shared && !(lock->flags & CHANFD_RW)))
		return -EINVAL;
	if (!(file->f_mode & (shared ? FMODE_READ : FMODE_WRITE)))
		return -EPERM;
	if (a.context < 0) {
		err = chanfd_lock_at_once(lock, shared);
		if (err != -EAGAIN)
			return err;
	}
	return acquire_limited(lock, &a);
}

static int release_ioctl(struct file *file, void __user *arg)
{
	struct lock *lock = file->private_data;
	u32 flags;

	if (get_user(flags, (u32 __user *)arg))
		return -EFAULT;
	switch (flags) {
	case 0:
		return file->f_mode & FMODE_WRITE ? chanfd_lock_release(&lock->obj) : -EPERM;
	case CHANFD_GIVE_UP:
		return file->f_mode & FMODE_WRITE ? chanfd_lock_give_up(lock) : -EPERM;
	case CHANFD_SHARED:
		return file->f_mode & FMODE_READ ? chanfd_lock_release_read(lock) : -EPERM;
	}
	return -EINVAL;
}

static int downgrade_ioctl(struct file *file)
{
	struct lock *lock = file->private_data;

	if (!(lock->flags & CHANFD_RW))
		return -EINVAL;
	if (!(file->f_mode & FMODE_READ) || !(file->f_mode & FMODE_WRITE))
		return -EPERM;
	return chanfd_lock_downgrade(lock);
}

static void get_info(struct lock *lock, struct chanfd_lock_info *info)
{
	chanfd_look_for_dead(lock);
	spin_lock(&lock->obj.lock);
	info->flags = lock->flags;
	info->state = (lock->writer ? CHANFD_LOCKED : 0) |
		      (lock->owner_dead ? CHANFD_OWNER_DEAD : 0) |
		      (lock->lost ? CHANFD_NOT_RECOVERABLE : 0) |
		      (lock->starving ? CHANFD_STARVING : 0);
	info->holder = lock->writer ? pid_vnr(lock->writer->pid) : 0;
	info->readers = lock->readers;
	info->waiting_writers = lock->waiting_writers.len;
	info->waiting_readers = lock->waiting_readers.len;
	info->dead = lock->dead_holders;
	spin_unlock(&lock->obj.lock);
}

static int lock_get_info(struct lock *lock, unsigned int cmd, void __user *arg)
{
	struct chanfd_lock_info info = {};

	if (_IOC_SIZE(cmd) < sizeof(info))
		return -ENOTTY;
	get_info(lock, &info);
	return CHANFD_PUT_ARG(&info, cmd, arg);
}

static long lock_ioctl(struct file *file, unsigned int cmd, unsigned long uarg)
{
	struct lock *lock = file->private_data;
	void __user *arg = (void __user *)uarg;

	chanfd_look_for_dead(lock);
	switch (CHANFD_CMD(cmd)) {
	case CHANFD_CMD(CHANFD_IOC_LOCK):
		return acquire_ioctl(file, cmd, arg);
	case CHANFD_CMD(CHANFD_IOC_UNLOCK):
		return cmd == CHANFD_IOC_UNLOCK ? release_ioctl(file, arg) : -ENOTTY;
	case CHANFD_CMD(CHANFD_IOC_DOWNGRADE):
		return cmd == CHANFD_IOC_DOWNGRADE ? downgrade_ioctl(file) : -ENOTTY;
	case CHANFD_CMD(CHANFD_IOC_LOCK_INFO):
		return lock_get_info(lock, cmd, arg);
	}
	return chanfd_handle_ioctl(file, cmd, arg);
}

static __poll_t lock_poll(struct file *file, poll_table *table)
{
	struct lock *lock = file->private_data;
	__poll_t events;

	poll_wait(file, &lock->pollers, table);
	chanfd_look_for_dead(lock);
	spin_lock(&lock->obj.lock);
	events = chanfd_lock_events(lock);
	spin_unlock(&lock->obj.lock);
	if (!(file->f_mode & FMODE_READ))
		events &= ~(EPOLLIN | EPOLLRDNORM);
	if (!(file->f_mode & FMODE_WRITE))
		events &= ~(EPOLLOUT | EPOLLWRNORM);
	return events;
}

static void fill_page(struct chanfd_object *obj, void *data)
{
	struct chanfd_lock_page *page = data;

	page->busy = !is_free(to_lock(obj));
}

static int lock_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct lock *lock = file->private_data;

	return chanfd_page_map(&lock->obj, &lock->page, vma, fill_page);
}

static const char *mode_name(const struct lock *lock)
{
	if (lock->flags & CHANFD_HANDOFF)
		return "handoff";
	return lock->flags & CHANFD_BARGING ? "barging" : "adaptive";
}

static const char *state_name(const struct chanfd_lock_info *info)
{
	if (info->state & CHANFD_NOT_RECOVERABLE)
		return "not recoverable";
	if (info->state & CHANFD_LOCKED)
		return "locked";
	return info->readers ? "read-locked" : "unlocked";
}

static void lock_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct lock *lock = file->private_data;
	struct chanfd_lock_info info;

	get_info(lock, &info);
	chanfd_show_object(m, file, &lock->obj);
	seq_printf(m, "chanfd-mode:\t%s%s\n", info.flags & CHANFD_RW ? "rw " : "",
		   mode_name(lock));
	seq_printf(m, "chanfd-state:\t%s%s%s\n", state_name(&info),
		   info.state & CHANFD_OWNER_DEAD ? ", owner dead" : "",
		   info.state & CHANFD_STARVING ? ", starving" : "");
	seq_printf(m, "chanfd-holder:\t%d\n", info.holder);
	seq_printf(m, "chanfd-readers:\t%u\n", info.readers);
	seq_printf(m, "chanfd-waiting:\t%u writers, %u readers\n", info.waiting_writers,
		   info.waiting_readers);
	seq_printf(m, "chanfd-dead:\t%u\n", info.dead);
}

const struct file_operations chanfd_lock_fops = {
	CHANFD_HANDLE_FOPS,
	.poll		= lock_poll,
	.unlocked_ioctl	= lock_ioctl,
	.mmap		= lock_mmap,
	.show_fdinfo	= lock_show_fdinfo,
};

static void lock_free(struct chanfd_object *obj)
{
	struct lock *lock = to_lock(obj);

	chanfd_free_holders(lock);
	chanfd_page_free(&lock->page);
	kfree(lock);
}

static const struct chanfd_type lock_type = {
	.number		= CHANFD_TYPE_LOCK,
	.name		= "lock",
	.file_name	= "[chanfd-lock]",
	.fops		= &chanfd_lock_fops,
	.free		= lock_free,
};

long chanfd_lock_create(unsigned int cmd, void __user *arg)
{
	struct chanfd_lock c;
	struct lock *lock;
	int err;

	err = CHANFD_GET_ARG(&c, id, cmd, arg);
	if (err)
		return err;
	if (c.flags & ~(CHANFD_PAIR | CHANFD_INHERIT | CHANFD_RW | LOCK_MODES) ||
	    (c.flags & LOCK_MODES) == LOCK_MODES || c.reserved)
		return -EINVAL;
	lock = kzalloc(sizeof(*lock), GFP_KERNEL_ACCOUNT);
	if (!lock)
		return -ENOMEM;
	lock->flags = c.flags & (CHANFD_RW | LOCK_MODES);
	chanfd_queue_init(&lock->waiting_writers);
	chanfd_queue_init(&lock->waiting_readers);
	INIT_LIST_HEAD(&lock->admitted);
	INIT_LIST_HEAD(&lock->reading);
	init_llist_head(&lock->dead);
	lock->holders = RB_ROOT;
	init_waitqueue_head(&lock->pollers);
	err = chanfd_object_init(&lock->obj, &lock_type, c.name, 0);
	if (err) {
		kfree(lock);
		return err;
	}
	return CHANFD_PUBLISH(&lock->obj, CHANFD_READ | CHANFD_WRITE, &c, cmd, arg);
}
