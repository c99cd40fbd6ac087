// SPDX-License-Identifier: GPL-2.0
/*
 * Contexts: cancelling, deadlines, values, foreign files, and drained trees.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "helpers.h"

#define HOUR	(3600 * SEC)

/* Causes are the caller's own numbers. */
enum { OF_PARENT = 1001, OF_CHILD, TOO_SLOW, EARLY };

static const char user[CHANFD_KEY_LEN] = "user";
static const char trace[CHANFD_KEY_LEN] = "trace";

static struct chanfd_context_info ctx_info(int ctx)
{
	struct chanfd_context_info info;

	poison(&info);
	if (chanfd_context_info(ctx, &info))
		err(1, "chanfd_context_info");
	return info;
}

#define EXPECT_END(error_, cause_, ctx) do {			\
	struct chanfd_context_info info_ = ctx_info(ctx);	\
								\
	EXPECT_EQ(error_, info_.error);				\
	EXPECT_EQ(cause_, info_.cause);				\
} while (0)

#define EXPECT_LIVE(ctx)	EXPECT_END(0, 0, ctx)

static bool waiters_wait(int ctx, unsigned int n)
{
	return eventually(ctx_info(ctx).waiters == n);
}

/* With a cause of its own for the deadline; chanfd_context_deadline() has none. */
static int derive_deadline(int parent, uint64_t deadline, int cause)
{
	struct chanfd_context c = CHANFD_CONTEXT_INIT;

	c.parent = parent;
	c.deadline = deadline;
	c.deadline_cause = cause;
	return chanfd_context_make(&c) < 0 ? -1 : c.fd[0];
}

static int derive_flags(int fd[2], int parent, unsigned int flags)
{
	struct chanfd_context c = CHANFD_CONTEXT_INIT;

	c.parent = parent;
	c.flags = flags;
	if (chanfd_context_make(&c) < 0)
		return -1;
	fd[0] = c.fd[0];
	fd[1] = c.fd[1];
	return 0;
}

static short polled(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, 0) < 0)
		err(1, "poll");
	return p.revents;
}

static long run_wait(struct party *me)
{
	return chanfd_context_wait(me->fd, &me->opt);
}

static long run_drained(struct party *me)
{
	return chanfd_context_drained(me->fd, &me->opt);
}

static long run_cancel(struct party *me)
{
	return chanfd_cancel(me->fd, me->value, "by a party");
}

static long run_hold(struct party *me)
{
	return pause();
}

/* A process that keeps what it inherits open; the test lets go of @fd. */
static struct party *holder_of(int fd)
{
	struct party *p = party_start(party_new(true, run_hold, fd));

	close(fd);
	return p;
}

/* Room for so many handles at once, if the machine allows it. */
static bool many_handles(rlim_t n)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		err(1, "getrlimit");
	if (limit.rlim_cur >= n)
		return true;
	limit.rlim_cur = n;
	if (limit.rlim_max < n)
		limit.rlim_max = n;
	return !setrlimit(RLIMIT_NOFILE, &limit);
}

/* tX1: nobody can end a root that nobody can cancel. */
TEST(background)
{
	struct chanfd_opt opt = CHANFD_OPT_INIT;
	int fd[2];

	ASSERT_EQ(0, derive_flags(fd, -1, CHANFD_OBSERVE));
	EXPECT_EQ(-1, fd[1]);
	EXPECT_EQ(0, chanfd_context_err(fd[0]));
	EXPECT_EQ(0, ctx_info(fd[0]).deadline);
	EXPECT_EQ(0, ctx_info(fd[0]).cancellers);
	EXPECT_EQ(0, polled(fd[0]));
	opt.deadline = chanfd_deadline(A_WHILE);
	EXPECT_EQ(ETIMEDOUT, errno_of(chanfd_context_wait(fd[0], &opt)));
	EXPECT_EQ(ENOENT, errno_of(chanfd_value(fd[0], user, NULL, 0)));
	EXPECT_EQ(EPERM, errno_of(chanfd_cancel(fd[0], 0, NULL)));
	EXPECT_LIVE(fd[0]);
}

TEST(info)
{
	struct chanfd_info info;
	int parent, fd[2];

	parent = chanfd_context(-1);
	ASSERT_LE(0, parent);
	poison(&info);
	ASSERT_EQ(0, chanfd_info(parent, &info));
	EXPECT_EQ(CHANFD_TYPE_CONTEXT, info.type);
	EXPECT_EQ(CHANFD_READ | CHANFD_WRITE, info.rights);
	ASSERT_EQ(0, chanfd_context_pair(fd, parent));
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd[0], F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd[1], F_GETFD));
	ASSERT_EQ(0, chanfd_info(fd[0], &info));
	EXPECT_EQ(CHANFD_READ, info.rights);
	ASSERT_EQ(0, chanfd_info(fd[1], &info));
	EXPECT_EQ(CHANFD_WRITE, info.rights);
	EXPECT_EQ(1, ctx_info(parent).children);
	EXPECT_EQ(1, ctx_info(fd[0]).cancellers);
	EXPECT_EQ(0, ctx_info(fd[0]).children);
}

/* X3, tX19: who only observes can't stop the others, and can't come to. */
TEST(observer_cannot_cancel)
{
	struct chanfd_bind bind = { .events = POLLIN };
	char path[64];
	int fd[2];

	ASSERT_EQ(0, chanfd_context_pair(fd, -1));
	bind.fd = eventfd(0, EFD_CLOEXEC);
	ASSERT_LE(0, bind.fd);
	EXPECT_EQ(EPERM, errno_of(chanfd_cancel(fd[0], 0, NULL)));
	EXPECT_EQ(EPERM, errno_of(ioctl(fd[0], CHANFD_IOC_BIND, &bind)));
	EXPECT_EQ(EPERM, errno_of(chanfd_reduce(fd[0], CHANFD_READ | CHANFD_WRITE)));
	EXPECT_EQ(EPERM, errno_of(chanfd_reduce(fd[0], CHANFD_WRITE)));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd[0]);
	EXPECT_EQ(-1, open(path, O_RDWR));
	EXPECT_LIVE(fd[0]);
	EXPECT_EQ(0, chanfd_cancel(fd[1], 0, NULL));
	EXPECT_END(ECANCELED, ECANCELED, fd[0]);
}

TEST(canceller_cannot_observe)
{
	struct chanfd_opt opt = CHANFD_OPT_INIT;
	int fd[2], ch;

	ASSERT_EQ(0, chanfd_context_pair(fd, -1));
	EXPECT_EQ(EPERM, errno_of(chanfd_context_wait(fd[1], NULL)));
	EXPECT_EQ(EPERM, errno_of(chanfd_context_drained(fd[1], NULL)));
	EXPECT_EQ(EPERM, errno_of(chanfd_context(fd[1])));
	EXPECT_EQ(EPERM, errno_of(chanfd_value(fd[1], user, NULL, 0)));
	EXPECT_EQ(EPERM, errno_of(chanfd_reduce(fd[1], CHANFD_READ)));

	ch = chanfd_channel(4, 1, 0, "");
	ASSERT_LE(0, ch);
	opt.context = fd[1];
	EXPECT_EQ(EPERM, errno_of(chanfd_send(ch, "abc", 4, &opt)));
	EXPECT_EQ(0, info_of(ch).len);
}

/* tX12, X17 */
TEST(bad_parent)
{
	int fd[2], ch = chanfd_channel(4, 1, 0, "");

	ASSERT_LE(0, ch);
	EXPECT_EQ(EBADF, errno_of(chanfd_context(1000000)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_context(ch)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_context(STDERR_FILENO)));
	EXPECT_EQ(EINVAL, errno_of(derive_flags(fd, -1, CHANFD_PAIR | CHANFD_OBSERVE)));
	EXPECT_EQ(EINVAL, errno_of(derive_flags(fd, -1, 1U << 31)));
}

/* X9, after Go's table of causes. Each row makes what it looks at. */

static int must(int fd)
{
	if (fd < 0)
		err(1, "context");
	return fd;
}

static int row_background(void)
{
	int fd[2];

	must(derive_flags(fd, -1, CHANFD_OBSERVE));
	return fd[0];
}

static int row_live(void)
{
	return must(chanfd_context(-1));
}

static int row_cancel(void)
{
	int ctx = must(chanfd_context(-1));

	chanfd_cancel(ctx, 0, NULL);
	return ctx;
}

static int row_cancel_with_cause(void)
{
	int ctx = must(chanfd_context(-1));

	chanfd_cancel(ctx, OF_PARENT, NULL);
	return ctx;
}

static int row_cancel_twice(void)
{
	int ctx = row_cancel_with_cause();

	chanfd_cancel(ctx, OF_CHILD, NULL);
	return ctx;
}

static int row_cancel_then_with_cause(void)
{
	int ctx = row_cancel();

	chanfd_cancel(ctx, OF_CHILD, NULL);
	return ctx;
}

