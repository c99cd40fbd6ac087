// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Groups: tasks with one context, one result and one end (Go's errgroup).
 *
 * Every task has a thread: the one it runs in, or the one that waits for its process.
 * Both end in end_task(), however the task ended, and are joined by who collects them:
 * chanfd_group_wait() or the next that starts a task. A task counts as active from
 * before it waits for its slot until it is joined, so that no limit changes under it
 * and none of it is left when a wait returns.
 *
 * A forked task shares the group's context with its parent and nothing else. It takes
 * no lock, for a thread that is not there any more may have held it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call.h"
#include "group.h"

/**
 * struct chanfd_group - tasks that have one context
 * @owner:	process that made it
 * @flags:	CHANFD_KEEP_GOING
 * @context:	what tasks get
 * @cancel:	the right to cancel it
 * @waiter:	waits until no task is left, for chanfd_group_waitgroup()
 * @counter:	counts tasks for @waiter
 * @slots:	channel with a message for each slot that is taken, -1 without a
 *		limit; changes only while @active is 0
 * @degrade:	may turn failures into successes; likewise
 * @degrade_arg: for it
 * @owned:	what goes with the group
 * @lock:	protects what follows, and @owned
 * @idle:	@active has become 0, or there is something in @ended
 * @active:	tasks that are about to start, or have, and are not joined yet
 * @ended:	those whose threads are to be joined
 * @failed:	how many failed
 * @failures:	the first of them, in their order
 */
struct chanfd_group {
	pid_t owner;
	unsigned int flags;
	int context;
	int cancel;
	int waiter;
	int counter;
	int slots;
	int (*degrade)(const struct chanfd_failure *failure, void *arg);
	void *degrade_arg;
	struct chanfd_owned *owned;

	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned int active;
	struct task *ended;
	unsigned int failed;
	struct chanfd_failure failures[CHANFD_MAX_FAILURES];
};

/**
 * struct task - one task
 * @next:	in the list of those that ended
 * @group:	it belongs to
 * @thread:	it runs in, or that waits for its process
 * @job:	what it does
 * @over:	@job.again has said no
 * @outcome:	how its last run ended
 * @mask:	a process: blocked signals of who started it
 * @said:	a process: 1 + what the function returned; 0: it has not. Shared with it
 */
struct task {
	struct task *next;
	struct chanfd_group *group;
	pthread_t thread;
	struct chanfd_job job;
	int over;
	struct chanfd_failure outcome;
	sigset_t mask;
	int *said;
};

static int fail(int err)
{
	errno = err;
	return -1;
}

int chanfd_group_check(const struct chanfd_group *g)
{
	return g->owner == getpid() ? 0 : fail(EPERM);
}

/* Closed, and forgotten: in a child their numbers may be used again. */
static void close_all(struct chanfd_group *g)
{
	chanfd_cleanup_fd(&g->cancel);
	chanfd_cleanup_fd(&g->waiter);
	chanfd_cleanup_fd(&g->counter);
	chanfd_cleanup_fd(&g->slots);
}

struct chanfd_group *chanfd_group(int parent, unsigned int flags)
{
	struct chanfd_context c = { .parent = parent, .flags = CHANFD_PAIR };
	struct chanfd_group *g;
	int wg[2];

	if (flags & ~CHANFD_KEEP_GOING) {
		errno = EINVAL;
		return NULL;
	}
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	chanfd_copy_name(c.name, sizeof(c.name), "group");
	if (chanfd_context_make(&c))
		goto free;
	/*
	 * Should this process die, that @cancel is closed is not enough: any child that
	 * the program has may have inherited it.
	 */
	if (chanfd_end_with_process(c.fd[1], getpid()))
		goto close_context;
	if (chanfd_waitgroup_pair(wg, 0, "group"))
		goto close_context;
	g->owner = getpid();
	g->flags = flags;
	g->context = c.fd[0];
	g->cancel = c.fd[1];
	g->waiter = wg[0];
	g->counter = wg[1];
	g->slots = -1;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->idle, NULL);
	return g;

close_context:
	chanfd_close_quietly(c.fd[0]);
	chanfd_close_quietly(c.fd[1]);
free:
	free(g);
	return NULL;
}

