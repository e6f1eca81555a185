"""Plays a guest that wants to break its monitor.

    rogue.py SECONDS SCRATCH SIZE RAM_END FUNCTION...

Writes random values, from a fixed seed, to all BARs, to configuration space and
to virtqueues of the PCI functions, which no driver must have. SCRATCH is
physical memory that Linux does not use, and so is the last page before RAM_END:
rings and buffers lie there or outside RAM, so that this guest's own kernel
survives what its devices are told to do.
"""

import mmap
import os
import random
import sys
import time

SECONDS = float(sys.argv[1])
SCRATCH, SIZE, RAM_END = (int(text, 0) for text in sys.argv[2:5])
R = random.Random(20260)

memory = mmap.mmap(os.open("/dev/mem", os.O_RDWR | os.O_SYNC), SIZE, offset=SCRATCH)
words = memoryview(memory).cast("I")
halves = memoryview(memory).cast("H")


def address():
    """Where a ring or a buffer may lie: never in Linux's own memory."""
    kind = R.random()
    if kind < 0.7:
        return SCRATCH + R.randrange(SIZE)
    if kind < 0.8:
        return RAM_END - R.randrange(1, 4096)  # over the end
    if kind < 0.9:
        return R.getrandbits(63) | 1 << 40
    return (1 << 64) - R.randrange(1, 4096)  # wraps round


class Function:
    """One PCI function."""

    def __init__(self, name):
        path = "/sys/bus/pci/devices/" + name
        self.path = path
        self.config = os.open(path + "/config", os.O_RDWR)
        with open(path + "/enable", "w") as enable:
            enable.write("1")
        os.pwrite(self.config, b"\x06\x00", 4)
        self.saved = os.pread(self.config, 256, 0)
        self.bars = []
        for n in range(6):
            size = os.path.getsize(f"{path}/resource{n}") if os.path.exists(f"{path}/resource{n}") else 0
            if size:
                fd = os.open(f"{path}/resource{n}", os.O_RDWR)
                view = memoryview(mmap.mmap(fd, size))
                self.bars.append((n, {1: view, 2: view.cast("H"), 4: view.cast("I")}))
        self.regs = next(bar for n, bar in self.bars if n == 4)

    def restore(self):
        os.pwrite(self.config, self.saved[0x10:0x28], 0x10)
        os.pwrite(self.config, b"\x06\x00", 4)

    def put(self, width, offset, value):
        self.regs[width][offset // width] = value & (1 << 8 * width) - 1

    def noise(self):
        """A random access to a random register."""
        n, bar = R.choice(self.bars)
        width = R.choice((1, 2, 4, 4))
        at = R.randrange(len(bar[width]))
        if n == 4 and R.random() < 0.5:
            at %= 0x40 // width  # the common configuration
        offset = at * width
        value = R.getrandbits(8 * width)
        if n == 4 and 0x20 <= offset < 0x38:
            # Queue addresses in two halves; one alone must not hit Linux.
            where = address()
            offset = 0x20 + 8 * R.randrange(3)
            self.put(4, offset + 4, where >> 32)
            self.put(4, offset, where)
            return
        if n == 1 and offset < 0x800:
            # Any message but those that would reset this guest's processor.
            if at % 4 == 0:
                value = R.choice((value & 0x7FFFFFFF, 0xFEE00000))
            width, at = 4, offset // 4
            if at % 4 == 0:
                value = R.choice((value & 0x7FFFFFFF, 0xFEE00000))
            elif at % 4 == 2:
                value = R.randrange(0x31, 0x7F)
        if R.random() < 0.25:
            bar[width][at]
        else:
            bar[width][at] = value

    def configure(self):
        """A random write to configuration space behind the BARs."""
        kind = R.random()
        if kind < 0.2:
            os.pwrite(self.config, bytes([R.choice((0, 2, 4, 6, 6, 6)), R.choice((0, 4))]), 4)
        elif kind < 0.9:
            at = R.randrange(0x34, 0x100)
            os.pwrite(self.config, R.randbytes(R.choice((1, 2, 4))), at)
        elif kind < 0.95:
            # All ones, then the old address: a BAR is sized.
            at = R.choice((0x14, 0x20, 0x24))
            os.pwrite(self.config, b"\xff" * 4, at)
            os.pread(self.config, 4, at)
            self.restore()
        else:
            self.restore()

    def start(self):
        """As a driver does, with senseless queues."""
        self.restore()
        self.put(1, 0x14, 0)
        self.put(1, 0x14, 3)
        for half in (0, 1):
            self.put(4, 0x00, half)
            offered = self.regs[4][1]
            self.put(4, 0x08, half)
            keep = R.getrandbits(32) if R.random() < 0.2 else 0xFFFFFFFF
            self.put(4, 0x0C, offered & keep | half)
        self.put(1, 0x14, 11)
        count = self.regs[2][0x12 // 2]
        for queue in range(min(count, 16)):
            self.put(2, 0x16, queue)
            self.put(2, 0x18, R.choice((1, 8, 64, 256, 256, 256, 3, 0, 1024)))
            self.put(2, 0x1A, R.choice((0, 1, 2, 0xFFFF, R.getrandbits(16))))
            for part in range(3):
                where = SCRATCH + 0x10000 * queue + 0x4000 * part
                if R.random() < 0.05:
                    where = address()
                self.put(4, 0x20 + 8 * part, where)
                self.put(4, 0x24 + 8 * part, where >> 32)
            words[(0x10000 * queue + 0x4000) // 4] = 0
            self.put(2, 0x1C, 1)
        self.put(1, 0x14, 15)
        for _ in range(R.randrange(12)):
            self.fill()
            self.kick()

    def fill(self):
        """Nonsense in one queue, in the shape of a ring."""
        at = 0x10000 * R.randrange(4)
        first = R.randrange(248)
        for slot in range(first, first + R.randrange(8)):
            word = (at + 16 * slot) // 4
            where = address()
            words[word] = where & 0xFFFFFFFF
            words[word + 1] = where >> 32
            words[word + 2] = R.choice((0, 1, 12, 64, 1514, 65550, 1 << 31, R.getrandbits(32)))
            words[word + 3] = R.getrandbits(3) | R.choice((R.randrange(256), R.getrandbits(16))) << 16
        ring = (at + 0x4000) // 2
        step = R.choice((1, 2, 3, 8, 255, 257))
        for slot in range(min(step, 8)):
            entry = ring + 2 + (halves[ring + 1] + slot) % 256
            halves[entry] = R.choice((first, first, first + 1, R.getrandbits(16)))
        halves[ring] = R.choice((0, 0, 1))
        halves[ring + 1] = (halves[ring + 1] + step) & 0xFFFF

    def kick(self):
        queue = R.randrange(5)
        self.put(2, 0x3000 + 4 * queue, queue)


functions = [Function(name) for name in sys.argv[5:]]
end = time.monotonic() + SECONDS
rounds = 0
actions = [Function.noise] * 10 + [Function.configure] * 2 + [Function.kick] * 4 + [Function.fill] * 4 + [Function.start] * 2
while time.monotonic() < end:
    function = R.choice(functions)
    for _ in range(8):
        R.choice(actions)(function)
        rounds += 1
for function in functions:
    function.restore()
    function.put(1, 0x14, 0)
print(rounds, "attacks")
