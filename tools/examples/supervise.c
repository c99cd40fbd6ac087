// SPDX-License-Identifier: GPL-2.0
/*
 * supervise: workers that die are replaced, and what they had in their hands is done by
 * others.
 *
 * A worker receives its job into a lease and commits that when the result is sent. If it
 * is killed in between, at whatever instruction, the job is back at the front of the
 * channel, and the next worker gets it. The parent only has to start that one: it keeps
 * no list of who does what. A worker may die after it has sent a result and before it
 * commits, so a job can be done twice, but never not at all.
 *
 * Go has no counterpart, as no goroutine dies alone: there, jobs that must survive a
 * worker are in a message broker with acknowledgements.
 */
#include <chanfd.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct result {
	int job;		/* index in the arguments */
	int error;		/* errno, or 0 */
	uint64_t lines;
};

static int jobs, results, members;
static pid_t parent;

static int count_lines(const char *path, uint64_t *lines)
{
	chanfd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
	char block[4096];
	ssize_t size;

	if (fd < 0)
		return errno;
	while ((size = read(fd, block, sizeof(block))) > 0)
		for (ssize_t i = 0; i < size; i++)
			*lines += block[i] == '\n';
	return size ? errno : 0;
}

/* Returns 0 or errno. Without the parent there is nothing to do. */
static int work(char **paths)
{
	const struct chanfd_opt opt = { .context = chanfd_context_parent_process(-1, parent) };
	struct result result;
	int more;

	if (opt.context < 0)
		return errno;
	for (;;) {
		chanfd_auto int lease = -1;

		result = (struct result){ 0 };
		more = chanfd_recv_leased(jobs, &result.job, sizeof(result.job), &lease, &opt,
					  NULL);
		if (more != 1)
			return more ? errno : 0;
		result.error = count_lines(paths[result.job], &result.lines);
		/* Closed: all results are there, this one for the second time. */
		if (chanfd_put(results, result, &opt) && errno != EPIPE)
			return errno;
		if (chanfd_commit(lease))
			return errno;
	}
}

static void start_worker(char **paths)
{
	chanfd_auto int token = chanfd_wg_token(members, 0);
	pid_t pid = token < 0 ? -1 : fork();

	if (pid < 0)
		err(1, "worker");
	if (pid)
		return;
	prctl(PR_SET_NAME, "superv-worker");
	if (work(paths))
		err(1, "worker");
	chanfd_token_done(token, 0);
	_exit(0);
}

/* A token breaks while its holder is exiting, so this does not wait for long. */
static void replace(unsigned int dead, char **paths)
{
	while (dead--) {
		int status;
		pid_t pid = wait(&status);

		if (pid < 0)
			err(1, "wait");
		if (!WIFSIGNALED(status))
			errx(1, "a worker cannot go on");
		warnx("worker %d died: %s", pid, strsignal(WTERMSIG(status)));
		start_worker(paths);
	}
}

static int show(const struct result *result, int n, char **paths)
{
	int failed = 0;

	for (int i = 0; i < n; i++) {
		failed |= !!result[i].error;
		if (result[i].error)
			warnx("%s: %s", paths[i], strerror(result[i].error));
		else
			printf("%s: %" PRIu64 " lines\n", paths[i], result[i].lines);
	}
	return failed;
}

int main(int argc, char **argv)
{
	int workers = argc > 2 ? atoi(argv[1]) : 0, n = argc - 2, job = 0, left = n;
	unsigned int dead = 0;
	char **paths = argv + 2;
	struct result *done, result;
	struct chanfd_outcome out;

	if (workers <= 0)
		errx(2, "usage: supervise WORKERS FILE...\nCounts the lines of each FILE.");
	parent = getpid();
	members = chanfd_waitgroup(0, "workers");
	jobs = chanfd_make(int, 0);
	results = chanfd_make(struct result, 0);
	if (members < 0 || jobs < 0 || results < 0)
		errx(1, "%s", chanfd_strerror_hint(errno));
	done = calloc((size_t)n, sizeof(*done));
	if (!done)
		err(1, "memory");
	for (int i = 0; i < n; i++)
		done[i].job = -1;	/* is not done yet */
	/* The parent is a member too, or the round would end when all others have died. */
	chanfd_wg_add(members, 1);
	while (workers--)
		start_worker(paths);

	while (left) {
		enum { RESULT, DEATH, JOB };

		switch (chanfd_select_of(NULL, &out, CHANFD_RECV(results, &result),
					 CHANFD_BROKEN(members, dead),
					 CHANFD_SEND(job < n ? jobs : -1, &job))) {
		case RESULT:
			left -= done[result.job].job < 0;
			done[result.job] = result;
			break;
		case DEATH:
			replace((unsigned int)out.size - dead, paths);
			dead = (unsigned int)out.size;
			break;
		case JOB:
			job++;
			break;
		default:
			err(1, "select");
		}
	}
	chanfd_close(jobs, 0);
	chanfd_close(results, 0);
	while (wait(NULL) > 0)
		;
	n = show(done, n, paths);
	free(done);
	return n;
}
