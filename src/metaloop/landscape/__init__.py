"""WHAT DOES IT LOOK LIKE? Models and features of an objective, from plain arrays."""
