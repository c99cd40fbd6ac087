/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What can be told of open files, ours and others'.
 */
#ifndef _CHANFD_FOREIGN_H
#define _CHANFD_FOREIGN_H

#include <linux/fs.h>
#include <linux/magic.h>

#include "object.h"

static inline bool chanfd_is_handle(const struct file *file)
{
	return file->f_op->release == chanfd_handle_release;
}

/* Newer kernels have pidfds in a file system of their own. */
static inline bool chanfd_on_pidfs(const struct inode *inode)
{
#ifdef PID_FS_MAGIC
	return inode->i_sb->s_magic == PID_FS_MAGIC;
#else
	return false;
#endif
}

static inline bool chanfd_is_anonymous(const struct inode *inode)
{
	return inode->i_sb->s_magic == ANON_INODE_FS_MAGIC;
}

#endif /* _CHANFD_FOREIGN_H */
