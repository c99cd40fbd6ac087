/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Spinlocks and mutexes.
 *
 * Every spinlock is of the class that its initialization names, as for lockdep. Two
 * classes are always taken in the same order; two locks of one class are taken by rising
 * addresses, which is what chanfd promises where it holds two.
 */
#ifndef _SHIM_LOCK_H
#define _SHIM_LOCK_H

#include <pthread.h>

struct lock_class {
	const char *name;
	unsigned int number;	/* 0 until one is first taken */
};

typedef struct {
	unsigned int locked;
	struct lock_class *class;
} spinlock_t;

#define __SPIN_LOCK(lock)	{ .class = &(struct lock_class){ .name = #lock } }
#define DEFINE_SPINLOCK(lock)	spinlock_t lock = __SPIN_LOCK(lock)

#define spin_lock_init(lock) do {				\
	static struct lock_class __class = { .name = #lock };	\
								\
	*(lock) = (spinlock_t){ .class = &__class };		\
} while (0)

#define SINGLE_DEPTH_NESTING	1

bool lockdep_is_held(const spinlock_t *lock);

void spin_lock_nested(spinlock_t *lock, int subclass);
void spin_unlock(spinlock_t *lock);

static inline void spin_lock(spinlock_t *lock)
{
	spin_lock_nested(lock, 0);
}

struct mutex {
	pthread_mutex_t mutex;
};

void mutex_init(struct mutex *mutex);
void mutex_lock(struct mutex *mutex);
bool mutex_trylock(struct mutex *mutex);
void mutex_unlock(struct mutex *mutex);

/* Aborts where the kernel must not sleep. */
void might_sleep(void);

/* The documented rule of kmod/object.h: not under an object's lock. */
void not_under_object_lock(const char *what);

#define cond_resched()	might_sleep()

#endif /* _SHIM_LOCK_H */
