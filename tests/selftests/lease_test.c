// SPDX-License-Identifier: GPL-2.0
/*
 * Leases: a message that is received into one is received for good only by a commit, and
 * is the first of its channel again without, whatever became of who had it.
 */
#include "numbers.h"

#include <poll.h>
#include <sys/resource.h>

enum { SOMEBODY = 65534 };

/* A channel of numbers: in slots, in boxes, or in boxes that may have files. */
FIXTURE(lease) {
	int get;
	int put;
};

FIXTURE_VARIANT(lease) {
	bool process;
	unsigned int flags;
};

FIXTURE_VARIANT_ADD(lease, threads) {
	.process = false,
};

FIXTURE_VARIANT_ADD(lease, processes) {
	.process = true,
};

FIXTURE_VARIANT_ADD(lease, boxes_threads) {
	.process = false,
	.flags = CHANFD_VARIABLE,
};

FIXTURE_VARIANT_ADD(lease, boxes_processes) {
	.process = true,
	.flags = CHANFD_VARIABLE,
};

FIXTURE_VARIANT_ADD(lease, files_threads) {
	.process = false,
	.flags = CHANFD_FDS,
};

FIXTURE_VARIANT_ADD(lease, files_processes) {
	.process = true,
	.flags = CHANFD_FDS,
};

#define CAP	16

FIXTURE_SETUP(lease)
{
	int fd[2];

	ASSERT_EQ(0, chanfd_channel_pair(fd, sizeof(uint64_t), CAP, variant->flags, "jobs"));
	self->get = fd[0];
	self->put = fd[1];
}

FIXTURE_TEARDOWN(lease)
{
	EXPECT_TRUE(conserved(self->get >= 0 ? self->get : self->put));
	close(self->get);
	close(self->put);
}

static int get_leased(int ch, uint64_t *value, int *lease, struct chanfd_received *r)
{
	*lease = -1;
	poison(value);
	return chanfd_recv_leased(ch, value, sizeof(*value), lease, NULL, r);
}

static int try_get_leased(int ch, uint64_t *value, int *lease)
{
	poison(value);
	return chanfd_recv_leased(ch, value, sizeof(*value), lease, &nonblock, NULL);
}

/* @value is the next, after it has come back so often. */
#define EXPECT_NEXT(ch, expected, times) do {					\
	struct chanfd_received r_;						\
	uint64_t v_ = POISON64;							\
										\
	EXPECT_EQ(1, chanfd_recv((ch), &v_, sizeof(v_), &nonblock, &r_));	\
	EXPECT_EQ((expected), v_);						\
	EXPECT_EQ((times), r_.redelivered);					\
	EXPECT_EQ((expected), r_.seq);						\
} while (0)

/* Receives into a lease, reports, and holds it until it is told or killed. */
struct holder {
	atomic_int stop;
	int also;
};

static long run_hold_leased(struct party *me)
{
	struct holder *h = me->arg;
	struct chanfd_received r;
	int lease = -1;
	long ret;

	ret = chanfd_recv_leased(me->fd, &me->value, sizeof(me->value), &lease, &me->opt, &r);
	if (ret != 1)
		return ret;
	me->seq = r.redelivered;
	h->also = 1;
	while (!h->stop)
		pause_for(MSEC);
	if (h->stop == 2)
		ret = chanfd_commit(lease);
	close(lease);
	return ret;
}

static struct party *holder_new(bool process, int ch)
{
	struct party *p = party_new(process, run_hold_leased, ch);

	p->arg = shared(sizeof(struct holder));
	return party_start(p);
}

static bool holds(struct party *p)
{
	struct holder *h = p->arg;

	return eventually(h->also || p->ended) && h->also;
}

/* The end of who holds a lease, whether it is told to or not. */
static void holder_ends(struct party *p)
{
	struct holder *h = p->arg;

	if (p->process) {
		party_kill(p);
	} else {
		h->stop = 1;
		party_join(p);
	}
}

static long run_hold_on(struct party *me)
{
	return pause();
}

static long run_commit(struct party *me)
{
	return chanfd_commit(me->fd);
}

static long run_poll(struct party *me)
{
	struct pollfd p = { me->fd, POLLIN, 0 };

	return poll(&p, 1, -1) < 0 ? -1 : p.revents;
}

static long run_transfer(struct party *me)
{
	return ioctl(me->fd, CHANFD_IOC_RECV, me->arg);
}

TEST_F(lease, commit)
{
	struct chanfd_channel_info info;
	struct chanfd_received r;
	uint64_t v;
	int lease;

	ASSERT_EQ(0, count_up(self->put, 2));
	ASSERT_EQ(1, get_leased(self->get, &v, &lease, &r));
	EXPECT_EQ(0, v);
	EXPECT_EQ(0, r.seq);
	EXPECT_EQ(sizeof(v), r.size);
	EXPECT_EQ(0, r.redelivered);
	info = info_of(self->put);
	EXPECT_EQ(1, info.leased);
	EXPECT_EQ(1, info.len);
	EXPECT_EQ(0, info.received);

	EXPECT_EQ(0, chanfd_commit(lease));
	info = info_of(self->put);
	EXPECT_EQ(0, info.leased);
	EXPECT_EQ(1, info.len);
	EXPECT_EQ(1, info.received);
	EXPECT_EQ(0, info.returned);
	EXPECT_EQ(ERANGE, errno_of(chanfd_commit(lease)));
	close(lease);
	EXPECT_NEXT(self->get, 1, 0);
	EXPECT_EQ(2, info_of(self->put).received);
}

