// SPDX-License-Identifier: GPL-2.0
/*
 * One message out of many sources. "ready": it is there already. "blocked": a
 * partner process sends it once the receiver sleeps. The cost per source is the
 * slope between a few and many.
 */
#include <chanfd.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define FEW	64
#define MANY	1000
#define ROUNDS	1000
#define WARM_UP	10

static int sources[MANY][2];
static struct chanfd_case cases[MANY];
static struct pollfd polled[MANY];
static struct message received;

struct waiter {
	const char *name;
	const struct object *object;
	void (*prepare)(unsigned int count);
	/* waits, receives into @received, and returns which source it was */
	unsigned int (*take)(unsigned int count);
};

struct race {
	const struct waiter *waiter;
	unsigned int count;
};

/* The same sequence of sources for every waiter and for its partner. */
static unsigned int next_source(unsigned int count)
{
	static uint32_t state = 1;

	state = state * 1664525 + 1013904223;
	return ((uint64_t)state * count) >> 32;
}

static void prepare_select(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		cases[i] = CHANFD_RECV(sources[i][0], &received);
}

static unsigned int take_select(unsigned int count)
{
	struct chanfd_outcome out;

	check(chanfd_select(cases, count, NULL, &out) >= 0, "chanfd_select");
	check(!out.error && out.ok && out.size == sizeof(received), "outcome of select");
	return out.index;
}

static void prepare_poll(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		polled[i] = (struct pollfd){ .fd = sources[i][0], .events = POLLIN };
}

static unsigned int poll_any(unsigned int count)
{
	unsigned int i = 0;

	check(poll(polled, count, -1) == 1, "poll");
	while (!polled[i].revents)
		i++;
	return i;
}

static unsigned int take_poll_pipe(unsigned int count)
{
	unsigned int i = poll_any(count);

	pipes.recv(sources[i][0], &received);
	return i;
}

static unsigned int take_poll_eventfd(unsigned int count)
{
	unsigned int i = poll_any(count);

	eventfds.recv(sources[i][0], &received);
	return i;
}

static int epoll;

static void prepare_epoll(unsigned int count)
{
	epoll = epoll_create1(EPOLL_CLOEXEC);
	check(epoll >= 0, "epoll_create1");
	for (unsigned int i = 0; i < count; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.u32 = i };

		check(!epoll_ctl(epoll, EPOLL_CTL_ADD, sources[i][0], &e), "epoll_ctl");
	}
}

static unsigned int take_epoll(unsigned int count)
{
	struct epoll_event e;

	(void)count;
	check(epoll_wait(epoll, &e, 1, -1) == 1, "epoll_wait");
	pipes.recv(sources[e.data.u32][0], &received);
	return e.data.u32;
}

static void open_sources(const struct race *race)
{
	for (unsigned int i = 0; i < race->count; i++)
		race->waiter->object->open(sources[i], 1);
	race->waiter->prepare(race->count);
}

static unsigned int send_next(const struct race *race)
{
	static unsigned int number;
	unsigned int source = next_source(race->count);
	struct message m = {};

	message_set(&m, number++);
	race->waiter->object->send(sources[source][1], &m);
	return source;
}

static void take_from(const struct race *race, unsigned int source)
{
	static unsigned int number;

	check(race->waiter->take(race->count) == source, "wrong source");
	message_check(race->waiter->object, &received, number++);
}

static void ready_rounds(const struct race *race, unsigned int rounds)
{
	while (rounds--)
		take_from(race, send_next(race));
}

static void ready(const void *arg)
{
	const struct race *race = arg;

	open_sources(race);
	ready_rounds(race, WARM_UP);
	clock_start();
	ready_rounds(race, ROUNDS);
	clock_stop();
	result(ROUNDS);
}

/* Ours is the CPU until we sleep, so the partner always finds us asleep. */
static void be_first(void)
{
	struct sched_param param = { .sched_priority = 1 };

	sysctl("/proc/sys/kernel/sched_rt_runtime_us", -1);
	check(!sched_setscheduler(0, SCHED_FIFO, &param), "SCHED_FIFO");
}

/* Tells the partner when to send. */
static int go[2];

static void partner(const struct race *race)
{
	for (unsigned int i = 0; i < WARM_UP + ROUNDS; i++) {
		struct message m;

		eventfds.recv(go[0], &m);
		send_next(race);
	}
}

static void blocked_rounds(const struct race *race, unsigned int rounds)
{
	struct message m = {};

	while (rounds--) {
		eventfds.send(go[1], &m);
		take_from(race, next_source(race->count));
	}
}

static void blocked(const void *arg)
{
	const struct race *race = arg;
	int status;
	long slept;
	pid_t pid;

	open_sources(race);
	eventfds.open(go, 1);
	pid = fork();
	check(pid >= 0, "fork");
	if (!pid) {
		partner(race);
		_exit(0);
	}

	be_first();
	blocked_rounds(race, WARM_UP);
	slept = sleeps();
	clock_start();
	blocked_rounds(race, ROUNDS);
	clock_stop();
	slept = sleeps() - slept;
	check(waitpid(pid, &status, 0) == pid && !status, "partner");
	check(slept >= ROUNDS, "did not sleep every time");
	result(ROUNDS);
}

void measure_selects(void)
{
	static const struct waiter all[] = {
		{ "chanfd", &channel_write, prepare_select, take_select },
		{ "poll-pipe", &pipes, prepare_poll, take_poll_pipe },
		{ "poll-eventfd", &eventfds, prepare_poll, take_poll_eventfd },
		{ "epoll-pipe", &pipes, prepare_epoll, take_epoll },
	};
	static const unsigned int counts[] = { FEW, MANY };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		for (size_t k = 0; k < ARRAY_SIZE(counts); k++) {
			struct race race = { &all[i], counts[k] };

			measure(ready, &race, "ready", all[i].name, counts[k]);
			measure(blocked, &race, "blocked", all[i].name, counts[k]);
		}
}
