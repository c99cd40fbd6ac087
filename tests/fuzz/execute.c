// SPDX-License-Identifier: GPL-2.0
/*
 * Running programs: two threads take the steps, a third watches them. No call waits for
 * long: who is in one for too long gets a signal.
 *
 * After each program everything must be as before: no descriptor is open that was not
 * there, the user has no object but one of ours, and the kernel has not complained.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../uapi/chanfd.h"
#include "execute.h"

/* See Documentation/dev-tools/kcov.rst of the kernel. */
#define KCOV_INIT_TRACE	_IOR('c', 1, unsigned long)
#define KCOV_ENABLE	_IO('c', 100)
#define KCOV_TRACE_PC	0
#define KCOV_WORDS	(128 << 10)

/* All memory that programs know of. Between its parts nothing is mapped. */
#define MEMORY		0x200000000ULL
#define MEMORY_SIZE	0x8000000
#define THREAD_ARG(n)	(MEMORY + (n) * 0x1000000ULL)
#define THREAD_ELEMENTS(n) (THREAD_ARG(n) + 0x100000)
#define THREAD_LOOSE(n)	(THREAD_ARG(n) + 0x800000)
#define PARCEL_AT	(MEMORY + 0x3000000)
#define PARCEL_FDS_AT	(PARCEL_AT + 1024)
#define DATA_AT		(MEMORY + 0x4000000)
#define COLD_AT		(MEMORY + 0x5000000)
#define READ_ONLY_AT	(MEMORY + 0x6000000)
#define UNMAPPED_AT	(MEMORY + 0x7000000)
#define KERNEL_ADDRESS	0xffff888000001000ULL
#define ARG_BYTES	4096
#define ELEMENTS_BYTES	(256 << 10)
#define PARCEL_BYTES	4096
#define DATA_BYTES	(512 << 10)

/* Programs' descriptors are between these; with so few, one fd_set has them all. */
#define FIRST_FD	40
#define LOCK_FD(thread)	(FIRST_FD - 1 - (thread))
#define LAST_FD		80

#define TICK		5000000		/* of the watchdog, in nanoseconds */
#define MAX_CHILDREN	4
#define ACCOUNT_TIME	20		/* seconds until everything must be given back */
#define NOBODY		65534

/**
 * struct thread
 * @number:	0 or 1
 * @tid:	of the kernel's
 * @trace:	KCOV's: how many, and the program counters
 * @fail_nth:	/proc/thread-self/fail-nth, or -1
 * @calls:	begun and ended: odd while in one
 * @arg:	its memory for the argument: what the other thread may overwrite, unless
 *		the call makes descriptors, which must be found again
 * @taken:	steps
 * @finished:	all of them
 * @start:	for the second thread: there is a program
 * @end:	and that it was run
 */
static struct thread {
	int number;
	pid_t tid;
	uint64_t *trace;
	int fail_nth;
	atomic_uint calls;
	uint64_t arg;
	atomic_int taken;
	atomic_bool finished;
	sem_t start, end;
} threads[NR_THREADS];

static _Thread_local struct thread *self;

static const struct program *program;
static atomic_int handles[NR_HANDLES];
static atomic_bool is_open[LAST_FD];
static atomic_int children[MAX_CHILDREN];
static atomic_int nr_children;
static bool in_child;
static atomic_bool passed, received;
static int device, probe, account, messages, mail[2];

/* Descriptors */

static void opened(int fd, int place)
{
	if (fd >= 0 && fd < LAST_FD)
		atomic_store(&is_open[fd], true);
	atomic_store(&handles[place], fd);
}

long close_descriptor(int fd)
{
	if (fd < FIRST_FD || fd >= LAST_FD)
		return -1;
	/* First, since another thread may get the number at once. */
	atomic_store(&is_open[fd], false);
	return close(fd);
}

int open_proc(const char *dir, int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/%s/%d", dir, fd);
	return open(path, flags | O_CLOEXEC);
}

static int take_mail(void)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg;
	int fd;

	if (recvmsg(mail[1], &msg, MSG_DONTWAIT) <= 0)
		return -1;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg)
		return -1;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

