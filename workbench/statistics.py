"""Statistics of feature maps: Gram matrix, mean, covariance; pooled or averaged over many paintings; Gaussian W2 distance."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """First and second moment of C-dimensional features over positions.

    mean: (C,), second: (C, C), the Gram matrix G = F F^T / P; both float32.
    """

    mean: Tensor
    second: Tensor

    @property
    def covariance(self) -> Tensor:
        """S = G - mu mu^T, (C, C)."""
        return self.second - torch.outer(self.mean, self.mean)

    @cached_property
    def root(self) -> Tensor:
        """S^{1/2}, (C, C)."""
        with torch.inference_mode(False):  # it is kept
            return psd_sqrt(self.covariance)


def gram(features: Tensor) -> Tensor:
    """Gram matrices G = F F^T / P of `features` (N, C, H, W): (N, C, C), P = H W (Gatys et al. 2016, eq. 3, per position).

    Computed in float32 at least.
    """
    f = features.flatten(2).to(torch.promote_types(features.dtype, torch.float32))
    return f @ f.mT / f.shape[2]


def moments(features: Tensor, weights: Tensor | None = None) -> Moments:
    """Moments of `features` (1, C, H, W); of a region of them where `weights` (1, 1, H, W) >= 0 say how much each place counts.

    G = sum_p w_p f_p f_p^T / sum_p w_p: the guided Gram matrix of Gatys et al. (2017, eq. 5), its guide being sqrt(w).
    """
    wide = torch.promote_types(features.dtype, torch.float32)
    if weights is None:
        return Moments(mean=features.mean(dim=(0, 2, 3), dtype=wide), second=gram(features)[0])
    return region_moments(features, places(weights, wide))


@dataclass(frozen=True)
class Places:
    """The places of a feature map that count: their indices (n,), int64, and their shares (n,), which sum to one."""

    index: Tensor
    share: Tensor


def places(weights: Tensor, dtype: torch.dtype) -> Places:
    """The places where `weights` (1, 1, H, W) are above 0, with shares in `dtype`."""
    index = weights.flatten().nonzero()[:, 0]
    found = weights.flatten()[index].to(dtype)
    return Places(index, found / found.sum().clamp_min(torch.finfo(dtype).tiny))


def region_moments(features: Tensor, region: Places) -> Moments:
    """Moments of `features` (1, C, H, W) over a region; the rest of the picture costs nothing."""
    rows = features.flatten(2)[0].index_select(1, region.index).to(region.share.dtype)
    rooted = rows * region.share.sqrt()
    return Moments(mean=rows @ region.share, second=rooted @ rooted.T)


def resample_masks(masks: Tensor, height: int, width: int) -> Tensor:
    """Masks (n, 1, h, w) laid over a picture or a feature map of `height` x `width`: each cell the mean of what lies under it.

    Where masks are coarser than what they are laid over, their borders become soft. Sums to 1 where the masks do.
    """
    if height > masks.shape[-2] or width > masks.shape[-1]:
        return F.interpolate(masks, (height, width), mode="bilinear", align_corners=False)
    return F.adaptive_avg_pool2d(masks, (height, width))


def pool(parts: Iterable[tuple[float, dict[str, Moments]]]) -> dict[str, Moments]:
    """The weighted mean of moments: those of the mixture of all positions of all paintings.

    `parts` yields (weight, layer -> Moments); weights need not sum to one. Only the running sum is in memory, so a generator
    over a corpus of any size takes the memory of one painting. First and second raw moments may be averaged; covariances
    may not, because that would lose the scatter between paintings.
    """
    total = 0.0
    sums: dict[str, Moments] = {}
    for weight, layers in parts:
        total += weight
        for layer, m in layers.items():
            if layer in sums:
                sums[layer].mean.add_(m.mean, alpha=weight)
                sums[layer].second.add_(m.second, alpha=weight)
            else:
                sums[layer] = Moments(m.mean * weight, m.second * weight)
    if total <= 0:
        raise ValueError("nothing to pool: the weights sum to zero")
    return {layer: Moments(m.mean / total, m.second / total) for layer, m in sums.items()}


def barycentre(parts: Sequence[tuple[float, Moments]], *, tolerance: float = 1e-6, iterations: int = 100) -> Moments:
    """The Bures-Wasserstein barycentre of Gaussians: the one with the least weighted mean of squared W2 distances to them.

    mu = sum_k w_k mu_k, and S solves S = sum_k w_k (S^{1/2} S_k S^{1/2})^{1/2} (Agueh & Carlier 2011, eq. 6.2), found by the
    fixed point S <- S^{-1/2} (sum_k w_k (S^{1/2} S_k S^{1/2})^{1/2})^2 S^{-1/2} of Alvarez-Esteban et al. (2016), in float64
    where the device has it. It starts from (sum_k w_k S_k^{1/2})^2, which is the answer where the covariances commute, and
    ends when both sides of the equation differ by less than `tolerance` times S, or after so many `iterations`. Covariances
    may be singular; S then lives where they do.

    Unlike `pool`, it does not add the scatter between the paintings: it is a typical painting, not the mixture of all.

    `parts`: (weight, Moments); weights need not sum to one. Returns Moments in the precision of the first.
    Raises ValueError when the weights sum to zero.
    """
    total = sum(weight for weight, _ in parts)
    if total <= 0:
        raise ValueError("no barycentre: the weights sum to zero")
    parts = [(weight / total, m) for weight, m in parts if weight > 0]
    first = parts[0][1]
    wide = torch.float32 if first.mean.device.type == "mps" else torch.float64
    nothing = torch.zeros((), dtype=wide)  # so that a sum is a tensor
    mean = sum((weight * m.mean.to(wide) for weight, m in parts), start=nothing)
    if len(parts) == 1:
        return first
    covariance = sum((weight * psd_sqrt(m.covariance.to(wide)) for weight, m in parts), start=nothing)
    covariance = covariance @ covariance
    for _ in range(iterations):
        values, vectors = eigen(covariance)
        sound = values > values[-1].clamp_min(torch.finfo(wide).tiny) * 1e-12
        root = torch.where(sound, values.clamp_min(0).sqrt(), 0.0)
        inverse = torch.where(sound, 1 / root.clamp_min(torch.finfo(wide).tiny), 0.0)
        root, inverse = ((vectors * scale) @ vectors.T for scale in (root, inverse))
        across = sum((weight * psd_sqrt(root @ m.covariance.to(wide) @ root) for weight, m in parts), start=nothing)
        if (across - covariance).norm() <= tolerance * covariance.norm():
            break
        covariance = inverse @ across @ across @ inverse
        covariance = (covariance + covariance.T) / 2
    second = covariance + torch.outer(mean, mean)
    return Moments(mean.to(first.mean.dtype), second.to(first.second.dtype))


def effective_rank(covariance: Tensor) -> float:
    """(tr S)^2 / tr(S^2) of a (C, C) covariance: how many equally strong directions would spread the variance as evenly."""
    return float(covariance.trace() ** 2 / covariance.square().sum().clamp_min(torch.finfo(covariance.dtype).tiny))


def off_diagonal_energy(matrix: Tensor) -> float:
    """The share of the squared entries of a (C, C) matrix that lies off its diagonal, in [0, 1]."""
    square = matrix.square()
    return float(1 - square.diagonal().sum() / square.sum().clamp_min(torch.finfo(matrix.dtype).tiny))


def psd_sqrt(matrix: Tensor) -> Tensor:
    """The symmetric square root of a symmetric positive semi-definite (C, C) matrix; negative round-off counts as zero."""
    values, vectors = eigen(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors of a symmetric matrix, on its device and in its precision."""
    values, vectors = torch.linalg.eigh(_for_eigenvalues(matrix))
    return values.to(matrix), vectors.to(matrix)


