/* SPDX-License-Identifier: GPL-2.0 */
/* Modules: this one. */
#ifndef _SHIM_MODULE_H
#define _SHIM_MODULE_H

#define THIS_MODULE		NULL
#define MODULE_LICENSE(s)	_Static_assert(1, s)
#define MODULE_DESCRIPTION(s)	_Static_assert(1, s)
#define MODULE_PARM_DESC(name, s) _Static_assert(1, s)

int shim_module_init(void);
void shim_module_exit(void);

#define module_init(f)	int shim_module_init(void) { return f(); } _Static_assert(1, "")
#define module_exit(f)	void shim_module_exit(void) { f(); } _Static_assert(1, "")

void shim_add_param(const char *name, void *value, size_t size);

#define module_param(name, type, mode)						\
static void __attribute__((constructor)) shim_add_##name(void)			\
{										\
	shim_add_param(#name, &name, sizeof(name));				\
}										\
_Static_assert(1, "")

/* Devices */

#define MISC_DYNAMIC_MINOR	255

struct miscdevice {
	int minor;
	const char *name;
	const struct file_operations *fops;
	mode_t mode;
};

int misc_register(struct miscdevice *device);
void misc_deregister(struct miscdevice *device);

#endif /* _SHIM_MODULE_H */
