"""From a content and a target to the objective of every stage: L = alpha L_content + beta L_style + tv L_tv + L_range.

L_range keeps pixels within [0, 1]. alpha counts more at coarse scales (see schedule) and with neighbours.
"""

from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from workbench import images, people, progress, statistics
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.images import colour
from workbench.statistics import Moments
from workbench.targets import StyleTarget, bag_of_patches, guided_moments, moments, paintings, style_vectors
from workbench.transfer import losses, neighbours
from workbench.transfer.objective import Objective
from workbench.transfer.settings import Settings, check_combination

NEIGHBOURS_CONTENT_FACTOR = 4.0
"""Factor of alpha with neighbours, whose style loss is larger, relative to the content loss, than that of statistics."""
PATCH_LAYERS = slice(2, 4)
"""Style layers whose patches are compared: relu3_1 and relu4_1 of VGG-19, as in Li & Wand (2016)."""
THUMBNAIL = 96
"""px. Long side of a painting of which only the colours are wanted."""


class Problem:
    """What a transfer optimises: a content, a target and the settings, as the losses see them.

    content: (1, 3, H, W) in [0, 1] as it was given. UsageError where settings and target do not go together.
    """

    def __init__(self, content: Tensor, target: StyleTarget, settings: Settings):
        check_combination(target.combine, settings, guided=bool(target.guides))
        self.content = content
        self.settings = settings
        self.by_neighbours = settings.method == "neighbours"
        self.target = target if self.by_neighbours else target.with_people_joined()
        self.recolour = _recolouring(content, settings)
        self.is_colourless = settings.colour != "luminance" and _is_colourless(content, target)

    @property
    def grey(self) -> bool:
        """Whether the losses see luminance alone. Of a grey content after grey works they would leave colours free."""
        return self.settings.colour == "luminance" or self.is_colourless

    @cached_property
    def faces(self) -> tuple[people.Face, ...]:
        """Those of the content: neighbours keep more of its features there."""
        return tuple(people.faces(self.content)) if self.by_neighbours else ()

    @cached_property
    def source(self) -> Tensor:
        """The content as the losses see it, at its own size: grey, or in colours nearer to the paintings'."""
        settings = self.settings
        source = self.content
        if self.by_neighbours and settings.colour == "style" and settings.palette * settings.strength:
            source = colour.TowardsColoursOf(colours_of(self.target), settings.palette * settings.strength)(source)
        return colour.luminance(source) if self.grey else source

    def content_at(self, size: int) -> Tensor:
        """`source` with long side `size` px."""
        height, width = self.content.shape[-2:]
        return images.resize(self.source, images.fit(height, width, size))

    def finished(self, picture: Tensor) -> Tensor:
        """`picture` (1, 3, H, W), which the losses see, as it is to be shown: in the content's colours where these are kept."""
        if self.settings.colour == "luminance":
            return colour.with_luminance(images.resize(self.content, tuple(picture.shape[-2:])), picture)
        picture = colour.luminance(picture) if self.grey else picture
        return picture.clamp(0, 1)

    def objective(self, size: int, encoder: Encoder, *, gram: losses.Gram = statistics.gram, show: bool = False) -> Objective:
        """The objective at long side `size`, by `encoder`. `show` reports progress on stderr; `gram`: see `losses.GramLoss`."""
        paints = f"encoder {encoder.name} only compares pictures, as a retriever: to paint with, choose embedded or vgg19"
        require(encoder.paints, paints)
        content, settings = self.content_at(size), self.settings
        with torch.no_grad():
            content_loss = losses.ContentLoss(encoder.features(content, encoder.content_layers))
        alpha = settings.alpha * (NEIGHBOURS_CONTENT_FACTOR if self.by_neighbours else 1.0)
        terms: dict[str, tuple[float, losses.Loss]] = {
            "content": (alpha, content_loss),
            "style": (settings.beta, self._style_loss(content, encoder, size, gram, show)),
            "tv": (settings.tv, losses.TotalVariation()),
            "range": (1.0, losses.OutOfRange()),
        }
        return Objective(encoder, terms)

    def _style_loss(self, content: Tensor, encoder: Encoder, size: int, gram: losses.Gram, show: bool) -> losses.Loss:
        """The loss that `settings.method`, `settings.style_loss` and `target.combine` name."""
        target, settings = self.target, self.settings
        layers, size = encoder.style_layers, settings.painting_size(size)
        options: dict[str, Any] = {"recolour": self.recolour, "show": show}
        if self.by_neighbours:
            return neighbours.loss(
                content,
                target,
                encoder,
                size=size,
                looseness=settings.looseness,
                strength=settings.strength,
                seed=settings.seed,
                faces=self.faces,
                **options,
            )
        if settings.style_loss == "patches" or target.combine == "patches":
            found = bag_of_patches(
                target, encoder, size, layers[PATCH_LAYERS], limit=settings.bag, seed=settings.seed, recolour=self.recolour
            )
            return losses.CentredPatchLoss(found) if target.combine == "patches" else losses.PatchLoss(found)
        if settings.style_loss == "embedding":
            return losses.EmbeddingLoss(style_vectors(target, encoder, size, layers, recolour=self.recolour))
        if target.guides:
            each = guided_moments(target, encoder, size, layers, **options)
            masks = torch.cat([guide.mask for guide in target.guides]).to(content.device)
            return losses.GuidedGramLoss(masks, self._mixed_by_region(each, masks, content, encoder))
        if target.combine == "softmin":
            mixed = self._mixed(list(paintings(target, encoder, size, layers, **options)), content, encoder)
            return losses.SoftMinGramLoss(mixed, temperature=settings.softness, gram=gram)
        aimed_at = self._moments(content, encoder, size, show)
        if settings.style_loss == "w2":
            return losses.W2Loss(aimed_at)
        if settings.style_loss == "gram":
            return losses.GramLoss(aimed_at, gram=gram)
        raise NotImplementedError(f"style_loss = {settings.style_loss!r} has no branch here")

    def moments(self, encoder: Encoder) -> dict[str, Moments]:
        """The style moments that the last stage aims at, layer -> Moments.

        For softmin and patches, which aim at no moments, those of the mean. Of a target with guides, those of the whole picture
        if every region has its own.
        """
        size = self.settings.size
        return self._moments(self.content_at(size), encoder, self.settings.painting_size(size), False)

    def _moments(self, content: Tensor, encoder: Encoder, size: int, show: bool) -> dict[str, Moments]:
        options: dict[str, Any] = {"recolour": self.recolour, "show": show}
        if self.target.guides:
            each = guided_moments(self.target, encoder, size, encoder.style_layers, **options)
            found = statistics.pool((guide.share, m) for guide, m in zip(self.target.guides, each, strict=True))
        else:
            found = moments(self.target, encoder, size, encoder.style_layers, **options)
        return self._mixed([(1.0, found)], content, encoder)[0][1]

    def _mixed(
        self, each: list[tuple[float, dict[str, Moments]]], content: Tensor, encoder: Encoder
    ) -> list[tuple[float, dict[str, Moments]]]:
        """Moments with their weights, each mixed with those of the content by `strength`."""
        strength = self.settings.strength
        if strength == 1:
            return each
        with torch.no_grad():
            own = {layer: statistics.moments(f) for layer, f in encoder.features(content, encoder.style_layers).items()}
        return [(weight, statistics.pool([(1 - strength, own), (strength, m)])) for weight, m in each]

    def _mixed_by_region(
        self, each: list[dict[str, Moments]], masks: Tensor, content: Tensor, encoder: Encoder
    ) -> list[dict[str, Moments]]:
        """The moments of every region, mixed with those of its own part of the content by `strength`."""
        strength = self.settings.strength
        if strength == 1:
            return each
        with torch.no_grad():
            features = encoder.features(content, encoder.style_layers)
            own = [
                {x: statistics.moments(f, statistics.resample_masks(mask[None], *f.shape[-2:])) for x, f in features.items()}
                for mask in masks
            ]
        return [statistics.pool([(1 - strength, o), (strength, t)]) for o, t in zip(own, each, strict=True)]


def colours_of(target: StyleTarget) -> list[tuple[float, tuple[Tensor, Tensor]]]:
    """(weight, colours) of every work; see colour.colours."""
    return list(zip(target.weights, map(_colours, target.works), strict=True))


@lru_cache(maxsize=4096)
def _colours(work: Work) -> tuple[Tensor, Tensor]:
    """The colours of `work`; see colour.colours."""
    progress.check()
    return colour.colours(work.load(THUMBNAIL))


def _is_colourless(content: Tensor, target: StyleTarget) -> bool:
    """Whether neither the content nor any work of the target has a colour."""
    size = min(THUMBNAIL, max(content.shape[-2:]))
    return colour.is_grey(images.resize(content, size)) and all(map(_is_grey, target.works))


@lru_cache(maxsize=4096)
def _is_grey(work: Work) -> bool:
    progress.check()
    return colour.is_grey(work.load(THUMBNAIL))


def _recolouring(content: Tensor, settings: Settings) -> colour.Recolouring | None:
    """What is done to the paintings before their style is measured."""
    if settings.colour == "style":
        return None
    return colour.ColoursOf(content) if settings.colour == "content" else colour.LuminanceLike(content)
