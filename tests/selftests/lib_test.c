// SPDX-License-Identifier: GPL-2.0
/*
 * What the library adds to the ioctls: types, scopes, select in C, handing over,
 * and help with the first mistake.
 */
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "helpers.h"

struct job {
	int id;
	char path[20];
};

/* Waits, but not for ever. */
#define SOON CHANFD_OPT(-1, 0, chanfd_deadline(BOUND))
#define NOW CHANFD_OPT(-1, CHANFD_NONBLOCK, 0)

static uint64_t id_of(int fd)
{
	struct chanfd_info info;

	if (chanfd_info(fd, &info))
		err(1, "chanfd_info");
	return info.id;
}

/* The other end of a handle's object, as far as this process holds it open. */
static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* Types */

TEST(make_of_a_type)
{
	int ch = chanfd_make(struct job, 8);
	struct chanfd_info info;

	ASSERT_LE(0, ch);
	EXPECT_EQ(sizeof(struct job), info_of(ch).elem_size);
	EXPECT_EQ(8, chanfd_cap(ch));
	EXPECT_EQ(0, chanfd_len(ch));
	ASSERT_EQ(0, chanfd_info(ch, &info));
	EXPECT_STREQ("struct job", (char *)info.name);
	EXPECT_EQ(FD_CLOEXEC, fcntl(ch, F_GETFD));
}

TEST(put_and_get)
{
	const struct job sent = { 7, "seven" };
	int ch = chanfd_make(struct job, 2);
	struct job got;

	ASSERT_LE(0, ch);
	EXPECT_EQ(0, chanfd_put(ch, sent, NULL));
	EXPECT_EQ(0, chanfd_put(ch, ((struct job){ 8, "eight" }), NULL));
	EXPECT_EQ(2, chanfd_len(ch));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_put(ch, sent, NOW)));
	ASSERT_EQ(1, chanfd_get(ch, &got, NULL));
	EXPECT_EQ(7, got.id);
	EXPECT_STREQ("seven", got.path);
	ASSERT_EQ(1, chanfd_get(ch, &got, NULL));
	EXPECT_EQ(8, got.id);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_get(ch, &got, NOW)));
}

static int count(void)
{
	static int n;

	return ++n;
}

TEST(put_evaluates_once)
{
	int ch = chanfd_make(int, 2), got = 0;

	ASSERT_LE(0, ch);
	EXPECT_EQ(0, chanfd_put(ch, count(), NULL));
	EXPECT_EQ(2, count());
	ASSERT_EQ(1, chanfd_get(ch, &got, NULL));
	EXPECT_EQ(1, got);
}

/* The size is what tells types apart at run time. */
TEST(another_type)
{
	int ch = chanfd_make(long, 1);
	short too_small = 5;
	long got = 0;

	ASSERT_LE(0, ch);
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_put(ch, 1, NULL)));
	EXPECT_EQ(0, chanfd_len(ch));
	EXPECT_EQ(0, chanfd_put(ch, 1L, NULL));
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_get(ch, &too_small, NULL)));
	EXPECT_EQ(5, too_small);
	ASSERT_EQ(1, chanfd_get(ch, &got, NULL));
	EXPECT_EQ(1, got);
}

/* C33 */
TEST(range)
{
	int ch = chanfd_make(int, 4), sum = 0, n;

	ASSERT_LE(0, ch);
	for (n = 1; n <= 4; n++)
		ASSERT_EQ(0, chanfd_put(ch, n, NULL));
	ASSERT_EQ(0, chanfd_close(ch, 0));
	n = 0;
	while (chanfd_get(ch, &n, NULL) == 1)
		sum += n;
	EXPECT_EQ(10, sum);
	/* The end is not a value. */
	EXPECT_EQ(4, n);
	EXPECT_EQ(0, chanfd_get(ch, &n, NULL));
}

TEST(batch)
{
	int numbers[] = { 10, 11, 12 }, got[4] = { 0 };
	int ch = chanfd_make(int, 4);
	struct chanfd_received r;
	uint64_t seq = 99;

	ASSERT_LE(0, ch);
	ASSERT_EQ(0, chanfd_put(ch, 9, NULL));
	EXPECT_EQ(3, chanfd_send_batch(ch, numbers, sizeof(numbers), NULL, 3,
				       NULL, &seq));
	EXPECT_EQ(1, seq);
	ASSERT_EQ(1, chanfd_get(ch, &got[0], NULL));
	ASSERT_EQ(3, chanfd_recv_batch(ch, got, sizeof(got), NULL, 4, NULL, &r));
	EXPECT_EQ(0, memcmp(numbers, got, sizeof(numbers)));
	EXPECT_EQ(sizeof(numbers), r.size);
	EXPECT_EQ(1, r.seq);
}

TEST(name_is_cut)
{
	struct chanfd_info info;
	int ch = chanfd_channel(1, 0, 0, "a name of 25 characters..");

	ASSERT_LE(0, ch);
	ASSERT_EQ(0, chanfd_info(ch, &info));
	EXPECT_STREQ("a name of 25 ch", (char *)info.name);
}

/* What returns one handle does not lose another. */
TEST(a_pair_is_asked_for_by_name)
{
	int before = open_fds();

	EXPECT_EQ(EINVAL, errno_of(chanfd_channel(1, 0, CHANFD_PAIR, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_waitgroup(CHANFD_PAIR, NULL)));
	EXPECT_EQ(before, open_fds());
}

TEST(sizes_are_not_truncated)
{
	int ch = chanfd_make(int, 1), ctx = chanfd_context(-1), value = 0;
	const size_t wraps_to_4 = (1ULL << 32) + 4;

	ASSERT_LE(0, ch);
	ASSERT_LE(0, ctx);
	EXPECT_EQ(EINVAL, errno_of(chanfd_channel(wraps_to_4, 0, 0, NULL)));
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_send(ch, &value, wraps_to_4, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_context_value(ctx, "k", &value, wraps_to_4)));
	EXPECT_EQ(0, chanfd_len(ch));
}

