// SPDX-License-Identifier: GPL-2.0
/*
 * Select: exactly one of many, chosen at one instant, and at random.
 */
#include "numbers.h"

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

static const struct chanfd_opt ordered = {
	.context = -1,
	.flags = CHANFD_ORDERED,
};

#define nil CHANFD_RECV(-1)

/* A channel that is closed, so that receiving from it is always possible. */
static int closed(void)
{
	int ch = make(0);

	if (chanfd_close(ch, 0))
		err(1, "chanfd_close");
	return ch;
}

/**
 * struct choice - a select for a party
 * @cases:	at most eight
 * @n:		how many
 * @out:	what came of it
 * @values:	room for what is received, or what is sent
 *
 * The party returns the index.
 */
struct choice {
	struct chanfd_case cases[8];
	unsigned int n;
	struct chanfd_outcome out;
	uint64_t values[8];
};

static long run_select(struct party *me)
{
	struct choice *c = me->arg;

	drop(me, me->fd);
	poison(&c->out);
	return chanfd_select(c->cases, c->n, &me->opt, &c->out);
}

/* A party that selects; its cases are added by add_recv() and add_send(). */
static struct party *select_new(bool process)
{
	struct party *p = party_new(process, run_select, -1);

	p->arg = shared(sizeof(struct choice));
	return p;
}

static struct choice *choice_of(struct party *p)
{
	return p->arg;
}

static void add(struct party *p, struct chanfd_case one)
{
	struct choice *c = p->arg;

	c->cases[c->n++] = one;
}

static void add_recv(struct party *p, int ch)
{
	struct choice *c = p->arg;

	add(p, CHANFD_RECV(ch, &c->values[c->n]));
}

static void add_send(struct party *p, int ch, uint64_t value)
{
	struct choice *c = p->arg;

	c->values[c->n] = value;
	add(p, CHANFD_SEND(ch, &c->values[c->n]));
}

FIXTURE(select) {
};

FIXTURE_VARIANT(select) {
	bool process;
};

FIXTURE_VARIANT_ADD(select, threads) {
	.process = false,
};

FIXTURE_VARIANT_ADD(select, processes) {
	.process = true,
};

FIXTURE_SETUP(select)
{
}

FIXTURE_TEARDOWN(select)
{
}

/* What can be chosen. */

TEST_F(select, nil_matrix)
{
	struct chanfd_outcome out;
	int ch = closed(), quiet = make(0);
	struct party *p;
	unsigned int n;

	/* With default: it is never a case that is switched off. */
	EXPECT_EQ(EAGAIN, errno_of(chanfd_select_of(&nonblock, &out, nil)));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_select_of(&nonblock, &out, nil,
						    CHANFD_SEND(-1), nil)));
	/* Beside one that is ready, in any place. */
	for (n = 0; n < 20; n++) {
		EXPECT_EQ(1, chanfd_select_of(NULL, &out, nil, CHANFD_RECV(ch)));
		EXPECT_EQ(0, chanfd_select_of(NULL, &out, CHANFD_RECV(ch), nil));
		EXPECT_EQ(1, chanfd_select_of(NULL, &out, nil, CHANFD_RECV(ch),
					      CHANFD_SEND(-2)));
	}
	/* Alone it blocks until a signal. */
	for (n = 1; n <= 3; n++) {
		p = select_new(variant->process);
		while (choice_of(p)->n < n)
			add(p, nil);
		party_start(p);
		EXPECT_TRUE(stays_blocked(p));
	}
	/* Beside one that is not ready it does too, and not for good. */
	p = select_new(variant->process);
	add(p, nil);
	add_recv(p, quiet);
	party_start(p);
	EXPECT_TRUE(stays_blocked(p));
	EXPECT_EQ(0, put(quiet, 5));
	EXPECT_EQ(1, party_join(p));
	EXPECT_EQ(5, choice_of(p)->values[1]);
}

TEST(closed_in_select)
{
	struct chanfd_outcome out;
	uint64_t v = 1;
	int ch = make(1);

	ASSERT_EQ(0, put(ch, 9));
	ASSERT_EQ(0, chanfd_close(ch, 0));
	poison(&out);
	EXPECT_EQ(0, chanfd_select_of(NULL, &out, CHANFD_RECV(ch, &v)));
	EXPECT_EQ(1, out.ok);
	EXPECT_EQ(0, out.error);
	EXPECT_EQ(8, out.size);
	EXPECT_EQ(9, v);
	poison(&out);
	EXPECT_EQ(0, chanfd_select_of(NULL, &out, CHANFD_RECV(ch, &v)));
	EXPECT_EQ(0, out.ok);
	EXPECT_EQ(0, out.error);
	EXPECT_EQ(0, out.size);
	EXPECT_EQ(0, chanfd_select_of(&nonblock, &out, CHANFD_RECV(ch)));
	EXPECT_EQ(0, out.ok);
	poison(&out);
	EXPECT_EQ(0, chanfd_select_of(&nonblock, &out, CHANFD_SEND(ch, &v)));
	EXPECT_EQ(EPIPE, out.error);
	EXPECT_EQ(EPIPE, errno_of(chanfd_select_of(NULL, NULL,
						   CHANFD_SEND(ch, &v))));
}

/* The errors of the ends are told for the case that was chosen. */
TEST(ends_in_select)
{
	struct chanfd_outcome out;
	uint64_t v = 1;
	int fd[2], ch;

	make_pair(fd, 1);
	ASSERT_EQ(0, put(fd[1], 3));
	close(fd[1]);
	EXPECT_EQ(1, chanfd_select_of(NULL, &out, nil, CHANFD_RECV(fd[0], &v)));
	EXPECT_EQ(1, out.ok);
	EXPECT_EQ(3, v);
	EXPECT_EQ(1, chanfd_select_of(NULL, &out, nil, CHANFD_RECV(fd[0], &v)));
	EXPECT_EQ(ECONNRESET, out.error);
	EXPECT_EQ(0, out.ok);

	make_pair(fd, 1);
	close(fd[0]);
	EXPECT_EQ(0, chanfd_select_of(NULL, &out, CHANFD_SEND(fd[1], &v)));
	EXPECT_EQ(ECONNRESET, out.error);

	ch = make(0);
	ASSERT_EQ(0, chanfd_close(ch, EDQUOT));
	EXPECT_EQ(0, chanfd_select_of(NULL, &out, CHANFD_RECV(ch, &v)));
	EXPECT_EQ(EDQUOT, out.error);
}

TEST_F(select, close_while_blocked)
{
	struct party *p;
	int ch, quiet = make(0), form;

	for (form = 0; form < 2; form++) {
		ch = make(0);
		p = select_new(variant->process);
		add_recv(p, quiet);
		if (form) {
			add_send(p, ch, 1);
		} else {
			add_recv(p, ch);
		}
		party_start(p);
		ASSERT_TRUE(form ? senders_wait(ch, 1) : receivers_wait(ch, 1));
		EXPECT_EQ(0, chanfd_close(ch, 0));
		EXPECT_EQ(1, party_join(p));
		EXPECT_EQ(0, choice_of(p)->out.ok);
		EXPECT_EQ(form ? EPIPE : 0, choice_of(p)->out.error);
		EXPECT_EQ(0, info_of(quiet).waiting_receivers);
		close(ch);
	}
}

TEST_F(select, self_select_alone)
{
	struct party *p, *q;
	int ch = make(0);

	/* It must not match itself, */
	p = select_new(variant->process);
	add_send(p, ch, 1);
	add_recv(p, ch);
	party_start(p);
	ASSERT_TRUE(senders_wait(ch, 1));
	EXPECT_EQ(1, info_of(ch).waiting_receivers);
	EXPECT_TRUE(stays_blocked(p));

	/* but two such can pair with each other. */
	q = select_new(variant->process);
	add_send(q, ch, 2);
	add_recv(q, ch);
	party_start(q);
	EXPECT_EQ(1, party_join(p) + party_join(q));
	if (!p->result) {
		EXPECT_EQ(1, choice_of(q)->values[1]);
	} else {
		EXPECT_EQ(2, choice_of(p)->values[1]);
	}
	EXPECT_EQ(0, info_of(ch).waiting_senders);
	EXPECT_EQ(0, info_of(ch).waiting_receivers);
	EXPECT_EQ(1, info_of(ch).sent);
	EXPECT_EQ(1, info_of(ch).received);
}

/* With a buffer a select may well receive what it has sent. */
TEST(self_select_buffered)
{
	struct chanfd_outcome out;
	uint64_t in = 4, v;
	int ch = make(1), i, sent = 0;

	for (i = 0; i < 20; i++) {
		poison(&v);
		switch (chanfd_select_of(NULL, &out, CHANFD_SEND(ch, &in),
					 CHANFD_RECV(ch, &v))) {
		case 0:
			sent++;
			break;
		case 1:
			sent--;
			EXPECT_EQ(4, v);
			break;
		}
		EXPECT_EQ(i % 2 ? 0 : 1, sent);
	}
}

TEST_F(select, empty_select)
{
	struct chanfd_opt soon = { .context = -1 };
	struct chanfd_outcome out;
	struct party *p;

	EXPECT_EQ(EAGAIN, errno_of(chanfd_select(NULL, 0, &nonblock, &out)));
	soon.deadline = chanfd_deadline(50 * MSEC);
	EXPECT_EQ(ETIMEDOUT, errno_of(chanfd_select(NULL, 0, &soon, &out)));
	EXPECT_LE(soon.deadline, now());
	p = party_start(select_new(variant->process));
	EXPECT_TRUE(stays_blocked(p));
	catch_signal(SIGUSR1, 0);
	p = party_start(select_new(variant->process));
	ASSERT_TRUE(blocked(p));
	party_signal(p, SIGUSR1);
	EXPECT_EQ(EINTR, errno_of(party_join(p)));
}

TEST(break_out)
{
	struct chanfd_outcome out;
	int ch = closed(), i;

	for (i = 0; i < 10; i++) {
		EXPECT_EQ(0, chanfd_select_of(NULL, &out, CHANFD_RECV(ch)));
		EXPECT_GE(1, chanfd_select_of(NULL, &out, CHANFD_RECV(ch),
					      CHANFD_RECV(ch)));
		EXPECT_GE(2, chanfd_select_of(NULL, &out, CHANFD_RECV(ch),
					      CHANFD_RECV(ch), CHANFD_RECV(ch)));
		EXPECT_EQ(EAGAIN, errno_of(chanfd_select(NULL, 0, &nonblock,
							 &out)));
	}
}

