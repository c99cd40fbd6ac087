// SPDX-License-Identifier: GPL-2.0
/* The walk: locks and conditions. */

#include <poll.h>
#include <string.h>
#include <sys/mman.h>

#include "smoke.h"

static const unsigned int modes[] = { 0, CHANFD_HANDOFF, CHANFD_BARGING };

static struct pair lock(unsigned int flags)
{
	struct chanfd_lock c = { .flags = CHANFD_PAIR | flags, .name = "smoke" };

	EXPECT(IOCTL(dev, CHANFD_IOC_LOCK_NEW, c), 0);
	return (struct pair){ c.fd[0], c.fd[1] };
}

static long acquire(int fd, unsigned int flags)
{
	struct chanfd_acquire a = { .flags = flags, .context = -1 };

	return IOCTL(fd, CHANFD_IOC_LOCK, a);
}

static long release(int fd, uint32_t flags)
{
	return IOCTL(fd, CHANFD_IOC_UNLOCK, flags);
}

static long take(int fd)
{
	return acquire(fd, 0);
}

static long take_shared(int fd)
{
	return acquire(fd, CHANFD_SHARED);
}

static long take_and_release(int fd)
{
	long ret = acquire(fd, 0);

	EXPECT(release(fd, 0), 0);
	return ret;
}

static long read_and_release(int fd)
{
	long ret = take_shared(fd);

	EXPECT(release(fd, CHANFD_SHARED), 0);
	return ret;
}

static struct chanfd_lock_info info_of(int fd)
{
	struct chanfd_lock_info info;

	EXPECT(IOCTL(fd, CHANFD_IOC_LOCK_INFO, info), 0);
	return info;
}

static void mutexes(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		struct pair m = lock(modes[i]);
		struct thread t[3];
		char text[1000];
		int j;

		EXPECT(release(m.w, 0), -EPERM);
		EXPECT(take(m.w), 0);
		EXPECT(take(m.r), -EPERM);
		EXPECT(take_shared(m.r), -EINVAL);
		EXPECT(acquire(m.w, CHANFD_NONBLOCK), -EAGAIN);
		EXPECT(info_of(m.r).holder, host_process_number(host_process()));
		EXPECT(host_poll(m.w), 0);
		for (j = 0; j < 3; j++)
			start_asleep(&t[j], take_and_release, m.w);
		EXPECT(info_of(m.r).waiting_writers, 3);
		EXPECT(host_fdinfo(m.w, text, sizeof(text)) > 0, true);
		EXPECT(!strstr(text, "chanfd-waiting:\t3 writers"), false);
		EXPECT(release(m.w, 0), 0);
		for (j = 0; j < 3; j++)
			EXPECT(join(&t[j]), 0);
		EXPECT(host_poll(m.w), POLLOUT | POLLWRNORM);
	}
}

static void readers(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		struct pair rw = lock(CHANFD_RW | modes[i]);
		struct thread t[3];

		EXPECT(take_shared(rw.r), 0);
		EXPECT(take_shared(rw.r), 0);
		EXPECT(take_shared(rw.w), -EPERM);
		start_asleep(&t[0], take, rw.w);
		EXPECT(acquire(rw.r, CHANFD_SHARED | CHANFD_NONBLOCK), -EAGAIN);
		start_asleep(&t[1], read_and_release, rw.r);
		start_asleep(&t[2], read_and_release, rw.r);
		EXPECT(release(rw.r, CHANFD_SHARED), 0);
		EXPECT(info_of(rw.r).readers, 1);
		EXPECT(info_of(rw.r).waiting_readers, 2);
		/* The writer withdraws, and keeps nobody out any more. */
		host_signal(t[0].task);
		EXPECT(join(&t[0]), -EINTR);
		EXPECT(release(rw.w, 0), -EPERM);
		join(&t[1]);
		join(&t[2]);
		EXPECT(release(rw.r, CHANFD_SHARED), 0);
		EXPECT(release(rw.r, CHANFD_SHARED), -EPERM);
	}
}

