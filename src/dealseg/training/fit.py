"""A training from data set to run folder, resumable after any interruption."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch.utils.data import Dataset

from dealseg.config import TrainConfig
from dealseg.data import RgbdDataset
from dealseg.data.noisy import NoisyDepth
from dealseg.errors import ConfigError, DataError
from dealseg.models import CamModel, create
from dealseg.models.combinations import check_combination
from dealseg.models.initialising import initialise
from dealseg.models.registry import method
from dealseg.models.runs import RunFacts, save_weights
from dealseg.noise import parse_noise
from dealseg.training.added import attached_cam
from dealseg.training.augmentation import sample_size
from dealseg.training.cache import build_colours, build_edges, build_features, cache_stem
from dealseg.training.claim import claim
from dealseg.training.preparing import (
    batches,
    carry_out,
    chosen_device,
    chosen_profile,
    state_of,
    step_count,
)
from dealseg.training.running import World, own_randomness
from dealseg.training.samples import (
    Batch,
    CachedSamples,
    ImageSamples,
    common_size,
    required_tags,
    shuffled,
)
from dealseg.training.task import CamTask


def train(
    dataset: RgbdDataset,
    out: Path,
    config: TrainConfig,
    *,
    resume: bool = False,
    cache_dir: Path | None = None,
) -> Path:
    """Train a CAM network on a data set's tags and write the run folder.

    Checkpoints are written after every epoch. Interrupted, the same call with `resume` goes on
    there and, on a CPU, ends with the weights of an undisturbed training. The caller's random
    state is not changed.

    Args:
        dataset: images with tags; depth where the alignment loss is to act. Masks are not read.
        out: the run folder. Nothing is written there before the training can begin.
        config: everything else.
        resume: go on with an unfinished run; a finished one is left as it is.
        cache_dir: folder for the cached profile's features; by default `.features` beside `out`.

    Raises:
        DataError: if the data cannot be trained on, or `out` is taken.
        ConfigError: if options do not go together, or the loss becomes infinite.
        CheckpointError: if weights or a checkpoint cannot be read, or `out` had other options.
    """
    edited_tags = getattr(dataset, "edited_tags", None)
    if config.depth_noise is not None:
        dataset = NoisyDepth(dataset, parse_noise(config.depth_noise), config.seed)
    world = World.of_environment()
    device = chosen_device(config)
    with own_randomness(config.seed, device, world):
        config = _decided(config, device, world)
        _require_trainable(dataset, config)
        root, kind = str(dataset.root.resolve()), dataset.depth_info.kind
        facts = RunFacts(dataset.classes, root, kind, edited_tags)
        if state_of(out, config, facts, resume, world) != "finished":
            _train(dataset, out, config, facts, world, cache_dir or out.parent / ".features")
    return out


def _train(
    dataset: RgbdDataset,
    out: Path,
    config: TrainConfig,
    facts: RunFacts,
    world: World,
    cache_dir: Path,
) -> None:
    size = sample_size(config, common_size(dataset, config.data.long_side))
    model = _build_model(config, facts)
    samples = _samples(dataset, model, config, size, cache_dir)
    loader = batches(samples, config, world)
    steps = step_count(loader, config)
    task = CamTask(model, config, dataset.depth_info.kind, steps, size)
    carry_out(
        task, loader, out, config, world, images=len(dataset),
        begin=partial(claim, out, config, facts), save=partial(save_weights, out, model),
    )  # fmt: skip


def _decided(config: TrainConfig, device: str, world: World) -> TrainConfig:
    """Fill in what `auto` and None stand for, so that the run folder says what was done."""
    check_combination(config)
    backbone = config.model.backbone or method(config.method).default_backbone
    config = replace(config, device=device, model=replace(config.model, backbone=backbone))  # type: ignore[arg-type]
    stages = _stage_count(config)
    profile = chosen_profile(config, device, world, stages)
    frozen = config.frozen_stages
    if frozen is None:
        frozen = _all_but_last(config, stages) if profile == "cached" else 0
    return replace(config, profile=profile, frozen_stages=frozen)  # type: ignore[arg-type]


def _all_but_last(config: TrainConfig, stages: int) -> int:
    if stages == 1:
        raise ConfigError(
            f"model.backbone {config.model.backbone} is one stage to us, nothing of it can be "
            "cached; take --profile full, or an EfficientNet, ResNet, ConvNeXt or plain ViT"
        )
    return stages - 1


def _stage_count(config: TrainConfig) -> int:
    """Build the network without its weights, to count its stages."""
    options = {**vars(config.model), "pretrained": False, "weights": None}
    return create(config.method, classes=1, **options).stage_count


def _require_trainable(dataset: RgbdDataset, config: TrainConfig) -> None:
    if len(dataset) == 0:
        raise DataError(f"{dataset.root}: no images to train on")
    if not dataset.classes:
        raise DataError(f"{dataset.root}: no classes; give tags (see docs/data.md)")
    for index in range(len(dataset)):
        required_tags(dataset, index)
    if "deal" not in config.loss_names:
        return
    if all(dataset.depth(index) is None for index in range(len(dataset))):
        raise DataError(
            f"{dataset.root}: no depth found in {config.data.depth_folder!r}, which the depth edge "
            "alignment needs; give --data.depth_folder, or train with --losses none"
        )


def _build_model(config: TrainConfig, facts: RunFacts) -> CamModel:
    pretrained = config.model.pretrained and not config.init  # which fills the backbone as well
    model = create(
        config.method,
        classes=len(facts.classes),
        frozen_stages=config.frozen_stages or 0,
        generator=torch.Generator().manual_seed(config.seed),
        **{**vars(config.model), "pretrained": pretrained},
    )
    if config.init:
        initialise(model, Path(config.init))
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
    return model


def _samples(
    dataset: RgbdDataset,
    model: CamModel,
    config: TrainConfig,
    size: tuple[int, int],
    cache_dir: Path,
) -> Dataset[Batch]:
    count, deal = len(dataset), "deal" in config.loss_names
    depth_of = shuffled(count, config.seed) if config.deal.shuffle else tuple(range(count))
    if config.profile == "full":
        depths = depth_of if deal else None
        return ImageSamples(dataset, size, config.augment, config.seed, depths)
    stem = cache_stem(cache_dir, dataset, config, config.frozen_stages or 0, size)
    features = build_features(stem, dataset, model, size)
    tags = torch.stack([required_tags(dataset, index) for index in range(count)])
    edges = build_edges(dataset, config.deal, size, depth_of) if deal else None
    colours = None
    if "fsl" in config.loss_names:
        colours = build_colours(dataset, size, _cam_grid(model, config, size))
    return CachedSamples(features, tags, edges, colours, config.augment.flip, config.seed)


@torch.no_grad()
def _cam_grid(model: CamModel, config: TrainConfig, size: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of the CAM that the feature similarity acts on."""
    was = model.training
    output = model.eval()(torch.zeros(1, 3, *size))
    model.train(was)
    cam = output.cams[attached_cam(type(model), config, "fsl")]
    return cam.shape[-2], cam.shape[-1]