/* Cancels parent and child, in this order or the other. */
static int cancel_two(int of_parent, int of_child, bool child_first)
{
	int parent = must(chanfd_context(-1));
	int child = must(chanfd_context(parent));

	if (child_first)
		chanfd_cancel(child, of_child, NULL);
	chanfd_cancel(parent, of_parent, NULL);
	if (!child_first)
		chanfd_cancel(child, of_child, NULL);
	return child;
}

static int row_parent_before_child(void)
{
	return cancel_two(OF_PARENT, OF_CHILD, false);
}

static int row_child_before_parent(void)
{
	return cancel_two(OF_PARENT, OF_CHILD, true);
}

static int row_parent_without_cause(void)
{
	return cancel_two(0, OF_CHILD, false);
}

static int row_child_without_cause(void)
{
	return cancel_two(OF_PARENT, 0, true);
}

static int row_grandchild(void)
{
	int parent = must(chanfd_context(-1));
	int child = must(chanfd_context(must(chanfd_context(parent))));

	chanfd_cancel(parent, OF_PARENT, NULL);
	return child;
}

static int row_through_value(void)
{
	int parent = must(chanfd_context(-1));
	int child = must(chanfd_context(must(chanfd_context_value(parent, user, "x", 1))));

	chanfd_cancel(parent, OF_PARENT, NULL);
	return child;
}

static int row_child_then_through_value(void)
{
	int parent = must(chanfd_context(-1));
	int child = must(chanfd_context(must(chanfd_context_value(parent, user, "x", 1))));

	chanfd_cancel(child, OF_CHILD, NULL);
	chanfd_cancel(parent, OF_PARENT, NULL);
	return child;
}

static int row_timeout(void)
{
	return must(chanfd_context_timeout(-1, 0));
}

static int row_timeout_cancelled(void)
{
	int ctx = must(chanfd_context_timeout(-1, HOUR));

	chanfd_cancel(ctx, 0, NULL);
	return ctx;
}

static int row_timeout_then_cancelled(void)
{
	int ctx = row_timeout();

	chanfd_cancel(ctx, EARLY, NULL);
	return ctx;
}

static int row_timeout_parent_cancelled(void)
{
	int parent = must(chanfd_context(-1));
	int ctx = must(chanfd_context_timeout(parent, HOUR));

	chanfd_cancel(parent, OF_PARENT, NULL);
	return ctx;
}

static int row_timeout_under_cancelled(void)
{
	return must(chanfd_context_timeout(row_cancel_with_cause(), 0));
}

static int row_timeout_cause(void)
{
	return must(derive_deadline(-1, 1, TOO_SLOW));
}

static int row_timeout_cause_cancelled(void)
{
	int ctx = must(derive_deadline(-1, chanfd_deadline(HOUR), TOO_SLOW));

	chanfd_cancel(ctx, 0, NULL);
	return ctx;
}

static int row_timeout_cause_stacked(void)
{
	int parent = must(chanfd_context(-1));
	int ctx = must(derive_deadline(parent, 1, TOO_SLOW));

	chanfd_cancel(parent, EARLY, NULL);
	return ctx;
}

static int row_timeout_cause_stacked_cancelled(void)
{
	int parent = must(chanfd_context(-1));
	int ctx = must(derive_deadline(parent, chanfd_deadline(HOUR), TOO_SLOW));

	chanfd_cancel(parent, EARLY, NULL);
	return ctx;
}

static int row_without_cancel(void)
{
	return must(chanfd_context_without_cancel(must(chanfd_context(-1))));
}

static int row_without_cancel_parent_cancelled(void)
{
	int parent = must(chanfd_context(-1));
	int ctx = must(chanfd_context_without_cancel(parent));

	chanfd_cancel(parent, OF_PARENT, NULL);
	return ctx;
}

static int row_without_cancel_of_cancelled(void)
{
	return must(chanfd_context_without_cancel(row_cancel_with_cause()));
}

static int row_without_cancel_timeout(void)
{
	return must(chanfd_context_without_cancel(row_timeout()));
}

TEST(causes)
{
#define ROW(name, error, cause) { #name, row_##name, error, cause }
	static const struct {
		const char *name;
		int (*make)(void);
		int error, cause;
	} row[] = {
		ROW(background, 0, 0),
		ROW(live, 0, 0),
		ROW(cancel, ECANCELED, ECANCELED),
		ROW(cancel_with_cause, ECANCELED, OF_PARENT),
		ROW(cancel_twice, ECANCELED, OF_PARENT),
		ROW(cancel_then_with_cause, ECANCELED, ECANCELED),
		ROW(parent_before_child, ECANCELED, OF_PARENT),
		ROW(child_before_parent, ECANCELED, OF_CHILD),
		ROW(parent_without_cause, ECANCELED, ECANCELED),
		ROW(child_without_cause, ECANCELED, ECANCELED),
		ROW(grandchild, ECANCELED, OF_PARENT),
		ROW(through_value, ECANCELED, OF_PARENT),
		ROW(child_then_through_value, ECANCELED, OF_CHILD),
		ROW(timeout, ETIMEDOUT, ETIMEDOUT),
		ROW(timeout_cancelled, ECANCELED, ECANCELED),
		ROW(timeout_then_cancelled, ETIMEDOUT, ETIMEDOUT),
		ROW(timeout_parent_cancelled, ECANCELED, OF_PARENT),
		ROW(timeout_under_cancelled, ECANCELED, OF_PARENT),
		ROW(timeout_cause, ETIMEDOUT, TOO_SLOW),
		ROW(timeout_cause_cancelled, ECANCELED, ECANCELED),
		ROW(timeout_cause_stacked, ETIMEDOUT, TOO_SLOW),
		ROW(timeout_cause_stacked_cancelled, ECANCELED, EARLY),
		ROW(without_cancel, 0, 0),
		ROW(without_cancel_parent_cancelled, 0, 0),
		ROW(without_cancel_of_cancelled, 0, 0),
		ROW(without_cancel_timeout, 0, 0),
	};
#undef ROW
	struct chanfd_context_info info;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(row); i++) {
		info = ctx_info(row[i].make());
		EXPECT_EQ(row[i].error, info.error)
			TH_LOG("row %s", row[i].name);
		EXPECT_EQ(row[i].cause, info.cause)
			TH_LOG("row %s", row[i].name);
	}
}

FIXTURE(context) {
	int ctx;
};

FIXTURE_VARIANT(context) {
	bool process;
};

FIXTURE_VARIANT_ADD(context, threads) {
	.process = false,
};

FIXTURE_VARIANT_ADD(context, processes) {
	.process = true,
};

FIXTURE_SETUP(context)
{
	self->ctx = chanfd_context(-1);
	ASSERT_LE(0, self->ctx);
}

FIXTURE_TEARDOWN(context)
{
	close(self->ctx);
}

static struct party *party_wait(bool process, int ctx)
{
	return party_start(party_new(process, run_wait, ctx));
}

static struct party *party_cancel(bool process, int ctx, int cause)
{
	struct party *p = party_new(process, run_cancel, ctx);

	p->value = cause;
	return party_start(p);
}

/* X2 */
TEST_F(context, cancel_wakes)
{
	struct party *waiter = party_wait(variant->process, self->ctx);

	ASSERT_TRUE(waiters_wait(self->ctx, 1));
	EXPECT_TRUE(stays_blocked(waiter));
	EXPECT_EQ(0, party_join(party_cancel(variant->process, self->ctx, EIO)));
	EXPECT_EQ(0, party_join(waiter));
	EXPECT_END(ECANCELED, EIO, self->ctx);
	EXPECT_EQ(0, ctx_info(self->ctx).waiters);
	EXPECT_EQ(ECANCELED, chanfd_context_err(self->ctx));
	/* It stays so, for those who come later. */
	EXPECT_EQ(0, party_join(party_cancel(variant->process, self->ctx, EACCES)));
	EXPECT_EQ(0, party_join(party_wait(variant->process, self->ctx)));
	EXPECT_END(ECANCELED, EIO, self->ctx);
}

/* X4: the whole tree, at once, and what was said at its root. */
TEST_F(context, cancel_reaches_all)
{
	int child = chanfd_context(self->ctx);
	int sibling = chanfd_context(self->ctx);
	int grandchild = chanfd_context(child);
	struct party *waiter;

	ASSERT_LE(0, grandchild);
	ASSERT_LE(0, sibling);
	waiter = party_wait(variant->process, grandchild);
	ASSERT_TRUE(waiters_wait(grandchild, 1));
	EXPECT_EQ(0, party_join(party_cancel(variant->process, self->ctx, EIO)));
	EXPECT_END(ECANCELED, EIO, child);
	EXPECT_END(ECANCELED, EIO, sibling);
	EXPECT_END(ECANCELED, EIO, grandchild);
	EXPECT_STREQ("by a party", (char *)ctx_info(grandchild).text);
	EXPECT_STREQ("by a party", (char *)ctx_info(self->ctx).text);
	EXPECT_EQ(0, party_join(waiter));
}

