// SPDX-License-Identifier: GPL-2.0
/*
 * Waitgroups: counting, rounds, tokens, and members that die.
 */
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>

#include "helpers.h"

static struct chanfd_waitgroup_info wg_info(int wg)
{
	struct chanfd_waitgroup_info info;

	poison(&info);
	if (chanfd_waitgroup_info(wg, &info))
		err(1, "chanfd_waitgroup_info");
	return info;
}

static bool waiters_wait(int wg, unsigned int n)
{
	return eventually(wg_info(wg).waiters == n);
}

static long run_wait(struct party *me)
{
	return chanfd_wg_wait(me->fd, &me->opt, me->arg);
}

static long run_done(struct party *me)
{
	return chanfd_wg_done(me->fd);
}

static long run_hold(struct party *me)
{
	return pause();
}

static struct party *wait_new(bool process, int wg)
{
	struct party *p = party_new(process, run_wait, wg);

	p->arg = shared(sizeof(struct chanfd_round));
	poison((struct chanfd_round *)p->arg);
	return p;
}

static struct party *party_wait(bool process, int wg)
{
	return party_start(wait_new(process, wg));
}

static struct chanfd_round round_of(struct party *p)
{
	return *(struct chanfd_round *)p->arg;
}

/* A process that keeps what it inherits open; the test lets go of @fd. */
static struct party *holder_of(int fd)
{
	struct party *p = party_start(party_new(true, run_hold, fd));

	close(fd);
	return p;
}

static short polled(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (poll(&p, 1, 0) < 0)
		err(1, "poll");
	return p.revents;
}

static void ignore(int sig)
{
}

/* W1: a group that was never used is at zero. */
TEST(zero_at_birth)
{
	struct chanfd_round round;
	int wg = chanfd_waitgroup(0, "born");

	ASSERT_LE(0, wg);
	poison(&round);
	EXPECT_EQ(0, chanfd_wg_wait(wg, NULL, &round));
	EXPECT_EQ(0, round.broken);
	EXPECT_EQ(0, round.error);
	EXPECT_EQ(0, wg_info(wg).count);
	EXPECT_EQ(0, wg_info(wg).round);
	EXPECT_EQ(POLLIN, polled(wg, POLLIN));
}

TEST(info)
{
	struct chanfd_info info;
	int wg = chanfd_waitgroup(0, "workers");
	int token, fd[2];
	uint64_t id;

	ASSERT_LE(0, wg);
	poison(&info);
	ASSERT_EQ(0, chanfd_info(wg, &info));
	EXPECT_EQ(CHANFD_TYPE_WAITGROUP, info.type);
	EXPECT_EQ(CHANFD_READ | CHANFD_WRITE, info.rights);
	EXPECT_STREQ("workers", (char *)info.name);
	id = info.id;

	token = chanfd_wg_token(wg, 0);
	ASSERT_LE(0, token);
	EXPECT_EQ(1, wg_info(wg).count);
	EXPECT_EQ(1, wg_info(wg).tokens);
	poison(&info);
	ASSERT_EQ(0, chanfd_info(token, &info));
	EXPECT_EQ(CHANFD_TYPE_TOKEN, info.type);
	EXPECT_EQ(id, info.id);
	EXPECT_STREQ("workers", (char *)info.name);
	EXPECT_EQ(-1, chanfd_reduce(token, CHANFD_READ));

	ASSERT_EQ(0, chanfd_waitgroup_pair(fd, 0, "pair"));
	ASSERT_EQ(0, chanfd_info(fd[0], &info));
	EXPECT_EQ(CHANFD_READ, info.rights);
	EXPECT_NE(id, info.id);
	ASSERT_EQ(0, chanfd_info(fd[1], &info));
	EXPECT_EQ(CHANFD_WRITE, info.rights);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd[0], F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd[1], F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(token, F_GETFD));
}

/* tW2: unlike in Go, what went wrong has changed nothing. */
TEST(below_zero)
{
	struct chanfd_add add = { .delta = -3 };
	int wg = chanfd_waitgroup(0, "");

	EXPECT_EQ(ERANGE, errno_of(chanfd_wg_done(wg)));
	EXPECT_EQ(0, wg_info(wg).count);
	EXPECT_EQ(0, chanfd_wg_wait(wg, NULL, NULL));

	ASSERT_LE(0, chanfd_wg_add(wg, 2));
	EXPECT_EQ(ERANGE, errno_of(ioctl(wg, CHANFD_IOC_ADD, &add)));
	EXPECT_EQ(0, add.count);
	EXPECT_EQ(ERANGE, errno_of(chanfd_wg_add(wg, INT_MIN)));
	EXPECT_EQ(2, wg_info(wg).count);
	EXPECT_LE(0, chanfd_wg_add(wg, -2));
	EXPECT_EQ(0, chanfd_wg_wait(wg, NULL, NULL));
}

