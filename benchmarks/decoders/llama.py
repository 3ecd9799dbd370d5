"""llama.cpp in `benchmarks.decoding`, in an environment of its own: llama-cpp-python and gguf.

It imports neither torch nor the packages of this repository that do.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.decoders.gguf_file import write_gguf
from benchmarks.turns import Missing, seconds, serve

SYSTEMS: dict[str, dict[str, str]] = {
    "llama.cpp": {"float32": "float32", "bfloat16": "bfloat16"},
    "llama.cpp, Q8_0": {"float32": "q8_0", "bfloat16": "q8_0"},
}
"""Name of a row -> type of the benchmark -> type of the matrices."""


class Decoder:
    """A model of llama.cpp that writes greedy tokens for several texts at once."""

    def __init__(self, model: Path, prompts: Sequence[Sequence[int]], tokens: int, threads: int):
        """Load the model and make room.

        Args:
            model: A GGUF file.
            prompts: Token ids [B T].
            tokens: Tokens to write after each.
            threads: Threads of a step.
        """
        import llama_cpp  # pyright: ignore[reportMissingImports]

        self.lib, self.prompts, self.tokens = llama_cpp, prompts, tokens
        texts, length = len(prompts), len(prompts[0])
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        options.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(model).encode(), options)
        assert self.model, f"llama.cpp does not load {model}"
        shape = llama_cpp.llama_context_default_params()
        shape.n_ctx = texts * (length + tokens)
        shape.n_batch = shape.n_ubatch = texts * length
        shape.n_seq_max = texts
        shape.n_threads = shape.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, shape)
        assert self.context, "llama.cpp does not make a context"
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(
            llama_cpp.llama_model_get_vocab(self.model)
        )
        self.batch = llama_cpp.llama_batch_init(texts * length, 0, 1)

    def write(self) -> np.ndarray:
        """Return the tokens that follow the prompts, Int[B T]."""
        rows, length = len(self.prompts), len(self.prompts[0])
        found = self.read_prompts().argmax(axis=1)
        made = [found]
        for step in range(1, self.tokens):
            self._fill((row, length + step - 1, int(found[row]), True) for row in range(rows))
            found = self._step(rows).argmax(axis=1)
            made.append(found)
        return np.stack(made, axis=1)

    def read_prompts(self) -> np.ndarray:
        """Forget everything and read the prompts; return the logits behind them, Float[B V]."""
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
        last = len(self.prompts[0]) - 1
        self._fill(
            (row, place, token, place == last)
            for row, prompt in enumerate(self.prompts)
            for place, token in enumerate(prompt)
        )
        return self._step(len(self.prompts))

    def _fill(self, entries: Any) -> None:
        """Put tokens into the batch: (text, position, token, whether logits are wanted)."""
        batch, count = self.batch, 0
        for row, place, token, wanted in entries:
            batch.token[count], batch.pos[count] = token, place
            batch.n_seq_id[count], batch.seq_id[count][0] = 1, row
            batch.logits[count] = wanted
            count += 1
        batch.n_tokens = count

    def _step(self, rows: int) -> np.ndarray:
        failed = self.lib.llama_decode(self.context, self.batch)
        assert not failed, f"llama_decode returned {failed}"
        logits = self.lib.llama_get_logits(self.context)
        return np.ctypeslib.as_array(logits, shape=(rows, self.vocabulary))


def prepare(options: argparse.Namespace) -> tuple[Any, Mapping[str, Any]]:
    """Convert the weights, load them and warm up."""
    try:
        import gguf  # noqa: F401  # pyright: ignore
        import llama_cpp  # noqa: F401  # pyright: ignore
    except ImportError as error:
        raise Missing(
            f"not installed ({error.name} is not in that environment; pip install"
            " llama-cpp-python gguf)"
        ) from error
    path = options.folder / f"{options.kind}.gguf"
    write_gguf(options.folder / "hf", path, options.kind)
    prompts = json.loads((options.folder / "prompts.json").read_text())
    decoder = Decoder(path, prompts, options.tokens, options.threads)
    facts = {"logits": decoder.read_prompts()[0].tolist()}
    decoder.write()
    count = len(prompts) * options.tokens
    return lambda: count / seconds(decoder.write), facts


def main() -> None:
    """Answer each line of standard input with the tokens per second of one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="hf/ and prompts.json")
    parser.add_argument("--kind", required=True, help="type of the matrices")
    parser.add_argument("--threads", type=int, required=True, help="threads of a step")
    parser.add_argument("--tokens", type=int, required=True, help="tokens to write")
    options = parser.parse_args()
    serve(lambda: prepare(options))


if __name__ == "__main__":
    main()