TEST(out_of_every_case)
{
	struct chanfd_select s;
	struct chanfd_case c;
	int ch = make(2);
	uint64_t v = 8;

	ASSERT_EQ(0, put(ch, 7));
	c = (struct chanfd_case)CHANFD_SEND(ch, &v);
	poison(&s);
	s.flags = 0;
	s.context = -1;
	s.deadline = 0;
	s.cases = (uintptr_t)&c;
	s.count = 1;
	EXPECT_EQ(0, ioctl(ch, CHANFD_IOC_SELECT, &s));
	EXPECT_EQ(0, s.index);
	EXPECT_EQ(0, s.error);
	EXPECT_EQ(1, s.number);
	c = (struct chanfd_case)CHANFD_RECV(ch, &v);
	EXPECT_EQ(0, ioctl(ch, CHANFD_IOC_SELECT, &s));
	EXPECT_EQ(1, s.ok);
	EXPECT_EQ(8, s.size);
	EXPECT_EQ(0, s.number);
	EXPECT_EQ(7, v);

	/* A call that fails leaves them unwritten. */
	EXPECT_EQ(0, try_get(ch, &v) - 1);
	s.flags = CHANFD_NONBLOCK;
	s.index = -77;
	s.error = 77;
	s.number = 77;
	EXPECT_EQ(EAGAIN, errno_of(ioctl(ch, CHANFD_IOC_SELECT, &s)));
	EXPECT_EQ(-77, s.index);
	EXPECT_EQ(77, s.error);
	EXPECT_EQ(77, s.number);
}

/* Chance. */

enum { DRAWS = 10000 };

TEST(uniform)
{
	enum { CASES = 5 };
	struct chanfd_case cases[CASES];
	unsigned int seen[CASES] = { 0 };
	double chi2 = 0, expected = (double)DRAWS / CASES;
	int i, index;

	for (i = 0; i < CASES; i++)
		cases[i] = CHANFD_RECV(closed());
	for (i = 0; i < DRAWS; i++) {
		index = chanfd_select(cases, CASES, NULL, NULL);
		ASSERT_LE(0, index);
		ASSERT_GT(CASES, index);
		seen[index]++;
	}
	for (i = 0; i < CASES; i++)
		chi2 += (seen[i] - expected) * (seen[i] - expected) / expected;
	/* Four degrees of freedom: by chance once in ten billion runs. */
	EXPECT_GT(54.0, chi2);
}

TEST(duplicate_case_weight)
{
	int a = closed(), b = closed(), i, index, seen[3] = { 0 };

	for (i = 0; i < DRAWS; i++) {
		index = chanfd_select_of(NULL, NULL, CHANFD_RECV(a),
					 CHANFD_RECV(a), CHANFD_RECV(b));
		ASSERT_LE(0, index);
		seen[index]++;
	}
	/* Within seven standard deviations of 2 : 1. */
	EXPECT_LT(DRAWS / 3 - 330, seen[2]);
	EXPECT_GT(DRAWS / 3 + 330, seen[2]);
}

TEST(closed_send_is_random)
{
	int shut = closed(), ready = closed(), i, sends = 0;
	struct chanfd_outcome out;
	uint64_t v = 1;

	for (i = 0; i < DRAWS; i++) {
		ASSERT_LE(0, chanfd_select_of(&nonblock, &out,
					      CHANFD_SEND(shut, &v),
					      CHANFD_RECV(ready, &v)));
		if (!out.index) {
			ASSERT_EQ(EPIPE, out.error);
			sends++;
		}
	}
	EXPECT_LT(DRAWS / 2 - 350, sends);
	EXPECT_GT(DRAWS / 2 + 350, sends);
}

TEST(context_has_no_priority)
{
	int ctx = chanfd_context(-1), ready = closed(), i, done = 0;
	struct chanfd_outcome out;

	ASSERT_LE(0, ctx);
	ASSERT_EQ(0, chanfd_cancel(ctx, EIO, NULL));
	for (i = 0; i < 2000; i++) {
		ASSERT_LE(0, chanfd_select_of(NULL, &out, CHANFD_RECV(ready),
					      CHANFD_DONE(ctx)));
		if (out.index) {
			ASSERT_EQ(EIO, out.status);
			done++;
		}
	}
	EXPECT_LT(1000 - 160, done);
	EXPECT_GT(1000 + 160, done);
}

TEST(ordered_takes_the_first)
{
	int ready = closed(), ch = make(1), i;
	struct chanfd_outcome out;
	uint64_t v;

	for (i = 0; i < 100; i++) {
		ASSERT_EQ(0, chanfd_select_of(&ordered, &out, CHANFD_RECV(ready),
					      CHANFD_RECV(ready)));
		ASSERT_EQ(1, chanfd_select_of(&ordered, &out, CHANFD_RECV(ch, &v),
					      CHANFD_RECV(ready),
					      CHANFD_RECV(ready)));
		ASSERT_EQ(2, chanfd_select_of(&ordered, &out, nil,
					      CHANFD_RECV(ch, &v),
					      CHANFD_RECV(ready)));
	}
	ASSERT_EQ(0, put(ch, 1));
	EXPECT_EQ(0, chanfd_select_of(&ordered, &out, CHANFD_RECV(ch, &v),
				      CHANFD_RECV(ready)));
	EXPECT_EQ(1, v);
}

static long run_bits(struct party *me)
{
	uint64_t zero = 0, one = 1;
	int i;

	for (i = 0; i < 400; i++)
		if (chanfd_select_of(NULL, NULL, CHANFD_SEND(me->fd, &zero),
				     CHANFD_SEND(me->fd, &one)) < 0)
			return -1;
	return 0;
}

TEST_F(select, random_send_value)
{
	int ch, cap, i, ones;
	struct party *p;
	uint64_t v;

	for (cap = 0; cap <= 100; cap += 100) {
		ch = make(cap);
		p = party_start(party_new(variant->process, run_bits, ch));
		for (i = 0, ones = 0; i < 400; i++) {
			ASSERT_EQ(1, get(ch, &v));
			ASSERT_GE(1, v);
			ones += v;
		}
		EXPECT_LT(40, ones);
		EXPECT_GT(360, ones);
		EXPECT_EQ(0, party_join(p));
		close(ch);
	}
}

/* Whoever comes late meets both cases of a select: which goes is random, too. */
TEST_F(select, random_also_when_waiting)
{
	int ch = make(0), i, ones = 0;
	struct party *p;
	uint64_t v;

	for (i = 0; i < 60; i++) {
		p = select_new(variant->process);
		add_send(p, ch, 0);
		add_send(p, ch, 1);
		party_start(p);
		ASSERT_TRUE(senders_wait(ch, 2));
		ASSERT_EQ(1, get(ch, &v));
		EXPECT_EQ(v, party_join(p));
		ones += v;
	}
	/* By chance once in thirty million runs. */
	EXPECT_LT(9, ones);
	EXPECT_GT(51, ones);
}

/* Queues. */

/* Only the one that fires is left in any queue. */
TEST_F(select, leaves_all_queues)
{
	int ch[4], i, fire;
	struct party *p;

	for (i = 0; i < 4; i++)
		ch[i] = make(0);
	for (fire = 0; fire < 4; fire++) {
		p = select_new(variant->process);
		for (i = 0; i < 4; i++) {
			if (i % 2) {
				add_send(p, ch[i], i);
			} else {
				add_recv(p, ch[i]);
			}
		}
		/* The same twice does no harm. */
		add_recv(p, ch[0]);
		party_start(p);
		ASSERT_TRUE(senders_wait(ch[3], 1));
		ASSERT_TRUE(blocked(p));
		if (fire % 2) {
			uint64_t v;

			EXPECT_EQ(1, get(ch[fire], &v));
			EXPECT_EQ(fire, v);
		} else {
			EXPECT_EQ(0, put(ch[fire], 50));
		}
		EXPECT_EQ(fire, party_join(p) % 4);
		if (!(fire % 2)) {
			EXPECT_EQ(50, choice_of(p)->values[p->result]);
		}
		for (i = 0; i < 4; i++) {
			EXPECT_EQ(0, info_of(ch[i]).waiting_senders);
			EXPECT_EQ(0, info_of(ch[i]).waiting_receivers);
			EXPECT_EQ(i <= fire, info_of(ch[i]).sent);
		}
	}
}

/* A select has its place among those who only receive, no better, no worse. */
TEST_F(select, keeps_its_place)
{
	int ch = make(0), quiet = make(0), i;
	struct party *p[6];

	for (i = 0; i < 6; i++) {
		if (i % 2) {
			p[i] = party_recv(variant->process, ch);
		} else {
			p[i] = select_new(variant->process);
			add_recv(p[i], quiet);
			add_recv(p[i], ch);
			party_start(p[i]);
		}
		ASSERT_TRUE(receivers_wait(ch, i + 1));
	}
	for (i = 0; i < 6; i++) {
		EXPECT_EQ(0, put(ch, i));
	}
	for (i = 0; i < 6; i++) {
		EXPECT_EQ(1, party_join(p[i]));
		EXPECT_EQ(i, i % 2 ? p[i]->value : choice_of(p[i])->values[1]);
	}
}

