from dataclasses import replace

import pytest
import yaml
from small_grid import DEPTH, GRID, LOSSES, with_table

from dealseg.config import DealConfig, IslConfig
from dealseg.errors import ConfigError
from dealseg.experiments import Variant, expand, grid_of, grids, read_grid
from dealseg.experiments.expanding import loss_names
from dealseg.experiments.grid import merged, nested, with_settings

ALL_LOSSES = {
    "none", "isl", "fsl", "isl+fsl", "deal", "isl+deal", "fsl+deal", "isl+fsl+deal",
}  # fmt: skip


def test_a_table_is_the_product_of_its_axes_and_jobs_are_its_rows_times_seeds():
    plan = expand(with_table(LOSSES))
    assert len(plan.tables[0].variants) == 2 * 3
    assert len(plan.jobs) == 2 * 3 * 2


def test_a_variant_of_several_tables_is_trained_once():
    plan = expand(GRID)
    shared = set(plan.tables[0].variants) & set(plan.tables[1].variants)
    assert shared == {Variant("cam"), Variant("cam", "deal", "sensor")}
    assert len(plan.jobs) == (6 + 3 - 2) * 2
    assert len({job.name for job in plan.jobs}) == len(plan.jobs)


def test_where_no_loss_reads_depth_its_source_and_noise_are_none():
    spec = {"depths": ("sensor", "other"), "noise": ("none", "level:1"), "losses": ("none", "isl")}
    variants = expand(with_table(LOSSES, methods=("cam",), **spec)).tables[0].variants
    assert variants == (Variant("cam"), Variant("cam", "isl"))


def test_without_depth_the_losses_that_read_it_fall_away():
    variants = expand(with_table(DEPTH, losses=("isl+deal",), depths=("none",))).tables[0].variants
    assert variants == (Variant("cam", "isl"),)


def test_settings_go_from_recipe_over_grid_to_method_depth_and_seed():
    grid = with_settings(grid_of("voc"), ["optim.epochs=30", "seam:optim.epochs=20", "deal.mu=2.0"])
    grid = grid.choose(tables=["losses"], losses=["fsl+deal+isl"], seeds=[7])
    weaktr, seam = (job.config for job in expand(grid).jobs)
    assert (weaktr.method, weaktr.optim.epochs, weaktr.optim.batch_size) == ("weaktr", 30, 64)
    assert (seam.method, seam.optim.epochs, seam.optim.lr) == ("seam", 20, 0.001)
    for config in (weaktr, seam):
        assert (config.losses, config.seed, config.deal.mu) == ("isl,fsl,deal", 7, 2.0)
        assert config.data.depth_folder == "depth_estimate"
        assert (config.data.format, config.data.split) == ("voc", "train_aug")


def test_options_of_losses_that_are_off_do_not_tell_jobs_apart():
    grid = with_settings(with_table(LOSSES), ["deal.weight=0.7", "isl.weight=0.5"])
    by_losses = {job.variant.losses: job.config for job in expand(grid).jobs}
    assert by_losses["none"].deal == DealConfig()
    assert by_losses["none"].isl == by_losses["deal"].isl == IslConfig()
    assert by_losses["deal"].deal == DealConfig(weight=0.7)


@pytest.mark.parametrize("given", ["deal+isl+fsl", "fsl+isl+deal", " isl + fsl + deal"])
def test_losses_have_one_order(given):
    assert loss_names(given) == ("isl", "fsl", "deal")


@pytest.mark.parametrize("wrong", ["edge", "deal+deal", "deal,isl"])
def test_unknown_or_double_losses_are_refused(wrong):
    with pytest.raises(ConfigError, match="joined by \\+"):
        loss_names(wrong)


def test_names_of_jobs_are_names_of_files():
    job = expand(with_table(DEPTH, depths=("sensor",))).jobs[0]
    assert job.name == "cam-deal-sensor-none-s0"


@pytest.mark.parametrize("name", grids())
def test_the_grids_of_the_package_hold_the_paper_s_table_of_losses(name):
    grid = grid_of(name)
    assert set(grid.tables[0].losses) == ALL_LOSSES
    assert len(grid.seeds) == 3
    plan = expand(grid.choose(tables=["losses"]))
    assert len(plan.jobs) == 2 * 8 * 3
    assert {job.config.losses for job in plan.jobs if job.variant.is_baseline} == {"none"}


@pytest.mark.parametrize("name", grids())
def test_a_miniature_has_the_tables_of_its_grid_and_starts_from_nothing(name):
    small, whole = grid_of(name, miniature=True), grid_of(name)
    assert [table.name for table in small.tables] == [table.name for table in whole.tables]
    assert small.title.startswith("MINIATURE")
    for job in expand(small).jobs:
        assert job.config.optim.epochs <= 3
        assert job.config.model.backbone.startswith("test_")
        assert not job.config.model.pretrained
        assert job.config.device == "cpu"


@pytest.mark.parametrize("name", grids())
def test_the_methods_of_the_grids_have_the_names_that_papers_use(name):
    grid = grid_of(name)
    known = {"weaktr": "WeakTr", "seam": "SEAM", "cam": "plain CAM"}
    assert grid.titles == {method: known[method] for method in grid.methods}


def test_the_title_of_a_method_changes_no_job():
    bare = replace(GRID, methods={**GRID.methods, "cam": {}})
    assert bare.titles == {"cam": "cam", "seam": "seam"}
    assert expand(bare).jobs == expand(GRID).jobs