long pass_descriptor(int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	atomic_store(&passed, true);
	if (sendmsg(mail[0], &msg, MSG_DONTWAIT) < 0)
		return -1;
	return take_mail();
}

/* The rest of the thread's steps is taken by a child, too. */
long fork_child(void)
{
	int nr = atomic_load(&nr_children);
	pid_t pid;

	if (in_child || nr == MAX_CHILDREN ||
	    !atomic_compare_exchange_strong(&nr_children, &nr, nr + 1))
		return -1;
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		in_child = true;
	} else {
		atomic_store(&children[nr], pid);
	}
	return pid;
}

/* Its frame on the stack must not be what the kernel lets fail. */
static long signal_thread(const struct thread *t, int number)
{
	if (t->fail_nth >= 0 && pwrite(t->fail_nth, "0", 1, 0) < 0)
		return -1;
	return syscall(SYS_tgkill, getpid(), t->tid, number);
}

long signal_other(void)
{
	return in_child ? raise(SIGUSR2) : signal_thread(&threads[!self->number], SIGUSR2);
}

long evict_cold(void)
{
	return madvise((void *)COLD_AT, DATA_BYTES, MADV_DONTNEED);
}

/* The other thread's argument and elements, which it may be in the middle of using. */
long overwrite_other(int offset, uint64_t value)
{
	uint64_t at = (unsigned int)offset % (ARG_SIZE / 4) * 4;

	memcpy((void *)(THREAD_LOOSE(!self->number) + at), &value, sizeof(value));
	memcpy((void *)(THREAD_ELEMENTS(!self->number) + at), &value, sizeof(value));
	return 0;
}

/* One set of them for both threads, so that they come to be used. */
long write_descriptors(const int *fds, int nr)
{
	memcpy((void *)PARCEL_FDS_AT, fds, (size_t)nr * sizeof(*fds));
	return 0;
}

long write_parcel(const struct chanfd_parcel *parcel)
{
	memcpy((void *)PARCEL_AT, parcel, sizeof(*parcel));
	return 0;
}

/* Values */

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t resolve(const struct value *v)
{
	switch (v->base) {
	case HANDLE_AT:
		return (uint64_t)atomic_load(&handles[v->number % NR_HANDLES]);
	case DEVICE_FD:
		return (uint64_t)device + v->number;
	case NOW:
		return now() + v->number;
	case ARG:
		return self->arg + v->number;
	case ARG_END:
		return self->arg + ARG_BYTES + v->number;
	case ELEMENTS_AT:
		return THREAD_ELEMENTS(self->number) + v->number;
	case PARCEL:
		return PARCEL_AT + v->number;
	case PARCEL_FDS:
		return PARCEL_FDS_AT + v->number;
	case DATA:
		return DATA_AT + v->number;
	case DATA_END:
		return DATA_AT + DATA_BYTES + v->number;
	case COLD:
		return COLD_AT + v->number;
	case READ_ONLY:
		return READ_ONLY_AT + v->number;
	case UNMAPPED:
		return UNMAPPED_AT + v->number;
	case KERNEL:
		return KERNEL_ADDRESS + v->number;
	case PLAIN:
	case TEXT:
	case GAP:
	case NR_BASES:
		break;
	}
	return v->number;
}

static void encode(uint8_t *to, const struct field *f, const struct value *v)
{
	uint64_t number;
	size_t len;

	memset(to, 0, f->size);
	if (v->base == TEXT || v->base == GAP) {
		len = v->number & 255;
		memset(to, (int)(v->number >> 8), len < f->size ? len : f->size);
		if (v->base == GAP)
			to[f->size - 1] = 'z';
		return;
	}
	number = resolve(v);
	memcpy(to, &number, f->size < sizeof(number) ? f->size : sizeof(number));
}

