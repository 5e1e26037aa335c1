#!/usr/bin/env python3
"""The main job with real models: `up` finds the server on loopback, `agent` answers, a tool runs in the sandbox.

What a small model says differs between machines; the test asserts structure, and prints what was said.

Usage: run.py BINARY CACHE
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

import fetch

HERE = pathlib.Path(__file__).parent
BINARY, CACHE = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A real model behind an OpenAI-compatible server, on a port where moltbot looks for one."""

    def __init__(self, model: str, name: str, port: int):
        path = fetch.fetch(CACHE, model)
        environment = dict(os.environ, MODEL_MODULES=str(CACHE))
        command = ["node", str(HERE / "server.mjs"), str(path), name, str(port)]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("ready"), f"the model server did not start: {line}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def moltbot(home: str, *arguments: str, timeout: int = 600) -> str:
    environment = {"HOME": home, "PATH": os.environ["PATH"], "NO_COLOR": "1"}
    done = subprocess.run([str(BINARY), *arguments], env=environment, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"moltbot {arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def chat(server_port: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        port = free_port()
        said = moltbot(home, "up", "--detach", "--port", str(port))
        print(said)
        assert str(server_port) in said or "smollm2" in said.lower(), "up does not say which model it will use"
        try:
            moltbot(home, "config", "set", "tools.deny", '["read","write","edit","exec"]')
            moltbot(home, "gateway", "restart")
            answer = json.loads(moltbot(home, "agent", "--json", "--message", "What is the capital of France?"))
            print(json.dumps(answer, indent=1))
            assert answer["status"] == "ok" and answer["text"].strip(), answer
            assert answer["usage"]["totalTokens"] > 0, answer
        finally:
            moltbot(home, "gateway", "stop")


def tools() -> None:
    with tempfile.TemporaryDirectory() as home:
        moltbot(home, "up", "--detach", "--port", str(free_port()))
        try:
            pathlib.Path(home, ".moltbot", "workspace", "harvest-2026.txt").write_text("apples\n")
            prompt = "List the files of the workspace: call the exec tool with the command `ls`, then tell me their names."
            answer = json.loads(moltbot(home, "agent", "--json", "--message", prompt))
            print(json.dumps(answer, indent=1))
            assert answer["status"] == "ok", answer
            runs = [call for call in answer["toolCalls"] if call["name"] == "exec" and not call["isError"]]
            assert runs and "harvest-2026.txt" in runs[0]["result"], "no sandboxed listing among the tool calls"
            assert answer["text"].strip() and not answer["text"].startswith("{"), "no answer in words"
            transcript = moltbot(home, "sessions", "show", "main", "--json")
            assert "harvest-2026.txt" in transcript and "toolResult" in transcript, transcript
        finally:
            moltbot(home, "gateway", "stop")


def main() -> None:
    port = 8080  # where llama.cpp listens, and `up` looks
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            sys.exit(f"port {port} is taken; stop what listens there and try again")
    with Server("small", "smollm2-135m-instruct", port):
        chat(port)
    with Server("large", "qwen2.5-coder-0.5b-instruct", port):
        tools()
    print("2 passed, 0 failed")


if __name__ == "__main__":
    main()
