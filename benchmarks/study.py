"""Train and judge variants over seeds: the rows of docs/results.md.

    python benchmarks/study.py DATA --out runs/study --seeds 0 1 2 \
        --variant baseline losses=none --variant deal losses=deal \
        --variant shuffled losses=deal deal.shuffle=true --set optim.epochs=4

Each (variant, seed) is one run folder and one line of `results.jsonl`; finished ones are skipped,
so an interrupted study goes on. Runs of one data set share their cached features.
"""

import argparse
import json
import statistics
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml

from dealseg.config import TrainConfig
from dealseg.data import open_dataset
from dealseg.judging import judge
from dealseg.labeling import label_options
from dealseg.models.runs import from_mapping
from dealseg.training import train

FIGURES = ("fixed", "oracle", "oracle_threshold", "boundary_iou", "contour_f", "tag_map")


def nested(settings: list[str]) -> dict[str, Any]:
    """Turn `deal.weight=0.1` into {"deal": {"weight": 0.1}}."""
    result: dict[str, Any] = {}
    for setting in settings:
        path, value = setting.split("=", 1)
        *groups, name = path.split(".")
        inner = result
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[name] = yaml.safe_load(value)
    return result


def run_one(args: argparse.Namespace, variant: str, settings: list[str], seed: int) -> dict:
    """Train, judge and return the figures of one run."""
    config = from_mapping(TrainConfig, nested([*args.set, *settings, f"seed={seed}"]))
    out = args.out / f"{variant}-{seed}"
    images = open_dataset(args.data, split=args.train_split)
    train(images, out, config, resume=True, cache_dir=args.out / ".features")
    options = label_options(config, scales=tuple(args.scales), threshold=args.threshold)
    val = open_dataset(args.data, split=args.split)
    result = judge(out, val, options, "fixed", split=args.split)
    result.write_result(out / "evaluation.json")
    return {"variant": variant, "seed": seed, **figures(result), "commit": commit(),
            "config": asdict(config)}  # fmt: skip


def figures(result: Any) -> dict[str, float]:
    """Return the figures of a results table, in percent."""
    values = {
        "fixed": result.fixed.mean_iou,
        "oracle": result.oracle.mean_iou,
        "oracle_threshold": result.oracle.threshold / 100,
        "boundary_iou": result.fixed.mean_boundary_iou,
        "contour_f": result.fixed.mean_contour_f,
        "tag_map": result.tags.mean_average_precision,
    }
    return {name: round(100 * value, 2) for name, value in values.items()}


def commit() -> str:
    """Return the commit of the code."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def table(rows: list[dict]) -> str:
    """Return mean and standard deviation over the seeds of each variant, as Markdown."""
    lines = ["| variant | seeds | " + " | ".join(FIGURES) + " |", "|---" * (2 + len(FIGURES)) + "|"]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        mine = [row for row in rows if row["variant"] == variant]
        cells = [spread([row[name] for row in mine], name) for name in FIGURES]
        lines.append(f"| {variant} | {len(mine)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spread(values: list[float], name: str) -> str:
    digits = 2 if name == "oracle_threshold" else 1
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variant", nargs="+", action="append", required=True)
    parser.add_argument("--set", nargs="*", default=[], help="settings of all variants")
    parser.add_argument("--train-split", default="train")
    parser.add_argument("--split", default="val")
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0])
    parser.add_argument("--threshold", type=float, help="by default the method's own")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.out / "results.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    done = {(row["variant"], row["seed"]) for row in rows}
    for seed in args.seeds:
        for variant, *settings in args.variant:
            if (variant, seed) not in done:
                rows.append(run_one(args, variant, settings, seed))
                with log.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
                print({k: v for k, v in rows[-1].items() if k != "config"}, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
