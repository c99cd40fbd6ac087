// SPDX-License-Identifier: GPL-2.0
/*
 * Waitgroups and their tokens.
 *
 * Overview
 *
 * A waitgroup counts, and those who wait are let go when the count is zero. The
 * time from one zero to the next is a round. Who waits, waits for the end of the
 * round in which it began to wait, whatever happens afterwards: the one that
 * ends a round takes all its waiters off the queue in the same critical section.
 *
 * A token stands for one member. Closed without being done, as when its process
 * dies, it counts down, and the round is broken: an abnormal end must not look
 * like completion. A round is broken too when nobody is left who could end it:
 * no handle that may count, and no token. How the last round ended is remembered
 * until the next one begins, for those who ask late.
 *
 * A token belongs to the round in which it was made: where a round was ended by
 * counting, without regard to its tokens, they have nothing left to count.
 *
 * Locking: everything is under the waitgroup's obj.lock, a token's round too.
 */

#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "object.h"
#include "wait.h"

/**
 * struct round - how a round is going, or how it ended
 * @number:	from 1; 0 before the first
 * @broken:	members that ended without being done
 * @error:	the first that a member was done with
 */
struct round {
	u64 number;
	u32 broken;
	s32 error;
};

/**
 * struct waitgroup
 * @obj:	head
 * @count:	members that are not done
 * @tokens:	that have a member of this round to count down
 * @round:	the one that runs, or while @count is zero the last one
 * @waiters:	that wait for its end
 * @watchers:	that wait for its end, or for one more broken member
 * @pollers:	of handles that may wait
 */
struct waitgroup {
	struct chanfd_object obj;
	u32 count;
	u32 tokens;
	struct round round;
	struct chanfd_queue waiters;
	struct chanfd_queue watchers;
	wait_queue_head_t pollers;
};

/**
 * struct token
 * @obj:	head, with the waitgroup's id and name
 * @wg:		immutable, holds a reference
 * @auto_done:	immutable: its end is not a break
 * @round:	in which it counts, 0 once it has counted down
 */
struct token {
	struct chanfd_object obj;
	struct waitgroup *wg;
	bool auto_done;
	u64 round;
};

static struct waitgroup *to_waitgroup(struct chanfd_object *obj)
{
	return container_of(obj, struct waitgroup, obj);
}

static void round_outcome(struct chanfd_waiter *w, const void *arg)
{
	const struct round *round = arg;

	w->error = round->broken ? -EOWNERDEAD : 0;
	w->status = round->error;
	w->moved = round->broken;
	w->number = round->number;
}

/* Those to let go, and what to tell them. */
struct released {
	struct list_head waiters;
	struct round round;
	__poll_t events;
};

#define RELEASED_INIT(name)	{ .waiters = LIST_HEAD_INIT((name).waiters) }

/* Context: lock held. */
static __poll_t events_now(const struct waitgroup *wg)
{
	return (wg->count ? 0 : EPOLLIN | EPOLLRDNORM) | (wg->round.broken ? EPOLLERR : 0);
}

/*
 * @n members have ended, @broken of them without being done. Collects who may go
 * in @r. Context: lock held.
 */
static void count_down(struct waitgroup *wg, u32 n, u32 broken, s32 error, struct released *r)
{
	wg->count -= n;
	wg->round.broken += broken;
	if (!wg->round.error)
		wg->round.error = error;
	if (!wg->count) {
		wg->tokens = 0;
		list_splice_tail_init(&wg->waiters.list, &r->waiters);
	}
	if (!wg->count || broken) {
		list_splice_tail_init(&wg->watchers.list, &r->waiters);
		r->events = events_now(wg);
	}
	r->round = wg->round;
}

/* Ends a round that nobody is left to end. Context: lock held. */
static bool end_if_stuck(struct waitgroup *wg, struct released *r)
{
	if (!wg->count || wg->obj.writers || wg->tokens)
		return false;
	count_down(wg, wg->count, wg->count, 0, r);
	return true;
}

