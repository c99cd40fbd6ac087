// SPDX-License-Identifier: GPL-2.0
/* Memory, the module's and users', and how both fail when a test says so. */

#include "../host.h"
#include "kernel.h"

#ifdef SHIM_MSAN
#include <sanitizer/msan_interface.h>
#endif

/* Counts a task's own failure down; true when it is time. */
static bool counted_down(unsigned int *n)
{
	if (!*n || --*n)
		return false;
	current->failed = true;
	return true;
}

bool host_failed(void)
{
	return current->failed;
}

/* The module's */

static atomic_t allocations;

long host_allocations(void)
{
	return atomic_read(&allocations);
}

void host_fail_alloc(unsigned int nth)
{
	current->fail_alloc = nth;
}

static void *allocate(size_t size, size_t align, gfp_t flags)
{
	void *p = NULL;

	might_sleep();
	if (size <= KMALLOC_MAX &&
	    (flags & __GFP_NOFAIL || !counted_down(&current->fail_alloc)))
		p = align ? aligned_alloc(align, size) : malloc(size);
	if (p && flags & __GFP_ZERO)
		memset(p, 0, size);
	if (p)
		atomic_inc(&allocations);
	else if (flags & __GFP_NOFAIL)
		host_bug("no memory for what must not fail");
	return p;
}

void *kmalloc(size_t size, gfp_t flags)
{
	return allocate(size, 0, flags);
}

unsigned long get_zeroed_page(gfp_t flags)
{
	return (unsigned long)allocate(PAGE_SIZE, PAGE_SIZE, flags | __GFP_ZERO);
}

void kfree(const void *p)
{
	not_under_object_lock("memory is freed");
	if (p)
		__atomic_fetch_sub(&allocations.counter, 1, __ATOMIC_RELAXED);
	free((void *)p);
}

struct kmem_cache {
	pthread_mutex_t lock;
	size_t size;
	struct free_object {
		struct free_object *next;
		char object[];
	} *free;	/* the last one first, that it may be seen by who was at it before */
};

struct kmem_cache *kmem_cache_create(const char *name, size_t size, size_t align,
				     unsigned int flags, void (*ctor)(void *p))
{
	struct kmem_cache *cache = calloc(1, sizeof(*cache));

	cache->size = size;
	pthread_mutex_init(&cache->lock, NULL);
	return cache;
}

void kmem_cache_destroy(struct kmem_cache *cache)
{
	struct free_object *o;

	while ((o = cache->free)) {
		cache->free = o->next;
		free(o);
	}
	free(cache);
}

void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t flags)
{
	struct free_object *o;

	might_sleep();
	if (counted_down(&current->fail_alloc))
		return NULL;
	pthread_mutex_lock(&cache->lock);
	o = cache->free;
	if (o)
		cache->free = o->next;
	pthread_mutex_unlock(&cache->lock);
	if (!o)
		o = malloc(sizeof(*o) + cache->size);
	atomic_inc(&allocations);
	return o->object;
}

void kmem_cache_free(struct kmem_cache *cache, void *p)
{
	struct free_object *o = container_of(p, struct free_object, object);

	not_under_object_lock("memory is freed");
	atomic_dec(&allocations);
	pthread_mutex_lock(&cache->lock);
	o->next = cache->free;
	cache->free = o;
	pthread_mutex_unlock(&cache->lock);
}

/* Users' */

void host_fault(unsigned int nth, bool lasting)
{
	current->fault = nth;
	current->fault_lasting = lasting;
}

/* Can @n bytes at @p be reached? */
static bool is_present(const void *p, size_t n)
{
	struct task_struct *task = current;

	if (!task->pagefault_disabled)
		might_sleep();
	if (!n)
		return true;
	if ((uintptr_t)p < PAGE_SIZE)
		return false;
	if (!counted_down(&task->fault))
		return true;
	if (task->fault_lasting)
		task->fault = 1;
	return false;
}

/* What fails, fails in the middle. */

unsigned long copy_from_user(void *to, const void __user *from, unsigned long n)
{
	if (!is_present(from, n)) {
		memset(to, 0, n);
		return n;
	}
	if (n)
		memcpy(to, from, n);
	return 0;
}

unsigned long copy_to_user(void __user *to, const void *from, unsigned long n)
{
	unsigned long copied = n;

	if (!is_present(to, n))
		copied = (uintptr_t)to < PAGE_SIZE ? 0 : n / 2;
#ifdef SHIM_MSAN
	/* Nothing may leave the kernel that was never written. */
	__msan_check_mem_is_initialized(from, copied);
#endif
	if (copied)
		memcpy(to, from, copied);
	return n - copied;
}

unsigned long clear_user(void __user *to, unsigned long n)
{
	if (!is_present(to, n))
		return n;
	if (n)
		memset(to, 0, n);
	return 0;
}

int copy_struct_from_user(void *to, size_t known, const void __user *from, size_t size)
{
	size_t n = min(known, size);

	if (size > known) {
		const char *rest = (const char *)from + known;

		if (!is_present(rest, size - known))
			return -EFAULT;
		if (memchr_inv(rest, 0, size - known))
			return -E2BIG;
	}
	memset(to, 0, known);
	return copy_from_user(to, from, n) ? -EFAULT : 0;
}

size_t fault_in_safe_writeable(const char __user *p, size_t size)
{
	return is_present(p, size) ? 0 : size;
}

/* In pieces */

void iov_iter_init(struct iov_iter *i, unsigned int direction, const struct iovec *iov,
		   unsigned long n, size_t count)
{
	*i = (struct iov_iter){ .iov = iov, .count = count };
}

/* How much of @n bytes is in one piece at @i, which is not at its end. */
static size_t contiguous(struct iov_iter *i, size_t n)
{
	while (i->offset == i->iov[i->piece].iov_len) {
		i->piece++;
		i->offset = 0;
	}
	return min(n, i->iov[i->piece].iov_len - i->offset);
}

static char *position(const struct iov_iter *i)
{
	return (char *)i->iov[i->piece].iov_base + i->offset;
}

static void advance(struct iov_iter *i, size_t n)
{
	i->offset += n;
	i->count -= n;
}

void iov_iter_revert(struct iov_iter *i, size_t n)
{
	i->count += n;
	while (n > i->offset) {
		n -= i->offset;
		i->offset = i->iov[--i->piece].iov_len;
	}
	i->offset -= n;
}

size_t copy_to_iter(const void *from, size_t n, struct iov_iter *i)
{
	size_t left = min(n, i->count);
	size_t done = 0;

	while (left) {
		size_t some = contiguous(i, left);
		size_t copied = some - copy_to_user(position(i), (const char *)from + done, some);

		advance(i, copied);
		done += copied;
		left -= copied;
		if (copied < some)
			break;
	}
	return done;
}

bool copy_from_iter_full(void *to, size_t n, struct iov_iter *i)
{
	struct iov_iter start = *i;

	if (n > i->count)
		return false;
	while (n) {
		size_t some = contiguous(i, n);

		if (copy_from_user(to, position(i), some)) {
			*i = start;
			return false;
		}
		advance(i, some);
		to = (char *)to + some;
		n -= some;
	}
	return true;
}

size_t fault_in_iov_iter_writeable(const struct iov_iter *i, size_t n)
{
	struct iov_iter rest = *i;
	size_t left = min(n, i->count);

	while (left) {
		size_t some = contiguous(&rest, left);

		if (!is_present(position(&rest), some))
			break;
		advance(&rest, some);
		left -= some;
	}
	return left;
}
