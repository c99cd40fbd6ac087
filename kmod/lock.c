// SPDX-License-Identifier: GPL-2.0
/*
 * Locks: a mutex, or many readers and one writer.
 */

#include <linux/module.h>

#include "compat.h"
#include "object.h"
#include "wait.h"

const struct file_operations chanfd_lock_fops = {
	CHANFD_HANDLE_FOPS,
};

int chanfd_lock_case(struct chanfd_waiter *w, bool shared)
{
	return -EINVAL;
}

long chanfd_lock_create(unsigned int cmd, void __user *arg)
{
	return -ENOTTY;
}
