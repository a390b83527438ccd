"""Writes tiny data sets in VOC's format by hand: boxes on noise, every part under control."""

from pathlib import Path

import numpy as np
from make_folder import SIZE, millimetres, save, save_palette, scene

from dealseg.data.voc_tags import CLASSES

OBJECTS = {
    "2007_000032": ("aeroplane", "person"),
    "2007_000039": ("tvmonitor",),
    "2008_000008": ("horse", "person"),  # of SBD only
    "2007_000033": ("aeroplane",),  # validation
}
TRAIN, AUG, VAL = ("2007_000032", "2007_000039"), ("2008_000008",), ("2007_000033",)
PART = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"


def quarters(names: tuple[str, ...], *, rim: bool = True) -> np.ndarray:
    """Return a mask in which the n-th object covers the n-th quarter of the columns."""
    mask = np.zeros(SIZE, np.uint8)
    for place, name in enumerate(names):
        mask[4:-4, 8 * place : 8 * place + 8] = CLASSES.index(name) + 1
        if rim:
            mask[4:-4, 8 * place] = 255
    return mask


def xml(names: tuple[str, ...]) -> str:
    objects = "".join(
        f"<object><name>{name}</name>{PART}<difficult>1</difficult></object>" for name in names
    )
    return f"<annotation><folder>VOC2012</folder>{objects}</annotation>"


def rows(objects=OBJECTS) -> dict[str, np.ndarray]:
    """Return the 20 numbers of each image."""
    return {name: np.isin(CLASSES, shown).astype(np.float32) for name, shown in objects.items()}


def save_table(file: Path, table) -> Path:
    np.save(file, table, allow_pickle=True)
    return file


def write_list(home: Path, name: str, lines) -> Path:
    file = home / f"ImageSets/Segmentation/{name}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines))  # as in the wild: no line break at the end
    return file


def write_voc(
    root: Path, *, table: bool = True, annotations: bool = True, aug: bool = True
) -> Path:
    """Write `VOCdevkit/VOC2012` and return it."""
    home = root / "VOCdevkit/VOC2012"
    for seed, (name, shown) in enumerate(OBJECTS.items()):
        image, depth, _ = scene(seed)
        save(home / f"JPEGImages/{name}.jpg", image)
        save(home / f"depth/{name}.png", millimetres(depth))
        if name not in AUG:
            save_palette(home / f"SegmentationClass/{name}.png", quarters(shown))
        if aug:
            save(home / f"SegmentationClassAug/{name}.png", quarters(shown, rim=False))
        if annotations:
            (home / "Annotations").mkdir(exist_ok=True)
            (home / f"Annotations/{name}.xml").write_text(xml(shown))
    lists = {"train": TRAIN, "train_aug": TRAIN + AUG, "val": VAL, "trainval": TRAIN + VAL}
    for name, names in lists.items():
        write_list(home, name, names)
    if table:
        save_table(home / "cls_labels.npy", rows())
    return home