/* X5, tX3: not upwards and not sideways; nothing of the child remains. */
TEST_F(context, child_first)
{
	int child = chanfd_context(self->ctx);
	int sibling = chanfd_context(self->ctx);
	struct party *waiter;

	ASSERT_LE(0, sibling);
	waiter = party_wait(variant->process, child);
	ASSERT_TRUE(waiters_wait(child, 1));
	EXPECT_EQ(0, party_join(party_cancel(variant->process, child, EIO)));
	EXPECT_EQ(0, party_join(waiter));
	EXPECT_LIVE(self->ctx);
	EXPECT_LIVE(sibling);
	EXPECT_EQ(2, ctx_info(self->ctx).children);
	close(child);
	EXPECT_TRUE(eventually(ctx_info(self->ctx).children == 1));
	close(sibling);
	EXPECT_TRUE(eventually(ctx_info(self->ctx).children == 0));
}

/* X6, tX10 */
TEST_F(context, born_done)
{
	struct party *waiter;
	int child;

	ASSERT_EQ(0, chanfd_cancel(self->ctx, EIO, "too late"));
	child = chanfd_context(self->ctx);
	ASSERT_LE(0, child);
	EXPECT_END(ECANCELED, EIO, child);
	EXPECT_STREQ("too late", (char *)ctx_info(child).text);
	EXPECT_EQ(POLLIN | POLLHUP, polled(child));
	waiter = party_wait(variant->process, child);
	EXPECT_EQ(0, party_join(waiter));
	/* Its own reason comes too late, be it as old as time. */
	EXPECT_END(ECANCELED, EIO, derive_deadline(self->ctx, 1, TOO_SLOW));
}

/*
 * Derives until it gets one that is done. When cancel has returned, which it
 * learns from a waitgroup, not one of them may be left.
 */
#define FAMILY	64

static long run_derive(struct party *me)
{
	int child[FAMILY], i, n = 0, lost = 0;

	do {
		child[n] = chanfd_context(me->fd);
		if (child[n] < 0)
			return -1;
	} while (!chanfd_context_err(child[n++]) && n < FAMILY);
	if (chanfd_wg_wait(me->value, NULL, NULL))
		return -1;
	for (i = 0; i < n; i++) {
		lost += ctx_info(child[i]).cause != EIO;
		close(child[i]);
	}
	return lost;
}

TEST_F(context, derive_against_cancel)
{
	int round, ctx, returned = chanfd_waitgroup(0, "returned");
	struct party *p;
	unsigned int before;

	for (round = 0; round < 200; round++) {
		ctx = chanfd_context(-1);
		ASSERT_LE(0, ctx);
		ASSERT_EQ(0, chanfd_wg_add(returned, 1));
		p = party_new(variant->process, run_derive, ctx);
		p->value = returned;
		party_start(p);
		before = round % 12;
		while (ctx_info(ctx).children < before && !p->ended)
			sched_yield();
		ASSERT_EQ(0, chanfd_cancel(ctx, EIO, NULL));
		ASSERT_EQ(0, chanfd_wg_done(returned));
		EXPECT_EQ(0, party_join(p));
		close(ctx);
	}
}

/* X7, tX15: error, cause and readiness are one thing. */
struct watch {
	int ctx[100];
	atomic_int at;
};

static long run_watch(struct party *me)
{
	struct watch *w = me->arg;
	struct chanfd_context_info before, after;
	int i, bad = 0;
	short events;

	for (i = 0; i < 100; i++) {
		w->at = i + 1;
		do {
			before = ctx_info(w->ctx[i]);
			events = polled(w->ctx[i]);
			after = ctx_info(w->ctx[i]);
			bad += before.cause != (before.error ? EIO : 0);
			bad += before.error && before.error != ECANCELED;
			bad += strcmp((char *)before.text, before.error ? "by a party" : "");
			bad += before.error && !(events & POLLIN);
			bad += (events & POLLIN) && !after.error;
		} while (!after.error);
	}
	return bad;
}

TEST_F(context, cause_race)
{
	struct watch *w = shared(sizeof(*w));
	struct party *watcher;
	int i;

	for (i = 0; i < 100; i++) {
		w->ctx[i] = chanfd_context(-1);
		ASSERT_LE(0, w->ctx[i]);
	}
	watcher = party_new(variant->process, run_watch, -1);
	watcher->arg = w;
	party_start(watcher);
	for (i = 0; i < 100; i++) {
		while (w->at != i + 1 && !watcher->ended)
			sched_yield();
		ASSERT_EQ(0, chanfd_cancel(w->ctx[i], EIO, "by a party"));
	}
	EXPECT_EQ(0, party_join(watcher));
}

/* tX7: a watcher of the parent cancels the child while the parent does. */
static long run_relay(struct party *me)
{
	return chanfd_context_wait(me->fd, NULL) ?:
	       chanfd_cancel(me->value, OF_CHILD, NULL);
}

TEST_F(context, interlocked)
{
	struct party *relay;
	int child, i, cause;

	for (i = 0; i < 20; i++) {
		int parent = chanfd_context(-1);

		child = chanfd_context(parent);
		ASSERT_LE(0, child);
		relay = party_new(variant->process, run_relay, parent);
		relay->value = child;
		party_start(relay);
		ASSERT_TRUE(waiters_wait(parent, 1));
		ASSERT_EQ(0, chanfd_cancel(parent, OF_PARENT, NULL));
		EXPECT_EQ(0, chanfd_context_wait(child, NULL));
		cause = ctx_info(child).cause;
		EXPECT_TRUE(cause == OF_PARENT || cause == OF_CHILD);
		EXPECT_EQ(0, party_join(relay));
		EXPECT_EQ(cause, ctx_info(child).cause);
		close(child);
		close(parent);
	}
}

/* X19: anybody cancels anything in a tree; each ends for a reason above it. */
#define TREE	63

static long run_cancel_some(struct party *me)
{
	unsigned int seed = me->value;
	int *tree = me->arg;
	int i, node;

	for (i = 0; i < 12; i++) {
		node = rand_r(&seed) % TREE;
		if (chanfd_cancel(tree[node], 1000 + node, NULL))
			return -1;
	}
	return 0;
}

TEST_F(context, simultaneous_cancels)
{
	int *tree = shared(TREE * sizeof(*tree));
	struct chanfd_context_info info;
	struct party *p[4];
	int round, i, node;

	for (round = 0; round < 10; round++) {
		tree[0] = chanfd_context(-1);
		for (i = 1; i < TREE; i++)
			tree[i] = chanfd_context(tree[(i - 1) / 2]);
		ASSERT_LE(0, tree[TREE - 1]);
		for (i = 0; i < 4; i++) {
			p[i] = party_new(variant->process, run_cancel_some, -1);
			p[i]->arg = tree;
			p[i]->value = round * 4 + i;
			party_start(p[i]);
		}
		for (i = 0; i < 4; i++)
			EXPECT_EQ(0, party_join(p[i]));
		for (i = 0; i < TREE; i++) {
			info = ctx_info(tree[i]);
			if (i && ctx_info(tree[(i - 1) / 2]).error)
				EXPECT_EQ(ECANCELED, info.error);
			if (!info.error)
				continue;
			node = i;
			while (node && info.cause != 1000 + node)
				node = (node - 1) / 2;
			EXPECT_EQ(1000 + node, info.cause);
		}
		ASSERT_EQ(0, chanfd_cancel(tree[0], 1, NULL));
		for (i = 0; i < TREE; i++) {
			EXPECT_EQ(ECANCELED, chanfd_context_err(tree[i]));
			close(tree[i]);
		}
	}
}

/* Whoever cancels, first or not: when the call returns all are done. */
#define BROOD	400

struct brood {
	int root;
	int child[BROOD];
};

static long run_cancel_and_count(struct party *me)
{
	struct brood *b = me->arg;
	long live = 0;
	int i;

	/* Some come as soon as they see that another has begun. */
	while (me->value && !chanfd_context_err(b->root))
		;
	if (chanfd_cancel(b->root, 0, NULL))
		return -1;
	/* The one that is ended last is looked at first. */
	for (i = 0; i < BROOD; i++)
		live += !chanfd_context_err(b->child[i]);
	for (i = BROOD; i--;)
		live += !chanfd_context_err(b->child[i]);
	return live;
}

TEST_F(context, every_cancel_is_complete)
{
	struct brood *b = shared(sizeof(*b));
	struct party *p[2];
	int round, i;

	for (round = 0; round < 15; round++) {
		b->root = chanfd_context(-1);
		for (i = 0; i < BROOD; i++) {
			b->child[i] = chanfd_context(b->root);
			ASSERT_LE(0, b->child[i]);
		}
		for (i = 1; i >= 0; i--) {
			p[i] = party_new(variant->process, run_cancel_and_count, -1);
			p[i]->arg = b;
			p[i]->value = i;
			party_start(p[i]);
		}
		for (i = 0; i < 2; i++)
			EXPECT_EQ(0, party_join(p[i]));
		for (i = 0; i < BROOD; i++)
			close(b->child[i]);
		close(b->root);
	}
}

