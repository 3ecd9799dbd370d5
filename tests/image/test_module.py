import torch
from torch.testing import assert_close

from core.denoiser import DenoiserConfig
from core.flow_module import FlowTraining
from core.jitter import jitter
from core.noise import mix
from core.sampling import FlowOptions
from image import ImageConfig, ImageEncoder, ImageModule

SMALL = ImageConfig(
    size=16, patch=8, components=None, net=DenoiserConfig(width=64, depth=2, heads=2)
)


def overfitted(steps: int = 600):
    torch.manual_seed(0)
    module = ImageModule(SMALL, FlowTraining("x", cond_noise=0.1), cond_dim=4)
    images = torch.randn(4, 3, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3).clamp(-1, 1)
    cond = torch.eye(4)
    module.codec.fit(images)
    optimiser, x = torch.optim.AdamW(module.parameters(), 3e-3), module.codec.encode(images)
    losses = []
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        seeds = mix(0, step, torch.arange(32))
        loss = module.loss(x.repeat(8, 1, 1), cond.repeat(8, 1), seeds)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    return module.eval(), images, cond, losses


def test_the_model_overfits_one_batch_and_draws_it_from_its_condition():
    module, images, cond, losses = overfitted()
    assert losses[-1] < 0.1 * losses[0]
    options = FlowOptions(steps=20, guidance=1.0)
    drawn = module.generate(cond.repeat(4, 1), options, seeds=range(16))
    error = (drawn[:, None] - images).square().mean(dim=(2, 3, 4))
    own = error[torch.arange(16), torch.arange(16) % 4]
    # A noise that lies between two conditions' now and then ends between their images.
    assert int((own < 0.05).sum()) >= 14


def test_a_sample_depends_on_its_own_seed_only():
    torch.manual_seed(0)
    module = ImageModule(SMALL, cond_dim=4).eval()
    torch.nn.init.normal_(module.net.write.out.weight, std=0.1)
    cond = torch.nn.functional.normalize(torch.randn(3, 4), dim=1)
    three = module.generate(cond, seeds=[5, 6, 7])
    assert_close(module.generate(cond[1:2], seeds=[6]), three[1:2], atol=1e-5, rtol=0)
    assert not torch.allclose(module.generate(cond[1:2], seeds=[8]), three[1:2], atol=1e-3)


def test_dropped_conditions_are_the_null_condition():
    torch.manual_seed(0)
    module = ImageModule(SMALL, cond_dim=4)
    for p in module.net.parameters():
        torch.nn.init.normal_(p, std=0.1)
    x, time = torch.randn(2, 4, 192), torch.tensor([0.2, 0.7])
    dropped = module.net(x, time, torch.randn(2, 4), keep=torch.tensor([False, False]))
    assert_close(dropped, module.net(x, time, None))


def test_at_initialisation_the_loss_is_that_of_predicting_nothing():
    module = ImageModule(SMALL, FlowTraining("x"), cond_dim=0)
    x, seeds = torch.randn(64, 4, 192), mix(0, torch.arange(64))
    loss = module.loss(x, None, seeds)
    time = module.times(seeds)
    expected = (x.square().mean(dim=(1, 2)) / (1 - time).clamp_min(0.05) ** 2).mean()
    assert_close(loss, expected)


def test_embeddings_lie_on_the_sphere_whatever_the_size():
    for size in (32, 48):
        points = ImageEncoder()(torch.rand(3, 3, size, size))
        assert_close(points.norm(dim=1), torch.ones(3))


def test_jitter_is_small_and_a_pure_function_of_the_seed():
    images, seeds = torch.rand(4, 3, 32, 32), mix(0, torch.arange(4))
    assert torch.equal(jitter(images, seeds, 0.06), jitter(images, seeds, 0.06))
    assert not torch.equal(jitter(images, seeds, 0.06), jitter(images, seeds + 1, 0.06))
    flat = torch.full((1, 3, 32, 32), 0.5)
    assert (jitter(flat, seeds[:1], 0.06) - flat).abs().max() <= 0.0501
