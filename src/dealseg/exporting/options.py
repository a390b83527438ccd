"""What can be chosen about an export; each format takes some of it and has defaults of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from dealseg.errors import ConfigError

Instances = Literal["components", "class"]
Images = Literal["none", "copy", "link", "jpg"]
Ignored = Literal["background", "label"]


@dataclass(frozen=True)
class ExportOptions:
    """Choices; None leaves them to the format.

    Attributes:
        instances: an object is a connected component, or all of a class in an image.
        min_area: smaller objects, in pixels, are left out.
        images: whether images are left where they are (`none`), copied, linked to, or made JPEG.
        ignored: what 255 becomes where the format has nothing like it: background, or a label
            `ignored` of its own.
        url_prefix: before an image's path below the data set.
    """

    instances: Instances | None = None
    min_area: int | None = None
    images: Images | None = None
    ignored: Ignored | None = None
    url_prefix: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        choices = {"instances": Instances, "images": Images, "ignored": Ignored}
        for name, kinds in choices.items():
            value = getattr(self, name)
            if value is not None and value not in get_args(kinds):
                raise ConfigError(f"{name} must be one of {get_args(kinds)}, got {value!r}")
        if self.min_area is not None and self.min_area < 0:
            raise ConfigError(f"min_area must be 0 pixels or more, got {self.min_area}")

    def for_format(self, name: str, defaults: Mapping[str, Any]) -> "ExportOptions":
        """Return the choices with a format's defaults where nothing was chosen.

        Raises:
            ConfigError: if something was chosen that the format does not know.
        """
        given = {f.name for f in fields(self) if getattr(self, f.name) is not None}
        if unknown := sorted(given - set(defaults)):
            known = ", ".join(f"--{each}" for each in defaults) or "none"
            option = f"--{unknown[0]}".replace("_", "-")
            raise ConfigError(
                f"{option} says nothing to --format {name}; its options are: "
                f"{known.replace('_', '-')}"
            )
        return replace(self, **{k: v for k, v in defaults.items() if k not in given})
