// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Waitgroups and tokens.
 */
#include <errno.h>

#include "call.h"
#include "race.h"

static int make(struct chanfd_waitgroup *w, unsigned int flags, const char *name)
{
	w->flags = flags;
	chanfd_copy_name(w->name, sizeof(w->name), name);
	return chanfd_call_device(CHANFD_IOC_WAITGROUP, w);
}

int chanfd_waitgroup(unsigned int flags, const char *name)
{
	struct chanfd_waitgroup w = { 0 };

	if (flags & CHANFD_PAIR) {
		errno = EINVAL;
		return -1;
	}
	return make(&w, flags, name) ? -1 : w.fd[0];
}

int chanfd_waitgroup_pair(int fd[2], unsigned int flags, const char *name)
{
	struct chanfd_waitgroup w = { 0 };

	if (make(&w, flags | CHANFD_PAIR, name))
		return -1;
	fd[0] = w.fd[0];
	fd[1] = w.fd[1];
	return 0;
}

static int add(int wg, int n, int err)
{
	struct chanfd_add a = { .delta = n, .error = err };

	if (n < 0)
		race_ending(wg);
	return chanfd_call(wg, CHANFD_IOC_ADD, &a);
}

int chanfd_wg_add(int wg, int n)
{
	return add(wg, n, 0);
}

int chanfd_wg_done(int wg)
{
	return add(wg, -1, 0);
}

int chanfd_wg_done_error(int wg, int err)
{
	return add(wg, -1, err);
}

int chanfd_wg_token(int wg, unsigned int flags)
{
	__u32 arg = flags;

	return chanfd_call(wg, CHANFD_IOC_TOKEN, &arg);
}

int chanfd_token_done(int token, int err)
{
	struct chanfd_done d = { .error = err };

	race_ending(token);
	return chanfd_call(token, CHANFD_IOC_DONE, &d);
}

static int wait_for(struct chanfd_case c, const struct chanfd_opt *opt,
		    struct chanfd_round *round)
{
	struct chanfd_outcome out;

	if (chanfd_select_one(c, opt, &out))
		return -1;
	if (round) {
		round->number = out.number;
		round->broken = out.size;
		round->error = out.status;
	}
	if (!out.error)
		return 0;
	errno = out.error;
	return -1;
}

int chanfd_wg_wait(int wg, const struct chanfd_opt *opt,
		   struct chanfd_round *round)
{
	return wait_for(CHANFD_WAIT(wg), opt, round);
}

int chanfd_wg_wait_broken(int wg, unsigned int known,
			  const struct chanfd_opt *opt,
			  struct chanfd_round *round)
{
	return wait_for(CHANFD_BROKEN(wg, known), opt, round);
}

int chanfd_waitgroup_info(int wg, struct chanfd_waitgroup_info *info)
{
	return chanfd_call(wg, CHANFD_IOC_WAITGROUP_INFO, info);
}
