// SPDX-License-Identifier: GPL-2.0
/*
 * Locks: mutual exclusion, turns of readers and writers, modes, holders that die,
 * readiness and the mapped page.
 */
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>

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

static bool readers_wait(int lock, unsigned int n)
{
	return eventually(lock_info(lock).waiting_readers == n);
}

static bool is_unused(int lock)
{
	struct chanfd_lock_info info = lock_info(lock);

	return !info.state && !info.holder && !info.readers && !info.waiting_writers &&
	       !info.waiting_readers;
}

static short polled(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (poll(&p, 1, 0) < 0)
		err(1, "poll");
	return p.revents;
}

/**
 * struct record - what parties that get a lock say, and are told
 * @count:	of those who had it
 * @order:	their party.value
 * @go:		they may go on
 * @plain:	not atomic, so the lock has to protect it
 */
struct record {
	atomic_int count;
	uint64_t order[64];
	atomic_bool go;
	uint64_t plain;
};

enum kind { WRITER, READER };

static int lock_as(enum kind kind, int lock, const struct chanfd_opt *opt)
{
	return kind == READER ? chanfd_rlock(lock, opt) : chanfd_lock(lock, opt);
}

static int unlock_as(enum kind kind, int lock)
{
	return kind == READER ? chanfd_runlock(lock) : chanfd_unlock(lock);
}

/* Locks, says so, goes on when it may, unlocks. The result is of the locking. */
static long locks(struct party *me, enum kind kind)
{
	struct record *r = me->arg;
	long ret = lock_as(kind, me->fd, &me->opt);
	int error = errno;

	if (!ret || error == EOWNERDEAD) {
		r->order[r->count++] = me->value;
		while (!r->go)
			pause_for(MSEC);
		unlock_as(kind, me->fd);
	}
	errno = error;
	return ret;
}

static long run_writer(struct party *me)
{
	return locks(me, WRITER);
}

static long run_reader(struct party *me)
{
	return locks(me, READER);
}

static struct party *party_locks(bool process, enum kind kind, int lock, struct record *r,
				 uint64_t value)
{
	struct party *p = party_new(process, kind == READER ? run_reader : run_writer, lock);

	p->arg = r;
	p->value = value;
	return party_start(p);
}

static struct record *record_new(bool go)
{
	struct record *r = shared(sizeof(*r));

	r->go = go;
	return r;
}

TEST(birth)
{
	struct chanfd_lock_info info;
	struct chanfd_info handle;
	int fd[2], lock = chanfd_mutex(0, "door");
	uint64_t id;

	ASSERT_LE(0, lock);
	EXPECT_EQ(FD_CLOEXEC, fcntl(lock, F_GETFD));
	poison(&handle);
	ASSERT_EQ(0, chanfd_info(lock, &handle));
	EXPECT_EQ(CHANFD_TYPE_LOCK, handle.type);
	EXPECT_EQ(CHANFD_READ | CHANFD_WRITE, handle.rights);
	EXPECT_STREQ("door", (char *)handle.name);
	id = handle.id;
	EXPECT_TRUE(is_unused(lock));
	info = lock_info(lock);
	EXPECT_EQ(0, info.flags);
	EXPECT_EQ(0, info.dead);
	EXPECT_EQ(0, info.reserved);

	ASSERT_EQ(0, chanfd_rwmutex_pair(fd, CHANFD_HANDOFF | CHANFD_INHERIT, NULL));
	EXPECT_EQ(0, fcntl(fd[0], F_GETFD));
	ASSERT_EQ(0, chanfd_info(fd[0], &handle));
	EXPECT_EQ(CHANFD_READ, handle.rights);
	EXPECT_NE(id, handle.id);
	ASSERT_EQ(0, chanfd_info(fd[1], &handle));
	EXPECT_EQ(CHANFD_WRITE, handle.rights);
	EXPECT_EQ(CHANFD_RW | CHANFD_HANDOFF, lock_info(fd[0]).flags);

	lock = chanfd_mutex(CHANFD_BARGING, NULL);
	EXPECT_EQ(CHANFD_BARGING, lock_info(lock).flags);
}

/* tM1, M8 */
TEST(trylock_basic)
{
	int lock = chanfd_mutex(0, NULL);

	EXPECT_EQ(0, chanfd_trylock(lock));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_trylock(lock)));
	EXPECT_EQ(CHANFD_LOCKED, lock_info(lock).state);
	EXPECT_EQ(getpid(), lock_info(lock).holder);
	EXPECT_EQ(0, chanfd_unlock(lock));
	EXPECT_EQ(0, chanfd_trylock(lock));
	EXPECT_EQ(0, chanfd_unlock(lock));
	EXPECT_EQ(0, chanfd_lock(lock, NULL));
	EXPECT_EQ(0, chanfd_unlock(lock));
	EXPECT_TRUE(is_unused(lock));
}

/* tM3, M2, R7: unlike in Go, what went wrong has changed nothing. */
TEST(misuse_rows)
{
	int mutex = chanfd_mutex(0, NULL), rw = chanfd_rwmutex(0, NULL);

	EXPECT_EQ(EPERM, errno_of(chanfd_unlock(mutex)));
	EXPECT_EQ(EPERM, errno_of(chanfd_unlock_lost(mutex)));
	EXPECT_EQ(0, chanfd_lock(mutex, NULL));
	EXPECT_EQ(0, chanfd_unlock(mutex));
	EXPECT_EQ(EPERM, errno_of(chanfd_unlock(mutex)));
	EXPECT_EQ(EPERM, errno_of(chanfd_runlock(mutex)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_downgrade(mutex)));
	EXPECT_TRUE(is_unused(mutex));
	EXPECT_EQ(0, chanfd_trylock(mutex));

	EXPECT_EQ(EPERM, errno_of(chanfd_unlock(rw)));
	EXPECT_EQ(EPERM, errno_of(chanfd_runlock(rw)));
	EXPECT_EQ(EPERM, errno_of(chanfd_downgrade(rw)));
	EXPECT_EQ(0, chanfd_rlock(rw, NULL));
	EXPECT_EQ(EPERM, errno_of(chanfd_unlock(rw)));
	EXPECT_EQ(EPERM, errno_of(chanfd_downgrade(rw)));
	EXPECT_EQ(1, lock_info(rw).readers);
	EXPECT_EQ(0, chanfd_runlock(rw));
	EXPECT_EQ(EPERM, errno_of(chanfd_runlock(rw)));
	EXPECT_EQ(0, chanfd_lock(rw, NULL));
	EXPECT_EQ(EPERM, errno_of(chanfd_runlock(rw)));
	EXPECT_EQ(CHANFD_LOCKED, lock_info(rw).state);
	EXPECT_EQ(0, chanfd_unlock(rw));
	EXPECT_EQ(EPERM, errno_of(chanfd_unlock(rw)));
	EXPECT_TRUE(is_unused(rw));
	EXPECT_EQ(0, chanfd_trylock(rw));
}

/* tR3, R6 */
TEST(try_matrix)
{
	int rw = chanfd_rwmutex(0, NULL);

	EXPECT_EQ(0, chanfd_trylock(rw));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_trylock(rw)));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_tryrlock(rw)));
	EXPECT_EQ(0, chanfd_unlock(rw));
	EXPECT_EQ(0, chanfd_tryrlock(rw));
	EXPECT_EQ(0, chanfd_tryrlock(rw));
	EXPECT_EQ(2, lock_info(rw).readers);
	EXPECT_EQ(0, lock_info(rw).state);
	EXPECT_EQ(0, lock_info(rw).holder);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_trylock(rw)));
	EXPECT_EQ(0, chanfd_runlock(rw));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_trylock(rw)));
	EXPECT_EQ(0, chanfd_runlock(rw));
	EXPECT_EQ(0, chanfd_trylock(rw));
	EXPECT_EQ(0, chanfd_unlock(rw));
	EXPECT_TRUE(is_unused(rw));
}

