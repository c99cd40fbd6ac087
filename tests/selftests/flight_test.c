// SPDX-License-Identifier: GPL-2.0
/*
 * Single flight, between threads and between processes: who executes, who shares, and
 * what happens when the one who executes is gone.
 */
#include "helpers.h"

#define FOLLOWERS	6

/* What the parties of a test share. */
struct state {
	struct chanfd_flight flight;
	int gate;		/* a function that waits, waits to receive from it */
	atomic_int calls;	/* of functions */
};

static struct state *state;

/* What the functions are to say. */
static ssize_t tell(void *buf, int value)
{
	memcpy(buf, &value, sizeof(value));
	return sizeof(value);
}

static ssize_t number(void *arg, void *buf, size_t size)
{
	return tell(buf, ++state->calls);
}

static ssize_t number_at_gate(void *arg, void *buf, size_t size)
{
	int call = ++state->calls, gate = arg ? *(int *)arg : state->gate;

	return chanfd_recv(gate, NULL, 0, NULL, NULL) == 1 ? tell(buf, call) : -1;
}

static ssize_t failing_at_gate(void *arg, void *buf, size_t size)
{
	number_at_gate(arg, buf, size);
	errno = EIO;
	return -1;
}

static ssize_t exiting_at_gate(void *arg, void *buf, size_t size)
{
	number_at_gate(arg, buf, size);
	pthread_exit(NULL);
}

/* Longer than what the others can be left, if the caller has room for it. */
static ssize_t long_at_gate(void *arg, void *buf, size_t size)
{
	number_at_gate(arg, buf, size);
	memset(buf, 'x', size);
	return size;
}

/**
 * struct errand - what a party is to do
 * @key:	of the execution
 * @f:		the function
 * @gate:	where it waits
 * @room:	for the result
 * @shared:	out
 */
struct errand {
	const char *key;
	ssize_t (*f)(void *arg, void *buf, size_t size);
	int gate;
	size_t room;
	bool shared;
};

static long run_do(struct party *me)
{
	struct errand *errand = me->arg;
	char buf[1024] = "";
	long n = chanfd_flight_do(&state->flight, errand->key, errand->f, &errand->gate, buf,
				  errand->room, &errand->shared, &me->opt);

	memcpy(&me->value, buf, sizeof(int));
	return n;
}

static struct party *party_new_do(bool process, const char *key,
				  ssize_t (*f)(void *arg, void *buf, size_t size), int gate)
{
	struct party *p = party_new(process, run_do, -1);
	struct errand *errand = shared(sizeof(*errand));

	*errand = (struct errand){ .key = key, .f = f, .gate = gate, .room = sizeof(int) };
	p->arg = errand;
	return p;
}

static struct party *party_do(bool process, const char *key,
			      ssize_t (*f)(void *arg, void *buf, size_t size))
{
	return party_start(party_new_do(process, key, f, state->gate));
}

static bool shared_by(struct party *p)
{
	return ((struct errand *)p->arg)->shared;
}

/* The test's own call: the number that comes out, or -1. */
static int outcome_of(const char *key)
{
	int value = -1;

	return chanfd_flight_do(&state->flight, key, number, NULL, &value, sizeof(value), NULL,
				NULL) < 0 ? -1 : value;
}

static void open_gate(int gate, int n)
{
	while (n--)
		if (chanfd_send(gate, NULL, 0, NULL))
			err(1, "gate");
}

FIXTURE(flight)
{
	long handles;
};

FIXTURE_VARIANT(flight)
{
	bool process;
};

FIXTURE_VARIANT_ADD(flight, threads)
{
	.process = false,
};

FIXTURE_VARIANT_ADD(flight, processes)
{
	.process = true,
};

FIXTURE_SETUP(flight)
{
	self->handles = handles_open();
	state = shared(sizeof(*state));
	state->gate = chanfd_channel(0, 100, 0, "gate");
	ASSERT_LE(0, state->gate);
	ASSERT_EQ(0, chanfd_flight(&state->flight, 64, 0, "flight"));
}

/* Everything is closed when all are gone. */
FIXTURE_TEARDOWN(flight)
{
	chanfd_flight_close(&state->flight);
	close(state->gate);
	EXPECT_TRUE(eventually(handles_open() == self->handles));
}

