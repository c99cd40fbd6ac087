// SPDX-License-Identifier: GPL-2.0
/*
 * File descriptors in messages: channels of channels, files of all kinds, and that none
 * stays open when nobody can get at it any more.
 */
#include "numbers.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

enum { SOMEBODY = 65534 };

#define CAP	16

FIXTURE(fds) {
	int get;
	int put;
	long handles;
};

FIXTURE_VARIANT(fds) {
	bool process;
};

FIXTURE_VARIANT_ADD(fds, threads) {
	.process = false,
};

FIXTURE_VARIANT_ADD(fds, processes) {
	.process = true,
};

/* A channel of numbers with files. */
static void make_carrier(int fd[2], unsigned int cap)
{
	if (chanfd_channel_pair(fd, sizeof(uint64_t), cap, CHANFD_FDS, "files"))
		err(1, "chanfd_channel_pair");
}

FIXTURE_SETUP(fds)
{
	int fd[2];

	self->handles = handles_open();
	make_carrier(fd, CAP);
	self->get = fd[0];
	self->put = fd[1];
}

FIXTURE_TEARDOWN(fds)
{
	close(self->get);
	close(self->put);
	EXPECT_TRUE(eventually(handles_open() == self->handles));
}

static int put_fds(int ch, uint64_t value, const int *fds, unsigned int n)
{
	return chanfd_send_fds(ch, &value, sizeof(value), fds, n, &nonblock);
}

static int put_fd(int ch, uint64_t value, int fd)
{
	return put_fds(ch, value, &fd, 1);
}

static int get_fds(int ch, uint64_t *value, int *fds, unsigned int *n)
{
	poison(value);
	return chanfd_recv_fds(ch, value, sizeof(*value), fds, n, &nonblock, NULL);
}

/* One file with the message, or -1. */
static int get_fd(int ch, uint64_t *value)
{
	unsigned int n = 1;
	int fd = -1;

	return get_fds(ch, value, &fd, &n) == 1 && n == 1 ? fd : -1;
}

static bool same_file(int a, int b)
{
	return !syscall(SYS_kcmp, getpid(), getpid(), 0 /* KCMP_FILE */, a, b);
}

static unsigned int open_descriptors(void)
{
	unsigned int n = 0;
	int fd;

	for (fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* A pipe whose reader sees the end when nobody, and no message, holds the writer. */
static void make_witness(int fd[2])
{
	if (pipe2(fd, O_CLOEXEC | O_NONBLOCK))
		err(1, "pipe2");
}

static bool released(int reader)
{
	struct pollfd p = { reader, POLLIN, 0 };

	return poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

/* Keeps @fd open in a Unix socket, and in no table; -1 ends that for all. */
static void keep(int fd)
{
	static int socket[2] = { -1, -1 };

	if (socket[0] < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socket))
		err(1, "socketpair");
	if (fd >= 0) {
		pass(socket[0], fd);
		close(fd);
		return;
	}
	close(socket[0]);
	close(socket[1]);
	socket[0] = -1;
}

/* Channels of channels */

/* Gets a channel, and sends on it what came with it. */
static long run_reply(struct party *me)
{
	unsigned int n = 1;
	int reply = -1;

	if (chanfd_recv_fds(me->fd, &me->value, 8, &reply, &n, NULL, NULL) != 1 || n != 1)
		return -1;
	if (put(reply, me->value))
		return -1;
	return me->process ? 0 : close(reply);
}

TEST_F(fds, chan_of_chan)
{
	struct party *p = party_start(party_new(variant->process, run_reply, self->get));
	uint64_t v;
	int reply[2];

	make_pair(reply, 1);
	ASSERT_TRUE(receivers_wait(self->get, 1));
	EXPECT_EQ(0, put_fd(self->put, 2, reply[1]));
	close(reply[1]);
	EXPECT_EQ(1, get(reply[0], &v));
	EXPECT_EQ(2, v);
	EXPECT_EQ(0, party_join(p));
	/* It was the last that could send. */
	EXPECT_EQ(ECONNRESET, errno_of(get(reply[0], &v)));
	close(reply[0]);
}

/* The same object, with the same rights, as another descriptor of the same file. */
TEST_F(fds, same_file)
{
	struct chanfd_info a, b;
	uint64_t v;
	int reply[2], fd;

	make_pair(reply, 1);
	ASSERT_EQ(0, put_fd(self->put, 7, reply[1]));
	EXPECT_EQ(1, info_of(self->get).files);
	fd = get_fd(self->get, &v);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, info_of(self->get).files);
	EXPECT_EQ(7, v);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EXPECT_NE(reply[1], fd);
	EXPECT_TRUE(same_file(reply[1], fd));
	ASSERT_EQ(0, chanfd_info(reply[1], &a));
	ASSERT_EQ(0, chanfd_info(fd, &b));
	EXPECT_EQ(a.id, b.id);
	EXPECT_EQ(CHANFD_WRITE, b.rights);
	EXPECT_EQ(EPERM, errno_of(try_get(fd, &v)));
	close(fd);
	close(reply[0]);
	close(reply[1]);
}

/* A handle that is in a message counts as one that somebody has (rule Z3). */
TEST_F(fds, in_a_message_it_is_alive)
{
	uint64_t v;
	int reply[2];

	make_pair(reply, 1);
	ASSERT_EQ(0, put_fd(self->put, 0, reply[1]));
	close(reply[1]);
	EXPECT_EQ(EAGAIN, errno_of(try_get(reply[0], &v)));
	EXPECT_EQ(1, chanfd_recv(self->get, NULL, 0, &nonblock, NULL));
	EXPECT_TRUE(eventually(errno_of(try_get(reply[0], &v)) == ECONNRESET));
	close(reply[0]);
}

/* What can be sent, and what not */

struct kind {
	const char *name;
	int error;
	int (*open)(void);
};

static int open_memfd(void) { return memfd_create("file", MFD_CLOEXEC); }
static int open_file(void) { return open("/proc/self/exe", O_RDONLY | O_CLOEXEC); }
static int open_directory(void) { return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }
static int open_path(void) { return open("/dev/null", O_PATH | O_CLOEXEC); }
static int open_tcp(void) { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); }
static int open_udp6(void) { return socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0); }
static int open_unix(void) { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }
static int open_netlink(void) { return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0); }
static int open_eventfd(void) { return eventfd(0, EFD_CLOEXEC); }
static int open_timerfd(void) { return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC); }
static int open_epoll(void) { return epoll_create1(EPOLL_CLOEXEC); }
static int open_inotify(void) { return inotify_init1(IN_CLOEXEC); }
static int open_pidfd(void) { return syscall(SYS_pidfd_open, getpid(), 0); }
static int open_null(void) { return open("/dev/null", O_RDWR | O_CLOEXEC); }
static int open_device(void) { return chanfd_device(); }
static int open_uffd(void) { return syscall(SYS_userfaultfd, O_CLOEXEC); }
static int open_waitgroup(void) { return chanfd_waitgroup(0, NULL); }
static int open_context(void) { return chanfd_context(-1); }
static int open_mutex(void) { return chanfd_mutex(0, NULL); }
static int open_condition(void) { return chanfd_condition(0, NULL); }
static int open_cell(void) { return chanfd_cell(8, 0, NULL); }
static int open_channel(void) { return make(1); }
static int open_carrier(void) { return chanfd_channel(8, 1, CHANFD_FDS, NULL); }

