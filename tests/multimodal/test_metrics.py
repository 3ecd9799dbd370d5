"""Identities, limits and coverage of the numbers in a report."""

import pytest
import torch

from multimodal import metrics


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_strict_needs_every_named_factor():
    truth = {"digit": torch.tensor([1, 1, 1]), "colour": torch.tensor([2, 2, 2])}
    read = {"digit": torch.tensor([1, 1, -1]), "colour": torch.tensor([2, 3, 2])}
    assert metrics.matches(read, truth, ["digit", "colour"]).tolist() == [True, False, False]
    accuracy = metrics.factor_accuracy(read, truth, ["digit", "colour"])
    assert accuracy == pytest.approx({"digit": 2 / 3, "colour": 2 / 3})


def test_shuffled_labels_are_right_at_chance(generator):
    truth = {"digit": torch.randint(10, (20000,), generator=generator)}
    order = torch.randperm(20000, generator=generator)
    accuracy = metrics.factor_accuracy({"digit": truth["digit"][order]}, truth, ["digit"])
    assert accuracy["digit"] == pytest.approx(0.1, abs=0.01)


def test_agreement_ignores_a_factor_only_one_modality_carries():
    image = {"digit": torch.tensor([1, 1]), "colour": torch.tensor([0, 0])}
    text = image | {"motion": torch.tensor([3, 3])}
    assert metrics.agreement([image, text]).tolist() == [True, True]
    video = image | {"motion": torch.tensor([3, 4])}
    assert metrics.agreement([image, text, video]).tolist() == [True, False]


def test_unreadable_samples_never_agree():
    unreadable = {"digit": torch.tensor([-1])}
    assert not metrics.agreement([unreadable, unreadable]).any()


def test_independent_readings_agree_at_chance(generator):
    readings = [{"digit": torch.randint(10, (50000,), generator=generator)} for _ in range(2)]
    assert metrics.mean(metrics.agreement(readings)) == pytest.approx(0.1, abs=0.01)


def test_bootstrap_interval_covers_the_mean_as_often_as_it_says(generator):
    covered = []
    for seed in range(200):
        values = (torch.rand(120, generator=generator) < 0.7).float()
        low, high = metrics.bootstrap_interval(values, torch.arange(120), draws=400, seed=seed)
        covered.append(low <= 0.7 <= high)
    assert 0.89 <= sum(covered) / len(covered) <= 0.99


def test_bootstrap_over_instances_is_wider_when_an_instance_repeats(generator):
    values = (torch.rand(50, generator=generator) < 0.6).float().repeat_interleave(8)
    alone = metrics.bootstrap_interval(values, torch.arange(400))
    together = metrics.bootstrap_interval(values, torch.arange(50).repeat_interleave(8))
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])


def test_bootstrap_of_a_constant_has_no_width():
    assert metrics.bootstrap_interval(torch.ones(9), torch.arange(9)) == (1.0, 1.0)


def test_a_set_lies_wholly_on_its_own_manifold(generator):
    features = torch.randn(100, 8, generator=generator)
    assert metrics.precision_recall(features, features) == (1.0, 1.0)


def test_a_collapsed_set_is_precise_and_recalls_nothing(generator):
    real = torch.randn(200, 8, generator=generator)
    collapsed = real[:1] + 1e-4 * torch.randn(200, 8, generator=generator)
    precision, recall = metrics.precision_recall(real, collapsed)
    assert precision == 1.0
    assert recall <= 0.02


def test_distant_sets_share_no_manifold(generator):
    real = torch.randn(50, 4, generator=generator)
    assert metrics.precision_recall(real, real + 100) == (0.0, 0.0)


def test_a_manifold_needs_more_than_k_samples():
    with pytest.raises(ValueError, match="3 samples span no manifold with k=3"):
        metrics.precision_recall(torch.randn(3, 2), torch.randn(9, 2))


def test_frechet_distance_of_gaussians_has_its_closed_form(generator):
    first = torch.randn(200_000, 3, generator=generator)
    second = 2 * torch.randn(200_000, 3, generator=generator) + 1
    # |mean difference|^2 + sum of (sigma_1 - sigma_2)^2 for axis-aligned Gaussians
    assert metrics.frechet_distance(first, second) == pytest.approx(6.0, rel=0.02)
    assert metrics.frechet_distance(first, first) == pytest.approx(0.0, abs=1e-6)


def test_total_variation_runs_from_equal_to_disjoint():
    zeros, ones = torch.zeros(5, dtype=torch.long), torch.ones(7, dtype=torch.long)
    assert metrics.total_variation(zeros, zeros, 2) == 0.0
    assert metrics.total_variation(zeros, ones, 2) == 1.0
    assert metrics.total_variation(torch.cat([zeros, zeros + 1]), zeros, 2) == 0.5


def test_rank_correlation_sees_only_order_and_skips_what_is_no_number():
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, float("nan")])
    assert metrics.rank_correlation(values, values.exp()) == pytest.approx(1.0)
    assert metrics.rank_correlation(values, -values) == pytest.approx(-1.0)
    assert metrics.rank_correlation(values, torch.ones(5)) == 0.0


def test_ngram_features_know_word_order_but_not_case():
    features = metrics.ngram_features(["a red seven", "A RED seven", "seven red a"])
    assert torch.equal(features[0], features[1])
    assert not torch.equal(features[0], features[2])


def test_kernel_distance_is_unbiased_and_sees_a_shift(generator):
    def draw(count):
        return torch.randn(count, 8, generator=generator)

    values = [metrics.kernel_distance(draw(40), draw(40)) for _ in range(200)]
    assert min(values) < 0 < max(values)
    spread = torch.tensor(values).std() / 200**0.5
    assert abs(sum(values) / 200) < 4 * float(spread)
    assert metrics.kernel_distance(draw(400), draw(400) + 1) > 10 * max(values)


def test_kernel_distance_is_the_mean_over_pairs(generator):
    a, b = (torch.randn(5, 3, generator=generator).double() for _ in range(2))

    def kernel(x, y):
        return (float(x @ y) / 3 + 1) ** 3

    within = [
        sum(kernel(s[i], s[j]) for i in range(5) for j in range(5) if i != j) / 20 for s in (a, b)
    ]
    across = sum(kernel(x, y) for x in a for y in b) / 25
    assert metrics.kernel_distance(a, b) == pytest.approx(sum(within) - 2 * across)


def test_copies_are_at_no_distance_from_training(generator):
    known = torch.randn(50, 4, generator=generator)
    assert metrics.nearest_distance(known[:7], known) == 0
    assert metrics.nearest_distance(known[:7] + 10, known) > 1
