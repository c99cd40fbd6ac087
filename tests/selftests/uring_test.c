// SPDX-License-Identifier: GPL-2.0
/*
 * io_uring: read, write and poll, waiting without a thread to do it.
 *
 * A request that has to wait must be parked by a poll callback: none may occupy
 * one of io_uring's worker threads.
 */
#include <dirent.h>
#include <liburing.h>
#include <poll.h>
#include <sys/uio.h>

#include "helpers.h"

#define ENTRIES	256

/* Outlives its entry in the ring. */
struct completion {
	uint64_t id;
	int res;
	unsigned int flags;
};

/* Sends all requests that were queued. */
static void ring_submit(struct io_uring *ring)
{
	int queued = io_uring_sq_ready(ring);
	int n = io_uring_submit(ring);

	if (n != queued)
		errx(1, "io_uring_submit: %d of %d", n, queued);
}

/* The next completion, in time; the id is ~0 if none came. */
static struct completion ring_wait(struct io_uring *ring)
{
	struct __kernel_timespec bound = { .tv_sec = BOUND / SEC };
	struct completion c = { .id = ~0ULL };
	struct io_uring_cqe *cqe;

	if (!io_uring_wait_cqe_timeout(ring, &cqe, &bound)) {
		c = (struct completion){ cqe->user_data, cqe->res, cqe->flags };
		io_uring_cqe_seen(ring, cqe);
	}
	return c;
}

/* Does it stay without a completion for a while? */
static bool ring_stays_empty(struct io_uring *ring)
{
	pause_for(A_WHILE);
	io_uring_get_events(ring);
	return !io_uring_cq_ready(ring);
}

static struct io_uring_sqe *queue_read(struct io_uring *ring, int fd, void *buf, uint64_t id)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_read(sqe, fd, buf, sizeof(uint64_t), -1);
	io_uring_sqe_set_data64(sqe, id);
	return sqe;
}

static void queue_write(struct io_uring *ring, int fd, const void *buf, uint64_t id)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_write(sqe, fd, buf, sizeof(uint64_t), -1);
	io_uring_sqe_set_data64(sqe, id);
}

static void queue_poll(struct io_uring *ring, int fd, unsigned int events, uint64_t id)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_poll_add(sqe, fd, events);
	io_uring_sqe_set_data64(sqe, id);
}

/* Threads of this process that io_uring made to do what would block. */
static int workers(void)
{
	char path[300], comm[32];
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/task");
	int n = 0;

	if (!dir)
		err(1, "/proc/self/task");
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		if (read_text(path, comm, sizeof(comm)))
			n += !strncmp(comm, "iou-wrk", strlen("iou-wrk"));
	}
	closedir(dir);
	return n;
}

FIXTURE(uring) {
	struct io_uring ring;
	int in, out;	/* of a channel without a buffer */
	int head, tail;	/* of one that holds two messages */
};

FIXTURE_VARIANT(uring) {
	bool process;
};

FIXTURE_VARIANT_ADD(uring, threads) {
	.process = false,
};

FIXTURE_VARIANT_ADD(uring, processes) {
	.process = true,
};

FIXTURE_SETUP(uring)
{
	int fd[2], ret;

	ret = io_uring_queue_init(ENTRIES, &self->ring, 0);
	if (ret)	/* after a return the test would run */
		SKIP(_exit(255), "io_uring_queue_init: %s", strerror(-ret));
	ASSERT_EQ(0, chanfd_channel_pair(fd, sizeof(uint64_t), 0, 0, "unbuffered"));
	self->in = fd[0];
	self->out = fd[1];
	ASSERT_EQ(0, chanfd_channel_pair(fd, sizeof(uint64_t), 2, 0, "buffered"));
	self->head = fd[0];
	self->tail = fd[1];
}

FIXTURE_TEARDOWN(uring)
{
	EXPECT_EQ(0, workers());
	io_uring_queue_exit(&self->ring);
}

static void put(int ch, uint64_t value)
{
	if (chanfd_put(ch, value, CHANFD_OPT(-1, CHANFD_NONBLOCK, 0)))
		err(1, "no room");
}

