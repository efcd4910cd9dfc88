"""The demo: two gateways, two hosts and a wan in namespaces of its own. Knows the gateway only as its user does."""
