// SPDX-License-Identifier: GPL-2.0
/*
 * kill -9 at any moment, and memory that goes away at a bad one.
 *
 * The storm: a pool of processes sends and receives. In each round every sender
 * sends so many messages, and somebody is killed at a random moment. When all
 * is quiet again the books must balance: what was sent has been received once,
 * by somebody who wrote it down, or is in the channel, or was in the hands of a
 * receiver when that was killed, and of these there is one at the most. Then
 * the dead one is replaced.
 *
 * The seed is printed; CHANFD_SEED in the environment sets it. It repeats who is
 * killed and about when, not what the scheduler makes of it.
 */
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>

#include "helpers.h"

static unsigned int seed;

static unsigned int below(unsigned int n)
{
	return rand_r(&seed) % n;
}

static unsigned int choose_seed(void)
{
	const char *text = getenv("CHANFD_SEED");

	seed = text ? strtoul(text, NULL, 0) : now() ^ getpid();
	return seed;
}

static void spin_for(int64_t ns)
{
	uint64_t end = now() + ns;

	while (now() < end)
		;
}

static long run_hold(struct party *me)
{
	return pause();
}

/* A process that keeps what it inherits open; the test lets go of @fd. */
static struct party *holder_of(int fd)
{
	struct party *p = party_start(party_new(true, run_hold, fd));

	close(fd);
	return p;
}

/*
 * The storm
 */

#define PLACES	5	/* in the pool */
#define QUOTA	8	/* messages of a sender in a round */
#define ROUNDS	200	/* of every kind of storm */
#define LONGEST	6000	/* bytes of a message, more than a page */

struct head {
	uint32_t sender;	/* a number for every process that ever sent */
	uint32_t n;		/* from 1, for each sender */
	uint32_t channel;
	uint32_t size;		/* of it all */
};

struct message {
	struct head head;
	uint8_t filler[];	/* @n in every byte */
};

struct entry {
	struct head msg;
	uint64_t seq;
	bool intact;
};

/**
 * struct place - in the pool, and in shared memory
 * @party:	who is there now
 * @sender:	the number of that process
 * @limit:	it may send so many; a futex
 * @begun:	messages that it has begun to send
 * @acked:	messages that it knows were sent
 * @base:	of these, before this round
 * @poke:	eventfd that says that @limit has changed
 * @logged:	messages received in this round
 * @log:	of these
 */
struct place {
	struct party *party;
	uint32_t sender;
	atomic_uint limit;
	atomic_uint begun;
	atomic_uint acked;
	unsigned int base;
	int poke;
	atomic_uint logged;
	struct entry log[PLACES * QUOTA + PLACES];
};

struct storm {
	int channel[2];		/* -1: there is only one */
	struct place place[PLACES + 1];	/* the last is the test's own */
	uint32_t senders;
	unsigned int lost;	/* messages in the hands of the dead */
	unsigned int halfway;	/* sends that the dead had begun */
};

static size_t size_of_message(bool variable, unsigned int n)
{
	return sizeof(struct message) + (variable ? n * 977 % (LONGEST - 100) : 0);
}

static void write_message(struct message *msg, struct place *p, int channel, bool variable)
{
	msg->head.sender = p->sender;
	msg->head.n = p->acked + 1;
	msg->head.channel = channel;
	msg->head.size = size_of_message(variable, msg->head.n);
	memset(msg->filler, msg->head.n, msg->head.size - sizeof(*msg));
}

static void log_message(struct place *p, const struct message *msg, size_t size,
			int channel, uint64_t seq)
{
	struct entry *e = &p->log[p->logged];
	size_t i;

	e->msg = msg->head;
	e->seq = seq;
	e->intact = size == e->msg.size && e->msg.channel == (uint32_t)channel;
	for (i = 0; i < size - sizeof(*msg); i++)
		e->intact &= msg->filler[i] == (uint8_t)e->msg.n;
	p->logged++;
}

/* Sleeps until there is more to send. */
static void wait_for_more(struct place *p)
{
	unsigned int limit;

	while ((limit = p->limit) == p->acked)
		syscall(SYS_futex, &p->limit, FUTEX_WAIT, limit, NULL, NULL, 0);
}

