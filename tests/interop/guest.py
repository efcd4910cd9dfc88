#!/usr/bin/python3
"""The first process inside a guest kernel: makes the machine usable, then does what the test outside asks.

One line of JSON in, one out, over the guest's serial line. Standard library alone: the guest runs this machine's files,
read-only, and its Python. Knows nothing of who asks.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import termios
import threading
import traceback
import tty
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from interop import echo
from interop.ike import vici as strongswan

LINE = "/dev/ttyS0"
MODULES = "/usr/lib/uml/modules"  # of the package user-mode-linux
LOADED = (
    "xfrm_user esp4 ah4 af_key xfrm4_tunnel tunnel4 authenc authencesn gcm ghash-generic ccm ctr cbc ecb seqiv "
    "echainiv hmac sha512_generic des_generic cmac xcbc chacha20poly1305 chacha_generic poly1305_generic "
    "crypto_null ansi_cprng"
)
SETTINGS = (
    *("net/ipv4/ip_forward=1", "net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/default/rp_filter=0"),
    "net/ipv4/conf/all/promote_secondaries=1",
)
RNDADDENTROPY = 0x40085203  # <linux/random.h>
UDP_ENCAP, UDP_ENCAP_ESPINUDP = 100, 2  # <linux/udp.h>
MOUNTS = (("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/run"), ("tmpfs", "/tmp"))
POWER_OFF = 0x4321FEDC  # RB_POWER_OFF of <sys/reboot.h>
LIBC = ctypes.CDLL(None, use_errno=True)
held: list[socket.socket] = []  # sockets that are there until the guest ends


def mount() -> None:
    for kind, where in MOUNTS:
        if LIBC.mount(kind.encode(), where.encode(), kind.encode(), 0, None) != 0:
            raise OSError(ctypes.get_errno(), f"mount {where}")


def seed(data: bytes) -> None:
    """The guest has no noise of its own: without this getrandom waits."""
    with open("/dev/random", "wb") as pool:
        fcntl.ioctl(pool, RNDADDENTROPY, struct.pack("ii", len(data) * 8, len(data)) + data)


def set_up(request: dict[str, Any]) -> dict[str, Any]:
    """Noise, modules, settings, interfaces up."""
    seed(bytes.fromhex(request["seed"]))
    root = Path("/run/modules/lib")
    root.mkdir(parents=True)
    (root / "modules").symlink_to(MODULES)
    # some of the names are built into the kernel: that they are no modules is no error
    subprocess.run(["modprobe", "-a", "-d", str(root.parent), *LOADED.split()], check=False, capture_output=True)
    for name, value in (setting.split("=") for setting in SETTINGS):
        Path("/proc/sys", name).write_text(value)
    for interface in ("lo", "vec0"):
        subprocess.run(["ip", "link", "set", interface, "up"], check=True)
    return {"release": os.uname().release}


def run(request: dict[str, Any]) -> dict[str, Any]:
    """A command to its end."""
    done = subprocess.run(
        request["argv"], input=request.get("text", ""), capture_output=True, text=True, timeout=request["limit"],
        check=False,
    )  # fmt: skip
    return {"status": done.returncode, "out": done.stdout + done.stderr}


def encapsulate(request: dict[str, Any]) -> dict[str, Any]:
    """Let the kernel take ESP out of UDP on this port (RFC 3948)."""
    holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    holder.bind(("0.0.0.0", request["port"]))
    holder.setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)
    held.append(holder)
    return {}


def serve(request: dict[str, Any]) -> dict[str, Any]:
    """Echo on this address and port from now on."""
    listener = echo.listen(request["address"], request["port"])
    threading.Thread(target=echo.serve, args=(listener,), daemon=True).start()
    return {}


def ask(request: dict[str, Any]) -> dict[str, Any]:
    echo.ask(request["address"], request["port"], request["source"], request["size"])
    return {}


def vici(request: dict[str, Any]) -> dict[str, Any]:
    """A command to the charon in here."""
    words = (request[name] for name in ("path", "command", "message", "event", "limit"))
    return {"said": strongswan.ask(*words)}


VERBS = {"set_up": set_up, "run": run, "encapsulate": encapsulate, "serve": serve, "ask": ask, "vici": vici}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """With the number of the question."""
    try:
        said = VERBS[request["verb"]](request)
    except (OSError, ValueError, subprocess.SubprocessError, strongswan.ViciError) as error:
        said = {"error": f"{type(error).__name__}: {error}"}
    return {"number": request["number"], **said}


def main() -> None:
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    mount()
    with open(LINE, "r+b", buffering=0) as line:
        tty.setraw(line.fileno(), termios.TCSANOW)
        line.write(b"{}\n")  # up
        buffer = b""
        while True:
            while b"\n" not in buffer:
                buffer += os.read(line.fileno(), 4096)
            request, _, buffer = buffer.partition(b"\n")
            if not request:  # a nudge
                continue
            line.write(json.dumps(answer(json.loads(request))).encode() + b"\n")


if __name__ == "__main__":
    try:
        main()
    except Exception:
        traceback.print_exc()
        termios.tcdrain(2)
    finally:
        LIBC.reboot(POWER_OFF)
