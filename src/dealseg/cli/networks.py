"""Commands that say which networks, losses and weights there are."""

import json as as_json
from itertools import takewhile
from pathlib import Path
from textwrap import fill
from typing import Any, Literal

LOSSES = {
    "deal": "depth edge alignment: edges of the CAM where depth has edges; needs depth",
    "isl": "importance sampling: shares the class loss's weight, at cells drawn from the CAM",
    "fsl": "feature similarity: alike where colours are alike, apart where they differ",
}


def methods(json: bool = False) -> int:
    """List methods, losses and recipes: what each method makes, and where the losses attach.

    Args:
        json: print JSON instead of tables.
    """
    from dealseg.config.recipes import recipe_path, recipes
    from dealseg.models import METHODS

    facts = {
        "methods": {name: _method(kind) for name, kind in METHODS.items()},
        "losses": LOSSES,
        "recipes": {name: _summary(recipe_path(name)) for name in recipes()},
    }
    print(as_json.dumps(facts, indent=2) if json else _told(facts))
    return 0


def weights(action: Literal["inspect"], file: str, json: bool = False) -> int:
    """Say what a checkpoint is and what of it which method can load; nothing in it is run.

    Args:
        action: inspect.
        file: checkpoint (.pth, .pt, .ckpt, .safetensors, .params), official or own; or a run.
        json: print JSON instead of text.
    """
    from dealseg.models.inspecting import inspect

    del action  # the only one there is
    facts = inspect(Path(file))
    print(as_json.dumps(facts.as_dict(), indent=2) if json else facts.text())
    return 0


def _method(kind: Any) -> dict[str, Any]:
    """Return what a method states, as plain data."""
    from dealseg.models import CamModel

    return {
        "what": (kind.__doc__ or "").splitlines()[0],
        "backbone": kind.default_backbone,
        "cams": {name: facts._asdict() for name, facts in kind.cams.items()},
        "masks_from": kind.label_cam,
        "attach": dict(kind.attach),
        "threshold": kind.threshold,
        "normalisation": kind.normalisation,
        "cached_profile": kind.stage_count is not CamModel.stage_count,
        "options": sorted(kind.options),
    }


def _summary(recipe: Path) -> str:
    """Return what a recipe's opening comment says before its first colon."""
    lines = takewhile(lambda line: line.startswith("#"), recipe.read_text().splitlines())
    return " ".join(" ".join(line.strip("# ") for line in lines).partition(":")[0].split())


def _told(facts: dict[str, Any]) -> str:
    blocks = [_block(name, each) for name, each in facts["methods"].items()]
    losses, recipes = (
        [fill(line, 100, initial_indent=f"  {name:<16} ", subsequent_indent=" " * 19)
         for name, line in facts[kind].items()]
        for kind in ("losses", "recipes")
    )  # fmt: skip
    blocks.append(["losses beside a method's own (--losses, with commas)", *losses])
    blocks.append(["recipes (train --config NAME)", *(recipes or ["  none"])])
    return "\n\n".join("\n".join(lines) for lines in blocks)


def _block(name: str, facts: dict[str, Any]) -> list[str]:
    options = ", ".join(f"--model.{option}" for option in facts["options"]) or "none"
    cached = "can be cached" if facts["cached_profile"] else "cannot be cached (--profile full)"
    return [
        f"{name}: {facts['what']}",
        f"  backbone   {facts['backbone']}; features {cached}",
        f"  masks      from {facts['masks_from']}, {facts['normalisation']}-normalised, threshold "
        f"{facts['threshold']:g}",
        f"  options    {options}",
        *_cam_rows(facts),
    ]


def _cam_rows(facts: dict[str, Any]) -> list[str]:
    """Return a table of the CAMs: channels, what a loss on it trains, and which attach to it."""
    rows = [("CAM", "channels", "a loss on it trains", "attached")]
    for name, cam in facts["cams"].items():
        channels = ("background, " if cam["background"] else "") + "classes"
        sign = "signed" if cam["signed"] else ">= 0"
        attached = ", ".join(loss for loss, at in facts["attach"].items() if at == name)
        rows.append((name, f"{channels}; {sign}", cam["reach"], attached or "-"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