static void let_send(struct place *p)
{
	p->base = p->acked;
	p->limit += QUOTA;
	syscall(SYS_futex, &p->limit, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	eventfd_write(p->poke, 1);
}

/* What the processes do. Each finds its place and the channels in @me. */

static struct storm *storm_of(struct party *me)
{
	return me->arg;
}

static struct place *place_of(struct party *me)
{
	return &storm_of(me)->place[me->value];
}

static long send_on_one(struct party *me, bool variable)
{
	int channel = storm_of(me)->channel[0];
	struct place *p = place_of(me);
	struct message *msg = calloc(1, LONGEST);

	do {
		wait_for_more(p);
		write_message(msg, p, 0, variable);
		p->begun = msg->head.n;
		if (chanfd_send(channel, msg, msg->head.size, NULL))
			break;
		p->acked = msg->head.n;
	} while (true);
	free(msg);
	return -1;
}

static long run_send_fixed(struct party *me)
{
	return send_on_one(me, false);
}

static long run_send_variable(struct party *me)
{
	return send_on_one(me, true);
}

static long run_recv_one(struct party *me)
{
	int channel = storm_of(me)->channel[0];
	struct message *msg = calloc(1, LONGEST);
	struct chanfd_received r;
	int got;

	while ((got = chanfd_recv(channel, msg, LONGEST, NULL, &r)) == 1)
		log_message(place_of(me), msg, r.size, 0, r.seq);
	free(msg);
	return got;
}

static long run_send_either(struct party *me)
{
	struct storm *s = storm_of(me);
	struct place *p = place_of(me);
	struct message msg[2];
	int i;

	for (;;) {
		wait_for_more(p);
		for (i = 0; i < 2; i++)
			write_message(&msg[i], p, i, false);
		p->begun = msg[0].head.n;
		if (chanfd_select_of(NULL, NULL, CHANFD_SEND(s->channel[0], &msg[0]),
				     CHANFD_SEND(s->channel[1], &msg[1])) < 0)
			return -1;
		p->acked = msg[0].head.n;
	}
}

static long run_recv_either(struct party *me)
{
	struct storm *s = storm_of(me);
	struct chanfd_outcome out;
	struct message msg;

	for (;;) {
		if (chanfd_select_of(NULL, &out, CHANFD_RECV(s->channel[0], &msg),
				     CHANFD_RECV(s->channel[1], &msg)) < 0)
			return -1;
		if (!out.ok)
			return -out.error;
		log_message(place_of(me), &msg, out.size, out.index, out.number);
	}
}

/* Sends and receives on both, whatever comes first. */
static long run_peer(struct party *me)
{
	struct storm *s = storm_of(me);
	struct place *p = place_of(me);
	struct message in, msg[2];
	struct chanfd_outcome out;
	eventfd_t pokes;
	bool may_send;
	int i;

	for (;;) {
		may_send = p->acked < p->limit;
		for (i = 0; i < 2; i++)
			write_message(&msg[i], p, i, false);
		if (may_send)
			p->begun = msg[0].head.n;
		switch (chanfd_select_of(NULL, &out,
					 CHANFD_RECV(s->channel[0], &in),
					 CHANFD_RECV(s->channel[1], &in),
					 CHANFD_SEND(may_send ? s->channel[0] : -1, &msg[0]),
					 CHANFD_SEND(may_send ? s->channel[1] : -1, &msg[1]),
					 CHANFD_POLL(p->poke, POLLIN))) {
		case 0:
		case 1:
			if (!out.ok)
				return -out.error;
			log_message(p, &in, out.size, out.index, out.number);
			break;
		case 2:
		case 3:
			if (out.error)
				return -1;
			p->acked = msg[0].head.n;
			break;
		case 4:
			eventfd_read(p->poke, &pokes);
			break;
		default:
			return -1;
		}
	}
}

struct kind {
	int channels;
	unsigned int capacity[2];
	bool variable;
	long (*send)(struct party *me);
	long (*recv)(struct party *me);	/* the same: a process does both */
	int senders;			/* the others receive */
};

static const struct kind buffered = {
	.capacity = { 4 }, .channels = 1,
	.send = run_send_fixed, .recv = run_recv_one, .senders = 3,
};

static const struct kind unbuffered = {
	.capacity = { 0 }, .channels = 1,
	.send = run_send_fixed, .recv = run_recv_one, .senders = 3,
};

static const struct kind variable = {
	.capacity = { 3 }, .channels = 1, .variable = true,
	.send = run_send_variable, .recv = run_recv_one, .senders = 3,
};

static const struct kind selectors = {
	.capacity = { 0, 2 }, .channels = 2,
	.send = run_send_either, .recv = run_recv_either, .senders = 3,
};

static const struct kind peers = {
	.capacity = { 0, 2 }, .channels = 2,
	.send = run_peer, .recv = run_peer, .senders = PLACES,
};

FIXTURE(storm) {
	struct storm *storm;
	struct chanfd_channel_info before[2];
};

FIXTURE_VARIANT(storm) {
	const struct kind *kind;
};

FIXTURE_VARIANT_ADD(storm, buffered) {
	.kind = &buffered,
};

FIXTURE_VARIANT_ADD(storm, unbuffered) {
	.kind = &unbuffered,
};

FIXTURE_VARIANT_ADD(storm, variable) {
	.kind = &variable,
};

FIXTURE_VARIANT_ADD(storm, selectors) {
	.kind = &selectors,
};

FIXTURE_VARIANT_ADD(storm, peers) {
	.kind = &peers,
};

FIXTURE_SETUP(storm)
{
	const struct kind *kind = variant->kind;
	struct storm *s = shared(sizeof(*s));
	int i;

	self->storm = s;
	s->channel[1] = -1;
	for (i = 0; i < kind->channels; i++) {
		s->channel[i] = chanfd_channel(kind->variable ? LONGEST :
					       sizeof(struct message),
					       kind->capacity[i],
					       kind->variable ? CHANFD_VARIABLE : 0,
					       "storm");
		ASSERT_LE(0, s->channel[i]);
	}
	for (i = 0; i < PLACES; i++)
		s->place[i].poke = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

FIXTURE_TEARDOWN(storm)
{
}

static bool sends(const struct kind *kind, int i)
{
	return i < kind->senders;
}

static bool receives(const struct kind *kind, int i)
{
	return i >= kind->senders || kind->send == kind->recv;
}

static void settle(struct storm *s, int i, const struct kind *kind)
{
	struct place *p = &s->place[i];

	p->sender = ++s->senders;
	p->limit = 0;
	p->begun = 0;
	p->acked = 0;
	p->party = party_new(true, sends(kind, i) ? kind->send : kind->recv, -1);
	p->party->arg = s;
	p->party->value = i;
	party_start(p->party);
}

/* Takes what is there, as one receiver more, into the last place's log. */
static void drain(struct storm *s)
{
	static uint8_t buf[LONGEST];
	struct message *msg = (struct message *)buf;
	struct chanfd_received r;
	int i;

	for (i = 0; i < 2 && s->channel[i] >= 0; i++)
		while (chanfd_recv(s->channel[i], msg, LONGEST,
				   CHANFD_OPT(-1, CHANFD_NONBLOCK, 0), &r) == 1)
			log_message(&s->place[PLACES], msg, r.size, i, r.seq);
}

/* Has everybody but @victim done what there was to do? */
static bool quiet(struct storm *s, int victim, const struct kind *kind)
{
	struct chanfd_channel_info info;
	unsigned int receivers = 0;
	int i;

	for (i = 0; i < PLACES; i++) {
		if (i == victim)
			continue;
		if (sends(kind, i) && s->place[i].acked != s->place[i].limit)
			return false;
		receivers += receives(kind, i);
	}
	for (i = 0; i < kind->channels; i++) {
		info = info_of(s->channel[i]);
		if (info.len || info.waiting_senders || info.waiting_receivers != receivers)
			return false;
	}
	return true;
}

static unsigned int steps(struct storm *s)
{
	unsigned int n = 0;
	int i;

	for (i = 0; i < PLACES; i++)
		n += s->place[i].acked - s->place[i].base + s->place[i].logged;
	return n;
}

/* Some moment of the round. */
static void wait_for_a_moment(struct storm *s)
{
	unsigned int step = below(2 * QUOTA * PLACES);
	uint64_t give_up = now() + 20 * MSEC;

	switch (below(3)) {
	case 0:
		break;
	case 1:
		spin_for(below(2 * MSEC));
		break;
	case 2:
		while (steps(s) < step && now() < give_up)
			sched_yield();
		break;
	}
}

static int by_number(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->msg.channel != y->msg.channel)
		return x->msg.channel < y->msg.channel ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* Who sent it? */
static struct place *sender_of(struct storm *s, const struct head *msg)
{
	int i;

	for (i = 0; i < PLACES; i++)
		if (s->place[i].sender == msg->sender)
			return &s->place[i];
	return NULL;
}

/* Why the books of this round don't balance, NULL if they do. */
static const char *audit(struct storm *s, int victim, const struct chanfd_channel_info *before,
			 const struct kind *kind)
{
	static struct entry all[2 * PLACES * QUOTA];
	unsigned int seen[PLACES] = { 0 }, last[PLACES][2] = { 0 };
	uint64_t sent = 0, received = 0, known = 0, maybe = 0, missing = 0, lost;
	bool had[PLACES][QUOTA] = { 0 };
	size_t n = 0, k;
	int i;

	for (i = 0; i <= PLACES; i++) {
		if (n + s->place[i].logged > ARRAY_SIZE(all))
			return "more received than sent";
		memcpy(&all[n], s->place[i].log, s->place[i].logged * sizeof(*all));
		n += s->place[i].logged;
	}
	for (k = 0; k < n; k++)
		if (!all[k].intact)
			return "a message is damaged";
	qsort(all, n, sizeof(*all), by_number);
	for (k = 0; k < n; k++) {
		struct place *p = sender_of(s, &all[k].msg);
		unsigned int nth = all[k].msg.n - (p ? p->base : 0);
		int c = all[k].msg.channel;

		if (k && !by_number(&all[k - 1], &all[k]))
			return "a number was given twice";
		if (!p || nth < 1 || nth > QUOTA)
			return "a message of another round";
		i = p - s->place;
		if (had[i][nth - 1])
			return "a message was received twice";
		had[i][nth - 1] = true;
		if (nth <= last[i][c])
			return "a sender's order was not kept";
		last[i][c] = nth;
		seen[i]++;
	}
	for (i = 0; i < kind->channels; i++) {
		struct chanfd_channel_info now = info_of(s->channel[i]);

		if (now.sent != now.len + now.received + now.dropped)
			return "the channel's counters disagree";
		if (now.dropped)
			return "dropped with receivers there";
		sent += now.sent - before[i].sent;
		received += now.received - before[i].received;
	}
	if (received < n)
		return "more received than the channel knows of";
	lost = received - n;
	if (lost > (receives(kind, victim) ? 1 : 0))
		return "more lost than one pair of hands can hold";
	s->lost += lost;
	s->halfway += s->place[victim].begun != s->place[victim].acked;
	for (i = 0; i < kind->senders; i++) {
		struct place *p = &s->place[i];
		unsigned int acked = p->acked - p->base, begun = p->begun - p->base;

		if (begun < acked || i != victim)
			begun = acked;
		if (seen[i] > begun)
			return "a message that nobody sent";
		if (seen[i] < acked)
			missing += acked - seen[i];
		known += acked;
		maybe += begun;
	}
	if (missing > lost)
		return "a message that was sent is gone";
	if (sent < known || sent > maybe)
		return "the channel counts other sends than the senders";
	return NULL;
}

TEST_F_TIMEOUT(storm, conserves_messages, 240)
{
	const struct kind *kind = variant->kind;
	struct storm *s = self->storm;
	const char *wrong;
	int round, victim, i;

	TH_LOG("CHANFD_SEED=%u", choose_seed());
	for (i = 0; i < PLACES; i++)
		settle(s, i, kind);
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i <= PLACES; i++)
			s->place[i].logged = 0;
		for (i = 0; i < kind->channels; i++)
			self->before[i] = info_of(s->channel[i]);
		for (i = 0; i < kind->senders; i++)
			let_send(&s->place[i]);
		victim = below(PLACES);
		wait_for_a_moment(s);
		party_kill(s->place[victim].party);
		ASSERT_EQ(EOWNERDEAD, s->place[victim].party->error)
			TH_LOG("round %d: place %d had ended before", round, victim);
		ASSERT_TRUE(eventually((drain(s), quiet(s, victim, kind))))
			TH_LOG("round %d, place %d killed: no rest", round, victim);
		wrong = audit(s, victim, self->before, kind);
		ASSERT_STREQ("", wrong ?: "")
			TH_LOG("round %d, place %d killed", round, victim);
		settle(s, victim, kind);
	}
	TH_LOG("killed %u in the middle of a send, %u with a message in hand; %llu came back",
	       s->halfway, s->lost, info_of(s->channel[0]).returned);
	/* The survivors are told, and understand. */
	for (i = 0; i < kind->channels; i++)
		ASSERT_EQ(0, chanfd_close(s->channel[i], 0));
	for (i = 0; i < PLACES; i++)
		if (!sends(kind, i))
			EXPECT_EQ(0, party_join(s->place[i].party));
}

