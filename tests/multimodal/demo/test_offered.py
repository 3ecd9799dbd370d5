"""Claims about runs that lack modalities, or the world: the page offers what there is."""

import base64
import io
import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile
from starlette.testclient import TestClient

from core.errors import UserError
from multimodal.demo.app import build_app
from multimodal.demo.offered import Offer, is_labelled, offer_of, why_no_inside, why_no_map
from multimodal.tuples import MODALITIES
from multimodal.unison import Unison
from tests.multimodal.demo.browser import service_of
from tests.tiny_run import write_models, write_run


@pytest.fixture(scope="module")
def partial(tmp_path_factory):
    """A run without video and audio generators."""
    run = write_models(tmp_path_factory.mktemp("runs") / "partial")
    shutil.rmtree(run / "video")
    shutil.rmtree(run / "audio")
    return run


def labels(app):
    """Return the choices of everything on the page, and the words of its Markdown."""
    from starlette.routing import Mount

    api = app
    while not hasattr(api, "state"):
        api = api.app
    mounted: Any
    (mounted,) = [r.app for r in api.routes if isinstance(r, Mount) and r.path == ""]
    components = mounted.get_blocks().config["components"]
    props = [component["props"] for component in components]
    choices = {p.get("elem_id"): [c[0] for c in p["choices"]] for p in props if p.get("choices")}
    return choices, " ".join(str(p["value"]) for p in props if isinstance(p.get("value"), str))


def test_a_run_of_a_few_modalities_is_served_with_those(partial):
    with build_app(partial, device="cpu") as app:
        client = TestClient(app)
        assert client.get("/healthz").json()["status"] == "ok"
        assert client.post("/generate", data={"to": "text,image"}).status_code == 200
        refused = client.post("/generate", data={"to": "video"})
        assert refused.status_code == 422
        assert "has no video model, only text, image" in refused.json()["detail"]
        choices, words = labels(app)
        assert choices["to"] == ["text", "image"]
        assert "is drawn from the world's test samples" in words


def test_a_run_that_makes_nothing_is_one_line(partial, tmp_path):
    for stage in ("alignment", "prior"):
        shutil.copytree(partial / stage, tmp_path / stage)
    served = build_app(tmp_path, device="cpu", page=False)
    with pytest.raises(UserError, match="has no model that makes anything"), served:
        pass


def test_what_a_run_offers_is_what_it_has_models_for(partial):
    assert offer_of(Unison(partial, "cpu")) == Offer(MODALITIES, ("text", "image"))


def test_tabs_say_what_they_lack(tmp_path):
    run = write_run(tmp_path / "run")
    unison = Unison(run, "cpu")
    assert why_no_map(unison, offer_of(unison)) is None
    assert why_no_inside(offer_of(unison)) is None
    assert "no tower for audio" in str(why_no_map(unison, Offer(("text", "image", "video"), ())))
    assert "no image model" in str(why_no_inside(Offer(MODALITIES, ("text", "audio"))))
    assert is_labelled(run / "world" / "test")
    shutil.rmtree(run / "world")
    assert "trained on other data" in str(why_no_map(unison, offer_of(unison)))


def test_files_are_read_and_written_at_the_sizes_of_the_run(partial, tmp_path, monkeypatch):
    run = write_models(tmp_path / "run")
    with build_app(run, device="cpu", page=False) as app:
        client = TestClient(app)
        service = service_of(app)
        seen = {}
        sizes = {**service.unison.sizes, "image": {"size": 64}}
        monkeypatch.setattr(Unison, "sizes", property(lambda self: sizes))
        monkeypatch.setattr(Unison, "rate", property(lambda self: 16_000))
        embed = service.unison.embed
        monkeypatch.setattr(
            service.unison, "embed", lambda x: seen.update(x) or embed(x), raising=True
        )
        with Path("tests/fixtures/seven.png").open("rb") as file:
            answer = client.post("/generate", data={"to": "audio"}, files={"image": file}).json()
    assert seen["image"].shape == (1, 3, 64, 64)
    sound = base64.b64decode(answer["samples"][0]["audio"]["data"])
    assert soundfile.info(io.BytesIO(sound)).samplerate == 16_000
