"""Words between processes: messages (one table), framing, hub. Knows no policy and no packets."""
