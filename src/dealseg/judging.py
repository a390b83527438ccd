"""A run of either stage, masks or CAM arrays against ground truth."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from dealseg.data import RgbdDataset
from dealseg.errors import ConfigError, DataError
from dealseg.evaluation import EvaluationResult, ScoredImage, SourceInfo, evaluate, open_source
from dealseg.evaluation.sources import CamFolder, MaskFolder
from dealseg.labeling import LabelOptions, score_dataset, with_threshold
from dealseg.models import Run, load_run
from dealseg.models.placing import Device, device_of
from dealseg.models.runs import CONFIG_FILE
from dealseg.models.segmenter import TENSORS_FILE, Segmenter, is_segmenter

_ALONG = {
    "auto": "colour, and depth where there is some",
    True: "colour and depth",
    False: "colour alone",
}
"""What `refine_depth` means, in words."""


class RunScores:
    """The scored images of a run, made anew at each pass; memory does not grow with their number.

    Args:
        run: the trained network.
        dataset: its images; only those with ground truth are scored.
        options: scales, flips and tags.
    """

    def __init__(self, run: Run, dataset: RgbdDataset, options: LabelOptions) -> None:
        self.run, self.dataset, self.options = run, dataset, options

    def __iter__(self) -> Iterator[ScoredImage]:
        """Yield winner, score and class probabilities of each image."""
        judged = (i for i in range(len(self.dataset)) if self.dataset.mask(i) is not None)
        for index, scores in score_dataset(self.run, self.dataset, self.options, judged):
            yield ScoredImage(
                self.dataset.names[index], scores.winner, scores.score, scores.tag_scores
            )


class SegmenterScores:
    """The scored images of a segmenter, which sees neither tags nor depth.

    The score of a pixel is the probability of its best class against the background alone: above
    the threshold 0.5 it is the class with the largest logit of all. Of refined probabilities it is
    half of one more than the best class is ahead by, with the same meaning of 0.5.

    Args:
        model: the network, in evaluation mode.
        dataset: its images; only those with ground truth are scored.
        source: its folder, for messages.
        refine: how its masks are refined, along colour.

    Raises:
        DataError: if the classes are not the data set's.
    """

    threshold = 0.5

    def __init__(
        self, model: Segmenter, dataset: RgbdDataset, source: Path, refine: str = "none"
    ) -> None:
        if dataset.classes != model.classes:
            raise DataError(
                f"{dataset.root}: its classes {list(dataset.classes)} are not those of the "
                f"segmenter {source}: {list(model.classes)}"
            )
        self.model, self.dataset, self.refine = model, dataset, refine

    def __iter__(self) -> Iterator[ScoredImage]:
        """Yield winner and score of each image."""
        for index, name in enumerate(self.dataset.names):
            if self.dataset.mask(index) is not None:
                winner, lead = self.model.best_class(self.dataset.image(index), self.refine)
                score = lead.sigmoid() if self.refine == "none" else (1 + lead) / 2
                yield ScoredImage(name, winner.cpu(), score.cpu())


def judge(
    source: Path,
    dataset: RgbdDataset,
    options: LabelOptions,
    threshold_origin: str,
    *,
    split: str,
    boundaries: bool = True,
    allow_subset: bool = False,
    protocol: str = "full",
    device: Device = "auto",
) -> EvaluationResult:
    """Evaluate a run folder of either stage, a folder of masks or a folder of CAM arrays.

    Args:
        source: run folder, or what :func:`dealseg.evaluation.open_source` knows.
        dataset: ground truth and tags.
        options: threshold, and for a run how its CAMs are made.
        threshold_origin: who chose the threshold.
        split: name of the part of the data that `dataset` is.
        boundaries: compute boundary IoU and contour F too.
        allow_subset: accept that predictions are missing for some images.
        protocol: how the oracle threshold is searched for, see :func:`dealseg.evaluation.evaluate`.
        device: where a run's network works; `auto` takes a GPU where there is one.

    Raises:
        ConfigError: if `source` does not exist, there is no such device, or the user chose a
            threshold or a protocol for finished masks.
    """
    if not source.is_dir():
        problem = "is a file" if source.exists() else "no such folder"
        raise ConfigError(f"{source}: {problem}; give the folder of a run, masks or CAM arrays")
    place = device_of(device)
    found: RunScores | SegmenterScores | MaskFolder | CamFolder
    info = None
    if is_segmenter(source):
        model = Segmenter.from_pretrained(source, place)
        found = SegmenterScores(model, dataset, source, options.refine)
        info = _segmenter_info(source, options)
    elif (source / CONFIG_FILE).is_file():
        run = load_run(source, place)
        options, threshold_origin = with_threshold(run, dataset, options, threshold_origin)
        found = RunScores(run, dataset, options)
        info = _run_info(run, options)
    else:
        found = open_source(source)
    if not isinstance(found, RunScores):
        _require_possible(source, options, segmenter=isinstance(found, SegmenterScores))
    threshold, origin = options.threshold, threshold_origin
    if isinstance(found, SegmenterScores) and origin != "user":
        threshold, origin = found.threshold, "largest logit"
    own = isinstance(found, MaskFolder) and origin != "user"
    return evaluate(
        found,
        dataset,
        threshold=None if own else threshold,
        threshold_origin=None if own else origin,
        split=split,
        info=info,
        boundaries=boundaries,
        allow_subset=allow_subset,
        protocol=protocol,
    )


def _run_info(run: Run, options: LabelOptions) -> SourceInfo:
    tags = options.tags if options.tags != "auto" else "data, else predicted"
    refinement = f"{options.refine} along {_ALONG[options.refine_depth]}"
    said = None if options.refine == "none" else refinement
    return SourceInfo("run", str(run.path), tags, str(run.path), run.weights_sha256, said)


def _segmenter_info(source: Path, options: LabelOptions) -> SourceInfo:
    checksum = hashlib.sha256((source / TENSORS_FILE).read_bytes()).hexdigest()
    said = None if options.refine == "none" else f"{options.refine} along {_ALONG[False]}"
    return SourceInfo("segmenter", str(source), "none", str(source), checksum, said)


def _require_possible(source: Path, options: LabelOptions, *, segmenter: bool) -> None:
    """Refuse what is for runs only, and for segmenters.

    Raises:
        ConfigError: for an automatic threshold, refinement of masks, or of a segmenter along depth.
    """
    if options.auto_threshold:
        raise ConfigError(f"threshold auto is for runs, whose CAMs are made anew; {source} is none")
    if options.refine != "none" and not segmenter:
        raise ConfigError(
            f"refine {options.refine} is for runs and segmenters, whose masks are made anew; "
            f"{source} is neither"
        )
    if options.refine != "none" and options.refine_depth is True:
        raise ConfigError(f"refine_depth is for runs; {source}, a segmenter, sees no depth")
