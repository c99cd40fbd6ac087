// SPDX-License-Identifier: GPL-2.0
/*
 * Cells: one value, replaced as a whole (Go's atomic.Value).
 *
 * Overview
 *
 * A value is immutable once it is published. A store copies a new one in, and under the
 * cell's lock puts it in the place of the old. A load takes a reference to the value
 * that is there and copies it out, without any lock of the cell's: whoever stores, and
 * however often, loads do not wait.
 *
 * Lifetimes: the head of a value comes from a slab that RCU keeps of this type, so that a
 * load may look at one that is just being replaced, and even at one that is used again
 * already (CELL_REUSE). Its data is freed with the last reference, at once: nobody looks
 * at it without. So no memory waits for a grace period, however fast stores follow each
 * other. Loads hold references while they copy with page faults off, and not while they
 * make memory present: whoever loads to memory that never answers keeps nobody's value.
 *
 * CELL_REUSE: a head that is used again is written, data and all, before the
 * refcount_set_release() in publish(). It pairs with refcount_inc_not_zero_acquire() in
 * current_value(), which sees the head as it was then, and after that, whether it is
 * still this cell's value.
 *
 * CELL_ORDER: all operations of all cells happen in one order, which everybody sees
 * (H12). Stores to one cell are ordered by its lock; a store is ordered after whatever
 * its task did before by the release in rcu_assign_pointer(). What is left are loads
 * after anything else: a load has a full barrier before it reads which value it is, and
 * one after, and a store has one at its end, before loads from a mapping that follow
 * without a system call. Each of these pairs with each of another task's.
 *
 * CELL_PAGE: the mapped page is a sequence lock of which the kernel is the writer and
 * users are the readers. The sequence is odd before the new value is published and even
 * after the page has it as well, so the page is never older than what a load returned:
 * it says so, or that one has to look again.
 *
 * Locking: the rest is under obj.lock, but what is said to be immutable.
 */

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/poll.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "object.h"
#include "wait.h"

/**
 * struct cell_value - what a cell holds
 * @ref:	the cell's, and of loads that copy it
 * @version:	of the cell; immutable once published, like all below
 * @size:	bytes of @data
 * @tag:	the user's
 * @data:	freed with the last reference
 */
struct cell_value {
	refcount_t ref;
	u64 version;
	u32 size;
	u32 tag;
	void *data;
};

/**
 * struct cell
 * @obj:	head
 * @max:	immutable: bytes of a value
 * @version:	of @value, 0 without
 * @value:	NULL until the first store; replaced under obj.lock, read under RCU
 * @page:	what is mapped, see there
 * @waiters:	that wait for another version
 * @pollers:	of handles that may load
 *
 * What a handle has read up to is in its file's f_pos, which streams do not use. It only
 * grows, by cmpxchg.
 */
struct cell {
	struct chanfd_object obj;
	u32 max;
	u64 version;
	struct cell_value __rcu *value;
	struct chanfd_page page;
	struct chanfd_queue waiters;
	wait_queue_head_t pollers;
};

static struct kmem_cache *values;

static struct cell *to_cell(struct chanfd_object *obj)
{
	return container_of(obj, struct cell, obj);
}

/* Values */

static void value_free(struct cell_value *v)
{
	kvfree(v->data);
	kmem_cache_free(values, v);
}

static void value_put(struct cell_value *v)
{
	if (v && refcount_dec_and_test(&v->ref))
		value_free(v);
}

/* A copy of the user's, with no reference: nobody can get one before it is published. */
static struct cell_value *value_new(const struct chanfd_store *s)
{
	struct cell_value *v = kmem_cache_alloc(values, GFP_KERNEL_ACCOUNT);

	if (!v)
		return ERR_PTR(-ENOMEM);
	v->size = s->size;
	v->tag = s->tag;
	v->data = kvmalloc(s->size, GFP_KERNEL_ACCOUNT);
	if (!v->data) {
		kmem_cache_free(values, v);
		return ERR_PTR(-ENOMEM);
	}
	if (copy_from_user(v->data, u64_to_user_ptr(s->buf), s->size)) {
		value_free(v);
		return ERR_PTR(-EFAULT);
	}
	return v;
}

