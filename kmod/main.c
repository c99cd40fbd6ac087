// SPDX-License-Identifier: GPL-2.0
/*
 * The device, and what is the same for all objects and handles.
 *
 * Overview
 *
 * /dev/chanfd makes objects. An object lives as long as something refers to it:
 * its handles, calls that work on it, and objects that were made from it. A
 * handle is an open file; what it may do is its access mode, which the kernel
 * fixes when the file is made: files of anonymous inodes can't be opened again
 * through /proc, and fcntl() does not change the mode. So a handle's rights are
 * a capability, and "no handle with this right is left" is a fact that does not
 * change again.
 *
 * Lifetimes: every file holds a reference to its object and, by its
 * file_operations, to the module. Work that runs without a file (of a context's
 * timer, of a holder of a lock that died) is waited for when the module goes.
 */

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "object.h"
#include "wait.h"

static atomic64_t last_id;

/* A name must be fit to stand in one line of text. */
static bool name_is_valid(const u8 *name)
{
	size_t len = strnlen(name, CHANFD_NAME_LEN);
	size_t i;

	for (i = 0; i < len; i++)
		if (name[i] < ' ' || name[i] > '~')
			return false;
	return len < CHANFD_NAME_LEN && !memchr_inv(name + len, 0, CHANFD_NAME_LEN - len);
}

/**
 * chanfd_object_init() - set up the head of a new object, with one reference
 * @obj: of memory that is zero
 * @type: what it is
 * @name: as a user gave it
 * @bytes: that its buffer may hold
 *
 * Return: 0, %-EINVAL, %-EDQUOT or %-ENOMEM.
 */
int chanfd_object_init(struct chanfd_object *obj, const struct chanfd_type *type,
		       const u8 *name, size_t bytes)
{
	if (!name_is_valid(name))
		return -EINVAL;
	obj->user = chanfd_user_charge(1, bytes);
	if (IS_ERR(obj->user))
		return PTR_ERR(obj->user);
	obj->type = type;
	obj->id = atomic64_inc_return(&last_id);
	memcpy(obj->name, name, CHANFD_NAME_LEN);
	obj->bytes = bytes;
	refcount_set(&obj->ref, 1);
	spin_lock_init(&obj->lock);
	return 0;
}

/* Undoes chanfd_object_init(). */
void chanfd_object_release(struct chanfd_object *obj)
{
	chanfd_user_uncharge(obj->user, 1, obj->bytes);
}

/* Gives a reference up; true if it was the last, and the caller is to free. */
bool chanfd_object_drop(struct chanfd_object *obj)
{
	if (!refcount_dec_and_test(&obj->ref))
		return false;
	chanfd_object_release(obj);
	return true;
}

void chanfd_object_put(struct chanfd_object *obj)
{
	if (chanfd_object_drop(obj))
		obj->type->free(obj);
}

/* Handles */

static u32 rights_of(const struct file *file)
{
	return (file->f_mode & FMODE_READ ? CHANFD_READ : 0) |
	       (file->f_mode & FMODE_WRITE ? CHANFD_WRITE : 0);
}

static struct file *handle_open(struct chanfd_object *obj, u32 rights, u32 flags)
{
	static const int modes[] = {
		[CHANFD_READ] = O_RDONLY,
		[CHANFD_WRITE] = O_WRONLY,
		[CHANFD_READ | CHANFD_WRITE] = O_RDWR,
	};
	struct file *file;

	file = anon_inode_getfile(obj->type->file_name, obj->type->fops, obj,
				  modes[rights] | (flags & CHANFD_NONBLOCK ? O_NONBLOCK : 0));
	if (IS_ERR(file))
		return file;
	stream_open(file_inode(file), file);
	file->f_mode |= FMODE_NOWAIT;
	chanfd_object_get(obj);
	spin_lock(&obj->lock);
	obj->readers += !!(rights & CHANFD_READ);
	obj->writers += !!(rights & CHANFD_WRITE);
	spin_unlock(&obj->lock);
	return file;
}

