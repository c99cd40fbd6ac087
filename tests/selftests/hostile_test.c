// SPDX-License-Identifier: GPL-2.0
/*
 * Those who share an object and mean no good: what they may do to the others.
 * Documentation/security.rst has the threats, and which tests show what.
 *
 * Memory that stalls: userfaultfd(2) lets its owner answer a page fault when it likes,
 * or never. Whoever copies from or to such memory stands still in the kernel.
 */
#include <linux/userfaultfd.h>
#include <poll.h>

#include "numbers.h"

/* A page that stalls whoever touches it, for as long as the file says; -1 without. */
static int stall(void *page)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.range = { (uintptr_t)page, getpagesize() },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -1;
	if (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range))
		err(1, "userfaultfd");
	return fd;
}

static void *own_page(void)
{
	void *page = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		err(1, "mmap");
	return page;
}

/**
 * struct stalled - a party with memory that stalls
 * @p:		who is stalled
 * @ch:		where
 * @page:	the memory
 * @theirs:	file that lets it go, by the party's number
 * @ready:	both are set
 * @ours:	the same file by the test's number
 */
struct stalled {
	struct party *p;
	int ch;
	void *page;
	int theirs;
	atomic_bool ready;
	int ours;
};

static void prepare(struct stalled *s)
{
	s->page = own_page();
	s->theirs = stall(s->page);
	s->ready = true;
}

static long run_recv_stalled(struct party *me)
{
	struct stalled *s = me->arg;
	long n;

	prepare(s);
	n = chanfd_recv(me->fd, s->page, sizeof(uint64_t), NULL, NULL);
	memcpy(&me->value, s->page, sizeof(me->value));
	return n;
}

static long run_send_stalled(struct party *me)
{
	struct stalled *s = me->arg;

	prepare(s);
	return chanfd_send(me->fd, s->page, sizeof(uint64_t), NULL);
}

/* Starts @run with a channel of @s, and returns when it stands still at its page. */
static bool stands_still(struct stalled *s, bool process, long (*run)(struct party *me))
{
	struct pollfd fault = { .events = POLLIN };
	int pidfd;

	s->p = party_new(process, run, s->ch);
	s->p->arg = s;
	party_start(s->p);
	if (!eventually(s->ready))
		return false;
	pidfd = syscall(SYS_pidfd_open, process ? s->p->tid : getpid(), 0);
	s->ours = syscall(SYS_pidfd_getfd, pidfd, s->theirs, 0);
	if (s->ours < 0)
		err(1, "pidfd_getfd");
	close(pidfd);
	fault.fd = s->ours;
	return poll(&fault, 1, BOUND / MSEC) == 1;
}

static bool let_go(struct stalled *s)
{
	struct uffdio_zeropage zero = {
		.range = { (uintptr_t)s->page, getpagesize() },
	};

	return !ioctl(s->ours, UFFDIO_ZEROPAGE, &zero);
}

static bool may_stall(void)
{
	int fd = stall(own_page());

	close(fd);
	return fd >= 0;
}

static struct stalled *stalled_at(int ch)
{
	struct stalled *s = shared(sizeof(*s));

	s->ch = ch;
	return s;
}

FIXTURE(stalled) {
	struct stalled *s;
	int ch;
};

FIXTURE_VARIANT(stalled) {
	bool process;
};

FIXTURE_VARIANT_ADD(stalled, threads) { .process = false };
FIXTURE_VARIANT_ADD(stalled, processes) { .process = true };

FIXTURE_SETUP(stalled)
{
	self->ch = make(2);
	if (may_stall())
		self->s = stalled_at(self->ch);
}

FIXTURE_TEARDOWN(stalled)
{
}

TEST_F(stalled, receiver_holds_nobody_up)
{
	uint64_t value;

	if (!self->s)
		SKIP(return, "no userfaultfd in this kernel");
	ASSERT_EQ(0, put(self->ch, 7));
	ASSERT_TRUE(stands_still(self->s, variant->process, run_recv_stalled));

	EXPECT_EQ(1, info_of(self->ch).len);
	EXPECT_EQ(0, try_put(self->ch, 8));
	EXPECT_EQ(1, try_get(self->ch, &value));
	EXPECT_EQ(7, value);

	ASSERT_TRUE(let_go(self->s));
	EXPECT_EQ(1, party_join(self->s->p));
	EXPECT_EQ(8, self->s->p->value);
}

TEST_F(stalled, sender_holds_nobody_up)
{
	uint64_t value;

	if (!self->s)
		SKIP(return, "no userfaultfd in this kernel");
	ASSERT_TRUE(stands_still(self->s, variant->process, run_send_stalled));

	EXPECT_EQ(0, info_of(self->ch).sent);
	EXPECT_EQ(0, try_put(self->ch, 8));
	EXPECT_EQ(1, try_get(self->ch, &value));
	EXPECT_EQ(8, value);

	ASSERT_TRUE(let_go(self->s));
	EXPECT_EQ(0, party_join(self->s->p));
	EXPECT_EQ(1, try_get(self->ch, &value));
	EXPECT_EQ(0, value);
}

