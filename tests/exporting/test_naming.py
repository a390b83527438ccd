import itertools

from dealseg.exporting.naming import flat_names, split_label


def test_plain_names_stay_and_folders_and_blanks_are_joined():
    names = ["a", "sub/dir/b", "with space", "Grün ☃", "dots.in.name", "a%b#c&d;e'"]
    flat = ["a", "sub__dir__b", "with_space", "Grün_☃", "dots.in.name", "a%b#c&d;e'"]
    assert list(flat_names(names).values()) == flat


def test_names_that_would_fall_together_are_told_apart_whatever_their_order():
    names = ["a/b", "a__b", "A__B", "x y", "x_y", "u\u0308", "ü", "plain", "...", "--", "n" * 300]
    flat = flat_names(names)
    folded = [each.casefold() for each in flat.values()]
    assert len(set(folded)) == len(names)
    assert flat["plain"] == "plain"
    assert all(len(each.encode()) < 230 and "/" not in each for each in flat.values())
    for order in itertools.islice(itertools.permutations(names), 0, 4000, 997):
        assert flat_names(order) == flat


def test_a_name_that_looks_like_anothers_substitute_is_told_apart_too():
    taken = flat_names(["a/b", "a__b"])["a/b"]
    flat = flat_names(["a/b", "a__b", taken])
    assert len(set(flat.values())) == 3


def test_splits_become_words():
    assert split_label("train", "x") == "train"
    assert split_label("side:val", "x") == "side_val"
    assert split_label(None, "default") == "default"
    assert split_label("::", "default") == "default"