/* As many as the call says there are, the same again and again. */
static void encode_elements(const struct step *s)
{
	const struct call *call = &calls[s->call];
	uint8_t *at = (uint8_t *)THREAD_ELEMENTS(self->number);
	size_t nr = (size_t)s->nr_elements, size = nr * call->stride, count = nr;
	size_t i, j;

	for (i = 0; call->fields[i].name; i++)
		if (call->fields[i].kind == COUNT)
			count = s->fields[i].number;
	if (count > ELEMENTS_BYTES / call->stride)
		count = ELEMENTS_BYTES / call->stride;
	memset(at, 0, size);
	for (i = 0; i < nr; i++)
		for (j = 0; call->parts[j].name; j++)
			encode(at + i * call->stride + call->parts[j].offset,
			       &call->parts[j], &s->elements[i][j]);
	for (i = size; nr && i + call->stride <= count * call->stride; i += call->stride)
		memcpy(at + i, at + i - size, call->stride);
}

/* Writes the argument where it is to be, as much of it as there is memory. */
static uint64_t encode_argument(const struct step *s)
{
	const struct call *call = &calls[s->call];
	uint64_t begin = self->arg, end = begin + ARG_BYTES;
	uint64_t arg = resolve(&s->arg);
	uint8_t copy[2 * ARG_SIZE] = { 0 };
	size_t size = s->ioctl_size < sizeof(copy) ? s->ioctl_size : sizeof(copy);
	size_t known = ioctl_size(call), i;

	for (i = 0; call->fields[i].name; i++)
		encode(copy + call->fields[i].offset, &call->fields[i], &s->fields[i]);
	if (size > known)
		memset(copy + known, s->tail, size - known);
	else
		size = known;
	if (arg >= begin && arg < end)
		memcpy((void *)arg, copy, size < end - arg ? size : end - arg);
	return arg;
}

/* Steps */

static void set_fail_nth(int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", n);

	/* To write it may itself be what fails, then it counted. */
	while (pwrite(self->fail_nth, text, (size_t)len, 0) < 0 && errno == EFAULT)
		;
}

static long call_ioctl(const struct step *s, int fd, uint64_t arg)
{
	unsigned int number = calls[s->call].ioctl;

	number &= ~((unsigned int)_IOC_SIZEMASK << _IOC_SIZESHIFT);
	number |= (s->ioctl_size & _IOC_SIZEMASK) << _IOC_SIZESHIFT;
	return ioctl(fd, number, arg);
}

/*
 * A wait for a condition does not end until it has its lock again, which the other thread
 * may never give back: the watchdog does that, by a descriptor of its own.
 */
static void keep_lock(const struct step *s, uint64_t arg)
{
	const struct chanfd_condition_wait *wait = (void *)arg;

	if (calls[s->call].ioctl == CHANFD_IOC_CONDITION_WAIT && !in_child &&
	    arg >= self->arg && arg + sizeof(*wait) <= self->arg + ARG_BYTES &&
	    wait->lock >= FIRST_FD)
		dup2(wait->lock, LOCK_FD(self->number));
}

static void forget_lock(const struct step *s)
{
	if (calls[s->call].ioctl == CHANFD_IOC_CONDITION_WAIT && !in_child)
		dup2(device, LOCK_FD(self->number));
}

static void unlock(int thread)
{
	uint32_t flags = 0;

	ioctl(LOCK_FD(thread), CHANFD_IOC_UNLOCK, &flags);
	flags = CHANFD_SHARED;
	ioctl(LOCK_FD(thread), CHANFD_IOC_UNLOCK, &flags);
}

/* May the call have received descriptors that only a message told of? */
static bool may_receive(const struct step *s)
{
	const struct call *call = &calls[s->call];
	int i;

	for (i = 0; call->fields[i].name; i++)
		if (call->ioctl == CHANFD_IOC_RECV && call->fields[i].kind == FDS)
			return s->fields[i].number || s->fields[i].base;
	for (i = 0; call->ioctl == CHANFD_IOC_SELECT && i < s->nr_elements; i++)
		if (s->elements[i][2].number & CHANFD_CASE_PARCEL)
			return true;
	return false;
}