static long run_close(struct party *me)
{
	return chanfd_close(me->fd, me->value);
}

TEST_F(uring, ready)
{
	uint64_t value = 0, sent = 7;
	struct completion c;

	queue_write(&self->ring, self->tail, &sent, 1);
	ring_submit(&self->ring);
	c = ring_wait(&self->ring);
	EXPECT_EQ(1, c.id);
	EXPECT_EQ(8, c.res);
	EXPECT_EQ(1, info_of(self->head).len);
	queue_read(&self->ring, self->head, &value, 2);
	ring_submit(&self->ring);
	c = ring_wait(&self->ring);
	EXPECT_EQ(2, c.id);
	EXPECT_EQ(8, c.res);
	EXPECT_EQ(7, value);
}

TEST_F(uring, read_waits_for_message)
{
	struct completion c;
	struct party *sender;
	uint64_t value = 0;

	queue_read(&self->ring, self->head, &value, 1);
	ring_submit(&self->ring);
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	EXPECT_EQ(0, workers());
	sender = party_send(variant->process, self->tail, 7);
	c = ring_wait(&self->ring);
	EXPECT_EQ(1, c.id);
	EXPECT_EQ(8, c.res);
	EXPECT_EQ(7, value);
	EXPECT_EQ(0, party_join(sender));
}

/* Without a buffer it meets a sender that waits. */
TEST_F(uring, read_meets_sender)
{
	struct completion c;
	struct party *sender;
	uint64_t value = 0;

	queue_read(&self->ring, self->in, &value, 1);
	ring_submit(&self->ring);
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	/* A request that is parked is no receiver that waits. */
	EXPECT_EQ(0, info_of(self->in).waiting_receivers);
	sender = party_send(variant->process, self->out, 7);
	c = ring_wait(&self->ring);
	EXPECT_EQ(8, c.res);
	EXPECT_EQ(7, value);
	EXPECT_EQ(0, party_join(sender));
	EXPECT_EQ(0, workers());
}

TEST_F(uring, write_waits_for_room)
{
	struct completion c;
	struct party *receiver;
	uint64_t value = 3;

	put(self->tail, 1);
	put(self->tail, 2);
	queue_write(&self->ring, self->tail, &value, 1);
	ring_submit(&self->ring);
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	EXPECT_EQ(0, workers());
	receiver = party_recv(variant->process, self->head);
	c = ring_wait(&self->ring);
	EXPECT_EQ(1, c.id);
	EXPECT_EQ(8, c.res);
	EXPECT_EQ(1, party_join(receiver));
	EXPECT_EQ(1, receiver->value);
	EXPECT_EQ(2, info_of(self->head).len);
}

TEST_F(uring, write_meets_receiver)
{
	struct completion c;
	struct party *receiver;
	uint64_t value = 3;

	queue_write(&self->ring, self->out, &value, 1);
	ring_submit(&self->ring);
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	receiver = party_recv(variant->process, self->in);
	c = ring_wait(&self->ring);
	EXPECT_EQ(8, c.res);
	EXPECT_EQ(1, party_join(receiver));
	EXPECT_EQ(3, receiver->value);
	EXPECT_EQ(0, workers());
}

/* Both only look, as two pollers do: somebody has to mean it. */
TEST_F(uring, two_requests_do_not_meet)
{
	uint64_t value = 0, sent = 3;
	struct completion c;
	struct party *receiver;

	queue_read(&self->ring, self->in, &value, 1);
	queue_write(&self->ring, self->out, &sent, 2);
	ring_submit(&self->ring);
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	EXPECT_EQ(0, workers());
	receiver = party_recv(variant->process, self->in);
	c = ring_wait(&self->ring);
	EXPECT_EQ(2, c.id);
	EXPECT_EQ(8, c.res);
	EXPECT_EQ(1, party_join(receiver));
	EXPECT_EQ(3, receiver->value);
	EXPECT_TRUE(ring_stays_empty(&self->ring));
}

static long run_send_hundred(struct party *me)
{
	uint64_t i;

	for (i = 1; i <= 100; i++)
		if (chanfd_put(me->fd, i, &me->opt))
			return -1;
	return 0;
}