TEST_F(lease, comes_back_to_the_front)
{
	struct party *p;

	ASSERT_EQ(0, count_up(self->put, 3));
	p = holder_new(variant->process, self->get);
	ASSERT_TRUE(holds(p));
	EXPECT_EQ(1, info_of(self->get).leased);
	EXPECT_EQ(2, info_of(self->get).len);
	holder_ends(p);

	EXPECT_TRUE(eventually(!info_of(self->get).leased));
	EXPECT_EQ(1, info_of(self->get).returned);
	EXPECT_NEXT(self->get, 0, 1);
	EXPECT_NEXT(self->get, 1, 0);
	EXPECT_NEXT(self->get, 2, 0);
}

TEST_F(lease, again_and_again)
{
	unsigned int i;

	ASSERT_EQ(0, count_up(self->put, 2));
	for (i = 0; i < 5; i++) {
		struct party *p = holder_new(variant->process, self->get);

		ASSERT_TRUE(holds(p));
		EXPECT_EQ(0, p->value);
		EXPECT_EQ(i, p->seq);
		holder_ends(p);
	}
	EXPECT_EQ(5, info_of(self->get).returned);
	EXPECT_NEXT(self->get, 0, 5);
	EXPECT_NEXT(self->get, 1, 0);
}

/* Several leases end in another order than they were made in. */
TEST_F(lease, in_the_order_of_their_numbers)
{
	static const int order[] = { 2, 0, 3, 1 };
	int lease[4];
	uint64_t v;
	unsigned int i;

	ASSERT_EQ(0, count_up(self->put, 6));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(1, get_leased(self->get, &v, &lease[i], NULL));
		EXPECT_EQ(i, v);
	}
	for (i = 0; i < 4; i++)
		close(lease[order[i]]);
	for (i = 0; i < 6; i++)
		EXPECT_NEXT(self->get, i, i < 4);
}

/* The channel may hold more than its capacity then, and takes no more. */
TEST_F(lease, goes_before_a_full_channel)
{
	uint64_t v;
	int lease;

	ASSERT_EQ(0, put(self->put, 0));
	ASSERT_EQ(1, get_leased(self->get, &v, &lease, NULL));
	for (v = 1; v <= CAP; v++)
		ASSERT_EQ(0, try_put(self->put, v));
	close(lease);
	EXPECT_EQ(CAP + 1, info_of(self->get).len);
	EXPECT_EQ(EAGAIN, errno_of(try_put(self->put, 99)));
	EXPECT_NEXT(self->get, 0, 1);
	EXPECT_EQ(EAGAIN, errno_of(try_put(self->put, 99)));
	for (v = 1; v <= CAP; v++)
		EXPECT_NEXT(self->get, v, 0);
}

/* As many as there are, at most @n, with one call. */
static int batch_leased(int ch, uint64_t *values, unsigned int n, int *lease, bool variable)
{
	uint32_t sizes[n];
	struct chanfd_transfer t = {
		.flags = CHANFD_LEASED | CHANFD_NONBLOCK,
		.context = -1,
		.buf = (uintptr_t)values,
		.sizes = variable ? (uintptr_t)sizes : 0,
		.size = n * sizeof(*values),
		.count = n,
		.lease = *lease,
	};
	int ret = ioctl(ch, CHANFD_IOC_RECV, &t);

	if (ret > 0)
		*lease = t.lease;
	return ret;
}

TEST_F(lease, batch)
{
	bool variable = variant->flags & CHANFD_VARIABLE;
	uint64_t v[8];
	int lease = -1;
	unsigned int i;

	ASSERT_EQ(0, count_up(self->put, 6));
	ASSERT_EQ(4, batch_leased(self->get, v, 4, &lease, variable));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(i, v[i]);
	EXPECT_EQ(4, info_of(self->get).leased);
	close(lease);
	EXPECT_NEXT(self->get, 0, 1);

	/* What came back and what did not, in one run. */
	lease = -1;
	ASSERT_EQ(5, batch_leased(self->get, v, 8, &lease, variable));
	for (i = 0; i < 5; i++)
		EXPECT_EQ(i + 1, v[i]);
	EXPECT_EQ(0, chanfd_commit(lease));
	close(lease);
	EXPECT_EQ(6, info_of(self->get).received);
}

/* Receives, and has no copy of the lease @value, though its parent has it. */
static long run_recv_without(struct party *me)
{
	drop(me, (int)me->value);
	return run_recv(me);
}

static struct party *party_recv_without(bool process, int ch, int lease)
{
	struct party *p = party_new(process, run_recv_without, ch);

	p->value = lease;
	return party_start(p);
}

TEST_F(lease, those_who_wait_get_it)
{
	bool variable = variant->flags & CHANFD_VARIABLE;
	struct party *p[3];
	uint64_t v[2];
	int lease = -1;
	int i;

	ASSERT_EQ(0, count_up(self->put, 2));
	ASSERT_EQ(2, batch_leased(self->get, v, 2, &lease, variable));
	for (i = 0; i < 3; i++) {
		p[i] = party_recv_without(variant->process, self->get, lease);
		ASSERT_TRUE(receivers_wait(self->get, i + 1));
	}
	close(lease);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(1, party_join(p[i]));
		EXPECT_EQ(i, p[i]->value);
	}
	EXPECT_TRUE(stays_blocked(p[2]));
	EXPECT_EQ(0, put(self->put, 2));
	EXPECT_EQ(1, party_join(p[2]));
	EXPECT_EQ(2, p[2]->value);
}

