// SPDX-License-Identifier: GPL-2.0
/*
 * Groups: tasks that are threads or child processes, with one context, one result and
 * one end. Rules E1 to E10.
 */
#include <sys/resource.h>

#include "helpers.h"

#define SOON	CHANFD_OPT(-1, 0, chanfd_deadline(BOUND))
#define NOW	CHANFD_OPT(-1, CHANFD_NONBLOCK, 0)

static bool no_children(void)
{
	return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
}

static struct chanfd_context_info context_of(struct chanfd_group *g)
{
	struct chanfd_context_info info;

	if (chanfd_context_info(chanfd_group_context(g), &info))
		err(1, "chanfd_context_info");
	return info;
}

/* Each test with tasks that are threads, and with tasks that are processes. */

FIXTURE(group) {
	bool process;
	struct chanfd_group *g;
	int fds;
	int threads;
	long handles;
};

FIXTURE_VARIANT(group) {
	bool process;
};

FIXTURE_VARIANT_ADD(group, threads) { .process = false };
FIXTURE_VARIANT_ADD(group, processes) { .process = true };

FIXTURE_SETUP(group)
{
	self->process = variant->process;
	self->fds = open_fds();
	self->threads = threads();
	self->handles = handles_open();
	self->g = chanfd_group(-1, 0);
	ASSERT_NE(NULL, self->g);
}

/* Nothing is ever left. */
FIXTURE_TEARDOWN(group)
{
	chanfd_group_free(self->g);
	EXPECT_EQ(self->fds, open_fds());
	EXPECT_TRUE(eventually(threads() == self->threads));
	EXPECT_TRUE(no_children());
	EXPECT_TRUE(eventually(handles_open() == self->handles));
}

#define start(group, fn, arg, opt)					\
	(self->process ? chanfd_group_fork((group), (fn), (arg), (opt)) \
		       : chanfd_group_go((group), (fn), (arg), (opt)))

/* Another group than that of the fixture. */
#define renew(flags) ({							\
	chanfd_group_free(self->g);					\
	self->g = chanfd_group(-1, (flags));				\
	ASSERT_NE(NULL, self->g);					\
})

static int give_back(int context, void *arg)
{
	return (intptr_t)arg;
}

static int stay(int context, void *arg)
{
	atomic_int *running = arg;

	if (running)
		(*running)++;
	if (!chanfd_context_wait(context, NULL))
		return ECANCELED;
	return errno;
}

#define WITH(error) ((void *)(intptr_t)(error))

/* E1, E3; TestZeroGroup */
TEST_F(group, first_error_is_sticky)
{
	static const int tasks[] = { 0, EIO, 0, ENOENT, 0 };
	static const int results[] = { 0, EIO, EIO, EIO, EIO };
	struct chanfd_failure first;
	unsigned int i;

	for (i = 0; i < 5; i++) {
		poison(&first);
		ASSERT_LE(0, start(self->g, give_back, WITH(tasks[i]), NULL));
		EXPECT_EQ(results[i], errno_of(chanfd_group_wait(self->g, &first)));
		if (!results[i]) {
			EXPECT_EQ((int)POISON32, first.error);
			continue;
		}
		EXPECT_EQ(EIO, first.error);
		EXPECT_EQ(WITH(EIO), first.arg);
		EXPECT_EQ(self->process, first.pid > 0);
		EXPECT_EQ(self->process ? EIO : 0, WEXITSTATUS(first.status));
	}
	EXPECT_EQ(2, chanfd_group_failures(self->g, NULL, 0));
}

/* E2; TestWithContext, TestCancelCause */
TEST_F(group, context_is_done_after_wait)
{
	static const struct {
		int tasks[3], result, cause;
	} rows[] = {
		{ { -1, -1, -1 }, 0, ECANCELED },
		{ { 0, -1, -1 }, 0, ECANCELED },
		{ { 0, 0, 0 }, 0, ECANCELED },
		{ { EIO, -1, -1 }, EIO, EIO },
		{ { 0, EIO, 0 }, EIO, EIO },
		{ { ENOENT, EIO, 0 }, ENOENT, ENOENT },
	};
	unsigned int i, k;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		renew(0);
		for (k = 0; k < 3 && rows[i].tasks[k] >= 0; k++) {
			ASSERT_LE(0, start(self->g, give_back, WITH(rows[i].tasks[k]), NULL));
			if (rows[i].tasks[k]) {
				/* At once: nobody waits for the group yet. */
				ASSERT_EQ(0, chanfd_context_wait(chanfd_group_context(self->g),
								 SOON));
				EXPECT_EQ(rows[i].cause, context_of(self->g).cause);
			}
		}
		EXPECT_EQ(rows[i].result, errno_of(chanfd_group_wait(self->g, NULL)));
		EXPECT_EQ(ECANCELED, context_of(self->g).error);
		EXPECT_EQ(rows[i].cause, context_of(self->g).cause);
	}
}

