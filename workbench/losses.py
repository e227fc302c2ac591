"""Losses as small modules with one idea each, dimensionless, and the objective that adds them up over one forward pass.

A loss names the `layers` it reads and maps (image, features) to a scalar. Dimensionless means that 1 is as far from the
target as a blank is, whatever the encoder and the resolution, so that a weight keeps its meaning.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from workbench.encoders import Encoder
from workbench.statistics import (
    Moments,
    Places,
    gaussian_w2,
    gram,
    moments,
    places,
    region_moments,
    spread,
    style_vector,
)

FLAT = 0.01  # of the mean square: the least variance that a difference is divided by, for paintings of one colour
BALANCE = 0.25  # of BagLoss: the same alpha then keeps about as much of the content as beside Gram matrices


class Loss(Protocol):
    """A term of the objective."""

    layers: tuple[str, ...]

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """A scalar for image (1, 3, H, W) and its features, layer -> (1, C, h, w) in any precision; computed in float32."""


def relative_square(x: Tensor, target: Tensor) -> Tensor:
    """||x - target||^2 / ||target||^2, a scalar."""
    return RelativeSquare(target)(x)


class RelativeSquare:
    """x -> ||x - target||^2 / ||target||^2, a scalar, for one target of any shape; x may be in half precision."""

    def __init__(self, target: Tensor, unit: Tensor | None = None):
        """`unit`: what the squared distance is divided by, a scalar, instead of ||target||^2."""
        self.target = target.detach()
        unit = self.target.square().sum() if unit is None else unit
        self.share = 1 / unit.clamp_min(torch.finfo(target.dtype).tiny)

    def __call__(self, x: Tensor) -> Tensor:
        return _RelativeSquare.apply(x, self.target, self.share)


class _RelativeSquare(torch.autograd.Function):
    """Fewer operations there and back than torch's own: at deep layers an operation costs more than its numbers."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Tensor, share: Tensor) -> Tensor:
        ctx.dtype = x.dtype
        difference = x.to(target.dtype) - target
        ctx.save_for_backward(difference, share)
        return difference.square().sum() * share

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        difference, share = ctx.saved_tensors
        return (difference * (2 * slope * share)).to(ctx.dtype), None, None


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

    def __init__(self, target: Mapping[str, Moments]):
        self.layers = tuple(target)
        self.distances = {layer: RelativeSquare(m.second[None]) for layer, m in target.items()}

    def by_layer(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The loss of every layer: layer -> scalar."""
        return {layer: distance(gram(features[layer])) for layer, distance in self.distances.items()}

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        return torch.stack(list(self.by_layer(features).values())).mean()


class SoftMinGramLoss:
    """Distance to the nearest of many paintings: -T log sum_k w_k exp(-L_k / T), L_k being the Gram loss to painting k alone.

    T -> 0 is the least L_k, the weights w_k notwithstanding; T -> infinity is the weighted mean of the L_k. In between the
    picture may choose the painting that it can come nearest to, the more freely the smaller T is; nothing is averaged.
    """

    def __init__(self, paintings: Sequence[tuple[float, Mapping[str, Moments]]], *, temperature: float):
        """`paintings`: (weight > 0, layer -> Moments), weights summing to one; `temperature`: T >= 0, a Gram loss."""
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
            g = gram(features[layer])[0].flatten()
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
            self._regions[key] = [places(mask[None], dtype) for mask in spread(self.masks, *features.shape[-2:])]
        return self._regions[key]


class W2Loss:
    """Mean over layers of the Gaussian W2 distance (see statistics.gaussian_w2) over the target's tr(G*)."""

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
    """Retrieval loss over a bag of patches: mean over positions of 1 - max over the bag of cos(F(x), F(bag)).

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
            losses.append(_unlikeness(query, self.bags[layer], self.block))
        return torch.stack(losses).mean()


class BagLoss(PatchLoss):
    """Retrieval loss over a bag of patches from many paintings: each place seeks its like in the whole bag.

        BALANCE * mean over layers of ( mean over positions of 1 - max over the bag of cos(F(x) - m, F(bag) - m*)
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
            unlike = _unlikeness(F.normalize(found - centre, dim=1), self.bags[layer], self.block)
            parts.append(unlike + self.palettes[layer](centre))
        return BALANCE * torch.stack(parts).mean()


def _unlikeness(query: Tensor, bag: Tensor, block: int) -> Tensor:
    """Mean over rows of `query` (n, d) of 1 - the greatest cosine to a row of `bag` (m, d), all rows of length one."""
    with torch.no_grad():  # the gradient passes through the winner alone, so the search needs none
        best = torch.cat([(rows @ bag.T).argmax(dim=1) for rows in query.split(block)])
    return 1 - (query * bag[best]).sum(dim=1).mean()


def patches(features: Tensor) -> Tensor:
    """The 3x3 patches of `features` (1, C, H, W), borders replicated: (H W, 9 C)."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    return F.unfold(F.pad(features, (1, 1, 1, 1), mode="replicate"), 3)[0].T


class NeighbourLoss:
    """Mean over layers of the mean squared distance to the features taken over, over their variance.

    The target is a feature map that was put together place by place from paintings (Kolkin et al. 2022, section 3.3, with
    squared distances in place of cosines, which leave contrast open). Positions along the border can be left out: there
    padding decides what features are, and to match them would draw a frame.
    """

    def __init__(self, target: Mapping[str, Tensor], rims: Mapping[str, int] | None = None):
        """`target`: layer -> features (1, C, h, w); `rims`: layer -> positions along each border that do not count (none)."""
        self.layers = tuple(target)
        self.rims = {layer: (rims or {}).get(layer, 0) for layer in target}
        self.distances = {}
        for layer, f in target.items():
            f = self._inside(layer, f)
            deviation = (f - f.mean(dim=(2, 3), keepdim=True)).square().sum()
            self.distances[layer] = RelativeSquare(f, deviation.clamp_min(FLAT * f.square().sum()))

    def _inside(self, layer: str, f: Tensor) -> Tensor:
        rim = self.rims[layer]
        return f[..., rim : f.shape[-2] - rim, rim : f.shape[-1] - rim]

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        parts = [distance(self._inside(layer, features[layer])) for layer, distance in self.distances.items()]
        return torch.stack(parts).mean()


class EmbeddingLoss:
    """Retrieval loss in style-embedding space: sum_k w_k mean over layers of ||v(x) - v_k||^2 / ||v_k||^2.

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

    layers = ()

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        # A picture one pixel high has no vertical neighbours: the mean of nothing counts as 0, not as NaN.
        steps = [image.diff(dim=dim).square() for dim in (2, 3)]
        return torch.stack([step.sum() / max(step.numel(), 1) for step in steps]).sum()


class OutOfRange:
    """Mean squared distance of pixels to [0, 1]: keeps the optimiser from colours that the final clamp would change."""

    layers = ()

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        # Where the clamp has a slope, its distance to the pixel is 0: it adds nothing to the first derivative but work.
        return _RelativeSquare.apply(image, image.detach().clamp(0, 1), image.new_full((), 1 / image.numel()))


class Objective:
    """The weighted sum of losses, L = sum of weight * loss, over a single forward pass through the encoder."""

    def __init__(self, encoder: Encoder, terms: Mapping[str, tuple[float, Loss]]):
        """`terms`: name -> (weight, loss). Terms of weight 0 are left out."""
        self.encoder = encoder
        self.terms = {name: term for name, term in terms.items() if term[0] != 0}
        self.layers = tuple({layer: None for _, loss in self.terms.values() for layer in loss.layers})
        self._held: dict[str, float] = {}
        self._weights: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    def hold(self, times: Mapping[str, float]) -> None:
        """From now on a term called `name` weighs `times[name]` times its weight in the sum; the others their own."""
        self._held = dict(times)
        for weights, _ in self._weights.values():  # in place, where a recording finds them
            weights.copy_(self._as_tensors(weights)[0])

    def _as_tensors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The weights for the time being, and the true ones: (terms,) each, in the precision of `like` and on its device."""
        true = [weight for weight, _ in self.terms.values()]
        now = [self._held.get(name, 1.0) * weight for name, weight in zip(self.terms, true, strict=True)]
        return like.new_tensor(now), like.new_tensor(true)

    def _weigh(self, parts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The losses (terms,) of `parts`, and `_as_tensors` like them, which are kept."""
        values = torch.stack([parts[name] for name in self.terms])
        kind = values.dtype, values.device
        if kind not in self._weights:
            with torch.inference_mode(False):  # or a later call could not have a gradient
                self._weights[kind] = self._as_tensors(values.detach())
        return values, *self._weights[kind]

    def __call__(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(weighted sum, name -> unweighted loss) for image (1, 3, H, W); see `hold`."""
        return self.of(image, self.encoder.taps(image, self.layers) if self.layers else {})

    def of(self, image: Tensor, features: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The same, where the features of `image` at `layers` are known: layer -> (1, C, h, w)."""
        parts = {name: loss(image, features) for name, (_, loss) in self.terms.items()}
        values, now, _ = self._weigh(parts)
        return (values * now).sum(), parts

    def total(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The sum of unweighted losses, name -> scalar, by the weights themselves, whatever is held."""
        values, _, true = self._weigh(parts)
        return (values * true).sum()


def together(objectives: Sequence[Objective], images: Sequence[Tensor]) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """What each objective gives for its own image, all (1, 3, H, W) of one size, by one forward pass of their one encoder."""
    if len(objectives) == 1:
        return [objectives[0](images[0])]
    layers = tuple({layer: None for objective in objectives for layer in objective.layers})
    features = objectives[0].encoder.taps(torch.cat(list(images)), layers) if layers else {}
    each = {layer: _one_by_one(f) for layer, f in features.items()}
    return [
        objective.of(image, {layer: each[layer][i] for layer in objective.layers})
        for i, (objective, image) in enumerate(zip(objectives, images, strict=True))
    ]


def _one_by_one(features: Tensor) -> Sequence[Tensor]:
    """The features of each picture, with its part of their `proxy` (see encoders.fused) where they have one."""
    # Split once: a slice for every picture would be added up on the way back over as many batches of zeros.
    each = features.split(1)
    if getattr(features, "proxy", None) is not None:
        for one, proxy in zip(each, features.proxy.split(1), strict=True):
            one.proxy = proxy
    return each


def gatys_content(features: Tensor, target: Tensor) -> Tensor:
    """Gatys et al. (2016), eq. 1 as printed: half the sum of squared differences; both (1, C, H, W)."""
    return (features - target).square().sum() / 2


def gatys_style(features: Tensor, target: Tensor) -> Tensor:
    """Gatys et al. (2016), eq. 4 as printed: sum (G - A)^2 / (4 N^2 M^2), G = F F^T not divided by M; both (1, C, H, W)."""
    channels, positions = features.shape[1], features.shape[2] * features.shape[3]
    g = features.flatten(2)[0] @ features.flatten(2)[0].T
    a = target.flatten(2)[0] @ target.flatten(2)[0].T
    return (g - a).square().sum() / (4 * channels**2 * positions**2)
