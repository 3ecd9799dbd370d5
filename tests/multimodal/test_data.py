import pytest
import torch

from core.members import encode_clip, encode_flac, encode_npy, encode_png
from core.shards import write_shards
from multimodal.data import EmbeddedData, PairedData

ORIGIN = {"source": "made up", "licence": "CC0-1.0"}


def sample(i: int) -> dict:
    pixels = torch.full((4, 3, 32, 32), i, dtype=torch.uint8)
    wave = torch.full((100 + i,), 1000 * i, dtype=torch.int16)
    return {
        "__key__": f"{i:04d}",
        "txt": f"caption {i}".encode(),
        "query.txt": f"query {i}".encode(),
        "png": encode_png(pixels[0]),
        "flac": encode_flac(wave, 8000),
        "query.flac": encode_flac(-wave, 8000),
        "video.npy": encode_clip(pixels),
        "json": b"{}",
    }


def write(folder, samples, required, optional=()):
    write_shards(folder, samples, required=required, optional=optional, **ORIGIN)


@pytest.fixture
def paired(tmp_path) -> str:
    members = tuple(name for name in sample(0) if name != "__key__")
    for split in ("train", "val"):
        write(tmp_path / split, map(sample, range(9)), members)
    return str(tmp_path)


def test_a_batch_holds_all_signals_of_the_same_samples(paired):
    batch = next(iter(PairedData(paired, batch_size=4).train_dataloader()))
    numbers = batch["index"]
    assert batch["text"] == [f"caption {i}" for i in numbers.tolist()]
    assert batch["query_text"] == [f"query {i}" for i in numbers.tolist()]
    assert batch["image"].shape == (4, 3, 32, 32)
    assert batch["video"].shape == (4, 4, 3, 32, 32)
    assert torch.allclose(batch["image"][:, 0, 0, 0], numbers / 127.5 - 1)
    assert torch.allclose(batch["video"][:, 3, 2, 31, 31], numbers / 127.5 - 1)
    assert torch.allclose(batch["audio"][:, 0], numbers * 1000 / 32768)
    assert torch.equal(batch["query_audio"], -batch["audio"])
    assert batch["audio"].shape == (4, 10_400)
    lacking = {name for name, present in batch["present"].items() if not present.all()}
    assert lacking == {"drawn_image"}


def test_partial_pairs_come_with_masks(tmp_path):
    lacking = {0: "png", 1: "flac", 2: "video.npy"}
    names = ("txt", "png", "flac", "video.npy")
    parts = ({k: v for k, v in sample(i).items()
              if k in ("__key__", *names) and k != lacking[i % 3]} for i in range(9))  # fmt: skip
    write(tmp_path / "train", parts, ("txt",), names[1:])
    (batch,) = PairedData(str(tmp_path), batch_size=9).train_dataloader()
    kind, present = batch["index"] % 3, batch["present"]
    assert torch.equal(present["image"], kind != 0)
    assert torch.equal(present["audio"], kind != 1)
    assert torch.equal(present["video"], kind != 2)
    assert present["text"].all()
    assert not present["query_text"].any()
    assert "query_text" not in batch


def test_embeddings_are_a_dataset_of_their_own(tmp_path):
    names = ["text.npy", "image.npy", "query.audio.npy"]
    rows = (
        {"__key__": str(i)} | {name: encode_npy(torch.full((5,), float(i))) for name in names}
        for i in range(6)
    )
    write(tmp_path / "train", rows, names)
    (batch,) = EmbeddedData(str(tmp_path), batch_size=6).train_dataloader()
    for field in ("text", "image", "query_audio"):
        assert torch.equal(batch[field], batch["index"][:, None].float().expand(-1, 5))
    assert not batch["present"]["video"].any()
