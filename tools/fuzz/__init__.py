"""Fuzzes every parser."""
