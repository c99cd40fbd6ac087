// SPDX-License-Identifier: GPL-2.0
/*
 * Cells: loads and stores, versions, who waits for a change, and what is mapped.
 */
#include <limits.h>
#include <poll.h>
#include <sys/epoll.h>

#include "helpers.h"

/* Outputs that nobody has written are as they were. */
#define UNWRITTEN "unwritten......."

static struct chanfd_cell_info cell_info(int cell)
{
	struct chanfd_cell_info info;

	poison(&info);
	if (chanfd_cell_info(cell, &info))
		err(1, "chanfd_cell_info");
	return info;
}

static bool waiters_wait(int cell, unsigned int n)
{
	return eventually(cell_info(cell).waiters == n);
}

static short polled(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };

	if (poll(&p, 1, 0) < 0)
		err(1, "poll");
	return p.revents;
}

static int store_text(int cell, const char *text)
{
	return chanfd_store(cell, text, strlen(text), NULL);
}

/* Does it hold this text? */
static bool holds(int cell, const char *text)
{
	char buf[64];
	ssize_t n = chanfd_load(cell, buf, sizeof(buf), NULL);

	return n == (ssize_t)strlen(text) && !memcmp(buf, text, n);
}

/* tV1, V1: nothing before the first store, then the latest value, whole. */
TEST(basics)
{
	uint64_t version = POISON64;
	char buf[] = UNWRITTEN;
	int cell = chanfd_cell(8, 0, "config");

	ASSERT_LE(0, cell);
	EXPECT_EQ(ENODATA, errno_of(chanfd_load(cell, buf, 8, &version)));
	EXPECT_EQ(POISON64, version);
	EXPECT_STREQ(UNWRITTEN, buf);
	EXPECT_EQ(0, cell_info(cell).version);

	EXPECT_EQ(0, chanfd_store(cell, "first", 5, &version));
	EXPECT_EQ(1, version);
	version = 0;
	EXPECT_EQ(5, chanfd_load(cell, buf, 8, &version));
	EXPECT_EQ(1, version);
	EXPECT_STREQ("firsttten.......", buf);

	EXPECT_EQ(0, chanfd_store(cell, "2nd", 3, &version));
	EXPECT_EQ(2, version);
	EXPECT_EQ(3, chanfd_load(cell, buf, 3, &version));
	EXPECT_EQ(2, version);
	EXPECT_STREQ("2ndsttten.......", buf);
	/* Again: a load takes nothing away. */
	EXPECT_EQ(3, chanfd_load(cell, buf, 8, NULL));
	EXPECT_EQ(2, cell_info(cell).version);
	EXPECT_EQ(3, cell_info(cell).size);
	EXPECT_EQ(8, cell_info(cell).max);
	EXPECT_EQ(0, cell_info(cell).tag);
	EXPECT_EQ(0, cell_info(cell).waiters);
}

/* A value of no bytes is a value. */
TEST(empty)
{
	uint64_t version;
	int cell = chanfd_cell(0, 0, NULL);

	ASSERT_LE(0, cell);
	EXPECT_EQ(ENODATA, errno_of(chanfd_load(cell, NULL, 0, NULL)));
	EXPECT_EQ(0, chanfd_store(cell, NULL, 0, &version));
	EXPECT_EQ(1, version);
	EXPECT_EQ(0, chanfd_load(cell, NULL, 0, &version));
	EXPECT_EQ(1, version);
	EXPECT_EQ(0, chanfd_swap(cell, NULL, 0, NULL, 0, &version));
	EXPECT_EQ(2, version);
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_store(cell, "x", 1, NULL)));
	EXPECT_EQ(2, cell_info(cell).version);
}

/* The largest, and one byte more. */
TEST(sizes)
{
	static char in[CHANFD_MAX_CELL + 1], out[CHANFD_MAX_CELL];
	uint64_t version;
	int cell, i;

	for (i = 0; i < (int)sizeof(in); i++)
		in[i] = i * 7 + i / 256;
	EXPECT_EQ(EINVAL, errno_of(chanfd_cell(CHANFD_MAX_CELL + 1, 0, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_cell(SIZE_MAX, 0, NULL)));
	cell = chanfd_cell(CHANFD_MAX_CELL, 0, NULL);
	ASSERT_LE(0, cell);
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_store(cell, in, CHANFD_MAX_CELL + 1, NULL)));
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_store(cell, in, SIZE_MAX, NULL)));
	EXPECT_EQ(0, cell_info(cell).version);

	EXPECT_EQ(0, chanfd_store(cell, in, CHANFD_MAX_CELL, NULL));
	EXPECT_EQ(CHANFD_MAX_CELL, chanfd_load(cell, out, sizeof(out), NULL));
	EXPECT_EQ(0, memcmp(in, out, sizeof(out)));

	poison(&out);
	version = POISON64;
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_load(cell, out, sizeof(out) - 1, &version)));
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_load(cell, NULL, 0, &version)));
	EXPECT_EQ(POISON64, version);
	for (i = 0; i < (int)sizeof(out); i++)
		ASSERT_EQ(0xa5, (unsigned char)out[i]);
	EXPECT_EQ(1, cell_info(cell).version);
}

