"""pix2pix: from pairs of a picture and its painting (Isola et al. 2017).

No real artist left such pairs. A synthetic painter paints as many scenes as are asked for: these pairs are exact, and the
network is the bound that families without pairs are held against. For a real artist the pairs are made backwards, and inexact:
a smoothed or an edge copy of a painting stands for the picture, and photographs are copied alike before they are painted.
What keeps sky from sea is context, so pictures enter whole, and scenes with a map of their regions.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench import images
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.generative import data, scenes
from workbench.generative.adversarial import difference, fake, frozen, real
from workbench.generative.networks import Discriminator, Generator, in_tiles
from workbench.generative.scenes import ASPECT, PAIR_SIZE, Pair
from workbench.generative.trained import Trained
from workbench.generative.training import Family, Losses, at_least, precision
from workbench.images import colour
from workbench.samples import PAINTERS, REGIONS
from workbench.targets import StyleTarget
from workbench.transfer import Settings

MEASURED_ON = 16
"""Held-out pairs that a painter is measured on, at most: never more than it learns from."""
COLOUR_CELL = 8
"""px. Side of the cells whose mean colours are compared."""
SHOWN = 6
"""Pairs in a sheet of samples."""
Copied = Literal["smooth", "edges"]


class Pairs(ABC):
    """Where pairs come from.

    kind: "scenes", "smooth" or "edges", what the first of a pair is; channels: 3, and one for each region where there are any;
    identity: the hashes of all that is drawn from.
    """

    kind: str
    channels: int
    identity: str

    @abstractmethod
    def drawn(self, draw: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
        """`count` pairs of one shape: inputs (count, channels, H, W) and paintings (count, 3, H, W), in [0, 1]."""


class ScenePairs(Pairs):
    """Exact pairs: scenes, their regions, and what a synthetic painter made of them. All of one size."""

    kind = "scenes"
    channels = 3 + len(REGIONS)

    def __init__(self, pairs: Sequence[Pair]):
        self.pairs = tuple(pairs)
        size = max(self.pairs[0].scene.width, self.pairs[0].scene.height) if self.pairs else 0
        self.scenes = data.Pictures([pair.scene for pair in self.pairs], size)
        self.paintings = data.Pictures([pair.painted for pair in self.pairs], size)
        self.identity = data.identity_of([work for pair in self.pairs for work in (pair.scene, pair.painted)])
        shapes: dict[tuple[int, int], list[int]] = {}
        for k, pair in enumerate(self.pairs):
            shapes.setdefault((pair.scene.height, pair.scene.width), []).append(k)
        self.alike = list(shapes.values())

    def drawn(self, draw: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
        first = data.below(len(self.pairs), draw)
        same = next(group for group in self.alike if first in group)
        chosen = [first, *(same[data.below(len(same), draw)] for _ in range(count - 1))]
        scenes = torch.stack([self.scenes.picture(k) for k in chosen])
        paintings = torch.stack([self.paintings.picture(k) for k in chosen])
        regions = torch.stack([self.pairs[k].regions() for k in chosen])
        return torch.cat([data.from_bytes(scenes), regions], dim=1), data.from_bytes(paintings)


class Copies(Pairs):
    """Inexact pairs: copies of paintings, which are cropped to one of two shapes and else whole, and the paintings.

    A smoothed copy has lost the strokes, and is given random colours besides, so that the network learns the artist's.
    """

    channels = 3

    def __init__(self, works: Sequence[Work], kind: Copied = "smooth", *, size: int = PAIR_SIZE):
        self.kind = kind
        self.paintings = data.Pictures(works, size)
        self.size = size
        self.identity = data.identity_of(works)

    def drawn(self, draw: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
        first = data.below(len(self.paintings), draw)
        long, short = self.size, round(self.size / ASPECT)
        height, width = self.paintings.picture(first).shape[-2:]
        shape = (long, short) if height > width else (short, long)
        chosen = [first, *(data.below(len(self.paintings), draw) for _ in range(count - 1))]
        paintings = torch.stack([self._cropped(k, shape, draw) for k in chosen])
        copies = copied(paintings, self.kind)
        return torch.stack([_in_other_colours(copy, draw) for copy in copies]) if self.kind == "smooth" else copies, paintings

    def _cropped(self, k: int, shape: tuple[int, int], draw: torch.Generator) -> Tensor:
        """The largest part of the k-th painting that has the aspect of `shape`, somewhere in it: (3, *shape)."""
        picture = self.paintings.picture(k)
        height, width = picture.shape[-2:]
        scale = min(height / shape[0], width / shape[1])
        high, wide = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
        top, left = data.below(height - high + 1, draw), data.below(width - wide + 1, draw)
        part = data.from_bytes(picture[None, :, top : top + high, left : left + wide])
        part = part.flip(-1) if data.uniform(draw) < 0.5 else part
        return images.resize(part, shape)[0]


def copied(pictures: Tensor, kind: str) -> Tensor:
    """The copy of `pictures` (N, 3, H, W) in [0, 1] that a network learns from: "smooth" or "edges"; (N, 3, H, W) in [0, 1]."""
    return smoothed(pictures) if kind == "smooth" else edges(pictures)


def smoothed(pictures: Tensor, radius: int = 4, noise: float = 0.12) -> Tensor:
    """Without strokes, with contours: the guided filter of a picture by itself (He et al. 2013, eq. 5 to 8), by channel.

    q = mean(a) I + mean(b) in windows of 2 `radius` + 1 px, a = v / (v + noise^2), b = (1 - a) m; m, v: mean and variance.
    """

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(x, (radius,) * 4, mode="replicate"), 2 * radius + 1, 1)

    m = mean(pictures)
    v = (mean(pictures.square()) - m.square()).clamp_min(0)
    a = v / (v + noise**2)
    return (mean(a) * pictures + mean((1 - a) * m)).clamp(0, 1)


def edges(pictures: Tensor) -> Tensor:
    """Contours of the smoothed luma, dark on white, in three equal channels: 1 - 2 |Sobel gradient|."""
    light = colour.luminance(smoothed(pictures))[:, :1]
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=pictures.device) / 4
    slopes = F.conv2d(F.pad(light, (1, 1, 1, 1), mode="replicate"), torch.stack([across, across.T])[:, None])
    return (1 - 2 * slopes.norm(dim=1, keepdim=True)).clamp(0, 1).expand_as(pictures).contiguous()


def _in_other_colours(picture: Tensor, draw: torch.Generator) -> Tensor:
    """`picture` (3, H, W) with more or less saturation, and another gain and offset in each channel."""
    grey = colour.luminance(picture[None])[0]
    saturation = 0.4 + 0.9 * data.uniform(draw)
    gain = 0.75 + 0.5 * torch.rand(3, 1, 1, generator=draw)
    offset = 0.16 * torch.rand(3, 1, 1, generator=draw) - 0.08
    return ((grey + saturation * (picture - grey)) * gain + offset).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Options:
    """l1: weight of the difference, as published, for pictures in [-1, 1]."""

    l1: float = 100.0
    batch: int = 2
    without_regions: float = 0.5
    """Share of the samples whose regions are left out, as they are unknown in a photograph."""
    widths: tuple[int, ...] = (24, 48, 96)
    blocks: int = 6
    skips: bool = True
    """Whether details pass the generator by, as in the U-Net of the paper."""
    judge_width: int = 32
    judge_scales: int = 1
    size: int = PAIR_SIZE
    """px. Long side of the pairs, so of the results in which strokes have their size."""
    scenes: int = 300
    """Scenes that a synthetic painter paints, .6 s each."""
    copies: Copied = "smooth"
    """What stands for the picture that a real artist saw."""

    def __post_init__(self) -> None:
        at_least(self, l1=0, batch=1, without_regions=0, widths=1, blocks=0, judge_width=1, judge_scales=1, size=32, scenes=2)
        require(len(self.widths) == 3, f"widths = {self.widths}: give three")
        require(self.without_regions <= 1, f"without_regions = {self.without_regions}: give a share between 0 and 1")
        least = 32 * 2 ** (self.judge_scales - 1)
        require(self.size >= least, f"size = {self.size}: {self.judge_scales} discriminators need {least} px")


class Pix2pix(Family):
    """Isola et al. (2017): G minimises (D(x, G(x)) - 1)^2 + l1 |G(x) - y|, and D, which sees the input too, tells y from G(x).

    Other than published: the least-squares loss, residual blocks between the halves of the U-Net, and no noise.
    """

    name = "pix2pix"
    betas = (0.5, 0.999)

    def __init__(
        self,
        pairs: Pairs,
        held_out: Pairs,
        works: Sequence[Work],
        encoder: Encoder,
        options: Options = Options(),
        *,
        seed: int = 0,
    ):
        """`held_out`: pairs to measure on; `works`: those of the artist; `encoder`: only its device is used."""
        require(pairs.kind == held_out.kind, f"pairs of {pairs.kind} are not measured on {held_out.kind}")
        self.options = options
        self.pairs = pairs
        self.works = tuple(works)
        self.device = encoder.device
        decides = [pairs.identity, pairs.kind, asdict(options)]
        self.identity = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
        draw = torch.Generator().manual_seed(seed)
        each = [held_out.drawn(draw, 1) for _ in range(MEASURED_ON)]
        self.measured_on = [(inputs.to(self.device), painted.to(self.device)) for inputs, painted in each]
        torch.manual_seed(seed)  # the first weights
        self.generator = Generator(inputs=pairs.channels, widths=options.widths, blocks=options.blocks, skips=options.skips)
        self.judge = Discriminator(inputs=pairs.channels + 3, width=options.judge_width, scales=options.judge_scales)
        for network in (self.generator, self.judge):
            network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.players = {"painter": self.generator, "judge": self.judge}
        self.rates = {"painter": 5e-4, "judge": 5e-4}

    def losses(self, draw: torch.Generator) -> Losses:
        inputs, truth = (x.to(self.device) for x in self.pairs.drawn(draw, self.options.batch))
        known = torch.rand(len(inputs), 1, 1, 1, generator=draw) >= self.options.without_regions
        inputs = torch.cat([inputs[:, :3], inputs[:, 3:] * known.to(inputs)], dim=1)
        with precision(self.device):
            painted = self.generator(inputs)
            with frozen(self.judge):
                deceived = real(self.judge(torch.cat([inputs, painted], dim=1)))
        yield "painter", deceived + self.options.l1 * difference(painted, truth)
        with precision(self.device):
            told = real(self.judge(torch.cat([inputs, truth], dim=1)))
            told = told + fake(self.judge(torch.cat([inputs, painted.detach()], dim=1)))
        yield "judge", told / 2

    def _paint(self, painter: nn.Module, inputs: Tensor) -> Tensor:
        with precision(self.device):
            return painter(inputs)

    def measure(self, painter: nn.Module) -> dict[str, float]:
        """l1: to the truth, in [0, 1]; colour: CIE76 difference of the mean colours of cells. Held-out pairs, no regions.

        With regions, where pairs have any: "l1 with regions".
        """
        found: dict[str, list[Tensor]] = {}
        for inputs, truth in self.measured_on:
            painted = self._paint(painter, _without_regions(inputs))
            cells = [colour.lab(F.avg_pool2d(x, COLOUR_CELL)) for x in (painted, truth)]
            found.setdefault("l1", []).append((painted - truth).abs().mean())
            found.setdefault("colour", []).append((cells[0] - cells[1]).norm(dim=1).mean())
            if self.pairs.channels > 3:
                found.setdefault("l1 with regions", []).append((self._paint(painter, inputs) - truth).abs().mean())
        return {name: float(torch.stack(values).mean()) for name, values in found.items()}

    def samples(self, painter: nn.Module) -> Tensor:
        """Rows: the inputs, the results without and with regions, the truth. Cut to a square, because shapes differ."""
        columns = []
        for inputs, truth in self.measured_on[:SHOWN]:
            shown = [inputs[:, :3], self._paint(painter, _without_regions(inputs)), self._paint(painter, inputs), truth]
            side = min(truth.shape[-2:])
            columns.append(torch.cat([picture[..., :side, :side] for picture in shown]))
        return torch.stack(columns, dim=1)

    def header(self) -> dict[str, object]:
        return {
            "architecture": {"generator": self.generator.architecture},
            "pairs": self.pairs.kind,
            "works": data.hashes(self.works),
            "artist": self.works[0].artist if self.works else "",
            "options": asdict(self.options),
        }


def learning_from(
    works: Sequence[Work],
    corpora: Sequence[str],
    encoder: Encoder,
    options: Options = Options(),
    *,
    seed: int = 0,
    show: bool = False,
) -> Pix2pix:
    """pix2pix for the one synthetic painter that `corpora` name, by exact pairs; for other `works` by inexact ones.

    Of the works of a real artist about a tenth is held out, series by series. UsageError where there is nothing to hold out.
    """
    if len(corpora) == 1 and corpora[0] in PAINTERS:
        learnt, new = (
            ScenePairs(scenes.pairs(corpora[0], count, size=options.size, held_out=held_out, show=show))
            for count, held_out in ((options.scenes, False), (min(MEASURED_ON, options.scenes), True))
        )
        return Pix2pix(learnt, new, works, encoder, options, seed=seed)
    learn, out = data.split_works(works)
    copies = [Copies(part, options.copies, size=options.size) for part in (learn, out)]
    return Pix2pix(copies[0], copies[1], learn, encoder, options, seed=seed)


def _without_regions(inputs: Tensor) -> Tensor:
    return torch.cat([inputs[:, :3], torch.zeros_like(inputs[:, 3:])], dim=1)


def build(architecture: Mapping[str, Any]) -> Generator:
    """An untrained generator of this architecture, as `Pix2pix.header` writes it."""
    return Generator(**architecture["generator"])


def paint(
    network: Trained, content: Tensor, target: StyleTarget, settings: Settings, *, regions: Tensor | None = None
) -> Tensor:
    """`content` (1, 3, H, W) in [0, 1] as the network's one artist would have it: the same shape. The target is not heeded.

    `regions` (1, len(REGIONS), H, W) in [0, 1] says what is where, for a network that learnt from scenes.
    """
    generator = network.network
    assert isinstance(generator, Generator)
    pictures = content if network.header["pairs"] == "scenes" else copied(content, network.header["pairs"])
    more = generator.architecture["inputs"] - 3  # type: ignore[operator]
    if more:
        unknown = content.new_zeros(1, more, *content.shape[-2:])
        pictures = torch.cat([pictures, unknown if regions is None else regions.to(content)], dim=1)
    with precision(content.device):
        return in_tiles(generator.to(content.device), pictures)
