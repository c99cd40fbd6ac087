/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory: the module's own, and its users', which is what it is: a pointer. A pointer
 * into page zero is bad, others are what the sanitizer takes them for.
 */
#ifndef _SHIM_MEMORY_H
#define _SHIM_MEMORY_H

#include <sys/uio.h>

typedef unsigned int gfp_t;

#define GFP_KERNEL_ACCOUNT	1U
#define __GFP_NOFAIL		2U
#define __GFP_ZERO		4U

void *kmalloc(size_t size, gfp_t flags);
void kfree(const void *p);

#define kzalloc(size, flags)	kmalloc(size, (flags) | __GFP_ZERO)
#define kvmalloc(size, flags)	kmalloc(size, flags)
#define kvfree(p)		kfree(p)

/* A cache whose objects stay of their type for as long as RCU readers may look at them:
 * here, for as long as there is the cache.
 */
struct kmem_cache;

enum { SLAB_TYPESAFE_BY_RCU = 1, SLAB_HWCACHE_ALIGN };

struct kmem_cache *kmem_cache_create(const char *name, size_t size, size_t align,
				     unsigned int flags, void (*ctor)(void *p));
void kmem_cache_destroy(struct kmem_cache *cache);
void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t flags);
void kmem_cache_free(struct kmem_cache *cache, void *p);

/* What the kernel gives to nobody. */
#define KMALLOC_MAX		((size_t)INT_MAX)

static inline void *kcalloc(size_t n, size_t size, gfp_t flags)
{
	return n > KMALLOC_MAX / size ? NULL : kzalloc(n * size, flags);
}

#define kvcalloc(n, size, flags)	kcalloc(n, size, flags)

/* Pages, and who maps them */

#define PAGE_SIZE	4096UL

#define VM_WRITE	0x2
#define VM_EXEC		0x4
#define VM_MAYWRITE	0x20
#define VM_MAYEXEC	0x40
#define VM_DONTEXPAND	0x40000
#define VM_DONTDUMP	0x4000000

struct page;
struct file;

/* A mapping: its holder reads the page itself. */
struct vm_area_struct {
	unsigned long vm_start;
	unsigned long vm_end;
	unsigned long vm_pgoff;
	unsigned long vm_flags;
	struct file *vm_file;
	struct page *page;
};

unsigned long get_zeroed_page(gfp_t flags);

#define free_page(address)	kfree((void *)(address))
#define virt_to_page(p)		((struct page *)(p))

static inline void vm_flags_mod(struct vm_area_struct *vma, unsigned long set,
				unsigned long clear)
{
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
}

static inline int vm_insert_page(struct vm_area_struct *vma, unsigned long address,
				 struct page *page)
{
	vma->page = page;
	return 0;
}

/* Users' memory */

#define u64_to_user_ptr(x)	((void __user *)(uintptr_t)(x))

unsigned long copy_from_user(void *to, const void __user *from, unsigned long n);
unsigned long copy_to_user(void __user *to, const void *from, unsigned long n);
unsigned long clear_user(void __user *to, unsigned long n);
int copy_struct_from_user(void *to, size_t known, const void __user *from, size_t size);

#define get_user(x, p)	(copy_from_user(&(x), p, sizeof(*(p))) ? -EFAULT : 0)
#define put_user(x, p) ({					\
	typeof(*(p)) __x = (x);					\
								\
	copy_to_user(p, &__x, sizeof(__x)) ? -EFAULT : 0;	\
})

/* Makes memory present; how much of it there is not. */
size_t fault_in_safe_writeable(const char __user *p, size_t size);

#define pagefault_disable()	((void)current->pagefault_disabled++)
#define pagefault_enable()	((void)current->pagefault_disabled--)

/* Users' memory in pieces */

#define ITER_SOURCE	1
#define ITER_DEST	0

/**
 * struct iov_iter
 * @iov:	the pieces
 * @piece:	where we are,
 * @offset:	and how far in that
 * @count:	bytes from there on
 */
struct iov_iter {
	const struct iovec *iov;
	size_t piece;
	size_t offset;
	size_t count;
};

void iov_iter_init(struct iov_iter *i, unsigned int direction, const struct iovec *iov,
		   unsigned long n, size_t count);
void iov_iter_revert(struct iov_iter *i, size_t n);
size_t copy_to_iter(const void *from, size_t n, struct iov_iter *i);
bool copy_from_iter_full(void *to, size_t n, struct iov_iter *i);
size_t fault_in_iov_iter_writeable(const struct iov_iter *i, size_t n);

static inline size_t iov_iter_count(const struct iov_iter *i)
{
	return i->count;
}

static inline void iov_iter_truncate(struct iov_iter *i, u64 count)
{
	if (i->count > count)
		i->count = count;
}

#endif /* _SHIM_MEMORY_H */
