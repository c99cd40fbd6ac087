// SPDX-License-Identifier: GPL-2.0
/*
 * Readiness: poll(2), select(2), and epoll in all its ways.
 *
 *	handle			POLLIN			POLLOUT
 *	channel, receiving	a message, a sender	-
 *				that waits, the end
 *	channel, sending	-			room, a receiver that
 *							waits, a send would fail
 *	waitgroup, waiting	the count is zero	-
 *	context, observing	done			-
 *
 * and POLLHUP: a channel closed and drained, a context done; POLLERR: a channel
 * orphaned, a round broken, the last canceller gone.
 */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>

#include "helpers.h"

static short polled(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };

	if (poll(&p, 1, 0) < 0)
		err(1, "poll");
	return p.revents;
}

static int must(int ret)
{
	if (ret < 0)
		err(1, "a call that has to work");
	return ret;
}

static int epoll_on(int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events };
	int ep = must(epoll_create1(EPOLL_CLOEXEC));

	must(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	return ep;
}

/* The events that an epoll instance reports now, 0 for none. */
static uint32_t reported(int ep)
{
	struct epoll_event ev[4];
	int n = must(epoll_wait(ep, ev, 4, 0));

	return n ? ev[0].events : 0;
}

static uint32_t reported_in_time(int ep)
{
	struct epoll_event ev[4];
	int n = must(epoll_wait(ep, ev, 4, BOUND / MSEC));

	return n ? ev[0].events : 0;
}

static const struct chanfd_opt nonblock = { -1, CHANFD_NONBLOCK, 0 };

static void put(int ch)
{
	must(chanfd_put(ch, (uint64_t)1, &nonblock));
}

static void get(int ch)
{
	uint64_t value;

	if (chanfd_get(ch, &value, &nonblock) != 1)
		err(1, "nothing to receive");
}

/* Rule C35, state by state. */

FIXTURE(channel) {
	int in, out;	/* receives, sends */
};

FIXTURE_VARIANT(channel) {
	bool process;
};

FIXTURE_VARIANT_ADD(channel, threads) {
	.process = false,
};

FIXTURE_VARIANT_ADD(channel, processes) {
	.process = true,
};

static void make_channel(int *in, int *out, unsigned int capacity)
{
	int fd[2];

	must(chanfd_channel_pair(fd, sizeof(uint64_t), capacity, 0, "poll"));
	*in = fd[0];
	*out = fd[1];
}

FIXTURE_SETUP(channel)
{
	make_channel(&self->in, &self->out, 0);
}

FIXTURE_TEARDOWN(channel)
{
	close(self->in);
	close(self->out);
}

TEST(buffered)
{
	int in, out, both;

	make_channel(&in, &out, 2);
	EXPECT_EQ(0, polled(in));
	EXPECT_EQ(POLLOUT, polled(out));
	put(out);
	EXPECT_EQ(POLLIN, polled(in));
	EXPECT_EQ(POLLOUT, polled(out));
	put(out);
	EXPECT_EQ(POLLIN, polled(in));
	EXPECT_EQ(0, polled(out));
	get(in);
	EXPECT_EQ(POLLIN, polled(in));
	EXPECT_EQ(POLLOUT, polled(out));
	get(in);
	EXPECT_EQ(0, polled(in));
	EXPECT_EQ(POLLOUT, polled(out));

	both = must(chanfd_channel(sizeof(uint64_t), 2, 0, "both"));
	EXPECT_EQ(POLLOUT, polled(both));
	put(both);
	EXPECT_EQ(POLLIN | POLLOUT, polled(both));
	put(both);
	EXPECT_EQ(POLLIN, polled(both));
}

TEST(closed)
{
	int in, out;

	make_channel(&in, &out, 2);
	put(out);
	must(chanfd_close(out, 0));
	/* There is still something to receive; a send fails without waiting. */
	EXPECT_EQ(POLLIN, polled(in));
	EXPECT_EQ(POLLOUT, polled(out) & (POLLIN | POLLOUT | POLLERR));
	get(in);
	EXPECT_EQ(POLLIN | POLLHUP, polled(in));
	/* It was no accident, whoever leaves now. */
	close(out);
	EXPECT_EQ(POLLIN | POLLHUP, polled(in));
}

