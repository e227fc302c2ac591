"""Corpora: what is taken in, what is left out and why, how works are found, selected and split."""

import csv
import json
import os
import re
import shutil
import sys
import tempfile
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from workbench import images, inputs
from workbench.corpora import Corpus, IngestReport, Work, ingest, metadata, told_apart
from workbench.errors import UsageError, WorkbenchError
from workbench.names import FORMULAS


def paint(path: Path, seed: int = 0, size: tuple[int, int] = (12, 8), **options) -> Path:
    """A small picture of noise, different for every seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def describe(folder: Path, *rows: dict[str, str], columns: tuple[str, ...] = ("file_name", "title", "genre", "series")) -> Path:
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return folder


def names(corpus: Corpus) -> list[str]:
    return [work.name for work in corpus]


@pytest.fixture
def gallery(tmp_path):
    """Six works, five described; two series."""
    rows = [
        ("a-starry-night.png", "The Starry Night", "landscape", "nights"),
        ("b-over-the-rhone.png", "Starry Night Over the Rhône", "landscape", "nights"),
        ("c-gachet.png", "Doctor Gachet", "portrait", ""),
        ("d-self.png", "Self-Portrait", "self-portrait", "selves"),
        ("deep/e-self.png", "Self-Portrait", "self-portrait", "selves"),
    ]
    for seed, row in enumerate(rows):
        paint(tmp_path / row[0], seed)
    paint(tmp_path / "f_the-nameless_one.png", 99)
    keys = ("file_name", "title", "genre", "series")
    return ingest(describe(tmp_path, *(dict(zip(keys, row, strict=True)) for row in rows)))


# Ingest


def test_a_folder_without_metadata(tmp_path):
    for seed, name in enumerate(("b.png", "a.png", "deep/er/c.png")):
        paint(tmp_path / name, seed)
    corpus = ingest(tmp_path)
    assert names(corpus) == ["a.png", "b.png", "deep/er/c.png"]
    assert len(corpus) == 3
    assert corpus.name == tmp_path.name
    assert corpus.columns == ()
    assert corpus.report == IngestReport(seen=3, usable=3)
    work = corpus[2]
    assert work.path == tmp_path.resolve() / "deep/er/c.png"
    assert (work.width, work.height, work.title, work.series, work.artist) == (12, 8, "C", "", "")
    assert work.load(24).shape == (1, 3, 16, 24)


def test_a_work_carries_its_row(gallery):
    work = gallery["a-starry-night.png"]
    assert (work.title, work.genre, work.series, work.year) == ("The Starry Night", "landscape", "nights", "")
    assert work.metadata == {"title": "The Starry Night", "genre": "landscape", "series": "nights"}
    assert gallery["f_the-nameless_one.png"].title == "F the nameless one"
    assert gallery.report.files_without_row == ("f_the-nameless_one.png",)
    assert gallery.columns == ("title", "genre", "series")
    assert len({*gallery}) == 6  # works are hashable, as keys of caches


def test_what_lies_beside_the_images_is_not_seen(tmp_path):
    paint(tmp_path / "a.png")
    for name in ("notes.txt", "README.md", "info.json", ".hidden.png", "Thumbs.db", ".DS_Store", "LICENSE", ".git/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"something")
    assert ingest(tmp_path).report == IngestReport(seen=1, usable=1)


def test_every_reason_is_in_the_report(tmp_path):
    paint(tmp_path / "good.png", 1)
    paint(tmp_path / "shouting.JPG", 2, format="PNG")
    paint(tmp_path / "été avec espaces.png", 3)
    turned = Image.Exif()
    turned[274] = 6
    paint(tmp_path / "turned.jpg", 4, exif=turned)
    shutil.copy(tmp_path / "good.png", tmp_path / "twin.png")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "list.jpg").write_text("bread, milk")
    (tmp_path / "half.png").write_bytes((tmp_path / "good.png").read_bytes()[:200])
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    corpus = ingest(tmp_path)
    report = corpus.report
    assert (report.seen, report.usable) == (9, 4)
    assert names(corpus) == ["good.png", "shouting.JPG", "turned.jpg", "été avec espaces.png"]
    assert (corpus["turned.jpg"].width, corpus["turned.jpg"].height) == (8, 12)
    reasons = dict(report.rejected)
    assert set(reasons) == {"empty.jpg", "list.jpg", "half.png", "gone.png"}
    assert reasons["empty.jpg"] == "the file is empty (0 bytes)"
    assert reasons["list.jpg"].startswith("not an image")
    assert reasons["half.png"].startswith("damaged or truncated")
    assert reasons["gone.png"] == "no such file"
    assert report.converted == (("turned.jpg", ("EXIF orientation applied",)),)
    assert report.duplicates == (("twin.png", "good.png"),)
    text = str(report)
    assert text.splitlines()[0] == "9 images seen: 4 usable, 4 rejected, 1 duplicate"
    assert "duplicate twin.png: the same picture as good.png" in text
    assert all(f"rejected {name}: " in text for name in reasons)
    assert "converted turned.jpg: EXIF orientation applied" in text


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["good", "bad", "empty"]), st.integers(0, 3)), min_size=1, max_size=8))
def test_counts_add_up(tmp_path_factory, files):
    """Over any mixture: seen = usable + rejected + duplicates, and every content counts once."""
    folder = tmp_path_factory.mktemp("mixture")
    for number, (kind, seed) in enumerate(files):
        path = paint(folder / f"{number}.png", seed)
        if kind != "good":
            path.write_bytes(path.read_bytes()[:150] if kind == "bad" else b"")
    good = [seed for kind, seed in files if kind == "good"]
    if not good:
        with pytest.raises(WorkbenchError, match=f"{len(files)} of {len(files)} files rejected"):
            ingest(folder)
        return
    corpus = ingest(folder)
    report = corpus.report
    assert report.seen == len(files) == report.usable + len(report.rejected) + len(report.duplicates)
    assert report.usable == len(corpus) == len(set(good))
    assert len(report.duplicates) == len(good) - len(set(good))
    assert len({work.sha256 for work in corpus}) == len(corpus)
    accounted = [*names(corpus), *dict(report.rejected), *dict(report.duplicates)]
    assert sorted(accounted) == sorted(f"{number}.png" for number in range(len(files)))


def test_of_equal_files_the_described_one_stays(tmp_path):
    paint(tmp_path / "original.png")
    shutil.copy(tmp_path / "original.png", tmp_path / "a copy of original.png")
    corpus = ingest(describe(tmp_path, {"file_name": "original.png", "title": "Noise"}))
    assert [work.title for work in corpus] == ["Noise"]
    assert corpus.report.duplicates == (("a copy of original.png", "original.png"),)


@pytest.mark.parametrize("copy", ["sunflowers copy.png", "sunflowers (1).png", "copy of sunflowers.png"])
def test_of_equal_files_without_a_row_the_copy_does_not_stay(tmp_path, copy):
    paint(tmp_path / "sunflowers.png")
    shutil.copy(tmp_path / "sunflowers.png", tmp_path / copy)
    assert ingest(tmp_path).report.duplicates == ((copy, "sunflowers.png"),)


@pytest.mark.parametrize("suffix", [".tif", ".webp", ".bmp"])
def test_a_painting_counts_once_whatever_file_it_is_in(tmp_path, suffix):
    """Its pixels say what it is: another format, or a text in the file, makes no other painting of it. Also the second time."""
    paint(tmp_path / "a.png", 1)
    with Image.open(tmp_path / "a.png") as picture:
        picture.save(tmp_path / f"b{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
        picture.save(tmp_path / "c.png", dpi=(300, 300))
    paint(tmp_path / "d.png", 2)
    for _ in range(2):
        report = ingest(tmp_path).report
        assert report.duplicates == ((f"b{suffix}", "a.png"), ("c.png", "a.png")) and report.usable == 2


@pytest.fixture
def twins(tmp_path):
    """Six scenes, each as it is and as a smaller, more compressed copy, as another museum has it; two plain pictures."""
    for seed in range(6):
        generator = np.random.default_rng(seed)
        coarse = Image.fromarray(generator.integers(0, 255, (9, 12, 3), np.uint8))
        scene = coarse.resize((240, 180), Image.Resampling.BICUBIC)
        scene.save(tmp_path / f"{seed}.jpg", quality=92)
        scene.resize((180, 135), Image.Resampling.LANCZOS).save(tmp_path / f"{seed}-again.jpg", quality=80)
    for level in (50, 60):
        Image.new("RGB", (40, 30), (level, level, level)).save(tmp_path / f"plain-{level}.png")
    return tmp_path


def test_probable_copies_are_reported_stay_together_and_may_be_left_out(twins):
    corpus = ingest(twins)
    assert [pair[:2] for pair in corpus.report.copies] == [(f"{seed}-again.jpg", f"{seed}.jpg") for seed in range(6)]
    assert "probably copies: 0-again.jpg and 0.jpg, " in str(corpus.report)
    for seed in range(5):
        bank, held = corpus.split(0.4, seed)
        assert not {work.name[0] for work in bank} & {work.name[0] for work in held} - {"p"}
    assert len({work.group for work in corpus}) == 8
    left = corpus.without_copies()
    assert names(left) == [*(f"{seed}.jpg" for seed in range(6)), "plain-50.png", "plain-60.png"]


@pytest.mark.parametrize(
    "box",
    [(0.05, 0.05, 0.95, 0.95), (0.1, 0.1, 0.9, 0.9), (0.15, 0.15, 0.85, 0.85), (0.07, 0, 1, 1), (0.01, 0.05, 0.98, 0.96)],
)
def test_a_work_and_what_is_cropped_of_it_are_probable_copies(tmp_path, box):
    """Also the second time, when no picture is decoded; and six scenes are not taken for each other."""
    for seed in range(6):
        coarse = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), np.uint8)
        scene = Image.fromarray(coarse).resize((360, 270), Image.Resampling.BICUBIC)
        scene.save(tmp_path / f"{seed}.jpg")
        cropped = scene.crop([round(share * side) for share, side in zip(box, (360, 270) * 2, strict=True)])
        cropped.resize((200, 150)).save(tmp_path / f"{seed}-cropped.jpg", quality=80)
    for _ in range(2):
        pairs = [pair[:2] for pair in ingest(tmp_path).report.copies]
        assert pairs == [(f"{seed}-cropped.jpg", f"{seed}.jpg") for seed in range(6)]


def test_thumbnails_are_too_small_to_tell(tmp_path):
    y, x = np.mgrid[:48, :64]
    for shift in range(3):
        Image.fromarray((128 + 90 * np.sin((x + y) * 0.7 + shift / 20)).astype(np.uint8)).save(tmp_path / f"{shift}.png")
    assert ingest(tmp_path).report.copies == ()


def test_the_copy_of_a_work_belongs_to_its_series(twins):
    rows = [{"file_name": f"{seed}.jpg", "series": "one" if seed < 2 else ""} for seed in range(6)]
    corpus = ingest(describe(twins, *rows))
    one = corpus["0.jpg"].group
    assert {work.name for work in corpus if work.group == one} == {"0.jpg", "0-again.jpg", "1.jpg", "1-again.jpg"}


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
@pytest.mark.parametrize("name", [b"caf\xe9.png", b"a\x1b[31m.png", b"a\nrejected b.png"])
def test_a_name_that_could_not_be_written_down_is_refused_at_the_door(tmp_path, name):
    """Not accepted here to fail where it is listed, split or recorded; and the report obeys nothing in it."""
    paint(tmp_path / "good.png", 1)
    shutil.copy(tmp_path / "good.png", tmp_path / os.fsdecode(name))
    corpus = ingest(tmp_path)
    assert names(corpus) == ["good.png"] and len(corpus.report.rejected) == 1
    said = str(corpus.report)
    assert "is not UTF-8, or has control characters" in said
    assert len(said.encode().splitlines()) == 2 and "\x1b" not in said


def test_what_a_terminal_obeys_is_spelt_in_metadata(tmp_path):
    paint(tmp_path / "a.png", 1)
    describe(tmp_path, {"file_name": "a.png", "title": "Red \x1b[31m\nNight"})
    assert ingest(tmp_path)[0].title == "Red \\x1b[31m Night"


def test_what_was_hashed_is_what_is_read(tmp_path):
    """A file that is replaced under its name after its corpus was opened is refused, not taken for the former one."""
    paint(tmp_path / "a.png", 1)
    (work,) = ingest(tmp_path)
    paint(tmp_path / "a.png", 2)
    with pytest.raises(WorkbenchError, match=r"a\.png: the file was replaced"):
        work.load(16)
    paint(tmp_path / "a.png", 1)
    assert work.load().shape == (1, 3, 8, 12)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
@pytest.mark.parametrize("what", ["pipe", "device"])
def test_a_table_without_an_end_is_refused(tmp_path, what):
    paint(tmp_path / "a.png", 1)
    os.mkfifo(tmp_path / "metadata.csv") if what == "pipe" else (tmp_path / "metadata.csv").symlink_to("/dev/zero")
    with pytest.raises(WorkbenchError, match=r"metadata\.csv: it is not a regular file"):
        ingest(tmp_path)


def test_linked_folders_are_followed_once_and_loops_end(tmp_path):
    paint(tmp_path / "elsewhere" / "x.png", 1)
    root = tmp_path / "corpus"
    paint(root / "real" / "y.png", 2)
    (root / "loop").symlink_to(root)
    (root / "real" / "up").symlink_to("..")
    (root / "again").symlink_to(root / "real")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "self").symlink_to(root / "self")
    corpus = ingest(root)
    assert names(corpus) == ["linked/x.png", "real/y.png"]
    assert [name for name, _ in corpus.report.rejected] == ["self"]


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "only bad"])
def test_no_usable_image_is_one_line(tmp_path, kind):
    folder = tmp_path / "corpus"
    if kind == "file":
        folder.write_text("x")
    elif kind != "missing":
        folder.mkdir()
    if kind == "only bad":
        (folder / "b.jpg").write_text("bread")
        (folder / "a.jpg").touch()
    reason = {
        "missing": "No such file",
        "file": "Not a directory",
        "empty": "no files that could be images",
        "only bad": r"2 of 2 files rejected, the first \(a\.jpg\) because: the file is empty",
    }[kind]
    with pytest.raises(WorkbenchError, match=reason) as caught:
        ingest(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.lists(st.text("=+-@'1.a ", max_size=5), min_size=1, max_size=6))
def test_no_cell_of_a_table_is_a_formula_and_each_reads_as_it_was(texts):
    """A number is none. The name of a file leads to the same file, and needs nobody to take a mark off."""
    texts = [text.strip() for text in texts]
    rows = [{"file_name": f"={k}.png", "title": text, "=note": text[::-1].strip()} for k, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "metadata.csv")
        table.write_text(metadata.csv_text(rows[0], rows), encoding="utf-8")
        written = list(csv.reader(table.open(encoding="utf-8")))
        read = [row for _, row in metadata.read_table(table)]
    for cell in (cell for row in written for cell in row):
        assert not cell.startswith(FORMULAS) or re.fullmatch(r"[+-][\d.]+", cell)
    assert [(row["title"], row["=note"]) for row in read] == [
        (row["title"], row["=note"]) for row in metadata.whole_numbers(rows)
    ]
    assert [PurePosixPath(row["file_name"]).name for row in read] == [row["file_name"] for row in rows]


def test_metadata_in_lines_of_json(tmp_path):
    """The other table of Hugging Face's imagefolder layout. Values come as texts; lists and objects are left out."""
    paint(tmp_path / "a.png", 1)
    paint(tmp_path / "sub" / "b.png", 2)
    rows = [
        {"file_name": "a.png", "title": "Été", "year": 1889, "genre": None, "objects": {"bbox": [1, 2]}, "tags": ["x"]},
        {"file_name": "sub/b.png", "title": " B ", "year": None, "series": "nights", "ratio": 0.5},
    ]
    text = "\n".join(json.dumps(row) for row in rows) + "\n\n"
    (tmp_path / "metadata.jsonl").write_text(text, encoding="utf-8")
    corpus = ingest(tmp_path)
    assert corpus["a.png"].metadata == {"title": "Été", "year": "1889", "genre": ""}
    assert corpus["sub/b.png"].metadata == {"title": "B", "year": "", "series": "nights", "ratio": "0.5"}
    assert (corpus.report.warnings, corpus.report.rows_without_file, corpus.report.files_without_row) == ((), (), ())


