// SPDX-License-Identifier: GPL-2.0
/*
 * The interface, described: every call, every field of its argument, and what is a
 * sensible value of each. All that is fuzzed is made from this table; a new ioctl needs
 * a line in calls[] and a list of its fields, and nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../uapi/chanfd.h"
#include "execute.h"
#include "interface.h"

#define R	CHANFD_READ
#define W	CHANFD_WRITE

/* A member of a structure, and an argument of a system call: its place and its kind. */
#define M(type, member, what, ...) {						\
	.of = #type, .name = #member, .offset = offsetof(struct type, member),	\
	.size = sizeof(((struct type *)NULL)->member), .kind = what, ##__VA_ARGS__ }
#define A(number, label, what, ...) {						\
	.name = #label, .offset = 8 * (number), .size = 8, .kind = what, ##__VA_ARGS__ }
#define END	{ .name = NULL }

#define NUMBERS(...)								\
	.numbers = (const int64_t[]){ __VA_ARGS__ },				\
	.nr = sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)

/* Both sides of where messages stop to have slots, and of every limit. */
#define MESSAGE_SIZES								\
	NUMBERS(8, 8, 8, 8, 8, 8, 0, 1, 64, 255, 256, 257, 257, 4000, 65535, 65536, 65537)
#define CAPACITIES								\
	NUMBERS(0, 0, 0, 1, 1, 2, 3, 4, 7, 64, 1500, 1048576, 1048577)
#define BATCHES		NUMBERS(1, 1, 1, 1, 2, 2, 3, 5, 17, 70, 0, 1023, 1024, 1025)
#define VALUE_SIZES	NUMBERS(8, 8, 8, 8, 0, 1, 100, 4031, 4032, 4033, 65535, 65536, 65537)
#define VERSIONS	NUMBERS(0, 0, 1, 1, 2, 3, -1)
#define ERRNOS		NUMBERS(0, 0, 0, 1, 32, 130, 511, 512, 4095, 4096, -1)
#define EVENTS		NUMBERS(1, 1, 4, 5, 0, 8, 0x10, 0x2001, 0xffff, 0x10000)

/* ioctls */

static const struct field no_arguments[] = { END };

static const struct field channel[] = {
	M(chanfd_channel, flags, FLAGS, .bits = CHANFD_PAIR | CHANFD_NONBLOCK | CHANFD_INHERIT |
	  CHANFD_VARIABLE | CHANFD_FDS),
	M(chanfd_channel, elem_size, NUMBER, MESSAGE_SIZES),
	M(chanfd_channel, capacity, NUMBER, CAPACITIES),
	M(chanfd_channel, reserved, OUT),
	M(chanfd_channel, name, STRING),
	M(chanfd_channel, fd, OUT),
	M(chanfd_channel, id, OUT),
	END
};

static const struct field waitgroup[] = {
	M(chanfd_waitgroup, flags, FLAGS, .bits = CHANFD_PAIR | CHANFD_INHERIT),
	M(chanfd_waitgroup, reserved, OUT),
	M(chanfd_waitgroup, name, STRING),
	M(chanfd_waitgroup, fd, OUT),
	M(chanfd_waitgroup, id, OUT),
	END
};

static const struct field context[] = {
	M(chanfd_context, flags, FLAGS, .bits = CHANFD_PAIR | CHANFD_OBSERVE | CHANFD_INHERIT |
	  CHANFD_KEEP | CHANFD_WITHOUT_CANCEL),
	M(chanfd_context, parent, OPTIONAL, .types = CONTEXT, .rights = R),
	M(chanfd_context, name, STRING),
	M(chanfd_context, deadline, DEADLINE),
	M(chanfd_context, deadline_cause, NUMBER, ERRNOS),
	M(chanfd_context, value_size, NUMBER, NUMBERS(0, 0, 1, 8, 100, 4095, 4096, 4097)),
	M(chanfd_context, value, POINTER),
	M(chanfd_context, key, STRING),
	M(chanfd_context, fd, OUT),
	M(chanfd_context, id, OUT),
	END
};

static const struct field lock[] = {
	M(chanfd_lock, flags, FLAGS, .bits = CHANFD_PAIR | CHANFD_INHERIT | CHANFD_RW |
	  CHANFD_HANDOFF | CHANFD_BARGING),
	M(chanfd_lock, reserved, OUT),
	M(chanfd_lock, name, STRING),
	M(chanfd_lock, fd, OUT),
	M(chanfd_lock, id, OUT),
	END
};

