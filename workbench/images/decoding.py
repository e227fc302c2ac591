"""Image files to 8-bit sRGB: every conversion is stated, and a bad file is one line that names it."""

import hashlib
import io
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

from workbench.errors import WorkbenchError, require
from workbench.images import vast
from workbench.images.sizes import fit
from workbench.names import plain

# What the pixels of a file decode to depends on this code and on Pillow: part of every cache key. Raise the number
# whenever `read` changes its verdicts, sizes, notes or pixels.
DECODER = f"3-{PIL.__version__}"
HELD = 2**25
"""Bytes of a file that is read into memory to be hashed and decoded; larger ones are read twice."""
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""
# Formats whose decoders run inside this process. Pillow would start Ghostscript for an EPS, whatever its suffix says.
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "JPEG2000", "AVIF")
_WHITE_IS_ZERO, _PHOTOMETRIC = 0, 262  # TIFF 6.0, section 3: PhotometricInterpretation
# A PNG with an ICC profile that unpacks to more than this would be "damaged" to Pillow; its default is 1 MiB, below the
# profiles of some presses.
PngImagePlugin.MAX_TEXT_CHUNK = 2**24


@dataclass(frozen=True)
class Decoded:
    """A decoded image file: an upright 8-bit sRGB image, and the conversions that made it one.

    `notes` is empty when the file's pixels were taken as they are (RGB, plain greys and opaque palettes without a
    profile); a PNG's gAMA and cICP chunks are not read. `full` is (height, width) of the whole picture: more than the
    image has when a reduced one was asked for.
    """

    image: Image.Image
    notes: tuple[str, ...]
    full: tuple[int, int]


def read(
    path: str | os.PathLike,
    *,
    ground: tuple[int, int, int] = (255, 255, 255),
    enough: int | None = None,
    sha256: str | None = None,
) -> Decoded:
    """Decode the whole file at `path` to 8-bit sRGB.

    `enough`: a long side, px, down to which the picture may be reduced where that saves work: JPEG's decoder leaves out the
    high frequencies of its blocks, by 2, 4 or 8; what has more pixels than Pillow's limit is reduced apart, see `vast`.

    `sha256`: the hash that the file had when it was listed: what is decoded is what was hashed.

    In this order: first frame; EXIF orientation; greys deeper than 8 bits scaled (16-bit by 1/257, see `_grey`);
    embedded ICC profile (RGB, grey, CMYK, Lab) to sRGB, relative colorimetric with black point compensation, so that
    colours inside sRGB keep their measured value; transparency composited on `ground` (three levels 0..255), in sRGB
    values as browsers do. A profile that does not fit or cannot be read is ignored with a note.

    Raises WorkbenchError, naming the file and the reason, for what is missing, empty, not an image, damaged or
    truncated anywhere, replaced since it was hashed, or larger than Pillow's limit on pixels (Image.MAX_IMAGE_PIXELS), if
    `enough` does not help. That bytes are damaged is known where the format has checksums (PNG, deflated TIFF), or where the
    decoder trips over them; `sha256` in metadata.csv finds the rest.
    """
    require(
        len(ground) == 3 and all(isinstance(level, int) and 0 <= level <= 255 for level in ground),
        f"ground is {ground!r}; give three whole numbers from 0 to 255",
    )
    path = Path(path)
    _check_file(path)
    notes: list[str] = []
    try:
        with _warnings.kept() as caught:
            held = _content(path, sha256) if sha256 and path.stat().st_size <= HELD else None
            with _unchanged(path, sha256 if held is None else None):
                image, depth, reduced = _decode(path, notes, enough, held, sha256)
    except WorkbenchError:
        raise
    except Image.DecompressionBombError as error:
        raise unreadable(path, f"{str(error).split(',')[0]}; make a smaller copy") from error
    except UnidentifiedImageError as error:
        known, not_one = _seems(path), f"not an image, or damaged: none of {', '.join(_formats())}"
        reason = f"it seems to be {known}, which is not read here: save it as PNG or JPEG" if known else not_one
        raise unreadable(path, reason) from error
    except Exception as error:  # decoders raise a dozen unrelated types on damaged bytes: all are about this file
        of_the_system = isinstance(error, OSError) and error.errno is not None
        raise unreadable(path, f"{'' if of_the_system else 'damaged or truncated: '}{_first_line(error)}") from error
    of_size = Image.DecompressionBombWarning
    notes += [f"decoder warns: {_first_line(warning)}" for warning in caught if not isinstance(warning, of_size)]
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = _grey(image, depth, notes, path)
    image = _flatten(image, ground, notes)
    return Decoded(image, tuple(dict.fromkeys(notes)), reduced or (image.height, image.width))


