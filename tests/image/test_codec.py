import pytest
import torch
from torch.testing import assert_close

from image import PatchCodec


def test_the_round_trip_is_exact():
    codec, images = PatchCodec(32, 8), torch.rand(5, 3, 32, 32) * 2 - 1
    codec.fit(images)
    tokens = codec.encode(images)
    assert tokens.shape == (5, 16, 192)
    assert_close(codec.decode(tokens), images, atol=1e-5, rtol=0)


def test_tokens_have_unit_variance_and_the_basis_travels():
    codec, images = PatchCodec(32, 8), torch.rand(50, 3, 32, 32)
    codec.fit(images)
    tokens = codec.encode(images)
    assert float(tokens.mean(dim=(0, 1)).abs().max()) < 1e-4
    assert float(tokens.square().mean()) == pytest.approx(1, abs=1e-3)
    other = PatchCodec(32, 8)
    other.load_state_dict(codec.state_dict())
    assert torch.equal(other.encode(images), tokens)


def test_the_first_components_lose_least():
    smooth = torch.nn.functional.interpolate(torch.rand(64, 3, 4, 4), size=32, mode="bicubic")
    errors = []
    for components in (8, 32, 192):
        codec = PatchCodec(32, 8, components)
        codec.fit(smooth)
        tokens = codec.encode(smooth)
        assert tokens.shape == (64, 16, components)
        errors.append(float((codec.decode(tokens) - smooth.clamp(-1, 1)).square().mean()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 1e-3
    assert errors[2] < 1e-10


def test_a_token_holds_the_pixels_at_its_position():
    codec = PatchCodec(32, 8)
    image = torch.zeros(1, 3, 32, 32)
    image[:, :, 8:16, 24:32] = 1
    lit = codec.encode(image)[0].amax(dim=1).nonzero().flatten()
    assert codec.positions[lit].tolist() == [[1, 3]]


def test_more_components_than_pixels_are_refused():
    with pytest.raises(ValueError, match="components is 193"):
        PatchCodec(32, 8, 193)


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ValueError, match="28x28 pixels came but the model expects 32x32"):
        PatchCodec(32, 8).encode(torch.zeros(1, 3, 28, 28))


@pytest.mark.parametrize(("size", "patch"), [(28, 8), (50, 8), (5, 8), (31, 5)])
def test_patches_that_do_not_divide_the_side_give_the_picture_back(size, patch):
    codec, pictures = PatchCodec(size, patch), torch.rand(20, 3, size, size) * 2 - 1
    assert codec.encode(pictures).shape[1] == len(codec.positions) == (-(-size // patch)) ** 2
    torch.testing.assert_close(codec.decode(codec.encode(pictures)), pictures)
    codec.fit(pictures)
    torch.testing.assert_close(codec.decode(codec.encode(pictures)), pictures, atol=1e-3, rtol=0)