TEST(rights)
{
	struct chanfd_outcome out;
	struct chanfd_case c;
	int fd[2], down;

	ASSERT_EQ(0, chanfd_rwmutex_pair(fd, 0, NULL));
	EXPECT_EQ(EPERM, errno_of(chanfd_lock(fd[0], NULL)));
	EXPECT_EQ(EPERM, errno_of(chanfd_trylock(fd[0])));
	EXPECT_EQ(EPERM, errno_of(chanfd_rlock(fd[1], NULL)));
	EXPECT_EQ(EPERM, errno_of(chanfd_tryrlock(fd[1])));
	c = CHANFD_LOCK(fd[0]);
	EXPECT_EQ(EPERM, errno_of(chanfd_select(&c, 1, NULL, &out)));
	c = CHANFD_RLOCK(fd[1]);
	EXPECT_EQ(EPERM, errno_of(chanfd_select(&c, 1, NULL, &out)));
	EXPECT_TRUE(is_unused(fd[0]));

	ASSERT_EQ(0, chanfd_lock(fd[1], NULL));
	EXPECT_EQ(EPERM, errno_of(chanfd_unlock(fd[0])));
	EXPECT_EQ(EPERM, errno_of(chanfd_unlock_lost(fd[0])));
	EXPECT_EQ(EPERM, errno_of(chanfd_downgrade(fd[0])));
	EXPECT_EQ(EPERM, errno_of(chanfd_downgrade(fd[1])));
	EXPECT_EQ(CHANFD_LOCKED, lock_info(fd[0]).state);
	ASSERT_EQ(0, chanfd_unlock(fd[1]));
	ASSERT_EQ(0, chanfd_rlock(fd[0], NULL));
	EXPECT_EQ(EPERM, errno_of(chanfd_runlock(fd[1])));
	EXPECT_EQ(1, lock_info(fd[0]).readers);
	EXPECT_EQ(0, chanfd_runlock(fd[0]));

	down = chanfd_rwmutex(0, NULL);
	ASSERT_LE(0, down);
	EXPECT_EQ(EPERM, errno_of(chanfd_lock(chanfd_reduce(down, CHANFD_READ), NULL)));
	EXPECT_EQ(EPERM, errno_of(chanfd_reduce(fd[0], CHANFD_WRITE)));
}

TEST(bad_input)
{
	struct chanfd_lock make = { .flags = CHANFD_HANDOFF | CHANFD_BARGING };
	struct chanfd_acquire a = { .context = -1 };
	int device = chanfd_device(), mutex, rw, wg;
	struct chanfd_outcome out;
	struct chanfd_case c;
	uint32_t flags;

	ASSERT_LE(0, device);
	EXPECT_EQ(EINVAL, errno_of(ioctl(device, CHANFD_IOC_LOCK_NEW, &make)));
	make.flags = CHANFD_NONBLOCK;
	EXPECT_EQ(EINVAL, errno_of(ioctl(device, CHANFD_IOC_LOCK_NEW, &make)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_mutex(CHANFD_RW, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_mutex(CHANFD_PAIR, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_rwmutex(CHANFD_PAIR, NULL)));

	mutex = chanfd_mutex(0, NULL);
	rw = chanfd_rwmutex(0, NULL);
	wg = chanfd_waitgroup(0, NULL);
	EXPECT_EQ(EINVAL, errno_of(chanfd_rlock(mutex, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_tryrlock(mutex)));
	c = CHANFD_RLOCK(mutex);
	EXPECT_EQ(EINVAL, errno_of(chanfd_select(&c, 1, NULL, &out)));
	c = CHANFD_LOCK(wg);
	EXPECT_EQ(EINVAL, errno_of(chanfd_select(&c, 1, NULL, &out)));
	c = CHANFD_LOCK(rw);
	c.size = 1;
	EXPECT_EQ(EINVAL, errno_of(chanfd_select(&c, 1, NULL, &out)));
	c = CHANFD_LOCK(rw);
	c.buf = 1;
	EXPECT_EQ(EINVAL, errno_of(chanfd_select(&c, 1, NULL, &out)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_lock(rw, CHANFD_OPT(-1, CHANFD_ORDERED << 1, 0))));
	a.flags = CHANFD_GIVE_UP;
	EXPECT_EQ(EINVAL, errno_of(ioctl(rw, CHANFD_IOC_LOCK, &a)));
	EXPECT_EQ(EBADF, errno_of(chanfd_lock(rw, CHANFD_OPT(1 << 20, 0, 0))));
	EXPECT_EQ(EINVAL, errno_of(chanfd_lock(rw, CHANFD_OPT(wg, 0, 0))));
	EXPECT_EQ(EFAULT, errno_of(ioctl(rw, CHANFD_IOC_LOCK, bad_pointer())));
	EXPECT_EQ(ENOTTY, errno_of(chanfd_lock(wg, NULL)));
	EXPECT_EQ(EBADF, errno_of(chanfd_lock(-1, NULL)));
	EXPECT_TRUE(is_unused(rw));

	ASSERT_EQ(0, chanfd_lock(rw, NULL));
	flags = CHANFD_GIVE_UP | CHANFD_SHARED;
	EXPECT_EQ(EINVAL, errno_of(ioctl(rw, CHANFD_IOC_UNLOCK, &flags)));
	flags = 1U << 31;
	EXPECT_EQ(EINVAL, errno_of(ioctl(rw, CHANFD_IOC_UNLOCK, &flags)));
	EXPECT_EQ(EFAULT, errno_of(ioctl(rw, CHANFD_IOC_UNLOCK, bad_pointer())));
	EXPECT_EQ(EFAULT, errno_of(ioctl(rw, CHANFD_IOC_LOCK_INFO, bad_pointer())));
	EXPECT_EQ(CHANFD_LOCKED, lock_info(rw).state);
}

FIXTURE(lock) {
	int mutex;
	int rw;
	bool process;
};

FIXTURE_VARIANT(lock) {
	bool process;
	unsigned int mode;
};

FIXTURE_VARIANT_ADD(lock, threads) {
	.process = false,
};

FIXTURE_VARIANT_ADD(lock, threads_handoff) {
	.process = false,
	.mode = CHANFD_HANDOFF,
};

FIXTURE_VARIANT_ADD(lock, threads_barging) {
	.process = false,
	.mode = CHANFD_BARGING,
};

FIXTURE_VARIANT_ADD(lock, processes) {
	.process = true,
};

FIXTURE_VARIANT_ADD(lock, processes_handoff) {
	.process = true,
	.mode = CHANFD_HANDOFF,
};

FIXTURE_VARIANT_ADD(lock, processes_barging) {
	.process = true,
	.mode = CHANFD_BARGING,
};

FIXTURE_SETUP(lock)
{
	self->process = variant->process;
	self->mutex = chanfd_mutex(variant->mode, "mutex");
	self->rw = chanfd_rwmutex(variant->mode, "rw");
	ASSERT_LE(0, self->mutex);
	ASSERT_LE(0, self->rw);
}

FIXTURE_TEARDOWN(lock)
{
	close(self->mutex);
	close(self->rw);
}

TEST_F(lock, excludes)
{
	struct record *r = record_new(true);
	struct party *p;

	ASSERT_EQ(0, chanfd_lock(self->mutex, NULL));
	p = party_locks(self->process, WRITER, self->mutex, r, 1);
	EXPECT_TRUE(stays_blocked(p));
	EXPECT_EQ(0, atomic_load(&r->count));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_trylock(self->mutex)));
	EXPECT_EQ(0, chanfd_unlock(self->mutex));
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(1, atomic_load(&r->count));
	EXPECT_TRUE(is_unused(self->mutex));
}

/* tM6, M1: whoever locked it. */
TEST_F(lock, unlocked_by_another)
{
	struct record *r = record_new(false);
	struct party *p = party_locks(self->process, WRITER, self->mutex, r, 1);

	ASSERT_TRUE(eventually(r->count));
	EXPECT_EQ(self->process ? p->tid : getpid(), lock_info(self->mutex).holder);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_trylock(self->mutex)));
	EXPECT_EQ(0, chanfd_unlock(self->mutex));
	EXPECT_EQ(0, chanfd_trylock(self->mutex));
	EXPECT_EQ(getpid(), lock_info(self->mutex).holder);
	EXPECT_EQ(0, chanfd_unlock(self->mutex));
	r->go = true;
	EXPECT_EQ(0, party_join(p));	/* whose own unlock was too much */
	EXPECT_TRUE(is_unused(self->mutex));
}

