// SPDX-License-Identifier: GPL-2.0
/*
 * Files in messages.
 *
 * A message keeps files open while it is on its way, so no message may keep its own
 * channel: nobody could ever free either. That is impossible by the rule for what may be
 * sent, without looking for cycles:
 *
 *  - Messages with files are in channels made for them (CHANFD_FDS), or in a lease.
 *  - A channel's messages are dropped when the last handle is closed that can receive.
 *  - Such a handle of a CHANFD_FDS channel (ELOOP), and a lease (EOPNOTSUPP), can't be
 *    sent; nor can what may hold any open file: Unix sockets, an io_uring, what we
 *    don't know (foreign.c).
 *  - So those handles and leases are held only by tables of descriptors, by calls that
 *    are under way, and by Unix sockets and the like, which no message holds. When these
 *    are gone all files in messages are released.
 *
 * Among what may be sent, a context keeps files that it is bound to, which are none of
 * these either (binding.c); the rest keeps no files. A regular file can be of a file system
 * that was mounted on a descriptor, as 9p can be; that takes CAP_SYS_ADMIN.
 *
 * Releasing does not recurse: fput() leaves the work to the end of the system call, or to a
 * worker, and each file is released by a turn of its own.
 */

#include <linux/file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "chan.h"
#include "foreign.h"

static int may_send_handle(const struct file *file)
{
	const struct channel *ch = file->private_data;

	if (file->f_op == &chanfd_lease_fops)
		return -EOPNOTSUPP;
	if (file->f_op == &chanfd_channel_fops && ch->fds && file->f_mode & FMODE_READ)
		return -ELOOP;
	return 0;
}

static int may_send(struct file *file)
{
	const struct inode *inode = file_inode(file);

	if (file->f_mode & FMODE_PATH)
		return 0;	/* a name, and nothing behind it */
	if (chanfd_is_handle(file))
		return may_send_handle(file);
	if (chanfd_holds_no_files(file))
		return 0;
	/* Special files call themselves regular in newer kernels. */
	if (!chanfd_is_anonymous(file) && (S_ISREG(inode->i_mode) || S_ISDIR(inode->i_mode)))
		return 0;
	return -EOPNOTSUPP;
}

static int add_file(struct file **file, s32 fd)
{
	*file = fget_raw(fd);
	return *file ? may_send(*file) : -EBADF;
}

/**
 * chanfd_parcel_load() - the files of a message that is to be sent
 * @ch: where to
 * @fds: pointer to their numbers
 * @nr: how many; NULL is returned for 0
 *
 * Context: Process context, no locks held. May sleep.
 * Return: for chanfd_parcel_free(); or an ERR_PTR(): %-EINVAL (too many, or the channel
 * takes none), %-EFAULT, %-EBADF, %-EOPNOTSUPP, %-ELOOP, %-ETOOMANYREFS, %-ENOMEM.
 */
struct parcel *chanfd_parcel_load(const struct channel *ch, const s32 __user *fds, u32 nr)
{
	s32 numbers[CHANFD_MAX_FDS];
	struct parcel *parcel;
	int err = 0;
	u32 i;

	if (!nr)
		return NULL;
	if (!ch->fds || nr > CHANFD_MAX_FDS)
		return ERR_PTR(-EINVAL);
	if (copy_from_user(numbers, fds, nr * sizeof(*fds)))
		return ERR_PTR(-EFAULT);
	parcel = kzalloc(struct_size(parcel, files, nr), GFP_KERNEL_ACCOUNT);
	if (!parcel)
		return ERR_PTR(-ENOMEM);
	parcel->user = chanfd_user_charge_files(nr);
	if (IS_ERR(parcel->user)) {
		err = PTR_ERR(parcel->user);
		kfree(parcel);
		return ERR_PTR(err);
	}
	parcel->nr = nr;
	for (i = 0; i < nr && !err; i++)
		err = add_file(&parcel->files[i], numbers[i]);
	if (err) {
		chanfd_parcel_free(parcel);
		return ERR_PTR(err);
	}
	return parcel;
}

/* Where it could not be filled the rest is NULL. Context: no locks held. */
void chanfd_parcel_free(struct parcel *parcel)
{
	u32 i;

	for (i = 0; i < parcel->nr && parcel->files[i]; i++)
		fput(parcel->files[i]);
	chanfd_user_uncharge_files(parcel->user, parcel->nr);
	kfree(parcel);
}
