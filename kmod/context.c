// SPDX-License-Identifier: GPL-2.0
/*
 * Contexts: trees of cancellation.
 *
 * Overview
 *
 * A context is done once, for one of three reasons: it is cancelled, its deadline
 * passes, or its parent is done; the first of them counts, and gives the error
 * and the cause. When a cancellation returns every context below is done.
 *
 * A child refers to its parent, so a chain of parents can be walked without
 * locks, for values and causes. A parent lists those children that are to end
 * with it, without referring to them, and counts those that exist: when there
 * are none it is drained. Trees are walked by loops; depth costs no stack.
 *
 * A context made without its parent's cancellation is the root of a tree of its
 * own, but looks values up in its parent.
 *
 * Publication (CONTEXT_END): cause and reason are written before the
 * store-release of error, and do not change again. Whoever reads error by a
 * load-acquire, or is woken because of it (CALL_DONE in wait.c), sees them. This
 * is also the happens-before edge from a cancellation to those that observe it.
 *
 * Locking:
 *	root->walk > ctx->obj.lock
 *
 * A walk ends a context, then all below it, holding one object's lock at a time.
 * Another walk that finds a context ended must be able to rely on everything
 * below being ended too, or about to be by the time that it returns; so walks of
 * one tree exclude each other by its root's mutex. A context without children
 * needs no walk.
 *
 * Lifetimes: the timer of a deadline, and what waits at a bound file, take a
 * reference when they fire, and leave the rest to a work item: they may fire in
 * interrupt context. Both are stopped before the context is freed. The module goes
 * when no context is left, so no work is.
 */

#include <linux/file.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "context.h"

#define CONTEXT_FLAGS	(CHANFD_PAIR | CHANFD_OBSERVE | CHANFD_INHERIT | CHANFD_KEEP | \
			 CHANFD_WITHOUT_CANCEL)

struct workqueue_struct *chanfd_workqueue;

/* That exist; chanfd_context_exit() waits for the last. */
static atomic_t contexts = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(last_context);

static struct reason *reason_get(struct reason *reason)
{
	if (reason)
		refcount_inc(&reason->ref);
	return reason;
}

static void reason_put(struct reason *reason)
{
	if (reason && refcount_dec_and_test(&reason->ref))
		kfree(reason);
}

/* Waiting */

static s32 context_error(const struct context *ctx)
{
	/* CONTEXT_END: pairs with end_locked() */
	return smp_load_acquire(&ctx->error);
}

static void done_outcome(struct chanfd_waiter *w, const void *arg)
{
	const struct context *ctx = arg;

	w->error = w == w->call->context ? -ctx->error : 0;
	w->status = ctx->cause;
}

static bool done_ready(struct chanfd_waiter *w)
{
	return context_error(to_context(w->obj));
}

static int done_attempt(struct chanfd_waiter *w, bool park)
{
	struct context *ctx = to_context(w->obj);

	if (!context_error(ctx)) {
		if (!park)
			return 0;
		spin_lock(&ctx->obj.lock);
		if (!ctx->error) {
			chanfd_park(&ctx->waiters, w);
			spin_unlock(&ctx->obj.lock);
			return 0;
		}
		spin_unlock(&ctx->obj.lock);
	}
	if (chanfd_commit(w))
		done_outcome(w, ctx);
	return 0;
}

static const struct chanfd_waiter_ops done_ops = {
	.ready = done_ready,
	.attempt = done_attempt,
};

static void drained_outcome(struct chanfd_waiter *w, const void *arg)
{
}

static bool drained_ready(struct chanfd_waiter *w)
{
	/* A hint: a wrong answer costs one attempt. */
	return data_race(!to_context(w->obj)->nr_children);
}

static int drained_attempt(struct chanfd_waiter *w, bool park)
{
	struct context *ctx = to_context(w->obj);

	spin_lock(&ctx->obj.lock);
	if (!ctx->nr_children)
		chanfd_commit(w);
	else if (park)
		chanfd_park(&ctx->drainers, w);
	spin_unlock(&ctx->obj.lock);
	return 0;
}

static const struct chanfd_waiter_ops drained_ops = {
	.ready = drained_ready,
	.attempt = drained_attempt,
};