enum { HAMMERS = 10, BLOWS = 1000 };

static long run_hammer(struct party *me)
{
	struct record *r = me->arg;
	int i;

	for (i = 0; i < BLOWS; i++) {
		if (i % 3 || chanfd_trylock(me->fd))
			if (chanfd_lock(me->fd, NULL))
				return -1;
		r->plain++;
		if (chanfd_unlock(me->fd))
			return -1;
	}
	return 0;
}

/* tM2 */
TEST_F(lock, hammer)
{
	struct record *r = record_new(true);
	struct party *p[HAMMERS];
	int i;

	for (i = 0; i < HAMMERS; i++) {
		p[i] = party_new(self->process, run_hammer, self->mutex);
		p[i]->arg = r;
		party_start(p[i]);
	}
	for (i = 0; i < HAMMERS; i++)
		EXPECT_EQ(0, party_join(p[i]));
	EXPECT_EQ(HAMMERS * BLOWS, r->plain);
	EXPECT_TRUE(is_unused(self->mutex));
}

/**
 * struct ledger - what readers and writers of a hammered lock see
 * @inside:	readers + 1, writers + 10000
 * @wrong:	somebody saw what must not be
 */
struct ledger {
	atomic_int inside;
	atomic_int wrong;
};

static long run_rw_hammer(struct party *me)
{
	struct ledger *l = me->arg;
	enum kind kind = me->value ? READER : WRITER;
	int i, n;

	for (i = 0; i < BLOWS / 4; i++) {
		if (lock_as(kind, me->fd, NULL))
			return -1;
		n = atomic_fetch_add(&l->inside, kind == READER ? 1 : 10000);
		if (kind == READER ? n >= 10000 : n != 0)
			l->wrong++;
		atomic_fetch_sub(&l->inside, kind == READER ? 1 : 10000);
		if (unlock_as(kind, me->fd))
			return -1;
	}
	return 0;
}

/* tR2 */
TEST_F(lock, rw_hammer)
{
	struct ledger *l = shared(sizeof(*l));
	struct party *p[HAMMERS];
	int i;

	for (i = 0; i < HAMMERS; i++) {
		p[i] = party_new(self->process, run_rw_hammer, self->rw);
		p[i]->arg = l;
		p[i]->value = i % 5;	/* two writers */
		party_start(p[i]);
	}
	for (i = 0; i < HAMMERS; i++)
		EXPECT_EQ(0, party_join(p[i]));
	EXPECT_EQ(0, atomic_load(&l->wrong));
	EXPECT_EQ(0, atomic_load(&l->inside));
	EXPECT_TRUE(is_unused(self->rw));
}

/* tR1 */
TEST_F(lock, parallel_readers)
{
	struct record *r = record_new(false);
	struct party *p[8];
	int i;

	for (i = 0; i < 8; i++)
		p[i] = party_locks(self->process, READER, self->rw, r, i);
	EXPECT_TRUE(eventually(r->count == 8));
	EXPECT_EQ(8, lock_info(self->rw).readers);
	EXPECT_EQ(0, lock_info(self->rw).holder);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_trylock(self->rw)));
	r->go = true;
	for (i = 0; i < 8; i++)
		EXPECT_EQ(0, party_join(p[i]));
	EXPECT_TRUE(is_unused(self->rw));
}

/* R2: a writer that waits keeps new readers out, and the last reader lets it in. */
TEST_F(lock, pending_writer)
{
	struct record *r = record_new(true);
	struct party *writer, *reader;

	ASSERT_EQ(0, chanfd_rlock(self->rw, NULL));
	writer = party_locks(self->process, WRITER, self->rw, r, 1);
	ASSERT_TRUE(writers_wait(self->rw, 1));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_tryrlock(self->rw)));
	reader = party_locks(self->process, READER, self->rw, r, 2);
	EXPECT_TRUE(stays_blocked(reader));
	EXPECT_EQ(0, chanfd_runlock(self->rw));
	EXPECT_EQ(0, party_join(writer));
	EXPECT_EQ(0, party_join(reader));
	EXPECT_EQ(1, r->order[0]);
	EXPECT_EQ(2, r->order[1]);
	EXPECT_TRUE(is_unused(self->rw));
}

/* tR5, R4: the readers that wait go before the writer that came first, and readers
 * that come later do not pass it.
 */
TEST_F(lock, turns)
{
	struct record *readers = record_new(false), *rest = record_new(true);
	struct party *writer, *p[3], *late;
	int i;

	ASSERT_EQ(0, chanfd_lock(self->rw, NULL));
	writer = party_locks(self->process, WRITER, self->rw, rest, 100);
	ASSERT_TRUE(writers_wait(self->rw, 1));
	for (i = 0; i < 3; i++) {
		p[i] = party_locks(self->process, READER, self->rw, readers, i);
		ASSERT_TRUE(readers_wait(self->rw, i + 1));
	}
	EXPECT_EQ(0, chanfd_unlock(self->rw));
	EXPECT_TRUE(eventually(readers->count == 3));
	EXPECT_EQ(3, lock_info(self->rw).readers);
	EXPECT_EQ(1, lock_info(self->rw).waiting_writers);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_tryrlock(self->rw)));
	late = party_locks(self->process, READER, self->rw, rest, 200);
	ASSERT_TRUE(readers_wait(self->rw, 1));
	EXPECT_EQ(0, atomic_load(&rest->count));
	readers->go = true;
	EXPECT_EQ(0, party_join(writer));
	EXPECT_EQ(0, party_join(late));
	EXPECT_EQ(100, rest->order[0]);
	EXPECT_EQ(200, rest->order[1]);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, party_join(p[i]));
	EXPECT_TRUE(is_unused(self->rw));
}

/* A writer becomes a reader; others come in as well, but no writer in between. */
TEST_F(lock, downgrade)
{
	struct record *writers = record_new(true), *readers = record_new(false);
	struct party *writer, *reader;

	ASSERT_EQ(0, chanfd_lock(self->rw, NULL));
	writer = party_locks(self->process, WRITER, self->rw, writers, 1);
	ASSERT_TRUE(writers_wait(self->rw, 1));
	reader = party_locks(self->process, READER, self->rw, readers, 2);
	ASSERT_TRUE(readers_wait(self->rw, 1));
	EXPECT_EQ(0, chanfd_downgrade(self->rw));
	EXPECT_TRUE(eventually(readers->count == 1));
	EXPECT_EQ(2, lock_info(self->rw).readers);
	EXPECT_EQ(0, lock_info(self->rw).state);
	EXPECT_TRUE(stays_blocked(writer));
	EXPECT_EQ(0, atomic_load(&writers->count));
	EXPECT_EQ(EPERM, errno_of(chanfd_unlock(self->rw)));
	EXPECT_EQ(0, chanfd_runlock(self->rw));
	EXPECT_TRUE(stays_blocked(writer));
	readers->go = true;
	EXPECT_EQ(0, party_join(reader));
	EXPECT_EQ(0, party_join(writer));
	EXPECT_TRUE(is_unused(self->rw));
}

/* Readers are counted where they belong, but anybody may unlock. */
TEST_F(lock, runlocked_by_another)
{
	struct record *r = record_new(false);
	struct party *p = party_locks(self->process, READER, self->rw, r, 1);

	ASSERT_TRUE(eventually(r->count));
	ASSERT_EQ(0, chanfd_rlock(self->rw, NULL));
	EXPECT_EQ(0, chanfd_runlock(self->rw));	/* our own */
	EXPECT_EQ(1, lock_info(self->rw).readers);
	EXPECT_EQ(0, chanfd_runlock(self->rw));	/* the other's */
	EXPECT_EQ(0, lock_info(self->rw).readers);
	EXPECT_EQ(EPERM, errno_of(chanfd_runlock(self->rw)));
	r->go = true;
	EXPECT_EQ(0, party_join(p));
	EXPECT_TRUE(is_unused(self->rw));
}