static int open_pipe(void)
{
	int fd[2];

	make_witness(fd);
	close(fd[1]);
	return fd[0];
}

static int open_signalfd(void)
{
	sigset_t set;

	sigemptyset(&set);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static int open_uring(void)
{
	char params[256] = { 0 };

	return syscall(SYS_io_uring_setup, 1, params);
}

static int open_reader(void)
{
	int fd[2];

	make_pair(fd, 1);
	close(fd[1]);
	return fd[0];
}

static int open_token(void)
{
	int wg = chanfd_waitgroup(0, NULL), token = chanfd_wg_token(wg, 0);

	close(wg);
	return token;
}

static int open_carrier_end(int end)
{
	int fd[2];

	make_carrier(fd, 1);
	close(fd[!end]);
	return fd[end];
}

static int open_carrier_reader(void) { return open_carrier_end(0); }
static int open_carrier_writer(void) { return open_carrier_end(1); }

static int open_lease(void)
{
	int ch = make(1), lease = -1;

	if (put(ch, 1) || chanfd_recv_leased(ch, NULL, 0, &lease, NULL, NULL) != 1)
		err(1, "lease");
	close(ch);
	return lease;
}

static const struct kind kinds[] = {
	{ "a memfd", 0, open_memfd },
	{ "a regular file", 0, open_file },
	{ "a directory", 0, open_directory },
	{ "a path", 0, open_path },
	{ "a pipe", 0, open_pipe },
	{ "an IPv4 socket", 0, open_tcp },
	{ "an IPv6 socket", 0, open_udp6 },
	{ "a netlink socket", 0, open_netlink },
	{ "an eventfd", 0, open_eventfd },
	{ "an epoll instance", 0, open_epoll },
	{ "an inotify instance", 0, open_inotify },
	{ "a timerfd", 0, open_timerfd },
	{ "a signalfd", 0, open_signalfd },
	{ "a pidfd", 0, open_pidfd },
	{ "a waitgroup", 0, open_waitgroup },
	{ "a token", 0, open_token },
	{ "a context", 0, open_context },
	{ "a mutex", 0, open_mutex },
	{ "a condition", 0, open_condition },
	{ "a cell", 0, open_cell },
	{ "a channel", 0, open_channel },
	{ "the reader of a channel", 0, open_reader },
	{ "the writer of a channel of files", 0, open_carrier_writer },
	{ "the reader of a channel of files", ELOOP, open_carrier_reader },
	{ "a channel of files", ELOOP, open_carrier },
	{ "a lease", EOPNOTSUPP, open_lease },
	{ "a Unix socket", EOPNOTSUPP, open_unix },
	{ "an io_uring", EOPNOTSUPP, open_uring },
	{ "a userfaultfd", EOPNOTSUPP, open_uffd },
	{ "/dev/null", EOPNOTSUPP, open_null },
	{ "/dev/chanfd", EOPNOTSUPP, open_device },
};

TEST_F(fds, kinds)
{
	const struct kind *k;
	int fd, other;
	uint64_t v;

	for (k = kinds; k < kinds + sizeof(kinds) / sizeof(*kinds); k++) {
		fd = k->open();
		if (fd < 0) {
			TH_LOG("no %s here: %s", k->name, strerror(errno));
			continue;
		}
		EXPECT_EQ(k->error, errno_of(put_fd(self->put, 3, fd))) {
			TH_LOG("%s", k->name);
		}
		EXPECT_EQ(!k->error, info_of(self->get).files);
		if (!k->error) {
			other = get_fd(self->get, &v);
			EXPECT_TRUE(same_file(fd, other)) {
				TH_LOG("%s", k->name);
			}
			close(other);
		}
		EXPECT_EQ(0, chanfd_len(self->get));
		close(fd);
	}
}

/* One that can't be sent, and all stays as it was, whatever comes before it. */
TEST_F(fds, all_or_none)
{
	int witness[2], fds[3];

	make_witness(witness);
	fds[0] = witness[1];
	fds[1] = self->get;
	EXPECT_EQ(ELOOP, errno_of(put_fds(self->put, 1, fds, 2)));
	fds[1] = -1;
	EXPECT_EQ(EBADF, errno_of(put_fds(self->put, 1, fds, 2)));
	fds[1] = 9999;
	EXPECT_EQ(EBADF, errno_of(put_fds(self->put, 1, fds, 2)));
	EXPECT_EQ(0, chanfd_len(self->get));
	EXPECT_EQ(0, info_of(self->get).sent);
	close(witness[1]);
	EXPECT_TRUE(released(witness[0]));
	close(witness[0]);
}

TEST_F(fds, numbers)
{
	int fds[CHANFD_MAX_FDS + 1], out[CHANFD_MAX_FDS], plain = make(1);
	struct chanfd_transfer t = {
		.context = -1, .buf = (uintptr_t)"0123456789abcdef", .size = 16, .count = 2,
		.fds = (uintptr_t)fds, .nr_fds = 1,
	};
	unsigned int i, n, before;
	uint64_t v;

	for (i = 0; i <= CHANFD_MAX_FDS; i++)
		fds[i] = eventfd(i, EFD_CLOEXEC | EFD_NONBLOCK);
	EXPECT_EQ(EINVAL, errno_of(put_fds(self->put, 0, fds, CHANFD_MAX_FDS + 1)));
	EXPECT_EQ(EINVAL, errno_of(put_fds(self->put, 0, fds, UINT32_MAX)));
	EXPECT_EQ(EINVAL, errno_of(put_fds(plain, 0, fds, 1)));
	EXPECT_EQ(EINVAL, errno_of(ioctl(self->put, CHANFD_IOC_SEND, &t)));
	n = 1;
	EXPECT_EQ(EINVAL, errno_of(get_fds(plain, &v, out, &n)));
	EXPECT_EQ(EFAULT, errno_of(put_fds(self->put, 0, NULL, 1)));
	EXPECT_EQ(0, put_fds(plain, 0, fds, 0));

	ASSERT_EQ(0, put_fds(self->put, 5, fds, CHANFD_MAX_FDS));
	EXPECT_EQ(CHANFD_MAX_FDS, info_of(self->get).files);
	before = open_descriptors();
	n = CHANFD_MAX_FDS;
	ASSERT_EQ(1, get_fds(self->get, &v, out, &n));
	EXPECT_EQ(5, v);
	EXPECT_EQ(CHANFD_MAX_FDS, n);
	EXPECT_EQ(before + CHANFD_MAX_FDS, open_descriptors());
	for (i = 0; i < n; i++) {
		EXPECT_TRUE(same_file(fds[i], out[i]));
		close(out[i]);
	}
	/* Without any, and more room than there may be. */
	ASSERT_EQ(0, put_fds(self->put, 6, NULL, 0));
	n = 1000;
	EXPECT_EQ(1, get_fds(self->get, &v, out, &n));
	EXPECT_EQ(0, n);
	for (i = 0; i <= CHANFD_MAX_FDS; i++)
		close(fds[i]);
	close(plain);
}

/* No room */

TEST_F(fds, too_little_room)
{
	int fds[2], out[2] = { -7, -7 }, witness[2];
	unsigned int n, before;
	uint64_t v;

	make_witness(witness);
	fds[0] = witness[1];
	fds[1] = witness[1];
	ASSERT_EQ(0, put_fds(self->put, 1, fds, 2));
	ASSERT_EQ(0, put(self->put, 2));
	close(witness[1]);
	before = open_descriptors();
	n = 1;
	EXPECT_EQ(EMSGSIZE, errno_of(get_fds(self->get, &v, out, &n)));
	EXPECT_EQ(1, n);
	EXPECT_EQ(POISON64, v);
	EXPECT_EQ(EMSGSIZE, errno_of(try_get(self->get, &v)));
	EXPECT_EQ(EMSGSIZE, errno_of(read(self->get, &v, sizeof(v))));
	EXPECT_EQ(EFAULT, errno_of(chanfd_recv_fds(self->get, &v, 8, bad_pointer(), &n,
						   &nonblock, NULL)));
	EXPECT_EQ(-7, out[0]);
	EXPECT_EQ(before, open_descriptors());
	EXPECT_EQ(2, chanfd_len(self->get));
	EXPECT_EQ(2, info_of(self->get).files);
	EXPECT_EQ(0, info_of(self->get).returned);
	n = 2;
	EXPECT_EQ(1, get_fds(self->get, &v, out, &n));
	EXPECT_EQ(1, v);
	EXPECT_EQ(2, n);
	close(out[0]);
	EXPECT_FALSE(released(witness[0]));
	close(out[1]);
	EXPECT_TRUE(released(witness[0]));
	/* One without is for everybody. */
	EXPECT_EQ(8, read(self->get, &v, sizeof(v)));
	EXPECT_EQ(2, v);
	close(witness[0]);
}

/* Thrown away, with what it carries. */
TEST_F(fds, discarded)
{
	int witness[2];

	make_witness(witness);
	ASSERT_EQ(0, put_fd(self->put, 1, witness[1]));
	close(witness[1]);
	EXPECT_EQ(1, chanfd_recv(self->get, NULL, 0, &nonblock, NULL));
	EXPECT_TRUE(eventually(released(witness[0])));
	close(witness[0]);
}

/* A read of several ends before the message with files. */
TEST_F(fds, read_of_several)
{
	uint64_t v[4];
	int fd;

	ASSERT_EQ(0, put(self->put, 1));
	ASSERT_EQ(0, put(self->put, 2));
	ASSERT_EQ(0, put_fd(self->put, 3, self->put));
	ASSERT_EQ(0, put(self->put, 4));
	EXPECT_EQ(16, read(self->get, v, sizeof(v)));
	EXPECT_EQ(1, v[0]);
	EXPECT_EQ(2, v[1]);
	EXPECT_EQ(EMSGSIZE, errno_of(read(self->get, v, sizeof(v))));
	fd = get_fd(self->get, v);
	EXPECT_LE(0, fd);
	close(fd);
	EXPECT_EQ(8, read(self->get, v, sizeof(v)));
	EXPECT_EQ(4, v[0]);
}

/* Waits with room for @value files, and with so many descriptors as it has. */
static long run_get_with_limit(struct party *me)
{
	struct rlimit before, less;
	int out[CHANFD_MAX_FDS], fd, i;
	unsigned int n = CHANFD_MAX_FDS;
	long ret;

	getrlimit(RLIMIT_NOFILE, &before);
	less = before;
	fd = dup(me->fd);
	close(fd);
	less.rlim_cur = fd + 3;		/* three more can be opened, if none is in between */
	setrlimit(RLIMIT_NOFILE, &less);
	ret = chanfd_recv_fds(me->fd, &me->value, 8, out, &n, NULL, NULL);
	i = errno;
	setrlimit(RLIMIT_NOFILE, &before);
	errno = i;
	return ret;
}

TEST_F(fds, no_descriptor_left)
{
	int fds[CHANFD_MAX_FDS], out[CHANFD_MAX_FDS], witness[2];
	unsigned int i, n, before;
	struct party *p;
	uint64_t v;

	make_witness(witness);
	for (i = 0; i < CHANFD_MAX_FDS; i++)
		fds[i] = witness[1];
	p = party_start(party_new(variant->process, run_get_with_limit, self->get));
	ASSERT_TRUE(receivers_wait(self->get, 1));
	before = open_descriptors();
	ASSERT_EQ(0, chanfd_send_fds(self->put, "8 bytes.", 8, fds, CHANFD_MAX_FDS, NULL));
	EXPECT_EQ(-1, party_join(p));
	EXPECT_EQ(EMFILE, errno);
	EXPECT_EQ(before, open_descriptors());
	EXPECT_EQ(1, info_of(self->get).returned);
	EXPECT_EQ(CHANFD_MAX_FDS, info_of(self->get).files);
	n = CHANFD_MAX_FDS;
	EXPECT_EQ(1, get_fds(self->get, &v, out, &n));
	EXPECT_EQ(CHANFD_MAX_FDS, n);
	close(witness[1]);
	for (i = 0; i < n; i++)
		close(out[i]);
	EXPECT_TRUE(eventually(released(witness[0])));
	close(witness[0]);
}

static long run_get_nowhere(struct party *me)
{
	unsigned int n = 1;
	int fd = -1;
	long ret;

	if (me->value)	/* the numbers have nowhere to go, or the message has not */
		ret = chanfd_recv_fds(me->fd, me->arg, 8, &fd, &n, NULL, NULL);
	else
		ret = chanfd_recv_fds(me->fd, NULL, 0, me->arg, &n, NULL, NULL);
	return ret;
}

/* A pointer that leads nowhere, and the message is as it was. */
TEST_F(fds, nowhere_to_go)
{
	int which, fd, witness[2];
	uint64_t v;

	for (which = 0; which < 2; which++) {
		int memory = memfd_create("memory", MFD_CLOEXEC);
		struct party *p = party_new(variant->process, run_get_nowhere, self->get);

		ASSERT_EQ(0, ftruncate(memory, 4096));
		p->arg = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
		ASSERT_NE(MAP_FAILED, p->arg);
		p->value = which;
		make_witness(witness);
		party_start(p);
		ASSERT_TRUE(receivers_wait(self->get, 1));
		ASSERT_EQ(0, ftruncate(memory, 0));
		EXPECT_EQ(0, put_fd(self->put, 8, witness[1]));
		EXPECT_EQ(-1, party_join(p));
		EXPECT_EQ(EFAULT, errno);
		EXPECT_EQ(1, info_of(self->get).files);
		EXPECT_EQ(0, info_of(self->get).leased);
		fd = get_fd(self->get, &v);
		EXPECT_TRUE(same_file(witness[1], fd));
		EXPECT_EQ(8, v);
		close(fd);
		/* Nobody has another descriptor of it. */
		close(witness[1]);
		EXPECT_TRUE(eventually(released(witness[0])));
		close(witness[0]);
		close(memory);
	}
}

static long run_put_fd(struct party *me)
{
	int fd = me->value;

	return chanfd_send_fds(me->fd, "8 bytes.", 8, &fd, 1, &me->opt);
}

/* Of two senders that wait one gives up: with it goes what it had to send. */
TEST_F(fds, sender_that_waits)
{
	struct party *p[2];
	int ch[2], witness[2], i, fd;
	uint64_t v;

	make_carrier(ch, 0);
	make_witness(witness);
	for (i = 0; i < 2; i++) {
		p[i] = party_new(variant->process, run_put_fd, ch[1]);
		p[i]->value = witness[1];
		p[i]->opt.deadline = i ? chanfd_deadline(50 * MSEC) : 0;
		party_start(p[i]);
		if (!i)
			ASSERT_TRUE(senders_wait(ch[0], 1));
	}
	EXPECT_EQ(-1, party_join(p[1]));
	EXPECT_EQ(ETIMEDOUT, errno);
	fd = get_fd(ch[0], &v);
	EXPECT_LE(0, fd);
	EXPECT_EQ(0, party_join(p[0]));
	EXPECT_EQ(EAGAIN, errno_of(try_get(ch[0], &v)));
	close(fd);
	close(witness[1]);
	EXPECT_TRUE(eventually(released(witness[0])));
	close(witness[0]);
	close(ch[0]);
	close(ch[1]);
}

/* One that is killed in its sleep. */
TEST_F(fds, sender_killed)
{
	struct party *p;
	int ch[2], witness[2];

	make_carrier(ch, 0);
	make_witness(witness);
	p = party_new(true, run_put_fd, ch[1]);
	p->value = witness[1];
	party_start(p);
	ASSERT_TRUE(senders_wait(ch[0], 1));
	close(witness[1]);
	EXPECT_FALSE(released(witness[0]));
	party_kill(p);
	EXPECT_TRUE(eventually(released(witness[0])));
	EXPECT_EQ(0, info_of(ch[0]).sent);
	close(witness[0]);
	close(ch[0]);
	close(ch[1]);
}

/* Nothing stays open */

static long files_open(void)
{
	char text[64];

	if (!read_text("/proc/sys/fs/file-nr", text, sizeof(text)))
		err(1, "file-nr");
	return atol(text);
}

/* The kernel counts files in a batch per CPU, and others open some, too. */
static long about(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF), batch = cpus > 16 ? 2 * cpus : 32;

	return 64 + 2 * batch * cpus;
}

