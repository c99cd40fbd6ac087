// SPDX-License-Identifier: GPL-2.0
/*
 * A walk through everything that the module does in user space: that the shims carry it,
 * and that a sanitizer has nothing to say. What it does wrong is for others to find.
 */

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "smoke.h"

int dev;

void expect(long got, long wanted, const char *what, const char *file, int line)
{
	if (got == wanted)
		return;
	fflush(stdout);
	fprintf(stderr, "%s:%d: %s is %ld, not %ld\n", file, line, what, got, wanted);
	abort();
}

/* Objects */

struct pair channel(unsigned int capacity, unsigned int size, unsigned int flags)
{
	struct chanfd_channel c = {
		.flags = CHANFD_PAIR | flags,
		.elem_size = size,
		.capacity = capacity,
		.name = "smoke",
	};

	EXPECT(IOCTL(dev, CHANFD_IOC_CHANNEL, c), 0);
	return (struct pair){ c.fd[0], c.fd[1] };
}

static struct pair waitgroup(void)
{
	struct chanfd_waitgroup c = { .flags = CHANFD_PAIR };

	EXPECT(IOCTL(dev, CHANFD_IOC_WAITGROUP, c), 0);
	return (struct pair){ c.fd[0], c.fd[1] };
}

struct pair context(int parent, uint64_t deadline)
{
	struct chanfd_context c = {
		.flags = CHANFD_PAIR,
		.parent = parent,
		.deadline = deadline,
	};

	EXPECT(IOCTL(dev, CHANFD_IOC_CONTEXT, c), 0);
	return (struct pair){ c.fd[0], c.fd[1] };
}

/* Operations */

uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

long send_one(int fd, uint32_t value)
{
	return host_write(fd, &value, sizeof(value));
}

/* What was received, or an error. */
long recv_one(int fd)
{
	uint32_t value = 0;
	long ret = host_read(fd, &value, sizeof(value));

	return ret > 0 ? value : ret;
}

static long recv_limited(int fd, int limit)
{
	uint32_t value;
	struct chanfd_transfer t = {
		.context = limit,
		.buf = (uintptr_t)&value,
		.size = sizeof(value),
		.count = 1,
	};

	return IOCTL(fd, CHANFD_IOC_RECV, t);
}

long select_of(struct chanfd_select *s, const struct chanfd_case *cases, int n)
{
	s->context = -1;
	s->cases = (uintptr_t)cases;
	s->count = n;
	return host_ioctl(dev, CHANFD_IOC_SELECT, s);
}

/* Waits for @op at @fd; what else it says is in @s. */
static long wait_for(int fd, int op, struct chanfd_select *s)
{
	const struct chanfd_case c = { .fd = fd, .op = op };

	*s = (struct chanfd_select){};
	return select_of(s, &c, 1);
}

/* Threads */

static void *run(void *arg)
{
	struct thread *t = arg;

	t->task = host_self();
	sem_post(&t->started);
	t->ret = t->func(t->fd);
	/* Others may ask for the task until it is joined. */
	sem_wait(&t->may_end);
	return NULL;
}

void start(struct thread *t, long (*func)(int fd), int fd)
{
	t->func = func;
	t->fd = fd;
	sem_init(&t->started, 0, 0);
	sem_init(&t->may_end, 0, 0);
	EXPECT(pthread_create(&t->pthread, NULL, run, t), 0);
	sem_wait(&t->started);
}

void start_asleep(struct thread *t, long (*func)(int fd), int fd)
{
	start(t, func, fd);
	while (!host_asleep(t->task))
		sched_yield();
}

long join(struct thread *t)
{
	sem_post(&t->may_end);
	EXPECT(pthread_join(t->pthread, NULL), 0);
	sem_destroy(&t->started);
	sem_destroy(&t->may_end);
	return t->ret;
}

/* Channels */

