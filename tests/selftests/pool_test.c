// SPDX-License-Identifier: GPL-2.0
/*
 * Object pools: what is kept, what is given back, and that nobody gets what another has.
 *
 * A pool is one process's. What could differ in a child of fork(2), which has a copy of
 * its parent's, is tested there, too.
 */
#include <sched.h>
#include <sys/resource.h>
#include <ucontext.h>

#include "helpers.h"

#define MANY		4096	/* objects */

/* What the tests put into objects; init() begins it. */
struct item {
	atomic_long owner;
	long serial;
	long payload;
};

static atomic_long inits;

static void init_item(void *object)
{
	struct item *item = object;

	item->owner = 0;
	item->serial = ++inits;
	item->payload = 0;
}

static struct chanfd_pool_info pool_info(struct chanfd_pool *pool)
{
	struct chanfd_pool_info info;

	poison(&info);
	chanfd_pool_info(pool, &info);
	return info;
}

/*
 * Have the kernel take all pages from the first to the last object that it may take; this
 * process never has so many that it would do so by itself. How many are left?
 */
static int page_out(void **objects, int n, size_t size)
{
	uintptr_t page = getpagesize(), low = UINTPTR_MAX, high = 0;
	unsigned char *resident;
	int left = 0;

	for (int i = 0; i < n; i++) {
		low = (uintptr_t)objects[i] < low ? (uintptr_t)objects[i] : low;
		high = (uintptr_t)objects[i] > high ? (uintptr_t)objects[i] : high;
	}
	low &= -page;
	high = (high + size + page - 1) & -page;
	resident = calloc((high - low) / page, 1);
	if (!resident || madvise((void *)low, high - low, MADV_PAGEOUT) ||
	    mincore((void *)low, high - low, resident))
		err(1, "MADV_PAGEOUT");
	for (uintptr_t i = 0; i < (high - low) / page; i++)
		left += resident[i] & 1;
	free(resident);
	return left;
}

/* A figure in kB of /proc/self/status. */
static long figure(const char *what)
{
	char text[4096], *line;

	if (!read_text("/proc/self/status", text, sizeof(text)))
		err(1, "/proc/self/status");
	line = strstr(text, what);
	return line ? atol(line + strlen(what) + 1) : -1;
}

FIXTURE(pool)
{
	struct chanfd_pool *pool;
};

FIXTURE_VARIANT(pool)
{
	unsigned int flags;
	bool forked;
};

FIXTURE_VARIANT_ADD(pool, fast)
{
};

FIXTURE_VARIANT_ADD(pool, checked)
{
	.flags = CHANFD_POOL_CHECK,
};

FIXTURE_VARIANT_ADD(pool, forked)
{
	.forked = true,
};

FIXTURE_SETUP(pool)
{
	void *object;

	inits = 0;
	self->pool = chanfd_pool(sizeof(struct item), variant->flags, init_item);
	ASSERT_NE(NULL, self->pool);
	if (variant->forked) {
		/* Not an empty one. The test goes on in the child. */
		int status;
		pid_t pid;

		object = chanfd_pool_get(self->pool);
		ASSERT_NE(NULL, object);
		ASSERT_EQ(0, chanfd_pool_put(self->pool, object));
		chanfd_pool_trim(self->pool);
		chanfd_pool_trim(self->pool);
		pid = fork();
		ASSERT_LE(0, pid);
		if (pid) {
			ASSERT_EQ(pid, waitpid(pid, &status, 0));
			_exit(WIFEXITED(status) ? WEXITSTATUS(status) : KSFT_FAIL);
		}
		inits = 0;
	}
}

FIXTURE_TEARDOWN(pool)
{
	chanfd_pool_free(self->pool);
}

