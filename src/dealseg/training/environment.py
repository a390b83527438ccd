"""What a result depends on beside its configuration."""

import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from dealseg import __version__
from dealseg.models.runs import write_text

ENVIRONMENT_FILE = "environment.json"
_PACKAGES = ("torch", "torchvision", "timm", "lightning", "numpy", "pillow")


def environment() -> dict[str, Any]:
    """Return versions, machine and command line."""
    return {
        "dealseg": __version__,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def write_environment(folder: Path, **facts: Any) -> None:
    """Write `environment.json` with further facts, such as the seconds it took."""
    content = {**environment(), **facts}
    write_text(folder / ENVIRONMENT_FILE, json.dumps(content, indent=1) + "\n")
