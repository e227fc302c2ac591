"""Losses, one idea each, all dimensionless: no weight depends on the encoder or the resolution.

A loss names the `layers` that it reads and maps (image, features) to a scalar.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.statistics import (
    Moments,
    Places,
    gaussian_w2,
    gram,
    moments,
    patches,
    places,
    region_moments,
    resample_masks,
    style_vector,
)

SMALLEST_VARIANCE = 0.01
"""Least variance that a squared distance is divided by, as a share of the mean square: for paintings of one colour."""
PATCH_FACTOR = 0.25
"""Factor of CentredPatchLoss: with it the default alpha keeps about as much of the content as with Gram matrices."""


Gram = Callable[[Tensor], Tensor]
"""features (N, C, H, W) -> Gram matrices (N, C, C)"""


class Loss(Protocol):
    """A term of the objective.

    A loss whose computation makes a GPU wait for the host, as eigenvalues do, sets `waits_for_host = True`: a CUDA graph cannot
    record it.
    """

    layers: tuple[str, ...]

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """A scalar for image (1, 3, H, W) and its features, layer -> (1, C, h, w) in any precision; computed in float32."""


def relative_square(x: Tensor, target: Tensor) -> Tensor:
    """||x - target||^2 / ||target||^2, a scalar."""
    return RelativeSquare(target)(x)


def relative_squares(x: Tensor, target: Tensor) -> Tensor:
    """||x_n - t_n||^2 / ||t_n||^2 of every picture n: (N,); x, target (N, ...). A mean square below 1e-6 counts as 1e-6."""
    return (x - target).flatten(1).square().mean(dim=1) / target.flatten(1).square().mean(dim=1).clamp_min(1e-6)


class RelativeSquare:
    """x -> ||x - target||^2 / ||target||^2, a scalar, for one target of any shape; x may be in half precision."""

    def __init__(self, target: Tensor, unit: Tensor | None = None):
        """`unit`: what the squared distance is divided by, a scalar, instead of ||target||^2."""
        self.target = target.detach()
        unit = self.target.square().sum() if unit is None else unit
        self.share = 1 / unit.clamp_min(torch.finfo(target.dtype).tiny)

    def __call__(self, x: Tensor) -> Tensor:
        return (x.to(self.target.dtype) - self.target).square().sum() * self.share


class ContentLoss:
    """Mean over layers of ||F(x) - F(c)||^2 / ||F(c)||^2: Gatys et al. (2016), eq. 1, made dimensionless."""

    def __init__(self, target: Mapping[str, Tensor]):
        """`target`: layer -> features of the content image (1, C, h, w)."""
        self.layers = tuple(target)
        self.distances = {layer: RelativeSquare(f) for layer, f in target.items()}

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([distance(features[layer]) for layer, distance in self.distances.items()]).mean()


class GramLoss:
    """Mean over layers of ||G(x) - G*||_F^2 / ||G*||_F^2: Gatys et al. (2016), eqs. 4 and 5, made dimensionless."""

    def __init__(self, target: Mapping[str, Moments], gram: Gram = gram):
        """`gram`: computes Gram matrices; an engine may have a faster way than `statistics.gram`."""
        self.layers = tuple(target)
        self.gram = gram
        self.distances = {layer: RelativeSquare(m.second[None]) for layer, m in target.items()}

    def by_layer(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The loss of every layer: layer -> scalar."""
        return {layer: distance(self.gram(features[layer])) for layer, distance in self.distances.items()}

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        return torch.stack(list(self.by_layer(features).values())).mean()


class SoftMinGramLoss:
    """Distance to the nearest of many paintings: -T log sum_k w_k exp(-L_k / T), L_k being the Gram loss to painting k alone.

    T -> 0 gives the minimum of the L_k, whatever their weights; T -> infinity gives their weighted mean. No matrices are
    averaged.
    """

    def __init__(self, paintings: Sequence[tuple[float, Mapping[str, Moments]]], *, temperature: float, gram: Gram = gram):
        """`paintings`: (weight > 0, layer -> Moments), weights summing to one; `temperature`: T >= 0, a Gram loss; `gram` as
        in `GramLoss`."""
        self.gram = gram
        self.layers = tuple(paintings[0][1])
        self.temperature = temperature
        self.grams = {layer: torch.stack([m[layer].second.detach().flatten() for _, m in paintings]) for layer in self.layers}
        self.squares = {layer: grams.square().sum(dim=1) for layer, grams in self.grams.items()}
        some = self.grams[self.layers[0]]
        wide = torch.float32 if some.device.type == "mps" else torch.float64
        weights = torch.tensor([weight for weight, _ in paintings], dtype=wide, device=some.device)
        self.weights = weights / weights.sum()

    def distances(self, features: Mapping[str, Tensor]) -> Tensor:
        """L_k of every painting, (K,): the mean over layers of ||G - G_k||^2 / ||G_k||^2."""
        parts = []
        for layer in self.layers:
            g = self.gram(features[layer])[0].flatten()
            # Expanded, so that no copy of all paintings' matrices is made at every evaluation.
            square = g.square().sum() - 2 * (self.grams[layer] @ g) + self.squares[layer]
            parts.append(square.clamp_min(0) / self.squares[layer].clamp_min(torch.finfo(g.dtype).tiny))
        return torch.stack(parts).mean(dim=0)

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        distances = self.distances(features)
        if self.temperature == 0:
            return distances.min()
        # About the least of them, and in expm1 and log1p, which keep what is left of the exponentials at either end.
        beyond = (distances - distances.min().detach()).to(self.weights.dtype) / self.temperature
        soft = -self.temperature * torch.log1p((self.weights * torch.expm1(-beyond)).sum())
        return soft.to(distances.dtype) + distances.min().detach()


