# SPDX-License-Identifier: BSD-3-Clause
"""What a secondary's journal says, read as the next secondary would (lib/guest/journal.h)."""
import mmap
import os
import struct

HEADER = struct.Struct("=QIIQIIQQ")
MAGIC = 0x434f4c4f4a524e31
COMMIT_AT = HEADER.size - 8
FLUSHING = 1


class Journal:
    """The file, mapped: it can be watched while a secondary writes it."""

    def __init__(self, path):
        fd = os.open(path, os.O_RDONLY)
        try:
            self.memory = mmap.mmap(fd, 4096, prot=mmap.PROT_READ)
        finally:
            os.close(fd)
        assert HEADER.unpack_from(self.memory)[0] == MAGIC

    def word(self):
        return struct.unpack_from("=Q", self.memory, COMMIT_AT)[0]

    def flushing(self):
        return self.word() & FLUSHING != 0

    def committed(self):
        """The checkpoint, 0: none."""
        return self.word() >> 1

    def close(self):
        self.memory.close()
