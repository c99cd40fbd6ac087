// SPDX-License-Identifier: GPL-2.0
/*
 * Faults: every allocation and every copy to or from the user that a call makes fails
 * once, one after the other, by the kernel's fault injection (fail-nth). Each time
 *
 *  - the call fails with ENOMEM or EFAULT, everything is as it was, and the same call,
 *    made again, does what it should; or
 *  - it has a way around the fault, and does what it should at once.
 *
 * What was allocated and is not freed is for kmemleak to find.
 *
 * Every trial has a channel whose messages are numbered from 0 in the order in which they
 * are sent: so they must arrive, all of them, whatever failed in between.
 */
#include "helpers.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/uio.h>

/* More points than any call here has, and messages than any trial. */
#define MANY		400

/* To meet all points, where something else has some, too. */
#define TRIES		5

enum { BATCH = 3, CASES = 34, LARGEST = CHANFD_MAX_MESSAGE };

/* A descriptor above all that a call makes: it gets the lowest, and so one lost is seen. */
enum { OUT_OF_THE_WAY = 200 };

/* Who waits at the channel while the call is made. */
enum waiting { NOBODY, SENDER, RECEIVER };

/**
 * struct trial - a call to make, and where
 * @call:	makes it; how many messages were moved, or -1
 * @wake:	the call sleeps until this is done
 * @works:	it has done what it should, apart from messages; @sure: all that it says
 *		is so, otherwise the fault may have been in what it wrote last. May be NULL
 * @error:	that it is to fail with if there is no fault
 * @least:	points that fail it: copies and allocations that it can't do without
 * @large:	it allocates more than a page at once, and does without
 * @page:	it allocates a page that it can't do without
 * @elem:	of the channel; if 0, 8
 * @flags:	likewise
 * @cap:	likewise
 * @holds:	messages that are in it
 * @waiting:	at it
 * @sends:	messages that the call sends
 * @receives:	or that it receives
 * @fds:	file descriptors that each message has; the channel is made for them
 * @leases:	what it receives it leases
 * @locked:	somebody has locked the lock
 * @stored:	the cell has a value
 */
struct trial {
	long (*call)(void);
	void (*wake)(void);
	bool (*works)(bool sure);
	int error;
	unsigned int least;
	bool large;
	bool page;
	unsigned int elem;
	unsigned int flags;
	unsigned int cap;
	unsigned int holds;
	enum waiting waiting;
	unsigned int sends;
	unsigned int receives;
	unsigned int fds;
	bool leases;
	bool locked;
	bool stored;
};

/* Where the call is made. Handles are -1 where there are none. */
static struct world {
	const struct trial *trial;
	int device;
	int ch;
	int idle;		/* a channel that nothing happens at */
	int wg;
	int token;
	int ctx;
	int lock;
	int cond;
	int cell;
	void *page;		/* that the call has mapped */
	int pipe[2];
	int epoll;
	int made[2];		/* by the call */
	struct party *party;	/* that waits */
	unsigned int sent;
	unsigned int received;
} w;

/* What a call works with. Not on the stack: pages that are not there yet are faulted in. */
static struct memory {
	unsigned char in[BATCH * LARGEST];
	unsigned char out[BATCH * LARGEST];
	uint32_t sizes[BATCH];
	struct chanfd_case cases[CASES];
	struct chanfd_value value;
	struct chanfd_select select;
	struct epoll_event event;
	struct pollfd poll;
	struct chanfd_lock lock;
	struct chanfd_acquire acquire;
	struct chanfd_lock_info lock_info;
	struct chanfd_condition condition;
	struct chanfd_condition_wait condition_wait;
	struct chanfd_condition_info condition_info;
	struct chanfd_parcel parcel;
	int fds[CHANFD_MAX_FDS];
	union argument arg;
} m;

/* Fault injection. */

static void configure(const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		err(1, "%s", path);
	close(fd);
}

static bool has_fail_nth(void)
{
	return access("/proc/thread-self/fail-nth", W_OK) == 0;
}

/*
 * Copies fail, and allocations of objects; or in their place, of pages. Not both: which
 * object needs a new page is another every time, and points are told apart by their number.
 */
static void fail_pages(bool pages)
{
	configure("fail_usercopy/verbose", "0");
	configure("failslab/verbose", "0");
	configure("failslab/ignore-gfp-wait", "N");
	configure("failslab/cache-filter", pages ? "Y" : "N");
	configure("fail_page_alloc/verbose", "0");
	configure("fail_page_alloc/ignore-gfp-wait", "N");
	configure("fail_page_alloc/ignore-gfp-highmem", "N");
	configure("fail_page_alloc/min-order", pages ? "0" : "100");
}

/**
 * struct outcome - of a call
 * @moved:	what it returned
 * @error:	and errno, if that is negative
 * @met:	it came to the point that was to fail
 */
struct outcome {
	long moved;
	int error;
	bool met;
};

/* Makes the trial's call with its @nth point failing, from 1; 0: none. */
static struct outcome call_faulty(unsigned int nth)
{
	int low = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	int file = fcntl(low, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
	struct outcome out;
	char left[16] = "";

	close(low);
	if (file < 0 || dprintf(file, "%u", nth) < 0)
		err(1, "fail-nth");
	out.moved = w.trial->call();
	out.error = errno;
	/* Where one point is left over, this is it, and fails. */
	out.met = nth && pread(file, left, sizeof(left) - 1, 0) > 0 && atoi(left) == 0;
	/* That it fails is as good. */
	if (pwrite(file, "0", 1, 0) < 0 && errno != EFAULT)
		err(1, "fail-nth");
	close(file);
	return out;
}

static long run_faulty(struct party *me)
{
	*(struct outcome *)me->arg = call_faulty(me->value);
	return 0;
}

/* The same for a call that sleeps, unless @woken is true already. */
static struct outcome call_asleep(unsigned int nth, bool *woken)
{
	struct party *p = party_new(false, run_faulty, -1);
	struct outcome *out = shared(sizeof(*out));