TEST(making)
{
	struct chanfd_info info;
	int fd[2];
	int cell = chanfd_cell(4, 0, "settings");
	int reduced;

	ASSERT_EQ(0, chanfd_info(cell, &info));
	EXPECT_EQ(CHANFD_TYPE_CELL, info.type);
	EXPECT_EQ(CHANFD_READ | CHANFD_WRITE, info.rights);
	EXPECT_STREQ("settings", (char *)info.name);
	EXPECT_EQ(FD_CLOEXEC, fcntl(cell, F_GETFD));
	ASSERT_EQ(0, chanfd_cell_pair(fd, 4, CHANFD_INHERIT, "pair"));
	EXPECT_EQ(0, fcntl(fd[0], F_GETFD));
	EXPECT_EQ(0, fcntl(fd[1], F_GETFD));
	ASSERT_EQ(0, chanfd_info(fd[0], &info));
	EXPECT_EQ(CHANFD_READ, info.rights);
	ASSERT_EQ(0, chanfd_info(fd[1], &info));
	EXPECT_EQ(CHANFD_WRITE, info.rights);
	reduced = chanfd_reduce(cell, CHANFD_READ);
	ASSERT_LE(0, reduced);
	EXPECT_EQ(EPERM, errno_of(store_text(reduced, "no")));

	EXPECT_EQ(EINVAL, errno_of(chanfd_cell(4, CHANFD_PAIR, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_cell(4, CHANFD_NONBLOCK, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_cell(4, CHANFD_VARIABLE, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_cell(4, 0, "\n")));
}

/* C7 for cells: each handle may do what its mode says. */
TEST(rights)
{
	char buf[8] = "";
	int fd[2], other = chanfd_waitgroup(0, NULL);

	ASSERT_EQ(0, chanfd_cell_pair(fd, 8, 0, NULL));
	EXPECT_EQ(0, store_text(fd[1], "one"));
	EXPECT_EQ(EPERM, errno_of(store_text(fd[0], "two")));
	EXPECT_EQ(EPERM, errno_of(chanfd_compare_and_store(fd[0], 1, "two", 3, NULL)));
	EXPECT_EQ(EPERM, errno_of(chanfd_load(fd[1], buf, sizeof(buf), NULL)));
	EXPECT_EQ(EPERM, errno_of(chanfd_cell_wait(fd[1], 0, NULL, NULL)));
	/* A swap is a load, too. */
	EXPECT_EQ(EPERM, errno_of(chanfd_swap(fd[0], "two", 3, buf, 8, NULL)));
	EXPECT_EQ(EPERM, errno_of(chanfd_swap(fd[1], "two", 3, buf, 8, NULL)));
	EXPECT_EQ(NULL, chanfd_cell_map(fd[1]));
	EXPECT_EQ(EACCES, errno);
	EXPECT_STREQ("", buf);
	EXPECT_EQ(1, cell_info(fd[1]).version);
	EXPECT_TRUE(holds(fd[0], "one"));
	EXPECT_EQ(0, chanfd_compare_and_store(fd[1], 1, "two", 3, NULL));
	EXPECT_TRUE(holds(fd[0], "two"));

	EXPECT_EQ(ENOTTY, errno_of(chanfd_load(other, buf, 8, NULL)));
	EXPECT_EQ(ENOTTY, errno_of(store_text(other, "no")));
	EXPECT_EQ(EINVAL, errno_of(chanfd_cell_wait(other, 0, NULL, NULL)));
	EXPECT_EQ(NULL, chanfd_cell_map(other));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(EBADF, errno_of(chanfd_cell_wait(-1, 0, NULL, NULL)));
	EXPECT_NE(0, errno_of(read(fd[0], buf, 8)));
	EXPECT_NE(0, errno_of(write(fd[1], buf, 8)));
	EXPECT_EQ(ESPIPE, errno_of(lseek(fd[0], 1, SEEK_SET)));
}

/* tV2, V3: what was there before; nothing, the first time. */
TEST(swap_table)
{
	static const struct {
		const char *value;
		size_t room;
		int error;		/* of the swap */
		const char *old;	/* what it tells */
		const char *left;	/* in the cell then */
	} rows[] = {
		{ "", 0, 0, "", "" },
		{ "a", 0, 0, "", "a" },
		{ "bcd", 0, EMSGSIZE, "", "a" },
		{ "bcd", 1, 0, "a", "bcd" },
		{ "e", 2, EMSGSIZE, "", "bcd" },
		{ "too long", 8, EMSGSIZE, "", "bcd" },
		{ "e", 16, 0, "bcd", "e" },
		{ "", 1, 0, "e", "" },
		{ "f", 16, 0, "", "f" },
	};
	uint64_t version, expected = 1;
	int cell = chanfd_cell(3, 0, NULL);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		char buf[] = UNWRITTEN, want[] = UNWRITTEN;

		version = POISON64;
		errno = 0;
		if (rows[i].error) {
			EXPECT_EQ(-1, chanfd_swap(cell, rows[i].value, strlen(rows[i].value),
						  buf, rows[i].room, &version));
			EXPECT_EQ(POISON64, version);
		} else {
			EXPECT_EQ((ssize_t)strlen(rows[i].old),
				  chanfd_swap(cell, rows[i].value, strlen(rows[i].value),
					      buf, rows[i].room, &version));
			EXPECT_EQ(expected++, version);
		}
		EXPECT_EQ(rows[i].error, errno) {
			TH_LOG("row %u", i);
		}
		memcpy(want, rows[i].old, strlen(rows[i].old));
		EXPECT_STREQ(want, buf);
		EXPECT_TRUE(holds(cell, rows[i].left));
		EXPECT_EQ(expected - 1, cell_info(cell).version);
	}
}

/* tV2, V3: by version, 0 for none yet. What fails has changed nothing. */
TEST(compare_and_store_table)
{
	static const struct {
		uint64_t expected;
		const char *value;
		int error;
		const char *left;
	} rows[] = {
		{ 1, "a", ESTALE, NULL },
		{ UINT64_MAX, "a", ESTALE, NULL },
		{ 0, "a", 0, "a" },
		{ 0, "b", ESTALE, "a" },
		{ 2, "b", ESTALE, "a" },
		{ 1, "b", 0, "b" },
		{ 1, "c", ESTALE, "b" },
		{ 2, "long", EMSGSIZE, "b" },
		{ 2, "a", 0, "a" },
		/* The value of version 1 again, but not version 1: no ABA. */
		{ 1, "d", ESTALE, "a" },
		{ 3, "d", 0, "d" },
	};
	int cell = chanfd_cell(3, 0, NULL);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t version = POISON64;

		EXPECT_EQ(rows[i].error,
			  errno_of(chanfd_compare_and_store(cell, rows[i].expected,
							    rows[i].value,
							    strlen(rows[i].value),
							    &version))) {
			TH_LOG("row %u", i);
		}
		EXPECT_EQ(rows[i].error ? POISON64 : rows[i].expected + 1, version);
		if (rows[i].left) {
			EXPECT_TRUE(holds(cell, rows[i].left));
		} else {
			EXPECT_EQ(0, cell_info(cell).version);
		}
	}
}

/* V3: a swap that has to find a version, too. */
TEST(compare_and_swap)
{
	char old[] = UNWRITTEN;
	struct chanfd_store s = {
		.flags = CHANFD_IF_VERSION | CHANFD_SWAP,
		.buf = (uintptr_t)"two",
		.size = 3,
		.old = (uintptr_t)old,
		.old_size = 8,
		.version = 2,
	};
	int cell = chanfd_cell(3, 0, NULL);

	ASSERT_EQ(0, store_text(cell, "one"));
	EXPECT_EQ(ESTALE, errno_of(chanfd_cell_store(cell, &s)));
	EXPECT_EQ(2, s.version);
	EXPECT_EQ(8, s.old_size);
	EXPECT_STREQ(UNWRITTEN, old);
	s.version = 1;
	EXPECT_EQ(0, chanfd_cell_store(cell, &s));
	EXPECT_EQ(2, s.version);
	EXPECT_EQ(3, s.old_size);
	EXPECT_STREQ("oneritten.......", old);
	EXPECT_TRUE(holds(cell, "two"));
}

/* V2: the first store fixes the tag, and it is looked at before all else. */
TEST(tags)
{
	char old[] = UNWRITTEN;
	struct chanfd_store s = { .tag = 7, .buf = (uintptr_t)"one", .size = 3 };
	struct chanfd_load l = { .buf = (uintptr_t)old, .size = 8 };
	int cell = chanfd_cell(3, 0, NULL);

	ASSERT_EQ(0, chanfd_cell_store(cell, &s));
	EXPECT_EQ(7, cell_info(cell).tag);
	EXPECT_EQ(0, chanfd_cell_load(cell, &l));
	EXPECT_EQ(7, l.tag);
	EXPECT_EQ(3, l.size);
	EXPECT_EQ(1, l.version);

	EXPECT_EQ(EPROTOTYPE, errno_of(store_text(cell, "two")));
	EXPECT_EQ(EPROTOTYPE, errno_of(chanfd_compare_and_store(cell, 9, "two", 3, NULL)));
	strcpy(old, UNWRITTEN);
	EXPECT_EQ(EPROTOTYPE, errno_of(chanfd_swap(cell, "two", 3, old, 8, NULL)));
	EXPECT_EQ(EPROTOTYPE, errno_of(chanfd_swap(cell, "two", 3, old, 0, NULL)));
	EXPECT_STREQ(UNWRITTEN, old);
	s.tag = 8;
	EXPECT_EQ(EPROTOTYPE, errno_of(chanfd_cell_store(cell, &s)));
	EXPECT_EQ(1, cell_info(cell).version);
	EXPECT_TRUE(holds(cell, "one"));

	/* Sizes may vary, the tag not. */
	s = (struct chanfd_store){ .tag = 7, .buf = (uintptr_t)"x", .size = 1 };
	EXPECT_EQ(0, chanfd_cell_store(cell, &s));
	EXPECT_EQ(7, cell_info(cell).tag);
	EXPECT_TRUE(holds(cell, "x"));
}

/* Fields that have to be zero, and flags that do not exist. */
TEST(arguments)
{
	char buf[8];
	int cell = chanfd_cell(8, 0, NULL);
	struct chanfd_load l;
	struct chanfd_store s;
	unsigned int flag;

	ASSERT_EQ(0, store_text(cell, "value"));
	for (flag = 1; flag; flag <<= 1) {
		l = (struct chanfd_load){ flag, 0, (uintptr_t)buf, 8, 0, 0 };
		EXPECT_EQ(EINVAL, errno_of(chanfd_cell_load(cell, &l)));
		s = (struct chanfd_store){ .flags = flag, .buf = (uintptr_t)buf };
		if (!(flag & (CHANFD_IF_VERSION | CHANFD_SWAP)))
			EXPECT_EQ(EINVAL, errno_of(chanfd_cell_store(cell, &s)));
	}
	l = (struct chanfd_load){ 0, 0, (uintptr_t)buf, 8, 1, 0 };
	EXPECT_EQ(EINVAL, errno_of(chanfd_cell_load(cell, &l)));
	/* Where the old value goes is not asked for. */
	s = (struct chanfd_store){ .old = (uintptr_t)buf };
	EXPECT_EQ(EINVAL, errno_of(chanfd_cell_store(cell, &s)));
	s = (struct chanfd_store){ .old_size = 8 };
	EXPECT_EQ(EINVAL, errno_of(chanfd_cell_store(cell, &s)));
	EXPECT_EQ(1, cell_info(cell).version);
	EXPECT_TRUE(holds(cell, "value"));
}

/* A page that can be read, and not written to. */
static void *read_only_page(const void *content, size_t size)
{
	void *page = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		err(1, "mmap");
	memcpy(page, content, size);
	if (mprotect(page, getpagesize(), PROT_READ))
		err(1, "mprotect");
	return page;
}

/* A pointer that leads nowhere, at each place: nothing has changed, nobody has read. */
TEST(bad_pointers)
{
	char *nowhere = bad_pointer(), buf[8];
	struct chanfd_load l = { .buf = (uintptr_t)buf, .size = 8 };
	struct chanfd_store s = { .buf = (uintptr_t)"new", .size = 3 };
	int cell = chanfd_cell(8, 0, NULL);

	ASSERT_EQ(0, store_text(cell, "value"));
	EXPECT_EQ(EFAULT, errno_of(ioctl(cell, CHANFD_IOC_LOAD, nowhere)));
	EXPECT_EQ(EFAULT, errno_of(ioctl(cell, CHANFD_IOC_STORE, nowhere)));
	EXPECT_EQ(EFAULT, errno_of(ioctl(cell, CHANFD_IOC_CELL_INFO, nowhere)));
	EXPECT_EQ(EFAULT, errno_of(chanfd_load(cell, nowhere, 8, NULL)));
	EXPECT_EQ(EFAULT, errno_of(chanfd_load(cell, nowhere - 2, 8, NULL)));
	EXPECT_EQ(EFAULT, errno_of(chanfd_load(cell, (void *)ULONG_MAX, 8, NULL)));
	EXPECT_EQ(EFAULT, errno_of(ioctl(cell, CHANFD_IOC_LOAD,
					 read_only_page(&l, sizeof(l)))));
	EXPECT_EQ(POLLIN, polled(cell));

	EXPECT_EQ(EFAULT, errno_of(chanfd_store(cell, nowhere, 3, NULL)));
	EXPECT_EQ(EFAULT, errno_of(chanfd_store(cell, nowhere - 2, 3, NULL)));
	EXPECT_EQ(EFAULT, errno_of(chanfd_swap(cell, nowhere, 3, buf, 8, NULL)));
	EXPECT_EQ(EFAULT, errno_of(chanfd_swap(cell, "new", 3, nowhere, 8, NULL)));
	EXPECT_EQ(EFAULT, errno_of(chanfd_swap(cell, "new", 3, nowhere - 2, 8, NULL)));
	EXPECT_EQ(EFAULT, errno_of(ioctl(cell, CHANFD_IOC_STORE,
					 read_only_page(&s, sizeof(s)))));
	EXPECT_EQ(1, cell_info(cell).version);
	EXPECT_TRUE(holds(cell, "value"));

	/* What is not used need not be there. */
	EXPECT_EQ(0, chanfd_store(cell, nowhere, 0, NULL));
	EXPECT_EQ(0, chanfd_load(cell, nowhere, 8, NULL));
	EXPECT_EQ(0, chanfd_swap(cell, "new", 3, nowhere, 8, NULL));
	EXPECT_TRUE(holds(cell, "new"));
}

/* Memory that is there, but that nobody has touched yet. */
TEST(fresh_memory)
{
	size_t size = CHANFD_MAX_CELL;
	char *in = shared(size), *out = shared(size);
	int cell = chanfd_cell(size, 0, NULL);

	EXPECT_EQ(0, chanfd_store(cell, in, size, NULL));
	EXPECT_EQ((ssize_t)size, chanfd_load(cell, out, size, NULL));
	memset(in, 1, size);
	EXPECT_EQ(0, chanfd_store(cell, in, size, NULL));
	out = shared(size);
	EXPECT_EQ((ssize_t)size, chanfd_swap(cell, NULL, 0, out, size, NULL));
	EXPECT_EQ(0, memcmp(in, out, size));
}

/* V4: POLLIN while there is a newer version than was loaded by the handle. */
TEST(readiness)
{
	char buf[8];
	int fd[2], other, copy;

	ASSERT_EQ(0, chanfd_cell_pair(fd, 8, 0, NULL));
	other = chanfd_reduce(fd[0], CHANFD_READ);
	copy = dup(fd[0]);
	EXPECT_EQ(0, polled(fd[0]));
	EXPECT_EQ(ENODATA, errno_of(chanfd_load(fd[0], buf, 8, NULL)));
	ASSERT_EQ(0, store_text(fd[1], "one"));
	EXPECT_EQ(POLLIN, polled(fd[0]));
	EXPECT_EQ(POLLIN, polled(other));
	EXPECT_EQ(0, polled(fd[1]));
	/* What has failed has read nothing. */
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_load(fd[0], buf, 2, NULL)));
	EXPECT_EQ(EFAULT, errno_of(chanfd_load(fd[0], bad_pointer(), 8, NULL)));
	EXPECT_EQ(POLLIN, polled(fd[0]));

	EXPECT_EQ(3, chanfd_load(fd[0], buf, 8, NULL));
	EXPECT_EQ(0, polled(fd[0]));
	EXPECT_EQ(0, polled(copy));
	EXPECT_EQ(POLLIN, polled(other));
	/* A refused store is no news. */
	EXPECT_EQ(ESTALE, errno_of(chanfd_compare_and_store(fd[1], 0, "two", 3, NULL)));
	EXPECT_EQ(0, polled(fd[0]));
	/* The same bytes again are. */
	ASSERT_EQ(0, store_text(fd[1], "one"));
	ASSERT_EQ(0, store_text(fd[1], "one"));
	EXPECT_EQ(POLLIN, polled(fd[0]));
	EXPECT_EQ(3, chanfd_load(copy, buf, 8, NULL));
	EXPECT_EQ(0, polled(fd[0]));
	EXPECT_EQ(POLLIN, polled(other));
	/* With nobody left to store there is no end, and no error. */
	close(fd[1]);
	EXPECT_EQ(0, polled(fd[0]));
	EXPECT_EQ(POLLIN, polled(other));
	EXPECT_TRUE(holds(fd[0], "one"));
}

