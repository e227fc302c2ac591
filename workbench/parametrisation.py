"""The coordinates in which a picture is optimised: a descent is only as fast as its coordinates are even."""

import torch
from torch import Tensor

EXPONENT = 0.35
LOWEST = 0.01  # of the highest frequency: below it the scaling stays what it is there


class Spectral:
    """Fourier coefficients scaled by 1/f^0.35, laid out as a picture: z -> F^-1[ F[z] / max(f, 0.01)^0.35 ].

    Pictures have most of their energy, and objectives most of their slack, at low frequencies; in pixels the steps of a
    quasi-Newton method are too short there. (Mordvintsev et al. 2018, "Differentiable Image Parameterizations", scale by
    1/f; that much starves the brush strokes. The exponent was found by measuring the objective after equal numbers of
    evaluations.) The transform is linear and its own transpose, so that a gradient passes through it as a picture does.
    """

    def __init__(self, height: int, width: int, device: torch.device):
        self.shape = (height, width)
        down, across = torch.fft.fftfreq(height, device=device), torch.fft.rfftfreq(width, device=device)
        frequency = 2 * (down.square()[:, None] + across.square()).sqrt()
        self.gain = frequency.clamp_min(LOWEST) ** -EXPONENT

    def picture(self, point: Tensor) -> Tensor:
        """(1, 3, H, W) for coordinates (3 H W,)."""
        return self._scaled(point.view(1, 3, *self.shape), self.gain)

    def point(self, picture: Tensor) -> Tensor:
        """Coordinates (3 H W,) of a picture (1, 3, H, W)."""
        return self._scaled(picture, 1 / self.gain).flatten()

    def _scaled(self, x: Tensor, gain: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(x) * gain, s=self.shape)


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
