from dataclasses import dataclass, fields
from typing import Literal

import pytest

from dealseg import cli
from dealseg.arguments import RECORDED, normalised, parse
from dealseg.config import TrainConfig
from dealseg.errors import ConfigError
from dealseg.models.runs import RunFacts, SegmenterFacts, write_config


@dataclass(frozen=True)
class Group:
    """A group.

    Attributes:
        rate: how fast.
        bright: whether.
        pair: two numbers.
    """

    rate: float = 0.5
    bright: bool = False
    pair: tuple[float, float] = (1.0, 2.0)

    def __post_init__(self):
        if self.rate < 0:
            raise ConfigError(f"group.rate must be >= 0, got {self.rate}")


def cook(
    dish: str,
    out: str,
    cold_start: bool = False,
    heat: float = 1.0,
    mode: Literal["slow", "fast"] = "slow",
    limit: int | None = None,
    salted: bool | None = None,
    sizes: tuple[float, ...] | None = None,
    scales: tuple[float, ...] = (1.0,),
    group: Group = Group(),
) -> int:
    """Cook a dish.

    Args:
        dish: what to cook.
        out: where to put it, with a text
            over two lines.
        cold_start: begin cold.
        heat: degrees.
        mode: how.
        limit: at most.
        salted: with salt.
        sizes: of the pots.
        scales: sizes.
        group: more.
    """
    return 0


def order(meal: Literal["soup", "pie"]) -> int:
    """Order a meal.

    Args:
        meal: which.
    """
    return 0


def taste(pots: list[str], quiet: bool = True) -> int:
    """Taste from pots.

    Args:
        pots: one or more pots.
        quiet: say nothing.
    """
    return 0


COMMANDS = {"cook": cook, "order": order, "taste": taste}


def read(*words):
    return parse(COMMANDS, list(words))


def cooked(*words):
    name, values = read("cook", "soup", "--out", "pot", *words)
    assert name == "cook"
    return values


def error(*words):
    with pytest.raises(ConfigError) as caught:
        read(*words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults_are_those_of_the_function():
    assert cooked() == {
        "dish": "soup",
        "out": "pot",
        "cold_start": False,
        "heat": 1.0,
        "mode": "slow",
        "limit": None,
        "salted": None,
        "sizes": None,
        "scales": (1.0,),
        "group": Group(),
    }


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--cold_start"], "cold_start", True),
        (["--cold-start"], "cold_start", True),
        (["--cold-start", "false"], "cold_start", False),
        (["--cold-start=false"], "cold_start", False),
        (["--cold-start", "True"], "cold_start", True),
        (["--cold_start=true"], "cold_start", True),
        (["--heat", "-3.5"], "heat", -3.5),
        (["--heat=-1e-3"], "heat", -1e-3),
        (["--heat", "1e-4"], "heat", 1e-4),
        (["--limit", "7"], "limit", 7),
        (["--limit", "null"], "limit", None),
        (["--mode=fast"], "mode", "fast"),
        (["--salted"], "salted", True),
        (["--salted", "false"], "salted", False),
        (["--salted=null"], "salted", None),
        (["--sizes", "1,2"], "sizes", (1.0, 2.0)),
        (["--sizes=[3]"], "sizes", (3.0,)),
        (["--sizes", "null"], "sizes", None),
        (["--scales", "[0.5,1]"], "scales", (0.5, 1.0)),
        (["--group.rate", "0.25"], "group", Group(rate=0.25)),
        (["--group.bright"], "group", Group(bright=True)),
        (["--group.bright", "--heat", "2"], "group", Group(bright=True)),
        (["--group.pair=[3,4]"], "group", Group(pair=(3.0, 4.0))),
    ],
)
def test_words_become_values_of_the_right_type(words, name, value):
    found = cooked(*words)[name]
    assert found == value
    assert type(found) is type(value)


def test_a_switch_takes_no_positional_that_follows_it():
    for words in (
        ["cook", "--cold-start", "soup", "--out", "pot"],
        ["cook", "--out", "pot", "--cold-start", "soup"],
        ["cook", "--out=pot", "--group.bright", "soup", "--cold-start"],
    ):
        _, values = read(*words)
        assert (values["dish"], values["out"]) == ("soup", "pot")
        assert values["cold_start"] or values["group"].bright
    assert read("taste", "--quiet", "a", "b")[1] == {"pots": ["a", "b"], "quiet": True}
    assert read("taste", "a", "b", "--quiet", "false")[1]["quiet"] is False