TEST_F(fds, many_are_dropped)
{
	int fds[CHANFD_MAX_FDS], ch[2], witness[2], i, n;
	long before = files_open();

	make_carrier(ch, 1000);
	make_witness(witness);
	fds[0] = witness[1];
	for (n = 0; n < 1000; n++) {
		for (i = 1; i < CHANFD_MAX_FDS; i++)
			fds[i] = eventfd(0, EFD_CLOEXEC);
		ASSERT_EQ(0, put_fds(ch[1], n, fds, CHANFD_MAX_FDS));
		for (i = 1; i < CHANFD_MAX_FDS; i++)
			close(fds[i]);
	}
	close(witness[1]);
	EXPECT_EQ(1000 * CHANFD_MAX_FDS, info_of(ch[1]).files);
	EXPECT_LT(before + 1000 * (CHANFD_MAX_FDS - 1) - about(), files_open());
	EXPECT_FALSE(released(witness[0]));
	close(ch[0]);
	EXPECT_TRUE(eventually(released(witness[0])));
	EXPECT_EQ(0, info_of(ch[1]).files);
	EXPECT_EQ(1000, info_of(ch[1]).dropped);
	close(ch[1]);
	close(witness[0]);
	EXPECT_TRUE(eventually(files_open() < before + about()));
}

