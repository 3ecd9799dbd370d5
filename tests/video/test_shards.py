import pytest
import torch
from PIL import Image

from core.manifest import Manifest
from core.shards import ShardReader
from video.data import VideoData
from video.files import write_video
from video.shards import shards


def clip(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(6, 3, 4, 4, generator=generator).repeat_interleave(8, 2).repeat_interleave(
        8, 3
    ) * 2 - 1  # fmt: skip


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for i in range(2):
        write_video(folder / f"{i}.mp4", clip(i), upscale=2)
    frames = [Image.new("RGB", (48, 32), colour) for colour in ("red", "lime", "blue")]
    for kind in ("gif", "webp"):
        options = {"save_all": True, "append_images": frames[1:], "duration": 100}
        frames[0].save(folder / f"colours.{kind}", **options)
    frames[0].save(folder / "still.gif")
    (folder / "broken.mp4").write_bytes(b"no clip at all")
    return folder


def test_a_folder_of_clips_becomes_two_splits_and_the_rest_is_counted(source, tmp_path):
    shards(source, tmp_path / "out", size=16, val_fraction=0.3)
    splits = [Manifest.load(tmp_path / "out" / split) for split in ("train", "val")]
    assert splits[0].dropped["undecodable"] == 2
    assert sum(m.samples for m in splits) + splits[0].dropped.get("duplicate", 0) == 4
    assert splits[0].fields == {"size": 16, "frames": 4, "fps": 4}


def test_video_data_gives_clips_of_one_size(source, tmp_path):
    shards(source, tmp_path / "out", frames=3)
    count = len(ShardReader(tmp_path / "out" / "train"))
    (batch,) = VideoData(str(tmp_path / "out"), batch_size=count).train_dataloader()
    assert batch["video"].shape == (count, 3, 3, 32, 32)
    assert batch["video"].abs().max() <= 1


def test_clips_under_other_usual_suffixes_are_taken(tmp_path, capsys):
    folder = tmp_path / "clips"
    folder.mkdir()
    for i, name in enumerate(("IMG_1.MOV", "b.m4v", "c.3gp")):
        write_video(folder / "whole.mp4", clip(i), upscale=2)
        (folder / "whole.mp4").rename(folder / name)
    (folder / "d.wmv").write_bytes(b"not read")
    shards(folder, tmp_path / "out", size=16)
    counts = [Manifest.load(tmp_path / "out" / split).samples for split in ("train", "val")]
    assert sum(counts) == 3
    last = capsys.readouterr().out.splitlines()[-1]
    assert "1 unread kind of file (convert them to a kind that is read" in last
    assert "3 frames between those picked left out (a higher --frames keeps more)" in last


def test_strict_refuses_clips_that_lose_frames(tmp_path, source):
    with pytest.raises(ValueError, match="frames between those picked left out"):
        shards(source, tmp_path / "out", strict=True)
    assert not (tmp_path / "out").exists()
