"""The meeting place: the supervisor (privileged, tiny) and control (wires the rooms)."""
