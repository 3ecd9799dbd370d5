"""A tokenizer out of a folder of a model of others, and into one."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from core.errors import UserError
from text.tokenizer import Roles, TextTokenizer
from text.tokenizer_files import CONFIG, TOKENIZER, read_tokenizer

ROLES = ("bos", "eos", "pad")


def read_hf_tokenizer(folder: Path, config: Mapping[str, Any]) -> TextTokenizer:
    """Return a folder's tokenizer after checking that it is the model's.

    Args:
        folder: With tokenizer.json and, unless that tells enough, tokenizer_config.json.
        config: Of config.json and generation_config.json together.

    Special tokens that the model has no row for, such as a [PAD] that a fine-tuning put in, are
    left out: no text contains them, and they are never written.

    Raises:
        UserError: if texts are made of tokens without a row, or other tokens begin and end them.
    """
    path = folder / TOKENIZER
    if not path.is_file():
        raise UserError(
            f"{folder} has no {TOKENIZER}; write one with transformers:"
            f" AutoTokenizer.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})"
        )
    try:
        tokenizer = _as_learned(read_tokenizer(path, config))
    except ValueError as error:
        raise UserError(f"the tokenizer in {folder} cannot be read: {error}") from error
    if len(tokenizer) > config["vocab_size"]:
        tokenizer = _with_rows(tokenizer, config["vocab_size"], path)
    for role in ("bos", "eos"):
        _check_role(role, getattr(tokenizer.roles, role), config, path)
    return tokenizer


def write_hf_tokenizer(tokenizer: TextTokenizer, folder: Path, context: int) -> None:
    """Write what `AutoTokenizer` reads.

    A text gets its begin there, as in training, unless the tokenizer itself says what is put around
    texts.

    Args:
        tokenizer: To write.
        folder: To write to.
        context: Tokens that the model takes.
    """
    (folder / TOKENIZER).write_text(_with_begin(tokenizer), encoding="utf-8")
    names = {number: name for name, number in tokenizer.vocabulary.items()}
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
    }
    config |= {f"{role}_token": names[number] for role, number in roles_of(tokenizer).items()}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")


def roles_of(tokenizer: TextTokenizer) -> dict[str, int]:
    """Return role -> id of those that there are."""
    held = {role: getattr(tokenizer.roles, role) for role in ROLES}
    return {role: number for role, number in held.items() if number is not None}


def _with_begin(tokenizer: TextTokenizer) -> str:
    """Return the library's JSON of a tokenizer that puts the begin before a text."""
    library = Tokenizer.from_str(tokenizer.library_json)
    begin = tokenizer.bos
    if begin is None or library.post_processor is not None:
        return tokenizer.library_json
    name = library.id_to_token(begin)
    library.post_processor = TemplateProcessing(
        single=[name, "$A"], pair=[name, "$A", "$B"], special_tokens=[(name, begin)]
    )
    return library.to_str()


def _as_learned(tokenizer: TextTokenizer) -> TextTokenizer:
    """Take away from a tokenizer that was learned here what `_with_begin` put into it."""
    if tokenizer.roles != Roles():
        return tokenizer
    learned = json.loads(tokenizer.library_json) | {"post_processor": None}
    plain = TextTokenizer(json.dumps(learned))
    same = json.loads(_with_begin(plain)) == json.loads(tokenizer.library_json)
    return plain if same else tokenizer


def _with_rows(tokenizer: TextTokenizer, rows: int, path: Path) -> TextTokenizer:
    """Return a tokenizer without the special tokens that the model has no row for."""
    extra = {name: n for name, n in tokenizer.vocabulary.items() if n >= rows}
    needed = set(extra) - set(tokenizer.special)
    needed |= {name for name, n in extra.items() if n in (tokenizer.bos, tokenizer.eos)}
    if needed:
        first = min(needed, key=extra.__getitem__)
        raise UserError(
            f"{path} has {len(tokenizer)} tokens but the model's embedding has {rows} rows: none"
            f" for {len(needed)} that texts need, such as {first!r} ({extra[first]}); take both"
            " from one place, or give the model rows with transformers:"
            f" model.resize_token_embeddings({len(tokenizer)}); model.save_pretrained(...)"
        )
    held = json.loads(tokenizer.library_json)
    held["added_tokens"] = [token for token in held["added_tokens"] if token["id"] < rows]
    vocabulary = held["model"]["vocab"]
    if isinstance(vocabulary, dict):
        held["model"]["vocab"] = {name: n for name, n in vocabulary.items() if n < rows}
    else:  # a Unigram numbers its tokens by their places
        held["model"]["vocab"] = vocabulary[:rows]
    if _mentions(held["post_processor"], extra):
        held["post_processor"] = None
    roles = tokenizer.roles
    pad = roles.pad if roles.pad is not None and roles.pad < rows else None
    names = ", ".join(f"{name!r} ({n})" for name, n in sorted(extra.items(), key=lambda e: e[1]))
    print(f"left out {names}: the model has {rows} rows, none for it", file=sys.stderr)
    return TextTokenizer(json.dumps(held), replace(roles, pad=pad))


def _mentions(part: object, names: Mapping[str, int]) -> bool:
    """Tell whether a part of a tokenizer names one of some tokens, at any depth."""
    if isinstance(part, dict):
        return any(_mentions(value, names) for pair in part.items() for value in pair)
    if isinstance(part, list):
        return any(_mentions(value, names) for value in part)
    return isinstance(part, str) and part in names


def _check_role(role: str, number: int | None, config: Mapping[str, Any], path: Path) -> None:
    """Raise unless the model's configuration names the same token, or none."""
    told = config.get(f"{role}_token_id")
    known = [n for n in (told if isinstance(told, list) else [told]) if n is not None]
    if known and number is not None and number not in known:
        raise UserError(
            f"{role} is token {number} by {path} and {CONFIG} beside it, but"
            f" {' or '.join(map(str, sorted(known)))} by the model's config.json: the tokenizer is"
            " another model's, or one of the two is wrong; take all files from one place"
        )