/* Copies it to the user, or not: memory that is not present is an error. */
static int value_copy_out(const struct cell_value *v, void __user *buf, u32 room)
{
	unsigned long left;

	if (v->size > room)
		return -EMSGSIZE;
	pagefault_disable();
	left = copy_to_user(buf, v->data, v->size);
	pagefault_enable();
	return left ? -EFAULT : 0;
}

/* Makes present what value_copy_out() did not find, if it exists. */
static int value_fault_in(void __user *buf, u32 size)
{
	if (fault_in_safe_writeable(buf, size))
		return -EFAULT;
	if (fatal_signal_pending(current))
		return -EINTR;
	cond_resched();
	return 0;
}

/* The value now, with a reference; or NULL. */
static struct cell_value *current_value(struct cell *cell)
{
	struct cell_value *v;
	bool lost;

	do {
		rcu_read_lock();
		smp_mb();	/* CELL_ORDER */
		v = rcu_dereference(cell->value);
		lost = v && !refcount_inc_not_zero_acquire(&v->ref);	/* CELL_REUSE */
		rcu_read_unlock();
		if (v && !lost) {
			lost = v != rcu_access_pointer(cell->value);
			if (lost)
				value_put(v);
		}
		smp_mb();	/* CELL_ORDER */
	} while (lost);
	return v;
}

/* For whoever holds the lock. */
static struct cell_value *locked_value(const struct cell *cell)
{
	return rcu_dereference_protected(cell->value, lockdep_is_held(&cell->obj.lock));
}

/* The mapped page */

static u32 bytes_inline(u32 size)
{
	return size <= CHANFD_CELL_INLINE ? size : 0;
}

static void page_write(struct chanfd_cell_page *page, const struct cell_value *v)
{
	u32 size = bytes_inline(v->size), before = bytes_inline(page->size);

	page->size = v->size;
	page->tag = v->tag;
	memcpy(page->data, v->data, size);
	/* Who gets a handle now is not to see what was there before. */
	if (before > size)
		memset(page->data + size, 0, before - size);
	WRITE_ONCE(page->version, v->version);
}

static void page_fill(struct chanfd_object *obj, void *data)
{
	const struct cell_value *v = locked_value(to_cell(obj));

	BUILD_BUG_ON(sizeof(struct chanfd_cell_page) != SZ_4K);
	if (v)
		page_write(data, v);
}

/* @v is the value from now on. Context: lock held. */
static void publish(struct cell *cell, struct cell_value *v)
{
	struct chanfd_cell_page *page = cell->page.data;

	v->version = ++cell->version;
	if (page) {
		WRITE_ONCE(page->sequence, page->sequence + 1);
		smp_wmb();	/* CELL_PAGE: odd before anything is new */
	}
	refcount_set_release(&v->ref, 1);	/* CELL_REUSE */
	rcu_assign_pointer(cell->value, v);
	if (page) {
		smp_wmb();	/* CELL_PAGE: nothing new before loads find it, too */
		page_write(page, v);
		smp_wmb();	/* CELL_PAGE: all new before even */
		WRITE_ONCE(page->sequence, page->sequence + 1);
	}
}

/* Waiting */

static void change_outcome(struct chanfd_waiter *w, const void *arg)
{
	const u64 *version = arg;

	w->number = *version;
}

static bool change_ready(struct chanfd_waiter *w)
{
	/* A hint: attempt() looks again under the lock. */
	return data_race(to_cell(w->obj)->version) != w->cell.known;
}

static int change_attempt(struct chanfd_waiter *w, bool park)
{
	struct cell *cell = to_cell(w->obj);

	spin_lock(&cell->obj.lock);
	if (cell->version != w->cell.known) {
		if (chanfd_commit(w))
			change_outcome(w, &cell->version);
	} else if (park) {
		chanfd_park(&cell->waiters, w);
	}
	spin_unlock(&cell->obj.lock);
	return 0;
}

static const struct chanfd_waiter_ops change_ops = {
	.ready = change_ready,
	.attempt = change_attempt,
};

void chanfd_change_case(struct chanfd_waiter *w, u64 known)
{
	w->ops = &change_ops;
	w->cell.known = known;
	chanfd_consider(w, change_ready(w));
}

/* Loads and stores */

/* The handle has read @version. */
static void has_read(struct file *file, u64 version)
{
	loff_t pos = READ_ONCE(file->f_pos);

	while ((u64)pos < version && !try_cmpxchg64(&file->f_pos, &pos, (loff_t)version))
		;
}

