// SPDX-License-Identifier: GPL-2.0
/*
 * What happens when a context is done, and what else ends one: functions that run after
 * it (rule X16), signals, the end of a process, the hang-up of a client, a share of the
 * time that is left.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "helpers.h"

#define SOON	CHANFD_OPT(-1, 0, chanfd_deadline(BOUND))

#define EXPECT_END(cause_, text_, ctx_) do {				\
	struct chanfd_context_info info_;				\
									\
	EXPECT_EQ(0, chanfd_context_wait(ctx_, SOON));			\
	ASSERT_EQ(0, chanfd_context_info(ctx_, &info_));		\
	EXPECT_EQ(ECANCELED, info_.error);				\
	EXPECT_EQ(cause_, info_.cause);					\
	EXPECT_STREQ(text_, (char *)info_.text);			\
} while (0)

/*
 * Functions after a context. The context is cancelled by a thread, or by a process.
 */

FIXTURE(after) {
	int ctx;
	int fds;
	int threads;
	long handles;
};

FIXTURE_VARIANT(after) {
	bool process;
};

FIXTURE_VARIANT_ADD(after, threads) { .process = false };
FIXTURE_VARIANT_ADD(after, processes) { .process = true };

FIXTURE_SETUP(after)
{
	self->fds = open_fds();
	self->threads = threads();
	self->handles = handles_open();
	self->ctx = chanfd_context(-1);
	ASSERT_LE(0, self->ctx);
}

FIXTURE_TEARDOWN(after)
{
	close(self->ctx);
	EXPECT_EQ(self->fds, open_fds());
	EXPECT_TRUE(eventually(threads() == self->threads));
	EXPECT_TRUE(eventually(handles_open() == self->handles));
}

static long run_cancel(struct party *me)
{
	return chanfd_cancel(me->fd, 0, NULL);
}

#define cancelled_by_somebody() \
	party_join(party_start(party_new(variant->process, run_cancel, self->ctx)))

static void count(void *arg)
{
	atomic_int *n = arg;

	(*n)++;
}

/* TestAfterFuncCalledAfterCancel, TestAfterFuncCalledAfterTimeout */
TEST_F(after, runs_once)
{
	atomic_int n = 0;
	struct chanfd_after *a = chanfd_after(self->ctx, count, &n);

	ASSERT_NE(NULL, a);
	pause_for(A_WHILE);
	EXPECT_EQ(0, atomic_load(&n));
	ASSERT_EQ(0, cancelled_by_somebody());
	EXPECT_TRUE(eventually(n == 1));
	ASSERT_EQ(0, chanfd_cancel(self->ctx, 0, NULL));
	EXPECT_EQ(0, chanfd_after_stop(a));
	EXPECT_EQ(1, chanfd_after_join(a));
	EXPECT_EQ(1, atomic_load(&n));
}

TEST_F(after, runs_at_the_deadline)
{
	int ctx = chanfd_context_timeout(self->ctx, MSEC);
	atomic_int n = 0;
	struct chanfd_after *a = chanfd_after(ctx, count, &n);

	ASSERT_NE(NULL, a);
	close(ctx);	/* it has its own */
	EXPECT_EQ(1, chanfd_after_join(a));
	EXPECT_EQ(1, atomic_load(&n));
}

/* TestAfterFuncCalledImmediately */
TEST_F(after, runs_at_once)
{
	struct chanfd_after *a;
	atomic_int n = 0;

	ASSERT_EQ(0, cancelled_by_somebody());
	a = chanfd_after(self->ctx, count, &n);
	ASSERT_NE(NULL, a);
	EXPECT_EQ(1, chanfd_after_join(a));
	EXPECT_EQ(1, atomic_load(&n));
}

