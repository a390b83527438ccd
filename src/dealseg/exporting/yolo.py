"""YOLO segmentation: a text file of polygons for each image, and `data.yaml`."""

from pathlib import Path

import numpy as np
import yaml

from dealseg.exporting.contours import polygon
from dealseg.exporting.instances import Instance, find_instances
from dealseg.exporting.naming import flat_names, split_label
from dealseg.exporting.options import ExportOptions
from dealseg.exporting.pictures import place_image, write_names
from dealseg.exporting.source import Source
from dealseg.exporting.target import write_lines

DEFAULTS = {"images": "copy", "min_area": 0}


def write_yolo(source: Source, folder: Path, options: ExportOptions) -> list[str]:
    """Write `images/SPLIT/`, `labels/SPLIT/NAME.txt`, `data.yaml` and `names.csv`.

    A line is an object, always a connected component: its class from 0, then the points of its
    outline, x and y in turn, as shares of width and height. The outline goes through the centres
    of the border pixels; holes are joined to it by cuts (see :mod:`dealseg.exporting.contours`).
    YOLO has no value for ignored pixels: they are background. Images without an object get an
    empty file, which makes them background images.
    """
    flat = flat_names(source.names)
    split = split_label(source.split, "train")
    for item in source.items():
        name = flat[item.name]
        found = find_instances(item.mask, "components", options.min_area or 0)
        write_lines(folder / f"labels/{split}/{name}.txt", [yolo_line(each) for each in found])
        place_image(item.image, folder / f"images/{split}" / name, str(options.images))
    write_lines(folder / "data.yaml", _description(source, split))
    write_names(folder / "names.csv", flat)
    return [f"data.yaml names images/{split} as train and val; export the other split and add it"]


def yolo_line(found: Instance) -> str:
    """Return the line of an object: class from 0 and the outline's points in [0, 1].

    A point is the centre of a pixel, (x + 0.5) / width, so that readers that multiply by the width
    and drop the fraction get the pixel back. Objects of one or two points repeat the last, as
    three are the least.
    """
    points = np.add(polygon(found.pixels), (found.left, found.top))
    points = np.concatenate([points, np.repeat(points[-1:], max(0, 3 - len(points)), axis=0)])
    height, width = found.size
    shares = (points + 0.5) / (width, height)
    return f"{found.value - 1} " + " ".join(f"{share:.7g}" for share in shares.reshape(-1))


def _description(source: Source, split: str) -> list[str]:
    names = dict(enumerate(source.classes))
    content = {"train": f"images/{split}", "val": f"images/{split}", "names": names}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return [
        "# Classes are numbered from 0: mask value less one; there is no background class.",
        *text.splitlines(),
    ]