/*
 * One at a time
 */

/* tZ5: before the message is taken it has never been. */
TEST(kill_blocked_sender)
{
	struct chanfd_channel_info info;
	struct party *sender;
	uint64_t value;
	int ch, i, got, taken = 0;

	TH_LOG("CHANFD_SEED=%u", choose_seed());
	ch = chanfd_channel(8, 0, 0, "");
	ASSERT_LE(0, ch);
	for (i = 0; i < 60; i++) {
		sender = party_send(true, ch, i);
		ASSERT_TRUE(senders_wait(ch, 1));
		kill(sender->tid, SIGKILL);
		spin_for(below(MSEC / 5));
		got = chanfd_recv(ch, &value, sizeof(value),
				  CHANFD_OPT(-1, CHANFD_NONBLOCK, 0), NULL);
		if (got == 1)
			EXPECT_EQ(i, value);
		taken += got == 1;
		party_join(sender);
		EXPECT_EQ(EAGAIN, errno_of(chanfd_recv(ch, &value, sizeof(value),
						       CHANFD_OPT(-1, CHANFD_NONBLOCK, 0),
						       NULL)));
		info = info_of(ch);
		EXPECT_EQ(0, info.waiting_senders);
		EXPECT_EQ(taken, info.sent);
		EXPECT_EQ(taken, info.received);
	}
}

