# Two commands do all the set-up: `make run` and `make test`. PYTHON may name another interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: run test faults deps bench bench-selection bench-bilevel bench-structure peers clean

run: $(VENV)/.run
	$(BIN)/python examples/model_selection.py --out out

test: $(VENV)/.test
	$(BIN)/python -m pytest

# Every fault with all its seeds, and a table of them; `make test` runs a sample. The disk faults need root and strace.
faults: $(VENV)/.test
	METALOOP_FAULTS=all $(BIN)/python -m pytest tests/faults

# What the tests need from the system; nothing so far.
deps:
	@echo "no system packages are needed"

# Evidence that takes longer: each file prints its table.
bench: $(VENV)/.test peers
	$(BIN)/python benchmarks/suggest_time.py --peer-python .venv-peers/bin/python
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/resume.py
	$(BIN)/python benchmarks/model_selection.py --peer-python .venv-peers/bin/python
	$(BIN)/python benchmarks/tune_cmaes.py
	$(BIN)/python benchmarks/tpe_time.py --peer-python .venv-peers/bin/python
	$(BIN)/python benchmarks/tpe_quality.py --peer-python .venv-peers/bin/python
	$(BIN)/python benchmarks/optimizers.py --peer-python .venv-peers/bin/python
	$(BIN)/python benchmarks/workers.py --peer-python .venv-peers/bin/python
	$(BIN)/python benchmarks/scf.py
	$(BIN)/python benchmarks/switching.py
	$(BIN)/python benchmarks/regret.py
	$(BIN)/python benchmarks/sampling.py
	$(BIN)/python benchmarks/mcmc.py

# Auto beside single solvers, the peers' and our own: the runs take a day of CPU time; what is done is kept in out/.
bench-selection: $(VENV)/.test peers
	.venv-peers/bin/python benchmarks/bbob.py run --dims 2 5 20 --multiples 5 20 100 --out out/bbob/runs.jsonl
	.venv-peers/bin/python benchmarks/bbob.py run --dims 40 --multiples 5 20 --out out/bbob/runs.jsonl
	.venv-nevergrad/bin/python benchmarks/bbob.py run --solvers NGOpt --dims 2 5 20 --multiples 5 20 --out out/bbob/ngopt.jsonl
	.venv-peers/bin/python benchmarks/noise.py run --out out/bbob/noise.jsonl
	.venv-peers/bin/python benchmarks/bbob.py table --out 'out/bbob/*.jsonl'
	.venv-peers/bin/python benchmarks/noise.py table --out 'out/bbob/*.jsonl'
	$(BIN)/python benchmarks/selection.py run --family tuning --out out/bbob/tuning.jsonl
	$(BIN)/python benchmarks/selection.py run --family control --out out/bbob/control.jsonl
	.venv-peers/bin/python benchmarks/selection.py run --family bbob --out out/bbob/members.jsonl
	$(BIN)/python benchmarks/selection.py table --out 'out/bbob/*.jsonl'
	$(BIN)/python benchmarks/schedulers.py
	$(BIN)/python benchmarks/tune_defaults.py

# Hypergradients, meta-learners and a learned optimizer beside their peers: about an hour.
bench-bilevel: $(VENV)/.test peers
	$(BIN)/python benchmarks/hypergradient.py --peer-python .venv-bilevel/bin/python
	$(BIN)/python benchmarks/maml.py --peer-python .venv-bilevel/bin/python
	$(BIN)/python benchmarks/hypercleaning.py
	$(BIN)/python benchmarks/learned_optimizer.py --meta-steps 600
	$(BIN)/python benchmarks/few_shot_characters.py

# Topologies, trusses and shapes beside their peers and known answers: about an hour.
bench-structure: $(VENV)/.test peers
	$(BIN)/python benchmarks/topology2d.py --peer-python .venv-structure/bin/python
	$(BIN)/python benchmarks/topology3d.py --peer-python .venv-structure/bin/python
	$(BIN)/python benchmarks/topology_schedules.py
	$(BIN)/python benchmarks/trusses.py --full
	$(BIN)/python benchmarks/shape.py
	$(BIN)/python benchmarks/nas.py

# The peers that cannot share our environment live in one of their own (torch alone is several hundred MB).
peers: .venv-peers/.ready .venv-nevergrad/.ready .venv-bilevel/.ready .venv-structure/.ready

.venv-peers/.ready: constraints/torch.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install -q --disable-pip-version-check torch==2.13.0
	.venv-peers/bin/python -m pip install -q --disable-pip-version-check -r constraints/torch.txt
	touch $@

.venv-nevergrad/.ready: constraints/nevergrad.txt
	$(PYTHON) -m venv .venv-nevergrad
	.venv-nevergrad/bin/python -m pip install -q --disable-pip-version-check -r constraints/nevergrad.txt
	touch $@

.venv-bilevel/.ready: constraints/bilevel.txt
	$(PYTHON) -m venv .venv-bilevel
	.venv-bilevel/bin/python -m pip install -q --disable-pip-version-check torch==2.13.0
	.venv-bilevel/bin/python -m pip install -q --disable-pip-version-check -r constraints/bilevel.txt
	touch $@

.venv-structure/.ready: constraints/structure.txt
	$(PYTHON) -m venv .venv-structure
	.venv-structure/bin/python -m pip install -q --disable-pip-version-check -r constraints/structure.txt
	touch $@

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'metaloop needs Python 3.11 or newer')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt -e '.[all]'
	touch $@

$(VENV)/.test: $(VENV)/.run
	$(PIP) install -q -c constraints.txt -e '.[all,test]'
	touch $@

clean:
	rm -rf $(VENV) .venv-peers .venv-nevergrad .venv-bilevel .venv-structure out dist