/* All ways to stop waiting leave no trace, and readers behind a writer come in. */
TEST_F(lock, limits_of_a_call)
{
	struct record *r = record_new(true);
	int ctx = chanfd_context(-1);
	struct party *p, *reader;
	int way;

	ASSERT_LE(0, ctx);
	catch_signal(SIGUSR1, 0);
	for (way = 0; way < 3; way++) {
		ASSERT_EQ(0, chanfd_rlock(self->rw, NULL));
		p = party_new(self->process, run_writer, self->rw);
		p->arg = r;
		if (way == 0)
			p->opt.deadline = chanfd_deadline(A_WHILE * SLOWNESS);
		if (way == 1)
			p->opt.context = ctx;
		party_start(p);
		EXPECT_TRUE(!way || writers_wait(self->rw, 1));
		reader = party_locks(self->process, READER, self->rw, r, 2);
		if (way == 1)
			chanfd_cancel(ctx, 0, NULL);
		if (way == 2 && blocked(p))
			party_signal(p, SIGUSR1);
		EXPECT_EQ(way == 0 ? ETIMEDOUT : way == 1 ? ECANCELED : EINTR,
			  errno_of(party_join(p)));
		EXPECT_EQ(0, party_join(reader));
		EXPECT_EQ(way + 1, atomic_load(&r->count));
		EXPECT_EQ(0, chanfd_runlock(self->rw));
		EXPECT_TRUE(is_unused(self->rw));
	}
	/* A context that is done wins, even if nobody has the lock. */
	EXPECT_EQ(ECANCELED, errno_of(chanfd_lock(self->rw, CHANFD_OPT(ctx, 0, 0))));
	EXPECT_EQ(ECANCELED, errno_of(chanfd_rlock(self->rw, CHANFD_OPT(ctx, 0, 0))));
	EXPECT_TRUE(is_unused(self->rw));
	ASSERT_EQ(0, chanfd_lock(self->rw, NULL));
	EXPECT_EQ(ETIMEDOUT, errno_of(chanfd_rlock(self->rw, CHANFD_OPT(-1, 0, 1))));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_lock(self->rw, CHANFD_OPT(-1, CHANFD_NONBLOCK, 0))));
}

/* SA_RESTART: it goes on waiting. */
TEST_F(lock, restart)
{
	struct record *r = record_new(true);
	struct party *p;

	catch_signal(SIGUSR1, SA_RESTART);
	ASSERT_EQ(0, chanfd_lock(self->mutex, NULL));
	p = party_locks(self->process, WRITER, self->mutex, r, 1);
	ASSERT_TRUE(blocked(p));
	party_signal(p, SIGUSR1);
	EXPECT_TRUE(stays_blocked(p));
	EXPECT_EQ(0, chanfd_unlock(self->mutex));
	EXPECT_EQ(0, party_join(p));
}

/* Waits for a lock or a message; the result is the case, @value its error. */
static long run_select(struct party *me)
{
	int *fd = me->arg;
	uint64_t message;
	struct chanfd_case c[] = {
		me->value ? CHANFD_RLOCK(fd[0]) : CHANFD_LOCK(fd[0]),
		CHANFD_RECV(fd[1], &message),
	};
	struct chanfd_outcome out = { .index = -1 };
	long ret = chanfd_select(c, 2, &me->opt, &out);

	me->value = out.error;
	if (!out.index && !me->seq)	/* else it keeps the lock */
		chanfd_unlock(fd[0]);
	return ret;
}

static struct party *party_select(bool process, enum kind kind, int lock, int ch)
{
	struct party *p = party_new(process, run_select, -1);
	int *fd = shared(2 * sizeof(*fd));

	fd[0] = lock;
	fd[1] = ch;
	p->arg = fd;
	p->value = kind == READER;
	return party_start(p);
}

TEST_F(lock, select_case)
{
	int ch = chanfd_channel(8, 0, 0, NULL);
	struct record *r = record_new(true);
	struct party *p, *reader;

	/* The lock gets free. */
	ASSERT_EQ(0, chanfd_lock(self->rw, NULL));
	p = party_select(self->process, WRITER, self->rw, ch);
	ASSERT_TRUE(writers_wait(self->rw, 1));
	EXPECT_TRUE(stays_blocked(p));
	EXPECT_EQ(0, chanfd_unlock(self->rw));
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(0, p->value);
	EXPECT_TRUE(eventually(is_unused(self->rw)));

	/* As a reader. */
	ASSERT_EQ(0, chanfd_lock(self->rw, NULL));
	p = party_select(self->process, READER, self->rw, ch);
	ASSERT_TRUE(readers_wait(self->rw, 1));
	EXPECT_EQ(0, chanfd_unlock(self->rw));
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(1, lock_info(self->rw).readers +
		  (self->process ? lock_info(self->rw).dead : 0));
	chanfd_runlock(self->rw);

	/* Something else happens: who waits behind it comes in. */
	ASSERT_EQ(0, chanfd_rlock(self->rw, NULL));
	p = party_select(self->process, WRITER, self->rw, ch);
	ASSERT_TRUE(writers_wait(self->rw, 1));
	reader = party_locks(self->process, READER, self->rw, r, 1);
	ASSERT_TRUE(readers_wait(self->rw, 1));
	EXPECT_EQ(0, chanfd_put(ch, (uint64_t)1, NULL));
	EXPECT_EQ(1, party_join(p));
	EXPECT_EQ(0, party_join(reader));
	EXPECT_EQ(0, chanfd_runlock(self->rw));
	EXPECT_TRUE(is_unused(self->rw));
}

/* One that waits for several locks gets one of them. */
static long run_two_locks(struct party *me)
{
	int *fd = me->arg;

	return chanfd_select((struct chanfd_case[]){ CHANFD_LOCK(fd[0]), CHANFD_LOCK(fd[1]) },
			     2, NULL, NULL);
}

TEST_F(lock, select_two)
{
	int *fd = shared(2 * sizeof(*fd));
	struct party *p;

	fd[0] = self->mutex;
	fd[1] = self->rw;
	ASSERT_EQ(0, chanfd_lock(fd[0], NULL));
	ASSERT_EQ(0, chanfd_lock(fd[1], NULL));
	p = party_new(self->process, run_two_locks, -1);
	p->arg = fd;
	party_start(p);
	ASSERT_TRUE(writers_wait(fd[0], 1));
	ASSERT_TRUE(writers_wait(fd[1], 1));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_select((struct chanfd_case[]){
		CHANFD_LOCK(fd[0]), CHANFD_LOCK(fd[1]) }, 2,
		CHANFD_OPT(-1, CHANFD_NONBLOCK, 0), NULL)));
	EXPECT_EQ(0, chanfd_unlock(fd[1]));
	EXPECT_EQ(1, party_join(p));
	EXPECT_EQ(0, lock_info(fd[0]).waiting_writers);
	EXPECT_EQ(0, chanfd_unlock(fd[0]));
	EXPECT_EQ(0, chanfd_trylock(fd[0]));
}

/* Readiness is what an attempt would find. */
TEST_F(lock, readiness)
{
	int reader = chanfd_reduce(self->rw, CHANFD_READ);
	int writer = chanfd_reduce(self->rw, CHANFD_WRITE);
	struct epoll_event event = { .events = EPOLLOUT | EPOLLET };
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct record *r = record_new(true);
	struct party *p;

	EXPECT_EQ(POLLIN | POLLOUT, polled(self->rw, POLLIN | POLLOUT));
	EXPECT_EQ(POLLIN, polled(reader, POLLIN | POLLOUT));
	EXPECT_EQ(POLLOUT, polled(writer, POLLIN | POLLOUT));
	EXPECT_EQ(POLLOUT, polled(self->mutex, POLLIN | POLLOUT));

	ASSERT_EQ(0, chanfd_lock(self->rw, NULL));
	EXPECT_EQ(0, polled(self->rw, POLLIN | POLLOUT));
	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, writer, &event));
	EXPECT_EQ(0, epoll_wait(epoll, &event, 1, 0));
	ASSERT_EQ(0, chanfd_unlock(self->rw));
	EXPECT_EQ(1, epoll_wait(epoll, &event, 1, BOUND / MSEC));
	EXPECT_EQ(0, epoll_wait(epoll, &event, 1, 0));

	ASSERT_EQ(0, chanfd_rlock(self->rw, NULL));
	EXPECT_EQ(POLLIN, polled(self->rw, POLLIN | POLLOUT));
	p = party_locks(self->process, WRITER, self->rw, r, 1);
	ASSERT_TRUE(writers_wait(self->rw, 1));
	EXPECT_EQ(0, polled(self->rw, POLLIN | POLLOUT));
	ASSERT_EQ(0, chanfd_runlock(self->rw));
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(1, epoll_wait(epoll, &event, 1, BOUND / MSEC));
	EXPECT_EQ(POLLIN | POLLOUT, polled(self->rw, POLLIN | POLLOUT));
}

