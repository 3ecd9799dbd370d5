"""Speak a list of utterances with libespeak-ng; a program of its own, run by `multimodal.speech`.

Kept in another process, as the library is GPL-3 and not deterministic: what it says depends on what
it said before. So every utterance is spoken by a fork of a parent that has never spoken.

Reads one JSON object: {"library", "data", "utterances": [{"text", "voice", "pitch", "range",
"rate", "seed"}]}. Writes for each utterance its length in bytes (int32) and its 16-bit samples.
"""

import ctypes
import json
import os
import struct
import sys
from collections.abc import Callable
from typing import NoReturn

SYNCHRONOUS = 2
UTF8 = 1
RATE, PITCH, RANGE = 1, 3, 4
CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def main() -> None:
    """Answer the request on stdin."""
    request = json.load(sys.stdin)
    library = ctypes.CDLL(request["library"])
    hertz = library.espeak_Initialize(SYNCHRONOUS, 500, request["data"].encode(), 0)
    if hertz <= 0:
        sys.exit(f"espeak-ng found no voices in {request['data']}")
    sys.stdout.buffer.write(struct.pack("<i", hertz))
    sys.stdout.buffer.flush()
    for utterance in request["utterances"]:
        samples = in_fork(lambda said=utterance: speak(library, said))
        sys.stdout.buffer.write(struct.pack("<i", len(samples)) + samples)


def in_fork(function: Callable[[], bytes]) -> bytes:
    """Return the bytes of a function called in a child process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(function, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        answer = stream.read()
    if os.waitpid(child, 0)[1] != 0:
        sys.exit("espeak-ng failed to speak")
    return answer


def _answer(function: Callable[[], bytes], writing: int) -> NoReturn:
    """Write a function's bytes and leave at once: buffers copied from the parent stay unwritten."""
    status = 1
    try:
        with os.fdopen(writing, "wb") as stream:
            stream.write(function())
        status = 0
    except Exception as error:
        print(error, file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def speak(library: ctypes.CDLL, utterance: dict) -> bytes:
    """Return the 16-bit samples of one utterance."""
    pieces = []

    @CALLBACK
    def collect(samples, count, _events):
        if count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    library.espeak_SetSynthCallback(collect)
    if library.espeak_SetVoiceByName(utterance["voice"].encode()) != 0:
        raise LookupError(f"espeak-ng has no voice {utterance['voice']}")
    library.espeak_ng_SetRandSeed(ctypes.c_long(utterance["seed"]))
    for parameter, name in ((RATE, "rate"), (PITCH, "pitch"), (RANGE, "range")):
        library.espeak_SetParameter(parameter, utterance[name], 0)
    text = utterance["text"].encode() + b"\0"
    library.espeak_Synth(text, len(text), 0, 1, 0, UTF8, None, None)
    library.espeak_Synchronize()
    return b"".join(pieces)


if __name__ == "__main__":
    main()