/**
 * chanfd_handle_prepare() - make a handle, up to the point where nothing can fail
 * @obj: what it refers to
 * @rights: what it may do
 * @flags: CHANFD_INHERIT, CHANFD_NONBLOCK
 * @file: set to the open file, for fd_install(); or put_unused_fd() and fput()
 *
 * Return: its file descriptor; or an error, and @file is as it was.
 */
int chanfd_handle_prepare(struct chanfd_object *obj, u32 rights, u32 flags,
			  struct file **file)
{
	struct file *opened;
	int fd;

	fd = get_unused_fd_flags(flags & CHANFD_INHERIT ? 0 : O_CLOEXEC);
	if (fd < 0)
		return fd;
	opened = handle_open(obj, rights, flags);
	if (IS_ERR(opened)) {
		put_unused_fd(fd);
		return PTR_ERR(opened);
	}
	*file = opened;
	return fd;
}

/**
 * chanfd_handles_create() - make the handles of a new object and tell the user
 * @obj: what they refer to
 * @rights: that they have together
 * @flags: CHANFD_PAIR: one for each right; CHANFD_INHERIT, CHANFD_NONBLOCK
 * @fd: where in @arg their numbers go
 * @cmd: the command
 * @uarg: the user's argument
 * @arg: what to write there
 * @known: its size
 *
 * Return: 0 or an error; then there are none.
 */
int chanfd_handles_create(struct chanfd_object *obj, u32 rights, u32 flags, s32 *fd,
			  unsigned int cmd, void __user *uarg, const void *arg, size_t known)
{
	u32 first = flags & CHANFD_PAIR ? CHANFD_READ : rights;
	struct file *file[2] = {};
	int err;

	fd[0] = chanfd_handle_prepare(obj, first, flags, &file[0]);
	fd[1] = -1;
	if (fd[0] < 0)
		return fd[0];
	if (flags & CHANFD_PAIR) {
		fd[1] = chanfd_handle_prepare(obj, CHANFD_WRITE, flags, &file[1]);
		if (fd[1] < 0) {
			err = fd[1];
			goto out_first;
		}
	}
	err = chanfd_put_arg(uarg, cmd, arg, known);
	if (err)
		goto out_both;
	fd_install(fd[0], file[0]);
	if (fd[1] >= 0)
		fd_install(fd[1], file[1]);
	return 0;

out_both:
	if (fd[1] >= 0) {
		put_unused_fd(fd[1]);
		fput(file[1]);
	}
out_first:
	put_unused_fd(fd[0]);
	fput(file[0]);
	return err;
}

int chanfd_handle_release(struct inode *inode, struct file *file)
{
	struct chanfd_object *obj = file->private_data;
	u32 rights = rights_of(file);
	u32 lost = 0;

	spin_lock(&obj->lock);
	if (rights & CHANFD_READ && !--obj->readers)
		lost |= CHANFD_READ;
	if (rights & CHANFD_WRITE && !--obj->writers)
		lost |= CHANFD_WRITE;
	spin_unlock(&obj->lock);
	if (lost && obj->type->abandoned)
		obj->type->abandoned(obj, lost);
	chanfd_object_put(obj);
	return 0;
}

void chanfd_show_object(struct seq_file *m, struct file *file,
			const struct chanfd_object *obj)
{
	static const char *const rights[] = { "", "r", "w", "rw" };

	seq_printf(m, "chanfd-type:\t%s\n", obj->type->name);
	seq_printf(m, "chanfd-id:\t%llu\n", obj->id);
	seq_printf(m, "chanfd-name:\t%s\n", obj->name);
	seq_printf(m, "chanfd-rights:\t%s\n", rights[rights_of(file)]);
	chanfd_user_show(m, obj->user);
}

/* Arguments */

int chanfd_get_arg(void *arg, size_t known, size_t least, unsigned int cmd,
		   const void __user *uarg)
{
	size_t size = _IOC_SIZE(cmd);

	if (size < least)
		return -ENOTTY;
	return copy_struct_from_user(arg, known, uarg, size);
}