/* What is in the buffer is the channel's. */
TEST(kill_sender_behind_full_buffer)
{
	struct party *stored, *blocked;
	uint64_t value;
	int ch = chanfd_channel(8, 1, 0, "");

	ASSERT_LE(0, ch);
	stored = party_send(true, ch, 1);
	EXPECT_EQ(0, party_join(stored));
	blocked = party_send(true, ch, 2);
	ASSERT_TRUE(senders_wait(ch, 1));
	party_kill(blocked);
	EXPECT_EQ(0, info_of(ch).waiting_senders);
	EXPECT_EQ(1, chanfd_get(ch, &value, NULL));
	EXPECT_EQ(1, value);
	EXPECT_EQ(0, info_of(ch).len);
	EXPECT_EQ(1, info_of(ch).sent);
}

FIXTURE(victim) {
	int ch;
};

FIXTURE_VARIANT(victim) {
	unsigned int capacity;
};

FIXTURE_VARIANT_ADD(victim, unbuffered) {
	.capacity = 0,
};

FIXTURE_VARIANT_ADD(victim, buffered) {
	.capacity = 2,
};

FIXTURE_SETUP(victim)
{
	self->ch = chanfd_channel(8, variant->capacity, 0, "");
	ASSERT_LE(0, self->ch);
}

