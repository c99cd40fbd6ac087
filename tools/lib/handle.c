// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What all handles have, and their end with a scope.
 */
#include <errno.h>

#include "call.h"
#include "race.h"

int chanfd_info(int fd, struct chanfd_info *info)
{
	return chanfd_call(fd, CHANFD_IOC_INFO, info);
}

int chanfd_reduce(int fd, unsigned int rights)
{
	__u32 arg = rights;

	return chanfd_call(fd, CHANFD_IOC_REDUCE, &arg);
}

void chanfd_cleanup_fd(int *fd)
{
	if (*fd >= 0) {
		race_ending(*fd);
		chanfd_close_quietly(*fd);
	}
	*fd = -1;
}

void chanfd_cleanup_cancel(int *ctx)
{
	struct chanfd_cancel c = { 0 };
	int err = errno;

	if (*ctx >= 0) {
		race_ending(*ctx);
		chanfd_call(*ctx, CHANFD_IOC_CANCEL, &c);
	}
	errno = err;
	chanfd_cleanup_fd(ctx);
}
