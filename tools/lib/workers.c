// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Workers: tasks of a group that receive from one channel.
 *
 * To be fewer, they are sent as many messages to quit, which they look for before each
 * message of the channel: so those go first that have nothing to do. Who has taken one
 * may still be killed before it goes, or somebody else meanwhile; and the wanted number
 * may have changed. So each worker that ends sees whether there are too few now, and if
 * so it begins anew. That makes the number right whenever all that was sent has arrived.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "group.h"

/**
 * struct chanfd_workers - tasks that receive from one channel
 * @owned:	by @group
 * @group:	whose tasks they are
 * @work:	what they do
 * @room:	bytes of the longest message
 * @quit:	channel: who receives from it ends
 * @waiter:	waits until no worker is left, for chanfd_workers_waitgroup()
 * @counter:	counts workers for @waiter
 * @lock:	protects what follows
 * @alive:	workers that were started and have not ended
 * @wanted:	how many there should be
 * @restarts:	dead workers that may still be replaced
 */
struct chanfd_workers {
	struct chanfd_owned owned;
	struct chanfd_group *group;
	struct chanfd_work work;
	size_t room;
	int quit;
	int waiter;
	int counter;

	pthread_mutex_t lock;
	int alive;
	int wanted;
	unsigned int restarts;
};

static const struct chanfd_opt now = { -1, CHANFD_NONBLOCK, 0 };

