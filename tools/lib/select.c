// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Select.
 */
#include <errno.h>

#include "call.h"
#include "race.h"

/* Every handle can select; the context and most cases have one. */
static int handle_of(const struct chanfd_case *cases, unsigned int n, int context)
{
	unsigned int i;

	if (context >= 0)
		return context;
	for (i = 0; i < n; i++) {
		if (cases[i].fd >= 0 && cases[i].op != CHANFD_CASE_POLL)
			return cases[i].fd;
	}
	return -1;
}

int chanfd_call_select(struct chanfd_select *s)
{
	int fd = handle_of((const struct chanfd_case *)(uintptr_t)s->cases, s->count,
			   s->context);
	int ret = -1;

	if (fd >= 0)
		ret = chanfd_call(fd, CHANFD_IOC_SELECT, s);
	/* Not a handle: let the kernel say what is wrong with it as a case. */
	if (fd < 0 || (ret < 0 && errno == ENOTTY))
		ret = chanfd_call_device(CHANFD_IOC_SELECT, s);
	return ret;
}

int chanfd_select(const struct chanfd_case *cases, unsigned int n,
		  const struct chanfd_opt *opt, struct chanfd_outcome *out)
{
	struct chanfd_select s = {
		.flags = opt ? opt->flags : 0,
		.context = opt ? opt->context : -1,
		.deadline = opt ? opt->deadline : 0,
		.cases = (uintptr_t)cases,
		.count = n,
	};
	int ret;

	if (race_detector())
		ret = chanfd_race_select(&s, RACE_CALLER);
	else
		ret = chanfd_call_select(&s);
	if (ret < 0)
		return -1;

	if (out) {
		out->index = s.index;
		out->error = s.error;
		out->ok = (int)s.ok;
		out->status = s.status;
		out->size = s.size;
		out->number = s.number;
	} else if (s.error) {
		errno = s.error;
		return -1;
	}
	return s.index;
}

/* A call about one handle: a negative one is an error, not a case switched off. */
int chanfd_select_one(struct chanfd_case c, const struct chanfd_opt *opt,
		      struct chanfd_outcome *out)
{
	if (c.fd < 0) {
		errno = EBADF;
		return -1;
	}
	return chanfd_select(&c, 1, opt, out);
}
