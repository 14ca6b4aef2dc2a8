# SPDX-License-Identifier: BSD-3-Clause
"""Stands between a QEMU that streams COLO and its secondary, and can hold a word of the secondary back.

    QEMU --- unix socket of ours --- relay --- unix socket of the secondary
"""
import contextlib
import socket
import struct
import threading
import time

# what a COLO secondary says, after the return path's SHUT
READY, REPLY, RECEIVED, LOADED = 0, 2, 5, 6
SHUT = 1


class Relay:
    """Serves one migration: as many connections as it has. close() ends it."""

    def __init__(self, run, name, target):
        self.path = run.dir / name
        self.target = str(target)
        self.said = []               # (time, word) of the secondary's COLO messages, held ones, too
        self.last_from_primary = 0.0 # time of the last byte
        self._hold = None
        self._held = threading.Event()
        self._over = False
        self._words = Words()
        self._ends = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen(32)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        run.keep(self.close)

    def uri(self):
        return f"unix:{self.path}"

    def hold(self, word):
        """From now on nothing more is said to QEMU, as soon as the secondary says this."""
        self._hold = word

    def wait_held(self, timeout=20):
        """Wait until it has said it."""
        assert self._held.wait(timeout), f"the secondary did not say {self._hold}"

    def wait_silent(self, seconds, timeout=20):
        """Wait until QEMU has sent nothing for so long."""
        deadline = time.monotonic() + timeout
        while time.monotonic() - self.last_from_primary < seconds:
            assert time.monotonic() < deadline, "QEMU goes on sending"
            time.sleep(seconds / 10)

    def _serve(self):
        while True:
            try:
                primary = self._listening.accept()[0]
                secondary = socket.socket(socket.AF_UNIX)
                self._ends += [primary, secondary]
                secondary.connect(self.target)
            except OSError:
                if self._over:
                    return
                _shut(primary)
                continue
            # one must not wait for the other: each way and each connection has its thread
            for way in ((self._to_secondary, primary, secondary), (self._to_primary, secondary, primary)):
                threading.Thread(target=_until_closed, args=way, daemon=True).start()

    def _to_secondary(self, data):
        self.last_from_primary = time.monotonic()
        return data

    def _to_primary(self, data):
        """@return what of it may pass."""
        passed = b""
        for word, raw in self._words.take(data):  # only the main channel has anything to say
            if word is not None:
                self.said.append((time.monotonic(), word))
                if word == self._hold:
                    self._held.set()
            if not self._held.is_set():
                passed += raw
        return passed

    def close(self):
        self._over = True
        for end in [self._listening, *self._ends]:
            _shut(end)
        self._thread.join(5)
        self.path.unlink(missing_ok=True)


def _shut(end):
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def _until_closed(passes, source, target):
    """Pass on what comes, as far as it may; when one end closes, so does the other."""
    with contextlib.suppress(OSError):
        while True:
            data = source.recv(1 << 18)
            if not data:
                break
            target.sendall(passes(data))
    for end in (source, target):
        _shut(end)


class Words:
    """Takes what a secondary says to pieces: the return path's messages, then be32 words."""

    def __init__(self):
        self.rest = b""
        self.shut = False

    def take(self, data):
        """Yield (COLO's word or None, its bytes)."""
        self.rest += data
        while True:
            if self.shut:
                length = 4
            elif len(self.rest) >= 4:
                length = 4 + struct.unpack(">HH", self.rest[:4])[1]
            else:
                return
            if len(self.rest) < length:
                return
            raw, self.rest = self.rest[:length], self.rest[length:]
            if self.shut:
                yield struct.unpack(">I", raw)[0], raw
            else:
                self.shut = struct.unpack(">H", raw[:2])[0] == SHUT
                yield None, raw
