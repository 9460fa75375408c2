"""Displacements and temperatures of boxes of square or cubic elements, without an assembled matrix."""
