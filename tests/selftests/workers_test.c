// SPDX-License-Identifier: GPL-2.0
/*
 * Workers: tasks of a group, threads or processes, that receive from one channel.
 */
#include <sys/resource.h>

#include "helpers.h"

#define SOON	CHANFD_OPT(-1, 0, chanfd_deadline(BOUND))

#define MESSAGES 200

/* What workers do, and what came of it. */
struct record {
	int gate;
	int poison;
	atomic_int begun;
	atomic_int ended;
	atomic_int pid;
	atomic_int returned;
	atomic_uint redelivered;
	atomic_int done[MESSAGES];
};

FIXTURE(workers) {
	struct chanfd_group *g;
	struct chanfd_work work;
	struct record *record;
	int ch;
	int fds;
	int threads;
	long handles;
};

FIXTURE_VARIANT(workers) {
	unsigned int flags;
};

FIXTURE_VARIANT_ADD(workers, threads) { .flags = 0 };
FIXTURE_VARIANT_ADD(workers, processes) { .flags = CHANFD_PROCESSES };
FIXTURE_VARIANT_ADD(workers, threads_leased) { .flags = CHANFD_LEASED };
FIXTURE_VARIANT_ADD(workers, processes_leased) { .flags = CHANFD_PROCESSES | CHANFD_LEASED };

static int mark(int context, void *message, const struct chanfd_received *r, void *arg)
{
	struct record *record = arg;
	int n = *(int *)message;

	if (r->size != sizeof(n) || n < 0 || n >= MESSAGES)
		return EBADMSG;
	record->done[n]++;
	return 0;
}

FIXTURE_SETUP(workers)
{
	self->fds = open_fds();
	self->threads = threads();
	self->handles = handles_open();
	self->g = chanfd_group(-1, 0);
	self->ch = chanfd_make(int, 10);
	self->record = shared(sizeof(*self->record));
	ASSERT_NE(NULL, self->g);
	ASSERT_LE(0, self->ch);
	self->work.channel = self->ch;
	self->work.flags = variant->flags;
	self->work.fn = mark;
	self->work.arg = self->record;
}

/* Nothing is ever left. */
FIXTURE_TEARDOWN(workers)
{
	chanfd_group_free(self->g);
	close(self->ch);
	EXPECT_EQ(self->fds, open_fds());
	EXPECT_TRUE(eventually(threads() == self->threads));
	EXPECT_EQ(-1, waitpid(-1, NULL, WNOHANG));
	EXPECT_TRUE(eventually(handles_open() == self->handles));
}

#define EXPECT_ALL_DONE_ONCE(record) do {				\
	int i_;								\
									\
	for (i_ = 0; i_ < MESSAGES; i_++)				\
		EXPECT_EQ(1, atomic_load(&(record)->done[i_]));		\
} while (0)

static int live(struct chanfd_workers *w)
{
	struct chanfd_waitgroup_info info;

	if (chanfd_waitgroup_info(chanfd_workers_waitgroup(w), &info))
		err(1, "chanfd_waitgroup_info");
	return info.count;
}

/* They end when the channel is closed and drained, and not before. */
TEST_F(workers, drain)
{
	struct chanfd_workers *w = chanfd_workers(self->g, &self->work, 4);
	int i;

	ASSERT_NE(NULL, w);
	ASSERT_TRUE(receivers_wait(self->ch, 4));
	EXPECT_EQ(4, live(w));
	for (i = 0; i < MESSAGES; i++)
		ASSERT_EQ(0, chanfd_put(self->ch, i, SOON));
	ASSERT_EQ(0, chanfd_close(self->ch, 0));
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	EXPECT_ALL_DONE_ONCE(self->record);
	EXPECT_EQ(0, live(w));
	EXPECT_EQ(MESSAGES, info_of(self->ch).received);
	EXPECT_EQ(0, info_of(self->ch).returned);
}

static int hold(int context, void *message, const struct chanfd_received *r, void *arg)
{
	struct record *record = arg;
	int n;

	record->pid = getpid();
	record->begun++;
	if (chanfd_get(record->gate, &n, CHANFD_OPT(context, 0, 0)) < 0)
		return errno;
	record->ended++;
	return 0;
}

