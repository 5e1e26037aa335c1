#!/usr/bin/env python3
"""Verifies a moltbot book without moltbot: written from docs/reference/ledger.md alone, to share no mistake with it.

Usage: verify_ledger.py [--from-key KEY] [--expect-head HEAD] [--from-checkpoint HEAD] [--json] FOLDER
       verify_ledger.py [--from-key KEY] --samples DIR

FOLDER is the one with the segments in it. KEY is the text that the book was begun with, or its 32 bytes in base64 or hex.
HEAD is what `moltbot ledger checkpoint` printed, a signed note, or <number>:<hash>. With --samples every folder in DIR is
a book, and a line of JSON is printed for each, in the order of their names.

Exit: 0 intact, 3 torn end, 4 tampered, 5 truncated, 6 cannot tell.

Needs Python 3.11 and `cryptography` from PyPI.
"""
import argparse
import base64
import fcntl
import hashlib
import json
import os
import re
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

EXITS = {"intact": 0, "torn": 3, "tampered": 4, "truncated": 5, "unknown": 6}
WORST = ["tampered", "truncated", "unknown", "torn"]
LINE = 512 * 1024  # the longest line, in bytes, with its line feed
TEARABLE = 1024 * 1024 + LINE  # the longest torn end
CHECKPOINT = 256  # records after which a signature is looked at even though a later one will vouch for it
PROBLEMS = 64
SUFFIX = re.compile(rb',"prev":"(.{64})","h":"(.{64})"\}', re.S)
HEAD = re.compile(rb'\{"v":1,"seq":(0|[1-9][0-9]{0,19}),')
SEGMENT = re.compile(r"[0-9]{20}\.mlog")


class Misfit(Exception):
    """A line that does not fit."""


def sha256(data):
    return hashlib.sha256(data).digest()


def decode(text, length):
    """Canonical base64 of so many bytes."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        return None
    return data if len(data) == length and base64.b64encode(data).decode() == text else None


def number(text):
    if isinstance(text, str) and re.fullmatch(r"0|[1-9][0-9]{0,19}", text) and int(text) < 2**64:
        return int(text)
    return None


def has_lost_block(line, offset):
    """Whether a line has a block of zeros in it: a whole one, or the rest of the one in which it begins."""
    zeros = len(line) - len(line.lstrip(b"\0"))
    return (zeros > 0 and (offset + zeros) % 512 == 0) or bytes(512) in line


def key_hash(name, key):
    return sha256(name.encode() + b"\n\x01" + key)[:4]


class Tree:
    """RFC 6962 over hashes of leaves: the perfect subtrees at its right edge, largest first."""

    def __init__(self, size=0, edges=()):
        self.size, self.edges = size, list(edges)

    def push(self, leaf):
        size = self.size
        while size & 1:
            leaf = sha256(b"\x01" + self.edges.pop() + leaf)
            size >>= 1
        self.edges.append(leaf)
        self.size += 1

    def root(self):
        if not self.edges:
            return sha256(b"")
        root = self.edges[-1]
        for left in reversed(self.edges[:-1]):
            root = sha256(b"\x01" + left + root)
        return root

    def copy(self):
        return Tree(self.size, self.edges)

    def __eq__(self, other):
        return (self.size, self.edges) == (other.size, other.edges)


class Note:
    """A signed note of a book, in exactly the form in which it is written."""

    def __init__(self, whole):
        form = (
            r"(?P<text>(?P<origin>moltbot/[^\n]*)\n(?P<size>[0-9]+)\n(?P<root>[^\n]*)\n"
            r"(?:epoch (?P<epoch>[0-9]+) (?P<key>[^\n]*)\n)?)\n\u2014 (?P<name>[^\n]*) (?P<signature>[^ \n]*)\n"
        )
        found = re.fullmatch(form, whole) if isinstance(whole, str) else None
        if not found:
            raise Misfit("it has no signed note")
        self.whole, self.text, self.origin = whole, found["text"], found["origin"]
        self.size, self.root = number(found["size"]), decode(found["root"], 32)
        self.epoch = self.key = None
        if found["epoch"] is not None:
            self.epoch, self.key = number(found["epoch"]), decode(found["key"], 32)
            if self.epoch is None or self.key is None:
                raise Misfit("it has no signed note")
        self.signature = decode(found["signature"], 68)
        if self.size is None or self.root is None or self.signature is None or found["name"] != self.origin:
            raise Misfit("it has no signed note")

    def is_signed_by(self, key):
        if self.signature[:4] != key_hash(self.origin, key):
            return False
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(self.signature[4:], self.text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


class Line:
    """A line that is a record: its place in the chain and, for records of the book's own, its details."""

    def __init__(self, data):
        found = SUFFIX.fullmatch(data, max(0, len(data) - 146))
        if not found:
            raise Misfit("it does not end like a record")
        self.data, self.previous, self.own = data, found[1], found[2]
        self.leaf = sha256(b"\0" + data[:-146] + b"}" + self.previous)
        seq = HEAD.match(data)
        self.seq = int(seq[1]) if seq else None
        action = data.find(b',"action":"')
        self.action = data[action + 11 :].split(b'"', 1)[0] if action >= 0 else b""

    def is_whole(self):
        return self.leaf.hex().encode() == self.own

    def details(self):
        try:
            details = json.loads(self.data)["details"]
        except (ValueError, KeyError, TypeError) as error:
            raise Misfit("it is no record") from error
        if not isinstance(details, dict):
            raise Misfit("it is no record")
        return details

    def claims(self):
        """What the first line of a segment says about what was before it; None when it does not, or cannot be so."""
        if self.action not in (b"ledger.segment", b"ledger.tampered"):
            return None
        try:
            details = self.details()
            edges = details["edges"]
            if re.fullmatch(r"(?:[0-9a-f]{64})*", edges) is None:
                return None
            edges = [bytes.fromhex(edges[at : at + 64]) for at in range(0, len(edges), 64)]
            size, root = number(details["size"]), decode(details["root"], 32)
            trust = (
                details["origin"],
                decode(details["first_key"], 32),
                number(details["epoch"]),
                decode(details["key"], 32),
            )
            pruned = number(details["pruned"])
            tampering = None
            if "tampered" in details:
                tampering = (details["file"], number(details["line"]), details["what"], number(details["tampered"]))
        except (Misfit, KeyError, TypeError):
            return None
        if None in (size, root, pruned, *trust) or (tampering and None in tampering):
            return None
        tree = Tree(size, edges)
        if size.bit_count() != len(edges) or tree.root() != root or size + 1 != self.seq or not self.is_whole():
            return None
        return {"tree": tree, "trust": trust, "pruned": pruned, "tampering": tampering}