void chanfd_context_case(struct chanfd_waiter *w, bool drained)
{
	w->ops = drained ? &drained_ops : &done_ops;
	chanfd_consider(w, w->ops->ready(w));
}

/* The context behind a file descriptor that may observe it. */
static struct chanfd_object *observed(struct fd fd)
{
	struct file *file = fd_file(fd);

	if (!file)
		return ERR_PTR(-EBADF);
	if (file->f_op != chanfd_context_type.fops)
		return ERR_PTR(-EINVAL);
	if (!(file->f_mode & FMODE_READ))
		return ERR_PTR(-EPERM);
	return file->private_data;
}

/**
 * chanfd_limit_get() - let a context end a call
 * @limit: becomes the case for that
 * @context: file descriptor, or negative for none
 *
 * Return: @limit, to be given back; NULL for none; or an ERR_PTR(): %-EBADF,
 * %-EINVAL, %-EPERM; %-ECANCELED or %-ETIMEDOUT if the context is done already.
 */
struct chanfd_waiter *chanfd_limit_get(struct chanfd_waiter *limit, s32 context)
{
	struct chanfd_object *obj;
	struct fd fd;
	int err;

	if (context < 0)
		return NULL;
	fd = fdget(context);
	obj = observed(fd);
	err = IS_ERR(obj) ? PTR_ERR(obj) : -context_error(to_context(obj));
	if (err) {
		fdput(fd);
		return ERR_PTR(err);
	}
	*limit = (struct chanfd_waiter){
		.ops = &done_ops,
		.obj = obj,
		.fd = fd,
	};
	return limit;
}

void chanfd_limit_put(struct chanfd_waiter *limit)
{
	if (limit)
		fdput(limit->fd);
}

/* Ending */

/* False if it was done already. Context: lock held. */
static bool end_locked(struct context *ctx, const struct ending *e)
{
	if (ctx->error)
		return false;
	ctx->cause = e->cause;
	ctx->reason = reason_get(e->reason);
	/* CONTEXT_END: pairs with context_error() */
	smp_store_release(&ctx->error, e->error);
	return true;
}

/* Of a context that is done. */
static __poll_t done_events(const struct context *ctx)
{
	return EPOLLIN | EPOLLRDNORM | EPOLLHUP | (ctx->cause == EOWNERDEAD ? EPOLLERR : 0);
}

/* What follows for the context itself. Context: no locks held but root->walk. */
static void after_end(struct context *ctx)
{
	chanfd_release_all(&ctx->obj, &ctx->waiters.list, done_outcome, ctx);
	chanfd_wake_pollers(&ctx->pollers, 0, done_events(ctx));
	if (ctx->expiry)
		hrtimer_cancel(&ctx->expiry->timer);
	chanfd_release_bindings(ctx);
}

/* Unlinks a child that is still alive; the caller gets a reference. */
static struct context *take_child(struct context *ctx)
{
	struct context *child = NULL;

	spin_lock(&ctx->obj.lock);
	while (!child && !list_empty(&ctx->children)) {
		child = list_first_entry(&ctx->children, struct context, sibling);
		list_del_init(&child->sibling);
		if (!refcount_inc_not_zero(&child->obj.ref))
			child = NULL;	/* it is just being freed */
	}
	spin_unlock(&ctx->obj.lock);
	return child;
}

/* Ends all below contexts that have ended. Context: root->walk held. */
static void end_descendants(struct list_head *todo, const struct ending *e)
{
	while (!list_empty(todo)) {
		struct context *ctx, *child;

		ctx = list_first_entry(todo, struct context, todo);
		list_del(&ctx->todo);
		after_end(ctx);
		while ((child = take_child(ctx))) {
			bool first;

			spin_lock(&child->obj.lock);
			first = end_locked(child, e);
			spin_unlock(&child->obj.lock);
			if (first)
				list_add(&child->todo, todo);
			else
				chanfd_object_put(&child->obj);
			cond_resched();
		}
		chanfd_object_put(&ctx->obj);
	}
}

