"""Pictures of more pixels than are decoded in this process: reduced by another one, whose memory is limited.

Pillow decodes a picture whole. `reduced` starts this file as a script that imports Pillow alone, so what it may take is known;
what comes back is a picture of the size asked for. JPEGs are reduced while they are decoded and fit at a thousand megapixels;
of other formats some 200 megapixels of three channels do.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from PIL import ExifTags, Image, ImageOps

MEMORY = 2**30
"""Bytes of address space that the process may take, where the system limits it: Linux does, macOS does not."""
SECONDS = 120
ROWS = 16
"""Rows of the result that are made at a time."""
DEEP = ("I", "I;16", "F")


def reduced(path: str | os.PathLike, enough: int, formats: Sequence[str]) -> tuple[Image.Image, dict[str, Any]]:
    """(the first frame, upright, its long side at least `enough` px, facts) of the image file at `path`.

    The facts: full, [height, width] of the whole picture, upright; raw and photometric, as the file has its samples; turned,
    whether an EXIF orientation was applied; several, whether there are more frames. Raises MemoryError where the picture does
    not fit, OSError with the reason for what cannot be decoded, and TimeoutError.
    """
    command = [sys.executable, "-I", __file__, os.fspath(path), str(enough), ",".join(formats)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"not decoded within {SECONDS} s") from error
    head, _, pixels = done.stdout.partition(b"\n")
    if done.returncode or not head:  # ended by the system, in C code that had no memory left
        raise MemoryError
    facts = json.loads(head)
    if facts.get("error") == MemoryError.__name__:
        raise MemoryError
    if "error" in facts:
        raise OSError(facts["error"])
    image = Image.frombytes(facts["mode"], tuple(facts["size"]), pixels)
    if facts["icc"]:
        image.info["icc_profile"] = base64.b64decode(facts["icc"])
    return image, facts


def _reduce(path: str, enough: int, formats: Sequence[str]) -> tuple[dict[str, Any], bytes]:
    """(facts, pixels) of `reduced`."""
    Image.MAX_IMAGE_PIXELS = None  # the limit on memory takes its place
    with Image.open(path, formats=tuple(formats)) as image:
        width, height = image.size
        if image.format == "JPEG":
            long = max(width, height)
            image.draft(None, (max(1, width * enough // long), max(1, height * enough // long)))
        tile = getattr(image, "tile", None)
        args = tile[0][3] if tile else ""
        raw = args[0] if isinstance(args, tuple) and args else args
        facts = {
            "raw": raw if isinstance(raw, str) else "",
            "photometric": getattr(image, "tag_v2", {}).get(262),
            "several": bool(getattr(image, "is_animated", False)),
        }
        if image.format == "TIFF":  # load() turns it
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        image.load()
        if image.format != "TIFF":
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        small = _shrink(image, max(1, max(image.size) // enough))
        if image.format != "TIFF" and "exif" in image.info:
            small.info["exif"] = image.info["exif"]
            ImageOps.exif_transpose(small, in_place=True)
        facts |= {
            "turned": orientation in range(2, 9),
            # The size of a TIFF is that of its upright picture already.
            "full": [width, height] if orientation in (5, 6, 7, 8) and image.format != "TIFF" else [height, width],
            "mode": small.mode,
            "size": small.size,
            "icc": base64.b64encode(image.info.get("icc_profile") or b"").decode(),
        }
    return facts, small.tobytes()


def _shrink(image: Image.Image, factor: int) -> Image.Image:
    """`image` with the mean of every factor x factor pixels, a few rows at a time; palettes become colours."""
    mode = "I;16" if image.mode.startswith("I;16") else image.mode
    if "transparency" in image.info and mode not in DEEP:
        mode = "LA" if mode == "L" else "RGBA"
    elif mode in ("1", "P"):
        mode = "L" if mode == "1" else "RGB"
    elif mode == "PA":
        mode = "RGBA"
    size = -(-image.width // factor), -(-image.height // factor)
    small = Image.new(mode, size)
    for top in range(0, size[1], ROWS):
        box = (0, top * factor, image.width, min((top + ROWS) * factor, image.height))
        band = image.crop(box)
        band = band.convert("I") if mode == "I;16" else band.convert(mode) if band.mode != mode else band
        band = band.reduce(factor) if factor > 1 else band
        small.paste(band.convert(mode) if band.mode != mode else band, (0, top))
    return small


def _main() -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    path, enough, formats = sys.argv[1:]
    pixels = b""
    try:
        facts, pixels = _reduce(path, int(enough), formats.split(","))
    except MemoryError:
        facts = {"error": MemoryError.__name__}
    except Exception as error:  # decoders raise many types
        facts = {"error": " ".join(str(error).split()) or type(error).__name__}
    sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n" + pixels)


if __name__ == "__main__":
    _main()
