"""Lines kept for who asks later: numbers that only grow, the oldest give way, waiting ends with the next line."""

from __future__ import annotations

import asyncio

from xdpsec.daemon.lines import MOST, Lines


def test_what_is_asked_for_again_goes_on_where_it_ended() -> None:
    async def main() -> None:
        lines = Lines()
        assert lines.beyond(0) == (0, ())
        for number in range(1, MOST + 51):
            lines.add(str(number))
        last, rows = lines.beyond(0)
        assert (last, rows[0], rows[-1]) == (MOST, "1", str(MOST))
        last, rows = lines.beyond(last)
        assert (last, rows[0], len(rows)) == (MOST + 50, str(MOST + 1), 50)
        assert lines.beyond(last) == (last, ())

    asyncio.run(main())


def test_what_gave_way_is_left_out_and_numbers_go_on() -> None:
    lines = Lines(kept=3)
    for number in range(1, 8):
        lines.add(str(number))
    assert lines.beyond(2) == (7, ("5", "6", "7"))
    assert lines.beyond(5) == (7, ("6", "7"))


def test_a_number_of_before_a_restart_begins_anew() -> None:
    lines = Lines()
    lines.add("a")
    assert lines.beyond(900) == lines.beyond(-1) == (1, ("a",))


def test_waiting_ends_with_the_next_line_and_holds_nothing_when_called_off() -> None:
    async def main() -> None:
        lines = Lines()
        gone, waits = lines.more(0), lines.more(0)
        gone.cancel()
        await asyncio.sleep(0)
        assert len(lines._waiting) == 1
        lines.add("a")
        await waits
        assert lines.more(0).done()
        assert not lines.more(1).done()

    asyncio.run(main())
