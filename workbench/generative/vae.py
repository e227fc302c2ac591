"""A variational autoencoder of works and their patches (Kingma & Welling 2014): a space in which an artist's patches lie.

It minimises, over patches at all scales and whole works squashed to a patch,

    L1(x, d(z)) + perceptual R(x, d(z)) + beta KL(q(z | x) || N(0, 1)) / (numbers in a patch),    z drawn from q(z | x),

R being the relative feature error of a frozen encoder. A few numbers for a patch hold its colours, masses and edges, and no
stroke: what is decoded is a blur. It is here for its space: samples, walks between works, and codes that retrieve and cluster
(`encoders/vae.py`); a picture painted with it is a picture seen through the artist's patches.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench import images, progress
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.encoders.vae import SIDE, STRIDE, PatchEncoder, whole_patches
from workbench.errors import require
from workbench.generative import data
from workbench.generative.trained import Trained
from workbench.generative.training import Family, Losses, at_least, precision
from workbench.targets import StyleTarget
from workbench.transfer import Settings

PERCEIVED = ("relu1_1", "relu2_1", "relu3_1")
"""Layers of the encoder in which a reconstruction is compared. Deeper ones have a few cells in a patch."""
WHOLE = 0.25
"""Share of the patches that are whole works, squashed."""
MEASURED = 32
"""Held-out patches on which a network is measured."""
IDLE = 0.01
"""nats. A dimension whose codes diverge less from N(0, 1) says nothing of a patch (Burda et al. 2016 count the others)."""
SHOWN = 6
"""Rows in a sheet of samples."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Weights of the losses, and sizes."""

    perceptual: float = 0.5
    beta: float = 2.0
    """Weight of the KL divergence, against an L1 error of values in [0, 1]. After 400 steps on van Gogh's works no dimension is
    idle, and samples vary half as much again as with .5, at an L1 error of .094 instead of .093."""
    warm_up: int = 200
    """Steps over which beta rises from 0, so that codes are used before they are priced (Bowman et al. 2016)."""
    batch: int = 32
    size: int = 512
    """px. Long side of the works: patches are cut from it downwards, to where the short side is one patch."""
    widths: tuple[int, ...] = (24, 48, 96, 128)
    latent: int = 64

    def __post_init__(self) -> None:
        at_least(self, perceptual=0, beta=0, warm_up=0, batch=1, size=SIDE, widths=1, latent=1)
        most = SIDE.bit_length() - 2
        require(len(self.widths) <= most, f"widths = {self.widths}: give at most {most}, for patches of {SIDE} px")


class PatchDecoder(nn.Module):
    """Codes to patches: the encoder the other way round, bilinear upsampling before every convolution.

    What is written too coarsely stays smooth: repeated cells would show as a weave, and zeros around a patch as a frame.
    """

    def __init__(self, *, widths: Sequence[int], latent: int):
        super().__init__()
        self.deepest = widths[-1]
        self.cells = SIDE >> len(widths)
        self.tail = nn.Linear(latent, self.deepest * self.cells**2)
        up = [*reversed(widths), widths[0]]
        self.convolutions = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1, padding_mode="replicate") for a, b in pairwise(up)])
        self.out = nn.Conv2d(widths[0], 3, 3, padding=1, padding_mode="replicate")

    def forward(self, codes: Tensor) -> Tensor:
        """`codes` (N, latent): (N, 3, 64, 64) in [0, 1], float32."""
        x = F.silu(self.tail(codes)).view(-1, self.deepest, self.cells, self.cells)
        x = x.contiguous(memory_format=torch.channels_last)
        for convolution in self.convolutions:
            x = F.silu(convolution(F.interpolate(x, scale_factor=2.0, mode="bilinear")))
        return torch.sigmoid(self.out(x).float())


class Autoencoder(nn.Module):
    """Patches to codes and back."""

    def __init__(self, *, widths: Sequence[int], latent: int):
        super().__init__()
        self.encoder = PatchEncoder(widths=widths, latent=latent)
        self.decoder = PatchDecoder(widths=widths, latent=latent)

    def forward(self, patches: Tensor) -> Tensor:
        """`patches` (N, 3, 64, 64) in [0, 1] reconstructed from their mean codes: the same shape."""
        return self.decoder(self.encoder(patches)[0])


def build(architecture: Mapping[str, object]) -> Autoencoder:
    """An untrained network of this architecture, as `VAE.header` writes it."""
    return Autoencoder(**architecture["encoder"])  # type: ignore[arg-type]