/* Ends a context that has no children. False if it has some, or is done. */
static bool end_leaf(struct context *ctx, const struct ending *e)
{
	bool first;

	spin_lock(&ctx->obj.lock);
	first = list_empty(&ctx->children) && end_locked(ctx, e);
	spin_unlock(&ctx->obj.lock);
	if (first)
		after_end(ctx);
	return first;
}

/* Ends a context and all below it. Context: root->walk held. */
static void end_tree(struct context *ctx, const struct ending *e)
{
	LIST_HEAD(todo);
	bool first;

	spin_lock(&ctx->obj.lock);
	first = end_locked(ctx, e);
	spin_unlock(&ctx->obj.lock);
	if (first) {
		chanfd_object_get(&ctx->obj);
		list_add(&ctx->todo, &todo);
		end_descendants(&todo, e);
	}
}

/**
 * chanfd_end_context() - end a context and all below it, unless it is done
 * @ctx: the context
 * @e: how
 *
 * When this returns all of them are done, whoever ended them.
 *
 * Context: Process context, no locks held. Waits for others who walk the tree.
 */
void chanfd_end_context(struct context *ctx, const struct ending *e)
{
	if (end_leaf(ctx, e))
		return;
	mutex_lock(&ctx->root->walk);
	end_tree(ctx, e);
	mutex_unlock(&ctx->root->walk);
}

/* The same without waiting: false if somebody walks the tree just now. */
static bool try_end_context(struct context *ctx, const struct ending *e)
{
	if (context_error(ctx) || end_leaf(ctx, e))
		return true;
	if (!mutex_trylock(&ctx->root->walk))
		return false;
	end_tree(ctx, e);
	mutex_unlock(&ctx->root->walk);
	return true;
}

static void ender_work(struct work_struct *work)
{
	struct context *ctx = container_of(to_delayed_work(work), struct context, ender);

	if (try_end_context(ctx, &ctx->pending))
		chanfd_object_put(&ctx->obj);
	else
		queue_delayed_work(chanfd_workqueue, &ctx->ender, 1);
}

/**
 * chanfd_end_context_soon() - the same, for those who must not wait
 * @ctx: the context
 * @error: ECANCELED or ETIMEDOUT
 * @cause: to give
 *
 * Workers, and whoever closes a file, serve more than this tree: another's walk must
 * not hold them up.
 *
 * Context: Process context, no locks held.
 */
void chanfd_end_context_soon(struct context *ctx, s32 error, s32 cause)
{
	struct ending e = { error, cause };
	bool first;

	if (try_end_context(ctx, &e))
		return;
	spin_lock(&ctx->obj.lock);
	first = !ctx->pending.error;
	if (first)
		ctx->pending = e;
	spin_unlock(&ctx->obj.lock);
	if (first) {
		chanfd_object_get(&ctx->obj);
		queue_delayed_work(chanfd_workqueue, &ctx->ender, 1);
	}
}

static void expiry_work(struct work_struct *work)
{
	struct expiry *x = container_of(work, struct expiry, work);
	struct context *ctx = x->ctx;

	chanfd_end_context_soon(ctx, ETIMEDOUT, x->cause);
	chanfd_object_put(&ctx->obj);
}

static enum hrtimer_restart expired(struct hrtimer *timer)
{
	struct expiry *x = container_of(timer, struct expiry, timer);

	if (refcount_inc_not_zero(&x->ctx->obj.ref))
		queue_work(chanfd_workqueue, &x->work);
	return HRTIMER_NORESTART;
}

/* Other commands */

static int context_cancel(struct context *ctx, unsigned int cmd, void __user *arg)
{
	struct chanfd_cancel c;
	struct ending e = { ECANCELED };
	int err;

	err = CHANFD_GET_ARG(&c, text, cmd, arg);
	if (err)
		return err;
	if (c.reserved || strnlen(c.text, sizeof(c.text)) == sizeof(c.text))
		return -EINVAL;
	if (c.text[0]) {
		e.reason = kzalloc(sizeof(*e.reason), GFP_KERNEL_ACCOUNT);
		if (!e.reason)
			return -ENOMEM;
		refcount_set(&e.reason->ref, 1);
		strscpy(e.reason->text, c.text, sizeof(e.reason->text));
	}
	e.cause = c.cause ?: ECANCELED;
	chanfd_end_context(ctx, &e);
	reason_put(e.reason);
	return 0;
}