@pytest.mark.parametrize("text", ['{"title": "x"}', "[1]", '{"file_name": "a.png"', '{"file_name": 3}', "[" * 100_000])
def test_broken_lines_of_json_are_named(tmp_path, text):
    paint(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png"}\n' + text, encoding="utf-8")
    with pytest.raises(WorkbenchError, match=r"metadata\.jsonl, line 2: "):
        ingest(tmp_path)


def test_of_two_tables_in_a_folder_one_is_read_and_the_report_says_which(tmp_path):
    paint(tmp_path / "a.png")
    describe(tmp_path, {"file_name": "a.png", "title": "From csv"})
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "title": "From jsonl"}', encoding="utf-8")
    corpus = ingest(tmp_path)
    assert corpus[0].title == "From csv"
    assert corpus.report.warnings == ("metadata.jsonl is not read: metadata.csv lies beside it",)


def test_file_names_with_separators_of_windows(tmp_path):
    """They mean folders, unless a file is really called so; they lead out of the folder no more than others do."""
    paint(tmp_path / "sub" / "deep" / "a.png", 1)
    paint(tmp_path / "odd\\name.png", 2)
    rows = [("sub\\deep\\a.png", "Folders"), ("odd\\name.png", "A name"), ("..\\x.png", "Out")]
    corpus = ingest(describe(tmp_path, *({"file_name": name, "title": title} for name, title in rows)))
    assert {work.name: work.title for work in corpus} == {"sub/deep/a.png": "Folders", "odd\\name.png": "A name"}
    assert corpus.report.warnings == (
        "metadata.csv, line 4: file_name '../x.png' is not a path inside the folder; row ignored",
    )


