// SPDX-License-Identifier: GPL-2.0
/*
 * Once, between threads and between processes: who does it, who waits, what sticks.
 */
#include <sys/socket.h>

#include "helpers.h"

#define PARTIES		8

/* What the parties of a test share. */
struct state {
	struct chanfd_once once;
	int gate;		/* a function that waits, waits to receive from it */
	atomic_int calls;	/* of functions */
	atomic_int ends;
	atomic_int after_death;	/* calls with EOWNERDEAD */
	atomic_int early;	/* returns before the end */
};

static struct state *state;

static ssize_t number(void *arg, void *buf, size_t size)
{
	int call = ++state->calls;

	(void)arg;
	(void)size;
	state->after_death += errno == EOWNERDEAD;
	memcpy(buf, &call, sizeof(call));
	state->ends++;
	return sizeof(call);
}

static ssize_t number_at_gate(void *arg, void *buf, size_t size)
{
	int call = ++state->calls;

	state->after_death += errno == EOWNERDEAD;
	if (chanfd_recv(state->gate, NULL, 0, NULL, NULL) != 1)
		return -1;
	memcpy(buf, &call, sizeof(call));
	state->ends++;
	return sizeof(call);
}

static ssize_t failing(void *arg, void *buf, size_t size)
{
	state->calls++;
	errno = EIO;
	return -1;
}

static ssize_t failing_at_gate(void *arg, void *buf, size_t size)
{
	chanfd_recv(state->gate, NULL, 0, NULL, NULL);
	return failing(arg, buf, size);
}

static ssize_t exiting(void *arg, void *buf, size_t size)
{
	state->calls++;
	pthread_exit(NULL);
}

static ssize_t again(void *arg, void *buf, size_t size)
{
	return chanfd_once_do(&state->once, number, NULL, buf, size, NULL);
}

/* The test's own calls: the number that comes out, or -1. */
static int outcome(ssize_t (*f)(void *arg, void *buf, size_t size))
{
	int value = -1;

	return chanfd_once_do(&state->once, f, NULL, &value, sizeof(value), NULL) < 0 ? -1 :
		value;
}

/* A party's: the number is its value. */
static long run_do(struct party *me)
{
	ssize_t (*f)(void *arg, void *buf, size_t size) = me->arg;
	int value = -1;
	long n = chanfd_once_do(&state->once, f, NULL, &value, sizeof(value), &me->opt);

	me->value = value;
	state->early += n >= 0 && !state->ends;
	return n;
}

static struct party *party_do(bool process, ssize_t (*f)(void *arg, void *buf, size_t size))
{
	struct party *p = party_new(process, run_do, -1);

	p->arg = f;
	return party_start(p);
}

static void open_gate(int n)
{
	while (n--)
		if (chanfd_send(state->gate, NULL, 0, NULL))
			err(1, "gate");
}

FIXTURE(once)
{
	long handles;
};

FIXTURE_VARIANT(once)
{
	bool process;
};

FIXTURE_VARIANT_ADD(once, threads)
{
	.process = false,
};

FIXTURE_VARIANT_ADD(once, processes)
{
	.process = true,
};

static void begin(unsigned int flags)
{
	if (chanfd_once(&state->once, 64, flags, "once"))
		err(1, "chanfd_once");
}

FIXTURE_SETUP(once)
{
	self->handles = handles_open();
	state = shared(sizeof(*state));
	state->gate = chanfd_channel(0, 100, 0, "gate");
	ASSERT_LE(0, state->gate);
}

/* Everything is closed when all are gone. */
FIXTURE_TEARDOWN(once)
{
	chanfd_once_close(&state->once);
	close(state->gate);
	EXPECT_TRUE(eventually(handles_open() == self->handles));
}

/* tO1, O1, H8: one does it, the others return after that, with what it got. */
TEST_F(once, exactly_once)
{
	struct party *parties[PARTIES];

	begin(0);
	for (int i = 0; i < PARTIES; i++)
		parties[i] = party_do(variant->process, number_at_gate);
	for (int i = 0; i < PARTIES; i++)
		EXPECT_TRUE(stays_blocked(parties[i]));
	EXPECT_EQ(1, atomic_load(&state->calls));
	open_gate(PARTIES);
	for (int i = 0; i < PARTIES; i++) {
		EXPECT_EQ(sizeof(int), party_join(parties[i]));
		EXPECT_EQ(1, parties[i]->value);
	}
	EXPECT_EQ(1, outcome(number));
	EXPECT_EQ(1, atomic_load(&state->calls));
	EXPECT_EQ(0, atomic_load(&state->early));
	EXPECT_EQ(0, atomic_load(&state->after_death));
}

