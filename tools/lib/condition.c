// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Conditions.
 */
#include <errno.h>

#include "call.h"
#include "race.h"

static int make(struct chanfd_condition *c, unsigned int flags, const char *name)
{
	c->flags = flags;
	chanfd_copy_name(c->name, sizeof(c->name), name);
	return chanfd_call_device(CHANFD_IOC_CONDITION, c);
}

int chanfd_condition(unsigned int flags, const char *name)
{
	struct chanfd_condition c = { 0 };

	if (flags & CHANFD_PAIR) {
		errno = EINVAL;
		return -1;
	}
	return make(&c, flags, name) ? -1 : c.fd[0];
}

int chanfd_condition_pair(int fd[2], unsigned int flags, const char *name)
{
	struct chanfd_condition c = { 0 };

	if (make(&c, flags | CHANFD_PAIR, name))
		return -1;
	fd[0] = c.fd[0];
	fd[1] = c.fd[1];
	return 0;
}

int chanfd_condition_wait(int cond, int lock, const struct chanfd_opt *opt)
{
	struct chanfd_condition_wait w = { .lock = lock, .context = -1 };
	int ret;

	if (opt) {
		w.flags = opt->flags;
		w.context = opt->context;
		w.deadline = opt->deadline;
	}
	race_ending(lock);
	ret = chanfd_call(cond, CHANFD_IOC_CONDITION_WAIT, &w);
	/* It is held again, or still; who does not hold it has no business here. */
	race_locked(lock);
	if (!ret)
		race_noticed(cond);
	return ret;
}

static int wake(int cond, unsigned int n)
{
	__u32 arg = n;

	race_ending(cond);
	return chanfd_call(cond, CHANFD_IOC_SIGNAL, &arg);
}

int chanfd_signal(int cond)
{
	return wake(cond, 1);
}

int chanfd_broadcast(int cond)
{
	return wake(cond, ~0U);
}

int chanfd_condition_info(int cond, struct chanfd_condition_info *info)
{
	return chanfd_call(cond, CHANFD_IOC_CONDITION_INFO, info);
}
