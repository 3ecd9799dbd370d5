"""Low-rank adapters: a frozen matrix and a small, trained product of two beside it.

Source: Hu et al. 2021 (LoRA), section 4.1.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from core.errors import UserError
from text.model import TextConfig, TextModel

Part = Literal["q", "k", "v", "o", "gate", "up", "down"]
"""What may be adapted in a block: attention's projections and the MLP's."""


@dataclass(frozen=True)
class LoRA:
    """Which matrices are adapted, and how finely."""

    rank: int = 8
    """Columns of the small matrices."""
    alpha: float = 16.0
    """What the adapters add is multiplied by alpha / rank."""
    targets: tuple[Part, ...] | None = None
    """Parts of each block that have an adapter; by default all that there are."""

    def __post_init__(self):
        if self.rank < 1:
            raise UserError(f"rank is {self.rank} but must be at least 1")
        if self.alpha <= 0:
            raise UserError(f"alpha is {self.alpha} but must be above 0")
        if self.targets is not None and not self.targets:
            raise UserError("targets is empty; name some parts, or leave it out for all")

    @property
    def scale(self) -> float:
        """What an adapter's product is multiplied by."""
        return self.alpha / self.rank


class Adapter(nn.Module):
    """Two matrices, of which the second starts at zero: at first nothing is added."""

    def __init__(self, inputs: int, outputs: int, lora: LoRA):
        super().__init__()
        self.scale = lora.scale
        self.down = nn.Parameter(torch.empty(lora.rank, inputs))
        self.up = nn.Parameter(torch.zeros(outputs, lora.rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as nn.Linear, and PEFT

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """Return what is added to the outputs."""
        return self.scale * F.linear(F.linear(x, self.down), self.up)

    def product(self) -> Float[Tensor, "O I"]:
        """Return the matrix that the adapter stands for."""
        return self.scale * self.up @ self.down


class AdaptedLinear(nn.Module):
    """A frozen linear map whose outputs are of several parts, some with an adapter.

    Its weights keep their names, so that those of the plain map load.
    """

    def __init__(self, plain: nn.Linear, sizes: dict[Part, int], lora: LoRA):
        """Take a map's weights.

        Args:
            plain: The map.
            sizes: Outputs of each part, in their order.
            lora: Which of the parts are adapted.
        """
        super().__init__()
        self.weight, self.bias, self.sizes = plain.weight, plain.bias, sizes
        wanted = get_args(Part) if lora.targets is None else lora.targets
        self.adapters = nn.ModuleDict(
            {
                part: Adapter(plain.in_features, outputs, lora)
                for part, outputs in sizes.items()
                if part in wanted
            }
        )

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """Map, and add what the adapters say."""
        plain = F.linear(x, self.weight, self.bias).split(list(self.sizes.values()), dim=-1)
        both = [
            outputs + self.adapters[part](x) if part in self.adapters else outputs
            for part, outputs in zip(self.sizes, plain, strict=True)
        ]
        return torch.cat(both, dim=-1)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return one plain map that does the same."""
        outputs, inputs = self.weight.shape
        plain = nn.Linear(inputs, outputs, bias=self.bias is not None)
        plain.weight, plain.bias = nn.Parameter(self.weight.clone()), self.bias
        rows = plain.weight.split(list(self.sizes.values()))
        for part, weight in zip(self.sizes, rows, strict=True):
            if part in self.adapters:
                weight += self.adapters[part].product()  # pyright: ignore[reportCallIssue]
        return plain


def adapt(model: TextModel, lora: LoRA) -> None:
    """Freeze a model and give its blocks adapters, which alone learn.

    Raises:
        ValueError: if a part is asked for that the model has not.
    """
    sizes = part_sizes(model.config)
    found = {part for parts in sizes.values() for part in parts}
    if missing := [part for part in lora.targets or () if part not in found]:
        raise UserError(
            f"targets has {', '.join(missing)} but a block of this model, with an MLP of kind "
            f"{model.config.mlp}, has {', '.join(sorted(found))}"
        )
    model.requires_grad_(False)
    for block in model.blocks:
        for place, parts in sizes.items():
            plain = block.get_submodule(place)
            assert isinstance(plain, nn.Linear)
            if lora.targets is None or set(lora.targets) & parts.keys():
                block.set_submodule(place, AdaptedLinear(plain, parts, lora))


def merge(model: TextModel) -> None:
    """Put plain maps that do the same in place of the adapted ones."""
    for name, adapted in list(adapted_maps(model)):
        model.set_submodule(name, adapted.merged())
    model.requires_grad_(True)


def adapted_maps(model: TextModel) -> Iterator[tuple[str, AdaptedLinear]]:
    """Yield the maps that have adapters, by name."""
    for name, module in model.named_modules():
        if isinstance(module, AdaptedLinear):
            yield name, module


def part_sizes(config: TextConfig) -> dict[str, dict[Part, int]]:
    """Return the outputs of the parts of each of a block's maps."""
    shape, hidden = config.attention, mlp_width(config)
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    gated = config.mlp == "swiglu"
    return {
        "attention.qkv": {"q": queries, "k": keys, "v": keys},
        "attention.out": {"o": config.width},
        "mlp.up": {"gate": hidden, "up": hidden} if gated else {"up": hidden},
        "mlp.out": {"down": config.width},
    }


def mlp_width(config: TextConfig) -> int:
    """Return the channels inside the MLP."""
    default = 8 * config.width // 3 if config.mlp == "swiglu" else 4 * config.width
    return config.hidden or default
