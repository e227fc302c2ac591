"""A small latent diffusion model, trained from nothing on the CPU, so that what is built on one can be tested without weights.

    python benchmarks/small_base.py -o runs/small-base --autoencoder-minutes 30 --unet-minutes 90

It learns from procedural scenes, each as a photograph and as two of the three synthetic painters paint it, with captions that
are known by construction; the third painter it never sees, so that DreamBooth can teach it one (small_base_truth.py). First the
autoencoder, then, on its latents, the UNet; the text encoder keeps its random weights, which tell words apart as well. What is
interrupted goes on from its last checkpoint when the command is given again. OUT/model is a folder as diffusers writes it, in
float16, with a tokenizer of its own; beside it are the courses of both trainings and their samples (.json, .png).
"""

import argparse
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from workbench import encoders, provenance, storage
from workbench.corpora import Work
from workbench.diffusion import base as bases
from workbench.diffusion import stylise, tiny
from workbench.diffusion.base import Base, quiet
from workbench.diffusion.dreambooth import denoising
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.generative import data, scenes, trained
from workbench.generative.training import Family, Losses, Plan, Training, precision
from workbench.generative.vae import PERCEIVED, divergence, drawn

SIZE = 120
"""px. Long side of the pictures; the short one is 96."""
SCENES = 1200
PAINTERS = ("nocturne", "noonday")
"""Painters whose pictures are learnt from."""
UNSEEN = "umber"
"""The painter whose are not."""
GENRES = ("landscape", "portrait", "still-life", "cityscape")
WORDS = (
    *("a", "photograph", "of", "painting", "painted", "by", "sks"), *PAINTERS,
    *("landscape", "portrait", "still", "life", "cityscape"),
)  # fmt: skip
"""Words that are one token; all others are spelt."""
CROP = 64
"""px. Side of the crops that the autoencoder learns from."""
PERCEPTUAL = 0.2
BETA = 0.01
"""Weights of the feature error and of the KL divergence, against an L1 error of values in [0, 1]."""
DROPOUT = 0.1
"""Share of the captions that are left empty, so that guidance works (Ho & Salimans 2022)."""
STANDARD = 300
"""Pictures whose latents have mean 0 and variance 1."""
MEASURED_AT = (0.125, 0.375, 0.625, 0.875)
"""Steps at which the UNet is measured, as shares of T."""
HELD_OUT = 8
"""Scenes that both are measured on."""
SAMPLED = 20
"""Steps in which samples are made."""


@dataclass(frozen=True)
class Example:
    """picture: (3, H, W) uint8; prompts: captions that are true of it, the fullest first; sha256: of its file."""

    picture: Tensor
    prompts: tuple[str, ...]
    sha256: str

    @property
    def shape(self) -> torch.Size:
        return self.picture.shape


def examples(count: int, *, size: int = SIZE, held_out: bool = False, show: bool = False) -> list[Example]:
    """`count` scenes as photographs and as PAINTERS paint them, long side `size` px: three examples each, scene by scene.

    The pictures are made once, about .7 s a scene, and kept as `scenes.pairs` keeps them.
    """
    by_painter = [scenes.pairs(painter, count, size=size, held_out=held_out, show=show) for painter in PAINTERS]
    found = []
    for seed, pairs in enumerate(zip(*by_painter, strict=True), start=scenes.HELD_OUT if held_out else 0):
        genre = scenes.genre(seed)
        found.append(_example(pairs[0].scene, prompts(genre)))
        found += [_example(pair.painted, prompts(genre, painter)) for painter, pair in zip(PAINTERS, pairs, strict=True)]
    return found


def _example(work: Work, told: tuple[str, ...]) -> Example:
    return Example(data.to_bytes(work.load())[0], told, work.sha256)


def prompts(genre: str, painter: str = "") -> tuple[str, ...]:
    """Captions of a scene of `genre` as `painter` paints it, or as a photograph; those with commas are as DreamBooth's."""
    if not painter:
        return f"a photograph of a {genre}", f"photograph, {genre}", "photograph"
    whole = f"a {genre} painted by {painter}", f"{painter} painting, {genre}", f"{painter} painting"
    return *whole, f"painting, {genre}", "painting"


