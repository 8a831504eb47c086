"""Responsa's services over gRPC. Protobuf and grpc are imported here and in what stands on it, nowhere below."""