/* A receive into a lease that has to wait for its message. */
TEST_F(lease, parked)
{
	struct party *p = holder_new(variant->process, self->get);

	EXPECT_TRUE(receivers_wait(self->get, 1));
	EXPECT_EQ(0, put(self->put, 0));
	ASSERT_TRUE(holds(p));
	EXPECT_EQ(0, p->value);
	EXPECT_EQ(1, info_of(self->get).leased);
	holder_ends(p);
	EXPECT_NEXT(self->get, 0, 1);

	p = holder_new(variant->process, self->get);
	EXPECT_TRUE(receivers_wait(self->get, 1));
	EXPECT_EQ(0, put(self->put, 1));
	ASSERT_TRUE(holds(p));
	((struct holder *)p->arg)->stop = 2;
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(0, info_of(self->get).len);
	EXPECT_EQ(2, info_of(self->get).received);
}

/* Unbuffered: the sender is done when its message is leased (rule C10). */
TEST_F(lease, of_an_unbuffered_channel)
{
	struct party *p, *sender;
	int ch[2];

	ASSERT_EQ(0, chanfd_channel_pair(ch, sizeof(uint64_t), 0, variant->flags, NULL));
	sender = party_send(variant->process, ch[1], 0);
	ASSERT_TRUE(senders_wait(ch[0], 1));
	p = holder_new(variant->process, ch[0]);
	ASSERT_TRUE(holds(p));
	EXPECT_EQ(0, party_join(sender));
	holder_ends(p);
	EXPECT_NEXT(ch[0], 0, 1);
	EXPECT_EQ(EAGAIN, errno_of(try_put(ch[1], 1)));
	close(ch[0]);
	close(ch[1]);
}

/* The last copy counts, whichever process has it. */
TEST_F(lease, shared)
{
	struct party *p;
	uint64_t v;
	int lease, copy;

	ASSERT_EQ(0, put(self->put, 0));
	ASSERT_EQ(1, get_leased(self->get, &v, &lease, NULL));
	copy = dup(lease);
	p = party_start(party_new(true, run_hold_on, self->get));
	close(lease);
	EXPECT_EQ(0, chanfd_len(self->get));
	close(copy);
	EXPECT_EQ(0, chanfd_len(self->get));
	EXPECT_EQ(1, info_of(self->get).leased);
	party_kill(p);
	EXPECT_NEXT(self->get, 0, 1);
}

/* Anybody who has it may commit it. */
TEST_F(lease, committed_by_another)
{
	struct party *p;
	uint64_t v;
	int lease;

	ASSERT_EQ(0, put(self->put, 0));
	ASSERT_EQ(1, get_leased(self->get, &v, &lease, NULL));
	p = party_start(party_new(variant->process, run_commit, lease));
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(ERANGE, errno_of(chanfd_commit(lease)));
	close(lease);
	EXPECT_EQ(1, info_of(self->get).received);
	EXPECT_EQ(0, chanfd_len(self->get));
}

TEST_F(lease, added_to)
{
	int other = chanfd_channel(sizeof(uint64_t), 1, 0, NULL);
	uint64_t v;
	int lease, i;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, count_up(self->put, 5));
	ASSERT_EQ(0, put(other, 0));
	ASSERT_EQ(1, get_leased(self->get, &v, &lease, NULL));
	for (i = 1; i < 3; i++) {
		int same = lease;

		EXPECT_EQ(1, try_get_leased(self->get, &v, &same));
		EXPECT_EQ(lease, same);
		EXPECT_EQ(i, v);
	}
	EXPECT_EQ(3, info_of(self->get).leased);

	/* Not of this channel, no lease, nothing; each leaves all as it was. */
	EXPECT_EQ(EINVAL, errno_of(try_get_leased(other, &v, &lease)));
	i = other;
	EXPECT_EQ(EINVAL, errno_of(try_get_leased(self->get, &v, &i)));
	i = 9999;
	EXPECT_EQ(EBADF, errno_of(try_get_leased(self->get, &v, &i)));
	i = -2;
	EXPECT_EQ(EBADF, errno_of(try_get_leased(self->get, &v, &i)));
	EXPECT_EQ(3, info_of(self->get).leased);
	EXPECT_EQ(1, chanfd_len(other));

	EXPECT_EQ(0, chanfd_commit(lease));
	EXPECT_EQ(ERANGE, errno_of(try_get_leased(self->get, &v, &lease)));
	EXPECT_EQ(POISON64, v) {
		TH_LOG("a message was told of that was not received");
	}
	EXPECT_EQ(3, info_of(self->get).received);
	close(lease);
	close(other);
	EXPECT_NEXT(self->get, 3, 0);
	EXPECT_NEXT(self->get, 4, 0);
}

TEST_F(lease, holds_so_many)
{
	int ch = chanfd_channel(sizeof(uint64_t), CHANFD_MAX_BATCH + 1, variant->flags, NULL);
	uint64_t v;
	int lease = -1;
	unsigned int i;

	ASSERT_LE(0, ch);
	ASSERT_EQ(0, count_up(ch, CHANFD_MAX_BATCH + 1));
	for (i = 0; i < CHANFD_MAX_BATCH; i++)
		ASSERT_EQ(1, try_get_leased(ch, &v, &lease));
	EXPECT_EQ(EOVERFLOW, errno_of(try_get_leased(ch, &v, &lease)));
	EXPECT_EQ(1, chanfd_len(ch));
	EXPECT_EQ(CHANFD_MAX_BATCH, info_of(ch).leased);
	close(lease);
	for (i = 0; i <= CHANFD_MAX_BATCH; i++)
		EXPECT_NEXT(ch, i, i < CHANFD_MAX_BATCH);
	close(ch);
}

