// SPDX-License-Identifier: GPL-2.0
/* The module as its users have it: system calls, and how it comes and goes. */

#include <sys/mman.h>

#include "../host.h"
#include "kernel.h"

/* The module */

#define MAX_PARAMS	8

static struct param {
	const char *name;
	void *value;
	size_t size;
} params[MAX_PARAMS];

static const struct file_operations *device_fops;

void shim_add_param(const char *name, void *value, size_t size)
{
	int i = 0;

	while (params[i].name)
		if (++i == MAX_PARAMS)
			host_bug("too many parameters");
	params[i] = (struct param){ name, value, size };
}

void host_set_param(const char *name, unsigned long value)
{
	struct param *p = params;

	while (p->name && strcmp(p->name, name))
		p++;
	if (!p->name)
		host_bug("no parameter %s", name);
	if (p->size == sizeof(unsigned long))
		WRITE_ONCE(*(unsigned long *)p->value, value);
	else
		WRITE_ONCE(*(unsigned int *)p->value, value);
}

int misc_register(struct miscdevice *device)
{
	device_fops = device->fops;
	return 0;
}

void misc_deregister(struct miscdevice *device)
{
	device_fops = NULL;
}

void host_init(void)
{
	shim_start_timers();
	if (shim_module_init())
		host_bug("the module does not start");
}

void host_exit(void)
{
	if (shim_next_fd(0) >= 0)
		host_bug("file %d is open", shim_next_fd(0));
	shim_module_exit();
	shim_stop_timers();
	if (host_allocations())
		host_bug("%ld pieces of memory are left", host_allocations());
}

/* System calls */

static struct task_struct *syscall_enter(void)
{
	struct task_struct *task = current;

	task->failed = false;
	return task;
}

/* On the way out: a signal is delivered, to a handler that does not restart calls. */
static long syscall_exit(struct task_struct *task, long ret)
{
	shim_release_files();
	WRITE_ONCE(task->signal, SIGNAL_NONE);
	task->fault = 0;
	task->fail_alloc = 0;
	if (task->nr_held || task->rcu_depth || task->pagefault_disabled)
		host_bug("a call returns with locks held");
	return ret == -ERESTARTSYS ? -EINTR : ret;
}

/* A new file's number. */
static int install(struct file *file)
{
	int fd = get_unused_fd_flags(0);

	if (fd < 0)
		fput(file);
	else
		fd_install(fd, file);
	return fd;
}

int host_open(int flags)
{
	struct task_struct *task = syscall_enter();
	struct file *file = anon_inode_getfile("chanfd", device_fops, NULL, flags);

	return syscall_exit(task, IS_ERR(file) ? PTR_ERR(file) : install(file));
}

int host_dup(int fd)
{
	struct task_struct *task = syscall_enter();
	struct file *file = fget(fd);

	return syscall_exit(task, file ? install(file) : -EBADF);
}

int host_close(int fd)
{
	struct task_struct *task = syscall_enter();
	struct file *file = shim_take_fd(fd);

	if (file)
		fput(file);
	return syscall_exit(task, file ? 0 : -EBADF);
}

void host_close_all(void)
{
	int fd = -1;

	while ((fd = shim_next_fd(fd + 1)) >= 0)
		host_close(fd);
}

/* Runs @call with @file, the open file @fd of the mode @mode, and returns from it. */
#define WITH_FILE(fd, mode, call) ({					\
	struct task_struct *__task = syscall_enter();			\
	struct fd __f = fdget(fd);					\
	struct file *file = fd_file(__f);				\
	long __ret = -EBADF;						\
									\
	if (file && (file->f_mode & (mode)) == (mode))			\
		__ret = (call);						\
	fdput(__f);							\
	syscall_exit(__task, __ret);					\
})

static long set_flags(struct file *file, int flags)
{
	/* The kernel does not care either that others may look. */
	data_race(file->f_flags = (file->f_flags & ~O_NONBLOCK) | (flags & O_NONBLOCK));
	return 0;
}

