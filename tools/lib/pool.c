// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The object pool: Go's sync.Pool.
 *
 * An object is in one place at any time:
 *
 *	handed out	from chanfd_pool_get() to chanfd_pool_put()
 *	cached		for a CPU: in its slot, among its recent ones or among its victims;
 *			with its content
 *	blank		nowhere: its content does not matter any more
 *
 * What moves an object is one atomic step, which one thread wins: the restartable
 * sequence of a slot, the compare-and-swap of a stack's head, the one that clears a bit
 * of a slab. So no object can be handed out twice, whatever threads are preempted, moved,
 * interrupted or killed, and nobody ever waits for anybody.
 *
 * Objects have numbers. Stacks are linked by number, beside the objects and not in them,
 * because the memory of those that are idle may go away: a slab is a few objects that fill
 * whole pages, and when the last one of it has become blank the kernel is told that it may
 * have them (MADV_FREE). A bit for each object of a slab says whether it is blank. Who
 * clears it has the object; who has cleared them all has the slab, and may offer it.
 *
 * Address space for all objects is reserved when the pool is made and becomes usable bit
 * by bit, so that a number is an address, and a wrong pointer is seen to be wrong.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE	/* sched_getcpu(3) */
#endif
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "chanfd.h"
#include "percpu.h"
#include "race.h"

#define MAX_OBJECTS	(1U << 24)
#define MAX_ROOM	((size_t)1 << (sizeof(size_t) > 4 ? 36 : 28))
#define SLAB_OBJECTS	64	/* at the most: bits of a word */
#define CACHE_LINE	64
#define GROWTH		65536	/* bytes that become usable at a time, at least */

/* What a CPU may keep, beside its slot: more is blank at once. */
#define CACHED_BYTES	(1U << 20)
#define CACHED_OBJECTS	16	/* even if that is more */

/* In place of a depth. */
#define HANDED_OUT	UINT_MAX

/**
 * struct node - an object's place in a stack
 * @next:	number of the object below it, plus 1; 0: none
 * @depth:	how many there are from it downwards; with CHANFD_POOL_CHECK, HANDED_OUT
 *		while it is
 *
 * Written by who has the object. Whoever is about to pop it may read them meanwhile, but
 * then the head has changed, and what was read is not used.
 */
struct node {
	atomic_uint next;
	atomic_uint depth;
};

/*
 * The head of a stack: in the lower half the number of the object on top, plus 1; in the
 * upper half how often it has changed. Without that, a pop could mistake an object that
 * has gone and come back for one that has stayed, and trust the next one that it read.
 */
struct stack {
	atomic_ullong head;
};

/**
 * struct cache - what is cached for a CPU
 * @slot:	one object, for threads on that CPU only
 * @recent:	put there since the last trim
 * @victims:	put there before it
 */
struct cache {
	struct percpu_slot slot;
	struct stack recent;
	struct stack victims;
} __attribute__((__aligned__(2 * CACHE_LINE)));	/* lines are fetched in pairs */

/**
 * struct chanfd_pool - a pool
 * @size:	bytes of an object, as the user wants it
 * @stride:	from one object to the next
 * @slab_order:	log2 of a slab's objects
 * @limit:	objects that a CPU may keep
 * @max:	numbers that there are
 * @mapped:	bytes of the whole mapping, in which everything else is, too
 * @flags:	CHANFD_POOL_CHECK
 * @init:	the user's; or NULL
 * @objects:	room for @max
 * @nodes:	one for each
 * @slabs:	a word of bits for each: which objects are blank
 * @room:	bytes at @objects
 * @cpus:	caches
 * @fast:	the first so many may use their slots: @cpus or 0
 * @made:	numbers in use so far
 * @blanks:	blank objects that nobody has claimed yet; no more than there are bits set
 * @cursor:	slab in which a blank object was found last
 * @cache:	of each CPU
 *
 * Immutable but for the last four.
 */
struct chanfd_pool {
	size_t size;
	size_t stride;
	unsigned int slab_order;
	uint32_t limit;
	uint32_t max;
	unsigned int flags;
	size_t mapped;
	void (*init)(void *object);
	char *objects;
	struct node *nodes;
	atomic_ullong *slabs;
	size_t room;
	unsigned int cpus;
	unsigned int fast;

	_Alignas(CACHE_LINE) atomic_uint made;
	atomic_uint blanks;
	atomic_uint cursor;
	struct cache cache[];
};