/* A poller is a case, too: CHANFD_POLL. */
static long run_poll(struct party *me)
{
	struct pollfd p = { .fd = me->fd, .events = POLLOUT };

	if (poll(&p, 1, -1) != 1)
		return -1;
	return p.revents;
}

TEST_F(lock, wakes_pollers)
{
	struct party *p;

	ASSERT_EQ(0, chanfd_lock(self->mutex, NULL));
	p = party_start(party_new(self->process, run_poll, self->mutex));
	EXPECT_TRUE(stays_blocked(p));
	EXPECT_EQ(0, chanfd_unlock(self->mutex));
	EXPECT_EQ(POLLOUT, party_join(p));
}

/* Modes */

/* Strictly in order; and a newcomer finds it taken, although nobody has woken up yet. */
TEST_F(lock, handoff_order)
{
	struct record *r = record_new(false);
	struct party *p[8];
	int i;

	if (!(lock_info(self->mutex).flags & CHANFD_HANDOFF))
		SKIP(return, "another mode");
	ASSERT_EQ(0, chanfd_lock(self->mutex, NULL));
	for (i = 0; i < 8; i++) {
		p[i] = party_locks(self->process, WRITER, self->mutex, r, i);
		ASSERT_TRUE(writers_wait(self->mutex, i + 1));
	}
	EXPECT_EQ(0, chanfd_unlock(self->mutex));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_trylock(self->mutex)));
	EXPECT_EQ(self->process ? p[0]->tid : getpid(), lock_info(self->mutex).holder);
	r->go = true;
	for (i = 0; i < 8; i++)
		EXPECT_EQ(0, party_join(p[i]));
	for (i = 0; i < 8; i++)
		EXPECT_EQ(i, r->order[i]);
	EXPECT_TRUE(is_unused(self->mutex));
}

static void set_rt_runtime(const char *us)
{
	int fd = open("/proc/sys/kernel/sched_rt_runtime_us", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, us, strlen(us)) < 0)
		err(1, "sched_rt_runtime_us");
	close(fd);
}

/*
 * This task has a CPU for itself, on which @tid is to run; with 0, as before. However
 * long it takes, the scheduler does not let others in.
 */
static void keep_off(pid_t tid, int priority)
{
	struct sched_param param = { .sched_priority = priority };
	cpu_set_t cpus;

	set_rt_runtime(priority ? "-1" : "950000");
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) ||
	    sched_setaffinity(tid, sizeof(cpus), &cpus) ||
	    sched_setscheduler(0, priority ? SCHED_FIFO : SCHED_OTHER, &param))
		err(1, "keep_off");
}

/*
 * M3 to M5: a newcomer takes a released lock before the first waiter has woken up,
 * unless the lock is handed over. An adaptive lock is, once a waiter has lost and has
 * waited for more than a millisecond, until the queue is empty.
 */
TEST_F(lock, barging)
{
	unsigned int mode = lock_info(self->mutex).flags;
	struct record *r = record_new(false);
	struct party *p, *second;

	ASSERT_EQ(0, chanfd_lock(self->mutex, NULL));
	p = party_locks(self->process, WRITER, self->mutex, r, 1);
	ASSERT_TRUE(writers_wait(self->mutex, 1));
	second = party_locks(self->process, WRITER, self->mutex, r, 2);
	ASSERT_TRUE(writers_wait(self->mutex, 2));
	ASSERT_TRUE(blocked(p));
	pause_for(2 * MSEC);

	keep_off(p->tid, 1);
	EXPECT_EQ(0, chanfd_unlock(self->mutex));
	EXPECT_EQ(mode & CHANFD_HANDOFF ? EAGAIN : 0, errno_of(chanfd_trylock(self->mutex)));
	keep_off(p->tid, 0);
	if (!(mode & CHANFD_HANDOFF)) {
		if (!mode) {
			EXPECT_TRUE(eventually(lock_info(self->mutex).state ==
					       (CHANFD_LOCKED | CHANFD_STARVING)));
		}
		EXPECT_EQ(0, atomic_load(&r->count));

		keep_off(p->tid, 1);
		EXPECT_EQ(0, chanfd_unlock(self->mutex));
		EXPECT_EQ(mode ? 0 : EAGAIN, errno_of(chanfd_trylock(self->mutex)));
		keep_off(p->tid, 0);
		if (mode) {
			EXPECT_FALSE(lock_info(self->mutex).state & CHANFD_STARVING);
			EXPECT_EQ(0, chanfd_unlock(self->mutex));
		}
	}
	EXPECT_TRUE(eventually(r->count == 1));
	EXPECT_EQ(1, r->order[0]);
	EXPECT_EQ(mode ? 0 : CHANFD_STARVING, lock_info(self->mutex).state & CHANFD_STARVING);
	r->go = true;
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(0, party_join(second));
	EXPECT_TRUE(is_unused(self->mutex));
}

/* Who was woken and lost keeps its place. */
TEST_F(lock, first_stays_first)
{
	struct record *r = record_new(true);
	struct party *p[4];
	int i;

	ASSERT_EQ(0, chanfd_lock(self->mutex, NULL));
	for (i = 0; i < 4; i++) {
		p[i] = party_locks(self->process, WRITER, self->mutex, r, i);
		ASSERT_TRUE(writers_wait(self->mutex, i + 1));
	}
	keep_off(p[0]->tid, 1);
	EXPECT_EQ(0, chanfd_unlock(self->mutex));
	if (!chanfd_trylock(self->mutex))	/* or it was handed over */
		chanfd_unlock(self->mutex);
	keep_off(p[0]->tid, 0);
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, party_join(p[i]));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(i, r->order[i]);
}

/* Who was woken leaves without trying: somebody else is woken. */
TEST_F(lock, woken_one_leaves)
{
	int ch = chanfd_channel(8, 1, 0, NULL);
	struct record *r = record_new(true);
	struct party *first, *second;

	ASSERT_EQ(0, chanfd_lock(self->mutex, NULL));
	first = party_select(self->process, WRITER, self->mutex, ch);
	ASSERT_TRUE(writers_wait(self->mutex, 1));
	second = party_locks(self->process, WRITER, self->mutex, r, 2);
	ASSERT_TRUE(writers_wait(self->mutex, 2));
	ASSERT_TRUE(blocked(first));
	keep_off(first->tid, 1);
	EXPECT_EQ(0, chanfd_put(ch, (uint64_t)1, NULL));
	EXPECT_EQ(0, chanfd_unlock(self->mutex));
	keep_off(first->tid, 0);
	EXPECT_EQ(1, party_join(first));
	EXPECT_EQ(0, party_join(second));
	EXPECT_TRUE(is_unused(self->mutex));
}

/* Wants the lock all the time. */
static long run_hog(struct party *me)
{
	struct record *r = me->arg;

	for (r->count = 1; !r->go; sched_yield())
		if (chanfd_lock(me->fd, NULL) || chanfd_unlock(me->fd))
			return -1;
	return 0;
}

