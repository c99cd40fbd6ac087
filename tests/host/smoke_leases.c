// SPDX-License-Identifier: GPL-2.0
/* The walk: leases, and files in messages. */

#include <poll.h>
#include <string.h>

#include "smoke.h"

static long send_files(int fd, uint32_t value, const int *fds, unsigned int n)
{
	struct chanfd_transfer t = {
		.context = -1,
		.buf = (uintptr_t)&value,
		.size = sizeof(value),
		.count = 1,
		.fds = (uintptr_t)fds,
		.nr_fds = n,
	};

	return IOCTL(fd, CHANFD_IOC_SEND, t);
}

/* A receive of one message. */
struct received {
	uint32_t value;
	int fds[CHANFD_MAX_FDS];
	unsigned int n;
	int lease;
	unsigned int redelivered;
};

static long receive(int fd, unsigned int flags, struct received *r)
{
	struct chanfd_transfer t = {
		.flags = flags,
		.context = -1,
		.buf = (uintptr_t)&r->value,
		.size = sizeof(r->value),
		.count = 1,
		.fds = r->n ? (uintptr_t)r->fds : 0,
		.nr_fds = r->n,
		.lease = flags & CHANFD_LEASED ? r->lease : 0,
	};
	long ret = IOCTL(fd, CHANFD_IOC_RECV, t);

	r->n = t.nr_fds;
	r->lease = t.lease;
	r->redelivered = t.redelivered;
	return ret;
}

/* The number of one that was leased, in a lease of its own. */
static long receive_leased(int fd)
{
	struct received r = { .lease = -1 };
	long ret = receive(fd, CHANFD_LEASED, &r);

	if (ret > 0)
		host_close(r.lease);
	return ret > 0 ? r.value : ret;
}

static struct chanfd_channel_info info_of(int fd)
{
	struct chanfd_channel_info info;

	EXPECT(IOCTL(fd, CHANFD_IOC_CHANNEL_INFO, info), 0);
	return info;
}

static void leases(unsigned int flags, unsigned int size)
{
	struct pair ch = channel(4, size, flags);
	struct received r = { .lease = -1 };
	struct chanfd_close c = { 0 };
	struct thread t;
	uint32_t i;
	int lease;

	for (i = 1; i <= 3; i++)
		EXPECT(send_one(ch.w, i), sizeof(i));
	EXPECT(receive(ch.r, CHANFD_LEASED, &r), 1);
	EXPECT(r.value, 1);
	lease = r.lease;
	EXPECT(receive(ch.r, CHANFD_LEASED, &r), 1);
	EXPECT(r.lease, lease);
	EXPECT(info_of(ch.r).leased, 2);
	EXPECT(info_of(ch.r).received, 0);
	EXPECT(host_close(lease), 0);
	EXPECT(info_of(ch.r).len, 3);
	EXPECT(info_of(ch.r).returned, 2);

	r.lease = -1;
	EXPECT(receive(ch.r, CHANFD_LEASED, &r), 1);
	EXPECT(r.value, 1);
	EXPECT(r.redelivered, 1);
	EXPECT(host_ioctl(r.lease, CHANFD_IOC_COMMIT, NULL), 0);
	EXPECT(host_ioctl(r.lease, CHANFD_IOC_COMMIT, NULL), -ERANGE);
	EXPECT(receive(ch.r, CHANFD_LEASED, &r), -ERANGE);
	host_close(r.lease);
	EXPECT(recv_one(ch.r), 2);

	/* A channel is not at its end while a message may come back. */
	r.lease = -1;
	EXPECT(receive(ch.r, CHANFD_LEASED, &r), 1);
	EXPECT(IOCTL(ch.w, CHANFD_IOC_CLOSE, c), 0);
	start_asleep(&t, recv_one, ch.r);
	host_close(r.lease);
	EXPECT(join(&t), 3);
	EXPECT(recv_one(ch.r), 0);
}

static void slots(void)
{
	leases(0, sizeof(uint32_t));
}

static void boxes(void)
{
	leases(CHANFD_VARIABLE, 1000);
}