TEST(closed_full)
{
	int in, out;

	make_channel(&in, &out, 1);
	put(out);
	EXPECT_EQ(0, polled(out));
	must(chanfd_close(out, EIO));
	EXPECT_EQ(POLLOUT, polled(out));
	EXPECT_EQ(POLLIN, polled(in));
	get(in);
	EXPECT_EQ(POLLIN | POLLHUP, polled(in));
}

TEST(orphaned)
{
	int in, out;

	make_channel(&in, &out, 1);
	put(out);
	close(out);
	EXPECT_EQ(POLLIN | POLLERR, polled(in));
	get(in);
	EXPECT_EQ(POLLIN | POLLERR, polled(in));

	make_channel(&in, &out, 1);
	put(out);
	EXPECT_EQ(0, polled(out));
	close(in);
	EXPECT_EQ(POLLOUT | POLLERR, polled(out));
}

/* Without a buffer, ready means that somebody waits at the other end. */
TEST_F(channel, committed_sender)
{
	struct party *sender;

	EXPECT_EQ(0, polled(self->in));
	EXPECT_EQ(0, polled(self->out));
	sender = party_send(variant->process, self->out, 5);
	ASSERT_TRUE(senders_wait(self->in, 1));
	EXPECT_EQ(POLLIN, polled(self->in));
	EXPECT_EQ(0, polled(self->out));
	get(self->in);
	EXPECT_EQ(0, party_join(sender));
	EXPECT_EQ(0, polled(self->in));
}

TEST_F(channel, committed_receiver)
{
	struct party *receiver = party_recv(variant->process, self->in);

	ASSERT_TRUE(receivers_wait(self->in, 1));
	EXPECT_EQ(0, polled(self->in));
	EXPECT_EQ(POLLOUT, polled(self->out));
	put(self->out);
	EXPECT_EQ(1, party_join(receiver));
	EXPECT_EQ(0, polled(self->out));
}

static long run_select_both(struct party *me)
{
	uint64_t value = 1;

	return chanfd_select_of(&me->opt, NULL, CHANFD_SEND(me->fd, &value),
				CHANFD_RECV(me->value, &value));
}

/* A select that waits is as good as a call that does. */
TEST_F(channel, committed_select)
{
	struct party *p;
	int in, out;

	make_channel(&in, &out, 0);
	p = party_new(variant->process, run_select_both, self->out);
	p->value = in;
	party_start(p);
	ASSERT_TRUE(blocked(p));
	EXPECT_EQ(POLLIN, polled(self->in));
	EXPECT_EQ(POLLOUT, polled(out));
	get(self->in);
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(0, polled(self->in));
	EXPECT_EQ(0, polled(out));
}

static void ignore(int sig)
{
}

/* Who withdraws takes the readiness along. */
TEST_F(channel, withdrawn)
{
	struct sigaction interrupt = { .sa_handler = ignore };
	struct party *p;
	int ep;

	sigaction(SIGUSR1, &interrupt, NULL);
	ep = epoll_on(self->in, EPOLLIN);
	p = party_send(variant->process, self->out, 5);
	EXPECT_EQ(EPOLLIN, reported_in_time(ep));
	EXPECT_EQ(POLLIN, polled(self->in));
	party_signal(p, SIGUSR1);
	EXPECT_EQ(EINTR, errno_of(party_join(p)));
	EXPECT_EQ(0, polled(self->in));
	EXPECT_EQ(0, reported(ep));

	p = party_recv(variant->process, self->in);
	ASSERT_TRUE(receivers_wait(self->in, 1));
	EXPECT_EQ(POLLOUT, polled(self->out));
	party_signal(p, SIGUSR1);
	EXPECT_EQ(EINTR, errno_of(party_join(p)));
	EXPECT_EQ(0, polled(self->out));

	p = party_new(variant->process, run_send, self->out);
	p->opt.deadline = chanfd_deadline(100 * MSEC);
	party_start(p);
	EXPECT_EQ(EPOLLIN, reported_in_time(ep));
	EXPECT_EQ(ETIMEDOUT, errno_of(party_join(p)));
	EXPECT_EQ(0, polled(self->in));
	EXPECT_EQ(0, reported(ep));
}