/* Each gets a message, and no message comes twice or not at all. */
TEST_F(uring, hundred_reads)
{
	int i, k, times[101] = { 0 };
	struct completion c;
	struct party *sender;
	uint64_t value[100];
	int ch[2] = { self->in, self->head };
	int peer[2] = { self->out, self->tail };

	for (k = 0; k < 2; k++) {
		memset(value, 0, sizeof(value));
		memset(times, 0, sizeof(times));
		for (i = 0; i < 100; i++)
			queue_read(&self->ring, ch[k], &value[i], i);
		ring_submit(&self->ring);
		EXPECT_TRUE(ring_stays_empty(&self->ring));
		sender = party_start(party_new(variant->process, run_send_hundred, peer[k]));
		for (i = 0; i < 100; i++) {
			c = ring_wait(&self->ring);
			ASSERT_GT(100, c.id);
			ASSERT_EQ(8, c.res);
			ASSERT_TRUE(value[c.id] >= 1 && value[c.id] <= 100);
			times[value[c.id]]++;
		}
		for (i = 1; i <= 100; i++)
			EXPECT_EQ(1, times[i]);
		EXPECT_EQ(0, party_join(sender));
		EXPECT_EQ(0, workers());
	}
}

TEST_F(uring, poll)
{
	struct completion c;
	struct party *p;

	queue_poll(&self->ring, self->in, POLLIN, 1);
	queue_poll(&self->ring, self->out, POLLOUT, 2);
	ring_submit(&self->ring);
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	p = party_send(variant->process, self->out, 7);
	c = ring_wait(&self->ring);
	EXPECT_EQ(1, c.id);
	EXPECT_EQ(POLLIN, c.res);
	EXPECT_EQ(1, chanfd_recv(self->in, NULL, 0, NULL, NULL));
	EXPECT_EQ(0, party_join(p));
	/* A sender was served: that makes no room for another. */
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	p = party_recv(variant->process, self->in);
	c = ring_wait(&self->ring);
	EXPECT_EQ(2, c.id);
	EXPECT_EQ(POLLOUT, c.res);
	put(self->out, 8);
	EXPECT_EQ(1, party_join(p));
}

/* The end is told as it is: drained or not, closed or abandoned. */
TEST_F(uring, poll_end)
{
	struct party *closer;
	struct completion c;
	int i;

	put(self->tail, 1);
	queue_poll(&self->ring, self->head, POLLHUP, 1);
	queue_poll(&self->ring, self->in, POLLIN, 2);
	queue_poll(&self->ring, self->out, POLLOUT, 3);
	ring_submit(&self->ring);
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	closer = party_start(party_new(variant->process, run_close, self->tail));
	EXPECT_EQ(0, party_join(closer));
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	EXPECT_EQ(1, chanfd_recv(self->head, NULL, 0, NULL, NULL));
	c = ring_wait(&self->ring);
	EXPECT_EQ(1, c.id);
	EXPECT_EQ(POLLHUP, c.res);

	closer = party_start(party_new(variant->process, run_close, self->out));
	EXPECT_EQ(0, party_join(closer));
	for (i = 0; i < 2; i++) {
		c = ring_wait(&self->ring);
		EXPECT_TRUE(c.id == 2 || c.id == 3);
		EXPECT_EQ(c.id == 2 ? POLLIN | POLLHUP : POLLOUT,
			  c.id == 2 ? c.res : c.res & ~POLLHUP);
	}
}

/* One request that tells of every message. */
TEST_F(uring, poll_multishot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&self->ring);
	struct completion c;
	int i;

	io_uring_prep_poll_multishot(sqe, self->head, POLLIN);
	io_uring_sqe_set_data64(sqe, 1);
	ring_submit(&self->ring);
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	for (i = 0; i < 2; i++) {
		put(self->tail, i);
		c = ring_wait(&self->ring);
		EXPECT_EQ(1, c.id);
		EXPECT_EQ(POLLIN, c.res & POLLIN);
		EXPECT_TRUE(c.flags & IORING_CQE_F_MORE);
	}
	EXPECT_TRUE(ring_stays_empty(&self->ring));
}

