"""The training recipes that come with the package: files for `dealseg train --config`."""

from pathlib import Path

from dealseg.errors import ConfigError

_FOLDER = Path(__file__).parents[1] / "recipes"


def recipes() -> list[str]:
    """Return the names of the recipes; `docs/recipes.md` says what is in them."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def recipe_path(name: str) -> Path:
    """Return the YAML file of a recipe.

    Raises:
        ConfigError: if there is none of this name.
    """
    if name not in recipes():
        raise ConfigError(f"recipe must be one of {', '.join(recipes())}, got {name!r}")
    return _FOLDER / f"{name}.yaml"
