"""WHAT SHOULD IT BE MADE OF? Sizes, shapes, topologies and layouts of structures, and architectures of nets."""