/* Each in a message of the next, and all readers go at once. */
TEST_F(fds, chain)
{
	int ch[2], next[2], witness[2], i;

	make_carrier(ch, 1);
	make_witness(witness);
	ASSERT_EQ(0, put_fd(ch[1], 0, witness[1]));
	close(witness[1]);
	for (i = 0; i < 60; i++) {
		make_carrier(next, 1);
		ASSERT_EQ(0, put_fd(next[1], i, ch[1]));
		close(ch[1]);
		keep(ch[0]);
		ch[0] = next[0];
		ch[1] = next[1];
	}
	EXPECT_FALSE(released(witness[0]));
	close(ch[1]);
	close(ch[0]);
	keep(-1);
	EXPECT_TRUE(eventually(released(witness[0])));
	close(witness[0]);
}

/* A channel in its own message, and two in each other's (test tT30). */
TEST_F(fds, cycles)
{
	int a[2], b[2], out;
	uint64_t v;

	make_carrier(a, 2);
	EXPECT_EQ(ELOOP, errno_of(put_fd(a[1], 0, a[0])));
	EXPECT_EQ(0, put_fd(a[1], 0, a[1]));
	close(a[0]);
	close(a[1]);
	EXPECT_TRUE(eventually(handles_open() == self->handles + 2));

	make_carrier(a, 2);
	make_carrier(b, 2);
	EXPECT_EQ(ELOOP, errno_of(put_fd(a[1], 0, b[0])));
	EXPECT_EQ(0, put_fd(a[1], 0, b[1]));
	EXPECT_EQ(0, put_fd(b[1], 0, a[1]));
	close(a[1]);
	close(b[1]);
	/* One can still be got at, and the other through it. */
	out = get_fd(a[0], &v);
	EXPECT_EQ(0, put(out, 5));
	close(out);
	close(a[0]);
	close(b[0]);
	EXPECT_TRUE(eventually(handles_open() == self->handles + 2));

	/* And with both readers in a Unix socket that is closed. */
	make_carrier(a, 2);
	make_carrier(b, 2);
	EXPECT_EQ(0, put_fd(a[1], 0, b[1]));
	EXPECT_EQ(0, put_fd(b[1], 0, a[1]));
	keep(a[0]);
	keep(b[0]);
	close(a[1]);
	close(b[1]);
	EXPECT_EQ(self->handles + 6, handles_open());
	keep(-1);
	EXPECT_TRUE(eventually(handles_open() == self->handles + 2));
}

