// SPDX-License-Identifier: GPL-2.0
/*
 * Maps (rules K1, K2).
 */
#include "helpers.h"

enum { SIZE = 4096 };

static int make_map(void)
{
	int map = chanfd_cell(SIZE, 0, "map");

	if (map < 0)
		err(1, "chanfd_cell");
	return map;
}

static int put(int map, const char *key, long value)
{
	return chanfd_map_store(map, key, &value, sizeof(value));
}

/* What @key stands for; -1 and errno. */
static long get(int map, const char *key)
{
	long value;
	ssize_t n = chanfd_map_load(map, key, &value, sizeof(value));

	return n < 0 ? -1 : n == sizeof(value) ? value : -2;
}

static int count(const char *key, const struct chanfd_map_value *value, void *arg)
{
	(void)key;
	(void)value;
	++*(int *)arg;
	return 0;
}

static int keys(int map)
{
	int n = 0;

	return chanfd_map_each(map, count, &n) ? -1 : n;
}

/*
 * Go's operations on one key; @old is in the beginning what is compared with, and in the
 * end what was there; 0: nothing.
 */
struct operation {
	long old;
	long new;
};

static long old_value(const struct chanfd_map_value *value)
{
	long old = 0;

	if (value->data)
		memcpy(&old, value->data, sizeof(old));
	return old;
}

static void set_value(struct chanfd_map_value *value, struct operation *o)
{
	*value = (struct chanfd_map_value){ o->new ? &o->new : NULL, o->new ? sizeof(o->new) : 0 };
}

/* Store, Delete, Swap, LoadAndDelete */
static int swap(struct chanfd_map_value *value, void *arg)
{
	struct operation *o = arg;

	o->old = old_value(value);
	set_value(value, o);
	return 0;
}

static int load_or_store(struct chanfd_map_value *value, void *arg)
{
	struct operation *o = arg;

	o->old = old_value(value);
	if (o->old)
		return 1;
	set_value(value, o);
	return 0;
}

/* CompareAndSwap, CompareAndDelete */
static int compare_and_swap(struct chanfd_map_value *value, void *arg)
{
	struct operation *o = arg;

	if (!value->data || o->old != old_value(value))
		return 1;
	set_value(value, o);
	return 0;
}

static int refuse(struct chanfd_map_value *value, void *arg)
{
	(void)value;
	(void)arg;
	errno = EDOM;
	return -1;
}

/* K1: each operation, of a key that is there and of one that is not. */
TEST(operations)
{
	struct operation o;
	int map = make_map();

	EXPECT_EQ(ENOENT, errno_of(get(map, "a")));
	EXPECT_EQ(0, keys(map));
	EXPECT_EQ(0, put(map, "a", 1));
	EXPECT_EQ(0, put(map, "b", 2));
	EXPECT_EQ(1, get(map, "a"));
	EXPECT_EQ(2, get(map, "b"));
	EXPECT_EQ(0, put(map, "a", 3));
	EXPECT_EQ(3, get(map, "a"));
	EXPECT_EQ(2, keys(map));
	EXPECT_EQ(ENOENT, errno_of(get(map, "")));
	EXPECT_EQ(ENOENT, errno_of(get(map, "aa")));

	o = (struct operation){ .new = 4 };
	EXPECT_EQ(0, chanfd_map_update(map, "a", swap, &o));
	EXPECT_EQ(3, o.old);
	EXPECT_EQ(0, chanfd_map_update(map, "c", swap, &o));
	EXPECT_EQ(0, o.old);
	EXPECT_EQ(3, keys(map));
	o.new = 0;
	EXPECT_EQ(0, chanfd_map_update(map, "c", swap, &o));
	EXPECT_EQ(4, o.old);
	EXPECT_EQ(2, keys(map));

	o.new = 5;
	EXPECT_EQ(1, chanfd_map_update(map, "a", load_or_store, &o));
	EXPECT_EQ(4, o.old);
	EXPECT_EQ(0, chanfd_map_update(map, "c", load_or_store, &o));
	EXPECT_EQ(5, get(map, "c"));

	o = (struct operation){ .old = 5, .new = 6 };
	EXPECT_EQ(1, chanfd_map_update(map, "a", compare_and_swap, &o));
	EXPECT_EQ(1, chanfd_map_update(map, "none", compare_and_swap, &o));
	EXPECT_EQ(0, chanfd_map_update(map, "c", compare_and_swap, &o));
	EXPECT_EQ(4, get(map, "a"));
	EXPECT_EQ(6, get(map, "c"));
	o = (struct operation){ .old = 6 };
	EXPECT_EQ(0, chanfd_map_update(map, "c", compare_and_swap, &o));
	EXPECT_EQ(ENOENT, errno_of(get(map, "c")));

	EXPECT_EQ(0, chanfd_map_store(map, "a", NULL, 0));
	EXPECT_EQ(0, chanfd_map_store(map, "a", NULL, 0));
	EXPECT_EQ(ENOENT, errno_of(get(map, "a")));
	EXPECT_EQ(1, keys(map));
	EXPECT_EQ(0, chanfd_store(map, NULL, 0, NULL));
	EXPECT_EQ(0, keys(map));
	EXPECT_EQ(ENOENT, errno_of(get(map, "b")));
	close(map);
}

