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

/* User's cases are fetched by as many as this. */
#define FETCH		16

static int set_up_send(struct chanfd_waiter *w, struct chanfd_call *call,
		       const struct chanfd_case *c)
{
	chanfd_send_case(w, call);
	return chanfd_send_load(w, u64_to_user_ptr(c->buf), c->size);
}

static void tell_send(struct chanfd_waiter *w, struct chanfd_select *s)
{
	s->number = w->number;
}

static int set_up_recv(struct chanfd_waiter *w, struct chanfd_call *call,
		       const struct chanfd_case *c)
{
	chanfd_recv_case(w, call);
	return chanfd_recv_into(w, u64_to_user_ptr(c->buf), c->size);
}

static void tell_recv(struct chanfd_waiter *w, struct chanfd_select *s)
{
	s->ok = w->moved;
	s->size = w->recv.bytes;
	s->number = w->number;
}

static int set_up_wait(struct chanfd_waiter *w, struct chanfd_call *call,
		       const struct chanfd_case *c)
{
	chanfd_wait_case(w, call, c->flags & CHANFD_CASE_BROKEN, c->size);
	return 0;
}

static void tell_wait(struct chanfd_waiter *w, struct chanfd_select *s)
{
	s->size = w->moved;
	s->status = w->status;
	s->number = w->number;
}

static int set_up_done(struct chanfd_waiter *w, struct chanfd_call *call,
		       const struct chanfd_case *c)
{
	chanfd_done_case(w, call);
	return 0;
}

static int set_up_drained(struct chanfd_waiter *w, struct chanfd_call *call,
			  const struct chanfd_case *c)
{
	chanfd_drained_case(w, call);
	return 0;
}

static void tell_context(struct chanfd_waiter *w, struct chanfd_select *s)
{
	s->status = w->status;
}

static int set_up_poll(struct chanfd_waiter *w, struct chanfd_call *call,
		       const struct chanfd_case *c)
{
	if (c->size > U16_MAX)
		return -EINVAL;
	chanfd_poll_case(w, call, demangle_poll(c->size));
	return 0;
}

static void tell_poll(struct chanfd_waiter *w, struct chanfd_select *s)
{
	s->size = mangle_poll(w->poll.revents);
}

/**
 * struct operation - an operation that can be a case
 * @type:	of the handle, NULL for any file
 * @mode:	that the handle must have
 * @flags:	that the case may have
 * @buf:	it uses chanfd_case.buf
 * @size:	it uses chanfd_case.size
 * @set_up:	makes a waiter of the case
 * @tell:	fills in the outcome of one without error
 * @tear_down:	undoes @set_up, whether it failed or not; may be NULL
 */
struct operation {
	const struct chanfd_type *type;
	fmode_t mode;
	u16 flags;
	bool buf;
	bool size;
	int (*set_up)(struct chanfd_waiter *w, struct chanfd_call *call,
		      const struct chanfd_case *c);
	void (*tell)(struct chanfd_waiter *w, struct chanfd_select *s);
	void (*tear_down)(struct chanfd_waiter *w);
};

static const struct operation operations[] = {
	[CHANFD_CASE_SEND] = {
		.type		= &chanfd_channel_type,
		.mode		= FMODE_WRITE,
		.buf		= true,
		.size		= true,
		.set_up		= set_up_send,
		.tell		= tell_send,
		.tear_down	= chanfd_send_unload,
	},
	[CHANFD_CASE_RECV] = {
		.type		= &chanfd_channel_type,
		.mode		= FMODE_READ,
		.buf		= true,
		.size		= true,
		.set_up		= set_up_recv,
		.tell		= tell_recv,
	},
	[CHANFD_CASE_WAIT] = {
		.type		= &chanfd_waitgroup_type,
		.mode		= FMODE_READ,
		.flags		= CHANFD_CASE_BROKEN,
		.size		= true,
		.set_up		= set_up_wait,
		.tell		= tell_wait,
	},
	[CHANFD_CASE_DONE] = {
		.type		= &chanfd_context_type,
		.mode		= FMODE_READ,
		.set_up		= set_up_done,
		.tell		= tell_context,
	},
	[CHANFD_CASE_DRAINED] = {
		.type		= &chanfd_context_type,
		.mode		= FMODE_READ,
		.set_up		= set_up_drained,
		.tell		= tell_context,
	},
	[CHANFD_CASE_POLL] = {
		.size		= true,
		.set_up		= set_up_poll,
		.tell		= tell_poll,
	},
};

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

static int set_up(struct chanfd_waiter *w, struct chanfd_call *call,
		  const struct chanfd_case *c)
{
	const struct operation *op;
	struct file *file;

	if (c->reserved || !c->op || c->op >= ARRAY_SIZE(operations))
		return -EINVAL;
	op = &operations[c->op];
	if (c->flags & ~op->flags || (c->buf && !op->buf) || (c->size && !op->size))
		return -EINVAL;
	w->ops = &never_ops;
	if (c->fd < 0)
		return 0;
	w->fd = fdget(c->fd);
	file = fd_file(w->fd);
	if (!file)
		return -EBADF;
	if (op->type) {
		if (file->f_op != op->type->fops)
			return -EINVAL;
		if (!(file->f_mode & op->mode))
			return -EPERM;
		w->obj = file->private_data;
	}
	w->op = c->op;
	return op->set_up(w, call, c);
}

static void tear_down(struct chanfd_waiter *w)
{
	if (!fd_file(w->fd))
		return;
	if (w->op && operations[w->op].tear_down)
		operations[w->op].tear_down(w);
	fdput(w->fd);
}

static int set_up_all(struct chanfd_call *call, const struct chanfd_case __user *cases)
{
	struct chanfd_case fetched[FETCH];
	u32 i, n;
	int err = 0;

	for (i = 0; i < call->nr && !err; i++) {
		if (!(i % FETCH)) {
			cond_resched();
			n = min_t(u32, call->nr - i, FETCH);
			if (copy_from_user(fetched, cases + i, n * sizeof(*cases)))
				return -EFAULT;
		}
		err = set_up(&call->waiters[i], call, &fetched[i % FETCH]);
	}
	return err;
}

static int run(struct chanfd_call *call, struct chanfd_select *s)
{
	struct chanfd_waiter *w = chanfd_call_run(call);
	int err;

	if (IS_ERR(w))
		return PTR_ERR(w);
	err = chanfd_recv_finish(w);
	if (err == -EFAULT)
		return err;	/* the message is the channel's again: nothing was done */
	s->index = w - call->waiters;
	s->error = -err;
	s->ok = 0;
	s->size = 0;
	s->status = 0;
	s->number = 0;
	if (!err || w->op == CHANFD_CASE_WAIT)
		operations[w->op].tell(w, s);
	return 0;
}

long chanfd_select_ioctl(unsigned int cmd, void __user *arg)
{
	struct chanfd_waiter some[CASES_ON_STACK];
	struct chanfd_call call = { .waiters = some };
	struct chanfd_waiter limit;
	struct chanfd_select s;
	u32 i;
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

	call.context = chanfd_limit_get(&limit, s.context);
	if (IS_ERR(call.context)) {
		err = PTR_ERR(call.context);
		goto out_free;
	}
	err = set_up_all(&call, u64_to_user_ptr(s.cases));
	if (!err)
		err = run(&call, &s);
	for (i = 0; i < call.nr; i++)
		tear_down(&call.waiters[i]);
	chanfd_limit_put(call.context);
	if (!err)
		CHANFD_PUT_ARG(&s, cmd, arg);
out_free:
	if (call.waiters != some)
		kvfree(call.waiters);
	return err;
}
