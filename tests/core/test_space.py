import pytest
import yaml

from core.sweep.space import Choices, Floats, Integers, combinations, read_space, to_yaml


def space_of(tmp_path, text):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return read_space(path)


def test_a_space_is_read_as_typed_ranges(tmp_path):
    text = "a.lr: {low: 1e-4, high: 1, log: true}\nb: {type: int, low: 2, high: 8, step: 3}\n"
    assert space_of(tmp_path, text + "c: {choices: [x, null, true, 3]}\n") == {
        "a.lr": Floats(1e-4, 1.0, log=True),
        "b": Integers(2, 8, step=3),
        "c": Choices(("x", None, True, 3)),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no option"),
        ("[a, b]", "names no option"),
        ("a: {low: 1", "is no YAML"),
        ("a: {low: 1, high: 2}\na: {choices: [1]}", "a is there twice"),
        ("a: 3", "a is 3 but must be a range or choices"),
        ("--a: {choices: [1]}", "is written without dashes"),
        ("out: {choices: [b]}", "out is given by the sweep"),
        ("a: {low: 1, high: 2, logg: true}", "'logg' is no key of floats"),
        ("a: {type: int, low: 1, high: 2, points: 2}", "'points' is no key of integers"),
        ("a: {choices: [1], log: true}", "'log' is no key of choices"),
        ("a: {type: text, low: 1, high: 2}", "type is 'text' but must be one of: float, int"),
        ("a: {low: 1}", "high missing"),
        ("a: {log: true}", "low and high missing"),
        ("a: {low: 2, high: 2}", "low is 2.0 but must be below high"),
        ("a: {low: x, high: 2}", "low is 'x' but must be a number"),
        ("a: {low: .nan, high: 2}", "low is nan but must be a number"),
        ("a: {low: true, high: 2}", "low is True but must be a number"),
        ("a: {low: 0, high: 2, log: true}", "a log range begins above 0"),
        ("a: {low: 1, high: 2, log: 1}", "log is 1 but must be true or false"),
        ("a: {low: 1, high: 2, points: 1}", "points is 1"),
        ("a: {type: int, low: 1.5, high: 2}", "low is 1.5 but must be an integer"),
        ("a: {type: int, low: 1, high: 8, step: 2}", "steps of 2 from 1 miss 8; end at 7"),
        ("a: {type: int, low: 1, high: 8, step: 0}", "step is 0"),
        ("a: {type: int, low: 1, high: 8, step: 7, log: true}", "a log range has none"),
        ("a: {choices: []}", "choices is empty"),
        ("a: {choices: 3}", "choices is 3 but must be a list"),
        ("a: {choices: [1, 1]}", "has a value twice"),
        ("a: {choices: [[0.9, 0.95]]}", "write it as text: '[0.9, 0.95]'"),
    ],
)
def test_a_mistake_in_a_space_is_one_line(tmp_path, text, said):
    with pytest.raises(ValueError, match=r"space\.yaml") as error:
        space_of(tmp_path, text + "\n" if text else "# nothing\n")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_grid_holds_the_ends_of_every_range():
    assert Floats(0.001, 0.1, log=True, points=3).grid() == (0.001, 0.01, 0.1)
    assert Floats(-1.0, 1.0, points=3).grid() == (-1.0, 0.0, 1.0)
    assert Integers(2, 8, step=3).grid() == (2, 5, 8)


def test_a_grid_of_a_range_without_points_says_what_is_missing():
    with pytest.raises(ValueError, match=r"a\.lr: a grid needs to know how many points"):
        combinations({"a.lr": Floats(0.0, 1.0)})


def test_combinations_are_the_product_of_the_grids():
    rows = combinations({"a": Choices((1, 2)), "b": Integers(0, 1)})
    assert rows == [{"a": 1, "b": 0}, {"a": 1, "b": 1}, {"a": 2, "b": 0}, {"a": 2, "b": 1}]


def test_values_become_a_configuration():
    values = {"a.lr": 1e-5, "b": None, "a.c.on": True, "d": "x"}
    text = to_yaml(values)
    assert yaml.safe_load(text) == {"a": {"lr": 1e-5, "c": {"on": True}}, "b": None, "d": "x"}
