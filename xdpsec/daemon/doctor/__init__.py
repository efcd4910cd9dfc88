"""What this machine can do for a gateway: looks at everything, changes nothing. Each look is one Finding."""