/* M9: whoever waits gets in, however fast somebody else comes again. */
TEST_F(lock, gets_past_a_hog)
{
	struct record *r = record_new(false);
	struct party *hog[2];
	int i;

	if (lock_info(self->mutex).flags & CHANFD_BARGING)
		SKIP(return, "this mode promises nothing");
	for (i = 0; i < 2; i++) {
		hog[i] = party_new(self->process, run_hog, self->mutex);
		hog[i]->arg = r;
		party_start(hog[i]);
	}
	ASSERT_TRUE(eventually(r->count));
	for (i = 0; i < 20; i++) {
		EXPECT_EQ(0, chanfd_lock(self->mutex, CHANFD_OPT(-1, 0, chanfd_deadline(BOUND))));
		EXPECT_EQ(0, chanfd_unlock(self->mutex));
	}
	r->go = true;
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, party_join(hog[i]));
	EXPECT_TRUE(is_unused(self->mutex));
}

/* tM5: only for information. */
TEST_F(lock, woken_one_wins)
{
	struct record *r = record_new(true);
	struct party *p;
	int i, won = 0;

	for (i = 0; i < 30; i++) {
		ASSERT_EQ(0, chanfd_lock(self->mutex, NULL));
		p = party_locks(self->process, WRITER, self->mutex, r, 1);
		r->count = 0;
		ASSERT_TRUE(writers_wait(self->mutex, 1));
		EXPECT_EQ(0, chanfd_unlock(self->mutex));
		if (chanfd_trylock(self->mutex) || r->count)
			won++;
		chanfd_unlock(self->mutex);
		EXPECT_EQ(0, party_join(p));
		ASSERT_TRUE(is_unused(self->mutex));
	}
	TH_LOG("the waiter was faster %d of 30 times", won);
}

/* Deaths */

/* Locks and never returns. */
static long run_hold(struct party *me)
{
	me->value = lock_as(me->seq, me->fd, &me->opt) ? errno : 0;
	*(atomic_bool *)me->arg = true;
	while (true)
		pause();
	return 0;
}

/* A process that holds @lock. */
static struct party *holder_of(int lock, enum kind kind)
{
	struct party *p = party_new(true, run_hold, lock);

	p->arg = shared(sizeof(atomic_bool));
	p->seq = kind;
	party_start(p);
	if (!eventually(*(atomic_bool *)p->arg) || p->value)
		errx(1, "the holder has no lock: %s", strerror(p->value));
	return p;
}

/* tM8, M11: whoever waited for the death knows that it can have the lock. */
TEST_F(lock, holder_dies)
{
	struct party *p;
	int i;

	for (i = 0; i < 10; i++) {
		p = holder_of(self->mutex, WRITER);
		EXPECT_EQ(atomic_load(&p->tid), lock_info(self->mutex).holder);
		EXPECT_EQ(EAGAIN, errno_of(chanfd_trylock(self->mutex)));
		party_kill(p);
		EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_trylock(self->mutex)));
		EXPECT_EQ(CHANFD_LOCKED | CHANFD_OWNER_DEAD, lock_info(self->mutex).state);
		EXPECT_EQ(getpid(), lock_info(self->mutex).holder);
		EXPECT_EQ(i + 1, lock_info(self->mutex).dead);
		EXPECT_EQ(EAGAIN, errno_of(chanfd_trylock(self->mutex)));
		EXPECT_EQ(0, chanfd_unlock(self->mutex));
		EXPECT_TRUE(is_unused(self->mutex));
		EXPECT_EQ(0, chanfd_lock(self->mutex, NULL));
		EXPECT_EQ(0, chanfd_unlock(self->mutex));
	}
}

/* What the dead held is not to be unlocked. */
TEST_F(lock, dead_is_no_holder)
{
	party_kill(holder_of(self->mutex, WRITER));
	EXPECT_EQ(EPERM, errno_of(chanfd_unlock(self->mutex)));
	EXPECT_EQ(CHANFD_OWNER_DEAD, lock_info(self->mutex).state);
	EXPECT_EQ(POLLOUT | POLLERR, polled(self->mutex, POLLOUT));
	EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_lock(self->mutex, NULL)));
}

/* Every kind of waiter is told. */
TEST_F(lock, death_tells_waiters)
{
	int ch = chanfd_channel(8, 0, 0, NULL);
	struct record *r = record_new(true);
	struct party *holder, *p[4];

	/* A writer, and after it one that waits in a select. */
	holder = holder_of(self->rw, WRITER);
	p[0] = party_locks(self->process, WRITER, self->rw, r, 1);
	EXPECT_TRUE(stays_blocked(p[0]));
	party_kill(holder);
	EXPECT_EQ(EOWNERDEAD, errno_of(party_join(p[0])));
	EXPECT_TRUE(is_unused(self->rw));

	holder = holder_of(self->rw, WRITER);
	p[0] = party_select(self->process, WRITER, self->rw, ch);
	ASSERT_TRUE(writers_wait(self->rw, 1));
	party_kill(holder);
	EXPECT_EQ(0, party_join(p[0]));
	EXPECT_EQ(EOWNERDEAD, p[0]->value);
	EXPECT_TRUE(is_unused(self->rw));

	/* Readers, and a poller. */
	holder = holder_of(self->rw, WRITER);
	p[0] = party_locks(self->process, READER, self->rw, r, 1);
	p[1] = party_locks(self->process, READER, self->rw, r, 2);
	ASSERT_TRUE(readers_wait(self->rw, 2));
	p[2] = party_start(party_new(self->process, run_poll, self->rw));
	ASSERT_TRUE(blocked(p[2]));
	party_kill(holder);
	EXPECT_EQ(EOWNERDEAD, errno_of(party_join(p[0])));
	EXPECT_EQ(EOWNERDEAD, errno_of(party_join(p[1])));
	EXPECT_EQ(POLLERR, party_join(p[2]) & POLLERR);

	/* That it is so ends when a writer unlocks. */
	EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_tryrlock(self->rw)));
	EXPECT_EQ(0, chanfd_runlock(self->rw));
	EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_rlock(self->rw, NULL)));
	EXPECT_EQ(0, chanfd_runlock(self->rw));
	EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_lock(self->rw, NULL)));
	EXPECT_EQ(0, chanfd_downgrade(self->rw));
	EXPECT_EQ(0, chanfd_rlock(self->rw, NULL));
	EXPECT_EQ(0, chanfd_runlock(self->rw));
	EXPECT_EQ(0, chanfd_runlock(self->rw));
	EXPECT_TRUE(is_unused(self->rw));
}

/* R9: nothing is broken, and nothing stays locked. */
TEST_F(lock, reader_dies)
{
	struct party *first = holder_of(self->rw, READER), *p;
	struct party *second = holder_of(self->rw, READER);
	struct record *r = record_new(true);

	EXPECT_EQ(2, lock_info(self->rw).readers);
	p = party_locks(self->process, WRITER, self->rw, r, 1);
	ASSERT_TRUE(writers_wait(self->rw, 1));
	party_kill(first);
	EXPECT_EQ(1, lock_info(self->rw).readers);
	EXPECT_TRUE(stays_blocked(p));
	party_kill(second);
	EXPECT_EQ(0, party_join(p));
	EXPECT_TRUE(is_unused(self->rw));
	EXPECT_EQ(2, lock_info(self->rw).dead);

	party_kill(holder_of(self->rw, READER));
	EXPECT_EQ(0, chanfd_trylock(self->rw));
}

/* Readers behind a writer that is killed come in. */
TEST_F(lock, pending_writer_dies)
{
	struct record *r = record_new(true);
	struct party *writer, *reader;

	ASSERT_EQ(0, chanfd_rlock(self->rw, NULL));
	writer = party_locks(true, WRITER, self->rw, r, 1);
	ASSERT_TRUE(writers_wait(self->rw, 1));
	reader = party_locks(self->process, READER, self->rw, r, 2);
	ASSERT_TRUE(readers_wait(self->rw, 1));
	party_kill(writer);
	EXPECT_EQ(0, party_join(reader));
	EXPECT_EQ(1, atomic_load(&r->count));
	EXPECT_EQ(2, r->order[0]);
	EXPECT_EQ(0, chanfd_tryrlock(self->rw));
	EXPECT_EQ(0, lock_info(self->rw).dead);	/* it held nothing */
}

