"""Claims about what conversion refuses: one line, exit code 2, nothing run, nothing written."""

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.checkpoint import AtomicCheckpointIO, read_checkpoint
from core.cli import command, guard
from tests.foreign import foreign_tokenizer, save_foreign
from text.convert import from_hf, to_hf, verb
from text.generate import generate
from text.low_rank import LoRA
from text.model import TextConfig
from text.module import TextModule
from text.tokenizer import TextTokenizer

CONFIG, WEIGHTS = "config.json", "model.safetensors"


@pytest.fixture
def folder(tmp_path):
    save_foreign("qwen3", tmp_path / "theirs")
    return tmp_path / "theirs"


class Evil:
    """What a pickle may hold: a call of anything, made when it is read."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def run(argv: list[str]) -> None:
    command({"from_hf": from_hf, "to_hf": to_hf}, guard(lambda: verb(argv)))


def refused(argv: list[str], capsys, tmp_path: Path) -> str:
    """Run the command, which must fail in one line and leave no new file, and return the line."""
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run(argv)
    assert stop.value.code == 2
    assert sorted(tmp_path.rglob("*")) == before
    out, line = capsys.readouterr()
    assert out == ""
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    return line


def not_read(folder: Path, capsys) -> str:
    root = folder.parent
    argv = ["--from", "hf", "--source", str(folder), "--out", str(root / "ours.ckpt")]
    return refused(argv, capsys, root)


def not_written(checkpoint: Path, capsys) -> str:
    root = checkpoint.parent
    argv = ["--to", "hf", "--checkpoint", str(checkpoint), "--out", str(root / "hf")]
    return refused(argv, capsys, root)


def change(folder: Path, name: str = CONFIG, **values) -> None:
    config = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(config | values))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "qwen3_moe"}, "type 'qwen3_moe'; gpt2, llama, qwen3 can be read"),
        ({"model_type": None}, "type None"),
        ({"use_sliding_window": True, "sliding_window": 8}, "use_sliding_window is True"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding_attention"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "positions by yarn"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "a part of the channels"),
        ({"rope_parameters": {"rope_type": "llama3"}}, "has no 'factor'"),
        ({"rope_parameters": 7}, "no model that can be built"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"hidden_size": "32"}, "hidden_size is '32'"),
        ({"num_hidden_layers": 10**9}, "1000000000 blocks"),
        ({"num_hidden_layers": 3}, "layers.2"),
        ({"intermediate_size": 46}, "mlp.down_proj.weight is [32, 44], not [32, 46]"),
        ({"num_key_value_heads": 3}, "must be a multiple of kv_heads 3"),
        ({"rms_norm_eps": -1.0}, "eps is -1.0"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings false"),
        ({"hidden_act": "relu"}, "gate_proj.weight and model.layers.0.mlp.up_proj.weight differ"),
        ({"vocab_size": 200}, "do not fit"),
    ],
)
def test_a_model_that_is_not_computed_here_is_refused(folder, changes, told, capsys):
    change(folder, **changes)
    assert told in not_read(folder, capsys)


def test_biases_of_llama_are_refused(tmp_path, capsys):
    save_foreign("llama", tmp_path / "llama")
    change(tmp_path / "llama", mlp_bias=True)
    assert "mlp_bias is True" in not_read(tmp_path / "llama", capsys)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"activation_function": "relu"}, "activation_function is 'relu'"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ({"n_embd": 32}, "width 32 must be a multiple of the 3 heads"),
    ],
)
def test_a_strange_gpt2_is_refused(tmp_path, changes, told, capsys):
    save_foreign("gpt2", tmp_path / "gpt2")
    change(tmp_path / "gpt2", **changes)
    assert told in not_read(tmp_path / "gpt2", capsys)


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.999])
def test_truncated_weights_are_refused(folder, share, capsys):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: int(len(data) * share)])
    line = not_read(folder, capsys)
    assert str(folder / WEIGHTS) in line
    assert "damaged or no safetensors" in line or "is empty" in line


def test_weights_that_are_missing_foreign_or_quantised_are_refused(folder, capsys):
    whole = load_file(folder / WEIGHTS)
    name = "model.layers.1.self_attn.q_norm.weight"
    for change_weights, told in (
        (lambda w: w.pop(name), f"{name} is missing"),
        (lambda w: w.update(strange=torch.ones(2)), "model.strange is not known"),
        (lambda w: w.update({name: torch.ones(12, dtype=torch.int8)}), f"{name} is of type I8"),
    ):
        weights = dict(whole)
        change_weights(weights)
        save_file(weights, folder / WEIGHTS, {"format": "pt"})
        assert told in not_read(folder, capsys)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (name, content)
        for name in (CONFIG, "tokenizer.json", "tokenizer_config.json")
        for content in ("", "{", "[1]", '{"a": 1}')
        if name != "tokenizer_config.json" or content != '{"a": 1}'  # config.json has the roles
    ],
)
def test_damaged_json_is_refused(folder, name, content, capsys):
    (folder / name).write_text(content)
    assert str(folder) in not_read(folder, capsys)


def test_an_index_that_leads_elsewhere_is_refused(folder, capsys):
    (folder / WEIGHTS).rename(folder.parent / WEIGHTS)
    for name in (f"../{WEIGHTS}", str(folder.parent / WEIGHTS), "weights.bin"):
        index = {"weight_map": {"lm_head.weight": name}}
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
        assert "no safetensors file beside it" in not_read(folder, capsys)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(folder, capsys):
    other = foreign_tokenizer("qwen3")
    other.add_tokens([f"token{i}" for i in range(9)])
    other.save_pretrained(folder)
    line = not_read(folder, capsys)
    assert "has 312 tokens but the model's embedding has 308 rows: none for 4" in line
    assert "'token5' (308)" in line
    assert "model.resize_token_embeddings(312)" in line


def test_a_tokenizer_with_another_end_is_refused(folder, capsys):
    foreign_tokenizer("gpt2").save_pretrained(folder)
    assert "another model's" in not_read(folder, capsys)
    change(folder, eos_token_id=300)
    (folder / "generation_config.json").unlink()
    from_hf(folder, folder.parent / "ours.ckpt")


def test_a_folder_without_a_tokenizer_or_weights_is_refused(folder, capsys):
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in not_read(folder, capsys)
    (folder / WEIGHTS).unlink()
    assert f"holds no {WEIGHTS}" in not_read(folder, capsys)
    assert "is no folder" in not_read(folder / "elsewhere", capsys)


@pytest.mark.parametrize("name", ["pytorch_model.bin", WEIGHTS])
def test_a_pickle_among_the_weights_is_never_run(folder, name, capsys):
    marker = folder.parent / "marker"
    (folder / WEIGHTS).unlink()
    (folder / name).write_bytes(pickle.dumps(Evil(marker)))
    assert re.search("pickle|no safetensors", not_read(folder, capsys))
    assert not marker.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("where", ["whole", "unison", "state_dict"])
def test_a_checkpoint_with_a_program_in_it_is_never_run(tmp_path, zipped, where, capsys):
    marker, path = tmp_path / "marker", tmp_path / "last.ckpt"
    ours = {"kind": "text", "version": 1, "init": {}}
    content = Evil(marker) if where == "whole" else {"unison": ours, where: {"a": Evil(marker)}}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert str(path) in not_written(path, capsys)
    with pytest.raises(SystemExit) as stop:
        command(generate, ["--checkpoint", str(path)])
    assert stop.value.code == 2
    assert not marker.exists()


def test_the_command_itself_ends_with_code_2_and_one_line(tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "last.ckpt"
    torch.save(Evil(marker), path)
    argv = ["--to", "hf", "--checkpoint", str(path), "--out", str(tmp_path / "hf")]
    ended = subprocess.run(
        [sys.executable, "-m", "text.convert", *argv], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.ckpt"]


def own(
    path: Path, vocabulary: int = 300, *, tokenizer: bool = True, lora: LoRA | None = None, **shape
) -> None:
    """Write a checkpoint of a language model of ours."""
    sizes = {"width": 32, "depth": 1, "heads": 4, "context": 16, "prefix": 0}
    module = TextModule(TextConfig(**sizes | shape, vocabulary=vocabulary), lora=lora)
    if tokenizer:
        module.codec.use(TextTokenizer.train([], 290))
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ({"prefix": 2}, "2 condition tokens before the text"),
        ({"softcap": 15.0}, "softcap of 15.0"),
        ({"mlp": "gelu"}, "MLP of kind gelu; that of qwen3 is swiglu or relu2"),
        ({"layout": "gpt2"}, "MLP of kind relu2; that of gpt2 is gelu"),
        ({"layout": "gpt2", "mlp": "gelu", "kv_heads": 2}, "2 heads of keys for 4 of queries"),
        ({"layout": "gpt2", "mlp": "gelu", "head_width": 6}, "heads of 6 channels"),
        ({"layout": "llama", "width": 34, "head_width": 8}, "no multiple of its 4 heads"),
        ({"tokenizer": False}, "holds no tokenizer"),
        ({"lora": LoRA(rank=2)}, "put them in first with: python -m text.lora merge"),
    ],
)
def test_what_no_other_format_can_tell_is_refused(tmp_path, shape, told, capsys):
    own(tmp_path / "last.ckpt", **shape)
    assert told in not_written(tmp_path / "last.ckpt", capsys)


def test_a_checkpoint_whose_tokenizer_is_another_is_refused(tmp_path, capsys):
    own(tmp_path / "last.ckpt")
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    words = [f"w{i}" for i in range(200)]
    larger = TextTokenizer.train([" ".join(words)] * 3, 400).json
    state = torch.tensor(list(larger.encode()), dtype=torch.uint8)
    checkpoint["state_dict"]["codec._extra_state"] = state
    AtomicCheckpointIO().save_checkpoint(checkpoint, tmp_path / "last.ckpt")
    assert "does not fit a vocabulary of 300" in not_written(tmp_path / "last.ckpt", capsys)


def test_a_truncated_or_foreign_checkpoint_is_refused(tmp_path, capsys):
    own(tmp_path / "last.ckpt")
    data = (tmp_path / "last.ckpt").read_bytes()
    for share in (0, 0.01, 0.5, 0.99):
        (tmp_path / "cut.ckpt").write_bytes(data[: int(len(data) * share)])
        assert "cut.ckpt" in not_written(tmp_path / "cut.ckpt", capsys)
    torch.save({"state_dict": {"net.embed.weight": torch.ones(2)}}, tmp_path / "cut.ckpt")
    assert "was not written by Unison" in not_written(tmp_path / "cut.ckpt", capsys)
    assert "is not there" in not_written(tmp_path / "none.ckpt", capsys)


def test_a_folder_that_holds_something_is_not_written_over(tmp_path, capsys):
    own(tmp_path / "last.ckpt", layout="llama")
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "mine").write_text("mine")
    assert "is not empty" in not_written(tmp_path / "last.ckpt", capsys)
    assert [p.name for p in (tmp_path / "hf").iterdir()] == ["mine"]


@pytest.mark.parametrize("argv", [["--from", "gguf"], ["--source", "a"], ["--to"], []])
def test_without_a_known_direction_it_says_which_there_are(argv, capsys, tmp_path):
    assert "say --from hf" in refused(argv, capsys, tmp_path)


def test_the_direction_may_stand_anywhere():
    wanted = ["from_hf", "--source", "a", "--out", "b"]
    assert verb(["--source", "a", "--from", "hf", "--out", "b"]) == wanted
    assert verb(["--from=hf", "--source", "a", "--out", "b"]) == wanted