TEST_F(uring, poll_waitgroup_and_context)
{
	struct completion c;
	int ctx[2], wg[2];

	ASSERT_EQ(0, chanfd_context_pair(ctx, -1));
	ASSERT_EQ(0, chanfd_waitgroup_pair(wg, 0, ""));
	ASSERT_EQ(0, chanfd_wg_add(wg[1], 2));
	queue_poll(&self->ring, wg[0], POLLIN, 1);
	queue_poll(&self->ring, ctx[0], POLLIN, 2);
	ring_submit(&self->ring);
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	/* io_uring believes what a wakeup says: it must not say too much. */
	ASSERT_EQ(0, chanfd_wg_done(wg[1]));
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	ASSERT_EQ(0, chanfd_wg_done(wg[1]));
	c = ring_wait(&self->ring);
	EXPECT_EQ(1, c.id);
	EXPECT_EQ(POLLIN, c.res);
	ASSERT_EQ(0, chanfd_cancel(ctx[1], 0, NULL));
	c = ring_wait(&self->ring);
	EXPECT_EQ(2, c.id);
	EXPECT_EQ(POLLIN | POLLHUP, c.res);
}

/* A request that is withdrawn has taken nothing. */
TEST_F(uring, cancel)
{
	struct completion c[2];
	struct io_uring_sqe *sqe;
	uint64_t value = 0;
	int i;

	queue_read(&self->ring, self->head, &value, 1);
	ring_submit(&self->ring);
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	sqe = io_uring_get_sqe(&self->ring);
	io_uring_prep_cancel64(sqe, 1, 0);
	io_uring_sqe_set_data64(sqe, 2);
	ring_submit(&self->ring);
	for (i = 0; i < 2; i++)
		c[i] = ring_wait(&self->ring);
	i = c[0].id == 1 ? 0 : 1;
	EXPECT_EQ(1, c[i].id);
	EXPECT_EQ(-ECANCELED, c[i].res);
	EXPECT_EQ(2, c[!i].id);
	EXPECT_EQ(0, c[!i].res);
	put(self->tail, 7);
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	EXPECT_EQ(1, info_of(self->head).len);
	EXPECT_EQ(0, value);
}

TEST_F(uring, linked_timeout)
{
	struct __kernel_timespec ts = { .tv_nsec = 30 * MSEC };
	struct completion c[2];
	struct io_uring_sqe *sqe;
	uint64_t value = 0;
	int i;

	sqe = queue_read(&self->ring, self->head, &value, 1);
	io_uring_sqe_set_flags(sqe, IOSQE_IO_LINK);
	sqe = io_uring_get_sqe(&self->ring);
	io_uring_prep_link_timeout(sqe, &ts, 0);
	io_uring_sqe_set_data64(sqe, 2);
	ring_submit(&self->ring);
	for (i = 0; i < 2; i++)
		c[i] = ring_wait(&self->ring);
	i = c[0].id == 1 ? 0 : 1;
	EXPECT_EQ(1, c[i].id);
	EXPECT_EQ(-ECANCELED, c[i].res);
	EXPECT_EQ(2, c[!i].id);
	EXPECT_EQ(-ETIME, c[!i].res);
	put(self->tail, 7);
	EXPECT_EQ(1, info_of(self->head).len);
}

/* The end of the channel is the end of all that wait for it. */
TEST_F(uring, close)
{
	uint64_t value[20], sent = 1;
	struct completion c;
	struct party *closer;
	int i;

	for (i = 0; i < 20; i++)
		queue_read(&self->ring, self->in, &value[i], i);
	queue_write(&self->ring, self->out, &sent, 20);
	ring_submit(&self->ring);
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	closer = party_start(party_new(variant->process, run_close, self->out));
	for (i = 0; i < 21; i++) {
		c = ring_wait(&self->ring);
		ASSERT_GE(20, c.id);
		EXPECT_EQ(c.id == 20 ? -EPIPE : 0, c.res);
	}
	EXPECT_EQ(0, party_join(closer));

	/* With a cause that is what they get. */
	queue_read(&self->ring, self->head, value, 1);
	ring_submit(&self->ring);
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	closer = party_new(variant->process, run_close, self->tail);
	closer->value = EPROTO;
	EXPECT_EQ(0, party_join(party_start(closer)));
	c = ring_wait(&self->ring);
	EXPECT_EQ(1, c.id);
	EXPECT_EQ(-EPROTO, c.res);
}

