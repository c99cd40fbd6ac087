// SPDX-License-Identifier: GPL-2.0
/*
 * timeout: wait for many, but not for ever.
 *
 * Every file is read by a process of its own; the parent waits for all of them, at most
 * for the given time. In Go:
 *
 *	done := make(chan struct{})
 *	go func() { wg.Wait(); close(done) }()
 *	select {
 *	case <-done:
 *	case <-time.After(timeout):	// the goroutine above waits on
 *	}
 *
 * Here the wait takes the deadline itself and leaves nobody behind. And it knows more:
 * a member that dies is not done, and the wait says so at its end.
 */
#include <chanfd.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* In memory that the processes share. */
struct reader {
	pid_t pid;
	uint64_t bytes;
};

/* Returns 0 or errno. */
static int count_bytes(const char *path, uint64_t *bytes)
{
	chanfd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
	char block[65536];
	ssize_t size;

	if (fd < 0)
		return errno;
	while ((size = read(fd, block, sizeof(block))) > 0)
		*bytes += (uint64_t)size;
	return size ? errno : 0;
}

/* A token is the duty to say that one is done. Only the child keeps it. */
static void start_reader(struct reader *reader, int members, const char *path)
{
	chanfd_auto int token = chanfd_wg_token(members, 0);
	pid_t pid = token < 0 ? -1 : fork();

	if (pid < 0)
		err(1, "%s", path);
	if (!pid) {
		prctl(PR_SET_NAME, "timeout-reader");
		chanfd_token_done(token, count_bytes(path, &reader->bytes));
		_exit(0);
	}
	reader->pid = pid;
}

int main(int argc, char **argv)
{
	double seconds = argc > 2 ? atof(argv[1]) : 0;
	char **paths = argv + 2;
	int n = argc - 2, members, error, i;
	struct chanfd_waitgroup_info info;
	struct chanfd_round round;
	struct reader *readers;
	uint64_t deadline;

	if (seconds <= 0)
		errx(2, "usage: timeout SECONDS FILE...");
	members = chanfd_waitgroup(0, "readers");
	if (members < 0)
		errx(1, "%s", chanfd_strerror_hint(errno));
	readers = mmap(NULL, (size_t)n * sizeof(*readers), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (readers == MAP_FAILED)
		err(1, "memory");
	deadline = chanfd_deadline((int64_t)(seconds * CHANFD_SECOND));
	for (i = 0; i < n; i++)
		start_reader(&readers[i], members, paths[i]);

	error = chanfd_wg_wait(members, CHANFD_OPT(-1, 0, deadline), &round) ? errno : 0;
	if (error == ETIMEDOUT) {
		if (chanfd_waitgroup_info(members, &info))
			err(1, "waitgroup");
		warnx("%u of %d files are not read after %g s", info.count, n, seconds);
	} else if (error == EOWNERDEAD) {
		warnx("%u of %d readers died", round.broken, n);
	} else if (error) {
		warnx("%s", chanfd_strerror_hint(error));
	} else if (round.error) {
		warnx("a file can't be read: %s", strerror(round.error));
	} else {
		/* What members wrote before they were done is seen after the wait. */
		for (i = 0; i < n; i++)
			printf("%s: %" PRIu64 " bytes\n", paths[i], readers[i].bytes);
	}

	for (i = 0; i < n; i++) {
		kill(readers[i].pid, SIGKILL);
		waitpid(readers[i].pid, NULL, 0);
	}
	return error == ETIMEDOUT ? 124 : error || round.error;
}
