PYTHON := .venv/bin/python
.PHONY: demo test check soak format bench site

demo: ; python3 .ci/setup.py demo
test: ; python3 .ci/setup.py test

# The fast loop: everything but the first-time installation.
check:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest -n auto --dist worksteal

# Every kill, mutant, fault and race, not a sample of them.
soak: ; OPSCTL_SOAK=1 $(PYTHON) -m pytest -n auto --dist worksteal
format: ; $(PYTHON) -m ruff format . && $(PYTHON) -m ruff check --fix .
bench: ; $(PYTHON) benchmarks/startup.py
# The documentation, into dist/site; a link that leads nowhere fails it. Needs the docs extra.
site: ; NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --clean