static const struct field condition[] = {
	M(chanfd_condition, flags, FLAGS, .bits = CHANFD_PAIR | CHANFD_INHERIT),
	M(chanfd_condition, reserved, OUT),
	M(chanfd_condition, name, STRING),
	M(chanfd_condition, fd, OUT),
	M(chanfd_condition, id, OUT),
	END
};

static const struct field cell[] = {
	M(chanfd_cell, flags, FLAGS, .bits = CHANFD_PAIR | CHANFD_INHERIT),
	M(chanfd_cell, size, NUMBER, VALUE_SIZES),
	M(chanfd_cell, name, STRING),
	M(chanfd_cell, fd, OUT),
	M(chanfd_cell, id, OUT),
	END
};

/* To send and to receive, and what receives descriptors: then its argument is steady. */
#define TRANSFER(set, lease_kind) {						\
	M(chanfd_transfer, flags, FLAGS, .bits = (set)),			\
	M(chanfd_transfer, context, OPTIONAL, .types = CONTEXT, .rights = R),	\
	M(chanfd_transfer, deadline, DEADLINE),					\
	M(chanfd_transfer, buf, POINTER),					\
	M(chanfd_transfer, sizes, ELEMENTS),					\
	M(chanfd_transfer, size, BYTES),					\
	M(chanfd_transfer, count, COUNT, BATCHES),				\
	M(chanfd_transfer, seq, OUT),						\
	M(chanfd_transfer, fds, FDS),						\
	M(chanfd_transfer, nr_fds, NUMBER, NUMBERS(0, 1, 1, 2, 3, 4, 16, 17)),	\
	M(chanfd_transfer, lease, lease_kind, .types = LEASE),			\
	M(chanfd_transfer, redelivered, OUT),					\
	M(chanfd_transfer, reserved, OUT),					\
	END									\
}

static const struct field transfer[] = TRANSFER(CHANFD_NONBLOCK, OUT);
static const struct field transfer_leased[] = TRANSFER(CHANFD_NONBLOCK | CHANFD_LEASED, OPTIONAL);

static const struct field transfer_sizes[] = {
	{ .name = "bytes", .size = 4, .kind = NUMBER, MESSAGE_SIZES },
	END
};

static const struct field channel_close[] = {
	M(chanfd_close, cause, NUMBER, ERRNOS),
	M(chanfd_close, reserved, OUT),
	END
};

static const struct field add[] = {
	M(chanfd_add, delta, NUMBER,
	  NUMBERS(1, 1, 1, 2, -1, -1, -1, -2, 0, INT_MAX, INT_MAX - 1, INT_MIN, -INT_MAX)),
	M(chanfd_add, error, NUMBER, ERRNOS),
	M(chanfd_add, count, OUT),
	END
};

static const struct field token[] = {
	{ .name = "flags", .size = 4, .kind = FLAGS, .bits = CHANFD_INHERIT | CHANFD_AUTO_DONE },
	END
};

static const struct field done[] = {
	M(chanfd_done, error, NUMBER, ERRNOS),
	M(chanfd_done, reserved, OUT),
	END
};

static const struct field cancel[] = {
	M(chanfd_cancel, cause, NUMBER, ERRNOS),
	M(chanfd_cancel, reserved, OUT),
	M(chanfd_cancel, text, STRING),
	END
};

static const struct field binding[] = {
	M(chanfd_bind, fd, HANDLE, .types = FOREIGN | EPOLL),
	M(chanfd_bind, events, NUMBER, EVENTS),
	M(chanfd_bind, cause, NUMBER, ERRNOS),
	M(chanfd_bind, reserved, OUT),
	END
};

static const struct field value[] = {
	M(chanfd_value, key, STRING),
	M(chanfd_value, buf, POINTER),
	M(chanfd_value, size, NUMBER, NUMBERS(4096, 4096, 100, 8, 1, 0, 4097, 65536)),
	M(chanfd_value, reserved, OUT),
	END
};

