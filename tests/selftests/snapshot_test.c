// SPDX-License-Identifier: GPL-2.0
/*
 * Snapshots: copies that last, readers that neither wait nor call, memory that returns.
 */
#include <linux/seccomp.h>
#include <malloc.h>
#include <sched.h>
#include <sys/resource.h>

#include "helpers.h"

static int store_text(int cell, const char *text)
{
	return chanfd_store(cell, text, strlen(text), NULL);
}

static bool is_text(const struct chanfd_copy *copy, const char *text)
{
	return copy && copy->size == strlen(text) && !memcmp(copy->data, text, copy->size);
}

TEST(copies_last)
{
	const struct chanfd_copy *one, *again, *two;
	struct chanfd_snapshot *s;
	int cell = chanfd_cell(16, 0, "config");

	s = chanfd_snapshot_open(cell);
	ASSERT_NE(NULL, s);
	EXPECT_EQ(NULL, chanfd_snapshot_get(s));
	EXPECT_EQ(ENODATA, errno);

	ASSERT_EQ(0, store_text(cell, "one"));
	one = chanfd_snapshot_get(s);
	EXPECT_TRUE(is_text(one, "one"));
	EXPECT_EQ(1, one->version);
	/* There is one copy of a version, and nothing to renew. */
	again = chanfd_snapshot_get(s);
	EXPECT_EQ(one, again);
	EXPECT_EQ(one, chanfd_snapshot_renew(s, again));
	chanfd_snapshot_put(again);

	ASSERT_EQ(0, store_text(cell, "and two"));
	two = chanfd_snapshot_get(s);
	EXPECT_TRUE(is_text(two, "and two"));
	EXPECT_EQ(2, two->version);
	EXPECT_TRUE(is_text(one, "one"));
	EXPECT_EQ(1, one->version);
	one = chanfd_snapshot_renew(s, one);
	EXPECT_EQ(two, one);
	chanfd_snapshot_put(one);
	chanfd_snapshot_put(two);

	/* Not current any more, and used by nobody, before it is asked for again. */
	ASSERT_EQ(0, store_text(cell, ""));
	one = chanfd_snapshot_get(s);
	EXPECT_TRUE(is_text(one, ""));
	EXPECT_EQ(3, one->version);
	chanfd_snapshot_put(one);
	chanfd_snapshot_close(s);
	chanfd_snapshot_close(NULL);
}

TEST(opening)
{
	struct chanfd_snapshot *s;
	const struct chanfd_copy *copy;
	long handles = handles_open();
	int fd[2];

	ASSERT_EQ(0, chanfd_cell_pair(fd, 8, 0, NULL));
	EXPECT_EQ(NULL, chanfd_snapshot_open(fd[1]));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(NULL, chanfd_snapshot_open(chanfd_waitgroup(0, NULL)));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(NULL, chanfd_snapshot_open(-1));
	EXPECT_EQ(EBADF, errno);
	/* It needs nobody's handle, and gives back what it has. */
	s = chanfd_snapshot_open(fd[0]);
	ASSERT_NE(NULL, s);
	close(fd[0]);
	ASSERT_EQ(0, store_text(fd[1], "later"));
	copy = chanfd_snapshot_get(s);
	EXPECT_TRUE(is_text(copy, "later"));
	chanfd_snapshot_put(copy);
	chanfd_snapshot_close(s);
	close(fd[1]);
	EXPECT_EQ(handles + 1, handles_open());		/* the waitgroup */
}

/* Its loads are not those of the handle that it was made of. */
TEST(nobodys_news)
{
	struct chanfd_opt try = { -1, CHANFD_NONBLOCK, 0 };
	struct chanfd_snapshot *s;
	int cell = chanfd_cell(8, 0, NULL);

	s = chanfd_snapshot_open(cell);
	ASSERT_NE(NULL, s);
	ASSERT_EQ(0, store_text(cell, "news"));
	chanfd_snapshot_put(chanfd_snapshot_get(s));
	EXPECT_EQ(0, chanfd_select_of(&try, NULL, CHANFD_POLL(cell, 1)));
	chanfd_snapshot_close(s);
}

