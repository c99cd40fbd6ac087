// SPDX-License-Identifier: GPL-2.0
/*
 * Memory order: what was written before one end of an edge is seen after the
 * other, by plain accesses to shared memory.
 *
 * Each test repeats its pattern for some seconds, and often enough however slow the
 * machine is. The two sides run freely against each other: nothing but the edge under
 * test orders them.
 */
#include <sched.h>

#include "helpers.h"

#define HOW_LONG	(2 * SEC)
#define LEAST		(500 / SLOWNESS)	/* repetitions, or it was no test */

static bool enough(uint64_t repetitions, uint64_t start)
{
	return repetitions >= LEAST && now() - start > (uint64_t)HOW_LONG;
}

FIXTURE(channel) {
	int ch;
};

FIXTURE_VARIANT(channel) {
	unsigned int capacity;
	bool process;
	bool select;		/* instead of plain calls */
};

FIXTURE_VARIANT_ADD(channel, threads_0) {
	.capacity = 0, .process = false,
};

FIXTURE_VARIANT_ADD(channel, threads_1) {
	.capacity = 1, .process = false,
};

FIXTURE_VARIANT_ADD(channel, threads_16) {
	.capacity = 16, .process = false,
};

FIXTURE_VARIANT_ADD(channel, processes_0) {
	.capacity = 0, .process = true,
};

FIXTURE_VARIANT_ADD(channel, processes_1) {
	.capacity = 1, .process = true,
};

FIXTURE_VARIANT_ADD(channel, processes_16) {
	.capacity = 16, .process = true,
};

FIXTURE_VARIANT_ADD(channel, select_0) {
	.capacity = 0, .process = true, .select = true,
};

FIXTURE_VARIANT_ADD(channel, select_16) {
	.capacity = 16, .process = true, .select = true,
};

FIXTURE_SETUP(channel)
{
	self->ch = chanfd_channel(sizeof(uint64_t), variant->capacity, 0, "litmus");
	ASSERT_LE(0, self->ch);
}

FIXTURE_TEARDOWN(channel)
{
	close(self->ch);
}

/*
 * tH1: a send is before the end of its receive, so the receiver sees what was
 * written before. H3: the k-th receive is before the end of send k + capacity
 * (tH2: without a buffer, of its own send), so then the receiver is finished
 * with what came before that, and its marks are seen. Hence capacity + 2 cells
 * are enough for any number of messages.
 */
struct cell {
	uint64_t written;
	uint64_t mark;
};

struct ring {
	unsigned int cells;
	bool select;
	struct cell cell[18];
};

static long run_mark(struct party *me)
{
	struct ring *ring = me->arg;
	uint64_t i, expected = 0, wrong = 0;
	struct chanfd_outcome out;
	struct cell *c;
	int got;

	for (;;) {
		if (ring->select) {
			got = chanfd_select_of(NULL, &out, CHANFD_RECV(me->fd, &i));
			got = got ? got : out.ok;
		} else {
			got = chanfd_get(me->fd, &i, NULL);
		}
		if (got != 1)
			return got ? -1 : (long)wrong;
		c = &ring->cell[i % ring->cells];
		wrong += i != expected++;
		wrong += c->written != i;
		c->mark = i + 1;
	}
}

TEST_F(channel, send_before_receive_before_reuse)
{
	struct ring *ring = shared(sizeof(*ring));
	uint64_t i, start = now(), wrong = 0;
	struct party *reader;
	struct cell *c;

	ring->cells = variant->capacity + 2;
	ring->select = variant->select;
	reader = party_new(variant->process, run_mark, self->ch);
	reader->arg = ring;
	party_start(reader);
	for (i = 0; i % 64 || !enough(i, start); i++) {
		c = &ring->cell[i % ring->cells];
		if (i >= ring->cells)
			wrong += c->mark != i - ring->cells + 1;
		c->written = i;
		if (ring->select) {
			ASSERT_EQ(0, chanfd_select_of(NULL, NULL, CHANFD_SEND(self->ch, &i)));
		} else {
			ASSERT_EQ(0, chanfd_put(self->ch, i, NULL));
		}
	}
	ASSERT_EQ(0, chanfd_close(self->ch, 0));
	EXPECT_EQ(0, party_join(reader));
	EXPECT_EQ(0, wrong);
	TH_LOG("%lu messages", i);
}

