"""A real browser: what a page of another site can do to an engine that somebody is logged in to, and what ours can.

Two foreign pages: one of another site, and one on another port of the same host, with which the browser does send the
session's cookie, because sites have no ports.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from foldbook.access.roles import Role
from tests.access.chromium import Browser, Page, chromium
from tests.access.conftest import Guarded
from tests.access.test_revoking import dsn_of
from tests.api.conftest import until

ACCOUNT = "alice/binance/simulated"
ORDERS = f"/accounts/{ACCOUNT}/orders"
ORDER = {"strategy_id": "s", "symbol": "X", "side": "BUY", "order_type": "MARKET", "quantity": "1"}

ATTACKS = """
(async () => {
  const order = ORDER, orders = ENGINE + ORDERS, told = {};
  const with_cookies = {method: 'POST', credentials: 'include', body: order};
  const attempt = async (name, what) => {
    try { const answer = await what(); told[name] = answer.type + ' ' + answer.status; }
    catch (error) { told[name] = 'failed'; }
  };
  const settled = (name, thing, fails) => new Promise(done => {
    thing.onopen = thing.onmessage = thing.onload = () => { told[name] = 'opened'; done(); };
    thing.onerror = () => { told[name] = fails; done(); };
  });
  const text = {'Content-Type': 'text/plain'}, json = {'Content-Type': 'application/json'};
  await attempt('text', () => fetch(orders, {...with_cookies, headers: text}));
  await attempt('json', () => fetch(orders, {...with_cookies, headers: json}));
  await attempt('no-cors', () => fetch(orders, {...with_cookies, mode: 'no-cors'}));
  await attempt('no-cors text', () => fetch(orders, {...with_cookies, mode: 'no-cors', headers: text}));
  await attempt('no-cors json', () => fetch(orders, {...with_cookies, mode: 'no-cors', headers: json}));
  await attempt('no-cors blob', () => fetch(orders, {...with_cookies, mode: 'no-cors', body: new Blob([order])}));
  await attempt('no-cors lines', () => fetch(ENGINE + '/commands', {...with_cookies, mode: 'no-cors'}));
  await attempt('no body', () => fetch(ENGINE + '/accounts/alice/binance/simulated/halt',
    {method: 'POST', credentials: 'include', mode: 'no-cors'}));
  await attempt('logout', () => fetch(ENGINE + '/session', {method: 'DELETE', credentials: 'include'}));
  await attempt('question', () => fetch(orders, {credentials: 'include'}));
  await attempt('no-cors question', () => fetch(orders, {credentials: 'include', mode: 'no-cors'}));
  told.beacon = String(navigator.sendBeacon(orders, order));
  const image = new Image(); image.src = orders; await settled('image', image, 'failed');
  const script = document.createElement('script'); script.src = orders; document.head.append(script);
  await settled('script', script, 'failed');
  const events = new EventSource(ENGINE + '/stream/events', {withCredentials: true});
  await settled('events', events, 'failed'); events.close();
  await settled('socket', new WebSocket(ENGINE.replace('http', 'ws') + '/stream/market?symbols=X'), 'failed');
  for (const kind of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
    const frame = document.createElement('iframe'); frame.name = kind; document.body.append(frame);
    const form = document.createElement('form');
    Object.assign(form, {method: 'POST', action: orders, enctype: kind, target: kind});
    const field = document.createElement('input');
    field.name = order.slice(0, -1) + ',"reason":"'; field.value = '"}';
    form.append(field); document.body.append(form);
    const answered = new Promise(done => { frame.onload = done; });
    form.submit(); await answered;
    told['form ' + kind] = 'sent';
  }
  return told;
})()
"""


@asynccontextmanager
async def foreign_site() -> AsyncIterator[int]:
    """A server of empty pages; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            page = b"<!doctype html><title>foreign</title><body></body>"
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
                % (len(page), page)
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium("--host-resolver-rules=MAP *.example 127.0.0.1") as running:
        yield running


def origin_of(guarded: Guarded, host: str = "127.0.0.1") -> str:
    return f"http://{host}:{guarded.engine.address[1]}"


async def log_in(page: Page, guarded: Guarded, key: str) -> None:
    """At the engine's own page."""
    await page.visit(f"{origin_of(guarded)}/docs")
    shown = json.dumps({"method": "POST", "headers": {"Authorization": f"Bearer {key}"}})
    assert await page.run(f"fetch('/session', {shown}).then(answer => answer.status)") == 201


def in_log(guarded: Guarded) -> tuple[Any, ...]:
    """How much there is, refused commands too."""
    with psycopg.connect(dsn_of(guarded)) as connection:
        row = connection.execute(
            "select (select count(*) from eventstore.events), (select count(*) from eventstore.commands)"
        ).fetchone()
    assert row is not None
    return row