static void take_step(const struct step *s)
{
	const struct call *call = &calls[s->call];
	int fd = call->types ? (int)resolve(&s->on) : -1;
	/* Others' failures could leave descriptors behind that nobody knows. */
	bool fail = s->fail && self->fail_nth >= 0 && !in_child && (call->ioctl || !call->makes);
	uint64_t arg;
	long ret;
	int i;

	/* Those that this process needs are not for programs. */
	if (fd < FIRST_FD && fd != device)
		fd = -1;
	self->arg = call->ioctl && !call->makes && !call->steady ?
		THREAD_LOOSE(self->number) : THREAD_ARG(self->number);
	if (call->parts)
		encode_elements(s);
	if (call->ioctl) {
		arg = encode_argument(s);
	} else {
		arg = self->arg;
		for (i = 0; call->fields[i].name; i++)
			((uint64_t *)arg)[i] = resolve(&s->fields[i]);
	}
	keep_lock(s, arg);
	if (fail)
		set_fail_nth(s->fail);
	atomic_fetch_add(&self->calls, 1);
	ret = call->ioctl ? call_ioctl(s, fd, arg) : call->run(fd, (uint64_t *)arg);
	atomic_fetch_add(&self->calls, 1);
	if (fail)
		set_fail_nth(0);
	forget_lock(s);
	if (ret >= 0 && may_receive(s))
		atomic_store(&received, true);
	if (ret < 0 || !call->makes)
		return;
	if (call->pair) {
		const int *pair = (const int *)(arg + call->made_at);

		opened(pair[0], s->out[0]);
		if (pair[1] >= 0)
			opened(pair[1], s->out[1]);
	} else if (call->made_at) {
		opened(*(const int *)(arg + call->made_at), s->out[0]);
	} else {
		opened((int)ret, s->out[0]);
	}
}

/* In programs that collide, both threads take the n-th of their steps together. */
static void meet_other(void)
{
	struct thread *other = &threads[!self->number];
	int taken = atomic_fetch_add(&self->taken, 1);

	while (!in_child && !atomic_load(&other->finished) &&
	       atomic_load(&other->taken) <= taken)
		sched_yield();
}

static void take_steps(void)
{
	int i;

	for (i = 0; i < program->nr; i++) {
		if (program->steps[i].thread != self->number)
			continue;
		if (program->collide)
			meet_other();
		take_step(&program->steps[i]);
	}
	if (in_child)
		_exit(0);
	atomic_store(&self->finished, true);
}

/* Threads */

static void trace_calls(void)
{
	int fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	if (ioctl(fd, KCOV_INIT_TRACE, KCOV_WORDS))
		err(2, "KCOV_INIT_TRACE");
	self->trace = mmap(NULL, KCOV_WORDS * sizeof(uint64_t), PROT_READ | PROT_WRITE,
			   MAP_SHARED, fd, 0);
	if (self->trace == MAP_FAILED || ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC))
		err(2, "KCOV_ENABLE");
}

static void thread_start(int number)
{
	self = &threads[number];
	self->number = number;
	self->tid = (pid_t)syscall(SYS_gettid);
	self->fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	trace_calls();
}

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem))
		;
}

static void *second_thread(void *arg)
{
	thread_start(1);
	sem_post(&self->end);
	for (;;) {
		wait_for(&self->start);
		take_steps();
		sem_post(&self->end);
	}
	return arg;
}

static void *watchdog(void *arg)
{
	const struct timespec tick = { .tv_nsec = TICK };
	unsigned int seen[NR_THREADS][2] = { 0 };
	int i;

	for (;;) {
		nanosleep(&tick, NULL);
		for (i = 0; i < NR_THREADS; i++) {
			unsigned int n = atomic_load(&threads[i].calls);

			if (n & 1 && n == seen[i][0] && n == seen[i][1]) {
				signal_thread(&threads[i], SIGUSR1);
				unlock(i);
			}
			seen[i][1] = seen[i][0];
			seen[i][0] = n;
		}
	}
	return arg;
}

/* Setting up */

static void ignore(int number)
{
	(void)number;
}

