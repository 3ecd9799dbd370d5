"""The image model in the form of diffusers: a network, a codec, and the pipeline over both.

`image.export` writes these classes, with all that they need of ours, as files into a folder that
`DiffusionPipeline.from_pretrained` loads. So they are plain PyTorch and diffusers.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers import DiffusionPipeline
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from core.blocks import MLPKind
from core.denoiser import Denoiser, DenoiserConfig
from core.errors import UserError
from core.flow import Prediction, velocity
from core.noise import normal, seeds_tensor
from core.pictures import to_pillow
from core.sampling import GUIDANCE, INTERVAL, FlowOptions, Velocity, guided, solve
from image.codec import PatchCodec


class UnisonImageTransformer(ModelMixin, ConfigMixin):
    """The denoising transformer: noisy tokens, times and an embedding to the flow's velocity."""

    @register_to_config
    def __init__(
        self,
        side: int = 4,
        channels: int = 64,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        mlp: MLPKind = "relu2",
        cond_dim: int = 0,
        prediction: Prediction = "x",
    ):
        """Build the network.

        Args:
            side: Tokens a side of the picture.
            channels: Of a token.
            width: Channels of a token inside the network.
            depth: Blocks.
            heads: Attention heads of a block.
            mlp: Kind of MLP.
            cond_dim: Width of the embedding; 0 for an unconditional model.
            prediction: What the network itself gives: clean tokens or the velocity.
        """
        super().__init__()
        axis = torch.arange(side)
        places = torch.cartesian_prod(axis, axis)
        config = DenoiserConfig(width, depth, heads, mlp)
        self.net = Denoiser(config, channels, places, cond_dim)
        self.prediction: Prediction = prediction

    def forward(
        self, x: Float[Tensor, "B T C"], time: Float[Tensor, "B 1"], cond: Tensor | None = None
    ) -> Float[Tensor, "B T C"]:
        """Return dx/dt; time 0 is noise and 1 is data, `cond` unit vectors [B E] or None."""
        return velocity(self.net(x, time, cond), x, time, self.prediction)


class UnisonImageCodec(ModelMixin, ConfigMixin):
    """Pixels to tokens and back: patches in a basis fitted on data."""

    @register_to_config
    def __init__(self, size: int = 32, patch: int = 8, components: int | None = 64):
        """Lay out the tokens.

        Args:
            size: Pixels a side.
            patch: Pixels a side of one token.
            components: Of each patch; None keeps all.
        """
        super().__init__()
        self.patches = PatchCodec(size, patch, components)

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T C"]:
        """Return the tokens of pictures in [-1, 1]."""
        return self.patches.encode(images)

    def decode(self, tokens: Float[Tensor, "B T C"]) -> Float[Tensor, "B 3 H W"]:
        """Return pictures in [-1, 1]."""
        return self.patches.decode(tokens)


class UnisonImagePipeline(DiffusionPipeline):
    """Draws images from nothing, or from embeddings of images; equal seeds give equal images."""

    transformer: ModelMixin
    codec: ModelMixin

    def __init__(self, transformer: ModelMixin, codec: ModelMixin):
        super().__init__()
        self.register_modules(transformer=transformer, codec=codec)

    @torch.no_grad()
    def __call__(
        self,
        embeddings: Float[Tensor, "*N E"] | None = None,
        seeds: Sequence[int] = (0,),
        num_inference_steps: int = 20,
        guidance_scale: float = GUIDANCE,
        interval: tuple[float, float] = INTERVAL,
        shift: float = 1.0,
        solver: str = "euler",
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> ImagePipelineOutput | tuple[list[Image.Image] | Tensor]:
        """Draw one image a seed.

        Args:
            embeddings: One [E] or several [N E], used in turn; they are normalised. None draws
                without a condition.
            seeds: One an image; an image depends on its own alone.
            num_inference_steps: Solver steps.
            guidance_scale: Weight of the embedding; 1 is none.
            interval: Times between which guidance acts, of 0 (noise) to 1 (data).
            shift: How much denser the steps are near noise; 1 is equal steps.
            solver: How the flow is integrated: `euler`, `heun` or `dpm++`.
            output_type: `pil` for a list of pictures, `pt` for a tensor [N 3 H W] in [0, 1].
            return_dict: Whether to return an `ImagePipelineOutput`, or a tuple.

        Raises:
            ValueError: if the embeddings are not those of this model, or an option is impossible.
        """
        _check("output_type", output_type, ("pil", "pt"))
        _check("solver", solver, ("euler", "heun", "dpm++"))
        options = FlowOptions(
            num_inference_steps, guidance_scale, interval, shift, cast(Any, solver)
        )
        cond = None if embeddings is None else self._rows(embeddings, len(seeds))
        config, dtype = self.transformer.config, self.transformer.dtype
        if dtype != torch.float32:
            raise UserError(f"the weights are {dtype} but must be torch.float32; load them so")
        shape = (config.side**2, config.channels)
        noise = normal(seeds_tensor(seeds, self._execution_device), shape)
        images = self.codec.decode(solve(self._velocity(cond, options), noise, options))
        shown = (images + 1) / 2 if output_type == "pt" else [to_pillow(image) for image in images]
        return ImagePipelineOutput(images=shown) if return_dict else (shown,)  # type: ignore[arg-type]

    def _rows(self, embeddings: Float[Tensor, "*N E"], count: int) -> Float[Tensor, "B E"]:
        """Return one unit vector an image."""
        width = self.transformer.config.cond_dim
        if embeddings.ndim not in (1, 2) or embeddings.shape[-1] != width or not len(embeddings):
            raise UserError(
                f"embeddings are {list(embeddings.shape)} but this model takes [{width}] or"
                f" [N, {width}]; 0 means that it draws without"
            )
        rows = embeddings.reshape(-1, width).to(self._execution_device, torch.float32)
        return F.normalize(rows[torch.arange(count, device=rows.device) % len(rows)], dim=-1)

    def _velocity(self, cond: Float[Tensor, "B E"] | None, options: FlowOptions) -> Velocity:
        """Return the velocity under guidance; without a condition there is nothing to guide."""

        def under(condition: Tensor | None) -> Velocity:
            return lambda x, t: self.transformer(x, x.new_full((len(x), 1), t), condition)

        return under(None) if cond is None else guided(under(cond), under(None), options)


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"{name} is {value!r} but must be one of {', '.join(known)}")
