#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The race detector: programs built with -fsanitize=thread, with each compiler and each
# kind of library, see the edges of libchanfd, and no others (tests/race/race.c). The
# examples and the library's own tests run clean.

here=$(cd "$(dirname "$0")" && pwd)
export TSAN_OPTIONS=

tmp=$(mktemp -d) || exit
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit

number=0 failures=0
# ok NAME COMMAND...: what the command says, and then its result.
ok() {
	name=$1
	shift
	number=$((number + 1))
	if "$@" 2>err; then
		echo "ok $number $name"
	else
		sed 's/^/# /' err
		echo "not ok $number $name"
		failures=$((failures + 1))
	fi
}

# The programs have results of their own. Most have something to report.
programs() {
	"$here/race-$1" "$1" >out 2>reports
	status=$?
	sed 's/^/# /' out
	return $status
}

# clean COMMAND...: it works, and the detector has nothing to say. A process that has
# something to say ends with 66.
clean() {
	TSAN_OPTIONS=exitcode=66 "$@" >out && ! grep ThreadSanitizer err >&2
}

says_jobs() { clean "$here/race-hello" && printf 'job %d\n' 1 2 3 | diff - out >&2; }

digests() {
	mkdir -p tree/dir
	i=0
	while [ $i -lt 50 ]; do
		echo $i >tree/dir/$i
		i=$((i + 1))
	done
	find tree -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum >expected
	clean "$here/race-digest" --workers 3 tree && diff expected out >&2
}

# fails BUG WHAT...: with a library that has this bug, programs whose name begins so do
# not pass, and some are there.
fails() {
	bug=$1 what=$2
	"$here/race-broken-$bug" "$bug" >out 2>reports
	grep -q "^not ok [0-9]* $bug: $what" out && ! grep "^ok [0-9]* $bug: $what" out >&2
}

flavours=$(cd "$here" && ls -d race-*-static race-*-shared)
echo "TAP version 13"
echo "1..$(($(echo "$flavours" | wc -l) + 5))"
for flavour in $flavours; do
	ok "$flavour" programs "${flavour#race-}"
done
ok "finds race-no-acquire" fails race-no-acquire "H"
ok "finds race-one-object" fails race-one-object "another channel"
ok "hello runs clean" says_jobs
ok "digest runs clean" digests
ok "lib_test runs clean" clean "$here/race-lib_test"
[ $failures = 0 ]