/* TestAfterFuncNotCalledAfterStop */
TEST_F(after, stopped)
{
	atomic_int n = 0;
	struct chanfd_after *a = chanfd_after(self->ctx, count, &n);

	ASSERT_NE(NULL, a);
	EXPECT_EQ(1, chanfd_after_stop(a));
	EXPECT_EQ(0, chanfd_after_stop(a));
	ASSERT_EQ(0, cancelled_by_somebody());
	EXPECT_EQ(0, chanfd_after_stop(a));
	EXPECT_EQ(0, chanfd_after_join(a));
	EXPECT_EQ(0, atomic_load(&n));
}

static long run_be_rid_of_it(struct party *me)
{
	if (chanfd_after_stop(me->arg) || chanfd_after_join(me->arg))
		return -1;
	return 0;
}

/* A child's copy is not the parent's: that still runs when the context is done, not before. */
TEST_F(after, in_a_child)
{
	atomic_int n = 0;
	struct chanfd_after *a = chanfd_after(self->ctx, count, &n);
	struct party *child = party_new(true, run_be_rid_of_it, -1);

	ASSERT_NE(NULL, a);
	child->arg = a;
	ASSERT_EQ(0, party_join(party_start(child)));
	pause_for(A_WHILE);
	EXPECT_EQ(0, atomic_load(&n));
	ASSERT_EQ(0, cancelled_by_somebody());
	EXPECT_EQ(1, chanfd_after_join(a));
	EXPECT_EQ(1, atomic_load(&n));
}

struct slow {
	atomic_int begun;
	int gate;
	struct chanfd_after *a;
	int self_join;
	int self_stop;
};

static void slow(void *arg)
{
	struct slow *s = arg;
	int n;

	s->begun++;
	chanfd_get(s->gate, &n, NULL);
}

/* TestAfterFuncCalledAsynchronously: neither cancel nor stop waits for it. */
TEST_F(after, nobody_waits_for_it)
{
	struct slow s = { .gate = chanfd_make(int, 0) };
	struct chanfd_after *a = chanfd_after(self->ctx, slow, &s);

	ASSERT_NE(NULL, a);
	ASSERT_EQ(0, cancelled_by_somebody());
	EXPECT_TRUE(eventually(s.begun == 1));
	EXPECT_EQ(0, chanfd_after_stop(a));
	ASSERT_EQ(0, chanfd_put(s.gate, 1, SOON));
	EXPECT_EQ(1, chanfd_after_join(a));
	close(s.gate);
}

TEST_F(after, independent)
{
	struct chanfd_after *a[20];
	atomic_int n[20] = { 0 };
	int i;

	for (i = 0; i < 20; i++) {
		a[i] = chanfd_after(self->ctx, count, &n[i]);
		ASSERT_NE(NULL, a[i]);
	}
	for (i = 0; i < 20; i += 2)
		EXPECT_EQ(1, chanfd_after_stop(a[i]));
	ASSERT_EQ(0, cancelled_by_somebody());
	for (i = 0; i < 20; i++) {
		EXPECT_EQ(i % 2, chanfd_after_join(a[i]));
		EXPECT_EQ(i % 2, atomic_load(&n[i]));
	}
}

/* Stop against cancel: either it runs, or stop has prevented it. */
TEST_F(after, stop_or_run)
{
	int i;

	for (i = 0; i < (variant->process ? 20 : 100); i++) {
		int ctx = chanfd_context(-1);
		struct party *p = party_new(variant->process, run_cancel, ctx);
		atomic_int n = 0;
		struct chanfd_after *a = chanfd_after(ctx, count, &n);
		int stopped;

		ASSERT_NE(NULL, a);
		party_start(p);
		pause_for(i * 5000);
		stopped = chanfd_after_stop(a);
		EXPECT_EQ(!stopped, chanfd_after_join(a));
		EXPECT_EQ(!stopped, atomic_load(&n));
		EXPECT_EQ(0, party_join(p));
		close(ctx);
	}
}

