"""Claims about how a command line is read."""

from core.cli import quoted_lists


def test_options_of_several_values_hold_whatever_is_typed():
    line = ["--stop", "a, b", "]", "--seed", "3", "--terms", "x,y"]
    wanted = ['--stop=["a, b", "]"]', "--seed", "3", '--terms=["x,y"]']
    assert quoted_lists(line, ["--stop", "--terms"]) == wanted


def test_one_value_stays_alone_where_it_may():
    lists = ["--source", "--stop"]
    assert quoted_lists(["--source", "[a]"], lists, alone=["--source"]) == ["--source", "[a]"]
    assert quoted_lists(["--source", "my files", "b"], lists, alone=["--source"]) == [
        '--source=["my files", "b"]'
    ]


def test_an_option_without_a_value_is_left_for_the_parser_to_refuse():
    assert quoted_lists(["--stop", "--seed", "3"], ["--stop"]) == ["--stop", "--seed", "3"]