static void *object_of(struct chanfd_pool *p, uint32_t number)
{
	return p->objects + number * p->stride;
}

static uint64_t all_blank(struct chanfd_pool *p)
{
	return UINT64_MAX >> (64 - (1U << p->slab_order));
}

/*
 * Stacks
 */

static uint32_t top_of(uint64_t head)
{
	return (uint32_t)head;
}

static uint64_t changed(uint64_t head, uint32_t top)
{
	return ((head >> 32) + 1) << 32 | top;
}

/* How many there are from the top, as @head says it, downwards. */
static uint32_t depth_of(struct chanfd_pool *p, uint64_t head)
{
	return top_of(head) ? p->nodes[top_of(head) - 1].depth : 0;
}

static void push(struct chanfd_pool *p, struct stack *stack, uint32_t number)
{
	struct node *node = &p->nodes[number];
	unsigned long long head = stack->head;

	do {
		atomic_store_explicit(&node->next, top_of(head), memory_order_relaxed);
		atomic_store_explicit(&node->depth, depth_of(p, head) + 1,
				      memory_order_relaxed);
	} while (!atomic_compare_exchange_weak(&stack->head, &head,
					       changed(head, number + 1)));
}

/* The number of an object, plus 1; 0 if there is none. */
static uint32_t pop(struct chanfd_pool *p, struct stack *stack)
{
	unsigned long long head = stack->head;

	while (top_of(head)) {
		uint32_t next = p->nodes[top_of(head) - 1].next;

		if (atomic_compare_exchange_weak(&stack->head, &head, changed(head, next)))
			break;
	}
	return top_of(head);
}

/* All of it: the number of the first, plus 1, and so on. */
static uint32_t pop_all(struct stack *stack)
{
	unsigned long long head = stack->head;

	while (top_of(head) &&
	       !atomic_compare_exchange_weak(&stack->head, &head, changed(head, 0)))
		;
	return top_of(head);
}

/*
 * Blank objects
 */

/* Take @n off the count of those that nobody has claimed. */
static bool claim_blanks(struct chanfd_pool *p, uint32_t n)
{
	uint32_t blanks = p->blanks;

	while (blanks >= n)
		if (atomic_compare_exchange_weak(&p->blanks, &blanks, blanks - n))
			return true;
	return false;
}

/* The slab is all blank. Unless somebody is faster, have it, and offer its memory. */
static void offer(struct chanfd_pool *p, uint32_t slab)
{
	uint32_t n = 1U << p->slab_order;
	unsigned long long word = all_blank(p);

	if (!claim_blanks(p, n))
		return;
	if (atomic_compare_exchange_strong(&p->slabs[slab], &word, 0)) {
		int err = errno;

		madvise(object_of(p, slab << p->slab_order), n * p->stride, MADV_FREE);
		errno = err;
		p->slabs[slab] = all_blank(p);
	}
	p->blanks += n;
}

static void put_blank(struct chanfd_pool *p, uint32_t number)
{
	uint32_t slab = number >> p->slab_order;
	uint64_t bit = UINT64_C(1) << (number - (slab << p->slab_order));
	uint64_t word = atomic_fetch_or(&p->slabs[slab], bit) | bit;

	p->blanks++;
	if (word == all_blank(p))
		offer(p, slab);
}

/* The number of a blank object, plus 1; 0 if there is none. Who has claimed one finds one. */
static uint32_t get_blank(struct chanfd_pool *p)
{
	uint32_t slab = p->cursor;

	if (!claim_blanks(p, 1))
		return 0;
	for (;; slab++) {
		unsigned long long word;

		if (slab >= p->made >> p->slab_order)
			slab = 0;
		word = p->slabs[slab];
		while (word) {
			uint32_t bit = __builtin_ctzll(word);

			if (atomic_compare_exchange_weak(&p->slabs[slab], &word,
							 word & (word - 1))) {
				p->cursor = slab;
				return (slab << p->slab_order) + bit + 1;
			}
		}
	}
}

/* Make so many more elements of an array usable that there are @to. */
static int usable(void *array, size_t element, size_t from, size_t to)
{
	size_t page = sysconf(_SC_PAGESIZE);
	uintptr_t start = ((uintptr_t)array + from * element) & -page;
	uintptr_t end = (uintptr_t)array + to * element;

	return mprotect((void *)start, end - start, PROT_READ | PROT_WRITE);
}

