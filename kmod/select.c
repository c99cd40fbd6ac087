// SPDX-License-Identifier: GPL-2.0
/*
 * Select: the system call that gives the wait engine many cases.
 *
 * Every case is looked at, and every message to send copied in, before anything
 * is tried: a bad case fails the call and nothing has happened. Where a message
 * to receive would go is only used if that case is the one.
 */

#include <linux/file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "wait.h"

/* This many need no allocation. */
#define CASES_ON_STACK	4

/* Memory for many comes in powers of two, and all of it is zeroed. */
static_assert(sizeof(struct chanfd_waiter) <= 128);

/* User's cases are fetched by as many as this. */
#define FETCH		32

/* A case without a file is never ready. */

static bool never_ready(struct chanfd_waiter *w)
{
	return false;
}

static int never_attempt(struct chanfd_waiter *w, bool park)
{
	return 0;
}

static const struct chanfd_waiter_ops never_ops = {
	.ready = never_ready,
	.attempt = never_attempt,
};

/* Opens the case's file; false if the case has none, and is never ready. */
static bool set_file(struct chanfd_waiter *w, s32 fd, int *err)
{
	*err = 0;
	if (fd < 0) {
		w->ops = &never_ops;
		return false;
	}
	w->fd = fdget(fd);
	if (fd_file(w->fd))
		return true;
	*err = -EBADF;
	return false;
}

/* Opens it as an object of a type, with a right that the case needs. */
static __always_inline bool set_object(struct chanfd_waiter *w, s32 fd,
				       const struct file_operations *fops, fmode_t mode,
				       int *err)
{
	struct file *file;

	if (!set_file(w, fd, err))
		return false;
	file = fd_file(w->fd);
	w->obj = file->private_data;
	if (file->f_op != fops)
		*err = -EINVAL;
	else if (!(file->f_mode & mode))
		*err = -EPERM;
	return !*err;
}

static int get_parcel(const struct chanfd_case *c, struct chanfd_parcel *p)
{
	if (c->size)
		return -EINVAL;
	if (copy_from_user(p, u64_to_user_ptr(c->buf), sizeof(*p)))
		return -EFAULT;
	return p->reserved ? -EINVAL : 0;
}

static int set_up_send(struct chanfd_waiter *w, const struct chanfd_case *c)
{
	struct chanfd_parcel p;
	int err;

	if (!set_object(w, c->fd, &chanfd_channel_fops, FMODE_WRITE, &err))
		return err;
	if (c->flags & CHANFD_CASE_PARCEL)
		err = get_parcel(c, &p);
	else
		p = (struct chanfd_parcel){ .buf = c->buf, .size = c->size };
	return err ?: chanfd_send_case(w, &p);
}

static noinline int set_up_recv_parcel(struct chanfd_waiter *w, const struct chanfd_case *c)
{
	struct chanfd_parcel p;

	return get_parcel(c, &p) ?: chanfd_recv_parcel_case(w, &p, u64_to_user_ptr(c->buf));
}

static int set_up_recv(struct chanfd_waiter *w, const struct chanfd_case *c)
{
	int err;

	if (!set_object(w, c->fd, &chanfd_channel_fops, FMODE_READ, &err))
		return err;
	if (c->flags & CHANFD_CASE_PARCEL)
		return set_up_recv_parcel(w, c);
	return chanfd_recv_case(w, u64_to_user_ptr(c->buf), c->size);
}

/* The flags that a case may have. */
static u16 flags_of(u16 op)
{
	switch (op) {
	case CHANFD_CASE_SEND:
	case CHANFD_CASE_RECV:
		return CHANFD_CASE_PARCEL;
	case CHANFD_CASE_WAIT:
		return CHANFD_CASE_BROKEN;
	}
	return 0;
}

static int set_up(struct chanfd_waiter *w, struct chanfd_call *call,
		  const struct chanfd_case *c)
{
	int err = -EINVAL;

	w->call = call;
	w->count = 1;
	w->op = c->op;
	if (c->reserved || (c->flags && c->flags & ~flags_of(c->op)))
		return -EINVAL;

	switch (c->op) {
	case CHANFD_CASE_RECV:
		err = set_up_recv(w, c);
		break;
	case CHANFD_CASE_SEND:
		err = set_up_send(w, c);
		break;
	case CHANFD_CASE_WAIT:
		if (c->buf)
			break;
		if (set_object(w, c->fd, &chanfd_waitgroup_fops, FMODE_READ, &err))
			chanfd_wait_case(w, c->flags & CHANFD_CASE_BROKEN, c->size);
		break;
	case CHANFD_CASE_DONE:
	case CHANFD_CASE_DRAINED:
		if (c->buf || c->size)
			break;
		if (set_object(w, c->fd, &chanfd_context_fops, FMODE_READ, &err))
			chanfd_context_case(w, c->op == CHANFD_CASE_DRAINED);
		break;
	case CHANFD_CASE_LOCK:
		if (c->buf || c->size)
			break;
		if (set_object(w, c->fd, &chanfd_lock_fops, FMODE_WRITE, &err))
			err = chanfd_lock_case(w, false);
		break;
	case CHANFD_CASE_READ_LOCK:
		if (c->buf || c->size)
			break;
		if (set_object(w, c->fd, &chanfd_lock_fops, FMODE_READ, &err))
			err = chanfd_lock_case(w, true);
		break;
	case CHANFD_CASE_CHANGED:
		if (c->size)
			break;
		if (set_object(w, c->fd, &chanfd_cell_fops, FMODE_READ, &err))
			chanfd_change_case(w, c->buf);
		break;
	case CHANFD_CASE_POLL:
		if (c->buf || c->size > U16_MAX)
			break;
		if (set_file(w, c->fd, &err))
			chanfd_poll_case(w, demangle_poll(c->size));
		break;
	}
	return err;
}

