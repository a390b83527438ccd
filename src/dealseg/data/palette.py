"""The colours of masks."""


def palette(colours: int = 256) -> list[int]:
    """Return PASCAL VOC's colour map as a flat list r, g, b, r, g, b, ...

    Bit j of the three interleaved bit planes of an index becomes bit 7 - j of its channels, so that
    near indices get far colours: 0 is black, 255 is (224, 224, 192).

    Source: the VOC development kit's colour map.
    """
    return [_channel(index, channel) for index in range(colours) for channel in range(3)]


def colour_of(index: int) -> tuple[int, int, int]:
    """Return the colour of one mask value."""
    return _channel(index, 0), _channel(index, 1), _channel(index, 2)


def _channel(index: int, channel: int) -> int:
    return sum(((index >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(3))