/* tF1, F1: those who come while it is executed share one execution, and know. */
TEST_F(flight, dedupe)
{
	struct party *leader = party_do(variant->process, "key", number_at_gate);
	struct party *followers[FOLLOWERS];

	EXPECT_TRUE(blocked(leader));
	for (int i = 0; i < FOLLOWERS; i++)
		followers[i] = party_do(variant->process, "key", number_at_gate);
	for (int i = 0; i < FOLLOWERS; i++)
		EXPECT_TRUE(stays_blocked(followers[i]));
	EXPECT_EQ(1, atomic_load(&state->calls));
	open_gate(state->gate, 1);
	for (int i = 0; i < FOLLOWERS; i++) {
		EXPECT_EQ(sizeof(int), party_join(followers[i]));
		EXPECT_EQ(1, followers[i]->value);
		EXPECT_TRUE(shared_by(followers[i]));
	}
	EXPECT_EQ(sizeof(int), party_join(leader));
	EXPECT_EQ(1, leader->value);
	EXPECT_TRUE(shared_by(leader));
}

/* What is over is not remembered: more calls than there are slots. */
TEST_F(flight, one_after_the_other)
{
	struct party *p;

	for (int i = 1; i <= 40; i++) {
		p = party_do(variant->process, "key", number);
		EXPECT_EQ(sizeof(int), party_join(p));
		EXPECT_EQ(i, p->value);
		EXPECT_FALSE(shared_by(p));
	}
}

/* F1: an error is shared, too. */
TEST_F(flight, failure)
{
	struct party *leader = party_do(variant->process, "key", failing_at_gate), *follower;

	EXPECT_TRUE(blocked(leader));
	follower = party_do(variant->process, "key", number);
	EXPECT_TRUE(stays_blocked(follower));
	open_gate(state->gate, 1);
	EXPECT_EQ(EIO, errno_of(party_join(leader)));
	EXPECT_EQ(EIO, errno_of(party_join(follower)));
	EXPECT_TRUE(shared_by(follower));
	EXPECT_EQ(1, atomic_load(&state->calls));
	EXPECT_EQ(2, outcome_of("key"));
}

TEST_F(flight, other_keys)
{
	struct party *one = party_do(variant->process, "one", number_at_gate), *other, *empty;

	EXPECT_TRUE(blocked(one));
	other = party_do(variant->process, "on", number_at_gate);
	EXPECT_TRUE(blocked(other));
	empty = party_do(variant->process, "", number);
	EXPECT_EQ(sizeof(int), party_join(empty));
	EXPECT_EQ(3, empty->value);
	open_gate(state->gate, 2);
	EXPECT_EQ(sizeof(int), party_join(one));
	EXPECT_EQ(sizeof(int), party_join(other));
	EXPECT_EQ(1, one->value);
	EXPECT_EQ(2, other->value);
}

/* tF2, F2: who comes later starts another one, which the end of the first does not hide. */
TEST_F(flight, forget)
{
	struct party *first, *second, *first_follower, *second_follower;
	int gate = chanfd_channel(0, 100, 0, "second gate");

	first = party_do(variant->process, "key", number_at_gate);
	EXPECT_TRUE(blocked(first));
	first_follower = party_do(variant->process, "key", number);
	EXPECT_TRUE(stays_blocked(first_follower));
	EXPECT_EQ(0, chanfd_flight_forget(&state->flight, "key"));
	second = party_start(party_new_do(variant->process, "key", number_at_gate, gate));
	EXPECT_TRUE(blocked(second));
	EXPECT_TRUE(eventually(state->calls == 2));

	open_gate(state->gate, 1);
	EXPECT_EQ(sizeof(int), party_join(first));
	EXPECT_EQ(sizeof(int), party_join(first_follower));
	EXPECT_EQ(1, first->value);
	EXPECT_EQ(1, first_follower->value);

	second_follower = party_do(variant->process, "key", number);
	EXPECT_TRUE(stays_blocked(second_follower));
	open_gate(gate, 1);
	EXPECT_EQ(sizeof(int), party_join(second));
	EXPECT_EQ(sizeof(int), party_join(second_follower));
	EXPECT_EQ(2, second->value);
	EXPECT_EQ(2, second_follower->value);
	EXPECT_EQ(0, chanfd_flight_forget(&state->flight, "key"));
	EXPECT_EQ(2, atomic_load(&state->calls));
	close(gate);
}

