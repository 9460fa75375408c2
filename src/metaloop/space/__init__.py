"""WHAT MAY VARY? Parameters, conditions, forbidden combinations, and the codec to the unit cube."""

from metaloop.space.columns import Column
from metaloop.space.parameters import Array, Categorical, Choice, Float, Int, Mask, Parameter
from metaloop.space.space import Config, Space

__all__ = ["Array", "Categorical", "Choice", "Column", "Config", "Float", "Int", "Mask", "Parameter", "Space"]
