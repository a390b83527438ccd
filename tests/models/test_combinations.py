"""Options that do not go together are refused with the reason; those that do are not."""

from typing import ClassVar

import pytest

from dealseg.config import TrainConfig
from dealseg.config.losses import DealConfig, FslConfig, IslConfig
from dealseg.config.model import ModelConfig
from dealseg.errors import ConfigError
from dealseg.models import METHODS, TimmCam
from dealseg.models.base import CamFacts, CamModel
from dealseg.models.combinations import check_combination

GROUPS = {"deal": DealConfig, "isl": IslConfig, "fsl": FslConfig}


def refused(**options):
    with pytest.raises(ConfigError) as caught:
        check_combination(TrainConfig(**options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("loss", sorted(GROUPS))
@pytest.mark.parametrize(
    ("method", "cam"), [(name, cam) for name, kind in METHODS.items() for cam in kind.cams]
)
def test_a_loss_goes_on_every_cam_but_importance_sampling_on_signed_ones_only(method, cam, loss):
    options = {"method": method, "losses": loss, loss: GROUPS[loss](cam=cam)}
    if loss == "isl" and not METHODS[method].cams[cam].signed:
        said = refused(**options)
        assert f"isl.cam: {cam!r} of method {method} is not signed" in said
        signed = [name for name, facts in METHODS[method].cams.items() if facts.signed]
        assert said.endswith(f"choose {' or '.join(signed)}")
    else:
        check_combination(TrainConfig(**options))


@pytest.mark.parametrize("loss", sorted(GROUPS))
def test_a_cam_that_the_method_does_not_make_is_refused_with_those_it_makes(loss):
    said = refused(method="weaktr", losses=loss, **{loss: GROUPS[loss](cam="pcm")})
    assert f"{loss}.cam: method weaktr makes no CAM 'pcm'" in said
    offered = said.partition("can act on ")[2]
    assert offered == ("coarse" if loss == "isl" else "coarse, fused, fine")


def test_the_cam_of_a_loss_that_is_not_added_does_not_matter():
    check_combination(TrainConfig(losses="deal", isl=IslConfig(cam="nowhere")))
    check_combination(TrainConfig(losses="none", deal=DealConfig(cam="nowhere")))


def test_an_unknown_method_is_refused_with_the_known_ones():
    assert "method must be one of ['cam', 'seam', 'weaktr']" in refused(method="grad-cam")


def test_a_method_without_stages_can_be_neither_cached_nor_frozen():
    assert "method weaktr has none that could be frozen; take --profile full" in refused(
        method="weaktr", profile="cached"
    )
    assert "frozen_stages must be 0 for method weaktr" in refused(method="weaktr", frozen_stages=2)
    for profile, stages in (("auto", None), ("full", 0), ("auto", 0)):
        check_combination(TrainConfig(method="weaktr", profile=profile, frozen_stages=stages))


@pytest.mark.parametrize("method", ["cam", "seam"])
def test_methods_with_stages_can_be_cached_and_frozen(method):
    for profile, stages in (("cached", None), ("full", 2), ("auto", 3)):
        check_combination(TrainConfig(method=method, profile=profile, frozen_stages=stages))


def test_init_and_backbone_weights_fill_the_same_network():
    weights = ModelConfig(weights="b.pth")
    assert "give one of them" in refused(init="a.pth", model=weights)
    check_combination(TrainConfig(init="a.pth"))
    check_combination(TrainConfig(model=weights))


def test_a_loss_that_a_method_does_not_take_is_refused(monkeypatch):
    class Picky(TimmCam):
        attach: ClassVar = {"deal": "cam"}

    monkeypatch.setitem(METHODS, "picky", Picky)
    said = refused(method="picky", losses="deal,isl")
    assert said == "losses: isl does not attach to method picky; those that do: deal"
    check_combination(TrainConfig(method="picky", losses="deal"))


def test_a_method_s_own_statement_of_its_cams_decides(monkeypatch):
    class Unsigned(CamModel):
        cams: ClassVar = {"map": CamFacts("all", signed=False)}
        attach: ClassVar = {"isl": "map", "deal": "map"}

    monkeypatch.setitem(METHODS, "unsigned", Unsigned)
    check_combination(TrainConfig(method="unsigned", losses="deal"))
    assert "is not signed" in refused(method="unsigned", losses="isl")