class Book:
    """One verification."""

    def __init__(self, folder, from_key=None, expect=None, trusted=None):
        self.folder, self.from_key = folder, from_key
        self.known = [(seq, h, root, "the expected head") for seq, h, root in expect or []]
        self.known += [(seq, h, root, "the checkpoint") for seq, h, root in trusted or []]
        self.trusted = trusted
        self.problems = []
        self.tree, self.previous = Tree(), b"0" * 64
        self.trust = None  # origin, first key, epoch, key
        self.unsettled = None  # note, key, file, line
        self.signed = self.records = self.segments = self.checkpoints = self.signatures = self.epochs = 0
        self.recovered = self.pruned = self.first = 0
        self.tampering, self.closed, self.open, self.lost = None, False, False, False
        self.stones, self.ends = [], []
        self.contradicted, self.unmet = [], []
        self.note = None

    def found(self, outcome, file, line, what):
        if len(self.problems) < PROBLEMS:
            self.problems.append({"outcome": outcome, "file": file, "line": line, "what": what})

    def verify(self):
        try:
            self.walk()
        except OSError as error:
            self.found("unknown", os.path.basename(self.folder), 0, f"it cannot be read: {error}")
        outcomes = {problem["outcome"] for problem in self.problems}
        outcome = next((outcome for outcome in WORST if outcome in outcomes), "intact")
        report = {"outcome": outcome, "exit": EXITS[outcome], "records": self.records, "segments": self.segments}
        report.update(first=self.first, last=self.tree.size, checkpoints=self.checkpoints, signatures=self.signatures)
        report.update(epochs=self.epochs, recovered=self.recovered, pruned=self.pruned)
        report.update(closed=self.closed, open=self.open, head=None, public_key=None)
        if self.records:
            root = base64.b64encode(self.tree.root()).decode()
            report["head"] = {"seq": self.tree.size, "h": self.previous.decode(), "root": root}
            if self.note:
                report["head"]["note"] = self.note
        if self.trust:
            origin, first = self.trust[:2]
            key = base64.b64encode(b"\x01" + first).decode()
            report["public_key"] = f"{origin}+{key_hash(origin, first).hex()}+{key}"
        report["problems"] = self.problems
        return report

    def walk(self):
        self.open = self.is_open()
        self.read_register()
        segments = sorted(name for name in os.listdir(self.folder) if SEGMENT.fullmatch(name))
        segments = [(name, int(name[:20])) for name in segments]
        start = self.start(segments)
        for at in range(start, len(segments)):
            self.segments += 1
            self.segment(*segments[at], at + 1 == len(segments))
        self.settle_or_tell()
        if segments and start == 0:
            self.require_beginning(*segments[0])
        self.known.sort(key=lambda known: -known[0])
        self.compare(segments)
        if not segments and not self.problems:
            self.found("unknown", os.path.basename(self.folder), 0, "there is no book")
        if self.trust is None and self.from_key and not self.problems:
            what = "the book has no key yet, so the given one cannot be compared"
            self.found("unknown", os.path.basename(self.folder), 0, what)

    def is_open(self):
        try:
            with open(os.path.join(self.folder, "writer.lock"), "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def read_register(self):
        try:
            with open(os.path.join(self.folder, "head"), "rb") as file:
                text = file.read(16 * 1024 + 1)
        except FileNotFoundError:
            return
        try:
            known = parse_head(text.decode())
        except (ValueError, Misfit):
            self.found("tampered", "head", 1, "it does not hold a head of the book")
            return
        self.known += [(seq, h, root, "head") for seq, h, root in known]

    def start(self, segments):
        self.first = segments[0][1] if segments else 0
        self.lost = self.first > 1
        if not self.trusted:
            return 0
        start = max([at for at, (_, first) in enumerate(segments) if first <= self.trusted[0][0]], default=0)
        if start > 0:
            self.lost, self.first = True, segments[start][1]
            self.known = [known for known in self.known if known[0] >= self.first]
        return start

    def segment(self, name, first, is_last):
        path = os.path.join(self.folder, name)
        length = count = 0
        with open(path, "rb") as file:
            while True:
                count += 1
                data = file.readline(LINE)
                if not data or (is_last and self.open and not data.endswith(b"\n")):
                    return
                try:
                    if not data.endswith(b"\n"):
                        raise Misfit("it does not end")
                    line = None
                    if count == 1:
                        line = self.enter(first, data[:-1])
                    self.follow(line or Line(data[:-1]), name, count)
                except Misfit as misfit:
                    what = str(misfit)
                    break
                length += len(data)
            file.seek(length)
            tail = file.read(TEARABLE + 1)
        if is_last:
            end = tail.find(b"\n")
            is_one = end < 0 or end + 1 == len(tail)
            if len(tail) <= TEARABLE and (is_one or has_lost_block(tail[:end], length)):
                self.found("torn", name, count, what)
                return
        self.found("tampered", name, count, what)
        self.lost = True

    def enter(self, first, data):
        """Enters a segment by its first line."""
        line = claims = None
        try:
            line = Line(data)
            claims = line.claims()
        except Misfit:
            pass
        if line and line.action == b"ledger.tampered" and claims and claims["tampering"]:
            file, at, what, _ = claims["tampering"]
            self.found("tampered", os.path.basename(file), at, f"the book says that it was changed: {what}")
            self.lost = True
        if self.lost and first > 1:
            if not claims:
                raise Misfit("it does not begin with what was before it")
            self.unsettled = None
            self.tree, self.previous = claims["tree"].copy(), line.previous
            self.signed, self.pruned = self.tree.size, claims["pruned"]
            self.trust, self.tampering = claims["trust"], claims["tampering"]
            self.require_first_key()
        self.lost = False
        if first != self.tree.size + 1:
            raise Misfit("its number is not the next one; a segment before it is missing or was cut")
        return line

    def follow(self, line, name, count):
        if line.previous != self.previous:
            raise Misfit("it does not carry on the line before it")
        if line.seq != self.tree.size + 1:
            raise Misfit("its number is not the next one")
        if not line.is_whole():
            raise Misfit("its hash is not that of its content")
        if count == 1 or line.action.startswith(b"ledger."):
            self.judge(line, name, count)
        self.tree.push(line.leaf)
        self.previous = line.own
        self.records += 1
        if line.action not in (b"ledger.checkpoint", b"ledger.epoch"):
            self.closed = line.action == b"ledger.stop"
        if self.known:
            self.meet_known()

    def judge(self, line, name, count):
        action, is_first = line.action.decode(errors="replace"), count == 1
        if action in ("ledger.segment", "ledger.tampered"):
            if not is_first:
                raise Misfit("a segment begins in the middle of another")
            claims = line.claims()
            if not claims:
                raise Misfit("it claims what cannot be")
            if action == "ledger.tampered":
                if claims["tree"] != self.tree:
                    raise Misfit("it does not tell what was before it")
                self.trust, self.tampering = claims["trust"], claims["tampering"]
                return
            same = (claims["tree"], claims["trust"], claims["pruned"], claims["tampering"])
            if same != (self.tree, self.trust, self.pruned, self.tampering):
                raise Misfit("it does not tell what was before it")
            self.ends.append((self.tree.size, self.previous, self.tree.root()))
        elif action == "ledger.genesis":
            details = line.details()
            key, origin = decode(details.get("key"), 32), details.get("origin")
            if key is None or not isinstance(origin, str):
                raise Misfit("it names no key")
            if self.trust:
                raise Misfit("the book begins a second time")
            self.trust = (origin, key, 0, key)
            self.require_first_key()
        elif is_first and self.trust:
            raise Misfit("the segment does not begin with what was before it")
        elif action in ("ledger.checkpoint", "ledger.epoch"):
            self.check_note(Note(line.details().get("note")), action == "ledger.epoch", name, count)
        elif action == "ledger.pruned":
            details = line.details()
            stone = [number(details.get("first")), number(details.get("last")), details.get("hash"), details.get("root")]
            if None in stone or not re.fullmatch(r"[0-9a-f]{64}", stone[2]):
                raise Misfit("it does not tell what was pruned")
            self.pruned = max(self.pruned, stone[1])
            self.stones.append((line.seq, stone))
        elif action == "ledger.accepted":
            self.tampering = None
        elif action == "ledger.recovered":
            self.recovered += 1

    def require_first_key(self):
        if self.from_key and self.trust:
            name, key = self.from_key
            if key != self.trust[1] or name not in (None, self.trust[0]):
                raise Misfit("the book was begun with another key")

    def check_note(self, note, is_last, name, count):
        if not self.trust:
            raise Misfit("the book has no key yet")
        origin, first, epoch, key = self.trust
        if (note.origin, note.size, note.root) != (origin, self.tree.size, self.tree.root()):
            raise Misfit("it does not tell what was before it")
        self.checkpoints += 1
        if (note.epoch is not None) != is_last or (is_last and note.epoch != epoch + 1):
            raise Misfit("it does not name the next key")
        if is_last:
            self.trust = (origin, first, note.epoch, note.key)
            self.epochs += 1
        self.unsettled = (note, key, name, count)
        if is_last or self.tree.size - self.signed >= CHECKPOINT:
            if not self.settle():
                raise Misfit("its signature is not that of the book's key")

    def settle(self):
        """Looks at the last signature that was not looked at: it vouches for those before it."""
        note, key, _, _ = self.unsettled
        self.unsettled = None
        self.signatures += 1
        if not note.is_signed_by(key):
            return False
        self.signed, self.note = note.size, note.whole
        return True

    def settle_or_tell(self):
        if self.unsettled:
            _, _, name, count = self.unsettled
            if not self.settle():
                self.found("tampered", name, count, "its signature is not that of the book's key")

    def meet_known(self):
        size = self.tree.size
        here = [known for known in self.known if known[0] <= size]
        if not here:
            return
        self.known = [known for known in self.known if known[0] > size]
        for known in here:
            seq, h, root, _ = known
            if seq < size:
                self.unmet.append(known)
            elif h not in (None, self.previous) or root not in (None, self.tree.root()):
                self.contradicted.append(known)

    def require_beginning(self, name, first):
        """A book that does not begin with its first record says why, and how its keys came to be."""
        before, claims, ends = first - 1, None, list(self.ends)
        with open(os.path.join(self.folder, name), "rb") as file:
            data = file.readline(LINE)
        try:
            line = Line(data[:-1]) if data.endswith(b"\n") else None
            claims = line.claims() if line else None
        except Misfit:
            pass
        if claims:
            ends.append((claims["tree"].size, line.previous, claims["tree"].root()))
        is_explained = before == 0
        for seq, (start, last, h, root) in self.stones:
            if seq > self.signed:
                continue
            end = next((end for end in ends if end[0] == last), None)
            is_right = end is None or (end[1].decode() == h and base64.b64encode(end[2]).decode() == root)
            if not is_right:
                self.found("tampered", name, 0, "what was pruned is not what the book says")
            is_explained = is_explained or bool(end and is_right and start <= before <= last)
        is_evidence = bool(claims and claims["tampering"] and claims["tampering"][3] == first)
        if not is_explained and not is_evidence:
            what = "what was before it is missing, and nothing says that it was pruned"
            self.found("tampered", name, 1, what)
        if claims and before > 0 and not is_evidence and not self.statements_lead_to(claims["trust"]):
            self.found("tampered", "epochs", 0, "it does not lead to the key of the book")

    def statements_lead_to(self, trust):
        origin, key, last, expected = trust
        epoch = 0
        try:
            with open(os.path.join(self.folder, "epochs"), "rb") as file:
                while epoch < last:
                    note = Note(json.loads(file.readline(4096)))
                    if note.origin != origin or note.epoch != epoch + 1 or not note.is_signed_by(key):
                        return False
                    epoch, key = note.epoch, note.key
        except FileNotFoundError:
            return last == 0 and key == expected
        except (ValueError, Misfit):
            return False
        return key == expected

    def compare(self, segments):
        """Compares the book with what others remember of it."""
        last = self.tree.size
        outcomes = {problem["outcome"] for problem in self.problems}

        def file(seq):
            names = [name for name, first in segments if first <= seq]
            return names[-1] if names else os.path.basename(self.folder)

        for seq, _, _, who in self.contradicted:
            self.found("tampered", file(seq), 0, f"record {seq} is not the one that {who} remembers")
        is_tampered = "tampered" in outcomes or bool(self.contradicted)
        for seq, _, _, who in self.known:
            is_the_torn_one = "torn" in outcomes and seq == last + 1 and who == "head"
            if not is_the_torn_one and not is_tampered:
                what = f"the book ends with record {last}, but {who} remembers record {seq}"
                self.found("truncated", file(last), 0, what)
        for seq, _, _, who in self.unmet:
            if who != "head":
                what = f"record {seq} of {who} was pruned or not read"
                self.found("unknown", os.path.basename(self.folder), 0, what)


def parse_head(text):
    """What a head says: numbers of records with their hash and the root of the tree, as far as it knows them."""
    if text.lstrip().startswith("{"):
        head = json.loads(text)
        seq, h, root, note = head["seq"] if "seq" in head else None, head.get("h"), head.get("root"), head.get("note")
        if not isinstance(seq, int) or isinstance(seq, bool) or seq < 0 or set(head) - {"seq", "h", "root", "note"}:
            raise ValueError
        if (h is None and root is None) or (h is not None and not re.fullmatch(r"[0-9a-f]{64}", h)):
            raise ValueError
        if root is not None and decode(root, 32) is None:
            raise ValueError
        known = [(seq, h and h.encode(), decode(root, 32))]
        if note is not None:
            note = Note(note)
            if note.size > seq:
                raise ValueError
            known.append((note.size, None, note.root))
    elif "\n" in text.strip():
        note = Note(text.rstrip() + "\n")
        known = [(note.size, None, note.root)]
    else:
        found = re.fullmatch(r"([0-9]+):([0-9a-f]{64})", text.strip())
        if not found or number(found[1]) is None:
            raise ValueError
        known = [(number(found[1]), found[2].encode(), None)]
    return [known for known in known if known[0] > 0]


def parse_key(text):
    text = text.strip()
    parts = text.split("+", 2)
    if len(parts) == 3:
        data = decode(parts[2], 33)
        if data and data[0] == 1 and key_hash(parts[0], data[1:]).hex() == parts[1]:
            return parts[0], data[1:]
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return None, bytes.fromhex(text)
    key = decode(text, 32)
    if key is None:
        raise ValueError
    return None, key


def argument(parse, name):
    def read(text):
        try:
            return parse(text)
        except (ValueError, KeyError, TypeError, Misfit) as error:
            raise argparse.ArgumentTypeError(f"this is no {name}") from error

    return read


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from-key", type=argument(parse_key, "public key of a book"))
    parser.add_argument("--expect-head", type=argument(parse_head, "head of a book"))
    parser.add_argument("--from-checkpoint", type=argument(parse_head, "head of a book"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--samples", action="store_true", help="each folder in FOLDER is a book")
    parser.add_argument("folder", metavar="FOLDER")
    given = parser.parse_args()
    if given.samples:
        for name in sorted(os.listdir(given.folder)):
            book = Book(os.path.join(given.folder, name), given.from_key, given.expect_head, given.from_checkpoint)
            print(json.dumps({"sample": name, **book.verify()}))
        return 0
    report = Book(given.folder, given.from_key, given.expect_head, given.from_checkpoint).verify()
    if given.json:
        print(json.dumps(report))
    else:
        print(f"{report['outcome']}: {report['records']} records in {report['segments']} segments")
        for problem in report["problems"]:
            print(f"{problem['outcome']}: {problem['file']}, line {problem['line']}: {problem['what']}")
    return report["exit"]


if __name__ == "__main__":
    sys.exit(main())
