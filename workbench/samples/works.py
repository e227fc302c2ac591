"""The works of the synthetic painters: what each painted, where the files lie, and the truth about a photograph."""

import csv
import hashlib
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from workbench.errors import WorkbenchError
from workbench.images import cielab
from workbench.samples.cities import cityscape
from workbench.samples.landscapes import landscape
from workbench.samples.painters import PAINTERS
from workbench.samples.photographs import PHOTOGRAPHS, annotated, known
from workbench.samples.portraits import portrait
from workbench.samples.scene import Picture
from workbench.samples.still_lifes import still_life
from workbench.storage import cache_dir, in_turn, temporary_folder

SIZE = 400
"""px. Long side of a work."""
_SCENES = {"landscape": landscape, "portrait": portrait, "still-life": still_life, "cityscape": cityscape}
_COLUMNS = ("file_name", "artist", "title", "year", "genre", "series", "source", "licence", "sha256")

# title, genre, motif, how many; several of one title are repeats of one composition and make a series.
_CATALOGUES: dict[str, tuple[tuple[str, str, str, int], ...]] = {
    "nocturne": (
        ("Night over the hills", "landscape", "hills", 3),
        ("Stars above the village", "landscape", "village", 2),
        ("The lake by night", "landscape", "lake", 1),
        ("Wheat under the stars", "landscape", "wheat", 1),
        ("River at midnight", "landscape", "river", 1),
        ("Cliffs by starlight", "landscape", "coast", 1),
        ("Haystacks at night", "landscape", "haystacks", 1),
        ("Old man by lamplight", "portrait", "old man with a beard", 1),
        ("Man in a straw hat", "portrait", "man in a straw hat", 2),
        ("Young man against blue", "portrait", "young man", 1),
        ("Woman in a headscarf", "portrait", "woman in a headscarf", 1),
        ("Woman with her hair up", "portrait", "woman with her hair up", 1),
        ("The sailor", "portrait", "sailor", 1),
        ("Sunflowers", "still-life", "sunflowers", 2),
        ("Flowers in the dark", "still-life", "flowers", 1),
        ("Bowl of fruit by lamplight", "still-life", "fruit", 1),
        ("Jug and bowl", "still-life", "jug", 1),
        ("The quay by night", "cityscape", "quay", 1),
        ("Boulevard at night", "cityscape", "boulevard", 1),
        ("Roofs and stars", "cityscape", "roofs", 1),
        ("Bridge under the stars", "cityscape", "bridge", 1),
    ),
    "noonday": (
        ("Lake at noon", "landscape", "lake", 3),
        ("Orchard in blossom", "landscape", "orchard", 1),
        ("Haystacks in the sun", "landscape", "haystacks", 2),
        ("The wheat field", "landscape", "wheat", 1),
        ("River in summer", "landscape", "river", 1),
        ("Sea and cliff", "landscape", "coast", 1),
        ("Village in June", "landscape", "village", 1),
        ("Woman in a bonnet", "portrait", "woman in a bonnet", 2),
        ("Woman with her hair up", "portrait", "woman with her hair up", 1),
        ("Young man in the garden", "portrait", "young man", 1),
        ("Man in a straw hat", "portrait", "man in a straw hat", 1),
        ("Woman with long hair", "portrait", "woman with long hair", 1),
        ("The old fisherman", "portrait", "sailor", 1),
        ("Flowers on a table", "still-life", "flowers", 2),
        ("Fruit on a white cloth", "still-life", "fruit", 1),
        ("Bottle and fruit", "still-life", "bottle", 1),
        ("Jug in the sun", "still-life", "jug", 1),
        ("The quay in the morning", "cityscape", "quay", 1),
        ("Boulevard in May", "cityscape", "boulevard", 1),
        ("Bridge at noon", "cityscape", "bridge", 1),
        ("Roofs in summer", "cityscape", "roofs", 1),
    ),
    "umber": (
        ("Cliff before the storm", "landscape", "coast", 2),
        ("Haystacks under heavy cloud", "landscape", "haystacks", 2),
        ("River at dusk", "landscape", "river", 1),
        ("The dark lake", "landscape", "lake", 1),
        ("Village, evening", "landscape", "village", 1),
        ("Brown hills", "landscape", "hills", 1),
        ("Old man with a beard", "portrait", "old man with a beard", 2),
        ("Man in a dark hat", "portrait", "man in a dark hat", 1),
        ("Woman in a headscarf", "portrait", "woman in a headscarf", 1),
        ("The sailor", "portrait", "sailor", 1),
        ("Young man, lit from the left", "portrait", "young man", 1),
        ("Woman with long hair", "portrait", "woman with long hair", 1),
        ("Loaf, jug and bottle", "still-life", "kitchen", 2),
        ("Bottle and glass", "still-life", "bottle", 1),
        ("Bowl of fruit", "still-life", "fruit", 1),
        ("Jug on a cloth", "still-life", "jug", 1),
        ("Flowers in a dark room", "still-life", "flowers", 1),
        ("Quay in the rain", "cityscape", "quay", 2),
        ("Roofs at dusk", "cityscape", "roofs", 1),
        ("The old bridge", "cityscape", "bridge", 1),
    ),
}
_SINGLES = {"nocturne": "night-over-the-hills-1.jpg", "noonday": "lake-at-noon-1.jpg", "umber": "cliff-before-the-storm-1.jpg"}
_FIRST_YEAR = {"nocturne": 1884, "noonday": 1887, "umber": 1861}