static int epoll_of(int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev))
		err(1, "epoll");
	return ep;
}

/* The events that an epoll instance has now; 0 for none. */
static uint32_t events_of(int ep)
{
	struct epoll_event ev;

	return epoll_wait(ep, &ev, 1, 0) == 1 ? ev.events : 0;
}

TEST(epoll_level_and_edge)
{
	char buf[8];
	int cell = chanfd_cell(8, 0, NULL);
	int level = epoll_of(cell, EPOLLIN);
	int edge = epoll_of(cell, EPOLLIN | EPOLLET);

	EXPECT_EQ(0, events_of(level));
	EXPECT_EQ(0, events_of(edge));
	ASSERT_EQ(0, store_text(cell, "one"));
	EXPECT_EQ(EPOLLIN, events_of(level));
	EXPECT_EQ(EPOLLIN, events_of(level));
	EXPECT_EQ(EPOLLIN, events_of(edge));
	EXPECT_EQ(0, events_of(edge));
	/* Each store is an edge, also where the one before was not looked at. */
	ASSERT_EQ(0, store_text(cell, "two"));
	EXPECT_EQ(EPOLLIN, events_of(edge));
	EXPECT_EQ(0, events_of(edge));
	EXPECT_EQ(3, chanfd_load(cell, buf, 8, NULL));
	EXPECT_EQ(0, events_of(level));
	EXPECT_EQ(0, events_of(edge));
	ASSERT_EQ(0, store_text(cell, "three"));
	EXPECT_EQ(EPOLLIN, events_of(level));
	EXPECT_EQ(EPOLLIN, events_of(edge));
}

