"""argv -> calls: one file per command, no logic. Errors are one sentence on stderr and a status."""
