// SPDX-License-Identifier: GPL-2.0
/*
 * 64 bytes of a cell read again and again, in all ways that there are, beside plain memory
 * and the least that a system call takes.
 */
#include <chanfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

#define ROUNDS	20000

static int cell;
static const struct chanfd_cell_page *page;
static struct chanfd_snapshot *snapshot;
static const struct chanfd_copy *copy;
static struct message *memory;

static void store(struct message *m)
{
	check(!chanfd_store(cell, m, sizeof(*m), NULL), "chanfd_store");
}

static void read_memory(struct message *m)
{
	memcpy(m, memory, sizeof(*m));
}

static void read_mapped(struct message *m)
{
	check(chanfd_cell_read(page, m, sizeof(*m), NULL) == sizeof(*m), "chanfd_cell_read");
}

static void read_snapshot(struct message *m)
{
	copy = chanfd_snapshot_renew(snapshot, copy);
	memcpy(m, copy->data, sizeof(*m));
}

static void load(struct message *m)
{
	check(chanfd_load(cell, m, sizeof(*m), NULL) == sizeof(*m), "chanfd_load");
}

static void enter_kernel(struct message *m)
{
	(void)m;
	syscall(SYS_getppid);
}

/* After a store each time? */
struct way {
	const char *name;
	void (*read)(struct message *m);
	bool stored;
};

static void rounds(const struct way *way, struct message *out, unsigned int count)
{
	struct message in;

	for (unsigned int i = 0; i < count; i++) {
		if (way->stored)
			store(out);
		way->read(&in);
	}
}

static void run(const void *arg)
{
	const struct way *way = arg;
	struct message in, out = {};

	message_set(&out, 17);
	memory = malloc(sizeof(*memory));
	check(memory, "malloc");
	*memory = out;
	cell = chanfd_cell(MESSAGE_SIZE, 0, NULL);
	check(cell >= 0, "chanfd_cell");
	page = chanfd_cell_map(cell);
	check(page, "chanfd_cell_map");
	snapshot = chanfd_snapshot_open(cell);
	check(snapshot, "chanfd_snapshot_open");
	store(&out);
	copy = chanfd_snapshot_get(snapshot);
	check(copy, "chanfd_snapshot_get");

	rounds(way, &out, ROUNDS / 10);
	clock_start();
	rounds(way, &out, ROUNDS);
	clock_stop();
	result(ROUNDS);
	/* It was read. */
	if (way->read != store && way->read != enter_kernel) {
		way->read(&in);
		check(in.number == 17 && in.inverse == ~17UL, "wrong value");
	}
}

void measure_cells(void)
{
	static const struct way all[] = {
		{ "memory", read_memory, false },
		{ "mapped", read_mapped, false },
		{ "snapshot", read_snapshot, false },
		{ "system-call", enter_kernel, false },
		{ "load", load, false },
		{ "store", store, false },
		{ "store-mapped", read_mapped, true },
		{ "store-snapshot", read_snapshot, true },
		{ "store-load", load, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		measure(run, &all[i], "cell", all[i].name, 0);
}
