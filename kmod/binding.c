// SPDX-License-Identifier: GPL-2.0
/*
 * Bindings: a file whose readiness ends a context.
 *
 * The file's wait queues call whenever something may have happened. They may do so in
 * interrupt context and under locks of their own, so the callback only queues a work
 * item, which asks the file and ends the context.
 *
 * Lifetimes: a binding holds the file. Its hooks are taken out of the file's wait
 * queues before its context goes; so while they are in, the context may be looked at,
 * but may be on its way out: the callback takes a reference if there still is one.
 */

#include <linux/file.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "context.h"
#include "foreign.h"

struct hook {
	struct wait_queue_entry wait;
	wait_queue_head_t *head;
	struct binding *binding;
};

/**
 * struct binding - a file whose readiness ends a context
 * @ref:	one for the context, one while the work is queued, one while it is made
 * @user:	who pays
 * @ctx:	valid as long as the hooks are in; the work has a reference
 * @node:	in the context's list
 * @file:	holds a reference
 * @events:	that count
 * @cause:	to give then
 * @hooks:	in the file's wait queues
 * @nr_hooks:	most files have one
 * @too_many:	the file has more than there are hooks
 * @armed:	calls count: nothing can fail any more
 * @fired:	the work is queued
 * @believe:	a call from the file is enough; it must not be asked again
 * @pt:		to get at the file's wait queues
 * @work:	ends the context
 */
struct binding {
	refcount_t ref;
	struct chanfd_user *user;
	struct context *ctx;
	struct list_head node;
	struct file *file;
	__poll_t events;
	s32 cause;
	struct hook hooks[2];
	int nr_hooks;
	bool too_many;
	bool armed;
	bool fired;
	bool believe;
	poll_table pt;
	struct work_struct work;
};

static void binding_put(struct binding *b)
{
	if (refcount_dec_and_test(&b->ref)) {
		fput(b->file);
		chanfd_user_uncharge(b->user, 1, 0);
		kfree(b);
	}
}

static void binding_work(struct work_struct *work)
{
	struct binding *b = container_of(work, struct binding, work);
	struct context *ctx = b->ctx;

	/* From here on another call queues the work again: full barrier, then look. */
	xchg(&b->fired, false);
	if (b->believe || vfs_poll(b->file, NULL) & b->events)
		chanfd_end_context_soon(ctx, ECANCELED, b->cause);
	binding_put(b);
	chanfd_object_put(&ctx->obj);
}

static int file_calls(struct wait_queue_entry *wait, unsigned int mode, int sync, void *key)
{
	struct hook *hook = container_of(wait, struct hook, wait);
	struct binding *b = hook->binding;
	__poll_t events = key_to_poll(key);

	if (events & POLLFREE) {
		list_del_init(&wait->entry);
		/* The queue goes before the file; pairs with unhook(). No file that may
		 * be bound does so today.
		 */
		smp_store_release(&hook->head, NULL);
		return 1;
	}
	if (events && !(events & b->events))
		return 0;
	/* The file was changed, then look: pairs with xchg() in chanfd_context_bind(). */
	smp_mb();
	if (!READ_ONCE(b->armed))
		return 0;
	if (xchg(&b->fired, true))
		return 1;
	if (refcount_inc_not_zero(&b->ctx->obj.ref)) {
		refcount_inc(&b->ref);
		queue_work(chanfd_workqueue, &b->work);
	}
	return 1;
}

static void unhook(struct hook *hook)
{
	wait_queue_head_t *head;

	rcu_read_lock();
	/* Pairs with file_calls(); RCU keeps a queue that is just going. */
	head = smp_load_acquire(&hook->head);
	if (head)
		remove_wait_queue(head, &hook->wait);
	rcu_read_unlock();
}

static void binding_release(struct binding *b)
{
	while (b->nr_hooks)
		unhook(&b->hooks[--b->nr_hooks]);
	binding_put(b);
}

void chanfd_release_bindings(struct context *ctx)
{
	struct binding *b, *next;
	LIST_HEAD(list);

	spin_lock(&ctx->obj.lock);
	list_splice_init(&ctx->bindings, &list);
	spin_unlock(&ctx->obj.lock);
	list_for_each_entry_safe(b, next, &list, node)
		binding_release(b);
}