FIXTURE_TEARDOWN(victim)
{
	close(self->ch);
}

/* A receiver that writes down what it got, and then waits to be killed. */
static long run_recv_and_hold(struct party *me)
{
	int got = chanfd_get(me->fd, &me->value, NULL);

	me->seq = got == 1;
	return pause();
}

/* tZ6: what was in the hands of the dead is counted, and nothing else is lost. */
TEST_F(victim, kill_receiver_with_message)
{
	struct chanfd_channel_info info;
	struct party *receiver;
	uint64_t value;
	unsigned int i, back = 0;

	TH_LOG("CHANFD_SEED=%u", choose_seed());
	for (i = 0; i < 60; i++) {
		receiver = party_start(party_new(true, run_recv_and_hold, self->ch));
		ASSERT_TRUE(receivers_wait(self->ch, 1));
		ASSERT_EQ(0, chanfd_put(self->ch, (uint64_t)i, NULL));
		if (i % 2)
			spin_for(below(MSEC / 2));
		else
			ASSERT_TRUE(eventually(receiver->seq));
		party_kill(receiver);
		/* Nobody is there: it is here, or was there. */
		info = info_of(self->ch);
		EXPECT_EQ(0, info.waiting_receivers);
		EXPECT_GE(1, info.len);
		EXPECT_EQ(i + 1, info.sent);
		EXPECT_EQ(info.sent, info.received + info.len);
		EXPECT_EQ(back + info.len, info.returned);
		if (receiver->seq) {
			EXPECT_EQ(i, receiver->value);
			EXPECT_EQ(0, info.len);
		} else if (info.len) {
			ASSERT_EQ(1, chanfd_get(self->ch, &value, NULL));
			EXPECT_EQ(i, value);
			back++;
		}
	}
}

TEST_F(victim, kill_blocked_receivers)
{
	struct party *receiver[3], *last;
	uint64_t value;
	int i;

	for (i = 0; i < 3; i++) {
		receiver[i] = party_recv(true, self->ch);
		ASSERT_TRUE(receivers_wait(self->ch, i + 1));
	}
	/* The first in the queue, and then the next. */
	party_kill(receiver[0]);
	EXPECT_EQ(2, info_of(self->ch).waiting_receivers);
	ASSERT_EQ(0, chanfd_put(self->ch, (uint64_t)7, NULL));
	EXPECT_EQ(1, party_join(receiver[1]));
	EXPECT_EQ(7, receiver[1]->value);
	party_kill(receiver[2]);
	EXPECT_EQ(0, info_of(self->ch).waiting_receivers);
	last = party_send(true, self->ch, 8);
	EXPECT_EQ(1, chanfd_get(self->ch, &value, NULL));
	EXPECT_EQ(8, value);
	EXPECT_EQ(0, party_join(last));
	EXPECT_EQ(0, info_of(self->ch).dropped);
}

