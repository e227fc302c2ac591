"""From photographs to an artist, and no pairs to learn from: CycleGAN, and a network of one direction with a style-aware loss.

Both know one artist, and take no target. A discriminator tells the artist's works from results, and the generator learns to
deceive it; they differ in what keeps the content. CycleGAN (Zhu et al. 2017) asks that a second generator find the way back.
Sanakoyeu et al. (2018) ask that an encoder see in the result what it saw in the picture: no way back, a third of the cost.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.generative import adversarial, data
from workbench.generative.adversarial import CONTENT_LAYER, difference, fake, frozen, real
from workbench.generative.networks import Discriminator, Generator, in_tiles, pad
from workbench.generative.trained import Trained
from workbench.generative.training import Family, Losses, at_least, precision
from workbench.targets import StyleTarget
from workbench.transfer import Settings
from workbench.transfer.losses import relative_squares

MEASURED_ON = 16
"""Crops of held-out photographs that a painter is measured on."""
COMPARED_WITH = 64
"""Crops of the works that give the statistics which results should have."""
SHOWN = 6
"""Crops in a sheet of samples."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Sizes that both families have."""

    crop: int = 144
    """px. Side of the crops of photographs and works."""
    size: int = 512
    """px. Long side of the works, so of the results in which strokes have the works' size; crops shrink it by up to .6."""
    batch: int = 4
    widths: tuple[int, ...] = (24, 48, 96)
    blocks: int = 5
    skips: bool = False
    """Whether details pass the generator by; they are lost otherwise, as in both papers."""
    judge_width: int = 32
    judge_scales: int = 2
    """Discriminators: each sees the picture at half the size of the one before."""

    def __post_init__(self) -> None:
        at_least(self, crop=16, size=16, batch=1, widths=1, blocks=0, judge_width=1, judge_scales=1)
        require(len(self.widths) == 3, f"widths = {self.widths}: give three")
        least = 16 * 2 ** (self.judge_scales - 1)
        require(self.crop >= least and self.crop % 4 == 0, f"crop = {self.crop}: give a multiple of 4 px, of {least} or more")


@dataclass(frozen=True, kw_only=True)
class CycleOptions(Options):
    """As published, except for a smaller generator: weights for pictures in [-1, 1]."""

    crop: int = 128
    batch: int = 1
    widths: tuple[int, ...] = (32, 64, 128)
    blocks: int = 6
    judge_scales: int = 1
    cycle: float = 10.0
    identity: float = 5.0
    pool: int = 50
    """Earlier results that the discriminators may be shown."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, cycle=0, identity=0, pool=1)


@dataclass(frozen=True, kw_only=True)
class OneSidedOptions(Options):
    """content_in: where content is compared, in the generator's "own" encoder, as published, or in a frozen one, "embedded".

    The generator's own has first to learn what content is, which takes more steps than an hour has on a CPU.
    """

    content_in: Literal["own", "embedded"] = "embedded"
    content: float = 1.5
    colour: float = 4.0
    """Weight of the transformed image loss: squared difference of pictures in [-1, 1] whose cells are averaged."""
    cell: int = 8
    """px. Side of these cells."""
    second_fakes: float = 0.5
    """Share of the discriminator's loss on fakes that photographs make, against 1 for results."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, content=0, colour=0, cell=1, second_fakes=0)
        require(self.cell <= self.crop, f"cell = {self.cell}: give at most the {self.crop} px of a crop")