	p->arg = out;
	p->value = nth;
	party_start(p);
	if (!*woken && blocked(p)) {
		w.trial->wake();
		*woken = true;
	}
	if (party_join(p))
		err(1, "asleep");
	return *out;
}

static struct outcome call(unsigned int nth, bool *woken)
{
	return w.trial->wake ? call_asleep(nth, woken) : call_faulty(nth);
}

/* What must not change; without padding. */
struct state {
	long free_fd;		/* the lowest: none was lost */
	long handles;
	long objects;		/* of this user */
	long bytes;
	struct chanfd_channel_info ch;
	struct chanfd_channel_info idle;
	struct chanfd_waitgroup_info wg;
	struct chanfd_context_info ctx;
	struct chanfd_lock_info lock;
	struct chanfd_condition_info cond;
	struct chanfd_cell_info cell;
};

static long user_has(int fd, const char *what)
{
	char path[64], text[1024];
	char *line;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (!read_text(path, text, sizeof(text)))
		err(1, "%s", path);
	line = strstr(text, what);
	if (!line)
		errx(1, "no %s in %s", what, path);
	return strtol(line + strlen(what), NULL, 10);
}

static struct state state_of(int witness)
{
	struct state s;

	memset(&s, 0, sizeof(s));
	s.free_fd = dup(0);
	close(s.free_fd);
	s.handles = handles_open();
	s.objects = user_has(witness, "chanfd-user-objects:\t");
	s.bytes = user_has(witness, "chanfd-user-bytes:\t");
	if (w.ch < 0)
		return s;
	if (ioctl(w.ch, CHANFD_IOC_CHANNEL_INFO, &s.ch) ||
	    ioctl(w.idle, CHANFD_IOC_CHANNEL_INFO, &s.idle) ||
	    ioctl(w.wg, CHANFD_IOC_WAITGROUP_INFO, &s.wg) ||
	    ioctl(w.ctx, CHANFD_IOC_CONTEXT_INFO, &s.ctx) ||
	    ioctl(w.lock, CHANFD_IOC_LOCK_INFO, &s.lock) ||
	    ioctl(w.cond, CHANFD_IOC_CONDITION_INFO, &s.cond) ||
	    ioctl(w.cell, CHANFD_IOC_CELL_INFO, &s.cell))
		err(1, "CHANFD_IOC_*_INFO");
	return s;
}

static bool is_state(const struct state *before, int witness, struct state *after)
{
	*after = state_of(witness);
	return !memcmp(before, after, sizeof(*after));
}

/* What a kernel thread still has in its hands it gives back some time. */
static void expect_state(struct __test_metadata *_metadata, const struct state *before,
			 int witness)
{
	struct state after;

	if (eventually(is_state(before, witness, &after)))
		return;
	ASSERT_EQ(before->free_fd, after.free_fd);
	ASSERT_EQ(before->handles, after.handles);
	ASSERT_EQ(before->objects, after.objects);
	ASSERT_EQ(before->bytes, after.bytes);
	ASSERT_EQ(0, memcmp(&before->ch, &after.ch, sizeof(after.ch)));
	ASSERT_EQ(0, memcmp(&before->idle, &after.idle, sizeof(after.idle)));
	ASSERT_EQ(0, memcmp(&before->wg, &after.wg, sizeof(after.wg)));
	ASSERT_EQ(0, memcmp(&before->ctx, &after.ctx, sizeof(after.ctx)));
	ASSERT_EQ(0, memcmp(&before->lock, &after.lock, sizeof(after.lock)));
	ASSERT_EQ(0, memcmp(&before->cond, &after.cond, sizeof(after.cond)));
	ASSERT_EQ(0, memcmp(&before->cell, &after.cell, sizeof(after.cell)));
}

/* Messages. */

/* All bytes of a message are the same, and not 0. */
static unsigned char letter(unsigned int number)
{
	return number % 255 + 1;
}

static uint64_t as_number(unsigned int number)
{
	return letter(number) * 0x0101010101010101ULL;
}

static unsigned int elem(void)
{
	return w.trial->elem ?: sizeof(uint64_t);
}

static unsigned int size_of(unsigned int number)
{
	return w.trial->flags & CHANFD_VARIABLE ? elem() - number % 8 : elem();
}

/* Writes the next @n messages to @to; their bytes. */
static unsigned int load(unsigned char *to, unsigned int n)
{
	unsigned int i, bytes = 0;

	for (i = 0; i < n; i++) {
		m.sizes[i] = size_of(w.sent + i);
		memset(to + bytes, letter(w.sent + i), m.sizes[i]);
		bytes += m.sizes[i];
	}
	return bytes;
}

/* Are the next @n messages at @from? */
static bool unload(const unsigned char *from, unsigned int n)
{
	unsigned int i;

	for (; n; n--, w.received++)
		for (i = 0; i < size_of(w.received); i++)
			if (*from++ != letter(w.received))
				return false;
	return true;
}

static int transfer(unsigned long op, unsigned int count, void *buf, unsigned int size)
{
	bool sizes = w.trial->flags & CHANFD_VARIABLE && count > 1;

	m.arg.transfer = (struct chanfd_transfer) {
		.context = -1,
		.buf = (uintptr_t)buf,
		.sizes = sizes ? (uintptr_t)m.sizes : 0,
		.size = size,
		.count = count,
	};
	return ioctl(w.ch, op, &m.arg.transfer);
}

/* In memory of their own: the call may be asleep. */

static void put_one(void)
{
	static unsigned char message[LARGEST];
	struct chanfd_opt opt = { -1, CHANFD_NONBLOCK, 0 };
	int fds[] = { w.pipe[0], w.pipe[1] };

	if (chanfd_send_fds(w.ch, message, load(message, 1), fds, w.trial->fds, &opt))
		err(1, "chanfd_send_fds");
	w.sent++;
}

/* False at the end, or if it is not the message that is next. */
static bool take_one(void)
{
	static unsigned char message[LARGEST];
	struct chanfd_opt opt = { -1, CHANFD_NONBLOCK, 0 };

	int fds[CHANFD_MAX_FDS];
	unsigned int n = w.trial->fds ? CHANFD_MAX_FDS : 0;

	if (chanfd_recv_fds(w.ch, message, sizeof(message), fds, &n, &opt, NULL) != 1 ||
	    n != w.trial->fds)
		return false;
	while (n)
		close(fds[--n]);
	return unload(message, 1);
}

/* The calls. */

static long call_open(void)
{
	w.made[0] = open("/dev/chanfd", O_RDWR | O_CLOEXEC);
	return w.made[0] < 0 ? -1 : 0;
}

/* The handles of an object that was made. */
static long made(int result, const int fd[2])
{
	if (result)
		return -1;
	w.made[0] = fd[0];
	w.made[1] = fd[1];
	return 0;
}

static bool made_works(bool sure)
{
	return !ioctl(w.made[0], CHANFD_IOC_INFO, &m.arg.info) &&
	       (w.made[1] < 0 || !ioctl(w.made[1], CHANFD_IOC_INFO, &m.arg.info));
}

static long make_channel(unsigned int elem_size, unsigned int cap, unsigned int flags)
{
	m.arg.channel = (struct chanfd_channel) {
		.flags = flags,
		.elem_size = elem_size,
		.capacity = cap,
		.name = "made",
	};
	return made(ioctl(w.device, CHANFD_IOC_CHANNEL, &m.arg.channel), m.arg.channel.fd);
}

static long call_channel(void)
{
	return make_channel(8, 4, 0);
}

static long call_channel_pair(void)
{
	return make_channel(8, 4, CHANFD_PAIR);
}

static long call_channel_large(void)
{
	return make_channel(256, 2048, 0);
}

static long call_channel_boxes(void)
{
	return make_channel(1000, 4, CHANFD_VARIABLE);
}

static long call_waitgroup(void)
{
	m.arg.waitgroup = (struct chanfd_waitgroup) { .flags = CHANFD_PAIR };
	return made(ioctl(w.device, CHANFD_IOC_WAITGROUP, &m.arg.waitgroup),
		    m.arg.waitgroup.fd);
}

/* With all that a context can have. */
static long make_context(int on, int parent, unsigned int flags)
{
	m.arg.context = (struct chanfd_context) {
		.flags = flags,
		.parent = parent,
		.name = "made",
		.deadline = chanfd_deadline(3600 * SEC),
		.deadline_cause = EPERM,
		.value = (uintptr_t)m.in,
		.value_size = 100,
		.key = "made",
	};
	return made(ioctl(on, CHANFD_IOC_CONTEXT, &m.arg.context), m.arg.context.fd);
}

static long call_context(void)
{
	return make_context(w.device, -1, CHANFD_PAIR);
}

static long call_derive(void)
{
	return make_context(w.ctx, w.ctx, CHANFD_PAIR);
}

static long call_derive_without_cancel(void)
{
	return make_context(w.ctx, w.ctx, CHANFD_WITHOUT_CANCEL);
}

static long call_token(void)
{
	m.arg.number = CHANFD_AUTO_DONE;
	w.made[0] = ioctl(w.wg, CHANFD_IOC_TOKEN, &m.arg.number);
	return w.made[0] < 0 ? -1 : 0;
}

static long call_reduce(void)
{
	m.arg.number = CHANFD_READ;
	w.made[0] = ioctl(w.ch, CHANFD_IOC_REDUCE, &m.arg.number);
	return w.made[0] < 0 ? -1 : 0;
}

static long call_info(void)
{
	return ioctl(w.token, CHANFD_IOC_INFO, &m.arg.info);
}

static long call_channel_info(void)
{
	return ioctl(w.ch, CHANFD_IOC_CHANNEL_INFO, &m.arg.channel_info);
}

static long call_waitgroup_info(void)
{
	return ioctl(w.wg, CHANFD_IOC_WAITGROUP_INFO, &m.arg.waitgroup_info);
}

static long call_context_info(void)
{
	return ioctl(w.ctx, CHANFD_IOC_CONTEXT_INFO, &m.arg.context_info);
}

static long call_send(void)
{
	return transfer(CHANFD_IOC_SEND, w.trial->sends, m.in, load(m.in, w.trial->sends));
}

static long call_recv(void)
{
	return transfer(CHANFD_IOC_RECV, w.trial->receives, m.out,
			w.trial->receives * elem());
}

/* Messages that so many bytes are; all but the last of a batch have a fixed size. */
static long as_messages(ssize_t bytes)
{
	return bytes < 0 ? -1 : (bytes + elem() - 1) / elem();
}

static long call_write(void)
{
	return as_messages(write(w.ch, m.in, load(m.in, w.trial->sends)));
}

static long call_read(void)
{
	return as_messages(read(w.ch, m.out, w.trial->receives * elem()));
}

static long call_writev(void)
{
	unsigned int size = load(m.in, w.trial->sends);
	struct iovec parts[2] = { { m.in, 3 }, { m.in + 3, size - 3 } };

	return as_messages(writev(w.ch, parts, 2));
}

static long call_readv(void)
{
	unsigned int size = w.trial->receives * elem();
	struct iovec parts[2] = { { m.out, 3 }, { m.out + 3, size - 3 } };

	return as_messages(readv(w.ch, parts, 2));
}

static long call_close(void)
{
	m.arg.close = (struct chanfd_close) { .cause = EPERM };
	return ioctl(w.ch, CHANFD_IOC_CLOSE, &m.arg.close);
}

static bool close_works(bool sure)
{
	struct chanfd_channel_info info = info_of(w.ch);

	return info.state & CHANFD_CLOSED && info.cause == EPERM;
}

static long call_add(void)
{
	m.arg.add = (struct chanfd_add) { .delta = 3 };
	return ioctl(w.wg, CHANFD_IOC_ADD, &m.arg.add);
}

static unsigned int count_of(int wg)
{
	struct chanfd_waitgroup_info info;

	if (ioctl(wg, CHANFD_IOC_WAITGROUP_INFO, &info))
		err(1, "CHANFD_IOC_WAITGROUP_INFO");
	return info.count;
}

static bool add_works(bool sure)
{
	return (!sure || m.arg.add.count == 4) && count_of(w.wg) == 4;
}

static bool token_works(bool sure)
{
	return made_works(sure) && count_of(w.wg) == 2;
}

static long call_done(void)
{
	m.arg.done = (struct chanfd_done) { .error = EPERM };
	return ioctl(w.token, CHANFD_IOC_DONE, &m.arg.done);
}

static bool done_works(bool sure)
{
	return count_of(w.wg) == 0;
}

static long call_cancel(void)
{
	m.arg.cancel = (struct chanfd_cancel) { .cause = EPERM, .text = "why" };
	return ioctl(w.ctx, CHANFD_IOC_CANCEL, &m.arg.cancel);
}

static bool is_cancelled(int cause, const char *text)
{
	struct chanfd_context_info info;

	if (ioctl(w.ctx, CHANFD_IOC_CONTEXT_INFO, &info))
		err(1, "CHANFD_IOC_CONTEXT_INFO");
	return info.error == ECANCELED && info.cause == cause &&
	       !strcmp((char *)info.text, text);
}

static bool cancel_works(bool sure)
{
	return is_cancelled(EPERM, "why");
}

static long call_bind(void)
{
	m.arg.bind = (struct chanfd_bind) {
		.fd = w.pipe[0],
		.events = POLLIN,
		.cause = EPIPE,
	};
	return ioctl(w.ctx, CHANFD_IOC_BIND, &m.arg.bind);
}

static void wake_by_pipe(void)
{
	if (write(w.pipe[1], "", 1) != 1)
		err(1, "write");
}

static bool bind_works(bool sure)
{
	if (is_cancelled(EPIPE, ""))
		return false;
	wake_by_pipe();
	return eventually(is_cancelled(EPIPE, ""));
}

static long call_value(void)
{
	memset(m.out, 0, 16);
	m.value = (struct chanfd_value) {
		.key = "world",
		.buf = (uintptr_t)m.out,
		.size = 16,
	};
	return ioctl(w.ctx, CHANFD_IOC_VALUE, &m.value);
}

static bool value_works(bool sure)
{
	return m.value.size == 5 && !memcmp(m.out, "value", 6);
}

static long call_poll(void)
{
	m.poll = (struct pollfd) { .fd = w.ch, .events = POLLIN | POLLOUT };
	return poll(&m.poll, 1, 0) < 0 ? -1 : 0;
}

static bool poll_works(bool sure)
{
	return m.poll.revents == (POLLIN | POLLOUT);
}

static long call_epoll_ctl(void)
{
	m.event = (struct epoll_event) { .events = EPOLLIN };
	return epoll_ctl(w.epoll, EPOLL_CTL_ADD, w.ch, &m.event);
}

static bool epoll_ctl_works(bool sure)
{
	struct epoll_event event;

	if (epoll_wait(w.epoll, &event, 1, 0) != 0)
		return false;
	put_one();
	return epoll_wait(w.epoll, &event, 1, 0) == 1 && event.events == EPOLLIN;
}

/* Locks and conditions. */

static struct chanfd_lock_info lock_now(void)
{
	struct chanfd_lock_info info;

