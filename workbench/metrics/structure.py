"""What a result keeps of its content's structure (self-similarity, CFSD, LPIPS), and how much detail it has of its own."""

import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench import images
from workbench.encoders import Encoder
from workbench.errors import WorkbenchError
from workbench.images import colour

CELLS = 32
"""Cells along the long side: positions that are compared with each other."""
CFSD_LAYER = "relu3_1"
"""Layer whose self-similarity CFSD compares (Chung et al. 2024)."""
ALEXNET = "alexnet-owt-7be5be79.pth"
"""File name of torchvision's AlexNet, which LPIPS needs."""


def _positions(picture: Tensor, like: tuple[int, int], encoder: Encoder, layer: str) -> Tensor:
    """Features of `picture`, scaled to `like`, averaged over a grid of cells: (P, C)."""
    with torch.no_grad():
        features = encoder.features(images.resize(picture, like).to(encoder.device), (layer,))[layer]
    height, width = images.fit(*features.shape[-2:], min(CELLS, max(features.shape[-2:])))
    return F.adaptive_avg_pool2d(features, (height, width))[0].flatten(1).T.cpu()


def detail(picture: Tensor) -> float:
    """Mean length of the gradient of lightness, in units of L* a pixel, of `picture` (1, 3, H, W) in [0, 1].

    What is oversmoothed has little. Compare pictures of one size alone.
    """
    light = colour.lab(picture.cpu())[:, :1]
    down, across = light[..., 1:, :-1] - light[..., :-1, :-1], light[..., :-1, 1:] - light[..., :-1, :-1]
    return float((down.square() + across.square()).sqrt().mean())


def self_similarity_distance(picture: Tensor, content: Tensor, encoder: Encoder) -> float:
    """How differently the parts of two pictures resemble each other, in [0, 1]; 0 is the same structure.

    1/2 the mean over pairs of positions of |D_x - D_c|, with D the cosine distances between positions of the content layer,
    each position's divided by their sum and times the number of positions (Kolkin et al. 2019, STROTSS, eq. (7)). Both
    (1, 3, H, W) in [0, 1]; `content` is scaled to `picture`.
    """
    like = tuple(picture.shape[-2:])
    both = []
    for image in (picture, content):
        f = F.normalize(_positions(image, like, encoder, encoder.content_layers[0]), dim=1)
        distance = (1 - f @ f.T).clamp_min(0).fill_diagonal_(0)
        both.append(distance / distance.sum(dim=0).clamp_min(1e-12))
    return float((both[0] - both[1]).abs().sum(dim=0).mean()) / 2


def cfsd(picture: Tensor, content: Tensor, encoder: Encoder) -> float:
    """Content feature structural distance (Chung et al. 2024, StyleID): self-similarity at relu3_1, compared row by row.

    S = F F^T with rows of F divided by the number of channels; the mean over positions of KL(softmax S_c || softmax S_x),
    in nats. Positions are averaged over at most 32 cells along the long side, where the authors take all of them and their
    sum: numbers are comparable among themselves, not with other papers. Both (1, 3, H, W) in [0, 1].
    """
    like = tuple(picture.shape[-2:])
    rows = []
    for image in (content, picture):
        f = _positions(image, like, encoder, CFSD_LAYER)
        f = f / f.shape[1]
        rows.append(F.log_softmax(f @ f.T, dim=1))
    return float(F.kl_div(rows[1], rows[0], log_target=True, reduction="sum")) / len(rows[0])


def lpips(picture: Tensor, content: Tensor) -> float:
    """LPIPS with AlexNet (Zhang et al. 2018), by torchmetrics; both (1, 3, H, W) in [0, 1], `content` scaled to `picture`.

    Raises WorkbenchError as `check_lpips` does.
    """
    check_lpips()
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity

    content = images.resize(content, tuple(picture.shape[-2:]))
    with torch.no_grad():
        return float(learned_perceptual_image_patch_similarity(picture, content, net_type="alex", normalize=True))


def check_lpips() -> None:
    """Raise WorkbenchError where torchmetrics is not installed, or torchvision's AlexNet was not fetched: LPIPS needs both.

    Nothing is downloaded unasked.
    """
    if importlib.util.find_spec("torchmetrics") is None:
        raise WorkbenchError("LPIPS needs torchmetrics: pip install 'artist-workbench[lpips]'")
    if not (Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET).is_file():
        raise WorkbenchError(
            f"LPIPS needs torchvision's AlexNet ({ALEXNET}): fetch it once with "
            "python -c 'import torchvision; torchvision.models.alexnet(weights=\"DEFAULT\")'"
        )
