"""Claims about the text tower."""

import pytest
import torch
import torch.nn.functional as F

from text.encoder import TextEncoder, TextEncoderConfig, vary, words

TEXTS = ["a big red seven moves left", "tiny blue three", "something green", "left"]
SMALL = TextEncoderConfig(embedding=8, width=32, depth=2, heads=2, vocabulary=300)


def tower() -> TextEncoder:
    """Return a small tower whose zero-initialised parts are random too."""
    torch.manual_seed(0)
    encoder = TextEncoder(SMALL)
    encoder.fit(TEXTS)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder.eval()


def test_embeddings_are_unit_vectors():
    embedded = tower()(TEXTS)
    assert embedded.shape == (4, 8)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(4))


def test_an_embedding_does_not_depend_on_its_neighbours():
    encoder = tower()
    alone = torch.cat([encoder([text]) for text in TEXTS])
    torch.testing.assert_close(encoder(TEXTS), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "same",
    [
        "A BIG RED SEVEN MOVES LEFT",
        "  a big red seven moves left!",
        "A big, red seven... moves\nleft",
    ],
)
def test_case_and_punctuation_do_not_matter(same: str):
    encoder = tower()
    torch.testing.assert_close(encoder([same]), encoder(TEXTS[:1]))


def test_the_order_of_words_is_seen():
    encoder = tower()
    assert not torch.allclose(encoder(["red seven"]), encoder(["seven red"]))


def test_words_of_any_script_are_kept():
    assert words("¿Un PEQUEÑO siete?") == ["un", "pequeño", "siete"]
    assert words("it's 7 - dígito") == ["it's", "7", "dígito"]


@pytest.mark.parametrize("empty", ["", "   ", "?!", "🙂"])
def test_a_text_without_words_is_an_error(empty: str):
    with pytest.raises(ValueError, match="holds no word"):
        tower()([empty])


def test_variation_is_a_pure_function_of_the_seed_of_a_text():
    rows, seeds = [words(text) for text in TEXTS * 8], torch.arange(32)
    varied = vary(rows, seeds, SMALL)
    assert varied == vary(rows, seeds, SMALL)
    assert varied != vary(rows, seeds + 100, SMALL)
    assert varied != rows


def test_variation_never_empties_a_text_and_can_be_turned_off():
    rows = [["left"]] * 200
    config = TextEncoderConfig(drop=0.9, babble=0.0, shuffle=0.0)
    assert vary(rows, torch.arange(200), config) == rows
    config = TextEncoderConfig(drop=0.0, babble=0.0, shuffle=0.0)
    rows = [words(text) for text in TEXTS]
    assert vary(rows, torch.arange(4), config) == rows


def test_a_text_varies_alike_whatever_stands_beside_it():
    rows, seeds = [words(text) for text in TEXTS], torch.arange(4)
    alone = [vary(rows[i : i + 1], seeds[i : i + 1], SMALL)[0] for i in range(4)]
    assert vary(rows, seeds, SMALL) == alone


def test_texts_vary_only_in_training_and_with_seeds():
    encoder, seeds = tower(), torch.arange(4)
    plain = encoder(TEXTS)
    torch.testing.assert_close(encoder(TEXTS, seeds), plain)
    encoder.train()
    torch.testing.assert_close(encoder(TEXTS), plain)
    assert not torch.allclose(encoder(TEXTS, seeds), plain)


def test_the_tokenizer_travels_in_the_state():
    encoder = tower()
    again = TextEncoder(SMALL)
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again.eval()(TEXTS), encoder(TEXTS))


def test_it_learns_to_tell_texts_apart():
    encoder = tower().train()
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=3e-3)
    targets = F.normalize(torch.eye(8)[:4] + 0.1, dim=1)
    for step in range(60):
        loss = (encoder(TEXTS, torch.arange(4) + 4 * step) - targets).square().sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    similar = encoder.eval()(TEXTS) @ targets.T
    assert torch.equal(similar.argmax(1), torch.arange(4))


@pytest.mark.parametrize("wrong", [{"depth": 0}, {"drop": 1.0}, {"babble": -0.1}])
def test_nonsense_settings_are_errors(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TextEncoderConfig(**wrong)
