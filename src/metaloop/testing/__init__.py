"""Shipped conformance suites: what a part must do to belong here. Third-party parts prove themselves with the same."""

from metaloop.testing.optimizers import check_optimizer

__all__ = ["check_optimizer"]