/*
 * Objects that end once. The two sides take turns to end one and to wait for
 * the next, so that each is sometimes asleep and sometimes late.
 */
#define BATCH	200

struct relay {
	int object[2 * BATCH];
	uint64_t cell[2 * BATCH];
	uint64_t base;
	int (*end)(int object);
	int (*wait)(int object);	/* 0: it has ended */
};

static long take_turns(struct relay *r, int first)
{
	long wrong = 0;
	int i;

	for (i = 0; i < 2 * BATCH; i++) {
		if (i % 2 == first) {
			r->cell[i] = r->base + i;
			if (r->end(r->object[i]))
				return -1;
		} else {
			if (r->wait(r->object[i]))
				return -1;
			wrong += r->cell[i] != r->base + i;
		}
	}
	return wrong;
}

static long run_take_turns(struct party *me)
{
	return take_turns(me->arg, 1);
}

FIXTURE(once) {
};

FIXTURE_VARIANT(once) {
	bool process;
};

FIXTURE_VARIANT_ADD(once, threads) {
	.process = false,
};

FIXTURE_VARIANT_ADD(once, processes) {
	.process = true,
};

FIXTURE_SETUP(once)
{
}

FIXTURE_TEARDOWN(once)
{
}

static void relay(struct __test_metadata *_metadata, bool process, int (*make)(void),
		  int (*end)(int object), int (*wait)(int object))
{
	struct relay *r = shared(sizeof(*r));
	uint64_t start = now();
	struct party *other;
	int i;

	r->end = end;
	r->wait = wait;
	do {
		r->base += 2 * BATCH;
		for (i = 0; i < 2 * BATCH; i++) {
			r->object[i] = make();
			ASSERT_LE(0, r->object[i]);
		}
		other = party_new(process, run_take_turns, -1);
		other->arg = r;
		party_start(other);
		EXPECT_EQ(0, take_turns(r, 0));
		EXPECT_EQ(0, party_join(other));
		for (i = 0; i < 2 * BATCH; i++)
			close(r->object[i]);
	} while (!enough(r->base, start));
	TH_LOG("%lu turns", r->base);
}

/* tH4: a close is before a receive that finds nothing because of it. */

static int make_channel(void)
{
	return chanfd_channel(8, 0, 0, "");
}

static int end_channel(int ch)
{
	return chanfd_close(ch, 0);
}

static int wait_channel(int ch)
{
	uint64_t value;

	return chanfd_get(ch, &value, NULL);
}

TEST_F(once, close_before_end_of_channel)
{
	relay(_metadata, variant->process, make_channel, end_channel, wait_channel);
}

/* tH2: the receiver writes, then receives; the sender reads when it is sent. */
static long run_write_and_recv(struct party *me)
{
	volatile uint64_t *cell = me->arg;
	uint64_t i, n = 0;
	int got;

	for (;;) {
		*cell = n++;
		got = chanfd_get(me->fd, &i, NULL);
		if (got != 1)
			return got;
		/* Nothing is written before the other side has looked. */
		if (chanfd_get(me->fd, &i, NULL) != 1)
			return -1;
	}
}

TEST_F(once, receive_before_end_of_send)
{
	uint64_t i, start = now(), wrong = 0;
	volatile uint64_t *cell = shared(sizeof(*cell));
	struct party *receiver;
	int ch = make_channel();

	ASSERT_LE(0, ch);
	receiver = party_new(variant->process, run_write_and_recv, ch);
	receiver->arg = (void *)cell;
	party_start(receiver);
	for (i = 0; i % 64 || !enough(i, start); i++) {
		ASSERT_EQ(0, chanfd_put(ch, i, NULL));
		wrong += *cell != i;
		ASSERT_EQ(0, chanfd_put(ch, i, NULL));
	}
	ASSERT_EQ(0, chanfd_close(ch, 0));
	EXPECT_EQ(0, party_join(receiver));
	EXPECT_EQ(0, wrong);
}

/* The same through select, and for an end with a cause. */

