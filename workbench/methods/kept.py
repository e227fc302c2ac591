"""Results that are kept in a folder, and not painted twice."""

from pathlib import Path

from torch import Tensor

from workbench import images
from workbench.methods.method import Run


def cached_picture(run: Run, folder: Path | None, name: str, *, show: bool = False) -> Tensor:
    """The result of `run`, (1, 3, H, W) in [0, 1], taken from `folder` if it is there and kept there if it is not.

    Files are named after `name`, the target, and all that decides the result. One that is damaged, or was replaced, is painted
    again. Ctrl-C raises KeyboardInterrupt, and what is unfinished is not kept.
    """
    path, key = folder and picture_path(run, folder, name), run.fingerprint()
    if path and (found := images.kept(path, key)) is not None:
        return found
    result = run.run(show=show)
    if not result.complete:
        raise KeyboardInterrupt(
            f"interrupted in {name}, {run.target.label}" + (f"; what is finished lies in {folder}" if folder else "")
        )
    if not path:
        return result.image
    return images.keep(result.image, path, key)


def picture_path(run: Run, folder: Path, name: str) -> Path:
    """Where `cached_picture` keeps the result of `run`."""
    return folder / f"{name}_{Path(run.settings.method).stem}_{run.target.label}_{run.fingerprint()[:16]}.png"
