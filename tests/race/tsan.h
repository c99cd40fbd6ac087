/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What ThreadSanitizer's library asks of a program, and has no header for.
 */
#ifndef TSAN_H
#define TSAN_H

const char *__tsan_default_options(void);
void __tsan_on_report(void *report);
int __tsan_get_report_mop(void *report, unsigned long index, int *tid, void **address,
			  int *size, int *write, int *atomic, void **trace,
			  unsigned long trace_size);

#endif /* TSAN_H */