class VAE(Family):
    """What an autoencoder learns from: the works of one artist, or of several."""

    name = "vae"

    def __init__(
        self,
        works: Sequence[Work],
        held_out: Sequence[Work],
        encoder: Encoder,
        options: Options = Options(),
        *,
        seed: int = 0,
    ):
        """`works`, `held_out`: see `split_works`. `encoder`: with the layers `PERCEIVED`."""
        self.options = options
        self.encoder = encoder
        self.works = data.Pictures(works, options.size)
        self.held_out = data.Pictures(held_out, options.size)
        self.steps = 0
        torch.manual_seed(seed)  # the first weights
        network = Autoencoder(widths=options.widths, latent=options.latent)
        self.players = {"painter": network.to(encoder.device).to(memory_format=torch.channels_last)}
        self.rates = {"painter": 5e-4}  # at twice as much, codes collapse before they carry anything
        decides = [data.identity_of(works), data.identity_of(held_out), encoder.identity, asdict(options)]
        self.identity = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
        draw = torch.Generator().manual_seed(seed)
        self.measured_on = patches(self.held_out, draw, MEASURED).to(encoder.device)
        self.shown_codes = torch.randn(SHOWN, options.latent, generator=draw).to(encoder.device)

    def losses(self, draw: torch.Generator) -> Losses:
        options = self.options
        seen = patches(self.works, draw, options.batch).to(self.encoder.device)
        noise = torch.randn(options.batch, options.latent, generator=draw).to(seen)
        beta = options.beta * min(1.0, self.steps / max(options.warm_up, 1))
        self.steps += 1
        yield "painter", self._parts(self.painter, seen, noise, beta)["objective"]

    def _parts(self, painter: nn.Module, seen: Tensor, noise: Tensor, beta: float) -> dict[str, Tensor]:
        assert isinstance(painter, Autoencoder)
        with precision(seen.device):
            mean, log_variance = painter.encoder(seen)
            decoded = painter.decoder(drawn(mean, log_variance, noise))
        with torch.no_grad():
            theirs = self.encoder.features(seen, PERCEIVED)
        own = self.encoder.features(decoded, PERCEIVED)
        parts = {
            "l1": (decoded - seen).abs().mean(),
            "features": torch.stack([_relative_error(own[layer], theirs[layer]) for layer in PERCEIVED]).mean(),
            "kl": divergence(mean, log_variance).sum(dim=1).mean(),
        }
        total = parts["l1"] + self.options.perceptual * parts["features"] + beta * parts["kl"] / seen[0].numel()
        return {"objective": total} | parts

    def measure(self, painter: nn.Module) -> dict[str, float]:
        """The objective at full beta, and its parts, of held-out patches and their mean codes. KL alone rises as codes fill.

        idle: the share of dimensions that say nothing, see `IDLE`: near 1, the posterior has collapsed, and beta is too large.
        """
        assert isinstance(painter, Autoencoder)
        silent = torch.zeros(len(self.measured_on), self.options.latent, device=self.encoder.device)
        parts = self._parts(painter, self.measured_on, silent, self.options.beta)
        with precision(silent.device):
            each = divergence(*painter.encoder(self.measured_on)).mean(dim=0)
        return {name: float(value) for name, value in parts.items()} | {"idle": float((each < IDLE).float().mean())}

    def samples(self, painter: nn.Module) -> Tensor:
        """Held-out patches, their reconstructions, and samples of the prior."""
        assert isinstance(painter, Autoencoder)
        shown = self.measured_on[-SHOWN:]
        with precision(shown.device):
            return torch.stack([shown, painter(shown), painter.decoder(self.shown_codes)], dim=1)

    def state(self) -> dict[str, Tensor]:
        return {"steps": torch.tensor(self.steps)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.steps = int(state["steps"])

    def header(self) -> dict[str, object]:
        assert isinstance(self.painter, Autoencoder)
        works = self.works.works
        return {
            "architecture": {"encoder": self.painter.encoder.architecture},
            "encoder": self.encoder.name,
            "encoder_sha256": self.encoder.weights_sha256,
            "works": data.hashes(works),
            "artist": ", ".join(sorted({work.artist for work in works if work.artist})),
            "options": asdict(self.options),
        }


def learning_from(
    works: Sequence[Work],
    encoder: Encoder,
    options: Options = Options(),
    *,
    seed: int = 0,
) -> VAE:
    """A VAE of nine tenths of `works`, measured on the others; see `split_works`."""
    return VAE(*split_works(works), encoder, options, seed=seed)


def split_works(works: Sequence[Work]) -> tuple[list[Work], list[Work]]:
    """(to learn from, held out): a tenth, by the hashes of the files alone. One work is measured on itself, which is said."""
    order = sorted(works, key=lambda work: hashlib.sha256(work.sha256.encode()).hexdigest())
    require(bool(order), "there are no works to learn from")
    if len(order) == 1:
        print("one work: the network is measured on what it learns from", file=sys.stderr)
        return order, order
    held = max(1, round(data.HELD_OUT * len(order)))
    return order[held:], order[:held]


def patches(works: data.Pictures, draw: torch.Generator, count: int) -> Tensor:
    """`count` patches (count, 3, 64, 64) in [0, 1] of random works at random scales, a share of `WHOLE` of them whole works."""
    return torch.stack([_patch(works, draw) for _ in range(count)])


def _patch(works: data.Pictures, draw: torch.Generator) -> Tensor:
    k = data.below(len(works), draw)
    if data.uniform(draw) >= WHOLE:
        return works.crop_of(k, draw, SIDE, (SIDE / works.size, 1.0))
    patch = squashed(data.from_bytes(works.picture(k)[None]))[0]
    return patch.flip(-1) if data.uniform(draw) < 0.5 else patch


def squashed(picture: Tensor) -> Tensor:
    """`picture` (N, 3, H, W) as one patch, (N, 3, 64, 64), its aspect lost."""
    return images.resize(picture, (SIDE, SIDE))


def drawn(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """z = mean + deviation * noise: codes drawn such that gradients reach both (Kingma & Welling 2014, section 2.4)."""
    return mean + (log_variance / 2).exp() * noise


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) of each number of a code, in nats; all (N, K). Appendix B of the paper."""
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2


def _relative_error(x: Tensor, target: Tensor) -> Tensor:
    """||x - target||^2 / ||target||^2 over a batch (N, C, h, w): a plain patch alone would be measured in next to nothing."""
    return (x - target).square().sum() / target.square().sum().clamp_min(torch.finfo(torch.float32).tiny)


def sample(network: Autoencoder, count: int, *, seed: int = 0) -> Tensor:
    """Patches that the network makes up, from codes of the prior: (count, 3, 64, 64) in [0, 1]."""
    device = network.decoder.tail.weight.device
    codes = torch.randn(count, network.decoder.tail.in_features, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return network.decoder(codes.to(device))


def walk(network: Autoencoder, a: Tensor, b: Tensor, count: int) -> Tensor:
    """`count` patches (count, 3, 64, 64) on the way from the reconstruction of a work `a` to that of `b`, (1, 3, H, W) each.

    See `between` for the way. UsageError for fewer than the two ends.
    """
    require(count >= 2, f"a walk of {count}: give two steps at least, its ends")
    with torch.no_grad():
        ends = network.encoder(torch.cat([squashed(a), squashed(b)]))[0]
        return network.decoder(between(ends[0], ends[1], torch.linspace(0, 1, count, device=ends.device)))


def between(a: Tensor, b: Tensor, along: Tensor) -> Tensor:
    """Codes from `a` to `b`, both (K,), at the places `along` (n,) in [0, 1]: (n, K).

    Spherical in direction, linear in length (White 2016). Codes of works lie far from the origin, where the mean patch is: a
    straight line passes near it, and what it decodes on the way is greyer than either end.
    """
    lengths = a.norm(), b.norm()
    angle = F.cosine_similarity(a, b, dim=0).clamp(-1, 1).arccos()
    t = along[:, None]
    if min(*lengths, angle.sin()) < 1e-3:  # alike, or empty or opposite, where no way is the shortest
        return a + t * (b - a)
    turned = (((1 - t) * angle).sin() * a / lengths[0] + (t * angle).sin() * b / lengths[1]) / angle.sin()
    return turned * (lengths[0] + t * (lengths[1] - lengths[0]))


def reconstruct(network: Autoencoder, picture: Tensor) -> Tensor:
    """`picture` (1, 3, H, W) in [0, 1] decoded patch by patch from mean codes: the same shape.

    Patches overlap by half and fade into each other. The picture is continued by half a patch on every side, so that every
    pixel is covered four times. Memory is that of one row of patches beyond the picture's own.
    """
    height, width = picture.shape[-2:]
    rows, columns = (whole_patches(-(-side // STRIDE) * STRIDE) + SIDE for side in (height, width))
    margins = (STRIDE, columns - width - STRIDE, STRIDE, rows - height - STRIDE)
    padded = F.pad(picture, margins, mode="replicate")
    ramp = torch.minimum(torch.arange(SIDE) + 0.5, SIDE - 0.5 - torch.arange(SIDE)).to(picture) / STRIDE
    fade = torch.outer(ramp, ramp)  # the fades of the patches over a pixel sum to one
    total = torch.zeros_like(padded)
    for top in range(0, rows - STRIDE, STRIDE):
        progress.check()
        strip = padded[0, :, top : top + SIDE].unfold(2, SIDE, STRIDE).permute(2, 0, 1, 3)  # (n, 3, 64, 64)
        with torch.no_grad(), precision(picture.device):
            decoded = network(strip) * fade
        columns_of = decoded.flatten(1).T[None]
        total[0, :, top : top + SIDE] += F.fold(columns_of, (SIDE, columns), SIDE, stride=STRIDE)[0]
    return total[..., STRIDE : STRIDE + height, STRIDE : STRIDE + width]


def paint(network: Trained, content: Tensor, target: StyleTarget, settings: Settings) -> Tensor:
    """`content` (1, 3, H, W) in [0, 1] through the patches of the artist, whatever the target: the same shape."""
    autoencoder = network.network
    assert isinstance(autoencoder, Autoencoder)
    return reconstruct(autoencoder.to(content.device), content)
