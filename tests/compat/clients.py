#!/usr/bin/env python3
"""Drives the clients of other generations against the real binary, as tests/compat/clients.toml says.

    clients.py run STAGE BINARY TOOLS [--quick]    every row, or the quick ones; fails when one is not as it should be
    clients.py install TOOLS                       puts the clients there, from the npm registry
    clients.py page                                prints docs/compatibility.md
    clients.py check                               compares that page with the table

Nothing of the clients is kept outside TOOLS. Each runs in a fresh home, with the outside network closed to it.
"""

import concurrent.futures
import fcntl
import json
import os
import pathlib
import platform
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import tomllib
import uuid

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
TABLE = tomllib.loads((HERE / "clients.toml").read_text())
PAGE = REPOSITORY / "docs/compatibility.md"
PATIENCE = 60  # seconds for one command: the slowest takes 6
ESCAPES = re.compile(r"\x1b\[[0-9;?<>=]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\x1b[=>78]")


class Wrong(Exception):
    """A row is not as it should be."""


class Client:
    """One published program, in a home of its own."""

    def __init__(self, key, tools, stage):
        self.key, self.facts = key, TABLE["client"][key]
        self.stage = {**stage, "client": self.facts["name"]}
        folder = tools / self.facts["name"] / "node_modules"
        self.node = next(folder.glob("node-linux-*/bin/node"))
        self.start = folder / self.facts["name"] / self.facts["start"]
        self.home = pathlib.Path(tempfile.mkdtemp(prefix=f"moltbot-compat-{key}-"))

    def environment(self, by):
        prefix = self.facts["prefix"]
        closed = "http://127.0.0.1:9"  # the discard port: nothing listens, so that what is asked outside fails at once
        variables = {
            "HOME": str(self.home), "TMPDIR": str(self.home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8",
            "TERM": "xterm-256color", "NO_COLOR": "1", "COLUMNS": "200",
            "NODE_USE_ENV_PROXY": "1", "HTTP_PROXY": closed, "HTTPS_PROXY": closed, "NO_PROXY": "127.0.0.1,localhost",
        }
        if by == "our config":
            variables[f"{prefix}_CONFIG_PATH"] = self.stage["config"]
        elif by != "config":
            variables[f"{prefix}_GATEWAY_PORT"] = str(self.stage["port"])
        if by == "token":
            variables[f"{prefix}_GATEWAY_TOKEN"] = self.stage["token"]
        return variables

    def with_config(self, run):
        """Runs with a config of its own that names the gateway, in its place."""
        place = self.home / self.facts["config"]
        place.parent.mkdir(parents=True, exist_ok=True)
        gateway = {"mode": "local", "port": self.stage["port"], "auth": {"mode": "token", "token": self.stage["token"]}}
        place.write_text(json.dumps({"gateway": gateway}))
        try:
            return run()
        finally:
            place.unlink()

    def argv(self, arguments):
        return [str(self.node), str(self.start), *arguments]

    def run(self, arguments, by="token"):
        """Runs one command to its end: its exit code and what it printed, on either stream."""
        ran = subprocess.run(
            self.argv(arguments), env=self.environment(by), cwd=self.home, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE, check=False,
        )
        out, err = ran.stdout.decode(errors="replace"), ran.stderr.decode(errors="replace")
        return ran.returncode, out, err


class Terminal:
    """A program in a pseudo-terminal, and what it wrote on it."""

    def __init__(self, argv, environment, folder):
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(argv[0], argv, environment)
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        self.seen = b""

    def look(self, seconds):
        """Reads what is there; false when the program is gone."""
        ready, _, _ = select.select([self.file], [], [], seconds)
        if not ready:
            return True
        try:
            new = os.read(self.file, 65536)
        except OSError:
            return False
        # What a terminal answers to the questions that programs ask of it.
        for question, answer in ((b"\x1b[6n", b"\x1b[1;1R"), (b"\x1b[c", b"\x1b[?62;c")):
            if question in new:
                os.write(self.file, answer)
        self.seen += new
        return bool(new)

    def text(self):
        return ESCAPES.sub("", self.seen.decode(errors="replace"))

    def wait_for(self, words, seconds=30):
        begin = time.monotonic()
        while words not in self.text():
            if time.monotonic() - begin > seconds or not self.look(0.2):
                raise Wrong(f"the terminal does not show {words!r}; it shows:\n{self.text()[-2000:]}")

    def type(self, words):
        os.write(self.file, words.encode())
        begin = time.monotonic()
        while time.monotonic() - begin < 0.5:  # a line that comes at once with its end counts as pasted
            self.look(0.1)
        os.write(self.file, b"\r")

    def leave(self, seconds=15):
        """Leaves as a person does, by Ctrl-C twice; the code it ends with."""
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            try:
                os.write(self.file, b"\x03")
            except OSError:
                pass
            self.look(0.4)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise Wrong("the terminal program does not leave")


def filled(value, stage):
    """The value with the facts of this run in place of their names."""
    if isinstance(value, str):
        names = {
            "client": stage["client"], "port": str(stage["port"]), "token": stage["token"], "spare": stage["spare"], "once": str(uuid.uuid4()),
            "url": f"ws://127.0.0.1:{stage['port']}", "waiting0": stage["waiting"][0], "waiting1": stage["waiting"][1],
        }
        for name, fact in names.items():
            value = value.replace("{" + name + "}", fact)
        return value
    if isinstance(value, list):
        return [filled(one, stage) for one in value]
    if isinstance(value, dict):
        return {name: filled(one, stage) for name, one in value.items()}
    return value


def compare(row, code, expected, printed, stage):
    if code != expected:
        raise Wrong(f"exit {code} and not {expected}:\n{printed[-2000:]}")
    for text in filled(row.get("says", []), stage):
        if text not in printed:
            raise Wrong(f"does not say {text!r}:\n{printed[-2000:]}")
    for text in filled(row.get("never", []), stage):
        if text in printed:
            raise Wrong(f"says {text!r}:\n{printed[-2000:]}")


def call(client, row):
    """One method by `gateway call`."""
    scope = next(method["scope"] for method in client.stage["methods"] if method["name"] == row["name"])
    # The newest generation signs in with the token alone, which gives no more than to read and to write.
    by = "token" if client.key == "A" or scope in ("operator.read", "operator.write") else "device"
    params = json.dumps(filled(row.get("params", {}), client.stage))
    code, out, err = client.run(["gateway", "call", row["name"], "--params", params, "--json"], by)
    if client.key in row.get("cannot", {}):
        return compare({"says": ["missing scope: operator."]}, code, 1, out + err, client.stage)
    if "fails" in row:
        return compare({**row, "says": [row["fails"]]}, code, 1, out + err, client.stage)
    compare(row, code, 0, out + err, client.stage)
    try:
        answer = json.loads(out)
    except ValueError as error:
        raise Wrong(f"no JSON: {error}:\n{out[-2000:]}") from error
    kinds = {"null": answer is None, "list": isinstance(answer, list)}
    if not kinds.get(row.get("is"), isinstance(answer, dict)):
        raise Wrong(f"the answer is {answer!r:.200}")
    missing = [name for name in row.get("has", "").split() if name not in answer]
    if missing:
        raise Wrong(f"the answer has no {', '.join(missing)}; it has {', '.join(answer)}")


def command(client, row):
    by = row.get("by", "token")
    run = lambda: client.run(filled(row["run"], client.stage), by)
    code, out, err = client.with_config(run) if by == "config" else run()
    compare(row, code, row["exit"], out + err, client.stage)


def chat(client, row):
    row = filled(row, client.stage)
    terminal = Terminal(client.argv(row["start"]), client.environment("token"), client.home)
    terminal.wait_for(row["answers"])
    for typed, answer in row["typed"]:
        terminal.type(typed)
        terminal.wait_for(answer)
    code = terminal.leave()
    if code not in (0, 130, -signal.SIGINT):
        raise Wrong(f"the terminal program leaves with {code}")


def chats(_key):
    """What happens in the terminal program: a name, what does it, and the row."""
    for row in TABLE["chat"]:
        yield " ".join(row["start"]), chat, row


def calls(key):
    """What one client calls. First what is about requests that are forgotten within minutes."""
    for row in TABLE["command"]:
        if row.get("soon") and row.get("for", key) == key:
            yield " ".join(row["run"]), command, row
    for row in TABLE["method"]:
        yield f"gateway call {row['name']}", call, row
    for row in TABLE["command"]:
        if not row.get("soon") and row.get("for", key) == key:
            yield " ".join(row["run"]), command, row


def drive(client, rows, quick):
    """Runs a client's rows in order. For each its name, what was wrong, why it cannot work, and how long it took."""
    done = []
    for name, how, row in rows(client.key):
        if quick and not row.get("quick"):
            continue
        begin = time.monotonic()
        wrong = None
        try:
            how(client, row)
        except (Wrong, subprocess.TimeoutExpired, OSError) as error:
            wrong = str(error)
        if row.get("by"):
            name = f"{name} (by {row['by']})"
        because = row.get("because") or row.get("cannot", {}).get(client.key)
        done.append((name, wrong, because, time.monotonic() - begin))
    return done


def require_complete(stage):
    """Every method of the gateway is in the table, and every one in the table is the gateway's."""
    ours, listed = {method["name"] for method in stage["methods"]}, {row["name"] for row in TABLE["method"]}
    if ours != listed:
        sys.exit(f"tests/compat/clients.toml lacks {sorted(ours - listed)} and has too much {sorted(listed - ours)}")


def run(stage_program, binary, tools, quick):
    begin = time.monotonic()
    stage_process = subprocess.Popen([stage_program, binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    line = stage_process.stdout.readline()
    if not line:
        sys.exit("the stage did not start")
    stage = json.loads(line)
    require_complete(stage)
    try:
        clients = [Client(key, tools, stage) for key in TABLE["client"]]
        # One after the other: both speak in the main session, and a second person's words would stand between theirs.
        spoken = [drive(client, chats, quick) for client in clients]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            called = list(pool.map(lambda client: drive(client, calls, quick), clients))
        results = [chat + call for chat, call in zip(spoken, called)]
        for client in clients:
            shutil.rmtree(client.home, ignore_errors=True)
    finally:
        stage_process.stdin.close()
        stage_process.wait(timeout=30)
    failed = 0
    for client, done in zip(clients, results):
        facts = client.facts
        print(f"\n{facts['name']} {facts['version']} (protocol {facts['protocol']}, Node {facts['node']})")
        for name, wrong, because, seconds in done:
            verdict = "WRONG" if wrong else "cannot" if because else "works"
            print(f"  {verdict:6} {seconds:5.1f} s  {name}")
            if because and not wrong:
                print(f"                 {because}")
            if wrong:
                failed += 1
                print("                 " + wrong.replace("\n", "\n                 "))
    count = sum(len(done) for done in results)
    cannot = sum(1 for done in results for _, wrong, because, _ in done if because and not wrong)
    seconds = time.monotonic() - begin
    print(f"\ncompat: {count - failed - cannot} work, {cannot} cannot, {failed} are not as they should be, {seconds:.0f} s")
    sys.exit(1 if failed else 0)


def install(tools):
    """Each client in a folder of its own, with its Node; scripts of packages are not run."""
    machine = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    for facts in TABLE["client"].values():
        folder = tools / facts["name"]
        wanted = {
            "private": True,
            "dependencies": {
                facts["name"]: facts["version"], f"node-linux-{machine}": facts["node"], **facts["besides"],
            },
            "overrides": facts["overrides"],
        }
        manifest, there = folder / "package.json", folder / "node_modules" / facts["name"] / "package.json"
        if there.exists() and manifest.exists() and json.loads(manifest.read_text()) == wanted:
            continue
        print(f"installing {facts['name']} {facts['version']}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        manifest.write_text(json.dumps(wanted, indent=2))
        subprocess.run(
            ["npm", "install", "--prefix", str(folder), "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund",
             "--no-save", "--fetch-timeout=60000", "--fetch-retries=2", "--loglevel=error"],
            check=True, cwd=folder,
        )


# How a client signs in, for the page.
HOW = {"config": "by its config", "device": "by its device", "our config": "by our config"}


def page():
    """The page for people."""
    clients = TABLE["client"]
    lines = [
        "# Clients of other generations",
        "",
        "The command lines and terminal programs of two published generations are run against the release binary by",
        "`make compat`: " + " and ".join(
            f"{facts['name']} {facts['version']} (protocol {facts['protocol']})" for facts in clients.values()) + ".",
        "This page is written from `tests/compat/clients.toml` (`python3 tests/compat/clients.py page`); a run that does not",
        "find what the table says fails.",
        "",
        "Each client runs in a fresh home and finds the gateway by its own variables: "
        + ", ".join(f"`{facts['prefix']}_GATEWAY_PORT` and `{facts['prefix']}_GATEWAY_TOKEN`" for facts in clients.values())
        + ".",
        "",
        "## What works",
        "",
        "A whole chat in both terminal programs (`tui --message …`), and `gateway call` of every method of",
        "[reference/access.md](reference/access.md), but for those named below. Of the commands:",
        "",
        "| command | " + " | ".join(facts["name"] for facts in clients.values()) + " |",
        "| --- |" + " --- |" * len(clients),
    ]
    works, cannot = {}, {}
    for row in TABLE["command"]:
        name = " ".join(row["run"]).replace("|", "\\|")
        place = cannot if "because" in row else works
        how = HOW.get(row.get("by"), "yes")
        how = "refused" if row["exit"] and how == "yes" else how
        for key in clients:
            if row.get("for", key) == key:
                told = place.setdefault(name, {})
                told[key] = row.get("because") or ", ".join(filter(None, [told.get(key), how]))
    for name, by in works.items():
        lines.append(f"| `{name}` | " + " | ".join(by.get(key, "–") for key in clients) + " |")
    for row in TABLE["method"]:
        for key, because in row.get("cannot", {}).items():
            cannot.setdefault(f"gateway call {row['name']}", {})[key] = because
    lines += ["", "## What does not", "", "| command | of | why |", "| --- | --- | --- |"]
    for name, by in cannot.items():
        of = ", ".join(clients[key]["name"] for key in by)
        lines.append(f"| `{name}` | {of} | {' '.join(dict.fromkeys(by.values()))} |")
    return "\n".join(lines) + "\n"


def main():
    match sys.argv[1:]:
        case ["install", tools]:
            install(pathlib.Path(tools).resolve())
        case ["run", stage, binary, tools, *options] if options in ([], ["--quick"]):
            run(stage, binary, pathlib.Path(tools).resolve(), bool(options))
        case ["page"]:
            print(page(), end="")
        case ["check"]:
            if PAGE.read_text() != page():
                sys.exit("docs/compatibility.md is not what tests/compat/clients.toml says; "
                         "run `python3 tests/compat/clients.py page > docs/compatibility.md`")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
