// SPDX-License-Identifier: GPL-2.0
/*
 * For libFuzzer: bytes are the choices that make a program of one or two threads. It is
 * run, and what happened is checked as for random programs. One thread's outcomes depend
 * on nothing else, so that an input means the same every time.
 */

#include <stdio.h>
#include <stdlib.h>

#include "program.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	execute_start();
	return 0;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct program program;
	static struct history history;
	struct choices c = { .bytes = data, .left = size, .from_bytes = true };
	int stuck;

	generate(&program, &c, 1 + (choose(&c, 4) == 3));
	program.perturb = 0;
	execute(&program, &history, &c);
	if (check(&history, &stuck) != UNEXPLAINED && !history.left)
		return 0;
	printf("# %s\n", history.left ? "memory is left when all is closed" :
	       "what happened cannot be explained by any order of its steps");
	print_program(&program);
	print_history(&history, stuck);
	abort();
}
