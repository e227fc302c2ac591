"""From weighted works to what a loss aims at: moments, patches, style vectors."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial

import torch
from torch import Tensor

from workbench import images, progress, statistics, storage
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.images.colour import Recolouring
from workbench.retrieval import clusters, reading
from workbench.retrieval.pieces import Piece
from workbench.statistics import Moments, patches
from workbench.targets.target import Guide, StyleTarget

TOLERANCE = 1e-3
"""Relative error of a barycentre's fixed point, far below the style error that a transfer reaches."""
CANDIDATES = 4
"""Patches drawn for every one that is kept."""
PROJECTED = 64
"""Dimensions to which patches are projected at random before they are clustered."""
VERSION = 3
"""Part of cache keys: raised whenever the same works come to other moments."""


def _cached(
    recipe: list,
    encoder: Encoder,
    size: int,
    layers: Sequence[str],
    recolour: Recolouring | None,
    make: Callable[[], dict[str, Moments]],
) -> dict[str, Moments]:
    """The moments that `make` returns, from the cache where they are known. `recipe`: works, weights, how they are combined."""
    decides = [VERSION, images.DECODER, encoder.identity, size, layers, recipe, recolour.key if recolour else ""]
    key = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
    cache = storage.Cache(storage.cache_dir("moments"))
    entry = cache.get(key, [f"{layer}.{part}" for layer in layers for part in ("mean", "second")])
    if entry is not None:
        stored = {name: torch.from_numpy(array).clone().to(encoder.device) for name, array in entry.items()}
        return {layer: Moments(stored[f"{layer}.mean"], stored[f"{layer}.second"]) for layer in layers}
    made = make()
    arrays = {f"{layer}.mean": m.mean.cpu().numpy() for layer, m in made.items()}
    cache.put(key, arrays | {f"{layer}.second": m.second.cpu().numpy() for layer, m in made.items()})
    return made


def _thinned(bag: Tensor, limit: int, seed: int) -> Tensor:
    """At most `limit` rows of `bag` (n, d), chosen by `clusters.coreset` from their directions about the mean."""
    if len(bag) <= limit:
        return bag
    generator = torch.Generator().manual_seed(seed)
    project = torch.randn(bag.shape[1], min(PROJECTED, bag.shape[1]), generator=generator).to(bag)
    directions = torch.nn.functional.normalize(bag - bag.mean(dim=0), dim=1) @ project
    chosen = clusters.coreset(directions.cpu().numpy(), limit, seed=seed)
    return bag[torch.from_numpy(chosen).to(bag.device)]


def _features(
    target: StyleTarget, encoder: Encoder, size: int, layers: Sequence[str], recolour: Recolouring | None = None
) -> Iterator[tuple[float, dict[str, Tensor]]]:
    """(weight, layer -> features (1, C, h, w)) of every work, one after the other, at most one of them in memory."""
    where = encoder.device if recolour is None else torch.device("cpu")
    with torch.no_grad(), closing(reading.read(target.works, size, where)) as pictures:
        for weight, painting in zip(target.weights, pictures, strict=True):
            if recolour is not None:
                painting = recolour(painting)
            yield weight, encoder.features(painting.to(encoder.device), layers)
            progress.check()


def paintings(
    target: StyleTarget,
    encoder: Encoder,
    size: int,
    layers: Sequence[str],
    *,
    recolour: Recolouring | None = None,
    show: bool = False,
) -> Iterator[tuple[float, dict[str, Moments]]]:
    """(weight, layer -> Moments) of every work by itself, its long side scaled to `size` px, one after the other."""
    tracked = progress.track(
        _features(target, encoder, size, layers, recolour),
        total=len(target.works),
        label=f"statistics at {size} px",
        show=show and len(target.works) > 1,
    )
    for weight, features in tracked:
        yield weight, {layer: statistics.moments(f) for layer, f in features.items()}


