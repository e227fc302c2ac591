"""Image files to 8-bit sRGB and to tensors, and back: every conversion is stated, a bad file is one line that names it."""

import io
import json
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from workbench.errors import UsageError, WorkbenchError, require
from workbench.storage import atomic

# What the pixels of a file decode to depends on this code and on Pillow: part of every cache key. Raise the number
# whenever `read` changes its verdicts, sizes, notes or pixels.
DECODER = f"2-{PIL.__version__}"
OVERSAMPLED = 2  # times the size asked for that a picture is decoded at, if its format can do so
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
SMALLEST, LARGEST = 16, 8192  # long sides in pixels that `check_size` lets through

# Formats whose decoders run inside this process. Pillow would start Ghostscript for an EPS, whatever its suffix says.
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "JPEG2000", "AVIF")
_SAVED_AS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
_SAVE_OPTIONS = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},  # 4:4:4: subsampled chroma would blur what is measured
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
_WHITE_IS_ZERO, _PHOTOMETRIC = 0, 262  # TIFF 6.0, section 3: PhotometricInterpretation


@dataclass(frozen=True)
class Decoded:
    """An image file as the workbench sees it: an upright 8-bit sRGB image, and what was done to make it one.

    `notes` is empty when the file's pixels were taken as they are (RGB, plain greys and opaque palettes without a
    profile); a PNG's gAMA and cICP chunks are not read. `full` is (height, width) of the whole picture: more than the
    image has when a reduced one was asked for.
    """

    image: Image.Image
    notes: tuple[str, ...]
    full: tuple[int, int]


def read(path: str | os.PathLike, *, ground: tuple[int, int, int] = (255, 255, 255), enough: int | None = None) -> Decoded:
    """Decode the whole file at `path` to 8-bit sRGB.

    `enough`: a long side, px, down to which a decoder may reduce by 2, 4 or 8 where that saves it work: JPEG's leaves out
    the high frequencies of its blocks.

    In this order: first frame; EXIF orientation; greys deeper than 8 bits scaled (16-bit by 1/257, see `_grey`);
    embedded ICC profile (RGB, grey, CMYK, Lab) to sRGB, relative colorimetric with black point compensation, so that
    colours inside sRGB keep their measured value; transparency composited on `ground` (three levels 0..255), in sRGB
    values as browsers do. A profile that does not fit or cannot be read is ignored with a note.

    Raises WorkbenchError, naming the file and the reason, for what is missing, empty, not an image, damaged or
    truncated anywhere, or larger than Pillow's limit on pixels (Image.MAX_IMAGE_PIXELS).
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
            image, depth, reduced = _decode(path, notes, enough)
    except Image.DecompressionBombError as error:
        raise unreadable(path, f"{str(error).split(',')[0]}; make a smaller copy") from error
    except UnidentifiedImageError as error:
        raise unreadable(path, f"not an image, or damaged: none of {', '.join(_formats())}") from error
    except Exception as error:  # decoders raise a dozen unrelated types on damaged bytes: all are about this file
        of_the_system = isinstance(error, OSError) and error.errno is not None
        raise unreadable(path, f"{'' if of_the_system else 'damaged or truncated: '}{_first_line(error)}") from error
    notes += [f"decoder warns: {_first_line(warning)}" for warning in caught]
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = _grey(image, depth, notes, path)
    image = _flatten(image, ground, notes)
    return Decoded(image, tuple(dict.fromkeys(notes)), reduced or (image.height, image.width))


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
                if not shared._readers:
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


@dataclass(frozen=True)
class _Depth:
    """What a file says about its samples that Pillow's mode does not: raw layout, and whether 0 is white."""

    raw: str
    white_is_zero: bool


