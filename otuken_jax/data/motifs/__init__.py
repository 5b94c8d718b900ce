"""Procedural Turkish motifs on host shapes."""
