# SPDX-License-Identifier: GPL-2.0
# "make help" says what there is to make.

PREFIX ?= /usr/local

# The kernel to build for: this machine's own if its headers are here, else the one
# that the virtual machine runs. demo, check, lint and bench use the latter.
ifeq ($(origin KERNEL),undefined)
vm-kernel := $$(tools/vm/vm --print-kernel)
running := $(shell uname -r)
KERNEL := $(if $(wildcard /lib/modules/$(running)/build),$(running),$(shell \
	tools/vm/vm --print-kernel 2>/dev/null))
else
vm-kernel := $(KERNEL)
endif
export KERNEL

KDIR ?= /lib/modules/$(KERNEL)/build
KSRC := build/linux-source

# Their Makefiles have the target all; tools/lib's has install, too.
tools := $(patsubst %/Makefile,%,$(wildcard tools/*/Makefile))
users := $(filter-out tools/lib,$(tools))

.PHONY: all
all: module $(tools)

.PHONY: help
help:
	@echo 'make demo        show chanfd at work, in a virtual machine'
	@echo 'make check       lint and run all tests, in a virtual machine; TESTS="chan_test ..."'
	@echo '                 runs only these; VM=0 tests the module loaded here'
	@echo 'make check-all   that, and what follows up to torture: what CI runs'
	@echo 'make model       waiting, and every object, in all orders of their steps'
	@echo 'make litmus      memory order, by the rules of the kernel'
	@echo 'make check-host  the module as a user program: random programs, sanitizers, fuzzing'
	@echo 'make check-debug the tests on kernels that look for bugs themselves'
	@echo 'make torture     kills, signals, no memory, reloads ...; TIME=300 seconds'
	@echo 'make fuzz        random system calls, guided by coverage; TIME=300 seconds'
	@echo 'make coverage    which lines of the module the tests run'
	@echo 'make race        the race detector of the library'
	@echo 'make bench       measure chanfd and its peers'
	@echo 'make             build the module, the library, the tools'
	@echo 'make install     install them (PREFIX=$(PREFIX), DESTDIR=); then: modprobe chanfd'
	@echo 'make uninstall   remove them'
	@echo 'make lint        check the form of all source files'
	@echo 'make clean       remove what was built'
	@echo
	@echo 'KERNEL=$(KERNEL) is the kernel to build for.'

.PHONY: module
module:
	@test -d "$(KDIR)" || { echo 'No headers of a kernel to build for;' \
		'do: sudo apt-get install linux-headers-$(running)' >&2; exit 1; }
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules

.PHONY: $(tools)
$(tools):
	$(MAKE) -C $@ all
$(users): $(filter tools/lib,$(tools))

# Only what is needed of the kernel's source package: its test harness and checkers.
$(KSRC): /usr/src/linux-source-6.1.tar.xz
	@echo "unpacking kselftest and checkpatch from $<"
	@rm -rf $@ $@.new && mkdir -p $@.new
	@tar -C $@.new --strip-components=1 -xJf $< --wildcards \
		'*/tools/testing/selftests/lib.mk' '*/tools/testing/selftests/kselftest*' \
		'*/tools/testing/selftests/run_kselftest.sh' '*/scripts/checkpatch.pl' \
		'*/scripts/spelling.txt' '*/scripts/const_structs.checkpatch'
	@touch $@.new && mv $@.new $@

# The library's Makefile installs the library and both headers.
modules := $(DESTDIR)/lib/modules/$(KERNEL)
rules := $(DESTDIR)$(PREFIX)/lib/udev/rules.d/60-chanfd.rules
load := $(DESTDIR)$(PREFIX)/lib/modules-load.d/chanfd.conf

.PHONY: install uninstall
install: module tools/lib
	install -D -m 644 chanfd.ko $(modules)/updates/chanfd.ko
	$(if $(DESTDIR),,depmod $(KERNEL))
	$(MAKE) -C tools/lib install DESTDIR=$(DESTDIR) PREFIX=$(PREFIX)
	$(if $(DESTDIR),,ldconfig)
	install -D -m 644 udev/60-chanfd.rules $(rules)
	install -D -m 644 udev/chanfd.conf $(load)

uninstall:
	$(RM) $(modules)/updates/chanfd.ko $(rules) $(load)
	$(if $(DESTDIR),,depmod $(KERNEL))
	$(MAKE) -C tools/lib uninstall DESTDIR=$(DESTDIR) PREFIX=$(PREFIX)
	$(if $(DESTDIR),,ldconfig)

.PHONY: clean
clean:
	for dir in $(tools); do $(MAKE) -C $$dir clean || exit; done
	test ! -d "$(KDIR)" || $(MAKE) -C $(KDIR) M=$(CURDIR) clean
	$(RM) -r build

# What follows is made in two steps: only after the first is the kernel known, to
# the shell (make expands all lines of a recipe before it runs the first).
targets := demo check check-all model litmus check-host check-debug torture fuzz coverage \
	   race bench
.PHONY: $(targets) lint
$(targets):
	@tools/setup $@
	@$(MAKE) --no-print-directory $(if $(filter 0,$(VM)),,KERNEL=$(vm-kernel)) run-$@
lint:
	@tools/setup check
	@$(MAKE) --no-print-directory KERNEL=$(vm-kernel) run-lint

.PHONY: run-demo
run-demo: all
	tools/vm/vm --module chanfd.ko -- \
		tools/examples/demo.sh /usr/src/linux-headers-$(KERNEL:-amd64=-common)/include/linux

.PHONY: run-check
run-check: all $(KSRC)
	@{ $(if $(TESTS),,tools/lint;) tests/run $(TESTS); } | tee build/check.log | tests/ktap.py

# Each check runs its broken variants, too, and says so in its report.
.PHONY: run-model run-litmus run-check-host run-check-debug run-torture run-fuzz
run-model:
	@tests/model/run | tests/ktap.py
run-litmus: $(KSRC)
	@tests/litmus/run | tests/ktap.py
run-check-host:
	@tests/host/run $(TIME) | tests/ktap.py
run-check-debug: all $(KSRC)
	@{ tests/debug/run; tests/fault/run; } | tests/ktap.py
run-torture: all $(KSRC)
	@tests/torture/run $(TIME) | tests/ktap.py
run-fuzz: all $(KSRC)
	@tests/fuzz/run $(TIME) | tests/ktap.py

.PHONY: run-coverage
run-coverage: all $(KSRC)
	@tests/coverage/run | tests/ktap.py

.PHONY: run-race
run-race: all $(KSRC)
	@tests/run race_test.sh | tests/ktap.py

# What takes longest is last, and little of what can take any time.
.PHONY: run-check-all
run-check-all: all $(KSRC)
	@{ tools/lint; tests/model/run; tests/litmus/run; tests/host/run; tests/run; \
		tests/torture/run 90; tests/debug/run kasan; } | tee build/check.log | tests/ktap.py

.PHONY: run-bench
run-bench: all
	tools/bench/run

.PHONY: run-lint
run-lint: $(KSRC) $(filter tools/lib,$(tools))
	@tools/lint | tests/ktap.py
