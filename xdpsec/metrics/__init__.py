"""Counters in shared memory -> values, and values -> Prometheus families at scrape time. Knows no process."""
