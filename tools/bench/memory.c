// SPDX-License-Identifier: GPL-2.0
/* Kernel memory of an object that nobody uses at the moment. */
#include <chanfd.h>
#include <unistd.h>

#include "bench.h"

#define OBJECTS	10000
#define FILLERS	5000	/* use up what half-empty slabs and free lists have */

static void waitgroup_open(int fd[2], unsigned int capacity)
{
	(void)capacity;
	fd[0] = chanfd_waitgroup(0, NULL);
	check(fd[0] >= 0, "chanfd_waitgroup");
}

static void context_open(int fd[2], unsigned int capacity)
{
	(void)capacity;
	fd[0] = chanfd_context(-1);
	check(fd[0] >= 0, "chanfd_context");
}

static const struct object waitgroups = { .name = "waitgroup", .open = waitgroup_open };
static const struct object contexts = { .name = "context", .open = context_open };

static long free_memory(void)
{
	char text[256];
	long kilobytes;

	read_text("/proc/meminfo", text, sizeof(text));
	check(sscanf(text, "MemTotal: %*d kB MemFree: %ld kB", &kilobytes) == 1, "MemFree");
	return kilobytes * 1024;
}

static void make(const struct object *o, bool use, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct message m = {};
		int fd[2];

		o->open(fd, 16);
		if (use) {
			o->send(fd[1], &m);
			o->recv(fd[0], &m);
		}
	}
}

struct idle {
	const char *name;
	const struct object *object;
	bool used;	/* once */
};

static void idle(const void *arg)
{
	const struct idle *idle = arg;
	long before;

	/* Pages on the CPU's own list count as used: keep it short. */
	sysctl("/proc/sys/vm/percpu_pagelist_high_fraction", 1000000);
	/* The table of file descriptors shall not grow in between. */
	check(dup2(STDIN_FILENO, 4 * OBJECTS) >= 0, "dup2");
	sleep(1);	/* until the kernel has freed what the last one had */
	make(idle->object, idle->used, FILLERS);
	before = free_memory();
	make(idle->object, idle->used, OBJECTS);
	result_value((double)(before - free_memory()) / OBJECTS);
}

void measure_memory(void)
{
	static const struct idle all[] = {
		{ "channel", &channel_write, false },
		{ "waitgroup", &waitgroups, false },
		{ "context", &contexts, false },
		{ "pipe", &pipes, false },
		{ "mqueue", &mqueues, false },
		{ "seqpacket", &seqpackets, false },
		{ "eventfd", &eventfds, false },
		{ "channel-used", &channel_write, true },
		{ "pipe-used", &pipes, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		measure(idle, &all[i], "memory", all[i].name, 0);
}
