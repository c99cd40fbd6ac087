// SPDX-License-Identifier: GPL-2.0
/* Where a bug was found. */

#ifdef SHIM_SANITIZED
#include <sanitizer/common_interface_defs.h>
#endif

#include "kernel.h"

void host_abort(void)
{
#ifdef SHIM_SANITIZED
	__sanitizer_print_stack_trace();
#endif
	abort();
}
