// SPDX-License-Identifier: GPL-2.0
/* The walk: cells. */

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "smoke.h"

static struct pair cell(unsigned int size)
{
	struct chanfd_cell c = { .flags = CHANFD_PAIR, .size = size, .name = "smoke" };

	EXPECT(IOCTL(dev, CHANFD_IOC_CELL, c), 0);
	return (struct pair){ c.fd[0], c.fd[1] };
}

static long store(int fd, const void *buf, unsigned int size, uint64_t *version)
{
	struct chanfd_store s = { .buf = (uintptr_t)buf, .size = size };
	long ret = IOCTL(fd, CHANFD_IOC_STORE, s);

	if (!ret && version)
		*version = s.version;
	return ret;
}

static long load(int fd, void *buf, unsigned int size, uint64_t *version)
{
	struct chanfd_load l = { .buf = (uintptr_t)buf, .size = size };
	long ret = IOCTL(fd, CHANFD_IOC_LOAD, l);

	if (!ret)
		*version = l.version;
	return ret ?: l.size;
}

static void values(void)
{
	struct pair c = cell(16);
	char buf[16] = "", text[1000];
	struct chanfd_cell_info info;
	uint64_t version = 0;
	struct chanfd_store s = {
		.flags = CHANFD_SWAP,
		.buf = (uintptr_t)"new",
		.size = 4,
		.old = (uintptr_t)buf,
		.old_size = 2,
	};

	EXPECT(load(c.r, buf, 16, &version), -ENODATA);
	EXPECT(store(c.w, "first", 6, &version), 0);
	EXPECT(version, 1);
	EXPECT(load(c.r, buf, 5, &version), -EMSGSIZE);
	EXPECT(load(c.r, buf, 16, &version), 6);
	EXPECT(strcmp(buf, "first"), 0);
	EXPECT(load(c.w, buf, 16, &version), -EPERM);
	EXPECT(store(c.r, "", 1, NULL), -EPERM);
	EXPECT(store(c.w, text, 17, NULL), -EMSGSIZE);
	/* To tell what was there takes the right to load it. */
	EXPECT(IOCTL(c.w, CHANFD_IOC_STORE, s), -EPERM);
	EXPECT(IOCTL(c.r, CHANFD_IOC_CELL_INFO, info), 0);
	EXPECT(info.version, 1);
	EXPECT(info.max, 16);
	EXPECT(host_fdinfo(c.r, text, sizeof(text)) > 0, true);
	EXPECT(!strstr(text, "chanfd-version:\t1\n"), false);
}

static void replaced(void)
{
	struct chanfd_cell c = { .size = 16 };
	char buf[16] = "";
	struct chanfd_store s = {
		.flags = CHANFD_SWAP | CHANFD_IF_VERSION,
		.tag = 1,
		.buf = (uintptr_t)"new",
		.size = 4,
		.old = (uintptr_t)buf,
		.old_size = 16,
	};

	EXPECT(IOCTL(dev, CHANFD_IOC_CELL, c), 0);
	EXPECT(IOCTL(c.fd[0], CHANFD_IOC_STORE, s), 0);
	EXPECT(s.old_size, 0);
	s.version = 7;
	s.old_size = 16;
	EXPECT(IOCTL(c.fd[0], CHANFD_IOC_STORE, s), -ESTALE);
	s.version = 1;
	s.old_size = 3;
	EXPECT(IOCTL(c.fd[0], CHANFD_IOC_STORE, s), -EMSGSIZE);
	s.old_size = 16;
	/* A page that is not there is fetched. */
	host_fault(4, false);
	EXPECT(IOCTL(c.fd[0], CHANFD_IOC_STORE, s), 0);
	EXPECT(host_failed(), true);
	EXPECT(s.version, 2);
	EXPECT(s.old_size, 4);
	EXPECT(strcmp(buf, "new"), 0);
	s.tag = 2;
	EXPECT(IOCTL(c.fd[0], CHANFD_IOC_STORE, s), -EPROTOTYPE);
}

static long wait_changed(int fd)
{
	const struct chanfd_case c = { .fd = fd, .op = CHANFD_CASE_CHANGED, .buf = 1 };
	struct chanfd_select s = {};
	long ret = select_of(&s, &c, 1);

	return ret ?: (long)s.number;
}

static void changes(void)
{
	struct pair c = cell(8);
	struct thread t[2];
	uint64_t version;
	char buf[8];

	EXPECT(wait_changed(c.r), 0);
	store(c.w, "a", 2, NULL);
	EXPECT(host_poll(c.r), POLLIN | POLLRDNORM);
	EXPECT(load(c.r, buf, 8, &version), 2);
	EXPECT(host_poll(c.r), 0);
	start_asleep(&t[0], wait_changed, c.r);
	start_asleep(&t[1], wait_readable, c.r);
	store(c.w, "b", 2, NULL);
	EXPECT(join(&t[0]), 2);
	EXPECT(join(&t[1]), POLLIN);
}

/* Values of two sizes, one of which does not fit the mapped page. */
enum { SMALL = 100, BIG = CHANFD_CELL_INLINE + 1, ROUNDS = 300 };

static long store_many(int fd)
{
	unsigned char buf[BIG];
	long i;

	for (i = 0; i < ROUNDS; i++) {
		memset(buf, i, sizeof(buf));
		EXPECT(store(fd, buf, i % 3 ? SMALL : BIG, NULL), 0);
	}
	return 0;
}

static void is_whole(const unsigned char *buf, long size)
{
	EXPECT(size == SMALL || size == BIG, true);
	EXPECT(memcmp(buf, buf + 1, size - 1), 0);
}

static long load_many(int fd)
{
	unsigned char buf[BIG];
	uint64_t version = 0, last = 0;
	long size;

	while (last < 2 * ROUNDS) {
		size = load(fd, buf, sizeof(buf), &version);
		if (size == -ENODATA)
			continue;
		is_whole(buf, size);
		EXPECT(version >= last, true);
		last = version;
	}
	return 0;
}

/* What a reader of the page can know is checked by random programs. */
static void __attribute__((no_sanitize("thread"))) read_many(int fd)
{
	const volatile struct chanfd_cell_page *page;
	struct vm_area_struct *map;
	unsigned char buf[BIG];
	uint64_t sequence, version = 0;
	uint32_t size, i;

	EXPECT(host_mmap(fd, 4096, PROT_READ | PROT_WRITE, &map), -EACCES);
	EXPECT(host_mmap(fd, 8192, PROT_READ, &map), -EINVAL);
	EXPECT(host_mmap(fd, 4096, PROT_READ, &map), 0);
	page = host_mapped(map);
	while (version < 2 * ROUNDS) {
		sequence = page->sequence;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		version = page->version;
		size = page->size;
		for (i = 0; i < size && size <= CHANFD_CELL_INLINE; i++)
			buf[i] = page->data[i];
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (sequence & 1 || sequence != page->sequence)
			sched_yield();
		else if (version && size <= CHANFD_CELL_INLINE)
			is_whole(buf, size);
	}
	host_munmap(map);
}

static void contended(void)
{
	struct pair c = cell(BIG);
	struct thread t[4];
	int i;

	for (i = 0; i < 4; i++)
		start(&t[i], i < 2 ? store_many : load_many, i < 2 ? c.w : c.r);
	read_many(c.r);
	for (i = 0; i < 4; i++)
		join(&t[i]);
}

const struct test cell_tests[] = {
	{ "values of a cell", values },
	{ "values are replaced", replaced },
	{ "a cell changes", changes },
	{ "a cell that all are at", contended },
	{},
};