/* C8: never a wait for nothing. */
TEST(no_descriptor)
{
	struct chanfd_channel_info info;
	char byte = 0;

	EXPECT_EQ(EBADF, errno_of(chanfd_send(-1, &byte, 1, NULL)));
	EXPECT_EQ(EBADF, errno_of(chanfd_recv(-1, &byte, 1, NULL, NULL)));
	EXPECT_EQ(EBADF, errno_of(chanfd_close(-1, 0)));
	EXPECT_EQ(EBADF, errno_of(chanfd_close_once(-1, 0)));
	EXPECT_EQ(EBADF, errno_of(chanfd_channel_info(-1, &info)));
	EXPECT_EQ(EBADF, errno_of(chanfd_len(-1)));
	EXPECT_EQ(EBADF, errno_of(chanfd_reduce(-1, CHANFD_READ)));
	EXPECT_EQ(EBADF, errno_of(chanfd_wg_add(-1, 1)));
	EXPECT_EQ(EBADF, errno_of(chanfd_wg_wait(-1, NULL, NULL)));
	EXPECT_EQ(EBADF, errno_of(chanfd_wg_wait_broken(-1, 0, NULL, NULL)));
	EXPECT_EQ(EBADF, errno_of(chanfd_token_done(-1, 0)));
	EXPECT_EQ(EBADF, errno_of(chanfd_cancel(-1, 0, NULL)));
	EXPECT_EQ(EBADF, errno_of(chanfd_context_err(-1)));
	EXPECT_EQ(EBADF, errno_of(chanfd_context_wait(-1, NULL)));
	EXPECT_EQ(EBADF, errno_of(chanfd_context_drained(-1, NULL)));
}

/* The library keeps no descriptor that a program could close or replace. */
TEST(all_descriptors_replaced)
{
	int ch, fd;

	ASSERT_LE(0, chanfd_make(int, 0));
	for (fd = 3; fd < 20; fd++)
		ASSERT_EQ(fd, dup2(STDIN_FILENO, fd));
	ch = chanfd_make(int, 1);
	ASSERT_LE(0, ch);
	EXPECT_EQ(0, chanfd_put(ch, 1, NULL));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_select(NULL, 0, NOW, NULL)));
}

static void *make_cancelled(void *arg)
{
	int *fd = arg;

	pthread_cancel(pthread_self());
	*fd = chanfd_make(int, 0);
	pthread_testcancel();
	return NULL;
}

/* A thread that is to end does so before or after, not with a handle half made. */
TEST(cancelled_thread)
{
	int fd = -1, before = open_fds();
	pthread_t thread;
	void *result;

	ASSERT_EQ(0, pthread_create(&thread, NULL, make_cancelled, &fd));
	ASSERT_EQ(0, pthread_join(thread, &result));
	EXPECT_EQ(PTHREAD_CANCELED, result);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, close(fd));
	EXPECT_EQ(before, open_fds());
}

/* Closing once */

#define CLOSERS		4
#define CHANNELS	100

struct contest {
	int gate;
	int ch[CHANNELS];
};

static long run_close_all(struct party *me)
{
	struct contest *contest = me->arg;
	int i, ret, won = 0;
	char none;

	chanfd_recv(contest->gate, &none, 0, NULL, NULL);
	for (i = 0; i < CHANNELS; i++) {
		ret = chanfd_close_once(contest->ch[i], EIO);
		if (ret < 0)
			return ret;
		won += ret;
	}
	return won;
}

TEST(close_once)
{
	struct contest *contest = shared(sizeof(*contest));
	struct party *p[CLOSERS];
	long won, sum = 0;
	int i;

	contest->gate = chanfd_channel(0, 0, 0, "gate");
	ASSERT_LE(0, contest->gate);
	for (i = 0; i < CHANNELS; i++) {
		contest->ch[i] = chanfd_channel(1, 0, 0, NULL);
		ASSERT_LE(0, contest->ch[i]);
	}
	for (i = 0; i < CLOSERS; i++) {
		p[i] = party_new(i % 2, run_close_all, -1);
		p[i]->arg = contest;
		party_start(p[i]);
	}
	ASSERT_TRUE(receivers_wait(contest->gate, CLOSERS));
	ASSERT_EQ(1, chanfd_close_once(contest->gate, 0));
	for (i = 0; i < CLOSERS; i++) {
		won = party_join(p[i]);
		ASSERT_LE(0, won);
		sum += won;
	}
	EXPECT_EQ(CHANNELS, sum);
	/* And whoever comes late is told so, without an error left behind. */
	errno = EDOM;
	EXPECT_EQ(0, chanfd_close_once(contest->ch[0], 0));
	EXPECT_EQ(EDOM, errno);
	EXPECT_EQ(EIO, info_of(contest->ch[0]).cause);
}

/* Scope */

TEST(auto_closes)
{
	int copy;

	{
		chanfd_auto int ch = chanfd_make(int, 0);

		ASSERT_LE(0, ch);
		copy = ch;
		errno = EDOM;
	}
	EXPECT_EQ(EDOM, errno);
	EXPECT_FALSE(is_open(copy));
}

static void close_at_end(int fd)
{
	chanfd_auto int closed = fd;

	errno = closed == fd ? EDOM : 0;
}

static void cancel_at_end(int fd)
{
	chanfd_auto_cancel int cancelled = fd;

	errno = cancelled == fd ? ERANGE : 0;
}

/* What fails there, or is not to be done at all, is nobody's business. */
TEST(auto_keeps_errno)
{
	ASSERT_FALSE(is_open(1000));
	close_at_end(1000);
	EXPECT_EQ(EDOM, errno);
	cancel_at_end(1000);
	EXPECT_EQ(ERANGE, errno);
	close_at_end(-1);
	EXPECT_EQ(EDOM, errno);
	cancel_at_end(-1);
	EXPECT_EQ(ERANGE, errno);
}

static int keep(int *fd)
{
	int kept = *fd;

	*fd = -1;
	return kept;
}

TEST(auto_may_be_kept)
{
	int kept;

	{
		chanfd_auto int ch = chanfd_make(int, 0);

		kept = keep(&ch);
	}
	EXPECT_TRUE(is_open(kept));
}

static int leave_early(int *observer)
{
	chanfd_auto_cancel int ctx = chanfd_context(-1);

	/* Not the last one who could cancel: it takes the call to end it. */
	*observer = chanfd_reduce(ctx, CHANFD_READ | CHANFD_WRITE);
	if (chanfd_context_err(ctx) == 0)
		return ctx;
	return -1;
}

TEST(auto_cancels)
{
	struct chanfd_context_info info;
	int observer = -1;
	int ctx = leave_early(&observer);

	ASSERT_LE(0, ctx);
	EXPECT_FALSE(is_open(ctx));
	ASSERT_EQ(0, chanfd_context_info(observer, &info));
	EXPECT_EQ(ECANCELED, info.error);
	EXPECT_EQ(ECANCELED, info.cause);
}

/* Deadlines */

TEST(deadline)
{
	uint64_t before = now();
	uint64_t past = chanfd_deadline(-CHANFD_MILLISECOND);
	uint64_t present = chanfd_deadline(0);
	uint64_t soon = chanfd_deadline(CHANFD_SECOND);
	uint64_t after = now();

	EXPECT_LE(before - MSEC, past);
	EXPECT_GE(after - MSEC, past);
	EXPECT_LE(before, present);
	EXPECT_GE(after, present);
	EXPECT_LE(before + SEC, soon);
	EXPECT_GE(after + SEC, soon);
	/* Not zero, which is no deadline, and not past the end of time. */
	EXPECT_EQ(1, chanfd_deadline(INT64_MIN));
	EXPECT_EQ(1, chanfd_deadline(-INT64_MAX));
	EXPECT_EQ(INT64_MAX, chanfd_deadline(INT64_MAX));
}