/* Tasks are forgotten. With the lock held. */
static void forget(struct chanfd_group *g, unsigned int n)
{
	g->active -= n;
	if (!g->active)
		pthread_cond_broadcast(&g->idle);
}

/* Join those that ended. With the lock held, which is released meanwhile. */
static void join_ended(struct chanfd_group *g)
{
	struct task *t = g->ended, *next;
	unsigned int n = 0;
	int cancel;

	g->ended = NULL;
	pthread_mutex_unlock(&g->lock);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	for (; t; t = next) {
		next = t->next;
		pthread_join(t->thread, NULL);
		free(t);
		n++;
	}
	pthread_setcancelstate(cancel, NULL);
	pthread_mutex_lock(&g->lock);
	forget(g, n);
}

static void join_all(struct chanfd_group *g)
{
	int cancel;

	/* To wait for a condition is a cancellation point. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	pthread_mutex_lock(&g->lock);
	while (g->active) {
		if (g->ended)
			join_ended(g);
		else
			pthread_cond_wait(&g->idle, &g->lock);
	}
	pthread_mutex_unlock(&g->lock);
	pthread_setcancelstate(cancel, NULL);
}

void chanfd_group_own(struct chanfd_group *g, struct chanfd_owned *owned)
{
	pthread_mutex_lock(&g->lock);
	owned->next = g->owned;
	g->owned = owned;
	pthread_mutex_unlock(&g->lock);
}

void chanfd_group_free(struct chanfd_group *g)
{
	struct chanfd_owned *owned, *next;
	int err = errno;

	if (!g)
		return;
	/* In a child of its process it has no tasks: their threads are not here. */
	if (g->owner == getpid()) {
		chanfd_cancel(g->cancel, 0, NULL);
		join_all(g);
		pthread_cond_destroy(&g->idle);
		pthread_mutex_destroy(&g->lock);
	}
	for (owned = g->owned; owned; owned = next) {
		next = owned->next;
		owned->release(owned);
	}
	close(g->context);
	close_all(g);
	free(g);
	errno = err;
}

int chanfd_group_context(const struct chanfd_group *g)
{
	return g->context;
}

int chanfd_group_waitgroup(const struct chanfd_group *g)
{
	return g->waiter;
}

/* With the lock held, if it returns 0. */
static int lock_if_idle(struct chanfd_group *g)
{
	if (chanfd_group_check(g))
		return -1;
	pthread_mutex_lock(&g->lock);
	if (g->ended)
		join_ended(g);
	if (!g->active)
		return 0;
	pthread_mutex_unlock(&g->lock);
	return fail(EBUSY);
}

int chanfd_group_limit(struct chanfd_group *g, int n)
{
	int slots = -1;

	if (n >= 0) {
		slots = chanfd_channel(0, n, 0, "group");
		if (slots < 0)
			return -1;
	}
	if (lock_if_idle(g)) {
		if (slots >= 0)
			chanfd_close_quietly(slots);
		return -1;
	}
	chanfd_cleanup_fd(&g->slots);
	g->slots = slots;
	pthread_mutex_unlock(&g->lock);
	return 0;
}

int chanfd_group_degrade(struct chanfd_group *g,
			 int (*hook)(const struct chanfd_failure *failure, void *arg),
			 void *arg)
{
	if (lock_if_idle(g))
		return -1;
	g->degrade = hook;
	g->degrade_arg = arg;
	pthread_mutex_unlock(&g->lock);
	return 0;
}

/* The first failure ends the context, for the same reason (rule E2). */
static void note_failure(struct chanfd_group *g, const struct chanfd_failure *f)
{
	char text[CHANFD_TEXT_LEN] = "";
	unsigned int nth;

	pthread_mutex_lock(&g->lock);
	nth = g->failed++;
	if (nth < CHANFD_MAX_FAILURES)
		g->failures[nth] = *f;
	pthread_mutex_unlock(&g->lock);
	if (nth || g->flags & CHANFD_KEEP_GOING)
		return;
	if (f->pid && WIFSIGNALED(f->status))
		snprintf(text, sizeof(text), "process %d: %s", f->pid,
			 strsignal(WTERMSIG(f->status)));
	else if (f->pid)
		snprintf(text, sizeof(text), "process %d", f->pid);
	chanfd_cancel(g->cancel, f->error, text);
}