/* When it is done there is no system call, not even a look at the options. */
TEST_F(once, done_is_a_load)
{
	const struct chanfd_opt done = { -2, 0, 1 };
	struct chanfd_once page_only;
	struct party *p;
	int value = 0;

	begin(0);
	p = party_do(variant->process, number);
	EXPECT_EQ(sizeof(int), party_join(p));
	page_only = state->once;
	page_only.lock = -1;
	page_only.cell = -1;
	EXPECT_EQ(sizeof(int), chanfd_once_do(&page_only, number, NULL, &value, sizeof(value),
					      &done));
	EXPECT_EQ(1, value);
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_once_do(&state->once, number, NULL, &value, 3, NULL)));
	EXPECT_EQ(1, atomic_load(&state->calls));
}

/* tO2: what fails is the caller's affair, and the next one tries. */
TEST_F(once, failed)
{
	struct party *first, *second;

	begin(0);
	EXPECT_EQ(EIO, errno_of(outcome(failing)));
	EXPECT_EQ(EIO, errno_of(outcome(failing)));
	EXPECT_EQ(2, atomic_load(&state->calls));
	first = party_do(variant->process, failing_at_gate);
	EXPECT_TRUE(blocked(first));
	second = party_do(variant->process, number);
	EXPECT_TRUE(stays_blocked(second));
	open_gate(1);
	EXPECT_EQ(EIO, errno_of(party_join(first)));
	EXPECT_EQ(sizeof(int), party_join(second));
	EXPECT_EQ(4, second->value);
	EXPECT_EQ(4, outcome(number));
	EXPECT_EQ(4, atomic_load(&state->calls));
	EXPECT_EQ(0, atomic_load(&state->after_death));
}

/* tO2, O3: or it has failed for all. */
TEST_F(once, failed_for_good)
{
	struct party *first, *second;

	begin(CHANFD_STICKY);
	first = party_do(variant->process, failing_at_gate);
	EXPECT_TRUE(blocked(first));
	second = party_do(variant->process, number);
	EXPECT_TRUE(stays_blocked(second));
	open_gate(1);
	EXPECT_EQ(EIO, errno_of(party_join(first)));
	EXPECT_EQ(EIO, errno_of(party_join(second)));
	EXPECT_EQ(EIO, errno_of(outcome(number)));
	EXPECT_EQ(1, atomic_load(&state->calls));
}

/* O2: the next one who waits does it, and knows; between threads there is no such death. */
TEST_F(once, leader_dies)
{
	struct party *leader, *waiting[PARTIES];

	begin(0);
	leader = party_do(true, number_at_gate);
	EXPECT_TRUE(blocked(leader));
	for (int i = 0; i < PARTIES; i++) {
		waiting[i] = party_do(variant->process, number);
		EXPECT_TRUE(blocked(waiting[i]));
	}
	party_kill(leader);
	for (int i = 0; i < PARTIES; i++) {
		EXPECT_EQ(sizeof(int), party_join(waiting[i]));
		EXPECT_EQ(2, waiting[i]->value);
	}
	EXPECT_EQ(2, atomic_load(&state->calls));
	EXPECT_EQ(1, atomic_load(&state->after_death));
}

TEST_F(once, leader_dies_for_good)
{
	struct party *leader, *waiting;

	begin(CHANFD_STICKY);
	leader = party_do(true, number_at_gate);
	EXPECT_TRUE(blocked(leader));
	waiting = party_do(variant->process, number);
	EXPECT_TRUE(blocked(waiting));
	party_kill(leader);
	EXPECT_EQ(EOWNERDEAD, errno_of(party_join(waiting)));
	EXPECT_EQ(EOWNERDEAD, errno_of(outcome(number)));
	EXPECT_EQ(1, atomic_load(&state->calls));
}

/* A thread that ends in the function has failed. */

static void *thread_do(void *arg)
{
	run_do(arg);
	return NULL;
}

static long run_exit(struct party *me)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, thread_do, me) ||
	    pthread_join(thread, NULL))
		return -1;
	return 0;
}

TEST_F(once, thread_exits)
{
	struct party *p = party_new(variant->process, run_exit, -1);

	begin(0);
	p->arg = exiting;
	EXPECT_EQ(0, party_join(party_start(p)));
	EXPECT_EQ(2, outcome(number));
	EXPECT_EQ(0, atomic_load(&state->after_death));
}

TEST_F(once, thread_exits_for_good)
{
	struct party *p = party_new(variant->process, run_exit, -1);

	begin(CHANFD_STICKY);
	p->arg = exiting;
	EXPECT_EQ(0, party_join(party_start(p)));
	EXPECT_EQ(ECANCELED, errno_of(outcome(number)));
	EXPECT_EQ(1, atomic_load(&state->calls));
}

