// SPDX-License-Identifier: GPL-2.0
/* One message sent and received by one thread: nobody ever waits. */
#include "bench.h"

#define ROUNDS	20000

static void rounds(const struct object *o, const int fd[2], unsigned int count)
{
	struct message out = {}, in;

	for (unsigned int i = 0; i < count; i++) {
		message_set(&out, i);
		o->send(fd[1], &out);
		o->recv(fd[0], &in);
		message_check(o, &in, i);
	}
}

static void pair(const void *arg)
{
	const struct object *o = arg;
	int fd[2];

	o->open(fd, 16);
	rounds(o, fd, ROUNDS / 10);
	clock_start();
	rounds(o, fd, ROUNDS);
	clock_stop();
	result(ROUNDS);
}

void measure_pairs(void)
{
	static const struct object *const all[] = {
		&channel_write, &channel_call, &pipes, &mqueues, &seqpackets, &eventfds,
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		measure(pair, all[i], "pair", all[i]->name, 0);
}
