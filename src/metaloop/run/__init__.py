"""WHO EVALUATES? The loop around a study: `minimize`, `maximize`."""

from metaloop.run.minimize import maximize, minimize

__all__ = ["maximize", "minimize"]
