# SPDX-License-Identifier: GPL-2.0
#
# How programs in this tree are built against the library that is in it. Include
# this from a Makefile in any directory, compile with $(CHANFD_CFLAGS), link with
# $(CHANFD_LIB) and depend on it: it is built when it is needed.
#
#	include ../lib/flags.mk
#	hello: hello.c $(CHANFD_LIB)
#		$(CC) $(CFLAGS) $(CHANFD_CFLAGS) -o $@ $< $(CHANFD_LIB)

chanfd-lib := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
chanfd-include := $(abspath $(chanfd-lib)/../../build/include)

# <chanfd.h>, and <linux/chanfd.h> as it is found once installed.
CHANFD_CFLAGS := -I$(chanfd-lib) -I$(chanfd-include)
CHANFD_LIB := $(chanfd-lib)/libchanfd.a

ifneq ($(chanfd-lib),$(CURDIR))
$(CHANFD_LIB): FORCE
	@$(MAKE) -s --no-print-directory -C $(chanfd-lib) libchanfd.a
.PHONY: FORCE

# The goal by default stays the first one of who includes this.
.DEFAULT_GOAL :=
endif
