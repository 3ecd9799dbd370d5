"""A tokenizer from a file or a checkpoint, and whether it is the one that others were made with."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import existing_file, new_file
from text.tokenizer import Roles, TextTokenizer
from text.tokenizer_kinds import SPECIAL

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
STATE = "codec._extra_state"
"""Where a text model's checkpoint holds its tokenizer."""


def read_tokenizer(path: str | Path) -> TextTokenizer:
    """Return the tokenizer of a tokenizer.json or of a text model's checkpoint.

    A tokenizer.json from elsewhere takes its roles from the tokenizer_config.json beside it
    (`bos_token`, `eos_token`, `pad_token`); if that names no end, its only special token is begin
    and end, as GPT-2's.
    """
    path = Path(path)
    if path.suffix != ".json":
        return _from_checkpoint(path)
    text = existing_file(path).read_text("utf-8")
    return TextTokenizer(text, _roles_beside(path, text))


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


def _roles_beside(path: Path, text: str) -> Roles | None:
    """Return the roles that files from elsewhere tell; None for those that tell their own."""
    try:
        added = {token["content"]: token for token in json.loads(text).get("added_tokens", ())}
    except (ValueError, AttributeError, TypeError, KeyError):
        return None  # no tokenizer, or one of ours with roles: who reads it will see
    if not added or tuple(added)[: len(SPECIAL)] == SPECIAL:
        return None
    config, special = _config_beside(path), [t["id"] for t in added.values() if t["special"]]
    bos, eos, pad = (
        _number(config, f"{role}_token", added, path) for role in ("bos", "eos", "pad")
    )
    if eos is None and len(special) == 1:
        return Roles(special[0], special[0], pad)
    return None if eos is None else Roles(bos, eos, pad)


def _config_beside(path: Path) -> dict[str, Any]:
    config = path.with_name(CONFIG)
    if not config.exists():
        return {}
    try:
        return dict(json.loads(config.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{config} is no JSON object ({error}); restore it") from error


def _number(config: dict[str, Any], key: str, added: dict[str, Any], path: Path) -> int | None:
    """Return the id of a token that the configuration names, as a string or with its options."""
    token = config.get(key)
    name = token.get("content") if isinstance(token, dict) else token
    if name is None:
        return None
    if name not in added:
        raise UserError(
            f"{path.with_name(CONFIG)} names {name!r} as {key} but {path} has no such added token; "
            "take both files from one place"
        )
    return added[name]["id"]