TEST_F(workers, resize)
{
	struct chanfd_workers *w = chanfd_workers(self->g, &self->work, 0);
	static const int sizes[] = { 3, 1, 0, 2, 5, 4, 4, 1 };
	unsigned int i;

	ASSERT_NE(NULL, w);
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		ASSERT_EQ(0, chanfd_workers_resize(w, sizes[i]));
		EXPECT_TRUE(receivers_wait(self->ch, sizes[i]));
		EXPECT_TRUE(eventually(live(w) == sizes[i]));
	}
	/* All at once, so that most were never told, or have not heard of it. */
	for (i = 0; i < 20; i++)
		ASSERT_EQ(0, chanfd_workers_resize(w, i * 7 % 5));
	ASSERT_EQ(0, chanfd_workers_resize(w, 3));
	EXPECT_TRUE(eventually(live(w) == 3));
	EXPECT_TRUE(receivers_wait(self->ch, 3));
	pause_for(A_WHILE);
	EXPECT_EQ(3, live(w));
	ASSERT_EQ(0, chanfd_workers_resize(w, 0));
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
}

/* Who is told to go finishes its message; the idle go first. */
TEST_F(workers, finishes_its_message)
{
	struct chanfd_workers *w;
	int one = 1;

	self->record->gate = chanfd_make(int, 0);
	self->work.fn = hold;
	w = chanfd_workers(self->g, &self->work, 3);
	ASSERT_NE(NULL, w);
	ASSERT_EQ(0, chanfd_put(self->ch, one, SOON));
	ASSERT_TRUE(eventually(self->record->begun == 1));
	ASSERT_TRUE(receivers_wait(self->ch, 2));
	ASSERT_EQ(0, chanfd_workers_resize(w, 1));
	EXPECT_TRUE(eventually(live(w) == 1));
	EXPECT_EQ(0, info_of(self->ch).waiting_receivers);
	ASSERT_EQ(0, chanfd_workers_resize(w, 0));
	/* It does not take another one. */
	ASSERT_EQ(0, chanfd_put(self->ch, one, SOON));
	pause_for(A_WHILE);
	EXPECT_EQ(1, live(w));
	EXPECT_EQ(0, atomic_load(&self->record->ended));
	ASSERT_EQ(0, chanfd_put(self->record->gate, one, SOON));
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	EXPECT_EQ(1, atomic_load(&self->record->ended));
	EXPECT_EQ(1, chanfd_len(self->ch));
	close(self->record->gate);
}

/* Told to go and asked back before it could. */
TEST_F(workers, asked_back)
{
	struct chanfd_workers *w;
	int one = 1;

	self->record->gate = chanfd_make(int, 0);
	self->work.fn = hold;
	w = chanfd_workers(self->g, &self->work, 1);
	ASSERT_NE(NULL, w);
	ASSERT_EQ(0, chanfd_put(self->ch, one, SOON));
	ASSERT_TRUE(eventually(self->record->begun == 1));
	ASSERT_EQ(0, chanfd_workers_resize(w, 0));
	ASSERT_EQ(0, chanfd_workers_resize(w, 1));
	EXPECT_EQ(1, live(w));
	ASSERT_EQ(0, chanfd_put(self->record->gate, one, SOON));
	ASSERT_TRUE(receivers_wait(self->ch, 1));
	EXPECT_EQ(1, live(w));
	ASSERT_EQ(0, chanfd_close(self->ch, 0));
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	close(self->record->gate);
}

static int give_error(int context, void *message, const struct chanfd_received *r, void *arg)
{
	int n = *(int *)message;

	errno = n;
	return n == EIO ? -1 : n;
}

