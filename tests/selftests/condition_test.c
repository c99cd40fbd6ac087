// SPDX-License-Identifier: GPL-2.0
/*
 * Conditions: tickets, signals that are neither stolen nor lost, and the lock that is
 * always held again.
 */
#include <poll.h>

#include "helpers.h"

static unsigned int waiting(int cond)
{
	struct chanfd_condition_info info;

	poison(&info);
	if (chanfd_condition_info(cond, &info))
		err(1, "chanfd_condition_info");
	return info.waiters;
}

static struct chanfd_lock_info lock_info(int lock)
{
	struct chanfd_lock_info info;

	poison(&info);
	if (chanfd_lock_info(lock, &info))
		err(1, "chanfd_lock_info");
	return info;
}

/**
 * struct scene - a condition, its lock, and what happened
 * @count:	of those who have been woken, under the lock
 * @order:	their party.value
 * @unlocked:	times that somebody returned without the lock
 */
struct scene {
	int cond;
	int lock;
	atomic_int count;
	uint64_t order[256];
	atomic_int unlocked;
};

/* Locks, waits, writes itself down, unlocks. The result is of the waiting. */
static long run_wait(struct party *me)
{
	struct scene *s = me->arg;
	int error;
	long ret;

	if (chanfd_lock(s->lock, NULL))
		return -1;
	ret = chanfd_condition_wait(s->cond, s->lock, &me->opt);
	error = errno;
	if (!ret || error == EOWNERDEAD)
		s->order[s->count++] = me->value;
	if (chanfd_unlock(s->lock))
		s->unlocked++;
	errno = error;
	return ret;
}

static struct party *waiter_new(bool process, struct scene *s, uint64_t value)
{
	struct party *p = party_new(process, run_wait, -1);

	p->arg = s;
	p->value = value;
	return p;
}

/* One more that waits; those who wait then. */
static struct party *party_waits(bool process, struct scene *s, uint64_t value)
{
	unsigned int before = waiting(s->cond);
	struct party *p = party_start(waiter_new(process, s, value));

	if (!eventually(waiting(s->cond) == before + 1))
		errx(1, "nobody waits");
	return p;
}

FIXTURE(scene) {
	struct scene *s;
	int cond;
	int lock;
	bool process;
};

FIXTURE_VARIANT(scene) {
	bool process;
	unsigned int flags;
};

FIXTURE_VARIANT_ADD(scene, threads) {
	.process = false,
};

FIXTURE_VARIANT_ADD(scene, processes) {
	.process = true,
};

FIXTURE_VARIANT_ADD(scene, processes_handoff) {
	.process = true,
	.flags = CHANFD_HANDOFF,
};

FIXTURE_SETUP(scene)
{
	self->process = variant->process;
	self->cond = chanfd_condition(0, "cond");
	self->lock = chanfd_rwmutex(variant->flags, "lock");
	ASSERT_LE(0, self->cond);
	ASSERT_LE(0, self->lock);
	self->s = shared(sizeof(*self->s));
	self->s->cond = self->cond;
	self->s->lock = self->lock;
}

FIXTURE_TEARDOWN(scene)
{
	EXPECT_EQ(0, atomic_load(&self->s->unlocked));
	close(self->cond);
	close(self->lock);
}

TEST(birth)
{
	struct chanfd_info info;
	int fd[2], cond = chanfd_condition(0, "ring");
	char path[64], text[1024];
	struct pollfd p = { .fd = cond, .events = POLLIN | POLLOUT };

	ASSERT_LE(0, cond);
	EXPECT_EQ(FD_CLOEXEC, fcntl(cond, F_GETFD));
	ASSERT_EQ(0, chanfd_info(cond, &info));
	EXPECT_EQ(CHANFD_TYPE_CONDITION, info.type);
	EXPECT_EQ(CHANFD_READ | CHANFD_WRITE, info.rights);
	EXPECT_STREQ("ring", (char *)info.name);
	EXPECT_EQ(0, waiting(cond));
	EXPECT_EQ(0, poll(&p, 1, 0));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", cond);
	ASSERT_TRUE(read_text(path, text, sizeof(text)));
	EXPECT_NE(NULL, strstr(text, "chanfd-type:\tcondition\n"));
	EXPECT_NE(NULL, strstr(text, "chanfd-waiting:\t0\n"));

	ASSERT_EQ(0, chanfd_condition_pair(fd, CHANFD_INHERIT, NULL));
	EXPECT_EQ(0, fcntl(fd[1], F_GETFD));
	ASSERT_EQ(0, chanfd_info(fd[0], &info));
	EXPECT_EQ(CHANFD_READ, info.rights);
	ASSERT_EQ(0, chanfd_info(fd[1], &info));
	EXPECT_EQ(CHANFD_WRITE, info.rights);
}

