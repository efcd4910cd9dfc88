"""How much the codec does for one message, in lines of Python that run: no more than so many for each thing in it that
the limits let it look at. What C does within a line is not seen here: that is the bench's, which takes the time.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

from wire_shapes import Shape, shapes
from work import lines_of

from xdpsec.errors import PeerError
from xdpsec.wire import limits
from xdpsec.wire.payloads import Configuration, Delete, Payload, SecurityAssociation, TsInitiator, TsResponder

#: Of each kind: how many of it a message may have, and the lines that one may take: a fifth more than it does.
BUDGET = {
    "payload": (limits.PAYLOADS, 36),
    "proposal": (limits.PROPOSALS, 30),
    "transform": (limits.TRANSFORMS, 20),
    "attribute of a transform": (limits.TRANSFORMS * limits.TRANSFORM_ATTRIBUTES, 10),
    "selector": (2 * 255, 14),
    "SPI": (limits.DELETES * limits.SPIS, 2),
    "attribute": (limits.ATTRIBUTES, 10),
}
ANY = 100  # lines that any message may take


def things(payload: Payload) -> Counter[str]:
    found = Counter({"payload": 1})
    match payload:
        case SecurityAssociation(proposals=proposals):
            transforms = [one for proposal in proposals for one in proposal.transforms]
            found["proposal"], found["transform"] = len(proposals), len(transforms)
            found["attribute of a transform"] = sum(bool(one.bits) + len(one.others) // 4 for one in transforms)
        case TsInitiator(selectors=selectors) | TsResponder(selectors=selectors):
            found["selector"] = len(selectors)
        case Delete(spis=spis):
            found["SPI"] = len(spis)
        case Configuration(attributes=attributes):
            found["attribute"] = len(attributes)
    return found


def all_things(shape: Shape) -> Counter[str]:
    return sum(map(things, shape.payloads), Counter[str]())


def allowed(shape: Shape) -> int:
    found = all_things(shape)
    return ANY + sum(min(found[kind], most) * lines for kind, (most, lines) in BUDGET.items())


def refused(shape: Shape) -> bool:
    """Anything that is raised beside PeerError ends the test."""
    try:
        shape.parse()
    except PeerError:
        return True
    return False


def test_no_message_is_more_work_than_the_things_in_it() -> None:
    took = {shape.name: (lines_of(partial(refused, shape)), allowed(shape)) for shape in shapes()}
    assert not {name: pair for name, pair in took.items() if pair[0] > pair[1]}


def test_a_shape_that_is_parsed_reaches_each_limit() -> None:
    most: Counter[str] = Counter()
    for shape in shapes():
        if not refused(shape):
            most |= all_things(shape)
    assert most == {kind: limit for kind, (limit, _) in BUDGET.items()}