/* P1: what is put back can be had again; nothing can be put back. */
TEST_F(pool, get_and_put)
{
	struct item *one = chanfd_pool_get(self->pool), *other;

	ASSERT_NE(NULL, one);
	EXPECT_EQ(1, one->serial);
	EXPECT_EQ(1, pool_info(self->pool).lent);
	other = chanfd_pool_get(self->pool);
	ASSERT_NE(NULL, other);
	EXPECT_NE(one, other);
	EXPECT_EQ(2, other->serial);
	one->payload = 42;
	EXPECT_EQ(0, chanfd_pool_put(self->pool, one));
	EXPECT_EQ(one, chanfd_pool_get(self->pool));
	EXPECT_EQ(42, one->payload);
	EXPECT_EQ(2, atomic_load(&inits));
	EXPECT_EQ(0, chanfd_pool_put(self->pool, NULL));
	EXPECT_EQ(2, pool_info(self->pool).lent);
}

/* tP1, P3: an object survives one trim, and not two. */
TEST_F(pool, victim)
{
	struct item *items[20];
	long before;

	for (int i = 0; i < 20; i++) {
		items[i] = chanfd_pool_get(self->pool);
		ASSERT_NE(NULL, items[i]);
	}
	EXPECT_EQ(20, atomic_load(&inits));
	for (int i = 0; i < 20; i++)
		EXPECT_EQ(0, chanfd_pool_put(self->pool, items[i]));
	EXPECT_EQ(20, pool_info(self->pool).cached);
	chanfd_pool_trim(self->pool);
	EXPECT_EQ(20, pool_info(self->pool).cached);
	for (int i = 0; i < 20; i++)
		items[i] = chanfd_pool_get(self->pool);
	EXPECT_EQ(20, atomic_load(&inits));

	for (int i = 0; i < 20; i++)
		EXPECT_EQ(0, chanfd_pool_put(self->pool, items[i]));
	chanfd_pool_trim(self->pool);
	EXPECT_EQ(20, pool_info(self->pool).cached);
	before = pool_info(self->pool).blank;
	chanfd_pool_trim(self->pool);
	EXPECT_EQ(0, pool_info(self->pool).cached);
	EXPECT_EQ(before + 20, pool_info(self->pool).blank);
	for (int i = 0; i < 20; i++)
		items[i] = chanfd_pool_get(self->pool);
	EXPECT_EQ(40, atomic_load(&inits));
}

/* Recent objects are handed out before victims. */
TEST_F(pool, victims_are_last)
{
	struct item *old = chanfd_pool_get(self->pool), *recent = chanfd_pool_get(self->pool);

	EXPECT_EQ(0, chanfd_pool_put(self->pool, old));
	chanfd_pool_trim(self->pool);
	EXPECT_EQ(0, chanfd_pool_put(self->pool, recent));
	EXPECT_EQ(recent, chanfd_pool_get(self->pool));
	EXPECT_EQ(old, chanfd_pool_get(self->pool));
	EXPECT_EQ(2, atomic_load(&inits));
}

/*
 * A page that was touched on one CPU is not at once one that MADV_PAGEOUT on another knows
 * of: all on one.
 */
static void stay_on_one_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(1, "sched_setaffinity");
}

/* The kernel can have the memory of what is idle, and what comes back is made ready again. */
TEST_F(pool, memory_is_given_back)
{
	struct item *items[MANY];

	stay_on_one_cpu();
	for (int i = 0; i < MANY; i++) {
		items[i] = chanfd_pool_get(self->pool);
		ASSERT_NE(NULL, items[i]);
		items[i]->payload = i;
	}
	for (int i = 0; i < MANY; i++)
		EXPECT_EQ(0, chanfd_pool_put(self->pool, items[i]));
	chanfd_pool_trim(self->pool);
	chanfd_pool_trim(self->pool);
	/* The parent has the first one, too. */
	EXPECT_GE(variant->forked, page_out((void **)items, MANY, sizeof(*items[0])));
	EXPECT_EQ(MANY, atomic_load(&inits));
	for (int i = 0; i < MANY; i++) {
		items[i] = chanfd_pool_get(self->pool);
		ASSERT_EQ(MANY + i + 1, items[i]->serial);
		ASSERT_EQ(0, items[i]->payload);
	}
}

