// SPDX-License-Identifier: GPL-2.0
/*
 * Channels: what Go promises inside one process, between threads and between
 * processes, and what happens to signals, deadlines and contexts.
 *
 * Messages are 64-bit numbers where nothing else is said.
 */
#include "numbers.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>

static const unsigned int capacities[] = { 0, 1, 2, 7, 199 };

#define for_each_capacity(i, cap) \
	for (i = 0; i < ARRAY_SIZE(capacities) && (cap = capacities[i], 1); i++)

FIXTURE(chan) {
};

FIXTURE_VARIANT(chan) {
	bool process;
};

FIXTURE_VARIANT_ADD(chan, threads) {
	.process = false,
};

FIXTURE_VARIANT_ADD(chan, processes) {
	.process = true,
};

FIXTURE_SETUP(chan)
{
}

FIXTURE_TEARDOWN(chan)
{
}

/* Sending and receiving. */

TEST_F(chan, recv_empty_blocks)
{
	struct party *first, *second;
	uint64_t v;
	unsigned int c, cap;
	int ch;

	for_each_capacity(c, cap) {
		ch = make(cap);
		first = party_recv(variant->process, ch);
		ASSERT_TRUE(receivers_wait(ch, 1));
		second = party_recv(variant->process, ch);
		ASSERT_TRUE(receivers_wait(ch, 2));
		EXPECT_TRUE(stays_blocked(first));
		EXPECT_TRUE(stays_blocked(second));
		EXPECT_EQ(EAGAIN, errno_of(try_get(ch, &v)));
		EXPECT_EQ(EAGAIN, errno_of(try_get(ch, &v)));
		EXPECT_EQ(POISON64, v);

		EXPECT_EQ(0, put(ch, 1));
		EXPECT_EQ(0, put(ch, 2));
		EXPECT_EQ(1, party_join(first));
		EXPECT_EQ(1, party_join(second));
		EXPECT_EQ(1, first->value);
		EXPECT_EQ(2, second->value);
		close(ch);
	}
}

TEST_F(chan, send_full_blocks)
{
	struct party *p;
	uint64_t i, v;
	unsigned int c, cap;
	int ch;

	for_each_capacity(c, cap) {
		ch = make(cap);
		ASSERT_EQ(0, count_up(ch, cap));
		p = party_send(variant->process, ch, cap);
		ASSERT_TRUE(senders_wait(ch, 1));
		EXPECT_TRUE(stays_blocked(p));
		EXPECT_EQ(EAGAIN, errno_of(try_put(ch, 77)));

		for (i = 0; i <= cap; i++) {
			EXPECT_EQ(1, get(ch, &v));
			EXPECT_EQ(i, v);
			EXPECT_EQ(0, party_join(p));
		}
		EXPECT_EQ(EAGAIN, errno_of(try_get(ch, &v)));
		close(ch);
	}
}

TEST_F(chan, closed_drain_then_eof)
{
	struct party *p;
	uint64_t i, v;
	unsigned int c, cap;
	int ch;

	for_each_capacity(c, cap) {
		ch = make(cap);
		p = party_new(variant->process, run_count, ch);
		p->value = cap;
		EXPECT_EQ(0, party_join(party_start(p)));
		EXPECT_EQ(0, chanfd_close(ch, 0));
		for (i = 0; i < cap; i++) {
			EXPECT_EQ(1, get(ch, &v));
			EXPECT_EQ(i, v);
		}
		for (i = 0; i < 2; i++) {
			EXPECT_EQ(0, get(ch, &v));
			EXPECT_EQ(0, try_get(ch, &v));
			p = party_recv(variant->process, ch);
			EXPECT_EQ(0, party_join(p));
		}
		close(ch);
	}
}

TEST_F(chan, close_unblocks_recv)
{
	struct party *p;
	unsigned int c, cap;
	int ch;

	for_each_capacity(c, cap) {
		ch = make(cap);
		p = party_recv(variant->process, ch);
		ASSERT_TRUE(receivers_wait(ch, 1));
		EXPECT_EQ(0, chanfd_close(ch, 0));
		EXPECT_EQ(0, party_join(p));
		close(ch);
	}
}

TEST_F(chan, fifo_1p1c)
{
	struct chanfd_received r;
	struct party *p;
	uint64_t i, v;
	unsigned int c, cap;
	int ch;

	for_each_capacity(c, cap) {
		ch = make(cap);
		p = party_new(variant->process, run_count, ch);
		p->value = 100;
		party_start(p);
		for (i = 0; i < 100; i += 2) {
			EXPECT_EQ(1, get(ch, &v));
			EXPECT_EQ(i, v);
			poison(&r);
			EXPECT_EQ(1, chanfd_recv(ch, &v,
						 sizeof(v), NULL, &r));
			EXPECT_EQ(i + 1, v);
			EXPECT_EQ(i + 1, r.seq);
			EXPECT_EQ(sizeof(v), r.size);
		}
		EXPECT_EQ(0, party_join(p));
		close(ch);
	}
}

TEST_F(chan, async_fifo)
{
	struct party *p;
	uint64_t i, v;
	int ch;

	ch = make(10);
	p = party_new(variant->process, run_count, ch);
	p->value = 10;
	/* Nobody receives until all were sent. */
	EXPECT_EQ(0, party_join(party_start(p)));
	for (i = 0; i < 10; i++) {
		EXPECT_EQ(1, get(ch, &v));
		EXPECT_EQ(i, v);
	}
}

/* Waits until the previous one has received, receives, lets the next one. */
struct daisy {
	int ch;
	int before;
	int after;
};

static long run_daisy(struct party *me)
{
	struct daisy *d = me->arg;
	uint64_t go;

	if (get(d->before, &go) != 1)
		return -1;
	if (get(d->ch, &me->value) != 1)
		return -1;
	return put(d->after, 1);
}

TEST_F(chan, sync_fifo_daisy)
{
	enum { N = 10 };
	struct party *p[N];
	struct daisy *d = shared(N * sizeof(*d));
	int before = make(0);
	int first = before;
	uint64_t i, v;
	int ch;

	ch = make(0);
	for (i = 0; i < N; i++) {
		d[i] = (struct daisy){ ch, before, make(0) };
		before = d[i].after;
		p[i] = party_new(variant->process, run_daisy, -1);
		p[i]->arg = &d[i];
		party_start(p[i]);
	}
	EXPECT_EQ(0, put(first, 1));
	EXPECT_EQ(0, count_up(ch, N));
	EXPECT_EQ(1, get(before, &v));
	for (i = 0; i < N; i++) {
		EXPECT_EQ(0, party_join(p[i]));
		EXPECT_EQ(i, p[i]->value);
	}
}

TEST_F(chan, len_cap)
{
	struct chanfd_channel_info info;
	struct party *p;
	uint64_t i, v;
	unsigned int c, cap;
	int ch;

	for_each_capacity(c, cap) {
		ch = make(cap);
		for (i = 0; i < cap; i++) {
			EXPECT_EQ(i, info_of(ch).len);
			EXPECT_EQ(cap, info_of(ch).capacity);
			EXPECT_EQ(0, put(ch, i));
		}
		p = party_send(variant->process, ch, cap);
		ASSERT_TRUE(senders_wait(ch, 1));
		/* A message that waits with its sender is not in the buffer. */
		info = info_of(ch);
		EXPECT_EQ(cap, info.len);
		EXPECT_EQ(cap, info.capacity);
		EXPECT_EQ(1, get(ch, &v));
		EXPECT_EQ(0, party_join(p));
		EXPECT_EQ(cap, info_of(ch).len);

		/* A close changes neither. */
		EXPECT_EQ(0, chanfd_close(ch, 0));
		EXPECT_EQ(cap, info_of(ch).len);
		EXPECT_EQ(cap, info_of(ch).capacity);
		close(ch);
	}
}

TEST(create_limits)
{
	static const struct {
		unsigned int elem, cap, flags;
		int error;
	} rows[] = {
		{ 0, 0, 0, 0 },
		{ 1, CHANFD_MAX_CAPACITY, 0, 0 },
		{ CHANFD_MAX_MESSAGE, 0, 0, 0 },
		{ CHANFD_MAX_MESSAGE, 1, CHANFD_VARIABLE, 0 },
		{ CHANFD_MAX_MESSAGE + 1, 0, 0, EINVAL },
		{ UINT32_MAX, 0, 0, EINVAL },
		{ 8, CHANFD_MAX_CAPACITY + 1, 0, EINVAL },
		{ 8, UINT32_MAX, 0, EINVAL },
		{ UINT32_MAX, UINT32_MAX, 0, EINVAL },
		{ 0, 1, CHANFD_VARIABLE, EINVAL },
		{ CHANFD_MAX_MESSAGE + 1, 1, CHANFD_VARIABLE, EINVAL },
	};
	int device = chanfd_device();
	long open_before;
	unsigned int i;

	ASSERT_LE(0, device);
	open_before = handles_open();
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct chanfd_channel c = {
			.flags = rows[i].flags,
			.elem_size = rows[i].elem,
			.capacity = rows[i].cap,
			.fd = { -7, -7 },
		};

		EXPECT_EQ(rows[i].error,
			  errno_of(ioctl(device, CHANFD_IOC_CHANNEL, &c))) {
			TH_LOG("row %u", i);
		}
		if (rows[i].error) {
			EXPECT_EQ(-7, c.fd[0]);
			EXPECT_EQ(-7, c.fd[1]);
		} else {
			EXPECT_EQ(-1, c.fd[1]);
			EXPECT_EQ(0, close(c.fd[0]));
		}
	}
	EXPECT_EQ(open_before, handles_open());
}

TEST_F(chan, zero_size_elem)
{
	struct chanfd_transfer t;
	struct party *p;
	unsigned int cap;
	int ch;

	for (cap = 0; cap < 2; cap++) {
		ch = chanfd_channel(0, cap, 0, "tokens");
		ASSERT_LE(0, ch);
		p = party_new(variant->process, run_recv, ch);
		party_start(p);
		ASSERT_TRUE(receivers_wait(ch, 1));
		EXPECT_EQ(0, chanfd_send(ch, NULL, 0, NULL));
		/* A token is not the end, though both have no bytes. */
		EXPECT_EQ(1, party_join(p));
		EXPECT_EQ(POISON64, p->value);
		if (cap) {
			EXPECT_EQ(0, chanfd_send(ch, NULL, 0, NULL));
			EXPECT_EQ(1, info_of(ch).len);
		}
		EXPECT_EQ(EAGAIN, errno_of(chanfd_send(ch, NULL, 0,
						       &nonblock)));
		EXPECT_EQ(EMSGSIZE, errno_of(chanfd_send(ch, "x", 1,
							 &nonblock)));
		EXPECT_EQ(0, chanfd_close(ch, 0));
		if (cap) {
			EXPECT_EQ(1, chanfd_recv(ch, NULL, 0, NULL, NULL));
		}
		EXPECT_EQ(0, chanfd_recv(ch, NULL, 0, NULL, NULL));
		EXPECT_EQ(0, transfer(ch, CHANFD_IOC_RECV, &t, NULL, 0, 1));
		close(ch);
	}
}

TEST_F(chan, no_barging)
{
	struct party *p;
	uint64_t i, v;
	unsigned int cap;
	int ch;

	for (cap = 0; cap < 2; cap++) {
		ch = make(cap);
		for (i = 0; i < 30; i++) {
			p = party_recv(variant->process, ch);
			ASSERT_TRUE(receivers_wait(ch, 1));
			EXPECT_EQ(0, put(ch, i));
			EXPECT_EQ(EAGAIN, errno_of(try_get(ch, &v)));
			EXPECT_EQ(1, party_join(p));
			EXPECT_EQ(i, p->value);
		}
		/* Nor does a newcomer's message go before a blocked one. */
		EXPECT_EQ(0, count_up(ch, cap));
		p = party_send(variant->process, ch, 100);
		ASSERT_TRUE(senders_wait(ch, 1));
		for (i = 0; i < cap; i++) {
			EXPECT_EQ(1, get(ch, &v));
		}
		if (cap) {
			EXPECT_EQ(EAGAIN, errno_of(try_put(ch, 200)));
		}
		EXPECT_EQ(1, get(ch, &v));
		EXPECT_EQ(100, v);
		EXPECT_EQ(0, party_join(p));
		close(ch);
	}
}

