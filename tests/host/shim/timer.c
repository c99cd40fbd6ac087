// SPDX-License-Identifier: GPL-2.0
/* Time and timers. */

#include "kernel.h"

/* Protects the list and who runs. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed, finished;
static LIST_HEAD(timers);
static struct hrtimer *running;
static bool stopping;
static pthread_t thread;

ktime_t ktime_get(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
}

struct timespec shim_timespec(ktime_t t)
{
	return (struct timespec){ t / NSEC_PER_SEC, t % NSEC_PER_SEC };
}

void hrtimer_setup(struct hrtimer *timer,
		   enum hrtimer_restart (*function)(struct hrtimer *timer),
		   clockid_t clock, enum hrtimer_mode mode)
{
	INIT_LIST_HEAD(&timer->node);
	timer->function = function;
}

void hrtimer_start(struct hrtimer *timer, ktime_t expires, enum hrtimer_mode mode)
{
	pthread_mutex_lock(&lock);
	if (!list_empty(&timer->node))
		list_del(&timer->node);
	timer->expires = expires;
	list_add(&timer->node, &timers);
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
}

void hrtimer_cancel(struct hrtimer *timer)
{
	pthread_mutex_lock(&lock);
	if (!list_empty(&timer->node))
		list_del_init(&timer->node);
	while (running == timer)
		pthread_cond_wait(&finished, &lock);
	pthread_mutex_unlock(&lock);
}

static struct hrtimer *next_timer(void)
{
	struct hrtimer *timer, *next = NULL;

	list_for_each_entry(timer, &timers, node)
		if (!next || timer->expires < next->expires)
			next = timer;
	return next;
}

/* The callback may see to it that its timer is freed. */
static void run_timer(struct hrtimer *timer)
{
	list_del_init(&timer->node);
	running = timer;
	pthread_mutex_unlock(&lock);
	current->in_interrupt = true;
	timer->function(timer);
	current->in_interrupt = false;
	pthread_mutex_lock(&lock);
	running = NULL;
	pthread_cond_broadcast(&finished);
}

static void *run_timers(void *unused)
{
	pthread_mutex_lock(&lock);
	while (!stopping) {
		struct hrtimer *timer = next_timer();

		if (!timer) {
			pthread_cond_wait(&changed, &lock);
		} else if (timer->expires > ktime_get()) {
			struct timespec until = shim_timespec(timer->expires);

			pthread_cond_timedwait(&changed, &lock, &until);
		} else {
			run_timer(timer);
		}
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

void shim_start_timers(void)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &attr);
	pthread_cond_init(&finished, NULL);
	pthread_condattr_destroy(&attr);
	stopping = false;
	if (pthread_create(&thread, NULL, run_timers, NULL))
		host_bug("no thread for timers");
}

void shim_stop_timers(void)
{
	pthread_mutex_lock(&lock);
	stopping = true;
	if (!list_empty(&timers))
		host_bug("a timer is left");
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
	pthread_join(thread, NULL);
}
