"""junit.py LOG REPORT: makes a JUnit report of what `cargo test` printed.

Stable libtest writes no report of its own. What the report says is what the log says: a run that was cut short, or of
which nothing can be read, is an error in it and never an empty report.
"""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

BINARY = re.compile(r"^ +Running (?:unittests )?(\S+) \(.*\)$")
TEST = re.compile(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)(?:,.*)?$")
OUTPUT = re.compile(r"^---- (\S+) stdout ----$")
RESULT = re.compile(
    r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;.* finished in ([0-9.]+)s$"
)
# What XML cannot hold, not even escaped; terminals' colours begin with such a character.
ILLEGAL = re.compile("\x1b\\[[0-9;]*m|[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# As much of a log as a person reads.
TAIL = 100


class Suite:
    """The tests of one binary."""

    def __init__(self, name, began=0):
        self.name = name
        self.began = began
        self.outcomes = {}
        self.outputs = {}
        self.errors = []
        self.seconds = "0"
        # Whether its tests are all told: what follows is what the failed ones printed, which may look like anything.
        self.told = False
        self.ended = False

    def element(self):
        suite = ElementTree.Element("testsuite", name=self.name, time=self.seconds)
        for name, outcome in self.outcomes.items():
            group, _, last = name.rpartition("::")
            classname = f"{self.name}::{group}" if group else self.name
            case = ElementTree.SubElement(suite, "testcase", classname=classname, name=last)
            if outcome == "FAILED":
                failure = ElementTree.SubElement(case, "failure", message="failed")
                failure.text = "\n".join(self.outputs.get(name, []))
            elif outcome == "ignored":
                ElementTree.SubElement(case, "skipped")
        for message, text in self.errors:
            case = ElementTree.SubElement(suite, "testcase", classname=self.name, name="run")
            ElementTree.SubElement(case, "error", message=message).text = text
        counts = {"tests": "testcase", "failures": ".//failure", "errors": ".//error", "skipped": ".//skipped"}
        for name, path in counts.items():
            suite.set(name, str(len(suite.findall(path))))
        return suite


def read(lines):
    """The suites of a log."""
    suites, suite, output = [], None, None
    for number, line in enumerate(lines):
        if found := BINARY.match(line):
            suite, output = Suite(found[1], number), None
            suites.append(suite)
        elif suite is None or suite.ended:
            continue
        elif found := RESULT.match(line):
            passed, failed, ignored = (int(count) for count in found.groups()[:3])
            suite.seconds, suite.ended = found[4], True
            named = [list(suite.outcomes.values()).count(outcome) for outcome in ("ok", "FAILED", "ignored")]
            if named != [passed, failed, ignored]:
                text = f"passed, failed, ignored: {named} by name, {[passed, failed, ignored]} by the result"
                suite.errors.append(("the names of tests could not all be read", text))
        elif not suite.told and (found := TEST.match(line)):
            suite.outcomes[found[1]] = found[2]
        elif (found := OUTPUT.match(line)) and suite.outcomes.get(found[1]) == "FAILED":
            output = suite.outputs.setdefault(found[1], [])
        elif line == "failures:":
            suite.told, output = True, None
        elif output is not None:
            output.append(line)
    for number, suite in enumerate(suites):
        if not suite.ended:
            last = suites[number + 1].began if number + 1 < len(suites) else len(lines)
            text = "\n".join(lines[suite.began : last][-TAIL:])
            suite.errors.append(("its tests did not come to an end", text))
    return suites


def report(text):
    """The report of a log."""
    lines = ILLEGAL.sub("", text).splitlines()
    suites = read(lines)
    if not suites:
        suites = [Suite("cargo test")]
        suites[0].errors.append(("no test ran", "\n".join(lines[-TAIL:])))
    root = ElementTree.Element("testsuites")
    root.extend(suite.element() for suite in suites)
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name)) for suite in root)))
    return root


def main(log, path):
    log, path = Path(log), Path(path)
    text = log.read_text(errors="replace") if log.exists() else f"{log} is not there"
    root = report(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    print(f"{path}: {root.get('tests')} tests, {root.get('failures')} failures, {root.get('errors')} errors")


if __name__ == "__main__":
    main(*sys.argv[1:])