/* The end of a channel */

static int events_of(int fd)
{
	struct pollfd p = { fd, POLLIN | POLLOUT, 0 };

	if (poll(&p, 1, 0) < 0)
		err(1, "poll");
	return p.revents;
}

TEST_F(lease, keeps_a_closed_channel_from_its_end)
{
	struct party *p;
	uint64_t v;
	int lease;

	ASSERT_EQ(0, put(self->put, 0));
	ASSERT_EQ(1, get_leased(self->get, &v, &lease, NULL));
	ASSERT_EQ(0, chanfd_close(self->put, 0));
	EXPECT_EQ(EAGAIN, errno_of(try_get(self->get, &v)));
	EXPECT_EQ(0, events_of(self->get));
	EXPECT_EQ(POLLOUT, events_of(self->put));
	p = party_recv_without(variant->process, self->get, lease);
	EXPECT_TRUE(stays_blocked(p));

	/* It comes back, and then it is the end. */
	close(lease);
	EXPECT_EQ(1, party_join(p));
	EXPECT_EQ(0, p->value);
	EXPECT_EQ(0, try_get(self->get, &v));
	EXPECT_EQ(POLLIN | POLLHUP, events_of(self->get));
}

TEST_F(lease, its_commit_ends_a_closed_channel)
{
	struct party *p, *poller;
	uint64_t v;
	int lease;

	ASSERT_EQ(0, put(self->put, 0));
	ASSERT_EQ(1, get_leased(self->get, &v, &lease, NULL));
	ASSERT_EQ(0, chanfd_close(self->put, EIO));
	p = party_recv_without(variant->process, self->get, lease);
	poller = party_start(party_new(variant->process, run_poll, self->get));
	EXPECT_TRUE(stays_blocked(p));
	EXPECT_TRUE(stays_blocked(poller));
	EXPECT_EQ(0, chanfd_commit(lease));
	EXPECT_EQ(-1, party_join(p));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(POLLIN | POLLHUP, party_join(poller));
	close(lease);
}

TEST_F(lease, keeps_an_orphaned_channel_from_its_end)
{
	struct party *p, *poller;
	uint64_t v;
	int lease[2], i;

	ASSERT_EQ(0, count_up(self->put, 2));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(1, get_leased(self->get, &v, &lease[i], NULL));
	close(self->put);
	self->put = -1;
	EXPECT_EQ(EAGAIN, errno_of(try_get(self->get, &v)));
	EXPECT_EQ(0, events_of(self->get));
	p = party_recv_without(variant->process, self->get, lease[0]);
	poller = party_start(party_new(variant->process, run_poll, self->get));
	EXPECT_TRUE(stays_blocked(p));
	EXPECT_TRUE(stays_blocked(poller));
	EXPECT_EQ(0, chanfd_commit(lease[0]));
	EXPECT_TRUE(stays_blocked(p));
	EXPECT_EQ(0, chanfd_commit(lease[1]));
	EXPECT_EQ(-1, party_join(p));
	EXPECT_EQ(ECONNRESET, errno);
	EXPECT_EQ(POLLIN | POLLERR, party_join(poller));
	close(lease[0]);
	close(lease[1]);
}

/* Without a receiver there is nobody to come back to. */
TEST_F(lease, outlives_the_last_receiver)
{
	struct chanfd_channel_info info;
	uint64_t v;
	int lease[2], i;

	ASSERT_EQ(0, count_up(self->put, 3));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(1, get_leased(self->get, &v, &lease[i], NULL));
	close(self->get);
	self->get = -1;
	EXPECT_EQ(ECONNRESET, errno_of(try_put(self->put, 9)));
	info = info_of(self->put);
	EXPECT_EQ(2, info.leased);
	EXPECT_EQ(1, info.dropped);

	EXPECT_EQ(0, chanfd_commit(lease[1]));
	close(lease[0]);
	close(lease[1]);
	info = info_of(self->put);
	EXPECT_EQ(0, info.len);
	EXPECT_EQ(0, info.leased);
	EXPECT_EQ(1, info.received);
	EXPECT_EQ(2, info.dropped);
}

/* And the other way round: a lease is no handle of its channel. */
TEST_F(lease, is_all_that_is_left)
{
	long before = handles_open();
	uint64_t v;
	int ch, lease;

	ch = chanfd_channel(sizeof(uint64_t), 1, variant->flags, NULL);
	ASSERT_LE(0, ch);
	ASSERT_EQ(0, put(ch, 0));
	ASSERT_EQ(1, get_leased(ch, &v, &lease, NULL));
	close(ch);
	EXPECT_EQ(0, chanfd_commit(lease));
	close(lease);
	EXPECT_TRUE(eventually(handles_open() == before));
}

/* What can go wrong */

