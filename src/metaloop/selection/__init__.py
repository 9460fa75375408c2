"""WHICH OPTIMIZER, NOW? The automatic choice, and tuning of recipes."""