/* As many versions at once as somebody likes to keep. */
TEST(many_kept)
{
	enum { KEPT = 200 };
	const struct chanfd_copy *copy[KEPT];
	struct chanfd_snapshot *s;
	int cell = chanfd_cell(sizeof(int), 0, NULL), i;

	s = chanfd_snapshot_open(cell);
	ASSERT_NE(NULL, s);
	for (i = 0; i < KEPT; i++) {
		ASSERT_EQ(0, chanfd_store(cell, &i, sizeof(i), NULL));
		copy[i] = chanfd_snapshot_get(s);
		ASSERT_NE(NULL, copy[i]);
	}
	for (i = KEPT - 1; i >= 0; i--) {
		EXPECT_EQ(i + 1, copy[i]->version);
		EXPECT_EQ(i, *(const int *)copy[i]->data);
		chanfd_snapshot_put(copy[i]);
	}
	chanfd_snapshot_close(s);
}

/* Copies that nobody uses are freed, and what they were in is used again. */
TEST(memory_returns)
{
	static char value[4096];
	const struct chanfd_copy *copy;
	struct chanfd_snapshot *s;
	size_t before, after;
	int cell = chanfd_cell(sizeof(value), 0, NULL), i;

	s = chanfd_snapshot_open(cell);
	ASSERT_NE(NULL, s);
	ASSERT_EQ(0, chanfd_store(cell, value, sizeof(value), NULL));
	copy = chanfd_snapshot_get(s);
	ASSERT_EQ(0, chanfd_store(cell, value, sizeof(value), NULL));
	copy = chanfd_snapshot_renew(s, copy);
	before = mallinfo2().uordblks;
	for (i = 0; i < 1000; i++) {
		ASSERT_EQ(0, chanfd_store(cell, value, sizeof(value), NULL));
		copy = chanfd_snapshot_renew(s, copy);
		ASSERT_EQ(i + 3, copy->version);
	}
	after = mallinfo2().uordblks;
	EXPECT_LT(after, before + 3 * sizeof(value));
	chanfd_snapshot_put(copy);
	chanfd_snapshot_close(s);
	EXPECT_LT(mallinfo2().uordblks, before);
}

/* No more memory, and none that is left; or as much as before. */
static void starve(bool hungry)
{
	static struct rlimit before;
	static void **taken;
	struct rlimit none;
	void **more;

	if (!hungry) {
		if (setrlimit(RLIMIT_AS, &before))
			err(1, "setrlimit");
		return;
	}
	if (getrlimit(RLIMIT_AS, &before))
		err(1, "getrlimit");
	none = before;
	none.rlim_cur = 1;
	if (setrlimit(RLIMIT_AS, &none))
		err(1, "setrlimit");
	while ((more = malloc(4096))) {
		*more = taken;
		taken = more;
	}
}

/* Without memory for a new copy there is the old one, whole. */
TEST(without_memory)
{
	static char value[CHANFD_MAX_CELL];
	const struct chanfd_copy *old, *copy;
	struct chanfd_snapshot *s;
	int cell = chanfd_cell(sizeof(value), 0, NULL);

	s = chanfd_snapshot_open(cell);
	ASSERT_NE(NULL, s);
	ASSERT_EQ(0, chanfd_store(cell, value, sizeof(value), NULL));
	starve(true);
	copy = chanfd_snapshot_get(s);
	EXPECT_EQ(NULL, copy);
	EXPECT_EQ(ENOMEM, errno);
	starve(false);
	old = chanfd_snapshot_get(s);
	ASSERT_NE(NULL, old);

	memset(value, 1, sizeof(value));
	ASSERT_EQ(0, chanfd_store(cell, value, sizeof(value), NULL));
	starve(true);
	copy = chanfd_snapshot_get(s);
	EXPECT_EQ(old, copy);
	EXPECT_EQ(old, chanfd_snapshot_renew(s, old));
	EXPECT_EQ(1, old->version);
	EXPECT_EQ(0, ((const char *)old->data)[sizeof(value) - 1]);
	chanfd_snapshot_put(copy);
	starve(false);
	old = chanfd_snapshot_renew(s, old);
	EXPECT_EQ(2, old->version);
	EXPECT_EQ(0, memcmp(old->data, value, sizeof(value)));
	chanfd_snapshot_put(old);
	chanfd_snapshot_close(s);
}