TEST_F(select, withdraws_on_deadline_signal_and_context)
{
	int ch = make(0), ctx = chanfd_context(-1), i;
	static const int errors[] = { ETIMEDOUT, EINTR, ECANCELED };
	struct party *p;

	ASSERT_LE(0, ctx);
	catch_signal(SIGUSR1, 0);
	for (i = 0; i < 3; i++) {
		p = select_new(variant->process);
		add_recv(p, ch);
		add_send(p, ch, 1);
		if (i == 0)
			p->opt.deadline = chanfd_deadline(100 * MSEC);
		if (i == 2)
			p->opt.context = ctx;
		party_start(p);
		if (i == 1) {
			ASSERT_TRUE(senders_wait(ch, 1));
			ASSERT_TRUE(blocked(p));
			party_signal(p, SIGUSR1);
		} else if (i == 2) {
			ASSERT_TRUE(senders_wait(ch, 1));
			EXPECT_EQ(0, chanfd_cancel(ctx, 0, NULL));
		}
		EXPECT_EQ(errors[i], errno_of(party_join(p)));
		EXPECT_EQ(0, info_of(ch).waiting_senders);
		EXPECT_EQ(0, info_of(ch).waiting_receivers);
		EXPECT_EQ(0, info_of(ch).sent);
	}
	/* The context comes before what is ready. */
	p = select_new(variant->process);
	add_recv(p, closed());
	p->opt.context = ctx;
	EXPECT_EQ(ECANCELED, errno_of(party_join(party_start(p))));
}

TEST(kill_while_blocked)
{
	int ch = make(0), quiet = make(0);
	struct party *p, *q;

	p = select_new(true);
	add_recv(p, quiet);
	add_recv(p, ch);
	add_send(p, quiet, 1);
	party_start(p);
	ASSERT_TRUE(senders_wait(quiet, 1));
	q = party_recv(true, ch);
	ASSERT_TRUE(receivers_wait(ch, 2));
	party_kill(p);
	EXPECT_EQ(1, info_of(ch).waiting_receivers);
	EXPECT_EQ(0, info_of(quiet).waiting_senders);
	EXPECT_EQ(0, try_put(ch, 3));
	EXPECT_EQ(1, party_join(q));
	EXPECT_EQ(3, q->value);
}

static long slab_kilobytes(void)
{
	char text[8192], *line;

	if (!read_text("/proc/meminfo", text, sizeof(text)))
		err(1, "/proc/meminfo");
	line = strstr(text, "SUnreclaim:");
	return line ? atol(line + strlen("SUnreclaim:")) : 0;
}

/*
 * What is left behind by each call adds up in every phase, the smallest object of 32 bytes to
 * more than this. What the kernel keeps for itself does not, sooner or later.
 */
enum { CALLS = 50000, KILOBYTES = 1500, PHASES = 6 };

TEST(no_memory_growth)
{
	int quiet = make(0), busy = make(1), i, phase;
	long before, grown = KILOBYTES;
	uint64_t v = 1;

	for (phase = 0; phase < PHASES && grown >= KILOBYTES; phase++) {
		before = slab_kilobytes();
		ASSERT_LT(0, before);
		for (i = 0; i < CALLS; i++)
			ASSERT_LE(0, chanfd_select_of(NULL, NULL, CHANFD_RECV(quiet, &v),
						      CHANFD_SEND(quiet, &v),
						      CHANFD_SEND(busy, &v),
						      CHANFD_RECV(busy, &v)));
		grown = slab_kilobytes() - before;
	}
	EXPECT_GT(KILOBYTES, grown);
}

/*
 * Who leaves must not walk the queue: selects wait a thousand times each on one
 * shared channel, and once on one of their own, which lets them go. How long
 * the queue is must not be seen in the CPU time that one takes.
 */
enum { PLACES = 1000, FEW = 2, MANY = 32 };

struct crowd {
	struct chanfd_case cases[PLACES + 1];
};

static uint64_t cpu_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * SEC + ts.tv_nsec;
}

static long run_crowd(struct party *me)
{
	struct crowd *c = me->arg;
	uint64_t start = cpu_time();
	long index = chanfd_select(c->cases, PLACES + 1, NULL, NULL);

	me->value = cpu_time() - start;
	return index;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The median for so many in the queue. */
static uint64_t time_of_one(struct __test_metadata *_metadata, unsigned int parties)
{
	uint64_t times[MANY] = { 0 };
	int common = make(0), own[MANY];
	struct party *p[MANY];
	unsigned int i, k;
	struct crowd *c;

	for (i = 0; i < parties; i++) {
		own[i] = make(0);
		c = shared(sizeof(*c));
		for (k = 0; k < PLACES; k++)
			c->cases[k] = CHANFD_RECV(common);
		c->cases[PLACES] = CHANFD_RECV(own[i]);
		p[i] = party_new(false, run_crowd, -1);
		p[i]->arg = c;
		party_start(p[i]);
		EXPECT_TRUE(receivers_wait(common, (i + 1) * PLACES));
		EXPECT_TRUE(receivers_wait(own[i], 1));
	}
	for (i = parties; i--; ) {
		EXPECT_EQ(0, put(own[i], 1));
		EXPECT_EQ(PLACES, party_join(p[i]));
		times[i] = p[i]->value;
		close(own[i]);
	}
	EXPECT_EQ(0, info_of(common).waiting_receivers);
	close(common);
	qsort(times, parties, sizeof(*times), by_size);
	return times[parties / 2];
}

TEST(linear_dequeue)
{
	uint64_t few = UINT64_MAX, many = UINT64_MAX, t;
	int i;

	for (i = 0; i < 4; i++) {
		t = time_of_one(_metadata, FEW);
		few = t < few ? t : few;
		t = time_of_one(_metadata, MANY);
		many = t < many ? t : many;
	}
	/* Walking, it would be sixteen times as much, and not one or two. */
	EXPECT_GT(4 * few, many);
}

static long run_many(struct party *me)
{
	return chanfd_select(me->arg, me->value, &me->opt, NULL);
}

TEST_F(select, max_cases)
{
	struct chanfd_case *cases = shared((CHANFD_MAX_CASES + 1) * sizeof(*cases));
	static const unsigned int counts[] = { 1024, CHANFD_MAX_CASES };
	uint64_t *v = shared(sizeof(*v));
	int quiet = make(0), ready = make(1);
	unsigned int i, k;
	struct party *p;

	ASSERT_EQ(0, put(ready, 6));
	for (i = 0; i <= CHANFD_MAX_CASES; i++)
		cases[i] = CHANFD_RECV(ready, v);
	EXPECT_EQ(E2BIG, errno_of(chanfd_select(cases, CHANFD_MAX_CASES + 1, NULL,
						NULL)));
	EXPECT_EQ(0, info_of(ready).received);

	for (k = 0; k < ARRAY_SIZE(counts); k++) {
		for (i = 0; i < counts[k]; i++)
			cases[i] = CHANFD_RECV(quiet);
		EXPECT_EQ(EAGAIN, errno_of(chanfd_select(cases, counts[k],
							 &nonblock, NULL)));
		EXPECT_EQ(0, info_of(quiet).waiting_receivers);
		i = counts[k] * 2 / 3;
		cases[i] = CHANFD_RECV(ready, v);
		EXPECT_EQ(i, chanfd_select(cases, counts[k], NULL, NULL));
		EXPECT_EQ(6, *v);

		/* And when it has to wait. */
		p = party_new(variant->process, run_many, -1);
		p->arg = cases;
		p->value = counts[k];
		party_start(p);
		ASSERT_TRUE(receivers_wait(ready, 1));
		ASSERT_TRUE(receivers_wait(quiet, counts[k] - 1));
		EXPECT_TRUE(stays_blocked(p));
		EXPECT_EQ(0, put(ready, 7));
		EXPECT_EQ(i, party_join(p));
		EXPECT_EQ(7, *v);
		EXPECT_EQ(0, info_of(quiet).waiting_receivers);
		EXPECT_EQ(0, put(ready, 6));
	}
}

/* Many ways to say the same. */

static const char *const phrasings[] = {
	"direct", "read", "one case", "between disabled", "non-blocking",
	"ordered", "beside quiet ones", "twice", "far deadline", "with a context",
};

static int receive_as(unsigned int form, int ch, int quiet, int ctx, uint64_t *v)
{
	struct chanfd_opt far = { .context = -1, .deadline = now() + 100 * SEC };
	struct chanfd_opt with = { .context = ctx };
	struct chanfd_outcome out = { .ok = -1 };
	int n = -2;

	poison(v);
	switch (form) {
	case 0:
		return get(ch, v);
	case 1:
		n = read(ch, v, sizeof(*v));
		return n == sizeof(*v) ? 1 : n;
	case 2:
		n = chanfd_select_of(NULL, &out, CHANFD_RECV(ch, v));
		break;
	case 3:
		n = chanfd_select_of(NULL, &out, nil, CHANFD_RECV(ch, v), nil) - 1;
		break;
	case 4:
		n = chanfd_select_of(&nonblock, &out, CHANFD_RECV(ch, v));
		break;
	case 5:
		n = chanfd_select_of(&ordered, &out, CHANFD_RECV(ch, v));
		break;
	case 6:
		n = chanfd_select_of(NULL, &out, CHANFD_RECV(quiet),
				     CHANFD_SEND(quiet, v), CHANFD_RECV(ch, v),
				     CHANFD_DONE(ctx)) - 2;
		break;
	case 7:
		n = chanfd_select_of(NULL, &out, CHANFD_RECV(ch, v),
				     CHANFD_RECV(ch, v)) & ~1;
		break;
	case 8:
		n = chanfd_select_of(&far, &out, CHANFD_RECV(ch, v));
		break;
	case 9:
		n = chanfd_select_of(&with, &out, CHANFD_RECV(ch, v));
		break;
	}
	return n ? -2 : out.ok;
}

TEST_F(select, one_op_many_phrasings)
{
	int quiet = make(0), ctx = chanfd_context(-1), cap, ch;
	struct party *p;
	unsigned int form;
	uint64_t v;

	ASSERT_LE(0, ctx);
	for (form = 0; form < ARRAY_SIZE(phrasings); form++) {
		for (cap = 0; cap < 2; cap++) {
			ch = make(cap);
			p = party_send(variant->process, ch, form);
			if (cap) {
				EXPECT_EQ(0, party_join(p));
			} else {
				EXPECT_TRUE(senders_wait(ch, 1));
			}
			EXPECT_EQ(1, receive_as(form, ch, quiet, ctx, &v)) {
				TH_LOG("%s, capacity %d", phrasings[form], cap);
			}
			EXPECT_EQ(form, v);
			EXPECT_EQ(0, party_join(p));
			EXPECT_EQ(0, info_of(ch).len);
			EXPECT_EQ(1, info_of(ch).received);
			EXPECT_EQ(0, chanfd_close(ch, 0));
			EXPECT_EQ(0, receive_as(form, ch, quiet, ctx, &v)) {
				TH_LOG("%s, capacity %d", phrasings[form], cap);
			}
			EXPECT_EQ(0, info_of(quiet).sent);
			close(ch);
		}
	}
}

TEST_F(select, discard_value)
{
	int form, send;
	struct party *p, *q;

	for (form = 0; form < 3; form++) {
		for (send = 0; send < 3; send++) {
			int ch = make(send == 2), quiet = make(0);

			q = select_new(variant->process);
			if (send == 1)
				add_recv(q, quiet);
			add_send(q, ch, 1);
			party_start(q);
			p = select_new(variant->process);
			if (form == 1)
				add(p, CHANFD_RECV(quiet));
			add(p, CHANFD_RECV(ch));
			if (form == 2)
				add(p, nil);
			party_start(p);
			EXPECT_EQ(form == 1, party_join(p));
			EXPECT_EQ(1, choice_of(p)->out.ok);
			EXPECT_EQ(send == 1, party_join(q));
			EXPECT_EQ(1, info_of(ch).received);
			close(ch);
			close(quiet);
		}
	}
}

/* Validation: one bad case, and nothing is done. */

TEST(any_bad_case_fails_the_whole)
{
	int ready = make(1), wg = chanfd_waitgroup(0, NULL), fd[2], pipes[2];
	int ctx = chanfd_context(-1), place, zero = make(0);
	unsigned int i;
	void *bad = bad_pointer();
	uint64_t v = 1;
	const struct {
		struct chanfd_case c;
		int error;
	} rows[] = {
		{ CHANFD_RECV(9999, &v), EBADF },
		{ CHANFD_SEND(9999, &v), EBADF },
		{ CHANFD_POLL(9999, POLLIN), EBADF },
		{ CHANFD_SEND(zero, &v, 7), EMSGSIZE },
		{ CHANFD_SEND(zero, &v, 9), EMSGSIZE },
		{ CHANFD_RECV(zero, &v, 7), EMSGSIZE },
		{ CHANFD_SEND(zero, bad, 8), EFAULT },
		{ CHANFD_SEND(zero, NULL, 8), EFAULT },
		{ { .fd = zero, .op = 0 }, EINVAL },
		{ { .fd = zero, .op = CHANFD_CASE_POLL + 1 }, EINVAL },
		{ { .fd = zero, .op = 0xffff }, EINVAL },
		{ { .fd = zero, .op = CHANFD_CASE_RECV, .flags = 1 }, EINVAL },
		{ { .fd = zero, .op = CHANFD_CASE_RECV, .flags = 0x8000 }, EINVAL },
		{ { .fd = zero, .op = CHANFD_CASE_RECV, .reserved = 1 }, EINVAL },
		{ { .fd = wg, .op = CHANFD_CASE_WAIT, .flags = 2 }, EINVAL },
		{ CHANFD_RECV(wg, &v), EINVAL },
		{ CHANFD_SEND(ctx, &v), EINVAL },
		{ CHANFD_WAIT(zero), EINVAL },
		{ CHANFD_WAIT(ctx), EINVAL },
		{ CHANFD_DONE(zero), EINVAL },
		{ CHANFD_DRAINED(wg), EINVAL },
	};

	ASSERT_LE(0, wg);
	ASSERT_LE(0, ctx);
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, put(ready, 5));
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		for (place = 0; place < 3; place++) {
			struct chanfd_case cases[3] = {
				CHANFD_RECV(ready, &v), CHANFD_RECV(ready, &v),
				CHANFD_RECV(ready, &v),
			};

			cases[place] = rows[i].c;
			EXPECT_EQ(rows[i].error,
				  errno_of(chanfd_select(cases, 3, NULL, NULL))) {
				TH_LOG("row %u, place %d", i, place);
			}
		}
	}
	/* Files that are no handles, and rights. */
	EXPECT_EQ(EINVAL, errno_of(chanfd_select_of(NULL, NULL,
						    CHANFD_RECV(ready, &v),
						    CHANFD_RECV(pipes[0], &v))));
	make_pair(fd, 1);
	EXPECT_EQ(EPERM, errno_of(chanfd_select_of(NULL, NULL,
						   CHANFD_RECV(ready, &v),
						   CHANFD_RECV(fd[1], &v))));
	EXPECT_EQ(EPERM, errno_of(chanfd_select_of(NULL, NULL,
						   CHANFD_RECV(ready, &v),
						   CHANFD_SEND(fd[0], &v))));
	EXPECT_EQ(1, info_of(ready).len);
	EXPECT_EQ(0, info_of(ready).received);
	EXPECT_EQ(0, info_of(zero).sent);
}