/* The others are told at once, while the first has not even been collected. */
TEST_F(group, first_error_cancels_the_others)
{
	atomic_int *running = shared(sizeof(*running));
	struct chanfd_failure list[4];
	int i;

	for (i = 0; i < 3; i++)
		ASSERT_LE(0, start(self->g, stay, running, NULL));
	ASSERT_TRUE(eventually(*running == 3));
	EXPECT_EQ(0, context_of(self->g).error);
	ASSERT_LE(0, start(self->g, give_back, WITH(EDOM), NULL));
	EXPECT_EQ(EDOM, errno_of(chanfd_group_wait(self->g, NULL)));
	EXPECT_EQ(EDOM, context_of(self->g).cause);
	ASSERT_EQ(4, chanfd_group_failures(self->g, list, 4));
	EXPECT_EQ(EDOM, list[0].error);
	for (i = 1; i < 4; i++)
		EXPECT_EQ(ECANCELED, list[i].error);
}

TEST_F(group, parent_context_cancels_all)
{
	int parent = chanfd_context(-1);
	atomic_int *running = shared(sizeof(*running));

	chanfd_group_free(self->g);
	self->g = chanfd_group(parent, 0);
	ASSERT_NE(NULL, self->g);
	ASSERT_LE(0, start(self->g, stay, running, NULL));
	ASSERT_LE(0, start(self->g, stay, running, NULL));
	ASSERT_TRUE(eventually(*running == 2));
	ASSERT_EQ(0, chanfd_cancel(parent, EHOSTDOWN, NULL));
	EXPECT_EQ(ECANCELED, errno_of(chanfd_group_wait(self->g, NULL)));
	EXPECT_EQ(EHOSTDOWN, context_of(self->g).cause);
	close(parent);
}

static int returns_errno(int context, void *arg)
{
	errno = (intptr_t)arg;
	return -1;
}

TEST_F(group, results_of_tasks)
{
	static const struct {
		int (*fn)(int context, void *arg);
		int value, result;
	} rows[] = {
		{ give_back, 0, 0 },
		{ give_back, 133, 133 },
		{ give_back, 4095, 4095 },
		{ give_back, 4096, EINVAL },
		{ give_back, INT32_MAX, EINVAL },
		{ returns_errno, EPIPE, EPIPE },
		{ returns_errno, 0, EINVAL },
	};
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		renew(0);
		ASSERT_LE(0, start(self->g, rows[i].fn, WITH(rows[i].value), NULL));
		EXPECT_EQ(rows[i].result, errno_of(chanfd_group_wait(self->g, NULL)));
	}
}

/* Limits */

struct gauge {
	atomic_int active;
	atomic_int most;
	atomic_int all;
};

static int rise_and_fall(int context, void *arg)
{
	struct gauge *gauge = arg;
	int n = ++gauge->active;
	int most = gauge->most;

	while (n > most && !atomic_compare_exchange_weak(&gauge->most, &most, n))
		;
	sched_yield();
	gauge->all++;
	gauge->active--;
	return 0;
}

/* TestGoLimit */
TEST_F(group, limit_is_respected)
{
	struct gauge *gauge = shared(sizeof(*gauge));
	int i, n = self->process ? 65 : 1025;

	ASSERT_EQ(0, chanfd_group_limit(self->g, 10));
	for (i = 0; i < n; i++)
		ASSERT_LE(0, start(self->g, rise_and_fall, gauge, NULL));
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	EXPECT_EQ(n, atomic_load(&gauge->all));
	EXPECT_GE(10, atomic_load(&gauge->most));
}

/* E4; TestTryGo */
TEST_F(group, try)
{
	int i, limit = self->process ? 7 : 42;
	atomic_int *running = shared(sizeof(*running));

	ASSERT_EQ(0, chanfd_group_limit(self->g, limit));
	for (i = 0; i < limit; i++)
		ASSERT_LE(0, start(self->g, stay, running, NOW));
	EXPECT_EQ(EAGAIN, errno_of(start(self->g, stay, running, NOW)));
	EXPECT_EQ(ETIMEDOUT, errno_of(start(self->g, stay, running,
					    CHANFD_OPT(-1, 0, chanfd_deadline(MSEC)))));
	ASSERT_TRUE(eventually(*running == limit));
	/* One that fails ends all the others. */
	ASSERT_EQ(EBUSY, errno_of(chanfd_group_limit(self->g, limit + 1)));
	renew(0);
	ASSERT_EQ(0, chanfd_group_limit(self->g, 1));
	for (i = 0; i < 3; i++) {
		ASSERT_LE(0, start(self->g, give_back, WITH(0), NOW));
		/* E5: when it returns all slots are free. */
		ASSERT_EQ(0, chanfd_group_wait(self->g, NULL));
	}
	/* E6 */
	ASSERT_EQ(0, chanfd_group_limit(self->g, 0));
	for (i = 0; i < 1024; i++)
		ASSERT_EQ(EAGAIN, errno_of(start(self->g, give_back, WITH(0), NOW)));
	EXPECT_EQ(ETIMEDOUT, errno_of(start(self->g, give_back, WITH(0),
					    CHANFD_OPT(-1, 0, chanfd_deadline(MSEC)))));
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	ASSERT_EQ(0, chanfd_group_limit(self->g, -1));
	for (i = 0; i < 2 * limit; i++)
		ASSERT_LE(0, start(self->g, give_back, WITH(0), NOW));
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	EXPECT_EQ(EINVAL, errno_of(chanfd_group_limit(self->g, CHANFD_MAX_CAPACITY + 1)));
}