/* Z3: all who could receive were killed. */
TEST(last_receiver_killed)
{
	struct pollfd writer = { .events = POLLOUT };
	struct party *receiver[2], *sender;
	int i, fd[2];

	ASSERT_EQ(0, chanfd_channel_pair(fd, 8, 0, 0, ""));
	for (i = 0; i < 2; i++)
		receiver[i] = party_recv(true, fd[0]);
	ASSERT_TRUE(receivers_wait(fd[1], 2));
	close(fd[0]);
	writer.fd = fd[1];
	party_kill(receiver[0]);
	ASSERT_EQ(1, poll(&writer, 1, 0));
	EXPECT_EQ(POLLOUT, writer.revents);
	party_kill(receiver[1]);
	ASSERT_EQ(1, poll(&writer, 1, 0));
	EXPECT_EQ(POLLOUT | POLLERR, writer.revents);
	EXPECT_EQ(ECONNRESET, errno_of(chanfd_put(fd[1], (uint64_t)1, NULL)));
	EXPECT_EQ(CHANFD_NO_RECEIVERS, info_of(fd[1]).state);

	/* Also a sender that waited for them. */
	ASSERT_EQ(0, chanfd_channel_pair(fd, 8, 0, 0, ""));
	receiver[0] = holder_of(fd[0]);
	sender = party_send(false, fd[1], 1);
	ASSERT_TRUE(senders_wait(fd[1], 1));
	party_kill(receiver[0]);
	EXPECT_EQ(ECONNRESET, errno_of(party_join(sender)));
	EXPECT_EQ(0, info_of(fd[1]).sent);
}

TEST(last_sender_killed)
{
	struct party *sender, *receiver;
	uint64_t value;
	int fd[2];

	ASSERT_EQ(0, chanfd_channel_pair(fd, 8, 1, 0, ""));
	sender = party_send(true, fd[1], 1);
	EXPECT_EQ(0, party_join(sender));
	sender = party_send(true, fd[1], 2);
	ASSERT_TRUE(senders_wait(fd[0], 1));
	close(fd[1]);
	party_kill(sender);
	EXPECT_EQ(CHANFD_NO_SENDERS, info_of(fd[0]).state);
	/* What was sent is there, what was not is not, and it is no orderly end. */
	EXPECT_EQ(1, chanfd_get(fd[0], &value, NULL));
	EXPECT_EQ(1, value);
	EXPECT_EQ(ECONNRESET, errno_of(chanfd_get(fd[0], &value, NULL)));

	ASSERT_EQ(0, chanfd_channel_pair(fd, 8, 0, 0, ""));
	sender = holder_of(fd[1]);
	receiver = party_recv(false, fd[0]);
	ASSERT_TRUE(receivers_wait(fd[0], 1));
	party_kill(sender);
	EXPECT_EQ(ECONNRESET, errno_of(party_join(receiver)));
}

/* A select leaves all queues when its process dies. */
static long run_select_three(struct party *me)
{
	int *ch = me->arg;
	uint64_t value = 5;

	return chanfd_select_of(NULL, NULL, CHANFD_RECV(ch[0], &value),
				CHANFD_SEND(ch[1], &value), CHANFD_RECV(ch[2], &value));
}

TEST(kill_selector)
{
	int *ch = shared(3 * sizeof(*ch));
	struct party *p;
	int i, round;

	for (i = 0; i < 3; i++) {
		ch[i] = chanfd_channel(8, 0, 0, "");
		ASSERT_LE(0, ch[i]);
	}
	for (round = 0; round < 10; round++) {
		p = party_new(true, run_select_three, -1);
		p->arg = ch;
		party_start(p);
		ASSERT_TRUE(receivers_wait(ch[2], 1));
		EXPECT_EQ(1, info_of(ch[0]).waiting_receivers);
		EXPECT_EQ(1, info_of(ch[1]).waiting_senders);
		party_kill(p);
		EXPECT_EQ(0, info_of(ch[0]).waiting_receivers);
		EXPECT_EQ(0, info_of(ch[1]).waiting_senders);
		EXPECT_EQ(0, info_of(ch[2]).waiting_receivers);
		EXPECT_EQ(0, info_of(ch[0]).sent + info_of(ch[1]).sent);
	}
}