/* What several take and put back is received in the end, once. */
static void returned(void)
{
	struct pair ch = channel(3, sizeof(uint32_t), 0);
	struct received r = { .lease = -1 };
	struct thread t[3];
	int i;

	for (i = 0; i < 3; i++)
		start_asleep(&t[i], receive_leased, ch.r);
	for (i = 0; i < 3; i++)
		EXPECT(send_one(ch.w, i + 1), sizeof(uint32_t));
	for (i = 0; i < 3; i++)
		EXPECT(join(&t[i]) > 0, true);
	for (i = 0; i < 3; i++)
		EXPECT(recv_one(ch.r), i + 1);
	start_asleep(&t[0], receive_leased, ch.r);
	host_kill(t[0].task);
	EXPECT(join(&t[0]), -EINTR);
	/* Where no receiver is left, nothing comes back. */
	start_asleep(&t[0], recv_one, ch.r);
	EXPECT(send_one(ch.w, 4), sizeof(uint32_t));
	EXPECT(join(&t[0]), 4);
	ch = channel(1, sizeof(uint32_t), 0);
	EXPECT(send_one(ch.w, 5), sizeof(uint32_t));
	EXPECT(receive(ch.r, CHANFD_LEASED, &r), 1);
	host_close(ch.r);
	host_close(r.lease);
	EXPECT(info_of(ch.w).dropped, 1);
}

static void selected(void)
{
	struct pair ch = channel(1, sizeof(uint32_t), 0);
	uint32_t value = 0;
	struct chanfd_parcel p = {
		.buf = (uintptr_t)&value,
		.size = sizeof(value),
		.flags = CHANFD_LEASED,
		.lease = -1,
	};
	const struct chanfd_case c = {
		.fd = ch.r,
		.op = CHANFD_CASE_RECV,
		.flags = CHANFD_CASE_PARCEL,
		.buf = (uintptr_t)&p,
	};
	struct chanfd_select s = {};

	EXPECT(send_one(ch.w, 9), sizeof(uint32_t));
	EXPECT(select_of(&s, &c, 1), 0);
	EXPECT(value, 9);
	EXPECT(host_close(p.lease), 0);
	p.lease = -1;
	EXPECT(select_of(&s, &c, 1), 0);
	EXPECT(p.redelivered, 1);
	EXPECT(host_ioctl(p.lease, CHANFD_IOC_COMMIT, NULL), 0);
	EXPECT(info_of(ch.r).received, 1);
}

static long receive_file(int fd)
{
	struct received r = { .n = 1 };
	long ret = receive(fd, 0, &r);

	return ret == 1 && r.n == 1 ? r.fds[0] : ret;
}

