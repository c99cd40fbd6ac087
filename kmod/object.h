/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Objects, the handles that refer to them, and what a user may have of both.
 */
#ifndef _CHANFD_OBJECT_H
#define _CHANFD_OBJECT_H

#include <linux/fs.h>
#include <linux/poll.h>
#include <linux/refcount.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>

#include "../uapi/chanfd.h"

struct chanfd_object;
struct chanfd_user;

/**
 * struct chanfd_type - what the handles of one type of object have in common
 * @number:	CHANFD_TYPE_*
 * @name:	in fdinfo
 * @file_name:	in /proc/PID/fd
 * @fops:	also tells the type of a file
 * @abandoned:	the last handle with @rights is gone; may be NULL
 * @free:	the last reference is gone; ends in kfree_rcu() or kfree()
 */
struct chanfd_type {
	u32 number;
	const char *name;
	const char *file_name;
	const struct file_operations *fops;
	void (*abandoned)(struct chanfd_object *obj, u32 rights);
	void (*free)(struct chanfd_object *obj);
};

/**
 * struct chanfd_object - head of every object
 * @type:	immutable
 * @id:		immutable, never reused
 * @name:	immutable
 * @user:	who pays, immutable
 * @bytes:	what for, immutable
 * @ref:	one for every handle, and for whoever works on the object without
 * @lock:	protects the object's state and queues. The outermost spinlock:
 *		inside it only the locks of waiting calls are taken (see wait.h),
 *		and never a second object's. Never taken in interrupt context.
 *		Nothing sleeps, wakes a task or frees memory under it.
 * @readers:	handles with CHANFD_READ, under @lock
 * @writers:	handles with CHANFD_WRITE, under @lock
 */
struct chanfd_object {
	const struct chanfd_type *type;
	u64 id;
	char name[CHANFD_NAME_LEN];
	struct chanfd_user *user;
	size_t bytes;
	refcount_t ref;
	spinlock_t lock;	/* state and queues */
	u32 readers;
	u32 writers;
};

int chanfd_object_init(struct chanfd_object *obj, const struct chanfd_type *type,
		       const u8 *name, size_t bytes);
void chanfd_object_release(struct chanfd_object *obj);
bool chanfd_object_drop(struct chanfd_object *obj);
void chanfd_object_put(struct chanfd_object *obj);

static inline void chanfd_object_get(struct chanfd_object *obj)
{
	refcount_inc(&obj->ref);
}

int chanfd_handle_prepare(struct chanfd_object *obj, u32 rights, u32 flags,
			  struct file **file);
int chanfd_handles_create(struct chanfd_object *obj, u32 rights, u32 flags, s32 *fd,
			  unsigned int cmd, void __user *uarg, const void *arg, size_t known);

/* The handles of a new object, and the results @arg of the call that made it;
 * drops the caller's reference.
 */
#define CHANFD_PUBLISH(obj, rights, arg, cmd, uarg) ({				\
	struct chanfd_object *__obj = (obj);					\
	typeof(arg) __arg = (arg);						\
	int __err;								\
										\
	__arg->id = __obj->id;							\
	__err = chanfd_handles_create(__obj, rights, __arg->flags, __arg->fd,	\
				      cmd, uarg, __arg, sizeof(*__arg));	\
	chanfd_object_put(__obj);						\
	__err;									\
})

int chanfd_handle_release(struct inode *inode, struct file *file);
long chanfd_handle_ioctl(struct file *file, unsigned int cmd, void __user *arg);
void chanfd_show_object(struct seq_file *m, struct file *file,
			const struct chanfd_object *obj);

/* Copies an argument of any published size in; %-ENOTTY where it is too short. */
int chanfd_get_arg(void *arg, size_t known, size_t least, unsigned int cmd,
		   const void __user *uarg);
/* Copies results out, as much of them as the caller knows. */
int chanfd_put_arg(void __user *uarg, unsigned int cmd, const void *arg, size_t known);

/* An argument's type knows its size; @last is the last field that was published first. */
#define CHANFD_GET_ARG(arg, last, cmd, uarg) ({					\
	typeof(arg) __arg = (arg);						\
										\
	chanfd_get_arg(__arg, sizeof(*__arg), offsetofend(typeof(*__arg), last),\
		       cmd, uarg);						\
})
#define CHANFD_PUT_ARG(arg, cmd, uarg) ({					\
	typeof(arg) __arg = (arg);						\
										\
	chanfd_put_arg(uarg, cmd, __arg, sizeof(*__arg));			\
})

/* Which command it is, whatever the size of its argument. */
#define CHANFD_CMD(cmd)	((cmd) & ~(_IOC_SIZEMASK << _IOC_SIZESHIFT))

/* The file operations that are the same for all handles. */
#define CHANFD_HANDLE_FOPS				\
	.owner		= THIS_MODULE,			\
	.release	= chanfd_handle_release,	\
	.compat_ioctl	= compat_ptr_ioctl

extern const struct chanfd_type chanfd_channel_type;
extern const struct chanfd_type chanfd_waitgroup_type;
extern const struct chanfd_type chanfd_token_type;
extern const struct chanfd_type chanfd_context_type;
extern const struct chanfd_type chanfd_lease_type;

extern const struct file_operations chanfd_channel_fops;
extern const struct file_operations chanfd_lease_fops;
extern const struct file_operations chanfd_waitgroup_fops;
extern const struct file_operations chanfd_context_fops;
extern const struct file_operations chanfd_lock_fops;
extern const struct file_operations chanfd_cell_fops;

long chanfd_channel_create(unsigned int cmd, void __user *arg);
long chanfd_waitgroup_create(unsigned int cmd, void __user *arg);
long chanfd_context_create(unsigned int cmd, void __user *arg);
long chanfd_lock_create(unsigned int cmd, void __user *arg);
long chanfd_condition_create(unsigned int cmd, void __user *arg);
long chanfd_cell_create(unsigned int cmd, void __user *arg);
int chanfd_context_init(void);
void chanfd_context_exit(void);
int chanfd_cell_init(void);
void chanfd_cell_exit(void);

/**
 * struct chanfd_page - a page of an object's state that users may map
 * @data:	NULL until it is mapped first; then immutable, its content under the
 *		object's lock
 * @payer:	who mapped it first; immutable then
 */
struct chanfd_page {
	void *data;
	struct chanfd_user *payer;
};

int chanfd_page_map(struct chanfd_object *obj, struct chanfd_page *page,
		    struct vm_area_struct *vma,
		    void (*fill)(struct chanfd_object *obj, void *data));
void chanfd_page_free(struct chanfd_page *page);

/* limits.c */
struct chanfd_user *chanfd_user_charge(unsigned int objects, size_t bytes);
void chanfd_user_uncharge(struct chanfd_user *user, unsigned int objects, size_t bytes);
int chanfd_user_charge_more(struct chanfd_user *user, size_t bytes);
struct chanfd_user *chanfd_user_charge_files(unsigned int n);
void chanfd_user_uncharge_files(struct chanfd_user *user, unsigned int n);
void chanfd_user_show(struct seq_file *m, const struct chanfd_user *user);

#endif /* _CHANFD_OBJECT_H */