static void buffered(void)
{
	struct pair ch = channel(2, sizeof(uint32_t), CHANFD_NONBLOCK);
	struct chanfd_channel_info info;

	EXPECT(recv_one(ch.r), -EAGAIN);
	EXPECT(host_poll(ch.w), POLLOUT | POLLWRNORM);
	EXPECT(send_one(ch.w, 1), sizeof(uint32_t));
	EXPECT(send_one(ch.w, 2), sizeof(uint32_t));
	EXPECT(send_one(ch.w, 3), -EAGAIN);
	EXPECT(host_poll(ch.r), POLLIN | POLLRDNORM);
	EXPECT(IOCTL(ch.r, CHANFD_IOC_CHANNEL_INFO, info), 0);
	EXPECT(info.len, 2);
	EXPECT(recv_one(ch.r), 1);
	EXPECT(recv_one(ch.r), 2);
	EXPECT(send_one(ch.r, 1), -EBADF);
	EXPECT(host_close(ch.r), 0);
	EXPECT(send_one(ch.w, 1), -ECONNRESET);
	EXPECT(host_close(ch.w), 0);
	EXPECT(host_close(ch.w), -EBADF);
}

static void vectors(void)
{
	struct pair ch = channel(4, 4, CHANFD_NONBLOCK);
	char from[] = "abcdefghijkl", to[13] = "";
	struct iovec out[] = { { from, 1 }, { from + 1, 6 }, { NULL, 0 }, { from + 7, 5 } };
	struct iovec in[] = { { to, 5 }, { to + 5, 7 } };

	EXPECT(host_writev(ch.w, out, ARRAY_SIZE(out)), 12);
	EXPECT(host_readv(ch.r, in, ARRAY_SIZE(in)), 12);
	EXPECT(strcmp(from, to), 0);
}

static long recv_text(int fd)
{
	char buf[1000] = "";
	long ret = host_read(fd, buf, sizeof(buf));

	return strcmp(buf, "hello") ? -EIO : ret;
}

static void variable(void)
{
	struct pair ch = channel(2, 1000, CHANFD_VARIABLE);
	char buf[1001] = "";
	struct thread t;

	EXPECT(host_write(ch.w, "hello", 5), 5);
	EXPECT(host_read(ch.r, buf, 4), -EMSGSIZE);
	EXPECT(recv_text(ch.r), 5);
	start_asleep(&t, recv_text, ch.r);
	EXPECT(host_write(ch.w, "hello", 5), 5);
	EXPECT(join(&t), 5);
	EXPECT(host_write(ch.w, buf, 1001), -EMSGSIZE);
}

#define MESSAGES	2000

static long send_many(int fd)
{
	long i;

	for (i = 1; i <= MESSAGES; i++)
		EXPECT(send_one(fd, i), sizeof(uint32_t));
	return 0;
}

static long recv_until_closed(int fd)
{
	long sum = 0, got;

	while ((got = recv_one(fd)) > 0)
		sum += got;
	EXPECT(got, 0);
	return sum;
}

/* What is sent is received, once, whatever the capacity. */
static void rendezvous(void)
{
	unsigned int capacity;

	for (capacity = 0; capacity < 3; capacity++) {
		struct pair ch = channel(capacity, sizeof(uint32_t), 0);
		struct chanfd_close c = { 0 };
		struct thread t[4];

		start(&t[0], recv_until_closed, ch.r);
		start(&t[1], recv_until_closed, ch.r);
		start(&t[2], send_many, ch.w);
		start(&t[3], send_many, ch.w);
		join(&t[2]);
		join(&t[3]);
		EXPECT(IOCTL(ch.w, CHANFD_IOC_CLOSE, c), 0);
		EXPECT(join(&t[0]) + join(&t[1]), 2L * MESSAGES * (MESSAGES + 1) / 2);
	}
}

static long send_seven(int fd)
{
	return send_one(fd, 7);
}

