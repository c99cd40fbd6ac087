// SPDX-License-Identifier: GPL-2.0
/*
 * Weighted semaphores, between threads and between processes: the order of those who
 * wait, and the tokens of those who are gone.
 */
#include "helpers.h"

/* What the parties of a test share. */
struct state {
	struct chanfd_semaphore sem;
	atomic_int used;	/* tokens, as the parties count them */
	atomic_int most;
};

static struct state *state;

/*
 * The test's own permits. A process has copies of those that were there when it began,
 * and must close them: tokens are free when the last copy is closed.
 */
static int permits[8];
static unsigned int nr_permits;

static int own(int permit)
{
	if (permit >= 0 && nr_permits < ARRAY_SIZE(permits))
		permits[nr_permits++] = permit;
	return permit;
}

static void drop_permits(struct party *me)
{
	for (unsigned int i = 0; i < nr_permits; i++)
		drop(me, permits[i]);
}

static int acquire(unsigned int n)
{
	return own(chanfd_semaphore_acquire(&state->sem, n, NULL));
}

static int try(unsigned int n)
{
	return own(chanfd_semaphore_acquire(&state->sem, n,
					    CHANFD_OPT(-1, CHANFD_NONBLOCK, 0)));
}

/* Acquires as many tokens as its value says; returns the permit. */
static long run_acquire(struct party *me)
{
	drop_permits(me);
	return chanfd_semaphore_acquire(&state->sem, me->value, &me->opt);
}

/* And keeps it. */
static long run_hold(struct party *me)
{
	if (run_acquire(me) < 0)
		return -1;
	me->seq = 1;
	return pause();
}

static struct party *party_acquire(bool process, unsigned int n)
{
	struct party *p = party_new(process, run_acquire, -1);

	p->value = n;
	return party_start(p);
}

static struct party *holder_of(unsigned int n)
{
	struct party *p = party_new(true, run_hold, -1);

	p->value = n;
	party_start(p);
	if (!eventually(*(volatile uint64_t *)&p->seq))
		errx(1, "no tokens");
	return p;
}

/* Its permit is open here, if it is a thread; a process is over, and its permit with it. */
static long end_of(struct party *p)
{
	long permit = party_join(p);

	if (permit >= 0 && !p->process)
		close(permit);
	return permit;
}

static int left(void)
{
	return chanfd_len(state->sem.tokens);
}

FIXTURE(semaphore)
{
	long handles;
};

FIXTURE_VARIANT(semaphore)
{
	bool process;
};

FIXTURE_VARIANT_ADD(semaphore, threads)
{
	.process = false,
};

FIXTURE_VARIANT_ADD(semaphore, processes)
{
	.process = true,
};

FIXTURE_SETUP(semaphore)
{
	self->handles = handles_open();
	state = shared(sizeof(*state));
	ASSERT_EQ(0, chanfd_semaphore(&state->sem, 10, 0, "semaphore"));
}

/* All tokens are back, and everything is closed when all are gone. */
FIXTURE_TEARDOWN(semaphore)
{
	EXPECT_TRUE(eventually(left() == (int)state->sem.size));
	chanfd_semaphore_close(&state->sem);
	EXPECT_TRUE(eventually(handles_open() == self->handles));
}

TEST_F(semaphore, acquire_and_release)
{
	struct party *p;
	int permit;

	EXPECT_EQ(10, left());
	permit = acquire(7);
	ASSERT_LE(0, permit);
	EXPECT_EQ(FD_CLOEXEC, fcntl(permit, F_GETFD));
	EXPECT_EQ(3, left());
	p = party_acquire(variant->process, 4);
	EXPECT_TRUE(stays_blocked(p));
	close(permit);
	EXPECT_LE(0, end_of(p));
}

