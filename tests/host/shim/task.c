// SPDX-License-Identifier: GPL-2.0
/* Tasks, RCU, signals, and wait queues. */

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../host.h"
#include "kernel.h"

__thread struct task_struct *shim_task;

static pthread_mutex_t tasks_lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(tasks);
static pthread_key_t at_exit;

/* Processes: every thread is one of its own, unless it has joined another's */

struct pid *task_tgid(struct task_struct *task)
{
	static int last_number = 1000;
	struct pid *pid = task->process;

	if (pid)
		return pid;
	pid = calloc(1, sizeof(*pid));
	if (!pid)
		host_bug("no memory for a process");
	refcount_set(&pid->count, 1);
	pid->number = __atomic_add_fetch(&last_number, 1, __ATOMIC_RELAXED);
	atomic_inc(&pid->threads);
	init_waitqueue_head(&pid->wait_pidfd);
	task->process = pid;
	return pid;
}

void put_pid(struct pid *pid)
{
	if (!pid || !refcount_dec_and_test(&pid->count))
		return;
	if (!list_empty(&pid->wait_pidfd.head))
		host_bug("somebody waits for a process that is forgotten");
	free(pid);
}

struct pid *host_process(void)
{
	return task_tgid(current);
}

/* Its end is told as in interrupt context: the kernel holds a lock that interrupts take. */
static void leave_process(struct task_struct *task)
{
	struct pid *pid = task->process;

	task->process = NULL;
	if (!pid)
		return;
	/* The leader may end before others. */
	WRITE_ONCE(pid->leader.exit_state, 1);
	atomic_dec(&pid->threads);
	task->in_interrupt = true;
	__wake_up(&pid->wait_pidfd, TASK_NORMAL, 0, poll_to_key(EPOLLIN | EPOLLRDNORM));
	task->in_interrupt = false;
	put_pid(pid);
}

void host_join(struct pid *process)
{
	struct task_struct *task = current;

	leave_process(task);
	task->process = get_pid(process);
	atomic_inc(&process->threads);
}

void host_leave(void)
{
	leave_process(current);
}

int host_process_number(const struct pid *process)
{
	return process->number;
}

/* Threads */

static void task_exit(void *arg)
{
	struct task_struct *task = arg;

	shim_task = task;
	leave_process(task);
	shim_task = NULL;
	pthread_mutex_lock(&tasks_lock);
	list_del(&task->node);
	pthread_mutex_unlock(&tasks_lock);
	/* Somebody may be about to wake it. */
	synchronize_rcu();
	put_task_struct(task);
}

static void __attribute__((constructor)) make_key(void)
{
	if (pthread_key_create(&at_exit, task_exit))
		host_bug("no key for threads");
}

struct task_struct *shim_task_new(void)
{
	static unsigned int last_seed;
	struct task_struct *task = calloc(1, sizeof(*task));

	if (!task)
		host_bug("no memory for a task");
	refcount_set(&task->usage, 1);
	task->timer_slack_ns = 50000;
	task->random = __atomic_add_fetch(&last_seed, 1, __ATOMIC_RELAXED);
	pthread_mutex_lock(&tasks_lock);
	list_add(&task->node, &tasks);
	pthread_mutex_unlock(&tasks_lock);
	pthread_setspecific(at_exit, task);
	shim_task = task;
	return task;
}

struct task_struct *host_self(void)
{
	return current;
}

void host_set_user(unsigned int uid)
{
	current->uid = uid;
}

/* Random numbers */

void host_seed(unsigned int seed)
{
	current->random = seed ?: 1;
}

u32 get_random_u32_below(u32 ceil)
{
	u32 x = current->random;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	current->random = x;
	return (u64)x * ceil >> 32;
}

/* The interleavings that chance alone would hardly give on few processors. */
static unsigned int perturbation;

void host_perturb(unsigned int n)
{
	WRITE_ONCE(perturbation, n);
}

void perturb(void)
{
	unsigned int n = READ_ONCE(perturbation);

	if (n && !get_random_u32_below(n))
		sched_yield();
}

/* RCU: a grace period has passed when every task was seen outside of a reader. */

void rcu_read_lock(void)
{
	struct task_struct *task = current;

	if (task->rcu_depth++)
		return;
	WRITE_ONCE(task->rcu, task->rcu + 1);
	smp_mb(); /* pairs with synchronize_rcu() */
}

void rcu_read_unlock(void)
{
	struct task_struct *task = current;

	if (!--task->rcu_depth)
		smp_store_release(&task->rcu, task->rcu + 1); /* synchronize_rcu() */
}