/* tK1: the same as a plain array. */
TEST(same_as_an_array)
{
	enum { KEYS = 8 };
	long plain[KEYS] = { 0 };
	unsigned int seed = 1;
	int map = make_map(), i, n, k;

	for (i = 0; i < 3000; i++) {
		int key = rand_r(&seed) % KEYS;
		char name[2] = { (char)('a' + key), 0 };
		struct operation o = { rand_r(&seed) % 4, rand_r(&seed) % 4 };
		long there = plain[key];

		switch (rand_r(&seed) % 3) {
		case 0:
			ASSERT_EQ(0, chanfd_map_update(map, name, swap, &o));
			ASSERT_EQ(there, o.old);
			plain[key] = o.new;
			break;
		case 1:
			ASSERT_EQ(!!there, chanfd_map_update(map, name, load_or_store, &o));
			ASSERT_EQ(there, o.old);
			plain[key] = there ? there : o.new;
			break;
		case 2:
			ASSERT_EQ(!there || there != o.old,
				  chanfd_map_update(map, name, compare_and_swap, &o));
			if (there && there == o.old)
				plain[key] = o.new;
		}
		ASSERT_EQ(plain[key] ? plain[key] : -1, get(map, name));
		for (n = 0, k = 0; k < KEYS; k++)
			n += !!plain[k];
		ASSERT_EQ(n, keys(map));
	}
	close(map);
}