TEST_F(chan, blocked_receivers_are_served_in_order)
{
	enum { N = 8 };
	struct party *p[N];
	uint64_t i;
	unsigned int cap;
	int ch;

	for (cap = 0; cap < 2; cap++) {
		ch = make(cap);
		for (i = 0; i < N; i++) {
			p[i] = party_recv(variant->process, ch);
			ASSERT_TRUE(receivers_wait(ch, i + 1));
		}
		EXPECT_EQ(0, count_up(ch, N));
		for (i = 0; i < N; i++) {
			EXPECT_EQ(1, party_join(p[i]));
			EXPECT_EQ(i, p[i]->value);
			EXPECT_EQ(i, p[i]->seq);
		}
		close(ch);
	}
}

TEST_F(chan, blocked_senders_are_served_in_order)
{
	enum { N = 8 };
	struct party *p[N];
	uint64_t i, v;
	unsigned int cap;
	int ch;

	for (cap = 0; cap < 3; cap++) {
		ch = make(cap);
		ASSERT_EQ(0, count_up(ch, cap));
		for (i = 0; i < N; i++) {
			p[i] = party_send(variant->process, ch, cap + i);
			ASSERT_TRUE(senders_wait(ch, i + 1));
		}
		for (i = 0; i < cap + N; i++) {
			EXPECT_EQ(1, get(ch, &v));
			EXPECT_EQ(i, v);
		}
		EXPECT_EQ(0, join_all(p, N));
		close(ch);
	}
}

TEST_F(chan, nonblock_async)
{
	uint64_t v;
	int ch;

	ch = make(1);
	EXPECT_EQ(EAGAIN, errno_of(try_get(ch, &v)));
	EXPECT_EQ(0, party_join(party_send(variant->process, ch, 5)));
	EXPECT_EQ(EAGAIN, errno_of(try_put(ch, 6)));
	EXPECT_EQ(1, try_get(ch, &v));
	EXPECT_EQ(5, v);
	EXPECT_EQ(EAGAIN, errno_of(try_get(ch, &v)));
	EXPECT_EQ(0, chanfd_close(ch, 0));
	EXPECT_EQ(0, try_get(ch, &v));
	EXPECT_EQ(EPIPE, errno_of(try_put(ch, 7)));
}

TEST(nonblock_by_handle)
{
	uint64_t v = 1;
	int ch = chanfd_channel(sizeof(v), 1, CHANFD_NONBLOCK, NULL);

	ASSERT_LE(0, ch);
	EXPECT_EQ(EAGAIN, errno_of(get(ch, &v)));
	EXPECT_EQ(EAGAIN, errno_of(read(ch, &v, sizeof(v))));
	EXPECT_EQ(0, put(ch, 1));
	EXPECT_EQ(EAGAIN, errno_of(put(ch, 2)));
	EXPECT_EQ(EAGAIN, errno_of(write(ch, &v, sizeof(v))));
	EXPECT_EQ(O_NONBLOCK, fcntl(ch, F_GETFL) & O_NONBLOCK);
	/* As with any file, fcntl(2) changes it. */
	EXPECT_EQ(0, fcntl(ch, F_SETFL, 0));
	EXPECT_EQ(1, get(ch, &v));
	EXPECT_EQ(1, v);
}

/* Closing. */

/* One case, alone or between two that are switched off. */
static int select_one(struct chanfd_case c, bool padded, int *ok)
{
	struct chanfd_case cases[3] = { CHANFD_RECV(-1), c, CHANFD_SEND(-1) };
	struct chanfd_outcome out;
	int index;

	poison(&out);
	if (padded)
		index = chanfd_select(cases, 3, NULL, &out) - 1;
	else
		index = chanfd_select(&c, 1, NULL, &out);
	*ok = out.ok;
	if (index)
		return -ENOTRECOVERABLE;
	return -out.error;
}

TEST(closed_matrix)
{
	unsigned int cap, form, n;
	uint64_t v, seven = 7;
	int ch, ok;

	for (cap = 0; cap <= 2; cap += 2) {
		ch = make(cap);
		if (cap) {
			ASSERT_EQ(0, put(ch, 42));
		}
		ASSERT_EQ(0, chanfd_close(ch, 0));

		/* Failed sends and closes change nothing. */
		for (form = 0; form < 3; form++) {
			n = info_of(ch).len;
			if (!form) {
				EXPECT_EQ(EPIPE, errno_of(put(ch, 7)));
				EXPECT_EQ(EPIPE, errno_of(try_put(ch, 7)));
				EXPECT_EQ(EPIPE, errno_of(write(ch, &seven, 8)));
			} else {
				EXPECT_EQ(-EPIPE,
					  select_one(CHANFD_SEND(ch, &seven),
						     form == 2, &ok));
			}
			EXPECT_EQ(EPIPE, errno_of(chanfd_close(ch, 0)));
			EXPECT_EQ(n, info_of(ch).len);
		}
		for (form = 0; form < 3; form++) {
			if (cap && !form) {
				EXPECT_EQ(1, get(ch, &v));
				EXPECT_EQ(42, v);
			}
			EXPECT_EQ(0, get(ch, &v));
			EXPECT_EQ(0, try_get(ch, &v));
			EXPECT_EQ(0, read(ch, &v, sizeof(v)));
			EXPECT_EQ(0, select_one(CHANFD_RECV(ch, &v), form == 2,
						&ok));
			EXPECT_EQ(0, ok);
		}
		close(ch);
	}
}

static long run_select_recv(struct party *me)
{
	int ok, error;

	error = select_one(CHANFD_RECV(me->fd, &me->value), true, &ok);
	if (error) {
		errno = -error;
		return -1;
	}
	return ok;
}

TEST_F(chan, close_wakes_all)
{
	enum { N = 100 };
	struct party *p[N];
	uint64_t i;
	int ch;

	ch = make(0);
	for (i = 0; i < N; i++)
		p[i] = party_start(party_new(variant->process, i % 2 ?
					     run_recv : run_select_recv, ch));
	ASSERT_TRUE(receivers_wait(ch, N));
	EXPECT_EQ(0, chanfd_close(ch, 0));
	EXPECT_EQ(0, join_all(p, N));
	EXPECT_EQ(0, info_of(ch).waiting_receivers);
}

TEST_F(chan, close_fails_blocked_senders)
{
	enum { CAP = 2, N = 3 };
	struct party *p[N];
	uint64_t i, v;
	int ch;

	ch = make(CAP);
	ASSERT_EQ(0, count_up(ch, CAP));
	for (i = 0; i < N; i++)
		p[i] = party_send(variant->process, ch, 100);
	ASSERT_TRUE(senders_wait(ch, N));
	EXPECT_EQ(0, chanfd_close(ch, 0));
	for (i = 0; i < N; i++) {
		EXPECT_EQ(EPIPE, errno_of(party_join(p[i])));
	}
	for (i = 0; i < CAP; i++) {
		EXPECT_EQ(1, get(ch, &v));
		EXPECT_EQ(i, v);
	}
	EXPECT_EQ(0, get(ch, &v));
	EXPECT_EQ(CAP, info_of(ch).sent);
}

static long run_close(struct party *me)
{
	return chanfd_close_once(me->fd, 0);
}

TEST_F(chan, double_close)
{
	enum { N = 8 };
	struct party *p[N];
	int won = 0;
	uint64_t i, v;
	int ch;

	ch = make(1);
	EXPECT_EQ(0, put(ch, 3));
	for (i = 0; i < N; i++)
		p[i] = party_start(party_new(variant->process, run_close, ch));
	for (i = 0; i < N; i++)
		won += party_join(p[i]);
	EXPECT_EQ(1, won);
	EXPECT_EQ(EPIPE, errno_of(chanfd_close(ch, 0)));
	/* The first cause stays. */
	EXPECT_EQ(EPIPE, errno_of(chanfd_close(ch, EIO)));
	EXPECT_EQ(0, info_of(ch).cause);
	EXPECT_EQ(1, info_of(ch).len);
	EXPECT_EQ(1, get(ch, &v));
	EXPECT_EQ(3, v);
	EXPECT_EQ(0, get(ch, &v));
	EXPECT_EQ(EBADF, errno_of(chanfd_close(-1, 0)));
	EXPECT_EQ(EBADF, errno_of(put(-1, 1)));
	EXPECT_EQ(EBADF, errno_of(get(-1, &v)));
}

/*
 * The close is one instant for all: who sees it finds no message that waits with its
 * sender, and none of those comes to be sent after all.
 */
TEST_F(chan, close_fails_all_senders_at_once)
{
	enum { N = 100, BEFORE = 5, ROUNDS = 5 };
	struct party *p[N], *closer;
	int ch, round, i, sent;
	uint64_t v;

	for (round = 0; round < ROUNDS; round++) {
		ch = make(0);
		for (i = 0; i < N; i++)
			p[i] = party_send(variant->process, ch, i);
		ASSERT_TRUE(senders_wait(ch, N));
		for (i = 0; i < BEFORE; i++) {
			ASSERT_EQ(1, get(ch, &v));
		}
		closer = party_start(party_new(variant->process, run_close, ch));
		while (!(info_of(ch).state & CHANFD_CLOSED))
			;
		EXPECT_EQ(0, try_get(ch, &v));
		EXPECT_EQ(1, party_join(closer));
		for (i = 0, sent = 0; i < N; i++) {
			if (party_join(p[i])) {
				EXPECT_EQ(EPIPE, p[i]->error);
			} else {
				sent++;
			}
		}
		EXPECT_EQ(BEFORE, sent);
		EXPECT_EQ(BEFORE, info_of(ch).received);
		EXPECT_EQ(0, get(ch, &v));
		close(ch);
	}
}

TEST_F(chan, close_with_cause)
{
	struct party *p;
	uint64_t i, v;
	unsigned int c, cap;
	int ch;

	for_each_capacity(c, cap) {
		ch = make(cap);
		ASSERT_EQ(0, count_up(ch, cap));
		EXPECT_EQ(0, chanfd_close(ch, ENOSPC));
		for (i = 0; i < cap; i++) {
			EXPECT_EQ(1, get(ch, &v));
			EXPECT_EQ(i, v);
		}
		for (i = 0; i < 2; i++) {
			p = party_recv(variant->process, ch);
			EXPECT_EQ(ENOSPC, errno_of(party_join(p)));
			EXPECT_EQ(ENOSPC, errno_of(try_get(ch, &v)));
			EXPECT_EQ(ENOSPC, errno_of(read(ch, &v, 8)));
		}
		EXPECT_EQ(EPIPE, errno_of(put(ch, 1)));
		EXPECT_EQ(CHANFD_CLOSED, info_of(ch).state);
		EXPECT_EQ(ENOSPC, info_of(ch).cause);
		close(ch);
	}

	ch = make(0);
	p = party_recv(variant->process, ch);
	ASSERT_TRUE(receivers_wait(ch, 1));
	EXPECT_EQ(0, chanfd_close(ch, ENOSPC));
	EXPECT_EQ(ENOSPC, errno_of(party_join(p)));
}