/* A case is ready while the version is not the one known: older ones, too. */
TEST(select_changed)
{
	struct chanfd_opt try = { -1, CHANFD_NONBLOCK, 0 };
	struct chanfd_outcome out;
	uint64_t version = POISON64;
	int cell = chanfd_cell(8, 0, NULL), other = chanfd_cell(8, 0, NULL);
	int seen[2] = {}, i;

	EXPECT_EQ(EAGAIN, errno_of(chanfd_cell_wait(cell, 0, &try, &version)));
	EXPECT_EQ(POISON64, version);
	EXPECT_EQ(0, chanfd_cell_wait(cell, 1, &try, &version));
	EXPECT_EQ(0, version);
	ASSERT_EQ(0, store_text(cell, "one"));
	ASSERT_EQ(0, store_text(cell, "two"));
	EXPECT_EQ(0, chanfd_cell_wait(cell, 0, &try, &version));
	EXPECT_EQ(2, version);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_cell_wait(cell, 2, &try, NULL)));
	EXPECT_EQ(0, chanfd_cell_wait(cell, UINT64_MAX, &try, NULL));

	EXPECT_EQ(EAGAIN, errno_of(chanfd_select_of(&try, &out, CHANFD_CHANGED(other, 0),
						    CHANFD_CHANGED(cell, 2),
						    CHANFD_CHANGED(-1, 5))));
	poison(&out);
	EXPECT_EQ(1, chanfd_select_of(&try, &out, CHANFD_CHANGED(other, 0),
				      CHANFD_CHANGED(cell, 1)));
	EXPECT_EQ(1, out.index);
	EXPECT_EQ(0, out.error);
	EXPECT_EQ(2, out.number);
	EXPECT_EQ(0, out.size);
	/* S2: either, when both are. */
	for (i = 0; i < 200; i++)
		seen[chanfd_select_of(&try, &out, CHANFD_CHANGED(other, 9),
				      CHANFD_CHANGED(cell, 9))]++;
	EXPECT_LT(0, seen[0]);
	EXPECT_LT(0, seen[1]);
	/* Waiting has read nothing. */
	EXPECT_EQ(POLLIN, polled(cell));
	EXPECT_EQ(0, cell_info(cell).waiters);
}

TEST(case_arguments)
{
	int cell = chanfd_cell(8, 0, NULL);
	struct chanfd_case c = CHANFD_CHANGED(cell, 5);

	EXPECT_EQ(0, chanfd_select(&c, 1, NULL, NULL));
	c.size = 1;
	EXPECT_EQ(EINVAL, errno_of(chanfd_select(&c, 1, NULL, NULL)));
	c.size = 0;
	c.flags = 1;
	EXPECT_EQ(EINVAL, errno_of(chanfd_select(&c, 1, NULL, NULL)));
}

/* Where a handle stands, and what the cell holds, in /proc. */
TEST(fdinfo)
{
	char path[64], text[1024], buf[8];
	struct chanfd_store s = { .tag = 3, .buf = (uintptr_t)"value", .size = 5 };
	int cell = chanfd_cell(8, 0, "shown");

	ASSERT_EQ(0, chanfd_cell_store(cell, &s));
	ASSERT_EQ(0, chanfd_cell_store(cell, &s));
	ASSERT_EQ(5, chanfd_load(cell, buf, 8, NULL));
	ASSERT_EQ(0, chanfd_cell_store(cell, &s));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", cell);
	ASSERT_TRUE(read_text(path, text, sizeof(text)));
	EXPECT_NE(NULL, strstr(text, "pos:\t2\n"));
	EXPECT_NE(NULL, strstr(text, "chanfd-type:\tcell\n"));
	EXPECT_NE(NULL, strstr(text, "chanfd-name:\tshown\n"));
	EXPECT_NE(NULL, strstr(text, "chanfd-version:\t3\n"));
	EXPECT_NE(NULL, strstr(text, "chanfd-size:\t5 of 8\n"));
	EXPECT_NE(NULL, strstr(text, "chanfd-tag:\t3\n"));
	EXPECT_NE(NULL, strstr(text, "chanfd-waiting:\t0\n"));
}

/* Mapped */