/* tF3, F3: one of those who wait executes it, for all of them. */
TEST_F(flight, leader_dies)
{
	struct party *leader = party_do(true, "key", number_at_gate);
	struct party *followers[FOLLOWERS];
	int gate = chanfd_channel(0, 100, 0, "second gate");

	EXPECT_TRUE(blocked(leader));
	for (int i = 0; i < FOLLOWERS; i++) {
		followers[i] = party_new_do(variant->process, "key", number_at_gate, gate);
		EXPECT_TRUE(stays_blocked(party_start(followers[i])));
	}
	party_kill(leader);
	EXPECT_TRUE(eventually(state->calls == 2));
	for (int i = 0; i < FOLLOWERS; i++)
		EXPECT_TRUE(stays_blocked(followers[i]));
	open_gate(gate, 1);
	for (int i = 0; i < FOLLOWERS; i++) {
		EXPECT_EQ(sizeof(int), party_join(followers[i]));
		EXPECT_EQ(2, followers[i]->value);
		EXPECT_TRUE(shared_by(followers[i]));
	}
	EXPECT_EQ(2, atomic_load(&state->calls));
	close(gate);
}

/* Without anybody who waits, it is the next who comes; also when all slots were so used. */
TEST_F(flight, leaders_die_alone)
{
	struct party *leader;

	for (int i = 0; i < 2 * CHANFD_FLIGHT_SLOTS; i++) {
		leader = party_do(true, "key", number_at_gate);
		EXPECT_TRUE(blocked(leader));
		party_kill(leader);
	}
	leader = party_do(variant->process, "key", number);
	EXPECT_EQ(sizeof(int), party_join(leader));
	EXPECT_EQ(2 * CHANFD_FLIGHT_SLOTS + 1, leader->value);
	EXPECT_FALSE(shared_by(leader));
}

/*
 * A leader that died after it had left a result, but was still to say that it is over. Who
 * comes later starts an execution, and is not given the result of one that is long over.
 * The test leaves the result in its place.
 */
TEST_F(flight, leader_dies_with_result)
{
	const int result[2] = { 0, 99 };
	struct chanfd_lock_info info;
	struct party *leader;

	leader = party_do(true, "key", number_at_gate);
	EXPECT_TRUE(blocked(leader));
	for (int i = 0; i < CHANFD_FLIGHT_SLOTS; i++) {
		ASSERT_EQ(0, chanfd_lock_info(state->flight.lock[i], &info));
		if (info.state & CHANFD_LOCKED)
			ASSERT_EQ(0, chanfd_store(state->flight.cell[i], result, sizeof(result),
						  NULL));
	}
	party_kill(leader);
	leader = party_do(variant->process, "key", number);
	EXPECT_EQ(sizeof(int), party_join(leader));
	EXPECT_EQ(2, leader->value);
}

/* @arg: the caller's handles, among which that of the directory then cannot store. */
static ssize_t number_that_stays(void *arg, void *buf, size_t size)
{
	struct chanfd_flight *flight = arg;

	flight->directory = chanfd_reduce(flight->directory, CHANFD_READ);
	return number(NULL, buf, size);
}

/*
 * Likewise when the leader lives, and cannot say that it is over: here for lack of the
 * right to, which is as good as a lack of memory.
 */
TEST_F(flight, cannot_say_that_it_is_over)
{
	struct chanfd_flight flight = state->flight;
	struct party *next;
	int value;

	EXPECT_EQ(sizeof(value), chanfd_flight_do(&flight, "key", number_that_stays, &flight,
						  &value, sizeof(value), NULL, NULL));
	EXPECT_EQ(1, value);
	close(flight.directory);
	next = party_do(variant->process, "key", number);
	EXPECT_EQ(sizeof(value), party_join(next));
	EXPECT_EQ(2, next->value);
}

/* F3: so do they when the leader's thread exits in the function. */

static void *thread_do(void *arg)
{
	run_do(arg);
	return NULL;
}

static long run_exit(struct party *me)
{
	pthread_t thread;

	return pthread_create(&thread, NULL, thread_do, me) || pthread_join(thread, NULL) ? -1 : 0;
}

TEST_F(flight, thread_exits)
{
	struct party *leader = party_new_do(variant->process, "key", exiting_at_gate,
					    state->gate), *follower;

	leader->run = run_exit;
	party_start(leader);
	EXPECT_TRUE(eventually(state->calls == 1));
	follower = party_do(variant->process, "key", number);
	EXPECT_TRUE(stays_blocked(follower));
	open_gate(state->gate, 1);
	EXPECT_EQ(0, party_join(leader));
	EXPECT_EQ(sizeof(int), party_join(follower));
	EXPECT_EQ(2, follower->value);
}

