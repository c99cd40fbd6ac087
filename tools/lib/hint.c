// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What to do about an error.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "call.h"

struct hint {
	int err;
	const char *text;
};

/* /dev/chanfd cannot be opened. */
static const struct hint device_hints[] = {
	{
		ENOENT,
		"load the module: sudo modprobe chanfd (if it is not found, build and install it for this kernel)"
	},
	{
		ENXIO,
		"there is a /dev/chanfd but nothing behind it; load the module: sudo modprobe chanfd"
	},
	{
		ENODEV,
		"there is a /dev/chanfd but nothing behind it; load the module: sudo modprobe chanfd"
	},
	{
		EACCES,
		"this user may not open /dev/chanfd; its mode should be 0666: sudo chmod 666 /dev/chanfd"
	},
	{
		EPERM,
		"/dev/chanfd may not be opened here; allow the container to: --device /dev/chanfd"
	},
	{ 0, NULL }
};

/* The module is loaded, but the device does not show: a container, a chroot. */
static const char hidden[] =
	"the module is loaded but /dev/chanfd does not show here; pass it in: --device /dev/chanfd";

/* It can: something else is wrong. */
static const struct hint other_hints[] = {
	{
		EPERM,
		"the handle has no right to that: receive, wait and observe is one, send, add and cancel the other"
	},
	{
		ENOTTY,
		"not a handle of the type that the call is about, or the module is older than the library"
	},
	{
		E2BIG,
		"too many cases or too much to send, or the module is older than the program: load its version"
	},
	{
		EMSGSIZE,
		"the size is not that of the channel's messages: do both sides use the same type?"
	},
	{
		ECONNRESET,
		"the other side is gone without closing the channel: it ended, or closed its last handle"
	},
	{
		EOWNERDEAD,
		"a member ended without being done: it died, or closed its token"
	},
	{
		EDQUOT,
		"this user has too many objects; see max_objects and max_bytes in /sys/module/chanfd/parameters"
	},
	{ 0, NULL }
};

static const char *look_up(const struct hint *hint, int err)
{
	while (hint->text && hint->err != err)
		hint++;
	return hint->text;
}

const char *chanfd_strerror_hint(int err)
{
	const char *text;
	int saved = errno;
	int dev = chanfd_device();

	if (dev >= 0) {
		close(dev);
		text = look_up(other_hints, err);
	} else if (errno != err) {
		text = look_up(other_hints, err);
	} else if (err == ENOENT && !access("/sys/module/chanfd", F_OK)) {
		text = hidden;
	} else {
		text = look_up(device_hints, err);
	}
	errno = saved;
	return text ? text : strerror(err);
}