static void ends(void)
{
	struct chanfd_close c = { .cause = EIO };
	struct pair ch = channel(0, sizeof(uint32_t), 0);
	struct thread t;

	start_asleep(&t, recv_one, ch.r);
	EXPECT(IOCTL(ch.w, CHANFD_IOC_CLOSE, c), 0);
	EXPECT(join(&t), -EIO);

	ch = channel(0, sizeof(uint32_t), 0);
	start_asleep(&t, send_seven, ch.w);
	EXPECT(IOCTL(ch.w, CHANFD_IOC_CLOSE, c), 0);
	EXPECT(join(&t), -EPIPE);

	ch = channel(0, sizeof(uint32_t), 0);
	start_asleep(&t, recv_one, ch.r);
	EXPECT(host_close(ch.w), 0);
	EXPECT(join(&t), -ECONNRESET);
}

long wait_readable(int fd)
{
	return host_poll_wait(fd, POLLIN);
}

static void pollers(void)
{
	struct pair ch = channel(1, sizeof(uint32_t), 0);
	struct thread t;

	start_asleep(&t, wait_readable, ch.r);
	send_one(ch.w, 1);
	EXPECT(join(&t), POLLIN);
	recv_one(ch.r);
	start_asleep(&t, wait_readable, ch.r);
	host_close(ch.w);
	EXPECT(join(&t), POLLIN | POLLERR);
}

/* Select */

/* A rendezvous of two selects, each with a way in and one out. */

static struct pair one, two;

static long cross(int fd)
{
	uint32_t in, out = fd;
	const struct chanfd_case cases[] = {
		{ one.r, CHANFD_CASE_RECV, 0, (uintptr_t)&in, sizeof(in) },
		{ one.w, CHANFD_CASE_SEND, 0, (uintptr_t)&out, sizeof(out) },
		{ two.r, CHANFD_CASE_RECV, 0, (uintptr_t)&in, sizeof(in) },
		{ two.w, CHANFD_CASE_SEND, 0, (uintptr_t)&out, sizeof(out) },
		{ -1, CHANFD_CASE_RECV },
	};
	long balance = 0;
	int i;

	for (i = 0; i < MESSAGES; i++) {
		struct chanfd_select s = {};

		EXPECT(select_of(&s, cases, ARRAY_SIZE(cases)), 0);
		balance += s.index & 1 ? -(long)out : (long)in;
	}
	return balance;
}

static void selects(void)
{
	struct thread t[2];

	one = channel(0, sizeof(uint32_t), 0);
	two = channel(0, sizeof(uint32_t), 0);
	start(&t[0], cross, 5);
	start(&t[1], cross, 5);
	EXPECT(join(&t[0]) + join(&t[1]), 0);
}

static long wait_poll(int fd)
{
	const struct chanfd_case c = { .fd = fd, .op = CHANFD_CASE_POLL, .size = POLLIN };
	struct chanfd_select s = {};
	long ret = select_of(&s, &c, 1);

	return ret ?: s.size;
}

static void foreign(void)
{
	struct pair ch = channel(1, sizeof(uint32_t), 0);
	int event = host_eventfd(0);
	struct thread t;

	start_asleep(&t, wait_poll, event);
	host_eventfd_set(event, 1);
	EXPECT(join(&t), POLLIN);
	EXPECT(wait_poll(event), POLLIN);
	start_asleep(&t, wait_poll, ch.r);
	send_one(ch.w, 1);
	EXPECT(join(&t), POLLIN);
}

/* Waitgroups */

static long wait_zero(int fd)
{
	struct chanfd_select s;
	long ret = wait_for(fd, CHANFD_CASE_WAIT, &s);

	return ret ?: s.size * 1000 + s.error;
}

