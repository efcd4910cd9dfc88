"""Bytes to values and back: what stands on the wire of IKE. Knows no key, no state, no clock."""