/* Who waits need not wait to the end. */
TEST_F(once, waits_end)
{
	int context = chanfd_context(-1);
	struct party *leader, *waiting;
	int value;

	begin(0);
	leader = party_do(variant->process, number_at_gate);
	EXPECT_TRUE(blocked(leader));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_once_do(&state->once, number, NULL, &value, sizeof(value),
						  CHANFD_OPT(-1, CHANFD_NONBLOCK, 0))));
	EXPECT_EQ(ETIMEDOUT, errno_of(chanfd_once_do(&state->once, number, NULL, &value,
						     sizeof(value),
						     CHANFD_OPT(-1, 0, chanfd_deadline(MSEC)))));
	waiting = party_new(variant->process, run_do, -1);
	waiting->arg = number;
	waiting->opt.context = context;
	party_start(waiting);
	EXPECT_TRUE(blocked(waiting));
	EXPECT_EQ(0, chanfd_cancel(context, 0, NULL));
	EXPECT_EQ(ECANCELED, errno_of(party_join(waiting)));
	open_gate(1);
	EXPECT_EQ(sizeof(int), party_join(leader));
	EXPECT_EQ(1, atomic_load(&state->calls));
	close(context);
}

TEST_F(once, reentrant)
{
	struct party *p;

	begin(0);
	p = party_do(variant->process, again);
	EXPECT_EQ(EDEADLK, errno_of(party_join(p)));
	EXPECT_EQ(1, outcome(number));
}

/* Results that do not fit into the mapped page. */

#define LARGE		60000

static ssize_t large(void *arg, void *buf, size_t size)
{
	memset(buf, 'x', size);
	state->calls++;
	return size;
}

static long run_large(struct party *me)
{
	char buf[LARGE];
	long n = chanfd_once_do(&state->once, large, NULL, buf, sizeof(buf), NULL);

	return n == LARGE && buf[0] == 'x' && !memcmp(buf, buf + 1, LARGE - 1) ? 0 : -1;
}

TEST_F(once, large_result)
{
	char small[64];

	ASSERT_EQ(0, chanfd_once(&state->once, LARGE, 0, "once"));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, party_join(party_start(party_new(variant->process, run_large, -1))));
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_once_do(&state->once, large, NULL, small, sizeof(small),
						    NULL)));
	EXPECT_EQ(1, atomic_load(&state->calls));
}

TEST_F(once, result_too_long)
{
	char buf[100];

	begin(0);
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_once_do(&state->once, large, NULL, buf, sizeof(buf),
						    NULL)));
	EXPECT_EQ(2, outcome(number));
}

/* A process that was given the handles. */
static long run_given(struct party *me)
{
	struct chanfd_once once;
	int fd[2], value = 0;

	if (chanfd_take(me->fd, fd, 2, NULL) != 2 || chanfd_once_open(&once, fd[0], fd[1], 0))
		return -1;
	if (chanfd_once_do(&once, number, NULL, &value, sizeof(value), NULL) < 0)
		return -1;
	chanfd_once_close(&once);
	return value;
}

TEST_F(once, handed_over)
{
	int socket[2], fd[2];
	struct party *p;

	begin(0);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socket));
	p = party_start(party_new(variant->process, run_given, socket[0]));
	EXPECT_EQ(1, outcome(number));
	fd[0] = state->once.lock;
	fd[1] = state->once.cell;
	EXPECT_EQ(0, chanfd_hand(socket[1], fd, 2, NULL));
	EXPECT_EQ(1, party_join(p));
	EXPECT_EQ(EINVAL, errno_of(chanfd_once_open(&state->once, 0, 0, 1)));
	close(socket[0]);
	close(socket[1]);
}

TEST_F(once, wrong_arguments)
{
	struct chanfd_once once;

	begin(0);
	EXPECT_EQ(EINVAL, errno_of(chanfd_once(&once, CHANFD_MAX_CELL + 1, 0, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_once(&once, 8, CHANFD_PAIR, NULL)));
}

/*
 * Leaders are killed at any instant. Whoever lives gets the same result, of a function that
 * ran to its end.
 */
static ssize_t slowly(void *arg, void *buf, size_t size)
{
	int pid = getpid();

	for (volatile int i = rand() % 3000; i; i--)
		;
	memcpy(buf, &pid, sizeof(pid));
	state->ends++;
	return sizeof(pid);
}

TEST_F(once, killed_at_any_instant)
{
	struct party *parties[4];
	int value;

	begin(0);
	for (int round = 0; round < 50; round++) {
		chanfd_once_close(&state->once);
		begin(0);
		state->ends = 0;
		for (int i = 0; i < 4; i++)
			parties[i] = party_do(i < 3 || variant->process, slowly);
		for (volatile int i = rand() % 100000; i; i--)
			;
		for (int i = 0; i < 3; i++)
			kill(parties[i]->tid, SIGKILL);
		EXPECT_EQ(sizeof(int), party_join(parties[3]));
		EXPECT_LE(1, atomic_load(&state->ends));
		value = outcome(slowly);
		EXPECT_EQ(value, parties[3]->value);
		for (int i = 0; i < 3; i++) {
			party_join(parties[i]);
			if (parties[i]->ended)
				EXPECT_EQ(value, parties[i]->value);
		}
	}
}

TEST_HARNESS_MAIN