def see_through(path: str | os.PathLike) -> str:
    """A phrase that the picture at `path` may be transparent in places, which `read` takes for white; "" without alpha."""
    try:
        with _warnings.kept(), Image.open(path, formats=_formats()) as image:
            transparent = image.has_transparency_data
    except Exception:  # whatever is wrong with it, `read` says so
        return ""
    return f"{plain(Path(path).name)} has transparency: what can be seen through is taken for white" if transparent else ""


class _Warnings(threading.local):
    """What Pillow warns of, each thread's for itself, although the warnings module has one state for all threads.

    warnings.catch_warnings in two threads at once would leave the filters of one behind. Readers do not get into each
    other's way; where others use catch_warnings meanwhile, a note may be lost.
    """

    caught: list[Warning] | None = None
    _lock = threading.Lock()
    _readers = 0  # of all threads
    _filters: warnings.catch_warnings | None = None

    @contextmanager
    def kept(self) -> Iterator[list[Warning]]:
        """The warnings of this thread, as they come."""
        shared = _Warnings
        with shared._lock:
            if not shared._readers:
                shared._filters = warnings.catch_warnings()
                shared._filters.__enter__()
                warnings.filterwarnings("always", module=r"PIL\.")
                warnings.showwarning = partial(self._keep, warnings.showwarning)
            shared._readers += 1
        self.caught = []
        try:
            yield self.caught
        finally:
            self.caught = None
            with shared._lock:
                shared._readers -= 1
                if not shared._readers and shared._filters is not None:
                    shared._filters.__exit__(None, None, None)

    def _keep(self, show: Callable[..., None], message: Warning, *where: Any, **more: Any) -> None:
        if self.caught is None:  # of a thread that reads no picture
            show(message, *where, **more)
        else:
            self.caught.append(message)


_warnings = _Warnings()


def unreadable(path: Path, reason: str) -> WorkbenchError:
    """The one-line error about an image file; an ingest report takes the empty reason to list reasons beside names."""
    return WorkbenchError(f"cannot read {path}: {reason}")


def _check_file(path: Path) -> None:
    try:
        reason = _not_a_file(path)
    except (OSError, ValueError) as error:  # a name too long or with a NUL byte, a folder that may not be entered
        raise unreadable(path, _first_line(error)) from error
    if reason:
        raise unreadable(path, reason)


def _not_a_file(path: Path) -> str | None:
    if path.is_dir():
        return "a folder, not an image file"
    if not path.exists():
        return "no such file"
    if not path.is_file():
        return "not a regular file"
    return "the file is empty (0 bytes)" if path.stat().st_size == 0 else None


def _content(path: Path, sha256: str) -> bytes:
    """The bytes of a file whose hash is `sha256`."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise _replaced(path)
    return content


@contextmanager
def _unchanged(path: Path, sha256: str | None) -> Iterator[None]:
    """WorkbenchError unless `path`, which the block reads, was the file with this hash all the time; nothing without one."""
    before = _stamp(path)
    yield
    if sha256:
        with path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        if not same or _stamp(path) != before:
            raise _replaced(path)


def _stamp(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _replaced(path: Path) -> WorkbenchError:
    return unreadable(path, "the file was replaced after it was listed; open it, or its corpus, again")


@dataclass(frozen=True)
class _Depth:
    """What a file says about its samples that Pillow's mode does not: raw layout, and whether 0 is white."""

    raw: str
    white_is_zero: bool


