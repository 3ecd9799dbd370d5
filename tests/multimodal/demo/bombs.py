"""Files that announce, unpack to, or refer to more than they should: made, never stored."""

import io
import struct
import zipfile
import zlib
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

FIXTURES = Path("tests/fixtures").absolute()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *extra: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """Return a PNG whose header announces a size and whose data is a line of zeros."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + body + png_chunk(b"IEND", b"")


@cache
def blank_png(side: int, mode: str) -> bytes:
    """Return a real picture of one colour; small on the wire, large in memory."""
    buffer = io.BytesIO()
    Image.new(mode, (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


@cache
def deflated(megabytes: int) -> bytes:
    """Return zeros, compressed a thousandfold."""
    return zlib.compress(bytes(megabytes * 2**20), 9)


def text_bomb(kind: str, megabytes: int, times: int) -> bytes:
    """Return a picture whose texts or profile unpack to very much."""
    bodies = {
        "zTXt": b"k\0\0" + deflated(megabytes),
        "iTXt": b"k\0\1\0\0\0" + deflated(megabytes),
        "iCCP": b"k\0\0" + deflated(megabytes),
    }
    extra = [png_chunk(kind.encode(), bodies[kind])] * times
    return png(32, 32, *extra)


def many_chunks(count: int) -> bytes:
    """Return a picture with so many empty chunks before its data."""
    return png(32, 32, png_chunk(b"prVt", b"") * count)


@cache
def photograph() -> bytes:
    """Return a picture as JPEG."""
    return (FIXTURES / "photograph.jpg").read_bytes()


@cache
def many_scans(side: int, count: int) -> bytes:
    """Return a progressive JPEG with the same empty refinement again and again."""
    buffer = io.BytesIO()
    Image.new("L", (side, side), 128).save(buffer, "JPEG", progressive=True, quality=1)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def many_markers(count: int) -> bytes:
    """Return a JPEG with so many empty comments."""
    data = photograph()
    return data[:2] + b"\xff\xfe\x00\x02" * count + data[2:]


def exif_bomb(entries: int, size: int) -> bytes:
    """Return a JPEG whose EXIF lists many entries of an announced size, one pointing to itself."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<HHII", 270, 2, size, 8)
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", min(2 * entries, 65535)) + entry * entries
    body = (b"Exif\0\0" + tiff)[:65000]
    data = photograph()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def gif(width: int, height: int, frames: int) -> bytes:
    """Return a GIF of so many frames of one pixel on a canvas of any size."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * frames + b";"


def gif_blocks(count: int) -> bytes:
    """Return a GIF of nothing but comments."""
    return gif(32, 32, 0)[:-1] + b"!\xfe\x01a\x00" * count + b";"


@cache
def webp(width: int, height: int, frames: int) -> bytes:
    """Return an animated WebP of one frame again and again on a canvas of any size."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, "WEBP", lossless=True)
    still = buffer.getvalue()[12:]
    side = bytes(6) + struct.pack("<I", 15)[:3] * 2 + struct.pack("<I", 40)[:3] + b"\0"
    frame = b"ANMF" + struct.pack("<I", len(side) + len(still)) + side + still
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    head = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size
    body = b"WEBP" + head + b"ANIM" + struct.pack("<I", 6) + bytes(6) + frame * frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


