"""CLIP image embeddings through open_clip (Radford et al. 2021): what a picture shows, for retrieval."""

import hashlib
import os
from pathlib import Path
from pickle import UnpicklingError  # raised by torch.load for files it refuses to unpickle
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.encoders.base import Encoder, frozen
from workbench.errors import UsageError, WorkbenchError
from workbench.paths import is_file
from workbench.storage import check_weights


class ClipEncoder(Encoder):
    """The image tower of an open_clip model. It has an embedding but no style layers."""

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, model: Any, weights_sha256: str):
        super().__init__()
        self.name = name
        self.weights_sha256 = weights_sha256
        self.channels = {}
        self.model = model
        self.size = model.visual.image_size if isinstance(model.visual.image_size, tuple) else (model.visual.image_size,) * 2
        for part in ("mean", "std"):
            value = torch.tensor(getattr(model.visual, f"image_{part}")).view(1, 3, 1, 1)
            self.register_buffer(part, value, persistent=False)

    def embed(self, image: Tensor) -> Tensor:
        """The projected image embedding (N, D). The whole picture is squeezed to the model's square: nothing is cropped."""
        x = F.interpolate(image, self.size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        return self.model.encode_image((x - self.mean) / self.std).float()


def load_clip(name: str, *, device: torch.device) -> ClipEncoder:
    """ "clip:MODEL/PRETRAINED", where PRETRAINED is a tag of open_clip or the path of a local checkpoint."""
    import open_clip

    architecture, _, pretrained = name.removeprefix("clip:").partition("/")
    if not architecture or not pretrained:
        raise UsageError(f"encoder {name}: write clip:MODEL/PRETRAINED, for example clip:ViT-B-32/laion2b_s34b_b79k")
    if open_clip.get_model_config(architecture) is None:
        raise UsageError(f"encoder {name}: open_clip knows no model {architecture}; open_clip.list_models() lists them")
    path = find_checkpoint(architecture, pretrained)
    # A tag stands for more than its file: open_clip forgets the rest when it is given the file alone.
    tag = {} if is_file(pretrained) else open_clip.get_pretrained_cfg(architecture, pretrained)
    preprocessing = {part: tag[part] for part in ("mean", "std") if tag.get(part) is not None}
    try:
        model = open_clip.create_model(
            architecture,
            pretrained=str(path),
            weights_only=True,
            force_quick_gelu=bool(tag.get("quick_gelu")),
            force_preprocess_cfg=preprocessing or None,
        )
    except (RuntimeError, OSError, ValueError, KeyError, UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WorkbenchError(f"encoder {name}: {path} does not load as {architecture}: {reason}") from error
    check_weights(path, {key: value for key, value in model.state_dict().items() if value.is_floating_point()})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return frozen(ClipEncoder(name, model, digest)).to(device)


def find_checkpoint(architecture: str, pretrained: str) -> Path:
    """The local file behind PRETRAINED: a path as it stands, a tag from the cache, or downloaded if that was allowed."""
    import open_clip
    from huggingface_hub import try_to_load_from_cache
    from open_clip.pretrained import download_pretrained

    if is_file(pretrained):
        return Path(pretrained)
    config = open_clip.get_pretrained_cfg(architecture, pretrained)
    if not config:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none"
        raise WorkbenchError(f"CLIP weights {pretrained}: no such file, and no tag of {architecture} (it has {tags})")
    repository = config.get("hf_hub", "").strip("/")
    for file in ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"):
        cached = try_to_load_from_cache(repository, file) if repository else None
        if isinstance(cached, str):
            return Path(cached)
    if os.environ.get("WORKBENCH_DOWNLOAD") == "1":
        try:
            return Path(download_pretrained(config))
        except Exception as error:  # the hub client raises from several libraries, all of them meaning "not to be had"
            raise WorkbenchError(f"CLIP weights {architecture}/{pretrained} could not be downloaded: {error}") from error
    raise WorkbenchError(
        f"encoder clip:{architecture}/{pretrained} has no weights here: set WORKBENCH_DOWNLOAD=1 to let open_clip download "
        f"them once, or put them into its cache, or name a local checkpoint as clip:{architecture}/PATH"
    )
