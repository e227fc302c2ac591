"""One network for one artist: a pass paints after any weights over the works.

The founding idea as a network. What `transfer` optimises for every picture anew, alpha L_content + L_style + tv L_tv (Gatys et
al. 2016, Johnson et al. 2016), is minimised once, over photographs and over weights drawn at random. The weights enter as a
code of the target's statistics, and scale and shift every normalisation (Dumoulin et al. 2017, Perez et al. 2018). Because
the moments of a mixture are linear in the weights, a training target is one sum of known Gram matrices: no painting is
encoded while the network learns.
"""

import copy
import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from workbench import progress, statistics, targets
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.generative import data, imitation, trained
from workbench.generative.adversarial import fake, frozen, real
from workbench.generative.imitation import Pair, PairedCrops
from workbench.generative.networks import MARGIN, Discriminator, Generator, in_tiles, pad, without_margin
from workbench.generative.trained import Trained
from workbench.generative.training import Family, Losses, at_least, precision
from workbench.statistics import Moments
from workbench.targets import StyleTarget
from workbench.transfer import Settings
from workbench.transfer.losses import relative_squares

DIRECTIONS = 24
"""Principal directions of the statistics that make a code: among van Gogh's works they hold 95 % of the variance."""
MOST_WORKS = 256
"""Works whose Gram matrices are held; of a larger corpus so many, evenly over its hashes."""
CONTENT_LAYERS = ("relu3_1", "relu4_2")
"""relu4_2 alone loses eyes and windows."""
LONG_SIDE = 640
"""px. Of the photographs that crops are taken from; the crops shrink them by up to .6."""
GRAIN = (127, 113)
"""px. Sides of two tiles of noise, which are repeated and added: together they repeat after 14351 px."""
IMITATED = 192
"""px. Side of the crops of pictures that are imitated, with `MARGIN`: pairs are small."""
COLOURS = 4.0
"""Weight of colours where pictures are imitated."""
_ONE_AT_A_TIME = threading.Lock()
"""A pass in tiles sets the network's normalisations for its time, and the lab paints in several threads."""
SHOWN = 3
"""Photographs in a sheet of samples, and of these so many targets."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Weights of the losses, and sizes. alpha counts more than in an optimisation, where .05 keeps as much of the content."""

    alpha: float = 0.2
    tv: float = 0.02
    crop: int = 192
    """px. Side of the crops of photographs that are measured; the network sees `MARGIN` more on every side."""
    batch: int = 4
    imitated: float = 0.5
    """Share of a batch that imitates pairs, where there are any. The rest meets the statistics of the target in every crop, and
    so paints something into flat skies, too."""
    adversarial: float = 0.2
    """Weight of a discriminator that tells results from crops of the works they are after. A Gram matrix can be met by a fine
    regular weave, which no painting has; a discriminator sees it. With 0 there is none, and a step takes a quarter less."""
    size: int = 512
    """px. Long side of the paintings, so of the results in which strokes have the paintings' size."""
    widths: tuple[int, ...] = (16, 32, 56)
    blocks: int = 5
    skips: bool = True

    def __post_init__(self) -> None:
        at_least(self, alpha=0, tv=0, batch=1, imitated=0, adversarial=0, size=16, blocks=0, widths=1, crop=16)
        require(self.imitated <= 1, f"imitated = {self.imitated}: give a share between 0 and 1")
        require(len(self.widths) == 3, f"widths = {self.widths}: give three")
        require(self.crop % 4 == 0, f"crop = {self.crop}: give a multiple of 4 px")
        require(not self.adversarial or self.crop >= 32, f"crop = {self.crop}: a discriminator needs 32 px at least")