def _decode(path: Path, notes: list[str], enough: int | None) -> tuple[Image.Image, _Depth, tuple[int, int] | None]:
    """The first frame, every byte of it decoded, upright; the sample layout of the file; (height, width) if it was reduced."""
    with Image.open(path, formats=_formats()) as image:
        whole = image.size
        pixels, limit = image.width * image.height, Image.MAX_IMAGE_PIXELS
        if limit and pixels > limit:  # Pillow raises above twice as many, and warns here
            raise Image.DecompressionBombError(f"Image size ({pixels} pixels) exceeds limit of {limit} pixels")
        if enough and image.format == "JPEG":
            image.draft(None, fit(*whole, enough))  # never below that; fit keeps the order of the sides
        frames = getattr(image, "n_frames", 1)
        depth = _Depth(_raw_mode(image), getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO)
        before = _orientation(image, notes)  # load() turns a TIFF and removes its tag
        reduced = image.size != whole
        image.load()  # not verify(), which passes truncated JPEGs
        after = _orientation(image, notes)
        upright = image.copy() if after == 1 else ImageOps.exif_transpose(image)
    if frames > 1:
        notes.append(f"first of {frames} frames")
    if before != 1 or after != 1:
        notes.append("EXIF orientation applied")
    if depth.raw.endswith(("16", "16B", "16L", "16N")) and not upright.mode.startswith("I"):
        notes.append("16-bit channels cut to their high 8 bits by the decoder")
        if isinstance(upright.info.get("transparency"), tuple):  # the transparent colour is still given in 16 bits
            upright.info["transparency"] = tuple(level >> 8 for level in upright.info["transparency"])
    if not reduced:
        return upright, depth, None
    width, height = whole[::-1] if before in SIDEWAYS else whole
    return upright, depth, (height, width)


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _raw_mode(image: Image.Image) -> str:
    """The layout of the samples in the file, as Pillow's raw decoders name it (`RGB;16B`), or an empty string."""
    if not getattr(image, "tile", None):
        return ""
    args = image.tile[0][3]
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
    return str(text).splitlines()[0]


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
            name = ImageCms.getProfileDescription(source).strip() or "unnamed"
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
    return ImageCms.profileToProfile(
        colour,
        source,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=flags,
    )


def check_size(size: int) -> int:
    """`size`, a long side in pixels, when it is a whole number from 16 to 8192; UsageError otherwise."""
    whole = isinstance(size, int) and not isinstance(size, bool)
    good = whole and SMALLEST <= size <= LARGEST
    require(good, f"size is {size!r}; give a whole number of pixels from {SMALLEST} to {LARGEST}")
    return size


def load(path: str | os.PathLike, size: int | None = None) -> Tensor:
    """Read the file at `path` as float32 (1, 3, H, W) in [0, 1].

    With `size`, the long side becomes exactly `size` pixels, smaller or larger than the file's, and the aspect is kept.
    Raises WorkbenchError as `read` does, UsageError as `check_size` does.
    """
    if size is not None:
        levels, sides = decode(path, size)
        return resize(from_levels(levels), sides)
    return to_tensor(read(path).image)


def decode(path: str | os.PathLike, size: int) -> tuple[Tensor, tuple[int, int]]:
    """What `load` does first: (levels (h, w, 3), uint8, of the picture or a reduced one; its sides (H, W) at long side `size`).

    `resize(from_levels(levels), sides)` is what comes next, on any device. Raises as `load` does.
    """
    check_size(size)
    found = read(path, enough=OVERSAMPLED * size)
    return _levels(found.image), fit(*found.full, size)


