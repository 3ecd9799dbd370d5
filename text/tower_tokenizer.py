"""How the text tower reads a text, as one tokenizer.json for those who have the library alone."""

from tokenizers import Regex, Tokenizer
from tokenizers.normalizers import Lowercase, Replace, Sequence, Strip
from tokenizers.processors import TemplateProcessing

from text.tokenizer import TextTokenizer

BETWEEN_WORDS = r"((?<![\p{L}\p{N}_])['\u2019]|['\u2019](?![\p{L}\p{N}_])|[^\p{L}\p{N}_'\u2019])+"
"""What `text.encoder.words` leaves out: all but letters, numbers, and apostrophes inside words."""


def tower_tokenizer(tokenizer: TextTokenizer, context: int) -> str:
    """Return the library's JSON of a tokenizer that does all that the tower does to a text.

    Words in lower case, a space between them, begin and end around, shorter rows filled up. A text
    longer than the context is cut so that its end stays, where the tower's own reading loses it.

    Args:
        tokenizer: The tower's.
        context: Tokens at most.
    """
    library = Tokenizer.from_str(tokenizer.library_json)
    assert library.normalizer is None, "the tower's own tokenizer takes texts as they are"
    words = Replace(Regex(BETWEEN_WORDS), " ")
    library.normalizer = Sequence([Lowercase(), words, Strip()])
    marks = [(library.id_to_token(i), i) for i in (tokenizer.bos, tokenizer.eos) if i is not None]
    names = [name for name, _ in marks]
    library.post_processor = TemplateProcessing(
        single=[*names[:-1], "$A", names[-1]], special_tokens=marks
    )
    library.enable_truncation(context)
    pad = tokenizer.pad or 0
    library.enable_padding(pad_id=pad, pad_token=library.id_to_token(pad))
    return library.to_str()
