// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Passing descriptors to a program that is started, as sd_listen_fds(3) says.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call.h"

#define FIRST	3

/* May be in the list of names? */
static int is_name(const char *name)
{
	size_t len = strnlen(name, CHANFD_NAME_LEN);
	size_t i;

	for (i = 0; i < len; i++) {
		if (name[i] < ' ' || name[i] > '~' || name[i] == ':')
			return 0;
	}
	return len < CHANFD_NAME_LEN;
}

static int is_ours(const char *variable)
{
	return !strncmp(variable, "LISTEN_PID=", 11) ||
	       !strncmp(variable, "LISTEN_FDS=", 11) ||
	       !strncmp(variable, "LISTEN_FDNAMES=", 15);
}

/* All are out of the way before the first is put into its place. */
static int place(const int *fds, unsigned int n)
{
	int copy[CHANFD_HAND_MAX];
	unsigned int i;

	for (i = 0; i < n; i++) {
		copy[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FIRST + (int)n);
		if (copy[i] < 0)
			return -1;
	}
	for (i = 0; i < n; i++) {
		if (dup2(copy[i], FIRST + (int)i) < 0)
			return -1;
	}
	return 0;
}

static int exec_with(const char *path, char *const argv[], char *const envp[],
		     size_t variables, char *const ours[3])
{
	char *env[variables + 4];
	size_t i, n = 0;

	for (i = 0; i < variables; i++) {
		if (!is_ours(envp[i]))
			env[n++] = envp[i];
	}
	for (i = 0; i < 3; i++)
		env[n++] = ours[i];
	env[n] = NULL;
	return execve(path, argv, env);
}

int chanfd_exec(const char *path, char *const argv[], char *const envp[],
		const int *fds, unsigned int n, const char *const *names)
{
	char pid[32], count[32];
	char list[sizeof("LISTEN_FDNAMES=") + sizeof(char[CHANFD_HAND_MAX][CHANFD_NAME_LEN])];
	char *const ours[3] = { pid, count, list };
	size_t variables = 0;
	unsigned int i;
	char *end;

	if (!n || n > CHANFD_HAND_MAX) {
		errno = EINVAL;
		return -1;
	}
	snprintf(pid, sizeof(pid), "LISTEN_PID=%d", getpid());
	snprintf(count, sizeof(count), "LISTEN_FDS=%u", n);
	end = stpcpy(list, "LISTEN_FDNAMES=");
	for (i = 0; i < n; i++) {
		const char *name = names && names[i] ? names[i] : "unknown";

		if (!is_name(name)) {
			errno = EINVAL;
			return -1;
		}
		if (i)
			*end++ = ':';
		end = stpcpy(end, name);
	}
	if (place(fds, n))
		return -1;
	while (envp[variables])
		variables++;
	return exec_with(path, argv, envp, variables, ours);
}

/* A number from 1 on, or -1. */
static int number(const char *s)
{
	unsigned long n;
	char *end;

	if (*s < '0' || *s > '9')
		return -1;
	n = strtoul(s, &end, 10);
	return *end || !n || n > INT_MAX ? -1 : (int)n;
}

static int fail(int err)
{
	errno = err;
	return -1;
}

int chanfd_listen_fd(const char *name)
{
	const char *pid = getenv("LISTEN_PID");
	const char *count = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");
	int found = -1, i, n;

	if (!name)
		return fail(EINVAL);
	if (!pid || !count)
		return fail(ENOENT);
	if (number(pid) < 0)
		return fail(EINVAL);
	if (number(pid) != getpid())
		return fail(ENOENT);
	n = number(count);
	if (n < 0)
		return fail(EINVAL);

	for (i = 0; names; i++) {
		size_t len = strcspn(names, ":");

		if (found < 0 && len == strlen(name) && !memcmp(names, name, len))
			found = FIRST + i;
		names = names[len] ? names + len + 1 : NULL;
	}
	if (i && i != n)
		return fail(EINVAL);
	if (found < 0)
		return fail(ENOENT);
	return fcntl(found, F_SETFD, FD_CLOEXEC) ? -1 : found;
}
