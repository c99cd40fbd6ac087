// SPDX-License-Identifier: GPL-2.0
/*
 * Conditions: wait for a signal with a lock released meanwhile.
 *
 * Who waits takes a ticket and parks before it releases the lock (rule D1): whoever
 * changes something under the lock afterwards finds it here. Signals go to the lowest
 * tickets (D2), and to none that was taken after the call began (D3). Woken or not,
 * who has waited acquires the lock again in a second call, which ends for no reason
 * but a fatal signal; then a signal that was for this waiter alone goes to the next
 * one (D4).
 *
 * Locking: everything is under obj.lock. It is dropped before the lock is released.
 */

#include <linux/file.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "lock.h"

/* Waiters that are woken before somebody else gets a turn. */
#define CHUNK	64

/**
 * struct condition
 * @obj:	head
 * @tickets:	taken so far
 * @waiters:	in the order of their tickets
 */
struct condition {
	struct chanfd_object obj;
	u64 tickets;
	struct chanfd_queue waiters;
};

static struct condition *to_condition(struct chanfd_object *obj)
{
	return container_of(obj, struct condition, obj);
}

/* Wakes up to @n waiters that are here now, all if that is U32_MAX; how many it were. */
static u32 wake_waiters(struct condition *cond, u32 n)
{
	struct chanfd_waiter *w;
	u64 last = U64_MAX;
	u32 woken = 0;

	do {
		LIST_HEAD(claimed);
		int chunk = CHUNK;

		spin_lock(&cond->obj.lock);
		last = min(last, cond->tickets);
		do {
			w = woken < n ? chanfd_claim_first(&cond->waiters, NULL) : NULL;
			if (w && w->condition.ticket > last) {
				chanfd_claim_abort(w, NULL);
				w = NULL;
			}
			if (w) {
				w->condition.alone = n != U32_MAX;
				chanfd_claim_end(w, NULL, &claimed);
				woken++;
			}
		} while (w && --chunk);
		spin_unlock(&cond->obj.lock);
		chanfd_wake(&claimed);
		cond_resched();
	} while (w);
	return woken;
}

/* Waits in any case. An error of releasing the lock ends the call. */
static int wait_attempt(struct chanfd_waiter *w, bool park)
{
	struct condition *cond = to_condition(w->obj);

	spin_lock(&cond->obj.lock);
	w->condition.ticket = ++cond->tickets;
	chanfd_park(&cond->waiters, w);
	spin_unlock(&cond->obj.lock);
	w->error = chanfd_lock_release(w->condition.lock);
	w->condition.released = !w->error;
	return w->error;
}

static const struct chanfd_waiter_ops wait_ops = {
	.attempt = wait_attempt,
};

static int wait_for_signal(struct condition *cond, struct chanfd_object *lock,
			   struct chanfd_holder *holder, struct chanfd_call *call)
{
	struct chanfd_waiter w = { .obj = &cond->obj, .ops = &wait_ops, .call = call };
	struct chanfd_call again = { .killable = true, .deadline = KTIME_MAX };
	int err;

	w.condition.lock = lock;
	call->waiters = &w;
	call->nr = 1;
	err = chanfd_call_wait(call);
	if (!w.condition.released)
		err = err ?: w.error;
	else if (fatal_signal_pending(current))
		err = -EINTR;	/* it is not to die as the lock's holder */
	else
		err = chanfd_lock_wait(lock, holder, false, &again) ?: err;
	/* Who can't go on has not seen the signal. */
	if (call->fired == &w && w.condition.alone &&
	    (!w.condition.released || fatal_signal_pending(current)))
		wake_waiters(cond, 1);
	return err;
}

