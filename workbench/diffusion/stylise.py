"""A photograph as an artist would have painted it, by a base model with the LoRA of his works, the structure being kept.

"img2img": noise is added to the photograph and taken away again (SDEdit, Meng et al. 2022), perhaps under a ControlNet that is
shown the photograph's edges, or a picture of its depths (Zhang et al. 2023). "inversion": the noise that leads back to the
photograph is found, and led back under the artist's word (edit-friendly inversion, Huberman-Spiegelglas et al. 2024).
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from workbench import images, progress, storage
from workbench.diffusion import base as bases
from workbench.diffusion import captions, lora
from workbench.diffusion.base import Base, Words, first_line, library, padded, quiet
from workbench.diffusion.lora import build as build
from workbench.errors import WorkbenchError, require
from workbench.generative.families import assigned
from workbench.generative.trained import Trained
from workbench.images import colour
from workbench.paths import is_file
from workbench.targets import StyleTarget
from workbench.transfer import Settings

How = Literal["img2img", "inversion"]
EDGES = (0.1, 0.2)
"""Steps of the luma above which an edge goes on, and above which it begins, for pictures in [0, 1]."""
_ONE_AT_A_TIME = threading.Lock()
"""A LoRA is attached to the base for the time of a picture, and the lab paints in several threads."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a LoRA restyles, besides `Settings`: fields that `Settings.options` gives as texts NAME=VALUE."""

    base: str = ""
    """The base model, where it does not lie where it lay when the LoRA was trained."""
    how: How = "img2img"
    noise: float = 0.5
    """How much of the way to noise is gone when `Settings.strength` is 1; below that so much less."""
    steps: int = 30
    """Of the whole way; `noise` of them are made."""
    guidance: float = 5.0
    """w in f("") + w (f(words) - f("")), classifier-free guidance (Ho & Salimans 2022)."""
    weight: float = 1.0
    """Factor of the LoRA."""
    token: str = ""
    """The artist's word, where not the target's works are to choose it."""
    words: str = ""
    """What the photograph shows, for the prompt."""
    control: str = ""
    """Folder of a ControlNet."""
    picture: str = ""
    """What the ControlNet is shown, such as depths or a drawing, a file; by default the edges of the photograph."""
    hold: float = 1.0
    """Weight of the ControlNet."""

    def __post_init__(self) -> None:
        require(0 <= self.noise <= 1, f"noise = {self.noise}: choose between 0 (the photograph itself) and 1")
        require(1 <= self.steps <= 1000, f"steps = {self.steps}: choose between 1 and 1000")
        require(0 <= self.guidance <= 100, f"guidance = {self.guidance}: choose between 0 and 100")
        require(bool(self.control) or not self.picture, "picture goes with control, the folder of a ControlNet")
        goes = self.how == "img2img" or not self.control
        require(goes, "control goes with how=img2img: inversion keeps the structure without it")


def made(
    base: Base, words: Words, *, size: tuple[int, int], seeds: Sequence[int], steps: int = 30, guidance: float = 5.0
) -> Tensor:
    """Pictures from one prompt, or as many as seeds: (n, 3, *size) float32 in [0, 1] on the CPU, each from its seed alone."""
    pictures = []
    for k, seed in enumerate(seeds):
        own = words if len(words) == 1 else words[k : k + 1]
        pictures.append(base.decode(sampled(base, own, size, seed, steps, guidance)).cpu())
    return torch.cat(pictures)


def sampled(base: Base, words: Words, size: tuple[int, int], seed: int, steps: int, guidance: float) -> Tensor:
    """The latent (1, c, h, w) float32 that DDIM comes to from the noise of `seed`."""
    pipe = base.pipeline()
    shape = {"height": size[0], "width": size[1]}
    return _run(pipe, base, words, steps, guidance, seed, output_type="latent", **shape).float()


