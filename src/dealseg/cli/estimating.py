"""The command that gives depth to images without a sensor's."""

from typing import Literal

from dealseg.cli.data import Format


def depth(
    data: str,
    model: str = "depth-anything/Depth-Anything-V2-Small-hf",
    depth_folder: str = "depth_estimate",
    kind: Literal["auto", "metric", "relative"] = "auto",
    format: Format = "auto",
    split: str | None = None,
    long_side: int | None = None,
    batch_size: int | None = None,
    device: Literal["auto", "cpu", "gpu"] = "auto",
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto",
    threads: int | None = None,
) -> int:
    """Estimate depth for every image with a pretrained network, beside what there is of a sensor's.

    Args:
        data: data set in any of the formats; needs neither tags nor masks.
        model: depth estimation model on the Hugging Face hub, or a folder with one.
        depth_folder: folder to write, a new one, or the same to go on.
        kind: what the model estimates: metres, or relative inverse depth; auto asks the model.
        format: layout; auto looks.
        split: named part of the data set.
        long_side: store maps with at most this many pixels on the longer side; by default at the
            size of the image.
        batch_size: images a step; by default 16 on a GPU, 1 on a CPU.
        device: auto takes a GPU where there is one.
        precision: auto is 16-mixed on a GPU, else 32-true.
        threads: that read and write files; by default as many as processors, at most 8.
    """
    from dealseg.data.opening import list_dataset
    from dealseg.estimating import estimate_depth, load_estimator, require_room

    images = list_dataset(data, format=format, split=split)
    require_room(images, depth_folder)
    estimator = load_estimator(model, kind=kind, device=device, precision=precision)
    done = estimate_depth(
        images, estimator, depth_folder, batch_size=batch_size, long_side=long_side, threads=threads
    )
    kept = f", {done.kept} kept from before" if done.kept else ""
    what = "metres" if estimator.output.kind == "metric" else "relative inverse depth"
    print(f"{done.written} depth maps ({what}) written{kept} in {data}, {depth_folder}/")
    if done.renewed:
        print(f"{done.renewed} of them made again: damaged, or the image was replaced since")
    if done.beyond:
        print(f"{100 * done.beyond:.2g} % of the pixels are farther than can be stored; cut there")
    print(f"next: dealseg train {data} --out RUN --data.depth-folder {depth_folder}")
    return 0