enum { ROUNDS = 300 };

static int count;

static long count_up(int fd)
{
	int i;

	for (i = 0; i < ROUNDS; i++) {
		EXPECT(take(fd), 0);
		count++;
		EXPECT(release(fd, 0), 0);
	}
	return 0;
}

/* That nobody else is in is for ThreadSanitizer to see, too. */
static void contended(void)
{
	unsigned int i;

	for (i = 0; i < 2 * ARRAY_SIZE(modes); i++) {
		struct pair rw = lock((i % 2 ? CHANFD_RW : 0) | modes[i / 2]);
		struct thread t[4];
		int j;

		count = 0;
		for (j = 0; j < 4; j++)
			start(&t[j], count_up, rw.w);
		for (j = 0; j < 4; j++)
			join(&t[j]);
		EXPECT(count, 4 * ROUNDS);
	}
}

static void downgraded(void)
{
	struct chanfd_lock c = { .flags = CHANFD_RW };
	struct thread t;

	EXPECT(IOCTL(dev, CHANFD_IOC_LOCK_NEW, c), 0);
	EXPECT(host_ioctl(c.fd[0], CHANFD_IOC_DOWNGRADE, NULL), -EPERM);
	EXPECT(take(c.fd[0]), 0);
	start_asleep(&t, read_and_release, c.fd[0]);
	EXPECT(host_ioctl(c.fd[0], CHANFD_IOC_DOWNGRADE, NULL), 0);
	EXPECT(join(&t), 0);
	EXPECT(release(c.fd[0], CHANFD_SHARED), 0);
}

/* A thread's process ends with it; the lock that it has acquired is somebody's then. */
static void holders_die(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		struct pair rw = lock(CHANFD_RW | modes[i]);
		struct thread t, waiting;

		start(&t, take_shared, rw.r);
		EXPECT(join(&t), 0);
		EXPECT(take(rw.w), 0);
		EXPECT(info_of(rw.r).dead, 1);
		EXPECT(release(rw.w, 0), 0);

		start(&t, take, rw.w);
		while (!info_of(rw.r).state)
			;
		start_asleep(&waiting, take_and_release, rw.w);
		EXPECT(join(&t), 0);
		EXPECT(join(&waiting), -EOWNERDEAD);
		EXPECT(info_of(rw.r).dead, 2);

		start(&t, take, rw.w);
		EXPECT(join(&t), 0);
		EXPECT(host_poll(rw.w), POLLERR | POLLOUT | POLLWRNORM);
		EXPECT(take(rw.w), -EOWNERDEAD);
		start_asleep(&waiting, take, rw.w);
		EXPECT(release(rw.w, CHANFD_GIVE_UP), 0);
		EXPECT(join(&waiting), -ENOTRECOVERABLE);
		EXPECT(take_shared(rw.r), -ENOTRECOVERABLE);
	}
}

/* A lock that is gone while a holder of it lives, or has just died. */
static void locks_go(void)
{
	struct thread t;
	struct pair m;
	int i;

	for (i = 0; i < 100; i++) {
		m = lock(0);
		start(&t, take, m.w);
		host_close(m.r);
		host_close(m.w);
		EXPECT(join(&t) == 0 || t.ret == -EBADF, true);
	}
	m = lock(0);
	take(m.w);
	host_close(m.r);
	host_close(m.w);
	host_leave();
}

static struct pid *process;

static long take_for_all(int fd)
{
	host_join(process);
	return take(fd);
}

/* The end of one thread of several is not the process's. */
static void threads_end(void)
{
	struct pair m = lock(0);
	struct thread t;

	process = host_process();
	start(&t, take_for_all, m.w);
	EXPECT(join(&t), 0);
	EXPECT(info_of(m.r).holder, host_process_number(process));
	EXPECT(release(m.w, 0), 0);
	host_leave();
}

