/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tasks: who they are, how they sleep, what wakes them; and wait queues.
 *
 * That somebody was woken by somebody orders nothing, as far as ThreadSanitizer can see
 * (see atomic.h): what the one has done must be made visible to the other by the module.
 */
#ifndef _SHIM_TASK_H
#define _SHIM_TASK_H

#define TASK_RUNNING		0
#define TASK_INTERRUPTIBLE	1
#define TASK_UNINTERRUPTIBLE	2
#define TASK_NORMAL		(TASK_INTERRUPTIBLE | TASK_UNINTERRUPTIBLE)
#define TASK_WAKEKILL		0x100
#define TASK_KILLABLE		(TASK_WAKEKILL | TASK_UNINTERRUPTIBLE)
#define TASK_FREEZABLE		0x2000

enum { SIGNAL_NONE, SIGNAL_SOME, SIGNAL_KILL };

#define MAX_LOCKS_HELD		8

struct file;
struct pid;

/**
 * struct task_struct - a thread
 * @node:	in the list of all
 * @usage:	references to it
 * @process:	that it is a thread of, its own
 * @exit_state:	not 0 once it has ended
 * @state:	TASK_*; a futex
 * @sleeps:	how often it went to sleep
 * @in_schedule: it did, and has not returned
 * @signal:	that is pending: SIGNAL_*
 * @timer_slack_ns: as in the kernel
 * @rcu:	odd inside of a read-side critical section
 * @rcu_depth:	how many there are, its own
 * @held:	spinlocks, its own
 * @nr_held:	how many
 * @in_interrupt: it runs a timer's callback, its own
 * @pagefault_disabled: its own
 * @uid:	who it is, its own
 * @random:	state of its random numbers, its own
 * @fault:	counts copies down to the one that fails, its own, like all below
 * @fault_lasting: so do all that follow
 * @fail_alloc:	likewise for allocations
 * @failed:	it came to that
 * @released:	files that are to be released when the call ends
 */
struct task_struct {
	struct list_head node;
	refcount_t usage;
	struct pid *process;
	int exit_state;
	unsigned int state;
	unsigned int sleeps;
	bool in_schedule;
	unsigned int signal;
	u64 timer_slack_ns;
	unsigned int rcu;
	int rcu_depth;
	spinlock_t *held[MAX_LOCKS_HELD];
	int nr_held;
	bool in_interrupt;
	int pagefault_disabled;
	unsigned int uid;
	u32 random;
	unsigned int fault;
	bool fault_lasting;
	unsigned int fail_alloc;
	bool failed;
	struct file *released;
};

extern __thread struct task_struct *shim_task;
struct task_struct *shim_task_new(void);

static inline struct task_struct *get_current(void)
{
	return shim_task ? shim_task : shim_task_new();
}

#define current		get_current()

static inline struct task_struct *get_task_struct(struct task_struct *task)
{
	refcount_inc(&task->usage);
	return task;
}

static inline void put_task_struct(struct task_struct *task)
{
	if (refcount_dec_and_test(&task->usage))
		free(task);
}

#define __set_current_state(value)	WRITE_ONCE(current->state, value)
#define set_current_state(value) do {	\
	__set_current_state(value);	\
	smp_mb(); /* pairs with wake_up_state() */	\
	perturb();			\
} while (0)

#define rcu_dereference(p)		__atomic_load_n(&(p), __ATOMIC_CONSUME)
#define rcu_access_pointer(p)		READ_ONCE(p)
#define rcu_assign_pointer(p, v)	smp_store_release(&(p), v)
#define rcu_dereference_protected(p, condition) ({		\
	if (!(condition))					\
		host_bug("%s is read without its lock", #p);	\
	READ_ONCE(p);						\
})

void rcu_read_lock(void);
void rcu_read_unlock(void);
void synchronize_rcu(void);

void schedule(void);
void wake_up_process(struct task_struct *task);
void wake_up_state(struct task_struct *task, unsigned int state);
bool signal_pending(struct task_struct *task);
bool fatal_signal_pending(struct task_struct *task);