class _Unpaired(Family):
    """Photographs on one side, works on the other, and how far results for new photographs are from the works."""

    betas = (0.5, 0.999)

    def __init__(
        self,
        works: Sequence[Work],
        photographs: Sequence[Work],
        held_out: Sequence[Work],
        encoder: Encoder,
        options: Options,
        seed: int,
    ):
        require(options.crop >= 32, f"crop = {options.crop}: discriminators need 32 px at least")
        self.options = options
        self.encoder = encoder
        self.device = encoder.device
        self.works = data.Pictures(works, options.size)
        self.photographs = data.Pictures(photographs, options.size)
        decides = [data.identity_of(works), data.identity_of(photographs), encoder.identity, asdict(options)]
        self.identity = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
        draw = torch.Generator().manual_seed(seed)
        new = data.Pictures(held_out, options.size)
        self.measured_on = new.crops(draw, MEASURED_ON, options.crop).to(self.device)
        with torch.no_grad():
            compared = self.works.crops(draw, COMPARED_WITH, options.crop).to(self.device)
            self.wanted = adversarial.pooled_grams(compared, encoder)
        torch.manual_seed(seed)  # the first weights

    def _generator(self) -> Generator:
        options = self.options
        made = Generator(widths=options.widths, blocks=options.blocks, skips=options.skips).to(self.device)
        return made.to(memory_format=torch.channels_last)

    def _judge(self) -> Discriminator:
        made = Discriminator(width=self.options.judge_width, scales=self.options.judge_scales).to(self.device)
        return made.to(memory_format=torch.channels_last)

    def _drawn(self, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Crops of photographs and of works, (batch, 3, crop, crop) in [0, 1] both."""
        options = self.options
        photographs = self.photographs.crops(draw, options.batch, options.crop)
        return photographs.to(self.device), self.works.crops(draw, options.batch, options.crop).to(self.device)

    def _paint(self, painter: nn.Module, pictures: Tensor) -> Tensor:
        with precision(self.device):
            return torch.cat([painter(part) for part in pictures.split(adversarial.AT_ONCE)])

    def measure(self, painter: nn.Module) -> dict[str, float]:
        """Relative squared distances: style, all results together to the works; content, each to its photograph."""
        painted = self._paint(painter, self.measured_on)
        style = adversarial.style_distance(adversarial.pooled_grams(painted, self.encoder), self.wanted)
        return {"style": style, "content": adversarial.content_distance(painted, self.measured_on, self.encoder)}

    def samples(self, painter: nn.Module) -> Tensor:
        pictures = self.measured_on[:SHOWN]
        return torch.stack([pictures, self._paint(painter, pictures)], dim=0)

    def header(self) -> dict[str, object]:
        painter = self.painter
        assert isinstance(painter, Generator)
        return {
            "architecture": {"generator": painter.architecture},
            "works": data.hashes(self.works.works),
            "artist": self.works.works[0].artist,
            "photographs": len(self.photographs),
            "size": self.options.size,
            "options": asdict(self.options),
            "measured_by": self.encoder.name,
        }


class CycleGAN(_Unpaired):
    """Zhu et al. (2017), with the least-squares loss, identity loss and image pool of the paper.

    G paints, F finds the way back to photographs; D_Y judges paintings, D_X photographs. G and F minimise

        (D_Y(G(x)) - 1)^2 + (D_X(F(y)) - 1)^2 + cycle (|F(G(x)) - x| + |G(F(y)) - y|) + identity (|G(y) - y| + |F(x) - x|).
    """

    name = "cyclegan"
    options: CycleOptions

    def __init__(
        self,
        works: Sequence[Work],
        photographs: Sequence[Work],
        held_out: Sequence[Work],
        encoder: Encoder,
        options: CycleOptions = CycleOptions(),
        *,
        seed: int = 0,
    ):
        """`held_out`: photographs to measure on; `encoder`: measures, with style layers and relu4_2."""
        super().__init__(works, photographs, held_out, encoder, options, seed)
        self.forth, self.back = self._generator(), self._generator()
        self.judge_of_works, self.judge_of_photographs = self._judge(), self._judge()
        self.players = {
            "generators": nn.ModuleList([self.forth, self.back]),
            "judges": nn.ModuleList([self.judge_of_works, self.judge_of_photographs]),
        }
        self.rates = {"generators": 2e-4, "judges": 2e-4}
        self.pools = {"works": data.ImagePool(options.pool), "photographs": data.ImagePool(options.pool)}

    @property
    def painter(self) -> nn.Module:
        """G: the way back is needed to learn, and is not kept."""
        return self.forth

    def losses(self, draw: torch.Generator) -> Losses:
        x, y = self._drawn(draw)
        judges = self.judge_of_works, self.judge_of_photographs
        with frozen(*judges), precision(self.device):
            painted, same_y = self.forth(torch.cat([x, y])).chunk(2)
            photographed, same_x = self.back(torch.cat([y, x])).chunk(2)
            deceived = real(judges[0](painted)) + real(judges[1](photographed))
            cycle = difference(self.back(painted), x) + difference(self.forth(photographed), y)
            identity = difference(same_y, y) + difference(same_x, x)
            total = deceived + self.options.cycle * cycle + self.options.identity * identity
        yield "generators", total
        shown = self.pools["works"].exchange(painted, draw), self.pools["photographs"].exchange(photographed, draw)
        with precision(self.device):
            told = [real(judge(true)) + fake(judge(made)) for judge, true, made in zip(judges, (y, x), shown, strict=True)]
        yield "judges", (told[0] + told[1]) / 2

    def state(self) -> dict[str, Tensor]:
        """The image pools."""
        return {name: torch.stack(pool.kept) for name, pool in self.pools.items() if pool.kept}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        for name, pool in self.pools.items():
            pool.kept = list(state[name].to(self.device)) if name in state else []


class OneSided(_Unpaired):
    """The style-aware GAN of Sanakoyeu et al. (2018), reduced: G paints, D judges, and G minimises

        (D(G(x)) - 1)^2 + content ||E(G(x)) - E(x)||^2 / ||E(x)||^2 + colour ||T(G(x)) - T(x)||^2,

    the style-aware content loss and the transformed image loss, T averaging over cells. E is the first half of G with
    content_in = "own", as in the paper, else a frozen encoder. D is shown photographs too, as further fakes, as the authors'
    code does. Of the paper are missing: 768 px crops, five auxiliary classifiers inside one deep discriminator (here are
    discriminators at several scales), and steps that are left out while D wins too often. The content loss is relative, so
    that an encoder cannot lower it by small codes.
    """

    name = "one-sided"
    options: OneSidedOptions

    def __init__(
        self,
        works: Sequence[Work],
        photographs: Sequence[Work],
        held_out: Sequence[Work],
        encoder: Encoder,
        options: OneSidedOptions = OneSidedOptions(),
        *,
        seed: int = 0,
    ):
        """`held_out`: photographs to measure on; `encoder`: measures, and may hold the content; it has relu4_2."""
        super().__init__(works, photographs, held_out, encoder, options, seed)
        self.generator, self.judge = self._generator(), self._judge()
        self.players = {"painter": self.generator, "judge": self.judge}
        self.rates = {"painter": 5e-4, "judge": 5e-4}

    def losses(self, draw: torch.Generator) -> Losses:
        photographs, works = self._drawn(draw)
        options = self.options
        with frozen(self.judge), precision(self.device):
            painted = self.generator(photographs)
            deceived = real(self.judge(painted))
        content = self._content(painted, photographs)
        averages = [F.avg_pool2d(2 * picture, options.cell) for picture in (painted, photographs)]
        colour = (averages[0] - averages[1]).square().mean()
        yield "painter", deceived + options.content * content + options.colour * colour
        with precision(self.device):
            scores = self.judge(torch.cat([works, painted.detach(), photographs]))
            true, made, seen = zip(*(score.chunk(3) for score in scores), strict=True)
            told = real(true) + (fake(made) + options.second_fakes * fake(seen)) / (1 + options.second_fakes)
        yield "judge", told / 2

    def _content(self, painted: Tensor, photographs: Tensor) -> Tensor:
        if self.options.content_in == "own":
            with precision(self.device):
                codes = [self.generator.encode(pad(picture) * 2 - 1).float() for picture in (painted, photographs)]
            return relative_squares(codes[0], codes[1]).mean()
        with torch.no_grad():
            kept = self.encoder.features(photographs, (CONTENT_LAYER,))[CONTENT_LAYER]
        return relative_squares(self.encoder.features(painted, (CONTENT_LAYER,))[CONTENT_LAYER], kept).mean()


def build(architecture: Mapping[str, Any]) -> Generator:
    """An untrained generator of this architecture, as the header of either family writes it."""
    return Generator(**architecture["generator"])


def exported(network: nn.Module) -> tuple[nn.Module, dict[str, Tensor]]:
    """(what is exported, an example of each input that it takes besides pictures: none)."""
    return network, {}


def paint(network: Trained, content: Tensor, target: StyleTarget, settings: Settings) -> Tensor:
    """`content` (1, 3, H, W) in [0, 1] as the network's one artist would have it: the same shape. The target is not heeded."""
    generator = network.network
    assert isinstance(generator, Generator)
    with precision(content.device):
        return in_tiles(generator.to(content.device), content)