static void mapped(void)
{
	struct pair m = lock(0);
	struct vm_area_struct *map;
	const struct chanfd_lock_page *page;

	EXPECT(host_mmap(m.w, 4096, PROT_READ, &map), -EBADF);
	EXPECT(host_mmap(m.r, 4096, PROT_READ, &map), 0);
	page = host_mapped(map);
	EXPECT(page->busy, 0);
	EXPECT(take(m.w), 0);
	EXPECT(page->busy != 0, true);
	EXPECT(release(m.w, 0), 0);
	EXPECT(page->busy, 0);
	host_close(m.w);
	host_close(m.r);
	EXPECT(page->busy, 0);
	host_munmap(map);
}

static void selected(void)
{
	struct pair m = lock(CHANFD_BARGING), ch = channel(0, 4, 0);
	uint32_t value = 1;
	const struct chanfd_case cases[] = {
		{ .fd = ch.w, .op = CHANFD_CASE_SEND, .buf = (uintptr_t)&value, .size = 4 },
		{ .fd = m.w, .op = CHANFD_CASE_LOCK },
	};
	struct chanfd_select s = { .flags = CHANFD_NONBLOCK };

	EXPECT(select_of(&s, cases, 2), 0);
	EXPECT(s.index, 1);
	EXPECT(select_of(&s, cases, 2), -EAGAIN);
	EXPECT(release(m.w, 0), 0);
}

/* Conditions */

static int condition_lock;

static long wait_condition(int fd)
{
	struct chanfd_condition_wait w = { .lock = condition_lock, .context = -1 };
	long ret;

	EXPECT(take(condition_lock), 0);
	ret = IOCTL(fd, CHANFD_IOC_CONDITION_WAIT, w);
	EXPECT(release(condition_lock, 0), 0);
	return ret;
}

static void conditions(void)
{
	struct chanfd_condition c = { .flags = CHANFD_PAIR, .name = "smoke" };
	struct chanfd_condition_wait w = { .context = -1, .deadline = 1 };
	struct chanfd_condition_info info;
	struct pair m = lock(0);
	struct thread t[3];
	uint32_t n = 1;
	int i;

	EXPECT(IOCTL(dev, CHANFD_IOC_CONDITION, c), 0);
	condition_lock = m.w;
	w.lock = m.w;
	EXPECT(IOCTL(c.fd[0], CHANFD_IOC_CONDITION_WAIT, w), -EPERM);
	EXPECT(take(m.w), 0);
	EXPECT(IOCTL(c.fd[0], CHANFD_IOC_CONDITION_WAIT, w), -ETIMEDOUT);
	EXPECT(release(m.w, 0), 0);
	EXPECT(IOCTL(c.fd[1], CHANFD_IOC_SIGNAL, n), 0);
	for (i = 0; i < 3; i++)
		start_asleep(&t[i], wait_condition, c.fd[0]);
	EXPECT(IOCTL(c.fd[0], CHANFD_IOC_CONDITION_INFO, info), 0);
	EXPECT(info.waiters, 3);
	EXPECT(IOCTL(c.fd[1], CHANFD_IOC_SIGNAL, n), 1);
	EXPECT(join(&t[0]), 0);
	host_signal(t[1].task);
	EXPECT(join(&t[1]), -EINTR);
	n = ~0U;
	EXPECT(IOCTL(c.fd[1], CHANFD_IOC_SIGNAL, n), 1);
	EXPECT(join(&t[2]), 0);
}

const struct test lock_tests[] = {
	{ "mutexes", mutexes },
	{ "readers and writers", readers },
	{ "a lock that all are at", contended },
	{ "a writer becomes a reader", downgraded },
	{ "holders die", holders_die },
	{ "locks go before their holders", locks_go },
	{ "a thread of several ends", threads_end },
	{ "locks that are mapped", mapped },
	{ "locks in selects", selected },
	{ "conditions", conditions },
	{},
};
