"""Any target in closed form: features of the content are moved to the statistics of the target, and decoded to a picture.

Decoders learn once, from any pictures, to invert the frozen encoder at some of its layers. No target is seen in training. To
paint, the features f of the content, with mean mu and covariance S, are moved to mean mu* and covariance S* by an affine map,
y = A (f - mu) + mu*, which follows from the `Moments` of both:

    AdaIN   A = diag(sigma* / sigma), channel by channel                          (Huang & Belongie 2017, eq. 8)
    WCT     A = S*^{1/2} S^{-1/2}, whitening, then colouring                       (Li et al. 2017, eqs. 2 and 3)
    Monge   A = S^{-1/2} (S^{1/2} S* S^{1/2})^{1/2} S^{-1/2}, optimal transport    (Olkin & Pukelsheim 1982; Lu et al. 2019)

`paint` uses the last: of all maps to these moments it moves the features least, so that most of the content stays. What comes
out has the colours and contrasts of the target, sharply; an affine map of features paints no strokes, it only turns what
detail the content has, noise included, into the target's grain.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench import images, statistics, targets
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.generative import data, trained
from workbench.generative.networks import MARGIN, in_tiles, pad
from workbench.generative.trained import Trained
from workbench.generative.training import Family, Losses, at_least, precision
from workbench.statistics import Moments, eigen, psd_sqrt
from workbench.targets import StyleTarget
from workbench.targets.aggregation import TOLERANCE
from workbench.transfer import Settings
from workbench.transfer.losses import relative_square

FLOOR = 1e-5
"""Variance, as a share of the largest, below which a direction of the content's features counts as constant: dividing by its
deviation would show noise and rounding as colour."""
TILE = 1024
"""px. Larger pictures are decoded in tiles of this side; statistics are taken at this size at most."""
SHOWN = 3
"""Photographs, and as many works, in a sheet of samples."""


@dataclass(frozen=True)
class Affine:
    """y = A (f - before) + after for every feature vector f (C,). matrix: A (C, C); before, after: (C,)."""

    matrix: Tensor
    before: Tensor
    after: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """`features` (N, C, h, w), mapped place by place, in their own precision: the same shape."""
        matrix, shift = self.matrix, self.after - self.matrix @ self.before
        return F.conv2d(features, matrix[..., None, None].to(features), shift.to(features))

    def part(self, strength: float) -> "Affine":
        """(1 - strength) f + strength y. Of a Monge map it is the way of optimal transport itself (McCann 1997)."""
        same = torch.eye(len(self.before)).to(self.matrix)
        return Affine(torch.lerp(same, self.matrix, strength), self.before, torch.lerp(self.before, self.after, strength))


def adain(own: Moments, target: Moments, *, floor: float = FLOOR) -> Affine:
    """The map that gives every channel the target's mean and deviation; correlations of channels stay the content's."""
    own, target = _wide(own), _wide(target)
    mine, theirs = (m.covariance.diagonal().clamp_min(0) for m in (own, target))
    sound = mine > floor * mine.amax()
    scale = torch.where(sound, (theirs / torch.where(sound, mine, 1)).sqrt(), 0)
    return Affine(torch.diag(scale), own.mean, target.mean)


def wct(own: Moments, target: Moments, *, floor: float = FLOOR) -> Affine:
    """Whitening and colouring: covariance S to I by S^{-1/2}, and I to S* by S*^{1/2}."""
    own, target = _wide(own), _wide(target)
    _, inverse = roots(own.covariance, floor)
    return Affine(psd_sqrt(target.covariance) @ inverse, own.mean, target.mean)


def monge(own: Moments, target: Moments, *, floor: float = FLOOR) -> Affine:
    """The optimal transport between Gaussians: of all maps to the target's moments the one that moves features least.

    A is symmetric and positive semi-definite, and E ||y - f||^2 is `statistics.gaussian_w2`.
    """
    own, target = _wide(own), _wide(target)
    root, inverse = roots(own.covariance, floor)
    return Affine(inverse @ psd_sqrt(root @ target.covariance @ root) @ inverse, own.mean, target.mean)


def roots(covariance: Tensor, floor: float = FLOOR) -> tuple[Tensor, Tensor]:
    """(S^{1/2}, S^{-1/2}) of a covariance (C, C), both on the directions whose variance exceeds `floor` times the largest.

    Both map the other directions to zero: no linear map can give variance to what does not vary.
    """
    values, vectors = eigen(covariance)
    sound = values > floor * values[-1].clamp_min(0)
    root = torch.where(sound, values.clamp_min(0).sqrt(), 0)
    inverse = torch.where(sound, 1 / torch.where(sound, root, 1), 0)
    return (vectors * root) @ vectors.T, (vectors * inverse) @ vectors.T


def _wide(m: Moments) -> Moments:
    """Moments in float64, where the device has it: covariances are small differences."""
    wide = torch.float32 if m.mean.device.type == "mps" else torch.float64
    return Moments(m.mean.to(wide), m.second.to(wide))


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is inverted, how large the decoders are, and on what they learn."""

    layers: tuple[str, ...] = ("relu2_1", "relu3_1")
    """`paint` moves features at the first. Deeper ones put halos around what is dark, and relu4_1 is decoded to a blur."""
    widths: tuple[int, ...] = (20, 40, 64, 96)
    """Channels at full, half, quarter and eighth size."""
    crop: int = 128
    """px. Side of the crops."""
    batch: int = 8
    """Crops in a step, half of them of photographs."""
    pixels: float = 2.0
    """Weight of the absolute difference of pixels, beside the relative error of features."""

    def __post_init__(self) -> None:
        at_least(self, widths=1, pixels=0, batch=1)
        unit = 2 ** (len(self.widths) - 1)
        require(bool(self.layers), "name a layer to decode from")
        require(self.crop >= unit and self.crop % unit == 0, f"crop = {self.crop}: give a multiple of {unit} px")
        require(self.batch >= 2, f"batch = {self.batch}: give 2 crops or more, of works and of photographs")