/* How many may be under way */

struct sender {
	int put;
	int file;
	int sent;
	int error;
};

static long run_send_as_somebody(struct party *me)
{
	struct sender *s = me->arg;
	struct rlimit limit;
	int fds[4] = { s->file, s->file, s->file, s->file };

	/* In a process of its own: the limit is a process's. */
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = 64;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (syscall(SYS_setresuid, SOMEBODY, SOMEBODY, SOMEBODY))
		return -1;
	for (s->sent = 0; !put_fds(s->put, s->sent, fds, 4); s->sent++)
		;
	s->error = errno;
	return me->value ? pause() : 0;
}

TEST_F(fds, in_flight)
{
	struct sender *s = shared(sizeof(*s));
	struct party *p = party_new(true, run_send_as_somebody, -1);
	int ch[2], i, witness[2];

	make_carrier(ch, 1000);
	make_witness(witness);
	s->put = ch[1];
	s->file = witness[1];
	p->arg = s;
	party_start(p);
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(ETOOMANYREFS, s->error);
	EXPECT_EQ(16, s->sent);
	EXPECT_EQ(64, info_of(ch[0]).files);

	/* They count until they are received, or thrown away. */
	for (i = 0; i < 4; i++)
		EXPECT_EQ(1, chanfd_recv(ch[0], NULL, 0, &nonblock, NULL));
	p = party_new(true, run_send_as_somebody, -1);
	p->arg = s;
	party_start(p);
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(4, s->sent);
	EXPECT_EQ(ETOOMANYREFS, s->error);

	/* A user who may has no limit, and is no burden to the other. */
	for (i = 0; i < 100; i++)
		EXPECT_EQ(0, put_fd(ch[1], i, witness[1]));
	close(ch[0]);
	close(ch[1]);
	close(witness[1]);
	EXPECT_TRUE(eventually(released(witness[0])));
	close(witness[0]);
}

static long run_send_nothing(struct party *me)
{
	int i;

	if (syscall(SYS_setresuid, SOMEBODY, SOMEBODY, SOMEBODY))
		return -1;
	for (i = 0; i < 100; i++)
		if (errno_of(put_fd(me->fd, i, -1)) != EBADF)
			return -1;
	return 0;
}

/* A user who has nothing at all, neither before nor after the call. */
TEST_F(fds, none_in_flight)
{
	struct party *p = party_start(party_new(true, run_send_nothing, self->put));

	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(0, chanfd_len(self->get));
}

/* With the other ways to receive */