/* From 512 on a number means something to the kernel's own read and write. */
TEST(largest_cause)
{
	static const int too_large[] = { 512, 513, 529, 530, 4095 };
	struct chanfd_transfer t;
	struct iovec iov[2];
	unsigned int i;
	uint64_t v[2];
	int ch = make(1);

	ASSERT_EQ(0, put(ch, 4));
	for (i = 0; i < ARRAY_SIZE(too_large); i++) {
		EXPECT_EQ(EINVAL, errno_of(chanfd_close(ch, too_large[i])));
		EXPECT_EQ(0, info_of(ch).state);
	}
	EXPECT_EQ(1, get(ch, v));
	EXPECT_EQ(0, put(ch, 5));

	EXPECT_EQ(0, chanfd_close(ch, 511));
	EXPECT_EQ(511, info_of(ch).cause);
	EXPECT_EQ(1, get(ch, v));
	EXPECT_EQ(5, v[0]);
	iov[0] = (struct iovec){ &v[0], sizeof(v[0]) };
	iov[1] = (struct iovec){ &v[1], sizeof(v[1]) };
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(511, errno_of(read(ch, v, sizeof(v[0]))));
		EXPECT_EQ(511, errno_of(read(ch, v, sizeof(v))));
		EXPECT_EQ(511, errno_of(readv(ch, iov, 1)));
		EXPECT_EQ(511, errno_of(readv(ch, iov, 2)));
		EXPECT_EQ(511, errno_of(transfer(ch, CHANFD_IOC_RECV, &t, v, 16, 2)));
	}
}

static long run_letters(struct party *me)
{
	uint64_t c;

	for (c = 'a'; c <= 'z'; c++)
		if (put(me->fd, c))
			return -1;
	return chanfd_close(me->fd, 0);
}

TEST_F(chan, range_until_close)
{
	struct party *p;
	uint64_t i, v;
	unsigned int c, cap;
	int ch;

	for_each_capacity(c, cap) {
		ch = make(cap);
		p = party_start(party_new(variant->process, run_letters,
					  ch));
		i = 'a';
		while (get(ch, &v) == 1) {
			EXPECT_EQ(i++, v);
		}
		EXPECT_EQ('z' + 1, i);
		EXPECT_EQ(0, party_join(p));
		close(ch);
	}
}

/* Many parties on one channel. */

struct pipeline {
	int in;
	int out;
	atomic_int working;
};

static long run_worker(struct party *me)
{
	struct pipeline *l = me->arg;
	uint64_t v;

	while (get(l->in, &v) == 1) {
		if (v % 7 == 0)
			sched_yield();
		if (put(l->out, v))
			return -1;
		me->value++;
	}
	if (atomic_fetch_sub(&l->working, 1) == 1)
		return chanfd_close(l->out, 0);
	return 0;
}

static long run_feeder(struct party *me)
{
	return run_count(me) ? -1 : chanfd_close(me->fd, 0);
}

TEST_F(chan, multi_consumer)
{
	enum { WORKERS = 23, ITEMS = 10000, CAP = 69 };
	struct pipeline *l = shared(sizeof(*l));
	struct party *p[WORKERS], *feeder;
	uint64_t sum = 0, count = 0;
	uint64_t i, v;

	l->in = make(CAP);
	l->out = make(CAP);
	l->working = WORKERS;
	for (i = 0; i < WORKERS; i++) {
		p[i] = party_new(variant->process, run_worker, -1);
		p[i]->arg = l;
		party_start(p[i]);
	}
	feeder = party_new(variant->process, run_feeder, l->in);
	feeder->value = ITEMS;
	party_start(feeder);
	while (get(l->out, &v) == 1) {
		sum += v;
		count++;
	}
	EXPECT_EQ(ITEMS, count);
	EXPECT_EQ((uint64_t)ITEMS * (ITEMS - 1) / 2, sum);
	EXPECT_EQ(0, party_join(feeder));
	EXPECT_EQ(0, join_all(p, WORKERS));
}

/* Passes a prime on, and everything that it does not divide. */
struct filter {
	int in;
	int out;
	uint64_t prime;
};

static long run_filter(struct party *me)
{
	struct filter *f = me->arg;
	uint64_t v;

	while (get(f->in, &v) == 1)
		if (v % f->prime && put(f->out, v))
			break;
	/* The one before may wait for us forever: nobody needs more of it. */
	chanfd_close_once(f->in, 0);
	chanfd_close_once(f->out, 0);
	return 0;
}

static long run_integers(struct party *me)
{
	uint64_t v;

	for (v = 2; !put(me->fd, v); v++)
		;
	return errno == EPIPE ? 0 : -1;
}

static const unsigned int primes[] = {
	2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67,
	71, 73, 79, 83, 89, 97,
};

TEST_F(chan, sieve1)
{
	struct filter *f = shared(ARRAY_SIZE(primes) * sizeof(*f));
	struct party *p[ARRAY_SIZE(primes) + 1];
	unsigned int i;
	uint64_t v;
	int ch;

	ch = make(0);
	p[0] = party_start(party_new(variant->process, run_integers, ch));
	for (i = 0; i < ARRAY_SIZE(primes); i++) {
		ASSERT_EQ(1, get(ch, &v));
		EXPECT_EQ(primes[i], v);
		f[i] = (struct filter){ ch, make(0), v };
		p[i + 1] = party_new(variant->process, run_filter, -1);
		p[i + 1]->arg = &f[i];
		party_start(p[i + 1]);
		ch = f[i].out;
	}
	EXPECT_EQ(0, chanfd_close(ch, 0));
	EXPECT_EQ(0, join_all(p, ARRAY_SIZE(p)));
}

/* Adds one to what it gets from the right, and hands it to the left. */
static long run_link(struct party *me)
{
	struct daisy *d = me->arg;
	uint64_t v;

	if (get(d->before, &v) != 1)
		return -1;
	return put(d->after, v + 1);
}

TEST_F(chan, long_chain)
{
	enum { MOST = 400 };
	unsigned int n = variant->process ? 100 : MOST;
	struct rlimit files = { 4 * MOST, 4 * MOST };
	struct daisy *d = shared(MOST * sizeof(*d));
	static struct party *p[MOST];
	int first = make(0), left = first;
	uint64_t i, v;

	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &files));
	for (i = 0; i < n; i++) {
		d[i] = (struct daisy){ -1, make(0), left };
		left = d[i].before;
		p[i] = party_new(variant->process, run_link, -1);
		p[i]->arg = &d[i];
		party_start(p[i]);
	}
	EXPECT_EQ(0, put(left, 0));
	EXPECT_EQ(1, get(first, &v));
	EXPECT_EQ(n, v);
	EXPECT_EQ(0, join_all(p, n));
}

struct marks {
	atomic_uint seen[1000];
};

static long run_marker(struct party *me)
{
	struct marks *m = me->arg;
	uint64_t v;

	while (get(me->fd, &v) == 1) {
		if (v >= ARRAY_SIZE(m->seen)) {
			errno = ERANGE;
			return -1;
		}
		m->seen[v]++;
	}
	return 0;
}

TEST_F(chan, ken_chan1)
{
	enum { RECEIVERS = 10, ITEMS = 1000 };
	struct marks *m = shared(sizeof(*m));
	struct party *p[RECEIVERS], *feeder;
	uint64_t i;
	int ch;

	ch = make(2);
	for (i = 0; i < RECEIVERS; i++) {
		p[i] = party_new(variant->process, run_marker, ch);
		p[i]->arg = m;
		party_start(p[i]);
	}
	feeder = party_new(variant->process, run_feeder, ch);
	feeder->value = ITEMS;
	party_start(feeder);
	EXPECT_EQ(0, party_join(feeder));
	EXPECT_EQ(0, join_all(p, RECEIVERS));
	for (i = 0; i < ITEMS; i++) {
		EXPECT_EQ(1, atomic_load(&m->seen[i]));
	}
}

struct counter {
	int lock;
	volatile long n;
};

static long run_exclusive(struct party *me)
{
	struct counter *c = me->arg;
	uint64_t v;
	int i;

	for (i = 0; i < 10; i++) {
		long n;

		if (get(c->lock, &v) != 1)
			return -1;
		n = c->n;
		sched_yield();
		c->n = n + 1;
		if (put(c->lock, v))
			return -1;
	}
	return 0;
}

TEST_F(chan, exclusive_cell)
{
	struct counter *c = shared(sizeof(*c));
	struct party *p[2];
	uint64_t got;
	uint64_t i, v;

	c->lock = make(1);
	EXPECT_EQ(0, put(c->lock, 17));
	for (i = 0; i < 2; i++) {
		p[i] = party_new(variant->process, run_exclusive, -1);
		p[i]->arg = c;
		party_start(p[i]);
	}
	EXPECT_EQ(0, join_all(p, 2));
	EXPECT_EQ(20, c->n);
	EXPECT_EQ(1, get(c->lock, &got));
	EXPECT_EQ(17, got);
	EXPECT_EQ(EAGAIN, errno_of(try_get(c->lock, &v)));
	EXPECT_EQ(0, put(c->lock, got));
	EXPECT_EQ(1, try_get(c->lock, &v));
}

/* Messages of all sizes. */

static void fill(char *buf, size_t size, unsigned int salt)
{
	size_t i;

	for (i = 0; i < size; i++)
		buf[i] = i * 7 + salt + (i >> 8);
}

struct big {
	size_t size;
	size_t room;
	char buf[CHANFD_MAX_MESSAGE];
};

static long run_big_send(struct party *me)
{
	struct big *b = me->arg;

	return chanfd_send(me->fd, b->buf, b->size, NULL);
}

static long run_big_recv(struct party *me)
{
	struct big *b = me->arg;
	struct chanfd_received r;
	long n = chanfd_recv(me->fd, b->buf, b->room, NULL, &r);

	b->size = r.size;
	return n;
}

/* Without blocking, again and again until it succeeds. */

static long run_try_send(struct party *me)
{
	struct big *b = me->arg;

	while (chanfd_send(me->fd, b->buf, b->size, &nonblock)) {
		if (errno != EAGAIN)
			return -1;
		sched_yield();
	}
	return 0;
}

static long run_try_recv(struct party *me)
{
	struct big *b = me->arg;
	long n;

	do {
		n = chanfd_recv(me->fd, b->buf, b->room, &nonblock, NULL);
		if (n < 0 && errno == EAGAIN)
			sched_yield();
	} while (n < 0 && errno == EAGAIN);
	return n;
}

TEST_F(chan, nonblock_matrix)
{
	static const struct {
		unsigned int elem, size, flags;
	} rows[] = {
		{ 1, 1, 0 },
		{ 4, 4, 0 },
		{ 8, 8, 0 },
		{ 300, 17, CHANFD_VARIABLE },
	};
	struct big *b = shared(sizeof(*b));
	char msg[17], got[300];
	struct party *p;
	unsigned int i;
	int ch;

	fill(msg, sizeof(msg), 3);
	for (i = 0; i < ARRAY_SIZE(rows) * 2; i++) {
		unsigned int elem = rows[i / 2].elem, size = rows[i / 2].size;

		ch = chanfd_channel(elem, i % 2, rows[i / 2].flags, NULL);
		ASSERT_LE(0, ch);

		memcpy(b->buf, msg, size);
		b->size = size;
		p = party_new(variant->process, run_try_send, ch);
		p->arg = b;
		party_start(p);
		memset(got, 0, sizeof(got));
		EXPECT_EQ(1, chanfd_recv(ch, got, elem, NULL, NULL));
		EXPECT_EQ(0, memcmp(msg, got, size));
		EXPECT_EQ(0, got[size]);
		EXPECT_EQ(0, party_join(p));

		memset(b, 0, sizeof(*b));
		b->room = elem;
		p = party_new(variant->process, run_try_recv, ch);
		p->arg = b;
		party_start(p);
		EXPECT_EQ(0, chanfd_send(ch, msg, size, NULL));
		EXPECT_EQ(1, party_join(p));
		EXPECT_EQ(0, memcmp(msg, b->buf, size));
		EXPECT_EQ(0, b->buf[size]);
		close(ch);
	}
}