TEST(deadline_is_kept)
{
	int ch = chanfd_make(int, 0), got;
	uint64_t until = chanfd_deadline(20 * CHANFD_MILLISECOND);

	ASSERT_LE(0, ch);
	EXPECT_EQ(ETIMEDOUT, errno_of(chanfd_get(ch, &got, CHANFD_OPT(-1, 0, until))));
	EXPECT_LE(until, now());
}

/* Contexts */

TEST(context_timeout)
{
	int past = chanfd_context_timeout(-1, 0);
	int late = chanfd_context_timeout(-1, 3600 * CHANFD_SECOND);

	ASSERT_LE(0, past);
	ASSERT_LE(0, late);
	EXPECT_EQ(ETIMEDOUT, chanfd_context_err(past));
	EXPECT_EQ(0, chanfd_context_err(late));
	EXPECT_EQ(0, chanfd_context_wait(past, NULL));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_context_wait(late, NOW)));
	/* A deadline that somebody forgot to compute is not none. */
	EXPECT_EQ(EINVAL, errno_of(chanfd_context_deadline(-1, 0)));
}

TEST(context_value)
{
	chanfd_auto_cancel int root = chanfd_context(-1);
	chanfd_auto int low = chanfd_context_value(root, "trace", "abc", 4);
	chanfd_auto int full = chanfd_context_value(low, "sixteen letters.", NULL, 0);
	char buf[8] = "";

	ASSERT_LE(0, root);
	ASSERT_LE(0, low);
	ASSERT_LE(0, full);
	EXPECT_EQ(4, chanfd_value(full, "trace", buf, sizeof(buf)));
	EXPECT_STREQ("abc", buf);
	EXPECT_EQ(0, chanfd_value(full, "sixteen letters.", NULL, 0));
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_value(low, "trace", buf, 3)));
	EXPECT_EQ(ENOENT, errno_of(chanfd_value(low, "trac", buf, sizeof(buf))));
	EXPECT_EQ(ENOENT, errno_of(chanfd_value(root, "trace", buf, sizeof(buf))));
	EXPECT_EQ(EINVAL, errno_of(chanfd_value(low, "seventeen letters", buf, 8)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_value(low, "", buf, 8)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_context_value(root, NULL, "", 1)));
}

TEST(context_is_empty_to_begin_with)
{
	struct chanfd_context c = CHANFD_CONTEXT_INIT;

	ASSERT_EQ(0, chanfd_context_make(&c));
	EXPECT_LE(0, c.fd[0]);
	EXPECT_EQ(-1, c.fd[1]);
	EXPECT_EQ(0, chanfd_context_err(c.fd[0]));
}

/* What the kernel would not keep open is watched through an epoll instance. */
TEST(bind_to_a_unix_socket)
{
	struct chanfd_context_info info;
	int ctx = chanfd_context(-1);
	int sock[2], before;

	ASSERT_LE(0, ctx);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock));
	before = open_fds();
	ASSERT_EQ(0, chanfd_context_bind(ctx, sock[0], POLLIN, EHOSTDOWN));
	EXPECT_EQ(before, open_fds());
	EXPECT_EQ(0, chanfd_context_err(ctx));
	close(sock[1]);
	ASSERT_EQ(0, chanfd_context_wait(ctx, SOON));
	ASSERT_EQ(0, chanfd_context_info(ctx, &info));
	EXPECT_EQ(EHOSTDOWN, info.cause);
}

TEST(bind_to_a_channel)
{
	int ctx = chanfd_context(-1), ch = chanfd_make(int, 1);

	ASSERT_LE(0, ctx);
	ASSERT_LE(0, ch);
	ASSERT_EQ(0, chanfd_context_bind(ctx, ch, POLLIN, 0));
	EXPECT_EQ(0, chanfd_context_err(ctx));
	ASSERT_EQ(0, chanfd_put(ch, 1, NULL));
	EXPECT_EQ(0, chanfd_context_wait(ctx, SOON));
}

TEST(bind_to_a_signalfd)
{
	int ctx = chanfd_context(-1), before, fd;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	ASSERT_LE(0, ctx);
	ASSERT_LE(0, fd);
	before = open_fds();
	EXPECT_EQ(EOPNOTSUPP, errno_of(chanfd_context_bind(ctx, fd, POLLIN, 0)));
	EXPECT_EQ(before, open_fds());
}

/* Select */

TEST(cases)
{
	struct job job;
	char buf[7];
	struct chanfd_case c[] = {
		CHANFD_SEND(1), CHANFD_SEND(2, &job), CHANFD_SEND(3, buf, 5),
		CHANFD_RECV(4), CHANFD_RECV(5, &job), CHANFD_RECV(6, buf, 7),
		CHANFD_WAIT(7), CHANFD_BROKEN(8, 3), CHANFD_DONE(9),
		CHANFD_DRAINED(10), CHANFD_POLL(11, POLLIN | POLLPRI),
	};
	const struct {
		unsigned int op, flags, size;
		void *buf;
	} want[] = {
		{ CHANFD_CASE_SEND, 0, 0, NULL },
		{ CHANFD_CASE_SEND, 0, sizeof(job), &job },
		{ CHANFD_CASE_SEND, 0, 5, buf },
		{ CHANFD_CASE_RECV, 0, 0, NULL },
		{ CHANFD_CASE_RECV, 0, sizeof(job), &job },
		{ CHANFD_CASE_RECV, 0, 7, buf },
		{ CHANFD_CASE_WAIT, 0, 0, NULL },
		{ CHANFD_CASE_WAIT, CHANFD_CASE_BROKEN, 3, NULL },
		{ CHANFD_CASE_DONE, 0, 0, NULL },
		{ CHANFD_CASE_DRAINED, 0, 0, NULL },
		{ CHANFD_CASE_POLL, 0, POLLIN | POLLPRI, NULL },
	};
	int i;

	for (i = 0; i < (int)ARRAY_SIZE(want); i++) {
		EXPECT_EQ(i + 1, c[i].fd);
		EXPECT_EQ(want[i].op, c[i].op);
		EXPECT_EQ(want[i].flags, c[i].flags);
		EXPECT_EQ(want[i].size, c[i].size);
		EXPECT_EQ((uintptr_t)want[i].buf, c[i].buf);
		EXPECT_EQ(0, c[i].reserved);
	}
}

