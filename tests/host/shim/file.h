/* SPDX-License-Identifier: GPL-2.0 */
/* Open files, their table, polling, and the texts in /proc. */
#ifndef _SHIM_FILE_H
#define _SHIM_FILE_H

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <linux/types.h>

typedef unsigned int fmode_t;

#define FMODE_READ		1U
#define FMODE_WRITE		2U
#define FMODE_PATH		0x4000U
#define FMODE_NOWAIT		0x8000000U

#define ANON_INODE_FS_MAGIC	0x09041934

/* Only what the module looks at. */
struct super_block {
	unsigned long s_magic;
};

struct inode {
	mode_t i_mode;
	struct super_block *i_sb;
};

struct qstr {
	const char *name;
};

struct dentry {
	struct qstr d_name;
};

struct path {
	struct dentry *dentry;
};

struct file_operations;

struct file {
	const struct file_operations *f_op;
	fmode_t f_mode;
	unsigned int f_flags;
	refcount_t f_count;
	struct inode *f_inode;
	struct path f_path;
	loff_t f_pos;
	void *private_data;
	struct dentry dentry;
	struct file *next_released;
};

#define IOCB_NOWAIT	1

struct kiocb {
	struct file *ki_filp;
	int ki_flags;
};

struct poll_table_struct;
struct seq_file;

struct file_operations {
	void *owner;
	int (*release)(struct inode *inode, struct file *file);
	long (*unlocked_ioctl)(struct file *file, unsigned int cmd, unsigned long arg);
	long (*compat_ioctl)(struct file *file, unsigned int cmd, unsigned long arg);
	ssize_t (*read)(struct file *file, char __user *buf, size_t size, loff_t *pos);
	ssize_t (*write)(struct file *file, const char __user *buf, size_t size, loff_t *pos);
	ssize_t (*read_iter)(struct kiocb *iocb, struct iov_iter *to);
	ssize_t (*write_iter)(struct kiocb *iocb, struct iov_iter *from);
	__poll_t (*poll)(struct file *file, struct poll_table_struct *pt);
	int (*mmap)(struct file *file, struct vm_area_struct *vma);
	void (*show_fdinfo)(struct seq_file *m, struct file *file);
};

#define compat_ptr_ioctl	NULL

static inline struct inode *file_inode(const struct file *file)
{
	return file->f_inode;
}

static inline void stream_open(struct inode *inode, struct file *file)
{
}

struct file *anon_inode_getfile(const char *name, const struct file_operations *fops,
				void *priv, int flags);
struct file *fget(unsigned int fd);
#define fget_raw	fget
void fput(struct file *file);

/* Ends what the task's last references kept open: when a call ends, or a work item. */
void shim_release_files(void);

struct fd {
	struct file *file;
};

#define fd_file(f)	((f).file)

static inline struct fd fdget(unsigned int fd)
{
	return (struct fd){ fget(fd) };
}

static inline void fdput(struct fd fd)
{
	if (fd.file)
		fput(fd.file);
}

/* The table */

int get_unused_fd_flags(unsigned int flags);
void put_unused_fd(unsigned int fd);
void fd_install(unsigned int fd, struct file *file);
struct file *shim_take_fd(unsigned int fd);
int receive_fd(struct file *file, int __user *ufd, unsigned int flags);
int close_fd(unsigned int fd);

/* Few, that a test may come to it. */
#define rlimit(which)		100UL
#define RLIMIT_NOFILE		7

/* The first number that is taken, from @fd on; or -1. */
int shim_next_fd(int fd);

/* No file here is a socket. */
struct socket {
	const struct {
		int family;
	} *ops;
};

static inline struct socket *sock_from_file(struct file *file)
{
	return NULL;
}

/* Polling */

#define POLLFREE		((__poll_t)0x4000)

#define demangle_poll(events)	((__poll_t)(events))
#define mangle_poll(events)	((__u16)(events))
#define poll_to_key(events)	((void *)(uintptr_t)(events))
#define key_to_poll(key)	((__poll_t)(uintptr_t)(key))

typedef struct poll_table_struct {
	void (*_qproc)(struct file *file, wait_queue_head_t *wq,
		       struct poll_table_struct *pt);
	__poll_t _key;
} poll_table;

static inline void init_poll_funcptr(poll_table *pt,
				     void (*qproc)(struct file *file, wait_queue_head_t *wq,
						   struct poll_table_struct *pt))
{
	pt->_qproc = qproc;
	pt->_key = ~0U;
}

static inline void poll_wait(struct file *file, wait_queue_head_t *wq, poll_table *pt)
{
	if (!pt || !pt->_qproc)
		return;
	pt->_qproc(file, wq, pt);
	smp_mb(); /* pairs with wq_has_sleeper() */
}

static inline bool file_can_poll(struct file *file)
{
	return file->f_op->poll;
}

__poll_t vfs_poll(struct file *file, poll_table *pt);

/* Texts */

struct seq_file {
	char *buf;
	size_t size;
	size_t count;
};

void seq_wrote(struct seq_file *m, int n);

#define seq_printf(m, ...) \
	seq_wrote(m, snprintf((m)->buf + (m)->count, (m)->size - (m)->count, __VA_ARGS__))

#endif /* _SHIM_FILE_H */
