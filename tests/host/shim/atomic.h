/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Marked accesses, barriers, atomics and reference counts, as C11's.
 *
 * ThreadSanitizer understands acquire and release, but no fence. So what pairs two
 * barriers looks to it like two relaxed accesses: they are no race, but order nothing
 * else. What of the shims orders more than the kernel promises is made of those, that
 * it may not hide a race of the module's.
 */
#ifndef _SHIM_ATOMIC_H
#define _SHIM_ATOMIC_H

#define READ_ONCE(x)			__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, value)		__atomic_store_n(&(x), value, __ATOMIC_RELAXED)
#define smp_load_acquire(p)		__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define smp_store_release(p, value) do {		\
	__atomic_store_n(p, value, __ATOMIC_RELEASE);	\
	perturb();					\
} while (0)
#define smp_mb()			__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_wmb() do {					\
	smp_mb();					\
	perturb();					\
} while (0)
#define xchg(p, value) ({ __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST); })

#define try_cmpxchg64(p, old, value)					\
	__atomic_compare_exchange_n(p, old, value, false,		\
				    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)

/* Lets other threads run, now and then, when they can see something new. */
void perturb(void);

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define SHIM_TSAN
#endif
#elif defined(__SANITIZE_THREAD__)
#define SHIM_TSAN
#endif

/* An expression that may race. */
#ifdef SHIM_TSAN
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
#define data_race(expr) ({				\
	AnnotateIgnoreReadsBegin(__FILE__, __LINE__);	\
	AnnotateIgnoreWritesBegin(__FILE__, __LINE__);	\
	__auto_type __v = (expr);			\
	AnnotateIgnoreWritesEnd(__FILE__, __LINE__);	\
	AnnotateIgnoreReadsEnd(__FILE__, __LINE__);	\
	__v;						\
})
#else
#define data_race(expr)	(expr)
#endif

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	s64 counter;
} atomic64_t;

#define ATOMIC_INIT(n)		{ n }
#define atomic_read(v)		READ_ONCE((v)->counter)
#define atomic_inc(v)		((void)__atomic_fetch_add(&(v)->counter, 1, __ATOMIC_RELAXED))
#define atomic_dec(v)		((void)__atomic_fetch_sub(&(v)->counter, 1, __ATOMIC_RELAXED))
#define atomic_dec_and_test(v)	(!__atomic_sub_fetch(&(v)->counter, 1, __ATOMIC_SEQ_CST))
#define atomic64_inc_return(v)	__atomic_add_fetch(&(v)->counter, 1, __ATOMIC_SEQ_CST)

typedef struct {
	int refs;
} refcount_t;

static inline void refcount_set(refcount_t *r, int n)
{
	WRITE_ONCE(r->refs, n);
}

static inline void refcount_inc(refcount_t *r)
{
	if (__atomic_fetch_add(&r->refs, 1, __ATOMIC_RELAXED) <= 0)
		host_bug("a reference to what is gone");
}

static inline void refcount_set_release(refcount_t *r, int n)
{
	smp_store_release(&r->refs, n);
}

/* Takes a reference unless there is none; orders as @order says. */
static inline bool __refcount_inc_not_zero(refcount_t *r, int order)
{
	int refs = READ_ONCE(r->refs);

	while (refs && !__atomic_compare_exchange_n(&r->refs, &refs, refs + 1, true,
						    order, __ATOMIC_RELAXED))
		;
	return refs;
}

#define refcount_inc_not_zero(r)		__refcount_inc_not_zero(r, __ATOMIC_RELAXED)
#define refcount_inc_not_zero_acquire(r)	__refcount_inc_not_zero(r, __ATOMIC_ACQUIRE)

static inline bool refcount_dec_and_test(refcount_t *r)
{
	int refs = __atomic_fetch_sub(&r->refs, 1, __ATOMIC_RELEASE);

	if (refs <= 0)
		host_bug("a reference given up twice");
	return refs == 1 && !smp_load_acquire(&r->refs); /* after all the others' */
}

#endif /* _SHIM_ATOMIC_H */