TEST(bad_pointer_in_unchosen_receive)
{
	int ready = make(1), quiet = make(0);
	struct chanfd_outcome out;
	void *bad = bad_pointer();
	uint64_t v = 1;

	ASSERT_EQ(0, put(ready, 5));
	poison(&v);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_select_of(&nonblock, &out,
						    CHANFD_RECV(quiet, bad, 8),
						    CHANFD_RECV(quiet, &v))));
	EXPECT_EQ(POISON64, v);
	EXPECT_EQ(1, chanfd_select_of(NULL, &out, CHANFD_RECV(quiet, bad, 8),
				      CHANFD_RECV(ready, &v)));
	EXPECT_EQ(5, v);

	/* Chosen, it fails as the receive would have, and takes nothing. */
	ASSERT_EQ(0, put(ready, 6));
	EXPECT_EQ(EFAULT, errno_of(chanfd_select_of(NULL, &out,
						    CHANFD_RECV(quiet, &v),
						    CHANFD_RECV(ready, bad, 8))));
	EXPECT_EQ(1, info_of(ready).len);
	EXPECT_EQ(1, get(ready, &v));
	EXPECT_EQ(6, v);
}

/* What a select holds to send is bounded, in all of its cases together. */
TEST(bytes_to_send)
{
	enum { FULL = CHANFD_MAX_BYTES / CHANFD_MAX_MESSAGE };
	int ch = chanfd_channel(CHANFD_MAX_MESSAGE, 1, CHANFD_VARIABLE, NULL);
	int full = chanfd_channel(CHANFD_MAX_MESSAGE, 0, CHANFD_VARIABLE, NULL);
	char *buf = shared(CHANFD_MAX_MESSAGE);
	struct chanfd_case cases[FULL + 1];
	struct chanfd_outcome out;
	int place, i;

	ASSERT_LE(0, ch);
	ASSERT_LE(0, full);
	for (place = 0; place <= FULL; place++) {
		for (i = 0; i <= FULL; i++)
			cases[i] = CHANFD_SEND(ch, buf, CHANFD_MAX_MESSAGE);
		cases[place] = CHANFD_SEND(ch, buf, 1);
		ASSERT_EQ(E2BIG, errno_of(chanfd_select(cases, FULL + 1, NULL, &out)));
		ASSERT_EQ(E2BIG, errno_of(chanfd_select(cases, FULL + 1, &nonblock,
							&out)));
		EXPECT_EQ(0, info_of(ch).sent);

		/* One byte less is not too much. */
		for (i = 0; i <= FULL; i++)
			cases[i].fd = full;
		cases[!place].size--;
		EXPECT_EQ(EAGAIN, errno_of(chanfd_select(cases, FULL + 1, &nonblock,
							 &out)));
	}
	for (i = 0; i < FULL; i++)
		cases[i] = CHANFD_SEND(ch, buf, CHANFD_MAX_MESSAGE);
	cases[FULL] = CHANFD_SEND(-1, buf, CHANFD_MAX_MESSAGE);
	EXPECT_LE(0, chanfd_select(cases, FULL + 1, NULL, &out));
	EXPECT_EQ(0, out.error);
	EXPECT_EQ(1, info_of(ch).sent);
	EXPECT_EQ(1, chanfd_recv(ch, buf, CHANFD_MAX_MESSAGE, NULL, NULL));
}

TEST(variable_messages)
{
	int ch = chanfd_channel(16, 2, CHANFD_VARIABLE, NULL);
	struct chanfd_outcome out;
	char buf[16] = "";

	ASSERT_LE(0, ch);
	EXPECT_EQ(0, chanfd_select_of(NULL, &out, CHANFD_SEND(ch, "hello", 5)));
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_select_of(NULL, &out,
						      CHANFD_SEND(ch, buf, 17))));
	/* Too long for the room: that case fails, the message stays. */
	EXPECT_EQ(1, chanfd_select_of(NULL, &out, nil, CHANFD_RECV(ch, buf, 4)));
	EXPECT_EQ(EMSGSIZE, out.error);
	EXPECT_EQ(1, info_of(ch).len);
	EXPECT_EQ(1, chanfd_select_of(NULL, &out, nil, CHANFD_RECV(ch, buf, 16)));
	EXPECT_EQ(0, out.error);
	EXPECT_EQ(5, out.size);
	EXPECT_STREQ("hello", buf);
}

/* Cases of all kinds. */

TEST_F(select, waitgroup_and_context_cases)
{
	enum { RECV, ZERO, DRAINED, DONE, ALL };
	int ch, wg, ctx, child, which;
	struct party *p;

	for (which = 0; which < ALL; which++) {
		ch = make(0);
		wg = chanfd_waitgroup(0, NULL);
		ctx = chanfd_context(-1);
		child = chanfd_context(ctx);
		ASSERT_LE(0, wg);
		ASSERT_LE(0, ctx);
		ASSERT_LE(0, child);
		ASSERT_EQ(0, chanfd_wg_add(wg, 1));
		p = select_new(variant->process);
		add_recv(p, ch);
		add(p, CHANFD_WAIT(wg));
		add(p, CHANFD_DRAINED(ctx));
		add(p, CHANFD_DONE(ctx));
		p->fd = child;
		party_start(p);
		ASSERT_TRUE(receivers_wait(ch, 1));
		EXPECT_TRUE(stays_blocked(p));
		switch (which) {
		case RECV:
			EXPECT_EQ(0, put(ch, 1));
			break;
		case ZERO:
			EXPECT_EQ(0, chanfd_wg_done(wg));
			break;
		case DRAINED:
			close(child);
			break;
		case DONE:
			EXPECT_EQ(0, chanfd_cancel(ctx, ENXIO, NULL));
			break;
		}
		EXPECT_EQ(which, party_join(p));
		EXPECT_EQ(0, choice_of(p)->out.error);
		EXPECT_EQ(which == RECV, choice_of(p)->out.ok);
		EXPECT_EQ(which == DONE ? ENXIO : 0, choice_of(p)->out.status);
		EXPECT_EQ(0, info_of(ch).waiting_receivers);
	}
}

