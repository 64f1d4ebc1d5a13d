"""Hosts and URLs that an operator writes, checked before anything connects to them.

What is refused here would fail later, in each library in its own way, and be tried again for ever. No message repeats a
part of a URL: in a malformed one, any part may be the password.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import unquote

HOST_LENGTH_MAX = 253
PORT_MAX = 65535

_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_IPV6_TEXT = re.compile(r"[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~-]+)?")
_PLACE = re.compile(r"(?:\[(?P<address>[^\[\]]*)\]|(?P<name>[^\[\]:]*))(?::(?P<port>[0-9]{1,5}))?")
_HTTP = re.compile(r"https?://(?P<place>[^/?#@\s]*)(?:/[A-Za-z0-9._~/-]*)?", re.IGNORECASE)
_AMQP = re.compile(
    r"amqps?://(?:(?P<user>[^:/?#@\\\s]*)(?::(?P<password>[^:/?#@\\\s]*))?@)?(?P<place>[^/?#@\s]*)"
    r"(?:/(?P<host>[^?#@\s]*))?(?:\?(?P<query>[^?#@\s]*))?",
    re.IGNORECASE,
)
_ESCAPED_BADLY = re.compile(r"%(?![0-9A-Fa-f]{2})")
_AMQP_PARAMETERS = {
    **dict.fromkeys(("cafile", "capath", "certfile", "keyfile", "name"), re.compile(".+")),
    **dict.fromkeys(("heartbeat", "timeout"), re.compile("[0-9]{1,5}")),
    "no_verify_ssl": re.compile("[01]"),
    "auth": re.compile("plain|amqplain|external", re.IGNORECASE),
}

AMQP_FORM = "amqp://user:password@host:port/virtual-host"


def is_host(text: str) -> bool:
    """A name that can be looked up, or an address; of IPv6 without brackets. What ends in a number is an address, or
    libraries differ about it."""
    if ":" in text:
        return _is_ipv6(text)
    if text.rstrip(".").rpartition(".")[2].isdigit():
        return _is_address(ipaddress.IPv4Address, text)
    return len(text) <= HOST_LENGTH_MAX and _NAME.fullmatch(text) is not None and _is_punycode(text)


def check_http(url: str) -> None:
    """Raises ``ValueError`` whose text completes a sentence that begins with the URL's name."""
    found = _HTTP.fullmatch(url)
    if found is None or not _is_place(found["place"]):
        raise ValueError("is not of the form http://host:port, without user and password")


def check_amqp(url: str) -> None:
    """Raises ``ValueError`` whose text completes a sentence that begins with the URL's name."""
    found = _AMQP.fullmatch(url)
    if found is None or not _is_place(found["place"]) or not all(map(_is_encoded, found.groups())):
        raise ValueError(
            f"is not of the form {AMQP_FORM}. Characters that have a meaning in a URL (: / ? # @ [ ] % \\ and spaces) "
            "are percent-encoded in user and password"
        )
    for part in filter(None, (found["query"] or "").split("&")):
        name, _, value = part.partition("=")
        if name not in _AMQP_PARAMETERS:
            raise ValueError(f"has a parameter that is none of {', '.join(_AMQP_PARAMETERS)}")
        if not _AMQP_PARAMETERS[name].fullmatch(value):
            raise ValueError(f"has the parameter {name} with a value that it cannot have")


def _is_place(text: str) -> bool:
    """A host, of IPv6 in brackets, and perhaps a port."""
    found = _PLACE.fullmatch(text)
    if found is None or not 1 <= int(found["port"] or 1) <= PORT_MAX:
        return False
    return is_host(found["name"]) if found["address"] is None else _is_ipv6(found["address"])


def _is_ipv6(text: str) -> bool:
    return _IPV6_TEXT.fullmatch(text) is not None and _is_address(ipaddress.IPv6Address, text)


def _is_address(kind: Callable[[str], object], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _is_punycode(name: str) -> bool:
    """So far as it says so: libraries decode ``xn--``."""
    try:
        name.encode().decode("idna")
    except UnicodeError:
        return False
    return True


def _is_encoded(text: str | None) -> bool:
    try:
        return text is None or (_ESCAPED_BADLY.search(text) is None and "\0" not in unquote(text, errors="strict"))
    except UnicodeDecodeError:
        return False
