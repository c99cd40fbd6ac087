/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests share.
 *
 * Every behaviour is tested between threads and between processes. A test is
 * written once, for parties: functions that run as a thread or as a forked
 * child, and that the test can ask whether they are asleep in the kernel.
 * Parties live in shared memory, so what they report is there in both cases.
 *
 * A check belongs to the test, not to a party: parties report, tests judge.
 * When something around the test is broken (no memory, no fork) it ends at
 * once by err(3).
 */
#ifndef HELPERS_H
#define HELPERS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <chanfd.h>
#include <kselftest_harness.h>

/* Of the kernel that the tests are made for: a debug kernel's is up to 20. */
#ifndef SLOWNESS
#define SLOWNESS		1
#endif

/* An emulated machine is twenty times slower than a real one. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	(120 * SLOWNESS)

#define MSEC			1000000LL	/* in nanoseconds */
#define SEC			1000000000LL
#define BOUND			(20 * SEC * SLOWNESS)	/* for what must happen some time */
#define A_WHILE			(50 * MSEC)	/* for what must not happen */

/* The errno of a call, 0 if it succeeded: EXPECT_EQ(EPIPE, errno_of(call)). */
#define errno_of(call) ({ errno = 0; (call) < 0 ? errno : 0; })

/* A value that no successful call leaves behind. */
#define poison(ptr) memset((ptr), 0xa5, sizeof(*(ptr)))
#define POISON32 0xa5a5a5a5U
#define POISON64 0xa5a5a5a5a5a5a5a5ULL

static inline uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SEC + ts.tv_nsec;
}

static inline void pause_for(int64_t ns)
{
	struct timespec ts = { ns / SEC, ns % SEC };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

/* Does @condition come true within the bound? */
#define eventually(condition) ({					\
	uint64_t give_up_ = now() + BOUND;				\
	bool true_;							\
									\
	while (!(true_ = (condition)) && now() < give_up_)		\
		pause_for(MSEC);					\
	true_;								\
})

/* Memory that parties see too, all zero. It lasts as long as the test. */
static inline void *shared(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		err(1, "mmap");
	return mem;
}

/* A structure of any call, with room for more than any kernel knows. */
union argument {
	struct chanfd_channel channel;
	struct chanfd_waitgroup waitgroup;
	struct chanfd_context context;
	struct chanfd_transfer transfer;
	struct chanfd_close close;
	struct chanfd_add add;
	struct chanfd_done done;
	struct chanfd_cancel cancel;
	struct chanfd_bind bind;
	struct chanfd_value value;
	struct chanfd_select select;
	struct chanfd_info info;
	struct chanfd_channel_info channel_info;
	struct chanfd_waitgroup_info waitgroup_info;
	struct chanfd_context_info context_info;
	struct chanfd_cell cell;
	struct chanfd_load load;
	struct chanfd_store store;
	struct chanfd_cell_info cell_info;
	struct chanfd_lock lock;
	struct chanfd_condition condition;
	struct chanfd_acquire acquire;
	struct chanfd_lock_info lock_info;
	struct chanfd_condition_info condition_info;
	uint32_t number;
	uint8_t bytes[1024];
};

/* An address that faults. */
static inline void *bad_pointer(void)
{
	void *mem = mmap(NULL, getpagesize(), PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		err(1, "mmap");
	return mem;
}

/* The text of a small file, NUL-terminated; false if it can't be read. */
static inline bool read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, text, size - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n >= 0;
}

/* How many handles exist on this machine: each holds the module. */
static inline long handles_open(void)
{
	char text[32];

	if (!read_text("/sys/module/chanfd/refcnt", text, sizeof(text)))
		err(1, "/sys/module/chanfd/refcnt");
	return atol(text);
}

