// SPDX-License-Identifier: GPL-2.0
/*
 * fanout: many processes share out the work, and one collects what they found.
 *
 *	        jobs            results
 *	parent ------> workers --------> parent
 *
 * In Go: goroutines that range over jobs, and
 *
 *	go func() { wg.Wait(); close(results) }()
 *
 * so that there is an end of results. Here the workers are processes of a group (Go's
 * errgroup), and the parent does all in one select: it hands out jobs, takes results and
 * sees the end of the workers. If one dies, with a job in its hands, the group fails, and
 * the others stop. (To have that job done again instead, see supervise.c.)
 */
#include <chanfd.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* How many primes there are from .. to - 1. */
struct job {
	int64_t from, to;
};

#define JOB_SIZE	10000

static int jobs, results;

static bool is_prime(int64_t n)
{
	for (int64_t i = 2; i * i <= n; i++)
		if (n % i == 0)
			return false;
	return n >= 2;
}

/* A task of the group: returns 0 or errno. */
static int work(int context, void *arg)
{
	const struct chanfd_opt opt = { .context = context };
	struct job job;
	int more;

	(void)arg;
	prctl(PR_SET_NAME, "fanout-worker");
	while ((more = chanfd_get(jobs, &job, &opt)) == 1) {
		int64_t primes = 0;

		for (int64_t n = job.from; n < job.to; n++)
			primes += is_prime(n);
		if (chanfd_put(results, primes, &opt))
			return errno;
	}
	return more ? errno : 0;
}

/*
 * A send on results, which has no buffer, ends when it is received: so when all workers
 * have ended nothing is left there.
 */
static int64_t count_primes(int64_t limit, int workers)
{
	static const struct chanfd_opt ordered = { .context = -1, .flags = CHANFD_ORDERED };
	struct job job = { 0, 0 };
	struct chanfd_outcome out;
	int64_t primes, sum = 0;

	for (;;) {
		enum { RESULT, END, JOB };

		job.to = limit - job.from < JOB_SIZE ? limit : job.from + JOB_SIZE;
		switch (chanfd_select_of(&ordered, &out, CHANFD_RECV(results, &primes),
					 CHANFD_WAIT(workers),
					 CHANFD_SEND(job.from < limit ? jobs : -1, &job))) {
		case RESULT:
			sum += primes;
			break;
		case END:
			return sum;
		case JOB:
			job.from = job.to;
			if (job.from == limit)
				chanfd_close(jobs, 0);
			break;
		default:
			err(1, "select");
		}
	}
}

int main(int argc, char **argv)
{
	chanfd_auto_group struct chanfd_group *group = NULL;
	int64_t limit = argc == 3 ? atoll(argv[2]) : 0, sum;
	int workers = argc == 3 ? atoi(argv[1]) : 0;
	struct chanfd_failure first;

	if (workers <= 0 || limit <= 0)
		errx(2, "usage: fanout WORKERS LIMIT\nCounts the primes below LIMIT.");
	jobs = chanfd_make(struct job, (unsigned int)workers);
	results = chanfd_make(int64_t, 0);
	group = chanfd_group(-1, 0);
	if (jobs < 0 || results < 0 || !group)
		errx(1, "%s", chanfd_strerror_hint(errno));
	while (workers--)
		if (chanfd_group_fork(group, work, NULL, NULL) < 0)
			err(1, "worker");

	sum = count_primes(limit, chanfd_group_waitgroup(group));
	if (!chanfd_group_wait(group, &first)) {
		printf("%" PRId64 " primes below %" PRId64 "\n", sum, limit);
		return 0;
	}
	if (WIFSIGNALED(first.status))
		warnx("worker %d died: %s", first.pid, strsignal(WTERMSIG(first.status)));
	else
		warnx("worker %d: %s", first.pid, chanfd_strerror_hint(first.error));
	return 1;
}