/* Files of others: ready before, and while the select waits. */

enum foreign { PIPE, SOCKET, EVENT, PID, TIMER, FOREIGN };

/* A file of that kind that is not readable; @other makes it so. */
static int foreign_file(enum foreign kind, int *other)
{
	struct party *child;
	int fd[2];

	*other = -1;
	switch (kind) {
	case PIPE:
		if (pipe2(fd, O_CLOEXEC))
			err(1, "pipe2");
		*other = fd[1];
		return fd[0];
	case SOCKET:
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
			err(1, "socketpair");
		*other = fd[1];
		return fd[0];
	case EVENT:
		*other = eventfd(0, EFD_CLOEXEC);
		return *other;
	case PID:
		child = party_start(party_new(true, run_recv, make(0)));
		*other = child->tid;
		return syscall(SYS_pidfd_open, child->tid, 0);
	case TIMER:
		*other = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
		return *other;
	default:
		return -1;
	}
}

static int make_ready(enum foreign kind, int other)
{
	struct itimerspec soon = { .it_value.tv_nsec = 1 };
	uint64_t one = 1;

	switch (kind) {
	case PID:
		return kill(other, SIGKILL);
	case TIMER:
		return timerfd_settime(other, 0, &soon, NULL);
	default:
		return write(other, &one, sizeof(one)) == sizeof(one) ? 0 : -1;
	}
}

TEST_F(select, foreign_files)
{
	int ch = make(0), fd, other;
	struct chanfd_outcome out;
	enum foreign kind;
	struct party *p;
	uint64_t v;

	for (kind = PIPE; kind < FOREIGN; kind++) {
		/* Something else is ready first: it may wait again. */
		fd = foreign_file(kind, &other);
		ASSERT_LE(0, fd);
		EXPECT_EQ(EAGAIN, errno_of(chanfd_select_of(&nonblock, &out,
							    CHANFD_RECV(ch),
							    CHANFD_POLL(fd, POLLIN))));
		p = select_new(variant->process);
		add_recv(p, ch);
		add(p, CHANFD_POLL(fd, POLLIN));
		party_start(p);
		ASSERT_TRUE(receivers_wait(ch, 1));
		EXPECT_TRUE(stays_blocked(p));
		EXPECT_EQ(0, put(ch, kind));
		EXPECT_EQ(0, party_join(p));

		p = select_new(variant->process);
		add_recv(p, ch);
		add(p, CHANFD_POLL(fd, POLLIN));
		party_start(p);
		ASSERT_TRUE(receivers_wait(ch, 1));
		ASSERT_TRUE(blocked(p));
		EXPECT_EQ(0, make_ready(kind, other));
		EXPECT_EQ(1, party_join(p)) {
			TH_LOG("kind %d", kind);
		}
		EXPECT_EQ(0, choice_of(p)->out.error);
		EXPECT_EQ(POLLIN, choice_of(p)->out.size & POLLIN);
		EXPECT_EQ(0, info_of(ch).waiting_receivers);

		/* Now it is ready before; asking takes nothing. */
		EXPECT_EQ(1, chanfd_select_of(NULL, &out, CHANFD_RECV(ch),
					      CHANFD_POLL(fd, POLLIN)));
		EXPECT_EQ(1, chanfd_select_of(&nonblock, &out, CHANFD_RECV(ch),
					      CHANFD_POLL(fd, POLLIN)));
		if (kind != PID) {
			EXPECT_LE(8, read(fd, &v, sizeof(v)));
		}
		close(fd);
		if (kind == PIPE || kind == SOCKET)
			close(other);
	}
}

/* Errors and hang-ups are always among the events; POLLOUT is one too. */
TEST(foreign_events)
{
	struct chanfd_outcome out;
	int fd[2];

	ASSERT_EQ(0, pipe2(fd, O_CLOEXEC));
	EXPECT_EQ(0, chanfd_select_of(NULL, &out, CHANFD_POLL(fd[1], POLLOUT)));
	EXPECT_EQ(POLLOUT, out.size);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_select_of(&nonblock, &out,
						    CHANFD_POLL(fd[0], 0))));
	close(fd[1]);
	EXPECT_EQ(0, chanfd_select_of(NULL, &out, CHANFD_POLL(fd[0], 0)));
	EXPECT_EQ(POLLHUP, out.size);
	/* A regular file is always ready, as with poll(2). */
	fd[0] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd[0]);
	EXPECT_EQ(0, chanfd_select_of(NULL, &out, CHANFD_POLL(fd[0], POLLIN)));
	EXPECT_EQ(POLLIN, out.size);
}

/* One of several foreign files, and a file that is there twice. */
TEST_F(select, foreign_crowd)
{
	int fd[6], i, round;
	struct party *p;
	uint64_t v = 1;

	for (i = 0; i < 6; i++)
		fd[i] = eventfd(0, EFD_CLOEXEC);
	for (round = 0; round < 6; round++) {
		p = select_new(variant->process);
		for (i = 0; i < 6; i++)
			add(p, CHANFD_POLL(fd[i], POLLIN));
		add(p, CHANFD_POLL(fd[0], POLLIN));
		party_start(p);
		ASSERT_TRUE(blocked(p));
		ASSERT_EQ(8, write(fd[round], &v, 8));
		EXPECT_EQ(round, party_join(p) % 6);
		ASSERT_EQ(8, read(fd[round], &v, 8));
	}
}

TEST_F(select, timer_case)
{
	struct itimerspec in_50ms = { .it_value.tv_nsec = 50 * MSEC };
	struct itimerspec far = { .it_value.tv_sec = 1000 }, stop = { 0 };
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	struct chanfd_outcome out;
	int ch = make(0);
	uint64_t start, v;
	struct party *p;

	ASSERT_LE(0, timer);
	p = select_new(variant->process);
	add_recv(p, ch);
	add(p, CHANFD_POLL(timer, POLLIN));
	party_start(p);
	/* Armed after the select began. */
	EXPECT_TRUE(stays_blocked(p));
	start = now();
	ASSERT_EQ(0, timerfd_settime(timer, 0, &in_50ms, NULL));
	EXPECT_EQ(1, party_join(p));
	EXPECT_LE(start + 50 * MSEC, now());

	/* Stopped, or set anew, there is no stale tick. */
	ASSERT_EQ(0, timerfd_settime(timer, 0, &stop, NULL));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_select_of(&nonblock, &out,
						    CHANFD_POLL(timer, POLLIN))));
	ASSERT_EQ(0, timerfd_settime(timer, 0, &in_50ms, NULL));
	EXPECT_EQ(0, chanfd_select_of(NULL, &out, CHANFD_POLL(timer, POLLIN)));
	ASSERT_EQ(0, timerfd_settime(timer, 0, &far, NULL));
	p = select_new(variant->process);
	add_recv(p, ch);
	add(p, CHANFD_POLL(timer, POLLIN));
	party_start(p);
	EXPECT_TRUE(stays_blocked(p));
	EXPECT_EQ(EAGAIN, errno_of(read(timer, &v, sizeof(v))));
	EXPECT_EQ(0, put(ch, 1));
	EXPECT_EQ(0, party_join(p));
}

/* One instant. */

/*
 * In every round one message is in one of two channels all the time: it is put
 * into the second before it is taken out of the first. Who looks at both must
 * find it.
 */
struct instant {
	int ch[2];
	int go;
	int went;
	atomic_bool closing;
};

static long run_look(struct party *me)
{
	struct instant *in = me->arg;
	uint64_t v, missed = 0;

	while (get(in->go, &v) == 1) {
		if (chanfd_select_of(&nonblock, NULL, CHANFD_RECV(in->ch[0], &v),
				     CHANFD_RECV(in->ch[1], &v)) < 0) {
			if (errno != EAGAIN)
				return -1;
			missed++;
		}
		if (put(in->went, 1))
			return -1;
	}
	return missed;
}

TEST_F(select, nonblock_sees_one_instant)
{
	struct instant *in = shared(sizeof(*in));
	struct party *p;
	uint64_t v;
	int i;

	in->ch[0] = make(1);
	in->ch[1] = make(1);
	in->go = make(1);
	in->went = make(1);
	p = party_new(variant->process, run_look, -1);
	p->arg = in;
	party_start(p);
	for (i = 0; i < 3000; i++) {
		/* From which to which changes. */
		int from = in->ch[i & 1], to = in->ch[!(i & 1)];

		ASSERT_EQ(0, put(from, 1));
		ASSERT_EQ(0, put(in->go, 1));
		ASSERT_EQ(0, put(to, 2));
		try_get(from, &v);
		ASSERT_EQ(1, get(in->went, &v));
		try_get(from, &v);
		try_get(to, &v);
		ASSERT_EQ(0, info_of(from).len);
		ASSERT_EQ(0, info_of(to).len);
	}
	EXPECT_EQ(0, chanfd_close(in->go, 0));
	EXPECT_EQ(0, party_join(p));
}

static long run_look_once(struct party *me)
{
	struct instant *in = me->arg;
	uint64_t v;

	put(in->went, 1);
	return chanfd_select_of(&nonblock, NULL, CHANFD_RECV(in->ch[0], &v),
				CHANFD_RECV(in->ch[1], &v));
}

/* The same with a close in place of the second message. */
TEST_F(select, nonblock_sees_close_or_message)
{
	struct instant *in = shared(sizeof(*in));
	struct party *p;
	uint64_t v;
	int i;

	in->went = make(0);
	for (i = 0; i < 60; i++) {
		in->ch[0] = make(1);
		in->ch[1] = make(1);
		ASSERT_EQ(0, put(in->ch[i & 1], 1));
		p = party_new(variant->process, run_look_once, -1);
		p->arg = in;
		party_start(p);
		ASSERT_EQ(1, get(in->went, &v));
		ASSERT_EQ(0, chanfd_close(in->ch[!(i & 1)], 0));
		try_get(in->ch[i & 1], &v);
		EXPECT_LE(0, party_join(p));
		close(in->ch[0]);
		close(in->ch[1]);
	}
}

