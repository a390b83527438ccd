"""How fast the synthetic set is rendered and written, on one core.

Run: OMP_NUM_THREADS=1 python benchmarks/synth_speed.py [--images 60] [--size 192]

CPU time is what the process itself used; on a busy machine it says more than the clock.
"""

import argparse
import tempfile
import time
from pathlib import Path

from dealseg.data.synthetic import film_scene, write_synthetic
from dealseg.data.synthetic.plan import FRAMES


def rate(images: int, size: int, *, files: bool) -> tuple[float, float]:
    """Return images a second by the CPU's time and by the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    if files:
        with tempfile.TemporaryDirectory() as folder:
            write_synthetic(Path(folder), images=images, val_images=0, size=size, progress=False)
    else:
        for scene in range(images // FRAMES):
            for _ in film_scene(0, 0, scene, size):
                pass
    return images / (time.process_time() - cpu), images / (time.perf_counter() - clock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--size", type=int, default=192)
    args = parser.parse_args()
    images = max(args.images // FRAMES, 1) * FRAMES
    print(f"{images} images of {args.size} x {args.size}")
    for name, files in (("rendered", False), ("rendered and written", True)):
        cpu, clock = rate(images, args.size, files=files)
        print(f"{name:22s} {cpu:5.1f} images / CPU second   {clock:5.1f} images / second")


if __name__ == "__main__":
    main()