TEST(mapped)
{
	const struct chanfd_cell_page *page, *again;
	uint64_t version = POISON64;
	char buf[] = UNWRITTEN;
	int cell = chanfd_cell(8, 0, NULL);

	page = chanfd_cell_map(cell);
	ASSERT_NE(NULL, page);
	EXPECT_EQ(ENODATA, errno_of(chanfd_cell_read(page, buf, 8, &version)));
	EXPECT_EQ(0, page->version);
	ASSERT_EQ(0, store_text(cell, "one"));
	EXPECT_EQ(1, page->version);
	EXPECT_EQ(3, chanfd_cell_read(page, buf, 8, &version));
	EXPECT_EQ(1, version);
	EXPECT_STREQ("oneritten.......", buf);
	ASSERT_EQ(0, store_text(cell, "two2"));
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_cell_read(page, buf, 3, NULL)));
	EXPECT_EQ(4, chanfd_cell_read(page, buf, 4, &version));
	EXPECT_EQ(2, version);
	EXPECT_STREQ("two2itten.......", buf);
	/* For poll(2) it is not read. */
	EXPECT_EQ(POLLIN, polled(cell));
	/* Swaps and compares are stores. */
	ASSERT_EQ(4, chanfd_swap(cell, "3", 1, buf, 8, NULL));
	EXPECT_EQ(1, chanfd_cell_read(page, buf, 8, &version));
	EXPECT_EQ(3, version);
	ASSERT_EQ(0, chanfd_compare_and_store(cell, 3, "4", 1, NULL));
	EXPECT_EQ(1, chanfd_cell_read(page, buf, 8, &version));
	EXPECT_EQ(4, version);
	EXPECT_EQ('4', buf[0]);
	ASSERT_EQ(0, chanfd_store(cell, NULL, 0, NULL));
	EXPECT_EQ(0, chanfd_cell_read(page, NULL, 0, &version));
	EXPECT_EQ(5, version);

	again = chanfd_cell_map(cell);
	ASSERT_NE(NULL, again);
	EXPECT_NE(page, again);
	chanfd_cell_unmap(page);
	EXPECT_EQ(0, chanfd_cell_read(again, buf, 8, &version));
	EXPECT_EQ(5, version);
}

/* A cell that is first mapped when it has a value; and the tag. */
TEST(mapped_late)
{
	const struct chanfd_cell_page *page;
	struct chanfd_store s = { .tag = 5, .buf = (uintptr_t)"value", .size = 5 };
	uint64_t version = 0;
	char buf[8];
	int cell = chanfd_cell(8, 0, NULL);

	ASSERT_EQ(0, chanfd_cell_store(cell, &s));
	ASSERT_EQ(0, chanfd_cell_store(cell, &s));
	page = chanfd_cell_map(cell);
	ASSERT_NE(NULL, page);
	EXPECT_EQ(5, chanfd_cell_read(page, buf, 8, &version));
	EXPECT_EQ(2, version);
	EXPECT_EQ(0, memcmp(buf, "value", 5));
	EXPECT_EQ(5, page->tag);
	EXPECT_EQ(0, page->sequence % 2);
}

/* The largest that fits into the page, and what does not. */
TEST(mapped_sizes)
{
	static char in[CHANFD_CELL_INLINE + 1], out[CHANFD_CELL_INLINE + 1];
	const struct chanfd_cell_page *page;
	uint64_t version = POISON64;
	int cell = chanfd_cell(sizeof(in), 0, NULL);

	memset(in, 'x', sizeof(in));
	page = chanfd_cell_map(cell);
	ASSERT_NE(NULL, page);
	ASSERT_EQ(0, chanfd_store(cell, in, CHANFD_CELL_INLINE, NULL));
	EXPECT_EQ(CHANFD_CELL_INLINE, chanfd_cell_read(page, out, sizeof(out), &version));
	EXPECT_EQ(0, memcmp(in, out, CHANFD_CELL_INLINE));
	ASSERT_EQ(0, chanfd_store(cell, in, CHANFD_CELL_INLINE + 1, NULL));
	version = POISON64;
	EXPECT_EQ(EAGAIN, errno_of(chanfd_cell_read(page, out, sizeof(out), &version)));
	EXPECT_EQ(POISON64, version);
	EXPECT_EQ(2, page->version);
	EXPECT_EQ(CHANFD_CELL_INLINE + 1, page->size);
	EXPECT_EQ(CHANFD_CELL_INLINE + 1, chanfd_load(cell, out, sizeof(out), NULL));
}

/* One page, to be read, and that is all. */
TEST(mapping_is_read_only)
{
	size_t size = getpagesize();
	int cell = chanfd_cell(8, 0, NULL);
	void *page;

	EXPECT_EQ(MAP_FAILED, mmap(NULL, size, PROT_WRITE, MAP_SHARED, cell, 0));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, cell, 0));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, cell, 0));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, cell, 0));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 2 * size, PROT_READ, MAP_SHARED, cell, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, size, PROT_READ, MAP_SHARED, cell, size));
	EXPECT_EQ(EINVAL, errno);

	page = mmap(NULL, size, PROT_READ, MAP_SHARED, cell, 0);
	ASSERT_NE(MAP_FAILED, page);
	EXPECT_EQ(EACCES, errno_of(mprotect(page, size, PROT_READ | PROT_WRITE)));
	EXPECT_EQ(EACCES, errno_of(mprotect(page, size, PROT_READ | PROT_EXEC)));
	EXPECT_NE(0, errno_of(syscall(SYS_mremap, page, size, 2 * size, MREMAP_MAYMOVE)));
	ASSERT_EQ(0, store_text(cell, "still"));
	EXPECT_EQ(1, ((struct chanfd_cell_page *)page)->version);
}

/* Of older values, nothing is left there. */
TEST(mapping_shows_one_value)
{
	static const char zeroes[CHANFD_CELL_INLINE];
	static char value[CHANFD_CELL_INLINE + 1];
	const struct chanfd_cell_page *page;
	int cell = chanfd_cell(sizeof(value), 0, NULL);

	page = mmap(NULL, getpagesize(), PROT_READ, MAP_SHARED, cell, 0);
	ASSERT_NE(MAP_FAILED, page);
	memset(value, 'x', sizeof(value));
	ASSERT_EQ(0, chanfd_store(cell, value, CHANFD_CELL_INLINE, NULL));
	EXPECT_EQ(0, memcmp(page->data, value, CHANFD_CELL_INLINE));
	ASSERT_EQ(0, chanfd_store(cell, value, 3, NULL));
	EXPECT_EQ(0, memcmp(page->data, value, 3));
	EXPECT_EQ(0, memcmp(page->data + 3, zeroes, CHANFD_CELL_INLINE - 3));
	ASSERT_EQ(0, chanfd_store(cell, value, CHANFD_CELL_INLINE, NULL));
	EXPECT_EQ(0, memcmp(page->data, value, CHANFD_CELL_INLINE));
	ASSERT_EQ(0, chanfd_store(cell, value, sizeof(value), NULL));
	EXPECT_EQ(0, memcmp(page->data, zeroes, CHANFD_CELL_INLINE));
	ASSERT_EQ(0, chanfd_store(cell, value, 1, NULL));
	EXPECT_EQ('x', page->data[0]);
}

/* A mapping outlives the handle that it was made with. */
TEST(mapping_survives_close)
{
	const struct chanfd_cell_page *page;
	long handles = handles_open();
	uint64_t version = 0;
	char buf[8];
	int fd[2];

	ASSERT_EQ(0, chanfd_cell_pair(fd, 8, 0, NULL));
	page = chanfd_cell_map(fd[0]);
	ASSERT_NE(NULL, page);
	close(fd[0]);
	EXPECT_EQ(handles + 2, handles_open());
	ASSERT_EQ(0, store_text(fd[1], "after"));
	EXPECT_EQ(5, chanfd_cell_read(page, buf, 8, &version));
	EXPECT_EQ(1, version);
	close(fd[1]);
	EXPECT_EQ(5, chanfd_cell_read(page, buf, 8, &version));
	EXPECT_EQ(handles + 1, handles_open());
	chanfd_cell_unmap(page);
	EXPECT_EQ(handles, handles_open());
}