static const struct field select_call[] = {
	M(chanfd_select, flags, FLAGS, .bits = CHANFD_NONBLOCK | CHANFD_ORDERED),
	M(chanfd_select, context, OPTIONAL, .types = CONTEXT, .rights = R),
	M(chanfd_select, deadline, DEADLINE),
	M(chanfd_select, cases, ELEMENTS),
	M(chanfd_select, count, COUNT, NUMBERS(33, 64, 65, 200, 4096, 4097, 0)),
	M(chanfd_select, index, OUT),
	M(chanfd_select, error, OUT),
	M(chanfd_select, ok, OUT),
	M(chanfd_select, size, OUT),
	M(chanfd_select, status, OUT),
	M(chanfd_select, number, OUT),
	END
};

/* @op says what @fd must be: see make_case() in mutate.c. */
static const struct field select_case[] = {
	M(chanfd_case, fd, HANDLE, .types = OURS | FOREIGN | EPOLL, .rights = R),
	M(chanfd_case, op, NUMBER, NUMBERS(CHANFD_CASE_SEND, CHANFD_CASE_RECV, CHANFD_CASE_WAIT,
					   CHANFD_CASE_DONE, CHANFD_CASE_DRAINED,
					   CHANFD_CASE_POLL, CHANFD_CASE_LOCK,
					   CHANFD_CASE_READ_LOCK, CHANFD_CASE_CHANGED, 0, 10)),
	M(chanfd_case, flags, FLAGS, .bits = CHANFD_CASE_BROKEN | CHANFD_CASE_PARCEL),
	M(chanfd_case, buf, POINTER),
	M(chanfd_case, size, BYTES),
	M(chanfd_case, reserved, OUT),
	END
};

static const struct field acquire[] = {
	M(chanfd_acquire, flags, FLAGS, .bits = CHANFD_NONBLOCK | CHANFD_SHARED),
	M(chanfd_acquire, context, OPTIONAL, .types = CONTEXT, .rights = R),
	M(chanfd_acquire, deadline, DEADLINE),
	END
};

static const struct field unlock[] = {
	{ .name = "flags", .size = 4, .kind = FLAGS, .bits = CHANFD_SHARED | CHANFD_GIVE_UP },
	END
};

static const struct field condition_wait[] = {
	M(chanfd_condition_wait, flags, OUT),
	M(chanfd_condition_wait, lock, HANDLE, .types = LOCK, .rights = W),
	M(chanfd_condition_wait, context, OPTIONAL, .types = CONTEXT, .rights = R),
	M(chanfd_condition_wait, reserved, OUT),
	M(chanfd_condition_wait, deadline, DEADLINE),
	END
};

static const struct field signals[] = {
	{ .name = "waiters", .size = 4, .kind = NUMBER, NUMBERS(0, 1, 1, 1, 2, -1, -1) },
	END
};

static const struct field load[] = {
	M(chanfd_load, flags, OUT),
	M(chanfd_load, tag, OUT),
	M(chanfd_load, buf, POINTER),
	M(chanfd_load, size, NUMBER, VALUE_SIZES),
	M(chanfd_load, reserved, OUT),
	M(chanfd_load, version, OUT),
	END
};

static const struct field store[] = {
	M(chanfd_store, flags, FLAGS, .bits = CHANFD_IF_VERSION | CHANFD_SWAP),
	M(chanfd_store, tag, NUMBER, NUMBERS(0, 0, 0, 1)),
	M(chanfd_store, buf, POINTER),
	M(chanfd_store, old, POINTER),
	M(chanfd_store, size, NUMBER, VALUE_SIZES),
	M(chanfd_store, old_size, NUMBER, VALUE_SIZES),
	M(chanfd_store, version, NUMBER, VERSIONS),
	END
};

static const struct field reduce[] = {
	{ .name = "flags", .size = 4, .kind = FLAGS,
	  .bits = CHANFD_READ | CHANFD_WRITE | CHANFD_NONBLOCK | CHANFD_INHERIT },
	END
};

static const struct field info[] = {
	M(chanfd_info, type, OUT),
	M(chanfd_info, rights, OUT),
	M(chanfd_info, id, OUT),
	M(chanfd_info, name, OUT),
	END
};

