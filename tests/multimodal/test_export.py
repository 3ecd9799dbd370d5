"""Claims about the towers as ONNX files: equal embeddings, from text and signals alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from audio import AudioEncoderConfig
from core.checkpoint import AtomicCheckpointIO, load_module
from core.cli import command
from image import ImageEncoderConfig
from multimodal.alignment import AlignmentModule
from multimodal.export import export
from multimodal.towers import TowersConfig
from tests.alone import card_code, run_alone, unchecked
from tests.refusals import refused, write_wrong_things
from text import TextEncoderConfig
from video import VideoEncoderConfig

TINY = TowersConfig(
    embedding=8,
    text=TextEncoderConfig(width=16, depth=1, heads=2, vocabulary=280),
    image=ImageEncoderConfig(width=4),
    audio=AudioEncoderConfig(width=4),
    video=VideoEncoderConfig(width=4),
)
TEXTS = [
    "a big RED seven, moves left!",
    "seven",
    "  don't -- 'quote' a l\u2019arbre ",
    "tr\u00e8s grande \u2014 7 <eos> 3.5",
]
SHAPES = {
    "image": [(1, 3, 32, 32), (7, 3, 32, 32), (2, 3, 28, 28)],
    "audio": [(1, 10_400), (7, 10_400), (2, 4_000)],
    "video": [(1, 4, 3, 32, 32), (5, 4, 3, 32, 32), (2, 8, 3, 24, 24), (1, 2, 3, 32, 32)],
}


def write_checkpoint(path: Path, config: TowersConfig = TINY) -> AlignmentModule:
    """Write a checkpoint of random towers, their averaged weights other than their own."""
    torch.manual_seed(0)
    module = AlignmentModule(config)
    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    if "text" in module.towers:
        module.towers["text"].fit([*TEXTS, "a red seven moves left"])
    checkpoint = {"state_dict": module.state_dict(), "global_step": 3}
    checkpoint["ema"] = {name: 1.1 * weight for name, weight in module.named_parameters()}
    module.on_save_checkpoint(checkpoint)
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return module


def call(*argv: str | Path) -> None:
    with unchecked():
        command(export, [str(word) for word in argv])


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    write_checkpoint(folder / "last.ckpt")
    call("--checkpoint", folder / "last.ckpt", "--to", "onnx", "--out", folder / "towers")
    return folder


@pytest.fixture(scope="module")
def module(root: Path) -> AlignmentModule:
    return load_module(root / "last.ckpt", AlignmentModule)


def embedded(root: Path, tower: str, **inputs: np.ndarray) -> torch.Tensor:
    session = onnxruntime.InferenceSession(root / "towers" / tower / "model.onnx")
    return torch.from_numpy(session.run(None, inputs)[0])


@pytest.mark.parametrize("tower", SHAPES)
def test_a_tower_gives_the_same_embeddings_at_any_batch_and_length(root, module, tower):
    name = {"image": "images", "audio": "waves", "video": "clips"}[tower]
    for shape in SHAPES[tower]:
        signal = torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
        with torch.no_grad():
            ours = module.embed(tower, signal)
        assert ours.std() > 0.05
        theirs = embedded(root, tower, **{name: signal.numpy()})
        torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)


def test_captions_are_embedded_without_us_and_without_torch(root, module):
    code = f"""
import numpy as np
from onnxruntime import InferenceSession
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file("towers/text/tokenizer.json")
tokenizer.encode_special_tokens = True
tower = InferenceSession("towers/text/model.onnx")
texts = {TEXTS!r}
rows = [row.ids for row in tokenizer.encode_batch(texts)]
np.save("together.npy", tower.run(None, {{"ids": np.array(rows)}})[0])
alone = [tower.run(None, {{"ids": np.array([tokenizer.encode(t).ids])}})[0] for t in texts]
np.save("alone.npy", np.concatenate(alone))
"""
    run_alone(code + card_code(root / "towers/README.md"), root, absent=("torch",))
    with torch.no_grad():
        ours = module.embed("text", TEXTS)
    for name in ("together", "alone"):
        theirs = torch.from_numpy(np.load(root / f"{name}.npy"))
        torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)


def test_the_tokenizer_file_reads_a_text_as_the_tower_does(module):
    from tokenizers import Tokenizer

    tower, random = module.towers["text"], np.random.default_rng(0)
    library = Tokenizer.from_str(tower.tokenizer_json())
    library.encode_special_tokens = True
    letters = list("abZ_'\u2019 .,-\u00e97\u00d1!?;\n")
    texts = ["".join(random.choice(letters, random.integers(2, 25))) + " a" for _ in range(300)]
    for text in texts:
        ids = tower.codec.encode([" ".join(_words(text))], tower.config.context)[0]
        assert library.encode(text).ids == ids.tolist(), text


def _words(text: str) -> list[str]:
    from text.encoder import words

    return words(text)


def test_the_card_tells_what_each_tower_takes(root):
    card = (root / "towers/README.md").read_text()
    for told in ("`ids` int64 [B T]", "`images` float", "at 8000 Hz", "`clips` float", "[B 8]"):
        assert told in card
    for title in ("Use", "Data", "Figures", "Limits", "Licence", "Origin"):
        assert f"\n## {title}\n" in card
    assert "image: largest difference to PyTorch" in card


def test_towers_of_other_names_leave_under_them_and_raw_weights_when_asked(tmp_path):
    config = replace(TINY, kinds={"left": "image"})
    ours = write_checkpoint(tmp_path / "last.ckpt", config).eval()
    call(
        "--checkpoint",
        tmp_path / "last.ckpt",
        "--to",
        "onnx",
        "--out",
        tmp_path / "towers",
        "--raw",
        "true",
    )
    assert {p.name for p in (tmp_path / "towers").iterdir()} == {"left", "README.md"}
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        wanted = ours.embed("left", images)
    theirs = embedded(tmp_path, "left", images=images.numpy())
    torch.testing.assert_close(theirs, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--checkpoint", "garbage.ckpt"], "is damaged or no checkpoint"),
        (["--checkpoint", "cut.ckpt"], "is damaged"),
        (["--checkpoint", "image.ckpt"], "holds a image model but a alignment model is needed"),
        (["--out", "full"], "full is not empty"),
        (["--to", "diffusers"], "diffusers"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(root, tmp_path, monkeypatch, capsys, argv, line):
    write_wrong_things(tmp_path, (root / "last.ckpt").read_bytes(), "image")
    monkeypatch.chdir(tmp_path)
    assert line in refused(call, "onnx", argv, tmp_path, capsys)