/* Who repairs dies as well. */
TEST_F(lock, dies_again)
{
	struct party *p = party_new(true, run_hold, self->mutex);

	party_kill(holder_of(self->mutex, WRITER));
	p->arg = shared(sizeof(atomic_bool));
	party_start(p);
	ASSERT_TRUE(eventually(*(atomic_bool *)p->arg));
	EXPECT_EQ(EOWNERDEAD, p->value);
	party_kill(p);
	EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_lock(self->mutex, NULL)));
	EXPECT_EQ(2, lock_info(self->mutex).dead);
}

/* What can't be repaired is told to all, for good. */
TEST_F(lock, not_recoverable)
{
	int ch = chanfd_channel(8, 0, 0, NULL);
	struct record *r = record_new(true);
	struct party *p[4];
	int i;

	party_kill(holder_of(self->rw, WRITER));
	ASSERT_EQ(EOWNERDEAD, errno_of(chanfd_lock(self->rw, NULL)));
	p[0] = party_locks(self->process, WRITER, self->rw, r, 1);
	p[1] = party_locks(self->process, READER, self->rw, r, 2);
	p[2] = party_select(self->process, WRITER, self->rw, ch);
	p[3] = party_start(party_new(self->process, run_poll, self->rw));
	ASSERT_TRUE(writers_wait(self->rw, 2));
	ASSERT_TRUE(readers_wait(self->rw, 1));
	EXPECT_EQ(0, chanfd_unlock_lost(self->rw));
	for (i = 0; i < 2; i++)
		EXPECT_EQ(ENOTRECOVERABLE, errno_of(party_join(p[i])));
	EXPECT_EQ(0, party_join(p[2]));
	EXPECT_EQ(ENOTRECOVERABLE, p[2]->value);
	EXPECT_EQ(POLLERR, party_join(p[3]));
	EXPECT_EQ(0, atomic_load(&r->count));
	EXPECT_EQ(CHANFD_NOT_RECOVERABLE, lock_info(self->rw).state);
	EXPECT_EQ(ENOTRECOVERABLE, errno_of(chanfd_lock(self->rw, NULL)));
	EXPECT_EQ(ENOTRECOVERABLE, errno_of(chanfd_trylock(self->rw)));
	EXPECT_EQ(ENOTRECOVERABLE, errno_of(chanfd_rlock(self->rw, NULL)));
	EXPECT_EQ(EPERM, errno_of(chanfd_unlock(self->rw)));
	EXPECT_EQ(POLLERR, polled(self->rw, POLLIN | POLLOUT));
}

/* What is no death */

/* A child has the handle, but holds nothing. */
TEST(fork_holds_nothing)
{
	int lock = chanfd_mutex(0, NULL);
	pid_t pid;

	ASSERT_EQ(0, chanfd_lock(lock, NULL));
	pid = fork();
	if (!pid)
		_exit(errno_of(chanfd_trylock(lock)) == EAGAIN ? 0 : 1);
	EXPECT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_EQ(CHANFD_LOCKED, lock_info(lock).state);
	EXPECT_EQ(getpid(), lock_info(lock).holder);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_trylock(lock)));
	EXPECT_EQ(0, lock_info(lock).dead);

	/* What it locks itself, by the same open file, it does hold. */
	EXPECT_EQ(0, chanfd_unlock(lock));
	pid = fork();
	if (!pid)
		_exit(chanfd_lock(lock, NULL));
	EXPECT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_trylock(lock)));
}

static void *lock_thread(void *arg)
{
	return (void *)(long)chanfd_lock(*(int *)arg, NULL);
}

/* A thread that ends is no death of its process. */
TEST(thread_ends)
{
	int lock = chanfd_mutex(0, NULL);
	pthread_t thread;
	void *ret;

	ASSERT_EQ(0, pthread_create(&thread, NULL, lock_thread, &lock));
	ASSERT_EQ(0, pthread_join(thread, &ret));
	ASSERT_EQ(NULL, ret);
	EXPECT_EQ(CHANFD_LOCKED, lock_info(lock).state);
	EXPECT_EQ(getpid(), lock_info(lock).holder);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_trylock(lock)));
	EXPECT_EQ(0, chanfd_unlock(lock));
	EXPECT_EQ(0, chanfd_trylock(lock));
}

static void *stay(void *arg)
{
	while (true)
		pause();
	return NULL;
}

/* Nor is the end of its first thread, as long as there is another. */
TEST(first_thread_ends)
{
	int lock = chanfd_mutex(0, NULL);
	pthread_t thread;
	char text[512], path[32], *state;
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (pthread_create(&thread, NULL, stay, NULL) || chanfd_lock(lock, NULL))
			_exit(1);
		syscall(SYS_exit, 0);
	}
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	EXPECT_TRUE(eventually(read_text(path, text, sizeof(text)) &&
			       (state = strrchr(text, ')')) && state[2] == 'Z'));
	pause_for(A_WHILE);
	EXPECT_EQ(CHANFD_LOCKED, lock_info(lock).state);
	EXPECT_EQ(pid, lock_info(lock).holder);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_trylock(lock)));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_trylock(lock)));
}

/* Locks, then becomes another program, which has no handle. */
static void lock_and_exec(int lock, int *told)
{
	if (chanfd_lock(lock, NULL))
		_exit(1);
	close(told[0]);
	execl("/bin/sleep", "sleep", "1000", NULL);
	_exit(1);
}

static void *exec_thread(void *arg)
{
	int *fd = arg;

	lock_and_exec(fd[0], fd + 1);
	return NULL;
}

/* The process is the same after execve(2), also if a thread that is not its first one
 * calls it, and although all its handles are closed.
 */
TEST(exec_holds_on)
{
	pthread_t thread;
	int fd[3], way;
	pid_t pid;
	char c;

	for (way = 0; way < 2; way++) {
		fd[0] = chanfd_mutex(0, NULL);
		ASSERT_LE(0, fd[0]);
		ASSERT_EQ(0, pipe2(fd + 1, O_CLOEXEC));
		pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (!way)
				lock_and_exec(fd[0], fd + 1);
			if (pthread_create(&thread, NULL, exec_thread, fd))
				_exit(1);
			stay(NULL);
		}
		close(fd[2]);
		EXPECT_EQ(0, read(fd[1], &c, 1));	/* now it is another program */
		EXPECT_EQ(EAGAIN, errno_of(chanfd_trylock(fd[0])));
		EXPECT_EQ(pid, lock_info(fd[0]).holder);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		EXPECT_EQ(pid, waitpid(pid, NULL, 0));
		EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_trylock(fd[0])));
		close(fd[0]);
		close(fd[1]);
	}
}

/* Has a thread been told to die? */
static bool is_doomed(pid_t pid, pid_t tid)
{
	char path[64], text[2048], *line;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	if (!read_text(path, text, sizeof(text)))
		return true;
	line = strstr(text, "SigPnd:");
	return line && strtoull(line + 7, NULL, 16) & 1 << (SIGKILL - 1);
}

/*
 * A thread is given the lock, but is killed by another one's execve(2) before it could
 * know: the process, which lives on, does not hold it. That the thread does not run in
 * between is seen to by the test, which keeps the CPU busy while execve(2) sleeps.
 */
TEST(exec_while_a_thread_waits)
{
	int lock = chanfd_mutex(CHANFD_HANDOFF, NULL);
	struct party *waiter = party_new(false, run_writer, lock);
	struct record *r = record_new(false);
	uint64_t give_up;
	pid_t pid;

	waiter->arg = record_new(true);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (chanfd_lock(lock, NULL))
			_exit(1);
		party_start(waiter);
		if (!writers_wait(lock, 1) || !blocked(waiter))
			_exit(1);
		keep_off(waiter->tid, 2);
		r->count = 1;
		while (!r->go)
			pause_for(MSEC);
		if (chanfd_unlock(lock))
			_exit(1);
		execl("/bin/sleep", "sleep", "1000", NULL);
		_exit(1);
	}
	ASSERT_TRUE(eventually(r->count));
	keep_off(waiter->tid, 1);
	r->go = true;
	give_up = now() + BOUND;
	while (!is_doomed(pid, waiter->tid) && now() < give_up)
		;
	keep_off(0, 0);
	EXPECT_GT(give_up, now());
	EXPECT_EQ(0, errno_of(chanfd_lock(lock, CHANFD_OPT(-1, 0, chanfd_deadline(BOUND)))));
	EXPECT_EQ(0, atomic_load(&((struct record *)waiter->arg)->count));
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(pid, waitpid(pid, NULL, 0));
}

