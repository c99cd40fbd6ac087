// SPDX-License-Identifier: GPL-2.0
/*
 * Cells: loads and stores, versions, who waits for a change, and what is mapped.
 */
#include <poll.h>
#include <sys/epoll.h>

#include "helpers.h"

static struct chanfd_cell_info cell_info(int cell)
{
	struct chanfd_cell_info info;

	poison(&info);
	if (chanfd_cell_info(cell, &info))
		err(1, "chanfd_cell_info");
	return info;
}

static short polled(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (poll(&p, 1, 0) < 0)
		err(1, "poll");
	return p.revents;
}

/* The number that a cell of numbers holds. */
static uint64_t number_in(int cell)
{
	uint64_t value;

	if (chanfd_load(cell, &value, sizeof(value), NULL) != sizeof(value))
		err(1, "chanfd_load");
	return value;
}

static int store_number(int cell, uint64_t value)
{
	return chanfd_store(cell, &value, sizeof(value), NULL);
}

/* tV1, V1: nothing before the first store, then the latest value, whole. */
TEST(basics)
{
	uint64_t version = POISON64;
	char buf[8] = "........";
	int cell = chanfd_cell(8, 0, "config");

	ASSERT_LE(0, cell);
	EXPECT_EQ(ENODATA, errno_of(chanfd_load(cell, buf, sizeof(buf), &version)));
	EXPECT_EQ(POISON64, version);
	EXPECT_EQ(0, memcmp(buf, "........", 8));
	EXPECT_EQ(0, cell_info(cell).version);

	EXPECT_EQ(0, chanfd_store(cell, "first", 5, &version));
	EXPECT_EQ(1, version);
	version = 0;
	EXPECT_EQ(5, chanfd_load(cell, buf, sizeof(buf), &version));
	EXPECT_EQ(1, version);
	EXPECT_EQ(0, memcmp(buf, "first...", 8));

	EXPECT_EQ(0, chanfd_store(cell, "2nd", 3, &version));
	EXPECT_EQ(2, version);
	EXPECT_EQ(3, chanfd_load(cell, buf, sizeof(buf), &version));
	EXPECT_EQ(2, version);
	EXPECT_EQ(0, memcmp(buf, "2ndst...", 8));
	/* Again and again: a load takes nothing away. */
	EXPECT_EQ(3, chanfd_load(cell, buf, sizeof(buf), NULL));
	EXPECT_EQ(2, cell_info(cell).version);
	EXPECT_EQ(3, cell_info(cell).size);
	EXPECT_EQ(8, cell_info(cell).max);
}

TEST_HARNESS_MAIN
