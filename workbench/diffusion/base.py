"""A base model: Stable Diffusion 1.x, 2.x or XL from a folder, a file or the hub, and what training and painting need of it.

In the words of the papers: x is a picture, z its latent, z_t = sqrt(a_t) z + sqrt(1 - a_t) e the latent with noise e of step t,
a_t the product of (1 - beta) up to t (Ho et al. 2020; Rombach et al. 2022).
"""

import contextlib
import hashlib
import importlib
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from workbench import encoders, provenance
from workbench.errors import WorkbenchError, require
from workbench.paths import is_dir, is_file

PARTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
"""Folders of a base model that decide what it paints."""
PIPELINES = {"StableDiffusionPipeline": "Stable Diffusion", "StableDiffusionXLPipeline": "Stable Diffusion XL"}
"""Kinds of base models, by the class in model_index.json."""
SMALL = "small"
"""Name of the model that comes with the package, for trying things out: see its card, small/README.md."""
GENERATIONS = {768: "1", 1024: "2"}
"""Generations of Stable Diffusion, by the width of what its text encoder gives."""


def library(name: str) -> Any:
    """The module `name` of the extra. WorkbenchError in one line where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise WorkbenchError(f"diffusion needs {name}: pip install 'artist-workbench[diffusion]'") from error


@dataclass(frozen=True)
class Words:
    """Prompts as a UNet is given them. states: (n, tokens, d); pooled: (n, p) for SDXL, else None."""

    states: Tensor
    pooled: Tensor | None = None

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, places: slice | Sequence[int]) -> "Words":
        pooled = None if self.pooled is None else self.pooled[places]
        return Words(self.states[places], pooled)

    def mixed(self, weights: Sequence[float]) -> "Words":
        """One prompt in place of all: the mean of their embeddings by `weights`, which need not sum to one."""
        shares = torch.tensor(weights, dtype=torch.float64)
        shares = shares / shares.sum()

        def mean(x: Tensor) -> Tensor:
            return torch.tensordot(shares.to(x.device), x.double(), 1).to(x.dtype)[None]

        return Words(mean(self.states), None if self.pooled is None else mean(self.pooled))

    @staticmethod
    def together(parts: Sequence["Words"]) -> "Words":
        """All prompts of `parts`, in their order."""
        pooled = None if parts[0].pooled is None else torch.cat([part.pooled for part in parts if part.pooled is not None])
        return Words(torch.cat([part.states for part in parts]), pooled)


@dataclass(frozen=True)
class Base:
    """A base model, frozen. name: as it was asked for; title: what it is; identity: SHA-256 of the files of its PARTS."""

    name: str
    title: str
    identity: str
    pipe: Any
    """The pipeline of diffusers that makes pictures from prompts; its parts are the model's."""

    @property
    def device(self) -> torch.device:
        return self.pipe.unet.device

    @property
    def dtype(self) -> torch.dtype:
        return self.pipe.unet.dtype

    @property
    def xl(self) -> bool:
        """Whether it is SDXL: two text encoders, and sizes as conditions."""
        return "text_encoder_2" in self.pipe.components

    @property
    def text_encoders(self) -> dict[str, Any]:
        """Name -> text encoder."""
        return {name: part for name, part in self.pipe.components.items() if name.startswith("text_encoder")}

    @property
    def factor(self) -> int:
        """How many times smaller a latent is than its picture, along each side."""
        return 2 ** (len(self.pipe.vae.config.block_out_channels) - 1)

    @property
    def multiple(self) -> int:
        """Sides of pictures that the UNet halves without a rest are multiples of this, px."""
        return self.factor * 2 ** (len(self.pipe.unet.config.block_out_channels) - 1)

    @property
    def size(self) -> int:
        """Side of the pictures that it was trained on, px."""
        return self.pipe.unet.config.sample_size * self.factor

    @property
    def steps(self) -> int:
        """T, the number of steps from a picture to noise."""
        return self.pipe.scheduler.config.num_train_timesteps

    @property
    def predicts_v(self) -> bool:
        """Whether it predicts v = sqrt(a_t) e - sqrt(1 - a_t) z (Salimans & Ho 2022), and not the noise e."""
        return self.pipe.scheduler.config.prediction_type == "v_prediction"

    def signal(self, t: Tensor) -> Tensor:
        """a_t for steps (n,): (n, 1, 1, 1) float32."""
        return self.pipe.scheduler.alphas_cumprod.to(t.device)[t].float().view(-1, 1, 1, 1)

    def noised(self, z: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """z_t of latents (n, c, h, w) at steps (n,)."""
        a = self.signal(t)
        return a.sqrt() * z + (1 - a).sqrt() * noise

    def target(self, z: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the UNet is to predict at z_t: the noise, or v."""
        a = self.signal(t)
        return a.sqrt() * noise - (1 - a).sqrt() * z if self.predicts_v else noise

    def predict(self, z_t: Tensor, t: Tensor, words: Words, sizes: Tensor | None = None) -> Tensor:
        """What the UNet predicts at `z_t` (n, c, h, w), steps `t` (n,), for `words` (n): (n, c, h, w) float32.

        sizes (n, 6): for SDXL: height and width of the original, top and left of the crop, height and width of the picture; by
        default whole pictures of the size of `z_t`.
        """
        more = None
        if words.pooled is not None:
            high, wide = (side * self.factor for side in z_t.shape[-2:])
            given = torch.tensor([[high, wide, 0, 0, high, wide]]).expand(len(z_t), -1) if sizes is None else sizes
            more = {"text_embeds": words.pooled, "time_ids": given.to(z_t.device, self.dtype)}
        made = self.pipe.unet(
            z_t.to(self.dtype), t, encoder_hidden_states=words.states, added_cond_kwargs=more, return_dict=False
        )
        return made[0].float()

    def words(self, prompts: Sequence[str]) -> Words:
        """`prompts` as the text encoders read them. What is beyond 77 tokens is not read."""
        with quiet():
            found = self.pipe.encode_prompt(
                list(prompts), device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=False
            )
        return Words(found[0], found[2] if self.xl else None)

    def too_long(self, prompts: Iterable[str]) -> list[str]:
        """Those of `prompts` whose end is not read, because they have more than 77 tokens."""
        with quiet():
            tokenizer = self.pipe.tokenizer
            return [prompt for prompt in prompts if len(tokenizer(prompt)["input_ids"]) > tokenizer.model_max_length]

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the latents of `pictures` (n, 3, H, W) in [0, 1], sides multiples of `factor`: (n, c, h, w)."""
        vae = self.pipe.vae
        found = vae.encode((2 * pictures - 1).to(self.device, vae.dtype)).latent_dist
        scale = vae.config.scaling_factor
        return found.mean.float() * scale, found.std.float() * scale

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Pictures (n, 3, H, W) float32 in [0, 1] of latents."""
        vae = self.pipe.vae
        z = z / vae.config.scaling_factor
        return (vae.decode(z.to(vae.dtype), return_dict=False)[0].float() / 2 + 0.5).clamp(0, 1)

    def pipeline(self, kind: str = "", controlnet: Any = None) -> Any:
        """A pipeline of diffusers over the same parts, with DDIM: "" from prompts, or "Img2Img"; perhaps with a ControlNet."""
        diffusers = library("diffusers")
        name = f"StableDiffusion{'XL' if self.xl else ''}{'ControlNet' if controlnet is not None else ''}{kind}Pipeline"
        parts = dict(self.pipe.components) | {"scheduler": self.scheduler()}
        if controlnet is not None:
            parts["controlnet"] = controlnet
        if not self.xl:
            parts["requires_safety_checker"] = False
        with quiet():
            made = getattr(diffusers, name)(**parts)
        made.set_progress_bar_config(disable=True)
        return made

    def scheduler(self) -> Any:
        """DDIM over the steps that the model was trained with (Song et al. 2021)."""
        return library("diffusers").DDIMScheduler.from_config(self.pipe.scheduler.config, clip_sample=False)


def padded(pictures: Tensor, multiple: int) -> Tensor:
    """`pictures` (n, c, H, W) with their last row and column repeated until the sides are multiples of `multiple`."""
    high, wide = pictures.shape[-2:]
    return functional.pad(pictures, (0, -wide % multiple, 0, -high % multiple), mode="replicate")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within the block diffusers, transformers and peft show no bars, and no warnings."""
    logs = [library(f"{name}.utils.logging") for name in ("diffusers", "transformers")]
    levels = [log.get_verbosity() for log in logs]
    bars = [log.is_progress_bar_enabled() for log in logs]
    try:
        for log in logs:
            log.set_verbosity(log.CRITICAL)
            log.disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level, bar in zip(logs, levels, bars, strict=True):
            log.set_verbosity(level)
            if bar:
                log.enable_progress_bar()


def load(
    name: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None, download: bool = False
) -> Base:
    """The base model called `name`: a folder in the layout of diffusers, a .safetensors file, a name on the hub, or SMALL.

    A file needs the configurations of its kind in a folder of the same name without the suffix. `dtype`: of the weights,
    by default bfloat16 where the device has it in hardware, else float32. `download`: whether what is missing may be fetched
    from the hub; without it the network is never touched. Raises WorkbenchError, in one line, for what cannot be had.
    """
    device = torch.device(device)
    dtype = dtype or (torch.bfloat16 if encoders.has_bfloat16(device) else torch.float32)
    diffusers = library("diffusers")
    for needed in ("transformers", "peft", "accelerate"):
        library(needed)
    single = Path(name) if Path(name).suffix == ".safetensors" else None
    folder = _folder_of_file(single) if single else _folder(str(name), download)
    kind = _kind(folder)
    options: dict[str, Any] = {"torch_dtype": dtype} if single else {"dtype": dtype, "use_safetensors": True}
    if kind == "StableDiffusionPipeline":
        options |= {"safety_checker": None, "requires_safety_checker": False, "feature_extractor": None, "image_encoder": None}
    try:
        with quiet():
            maker = getattr(diffusers, kind)
            if single:
                pipe = maker.from_single_file(str(single), config=str(folder), local_files_only=True, **options)
            else:
                pipe = maker.from_pretrained(str(folder), local_files_only=True, **options)
    except Exception as error:  # what diffusers, transformers, safetensors and torch raise for files has no common type
        raise WorkbenchError(f"base {name} cannot be read: {first_line(error)}; fetch it again") from error
    for part, network in pipe.components.items():
        if isinstance(network, torch.nn.Module):
            missing = _missing(network, None if single or not part.startswith("text_encoder") else folder / part)
            if missing:
                raise WorkbenchError(f"base {name} cannot be read: {part} has no {missing}; fetch it again")
            network.to(device).eval().requires_grad_(False)
    pipe.set_progress_bar_config(disable=True)
    plain = pipe.unet.config.in_channels == pipe.vae.config.latent_channels
    require(
        plain, f"base {name} is for inpainting, or takes other pictures besides: choose a model that paints from prompts alone"
    )
    title = " ".join(filter(None, [PIPELINES[kind], GENERATIONS.get(pipe.unet.config.cross_attention_dim, "")]))
    return Base(str(name), title, _identity(folder, single), pipe)


def _missing(network: torch.nn.Module, folder: Path | None) -> str:
    """A tensor of `network` that its file did not have, or "". diffusers leaves such ones without numbers.

    transformers makes numbers up: the names in the files of `folder`, if given, are looked through; they may have a prefix.
    """
    empty = [key for key, value in network.state_dict().items() if value.device.type == "meta"]
    if folder is not None:
        held = {name.removeprefix("text_model.") for file in folder.glob("*.safetensors") for name in shapes(file)}
        empty += [key for key, _ in network.named_parameters() if key.removeprefix("text_model.") not in held]
    return next(iter(empty), "")


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the tensors in a .safetensors file. Raises as safetensors does."""
    with library("safetensors").safe_open(str(path), framework="pt") as file:
        return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - it is no mapping


def _folder(name: str, download: bool) -> Path:
    """The folder of the model called `name`, on this machine."""
    path = Path(name)
    if is_dir(path):
        return path
    if name == SMALL:
        return Path(__file__).parent / SMALL
    hub_name = name.count("/") <= 1 and not name.startswith((".", "/", "~")) and "\\" not in name
    require(hub_name, f"base {name}: no such folder")
    errors = library("huggingface_hub.errors")
    try:
        with quiet():
            found = library("diffusers").DiffusionPipeline.download(
                name, local_files_only=not download, use_safetensors=True, safety_checker=None, feature_extractor=None
            )
        return Path(found)
    except errors.GatedRepoError as error:
        raise WorkbenchError(
            f"base {name}: its licence must be accepted first, on its page on the hub; then sign in with hf auth login"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise WorkbenchError(f"base {name}: neither a folder nor a model on the hub that you may read") from error
    except (OSError, ValueError, errors.HfHubHTTPError) as error:  # offline, not in the cache, or no name at all
        if download:
            raise WorkbenchError(f"base {name} could not be fetched: {first_line(error)}") from error
        raise WorkbenchError(
            f"base {name} is not on this machine: give a folder, or --download to fetch it from the hub (some GB)"
        ) from error


def _folder_of_file(path: Path) -> Path:
    require(is_file(path), f"base {path}: no such file")
    folder = path.with_suffix("")
    need = f"base {path} needs its configurations: put those of a diffusers folder of the same kind into {folder}"
    require((folder / "model_index.json").is_file(), need)
    return folder


def _kind(folder: Path) -> str:
    try:
        kind = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkbenchError(f"base {folder}: no model in the layout of diffusers, with a model_index.json") from error
    known = kind in PIPELINES
    require(known, f"base {folder} is a {kind}: choose Stable Diffusion 1.x, 2.x or XL ({', '.join(PIPELINES)})")
    return str(kind)


def _identity(folder: Path, single: Path | None) -> str:
    """SHA-256 of the files that were read: weights, or `single`, and configurations. Variants such as .fp16. are not read."""
    suffixes = {".json", ".txt"} if single else {".json", ".txt", ".safetensors"}
    files = [file for part in PARTS for file in sorted((folder / part).glob("*")) if file.suffix in suffixes]
    files = [file for file in files if file.suffix != ".safetensors" or len(file.suffixes) == 1]
    lines = [f"{file.relative_to(folder).as_posix()}\0{provenance.sha256(file)}" for file in files]
    lines += [provenance.sha256(single)] if single else []
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def first_line(error: BaseException) -> str:
    """The first line of what `error` says, or its type, without a full stop; at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = (lines[0] if lines else type(error).__name__).rstrip(".:")
    return text if len(text) <= 200 else text[:199] + "…"
