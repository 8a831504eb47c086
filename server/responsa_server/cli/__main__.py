"""`python -m responsa_server.cli` is `responsa`."""

from __future__ import annotations

from responsa_server.cli.main import main

main()
