"""Malformed files in requests that are whole."""

from collections.abc import Callable

from tests.multimodal.demo import bombs
from tests.multimodal.demo.bombs import FIXTURES
from tests.multimodal.demo.raw_requests import FILES, PATHS, Bad, Draw, fixture, upload

SIGNALS = ("image", "audio", "video")


def wrong_kind(draw: Draw) -> Bad:
    modality = draw.choice(SIGNALS)
    others = [f for m in SIGNALS if m != modality for f in FILES[m] if f != "five.webp"]
    contents = [
        (FIXTURES / f).read_bytes() for f in (*others, "seven.txt", "labels.json", "make.py")
    ]
    contents += [
        b"",
        b"\0",
        draw.randbytes(5000),
        b"RIFF\xff\xff\xff\xffWEBP",
        b"GIF89a",
        bombs.LAUGHS,
        bombs.zip_bomb(),
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"fLaC",
        b"OggS",
        b"ID3",
    ]
    return Bad("wrong kind of file", upload(modality, draw.choice(contents)), True)


def truncated(draw: Draw) -> Bad:
    modality = draw.choice(SIGNALS)
    data = fixture(modality, draw)
    cut = draw.choice([draw.randrange(8), draw.randrange(len(data))])
    return Bad("truncated file", upload(modality, data[:cut]), cut < 8)


def flipped(draw: Draw) -> Bad:
    modality = draw.choice(SIGNALS)
    data = bytearray(fixture(modality, draw))
    reach = draw.choice([200, len(data)])
    for _ in range(draw.choice([1, 4, 64])):
        data[draw.randrange(min(reach, len(data)))] ^= 1 << draw.randrange(8)
    return Bad("flipped bits", upload(modality, bytes(data)), False)


def polyglot(draw: Draw) -> Bad:
    modality = draw.choice(SIGNALS)
    first, second = fixture(modality, draw), fixture(draw.choice(SIGNALS), draw)
    tails = [second, bombs.zip_bomb(), b"<script>alert(1)</script>", bytes(10**6), bombs.LAUGHS]
    return Bad("polyglot", upload(modality, first + draw.choice(tails)), False)


def picture_bomb(draw: Draw) -> Bad:
    huge = [12_001, 65_535, 10**6, 2**31 - 1, 2**32 - 1, 0, 1]
    texts = ("zTXt", "iTXt", "iCCP")
    makers: list[Callable[[], tuple[bytes, bool]]] = [
        lambda: (bombs.png(draw.choice(huge), draw.choice(huge)), True),
        lambda: (bombs.png(11_000, 11_000), True),
        lambda: (bombs.blank_png(7_000, draw.choice(["1", "L", "RGB", "RGBA", "I;16"])), False),
        lambda: (bombs.text_bomb(draw.choice(texts), 64, draw.choice([1, 50])), False),
        lambda: (bombs.many_chunks(draw.choice([1000, 100_000])), False),
        lambda: (bombs.many_markers(draw.choice([1000, 200_000])), False),
        lambda: (bombs.exif_bomb(draw.choice([1, 2000]), draw.choice([9, 2**31])), False),
        lambda: (bombs.webp(2**24, 2**24, 1), True),
        lambda: (bombs.gif(65_535, 65_535, 2), True),
    ]
    data, surely = draw.choice(makers)()
    return Bad("picture bomb", upload("image", data), surely)


def clip_bomb(draw: Draw) -> Bad:
    fields = (
        "width",
        "height",
        "samples",
        "size",
        "duration",
        "scale",
        "runs",
        "chunks",
        "box",
        "entries",
        "sync",
    )
    makers: list[Callable[[], tuple[bytes, bool]]] = [
        lambda: (bombs.gif(16, 16, 60_000), True),
        lambda: (bombs.gif(65_535, 65_535, 3), True),
        lambda: (bombs.gif(11_000, 11_000, 10), True),
        lambda: (bombs.gif(64, 64, 2)[: draw.randrange(60)], False),
        lambda: (bombs.webp(16, 16, 60_000), True),
        lambda: (bombs.webp(11_000, 11_000, 10), True),
        lambda: (
            bombs.patched_film(draw.choice(fields), draw.choice([0, 1, 65_535, 2**32 - 1])),
            False,
        ),
        lambda: (bombs.film(272, 272, draw.choice([21_000, 30_000])), True),
        lambda: (bombs.film(8000, 4000, 20), True),
        lambda: (bombs.nested_boxes(draw.choice([10, 50_000])), True),
        lambda: (draw.choice(bombs.PLAYLISTS), True),
    ]
    data, surely = draw.choice(makers)()
    return Bad("clip bomb", upload("video", data), surely)


def sound_bomb(draw: Draw) -> Bad:
    sound = bombs.tone(8000, 0.5)
    rates = [0, 1, 3999, 768_001, 2**31, 2**32 - 1]
    makers: list[Callable[[], tuple[bytes, bool]]] = [
        lambda: (bombs.wav(draw.choice(rates), 1, 16, len(sound), sound), True),
        lambda: (bombs.wav(8000, draw.choice([0, 5000, 65_535]), 16, len(sound), sound), True),
        lambda: (bombs.wav(8000, 1, 16, 2**32 - 1, bytes(9000)), True),
        lambda: (bombs.wav(8000, 1, draw.choice([0, 3, 64, 65_535]), 9000, sound), False),
        lambda: (bombs.wav(8000, 1, 32, 8000, b"\xff\xff\xff\x7f" * 2000, 3), True),
        lambda: (
            bombs.silent_flac(*draw.choice([(8000, 1, 3600), (48_000, 8, 90), (192_000, 8, 26)])),
            True,
        ),
        lambda: (bombs.lying_flac(draw.choice([2**36 - 1, 30_000_000, 0])), True),
        lambda: (bombs.tone(draw.choice([44_101, 767_999, 15_991, 4_001]), 0.5), False),
        lambda: (sound[:12] + b"junk\0\0\0\0" * draw.choice([10, 100_000]) + sound[12:], False),
    ]
    data, surely = draw.choice(makers)()
    return Bad("sound bomb", upload("audio", data), surely)


def named(draw: Draw) -> Bad:
    name, modality = draw.choice(PATHS), draw.choice(SIGNALS)
    return Bad("path in a file's name", upload(modality, b"nothing", name), True)