static int end_channel_with_cause(int ch)
{
	return chanfd_close(ch, EPROTO);
}

static int select_channel(int ch)
{
	struct chanfd_outcome out;
	uint64_t value;

	if (chanfd_select_of(NULL, &out, CHANFD_RECV(-1, &value), CHANFD_RECV(ch, &value)) != 1)
		return -1;
	return out.error == EPROTO ? 0 : -1;
}

TEST_F(once, close_before_select)
{
	relay(_metadata, variant->process, make_channel, end_channel_with_cause, select_channel);
}

/* H14: a cancel is before everything that finds the context done. */

static int make_context(void)
{
	return chanfd_context(-1);
}

static int end_context(int ctx)
{
	return chanfd_cancel(ctx, EPROTO, NULL);
}

static int wait_context(int ctx)
{
	return chanfd_context_wait(ctx, NULL);
}

/* Without sleeping: the error says so. */
static int watch_context(int ctx)
{
	int error;

	do {
		error = chanfd_context_err(ctx);
	} while (!error);
	return error == ECANCELED ? 0 : -1;
}

/* As a limit of another operation. */
static int limit_context(int ctx)
{
	static __thread int silent = -1;

	if (silent < 0)
		silent = chanfd_context(-1);
	if (chanfd_context_wait(silent, CHANFD_OPT(ctx, 0, 0)) != -1)
		return -1;
	return errno == ECANCELED ? 0 : -1;
}

TEST_F(once, cancel_before_done)
{
	relay(_metadata, variant->process, make_context, end_context, wait_context);
}

TEST_F(once, cancel_before_err)
{
	relay(_metadata, variant->process, make_context, end_context, watch_context);
}

TEST_F(once, cancel_before_ECANCELED)
{
	relay(_metadata, variant->process, make_context, end_context, limit_context);
}

/* H9: done is before the wait that it ends, and that one of many. */

static int make_waitgroup(void)
{
	int wg = chanfd_waitgroup(0, "");

	return wg < 0 || chanfd_wg_add(wg, 1) < 0 ? -1 : wg;
}

static int wait_waitgroup(int wg)
{
	return chanfd_wg_wait(wg, NULL, NULL);
}

TEST_F(once, done_before_wait)
{
	relay(_metadata, variant->process, make_waitgroup, chanfd_wg_done, wait_waitgroup);
}

/*
 * Round after round with the same two groups: every member writes before it is
 * done, and may write again when it is let go.
 */
#define MEMBERS	3

struct rounds {
	int work, go[2];	/* waitgroups; a round waits for one, the next for the other */
	uint64_t cell[MEMBERS];
	bool stop;
};

static long run_member(struct party *me)
{
	struct rounds *r = me->arg;
	uint64_t round;

	for (round = 1; !r->stop; round++) {
		r->cell[me->value] = round;
		if (chanfd_wg_done(r->work) || chanfd_wg_wait(r->go[round % 2], NULL, NULL))
			return -1;
	}
	return 0;
}

TEST_F(once, rounds_of_a_waitgroup)
{
	struct rounds *r = shared(sizeof(*r));
	uint64_t start = now(), round, wrong = 0;
	struct party *member[MEMBERS];
	int i;

	r->work = chanfd_waitgroup(0, "work");
	r->go[0] = make_waitgroup();
	r->go[1] = make_waitgroup();
	ASSERT_LE(0, r->go[1]);
	ASSERT_LE(0, chanfd_wg_add(r->work, MEMBERS));
	for (i = 0; i < MEMBERS; i++) {
		member[i] = party_new(variant->process, run_member, -1);
		member[i]->arg = r;
		member[i]->value = i;
		party_start(member[i]);
	}
	for (round = 1; !r->stop; round++) {
		ASSERT_EQ(0, chanfd_wg_wait(r->work, NULL, NULL));
		for (i = 0; i < MEMBERS; i++)
			wrong += r->cell[i] != round;
		r->stop = enough(round, start);
		ASSERT_LE(0, chanfd_wg_add(r->work, MEMBERS));
		/* The gate of the last round is shut again before this one opens. */
		if (round > 1)
			ASSERT_LE(0, chanfd_wg_add(r->go[(round + 1) % 2], 1));
		ASSERT_EQ(0, chanfd_wg_done(r->go[round % 2]));
	}
	for (i = 0; i < MEMBERS; i++)
		EXPECT_EQ(0, party_join(member[i]));
	EXPECT_EQ(0, wrong);
	TH_LOG("%lu rounds", round);
}

