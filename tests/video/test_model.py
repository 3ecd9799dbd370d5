from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from core.checkpoint import AtomicCheckpointIO
from core.denoiser import DenoiserConfig
from core.flow_module import FlowTraining
from core.noise import mix
from core.sampling import FlowOptions
from image import ImageConfig, ImageModule
from video import ClipCodec, VideoConfig, VideoEncoder, VideoModule
from video.module import FRAME_GUIDANCE, given_frames

NET = DenoiserConfig(width=32, depth=2, heads=2)
VIDEO = VideoConfig(frames=3, size=16, patch=8, components=None, net=NET)


@pytest.fixture
def trained_image(tmp_path):
    """Return an image model with random weights (also where zeros are the start), and its file."""
    torch.manual_seed(0)
    module = ImageModule(ImageConfig(size=16, patch=8, components=None, net=NET), cond_dim=4)
    for p in module.net.parameters():
        torch.nn.init.normal_(p, std=0.1)
    module.codec.fit(torch.rand(8, 3, 16, 16))
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    AtomicCheckpointIO().save_checkpoint(checkpoint, tmp_path / "last.ckpt")
    return module.eval(), tmp_path / "last.ckpt"


def test_at_initialisation_the_video_model_is_the_image_model_frame_by_frame(trained_image):
    image, path = trained_image
    video = VideoModule(VIDEO, image_checkpoint=str(path), cond_dim=4).eval()
    x, time = torch.randn(2, 3, 4, 192), torch.rand(2, 3)
    cond = torch.randn(2, 4)
    whole = video.net(x.flatten(1, 2), time, cond).unflatten(1, (3, 4))
    for f in range(3):
        assert_close(whole[:, f], image.net(x[:, f], time[:, f], cond))


def test_each_frame_reads_the_condition_in_its_own_way():
    torch.manual_seed(0)
    net = VideoModule(VIDEO, cond_dim=4).eval().net
    for p in net.plane.parameters():
        torch.nn.init.normal_(p, std=0.1)
    x, time, cond = torch.randn(1, 1, 4, 192).expand(2, 3, -1, -1), torch.rand(2), torch.randn(2, 4)
    alike = net(x.flatten(1, 2), time, cond).unflatten(1, (3, 4))
    assert_close(alike[:, 0], alike[:, 2])
    torch.nn.init.normal_(net.moment.weight, std=0.5)
    frames = net(x.flatten(1, 2), time, cond).unflatten(1, (3, 4))
    assert not torch.allclose(frames[:, 0], frames[:, 2], atol=1e-2)
    dropped = net(x.flatten(1, 2), time, cond, keep=torch.zeros(2, dtype=torch.bool))
    assert_close(dropped, net(x.flatten(1, 2), time, None))


def test_statistics_start_from_the_image_model_too(trained_image):
    image, path = trained_image
    video = VideoModule(VIDEO, image_checkpoint=str(path), cond_dim=4)
    assert video.codec.fitted
    clip = torch.rand(1, 3, 3, 16, 16)
    assert_close(video.codec.encode(clip)[:, :4], image.codec.encode(clip[:, 0]))


def test_an_image_model_of_another_size_is_refused(trained_image):
    _, path = trained_image
    other = VideoConfig(
        frames=3, size=16, patch=8, components=None, net=DenoiserConfig(width=64, depth=2)
    )
    with pytest.raises(ValueError, match="does not fit the video network"):
        VideoModule(other, image_checkpoint=str(path), cond_dim=4)


@pytest.mark.parametrize(("every", "meetings"), [(1, 4), (2, 2), (3, 2), (4, 1)])
def test_frames_meet_after_every_so_many_blocks(every, meetings):
    torch.manual_seed(0)
    config = replace(VIDEO, net=replace(NET, depth=4), every=every)
    net = VideoModule(config).eval().net
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.1)
    assert len(net.mixers) == meetings
    x, time = torch.randn(1, 12, 192), torch.tensor([0.5])
    changed = x.clone()
    changed[:, 8:] += 1  # the last frame
    difference = (net(changed, time, None) - net(x, time, None)).unflatten(1, (3, 4))
    assert difference[:, 0].abs().max() > 1e-3


def test_frames_that_never_meet_are_refused():
    with pytest.raises(ValueError, match="every is 0 but must be 1 or more"):
        replace(VIDEO, every=0)