def moments(
    target: StyleTarget,
    encoder: Encoder,
    size: int,
    layers: Sequence[str],
    *,
    recolour: Recolouring | None = None,
    show: bool = False,
) -> dict[str, Moments]:
    """The moments of a target, its works' long sides scaled to `size` px: layer -> Moments.

    Those of the barycentre where works are so combined, else the mean of all, with the features of one painting in memory at a
    time. Cached on disk by everything that they depend on: works and weights, encoder, size, layers, colours.
    """
    layers = encoder.check_layers(layers)
    how = "barycentre" if target.combine == "barycentre" else "mean"

    def make() -> dict[str, Moments]:
        each = paintings(target, encoder, size, layers, recolour=recolour, show=show)
        if how == "mean":
            return statistics.pool(each)
        every = list(each)
        tracked = progress.track(layers, total=len(layers), label=f"barycentre at {size} px", show=show and len(every) > 1)
        parts = ((layer, [(weight, m[layer]) for weight, m in every]) for layer in tracked)
        return {layer: statistics.barycentre(part, tolerance=TOLERANCE) for layer, part in parts}

    recipe = [(work.sha256, weight) for work, weight in zip(target.works, target.weights, strict=True)]
    return _cached([how, *recipe], encoder, size, layers, recolour, make)


def guided_moments(
    target: StyleTarget,
    encoder: Encoder,
    size: int,
    layers: Sequence[str],
    *,
    recolour: Recolouring | None = None,
    show: bool = False,
) -> list[dict[str, Moments]]:
    """The moments of every guide's pieces, paintings scaled to `size` px: for each guide, layer -> Moments.

    The mean over the pieces, or, for a guide that is not matched, their barycentre. Each painting is encoded once.
    """
    layers = encoder.check_layers(layers)
    wanted: dict[Work, dict[Piece, Tensor]] = {}
    for piece in (piece for guide in target.guides for piece in guide.pieces):
        wanted.setdefault(piece.work, {})[piece] = piece.mask.to(encoder.device)
    every = StyleTarget(target.name, tuple(wanted), (1 / len(wanted),) * len(wanted))
    found: dict[Piece, dict[str, Moments]] = {}

    def make(guide: Guide) -> dict[str, Moments]:
        if not found:
            features = zip(wanted, _features(every, encoder, size, layers, recolour), strict=True)
            tracked = progress.track(features, total=len(wanted), label=f"pieces at {size} px", show=show)
            for work, (_, by_layer) in tracked:
                for piece, mask in wanted[work].items():
                    found[piece] = {
                        layer: statistics.moments(f, statistics.resample_masks(mask, *f.shape[-2:]))
                        for layer, f in by_layer.items()
                    }
        parts = [(w, found[piece]) for piece, w in zip(guide.pieces, guide.weights, strict=True)]
        if guide.matched:
            return statistics.pool(parts)
        return {layer: statistics.barycentre([(w, m[layer]) for w, m in parts], tolerance=TOLERANCE) for layer in layers}

    every_guide = []
    for guide in target.guides:
        recipe: list = [
            (piece.work.sha256, hashlib.sha256(piece.mask.numpy().tobytes()).hexdigest(), weight)
            for piece, weight in zip(guide.pieces, guide.weights, strict=True)
        ]
        recipe = ["pieces", guide.matched, *recipe]
        every_guide.append(_cached(recipe, encoder, size, layers, recolour, partial(make, guide)))
    return every_guide


def style_vectors(
    target: StyleTarget, encoder: Encoder, size: int, layers: Sequence[str], *, recolour: Recolouring | None = None
) -> list[tuple[float, dict[str, Tensor]]]:
    """(weight, layer -> style vector (2 C,)) of every work, for the embedding loss."""
    return [
        (weight, {layer: statistics.style_vector(f)[0] for layer, f in features.items()})
        for weight, features in _features(target, encoder, size, layers, recolour)
    ]


def bag_of_patches(
    target: StyleTarget,
    encoder: Encoder,
    size: int,
    layers: Sequence[str],
    *,
    limit: int = 2048,
    seed: int = 0,
    recolour: Recolouring | None = None,
) -> dict[str, Tensor]:
    """layer -> at most `limit` 3x3 patches (n, 9 C) that represent all patches of the works.

    Four times as many are drawn at random, from each work in proportion to its weight. Of these the ones nearest to the
    centres of `limit` clusters are kept, so that rare patches are represented as well.
    """
    generator = torch.Generator().manual_seed(seed)
    bags: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    for weight, features in _features(target, encoder, size, layers, recolour):
        for layer, f in features.items():
            found = patches(f)
            count = min(len(found), max(1, round(CANDIDATES * limit * weight)))
            bags[layer].append(found[torch.randperm(len(found), generator=generator)[:count].to(found.device)])
    return {layer: _thinned(torch.cat(parts), limit, seed) for layer, parts in bags.items()}