TEST(select_in_c)
{
	int jobs = chanfd_make(struct job, 1), other = chanfd_make(int, 0);
	int ctx = chanfd_context(-1);
	struct chanfd_outcome out;
	struct job job;
	int number, *p = &number;

	ASSERT_LE(0, jobs);
	ASSERT_LE(0, other);
	ASSERT_LE(0, ctx);
	poison(&out);
	EXPECT_EQ(2, chanfd_select_of(NULL, &out, CHANFD_RECV(other, p++),
				      CHANFD_DONE(ctx),
				      CHANFD_SEND(jobs, (&(struct job){ 3, "c" }))));
	/* An argument is evaluated once. */
	EXPECT_EQ(&number + 1, p);
	EXPECT_EQ(2, out.index);
	EXPECT_EQ(0, out.error);
	EXPECT_EQ(0, out.number);

	switch (chanfd_select_of(NULL, &out, CHANFD_DONE(ctx), CHANFD_RECV(jobs, &job))) {
	case 1:
		EXPECT_EQ(1, out.ok);
		EXPECT_EQ(sizeof(job), out.size);
		EXPECT_EQ(3, job.id);
		break;
	default:
		ASSERT_TRUE(false);
	}
	EXPECT_EQ(EAGAIN, errno_of(chanfd_select_of(NOW, &out, CHANFD_DONE(ctx),
						    CHANFD_RECV(jobs))));
	ASSERT_EQ(0, chanfd_cancel(ctx, 1234, "why"));
	EXPECT_EQ(0, chanfd_select_of(NULL, &out, CHANFD_DONE(ctx), CHANFD_RECV(jobs)));
	EXPECT_EQ(1234, out.status);
}

/* An error is not lost, whether or not somebody asks for the outcome. */
TEST(select_fails)
{
	struct chanfd_outcome out;
	int ch = chanfd_make(int, 1), none = -1, value = 1;

	ASSERT_LE(0, ch);
	ASSERT_EQ(0, chanfd_close(ch, EIO));
	EXPECT_EQ(1, chanfd_select_of(NULL, &out, CHANFD_RECV(none, &value),
				      CHANFD_SEND(ch, &value)));
	EXPECT_EQ(EPIPE, out.error);
	EXPECT_EQ(EPIPE, errno_of(chanfd_select_of(NULL, NULL, CHANFD_SEND(ch, &value))));
	EXPECT_EQ(EIO, errno_of(chanfd_select_of(NULL, NULL, CHANFD_RECV(ch, &value))));
}

TEST(select_without_a_handle)
{
	struct chanfd_outcome out;
	int before, end[2];

	ASSERT_EQ(0, pipe(end));
	before = open_fds();
	EXPECT_EQ(1, chanfd_select_of(NULL, &out, CHANFD_POLL(end[0], POLLIN),
				      CHANFD_POLL(end[1], POLLOUT)));
	EXPECT_EQ(POLLOUT, out.size);
	/* No case at all: S6, but not for ever. */
	EXPECT_EQ(ETIMEDOUT, errno_of(chanfd_select(NULL, 0,
						    CHANFD_OPT(-1, 0, chanfd_deadline(0)),
						    NULL)));
	EXPECT_EQ(before, open_fds());
}