static long run_poll(struct party *me)
{
	struct pollfd p = { .fd = me->fd, .events = me->value };
	int n = poll(&p, 1, -1);

	return n == 1 ? p.revents : -1;
}

static struct party *party_poll(bool process, int fd, short events)
{
	struct party *p = party_new(process, run_poll, fd);

	p->value = events;
	return party_start(p);
}

/* tZ10: two that only look never meet. One that means it is enough. */
TEST_F(channel, two_pollers_do_not_meet)
{
	struct party *reader, *writer, *receiver;

	reader = party_poll(variant->process, self->in, POLLIN);
	writer = party_poll(variant->process, self->out, POLLOUT);
	EXPECT_TRUE(stays_blocked(reader));
	EXPECT_TRUE(stays_blocked(writer));
	receiver = party_recv(variant->process, self->in);
	EXPECT_EQ(POLLOUT, party_join(writer));
	EXPECT_TRUE(stays_blocked(reader));
	put(self->out);
	EXPECT_EQ(1, party_join(receiver));
	receiver = party_send(variant->process, self->out, 1);
	EXPECT_EQ(POLLIN, party_join(reader));
	get(self->in);
	EXPECT_EQ(0, party_join(receiver));
}

/* Whatever makes a handle ready wakes who polls it. */
TEST_F(channel, poll_wakes)
{
	struct party *p;
	int in, out;

	make_channel(&in, &out, 1);
	p = party_poll(variant->process, in, POLLIN);
	EXPECT_TRUE(stays_blocked(p));
	put(out);
	EXPECT_EQ(POLLIN, party_join(p));

	p = party_poll(variant->process, out, POLLOUT);
	EXPECT_TRUE(stays_blocked(p));
	get(in);
	EXPECT_EQ(POLLOUT, party_join(p));

	put(out);
	p = party_poll(variant->process, out, POLLOUT);
	EXPECT_TRUE(stays_blocked(p));
	must(chanfd_close(out, 0));
	EXPECT_EQ(POLLOUT, party_join(p));
	get(in);

	p = party_poll(variant->process, self->in, POLLIN);
	EXPECT_TRUE(stays_blocked(p));
	must(chanfd_close(self->out, 0));
	EXPECT_EQ(POLLIN | POLLHUP, party_join(p));
}

/* Closed is not yet drained: who waits for the hangup waits for the last message. */
TEST_F(channel, hangup_wakes)
{
	struct party *p, *receiver;
	int in, out;

	make_channel(&in, &out, 1);
	put(out);
	p = party_poll(variant->process, in, 0);
	must(chanfd_close(out, 0));
	EXPECT_TRUE(stays_blocked(p));
	receiver = party_recv(variant->process, in);
	EXPECT_EQ(1, party_join(receiver));
	EXPECT_EQ(POLLHUP, party_join(p));
}

/* A sender that waits moves up when there is room: nothing to be seen of it. */
TEST_F(channel, refilled_at_once)
{
	struct party *sender;
	int in, out, ep;

	make_channel(&in, &out, 1);
	put(out);
	sender = party_send(variant->process, out, 2);
	ASSERT_TRUE(senders_wait(in, 1));
	ep = epoll_on(out, EPOLLOUT | EPOLLET);
	EXPECT_EQ(0, reported(ep));
	get(in);
	EXPECT_EQ(0, party_join(sender));
	EXPECT_EQ(0, polled(out));
	EXPECT_EQ(0, reported(ep));
	get(in);
	EXPECT_EQ(EPOLLOUT, reported(ep));
}