	if (ioctl(w.lock, CHANFD_IOC_LOCK_INFO, &info))
		err(1, "CHANFD_IOC_LOCK_INFO");
	return info;
}

static long call_lock_new(void)
{
	m.lock = (struct chanfd_lock) { .flags = CHANFD_PAIR | CHANFD_RW };
	return made(ioctl(w.device, CHANFD_IOC_LOCK_NEW, &m.lock), m.lock.fd);
}

static long acquire(unsigned int flags)
{
	m.acquire = (struct chanfd_acquire) { .flags = flags, .context = -1 };
	return ioctl(w.lock, CHANFD_IOC_LOCK, &m.acquire);
}

static long call_lock(void)
{
	return acquire(0);
}

static bool lock_works(bool sure)
{
	return lock_now().state == CHANFD_LOCKED && lock_now().holder == getpid();
}

static long call_read_lock(void)
{
	return acquire(CHANFD_SHARED);
}

static bool read_lock_works(bool sure)
{
	return lock_now().readers == 1;
}

static long call_lock_info(void)
{
	return ioctl(w.lock, CHANFD_IOC_LOCK_INFO, &m.lock_info);
}

static void wake_by_unlock(void)
{
	if (chanfd_unlock(w.lock))
		err(1, "chanfd_unlock");
}

static long map(int fd)
{
	w.page = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ, MAP_SHARED, fd, 0);
	return w.page == MAP_FAILED ? -1 : 0;
}

