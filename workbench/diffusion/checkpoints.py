"""Checkpoints of an artist's LoRA: their files in the order of training, the works they saw, and what each of them paints.

All are asked for the same: photographs restyled, pictures from the artist's word alone, and the loss on works. Files of
diffusers, sd-scripts and ai-toolkit are read; those of `workbench train dreambooth` say which works they learnt from.
"""

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workbench import images, progress, provenance, storage
from workbench.corpora import Work
from workbench.diffusion import captions, dreambooth, lora, stylise
from workbench.diffusion.base import Base, Words, library
from workbench.errors import UsageError, require
from workbench.generative import trained
from workbench.generative.data import identity_of
from workbench.paths import is_dir

VERSION = 2
"""Part of the key of what is painted: raised whenever the same checkpoint would paint something else."""
ALONE = "base alone"
"""Label of the base model without a LoRA, the control."""


@dataclass(frozen=True)
class Checkpoint:
    """A LoRA to be judged. label: its name among the others; sha256: of its file; header: see `lora.header`, {} of others.

    The base without a LoRA has no path.
    """

    label: str
    path: Path | None = None
    sha256: str = ""
    header: Mapping[str, Any] = field(default_factory=dict, repr=False)


def find(path: str | Path) -> list[Checkpoint]:
    """The checkpoints in a file or a folder, in the order of training; of files that are equal the first.

    A folder holds .safetensors files, or folders of them as diffusers' scripts leave (checkpoint-500). The order is that of the
    steps in their headers, else of the number at the end of their names; one without a number is the last. Files of one name,
    and one that is called as the base alone is, have their path in the folder for a label. UsageError for none, and for files
    of several trainings, as their headers tell.
    """
    path = Path(path)
    if not is_dir(path):
        files = [lora.find(path)]
    else:
        files = [file for file in path.glob("*.safetensors") if not _is_state(file)]
        files += [folder / lora.WEIGHTS for folder in path.iterdir() if (folder / lora.WEIGHTS).is_file()]
    require(bool(files), f"LoRA {path}: the folder holds no .safetensors file of a LoRA")
    labels = {file: file.parent.name if file.name == lora.WEIGHTS and file.parent != path else file.stem for file in files}
    headers = {file: lora.header(file) for file in files}
    trainings = {trained.recipe_of(headers[file]): labels[file] for file in sorted(files, reverse=True)}
    require(
        len(trainings) == 1,
        f"{path} holds files of {len(trainings)} trainings, such as {' and '.join(sorted(trainings.values())[:2])}: "
        "leave those of one in it",
    )

    def step(file: Path) -> tuple[float, bool, str]:
        number = re.search(r"(?:[-_]|step)(\d+)$", labels[file])
        steps = headers[file].get("steps", int(number[1]) if number else float("inf"))
        return steps, number is None, labels[file]

    folder, taken = path if path.is_dir() else path.parent, Counter([ALONE, *labels.values()])
    found: dict[str, Checkpoint] = {}
    for file in sorted(files, key=step):
        label = labels[file] if taken[labels[file]] == 1 else file.relative_to(folder).as_posix()
        sha256 = provenance.sha256(file)
        found.setdefault(sha256, Checkpoint(label, file, sha256, headers[file]))
    return list(found.values())


def _is_state(file: Path) -> bool:
    """Whether `file` is the state of a training that was stopped, and no network."""
    return file.stem.endswith((".checkpoint", ".checkpoint.previous"))


@dataclass(frozen=True)
class Split:
    """Works that a LoRA learnt from, works it never saw, and the artist's words: work's sha256 -> token; noun: of the class."""

    seen: tuple[Work, ...]
    held_out: tuple[Work, ...]
    tokens: Mapping[str, str]
    noun: str
    captions: Mapping[str, str]