/* W5 */
TEST(above_the_limit)
{
	int wg = chanfd_waitgroup(0, "");

	ASSERT_LE(0, chanfd_wg_add(wg, INT_MAX));
	EXPECT_EQ(INT_MAX, wg_info(wg).count);
	EXPECT_EQ(EOVERFLOW, errno_of(chanfd_wg_add(wg, 1)));
	EXPECT_EQ(EOVERFLOW, errno_of(chanfd_wg_add(wg, INT_MAX)));
	EXPECT_EQ(EOVERFLOW, errno_of(chanfd_wg_token(wg, 0)));
	EXPECT_EQ(INT_MAX, wg_info(wg).count);
	EXPECT_EQ(0, wg_info(wg).tokens);
	EXPECT_EQ(0, chanfd_wg_done(wg));
	EXPECT_LE(0, chanfd_wg_add(wg, 1));
	EXPECT_LE(0, chanfd_wg_add(wg, -INT_MAX));
	EXPECT_EQ(0, chanfd_wg_wait(wg, NULL, NULL));
}

TEST(rights)
{
	struct chanfd_round round;
	int fd[2];

	ASSERT_EQ(0, chanfd_waitgroup_pair(fd, 0, ""));
	EXPECT_EQ(EPERM, errno_of(chanfd_wg_add(fd[0], 1)));
	EXPECT_EQ(EPERM, errno_of(chanfd_wg_done(fd[0])));
	EXPECT_EQ(EPERM, errno_of(chanfd_wg_token(fd[0], 0)));
	EXPECT_EQ(EPERM, errno_of(chanfd_wg_wait(fd[1], NULL, &round)));
	EXPECT_EQ(0, wg_info(fd[0]).count);
	EXPECT_EQ(EPERM, errno_of(chanfd_reduce(fd[0], CHANFD_READ | CHANFD_WRITE)));
	EXPECT_EQ(EPERM, errno_of(chanfd_reduce(fd[1], CHANFD_READ)));
}

FIXTURE(group) {
	int wg;
};

FIXTURE_VARIANT(group) {
	bool process;
};

FIXTURE_VARIANT_ADD(group, threads) {
	.process = false,
};

FIXTURE_VARIANT_ADD(group, processes) {
	.process = true,
};

FIXTURE_SETUP(group)
{
	self->wg = chanfd_waitgroup(0, "test");
	ASSERT_LE(0, self->wg);
}

FIXTURE_TEARDOWN(group)
{
	close(self->wg);
}

/* W1, W2, W7: not before the last is done, whoever says so. */
TEST_F(group, waits_for_the_last)
{
	struct party *waiter;
	int i;

	ASSERT_LE(0, chanfd_wg_add(self->wg, 3));
	waiter = party_wait(variant->process, self->wg);
	ASSERT_TRUE(waiters_wait(self->wg, 1));
	for (i = 0; i < 3; i++) {
		EXPECT_TRUE(stays_blocked(waiter));
		EXPECT_EQ(0, party_join(party_start(party_new(variant->process,
							      run_done, self->wg))));
	}
	EXPECT_EQ(0, party_join(waiter));
	EXPECT_EQ(0, round_of(waiter).broken);
	EXPECT_EQ(0, wg_info(self->wg).waiters);
	EXPECT_EQ(1, wg_info(self->wg).round);
}

/* A count that only comes close to zero lets nobody through. */
TEST_F(group, add_while_waiting)
{
	struct party *waiter;

	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	waiter = party_wait(variant->process, self->wg);
	ASSERT_TRUE(waiters_wait(self->wg, 1));
	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	EXPECT_TRUE(stays_blocked(waiter));
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	EXPECT_EQ(0, party_join(waiter));
}

/* tW3, tW4 */
#define FRESH_GROUPS	300

struct effects {
	int wg[FRESH_GROUPS];
	int effect[FRESH_GROUPS][2];
};

static long run_members_job(struct party *me)
{
	struct effects *e = me->arg;
	int i;

	for (i = 0; i < FRESH_GROUPS; i++) {
		e->effect[i][me->value] = i + 1;
		if (chanfd_wg_done(e->wg[i]))
			return -1;
	}
	return 0;
}

