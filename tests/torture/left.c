// SPDX-License-Identifier: GPL-2.0
/*
 * left UID...: these users have no objects, nor will they in a moment.
 */
#include "torture.h"

/* What the user has, once it has made one object to ask. */
static void ask(uid_t uid, unsigned int *objects, unsigned long *bytes)
{
	char path[64], text[1024], *line;
	int ctx;

	if (setresuid(uid, -1, -1))
		err(1, "setresuid");
	ctx = chanfd_context(-1);
	if (setresuid(0, -1, -1))
		err(1, "setresuid");
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ctx);
	if (ctx < 0 || !read_text(path, text, sizeof(text)))
		err(1, "%s", path);
	line = strstr(text, "chanfd-user-objects:");
	if (!line || sscanf(line, "chanfd-user-objects: %u of %*u chanfd-user-bytes: %lu",
			    objects, bytes) != 2)
		errx(1, "%s: no objects", path);
	close(ctx);
	*objects -= 1;
}

int main(int argc, char **argv)
{
	unsigned int objects;
	unsigned long bytes;
	int i;

	for (i = 1; i < argc; i++)
		if (!eventually((ask(atoi(argv[i]), &objects, &bytes), !objects && !bytes)))
			wrong("nobody is left, and user %s has %u objects and %lu bytes", argv[i],
			      objects, bytes);
	return 0;
}
