#!/usr/bin/env python3
"""Prints which defects of the original have a test here, and fails when one of the sections asked for has neither.

usage: defects.py JUNIT NOT_APPLICABLE SECTION...

A test covers defect D-nn when its name has `d_nn_` in it and it ran and passed in JUNIT. NOT_APPLICABLE is a TOML file
with one table a defect, `[D-nn]`, and its `reason`. A SECTION is `first-last`, both numbers included.
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


def main(junit, excluded, *sections):
    covered = {}
    for name in passed(junit):
        for number in re.findall(r"(?<![a-z0-9])d_(\d\d)(?=_)", name):
            covered.setdefault(int(number), []).append(name)
    with open(excluded, "rb") as file:
        reasons = {int(key.removeprefix("D-")): row["reason"] for key, row in tomllib.load(file).items()}
    missing = []
    for section in sections:
        first, last = map(int, section.split("-"))
        for number in range(first, last + 1):
            if number in covered:
                print(f"D-{number}: {len(covered[number])} test(s), such as {covered[number][0]}")
            elif number in reasons:
                print(f"D-{number}: not applicable: {reasons[number]}")
            else:
                missing.append(f"D-{number}")
    for number in sorted(set(reasons) & set(covered)):
        print(f"D-{number} has a test and is listed as not applicable", file=sys.stderr)
        return 1
    if missing:
        print(f"defects without a test and without a reason: {', '.join(missing)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
