// SPDX-License-Identifier: GPL-2.0
/* What happens when a bug was found. */

#include <stdarg.h>
#include <stdio.h>

#include "kernel.h"

void host_bug(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("host: BUG: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	abort();
}

/* The sanitizers' defaults. Calls live on stacks, and others write to them. */

const char *__asan_default_options(void)
{
	return "detect_stack_use_after_return=1:handle_abort=1";
}

const char *__tsan_default_options(void)
{
	return "halt_on_error=1:handle_abort=1";
}

const char *__ubsan_default_options(void)
{
	return "print_stacktrace=1";
}