def test_the_paper_s_gains_are_those_of_its_abstract():
    gains = {name: [p.gain for p in grid_of(name).published] for name in grids()}
    assert gains == {"coco": [1.274], "hope": [16.416], "synthetic": [], "voc": [5.439]}


def test_axes_and_splits_are_chosen_by_name():
    grid = GRID.choose(tables=["depth"], depths=["sensor"], seeds=[3], val="b")
    assert [table.name for table in grid.tables] == ["depth"]
    assert grid.tables[0].depths == ("sensor",)
    assert (grid.seeds, grid.data.val, grid.data.train) == ((3,), "b", None)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"tables": ["loss"]}, "tables must be some of losses, depth, got 'loss'"),
        ({"methods": ["irn"]}, "methods of table losses must be some of cam, seam, got 'irn'"),
        ({"depths": ["lidar"]}, "depths of table losses must be some of none, other, sensor"),
    ],
)
def test_what_the_grid_does_not_have_is_refused_by_name(choice, told):
    with pytest.raises(ConfigError, match=told):
        GRID.choose(**choice)


def test_nested_settings_are_merged_without_changing_the_first():
    first = {"a": {"b": 1, "c": 2}, "d": 3}
    assert merged(first, {"a": {"b": 5}, "e": [1]}) == {"a": {"b": 5, "c": 2}, "d": 3, "e": [1]}
    assert first == {"a": {"b": 1, "c": 2}, "d": 3}
    words = ["optim.lr=1e-3", "losses=none", "a.b.c=[1,2]"]
    assert nested(words) == {"optim": {"lr": "1e-3"}, "losses": "none", "a": {"b": {"c": [1, 2]}}}


@pytest.mark.parametrize("word", ["optim.epochs", "=3", "irn:optim.epochs=3"])
def test_settings_that_are_none_are_refused(word):
    with pytest.raises(ConfigError, match="set must be"):
        with_settings(GRID, [word])


TABLE = {"title": "t", "methods": ["cam"], "losses": ["none"], "depths": ["none"]}


def write(path, **changes):
    content = {"methods": {"cam": {}}, "tables": {"one": TABLE}}
    path.write_text(yaml.safe_dump({**content, **changes}))
    return path


def test_a_grid_of_one_s_own_is_read(tmp_path):
    grid = read_grid(write(tmp_path / "mine.yaml", seeds=[4], title="Mine"))
    assert (grid.name, grid.title, grid.seeds) == ("mine", "Mine", (4,))
    assert len(expand(grid).jobs) == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"method": {}}, "unknown key 'method'"),
        ({"tables": {}}, "tables must be at least one table"),
        ({"tables": {"one": {**TABLE, "rows": 3}}}, "unknown key 'rows'"),
        (
            {"tables": {"one": {"title": "t"}}},
            "tables.one must be title, methods, .* got 'no methods, losses, depths'",
        ),
        ({"seeds": []}, "seeds must be at least one number"),
        ({"tables": 3}, "not a grid"),
    ],
)
def test_a_grid_that_is_none_is_refused_with_its_file(tmp_path, changes, told):
    with pytest.raises(ConfigError, match=f"mine.yaml: .*{told}"):
        read_grid(write(tmp_path / "mine.yaml", **changes))


@pytest.mark.parametrize("text", ["[1]", "a: [", "\0"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.yaml: "):
        read_grid(file)


def test_a_grid_without_a_miniature_says_so(tmp_path):
    with pytest.raises(ConfigError, match="has no part `miniature:`"):
        read_grid(write(tmp_path / "mine.yaml"), miniature=True)


def test_a_setting_that_no_training_knows_is_refused_with_its_variant():
    grid = with_settings(GRID, ["optim.epoch=3"])
    with pytest.raises(ConfigError, match="cam, losses none: unknown key 'epoch'"):
        expand(grid)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"methods": {"cam": "seam"}}, "methods.cam must be keys and values, got 'seam'"),
        ({"depths": ["sensor"]}, "depths must be keys and values"),
        ({"seeds": 0}, "seeds must be a list, got 0"),
        ({"seeds": ["a"]}, r"seeds\[0\] must be a whole number, got 'a'"),
        ({"tables": {"t": {**TABLE, "losses": "deal"}}}, "losses must be a list, got 'deal'"),
        ({"published": [{"table": "x", "label": "l", "gain": 1, "source": "s"}]}, "table of publ"),
    ],
)
def test_values_of_another_kind_are_refused_with_their_place(tmp_path, change, said):
    content = {"methods": {"cam": {}}, "depths": {}, "tables": {"t": TABLE}, **change}
    (tmp_path / "g.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=f"not a grid: {said}"):
        read_grid(tmp_path / "g.yaml")


def test_a_file_that_is_not_yaml_is_refused_with_the_line(tmp_path):
    (tmp_path / "g.yaml").write_text("title: t\nseeds: [0\ntables: {}\n")
    with pytest.raises(ConfigError, match=r"not readable .*, line 3"):
        read_grid(tmp_path / "g.yaml")


def test_noise_that_is_none_is_refused_before_anything_is_trained():
    with pytest.raises(ConfigError, match="no model 'levl'"):
        expand(with_table(LOSSES, noise=("none", "levl:1")))


def test_settings_may_be_written_as_python_writes_numbers():
    assert expand(with_settings(GRID, ["optim.lr=1e-3"])).jobs[0].config.optim.lr == 1e-3