static inline int entries(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	if (!dir)
		err(1, "%s", path);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Of this process; to compare, as the count has some that are not. */
static inline int open_fds(void)
{
	return entries("/proc/self/fd");
}

static inline int threads(void)
{
	return entries("/proc/self/task") - 2;
}

/**
 * struct party - somebody else, at work
 * @process:	a forked child, not a thread
 * @run:	what it does; returns like a library function
 * @arg:	for @run, from shared()
 * @fd:		for @run, as are @opt and @value
 * @opt:	how to wait
 * @value:	of the message that is sent, or that was received
 * @seq:	number of that message
 * @tid:	the kernel's name for it, once it runs
 * @result:	what @run returned
 * @error:	and errno then; EOWNERDEAD for a process that was killed
 */
struct party {
	bool process;
	long (*run)(struct party *me);
	void *arg;
	int fd;
	struct chanfd_opt opt;
	uint64_t value;
	uint64_t seq;

	atomic_int tid;
	atomic_bool ended;
	long result;
	int error;

	pthread_t thread;
	bool joined;
};

static inline void *party_main(void *arg)
{
	struct party *me = arg;

	me->tid = gettid();
	errno = 0;
	me->result = me->run(me);
	me->error = errno;
	me->ended = true;
	return NULL;
}

/* Make a party, to be filled in and handed to party_start(). */
static inline struct party *party_new(bool process, long (*run)(struct party *me),
				      int fd)
{
	struct party *p = shared(sizeof(*p));

	p->process = process;
	p->run = run;
	p->fd = fd;
	p->opt.context = -1;
	return p;
}

static inline struct party *party_start(struct party *p)
{
	pid_t parent = getpid();
	pthread_attr_t attr;
	pid_t pid;

	if (!p->process) {
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, 256 * 1024);
		errno = pthread_create(&p->thread, &attr, party_main, p);
		if (errno)
			err(1, "pthread_create");
		pthread_attr_destroy(&attr);
		return p;
	}
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		/* A test that fails must not leave anybody blocked behind. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			party_main(p);
		_exit(0);
	}
	p->tid = pid;
	return p;
}

/* In a party: a process closes what it only inherited, a thread shares it. */
static inline void drop(struct party *me, int fd)
{
	if (me->process)
		close(fd);
}

/* In the test: hand @fd over to a party that is a process and has it too. */
static inline void give(struct party *p, int fd)
{
	if (p->process)
		close(fd);
}

/* Is it over? Collects the thread or the child if so. */
static inline bool party_ended(struct party *p)
{
	int status;

	if (p->joined)
		return true;
	if (!p->process) {
		if (!p->ended)
			return false;
		pthread_join(p->thread, NULL);
	} else {
		if (waitpid(p->tid, &status, WNOHANG) != p->tid)
			return false;
		if (!p->ended) {
			p->result = -1;
			p->error = EOWNERDEAD;
		}
	}
	p->joined = true;
	return true;
}

/* Wait for its end; returns and sets errno as it did, or fails with ETIME. */
static inline long party_join(struct party *p)
{
	if (!eventually(party_ended(p))) {
		errno = ETIME;
		return -1;
	}
	errno = p->error;
	return p->result;
}

/* Asleep in a system call, of which futex(2) is none that a test waits for? */
static inline bool party_asleep(struct party *p)
{
	char path[64], text[512];
	char *state;

	if (!p->tid)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", p->process ?
		 p->tid : getpid(), p->tid);
	if (!read_text(path, text, sizeof(text)))
		return false;
	state = strrchr(text, ')');
	if (!state || state[1] != ' ' || state[2] != 'S')
		return false;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", p->process ?
		 p->tid : getpid(), p->tid);
	if (!read_text(path, text, sizeof(text)))
		return false;
	return text[0] >= '0' && text[0] <= '9' && atol(text) != SYS_futex;
}

/* Does it come to sleep in the kernel? */
static inline bool blocked(struct party *p)
{
	return eventually(party_asleep(p) || p->ended) && !p->ended;
}

/* Does it come to sleep there, and sleep on for a while? */
static inline bool stays_blocked(struct party *p)
{
	if (!blocked(p))
		return false;
	pause_for(A_WHILE);
	return party_asleep(p) && !p->ended;
}

static inline void party_signal(struct party *p, int sig)
{
	syscall(SYS_tgkill, p->process ? p->tid : getpid(), p->tid, sig);
}

static inline void on_signal(int sig)
{
	(void)sig;
}

/* Have @sig interrupt, or with SA_RESTART only disturb, also in new parties. */
static inline void catch_signal(int sig, int flags)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = flags };

	if (sigaction(sig, &sa, NULL))
		err(1, "sigaction");
}

/* Only for processes. When this returns, the kernel has closed its files. */
static inline void party_kill(struct party *p)
{
	if (!party_ended(p))	/* once collected, its pid may be somebody else's */
		kill(p->tid, SIGKILL);
	party_join(p);
}

/* Hand a descriptor over, as processes do that are not related. */

static inline void pass(int socket, int fd)
{
	if (chanfd_hand(socket, &fd, 1, NULL))
		err(1, "chanfd_hand");
}

static inline int taken(int socket)
{
	int fd;

	return chanfd_take(socket, &fd, 1, NULL) == 1 ? fd : -1;
}

/* Parties that do one operation with a message that is a number. */

static inline long run_send(struct party *me)
{
	return chanfd_send(me->fd, &me->value, sizeof(me->value), &me->opt);
}

static inline long run_recv(struct party *me)
{
	struct chanfd_received r;
	long n;

	poison(&me->value);
	n = chanfd_recv(me->fd, &me->value, sizeof(me->value), &me->opt, &r);
	me->seq = n == 1 ? r.seq : 0;
	return n;
}

static inline struct party *party_send(bool process, int ch, uint64_t value)
{
	struct party *p = party_new(process, run_send, ch);

	p->value = value;
	return party_start(p);
}

static inline struct party *party_recv(bool process, int ch)
{
	return party_start(party_new(process, run_recv, ch));
}

static inline struct chanfd_channel_info info_of(int ch)
{
	struct chanfd_channel_info info;

	poison(&info);
	if (ioctl(ch, CHANFD_IOC_CHANNEL_INFO, &info))
		err(1, "CHANFD_IOC_CHANNEL_INFO");
	return info;
}

/* Do so many come to wait? They are queued then, not only about to be. */
static inline bool senders_wait(int ch, unsigned int n)
{
	return eventually(info_of(ch).waiting_senders == n);
}

static inline bool receivers_wait(int ch, unsigned int n)
{
	return eventually(info_of(ch).waiting_receivers == n);
}

#endif /* HELPERS_H */
