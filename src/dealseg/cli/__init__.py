"""The command: a plain function for each sub-command; heavy imports inside; one-line errors."""

import logging
import os
import sys
from collections.abc import Callable, Sequence

from dealseg.arguments import parse
from dealseg.cli.data import check, noise, synth
from dealseg.cli.deploying import export_model
from dealseg.cli.estimating import depth
from dealseg.cli.experiments import experiment
from dealseg.cli.exporting import export
from dealseg.cli.masks import evaluate, label
from dealseg.cli.networks import methods, weights
from dealseg.cli.predicting import predict
from dealseg.cli.reviewing import review
from dealseg.cli.segmenting import train_segmenter
from dealseg.cli.showing import demo, report
from dealseg.cli.training import train
from dealseg.errors import DealsegError, one_line
from dealseg.process import keep_freed_memory

COMMANDS: dict[str, Callable[..., int]] = {
    "synth": synth,
    "check": check,
    "depth": depth,
    "noise": noise,
    "train": train,
    "label": label,
    "train-segmenter": train_segmenter,
    "evaluate": evaluate,
    "export": export,
    "review": review,
    "predict": predict,
    "export-model": export_model,
    "report": report,
    "demo": demo,
    "methods": methods,
    "weights": weights,
    "experiment": experiment,
}

_GO_ON = ("synth", "depth", "noise", "label", "predict", "demo", "experiment")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return 0, 1 (problems found), 2 (an error) or 130 (interrupted).

    141 if what reads the output has gone, such as `head`.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    name = ""
    try:
        keep_freed_memory()
        name, values = parse(COMMANDS, sys.argv[1:] if argv is None else argv)
        code = COMMANDS[name](**values)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        return 128 + 13
    except KeyboardInterrupt:
        print(f"interrupted; {_after(name)}", file=sys.stderr)
        return 130
    except (DealsegError, OSError, ValueError) as error:
        if os.environ.get("DEALSEG_DEBUG"):  # for tracebacks
            raise
        print(f"dealseg: error: {one_line(error)}", file=sys.stderr)
        return 2


def _after(name: str) -> str:
    """Return what a user can do after interrupting a command."""
    if name in ("train", "train-segmenter"):
        return "the same command with --resume goes on"
    return f"the same command {'goes on' if name in _GO_ON else 'starts anew'}"
