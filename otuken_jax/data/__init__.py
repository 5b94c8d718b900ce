"""Procedural motifs, records, the input pipeline and text."""