/* E8: Go forgets those that began without a limit, and its Wait hangs. */
TEST_F(group, limit_with_tasks_is_refused)
{
	atomic_int *running = shared(sizeof(*running));
	int limit;

	for (limit = -1; limit <= 2; limit += 3) {
		renew(0);
		ASSERT_EQ(0, chanfd_group_limit(self->g, limit));
		*running = 0;
		ASSERT_LE(0, start(self->g, stay, running, NULL));
		ASSERT_TRUE(eventually(*running == 1));
		EXPECT_EQ(EBUSY, errno_of(chanfd_group_limit(self->g, 1)));
		EXPECT_EQ(EBUSY, errno_of(chanfd_group_limit(self->g, -1)));
		EXPECT_EQ(EBUSY, errno_of(chanfd_group_degrade(self->g, NULL, NULL)));
		ASSERT_LE(0, start(self->g, give_back, WITH(EIO), NULL));
		EXPECT_EQ(EIO, errno_of(chanfd_group_wait(self->g, NULL)));
		EXPECT_EQ(0, chanfd_group_limit(self->g, 1));
	}
}

struct starter {
	struct chanfd_group *g;
	bool process;
	atomic_int error;
};

static void *start_one(void *arg)
{
	struct starter *s = arg;
	int ret = s->process ? chanfd_group_fork(s->g, give_back, WITH(0), NULL)
			     : chanfd_group_go(s->g, give_back, WITH(0), NULL);

	s->error = ret < 0 ? errno : 0;
	return NULL;
}

static int pass_gate(int context, void *arg)
{
	int n;

	return chanfd_get((intptr_t)arg, &n, NULL) == 1 ? 0 : errno;
}

/* E4: Go at the limit waits in the caller, until a slot is free. */
TEST_F(group, start_waits_for_a_slot)
{
	struct starter s = { self->g, self->process, -1 };
	int gate = chanfd_make(int, 0);
	struct chanfd_waitgroup_info info;
	pthread_t thread;

	ASSERT_LE(0, gate);
	ASSERT_EQ(0, chanfd_group_limit(self->g, 1));
	ASSERT_LE(0, start(self->g, pass_gate, WITH(gate), NULL));
	ASSERT_EQ(0, pthread_create(&thread, NULL, start_one, &s));
	pause_for(A_WHILE);
	EXPECT_EQ(-1, atomic_load(&s.error));
	ASSERT_EQ(0, chanfd_waitgroup_info(chanfd_group_waitgroup(self->g), &info));
	EXPECT_EQ(1, info.count);
	ASSERT_EQ(0, chanfd_put(gate, 1, SOON));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, atomic_load(&s.error));
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	close(gate);
}

/* Who waits for a slot that never comes is in the way of another limit, too. */
TEST_F(group, waiting_for_a_slot_counts)
{
	struct starter s[2] = { { self->g, self->process, -1 }, { self->g, self->process, -1 } };
	int gate = chanfd_make(int, 0), i;
	pthread_t thread[2];

	ASSERT_LE(0, gate);
	ASSERT_EQ(0, chanfd_group_limit(self->g, 1));
	ASSERT_LE(0, start(self->g, pass_gate, WITH(gate), NULL));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, start_one, &s[i]));
	EXPECT_EQ(EBUSY, errno_of(chanfd_group_limit(self->g, 2)));
	ASSERT_EQ(0, chanfd_put(gate, 1, SOON));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_join(thread[i], NULL));
		EXPECT_EQ(0, atomic_load(&s[i].error));
	}
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	EXPECT_EQ(0, chanfd_group_limit(self->g, 2));
	close(gate);
}

/* Ends that are none */

static int exits(int context, void *arg)
{
	exit((intptr_t)arg);
}

static int killed(int context, void *arg)
{
	kill(getpid(), (intptr_t)arg);
	return 0;
}

static int thread_exits(int context, void *arg)
{
	pthread_exit(arg);
}

static int thread_cancelled(int context, void *arg)
{
	pthread_cancel(pthread_self());
	pthread_testcancel();
	return 0;
}