TEST_F(context, many_waiters)
{
	int i, n = variant->process ? 100 : 1000, bad = 0;
	struct party **waiter = shared(n * sizeof(*waiter));

	for (i = 0; i < n; i++)
		waiter[i] = party_wait(variant->process, self->ctx);
	ASSERT_TRUE(waiters_wait(self->ctx, n));
	ASSERT_EQ(0, chanfd_cancel(self->ctx, 0, NULL));
	for (i = 0; i < n; i++)
		bad += party_join(waiter[i]) != 0;
	EXPECT_EQ(0, bad);
	EXPECT_EQ(0, ctx_info(self->ctx).waiters);
}

#define WIDE	10000
#define DEEP	5000

TEST(wide_tree)
{
	int *child = shared(WIDE * sizeof(*child));
	int root = chanfd_context(-1);
	int i, live = 0, other = 0;

	if (!many_handles(WIDE + 100))
		SKIP(return, "no room for %d handles", WIDE);
	for (i = 0; i < WIDE; i++) {
		child[i] = chanfd_context(root);
		ASSERT_LE(0, child[i]);
	}
	EXPECT_EQ(WIDE, ctx_info(root).children);
	ASSERT_EQ(0, chanfd_cancel(root, EIO, NULL));
	for (i = 0; i < WIDE; i++) {
		struct chanfd_context_info info = ctx_info(child[i]);

		live += info.error != ECANCELED;
		other += info.cause != EIO;
	}
	EXPECT_EQ(0, live);
	EXPECT_EQ(0, other);
}

TEST(deep_tree)
{
	int *ctx = shared((DEEP + 1) * sizeof(*ctx));
	int i, live = 0;

	if (!many_handles(DEEP + 100))
		SKIP(return, "no room for %d handles", DEEP);
	ctx[0] = chanfd_context(-1);
	for (i = 0; i < DEEP; i++) {
		ctx[i + 1] = chanfd_context(ctx[i]);
		ASSERT_LE(0, ctx[i + 1]);
	}
	EXPECT_LIVE(ctx[DEEP]);
	ASSERT_EQ(0, chanfd_cancel(ctx[0], EIO, "the root"));
	EXPECT_STREQ("the root", (char *)ctx_info(ctx[DEEP]).text);
	for (i = 0; i <= DEEP; i++)
		live += ctx_info(ctx[i]).cause != EIO;
	EXPECT_EQ(0, live);
}

/* A deep tree goes away as it came, whoever was held last. */
TEST(deep_tree_release)
{
	int i, next, ctx, root;

	root = chanfd_context(-1);
	ctx = chanfd_context(root);
	for (i = 0; i < DEEP; i++) {
		next = chanfd_context_without_cancel(ctx);
		ASSERT_LE(0, next);
		close(ctx);
		ctx = next;
	}
	EXPECT_LIVE(ctx);
	close(ctx);
	EXPECT_EQ(0, chanfd_context_drained(root, NULL));
	EXPECT_EQ(0, ctx_info(root).children);
}

/* X13, tX4: what was derived and dropped has left nothing behind. */
static long slab_kb(void)
{
	char text[4096];
	char *line;

	if (!read_text("/proc/meminfo", text, sizeof(text)))
		err(1, "/proc/meminfo");
	line = strstr(text, "SUnreclaim:");
	return line ? atol(line + strlen("SUnreclaim:")) : 0;
}

TEST(no_residue)
{
	int root = chanfd_context(-1);
	long before;
	int i, child;

	before = slab_kb();
	ASSERT_LT(0, before);
	for (i = 0; i < 20000; i++) {
		child = chanfd_context(root);
		ASSERT_LE(0, child);
		if (i % 2)
			ASSERT_EQ(0, chanfd_cancel(child, 0, NULL));
		close(child);
	}
	EXPECT_EQ(0, chanfd_context_drained(root, NULL));
	EXPECT_EQ(0, ctx_info(root).children);
	/* Were each of them kept, it would be 20 000 times half a kilobyte. */
	EXPECT_TRUE(eventually(slab_kb() < before + 5000));
}

/* X10, X11, tX5, tX6 */

TEST(deadline_forms)
{
	uint64_t deadline;
	int ctx, child;

	deadline = chanfd_deadline(30 * MSEC);
	ctx = chanfd_context_deadline(-1, deadline);
	child = chanfd_context(ctx);
	ASSERT_LE(0, child);
	EXPECT_EQ(deadline, ctx_info(ctx).deadline);
	EXPECT_EQ(deadline, ctx_info(child).deadline);
	EXPECT_EQ(0, chanfd_context_wait(child, NULL));
	EXPECT_LE(deadline, now());
	EXPECT_END(ETIMEDOUT, ETIMEDOUT, child);
	EXPECT_END(ETIMEDOUT, ETIMEDOUT, ctx);
	EXPECT_EQ(POLLIN | POLLHUP, polled(ctx));

	EXPECT_END(ETIMEDOUT, ETIMEDOUT, chanfd_context_deadline(-1, 1));
	EXPECT_END(ETIMEDOUT, ETIMEDOUT, chanfd_context_deadline(-1, now()));
	EXPECT_END(ETIMEDOUT, ETIMEDOUT, chanfd_context_timeout(-1, 0));
	EXPECT_END(ETIMEDOUT, ETIMEDOUT, chanfd_context_timeout(-1, -SEC));
	EXPECT_LIVE(chanfd_context_timeout(-1, HOUR));
}

/*
 * Deadlines are times of the caller's clock (X12), and in a time namespace that is
 * another one. This child's is ahead by an hour.
 */

struct future {
	uint64_t soon;
	uint64_t of_child;
	uint64_t of_parent;
};

static long run_in_the_future(struct party *me)
{
	struct future *t = me->arg;
	int child;

	t->soon = chanfd_deadline(40 * MSEC);
	child = chanfd_context_deadline(-1, t->soon);
	t->of_child = ctx_info(child).deadline;
	t->of_parent = ctx_info(me->fd).deadline;
	return chanfd_context_wait(child, NULL) || now() < t->soon;
}

static bool set_clock_ahead(void)
{
	static const char offset[] = "monotonic 3600 0\n";
	int fd;
	bool ok;

	if (unshare(CLONE_NEWTIME))
		return false;
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	ok = fd >= 0 && write(fd, offset, sizeof(offset) - 1) > 0;
	close(fd);
	return ok;
}

TEST(deadline_in_a_time_namespace)
{
	struct future *t = shared(sizeof(*t));
	uint64_t start = now(), late = start + 10 * HOUR;
	int parent = chanfd_context_deadline(-1, late);
	struct party *p;

	if (!set_clock_ahead())
		SKIP(return, "no time namespaces in this kernel");
	p = party_new(true, run_in_the_future, parent);
	p->arg = t;
	party_start(p);
	EXPECT_EQ(0, party_join(p));
	EXPECT_LE(start + HOUR, t->soon);
	EXPECT_EQ(t->soon, t->of_child);
	/* The same instant by another clock. */
	EXPECT_EQ(late + HOUR, t->of_parent);
}

TEST(deadline_shrinks)
{
	uint64_t soon = chanfd_deadline(40 * MSEC), late = chanfd_deadline(HOUR);
	int parent, later, sooner;

	/* A later deadline is the parent's, and so is what it says then. */
	parent = derive_deadline(-1, soon, OF_PARENT);
	later = derive_deadline(parent, late, OF_CHILD);
	ASSERT_LE(0, later);
	EXPECT_EQ(soon, ctx_info(later).deadline);
	EXPECT_EQ(0, chanfd_context_wait(later, NULL));
	EXPECT_END(ETIMEDOUT, OF_PARENT, later);

	soon = chanfd_deadline(40 * MSEC);
	parent = derive_deadline(-1, late, OF_PARENT);
	sooner = derive_deadline(parent, soon, OF_CHILD);
	ASSERT_LE(0, sooner);
	EXPECT_EQ(soon, ctx_info(sooner).deadline);
	EXPECT_EQ(0, chanfd_context_wait(sooner, NULL));
	EXPECT_END(ETIMEDOUT, OF_CHILD, sooner);
	EXPECT_LIVE(parent);
}

/* A cancel before the deadline is what counts, also after it. */
TEST(deadline_stopped)
{
	uint64_t deadline = chanfd_deadline(30 * MSEC);
	int ctx, clock;

	ctx = derive_deadline(-1, deadline, TOO_SLOW);
	clock = chanfd_context_deadline(-1, deadline + 10 * MSEC);
	ASSERT_EQ(0, chanfd_cancel(ctx, EARLY, NULL));
	ASSERT_EQ(0, chanfd_context_wait(clock, NULL));
	EXPECT_END(ECANCELED, EARLY, ctx);
}

/* The timer of a context goes with it. */
TEST(deadline_of_the_released)
{
	int i, ctx, clock;

	clock = chanfd_context_timeout(-1, 50 * MSEC);
	for (i = 0; i < 200; i++) {
		ctx = chanfd_context_timeout(clock, 1 + i * 100000);
		ASSERT_LE(0, ctx);
		close(ctx);
	}
	EXPECT_EQ(0, chanfd_context_wait(clock, NULL));
	EXPECT_EQ(0, chanfd_context_drained(clock, NULL));
}

