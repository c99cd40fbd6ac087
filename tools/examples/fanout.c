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
 * so that there is an end of results. Here the parent does all in one select: it hands
 * out jobs, takes results and sees the end of the workers, and also that one of them has
 * died with a job in its hands. (To have that job done again, see supervise.c.)
 */
#include <chanfd.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* How many primes there are from .. to - 1. */
struct job {
	int64_t from, to;
};

#define JOB_SIZE	10000

static bool is_prime(int64_t n)
{
	for (int64_t i = 2; i * i <= n; i++)
		if (n % i == 0)
			return false;
	return n >= 2;
}

static int work(int jobs, int results, int context)
{
	const struct chanfd_opt opt = { .context = context };
	struct job job;
	int more;

	while ((more = chanfd_get(jobs, &job, &opt)) == 1) {
		int64_t primes = 0;

		for (int64_t n = job.from; n < job.to; n++)
			primes += is_prime(n);
		if (chanfd_put(results, primes, &opt))
			return errno;
	}
	return more ? errno : 0;
}

static void start_worker(int members, int jobs, int results, const int context[2])
{
	chanfd_auto int token = chanfd_wg_token(members, 0);
	pid_t pid = token < 0 ? -1 : fork();

	if (pid < 0)
		err(1, "worker");
	if (!pid) {
		prctl(PR_SET_NAME, "fanout-worker");
		/* So that only the parent can cancel; if it dies, it has. */
		close(context[1]);
		chanfd_token_done(token, work(jobs, results, context[0]));
		_exit(0);
	}
}

/* Returns 0 or errno, when all workers have ended. */
static int count_primes(int64_t limit, int jobs, int results, int members, int64_t *sum)
{
	static const struct chanfd_opt ordered = { .context = -1, .flags = CHANFD_ORDERED };
	struct job job = { 0, 0 };
	struct chanfd_outcome out;
	int64_t primes;

	/* A send on results, which has no buffer, ends when it is received: so when all
	 * workers have ended nothing is left there.
	 */
	for (;;) {
		enum { RESULT, END, JOB };

		job.to = limit - job.from < JOB_SIZE ? limit : job.from + JOB_SIZE;
		switch (chanfd_select_of(&ordered, &out, CHANFD_RECV(results, &primes),
					 CHANFD_BROKEN(members, 0),
					 CHANFD_SEND(job.from < limit ? jobs : -1, &job))) {
		case RESULT:
			*sum += primes;
			break;
		case END:
			return out.error ? out.error : out.status;
		case JOB:
			job.from = job.to;
			if (job.from == limit)
				chanfd_close(jobs, 0);
			break;
		default:
			return errno;
		}
	}
}

int main(int argc, char **argv)
{
	int workers = argc == 3 ? atoi(argv[1]) : 0, jobs, results, members, context[2], error;
	int64_t limit = argc == 3 ? atoll(argv[2]) : 0, sum = 0;

	if (workers <= 0 || limit <= 0)
		errx(2, "usage: fanout WORKERS LIMIT\nCounts the primes below LIMIT.");
	jobs = chanfd_make(struct job, (unsigned int)workers);
	results = chanfd_make(int64_t, 0);
	members = chanfd_waitgroup(0, "workers");
	if (jobs < 0 || results < 0 || members < 0 || chanfd_context_pair(context, -1))
		errx(1, "%s", chanfd_strerror_hint(errno));
	while (workers--)
		start_worker(members, jobs, results, context);

	error = count_primes(limit, jobs, results, members, &sum);
	chanfd_cancel(context[1], error, NULL);
	while (wait(NULL) > 0)
		;
	if (error == EOWNERDEAD)
		errx(1, "a worker died, and nobody knows what it would have found");
	if (error)
		errx(1, "%s", chanfd_strerror_hint(error));
	printf("%" PRId64 " primes below %" PRId64 "\n", sum, limit);
	return 0;
}
