"""Mean field of a fully connected conditional random field with colour and depth."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dealseg.refine.cells import Look, cell_means, pixel_counts, to_pixels
from dealseg.refine.checking import Inputs, checked
from dealseg.refine.lattice import build_lattice

_LEAST = 1e-8  # smallest probability whose logarithm is taken
_LEVELS = 255  # colour deviations are given in 8-bit levels, as the field does
_FAR = 64.0  # squared deviations; what is further weighs under 2e-14, and tiny numbers are slow

Filter = Callable[[Tensor], Tensor]
"""Kernel sums over all cells: takes and gives maps (c, gh, gw)."""


@torch.no_grad()
def mean_field(
    probabilities: Float[Tensor, "b c h w"],
    image: Float[Tensor, "b 3 h w"],
    depth: Float[Tensor, "b 1 h w"] | None = None,
    valid: Bool[Tensor, "b 1 h w"] | None = None,
    *,
    iterations: int = 10,
    smooth: tuple[float, float] = (3.0, 3.0),
    bilateral: tuple[float, float, float] = (4.0, 50.0, 5.0),
    depth_bilateral: tuple[float, float] = (8.0, 0.5),
    stride: int = 6,
) -> Float[Tensor, "b c h w"]:
    r"""Return the probabilities that agree best with themselves among alike pixels.

    $$ Q_i(l) \propto p_i(l) \exp \sum_m w_m \sum_j \tilde k_m(i, j) Q_j(l), \qquad
       \tilde k(i, j) = k(i, j) / \sqrt{\textstyle\sum_n k(i, n) \sum_n k(n, j)} $$

    from Q = p, with two kernels of positions x, colours I and depth z,

    $$ k_1 = \exp(-|x_i - x_j|^2 / 2 \sigma_1^2), \qquad
       k_2 = \exp(-|x_i - x_j|^2 / 2 \sigma_{xy}^2) \cdot \begin{cases}
       \exp(-|I_i - I_j|^2 / 2 \sigma_d^2 - (z_i - z_j)^2 / 2 \sigma_z^2)
         & \text{i and j valid} \\ \exp(-|I_i - I_j|^2 / 2 \sigma_{rgb}^2) & \text{else.}
       \end{cases} $$

    A pair with an invalid end is judged by colour alone, so without depth, or where none of it is
    valid, this is the CRF of colour. Beside depth colours may differ more, since depth holds
    things apart as well. z is divided by its mean absolute deviation in the image: no factor and
    no offset of it matters, so any unit, and relative inverse depth, will do.

    Source: Krahenbuhl and Koltun 2011, "Efficient Inference in Fully Connected CRFs with Gaussian
    Edge Potentials", algorithm 1 with Potts compatibility, and the symmetric normalisation
    of Krahenbuhl and Koltun 2013 as in their code; with `stride=1` and without depth it equals
    that code to rounding, but for $k_1$, which is exact here. Departs from them in the depth; in a
    class that is nowhere in an image (probability 0 at every pixel) staying so; and, for the
    speed, in `stride`: the iterations run on cells of that many pixels squared, and messages
    of the last one are brought to the pixels along colour and depth (see
    :func:`dealseg.refine.cells.to_pixels`). The default weights are not the field's
    `smooth=(3, 3), bilateral=(10, 80, 13)`, which presume sure and fine probabilities and spoil
    CAMs; see docs/refine.md.

    No gradient is kept.

    Args:
        probabilities: background first; its sums over c are 1, or anything positive.
        image: RGB in [0, 1].
        depth: any depth or inverse depth; not read where it is invalid.
        valid: True where depth was measured; without it, wherever depth is finite.
        iterations: updates of all pixels; 0 returns the probabilities.
        smooth: weight and deviation (pixels) of the kernel of positions alone.
        bilateral: weight and deviations in position (pixels) and colour (8-bit levels, 0-255).
        depth_bilateral: between valid pixels: deviations in colour, in place of the one above, and
            in depth, in mean absolute deviations of the image's depth.
        stride: side of a cell in pixels; 1 is slowest and without that approximation.

    Raises:
        ValueError: if sizes differ, probabilities or image are not finite, or an option cannot
            work.
    """
    options = _Options(iterations, smooth, bilateral, depth_bilateral, stride)
    inputs = checked(probabilities, image, depth, valid)
    if iterations == 0:
        return probabilities.clone()
    results = []
    for index, each in enumerate(inputs.probabilities):
        present = each.amax(dim=(-2, -1)) > 0
        if not bool(present.any()):
            raise ValueError(f"probabilities of image {index} are 0 in every channel")
        look, places = _look(inputs, index, options), present.nonzero().flatten()
        if len(places) == 1:
            results.append(present[:, None, None].to(each.dtype).expand_as(each))
        elif len(places) == len(each):
            results.append(_infer(each, look, options))
        else:
            refined = _infer(each[places], look, options)
            results.append(torch.zeros_like(each).index_copy_(0, places, refined))
    return torch.stack(results).to(probabilities.dtype)


@dataclass(frozen=True)
class _Options:
    """The options of :func:`mean_field`, checked."""

    iterations: int
    smooth: tuple[float, float]
    bilateral: tuple[float, float, float]
    depth_bilateral: tuple[float, float]
    stride: int

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise ValueError(f"iterations must be >= 0, got {self.iterations}")
        if self.stride < 1:
            raise ValueError(f"stride must be >= 1 pixel, got {self.stride}")
        for name, (weight, *deviations) in (("smooth", self.smooth), ("bilateral", self.bilateral)):
            if not (weight >= 0 and all(each > 0 for each in deviations)):
                raise ValueError(
                    f"{name} must be a weight >= 0 and deviations > 0, got {(weight, *deviations)}"
                )
        if not all(each > 0 for each in self.depth_bilateral):
            raise ValueError(
                f"depth_bilateral must be deviations > 0, got {tuple(self.depth_bilateral)}"
            )


def _look(inputs: Inputs, index: int, options: _Options) -> Look:
    colour = inputs.image[index] * (_LEVELS / options.bilateral[2])
    if inputs.depth is None or inputs.valid is None or not inputs.known[index]:
        return Look(colour)
    srgb, deviation = options.depth_bilateral
    depth = inputs.depth[index, 0] / deviation
    valid = None if inputs.known[index] == depth.numel() else inputs.valid[index, 0]
    return Look(colour, depth, valid, options.bilateral[2] / srgb)


def _infer(
    probabilities: Float[Tensor, "c h w"], pixels: Look, options: _Options
) -> Float[Tensor, "c h w"]:
    """Run the mean field on cells, and its last update at the pixels."""
    unary = probabilities.clamp(min=_LEAST).log_()
    cells, on_cells = pixels.cells(options.stride), cell_means(unary, options.stride)
    counts = pixel_counts(unary.shape[1], unary.shape[2], options.stride, unary)
    filters = _filters(cells, counts, options)

    def messages(field: Float[Tensor, "c gh gw"]) -> Float[Tensor, "c gh gw"]:
        total = torch.zeros_like(field)
        for weight, each in filters:
            total.add_(each(field), alpha=weight)
        return total

    field = on_cells.softmax(0)
    for _ in range(options.iterations - 1):
        field = (on_cells + messages(field)).softmax(0)
    message = messages(field)
    if options.stride == 1:
        return unary.add_(message).softmax(0)
    # only differences between channels matter, so the first one need not be brought to the pixels
    unary[1:] += to_pixels(message[1:] - message[:1], cells, pixels, options.stride)
    return unary.softmax(0)


def _filters(
    cells: Look, counts: Float[Tensor, "gh gw"], options: _Options
) -> list[tuple[float, Filter]]:
    """Return the kernels of positive weight, normalised, with their weights."""
    filters = []
    if options.smooth[0] > 0:
        smooth = _positions_alone(counts, options.smooth[1] / options.stride)
        filters.append((options.smooth[0], _normalised(smooth, counts)))
    if options.bilateral[0] > 0:
        places = _places(counts, options.bilateral[1] / options.stride)
        filters.append((options.bilateral[0], _normalised(_alike(cells, places), counts)))
    return filters


def _positions_alone(like: Float[Tensor, "gh gw"], deviation: float) -> Filter:
    """Return the Gaussian of positions, exact: one matrix for rows and one for columns."""

    def gaussian(count: int) -> Float[Tensor, "n n"]:
        place = torch.arange(count, dtype=like.dtype, device=like.device) / deviation
        apart = (place[:, None] - place).square_()
        return apart.clamp(max=_FAR).mul_(-0.5).exp_().mul_(apart < _FAR)

    vertical, horizontal = (gaussian(side) for side in like.shape)
    return lambda maps: vertical @ maps @ horizontal


def _places(like: Float[Tensor, "gh gw"], deviation: float) -> Float[Tensor, "n 2"]:
    """Return column and row of each cell, in deviations."""
    down, right = torch.ones_like(like).nonzero().to(like.dtype).div_(deviation).unbind(1)
    return torch.stack([right, down], dim=1)


def _normalised(kernel: Filter, mass: Float[Tensor, "gh gw"]) -> Filter:
    """Return a kernel over all pixels of cells, divided by the roots of its row and column sums."""
    scale = kernel(mass[None]).clamp_(min=torch.finfo(mass.dtype).tiny).rsqrt_()
    weight = mass * scale
    return lambda maps: kernel(weight * maps).mul_(scale)


def _alike(cells: Look, places: Float[Tensor, "n 2"]) -> Filter:
    """Return the Gaussian of position and colour, and of depth between valid cells.

    With V the projection on valid cells and K the kernels without and with depth, this is
    K - V K V + V K' V, whose three parts collapse to one where all or none of the cells are valid.
    """
    features = torch.cat([places, cells.colour.flatten(1).T], dim=1)
    if cells.depth is None or (cells.valid is not None and not bool(cells.valid.any())):
        return _on_maps(build_lattice(features).filter)
    colour = cells.slack * cells.colour.flatten(1).T
    features_with_depth = torch.cat([places, colour, cells.depth.view(-1, 1)], dim=1)
    with_depth = _on_maps(build_lattice(features_with_depth).filter)
    if cells.valid is None or bool(cells.valid.all()):
        return with_depth
    without_depth, known = _on_maps(build_lattice(features).filter), cells.valid

    def sums(maps: Float[Tensor, "c gh gw"]) -> Float[Tensor, "c gh gw"]:
        inside = maps * known
        every, pairs = without_depth(torch.cat([maps, inside])).chunk(2)
        return every + known * (with_depth(inside) - pairs)

    return sums


def _on_maps(on_rows: Callable[[Tensor], Tensor]) -> Filter:
    """Return what a filter of rows (n, c) makes of maps."""

    def sums(maps: Float[Tensor, "c gh gw"]) -> Float[Tensor, "c gh gw"]:
        return on_rows(maps.flatten(1).T.contiguous()).T.reshape(maps.shape)

    return sums
