"""How much of eight workers' time goes into the objective, ours beside Optuna, studies kept in SQLite.

    python benchmarks/workers.py [--peer-python .venv-peers/bin/python] [--seconds 0.1] [--trials 400] [--repeats 3]

The objective sleeps for 0.1 s, so that eight workers could do 80 trials a second, whatever the number of cores. Ours is
`minimize(..., workers=8, store=FILE)`: one commit stores what has ended and what begins. Optuna is run as its manual
says: eight processes that `optimize` one study in one SQLite file. The clock starts once every worker has begun and
ends with the last trial, so that nobody pays for starting processes. Also printed: durable commits (fsync calls) a
trial, counted with strace where it is installed, and how many fsyncs a second the disk does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

WORKERS = 8

PEER = """
import sys, time, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
path, seconds, trials = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
storage = optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 120}})
study = optuna.load_study(study_name="s", storage=storage, sampler=optuna.samplers.RandomSampler())
def objective(t):
    x = [t.suggest_float(f"x{i}", 0, 1) for i in range(5)]
    time.sleep(seconds)
    return sum(x)
stop = optuna.study.MaxTrialsCallback(trials, states=None)
study.optimize(objective, callbacks=[stop])
"""

PEER_CREATE = """
import sys, optuna
optuna.create_study(study_name="s", storage=f"sqlite:///{sys.argv[1]}")
"""

PEER_READ = """
import json, sys, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
trials = optuna.load_study(study_name="s", storage=f"sqlite:///{sys.argv[1]}").trials
done = [t for t in trials if t.state.name == "COMPLETE"]
print(json.dumps([[t.datetime_start.timestamp(), t.datetime_complete.timestamp()] for t in done]))
"""


def sleeper(config: dict[str, float]) -> float:
    """An objective that only takes time."""
    time.sleep(float(os.environ["SLEEPER_SECONDS"]))
    return sum(config.values())


def ours(path: Path, seconds: float, trials: int) -> list[tuple[float, float]]:
    """(start, end) of each trial."""
    import metaloop as ml

    os.environ["SLEEPER_SECONDS"] = str(seconds)
    space = ml.Space({f"x{i}": ml.Float(0, 1) for i in range(5)})
    result = ml.minimize(sleeper, space, budget=trials, workers=WORKERS, optimizer=ml.RandomSearch(), store=path)
    result.study.close()
    return [(t.started, t.ended) for t in result.trials]


def peer(python: str, path: Path, seconds: float, trials: int) -> list[tuple[float, float]]:
    """(start, end) of each of Optuna's trials."""
    subprocess.run([python, "-W", "ignore", "-c", PEER_CREATE, str(path)], check=True, capture_output=True)
    command = [python, "-W", "ignore", "-c", PEER, str(path), str(seconds), str(trials)]
    running = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(WORKERS)]
    for process in running:
        process.wait()
    read = subprocess.run([python, "-W", "ignore", "-c", PEER_READ, str(path)], check=True, capture_output=True)
    return [(a, b) for a, b in json.loads(read.stdout)]


def rate(spans: list[tuple[float, float]]) -> float:
    """Trials a second, from the moment that every worker has begun once to the end of the last trial."""
    spans = sorted(spans)
    begun = spans[WORKERS][0]
    later = [s for s in spans if s[0] >= begun]
    return len(later) / (max(end for _, end in later) - begun)


def fsyncs_per_trial(folder: Path, trials: int = 50) -> str:
    """Counted by strace over a whole run of ours, the creation of the file included."""
    if shutil.which("strace") is None:
        return "not counted: strace is not installed"
    log = folder / "calls"
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import workers; from pathlib import Path; "
        f"workers.ours(Path({str(folder / 'counted.db')!r}), 0.01, {trials})"
    )
    command = ["strace", "-f", "-e", "trace=fsync,fdatasync", "-o", str(log), sys.executable, "-c", code]
    subprocess.run(command, check=True, capture_output=True)
    return f"{sum('sync(' in line for line in log.read_text().splitlines()) / trials:.2f}"


def disk(folder: Path, seconds: float = 2.0) -> float:
    """fsyncs a second of one small append after another."""
    begun, count = time.perf_counter(), 0
    with (folder / "probe").open("wb", buffering=0) as file:
        while time.perf_counter() - begun < seconds:
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            count += 1
    return count / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    ideal = WORKERS / options.seconds
    with tempfile.TemporaryDirectory(dir=".") as name:  # on this disk, not in a memory file system
        folder = Path(name)
        print(f"{WORKERS} workers, objective {options.seconds:g} s, ideal {ideal:.0f} trials/s; {date.today()}; "
              f"the disk does {disk(folder):.0f} fsyncs/s\n")  # fmt: skip
        print("| | trials/s: median [min, max] | of ideal | trials |\n|---|---|---|---|")
        for who, share in (("metaloop, SQLite", 1.0), ("Optuna RandomSampler, SQLite", 0.2)):
            count = max(60, int(share * options.trials))
            rates = []
            for k in range(options.repeats):
                path = folder / f"{who[:6]}-{k}.db"
                if share == 1:
                    spans = ours(path, options.seconds, count)
                else:
                    spans = peer(options.peer_python, path, options.seconds, count)
                rates.append(rate(spans))
            rates.sort()
            middle = rates[len(rates) // 2]
            print(f"| {who} | {middle:.1f} [{rates[0]:.1f}, {rates[-1]:.1f}] | {100 * middle / ideal:.0f} % | "
                  f"{options.repeats} × {count} |", flush=True)  # fmt: skip
        print(f"\nfsyncs a trial, ours: {fsyncs_per_trial(folder)}")


if __name__ == "__main__":
    main()