def test_the_round_trip_is_exact_and_positions_are_t_y_x():
    codec, clips = ClipCodec(3, 16, 8), torch.rand(2, 3, 3, 16, 16) * 2 - 1
    codec.fit(clips)
    assert_close(codec.decode(codec.encode(clips)), clips, atol=1e-5, rtol=0)
    assert codec.positions[5].tolist() == [1, 0, 1]


def test_a_clip_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 frames but the model expects 3"):
        ClipCodec(3, 16, 8).encode(torch.zeros(1, 2, 3, 16, 16))


def test_a_given_first_frame_comes_out_as_it_went_in():
    torch.manual_seed(0)
    module = VideoModule(VIDEO, cond_dim=4).eval()
    for p in module.net.parameters():
        torch.nn.init.normal_(p, std=0.05)
    first, cond = torch.rand(2, 3, 16, 16) * 2 - 1, torch.randn(2, 4)
    clips = module.generate(cond, FlowOptions(steps=3), seeds=[0, 1], first_frame=first)
    assert clips.shape == (2, 3, 3, 16, 16)
    assert_close(clips[:, 0], first, atol=1e-5, rtol=0)
    free = module.generate(cond, FlowOptions(steps=3), seeds=[0, 1])
    assert not torch.allclose(free[:, 0], first, atol=0.1)


def test_guidance_by_the_first_frame_draws_out_what_it_changes():
    torch.manual_seed(0)
    module = VideoModule(VIDEO, cond_dim=4).eval()
    for p in module.net.parameters():
        torch.nn.init.normal_(p, std=0.05)
    first, cond = torch.rand(2, 3, 16, 16) * 2 - 1, torch.randn(2, 4)
    tokens, noise = module.codec.plane.encode(first), torch.randn(2, 4, 192)
    x, known = torch.randn(2, 12, 192), torch.tensor([True, False, False])
    x[:, :4] = tokens
    seen = module.velocity(x, 0.5, cond, known)
    half = torch.cat([(noise + tokens) / 2, x[:, 4:]], dim=1)
    change = (seen - module.velocity(half, 0.5, cond))[:, 4:]
    options = FlowOptions(guidance=1.0)
    found = module.going_on(cond, options, tokens, noise)(x, 0.5)
    assert_close(found[:, 4:], seen[:, 4:] + FRAME_GUIDANCE * change)
    assert not found[:, :4].any()
    assert change.abs().max() > 1e-3


def test_given_frames_have_no_loss():
    torch.manual_seed(0)
    module = VideoModule(VIDEO, given=0.99, cond_dim=0)
    x, seeds = module.codec.encode(torch.rand(64, 3, 3, 16, 16)), mix(0, torch.arange(64))
    given = given_frames(seeds, 3, 0.99)
    assert given.any()
    tokens = given[:, :, None, None].expand(-1, -1, 4, 192).flatten(1, 2)
    x = x.detach().requires_grad_()
    module.loss(x, None, seeds).backward()
    assert float(x.grad[tokens].abs().max()) == 0


def test_never_all_frames_are_given_and_often_only_the_first():
    given = given_frames(mix(0, torch.arange(4000)), 3, 0.5)
    assert not given.all(dim=1).any()
    share = given.any(dim=1).float().mean()
    assert 0.4 < float(share) < 0.5
    first_only = given[:, 0] & ~given[:, 1:].any(dim=1)
    assert float(first_only.float().mean()) > 0.25


def test_the_model_overfits_one_batch():
    torch.manual_seed(0)
    module = VideoModule(VIDEO, FlowTraining("x"), cond_dim=4)
    clips = torch.randn(4, 3, 3, 2, 2).repeat_interleave(8, 3).repeat_interleave(8, 4).clamp(-1, 1)
    module.codec.fit(clips)
    optimiser, x = torch.optim.AdamW(module.parameters(), 3e-3), module.codec.encode(clips)
    losses = []
    for step in range(200):
        loss = module.loss(
            x.repeat(4, 1, 1), torch.eye(4).repeat(4, 1), mix(step, torch.arange(16))
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < 0.3 * losses[0]


def test_the_tower_tells_a_clip_from_its_reverse():
    torch.manual_seed(0)
    tower, clip = VideoEncoder().eval(), torch.rand(1, 4, 3, 32, 32)
    there, back = tower(clip), tower(clip.flip(1))
    assert_close(there.norm(dim=1), torch.ones(1))
    assert float((there - back).norm()) > 1e-3
