"""Tiny masks with their images, in shapes that formats find hard: holes, thin lines, ignored."""

import csv
import json
from pathlib import Path

import numpy as np
from make_folder import save, save_palette

from dealseg.cli import main

CLASSES = ("cup", "tea pot", "Löffel")
IDS = {"1": 44, "2": 7, "3": 90}
NAMES = ("a.jpg", "b.png", "sub/a b.png", "sub/a_b.jpg", "sub__a b.png", "Grün ☃.png")
"""Images; three of them have the same name once folders and blanks are replaced."""


def blobs(seed: int, size: tuple[int, int] = (30, 37)) -> np.ndarray:
    """Return a mask of coarse blobs with single pixels, holes and ignored borders."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice([0, 0, 1, 2, 3, 255], (-(-size[0] // 6), -(-size[1] // 6)))
    mask = np.kron(coarse, np.ones((6, 6))).astype(np.uint8)[: size[0], : size[1]]
    rows, columns = rng.integers(0, size[0], 40), rng.integers(0, size[1], 40)
    mask[rows, columns] = rng.choice([0, 1, 2, 3, 255], 40)
    return mask


def stem(file: str) -> str:
    return file.rpartition(".")[0]


def write(
    root: Path, names=NAMES, *, empty: str | None = "b.png", **facts
) -> dict[str, np.ndarray]:
    """Write DATA and MASKS below a folder and return the masks by name."""
    masks = {}
    for seed, file in enumerate(names):
        mask = blobs(seed, (30 + seed, 37))
        if file == empty:
            mask[:] = 0
        image = np.random.default_rng(seed).integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
        save(root / "data/images" / file, image)
        save_palette(root / f"masks/masks/{stem(file)}.png", mask)
        masks[stem(file)] = mask
    told = {"classes": list(CLASSES), "data": str(root / "data"), "split": "all", **facts}
    (root / "masks/labels.json").write_text(json.dumps(told))
    return masks


def export(root: Path, name: str, *options: str, out: str = "out") -> Path:
    """Export through the command and return the folder."""
    words = ["export", str(root / "masks"), "--format", name, "--out", str(root / out)]
    assert main([*words, *options]) == 0
    return root / out


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def without_ignored(mask):
    return np.where(mask == 255, 0, mask)


def renamed(folder: Path) -> dict[str, str]:
    with (folder / "names.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: row["exported"] for row in csv.DictReader(file)}
