# SPDX-License-Identifier: GPL-2.0
# Programs with a race detector in them, for race_test.sh; included by its Makefile.

race := $(top)/tests/race
examples := $(top)/tools/examples

# With each compiler that is here, and each kind of library.
compilers := gcc $(if $(shell command -v clang),clang)
TEST_GEN_FILES := $(foreach cc,$(compilers),race-$(cc)-static race-$(cc)-shared) \
	$(addprefix race-broken-race-,no-acquire one-object) \
	race-hello race-digest race-lib_test

RACE_CFLAGS := -std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Wno-unused-parameter \
	-pthread -fsanitize=thread $(CHANFD_CFLAGS)
shared := $(chanfd-lib)/libchanfd.so.0

$(OUTPUT)/race-%-static: $(race)/race.c $(CHANFD_LIB) | $(OUTPUT)
	$* $(RACE_CFLAGS) -o $@ $< $(CHANFD_LIB)

$(OUTPUT)/race-%-shared: $(race)/race.c $(CHANFD_LIB) | $(OUTPUT)
	$(MAKE) -s -C $(chanfd-lib) $(notdir $(shared))
	$* $(RACE_CFLAGS) -Wl,-rpath,$(chanfd-lib) -o $@ $< $(shared)

# With a library that has the bug tests/broken/%.patch.
$(OUTPUT)/race-broken-%: $(race)/race.c $(top)/tests/broken/%.patch $(CHANFD_LIB) | $(OUTPUT)
	rm -rf $@.tree && mkdir -p $@.tree/tools
	cp -r $(top)/uapi $@.tree && cp -r $(chanfd-lib) $@.tree/tools
	patch -s -p1 -d $@.tree <$(top)/tests/broken/$*.patch
	$(MAKE) -s -C $@.tree/tools/lib libchanfd.a
	gcc $(RACE_CFLAGS) -o $@ $< $@.tree/tools/lib/libchanfd.a

$(OUTPUT)/race-hello: $(examples)/hello.c $(CHANFD_LIB) | $(OUTPUT)
	gcc $(RACE_CFLAGS) -o $@ $^

$(OUTPUT)/race-digest: $(wildcard $(examples)/*.[ch]) $(CHANFD_LIB) | $(OUTPUT)
	gcc $(RACE_CFLAGS) -o $@ $(addprefix $(examples)/,digest.c walker.c worker.c) \
		$(CHANFD_LIB) -lcrypto

$(OUTPUT)/race-lib_test: lib_test.c helpers.h $(CHANFD_LIB) | $(OUTPUT)
	gcc $(RACE_CFLAGS) -isystem $(KSRC)/tools/testing/selftests -o $@ $< $(CHANFD_LIB)

# The goal by default is that of who includes this.
.DEFAULT_GOAL :=
