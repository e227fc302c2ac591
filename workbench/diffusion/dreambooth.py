"""DreamBooth with LoRA: a base model learns an artist's word from his works (Ruiz et al. 2023, Hu et al. 2022).

    L = E w(t) |f(z_t, t, c) - target|^2 + lambda E |f(z'_t, t, c') - target'|^2

z are latents of works and c their captions; z', c' pictures that the base itself made of the class noun, and that noun: they
keep the word "painting" from becoming the artist's (prior preservation). The base predicts noise, or v.
"""

import hashlib
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from workbench import images, inputs, progress, storage
from workbench.corpora import Work
from workbench.diffusion import base as bases
from workbench.diffusion import captions, lora, stylise
from workbench.diffusion.base import Base, Words, library
from workbench.diffusion.captions import Style
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.generative import data
from workbench.generative.training import Family, Losses

VERSION = 1
"""Part of the keys of caches: raised whenever the same file comes to another latent."""
MEASURED = 8
"""Works, of the held out and of the others, that the loss is measured on, and class images."""
MEASURED_AT = (0.125, 0.375, 0.625, 0.875)
"""Steps at which it is, as shares of T."""
SHOWN = 3
"""Tokens in a sheet of samples."""
Bias = Literal["balanced", "style", "content"]


@dataclass(frozen=True, kw_only=True)
class Options(lora.Shape):
    """What is learnt, and from what; besides the fields of `lora.Shape`."""

    size: int = 0
    """px. Works have about the area of a square of this side, in buckets of like aspect; 0: what the base was made for."""
    batch: int = 1
    noun: str = "painting"
    """The class noun: captions begin with token and noun, class images are made of the noun alone."""
    captions: Style = "metadata"
    """"metadata": title, genre, medium and year are named, as far as they are known. "plain": token and noun alone."""
    dropout: float = 0.05
    """Share of the captions that are left empty, so that guidance works (Ho & Salimans 2022)."""
    clusters: int = 0
    """Style clusters, each with a token of its own; 0: as many as are found. 1: one token for all."""
    snr: float = 5.0
    """gamma of min-SNR weights (Hang et al. 2023); 0 weighs all steps alike."""
    timesteps: Bias = "balanced"
    """Which steps are drawn: see `drawn_steps`."""
    prior: float = 1.0
    """lambda, the weight of the class images."""
    class_images: int = 32
    """Class images, made once; 0: no prior preservation."""
    class_steps: int = 25
    held_out: float = data.HELD_OUT
    """Share of the works that are held out, series by series."""
    checkpointing: bool = False
    """Whether activations are computed again for the gradient: less memory, more time."""
    eight_bit: bool = False
    """Whether the moments of Adam are kept in 8 bits, by bitsandbytes, on NVIDIA's GPUs."""
    samples: bool = True
    """Whether every report comes with pictures, which takes as long as four of them do."""
    content: str = "grace_hopper"
    """The photograph among the samples."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.batch <= 1024, f"batch = {self.batch}: choose between 1 and 1024")
        require(self.size == 0 or 16 <= self.size <= 4096, f"size = {self.size}: choose between 16 and 4096 px, or 0")
        for name in ("dropout", "held_out"):
            require(0 <= getattr(self, name) < 1, f"{name} = {getattr(self, name)}: choose at least 0 and below 1")
        for name in ("snr", "prior", "class_images", "clusters"):
            require(0 <= getattr(self, name) < math.inf, f"{name} = {getattr(self, name)}: choose at least 0")
        require(self.class_steps >= 1, f"class_steps = {self.class_steps}: choose at least 1")
        require(bool(self.noun.strip()), "noun is empty: give a class noun, such as painting")

    @property
    def shape(self) -> lora.Shape:
        """The fields of the LoRA alone."""
        return lora.Shape(**{field.name: getattr(self, field.name) for field in fields(lora.Shape)})


@dataclass(frozen=True)
class Example:
    """A picture to learn from. mean, deviation: of its latent, (1, c, h, w); sizes: see `Base.predict`; prompt: its caption."""

    mean: Tensor
    deviation: Tensor
    sizes: Tensor
    prompt: str

    @property
    def shape(self) -> torch.Size:
        return self.mean.shape


class DreamBooth(Family):
    """What DreamBooth-LoRA learns from: works with captions, and class images."""

    name = "dreambooth"
    betas = (0.9, 0.999)

    def __init__(
        self,
        works: Sequence[Work],
        held_out: Sequence[Work],
        base: Base,
        tokens: dict[str, str],
        encoder: Encoder,
        options: Options = Options(),
        *,
        seed: int = 0,
        show: bool = False,
    ):
        """`held_out`: works to measure on; `tokens`: sha256 of every work -> its token; `encoder`: only its device is used."""
        require(bool(works), "there are no works to learn from")
        size = options.size or base.size
        least = 2 * base.multiple
        require(size >= least, f"size = {size}: {base.title} needs {least} px at least")
        self.options, self.base, self.tokens = options, base, tokens
        self.works, self.held_out = tuple(works), tuple(held_out)
        self.size = size
        self.captions = {
            work.sha256: captions.caption(work, tokens[work.sha256], options.noun, options.captions)
            for work in (*works, *held_out)
        }
        self._known: dict[str, Words] = {}
        everything = [*works, *held_out]
        found = [
            example_of(work, self.captions[work.sha256], base, size)
            for work in progress.track(everything, total=len(everything), label="latents", show=show)
        ]
        if show and (cut := base.too_long(self.captions.values())):
            print(f"{len(cut)} captions have more than 77 tokens, and their ends are not read: {cut[0]}", file=sys.stderr)
        self.examples, self.measured_on = found[: len(works)], found[len(works) :][:MEASURED]
        self.alike: dict[torch.Size, list[int]] = {}
        for k, example in enumerate(self.examples):
            self.alike.setdefault(example.shape, []).append(k)
        self.class_examples = self._class_examples(show) if options.prior > 0 else []  # before the base has a LoRA
        self.adapter = lora.learning(base, options.shape, seed)
        self.players = {"painter": self.adapter}
        self.rates = {"painter": 1e-4}
        if options.checkpointing:
            base.pipe.unet.enable_gradient_checkpointing()
        decides = [
            data.identity_of(self.works),
            data.identity_of(self.held_out),
            sorted(self.captions.items()),
            base.identity,
            str(base.dtype),
            asdict(options),
        ]
        self.identity = hashlib.sha256(json.dumps(decides).encode()).hexdigest()

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        if not self.options.eight_bit:
            return super().optimiser(parameters)
        require(self.base.device.type == "cuda", "eight_bit goes with a GPU of NVIDIA's, by bitsandbytes")
        return library("bitsandbytes").optim.Adam8bit(parameters, lr=0.0, betas=self.betas)

    def losses(self, draw: torch.Generator) -> Losses:
        loss = self._loss(self._drawn(draw), draw, drops=self.options.dropout)
        if self.class_examples:
            chosen = [self.class_examples[data.below(len(self.class_examples), draw)] for _ in range(self.options.batch)]
            loss = loss + self.options.prior * self._loss(chosen, draw)
        yield "painter", loss

    def _drawn(self, draw: torch.Generator) -> list[Example]:
        """A batch of works of one shape."""
        first = data.below(len(self.examples), draw)
        same = self.alike[self.examples[first].shape]
        chosen = [first, *(same[data.below(len(same), draw)] for _ in range(self.options.batch - 1))]
        return [self.examples[k] for k in chosen]

    def _loss(self, chosen: Sequence[Example], draw: torch.Generator, *, drops: float = 0.0) -> Tensor:
        """The mean loss of `chosen` at steps, noise and latents that are drawn; `drops`: share of empty captions."""
        shape = (len(chosen), *chosen[0].shape[1:])
        t = drawn_steps(len(chosen), self.base.steps, self.options.timesteps, draw)
        spread, noise = torch.randn(shape, generator=draw), torch.randn(shape, generator=draw)
        prompts = ["" if data.uniform(draw) < drops else example.prompt for example in chosen]
        device = self.base.device
        z = torch.cat([example.mean for example in chosen]) + spread * torch.cat([example.deviation for example in chosen])
        z, noise, t = z.to(device), noise.to(device), t.to(device)
        errors = denoising(self.base, z, noise, t, self._words(prompts), torch.cat([example.sizes for example in chosen]))
        return (min_snr(self.base, t, self.options.snr) * errors).mean()

    def _words(self, prompts: Sequence[str]) -> Words:
        """`prompts` as the text encoders read them; where these do not learn, each is read once."""
        if self.options.text_encoder:
            return self.base.words(prompts)
        for prompt in prompts:
            if prompt not in self._known:
                with torch.no_grad():
                    self._known[prompt] = self.base.words([prompt])
        return Words.together([self._known[prompt] for prompt in prompts])

    def measure(self, painter: nn.Module) -> dict[str, float]:
        """The loss on held-out works, on works that are learnt from, and on class images, at fixed steps and noise.

        All steps weigh alike. Where the first rises while the second falls, works are learnt by heart.
        """
        parts = {"held-out": self.measured_on, "training": self.examples[:MEASURED], "prior": self.class_examples[:MEASURED]}
        return {
            name: validation_loss(self.base, examples, self._words([example.prompt for example in examples]))
            for name, examples in parts.items()
            if examples
        }

    def samples(self, painter: nn.Module) -> Tensor | None:
        """A row for each of the first tokens: the photograph, restyled, and two pictures of the token and noun alone."""
        if not self.options.samples:
            return None
        side = self.size // self.base.multiple * self.base.multiple
        content, _ = covering(inputs.content(self.options.content), (side, side))
        rows = []
        for token in sorted(set(self.tokens.values()))[:SHOWN]:
            words = self._words([f"{token} {self.options.noun}"])
            restyled = stylise.restyled(self.base, content, words, strength=0.5, steps=20)
            made = stylise.made(self.base, words, size=(side, side), seeds=(0, 1), steps=20)
            rows.append(torch.cat([content, restyled, made]))
        return torch.stack(rows)

    def in_file(self, average: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
        return lora.in_file(self.adapter, average)

    def header(self) -> dict[str, object]:
        tokens: dict[str, list[str]] = {}
        for sha256, token in self.tokens.items():
            tokens.setdefault(token, []).append(sha256)
        return {
            "architecture": asdict(self.options.shape),
            "base": self.base.name,
            "base_identity": self.base.identity,
            "base_title": self.base.title,
            "noun": self.options.noun,
            "tokens": tokens,
            "works": [work.sha256 for work in self.works],
            "held_out": [work.sha256 for work in self.held_out],
            "captions": self.captions,
            "artist": self.works[0].artist,
            "size": self.size,
            "options": asdict(self.options),
        }

    def _class_examples(self, show: bool) -> list[Example]:
        """What the base makes of the noun, from the seeds 0, 1, ...: the latents, from the cache where they are known."""
        steps, noun = self.options.class_steps, self.options.noun
        side = self.size // self.base.multiple * self.base.multiple
        cache = _cache(self.base, f"class|{noun}|{side}|{steps}|{library('diffusers').__version__}")
        found = []
        count = self.options.class_images
        missing = sum(cache.get(str(seed), ["latent"]) is None for seed in range(count))
        if show and missing:
            words = f"the base paints {missing} class images first, {steps} steps each, and keeps them"
            print(f"{words}; -p class_images=N for fewer, -p prior=0 for none", file=sys.stderr)
        for seed in progress.track(range(count), total=count, label=f"class images ({noun})", show=show):
            held = cache.get(str(seed), ["latent"])
            if held is None:
                latent = stylise.sampled(self.base, self.base.words([noun]), (side, side), seed, steps, guidance=7.5)
                held = {"latent": latent.cpu().numpy()}
                cache.put(str(seed), held)
            z = torch.from_numpy(held["latent"])
            sizes = torch.tensor([[side, side, 0, 0, side, side]], dtype=torch.float32)
            found.append(Example(z, torch.zeros_like(z), sizes, noun))
        return found


def example_of(work: Work, prompt: str, base: Base, size: int) -> Example:
    """`work` with the caption `prompt`, in its bucket for `size`: the latent comes from the cache where it is known."""
    shape = bucket(work.width, work.height, size, base.multiple)
    cache = _cache(base, f"latents|{images.DECODER}|{size}|{base.multiple}")
    names = ("mean", "deviation", "sizes")
    held = cache.get(work.sha256, names)
    if held is None:
        long = math.ceil(max(shape[0] / work.height, shape[1] / work.width) * max(work.height, work.width))
        picture, (top, left) = covering(work.load(long), shape)
        sizes = torch.tensor([[work.height, work.width, top, left, *shape]], dtype=torch.float32)
        held = {name: x.cpu().numpy() for name, x in zip(names, (*base.encode(picture), sizes), strict=True)}
        cache.put(work.sha256, held)
    mean, deviation, sizes = (torch.from_numpy(held[name]) for name in names)
    return Example(mean, deviation, sizes, prompt)


def _cache(base: Base, what: str) -> storage.Cache:
    """The cache of `what`, with all that latents depend on besides in its name."""
    text = f"{VERSION}|{base.identity}|{base.dtype}|{base.device.type}|{torch.__version__}|{what}"
    return storage.Cache(storage.cache_dir("diffusion", hashlib.sha256(text.encode()).hexdigest()[:24]))


@torch.no_grad()
def validation_loss(base: Base, examples: Sequence[Example], words: Words | None = None) -> float:
    """The mean of `denoising` over `examples` at the steps of `MEASURED_AT`, with the same noise each time.

    Of `base` as it is, with the LoRA that is attached. words: the prompts of `examples`, read.
    """
    t = torch.tensor([int(share * base.steps) for share in MEASURED_AT], device=base.device)
    read = base.words([example.prompt for example in examples]) if words is None else words
    found = []
    for k, example in enumerate(examples):
        noise = torch.randn((len(t), *example.shape[1:]), generator=torch.Generator().manual_seed(k)).to(base.device)
        z = example.mean.to(base.device).expand_as(noise)
        found.append(denoising(base, z, noise, t, read[[k] * len(t)], example.sizes.expand(len(t), -1)).mean())
    return float(torch.stack(found).mean())


def denoising(base: Base, z: Tensor, noise: Tensor, t: Tensor, words: Words, sizes: Tensor | None = None) -> Tensor:
    """|f(z_t, t, c) - target|^2 of latents (n, c, h, w) with `noise` at steps `t` (n,), the mean over numbers: (n,)."""
    predicted = base.predict(base.noised(z, noise, t), t, words, sizes)
    return (predicted - base.target(z, noise, t)).square().mean(dim=(1, 2, 3))


def min_snr(base: Base, t: Tensor, gamma: float) -> Tensor:
    """Weights (n,) of steps `t`: min(SNR, gamma) / SNR for noise, min(SNR, gamma) / (SNR + 1) for v; 1 where gamma is 0.

    SNR = a_t / (1 - a_t). Hang et al. (2023), Efficient Diffusion Training via Min-SNR Weighting, section 3.4.
    """
    a = base.signal(t).flatten()
    snr = a / (1 - a)
    if gamma == 0:
        return torch.ones_like(snr)
    return snr.clamp(max=gamma) / (snr + 1 if base.predicts_v else snr)


def drawn_steps(count: int, steps: int, bias: Bias, draw: torch.Generator) -> Tensor:
    """Steps (count,) from 0, the picture, to `steps` - 1, noise; with u uniform in [0, 1):

    "balanced" u T; "style" u^3 T, mostly little noise, where strokes and texture are decided; "content" (1 - u^3) T, mostly
    much noise, where the composition is. The powers are those of ai-toolkit. Min-SNR weights of noise take the steps of little
    noise back, in part.
    """
    u = torch.rand(count, generator=draw)
    share = {"balanced": u, "style": u**3, "content": 1 - u**3}[bias]
    return (share * steps).long().clamp(max=steps - 1)


def bucket(width: int, height: int, size: int, multiple: int) -> tuple[int, int]:
    """(H, W): multiples of `multiple`, with the aspect nearest to that of the picture, and of these the largest.

    H W is between 4/9 and 1 of `size` squared, and no side shorter than half of `size`. There is one from twice `multiple` on.
    """
    sides = range(math.ceil(size / 2 / multiple) * multiple, 2 * size + 1, multiple)
    shapes = [(high, wide) for high in sides for wide in sides if 4 / 9 * size * size <= high * wide <= size * size]
    return min(shapes, key=lambda s: (round(abs(math.log(s[1] / s[0]) - math.log(width / height)), 6), -s[0] * s[1]))


def covering(picture: Tensor, shape: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    """The middle of `picture` (1, 3, H, W), scaled to cover `shape`: (1, 3, *shape), and (top, left) of what was cut off."""
    high, wide = picture.shape[-2:]
    scale = max(shape[0] / high, shape[1] / wide)
    scaled = images.resize(picture, (max(shape[0], round(high * scale)), max(shape[1], round(wide * scale))))
    top, left = ((side - wanted) // 2 for side, wanted in zip(scaled.shape[-2:], shape, strict=True))
    return scaled[..., top : top + shape[0], left : left + shape[1]], (top, left)


def learning_from(
    works: Sequence[Work],
    base: str | Path,
    token: str,
    encoder: Encoder,
    options: Options = Options(),
    *,
    download: bool = False,
    seed: int = 0,
    show: bool = False,
) -> DreamBooth:
    """DreamBooth of `works` on the base model called `base`, see `base.load`; a tenth is held out, series by series.

    `token`: the artist's word, or the beginning of those of his style clusters. `encoder`: compares styles; its device is used.
    """
    learnt, held_out = data.split_works(works, options.held_out) if options.held_out else (list(works), [])
    model = bases.load(base, device=encoder.device, download=download)  # first: it is what may be missing
    tokens = captions.tokens(learnt, held_out, encoder, token, options.clusters, show=show)
    return DreamBooth(learnt, held_out, model, tokens, encoder, options, seed=seed, show=show)
