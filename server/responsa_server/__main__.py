"""`python -m responsa_server` is the command line `responsa`."""

from __future__ import annotations

from responsa_server.cli.main import main

if __name__ == "__main__":
    main()