/* Who waits need not wait to the end, and that is nobody else's affair. */
TEST_F(flight, waits_end)
{
	struct party *leader = party_do(variant->process, "key", number_at_gate), *follower;
	int context = chanfd_context(-1), value;

	EXPECT_TRUE(blocked(leader));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_flight_do(&state->flight, "key", number, NULL, &value,
						    sizeof(value), NULL,
						    CHANFD_OPT(-1, CHANFD_NONBLOCK, 0))));
	EXPECT_EQ(ETIMEDOUT, errno_of(chanfd_flight_do(&state->flight, "key", number, NULL, &value,
						       sizeof(value), NULL,
						       CHANFD_OPT(-1, 0, chanfd_deadline(MSEC)))));
	follower = party_new_do(variant->process, "key", number, state->gate);
	follower->opt.context = context;
	EXPECT_TRUE(blocked(party_start(follower)));
	EXPECT_EQ(0, chanfd_cancel(context, 0, NULL));
	EXPECT_EQ(ECANCELED, errno_of(party_join(follower)));
	open_gate(state->gate, 1);
	EXPECT_EQ(sizeof(int), party_join(leader));
	EXPECT_FALSE(shared_by(leader));
	EXPECT_EQ(1, atomic_load(&state->calls));
	close(context);
}

/* As many executions as there are slots; one more waits for the end of one. */
TEST_F(flight, all_slots_busy)
{
	static const char keys[] = "abcdefghijklmnopqrstuvwxyz";
	struct party *leaders[CHANFD_FLIGHT_SLOTS], *last;
	int value;

	for (int i = 0; i < CHANFD_FLIGHT_SLOTS; i++) {
		leaders[i] = party_do(variant->process, keys + i, number_at_gate);
		EXPECT_TRUE(blocked(leaders[i]));
	}
	EXPECT_EQ(EAGAIN, errno_of(chanfd_flight_do(&state->flight, "key", number, NULL, &value,
						    sizeof(value), NULL,
						    CHANFD_OPT(-1, CHANFD_NONBLOCK, 0))));
	last = party_do(variant->process, "key", number);
	EXPECT_TRUE(stays_blocked(last));
	EXPECT_EQ(CHANFD_FLIGHT_SLOTS, atomic_load(&state->calls));
	open_gate(state->gate, 1);
	EXPECT_EQ(sizeof(int), party_join(last));
	EXPECT_EQ(CHANFD_FLIGHT_SLOTS + 1, last->value);
	open_gate(state->gate, CHANFD_FLIGHT_SLOTS - 1);
	for (int i = 0; i < CHANFD_FLIGHT_SLOTS; i++)
		EXPECT_EQ(sizeof(int), party_join(leaders[i]));
}

/* What is too long for the group is the leader's alone. */
TEST_F(flight, result_too_long)
{
	struct party *leader = party_new_do(variant->process, "key", long_at_gate, state->gate);
	struct party *follower;

	((struct errand *)leader->arg)->room = 1024;
	EXPECT_TRUE(blocked(party_start(leader)));
	follower = party_do(variant->process, "key", number);
	EXPECT_TRUE(stays_blocked(follower));
	open_gate(state->gate, 1);
	EXPECT_EQ(1024, party_join(leader));
	EXPECT_EQ(sizeof(int), party_join(follower));
	EXPECT_EQ(2, follower->value);
}

/* And what is too long for one who waits is its own affair. */
TEST_F(flight, no_room)
{
	struct party *leader = party_do(variant->process, "key", number_at_gate), *follower;

	EXPECT_TRUE(blocked(leader));
	follower = party_new_do(variant->process, "key", number, state->gate);
	((struct errand *)follower->arg)->room = sizeof(int) - 1;
	EXPECT_TRUE(stays_blocked(party_start(follower)));
	open_gate(state->gate, 1);
	EXPECT_EQ(EMSGSIZE, errno_of(party_join(follower)));
	EXPECT_EQ(sizeof(int), party_join(leader));
	EXPECT_EQ(1, atomic_load(&state->calls));
}

