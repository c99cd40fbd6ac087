/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The only place that knows kernel versions. The code is written for the
 * newest kernel; this header gives older ones, down to 6.1, what they lack.
 */
#ifndef _CHANFD_COMPAT_H
#define _CHANFD_COMPAT_H

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/mm_types.h>
#include <linux/nsproxy.h>
#include <linux/random.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/sched/rt.h>
#include <linux/time_namespace.h>
#include <linux/uio.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "chanfd needs Linux 6.1 or newer"
#endif

/* 6.12 hid the pointer in struct fd. */
#ifndef fd_file
#define fd_file(f)	((f).file)
#endif

/* 6.2 renamed prandom_u32_max(). */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define get_random_u32_below(ceil)	prandom_u32_max(ceil)
#endif

/* 6.2 named the directions of an iov_iter. */
#ifndef ITER_DEST
#define ITER_DEST	READ
#define ITER_SOURCE	WRITE
#endif

/* 6.8 added a pointer to where the number goes. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
#define receive_fd(file, ufd, flags)	receive_fd(file, flags)
#endif

/* 6.3 wrapped the flags of mappings. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void chanfd_vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set,
				       vm_flags_t clear)
{
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
}

#define vm_flags_mod	chanfd_vm_flags_mod
#endif

/* 6.15 made the references of a slab's objects that RCU keeps explicit. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 15, 0)
static inline void refcount_set_release(refcount_t *r, int n)
{
	atomic_set_release(&r->refs, n);
}

static inline bool refcount_inc_not_zero_acquire(refcount_t *r)
{
	bool taken = refcount_inc_not_zero(r);

	smp_acquire__after_ctrl_dep();
	return taken;
}
#endif

/* 6.13 set timers up in one call. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
static inline void chanfd_hrtimer_setup(struct hrtimer *timer,
					enum hrtimer_restart (*fn)(struct hrtimer *),
					clockid_t clock, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock, mode);
	timer->function = fn;
}

#define hrtimer_setup(timer, fn, clock, mode) \
	chanfd_hrtimer_setup(timer, fn, clock, mode)
#endif

/* 6.14 made rt_task() say what its name says; before, it included deadline tasks. */
static inline bool chanfd_task_is_realtime(struct task_struct *task)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
	return rt_task(task);
#else
	return rt_or_dl_task(task);
#endif
}

/*
 * timens_ktime_to_host() for CLOCK_MONOTONIC; its helpers are not exported
 * before 7.3. The initial namespace's offset is zero.
 */
static inline ktime_t chanfd_ktime_to_host(ktime_t t)
{
#ifdef CONFIG_TIME_NS
	ktime_t offset = timespec64_to_ktime(current->nsproxy->time_ns->offsets.monotonic);

	if (offset > 0)
		return t > offset ? t - offset : 0;
	return t > KTIME_MAX + offset ? KTIME_MAX : t - offset;
#else
	return t;
#endif
}

/* The reverse, for times that are reported. */
static inline ktime_t chanfd_ktime_from_host(ktime_t t)
{
#ifdef CONFIG_TIME_NS
	return ktime_add_safe(t, timespec64_to_ktime(current->nsproxy->time_ns->offsets.monotonic));
#else
	return t;
#endif
}

#endif /* _CHANFD_COMPAT_H */