TEST_F(context, deadline_wakes)
{
	int ctx = chanfd_context_timeout(self->ctx, 50 * MSEC);
	struct party *waiter = party_wait(variant->process, ctx);

	EXPECT_EQ(0, party_join(waiter));
	EXPECT_END(ETIMEDOUT, ETIMEDOUT, ctx);
	EXPECT_LIVE(self->ctx);
}

/* Waiting for a context takes a deadline and a context, as any wait does. */
TEST_F(context, wait_withdrawn)
{
	struct party *p;
	int other = chanfd_context(-1);

	p = party_new(variant->process, run_wait, self->ctx);
	p->opt.deadline = chanfd_deadline(20 * MSEC);
	EXPECT_EQ(ETIMEDOUT, errno_of(party_join(party_start(p))));

	p = party_new(variant->process, run_wait, self->ctx);
	p->opt.context = other;
	party_start(p);
	ASSERT_TRUE(waiters_wait(self->ctx, 1));
	ASSERT_EQ(0, chanfd_cancel(other, 0, NULL));
	EXPECT_EQ(ECANCELED, errno_of(party_join(p)));
	EXPECT_EQ(0, ctx_info(self->ctx).waiters);

	p = party_new(variant->process, run_wait, self->ctx);
	p->opt.flags = CHANFD_NONBLOCK;
	EXPECT_EQ(EAGAIN, errno_of(party_join(party_start(p))));
}

static long run_select_done_or_recv(struct party *me)
{
	return chanfd_select_of(&me->opt, me->arg, CHANFD_DONE(me->fd),
				CHANFD_RECV(me->value, NULL, 0));
}

TEST_F(context, case_of_a_select)
{
	struct chanfd_outcome *out = shared(sizeof(*out));
	int ch = chanfd_channel(0, 0, 0, "");
	struct party *p;
	int i;

	ASSERT_LE(0, ch);
	for (i = 1; i >= 0; i--) {
		p = party_new(variant->process, run_select_done_or_recv, self->ctx);
		p->arg = out;
		p->value = ch;
		party_start(p);
		ASSERT_TRUE(receivers_wait(ch, 1));
		EXPECT_EQ(1, ctx_info(self->ctx).waiters);
		if (i) {
			ASSERT_EQ(0, chanfd_send(ch, NULL, 0, NULL));
		} else {
			ASSERT_EQ(0, chanfd_cancel(self->ctx, EIO, NULL));
		}
		EXPECT_EQ(i, party_join(p));
		EXPECT_EQ(0, ctx_info(self->ctx).waiters);
		EXPECT_EQ(0, info_of(ch).waiting_receivers);
	}
	EXPECT_EQ(EIO, out->status);
	EXPECT_EQ(0, out->error);
}

TEST_F(context, poll)
{
	struct pollfd pfd = { .events = POLLIN };
	struct party *p;
	int fd[2];

	ASSERT_EQ(0, chanfd_context_pair(fd, self->ctx));
	pfd.fd = fd[0];
	EXPECT_EQ(0, polled(fd[0]));
	p = party_cancel(variant->process, self->ctx, EIO);
	EXPECT_EQ(1, poll(&pfd, 1, BOUND / MSEC));
	EXPECT_EQ(POLLIN | POLLHUP, pfd.revents);
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(POLLIN | POLLHUP, polled(self->ctx));
}

/* X20, tX20: who could have cancelled is gone, and that counts as if he had. */
TEST_F(context, canceller_gone)
{
	struct party *waiter, *holder = NULL;
	int fd[2], child;

	ASSERT_EQ(0, chanfd_context_pair(fd, self->ctx));
	if (variant->process)
		holder = holder_of(fd[1]);
	child = chanfd_context(fd[0]);
	ASSERT_LE(0, child);
	waiter = party_wait(variant->process, child);
	ASSERT_TRUE(waiters_wait(child, 1));
	EXPECT_LIVE(fd[0]);
	if (holder)
		party_kill(holder);
	else
		close(fd[1]);
	EXPECT_EQ(0, party_join(waiter));
	EXPECT_END(ECANCELED, EOWNERDEAD, fd[0]);
	EXPECT_END(ECANCELED, EOWNERDEAD, child);
	EXPECT_EQ(0, ctx_info(fd[0]).cancellers);
	EXPECT_EQ(POLLIN | POLLHUP | POLLERR, polled(fd[0]));
	EXPECT_LIVE(self->ctx);
}

/* Another part of the tree is being ended just then: that is not waited for. */
TEST(canceller_gone_meanwhile)
{
	int root = chanfd_context(-1), busy = chanfd_context(root);
	int i, fd[2], next[2], child, leaf = busy;
	struct party *p;

	for (i = 0; i < DEEP; i++) {
		ASSERT_EQ(0, derive_flags(next, leaf, CHANFD_OBSERVE));
		if (leaf != busy)
			close(leaf);
		leaf = next[0];
	}
	ASSERT_EQ(0, chanfd_context_pair(fd, root));
	child = chanfd_context(fd[0]);
	ASSERT_LE(0, child);
	p = party_cancel(false, busy, OF_PARENT);
	while (!chanfd_context_err(busy))
		;
	close(fd[1]);
	EXPECT_TRUE(eventually(chanfd_context_err(child)));
	EXPECT_END(ECANCELED, EOWNERDEAD, fd[0]);
	EXPECT_END(ECANCELED, EOWNERDEAD, child);
	EXPECT_EQ(0, party_join(p));
	EXPECT_END(ECANCELED, OF_PARENT, leaf);
	EXPECT_LIVE(root);
}

TEST(one_canceller_is_enough)
{
	int fd[2], copy, reduced, both;

	ASSERT_EQ(0, chanfd_context_pair(fd, -1));
	copy = dup(fd[1]);
	reduced = chanfd_reduce(fd[1], CHANFD_WRITE);
	ASSERT_LE(0, reduced);
	EXPECT_EQ(2, ctx_info(fd[0]).cancellers);
	close(fd[1]);
	EXPECT_EQ(2, ctx_info(fd[0]).cancellers);
	close(copy);
	EXPECT_TRUE(eventually(ctx_info(fd[0]).cancellers == 1));
	EXPECT_LIVE(fd[0]);
	close(reduced);
	EXPECT_TRUE(eventually(ctx_info(fd[0]).cancellers == 0));
	EXPECT_END(ECANCELED, EOWNERDEAD, fd[0]);

	/* Said in time, it is what was said. */
	both = chanfd_context(-1);
	fd[0] = chanfd_reduce(both, CHANFD_READ);
	ASSERT_LE(0, fd[0]);
	ASSERT_EQ(0, chanfd_cancel(both, EIO, NULL));
	close(both);
	EXPECT_END(ECANCELED, EIO, fd[0]);
	EXPECT_EQ(POLLIN | POLLHUP, polled(fd[0]));
}

TEST_F(context, keep)
{
	struct party *waiter, *holder;
	int fd[2];

	ASSERT_EQ(0, derive_flags(fd, self->ctx, CHANFD_PAIR | CHANFD_KEEP));
	waiter = party_wait(false, fd[0]);
	ASSERT_TRUE(waiters_wait(fd[0], 1));
	if (variant->process) {
		holder = holder_of(fd[1]);
		party_kill(holder);
	} else {
		close(fd[1]);
	}
	EXPECT_EQ(0, ctx_info(fd[0]).cancellers);
	EXPECT_TRUE(stays_blocked(waiter));
	EXPECT_LIVE(fd[0]);
	ASSERT_EQ(0, chanfd_cancel(self->ctx, EIO, NULL));
	EXPECT_EQ(0, party_join(waiter));
	EXPECT_END(ECANCELED, EIO, fd[0]);
}

/* One that only observes adds nobody who could cancel. */
TEST(observe)
{
	int fd[2], observer[2];

	ASSERT_EQ(0, chanfd_context_pair(fd, -1));
	ASSERT_EQ(0, derive_flags(observer, fd[0], CHANFD_OBSERVE));
	EXPECT_EQ(EPERM, errno_of(chanfd_cancel(observer[0], 0, NULL)));
	EXPECT_LIVE(observer[0]);
	ASSERT_EQ(0, chanfd_cancel(fd[1], EIO, NULL));
	EXPECT_END(ECANCELED, EIO, observer[0]);
}

