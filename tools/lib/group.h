/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the library's own groups of tasks need beyond what everybody may do.
 */
#ifndef _CHANFD_GROUP_H
#define _CHANFD_GROUP_H

#include "chanfd.h"

/**
 * struct chanfd_job - what a task does
 * @fn:		one run of it
 * @arg:	for @fn and @again
 * @process:	each run is a child process, otherwise all are in one thread
 * @again:	asked after every run, in the task's thread, until it says no: is there to
 *		be another? May change how this one ended. A thread that is ending cannot
 *		run again, then @may is 0. NULL: one run
 */
struct chanfd_job {
	int (*fn)(int context, void *arg);
	void *arg;
	int process;
	int (*again)(struct chanfd_failure *outcome, void *arg, int may);
};

/* EPERM in a child of the process that made it. */
int chanfd_group_check(const struct chanfd_group *g);

int chanfd_group_start(struct chanfd_group *g, const struct chanfd_job *job,
		       const struct chanfd_opt *opt);

/**
 * struct chanfd_owned - what has to last as long as a group, first member of it
 * @release:	called when no task is left
 * @next:	the group's
 */
struct chanfd_owned {
	void (*release)(struct chanfd_owned *owned);
	struct chanfd_owned *next;
};

void chanfd_group_own(struct chanfd_group *g, struct chanfd_owned *owned);

#endif /* _CHANFD_GROUP_H */
