from dealseg.data.palette import colour_of, palette

VOC = {
    0: (0, 0, 0),
    1: (128, 0, 0),
    2: (0, 128, 0),
    3: (128, 128, 0),
    8: (64, 0, 0),
    15: (192, 128, 128),
    20: (0, 64, 128),
    255: (224, 224, 192),
}
"""Colours of the files of PASCAL VOC 2012."""


def voc_colour_map(index):
    """The loop of the VOC development kit."""
    red = green = blue = 0
    for bit in range(8):
        red |= (index & 1) << (7 - bit)
        green |= (index >> 1 & 1) << (7 - bit)
        blue |= (index >> 2 & 1) << (7 - bit)
        index >>= 3
    return red, green, blue


def test_the_colours_are_those_of_pascal_voc():
    assert {index: colour_of(index) for index in VOC} == VOC
    assert [colour_of(index) for index in range(256)] == [voc_colour_map(i) for i in range(256)]


def test_the_palette_is_the_colours_in_a_row_and_no_two_are_alike():
    flat = palette()
    assert flat == [channel for index in range(256) for channel in colour_of(index)]
    assert len(set(zip(*[iter(flat)] * 3, strict=True))) == 256
    assert palette(2) == [0, 0, 0, 128, 0, 0]
