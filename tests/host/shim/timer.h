/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Time, sleeping with a deadline, and timers: a thread runs their callbacks, as a
 * processor's interrupts would.
 */
#ifndef _SHIM_TIMER_H
#define _SHIM_TIMER_H

#include <time.h>

typedef s64 ktime_t;

#define KTIME_MAX	INT64_MAX
#define NSEC_PER_SEC	1000000000L
#define NSEC_PER_MSEC	1000000L

#define ktime_sub(a, b)	((a) - (b))
#define ktime_to_ns(t)	((s64)(t))

enum hrtimer_mode { HRTIMER_MODE_ABS, HRTIMER_MODE_ABS_SOFT };
enum hrtimer_restart { HRTIMER_NORESTART };

/**
 * struct hrtimer
 * @node:	in the list of those that run, or empty
 * @expires:	then
 * @function:	is called
 */
struct hrtimer {
	struct list_head node;
	ktime_t expires;
	enum hrtimer_restart (*function)(struct hrtimer *timer);
};

ktime_t ktime_get(void);
struct timespec shim_timespec(ktime_t t);

void hrtimer_setup(struct hrtimer *timer,
		   enum hrtimer_restart (*function)(struct hrtimer *timer),
		   clockid_t clock, enum hrtimer_mode mode);
void hrtimer_start(struct hrtimer *timer, ktime_t expires, enum hrtimer_mode mode);
void hrtimer_cancel(struct hrtimer *timer);

/* 0 if @expires has passed, else -EINTR: the task was woken. */
int schedule_hrtimeout_range_clock(ktime_t *expires, u64 slack, enum hrtimer_mode mode,
				   clockid_t clock);

void shim_start_timers(void);
void shim_stop_timers(void);

#endif /* _SHIM_TIMER_H */
