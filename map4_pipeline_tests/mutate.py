"""Damage to files as it happens, and as somebody might make it; the same for the same seed."""

import random
import struct


def mutate(data: bytes, seed: int) -> bytes:
    """Return a damaged copy of a file's bytes."""
    chance = random.Random(seed)
    kind = _KINDS[seed % len(_KINDS)]
    return kind(bytearray(data), chance)


def _cut(data: bytearray, chance: random.Random) -> bytes:
    return bytes(data[: chance.randrange(len(data))])


def _cut_in_front(data: bytearray, chance: random.Random) -> bytes:
    return bytes(data[chance.randrange(len(data)) :])


def _flip_bits(data: bytearray, chance: random.Random) -> bytes:
    for _ in range(chance.choice((1, 8, 64, 512))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def _flip_header(data: bytearray, chance: random.Random) -> bytes:
    for _ in range(chance.choice((1, 2, 4, 16))):
        data[chance.randrange(min(256, len(data)))] = chance.randrange(256)
    return bytes(data)


def _fill(data: bytearray, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    length = chance.choice((16, 512, 4096, 65536))
    filler = chance.choice((b"\0", b"\xff", b"\x7f"))
    data[start : start + length] = filler * min(length, len(data) - start)
    return bytes(data)


def _splice(data: bytearray, chance: random.Random) -> bytes:
    start, end = sorted(chance.randrange(len(data)) for _ in range(2))
    place = chance.randrange(len(data))
    return bytes(data[:place] + data[start:end] + data[place:])


def _leave_out(data: bytearray, chance: random.Random) -> bytes:
    start, end = sorted(chance.randrange(len(data)) for _ in range(2))
    return bytes(data[:start] + data[end:])


def _lie_about_a_size(data: bytearray, chance: random.Random) -> bytes:
    """Put a huge, negative or zero number where the beginning holds one."""
    place = chance.randrange(min(128, len(data) - 8) or 1)
    value = chance.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000))
    data[place : place + 4] = struct.pack(chance.choice(("<I", ">I")), value)
    return bytes(data)


def _noise_inside(data: bytearray, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    length = min(chance.choice((64, 1024, 16384)), len(data) - start)
    data[start : start + length] = chance.randbytes(length)
    return bytes(data)


_KINDS = (_cut, _flip_bits, _flip_header, _splice, _leave_out, _fill, _lie_about_a_size, _noise_inside, _cut_in_front)
