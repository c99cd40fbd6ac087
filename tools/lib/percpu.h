/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * One pointer per CPU, exchanged without atomic instructions.
 *
 * A restartable sequence (rseq(2)) is a few instructions that the kernel does not let
 * anything come between: if the thread is preempted, moved or interrupted by a signal in
 * it, it is sent to an abort handler before the last instruction has run. So what only
 * threads on the same CPU do to the same pointer cannot interfere. glibc registers each
 * thread. Where there is none of this every attempt fails, and the caller does what it
 * does for an empty or full slot.
 */
#ifndef _CHANFD_PERCPU_H
#define _CHANFD_PERCPU_H

#include <features.h>
#include <limits.h>
#include <linux/membarrier.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/**
 * struct percpu_slot - a pointer for threads on one CPU
 * @pointer:	theirs while @closed is 0; of who closed it otherwise
 * @closed:	not 0 while a thread on any CPU has it for itself
 */
struct percpu_slot {
	void *pointer;
	uint32_t closed;
};

#if defined(__x86_64__) && defined(__LP64__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 35)
#include <sys/rseq.h>

static inline struct rseq *percpu_rseq(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/* The CPU that this thread is on, UINT_MAX or close to it if nobody knows. */
static inline unsigned int percpu_cpu(void)
{
	return *(volatile uint32_t *)&percpu_rseq()->cpu_id;
}

/* Are there restartable sequences, and can other CPUs be told to abort theirs? */
static inline bool percpu_works(void)
{
	return __rseq_size &&
		!syscall(SYS_membarrier,
			 MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0);
}

/*
 * Put @new where @old is, on CPU @cpu. False if something else is there, or the thread is
 * no longer on that CPU, or was disturbed. @slot is read before the thread is known to be
 * on @cpu, but what counts is that nothing comes between the comparisons and the store.
 * The kernel wants RSEQ_SIG before an abort handler; 0f b9 3d makes an invalid
 * instruction of it. The descriptor (3) is forgotten afterwards: the library may be
 * unloaded.
 */
static inline bool percpu_replace(struct percpu_slot *slot, unsigned int cpu, void *old,
				  void *new)
{
	struct rseq *rseq = percpu_rseq();

	__asm__ goto volatile(".pushsection __rseq_cs, \"aw\"\n\t"
		".balign 32\n"
		"3:\n\t"
		".long 0, 0\n\t"
		".quad 1f, 2f - 1f, 4f\n\t"
		".popsection\n\t"
		"leaq 3b(%%rip), %%rax\n\t"
		"movq %%rax, %c[rseq_cs](%[rseq])\n"
		"1:\n\t"
		"cmpl %[cpu], %c[cpu_id](%[rseq])\n\t"
		"jne 5f\n\t"
		"cmpl $0, %c[closed](%[slot])\n\t"
		"jne 5f\n\t"
		"cmpq %[old], %c[pointer](%[slot])\n\t"
		"jne 5f\n\t"
		"movq %[new], %c[pointer](%[slot])\n"
		"2:\n\t"
		"movq $0, %c[rseq_cs](%[rseq])\n\t"
		".pushsection __rseq_abort, \"ax\"\n\t"
		".byte 0x0f, 0xb9, 0x3d\n\t"
		".long %c[signature]\n"
		"4:\n"
		"5:\n\t"
		"movq $0, %c[rseq_cs](%[rseq])\n\t"
		"jmp %l[failed]\n\t"
		".popsection"
		:
		: [rseq] "r" (rseq), [slot] "r" (slot), [cpu] "r" (cpu),
		  [old] "r" (old), [new] "r" (new),
		  [rseq_cs] "i" (offsetof(struct rseq, rseq_cs)),
		  [cpu_id] "i" (offsetof(struct rseq, cpu_id)),
		  [pointer] "i" (offsetof(struct percpu_slot, pointer)),
		  [closed] "i" (offsetof(struct percpu_slot, closed)),
		  [signature] "i" (RSEQ_SIG)
		: "rax", "cc", "memory"
		: failed);
	return true;
failed:
	return false;
}

#else

static inline unsigned int percpu_cpu(void)
{
	return UINT_MAX;
}

static inline bool percpu_works(void)
{
	return false;
}

static inline bool percpu_replace(struct percpu_slot *slot, unsigned int cpu, void *old,
				  void *new)
{
	(void)slot;
	(void)cpu;
	(void)old;
	(void)new;
	return false;
}

#endif

/*
 * Take what is in the slot of any CPU. A slot that is closed is somebody else's, who does
 * just this. The barrier ends every sequence on @cpu that may have found it open; those
 * that begin later find it closed.
 */
static inline void *percpu_steal(struct percpu_slot *slot, unsigned int cpu)
{
	uint32_t open = 0;
	void *pointer;

	if (!__atomic_load_n(&slot->pointer, __ATOMIC_RELAXED) ||
	    !__atomic_compare_exchange_n(&slot->closed, &open, 1, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_RELAXED))
		return NULL;
	pointer = NULL;
	if (!syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ,
		     MEMBARRIER_CMD_FLAG_CPU, cpu)) {
		pointer = slot->pointer;
		slot->pointer = NULL;
	}
	__atomic_store_n(&slot->closed, 0, __ATOMIC_RELEASE);
	return pointer;
}

#endif /* _CHANFD_PERCPU_H */