def _decode(
    path: Path, notes: list[str], enough: int | None, content: bytes | None, sha256: str | None
) -> tuple[Image.Image, _Depth, tuple[int, int] | None]:
    """The first frame, every byte of it decoded, upright; the sample layout of the file; (height, width) if it was reduced.

    `content`: the bytes of the file, None to read it; `sha256`: their hash.
    """
    try:
        with Image.open(path if content is None else io.BytesIO(content), formats=_formats()) as image:
            whole = image.size
            pixels, limit = image.width * image.height, Image.MAX_IMAGE_PIXELS
            if limit and pixels > limit:  # Pillow raises above twice as many, and warns here
                raise Image.DecompressionBombError(f"Image size ({pixels} pixels) exceeds limit of {limit} pixels")
            if enough and image.format == "JPEG":
                image.draft(None, fit(*whole, enough))  # never below that; fit keeps the order of the sides
            frames = _frames(image)
            depth = _Depth(_raw_mode(image), getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO)
            # load() turns a TIFF and removes its tag. Elsewhere it comes first: a PNG looks for EXIF behind the pixels, where
            # damaged pixels would pass for a damaged EXIF block.
            turned = _orientation(image, notes) if image.format == "TIFF" else 1
            reduced = image.size != whole
            image.load()  # not verify(), which passes truncated JPEGs
            left = _orientation(image, notes)
            upright = image.copy() if left == 1 else ImageOps.exif_transpose(image)
    except Image.DecompressionBombError:
        if not enough:
            raise
        with _unchanged(path, sha256 if content is not None else None):  # it reads the file
            return _decode_apart(path, notes, enough)
    if frames:
        notes.append(f"first of {frames} frames")
    if turned != 1 or left != 1:
        notes.append("EXIF orientation applied")
    _note_cut(upright, depth, notes)
    if not reduced:
        return upright, depth, None
    width, height = whole[::-1] if left in SIDEWAYS else whole
    return upright, depth, (height, width)


def _decode_apart(path: Path, notes: list[str], enough: int) -> tuple[Image.Image, _Depth, tuple[int, int]]:
    """`_decode` for a picture above the limit on pixels."""
    try:
        image, facts = vast.reduced(path, enough, _formats())
    except MemoryError as error:
        raise Image.DecompressionBombError(f"decoding it takes more than {vast.MEMORY // 2**20} MiB of memory") from error
    notes += ["first of several frames"] * facts["several"] + ["EXIF orientation applied"] * facts["turned"]
    depth = _Depth(facts["raw"], facts["photometric"] == _WHITE_IS_ZERO)
    _note_cut(image, depth, notes)
    height, width = facts["full"]
    return image, depth, (height, width)


def _note_cut(image: Image.Image, depth: _Depth, notes: list[str]) -> None:
    if depth.raw.endswith(("16", "16B", "16L", "16N")) and not image.mode.startswith("I"):
        notes.append("16-bit channels cut to their high 8 bits by the decoder")
        if isinstance(image.info.get("transparency"), tuple):  # the transparent colour is still given in 16 bits
            image.info["transparency"] = tuple(level >> 8 for level in image.info["transparency"])


