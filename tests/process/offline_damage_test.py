#!/usr/bin/env python3
# limit: 600 s
"""The files of a stopped node are damaged: bits flipped in every structure, segments cut short, deleted, swapped for
older ones. Whatever opens them then returns no damaged byte, loses nothing silently, and says what is damaged, and
where. Nothing needs root.

The data directory is made by wal_writer: one log of one voter, which then idled, so that its disk knows how far it was
durable. `whole` means that copies mend the damage; `hole` that exactly those batches are said to be lost and the log
goes on; `suspect` that its end may be lost and it takes nothing; `refused` that it does not open."""

import contextlib
import json
import random
import shutil

import data_files
import gear
from data_files import BATCH_HEADER_BYTES, BLOCK, FRAMES, flip, overwrite
from gear import expect
from wal_log import Ledger, Writer, check, check_twice

DAMAGED, REFUSED = 11, 3
BATCHES = 6150
WRITE = ["--batch-bytes-max=4096", "--inflight-bytes=32768"]
GOLDEN = None  # (directory, an older copy of it, its segments)


def seeded(*options):
    return [*options, "--segment-bytes=262144", f"--seed={gear.OPTIONS.seed}"]


def write_golden(stack):
    """Made once: some 6,150 batches in some 22 segments, and what the directory was after the first 3,000."""
    global GOLDEN, BATCHES
    if GOLDEN is None:
        scratch = stack.enter_context(gear.scratch())
        directory, older = scratch / "golden", scratch / "older"

        def write(batches, generation):
            with Writer(directory, Ledger(), *seeded(*WRITE), "--idle-ms=2500", f"--batches={batches}",
                        f"--generation={generation}") as writer:
                expect(writer.end(timeout=60) == 0, writer.lines[-3:])
            return data_files.segments(directory)

        write(3000, 1)
        shutil.copytree(directory, older)
        segments = write(BATCHES - 3000, 2)
        if len(segments[-1].batches) <= 20:  # the seed's sizes let a segment begin just before the end
            segments = write(60, 3)
            BATCHES += 60
        expect(len(segments) > 15 and len(segments[-1].batches) > 20, "the log is too short for these tests")
        GOLDEN = directory, older, segments
    return GOLDEN


def missing_of(lines):
    """The batches that are not there, as [from, to) ranges."""
    at, missing = 0, []
    for line in lines:
        if line.startswith("range "):
            _, start, end = map(int, line.split()[1:])
            if start > at:
                missing.append((at, start))
            at = end
    return missing + ([(at, BATCHES)] if at < BATCHES else [])


def judge(directory, expected, names, place):
    """Opens the damaged log and compares. `place` is (from, to) in batches, for hole and suspect."""
    if expected == "refused":
        done = gear.run(gear.program("wal_writer"), "check", directory, *seeded(), check=False)
        expect(done.returncode == REFUSED, f"exit {done.returncode}, expected a refusal: {done.stdout}{done.stderr}")
        for name in names:
            expect(name in done.stderr, f"the message does not name {name}: {done.stderr}")
        return
    opened, lines = check_twice(directory, *seeded(), allowed=(0, DAMAGED))
    expect(opened is not None, f"it did not open: {lines}")
    missing = missing_of(lines)
    said = [line for line in lines if line.startswith(("finding", "unreadable", "notice"))]
    if expected == "whole":
        expect(not missing and opened["suspect"] == 0, f"missing {missing}, suspect {opened['suspect']}: {said}")
    else:
        expect(missing, "nothing is missing: was anything damaged?")
        expect(all(place[0] <= low and high <= place[1] for low, high in missing),
               f"missing {missing}, only {place} was damaged: {said}")
        expect(opened["suspect"] == (expected == "suspect"), f"suspect {opened['suspect']}, expected {expected}: {said}")
    for name in names:
        named = [name, *data_files.neighbours(directory, name)]
        expect(any(one in line for one in named for line in said), f"nothing names {name}: {said}")

    # It takes appends, or says why not; nothing that was readable is lost by it.
    with Writer(directory, Ledger(), *seeded(*WRITE), "--generation=3", "--batches=300") as writer:
        code = writer.end(timeout=60)
    if expected == "suspect":
        expect(code == 1 and "data_loss" in writer.errors, f"a SUSPECT log took appends: exit {code}, {writer.errors}")
    else:
        expect(code == 0, f"it takes no appends: exit {code}, {writer.errors}")
        _, lines = check(directory, *seeded(), allowed=(0, DAMAGED))
        expect(missing_of(lines) == missing, f"after appends {missing_of(lines)} is missing, before {missing}")


