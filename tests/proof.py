#!/usr/bin/env python3
"""Checks that what is promised is shown, and says how much of it is.

usage: proof.py JUNIT SKIPPED TABLE...

A TABLE is a file of proof/; its head says what its rows hold. Every test that one names must have run and passed in JUNIT,
cargo-nextest's report, and must not be in SKIPPED, the file in which tests say that this machine cannot run them; those that
tests/skips-allowed.txt lists are told and not counted as shown. Every promise that is expected must have a row; the requirements
of ASVS are those of the list beside the repository, where it is there.
"""
import re
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

EXPECTED = {
    "line": [str(number) for number in range(1, 54)],
    "SEC": [f"{number:02}" for number in range(1, 11)],
    "breaking": [str(number) for number in range(1, 8)],
    "layer": [str(number) for number in range(1, 8)],
    "ASI": [f"{number:02}" for number in range(1, 11)],
    "suite": ["auth-hardening", "rate-limiter", "secrets-encryption", "audit-scoring", "escape-detection", "dm-policy"],
}
# The ids of the requirements of ASVS 5.0, levels 2 and 3.
ASVS = "../shared/data/asvs5-l2l3.tsv"
# The rows of advisories.
ADVISORIES = "../shared/spec/advisories.md"
MEMBERS = {"promise", "tests", "steps", "lines", "matches", "open", "differs", "level", "na"}
SHOWING = ("tests", "steps", "lines", "matches")


def ran(junit):
    """Every test, and whether it passed."""
    for case in ElementTree.parse(junit).iter("testcase"):
        yield case.get("name"), not any(child.tag in ("failure", "error", "skipped") for child in case)


def first_of_lines(path):
    """What stands before the first tab of each line that is no comment."""
    text = Path(path).read_text() if Path(path).exists() else ""
    return {line.split("\t")[0] for line in text.splitlines() if line and not line.startswith("#")}


def advisories():
    """The numbers of all advisories."""
    text = Path(ADVISORIES).read_text() if Path(ADVISORIES).exists() else ""
    return re.findall(r"^\| ([A-P][0-9]{2}[a-z]?) \|", text, re.MULTILINE)


def faults(kind, name, row, passed, rows, steps):
    """What is wrong with a row."""
    yield from (f"knows no `{member}`" for member in row.keys() - MEMBERS)
    if not row.get("promise"):
        yield "has no promise"
    if not any(row.get(member) for member in (*SHOWING, "open", "na")):
        yield "has nothing that shows it, and no reason"
    if row.get("na") and any(row.get(member) for member in (*SHOWING, "open")):
        yield "does not apply, and is shown or open all the same"
    for test in row.get("tests", []):
        if not passed.get(test, False):
            yield f"names {test}, which {'failed' if test in passed else 'did not run'}"
    for step in row.get("steps", []):
        if step not in steps:
            yield f"names `{step}`, which is no step of tests/run.sh"
    for line in row.get("lines", []):
        if str(line) not in rows["line"]:
            yield f"stands for line {line}, which there is not"
    pattern = row.get("matches")
    if pattern and not any(re.search(pattern, test) for test, well in passed.items() if well):
        yield f"matches no test that passed: {pattern}"


def unnamed(page, passed):
    """What is wrong with the page of numbers: each row's last cell names tests that passed, or a step."""
    last = {test.split("::")[-1] for test, well in passed.items() if well}
    for row in (line for line in Path(page).read_text().splitlines() if line.startswith("| ")):
        cells = row.strip("| ").split(" | ")
        names = re.findall(r"`([^`]+)`", cells[-1])
        if cells[0] == "promise" or set(cells[0]) == {"-"}:
            continue
        if not names:
            yield f"{page}: {cells[0]!r} names nothing that shows it"
        for name in names:
            if name not in last and name not in ("make bench", "make compat", "make siege"):
                yield f"{page}: {cells[0]!r} names {name}, which did not run and pass"


def is_shown(row, rows, skipped):
    """Whether all of it is shown here."""
    if row.get("open"):
        return False
    if any(test.split("::")[-1] in skipped or test in skipped for test in row.get("tests", [])):
        return False
    return all(is_shown(rows["line"][str(line)], rows, skipped) for line in row.get("lines", []))


def main(junit, skipped_file, *tables):
    passed = dict(ran(junit))
    skipped = first_of_lines(skipped_file)
    steps = Path("tests/run.sh").read_text().replace("$cargo", "cargo")
    rows, wrong = {}, []
    expected = EXPECTED | {"asvs": [line for line in first_of_lines(ASVS) if line != "id"], "advisory": advisories()}
    for table in tables:
        for kind, of_kind in tomllib.loads(Path(table).read_text()).items():
            rows.setdefault(kind, {}).update(of_kind)
    for kind, path in (("asvs", ASVS), ("advisory", ADVISORIES)):
        if not expected[kind]:
            print(f"promises, {kind}: {path} is not there, so that it is not known whether all have a row")
            expected[kind] = list(rows.get(kind, {}))
    for kind, names in expected.items():
        there = rows.setdefault(kind, {})
        wrong += [f"{kind}.{name} has no row" for name in sorted(names) if name not in there]
        wrong += [f"{kind}.{name} is no promise that is known" for name in there if name not in names]
    for kind in set(rows) - set(expected):
        wrong.append(f"{kind} is no kind of promise that is known")
    for kind in expected:
        for name, row in rows[kind].items():
            wrong += [f"{kind}.{name} {fault}" for fault in faults(kind, name, row, passed, rows, steps)]
    for kind, of_kind in rows.items():
        asked = {name: row for name, row in of_kind.items() if not row.get("na")}
        shown = [name for name, row in asked.items() if is_shown(row, rows, skipped)]
        print(f"promises, {kind}: {len(shown)} of {len(asked)} shown, {len(of_kind) - len(asked)} do not apply")
        for name in sorted(asked.keys() - set(shown)) if kind != "asvs" else []:
            print(f"  {kind}.{name} is not shown here: {of_kind[name].get('open', 'this machine skipped a test')}")
    wrong += unnamed("SPECIFICATION.md", passed)
    for fault in sorted(wrong):
        print(f"proof: {fault}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