/* What goes wrong has no effect: the lock is as it was, and nobody waits. */
TEST(bad_input)
{
	int cond = chanfd_condition(0, NULL), lock = chanfd_rwmutex(0, NULL);
	struct chanfd_condition_wait w = { .lock = lock, .context = -1 };
	struct chanfd_condition make = { .flags = CHANFD_NONBLOCK };
	int device = chanfd_device(), fd[2], wg;

	ASSERT_LE(0, device);
	EXPECT_EQ(EINVAL, errno_of(ioctl(device, CHANFD_IOC_CONDITION, &make)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_condition(CHANFD_PAIR, NULL)));

	EXPECT_EQ(EPERM, errno_of(chanfd_condition_wait(cond, lock, NULL)));
	ASSERT_EQ(0, chanfd_rlock(lock, NULL));
	EXPECT_EQ(EPERM, errno_of(chanfd_condition_wait(cond, lock, NULL)));
	EXPECT_EQ(1, lock_info(lock).readers);
	ASSERT_EQ(0, chanfd_runlock(lock));

	ASSERT_EQ(0, chanfd_lock(lock, NULL));
	wg = chanfd_waitgroup(0, NULL);
	EXPECT_EQ(EBADF, errno_of(chanfd_condition_wait(cond, -1, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_condition_wait(cond, wg, NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_condition_wait(cond, cond, NULL)));
	EXPECT_EQ(EPERM, errno_of(chanfd_condition_wait(cond,
							chanfd_reduce(lock, CHANFD_READ),
							NULL)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_condition_wait(cond, lock,
							 CHANFD_OPT(-1, CHANFD_NONBLOCK, 0))));
	EXPECT_EQ(EBADF, errno_of(chanfd_condition_wait(cond, lock, CHANFD_OPT(1 << 20, 0, 0))));
	EXPECT_EQ(EINVAL, errno_of(chanfd_condition_wait(cond, lock, CHANFD_OPT(wg, 0, 0))));
	w.reserved = 1;
	EXPECT_EQ(EINVAL, errno_of(ioctl(cond, CHANFD_IOC_CONDITION_WAIT, &w)));
	EXPECT_EQ(EFAULT, errno_of(ioctl(cond, CHANFD_IOC_CONDITION_WAIT, bad_pointer())));
	EXPECT_EQ(EFAULT, errno_of(ioctl(cond, CHANFD_IOC_SIGNAL, bad_pointer())));
	EXPECT_EQ(ENOTTY, errno_of(chanfd_signal(lock)));
	EXPECT_EQ(CHANFD_LOCKED, lock_info(lock).state);
	EXPECT_EQ(0, waiting(cond));

	ASSERT_EQ(0, chanfd_condition_pair(fd, 0, NULL));
	EXPECT_EQ(EPERM, errno_of(chanfd_signal(fd[0])));
	EXPECT_EQ(EPERM, errno_of(chanfd_broadcast(fd[0])));
	EXPECT_EQ(EPERM, errno_of(chanfd_condition_wait(fd[1], lock, NULL)));
	EXPECT_EQ(CHANFD_LOCKED, lock_info(lock).state);
}

/* tD1, D1: the lock is free while somebody waits, and is waited for afterwards. */
TEST_F(scene, signal_one)
{
	struct party *p[2];
	int i;

	for (i = 0; i < 2; i++)
		p[i] = party_waits(self->process, self->s, i);
	EXPECT_TRUE(stays_blocked(p[0]));
	EXPECT_TRUE(stays_blocked(p[1]));
	ASSERT_EQ(0, chanfd_trylock(self->lock));
	EXPECT_EQ(1, chanfd_signal(self->cond));
	EXPECT_EQ(1, waiting(self->cond));
	EXPECT_TRUE(eventually(lock_info(self->lock).waiting_writers == 1));
	EXPECT_EQ(0, atomic_load(&self->s->count));
	EXPECT_EQ(0, chanfd_unlock(self->lock));
	EXPECT_EQ(0, party_join(p[0]));
	EXPECT_TRUE(stays_blocked(p[1]));
	EXPECT_EQ(1, atomic_load(&self->s->count));
	EXPECT_EQ(1, chanfd_signal(self->cond));
	EXPECT_EQ(0, party_join(p[1]));
	EXPECT_EQ(0, chanfd_trylock(self->lock));
}

/* tD2, D2 */
TEST_F(scene, fifo_generations)
{
	enum { N = 20 };
	struct party *p[N];
	int i;

	for (i = 0; i < N; i++)
		p[i] = party_waits(self->process, self->s, i);
	for (i = 0; i < N; i++) {
		EXPECT_EQ(1, chanfd_signal(self->cond));
		EXPECT_EQ(0, party_join(p[i]));
		EXPECT_EQ(i, self->s->order[i]);
		EXPECT_EQ(i + 1, atomic_load(&self->s->count));
		EXPECT_EQ(N - i - 1, waiting(self->cond));
	}
}

/* D2: several at once are still the first ones. */
TEST_F(scene, signal_several)
{
	struct party *p[6];
	uint32_t n = 3;
	int i;

	for (i = 0; i < 6; i++)
		p[i] = party_waits(self->process, self->s, i);
	EXPECT_EQ(3, ioctl(self->cond, CHANFD_IOC_SIGNAL, &n));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, party_join(p[i]));
	EXPECT_EQ(3, waiting(self->cond));
	EXPECT_TRUE(stays_blocked(p[3]));
	n = 100;
	EXPECT_EQ(3, ioctl(self->cond, CHANFD_IOC_SIGNAL, &n));
	for (i = 3; i < 6; i++)
		EXPECT_EQ(0, party_join(p[i]));
	n = 0;
	EXPECT_EQ(0, ioctl(self->cond, CHANFD_IOC_SIGNAL, &n));
}

/* tD3, D3 */
TEST_F(scene, broadcast_exact)
{
	enum { ROUNDS = 3, MANY = 80 };	/* more than are woken at once */
	int round, i, n = self->process ? 20 : MANY;
	struct party *p[MANY], *late;

	for (round = 0; round < ROUNDS; round++) {
		self->s->count = 0;
		for (i = 0; i < n; i++)
			p[i] = party_start(waiter_new(self->process, self->s, i));
		ASSERT_TRUE(eventually(waiting(self->cond) == (unsigned int)n));
		ASSERT_EQ(0, chanfd_lock(self->lock, NULL));
		EXPECT_EQ(n, chanfd_broadcast(self->cond));
		EXPECT_EQ(0, waiting(self->cond));
		EXPECT_EQ(0, chanfd_unlock(self->lock));
		for (i = 0; i < n; i++)
			EXPECT_EQ(0, party_join(p[i]));
		EXPECT_EQ(n, atomic_load(&self->s->count));
	}
	/* Nothing is left for who comes later. */
	late = party_waits(self->process, self->s, 1);
	EXPECT_TRUE(stays_blocked(late));
	EXPECT_EQ(1, chanfd_broadcast(self->cond));
	EXPECT_EQ(0, party_join(late));
}

/* D3: a signal without waiters is lost. */
TEST_F(scene, nobody_waits)
{
	struct party *p;

	EXPECT_EQ(0, chanfd_signal(self->cond));
	EXPECT_EQ(0, chanfd_broadcast(self->cond));
	p = party_waits(self->process, self->s, 1);
	EXPECT_TRUE(stays_blocked(p));
	EXPECT_EQ(1, chanfd_signal(self->cond));
	EXPECT_EQ(0, party_join(p));
}

/* All other ends: no signal is used up, and the lock is waited for all the same. */
TEST_F(scene, other_ends)
{
	int ctx = chanfd_context(-1);
	struct party *p, *next;
	int way;

	ASSERT_LE(0, ctx);
	catch_signal(SIGUSR1, SA_RESTART);
	for (way = 0; way < 2; way++) {
		p = waiter_new(self->process, self->s, 1);
		if (way == 0)
			p->opt.context = ctx;
		party_start(p);
		ASSERT_TRUE(eventually(waiting(self->cond) == 1));
		next = party_waits(self->process, self->s, 2);
		ASSERT_EQ(0, chanfd_lock(self->lock, NULL));
		ASSERT_TRUE(blocked(p));
		if (way == 0)
			chanfd_cancel(ctx, 0, NULL);
		else
			party_signal(p, SIGUSR1);
		EXPECT_TRUE(eventually(lock_info(self->lock).waiting_writers == 1));
		EXPECT_EQ(1, waiting(self->cond));
		EXPECT_TRUE(!p->ended);
		EXPECT_EQ(1, chanfd_signal(self->cond));
		EXPECT_EQ(0, chanfd_unlock(self->lock));
		EXPECT_EQ(way == 0 ? ECANCELED : EINTR, errno_of(party_join(p)));
		EXPECT_EQ(0, party_join(next));
		EXPECT_EQ(way + 1, atomic_load(&self->s->count));
	}
	/* A context that is done already: the lock was never released. */
	ASSERT_EQ(0, chanfd_lock(self->lock, NULL));
	EXPECT_EQ(ECANCELED, errno_of(chanfd_condition_wait(self->cond, self->lock,
							    CHANFD_OPT(ctx, 0, 0))));
	EXPECT_EQ(ETIMEDOUT, errno_of(chanfd_condition_wait(self->cond, self->lock,
							    CHANFD_OPT(-1, 0, 1))));
	EXPECT_EQ(CHANFD_LOCKED, lock_info(self->lock).state);
	EXPECT_EQ(getpid(), lock_info(self->lock).holder);
	EXPECT_EQ(0, waiting(self->cond));
}

/* Whenever the deadline passes: before, while or after others come to wait. */
TEST_F(scene, times_out)
{
	struct party *p = waiter_new(self->process, self->s, 1), *next;

	p->opt.deadline = chanfd_deadline(A_WHILE);
	party_start(p);
	next = party_start(waiter_new(self->process, self->s, 2));
	EXPECT_EQ(ETIMEDOUT, errno_of(party_join(p)));
	ASSERT_TRUE(eventually(waiting(self->cond) == 1));
	EXPECT_TRUE(stays_blocked(next));
	EXPECT_EQ(1, chanfd_signal(self->cond));
	EXPECT_EQ(0, party_join(next));
	EXPECT_EQ(1, atomic_load(&self->s->count));
	EXPECT_EQ(0, lock_info(self->lock).state);
}

/* Nothing but a fatal signal ends the wait for the lock. */
TEST_F(scene, only_the_lock_counts)
{
	int ctx = chanfd_context(-1);
	struct party *p = waiter_new(self->process, self->s, 1);

	catch_signal(SIGUSR1, 0);
	p->opt.context = ctx;
	party_start(p);
	ASSERT_TRUE(eventually(waiting(self->cond) == 1));
	ASSERT_EQ(0, chanfd_lock(self->lock, NULL));
	EXPECT_EQ(1, chanfd_signal(self->cond));
	ASSERT_TRUE(eventually(lock_info(self->lock).waiting_writers == 1));
	EXPECT_EQ(0, chanfd_cancel(ctx, 0, NULL));
	party_signal(p, SIGUSR1);
	pause_for(A_WHILE);
	EXPECT_TRUE(!p->ended);
	EXPECT_EQ(1, lock_info(self->lock).waiting_writers);
	EXPECT_EQ(0, chanfd_unlock(self->lock));
	EXPECT_EQ(0, party_join(p));
}

/* D4: who is killed before it returns passes the signal on. */
TEST_F(scene, killed_after_signal)
{
	struct party *victim = party_waits(true, self->s, 1);
	struct party *next = party_waits(self->process, self->s, 2);
	struct party *third = party_waits(self->process, self->s, 3);

	ASSERT_EQ(0, chanfd_lock(self->lock, NULL));
	EXPECT_EQ(1, chanfd_signal(self->cond));
	ASSERT_TRUE(eventually(lock_info(self->lock).waiting_writers == 1));
	EXPECT_EQ(2, waiting(self->cond));
	party_kill(victim);
	EXPECT_TRUE(eventually(waiting(self->cond) == 1));
	EXPECT_EQ(0, chanfd_unlock(self->lock));
	EXPECT_EQ(0, party_join(next));
	EXPECT_EQ(1, atomic_load(&self->s->count));
	EXPECT_EQ(2, self->s->order[0]);
	EXPECT_TRUE(stays_blocked(third));
	EXPECT_EQ(1, chanfd_signal(self->cond));
	EXPECT_EQ(0, party_join(third));
	EXPECT_EQ(0, lock_info(self->lock).dead);
}

/* But a broadcast was for those who waited then. */
TEST_F(scene, killed_after_broadcast)
{
	struct party *victim = party_waits(true, self->s, 1), *late;

	ASSERT_EQ(0, chanfd_lock(self->lock, NULL));
	EXPECT_EQ(1, chanfd_broadcast(self->cond));
	ASSERT_TRUE(eventually(lock_info(self->lock).waiting_writers == 1));
	EXPECT_EQ(0, chanfd_unlock(self->lock));
	late = party_waits(self->process, self->s, 2);
	if (!party_ended(victim))	/* it may have got the lock meanwhile */
		party_kill(victim);
	EXPECT_TRUE(stays_blocked(late));
	EXPECT_EQ(1, waiting(self->cond));
	EXPECT_EQ(1, chanfd_signal(self->cond));
	party_join(late);
}

/* Who is killed while it waits has used up nothing. */
TEST_F(scene, killed_before_signal)
{
	struct party *victim = party_waits(true, self->s, 1);
	struct party *next = party_waits(self->process, self->s, 2);

	party_kill(victim);
	EXPECT_EQ(1, waiting(self->cond));
	EXPECT_EQ(1, chanfd_signal(self->cond));
	EXPECT_EQ(0, party_join(next));
	EXPECT_EQ(0, lock_info(self->lock).dead);
}

static long run_lock_and_die(struct party *me)
{
	struct scene *s = me->arg;

	return chanfd_lock(s->lock, NULL);
}

/* What the lock says wins: it is held, and its last holder died. */
TEST_F(scene, holder_dies)
{
	struct party *p = party_waits(self->process, self->s, 1), *holder;

	holder = party_new(true, run_lock_and_die, -1);
	holder->arg = self->s;
	party_start(holder);
	EXPECT_EQ(0, party_join(holder));
	EXPECT_EQ(CHANFD_OWNER_DEAD, lock_info(self->lock).state);
	EXPECT_EQ(1, chanfd_signal(self->cond));
	EXPECT_EQ(EOWNERDEAD, errno_of(party_join(p)));
	EXPECT_EQ(1, atomic_load(&self->s->count));
	EXPECT_EQ(0, lock_info(self->lock).state);
}

TEST_F(scene, not_recoverable)
{
	struct party *p = party_waits(self->process, self->s, 1);

	ASSERT_EQ(0, chanfd_lock(self->lock, NULL));
	EXPECT_EQ(0, chanfd_unlock_lost(self->lock));
	EXPECT_EQ(1, chanfd_signal(self->cond));
	EXPECT_EQ(ENOTRECOVERABLE, errno_of(party_join(p)));
	EXPECT_EQ(1, atomic_load(&self->s->unlocked));	/* it did not hold the lock */
	self->s->unlocked = 0;
	EXPECT_EQ(0, atomic_load(&self->s->count));
}

/**
 * struct shop - where things are taken when somebody has signalled that they are there
 * @things:	changed under the lock
 * @wrong:	somebody was woken for nothing
 */
struct shop {
	int cond;
	int lock;
	atomic_int things;
	atomic_int wrong;
	atomic_bool closed;
};

/* Takes one for every signal, and none without. */
static long run_customer(struct party *me)
{
	struct shop *s = me->arg;
	unsigned int seed = me->seq;
	struct chanfd_opt opt = CHANFD_OPT_INIT;

	if (chanfd_lock(s->lock, NULL))
		return -1;
	while (!s->closed) {
		if (me->value)	/* impatient */
			opt.deadline = chanfd_deadline(rand_r(&seed) % MSEC);
		if (!chanfd_condition_wait(s->cond, s->lock, &opt)) {
			if (!s->closed && s->things-- < 1)
				s->wrong++;
		} else if (errno != ETIMEDOUT) {
			return -1;
		}
	}
	return chanfd_unlock(s->lock);
}

/* Takes what is there, and waits for more; also after somebody was killed. */
static long run_taker(struct party *me)
{
	struct shop *s = me->arg;

	if (chanfd_lock(s->lock, NULL) && errno != EOWNERDEAD)
		return -1;
	while (!s->closed) {
		if (s->things)
			s->things--;
		else if (chanfd_condition_wait(s->cond, s->lock, NULL) && errno != EOWNERDEAD)
			return -1;
	}
	return chanfd_unlock(s->lock);
}

enum { CUSTOMERS = 6, THINGS = 300 };

static struct party *party_customer(bool process, long (*run)(struct party *me),
				    struct shop *s, int i)
{
	struct party *p = party_new(process, run, -1);

	p->arg = s;
	p->seq = i + 1;
	p->value = i % 2;
	return party_start(p);
}

static struct shop *shop_new(int cond, int lock)
{
	struct shop *s = shared(sizeof(*s));

	s->cond = cond;
	s->lock = lock;
	return s;
}

/* All customers leave; whether they could. */
static bool shop_close(struct shop *s, struct party *p[CUSTOMERS])
{
	int i, left;

	s->closed = true;
	return eventually(({
		chanfd_broadcast(s->cond);
		for (left = 0, i = 0; i < CUSTOMERS; i++)
			left += party_ended(p[i]);
		left == CUSTOMERS;
	}));
}

/* A signal goes to somebody who waits, whoever runs out of patience just then. */
TEST_F(scene, never_lost)
{
	struct shop *s = shop_new(self->cond, self->lock);
	struct party *p[CUSTOMERS];
	int i, k;

	for (i = 0; i < CUSTOMERS; i++)
		p[i] = party_customer(self->process, run_customer, s, i);
	for (k = 0; k < THINGS; k++) {
		ASSERT_EQ(0, chanfd_lock(self->lock, NULL));
		s->things++;
		chanfd_unlock(self->lock);
		ASSERT_TRUE(eventually(chanfd_signal(self->cond) == 1));
	}
	EXPECT_TRUE(eventually(s->things == 0));
	EXPECT_EQ(0, atomic_load(&s->wrong));
	EXPECT_TRUE(shop_close(s, p));
	for (i = 0; i < CUSTOMERS; i++)
		EXPECT_EQ(0, party_join(p[i]));
	EXPECT_EQ(0, waiting(self->cond));
}

/* Whoever is killed wherever: those who live take all. Somebody new looks first. */
TEST_F(scene, kill_storm)
{
	struct shop *s = shop_new(self->cond, self->lock);
	struct party *p[CUSTOMERS];
	unsigned int seed = 1;
	int i, k;

	for (i = 0; i < CUSTOMERS; i++)
		p[i] = party_customer(true, run_taker, s, i);
	for (k = 0; k < THINGS; k++) {
		if (k % 6 == 0) {
			i = rand_r(&seed) % CUSTOMERS;
			party_kill(p[i]);
			p[i] = party_customer(true, run_taker, s, i);
		}
		ASSERT_TRUE(!chanfd_lock(self->lock, NULL) || errno == EOWNERDEAD);
		s->things++;
		chanfd_unlock(self->lock);
		chanfd_signal(self->cond);
	}
	EXPECT_TRUE(eventually(s->things == 0));
	EXPECT_TRUE(shop_close(s, p));
	for (i = 0; i < CUSTOMERS; i++)
		EXPECT_EQ(0, party_join(p[i]));
	EXPECT_EQ(0, lock_info(self->lock).state & CHANFD_LOCKED);
	EXPECT_EQ(0, waiting(self->cond));
}

TEST_HARNESS_MAIN