/*
 * H15: what a process wrote before it died is before the EOWNERDEAD because of it. Only
 * the dead one and the test have the object, and only the dead one the part of it that
 * its death gives up.
 */

enum { WORDS = 64, LEAST_DEATHS = 20 };

static int ours, theirs;	/* the object; what the child's death gives up */

static void make_token(void)
{
	ours = chanfd_waitgroup(0, "");
	theirs = chanfd_wg_token(ours, 0);
}

static int wait_for_token(void)
{
	return chanfd_wg_wait(ours, NULL, NULL) ? errno : 0;
}

static void make_canceller(void)
{
	int fd[2];

	if (chanfd_context_pair(fd, -1))
		err(1, "chanfd_context_pair");
	ours = fd[0];
	theirs = fd[1];
}

static int wait_for_canceller(void)
{
	struct chanfd_context_info info;

	if (chanfd_context_wait(ours, NULL) ||
	    chanfd_context_info(ours, &info))
		return errno;
	return info.cause;
}

static void make_sender(void)
{
	int fd[2];

	if (chanfd_channel_pair(fd, sizeof(uint64_t), 0, 0, ""))
		err(1, "chanfd_channel_pair");
	ours = fd[0];
	theirs = fd[1];
}

static int wait_for_sender(void)
{
	uint64_t value;

	return errno_of(chanfd_get(ours, &value, NULL));
}

FIXTURE(death) {
	uint64_t *words;
};

FIXTURE_VARIANT(death) {
	void (*make)(void);
	int (*wait)(void);
	int error;
};

FIXTURE_VARIANT_ADD(death, token) {
	.make = make_token, .wait = wait_for_token, .error = EOWNERDEAD,
};

FIXTURE_VARIANT_ADD(death, canceller) {
	.make = make_canceller, .wait = wait_for_canceller, .error = EOWNERDEAD,
};

FIXTURE_VARIANT_ADD(death, sender) {
	.make = make_sender, .wait = wait_for_sender, .error = ECONNRESET,
};

FIXTURE_SETUP(death)
{
	self->words = shared(WORDS * sizeof(*self->words));
}

FIXTURE_TEARDOWN(death)
{
}

TEST_F(death, last_words_are_heard)
{
	volatile uint64_t *words = self->words;
	uint64_t n, start = now(), wrong = 0;
	pid_t pid;
	int i;

	for (n = 1; n <= LEAST_DEATHS || now() - start < (uint64_t)HOW_LONG; n++) {
		variant->make();
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			for (i = 0; i < WORDS; i++)
				words[i] = n;
			if (n % 2)
				_exit(0);
			raise(SIGKILL);
		}
		close(theirs);
		EXPECT_EQ(variant->error, variant->wait());
		for (i = 0; i < WORDS; i++)
			wrong += words[i] != n;
		close(ours);
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	}
	EXPECT_EQ(0, wrong);
}

/*
 * H5 to H7. The words that a lock protects are all the same number, and a writer counts
 * them up. Each reader has a mark that it writes twice, and that writers look at.
 */
enum { READERS = 2 };

struct guarded {
	int lock;
	int (*acquire)(int lock, bool as_reader);
	uint64_t words[WORDS];
	uint64_t mark[READERS][2];
	atomic_bool over;
};

static int call_lock(int lock, bool as_reader)
{
	return as_reader ? chanfd_rlock(lock, NULL) : chanfd_lock(lock, NULL);
}

/* H7 */
static int try_lock(int lock, bool as_reader)
{
	while (as_reader ? chanfd_tryrlock(lock) : chanfd_trylock(lock)) {
		if (errno != EAGAIN)
			return -1;
		sched_yield();
	}
	return 0;
}