TEST_F(flight, wrong_arguments)
{
	char key[CHANFD_FLIGHT_KEY + 1] = "";
	struct chanfd_flight flight;
	char buf[4];

	memset(key, 'k', CHANFD_FLIGHT_KEY);
	EXPECT_EQ(EINVAL, errno_of(outcome_of(key)));
	EXPECT_EQ(1, outcome_of(key + 1));
	EXPECT_EQ(EINVAL, errno_of(chanfd_flight_do(&state->flight, NULL, number, NULL, buf, 4,
						    NULL, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_flight_forget(&state->flight, key)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_flight(&flight, CHANFD_MAX_CELL - 3, 0, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_flight(&flight, 8, CHANFD_PAIR, NULL)));
}

/*
 * Whoever has the handles may store anything. It may say that a key is being executed where
 * it is not; this is found to be wrong, and nothing worse happens.
 */
TEST_F(flight, hostile_directory)
{
	unsigned char garbage[4096];
	struct chanfd_cell_info info;
	struct party *p;
	int call = 0;

	ASSERT_EQ(0, chanfd_cell_info(state->flight.directory, &info));
	ASSERT_GE(sizeof(garbage), info.max);
	srand(1);
	for (int round = 0; round < 200; round++) {
		size_t size = round % 4 ? info.max : (size_t)rand() % (info.max + 1);

		for (size_t i = 0; i < size; i++)
			garbage[i] = round % 3 ? rand() : 'k';
		ASSERT_EQ(0, chanfd_store(state->flight.directory, garbage, size, NULL));
		if (round % 10) {
			ASSERT_EQ(++call, outcome_of("key"));
		} else {
			/* The key of every entry, without an end: all in all 64 bytes. */
			memset(garbage, 0, info.max);
			for (size_t i = 0; i < info.max; i += info.max / CHANFD_FLIGHT_SLOTS) {
				garbage[i] = round + 1;
				memcpy(garbage + i + 8, "key", 4);
			}
			ASSERT_EQ(0, chanfd_store(state->flight.directory, garbage, info.max,
						  NULL));
			p = party_do(variant->process, "key", number);
			ASSERT_EQ(sizeof(int), party_join(p));
			ASSERT_EQ(++call, p->value);
		}
	}
}

/* A result that has no room for an error. */
TEST_F(flight, hostile_result)
{
	struct party *leader = party_do(true, "key", number_at_gate), *follower;

	EXPECT_TRUE(blocked(leader));
	for (int i = 0; i < CHANFD_FLIGHT_SLOTS; i++)
		EXPECT_EQ(0, chanfd_store(state->flight.cell[i], "x", 1, NULL));
	follower = party_do(variant->process, "key", number);
	EXPECT_TRUE(stays_blocked(follower));
	open_gate(state->gate, 1);
	EXPECT_EQ(sizeof(int), party_join(leader));
	EXPECT_EQ(sizeof(int), party_join(follower));
	EXPECT_EQ(2, follower->value);
}

/*
 * Processes that use a few keys are killed at any instant. Those that live on are never
 * stuck, and get what a call of that key said.
 */

static ssize_t tell_key(void *arg, void *buf, size_t size)
{
	for (volatile int i = rand() % 3000; i; i--)
		;
	return tell(buf, *(char *)arg);
}

static long run_storm(struct party *me)
{
	char key[2] = "a";
	int value;

	srand(me->value);
	for (int i = 0; i < 100; i++) {
		key[0] = 'a' + rand() % 3;
		value = 0;
		if (chanfd_flight_do(&state->flight, key, tell_key, key, &value, sizeof(value),
				     NULL, NULL) != sizeof(value) || value != key[0])
			return -1;
		if (rand() % 16 == 0 && chanfd_flight_forget(&state->flight, key))
			return -1;
	}
	return 0;
}

TEST_F(flight, killed_at_any_instant)
{
	struct party *living[2], *victim;
	int seed = 1;

	for (int i = 0; i < 2; i++) {
		living[i] = party_new(variant->process, run_storm, -1);
		living[i]->value = seed++;
		party_start(living[i]);
	}
	while (!party_ended(living[0]) || !party_ended(living[1])) {
		victim = party_new(true, run_storm, -1);
		victim->value = seed++;
		party_start(victim);
		for (volatile int i = rand() % 1000000; i; i--)
			;
		party_kill(victim);
	}
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, party_join(living[i]));
	EXPECT_EQ(1, outcome_of("a"));
}

TEST_HARNESS_MAIN