static bool map_works(bool sure)
{
	return !munmap(w.page, sysconf(_SC_PAGESIZE));
}

static long call_lock_map(void)
{
	return map(w.lock);
}

static long call_condition(void)
{
	m.condition = (struct chanfd_condition) { .flags = CHANFD_PAIR };
	return made(ioctl(w.device, CHANFD_IOC_CONDITION, &m.condition), m.condition.fd);
}

static long call_condition_wait(void)
{
	m.condition_wait = (struct chanfd_condition_wait) { .lock = w.lock, .context = -1 };
	return ioctl(w.cond, CHANFD_IOC_CONDITION_WAIT, &m.condition_wait);
}

static long call_condition_info(void)
{
	return ioctl(w.cond, CHANFD_IOC_CONDITION_INFO, &m.condition_info);
}

static void wake_by_signal(void)
{
	if (chanfd_signal(w.cond) < 0)
		err(1, "chanfd_signal");
}

/* Cells. */

static struct chanfd_cell_info cell_now(void)
{
	struct chanfd_cell_info info;

	if (ioctl(w.cell, CHANFD_IOC_CELL_INFO, &info))
		err(1, "CHANFD_IOC_CELL_INFO");
	return info;
}

static long call_cell(void)
{
	m.arg.cell = (struct chanfd_cell) { .flags = CHANFD_PAIR, .size = 100 };
	return made(ioctl(w.device, CHANFD_IOC_CELL, &m.arg.cell), m.arg.cell.fd);
}

static long store(unsigned int flags)
{
	memset(m.in, 'n', 2000);
	memset(m.out, 0, 2000);
	m.arg.store = (struct chanfd_store) {
		.flags = flags,
		.buf = (uintptr_t)m.in,
		.size = 2000,
		.old = flags & CHANFD_SWAP ? (uintptr_t)m.out : 0,
		.old_size = flags & CHANFD_SWAP ? 2000 : 0,
	};
	return ioctl(w.cell, CHANFD_IOC_STORE, &m.arg.store);
}

static long call_store(void)
{
	return store(0);
}

static bool store_works(bool sure)
{
	unsigned int version = w.trial->stored ? 2 : 1;

	return cell_now().version == version && cell_now().size == 2000 &&
	       (!sure || m.arg.store.version == version);
}

static long call_swap(void)
{
	return store(CHANFD_SWAP);
}

static bool swap_works(bool sure)
{
	return store_works(sure) && !memcmp(m.out, "value", 6) &&
	       (!sure || m.arg.store.old_size == 6);
}

static long call_load(void)
{
	memset(m.out, 0, 10);
	m.arg.load = (struct chanfd_load) { .buf = (uintptr_t)m.out, .size = 10 };
	return ioctl(w.cell, CHANFD_IOC_LOAD, &m.arg.load);
}

static bool load_works(bool sure)
{
	return !memcmp(m.out, "value", 6) && m.arg.load.version == 1 && m.arg.load.size == 6;
}

