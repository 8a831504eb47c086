"""What the rest of Responsa needs from stores, models and codecs: protocols, one file an area."""
