"""Photograph the pages: `python benchmarks/screenshots.py runs/demo docs/images`.

Takes the folder that `dealseg demo` wrote and needs Chromium. Writes `review.png`, the review page
with the least sure third of the masks judged but for the first (into a temporary file, not the
demo's), and `report.png`, the top of the report.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from dealseg.data.mask_set import open_masks
from dealseg.data.review import Review, write_review

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@contextmanager
def review_page(masks: Path, data: Path) -> Iterator[str]:
    """Run the review command in the block and give the address that lets a browser in."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "review.json")
        found = open_masks(masks)
        names = sorted(found.names, key=lambda name: found.confidence(name) or 0.0)
        judged = {name: "rejected" if i % 5 == 4 else "accepted" for i, name in enumerate(names)}
        write_review(out, Review({name: judged[name] for name in names[1 : len(names) // 3]}))  # type: ignore[arg-type]
        words = [sys.executable, "-m", "dealseg", "review", str(masks), str(data)]
        words += ["--out", str(out), "--open", "false", "--port", "0"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            yield next(
                said[1] for line in process.stdout or () if (said := re.match("open (.+)", line))
            )
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def photograph(address: str, out: Path, width: int, height: int) -> None:
    """Write a picture of a page."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"needs a browser: {', '.join(BROWSERS)}")
    words = [browser, "--headless=new", "--hide-scrollbars", "--force-color-profile=srgb"]
    words += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder:
        words += [f"--user-data-dir={folder}", f"--window-size={width},{height}"]
        words += ["--virtual-time-budget=15000", f"--screenshot={out.resolve()}", address]
        subprocess.run(words, check=True, stderr=subprocess.DEVNULL, timeout=120)
    with Image.open(out) as picture:
        plain = picture.convert("RGB")
    plain.save(out, optimize=True)
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB")


def main(demo: Path, out: Path) -> None:
    """Photograph both pages of a demo."""
    with review_page(demo / "masks-deal", demo / "data") as address:
        photograph(address, out / "review.png", 1120, 680)
    photograph((demo / "report.html").resolve().as_uri(), out / "report.png", 1200, 1620)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
