"""What the student is trained to predict: the teacher's features along their principal directions; and initial weights."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import scipy.linalg
import torch
import torch.nn.functional as F
from torch import Tensor

from workbench import images
from workbench.encoders.convolutional import ConvolutionalEncoder
from workbench.encoders.embedded import DistilledEncoder, cell_means
from workbench.statistics import gram

BATCH = 8
"""Crops that the teacher describes at once."""
CELLS = 4
"""Cells along each side of a picture whose means the image embedding is fitted to."""


class Teacher:
    """The teacher's features at some layers, in coordinates along the leading directions of an uncentred PCA.

    All coordinates of a layer are scaled by one factor, such that their mean square is 1: relative distances of Gram
    matrices stay what they are.
    """

    def __init__(self, encoder: ConvolutionalEncoder, bases: Mapping[str, Tensor]):
        """`bases`: layer -> orthogonal columns of one length (C, k)."""
        self.encoder = encoder
        self.bases = dict(bases)

    @classmethod
    def fit(cls, encoder: ConvolutionalEncoder, components: Mapping[str, int], pictures: Tensor) -> "Teacher":
        """Find the directions on `pictures` (N, 3, H, W) in [0, 1]."""
        bases = {}
        for layer, moment in second_moments(encoder, tuple(components), pictures).items():
            values, vectors = torch.linalg.eigh(moment.cpu().double())
            kept = slice(len(values) - components[layer], None)
            # The sign of a direction is arbitrary: fix it, so that the same pictures give the same coordinates.
            basis = vectors[:, kept].flip(1)
            basis = basis * basis.gather(0, basis.abs().argmax(dim=0, keepdim=True)).sign()
            bases[layer] = (basis / values[kept].mean().sqrt()).float().contiguous().to(moment.device)
        return cls(encoder, bases)

    @torch.no_grad()
    def coordinates(self, pictures: Tensor) -> dict[str, Tensor]:
        """layer -> (N, k, h, w), float32, for `pictures` (N, 3, H, W) in [0, 1]."""
        features = self.encoder.features(pictures, tuple(self.bases))
        return {layer: torch.einsum("nchw,ck->nkhw", features[layer], basis) for layer, basis in self.bases.items()}


def second_moments(
    encoder: ConvolutionalEncoder,
    layers: Sequence[str],
    pictures: Tensor,
    features: Callable[[Tensor, Sequence[str]], Mapping[str, Tensor]] | None = None,
) -> dict[str, Tensor]:
    """layer -> mean of f f^T over all positions of all pictures, (C, C); f from `features`, if not from encoder.features."""
    total: dict[str, Tensor] = {}
    with torch.no_grad():
        for batch in pictures.split(BATCH):
            for layer, found in (features or encoder.features)(batch, layers).items():
                total[layer] = total.get(layer, 0) + gram(found).sum(dim=0) / len(pictures)
    return total


@torch.no_grad()
def imitate(
    student: DistilledEncoder,
    teacher: Teacher,
    pictures: Tensor,
    *,
    begin: DistilledEncoder | None = None,
    positions: int = 400,
    seed: int = 0,
) -> None:
    """Set the student's weights, layer by layer, so that each layer computes some channels of the teacher's same layer.

    The channels are those that span the teacher's layer best: the first pivots of a QR decomposition. A layer's weights
    are the least squares solution, from what the student's previous layer gives at random positions of `pictures`, for
    what the teacher has there before its ReLU. So the student starts as a pruned teacher whose every layer makes good
    what it can of the errors before it.

    With `begin`, a trained network with the same layers, the student starts from it instead: a layer that is no wider
    imitates `begin`, or is copied where nothing before it changed; only a layer that is wider imitates the teacher.
    """
    generator = torch.Generator().manual_seed(seed)
    moments = second_moments(teacher.encoder, tuple(student.convolutions), pictures)
    own = second_moments(begin, tuple(student.convolutions), pictures, begin.hidden) if begin else {}
    kept = True  # the layer before has the channels of `begin`, all of them
    changed = False  # some layer was not copied
    for layer, convolution in student.convolutions.items():
        there = begin.convolutions[layer] if begin else None
        if there is not None and kept and there.out_channels == convolution.out_channels:
            convolution.load_state_dict(there.state_dict())
            continue
        changed = True
        inherited = there is not None and there.out_channels >= convolution.out_channels
        source = begin if inherited else teacher.encoder
        kept = inherited and there.out_channels == convolution.out_channels
        channels = spanning((own if inherited else moments)[layer], convolution.out_channels)
        channels = channels.sort().values if inherited else channels
        inputs, wanted = [], []
        for batch in pictures.split(BATCH):
            _, before = source.before_relu(batch, layer)
            seen, _ = student.before_relu(batch, layer)
            seen = F.unfold(seen, 3, padding=convolution.padding)
            where = torch.randint(seen.shape[-1], (positions,), generator=generator)
            inputs.append(_rows(seen, where))
            wanted.append(_rows(before[:, channels].flatten(2), where))
        weight, bias = _least_squares(torch.cat(inputs), torch.cat(wanted))
        convolution.weight.copy_(weight.T.view_as(convolution.weight))
        convolution.bias.copy_(bias)
    if changed:
        _balance(student, pictures)


def _balance(student: DistilledEncoder, pictures: Tensor) -> None:
    """Scale every layer to a mean square of 1 after its ReLU, and the next one back: one learning rate then suits all."""
    squares = dict.fromkeys(student.convolutions, 0.0)
    for batch in pictures.split(BATCH):
        for layer, x in student.hidden(batch, tuple(squares)).items():
            squares[layer] += float(x.square().mean()) * len(batch) / len(pictures)
    before = 1.0
    for layer, convolution in student.convolutions.items():
        scale = squares[layer] ** 0.5
        convolution.weight.mul_(before / scale)
        convolution.bias.div_(scale)
        before = scale


@torch.no_grad()
def fit_heads(student: DistilledEncoder, teacher: Teacher, pictures: Tensor, *, positions: int = 400, seed: int = 0) -> None:
    """The least squares solution for every head, the rest of the student being as it is."""
    generator = torch.Generator().manual_seed(seed)
    inputs: dict[str, list[Tensor]] = {layer: [] for layer in student.heads}
    wanted: dict[str, list[Tensor]] = {layer: [] for layer in student.heads}
    for batch in pictures.split(BATCH):
        hidden, coordinates = student.hidden(batch, tuple(student.heads)), teacher.coordinates(batch)
        for layer in student.heads:
            x, y = hidden[layer].flatten(2), coordinates[layer].flatten(2)
            where = torch.randint(x.shape[-1], (positions,), generator=generator)
            inputs[layer].append(_rows(x, where))
            wanted[layer].append(_rows(y, where))
    for layer, head in student.heads.items():
        weight, bias = _least_squares(torch.cat(inputs[layer]), torch.cat(wanted[layer]))
        head.weight.copy_(weight.T.view_as(head.weight))
        head.bias.copy_(bias)


@torch.no_grad()
def fit_embedding(student: DistilledEncoder, encoder: ConvolutionalEncoder, pictures: Iterable[Tensor]) -> None:
    """The least squares solution for the student's image embedding, `encoder`'s being its channel means at relu5_1.

    `pictures` (1, 3, H, W) in [0, 1] are scaled as for retrieval. Means over the cells of a grid instead of the whole
    picture give as many times the equations, for the same linear map.
    """
    inputs, wanted = [], []
    for picture in pictures:
        picture = images.resize(picture, student.embedding_size)
        inputs.append(student.means(picture, CELLS)[0].cpu())
        wanted.append(cell_means(encoder.features(picture, ["relu5_1"])["relu5_1"], CELLS)[0].cpu())
    weight, bias = _least_squares(torch.cat(inputs), torch.cat(wanted), ridge=1e-3)
    student.embedding_weight.copy_(weight)
    student.embedding_bias.copy_(bias)


def spanning(moment: Tensor, count: int) -> Tensor:
    """The `count` channels that span a layer best, given its second moment (C, C): the pivots of a QR decomposition."""
    moment = moment.cpu().double()
    root = torch.linalg.cholesky(moment + 1e-6 * moment.trace() * torch.eye(len(moment), dtype=moment.dtype))
    _, pivots = scipy.linalg.qr(root.T.numpy(), mode="r", pivoting=True)
    return torch.from_numpy(pivots[:count].astype("int64"))


def _rows(x: Tensor, where: Tensor) -> Tensor:
    """The columns `where` of x (N, C, P), one below the other: (N len(where), C)."""
    return x.cpu()[:, :, where].transpose(1, 2).flatten(0, 1)


def _least_squares(x: Tensor, y: Tensor, *, ridge: float = 1e-4) -> tuple[Tensor, Tensor]:
    """(weight (a, b), bias (b,)) that minimise ||x weight + bias - y||^2 for x (n, a) and y (n, b), slightly damped."""
    x, y = x.double(), y.double()
    mean_x, mean_y = x.mean(dim=0), y.mean(dim=0)
    x, y = x - mean_x, y - mean_y
    normal = x.T @ x
    normal.diagonal().add_(ridge * normal.diagonal().mean())
    weight = torch.linalg.solve(normal, x.T @ y)
    return weight.float(), (mean_y - mean_x @ weight).float()
