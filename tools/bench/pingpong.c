// SPDX-License-Identifier: GPL-2.0
/* A message to another process and one back: each side sleeps every time. */
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define ROUNDS	10000
#define WARM_UP	1000

struct match {
	const char *name;
	const struct object *object;
	unsigned int capacity;
};

/* As struct object's open makes them. */
static int there[2], back[2];

static void answer(const struct object *o)
{
	struct message m = {};

	for (unsigned int i = 0; i < WARM_UP + ROUNDS; i++) {
		o->recv(there[0], &m);
		message_check(o, &m, i);
		o->send(back[1], &m);
	}
}

static void ask(const struct object *o, unsigned int rounds)
{
	static unsigned int number;
	struct message m = {}, reply;

	while (rounds--) {
		message_set(&m, number);
		o->send(there[1], &m);
		o->recv(back[0], &reply);
		message_check(o, &reply, number++);
	}
}

static void pingpong(const void *arg)
{
	const struct match *match = arg;
	const struct object *o = match->object;
	struct sched_param param = { 0 };
	int status;
	long slept;
	pid_t pid;

	o->open(there, match->capacity);
	o->open(back, match->capacity);
	/* Whom a batch task wakes waits for it to sleep: so both do, every time. */
	check(!sched_setscheduler(0, SCHED_BATCH, &param), "SCHED_BATCH");
	pid = fork();
	check(pid >= 0, "fork");
	if (!pid) {
		answer(o);
		_exit(0);
	}

	ask(o, WARM_UP);
	slept = sleeps();
	clock_start();
	ask(o, ROUNDS);
	clock_stop();
	slept = sleeps() - slept;
	check(waitpid(pid, &status, 0) == pid && !status, "partner");
	check(slept >= ROUNDS * 99 / 100, "did not sleep every time");
	result(ROUNDS);
}

void measure_pingpongs(void)
{
	static const struct match all[] = {
		{ "chanfd-unbuffered", &channel_write, 0 },
		{ "chanfd-1", &channel_write, 1 },
		{ "chanfd-call-unbuffered", &channel_call, 0 },
		{ "chanfd-call-1", &channel_call, 1 },
		{ "pipe", &pipes, 1 },
		{ "mqueue", &mqueues, 1 },
		{ "seqpacket", &seqpackets, 1 },
		{ "eventfd", &eventfds, 1 },
		{ "futex", &futexes, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		measure(pingpong, &all[i], "pingpong", all[i].name, 0);
}
