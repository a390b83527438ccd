import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

import dealseg
from dealseg.arguments import parse
from dealseg.cli import COMMANDS
from dealseg.config import TrainConfig
from dealseg.config.recipes import recipe_path, recipes
from dealseg.errors import ConfigError
from dealseg.models.combinations import check_combination
from dealseg.models.runs import from_mapping

NAMES = ["hfpl-original", "seam", "seam-original", "weaktr", "weaktr-original"]
ROOT = Path(__file__).parents[2]


def content(name):
    return yaml.safe_load(recipe_path(name).read_text(encoding="utf-8"))


def recipe(name):
    return from_mapping(TrainConfig, content(name))


def flat(name):
    """Return the values of a recipe's configuration by dotted name."""
    found = {}
    for key, value in asdict(recipe(name)).items():
        parts = value.items() if isinstance(value, dict) else [(None, value)]
        found |= {f"{key}.{part}" if part else key: each for part, each in parts}
    return found


def differences(first, second):
    a, b = flat(first), flat(second)
    return {key: (a[key], b[key]) for key in a if a[key] != b[key]}


def test_these_recipes_come_with_the_package():
    assert recipes() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_a_file_inside_the_package(name):
    package = Path(dealseg.__file__).parent
    assert recipe_path(name).is_file()
    assert recipe_path(name).is_relative_to(package)


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"one of hfpl-original, seam, .*got 'weaktr.yaml'"):
        recipe_path("weaktr.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_a_configuration_whose_options_go_together(name):
    check_combination(recipe(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_command_reads_a_recipe_as_it_is_and_options_go_before_it(name):
    words = ["train", "D", "--out", "R", "--config", str(recipe_path(name)), "--seed", "3"]
    _, values = parse(COMMANDS, words)
    expected = recipe(name)
    for part in ("optim", "augment", "label", "model", "isl", "fsl", "method", "losses"):
        assert values[part] == getattr(expected, part)
    assert (values["seed"], values["data"].long_side) == (3, expected.data.long_side)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_a_recipe_are_numbers_to_yaml(name):
    # PyYAML takes 1e-6, without a point, for a word.
    numeric = {"optim": ("lr", "min_lr", "warmup_lr", "momentum", "weight_decay")}
    for part, keys in numeric.items():
        for key in keys:
            assert isinstance(content(name)[part].get(key, 0.0), float)


def test_weaktr_original_has_the_authors_values():
    found = recipe("weaktr-original")
    optim, augment = found.optim, found.augment
    assert (found.method, found.losses, found.data.long_side, found.seed) == (
        "weaktr", "none", 224, 504,
    )  # fmt: skip
    assert (optim.optimiser, optim.epochs, optim.batch_size) == ("adamw", 60, 64)
    assert optim.lr == pytest.approx(6e-4 * 64 / 512)
    assert (optim.weight_decay, optim.head_lr_factor, optim.clip) == (0.03, 1.0, 0.0)
    assert (optim.warmup_epochs, optim.warmup_lr, optim.min_lr) == (5, 1e-6, 1e-5)
    assert (augment.crop, augment.area, augment.flip) == ("area", (0.08, 1.0), 0.5)
    assert augment.ratio == pytest.approx((3 / 4, 4 / 3))
    assert (augment.colour, augment.randaugment, augment.erase) == (0.0, 9, 0.25)
    assert (found.model.reduction, found.model.pool, found.model.drop_path) == (8, "max", 0.1)
    assert found.precision == "16-mixed"


def test_weaktr_original_steps_late_and_decays_everything():
    optim = recipe("weaktr-original").optim
    assert (optim.schedule, optim.late, optim.decay_all) == ("cosine-epochs", True, True)


def test_weaktr_differs_from_the_original_in_its_quirks_only():
    assert differences("weaktr-original", "weaktr") == {
        "optim.decay_all": (True, False),
        "optim.late": (True, False),
        "precision": ("16-mixed", "bf16-mixed"),
        "seed": (504, 0),
    }


def test_seam_original_has_the_authors_values():
    found = recipe("seam-original")
    optim, augment = found.optim, found.augment
    assert (found.method, found.losses, found.data.long_side) == ("seam", "none", 448)
    assert (found.frozen_stages, found.freeze_batch_norm) == (1, True)
    assert (found.model.backbone, found.model.view_scale) == ("resnet38d", 0.3)
    assert (optim.optimiser, optim.epochs, optim.batch_size) == ("sgd", 8, 8)
    assert (optim.lr, optim.head_lr_factor, optim.weight_decay) == (0.01, 10.0, 5e-4)
    assert (optim.schedule, optim.power) == ("poly", 0.9)
    assert (augment.crop, augment.flip, augment.colour, augment.hue) == ("long", 0.5, 0.3, 0.1)
    assert [round(factor * 448) for factor in augment.long] == [448, 768]
    assert found.precision == "32-true"


def test_seam_original_has_next_to_no_momentum():
    assert recipe("seam-original").optim.momentum == 5e-4


def test_seam_differs_from_the_original_in_momentum_and_steps_as_far():
    assert differences("seam-original", "seam") == {
        "optim.momentum": (5e-4, 0.9),
        "optim.lr": (0.01, 0.001),
    }
    original, ours = (recipe(name).optim for name in ("seam-original", "seam"))
    steps = [optim.lr / (1 - optim.momentum) for optim in (original, ours)]
    assert steps[0] == pytest.approx(steps[1], rel=1e-3)


def test_hfpl_original_is_seam_s_recipe_with_two_losses():
    assert differences("seam-original", "hfpl-original") == {
        "losses": ("none", "isl,fsl"),
        "seed": (0, 1),
    }
    found = recipe("hfpl-original")
    assert (found.isl.weight, found.isl.samples) == (0.2, 10)
    assert (found.fsl.weight, found.fsl.mu, found.fsl.sigma) == (1.0, 2.5, 5 * 8)
    assert found.fsl.window == 0.0


@pytest.mark.parametrize(
    ("name", "sides", "threshold"),
    [
        ("weaktr-original", (500, 600), 0.43),
        ("seam-original", (250, 500, 750, 1000), 0.26),
        ("hfpl-original", (250, 500, 750, 1000), 0.26),
    ],
)
def test_masks_are_read_at_the_authors_sizes_of_voc_s_images_and_threshold(name, sides, threshold):
    found = recipe(name)
    assert found.label.flip
    assert found.label.threshold == threshold
    scaled = [scale * found.label.long_side for scale in found.label.scales]
    assert scaled == pytest.approx(sides, abs=0.5)


@pytest.mark.parametrize("name", NAMES)
def test_the_documentation_names_every_recipe(name):
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert f"`{name}`" in text


def test_recipes_are_listed_without_torch():
    code = "import sys, dealseg.config.recipes as r; r.recipes(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT / "src")