TEST_F(lease, takes_a_right_and_nothing_else)
{
	struct chanfd_info info, of_channel;
	int only_send = chanfd_reduce(self->put, CHANFD_WRITE);
	int on_other = self->put;
	char path[64], text[1024];
	struct chanfd_transfer t;
	uint64_t v;
	int lease;

	ASSERT_LE(0, only_send);
	ASSERT_EQ(0, put(self->put, 0));
	lease = -1;
	EXPECT_EQ(EPERM, errno_of(chanfd_recv_leased(on_other, &v, 8, &lease, NULL, NULL)));

	/* A lease without the flag, and the flag for a send. */
	t = (struct chanfd_transfer){
		.context = -1, .buf = (uintptr_t)&v, .size = 8, .count = 1, .lease = -1,
	};
	EXPECT_EQ(EINVAL, errno_of(ioctl(self->get, CHANFD_IOC_RECV, &t)));
	EXPECT_EQ(EINVAL, errno_of(ioctl(self->put, CHANFD_IOC_SEND, &t)));
	t.lease = 0;
	t.flags = CHANFD_LEASED;
	EXPECT_EQ(EINVAL, errno_of(ioctl(self->put, CHANFD_IOC_SEND, &t)));

	ASSERT_EQ(1, get_leased(self->get, &v, &lease, NULL));
	ASSERT_EQ(0, chanfd_info(self->get, &of_channel));
	ASSERT_EQ(0, chanfd_info(lease, &info));
	EXPECT_EQ(CHANFD_TYPE_LEASE, info.type);
	EXPECT_EQ(of_channel.id, info.id);
	EXPECT_STREQ("jobs", (char *)info.name);
	EXPECT_EQ(FD_CLOEXEC, fcntl(lease, F_GETFD));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", lease);
	ASSERT_TRUE(read_text(path, text, sizeof(text)));
	EXPECT_NE(NULL, strstr(text, "chanfd-type:\tlease\n"));
	EXPECT_NE(NULL, strstr(text, "chanfd-messages:\t1\n"));
	EXPECT_NE(NULL, strstr(text, "chanfd-state:\tpending\n"));

	/* It is not a channel, nor a smaller handle, nor something to wait for. */
	EXPECT_EQ(ENOTTY, errno_of(chanfd_reduce(lease, CHANFD_WRITE)));
	EXPECT_EQ(ENOTTY, errno_of(try_put(lease, 1)));
	EXPECT_EQ(ENOTTY, errno_of(chanfd_close(lease, 0)));
	EXPECT_EQ(ENOTTY, errno_of(chanfd_commit(self->get)));
	EXPECT_EQ(0, chanfd_commit(lease));
	ASSERT_TRUE(read_text(path, text, sizeof(text)));
	EXPECT_NE(NULL, strstr(text, "chanfd-state:\tcommitted\n"));
	close(lease);
	close(only_send);
}

TEST_F(lease, nothing_there)
{
	int context = chanfd_context(-1);
	long before = handles_open();
	struct chanfd_opt opt = { .context = context };
	uint64_t v;
	int lease = -1;

	ASSERT_LE(0, context);
	EXPECT_EQ(EAGAIN, errno_of(try_get_leased(self->get, &v, &lease)));
	opt.deadline = chanfd_deadline(MSEC);
	EXPECT_EQ(ETIMEDOUT, errno_of(chanfd_recv_leased(self->get, &v, 8, &lease, &opt, NULL)));
	EXPECT_EQ(0, chanfd_cancel(context, 0, NULL));
	EXPECT_EQ(0, put(self->put, 0));
	EXPECT_EQ(ECANCELED, errno_of(chanfd_recv_leased(self->get, &v, 8, &lease, &opt, NULL)));
	EXPECT_EQ(-1, lease);
	EXPECT_EQ(before, handles_open());
	EXPECT_NEXT(self->get, 0, 0);
	EXPECT_EQ(0, chanfd_close(self->put, 0));
	EXPECT_EQ(0, get_leased(self->get, &v, &lease, NULL));
	EXPECT_EQ(-1, lease);
	EXPECT_EQ(before, handles_open());
	close(context);
}

static long run_leased_nowhere(struct party *me)
{
	int lease = -1;

	return chanfd_recv_leased(me->fd, me->arg, 8, &lease, NULL, NULL);
}

/* A pointer that leads nowhere: at once, and when the call has waited. */
TEST_F(lease, no_place_for_the_message)
{
	long before = handles_open();
	struct party *p;
	struct chanfd_transfer t = {
		.flags = CHANFD_LEASED,
		.context = -1,
		.buf = (uintptr_t)bad_pointer(),
		.size = 8,
		.count = 1,
		.lease = -1,
	};

	ASSERT_EQ(0, put(self->put, 0));
	EXPECT_EQ(EFAULT, errno_of(ioctl(self->get, CHANFD_IOC_RECV, &t)));
	EXPECT_EQ(EFAULT, errno_of(ioctl(self->get, CHANFD_IOC_RECV, bad_pointer())));
	EXPECT_EQ(-1, t.lease);
	EXPECT_EQ(0, info_of(self->get).leased);
	EXPECT_NEXT(self->get, 0, 0);

	p = party_new(variant->process, run_leased_nowhere, self->get);
	p->arg = bad_pointer();
	party_start(p);
	EXPECT_TRUE(receivers_wait(self->get, 1));
	EXPECT_EQ(0, put(self->put, 1));
	EXPECT_EQ(-1, party_join(p));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_NEXT(self->get, 1, 0);
	EXPECT_EQ(before, handles_open());
}

/* The lease's number can't be told, though it could when the call began. */
TEST_F(lease, results_that_vanish)
{
	int memory = memfd_create("results", MFD_CLOEXEC);
	struct chanfd_transfer *t;
	struct party *p;

	ASSERT_EQ(0, ftruncate(memory, sizeof(*t)));
	t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	ASSERT_NE(MAP_FAILED, t);
	*t = (struct chanfd_transfer){
		.flags = CHANFD_LEASED,
		.context = -1,
		.count = 1,
		.lease = -1,
	};
	p = party_new(variant->process, run_transfer, self->get);
	p->arg = t;
	party_start(p);
	EXPECT_TRUE(receivers_wait(self->get, 1));
	ASSERT_EQ(0, ftruncate(memory, 0));
	EXPECT_EQ(0, put(self->put, 0));
	EXPECT_EQ(-1, party_join(p));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(0, info_of(self->get).leased);
	EXPECT_NEXT(self->get, 0, 0);
	close(memory);
}