class GuidedGramLoss:
    """Gram loss region by region (Gatys et al. 2017, section 4): sum over regions of the region's share of the picture, times

        mean over layers of ||G_r(x) - G_r*||_F^2 / ||G_r*||_F^2,

    G_r being the Gram matrix over the region. One region that is the whole picture gives `GramLoss`.
    """

    def __init__(self, masks: Tensor, targets: Sequence[Mapping[str, Moments]]):
        """`masks`: (n, 1, h, w) of n regions on any grid, summing to 1 everywhere; `targets`: layer -> Moments for each."""
        self.layers = tuple(targets[0])
        self.masks = masks
        self.shares = masks.mean(dim=(1, 2, 3))
        self.distances = [{layer: RelativeSquare(m.second) for layer, m in target.items()} for target in targets]
        self._regions: dict[tuple[int, int, torch.dtype], list[Places]] = {}

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        parts = []
        for layer in self.layers:
            for share, region, distance in zip(self.shares, self.regions(features[layer]), self.distances, strict=True):
                parts.append(share * distance[layer](region_moments(features[layer], region).second))
        return torch.stack(parts).sum() / len(self.layers)

    def regions(self, features: Tensor) -> list[Places]:
        """The regions as they lie over `features` (1, C, h, w); found once for every size."""
        dtype = torch.promote_types(features.dtype, torch.float32)
        key = (*features.shape[-2:], dtype)
        if key not in self._regions:
            self._regions[key] = [places(mask[None], dtype) for mask in resample_masks(self.masks, *features.shape[-2:])]
        return self._regions[key]


class W2Loss:
    """Mean over layers of the Gaussian W2 distance (see statistics.gaussian_w2) over the target's tr(G*)."""

    waits_for_host = True

    def __init__(self, target: Mapping[str, Moments]):
        self.layers = tuple(target)
        self.target = dict(target)

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        parts = []
        for layer in self.layers:
            m, target = moments(features[layer]), self.target[layer]
            parts.append(gaussian_w2(m.mean, m.covariance, target) / target.second.trace())
        return torch.stack(parts).mean()


class PatchLoss:
    """Nearest-patch loss: mean over positions of 1 - max over the bag of cos(F(x), F(bag)).

    The nearest-neighbour style loss of Kolkin et al. (2022) on 3x3 patches in the manner of Li & Wand (2016): each
    position seeks the most similar patch of any retrieved painting, cosine after removing the bag's mean. `block`
    positions are compared at a time; it bounds memory and does not change the result.
    """

    def __init__(self, bags: Mapping[str, Tensor], *, block: int = 2048):
        """`bags`: layer -> patches (n, 9 C) from `patches`."""
        self.layers = tuple(bags)
        self.block = block
        self.centre = {layer: bag.mean(dim=0) for layer, bag in bags.items()}
        self.bags = {layer: F.normalize(bag - self.centre[layer], dim=1) for layer, bag in bags.items()}

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        losses = []
        for layer in self.layers:
            query = F.normalize(patches(features[layer]) - self.centre[layer], dim=1)
            losses.append(_mean_distance(query, self.bags[layer], self.block))
        return torch.stack(losses).mean()


class CentredPatchLoss(PatchLoss):
    """Nearest-patch loss over the patches of many paintings, centred on both sides.

        PATCH_FACTOR * mean over layers of ( mean over positions of 1 - max over the bag of cos(F(x) - m, F(bag) - m*)
                                        + ||m - m*||^2 / ||m*||^2 ),

    m being the mean patch of the picture and m* that of the bag. Features are centred apart, as Kolkin et al. (2022,
    section 3.2) centre those of content and style: about one mean, a dark place finds all that is dark, whatever it shows,
    and a picture collapses to a few patches. The second term then settles the palette, which the first leaves open.
    `block` positions are compared at a time; it bounds memory and does not change the result.
    """

    def __init__(self, bags: Mapping[str, Tensor], *, block: int = 2048):
        """`bags`: layer -> patches (n, 9 C) from `patches`."""
        super().__init__(bags, block=block)
        self.palettes = {layer: RelativeSquare(centre) for layer, centre in self.centre.items()}

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        parts = []
        for layer in self.layers:
            found = patches(features[layer])
            centre = found.mean(dim=0)
            distance = _mean_distance(F.normalize(found - centre, dim=1), self.bags[layer], self.block)
            parts.append(distance + self.palettes[layer](centre))
        return PATCH_FACTOR * torch.stack(parts).mean()