/* An error of one is the end of all; with a lease, its message is there again. */
TEST_F(workers, error)
{
	static const int errors[] = { ENOENT, EIO };
	struct chanfd_failure first;
	int i;

	for (i = 0; i < 2; i++) {
		chanfd_group_free(self->g);
		self->g = chanfd_group(-1, 0);
		ASSERT_NE(NULL, self->g);
		self->work.fn = give_error;
		ASSERT_NE(NULL, chanfd_workers(self->g, &self->work, 3));
		ASSERT_TRUE(receivers_wait(self->ch, 3));
		ASSERT_EQ(0, chanfd_put(self->ch, errors[i], SOON));
		EXPECT_EQ(errors[i], errno_of(chanfd_group_wait(self->g, &first)));
		EXPECT_EQ(errors[i], first.error);
		EXPECT_EQ(variant->flags & CHANFD_LEASED ? 1 : 0, chanfd_len(self->ch));
		if (variant->flags & CHANFD_LEASED)
			ASSERT_EQ(1, chanfd_recv(self->ch, NULL, 0, SOON, NULL));
	}
}

static int leaves(int context, void *message, const struct chanfd_received *r, void *arg)
{
	pthread_exit(NULL);
}

/* One that ends by itself does not keep what it has leased. */
TEST_F(workers, exits)
{
	struct chanfd_received r;

	self->work.fn = leaves;
	ASSERT_NE(NULL, chanfd_workers(self->g, &self->work, 1));
	ASSERT_EQ(0, chanfd_put(self->ch, 5, SOON));
	EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_group_wait(self->g, NULL)));
	EXPECT_EQ(0, info_of(self->ch).leased);
	if (variant->flags & CHANFD_LEASED) {
		ASSERT_EQ(1, chanfd_recv(self->ch, NULL, 0, SOON, &r));
		EXPECT_EQ(1, r.redelivered);
	}
}

TEST_F(workers, cancelled)
{
	int parent = chanfd_context(-1);
	struct chanfd_workers *w;

	chanfd_group_free(self->g);
	self->g = chanfd_group(parent, 0);
	w = chanfd_workers(self->g, &self->work, 3);
	ASSERT_NE(NULL, w);
	ASSERT_TRUE(receivers_wait(self->ch, 3));
	ASSERT_EQ(0, chanfd_cancel(parent, 0, NULL));
	EXPECT_EQ(ECANCELED, errno_of(chanfd_group_wait(self->g, NULL)));
	EXPECT_EQ(0, live(w));
	close(parent);
}

/* Whatever the channel ends with, but an orderly close, is an error. */
TEST_F(workers, other_ends)
{
	int pair[2];

	ASSERT_NE(NULL, chanfd_workers(self->g, &self->work, 2));
	ASSERT_EQ(0, chanfd_close(self->ch, EDOM));
	EXPECT_EQ(EDOM, errno_of(chanfd_group_wait(self->g, NULL)));

	chanfd_group_free(self->g);
	self->g = chanfd_group(-1, 0);
	ASSERT_EQ(0, chanfd_channel_pair(pair, sizeof(int), 1, 0, NULL));
	close(pair[1]);
	self->work.channel = pair[0];
	ASSERT_NE(NULL, chanfd_workers(self->g, &self->work, 2));
	EXPECT_EQ(ECONNRESET, errno_of(chanfd_group_wait(self->g, NULL)));
	close(pair[0]);
}

static int pass_on(int context, void *message, const struct chanfd_received *r, void *arg)
{
	const struct chanfd_opt opt = { context, 0, 0 };

	return chanfd_send(*(int *)arg, message, r->size, &opt);
}

struct stage {
	int workers;
	int next;
};

static int close_next(int context, void *arg)
{
	struct stage *s = arg;

	if (chanfd_wg_wait(s->workers, CHANFD_OPT(context, 0, 0), NULL))
		return errno;
	return chanfd_close(s->next, 0);
}

/* A pipeline in one group: when all of a stage are gone, the next one's input ends. */
TEST_F(workers, pipeline)
{
	int second = chanfd_make(int, 0), i;
	struct chanfd_work pass = self->work, end = self->work;
	struct chanfd_workers *w;
	struct stage stage;

	ASSERT_LE(0, second);
	pass.fn = pass_on;
	pass.arg = &second;
	end.channel = second;
	w = chanfd_workers(self->g, &pass, 3);
	ASSERT_NE(NULL, w);
	ASSERT_NE(NULL, chanfd_workers(self->g, &end, 2));
	stage.workers = chanfd_workers_waitgroup(w);
	stage.next = second;
	ASSERT_EQ(0, chanfd_group_go(self->g, close_next, &stage, NULL));
	for (i = 0; i < MESSAGES; i++)
		ASSERT_EQ(0, chanfd_put(self->ch, i, SOON));
	ASSERT_EQ(0, chanfd_close(self->ch, 0));
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	EXPECT_ALL_DONE_ONCE(self->record);
	close(second);
}