static const unsigned int sizes[] = {
	0, 1, 8, 63, 64, 65, 255, 256, 257, 4095, 4096, 4097, 65535, 65536,
};

TEST_F(chan, elem_sizes)
{
	static char msg[CHANFD_MAX_MESSAGE], got[CHANFD_MAX_MESSAGE];
	struct big *b = shared(sizeof(*b));
	struct party *p;
	uint64_t i;
	int ch;

	for (i = 0; i < ARRAY_SIZE(sizes) * 2; i++) {
		unsigned int size = sizes[i / 2];

		ch = chanfd_channel(size, i % 2 * 3, 0, "sizes");
		ASSERT_LE(0, ch);
		fill(msg, size, 1);

		/* The sender first, */
		memcpy(b->buf, msg, size);
		b->size = size;
		p = party_new(variant->process, run_big_send, ch);
		p->arg = b;
		party_start(p);
		if (i % 2) {
			EXPECT_EQ(0, party_join(p));
		} else {
			EXPECT_TRUE(senders_wait(ch, 1));
		}
		memset(got, 0, sizeof(got));
		EXPECT_EQ(1, chanfd_recv(ch, got, size, NULL, NULL));
		EXPECT_EQ(0, memcmp(msg, got, size));
		EXPECT_EQ(0, party_join(p));

		/* the receiver first. */
		memset(b, 0, sizeof(*b));
		b->room = size;
		p = party_new(variant->process, run_big_recv, ch);
		p->arg = b;
		party_start(p);
		EXPECT_TRUE(receivers_wait(ch, 1));
		EXPECT_EQ(0, chanfd_send(ch, msg, size, NULL));
		EXPECT_EQ(1, party_join(p));
		EXPECT_EQ(size, b->size);
		EXPECT_EQ(0, memcmp(msg, b->buf, size));

		/* No other size. */
		EXPECT_EQ(EMSGSIZE, errno_of(chanfd_send(ch, msg, size + 1,
							 &nonblock)));
		if (size > 1) {
			EXPECT_EQ(EMSGSIZE, errno_of(chanfd_send(ch, msg,
								 size - 1,
								 &nonblock)));
		}
		EXPECT_EQ(0, info_of(ch).len);
		close(ch);
	}
}

TEST_F(chan, variable_sizes)
{
	static char msg[CHANFD_MAX_MESSAGE + 1], got[CHANFD_MAX_MESSAGE];
	struct big *b = shared(sizeof(*b));
	struct chanfd_received r;
	struct party *p;
	uint64_t i;
	int ch;

	for (i = 2; i < ARRAY_SIZE(sizes) * 2; i++) {
		unsigned int size = sizes[i / 2];

		ch = chanfd_channel(CHANFD_MAX_MESSAGE, i % 2 * 3,
				    CHANFD_VARIABLE, "sizes");
		ASSERT_LE(0, ch);
		EXPECT_EQ(CHANFD_VARIABLE, info_of(ch).flags);
		fill(msg, size, 2);

		memcpy(b->buf, msg, size);
		b->size = size;
		p = party_new(variant->process, run_big_send, ch);
		p->arg = b;
		party_start(p);
		if (i % 2) {
			EXPECT_EQ(0, party_join(p));
		} else {
			EXPECT_TRUE(senders_wait(ch, 1));
		}

		/* Without room it stays where it is. */
		EXPECT_EQ(EMSGSIZE, errno_of(chanfd_recv(ch, got, size - 1,
							 &nonblock, NULL)));
		if (size > 1) {
			EXPECT_EQ(EMSGSIZE, errno_of(read(ch, got, size - 1)));
		}
		memset(got, 0, sizeof(got));
		poison(&r);
		EXPECT_EQ(1, chanfd_recv(ch, got, sizeof(got), NULL, &r));
		EXPECT_EQ(size, r.size);
		EXPECT_EQ(0, r.seq);
		EXPECT_EQ(0, memcmp(msg, got, size));
		EXPECT_EQ(0, party_join(p));

		memset(b, 0, sizeof(*b));
		b->room = sizeof(b->buf);
		p = party_new(variant->process, run_big_recv, ch);
		p->arg = b;
		party_start(p);
		EXPECT_TRUE(receivers_wait(ch, 1));
		EXPECT_EQ(EMSGSIZE, errno_of(chanfd_send(ch, msg,
							 sizeof(msg), NULL)));
		EXPECT_EQ(size, write(ch, msg, size));
		EXPECT_EQ(1, party_join(p));
		EXPECT_EQ(size, b->size);
		EXPECT_EQ(0, memcmp(msg, b->buf, size));
		close(ch);
	}
}

/* A receiver that waits without enough room must not swallow the message. */
TEST_F(chan, variable_too_long_for_the_blocked)
{
	struct big *b = shared(sizeof(*b));
	struct party *p, *sender;
	struct chanfd_received r;
	uint64_t got[2];
	unsigned int cap;
	int ch;

	for (cap = 0; cap < 2; cap++) {
		ch = chanfd_channel(64, cap, CHANFD_VARIABLE, NULL);
		ASSERT_LE(0, ch);
		b->room = 4;
		p = party_new(variant->process, run_big_recv, ch);
		p->arg = b;
		party_start(p);
		ASSERT_TRUE(receivers_wait(ch, 1));
		sender = party_send(variant->process, ch, 1234);
		EXPECT_EQ(EMSGSIZE, errno_of(party_join(p)));
		EXPECT_EQ(1, chanfd_recv(ch, got, sizeof(got), NULL, &r));
		EXPECT_EQ(8, r.size);
		EXPECT_EQ(0, r.seq);
		EXPECT_EQ(1234, got[0]);
		EXPECT_EQ(0, party_join(sender));
		EXPECT_TRUE(conserved(ch));
		close(ch);
	}
}

/* Batches. */

/* A batch that fails has not written the sizes either. */
TEST(failed_batch_leaves_sizes)
{
	struct chanfd_transfer t = { .flags = CHANFD_NONBLOCK, .context = -1, .count = 2 };
	int ch = chanfd_channel(8, 2, CHANFD_VARIABLE, "sizes");
	uint32_t sizes[2] = { 11, 22 };
	char buf[16];

	ASSERT_LE(0, ch);
	t.buf = (uintptr_t)buf;
	t.size = sizeof(buf);
	t.sizes = (uintptr_t)sizes;
	EXPECT_EQ(EAGAIN, errno_of(ioctl(ch, CHANFD_IOC_RECV, &t)));
	EXPECT_EQ(11, sizes[0]);
	EXPECT_EQ(22, sizes[1]);
	close(ch);
}

/* Sizes that have nowhere to go fail the batch before a message is taken. */
TEST(sizes_efault_keeps_the_messages)
{
	struct chanfd_transfer t = { .context = -1, .count = 2 };
	int ch = chanfd_channel(8, 2, CHANFD_VARIABLE, "sizes");
	uint32_t sizes[2] = { 0, 0 };
	char buf[16];

	ASSERT_LE(0, ch);
	ASSERT_EQ(0, chanfd_send(ch, "a", 1, NULL));
	ASSERT_EQ(0, chanfd_send(ch, "bc", 2, NULL));
	t.buf = (uintptr_t)buf;
	t.size = sizeof(buf);
	t.sizes = (uintptr_t)bad_pointer();
	EXPECT_EQ(EFAULT, errno_of(ioctl(ch, CHANFD_IOC_RECV, &t)));
	EXPECT_EQ(2, info_of(ch).len);
	t.sizes = (uintptr_t)sizes;
	EXPECT_EQ(2, ioctl(ch, CHANFD_IOC_RECV, &t));
	EXPECT_EQ(0, memcmp(buf, "abc", 3));
	EXPECT_EQ(1, sizes[0]);
	EXPECT_EQ(2, sizes[1]);
	close(ch);
}

TEST(batch_by_ioctl)
{
	uint64_t in[10] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 }, out[10], i;
	struct chanfd_transfer t;
	int ch = make(4);

	/* A call moves what it can at once, at least one. */
	EXPECT_EQ(4, transfer(ch, CHANFD_IOC_SEND, &t, in, sizeof(in), 10));
	EXPECT_EQ(0, t.seq);
	EXPECT_EQ(4, info_of(ch).len);
	poison(&out);
	EXPECT_EQ(3, transfer(ch, CHANFD_IOC_RECV, &t, out, sizeof(out), 3));
	EXPECT_EQ(0, t.seq);
	EXPECT_EQ(3 * sizeof(*out), t.size);
	EXPECT_EQ(POISON64, out[3]);
	EXPECT_EQ(3, transfer(ch, CHANFD_IOC_SEND, &t, in + 4, 6 * sizeof(*in), 6));
	EXPECT_EQ(4, t.seq);
	EXPECT_EQ(4, transfer(ch, CHANFD_IOC_RECV, &t, out + 3,
			      7 * sizeof(*out), 7));
	EXPECT_EQ(3, t.seq);
	EXPECT_EQ(4 * sizeof(*out), t.size);
	for (i = 0; i < 7; i++) {
		EXPECT_EQ(i, out[i]);
	}
	EXPECT_EQ(POISON64, out[7]);

	/* The room limits it too. */
	EXPECT_EQ(4, transfer(ch, CHANFD_IOC_SEND, &t, in, 4 * sizeof(*in), 4));
	EXPECT_EQ(2, transfer(ch, CHANFD_IOC_RECV, &t, out, 2 * sizeof(*out), 4));
	EXPECT_EQ(2 * sizeof(*out), t.size);
	EXPECT_EQ(EMSGSIZE, errno_of(transfer(ch, CHANFD_IOC_RECV, &t, out,
					      sizeof(*out) - 1, 2)));
	EXPECT_EQ(EMSGSIZE, errno_of(transfer(ch, CHANFD_IOC_SEND, &t, in,
					      sizeof(*in) + 1, 2)));
	EXPECT_EQ(2, info_of(ch).len);
	EXPECT_EQ(1, transfer(ch, CHANFD_IOC_RECV, &t, out,
			      2 * sizeof(*out) - 1, 2));
	EXPECT_EQ(sizeof(*out), t.size);

	/* The rest of a batch does not wait for more. */
	EXPECT_EQ(1, transfer(ch, CHANFD_IOC_RECV, &t, out, sizeof(out), 10));
	EXPECT_EQ(0, chanfd_close(ch, 0));
	EXPECT_EQ(0, transfer(ch, CHANFD_IOC_RECV, &t, out, sizeof(out), 10));
	EXPECT_EQ(EPIPE, errno_of(transfer(ch, CHANFD_IOC_SEND, &t, in,
					   sizeof(in), 10)));
	EXPECT_TRUE(conserved(ch));
}

TEST(batch_as_large_as_may_be)
{
	static uint64_t in[CHANFD_MAX_BATCH + 1], out[CHANFD_MAX_BATCH + 1];
	int ch = make(CHANFD_MAX_BATCH + 1);
	struct chanfd_transfer t;
	unsigned int i, got = 0;

	for (i = 0; i < ARRAY_SIZE(in); i++)
		in[i] = i;
	EXPECT_EQ(EINVAL, errno_of(transfer(ch, CHANFD_IOC_SEND, &t, in,
					    sizeof(in), CHANFD_MAX_BATCH + 1)));
	EXPECT_EQ(0, info_of(ch).len);
	EXPECT_EQ(CHANFD_MAX_BATCH,
		  transfer(ch, CHANFD_IOC_SEND, &t, in,
			   CHANFD_MAX_BATCH * sizeof(*in), CHANFD_MAX_BATCH));
	EXPECT_EQ(EINVAL, errno_of(transfer(ch, CHANFD_IOC_RECV, &t, out,
					    sizeof(out), CHANFD_MAX_BATCH + 1)));
	/* A page of @out that is not there yet may end a call early. */
	while (got < CHANFD_MAX_BATCH) {
		int n = transfer(ch, CHANFD_IOC_RECV, &t, out + got,
				 (CHANFD_MAX_BATCH - got) * sizeof(*out),
				 CHANFD_MAX_BATCH);

		ASSERT_LE(1, n);
		EXPECT_EQ(got, t.seq);
		got += n;
	}
	EXPECT_EQ(0, memcmp(in, out, CHANFD_MAX_BATCH * sizeof(*in)));
}