class Code(nn.Module):
    """Moments of a target -> a code (K,): channel means and deviations of every layer, along principal directions of the works.

    Components have variance 1 over the works themselves.
    """

    centre: Tensor
    basis: Tensor
    units: Tensor

    def __init__(self, size: int, layers: int, code: int):
        super().__init__()
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("basis", torch.zeros(size, code))
        self.register_buffer("units", torch.ones(layers))

    @classmethod
    def fit(cls, works: Sequence[Mapping[str, Moments]]) -> "Code":
        """The principal directions among the moments of `works`, layer -> Moments each."""
        units = torch.stack([torch.stack([m.second.trace() for m in each.values()]) for each in works]).mean(dim=0).sqrt()
        vectors = torch.stack([_vector(each, units) for each in works])
        centre = vectors.mean(dim=0)
        _, values, directions = torch.linalg.svd(vectors - centre, full_matrices=False)
        count = min(DIRECTIONS, max(1, len(works) - 1))
        deviations = (values[:count] / len(works) ** 0.5).clamp_min(1e-6)
        made = cls(vectors.shape[1], len(units), count)
        made.centre.copy_(centre)
        made.units.copy_(units)
        if len(works) > 1:
            made.basis.copy_(directions[:count].T / deviations)
        return made

    @property
    def length(self) -> int:
        """K."""
        return self.basis.shape[1]

    def forward(self, moments: Mapping[str, Moments]) -> Tensor:
        """The code of layer -> Moments: (K,), float32. Far outside of the works it is cut at 4 deviations."""
        return self.of_marginals(marginals(moments))

    def of_marginals(self, found: Mapping[str, Tensor]) -> Tensor:
        """The same from what it reads of moments, see `marginals`."""
        return ((_scaled(found, self.units) - self.centre) @ self.basis).clamp(-4, 4)


def marginals(moments: Mapping[str, Moments]) -> dict[str, Tensor]:
    """layer -> mean and mean square of every channel, (2, C): all that a code reads, and linear in the weights of a mixture."""
    return {layer: torch.stack([m.mean, m.second.diagonal()]) for layer, m in moments.items()}


def mixed(parts: Sequence[tuple[float, Mapping[str, Tensor]]]) -> dict[str, Tensor]:
    """The marginals of the mixture of `parts`, (weight, marginals) each; the weights sum to one."""
    weights = torch.tensor([weight for weight, _ in parts])
    layers = parts[0][1]
    return {layer: torch.tensordot(weights.to(layers[layer]), torch.stack([m[layer] for _, m in parts]), 1) for layer in layers}


def _vector(moments: Mapping[str, Moments], units: Tensor) -> Tensor:
    return _scaled(marginals(moments), units)


def _scaled(found: Mapping[str, Tensor], units: Tensor) -> Tensor:
    parts = []
    for unit, (mean, square) in zip(units, found.values(), strict=True):
        deviation = (square - mean.square()).clamp_min(0).sqrt()
        parts.append(torch.cat([mean, deviation]) / unit.clamp_min(1e-12))
    return torch.cat(parts)


class ArtistNetwork(nn.Module):
    """A generator with the code of one artist's works.

    Besides the picture it sees noise, always the same at the same place: where a picture is flat, nothing else tells one place
    from the next, and strokes would become a regular pattern (Ulyanov et al. 2016).
    """

    grain: Tensor
    second_grain: Tensor

    def __init__(self, generator: Generator, code: Code):
        super().__init__()
        self.generator = generator
        self.code = code
        draw = torch.Generator().manual_seed(0)
        self.register_buffer("grain", torch.randn(GRAIN[0], GRAIN[0], generator=draw))
        self.register_buffer("second_grain", torch.randn(GRAIN[1], GRAIN[1], generator=draw))

    def with_noise(self, pictures: Tensor, begin: tuple[int, int] = (0, 0)) -> Tensor:
        """`pictures` (N, 3, H, W) and a channel of noise of variance .125 about .5, from the place `begin` on: (N, 4, H, W)."""
        height, width = pictures.shape[-2:]
        noise = torch.zeros_like(pictures[:1, :1])
        for tile in (self.grain, self.second_grain):
            rows = torch.arange(begin[0], begin[0] + height, device=tile.device) % tile.shape[0]
            columns = torch.arange(begin[1], begin[1] + width, device=tile.device) % tile.shape[1]
            noise = noise + tile.index_select(0, rows).index_select(1, columns)
        return torch.cat([pictures, (0.5 + 0.25 * noise).expand(pictures.shape[0], -1, -1, -1)], dim=1)

    def forward(self, pictures: Tensor, codes: Tensor, begin: tuple[int, int] = (0, 0)) -> Tensor:
        """`pictures` (N, 3, H, W) in [0, 1], `codes` (N, K): (N, 3, H, W) in [0, 1]. `begin`: see `with_noise`.

        Beyond the border the picture repeats its border pixels, and the noise goes on: repeated, it would be stripes across the
        border, and these show in what the network paints.
        """
        height, width = pictures.shape[-2:]
        return self.inside(pad(pictures), codes, (begin[0] - MARGIN, begin[1] - MARGIN))[..., :height, :width]

    def inside(self, surrounded: Tensor, codes: Tensor, begin: tuple[int, int] = (0, 0)) -> Tensor:
        """The same for the inner part of `surrounded` (N, 3, H + 2 MARGIN, W + 2 MARGIN): see `Generator.inside`."""
        return self.generator.inside(self.with_noise(surrounded, begin), codes)


