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
	struct race races[race_detector() && n <= CHANFD_MAX_CASES ? n + 1 : 1];
	struct chanfd_outcome outcome;
	int fd = handle_of(cases, n, s.context);
	int ret = -1;

	if (n <= CHANFD_MAX_CASES)
		race_before(races, cases, n, RACE_CALLER);
	if (fd >= 0)
		ret = chanfd_call(fd, CHANFD_IOC_SELECT, &s);
	/* Not a handle: let the kernel say what is wrong with it as a case. */
	if (fd < 0 || (ret < 0 && errno == ENOTTY))
		ret = chanfd_call_device(CHANFD_IOC_SELECT, &s);
	if (ret < 0) {
		race_failed(s.context);
		return -1;
	}

	outcome.index = s.index;
	outcome.error = s.error;
	outcome.ok = (int)s.ok;
	outcome.status = s.status;
	outcome.size = s.size;
	outcome.number = s.number;
	race_after(&races[s.index], &cases[s.index], &outcome, RACE_CALLER);
	if (out) {
		*out = outcome;
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