static long call_cell_info(void)
{
	return ioctl(w.cell, CHANFD_IOC_CELL_INFO, &m.arg.cell_info);
}

static long call_cell_map(void)
{
	return map(w.cell);
}

static void wake_by_store(void)
{
	if (call_store())
		err(1, "CHANFD_IOC_STORE");
}

/* Messages with files, and leases. */

static long call_send_fds(void)
{
	memcpy(m.fds, w.pipe, sizeof(w.pipe));
	m.arg.transfer = (struct chanfd_transfer) {
		.context = -1,
		.buf = (uintptr_t)m.in,
		.size = load(m.in, 1),
		.count = 1,
		.fds = (uintptr_t)m.fds,
		.nr_fds = w.trial->fds,
	};
	return ioctl(w.ch, CHANFD_IOC_SEND, &m.arg.transfer);
}

static long receive(unsigned int flags)
{
	m.arg.transfer = (struct chanfd_transfer) {
		.flags = flags,
		.context = -1,
		.buf = (uintptr_t)m.out,
		.size = elem() * w.trial->receives,
		.count = w.trial->receives,
		.lease = flags & CHANFD_LEASED ? -1 : 0,
	};
	if (w.trial->fds) {
		m.arg.transfer.fds = (uintptr_t)m.fds;
		m.arg.transfer.nr_fds = CHANFD_MAX_FDS;
	}
	return ioctl(w.ch, CHANFD_IOC_RECV, &m.arg.transfer);
}

static long call_recv_fds(void)
{
	return receive(0);
}

static bool recv_fds_works(bool sure)
{
	memcpy(w.made, m.fds, sizeof(w.made));
	return m.arg.transfer.nr_fds == 2 && write(w.made[1], "x", 1) == 1 &&
	       read(w.pipe[0], m.in, 1) == 1;
}

static long call_recv_leased(void)
{
	return receive(CHANFD_LEASED);
}

/* What was leased is there, and is received now. */
static bool is_leased(int lease)
{
	w.made[0] = lease;
	return info_of(w.ch).leased == w.trial->receives &&
	       !ioctl(lease, CHANFD_IOC_COMMIT) && !info_of(w.ch).leased;
}

static bool recv_leased_works(bool sure)
{
	return is_leased(m.arg.transfer.lease);
}

/* Selects, of cases that the calls below put into m.cases. */

static int run_select(unsigned int n, unsigned int flags)
{
	m.select = (struct chanfd_select) {
		.flags = flags,
		.context = -1,
		.cases = (uintptr_t)m.cases,
		.count = n,
		.index = -1,
	};
	return ioctl(w.device, CHANFD_IOC_SELECT, &m.select);
}

static bool case_works(int index, bool sure)
{
	return !sure || (m.select.index == index && m.select.error == 0);
}

/* On a stack, with every kind of object, and nothing ready but what is received. */
static long call_select_recv(void)
{
	m.cases[0] = CHANFD_WAIT(w.wg);
	m.cases[1] = CHANFD_DONE(w.ctx);
	m.cases[2] = CHANFD_POLL(w.pipe[0], POLLIN);
	m.cases[3] = CHANFD_RECV(w.ch, m.out, elem());
	return run_select(4, 0) ? -1 : 1;
}

static bool select_recv_works(bool sure)
{
	return case_works(3, sure) && (!sure || m.select.ok);
}

static long call_select_send(void)
{
	unsigned int size = load(m.in, 1);

	m.cases[0] = CHANFD_SEND(w.idle, m.in, 8);
	m.cases[1] = CHANFD_SEND(w.ch, m.in, size);
	m.cases[2] = CHANFD_POLL(w.pipe[0], POLLIN);
	return run_select(3, 0) ? -1 : 1;
}

static bool select_send_works(bool sure)
{
	return case_works(1, sure);
}

/* Too many for a stack, and nothing ready until something is received. */
static long select_many(unsigned int flags)
{
	unsigned int i;

	for (i = 0; i < CASES; i++)
		m.cases[i] = CHANFD_RECV(-1);
	for (i = 1; i < 10; i += 3) {
		m.cases[i] = CHANFD_RECV(w.idle, m.out + LARGEST, 8);
		m.cases[i + 1] = CHANFD_SEND(w.idle, m.in, 8);
		m.cases[i + 2] = CHANFD_POLL(w.pipe[0], POLLIN);
	}
	m.cases[CASES - 1] = CHANFD_RECV(w.ch, m.out, elem());
	return run_select(CASES, flags) ? -1 : 1;
}

static long call_select_many(void)
{
	return select_many(0);
}

static bool select_last_works(bool sure)
{
	return case_works(CASES - 1, sure) && (!sure || m.select.ok);
}

static long call_select_none(void)
{
	return select_many(CHANFD_NONBLOCK);
}

static long call_select_poll(void)
{
	m.cases[0] = CHANFD_POLL(w.pipe[0], POLLIN);
	return run_select(1, 0);
}

static bool select_first_works(bool sure)
{
	return case_works(0, sure);
}

static long call_select_wait(void)
{
	m.cases[0] = CHANFD_WAIT(w.wg);
	return run_select(1, 0);
}

static long call_select_done(void)
{
	m.cases[0] = CHANFD_DONE(w.ctx);
	return run_select(1, 0);
}

static long call_select_lock(void)
{
	m.cases[0] = CHANFD_LOCK(w.lock);
	m.cases[1] = CHANFD_DONE(w.ctx);
	m.cases[2] = CHANFD_RECV(w.idle, m.out, 8);
	return run_select(3, 0);
}

static bool select_lock_works(bool sure)
{
	return case_works(0, sure) && lock_works(sure);
}

static long call_select_changed(void)
{
	m.cases[0] = CHANFD_CHANGED(w.cell, 0);
	return run_select(1, 0);
}

static long call_select_leased(void)
{
	m.parcel = (struct chanfd_parcel) {
		.buf = (uintptr_t)m.out,
		.size = elem(),
		.fds = (uintptr_t)m.fds,
		.nr_fds = w.trial->fds,
		.flags = CHANFD_LEASED,
		.lease = -1,
	};
	m.cases[0] = CHANFD_RECV_PARCEL(w.ch, &m.parcel);
	m.cases[1] = CHANFD_POLL(w.pipe[0], POLLIN);
	if (run_select(2, 0))
		return -1;
	/* What the case alone failed with. */
	errno = m.select.error;
	return errno ? -1 : 1;
}