def test_years_that_pandas_wrote_as_floats(tmp_path):
    """pandas makes a column of whole numbers one of floats where a value is missing. Other numbers stay as they are."""
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        paint(tmp_path / name, seed)
    table = pd.DataFrame(
        {
            "file_name": ["a.png", "b.png", "c.png"],
            "year": [1889, None, 1873],
            "ratio": [1.0, 0.75, None],
            "title": ["7.0", "Eight", "9.0"],
        }
    )
    table.to_csv(tmp_path / "metadata.csv", index=False)
    assert "1889.0" in (tmp_path / "metadata.csv").read_text()
    corpus = ingest(tmp_path)
    assert [work.year for work in corpus] == ["1889", "", "1873"]
    assert [work.metadata["ratio"] for work in corpus] == ["1.0", "0.75", ""]
    assert [work.metadata["title"] for work in corpus] == ["7.0", "Eight", "9.0"]
    assert [work.name for work in corpus.select(year=1889)] == ["a.png"]


def parquet(path: Path, rows: int = 3, image: str = "image", classes: bool = True) -> list[bytes]:
    """A Parquet file as Hugging Face's datasets writes it; returns the bytes of its images."""
    pa = pytest.importorskip("pyarrow", reason="pyarrow is the extra [parquet]")
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    files = [paint(path.with_name(f"{number}.png"), number + len(path.stem)) for number in range(rows)]
    pictures = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    table = pa.table(
        {
            image: [{"bytes": picture, "path": f"dir\\été {number}.png"} for number, picture in enumerate(pictures)],
            "artist": pa.array([number % 2 for number in range(rows)], pa.int64()),
            "year": pa.array([1889.0, None, 1873.0][:rows], pa.float64()),
            "title": [f"Work {number}" for number in range(rows)],
            "tags": [["a", "b"]] * rows,
        }
    )
    if classes:
        features = {image: {"_type": "Image"}, "artist": {"names": ["monet", "van-gogh"], "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=2)
    return pictures


def test_images_embedded_in_parquet_are_works(tmp_path):
    """Byte for byte, with their rows: class labels by name, whole years, lists left out. Beside images in files."""
    pictures = parquet(tmp_path / "data" / "train-0.parquet")
    paint(tmp_path / "z.png", 77)
    corpus = ingest(tmp_path)
    names_of_three = [f"data/train-0/00000{number}-été_{number}.png" for number in range(3)]
    assert names(corpus) == [*names_of_three, "z.png"]
    for number, work in enumerate(corpus.works[:3]):
        assert work.path.read_bytes() == pictures[number]
        assert work.metadata["artist"] == ("monet", "van-gogh")[number % 2]
    assert [work.year for work in corpus] == ["1889", "", "1873", ""]
    assert corpus["Work 1"].metadata.keys() == {"artist", "year", "title"}
    assert corpus.report.warnings == () and corpus.report.rejected == ()
    assert corpus["Work 1"].load(24).shape == (1, 3, 16, 24)
    assert [work.name for work in ingest(tmp_path)] == names(corpus)  # unpacked already


def test_a_parquet_file_may_stand_for_a_folder(tmp_path):
    parquet(tmp_path / "works.parquet", image="painting", classes=False)
    corpus = inputs.corpus(str(tmp_path / "works.parquet"))
    assert [work.title for work in corpus] == ["Work 0", "Work 1", "Work 2"]
    assert [work.artist for work in corpus] == ["0", "1", "0"]
    assert corpus[0].name == "works/000000-été_0.png"


def test_parquet_without_images_or_that_cannot_be_read_is_in_the_report(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is the extra [parquet]")
    import pyarrow.parquet as pq

    paint(tmp_path / "a.png")
    pq.write_table(pa.table({"file_name": ["a.png"], "caption": ["x"]}), tmp_path / "table.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    lost = pa.table({"image": [{"bytes": None, "path": "gone.png"}, {"bytes": b"nothing", "path": None}, None]})
    pq.write_table(lost, tmp_path / "lost.parquet")
    report = ingest(tmp_path).report
    assert (report.seen, report.usable) == (4, 1)
    assert dict(report.rejected)["lost/000000-gone.png"] == "the file is empty (0 bytes)"
    assert len(report.warnings) == 2
    assert report.warnings[0].startswith(f"cannot read {tmp_path / 'broken.parquet'}: ")
    assert report.warnings[1] == "table.parquet has no column of embedded images; it is not read"


def test_without_pyarrow_a_parquet_file_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(
        WorkbenchError, match=r"no usable image in .*x\.parquet needs pyarrow: pip install 'artist-workbench\[parq"
    ):
        ingest(tmp_path)
    paint(tmp_path / "a.png")
    assert len(ingest(tmp_path)) == 1
    assert "needs pyarrow" in str(ingest(tmp_path).report)


def test_a_second_opening_decodes_nothing_and_finds_the_same(tmp_path, monkeypatch):
    paint(tmp_path / "a.png", 1)
    paint(tmp_path / "b.png", 2)
    first = ingest(tmp_path)
    read, reads = images.read, []
    monkeypatch.setattr(images, "read", lambda path, **options: reads.append(path.name) or read(path, **options))
    assert ingest(tmp_path) == first
    assert reads == []
    paint(tmp_path / "a.png", 3, size=(20, 30))
    (tmp_path / "b.png").rename(tmp_path / "c.png")
    changed = ingest(tmp_path)
    assert reads == ["a.png"]  # the bytes that are new
    assert [(work.name, work.width) for work in changed] == [("a.png", 20), ("c.png", 12)]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert ingest(tmp_path).works == changed.works
    assert reads == ["a.png", "a.png", "c.png"]  # a verdict under another limit is not used


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b"[1]", b"null", b'{"HASH": [1, 2]}', b'{"HASH": null}'])
def test_a_damaged_memory_is_as_good_as_none(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "paintings").mkdir()
    paint(tmp_path / "paintings" / "a.png", 1)
    first = ingest(tmp_path / "paintings")
    (memory,) = (tmp_path / "cache" / "ingest").iterdir()
    whole = memory.read_bytes()
    memory.write_bytes(damage.replace(b"HASH", first[0].sha256.encode()))
    assert ingest(tmp_path / "paintings") == first
    assert memory.read_bytes() == whole  # and it is made again


# metadata.csv


def test_metadata_with_a_byte_order_mark_blanks_and_composed_accents(tmp_path):
    name = unicodedata.normalize("NFD", "été.png")
    paint(tmp_path / name)
    row = unicodedata.normalize("NFC", "file_name, title\nété.png,  L'Été  \n")
    (tmp_path / "metadata.csv").write_text(row, encoding="utf-8-sig")
    corpus = ingest(tmp_path)
    assert corpus[0].title == "L'Été"
    assert corpus.report.rows_without_file == corpus.report.files_without_row == ()
    assert corpus["été"] is corpus[0]


def test_metadata_may_lie_in_folders_below(tmp_path):
    paint(tmp_path / "monet" / "lilies.png", 1)
    paint(tmp_path / "degas" / "dancers.png", 2)
    describe(tmp_path / "monet", {"file_name": "lilies.png", "artist": "Monet"}, columns=("file_name", "artist"))
    describe(tmp_path / "degas", {"file_name": "./dancers.png", "artist": "Degas"}, columns=("file_name", "artist"))
    corpus = ingest(tmp_path)
    assert [(work.name, work.artist) for work in corpus] == [("degas/dancers.png", "Degas"), ("monet/lilies.png", "Monet")]


def test_rows_that_cannot_be_used_are_reported(tmp_path):
    corpus_folder = tmp_path / "corpus"
    paint(tmp_path / "secret.png", 1)
    paint(corpus_folder / "a.png", 2)
    describe(
        corpus_folder,
        {"file_name": "a.png", "title": "First"},
        {"file_name": "a.png", "title": "Second"},
        {"file_name": "../secret.png"},
        {"file_name": str(tmp_path / "secret.png")},
        {"file_name": ""},
        {"file_name": "lost.png"},
    )
    with (corpus_folder / "metadata.csv").open("a") as file:
        file.write("surplus.png,a,b,c,d,e\n")
    corpus = ingest(corpus_folder)
    assert [(work.name, work.title) for work in corpus] == [("a.png", "First")]
    assert corpus.report.rows_without_file == ("lost.png", "surplus.png")
    warnings = corpus.report.warnings
    assert "line 3: a second row for a.png" in warnings[0]
    assert [("not a path inside the folder" in warning) for warning in warnings] == [False, True, True, True, False]
    assert "line 8: more fields than columns" in warnings[4]
    assert "no such file, though metadata.csv has a row for it: lost.png" in str(corpus.report)


def test_a_row_for_a_rejected_file_is_not_a_row_without_a_file(tmp_path):
    paint(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    report = ingest(describe(tmp_path, {"file_name": "a.png"}, {"file_name": "b.png"})).report
    assert report.rows_without_file == report.files_without_row == ()


def test_a_different_hash_is_a_warning(tmp_path):
    right = ingest(paint(tmp_path / "a.png").parent)[0].sha256
    rows = ({"file_name": "a.png", "sha256": right.upper()}, {"file_name": "a.png", "sha256": "0" * 64})
    for row, expected in zip(rows, (0, 1), strict=True):
        warnings = ingest(describe(tmp_path, row, columns=("file_name", "sha256"))).report.warnings
        assert len(warnings) == expected
        assert all("a.png is not the file" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has no column file_name; it has no columns"),
        (b"name;title\na.png;x\n", "has no column file_name; it has 'name;title'"),
        ("file_name,title\na.png,é\n".encode("latin-1"), r"is not UTF-8 \(byte 22\)"),
        (b'file_name,title\na.png,"never closed\nb.png,x\n', "line 3: unexpected end of data"),
        (b"file_name,title,title\na.png,x,y\n", "names a column twice"),
    ],
    ids=["empty", "semicolons", "latin-1", "open quote", "twice"],
)
def test_metadata_that_cannot_be_read_is_one_line(tmp_path, content, reason):
    paint(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_bytes(content)
    with pytest.raises(WorkbenchError, match=rf"metadata\.csv.*{reason}"):
        ingest(tmp_path)


# Finding


def test_works_are_found_by_name_stem_or_title(gallery):
    first = gallery[0]
    assert gallery["a-starry-night.png"] is first
    assert gallery["a-starry-night"] is first
    assert gallery["the starry NIGHT"] is first
    assert gallery.find("deep/e-self.png") is gallery[4] is gallery[-2]
    assert gallery["e-self"] is gallery[4]


def test_what_is_not_found_names_the_nearest(gallery):
    with pytest.raises(UsageError, match=r"no work 'Dr Gachet'.*did you mean 'Doctor Gachet'"):
        gallery["Dr Gachet"]
    with pytest.raises(UsageError, match=r"no work 'zzzz'.*it has 'a-starry-night\.png'.* and 2 more"):
        gallery["zzzz"]
    with pytest.raises(UsageError, match=r"names 2 works.*'d-self\.png', 'deep/e-self\.png'"):
        gallery["Self-Portrait"]
    for index in (6, -7):
        with pytest.raises(UsageError, match=f"index {index} is outside"):
            gallery[index]
    with pytest.raises(UsageError, match="indexed by"):
        gallery[1.5]


# Parts


def test_names_of_corpora_are_told_apart_by_the_folders_above(gallery):
    def at(path):
        return replace(gallery, name=Path(path).name, root=Path(path))

    folders = ["/museum/monet/works", "/museum/degas/works", "/old/degas/works", "/museum/umber"]
    assert told_apart(list(map(at, folders))) == ["monet/works", "museum/degas/works", "old/degas/works", "umber"]
    assert told_apart([at("/a/x"), at("/a/x")]) == ["a/x", "a/x"] and told_apart([]) == []


def test_select(gallery):
    assert names(gallery.select(genre="portrait")) == ["c-gachet.png"]
    assert len(gallery.select(genre=["portrait", "self-portrait"])) == 3
    assert names(gallery.select(genre="landscape", title="The Starry Night")) == ["a-starry-night.png"]
    assert names(gallery.select(genre="")) == ["f_the-nameless_one.png"]
    assert gallery.select(genre="portrait").report is gallery.report


def test_what_cannot_be_selected_names_what_can(gallery):
    with pytest.raises(UsageError, match="no metadata column 'kind'; it has 'title', 'genre', 'series'"):
        gallery.select(kind="x")
    with pytest.raises(UsageError, match=r"no work with genre 'seascape'.*'', 'landscape', 'portrait', 'self-portrait'"):
        gallery.select(genre=["portrait", "seascape"])
    with pytest.raises(UsageError, match="no value given for genre"):
        gallery.select(genre=[])
    with pytest.raises(UsageError, match="meets all of genre, series at once"):
        gallery.select(genre="portrait", series="nights")


def test_selecting_by_a_number(tmp_path):
    paint(tmp_path / "a.png", 1)
    paint(tmp_path / "b.png", 2)
    describe(tmp_path, {"file_name": "a.png", "year": "1888"}, {"file_name": "b.png"}, columns=("file_name", "year"))
    assert names(ingest(tmp_path).select(year=1888)) == ["a.png"]


def test_exclude(gallery):
    assert names(gallery.exclude("c-gachet"))[2] == "d-self.png"
    assert len(gallery.exclude([gallery[0], "doctor gachet"])) == 4
    with pytest.raises(UsageError, match="no work 'nobody'"):
        gallery.exclude(["nobody"])
    with pytest.raises(UsageError, match="leaves nothing"):
        gallery.exclude(gallery)


def corpus_of(series: list[str]) -> Corpus:
    works = (Work(f"{i:03}.png", Path(f"{i:03}.png"), f"{i:064x}", 8, 8, {"series": s}) for i, s in enumerate(series))
    return Corpus("synthetic", Path(), tuple(works), IngestReport(len(series), len(series)))


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["", "", "haystacks", "lilies", "poplars"]), min_size=2, max_size=40),
    st.floats(0.01, 0.99),
    st.integers(0, 2**32),
)
def test_split_keeps_series_together(series, held_out, seed):
    corpus = corpus_of(series)
    if len(set(series)) == 1 and series[0]:
        with pytest.raises(UsageError, match="one series"):
            corpus.split(held_out, seed)
        return
    bank, held = corpus.split(held_out, seed)
    assert sorted(names(bank) + names(held)) == names(corpus)
    assert len(bank) > 0
    assert len(held) > 0
    assert not {work.series for work in bank if work.series} & {work.series for work in held if work.series}
    assert corpus.split(held_out, seed) == (bank, held)
    wanted = min(max(round(held_out * len(corpus)), 1), len(corpus) - 1)
    largest = max(Counter(s for s in series if s).values(), default=1)
    assert abs(len(held) - wanted) <= largest