static int all_of_it(int context, void *message, const struct chanfd_received *r, void *arg)
{
	const unsigned char *byte = message;
	size_t i;

	for (i = 0; i < r->size; i++) {
		if (byte[i] != (unsigned char)(i * 7 + r->size))
			return EBADMSG;
	}
	*(atomic_int *)arg += 1;
	return 0;
}

/* Messages of any size, and of none. */
TEST_F(workers, sizes)
{
	static const size_t sizes[] = { 1, 5, 4096, CHANFD_MAX_MESSAGE };
	int ch = chanfd_channel(CHANFD_MAX_MESSAGE, 1, CHANFD_VARIABLE, NULL), none;
	unsigned char *buf = malloc(CHANFD_MAX_MESSAGE);
	atomic_int *n = shared(sizeof(*n));
	unsigned int i;
	size_t k;

	ASSERT_LE(0, ch);
	none = chanfd_channel(0, 1, 0, NULL);
	ASSERT_LE(0, none);
	self->work.fn = all_of_it;
	self->work.arg = n;
	self->work.channel = ch;
	ASSERT_NE(NULL, chanfd_workers(self->g, &self->work, 2));
	self->work.channel = none;
	ASSERT_NE(NULL, chanfd_workers(self->g, &self->work, 2));
	for (i = 0; i < 4; i++) {
		for (k = 0; k < sizes[i]; k++)
			buf[k] = k * 7 + sizes[i];
		ASSERT_EQ(0, chanfd_send(ch, buf, sizes[i], SOON));
		ASSERT_EQ(0, chanfd_send(none, NULL, 0, SOON));
	}
	ASSERT_EQ(0, chanfd_close(ch, 0));
	ASSERT_EQ(0, chanfd_close(none, 0));
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	EXPECT_EQ(8, atomic_load(n));
	close(ch);
	close(none);
	free(buf);
}

TEST_F(workers, errors)
{
	int pair[2], ctx = chanfd_context(-1), before = open_fds();
	struct chanfd_work work = self->work;
	struct rlimit old, none;

	errno = 0;
	work.flags |= 1;
	EXPECT_EQ(NULL, chanfd_workers(self->g, &work, 1));
	EXPECT_EQ(EINVAL, errno);
	work = self->work;
	EXPECT_EQ(NULL, chanfd_workers(self->g, &work, CHANFD_MAX_WORKERS + 1));
	EXPECT_EQ(EINVAL, errno);
	work.channel = -1;
	EXPECT_EQ(NULL, chanfd_workers(self->g, &work, 1));
	EXPECT_EQ(EBADF, errno);
	work.channel = ctx;
	EXPECT_EQ(NULL, chanfd_workers(self->g, &work, 1));
	EXPECT_EQ(ENOTTY, errno);
	ASSERT_EQ(0, chanfd_channel_pair(pair, sizeof(int), 1, 0, NULL));
	work.channel = pair[1];
	EXPECT_EQ(NULL, chanfd_workers(self->g, &work, 1));
	EXPECT_EQ(EPERM, errno);
	close(pair[0]);
	close(pair[1]);
	work = self->work;
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	none = old;
	none.rlim_cur = dup(0) + 2;
	close(none.rlim_cur - 2);
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(NULL, chanfd_workers(self->g, &work, 1));
	EXPECT_EQ(EMFILE, errno);
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	/* What was refused for its number is the group's all the same. */
	EXPECT_GE(before + 3, open_fds());
	close(ctx);
}

/* In a process of its own: the line of what went wrong first. */
static long wrong;
#define SHOULD(condition) do {						\
	if (!wrong && !(condition))					\
		wrong = __LINE__;					\
} while (0)