/* X14, tX17 */
TEST_F(context, without_cancel)
{
	char value[8] = "";
	struct party *waiter;
	int with, without, under, hour;

	with = chanfd_context_value(self->ctx, user, "anna", 5);
	without = chanfd_context_without_cancel(with);
	ASSERT_LE(0, without);
	under = chanfd_context(without);
	ASSERT_LE(0, under);
	waiter = party_wait(variant->process, under);
	ASSERT_TRUE(waiters_wait(under, 1));
	ASSERT_EQ(0, chanfd_cancel(self->ctx, EIO, NULL));
	EXPECT_END(ECANCELED, EIO, with);
	EXPECT_LIVE(without);
	EXPECT_TRUE(stays_blocked(waiter));
	EXPECT_EQ(5, chanfd_value(under, user, value, sizeof(value)));
	EXPECT_STREQ("anna", value);
	hour = chanfd_context_timeout(-1, HOUR);
	EXPECT_EQ(0, ctx_info(chanfd_context_without_cancel(hour)).deadline);
	ASSERT_EQ(0, chanfd_cancel(under, 0, NULL));
	EXPECT_EQ(0, party_join(waiter));
}

/* X15, tX11 */
TEST(values)
{
	char big[CHANFD_MAX_VALUE], back[CHANFD_MAX_VALUE], text[8];
	int root, anna, traced, bert, nobody, large;

	root = chanfd_context(-1);
	anna = chanfd_context_value(root, user, "anna", 5);
	traced = chanfd_context_value(anna, trace, "1234567", 8);
	bert = chanfd_context_value(traced, user, "bert", 5);
	nobody = chanfd_context_value(bert, user, NULL, 0);
	ASSERT_LE(0, nobody);

	EXPECT_EQ(ENOENT, errno_of(chanfd_value(root, user, text, 8)));
	EXPECT_EQ(5, chanfd_value(anna, user, text, 8));
	EXPECT_STREQ("anna", text);
	EXPECT_EQ(ENOENT, errno_of(chanfd_value(anna, trace, text, 8)));
	/* The nearest wins, and only for its own key. */
	EXPECT_EQ(5, chanfd_value(traced, user, text, 8));
	EXPECT_STREQ("anna", text);
	EXPECT_EQ(5, chanfd_value(bert, user, text, 8));
	EXPECT_STREQ("bert", text);
	EXPECT_EQ(8, chanfd_value(bert, trace, text, 8));
	EXPECT_STREQ("1234567", text);
	EXPECT_EQ(5, chanfd_value(anna, user, text, 8));
	EXPECT_STREQ("anna", text);
	/* An empty value is one too, and hides what is above. */
	EXPECT_EQ(0, chanfd_value(nobody, user, text, 8));
	EXPECT_EQ(8, chanfd_value(nobody, trace, text, 8));

	/* All of it or nothing. */
	memset(text, 'x', sizeof(text));
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_value(bert, trace, text, 7)));
	EXPECT_EQ(EMSGSIZE, errno_of(chanfd_value(bert, trace, NULL, 0)));
	EXPECT_EQ('x', text[0]);

	memset(big, 'b', sizeof(big));
	large = chanfd_context_value(root, user, big, sizeof(big));
	ASSERT_LE(0, large);
	EXPECT_EQ(CHANFD_MAX_VALUE, chanfd_value(large, user, back, sizeof(back)));
	EXPECT_EQ(0, memcmp(big, back, sizeof(big)));
	EXPECT_EQ(EINVAL, errno_of(chanfd_context_value(root, user, big, sizeof(big) + 1)));
	EXPECT_EQ(EFAULT, errno_of(chanfd_context_value(root, user, bad_pointer(), 8)));
	EXPECT_EQ(EFAULT, errno_of(chanfd_value(bert, user, bad_pointer(), 8)));

	/* They outlive the handles that carried them, and the end. */
	close(anna);
	close(traced);
	close(bert);
	ASSERT_EQ(0, chanfd_cancel(root, 0, NULL));
	EXPECT_EQ(8, chanfd_value(nobody, trace, text, 8));
	EXPECT_STREQ("1234567", text);
}

/* tX8: values, deadlines and cancels, layer upon layer. */
TEST(random_layers)
{
	unsigned int seed, layer, n;
	int ctx, root, value;
	char key[CHANFD_KEY_LEN];

	for (seed = 1; seed <= 10; seed++) {
		unsigned int state = seed;
		uint64_t deadline = seed % 2 ? chanfd_deadline(200 * MSEC) : 0;
		unsigned int values = 0;

		root = chanfd_context_deadline(-1, deadline ?: chanfd_deadline(HOUR));
		ctx = root;
		for (layer = 0; layer < 30; layer++) {
			switch (rand_r(&state) % 3) {
			case 0:
				memset(key, 0, sizeof(key));
				snprintf(key, sizeof(key), "key%u", values);
				ctx = chanfd_context_value(ctx, key, &values, sizeof(values));
				values++;
				break;
			case 1:
				ctx = chanfd_context(ctx);
				break;
			case 2:
				ctx = chanfd_context_timeout(ctx, HOUR + rand_r(&state));
				break;
			}
			ASSERT_LE(0, ctx);
		}
		if (!deadline) {
			EXPECT_LIVE(ctx);
			ASSERT_EQ(0, chanfd_cancel(root, EIO, NULL));
			EXPECT_END(ECANCELED, EIO, ctx);
		} else {
			EXPECT_EQ(deadline, ctx_info(ctx).deadline);
			EXPECT_EQ(0, chanfd_context_wait(ctx, NULL));
			EXPECT_END(ETIMEDOUT, ETIMEDOUT, ctx);
		}
		for (n = 0; n < values; n++) {
			memset(key, 0, sizeof(key));
			snprintf(key, sizeof(key), "key%u", n);
			EXPECT_EQ(sizeof(value), chanfd_value(ctx, key, &value, sizeof(value)));
			EXPECT_EQ((int)n, value);
		}
	}
}

/* Drained: told to stop is one thing, stopped another. */

TEST_F(context, drained)
{
	struct party *waiter, *holder = NULL;
	int child;

	/* Nobody was derived: nobody to wait for. */
	EXPECT_EQ(0, chanfd_context_drained(self->ctx, NULL));

	child = chanfd_context(self->ctx);
	ASSERT_LE(0, child);
	if (variant->process)
		holder = holder_of(child);
	waiter = party_start(party_new(variant->process, run_drained, self->ctx));
	ASSERT_TRUE(waiters_wait(self->ctx, 1));
	EXPECT_TRUE(stays_blocked(waiter));
	ASSERT_EQ(0, chanfd_cancel(self->ctx, 0, NULL));
	EXPECT_TRUE(stays_blocked(waiter));
	if (holder)
		party_kill(holder);
	else
		close(child);
	EXPECT_EQ(0, party_join(waiter));
	EXPECT_EQ(0, ctx_info(self->ctx).children);
}

TEST_F(context, drained_without_cancel)
{
	struct party *waiter, *holder = NULL;
	int child[2];

	child[0] = chanfd_context(self->ctx);
	ASSERT_LE(0, child[0]);
	if (variant->process)
		holder = holder_of(child[0]);
	child[1] = chanfd_context_value(self->ctx, user, "x", 1);
	ASSERT_LE(0, child[1]);
	waiter = party_new(variant->process, run_drained, self->ctx);
	party_start(waiter);
	ASSERT_TRUE(waiters_wait(self->ctx, 1));
	if (holder)
		party_kill(holder);
	else
		close(child[0]);
	/* A process that waits inherited what it waits for. */
	if (variant->process) {
		EXPECT_TRUE(stays_blocked(waiter));
		party_kill(waiter);
		close(child[1]);
		EXPECT_EQ(0, chanfd_context_drained(self->ctx, NULL));
	} else {
		EXPECT_TRUE(stays_blocked(waiter));
		close(child[1]);
		EXPECT_EQ(0, party_join(waiter));
	}
	EXPECT_LIVE(self->ctx);
}

/* A context whose handle is gone works on for those derived from it. */
TEST(drained_of_grandchildren)
{
	int root = chanfd_context(-1);
	int child = chanfd_context(root);
	int grandchild = chanfd_context_value(child, user, "x", 1);
	struct chanfd_opt opt = CHANFD_OPT_INIT;

	ASSERT_LE(0, grandchild);
	opt.flags = CHANFD_NONBLOCK;
	close(child);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_context_drained(root, &opt)));
	close(grandchild);
	EXPECT_EQ(0, chanfd_context_drained(root, NULL));
}

TEST_F(context, drained_is_a_case)
{
	struct chanfd_opt opt = CHANFD_OPT_INIT;
	struct chanfd_outcome out;
	int child = chanfd_context(self->ctx);

	opt.flags = CHANFD_NONBLOCK;
	ASSERT_LE(0, child);
	EXPECT_EQ(EAGAIN, errno_of(chanfd_select_of(&opt, &out, CHANFD_DONE(self->ctx),
						    CHANFD_DRAINED(self->ctx))));
	close(child);
	EXPECT_EQ(1, chanfd_select_of(NULL, &out, CHANFD_DONE(self->ctx),
				      CHANFD_DRAINED(self->ctx)));
}

