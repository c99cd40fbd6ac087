// SPDX-License-Identifier: GPL-2.0
/*
 * What one user may have.
 *
 * Every object is counted against the user who made it, and so are the bytes
 * that its buffer may hold, for as long as it exists: in whose hands its handles
 * are does not matter. A call that waits with much in its hands is counted while
 * it does. The memory itself is charged to memory cgroups as well, where it is
 * allocated. Files in messages are counted against the user who sent them, as those in
 * Unix sockets are. CAP_SYS_RESOURCE goes past the limits, but is counted.
 */

#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/hashtable.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uidgid.h>

#include "compat.h"
#include "object.h"

static unsigned int max_objects = 65536;
module_param(max_objects, uint, 0644);
MODULE_PARM_DESC(max_objects, "objects that a user without CAP_SYS_RESOURCE may have");

static unsigned long max_bytes = 256UL << 20;
module_param(max_bytes, ulong, 0644);
MODULE_PARM_DESC(max_bytes, "bytes that a user's channels and waiting calls may hold");

/**
 * struct chanfd_user
 * @node:	in users
 * @uid:	immutable
 * @objects:	that exist
 * @bytes:	that they may hold, and that waiting calls and leases hold
 * @files:	in messages that the user sent
 *
 * Everything under users_lock.
 */
struct chanfd_user {
	struct hlist_node node;
	kuid_t uid;
	unsigned int objects;
	unsigned long bytes;
	unsigned long files;
};

/* Innermost; taken when an object comes or goes, a large call waits, and for files. */
static DEFINE_SPINLOCK(users_lock);
static DEFINE_HASHTABLE(users, 6);

static struct chanfd_user *lookup_user(kuid_t uid)
{
	struct chanfd_user *user;

	hash_for_each_possible(users, user, node, __kuid_val(uid))
		if (uid_eq(user->uid, uid))
			return user;
	return NULL;
}

/* The user's entry, @fresh if there was none. Context: users_lock held. */
static struct chanfd_user *get_user_entry(kuid_t uid, struct chanfd_user *fresh)
{
	struct chanfd_user *user = lookup_user(uid);

	if (!user) {
		user = fresh;
		user->uid = uid;
		hash_add(users, &user->node, __kuid_val(uid));
	}
	return user;
}

/* What is wrong with giving the user more, or 0. Context: users_lock held. */
static int over_limits(const struct chanfd_user *user, unsigned int objects, size_t bytes,
		       unsigned int files)
{
	unsigned long most = READ_ONCE(max_bytes);

	if ((objects && user->objects >= READ_ONCE(max_objects)) ||
	    (bytes && (bytes > most || user->bytes > most - bytes)))
		return -EDQUOT;
	return files && user->files + files > rlimit(RLIMIT_NOFILE) ? -ETOOMANYREFS : 0;
}

static void put_user_entry(struct chanfd_user *user)
{
	if (!user->objects && !user->bytes && !user->files) {
		hash_del(&user->node);
		kfree(user);
	}
}

static struct chanfd_user *charge(unsigned int objects, size_t bytes, unsigned int files)
{
	bool above = capable(CAP_SYS_RESOURCE);
	struct chanfd_user *user, *fresh;
	int err = 0;

	fresh = kzalloc(sizeof(*fresh), GFP_KERNEL_ACCOUNT);
	if (!fresh)
		return ERR_PTR(-ENOMEM);
	spin_lock(&users_lock);
	user = get_user_entry(current_uid(), fresh);
	if (user == fresh)
		fresh = NULL;
	if (!above)
		err = over_limits(user, objects, bytes, files);
	if (!err) {
		user->objects += objects;
		user->bytes += bytes;
		user->files += files;
	} else {
		put_user_entry(user);
		user = ERR_PTR(err);
	}
	spin_unlock(&users_lock);
	kfree(fresh);
	return user;
}

/**
 * chanfd_user_charge() - count what the current user has
 * @objects: 1 for an object, 0 for a call
 * @bytes: that its buffer may hold, or that the call holds; may be 0 for an object
 *
 * Context: Process context. May sleep.
 * Return: whom to uncharge, or an ERR_PTR(): %-EDQUOT or %-ENOMEM.
 */
struct chanfd_user *chanfd_user_charge(unsigned int objects, size_t bytes)
{
	return charge(objects, bytes, 0);
}

/* Counts @n files that the current user sends: %-ETOOMANYREFS or %-ENOMEM. */
struct chanfd_user *chanfd_user_charge_files(unsigned int n)
{
	return charge(0, 0, n);
}

/* Counts more bytes for @user, who has an object: 0 or %-EDQUOT. */
int chanfd_user_charge_more(struct chanfd_user *user, size_t bytes)
{
	bool above = capable(CAP_SYS_RESOURCE);
	int err = 0;

	spin_lock(&users_lock);
	if (!above)
		err = over_limits(user, 0, bytes, 0);
	if (!err)
		user->bytes += bytes;
	spin_unlock(&users_lock);
	return err;
}

/* What a user has, and may have, in the form of fdinfo. */
void chanfd_user_show(struct seq_file *m, const struct chanfd_user *user)
{
	unsigned long bytes, files;
	unsigned int objects;

	spin_lock(&users_lock);
	objects = user->objects;
	bytes = user->bytes;
	files = user->files;
	spin_unlock(&users_lock);
	seq_printf(m, "chanfd-user-objects:\t%u of %u\n", objects, READ_ONCE(max_objects));
	seq_printf(m, "chanfd-user-bytes:\t%lu of %lu\n", bytes, READ_ONCE(max_bytes));
	seq_printf(m, "chanfd-user-files:\t%lu\n", files);
}

void chanfd_user_uncharge(struct chanfd_user *user, unsigned int objects, size_t bytes)
{
	spin_lock(&users_lock);
	user->objects -= objects;
	user->bytes -= bytes;
	put_user_entry(user);
	spin_unlock(&users_lock);
}

void chanfd_user_uncharge_files(struct chanfd_user *user, unsigned int n)
{
	spin_lock(&users_lock);
	user->files -= n;
	put_user_entry(user);
	spin_unlock(&users_lock);
}
