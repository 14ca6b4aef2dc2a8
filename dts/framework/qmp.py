# SPDX-License-Identifier: BSD-3-Clause
"""A small QMP client."""
import json
import socket
import time


class QmpError(Exception):
    """QEMU refused, went away, or did not answer in time."""


class Qmp:
    """One connection. Events are kept in the order in which they came."""

    def __init__(self, path, timeout=10, oob=False):
        deadline = time.monotonic() + timeout
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(str(path))
                break
            except OSError as why:
                self.socket.close()
                if time.monotonic() > deadline:
                    raise QmpError(f"no QMP at {path}: {why}") from why
                time.sleep(0.02)
        self.socket.settimeout(timeout)
        self.reader = self.socket.makefile("rb")
        self.events = []
        self._message()
        self.command("qmp_capabilities", **({"enable": ["oob"]} if oob else {}))

    def _message(self):
        try:
            line = self.reader.readline()
        except OSError as why:
            raise QmpError(f"QEMU does not answer: {why}") from why
        if not line:
            raise QmpError("QEMU closed the connection")
        return json.loads(line)

    def command(self, name, **arguments):
        """@return what QEMU returned."""
        return self._ask("execute", name, arguments)

    def command_oob(self, name, **arguments):
        """The same, carried out at once whatever QEMU's main loop waits for."""
        return self._ask("exec-oob", name, arguments)

    def _ask(self, verb, name, arguments):
        text = json.dumps({verb: name, "arguments": arguments})
        self.socket.sendall(text.encode() + b"\n")
        while True:
            message = self._message()
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise QmpError(f"{name}: {message['error']['desc']}")
            else:
                return message["return"]

    def wait_event(self, name, timeout=10):
        """@return the event, be it one that came before."""
        self.socket.settimeout(timeout)
        while True:
            for i, event in enumerate(self.events):
                if event["event"] == name:
                    return self.events.pop(i)
            message = self._message()
            if "event" in message:
                self.events.append(message)

    def close(self):
        self.reader.close()
        self.socket.close()