/* But not of what is handed out, or in its first trim, also if it is on the same page. */
TEST_F(pool, neighbours_keep_their_memory)
{
	struct item *items[MANY];

	stay_on_one_cpu();
	for (int i = 0; i < MANY; i++) {
		items[i] = chanfd_pool_get(self->pool);
		ASSERT_NE(NULL, items[i]);
		items[i]->payload = i;
	}
	for (int i = 0; i < MANY; i++)
		if (i % 64)
			EXPECT_EQ(0, chanfd_pool_put(self->pool, items[i]));
	chanfd_pool_trim(self->pool);
	for (int i = 64; i < MANY; i += 128)
		EXPECT_EQ(0, chanfd_pool_put(self->pool, items[i]));
	chanfd_pool_trim(self->pool);
	page_out((void **)items, MANY, sizeof(*items[0]));
	for (int i = 0; i < MANY; i += 64) {
		ASSERT_EQ(i, items[i]->payload);
		ASSERT_LE(items[i]->serial, MANY);
	}
	EXPECT_EQ(MANY / 128, pool_info(self->pool).cached);
	EXPECT_EQ(MANY / 128, pool_info(self->pool).lent);
}

/* A pool that has been large does not stay so: what is beyond the caches is blank. */
TEST_F(pool, bounds_itself)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF), n = cpus * (1 << 14) * 2;
	void **objects = calloc(n, sizeof(*objects));

	ASSERT_NE(NULL, objects);
	for (long i = 0; i < n; i++) {
		objects[i] = chanfd_pool_get(self->pool);
		ASSERT_NE(NULL, objects[i]);
	}
	EXPECT_EQ(n, pool_info(self->pool).lent);
	for (long i = 0; i < n; i++)
		ASSERT_EQ(0, chanfd_pool_put(self->pool, objects[i]));
	EXPECT_EQ(0, pool_info(self->pool).lent);
	EXPECT_GE(cpus * ((1 << 14) + 1), pool_info(self->pool).cached);
	EXPECT_LE(cpus * ((1 << 14) - 1), pool_info(self->pool).blank);
	free(objects);
}

TEST_F(pool, wrong_objects)
{
	struct item *item = chanfd_pool_get(self->pool), on_stack;
	struct chanfd_pool *other = chanfd_pool(sizeof(*item), variant->flags, NULL);
	struct item *foreign = chanfd_pool_get(other);

	EXPECT_EQ(EINVAL, errno_of(chanfd_pool_put(self->pool, &on_stack)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_pool_put(self->pool, foreign)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_pool_put(other, item)));
	if (variant->flags & CHANFD_POOL_CHECK) {
		EXPECT_EQ(EINVAL, errno_of(chanfd_pool_put(self->pool, &item->payload)));
		EXPECT_EQ(EINVAL, errno_of(chanfd_pool_put(self->pool, (char *)item + 64)));
		EXPECT_EQ(1, pool_info(self->pool).lent);
		EXPECT_EQ(0, chanfd_pool_put(self->pool, item));
		EXPECT_EQ(EINVAL, errno_of(chanfd_pool_put(self->pool, item)));
		chanfd_pool_trim(self->pool);
		EXPECT_EQ(EINVAL, errno_of(chanfd_pool_put(self->pool, item)));
		chanfd_pool_trim(self->pool);
		EXPECT_EQ(EINVAL, errno_of(chanfd_pool_put(self->pool, item)));
		EXPECT_EQ(0, pool_info(self->pool).lent);
		item = chanfd_pool_get(self->pool);
		EXPECT_NE(item, chanfd_pool_get(self->pool));
	}
	chanfd_pool_free(other);
}

/*
 * tP2, P4, H11: threads that move from CPU to CPU, get, hand to each other and put, one
 * that trims, and signals whose handler does the same.
 */

#define THREADS		4
#define HELD		8
#define EXCHANGE	16