def untrained(
    folder: Path,
    *,
    widths: Sequence[int] = (48, 96),
    vae_widths: Sequence[int] = (16, 32, 48),
    text_width: int = 48,
    size: int = SIZE,
    seed: int = 0,
) -> Base:
    """The model before it has learnt: its shape is written to `folder`; it is in float32.

    Words are attended to at every level, so that a LoRA reaches strokes as well, but only at the last one pixels attend to one
    another. v is predicted, and at the last step nothing is left of the picture (Lin et al. 2024): else what is made from noise
    comes out grey.
    """
    shape = {
        "widths": widths,
        "attention": range(len(widths)),
        "vae_widths": vae_widths,
        "text_width": text_width,
        "text_layers": 1,
    }
    tiny.write(folder, **shape, words=WORDS, prediction="v_prediction", seed=seed)
    base = bases.load(folder, dtype=torch.float32)
    torch.manual_seed(seed)
    alone = [True] * (len(widths) - 1) + [False]
    area = size * size / scenes.ASPECT
    changed = {"only_cross_attention": alone, "attention_head_dim": 1, "sample_size": round(area**0.5 / base.factor)}
    unet = type(base.pipe.unet).from_config({**base.pipe.unet.config, **changed})
    schedule = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    scheduler = type(base.pipe.scheduler).from_config({**base.pipe.scheduler.config, **schedule})
    base.pipe.register_modules(unet=unet.eval(), scheduler=scheduler)
    base.pipe.vae.register_to_config(scaling_factor=1.0)
    return base