static int context_get_value(struct context *ctx, unsigned int cmd, void __user *arg)
{
	struct chanfd_value v;
	const struct value *found = NULL;
	int err;

	err = CHANFD_GET_ARG(&v, reserved, cmd, arg);
	if (err)
		return err;
	if (v.reserved)
		return -EINVAL;
	for (; ctx && !found; ctx = ctx->parent) {
		if (ctx->value && !memcmp(ctx->value->key, v.key, sizeof(v.key)))
			found = ctx->value;
		cond_resched();
	}
	if (!found)
		return -ENOENT;
	if (v.size < found->size)
		return -EMSGSIZE;
	v.size = found->size;
	if (copy_to_user(u64_to_user_ptr(v.buf), found->data, found->size))
		return -EFAULT;
	return CHANFD_PUT_ARG(&v, cmd, arg);
}

static int context_get_info(struct context *ctx, unsigned int cmd, void __user *arg)
{
	struct chanfd_context_info info = { .error = context_error(ctx) };

	if (_IOC_SIZE(cmd) < sizeof(info))
		return -ENOTTY;
	if (info.error) {
		info.cause = ctx->cause;
		if (ctx->reason)
			memcpy(info.text, ctx->reason->text, sizeof(info.text));
	}
	if (ctx->deadline != KTIME_MAX)
		info.deadline = chanfd_ktime_from_host(ctx->deadline);
	spin_lock(&ctx->obj.lock);
	info.children = ctx->nr_children;
	info.cancellers = ctx->obj.writers;
	info.waiters = ctx->waiters.len + ctx->drainers.len;
	spin_unlock(&ctx->obj.lock);
	return CHANFD_PUT_ARG(&info, cmd, arg);
}

static long context_ioctl(struct file *file, unsigned int cmd, unsigned long uarg)
{
	struct context *ctx = file->private_data;
	void __user *arg = (void __user *)uarg;

	switch (CHANFD_CMD(cmd)) {
	case CHANFD_CMD(CHANFD_IOC_CANCEL):
		return file->f_mode & FMODE_WRITE ? context_cancel(ctx, cmd, arg) : -EPERM;
	case CHANFD_CMD(CHANFD_IOC_BIND):
		return file->f_mode & FMODE_WRITE ? chanfd_context_bind(ctx, cmd, arg) : -EPERM;
	case CHANFD_CMD(CHANFD_IOC_CONTEXT):
		/* So whoever was given a context needs no device to derive one. */
		return chanfd_context_create(cmd, arg);
	case CHANFD_CMD(CHANFD_IOC_VALUE):
		return file->f_mode & FMODE_READ ? context_get_value(ctx, cmd, arg) : -EPERM;
	case CHANFD_CMD(CHANFD_IOC_CONTEXT_INFO):
		return file->f_mode & FMODE_READ ? context_get_info(ctx, cmd, arg) : -EPERM;
	}
	return chanfd_handle_ioctl(file, cmd, arg);
}

static __poll_t context_poll(struct file *file, poll_table *table)
{
	struct context *ctx = file->private_data;
	__poll_t events;

	if (!(file->f_mode & FMODE_READ))
		return 0;
	poll_wait(file, &ctx->pollers, table);
	/* Ordered by the lock: poll_wait() is no barrier in the first 6.1 releases. */
	spin_lock(&ctx->obj.lock);
	events = ctx->error ? done_events(ctx) : 0;
	spin_unlock(&ctx->obj.lock);
	return events;
}

static void context_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct context *ctx = file->private_data;
	s32 error = context_error(ctx);
	u32 children, waiting;

	spin_lock(&ctx->obj.lock);
	children = ctx->nr_children;
	waiting = ctx->waiters.len + ctx->drainers.len;
	spin_unlock(&ctx->obj.lock);
	chanfd_show_object(m, file, &ctx->obj);
	seq_printf(m, "chanfd-state:\t%s\n", !error ? "live" :
		   error == ETIMEDOUT ? "expired" : "cancelled");
	if (error)
		seq_printf(m, "chanfd-cause:\t%d\n", ctx->cause);
	if (ctx->parent)
		seq_printf(m, "chanfd-parent:\t%llu\n", ctx->parent->obj.id);
	seq_printf(m, "chanfd-children:\t%u\n", children);
	seq_printf(m, "chanfd-waiting:\t%u\n", waiting);
}

