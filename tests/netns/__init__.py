"""Whole gateways in network namespaces."""
