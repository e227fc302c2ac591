"""Style by neighbours: every place of the content takes over the most similar place of an artist's works.

Kolkin et al. (2022, "Neural Neighbor Style Transfer") match the hypercolumns of one painting. Here they come from any
StyleTarget: places are drawn from its works in shares by their weights, and regions restrict them (see `sources`). What is
compared is one place of CELL px, blurred; what is taken over are the features of every layer at their own resolution there, so
that the texture of paint comes along. See `matching` for how matches are found.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.encoders import Encoder
from workbench.images.colour import Recolouring
from workbench.people import Face
from workbench.statistics import resample_masks
from workbench.targets import StyleTarget
from workbench.transfer.hypercolumns import grid_of, layers_of, on_grid, stride
from workbench.transfer.losses import NeighbourLoss
from workbench.transfer.matching import Matcher
from workbench.transfer.sources import Sources, continued_features, draw_windows

STROKE_SCALE = 1.25
"""Long side of the paintings over that of the picture, times the brush: larger paintings give broader strokes."""
FACE_SHARE = 0.4
"""Share of the content's own features that is kept in a face FACE_WIDTH places wide: viewers notice every change of a face."""
FACE_WIDTH = 30
"""Places. In a face n times as wide the share is 1 / sqrt(n) times as large: it has places enough for its eyes."""
LARGEST_FACE_SHARE = 0.8
"""Share that is kept in the smallest faces."""
FACE_INSIDE, FACE_OUTSIDE = 0.8, 1.2
"""Half sides of a face's box: within the first the whole share is kept, beyond the second nothing."""
BORDERS = {2: 4, 4: 2, 8: 3}
"""Stride of a layer -> positions along the border that are not compared, because padding has a part in them."""


def loss(
    content: Tensor,
    target: StyleTarget,
    encoder: Encoder,
    *,
    size: int,
    looseness: float,
    strength: float,
    seed: int,
    faces: Sequence[Face] = (),
    recolour: Recolouring | None = None,
    show: bool = False,
) -> NeighbourLoss:
    """The distance to the features that the places of `content` are matched with among the works of `target`.

    Args:
        content: (1, 3, H, W) in [0, 1].
        size: long side of the paintings beside the picture, px, before STROKE_SCALE.
        looseness: standard deviation, px, of the blur through which content and paintings are compared. Without it a smooth
            place would be matched with a smooth one, and the paint would be lost.
        strength: how far to go from the content's own features (0) to those matched (1).
        seed: of what is drawn.
        faces: those of the content, in which a share of its own features is kept.
    """
    generator = torch.Generator().manual_seed(seed)
    layers = layers_of(encoder)
    with torch.no_grad():
        features = continued_features(encoder, content, layers)
        grid = grid_of(features)
        borders = {layer: _border(layer, f) for layer, f in features.items()}
        if strength == 0:
            return NeighbourLoss({layer: f.float() for layer, f in features.items()}, borders)

        def columns_of(picture: Tensor) -> dict[str, Tensor]:
            return on_grid(continued_features(encoder, blurred(picture, looseness), layers))

        size = round(STROKE_SCALE * size)
        windows = draw_windows(target, encoder, layers, size, math.prod(grid), generator, recolour, show=show)
        sources = Sources(windows, columns_of, generator)
        query = F.normalize(sources.space.of_picture(columns_of(content)), dim=1)
        region = _regions(target, grid).to(query.device)
        matcher = Matcher(query, grid, region, sources.columns, sources.lattice, sources.region)
        match = matcher.coherent(matcher.independent(generator), generator)
        kept = 1 - strength * (1 - _kept_in_faces(faces, grid, query.device))
        found = {}
        for layer, f in features.items():
            matched = sources.features(match, grid, layer, (f.shape[2], f.shape[3]))
            found[layer] = matched + resample_masks(kept, *f.shape[-2:]) * (f.float() - matched)
    return NeighbourLoss(found, borders)


def blurred(picture: Tensor, deviation: float) -> Tensor:
    """`picture` (1, 3, H, W) under a Gaussian of this standard deviation, px."""
    if deviation == 0:
        return picture
    from torchvision.transforms.functional import gaussian_blur  # with torch's compiler, which takes seconds

    reach = min(math.ceil(3 * deviation), min(picture.shape[-2:]) - 1)  # reflection reaches no further
    return gaussian_blur(picture, 2 * reach + 1, deviation)


def _border(layer: str, features: Tensor) -> int:
    """Positions along the border that are not compared: fewer in small pictures, where four at least are left."""
    return max(0, min(BORDERS.get(stride(layer), 0), (min(features.shape[-2:]) - 4) // 2))


def _kept_in_faces(faces: Sequence[Face], grid: tuple[int, int], device: torch.device) -> Tensor:
    """(1, 1, rows, columns): the share of the content's features that is kept, by the width of a face in its middle (see
    FACE_SHARE), falling to 0 at the edge of its box."""
    kept = torch.zeros(1, 1, *grid)
    down, across = (((torch.arange(n) + 0.5) / n) for n in grid)
    for face in faces:
        left, top, right, bottom = face.box
        y, x = (2 * (down - top) / (bottom - top) - 1), (2 * (across - left) / (right - left) - 1)
        distance = (y.square()[:, None] + x.square()[None]).sqrt()
        most = min(LARGEST_FACE_SHARE, FACE_SHARE * math.sqrt(FACE_WIDTH / ((right - left) * grid[1])))
        inside = ((FACE_OUTSIDE - distance) / (FACE_OUTSIDE - FACE_INSIDE)).clamp(0, 1)
        kept = torch.maximum(kept, most * inside[None, None].float())
    return kept.to(device)


def _regions(target: StyleTarget, grid: tuple[int, int]) -> Tensor:
    """(P,): the number of the guide that each place of the content belongs to; 0 without guides."""
    if not target.guides:
        return torch.zeros(math.prod(grid), dtype=torch.long)
    return torch.cat([resample_masks(guide.mask, *grid) for guide in target.guides], dim=1)[0].argmax(dim=0).flatten()
