"""Whatever is in the files that the audit reads: one line that says what is wrong, or a finding; never a traceback,
never more memory than a good file takes, and no change that goes unnoticed."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldbook.audit import offline, resume
from foldbook.audit.anchor import Anchor, encode, public_key, read_anchors, sign, signing_key
from foldbook.audit.export import export
from foldbook.audit.files import Format, read_rows
from foldbook.audit.hashes import jsonb_text
from foldbook.audit.offline import verify_export
from foldbook.audit.reading import LINE_BYTES_MAX
from foldbook.audit.report import AuditError, Checkpoint
from foldbook.audit.rows import CommandRow, CommitRow, EventRow
from foldbook.audit.verify import current_checkpoints, verify
from foldbook.cli.main import main

FILES = ("manifest.json", "commits-0.ndjson", "commands-0.ndjson", "events-0.ndjson")
NEST = b"[" * 200_000
ODD = [
    *(
        "null",
        "true",
        "0",
        "-1",
        "1e400",
        "1e999999999",
        "-0.0",
        "[]",
        "{}",
        '""',
        '"\\u0000"',
        '"\\ud800"',
        '"Infinity"',
    ),
    *(str(2**63), "9" * 5000, '"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-14:00"', '"2026-01-01T00:00:00"'),
    *('{"a":1,"a":2}', "[" * 500 + "]" * 500, "[" * 200_000, "NaN", '"\\xff"', "simulated", '"ab"', '"zz"'),
]

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def exported(shared_ledger: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("malformed") / "export"
    asyncio.run(export(shared_ledger, folder, Format.NDJSON))
    return folder


@pytest.fixture(scope="module")
def head(shared_ledger: str) -> Checkpoint:
    (checkpoint,) = asyncio.run(current_checkpoints(shared_ledger))
    return checkpoint


def rows_of(folder: Path) -> list[Any]:
    """What the rows say, however it is written."""

    def said(row: CommitRow | CommandRow | EventRow) -> dict[str, Any]:
        values = msgspec.structs.asdict(row)
        for name, value in values.items():
            if isinstance(value, msgspec.Raw):
                values[name] = json.loads(bytes(value), parse_float=Decimal, parse_int=Decimal)
            elif name == "fingerprint":
                values[name] = bytes.fromhex(value)
        return values

    return [
        *map(said, read_rows(folder, Format.NDJSON, CommitRow, 0)),
        *map(said, read_rows(folder, Format.NDJSON, CommandRow, 0)),
        *map(said, read_rows(folder, Format.NDJSON, EventRow, 0)),
    ]


def mutations(content: bytes) -> st.SearchStrategy[bytes]:
    size = len(content)
    lines = content.splitlines(keepends=True)
    places = st.integers(0, size - 1)
    numbers = st.integers(0, len(lines) - 1)

    def with_line(number: int, make: Callable[[bytes], bytes]) -> bytes:
        return b"".join([*lines[:number], make(lines[number]), *lines[number + 1 :]])

    def odd_value(number: int, pick: int, odd: str) -> bytes:
        """A value replaced, in the text: what stands there may be no JSON at all."""

        def replace(line: bytes) -> bytes:
            starts = [i for i in range(len(line)) if line[i : i + 1] == b":" and line[i - 1 : i] == b'"']
            if not starts:
                return odd.encode()
            begin = starts[pick % len(starts)] + 1
            try:
                _, length = json.JSONDecoder().raw_decode(line[begin:].decode().lstrip())
            except ValueError:
                length = 1
            return line[:begin] + odd.encode() + line[begin + length :]

        return with_line(number, replace)

    def key_twice(number: int, value: str) -> bytes:
        return with_line(number, lambda line: line.replace(b"{", b'{"hash":' + value.encode() + b",", 1))

    return st.one_of(
        st.builds(lambda end: content[:end], places),
        st.builds(lambda at, byte: content[:at] + bytes([byte]) + content[at + 1 :], places, st.integers(0, 255)),
        st.builds(
            lambda at, more: content[:at] + more + content[at:],
            places,
            st.sampled_from([b"\0", b"\xef\xbb\xbf", b"\n", b"\xff", b" ", b"}", NEST, b"\x1f\x8b\x08"]),
        ),
        st.builds(lambda n: with_line(n, lambda line: b""), numbers),
        st.builds(lambda n: with_line(n, lambda line: line + line), numbers),
        st.builds(lambda n, m: with_line(n, lambda line: lines[m]), numbers, numbers),
        st.builds(odd_value, numbers, st.integers(0, 60), st.sampled_from(ODD)),
        st.builds(key_twice, numbers, st.sampled_from(ODD)),
        st.just(content.decode("latin-1").encode("utf-16")),
        st.just(b""),
        st.binary(max_size=50),
    )


def assert_one_line(error: AuditError) -> None:
    assert 0 < len(str(error)) < 510
    assert str(error).isprintable()


@quick
@given(data=st.data())
def test_an_export_that_was_damaged_or_doctored(exported: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(FILES))
    changed = data.draw(mutations((exported / name).read_bytes()))
    with TemporaryDirectory() as place:
        folder = Path(place) / "export"
        shutil.copytree(exported, folder)
        (folder / name).write_bytes(changed)
        try:
            report = verify_export(folder)
        except AuditError as error:
            assert_one_line(error)
        else:
            str(report)
            assert not report.ok or rows_of(folder) == rows_of(exported)


@quick
@given(data=st.data())
def test_anchors_that_were_damaged_or_doctored(head: Checkpoint, tmp_path: Path, data: st.DataObject) -> None:
    signer = Ed25519PrivateKey.from_private_bytes(bytes(32))
    anchors = [sign(head, signer), sign(msgspec.structs.replace(head, commits=3), signer)]
    path = tmp_path / "anchors"
    path.write_bytes(data.draw(mutations(encode(anchors))))
    try:
        read = read_anchors(path, signer.public_key())
    except AuditError as error:
        assert_one_line(error)
    else:
        said, signed = ({msgspec.structs.replace(one, signature="") for one in some} for some in (read, anchors))
        assert said <= signed, "what was not signed is no anchor"


@quick
@given(data=st.data())
def test_progress_that_was_damaged(head: Checkpoint, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "progress"
    path.write_bytes(data.draw(mutations(msgspec.json.encode([head]))))
    try:
        resume.read(path)
    except AuditError as error:
        assert_one_line(error)


def test_parquet_that_was_damaged(shared_ledger: str, tmp_path: Path) -> None:
    whole = tmp_path / "export"
    asyncio.run(export(shared_ledger, whole, Format.PARQUET))
    original = (whole / "events-0.parquet").read_bytes()

    @settings(quick, max_examples=60)
    @given(mutations(original))
    def damage(content: bytes) -> None:
        (whole / "events-0.parquet").write_bytes(content)
        try:
            report = verify_export(whole)
        except AuditError as error:
            assert_one_line(error)
        else:
            assert not report.ok or list(read_rows(whole, Format.PARQUET, EventRow, 0)) == events

    events = list(read_rows(whole, Format.PARQUET, EventRow, 0))
    damage()


def test_parquet_with_other_columns_or_without_a_value(shared_ledger: str, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    whole = tmp_path / "export"
    asyncio.run(export(shared_ledger, whole, Format.PARQUET))
    path = whole / "events-0.parquet"
    table = parquet.read_table(path)
    nothing = pa.array([None] * len(table), table.schema.field("type").type)
    for name, column, what in (
        ("type", nothing, "type is null"),
        ("position", table.column("position").cast(pa.string()), "its columns are not those of events"),
    ):
        parquet.write_table(table.set_column(table.schema.get_field_index(name), name, column), path)
        with pytest.raises(AuditError, match=what):
            verify_export(whole)


def test_a_line_without_an_end_takes_no_memory(exported: Path, tmp_path: Path) -> None:
    """A gigabyte, without a byte of it on the disk."""
    folder = tmp_path / "export"
    shutil.copytree(exported, folder)
    for name in FILES:
        good = (folder / name).read_bytes()
        with (folder / name).open("r+b") as file:
            file.truncate(1 << 30)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(AuditError, match="has more than"):
            list(read_rows(folder, Format.NDJSON, CommitRow, 0)) if name == FILES[1] else verify_export(folder)
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 8 * LINE_BYTES_MAX
        (folder / name).write_bytes(good)


def test_a_commit_without_an_end_takes_no_memory(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows would belong to a commit that claims the largest number there is."""
    monkeypatch.setattr(offline, "ROWS_PER_COMMIT_MAX", 20)
    folder = tmp_path / "export"
    shutil.copytree(exported, folder)
    first = json.loads((folder / "commits-0.ndjson").read_text().splitlines()[0])
    (folder / "commits-0.ndjson").write_text(json.dumps(first | {"number": 2**63 - 1, "last_position": 2**63 - 1}))
    with pytest.raises(AuditError, match="a commit has more than 20"):
        verify_export(folder)