/* A lock goes before its holders, a holder before the lock. */
TEST(lock_goes_first)
{
	long before = handles_open();
	int lock = chanfd_rwmutex(0, NULL);
	struct party *p[4];
	int i;

	for (i = 0; i < 4; i++)
		p[i] = holder_of(lock, READER);
	party_kill(p[0]);
	close(lock);
	for (i = 1; i < 4; i++)
		party_kill(p[i]);
	EXPECT_TRUE(eventually(handles_open() == before));
}

enum { VICTIMS = 6, KILLS = 60 };

static long run_victim(struct party *me)
{
	struct record *r = me->arg;

	while (!r->go) {
		if (chanfd_lock(me->fd, NULL) && errno != EOWNERDEAD)
			return -1;
		r->plain++;
		chanfd_unlock(me->fd);
	}
	return 0;
}

/* tM7: whoever is killed wherever, the others go on. */
TEST_F(lock, kill_storm)
{
	struct record *r = record_new(false);
	struct party *p[VICTIMS];
	unsigned int seed = 1;
	uint64_t seen;
	int i, k;

	for (i = 0; i < VICTIMS; i++) {
		p[i] = party_new(true, run_victim, self->mutex);
		p[i]->arg = r;
		party_start(p[i]);
	}
	for (k = 0; k < KILLS; k++) {
		i = rand_r(&seed) % VICTIMS;
		party_kill(p[i]);
		seen = r->plain;
		EXPECT_TRUE(eventually(r->plain != seen));
		p[i] = party_new(true, run_victim, self->mutex);
		p[i]->arg = r;
		party_start(p[i]);
	}
	r->go = true;
	for (i = 0; i < VICTIMS; i++)
		EXPECT_EQ(0, party_join(p[i]));
	EXPECT_EQ(0, lock_info(self->mutex).state & CHANFD_LOCKED);
	EXPECT_EQ(0, lock_info(self->mutex).waiting_writers);
}

/* The page */

TEST(page)
{
	long size = sysconf(_SC_PAGESIZE);
	const struct chanfd_lock_page *page;
	int fd[2], lock = chanfd_rwmutex(0, NULL);
	void *p;

	ASSERT_EQ(0, chanfd_lock(lock, NULL));
	page = chanfd_lock_map(lock);
	ASSERT_NE(NULL, page);
	EXPECT_NE(0, page->busy);
	EXPECT_EQ(0, chanfd_unlock(lock));
	EXPECT_EQ(0, page->busy);
	EXPECT_EQ(0, chanfd_lock_spin(lock, page, NULL));
	EXPECT_NE(0, page->busy);
	/* Not for long. */
	EXPECT_EQ(EAGAIN, errno_of(chanfd_lock_spin(lock, page,
						    CHANFD_OPT(-1, CHANFD_NONBLOCK, 0))));
	EXPECT_EQ(0, chanfd_downgrade(lock));
	EXPECT_NE(0, page->busy);
	EXPECT_EQ(0, chanfd_runlock(lock));
	EXPECT_EQ(0, page->busy);
	party_kill(holder_of(lock, WRITER));
	EXPECT_EQ(CHANFD_OWNER_DEAD, lock_info(lock).state);
	EXPECT_EQ(0, page->busy);
	EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_lock_spin(lock, page, NULL)));

	/* Nobody can write to it, nor see more than it. */
	EXPECT_EQ(EACCES, errno_of(mprotect((void *)page, size, PROT_READ | PROT_WRITE)));
	EXPECT_EQ(EACCES, errno_of(mprotect((void *)page, size, PROT_READ | PROT_EXEC)));
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, lock, 0);
	EXPECT_EQ(MAP_FAILED, p);
	EXPECT_EQ(EACCES, errno);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, lock, 0);
	EXPECT_EQ(MAP_FAILED, p);
	EXPECT_EQ(EACCES, errno);
	p = mmap(NULL, 2 * size, PROT_READ, MAP_SHARED, lock, 0);
	EXPECT_EQ(MAP_FAILED, p);
	EXPECT_EQ(EINVAL, errno);
	p = mmap(NULL, size, PROT_READ, MAP_SHARED, lock, size);
	EXPECT_EQ(MAP_FAILED, p);
	EXPECT_EQ(EINVAL, errno);
	p = mremap((void *)page, size, 2 * size, MREMAP_MAYMOVE);
	EXPECT_EQ(MAP_FAILED, p);

	/* It needs the right to read, and outlives the handle. */
	ASSERT_EQ(0, chanfd_rwmutex_pair(fd, 0, NULL));
	EXPECT_EQ(NULL, chanfd_lock_map(fd[1]));
	EXPECT_EQ(EACCES, errno);
	close(lock);
	EXPECT_NE(0, page->busy);
	chanfd_lock_unmap(page);
	chanfd_lock_unmap(NULL);
}

/* Everybody who has it mapped sees what others do. */
TEST_F(lock, page_is_shared)
{
	const struct chanfd_lock_page *page = chanfd_lock_map(self->mutex);
	struct record *r = record_new(false);
	struct party *p;

	ASSERT_NE(NULL, page);
	EXPECT_EQ(0, page->busy);
	p = party_locks(self->process, WRITER, self->mutex, r, 1);
	EXPECT_TRUE(eventually(__atomic_load_n(&page->busy, __ATOMIC_RELAXED)));
	r->go = true;
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(0, page->busy);
	chanfd_lock_unmap(page);
}

/* What fdinfo says of the mode of such a lock. */
static bool has_mode(int lock, const char *mode)
{
	char path[64], text[1024];
	bool has;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", lock);
	has = read_text(path, text, sizeof(text)) && strstr(text, mode);
	close(lock);
	return has;
}

TEST(fdinfo_mode)
{
	EXPECT_TRUE(has_mode(chanfd_mutex(0, NULL), "chanfd-mode:\tadaptive\n"));
	EXPECT_TRUE(has_mode(chanfd_mutex(CHANFD_BARGING, NULL), "chanfd-mode:\tbarging\n"));
	EXPECT_TRUE(has_mode(chanfd_mutex(CHANFD_HANDOFF, NULL), "chanfd-mode:\thandoff\n"));
	EXPECT_TRUE(has_mode(chanfd_rwmutex(0, NULL), "chanfd-mode:\trw adaptive\n"));
}

TEST(fdinfo)
{
	int lock = chanfd_rwmutex(CHANFD_HANDOFF, "door");
	char path[64], text[1024];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", lock);
	ASSERT_TRUE(read_text(path, text, sizeof(text)));
	EXPECT_NE(NULL, strstr(text, "chanfd-type:\tlock\n"));
	EXPECT_NE(NULL, strstr(text, "chanfd-mode:\trw handoff\n"));
	EXPECT_NE(NULL, strstr(text, "chanfd-state:\tunlocked\n"));
	EXPECT_NE(NULL, strstr(text, "chanfd-holder:\t0\n"));
	ASSERT_EQ(0, chanfd_rlock(lock, NULL));
	ASSERT_TRUE(read_text(path, text, sizeof(text)));
	EXPECT_NE(NULL, strstr(text, "chanfd-state:\tread-locked\n"));
	EXPECT_NE(NULL, strstr(text, "chanfd-readers:\t1\n"));
	ASSERT_EQ(0, chanfd_runlock(lock));
	party_kill(holder_of(lock, WRITER));
	ASSERT_TRUE(read_text(path, text, sizeof(text)));
	EXPECT_NE(NULL, strstr(text, "chanfd-state:\tunlocked, owner dead\n"));
	EXPECT_NE(NULL, strstr(text, "chanfd-dead:\t1\n"));
	EXPECT_NE(NULL, strstr(text, "chanfd-waiting:\t0 writers, 0 readers\n"));
}

TEST_HARNESS_MAIN