static int select_lock(int lock, bool as_reader)
{
	struct chanfd_outcome out;

	return chanfd_select_of(NULL, &out, as_reader ? CHANFD_RLOCK(lock) :
				CHANFD_LOCK(lock)) || out.error ? -1 : 0;
}

/* How many words are not the first one. */
static long differing(struct guarded *g)
{
	long n = 0;
	int i;

	for (i = 1; i < WORDS; i++)
		n += g->words[i] != g->words[0];
	return n;
}

/* How much was wrong, or -1. */
static long count_up(struct guarded *g)
{
	long wrong;
	int i;

	if (g->acquire(g->lock, false))
		return -1;
	wrong = differing(g);
	for (i = 0; i < WORDS; i++)
		g->words[i]++;
	for (i = 0; i < READERS; i++)
		wrong += g->mark[i][0] != g->mark[i][1];
	return chanfd_unlock(g->lock) ? -1 : wrong;
}

/* The value is how often. */
static long run_count_up(struct party *me)
{
	struct guarded *g = me->arg;
	long ret = 0;

	for (me->value = 0; !ret && !g->over; me->value++)
		ret = count_up(g);
	return ret;
}

/* The value is which of them, and then how often. */
static long run_look(struct party *me)
{
	struct guarded *g = me->arg;
	uint64_t *mark = g->mark[me->value], last = 0;
	long wrong = 0;

	for (me->value = 0; !wrong && !g->over; me->value++) {
		if (g->acquire(g->lock, true))
			return -1;
		mark[0]++;
		wrong = differing(g) + (g->words[0] < last);
		last = g->words[0];
		mark[1]++;
		if (chanfd_runlock(g->lock))
			return -1;
	}
	return wrong;
}

FIXTURE(lock) {
	struct guarded *g;
};

FIXTURE_VARIANT(lock) {
	bool process;
	int (*acquire)(int lock, bool as_reader);
	unsigned int mode;
};

FIXTURE_VARIANT_ADD(lock, threads) {
	.process = false, .acquire = call_lock,
};

FIXTURE_VARIANT_ADD(lock, threads_try) {
	.process = false, .acquire = try_lock,
};

FIXTURE_VARIANT_ADD(lock, processes) {
	.process = true, .acquire = call_lock,
};

FIXTURE_VARIANT_ADD(lock, processes_handoff) {
	.process = true, .acquire = call_lock, .mode = CHANFD_HANDOFF,
};

FIXTURE_VARIANT_ADD(lock, processes_try) {
	.process = true, .acquire = try_lock,
};

FIXTURE_VARIANT_ADD(lock, processes_select) {
	.process = true, .acquire = select_lock,
};

FIXTURE_SETUP(lock)
{
	self->g = shared(sizeof(*self->g));
	self->g->lock = chanfd_rwmutex(variant->mode, "litmus");
	self->g->acquire = variant->acquire;
	ASSERT_LE(0, self->g->lock);
}

FIXTURE_TEARDOWN(lock)
{
	if (self->g)
		close(self->g->lock);
}

/* The test is a writer, too. */
static void guard(struct __test_metadata *_metadata, struct guarded *g, struct party **others,
		  int n, uint64_t *writes)
{
	uint64_t start = now();
	long wrong = 0;
	int i;

	for (i = 0; i < n; i++) {
		others[i]->arg = g;
		party_start(others[i]);
	}
	for (*writes = 0; !wrong && !enough(*writes, start); ++*writes)
		wrong = count_up(g);
	g->over = true;
	for (i = 0; i < n; i++)
		EXPECT_EQ(0, party_join(others[i]));
	EXPECT_EQ(0, wrong);
}

/* H5: what was written under the lock before is seen. */
TEST_F(lock, unlock_before_lock)
{
	struct party *other = party_new(variant->process, run_count_up, -1);
	uint64_t writes;

	guard(_metadata, self->g, &other, 1, &writes);
	EXPECT_EQ(writes + other->value, self->g->words[0]);
	TH_LOG("%lu and %lu times", writes, other->value);
}

