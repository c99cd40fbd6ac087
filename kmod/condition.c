// SPDX-License-Identifier: GPL-2.0
/*
 * Conditions: wait for a signal with a lock released meanwhile.
 */

#include "compat.h"
#include "object.h"
#include "wait.h"

long chanfd_condition_create(unsigned int cmd, void __user *arg)
{
	return -ENOTTY;
}