/* The error does not depend on which descriptor carries the call. */
TEST(select_of_something_else)
{
	int ch = chanfd_make(int, 1), end[2], n;

	ASSERT_LE(0, ch);
	ASSERT_EQ(0, pipe(end));
	EXPECT_EQ(EINVAL, errno_of(chanfd_select_of(NOW, NULL, CHANFD_RECV(end[0], &n),
						    CHANFD_RECV(ch, &n))));
	EXPECT_EQ(EINVAL, errno_of(chanfd_select_of(NOW, NULL, CHANFD_RECV(ch, &n),
						    CHANFD_RECV(end[0], &n))));
	EXPECT_EQ(EINVAL, errno_of(chanfd_wg_wait(end[0], NULL, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_context_wait(ch, NULL)));
	EXPECT_EQ(EBADF, errno_of(chanfd_select_of(NOW, NULL, CHANFD_RECV(ch, &n),
						   CHANFD_RECV(1000, &n))));
}

/* Handing over a socket */

/* As it is on the wire. */
struct message {
	char magic[8];
	char name[CHANFD_HAND_MAX][16];
	char more;	/* does not belong to it */
};

#define MESSAGE_SIZE offsetof(struct message, more)
#define MOST_FDS 253

FIXTURE(hand) {
	int sock[2];
	int ch;
	int before;
};

FIXTURE_VARIANT(hand) {
	int type;
};

FIXTURE_VARIANT_ADD(hand, stream) { .type = SOCK_STREAM };
FIXTURE_VARIANT_ADD(hand, seqpacket) { .type = SOCK_SEQPACKET };
FIXTURE_VARIANT_ADD(hand, dgram) { .type = SOCK_DGRAM };

FIXTURE_SETUP(hand)
{
	ASSERT_EQ(0, socketpair(AF_UNIX, variant->type | SOCK_CLOEXEC, 0, self->sock));
	self->ch = chanfd_make(int, 8);
	ASSERT_LE(0, self->ch);
	self->before = open_fds();
}

FIXTURE_TEARDOWN(hand)
{
}

TEST_F(hand, names_and_order)
{
	int wg = chanfd_waitgroup(0, NULL), fds[] = { self->ch, wg, self->ch };
	const char *const names[] = { "jobs", NULL, "fifteen letters" };
	char got[4][16];
	int taken[4];

	ASSERT_LE(0, wg);
	ASSERT_EQ(0, chanfd_hand(self->sock[0], fds, 3, names));
	poison(&got);
	ASSERT_EQ(3, chanfd_take(self->sock[1], taken, 4, got));
	EXPECT_STREQ("jobs", got[0]);
	EXPECT_STREQ("", got[1]);
	EXPECT_STREQ("fifteen letters", got[2]);
	EXPECT_EQ(id_of(self->ch), id_of(taken[0]));
	EXPECT_EQ(id_of(wg), id_of(taken[1]));
	EXPECT_EQ(id_of(self->ch), id_of(taken[2]));
	EXPECT_EQ(FD_CLOEXEC, fcntl(taken[0], F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(taken[2], F_GETFD));
}

static long run_take_and_send(struct party *me)
{
	int ch;

	if (chanfd_take(me->fd, &ch, 1, NULL) != 1)
		return -1;
	return chanfd_put(ch, 42, SOON);
}

/* The receiver has nothing of the channel's but what it is handed. */
TEST_F(hand, to_another_process)
{
	struct party *p = party_start(party_new(true, run_take_and_send, self->sock[1]));
	int ch = chanfd_make(int, 0), got = 0;

	ASSERT_LE(0, ch);
	ASSERT_EQ(0, chanfd_hand(self->sock[0], &ch, 1, NULL));
	ASSERT_EQ(1, chanfd_get(ch, &got, SOON));
	EXPECT_EQ(42, got);
	EXPECT_EQ(0, party_join(p));
}

TEST_F(hand, as_many_as_it_holds)
{
	int fds[CHANFD_HAND_MAX + 1], taken[CHANFD_HAND_MAX], i;

	for (i = 0; i < (int)ARRAY_SIZE(fds); i++)
		fds[i] = self->ch;
	EXPECT_EQ(EINVAL, errno_of(chanfd_hand(self->sock[0], fds, ARRAY_SIZE(fds), NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_hand(self->sock[0], fds, 0, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_hand(self->sock[0], fds, UINT32_MAX, NULL)));
	ASSERT_EQ(0, chanfd_hand(self->sock[0], fds, CHANFD_HAND_MAX, NULL));
	ASSERT_EQ(CHANFD_HAND_MAX, chanfd_take(self->sock[1], taken, CHANFD_HAND_MAX, NULL));
	EXPECT_EQ(self->before + CHANFD_HAND_MAX, open_fds());
	EXPECT_EQ(id_of(self->ch), id_of(taken[CHANFD_HAND_MAX - 1]));
}

TEST_F(hand, what_cannot_be_handed)
{
	const char *const name = "sixteen letters.";
	int closed = 1000;

	ASSERT_FALSE(is_open(closed));
	EXPECT_EQ(EBADF, errno_of(chanfd_hand(self->sock[0], &closed, 1, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_hand(self->sock[0], &self->ch, 1, &name)));
	EXPECT_EQ(ENOTSOCK, errno_of(chanfd_hand(self->ch, &self->ch, 1, NULL)));
	/* And nothing of it has arrived. */
	ASSERT_EQ(0, fcntl(self->sock[1], F_SETFL, O_NONBLOCK));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_take(self->sock[1], &closed, 1, NULL)));
}

/* Two in a row stay two, and bytes around them stay where they are. */
TEST_F(hand, among_other_data)
{
	int other = chanfd_make(int, 0), a = -1, b = -1;
	char text[8] = "";

	ASSERT_LE(0, other);
	ASSERT_EQ(3, write(self->sock[0], "abc", 3));
	ASSERT_EQ(0, chanfd_hand(self->sock[0], &self->ch, 1, NULL));
	ASSERT_EQ(0, chanfd_hand(self->sock[0], &other, 1, NULL));
	ASSERT_EQ(3, write(self->sock[0], "def", 3));
	ASSERT_EQ(3, read(self->sock[1], text, 3));
	EXPECT_STREQ("abc", text);
	ASSERT_EQ(1, chanfd_take(self->sock[1], &a, 1, NULL));
	ASSERT_EQ(1, chanfd_take(self->sock[1], &b, 1, NULL));
	EXPECT_EQ(id_of(self->ch), id_of(a));
	EXPECT_EQ(id_of(other), id_of(b));
	ASSERT_EQ(3, read(self->sock[1], text, 3));
	EXPECT_STREQ("def", text);
}

/* SIGPIPE would end the test. */
TEST_F(hand, to_nobody)
{
	int fd;

	if (variant->type == SOCK_DGRAM)
		SKIP(return, "a datagram socket knows of no peer");
	close(self->sock[1]);
	EXPECT_EQ(EPIPE, errno_of(chanfd_hand(self->sock[0], &self->ch, 1, NULL)));
	EXPECT_EQ(0, chanfd_take(self->sock[0], &fd, 1, NULL));
}

/* In flight it counts as alive (Z3), and if nobody takes it, no longer. */
TEST_F(hand, on_its_way)
{
	int fd[2], got, taken;

	ASSERT_EQ(0, chanfd_channel_pair(fd, sizeof(int), 0, 0, NULL));
	ASSERT_EQ(0, chanfd_hand(self->sock[0], &fd[1], 1, NULL));
	ASSERT_EQ(0, chanfd_hand(self->sock[0], &fd[1], 1, NULL));
	close(fd[1]);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_get(fd[0], &got, NOW)));
	ASSERT_EQ(1, chanfd_take(self->sock[1], &taken, 1, NULL));
	close(taken);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_get(fd[0], &got, NOW)));
	close(self->sock[0]);
	close(self->sock[1]);
	EXPECT_EQ(ECONNRESET, errno_of(chanfd_get(fd[0], &got, SOON)));
}

static void send_raw(int sock, const struct message *message, size_t size, int fd,
		     unsigned int nr_fds)
{
	union {
		struct cmsghdr header;
		char buf[CMSG_SPACE(MOST_FDS * sizeof(int))];
	} control = { .buf = { 0 } };
	struct iovec iov = { (void *)message, size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	unsigned int i;

	if (nr_fds) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		for (i = 0; i < nr_fds; i++)
			memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &fd,
			       sizeof(fd));
	}
	if (sendmsg(sock, &msg, 0) != (ssize_t)size)
		err(1, "sendmsg");
}

/* Whatever comes, no descriptor is left behind. */
TEST_F(hand, hostile)
{
	static const struct message good = { .magic = "chanfd\0\1" };
	struct message magic = good, name = good;
	const struct {
		const char *what;
		const struct message *message;
		size_t size;
		unsigned int nr_fds;
	} rows[] = {
		{ "nothing like it", &magic, MESSAGE_SIZE, 1 },
		{ "name without an end", &name, MESSAGE_SIZE, 1 },
		{ "no descriptors", &good, MESSAGE_SIZE, 0 },
		{ "too many", &good, MESSAGE_SIZE, CHANFD_HAND_MAX + 1 },
		{ "as many as the kernel takes", &good, MESSAGE_SIZE, MOST_FDS },
		{ "too short", &good, MESSAGE_SIZE - 1, 1 },
		{ "a single byte", &good, 1, 1 },
		{ "too long", &good, MESSAGE_SIZE + 1, 1 },
	};
	int taken[MOST_FDS] = { 0 };
	unsigned int i;

	magic.magic[7] = 2;
	memset(name.name[0], 'x', sizeof(name.name[0]));
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		/* Of a stream, what is too long is the next message. */
		if (variant->type == SOCK_STREAM && rows[i].size > MESSAGE_SIZE)
			continue;
		send_raw(self->sock[0], rows[i].message, rows[i].size, self->ch,
			 rows[i].nr_fds);
		EXPECT_EQ(EBADMSG, errno_of(chanfd_take(self->sock[1], taken, MOST_FDS,
							NULL))) {
			TH_LOG("%s", rows[i].what);
		}
		EXPECT_EQ(self->before, open_fds()) {
			TH_LOG("%s", rows[i].what);
		}
		EXPECT_EQ(0, taken[0]);
	}
	/* The same without the mistakes is a message. */
	send_raw(self->sock[0], &good, MESSAGE_SIZE, self->ch, 1);
	ASSERT_EQ(1, chanfd_take(self->sock[1], taken, 1, NULL));
	EXPECT_EQ(id_of(self->ch), id_of(taken[0]));
}