static const struct field channel_info[] = {
	M(chanfd_channel_info, flags, OUT),
	M(chanfd_channel_info, elem_size, OUT),
	M(chanfd_channel_info, capacity, OUT),
	M(chanfd_channel_info, len, OUT),
	M(chanfd_channel_info, state, OUT),
	M(chanfd_channel_info, cause, OUT),
	M(chanfd_channel_info, senders, OUT),
	M(chanfd_channel_info, receivers, OUT),
	M(chanfd_channel_info, waiting_senders, OUT),
	M(chanfd_channel_info, waiting_receivers, OUT),
	M(chanfd_channel_info, sent, OUT),
	M(chanfd_channel_info, received, OUT),
	M(chanfd_channel_info, returned, OUT),
	M(chanfd_channel_info, dropped, OUT),
	M(chanfd_channel_info, leased, OUT),
	M(chanfd_channel_info, files, OUT),
	END
};

static const struct field waitgroup_info[] = {
	M(chanfd_waitgroup_info, round, OUT),
	M(chanfd_waitgroup_info, count, OUT),
	M(chanfd_waitgroup_info, tokens, OUT),
	M(chanfd_waitgroup_info, broken, OUT),
	M(chanfd_waitgroup_info, error, OUT),
	M(chanfd_waitgroup_info, waiters, OUT),
	M(chanfd_waitgroup_info, reserved, OUT),
	END
};

static const struct field context_info[] = {
	M(chanfd_context_info, error, OUT),
	M(chanfd_context_info, cause, OUT),
	M(chanfd_context_info, deadline, OUT),
	M(chanfd_context_info, children, OUT),
	M(chanfd_context_info, cancellers, OUT),
	M(chanfd_context_info, waiters, OUT),
	M(chanfd_context_info, reserved, OUT),
	M(chanfd_context_info, text, OUT),
	END
};

static const struct field lock_info[] = {
	M(chanfd_lock_info, flags, OUT),
	M(chanfd_lock_info, state, OUT),
	M(chanfd_lock_info, holder, OUT),
	M(chanfd_lock_info, readers, OUT),
	M(chanfd_lock_info, waiting_writers, OUT),
	M(chanfd_lock_info, waiting_readers, OUT),
	M(chanfd_lock_info, dead, OUT),
	M(chanfd_lock_info, reserved, OUT),
	END
};

static const struct field condition_info[] = {
	M(chanfd_condition_info, waiters, OUT),
	M(chanfd_condition_info, reserved, OUT),
	END
};

static const struct field cell_info[] = {
	M(chanfd_cell_info, version, OUT),
	M(chanfd_cell_info, size, OUT),
	M(chanfd_cell_info, tag, OUT),
	M(chanfd_cell_info, max, OUT),
	M(chanfd_cell_info, waiters, OUT),
	END
};

/* System calls. Those that could wait are ended by the watchdog in execute.c. */

static const struct field buffer[] = {
	A(0, buf, POINTER),
	A(1, size, BYTES),
	END
};

static long do_read(int fd, uint64_t *a)
{
	return read(fd, (void *)a[0], a[1]);
}

static long do_write(int fd, uint64_t *a)
{
	return write(fd, (void *)a[0], a[1]);
}

static long do_pread(int fd, uint64_t *a)
{
	return pread(fd, (void *)a[0], a[1], 0);
}

static const struct field vector[] = {
	A(0, iov, ELEMENTS),
	A(1, count, COUNT, NUMBERS(0, 1, 16, 1024, 1025)),
	A(2, flags, FLAGS, .bits = RWF_NOWAIT | RWF_HIPRI),
	END
};

static const struct field vector_part[] = {
	M(iovec, iov_base, POINTER),
	M(iovec, iov_len, NUMBER, NUMBERS(8, 8, 8, 4, 0, 1, 16, 64, 256, 4096, 65536, -1)),
	END
};

static long do_readv(int fd, uint64_t *a)
{
	return preadv2(fd, (void *)a[0], (int)a[1], -1, (int)a[2]);
}

static long do_writev(int fd, uint64_t *a)
{
	return pwritev2(fd, (void *)a[0], (int)a[1], -1, (int)a[2]);
}

static const struct field poll_call[] = {
	A(0, fds, ELEMENTS),
	A(1, count, COUNT, NUMBERS(0, 1, 4)),
	A(2, timeout, NUMBER, NUMBERS(0, 0, 1, 5, -1)),
	END
};

static const struct field poll_part[] = {
	M(pollfd, fd, HANDLE, .types = OURS | FOREIGN | EPOLL),
	M(pollfd, events, NUMBER, EVENTS),
	END
};

static long do_poll(int fd, uint64_t *a)
{
	(void)fd;
	return poll((void *)a[0], a[1], (int)a[2]);
}

