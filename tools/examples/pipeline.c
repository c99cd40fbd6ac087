// SPDX-License-Identifier: GPL-2.0
/*
 * pipeline: a process for every stage, a channel between one and the next.
 *
 *	count --numbers--> square --squares--> sum, in the parent
 *
 * In Go it is https://go.dev/blog/pipelines: a stage is a goroutine that closes its
 * output when its input has ended. There, a stage that stops early needs a second channel
 * to tell those before it, or they wait for good. Here they are told in any case: their
 * channel has no receiver any more. And a stage that was killed has not closed its
 * output, so the next one does not mistake half of the numbers for all of them, as it
 * would behind a pipe.
 */
#include <chanfd.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAPACITY	64

static int64_t first;

/* Stages return 0 or the errno that ended them. */

/* Without an end of its own. */
static int count(int in, int out)
{
	(void)in;
	for (int64_t n = first;; n++)
		if (chanfd_put(out, n, NULL))
			return errno;
}

static int square(int in, int out)
{
	int64_t n;
	int more;

	while ((more = chanfd_get(in, &n, NULL)) == 1) {
		if (__builtin_mul_overflow(n, n, &n))
			return EOVERFLOW;
		if (chanfd_put(out, n, NULL))
			return errno;
	}
	return more ? errno : 0;
}

/* Returns the stage's output. Its input is its own from now on. */
static int start(const char *name, int (*stage)(int in, int out), int in)
{
	int out[2];
	pid_t pid;

	if (chanfd_channel_pair(out, sizeof(int64_t), CAPACITY, 0, name))
		errx(1, "%s", chanfd_strerror_hint(errno));
	pid = fork();
	if (pid < 0)
		err(1, "%s", name);
	if (!pid) {
		prctl(PR_SET_NAME, name);
		close(out[0]);
		/* An error goes down the pipeline as the reason of the end. */
		chanfd_close(out[1], stage(in, out[1]));
		_exit(0);
	}
	if (in >= 0)
		close(in);
	close(out[1]);
	return out[0];
}

int main(int argc, char **argv)
{
	int64_t limit = argc == 3 ? atoll(argv[2]) : 0, sum = 0, squares = 0, n;
	int in, error = 0;

	if (limit <= 0)
		errx(2, "usage: pipeline FIRST LIMIT\n"
		     "Adds up the squares of FIRST and what follows until LIMIT is reached.");
	first = atoll(argv[1]);
	in = start("pipe-count", count, -1);
	in = start("pipe-square", square, in);
	while (sum < limit && !error) {
		if (chanfd_get(in, &n, NULL) < 0)
			error = errno;
		else if (__builtin_add_overflow(sum, n, &sum))
			error = EOVERFLOW;
		else
			squares++;
	}
	close(in);		/* which stops all that is before it */
	while (wait(NULL) > 0)
		;

	if (error == ECONNRESET)
		errx(1, "a stage died after %" PRId64 " squares", squares);
	if (error)
		errx(1, "the pipeline ended after %" PRId64 " squares: %s", squares,
		     chanfd_strerror_hint(error));
	printf("%" PRId64 " squares make %" PRId64 "\n", squares, sum);
	return 0;
}