static void waitgroups(void)
{
	struct pair wg = waitgroup();
	struct chanfd_add add = { .delta = 2 };
	struct chanfd_waitgroup_info info;
	struct thread t[2];

	EXPECT(wait_zero(wg.r), 0);
	EXPECT(IOCTL(wg.w, CHANFD_IOC_ADD, add), 0);
	start_asleep(&t[0], wait_zero, wg.r);
	start_asleep(&t[1], wait_readable, wg.r);
	add.delta = -1;
	EXPECT(IOCTL(wg.w, CHANFD_IOC_ADD, add), 0);
	EXPECT(add.count, 1);
	EXPECT(IOCTL(wg.w, CHANFD_IOC_ADD, add), 0);
	EXPECT(IOCTL(wg.w, CHANFD_IOC_ADD, add), -ERANGE);
	EXPECT(join(&t[0]), 0);
	EXPECT(join(&t[1]), POLLIN);
	EXPECT(IOCTL(wg.r, CHANFD_IOC_WAITGROUP_INFO, info), 0);
	EXPECT(info.round, 1);
}

static long count_many(int fd)
{
	long i;

	for (i = 0; i < MESSAGES; i++) {
		struct chanfd_add add = { .delta = i % 2 ? -1 : 1 };

		EXPECT(IOCTL(fd, CHANFD_IOC_ADD, add), 0);
	}
	return 0;
}

static long wait_many(int fd)
{
	long i;

	for (i = 0; i < MESSAGES; i++)
		EXPECT(wait_zero(fd), 0);
	return 0;
}

static void rounds(void)
{
	struct pair wg = waitgroup();
	struct thread t[4];
	int i;

	for (i = 0; i < 4; i++)
		start(&t[i], i < 2 ? count_many : wait_many, i < 2 ? wg.w : wg.r);
	for (i = 0; i < 4; i++)
		join(&t[i]);
}

static void tokens(void)
{
	struct pair wg = waitgroup();
	struct chanfd_done done = { 0 };
	uint32_t flags = 0;
	int a = IOCTL(wg.w, CHANFD_IOC_TOKEN, flags);
	int b = IOCTL(wg.w, CHANFD_IOC_TOKEN, flags);
	struct thread t;

	start_asleep(&t, wait_zero, wg.r);
	EXPECT(IOCTL(a, CHANFD_IOC_DONE, done), 0);
	EXPECT(IOCTL(a, CHANFD_IOC_DONE, done), -ERANGE);
	EXPECT(host_close(b), 0);
	EXPECT(join(&t), 1000 + EOWNERDEAD);
}

/* Contexts */

static long wait_done(int fd)
{
	struct chanfd_select s;
	long ret = wait_for(fd, CHANFD_CASE_DONE, &s);

	return ret ?: s.status;
}

static int limit;

static long recv_under_limit(int fd)
{
	return recv_limited(fd, limit);
}

static void contexts(void)
{
	struct pair root = context(-1, 0), child = context(root.r, 0);
	struct pair ch = channel(0, sizeof(uint32_t), 0);
	struct chanfd_cancel cancel = { .cause = 42, .text = "smoke" };
	struct chanfd_context_info info;
	struct thread t[2];

	limit = child.r;
	start_asleep(&t[0], wait_done, child.r);
	start_asleep(&t[1], recv_under_limit, ch.r);
	EXPECT(IOCTL(root.w, CHANFD_IOC_CANCEL, cancel), 0);
	EXPECT(join(&t[0]), 42);
	EXPECT(join(&t[1]), -ECANCELED);
	EXPECT(recv_limited(ch.r, limit), -ECANCELED);
	EXPECT(IOCTL(child.r, CHANFD_IOC_CONTEXT_INFO, info), 0);
	EXPECT(strcmp((char *)info.text, "smoke"), 0);
	EXPECT(host_poll(root.r), POLLIN | POLLRDNORM | POLLHUP);
}

static long wait_drained(int fd)
{
	struct chanfd_select s;

	return wait_for(fd, CHANFD_CASE_DRAINED, &s);
}