TEST_F(group, effects_of_all_are_seen)
{
	struct effects *e = shared(sizeof(*e));
	struct party *member[2];
	int i, m, wrong = 0;

	for (i = 0; i < FRESH_GROUPS; i++) {
		e->wg[i] = chanfd_waitgroup(0, "");
		ASSERT_LE(0, e->wg[i]);
		ASSERT_LE(0, chanfd_wg_add(e->wg[i], 2));
	}
	for (m = 0; m < 2; m++) {
		member[m] = party_new(variant->process, run_members_job, -1);
		member[m]->arg = e;
		member[m]->value = m;
		party_start(member[m]);
	}
	for (i = 0; i < FRESH_GROUPS; i++) {
		ASSERT_EQ(0, chanfd_wg_wait(e->wg[i], NULL, NULL));
		wrong += e->effect[i][0] != i + 1 || e->effect[i][1] != i + 1;
	}
	EXPECT_EQ(0, wrong);
	EXPECT_EQ(0, party_join(member[0]));
	EXPECT_EQ(0, party_join(member[1]));
}

/* tW6 */
#define CROWD	200

TEST_F(group, one_crossing_releases_all)
{
	struct party *waiter[CROWD];
	uint64_t round;
	int i, bad = 0;

	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	for (i = 0; i < CROWD; i++)
		waiter[i] = party_wait(variant->process, self->wg);
	ASSERT_TRUE(waiters_wait(self->wg, CROWD));
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	/* The next round is none of theirs. */
	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	for (i = 0; i < CROWD; i++)
		bad += party_join(waiter[i]) != 0;
	EXPECT_EQ(0, bad);
	round = round_of(waiter[0]).number;
	for (i = 1; i < CROWD; i++)
		EXPECT_EQ(round, round_of(waiter[i]).number);
	EXPECT_EQ(0, wg_info(self->wg).waiters);
}

/* tW7, W3: the group is in use again before those who waited have run. */
TEST_F(group, early_reuse)
{
	struct party *waiter[4], *next;
	uint64_t before = 0;
	int i, round;

	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	for (round = 0; round < 20; round++) {
		for (i = 0; i < 4; i++)
			waiter[i] = party_wait(variant->process, self->wg);
		ASSERT_TRUE(waiters_wait(self->wg, 4));
		ASSERT_EQ(0, chanfd_wg_done(self->wg));
		ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
		for (i = 0; i < 4; i++)
			ASSERT_EQ(0, party_join(waiter[i]));
		if (round)
			EXPECT_EQ(before + 1, round_of(waiter[0]).number);
		before = round_of(waiter[0]).number;
	}

	/* Who comes now waits for the round that runs now. */
	next = party_wait(variant->process, self->wg);
	EXPECT_TRUE(stays_blocked(next));
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	EXPECT_EQ(0, party_join(next));
	EXPECT_EQ(before + 1, round_of(next).number);

	/* Late, but in time for what the last round says. */
	next = party_wait(variant->process, self->wg);
	EXPECT_EQ(0, party_join(next));
	EXPECT_EQ(before + 1, round_of(next).number);
}

/* W6: two groups make a barrier, round after round. */
#define MEMBERS	16
#define ROUNDS	8

struct barrier {
	int arrived, leave;
	atomic_int past;
};

static long run_barrier_member(struct party *me)
{
	struct barrier *b = me->arg;

	if (chanfd_wg_done(b->arrived) || chanfd_wg_wait(b->leave, NULL, NULL))
		return -1;
	b->past++;
	return 0;
}

TEST_F(group, barrier)
{
	struct barrier *b = shared(sizeof(*b));
	struct party *member[MEMBERS];
	int i, round;

	b->arrived = self->wg;
	b->leave = chanfd_waitgroup(0, "leave");
	ASSERT_LE(0, b->leave);
	for (round = 0; round < ROUNDS; round++) {
		ASSERT_LE(0, chanfd_wg_add(b->arrived, MEMBERS));
		ASSERT_LE(0, chanfd_wg_add(b->leave, MEMBERS));
		b->past = 0;
		for (i = 0; i < MEMBERS; i++) {
			member[i] = party_new(variant->process, run_barrier_member, -1);
			member[i]->arg = b;
			party_start(member[i]);
		}
		ASSERT_EQ(0, chanfd_wg_wait(b->arrived, NULL, NULL));
		for (i = 0; i < MEMBERS; i++) {
			EXPECT_EQ(0, atomic_load(&b->past));
			ASSERT_EQ(0, chanfd_wg_done(b->leave));
		}
		for (i = 0; i < MEMBERS; i++)
			EXPECT_EQ(0, party_join(member[i]));
		EXPECT_EQ(MEMBERS, atomic_load(&b->past));
	}
}

