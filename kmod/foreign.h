/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What can be told of open files, ours and others'.
 */
#ifndef _CHANFD_FOREIGN_H
#define _CHANFD_FOREIGN_H

#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/string.h>

#include "object.h"

static inline bool chanfd_is_handle(const struct file *file)
{
	return file->f_op->release == chanfd_handle_release;
}

static inline bool chanfd_is_anonymous(const struct file *file)
{
	return file_inode(file)->i_sb->s_magic == ANON_INODE_FS_MAGIC;
}

/* Is it the kernel's own kind of file that has this name? */
static inline bool chanfd_is_special(const struct file *file, const char *name)
{
	return chanfd_is_anonymous(file) && !strcmp(file->f_path.dentry->d_name.name, name);
}

bool chanfd_holds_no_files(struct file *file);

#endif /* _CHANFD_FOREIGN_H */