static void files(void)
{
	struct pair ch = channel(2, sizeof(uint32_t), CHANFD_FDS), inner = channel(1, 4, 0);
	struct pair plain = channel(1, sizeof(uint32_t), 0);
	struct received r = { .n = CHANFD_MAX_FDS };
	int fds[CHANFD_MAX_FDS + 1], i;
	struct thread t;

	fds[0] = host_eventfd(1);
	fds[1] = inner.w;
	EXPECT(send_files(ch.w, 1, fds, 2), 1);
	host_close(inner.w);
	EXPECT(info_of(ch.r).files, 2);
	EXPECT(receive(ch.r, 0, &r), 1);
	EXPECT(r.n, 2);
	EXPECT(host_poll(r.fds[0]), POLLIN);
	EXPECT(send_one(r.fds[1], 7), sizeof(uint32_t));
	EXPECT(recv_one(inner.r), 7);
	EXPECT(info_of(ch.r).files, 0);

	/* No room for them: they stay. */
	EXPECT(send_files(ch.w, 2, fds, 1), 1);
	r.n = 0;
	EXPECT(receive(ch.r, 0, &r), -EMSGSIZE);
	EXPECT(info_of(ch.r).files, 1);
	r.n = 1;
	EXPECT(receive(ch.r, 0, &r), 1);
	EXPECT(info_of(ch.r).files, 0);
	EXPECT(send_files(ch.w, 2, &ch.r, 1), -ELOOP);
	EXPECT(send_files(ch.w, 2, &dev, 1), -EOPNOTSUPP);
	fds[0] = 999;
	EXPECT(send_files(ch.w, 2, fds, 1), -EBADF);
	fds[0] = r.fds[0];
	EXPECT(send_files(plain.w, 2, fds, 1), -EINVAL);
	EXPECT(send_files(ch.w, 2, fds, CHANFD_MAX_FDS + 1), -EINVAL);

	start_asleep(&t, receive_file, ch.r);
	fds[0] = ch.w;
	EXPECT(send_files(ch.w, 3, fds, 1), 1);
	EXPECT(join(&t) > 0, true);
	EXPECT(send_one(t.ret, 4), sizeof(uint32_t));
	EXPECT(recv_one(ch.r), 4);

	/* A user has only so many on the way; rlimit() of shim/file.h. */
	host_set_user(1000);
	inner = channel(10, sizeof(uint32_t), CHANFD_FDS);
	for (i = 0; i < CHANFD_MAX_FDS; i++)
		fds[i] = plain.w;
	for (i = 0; i < 100 / CHANFD_MAX_FDS; i++)
		EXPECT(send_files(inner.w, i, fds, CHANFD_MAX_FDS), 1);
	EXPECT(send_files(inner.w, i, fds, CHANFD_MAX_FDS), -ETOOMANYREFS);
	host_set_user(0);
	/* What is still on its way goes with the channel. */
}

/* Channels on their way through each other, as deep as there are channels. */
static void nested(void)
{
	struct pair ch = channel(2, sizeof(uint32_t), CHANFD_FDS);
	int i;

	for (i = 0; i < 200; i++) {
		struct pair next = channel(2, sizeof(uint32_t), CHANFD_FDS);

		EXPECT(send_files(next.w, i, &ch.w, 1), 1);
		EXPECT(send_files(next.w, i, &next.w, 1), 1);
		host_close(ch.w);
		/* That of the first stays open: all others hang on it. */
		if (i)
			host_close(ch.r);
		ch = next;
	}
	host_close(ch.w);
	host_close(ch.r);
}

/* Whatever fails, the message, its files and the lease are as they were. */
static void faults(void)
{
	struct pair ch = channel(2, sizeof(uint32_t), CHANFD_FDS);
	struct received r;
	unsigned int nth;
	int event = host_eventfd(0), lowest;
	long ret;

	for (nth = 1;; nth++) {
		host_fail_alloc(nth);
		ret = send_files(ch.w, 1, &event, 1);
		if (ret == 1)
			break;
		EXPECT(ret, -ENOMEM);
		EXPECT(info_of(ch.r).len, 0);
	}
	EXPECT(nth > 2, true);
	lowest = host_eventfd(0);
	host_close(lowest);
	for (nth = 1;; nth++) {
		r = (struct received){ .n = 1, .lease = -1 };
		host_fail_alloc(nth);
		ret = receive(ch.r, CHANFD_LEASED, &r);
		if (ret == 1)
			break;
		EXPECT(ret == -ENOMEM || ret == -ENFILE, true);
		EXPECT(info_of(ch.r).len, 1);
	}
	EXPECT(nth > 2, true);
	host_close(r.lease);
	host_close(r.fds[0]);
	for (nth = 1;; nth++) {
		r = (struct received){ .n = 1, .lease = -1 };
		host_fault(nth, true);
		ret = receive(ch.r, CHANFD_LEASED, &r);
		if (ret == 1)
			break;
		EXPECT(ret, -EFAULT);
		EXPECT(info_of(ch.r).len, 1);
		event = host_eventfd(0);
		EXPECT(event, lowest);
		host_close(event);
	}
	EXPECT(nth > 3, true);
}

const struct test lease_tests[] = {
	{ "leases", slots },
	{ "leases of boxes", boxes },
	{ "messages come back", returned },
	{ "leases in selects", selected },
	{ "files in messages", files },
	{ "channels in channels", nested },
	{ "faults on the way", faults },
	{},
};
