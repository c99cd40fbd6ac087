#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The digester of tools/examples: its output is that of sha256sum, whoever dies,
# and when it is stopped nobody is left behind.

top=$(cd "$(dirname "$0")" && pwd)
while [ ! -d "$top/tools/examples" ] && [ "$top" != / ]; do
	top=$(dirname "$top")
done

tmp=$(mktemp -d) || exit
trap 'rm -rf "$tmp"' EXIT
chmod 755 "$tmp"
cp "$top/tools/examples/digest" "$tmp/" || exit
digest=$tmp/digest
cd "$tmp" || exit

# ------------------------------------------------------------- what to check

# check CONDITION...: remember that the test failed, and where.
check() {
	"$@" && return
	echo "# failed: $*"
	sed 's/^/# stderr: /' err
	failed=1
}

# run [OPTION]... PATH...: what comes out is in out, err and $status. One that hangs
# fails.
run() {
	timeout -s KILL 500 "$digest" "$@" >out 2>err
	status=$?
}

# expect PATH...: what has to come out.
expect() {
	find -H "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum >expected
}

status_is() { [ "$status" = "$1" ]; }
same_output() { cmp out expected; }
says() { grep -qF -- "$1" err; }

# Processes of the digester, dead ones that nobody has waited for included.
processes() {
	grep -lx "${1:-digest\(-w.*\)\?}" /proc/[0-9]*/comm 2>/dev/null | grep -o '[0-9]*'
}
running() { [ "$(processes "$1" | wc -l)" -ge "$2" ]; }
nobody_left() { [ -z "$(processes)" ]; }

# eventually CONDITION...: does it come true within a time that no machine needs?
eventually() {
	give_up=$(($(date +%s) + 300))
	until "$@"; do
		[ "$(date +%s)" -lt $give_up ] || return
		sleep 0.05
	done
}

# ----------------------------------------------------------------- the trees

# More files than the digester keeps in memory, and every kind of name.
odd_names() {
	mkdir -p odd/sub odd/a odd/a.d "odd/$(printf 'new\nline')" odd/-n
	i=0
	while [ $i -lt 300 ]; do
		echo "$i" >"odd/sub/$i"
		i=$((i + 1))
	done
	: >odd/empty
	seq 100000 >odd/large
	# In byte order a-b, a.c, a/x, a0; and of a.d, a.d/x too.
	# shellcheck disable=SC2016 # this dollar is a dollar
	for name in a-b a.c a/x a0 a.d/x '-n/-c' '*' ' ' "it's" '"' '$x' 'über' \
		"back\\slash" "$(printf 'car\rriage')" "$(printf 'new\nline/x\ny\\n')" \
		"$(printf 'tab\t')" "$(printf 'latin1\344')"; do
		echo "content of $name" >"odd/$name"
	done
	ln -s large odd/link
	mkfifo odd/fifo
}

odd_names
truncate -s 1T endless

# ----------------------------------------------------------------- the tests

identical_output() {
	expect odd
	run odd
	check status_is 0
	check same_output
	check [ ! -s err ]
}

any_number_of_workers() {
	expect odd
	for workers in 1 3 32; do
		run --workers $workers odd
		check status_is 0
		check same_output
	done
}

# A link that is named is followed.
several_paths() {
	expect odd/sub odd/a-b odd/a odd/link
	run odd/sub odd/a-b odd/link odd/a
	check status_is 0
	check same_output
}

nothing_to_do() {
	mkdir -p nothing
	run nothing
	check status_is 0
	check [ ! -s out ]
	check [ ! -s err ]
}

# Root may read everything, so this is done by somebody else.
unreadable_file() {
	mkdir -p closed/dir
	for name in a b c dir/d; do
		echo $name >closed/$name
	done
	chmod 0 closed/b closed/dir
	chmod 666 out err
	nobody="setpriv --reuid 65534 --regid 65534 --clear-groups"
	$nobody sha256sum closed/a closed/c >expected
	$nobody "$digest" closed >out 2>err
	status=$?
	check status_is 1
	check same_output
	check says "digest: closed/b: Permission denied"
	check says "digest: closed/dir: Permission denied"
	check [ "$(wc -l <err)" = 2 ]
}

missing_file() {
	expect odd/a
	run odd/a nosuch
	check status_is 1
	check same_output
	check says "digest: nosuch: No such file or directory"
}

kill_a_worker() {
	expect odd
	run --workers 3 --kill-a-worker=100 odd
	check status_is 0
	check same_output
	check says "kill -9"
	check says "Owner died"
	check says "died: Killed"
	path=$(find odd -type f -print0 | LC_ALL=C sort -z | sed -zn 100p | tr -d '\0')
	check says "$path is done again"
	check nobody_left
}