TEST_F(uring, orphan)
{
	struct completion c;
	uint64_t value;

	queue_read(&self->ring, self->in, &value, 1);
	ring_submit(&self->ring);
	EXPECT_TRUE(ring_stays_empty(&self->ring));
	close(self->out);
	c = ring_wait(&self->ring);
	EXPECT_EQ(1, c.id);
	EXPECT_EQ(-ECONNRESET, c.res);
}

static long run_request_and_hold(struct party *me)
{
	struct io_uring ring;

	if (io_uring_queue_init(ENTRIES, &ring, 0))
		return -1;
	queue_read(&ring, me->fd, &me->value, 1);
	ring_submit(&ring);
	me->seq = 1;
	return pause();
}

/* A request holds its file, and goes with its process. */
TEST(killed_with_request)
{
	struct io_uring probe;
	struct party *reader;
	int fd[2], ret;

	ret = io_uring_queue_init(ENTRIES, &probe, 0);
	if (ret)
		SKIP(return, "io_uring_queue_init: %s", strerror(-ret));
	io_uring_queue_exit(&probe);
	ASSERT_EQ(0, chanfd_channel_pair(fd, sizeof(uint64_t), 1, 0, ""));
	reader = party_start(party_new(true, run_request_and_hold, fd[0]));
	close(fd[0]);
	ASSERT_TRUE(eventually(*(volatile uint64_t *)&reader->seq));
	EXPECT_EQ(0, info_of(fd[1]).state);
	party_kill(reader);
	EXPECT_TRUE(eventually(info_of(fd[1]).state == CHANFD_NO_RECEIVERS));
	EXPECT_EQ(ECONNRESET, errno_of(chanfd_put(fd[1], (uint64_t)1, NULL)));
	EXPECT_EQ(0, info_of(fd[1]).sent);
}

/* What io_uring relies on: to be told, not to be made to wait. */
TEST(nowait)
{
	uint64_t value = 5;
	struct iovec iov = { &value, sizeof(value) };
	struct party *receiver, *sender;
	int fd[2];

	ASSERT_EQ(0, chanfd_channel_pair(fd, sizeof(value), 1, 0, ""));
	EXPECT_EQ(EAGAIN, errno_of(preadv2(fd[0], &iov, 1, -1, RWF_NOWAIT)));
	EXPECT_EQ(8, pwritev2(fd[1], &iov, 1, -1, RWF_NOWAIT));
	EXPECT_EQ(EAGAIN, errno_of(pwritev2(fd[1], &iov, 1, -1, RWF_NOWAIT)));
	value = 0;
	EXPECT_EQ(8, preadv2(fd[0], &iov, 1, -1, RWF_NOWAIT));
	EXPECT_EQ(5, value);

	ASSERT_EQ(0, chanfd_channel_pair(fd, sizeof(value), 0, 0, ""));
	EXPECT_EQ(EAGAIN, errno_of(preadv2(fd[0], &iov, 1, -1, RWF_NOWAIT)));
	EXPECT_EQ(EAGAIN, errno_of(pwritev2(fd[1], &iov, 1, -1, RWF_NOWAIT)));
	sender = party_send(true, fd[1], 6);
	ASSERT_TRUE(senders_wait(fd[0], 1));
	EXPECT_EQ(8, preadv2(fd[0], &iov, 1, -1, RWF_NOWAIT));
	EXPECT_EQ(6, value);
	EXPECT_EQ(0, party_join(sender));
	receiver = party_recv(true, fd[0]);
	ASSERT_TRUE(receivers_wait(fd[0], 1));
	EXPECT_EQ(8, pwritev2(fd[1], &iov, 1, -1, RWF_NOWAIT));
	EXPECT_EQ(1, party_join(receiver));
	EXPECT_EQ(6, receiver->value);
}

TEST_HARNESS_MAIN
