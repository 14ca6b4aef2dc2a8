# SPDX-License-Identifier: BSD-3-Clause
"""Callers that want no session, as many as a core can make: a program of its own.

  flood.py HOST PORT KIND SECONDS    KIND: silent, byte, garbage, http, hello, comings
"""
import collections
import contextlib
import os
import socket
import sys
import time

OPEN = 400  # connections kept open at a time
SAYS = {"silent": b"", "byte": b"\x16", "http": b"GET / HTTP/1.1\r\n\r\n",
        # a ClientHello that promises 16 KiB, and a plain HELLO that is none
        "hello": b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03", "plain": b"\0\1\0\2\0\1"}


def call(host, port, words):
    s = socket.socket()
    s.settimeout(0.2)
    try:
        s.connect((host, port))
        s.setblocking(False)
        if words:
            s.send(words)
    except OSError:
        pass
    return s


def main():
    host, port, kind, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    deadline = time.monotonic() + seconds
    calls = collections.deque()
    n = 0
    while time.monotonic() < deadline:
        words = os.urandom(200) if kind == "garbage" else SAYS.get(kind, b"")
        calls.append(call(host, port, words))
        n += 1
        while len(calls) > (0 if kind == "comings" else OPEN):
            with contextlib.suppress(OSError):
                calls.popleft().close()
    print(f"{n} calls", flush=True)


if __name__ == "__main__":
    main()
