"""Defaults of the configuration that commands need without loading what reads it."""

RUN_DIR = "/run/xdpsec"
