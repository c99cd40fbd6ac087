// SPDX-License-Identifier: GPL-2.0
/*
 * Runs the measurements that the arguments name ("pair", "pair/pipe"), or all.
 * Every result is a line "result NAME VALUE", a failure "failed NAME".
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

/* Longer than any measurement takes. While all sleep, counted time flies. */
#define HANG_SECONDS	60

static char **selected;
static char name[64];
static unsigned int measured;

/* Shared, so that a waiter in another process can stop the clock. */
static uint64_t *elapsed;

void die(const char *what)
{
	fprintf(stderr, "bench: %s: %s: %s\n", name, what, strerror(errno));
	_exit(1);
}

uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* An instruction that no compiler emits: profile.c counts from one to the next. */
static inline void mark(void)
{
	__asm__ volatile("xchg %%rcx, %%rcx" ::: "memory");
}

void clock_start(void)
{
	*elapsed -= now();
	mark();
}

void clock_stop(void)
{
	mark();
	*elapsed += now();
}

void result_value(double value)
{
	printf("result %s %.1f\n", name, value);
	fflush(stdout);
}

void result(double operations)
{
	result_value((double)*elapsed / operations);
}

void read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	check(fd >= 0, path);
	length = read(fd, text, size - 1);
	check(length > 0, path);
	text[length] = 0;
	close(fd);
}

void sysctl(const char *path, long value)
{
	FILE *f = fopen(path, "w");

	check(f && fprintf(f, "%ld", value) > 0 && !fclose(f), path);
}

long sleeps(void)
{
	struct rusage use;

	check(!getrusage(RUSAGE_SELF, &use), "getrusage");
	return use.ru_nvcsw;
}

static bool is_selected(void)
{
	if (!selected[0])
		return true;
	for (char **s = selected; *s; s++) {
		size_t length = strlen(*s);

		if (!strncmp(name, *s, length) && (!name[length] || name[length] == '/'))
			return true;
	}
	return false;
}

void measure(void (*run)(const void *arg), const void *arg, const char *group,
	     const char *member, unsigned int size)
{
	int status;
	pid_t pid;

	if (size)
		snprintf(name, sizeof(name), "%s/%s/%u", group, member, size);
	else
		snprintf(name, sizeof(name), "%s/%s", group, member);
	if (!is_selected())
		return;

	measured++;
	*elapsed = 0;
	pid = fork();
	check(pid >= 0, "fork");
	if (!pid) {
		setpgid(0, 0);
		alarm(HANG_SECONDS);
		run(arg);
		_exit(0);
	}
	check(waitpid(pid, &status, 0) == pid, "waitpid");
	kill(-pid, SIGKILL);	/* a partner that still waits */
	if (status)
		printf("failed %s%s\n", name,
		       WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? " (hangs)" : "");
	fflush(stdout);
	tcdrain(STDOUT_FILENO);	/* its interrupts must not hit the next one */
}

int main(int argc, char **argv)
{
	struct rlimit files = { 65536, 65536 };
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	(void)argc;
	selected = argv + 1;
	elapsed = mmap(NULL, sizeof(*elapsed), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(elapsed != MAP_FAILED, "mmap");
	check(!setrlimit(RLIMIT_NOFILE, &files), "RLIMIT_NOFILE");
	check(!setrlimit(RLIMIT_MSGQUEUE, &unlimited), "RLIMIT_MSGQUEUE");

	measure_memory();	/* first: nothing has been freed yet that it could reuse */
	measure_pairs();
	measure_batches();
	measure_pingpongs();
	measure_selects();
	measure_broadcasts();
	measure_locks();
	measure_cells();
	measure_pools();
	if (!measured)
		fprintf(stderr, "bench: there is no such test\n");
	return !measured;
}