static int condition_wait(struct condition *cond, unsigned int cmd, void __user *arg)
{
	struct chanfd_waiter limit __uninitialized;
	struct chanfd_condition_wait c;
	struct chanfd_holder *holder;
	struct chanfd_call call = {};
	struct file *lock;
	struct fd fd;
	int err;

	err = CHANFD_GET_ARG(&c, deadline, cmd, arg);
	if (err)
		return err;
	if (c.flags || c.reserved)
		return -EINVAL;
	fd = fdget(c.lock);
	lock = fd_file(fd);
	if (!lock)
		return -EBADF;
	err = -EINVAL;
	if (lock->f_op != &chanfd_lock_fops)
		goto out_lock;
	err = -EPERM;
	if (!(lock->f_mode & FMODE_WRITE))
		goto out_lock;
	holder = chanfd_lock_holder(lock->private_data);
	err = PTR_ERR_OR_ZERO(holder);
	if (err)
		goto out_lock;
	call.deadline = chanfd_deadline(c.deadline);
	call.context = chanfd_limit_get(&limit, c.context);
	err = PTR_ERR_OR_ZERO(call.context);
	if (err)
		goto out_lock;
	err = wait_for_signal(cond, lock->private_data, holder, &call);
	chanfd_limit_put(call.context);
	/* Restarted, it would miss the signals that came meanwhile. */
	if (err == -ERESTARTSYS)
		err = -EINTR;
out_lock:
	fdput(fd);
	return err;
}

static int condition_signal(struct condition *cond, void __user *arg)
{
	u32 n;

	if (get_user(n, (u32 __user *)arg))
		return -EFAULT;
	return wake_waiters(cond, n);
}

static int condition_get_info(struct condition *cond, unsigned int cmd, void __user *arg)
{
	struct chanfd_condition_info info = {};

	if (_IOC_SIZE(cmd) < sizeof(info))
		return -ENOTTY;
	spin_lock(&cond->obj.lock);
	info.waiters = cond->waiters.len;
	spin_unlock(&cond->obj.lock);
	return CHANFD_PUT_ARG(&info, cmd, arg);
}

static long condition_ioctl(struct file *file, unsigned int cmd, unsigned long uarg)
{
	struct condition *cond = file->private_data;
	void __user *arg = (void __user *)uarg;

	switch (CHANFD_CMD(cmd)) {
	case CHANFD_CMD(CHANFD_IOC_CONDITION_WAIT):
		return file->f_mode & FMODE_READ ? condition_wait(cond, cmd, arg) : -EPERM;
	case CHANFD_CMD(CHANFD_IOC_SIGNAL):
		if (cmd != CHANFD_IOC_SIGNAL)
			return -ENOTTY;
		return file->f_mode & FMODE_WRITE ? condition_signal(cond, arg) : -EPERM;
	case CHANFD_CMD(CHANFD_IOC_CONDITION_INFO):
		return condition_get_info(cond, cmd, arg);
	}
	return chanfd_handle_ioctl(file, cmd, arg);
}

/* A signal is an event, not a state: nothing that could be polled for. */
static __poll_t condition_poll(struct file *file, poll_table *table)
{
	return 0;
}

static void condition_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct condition *cond = file->private_data;

	chanfd_show_object(m, file, &cond->obj);
	/* May be old by the time that it is read anyway. */
	seq_printf(m, "chanfd-waiting:\t%u\n", data_race(cond->waiters.len));
}

static const struct file_operations condition_fops = {
	CHANFD_HANDLE_FOPS,
	.poll		= condition_poll,
	.unlocked_ioctl	= condition_ioctl,
	.show_fdinfo	= condition_show_fdinfo,
};

static void condition_free(struct chanfd_object *obj)
{
	kfree(to_condition(obj));
}

static const struct chanfd_type condition_type = {
	.number		= CHANFD_TYPE_CONDITION,
	.name		= "condition",
	.file_name	= "[chanfd-condition]",
	.fops		= &condition_fops,
	.free		= condition_free,
};

long chanfd_condition_create(unsigned int cmd, void __user *arg)
{
	struct chanfd_condition c;
	struct condition *cond;
	int err;

	err = CHANFD_GET_ARG(&c, id, cmd, arg);
	if (err)
		return err;
	if (c.flags & ~(CHANFD_PAIR | CHANFD_INHERIT) || c.reserved)
		return -EINVAL;
	cond = kzalloc(sizeof(*cond), GFP_KERNEL_ACCOUNT);
	if (!cond)
		return -ENOMEM;
	chanfd_queue_init(&cond->waiters);
	err = chanfd_object_init(&cond->obj, &condition_type, c.name, 0);
	if (err) {
		kfree(cond);
		return err;
	}
	return CHANFD_PUBLISH(&cond->obj, CHANFD_READ | CHANFD_WRITE, &c, cmd, arg);
}