/* Frees what a case keeps. */
static void unload(struct chanfd_waiter *w)
{
	if (w->op == CHANFD_CASE_SEND && w->ops && w->ops != &never_ops)
		chanfd_send_unload(w);
	else if (w->op == CHANFD_CASE_RECV && w->recv.taken)
		chanfd_recv_unload(w);
}

/* Undoes set_up() of the first @made cases, whether it failed or not. */
static void tear_down(struct chanfd_call *call, u32 made)
{
	struct chanfd_waiter *w, *end = call->waiters + made;

	if (call->kept)
		for (w = call->waiters; w < end; w++)
			unload(w);
	for (w = call->waiters; w < end; w++)
		fdput(w->fd);
}

/* Counts in @made how many must be torn down. */
static noinline int set_up_all(struct chanfd_call *call,
			       const struct chanfd_case __user *cases, u32 *made)
{
	struct chanfd_case fetched[FETCH] __uninitialized;
	struct chanfd_waiter *w = call->waiters;
	u32 i, n;
	int err = 0;

	for (*made = 0; *made < call->nr && !err; *made += i) {
		n = min_t(u32, call->nr - *made, FETCH);
		if (copy_from_user(fetched, cases + *made, n * sizeof(*cases)))
			return -EFAULT;
		for (i = 0; i < n && !err; i++)
			err = set_up(w++, call, &fetched[i]);
		cond_resched();
	}
	return err;
}

static void tell(const struct chanfd_waiter *w, int error, struct chanfd_select *s)
{
	s->error = -error;
	s->ok = 0;
	s->size = 0;
	s->status = 0;
	s->number = 0;
	if (error && w->op != CHANFD_CASE_WAIT)
		return;
	switch (w->op) {
	case CHANFD_CASE_RECV:
		s->ok = w->moved;
		s->size = w->recv.bytes;
		break;
	case CHANFD_CASE_WAIT:
		s->size = w->moved;
		s->status = w->status;
		break;
	case CHANFD_CASE_DONE:
		s->status = w->status;
		break;
	case CHANFD_CASE_POLL:
		s->size = mangle_poll(w->poll.revents);
		break;
	}
	s->number = w->number;
}

static int run(struct chanfd_call *call, struct chanfd_select *s, unsigned int cmd,
	       void __user *arg)
{
	struct chanfd_waiter *w = chanfd_call_run(call);
	bool recv, told;
	int err;

	if (IS_ERR(w))
		return PTR_ERR(w);
	recv = w->op == CHANFD_CASE_RECV;
	err = recv ? chanfd_recv_finish(w) : w->error;
	if (err == -EFAULT)
		return err;	/* the message is the channel's again: nothing was done */
	s->index = w - call->waiters;
	tell(w, err, s);
	told = !CHANFD_PUT_ARG(s, cmd, arg);
	return recv && !err ? chanfd_recv_settle(w, told) : 0;
}

long chanfd_select_ioctl(unsigned int cmd, void __user *arg)
{
	struct chanfd_waiter some[CASES_ON_STACK] __uninitialized;
	struct chanfd_waiter limit __uninitialized;
	u8 slot[CHANFD_SLOT_MAX] __uninitialized;
	struct chanfd_call call = { .waiters = some, .slot = slot };
	struct chanfd_select s;
	u32 made;
	int err;

	err = CHANFD_GET_ARG(&s, number, cmd, arg);
	if (err)
		return err;
	if (s.flags & ~(CHANFD_NONBLOCK | CHANFD_ORDERED))
		return -EINVAL;
	if (s.count > CHANFD_MAX_CASES)
		return -E2BIG;
	/* An outcome that has nowhere to go is found before there is one. */
	if (CHANFD_PUT_ARG(&s, cmd, arg))
		return -EFAULT;
	if (s.count > CASES_ON_STACK) {
		call.waiters = kvcalloc(s.count, sizeof(*call.waiters), GFP_KERNEL_ACCOUNT);
		if (!call.waiters)
			return -ENOMEM;
	} else {
		memset(some, 0, s.count * sizeof(*some));
	}
	call.nr = s.count;
	call.nonblock = s.flags & CHANFD_NONBLOCK;
	call.ordered = s.flags & CHANFD_ORDERED;
	call.deadline = chanfd_deadline(s.deadline);

	err = set_up_all(&call, u64_to_user_ptr(s.cases), &made);
	if (err)
		goto out_tear_down;
	call.context = chanfd_limit_get(&limit, s.context);
	err = PTR_ERR_OR_ZERO(call.context);
	if (err)
		goto out_tear_down;
	err = run(&call, &s, cmd, arg);
	chanfd_limit_put(call.context);
out_tear_down:
	tear_down(&call, made);
	if (call.waiters != some)
		kvfree(call.waiters);
	return err;
}
