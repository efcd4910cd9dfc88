"""How much one message may hold: counted before values are built, so that no stranger chooses our work.

Real peers stay far below: a default offer of strongSwan has 73 transforms in 2 proposals, a long chain 5 certificates.
"""

from __future__ import annotations

MESSAGE = 65536  # bytes, fragments put together
PAYLOADS = 64
PROPOSALS = 32
TRANSFORMS = 255  # of all proposals together
TRANSFORM_ATTRIBUTES = 4  # of one transform; RFC 7296 sec. 3.3.5 knows one
CERTIFICATES = 16
REQUESTS = 16  # certificate requests: one for each encoding
DELETES = 8  # payloads: one for each protocol
SPIS = 256  # in one delete
ATTRIBUTES = 256  # of a configuration
FRAGMENTS = 128  # 64 KiB in fragments that fit any IPv4 path
