"""Responsa's services over gRPC. Only this package and the packages above it import protobuf and grpc."""
