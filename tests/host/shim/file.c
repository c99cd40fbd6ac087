// SPDX-License-Identifier: GPL-2.0
/* Open files and their table. */

#include <sched.h>

#include "../host.h"
#include "kernel.h"

#define MAX_FDS		1024

/*
 * struct slot - an entry of the table
 * @busy:	somebody looks, or changes it
 * @used:	the number is taken
 * @file:	once there is one
 *
 * Looking a number up must not order two calls, which would hide races between them:
 * the lock of a slot is made of relaxed accesses and fences (see atomic.h).
 */
static struct slot {
	bool busy;
	bool used;
	struct file *file;
} slots[MAX_FDS];

static void slot_lock(struct slot *slot)
{
	while (__atomic_exchange_n(&slot->busy, true, __ATOMIC_RELAXED))
		sched_yield();
	smp_mb(); /* as an acquire, pairs with slot_unlock() */
}

static void slot_unlock(struct slot *slot)
{
	smp_mb(); /* as a release, pairs with slot_lock() */
	WRITE_ONCE(slot->busy, false);
}

struct file *fget(unsigned int fd)
{
	struct file *file;

	if (fd >= MAX_FDS)
		return NULL;
	slot_lock(&slots[fd]);
	file = smp_load_acquire(&slots[fd].file); /* pairs with fd_install() */
	if (file)
		refcount_inc(&file->f_count);
	slot_unlock(&slots[fd]);
	return file;
}

int get_unused_fd_flags(unsigned int flags)
{
	int fd;

	might_sleep();
	for (fd = 0; fd < MAX_FDS; fd++)
		if (!READ_ONCE(slots[fd].used) &&
		    !__atomic_exchange_n(&slots[fd].used, true, __ATOMIC_RELAXED))
			return fd;
	return -EMFILE;
}

void put_unused_fd(unsigned int fd)
{
	if (READ_ONCE(slots[fd].file))
		host_bug("a number with a file is put back");
	WRITE_ONCE(slots[fd].used, false);
}

void fd_install(unsigned int fd, struct file *file)
{
	if (READ_ONCE(slots[fd].file) || !READ_ONCE(slots[fd].used))
		host_bug("a file is installed where there is no place");
	smp_store_release(&slots[fd].file, file); /* pairs with fget() */
}

/* Takes a file out of the table, with its reference. */
struct file *shim_take_fd(unsigned int fd)
{
	struct file *file;

	if (fd >= MAX_FDS)
		return NULL;
	slot_lock(&slots[fd]);
	file = smp_load_acquire(&slots[fd].file); /* pairs with fd_install() */
	WRITE_ONCE(slots[fd].file, NULL);
	slot_unlock(&slots[fd]);
	if (file)
		WRITE_ONCE(slots[fd].used, false);
	return file;
}

int receive_fd(struct file *file, int __user *ufd, unsigned int flags)
{
	int fd = get_unused_fd_flags(flags);

	if (fd < 0)
		return fd;
	refcount_inc(&file->f_count);
	fd_install(fd, file);
	return fd;
}

int close_fd(unsigned int fd)
{
	struct file *file = shim_take_fd(fd);

	if (!file)
		return -EBADF;
	fput(file);
	return 0;
}

int shim_next_fd(int fd)
{
	while (fd < MAX_FDS && !READ_ONCE(slots[fd].used))
		fd++;
	return fd < MAX_FDS ? fd : -1;
}

/* Files */

struct file *anon_inode_getfile(const char *name, const struct file_operations *fops,
				void *priv, int flags)
{
	static struct super_block sb = { ANON_INODE_FS_MAGIC };
	static struct inode inode = { .i_mode = 0600, .i_sb = &sb };
	struct file *file = kmalloc(sizeof(*file), GFP_KERNEL_ACCOUNT | __GFP_ZERO);

	if (!file)
		return ERR_PTR(-ENFILE);
	file->f_op = fops;
	file->f_mode = (flags + 1) & (FMODE_READ | FMODE_WRITE);
	file->f_flags = flags;
	refcount_set(&file->f_count, 1);
	file->f_inode = &inode;
	file->dentry.d_name.name = name;
	file->f_path.dentry = &file->dentry;
	file->private_data = priv;
	return file;
}

/* As in the kernel the last reference does not release the file there and then. */
void fput(struct file *file)
{
	if (!refcount_dec_and_test(&file->f_count))
		return;
	file->next_released = current->released;
	current->released = file;
}

void shim_release_files(void)
{
	struct file *file;

	might_sleep();
	while ((file = current->released)) {
		current->released = file->next_released;
		if (file->f_op->release)
			file->f_op->release(file->f_inode, file);
		kfree(file);
	}
}

__poll_t vfs_poll(struct file *file, poll_table *pt)
{
	if (!file->f_op->poll)
		return EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM;
	return file->f_op->poll(file, pt);
}

void seq_wrote(struct seq_file *m, int n)
{
	m->count += n;
	if (m->count >= m->size)
		host_bug("a text does not fit");
}
