"""`xdpsec status`: what runs, on which cores, and whether it carries traffic."""

from __future__ import annotations

from typing import Any

from xdpsec.channel import operator as words
from xdpsec.cli import shapes
from xdpsec.cli.client import Client, run_dir
from xdpsec.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, Table, console, print_json, seconds, show, table


def status(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show the running gateway: ports, workers, children.

    Status 3 when none runs."""
    with Client(run_dir(config)) as client:
        answer = shapes.status(client.ask(words.StatusQuery(), words.Status))
    if as_json:
        print_json(answer)
        return
    out = console()
    out.print(f"xdpsec {answer['version']}: {answer['state']} for {seconds(answer['uptime_s'])}, {answer['config']}")
    for trouble in answer["troubles"]:
        out.print(trouble, soft_wrap=True)
    metrics = answer["metrics"]
    out.print(f"metrics: {metrics['error'] or 'http://{address}:{port}/metrics'.format(**metrics)}", soft_wrap=True)
    show(_ports(answer["ports"]))
    for made in (_workers(answer["workers"]), _children(answer["children"])):
        print()
        show(made)


def _ports(rows: list[dict[str, Any]]) -> Table:
    made = table("ports", "interface", "side", "XDP", "AF_XDP", ">queues", ">MTU")
    for row in rows:
        made.add_row(row["interface"], row["side"], row["mode"], row["bind"], str(row["queues"]), str(row["mtu"]))
    return made


def _workers(rows: list[dict[str, Any]]) -> Table:
    columns = (
        "worker",
        ">core",
        ">pid",
        "state",
        ">restarts",
        ">packets in",
        ">packets out",
        ">handed",
        ">idle",
        ">cycles/packet",
    )
    made = table("workers", *columns)
    for row in rows:
        packets = row["packets_in"]
        cost = f"{sum(row['cycles'].values()) / packets:.0f}" if packets else "-"
        core, pid = (str(row[name]) if row[name] > 0 or name == "core" else "-" for name in ("core", "pid"))
        made.add_row(
            str(row["index"]), core, pid, row["state"], str(row["restarts"]), str(packets), str(row["packets_out"]),
            str(row["handoff_sent"]), f"{row['idle_share']:.0%}", cost,
        )  # fmt: skip
    return made


def _children(rows: list[dict[str, Any]]) -> Table:
    made = table("children", "child", "up", ">worker", "local", "remote")
    for row in rows:
        up = "yes" if row["up"] else f"no: {row['error'] or 'its worker does not serve'}"
        made.add_row(row["label"], up, str(row["owner"]), ", ".join(row["local"]), ", ".join(row["remote"]))
    return made
