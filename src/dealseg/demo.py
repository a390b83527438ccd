"""The main job on embedded data: train with and without DEAL, label, evaluate, report."""

from collections.abc import Callable
from pathlib import Path

from dealseg.config import DataConfig, OptimConfig, TrainConfig
from dealseg.data import open_dataset
from dealseg.data.synthetic import write_synthetic
from dealseg.evaluation import EvaluationResult
from dealseg.judging import judge
from dealseg.labeling import LabelOptions, label_dataset
from dealseg.models import load_run
from dealseg.report import write_report
from dealseg.training import train

BASELINE, DEAL = "baseline", "deal"
LONG_SIDE = 320
"""The 192-pixel pictures are enlarged, so that the CAM has 20x20 cells."""


def run_demo(out: Path, *, seed: int, images: int, epochs: int, say: Callable[[str], None]) -> str:
    """Run the demo and return the two figures and where the report is.

    Every step keeps what an interrupted call had finished.

    Args:
        out: folder for the data, the two runs, their masks and the report.
        seed: of data and training.
        images: training images to render.
        epochs: passes over them, for each training.
        say: told at the start of each step.
    """
    data = out / "data"
    say(f"1/5 render {images} training and {_val(images)} test images into {data}")
    write_synthetic(data, images=images, val_images=_val(images), seed=seed)
    for step, (name, losses) in enumerate(((BASELINE, "none"), (DEAL, "deal")), start=2):
        say(f"{step}/5 train on image tags, {_with(losses)}")
        config = TrainConfig(
            losses=losses,
            seed=seed,
            data=DataConfig(split="train", long_side=LONG_SIDE),
            optim=OptimConfig(epochs=epochs),
        )
        train(open_dataset(data, split="train"), out / name, config, resume=True)
    say("4/5 write masks of the test images and judge them")
    results = {name: _label_and_judge(out, name) for name in (BASELINE, DEAL)}
    say("5/5 draw the report")
    val = open_dataset(data, split="val")
    page = write_report([out / BASELINE, out / DEAL], out / "report.html", data=val)
    return _summary(results, page)


def _val(images: int) -> int:
    return max(10, images // 4)


def _with(losses: str) -> str:
    return "with the Depth Edge Alignment Loss" if losses == "deal" else "baseline without depth"


def _label_and_judge(out: Path, name: str) -> EvaluationResult:
    dataset = open_dataset(out / "data", split="val")
    options = LabelOptions(scales=(1.0,))
    label_dataset(load_run(out / name), dataset, out / f"masks-{name}", options, "default")
    result = judge(out / name, dataset, options, "default", split="val")
    result.write_result(out / name / "evaluation.json")
    return result


def _summary(results: dict[str, EvaluationResult], page: Path) -> str:
    lines = [
        f"{name:>8}: mIoU {100 * result.fixed.mean_iou:.1f} % at the fixed threshold "
        f"{result.fixed.threshold:g}, ORACLE {100 * _oracle(result):.1f} %"
        for name, result in results.items()
    ]
    return "\n".join([*lines, f"report: {page}", f"masks:  {page.parent / 'masks-deal' / 'masks'}"])


def _oracle(result: EvaluationResult) -> float:
    return result.oracle.mean_iou if result.oracle is not None else float("nan")
