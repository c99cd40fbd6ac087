// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU TCG plugin: how many instructions the guest executes, by translation
 * block, while the benchmark's clock runs (bench.c: mark()). At the end prints
 * "ADDRESS INSTRUCTIONS" for each block; ./profile turns that into functions.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu-plugin.h"

#define EXPORT	__attribute__((visibility("default")))

EXPORT int qemu_plugin_version = 1;

struct block {
	struct block *next;
	uint64_t address, length, runs;
};

static struct block *blocks;
static bool counting;

static void count(unsigned int vcpu, void *data)
{
	struct block *b = data;

	(void)vcpu;
	b->runs += counting;
}

static void toggle(unsigned int vcpu, void *data)
{
	(void)vcpu;
	(void)data;
	counting = !counting;
}

static bool is_mark(const struct qemu_plugin_insn *insn)
{
	static const unsigned char xchg_rcx_rcx[] = { 0x48, 0x87, 0xc9 };

	return qemu_plugin_insn_size(insn) == sizeof(xchg_rcx_rcx) &&
	       !memcmp(qemu_plugin_insn_data(insn), xchg_rcx_rcx, sizeof(xchg_rcx_rcx));
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
	struct block *b = calloc(1, sizeof(*b));

	(void)id;
	b->next = blocks;
	b->address = qemu_plugin_tb_vaddr(tb);
	b->length = qemu_plugin_tb_n_insns(tb);
	blocks = b;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, count, QEMU_PLUGIN_CB_NO_REGS, b);
	for (size_t i = 0; i < b->length; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		if (is_mark(insn))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, toggle,
							       QEMU_PLUGIN_CB_NO_REGS, NULL);
	}
}

static void print(uint64_t id, void *data)
{
	char line[64];

	(void)id;
	(void)data;
	for (struct block *b = blocks; b; b = b->next) {
		if (!b->runs)
			continue;
		snprintf(line, sizeof(line), "%jx %ju\n", (uintmax_t)b->address,
			 (uintmax_t)(b->runs * b->length));
		qemu_plugin_outs(line);
	}
}

EXPORT int qemu_plugin_install(uint64_t id, const struct qemu_info *info,
			       int argc, char **argv)
{
	(void)info;
	(void)argc;
	(void)argv;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, print, NULL);
	return 0;
}