/* tZ7: where the message should go is gone when it comes. */

static long run_recv_into(struct party *me)
{
	return chanfd_recv(me->fd, me->arg, 8, NULL, NULL);
}

TEST_F(victim, recv_into_unmapped)
{
	struct party *receiver;
	uint64_t value;
	void *buf;

	receiver = party_new(false, run_recv_into, self->ch);
	buf = shared(getpagesize());
	receiver->arg = buf;
	party_start(receiver);
	ASSERT_TRUE(receivers_wait(self->ch, 1));
	ASSERT_EQ(0, munmap(buf, getpagesize()));
	ASSERT_EQ(0, chanfd_put(self->ch, (uint64_t)9, NULL));
	EXPECT_EQ(EFAULT, errno_of(party_join(receiver)));
	EXPECT_EQ(1, info_of(self->ch).returned);
	EXPECT_EQ(0, info_of(self->ch).received);
	EXPECT_EQ(1, info_of(self->ch).len);
	EXPECT_EQ(1, chanfd_get(self->ch, &value, NULL));
	EXPECT_EQ(9, value);
	EXPECT_EQ(1, info_of(self->ch).sent);
	EXPECT_EQ(1, info_of(self->ch).received);
}

/* The same from outside: the file under another process's memory is cut off. */
TEST_F(victim, recv_into_truncated)
{
	struct party *receiver, *sender;
	uint64_t value;
	void *buf;
	int fd;

	fd = memfd_create("buffer", MFD_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, getpagesize()));
	buf = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, buf);
	receiver = party_new(true, run_recv_into, self->ch);
	receiver->arg = buf;
	party_start(receiver);
	ASSERT_TRUE(receivers_wait(self->ch, 1));
	ASSERT_EQ(0, ftruncate(fd, 0));
	sender = party_send(true, self->ch, 9);
	EXPECT_EQ(0, party_join(sender));
	EXPECT_EQ(EFAULT, errno_of(party_join(receiver)));
	EXPECT_EQ(1, info_of(self->ch).len);
	EXPECT_EQ(1, chanfd_get(self->ch, &value, NULL));
	EXPECT_EQ(9, value);
}

/*
 * It is the first again, before what was sent after it. With one processor for
 * both, and the test before the receiver, that is there when it comes back.
 */
static void return_to_front(struct __test_metadata *_metadata, int ch)
{
	struct sched_param first = { .sched_priority = 1 }, normal = { 0 };
	struct party *receiver;
	uint64_t value, i;
	cpu_set_t one;
	int round;
	void *buf;

	ASSERT_LE(0, ch);
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(one), &one));
	for (round = 0; round < 20; round++) {
		receiver = party_new(false, run_recv_into, ch);
		buf = shared(getpagesize());
		receiver->arg = buf;
		party_start(receiver);
		ASSERT_TRUE(receivers_wait(ch, 1));
		ASSERT_EQ(0, munmap(buf, getpagesize()));
		if (sched_setscheduler(0, SCHED_FIFO, &first))
			TH_LOG("no priority: %s", strerror(errno));
		for (i = 1; i <= 3; i++)
			ASSERT_EQ(0, chanfd_put(ch, i, NULL));
		ASSERT_EQ(0, sched_setscheduler(0, SCHED_OTHER, &normal));
		EXPECT_EQ(EFAULT, errno_of(party_join(receiver)));
		EXPECT_EQ(3, info_of(ch).len);
		for (i = 1; i <= 3; i++) {
			EXPECT_EQ(1, chanfd_get(ch, &value, NULL));
			EXPECT_EQ(i, value);
		}
	}
}

TEST(returned_to_the_front)
{
	return_to_front(_metadata, chanfd_channel(8, 3, 0, "slots"));
}

TEST(returned_to_the_front_of_boxes)
{
	return_to_front(_metadata, chanfd_channel(8, 3, CHANFD_VARIABLE, "boxes"));
}

/* Another receiver is waiting: it gets what the first could not take. */
TEST_F(victim, returned_to_the_next)
{
	struct party *bad, *good;
	void *buf;

	bad = party_new(false, run_recv_into, self->ch);
	buf = shared(getpagesize());
	bad->arg = buf;
	party_start(bad);
	ASSERT_TRUE(receivers_wait(self->ch, 1));
	good = party_recv(true, self->ch);
	ASSERT_TRUE(receivers_wait(self->ch, 2));
	ASSERT_EQ(0, munmap(buf, getpagesize()));
	ASSERT_EQ(0, chanfd_put(self->ch, (uint64_t)3, NULL));
	EXPECT_EQ(EFAULT, errno_of(party_join(bad)));
	EXPECT_EQ(1, party_join(good));
	EXPECT_EQ(3, good->value);
	EXPECT_EQ(0, info_of(self->ch).len);
}