/*
 * Somebody moves a message from one channel to the other and back, always
 * putting one in there before he takes those here. Who looks puts what he got
 * back, so that whenever he looks at least one is there.
 */
static long run_juggle(struct party *me)
{
	struct instant *in = me->arg;
	uint64_t v;
	int i;

	for (i = 0; !in->closing; i++) {
		int here = in->ch[i & 1], there = in->ch[!(i & 1)];

		if (put(there, 1))
			return -1;
		while (try_get(here, &v) == 1)
			;
		while (info_of(there).len > 1)
			try_get(there, &v);
	}
	return 0;
}

TEST_F(select, nonblock_never_misses_a_juggler)
{
	enum { CASES = 300 };
	struct instant *in = shared(sizeof(*in));
	struct chanfd_case cases[CASES];
	int quiet = make(0), i, index;
	struct party *p;
	uint64_t v;

	in->ch[0] = make(100);
	in->ch[1] = make(100);
	ASSERT_EQ(0, put(in->ch[0], 1));
	/* The longer the way between the two, the more can happen meanwhile. */
	for (i = 0; i < CASES; i++)
		cases[i] = CHANFD_RECV(quiet, &v);
	cases[0] = CHANFD_RECV(in->ch[0], &v);
	cases[CASES - 1] = CHANFD_RECV(in->ch[1], &v);
	p = party_new(variant->process, run_juggle, -1);
	p->arg = in;
	party_start(p);
	for (i = 0; i < 1500; i++) {
		index = chanfd_select(cases, CASES, &nonblock, NULL);
		ASSERT_LE(0, index);
		ASSERT_EQ(0, put(in->ch[index > 0], 1));
	}
	in->closing = true;
	EXPECT_EQ(0, party_join(p));
}

static long run_send_pairs(struct party *me)
{
	while (!chanfd_send(me->fd, "ab", 2, NULL))
		;
	return errno == EPIPE ? 0 : -1;
}

/* Takes a message only when the next one waits to take its place. */
static long run_take_spare(struct party *me)
{
	struct chanfd_channel_info info;
	char buf[2];

	for (;;) {
		info = info_of(me->fd);
		if (info.state & CHANFD_CLOSED)
			return 0;
		if (info.waiting_senders &&
		    chanfd_recv(me->fd, buf, sizeof(buf), NULL, NULL) != 1)
			return -1;
	}
}

/*
 * Holds either lock, and is on its way to the other one: one of them is free all the
 * time, but for whoever looks.
 */
static long run_swap_locks(struct party *me)
{
	struct instant *in = me->arg;
	int i = 0;

	while (!in->closing) {
		if (chanfd_unlock(in->ch[i]) || chanfd_lock(in->ch[!i], NULL))
			return -1;
		i = !i;
	}
	return chanfd_unlock(in->ch[i]);
}

TEST_F(select, nonblock_always_finds_a_free_lock)
{
	static const unsigned int modes[] = { 0, CHANFD_BARGING, CHANFD_HANDOFF };
	const struct chanfd_opt at_once = { -1, CHANFD_NONBLOCK | CHANFD_ORDERED, 0 };
	struct instant *in = shared(sizeof(*in));
	struct chanfd_case cases[400];
	struct chanfd_outcome out;
	struct party *p;
	int ch = make(1), i, k;
	unsigned int m;

	/* What is between them takes time to look at. */
	for (i = 0; i < 400; i++)
		cases[i] = CHANFD_RECV(ch);
	for (m = 0; m < 3; m++) {
		for (k = 0; k < 2; k++) {
			in->ch[k] = chanfd_mutex(modes[m], "");
			ASSERT_LE(0, in->ch[k]);
		}
		cases[0] = CHANFD_LOCK(in->ch[0]);
		cases[399] = CHANFD_LOCK(in->ch[1]);
		in->closing = false;
		ASSERT_EQ(0, chanfd_lock(in->ch[0], NULL));
		p = party_new(variant->process, run_swap_locks, -1);
		p->arg = in;
		party_start(p);
		for (i = 0; i < 3000 / SLOWNESS; i++) {
			k = chanfd_select(cases, 400, &at_once, &out);
			ASSERT_LE(0, k);
			ASSERT_EQ(0, out.error);
			ASSERT_EQ(0, chanfd_unlock(cases[k].fd));
		}
		in->closing = true;
		EXPECT_EQ(0, party_join(p));
		close(in->ch[0]);
		close(in->ch[1]);
	}
	close(ch);
}

/* A case that is alone has no less right to an instant. */
TEST_F(select, nonblock_one_case_sees_one_instant)
{
	int ch = chanfd_channel(2, 1, CHANFD_VARIABLE, NULL), i;
	struct chanfd_outcome out;
	struct party *p[2];
	char c;

	ASSERT_LE(0, ch);
	ASSERT_EQ(0, chanfd_send(ch, "ab", 2, NULL));
	p[0] = party_start(party_new(variant->process, run_send_pairs, ch));
	p[1] = party_start(party_new(variant->process, run_take_spare, ch));
	ASSERT_TRUE(eventually(info_of(ch).received));
	/* There is no room for what is there: it is seen, and stays. */
	for (i = 0; i < 200000 / SLOWNESS; i++) {
		ASSERT_EQ(0, chanfd_select_of(&nonblock, &out, CHANFD_RECV(ch, &c)));
		ASSERT_EQ(EMSGSIZE, out.error);
	}
	EXPECT_EQ(0, chanfd_close(ch, 0));
	EXPECT_EQ(0, join_all(p, 2));
}

/* Crossed selects: everything is handed over exactly once. */

/**
 * struct knot - parties that send to and receive from each other
 * @ch:		channel i is sent on by party i, and received from by the others
 * @n:		how many parties
 * @stop:	closed when it is over
 * @moved:	messages received by all
 * @sent:	sum of what was sent on each channel, and how many
 * @received:	likewise
 */
struct knot {
	int ch[4];
	int n;
	int stop;
	atomic_long moved;
	atomic_ulong sent[4], sends[4];
	atomic_ulong received[4], receives[4];
};

static long run_knot(struct party *me)
{
	struct knot *k = me->arg;
	int own = me->value;
	unsigned int seed = own;
	uint64_t in = 0, msg = 0;
	struct chanfd_case cases[5];
	struct chanfd_outcome out;
	int i, index;

	for (i = 0; i < k->n; i++)
		cases[i] = CHANFD_RECV(k->ch[i], &in);
	cases[own] = CHANFD_SEND(k->ch[own], &msg);
	cases[k->n] = CHANFD_RECV(k->stop);
	for (;;) {
		msg = rand_r(&seed);
		index = chanfd_select(cases, k->n + 1, NULL, &out);
		if (index == k->n)
			return 0;
		if (index < 0 || out.error)
			return -1;
		if (index == own) {
			k->sent[own] += msg;
			k->sends[own]++;
		} else {
			k->received[index] += in;
			k->receives[index]++;
			k->moved++;
		}
	}
}

static void untangle(struct __test_metadata *_metadata, bool process, unsigned int n,
		     unsigned int cap, long messages)
{
	struct knot *k = shared(sizeof(*k));
	struct chanfd_channel_info info;
	struct party *p[4];
	uint64_t v, left, rest;
	unsigned int i;

	k->n = n;
	k->stop = make(0);
	for (i = 0; i < n; i++)
		k->ch[i] = make(cap);
	for (i = 0; i < n; i++) {
		p[i] = party_new(process, run_knot, -1);
		p[i]->arg = k;
		p[i]->value = i;
		party_start(p[i]);
	}
	EXPECT_TRUE(eventually(k->moved >= messages));
	EXPECT_EQ(0, chanfd_close(k->stop, 0));
	EXPECT_EQ(0, join_all(p, n));
	for (i = 0; i < n; i++) {
		for (left = 0, rest = 0; try_get(k->ch[i], &v) == 1; left++)
			rest += v;
		EXPECT_EQ(atomic_load(&k->sends[i]), k->receives[i] + left);
		EXPECT_EQ(atomic_load(&k->sent[i]), k->received[i] + rest);
		info = info_of(k->ch[i]);
		EXPECT_EQ(info.sent, atomic_load(&k->sends[i]));
		EXPECT_EQ(info.sent, info.received);
		EXPECT_EQ(0, info.waiting_senders);
		EXPECT_EQ(0, info.waiting_receivers);
		close(k->ch[i]);
	}
}

TEST_F(select, crossed_by_two)
{
	untangle(_metadata, variant->process, 2, 0, 3000);
	untangle(_metadata, variant->process, 2, 1, 3000);
}

TEST_F(select, crossed_by_three)
{
	untangle(_metadata, variant->process, 3, 0, 3000);
	untangle(_metadata, variant->process, 3, 2, 3000);
}

TEST_F(select, crossed_by_four)
{
	untangle(_metadata, variant->process, 4, 0, 3000);
}

/*
 * Two parties with the same two channels in opposite roles, in lockstep: each
 * of the rounds moves one message, or it hangs.
 */
static long run_lockstep(struct party *me)
{
	struct knot *k = me->arg;
	unsigned int own = me->value;
	uint64_t i, in;

	for (i = 0; i < 1500; i++) {
		poison(&in);
		switch (chanfd_select_of(NULL, NULL, CHANFD_SEND(k->ch[own], &i),
					 CHANFD_RECV(k->ch[!own], &in))) {
		case 0:
			k->sends[own]++;
			break;
		case 1:
			if (in != i)
				return -1;
			k->receives[!own]++;
			break;
		default:
			return -1;
		}
	}
	return 0;
}