def _mean_distance(query: Tensor, bag: Tensor, block: int) -> Tensor:
    """Mean over rows of `query` (n, d) of 1 - the greatest cosine to a row of `bag` (m, d), all rows of length one."""
    with torch.no_grad():  # the gradient passes through the winner alone, so the search needs none
        best = torch.cat([(rows @ bag.T).argmax(dim=1) for rows in query.split(block)])
    return 1 - (query * bag[best]).sum(dim=1).mean()


class NeighbourLoss:
    """Mean over layers of the mean squared distance to the features matched, over their variance.

    The target is a feature map that was put together place by place from paintings (Kolkin et al. 2022, section 3.3, with
    squared distances in place of cosines, which leave contrast open). Positions along the border can be left out: there
    padding decides the features, and matching them would draw a frame.
    """

    def __init__(self, target: Mapping[str, Tensor], borders: Mapping[str, int] | None = None):
        """`target`: layer -> features (1, C, h, w); `borders`: layer -> positions along each border to leave out (none)."""
        self.layers = tuple(target)
        self.borders = {layer: (borders or {}).get(layer, 0) for layer in target}
        self.distances = {}
        for layer, f in target.items():
            f = self._inside(layer, f)
            deviation = (f - f.mean(dim=(2, 3), keepdim=True)).square().sum()
            self.distances[layer] = RelativeSquare(f, deviation.clamp_min(SMALLEST_VARIANCE * f.square().sum()))

    def _inside(self, layer: str, f: Tensor) -> Tensor:
        border = self.borders[layer]
        return f[..., border : f.shape[-2] - border, border : f.shape[-1] - border]

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        parts = [distance(self._inside(layer, features[layer])) for layer, distance in self.distances.items()]
        return torch.stack(parts).mean()


class EmbeddingLoss:
    """Style-vector loss: sum_k w_k mean over layers of ||v(x) - v_k||^2 / ||v_k||^2.

    v is `statistics.style_vector`, the channel means and deviations of a layer; k runs over the retrieved works.
    """

    def __init__(self, retrieved: Sequence[tuple[float, Mapping[str, Tensor]]]):
        """`retrieved`: (weight, layer -> vector (2 C,)) of every work; weights sum to one."""
        self.layers = tuple(retrieved[0][1])
        self.retrieved = [(weight, {layer: RelativeSquare(v) for layer, v in vectors.items()}) for weight, vectors in retrieved]

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        parts = []
        for layer in self.layers:
            v = style_vector(features[layer])[0]
            parts += [weight * distance[layer](v) for weight, distance in self.retrieved]
        return torch.stack(parts).sum() / len(self.layers)


class TotalVariation:
    """Mean squared difference of neighbouring pixels, both directions (Mahendran & Vedaldi 2015, beta = 2)."""

    layers: tuple[str, ...] = ()

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        # A picture one pixel high has no vertical neighbours: the mean of nothing counts as 0, not as NaN.
        steps = [image.diff(dim=dim).square() for dim in (2, 3)]
        return torch.stack([step.sum() / max(step.numel(), 1) for step in steps]).sum()


class OutOfRange:
    """Mean squared distance of pixels to [0, 1]: keeps the optimiser from colours that the final clamp would change."""

    layers: tuple[str, ...] = ()

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        # Where the clamp has a slope, its distance to the pixel is 0: it adds nothing to the first derivative but work.
        return (image - image.detach().clamp(0, 1)).square().mean()


def gatys_content(features: Tensor, target: Tensor) -> Tensor:
    """Gatys et al. (2016), eq. 1 as printed: half the sum of squared differences; both (1, C, H, W)."""
    return (features - target).square().sum() / 2


def gatys_style(features: Tensor, target: Tensor) -> Tensor:
    """Gatys et al. (2016), eq. 4 as printed: sum (G - A)^2 / (4 N^2 M^2), G = F F^T not divided by M; both (1, C, H, W)."""
    channels, positions = features.shape[1], features.shape[2] * features.shape[3]
    g = features.flatten(2)[0] @ features.flatten(2)[0].T
    a = target.flatten(2)[0] @ target.flatten(2)[0].T
    return (g - a).square().sum() / (4 * channels**2 * positions**2)