def restyled(
    base: Base,
    content: Tensor,
    words: Words,
    *,
    strength: float,
    how: How = "img2img",
    steps: int = 30,
    guidance: float = 5.0,
    seed: int = 0,
    controlnet: Any = None,
    control: Tensor | None = None,
    hold: float = 1.0,
) -> Tensor:
    """`content` (1, 3, H, W) in [0, 1] after the prompt `words`: the same shape, in [0, 1].

    strength: how much of the way to noise is gone, so that int(steps * strength) steps are made; for fewer than one the result
    is the content. controlnet: one of diffusers, with its picture `control` (1, 3, H, W) in [0, 1] and its weight `hold`. Sides
    are padded to what the model takes, and cut back. `progress.check` is called between steps.
    """
    if int(steps * strength) < 1:
        return content
    high, wide = content.shape[-2:]
    surrounded = padded(content, base.factor)
    if how == "inversion":
        mean, _ = base.encode(surrounded)
        latent = inverted(base, mean, words, strength=strength, steps=steps, guidance=guidance, seed=seed)
        painted = base.decode(latent)
    else:
        pipe = base.pipeline("Img2Img", controlnet)
        more = {"image": surrounded, "strength": strength, "output_type": "pt"}
        if controlnet is not None:
            shown = edges(content) if control is None else control
            more |= {"control_image": padded(shown, base.factor), "controlnet_conditioning_scale": float(hold)}
        painted = _run(pipe, base, words, steps, guidance, seed, **more)
    return painted[..., :high, :wide].to(content).clamp(0, 1)


def _run(pipe: Any, base: Base, words: Words, steps: int, guidance: float, seed: int, **more: Any) -> Tensor:
    """What `pipe` makes for one prompt; what is drawn comes from a generator on the CPU, the same on every device."""
    nothing = base.words([""])
    prompts: dict[str, Tensor | None] = {"prompt_embeds": words.states, "negative_prompt_embeds": nothing.states}
    if base.xl:
        prompts |= {"pooled_prompt_embeds": words.pooled, "negative_pooled_prompt_embeds": nothing.pooled}

    def stop(pipe: Any, step: int, t: Any, tensors: dict) -> dict:
        progress.check()
        return tensors

    with quiet(), torch.no_grad():
        return pipe(
            **prompts,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=torch.Generator().manual_seed(seed),
            callback_on_step_end=stop,
            **more,
        ).images


@torch.no_grad()
def inverted(
    base: Base, z: Tensor, words: Words, *, strength: float, steps: int, guidance: float, seed: int, plain: Words | None = None
) -> Tensor:
    """Edit-friendly inversion of a latent `z` (1, c, h, w), and the way back after `words`: (1, c, h, w) float32.

    x_t = sqrt(a_t) z + sqrt(1 - a_t) e_t, with a noise e_t of its own for every t. The model without LoRA, given the prompt
    `plain` (by default ""), steps from x_t to mu(x_t), so that n_t = x_{t-1} - mu(x_t) is the noise that was added. It is added
    on the way of the result as well: y_{t-1} = mu'(y_t) + n_t, mu' being by the LoRA and `words`. Where mu' is mu, y_0 is z.
    Source: Huberman-Spiegelglas et al. (2024), An Edit Friendly DDPM Noise Space, algorithm 1.
    """
    scheduler = base.scheduler()
    scheduler.set_timesteps(steps)
    ways = scheduler.timesteps[steps - int(steps * strength) :].tolist()
    draw = torch.Generator().manual_seed(seed)
    nothing = base.words([""])
    source = plain or nothing

    def on_the_way(t: int) -> Tensor:
        return base.noised(z, torch.randn(z.shape, generator=draw).to(z), torch.tensor([t], device=z.device))

    def mu(x: Tensor, t: int, predicted: Tensor) -> Tensor:
        return scheduler.step(predicted, t, x, eta=1.0, variance_noise=torch.zeros_like(x)).prev_sample

    x = on_the_way(ways[0])
    y = x
    for k, t in enumerate(ways):
        progress.check()
        step = torch.tensor([t], device=z.device)
        before = z if k + 1 == len(ways) else on_the_way(ways[k + 1])
        with _without_lora(base):
            noise = before - mu(x, t, base.predict(x, step, source))
        predicted = base.predict(y, step, words)
        if guidance != 1:
            free = base.predict(y, step, nothing)
            predicted = free + guidance * (predicted - free)
        x, y = before, mu(y, t, predicted) + noise
    return y