int host_fcntl_setfl(int fd, int flags)
{
	return WITH_FILE(fd, 0, set_flags(file, flags));
}

long host_ioctl(int fd, unsigned int cmd, void *arg)
{
	return WITH_FILE(fd, 0, file->f_op->unlocked_ioctl ?
			 file->f_op->unlocked_ioctl(file, cmd, (unsigned long)arg) : -ENOTTY);
}

ssize_t host_read(int fd, void *buf, size_t size)
{
	loff_t pos = 0;

	return WITH_FILE(fd, FMODE_READ, file->f_op->read ?
			 file->f_op->read(file, buf, size, &pos) : -EINVAL);
}

ssize_t host_write(int fd, const void *buf, size_t size)
{
	loff_t pos = 0;

	return WITH_FILE(fd, FMODE_WRITE, file->f_op->write ?
			 file->f_op->write(file, buf, size, &pos) : -EINVAL);
}

static size_t total(const struct iovec *iov, int n)
{
	size_t size = 0;

	while (n--)
		size += iov++->iov_len;
	return size;
}

/* read_iter() or write_iter(), @func. */
static ssize_t run_iter(struct file *file,
			ssize_t (*func)(struct kiocb *iocb, struct iov_iter *i),
			unsigned int direction, const struct iovec *iov, int n)
{
	struct kiocb iocb = { .ki_filp = file };
	struct iov_iter i;

	if (!func)
		return -EINVAL;
	iov_iter_init(&i, direction, iov, n, total(iov, n));
	return iov_iter_count(&i) ? func(&iocb, &i) : 0;
}

ssize_t host_readv(int fd, const struct iovec *iov, int n)
{
	return WITH_FILE(fd, FMODE_READ,
			 run_iter(file, file->f_op->read_iter, ITER_DEST, iov, n));
}

ssize_t host_writev(int fd, const struct iovec *iov, int n)
{
	return WITH_FILE(fd, FMODE_WRITE,
			 run_iter(file, file->f_op->write_iter, ITER_SOURCE, iov, n));
}

/* Mappings */

/* As mmap(2): the file stays open. One page, whatever was asked for. */
static long map(struct file *file, size_t size, int prot, struct vm_area_struct **made)
{
	struct vm_area_struct vma = {
		.vm_end = size,
		.vm_flags = VM_MAYWRITE | VM_MAYEXEC | (prot & PROT_WRITE ? VM_WRITE : 0) |
			    (prot & PROT_EXEC ? VM_EXEC : 0),
		.vm_file = file,
	};
	int err;

	if (!file->f_op->mmap)
		return -ENODEV;
	err = file->f_op->mmap(file, &vma);
	if (err)
		return err;
	if (!vma.page || vma.vm_flags & (VM_MAYWRITE | VM_MAYEXEC))
		host_bug("a mapping of nothing, or one that may be written to");
	*made = malloc(sizeof(vma));
	**made = vma;
	refcount_inc(&file->f_count);
	return 0;
}

int host_mmap(int fd, size_t size, int prot, struct vm_area_struct **made)
{
	return WITH_FILE(fd, FMODE_READ, map(file, size, prot, made));
}

const void *host_mapped(const struct vm_area_struct *vma)
{
	return vma->page;
}

void host_munmap(struct vm_area_struct *vma)
{
	struct task_struct *task = syscall_enter();

	fput(vma->vm_file);
	free(vma);
	syscall_exit(task, 0);
}

static long show(struct file *file, char *buf, size_t size)
{
	struct seq_file m = { buf, size };

	if (file->f_op->show_fdinfo)
		file->f_op->show_fdinfo(&m, file);
	return m.count;
}

ssize_t host_fdinfo(int fd, char *buf, size_t size)
{
	return WITH_FILE(fd, 0, show(file, buf, size));
}

/* Polling */