TEST(stalled_can_be_killed)
{
	struct stalled *s;
	uint64_t value;
	int ch = make(1);

	if (!may_stall())
		SKIP(return, "no userfaultfd in this kernel");
	s = stalled_at(ch);
	ASSERT_EQ(0, put(ch, 7));
	ASSERT_TRUE(stands_still(s, true, run_recv_stalled));
	party_kill(s->p);
	EXPECT_TRUE(party_ended(s->p));
	EXPECT_EQ(1, try_get(ch, &value));
	EXPECT_EQ(7, value);
}

/* Cells: whoever stands still keeps nobody from loading and storing, and no value. */

static long run_load_stalled(struct party *me)
{
	struct stalled *s = me->arg;
	long n;

	prepare(s);
	n = chanfd_load(me->fd, s->page, sizeof(uint64_t), &me->seq);
	memcpy(&me->value, s->page, sizeof(me->value));
	return n;
}

static long run_store_stalled(struct party *me)
{
	struct stalled *s = me->arg;

	prepare(s);
	return chanfd_store(me->fd, s->page, sizeof(uint64_t), &me->seq);
}

/* Both the old value's place, and what it is to be replaced by. */
static long run_swap_stalled(struct party *me)
{
	struct stalled *s = me->arg;
	uint64_t new = 99;
	long n;

	prepare(s);
	n = chanfd_swap(me->fd, &new, sizeof(new), s->page, sizeof(uint64_t), &me->seq);
	memcpy(&me->value, s->page, sizeof(me->value));
	return n;
}

static uint64_t number_in(int cell, uint64_t *version)
{
	uint64_t value = POISON64;

	if (chanfd_load(cell, &value, sizeof(value), version) != sizeof(value))
		return POISON64;
	return value;
}

FIXTURE(stalled_cell) {
	struct stalled *s;
	int cell;
};

FIXTURE_VARIANT(stalled_cell) {
	bool process;
};

FIXTURE_VARIANT_ADD(stalled_cell, threads) { .process = false };
FIXTURE_VARIANT_ADD(stalled_cell, processes) { .process = true };

FIXTURE_SETUP(stalled_cell)
{
	uint64_t value = 1;

	self->cell = chanfd_cell(sizeof(value), 0, NULL);
	ASSERT_EQ(0, chanfd_store(self->cell, &value, sizeof(value), NULL));
	if (may_stall())
		self->s = stalled_at(self->cell);
}

FIXTURE_TEARDOWN(stalled_cell)
{
	close(self->cell);
}

/* What it gets in the end is what is there then. */
TEST_F(stalled_cell, loader_keeps_no_value)
{
	uint64_t value;

	if (!self->s)
		SKIP(return, "no userfaultfd in this kernel");
	ASSERT_TRUE(stands_still(self->s, variant->process, run_load_stalled));
	for (value = 2; value <= 5; value++)
		ASSERT_EQ(0, chanfd_store(self->cell, &value, sizeof(value), NULL));
	EXPECT_EQ(5, number_in(self->cell, NULL));
	ASSERT_TRUE(let_go(self->s));
	EXPECT_EQ(8, party_join(self->s->p));
	EXPECT_EQ(5, self->s->p->value);
	EXPECT_EQ(5, self->s->p->seq);
}

TEST_F(stalled_cell, storer_holds_nobody_up)
{
	uint64_t value = 2, version;

	if (!self->s)
		SKIP(return, "no userfaultfd in this kernel");
	ASSERT_TRUE(stands_still(self->s, variant->process, run_store_stalled));
	EXPECT_EQ(1, number_in(self->cell, NULL));
	ASSERT_EQ(0, chanfd_store(self->cell, &value, sizeof(value), NULL));
	EXPECT_EQ(2, number_in(self->cell, &version));
	EXPECT_EQ(2, version);
	ASSERT_TRUE(let_go(self->s));
	EXPECT_EQ(0, party_join(self->s->p));
	EXPECT_EQ(3, self->s->p->seq);
	EXPECT_EQ(0, number_in(self->cell, &version));
	EXPECT_EQ(3, version);
}

TEST_F(stalled_cell, swap_holds_nobody_up)
{
	uint64_t value = 2;

	if (!self->s)
		SKIP(return, "no userfaultfd in this kernel");
	ASSERT_TRUE(stands_still(self->s, variant->process, run_swap_stalled));
	EXPECT_EQ(1, number_in(self->cell, NULL));
	ASSERT_EQ(0, chanfd_store(self->cell, &value, sizeof(value), NULL));
	EXPECT_EQ(2, number_in(self->cell, NULL));
	ASSERT_TRUE(let_go(self->s));
	EXPECT_EQ(8, party_join(self->s->p));
	/* What it replaced is what it says it has replaced. */
	EXPECT_EQ(2, self->s->p->value);
	EXPECT_EQ(3, self->s->p->seq);
	EXPECT_EQ(99, number_in(self->cell, NULL));
}

TEST(stalled_loader_can_be_killed)
{
	uint64_t value = 1;
	struct stalled *s;
	int cell = chanfd_cell(sizeof(value), 0, NULL);

	if (!may_stall())
		SKIP(return, "no userfaultfd in this kernel");
	ASSERT_EQ(0, chanfd_store(cell, &value, sizeof(value), NULL));
	s = stalled_at(cell);
	ASSERT_TRUE(stands_still(s, true, run_load_stalled));
	party_kill(s->p);
	EXPECT_TRUE(party_ended(s->p));
	EXPECT_EQ(1, number_in(cell, NULL));
}

TEST_HARNESS_MAIN