/* W8, E9, tE7: an abnormal end does not look like completion. */
TEST_F(group, ends_without_returning)
{
	static const struct {
		bool process;
		int (*fn)(int context, void *arg);
		int arg, status;
	} rows[] = {
		{ false, thread_exits, 0, 0 },
		{ false, thread_cancelled, 0, 0 },
		{ true, exits, 0, 0 },
		{ true, exits, 3, 3 << 8 },
		{ true, killed, SIGKILL, SIGKILL },
		{ true, killed, SIGSEGV, SIGSEGV },
		{ true, thread_exits, 0, 0 },
	};
	struct rlimit no_core = { 0, 0 };
	struct chanfd_context_info info;
	struct chanfd_failure first;
	unsigned int i;
	long id;

	setrlimit(RLIMIT_CORE, &no_core);
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (rows[i].process != self->process)
			continue;
		renew(0);
		ASSERT_LE(0, start(self->g, stay, NULL, NULL));
		id = start(self->g, rows[i].fn, WITH(rows[i].arg), NULL);
		ASSERT_LE(0, id);
		/* At once, while the other goes on. */
		ASSERT_EQ(0, chanfd_context_wait(chanfd_group_context(self->g), SOON));
		info = context_of(self->g);
		EXPECT_EQ(EOWNERDEAD, info.cause);
		EXPECT_EQ(self->process, !!strstr((char *)info.text, "process "));
		EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_group_wait(self->g, &first)));
		EXPECT_EQ(EOWNERDEAD, first.error);
		EXPECT_EQ(id, first.pid);
		EXPECT_EQ(rows[i].status, first.status & 0xff7f);
		EXPECT_EQ(WITH(rows[i].arg), first.arg);
		EXPECT_EQ(2, chanfd_group_failures(self->g, NULL, 0));
	}
}

/* Errors that are kept, or forgiven */

TEST_F(group, keep_going)
{
	struct chanfd_failure list[CHANFD_MAX_FAILURES];
	bool seen[CHANFD_MAX_FAILURES + 10] = { false };
	int i, n = CHANFD_MAX_FAILURES + 5;

	renew(CHANFD_KEEP_GOING);
	ASSERT_EQ(0, chanfd_group_limit(self->g, 8));
	for (i = 1; i <= n; i++) {
		ASSERT_LE(0, start(self->g, give_back, WITH(i), NULL));
		ASSERT_LE(0, start(self->g, give_back, WITH(0), NULL));
	}
	EXPECT_EQ(0, context_of(self->g).error);
	EXPECT_NE(0, errno_of(chanfd_group_wait(self->g, NULL)));
	memset(list, 0, sizeof(list));
	EXPECT_EQ(n, chanfd_group_failures(self->g, list, CHANFD_MAX_FAILURES + 10));
	EXPECT_EQ(list[0].error, context_of(self->g).cause);
	for (i = 0; i < CHANFD_MAX_FAILURES; i++) {
		ASSERT_LT(0, list[i].error);
		ASSERT_GE(n, list[i].error);
		EXPECT_FALSE(seen[list[i].error]);
		EXPECT_EQ(WITH(list[i].error), list[i].arg);
		seen[list[i].error] = true;
	}
}

struct fallback {
	atomic_int used;
	int last;
};

/* There is one for EIO. ENOENT is made EAGAIN. */
static int fall_back(const struct chanfd_failure *failure, void *arg)
{
	struct fallback *f = arg;

	f->used++;
	f->last = failure->error;
	if (failure->error == ENOENT)
		return EAGAIN;
	return failure->error == EIO ? 0 : failure->error;
}

TEST_F(group, degrade)
{
	struct fallback f = { 0 };

	ASSERT_EQ(0, chanfd_group_degrade(self->g, fall_back, &f));
	ASSERT_LE(0, start(self->g, give_back, WITH(0), NULL));
	ASSERT_LE(0, start(self->g, give_back, WITH(EIO), NULL));
	ASSERT_LE(0, start(self->g, give_back, WITH(EIO), NULL));
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	EXPECT_EQ(2, atomic_load(&f.used));
	EXPECT_EQ(EIO, f.last);
	EXPECT_EQ(ECANCELED, context_of(self->g).cause);
	EXPECT_EQ(0, chanfd_group_failures(self->g, NULL, 0));

	renew(0);
	ASSERT_EQ(0, chanfd_group_degrade(self->g, fall_back, &f));
	ASSERT_LE(0, start(self->g, give_back, WITH(ENOENT), NULL));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_group_wait(self->g, NULL)));
	EXPECT_EQ(3, atomic_load(&f.used));
	ASSERT_EQ(0, chanfd_group_degrade(self->g, NULL, NULL));
	ASSERT_LE(0, start(self->g, give_back, WITH(EIO), NULL));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_group_wait(self->g, NULL)));
	EXPECT_EQ(3, atomic_load(&f.used));
	EXPECT_EQ(2, chanfd_group_failures(self->g, NULL, 0));
}

/* Waiting */

static int add_up(int context, void *arg)
{
	int *cell = arg;

	*cell += 1;
	return 0;
}