def test_a_short_number_does_not_become_a_long_one() -> None:
    for number in ("1e999999999", "1e-999999999", "1e99999999999999999999999"):
        with pytest.raises(ValueError, match="no such number"):
            jsonb_text(number.encode())
    assert jsonb_text(b"1e5") == b"100000"


def test_rows_of_another_shard_are_refused(exported: Path, tmp_path: Path) -> None:
    """The shard of an event is not in its hash: the name of its file says it."""
    folder = tmp_path / "export"
    shutil.copytree(exported, folder)
    for name in FILES[1:]:
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace('"shard":0', '"shard":1', 1))
        with pytest.raises(AuditError, match="has a row of shard 1"):
            verify_export(folder)
        (folder / name).write_text(text)


@pytest.mark.parametrize("twice", ['"hash":"ab",', '"position":1,'])
def test_a_key_twice_is_refused(exported: Path, tmp_path: Path, twice: str) -> None:
    """Another program may read the first of the two."""
    folder = tmp_path / "export"
    shutil.copytree(exported, folder)
    text = (folder / "events-0.ndjson").read_text()
    (folder / "events-0.ndjson").write_text(text.replace("{", "{" + twice, 1))
    with pytest.raises(AuditError, match=r"line 1: the key .* occurs twice"):
        verify_export(folder)
    in_payload = re.sub(r'"payload":\{("\w+"):', r'"payload":{\1:"x",\1:', text, count=1)
    assert in_payload != text
    (folder / "events-0.ndjson").write_text(in_payload)
    (finding,) = verify_export(folder).shards[0].findings
    assert (finding.position, finding.problem) == (1, "event-changed")


