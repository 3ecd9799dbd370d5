"""Requests that come to a wrong door, or to the page with what no page sends."""

import json
from collections.abc import Callable

from tests.multimodal.demo.raw_requests import FORM, PATHS, Bad, Draw, form, part, request


def wrong_way(draw: Draw) -> Bad:
    ways = [
        ("GET", "/generate"),
        ("PUT", "/generate"),
        ("DELETE", "/healthz"),
        ("TRACE", "/generate"),
        ("PATCH", "/metrics"),
        ("POST", "/docs"),
        ("BREW", "/generate"),
        ("CONNECT", "localhost:1"),
        ("POST", "/healthz"),
        ("POST", "/nothing"),
        ("POST", "/generate/x"),
        ("POST", "*"),
    ]
    method, path = draw.choice(ways)
    return Bad("wrong method or path", request(b"", None, path, method), True)


def outside(draw: Draw) -> Bad:
    target = draw.choice(["etc/passwd", "etc/hosts", "proc/self/environ", "proc/self/maps"])
    climb = draw.choice(
        [
            "../" * 9,
            "%2e%2e/" * 9,
            "..%2f" * 9,
            "%252e%252e/" * 9,
            "..\\" * 9,
            "/",
            "//",
            "....//" * 9,
            "%c0%ae%c0%ae/" * 9,
        ]
    )
    before = draw.choice(
        [
            "/",
            "/static/",
            "/assets/",
            "/svelte/",
            "/docs/",
            "/gradio_api/file/",
            "/gradio_api/file=",
            "/gradio_api/file=file:///",
            "/gradio_api/proxy=http://",
            "/gradio_api/stream/",
            "/custom_component/",
            "/gradio_api/file=./",
            "/report/",
            "/static-offline-docs/",
            "/gradio_api/proxy=file:///",
        ]
    )
    return Bad("file of this machine", request(b"", None, before + climb + target, "GET"), True)


def page_upload(draw: Draw) -> Bad:
    path = "/gradio_api/upload"
    makers: list[Callable[[], tuple[bytes, bool]]] = [
        lambda: (request(draw.randbytes(500), path=path), False),
        lambda: (request(b"{}", "application/json", path), True),
        lambda: (request(b"x", None, path), True),
        lambda: (request(form(part("files", b"x", "f")), "multipart/form-data", path), True),
        lambda: (request(bytes(17 * 2**20), path=path), True),
        lambda: (request(form(part("files", b"x", draw.choice(PATHS))), path=path), False),
        lambda: (request(form(*[part(f"f{i}", b"1", "f") for i in range(1500)]), path=path), True),
        lambda: (request(form(part("files", b"x", "f"))[:20], path=path), False),
        lambda: (request(b"", None, path, "GET"), True),
        lambda: (
            request(form(part("files", b"x", "f")), path="/gradio_api/process_recording"),
            True,
        ),
    ]
    data, surely = draw.choice(makers)()
    return Bad("upload to the page", data, surely)


def page_call(draw: Draw) -> Bad:
    file = {"path": draw.choice(PATHS), "meta": {"_type": "gradio.FileData"}}
    numbers = draw.choice([0, 1, 4, 22, 23, -1, 999, "x", 1e300, None, [], True])
    data = draw.choice(
        [[], None, {}, [file] * 11, [None, file] + [None] * 9, "x", [[[[]]]], [file], 5]
    )
    body = {
        "data": data,
        "fn_index": numbers,
        "session_hash": draw.choice(["s", None, 5, "x" * 9999]),
    }
    body |= draw.choice(
        [
            {},
            {"component_id": 1, "fn_name": "__init__"},
            {"trigger_id": "x"},
            {"component_id": 96, "fn_name": "read"},
        ]
    )
    content = draw.choice([json.dumps(body), "{", "[]", "null", '"x"', json.dumps(body)])
    path = draw.choice(
        [
            "run/predict",
            "run/make",
            "api/make",
            "call/make",
            "call/nothing",
            "reset",
            "cancel",
            "component_server",
            "queue/join",
            "vibe-edit",
            "run/lambda_2",
            "call/v2/make",
            "stream/x",
            "stream/x/close",
        ]
    )
    kind = draw.choice(["application/json"] * 4 + [None, FORM])
    return Bad("call of the page", request(content.encode(), kind, f"/gradio_api/{path}"), False)


def wrong_host(draw: Draw) -> Bad:
    host = draw.choice(
        [
            "evil.example",
            "",
            "127.0.0.1.evil.example",
            "localhost@evil",
            "evil:7860",
            "localhost.evil",
            "169.254.169.254",
            "[::2]",
            "localhost evil",
            "a" * 300,
            "testserver",
        ]
    )
    data = request(form(part("to", b"text"))).replace(b"Host: localhost", f"Host: {host}".encode())
    return Bad("wrong host", data, True)


def wrong_head(draw: Draw) -> Bad:
    lines: list[tuple[list[str], bool]] = [
        (["X: " + "a" * 100_000], False),
        (["X: a"] * 20_000, False),
        (["X\0: a"], True),
        (["X: a\0b"], True),
        ([": a"], True),
        (["Host: localhost"], True),
        (["\ud83d"], True),
    ]
    raw = [
        b"GET /healthz\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n" * 9 + b"x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        draw.randbytes(300) + b"\r\n\r\n",
        request(b"", None, "/" + "a" * 100_000, "GET"),
        request(b"", None, "/\xff\xfe", "GET"),
    ]
    more, surely = draw.choice(lines)
    headed = request(b"", None, "/healthz", "GET", *more)
    data, surely = draw.choice([(headed, surely), (draw.choice(raw), True)])
    return Bad("wrong head", data, surely)