@pytest.mark.parametrize("host", ["foreign.example", "127.0.0.1"])
async def test_a_foreign_page_does_nothing(guarded: Guarded, browser: Browser, host: str) -> None:
    await guarded.open(ACCOUNT)
    key = await guarded.issue("alice", Role.TRADER, Role.RISK)
    ours, foreign = await browser.open(), await browser.open()
    await log_in(ours, guarded, key)
    before = in_log(guarded)
    async with foreign_site() as port:
        await foreign.visit(f"http://{host}:{port}/")
        script = ATTACKS.replace("ORDERS", json.dumps(ORDERS)).replace("ORDER,", json.dumps(json.dumps(ORDER)) + ",")
        told = await foreign.run(script.replace("ENGINE", json.dumps(origin_of(guarded))))
    readable = {what: answer for what, answer in told.items() if answer.startswith(("basic", "cors", "opened"))}
    assert readable == {}
    assert {told[name] for name in ("text", "json", "logout", "question", "events", "socket", "image")} == {"failed"}
    assert len(told) == 19
    # Most of it arrived, and was refused.
    await until(lambda: were_refused(guarded, 10))
    assert in_log(guarded) == before
    # The session is still there.
    assert await ours.run("fetch('/session').then(answer => answer.status)") == 200


async def were_refused(guarded: Guarded, count: int) -> bool:
    """So many commands, at the door."""
    exposed = (await guarded.ask(guarded.operator, "GET", "/metrics")).text
    found = [line for line in exposed.splitlines() if 'method="POST",path="unknown",status="403"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in found) >= count


async def test_a_name_that_was_pointed_at_us_is_not_ours(guarded: Guarded, browser: Browser) -> None:
    await guarded.open(ACCOUNT)
    key = await guarded.issue("alice", Role.TRADER)
    page = await browser.open()
    before = in_log(guarded)
    await page.visit(f"{origin_of(guarded, 'evil.example')}/docs")
    assert "wrong-host" in await page.run("document.body.innerText")
    for headers in ({}, {"Authorization": f"Bearer {key}"}):
        typed = {"Content-Type": "application/json", **headers}
        for asked in ({"method": "POST", "headers": typed, "body": json.dumps(ORDER)}, {"headers": headers}):
            assert await page.run(f"fetch('{ORDERS}', {json.dumps(asked)}).then(answer => answer.status)") == 421
    assert in_log(guarded) == before


async def test_a_page_of_ours_in_a_session(guarded: Guarded, browser: Browser) -> None:
    await guarded.open(ACCOUNT)
    key = await guarded.issue("alice", Role.TRADER)
    page = await browser.open()
    await log_in(page, guarded, key)
    assert await page.run("document.cookie") == "", "no script reads the cookie"
    asked = {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": json.dumps(ORDER)}
    assert await page.run(f"fetch('{ORDERS}', {json.dumps(asked)}).then(answer => answer.status)") == 201
    assert await page.run(f"fetch('{ORDERS}').then(answer => answer.status)") == 200
    stream = "new Promise(done => { const all = new EventSource('/stream/events');"
    stream += " all.addEventListener('OrderCreated', one => { all.close(); done(JSON.parse(one.data).actor); }); })"
    assert await page.run(stream) == "alice"
    socket = "new Promise((done, fail) => { const all = new WebSocket('/stream/market');"
    socket += " all.onopen = () => { all.close(); done('open'); }; all.onerror = fail; })"
    assert await page.run(socket) == "open"
    events = (await guarded.ask(guarded.operator, "GET", "/events?type=OrderCreated")).json()["events"]
    assert [event["actor"] for event in events] == ["alice"]
    await guarded.ask(guarded.operator, "DELETE", f"/keys/{key.split('_')[1]}")
    assert await page.run(f"fetch('{ORDERS}', {json.dumps(asked)}).then(answer => answer.status)") == 401


AUTHORIZE = """
(async () => {
  const found = async (selector) => {
    while (!document.querySelector(selector)) await new Promise(done => setTimeout(done, 20));
    return document.querySelector(selector);
  };
  (await found('.btn.authorize')).click();
  const input = await found('.auth-container input[type=text], .auth-container input[type=password]');
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(input, KEY);
  input.dispatchEvent(new Event('input', {bubbles: true}));
  (await found('.auth-btn-wrapper .authorize')).click();
  (await found('.btn-done')).click();
  const call = await found('#operations-keys-SessionGetSession');
  call.querySelector('button').click();
  (await found('#operations-keys-SessionGetSession .try-out__btn')).click();
  (await found('#operations-keys-SessionGetSession .execute')).click();
  return (await found('#operations-keys-SessionGetSession .live-responses-table tbody .response-col_status')).innerText;
})()
"""


async def test_the_reference_takes_a_key_and_runs_no_other_script(guarded: Guarded, browser: Browser) -> None:
    key = await guarded.issue("alice", Role.READER)
    page = await browser.open()
    await page.visit(f"{origin_of(guarded)}/docs")
    assert await page.run(AUTHORIZE.replace("KEY", json.dumps(key))) == "200"
    assert page.problems == []
    injected = "(() => { const one = document.createElement('script'); one.textContent = 'window.ran = 1';"
    assert await page.run(injected + " document.body.append(one); return window.ran ?? null; })()") is None
    assert "Content Security Policy" in str(page.problems)