/* A task that waits in host_poll_wait(), on up to two queues, as poll(2) would. */
struct poller {
	poll_table pt;
	struct task_struct *task;
	struct {
		wait_queue_head_t *wq;
		struct wait_queue_entry wait;
	} on[2];
	int n;
	bool called;
};

static int poller_wake(struct wait_queue_entry *wait, unsigned int mode, int sync, void *key)
{
	struct poller *p = wait->private;

	if (key && !(key_to_poll(key) & p->pt._key))
		return 0;
	WRITE_ONCE(p->called, true);
	wake_up_state(p->task, mode);
	return 1;
}

static void poller_join(struct file *file, wait_queue_head_t *wq, poll_table *pt)
{
	struct poller *p = container_of(pt, struct poller, pt);

	if (p->n == ARRAY_SIZE(p->on))
		host_bug("a file has too many wait queues");
	p->on[p->n].wq = wq;
	init_waitqueue_func_entry(&p->on[p->n].wait, poller_wake);
	p->on[p->n].wait.private = p;
	add_wait_queue(wq, &p->on[p->n++].wait);
}

static long poll_wait_for(struct file *file, __poll_t events)
{
	struct poller p = { .pt = { poller_join, events }, .task = current };
	__poll_t ready = vfs_poll(file, &p.pt) & events;
	long ret = 0;

	while (!ready && !ret) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (READ_ONCE(p.called)) {
			__set_current_state(TASK_RUNNING);
			xchg(&p.called, false);
			ready = vfs_poll(file, NULL) & events;
		} else if (signal_pending(current)) {
			ret = -EINTR;
		} else {
			schedule();
		}
	}
	__set_current_state(TASK_RUNNING);
	while (p.n--)
		remove_wait_queue(p.on[p.n].wq, &p.on[p.n].wait);
	return ready ?: ret;
}

int host_poll(int fd)
{
	return WITH_FILE(fd, 0, (long)vfs_poll(file, NULL));
}

int host_poll_wait(int fd, int events)
{
	return WITH_FILE(fd, 0, poll_wait_for(file, events | EPOLLERR | EPOLLHUP));
}

/* An eventfd, of which others' files stand for all others' files */

struct eventfd {
	wait_queue_head_t wq;
	unsigned int count;	/* under wq.lock */
};

static __poll_t eventfd_poll(struct file *file, poll_table *pt)
{
	struct eventfd *e = file->private_data;

	poll_wait(file, &e->wq, pt);
	/* Like the real one's: ordered by poll_wait(), not by the lock. */
	return READ_ONCE(e->count) ? EPOLLIN : 0;
}

static int eventfd_release(struct inode *inode, struct file *file)
{
	struct eventfd *e = file->private_data;

	if (!list_empty(&e->wq.head))
		host_bug("somebody waits for a file that is gone");
	kfree(e);
	return 0;
}

static const struct file_operations eventfd_fops = {
	.release = eventfd_release,
	.poll = eventfd_poll,
};

int host_eventfd(unsigned int count)
{
	struct task_struct *task = syscall_enter();
	struct eventfd *e = kmalloc(sizeof(*e), GFP_KERNEL_ACCOUNT);
	struct file *file;

	if (!e)
		return syscall_exit(task, -ENOMEM);
	init_waitqueue_head(&e->wq);
	e->count = count;
	file = anon_inode_getfile("[eventfd]", &eventfd_fops, e, O_RDWR);
	if (IS_ERR(file)) {
		kfree(e);
		return syscall_exit(task, PTR_ERR(file));
	}
	return syscall_exit(task, install(file));
}

static long eventfd_set(struct file *file, unsigned int count)
{
	struct eventfd *e = file->private_data;

	if (file->f_op != &eventfd_fops)
		return -EINVAL;
	WRITE_ONCE(e->count, count);
	if (count)
		__wake_up(&e->wq, TASK_NORMAL, 1, poll_to_key(EPOLLIN));
	return 0;
}

int host_eventfd_set(int fd, unsigned int count)
{
	return WITH_FILE(fd, 0, eventfd_set(file, count));
}
