"""What the numbers of a depth network mean, told by its configuration."""

from dataclasses import dataclass
from typing import Any, Literal

from dealseg.errors import ConfigError

Kind = Literal["metric", "relative"]

_METRIC = ("zoedepth", "glpn", "depth_pro", "tipsv2_dpt")
_BY_TYPE = ("depth_anything",)
_REFUSED = {
    "prompt_depth_anything": "it refines a sensor's depth, which has to be given to it",
    "chmv2": "it estimates the height of trees from above, not depth",
}


@dataclass(frozen=True)
class Output:
    """What a network's numbers are.

    Attributes:
        kind: `metric` is distance in metres; `relative` is inverse depth up to scale and offset.
        farthest: the largest distance it can say, in metres; None if that is not known.
    """

    kind: Kind
    farthest: float | None = None


def output_of(config: Any, kind: Literal["auto", "metric", "relative"] = "auto") -> Output:
    """Return what a transformers network for depth estimation gives.

    Depth Anything says its type (`depth_estimation_type`; older files, which say none, are
    relative). ZoeDepth, GLPN, Depth Pro and TIPS give metres. DPT says nothing: MiDaS's own are
    relative; those on DINOv2, known by `add_projection`, were trained on metres.

    Args:
        config: of the network: an object with `model_type`.
        kind: what the user says, where that is not `auto`.

    Raises:
        ConfigError: if the network cannot be used, or its kind is not known and not said.
    """
    name = config.model_type
    if name in _REFUSED:
        raise ConfigError(f"a {name} network cannot be used: {_REFUSED[name]}")
    found = _told(config)
    if kind != "auto":
        return Output(kind, _farthest(config) if kind == found == "metric" else None)
    if found is None:
        raise ConfigError(
            f"it is not known what a {name} network estimates; say --kind metric (metres) or "
            "--kind relative (inverse depth: larger is nearer)"
        )
    return Output(found, _farthest(config) if found == "metric" else None)


def _told(config: Any) -> Kind | None:
    if config.model_type in _METRIC:
        return "metric"
    if config.model_type in _BY_TYPE:
        said = getattr(config, "depth_estimation_type", "relative")
        return "metric" if said == "metric" else "relative"
    if config.model_type == "dpt":
        return "metric" if config.add_projection else "relative"
    return None


def _farthest(config: Any) -> float | None:
    bins = getattr(config, "bin_configurations", None)
    if bins:  # ZoeDepth: one for each kind of scene
        return max(float(each["max_depth"]) for each in bins)
    farthest = getattr(config, "max_depth", None)
    return None if farthest is None else float(farthest)
