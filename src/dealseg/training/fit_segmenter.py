"""A training of the second stage from masks to run folder, resumable after any interruption."""

from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dealseg.config import SegmenterTrainConfig
from dealseg.data.labelled import Labelled
from dealseg.errors import ConfigError
from dealseg.models.runs import SegmenterFacts
from dealseg.models.segmenter import TENSORS_FILE, Segmenter
from dealseg.training.augmentation import Size, sample_size
from dealseg.training.cache import build_features, checksum, stem_of
from dealseg.training.claim import claim
from dealseg.training.mask_samples import (
    MaskedFeatures,
    MaskedImages,
    class_weights,
    image_weights,
    masks_at,
)
from dealseg.training.preparing import (
    batches,
    carry_out,
    chosen_device,
    chosen_profile,
    state_of,
    step_count,
)
from dealseg.training.running import World, own_randomness
from dealseg.training.samples import Batch, common_size
from dealseg.training.segmenter_task import SegmenterTask


def train_segmenter(
    dataset: Labelled,
    out: Path,
    config: SegmenterTrainConfig,
    *,
    resume: bool = False,
    cache_dir: Path | None = None,
) -> Path:
    """Train a segmenter on masks and write the run folder, itself a segmenter to be loaded.

    As in the first stage, checkpoints are written after every epoch, and the same call with
    `resume` goes on there and, on a CPU, ends with the weights of an undisturbed training.

    Args:
        dataset: images with their masks.
        out: the run folder. Nothing is written there before the training can begin.
        config: everything else.
        resume: go on with an unfinished run; a finished one is left as it is.
        cache_dir: folder for the cached profile's features; by default `.features` beside `out`.

    Raises:
        DataError: if the masks cannot be trained on, or `out` is taken.
        ConfigError: if options do not go together, or the loss becomes infinite.
        CheckpointError: if weights or a checkpoint cannot be read, or `out` had other options.
    """
    world = World.of_environment()
    device = chosen_device(config)
    with own_randomness(config.seed, device, world):
        config = _decided(config, device, world)
        roots = str(dataset.root.resolve()), str(dataset.masks.root.resolve())
        counts = len(dataset), dataset.rejected, dataset.missing
        facts = SegmenterFacts(dataset.classes, *roots, *counts)
        if state_of(out, config, facts, resume, world, TENSORS_FILE) != "finished":
            _train(dataset, out, config, facts, world, cache_dir or out.parent / ".features")
    return out


def _train(
    dataset: Labelled,
    out: Path,
    config: SegmenterTrainConfig,
    facts: SegmenterFacts,
    world: World,
    cache_dir: Path,
) -> None:
    _require_batches(dataset, config, world)
    model = _build_model(config, facts.classes)
    common = sample_size(config, common_size(dataset, config.data.long_side))
    size = _multiple(common[0], model), _multiple(common[1], model)
    samples = _samples(dataset, model, config, size, cache_dir)
    loader = batches(samples, config, world)
    weights = class_weights(dataset, config.loss)
    task = SegmenterTask(model, config, step_count(loader, config), size, weights)

    def begin() -> None:
        claim(out, config, facts)
        model.save_facts(out)

    def save() -> None:
        task.result().save_pretrained(out)

    carry_out(task, loader, out, config, world, begin=begin, save=save, images=len(dataset))


def _require_batches(dataset: Labelled, config: SegmenterTrainConfig, world: World) -> None:
    """Refuse one image at a time where a norm over the batch sees one value of each image."""
    together = min(config.optim.batch_size, -(-len(dataset) // world.size))
    if together == 1 and config.model.architecture == "deeplabv3plus":
        raise ConfigError(
            "deeplabv3plus cannot be trained on one image at a time: its batch norm over image "
            "averages needs two; give more images or a larger --optim.batch_size, or take "
            "--model.architecture fpn"
        )


def _multiple(side: int, model: Segmenter) -> int:
    """Return a side that the network takes without padding; what is beyond the image is 255."""
    multiple = model.net.multiple
    return -(-side // multiple) * multiple


def _decided(config: SegmenterTrainConfig, device: str, world: World) -> SegmenterTrainConfig:
    """Fill in what `auto` and None stand for, so that the run folder says what was done."""
    bare = Segmenter(("any",), replace(config.model, pretrained=False, weights=None))
    profile = chosen_profile(config, device, world, bare.stage_count)
    frozen = config.frozen_stages
    if frozen is None:
        frozen = bare.stage_count - 2 if profile == "cached" else 0
    if profile == "cached" and frozen < 1:
        raise ConfigError(
            f"nothing of {bare.config.backbone} can be cached, or frozen_stages is {frozen}; take "
            "--profile full"
        )
    model = replace(config.model, backbone=bare.config.backbone)
    return replace(config, device=device, profile=profile, frozen_stages=frozen, model=model)  # type: ignore[arg-type]


def _build_model(config: SegmenterTrainConfig, classes: tuple[str, ...]) -> Segmenter:
    model = Segmenter(
        classes,
        config.model,
        long_side=config.data.long_side,
        frozen_stages=config.frozen_stages or 0,
        generator=torch.Generator().manual_seed(config.seed),
    )
    return model.to(memory_format=torch.channels_last) if config.channels_last else model


def _samples(
    dataset: Labelled, model: Segmenter, config: SegmenterTrainConfig, size: Size, cache_dir: Path
) -> Dataset[Batch]:
    weights = image_weights(dataset, config.loss)
    if config.profile == "full":
        return MaskedImages(dataset, size, config.augment, config.seed, weights)
    stem = stem_of(cache_dir, dataset, _network(config), config.frozen_stages or 0, size)
    features = build_features(stem, dataset, model, size)
    masks = masks_at(dataset, size, _grid(model, size))
    return MaskedFeatures(features, masks, config.augment.flip, config.seed, weights)


def _network(config: SegmenterTrainConfig) -> list[object]:
    """Return what cached features depend on beside the images."""
    model = config.model
    file = [checksum(Path(model.weights))] if model.weights and model.pretrained else []
    facts = {**asdict(model), "weights": None, "width": None, "dropout": None}
    return ["segmenter", facts, file, None if model.pretrained else config.seed]


@torch.no_grad()
def _grid(model: Segmenter, size: Size) -> Size:
    """Return rows and columns of the decoder's logits."""
    was = model.training
    black: Tensor = torch.zeros(1, 3, *size)
    logits = model.eval().decode(model.encode(black), size)
    model.train(was)
    return logits.shape[-2], logits.shape[-1]
