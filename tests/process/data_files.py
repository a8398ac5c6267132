"""Where things lie in the files of a data directory, so that a test can damage exactly one of them. wal/FORMAT.md rules;
this follows intact files only."""

import struct
from dataclasses import dataclass, field

BLOCK = 4096
FRAMES = 2 * BLOCK
SEGMENT_HEADER_BYTES = 192
GROUP_HEADER_BYTES, BATCH_HEADER_BYTES = 64, 128
STATE_REGION_BYTES, STATE_SLOT_BYTES = 1 << 20, 128
STATE_HEADERS = (0, 2_101_248)
STATE_REGIONS = {(0, 0): 4096, (1, 0): 1_052_672, (0, 1): 2_105_344, (1, 1): 3_153_920}  # (pair, twin)


@dataclass
class Frame:
    kind: str  # "group" or "batch"
    position: int
    bytes: int
    index: int = 0  # of the batch, or of the group's first one


@dataclass
class Segment:
    path: object
    start: int = 0  # index of the first batch
    size: int = 0
    frames: list = field(default_factory=list)
    end: int = 0  # behind the last frame
    sealed: bool = False

    @property
    def batches(self):
        return [frame for frame in self.frames if frame.kind == "batch"]

    @property
    def groups(self):
        return [frame for frame in self.frames if frame.kind == "group"]

    @property
    def next_index(self):
        return self.batches[-1].index + 1 if self.batches else self.start


def footer_position(segment_bytes):
    """As wal/segment_format.cc counts it: 128 bytes, 32 for each 64 KiB and two more, 16 for each of 128 terms."""
    used = 128 + (segment_bytes // 65536 + 2) * 32 + 128 * 16
    return segment_bytes - (used + BLOCK - 1) // BLOCK * BLOCK


def read_segment(path):
    """None for one that is prepared and not in use."""
    content = path.read_bytes()
    if len(content) < FRAMES or content[:8] != b"WWALSEGM":
        return None
    incarnation, = struct.unpack_from("<Q", content, 64)
    size, start = struct.unpack_from("<QQ", content, 72)
    segment = Segment(path, start, size)
    at = FRAMES
    while True:
        if content[at:at + 4] == b"WGRP" and struct.unpack_from("<Q", content, at + 8)[0] == incarnation:
            first_index, = struct.unpack_from("<Q", content, at + 32)
            segment.frames.append(Frame("group", at, GROUP_HEADER_BYTES, first_index))
        elif content[at:at + 4] == b"WBAT" and segment.frames:
            body, = struct.unpack_from("<I", content, at + 8)
            index, = struct.unpack_from("<Q", content, at + 56)
            if index != segment.next_index:
                break
            segment.frames.append(Frame("batch", at, BATCH_HEADER_BYTES + body, index))
        else:
            break
        at += (segment.frames[-1].bytes + 7) // 8 * 8
    segment.end = at
    footer = footer_position(size)
    segment.sealed = content[footer:footer + 4] == b"FOOT"
    return segment


def segments(directory):
    """All in use of the log that has most of them, oldest first."""
    log = max((directory / "logs").iterdir(), key=lambda path: len(list(path.glob("*.segment"))))
    found = [read_segment(path) for path in sorted(log.glob("*.segment"))]
    return sorted((segment for segment in found if segment), key=lambda segment: segment.start)


def neighbours(directory, name):
    """The segments before and behind `name`."""
    names = sorted({path.name for path in (directory / "logs").glob("*/*.segment")} | {name})
    at = names.index(name)
    return names[max(0, at - 1):at + 2] if name.endswith(".segment") else []


def state_slot(directory, log):
    """(position in twin 0, twin 1) of the log's slot in the newer pair, then in the older one."""
    content = (directory / "hard_state").read_bytes()
    name = bytes.fromhex(log.replace("-", ""))

    def slot_of(pair, number):
        return STATE_REGIONS[pair, 0] + number * STATE_SLOT_BYTES

    number = next(number for number in range(STATE_REGION_BYTES // STATE_SLOT_BYTES)
                  if any(content[slot_of(pair, number) + 16:slot_of(pair, number) + 32] == name for pair in (0, 1)))
    newer = max((0, 1), key=lambda pair: struct.unpack_from("<Q", content, slot_of(pair, number) + 8)[0])
    return [tuple(STATE_REGIONS[pair, twin] + number * STATE_SLOT_BYTES for twin in (0, 1)) for pair in (newer, 1 - newer)]


def flip(path, position, bit=0):
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))


def overwrite(path, position, content):
    with open(path, "r+b") as file:
        file.seek(position)
        file.write(content)