static void joins_itself(void *arg)
{
	struct slow *s = arg;

	slow(arg);
	s->self_stop = chanfd_after_stop(s->a);
	s->self_join = errno_of(chanfd_after_join(s->a));
}

TEST_F(after, joins_itself)
{
	struct slow s = { .gate = chanfd_make(int, 0) };

	s.a = chanfd_after(self->ctx, joins_itself, &s);
	ASSERT_NE(NULL, s.a);
	ASSERT_EQ(0, cancelled_by_somebody());
	ASSERT_EQ(0, chanfd_put(s.gate, 1, SOON));
	EXPECT_EQ(1, chanfd_after_join(s.a));
	EXPECT_EQ(0, s.self_stop);
	EXPECT_EQ(EDEADLK, s.self_join);
	close(s.gate);
}

/* The context is drained when what runs after it has run. */
TEST_F(after, drained)
{
	struct slow s = { .gate = chanfd_make(int, 0) };
	struct chanfd_after *a = chanfd_after(self->ctx, slow, &s);

	ASSERT_NE(NULL, a);
	ASSERT_EQ(0, cancelled_by_somebody());
	EXPECT_EQ(ETIMEDOUT,
		  errno_of(chanfd_context_drained(self->ctx,
						  CHANFD_OPT(-1, 0, chanfd_deadline(MSEC)))));
	ASSERT_EQ(0, chanfd_put(s.gate, 1, SOON));
	EXPECT_EQ(1, chanfd_after_join(a));
	EXPECT_EQ(0, chanfd_context_drained(self->ctx, SOON));
	close(s.gate);
}

TEST(after_errors)
{
	int ch = chanfd_make(int, 0), ctx[2], alone = threads(), before;
	struct rlimit old, none;

	ASSERT_EQ(0, chanfd_context_pair(ctx, -1));
	before = open_fds();
	errno = 0;
	EXPECT_EQ(NULL, chanfd_after(-1, count, NULL));
	EXPECT_EQ(EBADF, errno);
	EXPECT_EQ(NULL, chanfd_after(ch, count, NULL));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(NULL, chanfd_after(ctx[1], count, NULL));
	EXPECT_EQ(EPERM, errno);
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	none = old;
	none.rlim_cur = before;
	none.rlim_cur = dup(0) + 1;
	close(none.rlim_cur - 1);
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(NULL, chanfd_after(ctx[0], count, NULL));
	EXPECT_EQ(EMFILE, errno);
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	EXPECT_EQ(before, open_fds());
	EXPECT_EQ(alone, threads());
}

/* In a process of its own: the line of what went wrong first. */
static long wrong;
#define SHOULD(condition) do {						\
	if (!wrong && !(condition))					\
		wrong = __LINE__;					\
} while (0)

static long run_without_threads(struct party *me)
{
	int ctx = chanfd_context(-1), before = open_fds();
	struct rlimit limit;

	SHOULD(!setresuid(61235, 61235, 61235));
	SHOULD(!getrlimit(RLIMIT_NPROC, &limit));
	limit.rlim_cur = threads();
	SHOULD(!setrlimit(RLIMIT_NPROC, &limit));
	SHOULD(!chanfd_after(ctx, count, NULL) && errno == EAGAIN);
	SHOULD(before == open_fds());
	return wrong;
}

TEST(after_without_threads)
{
	if (getuid())
		SKIP(return, "needs root");
	EXPECT_EQ(0, party_join(party_start(party_new(true, run_without_threads, -1))));
}

/* Signals */

static const int both[] = { SIGINT, SIGTERM };

static sighandler_t disposition(int sig)
{
	struct sigaction sa;

	if (sigaction(sig, NULL, &sa))
		err(1, "sigaction");
	return sa.sa_handler;
}

static long run_kill(struct party *me)
{
	return kill(me->value, me->seq);
}

/* From this process, or from another one. */
static void signal_from(bool process, int sig)
{
	struct party *p = party_new(process, run_kill, -1);

	p->value = getpid();
	p->seq = sig;
	if (party_join(party_start(p)))
		err(1, "kill");
}

