// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Contexts.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "call.h"
#include "race.h"

uint64_t chanfd_deadline(int64_t ns)
{
	struct timespec ts;
	int64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = ts.tv_sec * CHANFD_SECOND + ts.tv_nsec;
	if (ns > INT64_MAX - now)
		return INT64_MAX;
	return ns > -now ? now + ns : 1;
}

int chanfd_context_make(struct chanfd_context *c)
{
	return chanfd_call_device(CHANFD_IOC_CONTEXT, c);
}

static int make(struct chanfd_context *c)
{
	return chanfd_context_make(c) ? -1 : c->fd[0];
}

int chanfd_context(int parent)
{
	struct chanfd_context c = { .parent = parent };

	return make(&c);
}

int chanfd_context_pair(int fd[2], int parent)
{
	struct chanfd_context c = { .parent = parent, .flags = CHANFD_PAIR };

	if (make(&c) < 0)
		return -1;
	fd[0] = c.fd[0];
	fd[1] = c.fd[1];
	return 0;
}

int chanfd_context_deadline(int parent, uint64_t deadline)
{
	struct chanfd_context c = { .parent = parent, .deadline = deadline };

	if (!deadline) {
		errno = EINVAL;
		return -1;
	}
	return make(&c);
}

int chanfd_context_timeout(int parent, int64_t ns)
{
	return chanfd_context_deadline(parent, chanfd_deadline(ns));
}

static int copy_key(__u8 to[CHANFD_KEY_LEN], const char *key)
{
	size_t len = key ? strnlen(key, CHANFD_KEY_LEN + 1) : 0;

	if (!len || len > CHANFD_KEY_LEN) {
		errno = EINVAL;
		return -1;
	}
	memcpy(to, key, len);
	return 0;
}

int chanfd_context_value(int parent, const char *key, const void *value,
			 size_t size)
{
	struct chanfd_context c = {
		.parent = parent,
		.flags = CHANFD_OBSERVE,
		.value = (uintptr_t)value,
		.value_size = size,
	};

	if (size > CHANFD_MAX_VALUE) {
		errno = EINVAL;
		return -1;
	}
	return copy_key(c.key, key) ? -1 : make(&c);
}

int chanfd_context_without_cancel(int parent)
{
	struct chanfd_context c = {
		.parent = parent,
		.flags = CHANFD_OBSERVE | CHANFD_WITHOUT_CANCEL,
	};

	return make(&c);
}

int chanfd_cancel(int ctx, int cause, const char *text)
{
	struct chanfd_cancel c = { .cause = cause };

	chanfd_copy_name(c.text, sizeof(c.text), text);
	race_ending(ctx);
	return chanfd_call(ctx, CHANFD_IOC_CANCEL, &c);
}

int chanfd_context_info(int ctx, struct chanfd_context_info *info)
{
	int ret = chanfd_call(ctx, CHANFD_IOC_CONTEXT_INFO, info);

	if (!ret && info->error)
		race_context_done();
	return ret;
}

int chanfd_context_err(int ctx)
{
	struct chanfd_context_info info;

	return chanfd_context_info(ctx, &info) ? -1 : info.error;
}

ssize_t chanfd_value(int ctx, const char *key, void *buf, size_t size)
{
	struct chanfd_value v = {
		.buf = (uintptr_t)buf,
		.size = size < UINT32_MAX ? size : UINT32_MAX,
	};

	if (copy_key(v.key, key) || chanfd_call(ctx, CHANFD_IOC_VALUE, &v))
		return -1;
	return v.size;
}

int chanfd_context_wait(int ctx, const struct chanfd_opt *opt)
{
	return chanfd_select_one(CHANFD_DONE(ctx), opt, NULL);
}

int chanfd_context_drained(int ctx, const struct chanfd_opt *opt)
{
	return chanfd_select_one(CHANFD_DRAINED(ctx), opt, NULL);
}

/*
 * Files that the kernel refuses to keep for a context, but that may be watched
 * from outside. Others that it refuses, a signalfd for one, answer differently
 * depending on who asks, and would be wrong through epoll, too.
 */
static int may_epoll(int fd)
{
	struct chanfd_info info;
	char path[32], name[32];
	struct stat st;
	ssize_t len;

	if (!fstat(fd, &st) && S_ISSOCK(st.st_mode))
		return 1;
	if (!chanfd_info(fd, &info))
		return 1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, name, sizeof(name) - 1);
	if (len < 0)
		return 0;
	name[len] = '\0';
	return !strcmp(name, "anon_inode:[io_uring]");
}

static int bind_to(int ctx, int fd, short events, int cause)
{
	struct chanfd_bind b = {
		.fd = fd,
		.events = (unsigned short)events,
		.cause = cause,
	};

	return chanfd_call(ctx, CHANFD_IOC_BIND, &b);
}

int chanfd_context_bind(int ctx, int fd, short events, int cause)
{
	struct epoll_event ev = { .events = (unsigned short)events };
	int epoll, ret;

	race_ending(ctx);
	ret = bind_to(ctx, fd, events, cause);
	if (!ret || errno != EOPNOTSUPP)
		return ret;
	if (!may_epoll(fd)) {
		errno = EOPNOTSUPP;
		return -1;
	}
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0)
		return -1;
	ret = epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
	if (!ret)
		ret = bind_to(ctx, epoll, POLLIN, cause);
	chanfd_close_quietly(epoll);	/* the context keeps it */
	return ret;
}
