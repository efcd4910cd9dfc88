"""One thing that doctor looked at, and its word for how it is. Knows nothing of what was looked at."""

from __future__ import annotations

from dataclasses import dataclass

#: It is as it should be; it is worth knowing; it costs something; the gateway cannot run like that.
OK, NOTE, WARN, FAIL = "ok", "note", "warn", "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """`level` is one of the words above; `text` one sentence that says what is so and, if need be, how to mend it."""

    topic: str
    level: str
    text: str


def worst(findings: list[Finding]) -> str:
    """The gravest level of all."""
    return max((finding.level for finding in findings), key=(OK, NOTE, WARN, FAIL).index, default=OK)