/* Without the other end, which it may have inherited. */
static long run_poll_alone(struct party *me)
{
	drop(me, me->seq);
	return run_poll(me);
}

TEST_F(channel, orphan_wakes)
{
	int end[2], side;
	struct party *p;

	for (side = 0; side < 2; side++) {
		make_channel(&end[0], &end[1], 0);
		p = party_new(variant->process, run_poll_alone, end[side]);
		p->value = side ? POLLOUT : POLLIN;
		p->seq = end[!side];
		party_start(p);
		EXPECT_TRUE(stays_blocked(p));
		close(end[!side]);
		EXPECT_EQ(POLLERR | (side ? POLLOUT : POLLIN), party_join(p));
	}
}

TEST(select_syscall)
{
	struct timeval none = { 0 };
	fd_set r, w;
	int in, out;

	make_channel(&in, &out, 1);
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(in, &r);
	FD_SET(out, &w);
	EXPECT_EQ(1, select(out + 1, &r, &w, NULL, &none));
	EXPECT_FALSE(FD_ISSET(in, &r));
	EXPECT_TRUE(FD_ISSET(out, &w));
	put(out);
	FD_SET(in, &r);
	EXPECT_EQ(1, select(out + 1, &r, &w, NULL, NULL));
	EXPECT_TRUE(FD_ISSET(in, &r));
	EXPECT_FALSE(FD_ISSET(out, &w));
}

/*
 * Level, edge and one-shot, the same for every kind of handle.
 *
 * A source is something that can be made ready, perhaps more than once, and
 * perhaps unready again.
 */
struct source {
	int fd;			/* the handle that is watched */
	int peer;
	struct party *party;	/* who waits, where readiness needs one */
	bool process;
};

struct kind {
	uint32_t events;
	void (*make)(struct source *s);
	void (*ready)(struct source *s);
	void (*again)(struct source *s);	/* more of it; NULL: all or nothing */
	void (*unready)(struct source *s);	/* all of it; NULL: for good */
};

static void make_receiving(struct source *s)
{
	make_channel(&s->fd, &s->peer, 4);
}

static void send_one(struct source *s)
{
	put(s->peer);
}

static void receive_all(struct source *s)
{
	uint64_t value;

	while (chanfd_get(s->fd, &value, &nonblock) == 1)
		;
}

static void make_sending(struct source *s)
{
	make_channel(&s->peer, &s->fd, 4);
	while (polled(s->fd) & POLLOUT)
		put(s->fd);
}

static void receive_one(struct source *s)
{
	get(s->peer);
}

static void send_all(struct source *s)
{
	while (!chanfd_put(s->fd, (uint64_t)1, &nonblock))
		;
}

static void make_rendezvous_receiving(struct source *s)
{
	make_channel(&s->fd, &s->peer, 0);
}

/* Asleep: before that it may be in the queue, and epoll not have been told yet. */
static void block_sender(struct source *s)
{
	s->party = party_send(s->process, s->peer, 1);
	blocked(s->party);
}

static void meet_sender(struct source *s)
{
	get(s->fd);
	must(party_join(s->party));
}

static void make_rendezvous_sending(struct source *s)
{
	make_channel(&s->peer, &s->fd, 0);
}

static void block_receiver(struct source *s)
{
	s->party = party_recv(s->process, s->peer);
	blocked(s->party);
}

static void meet_receiver(struct source *s)
{
	put(s->fd);
	must(party_join(s->party));
}

static void make_waitgroup(struct source *s)
{
	int fd[2];

	must(chanfd_waitgroup_pair(fd, 0, "poll"));
	must(chanfd_wg_add(fd[1], 1));
	s->fd = fd[0];
	s->peer = fd[1];
}

static void wg_done(struct source *s)
{
	must(chanfd_wg_done(s->peer));
}

static void wg_add(struct source *s)
{
	must(chanfd_wg_add(s->peer, 1));
}

