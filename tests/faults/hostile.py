"""Input as a hostile hand would make it: images with damaged bytes, and command lines with anything in them."""

import random
from collections.abc import Iterator, Sequence

VALUES = (
    *("", " ", "-", "--", "~", "~nobody/x", ".", "..", "/", "/dev/null", "/dev/full", "file://", "file:///%00", "a\nb", "=1+1"),
    *("nan", "inf", "-inf", "-1", "0", "1e999", "9" * 400, "x" * 5000, "\udcff.png", "è", "%s%n", "{}", "[]", "'", '"', "a=b"),
    *("=", "*", "\x1b[31mred", "\u202egnp.exe", "None", "true", "1,5", "embedded:", "vae:nowhere", "clip:", "clip:a/b"),
    *("lancedb:", "redis://", "a\x07b/c"),
)


def mutated_lines(lines: Sequence[Sequence[str]], count: int, seed: int) -> Iterator[list[str]]:
    """`count` command lines, each one of `lines` with one to three words dropped, doubled, exchanged, cut or replaced."""
    chance = random.Random(seed)
    for _ in range(count):
        line = list(chance.choice(lines))
        for _ in range(chance.choice((1, 1, 2, 3))):
            place = chance.randrange(len(line)) if line else 0
            match chance.randrange(6):
                case 0:
                    del line[place : place + 1]
                case 1:
                    line[place:place] = line[place : place + 1]
                case 2:
                    other = chance.randrange(len(line)) if line else 0
                    line[place : place + 1], line[other : other + 1] = line[other : other + 1], line[place : place + 1]
                case 3:
                    line[place : place + 1] = [word[: chance.randrange(len(word) + 1)] for word in line[place : place + 1]]
                case _:
                    line[place : place + 1] = [chance.choice(VALUES)]
        yield line


def mutated_bytes(whole: bytes, count: int, seed: int) -> Iterator[bytes]:
    """`count` versions of `whole` with bits flipped, bytes written over, left out or doubled, or the end missing."""
    chance = random.Random(seed)
    for _ in range(count):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(content) + 1)
            end = min(start + chance.choice((1, 1, 4, 64)), len(content))
            match chance.randrange(5):
                case 0:
                    content[start:end] = bytes(byte ^ (1 << chance.randrange(8)) for byte in content[start:end])
                case 1:
                    content[start:end] = chance.randbytes(end - start)
                case 2:
                    del content[start:end]
                case 3:
                    content[start:start] = content[start:end]
                case _:
                    content[start:end] = bytes([chance.choice((0, 255))]) * (end - start)
        if chance.random() < 0.2:
            del content[chance.randrange(len(content) + 1) :]
        yield bytes(content)
