import pytest
import torch

from core.components import Components


def rows(values: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(200, values, generator=generator) * torch.linspace(0.1, 3, values) + 1


def test_all_components_lose_nothing():
    components = Components(12)
    components.fit(rows())
    torch.testing.assert_close(
        components.decode(components.encode(rows())), rows(), atol=1e-5, rtol=0
    )


def test_before_fit_the_components_are_the_values():
    torch.testing.assert_close(Components(12).encode(rows()), rows())


def test_tokens_have_zero_mean_and_unit_variance_overall():
    components = Components(12, 5)
    components.fit(rows())
    tokens = components.encode(rows())
    torch.testing.assert_close(tokens.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(tokens.square().mean(), torch.tensor(1.0), atol=1e-4, rtol=0)


def test_the_first_components_keep_most():
    components = Components(12, 5)
    components.fit(rows())
    error = (components.decode(components.encode(rows())) - rows()).square().mean()
    assert error < 0.3 * rows().var(dim=0).mean()


def test_more_components_than_values_are_refused():
    with pytest.raises(ValueError, match="a token has 1 to 12 of them"):
        Components(12, 13)