def test_anchors_of_another_log_shard_or_format(
    exported: Path, shared_ledger: str, head: Checkpoint, tmp_path: Path
) -> None:
    other_log = msgspec.structs.replace(head, log_id=UUID(int=0))
    for anchor, what in ((other_log, "the anchor is of log 0"), (msgspec.structs.replace(head, shard=7), "of shard 7")):
        with pytest.raises(AuditError, match=what):
            verify_export(exported, anchors=[anchor])
        with pytest.raises(AuditError, match=what):
            asyncio.run(verify(shared_ledger, anchors=[anchor]))
    signer = Ed25519PrivateKey.generate()
    path = tmp_path / "anchors"
    lines = [json.loads(encode([sign(head, signer)]))]
    for change, what in (
        ({"format": "foldbook-anchor-9"}, "the format is"),
        ({"signature": "ab"}, "the signature is wrong"),
        ({"signature": "0" * 10_000}, "the signature is wrong"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "the signature is wrong"),
        ({"commits": 2**70}, "is not an anchor"),
        ({"key_id": "other"}, "is signed with key 'other'"),
    ):
        path.write_text(json.dumps(lines[0] | change) + "\n")
        with pytest.raises(AuditError, match=what):
            read_anchors(path, signer.public_key())
    path.write_text((json.dumps(lines[0]) + "\n") * 3)
    assert len(read_anchors(path, signer.public_key())) == 1


def bad_keys() -> Iterator[tuple[str, bytes]]:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    yield "an encrypted one", private
    yield "the other half", key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    yield "nothing", b""
    yield "cut off", private[: len(private) // 2]
    yield "noise", bytes(range(256))
    yield "very much", b"-" * (2 << 20)


@pytest.mark.parametrize(("name", "content"), list(bad_keys()), ids=[name for name, _ in bad_keys()])
def test_a_file_that_is_no_key(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(AuditError):
        signing_key(path)
    if name != "the other half":
        with pytest.raises(AuditError):
            public_key(path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("verify --export {folder}", "not an export"),
        ("verify --export {file}", "file"),
        ("verify --export {missing}", "not an export"),
        ("verify --export {export} --anchor {folder} --key {key}", "folder"),
        ("verify --export {export} --anchor {file} --key {key}", "line 1 is not an anchor"),
        ("verify --export {export} --anchor {empty} --key {key}", "contains no anchors"),
        ("verify --export {export} --anchor {file} --key {folder}", "folder"),
        ("verify --export {export} --anchor {file} --key {file}", "does not contain a public key"),
        ("verify --export {export} --anchor {file} --key {missing}", "is missing"),
        ("verify --resume {file}", "remove it to start over"),
        ("verify --resume {folder}", "folder"),
        ("export {file}", "file"),
        ("export {file}/in", "file"),
        ("anchor {folder} --key {key}", "folder"),
        ("anchor {file} --key {folder}", "folder"),
    ],
)
def test_on_the_command_line_it_is_one_line(
    exported: Path,
    shared_ledger: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    said: str,
) -> None:
    """An error that is not expected would come out of ``main``."""
    paths = {name: tmp_path / name for name in ("folder", "file", "empty", "missing", "key")} | {"export": exported}
    paths["folder"].mkdir(mode=0o700)
    paths["file"].write_bytes(b"\0\xff" * 10)
    paths["empty"].write_bytes(b"")
    signing_key(paths["key"])
    if "verify" in arguments and "--key {key}" in arguments:
        paths["key"] = paths["key"].with_name("key.pub")
    monkeypatch.setenv("DATABASE_URL", shared_ledger)
    monkeypatch.setattr(sys, "argv", ["foldbook", "audit", *arguments.format(**paths).split()])
    with pytest.raises(SystemExit) as ended:
        main()
    written = capsys.readouterr()
    assert ended.value.code == 1
    assert said in written.err
    assert len([line for line in written.err.splitlines() if not line.startswith("verified")]) == 1, written.err


def test_what_an_anchor_says_is_what_it_signs() -> None:
    assert set(Anchor.__struct_fields__) - {"signature"} == {
        *Checkpoint.__struct_fields__,
        *("format", "time", "key_id"),
    }
