"""The kinds of values that several tables of a configuration file share: each with its form and the sentence that says
how to write it. A sentence is "what is wrong; how to mend it" (refusals.py splits it there).
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from xdpsec.numbers import PORT_MAX, SPI_MAX, SPI_MIN

ANY_ADDRESS = "any"
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_SECONDS = 366 * 86400


def _address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is no IP address; write one like 203.0.113.7") from None
    mapped = address.version == 6 and (address.is_link_local or address.ipv4_mapped is not None)
    if address.is_multicast or address.is_unspecified or address.is_reserved or address.is_loopback or mapped:
        raise ValueError(f"{text!r} cannot be a gateway's outer address; write the unicast address ESP goes to")
    return str(address)


def _remote(text: str) -> str:
    if text == ANY_ADDRESS:
        return text
    try:
        return _address(text)
    except ValueError as error:
        if text in ("%any", "*", "0.0.0.0/0", "0.0.0.0", "::/0", "::"):
            raise ValueError(f'{text!r} is no IP address; write "any" for peers from anywhere') from None
        raise error from None


def _prefix(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        fixed = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no prefix; write one like 10.1.0.0/16") from None
    raise ValueError(f"{text!r} has bits set beyond its length; write {fixed}")


def _absolute(text: str) -> str:
    if not text.startswith("/") or "\0" in text:
        raise ValueError("is not an absolute path; begin it with /")  # it may be a secret in the wrong place
    return text


def _duration(value: Any) -> Any:
    """Seconds from a number or from text like "4h"."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", value) if isinstance(value, str) else None
    seconds = int(found[1]) * SECONDS[found[2]] if found else value
    if type(seconds) is not int or not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f'{value!r} is no time; write seconds, or a string like "90s", "30m", "4h", "7d"')
    return seconds


Interface = Annotated[str, StringConstraints(pattern=r"^[^\s/:\p{C}]{1,15}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Address = Annotated[str, AfterValidator(_address)]
Remote = Annotated[str, AfterValidator(_remote)]
Prefix = Annotated[str, AfterValidator(_prefix)]
FilePath = Annotated[str, AfterValidator(_absolute)]
Duration = Annotated[int, BeforeValidator(_duration, json_schema_input_type=int | str)]
Count = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]
Spi = Annotated[int, Field(ge=SPI_MIN, le=SPI_MAX)]
Port = Annotated[int, Field(ge=0, le=PORT_MAX)]
UdpPort = Annotated[int, Field(ge=1, le=PORT_MAX)]


class Table(BaseModel):
    """What every table of the file keeps to: no unknown key, no guessing between types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)
