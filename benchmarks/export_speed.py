"""Masks per second and peak memory of every export format.

Usage: `python benchmarks/export_speed.py [--masks 1000] [--formats coco,voc] [--dir FOLDER]`.

Masks are 480x640 with five classes: coarse blobs whose edges wander, a few hundred single pixels
and an ignored rim, from a seed; images are one JPEG under many names (links), so that reading
them costs what it costs. Each format runs in a process of its own; memory is the most that process
held, less what it held when its first mask was read. `--min-area 0` is every format's default.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from dealseg.data import open_dataset
from dealseg.data.mask_set import open_masks
from dealseg.exporting import FORMATS, export_masks

SIZE = (480, 640)
DISTINCT = 40


def mask(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.choice([0, 0, 0, 1, 2, 3, 4, 5], (6, 8))
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    wave = 12 * np.sin(columns / 17 + seed) + 6 * np.sin(columns / 5)
    down = np.clip(rows + wave, 0, SIZE[0] - 1).astype(int) // 80
    right = np.clip(columns + 12 * np.sin(rows / 19), 0, SIZE[1] - 1).astype(int) // 80
    found = coarse[down, right].astype(np.uint8)
    edge = (found[1:, 1:] != found[:-1, 1:]) | (found[1:, 1:] != found[1:, :-1])
    found[1:, 1:][edge] = 255
    found[rng.integers(0, SIZE[0], 100), rng.integers(0, SIZE[1], 100)] = 1
    return found


def write(root: Path, masks: int) -> None:
    """Write DATA and MASKS; files of the same contents are links to one."""
    (root / "data/images").mkdir(parents=True)
    (root / "masks/masks").mkdir(parents=True)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (SIZE[0] // 8, SIZE[1] // 8, 3), dtype=np.uint8)
    Image.fromarray(noise.repeat(8, 0).repeat(8, 1)).save(root / "photo.jpg", quality=90)
    for number in range(masks):
        first = root / f"masks/masks/{number % DISTINCT:06d}.png"
        target = root / f"masks/masks/{number:06d}.png"
        if number < DISTINCT:
            Image.fromarray(mask(number)).save(target)
        else:
            os.link(first, target)
        os.link(root / "photo.jpg", root / f"data/images/{number:06d}.jpg")
    classes = ["cup", "box", "ball", "can", "jar"]
    told = {"classes": classes, "data": str(root / "data")}
    (root / "masks/labels.json").write_text(json.dumps(told))


def held(key: str) -> float:
    """Return MB that this process holds (`VmRSS`) or has held at most (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def measure(root: Path, name: str) -> None:
    """Export once and print one line of JSON."""
    masks, data = open_masks(root / "masks"), open_dataset(root / "data")
    masks.mask(masks.names[0])
    before, start, cpu = held("VmRSS"), time.perf_counter(), time.process_time()
    done = export_masks(masks, data, root / f"out_{name}", name)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    files = [file for file in (root / f"out_{name}").rglob("*") if file.is_file()]
    result = {
        "format": name,
        "masks_per_second": round(done.images / seconds, 1),
        "masks_per_cpu_second": round(done.images / cpu, 1),
        "memory_mb": round(held("VmHWM") - before, 1),
        "files": len(files),
        "written_mb": round(sum(file.stat().st_size for file in files) / 1e6, 1),
    }
    print(json.dumps(result), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--masks", type=int, default=1000)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.inside:
        measure(words.dir, words.inside)
        return
    with tempfile.TemporaryDirectory(dir=words.dir) as folder:
        root = Path(folder) / "set"
        root.mkdir()
        write(root, words.masks)
        for name in words.formats.split(","):
            again = [sys.executable, __file__, "--dir", str(root), "--inside", name]
            subprocess.run(again, check=True)


if __name__ == "__main__":
    main()
