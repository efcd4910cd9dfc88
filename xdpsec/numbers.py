"""Numbers that IANA assigned, each once. Imports nothing of xdpsec.

Source: the registries "Protocol Numbers" and "Service Name and Transport Protocol Port Number".
"""

from __future__ import annotations

from enum import IntEnum


class IpProtocol(IntEnum):
    """The protocols that a traffic selector can call by name."""

    ICMP = 1
    TCP = 6
    UDP = 17
    DCCP = 33
    GRE = 47
    ESP = 50
    AH = 51
    OSPF = 89
    SCTP = 132
    UDPLITE = 136


#: Protocols whose first four bytes are two ports.
WITH_PORTS = frozenset({IpProtocol.TCP, IpProtocol.UDP, IpProtocol.DCCP, IpProtocol.SCTP, IpProtocol.UDPLITE})

PORT_MAX = 65535
SPI_MIN = 256  # RFC 4303 sec. 2.1: 1 to 255 are reserved, 0 never appears on the wire
SPI_MAX = 0xFFFFFFFF