/* Context: no locks held. */
static void let_go(struct waitgroup *wg, struct released *r)
{
	chanfd_release_all(&wg->obj, &r->waiters, round_outcome, &r->round);
	/* io_uring believes what a wakeup says. */
	if (r->events)
		chanfd_wake_pollers(&wg->pollers, 0, r->events);
}

/* A member more. Context: lock held. */
static int count_up(struct waitgroup *wg, u32 n)
{
	if (n > INT_MAX - wg->count)
		return -EOVERFLOW;
	if (!wg->count && n)
		wg->round = (struct round){ .number = wg->round.number + 1 };
	wg->count += n;
	return 0;
}

static bool may_go(const struct waitgroup *wg, const struct chanfd_waiter *w)
{
	return !wg->count || (w->wait.or_broken && w->wait.known != wg->round.broken);
}

static bool wait_ready(struct chanfd_waiter *w)
{
	/* A hint: attempt() looks again under the lock. */
	return data_race(may_go(to_waitgroup(w->obj), w));
}

static int wait_attempt(struct chanfd_waiter *w, bool park)
{
	struct waitgroup *wg = to_waitgroup(w->obj);

	spin_lock(&wg->obj.lock);
	if (may_go(wg, w)) {
		if (chanfd_commit(w))
			round_outcome(w, &wg->round);
	} else if (park) {
		chanfd_park(w->wait.or_broken ? &wg->watchers : &wg->waiters, w);
	}
	spin_unlock(&wg->obj.lock);
	return 0;
}

static const struct chanfd_waiter_ops wait_ops = {
	.ready = wait_ready,
	.attempt = wait_attempt,
};

void chanfd_wait_case(struct chanfd_waiter *w, bool or_broken, u32 known)
{
	w->ops = &wait_ops;
	w->wait.or_broken = or_broken;
	w->wait.known = known;
	chanfd_consider(w, wait_ready(w));
}

static bool is_errno(s32 error)
{
	return error >= 0 && error <= MAX_ERRNO;
}

static int waitgroup_add(struct waitgroup *wg, unsigned int cmd, void __user *arg)
{
	struct chanfd_add add;
	struct released r = RELEASED_INIT(r);
	u32 n;
	int err;

	err = CHANFD_GET_ARG(&add, count, cmd, arg);
	if (err)
		return err;
	if (!is_errno(add.error) || (add.error && add.delta >= 0))
		return -EINVAL;
	n = abs((s64)add.delta);
	spin_lock(&wg->obj.lock);
	if (add.delta >= 0)
		err = count_up(wg, n);
	else if (n > wg->count)
		err = -ERANGE;
	else
		count_down(wg, n, 0, add.error, &r);
	add.count = wg->count;
	spin_unlock(&wg->obj.lock);
	if (err)
		return err;
	if (add.delta < 0)
		let_go(wg, &r);
	/* Counted is counted: a bad pointer takes nothing back. */
	CHANFD_PUT_ARG(&add, cmd, arg);
	return 0;
}

static int waitgroup_get_info(struct waitgroup *wg, unsigned int cmd, void __user *arg)
{
	struct chanfd_waitgroup_info info = {};

	if (_IOC_SIZE(cmd) < sizeof(info))
		return -ENOTTY;
	spin_lock(&wg->obj.lock);
	info.round = wg->round.number - !!wg->count;
	info.count = wg->count;
	info.tokens = wg->tokens;
	info.broken = wg->round.broken;
	info.error = wg->round.error;
	info.waiters = wg->waiters.len + wg->watchers.len;
	spin_unlock(&wg->obj.lock);
	return CHANFD_PUT_ARG(&info, cmd, arg);
}

/* Tokens */

/* Does it still stand for a member? Context: the waitgroup's lock held. */
static bool is_pending(const struct token *token)
{
	return token->wg->count && token->round == token->wg->round.number;
}