def split(
    works: Sequence[Work],
    checkpoints: Sequence[Checkpoint],
    *,
    seen: Collection[str] | None = None,
    token: str = "",
    noun: str = "",
) -> Split:
    """Which of `works` the checkpoints saw, by their header or else by `seen`, names of works; and the words for them.

    A work that was not seen, but another of its series was, is in neither part: it is not independent of what was learnt.
    `token` and `noun` are used in place of the header's. UsageError where it is not known what was seen or said, and for fewer
    than two works that are left.
    """
    header = checkpoints[0].header
    same = all(other.header.get("works") == header.get("works") for other in checkpoints)
    require(same, "the checkpoints learnt from different works: evaluate them one by one")
    require(seen is None or "works" not in header, f"{checkpoints[0].label} says itself which works it saw: leave them out")
    require(
        seen is not None or "works" in header,
        f"{checkpoints[0].label} does not say which works it learnt from: name them (--seen FILE), or the corpus split's file",
    )
    if seen is None:
        learnt = [work for work in works if work.sha256 in set(header["works"])]
    else:
        unknown = sorted(set(seen) - {work.name for work in works})
        require(not unknown, f"the corpus has no work {', '.join(unknown[:3])}")
        learnt = [work for work in works if work.name in set(seen)]
    require(bool(learnt), "none of the works that the LoRA learnt from is in the corpus")
    groups = {work.group for work in learnt}
    unseen = [work for work in works if work.group not in groups]
    require(len(unseen) >= 2, f"{len(unseen)} works of series that the LoRA never saw: two are needed, more are better")
    what = noun or header.get("noun", "painting")
    known = {} if token else {sha256: name for name, each in header.get("tokens", {}).items() for sha256 in each}
    require(bool(known) or bool(token), f"{checkpoints[0].label} does not say its word: give it (--token)")
    usual = token or Counter(known.values()).most_common(1)[0][0]
    tokens = {work.sha256: known.get(work.sha256, usual) for work in works}
    texts = {} if token else header.get("captions", {})
    said = {w.sha256: texts.get(w.sha256) or captions.caption(w, tokens[w.sha256], what) for w in (*learnt, *unseen)}
    return Split(tuple(learnt), tuple(unseen), tokens, what, said)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What every checkpoint is asked to paint, and how."""

    size: int = 0
    """px. Side of the samples and long side of the photographs; 0: what the base was made for."""
    seeds: int = 1
    """Pictures of every photograph."""
    samples: int = 8
    """Pictures from the word alone, each with a seed of its own."""
    strength: float = 0.5
    """How much of the way to noise is gone with a photograph."""
    steps: int = 25
    guidance: float = 5.0
    weight: float = 1.0
    """Factor of the LoRA."""

    def __post_init__(self) -> None:
        require(self.size == 0 or 16 <= self.size <= 4096, f"size = {self.size}: choose between 16 and 4096 px, or 0")
        for name, least in (("seeds", 1), ("samples", 2), ("steps", 1)):
            require(getattr(self, name) >= least, f"{name} = {getattr(self, name)}: choose at least {least}")
        require(0 < self.strength <= 1, f"strength = {self.strength}: choose above 0, up to 1")
        require(self.steps * self.strength >= 1, f"steps = {self.steps} at strength {self.strength} are less than one step")


@dataclass(frozen=True)
class Painted:
    """What a checkpoint painted: (photograph, seed) -> file, and the samples. held_out, seen: its losses on works."""

    restyled: Mapping[tuple[str, int], Path]
    samples: Sequence[Path]
    held_out: float
    seen: float


class Painter:
    """Paints by one checkpoint after another; what lies in `folder` already is not painted again."""

    def __init__(self, base: Base, contents: Mapping[str, Tensor], works: Split, asked: Asked, folder: Path):
        """`contents`: name -> photograph (1, 3, H, W) in [0, 1]."""
        self.base, self.works, self.asked, self.folder = base, works, asked, folder
        self.size = asked.size or base.size
        self.contents = {name: images.resize(picture, self.size) for name, picture in contents.items()}
        self.hashes = {
            name: hashlib.sha256(picture.cpu().numpy().tobytes()).hexdigest() for name, picture in self.contents.items()
        }
        shares = captions.weights(dict(works.tokens), works.seen, [1 / len(works.seen)] * len(works.seen))
        self.prompts = {f"{token} {works.noun}": share for token, share in shares.items()}

    def key(self, checkpoint: Checkpoint) -> str:
        """SHA-256 of all that a picture and the losses of `checkpoint` depend on; not how many pictures there are."""
        base, works = self.base, self.works
        how = {name: value for name, value in asdict(self.asked).items() if name not in ("seeds", "samples")}
        decides = [
            VERSION,
            base.identity,
            str(base.dtype),
            base.device.type,
            [torch.__version__, library("diffusers").__version__, library("peft").__version__],
            how | {"size": self.size},
            self.hashes,
            list(self.prompts.items()),
            [identity_of(works.seen), identity_of(works.held_out), sorted(works.captions.items())],
            checkpoint.sha256,
        ]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def paint(self, checkpoint: Checkpoint, *, show: bool = False) -> Painted:
        """All that `checkpoint` is asked for. A stop keeps the pictures that are finished."""
        same = checkpoint.header.get("base_identity", self.base.identity) == self.base.identity
        require(same, f"{checkpoint.label} was trained on another base, {checkpoint.header.get('base')}: give that one")
        key = self.key(checkpoint)
        folder = self.folder / file_name(checkpoint.label, key)
        restyled = {
            (name, seed): folder / f"{file_name(name, self.hashes[name])}-{seed}.png"
            for name in self.contents
            for seed in range(self.asked.seeds)
        }
        samples = [folder / f"sample-{seed}.png" for seed in range(self.asked.samples)]
        missing = [path for path in (*restyled.values(), *samples) if images.kept(path, f"{key}|{path.name}") is None]
        losses = _read_losses(folder / "losses.json")
        if missing or losses is None:
            chosen = [(checkpoint.path, self.asked.weight)] if checkpoint.path is not None else []
            with lora.attached(self.base, chosen) if chosen else nullcontext(), torch.no_grad():  # type: ignore[arg-type]
                pictures = self._pictures(missing, restyled, samples)
                for path, picture in progress.track(pictures, total=len(missing), label=checkpoint.label, show=show):
                    images.keep(picture, path, f"{key}|{path.name}")
                if losses is None:
                    losses = {"held_out": self._loss(self.works.held_out), "seen": self._loss(self.works.seen)}
                    storage.write_text(folder / "losses.json", json.dumps(losses))
        return Painted(restyled, samples, **losses)

    def _pictures(
        self, missing: Sequence[Path], restyled: Mapping[tuple[str, int], Path], samples: Sequence[Path]
    ) -> Iterator[tuple[Path, Tensor]]:
        how = {"steps": self.asked.steps, "guidance": self.asked.guidance}
        words = [self.base.words([prompt]) for prompt in self.prompts]
        mixed = Words.together(words).mixed(list(self.prompts.values()))
        side = self.size // self.base.multiple * self.base.multiple
        for (name, seed), path in restyled.items():
            if path in missing:
                content = self.contents[name].to(self.base.device)
                yield path, stylise.restyled(self.base, content, mixed, strength=self.asked.strength, seed=seed, **how)  # type: ignore[arg-type]
        for seed, path in enumerate(samples):
            if path in missing:
                own = words[seed % len(words)]
                yield path, stylise.made(self.base, own, size=(side, side), seeds=[seed], **how)  # type: ignore[arg-type]

    def _loss(self, works: Sequence[Work]) -> float:
        """The loss on the first of `works`, at fixed steps and with fixed noise."""
        chosen, texts = works[: dreambooth.MEASURED], self.works.captions
        examples = [dreambooth.example_of(work, texts[work.sha256], self.base, self.size) for work in chosen]
        return dreambooth.validation_loss(self.base, examples)


def file_name(label: str, sha256: str) -> str:
    """A name for what is called `label`, which may be long, a path, or differ from another in case alone, and has this hash."""
    return f"{re.sub(r'[ /]', '-', label)[:60]}-{sha256[:12]}"


def _read_losses(path: Path) -> dict[str, float] | None:
    """The losses that `Painter.paint` wrote to `path`; None where there are none, or a damaged file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: float(found[name]) for name in ("held_out", "seen")}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def seen_in(path: Path) -> list[str]:
    """Names of works in a text file, one a line; or the bank of a split that `workbench corpus split` wrote, .csv or .json."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".json":
            return [str(name) for name in storage.parse_json(text)["bank"]]
        if path.suffix.lower() == ".csv":
            return [row["file_name"] for row in csv.DictReader(text.splitlines()) if row["split"] == "bank"]
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no split of a corpus: workbench corpus split writes one") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
