import pytest

from dealseg.config import LabelConfig
from dealseg.config.label import require_mask_options, require_threshold
from dealseg.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": 1.5}, r"label\.threshold must be in \[0, 1\] or auto, got 1\.5"),
        ({"threshold": True}, r"label\.threshold must be in \[0, 1\] or auto, got True"),
        ({"threshold": float("nan")}, r"label\.threshold must be in"),
        ({"ignore": 1.0}, r"label\.ignore must be in \[0, 1\), got 1\.0"),
        ({"ignore": float("nan")}, r"label\.ignore must be in"),
    ],
)
def test_options_that_cannot_work_are_refused_by_name(options, said):
    with pytest.raises(ConfigError, match=said):
        LabelConfig(**options)


@pytest.mark.parametrize("threshold", [None, "auto", 0, 1, 0.37])
def test_thresholds_are_numbers_auto_or_the_method_s(threshold):
    assert LabelConfig(threshold=threshold).threshold == threshold


@pytest.mark.parametrize(
    ("refine", "depth", "ignore", "said"),
    [
        ("densecrf", "auto", 0.0, "refine must be none, affinity, crf, got 'densecrf'"),
        ("crf", "always", 0.0, "refine_depth must be auto, true or false, got 'always'"),
        ("crf", None, 0.0, "refine_depth must be auto, true or false, got None"),
        ("crf", True, "0.1", r"ignore must be in \[0, 1\), got '0\.1'"),
    ],
)
def test_values_of_other_kinds_are_refused_by_name(refine, depth, ignore, said):
    with pytest.raises(ConfigError, match=f"^label\\.{said}"):
        require_mask_options("label.", refine, depth, ignore)


def test_a_threshold_is_a_number_or_the_word_auto():
    with pytest.raises(ConfigError, match=r"^t must be in \[0, 1\] or auto, got 'otsu'"):
        require_threshold("t", "otsu")
