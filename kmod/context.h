/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A context: its life, in context.c; and what files may end it, in binding.c.
 */
#ifndef _CHANFD_CONTEXT_H
#define _CHANFD_CONTEXT_H

#include <linux/hrtimer.h>
#include <linux/mutex.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "object.h"
#include "wait.h"

/* What somebody said on cancelling; shared by all contexts that it ended. */
struct reason {
	refcount_t ref;
	u8 text[CHANFD_TEXT_LEN];
};

struct value {
	u8 key[CHANFD_KEY_LEN];
	u32 size;
	u8 data[];
};

/* How a context ends. */
struct ending {
	s32 error;
	s32 cause;
	struct reason *reason;
};

/* A deadline of a context's own. */
struct expiry {
	struct context *ctx;
	struct hrtimer timer;
	struct work_struct work;
	s32 cause;
};

/**
 * struct context
 * @obj:	head
 * @parent:	immutable, holds a reference; NULL for a root
 * @root:	immutable, of the tree that ends together; it outlives this
 * @keep:	immutable: CHANFD_KEEP
 * @deadline:	immutable: the earliest that applies; KTIME_MAX for none
 * @expiry:	immutable; NULL unless @deadline is its own
 * @value:	immutable; may be NULL
 * @error:	0, then ECANCELED or ETIMEDOUT; written under obj.lock, read
 *		without (CONTEXT_END)
 * @cause:	valid once @error is set
 * @reason:	likewise; may be NULL
 * @children:	that end with this; under obj.lock
 * @sibling:	in the parent's @children, under the parent's obj.lock
 * @nr_children: that exist and hang on this; under obj.lock
 * @todo:	in the list of the walk that ended this; under root->walk
 * @waiters:	for the end; under obj.lock
 * @drainers:	wait for @nr_children to be zero; under obj.lock
 * @bindings:	to files; under obj.lock
 * @nr_bindings: likewise
 * @walk:	a root's: see context.c
 * @pending:	how @ender is to end this; under obj.lock until it is queued
 * @ender:	ends this once nobody else walks the tree; holds a reference
 * @pollers:	of handles that observe
 */
struct context {
	struct chanfd_object obj;
	struct context *parent;
	struct context *root;
	bool keep;
	ktime_t deadline;
	struct expiry *expiry;
	struct value *value;
	s32 error;
	s32 cause;
	struct reason *reason;
	struct list_head children;
	struct list_head sibling;
	u32 nr_children;
	u32 nr_bindings;
	struct list_head todo;
	struct chanfd_queue waiters;
	struct chanfd_queue drainers;
	struct list_head bindings;
	struct mutex walk;		/* a root's: one walk at a time */
	struct ending pending;
	struct delayed_work ender;
	wait_queue_head_t pollers;
};

static inline struct context *to_context(struct chanfd_object *obj)
{
	return container_of(obj, struct context, obj);
}

void chanfd_end_context(struct context *ctx, const struct ending *e);
void chanfd_end_context_soon(struct context *ctx, s32 error, s32 cause);
int chanfd_context_bind(struct context *ctx, unsigned int cmd, void __user *arg);
void chanfd_release_bindings(struct context *ctx);

/* Where contexts end that a timer or a file ends. */
extern struct workqueue_struct *chanfd_workqueue;

#endif /* _CHANFD_CONTEXT_H */
