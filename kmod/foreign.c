// SPDX-License-Identifier: GPL-2.0
/*
 * Which files of others may be kept open, by messages and by contexts.
 *
 * A file that could hold a handle of ours may not: each would keep the other, and nobody
 * could ever free them. So only files are kept of which it is known that they hold none.
 * An epoll instance watches files without holding them.
 */

#include <linux/net.h>
#include <net/sock.h>

#include "foreign.h"

static const char *const special_files[] = {
	"[eventfd]",
	"[eventpoll]",
	"[pidfd]",
	"[signalfd]",
	"[timerfd]",
	"inotify",
};

static bool is_listed(const struct file *file)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(special_files); i++)
		if (chanfd_is_special(file, special_files[i]))
			return true;
	return false;
}

/* Newer kernels have pidfds in a file system of their own. */
static bool is_on_pidfs(const struct file *file)
{
#ifdef PID_FS_MAGIC
	return file_inode(file)->i_sb->s_magic == PID_FS_MAGIC;
#else
	return false;
#endif
}

/**
 * chanfd_holds_no_files() - whether a file holds no other open, whatever is done with it
 * @file: of any kind
 *
 * Return: true for pipes, some sockets, and some special files; false for what may hold
 * one, for what is unknown, and for what a file system or a device has.
 */
bool chanfd_holds_no_files(struct file *file)
{
	struct socket *sock = sock_from_file(file);

	if (sock) {
		int family = sock->ops->family;

		return family == PF_INET || family == PF_INET6 || family == PF_NETLINK;
	}
	return S_ISFIFO(file_inode(file)->i_mode) || is_on_pidfs(file) || is_listed(file);
}
