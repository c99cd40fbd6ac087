// SPDX-License-Identifier: GPL-2.0
/*
 * Request metadata of contexts.
 */
#include "helpers.h"

#define SET(key, text)	{ key, text, strlen(text) }
#define DELETE(key)	{ key, NULL, 0 }

static int derive(int parent, struct chanfd_metadata change)
{
	return chanfd_context_metadata(parent, &change, 1);
}

/* Is this what @ctx says about @key? NULL: nothing. */
static bool says(int ctx, const char *key, const char *text)
{
	char buf[64];
	ssize_t n = chanfd_metadata(ctx, key, buf, sizeof(buf));

	if (!text)
		return n < 0 && errno == ENOENT;
	return n == (ssize_t)strlen(text) && !memcmp(buf, text, n);
}

static int count(const struct chanfd_metadata *m, void *arg)
{
	(void)m;
	++*(int *)arg;
	return 0;
}

static int pieces(int ctx)
{
	int n = 0;

	return chanfd_metadata_each(ctx, count, &n) ? -1 : n;
}

/* X15: below the change it is seen, above and beside it is not. */
TEST(copy_on_write)
{
	struct chanfd_metadata two[] = { SET("user", "anna"), SET("trace", "17") };
	struct chanfd_metadata change[] = {
		SET("user", "bert"), DELETE("trace"), SET("lang", ""), DELETE("none"),
	};
	int root = chanfd_context(-1), a, b, c, d;

	a = chanfd_context_metadata(root, two, 2);
	ASSERT_LE(0, a);
	b = chanfd_context_metadata(a, change, 4);
	ASSERT_LE(0, b);
	c = derive(a, (struct chanfd_metadata)SET("trace", "18"));
	d = chanfd_context(b);

	EXPECT_EQ(0, pieces(root));
	EXPECT_TRUE(says(root, "user", NULL));
	EXPECT_EQ(2, pieces(a));
	EXPECT_TRUE(says(a, "user", "anna"));
	EXPECT_TRUE(says(a, "trace", "17"));
	EXPECT_TRUE(says(a, "lang", NULL));
	EXPECT_EQ(2, pieces(b));
	EXPECT_TRUE(says(b, "user", "bert"));
	EXPECT_TRUE(says(b, "trace", NULL));
	EXPECT_TRUE(says(b, "lang", ""));
	EXPECT_TRUE(says(c, "user", "anna"));
	EXPECT_TRUE(says(c, "trace", "18"));
	/* Inherited, also without the parent's end; and a key's beginning is another key. */
	EXPECT_TRUE(says(d, "user", "bert"));
	EXPECT_TRUE(says(chanfd_context_without_cancel(b), "user", "bert"));
	EXPECT_TRUE(says(b, "use", NULL));
	EXPECT_TRUE(says(b, "users", NULL));
	/* It ends as its parent does. */
	EXPECT_EQ(0, chanfd_context_err(d));
	ASSERT_EQ(0, chanfd_cancel(root, 0, NULL));
	EXPECT_EQ(ECANCELED, chanfd_context_err(b));
	EXPECT_TRUE(says(b, "user", "bert"));
}

TEST(roots_and_other_values)
{
	int ctx = derive(-1, (struct chanfd_metadata)SET("key", "value"));
	int both;
	char buf[8];

	ASSERT_LE(0, ctx);
	EXPECT_TRUE(says(ctx, "key", "value"));
	both = chanfd_context_value(ctx, "other", "x", 1);
	EXPECT_TRUE(says(both, "key", "value"));
	EXPECT_EQ(1, chanfd_value(derive(both, (struct chanfd_metadata)DELETE("key")),
				  "other", buf, 8));
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_metadata(ctx, "key", buf, 4)));
	EXPECT_EQ(5, chanfd_metadata(ctx, "key", buf, 5));
	EXPECT_EQ(EBADF, errno_of(chanfd_metadata(-1, "key", buf, 8)));
	EXPECT_EQ(EBADF, errno_of(derive(-2, (struct chanfd_metadata)SET("k", "v"))));
	EXPECT_EQ(0, pieces(chanfd_context_metadata(-1, NULL, 0)));
	EXPECT_EQ(1, pieces(chanfd_context_metadata(ctx, NULL, 0)));
}

static int stop_at_b(const struct chanfd_metadata *m, void *arg)
{
	int *visited = arg;

	(*visited)++;
	return !strcmp(m->key, "b") && m->size == 4 && !memcmp(m->value, "\0\1\2\3", 4) ? 7 : 0;
}

TEST(each)
{
	struct chanfd_metadata all[] = { SET("a", "1"), { "b", "\0\1\2\3", 4 }, SET("c", "3") };
	int ctx = chanfd_context_metadata(-1, all, 3), visited = 0;
	int blind = chanfd_reduce(chanfd_context(-1), CHANFD_WRITE);

	EXPECT_EQ(7, chanfd_metadata_each(ctx, stop_at_b, &visited));
	EXPECT_EQ(2, visited);
	EXPECT_EQ(3, pieces(ctx));
	EXPECT_EQ(EPERM, errno_of(chanfd_metadata_each(blind, count, &visited)));
}

