"""Claims that only a GPU can prove; `python -m benchmarks.gpu` runs them."""

import pytest
import torch

from benchmarks.decoders.torch_models import our_model, our_tokens, prompts
from core.noise import normal, uniform
from text.throughput import utilisation

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _needs_cuda():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device, or CUDA_VISIBLE_DEVICES hides it")


@pytest.fixture
def net():
    return our_model("0.8M", 64)


def test_noise_depends_on_the_seed_and_not_on_the_device():
    seeds = torch.arange(50)
    assert torch.equal(uniform(seeds, stream=3), uniform(seeds.cuda(), stream=3).cpu())
    here, there = normal(seeds, (7,), stream=1), normal(seeds.cuda(), (7,), stream=1).cpu()
    assert torch.allclose(here, there, atol=1e-6)


def test_logits_are_those_of_a_cpu(net):
    ids = prompts(4, 40, net.config.vocabulary)
    with torch.inference_mode():
        here, there = net(ids), net.cuda()(ids.cuda()).cpu()
    assert torch.allclose(here, there, atol=1e-4)


def test_a_decoder_writes_the_tokens_of_a_cpu(net):
    ids = prompts(3, 8, net.config.vocabulary)
    here = our_tokens(net, ids, 16)
    assert torch.equal(our_tokens(net.cuda(), ids.cuda(), 16).cpu(), here)


def test_a_compiled_step_has_the_gradients_of_an_eager_one(net):
    ids = prompts(4, 40, net.config.vocabulary).cuda()
    net = net.cuda()
    net(ids).logsumexp(-1).mean().backward()
    eager = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    torch.compile(net)(ids).logsumexp(-1).mean().backward()
    for name, p in net.named_parameters():
        if name in eager:
            assert torch.allclose(p.grad, eager[name], atol=1e-4), name


def test_the_peak_of_this_device_is_known():
    assert utilisation(1e12, torch.device("cuda")) is not None