TEST_F(fds, leased)
{
	uint64_t v;
	int witness[2], fd[2] = { -1, -1 };
	struct chanfd_parcel p = {
		.buf = (uintptr_t)&v, .size = 8, .fds = (uintptr_t)fd, .nr_fds = 2,
		.flags = CHANFD_LEASED, .lease = -1,
	};
	struct chanfd_case c = CHANFD_RECV_PARCEL(self->get, &p);
	struct chanfd_outcome out;
	int lease = -1;

	make_witness(witness);
	ASSERT_EQ(0, put_fd(self->put, 4, witness[1]));
	EXPECT_EQ(0, chanfd_select(&c, 1, &nonblock, &out));
	EXPECT_EQ(4, v);
	EXPECT_EQ(1, p.nr_fds);
	EXPECT_TRUE(same_file(witness[1], fd[0]));
	/* The lease has the file, too, and so has the message when it comes back. */
	close(fd[0]);
	close(witness[1]);
	EXPECT_FALSE(released(witness[0]));
	close(p.lease);
	EXPECT_FALSE(released(witness[0]));
	EXPECT_EQ(1, info_of(self->get).files);
	EXPECT_EQ(EMSGSIZE,
		  errno_of(chanfd_recv_leased(self->get, &v, 8, &lease, &nonblock, NULL)));
	p.lease = -1;
	p.nr_fds = 2;
	EXPECT_EQ(0, chanfd_select(&c, 1, &nonblock, &out));
	EXPECT_EQ(1, p.redelivered);
	EXPECT_EQ(0, chanfd_commit(p.lease));
	close(p.lease);
	EXPECT_FALSE(released(witness[0]));
	close(fd[0]);
	EXPECT_TRUE(eventually(released(witness[0])));
	close(witness[0]);
}

static long run_select_parcel(struct party *me)
{
	struct chanfd_outcome out;
	int fd = -1;
	struct chanfd_parcel p = {
		.buf = (uintptr_t)&me->value, .size = 8, .fds = (uintptr_t)&fd, .nr_fds = 1,
	};
	struct chanfd_case cases[] = {
		CHANFD_RECV(me->fd),	/* never: the other is first, and both would do */
		CHANFD_RECV_PARCEL(me->fd, &p),
	};

	cases[0].fd = -1;
	if (chanfd_select(cases, 2, NULL, &out) != 1 || !out.ok || p.nr_fds != 1)
		return -1;
	if (put(fd, 6))
		return -1;
	return close(fd);
}

TEST_F(fds, select)
{
	struct party *p = party_start(party_new(variant->process, run_select_parcel, self->get));
	struct chanfd_outcome out;
	uint64_t v = 5;
	int reply[2];
	struct chanfd_parcel parcel = {
		.buf = (uintptr_t)&v, .size = 8, .fds = (uintptr_t)&reply[1], .nr_fds = 1,
	};
	struct chanfd_case c = CHANFD_SEND_PARCEL(self->put, &parcel);

	make_pair(reply, 1);
	ASSERT_TRUE(receivers_wait(self->get, 1));
	EXPECT_EQ(0, chanfd_select(&c, 1, NULL, &out));
	EXPECT_EQ(0, out.error);
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(5, p->value);
	EXPECT_EQ(1, get(reply[0], &v));
	EXPECT_EQ(6, v);
	close(reply[1]);

	/* What can't be sent is found in any case, before anything is tried. */
	reply[1] = self->get;
	EXPECT_EQ(ELOOP, errno_of(chanfd_select(&c, 1, NULL, &out)));
	parcel.nr_fds = CHANFD_MAX_FDS + 1;
	EXPECT_EQ(EINVAL, errno_of(chanfd_select(&c, 1, NULL, &out)));
	EXPECT_EQ(1, info_of(self->get).sent);
	close(reply[0]);
}

/* A case without a place for files is for messages that have none. */
TEST_F(fds, plain_case)
{
	struct chanfd_outcome out;
	uint64_t v;
	struct chanfd_case c = CHANFD_RECV(self->get, &v);

	ASSERT_EQ(0, put(self->put, 1));
	ASSERT_EQ(0, put_fd(self->put, 2, self->put));
	EXPECT_EQ(0, chanfd_select(&c, 1, NULL, &out));
	EXPECT_EQ(1, out.ok);
	EXPECT_EQ(1, v);
	EXPECT_EQ(0, chanfd_select(&c, 1, NULL, &out));
	EXPECT_EQ(EMSGSIZE, out.error);
	EXPECT_EQ(1, chanfd_len(self->get));
	EXPECT_EQ(1, info_of(self->get).files);
}

/* Our handles and Unix sockets, in both directions. */
TEST_F(fds, unix_sockets)
{
	int socket[2], fd, a[2];
	uint64_t v;

	make_carrier(a, 1);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socket));
	ASSERT_EQ(0, put_fd(a[1], 9, self->put));
	/* The reader of a channel of files travels, with the files. */
	pass(socket[0], a[0]);
	close(a[0]);
	fd = taken(socket[1]);
	ASSERT_LE(0, fd);
	a[0] = fd;
	fd = get_fd(a[0], &v);
	EXPECT_EQ(9, v);
	EXPECT_EQ(0, put(fd, 10));
	close(fd);
	EXPECT_EQ(1, try_get(self->get, &v));
	EXPECT_EQ(10, v);
	EXPECT_EQ(EOPNOTSUPP, errno_of(put_fd(a[1], 0, socket[0])));
	close(a[0]);
	close(a[1]);
	close(socket[0]);
	close(socket[1]);
}