static void families(void)
{
	struct pair root = context(-1, 0), child = context(root.r, 0);
	struct thread t[2];

	start_asleep(&t[0], wait_drained, root.r);
	start_asleep(&t[1], wait_done, child.r);
	EXPECT(host_close(root.w), 0);
	EXPECT(join(&t[1]), EOWNERDEAD);
	host_close(child.r);
	host_close(child.w);
	EXPECT(join(&t[0]), 0);
}

static void deadlines(void)
{
	struct pair late = context(-1, 1), soon = context(-1, now() + SECOND / 50);
	struct pair child = context(soon.r, 0);
	struct pair ch = channel(0, sizeof(uint32_t), 0);
	struct chanfd_select s = { .deadline = now() + SECOND / 100 };

	EXPECT(wait_done(late.r), ETIMEDOUT);
	EXPECT(select_of(&s, NULL, 0), -ETIMEDOUT);
	EXPECT(recv_limited(ch.r, child.r), -ETIMEDOUT);
	EXPECT(wait_done(soon.r), ETIMEDOUT);
}

/* One that has not passed goes with its context. */
static void timers(void)
{
	struct pair ctx = context(-1, now() + 1000 * SECOND);

	host_close(ctx.r);
	host_close(ctx.w);
}

static void values(void)
{
	char from[] = "value", to[6] = "";
	struct chanfd_context c = {
		.parent = -1,
		.value_size = sizeof(from),
		.value = (uintptr_t)from,
		.key = "key",
	};
	struct chanfd_value v = { .key = "key", .buf = (uintptr_t)to, .size = sizeof(to) };

	EXPECT(IOCTL(dev, CHANFD_IOC_CONTEXT, c), 0);
	EXPECT(IOCTL(context(c.fd[0], 0).r, CHANFD_IOC_VALUE, v), 0);
	EXPECT(strcmp(from, to), 0);
}

static void bindings(void)
{
	struct pair ctx = context(-1, 0);
	int event = host_eventfd(0);
	struct chanfd_bind bind = { .fd = event, .events = POLLIN, .cause = 5 };
	struct thread t;

	EXPECT(IOCTL(ctx.w, CHANFD_IOC_BIND, bind), 0);
	start_asleep(&t, wait_done, ctx.r);
	host_eventfd_set(event, 1);
	EXPECT(join(&t), 5);
	bind.fd = ctx.r;
	EXPECT(IOCTL(ctx.w, CHANFD_IOC_BIND, bind), -EOPNOTSUPP);
}

/* Signals, faults, limits */

static void signals(void)
{
	struct pair ch = channel(0, sizeof(uint32_t), 0);
	struct thread t;

	start_asleep(&t, recv_one, ch.r);
	host_signal(t.task);
	EXPECT(join(&t), -EINTR);
	host_signal(host_self());
	EXPECT(recv_one(ch.r), -EINTR);
	start_asleep(&t, send_seven, ch.w);
	EXPECT(recv_one(ch.r), 7);
	EXPECT(join(&t), sizeof(uint32_t));
	start_asleep(&t, wait_readable, ch.r);
	host_signal(t.task);
	EXPECT(join(&t), -EINTR);
	start_asleep(&t, recv_one, ch.r);
	host_kill(t.task);
	EXPECT(join(&t), -EINTR);
}