TEST(batch_of_variable_size)
{
	char in[] = "onethreefourseven", out[32] = "";
	uint32_t lengths[] = { 3, 5, 4, 5 }, got[4];
	struct chanfd_transfer t = {
		.context = -1,
		.flags = CHANFD_NONBLOCK,
		.buf = (uintptr_t)in,
		.sizes = (uintptr_t)lengths,
		.size = 17,
		.count = 4,
	};
	int ch = chanfd_channel(8, 4, CHANFD_VARIABLE, NULL);

	ASSERT_LE(0, ch);
	EXPECT_EQ(4, ioctl(ch, CHANFD_IOC_SEND, &t));
	EXPECT_EQ(4, info_of(ch).len);

	/* As many whole messages as there is room for. */
	t.buf = (uintptr_t)out;
	t.sizes = (uintptr_t)got;
	t.size = 9;
	EXPECT_EQ(2, ioctl(ch, CHANFD_IOC_RECV, &t));
	EXPECT_EQ(8, t.size);
	EXPECT_EQ(3, got[0]);
	EXPECT_EQ(5, got[1]);
	EXPECT_STREQ("onethree", out);
	t.size = sizeof(out);
	EXPECT_EQ(2, ioctl(ch, CHANFD_IOC_RECV, &t));
	EXPECT_EQ(2, t.seq);
	EXPECT_EQ(4, got[0]);
	EXPECT_EQ(5, got[1]);
	EXPECT_STREQ("fourseven", out);

	/* Sizes that do not add up, or one too long, and nothing is sent. */
	t.buf = (uintptr_t)in;
	t.sizes = (uintptr_t)lengths;
	t.count = 4;
	t.size = 16;
	EXPECT_EQ(EMSGSIZE, errno_of(ioctl(ch, CHANFD_IOC_SEND, &t)));
	t.size = 18;
	EXPECT_EQ(EMSGSIZE, errno_of(ioctl(ch, CHANFD_IOC_SEND, &t)));
	lengths[3] = 9;
	t.size = 21;
	EXPECT_EQ(EMSGSIZE, errno_of(ioctl(ch, CHANFD_IOC_SEND, &t)));
	EXPECT_EQ(0, info_of(ch).len);
}

