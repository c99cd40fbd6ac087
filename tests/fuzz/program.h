/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A program: calls, one after the other, of one or two threads. Its text is what is
 * kept, repeated and edited by hand:
 *
 *	collide
 *	0 channel device flags=0x10 elem_size=8 capacity=1 -> h0 h1
 *	0 send h1 context=-1 buf=data size=8 count=1
 *	1 select device context=-1 cases=elements count=2 {fd=h0 op=2 size=8} {fd=-1 op=1}
 *	1 recv h0 ioctl_size=40 context=-1 deadline=now+1000 arg=argend-8 fail=3
 *
 * A line is a call: its thread, its name, the descriptor that it is for, its fields
 * (those not named are 0), its elements, and where the descriptors go that it makes. One
 * descriptor is the default for both. "collide" lets the threads take their steps at the
 * same time. Programs in one file have an empty line between them; # begins a comment.
 */
#ifndef FUZZ_PROGRAM_H
#define FUZZ_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "interface.h"

#define MAX_STEPS	20
#define MAX_ELEMENTS	6
#define NR_HANDLES	16
#define TEXT_SIZE	65536	/* no program's text is longer */

/* What a value's number is added to. */
enum base {
	PLAIN,		/* nothing */
	HANDLE_AT,	/* the descriptor in this place */
	DEVICE_FD,	/* that of /dev/chanfd */
	NOW,		/* CLOCK_MONOTONIC */
	ARG,		/* where a thread has its arguments */
	ARG_END,	/* the end of that memory: what follows is not mapped */
	ELEMENTS_AT,	/* where a thread has its elements */
	PARCEL,		/* a struct chanfd_parcel */
	PARCEL_FDS,	/* descriptors of a message */
	DATA,		/* memory for messages */
	DATA_END,
	COLD,		/* the same, but perhaps not present */
	READ_ONLY,
	UNMAPPED,
	KERNEL,		/* an address of the kernel's */
	TEXT,		/* a string with so many of the character in the next byte */
	GAP,		/* a string with something behind its end */
	NR_BASES
};

struct value {
	uint64_t number;
	enum base base;
};

/**
 * struct step - one call
 * @call:	in calls[]
 * @thread:	0 or 1
 * @fail:	which allocation or copy of it the kernel is to let fail; 0: none
 * @nr_elements: in @elements
 * @ioctl_size:	in its number
 * @tail:	the bytes behind what is known of its argument
 * @out:	places for the descriptors that it makes
 * @on:		what it is for
 * @arg:	where its argument is
 * @fields:	of its argument
 * @elements:	their parts
 */
struct step {
	int call;
	int thread;
	int fail;
	int nr_elements;
	unsigned int ioctl_size;
	int tail;
	int out[2];
	struct value on;
	struct value arg;
	struct value fields[MAX_FIELDS];
	struct value elements[MAX_ELEMENTS][MAX_PARTS];
};

struct program {
	bool collide;
	int nr;
	struct step steps[MAX_STEPS];
};

unsigned int ioctl_size(const struct call *call);
void print_program(const struct program *p, char text[TEXT_SIZE]);
const char *parse_program(const char *text, struct program *p);

#endif /* FUZZ_PROGRAM_H */