void synchronize_rcu(void)
{
	struct task_struct *task;

	pthread_mutex_lock(&tasks_lock);
	smp_mb(); /* pairs with rcu_read_lock() */
	list_for_each_entry(task, &tasks, node) {
		unsigned int seen = smp_load_acquire(&task->rcu); /* rcu_read_unlock() */

		while (seen & 1 && smp_load_acquire(&task->rcu) == seen) /* likewise */
			sched_yield();
	}
	pthread_mutex_unlock(&tasks_lock);
}

/* Sleeping */

static int futex(unsigned int *word, int op, unsigned int value, const struct timespec *until)
{
	return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, until, NULL,
		       FUTEX_BITSET_MATCH_ANY);
}

/* Sleeps until somebody sets the task running; false if @until came first. */
static bool sleep_until(const struct timespec *until)
{
	struct task_struct *task = current;
	unsigned int state = READ_ONCE(task->state);
	bool woken = true;

	might_sleep();
	if ((state & TASK_INTERRUPTIBLE && signal_pending(task)) ||
	    (state & TASK_WAKEKILL && fatal_signal_pending(task)))
		__set_current_state(TASK_RUNNING);
	WRITE_ONCE(task->sleeps, task->sleeps + 1);
	smp_store_release(&task->in_schedule, true); /* pairs with host_asleep() */
	while (woken && (state = READ_ONCE(task->state)) != TASK_RUNNING)
		if (futex(&task->state, FUTEX_WAIT_BITSET, state, until) && errno == ETIMEDOUT)
			woken = xchg(&task->state, TASK_RUNNING) == TASK_RUNNING;
	WRITE_ONCE(task->in_schedule, false);
	smp_mb(); /* pairs with wake_up_state() */
	return woken;
}

void schedule(void)
{
	sleep_until(NULL);
}

int schedule_hrtimeout_range_clock(ktime_t *expires, u64 slack, enum hrtimer_mode mode,
				   clockid_t clock)
{
	struct timespec until = shim_timespec(*expires);

	return sleep_until(&until) ? -EINTR : 0;
}

void wake_up_state(struct task_struct *task, unsigned int mode)
{
	unsigned int state;

	not_under_object_lock("a task is woken");
	perturb();
	smp_mb(); /* pairs with set_current_state() */
	state = READ_ONCE(task->state);
	while (state & mode)
		if (__atomic_compare_exchange_n(&task->state, &state, TASK_RUNNING, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
			futex(&task->state, FUTEX_WAKE, 1, NULL);
			break;
		}
}

void wake_up_process(struct task_struct *task)
{
	wake_up_state(task, TASK_NORMAL);
}

unsigned int host_asleep(const struct task_struct *task)
{
	bool asleep = smp_load_acquire(&task->in_schedule); /* pairs with sleep_until() */

	return asleep && READ_ONCE(task->state) != TASK_RUNNING ? READ_ONCE(task->sleeps) : 0;
}

/* Signals */

bool signal_pending(struct task_struct *task)
{
	return READ_ONCE(task->signal) != SIGNAL_NONE;
}

bool fatal_signal_pending(struct task_struct *task)
{
	return READ_ONCE(task->signal) == SIGNAL_KILL;
}

void host_signal(struct task_struct *task)
{
	unsigned int none = SIGNAL_NONE;

	/* Does not take the place of a SIGKILL. */
	__atomic_compare_exchange_n(&task->signal, &none, SIGNAL_SOME, false,
				    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	wake_up_state(task, TASK_INTERRUPTIBLE);
}

void host_kill(struct task_struct *task)
{
	WRITE_ONCE(task->signal, SIGNAL_KILL);
	wake_up_state(task, TASK_INTERRUPTIBLE | TASK_WAKEKILL);
}

/* Wait queues */

void add_wait_queue(wait_queue_head_t *wq, struct wait_queue_entry *wait)
{
	spin_lock(&wq->lock);
	list_add(&wait->entry, &wq->head);
	spin_unlock(&wq->lock);
}

void remove_wait_queue(wait_queue_head_t *wq, struct wait_queue_entry *wait)
{
	spin_lock(&wq->lock);
	list_del(&wait->entry);
	spin_unlock(&wq->lock);
}

/* Nobody waits exclusively, so all are called, whatever @nr says. */
void __wake_up(wait_queue_head_t *wq, unsigned int mode, int nr, void *key)
{
	struct wait_queue_entry *wait, *next;

	not_under_object_lock("pollers are woken");
	spin_lock(&wq->lock);
	list_for_each_entry_safe(wait, next, &wq->head, entry)
		wait->func(wait, mode, 0, key);
	spin_unlock(&wq->lock);
}

int default_wake_function(struct wait_queue_entry *wait, unsigned int mode, int sync,
			  void *key)
{
	wake_up_state(wait->private, mode);
	return 1;
}