class Decoder(nn.Module):
    """Features at one layer of the encoder to the picture: at each size two 3x3 convolutions, then nearest upsampling."""

    def __init__(self, channels: int, widths: Sequence[int]):
        """`channels`: of the features; `widths`: from full size down to theirs, each size half of the one before."""
        super().__init__()
        steps: list[nn.Module] = []
        deepest_first = list(reversed(widths))
        for k, width in enumerate(deepest_first):
            if k:
                steps.append(nn.Upsample(scale_factor=2, mode="nearest"))
            before = deepest_first[k - 1] if k else channels
            for inputs in (before, width):
                steps += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
        self.steps = nn.Sequential(*steps, nn.Conv2d(widths[0], 3, 3, padding=1))

    def forward(self, features: Tensor) -> Tensor:
        """`features` (N, C, h, w): (N, 3, h s, w s) in [0, 1], float32, s being the stride of the layer."""
        return torch.sigmoid(self.steps(features.contiguous(memory_format=torch.channels_last)).float())


class Decoders(nn.Module):
    """A decoder for each of some layers of one encoder."""

    def __init__(self, channels: Mapping[str, int], widths: Sequence[int]):
        """`channels`: layer -> channels of its features; a layer of block b, named as in VGG-19, has the stride 2^(b-1)."""
        super().__init__()
        self.architecture = {"channels": dict(channels), "widths": list(widths)}
        self.by_layer = nn.ModuleDict()
        for layer, count in channels.items():
            block = int(layer.removeprefix("relu").partition("_")[0])
            require(block <= len(widths), f"no decoder for {layer}: widths are given down to block {len(widths)}")
            self.by_layer[layer] = Decoder(count, widths[:block])

    @property
    def layers(self) -> tuple[str, ...]:
        """Those that can be decoded."""
        return tuple(self.by_layer)

    def forward(self, layer: str, features: Tensor) -> Tensor:
        """What `features` (N, C, h, w) at `layer` show: (N, 3, H, W) in [0, 1]."""
        return self.by_layer[layer](features)


def build(architecture: Mapping[str, object]) -> Decoders:
    """Untrained decoders of this architecture, as `Inversion.header` writes it."""
    return Decoders(**architecture)  # type: ignore[arg-type]