def test_dashes_are_changed_in_names_of_options_only():
    words = ["cook", "my-dish", "--out=a-b/c--d", "--group.bright", "--heat", "-1", "--", "-x"]
    expected = ["cook", "my-dish", "--out=a-b/c--d", "--group.bright=true", "--heat", "-1", "--"]
    assert normalised(COMMANDS, words) == [*expected, "-x"]


def test_a_value_may_hold_an_equals_sign():
    assert read("cook", "a=b", "--out", "k=v")[1]["dish"] == "a=b"
    assert read("cook", "a", "--out=k=v")[1]["out"] == "k=v"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give a command; there are: cook, order, taste"),
        (["cok"], "no command 'cok'; did you mean cook?"),
        (["fly"], "no command 'fly'; there are: cook, order, taste"),
        (["cook"], "cook needs DISH and --out; see dealseg cook --help"),
        (["cook", "soup"], "cook needs --out; see dealseg cook --help"),
        (["taste"], "taste needs POTS; see dealseg taste --help"),
        (["cook", "s", "--out", "o", "--haet", "3"], "no option --haet; did you mean --heat?"),
        (["cook", "s", "--out", "o", "--hea", "3"], "no option --hea; did you mean --heat?"),
        (["cook", "s", "--out", "o", "--group.rat", "3"], "did you mean --group.rate?"),
        (["cook", "s", "--out", "o", "--zzz"], "no option --zzz; see dealseg cook --help"),
        (["taste", "s", "--heat", "3"], "taste knows no option --heat; see dealseg taste --help"),
        (["cook", "s", "t", "--out", "o"], "unrecognized arguments: t"),
        (["cook", "s", "--out", "o", "--heat", "hot"], "--heat: expected float, got hot"),
        (["cook", "s", "--out", "o", "--limit", "few"], "--limit: expected int or null, got few"),
        (["cook", "s", "--out", "o", "--limit", "1.5"], "--limit: expected int or null, got 1.5"),
        (["cook", "s", "--out", "o", "--mode", "no"], "--mode: expected one of 'slow', 'fast'"),
        (["cook", "s", "--out", "o", "--cold-start=maybe"], "--cold_start: expected bool, got may"),
        (["cook", "s", "--out", "o", "--scales", "1,x"], "--scales: expected float, got x"),
        (["cook", "s", "--out", "o", "--group.pair", "[1]"], "--group.pair: expected 2 numbers"),
        (["cook", "s", "--out", "o", "--group.rate", "-1"], "group.rate must be >= 0, got -1.0"),
        (["order", "fish"], "MEAL: expected one of 'soup', 'pie', got fish"),
        (["cook", "s", "--out"], "expected one argument"),
        (["cook", "s", "--out", "o", "--config"], "--config: expected one argument"),
        (["cook", "s", "--config", "--out", "o"], "--config: expected one argument"),
        (["cook", "s", "--out", "o", "--classes", "[a]"], "unknown option --classes"),
        (["cook", "s", "--out", "o", "--data-root=x"], "unknown option --data_root"),
        (["cook", "s", "--out", "o", "--config", "no.yaml"], "--config: File does not exist"),
    ],
)
def test_a_mistake_is_told_on_one_line_with_the_way_out(words, said):
    assert said in error(*words)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("heet: 3", "no option --heet (in the --config file); did you mean --heat?"),
        ("group: {rat: 3}", "no option --group.rat (in the --config file); did you mean --group.r"),
        ("heat: hot", "--heat: expected float, got hot"),
        ("group: {rate: -1}", "group.rate must be >= 0, got -1"),
        ("heat: [", "--config: "),
        ("just text", "--config: "),
        ("- a\n- b", "--config: "),
    ],
)
def test_a_mistake_in_a_configuration_file_is_told_in_the_same_way(tmp_path, text, said):
    (tmp_path / "c.yaml").write_text(text)
    assert said in error("cook", "s", "--out", "o", "--config", str(tmp_path / "c.yaml"))