FIXTURE(signals) {
	int fds;
	long handles;
};

FIXTURE_VARIANT(signals) {
	bool process;
};

FIXTURE_VARIANT_ADD(signals, threads) { .process = false };
FIXTURE_VARIANT_ADD(signals, processes) { .process = true };

FIXTURE_SETUP(signals)
{
	self->fds = open_fds();
	self->handles = handles_open();
}

FIXTURE_TEARDOWN(signals)
{
	EXPECT_EQ(self->fds, open_fds());
	EXPECT_TRUE(eventually(handles_open() == self->handles));
	EXPECT_TRUE(disposition(SIGINT) == SIG_DFL);
	EXPECT_TRUE(disposition(SIGTERM) == SIG_DFL);
}

TEST_F(signals, which_one)
{
	static const int list[] = { SIGINT, SIGTERM, SIGHUP };
	static const char *const name[] = { "SIGINT", "SIGTERM", "SIGHUP" };
	int i, ctx;

	for (i = 0; i < 3; i++) {
		ctx = chanfd_context_signals(-1, list, 3);
		ASSERT_LE(0, ctx);
		EXPECT_EQ(0, chanfd_context_err(ctx));
		signal_from(variant->process, list[i]);
		EXPECT_END(EINTR, name[i], ctx);
		/* Later ones change nothing, and harm nobody. */
		signal_from(variant->process, list[(i + 1) % 3]);
		EXPECT_END(EINTR, name[i], ctx);
		ASSERT_EQ(0, chanfd_context_signals_stop(ctx));
		close(ctx);
	}
	i = SIGRTMIN + 2;
	ctx = chanfd_context_signals(-1, &i, 1);
	ASSERT_LE(0, ctx);
	signal_from(variant->process, i);
	EXPECT_EQ(0, chanfd_context_wait(ctx, SOON));
	ASSERT_EQ(0, chanfd_context_signals_stop(ctx));
	close(ctx);
}

/* Who waits with the context is let go, who waits without it goes on. */
TEST_F(signals, calls_that_wait)
{
	int ctx = chanfd_context_signals(-1, both, 2), ch = chanfd_make(uint64_t, 0);
	struct party *with = party_new(variant->process, run_recv, ch);
	struct party *without = party_new(variant->process, run_recv, ch);

	with->opt.context = ctx;
	party_start(with);
	ASSERT_TRUE(receivers_wait(ch, 1));
	party_start(without);
	ASSERT_TRUE(receivers_wait(ch, 2));
	signal_from(false, SIGTERM);
	EXPECT_EQ(ECANCELED, errno_of(party_join(with)));
	if (!variant->process)
		party_signal(without, SIGTERM);
	ASSERT_TRUE(receivers_wait(ch, 1));
	ASSERT_EQ(0, chanfd_put(ch, (uint64_t)7, SOON));
	EXPECT_EQ(1, party_join(without));
	ASSERT_EQ(0, chanfd_context_signals_stop(ctx));
	close(ctx);
	close(ch);
}

TEST_F(signals, several_contexts)
{
	int parent = chanfd_context(-1);
	int one = chanfd_context_signals(parent, both, 2);
	int two = chanfd_context_signals(-1, both, 1);
	int three = chanfd_context_signals(-1, both + 1, 1);

	ASSERT_LE(0, three);
	signal_from(variant->process, SIGINT);
	EXPECT_END(EINTR, "SIGINT", one);
	EXPECT_END(EINTR, "SIGINT", two);
	EXPECT_EQ(0, chanfd_context_err(three));
	EXPECT_EQ(0, chanfd_context_err(parent));
	ASSERT_EQ(0, chanfd_context_signals_stop(one));
	ASSERT_EQ(0, chanfd_context_signals_stop(two));
	EXPECT_TRUE(disposition(SIGINT) == SIG_DFL);
	EXPECT_TRUE(disposition(SIGTERM) != SIG_DFL);
	signal_from(variant->process, SIGTERM);
	EXPECT_END(EINTR, "SIGTERM", three);
	ASSERT_EQ(0, chanfd_context_signals_stop(three));
	close(parent);
	close(one);
	close(two);
	close(three);
}