static void hook_up(struct file *file, wait_queue_head_t *head, poll_table *pt)
{
	struct binding *b = container_of(pt, struct binding, pt);
	struct hook *hook;

	if (b->nr_hooks == ARRAY_SIZE(b->hooks)) {
		b->too_many = true;
		return;
	}
	hook = &b->hooks[b->nr_hooks++];
	hook->binding = b;
	hook->head = head;
	init_waitqueue_func_entry(&hook->wait, file_calls);
	add_wait_queue(head, &hook->wait);
}

/*
 * A context keeps the files open that it is bound to (see foreign.c). And it asks them from
 * a kernel thread, so none may be bound whose answer depends on who asks, or that can make
 * whoever asks wait, as a file system or a device can.
 */
static int may_bind(struct binding *b)
{
	if (!file_can_poll(b->file))
		return -EPERM;
	if (!chanfd_holds_no_files(b->file))
		return -EOPNOTSUPP;
	if (chanfd_is_special(b->file, "[signalfd]"))
		return -EOPNOTSUPP;	/* answers for the task that asks */
	/* It asks files that may make it wait. */
	b->believe = chanfd_is_special(b->file, "[eventpoll]");
	return 0;
}

/* Puts a binding on the list, or says why not. */
static int binding_add(struct context *ctx, struct binding *b)
{
	int err = 0;

	spin_lock(&ctx->obj.lock);
	if (ctx->error)
		err = -ESTALE;	/* nothing to wait for */
	else if (ctx->nr_bindings == CHANFD_MAX_BINDINGS)
		err = -ENOSPC;
	if (!err) {
		ctx->nr_bindings++;
		list_add(&b->node, &ctx->bindings);
	}
	spin_unlock(&ctx->obj.lock);
	return err;
}

/* Context: no locks held. */
static struct binding *binding_new(struct context *ctx, const struct chanfd_bind *c)
{
	struct binding *b = kzalloc(sizeof(*b), GFP_KERNEL_ACCOUNT);
	int err;

	if (!b)
		return ERR_PTR(-ENOMEM);
	b->user = chanfd_user_charge(1, 0);
	if (IS_ERR(b->user)) {
		err = PTR_ERR(b->user);
		goto out_free;
	}
	b->file = fget(c->fd);
	if (!b->file) {
		err = -EBADF;
		goto out_uncharge;
	}
	refcount_set(&b->ref, 2);
	INIT_WORK(&b->work, binding_work);
	b->ctx = ctx;
	b->events = demangle_poll(c->events) | EPOLLERR | EPOLLHUP;
	b->cause = c->cause ?: ECANCELED;
	return b;

out_uncharge:
	chanfd_user_uncharge(b->user, 1, 0);
out_free:
	kfree(b);
	return ERR_PTR(err);
}

int chanfd_context_bind(struct context *ctx, unsigned int cmd, void __user *arg)
{
	struct ending e = { ECANCELED };
	struct chanfd_bind c;
	struct binding *b;
	int err;

	err = CHANFD_GET_ARG(&c, reserved, cmd, arg);
	if (err)
		return err;
	if (c.reserved || c.events > U16_MAX)
		return -EINVAL;
	b = binding_new(ctx, &c);
	if (IS_ERR(b))
		return PTR_ERR(b);
	err = may_bind(b);
	if (!err) {
		init_poll_funcptr(&b->pt, hook_up);
		b->pt._key = b->events;
		vfs_poll(b->file, &b->pt);
		err = b->too_many ? -EOPNOTSUPP : binding_add(ctx, b);
	}
	if (err) {
		binding_release(b);
		err = err == -ESTALE ? 0 : err;
	} else {
		/* What was missed so far is found by asking: full barrier, then look. */
		xchg(&b->armed, true);
		e.cause = b->cause;
		if (vfs_poll(b->file, NULL) & b->events)
			chanfd_end_context(ctx, &e);
	}
	binding_put(b);
	return err;
}