static void make_context(struct source *s)
{
	int fd[2];

	must(chanfd_context_pair(fd, -1));
	s->fd = fd[0];
	s->peer = fd[1];
}

static void cancel(struct source *s)
{
	must(chanfd_cancel(s->peer, 0, NULL));
}

static const struct kind receiving = {
	EPOLLIN, make_receiving, send_one, send_one, receive_all,
};

static const struct kind sending = {
	EPOLLOUT, make_sending, receive_one, receive_one, send_all,
};

static const struct kind rendezvous_receiving = {
	EPOLLIN, make_rendezvous_receiving, block_sender, NULL, meet_sender,
};

static const struct kind rendezvous_sending = {
	EPOLLOUT, make_rendezvous_sending, block_receiver, NULL, meet_receiver,
};

static const struct kind waitgroup = {
	EPOLLIN, make_waitgroup, wg_done, NULL, wg_add,
};

static const struct kind context = {
	EPOLLIN, make_context, cancel, NULL, NULL,
};

FIXTURE(source) {
	struct source s;
	uint32_t events;	/* that are reported when it is ready */
};

FIXTURE_VARIANT(source) {
	const struct kind *kind;
	bool process;
};

FIXTURE_VARIANT_ADD(source, receiving) {
	.kind = &receiving,
};

FIXTURE_VARIANT_ADD(source, sending) {
	.kind = &sending,
};

FIXTURE_VARIANT_ADD(source, rendezvous_receiving_threads) {
	.kind = &rendezvous_receiving,
};

FIXTURE_VARIANT_ADD(source, rendezvous_receiving_processes) {
	.kind = &rendezvous_receiving, .process = true,
};

FIXTURE_VARIANT_ADD(source, rendezvous_sending_threads) {
	.kind = &rendezvous_sending,
};

FIXTURE_VARIANT_ADD(source, rendezvous_sending_processes) {
	.kind = &rendezvous_sending, .process = true,
};

FIXTURE_VARIANT_ADD(source, waitgroup) {
	.kind = &waitgroup,
};

FIXTURE_VARIANT_ADD(source, context) {
	.kind = &context,
};

FIXTURE_SETUP(source)
{
	self->s.process = variant->process;
	variant->kind->make(&self->s);
	self->events = variant->kind->events;
	if (variant->kind == &context)
		self->events |= EPOLLHUP;
}

FIXTURE_TEARDOWN(source)
{
}

/* Reported for as long as it is so. */
TEST_F(source, level)
{
	int ep = epoll_on(self->s.fd, variant->kind->events);

	EXPECT_EQ(0, reported(ep));
	variant->kind->ready(&self->s);
	EXPECT_EQ(self->events, reported(ep));
	EXPECT_EQ(self->events, reported(ep));
	if (!variant->kind->unready)
		return;
	variant->kind->unready(&self->s);
	EXPECT_EQ(0, reported(ep));
	variant->kind->ready(&self->s);
	EXPECT_EQ(self->events, reported(ep));
}

/* Reported once for every time that it comes to be. */
TEST_F(source, edge)
{
	int ep = epoll_on(self->s.fd, variant->kind->events | EPOLLET);

	EXPECT_EQ(0, reported(ep));
	variant->kind->ready(&self->s);
	EXPECT_EQ(self->events, reported(ep));
	EXPECT_EQ(0, reported(ep));
	/* Who has not taken everything is told again when there is more. */
	if (variant->kind->again) {
		variant->kind->again(&self->s);
		EXPECT_EQ(self->events, reported(ep));
		EXPECT_EQ(0, reported(ep));
	}
	if (!variant->kind->unready)
		return;
	variant->kind->unready(&self->s);
	EXPECT_EQ(0, reported(ep));
	variant->kind->ready(&self->s);
	EXPECT_EQ(self->events, reported(ep));
	EXPECT_EQ(0, reported(ep));
}

/* What was ready before anybody looked is an edge, too. */
TEST_F(source, edge_of_the_past)
{
	int ep;

	variant->kind->ready(&self->s);
	ep = epoll_on(self->s.fd, variant->kind->events | EPOLLET);
	EXPECT_EQ(self->events, reported(ep));
	EXPECT_EQ(0, reported(ep));
}