/* tA2, A4: who can never succeed is told so, and keeps nobody waiting. */
TEST_F(semaphore, too_big)
{
	struct chanfd_semaphore sem;

	EXPECT_EQ(EINVAL, errno_of(acquire(11)));
	EXPECT_EQ(EINVAL, errno_of(try(11)));
	EXPECT_EQ(EINVAL, errno_of(acquire(0)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_semaphore(&sem, 0, 0, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_semaphore(&sem, CHANFD_MAX_CAPACITY + 1, 0, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_semaphore(&sem, 1, CHANFD_PAIR, NULL)));
	EXPECT_LE(0, end_of(party_acquire(variant->process, 10)));
}

/* More tokens than one call of the kernel moves. */
TEST_F(semaphore, many_tokens)
{
	struct chanfd_semaphore small = state->sem;
	struct party *p;
	int permit;

	ASSERT_EQ(0, chanfd_semaphore(&state->sem, 2500, 0, "large"));
	EXPECT_EQ(2500, left());
	permit = acquire(CHANFD_MAX_BATCH);
	ASSERT_LE(0, permit);
	EXPECT_EQ(2500 - CHANFD_MAX_BATCH, left());
	EXPECT_EQ(EINVAL, errno_of(acquire(CHANFD_MAX_BATCH + 1)));
	p = party_acquire(variant->process, CHANFD_MAX_BATCH);
	EXPECT_LE(0, end_of(p));
	close(permit);
	EXPECT_TRUE(eventually(left() == 2500));
	chanfd_semaphore_close(&small);
}

/* tA3, A1: who wants much is not passed by those who want little. */
TEST_F(semaphore, large_not_starved)
{
	int permit = acquire(5), other = acquire(3);
	struct party *large, *small[3];

	large = party_acquire(variant->process, 8);
	EXPECT_TRUE(stays_blocked(large));
	for (int i = 0; i < 3; i++) {
		small[i] = party_acquire(variant->process, 1);
		EXPECT_TRUE(stays_blocked(small[i]));
	}
	EXPECT_EQ(EAGAIN, errno_of(try(1)));
	close(other);
	EXPECT_TRUE(stays_blocked(large));
	for (int i = 0; i < 3; i++)
		EXPECT_TRUE(stays_blocked(small[i]));
	close(permit);
	EXPECT_LE(0, end_of(large));
	for (int i = 0; i < 3; i++)
		EXPECT_LE(0, end_of(small[i]));
}

/* A1: in the order in which they came. */
static long run_in_order(struct party *me)
{
	long permit = run_acquire(me);

	me->seq = ++state->used;
	if (permit >= 0)
		close(permit);
	return permit;
}

TEST_F(semaphore, first_come_first_served)
{
	struct party *parties[8];
	int permit = acquire(10);

	for (int i = 0; i < 8; i++) {
		parties[i] = party_new(variant->process, run_in_order, -1);
		parties[i]->value = 6 + i % 4;	/* no two at the same time */
		EXPECT_TRUE(blocked(party_start(parties[i])));
	}
	close(permit);
	for (int i = 0; i < 8; i++) {
		EXPECT_LE(0, party_join(parties[i]));
		EXPECT_EQ(i + 1, parties[i]->seq);
	}
}

/* tA5, A2: a context that is done makes it fail, tokens or not. */
TEST_F(semaphore, done_context_fails)
{
	int context = chanfd_context(-1), permit;
	struct party *p;

	p = party_new(variant->process, run_acquire, -1);
	p->value = 1;
	p->opt.context = context;
	permit = acquire(10);
	EXPECT_TRUE(blocked(party_start(p)));
	EXPECT_EQ(0, chanfd_cancel(context, 0, NULL));
	EXPECT_EQ(ECANCELED, errno_of(end_of(p)));
	close(permit);
	p = party_new(variant->process, run_acquire, -1);
	p->value = 1;
	p->opt.context = context;
	EXPECT_EQ(ECANCELED, errno_of(end_of(party_start(p))));
	EXPECT_EQ(10, left());
	close(context);
}

/* A3: when the first one gives up, with tokens in its hands, the next ones have them. */
TEST_F(semaphore, head_gives_up)
{
	int context = chanfd_context(-1), permit = acquire(8);
	struct party *head, *behind[2];

	head = party_new(variant->process, run_acquire, -1);
	head->value = 5;
	head->opt.context = context;
	EXPECT_TRUE(stays_blocked(party_start(head)));
	EXPECT_EQ(0, left());
	for (int i = 0; i < 2; i++) {
		behind[i] = party_acquire(variant->process, 1);
		EXPECT_TRUE(stays_blocked(behind[i]));
	}
	EXPECT_EQ(0, chanfd_cancel(context, 0, NULL));
	EXPECT_EQ(ECANCELED, errno_of(end_of(head)));
	for (int i = 0; i < 2; i++)
		EXPECT_LE(0, end_of(behind[i]));
	close(permit);
	close(context);
}

TEST_F(semaphore, head_times_out)
{
	int permit = acquire(8);
	struct party *head = party_new(variant->process, run_acquire, -1), *behind;

	head->value = 5;
	head->opt.deadline = chanfd_deadline(4 * A_WHILE);
	party_start(head);
	behind = party_acquire(variant->process, 2);
	EXPECT_EQ(ETIMEDOUT, errno_of(end_of(head)));
	EXPECT_LE(0, end_of(behind));
	close(permit);
}

TEST_F(semaphore, head_is_interrupted)
{
	int permit = acquire(8);
	struct party *head, *behind;

	catch_signal(SIGUSR1, 0);
	head = party_acquire(variant->process, 5);
	EXPECT_TRUE(stays_blocked(head));
	behind = party_acquire(variant->process, 2);
	EXPECT_TRUE(stays_blocked(behind));
	party_signal(head, SIGUSR1);
	EXPECT_EQ(EINTR, errno_of(end_of(head)));
	EXPECT_LE(0, end_of(behind));
	close(permit);
}

/* TryAcquire takes all or nothing, and nobody's turn. */
TEST_F(semaphore, try)
{
	int permit = try(6), other;
	struct party *p;

	ASSERT_LE(0, permit);
	EXPECT_EQ(EAGAIN, errno_of(try(5)));
	EXPECT_EQ(4, left());
	other = try(4);
	EXPECT_LE(0, other);
	EXPECT_EQ(EAGAIN, errno_of(try(1)));
	p = party_acquire(variant->process, 5);
	EXPECT_TRUE(stays_blocked(p));
	close(other);
	EXPECT_TRUE(stays_blocked(p));
	EXPECT_EQ(EAGAIN, errno_of(try(1)));
	close(permit);
	EXPECT_LE(0, end_of(p));
}

/* The tokens of who dies come back, those that it has and those that it collects. */
TEST_F(semaphore, holder_dies)
{
	struct party *holder = holder_of(9), *waiting = party_acquire(variant->process, 2);

	EXPECT_TRUE(stays_blocked(waiting));
	party_kill(holder);
	EXPECT_LE(0, end_of(waiting));
}

TEST_F(semaphore, head_dies)
{
	int permit = acquire(8);
	struct party *head = party_acquire(true, 5), *waiting;

	EXPECT_TRUE(stays_blocked(head));
	EXPECT_EQ(0, left());
	waiting = party_acquire(variant->process, 2);
	EXPECT_TRUE(stays_blocked(waiting));
	party_kill(head);
	EXPECT_LE(0, end_of(waiting));
	close(permit);
}

TEST_F(semaphore, one_behind_dies)
{
	int permit = acquire(10);
	struct party *head = party_acquire(variant->process, 5);
	struct party *middle, *last;

	EXPECT_TRUE(blocked(head));
	middle = party_acquire(true, 5);
	EXPECT_TRUE(blocked(middle));
	last = party_acquire(variant->process, 5);
	EXPECT_TRUE(blocked(last));
	party_kill(middle);
	close(permit);
	EXPECT_LE(0, end_of(head));
	EXPECT_LE(0, end_of(last));
}

/* A5: what is released is what was acquired; once, when the last copy is closed. */
static long run_close(struct party *me)
{
	return close(me->fd);
}

TEST_F(semaphore, copies_of_a_permit)
{
	int permit = acquire(4), copy = dup(permit);
	struct party *p = party_start(party_new(true, run_close, permit));

	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(6, left());
	close(permit);
	EXPECT_EQ(EBADF, errno_of(close(permit)));
	EXPECT_EQ(6, left());
	close(copy);
	EXPECT_EQ(10, left());
}

/* tA1: never more than there are, and all come back. */

static long run_hammer(struct party *me)
{
	struct chanfd_opt opt = CHANFD_OPT_INIT;
	unsigned int random = me->value, n;
	int permit, used;

	for (int i = 0; i < 200; i++) {
		n = 1 + ((random = random * 1664525 + 1013904223) >> 24) % state->sem.size;
		opt.flags = random & 0x10000 ? CHANFD_NONBLOCK : 0;
		permit = chanfd_semaphore_acquire(&state->sem, n, &opt);
		if (permit < 0) {
			if (errno != EAGAIN)
				return -1;
			continue;
		}
		used = atomic_fetch_add(&state->used, n) + n;
		if (used > (int)state->sem.size)
			return -1;
		if (used > state->most)
			state->most = used;
		state->used -= n;
		close(permit);
	}
	return 0;
}

TEST_F(semaphore, hammer)
{
	struct party *parties[6];

	for (int i = 0; i < 6; i++) {
		parties[i] = party_new(variant->process, run_hammer, -1);
		parties[i]->value = i + 1;
		party_start(parties[i]);
	}
	for (int i = 0; i < 6; i++)
		EXPECT_EQ(0, party_join(parties[i]));
	EXPECT_LT(0, atomic_load(&state->most));
}

/* Processes are killed at any instant; the others go on, and no token is lost. */
static long run_storm(struct party *me)
{
	unsigned int random = me->value;
	int permit;

	for (int i = 0; i < (int)me->seq; i++) {
		random = random * 1664525 + 1013904223;
		permit = chanfd_semaphore_acquire(&state->sem,
						  1 + (random >> 24) % state->sem.size, NULL);
		if (permit < 0)
			return -1;
		close(permit);
	}
	return 0;
}

TEST_F(semaphore, killed_at_any_instant)
{
	struct party *living[2], *victim;
	int seed = 1;

	for (int i = 0; i < 2; i++) {
		living[i] = party_new(variant->process, run_storm, -1);
		living[i]->value = seed++;
		living[i]->seq = 200;
		party_start(living[i]);
	}
	while (!party_ended(living[0]) || !party_ended(living[1])) {
		victim = party_new(true, run_storm, -1);
		victim->value = seed++;
		victim->seq = INT32_MAX;
		party_start(victim);
		for (volatile int i = rand() % 1000000; i; i--)
			;
		party_kill(victim);
	}
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, party_join(living[i]));
}

TEST_HARNESS_MAIN
