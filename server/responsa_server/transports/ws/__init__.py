"""`/ws/chat`: frames of JSON over a WebSocket, by a thin client of the same gRPC service that all other callers use. docs/websocket.md tells what clients see."""