/* Several at once */

FIXTURE(cell) {
	int cell;
};

FIXTURE_VARIANT(cell) {
	bool process;
};

FIXTURE_VARIANT_ADD(cell, threads) {
	.process = false,
};

FIXTURE_VARIANT_ADD(cell, processes) {
	.process = true,
};

FIXTURE_SETUP(cell)
{
	self->cell = chanfd_cell(CHANFD_MAX_CELL, 0, "tested");
	ASSERT_LE(0, self->cell);
}

FIXTURE_TEARDOWN(cell)
{
	close(self->cell);
}

/* Waits until the version is not me->value; what it is then goes to me->seq. */
static long run_wait(struct party *me)
{
	return chanfd_cell_wait(me->fd, me->value, &me->opt, &me->seq);
}

static struct party *party_wait(bool process, int cell, uint64_t known)
{
	struct party *p = party_new(process, run_wait, cell);

	p->value = known;
	return party_start(p);
}

#define WAITERS 5

TEST_F(cell, store_wakes_all_who_wait)
{
	struct party *p[WAITERS];
	uint64_t known;
	int i;

	for (known = 0; known < 3; known++) {
		for (i = 0; i < WAITERS; i++)
			p[i] = party_wait(variant->process, self->cell, known);
		ASSERT_TRUE(waiters_wait(self->cell, WAITERS));
		EXPECT_TRUE(stays_blocked(p[0]));
		ASSERT_EQ(0, store_text(self->cell, "news"));
		for (i = 0; i < WAITERS; i++) {
			EXPECT_EQ(0, party_join(p[i]));
			EXPECT_EQ(known + 1, p[i]->seq);
		}
		EXPECT_EQ(0, cell_info(self->cell).waiters);
	}
}

/* More than are woken under one hold of the lock. */
TEST_F(cell, many_waiters)
{
	enum { MANY = 200 };
	static struct party *p[MANY];
	int i;

	for (i = 0; i < MANY; i++)
		p[i] = party_wait(variant->process, self->cell, 0);
	ASSERT_TRUE(waiters_wait(self->cell, MANY));
	ASSERT_EQ(0, store_text(self->cell, "news"));
	for (i = 0; i < MANY; i++) {
		EXPECT_EQ(0, party_join(p[i]));
		EXPECT_EQ(1, p[i]->seq);
	}
}

TEST_F(cell, refused_store_wakes_nobody)
{
	struct party *p = party_wait(variant->process, self->cell, 0);

	ASSERT_TRUE(waiters_wait(self->cell, 1));
	EXPECT_EQ(ESTALE, errno_of(chanfd_compare_and_store(self->cell, 3, "x", 1, NULL)));
	EXPECT_EQ(EFAULT, errno_of(chanfd_store(self->cell, bad_pointer(), 1, NULL)));
	EXPECT_TRUE(stays_blocked(p));
	EXPECT_EQ(1, cell_info(self->cell).waiters);
	ASSERT_EQ(0, store_text(self->cell, "news"));
	EXPECT_EQ(0, party_join(p));
}

TEST_F(cell, wait_ends_with_its_deadline_or_context)
{
	struct party *p = party_new(variant->process, run_wait, self->cell);
	int ctx = chanfd_context(-1);
	uint64_t soon;

	EXPECT_EQ(ETIMEDOUT, errno_of(chanfd_cell_wait(self->cell, 0,
						       CHANFD_OPT(-1, 0, 1), NULL)));
	soon = chanfd_deadline(10 * MSEC);
	EXPECT_EQ(ETIMEDOUT, errno_of(chanfd_cell_wait(self->cell, 0,
						       CHANFD_OPT(-1, 0, soon), NULL)));
	EXPECT_EQ(0, cell_info(self->cell).waiters);

	p->opt.context = ctx;
	party_start(p);
	ASSERT_TRUE(waiters_wait(self->cell, 1));
	ASSERT_EQ(0, chanfd_cancel(ctx, 0, NULL));
	EXPECT_EQ(ECANCELED, errno_of(party_join(p)));
	EXPECT_EQ(0, cell_info(self->cell).waiters);
	/* Before all else, though it has changed. */
	EXPECT_EQ(ECANCELED, errno_of(chanfd_cell_wait(self->cell, 7,
						       CHANFD_OPT(ctx, 0, 0), NULL)));
}

TEST_F(cell, wait_and_signals)
{
	struct party *p;

	catch_signal(SIGUSR1, 0);
	catch_signal(SIGUSR2, SA_RESTART);
	p = party_wait(variant->process, self->cell, 0);
	ASSERT_TRUE(blocked(p));
	party_signal(p, SIGUSR1);
	EXPECT_EQ(EINTR, errno_of(party_join(p)));

	p = party_wait(variant->process, self->cell, 0);
	ASSERT_TRUE(blocked(p));
	party_signal(p, SIGUSR2);
	EXPECT_TRUE(stays_blocked(p));
	ASSERT_EQ(0, store_text(self->cell, "news"));
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(1, p->seq);
}

/* In select, between a cell and a channel, whichever comes first. */
static long run_select(struct party *me)
{
	int *fd = me->arg;
	struct chanfd_outcome out;
	int ret = chanfd_select_of(&me->opt, &out, CHANFD_RECV(fd[1]),
				   CHANFD_CHANGED(fd[0], 0));

	me->seq = out.number;
	return ret;
}

TEST_F(cell, select_with_a_channel)
{
	struct party *p = party_new(variant->process, run_select, -1);
	int *fd = shared(2 * sizeof(*fd));
	int ch = chanfd_channel(8, 0, 0, NULL);

	fd[0] = self->cell;
	fd[1] = ch;
	p->arg = fd;
	party_start(p);
	ASSERT_TRUE(waiters_wait(self->cell, 1));
	ASSERT_TRUE(receivers_wait(ch, 1));
	ASSERT_EQ(0, store_text(self->cell, "news"));
	EXPECT_EQ(1, party_join(p));
	EXPECT_EQ(1, p->seq);
	EXPECT_EQ(0, info_of(ch).waiting_receivers);

	/* The other way round: it leaves the cell's queue. */
	p = party_new(variant->process, run_select, -1);
	fd[0] = chanfd_cell(8, 0, NULL);
	p->arg = fd;
	party_start(p);
	ASSERT_TRUE(waiters_wait(fd[0], 1));
	ASSERT_TRUE(receivers_wait(ch, 1));
	ASSERT_EQ(0, chanfd_put(ch, 7UL, NULL));
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(0, cell_info(fd[0]).waiters);
}

static long run_poll(struct party *me)
{
	struct pollfd p = { .fd = me->fd, .events = POLLIN };

	if (poll(&p, 1, -1) != 1)
		return -1;
	return p.revents;
}