/* The limit counts threads of the user, who has no others. */
static long run_with_few_threads(struct party *me)
{
	struct chanfd_group *g = chanfd_group(-1, 0);
	const struct chanfd_work work = {
		.channel = me->fd,
		.fn = mark,
		.flags = (unsigned int)me->value,
	};
	struct chanfd_workers *w;
	struct rlimit limit;

	SHOULD(g);
	SHOULD(!setresuid(61236, 61236, 61236));
	SHOULD(!getrlimit(RLIMIT_NPROC, &limit));
	/* Me, and two workers. */
	limit.rlim_cur = threads() + (me->value & CHANFD_PROCESSES ? 4 : 2);
	SHOULD(!setrlimit(RLIMIT_NPROC, &limit));
	w = chanfd_workers(g, &work, 2);
	SHOULD(w);
	SHOULD(errno_of(chanfd_workers_resize(w, 5)) == EAGAIN);
	SHOULD(live(w) == 2);
	SHOULD(!chanfd_workers_resize(w, 0));
	/* Now from the start: those that have begun end. */
	SHOULD(eventually(!live(w)));
	SHOULD(!chanfd_workers(g, &work, 3) && errno == EAGAIN);
	SHOULD(!chanfd_group_wait(g, NULL));
	chanfd_group_free(g);
	return wrong;
}

TEST_F(workers, not_so_many)
{
	struct party *p = party_new(true, run_with_few_threads, self->ch);

	if (getuid())
		SKIP(return, "needs root");
	p->value = variant->flags;
	EXPECT_EQ(0, party_join(party_start(p)));
}

/* Workers that are killed */

FIXTURE(killed) {
	struct chanfd_group *g;
	struct chanfd_work work;
	struct record *record;
	int ch;
	int fds;
	long handles;
};

FIXTURE_VARIANT(killed) {
	bool leased;
};

FIXTURE_VARIANT_ADD(killed, plain) { .leased = false };
FIXTURE_VARIANT_ADD(killed, leased) { .leased = true };

FIXTURE_SETUP(killed)
{
	self->fds = open_fds();
	self->handles = handles_open();
	self->g = chanfd_group(-1, 0);
	self->ch = chanfd_make(int, 10);
	self->record = shared(sizeof(*self->record));
	self->record->gate = chanfd_make(int, 0);
	ASSERT_NE(NULL, self->g);
	self->work.channel = self->ch;
	self->work.flags = CHANFD_PROCESSES | (variant->leased ? CHANFD_LEASED : 0);
	self->work.fn = hold;
	self->work.arg = self->record;
}

FIXTURE_TEARDOWN(killed)
{
	chanfd_group_free(self->g);
	close(self->ch);
	if (self->record)
		close(self->record->gate);
	EXPECT_EQ(self->fds, open_fds());
	EXPECT_EQ(-1, waitpid(-1, NULL, WNOHANG));
	EXPECT_TRUE(eventually(handles_open() == self->handles));
}

TEST_F(killed, is_a_failure)
{
	struct chanfd_failure first;
	int one = 1, pid;

	ASSERT_NE(NULL, chanfd_workers(self->g, &self->work, 3));
	ASSERT_EQ(0, chanfd_put(self->ch, one, SOON));
	ASSERT_TRUE(eventually(self->record->begun == 1));
	pid = self->record->pid;	/* with a lease, the next may have begun soon */
	ASSERT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_group_wait(self->g, &first)));
	EXPECT_EQ(pid, first.pid);
	EXPECT_EQ(SIGKILL, WTERMSIG(first.status));
	EXPECT_EQ(variant->leased, chanfd_len(self->ch));
}

TEST_F(killed, is_replaced)
{
	struct chanfd_workers *w;
	int one = 1, i, before = 0;

	self->work.restarts = 3;
	w = chanfd_workers(self->g, &self->work, 3);
	ASSERT_NE(NULL, w);
	for (i = 1; i <= 3; i++) {
		/* A message that was leased comes back by itself. */
		if (!variant->leased || i == 1)
			ASSERT_EQ(0, chanfd_put(self->ch, one, SOON));
		ASSERT_TRUE(eventually(self->record->begun == i));
		ASSERT_NE(before, atomic_load(&self->record->pid));
		before = self->record->pid;
		ASSERT_EQ(0, kill(before, SIGKILL));
		ASSERT_TRUE(receivers_wait(self->ch, variant->leased ? 2 : 3));
		EXPECT_EQ(3, live(w));
	}
	EXPECT_EQ(0, chanfd_context_err(chanfd_group_context(self->g)));
	/* The last was the last. */
	if (!variant->leased)
		ASSERT_EQ(0, chanfd_put(self->ch, one, SOON));
	ASSERT_TRUE(eventually(self->record->begun == 4));
	ASSERT_EQ(0, kill(self->record->pid, SIGKILL));
	EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_group_wait(self->g, NULL)));
}

