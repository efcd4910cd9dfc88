"""The conversation with other gateways, sans-IO: time, chance and every effect are handed in or handed out."""
