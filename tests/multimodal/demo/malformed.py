"""Requests that nobody means well, drawn from seeds.

A request is `surely` wrong when no reading of it is right, and must be answered 4xx; others, such
as files with a flipped bit, may turn out to be whole.
"""

from collections.abc import Callable

from tests.multimodal.demo import bombs
from tests.multimodal.demo.malformed_doors import (
    outside,
    page_call,
    page_upload,
    wrong_head,
    wrong_host,
    wrong_way,
)
from tests.multimodal.demo.malformed_files import (
    clip_bomb,
    flipped,
    named,
    picture_bomb,
    polyglot,
    sound_bomb,
    truncated,
    wrong_kind,
)
from tests.multimodal.demo.raw_requests import FORM, PATHS, Bad, Draw, fixture, form, part, request

OPTIONS = {
    "count": [
        "1e9",
        "NaN",
        "[1]",
        "{}",
        "9" * 5000,
        "true",
        "-1",
        "0",
        "1.5",
        "0x1",
        "17",
        "1e400",
        "null",
        "1;2",
        "--1",
        "9" * 400,
        "infinity",
        "\0",
        "1\0",
        "2**62",
    ],
    "seed": ["-1", str(2**63), "9" * 4000, "many", "[]", "1e999", '{"a": 1}', "nan", "1.2"],
    "guidance": ["nan", "inf", "-inf", "1e999", "[]", "-1", "101", "x", "{}", "1,5", "9" * 5000],
    "steps": ["0", "-5", "101", "many", "1e3", "9" * 5000, "nan", "[4]", "4.5", "true"],
    "first_frame": ["maybe", "2", "[]", "{}", "9" * 5000, "yes please", "\0", "-1"],
    "format": ["xml", "JSON", "../", "json\0", "a" * 9000, '["json"]', "1"],
    "to": [
        "smell",
        "image,image",
        ",",
        "image\0",
        "*",
        '["image"]',
        "../text",
        "IMAGE",
        "image;text",
        "{}",
        "a" * 9000,
        "text," * 500,
        "\ud83d",
    ],
}


def noise(draw: Draw) -> Bad:
    kind = draw.choice(
        [
            FORM,
            "multipart/form-data",
            "application/x-www-form-urlencoded",
            None,
            "application/json",
            "text/plain",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=" + "b" * 300,
            "a/b/c",
            ";;;=",
        ]
    )
    return Bad("random bytes", request(draw.randbytes(draw.choice([0, 1, 99, 65536])), kind), True)


def wrong_json(draw: Draw) -> Bad:
    bodies = [
        "[" * 100_000,
        "{}",
        "null",
        '{"to": ["text"]}',
        '{"a":' * 5000,
        "NaN",
        "9" * 10**5,
        '{"to": "' + "a" * 10**6 + '"}',
        "\ufeff{}",
        '{"__proto__": 1}',
    ]
    kind = draw.choice(["application/json", "application/json; charset=utf-7", "text/json"])
    return Bad("JSON", request(draw.choice(bodies).encode(), kind), True)


def broken_form(draw: Draw) -> Bad:
    good = [part("to", b"text"), part("image", fixture("image", draw), "f")]
    whole = form(*good)
    makers: list[Callable[[], tuple[bytes, bool]]] = [
        lambda: (request(whole[: draw.randrange(40)]), True),
        lambda: (request(whole[: draw.randrange(len(whole))]), False),
        lambda: (request(whole.replace(b"--b", b"--c")), True),
        lambda: (request(whole, "multipart/form-data"), True),
        lambda: (request(form(part("to", b"smell"), part("x", whole, "f"))), True),
        lambda: (request(form(*[part(f"f{i}", b"1") for i in range(2000)])), True),
        lambda: (request(form(*[part(f"f{i}", b"1", "f") for i in range(1500)])), True),
        lambda: (request(form(part("to", b"a" * (2**20 + 5)))), True),
        lambda: (request(form(part("x" * 100_000, b"text"))), True),
        lambda: (request(b"--b\r\nX: " + b"a" * 100_000 + b"\r\n\r\n1\r\n--b--\r\n"), True),
        lambda: (request(b"--b\r\n" + b"X: a\r\n" * 20_000 + b"\r\n1\r\n--b--\r\n"), True),
        lambda: (request(form(part('to"\r\nX-Evil: 1\r\nY: "', b"text"))), False),
        lambda: (request(form(part("to\0", b"text"))), True),
        lambda: (request(form(part("t\ud83do", b"text"))), True),
        lambda: (request(b"--b\r\n\r\n\r\n--b--\r\n"), True),
        lambda: (request(b"--b\r\n" * 50_000), True),
        lambda: (request(form(part("to", b"text"), part("text", b"\xff\xfe\xfa"))), False),
        lambda: (request(form(part("to", b"text"), part("image", b"hello"))), True),
        lambda: (request(form(part("to", b"text"), part("text", b"hello", "f.txt"))), True),
        lambda: (request(form(part("to", b"text", "f"))), True),
        lambda: (request(form(part("to", b"text"), part("text", b"a" * 2000))), True),
        lambda: (request(b"to=text&" * 3000, "application/x-www-form-urlencoded"), True),
    ]
    data, surely = draw.choice(makers)()
    return Bad("broken form", data, surely)


