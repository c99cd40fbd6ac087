/* SPDX-License-Identifier: GPL-2.0 */
/*
 * digest: SHA-256 of every file below some directories, by many processes.
 *
 *	          index (unbuffered)
 *	 walker ----------------------> parent ---> standard output, sorted
 *	    |                           ^
 *	    |  paths        results     |
 *	    +--------> workers ---------+
 *
 * The walker tells the parent of every path first, and lets the workers have it
 * then. A worker takes a path on a lease until it has sent the result: what a dead
 * one had in its hands is the next that another takes. Every process closes the ends
 * that are not its own; so each of them learns when the other side of a channel has
 * died.
 */
#ifndef DIGEST_H
#define DIGEST_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <chanfd.h>

#define DIGEST_SIZE	32
#define PATH_SIZE	(PATH_MAX + NAME_MAX + 1)	/* no path of fts(3) is longer */

/* In the channels index and paths: a file. */
struct job {
	uint64_t number;	/* place in the sorted list, from 0 */
	char path[PATH_SIZE];	/* sent only as far as its NUL */
};

static inline size_t job_size(const struct job *job)
{
	return offsetof(struct job, path) + strlen(job->path) + 1;
}

/* In the channel results. */
struct report {
	enum {
		TAKEN,		/* only what was taken before, or is the one to hold */
		DONE
	} what;
	uint32_t worker;
	uint64_t number;	/* of the job */
	int32_t error;		/* errno of this file, or 0 */
	uint8_t digest[DIGEST_SIZE];
};

struct walker {
	char **roots;
	int index, paths;	/* to send to */
	int context;
};

struct worker {
	uint32_t id;
	int paths;		/* to receive from */
	int results;		/* to send to */
	int context;
	uint64_t hold;		/* keep this job until told to stop */
};

/* The processes; each returns 0, or the errno that ended it. */
int walk(const struct walker *w);
int work(const struct worker *w);

#endif