static int token_done(struct token *token, unsigned int cmd, void __user *arg)
{
	struct waitgroup *wg = token->wg;
	struct chanfd_done done;
	struct released r = RELEASED_INIT(r);
	bool pending;
	int err;

	err = CHANFD_GET_ARG(&done, reserved, cmd, arg);
	if (err)
		return err;
	if (done.reserved || !is_errno(done.error))
		return -EINVAL;
	spin_lock(&wg->obj.lock);
	pending = is_pending(token);
	if (pending) {
		token->round = 0;
		wg->tokens--;
		count_down(wg, 1, 0, done.error, &r);
		end_if_stuck(wg, &r);
	}
	spin_unlock(&wg->obj.lock);
	if (!pending)
		return -ERANGE;
	let_go(wg, &r);
	return 0;
}

/* The last copy of a token is closed. */
static void token_abandoned(struct chanfd_object *obj, u32 rights)
{
	struct token *token = container_of(obj, struct token, obj);
	struct waitgroup *wg = token->wg;
	struct released r = RELEASED_INIT(r);
	bool pending;

	spin_lock(&wg->obj.lock);
	pending = is_pending(token);
	if (pending) {
		wg->tokens--;
		count_down(wg, 1, !token->auto_done, 0, &r);
		end_if_stuck(wg, &r);
	}
	spin_unlock(&wg->obj.lock);
	if (pending)
		let_go(wg, &r);
}

static void token_free(struct chanfd_object *obj)
{
	struct token *token = container_of(obj, struct token, obj);

	chanfd_object_put(&token->wg->obj);
	kfree(token);
}

static long token_ioctl(struct file *file, unsigned int cmd, unsigned long uarg)
{
	void __user *arg = (void __user *)uarg;

	if (CHANFD_CMD(cmd) == CHANFD_CMD(CHANFD_IOC_DONE))
		return token_done(file->private_data, cmd, arg);
	return chanfd_handle_ioctl(file, cmd, arg);
}

static void token_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct token *token = file->private_data;

	chanfd_show_object(m, file, &token->obj);
	/* May be old by the time that it is read anyway. */
	seq_printf(m, "chanfd-state:\t%s\n", data_race(is_pending(token)) ? "pending" : "done");
}

static const struct file_operations token_fops = {
	CHANFD_HANDLE_FOPS,
	.unlocked_ioctl	= token_ioctl,
	.show_fdinfo	= token_show_fdinfo,
};

const struct chanfd_type chanfd_token_type = {
	.number		= CHANFD_TYPE_TOKEN,
	.name		= "token",
	.file_name	= "[chanfd-token]",
	.fops		= &token_fops,
	.abandoned	= token_abandoned,
	.free		= token_free,
};

static int waitgroup_token(struct waitgroup *wg, void __user *arg)
{
	struct token *token;
	struct file *file;
	int fd, err;
	u32 flags;

	if (get_user(flags, (u32 __user *)arg))
		return -EFAULT;
	if (flags & ~(CHANFD_INHERIT | CHANFD_AUTO_DONE))
		return -EINVAL;
	token = kzalloc(sizeof(*token), GFP_KERNEL_ACCOUNT);
	if (!token)
		return -ENOMEM;
	err = chanfd_object_init(&token->obj, &chanfd_token_type, wg->obj.name, 0);
	if (err) {
		kfree(token);
		return err;
	}
	/* People know a token by its waitgroup. */
	token->obj.id = wg->obj.id;
	token->auto_done = flags & CHANFD_AUTO_DONE;
	token->wg = wg;
	chanfd_object_get(&wg->obj);

	fd = chanfd_handle_prepare(&token->obj, CHANFD_WRITE, flags, &file);
	err = fd;
	if (fd < 0)
		goto out_put;
	spin_lock(&wg->obj.lock);
	err = count_up(wg, 1);
	if (!err) {
		token->round = wg->round.number;
		wg->tokens++;
	}
	spin_unlock(&wg->obj.lock);
	if (err) {
		put_unused_fd(fd);
		fput(file);
	} else {
		fd_install(fd, file);
		err = fd;
	}
out_put:
	chanfd_object_put(&token->obj);
	return err;
}

/* Handles of the waitgroup itself */

