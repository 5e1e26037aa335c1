#!/usr/bin/env python3
"""Prints which defects of the original and which advisories have a test here, and fails when one that is asked for has
neither a test nor a reason.

usage: defects.py JUNIT NOT_APPLICABLE SECTION...

A test covers defect D-nn when its name has `d_nn_` in it, and advisory Jnn when it has `jnn_`, and it ran and passed in
JUNIT. NOT_APPLICABLE is a TOML file with one table each, `[D-nn]` or `[Jnn]`, and its `reason`. A SECTION is `first-last`
of defects, both numbers included, or the rows of a class of advisories, `J:01,02,04`.
"""
import re
import sys
import tomllib
import xml.etree.ElementTree as ElementTree


def passed(junit):
    """The names of all tests that ran and passed."""
    for case in ElementTree.parse(junit).iter("testcase"):
        if not any(child.tag in ("failure", "error", "skipped") for child in case):
            yield case.get("name")


def names(section):
    """What a section asks for: the key in NOT_APPLICABLE of each, and the form of its tests' names."""
    if ":" in section:
        letter, rows = section.split(":")
        return [(f"{letter}{row}", f"{letter.lower()}{row}") for row in rows.split(",")]
    first, last = map(int, section.split("-"))
    return [(f"D-{number:02}", f"d_{number:02}") for number in range(first, last + 1)]


def check(kind, asked, ran, reasons):
    """Prints what covers each, and a count; the keys of those that nothing covers, or that have both."""
    tested, excused, wrong = 0, 0, []
    for key, form in asked:
        covering = [name for name in ran if re.search(rf"(?<![a-z0-9]){form}(?=_)", name)]
        if covering and key in reasons:
            wrong.append(f"{key} (a test, and listed as not applicable)")
        elif covering:
            tested += 1
            print(f"{key}: {len(covering)} test(s), such as {covering[0]}")
        elif key in reasons:
            excused += 1
            print(f"{key}: not applicable: {reasons[key]}")
        else:
            wrong.append(key)
    print(f"{kind}: {tested} tested, {excused} not applicable, {len(wrong)} open")
    return wrong


def main(junit, excluded, *sections):
    ran = sorted(passed(junit))
    with open(excluded, "rb") as file:
        reasons = {key: row["reason"] for key, row in tomllib.load(file).items()}
    wrong = []
    for kind, is_class in (("defects", False), ("advisories", True)):
        asked = [pair for section in sections if (":" in section) == is_class for pair in names(section)]
        if asked:
            wrong += check(kind, asked, ran, reasons)
    if wrong:
        print(f"without a test and without a reason, or with both: {', '.join(wrong)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