/* While nothing changes readers make no system call: any would kill this one. */
static long run_read_only(struct party *me)
{
	struct chanfd_snapshot *s = me->arg;
	const struct chanfd_copy *copy = chanfd_snapshot_get(s);
	const struct chanfd_cell_page *page = chanfd_cell_map(me->fd);
	uint64_t version = 0;
	char buf[16];
	int i;

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		return -1;
	for (i = 0; i < 1000; i++) {
		chanfd_cell_read(page, buf, sizeof(buf), &version);
		chanfd_snapshot_put(chanfd_snapshot_get(s));
		copy = chanfd_snapshot_renew(s, copy);
	}
	me->value = copy->version + version;
	me->seq = 1;
	syscall(SYS_exit, 0);
	return 0;
}

TEST(no_system_calls)
{
	struct chanfd_snapshot *s;
	struct party *p;
	int cell = chanfd_cell(16, 0, NULL);

	s = chanfd_snapshot_open(cell);
	ASSERT_NE(NULL, s);
	ASSERT_EQ(0, store_text(cell, "value"));
	p = party_new(true, run_read_only, cell);
	p->arg = s;
	party_start(p);
	EXPECT_EQ(-1, party_join(p));	/* it ended as no party does */
	EXPECT_EQ(1, p->seq);
	EXPECT_EQ(2, p->value);
}

/*
 * Readers and who stores, as fast as they go. A value is as many words as its number
 * says, each of them the number.
 */
enum { MOST_WORDS = 64, KEEP = 4, READERS = 3 };

struct storm {
	int cell;
	struct chanfd_snapshot *s;	/* of threads; processes have their own */
	atomic_bool stop;
	atomic_ulong stores;
	atomic_ulong reads;
	atomic_ulong news;
};

static bool is_whole(const struct chanfd_copy *copy)
{
	const uint64_t *words = copy->data;
	size_t i;

	if (copy->size != 8 * (1 + words[0] % MOST_WORDS))
		return false;
	for (i = 1; i < copy->size / 8; i++)
		if (words[i] != words[0])
			return false;
	return true;
}

static long run_store(struct party *me)
{
	struct storm *st = me->arg;
	uint64_t words[MOST_WORDS], i, n;

	for (i = me->value; !st->stop; i += 3) {
		for (n = 0; n < 1 + i % MOST_WORDS; n++)
			words[n] = i;
		if (chanfd_store(st->cell, words, 8 * n, NULL))
			return -1;
		st->stores++;
		sched_yield();
	}
	return 0;
}

/* Keeps some for a while. 1: not whole, 2: changed, 3: older than one before. */
static long run_read(struct party *me)
{
	struct storm *st = me->arg;
	struct chanfd_snapshot *s = me->process ? chanfd_snapshot_open(st->cell) : st->s;
	const struct chanfd_copy *copy[KEEP], *held;
	uint64_t number[KEEP], last = 0;
	unsigned int i;

	if (!s)
		return -1;
	held = chanfd_snapshot_get(s);
	for (i = 0; !st->stop; i++) {
		unsigned int n = i % KEEP;

		if (i >= KEEP) {
			if (!is_whole(copy[n]) || *(const uint64_t *)copy[n]->data != number[n])
				return 2;
			chanfd_snapshot_put(copy[n]);
		}
		copy[n] = chanfd_snapshot_get(s);
		if (!copy[n])
			return -1;
		if (!is_whole(copy[n]))
			return 1;
		number[n] = *(const uint64_t *)copy[n]->data;
		held = chanfd_snapshot_renew(s, held);
		if (!is_whole(held))
			return 1;
		if (copy[n]->version < last || held->version < copy[n]->version)
			return 3;
		if (held->version > last)
			st->news++;
		last = held->version;
		st->reads++;
		sched_yield();
	}
	chanfd_snapshot_put(held);
	for (i = i > KEEP ? KEEP : i; i--; )
		chanfd_snapshot_put(copy[i]);
	if (me->process)
		chanfd_snapshot_close(s);
	return 0;
}

