// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Cells.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "call.h"
#include "race.h"

static __u32 size32(size_t size)
{
	return size < UINT32_MAX ? size : UINT32_MAX;
}

static int make(struct chanfd_cell *c, size_t size, unsigned int flags, const char *name)
{
	c->flags = flags;
	c->size = size32(size);
	chanfd_copy_name(c->name, sizeof(c->name), name);
	return chanfd_call_device(CHANFD_IOC_CELL, c);
}

int chanfd_cell(size_t size, unsigned int flags, const char *name)
{
	struct chanfd_cell c = { 0 };

	if (flags & CHANFD_PAIR) {
		errno = EINVAL;
		return -1;
	}
	return make(&c, size, flags, name) ? -1 : c.fd[0];
}

int chanfd_cell_pair(int fd[2], size_t size, unsigned int flags, const char *name)
{
	struct chanfd_cell c = { 0 };

	if (make(&c, size, flags | CHANFD_PAIR, name))
		return -1;
	fd[0] = c.fd[0];
	fd[1] = c.fd[1];
	return 0;
}

int chanfd_cell_load(int cell, struct chanfd_load *l)
{
	int ret = chanfd_call(cell, CHANFD_IOC_LOAD, l);

	if (!ret)
		race_cell_seen();
	return ret;
}

int chanfd_cell_store(int cell, struct chanfd_store *s)
{
	int ret;

	race_ending(cell);
	ret = chanfd_call(cell, CHANFD_IOC_STORE, s);
	if (!ret)
		race_cell_seen();
	return ret;
}

ssize_t chanfd_load(int cell, void *buf, size_t size, uint64_t *version)
{
	struct chanfd_load l = { .buf = (uintptr_t)buf, .size = size32(size) };

	if (chanfd_cell_load(cell, &l))
		return -1;
	if (version)
		*version = l.version;
	return l.size;
}

static int store(int cell, struct chanfd_store *s, const void *buf, size_t size,
		 uint64_t *version)
{
	s->buf = (uintptr_t)buf;
	s->size = size32(size);
	if (chanfd_cell_store(cell, s))
		return -1;
	if (version)
		*version = s->version;
	return 0;
}

int chanfd_store(int cell, const void *buf, size_t size, uint64_t *version)
{
	struct chanfd_store s = { 0 };

	return store(cell, &s, buf, size, version);
}

ssize_t chanfd_swap(int cell, const void *buf, size_t size, void *old, size_t old_size,
		    uint64_t *version)
{
	struct chanfd_store s = {
		.flags = CHANFD_SWAP,
		.old = (uintptr_t)old,
		.old_size = size32(old_size),
	};

	return store(cell, &s, buf, size, version) ? -1 : (ssize_t)s.old_size;
}

int chanfd_compare_and_store(int cell, uint64_t expected, const void *buf, size_t size,
			     uint64_t *version)
{
	struct chanfd_store s = { .flags = CHANFD_IF_VERSION, .version = expected };

	return store(cell, &s, buf, size, version);
}

int chanfd_cell_wait(int cell, uint64_t known, const struct chanfd_opt *opt,
		     uint64_t *version)
{
	struct chanfd_outcome out;

	if (chanfd_select_one(CHANFD_CHANGED(cell, known), opt, &out))
		return -1;
	if (version)
		*version = out.number;
	return 0;
}

int chanfd_cell_info(int cell, struct chanfd_cell_info *info)
{
	return chanfd_call(cell, CHANFD_IOC_CELL_INFO, info);
}

/* A mapped cell */

const struct chanfd_cell_page *chanfd_cell_map(int cell)
{
	void *page = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ, MAP_SHARED, cell, 0);

	return page == MAP_FAILED ? NULL : page;
}

void chanfd_cell_unmap(const struct chanfd_cell_page *page)
{
	munmap((void *)(uintptr_t)page, sysconf(_SC_PAGESIZE));
}
