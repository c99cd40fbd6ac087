/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of the walk have in common. */
#ifndef _SMOKE_H
#define _SMOKE_H

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>

#include "../../uapi/chanfd.h"
#include "host.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define SECOND		1000000000ULL

struct test {
	const char *name;
	void (*func)(void);
};

/* Each ends with one that has no name. */
extern const struct test lock_tests[], cell_tests[], lease_tests[];

extern int dev;

void expect(long got, long wanted, const char *what, const char *file, int line);

#define EXPECT(what, wanted)	expect(what, wanted, #what, __FILE__, __LINE__)
#define IOCTL(fd, cmd, ...)	host_ioctl(fd, cmd, &(__VA_ARGS__))

/* A handle to read, and one to write. */
struct pair {
	int r, w;
};

struct pair channel(unsigned int capacity, unsigned int size, unsigned int flags);
struct pair context(int parent, uint64_t deadline);
uint64_t now(void);
long send_one(int fd, uint32_t value);
long recv_one(int fd);
long select_of(struct chanfd_select *s, const struct chanfd_case *cases, int n);
long wait_readable(int fd);

/* A thread, in a process of its own. */
struct thread {
	pthread_t pthread;
	struct task_struct *task;
	sem_t started;
	sem_t may_end;
	long (*func)(int fd);
	int fd;
	long ret;
};

void start(struct thread *t, long (*func)(int fd), int fd);
void start_asleep(struct thread *t, long (*func)(int fd), int fd);
long join(struct thread *t);

#endif /* _SMOKE_H */