TEST_F(signals, stopped)
{
	int one = chanfd_context_signals(-1, both, 2);
	int two = chanfd_context_signals(-1, both, 2);

	ASSERT_LE(0, two);
	ASSERT_EQ(0, chanfd_context_signals_stop(one));
	EXPECT_EQ(ENOENT, errno_of(chanfd_context_signals_stop(one)));
	signal_from(variant->process, SIGINT);
	EXPECT_END(EINTR, "SIGINT", two);
	EXPECT_EQ(0, chanfd_context_err(one));
	ASSERT_EQ(0, chanfd_context_signals_stop(two));
	close(one);
	close(two);
}

/* Dispositions come back, unless somebody has taken the signal over. */
TEST_F(signals, dispositions)
{
	int ctx;

	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, on_signal);
	ctx = chanfd_context_signals(-1, both, 2);
	ASSERT_LE(0, ctx);
	EXPECT_TRUE(disposition(SIGINT) != SIG_IGN);
	ASSERT_EQ(0, chanfd_context_signals_stop(ctx));
	EXPECT_TRUE(disposition(SIGINT) == SIG_IGN);
	EXPECT_TRUE(on_signal == disposition(SIGTERM));
	close(ctx);

	ctx = chanfd_context_signals(-1, both, 2);
	ASSERT_LE(0, ctx);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_IGN);
	ASSERT_EQ(0, chanfd_context_signals_stop(ctx));
	EXPECT_TRUE(disposition(SIGINT) == SIG_DFL);
	EXPECT_TRUE(disposition(SIGTERM) == SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	close(ctx);
}

struct child {
	int ctx;
	long result;
};

static long run_child(struct party *me)
{
	struct child *c = me->arg;
	struct chanfd_context_info info;
	int mine;

	SHOULD(disposition(SIGTERM) == SIG_DFL);
	/* It has the parent's own handle, but not the library's. */
	SHOULD(!chanfd_context_info(c->ctx, &info));
	SHOULD(info.cancellers == 2);
	SHOULD(errno_of(chanfd_context_signals_stop(c->ctx)) == ENOENT);
	mine = chanfd_context_signals(-1, both + 1, 1);
	SHOULD(mine >= 0);
	SHOULD(!raise(SIGTERM));
	SHOULD(chanfd_context_err(mine) == ECANCELED);
	SHOULD(!chanfd_context_err(c->ctx));
	return wrong;
}

/* A child does not watch what its parent does, and cannot end it so. */
TEST_F(signals, forked_child)
{
	struct child *c = shared(sizeof(*c));
	struct party *p = party_new(true, run_child, -1);
	sigset_t mask;

	c->ctx = chanfd_context_signals(-1, both, 2);
	ASSERT_LE(0, c->ctx);
	p->arg = c;
	EXPECT_EQ(0, party_join(party_start(p)));
	EXPECT_EQ(0, chanfd_context_err(c->ctx));
	ASSERT_EQ(0, sigprocmask(SIG_SETMASK, NULL, &mask));
	EXPECT_FALSE(sigismember(&mask, SIGTERM));
	signal_from(variant->process, SIGTERM);
	EXPECT_END(EINTR, "SIGTERM", c->ctx);
	ASSERT_EQ(0, chanfd_context_signals_stop(c->ctx));
	close(c->ctx);
}

static void *storm(void *arg)
{
	atomic_bool *stop = arg;

	while (!*stop)
		kill(getpid(), SIGURG);
	return NULL;
}

