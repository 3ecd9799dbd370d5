"""Claims about text models as ONNX files: equal logits, at once and token by token."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import yaml

from core.checkpoint import AtomicCheckpointIO, load_module
from core.cli import command
from tests.alone import card_code, run_alone, unchecked
from tests.refusals import refused, write_wrong_things
from text.export import export, write_graphs
from text.model import TextConfig, TextModel
from text.module import TextModule
from text.onnx_graphs import nothing_read
from text.sampling import TextOptions
from text.tokenizer import TextTokenizer

TEXTS = ["a red seven moves left", "two big blue ones", "three"]
WIDTH = 8
MODELS = {
    "captions": (WIDTH, {}),
    "language": (
        0,
        {"prefix": 0, "layout": "llama", "mlp": "swiglu", "kv_heads": 2, "tied": False},
    ),
}
"""Width of the condition, and shape of the model."""


def write_checkpoint(path: Path, cond_dim: int, **shape) -> TextModule:
    """Write a checkpoint of a random model."""
    torch.manual_seed(0)
    sizes = {"width": 32, "depth": 2, "heads": 4, "context": 24, "vocabulary": 300}
    module = TextModule(TextConfig(**sizes | shape), cond_dim=cond_dim)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    module.codec.use(TextTokenizer.train(TEXTS, 290))
    checkpoint = {"state_dict": module.state_dict(), "global_step": 5}
    module.on_save_checkpoint(checkpoint)
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return module.eval()


def call(*argv: str | Path) -> None:
    with unchecked():
        command(export, [str(word) for word in argv])


@pytest.fixture(scope="module", params=MODELS)
def made(request, tmp_path_factory) -> tuple[TextModule, Path]:
    """Return a model and the folder with its export `model`."""
    folder = tmp_path_factory.mktemp(request.param)
    cond_dim, shape = MODELS[request.param]
    write_checkpoint(folder / "last.ckpt", cond_dim, **shape)
    call("--checkpoint", folder / "last.ckpt", "--to", "onnx", "--out", folder / "model")
    return load_module(folder / "last.ckpt", TextModule), folder


class Files:
    """The two files in onnxruntime."""

    def __init__(self, folder: Path, net: TextModel):
        self.net, self.folder = net, folder
        self._read = onnxruntime.InferenceSession(folder / "read.onnx")

    def begin(self, keep: torch.Tensor, cond: torch.Tensor | None) -> list[np.ndarray]:
        """Return keys and values before any text."""
        if not self.net.config.prefix:
            return [nothing_read(self.net, len(keep)).numpy()] * 2
        session = onnxruntime.InferenceSession(self.folder / "begin.onnx")
        given = {"keep": keep.numpy()} | ({} if cond is None else {"cond": cond.numpy()})
        return session.run(None, given)

    def read(self, ids: torch.Tensor, keys: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
        """Return logits, keys and values."""
        return self._read.run(None, {"ids": ids.numpy(), "keys": keys, "values": values})


def inputs(
    net: TextModel, rows: int, tokens: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return ids, which rows keep their condition, and the conditions."""
    torch.manual_seed(rows + tokens)
    ids = torch.randint(net.config.vocabulary, (rows, tokens))
    cond = torch.nn.functional.normalize(torch.randn(rows, WIDTH), dim=-1)
    return ids, torch.arange(rows) % 2 == 0, cond if net.condition is not None else None


@torch.no_grad()
def compare(net: TextModel, folder: Path) -> None:
    """Check the whole forward pass, and the same in pieces, at several sizes."""
    files = Files(folder, net)
    for rows, tokens in ((1, 1), (1, 24), (2, 7), (5, 13)):
        ids, keep, cond = inputs(net, rows, tokens)
        ours = net(ids, cond, keep=keep)
        start = files.begin(keep, cond)
        logits, *_ = files.read(ids, *start)
        torch.testing.assert_close(torch.from_numpy(logits), ours, rtol=0, atol=1e-4)
        pieces, memory = [], start
        for piece in ids.split([min(4, tokens), *[1] * max(0, tokens - 4)], dim=1):
            logits, *memory = files.read(piece, *memory)
            pieces.append(torch.from_numpy(logits))
        torch.testing.assert_close(torch.cat(pieces, dim=1), ours, rtol=0, atol=1e-4)


def test_logits_are_the_same_at_once_and_token_by_token(made):
    module, folder = made
    compare(module.net, folder / "model")


def test_the_card_writes_our_likeliest_text_without_us_and_without_torch(made):
    module, folder = made
    written = run_alone(card_code(folder / "model/README.md"), folder, absent=("torch",))
    (ours,) = module.generate(None, TextOptions(temperature=0.0), seeds=[0])
    assert len(ours) > 5
    assert written == ours + "\n"


def test_the_card_tells_what_goes_in_and_has_the_header_of_hubs(made):
    module, folder = made
    card = (folder / "model/README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["library_name"] == "onnx"
    assert ("begin.onnx" in card) is (module.net.config.prefix > 0)
    assert f"P + T is at most {module.net.config.prefix + 24}" in card
    for title in ("Use", "Data", "Figures", "Limits", "Licence", "Origin"):
        assert f"\n## {title}\n" in card
    assert {path.name for path in (folder / "model").iterdir()} >= {"read.onnx", "tokenizer.json"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cond_dim", "shape"),
    [
        (0, {"layout": "gpt2", "mlp": "gelu", "prefix": 0}),
        (WIDTH, {"layout": "gpt2", "mlp": "gelu", "softcap": 5.0}),
        (0, {"layout": "qwen3", "prefix": 3, "head_width": 10}),
    ],
)
def test_models_of_other_layouts_leave_too(tmp_path, cond_dim, shape):
    net = write_checkpoint(tmp_path / "last.ckpt", cond_dim, **shape).net
    with unchecked():
        write_graphs(tmp_path, net, cond_dim)
    compare(net, tmp_path)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--checkpoint", "cut.ckpt"], "is damaged"),
        (["--checkpoint", "image.ckpt"], "holds a image model but a text model is needed"),
        (["--checkpoint", "new.ckpt"], "holds no tokenizer"),
        (["--out", "full"], "full is not empty"),
        (["--to", "gguf"], "gguf"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, argv, line):
    module = write_checkpoint(tmp_path / "last.ckpt", 0)
    checkpoint = {"state_dict": TextModule(module.net.config).state_dict()}
    module.on_save_checkpoint(checkpoint)
    AtomicCheckpointIO().save_checkpoint(checkpoint, tmp_path / "new.ckpt")
    write_wrong_things(tmp_path, (tmp_path / "last.ckpt").read_bytes(), "image")
    monkeypatch.chdir(tmp_path)
    assert line in refused(call, "onnx", argv, tmp_path, capsys)
