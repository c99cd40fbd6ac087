// SPDX-License-Identifier: GPL-2.0
/* An object out of a pool and back, and memory out of the C library's heap and back. */
#include <chanfd.h>
#include <stdlib.h>

#include "bench.h"

#define ROUNDS	10000
#define WARM_UP	10

struct allocator {
	const char *name;
	void *(*get)(size_t size);
	void (*put)(void *object);
};

static struct chanfd_pool *pool;

static void *pool_get(size_t size)
{
	(void)size;
	return chanfd_pool_get(pool);
}

static void pool_put(void *object)
{
	chanfd_pool_put(pool, object);
}

struct measurement {
	const struct allocator *allocator;
	size_t size;
	unsigned int depth;	/* objects at a time */
};

static void round_trip(const struct measurement *m)
{
	void *volatile objects[4];

	for (unsigned int i = 0; i < m->depth; i++) {
		objects[i] = m->allocator->get(m->size);
		check(objects[i], "no memory");
	}
	for (unsigned int i = 0; i < m->depth; i++)
		m->allocator->put(objects[i]);
}

static void allocate(const void *arg)
{
	const struct measurement *m = arg;

	pool = chanfd_pool(m->size, 0, NULL);
	check(pool, "chanfd_pool");
	for (unsigned int i = 0; i < WARM_UP; i++)
		round_trip(m);
	clock_start();
	for (unsigned int i = 0; i < ROUNDS; i++)
		round_trip(m);
	clock_stop();
	result((double)ROUNDS * m->depth);
}

void measure_pools(void)
{
	static const struct allocator allocators[] = {
		{ "chanfd", pool_get, pool_put },
		{ "malloc", malloc, free },
	};
	static const unsigned int sizes[] = { 64, 4096 };

	for (unsigned int a = 0; a < ARRAY_SIZE(allocators); a++) {
		struct measurement m = { .allocator = &allocators[a] };

		for (unsigned int s = 0; s < ARRAY_SIZE(sizes); s++) {
			m.size = sizes[s];
			m.depth = 1;
			measure(allocate, &m, "object", allocators[a].name, sizes[s]);
			m.depth = 4;
			measure(allocate, &m, "objects", allocators[a].name, sizes[s]);
		}
	}
}