static struct storm {
	struct chanfd_pool *pool;
	long rounds;
	atomic_uintptr_t exchange[EXCHANGE];	/* a struct item * */
	atomic_long doubles;
	atomic_long lost;
	atomic_bool over;
} *storm;

static _Thread_local long my_id;

/* Nobody else has it, and it is as whoever had it left it. */
static void claim(struct item *item, long id)
{
	if (atomic_exchange(&item->owner, id))
		storm->doubles++;
	if (item->payload != item->serial * 3 && item->payload)
		storm->doubles++;
	item->payload = id;
}

static void put_back(struct item *item, long id)
{
	if (item->payload != id)
		storm->doubles++;
	item->payload = item->serial * 3;
	if (atomic_exchange(&item->owner, 0) != id || chanfd_pool_put(storm->pool, item))
		storm->doubles++;
}

static void on_storm(int sig)
{
	struct item *item = chanfd_pool_get(storm->pool);

	(void)sig;
	claim(item, -my_id);
	put_back(item, -my_id);
}

static long run_storm(struct party *me)
{
	unsigned int random = me->value;
	struct item *held[HELD] = { NULL }, *given;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	my_id = me->value;
	for (long i = 0; i < storm->rounds; i++) {
		int k = (random = random * 1664525 + 1013904223) >> 16 & (HELD - 1);

		if (i % 64 == 0) {
			CPU_ZERO(&set);
			CPU_SET((random >> 20) % cpus, &set);
			sched_setaffinity(0, sizeof(set), &set);
		}
		if (!held[k]) {
			held[k] = chanfd_pool_get(storm->pool);
			if (!held[k])
				return -1;
			claim(held[k], my_id);
		} else if (random >> 28) {
			put_back(held[k], my_id);
			held[k] = NULL;
		} else {
			/* Whoever gets it by the exchange has it alone. */
			held[k]->payload = held[k]->serial * 3;
			held[k]->owner = 0;
			given = (struct item *)atomic_exchange(&storm->exchange[i % EXCHANGE],
							       (uintptr_t)held[k]);
			held[k] = given;
			if (given)
				claim(given, my_id);
		}
	}
	for (int k = 0; k < HELD; k++)
		if (held[k])
			put_back(held[k], my_id);
	return 0;
}

static long run_trims(struct party *me)
{
	while (!storm->over)
		chanfd_pool_trim(storm->pool);
	return 0;
}

TEST_F(pool, no_duplicates)
{
	struct party *storms[THREADS], *trims = party_new(false, run_trims, -1);
	struct sigaction sa = { .sa_handler = on_storm, .sa_flags = SA_RESTART };
	struct chanfd_pool_info info;
	bool ended = false;

	storm = shared(sizeof(*storm));
	storm->pool = self->pool;
	storm->rounds = 30000;
	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	party_start(trims);
	for (int i = 0; i < THREADS; i++) {
		storms[i] = party_new(false, run_storm, -1);
		storms[i]->value = i + 1;
		party_start(storms[i]);
	}
	while (!ended) {
		ended = true;
		for (int i = 0; i < THREADS; i++) {
			if (storms[i]->ended)
				continue;
			ended = false;
			if (storms[i]->tid)
				party_signal(storms[i], SIGUSR1);
		}
		sched_yield();
	}
	for (int i = 0; i < THREADS; i++)
		EXPECT_EQ(0, party_join(storms[i]));
	storm->over = true;
	EXPECT_EQ(0, party_join(trims));
	EXPECT_EQ(0, atomic_load(&storm->doubles));
	for (int i = 0; i < EXCHANGE; i++)
		EXPECT_EQ(0, chanfd_pool_put(self->pool, (void *)storm->exchange[i]));

	/* None is lost, and there are no more than were needed. */
	info = pool_info(self->pool);
	EXPECT_EQ(0, info.lent);
	EXPECT_GT(THREADS * (HELD + 1) + EXCHANGE + 4096, info.cached + info.blank);
}