TEST_F(source, one_shot)
{
	struct epoll_event ev = { .events = variant->kind->events | EPOLLONESHOT };
	int ep = epoll_on(self->s.fd, ev.events);

	variant->kind->ready(&self->s);
	EXPECT_EQ(self->events, reported(ep));
	EXPECT_EQ(0, reported(ep));
	if (variant->kind->again) {
		variant->kind->again(&self->s);
		EXPECT_EQ(0, reported(ep));
	}
	must(epoll_ctl(ep, EPOLL_CTL_MOD, self->s.fd, &ev));
	EXPECT_EQ(self->events, reported(ep));
	EXPECT_EQ(0, reported(ep));
}

/* An instance in an instance, which poll looks through. */
TEST_F(source, nested)
{
	int inner = epoll_on(self->s.fd, variant->kind->events);
	int outer = epoll_on(inner, EPOLLIN);

	EXPECT_EQ(0, reported(outer));
	EXPECT_EQ(0, polled(outer));
	variant->kind->ready(&self->s);
	EXPECT_EQ(EPOLLIN, reported(outer));
	EXPECT_EQ(POLLIN, polled(outer));
	EXPECT_EQ(self->events, reported(inner));
	if (!variant->kind->unready)
		return;
	variant->kind->unready(&self->s);
	EXPECT_EQ(0, reported(inner));
	EXPECT_EQ(0, reported(outer));
	EXPECT_EQ(0, polled(outer));
}

static long run_epoll_wait(struct party *me)
{
	struct epoll_event ev;

	return epoll_wait(me->fd, &ev, 1, -1) == 1 ? (long)ev.events : -1;
}

/* Asleep in an instance, or in one that watches that. */
TEST_F(source, wakes)
{
	int inner = epoll_on(self->s.fd, variant->kind->events);
	int outer = epoll_on(inner, EPOLLIN);
	struct party *p, *q;

	p = party_start(party_new(false, run_epoll_wait, inner));
	q = party_start(party_new(true, run_epoll_wait, outer));
	EXPECT_TRUE(stays_blocked(p));
	EXPECT_TRUE(stays_blocked(q));
	variant->kind->ready(&self->s);
	EXPECT_EQ(self->events, party_join(p));
	EXPECT_EQ(EPOLLIN, party_join(q));
}

/* A handle that goes away leaves the instance. */
TEST(closed_while_watched)
{
	static const struct kind *const kinds[] = {
		&receiving, &sending, &rendezvous_receiving, &rendezvous_sending,
		&waitgroup, &context,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct source s = { 0 };
		int ep;

		kinds[i]->make(&s);
		ep = epoll_on(s.fd, kinds[i]->events);
		kinds[i]->ready(&s);
		EXPECT_EQ(kinds[i]->events, reported(ep) & kinds[i]->events);
		close(s.fd);
		EXPECT_EQ(0, reported(ep));
	}
}

/*
 * Exclusive: many instances watch, and each thing that happens wakes one.
 *
 *	channel <- ep 0 <- watcher 0
 *	        <- ep 1 <- watcher 1 ...
 */
#define WATCHERS	8

static int how_many_woke(struct party **watcher)
{
	int i, n = 0;

	for (i = 0; i < WATCHERS; i++)
		n += watcher[i]->ended;
	return n;
}

