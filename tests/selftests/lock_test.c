// SPDX-License-Identifier: GPL-2.0
/*
 * Locks: mutual exclusion, turns of readers and writers, modes, and holders that die.
 */
#include <poll.h>

#include "helpers.h"

static struct chanfd_lock_info lock_info(int lock)
{
	struct chanfd_lock_info info;

	poison(&info);
	if (chanfd_lock_info(lock, &info))
		err(1, "chanfd_lock_info");
	return info;
}

static bool writers_wait(int lock, unsigned int n)
{
	return eventually(lock_info(lock).waiting_writers == n);
}

static long run_lock(struct party *me)
{
	return chanfd_lock(me->fd, &me->opt);
}

static long run_lock_and_wait(struct party *me)
{
	long ret = chanfd_lock(me->fd, &me->opt);

	me->value = ret ? errno : 1;
	pause();
	return ret;
}

TEST(smoke)
{
	int lock = chanfd_mutex(0, "m");
	struct party *p;

	ASSERT_LE(0, lock);
	EXPECT_EQ(EPERM, errno_of(chanfd_unlock(lock)));
	EXPECT_EQ(0, chanfd_trylock(lock));
	EXPECT_EQ(getpid(), lock_info(lock).holder);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_trylock(lock)));
	EXPECT_EQ(0, chanfd_unlock(lock));
	EXPECT_EQ(EPERM, errno_of(chanfd_unlock(lock)));
	p = party_new(true, run_lock_and_wait, lock);
	party_start(p);
	EXPECT_TRUE(eventually(p->value));
	EXPECT_EQ(p->tid, lock_info(lock).holder);
	party_kill(p);
	EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_trylock(lock)));
	EXPECT_EQ(CHANFD_LOCKED | CHANFD_OWNER_DEAD, lock_info(lock).state);
	EXPECT_EQ(0, chanfd_unlock(lock));
	EXPECT_EQ(0, chanfd_lock(lock, NULL));
	p = party_start(party_new(true, run_lock, lock));
	EXPECT_TRUE(writers_wait(lock, 1));
	EXPECT_EQ(0, chanfd_unlock(lock));
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_lock(lock, NULL)));
	EXPECT_EQ(0, chanfd_unlock_lost(lock));
	EXPECT_EQ(ENOTRECOVERABLE, errno_of(chanfd_lock(lock, NULL)));
}

TEST_HARNESS_MAIN