#ifdef __x86_64__
/*
 * P4 at each instruction: one operation is interrupted once, after its first, second, ...
 * instruction, by a handler that uses the pool. It gets two objects and puts the first one
 * back: what was on top is so again, and what was below it is not.
 */

static struct step {
	struct chanfd_pool *pool;
	int left;		/* instructions until it acts */
	struct item *kept;
} step;

#define TRAP_FLAG	0x100

static void on_step(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	struct item *other;

	if (--step.left)
		return;
	uc->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
	other = chanfd_pool_get(step.pool);
	step.kept = chanfd_pool_get(step.pool);
	chanfd_pool_put(step.pool, other);
}

/* Past the red zone of the stack. */
#define single_step(on)							\
	__asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\t"		\
			 "andq %0, (%%rsp)\n\torq %1, (%%rsp)\n\t"		\
			 "popfq\n\tlea 128(%%rsp), %%rsp"			\
			 :: "i" (~TRAP_FLAG), "i" ((on) ? TRAP_FLAG : 0)	\
			 : "memory", "cc")

enum operation { GET, PUT, TRIM };

#define OBJECTS		8

/* Is every object had once, in the end? */
static bool still_consistent(struct chanfd_pool *pool, struct item **held)
{
	struct item *all[2 * OBJECTS];
	int n = 0;

	for (int i = 0; i < OBJECTS; i++)
		if (held[i])
			all[n++] = held[i];
	if (step.kept)
		all[n++] = step.kept;
	if (pool_info(pool).lent != (uint64_t)n)
		return false;
	while (n < 2 * OBJECTS)
		all[n++] = chanfd_pool_get(pool);
	for (int i = 0; i < n; i++)
		for (int j = 0; j < i; j++)
			if (!all[i] || all[i] == all[j])
				return false;
	return true;
}

/*
 * Four objects are cached, and then @drain of them taken; the operation is interrupted
 * after @after instructions. Returns whether it was so long.
 */
static bool interrupted(unsigned int flags, enum operation operation, int drain, int after,
			bool *good)
{
	struct chanfd_pool *pool = chanfd_pool(sizeof(struct item), flags, init_item);
	struct item *held[OBJECTS] = { NULL }, *object;
	int last = OBJECTS - 1;

	if (!pool)
		err(1, "chanfd_pool");
	for (int i = 0; i < 6; i++)
		held[i] = chanfd_pool_get(pool);
	for (int i = 0; i < 4; i++) {
		chanfd_pool_put(pool, held[i]);
		held[i] = NULL;
	}
	for (int i = 0; i < drain; i++)
		held[i] = chanfd_pool_get(pool);
	object = held[5];
	step = (struct step){ .pool = pool, .left = after };

	single_step(true);
	if (operation == GET)
		object = chanfd_pool_get(pool);
	else if (operation == PUT)
		chanfd_pool_put(pool, object);
	else
		chanfd_pool_trim(pool);
	single_step(false);

	if (operation == GET)
		held[last] = object;
	else if (operation == PUT)
		held[5] = NULL;
	*good = still_consistent(pool, held);
	chanfd_pool_free(pool);
	return step.left <= 0;
}

TEST_F(pool, every_instruction)
{
	static const struct {
		enum operation operation;
		int drain;
	} cases[] = {
		{ GET, 0 }, { GET, 1 }, { GET, 4 }, { PUT, 0 }, { PUT, 1 }, { TRIM, 0 },
	};
	struct sigaction sa = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO };
	bool good;
	int after;

	stay_on_one_cpu();
	ASSERT_EQ(0, sigaction(SIGTRAP, &sa, NULL));
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		for (after = 1; interrupted(variant->flags, cases[i].operation, cases[i].drain,
					    after, &good); after++)
			ASSERT_TRUE(good) {
				TH_LOG("operation %d, %d taken, after %d instructions",
				       cases[i].operation, cases[i].drain, after);
			}
		/* It was one operation, and not none. */
		EXPECT_LT(20, after);
	}
}
#endif

