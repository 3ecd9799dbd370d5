"""A tokenizer from a file or a checkpoint, and whether it is the one that others were made with."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from core.errors import UserError
from core.files import existing_file, new_file
from text.tokenizer import Roles, TextTokenizer
from text.tokenizer_kinds import SPECIAL

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
MAP = "special_tokens_map.json"
"""Names special tokens, too, where older programs saved a tokenizer."""
KEYS = {"bos": ("bos_token", "cls_token"), "eos": ("eos_token", "sep_token"), "pad": ("pad_token",)}
"""Role -> keys of a configuration that name its token; BERT's are the second."""
USUAL = {
    "bos": ("<s>", "<bos>", "[BOS]", "[CLS]", "<|begin_of_text|>"),
    "eos": ("</s>", "<eos>", "[EOS]", "[SEP]", "<|end_of_text|>", "<|endoftext|>"),
    "pad": ("<pad>", "[PAD]"),
}
"""Role -> names that tokens of it have where no file tells."""
STATE = "codec._extra_state"
"""Where a text model's checkpoint holds its tokenizer."""


def read_tokenizer(path: str | Path, model: Mapping[str, Any] | None = None) -> TextTokenizer:
    """Return the tokenizer of a tokenizer.json or of a text model's checkpoint.

    A tokenizer.json from elsewhere takes its roles from the tokenizer_config.json beside it
    (`bos_token`, `eos_token`, `pad_token`), or from the model's config.json. If these name no end,
    its only special token is begin and end, as GPT-2's, or those of the usual names are.

    Args:
        path: The file; of a folder with a tokenizer.json, that.
        model: What config.json holds of the tokenizer's model.
    """
    path = Path(path)
    if (path / TOKENIZER).is_file():
        path = path / TOKENIZER
    if path.suffix != ".json":
        return _from_checkpoint(path)
    try:
        text = existing_file(path).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}); restore it") from None
    return TextTokenizer(text, _roles_beside(path, text, model or {}))


def write_tokenizer(tokenizer: TextTokenizer, path: Path) -> None:
    """Write a tokenizer.json."""
    with new_file(path) as partial:
        partial.write_text(tokenizer.json, encoding="utf-8")


def check_written_with(
    tokenizer: TextTokenizer, fields: Mapping[str, Any], folder: str | Path
) -> None:
    """Raise unless token shards were written with this tokenizer.

    Args:
        tokenizer: The model's.
        fields: `fields` of the shards' manifest.
        folder: Where they are, for the message.
    """
    found = fields.get("tokenizer")
    if found is None:
        raise UserError(f"{folder} holds no tokens; write some with: python -m text.tokens")
    if found != tokenizer.digest:
        raise UserError(
            f"{folder} was written with tokenizer {found[:12]} ({fields.get('vocabulary')} tokens) "
            f"but the model's is {tokenizer.digest[:12]} ({len(tokenizer)} tokens); write it again "
            "with: python -m text.tokens --tokenizer CHECKPOINT, or train a new model"
        )


def _from_checkpoint(path: Path) -> TextTokenizer:
    from core.checkpoint import read_checkpoint

    state = read_checkpoint(path)["state_dict"].get(STATE)
    if state is None or not len(state):
        raise UserError(
            f"{path} holds no tokenizer of a text model; name a tokenizer.json or a text model's "
            "last.ckpt"
        )
    return TextTokenizer(bytes(state.tolist()).decode())


def _roles_beside(path: Path, text: str, model: Mapping[str, Any]) -> Roles | None:
    """Return the roles that files from elsewhere tell; None for those that tell their own."""
    try:
        library = Tokenizer.from_str(text)
    except Exception:  # the Rust library raises no narrower type
        return None  # no tokenizer, or one of ours with roles: who reads it will see
    if tuple(map(library.id_to_token, range(len(SPECIAL)))) == SPECIAL:
        return None
    config = _config_beside(path, MAP) | _config_beside(path, CONFIG)
    bos, eos, pad = (_number(config, role, library, path) for role in KEYS)
    if eos is None:
        bos, eos = (_of_model(model, role, library) for role in ("bos", "eos"))
    special = [i for i, t in library.get_added_tokens_decoder().items() if t.special]
    if eos is None and len(special) == 1:
        bos = eos = special[0]
    if eos is None and not config:
        bos, eos, pad = (_usual(role, library) for role in KEYS)
    return None if eos is None else Roles(bos, eos, pad)


def _of_model(model: Mapping[str, Any], role: str, library: Tokenizer) -> int | None:
    """Return the token that a model's configuration gives a role, the first of several."""
    told = model.get(f"{role}_token_id")
    for number in told if isinstance(told, list) else [told]:
        if isinstance(number, int) and library.id_to_token(number) is not None:
            return number
    return None


def _usual(role: str, library: Tokenizer) -> int | None:
    """Return the token that has a usual name of a role."""
    found = (library.token_to_id(name) for name in USUAL[role])
    return next((number for number in found if number is not None), None)


def _config_beside(path: Path, name: str) -> dict[str, Any]:
    """Return what a file beside a tokenizer tells; keys without a value are left out."""
    config = path.with_name(name)
    if not config.exists():
        return {}
    try:
        told = dict(json.loads(config.read_text("utf-8-sig")))
        return {key: value for key, value in told.items() if value is not None}
    except (ValueError, TypeError) as error:
        raise UserError(f"{config} is no JSON object ({error}); restore it") from error


def _number(config: dict[str, Any], role: str, library: Tokenizer, path: Path) -> int | None:
    """Return the id of a token that the configuration names, as a string or with its options."""
    told = [config[key] for key in KEYS[role] if key in config]
    token = told[0] if told else None
    name = token.get("content") if isinstance(token, dict) else token
    number = None if name is None else library.token_to_id(str(name))
    # A padding that is in no file was to be put in, at the end; no text needs it.
    if number is None and name is not None and role != "pad":
        raise UserError(
            f"{path.with_name(CONFIG)} names {name!r} as {role}_token but {path} has no such"
            " token; take both files from one place"
        )
    return number