TEST_F(cell, store_wakes_pollers)
{
	int fd = chanfd_reduce(self->cell, CHANFD_READ);
	struct party *p[2];
	char buf[8];

	ASSERT_EQ(0, store_text(self->cell, "old"));
	EXPECT_EQ(3, chanfd_load(fd, buf, 8, NULL));
	EXPECT_EQ(3, chanfd_load(self->cell, buf, 8, NULL));
	p[0] = party_start(party_new(variant->process, run_poll, fd));
	p[1] = party_start(party_new(variant->process, run_poll, self->cell));
	ASSERT_TRUE(blocked(p[0]));
	ASSERT_TRUE(blocked(p[1]));
	ASSERT_EQ(0, store_text(self->cell, "new"));
	EXPECT_EQ(POLLIN, party_join(p[0]));
	EXPECT_EQ(POLLIN, party_join(p[1]));
}

/*
 * A value that tells whether it is whole: as many words as its number says, each of
 * them the number.
 */
#define MOST_WORDS (CHANFD_MAX_CELL / 8)

static size_t fill(uint64_t *words, uint64_t number, unsigned int most)
{
	unsigned int n = 1 + number % most, i;

	for (i = 0; i < n; i++)
		words[i] = number;
	return n * sizeof(*words);
}

static bool is_whole(const uint64_t *words, ssize_t size, unsigned int most)
{
	unsigned int n = size / 8, i;

	if (size < 8 || size % 8 || n != 1 + words[0] % most)
		return false;
	for (i = 1; i < n; i++)
		if (words[i] != words[0])
			return false;
	return true;
}

/**
 * struct storm - stores and loads, as fast as they go, until told to stop
 * @cell:	which
 * @page:	of it; loads take turns with those from the mapping
 * @most:	words of a value
 * @stop:	it is over
 * @loads:	that were made, to know that something was tested
 * @stores:	likewise
 */
struct storm {
	int cell;
	const struct chanfd_cell_page *page;
	unsigned int most;
	atomic_bool stop;
	atomic_ulong loads;
	atomic_ulong mapped;
	atomic_ulong stores;
};

static long run_store(struct party *me)
{
	struct storm *s = me->arg;
	uint64_t *words = calloc(MOST_WORDS, sizeof(*words));
	uint64_t i, last = 0, version;

	for (i = me->value; !s->stop; i += 7) {
		if (chanfd_store(s->cell, words, fill(words, i, s->most), &version))
			return -1;
		/* Each version is one store's. */
		if (version <= last)
			return 1;
		last = version;
		s->stores++;
	}
	free(words);
	return 0;
}

/* 1: torn, 2: a version went back. */
static long run_load(struct party *me)
{
	struct storm *s = me->arg;
	uint64_t *words = malloc(CHANFD_MAX_CELL);
	uint64_t version, last = 0, number = 0;
	unsigned int i;
	ssize_t size;

	for (i = 0; !s->stop; i++) {
		size = -1;
		if (i % 2) {
			size = chanfd_cell_read(s->page, words, CHANFD_MAX_CELL, &version);
			if (size < 0 && errno != EAGAIN)
				return -1;
			if (size >= 0)
				s->mapped++;
		}
		if (size < 0)
			size = chanfd_load(s->cell, words, CHANFD_MAX_CELL, &version);
		if (size < 0)
			return -1;
		if (!is_whole(words, size, s->most))
			return 1;
		if (version < last || (version == last && words[0] != number))
			return 2;
		last = version;
		number = words[0];
		s->loads++;
	}
	free(words);
	return 0;
}

static struct storm *storm_new(struct __test_metadata *_metadata, int cell, unsigned int most)
{
	uint64_t first[1] = { 0 };
	struct storm *s = shared(sizeof(*s));

	s->cell = cell;
	s->most = most;
	s->page = chanfd_cell_map(cell);
	ASSERT_NE(NULL, s->page);
	ASSERT_EQ(0, chanfd_store(cell, first, sizeof(first), NULL));
	return s;
}

static struct party *into(struct storm *s, bool process, long (*run)(struct party *me),
			  uint64_t first)
{
	struct party *p = party_new(process, run, s->cell);

	p->arg = s;
	p->value = first;
	return party_start(p);
}

#define STORERS	2
#define LOADERS	3
#define ROUNDS	(2000 / SLOWNESS)

static void storm(struct __test_metadata *_metadata, bool process, int cell,
		  unsigned int most, unsigned int rounds)
{
	struct storm *s = storm_new(_metadata, cell, most);
	struct party *p[STORERS + LOADERS];
	int i;

	for (i = 0; i < STORERS; i++)
		p[i] = into(s, process, run_store, i + 1);
	for (i = 0; i < LOADERS; i++)
		p[STORERS + i] = into(s, process, run_load, 0);
	EXPECT_TRUE(eventually(s->stores > rounds && s->loads > rounds));
	s->stop = true;
	for (i = 0; i < STORERS + LOADERS; i++)
		EXPECT_EQ(0, party_join(p[i]));
	/* Every store that was told a version has had one. */
	EXPECT_EQ(1 + s->stores, cell_info(cell).version);
	TH_LOG("%lu stores, %lu loads, %lu of them mapped", s->stores, s->loads, s->mapped);
}

/* V1, tV1: never a mix, never an older version than before. */
TEST_F(cell, never_torn_small)
{
	storm(_metadata, variant->process, self->cell, 8, ROUNDS);
}

TEST_F(cell, never_torn_inline)
{
	storm(_metadata, variant->process, self->cell, CHANFD_CELL_INLINE / 8, ROUNDS);
}

TEST_F(cell, never_torn_large)
{
	storm(_metadata, variant->process, self->cell, MOST_WORDS, ROUNDS / 4);
}

/* tV4: all that was swapped in comes out once, or is left: the sums agree. */

#define SWAPS	(2000 / SLOWNESS)

struct sums {
	uint64_t in;
	uint64_t out;
};

static long run_swap(struct party *me)
{
	struct sums *sums = me->arg;
	uint64_t i, old;

	for (i = 0; i < SWAPS; i++) {
		uint64_t new = me->value * SWAPS + i;

		old = 0;
		if (chanfd_swap(me->fd, &new, sizeof(new), &old, sizeof(old), NULL) < 0)
			return -1;
		sums->in += new;
		sums->out += old;
	}
	return 0;
}

TEST_F(cell, swap_sum)
{
	struct party *p[4];
	uint64_t in = 0, out = 0, left;
	int i;

	for (i = 0; i < 4; i++) {
		p[i] = party_new(variant->process, run_swap, self->cell);
		p[i]->arg = shared(sizeof(struct sums));
		p[i]->value = i;
		party_start(p[i]);
	}
	for (i = 0; i < 4; i++) {
		struct sums *sums = p[i]->arg;

		EXPECT_EQ(0, party_join(p[i]));
		in += sums->in;
		out += sums->out;
	}
	EXPECT_EQ(8, chanfd_load(self->cell, &left, 8, NULL));
	EXPECT_EQ(in, out + left);
	EXPECT_EQ(4 * SWAPS, cell_info(self->cell).version);
}

/* tV5: a ladder of versions; each step is taken by one, the others try again. */

#define STEPS	(500 / SLOWNESS)

static long run_climb(struct party *me)
{
	uint64_t steps = 0, version, value;

	while (steps < STEPS) {
		if (chanfd_load(me->fd, &value, sizeof(value), &version) != sizeof(value))
			return -1;
		value++;
		if (!chanfd_compare_and_store(me->fd, version, &value, sizeof(value), NULL))
			steps++;
		else if (errno != ESTALE)
			return -1;
	}
	return 0;
}

