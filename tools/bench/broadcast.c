// SPDX-License-Identifier: GPL-2.0
/*
 * Many threads wait for one event. Counted from the call that makes it happen
 * until the last of them runs again, per thread.
 */
#include <chanfd.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define MOST	1000
#define WAITERS	4000	/* of all rounds together */
#define CAUSE	42

struct event {
	const char *name;
	void (*prepare)(void);
	void (*wait)(void);
	void (*fire)(void);
};

struct crowd {
	const struct event *event;
	unsigned int size;
};

static int fd;
static atomic_uint word, started, woken;
static pid_t tid[MOST];
static sem_t all_woken, may_end;

static void prepare_context(void)
{
	fd = chanfd_context(-1);
	check(fd >= 0, "chanfd_context");
}

static void wait_context(void)
{
	struct chanfd_outcome out;

	check(!chanfd_select_of(NULL, &out, CHANFD_DONE(fd)), "chanfd_select");
	check(!out.error && out.status == CAUSE, "outcome of select");
}

static void fire_context(void)
{
	check(!chanfd_cancel(fd, CAUSE, NULL), "chanfd_cancel");
}

static void prepare_futex(void)
{
	fd = -1;
	word = 0;
}

static void wait_futex(void)
{
	while (!word)
		syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void fire_futex(void)
{
	word = 1;
	syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void prepare_eventfd(void)
{
	fd = eventfd(0, EFD_CLOEXEC);
	check(fd >= 0, "eventfd");
}

static void wait_eventfd(void)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	check(poll(&p, 1, -1) == 1 && p.revents == POLLIN, "poll");
}

static void fire_eventfd(void)
{
	check(!eventfd_write(fd, 1), "eventfd_write");
}

static const struct crowd *crowd;

static void *waiter(void *arg)
{
	*(pid_t *)arg = gettid();
	atomic_fetch_add(&started, 1);
	crowd->event->wait();
	if (atomic_fetch_add(&woken, 1) + 1 == crowd->size) {
		clock_stop();
		sem_post(&all_woken);
	}
	sem_wait(&may_end);	/* the end of a thread is not to be measured */
	return NULL;
}

static bool is_asleep(pid_t thread)
{
	char path[64], stat[512];

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", thread);
	read_text(path, stat, sizeof(stat));
	return !strncmp(strrchr(stat, ')'), ") S", 3);
}

static void pause_briefly(void)
{
	struct timespec t = { .tv_nsec = 10000000 };

	nanosleep(&t, NULL);
}

/*
 * A waiter that has started sleeps nowhere but in the wait that is measured.
 * The last pause is for what the kernel still has to do for former ones.
 */
static void await_crowd(unsigned int size)
{
	while (started < size)
		pause_briefly();
	for (unsigned int i = 0; i < size; i++)
		while (!is_asleep(tid[i]))
			pause_briefly();
	pause_briefly();
}

static void gather_and_fire(void)
{
	static pthread_t thread[MOST];
	pthread_attr_t attr;

	started = 0;
	woken = 0;
	crowd->event->prepare();
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN);
	for (unsigned int i = 0; i < crowd->size; i++) {
		errno = pthread_create(&thread[i], &attr, waiter, &tid[i]);
		check(!errno, "pthread_create");
	}
	await_crowd(crowd->size);

	clock_start();
	crowd->event->fire();
	sem_wait(&all_woken);

	for (unsigned int i = 0; i < crowd->size; i++)
		sem_post(&may_end);
	for (unsigned int i = 0; i < crowd->size; i++)
		pthread_join(thread[i], NULL);
	close(fd);
}

static void broadcast(const void *arg)
{
	unsigned int rounds;

	crowd = arg;
	rounds = WAITERS / crowd->size;
	sem_init(&all_woken, 0, 0);
	sem_init(&may_end, 0, 0);
	for (unsigned int i = 0; i < rounds; i++)
		gather_and_fire();
	result(rounds * crowd->size);
}

void measure_broadcasts(void)
{
	static const struct event all[] = {
		{ "chanfd", prepare_context, wait_context, fire_context },
		{ "futex", prepare_futex, wait_futex, fire_futex },
		{ "eventfd", prepare_eventfd, wait_eventfd, fire_eventfd },
	};
	static const unsigned int sizes[] = { 10, 100, MOST };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		for (size_t k = 0; k < ARRAY_SIZE(sizes); k++) {
			struct crowd c = { &all[i], sizes[k] };

			measure(broadcast, &c, "broadcast", all[i].name, sizes[k]);
		}
}
