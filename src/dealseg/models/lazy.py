"""Maps that are made when somebody looks at them."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

Maker = Callable[[Mapping[str, Tensor]], Tensor]


class LazyMaps(Mapping[str, Tensor]):
    """Tensors by name, each computed at the first access and then kept.

    They are computed with gradients on or off as it was when the mapping was made, so that the
    place of the first access decides nothing.

    Args:
        makers: for each name a function of this mapping, so that one tensor can use another.
    """

    def __init__(self, makers: Mapping[str, Maker]) -> None:
        self._makers = dict(makers)
        self._made: dict[str, Tensor] = {}
        self._gradients = torch.is_grad_enabled()

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._made:
            maker = self._makers[name]
            with torch.set_grad_enabled(self._gradients):
                self._made[name] = maker(self)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a map, without making it."""
        return name in self._makers

    def __repr__(self) -> str:
        """Name the maps, without making them."""
        return f"LazyMaps({', '.join(self._makers)})"
