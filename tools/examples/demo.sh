#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# demo.sh [TREE]: chanfd at work, on a real directory tree. As root, with the
# module loaded; "make demo" runs it in a virtual machine.
set -eu

cd "$(dirname "$0")"
digest=$PWD/digest
workers=4
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if ! [ -x digest ]; then
	echo "demo: digest is not built; do: make" >&2
	exit 1
fi
if [ $# = 0 ]; then
	set -- /usr/src/linux-headers-*-common/include
fi
tree=$1

title() { printf '\n== %s\n\n' "$*"; }
show() { echo "\$ $*"; }
now() { date +%s%N; }
# took START: how long that is ago.
took() { awk "BEGIN { printf \"%.2f s\", ($(now) - $1) / 1e9 }"; }
bad() {
	echo "demo: $*" >&2
	exit 1
}
same() {
	cmp "$tmp/$1" "$tmp/sha256sum" || bad "the output differs from that of sha256sum"
	echo "The output is byte for byte that of sha256sum."
}
nobody_left() {
	if grep -lx 'digest\(-w.*\)\?' /proc/[0-9]*/comm 2>/dev/null; then
		bad "these processes are left"
	fi
	echo "No process is left."
}

cat <<END
chanfd makes Go's channels, waitgroups, contexts, locks and more file
descriptors that processes share. This program uses the first three:

            index                       one walker process, $workers workers that
  walker -----------> parent            hash, and a parent that prints. Every
     |  paths          ^                arrow is a channel. A waitgroup tells
     +-------> workers-+ results        who is done, or dead; a context stops
                                        them all.
END

mkdir "$tmp/tree"
cp -r "$tree/." "$tmp/tree"
cd "$tmp/tree"
files=$(find . -type f | wc -l)
title "What sha256sum says about $files files, a copy of $tree"
show "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum"
start=$(now)
find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum >"$tmp/sha256sum"
tail -2 "$tmp/sha256sum"
echo "took $(took "$start")"

title "The same with chanfd, by $workers worker processes"
show "digest --workers $workers ."
start=$(now)
"$digest" --workers $workers . >"$tmp/out"
tail -2 "$tmp/out"
echo "took $(took "$start"); each of these small files travels through three messages"
same out
nobody_left

title "Once more, and one worker is killed in mid-run, with a file in its hands"
show "digest --workers $workers --kill-a-worker=$((files / 2)) ."
start=$(now)
"$digest" --workers $workers --kill-a-worker=$((files / 2)) . >"$tmp/out"
echo "took $(took "$start")"
same out
nobody_left

title "Once more, stopped in mid-run to look into it, and then interrupted as by Ctrl-C"
show "digest --workers $workers ."
"$digest" --workers $workers . >"$tmp/interrupted" &
parent=$!
until [ -s "$tmp/interrupted" ]; do
	sleep 0.01
done
kill -STOP $parent
show "ps --pid $parent --ppid $parent"
ps -o pid,stat,wchan:20,comm --pid $parent --ppid $parent
for fdinfo in "/proc/$parent/fdinfo/"*; do
	if grep -q 'chanfd-name:.paths' "$fdinfo"; then
		show "cat $fdinfo"
		cat "$fdinfo"
	fi
done
kill -CONT $parent
kill -INT $parent
status=0
wait $parent || status=$?
echo "exit status $status"
[ $status = 130 ] || bad "exit status 130 was expected"
nobody_left

title "Once more, and it may take no longer than 50 ms"
show "digest --workers $workers --deadline 50ms ."
start=$(now)
status=0
"$digest" --workers $workers --deadline 50ms . >"$tmp/out" || status=$?
echo "took $(took "$start"), exit status $status"
[ $status = 124 ] || bad "exit status 124 was expected"
nobody_left
