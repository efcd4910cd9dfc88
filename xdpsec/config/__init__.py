"""From a file to frozen values, checked whole. Knows no process, no socket and no packet."""
