"""The protocol as a table: (state of the IKE SA, role in the exchange, exchange) -> its handler and the state after it.

What has no row is a protocol error. Handlers are Steps (flow.py). `next` None: the state stays, or the handler said
otherwise by Machine.enter. Extensions add rows here and a file of their own. RFC 7296 sec. 1, 2.25.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xdpsec.ike.v2 import create_child, followup, ike_auth, ike_sa_init, informational, intermediate
from xdpsec.ike.v2.flow import Received, Steps, consume
from xdpsec.ike.v2.sa import IkeSa, Role, State
from xdpsec.numbers import ExchangeType

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine

Handler = Callable[["Machine", IkeSa, Received], Steps[Any]]


@dataclass(frozen=True, slots=True)
class Row:
    """`fatal`: a PeerError in this exchange ends the IKE SA (it is answered first, where there is an answer). `after`
    runs once the reply is sealed, for what must not touch it (new keys)."""

    handler: Handler
    next: State | None = None
    fatal: bool = False
    after: Callable[[Machine, IkeSa], None] | None = None


TABLE: dict[tuple[State, Role, int], Row] = {
    (State.FRESH, Role.ASKED, ExchangeType.IKE_SA_INIT): Row(ike_sa_init.answer, State.KEYED, fatal=True),
    (State.FRESH, Role.ANSWERED, ExchangeType.IKE_SA_INIT): Row(consume),
    (State.KEYED, Role.ASKED, ExchangeType.IKE_INTERMEDIATE): Row(
        intermediate.answer, fatal=True, after=intermediate.settle
    ),
    (State.KEYED, Role.ANSWERED, ExchangeType.IKE_INTERMEDIATE): Row(consume, fatal=True),
    (State.KEYED, Role.ASKED, ExchangeType.IKE_AUTH): Row(ike_auth.answer, State.ESTABLISHED, fatal=True),
    (State.KEYED, Role.ANSWERED, ExchangeType.IKE_AUTH): Row(consume, State.ESTABLISHED, fatal=True),
    (State.ESTABLISHED, Role.ASKED, ExchangeType.INFORMATIONAL): Row(informational.answer, after=informational.settle),
    (State.ESTABLISHED, Role.ANSWERED, ExchangeType.INFORMATIONAL): Row(consume),
    (State.ESTABLISHED, Role.ASKED, ExchangeType.CREATE_CHILD_SA): Row(create_child.answer),
    (State.ESTABLISHED, Role.ANSWERED, ExchangeType.CREATE_CHILD_SA): Row(consume),
    (State.ESTABLISHED, Role.ASKED, ExchangeType.IKE_FOLLOWUP_KE): Row(followup.answer),
    (State.ESTABLISHED, Role.ANSWERED, ExchangeType.IKE_FOLLOWUP_KE): Row(consume),
    (State.REKEYED, Role.ASKED, ExchangeType.CREATE_CHILD_SA): Row(create_child.refuse),
    (State.REKEYED, Role.ASKED, ExchangeType.IKE_FOLLOWUP_KE): Row(create_child.refuse),
    (State.REKEYED, Role.ANSWERED, ExchangeType.CREATE_CHILD_SA): Row(consume),
    (State.REKEYED, Role.ANSWERED, ExchangeType.IKE_FOLLOWUP_KE): Row(consume),
    (State.CLOSING, Role.ASKED, ExchangeType.CREATE_CHILD_SA): Row(create_child.refuse),
    (State.CLOSING, Role.ASKED, ExchangeType.IKE_FOLLOWUP_KE): Row(create_child.refuse),
    (State.REKEYED, Role.ASKED, ExchangeType.INFORMATIONAL): Row(informational.answer, after=informational.settle),
    (State.REKEYED, Role.ANSWERED, ExchangeType.INFORMATIONAL): Row(consume),
    (State.CLOSING, Role.ASKED, ExchangeType.INFORMATIONAL): Row(informational.answer, after=informational.settle),
    (State.CLOSING, Role.ANSWERED, ExchangeType.INFORMATIONAL): Row(consume),
}