/* Descriptors are few, see execute.c: one word has them all. */
static const struct field select_fds[] = {
	A(0, fd, HANDLE, .types = OURS | FOREIGN | EPOLL),
	A(1, sets, FLAGS, .bits = 7),
	A(2, timeout, NUMBER, NUMBERS(0, 1, 5)),
	END
};

static long do_pselect(int fd, uint64_t *a)
{
	struct timeval timeout = { 0, 1000 * (a[2] % 8) };
	fd_set set[3];
	int i;

	(void)fd;
	if (a[0] >= FD_SETSIZE)
		return -1;
	for (i = 0; i < 3; i++) {
		FD_ZERO(&set[i]);
		FD_SET((int)a[0], &set[i]);
	}
	return select((int)a[0] + 1, a[1] & 1 ? &set[0] : NULL, a[1] & 2 ? &set[1] : NULL,
		      a[1] & 4 ? &set[2] : NULL, &timeout);
}

static const struct field epoll_change[] = {
	A(0, op, NUMBER, NUMBERS(EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL)),
	A(1, fd, HANDLE, .types = OURS | FOREIGN | EPOLL),
	A(2, events, FLAGS, .bits = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE),
	END
};

static long do_epoll_ctl(int fd, uint64_t *a)
{
	struct epoll_event event = { .events = (uint32_t)a[2] };

	return epoll_ctl(fd, (int)a[0], (int)a[1], &event);
}

static const struct field epoll_waiting[] = {
	A(0, timeout, NUMBER, NUMBERS(0, 0, 1, 5, -1)),
	END
};

static long do_epoll_wait(int fd, uint64_t *a)
{
	struct epoll_event events[4];

	return epoll_wait(fd, events, 4, (int)a[0]);
}

static long do_epoll(int fd, uint64_t *a)
{
	(void)fd;
	(void)a;
	return epoll_create1(EPOLL_CLOEXEC);
}

static const struct field event_counter[] = {
	A(0, count, NUMBER, NUMBERS(0, 1)),
	END
};

static long do_eventfd(int fd, uint64_t *a)
{
	(void)fd;
	return eventfd((unsigned int)a[0], EFD_NONBLOCK);
}

static long do_pipe(int fd, uint64_t *a)
{
	(void)fd;
	return pipe2((int *)a, O_NONBLOCK);
}

static const struct field sockets[] = {
	A(0, fd, OUT),
	A(1, family, NUMBER, NUMBERS(AF_UNIX, AF_UNIX, AF_INET)),
	END
};

static long do_socketpair(int fd, uint64_t *a)
{
	(void)fd;
	return socketpair((int)a[1], SOCK_STREAM | SOCK_NONBLOCK, 0, (int *)a);
}

static const struct field timer[] = {
	A(0, microseconds, NUMBER, NUMBERS(1, 100, 2000)),
	END
};

static long do_timerfd(int fd, uint64_t *a)
{
	struct itimerspec when = { .it_value.tv_nsec = 1 + 1000 * (a[0] % 100000) };

	fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	if (fd >= 0)
		timerfd_settime(fd, 0, &when, NULL);
	return fd;
}

static long do_dup(int fd, uint64_t *a)
{
	(void)a;
	return dup(fd);
}

/* Through a Unix socket, as handles travel. */
static long do_pass(int fd, uint64_t *a)
{
	(void)a;
	return pass_descriptor(fd);
}

/* Files of anonymous inodes can't be opened again. */
static long do_reopen(int fd, uint64_t *a)
{
	(void)a;
	return open_proc("fd", fd, O_RDWR);
}

static long do_fdinfo(int fd, uint64_t *a)
{
	int info = open_proc("fdinfo", fd, O_RDONLY);
	char text[1024];
	long len;

	(void)a;
	if (info < 0)
		return -1;
	len = read(info, text, sizeof(text));
	close(info);
	return len;
}

static const struct field file_flags[] = {
	A(0, flags, FLAGS, .bits = O_NONBLOCK | O_ASYNC | O_APPEND | O_DIRECT),
	END
};

static long do_setfl(int fd, uint64_t *a)
{
	return fcntl(fd, F_SETFL, (int)a[0]);
}

