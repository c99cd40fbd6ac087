/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What conditions need of locks.
 */
#ifndef _CHANFD_LOCK_H
#define _CHANFD_LOCK_H

#include "object.h"

struct chanfd_holder;

struct chanfd_holder *chanfd_lock_holder(struct chanfd_object *obj);
int chanfd_lock_again(struct chanfd_object *obj, struct chanfd_holder *holder);
int chanfd_lock_release(struct chanfd_object *obj);

#endif /* _CHANFD_LOCK_H */