/* All of our handles travel so; a lease that arrives nowhere gives its message back. */
TEST(handles_in_unix_sockets)
{
	int ch = make(1), wg = chanfd_waitgroup(0, NULL), lease = -1, socket[2], i;
	struct chanfd_info here, there;
	uint64_t v;

	ASSERT_EQ(0, put(ch, 3));
	ASSERT_EQ(1, chanfd_recv_leased(ch, &v, sizeof(v), &lease, &nonblock, NULL));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socket));

	const int handles[] = {
		ch, wg, chanfd_wg_token(wg, 0), chanfd_context(-1), chanfd_rwmutex(0, NULL),
		chanfd_condition(0, NULL), chanfd_cell(8, 0, NULL), lease,
	};

	for (i = 0; i < 8; i++) {
		int fd;

		ASSERT_EQ(0, chanfd_info(handles[i], &here));
		EXPECT_EQ(i + 1, here.type);
		pass(socket[0], handles[i]);
		fd = taken(socket[1]);
		ASSERT_EQ(0, chanfd_info(fd, &there));
		EXPECT_EQ(0, memcmp(&here, &there, sizeof(here)));
		EXPECT_TRUE(same_file(handles[i], fd));
		close(fd);
	}

	pass(socket[0], lease);
	close(lease);
	EXPECT_EQ(1, info_of(ch).leased);
	EXPECT_EQ(EAGAIN, errno_of(try_get(ch, &v)));
	close(socket[0]);
	close(socket[1]);
	EXPECT_TRUE(eventually(info_of(ch).len == 1));
	EXPECT_EQ(0, info_of(ch).leased);
	EXPECT_EQ(1, try_get(ch, &v));
	EXPECT_EQ(3, v);
}

/* Security modules */

/* The id of the function @name in @btf, the kernel's types (see its btf.rst); or 0. */
static unsigned int btf_function(const char *btf, const char *name)
{
	static const unsigned int tail[32] = {
		[BTF_KIND_INT] = 4, [BTF_KIND_ARRAY] = 12, [BTF_KIND_VAR] = 4,
		[BTF_KIND_DECL_TAG] = 4,
	};
	static const unsigned int each[32] = {
		[BTF_KIND_STRUCT] = 12, [BTF_KIND_UNION] = 12, [BTF_KIND_ENUM] = 8,
		[BTF_KIND_FUNC_PROTO] = 8, [BTF_KIND_DATASEC] = 12, [BTF_KIND_ENUM64] = 12,
	};
	const struct btf_header *head = (const void *)btf;
	const char *next = btf + head->hdr_len + head->type_off, *end = next + head->type_len;
	const char *strings = btf + head->hdr_len + head->str_off;
	unsigned int id;

	for (id = 1; next < end; id++) {
		const struct btf_type *type = (const void *)next;
		unsigned int kind = BTF_INFO_KIND(type->info);

		if (kind == BTF_KIND_FUNC && !strcmp(strings + type->name_off, name))
			return id;
		next += sizeof(*type) + tail[kind] + each[kind] * BTF_INFO_VLEN(type->info);
	}
	return 0;
}

/* As a security module, forbid @process to receive files, until what is returned is
 * closed; -1 if this kernel takes no such module.
 */
static int forbid_files(pid_t process)
{
	const struct bpf_insn program[] = {
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_current_pid_tgid },
		{ .code = BPF_ALU64 | BPF_RSH | BPF_K, .dst_reg = BPF_REG_0, .imm = 32 },
		{ .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_0, .imm = process,
		  .off = 2 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -EACCES },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_LSM,
		.expected_attach_type = BPF_LSM_MAC,
		.insns = (uintptr_t)program,
		.insn_cnt = sizeof(program) / sizeof(*program),
		.license = (uintptr_t)"GPL",
	};
	union bpf_attr attach = { 0 };
	static char btf[32 << 20];
	FILE *types = fopen("/sys/kernel/btf/vmlinux", "re");
	int link;

	if (!types)
		return -1;
	if (fread(btf, 1, sizeof(btf), types) == sizeof(btf))
		errx(1, "the kernel's types are too many");
	fclose(types);
	load.attach_btf_id = btf_function(btf, "bpf_lsm_file_receive");
	attach.raw_tracepoint.prog_fd = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));
	if ((int)attach.raw_tracepoint.prog_fd < 0)
		return -1;
	link = syscall(SYS_bpf, BPF_RAW_TRACEPOINT_OPEN, &attach, sizeof(attach));
	close(attach.raw_tracepoint.prog_fd);
	return link;
}

/* Is what such a module says heeded here, by Unix sockets for one? */
static bool modules_work(void)
{
	int file = eventfd(0, EFD_CLOEXEC), module = forbid_files(getpid()), socket[2], fd;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socket))
		err(1, "socketpair");
	pass(socket[0], file);
	fd = taken(socket[1]);
	close(module);
	close(fd);
	close(socket[0]);
	close(socket[1]);
	close(file);
	return fd < 0;
}

static long run_get_file(struct party *me)
{
	unsigned int n = 1;
	int fd;

	return chanfd_recv_fds(me->fd, &me->value, 8, &fd, &n, NULL, NULL);
}

/* What one forbids stays in the channel, for whoever may have it. */
TEST_F(fds, security_module)
{
	int file = eventfd(0, EFD_CLOEXEC), module, fd;
	unsigned int open;
	struct party *p;
	uint64_t v;

	if (!modules_work())
		SKIP(return, "this kernel takes no security modules of BPF");
	p = party_start(party_new(variant->process, run_get_file, self->get));
	ASSERT_TRUE(receivers_wait(self->get, 1));
	module = forbid_files(variant->process ? p->tid : getpid());
	ASSERT_LE(0, module);
	open = open_descriptors();
	ASSERT_EQ(0, put_fd(self->put, 5, file));
	EXPECT_EQ(EACCES, errno_of(party_join(p)));
	EXPECT_EQ(open, open_descriptors());
	EXPECT_EQ(1, info_of(self->get).len);
	EXPECT_EQ(1, info_of(self->get).files);
	EXPECT_EQ(1, info_of(self->get).returned);
	close(module);

	fd = get_fd(self->get, &v);
	ASSERT_LE(0, fd);
	EXPECT_EQ(5, v);
	EXPECT_TRUE(same_file(file, fd));
	close(fd);
	close(file);
}

/* Memory that nobody can change */

static char byte_at(size_t i)
{
	return i * 7 + i / 4096;
}