/* H16: what tasks did is there when the wait returns. */
TEST_F(group, effects_are_seen)
{
	int *cells = shared(8 * sizeof(*cells));
	int i, round, sum;

	for (round = 1; round <= (self->process ? 4 : 50); round++) {
		for (i = 0; i < 8; i++)
			ASSERT_LE(0, start(self->g, add_up, &cells[i], NULL));
		ASSERT_EQ(0, chanfd_group_wait(self->g, NULL));
		for (sum = 0, i = 0; i < 8; i++)
			sum += cells[i];
		EXPECT_EQ(8 * round, sum);
	}
}

/* With a deadline, as a case of a select, and by poll(2). */
TEST_F(group, waitgroup)
{
	int gate = chanfd_make(int, 0), wg = chanfd_group_waitgroup(self->g);
	struct chanfd_outcome out;

	ASSERT_LE(0, gate);
	EXPECT_EQ(0, chanfd_wg_wait(wg, NULL, NULL));
	ASSERT_LE(0, start(self->g, pass_gate, WITH(gate), NULL));
	EXPECT_EQ(ETIMEDOUT, errno_of(chanfd_wg_wait(wg, CHANFD_OPT(-1, 0, chanfd_deadline(MSEC)),
						     NULL)));
	EXPECT_EQ(EAGAIN, errno_of(chanfd_select_of(NOW, &out, CHANFD_WAIT(wg))));
	EXPECT_EQ(EPERM, errno_of(chanfd_wg_done(wg)));
	ASSERT_EQ(0, chanfd_put(gate, 1, SOON));
	EXPECT_EQ(0, chanfd_select_of(SOON, &out, CHANFD_WAIT(wg)));
	EXPECT_EQ(0, out.status);
	ASSERT_LE(0, start(self->g, give_back, WITH(EIO), NULL));
	EXPECT_EQ(0, chanfd_select_of(SOON, &out, CHANFD_WAIT(wg)));
	EXPECT_EQ(EIO, out.status);
	EXPECT_EQ(EIO, errno_of(chanfd_group_wait(self->g, NULL)));
	close(gate);
}

static void *wait_for_group(void *arg)
{
	return WITH(chanfd_group_wait(arg, NULL) ? errno : 0);
}

TEST_F(group, several_wait)
{
	int gate = chanfd_make(int, 0), i;
	pthread_t thread[4];
	void *result;

	ASSERT_LE(0, gate);
	ASSERT_LE(0, start(self->g, pass_gate, WITH(gate), NULL));
	ASSERT_LE(0, start(self->g, pass_gate, WITH(gate), NULL));
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, wait_for_group, self->g));
	ASSERT_EQ(0, chanfd_put(gate, 1, SOON));
	ASSERT_EQ(0, chanfd_put(gate, 1, SOON));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, pthread_join(thread[i], &result));
		EXPECT_EQ(WITH(0), result);
	}
	close(gate);
}

TEST_F(group, free_cancels_and_waits)
{
	struct gauge *gauge = shared(sizeof(*gauge));
	int i;

	for (i = 0; i < 4; i++)
		ASSERT_LE(0, start(self->g, stay, &gauge->active, NULL));
	ASSERT_TRUE(eventually(gauge->active == 4));
	errno = EDOM;
	chanfd_group_free(self->g);
	EXPECT_EQ(EDOM, errno);
	self->g = NULL;
	EXPECT_TRUE(eventually(threads() == self->threads));
	EXPECT_TRUE(no_children());
}

static int in_a_scope(bool process, atomic_int *running)
{
	chanfd_auto_group struct chanfd_group *g = chanfd_group(-1, 0);

	if (!g || (process ? chanfd_group_fork(g, stay, running, NULL)
			   : chanfd_group_go(g, stay, running, NULL)) < 0)
		return -1;
	return eventually(*running) ? 0 : -1;
}

TEST_F(group, auto_group)
{
	int before = open_fds();

	EXPECT_EQ(0, in_a_scope(self->process, shared(sizeof(atomic_int))));
	EXPECT_EQ(before, open_fds());
	EXPECT_TRUE(eventually(threads() == self->threads));
	EXPECT_TRUE(no_children());
}

static int has_a_group(int context, void *arg)
{
	struct chanfd_group *g = chanfd_group(context, 0);
	struct gauge *gauge = arg;
	int i, ret = g ? 0 : errno;

	for (i = 0; i < 3 && !ret; i++)
		ret = chanfd_group_fork(g, rise_and_fall, gauge, NULL) < 0 ? errno : 0;
	for (i = 0; i < 3 && !ret; i++)
		ret = chanfd_group_go(g, rise_and_fall, gauge, NULL) < 0 ? errno : 0;
	if (!ret && chanfd_group_wait(g, NULL))
		ret = errno;
	chanfd_group_free(g);
	return ret;
}

TEST_F(group, groups_in_tasks)
{
	struct gauge *gauge = shared(sizeof(*gauge));
	int i;

	for (i = 0; i < 4; i++)
		ASSERT_LE(0, start(self->g, has_a_group, gauge, NULL));
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	EXPECT_EQ(24, atomic_load(&gauge->all));
}

/* Tasks may start others. */