TEST_F(group, deadline)
{
	struct chanfd_opt opt = CHANFD_OPT_INIT;
	struct party *waiter;
	struct chanfd_round round;

	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	waiter = wait_new(variant->process, self->wg);
	waiter->opt.deadline = chanfd_deadline(20 * MSEC);
	EXPECT_EQ(ETIMEDOUT, errno_of(party_join(party_start(waiter))));
	EXPECT_LE(waiter->opt.deadline, now());
	EXPECT_EQ(0, wg_info(self->wg).waiters);

	/* One that has passed stops a wait, not one that need not wait. */
	opt.deadline = 1;
	poison(&round);
	EXPECT_EQ(ETIMEDOUT, errno_of(chanfd_wg_wait(self->wg, &opt, &round)));
	EXPECT_EQ(POISON32, round.broken);
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	EXPECT_EQ(0, chanfd_wg_wait(self->wg, &opt, &round));
}

TEST_F(group, nonblock)
{
	struct chanfd_opt opt = CHANFD_OPT_INIT;

	opt.flags = CHANFD_NONBLOCK;
	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_wg_wait(self->wg, &opt, NULL)));
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	EXPECT_EQ(0, chanfd_wg_wait(self->wg, &opt, NULL));
}

TEST_F(group, context)
{
	struct chanfd_opt opt = CHANFD_OPT_INIT;
	struct party *waiter;

	opt.context = chanfd_context(-1);
	ASSERT_LE(0, opt.context);
	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	waiter = wait_new(variant->process, self->wg);
	waiter->opt = opt;
	party_start(waiter);
	ASSERT_TRUE(waiters_wait(self->wg, 1));
	ASSERT_EQ(0, chanfd_cancel(opt.context, 0, NULL));
	EXPECT_EQ(ECANCELED, errno_of(party_join(waiter)));
	EXPECT_EQ(0, wg_info(self->wg).waiters);

	/* A context that is done comes before anything else. */
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	EXPECT_EQ(ECANCELED, errno_of(chanfd_wg_wait(self->wg, &opt, NULL)));
}

TEST_F(group, signal)
{
	struct sigaction interrupt = { .sa_handler = ignore };
	struct sigaction restart = { .sa_handler = ignore, .sa_flags = SA_RESTART };
	struct party *waiter;

	sigaction(SIGUSR1, &interrupt, NULL);
	sigaction(SIGUSR2, &restart, NULL);
	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));

	waiter = party_wait(variant->process, self->wg);
	ASSERT_TRUE(waiters_wait(self->wg, 1));
	party_signal(waiter, SIGUSR1);
	EXPECT_EQ(EINTR, errno_of(party_join(waiter)));
	EXPECT_EQ(0, wg_info(self->wg).waiters);

	waiter = party_wait(variant->process, self->wg);
	ASSERT_TRUE(waiters_wait(self->wg, 1));
	party_signal(waiter, SIGUSR2);
	EXPECT_TRUE(stays_blocked(waiter));
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	EXPECT_EQ(0, party_join(waiter));
}

static long run_select_job_or_zero(struct party *me)
{
	struct chanfd_outcome *out = me->arg;

	return chanfd_select_of(&me->opt, out, CHANFD_RECV(me->value, NULL, 0),
				CHANFD_WAIT(me->fd));
}

TEST_F(group, case_of_a_select)
{
	struct chanfd_outcome *out = shared(sizeof(*out));
	int ch = chanfd_channel(0, 0, 0, "jobs");
	struct party *p;

	ASSERT_LE(0, ch);
	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));

	p = party_new(variant->process, run_select_job_or_zero, self->wg);
	p->arg = out;
	p->value = ch;
	party_start(p);
	ASSERT_TRUE(receivers_wait(ch, 1));
	EXPECT_EQ(1, wg_info(self->wg).waiters);
	ASSERT_EQ(0, chanfd_send(ch, NULL, 0, NULL));
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(1, out->ok);
	EXPECT_EQ(0, wg_info(self->wg).waiters);

	p = party_new(variant->process, run_select_job_or_zero, self->wg);
	p->arg = out;
	p->value = ch;
	party_start(p);
	ASSERT_TRUE(receivers_wait(ch, 1));
	ASSERT_EQ(0, chanfd_wg_done_error(self->wg, ENOSPC));
	EXPECT_EQ(1, party_join(p));
	EXPECT_EQ(0, out->error);
	EXPECT_EQ(0, out->size);
	EXPECT_EQ(ENOSPC, out->status);
	EXPECT_EQ(0, info_of(ch).waiting_receivers);
}

