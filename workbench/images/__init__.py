"""Image files, tensors (1, 3, H, W) in [0, 1], and files again; colour spaces are in `images.colour`."""

from workbench.images.decoding import DECODER, Decoded, read, see_through, unreadable
from workbench.images.keeping import keep, kept
from workbench.images.saving import save
from workbench.images.sizes import LARGEST, SMALLEST, check_size, fit
from workbench.images.tensors import OVERSAMPLED, decode, from_levels, load, resize, to_pil, to_tensor

__all__ = [
    "DECODER",
    "LARGEST",
    "OVERSAMPLED",
    "SMALLEST",
    "Decoded",
    "check_size",
    "decode",
    "fit",
    "from_levels",
    "keep",
    "kept",
    "load",
    "read",
    "resize",
    "save",
    "see_through",
    "to_pil",
    "to_tensor",
    "unreadable",
]