/* Members of a waitgroup that are killed while they finish. */

static unsigned int tokens_of(int wg)
{
	struct chanfd_waitgroup_info info;

	if (chanfd_waitgroup_info(wg, &info))
		err(1, "chanfd_waitgroup_info");
	return info.tokens;
}

struct member {
	atomic_bool begun, acked;
	bool idle;		/* never gets to its end */
	int token;
};

static long run_finish(struct party *me)
{
	struct member *m = me->arg;
	unsigned int mine = me->value;

	if (m->idle)
		return pause();
	spin_for(rand_r(&mine) % MSEC);
	m->begun = true;
	if (chanfd_token_done(m->token, 0))
		return -1;
	m->acked = true;
	return pause();
}

TEST(kill_members)
{
	struct member *member = shared(6 * sizeof(*member));
	unsigned int broken, least, most, all = 0;
	struct chanfd_round round;
	struct party *p[6];
	int wg, i, k;

	TH_LOG("CHANFD_SEED=%u", choose_seed());
	wg = chanfd_waitgroup(0, "");
	ASSERT_LE(0, wg);
	for (k = 0; k < 25; k++) {
		memset(member, 0, 6 * sizeof(*member));
		ASSERT_EQ(0, chanfd_wg_add(wg, 1));
		member[0].idle = k % 5 == 0;
		for (i = 0; i < 6; i++) {
			member[i].token = chanfd_wg_token(wg, 0);
			ASSERT_LE(0, member[i].token);
			p[i] = party_new(true, run_finish, -1);
			p[i]->arg = &member[i];
			p[i]->value = below(INT_MAX);
			party_start(p[i]);
			close(member[i].token);
		}
		ASSERT_EQ(0, chanfd_wg_done(wg));
		spin_for(below(2 * MSEC));
		least = 0;
		most = 0;
		for (i = 0; i < 6; i++) {
			if (below(2) || k % 5 == 0) {
				party_kill(p[i]);
				least += !member[i].begun;
				most += !member[i].acked;
			}
		}
		broken = chanfd_wg_wait(wg, NULL, &round) ? round.broken : 0;
		EXPECT_LE(least, broken);
		EXPECT_GE(most, broken);
		EXPECT_EQ(broken, round.broken);
		all += broken;
		for (i = 0; i < 6; i++)
			if (!p[i]->joined)
				party_kill(p[i]);
		EXPECT_EQ(0, tokens_of(wg));
	}
	EXPECT_LE(5, all);
}

/* A canceller that is killed, before, after or while it cancels. */
static long run_cancel_soon(struct party *me)
{
	struct member *m = me->arg;
	unsigned int mine = me->value;

	spin_for(rand_r(&mine) % MSEC);
	m->begun = true;
	if (chanfd_cancel(me->fd, EIO, NULL))
		return -1;
	m->acked = true;
	return pause();
}

static long run_context_wait(struct party *me)
{
	return chanfd_context_wait(me->fd, NULL);
}

TEST(kill_cancellers)
{
	struct member *m = shared(sizeof(*m));
	struct chanfd_context_info info;
	struct party *p, *waiter;
	int fd[2], child, k;

	TH_LOG("CHANFD_SEED=%u", choose_seed());
	for (k = 0; k < 60; k++) {
		memset(m, 0, sizeof(*m));
		ASSERT_EQ(0, chanfd_context_pair(fd, -1));
		child = chanfd_context(fd[0]);
		ASSERT_LE(0, child);
		p = party_new(true, run_cancel_soon, fd[1]);
		p->arg = m;
		p->value = below(INT_MAX);
		party_start(p);
		close(fd[1]);
		waiter = party_start(party_new(false, run_context_wait, child));
		spin_for(below(2 * MSEC));
		party_kill(p);
		EXPECT_EQ(0, party_join(waiter));
		ASSERT_EQ(0, chanfd_context_info(child, &info));
		EXPECT_EQ(ECANCELED, info.error);
		if (m->acked) {
			EXPECT_EQ(EIO, info.cause);
		} else if (!m->begun) {
			EXPECT_EQ(EOWNERDEAD, info.cause);
		} else {
			EXPECT_TRUE(info.cause == EIO || info.cause == EOWNERDEAD);
		}
		close(child);
		close(fd[0]);
	}
}

TEST_HARNESS_MAIN