def test_options_come_from_a_file_and_the_command_line_overrides_it(tmp_path):
    (tmp_path / "c.yaml").write_text("heat: 1e-4\ngroup: {rate: 2}\nout: there\n")
    file = str(tmp_path / "c.yaml")
    _, values = read("cook", "s", "--config", file, "--group.rate", "3")
    assert (values["heat"], values["group"].rate, values["out"]) == (1e-4, 3.0, "there")
    (tmp_path / "g.yaml").write_text("rate: 4\n")
    assert cooked("--group", str(tmp_path / "g.yaml"))["group"] == Group(rate=4.0)


def configured(word):
    """Return the method of a training with this word as --config."""
    return parse(cli.COMMANDS, ["train", "d", "--out", "r", "--config", word])[1]["method"]


def test_a_recipe_is_found_also_where_a_folder_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seam").mkdir()  # such as a run, or the authors' repository
    assert configured("seam") == "seam"
    (tmp_path / "weaktr").write_text("method: cam\n")
    assert configured("weaktr") == "cam"


def test_a_folder_as_config_is_refused_with_the_file_in_it_if_it_is_a_run(tmp_path):
    with pytest.raises(ConfigError, match="is a folder; give a YAML file or a recipe: "):
        configured(str(tmp_path))
    (tmp_path / "config.yaml").write_text("method: seam\n")
    with pytest.raises(ConfigError, match=rf"give {tmp_path}/config\.yaml"):
        configured(str(tmp_path))


def test_a_misspelt_recipe_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"orginal: .*; did you mean seam-original\?"):
        configured("seam-orginal")


def test_what_is_typed_before_config_wins_over_it_as_what_is_typed_after(tmp_path):
    (tmp_path / "c.yaml").write_text("heat: 7\nlimit: 4\ngroup: {rate: 2}\n")
    (tmp_path / "d.yaml").write_text("limit: 5\n")
    first, second = str(tmp_path / "c.yaml"), f"--config={tmp_path / 'd.yaml'}"
    words = ["cook", "s", "--heat", "1", "--config", first, "--out", "o", second, "--cold-start"]
    values = read(*words, "--group.rate", "3")[1]
    assert (values["heat"], values["limit"], values["group"].rate) == (1.0, 5, 3.0)
    before = parse(
        cli.COMMANDS, ["train", "d", "--losses", "deal", "--config", "seam", "--out", "r"]
    )
    assert (before[1]["losses"], before[1]["method"]) == ("deal", "seam")


def test_what_a_run_records_of_its_data_is_what_config_passes_over():
    assert {f.name for kind in (RunFacts, SegmenterFacts) for f in fields(kind)} == set(RECORDED)


def test_the_configuration_of_a_run_gives_the_same_training_again(tmp_path):
    words = ["train", "d", "--out", "r", "--seed", "5", "--optim.lr", "1e-5", "--losses", "none"]
    words += ["--augment.scale", "[0.5,1.5]", "--data.split", "null", "--frozen-stages", "2"]
    _, first = parse(cli.COMMANDS, words)
    options = {f.name: first[f.name] for f in fields(TrainConfig)}
    write_config(tmp_path, TrainConfig(**options), RunFacts(("cup",), "d", "metric"))
    file = str(tmp_path / "config.yaml")
    _, again = parse(cli.COMMANDS, ["train", "d", "--out", "r", "--config", file])
    assert again == first


def test_help_of_every_option_of_every_command_comes_from_the_docstring(capsys):
    for name in cli.COMMANDS:
        with pytest.raises(SystemExit) as caught:
            parse(cli.COMMANDS, [name, "--help"])
        assert caught.value.code == 0
        text = capsys.readouterr().out
        assert "--classes" not in text
        for line in (line.split() for line in text.splitlines()):
            if line and line[0].startswith("--") and "." not in line[0] and len(line) == 1:
                raise AssertionError(f"{name}: {line[0]} has no help")


def test_help_of_out_is_what_the_command_says_of_it(capsys):
    with pytest.raises(SystemExit):
        read("cook", "--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "--out OUT where to put it, with a text over two lines." in text


@pytest.mark.parametrize("given", ["1.5", "1,1.5", "[1,1.5]", "0.5,1.0"])
def test_a_list_of_numbers_needs_no_brackets(given):
    from dealseg.cli import COMMANDS

    wanted = tuple(float(number) for number in given.strip("[]").split(","))
    for words in (["--scales", given], [f"--scales={given}"]):
        _, values = parse(COMMANDS, ["label", "run", "data", "--out", "masks", *words])
        assert values["scales"] == wanted