static long run_without_descriptors(struct party *me)
{
	struct rlimit none = { 0, 0 }, before;
	int lease = -1;
	long ret;

	getrlimit(RLIMIT_NOFILE, &before);
	none.rlim_max = before.rlim_max;
	setrlimit(RLIMIT_NOFILE, &none);
	ret = chanfd_recv_leased(me->fd, &me->value, 8, &lease, NULL, NULL);
	me->error = errno;
	setrlimit(RLIMIT_NOFILE, &before);
	errno = me->error;
	return ret;
}

TEST_F(lease, no_descriptor_left)
{
	struct party *p = party_start(party_new(variant->process, run_without_descriptors,
						self->get));

	EXPECT_TRUE(receivers_wait(self->get, 1));
	EXPECT_EQ(0, put(self->put, 0));
	EXPECT_EQ(-1, party_join(p));
	EXPECT_EQ(EMFILE, errno);
	EXPECT_EQ(0, info_of(self->get).leased);
	EXPECT_NEXT(self->get, 0, 0);
}

/* Who leases pays: an object, and the messages. */

struct spender {
	int get, put;
	int other_get, other_put;
	atomic_int made;
};

static bool set_parameter(const char *name, const char *value)
{
	char path[64];
	int fd;
	bool ok;

	snprintf(path, sizeof(path), "/sys/module/chanfd/parameters/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ok = fd >= 0 && write(fd, value, strlen(value)) > 0;
	close(fd);
	return ok;
}

/* Leases until it may not; then gives one back, and can lease again. */
static long run_lease_all(struct party *me)
{
	static char buf[CHANFD_MAX_MESSAGE];
	struct spender *s = me->arg;
	int lease[64], n, more = -1;

	/* One thread's alone; there is no way back. */
	if (syscall(SYS_setresuid, SOMEBODY, SOMEBODY, SOMEBODY))
		return -1;
	for (n = 0; n < 64; n++) {
		lease[n] = -1;
		if (chanfd_recv_leased(s->get, buf, sizeof(buf), &lease[n], &nonblock, NULL) != 1)
			break;
	}
	me->value = n ? errno : 0;
	s->made = n;
	if (!n || n == 64)
		return -1;
	chanfd_commit(lease[--n]);
	close(lease[n]);
	if (chanfd_recv_leased(s->get, buf, sizeof(buf), &more, &nonblock, NULL) != 1)
		return -1;
	close(more);
	while (n)
		close(lease[--n]);
	return 0;
}

TEST_F(lease, limits)
{
	static const struct {
		const char *name, *value, *usual;
	} limits[] = {
		{ "max_objects", "5", "65536" },
		{ "max_bytes", "100000", "268435456" },
	};
	static const char message[20000];
	unsigned int i, n;

	for (i = 0; i < 2; i++) {
		struct spender *s = shared(sizeof(*s));
		struct party *p = party_new(variant->process, run_lease_all, -1);
		int fd[2];

		ASSERT_EQ(0, chanfd_channel_pair(fd, sizeof(message), 10, CHANFD_VARIABLE, NULL));
		for (n = 0; n < 10; n++)
			ASSERT_EQ(0, chanfd_send(fd[1], message, sizeof(message), NULL));
		s->get = fd[0];
		p->arg = s;
		ASSERT_TRUE(set_parameter(limits[i].name, limits[i].value));
		party_start(p);
		EXPECT_EQ(0, party_join(p));
		EXPECT_EQ(EDQUOT, (int)p->value);
		EXPECT_EQ(i ? 4 : 5, atomic_load(&s->made));
		set_parameter(limits[i].name, limits[i].usual);
		/* All but one came back, and each that could not be leased stayed. */
		EXPECT_EQ(9, chanfd_len(fd[0]));
		EXPECT_EQ(0, info_of(fd[0]).leased);
		EXPECT_TRUE(conserved(fd[0]));
		close(fd[0]);
		close(fd[1]);
	}
}

/* A user who may lease 4 messages; the channel has room for one. */
static long run_pile_up(struct party *me)
{
	static const char message[20000];
	struct spender *s = me->arg;
	int lease[4] = { -1, -1, -1, -1 }, n;

	if (syscall(SYS_setresuid, SOMEBODY, SOMEBODY, SOMEBODY))
		return -1;
	for (n = 0; n < 4; n++)
		if (chanfd_send(s->put, message, sizeof(message), &nonblock) ||
		    chanfd_recv_leased(s->get, NULL, 0, &lease[n], &nonblock, NULL) != 1)
			return -1;
	while (n)
		close(lease[--n]);
	/* To lease one again costs nothing more, and others have to wait until one is received. */
	lease[0] = -1;
	if (chanfd_recv_leased(s->get, NULL, 0, &lease[0], &nonblock, NULL) != 1)
		return -2;
	close(lease[0]);
	if (chanfd_send(s->other_put, message, sizeof(message), &nonblock))
		return -3;
	lease[0] = -1;
	if (chanfd_recv_leased(s->other_get, NULL, 0, &lease[0], &nonblock, NULL) != -1 ||
	    errno != EDQUOT)
		return -4;
	if (chanfd_recv(s->get, NULL, 0, &nonblock, NULL) != 1)
		return -5;
	if (chanfd_recv_leased(s->other_get, NULL, 0, &lease[0], &nonblock, NULL) != 1)
		return -6;
	return close(lease[0]);
}

/* What came back is beyond what the channel may hold, and who leased it still pays. */
TEST_F(lease, pays_for_what_came_back)
{
	struct party *p = party_new(variant->process, run_pile_up, -1);
	struct spender *s = shared(sizeof(*s));
	int a[2], b[2];

	ASSERT_EQ(0, chanfd_channel_pair(a, 20000, 1, CHANFD_VARIABLE, NULL));
	ASSERT_EQ(0, chanfd_channel_pair(b, 20000, 1, CHANFD_VARIABLE, NULL));
	*s = (struct spender){ a[0], a[1], b[0], b[1], 0 };
	p->arg = s;
	ASSERT_TRUE(set_parameter("max_bytes", "100000"));
	party_start(p);
	EXPECT_EQ(0, party_join(p));
	set_parameter("max_bytes", "268435456");
	EXPECT_EQ(3, chanfd_len(a[0]));
	EXPECT_EQ(1, chanfd_len(b[0]));
	close(a[0]);
	close(a[1]);
	close(b[0]);
	close(b[1]);
}

/* As one of several cases */

TEST_F(lease, select)
{
	int other = chanfd_channel(sizeof(uint64_t), 1, 0, NULL);
	struct chanfd_outcome out;
	uint64_t v = POISON64, w;
	struct chanfd_parcel p = {
		.buf = (uintptr_t)&v, .size = sizeof(v), .flags = CHANFD_LEASED, .lease = -1,
	};
	struct chanfd_case cases[] = {
		CHANFD_RECV_PARCEL(self->get, &p),
		CHANFD_RECV(other, &w),
	};

	ASSERT_LE(0, other);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_select(cases, 2, &nonblock, &out)));
	ASSERT_EQ(0, count_up(self->put, 2));
	EXPECT_EQ(0, chanfd_select(cases, 2, &nonblock, &out));
	EXPECT_EQ(1, out.ok);
	EXPECT_EQ(sizeof(v), out.size);
	EXPECT_EQ(0, out.number);
	EXPECT_EQ(0, v);
	EXPECT_LE(0, p.lease);
	EXPECT_EQ(0, p.nr_fds);
	EXPECT_EQ(1, info_of(self->get).leased);
	close(p.lease);

	p.lease = -1;
	p.redelivered = POISON32;
	EXPECT_EQ(0, chanfd_select(cases, 1, NULL, &out));
	EXPECT_EQ(1, p.redelivered);
	EXPECT_EQ(0, chanfd_select(cases, 1, NULL, &out));
	EXPECT_EQ(0, p.redelivered);
	EXPECT_EQ(2, info_of(self->get).leased);
	EXPECT_EQ(0, chanfd_close(self->put, 0));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_select(cases, 2, &nonblock, &out)));
	EXPECT_EQ(0, chanfd_commit(p.lease));
	EXPECT_EQ(0, chanfd_select(cases, 2, NULL, &out));
	EXPECT_EQ(0, out.ok);
	close(p.lease);
	close(other);
}