/* tW8: readable at zero and only then, in error while the round is broken. */
TEST_F(group, poll)
{
	struct pollfd pfd = { .fd = self->wg, .events = POLLIN };
	struct party *done;
	int token;

	EXPECT_EQ(POLLIN, polled(self->wg, POLLIN));
	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	EXPECT_EQ(0, polled(self->wg, POLLIN));
	done = party_start(party_new(variant->process, run_done, self->wg));
	EXPECT_EQ(1, poll(&pfd, 1, BOUND / MSEC));
	EXPECT_EQ(POLLIN, pfd.revents);
	EXPECT_EQ(0, party_join(done));

	token = chanfd_wg_token(self->wg, 0);
	ASSERT_LE(0, token);
	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	EXPECT_EQ(0, polled(self->wg, POLLIN));
	close(token);
	EXPECT_EQ(POLLERR, polled(self->wg, POLLIN));
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	EXPECT_EQ(POLLIN | POLLERR, polled(self->wg, POLLIN));
	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	EXPECT_EQ(0, polled(self->wg, POLLIN));
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	EXPECT_EQ(POLLIN, polled(self->wg, POLLIN));
}

static long run_token_done(struct party *me)
{
	return chanfd_token_done(me->fd, me->value);
}

TEST_F(group, token_is_done_once)
{
	struct party *waiter, *worker;
	int token, copy;

	token = chanfd_wg_token(self->wg, 0);
	ASSERT_LE(0, token);
	copy = dup(token);
	ASSERT_LE(0, copy);
	waiter = party_wait(variant->process, self->wg);
	ASSERT_TRUE(waiters_wait(self->wg, 1));

	worker = party_start(party_new(variant->process, run_token_done, token));
	EXPECT_EQ(0, party_join(worker));
	EXPECT_EQ(0, party_join(waiter));
	EXPECT_EQ(0, wg_info(self->wg).count);
	EXPECT_EQ(ERANGE, errno_of(chanfd_token_done(token, 0)));
	EXPECT_EQ(ERANGE, errno_of(chanfd_token_done(copy, EIO)));

	/* It is not this round's any more. */
	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	close(token);
	close(copy);
	EXPECT_EQ(1, wg_info(self->wg).count);
	EXPECT_EQ(0, wg_info(self->wg).broken);
	EXPECT_EQ(0, wg_info(self->wg).tokens);
}

/* Who ends a round by counting has counted for its tokens, too. */
TEST(token_of_an_ended_round)
{
	int wg = chanfd_waitgroup(0, "");
	int token[2];

	token[0] = chanfd_wg_token(wg, 0);
	token[1] = chanfd_wg_token(wg, 0);
	ASSERT_LE(0, token[1]);
	ASSERT_EQ(0, chanfd_wg_add(wg, -2));
	EXPECT_EQ(0, wg_info(wg).tokens);
	ASSERT_EQ(0, chanfd_wg_add(wg, 2));
	EXPECT_EQ(ERANGE, errno_of(chanfd_token_done(token[0], 0)));
	close(token[0]);
	close(token[1]);
	EXPECT_EQ(2, wg_info(wg).count);
	EXPECT_EQ(0, wg_info(wg).broken);
}

/* A copy of a token, dup'ed or inherited, is the token. */
TEST_F(group, token_breaks_with_its_last_copy)
{
	struct party *waiter;
	int token, copy;

	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	waiter = party_wait(variant->process, self->wg);
	ASSERT_TRUE(waiters_wait(self->wg, 1));
	token = chanfd_wg_token(self->wg, 0);
	ASSERT_LE(0, token);
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	copy = dup(token);
	close(token);
	EXPECT_TRUE(stays_blocked(waiter));
	close(copy);
	EXPECT_EQ(EOWNERDEAD, errno_of(party_join(waiter)));
	EXPECT_EQ(1, round_of(waiter).broken);
	EXPECT_EQ(0, wg_info(self->wg).count);
}

TEST_F(group, auto_done)
{
	struct party *waiter;
	int token;

	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	waiter = party_wait(variant->process, self->wg);
	ASSERT_TRUE(waiters_wait(self->wg, 1));
	token = chanfd_wg_token(self->wg, CHANFD_AUTO_DONE);
	ASSERT_LE(0, token);
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	EXPECT_TRUE(stays_blocked(waiter));
	close(token);
	EXPECT_EQ(0, party_join(waiter));
	EXPECT_EQ(0, round_of(waiter).broken);
}

