// SPDX-License-Identifier: GPL-2.0
/* The walker: sends every file below the roots, in sorted order. */
#include <errno.h>
#include <fts.h>
#include <stdbool.h>
#include <stdio.h>

#include "digest.h"

/* The character that a directory entry has at @i in the paths that go on there. */
static int path_char(const FTSENT *entry, size_t i)
{
	unsigned char c = entry->fts_name[i];

	return c ? c : entry->fts_info == FTS_D ? '/' : 0;
}

/*
 * The whole list is in byte order if in each directory a subdirectory takes its
 * place as if its name ended in a slash. So one directory at a time is sorted,
 * and never all paths.
 */
static int by_path(const FTSENT **a, const FTSENT **b)
{
	size_t i = 0;

	while ((*a)->fts_name[i] && (*a)->fts_name[i] == (*b)->fts_name[i])
		i++;
	return path_char(*a, i) - path_char(*b, i);
}

/* What cannot be read is on the list too: a worker will get the error. */
static bool is_job(const FTSENT *entry)
{
	switch (entry->fts_info) {
	case FTS_F:
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		return true;
	case FTS_DEFAULT:	/* a device, a FIFO */
	case FTS_SLNONE:	/* a symbolic link to nowhere */
		return entry->fts_level == FTS_ROOTLEVEL;
	default:
		return false;
	}
}

static int send_all(const struct walker *w, FTS *tree)
{
	struct chanfd_opt opt = CHANFD_OPT_INIT;
	struct job job = { 0 };
	FTSENT *entry;

	opt.context = w->context;
	while ((errno = 0, entry = fts_read(tree))) {
		if (!is_job(entry))
			continue;
		snprintf(job.path, sizeof(job.path), "%s", entry->fts_path);
		if (chanfd_send(w->index, &job, job_size(&job), &opt) ||
		    chanfd_send(w->paths, &job, job_size(&job), &opt))
			return errno;
		job.number++;
	}
	return errno;
}

int walk(const struct walker *w)
{
	FTS *tree = fts_open(w->roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_path);
	int err = tree ? send_all(w, tree) : errno;

	/*
	 * Closed with 0 it was the whole list, and a walker that dies closes nothing. The
	 * parent is to know before the last worker can go.
	 */
	chanfd_close(w->index, err);
	chanfd_close(w->paths, err);
	if (tree)
		fts_close(tree);
	return err;
}