static long waitgroup_ioctl(struct file *file, unsigned int cmd, unsigned long uarg)
{
	struct waitgroup *wg = file->private_data;
	void __user *arg = (void __user *)uarg;

	switch (CHANFD_CMD(cmd)) {
	case CHANFD_CMD(CHANFD_IOC_ADD):
		return file->f_mode & FMODE_WRITE ? waitgroup_add(wg, cmd, arg) : -EPERM;
	case CHANFD_CMD(CHANFD_IOC_TOKEN):
		if (cmd != CHANFD_IOC_TOKEN)
			return -ENOTTY;
		return file->f_mode & FMODE_WRITE ? waitgroup_token(wg, arg) : -EPERM;
	case CHANFD_CMD(CHANFD_IOC_WAITGROUP_INFO):
		return waitgroup_get_info(wg, cmd, arg);
	}
	return chanfd_handle_ioctl(file, cmd, arg);
}

static __poll_t waitgroup_poll(struct file *file, poll_table *table)
{
	struct waitgroup *wg = file->private_data;
	__poll_t events;

	if (!(file->f_mode & FMODE_READ))
		return 0;
	poll_wait(file, &wg->pollers, table);
	spin_lock(&wg->obj.lock);
	events = events_now(wg);
	spin_unlock(&wg->obj.lock);
	return events;
}

static void waitgroup_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct waitgroup *wg = file->private_data;
	u32 count, tokens, waiters;
	struct round round;

	spin_lock(&wg->obj.lock);
	count = wg->count;
	tokens = wg->tokens;
	round = wg->round;
	waiters = wg->waiters.len + wg->watchers.len;
	spin_unlock(&wg->obj.lock);
	chanfd_show_object(m, file, &wg->obj);
	seq_printf(m, "chanfd-count:\t%u\n", count);
	seq_printf(m, "chanfd-tokens:\t%u\n", tokens);
	seq_printf(m, "chanfd-round:\t%llu\n", round.number);
	seq_printf(m, "chanfd-broken:\t%u\n", round.broken);
	seq_printf(m, "chanfd-waiting:\t%u\n", waiters);
}

const struct file_operations chanfd_waitgroup_fops = {
	CHANFD_HANDLE_FOPS,
	.poll		= waitgroup_poll,
	.unlocked_ioctl	= waitgroup_ioctl,
	.show_fdinfo	= waitgroup_show_fdinfo,
};

static void waitgroup_abandoned(struct chanfd_object *obj, u32 rights)
{
	struct waitgroup *wg = to_waitgroup(obj);
	struct released r = RELEASED_INIT(r);
	bool stuck;

	if (!(rights & CHANFD_WRITE))
		return;
	spin_lock(&wg->obj.lock);
	stuck = end_if_stuck(wg, &r);
	spin_unlock(&wg->obj.lock);
	if (stuck)
		let_go(wg, &r);
}

static void waitgroup_free(struct chanfd_object *obj)
{
	kfree(to_waitgroup(obj));
}

const struct chanfd_type chanfd_waitgroup_type = {
	.number		= CHANFD_TYPE_WAITGROUP,
	.name		= "waitgroup",
	.file_name	= "[chanfd-waitgroup]",
	.fops		= &chanfd_waitgroup_fops,
	.abandoned	= waitgroup_abandoned,
	.free		= waitgroup_free,
};

long chanfd_waitgroup_create(unsigned int cmd, void __user *arg)
{
	struct chanfd_waitgroup c;
	struct waitgroup *wg;
	int err;

	err = CHANFD_GET_ARG(&c, id, cmd, arg);
	if (err)
		return err;
	if (c.flags & ~(CHANFD_PAIR | CHANFD_INHERIT) || c.reserved)
		return -EINVAL;
	wg = kzalloc(sizeof(*wg), GFP_KERNEL_ACCOUNT);
	if (!wg)
		return -ENOMEM;
	chanfd_queue_init(&wg->waiters);
	chanfd_queue_init(&wg->watchers);
	init_waitqueue_head(&wg->pollers);
	err = chanfd_object_init(&wg->obj, &chanfd_waitgroup_type, c.name, 0);
	if (err) {
		kfree(wg);
		return err;
	}
	return CHANFD_PUBLISH(&wg->obj, CHANFD_READ | CHANFD_WRITE, &c, cmd, arg);
}
