// SPDX-License-Identifier: GPL-2.0
/* Spinlocks and mutexes, and what may be done under them. */

#include <sched.h>

#include "kernel.h"

#define MAX_CLASSES	32
#define SPINS		100

/* Classes */

static unsigned int nr_classes;

/* taken_inside[a][b]: a lock of class b was taken while one of class a was held. */
static bool taken_inside[MAX_CLASSES][MAX_CLASSES];

static unsigned int class_number(struct lock_class *class)
{
	unsigned int number = READ_ONCE(class->number);
	unsigned int none = 0;

	if (number)
		return number;
	number = __atomic_add_fetch(&nr_classes, 1, __ATOMIC_RELAXED);
	if (number >= MAX_CLASSES)
		host_bug("more classes of locks than expected");
	if (!__atomic_compare_exchange_n(&class->number, &none, number, false,
					 __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return none;
	return number;
}

static bool is_object_lock(const spinlock_t *lock)
{
	return !strcmp(lock->class->name, "&obj->lock");
}

/* May @lock be taken while @held is? */
static void check_order(const spinlock_t *held, const spinlock_t *lock, int subclass)
{
	unsigned int a, b;

	if (held->class == lock->class) {
		if (!subclass || held >= lock)
			host_bug("two of %s are not taken by rising addresses", lock->class->name);
		return;
	}
	a = class_number(held->class);
	b = class_number(lock->class);
	if (READ_ONCE(taken_inside[b][a]))
		host_bug("%s is taken inside of %s, elsewhere it is the other way round",
			 lock->class->name, held->class->name);
	WRITE_ONCE(taken_inside[a][b], true);
}

void spin_lock_nested(spinlock_t *lock, int subclass)
{
	struct task_struct *task = current;
	int i, spins = 0;

	for (i = 0; i < task->nr_held; i++)
		check_order(task->held[i], lock, subclass);
	if (task->in_interrupt && is_object_lock(lock))
		host_bug("%s is taken in interrupt context", lock->class->name);
	if (task->nr_held == MAX_LOCKS_HELD)
		host_bug("too many locks are held");
	perturb();
	while (__atomic_exchange_n(&lock->locked, 1, __ATOMIC_ACQUIRE))
		while (READ_ONCE(lock->locked))
			if (++spins > SPINS)
				sched_yield();
	task->held[task->nr_held++] = lock;
}

void spin_unlock(spinlock_t *lock)
{
	struct task_struct *task = current;
	int i = task->nr_held;

	while (i && task->held[i - 1] != lock)
		i--;
	if (!i)
		host_bug("%s is dropped by who does not hold it", lock->class->name);
	task->held[i - 1] = task->held[--task->nr_held];
	smp_store_release(&lock->locked, 0); /* pairs with spin_lock_nested() */
}

bool lockdep_is_held(const spinlock_t *lock)
{
	const struct task_struct *task = current;
	int i;

	for (i = 0; i < task->nr_held; i++)
		if (task->held[i] == lock)
			return true;
	return false;
}

/* Rules */

void might_sleep(void)
{
	const struct task_struct *task = current;

	if (task->nr_held)
		host_bug("may sleep, but holds %s", task->held[0]->class->name);
	if (task->in_interrupt || task->rcu_depth || task->pagefault_disabled)
		host_bug("may sleep where it must not");
}

void not_under_object_lock(const char *what)
{
	const struct task_struct *task = current;
	int i;

	for (i = 0; i < task->nr_held; i++)
		if (is_object_lock(task->held[i]))
			host_bug("%s under an object's lock", what);
}

/* Mutexes */

void mutex_init(struct mutex *mutex)
{
	pthread_mutex_init(&mutex->mutex, NULL);
}

void mutex_lock(struct mutex *mutex)
{
	might_sleep();
	pthread_mutex_lock(&mutex->mutex);
}

bool mutex_trylock(struct mutex *mutex)
{
	return !pthread_mutex_trylock(&mutex->mutex);
}

void mutex_unlock(struct mutex *mutex)
{
	pthread_mutex_unlock(&mutex->mutex);
}
