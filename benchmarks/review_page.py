"""Measure the review page on many images: `python benchmarks/review_page.py [IMAGES]`.

A data set of IMAGES (10,000) pictures of 640x480 and their masks is made of hard links to 20 drawn
from a seed; `dealseg review` runs on it as a user starts it, and is asked over one connection. A
link is a file of its own to the page: every thumbnail is drawn. The processor's time is the
server's alone, whatever else the machine does.
"""

import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

DRAWN = 20
SIZE = (480, 640)
CLASSES = ("cup", "box", "ball", "can", "soap")


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of smooth noise and a mask of boxes."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    image = np.asarray(small.resize(SIZE[::-1], Image.Resampling.BICUBIC))
    mask = np.zeros(SIZE, np.uint8)
    for value in range(1, 4):
        top, left = rng.integers(0, 300), rng.integers(0, 400)
        mask[top : top + 150, left : left + 200] = value
    return image, mask


def write(root: Path, images: int) -> None:
    """Write `data` and `masks` below a folder."""
    for part in ("drawn", "data/images", "masks/masks"):
        (root / part).mkdir(parents=True)
    for seed in range(DRAWN):
        image, mask = draw(seed)
        Image.fromarray(image).save(root / f"drawn/{seed}.jpg", quality=90)
        Image.fromarray(mask).save(root / f"drawn/{seed}.png")
    names = [f"{number:06d}" for number in range(images)]
    for number, name in enumerate(names):
        os.link(root / f"drawn/{number % DRAWN}.jpg", root / f"data/images/{name}.jpg")
        os.link(root / f"drawn/{number % DRAWN}.png", root / f"masks/masks/{name}.png")
    rows = "".join(f"{name},cup;box;ball\n" for name in names)
    (root / "data/tags.csv").write_text(f"name,tags\n{rows}")
    (root / "data/dataset.yaml").write_text(f"classes: [{', '.join(CLASSES)}]\n")
    rng = np.random.default_rng(0)
    sure = {name: {"confidence": round(float(rng.random()), 4)} for name in names}
    (root / "masks/labels.json").write_text(json.dumps({"classes": CLASSES, "masks": sure}))


class Page:
    """The running command and a connection to it."""

    def __init__(self, root: Path):
        words = [sys.executable, "-m", "dealseg", "review", str(root / "masks"), str(root / "data")]
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [*words, "--open", "false", "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "DEALSEG_CACHE": str(root / "cache")},
        )
        line = next(each for each in self.process.stdout or () if each.startswith("open "))
        self.start = time.perf_counter() - began
        port, token = re.findall(r":(\d+)/\?token=(\S+)", line)[0]
        self.connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
        self.headers = {"Cookie": f"dealseg-review-{port}={token}"}
        self.headers["Origin"] = f"http://127.0.0.1:{port}"
        self.headers["Content-Type"] = "application/json"

    def ask(self, target: str, action: object = None) -> bytes:
        """Return what an address answers."""
        body = None if action is None else json.dumps(action)
        self.connection.request("POST" if body else "GET", target, body, self.headers)
        response = self.connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise SystemExit(f"{target}: {response.status} {content!r}")
        return content

    def processor(self) -> float:
        """Return the seconds that processors worked for the server; 0 where nobody tells."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        if not stat.exists():
            return 0.0
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> str:
        """Return the most memory the server has held, where the system tells."""
        status = Path(f"/proc/{self.process.pid}/status")
        found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
        return f"{int(found[1]) / 1024:.0f} MiB" if found else "not told"


def measure(page: Page, title: str, ask: Callable[[int], object], times: int = 100) -> None:
    """Print the median and the 95th percentile of the time that calls take, and the processor's."""
    taken, busy = [], page.processor()
    for number in range(times):
        began = time.perf_counter()
        ask(number)
        taken.append(1000 * (time.perf_counter() - began))
    busy = 1000 * (page.processor() - busy) / times
    high = statistics.quantiles(taken, n=20)[-1]
    told = f"{statistics.median(taken):.1f} ms | {high:.1f} ms | {busy:.1f} ms"
    print(f"| {title} | {told} |", flush=True)


def main(images: int) -> None:
    """Make the data, start the page, ask."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, images)
        page = Page(root)
        bare = page.memory()
        ids = json.loads(page.ask("/api/order"))["ids"]
        some = [ids[i * len(ids) // 1000] for i in range(1000)]
        busy = page.processor()
        print(f"{images} images; start {page.start:.1f} s (processor {busy:.1f} s), {bare} then\n")
        print("| asked for | median | 95 % | processor |\n| --- | --- | --- | --- |")
        measure(page, "ids of all masks, least sure first", lambda _: page.ask("/api/order"))
        measure(
            page,
            "ids of the open masks of a class",
            lambda _: page.ask("/api/order?status=open&tag=cup"),
        )
        hundred = [",".join(map(str, some[n * 10 : n * 10 + 100])) for n in range(90)]
        measure(
            page,
            "a page of 100 descriptions",
            lambda n: page.ask(f"/api/items?ids={hundred[n]}"),
            90,
        )
        measure(page, "a thumbnail, drawn", lambda n: page.ask(f"/picture/{some[n]}/thumbnail"))
        measure(page, "a thumbnail, kept", lambda n: page.ask(f"/picture/{some[n]}/thumbnail"))
        measure(page, "the image", lambda n: page.ask(f"/picture/{some[n]}/image"))
        measure(page, "its mask", lambda n: page.ask(f"/picture/{some[n]}/filled"))
        measure(page, "what is in the mask", lambda n: page.ask(f"/api/facts/{some[n]}"))
        accept = {"verdict": "accepted"}
        measure(page, "accept", lambda n: page.ask(f"/api/act/{some[n]}", accept))
        for place in ids[: images // 10]:
            page.ask(f"/api/act/{place}", accept)
        measure(
            page,
            f"accept, after {images // 10}",
            lambda n: page.ask(f"/api/act/{some[n]}", {"verdict": "rejected"}),
        )
        measure(page, "find a name", lambda n: page.ask(f"/api/find?text={some[n]:06d}"))
        print(f"\nmost memory held: {page.memory()}")
        page.process.send_signal(signal.SIGINT)
        page.process.wait(30)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
