"""Label Studio's brush code read bit by bit, as the format is described."""


def decoded(code):
    """Return the numbers that a list of bytes stands for."""
    bits = "".join(f"{byte:08b}" for byte in code)
    place = 0

    def take(count):
        nonlocal place
        word = bits[place : place + count]
        assert len(word) == count, "the code is cut off"
        place += count
        return int(word, 2)

    total = take(32)
    word_size = take(5) + 1
    length_sizes = [take(4) + 1 for _ in range(4)]
    numbers = []
    while len(numbers) < total:
        repeated = take(1)
        length = take(length_sizes[take(2)]) + 1
        if repeated:
            numbers += [take(word_size)] * length
        else:
            numbers += [take(word_size) for _ in range(length)]
    assert len(numbers) == total
    assert len(bits) - place < 8, "more than the bits that fill the last byte"
    assert "1" not in bits[place:]
    return numbers