static void set_up_memory(void)
{
	const struct {
		uint64_t at;
		size_t size;
		int protection;
	} parts[] = {
		{ THREAD_ARG(0), ARG_BYTES, PROT_READ | PROT_WRITE },
		{ THREAD_ELEMENTS(0), ELEMENTS_BYTES, PROT_READ | PROT_WRITE },
		{ THREAD_LOOSE(0), ARG_BYTES, PROT_READ | PROT_WRITE },
		{ THREAD_ARG(1), ARG_BYTES, PROT_READ | PROT_WRITE },
		{ THREAD_ELEMENTS(1), ELEMENTS_BYTES, PROT_READ | PROT_WRITE },
		{ THREAD_LOOSE(1), ARG_BYTES, PROT_READ | PROT_WRITE },
		{ PARCEL_AT, PARCEL_BYTES, PROT_READ | PROT_WRITE },
		{ DATA_AT, DATA_BYTES, PROT_READ | PROT_WRITE },
		{ COLD_AT, DATA_BYTES, PROT_READ | PROT_WRITE },
		{ READ_ONLY_AT, DATA_BYTES, PROT_READ },
	};
	size_t i;

	if (mmap((void *)MEMORY, MEMORY_SIZE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) ==
	    MAP_FAILED)
		err(2, "memory");
	for (i = 0; i < ARRAY_SIZE(parts); i++)
		if (mprotect((void *)parts[i].at, parts[i].size, parts[i].protection))
			err(2, "memory");
	memset((void *)DATA_AT, 'd', DATA_BYTES);
}

static void set_up_signals(void)
{
	struct sigaction ends = { .sa_handler = ignore };
	struct sigaction restarts = { .sa_handler = ignore, .sa_flags = SA_RESTART };

	sigaction(SIGUSR1, &ends, NULL);
	sigaction(SIGUSR2, &restarts, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGIO, SIG_IGN);
}

static void move_up_descriptors(void)
{
	const struct rlimit limit = { LAST_FD, LAST_FD };
	int fd;

	/* What is below FIRST_FD is ours, so that theirs begin there. */
	do
		fd = dup(device);
	while (fd >= 0 && fd < FIRST_FD - 1);
	if (fd < 0 || setrlimit(RLIMIT_NOFILE, &limit))
		err(2, "descriptors");
}

/**
 * executor_start() - set this process up to run programs, for good
 */
void executor_start(void)
{
	struct chanfd_channel channel = { 0 };
	pthread_t thread;

	set_up_memory();
	set_up_signals();
	device = open("/dev/chanfd", O_RDWR | O_CLOEXEC);
	if (device < 0)
		err(2, "/dev/chanfd");
	messages = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (messages < 0 || lseek(messages, 0, SEEK_END) < 0)
		err(2, "/dev/kmsg");
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, mail))
		err(2, "socketpair");
	thread_start(0);
	sem_init(&threads[1].start, 0, 0);
	sem_init(&threads[1].end, 0, 0);
	if (pthread_create(&thread, NULL, second_thread, NULL))
		errx(2, "no thread");
	wait_for(&threads[1].end);
	if (pthread_create(&thread, NULL, watchdog, NULL))
		errx(2, "no thread");

	/* Without privileges, so that limits count. */
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY) || prctl(PR_SET_DUMPABLE, 1))
		err(2, "privileges");
	if (ioctl(device, CHANFD_IOC_CHANNEL, &channel))
		err(2, "CHANFD_IOC_CHANNEL");
	probe = channel.fd[0];
	account = open_proc("fdinfo", probe, O_RDONLY);
	if (account < 0)
		err(2, "fdinfo");
	move_up_descriptors();
}

/* What was executed inside of the module: how many, then their program counters. */
const uint64_t *executor_trace(int thread)
{
	return threads[thread].trace;
}

/* Checks */

static void end_children(void)
{
	const struct timespec tick = { .tv_nsec = TICK };
	int nr = atomic_load(&nr_children), i;

	/* They may come to their ends, or be killed in the middle of something. */
	if (nr)
		nanosleep(&tick, NULL);
	for (i = 0; i < nr; i++) {
		pid_t pid = atomic_load(&children[i]);

		if (pid > 0) {
			kill(pid, SIGKILL);
			while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
				;
		}
	}
	atomic_store(&nr_children, 0);
}

