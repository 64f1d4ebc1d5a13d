"""What anybody can send, without a key, is read in linear time: it holds up nobody else."""

from __future__ import annotations

import json
import time
from typing import NamedTuple

import pytest

from foldbook.api.sessions import COOKIE
from tests.access.conftest import Guarded
from tests.access.wire import JSON, WAYS, Way, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIMES_MAX = 20
"""As much as reading the largest body once. A cookie in quotes, by ``http.cookies``, costs 35 to 48 times that."""

MIB = 1 << 20
HEADER = 60_000
QUOTED = f'{COOKIE}="' + "\\" * (HEADER // 2) + '"'


class Costly(NamedTuple):
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes | None = None


def filled(part: bytes, around: bytes) -> bytes:
    """As many of a part as a body may have, inside ``around``."""
    return around[:1] + part * ((MIB - 2) // len(part)) + around[1:]


NAMES = b"{" + b",".join(b'"%d":1' % n for n in range(MIB // 11)) + b',"x":1,"x":1}'

COSTLY = {
    "a cookie in quotes": Costly("GET", "/fills", [("Cookie", QUOTED)]),
    "a cookie in quotes, to end": Costly("DELETE", "/session", [JSON, ("Cookie", QUOTED)]),
    "many cookies": Costly("GET", "/fills", [("Cookie", f"{COOKIE}=;" * (HEADER // 18))]),
    "no cookies": Costly("GET", "/fills", [("Cookie", ";" * HEADER)]),
    "cookies without an end": Costly("GET", "/fills", [("Cookie", "a=" * (HEADER // 2))]),
    "spaces before a key": Costly("GET", "/fills", [("Authorization", "Bearer" + " " * HEADER + "x y")]),
    "spaces after a key": Costly("GET", "/fills", [("Authorization", "Bearer x" + " " * HEADER + "y")]),
    "spaces in a media type": Costly("DELETE", "/session", [("Content-Type", f"{JSON[1]}{' ' * HEADER}x")], b"{}"),
    "parameters of a media type": Costly("DELETE", "/session", [("Content-Type", JSON[1] + ';a="\\' * 9_000)], b"{}"),
    "many names": Costly("DELETE", "/session", [JSON], NAMES),
    "many names in a question": Costly("GET", "/health/live", [JSON], NAMES),
    "many objects": Costly("DELETE", "/session", [JSON], filled(b'{"a":1},', b"[")),
    "a deep body": Costly("DELETE", "/session", [JSON], filled(b'{"a":', b"")),
    "a long number": Costly("DELETE", "/session", [JSON], filled(b"9", b"[]")),
    "many escapes": Costly("DELETE", "/session", [JSON], filled(b"\\u0041", b'""')),
    "almost keys": Costly("DELETE", "/session", [JSON], filled(b"fbk_" + b"0" * 12 + b"_" + b"0" * 63, b'""')),
    "a command": Costly("POST", "/accounts/alice/binance/simulated/orders", [JSON], NAMES),
    "lines": Costly("POST", "/commands", [JSON], NAMES),
    "segments": Costly("GET", "/a" * 8_000, []),
    "words of commands": Costly("POST", "/orders" * 2_300, [JSON], b"{}"),
    "escaped slashes": Costly("GET", "/" + "%2F" * 5_000, []),
    "escaped letters": Costly("GET", "/" + "%E4%B8%AD" * 1_700, []),
    "parameters": Costly("GET", "/health/live?" + "&".join(f"a{n}" for n in range(2_500)), []),
    "parameters of a stream": Costly("GET", "/stream/events?" + "a&" * 7_000, []),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("costly", COSTLY.values(), ids=list(COSTLY))
async def test_nothing_that_anybody_sends_holds_up_others(shared: Guarded, costly: Costly, way: Way) -> None:
    before_s = reading_s()
    began_s = time.process_time()
    answer = await send(shared.engine, *costly, way)
    took_s = time.process_time() - began_s
    assert took_s < TIMES_MAX * max(before_s, reading_s())
    assert answer.status < 500


def reading_s() -> float:
    """What the processor needs here, now, for something that everybody knows to be linear."""
    began_s = time.process_time()
    json.loads(NAMES, object_pairs_hook=list)
    return time.process_time() - began_s