static const struct field mapping[] = {
	A(0, size, NUMBER, NUMBERS(4096, 8192, 0, 1, 1 << 20)),
	A(1, protection, FLAGS, .bits = PROT_READ | PROT_WRITE | PROT_EXEC),
	A(2, flags, NUMBER, NUMBERS(MAP_SHARED, MAP_SHARED, MAP_PRIVATE, 0)),
	A(3, offset, NUMBER, NUMBERS(0, 0, 4096, -4096, 1)),
	END
};

static long do_mmap(int fd, uint64_t *a)
{
	void *p = mmap(NULL, a[0], (int)a[1], (int)a[2], fd, (off_t)a[3]);
	uint64_t i;

	if (p == MAP_FAILED)
		return -1;
	for (i = 0; a[1] & PROT_READ && i < a[0]; i += 4096)
		(void)((volatile char *)p)[i];
	/* That, too, may be told to fail; then the page would stay, and its object. */
	while (munmap(p, a[0]) && errno == ENOMEM)
		;
	return 0;
}

static const struct field number[] = {
	A(0, number, NUMBER, NUMBERS(0xc7ff, 0xc700, 0x80c0c711, 0x5401, 0x5421, 0x5450, 0x5451)),
	A(1, arg, POINTER),
	END
};

static long do_ioctl(int fd, uint64_t *a)
{
	return ioctl(fd, a[0], a[1]);
}

static long do_close(int fd, uint64_t *a)
{
	(void)a;
	return close_descriptor(fd);
}

static long do_fork(int fd, uint64_t *a)
{
	(void)fd;
	(void)a;
	return fork_child();
}

static long do_signal(int fd, uint64_t *a)
{
	(void)fd;
	(void)a;
	return signal_other();
}

/* Memory that a message goes to may be there no more. */
static long do_evict(int fd, uint64_t *a)
{
	(void)fd;
	(void)a;
	return evict_cold();
}

/* What messages carry is put in memory beforehand, where transfers and cases find it. */

static const struct field descriptors[] = {
	A(0, first, HANDLE, .types = ANY),
	A(1, second, HANDLE, .types = ANY),
	A(2, third, HANDLE, .types = ANY),
	END
};

static long do_descriptors(int fd, uint64_t *a)
{
	const int fds[] = { (int)a[0], (int)a[1], (int)a[2] };

	(void)fd;
	return write_descriptors(fds, ARRAY_SIZE(fds));
}

static const struct field parcel[] = {
	M(chanfd_parcel, buf, POINTER),
	M(chanfd_parcel, fds, FDS),
	M(chanfd_parcel, size, NUMBER, MESSAGE_SIZES),
	M(chanfd_parcel, flags, FLAGS, .bits = CHANFD_LEASED),
	M(chanfd_parcel, nr_fds, NUMBER, NUMBERS(0, 1, 1, 2, 3, 4, 16, 17)),
	M(chanfd_parcel, lease, OPTIONAL, .types = LEASE),
	M(chanfd_parcel, redelivered, OUT),
	M(chanfd_parcel, reserved, OUT),
	END
};

static long do_parcel(int fd, uint64_t *a)
{
	const struct chanfd_parcel p = {
		.buf = a[0], .fds = a[1], .size = (uint32_t)a[2], .flags = (uint32_t)a[3],
		.nr_fds = (uint32_t)a[4], .lease = (int32_t)a[5],
		.redelivered = (uint32_t)a[6], .reserved = (uint32_t)a[7],
	};

	(void)fd;
	return write_parcel(&p);
}

static const struct field other_memory[] = {
	A(0, offset, NUMBER, NUMBERS(0, 4, 8, 16, 24, 28, 32, 36, 40, 48, 56, 60)),
	A(1, value, NUMBER, NUMBERS(0, 1, -1, 0xffff, 0x100000001, 0x7fffffff7fffffff)),
	END
};

static long do_overwrite(int fd, uint64_t *a)
{
	(void)fd;
	return overwrite_other((int)a[0], a[1]);
}

