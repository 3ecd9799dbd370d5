import pytest

from text.corpus.language import check_languages, language
from text.corpus.terms import read_terms


@pytest.fixture
def spam(tmp_path):
    path = tmp_path / "spam.txt"
    path.write_text("# what is sold\ncheap pills\nC++\nSTRASSE\n\ncasino\n", encoding="utf-8")
    return read_terms(path)


@pytest.mark.parametrize(
    "text",
    [
        "Buy CHEAP\n  pills!",
        "casino",
        "I like C++, really",
        "Straße",
        "(casino)",
        "the casino-goer",
    ],
)
def test_a_term_is_found_in_any_case_and_across_white_space(spam, text):
    assert spam.occur_in(text)


@pytest.mark.parametrize(
    "text", ["casinos", "cheap pillsbury", "C is fine", "cheap", "", "occasino"]
)
def test_a_part_of_a_word_is_no_term(spam, text):
    assert not spam.occur_in(text)


def test_a_list_is_named_after_its_file(spam):
    assert spam.name == "spam"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"# only a note\n", "lists no terms"), (b"\xff\xfe", "is not UTF-8"),
     (b"--\n", "must begin with a letter or digit")],
)  # fmt: skip
def test_a_useless_list_is_an_error(tmp_path, content, message):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_terms(path)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "The quick brown fox jumps over the lazy dog near the river bank."),
        ("de", "Der schnelle braune Fuchs springt über den faulen Hund am Flussufer."),
        ("es", "El rápido zorro marrón salta sobre el perro perezoso junto al río."),
        ("fr", "Le rapide renard brun saute par-dessus le chien paresseux près de la rivière."),
    ],
)
def test_sentences_are_told_by_their_language(code, text):
    assert language(text) == code


def test_an_unknown_language_is_an_error():
    with pytest.raises(ValueError, match=r"language xx is not known; name some of .*en"):
        check_languages(("en", "xx"))
