"""Claims about the precision of training."""

import warnings

import pytest

from core import precision
from core.errors import UserError
from core.precision import precision_for


@pytest.fixture
def old_cpu(monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)


def test_a_cpu_without_bfloat16_trains_in_float32_and_says_so(old_cpu):
    with pytest.warns(UserWarning, match="no instructions for bfloat16"):
        assert precision_for("bf16-mixed", "cpu") == "32-true"


@pytest.mark.parametrize("asked", ["32-true", "32", 32, None])
def test_float32_stays(old_cpu, asked):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert precision_for(asked, "cpu") == asked


def test_bfloat16_stays_where_there_are_instructions_for_it(monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda: True)
    assert precision_for("bf16-mixed", "cpu") == "bf16-mixed"


def test_a_gpu_keeps_what_is_asked_for(old_cpu, monkeypatch):
    assert precision_for("bf16-mixed", "gpu") == "bf16-mixed"
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    assert precision_for("bf16-mixed", "auto") == "bf16-mixed"
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    with pytest.warns(UserWarning, match="training in float32"):
        assert precision_for("bf16-mixed", "auto") == "32-true"


@pytest.mark.parametrize("asked", ["bf16-true", "16-true", "64-true", 64, "transformer-engine"])
@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_weights_of_another_type_are_refused(asked, accelerator):
    with pytest.raises(UserError, match="choose one of 32-true, bf16-mixed, 16-mixed"):
        precision_for(asked, accelerator)


@pytest.mark.parametrize("asked", ["16-mixed", "16", 16])
def test_half_precision_is_for_gpus(asked):
    assert precision_for(asked, "gpu") == asked
    with pytest.raises(UserError, match="needs a GPU; choose bf16-mixed or 32-true"):
        precision_for(asked, "cpu")