const struct file_operations chanfd_context_fops = {
	CHANFD_HANDLE_FOPS,
	.poll		= context_poll,
	.unlocked_ioctl	= context_ioctl,
	.show_fdinfo	= context_show_fdinfo,
};

/* The last one who could cancel is gone without having done so. */
static void context_abandoned(struct chanfd_object *obj, u32 rights)
{
	struct context *ctx = to_context(obj);

	if (rights & CHANFD_WRITE && !ctx->keep)
		chanfd_end_context_soon(ctx, ECANCELED, EOWNERDEAD);
}

/* A child is gone for good. */
static void leave_parent(struct context *parent, struct context *child)
{
	LIST_HEAD(drainers);

	spin_lock(&parent->obj.lock);
	list_del(&child->sibling);
	if (!--parent->nr_children) /* who comes later may find another child */
		list_splice_init(&parent->drainers.list, &drainers);
	spin_unlock(&parent->obj.lock);
	chanfd_release_all(&parent->obj, &drainers, drained_outcome, NULL);
}

/* The references to parents are given up by a loop: the chain may be long. */
static void context_free(struct chanfd_object *obj)
{
	struct context *ctx = to_context(obj), *parent;

	do {
		parent = ctx->parent;
		if (ctx->expiry) {
			hrtimer_cancel(&ctx->expiry->timer);
			kfree(ctx->expiry);
		}
		chanfd_release_bindings(ctx);
		if (ctx->root != ctx)
			leave_parent(parent, ctx);
		reason_put(ctx->reason);
		kfree(ctx->value);
		kfree(ctx);
		if (atomic_dec_and_test(&contexts))
			wake_up(&last_context);
		ctx = parent;
		cond_resched();
	} while (ctx && chanfd_object_drop(&ctx->obj));
}

const struct chanfd_type chanfd_context_type = {
	.number		= CHANFD_TYPE_CONTEXT,
	.name		= "context",
	.file_name	= "[chanfd-context]",
	.fops		= &chanfd_context_fops,
	.abandoned	= context_abandoned,
	.free		= context_free,
};

/* Making one */

static struct value *value_new(const struct chanfd_context *c)
{
	bool keyed = memchr_inv(c->key, 0, sizeof(c->key));
	struct value *value;

	if (!keyed)
		return c->value || c->value_size ? ERR_PTR(-EINVAL) : NULL;
	if (c->value_size > CHANFD_MAX_VALUE)
		return ERR_PTR(-EINVAL);
	value = kmalloc(struct_size(value, data, c->value_size), GFP_KERNEL_ACCOUNT);
	if (!value)
		return ERR_PTR(-ENOMEM);
	memcpy(value->key, c->key, sizeof(value->key));
	value->size = c->value_size;
	if (copy_from_user(value->data, u64_to_user_ptr(c->value), value->size)) {
		kfree(value);
		return ERR_PTR(-EFAULT);
	}
	return value;
}

static struct expiry *expiry_new(struct context *ctx, s32 cause)
{
	struct expiry *x = kmalloc(sizeof(*x), GFP_KERNEL_ACCOUNT);

	if (!x)
		return NULL;
	x->ctx = ctx;
	x->cause = cause ?: ETIMEDOUT;
	INIT_WORK(&x->work, expiry_work);
	/* Soft: many that expire at once must not hold interrupts up. */
	hrtimer_setup(&x->timer, expired, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_SOFT);
	return x;
}

/* From here on it ends with its parent, or has ended as its parent did. */
static void join_parent(struct context *ctx)
{
	struct context *parent = ctx->parent;
	struct ending e;

	spin_lock(&parent->obj.lock);
	parent->nr_children++;
	e.error = parent->error;
	if (!e.error)
		list_add(&ctx->sibling, &parent->children);
	spin_unlock(&parent->obj.lock);
	if (e.error) {
		e.cause = parent->cause;
		e.reason = parent->reason;
		chanfd_end_context(ctx, &e);
	}
}