static bool select_leased_works(bool sure)
{
	return case_works(0, sure) && is_leased(m.parcel.lease);
}

static void wake_by_put(void)
{
	put_one();
}

static void wake_by_take(void)
{
	if (!take_one())
		err(1, "CHANFD_IOC_RECV");
}

static void wake_by_done(void)
{
	if (call_done())
		err(1, "CHANFD_IOC_DONE");
}

static void wake_by_cancel(void)
{
	if (call_cancel())
		err(1, "CHANFD_IOC_CANCEL");
}

/* The world. */

static int make_handle(unsigned long op, void *arg, const int *fd)
{
	if (ioctl(w.device, op, arg))
		err(1, "ioctl");
	return *fd;
}

static int world_channel(unsigned int elem_size, unsigned int cap, unsigned int flags)
{
	struct chanfd_channel c = {
		.flags = flags,
		.elem_size = elem_size,
		.capacity = cap,
	};

	return make_handle(CHANFD_IOC_CHANNEL, &c, c.fd);
}

static int world_context(void)
{
	struct chanfd_context c = {
		.parent = -1,
		.value = (uintptr_t)"value",
		.value_size = 5,
		.key = "world",
	};

	return make_handle(CHANFD_IOC_CONTEXT, &c, c.fd);
}

static void enter(const struct trial *trial)
{
	unsigned int i;

	memset(&m, 0, sizeof(m));
	w = (struct world){ .trial = trial, .made = { -1, -1 } };
	w.device = chanfd_device();
	w.ch = world_channel(elem(), trial->cap,
			     trial->flags | (trial->fds ? CHANFD_FDS : 0));
	w.idle = world_channel(8, 0, 0);
	w.wg = chanfd_waitgroup(0, NULL);
	w.token = chanfd_wg_token(w.wg, 0);
	w.ctx = world_context();
	w.lock = chanfd_rwmutex(0, NULL);
	w.cond = chanfd_condition(0, NULL);
	w.cell = chanfd_cell(4000, 0, NULL);
	w.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (w.device < 0 || w.wg < 0 || w.token < 0 || w.epoll < 0 || w.lock < 0 ||
	    w.cond < 0 || w.cell < 0 || pipe2(w.pipe, O_CLOEXEC))
		err(1, "world");
	if ((trial->locked && chanfd_lock(w.lock, NULL)) ||
	    (trial->stored && chanfd_store(w.cell, "value", 6, NULL)))
		err(1, "world");
	for (i = 0; i < trial->holds; i++)
		put_one();
	if (trial->waiting == SENDER) {
		w.party = party_send(false, w.ch, as_number(w.sent++));
		if (!senders_wait(w.ch, 1))
			errx(1, "sender");
	} else if (trial->waiting == RECEIVER) {
		w.party = party_recv(false, w.ch);
		if (!receivers_wait(w.ch, 1))
			errx(1, "receiver");
	}
}

static void leave(void)
{
	int fds[] = { w.ch, w.idle, w.wg, w.token, w.ctx, w.lock, w.cond, w.cell, w.epoll,
		      w.pipe[0], w.pipe[1], w.device, w.made[0], w.made[1] };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	w.ch = -1;
}

/* All messages arrive, each once, in their order. */
static void expect_messages(struct __test_metadata *_metadata)
{
	if (w.trial->waiting == RECEIVER) {
		EXPECT_EQ(1, party_join(w.party));
		EXPECT_EQ(as_number(w.received), w.party->value);
		w.received++;
	}
	while (w.received < w.sent) {
		ASSERT_TRUE(take_one());
	}
	EXPECT_FALSE(take_one());
	if (w.trial->waiting == SENDER)
		EXPECT_EQ(0, party_join(w.party));
}

static bool has_failed(const struct outcome *out)
{
	return out->moved < 0 && out->error != w.trial->error;
}

static void expect_success(struct __test_metadata *_metadata, const struct outcome *out,
			   bool sure)
{
	unsigned int most = w.trial->sends + w.trial->receives;

	if (w.trial->error) {
		EXPECT_EQ(-1, out->moved);
		return;
	}
	ASSERT_LE(0, out->moved);
	/* A batch may end early. */
	EXPECT_GE(most, out->moved);
	EXPECT_LE(sure ? most : !!most, out->moved);
	if (w.trial->sends)
		w.sent += out->moved;
	if (w.trial->receives)
		EXPECT_TRUE(unload(m.out, out->moved));
	if (w.trial->works)
		EXPECT_TRUE(w.trial->works(sure));
}

/* How the points of a call were met. */
struct points {
	unsigned int failed;
	unsigned int survived;
};

/* Makes the call with its @nth point failing; false if it has not so many. */
static bool step(struct __test_metadata *_metadata, unsigned int nth, int witness,
		 struct points *points)
{
	struct state before = state_of(witness);
	bool woken = false, failed, met;
	struct outcome out;

	out = call(nth, &woken);
	met = out.met;
	failed = has_failed(&out);
	if (failed) {
		ASSERT_TRUE(met);
		EXPECT_TRUE(out.error == ENOMEM || out.error == EFAULT);
		if (woken) {
			/* It had the message in its hands. */
			before.ch.sent++;
			before.ch.len++;
			before.ch.returned++;
		}
		/* What was taken out whole may have come back: that is counted. */
		if (w.trial->fds || w.trial->leases)
			before.ch.returned = info_of(w.ch).returned;
		expect_state(_metadata, &before, witness);
		out = call(0, &woken);
	}
	/* What it wrote last is only known not to have failed. */
	expect_success(_metadata, &out, failed || !met);
	expect_messages(_metadata);
	points->failed += failed;
	points->survived += met && !failed;
	return met;
}

FIXTURE(fault) {
};

FIXTURE_VARIANT(fault) {
	struct trial trial;
};

FIXTURE_SETUP(fault)
{
}

FIXTURE_TEARDOWN(fault)
{
}

/* Makes the call with each of its points failing, one after the other. */
static struct points step_all(struct __test_metadata *_metadata, const struct trial *trial)
{
	int witness = chanfd_channel(8, 0, 0, "witness");
	struct points points = { 0, 0 };
	struct state before;
	unsigned int nth;
	bool met = false;