/* Watches come and go while handlers run. (What SIGURG does otherwise is nothing.) */
TEST_F(signals, storm)
{
	static const int sig = SIGURG;
	atomic_bool stop = false;
	pthread_t thread[2];
	int i, ctx;

	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, storm, &stop));
	for (i = 0; i < 300; i++) {
		ctx = chanfd_context_signals(-1, &sig, 1);
		ASSERT_LE(0, ctx);
		if (i % 3 == 0)
			EXPECT_END(EINTR, "SIGURG", ctx);
		ASSERT_EQ(0, chanfd_context_signals_stop(ctx));
		close(ctx);
	}
	stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	EXPECT_TRUE(disposition(SIGURG) == SIG_DFL);
}

TEST_F(signals, errors)
{
	static const int bad[][2] = {
		{ SIGTERM, SIGKILL }, { SIGSTOP, SIGTERM }, { 0, 1 }, { SIGTERM, -1 },
		{ 65, SIGTERM },
	};
	int ctx[CHANFD_MAX_WATCHES], i, before = open_fds();

	for (i = 0; i < 5; i++)
		EXPECT_EQ(EINVAL, errno_of(chanfd_context_signals(-1, bad[i], 2)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_context_signals(-1, both, 0)));
	EXPECT_EQ(EBADF, errno_of(chanfd_context_signals(1000, both, 1)));
	EXPECT_EQ(before, open_fds());
	EXPECT_TRUE(disposition(SIGTERM) == SIG_DFL);
	for (i = 0; i < CHANFD_MAX_WATCHES; i++) {
		ctx[i] = chanfd_context_signals(-1, both, 2);
		ASSERT_LE(0, ctx[i]);
	}
	EXPECT_EQ(ENOSPC, errno_of(chanfd_context_signals(-1, both, 2)));
	while (i--) {
		ASSERT_EQ(0, chanfd_context_signals_stop(ctx[i]));
		close(ctx[i]);
	}
	EXPECT_EQ(before, open_fds());
}

/* Processes */

static long run_hold(struct party *me)
{
	pause();
	return 0;
}

TEST(process_ends)
{
	struct party *p = party_start(party_new(true, run_hold, -1));
	int before = open_fds();
	int root = chanfd_context(-1);
	int ctx = chanfd_context_process(root, p->tid);
	int other = chanfd_context_process(-1, getpid());

	ASSERT_LE(0, ctx);
	EXPECT_EQ(0, chanfd_context_err(ctx));
	party_kill(p);
	EXPECT_END(EOWNERDEAD, "", ctx);
	EXPECT_EQ(0, chanfd_context_err(root));
	close(ctx);
	/* It is collected: there is no such process. */
	ctx = chanfd_context_process(root, p->tid);
	EXPECT_END(EOWNERDEAD, "", ctx);
	EXPECT_EQ(0, chanfd_context_err(other));
	close(ctx);
	close(other);
	close(root);
	EXPECT_EQ(EINVAL, errno_of(chanfd_context_process(-1, 0)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_context_process(-1, -5)));
	EXPECT_EQ(before, open_fds());
}

struct family {
	atomic_int ready;
	atomic_int go;
	atomic_int told;
	int wrong;
};

/* The parent dies before or after its child asks for it. */
static long run_parent(struct party *me)
{
	struct family *f = me->arg;
	pid_t self = getpid();
	struct chanfd_context_info info;
	int ctx;

	if (fork()) {
		while (!f->ready)
			pause_for(MSEC);
		if (me->value)
			kill(self, SIGKILL);
		pause();
	}
	if (me->value) {	/* first it dies */
		f->ready = 1;
		while (getppid() == self)
			pause_for(MSEC);
	}
	ctx = chanfd_context_parent_process(-1, self);
	if (!me->value) {
		if (chanfd_context_err(ctx))
			f->wrong++;
		f->ready = 1;
	}
	if (ctx < 0 || chanfd_context_wait(ctx, NULL) || chanfd_context_info(ctx, &info) ||
	    info.cause != EOWNERDEAD)
		f->wrong++;
	f->told = 1;
	_exit(0);
}

