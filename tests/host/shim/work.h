/* SPDX-License-Identifier: GPL-2.0 */
/* Workqueues: two threads each. One work item never runs twice at a time. */
#ifndef _SHIM_WORK_H
#define _SHIM_WORK_H

/**
 * struct work_struct
 * @node:	in its queue's list
 * @pending:	it is queued, or about to be
 * @func:	does it; may free it
 */
struct work_struct {
	struct list_head node;
	bool pending;
	void (*func)(struct work_struct *work);
};

struct workqueue_struct;

struct delayed_work {
	struct work_struct work;
	struct hrtimer timer;
	struct workqueue_struct *wq;
};

enum { WQ_UNBOUND };

/* A tick of a kernel with 250 of them in a second. */
#define NSEC_PER_JIFFY	(NSEC_PER_SEC / 250)

#define INIT_WORK(w, f)	(*(w) = (struct work_struct){ .func = (f) })
#define DECLARE_WORK(n, f)	struct work_struct n = { .func = (f) }
#define INIT_DELAYED_WORK(w, f) do {					\
	struct delayed_work *__w = (w);					\
									\
	INIT_WORK(&__w->work, f);					\
	hrtimer_setup(&__w->timer, shim_delay_is_over,			\
		      CLOCK_MONOTONIC, HRTIMER_MODE_ABS_SOFT);		\
} while (0)

enum hrtimer_restart shim_delay_is_over(struct hrtimer *timer);

static inline struct delayed_work *to_delayed_work(struct work_struct *work)
{
	return container_of(work, struct delayed_work, work);
}

struct workqueue_struct *alloc_workqueue(const char *name, unsigned int flags, int most);
void destroy_workqueue(struct workqueue_struct *wq);
bool queue_work(struct workqueue_struct *wq, struct work_struct *work);
bool queue_delayed_work(struct workqueue_struct *wq, struct delayed_work *work,
			unsigned long jiffies);

#endif /* _SHIM_WORK_H */