	if (witness < 0)
		err(1, "chanfd_channel");
	w.ch = -1;
	before = state_of(witness);
	/* At first none: so all memory becomes present. Page faults would count. */
	for (nth = 0; nth <= 1 || met; nth++) {
		ASSERT_GT(MANY, nth);
		enter(trial);
		met = step(_metadata, nth, witness, &points);
		leave();
		expect_state(_metadata, &before, witness);
	}
	close(witness);
	TH_LOG("the call failed at %u points, and went on at %u", points.failed,
	       points.survived);
	return points;
}

/* The allocator has points of its own now and then, which take another's place. */
static void step_until(struct __test_metadata *_metadata, const struct trial *trial,
		       unsigned int failed, unsigned int survived)
{
	struct points points;
	unsigned int i;

	for (i = 0; i < TRIES; i++) {
		points = step_all(_metadata, trial);
		EXPECT_LT(0, points.failed + points.survived);
		if (points.failed >= failed && points.survived >= survived)
			return;
	}
	EXPECT_LE(failed, points.failed);
	EXPECT_LE(survived, points.survived);
}

TEST_F(fault, every_point)
{
	const struct trial *trial = &variant->trial;

	fail_pages(false);
	step_until(_metadata, trial, trial->least, 0);
	if (trial->large || trial->page) {
		fail_pages(true);
		step_until(_metadata, trial, trial->page, trial->large);
	}
}

/*
 * The trials. Counted as the least: the argument that is copied in, or out to see whether
 * that works, and what it points to; an object, its buffer, its user's entry, each handle
 * (a file and its name); a copy or a box of what is sent; an entry for each wait queue
 * that is joined; a user's entry again where a call is counted that waits.
 *
 * Not counted: a message that is copied out under a lock is tried again, what is larger
 * than a page gets single pages, and what was done stays done though nobody can be told.
 */

#define TRIAL(name) FIXTURE_VARIANT_ADD(fault, name)

/* Making. */
TRIAL(open) { { .call = call_open, .least = 3 } };
TRIAL(channel) { { .call = call_channel, .works = made_works, .least = 7 } };
TRIAL(channel_pair) { { .call = call_channel_pair, .works = made_works, .least = 9 } };
TRIAL(channel_large) { { .call = call_channel_large, .works = made_works, .large = true,
	.least = 6 } };
TRIAL(channel_boxes) { { .call = call_channel_boxes, .works = made_works, .least = 6 } };
TRIAL(waitgroup) { { .call = call_waitgroup, .works = made_works, .least = 8 } };
TRIAL(token) { { .call = call_token, .works = token_works, .least = 4 } };
TRIAL(context) { { .call = call_context, .works = made_works, .least = 11 } };
TRIAL(derive) { { .call = call_derive, .works = made_works, .least = 11 } };
TRIAL(derive_without_cancel) { { .call = call_derive_without_cancel, .works = made_works,
	.least = 9 } };
TRIAL(lock_new) { { .call = call_lock_new, .works = made_works, .least = 8 } };
TRIAL(condition) { { .call = call_condition, .works = made_works, .least = 8 } };
TRIAL(cell) { { .call = call_cell, .works = made_works, .least = 8 } };
TRIAL(reduce) { { .call = call_reduce, .works = made_works, .least = 2 } };

/* Asking. */
TRIAL(info) { { .call = call_info, .least = 1 } };
TRIAL(channel_info) { { .call = call_channel_info, .least = 1 } };
TRIAL(waitgroup_info) { { .call = call_waitgroup_info, .least = 1 } };
TRIAL(context_info) { { .call = call_context_info, .least = 1 } };
TRIAL(lock_info) { { .call = call_lock_info, .least = 1 } };
TRIAL(condition_info) { { .call = call_condition_info, .least = 1 } };
TRIAL(cell_info) { { .call = call_cell_info, .least = 1 } };
TRIAL(value) { { .call = call_value, .works = value_works, .least = 3 } };

/* Polling. */
TRIAL(poll) { { .call = call_poll, .works = poll_works, .cap = 4, .holds = 2,
	.least = 1 } };
TRIAL(epoll_ctl) { { .call = call_epoll_ctl, .works = epoll_ctl_works, .cap = 4,
	.least = 3 } };

/* Sending: into slots and boxes, and to somebody who waits. */
TRIAL(send) { { .call = call_send, .cap = 4, .holds = 2, .sends = 1, .least = 2 } };
TRIAL(send_batch) { { .call = call_send, .cap = 8, .holds = 2, .elem = 256, .sends = 3,
	.least = 3 } };
TRIAL(send_box) { { .call = call_send, .cap = 2, .holds = 1, .elem = LARGEST,
	.sends = 1, .large = true, .least = 2 } };
TRIAL(send_boxes) { { .call = call_send, .cap = 8, .holds = 2, .elem = 300,
	.flags = CHANFD_VARIABLE, .sends = 3, .least = 9 } };
TRIAL(send_to_waiting) { { .call = call_send, .waiting = RECEIVER, .sends = 1,
	.least = 2 } };
TRIAL(write) { { .call = call_write, .cap = 4, .holds = 2, .sends = 1, .least = 1 } };
TRIAL(write_batch) { { .call = call_write, .cap = 4, .holds = 1, .elem = 200,
	.sends = 3, .least = 2 } };
TRIAL(write_box) { { .call = call_write, .cap = 4, .holds = 1, .elem = 300,
	.flags = CHANFD_VARIABLE, .sends = 1, .least = 2 } };
TRIAL(writev) { { .call = call_writev, .cap = 4, .holds = 1, .sends = 3, .least = 3 } };

/* Receiving, likewise. */
TRIAL(recv) { { .call = call_recv, .cap = 4, .holds = 3, .receives = 1, .least = 2 } };
TRIAL(recv_batch) { { .call = call_recv, .cap = 8, .holds = 4, .elem = 256,
	.receives = 3, .least = 2 } };
TRIAL(recv_box) { { .call = call_recv, .cap = 2, .holds = 2, .elem = LARGEST,
	.receives = 1, .least = 2 } };
TRIAL(recv_boxes) { { .call = call_recv, .cap = 8, .holds = 5, .elem = 300,
	.flags = CHANFD_VARIABLE, .receives = 3, .least = 3 } };
TRIAL(recv_from_waiting) { { .call = call_recv, .waiting = SENDER, .receives = 1,
	.least = 2 } };
TRIAL(recv_refilled) { { .call = call_recv, .cap = 2, .holds = 2, .waiting = SENDER,
	.receives = 2, .least = 2 } };