struct recursion {
	struct chanfd_group *g;
	atomic_int all;
};

static int starts_two(int context, void *arg)
{
	struct recursion *r = arg;

	if (++r->all > 64)
		return 0;
	if (chanfd_group_go(r->g, starts_two, r, NULL))
		return errno;
	return chanfd_group_go(r->g, starts_two, r, NULL);
}

TEST(tasks_start_tasks)
{
	struct recursion r = { .g = chanfd_group(-1, 0) };
	int alone = threads();

	ASSERT_NE(NULL, r.g);
	ASSERT_EQ(0, chanfd_group_go(r.g, starts_two, &r, NULL));
	EXPECT_EQ(0, chanfd_group_wait(r.g, NULL));
	EXPECT_EQ(129, atomic_load(&r.all));
	chanfd_group_free(r.g);
	EXPECT_TRUE(eventually(threads() == alone));
}

/* Misuse and want */

TEST(bad_arguments)
{
	int ch = chanfd_make(int, 0), before = open_fds();
	struct chanfd_group *g;

	errno = 0;
	EXPECT_EQ(NULL, chanfd_group(-1, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(NULL, chanfd_group(ch, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(NULL, chanfd_group(1000, 0));
	EXPECT_EQ(EBADF, errno);
	EXPECT_EQ(before, open_fds());
	chanfd_group_free(NULL);
	g = chanfd_group(-1, 0);
	ASSERT_NE(NULL, g);
	EXPECT_EQ(EPERM, errno_of(chanfd_cancel(chanfd_group_context(g), 0, NULL)));
	chanfd_group_free(g);
	EXPECT_EQ(before, open_fds());
}

static int uses_the_parents_group(int context, void *arg)
{
	struct chanfd_group *g = *(struct chanfd_group **)arg;
	struct chanfd_context_info info;
	int fds[8], i;

	if (errno_of(chanfd_group_go(g, give_back, NULL, NULL)) != EPERM ||
	    errno_of(chanfd_group_fork(g, give_back, NULL, NULL)) != EPERM ||
	    errno_of(chanfd_group_wait(g, NULL)) != EPERM ||
	    errno_of(chanfd_group_limit(g, 1)) != EPERM ||
	    errno_of(chanfd_group_degrade(g, NULL, NULL)) != EPERM)
		return EDOM;
	errno = 0;
	if (chanfd_group_failures(g, NULL, 0) || errno != EPERM)
		return EDOM;
	if (errno_of(chanfd_cancel(context, 0, NULL)) != EPERM)
		return EXDEV;
	if (chanfd_context_info(context, &info) || info.cancellers != 1)
		return ENOTUNIQ;
	/* What has the numbers of the descriptors that it has not, is not the group's. */
	for (i = 0; i < 8; i++)
		fds[i] = dup(context);
	chanfd_group_free(g);
	for (i = 0; i < 8; i++)
		if (fcntl(fds[i], F_GETFD) < 0)
			return EBADF;
	return 0;
}

/* A child has nothing of its parent's group but to observe the context. */
TEST(in_a_child)
{
	struct chanfd_group **g = shared(sizeof(*g));

	*g = chanfd_group(-1, 0);
	ASSERT_NE(NULL, *g);
	ASSERT_LT(0, chanfd_group_fork(*g, uses_the_parents_group, g, NULL));
	EXPECT_EQ(0, chanfd_group_wait(*g, NULL));
	chanfd_group_free(*g);
}

static long run_free(struct party *me)
{
	struct chanfd_group *g = me->arg;

	chanfd_group_free(g);
	return 0;
}

/* What a child does to its copy is not noticed. */
TEST(freed_in_a_child)
{
	struct chanfd_group *g = chanfd_group(-1, 0);
	atomic_int *running = shared(sizeof(*running));
	struct party *child;

	ASSERT_NE(NULL, g);
	ASSERT_EQ(0, chanfd_group_go(g, stay, running, NULL));
	ASSERT_TRUE(eventually(*running == 1));
	child = party_new(true, run_free, -1);
	child->arg = g;
	EXPECT_EQ(0, party_join(party_start(child)));
	EXPECT_EQ(0, context_of(g).error);
	chanfd_group_free(g);
}

TEST(no_descriptors)
{
	struct rlimit old, none = { 0 };
	struct chanfd_group *g;
	int before = open_fds(), free;

	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	none.rlim_max = old.rlim_max;
	/* A group needs one for its pidfd or device, and four that stay. */
	for (free = 0; free < 5; free++) {
		none.rlim_cur = dup(0) + free;
		close(none.rlim_cur - free);
		ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
		errno = 0;
		g = chanfd_group(-1, 0);
		EXPECT_EQ(NULL, g);
		EXPECT_EQ(EMFILE, errno);
		ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
		EXPECT_EQ(before, open_fds());
	}
	none.rlim_cur++;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	g = chanfd_group(-1, 0);
	ASSERT_NE(NULL, g);
	/* Tasks need none. */
	EXPECT_EQ(0, chanfd_group_go(g, give_back, WITH(0), NULL));
	EXPECT_LT(0, chanfd_group_fork(g, give_back, WITH(0), NULL));
	EXPECT_EQ(0, chanfd_group_wait(g, NULL));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	chanfd_group_free(g);
	EXPECT_EQ(before, open_fds());
}

/* In a process of its own: the line of what went wrong first. */
static long wrong;
#define SHOULD(condition) do {						\
	if (!wrong && !(condition))					\
		wrong = __LINE__;					\
} while (0)

/* The limit counts threads of the user, who has no others. */
static long run_without_threads(struct party *me)
{
	struct chanfd_group *g = chanfd_group(-1, 0);
	int before, alone = threads();
	struct rlimit limit;

	SHOULD(g);
	SHOULD(!setresuid(61234, 61234, 61234));
	SHOULD(!chanfd_group_limit(g, 1));
	before = open_fds();
	SHOULD(!getrlimit(RLIMIT_NPROC, &limit));
	limit.rlim_cur = alone;
	SHOULD(!setrlimit(RLIMIT_NPROC, &limit));
	SHOULD(errno_of(chanfd_group_go(g, give_back, NULL, NULL)) == EAGAIN);
	SHOULD(errno_of(chanfd_group_fork(g, give_back, NULL, NULL)) == EAGAIN);
	/* Now there may be the thread, but no process. */
	limit.rlim_cur = alone + 1;
	SHOULD(!setrlimit(RLIMIT_NPROC, &limit));
	SHOULD(errno_of(chanfd_group_fork(g, give_back, NULL, NULL)) == EAGAIN);
	SHOULD(eventually(threads() == alone));
	SHOULD(before == open_fds());
	/* The slot and the count are free. */
	SHOULD(!chanfd_wg_wait(chanfd_group_waitgroup(g), NOW, NULL));
	SHOULD(!chanfd_group_go(g, give_back, NULL, NOW));
	SHOULD(!chanfd_group_wait(g, NULL));
	limit.rlim_cur = alone + 2;
	SHOULD(!setrlimit(RLIMIT_NPROC, &limit));
	SHOULD(chanfd_group_fork(g, give_back, NULL, NOW) > 0);
	SHOULD(!chanfd_group_wait(g, NULL));
	SHOULD(!chanfd_group_failures(g, NULL, 0));
	chanfd_group_free(g);
	return wrong;
}

TEST(no_threads_and_no_processes)
{
	if (getuid())
		SKIP(return, "needs root");
	EXPECT_EQ(0, party_join(party_start(party_new(true, run_without_threads, -1))));
}

/* Processes that are killed */

/* Sends as long as it may. */
static int chatter(int context, void *arg)
{
	const struct chanfd_opt opt = { context, 0, 0 };
	int n;

	for (n = 0; !chanfd_put((intptr_t)arg, n, &opt); n++)
		;
	return errno == ECANCELED ? 0 : errno;
}

#define CHILDREN 16

TEST(children_killed_anywhere)
{
	struct chanfd_group *g = chanfd_group(-1, CHANFD_KEEP_GOING);
	int ch = chanfd_make(int, 3), before = open_fds(), alone = threads(), i, n;
	struct chanfd_failure list[CHILDREN];
	pid_t child[CHILDREN];

	ASSERT_NE(NULL, g);
	for (i = 0; i < CHILDREN; i++) {
		child[i] = chanfd_group_fork(g, chatter, WITH(ch), NULL);
		ASSERT_LT(0, child[i]);
	}
	for (i = 0; i < CHILDREN; i++) {
		ASSERT_EQ(1, chanfd_get(ch, &n, SOON));
		pause_for(i * 30000);
		ASSERT_EQ(0, kill(child[i], SIGKILL));
	}
	EXPECT_EQ(EOWNERDEAD, errno_of(chanfd_group_wait(g, NULL)));
	ASSERT_EQ(CHILDREN, chanfd_group_failures(g, list, CHILDREN));
	for (i = 0; i < CHILDREN; i++) {
		EXPECT_EQ(EOWNERDEAD, list[i].error);
		EXPECT_TRUE(WIFSIGNALED(list[i].status));
		EXPECT_EQ(SIGKILL, WTERMSIG(list[i].status));
	}
	EXPECT_EQ(before, open_fds());
	EXPECT_TRUE(eventually(threads() == alone));
	EXPECT_TRUE(no_children());
	chanfd_group_free(g);
}

struct orphanage {
	atomic_int running;
	atomic_int told;
	atomic_int wrong;
};

static int outlives(int context, void *arg)
{
	struct orphanage *o = arg;
	struct chanfd_context_info info;

	o->running++;
	if (chanfd_context_wait(context, NULL) || chanfd_context_info(context, &info) ||
	    info.error != ECANCELED || info.cause != EOWNERDEAD)
		o->wrong++;
	o->told++;
	return 0;
}

/* Each child is forked when its parent also has other groups, whose handles it gets. */
static long run_groups(struct party *me)
{
	struct chanfd_group *g[3];
	int i, k;

	for (i = 0; i < 3; i++)
		g[i] = chanfd_group(-1, 0);
	for (k = 0; k < 2; k++) {
		for (i = 0; i < 3; i++) {
			if (!g[i] || chanfd_group_fork(g[i], outlives, me->arg, NULL) < 0)
				return -1;
		}
	}
	pause();
	return 0;
}

/* Z: the parent is killed, and its children learn of it. */
TEST(parent_is_killed)
{
	struct orphanage *o = shared(sizeof(*o));
	struct party *parent = party_new(true, run_groups, -1);

	parent->arg = o;
	party_start(parent);
	ASSERT_TRUE(eventually(o->running == 6));
	EXPECT_EQ(0, atomic_load(&o->told));
	party_kill(parent);
	EXPECT_TRUE(eventually(o->told == 6));
	EXPECT_EQ(0, atomic_load(&o->wrong));
}

/* Programs with habits of their own */

TEST(sigchld_ignored)
{
	struct chanfd_group *g = chanfd_group(-1, CHANFD_KEEP_GOING);
	struct chanfd_failure list[2];
	int i;

	ASSERT_NE(NULL, g);
	signal(SIGCHLD, SIG_IGN);
	ASSERT_LT(0, chanfd_group_fork(g, give_back, WITH(0), NULL));
	EXPECT_EQ(0, chanfd_group_wait(g, NULL));
	ASSERT_LT(0, chanfd_group_fork(g, give_back, WITH(EIO), NULL));
	ASSERT_LT(0, chanfd_group_fork(g, killed, WITH(SIGKILL), NULL));
	EXPECT_NE(0, errno_of(chanfd_group_wait(g, NULL)));
	ASSERT_EQ(2, chanfd_group_failures(g, list, 2));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(list[i].arg == WITH(EIO) ? EIO : EOWNERDEAD, list[i].error);
		EXPECT_EQ(0, list[i].status);
	}
	EXPECT_NE(list[0].arg, list[1].arg);
	chanfd_group_free(g);
}

static void *reap_everything(void *arg)
{
	atomic_bool *stop = arg;

	while (!*stop) {
		if (waitpid(-1, NULL, 0) < 0)
			sched_yield();
	}
	return NULL;
}

/* Who waits for any child gets some of ours; nothing hangs, and no result is lost. */
TEST(children_collected_by_others)
{
	struct chanfd_group *g = chanfd_group(-1, CHANFD_KEEP_GOING);
	atomic_bool stop = false;
	pthread_t thread;
	int i;

	ASSERT_NE(NULL, g);
	ASSERT_EQ(0, pthread_create(&thread, NULL, reap_everything, &stop));
	for (i = 0; i < 20; i++)
		ASSERT_LT(0, chanfd_group_fork(g, give_back, WITH(i % 2 ? EIO : 0), NULL));
	EXPECT_EQ(EIO, errno_of(chanfd_group_wait(g, NULL)));
	EXPECT_EQ(10, chanfd_group_failures(g, NULL, 0));
	stop = true;
	ASSERT_EQ(0, pthread_join(thread, NULL));
	chanfd_group_free(g);
}

static __thread bool is_starter;
static atomic_int signalled;

static void count_signal(int sig)
{
	if (!is_starter)
		signalled += 1000;
	signalled++;
}

static int mask_is_usual(int context, void *arg)
{
	sigset_t mask;

	if (pthread_sigmask(SIG_SETMASK, NULL, &mask))
		return errno;
	return sigismember(&mask, SIGUSR1) || !sigismember(&mask, SIGUSR2);
}

static int hook_mask(const struct chanfd_failure *failure, void *arg)
{
	return mask_is_usual(-1, NULL);
}

/* The library's threads take no signals; tasks and hooks have the starter's mask. */
TEST_F(group, signals)
{
	int gate = chanfd_make(int, 0), i;
	sigset_t set;

	ASSERT_LE(0, gate);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	ASSERT_EQ(0, pthread_sigmask(SIG_BLOCK, &set, NULL));
	is_starter = true;
	signal(SIGUSR1, count_signal);
	ASSERT_EQ(0, chanfd_group_degrade(self->g, hook_mask, NULL));
	ASSERT_LE(0, start(self->g, mask_is_usual, NULL, NULL));
	ASSERT_LE(0, start(self->g, give_back, WITH(EIO), NULL));
	EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	if (self->process) {
		ASSERT_LE(0, start(self->g, pass_gate, WITH(gate), NULL));
		for (i = 0; i < 20; i++)
			kill(getpid(), SIGUSR1);
		EXPECT_TRUE(eventually(signalled));
		EXPECT_GT(1000, atomic_load(&signalled));
		ASSERT_EQ(0, chanfd_put(gate, 1, SOON));
		EXPECT_EQ(0, chanfd_group_wait(self->g, NULL));
	}
	close(gate);
}

TEST_HARNESS_MAIN
