"""Images: what each kind of file decodes to, that bad files are one clear line, and that tensors and files round-trip."""

import hashlib
import io
import json
import os
import shutil
import struct
import time
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from workbench import images
from workbench.errors import UsageError, WorkbenchError
from workbench.images import decoding

RAMP = np.linspace(0, 65535, 4096).round().astype(np.uint16).reshape(64, 64)
D50 = (0.9642, 1.0, 0.8249)
# Adobe RGB (1998) and sRGB primaries adapted to D50 (Lindbloom, "RGB/XYZ matrices", Bradford): columns R, G, B.
ADOBE = np.array([[0.6097559, 0.2052401, 0.1492240], [0.3111242, 0.6256560, 0.0632197], [0.0194811, 0.0608902, 0.7448387]])
SRGB = np.array([[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]])


# Files made by hand: Pillow writes neither 16-bit colour nor profiles of its own choosing.


def png(path: Path, samples: np.ndarray, colour_type: int, *chunks: tuple[bytes, bytes]) -> Path:
    """A 16-bit PNG (PNG 1.2, section 11): colour type 0 grey, 2 RGB, 4 grey and alpha."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    return path


def tiff(path: Path, samples: np.ndarray, *, photometric: int, sample_format: int = 1) -> Path:
    """An uncompressed TIFF (TIFF 6.0, section 2) in the byte order of `samples`."""
    order = ">" if samples.dtype.byteorder == ">" else "<"
    channels = samples.shape[2] if samples.ndim == 3 else 1
    bits = samples.dtype.itemsize * 8
    start = 8 + 2 + 12 * 10 + 4  # header, ten tags, no next directory; then the bits per sample, then the pixels
    bits_field = struct.pack(f"{order}HH", bits, 0) if channels == 1 else struct.pack(f"{order}I", start)
    tags = [(256, 4, 1, samples.shape[1]), (257, 4, 1, samples.shape[0]), (258, 3, channels, bits_field)]
    tags += [(259, 3, 1, 1), (262, 3, 1, photometric), (273, 4, 1, start + 16), (277, 3, 1, channels)]
    tags += [(278, 4, 1, samples.shape[0]), (279, 4, 1, samples.nbytes), (339, 3, 1, sample_format)]
    body = b""
    for tag, kind, count, value in tags:
        field = {3: "HH", 4: "I"}[kind]  # a short is padded to four bytes
        packed = value if isinstance(value, bytes) else struct.pack(order + field, value, *[0] * (len(field) - 1))
        body += struct.pack(f"{order}HHI", tag, kind, count) + packed
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}IH", 8, len(tags))
    widths = struct.pack(f"{order}8H", *[bits] * channels, *[0] * (8 - channels))
    path.write_bytes(head + body + b"\0\0\0\0" + widths + samples.tobytes())
    return path


def icc(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A version 2 ICC profile (ICC.1:2001-04, sections 6.1 and 6.2) of the given colour space and tags."""

    def text(kind: bytes, value: bytes) -> bytes:
        body = struct.pack(">I", len(value) + 1) + value + b"\0" if kind == b"desc" else value + b"\0"
        return kind + bytes(4) + body + (bytes(78) if kind == b"desc" else b"")

    tags = {b"desc": text(b"desc", b"made by hand"), b"cprt": text(b"text", b"none"), b"wtpt": xyz(D50), **tags}
    table, data, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", offset + len(data), len(value))
        data += value
    size = 128 + len(table) + len(data)
    head = struct.pack(">I4sI4s4s4s12x4s", size, b"none", 0x02400000, b"prtr", space, connection, b"acsp")
    return (head + bytes(28) + xyz(D50)[8:]).ljust(128, b"\0") + table + data


def xyz(values) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


