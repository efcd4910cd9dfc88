"""How often something may happen: log lines that strangers cause, answers to them, new conversations."""

from __future__ import annotations


class Bucket:
    """Lets `rate` a second through, and `burst` at once."""

    __slots__ = ("at", "burst", "left", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self.left, self.at = burst, 0.0

    def take(self, now: float) -> bool:
        self.left = min(self.burst, self.left + max(now - self.at, 0.0) * self.rate)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Once:
    """One line per reason in `seconds`; the next one says how many were left out. Reasons are a closed set."""

    __slots__ = ("known", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.known: dict[str, tuple[float, int]] = {}

    def left_out(self, reason: str, now: float) -> int | None:
        """How many were left out since the last line, None = this one is left out too."""
        quiet_until, count = self.known.get(reason, (now, 0))
        if now < quiet_until:
            self.known[reason] = (quiet_until, count + 1)
            return None
        self.known[reason] = (now + self.seconds, 0)
        return count
