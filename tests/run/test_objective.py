"""Import paths lead to functions, or to one clear line."""

import sys

import pytest

from metaloop import InputError
from metaloop.run.objective import imported


def test_objectives_by_import_path(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "objective_of_a_test.py").write_text("def f(c):\n    return c['x']\nclass K:\n    g = f\nn = 3\n")
    (tmp_path / "broken_module_of_a_test.py").write_text("1/0")
    assert imported("objective_of_a_test:f", tmp_path)({"x": 2}) == 2
    assert imported("objective_of_a_test:K.g", tmp_path)({"x": 2}) == 2
    for path, says in (
        ("objective_of_a_test", "package.module:function"),
        ("objective_of_a_test:F", "did you mean 'f'"),
        ("objective_of_a_test:n", "function"),
        ("no_such_module_of_a_test:f", "cannot be imported"),
        ("broken_module_of_a_test:f", "ZeroDivisionError"),
    ):
        with pytest.raises(InputError, match=says):
            imported(path, tmp_path)
