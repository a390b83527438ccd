"""What is summed over the images: integers whose number does not grow with the set."""

from dataclasses import dataclass, field

from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from dealseg.cam import threshold_mask
from dealseg.evaluation.sources import ScoredImage
from dealseg.metrics.boundary import boundary_counts, contour_counts
from dealseg.metrics.confusion import IGNORE, confusion_matrix
from dealseg.metrics.sweep import score_histogram


@dataclass(frozen=True)
class MaskCounts:
    """Counts of masks at one threshold. Counts of parts of a set add up to those of the whole.

    Attributes:
        confusion: see :func:`dealseg.metrics.confusion_matrix`.
        boundary: see :func:`dealseg.metrics.boundary_counts`; None if not asked for.
        contour: see :func:`dealseg.metrics.contour_counts`; None if not asked for.
    """

    confusion: Int64[Tensor, "c c"]
    boundary: Int64[Tensor, "2 c"] | None = None
    contour: Int64[Tensor, "4 c"] | None = None

    def __add__(self, other: "MaskCounts") -> "MaskCounts":
        return MaskCounts(
            self.confusion + other.confusion,
            _sum(self.boundary, other.boundary),
            _sum(self.contour, other.contour),
        )


def count_mask(
    mask: UInt8[Tensor, "h w"], truth: UInt8[Tensor, "h w"], classes: int, *, boundaries: bool
) -> MaskCounts:
    """Return the counts of one image, on the CPU.

    Raises:
        ValueError: if a mask or ground truth value is out of range.
    """
    confusion = confusion_matrix(mask, truth, classes).cpu()
    if not boundaries:
        return MaskCounts(confusion)
    return MaskCounts(
        confusion,
        boundary_counts(mask, truth, classes).cpu(),
        contour_counts(mask, truth, classes).cpu(),
    )


@dataclass
class Tally:
    """The running sums of one evaluation.

    Tag scores are kept image by image, since average precision needs their ranks: k numbers an
    image, no pixels.

    Attributes:
        classes: number of classes, background included.
        threshold: the fixed background score; None where masks come finished.
        boundaries: whether to count outlines.
        leave_undecided: leave out pixels whose prediction is 255, and count them.
    """

    classes: int
    threshold: float | None
    boundaries: bool
    leave_undecided: bool = False
    undecided: int = 0
    images: int = 0
    pixels: int = 0
    ignored: int = 0
    fixed: MaskCounts | None = None
    histogram: Int64[Tensor, "c k bins"] | None = None
    tag_scores: list[Float[Tensor, " k"]] = field(default_factory=list)
    tags: list[Float[Tensor, " k"]] = field(default_factory=list)

    def add(
        self,
        prediction: UInt8[Tensor, "h w"] | ScoredImage,
        truth: UInt8[Tensor, "h w"],
        tags: Float[Tensor, " k"] | None,
    ) -> None:
        """Add one image.

        Raises:
            ValueError: if a value of the prediction or the ground truth is out of range.
        """
        self.images += 1
        self.pixels += truth.numel()
        self.ignored += int((truth == IGNORE).sum())
        mask = self._mask(prediction, truth)
        truth = self._decided(mask, truth)
        counts = count_mask(mask, truth, self.classes, boundaries=self.boundaries)
        self.fixed = counts if self.fixed is None else self.fixed + counts
        if isinstance(prediction, ScoredImage):
            self._add_tags(prediction.tag_scores, tags)

    def _decided(
        self, mask: UInt8[Tensor, "h w"], truth: UInt8[Tensor, "h w"]
    ) -> UInt8[Tensor, "h w"]:
        """Return the ground truth, ignored where the mask is undecided and may be."""
        if not self.leave_undecided:
            return truth
        undecided = (mask == IGNORE) & (truth != IGNORE)
        self.undecided += int(undecided.sum())
        return truth.masked_fill(undecided, IGNORE)

    def _add_tags(
        self, scores: Float[Tensor, " k"] | None, tags: Float[Tensor, " k"] | None
    ) -> None:
        if scores is not None and tags is not None:
            self.tag_scores.append(scores.float().cpu())
            self.tags.append(tags.float().cpu())

    def _mask(
        self, prediction: UInt8[Tensor, "h w"] | ScoredImage, truth: UInt8[Tensor, "h w"]
    ) -> UInt8[Tensor, "h w"]:
        """Return the labels at the fixed threshold; scores are counted for the sweep as well."""
        if not isinstance(prediction, ScoredImage):
            return prediction
        if self.threshold is None:
            raise ValueError("scores need a fixed threshold")
        score = prediction.score.float()
        counts = score_histogram(prediction.winner, score, truth, self.classes).cpu()
        self.histogram = counts if self.histogram is None else _sum(self.histogram, counts)
        return threshold_mask(prediction.winner, score, self.threshold)


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return None if one is None or other is None else one + other