TEST_F(channel, exclusive)
{
	struct party *watcher[WATCHERS];
	int in, out, i, k, side, fd;

	for (side = 0; side < 2; side++) {
		make_channel(&in, &out, WATCHERS);
		fd = side ? out : in;
		for (i = 0; side && i < WATCHERS; i++)
			put(out);
		for (i = 0; i < WATCHERS; i++) {
			int ep = epoll_on(fd, EPOLLEXCLUSIVE | (side ? EPOLLOUT : EPOLLIN));

			watcher[i] = party_start(party_new(variant->process,
							   run_epoll_wait, ep));
			ASSERT_TRUE(blocked(watcher[i]));
		}
		for (k = 1; k <= WATCHERS; k++) {
			if (side)
				get(in);
			else
				put(out);
			/* Nothing is taken: were more woken they would find it. */
			EXPECT_TRUE(eventually(how_many_woke(watcher) >= k));
			if (k == 1 || k == WATCHERS - 1)
				pause_for(A_WHILE);
			EXPECT_EQ(k, how_many_woke(watcher));
		}
		for (i = 0; i < WATCHERS; i++)
			EXPECT_EQ(side ? EPOLLOUT : EPOLLIN, party_join(watcher[i]));
	}
}

/* The end is for everybody. */
TEST_F(channel, end_wakes_all_exclusive)
{
	struct party *watcher[WATCHERS];
	int i;

	for (i = 0; i < WATCHERS; i++) {
		int ep = epoll_on(self->in, EPOLLEXCLUSIVE | EPOLLIN);

		watcher[i] = party_start(party_new(variant->process, run_epoll_wait, ep));
		ASSERT_TRUE(blocked(watcher[i]));
	}
	must(chanfd_close(self->out, 0));
	for (i = 0; i < WATCHERS; i++)
		EXPECT_EQ(EPOLLIN | EPOLLHUP, party_join(watcher[i]));
}

/* What poll(2) says of a broken round and of a lost canceller. */
TEST(broken_waitgroup)
{
	struct source s = { 0 };
	int token;

	make_waitgroup(&s);
	token = must(chanfd_wg_token(s.peer, 0));
	EXPECT_EQ(0, polled(s.fd));
	close(token);
	EXPECT_EQ(POLLERR, polled(s.fd));
	wg_done(&s);
	EXPECT_EQ(POLLIN | POLLERR, polled(s.fd));
	wg_add(&s);
	EXPECT_EQ(0, polled(s.fd));
}

TEST(lost_canceller)
{
	struct source s = { 0 };

	make_context(&s);
	EXPECT_EQ(0, polled(s.fd));
	close(s.peer);
	EXPECT_EQ(POLLIN | POLLHUP | POLLERR, polled(s.fd));
}

/* Ends that only act have nothing to be ready for. */
TEST(acting_ends)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int ep = must(epoll_create1(EPOLL_CLOEXEC));
	struct source wg = { 0 }, ctx = { 0 };
	int token;

	make_waitgroup(&wg);
	wg_done(&wg);
	EXPECT_EQ(0, polled(wg.peer));
	make_context(&ctx);
	cancel(&ctx);
	EXPECT_EQ(0, polled(ctx.peer));
	token = must(chanfd_wg_token(wg.peer, 0));
	EXPECT_EQ(EPERM, errno_of(epoll_ctl(ep, EPOLL_CTL_ADD, token, &ev)));
}

/* Many senders, one reader that drains at every edge: it never waits in vain. */
#define SENDERS	4
#define EACH	300

static long run_send_many(struct party *me)
{
	uint64_t i;

	for (i = 0; i < EACH; i++)
		if (chanfd_put(me->fd, i, NULL))
			return -1;
	return 0;
}

TEST_F(channel, edge_loses_nothing)
{
	struct party *sender[SENDERS];
	int in, out, ep, i, got = 0;
	uint64_t value;

	make_channel(&in, &out, 3);
	ep = epoll_on(in, EPOLLIN | EPOLLET);
	for (i = 0; i < SENDERS; i++)
		sender[i] = party_start(party_new(variant->process, run_send_many, out));
	while (got < SENDERS * EACH) {
		ASSERT_EQ(EPOLLIN, reported_in_time(ep));
		while (chanfd_get(in, &value, &nonblock) == 1)
			got++;
		ASSERT_EQ(EAGAIN, errno);
	}
	for (i = 0; i < SENDERS; i++)
		EXPECT_EQ(0, party_join(sender[i]));
}

TEST_HARNESS_MAIN
