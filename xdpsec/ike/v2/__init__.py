"""IKEv2 (RFC 7296): one machine per peer, a table of its states, one file per exchange."""