def gaussian_w2(mean: Tensor, covariance: Tensor, target: Moments, *, floor: float = 1e-12) -> Tensor:
    """Squared 2-Wasserstein distance of two Gaussians (Dowson & Landau 1982):

        ||mu - mu*||^2 + tr(S + S* - 2 (S*^{1/2} S S*^{1/2})^{1/2}).

    mean (C,), covariance (C, C); a scalar, never below zero, differentiable in mean and covariance. The trace of the root is
    the sum of the roots of eigenvalues; `floor`, relative to the largest, keeps the root's slope finite at zero.
    """
    values = torch.linalg.eigvalsh(_for_eigenvalues(target.root @ covariance @ target.root))
    tiny = torch.finfo(values.dtype).tiny
    values = values.clamp_min((floor * values.detach().amax()).clamp_min(tiny))
    trace = covariance.trace() + target.covariance.trace() - 2 * values.sqrt().sum().to(mean)
    return (mean - target.mean).square().sum() + trace.clamp_min(0)


def _for_eigenvalues(matrix: Tensor) -> Tensor:
    """`matrix`, on the CPU if it lies on an Apple GPU, where torch has no symmetric eigenvalues in every version.

    On CUDA it is in float64, whose method takes a third of the time that the one for float32 takes (on an H100, 512 rows).
    """
    if matrix.device.type == "mps":
        return matrix.cpu()
    return matrix.double() if matrix.is_cuda else matrix


def style_vector(features: Tensor) -> Tensor:
    """Channel means and standard deviations side by side (Huang & Belongie 2017): (N, C, H, W) to (N, 2 C)."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    variance, mean = torch.var_mean(features, dim=(2, 3), correction=0)
    return torch.cat([mean, (variance + 1e-8).sqrt()], dim=1)


def patches(features: Tensor) -> Tensor:
    """The 3x3 patches of `features` (1, C, H, W), borders replicated: (H W, 9 C)."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    return F.unfold(F.pad(features, (1, 1, 1, 1), mode="replicate"), 3)[0].T
