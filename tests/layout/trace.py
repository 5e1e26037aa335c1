#!/usr/bin/env python3
"""Tells which functions a program enters, each once and in order.

usage: trace.py MAP SECONDS PROGRAM ARGUMENT...

MAP is what the linker wrote of PROGRAM (`-Map`). Every function of it gets a breakpoint, which is taken away when it is
met; after SECONDS the program is ended. Printed are the names of the functions' sections. Linux on x86-64 alone.
"""
import ctypes
import os
import re
import signal
import sys
import time

TRACEME, CONT, GETREGS, SETREGS, DETACH, SETOPTIONS = 0, 7, 12, 13, 17, 0x4200
EVENT_EXEC = 4
FOLLOW_ALL_AND_END_WITH_US = 2 | 4 | 8 | 1 << EVENT_EXEC | 0x100000
WAIT_ALL = 0x40000000
BREAKPOINT = 0xCC


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in (
        "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es "
        "fs gs").split()]


LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long


def ptrace(request, process, data=0):
    return LIBC.ptrace(request, process, 0, data)


def sections(path):
    """The functions' sections of a linker's map: address to name."""
    found, inside = {}, False
    with open(path) as lines:
        for line in lines:
            parts = line.split(None, 4)
            if len(parts) < 5:
                continue
            address, size, name = int(parts[0], 16) if re.fullmatch("[0-9a-f]+", parts[0]) else 0, parts[2], parts[4].rstrip()
            if re.fullmatch(r"\.[\w.]+", name):
                inside = name in (".text", ".text.start")
            elif inside and ":(.text." in name and size != "0":
                found[address] = name[name.rindex(":(") + 2:-1]
    return found


class Memory:
    """What a traced process has in memory."""

    def __init__(self, process):
        self.file = open(f"/proc/{process}/mem", "r+b", buffering=0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def read(self, at, count):
        self.file.seek(at)
        got = bytearray()
        while len(got) < count:
            got += self.file.read(count - len(got))
        return got

    def write(self, at, what):
        self.file.seek(at)
        rest = memoryview(bytes(what))
        while rest:
            rest = rest[self.file.write(rest):]


def start(program):
    """Starts the program, stopped before its first instruction."""
    process = os.fork()
    if process == 0:
        ptrace(TRACEME, 0)
        os.execv(program[0], program)
    os.waitpid(process, 0)
    ptrace(SETOPTIONS, process, FOLLOW_ALL_AND_END_WITH_US)
    return process


def base_of(process, path):
    with open(f"/proc/{process}/maps") as maps:
        return min(int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith(path))


def set_breakpoints(process, base, addresses):
    """Sets them all at once; what was there before, by address."""
    first, last = min(addresses), max(addresses)
    with Memory(process) as memory:
        text = memory.read(base + first, last + 1 - first)
        before = {base + address: text[address - first] for address in addresses}
        for address in addresses:
            text[address - first] = BREAKPOINT
        memory.write(base + first, text)
    return before


def run(process, before, seconds):
    """Lets it run; the addresses that it met, in order."""
    met, registers, until, ended = {}, Registers(), time.monotonic() + seconds, False
    ptrace(CONT, process)
    while True:
        if time.monotonic() > until and not ended:
            os.kill(process, signal.SIGKILL)
            ended = True
        try:
            task, status = os.waitpid(-1, WAIT_ALL | os.WNOHANG)
        except ChildProcessError:
            return list(met)
        if task == 0:
            time.sleep(0.0005)
            continue
        if not os.WIFSTOPPED(status):
            if task == process:
                return list(met)
            continue
        stop, event = os.WSTOPSIG(status), status >> 16
        if stop == signal.SIGTRAP and event == 0:
            ptrace(GETREGS, task, ctypes.addressof(registers))
            at = registers.rip - 1
            if at in before:
                # Another thread may have met it in the same moment; then it is taken away twice.
                with Memory(task) as memory:
                    memory.write(at, bytes([before[at]]))
                met.setdefault(at)
                registers.rip = at
                ptrace(SETREGS, task, ctypes.addressof(registers))
            ptrace(CONT, task)
        elif event == EVENT_EXEC and task != process:
            ptrace(DETACH, task)
        else:
            ptrace(CONT, task, 0 if event or stop == signal.SIGSTOP else stop)


def main(map_file, seconds, *program):
    names = sections(map_file)
    process = start(program)
    base = base_of(process, os.path.realpath(program[0]))
    before = set_breakpoints(process, base, list(names))
    met = run(process, before, float(seconds))
    print("\n".join(names[at - base] for at in met))
    print(f"{len(met)} of {len(names)} functions were entered", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