/* More blank objects. Several threads may do this at once; it counts for one. */
static int grow(struct chanfd_pool *p)
{
	uint32_t made = p->made, slab = made >> p->slab_order, to = made, end;
	size_t grow = p->stride * made / 8;

	if (made == p->max) {
		errno = ENOMEM;
		return -1;
	}
	if (grow < GROWTH)
		grow = GROWTH;
	do {
		to += 1U << p->slab_order;
	} while (to < p->max && p->stride * (to - made) < grow);
	end = to >> p->slab_order;

	if (usable(p->objects, p->stride, made, to) ||
	    usable(p->nodes, sizeof(*p->nodes), made, to) ||
	    usable(p->slabs, sizeof(*p->slabs), slab, end))
		return -1;
	if (!atomic_compare_exchange_strong(&p->made, &made, to))
		return 0;
	for (; slab < end; slab++)
		p->slabs[slab] = all_blank(p);
	p->blanks += to - made;
	return 0;
}

/*
 * Get and put
 */

static unsigned int this_cpu(struct chanfd_pool *p)
{
	unsigned int cpu = percpu_cpu();

	return cpu < p->cpus ? cpu : (unsigned int)sched_getcpu() % p->cpus;
}

/* From the stacks: this CPU's first, those of other CPUs then; victims last. */
static uint32_t get_cached(struct chanfd_pool *p)
{
	unsigned int here = this_cpu(p), cpu = here;
	uint32_t found;

	do {
		found = pop(p, &p->cache[cpu].recent);
		if (found)
			return found;
		if (++cpu == p->cpus)
			cpu = 0;
	} while (cpu != here);
	do {
		found = pop(p, &p->cache[cpu].victims);
		if (found)
			return found;
		if (++cpu == p->cpus)
			cpu = 0;
	} while (cpu != here);
	return 0;
}

static void *handed_out(struct chanfd_pool *p, uint32_t number)
{
	void *object = object_of(p, number);

	if (p->flags & CHANFD_POOL_CHECK)
		p->nodes[number].depth = HANDED_OUT;
	if (race_detector())
		__tsan_acquire(object);
	return object;
}

static __attribute__((__noinline__)) void *make_ready(struct chanfd_pool *p)
{
	uint32_t found;
	void *object;

	while (!(found = get_blank(p)))
		if (grow(p))
			return NULL;
	object = handed_out(p, found - 1);
	if (p->init)
		p->init(object);
	return object;
}

static __attribute__((__noinline__)) void *get(struct chanfd_pool *p)
{
	uint32_t found = get_cached(p);

	return found ? handed_out(p, found - 1) : make_ready(p);
}

void *chanfd_pool_get(struct chanfd_pool *p)
{
	unsigned int cpu = percpu_cpu();

	if (__builtin_expect(cpu < p->fast, 1)) {
		struct percpu_slot *slot = &p->cache[cpu].slot;
		void *object = *(void *volatile *)&slot->pointer;

		if (object && percpu_replace(slot, cpu, object, NULL))
			return object;
	}
	return get(p);
}

/* The number of an object; UINT32_MAX if it is none. */
static uint32_t number_of(struct chanfd_pool *p, void *object)
{
	size_t offset = (uintptr_t)object - (uintptr_t)p->objects;
	uint32_t handed_out = HANDED_OUT;

	if (offset >= p->stride * p->made || offset % p->stride)
		return UINT32_MAX;
	if (p->flags & CHANFD_POOL_CHECK &&
	    !atomic_compare_exchange_strong(&p->nodes[offset / p->stride].depth, &handed_out, 0))
		return UINT32_MAX;
	return offset / p->stride;
}

static __attribute__((__noinline__)) int put(struct chanfd_pool *p, void *object)
{
	struct stack *recent;
	uint32_t number;

	if (!object)
		return 0;
	number = number_of(p, object);
	if (number == UINT32_MAX) {
		errno = EINVAL;
		return -1;
	}
	if (race_detector())
		__tsan_release(object);
	recent = &p->cache[this_cpu(p)].recent;
	if (depth_of(p, recent->head) < p->limit)
		push(p, recent, number);
	else
		put_blank(p, number);
	return 0;
}