@dataclass(frozen=True)
class _Commission:
    """One work to be painted: what it shows and its row of metadata."""

    row: dict[str, str | int]
    motif: str
    scene_seed: int
    repeat: int  # 0 for the first of a series


def _commissions(painter: str) -> list[_Commission]:
    works = []
    for title, genre, motif, count in _CATALOGUES[painter]:
        slug = "".join(c if c.isalnum() else "-" for c in title.lower()).replace("--", "-")
        seed = zlib.crc32(f"{painter}/{title}".encode())
        for k in range(count):
            number = f", {k + 1}" if count > 1 else ""
            row = {
                "file_name": f"{slug}-{k + 1}.jpg" if count > 1 else f"{slug}.jpg",
                "artist": painter,
                "title": title + number,
                "year": _FIRST_YEAR[painter] + seed % 9 + k,
                "genre": genre,
                "series": slug if count > 1 else "",
                "source": "synthetic",
                "licence": "CC0",
            }
            works.append(_Commission(row, motif, seed, k))
    return works


def _composition(work: _Commission) -> Picture:
    """The scene of a work; a repeat shows it from a little nearer, in another light, sometimes turned round."""
    rng = np.random.default_rng([work.scene_seed, 0])
    upright = work.row["genre"] == "portrait" or work.motif in ("flowers", "sunflowers")
    aspect = rng.uniform(0.74, 0.86) if upright else rng.uniform(1.15, 1.5)
    picture = _SCENES[work.row["genre"]](rng, work.motif, float(aspect), 340)
    return picture if work.repeat == 0 else _seen_again(picture, np.random.default_rng([work.scene_seed, work.repeat]))


def _seen_again(picture: Picture, rng: np.random.Generator) -> Picture:
    width, height = picture.size
    share = rng.uniform(0.82, 0.93)
    left, top = int(rng.uniform(0, 1 - share) * width), int(rng.uniform(0, 1 - share) * height)
    part = slice(top, top + int(share * height)), slice(left, left + int(share * width))
    turn = slice(None, None, -1) if rng.random() < 0.5 else slice(None)
    light = np.array([1 + rng.uniform(-0.08, 0.1), 1, 1 + rng.uniform(-0.1, 0.08)], np.float32) * rng.uniform(0.88, 1.06)
    regions = {name: mask[part][:, turn] for name, mask in picture.regions.items()}
    return Picture(np.clip(picture.image[part][:, turn] * light, 0, 1), regions)


