/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How the interface is described: see interface.c, which does it.
 */
#ifndef FUZZ_INTERFACE_H
#define FUZZ_INTERFACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a value is, for those who make it up. */
enum kind {
	OUT = 1,	/* only the kernel writes it, or it is reserved: 0 */
	NUMBER,		/* one of @numbers */
	FLAGS,		/* some bits of @bits */
	HANDLE,		/* a descriptor of one of @types that has all of @rights */
	OPTIONAL,	/* the same, or -1 */
	POINTER,	/* to memory for data */
	ELEMENTS,	/* to the call's elements */
	COUNT,		/* how many elements, or messages; usually one of @numbers */
	BYTES,		/* how many bytes the messages have */
	DEADLINE,
	STRING,		/* bytes, usually NUL-terminated */
	FDS,		/* pointer to descriptors, or 0: see write_descriptors() */
};

/* Types of descriptors. */
enum {
	DEVICE		= 1 << 0,
	CHANNEL		= 1 << 1,
	WAITGROUP	= 1 << 2,
	TOKEN		= 1 << 3,
	CONTEXT		= 1 << 4,
	FOREIGN		= 1 << 5,	/* that can be polled, read and written */
	EPOLL		= 1 << 6,
	LOCK		= 1 << 7,
	CONDITION	= 1 << 8,
	CELL		= 1 << 9,
	LEASE		= 1 << 10,
	OURS		= CHANNEL | WAITGROUP | TOKEN | CONTEXT | LOCK | CONDITION | CELL | LEASE,
	ANY		= DEVICE | OURS | FOREIGN | EPOLL,
};

/**
 * struct field - a member of a structure, or an argument
 * @of:		the structure's name, NULL for an argument
 * @name:	its name
 * @offset:	where it is
 * @size:	its bytes
 * @kind:	what it is
 * @types:	of HANDLE and OPTIONAL
 * @rights:	likewise
 * @bits:	of FLAGS
 * @numbers:	of NUMBER and COUNT
 * @nr:		of @numbers
 */
struct field {
	const char *of;
	const char *name;
	size_t offset;
	size_t size;
	enum kind kind;
	unsigned int types;
	unsigned int rights;
	uint64_t bits;
	const int64_t *numbers;
	int nr;
};

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

#define MAX_FIELDS	16
#define MAX_PARTS	6	/* fields of an element */
#define ARG_SIZE	256	/* no structure is larger */

/**
 * struct call - one call
 * @name:	its name
 * @define:	the name of the ioctl; NULL for a system call
 * @ioctl:	its number
 * @run:	the system call: @a has the arguments in the order of @fields
 * @types:	of descriptors that it is for; 0: it takes none
 * @rights:	that it needs
 * @weight:	how often it is chosen
 * @makes:	type of descriptors that it makes; OURS: the same as what it is for
 * @pair:	they are two, found at @made_at of its argument
 * @made_at:	where one is that is not returned; 0: it is
 * @steady:	its argument must stay what it is: the other thread leaves it alone
 * @fields:	of its argument; ends with one without a name
 * @parts:	of its elements, likewise; NULL if it has none
 * @stride:	bytes of an element
 */
struct call {
	const char *name;
	const char *define;
	unsigned int ioctl;
	long (*run)(int fd, uint64_t *a);
	unsigned int types;
	unsigned int rights;
	int weight;
	unsigned int makes;
	bool pair;
	size_t made_at;
	bool steady;
	const struct field *fields;
	const struct field *parts;
	size_t stride;
};

extern const struct call calls[];
extern const int nr_calls;

int find_call(const char *name);
int nr_fields(const struct field *fields);

#endif /* FUZZ_INTERFACE_H */