class Autoencoder(Family):
    """L = |x - d(z)| + w R(x, d(z)) + beta KL(q(z | x) || N(0, 1)) / (numbers in x),  z drawn from q(z | x).

    Kingma & Welling (2014); as in Rombach et al. (2022), but for their discriminator. R is the relative feature error of a
    frozen encoder. Half of the crops are tinted and darkened, so that colours of other painters are not strange.
    """

    name = "autoencoder"

    def __init__(self, base: Base, learnt: Sequence[Example], held_out: Sequence[Example], encoder: Encoder, *, batch: int = 8):
        self.learnt, self.encoder, self.batch = learnt, encoder, batch
        base.pipe.vae.requires_grad_(True)
        self.players = {"painter": base.pipe.vae}
        self.rates = {"painter": 1e-3}
        settings = [CROP, PERCEPTUAL, BETA, batch, _plain(base.pipe.vae.config)]
        self.identity = _hash(_pictures(learnt), _pictures(held_out), encoder.identity, settings)
        side = min(min(example.shape[-2:]) for example in held_out)
        self.measured_on = data.from_bytes(torch.stack([example.picture[:, :side, :side] for example in held_out]))

    def losses(self, draw: torch.Generator) -> Losses:
        x = torch.stack([self._crop(draw) for _ in range(self.batch)])
        yield "painter", self._parts(self.painter, x, draw)["objective"]

    def _crop(self, draw: torch.Generator) -> Tensor:
        picture = self.learnt[data.below(len(self.learnt), draw)].picture
        side = min(CROP, *picture.shape[-2:])
        top, left = (data.below(length - side + 1, draw) for length in picture.shape[-2:])
        crop = data.from_bytes(picture[:, top : top + side, left : left + side])
        return crop * (0.4 + 0.6 * torch.rand(3, 1, 1, generator=draw)) if data.uniform(draw) < 0.5 else crop

    def _parts(self, vae: nn.Module, x: Tensor, draw: torch.Generator | None = None) -> dict[str, Tensor]:
        """The objective and its parts for pictures `x` (n, 3, H, W) in [0, 1]; without `draw`, z is the mean of q(z | x)."""
        with precision(x.device):
            q = vae.encode(2 * x - 1).latent_dist
            mean, log_variance = q.mean.float(), q.logvar.float()
            noise = torch.zeros_like(mean) if draw is None else torch.randn(mean.shape, generator=draw)
            y = vae.decode(drawn(mean, log_variance, noise), return_dict=False)[0].float() / 2 + 0.5
        with torch.no_grad():
            wanted = self.encoder.features(x, PERCEIVED)
        found = self.encoder.features(y, PERCEIVED)
        errors = [(found[layer] - wanted[layer]).square().sum() / wanted[layer].square().sum() for layer in PERCEIVED]
        parts = {
            "l1": (x - y).abs().mean(),
            "features": torch.stack(errors).mean(),
            "kl": divergence(mean.flatten(1), log_variance.flatten(1)).mean() / x[0].numel(),
        }
        return {"objective": parts["l1"] + PERCEPTUAL * parts["features"] + BETA * parts["kl"]} | parts

    def measure(self, painter: nn.Module) -> dict[str, float]:
        return {name: float(value) for name, value in self._parts(painter, self.measured_on).items()}

    def samples(self, painter: nn.Module) -> Tensor:
        """Held-out scenes and their reconstructions: four to a row, photograph and paintings of a scene on end."""
        x = self.measured_on[:12]
        y = (painter.decode(painter.encode(2 * x - 1).latent_dist.mean, return_dict=False)[0] / 2 + 0.5).clamp(0, 1)
        rows = torch.stack([x, y], dim=1).flatten(0, 1)
        return rows[: len(rows) // 4 * 4].unflatten(0, (-1, 4))

    def header(self) -> dict[str, object]:
        return {"architecture": _plain(self.painter.config), "pictures": len(self.learnt)}


@torch.no_grad()
def standardise(base: Base, pictures: Sequence[Example]) -> None:
    """Give the latents of `pictures` mean 0 and variance 1 in every channel, by an affine map after the encoder and its inverse
    before the decoder, so that what is decoded stays the same."""
    vae = base.pipe.vae
    z = torch.cat([base.encode(data.from_bytes(example.picture[None]))[0].flatten(2)[0].T for example in pictures])
    mean, deviation = z.mean(dim=0), z.std(dim=0)
    after, before, channels = vae.quant_conv, vae.post_quant_conv, z.shape[1]
    after.weight[:channels] /= deviation[:, None, None, None]
    after.bias[:channels] = (after.bias[:channels] - mean) / deviation
    after.bias[channels:] -= 2 * deviation.log()  # log-variances
    before.bias += before.weight[..., 0, 0] @ mean
    before.weight *= deviation[:, None, None]


class Denoiser(Family):
    """L = E |f(z_t, t, c) - v|^2,  z_t = sqrt(a_t) z + sqrt(1 - a_t) e,  v = sqrt(a_t) e - sqrt(1 - a_t) z.

    Ho et al. (2020), with v of Salimans & Ho (2022): z is the latent of a picture, c a caption of it, t uniform, e normal.
    """

    name = "unet"
    betas = (0.9, 0.999)

    def __init__(
        self, base: Base, learnt: Sequence[Example], held_out: Sequence[Example], *, batch: int = 16, autoencoder: str = ""
    ):
        """`autoencoder`: what identifies that of `base`."""
        self.base, self.batch = base, batch
        every = sorted({prompt for example in (*learnt, *held_out) for prompt in example.prompts} | {""})
        self.words, self.place = base.words(every), {prompt: k for k, prompt in enumerate(every)}
        self.told = [example.prompts for example in learnt]
        self.latents = latents(base, learnt)
        self.alike: dict[torch.Size, list[int]] = {}
        for k, z in enumerate(self.latents):
            self.alike.setdefault(z.shape, []).append(k)
        self.measured_on = list(zip(latents(base, held_out), (example.prompts[0] for example in held_out), strict=True))
        base.pipe.unet.requires_grad_(True)
        self.players = {"painter": base.pipe.unet}
        self.rates = {"painter": 1e-3}
        settings = [DROPOUT, batch, _plain(base.pipe.unet.config), _plain(base.pipe.scheduler.config)]
        self.identity = _hash(_pictures(learnt), _pictures(held_out), every, autoencoder, settings)

    def losses(self, draw: torch.Generator) -> Losses:
        first = data.below(len(self.latents), draw)
        same = self.alike[self.latents[first].shape]
        chosen = [first, *(same[data.below(len(same), draw)] for _ in range(self.batch - 1))]
        z = torch.stack([self.latents[k] for k in chosen])
        e = torch.randn(z.shape, generator=draw)
        t = torch.randint(self.base.steps, (len(z),), generator=draw)
        c = [self._caption(self.told[k], draw) for k in chosen]
        yield "painter", self._loss(z, e, t, c)

    def _caption(self, told: Sequence[str], draw: torch.Generator) -> str:
        return "" if data.uniform(draw) < DROPOUT else told[data.below(len(told), draw)]

    def _loss(self, z: Tensor, e: Tensor, t: Tensor, c: Sequence[str]) -> Tensor:
        with precision(z.device):
            return denoising(self.base, z, e, t, self.words[[self.place[caption] for caption in c]]).mean()

    def measure(self, painter: nn.Module) -> dict[str, float]:
        """The loss on held-out scenes at fixed noise and steps, told what they are, and not told: the difference is what the
        words are worth."""
        t = torch.tensor([int(share * self.base.steps) for share in MEASURED_AT])
        found: dict[str, list[float]] = {"held-out": [], "without words": []}
        for k, (z, prompt) in enumerate(self.measured_on):
            e = torch.randn((len(t), *z.shape), generator=torch.Generator().manual_seed(k))
            for name, caption in (("held-out", prompt), ("without words", "")):
                found[name].append(float(self._loss(z.expand_as(e), e, t, [caption] * len(t))))
        return {name: sum(values) / len(values) for name, values in found.items()}

    def samples(self, painter: nn.Module) -> Tensor:
        """What is made of noise: a row of photographs and one of each painter, a column of each genre."""
        side = self.base.size // self.base.multiple * self.base.multiple
        told = [prompts(genre, painter)[0] for painter in ("", *PAINTERS) for genre in GENRES]
        with precision(self.base.device):
            made = stylise.made(
                self.base,
                self.base.words(told),
                size=(side, side),
                seeds=[k % 4 for k in range(len(told))],
                steps=SAMPLED,
                guidance=3.0,
            )
        return made.unflatten(0, (-1, len(GENRES)))

    def header(self) -> dict[str, object]:
        return {"architecture": _plain(self.painter.config), "pictures": len(self.told)}


@torch.no_grad()
def latents(base: Base, pictures: Sequence[Example]) -> list[Tensor]:
    """The mean latents (c, h, w) of `pictures`."""
    return [base.encode(data.from_bytes(example.picture[None]))[0][0] for example in pictures]


def train(family: Family, plan: Plan, out: Path, made: Mapping[str, object]) -> None:
    """Train `family` into `out`, or read what is there; a training that was stopped goes on. The network has the result."""
    if not out.is_file():
        training = Training(family, plan, show=True)
        resume = trained.checkpoint_path(out).exists() or trained.previous(trained.checkpoint_path(out)).exists()
        described = {"command": "small_base", **provenance.provenance(made, plan.seed, {"training": training.recipe}, {})}
        trained.train(training, out, resume=resume, made=described, report=_say)
    family.painter.load_state_dict({name: value.float() for name, value in load_file(out).items()})
    family.painter.requires_grad_(False)


def _say(record: Mapping[str, float]) -> None:
    print(*(f"{name} {value:.4g}" for name, value in record.items()), flush=True)


def write(base: Base, folder: Path) -> int:
    """Write `base` to `folder` in float16, in the layout of diffusers, whole or not at all. Returns the bytes of its files."""
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with quiet():
        base.pipe.to(torch.float16).save_pretrained(unfinished, safe_serialization=True)
    files = [file for file in unfinished.rglob("*") if file.is_file()]
    for file in files:
        file.chmod(0o644)  # diffusers lets nobody else read some
        if file.suffix == ".json":
            written = json.loads(file.read_text(encoding="utf-8"))
            said = {name: value for name, value in written.items() if name != "_name_or_path"}  # where it lay
            if "dtype" in said:  # transformers heeds it, diffusers does not, and a pipeline wants one for all
                said["dtype"] = "float32"
            if said != written:
                storage.write_text(file, json.dumps(said, indent=1) + "\n")
    size = sum(file.stat().st_size for file in files)
    unfinished.rename(folder)
    return size


def _pictures(pictures: Iterable[Example]) -> list[str]:
    return [example.sha256 for example in pictures]


def _hash(*decides: object) -> str:
    return hashlib.sha256(json.dumps(decides, default=str).encode()).hexdigest()


def _plain(config: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in config.items() if not name.startswith("_")}


def build(
    out: Path,
    autoencoder: Plan,
    unet: Plan,
    *,
    count: int = SCENES,
    size: int = SIZE,
    held_out: int = HELD_OUT,
    encoder: Encoder | None = None,
    **shape: Sequence[int],
) -> Path:
    """Train the model into `out`, from wherever an earlier call was stopped; returns the folder of the model."""
    folder = out / "model"
    require(not folder.exists(), f"{folder} is there already: choose another folder for -o, or delete it")
    out.mkdir(parents=True, exist_ok=True)
    learnt = examples(count, size=size, show=True)
    others = examples(held_out, size=size, held_out=True)
    with tempfile.TemporaryDirectory() as temporary:
        base = untrained(Path(temporary), size=size, seed=unet.seed, **shape)
    made = {"scenes": count, "size": size, **shape}
    file = out / "autoencoder.safetensors"
    train(Autoencoder(base, learnt, others, encoder or encoders.load("embedded")), autoencoder, file, made)
    standardise(base, learnt[:STANDARD])
    family = Denoiser(base, learnt, others, autoencoder=provenance.sha256(file))
    train(family, unet, out / "unet.safetensors", made)
    print(f"{folder}: {write(base, folder) / 1e6:.2f} MB")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/small-base"))
    parser.add_argument("--scenes", type=int, default=SCENES, help="procedural scenes to learn from")
    parser.add_argument("--autoencoder-minutes", type=float, default=30)
    parser.add_argument("--unet-minutes", type=float, default=90)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    plans = [
        Plan(minutes=minutes, seed=args.seed, report_every=500) for minutes in (args.autoencoder_minutes, args.unet_minutes)
    ]
    build(args.out, *plans, count=args.scenes)


if __name__ == "__main__":
    main()
