"""Time and resident memory of listing a COCO data set, and of using it without drawing masks.

Usage: `python benchmarks/listing.py [--images 100000] [--objects 7] [--points 22]`. It writes an
annotation file of COCO's kind with made-up outlines into a temporary folder (with the defaults as
much text for each image as COCO's own has), and empty files in place of the images. Each
measurement runs in a process of its own: `json` is json.loads of the file, for comparison; `first`
reads it entry by entry; `again` reads what was kept of it; `tags` adds the tags of every image, as
a training reads them. Memory is the peak resident size beyond that of the process before. Seconds
are those of the processor, which on one thread leaves out what else the machine does.
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

KEY = "train2014"


def write(root: Path, images: int, objects: int, points: int, seed: int = 0) -> Path:
    rng = random.Random(seed)
    (root / KEY).mkdir()
    (root / "annotations").mkdir()
    file = root / f"annotations/instances_{KEY}.json"
    ids = [13 * n + 9 for n in range(images)]
    with file.open("w") as out:
        out.write('{"info": {}, "images": [')
        for n, image_id in enumerate(ids):
            name = f"COCO_{KEY}_{image_id:012d}.jpg"
            (root / KEY / name).touch()
            entry = {"license": 1, "file_name": name, "height": 480, "width": 640, "id": image_id}
            out.write(("," if n else "") + json.dumps(entry))
        out.write('], "annotations": [')
        for n in range(images * objects):
            outline = [round(rng.uniform(0, 480), 2) for _ in range(2 * points)]
            entry = {
                "segmentation": [outline], "area": rng.uniform(1, 9999), "iscrowd": 0,
                "image_id": rng.choice(ids), "bbox": outline[:4],
                "category_id": rng.randint(1, 80), "id": n,
            }  # fmt: skip
            out.write(("," if n else "") + json.dumps(entry))
        kinds = [{"id": k, "name": f"class {k}", "supercategory": ""} for k in range(1, 81)]
        out.write(f'], "categories": {json.dumps(kinds)}}}')
    return file


def peak() -> float:
    """Return the peak resident memory of this process in MB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (1e6 if sys.platform == "darwin" else 1e3)


def measured(name: str, root: Path) -> tuple[str, float, float, int]:
    """Return name, seconds, megabytes and the number of images, measured here."""
    from dealseg.data import open_dataset  # noqa: PLC0415 - so that only its use is measured

    def listed(*, tags: bool) -> int:
        dataset = open_dataset(root, split="train_full")
        if tags:
            for index in range(len(dataset)):
                dataset.tags(index)
        return len(dataset)

    def whole() -> int:
        return len(json.loads((root / f"annotations/instances_{KEY}.json").read_text())["images"])

    todo: dict[str, Callable[[], int]] = {
        "json": whole,
        "first": lambda: listed(tags=False),
        "again": lambda: listed(tags=False),
        "again, tags": lambda: listed(tags=True),
    }
    before, start = peak(), time.process_time()
    count = todo[name]()
    return name, time.process_time() - start, peak() - before, count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--objects", type=int, default=7, help="per image; COCO has 7.3")
    parser.add_argument("--points", type=int, default=22, help="of each outline")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ["DEALSEG_CACHE"] = str(root / "kept")
        file = write(root, options.images, options.objects, options.points)
        size = file.stat().st_size / 1e6
        print(f"{options.images} images, {options.images * options.objects} objects, {size:.0f} MB")
        context = multiprocessing.get_context("spawn")
        for name in ("json", "first", "again", "again, tags"):
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                found, seconds, megabytes, count = pool.submit(measured, name, root).result()
            print(f"{found:12} {seconds:6.2f} s  {megabytes:7.0f} MB  ({count} images)")
        kept = next((root / "kept").rglob("index.npz")).stat().st_size / 1e6
        print(f"kept on disk: {kept:.0f} MB")


if __name__ == "__main__":
    main()