def build(architecture: Mapping[str, object]) -> ArtistNetwork:
    """An untrained network of this architecture, as `Artist.header` writes it."""
    generator = Generator(**architecture["generator"])  # type: ignore[arg-type]
    return ArtistNetwork(generator, Code(*architecture["code"]))  # type: ignore[misc]


class Artist(Family):
    """What an artist network learns from: photographs, and the moments of an artist's works."""

    name = "artist"

    def __init__(
        self,
        works: Sequence[Work],
        photographs: Sequence[Work],
        held_out: Sequence[Work],
        encoder: Encoder,
        options: Options = Options(),
        *,
        pairs: Sequence[Pair] = (),
        seed: int = 0,
        show: bool = False,
    ):
        """`pairs`: what `neighbours` made of photographs, to be imitated in half of every batch. `held_out`: photographs to
        measure on. `encoder`: with style layers, `CONTENT_LAYERS` among its layers."""
        self.options = options
        self.encoder = encoder
        self.works = learnt_from(works)
        self.photographs = data.Pictures(photographs, LONG_SIDE)
        self.held_out = data.Pictures(held_out, LONG_SIDE)
        self.layers = encoder.style_layers
        each = [
            targets.moments(targets.single(work), encoder, options.size, self.layers)
            for work in progress.track(self.works, total=len(self.works), label="statistics of the works", show=show)
        ]
        self.grams = {layer: torch.stack([m[layer].second for m in each]) for layer in self.layers}
        self.means = {layer: torch.stack([m[layer].mean for m in each]) for layer in self.layers}
        torch.manual_seed(seed)  # the first weights
        code = Code.fit(each)
        generator = Generator(inputs=4, widths=options.widths, blocks=options.blocks, code=code.length, skips=options.skips)
        network = ArtistNetwork(generator, code).to(encoder.device).to(memory_format=torch.channels_last)
        self.players: dict[str, torch.nn.Module] = {"painter": network}
        self.rates = {"painter": 2e-3}
        if options.adversarial:
            self.judge = Discriminator().to(encoder.device).to(memory_format=torch.channels_last)
            self.players["judge"], self.rates["judge"] = self.judge, 5e-4
            self.paintings = data.Pictures(self.works, options.size)
        decides = [
            data.identity_of(self.works),
            data.identity_of(photographs),
            encoder.identity,
            asdict(options),
            imitation.identity_of(pairs),
        ]
        self.identity = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
        self.pairs = PairedCrops(pairs) if pairs else None
        draw = torch.Generator().manual_seed(seed)
        self.measured_on = self.held_out.crops(draw, 8, options.crop + 2 * MARGIN, (0.6, 0.8)).to(encoder.device)
        self.measured_after = torch.stack([drawn_weights(len(self.works), draw) for _ in range(8)]).to(encoder.device)

    def moments(self, weights: Tensor) -> dict[str, Moments]:
        """The moments of the mixture with `weights` (n,) over the works, summing to one."""
        return {
            layer: Moments(weights @ self.means[layer], torch.tensordot(weights, self.grams[layer], 1)) for layer in self.layers
        }

    @property
    def network(self) -> ArtistNetwork:
        """The painter, by its own type."""
        assert isinstance(self.painter, ArtistNetwork)
        return self.painter

    def losses(self, draw: torch.Generator) -> Losses:
        options, device = self.options, self.encoder.device
        imitated = round(options.imitated * options.batch) if self.pairs else 0
        alone = options.batch - imitated
        begin = data.below(GRAIN[0] * GRAIN[1], draw), data.below(GRAIN[0] * GRAIN[1], draw)
        loss = torch.zeros((), device=device)
        made: list[Tensor] = []
        after: list[Tensor] = []
        if alone:
            pictures = self.photographs.crops(draw, alone, options.crop + 2 * MARGIN).to(device)
            weights = torch.stack([drawn_weights(len(self.works), draw) for _ in range(alone)]).to(device)
            content, style, variation, painted = self._paint(self.network, pictures, weights, begin)
            loss = loss + (options.alpha * content + style + options.tv * variation).sum()
            made, after = [painted], [weights]
        if self.pairs and imitated:
            apart, painted, weights = self._imitation(self.pairs, imitated, draw, begin)
            loss = loss + apart.sum()
            made, after = [*made, painted], [*after, weights]
        loss = loss / options.batch
        if not options.adversarial:
            yield "painter", loss
            return
        side = min(min(pictures.shape[-2:]) for pictures in made)
        results = torch.cat([_middle(pictures, side) for pictures in made])
        with frozen(self.judge), precision(device):
            deceived = real(self.judge(results))
        yield "painter", loss + options.adversarial * deceived
        works = torch.stack([self._crop_of_a_work(weights, side, draw) for weights in torch.cat(after)]).to(device)
        with precision(device):
            told = real(self.judge(works)) + fake(self.judge(results.detach()))
        yield "judge", told / 2

    def _crop_of_a_work(self, weights: Tensor, side: int, draw: torch.Generator) -> Tensor:
        """A crop (3, side, side) of one of the works, drawn by their `weights` (n,), with strokes as large as in a result."""
        k = int(torch.multinomial(weights.cpu(), 1, generator=draw))
        return self.paintings.crop_of(k, draw, side, (1.0, 1.0))

    def _imitation(
        self, pairs: PairedCrops, count: int, draw: torch.Generator, begin: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """How far the painter is from what `neighbours` made of `count` crops, (count,), what it made, and after what weights.

        Features of the same place say what is where; Gram matrices of the crop keep strokes, which the mean of all that could
        have been painted would blur; means of 16 px keep colours.
        """
        drawn = [pairs.crop(draw, IMITATED) for _ in range(count)]
        places = {work.sha256: place for place, work in enumerate(self.works)}
        weights = torch.zeros(count, len(self.works))
        for row, (k, _, _) in zip(weights, drawn, strict=True):
            for sha256, weight in pairs.pairs[k].weights.items():
                row[places[sha256]] += weight
        contents = torch.stack([content for _, content, _ in drawn]).to(self.encoder.device)
        painted = without_margin(torch.stack([picture for _, _, picture in drawn]).to(self.encoder.device))
        codes = torch.stack([self.network.code(self.moments(w)) for w in weights.to(self.encoder.device)])
        with precision(self.encoder.device):
            made = self.network.inside(contents, codes, begin)
        features = self.encoder.features(made, self.layers)
        with torch.no_grad():
            wanted = self.encoder.features(painted, self.layers)
        places_apart = [relative_squares(features[layer], wanted[layer]) for layer in self.layers[1:4]]
        apart = [relative_squares(statistics.gram(features[layer]), statistics.gram(wanted[layer])) for layer in self.layers]
        colours = relative_squares(avg_pool2d(made, 16), avg_pool2d(painted, 16))
        return torch.stack(places_apart).mean(dim=0) + torch.stack(apart).mean(dim=0) + COLOURS * colours, made, weights

    def _paint(
        self, painter: ArtistNetwork, pictures: Tensor, weights: Tensor, begin: tuple[int, int] = (0, 0)
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(content, style, total variation) of the inner part of each picture, all (N,), and what `painter` made of it."""
        aimed_at = [self.moments(w) for w in weights]
        codes = torch.stack([self.network.code(m) for m in aimed_at])
        with torch.no_grad():
            kept = self.encoder.features(without_margin(pictures), CONTENT_LAYERS)
        with precision(self.encoder.device):
            painted = painter.inside(pictures, codes, begin)
        features = self.encoder.features(painted, dict.fromkeys((*self.layers, *CONTENT_LAYERS)))
        content = torch.stack([relative_squares(features[layer], kept[layer]) for layer in CONTENT_LAYERS]).mean(dim=0)
        grams = {layer: torch.stack([m[layer].second for m in aimed_at]) for layer in self.layers}
        style = torch.stack([relative_squares(statistics.gram(features[layer]), grams[layer]) for layer in self.layers])
        variation = torch.stack([painted.diff(dim=dim).square().mean(dim=(1, 2, 3)) for dim in (2, 3)]).sum(dim=0)
        return content, style.mean(dim=0), variation, painted

    def measure(self, painter: nn.Module) -> dict[str, float]:
        assert isinstance(painter, ArtistNetwork)
        content, style, variation, _ = self._paint(painter, self.measured_on, self.measured_after)
        total = self.options.alpha * content + style + self.options.tv * variation
        return {name: float(x.mean()) for name, x in (("objective", total), ("content", content), ("style", style))}

    def samples(self, painter: nn.Module) -> Tensor:
        pictures = self.measured_on[:SHOWN]
        assert isinstance(painter, ArtistNetwork)
        rows = [without_margin(pictures)]
        for k in range(SHOWN):
            rows.append(self._paint(painter, pictures, self.measured_after[k].expand(len(pictures), -1))[3])
        return torch.stack(rows, dim=1)

    def header(self) -> dict[str, object]:
        code = self.network.code
        return {
            "architecture": {
                "generator": self.network.generator.architecture,
                "code": [len(code.centre), len(code.units), code.length],
            },
            "encoder": self.encoder.name,
            "encoder_sha256": self.encoder.weights_sha256,
            "size": self.options.size,
            "works": [work.sha256 for work in self.works],
            "artist": self.works[0].artist,
            "photographs": len(self.photographs),
            "pairs": len(self.pairs.pairs) if self.pairs else 0,
            "options": asdict(self.options),
        }


def drawn_weights(count: int, draw: torch.Generator) -> Tensor:
    """Weights (count,) over the works, summing to one: one work (35 %), 2 to 12 of them (55 %), or all (10 %)."""
    kind = data.uniform(draw)
    if kind >= 0.9:
        return torch.full((count,), 1 / count)
    some = min(count, 1 if kind < 0.35 else 2 + data.below(11, draw))
    chosen = torch.randperm(count, generator=draw)[:some]
    shares = -torch.log(torch.rand(some, generator=draw).clamp_min(1e-12))  # exponential: their shares are Dirichlet(1)
    return torch.zeros(count).index_put((chosen,), shares / shares.sum())


def learnt_from(works: Sequence[Work]) -> tuple[Work, ...]:
    """Those of `works` that a network learns from: MOST_WORKS of them at most, decided by their hashes."""
    require(bool(works), "there are no works to learn from")
    if len(works) <= MOST_WORKS:
        return tuple(works)
    return tuple(sorted(sorted(works, key=lambda work: work.sha256)[:MOST_WORKS], key=lambda work: work.name))


def code_of(network: Trained, target: StyleTarget) -> Tensor:
    """The code of `target`, (1, K), computed on the CPU: what an exported network is given. See `trained.encoder_of`."""
    artist, encoder = network.network, trained.encoder_of(network, torch.device("cpu"))
    assert isinstance(artist, ArtistNetwork)
    return artist.code.cpu()(targets.moments(target, encoder, network.header["size"], encoder.style_layers))[None]


def exported(network: nn.Module) -> tuple[nn.Module, dict[str, Tensor]]:
    """(what is exported, an example of each input that it takes besides pictures)."""
    assert isinstance(network, ArtistNetwork)
    painter = copy.deepcopy(network)
    painter.code = nn.Identity()  # type: ignore[assignment]  # the code comes from outside
    return painter, {"code": torch.zeros(2, network.code.length)}


def paint(network: Trained, content: Tensor, target: StyleTarget, settings: Settings) -> Tensor:
    """`content` (1, 3, H, W) in [0, 1] after `target`, in one pass: the same shape. See `trained.encoder_of` for errors."""
    artist, encoder = network.network, trained.encoder_of(network, content.device)
    assert isinstance(artist, ArtistNetwork)
    found = marginals_of(target, encoder, network.header["size"])
    if settings.strength < 1:
        own = {layer: statistics.moments(f) for layer, f in encoder.features(content, encoder.style_layers).items()}
        found = mixed([(1 - settings.strength, marginals(own)), (settings.strength, found)])
    with _ONE_AT_A_TIME, precision(content.device):
        artist.to(content.device)
        return in_tiles(artist, content, artist.code.of_marginals(found)[None], placed=True)


def marginals_of(target: StyleTarget, encoder: Encoder, size: int) -> dict[str, Tensor]:
    """The marginals of `target`, its works' long sides scaled to `size` px: see `marginals`.

    A mixture is summed from those of its works, which are measured once, and kept: other weights take milliseconds. A
    barycentre is not linear, and takes as long as `targets.moments`.
    """
    if target.combine != "mean":
        return marginals(targets.moments(target, encoder, size, encoder.style_layers))
    return mixed([(weight, _of_work(work, encoder, size)) for work, weight in zip(target.works, target.weights, strict=True)])


def _middle(pictures: Tensor, side: int) -> Tensor:
    """The square of `side` px in the middle of `pictures` (N, 3, H, W)."""
    top, left = ((length - side) // 2 for length in pictures.shape[-2:])
    return pictures[..., top : top + side, left : left + side]


@lru_cache(maxsize=4096)
def _of_work(work: Work, encoder: Encoder, size: int) -> dict[str, Tensor]:
    progress.check()
    return marginals(targets.moments(targets.single(work), encoder, size, encoder.style_layers))