static void release(struct chanfd_owned *owned)
{
	struct chanfd_workers *w = (struct chanfd_workers *)owned;

	close(w->quit);
	close(w->waiter);
	close(w->counter);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static void give_back(void *arg)
{
	const struct chanfd_parcel *parcel = arg;

	if (parcel->flags & CHANFD_LEASED)
		chanfd_close_quietly(parcel->lease);
}

/* One message. As a task: 0 or an error; or @more is 1. */
static int work_once(struct chanfd_workers *w, int context, void *buf, int *more)
{
	const struct chanfd_opt opt = { context, CHANFD_ORDERED, 0 };
	int leased = w->work.flags & CHANFD_LEASED;
	struct chanfd_parcel parcel = {
		.buf = (uintptr_t)buf,
		.size = (__u32)w->room,
		.flags = leased,
		.lease = leased ? -1 : 0,
	};
	const struct chanfd_case cases[] = {
		CHANFD_RECV(w->quit),
		CHANFD_RECV_PARCEL(w->work.channel, &parcel),
	};
	struct chanfd_outcome out;
	struct chanfd_received r;
	int index, ret;

	*more = 0;
	index = chanfd_select(cases, 2, &opt, &out);
	if (index < 0) {
		*more = errno == EINTR;
		return errno;
	}
	if (index == 0 || out.error || !out.ok)
		return out.error;
	r.size = out.size;
	r.seq = out.number;
	r.redelivered = parcel.redelivered;
	/* The thread may be cancelled or exit there: then the channel has it again, too. */
	pthread_cleanup_push(give_back, &parcel);
	ret = w->work.fn(context, buf, &r, w->work.arg);
	if (leased && !ret)
		chanfd_commit(parcel.lease);
	pthread_cleanup_pop(1);
	*more = !ret;
	return ret;
}

static int work(int context, void *arg)
{
	struct chanfd_workers *w = arg;
	void *buf = malloc(w->room + 1);
	int ret, more;

	if (!buf)
		return ENOMEM;
	pthread_cleanup_push(free, buf);
	do
		ret = work_once(w, context, buf, &more);
	while (more);
	pthread_cleanup_pop(1);
	return ret;
}

/* Nothing is to be expected of the channel any more. */
static int at_end(const struct chanfd_workers *w)
{
	struct chanfd_channel_info info;

	return chanfd_channel_info(w->work.channel, &info) ||
	       (info.state & (CHANFD_CLOSED | CHANFD_NO_SENDERS) && !info.len && !info.leased);
}

/* A worker has ended. Is it to begin anew? */
static int again(struct chanfd_failure *outcome, void *arg, int may)
{
	struct chanfd_workers *w = arg;
	int more = 0;

	pthread_mutex_lock(&w->lock);
	w->alive--;
	if (outcome->error == EOWNERDEAD && may && w->restarts) {
		w->restarts--;
		outcome->error = 0;
	}
	if (!outcome->error)
		more = may && w->alive < w->wanted + chanfd_len(w->quit) && !at_end(w) &&
		       !chanfd_context_err(chanfd_group_context(w->group));
	else if (w->wanted)
		w->wanted--;	/* who has failed is not replaced */
	w->alive += more;
	pthread_mutex_unlock(&w->lock);
	if (!more)
		chanfd_wg_done(w->counter);
	return more;
}

static int start(struct chanfd_workers *w)
{
	const struct chanfd_job job = {
		.fn = work,
		.arg = w,
		.process = !!(w->work.flags & CHANFD_PROCESSES),
		.again = again,
	};
	int err;

	if (chanfd_wg_add(w->counter, 1))
		return -1;
	if (chanfd_group_start(w->group, &job, NULL) >= 0)
		return 0;
	err = errno;
	chanfd_wg_done(w->counter);
	errno = err;
	return -1;
}

int chanfd_workers_resize(struct chanfd_workers *w, unsigned int n)
{
	int staying, missing = 0;

	if (chanfd_group_check(w->group))
		return -1;
	if (n > CHANFD_MAX_WORKERS) {
		errno = EINVAL;
		return -1;
	}
	pthread_mutex_lock(&w->lock);
	w->wanted = (int)n;
	for (staying = w->alive - chanfd_len(w->quit); staying > w->wanted; staying--)
		chanfd_send(w->quit, NULL, 0, &now);
	for (; staying < w->wanted && chanfd_recv(w->quit, NULL, 0, &now, NULL) == 1; staying++)
		;
	missing = w->wanted - staying;
	w->alive += missing;
	pthread_mutex_unlock(&w->lock);
	for (; missing; missing--) {
		if (!start(w))
			continue;
		pthread_mutex_lock(&w->lock);
		w->alive -= missing;
		w->wanted -= missing < w->wanted ? missing : w->wanted;
		pthread_mutex_unlock(&w->lock);
		return -1;
	}
	return 0;
}

int chanfd_workers_waitgroup(const struct chanfd_workers *w)
{
	return w->waiter;
}

/* Returns -1 if it can't be what workers receive from. */
static int check(const struct chanfd_work *what, struct chanfd_channel_info *info)
{
	struct chanfd_info handle;

	if (chanfd_channel_info(what->channel, info) || chanfd_info(what->channel, &handle))
		return -1;
	errno = handle.rights & CHANFD_READ ? EINVAL : EPERM;
	if (!(handle.rights & CHANFD_READ) || what->flags & ~(CHANFD_PROCESSES | CHANFD_LEASED))
		return -1;
	return 0;
}

struct chanfd_workers *chanfd_workers(struct chanfd_group *g, const struct chanfd_work *what,
				      unsigned int n)
{
	struct chanfd_channel_info info;
	struct chanfd_workers *w;
	int wg[2], err;

	if (chanfd_group_check(g) || check(what, &info))
		return NULL;
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->quit = chanfd_channel(0, CHANFD_MAX_WORKERS, 0, "quit");
	if (w->quit < 0)
		goto free;
	if (chanfd_waitgroup_pair(wg, 0, "workers"))
		goto close;
	w->owned.release = release;
	w->group = g;
	w->work = *what;
	w->room = info.elem_size;
	w->waiter = wg[0];
	w->counter = wg[1];
	w->restarts = what->restarts;
	pthread_mutex_init(&w->lock, NULL);
	chanfd_group_own(g, &w->owned);
	if (!chanfd_workers_resize(w, n))
		return w;
	/* Those that have begun end; what is left goes with the group. */
	err = errno;
	chanfd_workers_resize(w, 0);
	errno = err;
	return NULL;

close:
	chanfd_close_quietly(w->quit);
free:
	free(w);
	return NULL;
}