static long run_check_memory(struct party *me)
{
	size_t size, i;
	const char *data;
	const void *mem;

	if (chanfd_recv_memfd(me->fd, &mem, &size, NULL) != 1)
		return -1;
	data = mem;
	me->value = size;
	for (i = 0; i < size; i++)
		if (data[i] != byte_at(i))
			return -1;
	return size ? munmap((void *)mem, size) : 0;
}

TEST_F(fds, memory)
{
	static const size_t sizes[] = { 0, 1, 4096, 300000 };
	static char data[300000];
	struct party *p;
	const void *mem;
	size_t size;
	int ch[2], many[CHANFD_MAX_FDS], fd, next;
	unsigned int i;

	for (i = 0; i < sizeof(data); i++)
		data[i] = byte_at(i);
	ASSERT_EQ(0, chanfd_channel_pair(ch, 0, 4, CHANFD_FDS, "memory"));
	for (i = 0; i < 4; i++) {
		p = party_start(party_new(variant->process, run_check_memory, ch[0]));
		EXPECT_EQ(0, chanfd_send_memfd(ch[1], data, sizes[i], NULL));
		EXPECT_EQ(0, party_join(p));
		EXPECT_EQ(sizes[i], p->value);
	}
	EXPECT_EQ(EAGAIN, errno_of(chanfd_recv_memfd(ch[0], &mem, &size, &nonblock)));

	/* What might change below its reader, or is something else. */
	fd = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ASSERT_EQ(0, chanfd_send_fds(ch[1], NULL, 0, &fd, 1, NULL));
	EXPECT_EQ(EBADMSG, errno_of(chanfd_recv_memfd(ch[0], &mem, &size, &nonblock)));
	ASSERT_EQ(0, chanfd_send_fds(ch[1], NULL, 0, &ch[1], 1, NULL));
	EXPECT_EQ(EBADMSG, errno_of(chanfd_recv_memfd(ch[0], &mem, &size, &nonblock)));
	ASSERT_EQ(0, chanfd_send_fds(ch[1], NULL, 0, NULL, 0, NULL));
	EXPECT_EQ(EBADMSG, errno_of(chanfd_recv_memfd(ch[0], &mem, &size, &nonblock)));
	for (i = 0; i < CHANFD_MAX_FDS; i++)
		many[i] = fd;
	ASSERT_EQ(0, chanfd_send_fds(ch[1], NULL, 0, many, CHANFD_MAX_FDS, NULL));
	next = dup(fd);
	close(next);
	EXPECT_EQ(EBADMSG, errno_of(chanfd_recv_memfd(ch[0], &mem, &size, &nonblock)));
	EXPECT_EQ(next, dup(fd));
	close(next);
	EXPECT_EQ(0, chanfd_close(ch[1], 0));
	EXPECT_EQ(0, chanfd_recv_memfd(ch[0], &mem, &size, &nonblock));
	EXPECT_EQ(0, info_of(ch[0]).leased);
	close(fd);
	close(ch[0]);
	close(ch[1]);
}

/*
 * The storm: senders and receivers of files, killed at random instants. In the end nothing
 * is open that was not before.
 */

enum { STORM_PARTIES = 6, STORM_KILLS = 150 };

static long run_storm(struct party *me)
{
	struct chanfd_outcome out;
	unsigned int seed = getpid();
	int fds[CHANFD_MAX_FDS], i;
	uint64_t v;

	for (;;) {
		unsigned int n = rand_r(&seed) % (CHANFD_MAX_FDS + 1);
		struct chanfd_parcel p = {
			.buf = (uintptr_t)&v, .size = 8, .fds = (uintptr_t)fds, .nr_fds = n,
		};
		struct chanfd_case c;

		if (me->value) {
			for (i = 0; i < (int)n; i++)
				fds[i] = eventfd(0, EFD_CLOEXEC);
			c = CHANFD_SEND_PARCEL(((int *)me->arg)[1], &p);
		} else {
			p.nr_fds = CHANFD_MAX_FDS;
			p.flags = rand_r(&seed) % 2 ? CHANFD_LEASED : 0;
			p.lease = p.flags ? -1 : 0;
			c = CHANFD_RECV_PARCEL(((int *)me->arg)[0], &p);
		}
		if (chanfd_select(&c, 1, NULL, &out) < 0 || out.error)
			return -1;
		for (i = 0; i < (int)p.nr_fds; i++)
			close(fds[i]);
		if (p.flags) {
			if (rand_r(&seed) % 2)
				chanfd_commit(p.lease);
			close(p.lease);
		}
	}
}

static struct party *storm_start(int *ch, bool sends)
{
	struct party *p = party_new(true, run_storm, -1);

	p->arg = ch;
	p->value = sends;
	return party_start(p);
}

TEST_F(fds, storm)
{
	struct party *p[STORM_PARTIES];
	unsigned int seed = now(), i, n;
	long before = files_open();
	int *ch = shared(2 * sizeof(int));
	int witness[2];

	if (!variant->process)
		SKIP(return, "threads cannot be killed one by one");
	TH_LOG("seed %u", seed);
	make_carrier(ch, 8);
	make_witness(witness);
	for (i = 0; i < STORM_PARTIES; i++)
		p[i] = storm_start(ch, i % 2);
	for (n = 0; n < STORM_KILLS; n++) {
		pause_for(rand_r(&seed) % (2 * MSEC));
		i = rand_r(&seed) % STORM_PARTIES;
		party_kill(p[i]);
		p[i] = storm_start(ch, i % 2);
	}
	for (i = 0; i < STORM_PARTIES; i++)
		party_kill(p[i]);
	TH_LOG("%llu sent, %llu returned", info_of(ch[0]).sent, info_of(ch[0]).returned);
	EXPECT_TRUE(eventually(!info_of(ch[0]).leased));
	EXPECT_TRUE(conserved(ch[0]));
	close(ch[0]);
	close(ch[1]);
	close(witness[0]);
	close(witness[1]);
	EXPECT_TRUE(eventually(handles_open() == self->handles + 2));
	/* What the test shares with each party is a file, too. */
	EXPECT_TRUE(eventually(files_open() < before + about() + STORM_PARTIES + STORM_KILLS));
}

TEST_HARNESS_MAIN