def fit(height: int, width: int, size: int) -> tuple[int, int]:
    """(h, w) whose long side is `size`, in the aspect of height : width, each side at least 1."""
    long = max(height, width)
    return tuple(max(1, (2 * side * size + long) // (2 * long)) for side in (height, width))  # round half up


def resize(image: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Resize (N, 3, H, W) in [0, 1] to a long side of `size`, or to exactly (h, w), in [0, 1].

    Bicubic with antialiasing (the kernel widens when shrinking), clamped because bicubic overshoots at edges.
    An image that has the size already is returned as it is.
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    require(
        len(sides) == 2 and all(isinstance(side, int) and 1 <= side <= LARGEST for side in sides),
        f"size is {size!r}; give a long side, or a height and a width, from 1 to {LARGEST}",
    )
    height, width = image.shape[-2:]
    target = fit(height, width, size) if isinstance(size, int) else sides
    if target == (height, width):
        return image
    return functional.interpolate(image, target, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def to_tensor(image: Image.Image) -> Tensor:
    """An "RGB" image as float32 (1, 3, H, W) in [0, 1]: level / 255."""
    require(image.mode == "RGB", f"image has mode {image.mode}, not RGB; read its file with images.read")
    return from_levels(_levels(image))


def _levels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image))  # a copy: the array of a PIL image is read-only


def from_levels(levels: Tensor) -> Tensor:
    """Levels (h, w, 3), uint8, as float32 (1, 3, h, w) in [0, 1]: level / 255."""
    return levels.permute(2, 0, 1).contiguous().unsqueeze(0).float().div_(255)  # put in order as bytes, a quarter of the size


def to_pil(image: Tensor) -> Image.Image:
    """(1, 3, H, W) or (3, H, W) as an 8-bit "RGB" image: clamped to [0, 1] and rounded to the nearest level.

    Raises WorkbenchError when a value is not finite, which a clamp would hide.
    """
    pixels = image.detach()
    pixels = pixels[0] if pixels.ndim == 4 and pixels.shape[0] == 1 else pixels
    require(
        pixels.ndim == 3 and pixels.shape[0] == 3,
        f"image has shape {tuple(image.shape)}; give (1, 3, H, W) or (3, H, W)",
    )
    pixels = pixels.cpu().float()
    bad = (~pixels.isfinite()).sum().item()
    if bad:
        raise WorkbenchError(f"{bad} of the image's {pixels.numel()} values are not finite")
    levels = pixels.clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())


def save(image: Tensor | Image.Image, path: str | os.PathLike, *, metadata: Mapping[str, str] | None = None) -> Path:
    """Write `image` (as `to_pil` takes it, or an "RGB" image) atomically; equal images and metadata give equal bytes.

    The suffix chooses the format: .png, .jpg or .jpeg (quality 95, 4:4:4), .webp (lossless), .tif or .tiff (deflate).
    `metadata` goes into PNG text chunks; in the other formats it is one JSON object in the EXIF ImageDescription.
    Returns the path. Raises UsageError for an unknown suffix or metadata the format cannot hold, WorkbenchError when
    the file cannot be written.
    """
    path = Path(path)
    kind = _SAVED_AS.get(path.suffix.lower())
    require(kind is not None, f"cannot save {path}: unknown suffix {path.suffix!r}; use one of {', '.join(_SAVED_AS)}")
    if isinstance(image, Image.Image):
        require(image.mode == "RGB", f"cannot save {path}: the image has mode {image.mode}, not RGB")
        image = image.copy()
        image.info = {}  # Pillow would write the profile and the EXIF block that the image came with
    else:
        image = to_pil(image)
    options = {**_SAVE_OPTIONS[kind], **_metadata(kind, metadata or {}, path)}
    with atomic(path) as temporary:
        image.save(temporary, format=kind, **options)
    return path


def _metadata(kind: str, metadata: Mapping[str, str], path: Path) -> dict:
    """`metadata` as arguments of Pillow's save."""
    for key, value in metadata.items():
        require(isinstance(key, str) and isinstance(value, str), f"metadata of {path}: {key!r} is not text to text")
        require(
            1 <= len(key) <= 79 and key.isascii() and key.isprintable(),
            f"metadata of {path}: key {key!r}; use 1 to 79 printable ASCII characters",  # PNG 1.2, 4.2.3
        )
    if not metadata:
        return {}
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        for key, value in metadata.items():
            chunks.add_text(key, value)
        return {"pnginfo": chunks}
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = json.dumps(dict(metadata))
    block = exif.tobytes()
    if kind == "JPEG" and len(block) > 65533:  # one APP1 segment
        raise UsageError(f"metadata of {path}: {len(block)} bytes do not fit into a JPEG; save as .png")
    return {"exif": block}
