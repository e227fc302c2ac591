# make demo   sets up .venv and makes the comparison figure from what ships
# make test   sets up .venv; checks lint, format and types, and runs the tests, a process of one thread for every core
# make lab    opens the first notebook in JupyterLab; an open tab survives a restart
# make screenshots [WIDGETS="panel map"]   pictures of the widgets, light and dark, into runs/screenshots
# make figures [CORPORA=dir]   re-makes what is in figures/
# make registration CORPORA=dir   fixes the study of notebook 06 in benchmarks/evidence/registration.json: commit it
# make evidence CORPORA=dir    then the study on van Gogh and Monet, into runs/evidence; many hours, in any number of sittings
# make report   then its report of six pages, in PDF, from the tables of runs/evidence
# make networks CORPORA=dir    trains the networks that are compared, into runs/families; stops lose nothing
# make families CORPORA=dir    what these networks paint, cost and are worth
# make bench CORPORA=dir   measures the engine against a plain reference, into runs/bench; an hour or more
# make faults [SCALE=0.1] tries much harder than the tests to break it, for an hour or so; a table into benchmarks/faults.md
# make strip  takes outputs out of the notebooks before a commit
# PYTHON=python3.12 chooses the Python that .venv is made with.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One more than there are cores: tests wait for kernels, servers and the browser.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(1 + (os.cpu_count() or 1))")
# A module is compiled when it is first imported: most of the packages never are. It is kept even where the environment says that
# nothing is to be written, for otherwise every process compiles torch and all others anew, which takes longer than loading them.
export PYTHONDONTWRITEBYTECODE :=
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
COMPARISON := $(BIN)/workbench run notebooks/05_comparison.ipynb
NEEDED := import sys; v = sys.version_info; sys.exit(not (3, 11) <= v[:2] <= (3, 13)
MESSAGE := and f"Python 3.11, 3.12 or 3.13 is needed and $(PYTHON) is {v[0]}.{v[1]}: try make PYTHON=python3.12"

.PHONY: demo test types tests lab screenshots figures registration evidence runs/evidence.json report networks families bench faults strip clean venv browser

demo: $(VENV)/.installed
	$(COMPARISON) -p out=runs/demo
	@echo "the figure:" runs/demo/figures/comparison.jpg

test:
	@$(MAKE) --no-print-directory -j2 $(VENV)/.installed-dev browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory -j2 types tests

types:
	$(BIN)/mypy

tests:
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=40

# In a container one is often root, which JupyterLab refuses unless it is told; it listens on this machine alone.
AS_ROOT = $(if $(filter 0,$(shell id -u)),--allow-root)
lab: $(VENV)/.installed $(VENV)/.token
	@echo "To open it from elsewhere: the token is in $(VENV)/.token"
	JUPYTER_TOKEN_FILE="$(abspath $(VENV)/.token)" $(BIN)/jupyter lab $(AS_ROOT) notebooks/00_start_here.ipynb

# The token of every start, for its owner's eyes alone: neither on a command line nor in a file that git sees.
$(VENV)/.token: | $(VENV)/.installed
	@umask 077 && $(BIN)/python -c "import secrets; print(secrets.token_hex(24), end='')" > $@.part && mv $@.part $@

screenshots: $(VENV)/.installed-dev browser
	$(BIN)/python tests/browser/screenshots.py $(WIDGETS)

# CORPORA names a folder with corpora/<artist>/, content/ and photos/, and WORKBENCH_WEIGHTS the one with VGG-19;
# without CORPORA the figure is that of the sample. Pictures are kept in runs/figures and not painted again.
COMPARE = $(BIN)/workbench compare --tau .03 --tau .1 --tau .3 --size 768 --detail --pictures runs/figures
VAN_GOGH = --corpus "$(CORPORA)/corpora/vincent-van-gogh" --style the-starry-night.jpg
MONET = --corpus "$(CORPORA)/corpora/claude-monet" --style impression-sunrise.jpg
ROW = gram:single nearest blend regions gram:blend
SITTERS = "Girl with a Pearl Earring" "Grace Hopper"
PLACES = "Meadow" "Tübingen" "Basket of Fruit"
PEOPLE = "$(CORPORA)/content/girl_with_a_pearl_earring.jpg" grace_hopper
SCENES = "$(CORPORA)/photos/shilly-photos-dsc-0175.jpg" "$(CORPORA)/content/tubingen.jpg" "$(CORPORA)/corpora/caravaggio/basket-of-fruit.jpg"
figures: $(VENV)/.installed
ifdef CORPORA
	$(COMPARE) "$(CORPORA)/content/mona_lisa.jpg" $(VAN_GOGH) --targets $(ROW) -o figures/mona_lisa.jpg
	$(COMPARE) $(PEOPLE) $(VAN_GOGH) --targets $(ROW) --labels $(SITTERS) -o figures/van_gogh_people.jpg
	$(COMPARE) $(SCENES) $(VAN_GOGH) --targets $(ROW) --labels $(PLACES) -o figures/van_gogh_scenes.jpg
	$(COMPARE) $(SCENES) $(MONET) --targets $(ROW) --labels $(PLACES) -o figures/monet_scenes.jpg
	$(BIN)/workbench compare "$(CORPORA)/content/mona_lisa.jpg" $(PEOPLE) $(MONET) --size 768 --detail --pictures runs/figures \
		--targets nearest blend gram:blend --labels "Mona Lisa" $(SITTERS) -o figures/monet_people.jpg
	$(BIN)/workbench compare "$(CORPORA)/content/girl_with_a_pearl_earring.jpg" $(VAN_GOGH) --size 768 --detail \
		--pictures runs/figures --targets blend gram:blend gram:single -o figures/presets.jpg
	$(BIN)/python benchmarks/precision.py "$(CORPORA)/content/mona_lisa.jpg" \
		"$(CORPORA)/corpora/vincent-van-gogh/the-starry-night.jpg" -o figures/precision.jpg
	$(BIN)/workbench distil --evaluate --data "$(CORPORA)"/corpora/* "$(CORPORA)/photos" \
		--sizes 256 512 --pairs 3 --figure figures/encoder_comparison.jpg
else
	$(COMPARISON) -p out=runs/sample -p title="Grace Hopper after nocturne, a synthetic painter"
	@mkdir -p figures
	@cp runs/sample/figures/comparison.jpg figures/sample_comparison.jpg
endif
	@ls figures

# What is registered is painted: the file of the first target is committed before the second is made.
REGISTERED = benchmarks/evidence/registration.json
runs/evidence.json: benchmarks/evidence/study.json
	$(if $(CORPORA),,$(error CORPORA=dir is missing: a folder with photos/ and corpora/<artist>/))
	@mkdir -p runs
	sed 's|CORPORA|$(CORPORA)|g' benchmarks/evidence/study.json > runs/evidence.json

registration: $(VENV)/.installed runs/evidence.json
	$(BIN)/workbench study register runs/evidence.json -o $(REGISTERED)

# Targets are summed by one thread, as the measured rows were: another number of threads changes last bits, and with them
# the fingerprints by which rows are known.
ONE_THREAD = OMP_NUM_THREADS=1
evidence: $(VENV)/.installed runs/evidence.json
	$(ONE_THREAD) $(BIN)/python benchmarks/evidence/measure.py runs/evidence.json
	$(ONE_THREAD) $(BIN)/workbench run notebooks/06_evidence.ipynb --settings runs/evidence.json -p registration=$(REGISTERED) \
		-p measured=benchmarks/evidence -p pictures=runs/evidence_pictures -p out=runs/evidence

# With the painters who know the truth, where benchmarks/painters.py has been run.
report: $(VENV)/.installed
	@$(BIN)/python -c "import typst" 2>/dev/null || $(INSTALL) -e ".[report]"
	$(BIN)/workbench run notebooks/11_report.ipynb -p evidence=runs/evidence -p out=runs/report \
		$(if $(wildcard runs/painters/ratios.csv),-p painters=runs/painters)
	cp runs/report/report.pdf figures/evidence/report.pdf

# The networks of benchmarks/networks.json, into runs/families: some six hours of one core, in any number of sittings.
networks: $(VENV)/.installed
	$(if $(CORPORA),,$(error make networks CORPORA=dir: a folder with photos/ and corpora/<artist>/))
	$(BIN)/python benchmarks/networks.py --corpora "$(CORPORA)/corpora" --photos "$(CORPORA)/photos"

JUDGED = --corpus "$(CORPORA)/corpora/vincent-van-gogh" \
	--contents "$(CORPORA)/content/mona_lisa.jpg" "$(CORPORA)/photos/shilly-trips-wf2003-wf-30.jpg"
families: $(VENV)/.installed
	$(if $(CORPORA),,$(error make families CORPORA=dir: a folder with photos/, content/ and corpora/<artist>/))
	$(BIN)/python benchmarks/families.py $(JUDGED) --setups benchmarks/families.json --runs runs/judged \
		--labels "The Mona Lisa" "A valley" -o figures/families
	$(BIN)/python benchmarks/tradeoff.py $(JUDGED) "$(CORPORA)/content/tubingen.jpg" --setups benchmarks/tradeoff.json \
		--baseline gram --out runs/tradeoff
	$(BIN)/python benchmarks/truth.py --setups benchmarks/truth_families.json --painters nocturne noonday --baseline pix2pix \
		--scenes 12 --size 240
	$(BIN)/python benchmarks/trial.py --setups benchmarks/trial_families.json --contents "$(CORPORA)"/content/*.jpg \
		--corpora "$(CORPORA)"/corpora/* --artists vincent-van-gogh --photographs "$(CORPORA)/photos" --size 320

bench: $(VENV)/.installed
	$(if $(CORPORA),,$(error make bench CORPORA=dir: a folder with photos/ and corpora/<artist>/))
	$(BIN)/workbench bench "$(CORPORA)"

SCALE ?= 1
faults: $(VENV)/.installed-dev
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m faults.scenarios --scale $(SCALE) -o benchmarks/faults.md

strip: $(VENV)/.installed
	$(BIN)/python -c "import sys; from workbench import runs; [runs.strip(name) for name in sys.argv[1:]]" notebooks/*.ipynb

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

# Chromium for the tests in a real JupyterLab, where it may be installed; elsewhere these are skipped, and say so.
browser:
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
		"$$name" --version >/dev/null 2>&1 && exit 0; \
	done; \
	[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "installing chromium for the browser tests" && \
	timeout 300 sh -c "apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium" >/dev/null 2>&1; true

# The stamps are written last, so an installation that broke off is taken up again.
$(VENV)/.installed: pyproject.toml
	@$(MAKE) --no-print-directory venv
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml
	@$(MAKE) --no-print-directory venv
	$(INSTALL) -e ".[dev]"
	@touch $(VENV)/.installed $@

# Makes .venv unless a sound one is there: one with pip and a Python that serves. The pip that comes with Python 3.11 takes half as
# long again to install all this as the present one; where none is to be had, the old one serves.
venv:
	@$(BIN)/python -c '$(NEEDED))' 2>/dev/null && $(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		$(PYTHON) -c '$(NEEDED) $(MESSAGE))' && $(PYTHON) -m venv --clear $(VENV) && \
		{ $(INSTALL) --upgrade pip 2>/dev/null; true; }; }