TEST_F(cell, compare_and_store_ladder)
{
	struct party *p[4];
	uint64_t value = 0;
	int i;

	ASSERT_EQ(0, chanfd_store(self->cell, &value, sizeof(value), NULL));
	for (i = 0; i < 4; i++)
		p[i] = party_start(party_new(variant->process, run_climb, self->cell));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, party_join(p[i]));
	EXPECT_EQ(8, chanfd_load(self->cell, &value, 8, NULL));
	EXPECT_EQ(4 * STEPS, value);
	EXPECT_EQ(4 * STEPS + 1, cell_info(self->cell).version);
}

/*
 * Nothing is missed: one stores the next number when the others have seen the last.
 * me->seq is what it has seen.
 */
static long run_follow(struct party *me)
{
	uint64_t value, version = 0;

	while (me->seq < me->value) {
		if (chanfd_cell_wait(me->fd, version, NULL, NULL) ||
		    chanfd_load(me->fd, &value, sizeof(value), &version) != sizeof(value))
			return -1;
		if (value != me->seq + 1)
			return 1;
		me->seq = value;
	}
	return 0;
}

TEST_F(cell, followers_miss_nothing)
{
	enum { NUMBERS = 300 / SLOWNESS };
	struct party *p[3];
	uint64_t n;
	int i;

	for (i = 0; i < 3; i++) {
		p[i] = party_new(variant->process, run_follow, self->cell);
		p[i]->value = NUMBERS;
		party_start(p[i]);
	}
	for (n = 1; n <= NUMBERS; n++) {
		ASSERT_EQ(0, chanfd_store(self->cell, &n, sizeof(n), NULL));
		for (i = 0; i < 3; i++)
			ASSERT_TRUE(eventually(*(volatile uint64_t *)&p[i]->seq == n ||
					       p[i]->ended));
	}
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, party_join(p[i]));
}

/* The mapping is inherited, and shows what happens after the fork. */
static long run_read_inherited(struct party *me)
{
	const struct chanfd_cell_page *page = me->arg;
	uint64_t value;

	if (chanfd_cell_wait(me->fd, 0, NULL, NULL))
		return -1;
	if (chanfd_cell_read(page, &value, sizeof(value), &me->seq) != sizeof(value))
		return -1;
	me->value = value;
	return 0;
}

TEST_F(cell, mapping_is_shared)
{
	struct party *p = party_new(variant->process, run_read_inherited, self->cell);
	uint64_t value = 17;

	p->arg = (void *)chanfd_cell_map(self->cell);
	ASSERT_NE(NULL, p->arg);
	party_start(p);
	ASSERT_TRUE(waiters_wait(self->cell, 1));
	ASSERT_EQ(0, chanfd_store(self->cell, &value, sizeof(value), NULL));
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(17, p->value);
	EXPECT_EQ(1, p->seq);
}

/* A handle that several load by has read what the latest load has. */
static long run_load_often(struct party *me)
{
	struct storm *s = me->arg;
	uint64_t words[8];

	while (!s->stop) {
		if (chanfd_load(s->cell, words, sizeof(words), NULL) < 0)
			return -1;
		s->loads++;
	}
	return 0;
}

TEST_F(cell, what_is_read_does_not_go_back)
{
	struct storm *s = storm_new(_metadata, self->cell, 8);
	struct party *p[3];
	char path[64], text[1024];
	unsigned long long pos, last = 0;
	int i;

	p[0] = into(s, variant->process, run_store, 1);
	p[1] = into(s, variant->process, run_load_often, 0);
	p[2] = into(s, variant->process, run_load_often, 0);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->cell);
	ASSERT_TRUE(eventually(s->stores && s->loads));
	for (i = 0; i < ROUNDS / 4; i++) {
		ASSERT_TRUE(read_text(path, text, sizeof(text)));
		ASSERT_EQ(0, strncmp(text, "pos:", 4));
		pos = strtoull(text + 4, NULL, 10);
		ASSERT_LE(last, pos);
		last = pos;
	}
	s->stop = true;
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, party_join(p[i]));
	EXPECT_LT(0, last);
	EXPECT_LE(last, cell_info(self->cell).version);
}

/* kill -9 */

/* Whoever is killed while it stores or loads leaves a cell that works. */
TEST(killed_in_a_storm)
{
	int cell = chanfd_cell(CHANFD_MAX_CELL, 0, NULL);
	struct storm *s = storm_new(_metadata, cell, MOST_WORDS);
	struct party *p[4];
	uint64_t *words = malloc(CHANFD_MAX_CELL);
	unsigned long before;
	int i, round;

	for (round = 0; round < 10; round++) {
		before = s->stores + s->loads;
		for (i = 0; i < 4; i++)
			p[i] = into(s, true, i % 2 ? run_store : run_load, i);
		ASSERT_TRUE(eventually(s->stores + s->loads > before + 20));
		for (i = 0; i < 4; i++)
			kill(p[i]->tid, SIGKILL);
		for (i = 0; i < 4; i++)
			EXPECT_EQ(EOWNERDEAD, errno_of(party_join(p[i])));
		EXPECT_TRUE(is_whole(words, chanfd_load(cell, words, CHANFD_MAX_CELL, NULL),
				     MOST_WORDS));
		/* Whole, and even: who was killed has let go of the page. */
		EXPECT_EQ(0, s->page->sequence % 2);
		EXPECT_EQ(cell_info(cell).version, s->page->version);
		EXPECT_LE(s->stores + 1, cell_info(cell).version);
	}
}

TEST(killed_while_it_waits)
{
	int cell = chanfd_cell(8, 0, NULL);
	struct party *killed = party_wait(true, cell, 0);
	struct party *other = party_wait(true, cell, 0);

	ASSERT_TRUE(waiters_wait(cell, 2));
	party_kill(killed);
	EXPECT_EQ(1, cell_info(cell).waiters);
	ASSERT_EQ(0, store_text(cell, "news"));
	EXPECT_EQ(0, party_join(other));
}

/* Memory */

static long used_memory(void)
{
	char text[512];
	unsigned long total, free;

	if (!read_text("/proc/meminfo", text, sizeof(text)) ||
	    sscanf(text, "MemTotal: %lu kB MemFree: %lu kB", &total, &free) != 2)
		errx(1, "/proc/meminfo");
	return total - free;
}

/*
 * However fast stores follow each other, what they replace is memory again at once: a
 * storm of many times what would matter leaves less than that behind, while it goes on.
 */
TEST(storms_leave_nothing)
{
	enum { STORES = 20000 / SLOWNESS, KIB = CHANFD_MAX_CELL / 1024 };
	static char value[CHANFD_MAX_CELL];
	int cell = chanfd_cell(sizeof(value), 0, NULL);
	long most = 0, before;
	int i;

	ASSERT_EQ(0, chanfd_store(cell, value, sizeof(value), NULL));
	before = used_memory();
	for (i = 0; i < STORES; i++) {
		ASSERT_EQ(0, chanfd_store(cell, value, sizeof(value), NULL));
		if (i % 100 == 0 && used_memory() - before > most)
			most = used_memory() - before;
	}
	TH_LOG("%d stores of %d KiB: at most %ld KiB more", STORES, KIB, most);
	EXPECT_GT((long)STORES * KIB / 10, most);
}

TEST_HARNESS_MAIN