/* An empty message with a descriptor is not the end. */
TEST_F(hand, nothing_but_a_descriptor)
{
	static const struct message nothing;
	int fd;

	if (variant->type == SOCK_STREAM)
		SKIP(return, "a stream carries no empty message");
	send_raw(self->sock[0], &nothing, 0, self->ch, 1);
	EXPECT_EQ(EBADMSG, errno_of(chanfd_take(self->sock[1], &fd, 1, NULL)));
	EXPECT_EQ(self->before, open_fds());
}

/* All or nothing where there is not room for all. */
TEST_F(hand, no_room)
{
	int fds[] = { self->ch, self->ch, self->ch, self->ch }, taken[4] = { 0 };
	int next = dup(self->ch);
	struct rlimit all, few;

	ASSERT_LE(0, next);
	close(next);
	ASSERT_EQ(0, chanfd_hand(self->sock[0], fds, 4, NULL));
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_take(self->sock[1], taken, 3, NULL)));
	EXPECT_EQ(self->before, open_fds());

	ASSERT_EQ(0, chanfd_hand(self->sock[0], fds, 4, NULL));
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &all));
	few = all;
	few.rlim_cur = next + 2;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &few));
	EXPECT_EQ(EMFILE, errno_of(chanfd_take(self->sock[1], taken, 4, NULL)));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &all));
	EXPECT_EQ(self->before, open_fds());
	EXPECT_EQ(0, taken[0]);

	ASSERT_EQ(0, chanfd_hand(self->sock[0], fds, 4, NULL));
	EXPECT_EQ(4, chanfd_take(self->sock[1], taken, 4, NULL));
}

/* Handing over to a new program: this one, started again with a task. */

#define TASK "CHANFD_LIB_TEST_TASK"
#define TASK_DOUBLE "CHANFD_LIB_TEST_TASK=double"
#define TASK_UNKNOWN "CHANFD_LIB_TEST_TASK=unknown"

#define must(condition) ({						\
	if (!(condition))						\
		errx(1, "line %d: %s", __LINE__, #condition);		\
})

static void task_double(void)
{
	int jobs = chanfd_listen_fd("jobs"), results = chanfd_listen_fd("results");
	const char *home = getenv("HOME");
	int n, status;
	pid_t child;

	must(jobs == 3);
	must(results == 4);
	must(fcntl(jobs, F_GETFD) == FD_CLOEXEC);
	must(fcntl(results, F_GETFD) == FD_CLOEXEC);
	must(chanfd_listen_fd("jobs") == jobs);
	must(errno_of(chanfd_listen_fd("nothing")) == ENOENT);
	must(home && !strcmp(home, "/nowhere"));
	/* A child has them, too, but it was not started with them. */
	child = fork();
	if (!child)
		_exit(errno_of(chanfd_listen_fd("jobs")) != ENOENT);
	must(waitpid(child, &status, 0) == child && !status);
	must(chanfd_get(jobs, &n, SOON) == 1);
	must(!chanfd_put(results, 2 * n, SOON));
}

static void task_unknown(void)
{
	must(chanfd_listen_fd("unknown") == 3);
}

/* Runs before the tests would. */
static void __attribute__((constructor)) do_task(void)
{
	const char *task = getenv(TASK);

	if (!task)
		return;
	if (!strcmp(task, "double"))
		task_double();
	else
		task_unknown();
	_exit(0);
}

static char *const self_argv[] = { "lib_test", NULL };

static int exit_status(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

TEST(exec_and_listen)
{
	static char *const envp[] = {
		"LISTEN_FDS=99", "HOME=/nowhere", TASK_DOUBLE, "LISTEN_PID=1",
		"LISTEN_FDNAMES=a:b", NULL
	};
	static const char *const names[] = { "jobs", "results" };
	int jobs = chanfd_make(int, 0), results = chanfd_make(int, 0);
	int got = 0;
	pid_t child;

	ASSERT_LE(0, jobs);
	ASSERT_LE(0, results);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		/* In each other's place, to make it hard. */
		int fds[] = { 4, 3 };
		int copy[] = { fcntl(jobs, F_DUPFD, 10), fcntl(results, F_DUPFD, 10) };

		if (dup2(copy[0], fds[0]) == fds[0] && dup2(copy[1], fds[1]) == fds[1])
			chanfd_exec("/proc/self/exe", self_argv, envp, fds, 2, names);
		_exit(127);
	}
	EXPECT_EQ(0, chanfd_put(jobs, 21, SOON));
	EXPECT_EQ(1, chanfd_get(results, &got, SOON));
	EXPECT_EQ(42, got);
	EXPECT_EQ(0, exit_status(child));
}

TEST(exec_without_names)
{
	static char *const envp[] = { TASK_UNKNOWN, NULL };
	int ch = chanfd_make(int, 0);
	pid_t child;

	ASSERT_LE(0, ch);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		chanfd_exec("/proc/self/exe", self_argv, envp, &ch, 1, NULL);
		_exit(127);
	}
	EXPECT_EQ(0, exit_status(child));
}