TEST(read_and_write_move_whole_messages)
{
	uint64_t in[6] = { 1, 2, 3, 4, 5, 6 }, out[6];
	int ch = make(4);

	ASSERT_EQ(0, fcntl(ch, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(EAGAIN, errno_of(read(ch, out, sizeof(out))));
	EXPECT_EQ(4 * sizeof(*in), write(ch, in, sizeof(in)));
	EXPECT_EQ(EAGAIN, errno_of(write(ch, in + 4, 2 * sizeof(*in))));
	poison(&out);
	EXPECT_EQ(3 * sizeof(*out), read(ch, out, 3 * sizeof(*out)));
	EXPECT_EQ(2 * sizeof(*in), write(ch, in + 4, 2 * sizeof(*in)));
	EXPECT_EQ(3 * sizeof(*out), read(ch, out + 3, 3 * sizeof(*out)));
	EXPECT_EQ(0, memcmp(in, out, sizeof(in)));

	EXPECT_EQ(EMSGSIZE, errno_of(write(ch, in, sizeof(*in) + 1)));
	EXPECT_EQ(EMSGSIZE, errno_of(write(ch, in, 3)));
	EXPECT_EQ(0, info_of(ch).len);
	EXPECT_EQ(8, write(ch, in, 8));
	EXPECT_EQ(EMSGSIZE, errno_of(read(ch, out, 7)));
	EXPECT_EQ(1, info_of(ch).len);
	/* There is no position in a channel. */
	EXPECT_EQ(ESPIPE, errno_of(pread(ch, out, 8, 0)));
	EXPECT_EQ(ESPIPE, errno_of(lseek(ch, 0, SEEK_SET)));
}

TEST(readv_and_writev_are_one_batch)
{
	uint64_t in[4] = { 1, 2, 3, 4 }, out[4];
	struct iovec iov[3];
	int ch = make(8);

	/* The pieces need not be messages. */
	iov[0] = (struct iovec){ in, 4 };
	iov[1] = (struct iovec){ (char *)in + 4, 17 };
	iov[2] = (struct iovec){ (char *)in + 21, 11 };
	EXPECT_EQ(sizeof(in), writev(ch, iov, 3));
	EXPECT_EQ(4, info_of(ch).len);
	poison(&out);
	iov[0] = (struct iovec){ out, 9 };
	iov[1] = (struct iovec){ (char *)out + 9, 1 };
	iov[2] = (struct iovec){ (char *)out + 10, 22 };
	EXPECT_EQ(sizeof(out), readv(ch, iov, 3));
	EXPECT_EQ(0, memcmp(in, out, sizeof(in)));
	EXPECT_EQ(0, info_of(ch).len);
	iov[0].iov_len = 8;
	EXPECT_EQ(EMSGSIZE, errno_of(writev(ch, iov, 2)));
	EXPECT_EQ(0, info_of(ch).len);
}

static long run_batch_recv(struct party *me)
{
	struct chanfd_transfer t;
	uint64_t *out = me->arg;

	return transfer(me->fd, CHANFD_IOC_RECV, &t, out, 8 * sizeof(*out), 8);
}

TEST_F(chan, batch_meets_blocked_batch)
{
	unsigned int c, cap;
	int ch;

	uint64_t in[5] = { 1, 2, 3, 4, 5 }, *out = shared(8 * sizeof(*out));
	struct chanfd_transfer t;
	struct party *p;
	long sent, got;

	for_each_capacity(c, cap) {
		ch = make(cap);
		p = party_new(variant->process, run_batch_recv, ch);
		p->arg = out;
		party_start(p);
		ASSERT_TRUE(receivers_wait(ch, 1));
		sent = transfer(ch, CHANFD_IOC_SEND, &t, in, sizeof(in), 5);
		got = party_join(p);
		ASSERT_LE(1, sent);
		ASSERT_LE(1, got);
		EXPECT_GE(5, sent);
		EXPECT_GE(sent, got);
		EXPECT_EQ(0, memcmp(in, out, got * sizeof(*in)));
		EXPECT_EQ(sent - got, info_of(ch).len);
		EXPECT_TRUE(conserved(ch));
		close(ch);
	}
}

/*
 * Batches of many senders against batches of many receivers. Who sent what is
 * in the message, where it came to be in the queue is in the log.
 */
enum { BATCHERS = 3, BATCHES = 150, BATCH = 8, LOG = BATCHERS * BATCHES * BATCH };

struct batch_log {
	uint64_t sent[LOG];
	uint64_t received[LOG];
	atomic_int twice;
};

static void note(struct batch_log *l, uint64_t *log, uint64_t seq, uint64_t v)
{
	if (seq >= LOG || log[seq])
		l->twice++;
	else
		log[seq] = v;
}

static long run_batch_sender(struct party *me)
{
	uint64_t msg[BATCH], left = BATCHES * BATCH, serial = 1;
	struct batch_log *l = me->arg;
	struct chanfd_transfer t;
	uint64_t count;
	int i, n;

	while (left) {
		count = 1 + serial % BATCH;
		if (count > left)
			count = left;
		for (i = 0; i < (int)count; i++)
			msg[i] = me->value << 32 | (serial + i);
		n = transfer(me->fd, CHANFD_IOC_SEND, &t, msg,
			     count * sizeof(*msg), count);
		if (n < 1)
			return -1;
		for (i = 0; i < n; i++)
			note(l, l->sent, t.seq + i, msg[i]);
		serial += n;
		left -= n;
	}
	return 0;
}

static long run_batch_receiver(struct party *me)
{
	struct batch_log *l = me->arg;
	struct chanfd_transfer t;
	uint64_t msg[BATCH];
	int i, n;

	for (;;) {
		n = transfer(me->fd, CHANFD_IOC_RECV, &t, msg, sizeof(msg),
			     BATCH);
		if (n < 1)
			return n;
		if (t.size != n * sizeof(*msg)) {
			errno = EBADMSG;
			return -1;
		}
		for (i = 0; i < n; i++)
			note(l, l->received, t.seq + i, msg[i]);
	}
}

TEST_F(chan, batch_is_one_run)
{
	struct batch_log *l = shared(sizeof(*l));
	struct party *s[BATCHERS], *r[BATCHERS];
	uint64_t i;
	unsigned int c, cap;
	int ch;

	for_each_capacity(c, cap) {
		memset(l, 0, sizeof(*l));
		ch = make(cap);
		for (i = 0; i < BATCHERS; i++) {
			s[i] = party_new(variant->process, run_batch_sender, ch);
			r[i] = party_new(variant->process, run_batch_receiver, ch);
			s[i]->value = i + 1;
			s[i]->arg = l;
			r[i]->arg = l;
			party_start(s[i]);
			party_start(r[i]);
		}
		EXPECT_EQ(0, join_all(s, BATCHERS));
		EXPECT_EQ(0, chanfd_close(ch, 0));
		EXPECT_EQ(0, join_all(r, BATCHERS));
		EXPECT_EQ(0, atomic_load(&l->twice));
		for (i = 0; i < LOG; i++) {
			ASSERT_NE(0, l->received[i]);
			ASSERT_EQ(l->sent[i], l->received[i]);
		}
		EXPECT_EQ(LOG, info_of(ch).sent);
		EXPECT_EQ(LOG, info_of(ch).received);
		close(ch);
	}
}

/* Pointers. */

TEST_F(chan, null_buffer_discards)
{
	struct chanfd_transfer t;
	struct party *p;
	uint64_t v;
	unsigned int c, cap;
	int ch;

	for_each_capacity(c, cap) {
		ch = make(cap);
		p = party_new(variant->process, run_count, ch);
		p->value = 3;
		party_start(p);
		EXPECT_EQ(1, transfer(ch, CHANFD_IOC_RECV, &t, NULL, 0, 1));
		EXPECT_EQ(0, t.seq);
		EXPECT_EQ(1, get(ch, &v));
		EXPECT_EQ(1, v);
		EXPECT_EQ(1, transfer(ch, CHANFD_IOC_RECV, &t, NULL, 0, 1));
		EXPECT_EQ(2, t.seq);
		EXPECT_EQ(0, party_join(p));
		EXPECT_EQ(3, info_of(ch).received);
		close(ch);
	}
}

TEST_F(chan, send_efault)
{
	char *page = mmap(NULL, 2 * getpagesize(), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *half = page + getpagesize() - 12;
	void *bad = bad_pointer();
	struct chanfd_transfer t;
	uint32_t sizes[2] = { 8, 8 };
	struct party *p;
	int var;
	unsigned int c, cap;
	int ch;

	ASSERT_NE(MAP_FAILED, page);
	ASSERT_EQ(0, mprotect(page + getpagesize(), getpagesize(), PROT_NONE));
	for_each_capacity(c, cap) {
		ch = make(cap);
		p = party_recv(variant->process, ch);
		ASSERT_TRUE(receivers_wait(ch, 1));
		EXPECT_EQ(EFAULT, errno_of(chanfd_send(ch, bad, 8, NULL)));
		EXPECT_EQ(EFAULT, errno_of(chanfd_send(ch, bad, 8,
						       &nonblock)));
		EXPECT_EQ(EFAULT, errno_of(write(ch, bad, 8)));
		EXPECT_EQ(EFAULT, errno_of(transfer(ch, CHANFD_IOC_SEND, &t,
						    NULL, 8, 1)));
		/* The first message is whole, but nothing of it is visible. */
		EXPECT_EQ(EFAULT, errno_of(transfer(ch, CHANFD_IOC_SEND, &t,
						    half, 16, 2)));
		EXPECT_TRUE(stays_blocked(p));
		EXPECT_EQ(0, info_of(ch).sent);
		EXPECT_EQ(0, put(ch, 9));
		EXPECT_EQ(1, party_join(p));
		EXPECT_EQ(9, p->value);
		EXPECT_EQ(0, p->seq);
		close(ch);
	}

	var = chanfd_channel(8, 4, CHANFD_VARIABLE, NULL);
	ASSERT_LE(0, var);
	t = (struct chanfd_transfer){ .context = -1, .buf = (uintptr_t)page,
		.size = 16, .count = 2, .sizes = (uintptr_t)bad };
	EXPECT_EQ(EFAULT, errno_of(ioctl(var, CHANFD_IOC_SEND, &t)));
	t.sizes = (uintptr_t)sizes;
	t.buf = (uintptr_t)half;
	EXPECT_EQ(EFAULT, errno_of(ioctl(var, CHANFD_IOC_SEND, &t)));
	EXPECT_EQ(0, info_of(var).sent);
}

TEST_F(chan, recv_efault_keeps_the_message)
{
	char *page = mmap(NULL, 2 * getpagesize(), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *half = page + getpagesize() - 12;
	void *bad = bad_pointer();
	struct chanfd_received r;
	struct chanfd_transfer t;
	struct party *p;
	uint64_t i, v;
	unsigned int c, cap;
	int ch;

	ASSERT_NE(MAP_FAILED, page);
	ASSERT_EQ(0, mprotect(page + getpagesize(), getpagesize(), PROT_NONE));
	for_each_capacity(c, cap) {
		ch = make(cap);
		p = party_new(variant->process, run_count, ch);
		p->value = 3;
		party_start(p);
		if (cap < 3) {
			ASSERT_TRUE(senders_wait(ch, 1));
		} else {
			ASSERT_TRUE(eventually(info_of(ch).len == 3));
		}
		EXPECT_EQ(EFAULT, errno_of(chanfd_recv(ch, bad, 8, NULL,
						       NULL)));
		EXPECT_EQ(EFAULT, errno_of(chanfd_recv(ch, bad, 8,
						       &nonblock, NULL)));
		EXPECT_EQ(EFAULT, errno_of(read(ch, bad, 8)));
		/* Of two, the one that has a place may go, not the other. */
		i = 0;
		if (transfer(ch, CHANFD_IOC_RECV, &t, half, 16, 2) == 1) {
			EXPECT_EQ(0, t.seq);
			memcpy(&v, half, sizeof(v));
			EXPECT_EQ(0, v);
			i = 1;
		}
		EXPECT_EQ(i, info_of(ch).received);
		EXPECT_EQ(EFAULT, errno_of(transfer(ch, CHANFD_IOC_RECV, &t,
						    half + 8, 8, 1)));
		for (; i < 3; i++) {
			EXPECT_EQ(1, chanfd_recv(ch, &v,
						 sizeof(v), NULL, &r));
			EXPECT_EQ(i, v);
			EXPECT_EQ(i, r.seq);
		}
		EXPECT_EQ(0, party_join(p));
		EXPECT_EQ(3, info_of(ch).received);
		EXPECT_TRUE(conserved(ch));
		close(ch);
	}
}

/* Receives into a file's pages, which somebody else can take away. */
static long run_recv_mapped(struct party *me)
{
	return chanfd_recv(me->fd, me->arg, me->value, NULL, NULL);
}

TEST_F(chan, recv_efault_while_blocked)
{
	struct chanfd_received r;
	struct party *p, *sender;
	void *buf;
	int file;
	uint64_t i, v;
	unsigned int c, cap;
	int ch;

	for_each_capacity(c, cap) {
		file = memfd_create("buffer", MFD_CLOEXEC);
		ASSERT_LE(0, file);
		ASSERT_EQ(0, ftruncate(file, getpagesize()));
		buf = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			   MAP_SHARED, file, 0);
		ASSERT_NE(MAP_FAILED, buf);
		ch = make(cap);
		p = party_new(variant->process, run_recv_mapped, ch);
		p->arg = buf;
		p->value = sizeof(v);
		party_start(p);
		ASSERT_TRUE(receivers_wait(ch, 1));
		ASSERT_EQ(0, ftruncate(file, 0));
		sender = party_new(variant->process, run_count, ch);
		sender->value = 2;
		party_start(sender);
		EXPECT_EQ(EFAULT, errno_of(party_join(p)));

		/* It is first in line again, under its number. */
		for (i = 0; i < 2; i++) {
			EXPECT_EQ(1, chanfd_recv(ch, &v,
						 sizeof(v), NULL, &r));
			EXPECT_EQ(i, v);
			EXPECT_EQ(i, r.seq);
		}
		EXPECT_EQ(0, party_join(sender));
		EXPECT_TRUE(conserved(ch));
		EXPECT_EQ(2, info_of(ch).received);
		EXPECT_EQ(0, info_of(ch).len);
		close(ch);
		close(file);
	}
}

/* It goes to the next who waits, not behind what was sent later. */
TEST_F(chan, recv_efault_passes_on)
{
	struct party *p, *next;
	void *buf;
	int file = memfd_create("buffer", MFD_CLOEXEC);
	int ch;

	ASSERT_LE(0, file);
	ASSERT_EQ(0, ftruncate(file, getpagesize()));
	buf = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE, MAP_SHARED,
		   file, 0);
	ASSERT_NE(MAP_FAILED, buf);
	ch = make(4);
	p = party_new(variant->process, run_recv_mapped, ch);
	p->arg = buf;
	p->value = sizeof(uint64_t);
	party_start(p);
	ASSERT_TRUE(receivers_wait(ch, 1));
	next = party_recv(variant->process, ch);
	ASSERT_TRUE(receivers_wait(ch, 2));
	ASSERT_EQ(0, ftruncate(file, 0));
	EXPECT_EQ(0, put(ch, 31));
	EXPECT_EQ(EFAULT, errno_of(party_join(p)));
	EXPECT_EQ(1, party_join(next));
	EXPECT_EQ(31, next->value);
	EXPECT_EQ(1, info_of(ch).returned);
	EXPECT_TRUE(conserved(ch));
}

/* Nor behind what was sent with it. */
TEST_F(chan, recv_efault_keeps_a_batch_in_order)
{
	static const unsigned int elems[] = { 8, 4096 };
	char *msg = shared(3 * 4096), got[4096];
	struct chanfd_received r;
	struct chanfd_transfer t;
	unsigned int i, k;
	struct party *p;
	void *buf;
	int file, ch;

	for (k = 0; k < ARRAY_SIZE(elems); k++) {
		file = memfd_create("buffer", MFD_CLOEXEC);
		ASSERT_LE(0, file);
		ASSERT_EQ(0, ftruncate(file, 4096));
		buf = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
		ASSERT_NE(MAP_FAILED, buf);
		ch = chanfd_channel(elems[k], 4, 0, NULL);
		ASSERT_LE(0, ch);
		p = party_new(variant->process, run_recv_mapped, ch);
		p->arg = buf;
		p->value = elems[k];
		party_start(p);
		ASSERT_TRUE(receivers_wait(ch, 1));
		ASSERT_EQ(0, ftruncate(file, 0));
		for (i = 0; i < 3; i++)
			memset(msg + i * elems[k], 'a' + i, elems[k]);
		EXPECT_EQ(3, transfer(ch, CHANFD_IOC_SEND, &t, msg, 3 * elems[k], 3));
		EXPECT_EQ(EFAULT, errno_of(party_join(p)));
		for (i = 0; i < 3; i++) {
			EXPECT_EQ(1, chanfd_recv(ch, got, elems[k], NULL, &r));
			EXPECT_EQ('a' + i, got[0]);
			EXPECT_EQ('a' + i, got[elems[k] - 1]);
			EXPECT_EQ(i, r.seq);
		}
		EXPECT_TRUE(conserved(ch));
		close(ch);
		close(file);
	}
}

/* The three ends: closed, orphaned, open. */

TEST(three_ends)
{
	int fd[2];
	uint64_t v;

	/* Open: it blocks. */
	make_pair(fd, 2);
	EXPECT_EQ(0, info_of(fd[0]).state);
	EXPECT_EQ(EAGAIN, errno_of(try_get(fd[0], &v)));

	/* Closed: drain, then the end, whether senders are left or not. */
	EXPECT_EQ(0, put(fd[1], 1));
	EXPECT_EQ(0, chanfd_close(fd[1], 0));
	close(fd[1]);
	EXPECT_EQ(CHANFD_CLOSED | CHANFD_NO_SENDERS, info_of(fd[0]).state);
	EXPECT_EQ(1, get(fd[0], &v));
	EXPECT_EQ(0, get(fd[0], &v));
	close(fd[0]);

	/* Orphaned: drain, then it is an error, again and again. */
	make_pair(fd, 2);
	EXPECT_EQ(0, put(fd[1], 1));
	EXPECT_EQ(0, put(fd[1], 2));
	close(fd[1]);
	EXPECT_EQ(CHANFD_NO_SENDERS, info_of(fd[0]).state);
	EXPECT_EQ(1, get(fd[0], &v));
	EXPECT_EQ(1, v);
	EXPECT_EQ(8, read(fd[0], &v, 8));
	EXPECT_EQ(2, v);
	EXPECT_EQ(ECONNRESET, errno_of(get(fd[0], &v)));
	EXPECT_EQ(ECONNRESET, errno_of(try_get(fd[0], &v)));
	EXPECT_EQ(ECONNRESET, errno_of(read(fd[0], &v, 8)));
	close(fd[0]);

	/* No receiver is left: sending fails, though there is room. */
	make_pair(fd, 1);
	close(fd[0]);
	EXPECT_EQ(CHANFD_NO_RECEIVERS, info_of(fd[1]).state);
	EXPECT_EQ(ECONNRESET, errno_of(put(fd[1], 2)));
	EXPECT_EQ(ECONNRESET, errno_of(try_put(fd[1], 2)));
	EXPECT_EQ(ECONNRESET, errno_of(write(fd[1], &v, 8)));
	EXPECT_EQ(0, chanfd_close(fd[1], 0));
	EXPECT_EQ(EPIPE, errno_of(put(fd[1], 2)));
}

/* Parties that have one end only. */

struct ends {
	int fd[2];
};

static long run_recv_end(struct party *me)
{
	struct ends *e = me->arg;

	drop(me, e->fd[1]);
	me->fd = e->fd[0];
	return run_recv(me);
}

static long run_send_end(struct party *me)
{
	struct ends *e = me->arg;

	drop(me, e->fd[0]);
	me->fd = e->fd[1];
	return run_send(me);
}

TEST_F(chan, orphaned_while_blocked)
{
	struct ends *e = shared(sizeof(*e));
	struct party *p;
	unsigned int cap;

	for (cap = 0; cap < 2; cap++) {
		make_pair(e->fd, cap);
		p = party_new(variant->process, run_recv_end, -1);
		p->arg = e;
		party_start(p);
		ASSERT_TRUE(receivers_wait(e->fd[1], 1));
		ASSERT_TRUE(blocked(p));
		close(e->fd[1]);
		EXPECT_EQ(ECONNRESET, errno_of(party_join(p)));
		close(e->fd[0]);

		make_pair(e->fd, cap);
		if (cap) {
			EXPECT_EQ(0, put(e->fd[1], 1));
		}
		p = party_new(variant->process, run_send_end, -1);
		p->arg = e;
		party_start(p);
		ASSERT_TRUE(senders_wait(e->fd[0], 1));
		ASSERT_TRUE(blocked(p));
		close(e->fd[0]);
		EXPECT_EQ(ECONNRESET, errno_of(party_join(p)));
		close(e->fd[1]);
	}
}

/* Has what it inherited, and does nothing with it. */
static long run_pause(struct party *me)
{
	return pause();
}

/* A crash is no end of file. */
TEST(killed_sender)
{
	struct ends *e = shared(sizeof(*e));
	struct party *p, *receiver;
	uint64_t v;

	make_pair(e->fd, 1);
	ASSERT_EQ(0, put(e->fd[1], 1));
	p = party_new(true, run_send_end, -1);
	p->arg = e;
	p->value = 2;
	party_start(p);
	close(e->fd[1]);
	ASSERT_TRUE(senders_wait(e->fd[0], 1));
	party_kill(p);

	/* What was accepted is there; what was not never appears. */
	EXPECT_EQ(CHANFD_NO_SENDERS, info_of(e->fd[0]).state);
	EXPECT_EQ(0, info_of(e->fd[0]).waiting_senders);
	EXPECT_EQ(1, get(e->fd[0], &v));
	EXPECT_EQ(1, v);
	EXPECT_EQ(ECONNRESET, errno_of(get(e->fd[0], &v)));
	EXPECT_EQ(1, info_of(e->fd[0]).sent);
	close(e->fd[0]);

	/* And a receiver that waits is told. */
	make_pair(e->fd, 0);
	receiver = party_new(true, run_recv_end, -1);
	receiver->arg = e;
	party_start(receiver);
	ASSERT_TRUE(receivers_wait(e->fd[0], 1));
	p = party_start(party_new(true, run_pause, -1));
	ASSERT_TRUE(blocked(p));
	close(e->fd[1]);
	EXPECT_TRUE(stays_blocked(receiver));
	party_kill(p);
	EXPECT_EQ(ECONNRESET, errno_of(party_join(receiver)));
}

TEST(killed_receiver)
{
	struct ends *e = shared(sizeof(*e));
	struct party *p;
	uint64_t v;

	make_pair(e->fd, 0);
	p = party_new(true, run_recv_end, -1);
	p->arg = e;
	party_start(p);
	ASSERT_TRUE(receivers_wait(e->fd[1], 1));
	party_kill(p);
	EXPECT_EQ(0, info_of(e->fd[1]).waiting_receivers);
	EXPECT_EQ(EAGAIN, errno_of(try_put(e->fd[1], 1)));
	p = party_recv(true, e->fd[0]);
	ASSERT_TRUE(receivers_wait(e->fd[1], 1));
	EXPECT_EQ(0, put(e->fd[1], 2));
	EXPECT_EQ(1, party_join(p));
	EXPECT_EQ(2, p->value);
	EXPECT_EQ(EAGAIN, errno_of(try_get(e->fd[0], &v)));

	/* The last one that is killed orphans the sender. */
	p = party_new(true, run_recv_end, -1);
	p->arg = e;
	party_start(p);
	ASSERT_TRUE(receivers_wait(e->fd[1], 1));
	close(e->fd[0]);
	party_kill(p);
	EXPECT_EQ(ECONNRESET, errno_of(put(e->fd[1], 1)));
}

static long run_send_forever(struct party *me)
{
	while (!put(me->fd, ++me->value))
		;
	return -1;
}

/* Whenever it dies, each message is there once or never was. */
TEST(kill_blocked_sender)
{
	uint64_t round, v, last, next;
	struct party *p;
	int ch;

	for (round = 0; round < 30; round++) {
		ch = make(round % 3);
		p = party_start(party_new(true, run_send_forever, ch));
		for (next = 1; next < 1 + round * 7; next++) {
			ASSERT_EQ(1, get(ch, &v));
			EXPECT_EQ(next, v);
		}
		party_kill(p);
		last = p->value;
		while (try_get(ch, &v) == 1) {
			EXPECT_EQ(next, v);
			next++;
		}
		/* The one under way may have got in or not. */
		EXPECT_LE(last, next);
		EXPECT_GE(last + 1, next);
		EXPECT_EQ(EAGAIN, errno_of(try_get(ch, &v)));
		EXPECT_EQ(0, info_of(ch).waiting_senders);
		EXPECT_EQ(next - 1, info_of(ch).sent);
		EXPECT_TRUE(conserved(ch));
		close(ch);
	}
}

/* What a channel tells. */

TEST_F(chan, info_counts)
{
	struct chanfd_channel_info info;
	struct party *p;
	int fd[2], copy;
	uint64_t v;

	ASSERT_EQ(0, chanfd_channel_pair(fd, sizeof(uint64_t), 4, 0, "counted"));
	info = info_of(fd[0]);
	EXPECT_EQ(0, info.flags);
	EXPECT_EQ(sizeof(uint64_t), info.elem_size);
	EXPECT_EQ(4, info.capacity);
	EXPECT_EQ(0, info.len);
	EXPECT_EQ(0, info.state);
	EXPECT_EQ(0, info.cause);
	EXPECT_EQ(1, info.senders);
	EXPECT_EQ(1, info.receivers);
	EXPECT_EQ(0, info.waiting_senders);
	EXPECT_EQ(0, info.waiting_receivers);
	EXPECT_EQ(0, info.sent);
	EXPECT_EQ(0, info.received);
	EXPECT_EQ(0, info.returned);
	EXPECT_EQ(0, info.dropped);

	/* A duplicate is the same handle, a reduced one is its own. */
	copy = dup(fd[1]);
	EXPECT_EQ(1, info_of(fd[0]).senders);
	close(copy);
	copy = chanfd_reduce(fd[1], CHANFD_WRITE);
	ASSERT_LE(0, copy);
	EXPECT_EQ(2, info_of(fd[0]).senders);
	close(copy);
	EXPECT_EQ(1, info_of(fd[0]).senders);

	EXPECT_EQ(0, count_up(fd[1], 4));
	p = party_send(variant->process, fd[1], 4);
	ASSERT_TRUE(senders_wait(fd[1], 1));
	/* A process that was forked shares the handle. */
	EXPECT_EQ(1, info_of(fd[0]).senders);
	EXPECT_EQ(4, info_of(fd[0]).sent);
	EXPECT_EQ(1, get(fd[0], &v));
	EXPECT_EQ(0, party_join(p));
	info = info_of(fd[1]);
	EXPECT_EQ(0, info.waiting_senders);
	EXPECT_EQ(4, info.len);
	EXPECT_EQ(5, info.sent);
	EXPECT_EQ(1, info.received);

	/* Nobody will ever receive these. */
	close(fd[0]);
	info = info_of(fd[1]);
	EXPECT_EQ(0, info.receivers);
	EXPECT_EQ(CHANFD_NO_RECEIVERS, info.state);
	EXPECT_EQ(0, info.len);
	EXPECT_EQ(4, info.dropped);
	EXPECT_EQ(5, info.sent);
	EXPECT_EQ(1, info.received);
}

/* Signals. */

TEST_F(chan, signal_interrupts)
{
	struct party *send, *recv;
	unsigned int cap;
	int ch;

	catch_signal(SIGUSR1, 0);
	for (cap = 0; cap < 2; cap++) {
		ch = make(cap);
		recv = party_recv(variant->process, ch);
		ASSERT_TRUE(receivers_wait(ch, 1));
		ASSERT_TRUE(blocked(recv));
		party_signal(recv, SIGUSR1);
		EXPECT_EQ(EINTR, errno_of(party_join(recv)));
		EXPECT_EQ(0, info_of(ch).waiting_receivers);

		if (cap) {
			EXPECT_EQ(0, put(ch, 1));
		}
		send = party_send(variant->process, ch, 2);
		ASSERT_TRUE(senders_wait(ch, 1));
		ASSERT_TRUE(blocked(send));
		party_signal(send, SIGUSR1);
		EXPECT_EQ(EINTR, errno_of(party_join(send)));
		EXPECT_EQ(0, info_of(ch).waiting_senders);
		EXPECT_EQ(cap, info_of(ch).len);
		EXPECT_EQ(cap, info_of(ch).sent);
		close(ch);
	}
}

TEST_F(chan, signal_restarts)
{
	struct party *p;
	uint64_t deadline;
	uint64_t i;
	int ch;

	catch_signal(SIGUSR1, SA_RESTART);
	ch = make(0);
	p = party_recv(variant->process, ch);
	ASSERT_TRUE(blocked(p));
	for (i = 0; i < 5; i++) {
		party_signal(p, SIGUSR1);
		EXPECT_TRUE(stays_blocked(p));
		EXPECT_TRUE(receivers_wait(ch, 1));
	}
	EXPECT_EQ(0, put(ch, 5));
	EXPECT_EQ(1, party_join(p));
	EXPECT_EQ(5, p->value);

	/* The deadline stays where it was, however often it restarts. */
	deadline = chanfd_deadline(600 * MSEC);
	p = party_new(variant->process, run_recv, ch);
	p->opt.deadline = deadline;
	party_start(p);
	EXPECT_TRUE(eventually(party_ended(p) ||
			       (party_signal(p, SIGUSR1), false)));
	EXPECT_EQ(ETIMEDOUT, errno_of(party_join(p)));
	EXPECT_LE(deadline, now());
}

/*
 * The message was handed over, and before the receiver runs again a signal is
 * there too. To make that sure both share a CPU, on which the test has priority.
 */
TEST_F(chan, commit_wins_over_a_signal)
{
	struct sched_param fifo = { .sched_priority = 1 };
	struct sched_param other = { .sched_priority = 0 };
	struct party *recv, *send;
	cpu_set_t one;
	uint64_t i, v;
	int ch;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(one), &one));
	catch_signal(SIGUSR1, 0);
	ch = make(0);
	for (i = 0; i < 10; i++) {
		recv = party_recv(variant->process, ch);
		ASSERT_TRUE(receivers_wait(ch, 1));
		ASSERT_TRUE(blocked(recv));
		if (sched_setscheduler(0, SCHED_FIFO, &fifo))
			SKIP(return, "no SCHED_FIFO");
		EXPECT_EQ(0, try_put(ch, i));
		party_signal(recv, SIGUSR1);
		sched_setscheduler(0, SCHED_OTHER, &other);
		EXPECT_EQ(1, party_join(recv));
		EXPECT_EQ(i, recv->value);

		send = party_send(variant->process, ch, i);
		ASSERT_TRUE(senders_wait(ch, 1));
		ASSERT_TRUE(blocked(send));
		sched_setscheduler(0, SCHED_FIFO, &fifo);
		EXPECT_EQ(1, try_get(ch, &v));
		party_signal(send, SIGUSR1);
		sched_setscheduler(0, SCHED_OTHER, &other);
		EXPECT_EQ(i, v);
		EXPECT_EQ(0, party_join(send));
	}
}

