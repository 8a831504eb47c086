"""What Responsa is about, in plain data: standard library only, imported by all, importing none."""
