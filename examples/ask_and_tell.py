"""The loop is yours: ask for points, evaluate them wherever you like, tell what came back."""

import metaloop as ml

opt = ml.AskTell(ml.CMAES(), [(-5, 5)] * 3, seed=1)
for _ in range(40):
    points = opt.ask(8)
    opt.tell(points, [float(((x - 1) ** 2).sum()) for x in points])
print(f"without a study: {opt.best_value:.2g} at {opt.best}")

# A study also remembers: it can be stored, explained and gone on with.
space = ml.Space(x=ml.Float(-5, 5), kind=ml.Categorical(["a", "b"]), n=ml.Int(1, 9, when={"kind": "b"}))
study = ml.Study(space=space, optimizer=ml.GaussianProcess(), seed=1)
study.add({"x": 2.0, "kind": "a"}, 3.5)  # a result from elsewhere
for _ in range(20):
    trial = study.ask()
    study.tell(trial, (trial.config["x"] - 1) ** 2 + abs(trial.config.get("n", 5) - 3))
print(f"with a study: {study.result()}")
