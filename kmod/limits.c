// SPDX-License-Identifier: GPL-2.0
/*
 * What one user may have.
 *
 * Every object is counted against the user who made it, and so are the bytes
 * that its buffer may hold, for as long as it exists: in whose hands its handles
 * are does not matter. A call that waits with much in its hands is counted while
 * it does. The memory itself is charged to memory cgroups as well, where it is
 * allocated. CAP_SYS_RESOURCE goes past the limits, but is counted.
 */

#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/hashtable.h>
#include <linux/module.h>
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
 * @bytes:	that they may hold, and that waiting calls hold
 *
 * Everything under users_lock.
 */
struct chanfd_user {
	struct hlist_node node;
	kuid_t uid;
	unsigned int objects;
	unsigned long bytes;
};

/* Innermost; taken when an object comes or goes, or a large call waits. */
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

static bool within_limits(const struct chanfd_user *user, unsigned int objects,
			  size_t bytes)
{
	unsigned long most = READ_ONCE(max_bytes);

	return (!objects || user->objects < READ_ONCE(max_objects)) &&
	       bytes <= most && user->bytes <= most - bytes;
}

static void put_user_entry(struct chanfd_user *user)
{
	if (!user->objects && !user->bytes) {
		hash_del(&user->node);
		kfree(user);
	}
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
	bool above = capable(CAP_SYS_RESOURCE);
	struct chanfd_user *user, *fresh;

	fresh = kzalloc(sizeof(*fresh), GFP_KERNEL_ACCOUNT);
	if (!fresh)
		return ERR_PTR(-ENOMEM);
	spin_lock(&users_lock);
	user = get_user_entry(current_uid(), fresh);
	if (user == fresh)
		fresh = NULL;
	if (above || within_limits(user, objects, bytes)) {
		user->objects += objects;
		user->bytes += bytes;
	} else {
		put_user_entry(user);
		user = ERR_PTR(-EDQUOT);
	}
	spin_unlock(&users_lock);
	kfree(fresh);
	return user;
}

/* What a user has, and may have, in the form of fdinfo. */
void chanfd_user_show(struct seq_file *m, const struct chanfd_user *user)
{
	unsigned int objects;
	unsigned long bytes;

	spin_lock(&users_lock);
	objects = user->objects;
	bytes = user->bytes;
	spin_unlock(&users_lock);
	seq_printf(m, "chanfd-user-objects:\t%u of %u\n", objects, READ_ONCE(max_objects));
	seq_printf(m, "chanfd-user-bytes:\t%lu of %lu\n", bytes, READ_ONCE(max_bytes));
}

void chanfd_user_uncharge(struct chanfd_user *user, unsigned int objects, size_t bytes)
{
	spin_lock(&users_lock);
	user->objects -= objects;
	user->bytes -= bytes;
	put_user_entry(user);
	spin_unlock(&users_lock);
}