TEST_F(select, crossed_in_lockstep)
{
	struct knot *k = shared(sizeof(*k));
	struct party *p[2];
	int i;

	for (i = 0; i < 2; i++)
		k->ch[i] = make(0);
	for (i = 0; i < 2; i++) {
		p[i] = party_new(variant->process, run_lockstep, -1);
		p[i]->arg = k;
		p[i]->value = i;
		party_start(p[i]);
	}
	EXPECT_EQ(0, join_all(p, 2));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(atomic_load(&k->sends[i]), atomic_load(&k->receives[i]));
	}
	EXPECT_EQ(1500, k->sends[0] + k->sends[1]);
}

/* Programs. */

/**
 * struct mesh - direct and selecting parties on channels of all capacities
 * @ch:		the channels
 * @seen:	how often each message was received
 */
enum { MESH = 4, EACH = 300 };

struct mesh {
	int ch[MESH];
	atomic_uint seen[2 * MESH * EACH];
};

static long run_mesh_send(struct party *me)
{
	struct mesh *m = me->arg;
	uint64_t i;

	for (i = 0; i < EACH; i++)
		if (put(m->ch[me->value], me->value * EACH + i))
			return -1;
	return 0;
}

static long run_mesh_select_send(struct party *me)
{
	struct mesh *m = me->arg;
	unsigned int left[MESH], i, k, done = 0;
	struct chanfd_case cases[MESH];
	uint64_t msg[MESH];

	for (k = 0; k < MESH; k++) {
		left[k] = EACH;
		cases[k] = CHANFD_SEND(m->ch[k], &msg[k]);
	}
	while (done < MESH) {
		for (k = 0; k < MESH; k++)
			msg[k] = (MESH + k) * EACH + EACH - left[k];
		i = chanfd_select(cases, MESH, NULL, NULL);
		if (i >= MESH)
			return -1;
		if (!--left[i]) {
			cases[i].fd = -1;
			done++;
		}
	}
	return 0;
}

static long run_mesh_recv(struct party *me)
{
	struct mesh *m = me->arg;
	uint64_t v;

	while (get(m->ch[me->value], &v) == 1)
		m->seen[v]++;
	return 0;
}

static long run_mesh_select_recv(struct party *me)
{
	struct chanfd_case cases[MESH];
	struct mesh *m = me->arg;
	struct chanfd_outcome out;
	unsigned int k, done = 0;
	uint64_t v;

	for (k = 0; k < MESH; k++)
		cases[k] = CHANFD_RECV(m->ch[k], &v);
	while (done < MESH) {
		if (chanfd_select(cases, MESH, NULL, &out) < 0 || out.error)
			return -1;
		if (out.ok) {
			m->seen[v]++;
		} else {
			cases[out.index].fd = -1;
			done++;
		}
	}
	return 0;
}

TEST_F(select, ken_chan_mesh)
{
	static const unsigned int caps[MESH] = { 0, 1, 10, 100 };
	struct party *send[MESH + 1], *recv[MESH + 2];
	struct mesh *m = shared(sizeof(*m));
	unsigned int i, s = 0, r = 0;

	for (i = 0; i < MESH; i++)
		m->ch[i] = make(caps[i]);
	send[s++] = party_new(variant->process, run_mesh_select_send, -1);
	recv[r++] = party_new(variant->process, run_mesh_select_recv, -1);
	recv[r++] = party_new(variant->process, run_mesh_select_recv, -1);
	for (i = 0; i < MESH; i++) {
		send[s] = party_new(variant->process, run_mesh_send, -1);
		send[s++]->value = i;
		recv[r] = party_new(variant->process, run_mesh_recv, -1);
		recv[r++]->value = i;
	}
	for (i = 0; i < s; i++)
		send[i]->arg = m;
	for (i = 0; i < r; i++)
		recv[i]->arg = m;
	for (i = 0; i < r; i++)
		party_start(recv[i]);
	for (i = 0; i < s; i++)
		party_start(send[i]);
	EXPECT_EQ(0, join_all(send, s));
	for (i = 0; i < MESH; i++) {
		EXPECT_EQ(2 * EACH, info_of(m->ch[i]).sent);
		EXPECT_EQ(0, chanfd_close(m->ch[i], 0));
	}
	EXPECT_EQ(0, join_all(recv, r));
	for (i = 0; i < ARRAY_SIZE(m->seen); i++) {
		ASSERT_EQ(1, atomic_load(&m->seen[i]));
	}
}

/*
 * Clients ask servers, and either take the answer or say that they don't want
 * it any more; the server answers or hears that. Whatever wins, both agree.
 */
enum { CLIENTS = 4, SERVERS = 2, REQUESTS = 200 };

struct service {
	int requests;
	int reply[CLIENTS];
	int abandon[CLIENTS];
	atomic_int replied;
	atomic_int abandoned;
};

static long run_client(struct party *me)
{
	struct service *s = me->arg;
	uint64_t i, v, answered = 0;

	for (i = 0; i < REQUESTS; i++) {
		if (put(s->requests, me->value << 32 | i))
			return -1;
		switch (chanfd_select_of(NULL, NULL,
					 CHANFD_RECV(s->reply[me->value], &v),
					 CHANFD_SEND(s->abandon[me->value], &i))) {
		case 0:
			if (v != i * 3)
				return -1;
			answered++;
			break;
		case 1:
			break;
		default:
			return -1;
		}
	}
	return answered;
}

static long run_server(struct party *me)
{
	struct service *s = me->arg;
	uint64_t request, v, answer;

	while (get(s->requests, &request) == 1) {
		answer = (request & 0xffffffff) * 3;
		switch (chanfd_select_of(NULL, NULL,
					 CHANFD_SEND(s->reply[request >> 32],
						     &answer),
					 CHANFD_RECV(s->abandon[request >> 32],
						     &v))) {
		case 0:
			s->replied++;
			break;
		case 1:
			if (v * 3 != answer)
				return -1;
			s->abandoned++;
			break;
		default:
			return -1;
		}
	}
	return 0;
}

TEST_F(select, abandoned_reply)
{
	struct service *s = shared(sizeof(*s));
	struct party *c[CLIENTS], *p[SERVERS];
	long answered = 0;
	int i;

	s->requests = make(2);
	for (i = 0; i < CLIENTS; i++) {
		s->reply[i] = make(0);
		s->abandon[i] = make(0);
	}
	for (i = 0; i < SERVERS; i++) {
		p[i] = party_new(variant->process, run_server, -1);
		p[i]->arg = s;
		party_start(p[i]);
	}
	for (i = 0; i < CLIENTS; i++) {
		c[i] = party_new(variant->process, run_client, -1);
		c[i]->arg = s;
		c[i]->value = i;
		party_start(c[i]);
	}
	for (i = 0; i < CLIENTS; i++) {
		EXPECT_LE(0, party_join(c[i]));
		answered += c[i]->result;
	}
	EXPECT_EQ(0, chanfd_close(s->requests, 0));
	EXPECT_EQ(0, join_all(p, SERVERS));
	EXPECT_EQ(answered, atomic_load(&s->replied));
	EXPECT_EQ(CLIENTS * REQUESTS, s->replied + s->abandoned);
}

/* Merges two sorted streams, and switches each off when it ends. */
struct merge {
	int in[2];
	int out;
};

static long run_stream(struct party *me)
{
	uint64_t i;

	for (i = me->value; i < 200; i += 2)
		if (put(me->fd, i))
			return -1;
	return chanfd_close(me->fd, 0);
}

static long run_merge(struct party *me)
{
	struct merge *m = me->arg;
	struct chanfd_outcome out;
	uint64_t v;

	while (m->in[0] >= 0 || m->in[1] >= 0) {
		if (chanfd_select_of(NULL, &out, CHANFD_RECV(m->in[0], &v),
				     CHANFD_RECV(m->in[1], &v)) < 0)
			return -1;
		if (!out.ok)
			m->in[out.index] = -1;
		else if (put(m->out, v))
			return -1;
	}
	return chanfd_close(m->out, 0);
}

TEST_F(select, merge_filter)
{
	struct merge *m = shared(sizeof(*m));
	uint64_t v, next[2] = { 0, 1 };
	struct party *p[3];
	int i;

	m->out = make(0);
	for (i = 0; i < 2; i++) {
		m->in[i] = make(i);
		p[i] = party_new(variant->process, run_stream, m->in[i]);
		p[i]->value = i;
		party_start(p[i]);
	}
	p[2] = party_new(variant->process, run_merge, -1);
	p[2]->arg = m;
	party_start(p[2]);
	while (get(m->out, &v) == 1) {
		EXPECT_EQ(next[v % 2], v);
		next[v % 2] += 2;
	}
	EXPECT_EQ(200, next[0]);
	EXPECT_EQ(201, next[1]);
	EXPECT_EQ(0, join_all(p, 3));
}

static long run_sink(struct party *me)
{
	struct chanfd_outcome out;
	long n = 0;

	while (!chanfd_select_of(NULL, &out, CHANFD_RECV(me->fd)) && out.ok)
		n++;
	return n;
}

TEST_F(select, sink_after_close)
{
	int ch = make(0);
	struct party *p = party_start(party_new(variant->process, run_sink, ch));

	EXPECT_EQ(0, count_up(ch, 100));
	EXPECT_EQ(0, chanfd_close(ch, 0));
	EXPECT_EQ(100, party_join(p));
}

/*
 * The sieve with a buffer that grows: a proxy keeps what the next filter does
 * not want yet, and switches its send off while it has nothing.
 */
struct stage {
	int in;
	int out;
	uint64_t prime;
	uint64_t queue[512];
};

static long run_stage(struct party *me)
{
	struct stage *s = me->arg;
	unsigned int head = 0, tail = 0;
	struct chanfd_outcome out;
	int in = s->in;
	uint64_t v;

	while (in >= 0 || head != tail) {
		if (chanfd_select_of(NULL, &out, CHANFD_RECV(in, &v),
				     CHANFD_SEND(head == tail ? -1 : s->out,
						 &s->queue[head % 512])) < 0)
			return -1;
		if (out.error)
			break;
		if (out.index)
			head++;
		else if (!out.ok)
			in = -1;
		else if (v % s->prime)
			s->queue[tail++ % 512] = v;
	}
	/* Whichever side has ended, the other one has to know. */
	chanfd_close_once(s->in, 0);
	chanfd_close_once(s->out, 0);
	return 0;
}