/* Waits in thousands of places at once whenever somebody is there. */
static long run_drained_crowd(struct party *me)
{
	struct chanfd_case cases[CHANFD_MAX_CASES];
	atomic_bool *over = me->arg;
	int i;

	for (i = 0; i < CHANFD_MAX_CASES; i++)
		cases[i] = CHANFD_DRAINED(me->fd);
	while (!*over) {
		if (!ctx_info(me->fd).children)
			sched_yield();
		else if (chanfd_select(cases, CHANFD_MAX_CASES, NULL, NULL) < 0)
			return -1;
	}
	return 0;
}

static long run_close_taken(struct party *me)
{
	int fd;

	while ((fd = taken(me->fd)) >= 0)
		close(fd);
	return 0;
}

/* Who begins to wait after a new child was derived is not told of the old one's end. */
TEST_F(context, drained_is_not_of_the_past)
{
	enum { ROUNDS = 40 };
	struct chanfd_opt opt = CHANFD_OPT_INIT;
	atomic_bool *over = shared(sizeof(*over));
	struct party *crowd, *closer;
	int child, socks[2], i;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks));
	crowd = party_new(variant->process, run_drained_crowd, self->ctx);
	crowd->arg = over;
	party_start(crowd);
	closer = party_start(party_new(variant->process, run_close_taken, socks[1]));
	child = chanfd_context(self->ctx);
	for (i = 0; i < ROUNDS; i++) {
		ASSERT_TRUE(waiters_wait(self->ctx, CHANFD_MAX_CASES));
		pass(socks[0], child);
		close(child);
		while (ctx_info(self->ctx).children)
			;
		child = chanfd_context(self->ctx);
		ASSERT_LE(0, child);
		opt.deadline = chanfd_deadline(20 * MSEC);
		EXPECT_EQ(ETIMEDOUT, errno_of(chanfd_context_drained(self->ctx, &opt)));
	}
	*over = true;
	close(child);
	EXPECT_EQ(0, party_join(crowd));
	EXPECT_EQ(0, shutdown(socks[0], SHUT_WR));
	EXPECT_EQ(0, party_join(closer));
}

/* tX21: cancelled by any file that becomes ready. */

struct foreign {
	int watched;
	int other;		/* of a pipe or socket; the process's id for a pidfd */
};

static void lo_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int s;

	/* The machine's own may be down; a new one is ours to set up. */
	if (unshare(CLONE_NEWNET))
		return;
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ioctl(s, SIOCSIFFLAGS, &ifr);
	close(s);
}

static bool open_eventfd(struct foreign *f)
{
	f->watched = eventfd(0, EFD_CLOEXEC);
	return f->watched >= 0;
}

static bool open_pipe(struct foreign *f)
{
	int fd[2];

	if (pipe2(fd, O_CLOEXEC))
		return false;
	f->watched = fd[0];
	f->other = fd[1];
	return true;
}

static bool open_timerfd(struct foreign *f)
{
	f->watched = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	return f->watched >= 0;
}

static bool open_pidfd(struct foreign *f)
{
	f->other = party_start(party_new(true, run_hold, -1))->tid;
	f->watched = syscall(SYS_pidfd_open, f->other, 0);
	return f->watched >= 0;
}

static bool open_unix(struct foreign *f)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
		return false;
	f->watched = fd[0];
	f->other = fd[1];
	return true;
}

static bool open_tcp(struct foreign *f)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	f->other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) ||
	    connect(f->other, (struct sockaddr *)&addr, len))
		return false;
	f->watched = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(listener);
	return f->watched >= 0;
}

static bool open_channel(struct foreign *f)
{
	f->watched = chanfd_channel(1, 1, 0, "stop");
	f->other = f->watched;
	return f->watched >= 0;
}

static bool open_epoll(struct foreign *f)
{
	struct epoll_event ev = { .events = EPOLLIN };

	f->other = eventfd(0, EFD_CLOEXEC);
	f->watched = epoll_create1(EPOLL_CLOEXEC);
	return !epoll_ctl(f->watched, EPOLL_CTL_ADD, f->other, &ev);
}

static long fire_eventfd(struct party *me)
{
	return eventfd_write(((struct foreign *)me->arg)->watched, 1);
}

static long fire_other_eventfd(struct party *me)
{
	return eventfd_write(((struct foreign *)me->arg)->other, 1);
}

static long fire_timerfd(struct party *me)
{
	struct itimerspec soon = { .it_value.tv_nsec = 1 };

	return timerfd_settime(((struct foreign *)me->arg)->watched, 0, &soon, NULL);
}

static long fire_pidfd(struct party *me)
{
	return kill(((struct foreign *)me->arg)->other, SIGKILL);
}

static long fire_write(struct party *me)
{
	return write(((struct foreign *)me->arg)->other, "x", 1) - 1;
}

static long fire_shutdown(struct party *me)
{
	return shutdown(((struct foreign *)me->arg)->other, SHUT_RDWR);
}

FIXTURE(foreign) {
	struct foreign *f;
	int ctx;
};

FIXTURE_VARIANT(foreign) {
	bool (*open)(struct foreign *f);
	long (*fire)(struct party *me);
	unsigned int events;
	int raw_error;		/* of the ioctl; the library knows a way */
};

FIXTURE_VARIANT_ADD(foreign, eventfd) {
	.open = open_eventfd, .fire = fire_eventfd, .events = POLLIN,
};

FIXTURE_VARIANT_ADD(foreign, pipe) {
	.open = open_pipe, .fire = fire_write, .events = POLLIN,
};

FIXTURE_VARIANT_ADD(foreign, timerfd) {
	.open = open_timerfd, .fire = fire_timerfd, .events = POLLIN,
};

FIXTURE_VARIANT_ADD(foreign, pidfd) {
	.open = open_pidfd, .fire = fire_pidfd, .events = POLLIN,
};

FIXTURE_VARIANT_ADD(foreign, tcp_data) {
	.open = open_tcp, .fire = fire_write, .events = POLLIN,
};

FIXTURE_VARIANT_ADD(foreign, tcp_hangup) {
	.open = open_tcp, .fire = fire_shutdown, .events = POLLRDHUP,
};

FIXTURE_VARIANT_ADD(foreign, epoll) {
	.open = open_epoll, .fire = fire_other_eventfd, .events = POLLIN,
};

FIXTURE_VARIANT_ADD(foreign, unix_data) {
	.open = open_unix, .fire = fire_write, .events = POLLIN,
	.raw_error = EOPNOTSUPP,
};

FIXTURE_VARIANT_ADD(foreign, unix_hangup) {
	.open = open_unix, .fire = fire_shutdown, .events = POLLRDHUP,
	.raw_error = EOPNOTSUPP,
};

FIXTURE_VARIANT_ADD(foreign, channel) {
	.open = open_channel, .fire = fire_write, .events = POLLIN,
	.raw_error = EOPNOTSUPP,
};

FIXTURE_SETUP(foreign)
{
	self->f = shared(sizeof(*self->f));
	self->f->watched = -1;
	self->f->other = -1;
	if (variant->open == open_tcp)
		lo_up();
	if (!variant->open(self->f))	/* after a return the test would run */
		SKIP(_exit(255), "cannot make one: %s", strerror(errno));
	self->ctx = chanfd_context(-1);
	ASSERT_LE(0, self->ctx);
}

FIXTURE_TEARDOWN(foreign)
{
}

static struct party *party_fire(bool process, long (*fire)(struct party *me),
				struct foreign *f)
{
	struct party *p = party_new(process, fire, -1);

	p->arg = f;
	return party_start(p);
}

TEST_F(foreign, raw)
{
	struct chanfd_bind bind = {
		.fd = self->f->watched,
		.events = variant->events,
		.cause = EIO,
	};

	EXPECT_EQ(variant->raw_error, errno_of(ioctl(self->ctx, CHANFD_IOC_BIND, &bind)));
	EXPECT_LIVE(self->ctx);
}

TEST_F(foreign, fires)
{
	struct party *waiter;
	int process, ctx;

	for (process = 0; process < 2; process++) {
		if (process) {
			close(self->f->watched);
			close(self->f->other);
			ASSERT_TRUE(variant->open(self->f));
		}
		ctx = chanfd_context(-1);
		ASSERT_EQ(0, chanfd_context_bind(ctx, self->f->watched, variant->events, EIO));
		EXPECT_LIVE(ctx);
		waiter = party_wait(process, ctx);
		ASSERT_TRUE(waiters_wait(ctx, 1));
		EXPECT_TRUE(stays_blocked(waiter));
		EXPECT_EQ(0, party_join(party_fire(process, variant->fire, self->f)));
		EXPECT_EQ(0, party_join(waiter));
		EXPECT_END(ECANCELED, EIO, ctx);
	}
}

/* What is ready already cancels before the call returns. */
TEST_F(foreign, was_ready)
{
	struct pollfd pfd = { .fd = self->f->watched, .events = variant->events };

	EXPECT_EQ(0, party_join(party_fire(true, variant->fire, self->f)));
	ASSERT_EQ(1, poll(&pfd, 1, BOUND / MSEC));
	ASSERT_EQ(0, chanfd_context_bind(self->ctx, self->f->watched, variant->events, 0));
	EXPECT_END(ECANCELED, ECANCELED, self->ctx);
}

