// SPDX-License-Identifier: GPL-2.0
/* Workqueues. */

#include "../host.h"
#include "kernel.h"

#define WORKERS	2

/**
 * struct workqueue_struct
 * @lock:	protects all but the threads, and the work items' @pending
 * @more:	there is something to do, or to end
 * @idle:	there is nothing queued
 * @list:	of work items
 * @outstanding: work items that are pending or done just now
 * @stopping:	the workers are to end
 * @running:	what each of them does
 * @threads:	the workers
 */
struct workqueue_struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	pthread_cond_t idle;
	struct list_head list;
	int outstanding;
	bool stopping;
	struct work_struct *running[WORKERS];
	pthread_t threads[WORKERS];
};

/* The module's only one. */
static struct workqueue_struct *workqueue;

static bool is_running(const struct workqueue_struct *wq, const struct work_struct *work)
{
	int i;

	for (i = 0; i < WORKERS; i++)
		if (wq->running[i] == work)
			return true;
	return false;
}

/* Takes the first that the other worker is not at. */
static struct work_struct *next_work(struct workqueue_struct *wq)
{
	struct work_struct *work;

	list_for_each_entry(work, &wq->list, node)
		if (!is_running(wq, work)) {
			list_del(&work->node);
			return work;
		}
	return NULL;
}

/* Which worker the calling thread becomes. Context: lock held. */
static struct work_struct **worker_slot(struct workqueue_struct *wq)
{
	int i;

	for (i = 0; i < WORKERS; i++)
		if (pthread_equal(wq->threads[i], pthread_self()))
			return &wq->running[i];
	host_bug("a worker without a place");
}

static void *run_work(void *arg)
{
	struct workqueue_struct *wq = arg;
	struct work_struct **running, *work;

	pthread_mutex_lock(&wq->lock);
	running = worker_slot(wq);
	while (!wq->stopping || !list_empty(&wq->list)) {
		work = next_work(wq);
		if (!work) {
			pthread_cond_wait(&wq->more, &wq->lock);
			continue;
		}
		/* From here on it may be queued again; and be freed by @func. */
		work->pending = false;
		*running = work;
		pthread_mutex_unlock(&wq->lock);
		work->func(work);
		shim_release_files();
		pthread_mutex_lock(&wq->lock);
		*running = NULL;
		/* What waits may be what just ran. */
		pthread_cond_broadcast(&wq->more);
		if (!--wq->outstanding)
			pthread_cond_broadcast(&wq->idle);
	}
	pthread_mutex_unlock(&wq->lock);
	return NULL;
}

struct workqueue_struct *alloc_workqueue(const char *name, unsigned int flags, int most)
{
	struct workqueue_struct *wq = calloc(1, sizeof(*wq));
	int i;

	if (!wq || workqueue)
		host_bug("no workqueue");
	pthread_mutex_init(&wq->lock, NULL);
	pthread_cond_init(&wq->more, NULL);
	pthread_cond_init(&wq->idle, NULL);
	INIT_LIST_HEAD(&wq->list);
	pthread_mutex_lock(&wq->lock);
	for (i = 0; i < WORKERS; i++)
		if (pthread_create(&wq->threads[i], NULL, run_work, wq))
			host_bug("no thread for work");
	pthread_mutex_unlock(&wq->lock);
	workqueue = wq;
	return wq;
}

void destroy_workqueue(struct workqueue_struct *wq)
{
	int i;

	pthread_mutex_lock(&wq->lock);
	wq->stopping = true;
	pthread_cond_broadcast(&wq->more);
	pthread_mutex_unlock(&wq->lock);
	for (i = 0; i < WORKERS; i++)
		pthread_join(wq->threads[i], NULL);
	if (wq->outstanding)
		host_bug("work is left");
	workqueue = NULL;
	free(wq);
}

/* False if it is pending already. Context: lock held. */
static bool set_pending(struct workqueue_struct *wq, struct work_struct *work)
{
	if (work->pending)
		return false;
	work->pending = true;
	wq->outstanding++;
	return true;
}

static void enqueue(struct workqueue_struct *wq, struct work_struct *work)
{
	list_add_tail(&work->node, &wq->list);
	pthread_cond_signal(&wq->more);
}

bool queue_work(struct workqueue_struct *wq, struct work_struct *work)
{
	bool queued;

	pthread_mutex_lock(&wq->lock);
	queued = set_pending(wq, work);
	if (queued)
		enqueue(wq, work);
	pthread_mutex_unlock(&wq->lock);
	return queued;
}

bool queue_delayed_work(struct workqueue_struct *wq, struct delayed_work *work,
			unsigned long jiffies)
{
	bool queued;

	pthread_mutex_lock(&wq->lock);
	queued = set_pending(wq, &work->work);
	pthread_mutex_unlock(&wq->lock);
	if (queued) {
		work->wq = wq;
		hrtimer_start(&work->timer, ktime_get() + jiffies * NSEC_PER_JIFFY,
			      HRTIMER_MODE_ABS_SOFT);
	}
	return queued;
}

enum hrtimer_restart shim_delay_is_over(struct hrtimer *timer)
{
	struct delayed_work *work = container_of(timer, struct delayed_work, timer);
	struct workqueue_struct *wq = work->wq;

	pthread_mutex_lock(&wq->lock);
	enqueue(wq, &work->work);
	pthread_mutex_unlock(&wq->lock);
	return HRTIMER_NORESTART;
}

void host_settle(void)
{
	struct workqueue_struct *wq = workqueue;

	pthread_mutex_lock(&wq->lock);
	while (wq->outstanding)
		pthread_cond_wait(&wq->idle, &wq->lock);
	pthread_mutex_unlock(&wq->lock);
}
