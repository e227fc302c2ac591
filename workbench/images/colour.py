"""Colour: CIE Lab, luminance, and paintings in the colours of another picture."""

import hashlib
from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor

from workbench.images import cielab
from workbench.statistics import psd_sqrt

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luma: ITU-R BT.601."""
GREY = 6 / 255
"""Difference between the channels of a pixel, in [0, 1], up to which a picture is grey: JPEG leaves so much in a grey scan."""
NARROWEST = 1e-4
"""Smallest variance of colours in [0, 1] along a direction that is scaled: below it a picture has one colour."""


class Recolouring(Protocol):
    """Gives a painting (1, 3, H, W) in [0, 1] other colours, before its style is measured. `key` tells it from others."""

    key: str

    def __call__(self, painting: Tensor) -> Tensor: ...


def lab(image: Tensor) -> Tensor:
    """CIE L*a*b* (D65) of sRGB in [0, 1], both (N, 3, H, W), float32 on the CPU; see `cielab`."""
    found = cielab.lab_from_rgb(image.detach().cpu().movedim(1, -1).numpy())
    return torch.from_numpy(found).movedim(-1, 1).contiguous()


def luminance(image: Tensor) -> Tensor:
    """The luma of `image` (N, 3, H, W) in all three channels: a grey picture of the same shape."""
    weights = torch.tensor(LUMA, dtype=image.dtype, device=image.device)
    return torch.einsum("c,nchw->nhw", weights, image)[:, None].expand_as(image).contiguous()


def is_grey(image: Tensor) -> bool:
    """Whether `image` (N, 3, H, W) in [0, 1] has no colour anywhere, as an etching or a photograph in black and white."""
    return bool((image.amax(dim=1) - image.amin(dim=1)).max() <= GREY)


def with_luminance(image: Tensor, grey: Tensor) -> Tensor:
    """`image` with the luma of `grey`, both (N, 3, H, W): what it is in colour, `grey` in light and dark. In [0, 1].

    A colour that leaves the range is drawn towards grey until it fits, so that its luma is kept.
    """
    light = luminance(grey).clamp(0, 1)
    chroma = image - luminance(image)
    room = torch.where(chroma > 0, 1 - light, light) / chroma.abs().clamp_min(1e-12)
    return (light + chroma * room.amin(dim=1, keepdim=True).clamp(0, 1)).clamp(0, 1)


def colours(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (3,) and covariance (3, 3) of the colours of `image` (1, 3, H, W), float64 on the CPU."""
    flat = image[0].flatten(1).cpu().double()
    return flat.mean(dim=1), torch.cov(flat, correction=0)


class ColoursOf:
    """Moves a painting's colours to those of `reference` by optimal transport between Gaussians (Pitie & Kokaram 2007):

        x -> m_r + T (x - m), T = S^{-1/2} (S^{1/2} S_r S^{1/2})^{1/2} S^{-1/2}.

    The mean and covariance of the colours become those of the reference, and no colour moves farther than it must.
    """

    def __init__(self, reference: Tensor):
        """`reference` (1, 3, H, W) in [0, 1]."""
        self.mean, self.covariance = colours(reference)
        numbers = torch.cat([self.mean, self.covariance.flatten()])
        self.key = "colours of " + hashlib.sha256(numbers.numpy().tobytes()).hexdigest()[:16]

    def __call__(self, painting: Tensor) -> Tensor:
        return _moved(painting, self.mean, self.covariance)


def _moved(picture: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """`picture` (1, 3, H, W) with colours of `mean` (3,) and `covariance` (3, 3), in [0, 1]; see `ColoursOf`."""
    own, spread = colours(picture)
    values, vectors = torch.linalg.eigh(spread)
    root = values.clamp_min(0).sqrt()
    inverse = torch.where(values > NARROWEST, 1 / root.clamp_min(1e-12), 0.0)  # a direction without spread stays without
    root, inverse = ((vectors * scale) @ vectors.T for scale in (root, inverse))
    way = (inverse @ psd_sqrt(root @ covariance @ root) @ inverse).to(picture)
    moved = torch.einsum("ij,njhw->nihw", way, picture - own.to(picture).view(3, 1, 1))
    return (moved + mean.to(picture).view(3, 1, 1)).clamp(0, 1)


class TowardsColoursOf:
    """Moves a picture's colours a share of the way to those of several paintings, as `ColoursOf` does for one.

    Their colours are those of a typical painting: the weighted mean of the paintings' means, and of their covariances, so that
    what differs between paintings does not count as contrast within one.
    """

    def __init__(self, paintings: Iterable[tuple[float, tuple[Tensor, Tensor]]], share: float):
        """`paintings`: (weight, (mean, covariance) from `colours`), weights summing to one; `share` in [0, 1]."""
        each = list(paintings)
        self.mean = torch.stack([weight * mean for weight, (mean, _) in each]).sum(dim=0)
        self.covariance = torch.stack([weight * covariance for weight, (_, covariance) in each]).sum(dim=0)
        self.share = share

    def __call__(self, picture: Tensor) -> Tensor:
        return picture + self.share * (_moved(picture, self.mean, self.covariance) - picture)


class LuminanceLike:
    """A painting in grey, its luma with the mean and deviation of that of `reference` (Gatys et al. 2017, eq. 8)."""

    def __init__(self, reference: Tensor):
        """`reference` (1, 3, H, W) in [0, 1]."""
        light = luminance(reference)[:, :1]
        self.mean, self.deviation = float(light.mean()), float(light.std(correction=0))
        self.key = f"luminance {self.mean:.6f} {self.deviation:.6f}"

    def __call__(self, painting: Tensor) -> Tensor:
        light = luminance(painting)
        centred = light - light.mean()
        return (centred * (self.deviation / light.std(correction=0).clamp_min(NARROWEST)) + self.mean).clamp(0, 1)