/* How many did not make it, and what the others think. */
TEST_F(group, broken_count)
{
	struct party *waiter;
	int token[5], i;

	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	waiter = party_wait(variant->process, self->wg);
	ASSERT_TRUE(waiters_wait(self->wg, 1));
	for (i = 0; i < 5; i++) {
		token[i] = chanfd_wg_token(self->wg, 0);
		ASSERT_LE(0, token[i]);
	}
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	EXPECT_EQ(0, chanfd_token_done(token[0], 0));
	for (i = 0; i < 4; i++)
		close(token[i]);
	EXPECT_EQ(1, wg_info(self->wg).count);
	EXPECT_EQ(3, wg_info(self->wg).broken);
	/* A plain wait is for the end of the round. */
	EXPECT_TRUE(stays_blocked(waiter));
	EXPECT_EQ(0, chanfd_token_done(token[4], 0));
	EXPECT_EQ(EOWNERDEAD, errno_of(party_join(waiter)));
	EXPECT_EQ(3, round_of(waiter).broken);
}

/* Reports every death, until the round is over. */
static long run_report_deaths(struct party *me)
{
	struct chanfd_round *round = me->arg;
	unsigned int known = 0;
	struct chanfd_waitgroup_info info;

	do {
		if (!chanfd_wg_wait_broken(me->fd, known, &me->opt, round))
			return 0;
		if (errno != EOWNERDEAD)
			return -1;
		known = round->broken;
		round++;
		info = wg_info(me->fd);
	} while (info.count);
	return known;
}

/* Who wants to know of a death early need not wait for the others. */
TEST_F(group, broken_wakes_early)
{
	struct chanfd_opt opt = CHANFD_OPT_INIT;
	struct party *reporter, *zero;
	struct chanfd_round *report;
	struct chanfd_outcome out;
	int token[3], i;

	opt.flags = CHANFD_NONBLOCK;
	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	report = shared(8 * sizeof(*report));
	reporter = party_new(variant->process, run_report_deaths, self->wg);
	reporter->arg = report;
	party_start(reporter);
	zero = party_wait(variant->process, self->wg);
	ASSERT_TRUE(waiters_wait(self->wg, 2));
	for (i = 0; i < 3; i++) {
		token[i] = chanfd_wg_token(self->wg, 0);
		ASSERT_LE(0, token[i]);
	}
	EXPECT_EQ(EAGAIN, errno_of(chanfd_select_of(&opt, &out,
						    CHANFD_BROKEN(self->wg, 0))));

	close(token[0]);
	EXPECT_TRUE(eventually(report[0].broken == 1));
	ASSERT_TRUE(waiters_wait(self->wg, 2));
	EXPECT_TRUE(stays_blocked(reporter));
	EXPECT_EQ(0, chanfd_select_of(&opt, &out, CHANFD_BROKEN(self->wg, 0)));
	EXPECT_EQ(1, out.size);
	EXPECT_EQ(EOWNERDEAD, out.error);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_select_of(&opt, &out,
						    CHANFD_BROKEN(self->wg, 1))));

	close(token[1]);
	EXPECT_TRUE(eventually(report[1].broken == 2));
	EXPECT_EQ(report[0].number, report[1].number);
	EXPECT_TRUE(stays_blocked(zero));

	ASSERT_EQ(0, chanfd_token_done(token[2], 0));
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	EXPECT_EQ(EOWNERDEAD, errno_of(party_join(zero)));
	EXPECT_EQ(2, round_of(zero).broken);
	/* At zero it does not matter what was known. */
	EXPECT_EQ(2, party_join(reporter));
	EXPECT_EQ(2, report[2].broken);
	EXPECT_EQ(0, chanfd_select_of(&opt, &out, CHANFD_BROKEN(self->wg, 2)));
	EXPECT_EQ(2, out.size);
}

/* Knowing of a broken member is no reason to miss the end of the round. */
TEST_F(group, broken_case_at_zero)
{
	struct party *p;

	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	p = party_new(variant->process, run_report_deaths, self->wg);
	p->arg = shared(sizeof(struct chanfd_round));
	party_start(p);
	ASSERT_TRUE(waiters_wait(self->wg, 1));
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(0, round_of(p).broken);
	EXPECT_EQ(1, wg_info(self->wg).round);
}