TRIAL(read) { { .call = call_read, .cap = 4, .holds = 3, .receives = 1 } };
TRIAL(read_batch) { { .call = call_read, .cap = 4, .holds = 4, .elem = 200,
	.receives = 3 } };
TRIAL(read_box) { { .call = call_read, .cap = 4, .holds = 2, .elem = 300,
	.flags = CHANFD_VARIABLE, .receives = 1 } };
TRIAL(readv) { { .call = call_readv, .cap = 4, .holds = 3, .receives = 3, .least = 1 } };

/* Other commands. */
TRIAL(close) { { .call = call_close, .works = close_works, .cap = 4, .holds = 2,
	.least = 1 } };
TRIAL(add) { { .call = call_add, .works = add_works, .least = 1 } };
TRIAL(done) { { .call = call_done, .works = done_works, .least = 1 } };
TRIAL(cancel) { { .call = call_cancel, .works = cancel_works, .least = 2 } };
TRIAL(bind) { { .call = call_bind, .works = bind_works, .least = 3 } };

/* Locks, and cells: a process that is new to a lock has an entry there. */
TRIAL(lock) { { .call = call_lock, .works = lock_works, .least = 3 } };
TRIAL(read_lock) { { .call = call_read_lock, .works = read_lock_works, .least = 3 } };
TRIAL(lock_map) { { .call = call_lock_map, .works = map_works, .page = true, .least = 2 } };
TRIAL(store) { { .call = call_store, .works = store_works, .least = 5 } };
TRIAL(swap) { { .call = call_swap, .works = swap_works, .stored = true, .least = 5 } };
TRIAL(load) { { .call = call_load, .works = load_works, .stored = true, .least = 2 } };
TRIAL(cell_map) { { .call = call_cell_map, .works = map_works, .stored = true, .page = true,
	.least = 2 } };

/* Messages with files; and to be leased: the lease is an object with a handle. */
TRIAL(send_fds) { { .call = call_send_fds, .cap = 4, .fds = 2, .sends = 1, .least = 6 } };
TRIAL(recv_fds) { { .call = call_recv_fds, .works = recv_fds_works, .cap = 4, .holds = 2,
	.fds = 2, .receives = 1, .least = 5 } };
TRIAL(recv_leased) { { .call = call_recv_leased, .works = recv_leased_works,
	.leases = true, .cap = 4, .holds = 3, .receives = 1, .least = 8 } };
TRIAL(recv_leased_batch) { { .call = call_recv_leased, .works = recv_leased_works,
	.leases = true, .cap = 4, .holds = 3, .receives = 2, .least = 9 } };
TRIAL(recv_leased_box) { { .call = call_recv_leased, .works = recv_leased_works,
	.leases = true, .cap = 4, .holds = 3, .elem = 300, .receives = 1, .least = 7 } };

/* Selecting. */
TRIAL(select_recv) { { .call = call_select_recv, .works = select_recv_works, .cap = 4,
	.holds = 3, .receives = 1, .least = 3 } };
TRIAL(select_send) { { .call = call_select_send, .works = select_send_works, .cap = 4,
	.holds = 2, .sends = 1, .least = 7 } };
TRIAL(select_many) { { .call = call_select_many, .works = select_last_works, .cap = 4,
	.holds = 2, .elem = 300, .flags = CHANFD_VARIABLE, .receives = 1,
	.least = 10 } };
TRIAL(select_lock) { { .call = call_select_lock, .works = select_lock_works, .least = 5 } };
TRIAL(select_leased) { { .call = call_select_leased, .works = select_leased_works,
	.leases = true, .cap = 4, .holds = 2, .receives = 1, .least = 8 } };
TRIAL(select_none) { { .call = call_select_none, .error = EAGAIN, .cap = 4, .least = 14 } };

/* Asleep, until somebody does what the call waits for. */
TRIAL(asleep_send) { { .call = call_send, .wake = wake_by_take, .sends = 1, .least = 2 } };
TRIAL(asleep_send_box) { { .call = call_send, .wake = wake_by_take, .elem = LARGEST,
	.sends = 1, .large = true, .least = 3 } };
TRIAL(asleep_recv) { { .call = call_recv, .wake = wake_by_put, .receives = 1, .least = 3 } };
TRIAL(asleep_recv_box) { { .call = call_recv, .wake = wake_by_put, .elem = 300,
	.flags = CHANFD_VARIABLE, .receives = 1, .least = 3 } };
TRIAL(asleep_leased) { { .call = call_recv_leased, .works = recv_leased_works,
	.leases = true, .wake = wake_by_put, .receives = 1, .least = 8 } };
TRIAL(asleep_lock) { { .call = call_lock, .works = lock_works, .wake = wake_by_unlock,
	.locked = true, .least = 1 } };
TRIAL(asleep_condition) { { .call = call_condition_wait, .works = lock_works,
	.wake = wake_by_signal, .locked = true, .least = 1 } };
TRIAL(asleep_changed) { { .call = call_select_changed, .works = select_first_works,
	.wake = wake_by_store, .least = 2 } };
TRIAL(asleep_read) { { .call = call_read, .wake = wake_by_put, .receives = 1, .least = 1 } };
TRIAL(asleep_readv) { { .call = call_readv, .wake = wake_by_put, .elem = 300,
	.receives = 1, .least = 3 } };
TRIAL(asleep_select) { { .call = call_select_recv, .wake = wake_by_put,
	.works = select_recv_works, .receives = 1, .least = 5 } };
TRIAL(asleep_select_many) { { .call = call_select_many, .wake = wake_by_put,
	.works = select_last_works, .elem = 300, .flags = CHANFD_VARIABLE,
	.receives = 1, .least = 15 } };
TRIAL(asleep_poll) { { .call = call_select_poll, .wake = wake_by_pipe,
	.works = select_first_works, .least = 4 } };
TRIAL(asleep_wait) { { .call = call_select_wait, .wake = wake_by_done,
	.works = select_first_works, .least = 3 } };
TRIAL(asleep_done) { { .call = call_select_done, .wake = wake_by_cancel,
	.works = select_first_works, .least = 3 } };

/* Without the means, the program is skipped, not each trial. */
static void __attribute__((constructor)) need_fail_nth(void)
{
	if (has_fail_nth())
		return;
	puts("1..0 # SKIP this kernel has no fault injection (fail-nth)");
	exit(4);
}

TEST_HARNESS_MAIN