static long run_naturals(struct party *me)
{
	uint64_t v;

	for (v = 2; v < 400; v++)
		if (put(me->fd, v))
			return errno == EPIPE ? 0 : -1;
	chanfd_close_once(me->fd, 0);
	return 0;
}

TEST_F(select, sieve2)
{
	static const unsigned int primes[] = {
		2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59,
		61, 67, 71, 73, 79, 83, 89, 97,
	};
	struct party *p[ARRAY_SIZE(primes) + 1];
	struct stage *s;
	uint64_t v;
	int ch = make(1);
	unsigned int i;

	p[0] = party_start(party_new(variant->process, run_naturals, ch));
	for (i = 0; i < ARRAY_SIZE(primes); i++) {
		ASSERT_EQ(1, get(ch, &v));
		EXPECT_EQ(primes[i], v);
		s = shared(sizeof(*s));
		s->in = ch;
		s->out = make(i % 3);
		s->prime = v;
		p[i + 1] = party_new(variant->process, run_stage, -1);
		p[i + 1]->arg = s;
		party_start(p[i + 1]);
		ch = s->out;
	}
	EXPECT_EQ(0, chanfd_close(ch, 0));
	EXPECT_EQ(0, join_all(p, ARRAY_SIZE(p)));
}

/*
 * Power series whose terms are computed on demand, after McIlroy. A series is
 * two channels: one asks for the next term, one answers.
 */
struct term {
	int64_t num;
	int64_t den;
};

struct series {
	int ask;
	int answer;
};

/* A node computes one series, or two equal ones, from others. */
struct node {
	bool process;
	struct series a, b;
	struct series out, out2;
	struct term c;
};

static struct term reduced(int64_t num, int64_t den)
{
	int64_t a = llabs(num), b = den, t;

	while (b) {
		t = a % b;
		a = b;
		b = t;
	}
	return (struct term){ num / a, den / a };
}

static struct term sum(struct term a, struct term b)
{
	return reduced(a.num * b.den + b.num * a.den, a.den * b.den);
}

static struct term product(struct term a, struct term b)
{
	return reduced(a.num * b.num, a.den * b.den);
}

static struct series series_new(void)
{
	struct series s = {
		chanfd_channel(0, 0, 0, "ask"),
		chanfd_channel(sizeof(struct term), 0, 0, "answer"),
	};

	if (s.ask < 0 || s.answer < 0)
		err(1, "chanfd_channel");
	return s;
}

static struct term next_of(struct series s)
{
	struct term t;

	if (chanfd_send(s.ask, NULL, 0, NULL) ||
	    chanfd_get(s.answer, &t, NULL) != 1)
		err(1, "next_of");
	return t;
}

/* The next term of two series, whichever comes first. */
static void next_of_both(struct series a, struct series b, struct term *ta,
			 struct term *tb)
{
	struct chanfd_case cases[] = {
		CHANFD_SEND(a.ask), CHANFD_SEND(b.ask),
		CHANFD_RECV(a.answer, ta), CHANFD_RECV(b.answer, tb),
	};
	int fds[] = { a.ask, b.ask, a.answer, b.answer };
	int i, left = 4;

	/* An answer is waited for only after the question. */
	cases[2].fd = -1;
	cases[3].fd = -1;
	while (left--) {
		i = chanfd_select(cases, 4, NULL, NULL);
		if (i < 0)
			err(1, "next_of_both");
		cases[i].fd = -1;
		if (i < 2)
			cases[i + 2].fd = fds[i + 2];
	}
}

static int wait_for_question(struct series s)
{
	return chanfd_recv(s.ask, NULL, 0, NULL, NULL);
}

static struct node *node_start(bool process, long (*run)(struct party *me),
			       struct series a, struct series b, struct term c)
{
	struct node *n = shared(sizeof(*n));
	struct party *p = party_new(process, run, -1);

	*n = (struct node){ process, a, b, series_new(), series_new(), c };
	p->arg = n;
	party_start(p);
	return n;
}

static const struct series no_series = { -1, -1 };
static const struct term one_term = { 1, 1 };

static long run_constant(struct party *me)
{
	struct node *n = me->arg;

	while (wait_for_question(n->out) == 1 &&
	       !chanfd_put(n->out.answer, n->c, NULL))
		;
	return 0;
}

static long run_add(struct party *me)
{
	struct node *n = me->arg;
	struct term a, b;

	while (wait_for_question(n->out) == 1) {
		next_of_both(n->a, n->b, &a, &b);
		if (chanfd_put(n->out.answer, sum(a, b), NULL))
			break;
	}
	return 0;
}

static long run_scale(struct party *me)
{
	struct node *n = me->arg;

	while (wait_for_question(n->out) == 1 &&
	       !chanfd_put(n->out.answer, product(n->c, next_of(n->a)), NULL))
		;
	return 0;
}

/* The integral, with @c as its first term: it needs no term of @a for that. */
static long run_integral(struct party *me)
{
	struct node *n = me->arg;
	struct term t = n->c;
	int64_t i;

	for (i = 1; wait_for_question(n->out) == 1; i++) {
		if (i > 1)
			t = product(next_of(n->a), (struct term){ 1, i - 1 });
		if (chanfd_put(n->out.answer, t, NULL))
			break;
	}
	return 0;
}

static long run_derivative(struct party *me)
{
	struct node *n = me->arg;
	int64_t i;

	if (wait_for_question(n->out) != 1)
		return 0;
	next_of(n->a);
	for (i = 1;; i++) {
		if (chanfd_put(n->out.answer,
			       product(next_of(n->a), (struct term){ i, 1 }),
			       NULL) ||
		    wait_for_question(n->out) != 1)
			return 0;
	}
}

/*
 * Two series like @a, of which each may be ahead of the other. One may be asked
 * for while @a is being: a series that feeds itself needs that.
 */
static long run_split(struct party *me)
{
	struct node *n = me->arg;
	struct series out[] = { n->out, n->out2 };
	unsigned int pos[2] = { 0, 0 }, known = 0;
	bool wanted[2] = { false, false }, asked = false;
	struct term terms[64];
	int i;

	while (known < ARRAY_SIZE(terms)) {
		bool need = (wanted[0] || wanted[1]) && !asked;

		i = chanfd_select_of(NULL, NULL,
				     CHANFD_RECV(wanted[0] ? -1 : out[0].ask),
				     CHANFD_RECV(wanted[1] ? -1 : out[1].ask),
				     CHANFD_SEND(need ? n->a.ask : -1),
				     CHANFD_RECV(asked ? n->a.answer : -1,
						 &terms[known]));
		if (i < 0)
			return -1;
		if (i < 2)
			wanted[i] = true;
		else if (i == 2)
			asked = true;
		if (i == 3) {
			asked = false;
			known++;
		}
		for (i = 0; i < 2; i++) {
			if (!wanted[i] || pos[i] == known)
				continue;
			if (chanfd_put(out[i].answer, terms[pos[i]], NULL))
				return 0;
			wanted[i] = false;
			pos[i]++;
		}
	}
	return 0;
}

/* (u + x U)(v + x V) = u v + x (u V + U (v + x V)) */
static long run_mul(struct party *me)
{
	struct node *n = me->arg, *split, *scaled, *rest, *total;
	struct term u, v;

	if (wait_for_question(n->out) != 1)
		return 0;
	split = node_start(n->process, run_split, n->b, no_series, one_term);
	next_of_both(n->a, split->out, &u, &v);
	if (chanfd_put(n->out.answer, product(u, v), NULL) ||
	    wait_for_question(n->out) != 1)
		return 0;
	scaled = node_start(n->process, run_scale, split->out, no_series, u);
	rest = node_start(n->process, run_mul, n->a, split->out2, one_term);
	total = node_start(n->process, run_add, scaled->out, rest->out, one_term);
	do {
		if (chanfd_put(n->out.answer, next_of(total->out), NULL))
			break;
	} while (wait_for_question(n->out) == 1);
	return 0;
}

/* Solves E = 1 + integral of E: the series feeds itself. */
static struct series exponential(bool process)
{
	struct node *split = shared(sizeof(*split)), *integral;
	struct party *p = party_new(process, run_split, -1);

	*split = (struct node){ process, no_series, no_series, series_new(),
				series_new(), one_term };
	integral = node_start(process, run_integral, split->out2, no_series,
			      one_term);
	split->a = integral->out;
	p->arg = split;
	party_start(p);
	return split->out;
}

TEST_F(select, powser1)
{
	enum { TERMS = 8 };
	bool process = variant->process;
	struct node *ones, *other, *twos, *nat, *half, *prod;
	struct rlimit files = { 4096, 4096 };
	int64_t i, factorial = 1, power = 1;
	struct series e, f;
	struct term t;

	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &files));
	ones = node_start(process, run_constant, no_series, no_series, one_term);
	other = node_start(process, run_constant, no_series, no_series, one_term);
	twos = node_start(process, run_add, ones->out, other->out, one_term);
	for (i = 0; i < 10; i++) {
		t = next_of(twos->out);
		EXPECT_EQ(2, t.num);
		EXPECT_EQ(1, t.den);
	}
	/* 1/(1-x) has the derivative 1/(1-x)^2, */
	nat = node_start(process, run_derivative, ones->out, no_series, one_term);
	for (i = 1; i <= TERMS; i++) {
		t = next_of(nat->out);
		EXPECT_EQ(i, t.num);
		EXPECT_EQ(1, t.den);
	}
	/* and the integral -log(1-x). */
	half = node_start(process, run_integral, other->out, no_series,
			  (struct term){ 0, 1 });
	t = next_of(half->out);
	EXPECT_EQ(0, t.num);
	for (i = 1; i <= TERMS; i++) {
		t = next_of(half->out);
		EXPECT_EQ(1, t.num);
		EXPECT_EQ(i, t.den);
	}
	/* exp(x)^2 = exp(2x) */
	e = exponential(process);
	f = exponential(process);
	prod = node_start(process, run_mul, e, f, one_term);
	for (i = 0; i < TERMS; i++) {
		struct term want = reduced(power, factorial);

		t = next_of(prod->out);
		EXPECT_EQ(want.num, t.num);
		EXPECT_EQ(want.den, t.den);
		power *= 2;
		factorial *= i + 1;
	}
}

TEST_HARNESS_MAIN
