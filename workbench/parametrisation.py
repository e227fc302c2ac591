"""The coordinates in which a picture is optimised: a descent is only as fast as its coordinates are even."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

FREQUENCIES = (0.01, 0.03, 0.06, 0.12, 0.2, 0.3, 0.42, 0.6, 0.85, 1.2)  # of the highest along an axis
GAINS = {  # opponent axis over (R, G, B) -> the gain at each of FREQUENCIES; between them, a straight line over logarithms
    (1, 1, 1): (6.21, 3.63, 2.93, 1.88, 1.43, 1.32, 1.40, 1.45, 1.42, 1.30),
    (1, 0, -1): (4.58, 2.92, 2.44, 2.10, 2.03, 1.97, 1.64, 1.51, 1.57, 1.33),
    (1, -2, 1): (3.77, 2.57, 2.19, 1.80, 1.64, 1.47, 1.35, 1.41, 1.31, 1.16),
}
NEIGHBOURHOOD = 8  # px: means are taken over three by three cells of that size


class Spectral:
    """Fourier coefficients of opponent colours, each scaled by a measured gain, laid out as a picture: z -> M^T F^-1[ g F[z] ].

    Pictures have most of their energy, and objectives most of their slack, at low frequencies; in pixels the steps of a
    quasi-Newton method are too short there. (Mordvintsev et al. 2018, "Differentiable Image Parameterizations", decorrelate
    colours and scale by 1/f; that much starves the brush strokes.) A gain is f^-0.35 sqrt(r / 1.5): the exponent was found
    by measuring the objective after equal numbers of evaluations, and r is what it left uneven, the size of moves over that
    of changes of the gradient in the histories of L-BFGS, by colour and frequency, over transfers of three pairs at 256 and
    512 px. Light is steepest about a fifth of the highest frequency, colour at the lowest ones.
    """

    def __init__(self, height: int, width: int, device: torch.device):
        self.shape = (height, width)
        down, across = np.fft.fftfreq(height), np.fft.rfftfreq(width)
        frequency = 2 * np.sqrt(np.square(down)[:, None] + np.square(across))
        place = np.log(np.maximum(frequency, FREQUENCIES[0]))
        gain = np.stack([np.exp(np.interp(place, np.log(FREQUENCIES), np.log(gains))) for gains in GAINS.values()])
        self.gain = torch.from_numpy(gain.astype(np.float32)).to(device)
        axes = torch.tensor(list(GAINS), dtype=torch.float32, device=device)
        self.axes = axes / axes.norm(dim=1, keepdim=True)  # orthonormal

    def picture(self, point: Tensor) -> Tensor:
        """(1, 3, H, W) for coordinates (3 H W,)."""
        return _Synthesis.apply(point, self.gain, self.axes, self.shape)

    def point(self, picture: Tensor) -> Tensor:
        """Coordinates (3 H W,) of a picture (1, 3, H, W)."""
        opponent = (self.axes @ picture.flatten(2)[0]).view(3, *self.shape)
        return torch.fft.irfft2(torch.fft.rfft2(opponent) / self.gain, s=self.shape).flatten()

    def local_mean(self, values: Tensor) -> Tensor:
        """Means (3 H W,) of `values` (3 H W,) around every coordinate, over some 24 px, colour by colour."""
        cells = F.avg_pool2d(values.view(1, 3, *self.shape), NEIGHBOURHOOD, ceil_mode=True, count_include_pad=False)
        smooth = F.avg_pool2d(F.pad(cells, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        return F.interpolate(smooth, size=self.shape, mode="bilinear").flatten()

    def taken_over(self, values: Tensor, other: "Spectral") -> Tensor:
        """`values` over the coordinates of `other`, a coarser or finer picture, at the same places of this one: (3 H W,)."""
        return F.interpolate(values.view(1, 3, *other.shape), size=self.shape, mode="bilinear").flatten()


class _Synthesis(torch.autograd.Function):
    """Spectral.picture. Gains are real and even, so that the filter is its own transpose: no transform of twice the size."""

    @staticmethod
    def forward(ctx: Any, point: Tensor, gain: Tensor, axes: Tensor, shape: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(gain, axes)
        ctx.shape = shape
        return (axes.T @ _filtered(point.view(3, *shape), gain).flatten(1)).view(1, 3, *shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gain, axes = ctx.saved_tensors
        return _filtered((axes @ gradient.flatten(2)[0]).view(3, *ctx.shape), gain).flatten(), None, None, None


def _filtered(opponent: Tensor, gain: Tensor) -> Tensor:
    """`opponent` (3, H, W) with every frequency times its `gain` (3, H, W // 2 + 1)."""
    return torch.fft.irfft2(torch.fft.rfft2(opponent) * gain, s=opponent.shape[-2:])


class Pixels:
    """The pixels themselves."""

    def __init__(self, height: int, width: int, device: torch.device):
        self.shape = (height, width)

    def picture(self, point: Tensor) -> Tensor:
        """(1, 3, H, W) for coordinates (3 H W,)."""
        return point.view(1, 3, *self.shape).clone()  # the optimiser moves its point in place

    def point(self, picture: Tensor) -> Tensor:
        """Coordinates (3 H W,) of a picture (1, 3, H, W)."""
        return picture.flatten()