struct storm {
	int ch;
	atomic_bool over;
	atomic_int interrupted;
};

static long run_stubborn_recv(struct party *me)
{
	struct storm *s = me->arg;
	uint64_t v, expected = 0;
	int n;

	for (;;) {
		n = get(s->ch, &v);
		if (!n) {
			s->over = true;
			return expected;
		}
		if (n < 0 && errno != EINTR)
			return -1;
		if (n < 0)
			s->interrupted++;
		else if (v != expected++)
			return -1;
	}
}

static long run_stubborn_send(struct party *me)
{
	struct storm *s = me->arg;
	uint64_t i;

	for (i = 0; i < me->value; i++)
		while (put(s->ch, i)) {
			if (errno != EINTR)
				return -1;
			s->interrupted++;
		}
	return chanfd_close(s->ch, 0);
}

/* An interrupted call did nothing, every other did it once. */
TEST_F(chan, signal_storm)
{
	struct storm *s = shared(sizeof(*s));
	struct party *send, *recv;
	unsigned int cap;

	catch_signal(SIGUSR1, 0);
	for (cap = 0; cap < 3; cap++) {
		memset(s, 0, sizeof(*s));
		s->ch = make(cap);
		recv = party_new(variant->process, run_stubborn_recv, -1);
		send = party_new(variant->process, run_stubborn_send, -1);
		recv->arg = s;
		send->arg = s;
		send->value = 2000;
		party_start(recv);
		ASSERT_TRUE(receivers_wait(s->ch, 1));
		party_signal(recv, SIGUSR1);
		party_start(send);
		while (!s->over && !recv->ended) {
			if (!send->ended && send->tid)
				party_signal(send, SIGUSR1);
			party_signal(recv, SIGUSR1);
			pause_for(MSEC / 5);
		}
		EXPECT_EQ(0, party_join(send));
		EXPECT_EQ(2000, party_join(recv));
		EXPECT_LE(1, atomic_load(&s->interrupted));
		EXPECT_TRUE(conserved(s->ch));
		close(s->ch);
	}
}

