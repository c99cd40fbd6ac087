// SPDX-License-Identifier: GPL-2.0
/*
 * A page of an object's state that users may map, to read it without a system call.
 *
 * It is made when somebody maps it first, and stays until the object goes: a mapping
 * holds its handle. Nobody may write to it but the object, under its lock.
 */

#include <linux/gfp.h>
#include <linux/mm.h>

#include "compat.h"
#include "object.h"

/* Makes the page unless it is there. */
static int make(struct chanfd_object *obj, struct chanfd_page *page,
		void (*fill)(struct chanfd_object *obj, void *data))
{
	struct chanfd_page fresh;

	/* Pairs with the release below. */
	if (smp_load_acquire(&page->data))
		return 0;
	fresh.payer = chanfd_user_charge(0, PAGE_SIZE);
	if (IS_ERR(fresh.payer))
		return PTR_ERR(fresh.payer);
	fresh.data = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!fresh.data) {
		chanfd_user_uncharge(fresh.payer, 0, PAGE_SIZE);
		return -ENOMEM;
	}
	spin_lock(&obj->lock);
	if (!page->data) {
		fill(obj, fresh.data);
		page->payer = fresh.payer;
		/* Filled, for who does not take the lock: see above. */
		smp_store_release(&page->data, fresh.data);
		fresh.data = NULL;
	}
	spin_unlock(&obj->lock);
	chanfd_page_free(&fresh);
	return 0;
}

/**
 * chanfd_page_map() - mmap(2) of a handle
 * @obj: what it refers to
 * @page: the object's
 * @vma: of the caller's
 * @fill: writes the object's state to a new page, which is zero; called with @obj->lock
 *	held
 *
 * Return: 0, %-EINVAL (not the one page that there is), %-EACCES (not just to read),
 * %-EDQUOT or %-ENOMEM.
 */
int chanfd_page_map(struct chanfd_object *obj, struct chanfd_page *page,
		    struct vm_area_struct *vma,
		    void (*fill)(struct chanfd_object *obj, void *data))
{
	int err;

	if (vma->vm_pgoff || vma->vm_end - vma->vm_start != PAGE_SIZE)
		return -EINVAL;
	if (vma->vm_flags & (VM_WRITE | VM_EXEC))
		return -EACCES;
	err = make(obj, page, fill);
	if (err)
		return err;
	/* Nor later, by mprotect(2). */
	vm_flags_mod(vma, VM_DONTEXPAND | VM_DONTDUMP, VM_MAYWRITE | VM_MAYEXEC);
	return vm_insert_page(vma, vma->vm_start, virt_to_page(page->data));
}

/* For an object that goes. */
void chanfd_page_free(struct chanfd_page *page)
{
	if (page->data) {
		free_page((unsigned long)page->data);
		chanfd_user_uncharge(page->payer, 0, PAGE_SIZE);
	}
}
