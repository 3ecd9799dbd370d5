"""Claims about lm-evaluation-harness: its tasks run on our checkpoints and count what we count."""

import json
import math
from functools import partial
from pathlib import Path

import lm_eval.tasks
import pytest
import torch
import yaml
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

from core.cli import command
from tests.foreign import TEXTS, save_foreign
from text.convert import from_hf
from text.harness import harness
from text.harness_model import HarnessModel
from text.model import TextConfig
from text.module import TextModule
from text.tokenizer import TextTokenizer

QUESTIONS = [
    {"question": "a fox jumps over", "choices": [" the dog", " the fox", " nothing"], "answer": 0},
    {"question": "the sky is", "choices": [" blue", " seven"], "answer": 1},
    {"question": "große Hunde", "choices": [" läuft", " üben", " 狐狸"], "answer": 2},
]


def language_model(**shape) -> TextModule:
    torch.manual_seed(0)
    sizes = {"width": 32, "depth": 2, "heads": 4, "context": 24, "vocabulary": 300, "prefix": 0}
    module = TextModule(TextConfig(**sizes | shape))
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    module.codec.use(TextTokenizer.train(TEXTS, 290))
    return module.eval()


def instances(kind: str, arguments: list[tuple]) -> list[Instance]:
    return [Instance(kind, {}, given, i) for i, given in enumerate(arguments)]  # pyright: ignore[reportArgumentType]


def direct(module: TextModule, ids: list[int], start: int) -> tuple[float, bool]:
    """Return the log-likelihood of ids[start:] given those before, one token at a time."""
    total, greedy = 0.0, True
    for i in range(start, len(ids)):
        with torch.no_grad():
            logits = module.net(torch.tensor([ids[:i]]))[0, -1]
        total += float(logits.log_softmax(-1)[ids[i]])
        greedy &= int(logits.argmax()) == ids[i]
    return total, greedy


@pytest.fixture
def tasks(tmp_path) -> Path:
    """Return a folder with a task of each sort: choice, likelihood of texts, writing."""
    folder, cache = tmp_path / "tasks", str(tmp_path / "cache")
    folder.mkdir()
    lines = "".join(json.dumps(question) + "\n" for question in QUESTIONS)
    (folder / "questions.jsonl").write_text(lines)
    about = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "questions.jsonl")}},
        "test_split": "test",
    }
    about["dataset_kwargs"]["cache_dir"] = cache
    choice = {
        "task": "our_choice",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc"}],
    }
    rolling = {
        "task": "our_rolling",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{question}}",
        "metric_list": [{"metric": "bits_per_byte"}],
    }
    writing = {
        "task": "our_writing",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{choices[answer]}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 5, "do_sample": False},
        "metric_list": [{"metric": "exact_match"}],
    }
    for task in (choice, rolling, writing):
        (folder / f"{task['task']}.yaml").write_text(yaml.safe_dump(about | task))
    return folder


@pytest.mark.parametrize("batch", [1, 3])
def test_a_loglikelihood_is_the_sum_of_direct_log_probabilities(batch):
    module = language_model()
    pairs = [(q["question"], choice) for q in QUESTIONS for choice in q["choices"]]
    pairs += [("", "a fox"), ("a fox ", "jumps")]
    found = HarnessModel(module, batch).loglikelihood(instances("loglikelihood", pairs), True)
    for (context, following), (total, greedy) in zip(pairs, found, strict=True):
        given = 1 + len(module.codec.tokenizer.encode(context.rstrip()))
        ids = [1, *module.codec.tokenizer.encode(context + following)]
        wanted, likeliest = direct(module, ids, given)
        assert total == pytest.approx(wanted, abs=1e-4)
        assert greedy == likeliest


def test_the_likeliest_continuation_is_greedy():
    module = language_model()
    model = HarnessModel(module)
    asked = instances("generate_until", [("a fox", {"max_gen_toks": 3})])
    (text,) = model.generate_until(asked, True)
    ids = module.codec.tokenizer.document("a fox")[:-1]
    written: list[int] = []
    for _ in range(3):
        with torch.no_grad():
            logits = module.net(torch.tensor([ids + written]))[0, -1, : len(module.codec.tokenizer)]
        written.append(int(logits.argmax()))
    assert text == module.codec.tokenizer.decode(written)