TEST(exec_fails)
{
	static const char *const bad[] = { "a:b", "sixteen letters.", "new\nline" };
	static const char *const path = "/nonexistent";
	static char *const envp[] = { NULL };
	int fds[CHANFD_HAND_MAX + 1] = { 0 }, closed = 1000;
	pid_t child;
	int i;

	for (i = 0; i < (int)ARRAY_SIZE(bad); i++)
		EXPECT_EQ(EINVAL, errno_of(chanfd_exec(path, self_argv, envp, fds, 1, &bad[i])));
	EXPECT_EQ(EINVAL, errno_of(chanfd_exec(path, self_argv, envp, fds, 0, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_exec(path, self_argv, envp, fds, ARRAY_SIZE(fds),
					       NULL)));
	ASSERT_FALSE(is_open(closed));
	EXPECT_EQ(EBADF, errno_of(chanfd_exec(path, self_argv, envp, &closed, 1, NULL)));

	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(errno_of(chanfd_exec(path, self_argv, envp, fds, 1, NULL)));
	EXPECT_EQ(ENOENT, exit_status(child));
}

static void set(const char *variable, const char *value)
{
	if (value ? setenv(variable, value, 1) : unsetenv(variable))
		err(1, "setenv");
}

TEST(listen_variables)
{
	char mine[16], other[16];
	const struct {
		const char *pid, *fds, *names, *name;
		int fd, error;
	} rows[] = {
		{ mine, "2", "a:b", "a", 3, 0 },
		{ mine, "2", "a:b", "b", 4, 0 },
		{ mine, "2", "ab:a", "a", 4, 0 },
		{ mine, "2", "a:ab", "ab", 4, 0 },
		{ mine, "2", "a:a", "a", 3, 0 },
		{ mine, "2", ":b", "", 3, 0 },
		{ mine, "2", "a:", "", 4, 0 },
		{ mine, "2", "a:b", "c", -1, ENOENT },
		{ mine, "2", "a:b", "a:b", -1, ENOENT },
		{ mine, "2", NULL, "a", -1, ENOENT },
		{ other, "2", "a:b", "a", -1, ENOENT },
		{ NULL, "2", "a:b", "a", -1, ENOENT },
		{ mine, NULL, "a:b", "a", -1, ENOENT },
		{ mine, "2", "a:b", NULL, -1, EINVAL },
		{ mine, "2", "a", "a", -1, EINVAL },
		{ mine, "2", "a:b:c", "a", -1, EINVAL },
		{ mine, "0", "a", "a", -1, EINVAL },
		{ mine, "-1", "a", "a", -1, EINVAL },
		{ mine, "", "a", "a", -1, EINVAL },
		{ mine, "1x", "a", "a", -1, EINVAL },
		{ mine, " 1", "a", "a", -1, EINVAL },
		{ mine, "4294967297", "a", "a", -1, EINVAL },
		{ mine, "99999999999999999999", "a", "a", -1, EINVAL },
		{ "x", "2", "a:b", "a", -1, EINVAL },
		{ mine, "3", "a:b:c", "c", -1, EBADF },
	};
	unsigned int i;

	snprintf(mine, sizeof(mine), "%d", getpid());
	snprintf(other, sizeof(other), "%d", getppid());
	ASSERT_EQ(3, dup2(STDIN_FILENO, 3));
	ASSERT_EQ(4, dup2(STDIN_FILENO, 4));
	close(5);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		set("LISTEN_PID", rows[i].pid);
		set("LISTEN_FDS", rows[i].fds);
		set("LISTEN_FDNAMES", rows[i].names);
		errno = 0;
		EXPECT_EQ(rows[i].fd, chanfd_listen_fd(rows[i].name)) {
			TH_LOG("row %u", i);
		}
		if (rows[i].error) {
			EXPECT_EQ(rows[i].error, errno) {
				TH_LOG("row %u", i);
			}
		}
	}
}

/* Hints */

static bool says(int error, const char *what)
{
	bool kept;
	const char *hint;

	errno = EDOM;
	hint = chanfd_strerror_hint(error);
	kept = errno == EDOM;
	if (!strstr(hint, what))
		warnx("%d: %s", error, hint);
	return kept && strstr(hint, what) && !strchr(hint, '\n');
}

TEST(hint_about_handles)
{
	int ch = chanfd_make(int, 1), end[2];
	int receive = chanfd_reduce(ch, CHANFD_READ);

	ASSERT_LE(0, receive);
	ASSERT_EQ(0, pipe(end));
	ASSERT_EQ(EPERM, errno_of(chanfd_put(receive, 1, NULL)));
	EXPECT_TRUE(says(EPERM, "no right"));
	ASSERT_EQ(ENOTTY, errno_of(chanfd_put(end[0], 1, NULL)));
	EXPECT_TRUE(says(ENOTTY, "not a handle"));
	ASSERT_EQ(EMSGSIZE, errno_of(chanfd_put(ch, 1L, NULL)));
	EXPECT_TRUE(says(EMSGSIZE, "type"));
	EXPECT_TRUE(says(ECONNRESET, "without closing"));
	EXPECT_TRUE(says(EOWNERDEAD, "died"));
	EXPECT_TRUE(says(E2BIG, "older"));
	EXPECT_TRUE(says(EDQUOT, "max_objects"));
	/* The device is there: this is about something else. */
	EXPECT_TRUE(says(ENOENT, strerror(ENOENT)));
	EXPECT_TRUE(says(EACCES, strerror(EACCES)));
	EXPECT_TRUE(says(EXDEV, strerror(EXDEV)));
	EXPECT_TRUE(says(-1, strerror(-1)));
}

static bool hide(const char *dir)
{
	return !mount("none", dir, "tmpfs", 0, NULL);
}

static bool replace_device(dev_t dev, mode_t mode)
{
	unlink("/dev/chanfd");
	return !mknod("/dev/chanfd", S_IFCHR | mode, dev) && !chmod("/dev/chanfd", mode);
}

