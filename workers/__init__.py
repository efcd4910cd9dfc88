"""The data plane: one process per worker, C for packets, Python for the pauses. Knows no IKE and no policy."""
