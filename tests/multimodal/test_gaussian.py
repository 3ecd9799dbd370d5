import torch
from torch.testing import assert_close

from multimodal.gaussian import FLOOR, RIDGE, Evidence, condition, sample, second_moments, through

FIRST, SECOND = torch.tensor([True, True, False, False]), torch.tensor([False, False, True, True])


def covariance(seed=0):
    root = torch.randn(4, 8, generator=torch.Generator().manual_seed(seed))
    return root @ root.T / 8


def test_two_correlated_numbers_are_conditioned_as_in_the_textbook():
    rho = 0.8
    matrix = torch.tensor([[1.0, rho], [rho, 1.0]])
    given, wanted = torch.tensor([True, False]), torch.tensor([False, True])
    linear = condition(matrix, given, wanted, ridge=0.0)
    assert_close(linear.gain, torch.tensor([[rho]]))
    assert_close(linear.spread, torch.tensor([[1 - rho**2]]))


def test_given_nothing_the_distribution_is_the_whole():
    linear = condition(covariance(), torch.zeros(4, dtype=torch.bool), SECOND)
    assert linear.gain.shape == (0, 2)
    assert_close(linear.spread, covariance()[2:, 2:])


def test_samples_have_the_moments_that_were_asked_for():
    linear = condition(covariance(), FIRST, SECOND)
    generator = torch.Generator().manual_seed(0)
    x = torch.tensor([[1.0, -2.0]]).expand(200_000, -1)
    drawn = sample(linear, x, torch.randn(200_000, 2, generator=generator))
    assert_close(drawn.mean(dim=0), (x[:1] @ linear.gain)[0], atol=0.01, rtol=0)
    assert_close(drawn.T.cov(), linear.spread, atol=0.01, rtol=0)


def test_second_moments_are_over_samples_that_have_both():
    x = torch.randn(100, 2, 3, generator=torch.Generator().manual_seed(0))
    present = torch.ones(100, 2, dtype=torch.bool)
    present[50:, 1] = False
    moments = second_moments(torch.where(present[..., None], x, torch.nan_to_num(x) * 100), present)
    assert_close(moments[:3, :3], x[:, 0].T @ x[:, 0] / 100)
    assert_close(moments[:3, 3:], x[:50, 0].T @ x[:50, 1] / 50)


def test_tokens_never_seen_together_are_independent():
    present = torch.tensor([[True, False], [False, True]])
    moments = second_moments(torch.randn(2, 2, 3), present)
    assert not moments[:3, 3:].any()


def test_before_anything_is_decided_evidence_is_the_posterior_of_the_gaussian():
    matrix, y = covariance(), torch.tensor([[0.3, -0.7]])
    corrected = Evidence(matrix, FIRST, SECOND).correct(torch.zeros(1, 2), y, 0.0, 1.0)
    said = condition(matrix, FIRST, SECOND)
    noise = said.spread + RIDGE * torch.eye(2)
    own = matrix[:2, :2] + FLOOR * torch.eye(2)
    whole = said.gain.T @ own @ said.gain + noise
    assert_close(corrected, torch.linalg.solve(whole, y.T).T @ said.gain.T @ own)


def test_in_the_end_the_estimate_rules():
    torch.manual_seed(0)
    x, y = torch.randn(3, 2), torch.randn(3, 2)
    told = Evidence(covariance(), FIRST, SECOND)
    assert_close(told.correct(x, y, 1.0, 1.0), x, atol=1e-3, rtol=0)
    assert (told.correct(x, y, 0.0, 1.0) - x).norm(dim=1).min() > 0.05


def test_an_estimate_that_agrees_with_the_evidence_is_left_as_it_is():
    told, x = Evidence(covariance(), FIRST, SECOND), torch.randn(3, 2)
    assert_close(told.correct(x, x @ told.predict, 0.2, 1.5), x)


def test_tokens_never_paired_are_linked_through_the_hub_and_independent_given_it():
    present = torch.tensor([[True, True, False], [True, False, True]])
    matrix = torch.tensor([[1.0, 0.8, 0.6], [0.8, 1.0, 0.0], [0.6, 0.0, 1.0]])
    linked = through(matrix, present, 0)
    assert_close(linked[1, 2], torch.tensor(0.48), atol=1e-3, rtol=0)
    given = condition(linked, present[0] & present[1], torch.tensor([False, True, True]))
    assert_close(given.spread[0, 1], torch.tensor(0.0), atol=1e-3, rtol=0)
    assert_close(linked[:2, :2], matrix[:2, :2])


def test_what_was_paired_is_left_as_it_was_measured():
    everything = torch.ones(5, 2, dtype=torch.bool)
    assert_close(through(covariance(), everything, 0), covariance())