static struct context *context_new(const struct chanfd_context *c, struct context *parent)
{
	bool detached = !parent || c->flags & CHANFD_WITHOUT_CANCEL;
	struct context *ctx;
	struct value *value;
	int err;

	value = value_new(c);
	if (IS_ERR(value))
		return ERR_CAST(value);
	err = -ENOMEM;
	ctx = kzalloc(sizeof(*ctx), GFP_KERNEL_ACCOUNT);
	if (!ctx)
		goto out_value;
	ctx->keep = c->flags & CHANFD_KEEP;
	ctx->value = value;
	ctx->root = detached ? ctx : parent->root;
	ctx->deadline = chanfd_deadline(c->deadline);
	if (!detached && parent->deadline <= ctx->deadline) {
		ctx->deadline = parent->deadline;
	} else if (ctx->deadline != KTIME_MAX) {
		ctx->expiry = expiry_new(ctx, c->deadline_cause);
		if (!ctx->expiry)
			goto out_context;
	}
	INIT_LIST_HEAD(&ctx->children);
	INIT_LIST_HEAD(&ctx->sibling);
	INIT_LIST_HEAD(&ctx->bindings);
	chanfd_queue_init(&ctx->waiters);
	chanfd_queue_init(&ctx->drainers);
	INIT_DELAYED_WORK(&ctx->ender, ender_work);
	mutex_init(&ctx->walk);
	init_waitqueue_head(&ctx->pollers);
	err = chanfd_object_init(&ctx->obj, &chanfd_context_type, c->name,
				 value ? value->size : 0);
	if (err)
		goto out_expiry;
	atomic_inc(&contexts);
	if (parent) {
		chanfd_object_get(&parent->obj);
		ctx->parent = parent;
	}
	if (!detached)
		join_parent(ctx);
	return ctx;

out_expiry:
	kfree(ctx->expiry);
out_context:
	kfree(ctx);
out_value:
	kfree(value);
	return ERR_PTR(err);
}

/* Starts the clock, or ends what is late already before anybody can see it. */
static void start_expiry(struct context *ctx)
{
	struct expiry *x = ctx->expiry;
	struct ending e = { ETIMEDOUT, x->cause, NULL };

	if (ctx->deadline <= ktime_get())
		chanfd_end_context(ctx, &e);
	else if (!context_error(ctx))
		hrtimer_start(&x->timer, ctx->deadline, HRTIMER_MODE_ABS_SOFT);
}

long chanfd_context_create(unsigned int cmd, void __user *arg)
{
	struct chanfd_object *parent = NULL;
	struct chanfd_context c;
	struct context *ctx;
	struct fd fd = {};
	u32 rights;
	long err;

	err = CHANFD_GET_ARG(&c, id, cmd, arg);
	if (err)
		return err;
	if (c.flags & ~CONTEXT_FLAGS || (c.deadline_cause && !c.deadline) ||
	    (c.flags & CHANFD_OBSERVE && c.flags & (CHANFD_PAIR | CHANFD_KEEP)))
		return -EINVAL;
	if (c.parent >= 0) {
		fd = fdget(c.parent);
		parent = observed(fd);
		if (IS_ERR(parent)) {
			err = PTR_ERR(parent);
			goto out;
		}
	}
	ctx = context_new(&c, parent ? to_context(parent) : NULL);
	if (IS_ERR(ctx)) {
		err = PTR_ERR(ctx);
		goto out;
	}
	if (ctx->expiry)
		start_expiry(ctx);
	rights = c.flags & CHANFD_OBSERVE ? CHANFD_READ : CHANFD_READ | CHANFD_WRITE;
	err = CHANFD_PUBLISH(&ctx->obj, rights, &c, cmd, arg);
out:
	fdput(fd);
	return err;
}

int __init chanfd_context_init(void)
{
	chanfd_workqueue = alloc_workqueue("chanfd", WQ_UNBOUND, 0);
	return chanfd_workqueue ? 0 : -ENOMEM;
}

/* Waits for contexts that only their work still refers to. */
void chanfd_context_exit(void)
{
	wait_event(last_context, !atomic_read(&contexts));
	destroy_workqueue(chanfd_workqueue);
}
