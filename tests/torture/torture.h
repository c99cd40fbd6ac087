/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the torture programs share.
 *
 * Each is called with a seed and a number of milliseconds, does its worst to objects of
 * its own for that long, and audits what it finds afterwards. Whoever is to be killed
 * writes what it does to shared memory; the first process judges. It ends with 0 and
 * figures, or with 1 and what is wrong.
 */
#ifndef TORTURE_H
#define TORTURE_H

#include "../selftests/helpers.h"

#include <grp.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdarg.h>

/* Unprivileged users. */
enum { NOBODY = 65534, SOMEBODY = 65533 };

/* Everybody has a sequence of random numbers: begin it, and get the next. */
static _Thread_local unsigned int seed;

static inline unsigned int below(unsigned int n)
{
	return n ? rand_r(&seed) % n : 0;
}

/* Some time that means nothing. */
static inline void dawdle(unsigned int most_ns)
{
	uint64_t end = now() + below(most_ns);

	while (now() < end)
		;
}

/* A check has failed: all is over. Everybody goes with the first process. */
__attribute__((format(printf, 1, 2), noreturn))
static inline void wrong(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	printf("\n");
	va_end(args);
	exit(1);
}

/* There is no way back. */
static inline void become(uid_t uid)
{
	if (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
		err(1, "become");
	/* That was a change of credentials, which undoes these. */
	prctl(PR_SET_DUMPABLE, 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* fork(2), and a child that does not outlive us. */
static inline pid_t fork_child(void)
{
	pid_t parent = getpid(), pid = fork();
	unsigned int mine = rand_r(&seed);

	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		seed = mine;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(0);
	}
	return pid;
}

/*
 * Is it enough? Time is up and what this is about has happened, which takes longer on a
 * slow machine; but not for ever.
 */
static inline bool is_enough(uint64_t end, bool happened)
{
	return now() >= end + (happened ? 0 : BOUND);
}

/* Asleep, for whatever it may be? A thread that is gone is not. */
static inline bool thread_sleeps(pid_t pid, pid_t tid)
{
	char path[64], text[512], *state;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	if (!read_text(path, text, sizeof(text)))
		return false;
	state = strrchr(text, ')');
	return state && !strncmp(state, ") S", 3);
}

static inline void futex_wait(atomic_uint *word, unsigned int value)
{
	syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static inline void futex_wake(atomic_uint *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

#endif /* TORTURE_H */