TEST(parent_ends)
{
	struct party *p;
	int first;

	for (first = 0; first < 2; first++) {
		struct family *f = shared(sizeof(*f));

		p = party_new(true, run_parent, -1);
		p->arg = f;
		p->value = first;
		party_start(p);
		ASSERT_TRUE(eventually(f->ready));
		party_kill(p);
		EXPECT_TRUE(eventually(f->told));
		EXPECT_EQ(0, f->wrong);
	}
}

/* Who is not the parent, whatever process has that number. */
TEST(another_parent)
{
	int ctx = chanfd_context_parent_process(-1, getpid());

	EXPECT_END(EOWNERDEAD, "", ctx);
	close(ctx);
	ctx = chanfd_context_parent_process(-1, getppid());
	EXPECT_EQ(0, chanfd_context_err(ctx));
	close(ctx);
}

/* Clients */

FIXTURE(client) {
	int server;
	int client;
	int fds;
	long handles;
};

FIXTURE_VARIANT(client) {
	int domain;
};

FIXTURE_VARIANT_ADD(client, tcp) { .domain = AF_INET };
FIXTURE_VARIANT_ADD(client, unix) { .domain = AF_UNIX };

static void connect_tcp(int *server, int *client)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len))
		err(1, "listen");
	*client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(*client, (struct sockaddr *)&addr, sizeof(addr)))
		err(1, "connect");
	*server = accept(listener, NULL, NULL);
	if (*server < 0)
		err(1, "accept");
	close(listener);
}

FIXTURE_SETUP(client)
{
	int pair[2];

	self->fds = open_fds();
	self->handles = handles_open();
	if (variant->domain == AF_INET) {
		connect_tcp(&self->server, &self->client);
	} else {
		ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
		self->server = pair[0];
		self->client = pair[1];
	}
}

FIXTURE_TEARDOWN(client)
{
	chanfd_cleanup_fd(&self->client);
	close(self->server);
	EXPECT_EQ(self->fds, open_fds());
	EXPECT_TRUE(eventually(handles_open() == self->handles));
}

TEST_F(client, hangs_up)
{
	int ctx = chanfd_context_hangup(-1, self->server);

	ASSERT_LE(0, ctx);
	EXPECT_EQ(0, chanfd_context_err(ctx));
	chanfd_cleanup_fd(&self->client);
	EXPECT_END(ECONNRESET, "", ctx);
	close(ctx);
}

/* Data is no hang-up, and does not hide it. */
TEST_F(client, with_data)
{
	int ctx = chanfd_context_hangup(-1, self->server), before, i;
	struct pollfd p = { .fd = self->server, .events = POLLIN };

	ASSERT_LE(0, ctx);
	for (i = 0; i < 100; i++)
		ASSERT_EQ(5, send(self->client, "hello", 5, 0));
	ASSERT_EQ(1, poll(&p, 1, BOUND / MSEC));
	before = chanfd_context_hangup(-1, self->server);
	ASSERT_LE(0, before);
	/* The other way is no news either. */
	ASSERT_EQ(5, send(self->server, "hello", 5, 0));
	pause_for(A_WHILE);
	EXPECT_EQ(0, chanfd_context_err(ctx));
	EXPECT_EQ(0, chanfd_context_err(before));
	shutdown(self->client, SHUT_WR);
	EXPECT_END(ECONNRESET, "", ctx);
	EXPECT_END(ECONNRESET, "", before);
	close(ctx);
	close(before);
}

TEST_F(client, has_hung_up_before)
{
	int ctx;

	ASSERT_EQ(5, send(self->client, "hello", 5, 0));
	chanfd_cleanup_fd(&self->client);
	ctx = chanfd_context_hangup(-1, self->server);
	ASSERT_LE(0, ctx);
	EXPECT_END(ECONNRESET, "", ctx);
	close(ctx);
}