/* Who is not needed any more is not replaced. */
TEST_F(killed, on_its_way_out)
{
	struct chanfd_workers *w;
	int one = 1;

	self->work.restarts = 10;
	w = chanfd_workers(self->g, &self->work, 1);
	ASSERT_NE(NULL, w);
	ASSERT_EQ(0, chanfd_put(self->ch, one, SOON));
	ASSERT_TRUE(eventually(self->record->begun == 1));
	ASSERT_EQ(0, chanfd_workers_resize(w, 0));
	ASSERT_EQ(0, kill(self->record->pid, SIGKILL));
	EXPECT_TRUE(eventually(live(w) == 0));
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	EXPECT_EQ(variant->leased, chanfd_len(self->ch));
}

/* Dies of its message, each time. */
static int poisoned(int context, void *message, const struct chanfd_received *r, void *arg)
{
	struct record *record = arg;

	record->begun++;
	record->redelivered += r->redelivered;
	if (*(int *)message == record->poison)
		_exit(0);
	record->ended++;
	return 0;
}

TEST_F(killed, by_its_message)
{
	int i;

	self->work.fn = poisoned;
	self->work.restarts = 4;
	self->record->poison = 13;
	ASSERT_NE(NULL, chanfd_workers(self->g, &self->work, 2));
	for (i = 0; i < 5; i++)
		ASSERT_EQ(0, chanfd_put(self->ch, (int){ 13 }, SOON));
	EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_group_wait(self->g, NULL)));
	EXPECT_LE(5, atomic_load(&self->record->begun));
	EXPECT_EQ(0, atomic_load(&self->record->ended));
	if (variant->leased) {
		EXPECT_LE(1, atomic_load(&self->record->redelivered));
		EXPECT_EQ(5, chanfd_len(self->ch));
	}
}

static int mark_and_tell(int context, void *message, const struct chanfd_received *r, void *arg)
{
	struct record *record = arg;

	record->pid = getpid();
	record->redelivered += r->redelivered;
	return mark(context, message, r, arg);
}

/* Killed again and again, while they are resized: with leases nothing is lost. */
TEST_F(killed, anywhere)
{
	struct chanfd_workers *w;
	int i, last = 0, kills = 0, missing = 0;

	self->work.fn = mark_and_tell;
	self->work.restarts = MESSAGES;
	w = chanfd_workers(self->g, &self->work, 3);
	ASSERT_NE(NULL, w);
	for (i = 0; i < MESSAGES; i++) {
		ASSERT_EQ(0, chanfd_put(self->ch, i, SOON));
		if (i % 10 == 7)
			ASSERT_EQ(0, chanfd_workers_resize(w, 1 + i % 4));
		if (i % 5 != 3)
			continue;
		/*
		 * The last one dies with one more message at the most, so another has the
		 * others. No process of ours has its number but itself, soon enough.
		 */
		ASSERT_TRUE(eventually(self->record->pid != last));
		last = self->record->pid;
		kills += !kill(last, SIGKILL);
	}
	ASSERT_EQ(0, chanfd_workers_resize(w, 4));
	EXPECT_TRUE(eventually(live(w) == 4));
	if (!variant->leased)
		ASSERT_TRUE(receivers_wait(self->ch, 4));
	ASSERT_EQ(0, chanfd_close(self->ch, 0));
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	EXPECT_LT(0, kills);
	for (i = 0; i < MESSAGES; i++)
		missing += !self->record->done[i];
	EXPECT_GE(variant->leased ? 0 : kills, missing);
}

TEST_HARNESS_MAIN