/* H6: readers see what a writer wrote before, and a writer what all readers wrote. */
TEST_F(lock, unlock_before_rlock_before_lock)
{
	struct party *readers[READERS];
	uint64_t writes;
	int i;

	for (i = 0; i < READERS; i++) {
		readers[i] = party_new(variant->process, run_look, -1);
		readers[i]->value = i;
	}
	guard(_metadata, self->g, readers, READERS, &writes);
	EXPECT_EQ(writes, self->g->words[0]);
	TH_LOG("%lu writes, %lu and %lu looks", writes, readers[0]->value, readers[1]->value);
}

/*
 * H10: a signal is before the end of the wait that it ends, though who signals does not
 * hold the lock. Two parties take turns to wake each other, each by a condition.
 */
struct bells {
	int cond[2];
	int lock[2];
	int (*ring)(int cond);		/* returns how many it has woken */
	uint64_t words[2];
	uint64_t rounds;
};

/* Until the other is woken by it. */
static bool ring(struct bells *b, int i, uint64_t number)
{
	uint64_t give_up = now() + BOUND;

	b->words[i] = number;
	while (b->ring(b->cond[i]) != 1) {
		if (now() > give_up)
			return false;
		sched_yield();
	}
	return true;
}

/* Was woken, and what is to be seen then is seen. */
static bool hears(struct bells *b, int i, uint64_t number)
{
	const struct chanfd_opt opt = { -1, 0, chanfd_deadline(BOUND) };

	return !chanfd_lock(b->lock[i], NULL) &&
	       !chanfd_condition_wait(b->cond[i], b->lock[i], &opt) &&
	       b->words[i] == number && !chanfd_unlock(b->lock[i]);
}

static long run_answer(struct party *me)
{
	struct bells *b = me->arg;
	uint64_t i;

	for (i = 1; i <= b->rounds; i++)
		if (!hears(b, 0, i) || !ring(b, 1, i))
			return -1;
	return 0;
}

FIXTURE(bells) {
	struct bells *b;
};

FIXTURE_VARIANT(bells) {
	bool process;
	int (*ring)(int cond);
};

FIXTURE_VARIANT_ADD(bells, threads) {
	.process = false, .ring = chanfd_signal,
};

FIXTURE_VARIANT_ADD(bells, processes) {
	.process = true, .ring = chanfd_signal,
};

FIXTURE_VARIANT_ADD(bells, processes_broadcast) {
	.process = true, .ring = chanfd_broadcast,
};

FIXTURE_SETUP(bells)
{
	int i;

	self->b = shared(sizeof(*self->b));
	self->b->ring = variant->ring;
	for (i = 0; i < 2; i++) {
		self->b->cond[i] = chanfd_condition(0, "litmus");
		self->b->lock[i] = chanfd_mutex(0, "litmus");
		ASSERT_LE(0, self->b->cond[i]);
		ASSERT_LE(0, self->b->lock[i]);
	}
}

FIXTURE_TEARDOWN(bells)
{
	int i;

	for (i = 0; self->b && i < 2; i++) {
		close(self->b->cond[i]);
		close(self->b->lock[i]);
	}
}

TEST_F(bells, signal_before_end_of_wait)
{
	struct party *p = party_new(variant->process, run_answer, -1);
	uint64_t i;

	self->b->rounds = 4 * LEAST;
	p->arg = self->b;
	party_start(p);
	for (i = 1; i <= self->b->rounds; i++) {
		ASSERT_TRUE(ring(self->b, 0, i));
		ASSERT_TRUE(hears(self->b, 1, i));
	}
	EXPECT_EQ(0, party_join(p));
}

/*
 * H12. Two cells of numbers, each stored by one of two parties and read by the other, by a
 * load or from the mapping. In @words is what they find by plain reads.
 */
struct pair {
	int cell[2];
	const struct chanfd_cell_page *page[2];
	bool mapped;
	uint64_t rounds;
	uint64_t words[2];
	uint64_t seen[2];
	atomic_ulong arrived;
};

static uint64_t number_in(struct pair *pair, int i)
{
	uint64_t number;

	if (!pair->mapped || chanfd_cell_read(pair->page[i], &number, sizeof(number), NULL) < 0)
		if (chanfd_load(pair->cell[i], &number, sizeof(number), NULL) < 0)
			err(1, "chanfd_load");
	return number;
}