FIXTURE(snapshot) {
	struct storm *st;
};

FIXTURE_VARIANT(snapshot) {
	bool process;
};

FIXTURE_VARIANT_ADD(snapshot, threads) {
	.process = false,
};

FIXTURE_VARIANT_ADD(snapshot, processes) {
	.process = true,
};

FIXTURE_SETUP(snapshot)
{
	uint64_t zero = 0;

	self->st = shared(sizeof(*self->st));
	self->st->cell = chanfd_cell(8 * MOST_WORDS, 0, NULL);
	self->st->s = chanfd_snapshot_open(self->st->cell);
	ASSERT_NE(NULL, self->st->s);
	ASSERT_EQ(0, chanfd_store(self->st->cell, &zero, sizeof(zero), NULL));
}

FIXTURE_TEARDOWN(snapshot)
{
	if (self->st) {
		chanfd_snapshot_close(self->st->s);
		close(self->st->cell);
	}
}

#define ROUNDS	(2000 / SLOWNESS)

TEST_F(snapshot, readers_and_stores)
{
	struct party *p[2 + READERS];
	struct storm *st = self->st;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = party_new(variant->process, i < 2 ? run_store : run_read, st->cell);
		p[i]->arg = st;
		p[i]->value = i;
		party_start(p[i]);
	}
	EXPECT_TRUE(eventually(st->stores > ROUNDS && st->reads > ROUNDS && st->news > 20));
	st->stop = true;
	for (i = 0; i < ARRAY_SIZE(p); i++)
		EXPECT_EQ(0, party_join(p[i]));
	TH_LOG("%lu stores, %lu reads, %lu times news", st->stores, st->reads, st->news);
}

/* What is stored anywhere is there for the next get, everywhere. */
static long run_answer(struct party *me)
{
	struct storm *st = me->arg;
	struct chanfd_snapshot *s = me->process ? chanfd_snapshot_open(st->cell) : st->s;
	const struct chanfd_copy *copy;
	uint64_t asked;

	while (chanfd_get(me->fd, &asked, NULL) == 1) {
		copy = chanfd_snapshot_get(s);
		if (*(const uint64_t *)copy->data != asked)
			return 1;
		chanfd_snapshot_put(copy);
	}
	return 0;
}

TEST_F(snapshot, after_a_store_it_is_there)
{
	int ch = chanfd_make(uint64_t, 0);
	struct party *p[2];
	uint64_t i;

	for (i = 0; i < 2; i++) {
		p[i] = party_new(variant->process, run_answer, ch);
		p[i]->arg = self->st;
		party_start(p[i]);
	}
	for (i = 1; i <= ROUNDS; i++) {
		ASSERT_EQ(0, chanfd_store(self->st->cell, &i, sizeof(i), NULL));
		ASSERT_EQ(0, chanfd_put(ch, i, NULL));
		/* Not before it was looked at: */
		ASSERT_EQ(0, chanfd_put(ch, i, NULL));
		ASSERT_EQ(0, chanfd_put(ch, i, NULL));
		ASSERT_TRUE(receivers_wait(ch, 2));
	}
	ASSERT_EQ(0, chanfd_close(ch, 0));
	EXPECT_EQ(0, party_join(p[0]));
	EXPECT_EQ(0, party_join(p[1]));
}

TEST_HARNESS_MAIN