# --- What is damaged --------------------------------------------------------------------------------------------------
# Each returns (what is expected, files that must be named, (from, to) of the batches that may be missing). Of a file
# whose header is gone, recovery may name the neighbours.


def in_middle(segments):
    return segments[len(segments) // 2]


def end_of(segments, segment):
    later = [other.start for other in segments if other.start > segment.start]
    return min(later, default=segments[-1].next_index)


def header(copies, which):
    def damage(_, segments):
        segment = {"first": segments[0], "middle": in_middle(segments), "last": segments[-1]}[which]
        for copy in copies:
            flip(segment.path, copy * BLOCK + 40, bit=3)
        if len(copies) == 1:
            return "whole", [], None
        expected = "suspect" if which == "last" else "hole"
        return expected, [segment.path.name], (segment.start, end_of(segments, segment))
    return damage


def frame(kind, offset, which="middle", expected="hole"):
    """A bit in a frame of a segment in the middle: not the first frame, not the last."""
    def damage(_, segments):
        segment = segments[-1] if which.startswith("last") else in_middle(segments)
        frames = [frame for frame in segment.frames if frame.kind == kind and (kind == "group" or frame.bytes > 600)]
        victim = segment.batches[-1] if which == "last batch" else frames[len(frames) // 2]
        flip(segment.path, victim.position + offset, bit=5)
        if expected == "whole":
            return "whole", [], None
        # A header that is damaged may hide what follows, up to the end of its group.
        group_ends = [group.index for group in segment.groups if group.index > victim.index]
        to = min(group_ends, default=end_of(segments, segment)) if offset < BATCH_HEADER_BYTES else victim.index + 1
        return expected, [segment.path.name], (victim.index, BATCHES if expected == "suspect" else to)
    return damage


def footer(_, segments):
    segment = in_middle(segments)
    flip(segment.path, data_files.footer_position(segment.size) + 20)
    return "whole", [segment.path.name], None


def one_bit_each(count):
    """A bit in each of many frames of one segment: never more than those batches."""
    def damage(_, segments):
        segment = in_middle(segments)
        for victim in segment.batches[3:3 + count]:
            flip(segment.path, victim.position + BATCH_HEADER_BYTES + 8)
        return "hole", [segment.path.name], (segment.batches[3].index, segment.batches[3].index + count)
    return damage


def cut_short(which, where):
    def damage(_, segments):
        segment = segments[-1] if which == "last" else in_middle(segments)
        batch = segment.batches[len(segment.batches) // 2]
        to = {"mid_record": batch.position + batch.bytes // 2, "boundary": batch.position, "zero": 0,
              "header": FRAMES}[where]
        with open(segment.path, "r+b") as file:
            file.truncate(to)
        start = segment.start if where in ("zero", "header") else batch.index
        return ("suspect" if which == "last" else "hole"), [segment.path.name], (start, end_of(segments, segment))
    return damage


def zeroed(which):
    """The same length, but zeros: as space that was reserved and never written."""
    def damage(_, segments):
        segment = segments[-1] if which == "last" else in_middle(segments)
        overwrite(segment.path, 0, bytes(segment.size))
        return ("suspect" if which == "last" else "hole"), [], (segment.start, end_of(segments, segment))
    return damage


def deleted(which):
    def damage(_, segments):
        segment = {"first": segments[0], "middle": in_middle(segments), "last": segments[-1]}[which]
        segment.path.unlink()
        # Of a file that is gone, only the batches can be named.
        return ("suspect" if which == "last" else "hole"), [], (segment.start, end_of(segments, segment))
    return damage


def all_deleted(_, segments):
    for segment in segments:
        segment.path.unlink()
    return "suspect", [], (0, BATCHES)


def older_last_segment(older, segments):
    """A backup's copy of the segment that was being written then."""
    old = data_files.segments(older)[-1]
    target = next(segment for segment in segments if segment.path.name == old.path.name)
    shutil.copyfile(old.path, target.path)
    return "hole", [target.path.name], (old.next_index, end_of(segments, target))


def older_state(older, segments):
    """An older hard state: the log's own groups know better."""
    shutil.copyfile(older / "hard_state", segments[0].path.parents[2] / "hard_state")
    return "whole", [], None


def misdirected(_, segments):
    """One segment's bytes under another's name."""
    source, target = segments[3], in_middle(segments)
    shutil.copyfile(source.path, target.path)
    return "refused", [target.path.name], None


def foreign_block(_, segments):
    """A block of another segment, valid in itself, in the middle of this one (a misdirected write)."""
    source, target = segments[3], in_middle(segments)
    batch = target.batches[len(target.batches) // 2]
    at = batch.position // BLOCK * BLOCK
    overwrite(target.path, at, source.path.read_bytes()[at:at + BLOCK])
    hit = [frame.index for frame in target.batches if frame.position < at + BLOCK and at < frame.position + frame.bytes]
    groups = [group.index for group in target.groups if group.index > hit[-1]]
    return "hole", [target.path.name], (hit[0], min(groups, default=end_of(segments, target)))


def state(which):
    """Slot 0 of the hard state: one twin of the newer pair, both, or all four copies."""
    def damage(_, segments):
        path = segments[0].path.parents[2] / "hard_state"
        newer, older = data_files.state_slot(path.parent, segments[0].path.parent.name)
        places = {"one twin": newer[:1], "both twins": newer, "older pair": older, "all": newer + older}[which]
        for place in places:
            flip(path, place + 48)
        if which == "one twin":
            return "whole", ["hard_state"], None
        # Of an unreadable pair nobody knows that it is the older one.
        return "suspect or refused", ["hard_state"], (0, BATCHES)
    return damage


def state_header(copies):
    def damage(_, segments):
        path = segments[0].path.parents[2] / "hard_state"
        for place in data_files.STATE_HEADERS[:copies]:
            flip(path, place + 17)
        return ("whole", ["hard_state"], None) if copies == 1 else ("refused", ["hard_state"], None)
    return damage


def state_deleted(_, segments):
    (segments[0].path.parents[2] / "hard_state").unlink()
    return "refused", ["hard_state"], None


def identity(copies):
    def damage(_, segments):
        path = segments[0].path.parents[2] / "identity"
        for copy in range(copies):
            flip(path, copy * BLOCK + 50)
        return ("whole", ["identity"], None) if copies == 1 else ("refused", ["identity"], None)
    return damage


def identity_deleted(_, segments):
    (segments[0].path.parents[2] / "identity").unlink()
    return "refused", [], None


CASES = {
    "S11.batch_magic": frame("batch", 0),
    "S11.batch_length": frame("batch", 9),
    "S11.batch_index": frame("batch", 56),
    "S11.batch_term": frame("batch", 72),
    "S11.batch_digest": frame("batch", 105),
    "S11.batch_header_crc": frame("batch", 124),
    "S11.batch_body_crc": frame("batch", 16),
    "S11.batch_record_length": frame("batch", BATCH_HEADER_BYTES),
    "S11.batch_body": frame("batch", BATCH_HEADER_BYTES + 200),
    "S11.batches_one_bit_each": one_bit_each(5),
    "S11.group_magic": frame("group", 0, expected="whole"),
    "S11.group_bytes": frame("group", 4, expected="whole"),
    "S11.group_durable_before": frame("group", 24, expected="whole"),
    "S12.last_segment_batch_body": frame("batch", BATCH_HEADER_BYTES + 200, which="last segment"),
    "S12.last_batch_body": frame("batch", BATCH_HEADER_BYTES + 5, which="last batch", expected="suspect"),
    "S12.last_batch_header": frame("batch", 60, which="last batch", expected="suspect"),
    "S13.header_copy_a": header([0], "middle"),
    "S13.header_copy_b": header([1], "middle"),
    "S13.header_both_first": header([0, 1], "first"),
    "S13.header_both_middle": header([0, 1], "middle"),
    "S13.header_both_last": header([0, 1], "last"),
    "S13.footer": footer,
    **{f"S14.cut_{which}_{where}": cut_short(which, where) for which in ("middle", "last")
       for where in ("mid_record", "boundary", "header", "zero")},
    "S14.zeroed_middle": zeroed("middle"),
    "S14.zeroed_last": zeroed("last"),
    **{f"S15.deleted_{which}": deleted(which) for which in ("first", "middle", "last")},
    "S15.deleted_all": all_deleted,
    "S16.older_copy_of_a_segment": older_last_segment,
    "S16.segment_under_another_name": misdirected,
    "S16.block_of_another_segment": foreign_block,
    "S17.state_one_twin": state("one twin"),
    "S17.state_older_pair": state("older pair"),
    "S17.state_both_twins": state("both twins"),
    "S17.state_all_copies": state("all"),
    "S17.state_header_one": state_header(1),
    "S17.state_header_both": state_header(2),
    "S17.state_older_file": older_state,
    "S17.state_deleted": state_deleted,
    "O9.identity_one_copy": identity(1),
    "O9.identity_both_copies": identity(2),
    "O9.identity_deleted": identity_deleted,
}


@contextlib.contextmanager
def damaged(stack, damage):
    golden, older, _ = write_golden(stack)
    with gear.scratch() as scratch:
        directory = scratch / "data"
        shutil.copytree(golden, directory)
        expected, names, place = damage(older, data_files.segments(directory))
        yield directory, expected, names, place


def opens(stack, damage):
    def test():
        with damaged(stack, damage) as (directory, expected, names, place):
            if expected == "suspect or refused":
                done = gear.run(gear.program("wal_writer"), "check", directory, *seeded(), check=False)
                expected = "refused" if done.returncode == REFUSED else "suspect"
                if expected == "suspect":  # nothing need be missing: what is in doubt is the end
                    expect("suspect=1" in done.stdout and done.returncode == DAMAGED, done.stdout[-500:])
                    return "SUSPECT"
            judge(directory, expected, names, place)
            return expected
    return test


def random_bits(stack):
    """Anywhere: whatever was hit, no wrong byte is returned, and what is missing is said to be."""
    def test():
        golden, _, _ = write_golden(stack)
        rng = random.Random(gear.OPTIONS.seed)
        outcomes = {"whole": 0, "damaged": 0, "refused": 0}
        for number in range(10 * int(gear.OPTIONS.cycles)):
            with gear.scratch() as scratch:
                directory = scratch / "data"
                shutil.copytree(golden, directory)
                files = [path for path in sorted(directory.rglob("*"))
                         if path.is_file() and path.stat().st_size and path.name not in ("LOCK", "ballast")]
                hits = [(path.name, rng.randrange(path.stat().st_size), rng.randrange(8))
                        for path in rng.choices(files, k=rng.choice([1, 1, 2, 5]))]
                for name, position, bit in hits:
                    flip(next(path for path in files if path.name == name), position, bit)
                opened, lines = check(directory, *seeded(), allowed=(0, REFUSED, DAMAGED))
                if not opened:
                    outcomes["refused"] += 1
                    continue
                missing = missing_of(lines)
                honest = opened["suspect"] == 1 or any(line.startswith("unreadable") for line in lines)
                expect(not missing or honest, f"flips {number} {hits}: {missing} is missing, and nobody says so: {lines}")
                outcomes["damaged" if missing or opened["suspect"] else "whole"] += 1
        return json.dumps(outcomes)
    return test


if __name__ == "__main__":
    with contextlib.ExitStack() as resources:
        gear.main(
            *((f"fault:{name}", opens(resources, damage)) for name, damage in CASES.items()),
            ("fault:S11.random_bits", random_bits(resources)),
        )
