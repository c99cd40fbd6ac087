// SPDX-License-Identifier: GPL-2.0
/*
 * random [-b] [-s SEED] [-t SECONDS] [-p SEED]: random programs, each run once and its
 * history checked. With -p one program, over and over; with -b what fails is not tried
 * with less.
 *
 * A program is known by its seed. What threads do to each other is not: a failure may
 * need some runs to come again.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

/* Runs in which a smaller program must fail to be worth having. */
#define SHRINK_RUNS	300

static struct program program;
static struct history history;
static u64 operations, undecided;
static bool brief;

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Runs it once; what is wrong, or NULL. */
static const char *run_once(const struct program *p, struct history *h, u64 run, int *stuck)
{
	struct choices c = { .random = p->seed ^ run << 32 };
	enum verdict verdict;

	execute(p, h, &c);
	operations += h->events / 2;
	verdict = check(h, stuck);
	undecided += verdict == UNDECIDED;
	if (verdict == UNEXPLAINED)
		return "what happened cannot be explained by any order of its steps";
	return h->left ? "memory is left when all is closed" : NULL;
}

/* Leaves operations out as long as what is left still fails within some runs. */
static void shrink(struct history *h, int *stuck)
{
	static struct program smaller;
	static struct history of_smaller;
	int t, i, run, at;

	for (t = 0; t < WORKERS; t++) {
		for (i = h->program.ops[t] - 1; i >= 0; i--) {
			smaller = h->program;
			smaller.op[t][i].kind = OP_NONE;
			for (run = 0; run < SHRINK_RUNS; run++)
				if (run_once(&smaller, &of_smaller, run, &at))
					break;
			if (run == SHRINK_RUNS)
				continue;
			*h = of_smaller;
			*stuck = at;
		}
	}
}

static void report(struct history *h, const char *problem, int stuck)
{
	printf("# %s\n", problem);
	printf("# again: random -p %llu\n", (unsigned long long)h->program.seed);
	print_program(&h->program);
	print_history(h, stuck);
	if (brief)
		return;
	printf("# with less:\n");
	fflush(stdout);
	shrink(h, &stuck);
	print_program(&h->program);
	print_history(h, stuck);
}

static u64 mix(u64 seed, u64 n)
{
	struct choices c = { .random = seed + n * 0x9e3779b97f4a7c15ull };
	u64 high = choose(&c, 1u << 31);

	return high << 32 | choose(&c, 1u << 31);
}

static bool run_program(u64 seed, u64 run)
{
	struct choices c = { .random = seed };
	const char *problem;
	int stuck;

	generate(&program, &c, 0);
	program.seed = seed;
	problem = run_once(&program, &history, run, &stuck);
	if (problem)
		report(&history, problem, stuck);
	return !problem;
}

int main(int argc, char **argv)
{
	u64 seed = time(NULL) ^ (u64)getpid() << 32, only = 0, n;
	double started = seconds(), limit = 10;
	bool good = true;
	int opt;

	while ((opt = getopt(argc, argv, "bs:t:p:")) != -1) {
		switch (opt) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'b':
			brief = true;
			break;
		case 't':
			limit = atof(optarg);
			break;
		case 'p':
			only = strtoull(optarg, NULL, 0);
			break;
		default:
			return 2;
		}
	}
	printf("# random: seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	execute_start();
	for (n = 0; good && seconds() - started < limit; n++)
		good = run_program(only ?: mix(seed, n), n);
	execute_stop();
	limit = seconds() - started;
	printf("# random: %llu programs, %llu operations, %.0f a minute, %llu undecided\n",
	       (unsigned long long)n, (unsigned long long)operations,
	       operations * 60 / limit, (unsigned long long)undecided);
	return !good;
}
