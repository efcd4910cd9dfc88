"""IKE in a running gateway: the gate's shell, peers from the configuration, children in workers."""