int chanfd_pool_put(struct chanfd_pool *p, void *object)
{
	unsigned int cpu = percpu_cpu();

	if (__builtin_expect(cpu < p->fast, 1) &&
	    (uintptr_t)object - (uintptr_t)p->objects < p->room &&
	    percpu_replace(&p->cache[cpu].slot, cpu, NULL, object))
		return 0;
	return put(p, object);
}

/*
 * The whole pool
 */

void chanfd_pool_trim(struct chanfd_pool *p)
{
	unsigned int cpu;

	for (cpu = 0; cpu < p->cpus; cpu++) {
		struct cache *cache = &p->cache[cpu];
		uint32_t found = pop_all(&cache->victims);
		void *object;

		while (found) {
			uint32_t next = p->nodes[found - 1].next;

			put_blank(p, found - 1);
			found = next;
		}
		found = pop_all(&cache->recent);
		while (found) {
			uint32_t next = p->nodes[found - 1].next;

			push(p, &cache->victims, found - 1);
			found = next;
		}
		object = percpu_steal(&cache->slot, cpu);
		if (object)
			push(p, &cache->victims, ((char *)object - p->objects) / p->stride);
	}
}

void chanfd_pool_info(struct chanfd_pool *p, struct chanfd_pool_info *info)
{
	uint64_t all = p->made, idle;
	unsigned int cpu;

	info->cached = 0;
	for (cpu = 0; cpu < p->cpus; cpu++) {
		struct cache *cache = &p->cache[cpu];

		info->cached += !!*(void *volatile *)&cache->slot.pointer +
			depth_of(p, cache->recent.head) +
			depth_of(p, cache->victims.head);
	}
	info->blank = p->blanks;
	idle = info->cached + info->blank;
	info->lent = all > idle ? all - idle : 0;
}

static size_t round_up(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

/*
 * Sizes of objects are rounded up to whole cache lines, larger ones by an eighth at the
 * most, and so that few of them fill whole pages.
 */
static void lay_out(struct chanfd_pool *p, size_t page)
{
	size_t unit = page / SLAB_OBJECTS;

	while (unit * 16 <= p->size)
		unit *= 2;
	p->stride = round_up(p->size, unit);
	while ((p->stride << p->slab_order) % page)
		p->slab_order++;
	p->limit = CACHED_BYTES / p->stride;
	if (p->limit < CACHED_OBJECTS)
		p->limit = CACHED_OBJECTS;
}

struct chanfd_pool *chanfd_pool(size_t size, unsigned int flags, void (*init)(void *object))
{
	size_t page = sysconf(_SC_PAGESIZE), head, nodes, slabs;
	struct chanfd_pool layout = {
		.size = size,
		.flags = flags,
		.init = init,
		.cpus = sysconf(_SC_NPROCESSORS_CONF),
	};
	struct chanfd_pool *p;
	char *start;

	if (!size || size > CHANFD_POOL_MAX_SIZE || flags & ~CHANFD_POOL_CHECK) {
		errno = EINVAL;
		return NULL;
	}
	lay_out(&layout, page);
	layout.max = MAX_ROOM / layout.stride < MAX_OBJECTS ?
		MAX_ROOM / layout.stride : MAX_OBJECTS;
	head = round_up(sizeof(*p) + layout.cpus * sizeof(p->cache[0]), page);

	/* Half of it, and so on, where there is not so much address space to have. */
	for (;; layout.max /= 2) {
		layout.max &= -(1U << layout.slab_order);
		if (!layout.max)
			return NULL;
		nodes = round_up(layout.max * sizeof(*p->nodes), page);
		slabs = round_up((layout.max >> layout.slab_order) * sizeof(*p->slabs), page);
		layout.room = layout.max * layout.stride;
		layout.mapped = head + nodes + slabs + layout.room;
		start = mmap(NULL, layout.mapped, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (start != MAP_FAILED)
			break;
	}
	if (mprotect(start, head, PROT_READ | PROT_WRITE)) {
		munmap(start, layout.mapped);
		return NULL;
	}
	layout.nodes = (struct node *)(start + head);
	layout.slabs = (atomic_ullong *)(start + head + nodes);
	layout.objects = start + head + nodes + slabs;
	if (!(flags & CHANFD_POOL_CHECK) && !race_detector() && percpu_works())
		layout.fast = layout.cpus;
	p = (struct chanfd_pool *)start;
	*p = layout;
	return p;
}

void chanfd_pool_free(struct chanfd_pool *p)
{
	int err = errno;

	if (p)
		munmap(p, p->mapped);
	errno = err;
}