static void give_slot_back(const struct chanfd_group *g)
{
	static const struct chanfd_opt now = { -1, CHANFD_NONBLOCK, 0 };

	if (g->slots >= 0)
		chanfd_recv(g->slots, NULL, 0, &now, NULL);
}

/* The last that a task's thread does, also by pthread_exit(3) and when it is cancelled. */
static void end_task(void *arg)
{
	struct task *t = arg;
	struct chanfd_group *g = t->group;
	struct chanfd_failure *f = &t->outcome;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	if (t->job.again && !t->over)
		t->job.again(f, t->job.arg, 0);
	if (f->error && g->degrade)
		f->error = g->degrade(f, g->degrade_arg);
	if (f->error)
		note_failure(g, f);
	give_slot_back(g);	/* before the count falls (rule E5) */
	pthread_mutex_lock(&g->lock);
	t->next = g->ended;
	g->ended = t;
	pthread_cond_broadcast(&g->idle);
	pthread_mutex_unlock(&g->lock);
	/* The task is still there: who joins it waits for the end of this thread. */
	chanfd_wg_done_error(g->counter, f->error);
}

/* What the function returned, as an errno. */
static int run(const struct task *t)
{
	int ret = t->job.fn(t->group->context, t->job.arg);

	if (ret < 0)
		ret = errno ? errno : EINVAL;
	return ret >= 0 && ret <= CHANFD_MAX_ERRNO ? ret : EINVAL;
}

static int runs_again(struct task *t)
{
	t->over = !t->job.again || !t->job.again(&t->outcome, t->job.arg, 1);
	return !t->over;
}

static void *run_in_thread(void *arg)
{
	struct task *t = arg;

	t->thread = pthread_self();
	pthread_cleanup_push(end_task, t);
	do {
		t->outcome.error = EOWNERDEAD;	/* if it does not return */
		t->outcome.error = run(t);
	} while (runs_again(t));
	pthread_cleanup_pop(1);
	return NULL;
}

/*
 * In a child. It must not keep the context from ending, nor a count from falling, when
 * its parent dies.
 */
static __attribute__((__noreturn__)) void run_in_process(const struct task *t)
{
	int error;

	close_all(t->group);
	pthread_sigmask(SIG_SETMASK, &t->mask, NULL);
	error = run(t);
	__atomic_store_n(t->said, 1 + error, __ATOMIC_RELEASE);
	_exit(error);
}

static pid_t fork_task(struct task *t)
{
	pid_t pid;

	__atomic_store_n(t->said, 0, __ATOMIC_RELAXED);
	pid = fork();
	if (!pid)
		run_in_process(t);
	return pid;
}

static void collect(struct task *t, pid_t pid)
{
	struct chanfd_failure *f = &t->outcome;
	int said;

	/*
	 * A program may wait for all its children, or ignore SIGCHLD. Then the status is
	 * lost (ECHILD), but not when the process died nor what it has said.
	 */
	f->pid = pid;
	f->status = 0;
	while (waitpid(pid, &f->status, 0) < 0 && errno == EINTR)
		;
	said = __atomic_load_n(t->said, __ATOMIC_ACQUIRE);
	f->error = said ? said - 1 : EOWNERDEAD;
}

/**
 * struct start - the first run of a process, for who starts it
 * @task:	whose
 * @pid:	or -1
 * @error:	then
 * @known:	posted when the two are
 */
struct start {
	struct task *task;
	pid_t pid;
	int error;
	sem_t known;
};

/* Only who waits for a process all the time sees it die at once. */
static void *watch_process(void *arg)
{
	struct start *start = arg;
	struct task *t = start->task;
	pid_t pid;

	t->thread = pthread_self();
	pid = fork_task(t);
	start->error = errno;
	start->pid = pid;
	sem_post(&start->known);
	if (pid < 0)
		return NULL;
	collect(t, pid);
	while (runs_again(t)) {
		pid = fork_task(t);
		if (pid < 0)
			t->outcome.error = errno;
		else
			collect(t, pid);
	}
	munmap(t->said, sizeof(*t->said));
	/* So that a hook runs as it does for tasks that are threads. */
	pthread_sigmask(SIG_SETMASK, &t->mask, NULL);
	end_task(t);
	return NULL;
}

