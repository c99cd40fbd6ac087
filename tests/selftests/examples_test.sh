#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The small programs of tools/examples: what they print, and that they survive what they
# are there to survive. Nobody is left behind, whatever happens. Arguments: only these.

top=$(cd "$(dirname "$0")" && pwd)
while [ ! -d "$top/tools/examples" ] && [ "$top" != / ]; do
	top=$(dirname "$top")
done
examples=$top/tools/examples

tmp=$(mktemp -d) || exit
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit

# ------------------------------------------------------------- what to check

# check CONDITION...: remember that the test failed, and where.
check() {
	"$@" && return
	echo "# failed: $*"
	sed 's/^/# stdout: /' out
	sed 's/^/# stderr: /' err
	failed=1
}

# run PROGRAM ARGUMENT...: what comes out is in out, err and $status. One that hangs fails.
run() {
	program=$1
	shift
	timeout -s KILL 500 "$examples/$program" "$@" >out 2>err
	status=$?
}

# start PROGRAM ARGUMENT...: the same, to go on meanwhile; finish waits for its end.
start() {
	program=$1
	shift
	"$examples/$program" "$@" >out 2>err 9>&- &
	pid=$!
}
finish() {
	check eventually ended "$pid"
	kill -9 "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	status=$?
}

status_is() { [ "$status" = "$1" ]; }
prints() { [ "$(cat out)" = "$1" ]; }
says() { grep -qF -- "$1" err; }

# Processes of this name, dead ones that nobody has waited for included.
processes() {
	grep -lx "$1" /proc/[0-9]*/comm 2>/dev/null | grep -o '[0-9]*'
}
running() { [ "$(processes "$1" | wc -l)" -ge "$2" ]; }
nobody_left() { [ -z "$(processes "$1")" ]; }
ended() { ! [ -e "/proc/$1" ] || grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; }
nobody_alive() {
	for process in $(processes "$1"); do
		ended "$process" || return
	done
}