static long run_select_leased(struct party *me)
{
	struct chanfd_outcome out;
	struct chanfd_parcel p = {
		.buf = (uintptr_t)&me->value, .size = 8, .flags = CHANFD_LEASED, .lease = -1,
	};
	struct chanfd_case cases[] = {
		CHANFD_RECV_PARCEL((int)me->value, &p),
		CHANFD_RECV_PARCEL(me->fd, &p),
	};

	if (chanfd_select(cases, 2, NULL, &out) != 1 || out.ok != 1)
		return -1;
	return chanfd_commit(p.lease);
}

TEST_F(lease, select_that_waits)
{
	int other = chanfd_channel(sizeof(uint64_t), 1, 0, NULL);
	struct party *p = party_new(variant->process, run_select_leased, self->get);

	ASSERT_LE(0, other);
	p->value = other;
	party_start(p);
	EXPECT_TRUE(receivers_wait(other, 1));
	EXPECT_TRUE(receivers_wait(self->get, 1));
	EXPECT_EQ(0, put(self->put, 7));
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(7, p->value);
	EXPECT_EQ(1, info_of(self->get).received);
	EXPECT_EQ(0, info_of(other).waiting_receivers);
	close(other);
}

/* Pointers of a parcel that lead nowhere, and fields that say what can't be. */
TEST_F(lease, bad_parcels)
{
	struct chanfd_outcome out;
	uint64_t v;
	const struct chanfd_parcel good = {
		.buf = (uintptr_t)&v, .size = sizeof(v), .flags = CHANFD_LEASED, .lease = -1,
	};
	struct chanfd_parcel p = good;
	struct chanfd_case c = CHANFD_RECV_PARCEL(self->get, &p);
	struct chanfd_parcel *readonly = mmap(NULL, sizeof(p), PROT_READ | PROT_WRITE,
					      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long before = handles_open();

	ASSERT_NE(MAP_FAILED, readonly);
	ASSERT_EQ(0, put(self->put, 0));
#define REFUSED(error, change) do {						\
	p = good;								\
	change;									\
	EXPECT_EQ(error, errno_of(chanfd_select(&c, 1, &nonblock, &out))) {	\
		TH_LOG(#change);						\
	}									\
	c = CHANFD_RECV_PARCEL(self->get, &p);					\
} while (0)
	REFUSED(EINVAL, p.reserved = 1);
	REFUSED(EINVAL, p.flags = CHANFD_NONBLOCK);
	REFUSED(EINVAL, p.flags = 0);
	REFUSED(EINVAL, c.size = sizeof(v));
	REFUSED(EINVAL, c.flags |= 1U << 5);
	REFUSED(EINVAL, p.lease = self->get);
	REFUSED(EBADF, p.lease = 9999);
	REFUSED(EFAULT, c.buf = (uintptr_t)bad_pointer());
	REFUSED(EFAULT, p.buf = (uintptr_t)bad_pointer());
	*readonly = good;
	mprotect(readonly, sizeof(p), PROT_READ);
	REFUSED(EFAULT, c.buf = (uintptr_t)readonly);
	/* A send has none. */
	c = CHANFD_SEND_PARCEL(self->put, &p);
	p = good;
	EXPECT_EQ(EINVAL, errno_of(chanfd_select(&c, 1, &nonblock, &out)));
	EXPECT_EQ(0, info_of(self->get).leased);
	EXPECT_EQ(before, handles_open());
	EXPECT_NEXT(self->get, 0, 0);
	EXPECT_EQ(EAGAIN, errno_of(try_get(self->get, &v)));
}

/*
 * The storm: workers lease what they are sent, write down that they had it, commit, and
 * are killed at random instants. In the end everything was had by somebody, and as many
 * were received as were sent.
 */

#define JOBS	3000
#define WORKERS	4
#define KILLS	100

struct worked {
	uint64_t sent;
	atomic_uchar had[JOBS];
	atomic_uint redelivered;
};

static long run_work(struct party *me)
{
	struct worked *worked = me->arg;
	struct chanfd_received r;
	uint64_t job;
	int lease;
	int ret;

	while ((ret = get_leased(me->fd, &job, &lease, &r)) == 1) {
		if (job >= JOBS)
			return -1;
		worked->had[job] = 1;
		worked->redelivered += !!r.redelivered;
		if (chanfd_commit(lease))
			return -1;
		close(lease);
	}
	return ret;
}

static struct party *worker_start(int ch, struct worked *worked)
{
	struct party *p = party_new(true, run_work, ch);

	p->arg = worked;
	return party_start(p);
}

TEST_F(lease, storm)
{
	struct worked *worked = shared(sizeof(*worked));
	struct party *workers[WORKERS], *sender;
	unsigned int seed = now(), i, kills;
	long before = handles_open();
	int ch[2];

	if (!variant->process)
		SKIP(return, "threads cannot be killed one by one");
	TH_LOG("seed %u", seed);
	ASSERT_EQ(0, chanfd_channel_pair(ch, sizeof(uint64_t), 8, variant->flags, NULL));
	sender = party_new(true, run_count, ch[1]);
	sender->value = JOBS;
	party_start(sender);
	for (i = 0; i < WORKERS; i++)
		workers[i] = worker_start(ch[0], worked);
	for (kills = 0; kills < KILLS; kills++) {
		i = rand_r(&seed) % WORKERS;
		pause_for(rand_r(&seed) % (3 * MSEC));
		party_kill(workers[i]);
		workers[i] = worker_start(ch[0], worked);
	}
	EXPECT_EQ(0, party_join(sender));
	EXPECT_EQ(0, chanfd_close(ch[1], 0));
	for (i = 0; i < WORKERS; i++)
		EXPECT_EQ(0, party_join(workers[i]));
	for (i = 0; i < JOBS; i++)
		EXPECT_EQ(1, atomic_load(&worked->had[i]));
	EXPECT_EQ(JOBS, info_of(ch[0]).received);
	EXPECT_EQ(0, info_of(ch[0]).leased);
	EXPECT_TRUE(conserved(ch[0]));
	TH_LOG("%u redelivered", worked->redelivered);
	close(ch[0]);
	close(ch[1]);
	EXPECT_TRUE(eventually(handles_open() == before));
}

/* Many at once take, return, add and commit: each number is committed once. */

static long run_take_and_return(struct party *me)
{
	struct worked *worked = me->arg;
	unsigned int seed = me->value;
	uint64_t job;
	int lease, i;
	int ret;

	while ((ret = get_leased(me->fd, &job, &lease, NULL)) == 1) {
		uint64_t jobs[4] = { job };
		int n = 1;

		while (n < 4 && rand_r(&seed) % 2 && try_get_leased(me->fd, &jobs[n], &lease) == 1)
			n++;
		if (rand_r(&seed) % 2) {
			if (chanfd_commit(lease))
				return -1;
			for (i = 0; i < n; i++)
				worked->had[jobs[i]]++;
		}
		close(lease);
	}
	return ret;
}

TEST_F(lease, crowd)
{
	struct worked *worked = shared(sizeof(*worked));
	struct party *p[WORKERS];
	unsigned int i;
	int ch[2];

	ASSERT_EQ(0, chanfd_channel_pair(ch, sizeof(uint64_t), 8, variant->flags, NULL));
	for (i = 0; i < WORKERS; i++) {
		p[i] = party_new(variant->process, run_take_and_return, ch[0]);
		p[i]->arg = worked;
		p[i]->value = i;
		party_start(p[i]);
	}
	EXPECT_EQ(0, count_up(ch[1], JOBS));
	EXPECT_EQ(0, chanfd_close(ch[1], 0));
	EXPECT_EQ(0, join_all(p, WORKERS));
	for (i = 0; i < JOBS; i++)
		EXPECT_EQ(1, atomic_load(&worked->had[i]));
	EXPECT_EQ(JOBS, info_of(ch[0]).received);
	EXPECT_TRUE(conserved(ch[0]));
	close(ch[0]);
	close(ch[1]);
}

TEST_HARNESS_MAIN
