"""Images as patches of pixels."""

from core.patches import Patches


class PatchCodec(Patches):
    """The default up to 64 pixels a side: 16 tokens for a picture of 32."""