/* As in errgroup, the first error is the one that is told. */
TEST_F(group, first_error)
{
	struct party *waiter;
	int token;

	ASSERT_LE(0, chanfd_wg_add(self->wg, 3));
	token = chanfd_wg_token(self->wg, 0);
	ASSERT_LE(0, token);
	waiter = party_wait(variant->process, self->wg);
	ASSERT_TRUE(waiters_wait(self->wg, 1));
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	ASSERT_EQ(0, chanfd_wg_done_error(self->wg, EIO));
	EXPECT_EQ(EIO, wg_info(self->wg).error);
	ASSERT_EQ(0, chanfd_token_done(token, ENOSPC));
	ASSERT_EQ(0, chanfd_wg_done_error(self->wg, EACCES));
	EXPECT_EQ(0, party_join(waiter));
	EXPECT_EQ(EIO, round_of(waiter).error);
	EXPECT_EQ(0, round_of(waiter).broken);

	token = chanfd_wg_token(self->wg, 0);
	ASSERT_LE(0, token);
	EXPECT_EQ(0, wg_info(self->wg).error);
	ASSERT_EQ(0, chanfd_token_done(token, ENOSPC));
	waiter = party_wait(variant->process, self->wg);
	EXPECT_EQ(0, party_join(waiter));
	EXPECT_EQ(ENOSPC, round_of(waiter).error);
}

/* Nobody is too late to learn how the last round ended. */
TEST_F(group, late_waiter)
{
	struct party *late;
	uint64_t number;
	int i, token;

	token = chanfd_wg_token(self->wg, 0);
	ASSERT_LE(0, token);
	close(token);
	for (i = 0; i < 2; i++) {
		late = party_wait(variant->process, self->wg);
		EXPECT_EQ(EOWNERDEAD, errno_of(party_join(late)));
		EXPECT_EQ(1, round_of(late).broken);
	}
	number = round_of(late).number;

	/* The next one starts clean. */
	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	EXPECT_EQ(0, wg_info(self->wg).broken);
	EXPECT_EQ(0, wg_info(self->wg).error);
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	late = party_wait(variant->process, self->wg);
	EXPECT_EQ(0, party_join(late));
	EXPECT_EQ(number + 1, round_of(late).number);
	EXPECT_EQ(0, round_of(late).broken);
}

/* Nobody is left who could ever finish the round: what is owed is broken. */
TEST_F(group, orphan)
{
	struct party *waiter, *holder = NULL;
	int fd[2];

	ASSERT_EQ(0, chanfd_waitgroup_pair(fd, 0, ""));
	ASSERT_LE(0, chanfd_wg_add(fd[1], 3));
	ASSERT_EQ(0, chanfd_wg_done(fd[1]));
	if (variant->process)
		holder = holder_of(fd[1]);
	waiter = party_wait(variant->process, fd[0]);
	ASSERT_TRUE(waiters_wait(fd[0], 1));
	EXPECT_TRUE(stays_blocked(waiter));
	if (holder)
		party_kill(holder);
	else
		close(fd[1]);
	EXPECT_EQ(EOWNERDEAD, errno_of(party_join(waiter)));
	EXPECT_EQ(2, round_of(waiter).broken);
	EXPECT_EQ(0, wg_info(fd[0]).count);
	EXPECT_EQ(2, wg_info(fd[0]).broken);
	EXPECT_EQ(POLLIN | POLLERR, polled(fd[0], POLLIN));
}

/* As long as there is a token somebody is at work. */
TEST_F(group, orphan_after_last_token)
{
	struct party *waiter, *holder = NULL;
	int fd[2], token;

	ASSERT_EQ(0, chanfd_waitgroup_pair(fd, 0, ""));
	ASSERT_LE(0, chanfd_wg_add(fd[1], 2));
	token = chanfd_wg_token(fd[1], 0);
	ASSERT_LE(0, token);
	close(fd[1]);
	EXPECT_EQ(3, wg_info(fd[0]).count);
	EXPECT_EQ(0, wg_info(fd[0]).broken);
	if (variant->process)
		holder = holder_of(token);
	waiter = party_wait(variant->process, fd[0]);
	EXPECT_TRUE(stays_blocked(waiter));
	if (holder)
		party_kill(holder);
	else
		close(token);
	EXPECT_EQ(EOWNERDEAD, errno_of(party_join(waiter)));
	EXPECT_EQ(3, round_of(waiter).broken);
}

