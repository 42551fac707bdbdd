# The targets of this file are the ones that README.md promises; each works on a fresh machine.
PY := .venv/bin/python
UV := .venv/bin/uv pip
# What an installation for others would set; only read, nothing is connected to.
PRODUCTION := CHIFFON_DATA_DIR=/nonexistent CHIFFON_PUBLIC_URL=https://chiffon.example.org CHIFFON_TRUST_PROXY=true \
  DATABASE_URL=postgres://chiffon_app:none@127.0.0.1:1/chiffon REDIS_URL=redis://127.0.0.1:1/0 \
  CHIFFON_EMAIL_URL=smtp+tls://chiffon:none@mail.example.org:587

# Hundreds of processes of ours start in a day's work; none needs to compile again what another has.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test chaos check lock browser bench

demo: .venv/.run-ok
	@exec .venv/bin/chiffon up --demo

test: .venv/.dev-ok browser
	@$(PY) -m tests

# Crash points, kills, a frozen broker, the soak; the seed is printed: make chaos ONLY=soak SECONDS=60 SEED=7
chaos: .venv/.dev-ok
	$(PY) -m tests.chaos --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY))

# Some of them, smaller: make bench W="W1 W3" SCALE=0.1
bench: .venv/.run-ok
	$(PY) -m bench $(W) $(if $(SCALE),--scale $(SCALE))

check: .venv/.dev-ok
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	find templates -name '*.html' -exec .venv/bin/djade --target-version 6.1 --check {} +
	.venv/bin/mypy
	.venv/bin/lint-imports
	DJANGO_SETTINGS_MODULE=tests.settings $(PY) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(PRODUCTION) CHIFFON_SECRET_KEY="$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(64))')" \
	  $(PY) manage.py check --deploy --fail-level WARNING
	@! grep -nE '://' requirements/*.lock || { echo "A lock file names a host." >&2; exit 1; }

# Hashes instead of addresses: the same files serve whatever index a machine uses.
lock: .venv/.uv-ok
	$(UV) compile -q --universal --python-version 3.12 --generate-hashes --no-emit-index-url --no-header \
	  --group embedded --group build pyproject.toml -o requirements/run.lock
	$(UV) compile -q --universal --python-version 3.12 --generate-hashes --no-emit-index-url --no-header -c requirements/run.lock \
	  --group embedded --group build --group dev pyproject.toml -o requirements/dev.lock

browser:
	@sh scripts/ensure-browser

.venv/.uv-ok: requirements/uv.lock scripts/find-python
	@python=$$(sh scripts/find-python) && { [ -x .venv/bin/python ] || "$$python" -m venv .venv; }
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.lock
	@touch $@

.venv/.run-ok: .venv/.uv-ok requirements/run.lock
	@echo "Installing Chiffon into .venv …"
	@$(UV) install -q --compile-bytecode --python $(PY) --require-hashes -r requirements/run.lock
	@$(UV) install -q --python $(PY) --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev-ok: .venv/.uv-ok requirements/run.lock requirements/dev.lock
	@echo "Installing Chiffon and what its tests need into .venv …"
	@$(UV) install -q --compile-bytecode --python $(PY) --require-hashes -r requirements/dev.lock
	@$(UV) install -q --python $(PY) --no-deps --no-build-isolation -e .
	@touch .venv/.run-ok $@
