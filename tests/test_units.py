"""What sharded training gathers at a time: every block of every trainer, and little besides."""

from collections import Counter

import pytest

from audio.vocoder_module import VocoderModule
from core.sharding import units
from tests.training import TRAINERS

BLOCKS = {
    "text": {"DecoderBlock": 4},
    "image": {"AdaptiveBlock": 4},
    "audio": {"AdaptiveBlock": 4},
    "video": {"AdaptiveBlock": 4, "Attention": 2},
    "alignment": {"Block": 2, "Sequential": 12},  # of convolutions
    "prior": {"AdaptiveBlock": 3},
    "vocoder": {"ConvNeXtBlock": 4},
}
MODULES = {name: trainer.module for name, trainer in TRAINERS.items()} | {"vocoder": VocoderModule}


def test_no_trainer_is_left_out():
    assert BLOCKS.keys() == MODULES.keys()


@pytest.mark.parametrize("name", BLOCKS)
def test_every_block_of_a_trainer_is_gathered_by_itself(name):
    module = MODULES[name]()
    found = list(units(module))
    assert Counter(type(unit).__name__ for unit in found) == BLOCKS[name]
    weights = [p for unit in found for p in unit.parameters()]
    assert len({id(p) for p in weights}) == len(weights), "no unit lies within another"
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert sum(p.numel() for p in weights) > 0.7 * trained