/* Objects of any size are whole, apart and on cache lines. */
TEST(sizes)
{
	static const size_t sizes[] = {
		1, 8, 63, 64, 65, 100, 1000, 4095, 4096, 4097, 5000, 65536, 65537, 1000000,
	};
	unsigned char *objects[70];
	struct chanfd_pool *pool;

	for (unsigned int s = 0; s < ARRAY_SIZE(sizes); s++) {
		pool = chanfd_pool(sizes[s], 0, NULL);
		ASSERT_NE(NULL, pool);
		for (int i = 0; i < 70; i++) {
			objects[i] = chanfd_pool_get(pool);
			ASSERT_NE(NULL, objects[i]);
			ASSERT_EQ(0, (uintptr_t)objects[i] % 64);
			memset(objects[i], i, sizes[s]);
		}
		for (int i = 0; i < 70; i++) {
			ASSERT_EQ(i, objects[i][0]);
			ASSERT_EQ(0, memcmp(objects[i], objects[i] + 1, sizes[s] - 1));
			ASSERT_EQ(0, chanfd_pool_put(pool, objects[i]));
		}
		chanfd_pool_free(pool);
	}
	EXPECT_EQ(EINVAL, errno_of(chanfd_pool(0, 0, NULL) ? 0 : -1));
	EXPECT_EQ(EINVAL, errno_of(chanfd_pool(CHANFD_POOL_MAX_SIZE + 1, 0, NULL) ? 0 : -1));
	EXPECT_EQ(EINVAL, errno_of(chanfd_pool(1, 1, NULL) ? 0 : -1));
	chanfd_pool_free(NULL);
}

/* All of its address space is given back. */
TEST(free_gives_all_back)
{
	struct chanfd_pool *pool;
	long before = -1;
	void *object;

	for (int i = 0; i < 100; i++) {
		pool = chanfd_pool(4096, 0, NULL);
		ASSERT_NE(NULL, pool);
		object = chanfd_pool_get(pool);
		ASSERT_NE(NULL, object);
		memset(object, 1, 4096);
		chanfd_pool_free(pool);
		if (i == 0)
			before = figure("VmSize:");
	}
	EXPECT_EQ(before, figure("VmSize:"));
}

/* A process that may not have so much address space gets a smaller pool. */
TEST(little_address_space)
{
	struct rlimit limit = { 512 << 20, 512 << 20 };
	struct chanfd_pool *pool;
	void *object;

	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &limit));
	pool = chanfd_pool(65536, 0, NULL);
	ASSERT_NE(NULL, pool);
	for (int i = 0; i < 100; i++) {
		object = chanfd_pool_get(pool);
		ASSERT_NE(NULL, object);
		memset(object, 1, 65536);
	}
	limit.rlim_cur = 0;
	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &limit));
	EXPECT_EQ(ENOMEM, errno_of(chanfd_pool(64, 0, NULL) ? 0 : -1));
}

/* When there is no more memory get says so, and works again when there is. */
TEST(no_memory)
{
	struct rlimit limit = { 64 << 20, RLIM_INFINITY };
	struct chanfd_pool *pool = chanfd_pool(1 << 20, 0, NULL);
	void *object, *last = NULL;
	int n = 0;

	ASSERT_NE(NULL, pool);
	ASSERT_EQ(0, setrlimit(RLIMIT_DATA, &limit));
	errno = 0;
	for (; n < 1000; n++) {
		object = chanfd_pool_get(pool);
		if (!object)
			break;
		last = object;
	}
	EXPECT_EQ(ENOMEM, errno);
	EXPECT_LT(10, n);
	EXPECT_GT(64, n);
	EXPECT_EQ(0, chanfd_pool_put(pool, last));
	EXPECT_EQ(last, chanfd_pool_get(pool));
	EXPECT_EQ(n, pool_info(pool).lent);
	limit.rlim_cur = RLIM_INFINITY;
	ASSERT_EQ(0, setrlimit(RLIMIT_DATA, &limit));
	EXPECT_NE(NULL, chanfd_pool_get(pool));
}

TEST_HARNESS_MAIN
