// SPDX-License-Identifier: GPL-2.0
/*
 * Cells: one value, replaced as a whole.
 */

#include <linux/module.h>

#include "compat.h"
#include "object.h"
#include "wait.h"

const struct file_operations chanfd_cell_fops = {
	CHANFD_HANDLE_FOPS,
};

void chanfd_change_case(struct chanfd_waiter *w, u64 known)
{
}

long chanfd_cell_create(unsigned int cmd, void __user *arg)
{
	return -ENOTTY;
}