/* Nothing happens where something is wrong. */
TEST(errors)
{
	/* As much as there is room for: 4 bytes for each key. */
	const size_t left = SIZE - (4 + 3 + 3) - (4 + 4);
	static char bytes[CHANFD_MAX_CELL];
	int map = make_map(), pair[2], n = 0;
	char two[2];

	EXPECT_EQ(0, chanfd_map_store(map, "key", "abc", 3));
	EXPECT_EQ(EINVAL, errno_of(chanfd_map_store(map, "", "x", 1)));
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_map_load(map, "key", two, 2)));
	EXPECT_EQ(EDOM, errno_of(chanfd_map_update(map, "key", refuse, NULL)));
	EXPECT_EQ(E2BIG, errno_of(chanfd_map_store(map, "more", bytes, left + 1)));
	EXPECT_EQ(E2BIG, errno_of(chanfd_map_store(map, "more", bytes, sizeof(bytes))));
	EXPECT_EQ(E2BIG, errno_of(chanfd_map_store(map, "more", bytes, SIZE_MAX)));
	EXPECT_EQ(1, keys(map));
	EXPECT_EQ(0, chanfd_map_store(map, "more", bytes, left));
	EXPECT_EQ(E2BIG, errno_of(chanfd_map_store(map, "key", "abcd", 4)));
	EXPECT_EQ(0, chanfd_map_store(map, "key", "", 0));
	EXPECT_EQ(0, chanfd_map_load(map, "key", NULL, 0));
	EXPECT_EQ(2, keys(map));
	EXPECT_EQ(EBADF, errno_of(chanfd_map_load(-1, "key", NULL, 0)));
	EXPECT_EQ(ENOTTY, errno_of(chanfd_map_load(chanfd_context(-1), "key", NULL, 0)));

	ASSERT_EQ(0, chanfd_cell_pair(pair, SIZE, 0, NULL));
	EXPECT_EQ(EPERM, errno_of(chanfd_map_store(pair[0], "key", "abc", 3)));
	EXPECT_EQ(EPERM, errno_of(chanfd_map_store(pair[1], "key", "abc", 3)));
	EXPECT_EQ(EPERM, errno_of(chanfd_map_load(pair[1], "key", NULL, 0)));

	/* Somebody has stored something else. */
	EXPECT_EQ(0, chanfd_store(map, "\1\0\377\377x", 5, NULL));
	EXPECT_EQ(EBADMSG, errno_of(chanfd_map_load(map, "x", NULL, 0)));
	EXPECT_EQ(EBADMSG, errno_of(chanfd_map_store(map, "x", NULL, 0)));
	EXPECT_EQ(EBADMSG, errno_of(chanfd_map_each(map, count, &n)));
	EXPECT_EQ(0, n);
}

FIXTURE(map) {
	int map;
};

FIXTURE_VARIANT(map) {
	bool process;
};

FIXTURE_VARIANT_ADD(map, threads) {
	.process = false,
};

FIXTURE_VARIANT_ADD(map, processes) {
	.process = true,
};

FIXTURE_SETUP(map)
{
	self->map = make_map();
}

FIXTURE_TEARDOWN(map)
{
	close(self->map);
}

static int add_one(struct chanfd_map_value *value, void *arg)
{
	struct operation *o = arg;

	o->new = old_value(value) + 1;
	set_value(value, o);
	return 0;
}

enum { PARTIES = 4, TIMES = 300 };

/* Counts up what all count, and what is its own, which comes and goes. */
static long run_counter(struct party *me)
{
	char own[2] = { (char)('0' + me->value), 0 };
	struct operation o;
	int i;

	for (i = 0; i < TIMES; i++)
		if (chanfd_map_update(me->fd, "all", add_one, &o) ||
		    put(me->fd, own, i) || get(me->fd, own) != i ||
		    chanfd_map_store(me->fd, own, NULL, 0) || get(me->fd, own) != -1)
			return -1;
	return 0;
}

static struct party *party_at(bool process, long (*run)(struct party *me), int map, int i)
{
	struct party *p = party_new(process, run, map);

	p->value = i;
	return party_start(p);
}

/* K1: no change is lost, whoever makes others at the same time. */
TEST_F(map, changes_add_up)
{
	struct party *p[PARTIES];
	int i;

	for (i = 0; i < PARTIES; i++)
		p[i] = party_at(variant->process, run_counter, self->map, i);
	for (i = 0; i < PARTIES; i++)
		EXPECT_EQ(0, party_join(p[i]));
	EXPECT_EQ(PARTIES * TIMES, get(self->map, "all"));
	EXPECT_EQ(1, keys(self->map));
}

static long run_first(struct party *me)
{
	struct operation o = { .new = (long)me->value + 1 };
	int loaded = chanfd_map_update(me->fd, "first", load_or_store, &o);

	return loaded < 0 ? -1 : loaded ? o.old : o.new;
}

/* Of those who load or store one stores, and the others load that. */
TEST_F(map, one_is_the_first)
{
	struct party *p[PARTIES];
	long first;
	int i;

	for (i = 0; i < PARTIES; i++)
		p[i] = party_at(variant->process, run_first, self->map, i);
	first = party_join(p[0]);
	EXPECT_LT(0, first);
	for (i = 1; i < PARTIES; i++)
		EXPECT_EQ(first, party_join(p[i]));
	EXPECT_EQ(first, get(self->map, "first"));
}