static long run_client(struct party *me)
{
	pause();
	return 0;
}

TEST_F(client, is_killed)
{
	struct party *p = party_start(party_new(true, run_client, self->client));
	int ctx = chanfd_context_hangup(-1, self->server);

	ASSERT_LE(0, ctx);
	close(self->client);
	self->client = -1;
	pause_for(A_WHILE);
	EXPECT_EQ(0, chanfd_context_err(ctx));
	party_kill(p);
	EXPECT_END(ECONNRESET, "", ctx);
	close(ctx);
}

TEST(hangup_errors)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), before = open_fds();

	EXPECT_EQ(EBADF, errno_of(chanfd_context_hangup(-1, -1)));
	EXPECT_EQ(EPERM, errno_of(chanfd_context_hangup(-1, file)));
	EXPECT_EQ(EBADF, errno_of(chanfd_context_hangup(1000, file)));
	EXPECT_EQ(before, open_fds());
}

/* Time */

static uint64_t deadline_of(int ctx)
{
	struct chanfd_context_info info;

	if (chanfd_context_info(ctx, &info))
		err(1, "chanfd_context_info");
	return info.deadline;
}

TEST(budget)
{
	uint64_t start = chanfd_deadline(0), end = start + 1000 * SEC * SLOWNESS, after, d;
	int parent = chanfd_context_deadline(-1, end), ctx;
	const uint64_t never = INT64_MAX;

	/* A share. */
	ctx = chanfd_context_budget(parent, never, 50);
	after = chanfd_deadline(0);
	d = deadline_of(ctx);
	EXPECT_LE(start + (end - start) / 2 - 100, d);
	EXPECT_GE(after + (end - after) / 2, d);
	close(ctx);
	/* All of it; and never more. */
	ctx = chanfd_context_budget(parent, never, 100);
	EXPECT_GE(end, deadline_of(ctx));
	EXPECT_LE(end - 100, deadline_of(ctx));
	close(ctx);
	ctx = chanfd_context_budget(parent, 100000 * SEC * SLOWNESS, 100);
	EXPECT_GE(end, deadline_of(ctx));
	close(ctx);
	/* Less, if so much is enough. */
	start = chanfd_deadline(0);
	ctx = chanfd_context_budget(parent, SEC, 90);
	after = chanfd_deadline(0);
	EXPECT_LE(start + SEC, deadline_of(ctx));
	EXPECT_GE(after + SEC, deadline_of(ctx));
	close(ctx);
	/* A parent without a deadline, and none. */
	close(parent);
	parent = chanfd_context(-1);
	start = chanfd_deadline(0);
	ctx = chanfd_context_budget(parent, 7 * SEC, 10);
	EXPECT_LE(start + 7 * SEC, deadline_of(ctx));
	EXPECT_GE(chanfd_deadline(7 * SEC), deadline_of(ctx));
	close(ctx);
	ctx = chanfd_context_budget(-1, 7 * SEC, 10);
	EXPECT_LE(start + 7 * SEC, deadline_of(ctx));
	close(ctx);
	/* Nothing is left. */
	ctx = chanfd_context_budget(parent, 0, 100);
	EXPECT_EQ(ETIMEDOUT, chanfd_context_err(ctx));
	close(ctx);
	close(parent);
	parent = chanfd_context_deadline(-1, 1);
	ctx = chanfd_context_budget(parent, SEC, 50);
	EXPECT_EQ(ETIMEDOUT, chanfd_context_err(ctx));
	close(ctx);
	EXPECT_EQ(EINVAL, errno_of(chanfd_context_budget(parent, SEC, 0)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_context_budget(parent, SEC, 101)));
	EXPECT_EQ(EBADF, errno_of(chanfd_context_budget(1000, SEC, 50)));
	close(parent);
}

TEST_HARNESS_MAIN