static inline bool rt_or_dl_task(const struct task_struct *task)
{
	return false;
}

/* A number for @ceil; see host_seed(). */
u32 get_random_u32_below(u32 ceil);

/* Users */

typedef struct {
	unsigned int val;
} kuid_t;

#define current_uid()		((kuid_t){ current->uid })
#define __kuid_val(uid)		((uid).val)
#define uid_eq(a, b)		((a).val == (b).val)

enum { CAP_SYS_RESOURCE = 24 };

static inline bool capable(int cap)
{
	return !current->uid;
}

/* Wait queues */

struct wait_queue_entry {
	void *private;
	int (*func)(struct wait_queue_entry *wait, unsigned int mode, int sync, void *key);
	struct list_head entry;
};

typedef struct wait_queue_head {
	spinlock_t lock;
	struct list_head head;
} wait_queue_head_t;

#define DECLARE_WAIT_QUEUE_HEAD(wq) \
	wait_queue_head_t wq = { __SPIN_LOCK(wq), LIST_HEAD_INIT((wq).head) }

#define init_waitqueue_head(wq) do {		\
	wait_queue_head_t *__wq = (wq);		\
						\
	spin_lock_init(&__wq->lock);		\
	INIT_LIST_HEAD(&__wq->head);		\
} while (0)

static inline void init_waitqueue_func_entry(struct wait_queue_entry *wait,
					     int (*func)(struct wait_queue_entry *wait,
							 unsigned int mode, int sync,
							 void *key))
{
	wait->private = NULL;
	wait->func = func;
}

void add_wait_queue(wait_queue_head_t *wq, struct wait_queue_entry *wait);
void remove_wait_queue(wait_queue_head_t *wq, struct wait_queue_entry *wait);
void __wake_up(wait_queue_head_t *wq, unsigned int mode, int nr, void *key);

#define wake_up(wq)	__wake_up(wq, TASK_NORMAL, 1, NULL)

/* For a task that sleeps in the way of wait_event(). */
int default_wake_function(struct wait_queue_entry *wait, unsigned int mode, int sync,
			  void *key);

static inline bool wq_has_sleeper(wait_queue_head_t *wq)
{
	smp_mb(); /* pairs with set_current_state() or poll_wait() */
	return !list_empty(&wq->head);
}

#define wait_event(wq, condition) do {						\
	struct wait_queue_entry __wait = { current, default_wake_function };	\
										\
	add_wait_queue(&(wq), &__wait);						\
	for (;;) {								\
		set_current_state(TASK_UNINTERRUPTIBLE);			\
		if (condition)							\
			break;							\
		schedule();							\
	}									\
	__set_current_state(TASK_RUNNING);					\
	remove_wait_queue(&(wq), &__wait);					\
} while (0)

/* Processes, each known by its struct pid */

enum pid_type { PIDTYPE_PID, PIDTYPE_TGID };

/**
 * struct pid
 * @count:	references to it
 * @number:	of the process, immutable
 * @threads:	of the process; it ends when there are none
 * @leader:	stands for the thread that was the first; ends with the last
 * @wait_pidfd:	who waits for the end of a thread; called as in interrupt context, since
 *		the kernel holds a lock then that interrupts take
 */
struct pid {
	refcount_t count;
	int number;
	atomic_t threads;
	struct task_struct leader;
	wait_queue_head_t wait_pidfd;
};

struct pid *task_tgid(struct task_struct *task);
void put_pid(struct pid *pid);

static inline struct pid *get_pid(struct pid *pid)
{
	refcount_inc(&pid->count);
	return pid;
}

static inline int pid_vnr(const struct pid *pid)
{
	return pid->number;
}

static inline struct task_struct *pid_task(struct pid *pid, enum pid_type type)
{
	return &pid->leader;
}

/* Is it the only one that is left? */
static inline bool thread_group_empty(struct task_struct *leader)
{
	return !atomic_read(&container_of(leader, struct pid, leader)->threads);
}

#endif /* _SHIM_TASK_H */
