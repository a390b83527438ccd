"""How a configuration refuses values that cannot work."""

from dealseg.errors import ConfigError


def require(condition: bool, name: str, expected: str, got: object) -> None:
    """Refuse the value of an option.

    Raises:
        ConfigError: if `condition` does not hold.
    """
    if not condition:
        raise ConfigError(f"{name} must be {expected}, got {got!r}")
