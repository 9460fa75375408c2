import pytest

from metaloop import CMAES, Categorical, Choice, Float, InputError, Int, Space
from metaloop.cli import config

FULL = """
command = ["python", "train.py", "--lr", "{lr}"]
budget = 7
seconds = 3
target = -1.5
maximize = true
optimizer = { name = "CMAES", sigma0 = 0.2 }
seed = 4
store = "s.db"
name = "svm"
noisy = false
timeout = 2.5
forbidden = ["k > 5", { kernel = "poly", k = [1, 2] }]

[space]
lr = { float = [1e-5, 1e-1], log = true }
k = { int = [1, 9] }
kernel = { choices = ["rbf", "poly"] }
degree = { int = [2, 5], when = { kernel = "poly" } }
model = { choice = { svm = { C = { float = [0.1, 10.0] } }, none = {} } }
shape = "cat(round,square,when:kernel=poly)"
pair = { choices = [[1, 2], [3, 4]] }
"""


def read(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    return config.read(path)


def test_everything_that_a_file_may_say(tmp_path):
    found = read(tmp_path, FULL)
    assert found.space() == Space(
        lr=Float(1e-5, 1e-1, log=True),
        k=Int(1, 9),
        kernel=Categorical(["rbf", "poly"]),
        degree=Int(2, 5, when={"kernel": "poly"}),
        model=Choice(svm=Space(C=Float(0.1, 10.0)), none=None),
        shape=Categorical(["round", "square"], when={"kernel": "poly"}),
        pair=Categorical([(1, 2), (3, 4)]),
        forbidden=["k > 5", {"kernel": "poly", "k": [1, 2]}],
    )
    assert found.optimizer == CMAES(sigma0=0.2)
    assert (found.budget, found.seconds, found.target, found.maximize) == (7, 3, -1.5, True)
    assert (found.seed, found.store, found.name, found.noisy, found.timeout) == (4, "s.db", "svm", False, 2.5)
    assert found.command == ["python", "train.py", "--lr", "{lr}"]
    assert found.folder == tmp_path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("budgte = 3", "did you mean 'budget'"),
        ("budget = 'x'", "budget was 'x'"),
        ("budget = true", "budget was True"),
        ("maximize = 1", "true or false"),
        ("command = 'ls'", "list of strings"),
        ("command = [1]", "list of strings"),
        ("command = ['a']\nobjective = 'a:b'", "one of them"),
        ("[space]\nlr = 3", "parameter 'lr'"),
        ("[space]\nlr = {}", "parameter 'lr'"),
        ("[space]\nlr = {flaot = [1, 2]}", "did you mean 'float'"),
        ("[space]\nlr = {float = [1, 2], int = [1, 2]}", "parameter 'lr'"),
        ("[space]\nlr = {float = [1, 2], lgo = true}", "did you mean 'log'"),
        ("[space]\nlr = {float = [1, 2], log = 'yes'}", "true or false"),
        ("[space]\nlr = {float = [2, 1]}", "parameter 'lr': low, high"),
        ("[space]\nlr = {float = 1}", "two bounds"),
        ("[space]\nlr = {choices = 'ab'}", "parameter 'lr'"),
        ("[space]\nlr = {choice = {a = 1}}", "parameter 'lr'"),
        ("[space]\nm = {choice = {a = {x = {int = [3, 1]}}}}", "parameter 'm.a.x'"),
        ("[space]\nlr = 'flot(1,2)'", "did you mean 'float'"),
        ("optimizer = {sigma0 = 1}", "name"),
        ("optimizer = {name = 'CMAS'}", "did you mean 'CMAES'"),
        ("optimizer = {name = 'CMAES', sigma = 0.1}", "did you mean 'sigma0'"),
        ("optimizer = {name = 'CMAES', sigma0 = -1}", "sigma0"),
        ("forbidden = [3]", "forbidden"),
        ("a = = 3", "not TOML"),
    ],
)
def test_errors_are_one_line_that_names_file_and_key(tmp_path, text, says):
    with pytest.raises(InputError, match=says) as caught:
        read(tmp_path, text)
    assert "run.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_no_text(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        config.read(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not TOML"):
        config.read(tmp_path / "b.toml")


def test_the_example_in_the_module_is_one(tmp_path):
    text = config.__doc__.split("```toml\n")[1].split("```")[0].replace('"low >= high", ', "")
    assert read(tmp_path, text).space().dim == 7