def _seems(path: Path) -> str:
    """What a file is that people take for a picture, or that is one for other programs; "" where its head says nothing."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return ""
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"):
        return "HEIC, as telephones write it"
    starts = {b"8BPS": "a Photoshop file", b"%PDF": "a PDF", b"FUJIFILMCCD-RAW": "a raw photograph"}
    return next((name for start, name in starts.items() if head.startswith(start)), "an SVG" if b"<svg" in head else "")


def _frames(image: Image.Image) -> str:
    """How many frames there are, if several. A TIFF or GIF does not say: it would have to be walked through, page by page."""
    if image.format in ("TIFF", "GIF"):
        return "several" if getattr(image, "is_animated", False) else ""
    count = getattr(image, "n_frames", 1)
    return str(count) if count > 1 else ""


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _raw_mode(image: Image.Image) -> str:
    """The layout of the samples in the file, as Pillow's raw decoders name it (`RGB;16B`), or an empty string."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ""
    args = tiles[0][3]
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _orientation(image: Image.Image, notes: list[str]) -> int:
    """EXIF orientation 1..8; 1 when absent, out of range, or in a block that cannot be read, which is noted."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception as error:  # the parser of TIFF tags raises many types; the pixels are not touched by them
        notes.append(f"EXIF ignored ({_first_line(error)})")
        return 1
    return value if value in range(2, 9) else 1


def _first_line(error: object) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return plain(str(text).splitlines()[0])


def _grey(image: Image.Image, depth: _Depth, notes: list[str], path: Path) -> Image.Image:
    """One deep channel to 8-bit grey ("L", or "LA" where the file names a transparent level).

    16-bit integers are divided by 257 (12-bit by 4095/255). Wider integers: within [0, 255] as they are, within
    [0, 65535] as 16-bit, else by their own range. Floats: within [0, 1] times 255, within [0, 255] as they are, else
    by their own range. Pillow's own conversion clips all of these at 255.
    """
    values = np.asarray(image)
    if depth.raw.startswith("I;32") and not depth.raw.endswith("S"):
        values = values.view(np.uint32)  # Pillow keeps unsigned samples in signed words
    if not np.isfinite(values).all():
        raise unreadable(path, f"{np.count_nonzero(~np.isfinite(values))} of its {values.size} values are not finite")
    low, high = values.min().item(), values.max().item()
    if image.mode.startswith("I;") or (image.mode == "I" and low >= 0 and 255 < high <= 65535):
        low, high = 0, 4095 if depth.raw == "I;12" else 65535
        note = f"{'12' if high == 4095 else '16'}-bit scaled to 8-bit"
    else:
        kind = "float" if image.mode == "F" else "32-bit integers"
        if image.mode == "F" and low >= 0 and high <= 1:
            low, high = 0, 1
        elif low >= 0 and high <= 255:
            low, high = 0, 255
        if low == high:
            raise unreadable(path, f"every value is {low:g}, outside [0, 255]: there is no range to scale by")
        note = f"{kind} scaled from [{low:g}, {high:g}]"
    notes.append(note)
    levels = np.floor((values.astype(np.float64) - low) * (255 / (high - low)) + 0.5).astype(np.uint8)
    if depth.white_is_zero:
        notes.append("white-is-zero inverted")
        levels = 255 - levels
    grey = Image.fromarray(levels)
    if "transparency" in image.info:
        opaque = np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)
        grey = Image.merge("LA", (grey, Image.fromarray(opaque)))
    if "icc_profile" in image.info:
        grey.info["icc_profile"] = image.info["icc_profile"]
    return grey


def _flatten(image: Image.Image, ground: tuple[int, int, int], notes: list[str]) -> Image.Image:
    """Any 8-bit mode to RGB in sRGB on `ground`, without metadata."""
    profile = image.info.get("icc_profile")
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if image.mode in ("1", "L", "LA"):
        colour = image.convert("L")
    elif image.mode in ("CMYK", "LAB"):
        colour = image
    else:
        colour = image.convert("RGB")
    colour = _to_srgb(colour, profile, notes)
    if alpha is not None and alpha.getextrema() != (255, 255):
        backdrop = Image.new("RGB", colour.size, ground)
        backdrop.paste(colour, mask=alpha)
        colour = backdrop
        notes.append("alpha composited on #{:02x}{:02x}{:02x}".format(*ground))
    colour.info = {}  # the profile of a converted image holds the time of its making
    return colour


def _to_srgb(colour: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """A "L", "RGB", "CMYK" or "LAB" image to "RGB" in sRGB, by its profile where that can be used."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = _by_profile(colour, source)
            name = plain(ImageCms.getProfileDescription(source).strip()) or "unnamed"
            notes.append(f"ICC profile converted to sRGB ({name})")
            return converted
        except (ImageCms.PyCMSError, OSError, ValueError) as error:
            notes.append(f"ICC profile ignored ({_first_line(error)})")
    if colour.mode == "CMYK":
        notes.append("CMYK converted without a profile")
    if colour.mode == "LAB":
        notes.append("Lab converted to sRGB")
        return _by_profile(colour, ImageCms.createProfile("LAB"))
    return colour.convert("RGB")


def _by_profile(colour: Image.Image, source: ImageCms.ImageCmsProfile | ImageCms.core.CmsProfile) -> Image.Image:
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    if colour.mode == "L":  # optimised, littlecms samples a grey curve so sparsely that linear greys are 10 levels off
        flags |= ImageCms.Flags.NOOPTIMIZE
    converted = ImageCms.profileToProfile(
        colour,
        source,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=flags,
    )
    assert converted is not None  # it is, unless it is made in place
    return converted
