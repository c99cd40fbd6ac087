// SPDX-License-Identifier: GPL-2.0
/* Locks: what one costs that nobody else wants, and what several get of one. */
#include <chanfd.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define ROUNDS	20000

/* The least that a system call on a handle can do: nothing. */
static void null_pair(int lock)
{
	check(ioctl(lock, CHANFD_IOC_DONE, NULL) < 0 && errno == ENOTTY, "null ioctl");
	check(ioctl(lock, CHANFD_IOC_DONE, NULL) < 0 && errno == ENOTTY, "null ioctl");
}

static void lock_pair(int lock)
{
	check(!chanfd_lock(lock, NULL), "chanfd_lock");
	check(!chanfd_unlock(lock), "chanfd_unlock");
}

static void rlock_pair(int lock)
{
	check(!chanfd_rlock(lock, NULL), "chanfd_rlock");
	check(!chanfd_runlock(lock), "chanfd_runlock");
}

struct pair {
	const char *name;
	void (*run)(int lock);
};

static void uncontended(const void *arg)
{
	const struct pair *pair = arg;
	int lock = chanfd_rwmutex(0, NULL);

	check(lock >= 0, "chanfd_rwmutex");
	for (unsigned int i = 0; i < ROUNDS / 10; i++)
		pair->run(lock);
	clock_start();
	for (unsigned int i = 0; i < ROUNDS; i++)
		pair->run(lock);
	clock_stop();
	result(ROUNDS);
}

/*
 * Contended: a hog, which wants the lock again as soon as it has released it, and
 * workers, which want it now and then. They share the CPU in slices (SCHED_BATCH: who is
 * woken does not go first), so a slice mostly ends while the hog has the lock, and who
 * was woken finds it taken. What they all do together is the throughput; the longest
 * wait is that of a worker, and one that has not ended counts up to the end.
 */
#define WORKERS		3
#define DURATION	500000000u
#define INSIDE		50000u		/* loops */
#define OUTSIDE		5000u

struct contest {
	const char *name;
	unsigned int mode;
};

struct score {
	unsigned long turns;
	uint64_t longest;
};

static void spend(unsigned int loops)
{
	while (loops--)
		__asm__ volatile("");
}

static void compete(int lock, unsigned int outside, uint64_t end, struct score *score)
{
	uint64_t since;

	while ((since = now()) < end) {
		bool locked = !chanfd_lock(lock, CHANFD_OPT(-1, 0, end));
		uint64_t waited = now() - since;

		if (waited > score->longest)
			score->longest = waited;
		if (!locked)
			break;
		spend(INSIDE);
		check(!chanfd_unlock(lock), "chanfd_unlock");
		score->turns++;
		spend(outside);
	}
}

/* All turns, and the longest wait of a worker. */
static struct score contend(unsigned int mode)
{
	struct sched_param param = {};
	int lock = chanfd_mutex(mode, NULL);
	uint64_t end = now() + DURATION;
	struct score *score, sum = {};

	score = mmap(NULL, (WORKERS + 1) * sizeof(*score), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(score != MAP_FAILED, "mmap");
	check(lock >= 0, "chanfd_mutex");
	check(!sched_setscheduler(0, SCHED_BATCH, &param), "SCHED_BATCH");
	for (int i = 0; i < WORKERS; i++) {
		pid_t pid = fork();

		check(pid >= 0, "fork");
		if (!pid) {
			compete(lock, OUTSIDE, end, &score[i]);
			_exit(0);
		}
	}
	compete(lock, 0, end, &score[WORKERS]);
	for (int i = 0; i < WORKERS; i++) {
		int status;

		check(wait(&status) > 0 && !status, "worker");
	}
	for (int i = 0; i <= WORKERS; i++) {
		sum.turns += score[i].turns;
		if (i < WORKERS && score[i].longest > sum.longest)
			sum.longest = score[i].longest;
	}
	return sum;
}

static void throughput(const void *arg)
{
	const struct contest *contest = arg;

	result_value((double)DURATION / contend(contest->mode).turns);
}

static void longest_wait(const void *arg)
{
	const struct contest *contest = arg;

	result_value(contend(contest->mode).longest);
}

void measure_locks(void)
{
	static const struct pair pairs[] = {
		{ "two-null-ioctls", null_pair },
		{ "chanfd-lock", lock_pair },
		{ "chanfd-rlock", rlock_pair },
	};
	static const struct contest contests[] = {
		{ "barging", CHANFD_BARGING },
		{ "adaptive", 0 },
		{ "handoff", CHANFD_HANDOFF },
	};

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		measure(uncontended, &pairs[i], "lock", pairs[i].name, 0);
	for (size_t i = 0; i < ARRAY_SIZE(contests); i++) {
		measure(throughput, &contests[i], "contended", contests[i].name, 0);
		measure(longest_wait, &contests[i], "wait", contests[i].name, 0);
	}
}