int chanfd_put_arg(void __user *uarg, unsigned int cmd, const void *arg, size_t known)
{
	size_t size = _IOC_SIZE(cmd);

	if (copy_to_user(uarg, arg, min(size, known)))
		return -EFAULT;
	if (size > known && clear_user(uarg + known, size - known))
		return -EFAULT;
	return 0;
}

static int handle_info(struct file *file, unsigned int cmd, void __user *arg)
{
	struct chanfd_object *obj = file->private_data;
	struct chanfd_info info = {
		.type = obj->type->number,
		.rights = rights_of(file),
		.id = obj->id,
	};

	if (_IOC_SIZE(cmd) < sizeof(info))
		return -ENOTTY;
	memcpy(info.name, obj->name, sizeof(info.name));
	return CHANFD_PUT_ARG(&info, cmd, arg);
}

static int handle_reduce(struct file *file, void __user *arg)
{
	struct chanfd_object *obj = file->private_data;
	struct file *reduced;
	u32 flags, rights;
	int fd;

	if (obj->type == &chanfd_token_type || obj->type == &chanfd_lease_type)
		return -ENOTTY;
	if (get_user(flags, (u32 __user *)arg))
		return -EFAULT;
	rights = flags & (CHANFD_READ | CHANFD_WRITE);
	if (!rights || flags & ~(rights | CHANFD_NONBLOCK | CHANFD_INHERIT))
		return -EINVAL;
	if (rights & ~rights_of(file))
		return -EPERM;
	fd = chanfd_handle_prepare(obj, rights, flags, &reduced);
	if (fd >= 0)
		fd_install(fd, reduced);
	return fd;
}

/* What every handle answers. */
long chanfd_handle_ioctl(struct file *file, unsigned int cmd, void __user *arg)
{
	switch (CHANFD_CMD(cmd)) {
	case CHANFD_CMD(CHANFD_IOC_SELECT):
		return chanfd_select_ioctl(cmd, arg);
	case CHANFD_CMD(CHANFD_IOC_INFO):
		return handle_info(file, cmd, arg);
	case CHANFD_CMD(CHANFD_IOC_REDUCE):
		return cmd == CHANFD_IOC_REDUCE ? handle_reduce(file, arg) : -ENOTTY;
	}
	return -ENOTTY;
}

/* The device */

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long uarg)
{
	void __user *arg = (void __user *)uarg;

	switch (CHANFD_CMD(cmd)) {
	case CHANFD_CMD(CHANFD_IOC_CHANNEL):
		return chanfd_channel_create(cmd, arg);
	case CHANFD_CMD(CHANFD_IOC_WAITGROUP):
		return chanfd_waitgroup_create(cmd, arg);
	case CHANFD_CMD(CHANFD_IOC_CONTEXT):
		return chanfd_context_create(cmd, arg);
	case CHANFD_CMD(CHANFD_IOC_LOCK_NEW):
		return chanfd_lock_create(cmd, arg);
	case CHANFD_CMD(CHANFD_IOC_CONDITION):
		return chanfd_condition_create(cmd, arg);
	case CHANFD_CMD(CHANFD_IOC_CELL):
		return chanfd_cell_create(cmd, arg);
	case CHANFD_CMD(CHANFD_IOC_SELECT):
		return chanfd_select_ioctl(cmd, arg);
	}
	return -ENOTTY;
}

static const struct file_operations device_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= device_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "chanfd",
	.fops	= &device_fops,
	.mode	= 0666,
};

static int __init chanfd_init(void)
{
	int err;

	err = chanfd_context_init();
	if (err)
		return err;
	err = chanfd_cell_init();
	if (err)
		goto out_context;
	err = misc_register(&device);
	if (err)
		goto out_cell;
	return 0;

out_cell:
	chanfd_cell_exit();
out_context:
	chanfd_context_exit();
	return err;
}

static void __exit chanfd_exit(void)
{
	misc_deregister(&device);
	/* What saw a process die, with interrupts off, has queued its work then. */
	synchronize_rcu();
	chanfd_cell_exit();
	chanfd_context_exit();
}

module_init(chanfd_init);
module_exit(chanfd_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Go's concurrency primitives as file descriptors");