/* As much as one value of a context may have, of which each key takes 4 bytes. */
TEST(how_much)
{
	static char bytes[CHANFD_MAX_VALUE], back[CHANFD_MAX_VALUE];
	size_t most = CHANFD_MAX_VALUE - 4 - 3;
	char key[CHANFD_MAX_VALUE - 4 + 1] = "";
	int ctx;

	memset(bytes, 'x', sizeof(bytes));
	ctx = derive(-1, (struct chanfd_metadata){ "key", bytes, most });
	ASSERT_LE(0, ctx);
	EXPECT_EQ((ssize_t)most, chanfd_metadata(ctx, "key", back, sizeof(back)));
	EXPECT_EQ(0, memcmp(bytes, back, most));
	EXPECT_EQ(E2BIG, errno_of(derive(-1, (struct chanfd_metadata){ "key", bytes, most + 1 })));
	EXPECT_EQ(E2BIG, errno_of(derive(-1, (struct chanfd_metadata){ "key", bytes, 65536 })));
	EXPECT_EQ(E2BIG, errno_of(derive(-1, (struct chanfd_metadata){ "key", bytes, SIZE_MAX })));
	EXPECT_EQ(E2BIG, errno_of(derive(ctx, (struct chanfd_metadata)SET("more", ""))));
	/* There is room for what takes the place of another. */
	EXPECT_TRUE(says(derive(ctx, (struct chanfd_metadata)SET("key", "new")), "key", "new"));

	memset(key, 'k', sizeof(key) - 1);
	ctx = derive(-1, (struct chanfd_metadata)SET(key, ""));
	EXPECT_TRUE(says(ctx, key, ""));
	EXPECT_EQ(1, pieces(ctx));
	EXPECT_EQ(E2BIG, errno_of(derive(-1, (struct chanfd_metadata)SET(key, "1"))));
}

TEST(bad_keys)
{
	struct chanfd_metadata twice[] = { SET("a", "1"), SET("b", "2"), DELETE("a") };

	EXPECT_EQ(EINVAL, errno_of(derive(-1, (struct chanfd_metadata)SET("", "1"))));
	EXPECT_EQ(EINVAL, errno_of(derive(-1, (struct chanfd_metadata){ NULL, "1", 1 })));
	EXPECT_EQ(EINVAL, errno_of(chanfd_context_metadata(-1, twice, 3)));
}

/* Whatever somebody has put in their place, nothing is read that is not there. */
TEST(damaged)
{
	static const struct {
		const char *bytes;
		size_t size;
	} rows[] = {
		{ "x", 1 },
		{ "\1\0\1", 3 },
		{ "\1\0\0\0", 4 },			/* a key that is not there */
		{ "\0\0\0\0", 4 },			/* an empty one */
		{ "\1\0\2\0ab", 6 },			/* a value too long */
		{ "\377\377\377\377ab", 6 },
		{ "\1\0\1\0ab\1", 7 },			/* a good one, then not */
	};
	unsigned int i;
	char buf[8];
	int n = 0;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		int ctx = chanfd_context_value(-1, "chanfd.metadata", rows[i].bytes, rows[i].size);

		ASSERT_LE(0, ctx);
		EXPECT_EQ(EBADMSG, errno_of(chanfd_metadata(ctx, "b", buf, 8))) {
			TH_LOG("row %u", i);
		}
		EXPECT_EQ(EBADMSG, errno_of(chanfd_metadata_each(ctx, count, &n)));
		EXPECT_EQ(EBADMSG, errno_of(derive(ctx, (struct chanfd_metadata)SET("k", ""))));
		EXPECT_EQ(0, chanfd_context_err(ctx));
	}
	EXPECT_EQ(1, n);
}

/* They travel with the handle. */
FIXTURE(travel) {
};

FIXTURE_VARIANT(travel) {
	bool process;
};

FIXTURE_VARIANT_ADD(travel, threads) { .process = false };
FIXTURE_VARIANT_ADD(travel, processes) { .process = true };

FIXTURE_SETUP(travel)
{
}

FIXTURE_TEARDOWN(travel)
{
}

static long run_look_and_derive(struct party *me)
{
	int mine = derive(me->fd, (struct chanfd_metadata)SET("hop", "2"));

	if (mine < 0 || !says(me->fd, "user", "anna") || !says(me->fd, "hop", "1"))
		return -1;
	return says(mine, "user", "anna") && says(mine, "hop", "2") ? 0 : 1;
}

TEST_F(travel, with_the_handle)
{
	struct chanfd_metadata two[] = { SET("user", "anna"), SET("hop", "1") };
	int ctx = chanfd_context_metadata(-1, two, 2);
	struct party *p;

	ASSERT_LE(0, ctx);
	p = party_start(party_new(variant->process, run_look_and_derive, ctx));
	EXPECT_EQ(0, party_join(p));
	EXPECT_TRUE(says(ctx, "hop", "1"));
}

TEST_HARNESS_MAIN