static void close_all(void)
{
	int fd;

	for (fd = FIRST_FD; fd < LAST_FD; fd++)
		if (atomic_load(&is_open[fd]))
			close_descriptor(fd);
	while (atomic_load(&passed) && (fd = take_mail()) >= 0)
		close(fd);
	atomic_store(&passed, false);
	if (atomic_exchange(&received, false))
		close_range(FIRST_FD, LAST_FD - 1, 0);
}

static const char *descriptors_left(void)
{
	struct pollfd fds[LAST_FD - FIRST_FD];
	static char text[80];
	int i;

	for (i = 0; i < LAST_FD - FIRST_FD; i++)
		fds[i] = (struct pollfd){ .fd = FIRST_FD + i };
	if (poll(fds, LAST_FD - FIRST_FD, 0) < 0)
		return NULL;	/* a late signal: the next program's check sees it */
	for (i = 0; i < LAST_FD - FIRST_FD && fds[i].revents & POLLNVAL; i++)
		;
	if (i == LAST_FD - FIRST_FD)
		return NULL;
	snprintf(text, sizeof(text), "a descriptor was left open that no call returned: %d",
		 FIRST_FD + i);
	return text;
}

/* What the user has besides @probe. What workers are to free may take a while. */
static const char *objects_left(void)
{
	const struct timespec tick = { .tv_nsec = TICK };
	unsigned long objects = 0, bytes = 0;
	static char text[1024];
	uint64_t end = 0;

	for (;;) {
		ssize_t len = pread(account, text, sizeof(text) - 1, 0);
		const char *at;

		text[len > 0 ? len : 0] = 0;
		at = strstr(text, "chanfd-user-objects:");
		if (!at || sscanf(at, "chanfd-user-objects: %lu of %*u chanfd-user-bytes: %lu",
				  &objects, &bytes) != 2)
			return "fdinfo does not say what the user has";
		if (objects == 1 && !bytes)
			return NULL;
		if (!end)
			end = now() + ACCOUNT_TIME * 1000000000ULL;
		else if (now() > end)
			break;
		nanosleep(&tick, NULL);
	}
	snprintf(text, sizeof(text), "left behind: objects %lu, bytes %lu", objects - 1, bytes);
	return text;
}

static const char *complaints(void)
{
	static const char *const signs[] = {
		"BUG:", "WARNING:", "UBSAN:", "KASAN:", "INFO:", "Oops", "refcount_t:", "ODEBUG:",
		"possible recursive", "possible circular", "suspicious RCU",
		"sleeping function", "blocked for more than", "bad unlock balance",
	};
	static char text[1024];
	ssize_t len;
	size_t i;

	while ((len = read(messages, text, sizeof(text) - 1)) > 0) {
		text[len] = 0;
		text[strcspn(text, "\n")] = 0;
		for (i = 0; i < ARRAY_SIZE(signs); i++)
			if (strstr(text, signs[i]))
				return text;
	}
	return NULL;
}

/**
 * execute() - run a program
 * @p: the program
 *
 * Return: NULL, or what is wrong.
 */
const char *execute(const struct program *p)
{
	const char *wrong;
	bool two = false;
	int i;

	program = p;
	for (i = 0; i < p->nr; i++)
		two |= p->steps[i].thread == 1;
	for (i = 0; i < NR_HANDLES; i++)
		atomic_store(&handles[i], -1);
	for (i = 0; i < NR_THREADS; i++) {
		atomic_store(&threads[i].taken, 0);
		atomic_store(&threads[i].finished, i && !two);
		if (threads[i].trace)
			__atomic_store_n(&threads[i].trace[0], 0, __ATOMIC_RELAXED);
	}
	if (two)
		sem_post(&threads[1].start);
	take_steps();
	if (two)
		wait_for(&threads[1].end);
	end_children();
	close_all();
	wrong = complaints();
	if (!wrong)
		wrong = descriptors_left();
	return wrong ? wrong : objects_left();
}