#define IOCTL(label, number, ...)						\
	{ .name = #label, .define = #number, .ioctl = number, ##__VA_ARGS__ }
#define CALL(label, ...)	{ .name = #label, .run = do_##label, ##__VA_ARGS__ }
#define MAKES_PAIR(type, member) .pair = true, .made_at = offsetof(struct type, member)

const struct call calls[] = {
	IOCTL(channel, CHANFD_IOC_CHANNEL, .types = DEVICE, .weight = 10, .fields = channel,
	      .makes = CHANNEL, MAKES_PAIR(chanfd_channel, fd)),
	IOCTL(waitgroup, CHANFD_IOC_WAITGROUP, .types = DEVICE, .weight = 5, .fields = waitgroup,
	      .makes = WAITGROUP, MAKES_PAIR(chanfd_waitgroup, fd)),
	IOCTL(context, CHANFD_IOC_CONTEXT, .types = DEVICE | CONTEXT, .weight = 8,
	      .fields = context, .makes = CONTEXT, MAKES_PAIR(chanfd_context, fd)),
	IOCTL(lock_new, CHANFD_IOC_LOCK_NEW, .types = DEVICE, .weight = 6, .fields = lock,
	      .makes = LOCK, MAKES_PAIR(chanfd_lock, fd)),
	IOCTL(condition, CHANFD_IOC_CONDITION, .types = DEVICE, .weight = 4, .fields = condition,
	      .makes = CONDITION, MAKES_PAIR(chanfd_condition, fd)),
	IOCTL(cell, CHANFD_IOC_CELL, .types = DEVICE, .weight = 5, .fields = cell,
	      .makes = CELL, MAKES_PAIR(chanfd_cell, fd)),
	IOCTL(select, CHANFD_IOC_SELECT, .types = DEVICE | OURS, .weight = 20,
	      .fields = select_call, .parts = select_case,
	      .stride = sizeof(struct chanfd_case)),
	IOCTL(info, CHANFD_IOC_INFO, .types = OURS, .weight = 1, .fields = info),
	IOCTL(reduce, CHANFD_IOC_REDUCE, .types = OURS, .weight = 4, .fields = reduce,
	      .makes = OURS),
	IOCTL(send, CHANFD_IOC_SEND, .types = CHANNEL, .rights = W, .weight = 16,
	      .fields = transfer, .parts = transfer_sizes, .stride = 4),
	IOCTL(recv, CHANFD_IOC_RECV, .types = CHANNEL, .rights = R, .weight = 16,
	      .fields = transfer, .parts = transfer_sizes, .stride = 4),
	IOCTL(recv_leased, CHANFD_IOC_RECV, .types = CHANNEL, .rights = R, .weight = 10,
	      .fields = transfer_leased, .parts = transfer_sizes, .stride = 4, .makes = LEASE,
	      .made_at = offsetof(struct chanfd_transfer, lease)),
	IOCTL(commit, CHANFD_IOC_COMMIT, .types = LEASE, .weight = 6, .fields = no_arguments),
	IOCTL(channel_close, CHANFD_IOC_CLOSE, .types = CHANNEL, .rights = W, .weight = 3,
	      .fields = channel_close),
	IOCTL(channel_info, CHANFD_IOC_CHANNEL_INFO, .types = CHANNEL, .weight = 1,
	      .fields = channel_info),
	IOCTL(add, CHANFD_IOC_ADD, .types = WAITGROUP, .rights = W, .weight = 8, .fields = add),
	IOCTL(token, CHANFD_IOC_TOKEN, .types = WAITGROUP, .rights = W, .weight = 6,
	      .fields = token, .makes = TOKEN),
	IOCTL(done, CHANFD_IOC_DONE, .types = TOKEN, .rights = W, .weight = 4, .fields = done),
	IOCTL(waitgroup_info, CHANFD_IOC_WAITGROUP_INFO, .types = WAITGROUP, .rights = R,
	      .weight = 1, .fields = waitgroup_info),
	IOCTL(cancel, CHANFD_IOC_CANCEL, .types = CONTEXT, .rights = W, .weight = 5,
	      .fields = cancel),
	IOCTL(bind, CHANFD_IOC_BIND, .types = CONTEXT, .rights = W, .weight = 6, .fields = binding),
	IOCTL(value, CHANFD_IOC_VALUE, .types = CONTEXT, .rights = R, .weight = 3,
	      .fields = value),
	IOCTL(context_info, CHANFD_IOC_CONTEXT_INFO, .types = CONTEXT, .rights = R,
	      .weight = 1, .fields = context_info),
	IOCTL(lock, CHANFD_IOC_LOCK, .types = LOCK, .weight = 10, .fields = acquire),
	IOCTL(unlock, CHANFD_IOC_UNLOCK, .types = LOCK, .weight = 8, .fields = unlock),
	IOCTL(downgrade, CHANFD_IOC_DOWNGRADE, .types = LOCK, .weight = 2,
	      .fields = no_arguments),
	IOCTL(lock_info, CHANFD_IOC_LOCK_INFO, .types = LOCK, .weight = 1, .fields = lock_info),
	IOCTL(condition_wait, CHANFD_IOC_CONDITION_WAIT, .types = CONDITION, .rights = R,
	      .weight = 10, .fields = condition_wait, .steady = true),
	IOCTL(signals, CHANFD_IOC_SIGNAL, .types = CONDITION, .rights = W, .weight = 6,
	      .fields = signals),
	IOCTL(condition_info, CHANFD_IOC_CONDITION_INFO, .types = CONDITION, .weight = 1,
	      .fields = condition_info),
	IOCTL(load, CHANFD_IOC_LOAD, .types = CELL, .rights = R, .weight = 6, .fields = load),
	IOCTL(store, CHANFD_IOC_STORE, .types = CELL, .rights = W, .weight = 8, .fields = store),
	IOCTL(cell_info, CHANFD_IOC_CELL_INFO, .types = CELL, .weight = 1, .fields = cell_info),
	CALL(read, .types = CHANNEL | FOREIGN, .rights = R, .weight = 8, .fields = buffer),
	CALL(write, .types = CHANNEL | FOREIGN, .rights = W, .weight = 8, .fields = buffer),
	CALL(pread, .types = OURS, .rights = R, .weight = 1, .fields = buffer),
	CALL(readv, .types = CHANNEL, .rights = R, .weight = 5, .fields = vector,
	     .parts = vector_part, .stride = sizeof(struct iovec)),
	CALL(writev, .types = CHANNEL, .rights = W, .weight = 5, .fields = vector,
	     .parts = vector_part, .stride = sizeof(struct iovec)),
	CALL(poll, .weight = 6, .fields = poll_call, .parts = poll_part,
	     .stride = sizeof(struct pollfd)),
	CALL(pselect, .weight = 2, .fields = select_fds),
	CALL(epoll, .weight = 3, .fields = no_arguments, .makes = EPOLL),
	CALL(epoll_ctl, .types = EPOLL, .weight = 6, .fields = epoll_change),
	CALL(epoll_wait, .types = EPOLL, .weight = 4, .fields = epoll_waiting),
	CALL(eventfd, .weight = 2, .fields = event_counter, .makes = FOREIGN),
	CALL(pipe, .weight = 2, .fields = no_arguments, .makes = FOREIGN, .pair = true),
	CALL(socketpair, .weight = 1, .fields = sockets, .makes = FOREIGN, .pair = true),
	CALL(timerfd, .weight = 2, .fields = timer, .makes = FOREIGN),
	CALL(dup, .types = OURS | FOREIGN, .weight = 3, .fields = no_arguments, .makes = OURS),
	CALL(pass, .types = OURS, .weight = 2, .fields = no_arguments, .makes = OURS),
	CALL(reopen, .types = OURS, .weight = 1, .fields = no_arguments, .makes = OURS),
	CALL(fdinfo, .types = OURS, .weight = 3, .fields = no_arguments),
	CALL(setfl, .types = OURS, .weight = 3, .fields = file_flags),
	CALL(mmap, .types = OURS | DEVICE, .weight = 4, .fields = mapping),
	CALL(ioctl, .types = OURS | DEVICE, .weight = 1, .fields = number),
	CALL(close, .types = OURS | FOREIGN | EPOLL, .weight = 12, .fields = no_arguments),
	CALL(fork, .weight = 1, .fields = no_arguments),
	CALL(signal, .weight = 2, .fields = no_arguments),
	CALL(evict, .weight = 2, .fields = no_arguments),
	CALL(descriptors, .weight = 3, .fields = descriptors),
	CALL(parcel, .weight = 3, .fields = parcel),
	CALL(overwrite, .weight = 3, .fields = other_memory),
};

const int nr_calls = ARRAY_SIZE(calls);

int find_call(const char *name)
{
	int i;

	for (i = 0; i < nr_calls; i++)
		if (!strcmp(calls[i].name, name))
			return i;
	return -1;
}

int nr_fields(const struct field *fields)
{
	int n = 0;

	while (fields && fields[n].name)
		n++;
	return n;
}
