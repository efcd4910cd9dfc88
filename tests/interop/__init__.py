"""Third-party peers that the tests bring along, and the table of who understood whom."""
