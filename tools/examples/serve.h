/* SPDX-License-Identifier: GPL-2.0 */
/* What serve.c and its client hedge.c say to each other, over a SOCK_SEQPACKET. */
#ifndef SERVE_H
#define SERVE_H

#include <stddef.h>
#include <stdint.h>

#define NAME_SIZE	256	/* a request is the name of a file */
#define TEXT_SIZE	4096

/* Sent only as far as the text goes. */
struct reply {
	int32_t error;		/* errno, or 0 */
	uint32_t size;		/* of the text */
	char text[TEXT_SIZE];
};

static inline size_t reply_size(const struct reply *reply)
{
	return offsetof(struct reply, text) + reply->size;
}

#endif
