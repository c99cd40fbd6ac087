#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Read the results of tests (KTAP) as they come and show each in one line, what a
test wrote only if it failed; at the end "N passed, N failed, N skipped".

A program that reports tests of its own counts as these tests, unless it ended
otherwise than they did. Exit status 1 if anything failed, was planned and did not
run, or nothing ran.
"""

import re
import sys

# "# " in front for each level that a test is inside of another.
RESULT = re.compile(r"((?:# )*)(not )?ok (\d+)\b(?: - | )?([^#]*)(?:#(.*))?$")
PLAN = re.compile(r"((?:# )*)1\.\.(\d+)")
VERSION = re.compile(r"((?:# )*)K?TAP version")
RUN = re.compile(r"#\s+RUN\s+(\S+) \.\.\.$")


class Level:
    """Tests that belong together: as many were planned and as many have ended."""

    def __init__(self):
        self.planned = None
        self.ended = 0
        self.failed = 0


class Report:
    def __init__(self):
        self.levels = []        # open ones, outermost first
        self.count = {"passed": 0, "failed": 0, "skipped": 0}
        self.failures = []
        self.written = []       # by the test that is running
        self.program = ""
        self.running = ""

    def result(self, outcome, name):
        self.count[outcome] += 1
        if outcome == "failed":
            self.failures.append(name)
            self.show()
        self.written.clear()
        self.running = ""
        print(f"{outcome:8}{name}", flush=True)

    def show(self):
        for line in self.written:
            print("    " + re.sub(r"^(# )+", "", line))

    def close(self, depth):
        """The levels from depth on are over; returns whether any tests were on them,
        and whether any of these failed."""
        any_ended = any_failed = False
        while len(self.levels) > depth:
            level = self.levels.pop()
            if level.planned not in (None, level.ended):
                level.failed += 1
                name = self.program if self.levels else "tests"
                self.result("failed", f"{name}: {level.planned} planned, "
                            f"{level.ended} ended")
            any_ended |= level.ended > 0
            any_failed |= level.failed > 0
        return any_ended, any_failed

    def abandon(self):
        """Nothing more will come of the program that was running, if any was."""
        if self.program:
            test = f"{self.program}: {self.running}" if self.running else self.program
            self.result("failed", f"{test} did not end")
            self.program = ""

    def open(self, depth):
        while len(self.levels) <= depth:
            self.levels.append(Level())
        return self.levels[depth]

    def ended(self, match):
        depth = len(match[1]) // 2
        name, remark = match[4].strip(), (match[5] or "").strip()
        outcome = "failed" if match[2] else \
                  "skipped" if remark.upper().startswith("SKIP") else "passed"
        of_program = name.startswith("selftests: ")
        if depth == 0 and not of_program:
            self.abandon()
        children, children_failed = self.close(depth + 1)
        level = self.open(depth)
        level.ended += 1
        level.failed += outcome == "failed" or children_failed
        if of_program:
            name, self.program = self.program, ""
        if children and (outcome == "failed") == children_failed:
            self.written.clear()
            return
        if depth > 0:
            name = f"{self.program}: {name or self.running}"
        if outcome != "passed" and remark:
            name += f" ({remark.removeprefix('SKIP').strip() or remark})"
        self.result(outcome, name)

    def line(self, line):
        if match := RESULT.match(line):
            self.ended(match)
        elif match := PLAN.match(line):
            self.open(len(match[1]) // 2).planned = int(match[2])
        elif match := VERSION.match(line):
            self.close(len(match[1]) // 2)
        elif match := re.match(r"# selftests: \S+: (\S+)$", line):
            self.program = match[1]
            self.written.clear()
        elif match := RUN.search(line):
            self.running = match[1]
            self.written = [line]
        elif line:
            self.written.append(line)

    def finish(self):
        self.abandon()
        self.close(0)
        self.show()
        if self.failures:
            print("\nfailed:")
            for name in self.failures:
                print(f"    {name}")
        print(", ".join(f"{number} {outcome}" for outcome, number in self.count.items()))
        return self.count["failed"] > 0 or self.count["passed"] == 0


def main():
    report = Report()
    sys.stdin.reconfigure(errors="replace")
    for line in sys.stdin:
        report.line(line.rstrip("\r\n"))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
