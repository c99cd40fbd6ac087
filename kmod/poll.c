// SPDX-License-Identifier: GPL-2.0
/*
 * A foreign file as a case: a socket, a pipe, a pidfd, whatever can be polled.
 *
 * Nobody can take a file's readiness away on somebody's behalf, so nothing is
 * claimed here. The file's callback only pokes the call (CALL_POKED in wait.c);
 * the call's own task then asks the file again and commits by itself.
 */

#include <linux/poll.h>
#include <linux/slab.h>

#include "compat.h"
#include "wait.h"

/* One wait queue of the file; in @w->poll.entries until poll_left(). */
struct chanfd_poll_entry {
	struct wait_queue_entry wait;
	wait_queue_head_t *head;
	struct chanfd_waiter *w;
	struct chanfd_poll_entry *next;
};

struct foreign_table {
	poll_table pt;
	struct chanfd_waiter *w;
};

static int poke(struct wait_queue_entry *wait, unsigned int mode, int sync, void *key)
{
	struct chanfd_poll_entry *entry = container_of(wait, struct chanfd_poll_entry, wait);
	struct chanfd_call *call = entry->w->call;

	if (key && !(key_to_poll(key) & entry->w->poll.events))
		return 0;
	/* CALL_POKED: the file was changed, then this: full barrier. A release would not
	 * do where several files call.
	 */
	xchg(&call->poked, true);
	wake_up_process(call->task);
	return 1;
}

static void join(struct file *file, wait_queue_head_t *head, poll_table *pt)
{
	struct chanfd_waiter *w = container_of(pt, struct foreign_table, pt)->w;
	struct chanfd_poll_entry *entry;

	entry = kmalloc(sizeof(*entry), GFP_KERNEL_ACCOUNT);
	if (!entry) {
		w->poll.error = -ENOMEM;
		return;
	}
	init_waitqueue_func_entry(&entry->wait, poke);
	entry->head = head;
	entry->w = w;
	entry->next = w->poll.entries;
	w->poll.entries = entry;
	add_wait_queue(head, &entry->wait);
}

/* Is it? Asks the file, and joins its wait queues if @pt says so. */
static bool file_is_ready(struct chanfd_waiter *w, poll_table *pt)
{
	w->poll.revents = vfs_poll(fd_file(w->fd), pt) & w->poll.events;
	return w->poll.revents;
}

static bool poll_ready(struct chanfd_waiter *w)
{
	return file_is_ready(w, NULL);
}

static int poll_attempt(struct chanfd_waiter *w, bool park)
{
	struct foreign_table table = { .w = w };

	if (park)
		init_poll_funcptr(&table.pt, join);
	else
		init_poll_funcptr(&table.pt, NULL);
	table.pt._key = w->poll.events;
	if (file_is_ready(w, &table.pt))
		chanfd_commit(w);
	return w->poll.error;
}

static void poll_poked(struct chanfd_waiter *w)
{
	chanfd_commit(w);
}

static void poll_left(struct chanfd_waiter *w)
{
	struct chanfd_poll_entry *entry;

	while ((entry = w->poll.entries)) {
		w->poll.entries = entry->next;
		remove_wait_queue(entry->head, &entry->wait);
		kfree(entry);
	}
}

static const struct chanfd_waiter_ops poll_ops = {
	.ready = poll_ready,
	.attempt = poll_attempt,
	.poked = poll_poked,
	.left = poll_left,
};

void chanfd_poll_case(struct chanfd_waiter *w, __poll_t events)
{
	w->ops = &poll_ops;
	w->poll.events = events | EPOLLERR | EPOLLHUP;
	chanfd_consider(w, poll_ready(w));
}