/* The binding does its work when nobody else holds the file any more. */
TEST(binding_keeps_the_file)
{
	static const struct {
		bool (*open)(struct foreign *f);
		long (*fire)(struct party *me);
		short events;
	} kind[] = {
		{ open_pipe, fire_write, POLLIN },
		{ open_pidfd, fire_pidfd, POLLIN },
		{ open_tcp, fire_write, POLLIN },
		{ open_tcp, fire_shutdown, POLLRDHUP },
		{ open_epoll, fire_other_eventfd, POLLIN },
	};
	struct foreign *f = shared(sizeof(*f));
	int ctx, process;
	size_t i;

	lo_up();
	for (i = 0; i < 2 * ARRAY_SIZE(kind); i++) {
		process = i % 2;
		ASSERT_TRUE(kind[i / 2].open(f));
		ctx = chanfd_context(-1);
		ASSERT_EQ(0, chanfd_context_bind(ctx, f->watched, kind[i / 2].events, EIO));
		close(f->watched);
		EXPECT_LIVE(ctx);
		EXPECT_EQ(0, party_join(party_fire(process, kind[i / 2].fire, f)));
		EXPECT_EQ(0, chanfd_context_wait(ctx, NULL));
		EXPECT_END(ECANCELED, EIO, ctx);
	}
}

/* One that could hold the context is let go with its last descriptor. */
TEST(unix_socket_is_not_kept)
{
	int ctx = chanfd_context(-1);
	struct foreign f;

	signal(SIGPIPE, SIG_IGN);
	ASSERT_TRUE(open_unix(&f));
	ASSERT_EQ(0, chanfd_context_bind(ctx, f.watched, POLLIN, EIO));
	close(f.watched);
	EXPECT_TRUE(eventually(errno_of(write(f.other, "x", 1)) == EPIPE));
	EXPECT_LIVE(ctx);
}

/* Stop the work when the process that asked for it dies. */
TEST(bound_to_a_process)
{
	struct party *client = party_start(party_new(true, run_hold, -1));
	int pidfd = syscall(SYS_pidfd_open, client->tid, 0);
	int ctx = chanfd_context(-1);
	int work = chanfd_context(ctx);

	ASSERT_LE(0, pidfd);
	ASSERT_LE(0, work);
	ASSERT_EQ(0, chanfd_context_bind(ctx, pidfd, POLLIN, ESRCH));
	close(pidfd);
	EXPECT_LIVE(work);
	party_kill(client);
	EXPECT_EQ(0, chanfd_context_wait(work, NULL));
	EXPECT_END(ECANCELED, ESRCH, work);
}

TEST(bind_errors)
{
	struct chanfd_bind bind = { .events = POLLIN };
	int ctx = chanfd_context(-1);
	sigset_t set;
	int i;

	bind.fd = -1;
	EXPECT_EQ(EBADF, errno_of(ioctl(ctx, CHANFD_IOC_BIND, &bind)));
	bind.fd = ctx;
	EXPECT_EQ(EOPNOTSUPP, errno_of(ioctl(ctx, CHANFD_IOC_BIND, &bind)));
	bind.fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, bind.fd);
	EXPECT_EQ(EPERM, errno_of(ioctl(ctx, CHANFD_IOC_BIND, &bind)));
	EXPECT_EQ(EPERM, errno_of(chanfd_context_bind(ctx, bind.fd, POLLIN, 0)));
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	bind.fd = signalfd(-1, &set, SFD_CLOEXEC);
	EXPECT_EQ(EOPNOTSUPP, errno_of(ioctl(ctx, CHANFD_IOC_BIND, &bind)));
	EXPECT_EQ(EOPNOTSUPP, errno_of(chanfd_context_bind(ctx, bind.fd, POLLIN, 0)));
	bind.fd = eventfd(0, EFD_CLOEXEC);
	bind.reserved = 1;
	EXPECT_EQ(EINVAL, errno_of(ioctl(ctx, CHANFD_IOC_BIND, &bind)));
	bind.reserved = 0;
	for (i = 0; i < CHANFD_MAX_BINDINGS; i++)
		EXPECT_EQ(0, ioctl(ctx, CHANFD_IOC_BIND, &bind));
	EXPECT_EQ(ENOSPC, errno_of(ioctl(ctx, CHANFD_IOC_BIND, &bind)));
	EXPECT_LIVE(ctx);
	EXPECT_EQ(0, eventfd_write(bind.fd, 1));
	EXPECT_EQ(0, chanfd_context_wait(ctx, NULL));
}

/* Makes a file ready, and takes that back. */
static long run_flicker(struct party *me)
{
	atomic_bool *over = me->arg;
	eventfd_t count;

	while (!*over)
		if (eventfd_write(me->fd, 1) || eventfd_read(me->fd, &count))
			return -1;
	return eventfd_write(me->fd, 1);
}

/* A binding that fails has no effect, whatever its file does meanwhile or later. */
TEST_F(context, one_binding_too_many)
{
	int quiet = eventfd(0, EFD_CLOEXEC), fd = eventfd(0, EFD_CLOEXEC);
	struct chanfd_bind bind = { .fd = quiet, .events = POLLIN };
	atomic_bool *over = shared(sizeof(*over));
	struct party *p;
	int i;

	for (i = 0; i < CHANFD_MAX_BINDINGS; i++) {
		ASSERT_EQ(0, ioctl(self->ctx, CHANFD_IOC_BIND, &bind));
	}
	bind.fd = fd;
	EXPECT_EQ(ENOSPC, errno_of(ioctl(self->ctx, CHANFD_IOC_BIND, &bind)));
	p = party_new(variant->process, run_flicker, fd);
	p->arg = over;
	party_start(p);
	for (i = 0; i < 3000; i++) {
		ASSERT_EQ(ENOSPC, errno_of(ioctl(self->ctx, CHANFD_IOC_BIND, &bind)));
	}
	*over = true;
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(POLLIN, polled(fd));
	EXPECT_EQ(ENOSPC, errno_of(ioctl(self->ctx, CHANFD_IOC_BIND, &bind)));
	pause_for(A_WHILE);
	EXPECT_LIVE(self->ctx);
	EXPECT_EQ(0, eventfd_write(quiet, 1));
	EXPECT_EQ(0, chanfd_context_wait(self->ctx, NULL));
}

/* The first of several, and only the first. */
TEST(several_bindings)
{
	int a = eventfd(0, EFD_CLOEXEC), b = eventfd(0, EFD_CLOEXEC);
	int ctx = chanfd_context(-1);

	ASSERT_EQ(0, chanfd_context_bind(ctx, a, POLLIN, 1001));
	ASSERT_EQ(0, chanfd_context_bind(ctx, b, POLLIN, 1002));
	EXPECT_EQ(0, eventfd_write(b, 1));
	EXPECT_EQ(0, chanfd_context_wait(ctx, NULL));
	EXPECT_EQ(0, eventfd_write(a, 1));
	EXPECT_END(ECANCELED, 1002, ctx);
}

/* When the context is gone, so is its hold on the file. */
TEST_F(context, binding_is_released)
{
	struct pollfd writer = { .events = POLLOUT };
	struct party *holder = NULL;
	int ctx, fd[2];

	signal(SIGPIPE, SIG_IGN);
	ASSERT_EQ(0, pipe2(fd, O_CLOEXEC));
	ctx = chanfd_context(-1);
	ASSERT_EQ(0, chanfd_context_bind(ctx, fd[0], POLLIN, EIO));
	close(fd[0]);
	writer.fd = fd[1];
	ASSERT_EQ(1, poll(&writer, 1, 0));
	EXPECT_EQ(POLLOUT, writer.revents);
	if (variant->process) {
		holder = holder_of(ctx);
		party_kill(holder);
	} else {
		close(ctx);
	}
	EXPECT_TRUE(eventually(poll(&writer, 1, 0) == 1 && writer.revents & POLLERR));
	EXPECT_EQ(EPIPE, errno_of(write(fd[1], "x", 1)));
}

/* A file that fires just when its context is released. */
static long run_fire_many(struct party *me)
{
	int *fd = me->arg;
	int i;

	for (i = 0; i < 200; i++)
		if (eventfd_write(fd[i], 1))
			return -1;
	return 0;
}

TEST_F(context, release_against_fire)
{
	int *fd = shared(200 * sizeof(*fd));
	struct party *p;
	int ctx[200], i;

	for (i = 0; i < 200; i++) {
		fd[i] = eventfd(0, EFD_CLOEXEC);
		ctx[i] = chanfd_context(self->ctx);
		ASSERT_EQ(0, chanfd_context_bind(ctx[i], fd[i], POLLIN, EIO));
	}
	p = party_new(variant->process, run_fire_many, -1);
	p->arg = fd;
	party_start(p);
	for (i = 0; i < 200; i++)
		close(ctx[i]);
	EXPECT_EQ(0, party_join(p));
	EXPECT_EQ(0, chanfd_context_drained(self->ctx, NULL));
}

TEST_HARNESS_MAIN