# The kill comes from outside and hits one of two, while it reads from a FIFO.
killed_from_outside() {
	mkdir -p outside
	mkfifo outside/fifo
	echo x >outside/x
	exec 9<>outside/fifo
	"$digest" --workers 2 outside/fifo outside/x >out 2>err 9>&- &
	digest_pid=$!
	check eventually reader
	victim=$reader
	kill -9 "$victim"
	check eventually another_reader
	echo "from the FIFO" >&9
	exec 9>&-
	wait $digest_pid 2>/dev/null
	status=$?
	{ echo "from the FIFO" | sha256sum | sed 's|-$|outside/fifo|'; sha256sum outside/x; } >expected
	check status_is 0
	check same_output
	check says "($victim) died: Killed"
	check says "outside/fifo is done again"
	check nobody_left
}

# A worker that has the FIFO open.
reader() {
	for reader in $(processes digest-worker); do
		for fd in /proc/"$reader"/fd/*; do
			[ "$(readlink "$fd")" != "$tmp/outside/fifo" ] || return 0
		done
	done
	return 1
}
another_reader() { reader && [ "$reader" != "$victim" ]; }

# A list that is cut short must not look like a short list.
walker_killed() {
	mkdir -p stuck
	mkfifo stuck/0
	cp -r odd/sub stuck/
	exec 9<>stuck/0
	# The FIFO is the first of the list: nothing can be printed, so the
	# walker has to wait before it is through.
	"$digest" --workers 2 stuck/0 stuck/sub >out 2>err 9>&- &
	digest_pid=$!
	check eventually running digest-walker 1
	kill -9 "$(processes digest-walker)"
	wait $digest_pid 2>/dev/null
	status=$?
	check status_is 2
	check says "the walker died"
	# Nor the worker that cannot be told, for it still reads from the FIFO.
	check nobody_left
	exec 9>&-
}

all_workers_killed() {
	"$digest" --workers 3 endless >out 2>err &
	digest_pid=$!
	check eventually running digest-worker 3
	# shellcheck disable=SC2046 # one word for each
	kill -9 $(processes digest-worker)
	wait $digest_pid 2>/dev/null
	status=$?
	check status_is 2
	check says "no worker is left"
	check nobody_left
}

deadline() {
	run --deadline 50ms endless odd
	check status_is 124
	check says "the deadline of 50ms has passed"
	check nobody_left
}

# As the terminal does it: to the whole process group.
interrupted() {
	for signal in 2:INT 15:TERM; do
		setsid "$digest" --workers 3 endless >out 2>err &
		digest_pid=$!
		check eventually running digest-worker 3
		kill -${signal%:*} -$digest_pid
		wait $digest_pid
		status=$?
		check status_is $((128 + ${signal%:*}))
		check says "SIG${signal#*:}"
		check nobody_left
	done
}

# Nobody is there to cancel: the kernel does it.
parent_killed() {
	"$digest" --workers 3 endless >out 2>err &
	digest_pid=$!
	check eventually running digest-worker 3
	kill -9 $digest_pid
	wait $digest_pid 2>/dev/null
	check eventually nobody_alive
}
nobody_alive() {
	for pid in $(processes); do
		grep -q '^State:.*Z' "/proc/$pid/status" 2>/dev/null || return
	done
}

output_fails() {
	"$digest" odd >/dev/full 2>err
	status=$?
	check status_is 2
	check says "the output could not be written"
	check nobody_left
}

wrong_usage() {
	for args in "" "--workers 0 odd" "--deadline 5 odd" "--kill-a-worker --workers 1 odd" "--no-such"; do
		# shellcheck disable=SC2086 # words
		run $args
		check status_is 2
		check [ ! -s out ]
		check [ -s err ]
	done
}

no_device() {
	unshare -m sh -c "mount -t tmpfs none /dev && exec '$digest' odd" >out 2>err
	status=$?
	check status_is 2
	check says "digest: /dev/chanfd: No such file or directory"
	check [ "$(wc -l <err)" = 2 ]	# the other says what to do
}

tests="identical_output any_number_of_workers several_paths nothing_to_do
	unreadable_file missing_file kill_a_worker killed_from_outside walker_killed
	all_workers_killed deadline interrupted parent_killed output_fails wrong_usage
	no_device"

# ------------------------------------------------------------------ run them

echo "TAP version 13"
# shellcheck disable=SC2086 # words
set -- $tests
echo "1..$#"
number=0 failures=0
for test; do
	number=$((number + 1)) failed=0
	$test
	if [ $failed = 0 ]; then
		echo "ok $number $test"
	else
		echo "not ok $number $test"
		failures=$((failures + 1))
	fi
done
[ $failures = 0 ]
