"""How the wire's values are made: quickly, since one message of a stranger has hundreds of them made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

Made = TypeVar("Made")

#: A tuple class from a tuple of all its fields. What NamedTuple gives it takes twice as long.
new = tuple.__new__


@dataclass_transform(frozen_default=True)
def record(cls: type[Made]) -> type[Made]:
    """A dataclass that is frozen to mypy alone: Python's own freezing makes an object of four fields cost 0.66 us, not
    0.18. Equal and hashed by its fields."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
