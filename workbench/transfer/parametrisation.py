"""The coordinates in which a picture is optimised: a preconditioner for L-BFGS, or the pixels themselves."""

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

FREQUENCIES = (0.01, 0.03, 0.06, 0.12, 0.2, 0.3, 0.42, 0.6)
"""Shares of the highest frequency along an axis."""
GAINS = {
    (1, 1, 1): (6.21, 3.63, 2.93, 1.88, 1.43, 1.32, 1.40, 1.45),
    (1, 0, -1): (4.58, 2.92, 2.44, 2.10, 2.03, 1.97, 1.64, 1.51),
    (1, -2, 1): (3.77, 2.57, 2.19, 1.80, 1.64, 1.47, 1.35, 1.41),
}
"""Opponent axis over (R, G, B) -> the gain at each of FREQUENCIES; between them, a straight line over logarithms."""
FINE_GAIN = 1.4
"""Gain of the residual, which is left when the mean of every two by two pixels is subtracted."""
CELL = 8
"""px. Means are taken over three by three cells of this size."""


class Parametrisation(Protocol):
    """Coordinates of a picture.

    One whose shapes depend on values makes a GPU wait for the host, and sets `waits_for_host = True`: see `losses.Loss`.
    """

    def picture(self, point: Tensor) -> Tensor:
        """(1, 3, H, W) for coordinates (n,)."""
        ...


class Spectral:
    """Opponent colours, laid out as a picture, in which what two by two pixels have in common is scaled by frequency.

    z -> M^T (U F^-1[ g F[U^T z] ] + FINE_GAIN (z - U U^T z)): U^T sums over two by two pixels, U having orthonormal columns, F
    is the Fourier transform at half the size, and M the opponent axes. Gains are real and even, so the bracket is its own
    transpose.

    Pictures have most of their energy, and objectives most of their slack, at low frequencies; in pixels the steps of a
    quasi-Newton method are too short there. (Mordvintsev et al. 2018, "Differentiable Image Parameterizations", decorrelate
    colours and scale by 1/f; that much starves the brush strokes.) A gain is f^-0.35 sqrt(r / 1.5): the exponent was found
    by measuring the objective after equal numbers of evaluations, and r is what it left uneven, the size of moves over that
    of changes of the gradient in the histories of L-BFGS, by colour and frequency, over transfers of three pairs at 256 and
    512 px. Light is steepest about a fifth of the highest frequency, colour at the lowest ones. Above half of the highest,
    gains are so much alike that one will do: transforms at full size took no fewer evaluations, and more than twice the time.
    """

    def __init__(self, height: int, width: int, device: torch.device):
        self.shape = (height, width)
        self.halved = (-(-height // 2), -(-width // 2))
        down, across = np.fft.fftfreq(self.halved[0]), np.fft.rfftfreq(self.halved[1])
        frequency = np.sqrt(np.square(down)[:, None] + np.square(across))
        place = np.log(np.maximum(frequency, FREQUENCIES[0]))
        gain = np.stack([np.exp(np.interp(place, np.log(FREQUENCIES), np.log(gains))) for gains in GAINS.values()])
        self.gain = torch.from_numpy(gain.astype(np.float32)).to(device)
        axes = torch.tensor(list(GAINS), dtype=torch.float32, device=device)
        self.axes = axes / axes.norm(dim=1, keepdim=True)  # orthonormal
        self._root = _sums(torch.ones(1, height, width, device=device)).sqrt()  # of the pixels that are summed

    def picture(self, point: Tensor) -> Tensor:
        """(1, 3, H, W) for coordinates (3 H W,)."""
        return (self.axes.T @ self.filtered(point.view(3, -1), self.gain, FINE_GAIN)).view(1, 3, *self.shape)

    def point(self, picture: Tensor) -> Tensor:
        """Coordinates (3 H W,) of a picture (1, 3, H, W)."""
        return self.filtered(self.axes @ picture.flatten(2)[0], 1 / self.gain, 1 / FINE_GAIN).flatten()

    def filtered(self, opponent: Tensor, gain: Tensor, fine: float) -> Tensor:
        """`opponent` colours (3, H W) with what two by two pixels have in common times `gain`, and the rest times `fine`."""
        whole = opponent.view(3, *self.shape)
        common = torch.fft.rfft2(_sums(whole) / self._root)
        change = torch.fft.irfft2(common * (gain - fine), s=self.halved) / self._root
        spread = F.interpolate(change[None], scale_factor=2, mode="nearest")[0, :, : self.shape[0], : self.shape[1]]
        return torch.add(spread, whole, alpha=fine).flatten(1)

    def local_mean(self, values: Tensor) -> Tensor:
        """Means (3 H W,) of `values` (3 H W,) around every coordinate, over some 24 px, colour by colour."""
        cells = F.avg_pool2d(values.view(1, 3, *self.shape), CELL, ceil_mode=True, count_include_pad=False)
        smooth = F.avg_pool2d(F.pad(cells, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        return F.interpolate(smooth, size=self.shape, mode="bilinear").flatten()

    def resampled(self, values: Tensor, other: "Spectral") -> Tensor:
        """`values` over the coordinates of `other`, a coarser or finer picture, at the same places of this one: (3 H W,)."""
        return F.interpolate(values.view(1, 3, *other.shape), size=self.shape, mode="bilinear").flatten()


def _sums(planes: Tensor) -> Tensor:
    """The sums of `planes` (n, H, W) over two by two pixels, or what there is of them: (n, ceil(H / 2), ceil(W / 2))."""
    height, width = planes.shape[-2:]
    if height % 2 or width % 2:
        planes = F.pad(planes, (0, width % 2, 0, height % 2))
    rows = planes[..., ::2, :] + planes[..., 1::2, :]
    return rows[..., ::2] + rows[..., 1::2]


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
