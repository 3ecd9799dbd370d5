"""File formats by their first bytes, for data that comes without a name."""

HEAD = 64
"""Bytes that tell a format."""

_ISO_BRANDS = {b"M4A": ".m4a", b"M4B": ".m4a", b"qt": ".mov", b"M4V": ".m4v", b"avif": ".avif",
               b"avis": ".avif", b"heic": ".heic", b"heix": ".heic", b"mif1": ".heic"}  # fmt: skip
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (b"ID3", ".mp3"),
    (b"\x1aE\xdf\xa3", ".mkv"),
)
_RIFF = {b"WAVE": ".wav", b"WEBP": ".webp", b"AVI ": ".avi"}


def suffix_of(data: bytes) -> str | None:
    """Return the usual suffix of data of a known format: of a picture, a sound or a clip."""
    head = data[:HEAD]
    for start, suffix in _STARTS:
        if head.startswith(start):
            return suffix
    return _in_riff(head) or _in_iso(head) or _in_aiff(head) or _in_mpeg(head)


def _in_riff(head: bytes) -> str | None:
    return _RIFF.get(head[8:12]) if head[:4] in (b"RIFF", b"RF64") else None


def _in_iso(head: bytes) -> str | None:
    """MP4 and its kin: the brand says which."""
    return _ISO_BRANDS.get(head[8:12].strip(), ".mp4") if head[4:8] == b"ftyp" else None


def _in_aiff(head: bytes) -> str | None:
    return ".aiff" if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC") else None


def _in_mpeg(head: bytes) -> str | None:
    """Frames of MPEG audio begin with eleven set bits; AAC in ADTS has no layer."""
    if len(head) < 2 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    return ".aac" if head[1] & 0x06 == 0 else ".mp3"