/* Deadlines. */

TEST_F(chan, deadline)
{
	struct chanfd_opt past = { .context = -1, .deadline = 1 };
	struct party *send, *recv;
	uint64_t deadline;
	uint64_t v;
	unsigned int cap;
	int ch;

	for (cap = 0; cap < 2; cap++) {
		ch = make(cap);
		EXPECT_EQ(ETIMEDOUT, errno_of(chanfd_recv(ch, &v, 8, &past, NULL)));
		deadline = chanfd_deadline(100 * MSEC);
		recv = party_new(variant->process, run_recv, ch);
		recv->opt.deadline = deadline;
		party_start(recv);
		EXPECT_EQ(ETIMEDOUT, errno_of(party_join(recv)));
		EXPECT_LE(deadline, now());
		EXPECT_EQ(0, info_of(ch).waiting_receivers);

		if (cap) {
			EXPECT_EQ(0, put(ch, 1));
		}
		EXPECT_EQ(ETIMEDOUT, errno_of(chanfd_send(ch, &v, 8, &past)));
		deadline = chanfd_deadline(100 * MSEC);
		send = party_new(variant->process, run_send, ch);
		send->opt.deadline = deadline;
		party_start(send);
		EXPECT_EQ(ETIMEDOUT, errno_of(party_join(send)));
		EXPECT_LE(deadline, now());
		EXPECT_EQ(cap, info_of(ch).sent);
		EXPECT_EQ(0, info_of(ch).waiting_senders);

		/* One that is far away does no harm. */
		recv = party_new(variant->process, run_recv, ch);
		recv->opt.deadline = UINT64_MAX;
		party_start(recv);
		if (!cap) {
			EXPECT_TRUE(stays_blocked(recv));
			EXPECT_EQ(0, put(ch, 1));
		}
		EXPECT_EQ(1, party_join(recv));
		EXPECT_EQ(1, recv->value);
		close(ch);
	}
}

/* Who leaves must not keep those behind from what he would have got. */
TEST_F(chan, withdrawal_lets_the_next_one)
{
	struct party *first, *second;
	int ch;

	ch = make(0);
	first = party_new(variant->process, run_recv, ch);
	first->opt.deadline = chanfd_deadline(300 * MSEC);
	party_start(first);
	ASSERT_TRUE(receivers_wait(ch, 1));
	second = party_recv(variant->process, ch);
	EXPECT_EQ(ETIMEDOUT, errno_of(party_join(first)));
	ASSERT_TRUE(receivers_wait(ch, 1));
	EXPECT_EQ(0, try_put(ch, 8));
	EXPECT_EQ(1, party_join(second));
	EXPECT_EQ(8, second->value);
}

/* Contexts. */

TEST_F(chan, context_done_before)
{
	int ctx = chanfd_context(-1);
	int late = chanfd_context_deadline(-1, 1);
	struct chanfd_opt opt = { .context = ctx };
	struct party *p;
	uint64_t v;
	int ch;

	ASSERT_LE(0, ctx);
	ASSERT_LE(0, late);
	EXPECT_EQ(0, chanfd_cancel(ctx, EIO, "test"));
	ch = make(2);
	EXPECT_EQ(0, put(ch, 1));

	/* It is looked at before the channel, which could give and take. */
	p = party_new(variant->process, run_recv, ch);
	p->opt.context = ctx;
	EXPECT_EQ(ECANCELED, errno_of(party_join(party_start(p))));
	p = party_new(variant->process, run_send, ch);
	p->opt.context = late;
	EXPECT_EQ(ETIMEDOUT, errno_of(party_join(party_start(p))));
	EXPECT_EQ(1, info_of(ch).len);
	EXPECT_EQ(1, info_of(ch).sent);
	opt.flags = CHANFD_NONBLOCK;
	EXPECT_EQ(ECANCELED, errno_of(chanfd_recv(ch, &v, 8, &opt, NULL)));
	EXPECT_EQ(0, chanfd_close(ch, 0));
	EXPECT_EQ(ECANCELED, errno_of(chanfd_send(ch, &v, 8, &opt)));
	EXPECT_EQ(1, get(ch, &v));
	EXPECT_EQ(ECANCELED, errno_of(chanfd_recv(ch, &v, 8, &opt, NULL)));
	opt.context = ch;
	EXPECT_EQ(EINVAL, errno_of(chanfd_recv(ch, &v, 8, &opt, NULL)));
	opt.context = 9999;
	EXPECT_EQ(EBADF, errno_of(chanfd_recv(ch, &v, 8, &opt, NULL)));
}

TEST_F(chan, context_done_while_blocked)
{
	struct party *send, *recv, *other;
	int ctx, ch2;
	int ch;

	ch = make(0);
	ch2 = make(0);
	ctx = chanfd_context(-1);
	ASSERT_LE(0, ctx);
	recv = party_new(variant->process, run_recv, ch);
	send = party_new(variant->process, run_send, ch2);
	recv->opt.context = ctx;
	send->opt.context = ctx;
	party_start(recv);
	party_start(send);
	other = party_recv(variant->process, ch);
	ASSERT_TRUE(receivers_wait(ch, 2));
	ASSERT_TRUE(senders_wait(ch2, 1));
	EXPECT_EQ(0, chanfd_cancel(ctx, 0, NULL));
	EXPECT_EQ(ECANCELED, errno_of(party_join(recv)));
	EXPECT_EQ(ECANCELED, errno_of(party_join(send)));
	EXPECT_EQ(0, info_of(ch2).waiting_senders);
	EXPECT_EQ(0, info_of(ch2).sent);
	EXPECT_TRUE(stays_blocked(other));
	EXPECT_EQ(0, put(ch, 3));
	EXPECT_EQ(1, party_join(other));

	ctx = chanfd_context_deadline(-1, chanfd_deadline(100 * MSEC));
	ASSERT_LE(0, ctx);
	recv = party_new(variant->process, run_recv, ch);
	recv->opt.context = ctx;
	/* Its own deadline is later. */
	recv->opt.deadline = chanfd_deadline(60 * SEC);
	party_start(recv);
	EXPECT_EQ(ETIMEDOUT, errno_of(party_join(recv)));
}

/* How long handles live. */

TEST_F(chan, close_fd_while_blocked)
{
	struct party *p;
	int ch = make(0), copy = chanfd_reduce(ch, CHANFD_WRITE);

	ASSERT_LE(0, copy);
	p = party_recv(variant->process, ch);
	ASSERT_TRUE(receivers_wait(copy, 1));
	ASSERT_TRUE(blocked(p));
	/* Whoever waits holds the handle: nothing happens to him. */
	close(ch);
	EXPECT_TRUE(stays_blocked(p));
	EXPECT_EQ(0, info_of(copy).state);
	EXPECT_EQ(0, put(copy, 4));
	EXPECT_EQ(1, party_join(p));
	EXPECT_EQ(4, p->value);
	EXPECT_EQ(CHANFD_NO_RECEIVERS, info_of(copy).state);
}

TEST(module_stays_while_used)
{
	int ch = make(0);
	char text[8];

	ASSERT_TRUE(read_text("/sys/module/chanfd/refcnt", text, sizeof(text)));
	close(chanfd_device());
	EXPECT_EQ(EWOULDBLOCK, errno_of(syscall(SYS_delete_module, "chanfd",
						O_NONBLOCK)));
	EXPECT_EQ(0, info_of(ch).len);
}

TEST(fork_shares)
{
	struct chanfd_channel_info before, after;
	struct party *p;
	uint64_t v;
	int fd[2];

	make_pair(fd, 1);
	before = info_of(fd[0]);
	p = party_recv(true, fd[0]);
	ASSERT_TRUE(receivers_wait(fd[0], 1));
	after = info_of(fd[0]);
	EXPECT_EQ(before.senders, after.senders);
	EXPECT_EQ(before.receivers, after.receivers);
	EXPECT_EQ(0, put(fd[1], 6));
	EXPECT_EQ(1, party_join(p));
	EXPECT_EQ(6, p->value);

	/* As long as one of them has it, it is open. */
	p = party_start(party_new(true, run_pause, -1));
	close(fd[1]);
	EXPECT_EQ(EAGAIN, errno_of(try_get(fd[0], &v)));
	party_kill(p);
	EXPECT_EQ(ECONNRESET, errno_of(try_get(fd[0], &v)));
}

/* Becomes another program, which sleeps until it is killed. */
static long run_exec(struct party *me)
{
	return execl("/bin/sh", "sh", "-c", "exec sleep 1000", NULL);
}

TEST(exec_closes)
{
	struct party *p;
	uint64_t v;
	int fd[2];

	make_pair(fd, 0);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd[0], F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd[1], F_GETFD));
	p = party_start(party_new(true, run_exec, -1));
	close(fd[1]);
	EXPECT_TRUE(eventually(info_of(fd[0]).state == CHANFD_NO_SENDERS));
	EXPECT_EQ(ECONNRESET, errno_of(get(fd[0], &v)));
	EXPECT_FALSE(party_ended(p));
	party_kill(p);
	close(fd[0]);

	ASSERT_EQ(0, chanfd_channel_pair(fd, 8, 0, CHANFD_INHERIT, NULL));
	EXPECT_EQ(0, fcntl(fd[0], F_GETFD));
	EXPECT_EQ(0, fcntl(fd[1], F_GETFD));
	p = party_start(party_new(true, run_exec, -1));
	close(fd[1]);
	EXPECT_TRUE(blocked(p));
	EXPECT_EQ(EAGAIN, errno_of(try_get(fd[0], &v)));
	party_kill(p);
	EXPECT_EQ(ECONNRESET, errno_of(try_get(fd[0], &v)));
}

/* Takes a handle from a socket, and sends on it. */
static long run_take_and_send(struct party *me)
{
	int fd = taken(me->fd);

	if (fd < 0 || put(fd, me->value))
		return -1;
	return close(fd);
}

TEST_F(chan, passing)
{
	struct party *p;
	int fd[2], socks[2];
	uint64_t v;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks));
	make_pair(fd, 1);
	pass(socks[0], fd[1]);
	close(fd[1]);
	/* In the socket it is alive. */
	EXPECT_EQ(EAGAIN, errno_of(try_get(fd[0], &v)));
	p = party_new(variant->process, run_take_and_send, socks[1]);
	p->value = 12;
	EXPECT_EQ(0, party_join(party_start(p)));
	EXPECT_EQ(1, get(fd[0], &v));
	EXPECT_EQ(12, v);
	EXPECT_EQ(ECONNRESET, errno_of(get(fd[0], &v)));
	close(fd[0]);

	make_pair(fd, 1);
	pass(socks[0], fd[1]);
	close(fd[1]);
	EXPECT_EQ(EAGAIN, errno_of(try_get(fd[0], &v)));
	close(socks[0]);
	close(socks[1]);
	/* Nobody took it. */
	EXPECT_EQ(ECONNRESET, errno_of(get(fd[0], &v)));
}

TEST_HARNESS_MAIN