TEST(hint_about_the_device)
{
	if (unshare(CLONE_NEWNS))
		SKIP(return, "needs CAP_SYS_ADMIN");
	ASSERT_EQ(0, mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	ASSERT_TRUE(hide("/dev"));
	ASSERT_EQ(ENOENT, errno_of(chanfd_make(int, 0)));
	EXPECT_TRUE(says(ENOENT, "--device /dev/chanfd"));
	/* Who was handed a handle in here can still make mistakes with that. */
	EXPECT_TRUE(says(EMSGSIZE, "type"));
	EXPECT_TRUE(says(EPERM, "no right"));
	/* Without the module there would be no /sys/module/chanfd. */
	ASSERT_TRUE(hide("/sys"));
	EXPECT_TRUE(says(ENOENT, "modprobe chanfd"));

	/* Major 60 is for experiments, misc minor 254 is nobody's. */
	ASSERT_TRUE(replace_device(makedev(60, 0), 0666));
	ASSERT_EQ(ENXIO, errno_of(chanfd_make(int, 0)));
	EXPECT_TRUE(says(ENXIO, "modprobe chanfd"));
	ASSERT_TRUE(replace_device(makedev(10, 254), 0666));
	ASSERT_EQ(ENODEV, errno_of(chanfd_make(int, 0)));
	EXPECT_TRUE(says(ENODEV, "modprobe chanfd"));

	ASSERT_TRUE(replace_device(makedev(10, 254), 0600));
	ASSERT_EQ(0, setresuid(65534, 65534, 65534));
	ASSERT_EQ(EACCES, errno_of(chanfd_make(int, 0)));
	EXPECT_TRUE(says(EACCES, "0666"));
}

/* The header, as a compiler sees it */

static const char *const program =
	"#include <chanfd.h>\n"
	"struct job { int id; double size; };\n"
	"int f(int in, int out, int wg, int up, struct chanfd_outcome *o);\n"
	"int f(int in, int out, int wg, int up, struct chanfd_outcome *o)\n"
	"{\n"
	"	chanfd_auto int ch = chanfd_make(struct job, 1);\n"
	"	chanfd_auto_cancel int ctx = chanfd_context(up);\n"
	"	const struct chanfd_opt opt = CHANFD_OPT_INIT;\n"
	"	struct chanfd_context c = CHANFD_CONTEXT_INIT;\n"
	"	struct job job = { 1, 2 };\n"
	"	char buf[8];\n"
	"\n"
	"	if (chanfd_context_make(&c) || chanfd_put(ch, job, &opt))\n"
	"		return -1;\n"
	"	while (chanfd_get(ch, &job, NULL) == 1)\n"
	"		if (chanfd_put(out, job.id + 1, NULL))\n"
	"			return -1;\n"
	"	return chanfd_select_of(NULL, o, CHANFD_RECV(in, &job),\n"
	"		CHANFD_RECV(in), CHANFD_RECV(in, buf, sizeof(buf)),\n"
	"		CHANFD_SEND(out, &job), CHANFD_SEND(out),\n"
	"		CHANFD_SEND(out, buf, 1), CHANFD_WAIT(wg),\n"
	"		CHANFD_BROKEN(wg, 1), CHANFD_DONE(ctx), CHANFD_DRAINED(ctx),\n"
	"		CHANFD_POLL(0, 1));\n"
	"}\n";

/* The directory of the sources, above this program. */
static const char *top(void)
{
	static char dir[PATH_MAX];
	char path[PATH_MAX + 32];
	ssize_t len = readlink("/proc/self/exe", dir, sizeof(dir) - 1);

	if (len < 0)
		err(1, "/proc/self/exe");
	dir[len] = '\0';
	while (*dir) {
		*strrchr(dir, '/') = '\0';
		snprintf(path, sizeof(path), "%s/tools/lib/chanfd.h", dir);
		if (!access(path, F_OK))
			return dir;
	}
	return NULL;
}

static bool compiles(const char *compiler, const char *source, const char *messages)
{
	char command[3 * PATH_MAX];
	FILE *pipe;

	snprintf(command, sizeof(command),
		 "%s -fsyntax-only -Wall -Wextra -Wpedantic -Werror -I%s/tools/lib -I%s/build/include - %s",
		 compiler, top(), top(), messages);
	pipe = popen(command, "w");
	if (!pipe)
		err(1, "popen");
	fputs(source, pipe);
	return !pclose(pipe);
}

#define C11 "cc -std=c11 -x c"
#define CXX17 "c++ -std=c++17 -x c++"
#define REFUSED "2>/dev/null"

#define INSIDE(statement) \
	"#include <chanfd.h>\n" \
	"struct big { char a[CHANFD_MAX_MESSAGE + 1]; };\n" \
	"extern struct big big; extern char text[8];\n" \
	"int f(void);\nint f(void) { return " statement "; }\n"

TEST(compiles_as_c)
{
	if (system("cc --version >/dev/null 2>&1") || !top())
		SKIP(return, "no C compiler, or no sources");
	EXPECT_TRUE(compiles(C11, program, ""));
	/* What can only be a mistake is found before it runs. */
	EXPECT_TRUE(compiles(C11, INSIDE("chanfd_get(0, &text, NULL)"), ""));
	EXPECT_FALSE(compiles(C11, INSIDE("chanfd_get(0, text, NULL)"), REFUSED));
	EXPECT_FALSE(compiles(C11, INSIDE("chanfd_put(0, text, NULL)"), REFUSED));
	EXPECT_FALSE(compiles(C11, INSIDE("chanfd_put(0, big, NULL)"), REFUSED));
	EXPECT_FALSE(compiles(C11, INSIDE("chanfd_make(struct big, 1)"), REFUSED));
	EXPECT_FALSE(compiles(C11, INSIDE("chanfd_select_of(NULL, NULL, CHANFD_RECV(0, text))"),
			      REFUSED));
}

TEST(compiles_as_cxx)
{
	if (system("c++ --version >/dev/null 2>&1") || !top())
		SKIP(return, "no C++ compiler, or no sources");
	EXPECT_TRUE(compiles(CXX17, program, ""));
	EXPECT_FALSE(compiles(CXX17, INSIDE("chanfd_make(struct big, 1)"), REFUSED));
	EXPECT_FALSE(compiles(CXX17, "struct owner { char *p; owner(); ~owner(); };\n"
			      INSIDE("chanfd_make(owner, 1)"), REFUSED));
}

static const char *const optimised =
	"#include <chanfd.h>\n"
	"#include <pthread.h>\n"
	"static int go, done, shared;\n"
	"static void *work(void *arg)\n"
	"{\n"
	"	chanfd_recv(go, NULL, 0, NULL, NULL);\n"
	"	shared = 1;\n"
	"	chanfd_send(done, NULL, 0, NULL);\n"
	"	return arg;\n"
	"}\n"
	"int main(void)\n"
	"{\n"
	"	pthread_t thread;\n"
	"	int before;\n"
	"	go = chanfd_channel(0, 0, 0, NULL);\n"
	"	done = chanfd_channel(0, 0, 0, NULL);\n"
	"	if (done < 0 || pthread_create(&thread, NULL, work, NULL))\n"
	"		return 2;\n"
	"	before = shared;\n"
	"	chanfd_send(go, NULL, 0, NULL);\n"
	"	chanfd_recv(done, NULL, 0, NULL, NULL);\n"
	"	return shared == before;\n"
	"}\n";

/*
 * A compiler that sees all of the library at once must not keep a variable in a
 * register across a call, though ioctl() is declared as if it might.
 */
TEST(optimised_as_a_whole)
{
	char dir[] = "/tmp/lib_test.XXXXXX", command[4 * PATH_MAX];
	FILE *pipe;

	if (system("cc --version >/dev/null 2>&1") || !top())
		SKIP(return, "no C compiler, or no sources");
	ASSERT_NE(NULL, mkdtemp(dir));
	snprintf(command, sizeof(command),
		 "cd %s && cc -O2 -flto -fwhole-program -D_GNU_SOURCE -I%s/tools/lib -I%s/build/include -o program -x c - %s/tools/lib/*.c",
		 dir, top(), top(), top());
	pipe = popen(command, "w");
	ASSERT_NE(NULL, pipe);
	fputs(optimised, pipe);
	EXPECT_EQ(0, pclose(pipe));
	snprintf(command, sizeof(command), "%s/program; status=$?; rm -r %s; exit $status",
		 dir, dir);
	EXPECT_EQ(0, system(command));
}

/* What the header declares is what programs can link to, and nothing else. */
TEST(exports)
{
	char declared[PATH_MAX + 128], exported[PATH_MAX + 128], command[3 * PATH_MAX];

	if (system("nm --version >/dev/null 2>&1") || !top())
		SKIP(return, "no nm, or no sources");
	snprintf(declared, sizeof(declared),
		 "sed -n '/^static/d; s/^[a-z].*\\<\\(chanfd_[a-z_]*\\)(.*/\\1@@CHANFD_0/p' %s/tools/lib/chanfd.h",
		 top());
	snprintf(exported, sizeof(exported),
		 "nm -D --defined-only %s/tools/lib/libchanfd.so.0 | sed -n 's/.* T //p'", top());
	snprintf(command, sizeof(command),
		 "a=$(%s | sort); b=$(%s | sort); test -n \"$a\" -a \"$a\" = \"$b\"",
		 declared, exported);
	EXPECT_EQ(0, system(command));
}

TEST_HARNESS_MAIN