def adobe_rgb() -> bytes:
    columns = {name: xyz(ADOBE[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return icc(b"RGB ", b"XYZ ", {**columns, b"rTRC": gamma(2.2), b"gTRC": gamma(2.2), b"bTRC": gamma(2.2)})


def cmyk_to_lab(lightness_of) -> bytes:
    """A CMYK profile whose 2x2x2x2 table holds neutral Lab of the lightness given for each corner (lut8Type)."""
    corners = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    table = b"".join(bytes([round(lightness_of(*corner) * 2.55), 128, 128]) for corner in corners)
    identity = bytes(range(256))
    head = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    return icc(b"CMYK", b"Lab ", {b"A2B0": head + identity * 4 + table + identity * 3})


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB levels 0..255 (IEC 61966-2-1)."""
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def levels(path: Path) -> np.ndarray:
    decoded = images.read(path)
    assert decoded.image.mode == "RGB"
    return np.asarray(decoded.image).astype(int)


def notes(path: Path) -> str:
    return "; ".join(images.read(path).notes)


def photo(height: int = 40, width: int = 60) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    channels = (255 * rows / height, 255 * columns / width, 127 + 127 * np.sin(rows / 3 + columns / 5))
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


# Depth


@pytest.mark.parametrize("kind", ["png", "tif", "big-endian tif", "compressed tif", "pgm"])
def test_a_16_bit_ramp_comes_out_as_a_ramp(tmp_path, kind):
    path = tmp_path / "ramp.bin"
    if kind == "png":
        Image.fromarray(RAMP).save(path, format="PNG")
    elif kind == "pgm":
        path.write_bytes(b"P5 64 64 65535\n" + RAMP.astype(">u2").tobytes())
    elif kind == "big-endian tif":
        tiff(path, RAMP.astype(">u2"), photometric=1)
    else:
        Image.fromarray(RAMP).save(path, format="TIFF", compression="tiff_lzw" if kind.startswith("comp") else None)
    found = levels(path)
    assert np.abs(found - RAMP[..., None] / 257).max() <= 0.5
    assert "16-bit scaled" in notes(path)


def test_a_dark_16_bit_image_stays_dark(tmp_path):
    Image.fromarray(RAMP // 100).save(tmp_path / "dark.png")
    assert levels(tmp_path / "dark.png").max() == 3  # 655 / 257


@pytest.mark.parametrize("channels", [2, 3])
def test_16_bit_colour_is_within_one_level_and_says_how(tmp_path, channels):
    opaque = [np.full_like(RAMP, 65535)] if channels == 2 else []
    samples = np.stack([RAMP] * (channels if channels == 3 else 1) + opaque, -1)
    path = png(tmp_path / "colour.png", samples, {2: 4, 3: 2}[channels])
    assert np.abs(levels(path) - RAMP[..., None] / 257).max() < 1
    assert "cut to their high 8 bits" in notes(path)


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_16_bit_colour_tiff(tmp_path, order):
    path = tiff(tmp_path / "colour.tif", np.stack([RAMP, RAMP.T, RAMP], -1).astype(order), photometric=2)
    assert np.abs(levels(path) - np.stack([RAMP, RAMP.T, RAMP], -1) / 257).max() < 1
    assert "cut to their high 8 bits" in notes(path)


def test_the_transparent_level_of_a_16_bit_grey_png(tmp_path):
    samples = np.full((4, 4), 1000, np.uint16)
    samples[0] = 40000
    path = png(tmp_path / "key.png", samples, 0, (b"tRNS", struct.pack(">H", 40000)))
    found = np.asarray(images.read(path, ground=(9, 8, 7)).image)
    assert (found[0] == (9, 8, 7)).all()
    assert (found[1:] == 4).all()


def test_the_transparent_colour_of_a_16_bit_png(tmp_path):
    samples = np.full((4, 4, 3), 1000, np.uint16)
    samples[0] = (40000, 2, 3)
    path = png(tmp_path / "key.png", samples, 2, (b"tRNS", struct.pack(">3H", 40000, 2, 3)))
    found = np.asarray(images.read(path, ground=(9, 8, 7)).image)
    assert (found[0] == (9, 8, 7)).all()
    assert (found[1:] == 3).all()


def test_white_is_zero_is_inverted_at_16_bits_as_at_8(tmp_path):
    path = tiff(tmp_path / "inverted.tif", RAMP.astype("<u2"), photometric=0)
    assert np.abs(255 - levels(path) - RAMP[..., None] / 257).max() <= 0.5
    assert "white-is-zero inverted" in notes(path)
    eight = tiff(tmp_path / "eight.tif", (RAMP >> 8).astype(np.uint8), photometric=0)
    assert (255 - levels(eight) == (RAMP >> 8)[..., None]).all()


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        (RAMP / 65535, RAMP / 257, "float scaled from [0, 1]"),
        (RAMP / 257, RAMP / 257, "float scaled from [0, 255]"),
        (RAMP / 65535 * 4 - 1, RAMP / 257, "float scaled from [-1, 3]"),
        (np.zeros((64, 64)), np.zeros((64, 64)), "float scaled from [0, 1]"),
    ],
)
def test_float_scaling_follows_the_stated_rule(tmp_path, values, expected, note):
    path = tmp_path / "float.tif"
    Image.fromarray(values.astype(np.float32)).save(path)
    assert np.abs(levels(path) - expected[..., None]).max() <= 0.5 + 1e-3
    assert note in notes(path)


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        (RAMP.astype(np.int32), RAMP / 257, "16-bit scaled"),
        (RAMP.astype(np.int32) >> 8, RAMP >> 8, "32-bit integers scaled from [0, 255]"),
        (RAMP.astype(np.int32) - 9000, RAMP / 257, "32-bit integers scaled from [-9000, 56535]"),
    ],
)
def test_32_bit_integers_follow_the_stated_rule(tmp_path, values, expected, note):
    path = tmp_path / "integers.tif"
    Image.fromarray(values).save(path)
    assert np.abs(levels(path) - expected[..., None]).max() <= 0.5
    assert note in notes(path)


def test_unsigned_32_bit_integers_do_not_wrap(tmp_path):
    path = tiff(tmp_path / "unsigned.tif", RAMP.astype("<u4") * 65537, photometric=1)
    assert np.abs(levels(path) - RAMP[..., None] / 257).max() <= 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    values = np.zeros((8, 8), np.float32)
    values[1, 2] = value
    Image.fromarray(values).save(tmp_path / "nan.tif")
    with pytest.raises(WorkbenchError, match=r"nan\.tif: 1 of its 64 values are not finite"):
        images.read(tmp_path / "nan.tif")


def test_a_constant_float_outside_the_range_is_refused(tmp_path):
    Image.fromarray(np.full((8, 8), 700, np.float32)).save(tmp_path / "flat.tif")
    with pytest.raises(WorkbenchError, match=r"flat\.tif: every value is 700"):
        images.read(tmp_path / "flat.tif")


# Orientation, transparency, frames


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_exif_orientation_is_applied_once(tmp_path, orientation, suffix):
    upright = photo(16, 24)
    # The orientations that undo one another: rotations by a quarter swap, all others are their own inverse.
    stored_as = {6: 8, 8: 6}.get(orientation, orientation)
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(turns[stored_as]))
    exif = Image.Exif()
    exif[274] = orientation
    options = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": True}}.get(suffix, {})
    path = tmp_path / f"turned{suffix}"
    stored.save(path, exif=exif, **options)
    decoded = images.read(path)
    assert decoded.image.size == (24, 16)
    assert np.abs(np.asarray(decoded.image).astype(int) - np.asarray(upright)).max() <= (4 if suffix == ".jpg" else 0)
    assert ("EXIF orientation applied" in decoded.notes) == (orientation != 1)


def test_a_16_bit_image_is_turned_too(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(RAMP[:16]).save(tmp_path / "turned.png", exif=exif)
    assert np.abs(levels(tmp_path / "turned.png") - np.rot90(RAMP[:16], -1)[..., None] / 257).max() <= 0.5


@pytest.mark.parametrize("block", [b"garbage", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff\1\x12"])
def test_a_broken_exif_block_does_not_cost_the_picture(tmp_path, block):
    photo().save(tmp_path / "odd.jpg", exif=b"Exif\0\0" + block, quality=95)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what the decoder warns of is a note, not noise on the terminal
        decoded = images.read(tmp_path / "odd.jpg")
    assert decoded.image.size == (60, 40)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "RGB key", "L key", "1 key"])
def test_hidden_colour_does_not_show_through(tmp_path, kind):
    path = tmp_path / "transparent.png"
    red = {"RGBA": (255, 0, 0, 0), "LA": (90, 0), "RGB key": (255, 0, 0), "L key": 90, "1 key": 1}
    if kind == "P":
        image = Image.new("P", (8, 8), 1)
        image.putpalette([0, 0, 0, 255, 0, 0])
        image.save(path, format="PNG", transparency=1)
    elif kind.endswith("key"):
        image = Image.new(kind.split()[0], (8, 8), red[kind])
        image.save(path, transparency=255 if kind == "1 key" else red[kind])
    else:
        Image.new(kind, (8, 8), red[kind]).save(path)
    assert (np.asarray(images.read(path).image) == 255).all()
    assert (np.asarray(images.read(path, ground=(1, 2, 3)).image) == (1, 2, 3)).all()
    assert "alpha composited on #ffffff" in notes(path)


def test_half_transparency_is_the_mean_of_colour_and_ground(tmp_path):
    Image.new("RGBA", (4, 4), (200, 0, 100, 51)).save(tmp_path / "glass.png")  # 51 / 255 = 1/5
    found = np.asarray(images.read(tmp_path / "glass.png", ground=(0, 100, 200)).image)
    assert np.abs(found - np.array([40.0, 80.0, 180.0])).max() <= 1


def test_an_opaque_alpha_changes_nothing(tmp_path):
    picture = photo()
    opaque = picture.copy()
    opaque.putalpha(255)
    opaque.save(tmp_path / "opaque.png")
    decoded = images.read(tmp_path / "opaque.png")
    assert decoded.notes == ()
    assert decoded.image.tobytes() == picture.tobytes()


@pytest.mark.parametrize("ground", [(0, 0), (0, 0, 256), (0.5, 0, 0)])
def test_ground_is_three_levels(tmp_path, ground):
    with pytest.raises(UsageError, match="ground is"):
        images.read(tmp_path / "any.png", ground=ground)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".tif", ".png"])
def test_the_first_frame_stands_for_an_animation(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((0, 0, 255), (255, 0, 0), (0, 255, 0))]
    path = tmp_path / f"moving{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    assert (levels(path) == (0, 0, 255)).all()
    assert ("first of several frames" if suffix in (".gif", ".tif") else "first of 3 frames") in notes(path)


# Colour


def test_wide_gamut_colours_reach_srgb_by_the_profile(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(60, 200, (16, 16, 3), dtype=np.uint8))
    picture.save(tmp_path / "adobe.png", icc_profile=adobe_rgb())
    linear = (np.asarray(picture) / 255) ** (round(2.2 * 256) / 256)
    expected = encode_srgb(linear @ (np.linalg.inv(SRGB) @ ADOBE).T)
    found = levels(tmp_path / "adobe.png")
    assert np.abs(found - expected).max() <= 1.5
    assert np.abs(np.asarray(picture).astype(int) - expected).max() > 20  # what leaving the profile out would cost
    assert "ICC profile converted to sRGB (made by hand)" in notes(tmp_path / "adobe.png")


def test_an_srgb_profile_changes_nothing(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo().save(tmp_path / "srgb.png", icc_profile=profile)
    assert images.read(tmp_path / "srgb.png").image.tobytes() == photo().tobytes()


@pytest.mark.parametrize("depth", [8, 16])
def test_a_grey_profile_is_applied(tmp_path, depth):
    profile = icc(b"GRAY", b"XYZ ", {b"kTRC": gamma(1.0)})
    ramp = RAMP if depth == 16 else (RAMP >> 8).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "linear.png", icc_profile=profile)
    eight_bit = np.floor(ramp / 257 + 0.5) if depth == 16 else ramp
    assert np.abs(levels(tmp_path / "linear.png") - encode_srgb(eight_bit / 255)[..., None]).max() <= 1.5


def test_the_profile_of_a_transparent_image_applies_to_its_colour(tmp_path):
    opaque, glass = photo(), photo()
    glass.putalpha(Image.linear_gradient("L").resize(glass.size))
    opaque.save(tmp_path / "opaque.png", icc_profile=adobe_rgb())
    glass.save(tmp_path / "glass.png", icc_profile=adobe_rgb())
    alpha = np.asarray(glass)[..., 3:] / 255
    expected = alpha * levels(tmp_path / "opaque.png") + (1 - alpha) * 255
    assert np.abs(levels(tmp_path / "glass.png") - expected).max() <= 1


def test_cmyk_follows_its_profile(tmp_path):
    # A press on which cyan alone prints L* = 60 and full black L* = 10, all without hue.
    profile = cmyk_to_lab(lambda c, m, y, k: 10 if k else 60 if c else 100)
    corners = Image.new("CMYK", (3, 1))
    for column, ink in enumerate([(0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 255)]):
        corners.putpixel((column, 0), ink)
    corners.save(tmp_path / "press.tif", icc_profile=profile)
    found = levels(tmp_path / "press.tif")[0]
    assert np.ptp(found, axis=1).max() <= 2  # without hue
    assert found[0].min() >= 253
    # CIE 1976: Y = ((L* + 16) / 116)^3. A profile without tables back to ink leaves the black of the press as it is.
    assert np.abs(found[1:] - encode_srgb(((np.array([[60], [10]]) + 16) / 116) ** 3)).max() <= 2
    assert "ICC profile converted to sRGB" in notes(tmp_path / "press.tif")


def test_cmyk_without_a_profile_is_converted_with_a_note(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "ink.jpg", quality=100)
    assert np.abs(levels(tmp_path / "ink.jpg") - (255, 0, 0)).max() <= 2
    assert notes(tmp_path / "ink.jpg") == "CMYK converted without a profile"


@pytest.mark.parametrize("profile", [b"not a profile at all", adobe_rgb()[:200], icc(b"GRAY", b"XYZ ", {b"kTRC": gamma(1.0)})])
def test_a_profile_that_cannot_be_used_is_noted_and_ignored(tmp_path, profile):
    photo().save(tmp_path / "odd.png", icc_profile=profile)
    decoded = images.read(tmp_path / "odd.png")
    assert decoded.image.tobytes() == photo().tobytes()
    assert len(decoded.notes) == 1
    assert decoded.notes[0].startswith("ICC profile ignored (")


def test_lab_is_converted(tmp_path):
    lab = Image.merge("LAB", [Image.new("L", (4, 4), level) for level in (255, 128, 128)])
    lab.save(tmp_path / "lab.tif")
    assert levels(tmp_path / "lab.tif").min() >= 253
    assert "Lab converted to sRGB" in notes(tmp_path / "lab.tif")


def test_plain_files_have_no_notes_and_no_metadata_left(tmp_path):
    photo().save(tmp_path / "plain.png", dpi=(300, 300))
    photo().convert("L").save(tmp_path / "grey.png")
    assert images.read(tmp_path / "plain.png").notes == images.read(tmp_path / "grey.png").notes == ()
    photo().save(tmp_path / "adobe.png", icc_profile=adobe_rgb())
    assert images.read(tmp_path / "adobe.png").image.info == {}


# Bad files


def jpeg() -> bytes:
    stream = io.BytesIO()
    photo(200, 300).save(stream, format="JPEG", quality=95)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"this is a shopping list\n" * 40, "not an image"),
        (jpeg()[:50], "damaged or truncated"),
        (b"\x89PNG\r\n\x1a\n garbage", "damaged"),
        (jpeg()[: len(jpeg()) // 2], "damaged or truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n", "not an image"),
        (b"P5 0 0 255\n", "damaged"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "seems to be HEIC"),
        (b"%PDF-1.7\n" + bytes(64), "seems to be a PDF"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "seems to be an SVG"),
    ],
    ids=["empty", "text", "head of a JPEG", "half a JPEG", "head of a PNG", "EPS", "no pixels", "HEIC", "PDF", "SVG"],
)
def test_what_is_not_a_whole_image_is_one_line(tmp_path, content, reason):
    path = tmp_path / "painting.jpg"
    path.write_bytes(content)
    with pytest.raises(WorkbenchError) as caught:
        images.read(path)
    message = str(caught.value)
    assert message.startswith(f"cannot read {path}: ")
    assert reason in message
    assert "\n" not in message


@pytest.mark.parametrize("exif", [False, True])
@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("TIFF", {"compression": "tiff_adobe_deflate"})], ids=["PNG", "deflated TIFF"]
)
def test_a_bit_flipped_in_data_with_a_checksum_is_refused(tmp_path, kind, options, exif):
    """Also where Pillow looks for an EXIF block behind the pixels, and stumbles over them: no note about EXIF will do."""
    block = Image.Exif()
    block[0x0112] = 1
    stream = io.BytesIO()
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 255, (40, 60, 3), np.uint8)).save(
        stream, kind, **options, **({"exif": block} if exif else {})
    )
    whole = stream.getvalue()
    if kind == "PNG":
        start = whole.index(b"IDAT") + 4
        end = start + struct.unpack(">I", whole[start - 8 : start - 4])[0]
    else:
        with Image.open(io.BytesIO(whole)) as image:
            start = image.tag_v2[273][0]
            end = start + image.tag_v2[279][0]
    path = tmp_path / "flipped"
    for place in generator.integers(start, end, 40):
        content = bytearray(whole)
        content[place] ^= 1 << generator.integers(8)
        path.write_bytes(content)
        with pytest.raises(WorkbenchError, match="flipped: damaged or truncated"):
            images.read(path)


def test_a_large_icc_profile_does_not_cost_the_picture(tmp_path):
    photo().save(tmp_path / "press.png", icc_profile=bytes(2**21))
    decoded = images.read(tmp_path / "press.png")
    assert decoded.image.tobytes() == photo().tobytes() and decoded.notes[0].startswith("ICC profile ignored (")


def test_of_sixty_thousand_pages_one_is_read(tmp_path):
    """The pages are not walked through to be counted."""
    one, many = tmp_path / "one.tif", bytearray()
    tiff(one, np.full((4, 4), 77, np.uint8), photometric=1)
    content = one.read_bytes()
    directory = content[8 : 8 + 2 + 12 * 10]
    start = len(content) + len(content) % 2
    step = len(directory) + 4
    for page in range(60_000):
        many += directory + struct.pack("<I", start + (page + 1) * step if page < 59_999 else 0)
    one.write_bytes(content[:4] + struct.pack("<I", start) + content[8:].rjust(start - 8, b"\0")[: start - 8] + many)
    began = time.process_time()
    assert (levels(one) == 77).all() and "first of several frames" in notes(one)
    assert time.process_time() - began < 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
def test_what_has_no_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "zero.png"):
        with pytest.raises(WorkbenchError, match=rf"{name}: not a regular file"):
            images.read(tmp_path / name)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(WorkbenchError, match=r"nowhere\.png: no such file"):
        images.read(tmp_path / "nowhere.png")
    with pytest.raises(WorkbenchError, match="a folder, not an image"):
        images.read(tmp_path)
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with pytest.raises(WorkbenchError, match=r"loop\.png: "):
        images.read(tmp_path / "loop.png")
    with pytest.raises(WorkbenchError, match="cannot read"):
        images.read(tmp_path / ("x" * 400))


@pytest.mark.parametrize("limit", [1500, 1000])
def test_pixel_bombs_name_the_file_and_the_count(tmp_path, monkeypatch, limit):
    """At 2400 pixels Pillow warns below a limit of 1500 and raises below twice 1000: both are the same error here."""
    photo(40, 60).save(tmp_path / "vast.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(WorkbenchError, match=rf"vast\.png: .*2400 pixels.*{limit if limit == 1500 else 2 * limit}"):
        images.read(tmp_path / "vast.png")


def test_threads_that_read_at_once_hear_only_of_their_own_pictures(tmp_path, monkeypatch):
    photo().save(tmp_path / "odd.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=95)
    photo().save(tmp_path / "sound.jpg", quality=95)
    photo(400, 600).save(tmp_path / "vast.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150_000)
    alone = {name: images.read(tmp_path / name).notes for name in ("odd.jpg", "sound.jpg")}
    assert any("decoder warns" in note for note in alone["odd.jpg"]) and not alone["sound.jpg"]

    def verdict(name):
        try:
            return images.read(tmp_path / name).notes
        except WorkbenchError as error:
            return str(error)

    with warnings.catch_warnings(record=True) as heard, ThreadPoolExecutor(8) as readers:
        warnings.simplefilter("always")
        before = list(warnings.filters), warnings.showwarning
        found = list(readers.map(verdict, ["odd.jpg", "sound.jpg", "vast.png"] * 40))
        assert (list(warnings.filters), warnings.showwarning) == before
        warnings.warn("of somebody else", stacklevel=1)
    assert found[:2] == list(alone.values()) and "vast.png" in found[2]
    assert found == found[:3] * 40
    assert [str(warning.message) for warning in heard] == ["of somebody else"]


def test_the_limit_on_pixels_is_kept():
    assert Image.MAX_IMAGE_PIXELS == 89478485


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_anywhere_is_a_decoded_image_or_one_line(tmp_path_factory, data):
    """Flipped and cut bytes never escape as another exception."""
    stream = io.BytesIO()
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"]))
    photo(12, 12).save(stream, format=kind, **({"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"} if kind in ("JPEG", "PNG") else {}))
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "file"
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    try:
        assert images.read(path).image.mode == "RGB"
    except WorkbenchError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["ночь.JPG", "a b c.jpeg", "really a png.jpg"])
def test_names_and_wrong_suffixes_do_not_matter(tmp_path, name):
    photo().save(tmp_path / name, format="PNG")
    assert images.read(tmp_path / name).image.tobytes() == photo().tobytes()


# Tensors


@given(
    st.integers(1, 9).flatmap(lambda h: st.integers(1, 9).map(lambda w: (h, w))),
    st.integers(0, 2**32 - 1),
)
def test_pil_to_tensor_and_back_is_the_identity(shape, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
    tensor = images.to_tensor(Image.fromarray(pixels))
    assert tensor.shape == (1, 3, *shape)
    assert tensor.dtype == torch.float32
    assert (np.asarray(images.to_pil(tensor)) == pixels).all()
    assert (np.asarray(images.to_pil(tensor[0])) == pixels).all()


def test_to_pil_rounds_and_clamps():
    tensor = torch.tensor([-0.5, 0.4 / 255, 0.6 / 255, 100.4 / 255, 1.5]).expand(1, 3, 1, 5)
    assert np.asarray(images.to_pil(tensor))[0, :, 0].tolist() == [0, 0, 1, 100, 255]


def test_to_pil_refuses_what_a_clamp_would_hide():
    with pytest.raises(WorkbenchError, match="1 of the image's 12 values"):
        images.to_pil(torch.tensor([float("nan")] + [0.0] * 11).reshape(1, 3, 2, 2))
    with pytest.raises(UsageError, match="shape"):
        images.to_pil(torch.zeros(2, 3, 4, 4))


def test_to_tensor_takes_rgb_only():
    with pytest.raises(UsageError, match="RGBA"):
        images.to_tensor(Image.new("RGBA", (4, 4)))


# Sizes


@given(st.integers(1, 20000), st.integers(1, 20000), st.integers(16, 8192))
def test_fit_keeps_the_aspect(height, width, size):
    h, w = images.fit(height, width, size)
    assert max(h, w) == size
    assert min(h, w) >= 1
    assert images.fit(width, height, size) == (w, h)
    assert abs(min(h, w) - max(1, size * min(height, width) / max(height, width))) <= 0.5


@pytest.mark.parametrize("size", [24, 60, 133])
def test_load_has_exactly_the_long_side_asked_for(tmp_path, size):
    photo(40, 60).save(tmp_path / "photo.png")
    tensor = images.load(tmp_path / "photo.png", size)
    assert tensor.shape == (1, 3, round(size * 40 / 60), size)
    assert tensor.min() >= 0
    assert tensor.max() <= 1
    assert images.load(tmp_path / "photo.png").shape == (1, 3, 40, 60)


def test_resize_agrees_with_pillows_bicubic():
    smooth = images.to_tensor(photo(120, 180))
    reference = np.asarray(photo(120, 180).resize((60, 40), Image.Resampling.BICUBIC)).astype(float)
    # torch's bicubic has a = -0.5 when antialiasing, as Pillow's: they differ by the rounding of Pillow's two passes
    found = images.resize(smooth, 60)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(found - reference).max() <= 1.5


def test_resize_to_a_given_height_and_width_stays_in_range():
    checker = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * torch.ones(2, 3, 32, 32)
    for shape in ((7, 90), (100, 33)):
        resized = images.resize(checker, shape)
        assert resized.shape == (2, 3, *shape)
        assert resized.min() >= 0
        assert resized.max() <= 1
    # An averaging filter, not every n-th pixel: a checkerboard shrinks to grey, not to black or white.
    assert (images.resize(checker, (8, 8))[..., 1:-1, 1:-1] - 0.5).abs().max() < 0.1
    assert images.resize(checker, 32) is checker


@pytest.mark.parametrize("size", [0, -1, 15, 8193, 10**6, 64.0, "64", None, True])
def test_sizes_out_of_range_are_one_line(size):
    with pytest.raises(UsageError, match=r"size is .*from 16 to 8192"):
        images.check_size(size)


def test_sizes_in_range_pass_through():
    assert [images.check_size(size) for size in (16, 512, 8192)] == [16, 512, 8192]
    with pytest.raises(UsageError, match="size is"):
        images.load("any.png", 0)
    for shape in (0, (0, 5), (5,), (5, 10**6)):
        with pytest.raises(UsageError, match="size is"):
            images.resize(torch.zeros(1, 3, 8, 8), shape)


# Saving

METADATA = {"content": "Mona Lisa", "target": "La Nuit étoilée, 星月夜", "seed": "0"}


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".tiff", ".webp"])
def test_lossless_formats_round_trip(tmp_path, suffix):
    path = images.save(images.to_tensor(photo()), tmp_path / "deep" / f"out{suffix}", metadata=METADATA)
    assert images.read(path).image.tobytes() == photo().tobytes()


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg_keeps_full_chroma(tmp_path, suffix):
    path = images.save(photo(), tmp_path / f"out{suffix}")
    with Image.open(path) as image:
        assert {sampling[1:3] for sampling in image.layer} == {(1, 1)}
    assert np.abs(levels(path) - np.asarray(photo())).mean() < 2


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_metadata_is_in_the_file(tmp_path, suffix):
    path = images.save(photo(), tmp_path / f"out{suffix}", metadata=METADATA)
    with Image.open(path) as image:
        found = image.text if suffix == ".png" else json.loads(image.getexif()[270])
    assert found == METADATA


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_saving_twice_gives_the_same_bytes(tmp_path, suffix):
    photo().save(tmp_path / "source.png", icc_profile=adobe_rgb())
    decoded = images.read(tmp_path / "source.png").image
    first = images.save(decoded, tmp_path / f"first{suffix}", metadata=METADATA).read_bytes()
    assert images.save(images.to_tensor(decoded), tmp_path / f"second{suffix}", metadata=METADATA).read_bytes() == first
    carried = photo()
    carried.info["icc_profile"] = adobe_rgb()
    assert b"made by hand" not in images.save(carried, tmp_path / f"third{suffix}").read_bytes()


def test_an_unknown_suffix_lists_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match=r"out\.xcf.*\.png, \.jpg"):
        images.save(photo(), tmp_path / "out.xcf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("metadata", [{"": "x"}, {"k" * 80: "x"}, {"é": "x"}, {"seed": 3}])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_metadata_that_does_not_fit_is_refused(tmp_path, metadata, suffix):
    with pytest.raises(UsageError, match="metadata of"):
        images.save(photo(), tmp_path / f"out{suffix}", metadata=metadata)
    assert list(tmp_path.iterdir()) == []


def test_metadata_too_long_for_a_jpeg_is_refused_and_fits_a_png(tmp_path):
    long = {"parameters": "x" * 70000}
    with pytest.raises(UsageError, match=r"save as \.png"):
        images.save(photo(), tmp_path / "out.jpg", metadata=long)
    images.save(photo(), tmp_path / "out.png", metadata=long)


def test_a_failed_save_leaves_what_was_there(tmp_path, monkeypatch):
    path = images.save(photo(), tmp_path / "out.png")
    before = path.read_bytes()

    def half_then_full_disk(self, file, **options):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", half_then_full_disk)
    with pytest.raises(WorkbenchError, match=r"out\.png: No space left"):
        images.save(photo(8, 8), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_saving_takes_rgb_only(tmp_path):
    with pytest.raises(UsageError, match="mode RGBA"):
        images.save(Image.new("RGBA", (4, 4)), tmp_path / "out.png")


# Real files


def test_a_real_photograph_and_a_real_painting(shared, tmp_path):
    mona_lisa = shared / "data" / "content" / "mona_lisa.jpg"
    assert images.read(mona_lisa).notes == ()
    assert images.load(mona_lisa, 256).shape == (1, 3, 256, 172)
    cut = tmp_path / "cut.jpg"
    shutil.copy(mona_lisa, cut)
    cut.write_bytes(cut.read_bytes()[:-20000])
    with pytest.raises(WorkbenchError, match="damaged or truncated"):
        images.read(cut)
    with Image.open(cut) as image:
        image.verify()  # the trap: Pillow's own check lets it pass


# --- reduced decoding


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("width", "height"), [(1203, 807), (807, 1203)])
def test_a_large_jpeg_is_decoded_smaller_with_nearly_the_same_pixels(tmp_path, width, height, orientation):
    x, y = np.meshgrid(np.linspace(0, 9, width), np.linspace(0, 7, height))
    levels = np.stack([128 + 100 * np.sin(x), 128 + 100 * np.cos(y), 128 + 100 * np.sin(x + y)], axis=2).astype(np.uint8)
    path = tmp_path / "large.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(levels).save(path, quality=95, exif=exif)
    reduced = images.read(path, enough=128)
    upright = (height, width) if orientation == 1 else (width, height)
    assert reduced.full == upright == images.read(path).full
    assert 128 <= max(reduced.image.size) < 1203 / 4
    exact = images.resize(images.load(path), 64)
    assert images.load(path, 64).shape == exact.shape
    assert (images.load(path, 64) - exact).abs().mean() < 0.01


def test_a_picture_that_is_not_much_larger_is_decoded_whole(tmp_path):
    path = tmp_path / "small.jpg"
    Image.fromarray(np.full((90, 120, 3), 77, np.uint8)).save(path)
    assert images.read(path, enough=64).image.size == (120, 90)
    assert torch.equal(images.load(path, 60), images.resize(images.load(path), 60))


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("suffix", "mode"),
    [(".jpg", "RGB"), (".jpg", "CMYK"), (".png", "RGB"), (".png", "P"), (".png", "I;16"), (".webp", "RGBA"), (".tif", "RGB")],
)
def test_above_the_limit_on_pixels_a_picture_comes_reduced(tmp_path, monkeypatch, suffix, mode, orientation):
    """As it would, reduced by means of its pixels, without the limit; the notes tell of the file as they do of any."""
    y, x = np.mgrid[:300, :400]
    plain = Image.fromarray(np.stack([x * 0.6, y * 0.8, 128 + 90 * np.sin(x / 40)], -1).astype(np.uint8))
    picture = Image.fromarray((x * 160).astype(np.uint16)) if mode == "I;16" else plain.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"vast{suffix}"
    picture.save(path, exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    whole = images.read(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    with pytest.raises(WorkbenchError, match="make a smaller copy"):
        images.read(path)
    found = images.read(path, enough=100)
    assert (found.full, found.notes) == (whole.full, whole.notes)
    assert max(found.image.size) == 100
    means = np.asarray(whole.image.reduce(4), float)
    assert np.abs(np.asarray(found.image, float) - means).mean() < (8 if mode == "P" else 2)
    assert images.load(path, 64).shape[2:] == ((64, 48) if orientation == 6 else (48, 64))


def test_a_large_file_is_hashed_without_being_held_in_memory(tmp_path):
    path = tmp_path / "large.tif"
    Image.new("RGB", (4000, 3000), (200, 120, 40)).save(path)  # 36 MB, for TIFF is not compressed here
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    tracemalloc.start()
    try:
        found = images.read(path, enough=64, sha256=digest)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.full == (3000, 4000) and most < decoding.HELD / 4


@pytest.mark.parametrize("limit", [None, 1000], ids=["in this process", "apart"])
@pytest.mark.parametrize("held", [0, decoding.HELD], ids=["read twice", "held in memory"])
def test_what_is_decoded_is_what_was_hashed(tmp_path, monkeypatch, held, limit):
    """A picture that is replaced before, or while, it is decoded is refused, or the one that was hashed is decoded."""
    path, other = tmp_path / "a.png", tmp_path / "b.png"
    photo(48, 64).save(path)
    Image.new("RGB", (64, 48)).save(other)
    digest, before = hashlib.sha256(path.read_bytes()).hexdigest(), path.read_bytes()
    monkeypatch.setattr(decoding, "HELD", held)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    expected = np.asarray(images.read(path, enough=32, sha256=digest).image)
    decode, unheld = decoding._decode, held == 0 or limit is not None

    def late(*given):
        path.write_bytes(other.read_bytes())
        return decode(*given)

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "_decode", late)
        if unheld:
            with pytest.raises(WorkbenchError, match=r"a\.png: the file was replaced after it was listed"):
                images.read(path, enough=32, sha256=digest)
        else:
            assert np.array_equal(np.asarray(images.read(path, enough=32, sha256=digest).image), expected)
    with pytest.raises(WorkbenchError, match="was replaced after it was listed"):
        images.read(path, enough=32, sha256=digest)
    path.write_bytes(before)
    assert np.array_equal(np.asarray(images.read(path, enough=32, sha256=digest).image), expected)


def test_what_does_not_fit_into_the_memory_of_another_process_is_refused(tmp_path):
    path = tmp_path / "bomb.png"
    photo().save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(WorkbenchError, match=r"bomb\.png: decoding it takes more than 1024 MiB of memory; make a smaller copy"):
        images.read(path, enough=512)


def test_of_a_vast_damaged_file_the_reason_is_said(tmp_path, monkeypatch):
    photo(200, 300).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-2000])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000)
    with pytest.raises(WorkbenchError, match=r"cut\.png: damaged or truncated: "):
        images.read(tmp_path / "cut.png", enough=64)


def test_a_kept_picture_is_known_again_and_no_other_passes_for_it(tmp_path):
    one, other = (images.to_tensor(each) for each in (photo(), photo().transpose(Image.Transpose.ROTATE_180)))
    path = tmp_path / "one.png"
    assert images.kept(path, "a") is None
    found = images.keep(one, path, "a")
    assert torch.equal(found, one) and torch.equal(images.kept(path, "a"), found) and images.kept(path, "b") is None
    content = path.read_bytes()
    for left in (content[:-60], b"", b"text", content[:60] + bytes([content[60] ^ 1]) + content[61:]):
        path.write_bytes(left)
        assert images.kept(path, "a") is None
    path.write_bytes(content)
    with Image.open(path) as file:
        text = dict(file.info)
    images.save(other, path, metadata=text)  # the checksum stays, the pixels do not
    assert images.kept(path, "a") is None
    images.save(one, path)
    assert images.kept(path, "a") is None