static void forget_task(struct task *t)
{
	struct chanfd_group *g = t->group;

	free(t);
	pthread_mutex_lock(&g->lock);
	forget(g, 1);
	pthread_mutex_unlock(&g->lock);
}

/* A task that may start: it has a slot and is counted. */
static struct task *new_task(struct chanfd_group *g, const struct chanfd_job *job,
			     const struct chanfd_opt *opt)
{
	struct task *t;

	if (chanfd_group_check(g))
		return NULL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->group = g;
	t->job = *job;
	t->outcome.arg = job->arg;
	pthread_mutex_lock(&g->lock);
	g->active++;
	join_ended(g);
	pthread_mutex_unlock(&g->lock);
	if (g->slots < 0 || !chanfd_send(g->slots, NULL, 0, opt)) {
		if (!chanfd_wg_add(g->counter, 1))
			return t;
		give_slot_back(g);
	}
	forget_task(t);
	return NULL;
}

/* Returns 0, and the task may be gone; or -1. */
static pid_t start_thread(struct task *t)
{
	pthread_t thread;
	int err = pthread_create(&thread, NULL, run_in_thread, t);

	return err ? fail(err) : 0;
}

/* Likewise, but the process instead of 0. */
static pid_t start_process(struct task *t)
{
	struct start start = { .task = t };
	void *said = mmap(NULL, sizeof(*t->said), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_t thread;
	int err, cancel;

	if (said == MAP_FAILED)
		return -1;
	t->said = said;
	pthread_sigmask(SIG_SETMASK, NULL, &t->mask);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	sem_init(&start.known, 0, 0);
	err = chanfd_thread(&thread, watch_process, &start);
	if (!err) {
		while (sem_wait(&start.known))
			;
		if (start.pid < 0) {
			err = start.error;
			pthread_join(thread, NULL);
		}
	}
	sem_destroy(&start.known);
	pthread_setcancelstate(cancel, NULL);
	if (!err)
		return start.pid;
	munmap(said, sizeof(*t->said));
	return fail(err);
}

int chanfd_group_start(struct chanfd_group *g, const struct chanfd_job *job,
		       const struct chanfd_opt *opt)
{
	struct task *t = new_task(g, job, opt);
	pid_t pid;
	int err;

	if (!t)
		return -1;
	pid = job->process ? start_process(t) : start_thread(t);
	if (pid >= 0)
		return pid;
	err = errno;
	give_slot_back(g);
	chanfd_wg_done(g->counter);
	forget_task(t);
	return fail(err);
}

int chanfd_group_go(struct chanfd_group *g, int (*fn)(int context, void *arg), void *arg,
		    const struct chanfd_opt *opt)
{
	const struct chanfd_job job = { .fn = fn, .arg = arg };

	return chanfd_group_start(g, &job, opt);
}

pid_t chanfd_group_fork(struct chanfd_group *g, int (*fn)(int context, void *arg), void *arg,
			const struct chanfd_opt *opt)
{
	const struct chanfd_job job = { .fn = fn, .arg = arg, .process = 1 };

	return chanfd_group_start(g, &job, opt);
}

int chanfd_group_wait(struct chanfd_group *g, struct chanfd_failure *first)
{
	int error;

	if (chanfd_group_check(g))
		return -1;
	join_all(g);
	pthread_mutex_lock(&g->lock);
	error = g->failures[0].error;
	if (error && first)
		*first = g->failures[0];
	pthread_mutex_unlock(&g->lock);
	chanfd_cancel(g->cancel, error, NULL);
	return error ? fail(error) : 0;
}

unsigned int chanfd_group_failures(struct chanfd_group *g, struct chanfd_failure *list,
				   unsigned int max)
{
	unsigned int n, kept;

	if (chanfd_group_check(g))
		return 0;
	pthread_mutex_lock(&g->lock);
	n = g->failed;
	kept = n < CHANFD_MAX_FAILURES ? n : CHANFD_MAX_FAILURES;
	memcpy(list, g->failures, (kept < max ? kept : max) * sizeof(*list));
	pthread_mutex_unlock(&g->lock);
	return n;
}

void chanfd_cleanup_group(struct chanfd_group **g)
{
	chanfd_group_free(*g);
	*g = NULL;
}