static int cell_load(struct file *file, unsigned int cmd, void __user *arg)
{
	struct cell *cell = file->private_data;
	struct chanfd_load l;
	void __user *buf;
	struct cell_value *v;
	int err;

	err = CHANFD_GET_ARG(&l, version, cmd, arg);
	if (err)
		return err;
	if (l.flags || l.reserved)
		return -EINVAL;
	buf = u64_to_user_ptr(l.buf);
	do {
		u32 size;

		v = current_value(cell);
		if (!v)
			return -ENODATA;
		err = value_copy_out(v, buf, l.size);
		size = v->size;
		if (!err) {
			l.size = size;
			l.tag = v->tag;
			l.version = v->version;
		}
		value_put(v);
		if (err != -EFAULT)
			break;
		err = value_fault_in(buf, size);
		if (err)
			return err;
	} while (true);
	if (!err)
		err = CHANFD_PUT_ARG(&l, cmd, arg);
	if (!err)
		has_read(file, l.version);
	return err;
}

/* May what @s asks for be done now, and in place of @old? */
static int may_replace(const struct cell_value *old, const struct chanfd_store *s)
{
	if (old && old->tag != s->tag)
		return -EPROTOTYPE;
	if (s->flags & CHANFD_IF_VERSION && s->version != (old ? old->version : 0))
		return -ESTALE;
	return 0;
}

/*
 * Puts @v in place of the value, which is what @old is then, and tells the user about it
 * if so asked. %-EFAULT asks for @old->size bytes to be made present.
 */
static int replace(struct cell *cell, struct chanfd_store *s, struct cell_value *v, u32 *wanted)
{
	struct cell_value *old;
	LIST_HEAD(waiters);
	int err;

	spin_lock(&cell->obj.lock);
	old = locked_value(cell);
	err = may_replace(old, s);
	if (!err && old && s->flags & CHANFD_SWAP) {
		err = value_copy_out(old, u64_to_user_ptr(s->old), s->old_size);
		*wanted = old->size;
	}
	if (err) {
		spin_unlock(&cell->obj.lock);
		return err;
	}
	publish(cell, v);
	list_splice_tail_init(&cell->waiters.list, &waiters);
	s->version = v->version;
	spin_unlock(&cell->obj.lock);
	s->old_size = *wanted;

	value_put(old);
	if (!list_empty(&waiters))
		chanfd_release_all(&cell->obj, &waiters, change_outcome, &s->version);
	chanfd_wake_pollers(&cell->pollers, 0, EPOLLIN | EPOLLRDNORM);
	smp_mb();	/* CELL_ORDER */
	return 0;
}

static int cell_store(struct file *file, unsigned int cmd, void __user *arg)
{
	struct cell *cell = file->private_data;
	struct chanfd_store s;
	struct cell_value *v;
	u32 wanted = 0;
	int err;

	err = CHANFD_GET_ARG(&s, version, cmd, arg);
	if (err)
		return err;
	if (s.flags & ~(CHANFD_IF_VERSION | CHANFD_SWAP))
		return -EINVAL;
	if (s.flags & CHANFD_SWAP) {
		if (!(file->f_mode & FMODE_READ))
			return -EPERM;
	} else if (s.old || s.old_size) {
		return -EINVAL;
	}
	if (s.size > cell->max)
		return -EMSGSIZE;
	/* An outcome that has nowhere to go is found before there is one. */
	if (CHANFD_PUT_ARG(&s, cmd, arg))
		return -EFAULT;
	v = value_new(&s);
	if (IS_ERR(v))
		return PTR_ERR(v);
	while ((err = replace(cell, &s, v, &wanted)) == -EFAULT) {
		err = value_fault_in(u64_to_user_ptr(s.old), wanted);
		if (err)
			break;
	}
	if (err) {
		value_free(v);
		return err;
	}
	CHANFD_PUT_ARG(&s, cmd, arg);
	return 0;
}

static int cell_get_info(struct cell *cell, unsigned int cmd, void __user *arg)
{
	struct chanfd_cell_info info = { .max = cell->max };
	const struct cell_value *v;

	if (_IOC_SIZE(cmd) < sizeof(info))
		return -ENOTTY;
	spin_lock(&cell->obj.lock);
	v = locked_value(cell);
	if (v) {
		info.version = v->version;
		info.size = v->size;
		info.tag = v->tag;
	}
	info.waiters = cell->waiters.len;
	spin_unlock(&cell->obj.lock);
	return CHANFD_PUT_ARG(&info, cmd, arg);
}