def test_a_stop_ends_a_text_and_is_left_out():
    model = HarnessModel(language_model())

    def write(**told) -> str:
        return model.generate_until(instances("generate_until", [("a fox", told)]), True)[0]

    whole = write(max_gen_toks=8)
    stop = whole[2:4]
    assert write(max_gen_toks=8, until=[stop, "never"]) == whole[: whole.index(stop)]
    assert write(max_gen_toks=8, until=stop) == whole[: whole.index(stop)]


def test_sampling_is_repeatable_and_varied():
    model = HarnessModel(language_model())
    told = {"max_gen_toks": 8, "do_sample": True, "temperature": 2.0}
    first, again = (
        model.generate_until(instances("generate_until", [("a fox", told)] * 4), True)
        for _ in range(2)
    )
    assert first == again
    assert len(set(first)) > 1


def test_each_token_of_a_long_text_counts_once():
    module = language_model()
    text = " ".join(TEXTS)
    ids = module.codec.tokenizer.encode(text)
    assert len(ids) > 2 * 24
    (total,) = HarnessModel(module).loglikelihood_rolling(instances("rolling", [(text,)]), True)
    wanted = direct(module, [1, *ids[:24]], 1)[0]
    for start in range(24, len(ids), 24):
        end = min(start + 24, len(ids))
        window = ids[max(end - 25, 0) : end]
        wanted += direct(module, window, len(window) - (end - start))[0]
    assert total == pytest.approx(wanted, abs=1e-3)


def test_more_tokens_than_the_context_are_an_error_that_says_so():
    long = [("a", " fox" * 60)]
    with pytest.raises(ValueError, match="context is 24"):
        HarnessModel(language_model()).loglikelihood(instances("loglikelihood", long), True)


def test_local_tasks_run_through_the_harness_own_function(tasks):
    module = language_model()
    model = HarnessModel(module)
    names = ["our_choice", "our_rolling", "our_writing"]
    manager = TaskManager(include_path=tasks, include_defaults=False)
    found = simple_evaluate(model, tasks=names, task_manager=manager, bootstrap_iters=0)
    assert found is not None
    right = nats = size = 0
    for question in QUESTIONS:
        given = [1, *module.codec.tokenizer.encode(question["question"])]
        scores = [
            direct(module, given + module.codec.tokenizer.encode(choice), len(given))[0]
            for choice in question["choices"]
        ]
        right += scores.index(max(scores)) == question["answer"]
        nats -= direct(module, given, 1)[0]
        size += len(question["question"].encode())
    assert found["results"]["our_choice"]["acc,none"] == pytest.approx(right / 3)
    bits = found["results"]["our_rolling"]["bits_per_byte,none"]
    assert bits == pytest.approx(nats / math.log(2) / size, rel=1e-5)
    assert found["results"]["our_writing"]["exact_match,none"] == 0


def test_the_command_measures_a_converted_checkpoint(tasks, tmp_path, capsys, monkeypatch):
    save_foreign("gpt2", tmp_path / "gpt2")
    from_hf(tmp_path / "gpt2", tmp_path / "gpt2.ckpt")
    argv = ["--checkpoint", str(tmp_path / "gpt2.ckpt"), "--folder", str(tasks)]
    command(harness, [*argv, "--out", str(tmp_path / "results.json")])
    assert "our_choice" in capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert results["our_rolling"]["bits_per_byte,none"] > 0
    # All that come with the harness would be looked through for many seconds.
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", partial(TaskManager, include_defaults=False))
    with pytest.raises(SystemExit) as stop:
        command(harness, [*argv, "--tasks=[nothing_of_that_name]"])
    assert stop.value.code == 2
    assert "there is no task nothing_of_that_name" in capsys.readouterr().err


def test_a_model_that_needs_a_condition_is_refused():
    with pytest.raises(ValueError, match="condition"):
        HarnessModel(TextModule(TextConfig(width=32, heads=2, depth=1), cond_dim=4))