def test_split_without_series_is_exact_and_depends_on_the_seed():
    corpus = corpus_of([""] * 50)
    splits = [corpus.split(0.2, seed)[1] for seed in range(5)]
    assert [len(split) for split in splits] == [10] * 5
    assert len({tuple(names(split)) for split in splits}) == 5
    times = Counter(name for seed in range(200) for name in names(corpus.split(0.2, seed)[1]))
    assert min(times.values()) > 15  # every work has its turn: 200 draws of one fifth, 40 +- 6
    assert max(times.values()) < 70


def test_split_of_large_series_holds_out_the_smallest():
    bank, held = corpus_of(["a"] * 9 + ["b"] * 5).split(0.1)
    assert {work.series for work in held} == {"b"}
    assert len(bank) == 9


@pytest.mark.parametrize("held_out", [0, 1, -0.5, 5, "0.2", True])
def test_split_refuses_fractions_out_of_range(held_out):
    with pytest.raises(UsageError, match="held_out is"):
        corpus_of(["", ""]).split(held_out)


def test_a_corpus_of_one_work_opens_but_does_not_split(tmp_path):
    corpus = ingest(paint(tmp_path / "only.png").parent)
    assert len(corpus) == 1
    with pytest.raises(UsageError, match="cannot split"):
        corpus.split()
    with pytest.raises(UsageError, match="seed is"):
        corpus_of(["", ""]).split(0.5, "x")


