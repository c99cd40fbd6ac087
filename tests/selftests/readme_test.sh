#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The program in README.md is the one in tools/examples, and the commands that
# are shown beside it build it and make it print what is shown there.

top=$(cd "$(dirname "$0")" && pwd)
while [ ! -e "$top/README.md" ] && [ "$top" != / ]; do
	top=$(dirname "$top")
done
readme=$top/README.md

tmp=$(mktemp -d) || exit
trap 'rm -rf "$tmp"' EXIT

number=0 failures=0
# ok NAME COMMAND...
ok() {
	name=$1
	shift
	number=$((number + 1))
	if "$@" >"$tmp/log" 2>&1; then
		echo "ok $number $name"
	else
		sed 's/^/# /' "$tmp/log"
		echo "not ok $number $name"
		failures=$((failures + 1))
	fi
}

# block WHAT: the first fenced block of README.md that begins like WHAT.
block() {
	awk -v what="$1" '
		/^```/ { inside = !inside; if (!inside && found) exit; start = inside; next }
		inside && start { start = 0; found = index($0, what) == 1 }
		inside && found' "$readme"
}

install_library() {
	make -s -C "$top/tools/lib" install DESTDIR="$tmp/stage" PREFIX=/usr/local
}

# The lines "$ command", with pkg-config told about the staging directory.
run_commands() {
	block '$ ' | sed -n 's/^\$ //p' >"$tmp/commands"
	[ -s "$tmp/commands" ] || return
	cd "$tmp" || return
	PKG_CONFIG_SYSROOT_DIR=$tmp/stage \
	PKG_CONFIG_PATH=$tmp/stage/usr/local/lib/pkgconfig \
	LD_LIBRARY_PATH=$tmp/stage/usr/local/lib sh -e ./commands >out
}

same_program() {
	block '// SPDX' >"$tmp/hello.c"
	diff -u "$top/tools/examples/hello.c" "$tmp/hello.c"
}
# The lines between the commands.
same_output() { block '$ ' | grep -v '^\$ ' | diff -u - "$tmp/out"; }

echo "TAP version 13"
echo "1..4"
ok "the program is tools/examples/hello.c" same_program
ok "the library installs" install_library
ok "the commands build and run it" run_commands
ok "it prints what is shown" same_output
[ $failures = 0 ]
