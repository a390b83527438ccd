"""Estimate the depth of a data set's images with a network that has not seen their scenes.

    python benchmarks/cross_fitted_depth.py NYUV2 --out runs/estimated --split train

For comparing sources of depth on the same images where no estimator's weights are at hand. The
images, in the order of their names (so that scenes stay together), are cut into contiguous parts; a
small decoder on frozen ImageNet features learns the sensor's log depth from all parts but one, and
estimates that one. Writes `OUT/NAME.png` in millimetres, `OUT/depth.yaml`, and prints the errors.
"""

import argparse
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from tqdm import tqdm

from dealseg.data import RgbdDataset, open_dataset
from dealseg.models.weights import embedded_state

STRIDE = 8
GRADIENT_WEIGHT = 1.0


def backbone() -> nn.Module:
    net: nn.Module = timm.create_model(
        "tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4)
    )
    lacking, _ = net.load_state_dict(embedded_state(), strict=False)
    if lacking:
        raise RuntimeError(f"the embedded weights lack {lacking[:3]}")
    return net.eval()


@torch.no_grad()
def features(data: RgbdDataset, size: tuple[int, int]) -> Tensor:
    """Return ImageNet features of four depths at stride 8, half precision."""
    net, grid = backbone(), (size[0] // STRIDE, size[1] // STRIDE)
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    )
    found = []
    for index in tqdm(range(len(data)), desc="features", disable=None):
        image = F.interpolate(data.image(index)[None] / 255, size, mode="bilinear", antialias=True)
        maps = net((image - mean) / std)
        resized = [F.interpolate(m, grid, mode="bilinear", antialias=True) for m in maps]
        found.append(torch.cat(resized, 1)[0].half())
    return torch.stack(found)


def targets(data: RgbdDataset, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return log depth at stride 8 and whether it was measured."""
    depths, valids = [], []
    for index in range(len(data)):
        found = data.depth(index)
        if found is None:
            raise ValueError(f"{data.names[index]}: has no depth to learn from")
        pair = (
            F.interpolate(t[None].float(), (size[0] // STRIDE, size[1] // STRIDE)) for t in found
        )
        depth, valid = pair
        depths.append(depth[0].clamp(min=0.1).log())
        valids.append(valid[0] > 0)
    return torch.stack(depths), torch.stack(valids)


def decoder(channels: int, width: int = 96) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 1), nn.ReLU()]
    for dilation in (1, 2, 4):
        layers += [nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 1))


def loss(found: Tensor, wanted: Tensor, valid: Tensor) -> Tensor:
    """Return the mean error of log depth and of its differences between neighbours."""
    error = torch.where(valid, found - wanted, 0)
    steps = [torch.diff(error, dim=dim).abs().mean() for dim in (-1, -2)]
    return error.abs().sum() / valid.sum().clamp(min=1) + GRADIENT_WEIGHT * sum(steps)


def fit(x: Tensor, y: Tensor, valid: Tensor, epochs: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net, order = decoder(x.shape[1]), torch.Generator().manual_seed(seed)
    optim = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=1e-2)
    plan = torch.optim.lr_scheduler.OneCycleLR(optim, 2e-3, epochs * (len(x) // 8))
    for _ in tqdm(range(epochs), desc="fit", disable=None):
        for batch in torch.randperm(len(x), generator=order).split(8)[: len(x) // 8]:
            mirrored = torch.rand((), generator=order) < 0.5
            parts = [t[batch].flip(-1) if mirrored else t[batch] for t in (x, y, valid)]
            optim.zero_grad()
            loss(net(parts[0].float()), parts[1], parts[2]).backward()
            optim.step()
            plan.step()
    return net.eval()


def write(data: RgbdDataset, index: int, log_depth: Tensor, out: Path) -> None:
    size = data.image(index).shape[-2:]
    depth = F.interpolate(log_depth[None], size, mode="bicubic")[0, 0].exp()
    path = out / f"{data.names[index]}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((1000 * depth).round().clamp(1, 65535).numpy().astype(np.uint16)).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--parts", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--size", type=int, nargs=2, default=(320, 416))
    args = parser.parse_args()
    data, size = open_dataset(args.data, split=args.split), tuple(args.size)
    x, (y, valid) = features(data, size), targets(data, size)
    by_name = sorted(range(len(data)), key=lambda index: data.names[index])
    estimates = torch.zeros_like(y)
    for part in np.array_split(np.array(by_name), args.parts):
        rest = torch.tensor(sorted(set(by_name) - set(part.tolist())))
        net = fit(x[rest], y[rest], valid[rest], args.epochs, seed=0)
        with torch.no_grad():
            for index in part.tolist():
                estimates[index] = net(x[index][None].float())[0]
                write(data, index, estimates[index], args.out)
    description = {"depth": {"unit": "mm", "scale": 1.0, "kind": "metric"}}
    (args.out / "depth.yaml").write_text(yaml.safe_dump(description))
    found, wanted = estimates[valid].exp(), y[valid].exp()
    within = (torch.maximum(found / wanted, wanted / found) < 1.25).float().mean()
    print(f"absolute relative error {((found - wanted).abs() / wanted).mean():.3f}")
    print(f"root mean square error {((found - wanted) ** 2).mean().sqrt():.3f} m")
    print(f"within a factor of 1.25: {100 * within:.1f} %")


if __name__ == "__main__":
    main()
