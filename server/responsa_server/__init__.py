"""The Responsa server: typed, durable, cited answers over gRPC."""

__version__ = "0.1.0"