# A process of this name has this file open, and is $holder.
holds() {
	for holder in $(processes "$1"); do
		for fd in /proc/"$holder"/fd/*; do
			[ "$(readlink "$fd")" != "$tmp/$2" ] || return 0
		done
	done
	return 1
}

another_holds() { holds "$@" && [ "$holder" != "$victim" ]; }

# eventually CONDITION...: does it come true within a time that no machine needs?
eventually() {
	give_up=$(($(date +%s) + 300))
	until "$@"; do
		[ "$(date +%s)" -lt $give_up ] || return
		sleep 0.05
	done
}

mkfifo fifo other
echo hello >hello
seq 1000 >numbers

# -------------------------------------------------------------------- timeout

timeout_all_done() {
	run timeout 100 hello numbers
	check status_is 0
	check prints "hello: 6 bytes
numbers: 3893 bytes"
	check [ ! -s err ]
}

timeout_passes() {
	run timeout 0.1 fifo other
	check status_is 124
	check prints ""
	check says "2 of 2 files are not read after 0.1 s"
	check nobody_left timeout-reader
}

timeout_file_fails() {
	run timeout 100 hello missing
	check status_is 1
	check prints ""
	check says "a file can't be read: No such file or directory"
}

timeout_reader_killed() {
	start timeout 100 fifo
	check eventually running timeout-reader 1
	kill -9 "$(processes timeout-reader)"
	finish
	check status_is 1
	check prints ""
	check says "1 of 1 readers died"
}

# ------------------------------------------------------------------- pipeline

# The first stage has no end of its own.
pipeline_stops_what_is_before_it() {
	run pipeline 1 385
	check status_is 0
	check prints "10 squares make 385"
	check nobody_left "pipe-.*"
}

pipeline_says_why_it_ended() {
	run pipeline 3037000499 9223372036854775807
	check status_is 1
	check prints ""
	check says "the pipeline ended after 1 squares: Value too large"
	check nobody_left "pipe-.*"
}

# It would take some million messages.
pipeline_stage_killed() {
	for stage in pipe-count pipe-square; do
		start pipeline 1 9000000000000000000
		check eventually running $stage 1
		kill -9 "$(processes $stage)"
		finish
		check status_is 1
		check prints ""
		check says "a stage died after"
		check nobody_left "pipe-.*"
	done
}

# --------------------------------------------------------------------- fanout

fanout_counts() {
	for workers in 1 3 20; do
		run fanout $workers 100000
		check status_is 0
		check prints "9592 primes below 100000"
	done
	check nobody_left fanout-worker
}

fanout_worker_killed() {
	start fanout 3 100000000000
	check eventually running fanout-worker 3
	victim=$(processes fanout-worker | head -n 1)
	kill -9 "$victim"
	finish
	check status_is 1
	check prints ""
	check says "worker $victim died: Killed"
	check nobody_left fanout-worker
}

fanout_parent_killed() {
	start fanout 3 100000000000
	check eventually running fanout-worker 3
	kill -9 $pid
	finish
	check eventually nobody_alive fanout-worker
}

# ------------------------------------------------------------ serve and hedge

# A server each: $1 is the directory, which has the socket beside it.
start_server() {
	"$examples/serve" "$1.socket" "$1" "${2:-100}" >"$1.out" 2>"$1.err" 9>&- &
	eval "$1=\$!"
	check eventually grep -q ready "$1.out"
}
# finish_server NAME STATUS LINE...: what it has printed between its start and its end.
finish_server() {
	eval "server=\$$1"
	check eventually ended "$server"
	kill -9 "$server" 2>/dev/null
	wait "$server" 2>/dev/null
	server_status=$?
	check [ $server_status = "$2" ]
	check [ "$(cat "$1.out")" = "ready
$3" ]
	check nobody_left serve-worker
	check [ ! -e "$1.socket" ]
}
stop_server() {
	eval "kill -TERM \$$1"
	finish_server "$@"
}

# A server's process is in the variable of its name.
fast='' slow='' server=''
mkdir fast slow
mkfifo slow/file
echo "from fast" >fast/file

hedge_first_is_fast() {
	start_server fast
	run hedge 100 file fast.socket slow.socket
	check status_is 0
	check prints "fast.socket says: from fast
0 called off"
	check [ ! -s err ]
	stop_server fast 0 "stopping, 0 in work
1 answered"
}

hedge_calls_off_the_slow_one() {
	start_server fast
	start_server slow 0.1
	run hedge 0.1 file slow.socket fast.socket
	check status_is 0
	check prints "fast.socket says: from fast
1 called off"
	check nobody_left hedge-request
	kill -TERM "$fast" "$slow"
	check eventually ended "$fast"
	check eventually ended "$slow"
	wait "$fast" "$slow"
}

# It does not wait for the delay then.
hedge_first_fails() {
	start_server fast
	run hedge 1000 file nobody.socket fast.socket
	check status_is 0
	check prints "fast.socket says: from fast
0 called off"
	check says "nobody.socket: No such file or directory"
	stop_server fast 0 "stopping, 0 in work
1 answered"
}

hedge_nobody_answers() {
	start_server fast
	run hedge 0.01 missing nobody.socket fast.socket
	check status_is 1
	check prints ""
	check says "fast.socket: No such file or directory"
	check says "no server has answered"
	check nobody_left hedge-request
	stop_server fast 0 "stopping, 0 in work
1 answered"
}

hedge_killed() {
	start_server slow 0.1
	start hedge 0.1 file slow.socket slow.socket
	check eventually running hedge-request 2
	kill -9 $pid
	finish
	check eventually nobody_alive hedge-request
	kill -TERM "$slow"
	check eventually ended "$slow"
	wait "$slow"
}

# With a request in work the server goes on, for this one only.
serve_finishes_what_is_in_work() {
	start_server slow
	start hedge 100 file slow.socket
	check eventually holds serve-worker slow/file
	kill -TERM "$slow"
	check eventually grep -qx "stopping, 1 in work" slow.out
	"$examples/hedge" 100 file slow.socket >late.out 2>late.err
	check [ $? = 1 ]
	check grep -q "slow.socket: Connection refused" late.err
	check holds serve-worker slow/file
	echo "at last" 1<>slow/file
	finish
	check status_is 0
	check prints "slow.socket says: at last
0 called off"
	finish_server slow 0 "stopping, 1 in work
1 answered"
}

serve_grace_period_ends() {
	start_server slow 0.1
	start hedge 100 file slow.socket
	check eventually holds serve-worker slow/file
	kill -TERM "$slow"
	finish
	check status_is 1
	check says "slow.socket: Operation canceled"
	finish_server slow 1 "stopping, 1 in work
0 answered"
	check grep -q "the grace period was over" slow.err
}

# As the terminal does it: to the whole process group.
serve_interrupted() {
	setsid "$examples/serve" slow.socket slow 100 >slow.out 2>slow.err 9>&- &
	slow=$!
	check eventually grep -q ready slow.out
	start hedge 100 file slow.socket
	check eventually holds serve-worker slow/file
	kill -INT "-$slow"
	check eventually grep -qx "stopping, 1 in work" slow.out
	echo "at last" 1<>slow/file
	finish
	check status_is 0
	finish_server slow 0 "stopping, 1 in work
1 answered"
}

serve_killed() {
	start_server slow
	start hedge 100 file slow.socket
	check eventually holds serve-worker slow/file
	kill -9 "$slow"
	wait "$slow" 2>/dev/null
	check eventually nobody_alive serve-worker
	finish
	check status_is 1
	check says "no server has answered"
	rm -f slow.socket
}

# ----------------------------------------------------------------------- bank

bank_no_transfer_is_lost() {
	run bank 3 1000
	check status_is 0
	check prints "4 accounts hold 4000"
}

# With the money in its hands.
bank_holder_dies() {
	run bank 3 1000 500
	check status_is 0
	check prints "4 accounts hold 4000
workers that died: 1, transfers undone: 1"
}

# One after the other, wherever they are; one of the last ones may hold the lock.
bank_workers_killed() {
	start bank 4 1000000000000
	check eventually running bank-worker 4
	for worker in $(processes bank-worker); do
		kill -9 "$worker"
		check eventually ended "$worker"
	done
	finish
	check status_is 0
	check grep -qx "4 accounts hold 4000" out
	check grep -qx "workers that died: 4, transfers undone: [0-4]" out
}

serve_worker_killed() {
	start_server slow
	start hedge 100 file slow.socket
	check eventually holds serve-worker slow/file
	victim=$holder
	kill -9 "$victim"
	check eventually another_holds serve-worker slow/file
	echo "at last" 1<>slow/file
	finish
	check status_is 0
	check prints "slow.socket says: at last
0 called off"
	stop_server slow 0 "stopping, 0 in work
1 answered"
	check grep -qx "serve: worker $victim died: Killed" slow.err
}

# --------------------------------------------------------------------- reload

# configure LINE...: as the file's content, at one moment.
configure() {
	printf '%s\n' "$@" >config.new
	mv config.new config
}
start_reload() {
	exec 9<>fifo
	configure "$@"
	"$examples/reload" config <fifo >out 2>err 9>&- &
	pid=$!
	check eventually running reload-worker 2
}

reload_while_at_work() {
	start_reload Hello
	echo Ann >&9
	check eventually prints "Hello, Ann"
	configure "Good day"
	kill -HUP "$pid"
	check eventually says "version 2"
	echo Bob >&9
	check eventually prints "Hello, Ann
Good day, Bob"
	configure Later degraded
	kill -HUP "$pid"
	check eventually says "version 3"
	echo Cid >&9
	check eventually prints "Hello, Ann
Good day, Bob
Later"
	configure Wrong wrong
	kill -HUP "$pid"
	check eventually says "config: not a greeting"
	echo Dan >&9
	exec 9>&-
	finish
	check status_is 0
	check prints "Hello, Ann
Good day, Bob
Later
Later"
}

# Each request sees one version.
reload_storm() {
	a=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
	b=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
	start_reload $a
	for version in $(seq 2 20); do
		seq 50 >&9
		if [ $((version % 2)) = 0 ]; then
			configure $b
		else
			configure $a
		fi
		kill -HUP "$pid"
		check eventually says "version $version"
	done
	exec 9>&-
	finish
	check status_is 0
	check [ "$(wc -l <out)" = 950 ]
	check [ "$(grep -cxE "($a|$b), [0-9]+" out)" = 950 ]
}

reload_worker_killed() {
	start_reload Hello
	kill -9 "$(processes reload-worker | head -n 1)"
	finish
	exec 9>&-
	check status_is 1
	check nobody_left reload-worker
}

# ------------------------------------------------------------------ supervise

supervise_counts() {
	run supervise 3 numbers hello numbers
	check status_is 0
	check prints "numbers: 1000 lines
hello: 1 lines
numbers: 1000 lines"
	check [ ! -s err ]
	check nobody_left superv-worker
}

supervise_file_fails() {
	run supervise 1 missing hello
	check status_is 1
	check prints "hello: 1 lines"
	check says "missing: No such file or directory"
}

# Twice in a row, with the same job in its hands.
supervise_worker_killed() {
	exec 9<>fifo
	start supervise 2 fifo numbers
	check eventually holds superv-worker fifo
	victim=$holder first=$holder
	kill -9 "$victim"
	check eventually another_holds superv-worker fifo
	victim=$holder
	kill -9 "$victim"
	check eventually another_holds superv-worker fifo
	seq 3 >&9
	exec 9>&-
	finish
	check status_is 0
	check prints "fifo: 3 lines
numbers: 1000 lines"
	check says "worker $first died: Killed"
	check says "worker $victim died: Killed"
	check nobody_left superv-worker
}

# Wherever they are. The FIFO keeps it from coming to its end meanwhile.
supervise_storm() {
	mkdir -p many
	i=0
	while [ $i -lt 100 ]; do
		seq $i >many/$i
		i=$((i + 1))
	done
	{
		echo "fifo: 3 lines"
		for file in many/*; do
			echo "$file: ${file#*/} lines"
		done
	} >expected
	exec 9<>fifo
	start supervise 4 fifo many/*
	i=0
	while [ $i -lt 12 ]; do
		i=$((i + 1))
		check eventually running superv-worker 4
		victim=$(processes superv-worker | sed -n "$((i % 4 + 1))p")
		kill -9 "$victim"
		check eventually gone "$victim"
	done
	check eventually holds superv-worker fifo
	seq 3 >&9
	exec 9>&-
	finish
	check status_is 0
	check cmp out expected
	check [ "$(grep -c "died: Killed" err)" = 12 ]
	check nobody_left superv-worker
}
only_alive() {
	for process in $(processes "$1"); do
		[ "$process" = "$2" ] || ended "$process" || return
	done
}
gone() { ! [ -e "/proc/$1" ]; }

supervise_killed() {
	exec 9<>fifo
	start supervise 3 fifo
	check eventually holds superv-worker fifo
	worker=$holder
	kill -9 "$pid"
	finish
	check eventually only_alive superv-worker "$worker"
	exec 9>&-
	check eventually nobody_alive superv-worker
}

# ------------------------------------------------------------------ run them

usage() {
	for program in bank fanout hedge pipeline reload serve supervise timeout; do
		run $program
		check status_is 2
		check says "usage: $program"
	done
}

no_device() {
	for command in "bank 1 1" "fanout 2 10" "hedge 1 file fast.socket" "pipeline 1 10" "reload config" \
		"serve no.socket fast 1" "supervise 1 hello" "timeout 1 hello"; do
		unshare -m sh -c "mount -t tmpfs none /dev && exec $examples/$command" >out 2>err
		status=$?
		check [ $status != 0 ]
		check says "/dev/chanfd does not show here"
	done
}

tests="bank_no_transfer_is_lost bank_holder_dies bank_workers_killed
	timeout_all_done timeout_passes timeout_file_fails timeout_reader_killed
	pipeline_stops_what_is_before_it pipeline_says_why_it_ended pipeline_stage_killed
	fanout_counts fanout_worker_killed fanout_parent_killed
	hedge_first_is_fast hedge_calls_off_the_slow_one hedge_first_fails
	hedge_nobody_answers hedge_killed serve_finishes_what_is_in_work
	serve_grace_period_ends serve_interrupted serve_worker_killed serve_killed
	reload_while_at_work reload_storm reload_worker_killed
	supervise_counts supervise_file_fails supervise_worker_killed supervise_storm
	supervise_killed usage no_device"

echo "TAP version 13"
# shellcheck disable=SC2086 # words
[ $# -gt 0 ] || set -- $tests
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