# Real corpora


def test_real_corpora_come_in_whole(shared):
    van_gogh = ingest(shared / "data" / "corpora" / "vincent-van-gogh")
    monet = ingest(shared / "data" / "corpora" / "claude-monet")
    assert (len(van_gogh), len(monet)) == (91, 182)
    for corpus in (van_gogh, monet):
        report = corpus.report
        assert report == IngestReport(seen=len(corpus), usable=len(corpus))
        # The curator's hashes and sizes are an oracle for ours.
        assert all(work.sha256 == work.metadata["sha256"] for work in corpus)
        assert all((str(work.width), str(work.height)) == (work.metadata["width"], work.metadata["height"]) for work in corpus)
    portraits = van_gogh.select(genre=["portrait", "self-portrait"])
    with (van_gogh.root / "metadata.csv").open(encoding="utf-8") as file:
        expected = [row["file_name"] for row in csv.DictReader(file) if row["genre"] in ("portrait", "self-portrait")]
    assert names(portraits) == sorted(expected)
    assert van_gogh["the starry night"].load(128).shape[-1] == 128
    bank, held = monet.split(0.2, seed=1)
    assert abs(len(held) - 36) <= 1
    assert not {work.series for work in bank} & {work.series for work in held if work.series}


def test_a_period_is_a_span_of_years_however_they_are_written(tmp_path):
    rows = {"a.png": "1888", "b.png": "1889-90", "c.png": "c. 1890", "d.png": "", "e.png": "1901"}
    for i, name in enumerate(rows):
        Image.new("RGB", (8, 8), (i * 40, 0, 0)).save(tmp_path / name)
    lines = ["file_name,year", *(f"{name},{year}" for name, year in rows.items())]
    (tmp_path / "metadata.csv").write_text("\n".join(lines) + "\n")
    corpus = ingest(tmp_path)
    assert [work.name for work in corpus.between("year", 1889, 1900)] == ["b.png", "c.png"]
    with pytest.raises(UsageError, match="from 1888 to 1901"):
        corpus.between("year", 1, 2)
    with pytest.raises(UsageError, match="no metadata column"):
        corpus.between("period", 1, 2)