/* Whatever fails in a call, it is as if there had been none. */
static void faults(void)
{
	struct pair ch = channel(8, 400, 0);
	char from[400] = "from", to[400];
	struct chanfd_transfer t = {
		.context = -1,
		.size = sizeof(to),
		.count = 1,
	};
	unsigned int nth = 0;
	long ret;

	t.buf = (uintptr_t)from;
	do {
		host_fault(++nth, true);
		ret = IOCTL(ch.w, CHANFD_IOC_SEND, t);
		/* What was sent is sent, though the last copy fails. */
	} while (ret == -EFAULT);
	EXPECT(ret, 1);
	EXPECT(nth, 3);
	nth = 0;
	do {
		host_fail_alloc(++nth);
		ret = IOCTL(ch.w, CHANFD_IOC_SEND, t);
	} while (ret == -ENOMEM);
	EXPECT(ret, 1);
	EXPECT(nth, 2);
	t.buf = (uintptr_t)to;
	for (nth = 1; nth < 4; nth++) {
		host_fault(nth, true);
		EXPECT(IOCTL(ch.r, CHANFD_IOC_RECV, t), -EFAULT);
		EXPECT(host_failed(), true);
	}
	/* A page that is not there is fetched. */
	host_fault(3, false);
	EXPECT(IOCTL(ch.r, CHANFD_IOC_RECV, t), 1);
	EXPECT(host_failed(), true);
	EXPECT(strcmp(from, to), 0);
	EXPECT(host_read(ch.r, NULL, 400), -EFAULT);
	EXPECT(host_read(ch.r, to, 400), 400);
}

static void limits(void)
{
	struct chanfd_channel c = { .elem_size = 1, .capacity = 1000 };

	host_set_user(1000);
	host_set_param("max_bytes", 1500);
	EXPECT(IOCTL(dev, CHANFD_IOC_CHANNEL, c), 0);
	EXPECT(IOCTL(dev, CHANFD_IOC_CHANNEL, c), -EDQUOT);
	host_set_param("max_bytes", 1 << 28);
	EXPECT(IOCTL(dev, CHANFD_IOC_CHANNEL, c), 0);
	host_set_user(0);
}

static void handles(void)
{
	struct pair ch = channel(1, sizeof(uint32_t), 0);
	uint32_t flags = CHANFD_READ;
	char text[1000];
	int copy = host_dup(ch.r), reduced = IOCTL(ch.r, CHANFD_IOC_REDUCE, flags);

	host_close(ch.r);
	EXPECT(send_one(ch.w, 3), sizeof(uint32_t));
	EXPECT(recv_one(copy), 3);
	host_close(copy);
	EXPECT(host_fcntl_setfl(reduced, O_NONBLOCK), 0);
	EXPECT(recv_one(reduced), -EAGAIN);
	EXPECT(host_fdinfo(ch.w, text, sizeof(text)) > 0, true);
	EXPECT(!strstr(text, "chanfd-name:\tsmoke\n"), false);
	EXPECT(host_ioctl(host_eventfd(0), CHANFD_IOC_INFO, text), -ENOTTY);
}

static const struct test core_tests[] = {
	{ "a channel with a buffer", buffered },
	{ "messages in pieces", vectors },
	{ "messages of several sizes", variable },
	{ "senders and receivers meet", rendezvous },
	{ "a channel ends", ends },
	{ "pollers are woken", pollers },
	{ "selects meet", selects },
	{ "files of others", foreign },
	{ "waitgroups", waitgroups },
	{ "rounds of a waitgroup", rounds },
	{ "tokens", tokens },
	{ "contexts are cancelled", contexts },
	{ "contexts are left", families },
	{ "deadlines pass", deadlines },
	{ "deadlines do not pass", timers },
	{ "values", values },
	{ "bindings", bindings },
	{ "signals", signals },
	{ "faults", faults },
	{ "limits", limits },
	{ "handles", handles },
	{},
};

static const struct test *const parts[] = { core_tests, lock_tests, cell_tests, lease_tests };

int main(void)
{
	const struct test *t;
	size_t i, n = 0;

	host_perturb(10);
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		for (t = parts[i]; t->name; t++) {
			host_init();
			dev = host_open(O_RDWR);
			t->func();
			host_close_all();
			host_settle();
			EXPECT(host_allocations(), 0);
			host_exit();
			printf("ok %zu %s\n", ++n, t->name);
		}
	}
	printf("1..%zu\n", n);
	return 0;
}
