import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import multimodal
from core.checkpoint import describe
from core.cli import command, plain_options
from core.errors import UserError
from image import ImageConfig, ImageModule
from multimodal.contact import film_strip, write_contact_sheet
from multimodal.generate import FLAGS, generate
from multimodal.towers import MODALITIES, SLOTS
from multimodal.unison import Unison, stage_seeds
from multimodal.wish import whole
from tests.tiny_run import NET, WIDTH, write_models

ROOT = Path(multimodal.__file__).parents[1]
FIXTURES = ROOT / "tests/fixtures"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("runs") / "tiny")


def plain(argv: list[str]) -> list[str]:
    """What the parser gets of a command line as people type it."""
    return plain_options(argv, lists=("--to",), flags=FLAGS)


@pytest.fixture(scope="module")
def unison(run: Path) -> Unison:
    return multimodal.load(run, device="cpu")


def call(*argv: str | Path) -> None:
    """Run the command in this process."""
    command(generate, plain([str(word) for word in argv]))


def refused(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    """Run the command, which must exit with 2, and return its one line."""
    with pytest.raises(SystemExit) as exit_:
        call(*argv)
    lines = capsys.readouterr().err.splitlines()
    assert exit_.value.code == 2
    assert len(lines) == 1
    return lines[0]


def test_nothing_given_is_a_joint_sample_of_all_four(unison: Unison):
    made = unison.generate(to=MODALITIES, count=2)
    assert [type(text) for text in made["text"]] == [str, str]
    assert made["image"].shape == (2, 3, 32, 32)
    assert made["audio"].shape == (2, 10_400)
    assert made["video"].shape == (2, 4, 3, 32, 32)


def test_files_and_tensors_say_the_same(unison: Unison):
    from image.files import read_image

    path = FIXTURES / "seven.png"
    by_path = unison.generate(image=path, to=["image"])["image"]
    by_pixels = unison.generate(image=read_image(path), to=["image"])["image"]
    assert torch.equal(by_path, by_pixels)


def test_pictures_arrays_and_sounds_in_memory_say_what_their_files_say(unison: Unison):
    image, audio = FIXTURES / "seven.png", FIXTURES / "seven.wav"
    pixels = np.asarray(Image.open(image).convert("RGB"))
    samples, rate = soundfile.read(audio)
    by_path = unison.generate(image=image, audio=audio, to="image")["image"]
    for picture in (Image.open(image), pixels, pixels / 255, torch.tensor(pixels)):
        made = unison.generate(image=picture, audio=(rate, samples), to="image")["image"]
        torch.testing.assert_close(made, by_path, atol=0.02, rtol=0)


def test_outputs_are_named_by_one_string_or_several(unison: Unison):
    expected = unison.generate(to=["text", "image"])
    for to in ("text,image", "text image", ("text", "image"), {"image", "text"}):
        made = unison.generate(to=to)
        assert made["text"] == expected["text"]
        assert torch.equal(made["image"], expected["image"])
    assert list(unison.generate(to="text")) == ["text"]


def test_numbers_of_any_library_are_numbers(unison: Unison):
    plain = unison.generate(to="image", seed=3, count=2, guidance=1.5, steps=2)["image"]
    numbers = unison.generate(
        to="image", seed=np.int64(3), count=torch.tensor(2), guidance=np.float32(1.5),
        steps=np.uint8(2),
    )["image"]  # fmt: skip
    assert torch.equal(numbers, plain)
    for value in (2.5, "many", None, float("nan"), [1]):
        with pytest.raises(UserError, match=r"seed is .* but must be a whole number"):
            whole("seed", value)


def test_a_list_of_inputs_is_worked_through_one_by_one(unison: Unison):
    texts = ["a red seven", "two blue ones"]
    together = unison.generate(text=texts, image=FIXTURES / "seven.png", to="image", count=2)
    alone = [
        unison.generate(text=text, image=FIXTURES / "seven.png", to="image", count=2)["image"]
        for text in texts
    ]
    assert torch.equal(together["image"], torch.cat(alone))


def test_what_was_made_is_an_input_again(unison: Unison):
    made = unison.generate(text="a red seven", to=MODALITIES, count=2)
    again = unison.generate(**made, to="text")
    assert len(again["text"]) == 2


def test_one_caption_or_picture_is_a_batch_of_one_to_embed(unison: Unison):
    words = unison.embed({"text": "a red seven"})["text"]
    assert torch.equal(words, unison.embed({"text": ["a red seven"]})["text"])
    path = FIXTURES / "seven.png"
    pictures = unison.embed({"image": [Image.open(path), path]})["image"]
    torch.testing.assert_close(pictures[0], pictures[1], atol=1e-3, rtol=0)


def test_a_run_is_found_from_another_folder_and_after_it_was_moved(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    expected = multimodal.load(run, device="cpu").generate(to="image")["image"]
    shutil.copytree(run, tmp_path / "mein Läufchen")
    monkeypatch.chdir(tmp_path)
    for name in ("mein Läufchen", Path("mein Läufchen"), f"{tmp_path}/mein Läufchen/"):
        moved = multimodal.load(name, device="cpu")
        monkeypatch.chdir("/")  # stages are read when they are needed
        assert torch.equal(moved.generate(to="image")["image"], expected)
        monkeypatch.chdir(tmp_path)


def test_what_was_made_is_saved_and_shown(unison: Unison, tmp_path: Path):
    made = unison.generate(to=MODALITIES)
    for name, signals in made.items():
        suffix = {"text": "txt", "image": "png", "audio": "wav", "video": "mp4"}[name]
        multimodal.save(tmp_path / f"seven.{suffix}", signals[0], rate=unison.rate)
    assert soundfile.info(tmp_path / "seven.wav").samplerate == unison.rate
    shown = np.asarray(multimodal.to_pillow(made["image"][0]))
    assert np.array_equal(shown, np.asarray(Image.open(tmp_path / "seven.png")))
    with pytest.raises(UserError, match="must end in one of"):
        multimodal.save(tmp_path / "seven.gif", made["video"][0])


def test_a_sample_does_not_depend_on_its_neighbours(unison: Unison):
    several = unison.generate(text="a red seven", to=["image"], count=3, seed=5)["image"]
    alone = unison.generate(text="a red seven", to=["image"], seed=7)["image"]
    torch.testing.assert_close(several[2:], alone, atol=1e-4, rtol=0)
    assert not torch.allclose(several[0], several[1], atol=0.1)


def test_inputs_seed_guidance_and_steps_each_change_the_outcome(unison: Unison):
    plain = unison.generate(text="a red seven", to=["image"])["image"]
    others = [
        unison.generate(text="two blue ones", to=["image"])["image"],
        unison.generate(text="a red seven", audio=FIXTURES / "three.mp3", to=["image"])["image"],
        unison.generate(text="a red seven", to=["image"], seed=1)["image"],
        unison.generate(text="a red seven", to=["image"], guidance=6.0)["image"],
        unison.generate(text="a red seven", to=["image"], steps=2)["image"],
    ]
    assert not any(torch.equal(plain, other) for other in others)


def test_an_observed_picture_keeps_its_own_embedding(unison: Unison):
    from image.files import read_image

    observed = unison.embed({"image": read_image(FIXTURES / "seven.png")[None]})
    completed = unison.complete(observed, seeds=[0])
    torch.testing.assert_close(completed["image"], observed["image"], atol=1e-4, rtol=0)


def test_the_first_frame_is_the_given_or_the_generated_picture(unison: Unison):
    from image.files import read_image

    picture = read_image(FIXTURES / "seven.png")
    given = unison.generate(image=picture, to=["video"], count=2, first_frame=True)["video"]
    torch.testing.assert_close(given[1, 0], picture, atol=1e-4, rtol=0)
    made = unison.generate(text="a red seven", to=["video", "image"], first_frame=True)
    torch.testing.assert_close(made["video"][0, 0], made["image"][0], atol=1e-4, rtol=0)


def test_prior_and_generators_never_share_noise():
    seeds = [seed for stage in ("prior", *MODALITIES) for seed in stage_seeds([0, 1], stage)]
    assert len(set(seeds)) == 10


def test_steps_that_change_nothing_are_a_warning(unison: Unison):
    with pytest.warns(UserWarning, match="steps 3 changes nothing"):
        unison.generate(to=["text"], steps=3)


def test_the_same_seed_gives_the_same_bytes(run: Path, tmp_path: Path):
    options = ("--run", run, "--audio", FIXTURES / "seven.wav", "--image", FIXTURES / "three.png")
    for name in ("a", "b"):
        call(*options, "--to", *MODALITIES, "--count", "2", "--seed", "3", "--out", tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted(
        [f"{seed}.{suffix}" for seed in (3, 4) for suffix in ("txt", "png", "wav", "mp4")]
        + ["contact.png", "generated.json"]
    )
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("name", sorted(json.loads((FIXTURES / "labels.json").read_text())))
def test_every_kind_of_user_file_goes_in(run: Path, tmp_path: Path, name: str):
    modality = json.loads((FIXTURES / "labels.json").read_text())[name]["modality"]
    call("--run", run, f"--{modality}", FIXTURES / name, "--to", "image", "--out", tmp_path / "out")
    assert Image.open(tmp_path / "out/0.png").size == (256, 256)
    assert Image.open(tmp_path / "out/contact.png").height > 256


def test_a_folder_with_content_is_refused_and_left_alone(run: Path, tmp_path: Path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    options = ("--run", run, "--to", "text", "--out", tmp_path)
    assert "is not empty" in refused(capsys, *options)
    assert "was not written by this command" in refused(capsys, *options, "--overwrite")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_earlier_output_is_replaced_when_asked(run: Path, tmp_path: Path):
    for seed in ("0", "1"):
        call("--run", run, "--to", "text", "--out", tmp_path, "--seed", seed, "--overwrite")
    assert {path.name for path in tmp_path.iterdir()} == {"1.txt", "contact.png", "generated.json"}


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    (folder / "garbage").write_bytes(bytes(range(256)) * 8)
    Image.new("1", (1, 1)).save(folder / "one.png")
    Image.new("1", (20_000, 9)).save(folder / "long.png")
    Image.new("RGB", (40, 40)).save(folder / "still.gif")
    soundfile.write(folder / "zero.wav", np.zeros(0), 8_000)
    (folder / "mine.txt").write_text("mine")
    return folder


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--image", "none.png"], "none.png does not exist"),
        (["--image", "garbage"], "garbage is no picture"),
        (["--audio", "garbage"], "garbage is not a WAV"),
        (["--video", "garbage"], "garbage is no clip"),
        (["--text", ""], "the text '' is empty"),
        (["--audio", "zero.wav"], "zero.wav lasts 0.000 s"),
        (["--image", "one.png"], "one.png has 1x1 pixels"),
        (["--image", "long.png"], "long.png has 20000x9 pixels"),
        (["--video", "still.gif"], "still.gif holds 1 frames"),
        (["--to", "smell"], "'smell' is no modality"),
        (["--to"], "no output is named"),
        (["--to", "image", "image"], "names a modality twice"),
        (["--run", "nowhere"], "nowhere is no folder of a run"),
        (["--run", "."], "alignment/last.ckpt is not there"),
        (["--count", "0"], "count is 0 but must be from 1"),
        (["--seed", "-1"], "seed is -1 but must be from 0"),
        (["--steps", "0"], "steps is 0"),
        (["--guidance", "-1"], "guidance is -1.0"),
        (["--first-frame"], "first_frame needs a video"),
        (["--device", "abacus"], "device 'abacus' cannot be used"),
        (["--out", "mine.txt"], "mine.txt is a file"),
        (["--out", "mine.txt/out"], "mine.txt is no folder that can be written"),
    ],
)
def test_bad_input_is_one_clear_line_and_leaves_nothing(
    run: Path,
    bad: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: Sequence[str],
    line: str,
):
    monkeypatch.chdir(bad)
    before = sorted(bad.rglob("*"))
    options = [] if "--to" in argv else ["--to", "image"]
    options += [] if "--run" in argv else ["--run", str(run)]
    options += [] if "--out" in argv else ["--out", "out"]
    assert line in refused(capsys, *options, *argv)
    assert sorted(bad.rglob("*")) == before


def test_a_checkpoint_of_another_kind_or_version_is_refused(run: Path, tmp_path: Path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    options = ("--run", copy, "--to", "image", "--out", tmp_path / "out")
    shutil.copy(run / "audio/last.ckpt", copy / "image/last.ckpt")
    assert "holds a audio model but a image model is needed" in refused(capsys, *options)
    state = torch.load(run / "image/last.ckpt", weights_only=True)
    state["unison"]["version"] = 99
    torch.save(state, copy / "image/last.ckpt")
    assert "has checkpoint version 99" in refused(capsys, *options)
    (copy / "image/last.ckpt").write_bytes((run / "image/last.ckpt").read_bytes()[:5000])
    assert "is damaged" in refused(capsys, *options)
    assert not (tmp_path / "out").exists()


def test_a_generator_of_another_shared_space_is_refused(run: Path, tmp_path: Path, capsys):
    shutil.copytree(run, tmp_path / "run")
    other = ImageModule(model=ImageConfig(net=NET), cond_dim=WIDTH // 2)
    state = {"state_dict": other.state_dict(), "unison": describe(other)}
    torch.save(state, tmp_path / "run/image/last.ckpt")
    line = refused(capsys, "--run", tmp_path / "run", "--to", "image", "--out", tmp_path / "out")
    assert "embeddings of width 32 but the prior samples width 64" in line


def _limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))


def test_a_modality_that_the_prior_never_saw_is_refused(run: Path):
    unison = Unison(run)
    unison.stage("prior").known[SLOTS.index("audio")] = False
    assert unison.generate(to=["text"])["text"]
    with pytest.raises(ValueError, match="was trained without audio; leave it out"):
        unison.generate(to=["text", "audio"])


def test_a_disk_that_fills_up_leaves_nothing_half_written(run: Path, tmp_path: Path):
    argv = [sys.executable, "-m", "multimodal.generate", "--run", str(run), "--to", "audio"]
    done = subprocess.run(
        [*argv, "--text", "a red seven", "--out", str(tmp_path / "out")],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=_limit_file_size,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_options_may_be_typed_plainly():
    typed = ["--to", "image", "audio", "--first-frame", "--text", "a red seven", "--overwrite"]
    assert plain(typed) == [
        *("--to=[image,audio]", "--first_frame=true", "--text", "a red seven", "--overwrite=true")
    ]
    assert plain(["--to", "image,audio", "--overwrite", "false"]) == [
        *("--to=[image,audio]", "--overwrite", "false")
    ]
    assert plain(["--to=[text]", "--text", ""]) == ["--to=[text]", "--text", ""]


def test_a_text_of_any_bytes_fits_on_the_sheet(tmp_path: Path):
    write_contact_sheet(tmp_path / "a.png", {"text": "a\0b\n\ud7ff" * 99}, {"0": {"text": ""}})
    assert Image.open(tmp_path / "a.png").height > 256


def test_a_film_strip_shows_the_frames_side_by_side():
    frames = torch.stack([torch.full((3, 4, 4), level) for level in (-1.0, 0.0, 1.0)])
    strip = np.asarray(film_strip(frames))
    assert strip.shape == (4, 14, 3)
    assert [strip[0, x, 0] for x in (0, 5, 10)] == [0, 128, 255]