static int count_letter(const char *key, const struct chanfd_map_value *value, void *arg)
{
	int *seen = arg;

	if (*key >= 'a' && *key <= 'z' && old_value(value) == *key)
		seen[*key - 'a']++;
	return 0;
}

/* tK2: what is there all the time is seen, once, whatever others do. */
TEST_F(map, each_while_others_change_it)
{
	struct party *p[PARTIES];
	int i, k, rounds;

	for (k = 'a'; k <= 'z'; k++)
		ASSERT_EQ(0, put(self->map, (char[]){ (char)k, 0 }, k));
	for (i = 0; i < PARTIES; i++)
		p[i] = party_at(variant->process, run_counter, self->map, i);
	for (rounds = 0; rounds < 200; rounds++) {
		int seen[26] = { 0 };

		ASSERT_EQ(0, chanfd_map_each(self->map, count_letter, seen));
		for (k = 0; k < 26; k++)
			ASSERT_EQ(1, seen[k]);
	}
	for (i = 0; i < PARTIES; i++)
		EXPECT_EQ(0, party_join(p[i]));
}

static int double_it(const char *key, const struct chanfd_map_value *value, void *arg)
{
	int map = *(int *)arg;

	if (put(map, key, 2 * old_value(value)) || keys(map) != 3)
		return -1;
	return put(map, "new", 1) || chanfd_map_store(map, "new", NULL, 0) ? -1 : 0;
}

static int stop(const char *key, const struct chanfd_map_value *value, void *arg)
{
	count(key, value, arg);
	return 7;
}

/* tK3: who is shown the map may change it. */
TEST(nested)
{
	int map = make_map(), n = 0;

	EXPECT_EQ(0, put(map, "a", 1));
	EXPECT_EQ(0, put(map, "b", 2));
	EXPECT_EQ(0, put(map, "c", 3));
	EXPECT_EQ(0, chanfd_map_each(map, double_it, &map));
	EXPECT_EQ(2, get(map, "a"));
	EXPECT_EQ(4, get(map, "b"));
	EXPECT_EQ(6, get(map, "c"));
	EXPECT_EQ(7, chanfd_map_each(map, stop, &n));
	EXPECT_EQ(1, n);
	close(map);
}

static long run_wait(struct party *me)
{
	return chanfd_cell_wait(me->fd, me->value, &me->opt, &me->value);
}

/* Any change can be waited for. */
TEST_F(map, wait_for_a_change)
{
	struct chanfd_cell_info info;
	struct party *p;

	ASSERT_EQ(0, put(self->map, "a", 1));
	ASSERT_EQ(0, chanfd_cell_info(self->map, &info));
	p = party_new(variant->process, run_wait, self->map);
	p->value = info.version;
	party_start(p);
	EXPECT_TRUE(stays_blocked(p));
	ASSERT_EQ(0, put(self->map, "b", 2));
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(info.version + 1, p->value);
}

/* Whoever is killed has made a change or not, and no other is lost. */
TEST(killed_at_any_instant)
{
	int map = make_map(), i;
	struct operation o;

	for (i = 0; i < 30; i++) {
		struct party *p = party_at(true, run_counter, map, i % 10);
		long all;

		/* Changes are seen to happen, and then it is killed. */
		ASSERT_TRUE(eventually(get(map, "all") > 0));
		party_kill(p);
		all = get(map, "all");
		EXPECT_EQ(0, chanfd_map_update(map, "all", add_one, &o));
		EXPECT_EQ(all + 1, get(map, "all"));
		EXPECT_GE(2, keys(map));
		EXPECT_EQ(0, chanfd_store(map, NULL, 0, NULL));
	}
	close(map);
}

TEST_HARNESS_MAIN
