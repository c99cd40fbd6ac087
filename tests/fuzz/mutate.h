/* SPDX-License-Identifier: GPL-2.0 */
/*
 * New programs, from the description of the interface and from others.
 */
#ifndef FUZZ_MUTATE_H
#define FUZZ_MUTATE_H

#include "program.h"

void seed_random(uint64_t seed);
unsigned int below(unsigned int n);
void make_program(struct program *p);
void mutate_program(struct program *p, const struct program *other);
void delete_step(struct program *p, int at);

#endif /* FUZZ_MUTATE_H */
