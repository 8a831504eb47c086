"""How calls come in: one folder a transport, each thin, each through `calls`, none importing another."""