static void set_number(struct pair *pair, int i, uint64_t number)
{
	if (chanfd_store(pair->cell[i], &number, sizeof(number), NULL))
		err(1, "chanfd_store");
}

/* Until the other has stored @number, or is gone. */
static bool wait_for_number(struct pair *pair, int i, uint64_t number)
{
	uint64_t give_up = now() + BOUND;

	while (number_in(pair, i) != number) {
		if (now() > give_up)
			return false;
		sched_yield();
	}
	return true;
}

FIXTURE(cells) {
	struct pair *pair;
};

FIXTURE_VARIANT(cells) {
	bool process;
	bool mapped;
};

FIXTURE_VARIANT_ADD(cells, threads) {
	.process = false, .mapped = false,
};

FIXTURE_VARIANT_ADD(cells, threads_mapped) {
	.process = false, .mapped = true,
};

FIXTURE_VARIANT_ADD(cells, processes) {
	.process = true, .mapped = false,
};

FIXTURE_VARIANT_ADD(cells, processes_mapped) {
	.process = true, .mapped = true,
};

FIXTURE_SETUP(cells)
{
	struct pair *pair = shared(sizeof(*pair));
	int i;

	pair->mapped = variant->mapped;
	for (i = 0; i < 2; i++) {
		pair->cell[i] = chanfd_cell(sizeof(uint64_t), 0, "litmus");
		ASSERT_LE(0, pair->cell[i]);
		pair->page[i] = chanfd_cell_map(pair->cell[i]);
		ASSERT_NE(NULL, pair->page[i]);
		set_number(pair, i, 0);
	}
	self->pair = pair;
}

FIXTURE_TEARDOWN(cells)
{
	if (self->pair) {
		close(self->pair->cell[0]);
		close(self->pair->cell[1]);
	}
}

/* The end of it. */
#define LAST	UINT64_MAX

static long run_reply(struct party *me)
{
	struct pair *pair = me->arg;
	uint64_t i, wrong = 0;

	for (i = 1;; i++) {
		while (number_in(pair, 0) < i)
			sched_yield();
		if (number_in(pair, 0) == LAST)
			return wrong;
		wrong += pair->words[0] != i;
		pair->words[1] = i;
		set_number(pair, 1, i);
	}
}

/* What was written before a store is seen by whoever finds it. */
TEST_F(cells, store_before_load)
{
	struct party *p = party_new(variant->process, run_reply, -1);
	struct pair *pair = self->pair;
	uint64_t i, start = now(), wrong = 0;

	p->arg = pair;
	party_start(p);
	for (i = 1; !enough(i, start); i++) {
		pair->words[0] = i;
		set_number(pair, 0, i);
		ASSERT_TRUE(wait_for_number(pair, 1, i));
		wrong += pair->words[1] != i;
	}
	set_number(pair, 0, LAST);
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(0, wrong);
	TH_LOG("%lu rounds", i);
}

/* Begin and end each round together. */
static void meet(struct pair *pair, uint64_t n)
{
	pair->arrived++;
	while (pair->arrived < 2 * n)
		sched_yield();
}

/* Store one's own, then look at the other's. */
static void store_and_look(struct pair *pair, int mine, uint64_t round)
{
	meet(pair, 2 * round - 1);
	set_number(pair, mine, round);
	pair->seen[mine] = number_in(pair, !mine);
	meet(pair, 2 * round);
}

static long run_store_and_look(struct party *me)
{
	struct pair *pair = me->arg;
	uint64_t i;

	for (i = 1; i <= pair->rounds; i++)
		store_and_look(pair, 1, i);
	return 0;
}

/* One of two stores is the first: so one of the two who look afterwards sees both. */
TEST_F(cells, one_order)
{
	struct party *p = party_new(variant->process, run_store_and_look, -1);
	struct pair *pair = self->pair;
	uint64_t i, neither = 0;

	pair->rounds = 4 * LEAST;
	p->arg = pair;
	party_start(p);
	for (i = 1; i <= pair->rounds; i++) {
		store_and_look(pair, 0, i);
		neither += pair->seen[0] < i && pair->seen[1] < i;
	}
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(0, neither);
}

TEST_HARNESS_MAIN