/* Handles */

static long cell_ioctl(struct file *file, unsigned int cmd, unsigned long uarg)
{
	void __user *arg = (void __user *)uarg;

	switch (CHANFD_CMD(cmd)) {
	case CHANFD_CMD(CHANFD_IOC_LOAD):
		return file->f_mode & FMODE_READ ? cell_load(file, cmd, arg) : -EPERM;
	case CHANFD_CMD(CHANFD_IOC_STORE):
		return file->f_mode & FMODE_WRITE ? cell_store(file, cmd, arg) : -EPERM;
	case CHANFD_CMD(CHANFD_IOC_CELL_INFO):
		return cell_get_info(file->private_data, cmd, arg);
	}
	return chanfd_handle_ioctl(file, cmd, arg);
}

static __poll_t cell_poll(struct file *file, poll_table *table)
{
	struct cell *cell = file->private_data;
	u64 version;

	if (!(file->f_mode & FMODE_READ))
		return 0;
	poll_wait(file, &cell->pollers, table);
	spin_lock(&cell->obj.lock);
	version = cell->version;
	spin_unlock(&cell->obj.lock);
	return version > (u64)READ_ONCE(file->f_pos) ? EPOLLIN | EPOLLRDNORM : 0;
}

static int cell_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct cell *cell = file->private_data;

	return chanfd_page_map(&cell->obj, &cell->page, vma, page_fill);
}

static void cell_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct cell *cell = file->private_data;
	u32 size, tag, waiters;
	const struct cell_value *v;
	u64 version;

	spin_lock(&cell->obj.lock);
	v = locked_value(cell);
	version = cell->version;
	size = v ? v->size : 0;
	tag = v ? v->tag : 0;
	waiters = cell->waiters.len;
	spin_unlock(&cell->obj.lock);
	chanfd_show_object(m, file, &cell->obj);
	seq_printf(m, "chanfd-version:\t%llu\n", version);
	seq_printf(m, "chanfd-size:\t%u of %u\n", size, cell->max);
	seq_printf(m, "chanfd-tag:\t%u\n", tag);
	seq_printf(m, "chanfd-waiting:\t%u\n", waiters);
}

const struct file_operations chanfd_cell_fops = {
	CHANFD_HANDLE_FOPS,
	.poll		= cell_poll,
	.unlocked_ioctl	= cell_ioctl,
	.mmap		= cell_mmap,
	.show_fdinfo	= cell_show_fdinfo,
};

static void cell_free(struct chanfd_object *obj)
{
	struct cell *cell = to_cell(obj);

	value_put(rcu_dereference_protected(cell->value, true));
	chanfd_page_free(&cell->page);
	kfree(cell);
}

static const struct chanfd_type cell_type = {
	.number		= CHANFD_TYPE_CELL,
	.name		= "cell",
	.file_name	= "[chanfd-cell]",
	.fops		= &chanfd_cell_fops,
	.free		= cell_free,
};

long chanfd_cell_create(unsigned int cmd, void __user *arg)
{
	struct chanfd_cell c;
	struct cell *cell;
	int err;

	err = CHANFD_GET_ARG(&c, id, cmd, arg);
	if (err)
		return err;
	if (c.flags & ~(CHANFD_PAIR | CHANFD_INHERIT) || c.size > CHANFD_MAX_CELL)
		return -EINVAL;
	cell = kzalloc(sizeof(*cell), GFP_KERNEL_ACCOUNT);
	if (!cell)
		return -ENOMEM;
	cell->max = c.size;
	chanfd_queue_init(&cell->waiters);
	init_waitqueue_head(&cell->pollers);
	err = chanfd_object_init(&cell->obj, &cell_type, c.name, c.size);
	if (err) {
		kfree(cell);
		return err;
	}
	return CHANFD_PUBLISH(&cell->obj, CHANFD_READ | CHANFD_WRITE, &c, cmd, arg);
}

int __init chanfd_cell_init(void)
{
	values = kmem_cache_create("chanfd_value", sizeof(struct cell_value), 0,
				   SLAB_TYPESAFE_BY_RCU | SLAB_HWCACHE_ALIGN, NULL);
	return values ? 0 : -ENOMEM;
}

void chanfd_cell_exit(void)
{
	kmem_cache_destroy(values);
}