@cache
def film(width: int, height: int, frames: int, codec: str = "mpeg4", format: str = "mp4") -> bytes:
    """Return a film that repeats the packet of an unchanged frame."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=format) as container:
        stream = container.add_stream(codec, rate=30, options={"g": "100000"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        black = av.VideoFrame.from_ndarray(np.zeros((height * 3 // 2, width), np.uint8), "yuv420p")
        packets = []
        for number in range(4):
            black.pts = number
            packets += stream.encode(black)
        packets += stream.encode(None)
        content = [bytes(packet) for packet in packets]
        for number in range(frames):
            packet = av.Packet(content[number] if number < 2 else content[1])
            packet.stream, packet.time_base = stream, Fraction(1, 30)
            packet.pts = packet.dts = number
            packet.is_keyframe = number == 0
            container.mux(packet)
    return buffer.getvalue()


def patched_film(field: str, value: int) -> bytes:
    """Return a film with one number of its header changed."""
    data = bytearray((FIXTURES / "two.mp4").read_bytes())
    places = {  # from the box's name: to the number, and its width
        "width": (b"avc1", 28, 2), "height": (b"avc1", 30, 2), "samples": (b"stsz", 12, 4),
        "size": (b"stsz", 8, 4), "duration": (b"mvhd", 20, 4), "scale": (b"mdhd", 16, 4),
        "runs": (b"stts", 8, 4), "chunks": (b"stco", 8, 4), "box": (b"moov", -4, 4),
        "entries": (b"stsd", 8, 4), "sync": (b"stss", 8, 4),
    }  # fmt: skip
    name, offset, width = places[field]
    at = data.find(name)
    if at >= 0:
        data[at + offset : at + offset + width] = (value % 256**width).to_bytes(width, "big")
    return bytes(data)


def nested_boxes(depth: int) -> bytes:
    """Return MP4 boxes in boxes in boxes."""
    body = b""
    for _ in range(depth):
        body = struct.pack(">I", len(body) + 8) + b"moov" + body
    return (FIXTURES / "two.mp4").read_bytes()[:32] + body


def wav(rate: int, channels: int, bits: int, announced: int, data: bytes, code: int = 1) -> bytes:
    """Return a WAV whose header says what it likes."""
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", code, channels % 65536, rate % 2**32, rate * block % 2**32,
                       block % 65536, bits)  # fmt: skip
    return (
        b"RIFF" + struct.pack("<I", min(announced + 36, 2**32 - 1)) + b"WAVEfmt "
        + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", announced) + data
    )  # fmt: skip


@cache
def tone(rate: int, seconds: float, kind: str = "WAV") -> bytes:
    """Return a sound that can be heard."""
    import soundfile

    buffer = io.BytesIO()
    wave = np.sin(np.arange(int(rate * seconds)) * 0.3) * 0.5
    soundfile.write(buffer, wave, rate, format=kind)
    return buffer.getvalue()


@cache
def silent_flac(rate: int, channels: int, seconds: int) -> bytes:
    """Return silence: a thousandth of what it unpacks to."""
    import soundfile

    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, channels, format="FLAC") as file:
        for _ in range(seconds):
            file.write(np.zeros((rate, channels), np.int16))
    return buffer.getvalue()


def lying_flac(frames: int) -> bytes:
    """Return a short FLAC that announces so many samples."""
    data = bytearray(silent_flac(8000, 1, 1))
    word = int.from_bytes(data[18:26], "big")
    data[18:26] = (word >> 36 << 36 | frames % 2**36).to_bytes(8, "big")
    return bytes(data)


@cache
def zip_bomb() -> bytes:
    """Return zeros in a ZIP file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20):
            archive.writestr(f"{number}", bytes(5 * 2**20))
    return buffer.getvalue()


LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">%s]><svg xmlns=
"http://www.w3.org/2000/svg" width="99999" height="99999">&e9;</svg>""" % b"".join(
    b'<!ENTITY e%d "%s">' % (i, b"&e%d;" % (i - 1) * 10 if i else b"&a;" * 10) for i in range(10)
)
PLAYLISTS = (
    b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
    b"#EXTM3U\n#EXTINF:9,\nconcat:/etc/passwd|/etc/group\n#EXT-X-ENDLIST\n",
    b"ffconcat version 1.0\nfile /etc/passwd\nfile /dev/zero\n",
    b"ffconcat version 1.0\nfile upload\nfile upload\n",
    b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    b"[Playlist]\nFile1=file:///etc/passwd\n",
    b"<?xml version='1.0'?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>",
    b"file:///dev/zero\n",
)
"""What some players follow to other files and hosts."""