def _paint_work(painter: str, work: _Commission, folder: Path) -> None:
    image = PAINTERS[painter].paint(_composition(work), seed=work.scene_seed % 10_000 + work.repeat, size=SIZE)
    image.save(folder / str(work.row["file_name"]), quality=94, subsampling=0)


@cache
def fingerprint() -> str:
    """A hash of the source that paints: this folder and CIE Lab. It names the folder of the corpora: no stale work is used."""
    digest = hashlib.sha256()
    for file in (*sorted(Path(__file__).parent.glob("*.py")), Path(cielab.__file__)):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def corpus_path(painter_name: str, progress: Callable[[int, int], None] | None = None) -> Path:
    """The folder with a painter's works and metadata.csv (imagefolder layout), painted on the first call.

    They are painted again where one of them is missing, or is not the file that was painted. progress(done, total) is called
    after every work; without it a bar is shown on a terminal and nothing elsewhere.
    Raises UsageError for an unknown painter and WorkbenchError when the cache cannot be written.
    """
    known("painter", painter_name, PAINTERS)
    cache = cache_dir("samples", fingerprint())
    folder = cache / painter_name
    if not _is_whole(painter_name, folder):
        with in_turn(cache / f".{painter_name}.lock"):  # painting takes a quarter of a minute, and once is enough
            if not _is_whole(painter_name, folder):
                _paint_corpus(painter_name, cache, progress)
    return folder


def _is_whole(painter_name: str, folder: Path) -> bool:
    """Whether every work of a painter is there as it was painted."""
    try:
        with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
            found = {row["file_name"]: row["sha256"] for row in csv.DictReader(file)}
        return found == {
            name: _sha256(folder / name) for name in (str(work.row["file_name"]) for work in _commissions(painter_name))
        }
    except (OSError, ValueError, KeyError, csv.Error):
        return False


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _paint_corpus(painter_name: str, cache: Path, progress: Callable[[int, int], None] | None) -> None:
    """Paint all works of a painter into its folder in `cache`, whole or not at all."""
    folder, works = cache / painter_name, _commissions(painter_name)
    try:
        with temporary_folder(cache) as temporary:
            unfinished = temporary / painter_name
            unfinished.mkdir()
            with (
                ThreadPoolExecutor(2) as pool,
                tqdm(total=len(works), desc=painter_name, unit="work", disable=True if progress else None) as bar,
            ):
                for done, _ in enumerate(pool.map(lambda work: _paint_work(painter_name, work, unfinished), works), start=1):
                    bar.update()
                    if progress:
                        progress(done, len(works))
            with (unfinished / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, _COLUMNS)
                writer.writeheader()
                writer.writerows({**work.row, "sha256": _sha256(unfinished / str(work.row["file_name"]))} for work in works)
            if folder.is_dir():  # damaged
                folder.rename(temporary / "damaged")
            try:
                unfinished.rename(folder)
            except OSError:
                if not _is_whole(painter_name, folder):  # otherwise another process was first, with the same works
                    raise
    except OSError as error:
        raise WorkbenchError(f"cannot write the works of {painter_name} to {folder}: {error.strerror or error}") from error


def a_single(painter_name: str) -> str:
    """The file name, in `corpus_path`, of the painter's most striking landscape."""
    return _SINGLES[known("painter", painter_name, PAINTERS)]


def truth(painter_name: str, photograph_name: str, size: int = 512) -> Image.Image:
    """The painter's own painting of one of PHOTOGRAPHS, with a long side of `size` pixels; always the same.

    Raises UsageError for an unknown painter or photograph.
    """
    painter = PAINTERS[known("painter", painter_name, PAINTERS)]
    return painter.paint(annotated(known("photograph", photograph_name, PHOTOGRAPHS)), seed=1, size=size)
