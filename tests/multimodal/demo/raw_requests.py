"""Requests as bytes, and not as a client would make them."""

import random
from dataclasses import dataclass

from tests.multimodal.demo.bombs import FIXTURES

Draw = random.Random
FORM = "multipart/form-data; boundary=b"
FILES = {
    "image": ("seven.png", "photograph.jpg", "five.webp"),
    "audio": ("seven.wav", "three.mp3"),
    "video": ("two.mp4", "seven.gif"),
}
PATHS = (
    "../../../../etc/passwd",
    "/etc/passwd",
    "..\\..\\windows\\win.ini",
    "%2e%2e%2fetc%2fpasswd",
    "/dev/zero",
    "/proc/self/environ",
    "file:///etc/passwd",
    "http://169.254.169.254/latest",
    "a\0b.png",
    "/etc/passwd\0.png",
    "~/.ssh/id_rsa",
    "$(touch evil)",
    "`id`",
    "|id",
    "-rf",
    ".",
    "..",
    "CON",
    "con.png:x",
    "x" * 5000,
    "\u202egnp.exe",
    "\r\nSet-Cookie: a=b",
    '"; x="',
    "concat:/etc/passwd",
    "secret.txt",
    "/etc/hosts.txt",
    "upload",
    "%00",
    "{0.__class__}",
    "\ud83d",
)


@dataclass(frozen=True)
class Bad:
    """One request as it goes over the wire."""

    kind: str
    data: bytes
    surely: bool
    slow: bool = False
    """Whether it never ends."""


def request(
    body: bytes = b"",
    kind: str | None = FORM,
    path: str = "/generate",
    method: str = "POST",
    *lines: str,
    length: str | None = "",
) -> bytes:
    """Return a request; the length is right unless another is given, None leaves it out."""
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines]
    head += [] if kind is None else [f"Content-Type: {kind}"]
    head += [] if length is None else [f"Content-Length: {length or len(body)}"]
    return ("\r\n".join(head) + "\r\n\r\n").encode("utf-8", "surrogatepass") + body


def part(name: str, content: bytes, file: str | None = None) -> bytes:
    """Return one part of a form; nothing is escaped."""
    about = f'Content-Disposition: form-data; name="{name}"'
    about += "" if file is None else f'; filename="{file}"'
    return b"--b\r\n" + about.encode("utf-8", "surrogatepass") + b"\r\n\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    """Return the parts as a body that is whole."""
    return b"".join(parts) + b"--b--\r\n"


def upload(modality: str, content: bytes, name: str = "f") -> bytes:
    """Return a request that gives one file and wants a text."""
    return request(form(part("to", b"text"), part(modality, content, name)))


def fixture(modality: str, draw: Draw) -> bytes:
    """Return a file that can be read."""
    return (FIXTURES / draw.choice(FILES[modality])).read_bytes()
