/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every measurement needs: a clock, a checked message, and the objects
 * that chanfd is compared with, all used in the same way.
 *
 * The clock is CLOCK_MONOTONIC. In the counted mode that ./run boots, one
 * nanosecond is one instruction of the guest.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdnoreturn.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* Ends the measurement with an error: no result is printed. */
noreturn void die(const char *what);
#define check(good, what) do { if (!(good)) die(what); } while (0)

/* CLOCK_MONOTONIC, in nanoseconds. */
uint64_t now(void);

/* The clock may be started and stopped more than once; the time adds up. */
void clock_start(void);
void clock_stop(void);
/* Prints the time on the clock divided by @operations. */
void result(double operations);
void result_value(double value);

/* Reads the beginning of a file as a string. */
void read_text(const char *path, char *text, size_t size);

/* Writes @value to a file of /proc/sys. */
void sysctl(const char *path, long value);

/* How often this process has gone to sleep. */
long sleeps(void);

/*
 * Runs @run(@arg) in a process of its own, so that neither an error nor a hang
 * is the end of the others. Its name is GROUP/MEMBER or GROUP/MEMBER/SIZE, and
 * it is skipped unless the command line selects that.
 */
void measure(void (*run)(const void *arg), const void *arg, const char *group,
	     const char *member, unsigned int size);

/* The groups of each file. */
void measure_pairs(void);
void measure_batches(void);
void measure_pingpongs(void);
void measure_selects(void);
void measure_broadcasts(void);
void measure_locks(void);
void measure_memory(void);
void measure_cells(void);
void measure_pools(void);

/* A message says at both ends which one it is. */
#define MESSAGE_SIZE	64

struct message {
	uint64_t number;
	uint64_t body[6];
	uint64_t inverse;
};

static inline void message_set(struct message *m, uint64_t number)
{
	m->number = number;
	m->inverse = ~number;
}

/* Something that hands messages, or bare signals, from one side to the other. */
struct object {
	const char *name;
	bool bare;	/* carries no message */
	/* fd[0] receives, fd[1] sends; they may be the same */
	void (*open)(int fd[2], unsigned int capacity);
	void (*send)(int fd, const struct message *m);
	void (*recv)(int fd, struct message *m);
};

extern const struct object channel_write, channel_call;
extern const struct object pipes, eventfds, mqueues, seqpackets, futexes;

static inline void message_check(const struct object *o, const struct message *m,
				 uint64_t number)
{
	if (!o->bare)
		check(m->number == number && m->inverse == ~number, "wrong message");
}

#endif
