"""Where a network computes, and how precisely."""

from typing import Literal

import torch

from dealseg.errors import ConfigError

Device = Literal["auto", "cpu", "gpu"]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


def device_of(device: Device) -> torch.device:
    """Return the place to compute: `auto` takes a GPU where there is one.

    Raises:
        ConfigError: if a GPU is asked for and there is none.
    """
    if device == "gpu" and not torch.cuda.is_available():
        raise ConfigError("device is 'gpu' but there is none; take --device cpu")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def half_of(precision: Precision, device: Device) -> torch.dtype | None:
    """Return the half precision to compute in, None for float32: `auto` is float16 on a GPU.

    Raises:
        ConfigError: if float16 is asked for without a GPU.
    """
    on_gpu = device_of(device).type == "cuda"
    if precision == "16-mixed" and not on_gpu:
        raise ConfigError("precision 16-mixed needs a GPU; take bf16-mixed or 32-true")
    chosen = ("16-mixed" if on_gpu else "32-true") if precision == "auto" else precision
    return {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}[chosen]