class Inversion(Family):
    """Decoders that learn to invert an encoder, from works and photographs of any kind.

    The loss of a decoder D at layer F, for a picture x: pixels * |D(F(x)) - x|_1 + ||F(D(F(x))) - F(x)||^2 / ||F(x)||^2, as
    Li et al. (2017, eq. 1). One step adds up those of all decoders.
    """

    name = "decoder"

    def __init__(
        self,
        works: Sequence[Work],
        photographs: Sequence[Work],
        held_out: Sequence[Work],
        encoder: Encoder,
        options: Options = Options(),
        *,
        unseen: Sequence[Work] = (),
        seed: int = 0,
    ):
        """`held_out`: photographs to measure on; `unseen`: works of which nothing is learnt, to measure on as well."""
        self.options = options
        self.encoder = encoder
        self.layers = encoder.check_layers(options.layers)
        self.artists = Counter(work.artist or "unknown" for work in works)
        self.works = data.Pictures(works, 640)
        self.photographs = data.Pictures(photographs, 640)
        torch.manual_seed(seed)  # the first weights
        decoders = Decoders({layer: encoder.channels[layer] for layer in self.layers}, options.widths)
        self.players = {"painter": decoders.to(encoder.device).to(memory_format=torch.channels_last)}
        self.rates = {"painter": 2e-3}
        decides = [data.identity_of(works), data.identity_of(photographs), encoder.identity, asdict(options)]
        self.identity = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
        self.measured_on = {
            name: data.Pictures(pictures, 640).crops(torch.Generator().manual_seed(seed), 16, options.crop).to(encoder.device)
            for name, pictures in (("photographs", held_out), ("works", unseen))
            if pictures
        }
        require(bool(self.measured_on), "there are no pictures to measure on")

    def losses(self, draw: torch.Generator) -> Losses:
        side, half = self.options.crop, self.options.batch // 2
        parts = [self.works.crops(draw, self.options.batch - half, side), self.photographs.crops(draw, half, side)]
        pictures = torch.cat(parts).to(self.encoder.device)
        errors = self._errors(self.painter, pictures).values()
        yield "painter", torch.stack([self.options.pixels * pixels + features for pixels, features in errors]).sum()

    def _errors(self, painter: nn.Module, pictures: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """layer -> (mean absolute difference of pixels, relative squared error of features) of its reconstructions."""
        found = {}
        with torch.no_grad():
            features = self.encoder.features(pictures, self.layers)
        for layer, own in features.items():
            with precision(self.encoder.device):
                painted = painter(layer, own)
            again = self.encoder.features(painted, [layer])[layer]
            found[layer] = (painted - pictures).abs().mean(), relative_square(again, own)
        return found

    def measure(self, painter: nn.Module) -> dict[str, float]:
        measured = {}
        for name, pictures in self.measured_on.items():
            for layer, (pixels, features) in self._errors(painter, pictures).items():
                measured[f"L1 {layer}, {name}"] = float(pixels)
                measured[f"features {layer}, {name}"] = float(features)
        return measured

    def samples(self, painter: nn.Module) -> Tensor:
        pictures = torch.cat([found[:SHOWN] for found in self.measured_on.values()])
        features = self.encoder.features(pictures, self.layers)
        with precision(self.encoder.device):
            return torch.stack([pictures, *(painter(layer, features[layer]) for layer in self.layers)], dim=1)

    def header(self) -> dict[str, object]:
        """No "works": that would be a condition on targets, and a decoder has none."""
        decoders = self.painter
        assert isinstance(decoders, Decoders)
        return {
            "architecture": decoders.architecture,
            "encoder": self.encoder.name,
            "encoder_sha256": self.encoder.weights_sha256,
            "artists": dict(sorted(self.artists.items())),
            "photographs": len(self.photographs),
            "options": asdict(self.options),
        }


class Moved(nn.Module):
    """A picture x whose features f = F(x) at one layer are moved by a map T: x + D(T f) - D(f).

    The difference of two decodings leaves the detail that decoders lose in the picture: where T moves nothing, it is x.
    """

    def __init__(self, encoder: Encoder, decoders: Decoders, layer: str, move: Affine):
        super().__init__()
        self.encoder = encoder
        self.decoders = decoders
        self.layer = layer
        self.move = move

    def forward(self, picture: Tensor, code: None = None) -> Tensor:
        """`picture` (1, 3, H, W) in [0, 1] of any size: the same shape, in [0, 1]. It has no `code`; see `in_tiles`."""
        height, width = picture.shape[-2:]
        features = self.encoder.features(pad(picture, 8), [self.layer])[self.layer]
        with precision(picture.device):
            change = self.decoders(self.layer, self.move(features)) - self.decoders(self.layer, features)
        return (picture + change[..., MARGIN : MARGIN + height, MARGIN : MARGIN + width]).clamp(0, 1)


def paint(network: Trained, content: Tensor, target: StyleTarget, settings: Settings) -> Tensor:
    """`content` (1, 3, H, W) in [0, 1] with its features moved to the moments of `target`, any target: the same shape.

    Several works are combined as their barycentre, whatever `target.combine` says. Pooled moments hold the scatter between
    paintings too, which no one picture has; a map to such a covariance burns the lights and blackens the shadows.
    `settings.strength` is how far features move; at 0 the result is the content.

    UsageError for a target with regions; see also `trained.encoder_of`.
    """
    require(not target.guides, "decoders move the statistics of the whole picture: they do not paint after regions")
    decoders, encoder = network.network, trained.encoder_of(network, content.device)
    assert isinstance(decoders, Decoders)
    decoders.to(content.device)
    layer = decoders.layers[0]
    size = min(settings.size, TILE)
    own = statistics.moments(encoder.features(images.resize(content, size), [layer])[layer])
    move = monge(own, typical(target, encoder, size, layer)).part(settings.strength)
    return in_tiles(Moved(encoder, decoders, layer, move), content, tile=TILE)


def typical(target: StyleTarget, encoder: Encoder, size: int, layer: str) -> Moments:
    """The moments of the barycentre of the works of `target`, scaled to `size` px.

    Those of each work are cached by themselves: once known, other weights take no encoding.
    """
    works = zip(target.weights, target.works, strict=True)
    parts = [(weight, targets.moments(targets.single(work), encoder, size, [layer])[layer]) for weight, work in works]
    return statistics.barycentre(parts, tolerance=TOLERANCE)
