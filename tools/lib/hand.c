// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Handing descriptors over a Unix socket.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "call.h"

/*
 * Always of this size: less than half of the smallest send buffer, so that it
 * is one piece on a stream socket, too, and is read in one.
 */
struct frame {
	char magic[8];
	char name[CHANFD_HAND_MAX][CHANFD_NAME_LEN];
};

static const char magic[8] = "chanfd\0\1";

/* What the kernel allows in a message; anything may come in. */
#define MOST_FDS	253

union control {
	struct cmsghdr header;
	/* and credentials and a security label, if the socket asks for them */
	char buf[CMSG_SPACE(MOST_FDS * sizeof(int)) + CMSG_SPACE(512)];
};

int chanfd_hand(int socket, const int *fds, unsigned int n,
		const char *const *names)
{
	struct frame frame = { { 0 }, { { 0 } } };
	struct iovec iov = { &frame, sizeof(frame) };
	union control control = { .buf = { 0 } };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(n * sizeof(int)),
	};
	unsigned int i;

	if (!n || n > CHANFD_HAND_MAX) {
		errno = EINVAL;
		return -1;
	}
	memcpy(frame.magic, magic, sizeof(magic));
	for (i = 0; names && i < n; i++) {
		size_t len = names[i] ? strnlen(names[i], CHANFD_NAME_LEN) : 0;

		if (len == CHANFD_NAME_LEN) {
			errno = EINVAL;
			return -1;
		}
		if (len)
			memcpy(frame.name[i], names[i], len);
	}
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));

	return sendmsg(socket, &msg, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static unsigned int collect(struct msghdr *msg, int fds[MOST_FDS])
{
	unsigned int n = 0;
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t size = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds + n, CMSG_DATA(c), size);
		n += size / sizeof(int);
	}
	return n;
}

/* 0, or what is wrong with what has come. */
static int check(const struct frame *frame, ssize_t size, int flags,
		 unsigned int n, unsigned int max)
{
	unsigned int i;

	/* There was room for every descriptor, but not in the process's table. */
	if (flags & MSG_CTRUNC)
		return -EMFILE;
	if (size != sizeof(*frame) || flags & MSG_TRUNC ||
	    memcmp(frame->magic, magic, sizeof(magic)) != 0 ||
	    !n || n > CHANFD_HAND_MAX)
		return -EBADMSG;
	for (i = 0; i < n; i++) {
		if (frame->name[i][CHANFD_NAME_LEN - 1])
			return -EBADMSG;
	}
	return n > max ? -EMSGSIZE : 0;
}

int chanfd_take(int socket, int *fds, unsigned int max,
		char names[][CHANFD_NAME_LEN])
{
	struct frame frame;
	struct iovec iov = { &frame, sizeof(frame) };
	union control control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int came[MOST_FDS];
	unsigned int n;
	ssize_t size;
	int err;

	size = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	if (size < 0)
		return -1;
	n = collect(&msg, came);
	if (!size && !n && !(msg.msg_flags & MSG_CTRUNC))
		return 0;
	err = check(&frame, size, msg.msg_flags, n, max);
	if (err) {
		while (n)
			close(came[--n]);
		errno = -err;
		return -1;
	}
	memcpy(fds, came, n * sizeof(int));
	if (names)
		memcpy(names, frame.name, n * sizeof(*names));
	return (int)n;
}