def wrong_length(draw: Draw) -> Bad:
    whole = form(part("to", b"smell"))
    chunked = "Transfer-Encoding: chunked"
    chunks = [
        b"zz\r\n",
        b"-1\r\nab\r\n",
        b"F" * 40 + b"\r\n",
        b"5\r\nab",
        b"1;" + b"x" * 70_000,
        b"\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
    ]
    makers = [
        lambda: request(
            whole,
            length=draw.choice(
                [
                    "-1",
                    "many",
                    "1e3",
                    "+5",
                    "0x10",
                    "1,2",
                    "5 5",
                    "9" * 30,
                    str(2**40),
                    "NaN",
                    "\u0665",
                ]
            ),
        ),
        lambda: request(whole, FORM, "/generate", "POST", "Content-Length: 3"),
        lambda: request(whole, FORM, "/generate", "POST", chunked),
        lambda: request(whole, length=None),
        lambda: request(
            draw.choice(chunks[:3] + chunks[4:]), FORM, "/generate", "POST", chunked, length=None
        ),
        lambda: request(
            whole, FORM, "/generate", "POST", "Transfer-Encoding: gzip, chunked, x", length=None
        ),
        lambda: request(whole, length=str(draw.randrange(1, len(whole)))),
        lambda: request(bytes(17 * 2**20)),
    ]
    return Bad("wrong length", draw.choice(makers)(), True)


def never_ending(draw: Draw) -> Bad:
    whole = form(part("to", b"text"))
    makers = [
        lambda: request(whole, length="5000"),
        lambda: request(whole[:9], length="16000000"),
        lambda: request(
            b"5\r\nhello\r\n", FORM, "/generate", "POST", "Transfer-Encoding: chunked", length=None
        ),
        lambda: request(b"", length="10"),
        lambda: request(b"a", length="10", path="/gradio_api/upload"),
        lambda: request(b"{", "application/json", "/gradio_api/queue/join", length="99"),
    ]
    return Bad("never-ending body", draw.choice(makers)(), True, True)


def unfinished_head(draw: Draw) -> Bad:
    heads = [
        b"POST /generate HTTP/1.1\r\nHost: localhost\r\nX-A: ",
        b"",
        b"G",
        b"\x16\x03\x01\x02",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * draw.randrange(100),
    ]
    return Bad("unfinished head", draw.choice(heads), True, True)


def wrong_option(draw: Draw) -> Bad:
    name = draw.choice(list(OPTIONS))
    value = draw.choice(OPTIONS[name]).encode("utf-8", "surrogatepass")
    parts = [part("to", b"image")] * (name != "to") + [part(name, value)]
    return Bad("wrong option", request(form(*parts)), True)


def squeezed(draw: Draw) -> Bad:
    kind = draw.choice(["gzip", "deflate", "br", "zstd", "gzip, gzip"])
    data = request(bombs.deflated(100), FORM, "/generate", "POST", f"Content-Encoding: {kind}")
    return Bad("compressed body", data, True)


def texted(draw: Draw) -> Bad:
    text = draw.choice(PATHS).encode("utf-8", "surrogatepass")
    return Bad("path as text", request(form(part("to", b"text"), part("text", text))), False)


KINDS: tuple[Callable[[Draw], Bad], ...] = (
    noise,
    wrong_json,
    broken_form,
    broken_form,
    wrong_length,
    wrong_option,
    wrong_option,
    wrong_kind,
    truncated,
    flipped,
    flipped,
    polyglot,
    picture_bomb,
    picture_bomb,
    clip_bomb,
    clip_bomb,
    sound_bomb,
    sound_bomb,
    squeezed,
    named,
    texted,
    wrong_way,
    outside,
    outside,
    page_upload,
    page_call,
    wrong_host,
    wrong_head,
)
SLOW: tuple[Callable[[Draw], Bad], ...] = (never_ending, unfinished_head)


def malformed(count: int, slow: int, seed: int = 0) -> list[Bad]:
    """Return so many requests, each kind about equally often, and then the slow ones."""
    draw = Draw(seed)
    drawn = [KINDS[number % len(KINDS)](draw) for number in range(count - slow)]
    return drawn + [SLOW[number % len(SLOW)](draw) for number in range(slow)]