@contextlib.contextmanager
def _without_lora(base: Base) -> Iterator[None]:
    """Within the block the UNet is as it was before a LoRA was attached."""
    kind = library("peft.tuners.tuners_utils").BaseTunerLayer
    layers = [layer for layer in base.pipe.unet.modules() if isinstance(layer, kind)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def edges(picture: Tensor, sigma: float = 1.4) -> Tensor:
    """Edges of `picture` (1, 3, H, W) in [0, 1], white on black in three channels, as a ControlNet for them wants (Canny 1986).

    The slope of the blurred luma; of it the crests across its direction; of these all above the upper of `EDGES`, and what is
    joined to them above the lower.
    """
    light = ndimage.gaussian_filter(colour.luminance(picture)[0, 0].cpu().double().numpy(), sigma)
    unit = sigma * (2 * np.pi) ** 0.5 / 8  # so that the slope at a sharp step is its height
    down, across = ndimage.sobel(light, 0) * unit, ndimage.sobel(light, 1) * unit
    slope = np.hypot(down, across)
    row, column = np.indices(slope.shape)
    along = np.maximum(slope, 1e-12)
    sides = [
        ndimage.map_coordinates(slope, [row + sign * down / along, column + sign * across / along], order=1, mode="nearest")
        for sign in (1, -1)
    ]
    crest = (slope >= sides[0]) & (slope > sides[1])
    low, high = (crest & (slope > limit) for limit in EDGES)
    labels, _ = ndimage.label(low, np.ones((3, 3)))
    kept = np.isin(labels, np.unique(labels[high])) & low
    return torch.from_numpy(kept.astype(np.float32))[None, None].expand(1, 3, -1, -1).to(picture.device)


@lru_cache(maxsize=1)
def opened(name: str, identity: str, device: str) -> Base:
    """The base model that a LoRA was trained on, kept until another is wanted. UsageError where it is another one."""
    try:
        found = bases.load(name, device=device)
    except WorkbenchError as error:
        raise type(error)(f"{error}; or name the folder where it lies: base=FOLDER") from error
    require(found.identity == identity, f"base {name} is not the one that the LoRA was trained on: name that one, base=FOLDER")
    return found


@lru_cache(maxsize=1)
def control_net(folder: str, device: str, dtype: torch.dtype) -> Any:
    """The ControlNet in `folder`, in the layout of diffusers."""
    require(is_file(Path(folder, "config.json")), f"control {folder}: no folder of a ControlNet, with a config.json")
    for file in Path(folder).glob("*.safetensors"):
        storage.opened(file)
    try:
        with quiet():
            found = library("diffusers").ControlNetModel.from_pretrained(
                folder, dtype=dtype, local_files_only=True, use_safetensors=True
            )
    except Exception as error:  # as in `base.load`
        raise WorkbenchError(f"control {folder} cannot be read as a ControlNet: {first_line(error)}; fetch it again") from error
    return found.to(device).eval().requires_grad_(False)


def paint(network: Trained, content: Tensor, target: StyleTarget, settings: Settings) -> Tensor:
    """`content` (1, 3, H, W) in [0, 1] by the LoRA `network`: the same shape. The works of `target` choose the tokens."""
    options = options_of(settings)
    said = network.header
    base = opened(options.base or said["base"], said["base_identity"], str(content.device))
    tokens_of = {sha256: token for token, works in said["tokens"].items() for sha256 in works}
    chosen = {options.token: 1.0} if options.token else captions.weights(tokens_of, target.works, target.weights)
    prompts = [", ".join(filter(None, [f"{token} {said['noun']}", options.words])) for token in chosen]
    net = control_net(options.control, str(content.device), base.dtype) if options.control else None
    shown = images.resize(images.load(options.picture), tuple(content.shape[-2:])).to(content) if options.picture else None
    with _ONE_AT_A_TIME, lora.attached(base, [(network.path, options.weight)]), torch.no_grad():
        return restyled(
            base,
            content,
            base.words(prompts).mixed(list(chosen.values())),
            strength=options.noise * settings.strength,
            how=options.how,
            steps=options.steps,
            guidance=options.guidance,
            seed=settings.seed,
            controlnet=net,
            control=shown,
            hold=options.hold,
        )


def files(settings: Settings) -> list[Path]:
    """Files and folders that decide the result, named by options of `settings`. The base is none: the LoRA has its hash."""
    options = options_of(settings)
    return [Path(name) for name in (options.control, options.picture) if name]


def options_of(settings: Settings) -> Options:
    """The options that `settings` carries as texts. UsageError for bad ones."""
    return Options(**assigned(Options, "restyling with a LoRA", settings.options))