/* A group that is at zero owes nothing to anybody. */
TEST(no_orphan_at_zero)
{
	struct chanfd_round round;
	int fd[2];

	ASSERT_EQ(0, chanfd_waitgroup_pair(fd, 0, ""));
	ASSERT_LE(0, chanfd_wg_add(fd[1], 1));
	ASSERT_EQ(0, chanfd_wg_done(fd[1]));
	close(fd[1]);
	EXPECT_EQ(0, chanfd_wg_wait(fd[0], NULL, &round));
	EXPECT_EQ(0, round.broken);
	EXPECT_EQ(POLLIN, polled(fd[0], POLLIN));
}

static long run_take_token(struct party *me)
{
	int token;

	if (chanfd_take(me->fd, &token, 1, NULL) != 1)
		return -1;
	return chanfd_token_done(token, me->value);
}

/* The token goes to the worker by message, and exists while on its way. */
TEST(token_by_message)
{
	int wg = chanfd_waitgroup(0, "");
	int token = chanfd_wg_token(wg, 0);
	struct chanfd_round round;
	struct party *worker;
	int sock[2];

	ASSERT_LE(0, token);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock));
	ASSERT_LE(0, chanfd_hand(sock[0], &token, 1, NULL));
	close(token);
	EXPECT_EQ(1, wg_info(wg).count);
	EXPECT_EQ(0, wg_info(wg).broken);
	worker = party_new(true, run_take_token, sock[1]);
	worker->value = EDOM;
	party_start(worker);
	EXPECT_EQ(0, chanfd_wg_wait(wg, NULL, &round));
	EXPECT_EQ(EDOM, round.error);
	EXPECT_EQ(0, party_join(worker));

	/* A message that nobody reads is a worker that never came. */
	token = chanfd_wg_token(wg, 0);
	ASSERT_LE(0, chanfd_hand(sock[0], &token, 1, NULL));
	close(token);
	EXPECT_EQ(1, wg_info(wg).count);
	close(sock[0]);
	close(sock[1]);
	EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_wg_wait(wg, NULL, &round)));
	EXPECT_EQ(1, round.broken);
}

/* W8, W9: an end by kill -9 never looks like completion. */
TEST(killed_worker)
{
	int wg = chanfd_waitgroup(0, "");
	struct party *worker[3], *waiter;
	int i;

	for (i = 0; i < 3; i++)
		worker[i] = holder_of(chanfd_wg_token(wg, i == 2 ? CHANFD_AUTO_DONE : 0));
	waiter = party_wait(true, wg);
	ASSERT_TRUE(waiters_wait(wg, 1));
	EXPECT_EQ(3, wg_info(wg).tokens);
	party_kill(worker[0]);
	EXPECT_TRUE(eventually(wg_info(wg).count == 2));
	EXPECT_EQ(1, wg_info(wg).broken);
	party_kill(worker[2]);
	EXPECT_TRUE(eventually(wg_info(wg).count == 1));
	EXPECT_EQ(1, wg_info(wg).broken);
	EXPECT_TRUE(stays_blocked(waiter));
	party_kill(worker[1]);
	EXPECT_EQ(EOWNERDEAD, errno_of(party_join(waiter)));
	EXPECT_EQ(2, round_of(waiter).broken);
}

/* Members of a round that come and go while it runs, by every means. */
static long run_mixed_members(struct party *me)
{
	int i, token;

	for (i = 0; i < 200; i++) {
		token = chanfd_wg_token(me->fd, 0);
		if (token < 0)
			return -1;
		if (i % 4 && chanfd_token_done(token, 0))
			return -1;
		close(token);
		if (chanfd_wg_add(me->fd, 2) < 0 || chanfd_wg_done(me->fd) ||
		    chanfd_wg_done(me->fd))
			return -1;
	}
	return 0;
}

TEST_F(group, many_at_once)
{
	struct party *p[4], *waiter;
	int i;

	ASSERT_LE(0, chanfd_wg_add(self->wg, 1));
	waiter = party_wait(variant->process, self->wg);
	ASSERT_TRUE(waiters_wait(self->wg, 1));
	for (i = 0; i < 4; i++)
		p[i] = party_start(party_new(variant->process, run_mixed_members,
					     self->wg));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, party_join(p[i]));
	EXPECT_EQ(1, wg_info(self->wg).count);
	EXPECT_EQ(0, wg_info(self->wg).tokens);
	EXPECT_EQ(4 * 200 / 4, wg_info(self->wg).broken);
	EXPECT_TRUE(stays_blocked(waiter));
	ASSERT_EQ(0, chanfd_wg_done(self->wg));
	EXPECT_EQ(EOWNERDEAD, errno_of(party_join(waiter)));
	EXPECT_EQ(4 * 200 / 4, round_of(waiter).broken);
}

TEST_HARNESS_MAIN
