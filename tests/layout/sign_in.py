#!/usr/bin/env python3
"""Signs in to a gateway on this machine with MOLTBOT_GATEWAY_TOKEN, asks for its health, and leaves.

usage: sign_in.py PORT
"""
import base64
import json
import os
import socket
import sys


def frame(value):
    """A text frame, masked with zeros."""
    payload = json.dumps(value).encode()
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + payload


def next_text(stream):
    """The payload of the next frame."""
    head = stream.read(2)
    length = head[1] & 0x7F
    if length == 126:
        length = int.from_bytes(stream.read(2), "big")
    elif length == 127:
        length = int.from_bytes(stream.read(8), "big")
    return json.loads(stream.read(length))


def main(port):
    wire = socket.create_connection(("127.0.0.1", int(port)), 10)
    stream = wire.makefile("rb")
    key = base64.b64encode(os.urandom(16)).decode()
    wire.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    while stream.readline().strip():
        pass
    next_text(stream)
    client = {"id": "cli", "version": "0", "platform": "linux", "mode": "cli"}
    auth = {"token": os.environ["MOLTBOT_GATEWAY_TOKEN"]}
    params = {"minProtocol": 3, "maxProtocol": 4, "client": client, "scopes": ["operator.read", "operator.write"],
              "auth": auth}
    for number, (method, asked) in enumerate((("connect", params), ("health", {}))):
        wire.sendall(frame({"type": "req", "id": str(number), "method": method, "params": asked}))
        while (answer := next_text(stream)).get("id") != str(number):
            pass
        if not answer.get("ok"):
            sys.exit(f"{method}: {answer}")


if __name__ == "__main__":
    main(*sys.argv[1:])
