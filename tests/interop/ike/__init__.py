"""IKEv2 against real daemons: rows in matrix.tsv, each played between two sides that are configured alike."""
