/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the module includes from the kernel, all of it: whatever <linux/NAME.h> it asks
 * for is this file. Here are the basics; each of the others has one topic.
 */
#ifndef _SHIM_KERNEL_H
#define _SHIM_KERNEL_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <asm/types.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;

#define U16_MAX		UINT16_MAX
#define U32_MAX		UINT32_MAX
#define U64_MAX		UINT64_MAX

#define SZ_4K		0x1000

#define KERNEL_VERSION(a, b, c)	(((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE	KERNEL_VERSION(7, 0, 0)

/* Errors that system calls never return; see syscall_exit(). */
#define ERESTARTSYS	512

/* What only sparse and the linker of the kernel look at. */
#define __user
#define __init
#define __exit
#define __uninitialized
#define __rcu
#define __acquire(x)	((void)0)
#define __release(x)	((void)0)
#define __releases(x)
#undef noinline
#define noinline	__attribute__((noinline))
#undef __always_inline
#define __always_inline	inline __attribute__((always_inline))

#define BIT(n)			(1UL << (n))

#define likely(x)		(x)
#define unlikely(x)		(x)
#define BUILD_BUG_ON(x)		_Static_assert(!(x), #x)
#define static_assert(x)		_Static_assert(x, #x)

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define offsetofend(type, m)	(offsetof(type, m) + sizeof(((type *)0)->m))
#define container_of(ptr, type, m) \
	((type *)((char *)(ptr) - offsetof(type, m)))
#define struct_size(p, m, n)	(sizeof(*(p)) + sizeof(*(p)->m) * (n))

#define min(x, y) ({			\
	__auto_type __x = (x);		\
	__auto_type __y = (y);		\
					\
	__x < __y ? __x : __y;		\
})
#define min_t(type, x, y)	min((type)(x), (type)(y))
#define clamp_t(type, x, lo, hi) ({			\
	type __v = (x);					\
							\
	__v < (lo) ? (lo) : __v > (hi) ? (hi) : __v;	\
})
#define min3(x, y, z) ({		\
	__auto_type __m = min(x, y);	\
	__auto_type __z = (z);		\
					\
	__m < __z ? __m : __z;		\
})
#define swap(a, b) ({			\
	__auto_type __t = (a);		\
					\
	(a) = (b);			\
	(b) = __t;			\
})
#undef abs
#define abs(x) ({			\
	__auto_type __a = (x);		\
					\
	__a < 0 ? -__a : __a;		\
})

/* Errors as pointers */

#define MAX_ERRNO	4095

static inline void *ERR_PTR(long err)
{
	return (void *)err;
}

static inline long PTR_ERR(const void *ptr)
{
	return (long)ptr;
}

static inline void *ERR_CAST(const void *ptr)
{
	return (void *)ptr;
}

static inline bool IS_ERR(const void *ptr)
{
	return (unsigned long)ptr >= (unsigned long)-MAX_ERRNO;
}

static inline int PTR_ERR_OR_ZERO(const void *ptr)
{
	return IS_ERR(ptr) ? PTR_ERR(ptr) : 0;
}

static inline void *memchr_inv(const void *p, int c, size_t n)
{
	const u8 *b = p;

	for (; n; n--, b++)
		if (*b != (u8)c)
			return (void *)b;
	return NULL;
}

static inline ssize_t strscpy(char *dest, const char *src, size_t size)
{
	size_t len = strnlen(src, size);

	if (len == size)
		return -E2BIG;
	memcpy(dest, src, len + 1);
	return len;
}

/* Something that a kernel must not do: says what, and aborts. */
void host_abort(void) __attribute__((noreturn));

#define host_bug(fmt, ...) do {						\
	fprintf(stderr, "host: BUG: " fmt "\n", ##__VA_ARGS__);		\
	host_abort();							\
} while (0)

#include "atomic.h"
#include "list.h"
#include "tree.h"
#include "lock.h"
#include "task.h"
#include "timer.h"
#include "work.h"
#include "memory.h"
#include "file.h"
#include "module.h"

#endif /* _SHIM_KERNEL_H */
